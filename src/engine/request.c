/* request.c - requests: from options to a sequence, from chosen tokens to events. See engine.h. */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "engine/small.h"

enum { STOPS_MAX = 256, STOP_BYTES_MAX = 1 << 16, TOP_PROBS_MAX = 20 };

void qn_request_options_init(qn_request_options *o)
{
    *o = (qn_request_options){.max_tokens = -1};
    qn_sampling_init(&o->sampling);
}

/* ---- opening ---- */

static qn_status check(const qn_engine *e, const qn_request_options *o, qn_err *err)
{
    if (o->n_tokens == 0 || !o->tokens)
        return qn__fail(err, QN_EINVAL, "prompt", "the prompt is empty; give at least one token");
    if (o->n_tokens > (size_t)e->o.n_ctx)
        return qn__fail(err, QN_ECONTEXT, "prompt",
                        "the prompt has %zu tokens but the context holds %d; use --ctx or shorten it", o->n_tokens,
                        e->o.n_ctx);
    qn_status st = qn__engine_check_tokens(e, o->tokens, o->n_tokens, err);
    if (st || (st = qn__engine_generates(e, err)))
        return st;
    if (o->grammar && !e->model->tokenizer)
        return qn__fail(err, QN_EUNSUPPORTED, "grammar", "the model has no vocabulary that a grammar could be bound to");
    if (o->top_probs < 0 || o->top_probs > TOP_PROBS_MAX)
        return qn__fail(err, QN_EINVAL, "top_probs", "%d is out of range; give 0 to %d", o->top_probs, TOP_PROBS_MAX);
    if (o->draft < -1)
        return qn__fail(err, QN_EINVAL, "draft", "%d is out of range; give -1 (none), 0 (as it pays) or a number of tokens",
                        o->draft);
    if (!(o->deadline_s >= 0)) /* a NaN neither */
        return qn__fail(err, QN_EINVAL, "deadline", "%g s is out of range; give 0 (none) or more", o->deadline_s);
    if (o->max_tokens < -1)
        return qn__fail(err, QN_EINVAL, "max_tokens", "%d is out of range; give -1 (until the context ends) or more",
                        o->max_tokens);
    if (o->n_stop > STOPS_MAX || (o->n_stop && !o->stop))
        return qn__fail(err, QN_EINVAL, "stop", "%zu stop strings are too many; give at most %d", o->n_stop, STOPS_MAX);
    for (size_t i = 0; i < o->n_stop; i++) {
        if (!o->stop[i] || !o->stop[i][0])
            return qn__fail(err, QN_EINVAL, "stop", "stop string %zu is empty; leave it out", i);
        if (strlen(o->stop[i]) > STOP_BYTES_MAX)
            return qn__fail(err, QN_EINVAL, "stop", "stop string %zu is longer than %d bytes", i, STOP_BYTES_MAX);
    }
    return QN_OK;
}

static bool stop_open(qn_stop *s, const char *text)
{
    s->n = strlen(text);
    s->text = qn__strndup(text, s->n);
    s->fail = qn__calloc(s->n, sizeof *s->fail);
    if (!s->text || !s->fail)
        return false;
    for (size_t i = 1, k = 0; i < s->n; i++) {
        while (k && text[i] != text[k])
            k = s->fail[k - 1];
        k += text[i] == text[k];
        s->fail[i] = (uint32_t)k;
    }
    return true;
}

static void request_free(qn_request *r)
{
    qn__seq_close(r->e->pages, r->seq);
    qn__sampler_close(r->sampler);
    qn__constraint_close(r->constraint);
    qn__unloop_close(r->unloop);
    for (size_t i = 0; r->stops && i < r->n_stops; i++) {
        qn_free(r->stops[i].text);
        qn_free(r->stops[i].fail);
    }
    qn_free(r->stops);
    qn__buf_free(&r->text);
    qn__buf_free(&r->lent);
    qn__drafter_free(&r->drafter);
    if (r->client && --r->client->refs == 0)
        qn_free(r->client);
    qn_free(r->ids);
    qn_free(r->lent_ids);
    qn_free(r->probs);
    qn_free(r->lent_probs);
    qn_free(r->raw);
    qn_free(r);
}

qn_status qn__request_create(qn_engine *e, const qn_request_options *o, qn_request **out, qn_err *err)
{
    qn_status st = check(e, o, err);
    if (st)
        return st;
    qn_request *r = qn__calloc(1, sizeof *r);
    if (!r)
        return qn__fail_mem(err, "request");
    r->e = e;
    r->n_prompt = o->n_tokens;
    r->max_tokens = o->max_tokens;
    r->show_special = o->show_special;
    r->ignore_eos = o->ignore_eos;
    r->draft = o->draft;
    r->n_top = o->top_probs;
    r->small_right = 0.7f; /* until it has shown */
    qn__drafter_init(&r->drafter);
    r->session = o->session;
    r->deadline = o->deadline_s > 0 ? qn__now() + o->deadline_s : INFINITY;
    r->timings.prompt_tokens = (int32_t)o->n_tokens;
    r->client = qn__calloc(1, sizeof *r->client);
    if (o->probs)
        r->raw = qn__alloc((size_t)e->n_vocab * sizeof *r->raw);
    if (!r->client || (o->probs && !r->raw)) {
        request_free(r);
        return qn__fail_mem(err, "request");
    }
    *r->client = (qn_client){.id = o->client, .refs = 1};
    st = qn__seq_open(o->tokens, o->n_tokens, &r->seq, err);
    if (!st)
        r->seq->session = o->session;
    if (!st)
        st = qn__sampler_open(&o->sampling, e->n_vocab, e->o.n_ctx, &r->sampler, err);
    if (!st && o->grammar)
        st = qn__constraint_open(o->grammar, e->model->tokenizer, &r->constraint, err);
    if (!st && o->break_loops)
        st = qn__unloop_open(&r->unloop, err);
    if (!st && o->n_stop) {
        r->stops = qn__calloc(o->n_stop, sizeof *r->stops);
        r->n_stops = o->n_stop;
        bool ok = r->stops != NULL;
        for (size_t i = 0; ok && i < o->n_stop; i++)
            ok = stop_open(&r->stops[i], o->stop[i]);
        if (!ok)
            st = qn__fail_mem(err, "request");
    }
    if (st) {
        request_free(r);
        return st;
    }
    if (e->model->tokenizer) {
        qn__detok_init(&r->detok, e->model->tokenizer, o->show_special);
        r->detok.at_start = false; /* the output continues the prompt: its first space is text */
    }
    (void)qn__request_want(r, r->n_prompt - 1);
    *out = r;
    return QN_OK;
}

void qn__request_join(qn_request *r)
{
    qn_engine *e = r->e;
    r->joined = true;
    bool first = true;
    for (qn_request *o = e->first; o; o = o->next) {
        if (o->client->id == r->client->id) {
            qn_free(r->client);
            r->client = o->client;
            r->client->refs++;
            break;
        }
        if (first || o->client->served < r->client->served)
            r->client->served = o->client->served;
        first = false;
    }
    r->prev = e->last;
    *(e->last ? &e->last->next : &e->first) = r;
    e->last = r;
}

qn_status qn_request_open(qn_engine *e, const qn_request_options *o, qn_request **out, qn_err *err)
{
    qn_request *r;
    qn_status st = qn__request_create(e, o, &r, err);
    if (st)
        return st;
    qn__request_join(r);
    *out = r;
    return QN_OK;
}

void qn_request_close(qn_request *r)
{
    if (!r)
        return;
    if (!r->joined) {
        request_free(r);
        return;
    }
    qn_engine *e = r->e;
    if (r->phase != QN_ENDED)
        qn__request_end(r, QN_END_CANCELLED);
    *(r->prev ? &r->prev->next : &e->first) = r->next;
    *(r->next ? &r->next->prev : &e->last) = r->prev;
    request_free(r);
}

void qn_request_cancel(qn_request *r)
{
    atomic_store_explicit(&r->cancelled, true, memory_order_relaxed);
}

/* ---- ending ---- */

void qn__request_end(qn_request *r, qn_end_reason reason)
{
    if (r->phase == QN_READING || r->phase == QN_WRITING) {
        r->e->n_running--;
        r->client->n_running--;
    }
    r->phase = QN_ENDED;
    r->reason = reason;
    r->n_rows = 0;
    if (r->seq)
        qn__pages_keep(r->e->pages, r->seq);
    r->seq = NULL;
    qn__small_leave(r);
    if (reason != QN_END_STOP_STRING)
        r->held = 0;
}

void qn__request_fail(qn_request *r, const qn_err *why)
{
    qn__request_end(r, QN_END_ERROR);
    r->failed = *why;
}

/* ---- text ---- */

/* Run text.data[from..) through the stop strings. True when one is complete: the text is cut where it begins. Otherwise
 * `held` is what may yet become one. */
static bool feed_stops(qn_request *r, size_t from)
{
    for (size_t i = from; i < r->text.n; i++) {
        size_t matched = 0;
        char c = r->text.data[i];
        r->held = 0;
        for (size_t k = 0; k < r->n_stops; k++) {
            qn_stop *s = &r->stops[k];
            while (s->at && s->text[s->at] != c)
                s->at = s->fail[s->at - 1];
            s->at += s->text[s->at] == c;
            if (s->at == s->n && s->n > matched)
                matched = s->n;
            if (s->at > r->held)
                r->held = s->at;
        }
        if (matched) {
            r->text.n = i + 1 - matched;
            r->held = 0;
            return true;
        }
    }
    return false;
}

static bool ends(const qn_request *r, int32_t token)
{
    const qn_model *m = r->e->model;
    if (r->ignore_eos && !r->constraint) /* where a grammar allows an end, it may allow nothing else */
        return false;
    if (m->tokenizer)
        return token < qn__tokenizer_info(m->tokenizer)->n_vocab && qn__token_ends(m->tokenizer, token);
    return token == m->info.eos || token == m->info.eot;
}

/* The end of the text, unless a stop string cut it: what the detokenizer still holds comes out as it is. */
static void finish(qn_request *r, qn_end_reason reason)
{
    size_t from = r->text.n;
    if (r->detok.t)
        qn__detok_flush(&r->detok, &r->text);
    if (r->text.failed) {
        qn_err err = {0};
        (void)qn__fail_mem(&err, "request");
        qn__request_fail(r, &err);
        return;
    }
    if (feed_stops(r, from))
        reason = QN_END_STOP_STRING;
    qn__request_end(r, reason);
}

void qn__request_emit(qn_request *r, int32_t token)
{
    qn_err err = {0};
    size_t from = r->text.n;
    r->timings.generated_tokens++;
    if (ends(r, token)) {
        finish(r, QN_END_STOP);
        return;
    }
    if (qn__seq_push(r->seq, token, &err)) {
        qn__request_fail(r, &err);
        return;
    }
    size_t row = 1 + (size_t)r->n_top;
    if (!qn__grow((void **)&r->ids, &r->cap_ids, r->n_ids + 1, sizeof *r->ids) ||
        (r->raw && !qn__grow((void **)&r->probs, &r->cap_probs, (r->n_ids + 1) * row, sizeof *r->probs))) {
        (void)qn__fail_mem(&err, "request");
        qn__request_fail(r, &err);
        return;
    }
    if (r->raw)
        qn__sampler_probs(r->raw, r->e->n_vocab, token, r->n_top, r->probs + r->n_ids * row);
    r->ids[r->n_ids++] = token;
    if (r->detok.t)
        qn__detok_put(&r->detok, token, &r->text);
    if (r->text.failed) {
        (void)qn__fail_mem(&err, "request");
        qn__request_fail(r, &err);
    } else if (feed_stops(r, from)) {
        qn__request_end(r, QN_END_STOP_STRING);
    } else if (r->max_tokens >= 0 && r->timings.generated_tokens >= r->max_tokens) {
        finish(r, QN_END_LENGTH);
    } else if (r->seq->n_tokens >= (size_t)r->e->o.n_ctx) {
        finish(r, QN_END_CONTEXT);
    }
}

/* ---- events ---- */

static void swap(void *a, void *b)
{
    void *t;
    memcpy(&t, a, sizeof t);
    memcpy(a, b, sizeof t);
    memcpy(b, &t, sizeof t);
}

static void swap_sizes(size_t *a, size_t *b)
{
    size_t t = *a;
    *a = *b;
    *b = t;
}

/* Lend out what may go out; the rest moves to the front. */
static qn_status lend_text(qn_request *r, qn_event *ev, qn_err *err)
{
    size_t n = r->text.n - r->held;
    r->lent.n = 0;
    if (n)
        qn__buf_put(&r->lent, r->text.data, n);
    if (r->lent.failed) {
        qn__buf_free(&r->lent);
        return qn__fail_mem(err, "request");
    }
    if (r->held)
        memmove(r->text.data, r->text.data + n, r->held);
    r->text.n = r->held;
    swap(&r->ids, &r->lent_ids);
    swap_sizes(&r->cap_ids, &r->cap_lent_ids);
    swap(&r->probs, &r->lent_probs);
    swap_sizes(&r->cap_probs, &r->cap_lent_probs);
    *ev = (qn_event){.kind = QN_EVENT_TEXT, .text = n ? r->lent.data : "", .n_text = n, .tokens = r->lent_ids,
                     .n_tokens = r->n_ids, .probs = r->n_ids ? r->lent_probs : NULL, .n_top = (size_t)r->n_top};
    r->n_ids = 0;
    return QN_OK;
}

qn_status qn__request_news(qn_request *r, qn_event *ev, bool *any, qn_err *err)
{
    *any = true;
    if (r->news_read) {
        r->news_read = false;
        *ev = (qn_event){.kind = QN_EVENT_PREFILL, .done = (int32_t)r->n_read, .total = (int32_t)r->n_prompt};
        return QN_OK;
    }
    if (r->n_ids || r->text.n > r->held)
        return lend_text(r, ev, err);
    *any = r->phase == QN_ENDED;
    if (*any && r->failed.code) {
        if (err)
            *err = r->failed;
        return r->failed.code;
    }
    *ev = (qn_event){.kind = QN_EVENT_END, .reason = r->reason, .timings = r->timings};
    return QN_OK;
}

qn_status qn_request_next(qn_request *r, qn_event *ev, qn_err *err)
{
    for (;;) {
        bool any;
        qn_event now;
        qn_status st = qn__request_news(r, &now, &any, err);
        if (!st && any)
            *ev = now;
        if (st || any)
            return st;
        if ((st = qn__engine_step(r->e, err)))
            return st;
    }
}
