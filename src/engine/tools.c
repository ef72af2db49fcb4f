/* tools.c - tools and replies of the public API: a model's template decides the dialect, its tokenizer binds the grammar. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "engine/model.h"
#include "text/toolcall/parse.h"

struct qn_tools {
    qn_calls *calls;
    /* Of prompts that end outside of reasoning, then of those that end inside each form of it; all NULL: nothing is constrained. */
    qn_grammar *grammar[1 + QN_MAX_THINKING];
    qn_thinking thinking[QN_MAX_THINKING]; /* what the template mentions */
    size_t n_thinking;
};

struct qn_reply {
    qn_parse *parse;
    qn_thinking thinking[QN_MAX_THINKING];
};

/* ---- tools ---- */

static bool token_text(const qn_tokenizer *t, int32_t id, char **out)
{
    if (!t || id < 0 || id >= qn__tokenizer_info(t)->n_vocab)
        return true;
    qn_slice s = qn__token_text(t, id);
    return (*out = qn__strndup(s.p, s.n)) != NULL;
}

static qn_status detect(const qn_model *m, qn_calls *c, const char *dialect, qn_err *err)
{
    qn_status st;
    char *bos = NULL, *eos = NULL;
    qn_slice source = qn__model_template(m);
    qn_probe probe = {.template = m->template, .source = source.p, .n_source = source.n, .in.now = (int64_t)time(NULL)};
    const qn_tokenizer_info *info = m->tokenizer ? qn__tokenizer_info(m->tokenizer) : NULL;
    if (info && (!token_text(m->tokenizer, info->bos, &bos) || !token_text(m->tokenizer, info->eos, &eos))) {
        st = qn__fail_mem(err, "tools");
        goto out;
    }
    probe.in.bos = bos;
    probe.in.eos = eos;
    st = qn__calls_detect(c, &probe, dialect, err);
out:
    qn_free(bos);
    qn_free(eos);
    return st;
}

/* Where calls have no marker, an object with a key "name" would be one: an answer has none. Takes j. NULL: failed. */
static json_t *without_name(json_t *j, qn_err *err)
{
    static const char *const keys[] = {"name", "tool_name", "function"};
    const json_t *need = json_object_get(j, "required");
    for (size_t i = 0; i < json_array_size(need); i++)
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            if (json_is_string(json_array_get(need, i)) && strcmp(json_string_value(json_array_get(need, i)), keys[k]) == 0) {
                (void)qn__fail(err, QN_EUNSUPPORTED, "#/required", "this model's calls have no marker: an answer with a key \"%s\" cannot be told from one; rename it, or ask without tools", keys[k]);
                json_decref(j);
                return NULL;
            }
    json_t *no = json_pack("{s:{s:{s:[s,s,s]}}}", "propertyNames", "not", "enum", keys[0], keys[1], keys[2]);
    json_t *copy = json_is_object(j) ? json_copy(j) : json_is_true(j) ? json_object() : NULL;
    json_t *all = json_array();
    bool ok = no && all && (copy || json_is_false(j));
    if (ok && copy && json_is_array(json_object_get(copy, "allOf")))
        ok = !json_array_extend(all, json_object_get(copy, "allOf"));
    ok = ok && !json_array_append(all, no) && (!copy || !json_object_set(copy, "allOf", all));
    if (!ok)
        (void)qn__fail_mem(err, "tools");
    json_t *out = ok ? (copy ? json_incref(copy) : json_incref(j)) : NULL;
    json_decref(no);
    json_decref(all);
    json_decref(copy);
    json_decref(j);
    return out;
}

/* The answer's form. */
static qn_node answer(const qn_tools_options *o, const qn_tools *t, qn_ir *ir, qn_err *err)
{
    if (!t->calls->dialect->bare || !t->calls->n_tools)
        return qn__grammar_source(ir, o->answer_kind, o->answer, o->n_answer, err);
    if (o->answer_kind == QN_GRAMMAR_GBNF || o->answer_kind == QN_GRAMMAR_REGEX) {
        (void)qn__fail(err, QN_EUNSUPPORTED, "grammar", "this model's calls have no marker: what a grammar allows cannot be told from one; ask without tools");
        return -1;
    }
    json_t *j = o->answer_kind == QN_GRAMMAR_JSON ? json_true() : json_loadb(o->answer, o->n_answer, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (!j) /* says why */
        return qn__grammar_source(ir, o->answer_kind, o->answer, o->n_answer, err);
    if (!(j = without_name(j, err)))
        return -1;
    char *text = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(j);
    qn_node n = text ? qn__grammar_source(ir, QN_GRAMMAR_SCHEMA, text, strlen(text), err) : -1;
    if (!text)
        (void)qn__fail_mem(err, "tools");
    free(text);
    return n;
}

static qn_status compile_one(const qn_model *m, const qn_tools_options *o, qn_tools *t, int inside, qn_err *err)
{
    qn_ir *ir = NULL;
    qn_calls_want want = {.required = o->choice == QN_TOOLS_REQUIRED || o->choice == QN_TOOLS_NAMED,
                          .single = o->single,
                          .only = o->choice == QN_TOOLS_NAMED ? o->name : NULL,
                          .thinking = t->thinking,
                          .n_thinking = t->n_thinking,
                          .inside = inside};
    qn_err why = {0};
    qn_status st = qn__ir_open(m->tokenizer, &ir, err);
    if (!st && o->answer) {
        want.answer = answer(o, t, ir, &why);
        want.has_answer = true;
        st = why.code ? why.code : qn__ir_check(ir, &why);
        if (st && err)
            *err = why;
    }
    if (!st)
        st = qn__calls_grammar(t->calls, &want, m->tokenizer, ir, err);
    if (!st)
        st = qn__grammar_compile(ir, m->tokenizer, &t->grammar[inside + 1], err);
    if (ir)
        qn__ir_close(ir);
    return st;
}

static qn_status compile(const qn_model *m, const qn_tools_options *o, qn_tools *t, qn_err *err)
{
    qn_slice source = qn__model_template(m);
    qn_thinking all[QN_MAX_THINKING];
    size_t n = qn__thinking_of(source.p, source.n, all);
    qn_status st = QN_OK;
    /* <think> always counts in what is read, but is let in only where the template knows it. */
    for (size_t i = 0; i < n; i++)
        if (i > 0 || (source.p && memmem(source.p, source.n, "think>", 6)))
            t->thinking[t->n_thinking++] = all[i];
    bool headers = t->calls->dialect->form == QN_FORM_CHANNELS || t->calls->dialect->form == QN_FORM_RECIPIENT;
    for (int i = -1; i < (headers ? 0 : (int)t->n_thinking) && !st; i++)
        st = compile_one(m, o, t, i, err);
    t->calls->exact = !st;
    t->calls->answer = o->answer != NULL;
    return st;
}

qn_status qn_tools_open(const qn_model *m, const qn_tools_options *o, qn_tools **out, qn_err *err)
{
    qn_status st;
    qn_tools *t = qn__calloc(1, sizeof *t);
    if (!t)
        return qn__fail_mem(err, "tools");
    st = qn__calls_open(o->tools_json, &t->calls, err);
    if (st)
        goto out;
    if (o->choice == QN_TOOLS_NAMED && (!o->name || !qn__calls_find(t->calls, o->name, strlen(o->name)))) {
        st = qn__fail(err, QN_EINVAL, "tool_choice", "names \"%.80s\", which is not among the tools", o->name ? o->name : "");
        goto out;
    }
    if (!t->calls->n_tools && (o->choice == QN_TOOLS_REQUIRED)) {
        st = qn__fail(err, QN_EINVAL, "tool_choice", "requires a call, but no tools are given");
        goto out;
    }
    st = detect(m, t->calls, o->dialect, err);
    if (o->choice == QN_TOOLS_NONE)
        t->calls->n_tools = 0; /* what looks like a call is text */
    if (!st && (t->calls->n_tools || o->answer) && m->tokenizer && !o->unconstrained)
        st = compile(m, o, t, err);
out:
    if (st)
        qn_tools_close(t);
    else
        *out = t;
    return st;
}

void qn_tools_close(qn_tools *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < sizeof t->grammar / sizeof *t->grammar; i++)
        if (t->grammar[i])
            qn__grammar_drop(t->grammar[i]);
    qn__calls_close(t->calls);
    qn_free(t);
}

const qn_grammar *qn_tools_grammar(const qn_tools *t, const char *prompt, size_t n_prompt)
{
    int inside = prompt ? qn__thinking_open_in(t->thinking, t->n_thinking, prompt, n_prompt) : -1;
    return t->grammar[inside + 1] ? t->grammar[inside + 1] : t->grammar[0];
}

const char *qn_tools_dialect(const qn_tools *t)
{
    return t->calls->dialect->name;
}

/* ---- replies ---- */

qn_status qn_reply_open(const qn_model *m, const qn_tools *tools, const char *prompt, size_t n_prompt, qn_reply **out, qn_err *err)
{
    qn_reply *r = qn__calloc(1, sizeof *r);
    if (!r)
        return qn__fail_mem(err, "reply");
    qn_slice source = qn__model_template(m);
    size_t n = qn__thinking_of(source.p, source.n, r->thinking);
    const qn_dialect *d = tools ? tools->calls->dialect : NULL;
    /* Channels are a form of reasoning, too. */
    if (!d && source.p && memmem(source.p, source.n, "<|channel|>analysis", 19))
        d = &qn__dialect_harmony;
    qn_status st = qn__parse_open(tools ? tools->calls : NULL, d, r->thinking, n, prompt, n_prompt, &r->parse, err);
    if (st) {
        qn_free(r);
        return st;
    }
    *out = r;
    return QN_OK;
}

void qn_reply_close(qn_reply *r)
{
    if (!r)
        return;
    qn__parse_close(r->parse);
    qn_free(r);
}

qn_status qn_reply_put(qn_reply *r, const char *text, size_t n, void (*part)(void *arg, const qn_part *p), void *arg, qn_err *err)
{
    return qn__parse_put(r->parse, text, n, part, arg, err);
}

qn_status qn_reply_end(qn_reply *r, void (*part)(void *arg, const qn_part *p), void *arg, qn_err *err)
{
    return qn__parse_end(r->parse, part, arg, err);
}
