/* test_same_bytes.c - promise 1 at the decoder, for every family: the logits of a position are the same bytes alone, in
 * a batch with other sequences, in chunks of any size, with any number of threads, with weights as the file has them or
 * packed, and resumed from a copy of pages and state. */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/decoder.h"

#include "gemma4_model.h"
#include "quern.h"

enum { N = 150, OTHERS = 3, MAX_PAGES = 4, MAX_ROWS = N * (OTHERS + 1) }; /* N crosses two page borders */

typedef struct sequence {
    unsigned char *pages[MAX_PAGES];
    float *state;
    int32_t tokens[N];
    int done;
} sequence;

static size_t page_bytes, state_bytes;
static qn_kv kv = QN__KV_F16;
static int n_packed; /* models whose matrices were packed at some level */

static void sequence_open(sequence *s, int salt, int n_vocab)
{
    for (int i = 0; i < MAX_PAGES; i++)
        memset(s->pages[i] = qn__alloc_aligned(page_bytes), 0xFF, page_bytes);
    memset(s->state = qn__alloc_aligned(state_bytes), 0xFF, state_bytes);
    for (int i = 0; i < N; i++)
        s->tokens[i] = (int32_t)(((uint32_t)i * 2654435761u + (uint32_t)salt * 40503u) >> 8) % n_vocab;
    s->done = 0;
}

static void sequence_close(sequence *s)
{
    for (int i = 0; i < MAX_PAGES; i++)
        qn__free_aligned(s->pages[i]);
    qn__free_aligned(s->state);
}

/* One step: take[k] more tokens of each sequence k; the logits of seqs[0]'s go to out. */
static void step(qn_context *c, sequence *seqs, const int *take, int n_seqs, float *out)
{
    static qn_row rows[MAX_ROWS];
    unsigned char *const *tables[OTHERS + 1];
    float *states[OTHERS + 1];
    int n = 0, n_out = 0;
    for (int k = n_seqs - 1; k >= 0; k--) { /* the watched sequence last, so that it is not always first */
        tables[k] = seqs[k].pages;
        states[k] = seqs[k].state;
        for (int i = 0; i < take[k]; i++, seqs[k].done++)
            rows[n++] = (qn_row){
                .token = seqs[k].tokens[seqs[k].done], .pos = seqs[k].done, .seq = k, .out = k == 0 ? n_out++ : -1};
    }
    qn_step s = {.rows = rows, .n_rows = n, .pages = tables, .states = states, .n_seqs = n_seqs, .logits = out};
    assert_int_equal(qn__context_step(c, &s, NULL), QN_OK);
}

static qn_context *context(const qn_decoder *d, qn_cpu level, int threads)
{
    qn_context *c;
    qn_context_options o = {
        .level = level, .n_threads = threads, .max_rows = MAX_ROWS, .max_out = N, .n_ctx = 256, .kv = kv};
    assert_int_equal(qn__context_open(d, &o, &c, NULL), QN_OK);
    return c;
}

/* Run sequence 0 of n_seqs in chunks; the others go along in chunks of their own. */
static void run(const qn_decoder *d, qn_cpu level, int threads, int chunk, int n_seqs, float *out)
{
    int n_vocab = qn__decoder_info(d)->n_vocab;
    sequence seqs[OTHERS + 1];
    qn_context *c = context(d, level, threads);
    for (int k = 0; k < n_seqs; k++)
        sequence_open(&seqs[k], k, n_vocab);
    while (seqs[0].done < N) {
        int take[OTHERS + 1];
        for (int k = 0; k < n_seqs; k++) {
            int want = k == 0 ? chunk : 1 + (k * 5 + seqs[k].done) % 11;
            take[k] = want < N - seqs[k].done ? want : N - seqs[k].done;
        }
        step(c, seqs, take, n_seqs, out + (size_t)seqs[0].done * (size_t)n_vocab);
    }
    for (int k = 0; k < n_seqs; k++)
        sequence_close(&seqs[k]);
    qn__context_close(c);
}

/* Stop at a page border, copy pages and state elsewhere, go on there. */
static void run_resumed(const qn_decoder *d, qn_cpu level, float *out)
{
    int n_vocab = qn__decoder_info(d)->n_vocab, border = QN_PAGE_TOKENS, rest = N - border;
    sequence a, b;
    qn_context *c = context(d, level, 2);
    sequence_open(&a, 0, n_vocab);
    sequence_open(&b, 0, n_vocab);
    step(c, &a, &border, 1, out);
    memcpy(b.pages[0], a.pages[0], page_bytes);
    memcpy(b.state, a.state, state_bytes);
    b.done = border;
    sequence_close(&a);
    step(c, &b, &rest, 1, out + (size_t)border * (size_t)n_vocab);
    sequence_close(&b);
    qn__context_close(c);
}

static int check(const char *path, int *n)
{
    qn_gguf *g;
    qn_decoder *d;
    if (qn__gguf_open(path, &g, NULL) != QN_OK)
        return 0;
    if (qn__decoder_open(g, &d, NULL) != QN_OK) {
        qn__gguf_close(g);
        return 0;
    }
    int bad = 0;
    bool was_packed = false;
    const qn_decoder_info *info = qn__decoder_info(d);
    if (!info->embedding_only && info->n_ctx_train >= N) {
        (*n)++;
        size_t bytes = (size_t)N * (size_t)info->n_vocab * 4;
        page_bytes = qn__decoder_page_bytes(d, kv);
        state_bytes = qn__decoder_state_bytes(d);
        float *alone = malloc(bytes), *other = malloc(bytes);
        static const struct {
            int threads, chunk, n_seqs;
        } ways[] = {{1, 1, 1}, {2, 7, 1}, {4, 64, 1}, {2, 13, OTHERS + 1}, {3, 1, OTHERS + 1}};
        for (int level = 1; level <= (int)qn__cpu_best() || level == 1;
             level++) { /* ref is slow and has one path: the first of ways */
            qn_cpu l = level <= (int)qn__cpu_best() ? (qn_cpu)level : QN_CPU_REF;
            run(d, l, 2, N, 1, alone);
            for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
                run(d, l, ways[w].threads, ways[w].chunk, ways[w].n_seqs, other);
                if (memcmp(alone, other, bytes) != 0) {
                    print_error("%s at %s: %d threads, chunks of %d, %d sequences: other bytes\n", path,
                                qn__cpu_name(l), ways[w].threads, ways[w].chunk, ways[w].n_seqs);
                    bad = 1;
                }
            }
            const qn_decoder *packed;
            assert_int_equal(qn__decoder_pack(d, l, 2, &packed, NULL), QN_OK);
            if (packed != d) {
                was_packed = true;
                run(packed, l, 2, 13, OTHERS + 1, other);
                if (memcmp(alone, other, bytes) != 0) {
                    print_error("%s at %s: packed: other bytes\n", path, qn__cpu_name(l));
                    bad = 1;
                }
                run(packed, l, 1, 1, 1, other);
                if (memcmp(alone, other, bytes) != 0) {
                    print_error("%s at %s: packed, one by one: other bytes\n", path, qn__cpu_name(l));
                    bad = 1;
                }
            }
            qn__decoder_release(d, packed);
            run_resumed(d, l, other);
            if (memcmp(alone, other, bytes) != 0) {
                print_error("%s at %s: resumed: other bytes\n", path, qn__cpu_name(l));
                bad = 1;
            }
        }
        free(alone);
        free(other);
    }
    n_packed += was_packed;
    qn__decoder_close(d);
    qn__gguf_close(g);
    return bad;
}

static void check_dir(const char *dir, int *n, int *bad)
{
    char pattern[512];
    glob_t files;
    (void)snprintf(pattern, sizeof pattern, "%s/*.gguf", dir);
    if (glob(pattern, 0, NULL, &files) != 0)
        return;
    for (size_t i = 0; i < files.gl_pathc; i++)
        *bad += check(files.gl_pathv[i], n);
    globfree(&files);
}

static void own_families(void **state)
{
    (void)state;
    for (int q8 = 0; q8 < 2; q8++) {
        int n = 0, bad = 0;
        n_packed = 0;
        kv = q8 ? QN__KV_Q8_0 : QN__KV_F16;
        check_dir("tests/data/models", &n, &bad);
        printf("figure: same bytes in %d of %d of the repository's models, %s KV, %d of them packed too\n", n - bad, n,
               q8 ? "q8_0" : "f16", n_packed);
        assert_true(n > 0);
        assert_int_equal(bad, 0);
    }
    kv = QN__KV_F16;
}

static void shared_families(void **state)
{
    (void)state;
    int n = 0, bad = 0;
    char dir[512];
    const char *shared = getenv("SHARED");
    (void)snprintf(dir, sizeof dir, "%s/golden/models", shared ? shared : "../shared");
    check_dir(dir, &n, &bad);
    if (n == 0) {
        printf("skipped: no %s here\n", dir);
        skip();
    }
    printf("figure: same bytes in %d of %d golden models: alone = chunked = batched = resumed, 1 = 2 = 3 = 4 threads\n",
           n - bad, n);
    assert_int_equal(bad, 0);
}

/* Layers of different heads, layers that share keys and values, embeddings for each layer: no golden file has them. */
static void made_families(void **state)
{
    (void)state;
    for (int q8 = 0; q8 < 2; q8++) {
        int n = 0, bad = 0;
        n_packed = 0;
        kv = q8 ? QN__KV_Q8_0 : QN__KV_F16;
        for (size_t i = 0; i < G4_VARIANTS; i++) {
            char path[] = "/tmp/quern-gemma4-XXXXXX";
            assert_true(close(mkstemp(path)) == 0);
            g4_make(&g4_variants[i]);
            assert_int_equal(g4_save(path, &g4_variants[i], NULL), QN_OK);
            bad += check(path, &n);
            char small[] = "/tmp/quern-gemma4-XXXXXX"; /* quantised, so that there is something to pack */
            qn_quantize_options o;
            assert_true(close(mkstemp(small)) == 0);
            qn_quantize_options_init(&o);
            o.type = "Q8_0";
            assert_int_equal(qn_quantize(path, small, &o, NULL, NULL), QN_OK);
            bad += check(small, &n);
            (void)unlink(small);
            (void)unlink(path);
        }
        printf("figure: same bytes in %d of %d files of the four kinds of gemma4, F32 and Q8_0, %s KV, %d of them packed too\n", n - bad, n, q8 ? "q8_0" : "f16", n_packed);
        assert_int_equal(n, 2 * G4_VARIANTS);
        assert_int_equal(bad, 0);
    }
    g4_forget();
    kv = QN__KV_F16;
}

/* The harness must see a difference: a resumed state that is one bit off. */
static void planted_fault(void **state)
{
    (void)state;
    qn_gguf *g;
    qn_decoder *d;
    sequence a;
    int first = QN_PAGE_TOKENS, rest = N - first;
    assert_int_equal(qn__gguf_open("tests/data/models/qwen2.gguf", &g, NULL), QN_OK);
    assert_int_equal(qn__decoder_open(g, &d, NULL), QN_OK);
    page_bytes = qn__decoder_page_bytes(d, kv);
    state_bytes = qn__decoder_state_bytes(d);
    int n_vocab = qn__decoder_info(d)->n_vocab;
    size_t bytes = (size_t)N * (size_t)n_vocab * 4;
    float *alone = malloc(bytes), *other = malloc(bytes);
    run(d, qn__cpu_best(), 1, N, 1, alone);
    qn_context *c = context(d, qn__cpu_best(), 1);
    sequence_open(&a, 0, n_vocab);
    step(c, &a, &first, 1, other);
    a.pages[0][130] ^= 0x10;
    step(c, &a, &rest, 1, other + (size_t)first * (size_t)n_vocab);
    assert_int_not_equal(memcmp(alone, other, bytes), 0);
    assert_int_equal(memcmp(alone, other, (size_t)first * (size_t)n_vocab * 4), 0);
    sequence_close(&a);
    qn__context_close(c);
    free(alone);
    free(other);
    qn__decoder_close(d);
    qn__gguf_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(own_families), cmocka_unit_test(shared_families), cmocka_unit_test(made_families),
                                       cmocka_unit_test(planted_fault)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
