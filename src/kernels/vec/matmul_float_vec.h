/* matmul_float_vec.h - matmul with float activations; the body of every matmul_float_LEVEL.c: F32, F16, BF16.
 *
 * Lane j of one accumulator per (row, token) takes k = j mod VF_N ascending, one fma each, a last incomplete vector
 * filled up with zeros; at the end the lanes are summed by the tree of vf_sum. Both ways below do just that:
 *
 *   few     a token or two: weights are converted as they are read
 *   many    ROWS rows are converted a CHUNK at a time and multiplied with every token of a tile; the accumulators wait
 *           in memory for the next chunk */
#include "kernels/kernels.h"

enum { ROWS = VF_N / 2, TOKENS = 3, TOKEN_TILE = 64, CHUNK = 256, MANY = 3, AHEAD = 512 };

typedef struct weight {
    size_t size;
    vf (*load)(const void *p);
    vf (*load_n)(const void *p, int n);
} weight;

INLINE vf load_f32(const void *p)
{
    return vf_load(p);
}

INLINE vf load_f32_n(const void *p, int n)
{
    return vf_load_n(p, n);
}

INLINE const float *x_row(const qn_matmul *a, int t)
{
    return (const float *)((const char *)a->x + (size_t)t * a->x_stride);
}

INLINE const unsigned char *w_row(const qn_matmul *a, int r)
{
    return (const unsigned char *)a->w + (size_t)r * a->w_stride;
}

/* ---- few ---- */

INLINE void few_rows(const qn_matmul *a, const weight wt, int r, int t, const int R)
{
    const unsigned char *w[ROWS];
    const float *x = x_row(a, t);
    vf acc[ROWS];
    UNROLL
    for (int i = 0; i < R; i++) {
        w[i] = w_row(a, r + i);
        acc[i] = vf_zero();
    }
    int k = 0;
    for (; k + VF_N <= a->k; k += VF_N) {
        vf v = vf_load(x + k);
        UNROLL
        for (int i = 0; i < R; i++) {
            const unsigned char *p = w[i] + (size_t)k * wt.size;
            __builtin_prefetch(p + AHEAD, 0, 2);
            acc[i] = vf_fma(wt.load(p), v, acc[i]);
        }
    }
    int left = a->k - k;
    UNROLL
    for (int i = 0; i < R; i++) {
        if (left)
            acc[i] = vf_fma(wt.load_n(w[i] + (size_t)k * wt.size, left), vf_load_n(x + k, left), acc[i]);
        a->y[(size_t)t * a->y_stride + (size_t)(r + i)] = vf_sum(acc[i]);
    }
}

INLINE void few(const qn_matmul *a, const weight wt)
{
    int r = 0;
    for (; r + ROWS <= a->rows; r += ROWS)
        for (int t = 0; t < a->tokens; t++)
            few_rows(a, wt, r, t, ROWS);
    for (; r < a->rows; r++)
        for (int t = 0; t < a->tokens; t++)
            few_rows(a, wt, r, t, 1);
}

/* ---- many ---- */

/* dst[0..n) = elements k.. of a row of weights, filled up with zeros to whole vectors. */
typedef void fill_fn(const unsigned char *row, int k, int n, float *dst);

INLINE void convert(const unsigned char *row, int k, int n, float *dst, const weight wt)
{
    int i = 0;
    for (; i + VF_N <= n; i += VF_N)
        vf_store(dst + i, wt.load(row + (size_t)(k + i) * wt.size));
    if (i < n)
        vf_store(dst + i, wt.load_n(row + (size_t)(k + i) * wt.size, n - i));
}

/* acc[t][i] += w[i] * x[t] over elements k .. k+n of T tokens from t. */
INLINE void chunk_tokens(const qn_matmul *a, const float (*w)[CHUNK], int t, int k, int n, vf (*acc)[ROWS], const int T)
{
    const float *x[TOKENS];
    vf s[ROWS][TOKENS];
    UNROLL
    for (int j = 0; j < T; j++) {
        x[j] = x_row(a, t + j) + k;
        UNROLL
        for (int i = 0; i < ROWS; i++)
            s[i][j] = acc[j][i];
    }
    for (int c = 0; c < n; c += VF_N) {
        vf v[TOKENS];
        UNROLL
        for (int j = 0; j < T; j++)
            v[j] = n - c < VF_N ? vf_load_n(x[j] + c, n - c) : vf_load(x[j] + c);
        UNROLL
        for (int i = 0; i < ROWS; i++) {
            vf q = vf_pin(vf_load(w[i] + c));
            UNROLL
            for (int j = 0; j < T; j++)
                s[i][j] = vf_fma(q, v[j], s[i][j]);
        }
    }
    UNROLL
    for (int j = 0; j < T; j++) {
        UNROLL
        for (int i = 0; i < ROWS; i++)
            acc[j][i] = s[i][j];
    }
}

/* nr rows from r, nt tokens from t0. */
INLINE void many_rows(const qn_matmul *a, fill_fn *fill, int r, int nr, int t0, int nt)
{
    _Alignas(64) float w[ROWS][CHUNK];
    vf acc[TOKEN_TILE][ROWS];
    for (int t = 0; t < nt; t++)
        for (int i = 0; i < ROWS; i++)
            acc[t][i] = vf_zero();
    for (int k = 0; k < a->k; k += CHUNK) {
        int n = a->k - k < CHUNK ? a->k - k : CHUNK, t = 0;
        for (int i = 0; i < ROWS; i++) /* a short last group repeats its last row */
            fill(w_row(a, r + (i < nr ? i : nr - 1)), k, n, w[i]);
        for (; t + TOKENS <= nt; t += TOKENS)
            chunk_tokens(a, w, t0 + t, k, n, acc + t, TOKENS);
        for (; t < nt; t++)
            chunk_tokens(a, w, t0 + t, k, n, acc + t, 1);
    }
    for (int t = 0; t < nt; t++)
        for (int i = 0; i < nr; i++)
            a->y[(size_t)(t0 + t) * a->y_stride + (size_t)(r + i)] = vf_sum(acc[t][i]);
}

/* A tile's activations should stay in the second-level cache while all rows go by. */
INLINE void many(const qn_matmul *a, fill_fn *fill)
{
    int tile = a->k > 4096 ? TOKEN_TILE / 2 : TOKEN_TILE;
    for (int t = 0; t < a->tokens; t += tile)
        for (int r = 0; r < a->rows; r += ROWS)
            many_rows(a, fill, r, a->rows - r < ROWS ? a->rows - r : ROWS, t,
                      a->tokens - t < tile ? a->tokens - t : tile);
}

static const weight f32 = {4, load_f32, load_f32_n}, f16 = {2, vf_load_f16, vf_load_f16_n},
                    bf16 = {2, vf_load_bf16, vf_load_bf16_n};

INLINE void fill_f32(const unsigned char *row, int k, int n, float *dst)
{
    convert(row, k, n, dst, f32);
}

INLINE void fill_f16(const unsigned char *row, int k, int n, float *dst)
{
    convert(row, k, n, dst, f16);
}

INLINE void fill_bf16(const unsigned char *row, int k, int n, float *dst)
{
    convert(row, k, n, dst, bf16);
}

void VF_NAME(matmul_F32)(const qn_matmul *a)
{
    if (a->tokens < MANY)
        few(a, f32);
    else
        many(a, fill_f32);
}

void VF_NAME(matmul_F16)(const qn_matmul *a)
{
    if (a->tokens < MANY)
        few(a, f16);
    else
        many(a, fill_f16);
}

void VF_NAME(matmul_BF16)(const qn_matmul *a)
{
    if (a->tokens < MANY)
        few(a, bf16);
    else
        many(a, fill_bf16);
}
