/* grammar.c - grammars of the public API: a text of some kind, compiled and bound to a model's vocabulary. */
#include <stdlib.h>

#include "base/err.h"
#include "engine/model.h"
#include "text/grammar.h"

enum { TEXT_MAX = 4 << 20 };

static qn_node from_schema(qn_ir *ir, const char *text, size_t n, const qn_json_style *style, qn_err *err)
{
    json_error_t e;
    json_t *j = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (!j) {
        (void)qn__fail(err, QN_EFORMAT, "schema", "not JSON: line %d, column %d: %.120s", e.line, e.column, e.text);
        return -1;
    }
    qn_node r = qn__ir_schema(ir, j, style, "#", err);
    json_decref(j);
    return r;
}

qn_node qn__grammar_source(qn_ir *ir, qn_grammar_kind kind, const char *text, size_t n, qn_err *err)
{
    static const qn_json_style style = {.any_space = true};
    if (n > TEXT_MAX) {
        (void)qn__fail(err, QN_ELIMIT, "grammar", "a description of %zu bytes is more than the %d that are taken", n, TEXT_MAX);
        return -1;
    }
    switch (kind) {
    case QN_GRAMMAR_JSON: return qn__ir_json(ir, &style);
    case QN_GRAMMAR_SCHEMA: return from_schema(ir, text, n, &style, err);
    case QN_GRAMMAR_REGEX: return qn__ir_regex(ir, text, n, "regex", err);
    case QN_GRAMMAR_GBNF: return qn__ir_gbnf(ir, text, n, err) ? -1 : qn__ir_rule(ir, "root");
    }
    (void)qn__fail(err, QN_EINVAL, "grammar", "%d is not a kind of grammar", (int)kind);
    return -1;
}

qn_status qn_grammar_open(const qn_model *m, qn_grammar_kind kind, const char *text, size_t n, qn_grammar **out, qn_err *err)
{
    qn_ir *ir = NULL;
    qn_err why = {0};
    if (!m->tokenizer)
        return qn__fail(err, m->tokenizer_err.code ? m->tokenizer_err.code : QN_EINVAL, m->file,
                        "a grammar is bound to a vocabulary, and this model has none that can be used");
    qn_status st = qn__ir_open(m->tokenizer, &ir, &why);
    if (!st) {
        qn_node root = qn__grammar_source(ir, kind, text, n, &why);
        if (!why.code)
            qn__ir_root(ir, root);
        st = why.code ? why.code : qn__ir_check(ir, &why);
    }
    if (!st)
        st = qn__grammar_compile(ir, m->tokenizer, out, &why);
    qn__ir_close(ir);
    if (st && err)
        *err = why;
    return st;
}

void qn_grammar_close(qn_grammar *g)
{
    qn__grammar_drop(g);
}
