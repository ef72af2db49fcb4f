/* io.c - see io.h. */
#include "cli/io.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/term.h"

int cli_fail(const qn_err *err)
{
    fprintf(stderr, "quern: %s%s%s\n", err->where, err->where[0] ? ": " : "", err->what);
    return err->code == QN_ECANCELLED ? CLI_INTERRUPTED : CLI_FAILED;
}

int cli_fail_text(const char *where, const char *fmt, ...)
{
    va_list ap;
    fprintf(stderr, "quern: %s: ", where);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return CLI_FAILED;
}

/* ---- stdout ---------------------------------------------------------------------------------------------------- */

/* ferror is sticky, so that only the first failure gets here. */
static int put_failed(int e)
{
    if (e != EPIPE)
        cli_fail_text("standard output", "cannot write: %s", strerror(e));
    return CLI_FAILED;
}

int cli_put(const char *p, size_t n)
{
    if (ferror(stdout))
        return CLI_FAILED;
    errno = 0;
    return fwrite(p, 1, n, stdout) == n ? CLI_OK : put_failed(errno);
}

int cli_printf(const char *fmt, ...)
{
    if (ferror(stdout))
        return CLI_FAILED;
    va_list ap;
    va_start(ap, fmt);
    errno = 0;
    const int n = vprintf(fmt, ap);
    va_end(ap);
    return n >= 0 ? CLI_OK : put_failed(errno);
}

int cli_flush(void)
{
    if (ferror(stdout))
        return CLI_FAILED;
    errno = 0;
    return fflush(stdout) == 0 ? CLI_OK : put_failed(errno);
}

/* Bytes of the well-formed character at p, 0 when it is none (overlong forms, surrogates and values over U+10FFFF are
 * malformed). */
static size_t utf8(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80)
        return 1;
    const size_t len = p[0] >= 0xC2 && p[0] <= 0xDF   ? 2
                       : p[0] >= 0xE0 && p[0] <= 0xEF ? 3
                       : p[0] >= 0xF0 && p[0] <= 0xF4 ? 4
                                                      : 0;
    if (!len || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) || (p[0] == 0xF0 && p[1] < 0x90) ||
        (p[0] == 0xF4 && p[1] > 0x8F))
        return 0;
    return len;
}

/* What stands on a terminal for the character of `len` bytes (0: malformed) at p; NULL: itself. `room` holds it. */
static const char *picture(const char *p, size_t len, char room[4])
{
    const unsigned char c = (unsigned char)p[0];
    if (len == 1 && (c == 0x7F || (c < 0x20 && c != '\n' && c != '\t'))) {
        /* U+2400.. are the pictures of C0, U+2421 of DEL */
        room[0] = (char)0xE2;
        room[1] = (char)0x90;
        room[2] = (char)(c == 0x7F ? 0xA1 : 0x80 + c);
        room[3] = 0;
        return room;
    }
    const bool c1 = len == 2 && c == 0xC2 && (unsigned char)p[1] < 0xA0;
    return len == 0 || c1 ? "\xEF\xBF\xBD" : NULL;
}

int cli_put_safe(const char *p, size_t n)
{
    if (!term_is_terminal(TERM_OUT))
        return cli_put(p, n);
    size_t from = 0;
    for (size_t i = 0; i < n;) {
        char room[4];
        const size_t len = utf8((const unsigned char *)p + i, n - i);
        const char *instead = picture(p + i, len, room);
        const size_t next = i + (len ? len : 1);
        if (instead) {
            if (cli_put(p + from, i - from) != CLI_OK || cli_put(instead, strlen(instead)) != CLI_OK)
                return CLI_FAILED;
            from = next;
        }
        i = next;
    }
    return cli_put(p + from, n - from);
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

int cli_read(const char *path, char **text, size_t *n)
{
    const bool in = strcmp(path, "-") == 0;
    const char *name = in ? "standard input" : path;
    FILE *f = in ? stdin : fopen(path, "rb");
    if (!f)
        return cli_fail_text(name, "cannot open: %s", strerror(errno));
    int rc = CLI_FAILED;
    char *data = NULL; /* one byte is kept for the terminator */
    size_t len = 0, cap = 0, got;
    do {
        if (cap - len < 2) {
            cap = cap ? cap * 2 : 4096;
            char *p = cap <= CLI_MAX_TEXT * 2 ? realloc(data, cap) : NULL;
            if (!p) {
                if (cap > CLI_MAX_TEXT * 2)
                    cli_fail_text(name, "is larger than the %zu bytes that are read at most", CLI_MAX_TEXT);
                else
                    cli_fail_text(name, "does not fit the memory");
                goto out;
            }
            data = p;
        }
        errno = 0;
        got = fread(data + len, 1, cap - len - 1, f);
        len += got;
    } while (got);
    if (ferror(f)) {
        cli_fail_text(name, "cannot read: %s", strerror(errno));
        goto out;
    }
    data[len] = 0;
    *text = data;
    *n = len;
    data = NULL;
    rc = CLI_OK;
out:
    free(data);
    if (!in)
        fclose(f);
    return rc;
}

size_t cli_utf8_bad(const char *p, size_t n)
{
    size_t i = 0, len;
    while (i < n && (len = utf8((const unsigned char *)p + i, n - i)) > 0)
        i += len;
    return i;
}

/* Little-endian float32, whatever the machine's order. */
static bool put_floats(FILE *f, const float *v, size_t n)
{
    enum { BATCH = 4096 };
    unsigned char bytes[BATCH * 4];
    for (size_t i = 0; i < n; i += BATCH) {
        const size_t m = n - i < BATCH ? n - i : BATCH;
        for (size_t j = 0; j < m; j++) {
            uint32_t u;
            memcpy(&u, v + i + j, sizeof u);
            for (size_t b = 0; b < 4; b++)
                bytes[j * 4 + b] = (unsigned char)(u >> (8 * b));
        }
        if (fwrite(bytes, 4, m, f) != m)
            return false;
    }
    return true;
}

int cli_write_floats(const char *path, const float *v, size_t n)
{
    term_file f;
    if (strcmp(path, "-") == 0)
        return put_floats(stdout, v, n) ? CLI_OK
               : errno == EPIPE         ? CLI_FAILED
                                        : cli_fail_text("standard output", "cannot write: %s", strerror(errno));
    if (!term_file_open(path, &f))
        return cli_fail_text(path, "cannot write: %s", strerror(errno));
    if (!put_floats(f.f, v, n)) {
        const int e = errno;
        term_file_abort(&f);
        return cli_fail_text(path, "cannot write: %s", strerror(e));
    }
    return term_file_commit(&f) ? CLI_OK : cli_fail_text(path, "cannot write: %s", strerror(errno));
}
