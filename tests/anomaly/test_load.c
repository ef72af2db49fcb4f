/* The same bytes under load: 64 greedy and 64 sampled requests of mixed lengths, each alone on an engine of its own; then all at
 * once in random order through a scheduler, with cancellations, drafting on and off, on pages cold and warm, on one and two
 * threads, with little memory and with plenty. memcmp == 0. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <unistd.h>

#include "base/thread.h"
#include "quern.h"

#define OK(x)                                                                                                          \
    do {                                                                                                               \
        qn_err err = {0};                                                                                              \
        if ((x) != QN_OK)                                                                                              \
            fail_msg("%s: %s: %s", #x, err.where, err.what);                                                           \
    } while (0)

#ifdef QN_SANITIZED
enum { N = 32 };
#else
enum { N = 128 };
#endif
enum { CANCELS = N / 4, CTX = 512, MOST = 64, TOP = 2 };

static qn_model *model;
static uint32_t rng = 1;
static uint32_t below(uint32_t n)
{
    rng = rng * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(rng >> 8) * n) >> 24);
}

typedef struct said {
    qn_lock lock;
    qn_cond over;
    qn_job *job;
    int32_t ids[MOST];
    char text[2048];
    qn_prob probs[MOST * (1 + TOP)];
    size_t n, n_text, cancel_at; /* cancel_at: after so many tokens; 0: never */
    bool ended;
    qn_end_reason reason;
    qn_timings timings;
} said;

static void hear(void *arg, const qn_event *ev)
{
    said *s = arg;
    qn__lock(&s->lock);
    if (ev->kind == QN_EVENT_TEXT) {
        assert_true(s->n + ev->n_tokens <= MOST && s->n_text + ev->n_text <= sizeof s->text);
        memcpy(s->ids + s->n, ev->tokens, ev->n_tokens * sizeof *ev->tokens);
        memcpy(s->text + s->n_text, ev->text, ev->n_text);
        if (ev->probs)
            memcpy(s->probs + s->n * (1 + TOP), ev->probs, ev->n_tokens * (1 + TOP) * sizeof *ev->probs);
        s->n += ev->n_tokens;
        s->n_text += ev->n_text;
    } else if (ev->kind == QN_EVENT_END) {
        s->ended = true;
        s->reason = ev->reason;
        s->timings = ev->timings;
        qn__cond_signal(&s->over);
    }
    qn_job *cancel = s->cancel_at && s->n >= s->cancel_at ? s->job : NULL;
    qn__unlock(&s->lock);
    if (cancel)
        qn_job_cancel(cancel);
}

static said *silence(size_t n)
{
    said *s = calloc(n, sizeof *s);
    for (size_t i = 0; i < n; i++) {
        qn__lock_init(&s[i].lock);
        qn__cond_init(&s[i].over);
    }
    return s;
}

static void forget(said *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        qn__lock_destroy(&s[i].lock);
        qn__cond_destroy(&s[i].over);
    }
    free(s);
}

/* Some begin alike, some repeat themselves, some ask for more than others. */
static qn_request_options request(int i, int32_t *tokens)
{
    static const char *const stop[] = {"\n\n\n", "zz"};
    qn_request_options o;
    qn_request_options_init(&o);
    uint32_t x = (uint32_t)(i % 5) + 1;
    o.n_tokens = (size_t)(4 + i * 53 % 190);
    for (size_t k = 0; k < o.n_tokens; k++) {
        if (k == 90)
            x += (uint32_t)i * 7919;
        x = x * 1664525u + 1013904223u;
        tokens[k] = i % 3 && k >= 30 && k % 11 ? tokens[k - 30] : (int32_t)((x >> 8) % 2000);
    }
    o.tokens = tokens;
    o.max_tokens = 4 + i * 29 % 50;
    o.ignore_eos = i % 4 != 0;
    o.client = (uint64_t)(i % 7);
    o.session = (uint64_t)(i % 9);
    o.stop = stop;
    o.n_stop = i % 6 == 0 ? 2 : 0;
    o.probs = i % 8 == 3;
    o.top_probs = o.probs ? TOP : 0;
    if (i % 2) {
        o.sampling.temperature = 0.4f + 0.1f * (float)(i % 6);
        o.sampling.top_p = i % 3 ? 0.9f : 1;
        o.sampling.top_k = i % 5 ? 0 : 20;
        o.sampling.seed = (uint64_t)i * 1000003;
    }
    o.sampling.repeat_penalty = i % 10 == 7 ? 1.1f : 1;
    return o;
}

static void alone(int i, said *s)
{
    int32_t tokens[256];
    qn_request_options o = request(i, tokens);
    qn_engine_options eo;
    qn_engine *e = NULL;
    qn_request *r = NULL;
    qn_engine_options_init(&eo);
    eo.n_ctx = CTX;
    eo.n_threads = 1;
    eo.max_seqs = 1;
    OK(qn_engine_open(model, &eo, &e, &err));
    o.draft = -1;
    OK(qn_request_open(e, &o, &r, &err));
    while (!s->ended) {
        qn_event ev;
        OK(qn_request_next(r, &ev, &err));
        hear(s, &ev);
    }
    qn_engine_close(e);
}

static bool same(const said *a, const said *b)
{
    return a->n == b->n && a->n_text == b->n_text && a->reason == b->reason && memcmp(a->ids, b->ids, sizeof a->ids) == 0 &&
           memcmp(a->text, b->text, a->n_text) == 0 && memcmp(a->probs, b->probs, sizeof a->probs) == 0;
}

static void submit(qn_scheduler *s, int i, int32_t draft, size_t cancel_at, said *to)
{
    int32_t tokens[256];
    qn_request_options o = request(i, tokens);
    const qn_sink sink = {hear, to};
    o.draft = draft;
    to->cancel_at = cancel_at;
    qn__lock(&to->lock);
    OK(qn_scheduler_submit(s, &o, &sink, &to->job, &err));
    qn__unlock(&to->lock);
}

/* All at once; the second round finds what the first has left behind. disk: a directory for pages, or NULL. Returns the pages
 * that came from there. */
static uint64_t all_at_once(const said *want, int threads, int32_t draft, double contexts, int rounds, const char *disk)
{
    qn_engine_options eo;
    qn_engine *e = NULL;
    qn_scheduler *s = NULL;
    qn_scheduler_options so;
    qn_engine_info info;
    qn_engine_options_init(&eo);
    eo.n_ctx = CTX;
    eo.n_threads = threads;
    eo.n_chunk = 128;
    eo.max_seqs = 16;
    OK(qn_engine_open(model, &eo, &e, &err));
    qn_engine_get_info(e, &info);
    eo.kv_disk = disk;
    eo.kv_ram = (uint64_t)(contexts * CTX) * info.kv_bytes_per_token;
    qn_engine_close(e);
    OK(qn_engine_open(model, &eo, &e, &err));
    qn_scheduler_options_init(&so);
    so.max_queue = 2 * N;
    OK(qn_scheduler_open(e, &so, &s, &err));
    uint64_t prompts = 0, cached = 0, generated = 0;
    for (int round = 0; round < rounds; round++) {
        said *got = silence(N + CANCELS);
        int order[N + CANCELS];
        for (int i = 0; i < N + CANCELS; i++) {
            uint32_t k = below((uint32_t)i + 1);
            order[i] = order[k];
            order[k] = i;
        }
        for (int i = 0; i < N + CANCELS; i++) {
            int k = order[i];
            submit(s, k < N ? k : (k - N) * 3, draft, k < N ? 0 : 1 + below(20), &got[k]);
        }
        for (int i = 0; i < N + CANCELS; i++) {
            said *g = &got[i];
            qn__lock(&g->lock);
            while (!g->ended)
                qn__cond_wait(&g->over, &g->lock);
            qn__unlock(&g->lock);
            qn_job_close(g->job);
            const said *w = &want[i < N ? i : (i - N) * 3];
            if (i < N && !same(g, w))
                fail_msg("request %d says something else under load (threads %d, draft %d, round %d)", i, threads, draft, round);
            /* Who was cancelled has said the beginning of it. */
            if (i >= N && (g->n > w->n || memcmp(g->ids, w->ids, g->n * sizeof *g->ids) != 0))
                fail_msg("request %d, cancelled, says something else", i);
            prompts += (uint64_t)g->timings.prompt_tokens;
            cached += (uint64_t)g->timings.cached_tokens;
            generated += (uint64_t)g->timings.generated_tokens;
        }
        forget(got, N + CANCELS);
    }
    qn_scheduler_stats st;
    qn_scheduler_get_stats(s, &st);
    assert_int_equal(st.jobs, (uint64_t)rounds * (N + CANCELS));
    assert_int_equal(st.prompt_tokens, prompts);
    assert_int_equal(st.cached_tokens, cached);
    assert_int_equal(st.generated_tokens, generated);
    assert_int_equal(st.running + st.waiting, 0);
    assert_int_equal(st.failed, 0);
    assert_true(draft < 0 ? st.drafted_tokens == 0 : st.drafted_tokens >= st.accepted_tokens);
    printf("figure: load: %d threads, draft %2d, %4.1f contexts, %d rounds: %d answers the same; %.0f %% of prompts cached, %llu of "
           "%llu drafted tokens accepted, %llu steps\n", threads, draft, contexts, rounds, rounds * N,
           100.0 * (double)cached / (double)prompts, (unsigned long long)st.accepted_tokens,
           (unsigned long long)st.drafted_tokens, (unsigned long long)st.steps);
    qn_scheduler_close(s);
    qn_cache_stats cache;
    qn_engine_get_cache(e, &cache);
    qn_engine_close(e);
    return cache.restored_pages;
}

static void remove_all(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *x; d && (x = readdir(d));) {
        char path[1024];
        if (strcmp(x->d_name, ".") == 0 || strcmp(x->d_name, "..") == 0)
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", dir, x->d_name);
        if (unlink(path) != 0)
            remove_all(path);
    }
    if (d)
        (void)closedir(d);
    (void)rmdir(dir);
}

static void same_bytes_under_load(void **state)
{
    (void)state;
    said *want = silence(N);
    OK(qn_model_open(NULL, QN_OPEN_FULL, &model, &err));
    qn_engine *keeps = NULL; /* what engines of a model share is made once */
    OK(qn_engine_open(model, NULL, &keeps, &err));
    for (int i = 0; i < N; i++)
        alone(i, &want[i]);
    (void)all_at_once(want, 1, -1, 17, 2, NULL);
    (void)all_at_once(want, 1, 0, 17, 2, NULL);
    (void)all_at_once(want, 2, 6, 17, 1, NULL);
    (void)all_at_once(want, 2, 0, 2, 1, NULL);
    char dir[] = "/tmp/quern-load-XXXXXX";
    assert_non_null(mkdtemp(dir));
    (void)all_at_once(want, 1, -1, 2, 1, dir);
    uint64_t restored = all_at_once(want, 2, 4, 17, 1, dir); /* another engine, as after a restart */
    remove_all(dir);
    assert_true(restored > 0);
    printf("figure: load: after a restart %llu pages came from disk; the same answers\n", (unsigned long long)restored);
    int k = 5; /* planted: a byte that is another is seen */
    said other = want[k];
    other.ids[other.n / 2] ^= 1;
    assert_false(same(&other, &want[k]));
    forget(want, N);
    qn_engine_close(keeps);
    qn_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bytes_under_load)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
