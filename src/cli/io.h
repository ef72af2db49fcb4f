/* io.h - what every command does with text: whole files in, bytes out, one sentence when it fails. */
#ifndef QN_CLI_IO_H
#define QN_CLI_IO_H

#include "quern.h"

/* `quern: WHERE: WHAT` on stderr; returns CLI_FAILED, or CLI_INTERRUPTED when the call was cancelled. */
int cli_fail(const qn_err *err);
int cli_fail_text(const char *where, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Write to stdout. CLI_OK, or CLI_FAILED after saying why: once, and not at all when the reader has gone. */
int cli_put(const char *p, size_t n);
int cli_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int cli_flush(void);
/* The same for text that a model or file made: when stdout is a terminal, control characters (which could move the
 * cursor or retitle the window) are shown as their Unicode pictures, and bytes that are no text as U+FFFD. */
int cli_put_safe(const char *p, size_t n);

/* Read a whole file, `-` being stdin, at most CLI_MAX_TEXT bytes; terminated; the caller frees with free(). */
#define CLI_MAX_TEXT ((size_t)1 << 30)
int cli_read(const char *path, char **text, size_t *n);

/* Raw little-endian float32 to a file, which appears whole or not at all; `-` is stdout. */
int cli_write_floats(const char *path, const float *v, size_t n);

/* Offset of the first byte that is not UTF-8, or n. */
size_t cli_utf8_bad(const char *p, size_t n);

#endif
