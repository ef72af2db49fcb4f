/* str.h - growing byte buffers, slices, UTF-8. */
#ifndef QN_BASE_STR_H
#define QN_BASE_STR_H

#include "quern.h"

/* Borrowed bytes; not terminated. */
typedef struct qn_slice {
    const char *p;
    size_t n;
} qn_slice;

/* A growing byte buffer. A failed append sets `failed` and is then sticky, so that a writer checks once at the end.
 * data is always terminated by a NUL that n does not count (once anything was appended). */
typedef struct qn_buf {
    char *data;
    size_t n, cap;
    size_t limit; /* 0: none; more than this many bytes counts as failure */
    bool failed;
} qn_buf;

void qn__buf_put(qn_buf *b, const void *p, size_t n);
void qn__buf_puts(qn_buf *b, const char *s);
void qn__buf_putc(qn_buf *b, char c);
void qn__buf_printf(qn_buf *b, const char *fmt, ...) QN_PRINTF(2, 3);
/* Hand the bytes over as a terminated string and empty the buffer; NULL if it had failed (then everything is freed). */
char *qn__buf_take(qn_buf *b, size_t *n);
void qn__buf_free(qn_buf *b);

/* Decode one character of [p, p+n), n > 0. Returns the bytes consumed (1..4) and the code point; malformed input gives
 * 1 and -1 (surrogates, overlong forms and values over U+10FFFF are malformed). */
size_t qn__utf8_decode(const char *p, size_t n, int32_t *cp);
/* Encode cp (0..10FFFF) into out[4]; returns the length. */
size_t qn__utf8_encode(int32_t cp, char out[4]);
bool qn__utf8_valid(const char *p, size_t n);
/* How many of the last bytes of [p, p+n) are the beginning of a character that is not complete yet (0..3): what a
 * streaming writer holds back. Malformed endings count as complete. */
size_t qn__utf8_incomplete(const char *p, size_t n);

/* 64-bit FNV-1a: for hash tables over our own data, not for names or secrets. */
uint64_t qn__hash(const void *p, size_t n);

#endif
