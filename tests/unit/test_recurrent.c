/* Recurrent models through the engine: a sequence's state beside its pages, snapshots of it, and what is resumed from them.
 * Everything is compared, by the bytes of all logits that it samples from, with the same prompt alone in a new engine. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "engine/engine.h"

#define OK(x)                                                                                                          \
    do {                                                                                                               \
        qn_err err = {0};                                                                                              \
        if ((x) != QN_OK)                                                                                              \
            fail_msg("%s: %s: %s", #x, err.where, err.what);                                                           \
    } while (0)

enum { GENERATED = 60, LONG = 140 };

static const char *const files[] = {"tests/data/models/nemotron-h.gguf", "tests/data/models/qwen35.gguf"};
static qn_model *model;

static int open_first(void **state)
{
    (void)state;
    return qn_model_open(files[0], QN_OPEN_FULL, &model, NULL);
}
static int open_second(void **state)
{
    (void)state;
    return qn_model_open(files[1], QN_OPEN_FULL, &model, NULL);
}
static int close_model(void **state)
{
    (void)state;
    qn_model_close(model);
    return 0;
}

static qn_engine_options options(int32_t n_ctx, int32_t n_chunk, int32_t max_seqs, int32_t threads)
{
    qn_engine_options o;
    qn_engine_options_init(&o);
    o.n_ctx = n_ctx;
    o.n_chunk = n_chunk;
    o.max_seqs = max_seqs;
    o.n_threads = threads;
    return o;
}

static qn_engine *engine(int32_t n_chunk, int32_t max_seqs, int32_t threads)
{
    const qn_engine_options o = options(16384, n_chunk, max_seqs, threads);
    qn_engine *e = NULL;
    OK(qn_engine_open(model, &o, &e, &err));
    return e;
}

/* n tokens that differ from another salt's from `shared` on. */
static void fill(int32_t *t, size_t n, size_t shared, uint32_t salt)
{
    for (size_t i = 0; i < n; i++)
        t[i] = (int32_t)((((uint32_t)i + 1) * 2654435761u + (i < shared ? 0 : salt) * 40503u) >> 9) % 500;
}

typedef struct answer {
    uint64_t hash; /* of all logits that were sampled from */
    int32_t ids[GENERATED + 1];
    size_t n;
    qn_end_reason reason;
    int32_t cached;
} answer;

static qn_status ask(qn_engine *e, const int32_t *tokens, size_t n, int32_t max, qn_request **out, qn_err *err)
{
    qn_request_options o;
    qn_request_options_init(&o);
    o.tokens = tokens;
    o.n_tokens = n;
    o.max_tokens = max;
    o.ignore_eos = true;
    o.sampling.temperature = 1;
    o.sampling.seed = 7;
    o.draft = -1; /* a token at a time */
    return qn_request_open(e, &o, out, err);
}

/* One event of r; false after END or an error. */
static bool take(qn_request *r, answer *a, qn_status *st, qn_err *err)
{
    qn_event ev;
    *st = qn_request_next(r, &ev, err);
    if (*st)
        return false;
    if (ev.kind == QN_EVENT_TEXT) {
        assert_int_equal(ev.n_tokens, 1);
        a->ids[a->n++] = ev.tokens[0];
        const float *row = r->e->logits + (size_t)r->out * (size_t)r->e->n_vocab;
        a->hash = a->hash * 31 + qn__hash((const char *)row, (size_t)r->e->n_vocab * sizeof *row);
    }
    if (ev.kind != QN_EVENT_END)
        return true;
    a->reason = ev.reason;
    a->cached = ev.timings.cached_tokens;
    return false;
}

static qn_status try_talk(qn_engine *e, const int32_t *tokens, size_t n, int32_t max, answer *a, qn_err *err)
{
    qn_request *r = NULL;
    *a = (answer){0};
    qn_status st = ask(e, tokens, n, max, &r, err);
    while (!st && take(r, a, &st, err))
        ;
    qn_request_close(r);
    return st;
}

static answer talk(qn_engine *e, const int32_t *tokens, size_t n, int32_t max)
{
    answer a;
    OK(try_talk(e, tokens, n, max, &a, &err));
    return a;
}

static answer alone(const int32_t *tokens, size_t n, int32_t max)
{
    qn_engine *e = engine(512, 1, 1);
    answer a = talk(e, tokens, n, max);
    assert_int_equal(a.cached, 0);
    qn_engine_close(e);
    return a;
}

static void same(const answer *a, const answer *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->ids, b->ids, a->n * sizeof *a->ids);
    assert_true(a->hash == b->hash);
}

/* ---- the same bytes ---- */

static void chunked_and_batched(void **state)
{
    (void)state;
    int32_t t[LONG], other[3][LONG];
    fill(t, LONG, LONG, 0);
    answer want = alone(t, LONG, 5), got;
    static const int32_t chunks[] = {1, 7, 100};
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        qn_engine *e = engine(chunks[i], 2, 2);
        got = talk(e, t, LONG, 5);
        same(&got, &want);
        qn_engine_close(e);
    }
    qn_engine *e = engine(50, 4, 2);
    qn_request *r[3], *watched;
    for (uint32_t i = 0; i < 3; i++) {
        fill(other[i], LONG, 0, i + 1);
        OK(ask(e, other[i], 30 + 40 * i, 10, &r[i], &err));
    }
    OK(ask(e, t, LONG, 5, &watched, &err));
    qn_status st;
    got = (answer){0};
    while (take(watched, &got, &st, NULL))
        ;
    same(&got, &want);
    for (size_t i = 0; i < 3; i++) {
        answer a = {0}, b = alone(other[i], 30 + 40 * i, 10);
        qn_event ev = {0};
        while (ev.kind != QN_EVENT_END) {
            OK(qn_request_next(r[i], &ev, &err));
            for (size_t k = 0; ev.kind == QN_EVENT_TEXT && k < ev.n_tokens; k++)
                a.ids[a.n++] = ev.tokens[k];
        }
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.ids, b.ids, a.n * sizeof *a.ids);
    }
    qn_engine_close(e);
}

static void logits_are_chunked(void **state)
{
    (void)state;
    enum { ROWS = 20 };
    int32_t t[LONG];
    fill(t, LONG, LONG, 0);
    qn_engine *a = engine(512, 1, 1), *b = engine(9, 1, 2);
    size_t n = (size_t)a->n_vocab * ROWS;
    float *x = malloc(n * sizeof *x), *y = malloc(n * sizeof *y);
    (void)talk(b, t, LONG, 3); /* leaves something behind that must not matter */
    OK(qn_logits(a, t, LONG, ROWS, x, &err));
    OK(qn_logits(b, t, LONG, ROWS, y, &err));
    assert_memory_equal(x, y, n * sizeof *x);
    free(x);
    free(y);
    qn_engine_close(a);
    qn_engine_close(b);
}

/* ---- resuming ---- */

static void resumed(void **state)
{
    (void)state;
    int32_t t[LONG + GENERATED + 10];
    fill(t, LONG, LONG, 0);
    qn_engine *e = engine(64, 2, 1);
    answer first = alone(t, LONG, GENERATED), a = talk(e, t, LONG, GENERATED);
    same(&a, &first);
    assert_int_equal(a.cached, 0);

    a = talk(e, t, LONG, GENERATED); /* again: from the last border of the prompt */
    same(&a, &first);
    assert_int_equal(a.cached, 128);

    memcpy(t + LONG, first.ids, GENERATED * sizeof *t); /* the conversation goes on: from where the first one ended */
    fill(t + LONG + GENERATED, 10, 0, 5);
    answer want = alone(t, LONG + GENERATED + 10, 3);
    a = talk(e, t, LONG + GENERATED + 10, 3);
    same(&a, &want);
    assert_int_equal(a.cached, LONG + GENERATED - 1);

    t[LONG + GENERATED - 3] ^= 1; /* the end of the answer comes back changed: from the last border of the output */
    want = alone(t, LONG + GENERATED + 10, 3);
    a = talk(e, t, LONG + GENERATED + 10, 3);
    same(&a, &want);
    assert_int_equal(a.cached, 192);
    t[LONG + 3] ^= 1; /* and near its beginning: from the last border of the prompt */
    want = alone(t, LONG + GENERATED + 10, 3);
    a = talk(e, t, LONG + GENERATED + 10, 3);
    same(&a, &want);
    assert_int_equal(a.cached, 128);
    qn_engine_close(e);
}

static void branches(void **state)
{
    (void)state;
    int32_t t[4][LONG];
    qn_engine *e = engine(512, 2, 1);
    for (uint32_t i = 0; i < 4; i++) {
        fill(t[i], LONG, 90, i + 1);
        answer want = alone(t[i], LONG, 3), a = talk(e, t[i], LONG, 3);
        same(&a, &want);
        assert_int_equal(a.cached, i < 2 ? 0 : 64); /* the second one shows where they part; the others begin there */
    }
    qn_engine_close(e);

    e = engine(40, 3, 2); /* side by side: the later ones wait for what the first one reads */
    qn_request *r[3];
    for (size_t i = 0; i < 3; i++)
        OK(ask(e, t[i], LONG, 3, &r[i], &err));
    for (size_t i = 0; i < 3; i++) {
        answer want = alone(t[i], LONG, 3), a = {0};
        qn_event ev = {0};
        while (ev.kind != QN_EVENT_END) {
            OK(qn_request_next(r[i], &ev, &err));
            for (size_t k = 0; ev.kind == QN_EVENT_TEXT && k < ev.n_tokens; k++)
                a.ids[a.n++] = ev.tokens[k];
        }
        assert_int_equal(a.n, want.n);
        assert_memory_equal(a.ids, want.ids, a.n * sizeof *a.ids);
        assert_int_equal(ev.timings.cached_tokens, i == 0 ? 0 : 64);
    }
    qn_engine_close(e);
}

/* The harness sees a snapshot that is one bit off. */
static void planted_fault(void **state)
{
    (void)state;
    int32_t t[LONG];
    fill(t, LONG, LONG, 0);
    qn_engine *e = engine(512, 1, 1);
    answer first = talk(e, t, LONG, 3), again;
    const qn_tree_node *at = qn__tree_root(qn__pages_tree(e->pages));
    for (size_t i = 0; i < 2; i++)
        assert_non_null(at = qn__tree_child(at, t + 64 * i));
    qn_snapshot *x = at->snap;
    assert_non_null(x);
    ((unsigned char *)x->state)[e->state_bytes / 2 + 2] ^= 0x40;
    again = talk(e, t, LONG, 3);
    assert_int_equal(again.cached, 128);
    assert_true(again.hash != first.hash);
    qn_engine_close(e);
}

/* ---- drafting ---- */

enum { COPY = 150, TOPS = 3 };

typedef struct said {
    int32_t ids[COPY];
    qn_prob probs[COPY * (TOPS + 1)]; /* of the logits as they came: what differs in a bit shows here */
    size_t n;
    qn_timings timings;
} said;

/* A text, and an answer that copies it with changes. */
static void edit(int32_t *t, int32_t *copy, uint32_t salt)
{
    fill(t, LONG, 0, salt + 1);
    for (size_t i = 0; i < COPY; i++)
        copy[i] = i % 19 == salt ? (int32_t)(i * 7 % 500) : t[(i + 3) % LONG];
}

static qn_status try_take_said(qn_request *r, said *s, qn_err *err)
{
    qn_event ev = {0};
    qn_status st = QN_OK;
    *s = (said){0};
    while (!st && ev.kind != QN_EVENT_END) {
        st = qn_request_next(r, &ev, err);
        if (st || ev.kind != QN_EVENT_TEXT)
            continue;
        assert_true(s->n + ev.n_tokens <= COPY);
        memcpy(s->ids + s->n, ev.tokens, ev.n_tokens * sizeof *ev.tokens);
        memcpy(s->probs + s->n * (TOPS + 1), ev.probs, ev.n_tokens * (TOPS + 1) * sizeof *ev.probs);
        s->n += ev.n_tokens;
    }
    s->timings = ev.timings;
    qn_request_close(r);
    return st;
}
static void take_said(qn_request *r, said *s)
{
    OK(try_take_said(r, s, &err));
}

/* says: what is said instead; NULL: what the model says, drawn with a seed. */
static qn_request *draw(qn_engine *e, const int32_t *t, size_t n, const int32_t *says, size_t max, int32_t draft)
{
    qn_request_options o;
    qn_request *r = NULL;
    qn_request_options_init(&o);
    o.tokens = t;
    o.n_tokens = n;
    o.max_tokens = (int32_t)max;
    o.ignore_eos = true;
    o.probs = true;
    o.top_probs = TOPS;
    o.sampling.temperature = says ? 0 : 0.2f;
    o.sampling.seed = 7;
    o.draft = draft;
    OK(qn_request_open(e, &o, &r, &err));
    r->replay = says;
    return r;
}

static bool same_said(const said *a, const said *b)
{
    return a->n == b->n && memcmp(a->ids, b->ids, a->n * sizeof *a->ids) == 0 &&
           memcmp(a->probs, b->probs, a->n * (TOPS + 1) * sizeof *a->probs) == 0;
}

/* Drafts that are right, wrong at once, and wrong after some: none changes a bit, of this answer or of what is resumed from it. */
static void drafted(void **state)
{
    (void)state;
    static const int32_t drafts[] = {0, 1, 3, 7, 24};
    static said want[2], got, after, after_want;
    int32_t t[LONG], copy[COPY], more[LONG + COPY + 10];
    long long drafted = 0, accepted = 0;
    edit(t, copy, 4);
    qn_engine *e = engine(512, 1, 1);
    for (int own = 0; own < 2; own++) {
        take_said(draw(e, t, LONG, own ? NULL : copy, COPY, -1), &want[own]);
        assert_int_equal(want[own].timings.drafted_tokens, 0);
    }
    qn_engine_close(e);
    for (size_t i = 0; i < sizeof drafts / sizeof *drafts; i++)
        for (int own = 0; own < 2; own++) {
            e = engine(drafts[i] == 3 ? 4 : 512, 1, 2);
            take_said(draw(e, t, LONG, own ? NULL : copy, COPY, drafts[i]), &got);
            assert_true(same_said(&got, &want[own]));
            drafted += got.timings.drafted_tokens;
            accepted += got.timings.accepted_tokens;
            memcpy(more, t, sizeof t);
            memcpy(more + LONG, got.ids, sizeof got.ids);
            fill(more + LONG + COPY, 10, 0, 5);
            for (int changed = 0; changed < 2; changed++) { /* the conversation goes on, from about its end or the last border */
                more[LONG + COPY - 1] ^= changed;
                qn_engine *fresh = engine(512, 1, 1);
                take_said(draw(fresh, more, LONG + COPY + 10, NULL, 5, -1), &after_want);
                qn_engine_close(fresh);
                take_said(draw(e, more, LONG + COPY + 10, NULL, 5, drafts[i]), &after);
                assert_true(same_said(&after, &after_want));
                assert_true(after.timings.cached_tokens >= (changed ? 256 : LONG + COPY - 1 - QN_DRAFT_MOST));
            }
            qn_engine_close(e);
        }
    assert_true(accepted > COPY && drafted > accepted + 20); /* both outcomes were met, often */
    got = want[0];
    got.probs[COPY].logprob = nextafterf(got.probs[COPY].logprob, 0); /* planted */
    assert_false(same_said(&got, &want[0]));
    printf("figure: recurrent: drafting: %lld of %lld drafted tokens accepted, the same bytes\n", accepted, drafted);
}

/* Without memory for a second state nothing is drafted in that step, and the answer is the same. */
static void drafted_without_memory(void **state)
{
    (void)state;
    static said want, got;
    int32_t t[LONG], copy[COPY];
    int failed = 0, fine = 0, otherwise = 0;
    edit(t, copy, 1);
    qn_engine *e = engine(512, 1, 1);
    take_said(draw(e, t, LONG, copy, COPY, 5), &want);
    qn_engine_close(e);
    for (uint64_t i = 1; i <= 60; i++) {
        qn_err err = {0};
        e = engine(512, 1, 1);
        qn_request *r = draw(e, t, LONG, copy, COPY, 5);
        qn__alloc_fail_at(i);
        const qn_status st = try_take_said(r, &got, &err);
        qn__alloc_fail_at(0);
        assert_true(st == QN_OK || st == QN_ENOMEM);
        assert_true(st || same_said(&got, &want));
        failed += st != QN_OK;
        fine += st == QN_OK;
        otherwise += st == QN_OK && got.timings.accepted_tokens != want.timings.accepted_tokens;
        qn_engine_close(e);
    }
    assert_true(failed > 0 && fine > 0 && otherwise > 0);
}

/* A smaller model drafts for it, if it has no state itself. */
static void small_model(void **state)
{
    (void)state;
    static said want, got;
    int32_t t[LONG], copy[COPY];
    qn_model *small = NULL;
    qn_engine *e = NULL;
    qn_engine_options o = options(512, 64, 1, 1);
    edit(t, copy, 2);
    o.draft_model = model;
    assert_int_equal(qn_engine_open(model, &o, &e, NULL), QN_EINVAL);
    OK(qn_model_open("tests/data/models/qwen2.gguf", QN_OPEN_FULL, &small, &err));
    o.draft_model = small;
    OK(qn_engine_open(model, &o, &e, &err));
    int32_t by_small = 0;
    for (int i = 0; i < 4; i++) {
        const int32_t *says = i < 2 ? copy : NULL;
        qn_engine *alone = engine(512, 1, 1);
        take_said(draw(alone, t, LONG, says, COPY, -1), &want);
        qn_engine_close(alone);
        take_said(draw(e, t, LONG, says, COPY, i % 2 ? 5 : 0), &got);
        assert_true(same_said(&got, &want));
        by_small += got.timings.drafted_tokens;
    }
    assert_true(by_small > 0);
    qn_engine_close(e);
    qn_model_close(small);
}

/* Several at once, who give way to one another, and one that is cancelled with drafts on their way. */
static void drafted_together(void **state)
{
    (void)state;
    enum { N = 4 };
    static said want[N], got;
    int32_t t[N][LONG], copy[N][COPY];
    qn_request *r[N];
    for (uint32_t i = 0; i < N; i++) {
        edit(t[i], copy[i], i);
        qn_engine *e = engine(512, 1, 1);
        take_said(draw(e, t[i], LONG, copy[i], COPY, -1), &want[i]);
        qn_engine_close(e);
    }
    qn_engine_options o = options(320, 64, N, 2);
    o.kv_ram = 1; /* as few pages as there may be */
    for (int few = 0; few < 2; few++) {
        qn_engine *e = NULL;
        o.kv_ram = few ? o.kv_ram : 0;
        OK(qn_engine_open(model, &o, &e, &err));
        for (uint32_t i = 0; i < N; i++)
            r[i] = draw(e, t[i], LONG, copy[i], COPY, i == 2 ? -1 : i == 1 ? 6 : 0);
        qn_event ev = {0};
        while (ev.kind != QN_EVENT_TEXT) /* of the last */
            OK(qn_request_next(r[3], &ev, &err));
        qn_request_cancel(r[3]);
        for (uint32_t i = 0; i < 3; i++) {
            take_said(r[i], &got);
            assert_true(same_said(&got, &want[i]));
        }
        qn_request_close(r[3]);
        take_said(draw(e, t[3], LONG, copy[3], COPY, 24), &got);
        assert_true(same_said(&got, &want[3]));
        qn_engine_close(e);
        o.kv_ram = 1;
    }
}

/* ---- when things go wrong ---- */

static void cancelled(void **state)
{
    (void)state;
    int32_t t[LONG];
    fill(t, LONG, LONG, 0);
    answer want = alone(t, LONG, 5);
    static const int after[] = {0, 1, 3, 6};
    for (int k = 0; k < 4; k++) {
        int steps = after[k];
        qn_engine *e = engine(30, 1, 1);
        qn_request *r;
        qn_event ev = {0};
        OK(ask(e, t, LONG, 5, &r, &err));
        for (int i = 0; i < steps; i++)
            OK(qn_request_next(r, &ev, &err));
        qn_request_cancel(r);
        while (ev.kind != QN_EVENT_END)
            OK(qn_request_next(r, &ev, &err));
        assert_int_equal(ev.reason, QN_END_CANCELLED);
        qn_request_close(r);
        answer a = talk(e, t, LONG, 5); /* goes on where the cancelled one was */
        same(&a, &want);
        assert_int_equal(a.cached, steps == 6 ? 128 : 30 * steps);
        qn_engine_close(e);
    }
}

static void memory_is_bounded(void **state)
{
    (void)state;
    int32_t t[LONG], many[LONG];
    fill(t, LONG, LONG, 0);
    const qn_engine_options o = options(256, 256, 1, 1);
    qn_engine *e = NULL;
    OK(qn_engine_open(model, &o, &e, &err));
    answer want = talk(e, t, LONG, 3);
    uint64_t pages = (uint64_t)e->page_bytes * (256 / QN_PAGE_TOKENS) * 2, snapshots = pages / 4;
    if (snapshots < 4 * e->state_bytes)
        snapshots = 4 * e->state_bytes;
    for (uint32_t i = 0; i < 8; i++) {
        qn_engine_info info;
        fill(many, LONG, 3 * (i % 7), i + 1);
        (void)talk(e, many, 70 + 7 * (i % 10), 2);
        qn_engine_get_info(e, &info);
        assert_true(info.kv_bytes <= pages + snapshots);
    }
    answer a = talk(e, t, LONG, 3);
    same(&a, &want);
    qn_engine_close(e);
}

static qn_status life(const int32_t *t, answer *a, answer *b, answer *c, qn_err *err)
{
    qn_engine *e = NULL;
    const qn_engine_options o = options(96, 64, 2, 1);
    *a = *b = *c = (answer){0};
    qn_status st = qn_engine_open(model, &o, &e, err);
    if (!st)
        st = try_talk(e, t, 70, 2, a, err);
    if (!st)
        st = try_talk(e, t, 70, 2, b, err);
    if (!st)
        st = try_talk(e, t, 66, 2, c, err);
    qn_engine_close(e);
    return st;
}

static void allocation_fails(void **state)
{
    (void)state;
    int32_t t[LONG];
    fill(t, LONG, LONG, 0);
    answer want[3], got[3];
    uint64_t before = qn__alloc_count(), failed = 0, done_without = 0;
    OK(life(t, &want[0], &want[1], &want[2], &err));
    assert_int_equal(want[1].cached, 64);
    uint64_t total = qn__alloc_count() - before;
    for (uint64_t i = 1; i <= total; i++) {
        qn_err err = {0};
        qn__alloc_fail_at(i);
        qn_status st = life(t, &got[0], &got[1], &got[2], &err);
        qn__alloc_fail_at(0);
        if (st) {
            assert_int_equal(st, QN_ENOMEM);
            failed++;
        } else { /* a snapshot that was not kept: the same answers, perhaps with more to compute */
            done_without++;
            for (int k = 0; k < 3; k++)
                same(&got[k], &want[k]);
        }
    }
    assert_true(failed > 0 && done_without > 0);
    printf("figure: recurrent: %llu allocations failed one at a time: %llu clean refusals, %llu same answers\n",
           (unsigned long long)total, (unsigned long long)failed, (unsigned long long)done_without);
}

/* ---- the store of snapshots by itself ---- */

static void store(void **state)
{
    (void)state;
    qn_snapshots p = {.state_bytes = 64, .max = 3};
    qn_snapshot *home[40] = {0};
    float x[16] = {0};
    for (int i = 0; i < 3; i++) {
        x[0] = (float)i;
        qn__snapshot_copy(&p, &home[i], x);
        assert_true(home[i]->state[0] == x[0]);
    }
    assert_int_equal(p.n, 3);
    qn__snapshot_touch(&p, home[0]);
    qn__snapshot_copy(&p, &home[3], x); /* the fourth: the second was unused for longest */
    assert_int_equal(p.n, 3);
    assert_null(home[1]);
    assert_true(home[0] && home[2] && home[3]);
    x[0] = 9;
    qn__snapshot_copy(&p, &home[0], x); /* in place of another */
    assert_int_equal(p.n, 3);
    assert_true(home[0]->state[0] == 9);
    qn_snapshot *held = home[0];
    qn__snapshot_hold(held); /* whoever reads it reads the same, whatever happens */
    for (int i = 4; i < 40; i++)
        qn__snapshot_copy(&p, &home[i], x);
    assert_true(home[0] == held && held->state[0] == 9);
    qn__snapshot_drop(&p, &home[0]);
    assert_null(home[0]);
    assert_true(held->state[0] == 9);
    assert_int_equal(p.n, 3);
    qn__snapshot_release(&p, held);
    assert_int_equal(p.n, 2);
    for (int i = 0; i < 40; i++)
        qn__snapshot_drop(&p, &home[i]);
    assert_int_equal(p.n, 0);
    assert_null(p.newest);
    assert_null(p.oldest);
    p.max = 0;
    qn__snapshot_copy(&p, &home[0], x);
    assert_null(home[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunked_and_batched), cmocka_unit_test(logits_are_chunked), cmocka_unit_test(resumed),
        cmocka_unit_test(branches), cmocka_unit_test(planted_fault), cmocka_unit_test(drafted), cmocka_unit_test(small_model),
        cmocka_unit_test(drafted_without_memory),
        cmocka_unit_test(drafted_together), cmocka_unit_test(cancelled),
        cmocka_unit_test(memory_is_bounded), cmocka_unit_test(allocation_fails), cmocka_unit_test(store),
    };
    int bad = cmocka_run_group_tests_name("Mamba-2", tests, open_first, close_model);
    return bad + cmocka_run_group_tests_name("delta net", tests, open_second, close_model);
}
