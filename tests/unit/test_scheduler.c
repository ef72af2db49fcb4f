/* The scheduler on the embedded model: jobs from several threads, their events, cancelling, the bounded queue, calls, closing
 * in any order. What a job says is checked against the same request run alone on an engine. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/thread.h"
#include "quern.h"

#define OK(x)                                                                                                          \
    do {                                                                                                               \
        qn_err err = {0};                                                                                              \
        if ((x) != QN_OK)                                                                                              \
            fail_msg("%s: %s: %s", #x, err.where, err.what);                                                           \
    } while (0)

enum { MOST = 256, JOBS = 12 };

static qn_model *model;

static int open_model(void **state)
{
    (void)state;
    return qn_model_open(NULL, QN_OPEN_FULL, &model, NULL);
}
static int close_model(void **state)
{
    (void)state;
    qn_model_close(model);
    return 0;
}

static qn_engine *engine(int32_t n_ctx, int32_t n_chunk, int32_t max_seqs)
{
    qn_engine_options o;
    qn_engine *e = NULL;
    qn_engine_options_init(&o);
    o.n_ctx = n_ctx;
    o.n_chunk = n_chunk;
    o.max_seqs = max_seqs;
    o.n_threads = 1;
    OK(qn_engine_open(model, &o, &e, &err));
    return e;
}

/* What a sink heard. */
typedef struct heard {
    qn_lock lock;
    qn_cond ended;
    qn_job *job;
    int32_t ids[MOST];
    size_t n_ids;
    char text[4096];
    size_t n_text;
    int n_end, last_done;
    qn_end_reason reason;
    qn_status failed;
    qn_timings timings;
    size_t cancel_at; /* ids after which it cancels itself; 0: never */
} heard;

static void hear(void *arg, const qn_event *ev)
{
    heard *h = arg;
    qn__lock(&h->lock);
    assert_int_equal(h->n_end, 0); /* END is the last */
    if (ev->kind == QN_EVENT_PREFILL) {
        assert_true(ev->done > h->last_done && ev->done <= ev->total);
        h->last_done = ev->done;
    } else if (ev->kind == QN_EVENT_TEXT) {
        assert_true(h->n_ids + ev->n_tokens <= MOST && h->n_text + ev->n_text <= sizeof h->text);
        memcpy(h->ids + h->n_ids, ev->tokens, ev->n_tokens * sizeof *ev->tokens);
        memcpy(h->text + h->n_text, ev->text, ev->n_text);
        h->n_ids += ev->n_tokens;
        h->n_text += ev->n_text;
    } else {
        h->n_end++;
        h->reason = ev->reason;
        h->timings = ev->timings;
        h->failed = ev->error ? ev->error->code : QN_OK;
        assert_true((ev->reason == QN_END_ERROR) == (ev->error != NULL));
        qn__cond_signal(&h->ended);
    }
    qn_job *cancel = h->cancel_at && h->n_ids >= h->cancel_at ? h->job : NULL;
    qn__unlock(&h->lock);
    if (cancel)
        qn_job_cancel(cancel);
}

static heard *ears(void)
{
    heard *h = calloc(1, sizeof *h);
    qn__lock_init(&h->lock);
    qn__cond_init(&h->ended);
    return h;
}

static void drop(heard *h)
{
    qn__lock_destroy(&h->lock);
    qn__cond_destroy(&h->ended);
    free(h);
}

static void wait_end(heard *h)
{
    qn__lock(&h->lock);
    while (!h->n_end)
        qn__cond_wait(&h->ended, &h->lock);
    qn__unlock(&h->lock);
}

static qn_status submit(qn_scheduler *s, const qn_request_options *o, heard *h, qn_err *err)
{
    const qn_sink sink = {hear, h};
    qn_job *j = NULL;
    qn__lock(&h->lock); /* so that no event is heard before `job` is set */
    qn_status st = qn_scheduler_submit(s, o, &sink, &j, err);
    h->job = j;
    qn__unlock(&h->lock);
    return st;
}

/* The i-th request: prompts of mixed lengths with common beginnings, half of them sampled. */
static qn_request_options request(int32_t *tokens, int i)
{
    qn_request_options o;
    qn_request_options_init(&o);
    uint32_t x = (uint32_t)(i % 3) + 1;
    size_t n = (size_t)(5 + i * 37 % 150);
    for (size_t k = 0; k < n; k++) {
        if (k == 70)
            x += (uint32_t)i * 977;
        x = x * 1664525u + 1013904223u;
        tokens[k] = (int32_t)((x >> 8) % 2000);
    }
    o.tokens = tokens;
    o.n_tokens = n;
    o.max_tokens = 8 + i % 5;
    o.ignore_eos = true;
    if (i % 2) {
        o.sampling.temperature = 0.9f;
        o.sampling.top_p = 0.95f;
        o.sampling.seed = (uint64_t)i;
    }
    return o;
}

static void alone(const qn_request_options *o, heard *h)
{
    qn_engine *e = engine(512, 512, 1);
    qn_request *r = NULL;
    qn_event ev = {0};
    OK(qn_request_open(e, o, &r, &err));
    while (ev.kind != QN_EVENT_END) {
        OK(qn_request_next(r, &ev, &err));
        hear(h, &ev);
    }
    qn_engine_close(e);
}

static bool same(const heard *a, const heard *b)
{
    return a->n_ids == b->n_ids && a->n_text == b->n_text && memcmp(a->ids, b->ids, a->n_ids * sizeof *a->ids) == 0 &&
           memcmp(a->text, b->text, a->n_text) == 0 && a->reason == b->reason;
}

static void jobs_say_what_requests_say(void **state)
{
    (void)state;
    qn_engine *e = engine(512, 64, 4);
    qn_scheduler *s = NULL;
    heard *want[JOBS], *got[JOBS];
    OK(qn_scheduler_open(e, NULL, &s, &err));
    for (int i = 0; i < JOBS; i++) {
        int32_t tokens[MOST];
        qn_request_options o = request(tokens, i);
        alone(&o, want[i] = ears());
        OK(submit(s, &o, got[i] = ears(), &err));
    }
    for (int i = 0; i < JOBS; i++)
        wait_end(got[i]);
    for (int i = 0; i < JOBS; i++)
        assert_true(same(got[i], want[i]));
    got[0]->ids[3]++; /* planted */
    assert_false(same(got[0], want[0]));
    uint64_t prompts = 0, generated = 0;
    for (int i = 0; i < JOBS; i++) {
        prompts += (uint64_t)got[i]->timings.prompt_tokens;
        generated += (uint64_t)got[i]->timings.generated_tokens;
        qn_job_close(got[i]->job);
        drop(got[i]);
        drop(want[i]);
    }
    qn_scheduler_stats st;
    qn_scheduler_get_stats(s, &st);
    assert_int_equal(st.jobs, JOBS);
    assert_int_equal(st.running, 0);
    assert_int_equal(st.waiting, 0);
    assert_int_equal(st.prompt_tokens, prompts);
    assert_int_equal(st.generated_tokens, generated);
    assert_true(st.steps > 0 && st.busy_s > 0 && st.cached_tokens > 0);
    qn_scheduler_close(s);
    qn_engine_close(e);
}

static void cancelled(void **state)
{
    (void)state;
    qn_engine *e = engine(512, 64, 2);
    qn_scheduler *s = NULL;
    heard *h[6];
    OK(qn_scheduler_open(e, NULL, &s, &err));
    for (int i = 0; i < 6; i++) {
        int32_t tokens[MOST];
        qn_request_options o = request(tokens, i);
        o.max_tokens = 200;
        h[i] = ears();
        h[i]->cancel_at = i == 2 ? 3 : 0;
        OK(submit(s, &o, h[i], &err));
    }
    qn_job_cancel(h[5]->job); /* most likely waiting */
    wait_end(h[2]);
    assert_int_equal(h[2]->reason, QN_END_CANCELLED);
    assert_int_equal(h[2]->n_ids, 3);
    wait_end(h[5]);
    assert_int_equal(h[5]->reason, QN_END_CANCELLED);
    for (int i = 0; i < 6; i++) { /* some of them in the middle */
        qn_job_close(h[i]->job);
        assert_int_equal(h[i]->n_end, 1);
        drop(h[i]);
    }
    qn_scheduler_close(s);
    qn_engine_close(e);
}

static void deadline(void **state)
{
    (void)state;
    qn_engine *e = engine(512, 64, 2);
    qn_scheduler *s = NULL;
    OK(qn_scheduler_open(e, NULL, &s, &err));
    int32_t tokens[MOST];
    qn_request_options o = request(tokens, 1);
    o.deadline_s = 1e-9;
    heard *h = ears();
    OK(submit(s, &o, h, &err));
    wait_end(h);
    assert_int_equal(h->reason, QN_END_DEADLINE);
    qn_job_close(h->job);
    drop(h);
    qn_scheduler_close(s);
    qn_engine_close(e);
}

static void hold(qn_engine *e, void *arg)
{
    (void)e;
    heard *gate = arg;
    wait_end(gate);
}
static void *holder(void *arg)
{
    void **a = arg;
    assert_int_equal(qn_scheduler_call(a[0], hold, a[1], NULL), QN_OK);
    return NULL;
}

/* While a call holds the thread, the queue fills; it refuses, says when to come again, and forgets nobody. */
static void bounded(void **state)
{
    (void)state;
    qn_engine *e = engine(512, 64, 2);
    qn_scheduler *s = NULL;
    qn_scheduler_options so;
    qn_scheduler_options_init(&so);
    so.max_queue = 3;
    OK(qn_scheduler_open(e, &so, &s, &err));
    heard *gate = ears(), *h[6];
    void *args[2] = {s, gate};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, holder, args), 0);
    for (int i = 0; i < 6; i++) {
        int32_t tokens[MOST];
        qn_request_options o = request(tokens, i);
        qn_err err = {0};
        h[i] = ears();
        qn_status st = submit(s, &o, h[i], &err);
        assert_int_equal(st, i < 5 ? QN_OK : QN_EBUSY);
        if (st)
            assert_non_null(strstr(err.what, "try again in"));
    }
    qn_scheduler_stats st;
    qn_scheduler_get_stats(s, &st);
    assert_int_equal(st.refused, 1);
    assert_true(st.retry_s >= 1);
    const qn_event end = {.kind = QN_EVENT_END};
    hear(gate, &end);
    (void)pthread_join(t, NULL);
    for (int i = 0; i < 6; i++) {
        if (i < 5)
            wait_end(h[i]);
        qn_job_close(h[i]->job);
        drop(h[i]);
    }
    drop(gate);
    qn_scheduler_close(s);
    qn_engine_close(e);
}

static void refusals(void **state)
{
    (void)state;
    qn_engine *e = engine(64, 64, 2);
    qn_scheduler *s = NULL;
    qn_scheduler_options so = {.max_queue = -1};
    assert_int_equal(qn_scheduler_open(e, &so, &s, NULL), QN_EINVAL);
    OK(qn_scheduler_open(e, NULL, &s, &err));
    int32_t tokens[MOST];
    qn_request_options o = request(tokens, 2);
    heard *h = ears();
    qn_err err = {0};
    o.n_tokens = 79;
    assert_int_equal(submit(s, &o, h, &err), QN_ECONTEXT);
    assert_non_null(strstr(err.what, "79"));
    assert_non_null(strstr(err.what, "64"));
    o.n_tokens = 0;
    assert_int_equal(submit(s, &o, h, &err), QN_EINVAL);
    assert_int_equal(h->n_end, 0);
    drop(h);
    qn_scheduler_close(s);
    qn_engine_close(e);
}

typedef struct client {
    qn_scheduler *s;
    heard *h[4];
    int first;
} client;
static void *clients(void *arg)
{
    client *c = arg;
    for (int i = 0; i < 4; i++) {
        int32_t tokens[MOST];
        qn_request_options o = request(tokens, c->first + i);
        o.client = (uint64_t)c->first;
        assert_int_equal(submit(c->s, &o, c->h[i], NULL), QN_OK);
        if (i % 2) {
            qn_job_close(c->h[i]->job);
            c->h[i]->job = NULL;
        }
    }
    return NULL;
}

/* Jobs from several threads, and the scheduler closes under them. */
static void closed_under_them(void **state)
{
    (void)state;
    qn_engine *e = engine(512, 64, 4);
    qn_scheduler *s = NULL;
    OK(qn_scheduler_open(e, NULL, &s, &err));
    client c[3];
    pthread_t t[3];
    for (int i = 0; i < 3; i++) {
        c[i] = (client){.s = s, .first = i * 4};
        for (int k = 0; k < 4; k++)
            c[i].h[k] = ears();
        assert_int_equal(pthread_create(&t[i], NULL, clients, &c[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        (void)pthread_join(t[i], NULL);
    qn_scheduler_close(s);
    qn_engine_close(e);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 4; k++) {
            assert_int_equal(c[i].h[k]->n_end, 1);
            qn_job_close(c[i].h[k]->job); /* after the scheduler */
            drop(c[i].h[k]);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_say_what_requests_say), cmocka_unit_test(cancelled), cmocka_unit_test(deadline),
        cmocka_unit_test(bounded), cmocka_unit_test(refusals), cmocka_unit_test(closed_under_them),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
