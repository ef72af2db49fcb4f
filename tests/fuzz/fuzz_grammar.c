/* fuzz_grammar.c - the first byte says what the rest is: a JSON Schema, GBNF, or a regular expression (as a whole, or as a
 * schema's pattern). What compiles is walked a little way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/grammar.h"
#include "text/grammar_regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const qn_json_style styles[] = {{.compact = true}, {.any_space = true}};
    qn_ir *ir = NULL;
    qn_grammar *g = NULL;
    qn_matcher *m = NULL;
    qn_err err = {0};
    if (!size || qn__ir_open(NULL, &ir, &err))
        return 0;
    const char *text = (const char *)data + 1;
    size_t n = size - 1;
    int kind = data[0] & 3;
    if (kind == 0) {
        json_t *j = json_loadb(text, n, JSON_DECODE_ANY, NULL);
        if (j)
            qn__ir_root(ir, qn__ir_schema(ir, j, &styles[data[0] >> 2 & 1], "#", &err));
        json_decref(j);
    } else if (kind == 1) {
        (void)qn__ir_gbnf(ir, text, n, &err);
    } else {
        qn__ir_root(ir, qn__regex_node(ir, text, n, kind == 3, kind == 3, "regex"));
    }
    qn_status st = qn__grammar_compile(ir, NULL, &g, &err);
    qn__ir_close(ir);
    if (st ? g || !err.what[0] || err.code != st : !g) {
        (void)fprintf(stderr, "status %d without what it promises\n", (int)st);
        abort();
    }
    if (!st && !qn__matcher_open(g, &m, &err)) {
        /* Some byte always goes on, or it may end. */
        for (int i = 0; i < 40; i++) {
            int b = 0;
            while (b < 256 && !qn__matcher_accept_bytes(m, (char[]){(char)((b * 37 + i * 11) & 255)}, 1))
                b++;
            if (b == 256) {
                if (i == 0 && !qn__matcher_may_end(m))
                    abort();
                break;
            }
        }
        qn__matcher_close(m);
    }
    qn__grammar_drop(g);
    return 0;
}
