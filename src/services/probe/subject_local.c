/* subject_local.c - a model in this process: several questions run in one engine together. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "services/probe/subject.h"

enum { AT_ONCE = 8 };

typedef struct local {
    qn_subject s;
    qn_model *model;
    qn_engine *engine;
} local;

void qn__answer_free(qn_answer *a)
{
    qn__buf_free(&a->text);
    qn__buf_free(&a->reasoning);
    qn_free(a->calls_json);
    qn_free(a->token_s);
    *a = (qn_answer){0};
}

void qn__subject_close(qn_subject *s)
{
    if (s)
        s->close(s);
}

typedef struct asked {
    qn_request *request;
    qn_reply *reply;
    qn_answer *a;
    double start;
} asked;

static void take_part(void *arg, const qn_part *p)
{
    qn_answer *a = arg;
    if (p->kind == QN_PART_TEXT)
        qn__buf_put(&a->text, p->text, p->n);
    else if (p->kind == QN_PART_REASONING)
        qn__buf_put(&a->reasoning, p->text, p->n);
}

static qn_status begin(local *l, const qn_question *q, asked *k)
{
    qn_err *err = &k->a->err;
    char *prompt = NULL;
    size_t n_prompt = 0, n_ids = 0;
    int32_t *ids = NULL;
    qn_status st = QN_OK;
    if (q->suffix)
        return qn__fail(err, QN_EUNSUPPORTED, "infilling", "is asked of a server only: start quern serve and give --endpoint");
    if (q->messages_json) {
        const qn_render_options r = {.model = l->model, .messages_json = q->messages_json, .tools_json = q->tools_json};
        st = qn_render(&r, &prompt, &n_prompt, err);
        if (!st)
            st = qn_reply_open(l->model, NULL, prompt, n_prompt, &k->reply, err);
    }
    const char *text = prompt ? prompt : q->prompt;
    if (!st)
        st = qn_tokenize(l->model, text, prompt ? n_prompt : strlen(text), prompt != NULL, prompt ? QN_BOS_NO : QN_BOS_AUTO, &ids, &n_ids, err);
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
    k->start = qn__now();
    if (!st)
        st = qn_request_open(l->engine, &o, &k->request, err);
    qn_free(prompt);
    qn_free(ids);
    return st;
}

static void finish(asked *k)
{
    if (k->reply && !k->a->err.code)
        (void)qn_reply_end(k->reply, take_part, k->a, &k->a->err);
    if (k->reply)
        qn_reply_close(k->reply);
    if (k->request)
        qn_request_close(k->request);
    if (!k->a->err.code && (k->a->text.failed || k->a->reasoning.failed))
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
        if (!k->reply)
            qn__buf_put(&a->text, ev.text, ev.n_text);
        else if (qn_reply_put(k->reply, ev.text, ev.n_text, take_part, a, &a->err))
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
    qn_model_close(l->model);
    qn_free(l);
}

/* The tensor table and every metadata value decide what a model is; weights of the same shapes differ in the file's size hardly ever,
 * so their hash belongs here once the public API gives one. */
qn_status qn__model_names(const qn_model *m, qn_model_names *out, qn_err *err)
{
    char *report = NULL;
    qn_model_info info;
    qn_status st = qn_model_report(m, true, &report, err);
    if (st)
        return st;
    qn_model_get_info(m, &info);
    (void)snprintf(out->fingerprint, sizeof out->fingerprint, "%016llx-%llx", (unsigned long long)qn__hash(report, strlen(report)),
                   (unsigned long long)info.file_bytes);
    (void)snprintf(out->name, sizeof out->name, "%s", info.embedded ? "embedded" : info.name && *info.name ? info.name : info.architecture);
    qn_free(report);
    return QN_OK;
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
