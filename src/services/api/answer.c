/* answer.c - from a job's events to canonical ones, and through the wire to the client. See ask.h.
 *
 * Everything here runs on the scheduler's thread, one event after another; the last END of an ask hands it to a worker, which
 * frees it. */
#include "services/api/ask_int.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "services/api/serve.h"

/* ---- writing ---- */

static void send_out(api_ask *a)
{
    if (a->out.failed) {
        qn__buf_free(&a->out);
        a->failed = true;
        http_stream_end(a->x);
        return;
    }
    if (a->out.n)
        (void)http_stream_put(a->x, a->out.data, a->out.n);
    a->out.n = 0;
}

static void emit(api_ask *a, const api_event *e)
{
    if (!a->stream || a->failed)
        return;
    if (!a->started) {
        a->started = true;
        a->wire->event(a, &(api_event){.kind = API_EVENT_START}, &a->out);
    }
    a->wire->event(a, e, &a->out);
    send_out(a);
}

/* ---- parts of a reply ---- */

static api_call *add_call(api_choice *c, const qn_part *p)
{
    if (!qn__grow((void **)&c->calls, &c->cap_calls, c->n_calls + 1, sizeof *c->calls))
        return NULL;
    api_call *call = &c->calls[c->n_calls];
    *call = (api_call){0};
    char made[40];
    if (!p->id || !p->id[0]) {
        (void)snprintf(made, sizeof made, "call_");
        api_make_id(c->ask->server, made + 5, 24);
    }
    const char *id = p->id && p->id[0] ? p->id : made;
    call->name = qn__strndup(p->name, strlen(p->name));
    call->id = qn__strndup(id, strlen(id));
    if (!call->name || !call->id) {
        qn_free(call->name);
        qn_free(call->id);
        return NULL;
    }
    c->n_calls++;
    return call;
}

void api__answer_part(void *arg, const qn_part *p)
{
    api_choice *c = arg;
    api_ask *a = c->ask;
    api_call *call = c->n_calls ? &c->calls[c->n_calls - 1] : NULL;
    api_event e = {.choice = c, .text = p->text, .n = p->n, .probs_from = c->probs.n};
    switch (p->kind) {
    case QN_PART_REASONING:
        e.kind = API_EVENT_REASONING;
        qn__buf_put(&c->reasoning, p->text, p->n);
        break;
    case QN_PART_TEXT:
        e.kind = API_EVENT_TEXT;
        qn__buf_put(&c->text, p->text, p->n);
        break;
    case QN_PART_CALL:
        e.kind = API_EVENT_CALL;
        call = add_call(c, p);
        if (!call)
            a->failed = true;
        break;
    case QN_PART_ARGUMENTS:
        e.kind = API_EVENT_ARGUMENTS;
        if (call)
            qn__buf_put(&call->arguments, p->text, p->n);
        break;
    case QN_PART_CALL_END:
        e.kind = API_EVENT_CALL_END;
        if (call) {
            call->complete = true;
            qn__buf_put(&call->exact, p->text, p->n);
        }
        break;
    }
    if (e.kind >= API_EVENT_CALL && !call)
        return;
    e.call = call;
    e.call_index = c->n_calls ? c->n_calls - 1 : 0;
    if (c->probs_shown < c->probs.n && e.kind == API_EVENT_TEXT) {
        e.probs_from = c->probs_shown;
        c->probs_shown = c->probs.n;
    }
    emit(a, &e);
}

/* ---- events of a job ---- */

static bool keep_tokens(api_choice *c, const qn_event *ev)
{
    if (!ev->n_tokens)
        return true;
    if (!qn__grow((void **)&c->tokens, &c->cap_tokens, c->n_tokens + ev->n_tokens, sizeof *c->tokens))
        return false;
    memcpy(c->tokens + c->n_tokens, ev->tokens, ev->n_tokens * sizeof *ev->tokens);
    c->n_tokens += ev->n_tokens;
    if (!ev->probs)
        return true;
    api_probs *p = &c->probs;
    const size_t row = 1 + ev->n_top;
    p->n_top = ev->n_top;
    if (!qn__grow((void **)&p->rows, &p->cap, (p->n + ev->n_tokens) * row, sizeof *p->rows))
        return false;
    memcpy(p->rows + p->n * row, ev->probs, ev->n_tokens * row * sizeof *ev->probs);
    p->n += ev->n_tokens;
    return true;
}

static qn_status text(api_choice *c, const qn_event *ev, qn_err *err)
{
    if (!keep_tokens(c, ev))
        return qn__fail_mem(err, "request");
    if (!ev->n_text)
        return QN_OK;
    qn__buf_put(&c->raw, ev->text, ev->n_text);
    return api_parts_put(c, ev->text, ev->n_text, err);
}

static api_finish finish_of(const api_choice *c, qn_end_reason r)
{
    switch (r) {
    case QN_END_STOP:
    case QN_END_STOP_STRING:
        if (c->n_calls && c->calls[c->n_calls - 1].complete)
            return API_CALLS;
        return r == QN_END_STOP ? API_STOP : API_STOP_STRING;
    case QN_END_LENGTH:
    case QN_END_CONTEXT: return API_LENGTH;
    case QN_END_DEADLINE: return API_DEADLINE;
    case QN_END_CANCELLED:
        if (c->stopped)
            return API_STOP;
        break;
    case QN_END_ERROR: break;
    }
    return API_FAILED;
}

static void fail_with(api_ask *a, const qn_err *err)
{
    if (!a->error.status) {
        api_error_from(&a->error, err);
        if (a->error.status == 400) /* the request was fine: the model was not */
            a->error.status = 500;
        a->error.param[0] = 0;
    }
}

static void last_words(api_ask *a)
{
    if (a->error.status || a->failed) {
        if (!a->error.status)
            api_error_set(&a->error, 503, "out_of_memory", "there is no memory for the answer");
        if (!a->stream) {
            api_fail(a->server, a->x, &a->error);
            return;
        }
        if (!a->out.failed)
            a->wire->error(&a->error, a, &a->out);
        a->failed = false;
        send_out(a);
    } else if (a->stream) {
        emit(a, &(api_event){.kind = API_EVENT_END});
    } else {
        a->wire->whole(a, &a->out);
        if (a->out.failed)
            api_fail_status(a->server, a->x, 503, "out_of_memory", "there is no memory for the answer");
        else
            http_respond(a->x, 200, "application/json", a->out.data, a->out.n);
    }
    if (a->stream)
        http_stream_end(a->x);
}

static void end(api_choice *c, const qn_event *ev)
{
    api_ask *a = c->ask;
    qn_err err = {0};
    c->timings = ev->timings;
    if (api_parts_end(c, &err))
        fail_with(a, &err);
    c->finish = finish_of(c, ev->reason);
    if (ev->reason == QN_END_ERROR)
        fail_with(a, ev->error);
    else if (ev->reason == QN_END_CANCELLED && !c->failed && !c->stopped)
        api_error_set(&a->error, 503, "shutting_down", "the server ended this request because it is shutting down");
    if (c->raw.failed || c->text.failed || c->reasoning.failed)
        a->failed = true;
    if (!a->error.status)
        emit(a, &(api_event){.kind = API_EVENT_FINISH, .choice = c, .probs_from = c->probs_shown});
    c->probs_shown = c->probs.n;
    if (++a->n_finished == a->n_choices) {
        http_on_rest(a->x, NULL, NULL);
        api_account(a);
        api_recall_later(a);
        last_words(a);
    }
}

void api__answer_event(void *arg, const qn_event *ev)
{
    api_choice *c = arg;
    api_ask *a = c->ask;
    qn_err err = {0};
    switch (ev->kind) {
    case QN_EVENT_PREFILL:
        atomic_store(&a->read, ev->done);
        atomic_store(&a->to_read, ev->total);
        emit(a, &(api_event){.kind = API_EVENT_PROGRESS, .choice = c, .done = ev->done, .total = ev->total});
        break;
    case QN_EVENT_TEXT:
        atomic_fetch_add(&a->written, (int)ev->n_tokens);
        if (c->failed || c->stopped)
            break;
        if (text(c, ev, &err)) {
            c->failed = true;
            fail_with(a, &err);
        }
        if (c->failed || api_loop_see(c, ev)) {
            qn__lock(&a->lock);
            if (c->job)
                qn_job_cancel(c->job);
            qn__unlock(&a->lock);
        }
        break;
    case QN_EVENT_END:
        end(c, ev);
        qn__lock(&a->lock);
        const bool last = --a->refs == 0;
        qn__unlock(&a->lock);
        if (last)
            http_defer(a->server->http, &a->task, api__ask_free, a);
        break;
    }
}

/* ---- accounting ---- */

void api_get_usage(const api_ask *a, api_usage *out)
{
    *out = (api_usage){0};
    for (size_t i = 0; i < a->n_choices; i++) {
        const api_choice *c = &a->choices[i];
        const qn_timings *t = &c->timings;
        if (i % (size_t)a->n == 0) { /* a prompt counts once, whatever n is */
            out->prompt += (int64_t)a->prompts[c->prompt].n_tokens;
            out->cached += t->cached_tokens;
        }
        out->generated += t->generated_tokens;
        out->drafted += t->drafted_tokens;
        out->accepted += t->accepted_tokens;
        out->prefill_s += t->prefill_s;
        out->decode_s += t->decode_s;
    }
}

qn_status api_token_bytes(const api_model *m, int32_t token, char **out, size_t *n)
{
    return qn_detokenize(m->model, &token, 1, true, out, n, NULL);
}
