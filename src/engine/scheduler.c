/* scheduler.c - an engine's own thread: jobs come in from any thread through a bounded queue and go out as events.
 *
 *   any thread      submit ──> arrived ──┐                 ┌──> sink(event)
 *                   call   ──> calls   ──┤   the thread:   │
 *                   cancel ──> flag    ──┴─> [ step ] ─────┴──> stats
 *
 * The lock guards the queues, the numbers and each job's state; it is never held during a step, a call or a sink. A job's
 * request is made by the thread that submits it and is the scheduler thread's from then on, until END was delivered.
 *
 * Refuses (QN_EBUSY) more open jobs than can run and wait: the queue is bounded, and the sentence says when to come again. */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/thread.h"
#include "engine/engine.h"

enum { QUEUE_DEFAULT = 64, QUEUE_MAX = 1 << 16, GAP_DEFAULT = 250, GAP_MAX = 3600000 };

struct qn_job {
    qn_scheduler *s;
    qn_request *r; /* NULL once ended */
    qn_sink sink;
    qn_job *next;  /* in `arrived`, then among those that the thread works on */
    bool ended, closed;
    double last_token; /* when; 0: none yet */
};

typedef struct call {
    void (*fn)(qn_engine *e, void *arg);
    void *arg;
    struct call *next;
    bool done;
} call;

struct qn_scheduler {
    qn_engine *e;
    qn_scheduler_options o;
    qn_thread *thread;
    qn_lock lock;
    qn_cond work, done; /* for the thread; for those who wait for it */
    size_t refs;        /* the handle and the jobs that are not closed: jobs may be closed after the scheduler */
    bool quit;
    qn_job *arrived, **arrived_end;
    call *calls, **calls_end;
    int32_t n_open;     /* jobs without END */
    double mean_job_s;  /* from one END to the next while others wait; 0: not known yet */
    double last_end;
    qn_scheduler_stats stats;
    qn_job *jobs, **jobs_end; /* the thread's alone */
};

void qn_scheduler_options_init(qn_scheduler_options *o)
{
    *o = (qn_scheduler_options){0};
}

/* ---- lifetime ---- */

/* With the lock held; gives it back. */
static void release(qn_scheduler *s)
{
    bool last = --s->refs == 0;
    qn__unlock(&s->lock);
    if (!last)
        return;
    qn__cond_destroy(&s->work);
    qn__cond_destroy(&s->done);
    qn__lock_destroy(&s->lock);
    qn_free(s);
}

static qn_status fill_options(qn_scheduler *s, const qn_scheduler_options *o, qn_err *err)
{
    if (o)
        s->o = *o;
    if (s->o.max_queue == 0)
        s->o.max_queue = QUEUE_DEFAULT;
    if (s->o.max_gap_ms == 0)
        s->o.max_gap_ms = GAP_DEFAULT;
    if (s->o.max_queue < 1 || s->o.max_queue > QUEUE_MAX)
        return qn__fail(err, QN_EINVAL, "queue", "%d is out of range; give 1 to %d, or 0 for the default", s->o.max_queue,
                        QUEUE_MAX);
    if (s->o.max_gap_ms < 1 || s->o.max_gap_ms > GAP_MAX)
        return qn__fail(err, QN_EINVAL, "gap", "%d ms is out of range; give 1 to %d, or 0 for the default", s->o.max_gap_ms,
                        GAP_MAX);
    return QN_OK;
}

static void run(void *arg);

qn_status qn_scheduler_open(qn_engine *e, const qn_scheduler_options *o, qn_scheduler **out, qn_err *err)
{
    qn_scheduler *s = qn__calloc(1, sizeof *s);
    if (!s)
        return qn__fail_mem(err, "scheduler");
    qn_status st = fill_options(s, o, err);
    if (st) {
        qn_free(s);
        return st;
    }
    s->e = e;
    e->max_gap = s->o.max_gap_ms * 1e-3;
    s->refs = 1;
    s->arrived_end = &s->arrived;
    s->calls_end = &s->calls;
    s->jobs_end = &s->jobs;
    qn__lock_init(&s->lock);
    qn__cond_init(&s->work);
    qn__cond_init(&s->done);
    st = qn__thread_start(run, s, &s->thread, err);
    if (st) {
        qn__lock(&s->lock);
        release(s);
        return st;
    }
    *out = s;
    return QN_OK;
}

void qn_scheduler_close(qn_scheduler *s)
{
    if (!s)
        return;
    qn__lock(&s->lock);
    s->quit = true;
    qn__cond_signal(&s->work);
    qn__unlock(&s->lock);
    qn__thread_join(s->thread);
    qn__lock(&s->lock);
    s->thread = NULL;
    s->e->max_gap = INFINITY;
    s->e = NULL;
    release(s);
}

/* ---- from any thread ---- */

static bool is_full(const qn_scheduler *s)
{
    return s->n_open >= s->e->o.max_seqs + s->o.max_queue;
}

/* Seconds after which a refused job may be taken: a place is free when a job ends. */
static double retry_after(const qn_scheduler *s)
{
    double t = s->mean_job_s > 0 ? ceil(s->mean_job_s) : 1;
    return t < 1 ? 1 : t > 120 ? 120 : t;
}

/* With the lock held. */
static qn_status refuse(qn_scheduler *s, qn_err *err)
{
    s->stats.refused++;
    return qn__fail(err, QN_EBUSY, "queue", "%d requests are running or waiting, which is all that the queue holds; try again in %.0f s",
                    s->n_open, retry_after(s));
}

qn_status qn_scheduler_submit(qn_scheduler *s, const qn_request_options *o, const qn_sink *sink, qn_job **out, qn_err *err)
{
    qn__lock(&s->lock);
    if (is_full(s)) { /* before any work is done for it */
        qn_status busy = refuse(s, err);
        qn__unlock(&s->lock);
        return busy;
    }
    s->n_open++; /* its place */
    qn__unlock(&s->lock);
    qn_job *j = qn__calloc(1, sizeof *j);
    qn_request *r = NULL;
    qn_status st = j ? qn__request_create(s->e, o, &r, err) : qn__fail_mem(err, "job");
    qn__lock(&s->lock);
    if (!st && s->quit)
        st = qn__fail(err, QN_ECANCELLED, "queue", "the server is stopping; ask another one");
    if (st) {
        s->n_open--;
        qn__unlock(&s->lock);
        qn_request_close(r);
        qn_free(j);
        return st;
    }
    *j = (qn_job){.s = s, .r = r, .sink = *sink};
    s->refs++;
    s->stats.jobs++;
    *s->arrived_end = j;
    s->arrived_end = &j->next;
    *out = j;
    qn__cond_signal(&s->work);
    qn__unlock(&s->lock);
    return QN_OK;
}

qn_status qn_scheduler_call(qn_scheduler *s, void (*fn)(qn_engine *e, void *arg), void *arg, qn_err *err)
{
    if (qn__thread_is_here(s->thread)) { /* from a sink: that is between two steps */
        fn(s->e, arg);
        return QN_OK;
    }
    call c = {.fn = fn, .arg = arg};
    qn__lock(&s->lock);
    if (s->quit) {
        qn__unlock(&s->lock);
        return qn__fail(err, QN_ECANCELLED, "queue", "the server is stopping; ask another one");
    }
    *s->calls_end = &c;
    s->calls_end = &c.next;
    qn__cond_signal(&s->work);
    while (!c.done)
        qn__cond_wait(&s->done, &s->lock);
    qn__unlock(&s->lock);
    return QN_OK;
}

void qn_job_cancel(qn_job *j)
{
    qn__lock(&j->s->lock);
    if (j->r)
        qn_request_cancel(j->r);
    qn__unlock(&j->s->lock);
}

void qn_job_close(qn_job *j)
{
    if (!j)
        return;
    qn_scheduler *s = j->s;
    qn__lock(&s->lock);
    if (j->r)
        qn_request_cancel(j->r);
    while (!j->ended)
        qn__cond_wait(&s->done, &s->lock);
    qn_free(j);
    release(s);
}

void qn_scheduler_get_stats(qn_scheduler *s, qn_scheduler_stats *out)
{
    qn__lock(&s->lock);
    *out = s->stats;
    out->waiting = s->n_open - s->stats.running;
    out->retry_s = retry_after(s);
    qn__unlock(&s->lock);
}

/* ---- the thread ---- */

/* After END was delivered. The job is the owner's alone from here on. */
static void end_job(qn_scheduler *s, qn_job *j, const qn_event *ev)
{
    double now = qn__now();
    const qn_timings *t = &ev->timings;
    qn__lock(&s->lock);
    qn_request *r = j->r;
    j->r = NULL;
    s->n_open--;
    s->stats.cancelled += ev->reason == QN_END_CANCELLED || ev->reason == QN_END_DEADLINE;
    s->stats.failed += ev->reason == QN_END_ERROR;
    s->stats.prompt_tokens += (uint64_t)t->prompt_tokens;
    s->stats.cached_tokens += (uint64_t)t->cached_tokens;
    s->stats.generated_tokens += (uint64_t)t->generated_tokens;
    s->stats.drafted_tokens += (uint64_t)t->drafted_tokens;
    s->stats.accepted_tokens += (uint64_t)t->accepted_tokens;
    if (s->last_end > 0) {
        double d = now - s->last_end;
        s->mean_job_s = s->mean_job_s > 0 ? 0.8 * s->mean_job_s + 0.2 * d : d;
    }
    s->last_end = s->n_open > 0 ? now : 0;
    s->stats.running = s->e->n_running;
    qn__unlock(&s->lock);
    qn_request_close(r);
    qn__lock(&s->lock);
    j->ended = true;
    qn__cond_broadcast(&s->done);
    qn__unlock(&s->lock);
}

/* Everything that j has to say goes out; true when that was its END. */
static bool deliver(qn_scheduler *s, qn_job *j)
{
    for (;;) {
        qn_event ev;
        qn_err err = {0};
        bool any;
        if (qn__request_news(j->r, &ev, &any, &err)) {
            if (j->r->phase != QN_ENDED)
                qn__request_fail(j->r, &err);
            ev = (qn_event){.kind = QN_EVENT_END, .reason = QN_END_ERROR, .error = &err, .timings = j->r->timings};
            any = true;
        }
        if (!any)
            return false;
        if (ev.kind == QN_EVENT_TEXT && ev.n_tokens) {
            double now = qn__now(), gap = j->last_token > 0 ? now - j->last_token : 0;
            j->last_token = now;
            qn__lock(&s->lock);
            if (gap > s->stats.worst_gap_s)
                s->stats.worst_gap_s = gap;
            qn__unlock(&s->lock);
        }
        j->sink.event(j->sink.arg, &ev);
        if (ev.kind == QN_EVENT_END) {
            end_job(s, j, &ev);
            return true;
        }
    }
}

static void deliver_all(qn_scheduler *s)
{
    for (qn_job **p = &s->jobs; *p;) {
        qn_job *j = *p, *next = j->next;
        if (!deliver(s, j)) {
            p = &j->next;
            continue;
        }
        *p = next; /* j may be gone */
        if (!next)
            s->jobs_end = p;
    }
}

static void step(qn_scheduler *s)
{
    qn_err err = {0};
    qn_status st = qn__engine_step(s->e, &err);
    for (qn_job *j = s->jobs; st && j; j = j->next) /* nobody's fault in particular, and nobody can go on */
        if (j->r->phase != QN_ENDED)
            qn__request_fail(j->r, &err);
    const qn_step_stats *l = &s->e->last_step;
    qn__lock(&s->lock);
    s->stats.running = s->e->n_running;
    s->stats.steps += l->prefill + l->decode > 0;
    s->stats.busy_s += l->seconds;
    if (l->prefill > l->decode && l->seconds > 0) {
        double rate = l->prefill / l->seconds;
        s->stats.prefill_rate = s->stats.prefill_rate > 0 ? 0.8 * s->stats.prefill_rate + 0.2 * rate : rate;
    }
    qn__unlock(&s->lock);
}

/* Wait for something to do and take it over. False: there will be nothing more. */
static bool collect(qn_scheduler *s, call **calls)
{
    qn__lock(&s->lock);
    while (!s->quit && !s->arrived && !s->calls && !s->jobs)
        qn__cond_wait(&s->work, &s->lock);
    bool quit = s->quit;
    *calls = s->calls;
    s->calls = NULL;
    s->calls_end = &s->calls;
    qn_job *j = s->arrived;
    if (j) {
        *s->jobs_end = j;
        s->jobs_end = s->arrived_end;
    }
    s->arrived = NULL;
    s->arrived_end = &s->arrived;
    qn__unlock(&s->lock);
    for (; j; j = j->next)
        qn__request_join(j->r);
    return !quit;
}

static void run_calls(qn_scheduler *s, call *c)
{
    for (call *next; c; c = next) {
        next = c->next;
        c->fn(s->e, c->arg);
        qn__lock(&s->lock);
        c->done = true;
        qn__cond_broadcast(&s->done);
        qn__unlock(&s->lock);
    }
}

static void run(void *arg)
{
    qn_scheduler *s = arg;
    for (bool more = true; more;) {
        call *calls;
        more = collect(s, &calls);
        run_calls(s, calls);
        for (qn_job *j = s->jobs; !more && j; j = j->next)
            qn_request_cancel(j->r);
        if (s->jobs) {
            step(s);
            deliver_all(s);
        }
    }
    while (s->jobs) { /* cancelled; one step ends them */
        step(s);
        deliver_all(s);
    }
}
