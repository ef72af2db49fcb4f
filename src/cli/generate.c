/* generate.c - one request from token ids to streamed text: progress while the prompt is read, Ctrl-C, the timings. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/io.h"
#include "cli/progress.h"
#include "cli/run.h"
#include "cli/term.h"

bool run_keep(run_text *t, const char *p, size_t n)
{
    if (t->cap - t->n <= n) {
        size_t cap = t->cap ? t->cap : 1024;
        while (cap - t->n <= n)
            cap *= 2;
        char *text = realloc(t->p, cap);
        if (!text)
            return false;
        t->p = text;
        t->cap = cap;
    }
    memcpy(t->p + t->n, p, n);
    t->n += n;
    t->p[t->n] = 0;
    return true;
}

static int take_text(const qn_event *ev, bool show, run_answer *a)
{
    if (!ev->n_text)
        return CLI_OK;
    if (!run_keep(&a->text, ev->text, ev->n_text))
        return cli_fail_text("run", "out of memory");
    if (!show)
        return CLI_OK;
    const int rc = cli_put_safe(ev->text, ev->n_text);
    return rc == CLI_OK ? cli_flush() : rc;
}

/* Until END, or until something failed. */
static int events(qn_request *r, run_reply *parts, bool show, run_answer *a, cli_progress *bar)
{
    for (;;) {
        qn_event ev;
        qn_err err;
        if (qn_request_next(r, &ev, &err) != QN_OK) {
            cli_progress_clear(bar);
            return cli_fail(&err);
        }
        if (ev.kind == QN_EVENT_PREFILL) {
            cli_progress_at(bar, "reading", "tokens", (size_t)ev.done, (size_t)ev.total);
            continue;
        }
        cli_progress_clear(bar);
        if (ev.kind == QN_EVENT_END) {
            a->reason = ev.reason;
            a->timings = ev.timings;
            return parts ? run_reply_put(parts, "", 0) : CLI_OK;
        }
        const int rc = !parts ? take_text(&ev, show, a) : ev.n_text ? run_reply_put(parts, ev.text, ev.n_text) : CLI_OK;
        if (rc != CLI_OK)
            return rc;
    }
}

static void cancel(void *request)
{
    qn_request_cancel(request);
}

int run_generate(const run_session *s, const run_prompt *prompt, bool show, run_answer *a)
{
    qn_request_options o;
    qn_request_options_init(&o);
    o.tokens = prompt->ids;
    o.n_tokens = prompt->n_ids;
    o.max_tokens = s->max_tokens;
    o.sampling = s->sampling;
    o.grammar = s->tools ? qn_tools_grammar(s->tools, prompt->text, prompt->n) : s->grammar;
    o.show_special = s->tools != NULL;
    o.stop = s->o->stop.v;
    o.n_stop = s->o->stop.n;
    qn_request *r = NULL;
    run_reply *parts = NULL;
    qn_err err;
    if (s->tools && run_reply_open(s, prompt, show, a, &parts) != CLI_OK)
        return CLI_FAILED;
    if (qn_request_open(s->engine, &o, &r, &err) != QN_OK) {
        run_reply_close(parts);
        return cli_fail(&err);
    }
    cli_progress bar;
    cli_progress_start(&bar, !s->o->quiet);
    term_on_interrupt(cancel, r);
    if (term_interrupted()) /* it came before the request was there */
        qn_request_cancel(r);
    const int rc = events(r, parts, show, a, &bar);
    term_on_interrupt(NULL, NULL);
    qn_request_close(r);
    run_reply_close(parts);
    return rc;
}

void run_answer_free(run_answer *a)
{
    free(a->text.p);
    free(a->reasoning.p);
    free(a->cut.p);
    free(a->cut_name.p);
    json_decref(a->calls);
    memset(a, 0, sizeof *a);
}

const char *run_reason_name(qn_end_reason r)
{
    switch (r) {
    case QN_END_STOP: return "stop";
    case QN_END_STOP_STRING: return "stop_string";
    case QN_END_LENGTH: return "length";
    case QN_END_CONTEXT: return "context";
    case QN_END_CANCELLED: return "cancelled";
    case QN_END_DEADLINE: return "deadline";
    case QN_END_ERROR: return "error";
    }
    return "unknown";
}

const char *run_reason_words(qn_end_reason r)
{
    switch (r) {
    case QN_END_STOP: return "the model ended its answer";
    case QN_END_STOP_STRING: return "a stop text came";
    case QN_END_LENGTH: return "the limit of tokens (-n) is reached";
    case QN_END_CONTEXT: return "the context is full";
    case QN_END_CANCELLED: return "stopped by Ctrl-C";
    case QN_END_DEADLINE: return "its time is over";
    case QN_END_ERROR: return "it failed";
    }
    return "unknown";
}

static double rate(int32_t n, double s)
{
    return s > 0 ? (double)n / s : 0;
}

void run_put_timings(const run_answer *a)
{
    const qn_timings *t = &a->timings;
    const int32_t computed = t->prompt_tokens - t->cached_tokens;
    fprintf(stderr, "[prompt %d tokens", (int)t->prompt_tokens);
    if (t->cached_tokens)
        fprintf(stderr, ", %d cached", (int)t->cached_tokens);
    if (computed > 0 && t->prefill_s > 0)
        fprintf(stderr, ", %.1f tok/s", rate(computed, t->prefill_s));
    fprintf(stderr, "; answer %d tokens", (int)t->generated_tokens);
    if (t->generated_tokens > 0 && t->decode_s > 0)
        fprintf(stderr, ", %.1f tok/s", rate(t->generated_tokens, t->decode_s));
    fprintf(stderr, "; %s]\n", run_reason_words(a->reason));
}
