/* test_model_hostile.c - mutated model files all the way through the decoder: opened, bound, run for a step. Never a
 * crash or an allocation that the file does not warrant; a refusal says where and what. Meant for the sanitizers. */
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

#include "base/file.h"
#include "base/mem.h"
#include "model/decoder.h"

#include "../golden/gemma4_model.h"

enum { MUTATIONS = 10000 };

static uint64_t next(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static void step_once(const qn_decoder *d)
{
    const qn_decoder_info *info = qn__decoder_info(d);
    qn_context *c;
    qn_context_options o = {
        .level = qn__cpu_best(), .n_threads = 1, .max_rows = 3, .max_out = 1, .n_ctx = 8, .kv = QN__KV_F16};
    qn_err err;
    if (qn__context_open(d, &o, &c, &err) != QN_OK) {
        assert_true(err.what[0] != 0);
        return;
    }
    unsigned char *page = qn__alloc_aligned(qn__decoder_page_bytes(d, QN__KV_F16));
    unsigned char *const pages[] = {page}, *const * tables[] = {pages};
    size_t wide = (size_t)(info->n_vocab > info->n_embd ? info->n_vocab : info->n_embd);
    float *logits = malloc(wide * 4), *state = qn__alloc_aligned(qn__decoder_state_bytes(d));
    qn_row rows[3];
    for (int i = 0; i < 3; i++)
        rows[i] = (qn_row){.token = (i * 7) % info->n_vocab, .pos = i, .out = i == 2 ? 0 : -1};
    qn_step step = {.rows = rows, .n_rows = 3, .pages = tables, .states = &state, .n_seqs = 1};
    *(info->embedding_only ? &step.hidden : &step.logits) = logits;
    assert_int_equal(qn__context_step(c, &step, NULL), QN_OK);
    free(logits);
    qn__free_aligned(state);
    qn__free_aligned(page);
    qn__context_close(c);
}

/* 1 when the file was accepted and run, 0 when refused. */
static int try_file(const unsigned char *data, size_t n)
{
    qn_err err = {0};
    qn_gguf *g;
    qn_decoder *d;
    unsigned char *exact = malloc(n ? n : 1); /* a byte too many is seen */
    memcpy(exact, data, n);
    (void)qn__alloc_peak_take();
    qn_status s = qn__gguf_open_memory(exact, n, "mutant", &g, &err);
    int ran = 0;
    if (s == QN_OK) {
        s = qn__decoder_open(g, &d, &err);
        if (s == QN_OK) {
            ran = 1;
            step_once(d);
            qn__decoder_close(d);
        }
        qn__gguf_close(g);
    }
    size_t peak = qn__alloc_peak_take();
    if (peak > 16 * n + (4 << 20))
        fail_msg("a file of %zu bytes made us ask for %zu", n, peak);
    if (s != QN_OK && (!err.what[0] || !err.where[0] || err.code != s))
        fail_msg("refused with status %d, but where=\"%s\" what=\"%s\"", s, err.where, err.what);
    free(exact);
    return ran;
}

/* Mutate where it hurts: the header is small beside the weights, so most positions are drawn from it. */
static void mutate(unsigned char *p, size_t *n, size_t header, uint64_t *seed)
{
    static const uint64_t nasty[] = {0,
                                     1,
                                     2,
                                     0x7F,
                                     0xFF,
                                     0x7FFFFFFF,
                                     0xFFFFFFFF,
                                     0x80000000,
                                     0x7FFFFFFFFFFFFFFF,
                                     0xFFFFFFFFFFFFFFFF,
                                     0x8000000000000000,
                                     0x0100000001};
    int edits = 1 + (int)(next(seed) % 3);
    while (edits--) {
        const size_t within = next(seed) % 8 ? header : *n, at = next(seed) % within;
        switch (next(seed) % 5) {
        case 0: p[at] ^= (unsigned char)(1u << next(seed) % 8); break;
        case 1: p[at] = (unsigned char)next(seed); break;
        case 2: {
            uint64_t v = nasty[next(seed) % (sizeof nasty / sizeof nasty[0])];
            size_t w = next(seed) % 2 ? 4 : 8;
            if (at + w <= *n)
                memcpy(p + at, &v, w);
            break;
        }
        case 3:
            if (next(seed) % 8 == 0)
                *n = at + 1;
            break;
        case 4: { /* copy one place of the header over another: keys and names swap */
            const size_t from = next(seed) % header, w = 1 + next(seed) % 24;
            if (from + w <= *n && at + w <= *n)
                memmove(p + at, p + from, w);
            break;
        }
        }
        header = header < *n ? header : *n;
    }
}

/* How many of `count` mutants of a file ran. */
static int mutants_of(const char *path, int count, uint64_t *seed)
{
    char *data;
    size_t n;
    qn_gguf *g;
    int ran = 0;
    assert_int_equal(qn__read_file(path, 1 << 24, &data, &n, NULL), QN_OK);
    assert_int_equal(qn__gguf_open_memory(data, n, path, &g, NULL), QN_OK);
    size_t header = (size_t)qn__gguf_tensor(g, 0)->offset;
    qn__gguf_close(g);
    assert_int_equal(try_file((unsigned char *)data, n), 1); /* the harness sees an accepted file as such */
    unsigned char *copy = malloc(n);
    for (int i = 0; i < count; i++) {
        size_t m = n;
        memcpy(copy, data, n);
        mutate(copy, &m, header, seed);
        ran += try_file(copy, m);
    }
    free(copy);
    qn_free(data);
    return ran;
}

static void mutants(void **state)
{
    (void)state;
    glob_t files;
    uint64_t seed = 42;
    int ran = 0, total = 0;
    assert_int_equal(glob("tests/data/models/*.gguf", 0, NULL, &files), 0);
    int each = MUTATIONS / (int)(files.gl_pathc + G4_VARIANTS) + 1;
    for (size_t f = 0; f < files.gl_pathc; f++, total += each)
        ran += mutants_of(files.gl_pathv[f], each, &seed);
    globfree(&files);
    for (size_t i = 0; i < G4_VARIANTS; i++, total += each) { /* arrays per layer, layers that read others' keys */
        char path[] = "/tmp/quern-gemma4-XXXXXX";
        assert_true(close(mkstemp(path)) == 0);
        g4_make(&g4_variants[i]);
        assert_int_equal(g4_save(path, &g4_variants[i], NULL), QN_OK);
        ran += mutants_of(path, each, &seed);
        (void)unlink(path);
    }
    g4_forget();
    printf("figure: %d mutated model files: %d refused with a sentence, %d harmless and run\n", total, total - ran,
           ran);
    assert_true(ran > 0 && ran < total);
}

/* One refusal of each kind, with the words a user needs. */
static void sentences(void **state)
{
    (void)state;
    char *data;
    size_t n;
    qn_gguf *g;
    qn_decoder *d;
    qn_err err;
    static const struct {
        const char *find, *put, *where, *what;
    } cases[] = {
        {"qwen2", "qwen9", "general.architecture", "\"qwen9\" is not an architecture that this build runs"},
        {"blk.1.ffn_up.weight", "blk.1.ffn_uq.weight", "blk.1.ffn_up.weight", "missing"},
        {"blk.2.attn_q.bias", "blk.2.attn_Q.bias", "blk.2.attn_q.bias", "missing"},
        {"qwen2.block_count", "qwen2.block_kount", "qwen2.block_count", "missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(qn__read_file("tests/data/models/qwen2.gguf", 1 << 24, &data, &n, NULL), QN_OK);
        char *at = memmem(data, n, cases[i].find, strlen(cases[i].find));
        assert_non_null(at);
        memcpy(at, cases[i].put, strlen(cases[i].put));
        assert_int_equal(qn__gguf_open_memory(data, n, "f", &g, NULL), QN_OK);
        assert_true(qn__decoder_open(g, &d, &err) < 0);
        if (!strstr(err.where, cases[i].where) || !strstr(err.what, cases[i].what))
            fail_msg("%s: \"%s\": \"%s\"", cases[i].put, err.where, err.what);
        qn__gguf_close(g);
        qn_free(data);
    }
}

/* Numbers of a mixture of experts that contradict its tensors or each other. */
static void expert_sentences(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        uint32_t value;
        const char *where, *what;
    } cases[] = {
        {"cohere2moe.expert_count", 0, "cohere2moe.expert_count", "1 to 4096"},
        {"cohere2moe.expert_count", 7, "ffn_gate_inp.weight", "has shape [64, 6]"},
        {"cohere2moe.expert_count", 0xFFFFFFFF, "cohere2moe.expert_count", "1 to 4096"},
        {"cohere2moe.expert_used_count", 0, "cohere2moe.expert_used_count", "1 to 6"},
        {"cohere2moe.expert_used_count", 7, "cohere2moe.expert_used_count", "1 to 6"},
        {"cohere2moe.expert_feed_forward_length", 33, "ffn_gate_exps.weight", "needs [64, 33, 6]"},
        {"cohere2moe.leading_dense_block_count", 0, "blk.0.ffn_gate_inp.weight", "missing"},
        {"cohere2moe.expert_gating_func", 9, "cohere2moe.expert_gating_func", "1 to 3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *data;
        size_t n;
        qn_gguf *g;
        qn_decoder *d;
        qn_err err;
        assert_int_equal(qn__read_file("tests/data/models/cohere2moe.gguf", 1 << 24, &data, &n, NULL), QN_OK);
        char *at = memmem(data, n, cases[i].key, strlen(cases[i].key));
        assert_non_null(at);
        memcpy(at + strlen(cases[i].key) + 4, &cases[i].value, 4); /* behind the kind */
        assert_int_equal(qn__gguf_open_memory(data, n, "f", &g, NULL), QN_OK);
        assert_true(qn__decoder_open(g, &d, &err) < 0);
        if (!strstr(err.where, cases[i].where) || !strstr(err.what, cases[i].what))
            fail_msg("%s = %u: \"%s\": \"%s\"", cases[i].key, cases[i].value, err.where, err.what);
        qn__gguf_close(g);
        qn_free(data);
    }
}

/* A router that gives NaN: the answer is a sentence, never a token drawn from nothing. */
static void nan_router(void **state)
{
    (void)state;
    char *data, path[] = "/tmp/quern-nan-XXXXXX";
    size_t n;
    qn_gguf *g;
    qn_model *m;
    qn_engine *e;
    qn_request *r;
    qn_event ev;
    qn_perplexity p;
    qn_err err = {0};
    const int32_t tokens[] = {1, 2, 3, 4, 5, 6, 7, 8};
    assert_int_equal(qn__read_file("tests/data/models/cohere2moe.gguf", 1 << 24, &data, &n, NULL), QN_OK);
    assert_int_equal(qn__gguf_open_memory(data, n, "f", &g, NULL), QN_OK);
    const qn_gguf_tensor *t = qn__gguf_find(g, "blk.1.ffn_gate_inp.weight");
    assert_non_null(t);
    memset(data + t->offset, 0xFF, t->bytes);
    qn__gguf_close(g);
    int fd = mkstemp(path);
    assert_int_equal(write(fd, data, n), (ssize_t)n);
    (void)close(fd);
    qn_free(data);
    assert_int_equal(qn_model_open(path, QN_OPEN_FULL, &m, &err), QN_OK);
    assert_int_equal(qn_engine_open(m, NULL, &e, &err), QN_OK);
    qn_request_options o;
    qn_request_options_init(&o);
    o.tokens = tokens;
    o.n_tokens = 8;
    assert_int_equal(qn_request_open(e, &o, &r, &err), QN_OK);
    qn_status s;
    while ((s = qn_request_next(r, &ev, &err)) == QN_OK && ev.kind != QN_EVENT_END)
        ;
    assert_int_equal(s, QN_EFORMAT);
    assert_non_null(strstr(err.what, "not numbers"));
    qn_request_close(r);
    assert_int_equal(qn_measure_perplexity(e, tokens, 8, 8, NULL, NULL, &p, &err), QN_EFORMAT);
    qn_engine_close(e);
    qn_model_close(m);
    (void)unlink(path);
}

/* Let each allocation of open + step fail in turn. */
static void allocations_fail(void **state)
{
    (void)state;
    qn_gguf *g;
    qn_decoder *d;
    qn_context *c;
    int failures = 0;
    for (uint64_t n = 1;; n++) {
        qn_err err;
        qn__alloc_fail_at(n);
        qn_status s = qn__gguf_open("tests/data/models/qwen2.gguf", &g, &err);
        if (s == QN_OK) {
            s = qn__decoder_open(g, &d, &err);
            if (s == QN_OK) {
                qn_context_options o = {
                    .level = QN_CPU_REF, .n_threads = 2, .max_rows = 3, .max_out = 1, .n_ctx = 8, .kv = QN__KV_F32};
                s = qn__context_open(d, &o, &c, &err);
                if (s == QN_OK)
                    qn__context_close(c);
                qn__decoder_close(d);
            }
            qn__gguf_close(g);
        }
        qn__alloc_fail_at(0);
        if (s == QN_OK)
            break;
        assert_int_equal(s, QN_ENOMEM);
        assert_true(err.what[0] != 0);
        failures++;
    }
    assert_true(failures > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sentences), cmocka_unit_test(expert_sentences),
                                       cmocka_unit_test(nan_router), cmocka_unit_test(allocations_fail),
                                       cmocka_unit_test(mutants)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
