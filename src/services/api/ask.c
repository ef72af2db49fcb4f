/* ask.c - from a question to jobs. See ask.h; what comes back is in answer.c. */
#include "services/api/ask_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "services/api/replay.h"
#include "services/api/serve.h"

enum { N_MAX = 128, ARENA_MAX = 64 << 20 };

/* ---- errors ---- */

void api_error_set(api_error *e, int status, const char *code, const char *fmt, ...)
{
    va_list ap;
    *e = (api_error){.status = status, .code = code};
    va_start(ap, fmt);
    (void)vsnprintf(e->message, sizeof e->message, fmt, ap);
    va_end(ap);
}

void api_error_from(api_error *e, const qn_err *err)
{
    int status = 400;
    const char *code = NULL;
    switch (err->code) {
    case QN_EBUSY: status = 429, code = "queue_full"; break;
    case QN_ENOMEM: status = 503, code = "out_of_memory"; break;
    case QN_EIO: status = 500; break;
    case QN_ECANCELLED: status = 503, code = "shutting_down"; break;
    case QN_ECONTEXT: code = "context_length_exceeded"; break;
    default: break;
    }
    api_error_set(e, status, code, "%s%s%s", err->where, err->where[0] ? ": " : "", err->what);
    if (status == 400)
        (void)snprintf(e->param, sizeof e->param, "%s", err->where);
    if (status == 429 || status == 503)
        e->retry_s = 2;
}

const char *api_error_type(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 429: return "rate_limit_error";
    case 503: return "unavailable_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

/* ---- life ---- */

api_ask *api_ask_open(api_server *s, http_exchange *x, api_at *body)
{
    api_ask *a = qn__calloc(1, sizeof *a);
    if (!a) {
        api_fail_status(s, x, 503, "out_of_memory", "there is no memory for this request");
        return NULL;
    }
    a->server = s;
    a->x = x;
    http_hold(x);
    a->wire = api_wire_of(x);
    a->body = json_incref(body->j);
    a->bad = *body->err;
    body->err = &a->bad;
    qn__arena_init(&a->arena, ARENA_MAX);
    qn__lock_init(&a->lock);
    api_make_id(s, a->id, 24);
    a->created = (int64_t)time(NULL);
    a->n = 1;
    a->max_tokens = -1;
    qn_sampling_init(&a->sampling);
    a->sampling.temperature = s->o.temperature;
    a->sampling.top_p = s->o.top_p;
    a->sampling.min_p = s->o.min_p;
    a->loop = s->o.loop;
    a->refs = 1;
    return a;
}

void *api_keep(api_ask *a, size_t n)
{
    void *p = qn__arena_alloc(&a->arena, n);
    if (p)
        memset(p, 0, n);
    else
        api_no_memory(a);
    return p;
}

void api_no_memory(api_ask *a)
{
    if (!a->bad.code)
        (void)qn__fail_mem(&a->bad, "request");
}

void api_append(api_ask *a, json_t *list, json_t *item)
{
    if (!item || json_array_append_new(list, item))
        api_no_memory(a);
}

json_t *api_string(api_ask *a, const qn_buf *b)
{
    json_t *s = b->failed ? NULL : json_stringn(b->data ? b->data : "", b->n);
    if (!s)
        api_no_memory(a);
    return s;
}

static void register_ask(api_ask *a)
{
    api_server *s = a->server;
    qn__lock(&s->asks_lock);
    a->next = s->asks;
    if (a->next)
        a->next->prev = a;
    s->asks = a;
    a->listed = true;
    qn__unlock(&s->asks_lock);
}

static void unregister_ask(api_ask *a)
{
    api_server *s = a->server;
    if (!a->listed)
        return;
    qn__lock(&s->asks_lock);
    *(a->prev ? &a->prev->next : &s->asks) = a->next;
    if (a->next)
        a->next->prev = a->prev;
    qn__unlock(&s->asks_lock);
}

static void free_choice(api_choice *c)
{
    qn_job_close(c->job);
    api_parts_close(c);
    qn__loop_close(c->watch);
    qn__buf_free(&c->reasoning);
    qn__buf_free(&c->text);
    qn__buf_free(&c->raw);
    for (size_t i = 0; i < c->n_calls; i++) {
        qn_free(c->calls[i].name);
        qn_free(c->calls[i].id);
        qn__buf_free(&c->calls[i].arguments);
        qn__buf_free(&c->calls[i].exact);
    }
    qn_free(c->calls);
    qn_free(c->tokens);
    qn_free(c->probs.rows);
}

/* Not on a scheduler's thread: it closes jobs. */
void api__ask_free(void *arg)
{
    api_ask *a = arg;
    unregister_ask(a);
    http_on_gone(a->x, NULL, NULL);
    http_on_rest(a->x, NULL, NULL);
    api_recall_learn(a);
    for (size_t i = 0; i < a->n_choices; i++)
        free_choice(&a->choices[i]);
    qn_free(a->choices);
    api_forms_close(a);
    for (size_t i = 0; i < a->n_prompts; i++)
        if (a->prompts[i].owned)
            qn_free(a->prompts[i].tokens);
    if (a->loaded)
        api_model_release(&a->server->models, a->loaded);
    qn_free(a->rendered);
    for (size_t i = 0; i < a->n_spans; i++)
        qn_free(a->spans[i].tokens);
    qn_free(a->spans);
    json_decref(a->canon);
    json_decref(a->messages);
    json_decref(a->tools);
    json_decref(a->shown_tools);
    json_decref(a->vars);
    json_decref(a->body);
    qn__buf_free(&a->out);
    qn__arena_free(&a->arena);
    qn__lock_destroy(&a->lock);
    http_release(a->x);
    qn_free(a);
}

void api_ask_drop(api_ask *a, const api_error *e)
{
    api_error own;
    if (!e) {
        api_error_from(&own, &a->bad);
        e = &own;
    }
    api_fail(a->server, a->x, e);
    api__ask_free(a);
}

/* ---- preparing ---- */

static api_model *hold(api_server *s, http_exchange *x, const char *name, api_error *e)
{
    api_model *m = api_model_find(&s->models, name);
    qn_err err;
    if (!m) {
        api_error_set(e, 404, "model_not_found", "the model '%.200s' is not served here; GET /v1/models lists those that are", name);
        (void)snprintf(e->param, sizeof e->param, "model");
        return NULL;
    }
    if (api_model_hold(&s->models, m, x, &err) == QN_OK)
        return m;
    api_error_from(e, &err);
    if (e->status == 400) /* not the client's doing */
        e->status = 500;
    if (e->status == 429)
        e->status = 503;
    e->param[0] = 0;
    return NULL;
}

api_model *api_hold(api_server *s, http_exchange *x, const char *name)
{
    api_error e;
    api_model *m = hold(s, x, name, &e);
    if (!m)
        api_fail(s, x, &e);
    return m;
}

/* Ids of [text, text + n) behind those in *ids; frees what it replaces. */
static qn_status append(const qn_model *m, const char *text, size_t n, bool special, bool first, int32_t **ids, size_t *n_ids,
                        size_t *cap, qn_err *err)
{
    int32_t *more = NULL;
    size_t k = 0;
    if (!n)
        return QN_OK;
    qn_status st = qn_tokenize(m, text, n, special, first ? QN_BOS_AUTO : QN_BOS_NO, &more, &k, err);
    if (!st && !qn__grow((void **)ids, cap, *n_ids + k + 1, sizeof **ids))
        st = qn__fail_mem(err, "prompt");
    if (!st) {
        memcpy(*ids + *n_ids, more, k * sizeof *more);
        *n_ids += k;
    }
    qn_free(more);
    return st;
}

/* before <pre> text <suf> suffix <mid> */
static qn_status tokenize_gap(const api_model *m, api_prompt *p, qn_err *err)
{
    int32_t *ids = NULL;
    size_t n = 0, cap = 0;
    if (m->fim_pre < 0 || m->fim_suf < 0 || m->fim_mid < 0)
        return qn__fail(err, QN_EUNSUPPORTED, "suffix", "the model has no tokens for filling a gap");
    qn_status st = qn__grow((void **)&ids, &cap, 8, sizeof *ids) ? QN_OK : qn__fail_mem(err, "prompt");
    if (!st)
        st = append(m->model, p->before, p->before ? p->n_before : 0, false, false, &ids, &n, &cap, err);
    if (!st) {
        ids[n++] = m->fim_pre;
        st = append(m->model, p->text, p->n_text, false, false, &ids, &n, &cap, err);
    }
    if (!st) {
        ids[n++] = m->fim_suf;
        st = append(m->model, p->suffix, p->n_suffix, false, false, &ids, &n, &cap, err);
    }
    if (st) {
        qn_free(ids);
        return st;
    }
    ids[n++] = m->fim_mid;
    p->tokens = ids;
    p->n_tokens = n;
    p->owned = true;
    return QN_OK;
}

/* What was said here keeps its tokens. It ends where a turn does, with a control token, so the pieces between are cut as they would
 * be in the whole. */
static qn_status tokenize_spans(const api_ask *a, api_prompt *p, qn_err *err)
{
    int32_t *ids = NULL;
    size_t n = 0, cap = 0, at = 0;
    qn_status st = QN_OK;
    for (size_t i = 0; i <= a->n_spans && !st; i++) {
        const api_span *s = i < a->n_spans ? &a->spans[i] : NULL;
        st = append(a->loaded->model, a->rendered + at, (s ? s->at : a->n_rendered) - at, true, false, &ids, &n, &cap, err);
        if (st || !s)
            continue;
        if (!qn__grow((void **)&ids, &cap, n + s->n_tokens, sizeof *ids)) {
            st = qn__fail_mem(err, "prompt");
            continue;
        }
        memcpy(ids + n, s->tokens, s->n_tokens * sizeof *ids);
        n += s->n_tokens;
        at = s->at + s->n;
    }
    if (st) {
        qn_free(ids);
        return st;
    }
    p->tokens = ids;
    p->n_tokens = n;
    p->owned = true;
    return QN_OK;
}

static qn_status tokenize(api_ask *a, qn_err *err)
{
    const qn_model *m = a->loaded->model;
    qn_status st = QN_OK;
    for (size_t i = 0; i < a->n_prompts && !st; i++) {
        api_prompt *p = &a->prompts[i];
        if (!p->text)
            continue;
        if (p->suffix) {
            st = tokenize_gap(a->loaded, p, err);
            continue;
        }
        if (a->n_spans && p->text == a->rendered) {
            st = tokenize_spans(a, p, err);
            continue;
        }
        /* The template writes BOS itself where the model wants it. */
        st = qn_tokenize(m, p->text, p->n_text, p->special, a->mode == API_CHAT ? QN_BOS_NO : QN_BOS_AUTO, &p->tokens,
                         &p->n_tokens, err);
        p->owned = !st;
    }
    return st;
}

/* Refused here and not by the engine: the sentence has the words that clients look for. */
static bool fits(const api_ask *a, api_error *e)
{
    const int32_t n_ctx = a->loaded->engine_info.n_ctx;
    for (size_t i = 0; i < a->n_prompts; i++) {
        const size_t n = a->prompts[i].n_tokens;
        if (n <= (size_t)n_ctx)
            continue;
        api_error_set(e, 400, "context_length_exceeded",
                      "the prompt has %zu tokens, which exceeds the available context size of %d tokens; shorten it or start the "
                      "server with a larger --ctx",
                      n, n_ctx);
        (void)snprintf(e->param, sizeof e->param, a->mode == API_CHAT ? "messages" : "prompt");
        e->n_prompt = (int64_t)n;
        e->n_ctx = n_ctx;
        return false;
    }
    return true;
}

static qn_status prepare(api_ask *a, api_error *e)
{
    qn_err err = {0};
    a->loaded = hold(a->server, a->x, a->model, e);
    if (!a->loaded)
        return QN_EINVAL;
    a->model_name = a->loaded->name;
    qn_status st = QN_OK;
    if (a->mode == API_CHAT) {
        a->prompts = api_keep(a, sizeof *a->prompts);
        a->n_prompts = a->prompts != NULL;
        st = a->prompts ? api_render(a, &err) : QN_ENOMEM;
        if (!st)
            *a->prompts = (api_prompt){.text = a->rendered, .n_text = a->n_rendered, .special = true};
    }
    if (!st)
        st = api_forms_open(a, &err);
    if (!st)
        st = tokenize(a, &err);
    if (st) {
        api_error_from(e, a->bad.code ? &a->bad : &err);
    }
    return st;
}

static qn_status make_choices(api_ask *a, qn_err *err)
{
    const size_t n = a->n_prompts * (size_t)a->n;
    if (!a->n_prompts)
        return qn__fail(err, QN_EINVAL, "prompt", "there is none");
    if (n > N_MAX)
        return qn__fail(err, QN_EINVAL, "n", "%zu choices in one request are too many; ask for at most %d", n, N_MAX);
    a->choices = qn__calloc(n, sizeof *a->choices);
    if (!a->choices)
        return qn__fail_mem(err, "request");
    a->n_choices = n;
    for (size_t i = 0; i < n; i++) {
        api_choice *c = &a->choices[i];
        c->ask = a;
        c->index = (int)i;
        c->prompt = (int)(i / (size_t)a->n);
        c->seed = (a->has_seed ? a->sampling.seed : api_random(a->server)) + i % (size_t)a->n;
        qn_status st = a->mode == API_CHAT ? api_parts_open(c, err) : QN_OK;
        if (!st)
            st = api_loop_open(c, err);
        if (st)
            return st;
    }
    return QN_OK;
}

/* ---- submitting ---- */

static void gone(void *arg)
{
    api_ask *a = arg;
    qn__lock(&a->lock);
    a->gone = true;
    for (size_t i = 0; i < a->n_choices; i++)
        if (a->choices[i].job)
            qn_job_cancel(a->choices[i].job);
    qn__unlock(&a->lock);
}

static void rest(void *arg, http_exchange *x)
{
    const char *s = arg;
    (void)http_stream_put(x, s, strlen(s));
}

static qn_status submit_one(api_ask *a, api_choice *c, qn_err *err)
{
    const api_prompt *p = &a->prompts[c->prompt];
    qn_request_options o;
    qn_job *job = NULL;
    qn_request_options_init(&o);
    o.tokens = p->tokens;
    o.n_tokens = p->n_tokens;
    o.max_tokens = a->max_tokens;
    o.sampling = a->sampling;
    o.sampling.seed = c->seed;
    o.stop = a->stop;
    o.n_stop = a->n_stop;
    o.show_special = a->show_special || c->reply;
    o.ignore_eos = a->ignore_eos;
    o.break_loops = a->loop == QN_LOOPS_PERTURB;
    o.grammar = api_forms_grammar(a);
    o.probs = a->logprobs;
    o.top_probs = a->top_logprobs;
    o.client = api_client_of(a);
    o.session = api_session_of(a);
    o.deadline_s = a->deadline_s;
    qn__lock(&a->lock);
    a->refs++;
    qn__unlock(&a->lock);
    qn_status st = qn_scheduler_submit(a->loaded->scheduler, &o, &(qn_sink){api__answer_event, c}, &job, err);
    qn__lock(&a->lock);
    c->job = job;
    a->refs -= st != QN_OK;
    const bool too_late = a->gone && job;
    qn__unlock(&a->lock);
    if (too_late)
        qn_job_cancel(job);
    return st;
}

/* Drop the handler's share; whoever drops the last one frees, and not on the scheduler's thread. */
static void let_go(api_ask *a)
{
    qn__lock(&a->lock);
    const bool last = --a->refs == 0;
    qn__unlock(&a->lock);
    if (last)
        api__ask_free(a);
}

bool api_ask_prepare(api_ask *a)
{
    api_error e;
    if (a->bad.code) {
        api_ask_drop(a, NULL);
        return false;
    }
    if (prepare(a, &e)) {
        api_ask_drop(a, &e);
        return false;
    }
    return true;
}

void api_ask_close(api_ask *a)
{
    api__ask_free(a);
}

void api_ask_run(api_ask *a)
{
    api_error e;
    qn_err err = {0};
    if (a->bad.code) {
        api_ask_drop(a, NULL);
        return;
    }
    if (prepare(a, &e) || !fits(a, &e)) {
        api_ask_drop(a, &e);
        return;
    }
    qn_status st = make_choices(a, &err);
    if (!st)
        st = api_loop_look(a, &err);
    register_ask(a);
    api_log_prompt(a);
    a->t_submit = qn__now();
    http_on_gone(a->x, gone, a);
    for (size_t i = 0; i < a->n_choices && !st; i++)
        st = submit_one(a, &a->choices[i], &err);
    if (st) {
        http_on_gone(a->x, NULL, NULL);
        api_error_from(&e, &err);
        if (e.status == 429) {
            qn_scheduler_stats stats;
            qn_scheduler_get_stats(a->loaded->scheduler, &stats);
            e.retry_s = (int)stats.retry_s + 1;
        }
        api_fail(a->server, a->x, &e);
        gone(a); /* those that were submitted */
    } else if (a->stream) {
        http_stream_begin(a->x, 200, a->wire->stream_type);
        if (a->wire->rest)
            http_on_rest(a->x, rest, (void *)(uintptr_t)a->wire->rest);
    }
    let_go(a);
}
