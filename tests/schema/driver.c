/* driver.c - what the schema compiler says, for tests/schema/run.mjs: a request per line on stdin, an answer per line on stdout.
 *
 *   {"schema": ..., "instances": ["JSON text", ...], "samples": 200}
 *   {"ok": true, "accepted": [true, ...], "samples": ["JSON text", ...], "cut": 3}    cut: samples that did not come to an end
 *   {"ok": false, "code": -3, "where": "#/...", "what": "..."} */
#include <stdio.h>
#include <stdlib.h>

#include "../unit/grammar_vocab.h"

static bool accepted(const qn_grammar *g, const char *text)
{
    qn_matcher *m = NULL;
    if (qn__matcher_open(g, &m, NULL))
        return false;
    bool ok = true;
    for (; *text && ok; text++)
        ok = qn__matcher_accept_bytes(m, text, 1);
    ok = ok && qn__matcher_may_end(m);
    qn__matcher_close(m);
    return ok;
}

static json_t *answer(const qn_tokenizer *t, const json_t *q, uint64_t seed)
{
    qn_ir *ir = NULL;
    qn_grammar *g = NULL;
    qn_err err = {0};
    static const qn_json_style compact = {.compact = true}, style = {.any_space = true};
    json_t *out = json_object(), *list = json_array(), *samples = json_array(), *x;
    size_t i, cut = 0, bad = 0;
    qn_status st = qn__ir_open(t, &ir, &err);
    if (!st) {
        qn__ir_root(ir, qn__ir_schema(ir, json_object_get(q, "schema"), json_is_true(json_object_get(q, "spaces")) ? &style : &compact, "#", &err));
        st = qn__ir_check(ir, &err);
    }
    if (!st)
        st = qn__grammar_compile(ir, t, &g, &err);
    qn__ir_close(ir);
    (void)json_object_set_new(out, "ok", json_boolean(!st));
    if (st) {
        (void)json_object_set_new(out, "code", json_integer(st));
        (void)json_object_set_new(out, "where", json_string(err.where));
        (void)json_object_set_new(out, "what", json_string(err.what));
    }
    json_array_foreach(json_object_get(q, "instances"), i, x)
        if (!st)
            (void)json_array_append_new(list, json_boolean(accepted(g, json_string_value(x))));
    json_int_t n = st ? 0 : json_integer_value(json_object_get(q, "samples"));
    for (json_int_t k = 0; k < n; k++) {
        qn_buf text = {0};
        bool ended;
        int r = vocab_walk(g, seed + (uint64_t)k * 977, 40, false, &text, &ended);
        bad += r != 0;
        cut += !ended;
        if (ended)
            (void)json_array_append_new(samples, json_stringn(text.data ? text.data : "", text.n));
        qn__buf_free(&text);
    }
    qn__grammar_drop(g);
    (void)json_object_set_new(out, "accepted", list);
    (void)json_object_set_new(out, "samples", samples);
    (void)json_object_set_new(out, "cut", json_integer((json_int_t)cut));
    (void)json_object_set_new(out, "bad", json_integer((json_int_t)bad));
    return out;
}

int main(void)
{
    vocab v = vocab_open();
    char *line = NULL;
    size_t cap = 0;
    uint64_t seed = 1;
    while (getline(&line, &cap, stdin) > 0) {
        json_t *q = json_loads(line, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        json_t *a = answer(v.t, q, seed++ * 100003);
        char *text = json_dumps(a, JSON_COMPACT);
        puts(text ? text : "{}");
        (void)fflush(stdout);
        free(text);
        json_decref(a);
        json_decref(q);
    }
    free(line);
    vocab_close(&v);
    return 0;
}
