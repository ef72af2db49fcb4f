/* err.c - see err.h. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *qn_status_name(qn_status s)
{
    switch (s) {
    case QN_OK: return "ok";
    case QN_ENOMEM: return "memory";
    case QN_EIO: return "io";
    case QN_EFORMAT: return "format";
    case QN_EUNSUPPORTED: return "unsupported";
    case QN_EINVAL: return "invalid";
    case QN_ECONTEXT: return "context";
    case QN_ELIMIT: return "limit";
    case QN_ERAISED: return "raised";
    case QN_ECANCELLED: return "cancelled";
    case QN_EBUSY: return "busy";
    }
    return "unknown";
}

const char *qn_version(void)
{
    return QN_VERSION;
}

/* Length of the UTF-8 sequence at s (terminated), 0 when malformed. Surrogates and overlong forms count as malformed.
 */
static size_t utf8_len(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xC2 && s[0] <= 0xDF)
        return (s[1] & 0xC0) == 0x80 ? 2 : 0;
    if (s[0] >= 0xE0 && s[0] <= 0xEF) {
        if ((s[1] & 0xC0) != 0x80 || (s[2] & 0xC0) != 0x80)
            return 0;
        if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F))
            return 0;
        return 3;
    }
    if (s[0] >= 0xF0 && s[0] <= 0xF4) {
        if ((s[1] & 0xC0) != 0x80 || (s[2] & 0xC0) != 0x80 || (s[3] & 0xC0) != 0x80)
            return 0;
        if ((s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
            return 0;
        return 4;
    }
    return 0;
}

/* Make text safe for a terminal, in place: control bytes and malformed UTF-8 (also a sequence cut by the buffer's end)
 * become '?'. */
static void make_printable(char *text)
{
    unsigned char *s = (unsigned char *)text;
    while (*s) {
        size_t n = utf8_len(s);
        bool c1 = n == 2 && s[0] == 0xC2 && s[1] < 0xA0;
        if (n == 0 || c1 || (n == 1 && (s[0] < 0x20 || s[0] == 0x7F) && s[0] != '\n')) {
            *s++ = '?';
            continue;
        }
        s += n;
    }
}

qn_status qn__fail(qn_err *err, qn_status code, const char *where, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        char what[sizeof err->what];
        va_start(ap, fmt);
        (void)vsnprintf(what, sizeof what, fmt, ap);
        va_end(ap);
        err->code = code;
        memcpy(err->what, what, sizeof what); /* through a copy: an argument may be err->what itself */
        if (where != err->where)
            (void)snprintf(err->where, sizeof err->where, "%s", where ? where : "");
        make_printable(err->what);
        make_printable(err->where);
    }
    return code;
}

qn_status qn__fail_mem(qn_err *err, const char *where)
{
    return qn__fail(err, QN_ENOMEM, where, "out of memory; close other programs or use a smaller model or context");
}

void qn__err_prefix(qn_err *err, const char *prefix)
{
    if (!err || !prefix || !*prefix)
        return;
    char old[sizeof err->where];
    memcpy(old, err->where, sizeof old);
    (void)snprintf(err->where, sizeof err->where, old[0] ? "%s: %s" : "%s%s", prefix, old);
    make_printable(err->where);
}
