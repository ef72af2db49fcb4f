/* qn_synth: files of random weights load, run with finite logits, and have the types that files of that name have. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "formats/gguf.h"
#include "quern.h"

static char path[64];

static int setup(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/quern-synth-%d.gguf", (int)getpid());
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)remove(path);
    return 0;
}

static void make(const char *shape, const char *type, int layers)
{
    qn_err err = {0};
    if (qn_synth(shape, type, layers, path, NULL, NULL, &err) != QN_OK)
        fail_msg("%s %s: %s: %s", shape, type, err.where, err.what);
}

static size_t bad(const float *v, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        k += !isfinite(v[i]);
    return k;
}

static void runs(const char *shape, const char *type, int layers)
{
    enum { N = 20, VOCAB = 512 };
    static float logits[VOCAB];
    int32_t tokens[N];
    qn_model *m;
    qn_engine *e;
    qn_engine_options o;
    qn_err err = {0};
    make(shape, type, layers);
    if (qn_model_open(path, QN_OPEN_FULL, &m, &err) != QN_OK)
        fail_msg("%s %s: %s: %s", shape, type, err.where, err.what);
    qn_engine_options_init(&o);
    o.n_ctx = 64;
    o.n_threads = 1;
    o.n_chunk = 16;
    assert_int_equal(qn_engine_open(m, &o, &e, &err), QN_OK);
    for (int i = 0; i < N; i++)
        tokens[i] = i * 23 % VOCAB;
    assert_int_equal(qn_logits(e, tokens, N, 1, logits, &err), QN_OK);
    assert_int_equal(bad(logits, VOCAB), 0);
    float most = 0;
    for (int i = 0; i < VOCAB; i++)
        most = fabsf(logits[i]) > most ? fabsf(logits[i]) : most;
    assert_true(most > 0.01f && most < 100);
    qn_engine_close(e);
    qn_model_close(m);
}

static void dense(void **state)
{
    (void)state;
    const char *type;
    for (size_t i = 0; (type = qn_quantize_type_name(i)) != NULL; i++)
        runs("tiny", type, 1);
    runs("tiny", "Q4_K_M", 0);
}

static void experts(void **state)
{
    (void)state;
    runs("tiny-qwen3moe", "Q4_K_M", 2);
    runs("tiny-qwen3moe", "MXFP4", 1);
    runs("tiny-cohere2moe", "Q4_K_M", 2);
    runs("tiny-cohere2moe", "Q8_0", 0);
}

static void the_check_finds_a_nan(void **state)
{
    (void)state;
    const float v[3] = {1, NAN, -INFINITY};
    assert_int_equal(bad(v, 3), 2);
}

static qn_type type_of(const qn_gguf *g, const char *name)
{
    const qn_gguf_tensor *t = qn__gguf_find(g, name);
    assert_non_null(t);
    return t->type;
}

static void types(void **state)
{
    (void)state;
    qn_gguf *g;
    qn_err err;
    make("tiny-cohere2moe", "Q4_K_M", 9);
    assert_int_equal(qn__gguf_open(path, &g, &err), QN_OK);
    assert_int_equal(type_of(g, "token_embd.weight"), QN_Q6_K); /* tied */
    assert_int_equal(type_of(g, "blk.0.ffn_down.weight"), QN_Q6_K);
    assert_int_equal(type_of(g, "blk.8.ffn_down_exps.weight"), QN_Q6_K);
    assert_int_equal(type_of(g, "blk.2.ffn_down_exps.weight"), QN_Q4_K);
    assert_int_equal(type_of(g, "blk.2.ffn_up_exps.weight"), QN_Q4_K);
    assert_int_equal(type_of(g, "blk.2.ffn_gate_inp.weight"), QN_F32);
    assert_null(qn__gguf_find(g, "blk.1.ffn_up.weight"));
    assert_null(qn__gguf_find(g, "output.weight"));
    qn__gguf_close(g);
    make("tiny-qwen3moe", "Q4_K_M", 1);
    assert_int_equal(qn__gguf_open(path, &g, &err), QN_OK);
    assert_int_equal(type_of(g, "token_embd.weight"), QN_Q4_K); /* output has the bits */
    assert_int_equal(type_of(g, "output.weight"), QN_Q6_K);
    qn__gguf_close(g);
}

static bool stop_at(void *arg, uint64_t done, uint64_t total)
{
    assert_true(done <= total);
    *(uint64_t *)arg = done;
    return done < total / 2;
}

static void refusals(void **state)
{
    (void)state;
    qn_err err = {0};
    uint64_t done = 0;
    (void)remove(path);
    assert_int_equal(qn_synth("no-such", "Q8_0", 0, path, NULL, NULL, &err), QN_EINVAL);
    assert_non_null(strstr(err.what, "qwen3-coder-30b-a3b"));
    assert_int_equal(qn_synth("tiny", "Q9", 0, path, NULL, NULL, &err), QN_EINVAL);
    assert_int_equal(qn_synth("tiny", "Q8_0", 1025, path, NULL, NULL, &err), QN_EINVAL);
    assert_int_equal(qn_synth("tiny", "F32", 0, path, stop_at, &done, &err), QN_ECANCELLED);
    assert_true(done > 0);
    assert_int_equal(access(path, F_OK), -1);
}

/* The whole report and the fingerprint. */
static char *told(char print[QN_FINGERPRINT])
{
    qn_model *m = NULL;
    char *text = NULL;
    qn_err err = {0};
    assert_int_equal(qn_model_open(path, QN_OPEN_FULL, &m, &err), QN_OK);
    assert_int_equal(qn_model_report(m, true, &text, &err), QN_OK);
    assert_int_equal(qn_model_fingerprint(m, print, &err), QN_OK);
    qn_model_close(m);
    return text;
}

/* Weights alone tell two models apart: the same shapes, the same metadata, the same size. Only a model whose weights are there has one. */
static void fingerprints(void **state)
{
    (void)state;
    char first[QN_FINGERPRINT], again[QN_FINGERPRINT], other[QN_FINGERPRINT] = "untouched";
    make("tiny", "Q8_0", 1);
    char *a = told(first), *b = told(again);
    assert_int_equal(strspn(first, "0123456789abcdef"), QN_FINGERPRINT - 1);
    assert_string_equal(first, again);
    assert_string_equal(a, b);
    qn_free(b);
    qn_model *m = NULL;
    qn_err err = {0};
    assert_int_equal(qn_model_open(path, QN_OPEN_VOCAB, &m, &err), QN_OK);
    assert_int_equal(qn_model_fingerprint(m, other, &err), QN_EINVAL);
    assert_string_equal(other, "untouched");
    qn_model_close(m);
    FILE *f = fopen(path, "r+b"); /* trained further: the last tensors */
    assert_non_null(f);
    assert_int_equal(fseek(f, -4096, SEEK_END), 0);
    for (int i = 0; i < 4096; i++)
        (void)fputc(i & 63, f);
    assert_int_equal(fclose(f), 0);
    b = told(other);
    assert_string_equal(a, b);
    assert_string_not_equal(first, other);
    qn_free(a);
    qn_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(dense), cmocka_unit_test(experts),
                                       cmocka_unit_test(the_check_finds_a_nan), cmocka_unit_test(types),
                                       cmocka_unit_test(refusals), cmocka_unit_test(fingerprints)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
