/* matmul_float_vec.h - matmul with float activations; the body of matmul_float_avx2.c and matmul_float_avx512.c: F32, F16,
 * BF16, and the types without code of their own.
 *
 * Lane j of one accumulator per (row, token) takes k = j mod VF_N ascending, one fma each; at the end the lanes are summed by
 * the tree of vf_sum. Several rows and tokens at once hide the latency; they do not meet. */
#include "kernels/dequant.h"
#include "kernels/x86/x86.h"

enum { TOKENS = 4, ROWS = VF_N == 16 ? 4 : 2 }; /* a full tile: ROWS*TOKENS accumulators in registers */

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

/* R rows from r, T tokens from t. */
INLINE void tile(const qn_matmul *a, const weight wt, int r, int t, const int R, const int T)
{
    const unsigned char *w[ROWS * 2];
    const float *x[TOKENS];
    vf acc[ROWS * 2][TOKENS];
    UNROLL
    for (int i = 0; i < R; i++)
        w[i] = (const unsigned char *)a->w + (size_t)(r + i) * a->w_stride;
    UNROLL
    for (int j = 0; j < T; j++)
        x[j] = x_row(a, t + j);
    UNROLL
    for (int i = 0; i < R; i++)
        UNROLL
        for (int j = 0; j < T; j++)
            acc[i][j] = vf_zero();
    int k = 0;
    for (; k + VF_N <= a->k; k += VF_N) {
        vf xv[TOKENS];
        UNROLL
        for (int j = 0; j < T; j++)
            xv[j] = vf_load(x[j] + k);
        UNROLL
        for (int i = 0; i < R; i++) {
            vf v = wt.load(w[i] + (size_t)k * wt.size);
            UNROLL
            for (int j = 0; j < T; j++)
                acc[i][j] = vf_fma(v, xv[j], acc[i][j]);
        }
    }
    int left = a->k - k;
    UNROLL
    for (int i = 0; i < R; i++) {
        vf v = left ? wt.load_n(w[i] + (size_t)k * wt.size, left) : vf_zero();
        UNROLL
        for (int j = 0; j < T; j++) {
            if (left)
                acc[i][j] = vf_fma(v, vf_load_n(x[j] + k, left), acc[i][j]);
            a->y[(size_t)(t + j) * a->y_stride + (size_t)(r + i)] = vf_sum(acc[i][j]);
        }
    }
}

INLINE void rows_of(const qn_matmul *a, const weight wt, int r, const int R)
{
    int t = 0;
    for (; R <= ROWS && t + TOKENS <= a->tokens; t += TOKENS)
        tile(a, wt, r, t, R, R <= ROWS ? TOKENS : 1);
    for (; t < a->tokens; t++)
        tile(a, wt, r, t, R, 1);
}

INLINE void matmul(const qn_matmul *a, const weight wt)
{
    int r = 0;
    if (a->tokens < TOKENS)
        for (; r + 2 * ROWS <= a->rows; r += 2 * ROWS)
            rows_of(a, wt, r, 2 * ROWS);
    for (; r + ROWS <= a->rows; r += ROWS)
        rows_of(a, wt, r, ROWS);
    for (; r < a->rows; r++)
        rows_of(a, wt, r, 1);
}

void VF_NAME(matmul_F32)(const qn_matmul *a)
{
    matmul(a, (weight){4, load_f32, load_f32_n});
}

void VF_NAME(matmul_F16)(const qn_matmul *a)
{
    matmul(a, (weight){2, vf_load_f16, vf_load_f16_n});
}

void VF_NAME(matmul_BF16)(const qn_matmul *a)
{
    matmul(a, (weight){2, vf_load_bf16, vf_load_bf16_n});
}

/* ---- types without code of their own ---- */

enum { GENERIC_TOKENS = 32 }; /* tokens that share one dequantised piece */

/* n floats of a row against T tokens: n is a multiple of VF_N, as all blocks are. */
INLINE void piece_tokens(const qn_matmul *a, const float *piece, int k, int n, int t, vf *acc, const int T)
{
    vf s[4];
    UNROLL
    for (int j = 0; j < T; j++)
        s[j] = acc[j];
    for (int i = 0; i < n; i += VF_N) {
        vf v = vf_load(piece + i);
        UNROLL
        for (int j = 0; j < T; j++)
            s[j] = vf_fma(v, vf_load(x_row(a, t + j) + k + i), s[j]);
    }
    UNROLL
    for (int j = 0; j < T; j++)
        acc[j] = s[j];
}

static void generic(const qn_matmul *a, qn_type type)
{
    const qn_type_info *info = qn__type_info(type);
    size_t piece_bytes = QN_GENERIC_PIECE / info->block * info->bytes;
    float piece[QN_GENERIC_PIECE];
    vf acc[GENERIC_TOKENS];
    for (int r = 0; r < a->rows; r++)
        for (int t0 = 0; t0 < a->tokens; t0 += GENERIC_TOKENS) {
            int nt = a->tokens - t0 < GENERIC_TOKENS ? a->tokens - t0 : GENERIC_TOKENS;
            const unsigned char *w = (const unsigned char *)a->w + (size_t)r * a->w_stride;
            for (int j = 0; j < nt; j++)
                acc[j] = vf_zero();
            for (int k = 0; k < a->k; k += QN_GENERIC_PIECE, w += piece_bytes) {
                int n = a->k - k < QN_GENERIC_PIECE ? a->k - k : QN_GENERIC_PIECE, j = 0;
                qn__dequant_row(type, w, piece, (size_t)n);
                for (; j + 4 <= nt; j += 4)
                    piece_tokens(a, piece, k, n, t0 + j, acc + j, 4);
                for (; j < nt; j++)
                    piece_tokens(a, piece, k, n, t0 + j, acc + j, 1);
            }
            for (int j = 0; j < nt; j++)
                a->y[(size_t)(t0 + j) * a->y_stride + (size_t)r] = vf_sum(acc[j]);
        }
}

#define X(type)                                                                                                                \
    void VF_NAME(matmul_##type)(const qn_matmul *a)                                                                            \
    {                                                                                                                          \
        generic(a, QN_##type);                                                                                                 \
    }
QN_GENERIC_TYPES(X)
#undef X
