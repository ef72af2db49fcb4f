/* inspect_run.c - one request, timed token by token, alone or beside others: see inspect.h.
 *
 * The request goes through a scheduler, as a server's does, so that events of all requests come in the order in which steps made
 * them; each is put to the gap in whose step it came:
 *
 *   steps      | s    | s+1       | s+2  |
 *   ours       t      t           t            gaps: s -> s+1, s+1 -> s+2
 *   another's         64 read     t            of the first gap: 64 tokens of prompt; of the second: one token
 *
 * Drafting is off: a token is a step. */
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/thread.h"
#include "services/probe/inspect.h"

typedef struct pacing {
    qn_scheduler *s;
    qn_lock lock;
    qn_cond change;
    const qn_pace_options *o;
    qn_pace_run *r;
    qn_meter meter;
    double start, last;        /* asked; the token before came */
    uint64_t *steps;           /* of each gap */
    size_t cap_gaps, cap_steps;
    int32_t others_read, n_text;
    bool halfway, ended, beside_ended, failed;
    uint32_t early_prefill, early_others; /* of others since our last token, not yet in a gap */
    qn_err err;
} pacing;

static void get_evicted(qn_engine *e, void *arg)
{
    qn_cache_stats c;
    qn_engine_get_cache(e, &c);
    *(uint64_t *)arg = c.evicted_pages;
}

static uint64_t step_now(pacing *p)
{
    qn_scheduler_stats st;
    qn_scheduler_get_stats(p->s, &st);
    return st.steps;
}

static void token_came(pacing *p, double now)
{
    qn_pace_run *r = p->r;
    uint64_t evicted = 0;
    p->n_text++;
    if (!p->o->bare)
        (void)qn_scheduler_call(p->s, get_evicted, &evicted, NULL);
    if (p->n_text == 1) {
        r->first_s = now - p->start;
        qn__meter_begin(&p->meter, "", evicted);
    } else if (qn__grow((void **)&r->gaps, &p->cap_gaps, r->n_gaps + 1, sizeof *r->gaps) &&
               qn__grow((void **)&p->steps, &p->cap_steps, r->n_gaps + 1, sizeof *p->steps)) {
        qn_gap *g = &r->gaps[r->n_gaps];
        *g = (qn_gap){.s = now - p->last, .neighbour_prefill = p->early_prefill, .others = p->early_others};
        if (!p->o->bare)
            qn__meter_take(&p->meter, now, evicted, g);
        p->steps[r->n_gaps++] = step_now(p);
    } else {
        p->failed = true;
    }
    p->early_prefill = p->early_others = 0;
    p->last = now;
}

static void ours(void *arg, const qn_event *ev)
{
    pacing *p = arg;
    const double now = qn__now();
    if (ev->kind == QN_EVENT_PREFILL && ev->done == ev->total)
        p->r->prefill_s = now - p->start;
    for (size_t i = 0; ev->kind == QN_EVENT_TEXT && i < ev->n_tokens; i++)
        token_came(p, now);
    qn__lock(&p->lock);
    const bool before = p->halfway;
    p->halfway = p->n_text >= p->o->n_generate / 2;
    if (ev->kind == QN_EVENT_END) {
        p->ended = true;
        p->r->timings = ev->timings;
        if (ev->reason == QN_END_ERROR && ev->error)
            p->err = *ev->error;
    }
    if (p->halfway != before || p->ended)
        qn__cond_signal(&p->change);
    qn__unlock(&p->lock);
}

/* Delivered after ours of the same step, whose gap is the last one then. */
static void others(void *arg, const qn_event *ev)
{
    pacing *p = arg;
    const bool same = p->r->n_gaps > 0 && p->steps[p->r->n_gaps - 1] == step_now(p);
    uint32_t *prefill = same ? &p->r->gaps[p->r->n_gaps - 1].neighbour_prefill : &p->early_prefill;
    uint32_t *tokens = same ? &p->r->gaps[p->r->n_gaps - 1].others : &p->early_others;
    if (ev->kind == QN_EVENT_PREFILL) {
        *prefill += ev->done > p->others_read ? (uint32_t)(ev->done - p->others_read) : 0;
        p->others_read = ev->done;
    } else if (ev->kind == QN_EVENT_TEXT) {
        *tokens += (uint32_t)ev->n_tokens;
    }
    if (ev->kind == QN_EVENT_END) {
        qn__lock(&p->lock);
        p->beside_ended = true;
        qn__cond_signal(&p->change);
        qn__unlock(&p->lock);
    }
}

static void ask_for(qn_request_options *r, const int32_t *tokens, size_t n, int32_t generate)
{
    qn_request_options_init(r);
    r->tokens = tokens;
    r->n_tokens = n;
    r->max_tokens = generate;
    r->ignore_eos = true;
    r->draft = -1;
}

/* Until ours has ended; halfway the other one is asked. */
static qn_status wait_for(pacing *p, qn_job **beside, qn_err *err)
{
    const qn_pace_options *o = p->o;
    qn_status st = QN_OK;
    qn__lock(&p->lock);
    while (!p->ended && !st) {
        (void)qn__cond_wait_until(&p->change, &p->lock, qn__now() + 0.5);
        if (p->halfway && o->beside && !*beside && !p->ended) {
            qn_request_options r;
            qn__unlock(&p->lock);
            ask_for(&r, o->beside, o->n_beside, o->n_generate / 4 + 1);
            r.client = 1;
            st = qn_scheduler_submit(p->s, &r, &(qn_sink){.event = others, .arg = p}, beside, err);
            qn__lock(&p->lock);
        }
        if (!st && o->keep_on) {
            qn__unlock(&p->lock);
            if (!o->keep_on(o->arg))
                st = qn__fail(err, QN_ECANCELLED, "inspect", "cancelled");
            qn__lock(&p->lock);
        }
    }
    qn__unlock(&p->lock);
    return st;
}

qn_status qn__pace_run(qn_scheduler *s, const qn_pace_options *o, qn_pace_run *out, qn_err *err)
{
    qn_pace_run r = {0};
    pacing p = {.s = s, .o = o, .r = &r};
    qn_request_options mine;
    qn_job *job = NULL, *beside = NULL;
    qn__lock_init(&p.lock);
    qn__cond_init(&p.change);
    ask_for(&mine, o->tokens, o->n_tokens, o->n_generate);
    p.start = qn__now();
    qn_status st = qn_scheduler_submit(s, &mine, &(qn_sink){.event = ours, .arg = &p}, &job, err);
    if (!st)
        st = wait_for(&p, &beside, err);
    qn_job_close(job); /* cancels what is not over */
    qn_job_close(beside);
    if (!st && p.err.code) {
        st = p.err.code;
        if (err)
            *err = p.err;
    }
    if (!st && p.failed)
        st = qn__fail_mem(err, "gaps");
    r.decode_s = p.n_text > 0 ? p.last - p.start - r.first_s : 0;
    r.overhead_s = qn__meter_cost(r.gaps, r.n_gaps);
    if (r.prefill_s <= 0 || r.prefill_s > r.first_s)
        r.prefill_s = r.first_s;
    qn__cond_destroy(&p.change);
    qn__lock_destroy(&p.lock);
    qn_free(p.steps);
    if (st)
        qn__pace_run_free(&r);
    else
        *out = r;
    return st;
}

void qn__pace_run_free(qn_pace_run *r)
{
    qn_free(r->gaps);
    *r = (qn_pace_run){0};
}
