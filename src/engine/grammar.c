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

qn_status qn_grammar_open(const qn_model *m, qn_grammar_kind kind, const char *text, size_t n, qn_grammar **out, qn_err *err)
{
    static const qn_json_style style = {.any_space = true};
    qn_ir *ir = NULL;
    qn_err why = {0};
    qn_node root = 0;
    if (!m->tokenizer)
        return qn__fail(err, m->tokenizer_err.code ? m->tokenizer_err.code : QN_EINVAL, m->file,
                        "a grammar is bound to a vocabulary, and this model has none that can be used");
    if (n > TEXT_MAX)
        return qn__fail(err, QN_ELIMIT, "grammar", "a description of %zu bytes is more than the %d that are taken", n, TEXT_MAX);
    qn_status st = qn__ir_open(m->tokenizer, &ir, &why);
    if (st)
        goto out;
    switch (kind) {
    case QN_GRAMMAR_JSON: root = qn__ir_json(ir, &style); break;
    case QN_GRAMMAR_SCHEMA: root = from_schema(ir, text, n, &style, &why); break;
    case QN_GRAMMAR_REGEX: root = qn__ir_regex(ir, text, n, "regex", &why); break;
    case QN_GRAMMAR_GBNF: (void)qn__ir_gbnf(ir, text, n, &why); break;
    default: (void)qn__fail(&why, QN_EINVAL, "grammar", "%d is not a kind of grammar", (int)kind); break;
    }
    if (!why.code && kind != QN_GRAMMAR_GBNF)
        qn__ir_root(ir, root);
    st = why.code ? why.code : qn__ir_check(ir, &why);
    if (!st)
        st = qn__grammar_compile(ir, m->tokenizer, out, &why);
out:
    qn__ir_close(ir);
    if (st && err)
        *err = why;
    return st;
}

void qn_grammar_close(qn_grammar *g)
{
    qn__grammar_drop(g);
}
