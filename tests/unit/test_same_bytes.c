/* The first promise: the logits of a token depend on its prefix and on nothing else. Everything here is memcmp == 0.
 *
 * One sequence is computed in one way (one thread, one chunk); then in every other way that the engine could choose, on
 * the same level and KV type: chunks, threads, in the company of other sequences, on pages that others computed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/embedded.h"
#include "engine/pages.h"
#include "model/decoder.h"

enum { N = 80, OTHERS = 7, N_CTX = 256, ROWS = 512 + OTHERS };

typedef struct fixture {
    qn_gguf *g;
    qn_decoder *d;
    size_t n_vocab;
    int32_t tokens[N];
    qn_context *c;
    qn_pages *p;
    float *want, *got; /* [N][n_vocab] */
    size_t compared;
} fixture;

static uint64_t rng;
static uint32_t below(uint32_t n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(rng >> 33) % n;
}

static void open_context(fixture *f, qn_cpu level, qn_kv kv, int threads)
{
    const qn_context_options o = {.level = level, .n_threads = threads, .max_rows = ROWS, .max_out = ROWS, .n_ctx = N_CTX,
                                  .kv = kv};
    qn_err err = {0};
    assert_int_equal(qn__context_open(f->d, &o, &f->c, &err), QN_OK);
    assert_int_equal(qn__pages_open(qn__decoder_page_bytes(f->d, kv), 64, 64, &f->p, &err), QN_OK);
}
static void close_context(fixture *f)
{
    qn__context_close(f->c);
    qn__pages_close(f->p);
}

/* Pages for all of s, filled with NaN: what has not been computed must not matter. */
static void make_room(fixture *f, qn_seq *s, size_t page_bytes)
{
    size_t had = s->n_pages;
    assert_int_equal(qn__seq_reserve(f->p, s, s->n_tokens, NULL), QN_OK);
    for (size_t i = had; i < s->n_pages; i++)
        memset(s->pages[i], 0xFF, page_bytes);
}

static qn_seq *sequence(const int32_t *tokens, size_t n)
{
    qn_seq *s = NULL;
    assert_int_equal(qn__seq_open(tokens, n, &s, NULL), QN_OK);
    return s;
}

/* One step of `n[i]` next rows of each sequence; logits of all rows of seqs[0] to out[position]. */
static void step(fixture *f, qn_seq **seqs, const size_t *n, int n_seqs, float *out)
{
    static qn_row rows[ROWS];
    unsigned char *const *tables[OTHERS + 1];
    int n_rows = 0, n_out = 0;
    for (int i = 0; i < n_seqs; i++) {
        tables[i] = seqs[i]->pages;
        for (size_t k = 0; k < n[i]; k++) {
            size_t pos = seqs[i]->n_done + k;
            rows[n_rows++] = (qn_row){.token = seqs[i]->tokens[pos], .pos = (int32_t)pos, .seq = i,
                                      .out = i == 0 ? n_out++ : -1};
        }
    }
    const qn_step s = {.rows = rows, .n_rows = n_rows, .pages = tables, .n_seqs = n_seqs,
                       .logits = out + seqs[0]->n_done * f->n_vocab};
    assert_int_equal(qn__context_step(f->c, &s, NULL), QN_OK);
    for (int i = 0; i < n_seqs; i++)
        qn__seq_done(f->p, seqs[i], n[i]);
}

static void alone(fixture *f, qn_seq *s, size_t chunk, float *out)
{
    while (s->n_done < s->n_tokens) {
        size_t left = s->n_tokens - s->n_done, n = left < chunk ? left : chunk;
        step(f, &s, &n, 1, out);
    }
}

static void same(fixture *f, size_t from, const char *what)
{
    size_t bytes = (N - from) * f->n_vocab * sizeof(float);
    if (memcmp(f->got + from * f->n_vocab, f->want + from * f->n_vocab, bytes) != 0)
        fail_msg("logits differ: %s", what);
    f->compared += N - from;
    memset(f->got, 0, N * f->n_vocab * sizeof(float));
}

static void batched(fixture *f, size_t page_bytes, uint64_t seed)
{
    rng = seed;
    qn_seq *seqs[OTHERS + 1];
    seqs[0] = sequence(f->tokens, N);
    for (int i = 1; i <= OTHERS; i++) {
        int32_t t[N];
        size_t n = 1 + below(N - 1), shared = below(3) ? 0 : below((uint32_t)n);
        for (size_t k = 0; k < n; k++)
            t[k] = k < shared ? f->tokens[k] : (int32_t)below((uint32_t)f->n_vocab);
        seqs[i] = sequence(t, n);
    }
    for (int i = 0; i <= OTHERS; i++)
        make_room(f, seqs[i], page_bytes);
    while (seqs[0]->n_done < N) {
        size_t n[OTHERS + 1];
        for (int i = 0; i <= OTHERS; i++) {
            size_t left = seqs[i]->n_tokens - seqs[i]->n_done, most = seed == 1 ? 3 : 20;
            n[i] = left ? below((uint32_t)(left < most ? left : most) + 1) : 0;
        }
        if (n[0] == 0)
            n[0] = 1;
        step(f, seqs, n, OTHERS + 1, f->got);
    }
    for (int i = 0; i <= OTHERS; i++)
        qn__seq_close(f->p, seqs[i]);
}

/* On the pages of another sequence that has the same first n tokens. */
static void reused(fixture *f, size_t page_bytes, size_t n)
{
    int32_t t[N];
    memcpy(t, f->tokens, sizeof t);
    t[n] = (t[n] + 1) % (int32_t)f->n_vocab;
    qn_seq *a = sequence(t, N), *b = sequence(f->tokens, N);
    make_room(f, a, page_bytes);
    alone(f, a, 50, f->got);
    /* Planted: a changed token changes what comes from it on, and nothing before. */
    assert_memory_equal(f->got, f->want, n * f->n_vocab * sizeof(float));
    for (size_t i = n; i < N; i++)
        assert_memory_not_equal(f->got + i * f->n_vocab, f->want + i * f->n_vocab, f->n_vocab * sizeof(float));
    assert_int_equal(qn__seq_common(b, N, a, a->n_done), n);
    assert_int_equal(qn__seq_adopt(f->p, b, a, n, NULL), QN_OK);
    assert_int_equal(b->n_done, n);
    make_room(f, b, page_bytes);
    alone(f, b, 64, f->got);
    qn__seq_close(f->p, a);
    qn__seq_close(f->p, b);
}

/* The ways, each against the first. Not their whole product: small steps on many threads are handovers between cores, and on
 * a busy machine nothing is slower. */
static void level_and_kv(fixture *f, qn_cpu level, qn_kv kv)
{
    static const struct {
        int threads;
        size_t chunk;
    } ways[] =
#ifdef QN_TSAN /* the pool, with work in pieces */
        {{1, 512}, {4, 64}, {4, 512}};
#else
        {{1, 512}, {1, 1}, {1, 7}, {1, 64}, {2, 7}, {2, 64}, {2, 512}, {4, 17}, {4, 64}, {4, 512}};
#endif
    static const size_t prefixes[] = {1, 63, 64, 65, N - 1};
    size_t page_bytes = qn__decoder_page_bytes(f->d, kv);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        open_context(f, level, kv, ways[i].threads);
        qn_seq *s = sequence(f->tokens, N);
        make_room(f, s, page_bytes);
        alone(f, s, ways[i].chunk, i ? f->got : f->want);
        qn__seq_close(f->p, s);
        if (i)
            same(f, 0, "chunks or threads");
        close_context(f);
    }
#ifdef QN_TSAN
    const int fewest = 2;
#else
    const int fewest = 1;
#endif
    for (int threads = fewest; threads <= 2; threads++) {
        open_context(f, level, kv, threads);
        batched(f, page_bytes, (uint64_t)threads);
        same(f, 0, "in a batch");
        for (size_t i = 0; threads == 1 && i < sizeof prefixes / sizeof *prefixes; i++) {
            reused(f, page_bytes, prefixes[i]);
            same(f, prefixes[i], "on another's pages");
        }
        close_context(f);
    }
}

static void same_bytes(void **state)
{
    (void)state;
    fixture f = {0};
    size_t size;
    qn_err err = {0};
    const unsigned char *data = qn__embedded_model(&size);
    assert_int_equal(qn__gguf_open_memory(data, size, "embedded", &f.g, &err), QN_OK);
    assert_int_equal(qn__decoder_open(f.g, &f.d, &err), QN_OK);
    f.n_vocab = (size_t)qn__decoder_info(f.d)->n_vocab;
    rng = 42;
    for (int i = 0; i < N; i++)
        f.tokens[i] = (int32_t)below((uint32_t)f.n_vocab);
    f.want = malloc(N * f.n_vocab * sizeof(float));
    f.got = malloc(N * f.n_vocab * sizeof(float));
    const char *names[8];
    size_t levels = qn_cpu_levels(names, 8);
#ifdef QN_SANITIZED
    const int kvs = 1; /* ten times slower: the other KV type brings no other code of ours */
#else
    const int kvs = QN__KV__COUNT;
#endif
#ifdef QN_TSAN
    const int least = levels > 1; /* the reference is as many times slower as everything here together */
#else
    const int least = 0;
#endif
    for (int l = least; l < (int)levels; l++)
        for (int kv = 0; kv < kvs; kv++)
            level_and_kv(&f, (qn_cpu)l, (qn_kv)kv);
    printf("figure: same bytes: %zu rows of logits equal (chunks 1/7/64/512, 1/2/4 threads, batch of 8, reused prefix; "
           "%d KV types; levels ref..%s)\n", f.compared, kvs, names[levels - 1]);
    free(f.want);
    free(f.got);
    qn__decoder_close(f.d);
    qn__gguf_close(f.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
