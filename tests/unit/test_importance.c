/* Importance matrices measured by a model: sums against a direct computation, experts against their router, the same bytes
 * however the text is cut, and a quantised file whose weighted error is smaller with it than without. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "formats/imatrix.h"
#include "kernels/dequant.h"

#define OK(x)                                                                                                          \
    do {                                                                                                               \
        qn_err err = {0};                                                                                            \
        if ((x) != QN_OK)                                                                                              \
            fail_msg("%s: %s: %s", #x, err.where, err.what);                                                           \
    } while (0)

enum { N = 200, CHUNK = 50 };
static const char dense[] = "tests/data/models/qwen2.gguf", moe[] = "tests/data/models/qwen3moe.gguf";
static char folder[] = "/tmp/quern-importance-XXXXXX";
static int32_t tokens[N];

static int setup(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < N; i++)
        tokens[i] = (int32_t)((i + 1) * 2654435761u >> 9) % 500;
    return mkdtemp(folder) ? 0 : -1;
}
static int teardown(void **state)
{
    (void)state;
    return rmdir(folder); /* fails when something was left behind */
}

static char *in_folder(char *buf, const char *name)
{
    (void)snprintf(buf, 128, "%s/%s", folder, name);
    return buf;
}

static qn_status measure_with(const char *file, int32_t chunk, int32_t threads, size_t n, const qn_imatrix_options *o,
                              qn_imatrix_result *r, qn_err *err)
{
    qn_model *m = NULL;
    qn_engine *e = NULL;
    qn_engine_options eo;
    qn_engine_options_init(&eo);
    eo.n_ctx = CHUNK;
    eo.n_chunk = chunk;
    eo.n_threads = threads;
    eo.max_seqs = 1;
    qn_status st = qn_model_open(file, QN_OPEN_FULL, &m, err);
    if (!st)
        st = qn_engine_open(m, &eo, &e, err);
    if (!st)
        st = qn_measure_imatrix(e, tokens, n, o, r, err);
    qn_engine_close(e);
    qn_model_close(m);
    return st;
}

static qn_imatrix_result measure(const char *file, int32_t chunk, int32_t threads, const char *out)
{
    qn_imatrix_result r;
    const qn_imatrix_options o = {.path = out, .dataset = "numbers"};
    OK(measure_with(file, chunk, threads, N, &o, &r, &err));
    return r;
}

static qn_slice name(const char *s)
{
    return (qn_slice){s, strlen(s)};
}

/* Mean squares of what meets blk.0.attn_q: the normed embeddings of the tokens. */
static void directly(double *out, size_t k)
{
    qn_gguf *g = NULL;
    OK(qn__gguf_open(dense, &g, &err));
    const qn_gguf_tensor *embed = qn__gguf_find(g, "token_embd.weight"), *norm = qn__gguf_find(g, "blk.0.attn_norm.weight");
    float x[256], w[256];
    double eps = 0;
    assert_true(embed->dims[0] == k && k <= 256);
    OK(qn__gguf_float(g, "qwen2.attention.layer_norm_rms_epsilon", 0, &eps, &err));
    qn__dequant_row(norm->type, norm->data, w, k);
    memset(out, 0, k * sizeof *out);
    for (int i = 0; i < N; i++) {
        double sum = 0;
        qn__dequant_row(embed->type, embed->data + (size_t)tokens[i] * embed->row_bytes, x, k);
        for (size_t c = 0; c < k; c++)
            sum += (double)x[c] * (double)x[c];
        double scale = 1 / sqrt(sum / (double)k + eps);
        for (size_t c = 0; c < k; c++)
            out[c] += pow((double)x[c] * (double)w[c] * scale, 2) / N;
    }
    qn__gguf_close(g);
}

static void sums(void **state)
{
    (void)state;
    char path[128];
    float got[64];
    double want[64];
    bool found;
    qn_imatrix *m = NULL;
    qn_imatrix_result r = measure(dense, 512, 1, in_folder(path, "a"));
    assert_int_equal(r.chunks, 4);
    assert_int_equal(r.tokens, N);
    assert_int_equal(r.unmet, 0);
    OK(qn__imatrix_open(path, &m, &err));
    assert_int_equal(qn__imatrix_n(m), r.matrices);
    assert_int_equal(qn__imatrix_chunk_count(m), 4);
    assert_int_equal(qn__imatrix_chunk_size(m), CHUNK);
    assert_int_equal(qn__imatrix_dataset(m).n, 7);
    OK(qn__imatrix_get(m, name("blk.0.attn_q.weight"), 64, 1, got, &found, &err));
    assert_true(found);
    directly(want, 64);
    for (int i = 0; i < 64; i++)
        assert_true(fabs((double)got[i] - want[i]) < 1e-5 * want[i]);
    tokens[7]++; /* planted: another text */
    directly(want, 64);
    tokens[7]--;
    bool differs = false;
    for (int i = 0; i < 64; i++)
        differs = differs || fabs((double)got[i] - want[i]) > 1e-4 * want[i];
    assert_true(differs);
    OK(qn__imatrix_get(m, name("output.weight"), 64, 1, got, &found, &err));
    assert_false(found); /* tied: the embeddings are looked up */
    OK(qn__imatrix_get(m, name("token_embd.weight"), 64, 1, got, &found, &err));
    assert_false(found);
    qn__imatrix_close(m);
    assert_int_equal(unlink(path), 0);
}

/* Every row goes to n_used experts: theirs add up to that many times the router's. */
static void experts(void **state)
{
    (void)state;
    char path[128];
    qn_gguf *g = NULL, *model = NULL;
    qn_imatrix_result r = measure(moe, 512, 2, in_folder(path, "moe"));
    int64_t used = 0;
    OK(qn__gguf_open(path, &g, &err));
    OK(qn__gguf_open(moe, &model, &err));
    OK(qn__gguf_int(model, "qwen3moe.expert_used_count", 1, 64, 1, &used, &err));
    const qn_gguf_tensor *gate = qn__gguf_find(g, "blk.0.ffn_gate_exps.weight.in_sum2");
    const qn_gguf_tensor *down = qn__gguf_find(g, "blk.0.ffn_down_exps.weight.in_sum2");
    const qn_gguf_tensor *counts = qn__gguf_find(g, "blk.0.ffn_down_exps.weight.counts");
    const qn_gguf_tensor *router = qn__gguf_find(g, "blk.0.ffn_gate_inp.weight.in_sum2");
    const qn_gguf_tensor *last = qn__gguf_find(g, "output.weight.counts"), *first = qn__gguf_find(g, "blk.0.attn_q.weight.counts");
    assert_true(last && first && memcmp(last->data, first->data, 4) == 0); /* the output matrix meets every token as well */
    assert_true(gate && down && counts && router);
    size_t k = (size_t)gate->dims[0], n = (size_t)gate->dims[1], unmet = 0;
    assert_true(n > 1 && counts->dims[1] == n && down->dims[1] == n);
    double rows = 0;
    for (size_t e = 0; e < n; e++) {
        float c;
        memcpy(&c, counts->data + 4 * e, 4);
        rows += (double)c;
        unmet += c == 0;
    }
    assert_true(rows == (double)(N * used));
    assert_true(unmet <= r.unmet);
    for (size_t i = 0; i < k; i++) {
        double all = 0;
        float v;
        for (size_t e = 0; e < n; e++) {
            memcpy(&v, gate->data + 4 * (e * k + i), 4);
            all += (double)v;
        }
        memcpy(&v, router->data + 4 * i, 4);
        assert_true(fabs(all - (double)used * (double)v) < 1e-5 * all);
    }
    qn__gguf_close(g);
    qn__gguf_close(model);
    assert_int_equal(unlink(path), 0);
}

static void same_bytes(void **state)
{
    (void)state;
    static const char *const files[] = {dense, moe, "tests/data/models/nemotron-h.gguf"};
    static const struct { int32_t chunk, threads; } ways[] = {{512, 1}, {1, 1}, {7, 2}, {64, 3}};
    char path[128], *first = NULL, *other = NULL;
    for (size_t f = 0; f < 3; f++) {
        size_t n_first = 0, n_other = 0;
        for (size_t w = 0; w < 4; w++) {
            (void)measure(files[f], ways[w].chunk, ways[w].threads, in_folder(path, "s"));
            OK(qn__read_file(path, 1 << 24, w ? &other : &first, w ? &n_other : &n_first, &err));
            assert_int_equal(unlink(path), 0);
            if (w == 0)
                continue;
            assert_int_equal(n_other, n_first);
            assert_memory_equal(other, first, n_first);
            qn_free(other);
        }
        qn_free(first);
    }
}

/* Sum of importance times squared error over the matrices of a quantised file. */
static double weighted_error(const char *quantised, const qn_imatrix *m)
{
    qn_gguf *a = NULL, *b = NULL;
    double total = 0;
    OK(qn__gguf_open(dense, &a, &err));
    OK(qn__gguf_open(quantised, &b, &err));
    for (size_t i = 0; i < qn__imatrix_n(m); i++) {
        char key[96];
        float w[512], x[512], q[512];
        bool found;
        qn_slice s = qn__imatrix_tensor(m, i);
        (void)snprintf(key, sizeof key, "%.*s", (int)s.n, s.p);
        const qn_gguf_tensor *t = qn__gguf_find(a, key), *u = qn__gguf_find(b, key);
        assert_true(t && u && t->dims[0] <= 512);
        size_t k = (size_t)t->dims[0];
        OK(qn__imatrix_get(m, s, k, 1, w, &found, &err));
        for (size_t r = 0; r < t->dims[1]; r++) {
            qn__dequant_row(t->type, t->data + r * t->row_bytes, x, k);
            qn__dequant_row(u->type, u->data + r * u->row_bytes, q, k);
            for (size_t c = 0; c < k; c++)
                total += (double)w[c] * pow((double)x[c] - (double)q[c], 2);
        }
    }
    qn__gguf_close(a);
    qn__gguf_close(b);
    return total;
}

static void quantised_with_it(void **state)
{
    (void)state;
    char path[128], with[128], without[128];
    qn_imatrix *m = NULL;
    qn_quantize_options o;
    qn_quantize_result r;
    (void)measure(dense, 512, 1, in_folder(path, "im"));
    OK(qn__imatrix_open(path, &m, &err));
    static const char *const types[] = {"Q4_0", "IQ4_NL"};
    for (size_t i = 0; i < 2; i++) {
        qn_quantize_options_init(&o);
        o.type = types[i];
        o.n_threads = 1;
        OK(qn_quantize(dense, in_folder(without, "without"), &o, &r, &err));
        assert_int_equal(r.weighted, 0);
        o.imatrix = path;
        OK(qn_quantize(dense, in_folder(with, "with"), &o, &r, &err));
        assert_int_equal(r.weighted, qn__imatrix_n(m));
        double a = weighted_error(without, m), b = weighted_error(with, m);
        printf("figure: %s: weighted squared error with an importance matrix %.1f %% of the one without\n", types[i], 100 * b / a);
        assert_true(b < a);
        assert_int_equal(unlink(with), 0);
        assert_int_equal(unlink(without), 0);
    }
    qn__imatrix_close(m);
    assert_int_equal(unlink(path), 0);
}

static bool stop(void *arg, size_t done, size_t total)
{
    (void)arg;
    (void)total;
    return done < 2;
}

static void refused(void **state)
{
    (void)state;
    char path[128];
    qn_err why;
    qn_imatrix_result r;
    qn_imatrix_options o = {.path = in_folder(path, "never")};
    assert_int_equal(measure_with(dense, 512, 1, 0, &o, &r, &why), QN_EINVAL);
    o.n_ctx = CHUNK + 1;
    assert_int_equal(measure_with(dense, 512, 1, N, &o, &r, &why), QN_EINVAL);
    o.n_ctx = 1;
    assert_int_equal(measure_with(dense, 512, 1, N, &o, &r, &why), QN_EINVAL);
    o.n_ctx = 0;
    tokens[3] = 512;
    assert_int_equal(measure_with(dense, 512, 1, N, &o, &r, &why), QN_EINVAL);
    tokens[3] = 5;
    o.progress = stop;
    assert_int_equal(measure_with(dense, 512, 1, N, &o, &r, &why), QN_ECANCELLED);
    o = (qn_imatrix_options){.path = dense};
    assert_int_equal(measure_with(dense, 512, 1, N, &o, &r, &why), QN_EINVAL);
    o.path = "/nonexistent/folder/file";
    assert_int_equal(measure_with(dense, 512, 1, N, &o, &r, &why), QN_EIO);
    o.path = path;
    OK(measure_with(dense, 512, 1, 10, &o, &r, &err)); /* less than a chunk */
    assert_int_equal(r.chunks, 1);
    assert_int_equal(r.tokens, 10);
    assert_int_equal(unlink(path), 0);
    OK(measure_with("tests/data/models/bert.gguf", 8, 1, N, &o, &r, &err)); /* an encoder: a chunk at once */
    assert_int_equal(r.chunks, 4);
    assert_int_equal(unlink(path), 0);
}

static void allocation_fails(void **state)
{
    (void)state;
    char path[128];
    qn_imatrix_result r;
    const qn_imatrix_options o = {.path = in_folder(path, "f")};
    uint64_t before = qn__alloc_count(), failed = 0;
    OK(measure_with(moe, 16, 1, 20, &o, &r, &err));
    uint64_t total = qn__alloc_count() - before;
    assert_int_equal(unlink(path), 0);
    for (uint64_t i = 1; i <= total; i++) {
        qn_err err;
        qn__alloc_fail_at(i);
        qn_status st = measure_with(moe, 16, 1, 20, &o, &r, &err);
        qn__alloc_fail_at(0);
        failed += st == QN_ENOMEM;
        if (st)
            assert_int_equal(st, QN_ENOMEM);
        assert_int_equal(unlink(path), st ? -1 : 0); /* whole or not at all */
    }
    assert_true(failed > total / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums),    cmocka_unit_test(experts),          cmocka_unit_test(same_bytes), cmocka_unit_test(quantised_with_it),
        cmocka_unit_test(refused), cmocka_unit_test(allocation_fails),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
