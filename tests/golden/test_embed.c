/* test_embed.c - pooled embeddings of tiny models against what independent engines computed, through the public API; what is
 * refused, and the same bytes however the text is cut.
 *
 * Bounds on the normalised mean squared error, with f32 KV: 1e-9; 1e-6 for bert, whose oracle's GELU goes through a 16-bit
 * table. */
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "quern.h"

enum { MOST = 64 };

typedef struct golden {
    json_t *json;
    int32_t prompt[MOST], positions[16];
    size_t n, rows, cols;
    float *pooled, *tokens; /* [cols]; [rows][cols] at positions */
    qn_model *model;
} golden;

static size_t ints(const json_t *a, int32_t *out, size_t cap)
{
    size_t n = json_array_size(a);
    assert_true(n <= cap);
    for (size_t i = 0; i < n; i++)
        out[i] = (int32_t)json_integer_value(json_array_get(a, i));
    return n;
}

static float *floats(const char *dir, const json_t *name, size_t n)
{
    char path[512], *data;
    size_t bytes;
    (void)snprintf(path, sizeof path, "%s/%s", dir, json_string_value(name));
    assert_int_equal(qn__read_file(path, 1 << 24, &data, &bytes, NULL), QN_OK);
    assert_int_equal(bytes, n * 4);
    return (float *)(void *)data;
}

static bool load(const char *dir, const char *name, golden *g)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s.json", dir, name);
    *g = (golden){.json = json_load_file(path, 0, NULL)};
    if (!g->json)
        return false;
    g->n = ints(json_object_get(g->json, "prompt"), g->prompt, MOST);
    g->rows = ints(json_object_get(g->json, "positions"), g->positions, 16);
    g->cols = (size_t)json_integer_value(json_object_get(g->json, "cols"));
    g->pooled = floats(dir, json_object_get(g->json, "embd_file"), g->cols);
    g->tokens = floats(dir, json_object_get(g->json, "tokembd_file"), g->rows * g->cols);
    (void)snprintf(path, sizeof path, "%s/%s.gguf", dir, name);
    assert_int_equal(qn_model_open(path, QN_OPEN_FULL, &g->model, NULL), QN_OK);
    return true;
}

static void unload(golden *g)
{
    qn_model_close(g->model);
    qn_free(g->pooled);
    qn_free(g->tokens);
    json_decref(g->json);
}

static qn_engine *engine(const golden *g, const char *cpu, int32_t chunk, int32_t threads, int32_t n_ctx)
{
    qn_engine_options o;
    qn_engine *e = NULL;
    qn_engine_options_init(&o);
    o.cpu = cpu;
    o.n_chunk = chunk;
    o.n_threads = threads;
    o.n_ctx = n_ctx;
    o.max_seqs = 1;
    o.kv = QN_KV_F32;
    assert_int_equal(qn_engine_open(g->model, &o, &e, NULL), QN_OK);
    return e;
}

static double nmse(const float *got, const float *want, size_t n)
{
    double num = 0, den = 0;
    for (size_t i = 0; i < n; i++) {
        num += ((double)got[i] - (double)want[i]) * ((double)got[i] - (double)want[i]);
        den += (double)want[i] * (double)want[i];
    }
    return num / den;
}

static double length(const float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    return sqrt(sum);
}

/* At one level: as the file says, per token, every other way from the tokens, normalised, and cut differently. */
static double check_level(const golden *g, const char *cpu)
{
    static float all[MOST * 256], one[256], other[MOST * 256];
    size_t c = g->cols;
    assert_true(c <= 256);
    qn_engine *e = engine(g, cpu, 512, 2, 0);
    assert_int_equal(qn_embed(e, g->prompt, g->n, QN_POOL_AUTO, false, one, NULL), QN_OK);
    double worst = nmse(one, g->pooled, c);
    assert_int_equal(qn_embed(e, g->prompt, g->n, QN_POOL_NONE, false, all, NULL), QN_OK);
    for (size_t r = 0; r < g->rows; r++) {
        double x = nmse(all + (size_t)g->positions[r] * c, g->tokens + r * c, c);
        worst = worst > x ? worst : x;
    }
    assert_int_equal(qn_embed(e, g->prompt, g->n, QN_POOL_CLS, false, one, NULL), QN_OK);
    assert_memory_equal(one, all, c * 4);
    assert_int_equal(qn_embed(e, g->prompt, g->n, QN_POOL_LAST, false, one, NULL), QN_OK);
    assert_memory_equal(one, all + (g->n - 1) * c, c * 4);
    assert_int_equal(qn_embed(e, g->prompt, g->n, QN_POOL_MEAN, true, one, NULL), QN_OK);
    assert_true(fabs(length(one, c) - 1) < 1e-6);
    for (size_t i = 0; i < c; i++) {
        double sum = 0;
        for (size_t t = 0; t < g->n; t++)
            sum += (double)all[t * c + i];
        other[i] = (float)(sum / (double)g->n);
    }
    double len = length(other, c);
    for (size_t i = 0; i < c; i++)
        assert_true(fabs((double)one[i] - (double)other[i] / len) < 1e-6);
    assert_int_equal(qn_embed(e, g->prompt, g->n, QN_POOL_NONE, true, other, NULL), QN_OK);
    for (size_t t = 0; t < g->n; t++)
        assert_true(fabs(length(other + t * c, c) - 1) < 1e-6);
    qn_engine_close(e);
    static const int32_t chunks[] = {1, 7, 16}; /* an encoder takes its room on demand */
    for (size_t i = 0; i < 3; i++) {
        e = engine(g, cpu, chunks[i], 1 + (int32_t)i, 0);
        assert_int_equal(qn_embed(e, g->prompt, 2, QN_POOL_AUTO, false, one, NULL), QN_OK);
        assert_int_equal(qn_embed(e, g->prompt, g->n, QN_POOL_NONE, false, other, NULL), QN_OK);
        assert_memory_equal(other, all, g->n * c * 4);
        qn_engine_close(e);
    }
    return worst;
}

static bool check(const char *dir, const char *name, double bound)
{
    golden g;
    double worst = 0;
    const char *levels[8];
    if (!load(dir, name, &g))
        return false;
    size_t n = qn_cpu_levels(levels, 8);
    for (size_t i = 0; i < n; i++) {
        double x = check_level(&g, levels[i]);
        worst = worst > x ? worst : x;
        if (!(x <= bound))
            fail_msg("%s at %s: nmse %g is over %g", name, levels[i], x, bound);
    }
    printf("figure: embeddings of %s: nmse at most %.2g (bound %.0e), pooled and per token, %zu levels\n", name, worst, bound, n);
    g.pooled[3] += 0.01f * (float)length(g.pooled, g.cols); /* planted */
    static float one[256];
    qn_engine *e = engine(&g, NULL, 512, 1, 0);
    assert_int_equal(qn_embed(e, g.prompt, g.n, QN_POOL_AUTO, false, one, NULL), QN_OK);
    assert_true(nmse(one, g.pooled, g.cols) > bound);
    qn_engine_close(e);
    unload(&g);
    return true;
}

static void own(void **state)
{
    (void)state;
    assert_true(check("tests/data/models", "bert", 1e-6));
}

static void shared(void **state)
{
    (void)state;
    char dir[512];
    const char *s = getenv("SHARED");
    (void)snprintf(dir, sizeof dir, "%s/golden/models", s ? s : "../shared");
    if (!check(dir, "nomic-bert", 1e-9)) {
        printf("skipped: no %s here\n", dir);
        skip();
    }
    assert_true(check(dir, "qwen3-embedding", 1e-9));
}

static void refused(void **state)
{
    (void)state;
    golden g;
    qn_err err;
    static float out[512 * 256];
    qn_request *r = NULL;
    qn_request_options o;
    qn_perplexity p;
    assert_true(load("tests/data/models", "bert", &g));
    qn_engine *e = engine(&g, NULL, 8, 1, 32);
    int32_t many[40] = {0}, bad[2] = {1, 512};
    assert_int_equal(qn_embed(e, many, 40, QN_POOL_AUTO, true, out, &err), QN_ECONTEXT);
    assert_non_null(strstr(err.what, "40 tokens"));
    assert_non_null(strstr(err.what, "holds 32"));
    assert_int_equal(qn_embed(e, many, 32, QN_POOL_AUTO, true, out, &err), QN_OK);
    assert_int_equal(qn_embed(e, many, 0, QN_POOL_AUTO, true, out, &err), QN_EINVAL);
    assert_int_equal(qn_embed(e, bad, 2, QN_POOL_AUTO, true, out, &err), QN_EINVAL);
    assert_int_equal(qn_embed(e, many, 2, (qn_pooling)17, true, out, &err), QN_EINVAL);
    assert_int_equal(qn_logits(e, many, 2, 1, out, &err), QN_EUNSUPPORTED);
    assert_non_null(strstr(err.what, "quern embed"));
    assert_int_equal(qn_measure_perplexity(e, many, 40, 16, NULL, NULL, &p, &err), QN_EUNSUPPORTED);
    qn_request_options_init(&o);
    o.tokens = many;
    o.n_tokens = 2;
    assert_int_equal(qn_request_open(e, &o, &r, &err), QN_EUNSUPPORTED);
    assert_non_null(strstr(err.what, "quern embed"));

    uint64_t before = qn__alloc_count();
    qn_engine *f = engine(&g, NULL, 8, 1, 64);
    uint64_t opening = qn__alloc_count() - before;
    assert_int_equal(qn_embed(f, many, 40, QN_POOL_MEAN, true, out, &err), QN_OK);
    uint64_t total = qn__alloc_count() - before;
    qn_engine_close(f);
    uint64_t clean = 0;
    for (uint64_t i = 1; i <= total - opening; i++) { /* an engine whose room could not grow goes on */
        f = engine(&g, NULL, 8, 1, 64);
        qn__alloc_fail_at(i);
        qn_status st = qn_embed(f, many, 40, QN_POOL_MEAN, true, out + 256, &err);
        qn__alloc_fail_at(0);
        assert_true(st == QN_ENOMEM || st == QN_OK); /* what only remembers pages may go without memory */
        clean += st == QN_ENOMEM;
        if (!st)
            assert_memory_equal(out, out + 256, g.cols * 4);
        assert_int_equal(qn_embed(f, many, 40, QN_POOL_MEAN, true, out + 256, &err), QN_OK);
        assert_memory_equal(out, out + 256, g.cols * 4);
        qn_engine_close(f);
    }
    assert_true(clean >= 4);
    qn_engine_close(e);
    unload(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(own), cmocka_unit_test(shared), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
