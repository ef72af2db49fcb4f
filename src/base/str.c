/* str.c - see str.h. */
#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static bool reserve(qn_buf *b, size_t more)
{
    size_t need;
    if (b->failed)
        return false;
    if (!qn__add(b->n, more, &need) || !qn__add(need, 1, &need) || (b->limit && need - 1 > b->limit) ||
        !qn__grow((void **)&b->data, &b->cap, need, 1)) {
        b->failed = true;
        return false;
    }
    return true;
}

void qn__buf_put(qn_buf *b, const void *p, size_t n)
{
    if (!reserve(b, n))
        return;
    if (n)
        memcpy(b->data + b->n, p, n);
    b->n += n;
    b->data[b->n] = 0;
}

void qn__buf_puts(qn_buf *b, const char *s)
{
    qn__buf_put(b, s, strlen(s));
}

void qn__buf_putc(qn_buf *b, char c)
{
    qn__buf_put(b, &c, 1);
}

void qn__buf_printf(qn_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || !reserve(b, (size_t)n)) {
        b->failed = true;
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(b->data + b->n, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
}

char *qn__buf_take(qn_buf *b, size_t *n)
{
    if (!b->data)
        (void)reserve(b, 0);
    if (b->failed) {
        qn__buf_free(b);
        return NULL;
    }
    char *p = b->data;
    p[b->n] = 0;
    if (n)
        *n = b->n;
    *b = (qn_buf){.limit = b->limit};
    return p;
}

void qn__buf_free(qn_buf *b)
{
    free(b->data);
    *b = (qn_buf){.limit = b->limit};
}

size_t qn__utf8_decode(const char *p, size_t n, int32_t *cp)
{
    const unsigned char *s = (const unsigned char *)p;
    *cp = -1;
    if (s[0] < 0x80) {
        *cp = s[0];
        return 1;
    }
    size_t len = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    static const int32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (s[0] < 0xC2 || s[0] > 0xF4 || n < len)
        return 1;
    int32_t c = s[0] & (0x7F >> len);
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 1;
        c = (c << 6) | (s[i] & 0x3F);
    }
    if (c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return 1;
    *cp = c;
    return len;
}

size_t qn__utf8_encode(int32_t cp, char out[4])
{
    uint32_t c = (uint32_t)cp;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | (c >> 18 & 7));
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

bool qn__utf8_valid(const char *p, size_t n)
{
    int32_t cp;
    for (size_t i = 0; i < n;) {
        i += qn__utf8_decode(p + i, n - i, &cp);
        if (cp < 0)
            return false;
    }
    return true;
}

size_t qn__utf8_incomplete(const char *p, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = (unsigned char)p[n - back];
        if ((c & 0xC0) == 0x80)
            continue;
        size_t len = c >= 0xF0 && c <= 0xF4 ? 4 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xC2 && c < 0xE0 ? 2 : 1;
        if (len <= back)
            return 0;
        /* The second byte of some leads is narrower (no overlong forms, surrogates, or values past U+10FFFF). */
        if (back >= 2) {
            unsigned char d = (unsigned char)p[n - back + 1];
            if ((c == 0xE0 && d < 0xA0) || (c == 0xED && d > 0x9F) || (c == 0xF0 && d < 0x90) ||
                (c == 0xF4 && d > 0x8F))
                return 0;
        }
        return back;
    }
    return 0;
}

uint64_t qn__hash(const void *p, size_t n)
{
    const unsigned char *s = p;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ s[i]) * 0x100000001b3u;
    return h;
}
