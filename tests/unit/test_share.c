/* Who runs, who waits, who gives way: counted in steps and rows, never in seconds. And whatever happens to a request on its
 * way - waiting, giving way, starting anew - what it says are the bytes that it says alone. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/engine.h"

#define OK(x)                                                                                                          \
    do {                                                                                                               \
        qn_err err = {0};                                                                                              \
        if ((x) != QN_OK)                                                                                              \
            fail_msg("%s: %s: %s", #x, err.where, err.what);                                                           \
    } while (0)

enum { MOST = 512 };
#ifdef QN_SANITIZED /* many times slower */
enum { FIRST_CONTEXTS = 1, LAST_CONTEXTS = 2, TURNS = 5, STRIDE = 7 };
#else
enum { FIRST_CONTEXTS = 0, LAST_CONTEXTS = 3, TURNS = 20, STRIDE = 1 };
#endif

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

/* `contexts` of memory for pages; 0: as many as there are sequences. */
static qn_engine *engine(int32_t n_ctx, int32_t n_chunk, int32_t max_seqs, double contexts)
{
    qn_engine_options o;
    qn_engine *e = NULL;
    qn_engine_options_init(&o);
    o.n_ctx = n_ctx;
    o.n_chunk = n_chunk;
    o.max_seqs = max_seqs;
    o.n_threads = 1;
    OK(qn_engine_open(model, &o, &e, &err));
    if (contexts > 0) {
        qn_engine_info info;
        qn_engine_get_info(e, &info);
        o.kv_ram = (uint64_t)(contexts * n_ctx) * info.kv_bytes_per_token;
        qn_engine_close(e);
        OK(qn_engine_open(model, &o, &e, &err));
    }
    return e;
}

typedef struct talk {
    qn_request *r;
    int32_t ids[MOST];
    size_t n;
    int32_t read;
    bool ended;
    qn_end_reason reason;
    qn_timings timings;
} talk;

static void fill(int32_t *tokens, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        tokens[i] = (int32_t)((seed >> 8) % 2000);
    }
}

static void begin(qn_engine *e, talk *t, uint32_t seed, size_t n_prompt, int32_t max_tokens, uint64_t client)
{
    int32_t tokens[MOST * 2];
    qn_request_options o;
    qn_request_options_init(&o);
    fill(tokens, n_prompt, seed);
    o.tokens = tokens;
    o.n_tokens = n_prompt;
    o.max_tokens = max_tokens;
    o.ignore_eos = true;
    o.client = client;
    if (seed % 2) {
        o.sampling.temperature = 0.8f;
        o.sampling.seed = seed;
    }
    *t = (talk){0};
    OK(qn_request_open(e, &o, &t->r, &err));
}

/* What it has to say without another step. */
static void hear(talk *t)
{
    for (bool any = true; any && !t->ended;) {
        qn_event ev;
        qn_err err = {0};
        if (qn__request_news(t->r, &ev, &any, &err))
            fail_msg("%s", err.what);
        if (!any)
            return;
        if (ev.kind == QN_EVENT_PREFILL) {
            assert_true(ev.done > t->read && t->n == 0);
            t->read = ev.done;
        } else if (ev.kind == QN_EVENT_TEXT) {
            assert_true(t->n + ev.n_tokens <= MOST);
            memcpy(t->ids + t->n, ev.tokens, ev.n_tokens * sizeof *ev.tokens);
            t->n += ev.n_tokens;
        } else {
            t->ended = true;
            t->reason = ev.reason;
            t->timings = ev.timings;
        }
    }
}

static void close_talk(talk *t)
{
    qn_request_close(t->r);
    t->r = NULL;
}

static void alone(talk *want, uint32_t seed, size_t n_prompt, int32_t max_tokens)
{
    qn_engine *e = engine(512, 512, 1, 0);
    begin(e, want, seed, n_prompt, max_tokens, 0);
    while (!want->ended) {
        OK(qn__engine_step(e, &err));
        hear(want);
    }
    qn_engine_close(e);
}

static bool same(const talk *a, const talk *b)
{
    return a->n == b->n && a->reason == b->reason && memcmp(a->ids, b->ids, a->n * sizeof *a->ids) == 0;
}

/* Twelve requests on memory for less than two contexts: nobody fails, everybody says what it says alone. */
static void memory_runs_out(void **state)
{
    (void)state;
    enum { N = 12 };
    static talk t[N], want;
    const double contexts[] = {1, 1.6, 3};
    int gave_way[3] = {0};
    for (int c = FIRST_CONTEXTS; c < LAST_CONTEXTS; c++) {
        qn_engine *e = engine(320, 64, 8, contexts[c]);
        for (int i = 0; i < N; i++) {
            begin(e, &t[i], (uint32_t)i + 1, (size_t)(30 + i * 53 % 120), 60 + i * 31 % 130, (uint64_t)(i % 3));
            t[i].r->draft = i % 3 ? -1 : 4; /* not as it pays: each run takes the same steps */
        }
        int left = N, steps = 0;
        for (bool again[N] = {0}; left > 0; steps++) {
            assert_true(steps < 5000);
            OK(qn__engine_step(e, &err));
            assert_true(qn__pages_bytes(e->pages) <= e->o.kv_ram);
            for (int i = 0; i < N; i++) {
                if (t[i].r->again && !again[i]) {
                    again[i] = true;
                    gave_way[c]++;
                }
                if (!t[i].ended) {
                    hear(&t[i]);
                    left -= t[i].ended;
                }
            }
        }
        for (int i = 0; i < N; i++) {
            alone(&want, (uint32_t)i + 1, (size_t)(30 + i * 53 % 120), 60 + i * 31 % 130);
            assert_true(same(&t[i], &want));
            assert_int_equal(t[i].timings.prompt_tokens, 30 + i * 53 % 120);
            assert_true(t[i].timings.cached_tokens < t[i].timings.prompt_tokens);
            assert_int_equal(t[i].timings.generated_tokens, t[i].n);
            close_talk(&t[i]);
        }
        qn_engine_close(e);
    }
    assert_true(gave_way[1] > 0);
    want.ids[want.n / 2]++; /* planted */
    assert_false(same(&t[N - 1], &want));
    printf("figure: pages: of %d requests %d, %d and %d gave way with room for 1, 1.6 and 3 contexts; same bytes\n", N,
           gave_way[0], gave_way[1], gave_way[2]);
}

/* One client has a hundred rows' worth of long prompts, another comes later with a short one. */
static void clients_share(void **state)
{
    (void)state;
    enum { N = 6 };
    static talk t[N];
    qn_engine *e = engine(512, 64, 8, 0);
    for (int i = 0; i < 4; i++)
        begin(e, &t[i], (uint32_t)i + 1, 480, 1, 7);
    for (int step = 0; step < 4; step++)
        OK(qn__engine_step(e, &err));
    begin(e, &t[4], 50, 200, 1, 8); /* 200 tokens need 4 steps of 64 alone, about twice that when shared */
    begin(e, &t[5], 51, 60, 1, 9);
    int step = 0, when[N] = {0};
    for (int left = N; left > 0; step++) {
        assert_true(step < 100);
        OK(qn__engine_step(e, &err));
        assert_true(e->last_step.prefill <= 64);
        for (int i = 0; i < N; i++)
            if (!t[i].ended) {
                hear(&t[i]);
                left -= t[i].ended;
                when[i] = t[i].ended ? step + 1 : 0;
            }
    }
    assert_true(when[5] <= 3);  /* its 60 tokens beside two others' shares */
    assert_true(when[4] <= 9);
    assert_true(when[0] < when[1] && when[1] < when[2] && when[2] < when[3]); /* of one client, by arrival */
    for (int i = 0; i < N; i++)
        close_talk(&t[i]);
    qn_engine_close(e);
}

/* A client with all the places gives one to a client that has none; it loses nothing. */
static void places_are_shared(void **state)
{
    (void)state;
    static talk t[4], want;
    qn_engine *e = engine(512, 64, 2, 0);
    begin(e, &t[0], 1, 40, 120, 1);
    begin(e, &t[1], 2, 40, 120, 1);
    t[0].r->draft = t[1].r->draft = -1; /* 20 steps are 20 tokens */
    for (int i = 0; i < 20; i++)
        OK(qn__engine_step(e, &err));
    assert_int_equal(t[1].r->phase, QN_WRITING);
    begin(e, &t[2], 3, 40, 10, 2);
    begin(e, &t[3], 4, 40, 10, 1);
    OK(qn__engine_step(e, &err));
    assert_int_equal(t[2].r->phase, QN_WRITING);
    assert_int_equal(t[1].r->phase, QN_QUEUED);
    assert_int_equal(t[0].r->phase, QN_WRITING);
    for (int left = 4, steps = 0; left > 0; steps++) {
        assert_true(steps < 500);
        OK(qn__engine_step(e, &err));
        for (int i = 0; i < 4; i++)
            if (!t[i].ended) {
                hear(&t[i]);
                left -= t[i].ended;
            }
    }
    for (int i = 0; i < 4; i++) {
        alone(&want, (uint32_t)i + 1, 40, i < 2 ? 120 : 10);
        assert_true(same(&t[i], &want));
        close_talk(&t[i]);
    }
    qn_engine_close(e);
}

/* While somebody writes, every step gives it a token, and prefill takes no more rows than its gap allows. What steps cost is
 * set, not measured: 1 ms a token of prefill and 10 ns for each position before it, 20 ms a step. */
static void gaps(void **state)
{
    (void)state;
    static talk writer, reader;
    qn_engine *e = engine(1024, 512, 4, 0);
    begin(e, &writer, 2, 40, 400, 1);
    writer.r->draft = -1;
    while (writer.n == 0) {
        OK(qn__engine_step(e, &err));
        hear(&writer);
    }
    e->cost = (qn_cost){.frozen = true};
    for (int i = 1; i < 5; i++) {
        qn__line_add(&e->cost.decode, i, 0.018 + 0.002 * i, 1, 1);
        qn__line_add(&e->cost.prefill, 200 * i, 0.001 + 1e-8 * 200 * i, 1, 1);
    }
    e->max_gap = 0.1;
    begin(e, &reader, 4, 900, 1, 2);
    int steps = 0;
    for (int32_t at = 0; !reader.ended; steps++) {
        size_t had = writer.n;
        OK(qn__engine_step(e, &err));
        hear(&writer);
        hear(&reader);
        assert_true(writer.n > had || writer.ended);
        const qn_step_stats *l = &e->last_step;
        double seconds = 0.018 + 0.002 * l->decode + l->prefill * (0.001 + 1e-8 * l->depth);
        assert_true(seconds <= 0.1);
        if (!writer.ended && l->prefill && at + l->prefill < 900)
            assert_true(seconds > 0.07); /* and what the gap allows is used */
        at += l->prefill;
    }
    assert_true(steps >= 14 && steps < 20); /* 900 tokens, some 58 a step */
    close_talk(&writer);
    close_talk(&reader);
    /* Nobody writes: nothing to wait for. */
    begin(e, &reader, 6, 900, 1, 2);
    OK(qn__engine_step(e, &err));
    assert_int_equal(e->last_step.prefill, 512);
    close_talk(&reader);
    qn_engine_close(e);
}

/* n answers to one prompt: it is read once. */
static void one_prompt_many_answers(void **state)
{
    (void)state;
    enum { N = 6, PROMPT = 400 };
    static talk t[N];
    qn_engine *e = engine(512, 64, N, 0);
    for (int i = 0; i < N; i++)
        begin(e, &t[i], 11, PROMPT, 4, 0);
    int computed = 0;
    for (int left = N; left > 0;) {
        OK(qn__engine_step(e, &err));
        computed += e->last_step.prefill;
        for (int i = 0; i < N; i++)
            if (!t[i].ended) {
                hear(&t[i]);
                left -= t[i].ended;
            }
    }
    int cached = 0;
    for (int i = 0; i < N; i++) {
        cached += t[i].timings.cached_tokens;
        assert_true(same(&t[i], &t[0]));
        close_talk(&t[i]);
    }
    assert_int_equal(computed + cached, N * PROMPT);
    assert_true(computed <= PROMPT + (N - 1) * QN_PAGE_TOKENS);
    printf("figure: one prompt of %d tokens, %d answers: %d tokens computed\n", PROMPT, N, computed);
    qn_engine_close(e);
}

/* Twenty turns: each computes what is new, and at most a page besides. */
static void turns(void **state)
{
    (void)state;
    enum { CTX = 3000 };
    static int32_t history[CTX];
    static talk t;
    qn_engine *e = engine(CTX, 256, 4, 0);
    size_t n = 1200;
    fill(history, n, 5);
    int worst = 0;
    for (int turn = 0; turn < TURNS; turn++) {
        size_t before = n;
        if (turn) {
            fill(history + n, 30, (uint32_t)turn * 77);
            n += 30;
        }
        qn_request_options o;
        qn_request_options_init(&o);
        o.tokens = history;
        o.n_tokens = n;
        o.max_tokens = 25;
        o.ignore_eos = true;
        t = (talk){0};
        OK(qn_request_open(e, &o, &t.r, &err));
        while (!t.ended) {
            OK(qn__engine_step(e, &err));
            hear(&t);
        }
        int extra = t.timings.prompt_tokens - t.timings.cached_tokens - (int)(turn ? n - before : n);
        worst = extra > worst ? extra : worst;
        assert_true(extra <= QN_PAGE_TOKENS);
        memcpy(history + n, t.ids, t.n * sizeof *t.ids);
        n += t.n;
        close_talk(&t);
        talk other; /* somebody else in between */
        begin(e, &other, (uint32_t)turn + 100, 300, 3, 3);
        while (!other.ended) {
            OK(qn__engine_step(e, &err));
            hear(&other);
        }
        close_talk(&other);
    }
    printf("figure: %d turns: at most %d tokens of a turn computed that were not new\n", TURNS, worst);
    qn_engine_close(e);
}

/* Memory that fails at any place: a clean refusal or the same answers, and the engine goes on. */
static qn_status two(qn_engine *e, talk *t, qn_err *err)
{
    qn_status st = QN_OK;
    int32_t tokens[150];
    qn_request_options o;
    qn_request_options_init(&o);
    o.tokens = tokens;
    o.n_tokens = 150;
    o.max_tokens = 80;
    o.ignore_eos = true;
    o.draft = 4;
    o.probs = true;
    o.top_probs = 2;
    t[0] = t[1] = (talk){0};
    for (int i = 0; i < 2 && !st; i++) {
        fill(tokens, 75, (uint32_t)i + 1);
        memcpy(tokens + 75, tokens, 75 * sizeof *tokens);
        st = qn_request_open(e, &o, &t[i].r, err);
    }
    while (!st && !(t[0].ended && t[1].ended)) {
        st = qn__engine_step(e, err);
        for (int i = 0; i < 2 && !st; i++)
            for (bool any = true; any && !st && !t[i].ended;) {
                qn_event ev;
                st = qn__request_news(t[i].r, &ev, &any, err);
                if (st || !any)
                    break;
                if (ev.kind == QN_EVENT_TEXT) {
                    memcpy(t[i].ids + t[i].n, ev.tokens, ev.n_tokens * sizeof *ev.tokens);
                    t[i].n += ev.n_tokens;
                }
                t[i].ended = ev.kind == QN_EVENT_END;
                t[i].reason = ev.reason;
            }
    }
    for (int i = 0; i < 2; i++)
        close_talk(&t[i]);
    return st;
}

static void allocation_fails(void **state)
{
    (void)state;
    static talk want[2], got[2];
    qn_err err = {0};
    qn_engine *e = engine(256, 64, 2, 1.5);
    uint64_t before = qn__alloc_count();
    assert_int_equal(two(e, want, &err), QN_OK);
    uint64_t total = qn__alloc_count() - before, refused = 0;
    qn_engine_close(e);
    for (uint64_t i = 1; i <= total; i += STRIDE) {
        e = engine(256, 64, 2, 1.5);
        memset(&err, 0, sizeof err);
        qn__alloc_fail_at(i);
        qn_status st = two(e, got, &err);
        qn__alloc_fail_at(0);
        if (st) {
            refused++;
            assert_int_equal(st, QN_ENOMEM);
            assert_true(strlen(err.what) > 10);
            assert_int_equal(two(e, got, &err), QN_OK);
        }
        assert_true(same(&got[0], &want[0]) && same(&got[1], &want[1]));
        qn_engine_close(e);
    }
    assert_true(refused > 2 && refused < total); /* planted: both must be seen */
    printf("figure: sharing: %llu allocations failed one at a time: %llu clean refusals, the others the same answers\n",
           (unsigned long long)((total + STRIDE - 1) / STRIDE), (unsigned long long)refused);
}

static void context_and_memory(void **state)
{
    (void)state;
    qn_model_info info;
    qn_engine_options o;
    qn_engine *e = NULL;
    qn_engine_info i;
    qn_model_get_info(model, &info);
    qn_engine_options_init(&o);
    OK(qn_engine_open(model, &o, &e, &err));
    qn_engine_get_info(e, &i);
    assert_int_equal(i.n_ctx, info.n_ctx_train); /* it is small: it fits anywhere */
    assert_int_equal(i.kv_bytes, 0);
    assert_true(i.kv_ram >= (uint64_t)i.n_ctx * i.kv_bytes_per_token);
    qn_engine_close(e);
    o.kv_ram = 1; /* a context always fits */
    o.n_ctx = 1000;
    OK(qn_engine_open(model, &o, &e, &err));
    qn_engine_get_info(e, &i);
    assert_int_equal(i.kv_ram, 17 * 64 * i.kv_bytes_per_token);
    qn_engine_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_runs_out), cmocka_unit_test(clients_share), cmocka_unit_test(places_are_shared),
        cmocka_unit_test(gaps), cmocka_unit_test(one_prompt_many_answers), cmocka_unit_test(turns),
        cmocka_unit_test(allocation_fails), cmocka_unit_test(context_and_memory),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
