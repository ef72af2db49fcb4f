/* kernels.c - how fast the kernels are, one thread: GB/s of weights for one token from memory (beside what this thread
 * reads at all) and from cache, GOP/s for 8 tokens and for a prompt, of weights as they lie in the file and packed; and
 * attention. Per type and level. Medians. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/file.h"
#include "base/mem.h"
#include "kernels/kernels.h"
#include "kernels/pack.h"

enum { K = 1536, PROMPT = 512, PROMPT_ROWS = 512, FEW = 8, RUNS = 5 };
static const size_t STREAM = (size_t)448 << 20; /* bytes of weights: more than caches hold */

static unsigned char *weights, *acts;
static float *out;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double (*once)(void *), void *arg, int runs)
{
    double t[RUNS];
    for (int i = 0; i < runs; i++)
        t[i] = once(arg);
    qsort(t, (size_t)runs, sizeof *t, by_value);
    return t[runs / 2];
}

/* Ordinary values everywhere: every 16 bits are a half float between 2^-8 and 2^-6, also read as anything else. */
static void fill(void)
{
    uint64_t z = 1;
    for (size_t i = 0; i < STREAM; i += 8) {
        z = z * 6364136223846793005u + 1442695040888963407u;
        uint64_t v = (z >> 7 & 0x03ff03ff03ff03ffu) | 0x2000200020002000u;
        memcpy(weights + i, &v, 8);
    }
}

static double read_all(void *arg)
{
    uint64_t s[4] = {0}, *w = (uint64_t *)(void *)weights;
    double t = qn__now();
    for (size_t i = 0; i < STREAM / 8; i += 16)
        for (size_t j = 0; j < 16; j += 4) {
            s[0] ^= w[i + j];
            s[1] ^= w[i + j + 1];
            s[2] ^= w[i + j + 2];
            s[3] ^= w[i + j + 3];
        }
    *(volatile uint64_t *)arg = s[0] + s[1] + s[2] + s[3];
    return qn__now() - t;
}

typedef struct job {
    const qn_kernels *k;
    qn_type type;
    qn_matmul m;
} job;

static double one_matmul(void *arg)
{
    job *j = arg;
    double t = qn__now();
    j->k->matmul[j->type](&j->m);
    return qn__now() - t;
}

/* The median's seconds for `rows` rows and `tokens` tokens. */
static double timed(job *j, int rows, int tokens, int runs)
{
    j->m.rows = rows;
    j->m.tokens = tokens;
    j->m.y_stride = (size_t)rows;
    return median(one_matmul, j, runs);
}

/* MXFP4's scales would be denormals or infinities, which are slow. */
static void tame(const qn_kernels *k, size_t row, bool packed)
{
    size_t across = packed ? (size_t)k->lanes : 1, block = 17 * across;
    (void)row;
    for (size_t i = 0; i + block <= STREAM; i += block)
        memset(weights + i, 120, across);
}

static void matmuls(const qn_kernels *k, qn_type type, bool packed)
{
    const qn_type_info *info = qn__type_info(type);
    qn_act act = k->act[type];
    size_t row = K / info->block * info->bytes, stride = qn__act_bytes(act, K);
    bool slow = k->level == QN_CPU_REF;
    int rows = (int)((slow ? STREAM / 64 : STREAM) / row) / 64 * 64, tokens = slow ? 8 : PROMPT;
    if (type == QN_MXFP4)
        tame(k, row, packed);
    for (int t = 0; t < PROMPT; t++) {
        float v[K];
        for (int i = 0; i < K; i++)
            v[i] = (float)((i + t) * 7 % 255 - 127) * 0.01f;
        k->prepare[act](v, acts + (size_t)t * stride, K);
    }
    job j = {
        k, type, {.w = weights, .w_stride = row, .packed = packed, .x = acts, .x_stride = stride, .y = out, .k = K}};
    double memory = timed(&j, rows, 1, slow ? 1 : 3);
    double cache = timed(&j, PROMPT_ROWS, 1, RUNS), few = timed(&j, PROMPT_ROWS, FEW, RUNS);
    double prompt = timed(&j, PROMPT_ROWS, tokens, slow ? 1 : RUNS), mass = (double)row * PROMPT_ROWS;
    printf("%-7s %-7s %-6s %8.2f GB/s %8.2f cached %9.1f GOP/s of %d %9.1f of %d\n", qn__cpu_name(k->level), info->name,
           packed ? "packed" : "", (double)row * rows / memory * 1e-9, mass / cache * 1e-9,
           2.0 * K * PROMPT_ROWS * FEW / few * 1e-9, FEW, 2.0 * K * PROMPT_ROWS * tokens / prompt * 1e-9, tokens);
}

typedef struct attention_job {
    const qn_kernels *k;
    qn_attention a;
} attention_job;

static double one_attention(void *arg)
{
    attention_job *j = arg;
    double t = qn__now();
    j->k->attention(&j->a);
    return qn__now() - t;
}

static void attention(const qn_kernels *k, int n_q, qn_kv kv)
{
    enum { HEAD = 128, PAGES = 64 };
    static const char *const names[] = {"f16", "f32", "q8_0"};
    static float q[QN_ATTENTION_MAX_Q][HEAD], o[QN_ATTENTION_MAX_Q][HEAD];
    const float *qp[QN_ATTENTION_MAX_Q];
    float *op[QN_ATTENTION_MAX_Q];
    int32_t pos[QN_ATTENTION_MAX_Q], lo[QN_ATTENTION_MAX_Q] = {0};
    const unsigned char *pages[PAGES];
    size_t half = qn__kv_bytes(kv, HEAD);
    float v[HEAD];
    for (int i = 0; i < HEAD; i++)
        v[i] = (float)(i % 17 - 8) * 0.1f;
    for (int p = 0; p < PAGES; p++) {
        unsigned char *page = acts + (size_t)p * half * 2;
        pages[p] = page;
        for (int s = 0; s < QN_PAGE_TOKENS; s++)
            k->kv_store(kv, v, v, HEAD, HEAD, page, page + half, s);
    }
    for (int j = 0; j < n_q; j++) {
        qp[j] = memcpy(q[j], v, sizeof v);
        op[j] = o[j];
        pos[j] = PAGES * QN_PAGE_TOKENS - 1;
    }
    attention_job at = {k,
                        {.q = qp,
                         .out = op,
                         .pos = pos,
                         .lo = lo,
                         .n_q = n_q,
                         .pages = pages,
                         .v_off = half,
                         .head_k = HEAD,
                         .head_v = HEAD,
                         .kv = kv,
                         .scale = 0.08f}};
    double t = median(one_attention, &at, k->level == QN_CPU_REF ? 1 : RUNS);
    printf("%-7s %-4s %2d queries: %8.2f GB/s %8.1f GFLOP/s\n", qn__cpu_name(k->level), names[kv], n_q,
           (double)half * 2 * PAGES / t * 1e-9, 4.0 * HEAD * PAGES * QN_PAGE_TOKENS * n_q / t * 1e-9);
}

int main(int argc, char **argv)
{
    static const qn_type types[] = {QN_F32,   QN_F16,   QN_BF16,    QN_Q8_0,   QN_Q4_0,   QN_Q5_0,    QN_Q4_K,
                                    QN_Q5_K,  QN_Q6_K,  QN_Q4_1,    QN_Q5_1,   QN_IQ4_NL, QN_MXFP4,   QN_NVFP4,
                                    QN_Q1_0,  QN_Q2_0,  QN_Q2_K,    QN_Q3_K,   QN_IQ4_XS, QN_TQ1_0,   QN_TQ2_0,
                                    QN_IQ1_S, QN_IQ1_M, QN_IQ2_XXS, QN_IQ2_XS, QN_IQ2_S,  QN_IQ3_XXS, QN_IQ3_S};
    int levels = (int)qn_cpu_levels(NULL, 0);
    uint64_t sink;
    weights = qn__alloc_aligned(STREAM);
    acts = qn__alloc_aligned((size_t)16 << 20);
    out = qn__alloc_aligned((size_t)16 << 20);
    if (!weights || !acts || !out) {
        fprintf(stderr, "bench: not enough memory: %zu MiB are needed\n", (STREAM >> 20) + 32);
        return 1;
    }
    fill();
    printf("one thread, k = %d; 1 token: GB/s of weights from memory and from cache; %d and %d tokens: GOP/s\n", K, FEW,
           PROMPT);
    printf("reading alone: %.2f GB/s\n", (double)STREAM / median(read_all, &sink, 3) * 1e-9);
    for (int l = levels - 1; l >= 0; l--)
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
            const qn_kernels *k = qn__kernels((qn_cpu)l);
            if (argc > 1 && strcmp(argv[1], qn__type_info(types[i])->name) != 0)
                continue;
            matmuls(k, types[i], false);
            if (qn__kernels_pack(k, types[i]))
                matmuls(k, types[i], true);
        }
    for (int l = levels - 1; l >= 0 && argc < 2; l--)
        for (int kv = 0; kv < QN__KV__COUNT; kv++) {
            attention(qn__kernels((qn_cpu)l), 6, (qn_kv)kv);
            attention(qn__kernels((qn_cpu)l), 12, (qn_kv)kv);
        }
    return 0;
}
