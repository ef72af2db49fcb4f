/* The cache through the engine: a conversation whose process is killed after every turn, pages that give way and come back from
 * disk, sessions that must not see each other's text; always the same answers as an engine that keeps nothing. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "engine/engine.h"

#define OK(x)                                                                                                          \
    do {                                                                                                               \
        qn_err err = {0};                                                                                              \
        if ((x) != QN_OK)                                                                                              \
            fail_msg("%s: %s: %s", #x, err.where, err.what);                                                           \
    } while (0)

#ifdef QN_SANITIZED
enum { SYSTEM = 1500, CTX = 4096 };
#else
enum { SYSTEM = 8000, CTX = 16384 };
#endif
enum { USER = 50, ANSWER = 20, TURNS = 20 };

static char dir[64];

static int set_up(void **state)
{
    (void)state;
    char cmd[128];
    (void)snprintf(dir, sizeof dir, "/tmp/quern-cache-%ld", (long)getpid());
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    return system(cmd);
}

typedef struct answer {
    int32_t ids[ANSWER];
    size_t n;
    qn_timings t;
} answer;

static qn_engine *engine(const qn_model *m, qn_kv_type kv, const char *disk, uint64_t ram, int32_t ctx)
{
    qn_engine_options o;
    qn_engine *e = NULL;
    qn_engine_options_init(&o);
    o.n_ctx = ctx;
    o.n_threads = 1;
    o.max_seqs = 2;
    o.kv = kv;
    o.kv_disk = disk;
    o.kv_ram = ram;
    OK(qn_engine_open(m, &o, &e, &err));
    return e;
}

static qn_status try_ask(qn_engine *e, const int32_t *tokens, size_t n, uint64_t session, answer *a, qn_err *err)
{
    qn_request_options o;
    qn_request *r = NULL;
    qn_event ev = {0};
    *a = (answer){0};
    qn_request_options_init(&o);
    o.tokens = tokens;
    o.n_tokens = n;
    o.max_tokens = ANSWER;
    o.ignore_eos = true;
    o.sampling.temperature = 1;
    o.sampling.seed = 5;
    o.session = session;
    qn_status st = qn_request_open(e, &o, &r, err);
    while (!st && ev.kind != QN_EVENT_END) {
        st = qn_request_next(r, &ev, err);
        for (size_t i = 0; !st && ev.kind == QN_EVENT_TEXT && i < ev.n_tokens; i++)
            a->ids[a->n++] = ev.tokens[i];
    }
    if (!st)
        a->t = ev.timings;
    qn_request_close(r);
    return st;
}
static answer ask(qn_engine *e, const int32_t *tokens, size_t n, uint64_t session)
{
    answer a;
    OK(try_ask(e, tokens, n, session, &a, &err));
    return a;
}
static void same(const answer *a, const answer *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->ids, b->ids, a->n * sizeof *a->ids);
}
static void fill(int32_t *t, size_t n, uint32_t salt)
{
    for (size_t i = 0; i < n; i++)
        t[i] = (int32_t)((((uint32_t)i + 1 + salt * 7919) * 2654435761u) >> 9) % 500;
}

/* ---- killed after every turn ---- */

static void child(int out, const int32_t *tokens, size_t n, const char *disk)
{
    qn_model *m = NULL;
    (void)alarm(240);
    if (qn_model_open(NULL, QN_OPEN_FULL, &m, NULL))
        _exit(1);
    qn_engine *e = engine(m, QN_KV_F16, disk, 0, CTX);
    answer a = ask(e, tokens, n, 0);
    qn_cache_stats c;
    do { /* the writer has nothing left */
        (void)usleep(2000);
        qn_engine_get_cache(e, &c);
    } while (disk && c.written_files == 0);
    (void)usleep(20000);
    if (write(out, &a, sizeof a) != (ssize_t)sizeof a || write(out, &c, sizeof c) != (ssize_t)sizeof c)
        _exit(1);
    for (;;)
        (void)pause();
}
/* One turn in a process of its own, which is then killed. */
static answer turn(const int32_t *tokens, size_t n, const char *disk, qn_cache_stats *c)
{
    int p[2];
    answer a;
    assert_int_equal(pipe(p), 0);
    pid_t pid = fork();
    if (pid == 0)
        child(p[1], tokens, n, disk);
    (void)close(p[1]);
    assert_int_equal(read(p[0], &a, sizeof a), sizeof a);
    assert_int_equal(read(p[0], c, sizeof *c), sizeof *c);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    (void)close(p[0]);
    return a;
}

static void killed_after_every_turn(void **state)
{
#ifdef QN_TSAN
    printf("skipped: ThreadSanitizer does not follow threads into a forked process\n");
    skip();
#endif
    (void)state;
    int32_t t[SYSTEM + TURNS * (USER + ANSWER)], made[USER];
    size_t n = SYSTEM, prompt = 0, computed = 0, fresh = 0, worst = 0;
    double last_read = 0;
    qn_cache_stats c;
    qn_model *m = NULL;
    fill(t, SYSTEM, 0);
    OK(qn_model_open(NULL, QN_OPEN_FULL, &m, &err));
    qn_engine *whole = engine(m, QN_KV_F16, NULL, 0, CTX);
    for (uint32_t k = 0; k < TURNS; k++) {
        fill(made, USER, k + 1);
        memcpy(t + n, made, sizeof made);
        n += USER;
        answer a = turn(t, n, dir, &c), want = ask(whole, t, n, 0);
        same(&a, &want);
        size_t todo = n - (size_t)a.t.cached_tokens, new = k ? USER + ANSWER : n;
        if (k) {
            prompt += n;
            computed += todo;
            fresh += new;
            worst = todo - new > worst && todo > new ? todo - new : worst;
            assert_true(todo <= new + 64);
        }
        assert_int_equal(c.bad_files, 0);
        last_read = a.t.prefill_s;
        memcpy(t + n, a.ids, sizeof a.ids);
        n += ANSWER;
    }
    n -= ANSWER;
    answer cold = turn(t, n, NULL, &c);
    printf("figure: cache: a beginning of %d tokens, killed (-9) after each of 20 turns: %zu of %zu prompt tokens reused (%.1f %%), %zu computed, of which "
           "%zu were new; at most %zu others in a turn\n",
           SYSTEM, prompt - computed, prompt, 100.0 * (double)(prompt - computed) / (double)prompt, computed, fresh, worst);
    printf("figure: cache: turn 20 read in %.1f ms after a restart, %.1f ms from nothing\n", 1e3 * last_read, 1e3 * cold.t.prefill_s);
    qn_engine_close(whole);
    qn_model_close(m);
}

/* ---- out of memory and back ---- */

static void gives_way_and_returns(void **state)
{
    (void)state;
    enum { CONVERSATIONS = 6, N = 700 };
    int32_t t[CONVERSATIONS][N];
    answer want[CONVERSATIONS];
    qn_model *m = NULL;
    OK(qn_model_open(NULL, QN_OPEN_FULL, &m, &err));
    static const qn_kv_type kvs[] = {QN_KV_F16, QN_KV_F32, QN_KV_Q8_0};
    for (int k = 0; k < 3; k++) {
        qn_engine_info info;
        qn_cache_stats c;
        qn_engine *e = engine(m, kvs[k], NULL, 0, 1024);
        qn_engine_get_info(e, &info);
        for (uint32_t i = 0; i < CONVERSATIONS; i++) {
            fill(t[i], N, i + 1);
            want[i] = ask(e, t[i], N, 0);
        }
        qn_engine_close(e);
        int32_t cached = 0;
        for (int life = 0; life < 2; life++) {
            e = engine(m, kvs[k], dir, info.kv_bytes_per_token * 1200, 1024);
            for (uint32_t i = 0; i < CONVERSATIONS * 2; i++) {
                answer a = ask(e, t[i % CONVERSATIONS], N, i % 3);
                same(&a, &want[i % CONVERSATIONS]);
                if (life || i >= CONVERSATIONS)
                    assert_true(a.t.cached_tokens >= 640);
                cached += a.t.cached_tokens;
            }
            qn_engine_get_cache(e, &c);
            assert_true(c.evicted_pages > 0 && c.restored_pages > 0 && c.bad_files == 0 && c.failed_writes == 0);
            assert_true(c.ram_pages * 64 <= 1200 + 64);
            qn_engine_close(e);
        }
        if (k == 0)
            printf("figure: cache: pages of f16 come back at %.0f tokens/s (%.0f MB/s), computing does %.0f tokens/s\n",
                   c.restore_rate / (double)info.kv_bytes_per_token, c.restore_rate * 1e-6, N / want[0].t.prefill_s);
        /* Planted: another conversation's answer is another. */
        assert_memory_not_equal(want[0].ids, want[1].ids, sizeof want[0].ids);
    }
    qn_model_close(m);
}

/* ---- private text ---- */

/* Two sessions share a beginning; where they part, one holds a secret. With every name colliding, in memory and on disk, the
 * other's answers are those of an engine that never saw the secret. */
static void canary(void **state)
{
    (void)state;
    enum { SHARED = 256, N = 450 };
    int32_t a[N], b[N];
    qn_model *m = NULL;
    OK(qn_model_open(NULL, QN_OPEN_FULL, &m, &err));
    fill(a, N, 1);
    memcpy(b, a, sizeof a);
    fill(b + SHARED, N - SHARED, 2);
    qn_engine *e = engine(m, QN_KV_F16, NULL, 0, 1024);
    answer secret = ask(e, a, N, 1);
    qn_engine_close(e);
    e = engine(m, QN_KV_F16, NULL, 0, 1024);
    answer want = ask(e, b, N, 2);
    qn_engine_close(e);
    assert_memory_not_equal(secret.ids, want.ids, sizeof want.ids);
    for (int round = 0; round < 3; round++) {
        e = engine(m, QN_KV_F16, dir, 0, 1024);
        qn__tree_mask_names(qn__pages_tree(e->pages), 0); /* one name for everything */
        answer x = ask(e, round == 1 ? b : a, N, round == 1 ? 2 : 1), y = ask(e, round == 1 ? a : b, N, round == 1 ? 1 : 2);
        same(&x, round == 1 ? &want : &secret);
        same(&y, round == 1 ? &secret : &want);
        assert_true(y.t.cached_tokens >= SHARED);
        qn_engine_close(e);
    }
    qn_model_close(m);
}

static void recurrent(void **state)
{
    (void)state;
    static const char *const paths[] = {"tests/data/models/nemotron-h.gguf", "tests/data/models/qwen35.gguf"};
    enum { N = 300 };
    int32_t t[N + ANSWER + 20];
    for (int k = 0; k < 2; k++) {
        qn_model *m = NULL;
        OK(qn_model_open(paths[k], QN_OPEN_FULL, &m, &err));
        fill(t, N, 1);
        qn_engine *e = engine(m, QN_KV_F16, NULL, 0, 1024);
        answer first = ask(e, t, N, 0);
        memcpy(t + N, first.ids, sizeof first.ids);
        fill(t + N + ANSWER, 20, 3);
        qn_engine_close(e);
        e = engine(m, QN_KV_F16, NULL, 0, 1024);
        answer second = ask(e, t, N + ANSWER + 20, 0);
        qn_engine_close(e);
        for (int life = 0; life < 3; life++) { /* first turn, the same again, then the second turn; restarts in between */
            e = engine(m, QN_KV_F16, dir, 0, 1024);
            answer a = ask(e, t, life < 2 ? N : N + ANSWER + 20, 0);
            same(&a, life < 2 ? &first : &second);
            assert_int_equal(a.t.cached_tokens, life ? 256 : 0);
            qn_engine_close(e);
        }
        qn_model_close(m);
    }
}

static void allocation_fails(void **state)
{
#ifdef QN_TSAN
    printf("skipped: long, and one thread does it all\n");
    skip();
#endif
    (void)state;
    enum { N = 200 };
    int32_t t[N];
    answer want, got;
    qn_model *m = NULL;
    fill(t, N, 9);
    OK(qn_model_open(NULL, QN_OPEN_FULL, &m, &err));
    qn_engine *e = engine(m, QN_KV_F16, dir, 0, 256);
    want = ask(e, t, N, 0);
    qn_engine_close(e);
    uint64_t failed = 0, fine = 0;
    for (uint64_t i = 1; i <= 120; i++) {
        qn_engine_options o;
        qn_engine_options_init(&o);
        o.n_ctx = 256;
        o.n_threads = 1;
        o.max_seqs = 1;
        o.kv_disk = dir;
        e = NULL;
        qn_err err = {0};
        qn__alloc_fail_at(i);
        qn_status st = qn_engine_open(m, &o, &e, &err);
        if (!st)
            st = try_ask(e, t, N, 0, &got, &err);
        qn__alloc_fail_at(0);
        qn_engine_close(e);
        if (st) {
            assert_int_equal(st, QN_ENOMEM);
            failed++;
        } else {
            same(&got, &want);
            fine++;
        }
    }
    assert_true(failed > 20 && fine > 0);
    qn_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(killed_after_every_turn, set_up, set_up),
        cmocka_unit_test_setup_teardown(gives_way_and_returns, set_up, set_up),
        cmocka_unit_test_setup_teardown(canary, set_up, set_up),
        cmocka_unit_test_setup_teardown(recurrent, set_up, set_up),
        cmocka_unit_test_setup_teardown(allocation_fails, set_up, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
