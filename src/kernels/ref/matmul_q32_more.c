/* matmul_q32_more.c - the other weights that meet activations Q8_32: those with a minimum, with a table of 16 values,
 * or with one scale for more or fewer than 32. Per 32 elements an exact integer sum; blocks ascending. All levels agree
 * to the bit.
 *
 *   IQ4_NL, MXFP4, Q1_0, Q2_0    acc = fma(d*dx, sum, acc)
 *   Q4_1, Q5_1                   and acc = fma(m, dx*s, acc), s = the sum of the block's activations, -n8/8
 *   NVFP4                        a scale for 16 elements: two sums, two fmas
 *
 * The layouts are drawn in dequant_basic.c and dequant_iq.c. */
#include <math.h>

#include "kernels/act.h"
#include "kernels/ref/dequant_impl.h"
#include "kernels/ref/iq_tables.h"
#include "kernels/ref/ref.h"

typedef struct group {
    float d, d2, m; /* d2: of elements 16..31, NVFP4 only; m: Q4_1 and Q5_1 only */
    int8_t v[32];
} group;

/* The b-th 32 elements of a row. */
typedef void take_fn(const unsigned char *row, int b, group *g);

static void take_q4_1(const unsigned char *row, int b, group *g)
{
    const unsigned char *w = row + (size_t)b * 20;
    g->d = qn__half_at(w);
    g->m = qn__half_at(w + 2);
    for (int i = 0; i < 32; i++)
        g->v[i] = w[4 + i % 16] >> (i / 16 * 4) & 15;
}

static void take_q5_1(const unsigned char *row, int b, group *g)
{
    const unsigned char *w = row + (size_t)b * 24;
    uint32_t h = qn__le32(w + 4);
    g->d = qn__half_at(w);
    g->m = qn__half_at(w + 2);
    for (int i = 0; i < 32; i++)
        g->v[i] = (int8_t)((w[8 + i % 16] >> (i / 16 * 4) & 15) | (int)(h >> i & 1) << 4);
}

static void take_iq4_nl(const unsigned char *row, int b, group *g)
{
    const unsigned char *w = row + (size_t)b * 18;
    g->d = qn__half_at(w);
    for (int i = 0; i < 32; i++)
        g->v[i] = qn__iq4_values[w[2 + i % 16] >> (i / 16 * 4) & 15];
}

static void take_mxfp4(const unsigned char *row, int b, group *g)
{
    const unsigned char *w = row + (size_t)b * 17;
    g->d = qn__half_e8m0(w[0]);
    for (int i = 0; i < 32; i++)
        g->v[i] = qn__fp4_values[w[1 + i % 16] >> (i / 16 * 4) & 15];
}

static void take_nvfp4(const unsigned char *row, int b, group *g)
{
    const unsigned char *w = row + (size_t)(b / 2) * 36, *q = w + 4 + 16 * (b % 2);
    g->d = qn__half_ue4m3(w[b % 2 * 2]);
    g->d2 = qn__half_ue4m3(w[b % 2 * 2 + 1]);
    for (int i = 0; i < 32; i++)
        g->v[i] = qn__fp4_values[q[i / 16 * 8 + i % 8] >> (i / 8 % 2 * 4) & 15];
}

static void take_q1_0(const unsigned char *row, int b, group *g)
{
    const unsigned char *w = row + (size_t)(b / 4) * 18, *q = w + 2 + 4 * (b % 4);
    g->d = qn__half_at(w);
    for (int i = 0; i < 32; i++)
        g->v[i] = q[i / 8] >> (i % 8) & 1 ? 1 : -1;
}

static void take_q2_0(const unsigned char *row, int b, group *g)
{
    const unsigned char *w = row + (size_t)(b / 2) * 18, *q = w + 2 + 8 * (b % 2);
    g->d = qn__half_at(w);
    for (int i = 0; i < 32; i++)
        g->v[i] = (int8_t)((q[i / 4] >> (2 * (i % 4)) & 3) - 1);
}

static void matmul(const qn_matmul *a, take_fn *take, bool has_min, bool two)
{
    for (int r = 0; r < a->rows; r++) {
        const unsigned char *row = (const unsigned char *)a->w + (size_t)r * a->w_stride;
        for (int t = 0; t < a->tokens; t++)
            a->y[(size_t)t * a->y_stride + (size_t)r] = 0;
        for (int b = 0; b < a->k / 32; b++) {
            group g;
            take(row, b, &g);
            for (int t = 0; t < a->tokens; t++) {
                const char *x = (const char *)a->x + (size_t)t * a->x_stride;
                const int8_t *q = (const int8_t *)x + b * 32;
                float dx = qn__q32_d(x, a->k)[b], *y = &a->y[(size_t)t * a->y_stride + (size_t)r];
                int32_t low = 0, high = 0;
                for (int i = 0; i < 16; i++) {
                    low += g.v[i] * q[i];
                    high += g.v[i + 16] * q[i + 16];
                }
                *y = fmaf(g.d * dx, (float)(two ? low : low + high), *y);
                if (two)
                    *y = fmaf(g.d2 * dx, (float)high, *y);
                if (has_min)
                    *y = fmaf(g.m, dx * (-0.125f * (float)qn__q32_n8(x, a->k)[b]), *y);
            }
        }
    }
}

#define TYPE(type, name, min, two)                                                                                     \
    void qn__ref_matmul_##type(const qn_matmul *a)                                                                     \
    {                                                                                                                  \
        matmul(a, take_##name, min, two);                                                                              \
    }
TYPE(Q4_1, q4_1, true, false)
TYPE(Q5_1, q5_1, true, false)
TYPE(IQ4_NL, iq4_nl, false, false)
TYPE(MXFP4, mxfp4, false, false)
TYPE(NVFP4, nvfp4, false, true)
TYPE(Q1_0, q1_0, false, false)
TYPE(Q2_0, q2_0, false, false)
#undef TYPE
