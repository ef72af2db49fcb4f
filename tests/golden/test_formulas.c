/* test_formulas.c - families for which no golden file exists, against their definitions written out here in doubles:
 * gpt2 (Radford 2019: learned positions, LayerNorm, one fused QKV matrix, GELU) and olmoe (Muennighoff 2024: RMS norm
 * over all heads of Q and K at once, softmax router whose weights are not renormalised).
 *
 * The oracle shares nothing with the decoder: plain loops over plain arrays, a whole prompt at a time. */
#include <math.h>
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

enum {
    E = 32,
    HEADS = 4,
    D = E / HEADS,
    FF = 48,
    VOCAB = 64,
    CTX = 32,
    LAYERS = 2,
    N = 19,
    EXPERTS = 5,
    USED = 2,
    FX = 24,
    MAX_TENSORS = 64
};

/* A model as the test knows it: named float tensors. */
typedef struct tensor {
    char name[48];
    int k, rows, count;
    float *v;
} tensor;

static tensor tensors[MAX_TENSORS];
static int n_tensors;
static uint64_t seed;

static float noise(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(seed >> 40) / 8388608.0 - 1.0);
}

static void add(int layer, const char *what, int k, int rows, int count, float scale, float centre)
{
    tensor *t = &tensors[n_tensors++];
    if (layer >= 0)
        (void)snprintf(t->name, sizeof t->name, "blk.%d.%s", layer, what);
    else
        (void)snprintf(t->name, sizeof t->name, "%s", what);
    t->k = k;
    t->rows = rows;
    t->count = count;
    int n = k * rows * count;
    t->v = malloc((size_t)n * sizeof *t->v);
    for (int i = 0; i < n; i++)
        t->v[i] = centre + scale * noise();
}

static const float *get(int layer, const char *what)
{
    char name[48];
    if (layer >= 0)
        (void)snprintf(name, sizeof name, "blk.%d.%s", layer, what);
    else
        (void)snprintf(name, sizeof name, "%s", what);
    for (int i = 0; i < n_tensors; i++)
        if (strcmp(tensors[i].name, name) == 0)
            return tensors[i].v;
    fail_msg("no %s", name);
    return NULL;
}

static void forget(void)
{
    while (n_tensors)
        free(tensors[--n_tensors].v);
    seed = 7;
}

/* ---- the definitions ---- */

static void matvec(const float *w, const float *b, const double *x, double *y, int k, int rows)
{
    for (int r = 0; r < rows; r++) {
        y[r] = b ? (double)b[r] : 0;
        for (int i = 0; i < k; i++)
            y[r] += (double)w[r * k + i] * x[i];
    }
}

static void layer_norm(const double *x, const float *w, const float *b, double *y)
{
    double mean = 0, var = 0;
    for (int i = 0; i < E; i++)
        mean += x[i] / E;
    for (int i = 0; i < E; i++)
        var += (x[i] - mean) * (x[i] - mean) / E;
    for (int i = 0; i < E; i++)
        y[i] = (x[i] - mean) / sqrt(var + 1e-5) * (double)w[i] + (double)b[i];
}

static void rms_norm(const double *x, const float *w, double *y)
{
    double sq = 0;
    for (int i = 0; i < E; i++)
        sq += x[i] * x[i] / E;
    for (int i = 0; i < E; i++)
        y[i] = x[i] / sqrt(sq + 1e-5) * (double)w[i];
}

/* out[t] = causal attention; q, k, v: [N][E], heads side by side. */
static void attention(double (*q)[E], double (*k)[E], double (*v)[E], double (*out)[E])
{
    for (int t = 0; t < N; t++)
        for (int h = 0; h < HEADS; h++) {
            double p[N], sum = 0;
            for (int s = 0; s <= t; s++) {
                p[s] = 0;
                for (int i = 0; i < D; i++)
                    p[s] += q[t][h * D + i] * k[s][h * D + i];
                sum += p[s] = exp(p[s] / sqrt(D));
            }
            for (int i = 0; i < D; i++) {
                out[t][h * D + i] = 0;
                for (int s = 0; s <= t; s++)
                    out[t][h * D + i] += p[s] / sum * v[s][h * D + i];
            }
        }
}

static void rope_halves(double *x, int pos)
{
    for (int h = 0; h < HEADS; h++)
        for (int i = 0; i < D / 2; i++) {
            double a = pos * pow(10000, -2.0 * i / D), *p = x + h * D + i, lo = p[0], hi = p[D / 2];
            p[0] = lo * cos(a) - hi * sin(a);
            p[D / 2] = lo * sin(a) + hi * cos(a);
        }
}

static void gpt2(const int32_t *tokens, double (*logits)[VOCAB])
{
    static double x[N][E], n[N][E], q[N][E], k[N][E], v[N][E], o[N][E];
    for (int t = 0; t < N; t++)
        for (int i = 0; i < E; i++)
            x[t][i] = (double)get(-1, "token_embd.weight")[tokens[t] * E + i] +
                      (double)get(-1, "position_embd.weight")[t * E + i];
    for (int l = 0; l < LAYERS; l++) {
        for (int t = 0; t < N; t++) {
            double qkv[3 * E];
            layer_norm(x[t], get(l, "attn_norm.weight"), get(l, "attn_norm.bias"), n[t]);
            matvec(get(l, "attn_qkv.weight"), get(l, "attn_qkv.bias"), n[t], qkv, E, 3 * E);
            memcpy(q[t], qkv, sizeof q[t]);
            memcpy(k[t], qkv + E, sizeof k[t]);
            memcpy(v[t], qkv + 2 * E, sizeof v[t]);
        }
        attention(q, k, v, o);
        for (int t = 0; t < N; t++) {
            double y[E], f[FF];
            matvec(get(l, "attn_output.weight"), get(l, "attn_output.bias"), o[t], y, E, E);
            for (int i = 0; i < E; i++)
                x[t][i] += y[i];
            layer_norm(x[t], get(l, "ffn_norm.weight"), get(l, "ffn_norm.bias"), n[t]);
            matvec(get(l, "ffn_up.weight"), get(l, "ffn_up.bias"), n[t], f, E, FF);
            for (int i = 0; i < FF; i++)
                f[i] =
                    0.5 * f[i] * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (f[i] + 0.044715 * f[i] * f[i] * f[i])));
            matvec(get(l, "ffn_down.weight"), get(l, "ffn_down.bias"), f, y, FF, E);
            for (int i = 0; i < E; i++)
                x[t][i] += y[i];
        }
    }
    for (int t = 0; t < N; t++) {
        layer_norm(x[t], get(-1, "output_norm.weight"), get(-1, "output_norm.bias"), n[t]);
        matvec(get(-1, "token_embd.weight"), NULL, n[t], logits[t], E, VOCAB);
    }
}

static void olmoe(const int32_t *tokens, double (*logits)[VOCAB])
{
    static double x[N][E], n[N][E], q[N][E], k[N][E], v[N][E], o[N][E];
    for (int t = 0; t < N; t++)
        for (int i = 0; i < E; i++)
            x[t][i] = (double)get(-1, "token_embd.weight")[tokens[t] * E + i];
    for (int l = 0; l < LAYERS; l++) {
        for (int t = 0; t < N; t++) {
            double y[E];
            rms_norm(x[t], get(l, "attn_norm.weight"), n[t]);
            matvec(get(l, "attn_q.weight"), NULL, n[t], y, E, E);
            rms_norm(y, get(l, "attn_q_norm.weight"), q[t]);
            matvec(get(l, "attn_k.weight"), NULL, n[t], y, E, E);
            rms_norm(y, get(l, "attn_k_norm.weight"), k[t]);
            matvec(get(l, "attn_v.weight"), NULL, n[t], v[t], E, E);
            rope_halves(q[t], t);
            rope_halves(k[t], t);
        }
        attention(q, k, v, o);
        for (int t = 0; t < N; t++) {
            double y[E], p[EXPERTS], sum = 0, g[FX], u[FX];
            matvec(get(l, "attn_output.weight"), NULL, o[t], y, E, E);
            for (int i = 0; i < E; i++)
                x[t][i] += y[i];
            rms_norm(x[t], get(l, "ffn_norm.weight"), n[t]);
            matvec(get(l, "ffn_gate_inp.weight"), NULL, n[t], p, E, EXPERTS);
            for (int e = 0; e < EXPERTS; e++)
                sum += p[e] = exp(p[e]);
            for (int c = 0; c < USED; c++) {
                int best = 0;
                for (int e = 1; e < EXPERTS; e++)
                    if (p[e] > p[best])
                        best = e;
                matvec(get(l, "ffn_gate_exps.weight") + best * E * FX, NULL, n[t], g, E, FX);
                matvec(get(l, "ffn_up_exps.weight") + best * E * FX, NULL, n[t], u, E, FX);
                for (int i = 0; i < FX; i++)
                    u[i] *= g[i] / (1 + exp(-g[i]));
                matvec(get(l, "ffn_down_exps.weight") + best * E * FX, NULL, u, y, FX, E);
                for (int i = 0; i < E; i++)
                    x[t][i] += p[best] / sum * y[i];
                p[best] = -1;
            }
        }
    }
    for (int t = 0; t < N; t++) {
        rms_norm(x[t], get(-1, "output_norm.weight"), n[t]);
        matvec(get(-1, "output.weight"), NULL, n[t], logits[t], E, VOCAB);
    }
}

/* ---- the same model as a file ---- */

static void make(const char *arch)
{
    bool moe = strcmp(arch, "olmoe") == 0;
    forget();
    add(-1, "token_embd.weight", E, VOCAB, 1, 1, 0);
    add(-1, "output_norm.weight", E, 1, 1, 0.3f, 1);
    if (moe)
        add(-1, "output.weight", E, VOCAB, 1, 0.5f, 0);
    else
        add(-1, "position_embd.weight", E, CTX, 1, 0.5f, 0), add(-1, "output_norm.bias", E, 1, 1, 0.2f, 0);
    for (int l = 0; l < LAYERS; l++) {
        add(l, "attn_norm.weight", E, 1, 1, 0.3f, 1);
        add(l, "ffn_norm.weight", E, 1, 1, 0.3f, 1);
        add(l, "attn_output.weight", E, E, 1, 0.3f, 0);
        if (moe) {
            add(l, "attn_q.weight", E, E, 1, 0.4f, 0);
            add(l, "attn_k.weight", E, E, 1, 0.4f, 0);
            add(l, "attn_v.weight", E, E, 1, 0.4f, 0);
            add(l, "attn_q_norm.weight", E, 1, 1, 0.3f, 1.5f);
            add(l, "attn_k_norm.weight", E, 1, 1, 0.3f, 1.5f);
            add(l, "ffn_gate_inp.weight", E, EXPERTS, 1, 0.5f, 0);
            add(l, "ffn_gate_exps.weight", E, FX, EXPERTS, 0.4f, 0);
            add(l, "ffn_up_exps.weight", E, FX, EXPERTS, 0.4f, 0);
            add(l, "ffn_down_exps.weight", FX, E, EXPERTS, 0.4f, 0);
        } else {
            add(l, "attn_norm.bias", E, 1, 1, 0.2f, 0);
            add(l, "ffn_norm.bias", E, 1, 1, 0.2f, 0);
            add(l, "attn_qkv.weight", E, 3 * E, 1, 0.4f, 0);
            add(l, "attn_qkv.bias", 3 * E, 1, 1, 0.2f, 0);
            add(l, "attn_output.bias", E, 1, 1, 0.2f, 0);
            add(l, "ffn_up.weight", E, FF, 1, 0.4f, 0);
            add(l, "ffn_up.bias", FF, 1, 1, 0.2f, 0);
            add(l, "ffn_down.weight", FF, E, 1, 0.3f, 0);
            add(l, "ffn_down.bias", E, 1, 1, 0.2f, 0);
        }
    }
}

static void save(const char *arch, const char *path)
{
    qn_gguf_writer *w;
    char key[64];
    bool moe = strcmp(arch, "olmoe") == 0;
    assert_int_equal(qn__gguf_create(path, &w, NULL), QN_OK);
    qn__gguf_put_str(w, "general.architecture", arch, strlen(arch));
    const struct {
        const char *key;
        int v;
    } ints[] = {{"block_count", LAYERS},
                {"context_length", CTX},
                {"embedding_length", E},
                {"attention.head_count", HEADS},
                {"feed_forward_length", moe ? FX : FF},
                {"expert_count", moe ? EXPERTS : -1},
                {"expert_used_count", moe ? USED : -1}};
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
        (void)snprintf(key, sizeof key, "%s.%s", arch, ints[i].key);
        if (ints[i].v >= 0)
            qn__gguf_put_int(w, key, QN_GGUF_U32, ints[i].v);
    }
    (void)snprintf(key, sizeof key, "%s.attention.layer_norm_%sepsilon", arch, moe ? "rms_" : "");
    qn__gguf_put_float(w, key, QN_GGUF_F32, 1e-5);
    for (int i = 0; i < n_tensors; i++) {
        const tensor *t = &tensors[i];
        uint64_t dims[3] = {(uint64_t)t->k, (uint64_t)t->rows, (uint64_t)t->count};
        qn__gguf_put_tensor(w, t->name, QN_F32, t->count > 1 ? 3 : t->rows > 1 ? 2 : 1, dims);
    }
    assert_int_equal(qn__gguf_begin_data(w, NULL), QN_OK);
    for (int i = 0; i < n_tensors; i++)
        assert_int_equal(
            qn__gguf_write(w, tensors[i].v, (size_t)(tensors[i].k * tensors[i].rows * tensors[i].count) * 4, NULL),
            QN_OK);
    assert_int_equal(qn__gguf_commit(w, NULL), QN_OK);
}

static double nmse(const float *got, double (*want)[VOCAB])
{
    double num = 0, den = 0;
    for (int t = 0; t < N; t++)
        for (int i = 0; i < VOCAB; i++) {
            double d = (double)got[t * VOCAB + i] - want[t][i];
            num += d * d;
            den += want[t][i] * want[t][i];
        }
    return num / den;
}

static void check(const char *arch, void (*oracle)(const int32_t *, double (*)[VOCAB]))
{
    static double want[N][VOCAB];
    static float got[N * VOCAB];
    char path[] = "/tmp/quern-formula-XXXXXX";
    int32_t tokens[N];
    qn_row rows[N];
    qn_gguf *g;
    qn_decoder *d;
    qn_err err;
    assert_true(close(mkstemp(path)) == 0);
    make(arch);
    save(arch, path);
    for (int i = 0; i < N; i++)
        rows[i] = (qn_row){.token = tokens[i] = (i * 37 + 11) % VOCAB, .pos = i, .out = i};
    oracle(tokens, want);
    assert_int_equal(qn__gguf_open(path, &g, NULL), QN_OK);
    if (qn__decoder_open(g, &d, &err) != QN_OK)
        fail_msg("%s: %s: %s", arch, err.where, err.what);
    for (int level = 0; level <= (int)qn__cpu_best(); level++) {
        qn_context *c;
        qn_context_options o = {
            .level = (qn_cpu)level, .n_threads = 1, .max_rows = N, .max_out = N, .n_ctx = CTX, .kv = QN__KV_F32};
        assert_int_equal(qn__context_open(d, &o, &c, NULL), QN_OK);
        unsigned char *page = qn__alloc_aligned(qn__decoder_page_bytes(d, QN__KV_F32)), *const pages[] = {page},
                      *const * tables[] = {pages};
        assert_int_equal(
            qn__context_step(c, &(qn_step){.rows = rows, .n_rows = N, .pages = tables, .n_seqs = 1, .logits = got},
                             NULL),
            QN_OK);
        double e = nmse(got, want);
        printf("figure: formula %s at %s: NMSE %.1e (<= 1e-9)\n", arch, qn__cpu_name((qn_cpu)level), e);
        assert_true(e <= 1e-9);
        /* The harness must see a wrong number: one weight a little off. */
        tensors[2].v[3] += 0.05f;
        oracle(tokens, want);
        assert_true(nmse(got, want) > 1e-9);
        tensors[2].v[3] -= 0.05f;
        oracle(tokens, want);
        qn__free_aligned(page);
        qn__context_close(c);
    }
    qn__decoder_close(d);
    qn__gguf_close(g);
    (void)unlink(path);
    forget();
}

static void check_gpt2(void **state)
{
    (void)state;
    check("gpt2", gpt2);
}

static void check_olmoe(void **state)
{
    (void)state;
    check("olmoe", olmoe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(check_gpt2), cmocka_unit_test(check_olmoe)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
