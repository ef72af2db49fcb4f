/* subject_local.c - a model in this process: several questions run in one engine together. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "services/probe/subject.h"

enum { AT_ONCE = 8, FORMS = 16 };

/* Tools or a schema, compiled: making one takes time, and a conversation asks with the same ones again and again. */
typedef struct form {
    char *key;
    qn_tools *tools;
    qn_grammar *grammar;
    uint64_t used;
} form;

typedef struct local {
    qn_subject s;
    qn_model *model;
    qn_engine *engine;
    form forms[FORMS];
    uint64_t clock;
    int32_t gap[3]; /* tokens before the text, before what follows the gap, and before what fills it; -1: none */
} local;

void qn__answer_free(qn_answer *a)
{
    qn__buf_free(&a->text);
    qn__buf_free(&a->reasoning);
    qn__buf_free(&a->raw);
    qn_free(a->calls_json);
    qn_free(a->token_s);
    *a = (qn_answer){0};
}

void qn__subject_close(qn_subject *s)
{
    if (s)
        s->close(s);
}

/* ---- forms ---- */

static void drop_form(form *f)
{
    qn_tools_close(f->tools);
    qn_grammar_close(f->grammar);
    qn_free(f->key);
    *f = (form){0};
}

/* The one of that key; else the place of the one that rested longest, emptied. Questions that run together need AT_ONCE forms at
 * most, and those are the latest, so none of theirs is dropped. */
static form *find_form(local *l, const char *key)
{
    form *oldest = &l->forms[0];
    for (size_t i = 0; i < FORMS; i++) {
        form *f = &l->forms[i];
        if (f->key && strcmp(f->key, key) == 0) {
            f->used = ++l->clock;
            return f;
        }
        if (f->used < oldest->used)
            oldest = f;
    }
    drop_form(oldest);
    oldest->used = ++l->clock;
    return oldest;
}

/* *out NULL: the question has neither tools nor a schema. */
static qn_status get_form(local *l, const qn_question *q, const form **out, qn_err *err)
{
    qn_buf key = {0};
    *out = NULL;
    if (!q->tools_json && !q->schema_json)
        return QN_OK;
    if (q->tools_json && q->schema_json)
        return qn__fail(err, QN_EINVAL, "question", "has tools and a schema; leave out one of them");
    if (q->tools_json)
        qn__buf_printf(&key, "tools %d %d %s %s", q->tool_choice, q->unconstrained, q->tool_name ? q->tool_name : "", q->tools_json);
    else
        qn__buf_printf(&key, "schema %s", q->schema_json);
    char *text = qn__buf_take(&key, NULL);
    if (!text)
        return qn__fail_mem(err, "tools");
    form *f = find_form(l, text);
    if (f->key) {
        qn_free(text);
        *out = f;
        return QN_OK;
    }
    const qn_tools_options o = {.tools_json = q->tools_json, .choice = q->tool_choice, .name = q->tool_name, .unconstrained = q->unconstrained};
    qn_status st = q->tools_json ? qn_tools_open(l->model, &o, &f->tools, err)
                                 : qn_grammar_open(l->model, QN_GRAMMAR_SCHEMA, q->schema_json, strlen(q->schema_json), &f->grammar, err);
    if (st) {
        qn_free(text);
        return st;
    }
    f->key = text;
    *out = f;
    return QN_OK;
}

/* ---- asking ---- */

typedef struct asked {
    qn_request *request;
    qn_reply *reply;
    qn_answer *a;
    json_t *calls;
    qn_buf name, arguments; /* of the call that is open */
    bool open, keep_raw;
    double start;
} asked;

static void take_part(void *arg, const qn_part *p)
{
    asked *k = arg;
    switch (p->kind) {
    case QN_PART_TEXT: qn__buf_put(&k->a->text, p->text, p->n); break;
    case QN_PART_REASONING: qn__buf_put(&k->a->reasoning, p->text, p->n); break;
    case QN_PART_CALL:
        k->a->malformed |= k->open;
        k->open = true;
        k->name.n = k->arguments.n = 0;
        qn__buf_puts(&k->name, p->name);
        break;
    case QN_PART_ARGUMENTS: qn__buf_put(&k->arguments, p->text, p->n); break;
    case QN_PART_CALL_END:
        k->open = false;
        k->calls = k->calls ? k->calls : json_array();
        if (json_array_append_new(k->calls, json_pack("{s:s, s:s%}", "name", p->name, "arguments", k->arguments.data ? k->arguments.data : "",
                                                      k->arguments.n)))
            (void)qn__fail_mem(&k->a->err, "answer");
        break;
    }
}

/* <pre> prompt <suf> suffix <mid>, as the server's /infill puts it. */
static qn_status gap_tokens(const local *l, const qn_question *q, int32_t **out, size_t *n_out, qn_err *err)
{
    int32_t *before = NULL, *after = NULL, *ids = NULL;
    size_t n_before = 0, n_after = 0, n = 0;
    if (l->gap[0] < 0 || l->gap[1] < 0 || l->gap[2] < 0)
        return qn__fail(err, QN_EUNSUPPORTED, "infilling", "%s has no tokens for filling a gap; ask one that was trained for it", l->s.name);
    qn_status st = qn_tokenize(l->model, q->prompt, strlen(q->prompt), false, QN_BOS_NO, &before, &n_before, err);
    if (!st)
        st = qn_tokenize(l->model, q->suffix, strlen(q->suffix), false, QN_BOS_NO, &after, &n_after, err);
    if (!st && !(ids = qn__calloc(n_before + n_after + 3, sizeof *ids)))
        st = qn__fail_mem(err, "infilling");
    if (!st) {
        ids[n++] = l->gap[0];
        memcpy(ids + n, before, n_before * sizeof *ids);
        n += n_before;
        ids[n++] = l->gap[1];
        memcpy(ids + n, after, n_after * sizeof *ids);
        n += n_after;
        ids[n++] = l->gap[2];
        *out = ids;
        *n_out = n;
    }
    qn_free(before);
    qn_free(after);
    return st;
}

static qn_status begin(local *l, const qn_question *q, asked *k)
{
    qn_err *err = &k->a->err;
    char *prompt = NULL;
    size_t n_prompt = 0, n_ids = 0;
    int32_t *ids = NULL;
    const form *f = NULL;
    qn_status st = QN_OK;
    if (q->messages_json) {
        const qn_render_options r = {.model = l->model, .messages_json = q->messages_json, .tools_json = q->tools_json};
        st = qn_render(&r, &prompt, &n_prompt, err);
        if (!st)
            st = get_form(l, q, &f, err);
        if (!st && !q->schema_json) /* its form is the whole output's */
            st = qn_reply_open(l->model, f ? f->tools : NULL, prompt, n_prompt, &k->reply, err);
    } else {
        st = get_form(l, q, &f, err);
    }
    k->keep_raw = q->tools_json != NULL;
    const char *text = prompt ? prompt : q->prompt;
    if (!st)
        st = q->suffix && !prompt ? gap_tokens(l, q, &ids, &n_ids, err)
                                  : qn_tokenize(l->model, text, prompt ? n_prompt : strlen(text), prompt != NULL, prompt ? QN_BOS_NO : QN_BOS_AUTO, &ids, &n_ids, err);
    qn_request_options o;
    qn_request_options_init(&o);
    o.tokens = ids;
    o.n_tokens = n_ids;
    o.max_tokens = q->max_tokens;
    o.sampling.temperature = q->temperature;
    o.sampling.top_p = q->top_p > 0 ? q->top_p : 1;
    o.sampling.seed = q->seed;
    o.stop = q->stop;
    o.n_stop = q->n_stop;
    o.show_special = k->reply != NULL;
    o.deadline_s = q->deadline_s;
    if (f)
        o.grammar = f->grammar ? f->grammar : qn_tools_grammar(f->tools, prompt ? prompt : "", n_prompt);
    k->start = qn__now();
    if (!st)
        st = qn_request_open(l->engine, &o, &k->request, err);
    qn_free(prompt);
    qn_free(ids);
    return st;
}

static void end_calls(asked *k)
{
    qn_answer *a = k->a;
    a->malformed |= k->open;
    char *text = k->calls ? json_dumps(k->calls, JSON_COMPACT) : NULL;
    a->calls_json = text ? qn__strndup(text, strlen(text)) : NULL;
    if (!a->err.code && ((k->calls && !a->calls_json) || k->name.failed || k->arguments.failed))
        (void)qn__fail_mem(&a->err, "answer");
    free(text);
    json_decref(k->calls);
    qn__buf_free(&k->name);
    qn__buf_free(&k->arguments);
    k->calls = NULL;
    k->open = false;
}

static void finish(asked *k)
{
    if (k->reply && !k->a->err.code)
        (void)qn_reply_end(k->reply, take_part, k, &k->a->err);
    end_calls(k);
    if (k->reply)
        qn_reply_close(k->reply);
    if (k->request)
        qn_request_close(k->request);
    if (!k->a->err.code && (k->a->text.failed || k->a->reasoning.failed || k->a->raw.failed))
        (void)qn__fail_mem(&k->a->err, "answer");
    k->reply = NULL;
    k->request = NULL;
}

/* The next event of one; true when it has ended. */
static bool advance(asked *k)
{
    qn_event ev;
    qn_answer *a = k->a;
    if (qn_request_next(k->request, &ev, &a->err))
        return true;
    if (ev.kind == QN_EVENT_TEXT) {
        double at = qn__now() - k->start;
        if (a->n_token_s == 0)
            a->first_s = at;
        if (qn__grow((void **)&a->token_s, &a->cap_token_s, a->n_token_s + 1, sizeof *a->token_s))
            a->token_s[a->n_token_s++] = at;
        if (k->keep_raw)
            qn__buf_put(&a->raw, ev.text, ev.n_text);
        if (!k->reply)
            qn__buf_put(&a->text, ev.text, ev.n_text);
        else if (qn_reply_put(k->reply, ev.text, ev.n_text, take_part, k, &a->err))
            return true;
    }
    if (ev.kind != QN_EVENT_END)
        return false;
    a->reason = ev.reason;
    a->prompt_tokens = ev.timings.prompt_tokens;
    a->cached_tokens = ev.timings.cached_tokens;
    a->generated_tokens = ev.timings.generated_tokens;
    a->total_s = qn__now() - k->start;
    return true;
}

static bool ask_some(local *l, const qn_question *q, size_t n, qn_answer *a)
{
    asked k[AT_ONCE] = {{0}};
    size_t left = 0;
    bool on = true;
    for (size_t i = 0; i < n; i++) {
        k[i].a = &a[i];
        if (begin(l, &q[i], &k[i]))
            finish(&k[i]);
        else
            left++;
    }
    while (left > 0 && on) {
        on = !l->s.keep_on || l->s.keep_on(l->s.arg);
        for (size_t i = 0; i < n && on; i++) {
            if (k[i].request && advance(&k[i])) {
                finish(&k[i]);
                left--;
            }
        }
    }
    for (size_t i = 0; i < n; i++)
        if (k[i].request) {
            (void)qn__fail(&a[i].err, QN_ECANCELLED, "answer", "was cancelled");
            finish(&k[i]);
        }
    return on;
}

static bool ask(qn_subject *s, const qn_question *q, size_t n, qn_answer *a)
{
    for (size_t i = 0; i < n; i += AT_ONCE)
        if (!ask_some((local *)s, q + i, n - i < AT_ONCE ? n - i : AT_ONCE, a + i))
            return false;
    return true;
}

static int64_t count(qn_subject *s, const char *text, size_t n)
{
    int32_t *ids = NULL;
    size_t n_ids = 0;
    if (qn_tokenize(((local *)s)->model, text, n, false, QN_BOS_NO, &ids, &n_ids, NULL))
        return -1;
    qn_free(ids);
    return (int64_t)n_ids;
}

static void close_local(qn_subject *s)
{
    local *l = (local *)s;
    if (l->engine)
        qn_engine_close(l->engine);
    for (size_t i = 0; i < FORMS; i++)
        drop_form(&l->forms[i]);
    qn_model_close(l->model);
    qn_free(l);
}

qn_status qn__model_names(const qn_model *m, qn_model_names *out, qn_err *err)
{
    qn_model_info info;
    char print[QN_FINGERPRINT];
    qn_status st = qn_model_fingerprint(m, print, err);
    if (st)
        return st;
    qn_model_get_info(m, &info);
    (void)snprintf(out->fingerprint, sizeof out->fingerprint, "%s", print);
    (void)snprintf(out->name, sizeof out->name, "%s", info.embedded ? "embedded" : info.name && *info.name ? info.name : info.architecture);
    return QN_OK;
}

static void find_gap(local *l)
{
    static const char *const names[3] = {"fim_pre", "fim_suf", "fim_mid"};
    char *text = NULL;
    json_t *r = qn_model_report(l->model, false, &text, NULL) == QN_OK ? json_loads(text, 0, NULL) : NULL;
    const json_t *special = json_object_get(json_object_get(r, "tokenizer"), "special");
    for (int i = 0; i < 3; i++) {
        const json_t *id = json_object_get(json_object_get(special, names[i]), "id");
        l->gap[i] = json_is_integer(id) && json_integer_value(id) < INT32_MAX ? (int32_t)json_integer_value(id) : -1;
    }
    json_decref(r);
    qn_free(text);
}

static qn_status fingerprint(local *l, qn_err *err)
{
    qn_model_names names;
    qn_model_info info;
    qn_status st = qn__model_names(l->model, &names, err);
    if (st)
        return st;
    qn_model_get_info(l->model, &info);
    memcpy(l->s.fingerprint, names.fingerprint, sizeof l->s.fingerprint);
    memcpy(l->s.name, names.name, sizeof l->s.name);
    l->s.chats = info.has_chat_template;
    find_gap(l);
    return QN_OK;
}

qn_status qn__subject_local(const char *path, const qn_engine_options *o, qn_subject **out, qn_err *err)
{
    local *l = qn__calloc(1, sizeof *l);
    if (!l)
        return qn__fail_mem(err, "model");
    l->s.ask = ask;
    l->s.close = close_local;
    l->s.count = count;
    l->s.at_once = AT_ONCE;
    qn_status st = qn_model_open(path, QN_OPEN_FULL, &l->model, err);
    if (!st)
        st = qn_engine_open(l->model, o, &l->engine, err);
    if (!st)
        st = fingerprint(l, err);
    if (st) {
        close_local(&l->s);
        return st;
    }
    qn_engine_info info;
    qn_engine_get_info(l->engine, &info);
    l->s.n_ctx = info.n_ctx;
    *out = &l->s;
    return QN_OK;
}
