/* json_scan.h - one JSON value as its bytes come in: where it ends, and that it is JSON.
 *
 * Strict (RFC 8259) but for one thing: control characters inside strings, which models write when they mean line breaks, are let
 * through; whoever hands the text on escapes them. Input is whole UTF-8 characters. Depth is bounded. */
#ifndef QN_TEXT_TOOLCALL_JSON_SCAN_H
#define QN_TEXT_TOOLCALL_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QN_JSON_SCAN_DEPTH = 128 };

typedef struct qn_json_scan {
    uint64_t object[QN_JSON_SCAN_DEPTH / 64]; /* bit per level: an object, else an array */
    uint16_t depth;
    uint8_t state, sub;
    const char *word; /* what is left of true, false, null */
    bool done, bad, in_string;
} qn_json_scan;

void qn__json_scan_init(qn_json_scan *s);
/* Of an object: any other value is bad from its first byte. */
void qn__json_scan_init_object(qn_json_scan *s);
/* Read up to n bytes; returns how many belong to the value. Less than n: it is done, or what stands there is not JSON (bad). A number
 * at the top is done only with the byte behind it. */
size_t qn__json_scan(qn_json_scan *s, const char *p, size_t n);

#endif
