/* matmul_more_vnni.h - the types of quant_more_vec.h and iq_vec.h with VNNI. Weights are unsigned: what was added to
 * them is taken off by the sums of activations (n8 in blocks of 32, the sums of 16 in blocks of 256). */
#ifndef QN_KERNELS_MATMUL_MORE_VNNI_H
#define QN_KERNELS_MATMUL_MORE_VNNI_H

#include "kernels/x86/iq_vec.h"
#include "kernels/x86/quant_more_vec.h"

/* ---- blocks of 32 ---- */

/* n8 = -8 * the sum of activations; add: what the weights are more than their values, 0, 1, 16 or 128. */
INLINE vi correction(int32_t n8, const int add)
{
    return vi_set1(add == 0 ? 0 : add == 1 ? n8 / 8 : n8 * (add / 8));
}

INLINE void dot32(const panel_dot *p, const int T, const int add, const bool has_min)
{
    for (int b = 0; b < p->blocks; b++) {
        const vi *w = p->u->w + 8 * b;
        const int block = p->first + b;
        vi s[TILE_T], s2[TILE_T];
        UNROLL
        for (int t = 0; t < T; t++) {
            s[t] = correction(qn__q32_n8(p->x + (size_t)t * p->x_stride, p->k)[block], add);
            s2[t] = vi_zero();
        }
        UNROLL
        for (int c = 0; c < 4; c++) {
            UNROLL
            for (int t = 0; t < T; t++) {
                const char *x = p->x + (size_t)t * p->x_stride + (size_t)block * 32 + c * 4;
                s[t] = vi_dpbusd(s[t], w[c], broadcast4(x));
                s2[t] = vi_dpbusd(s2[t], w[c + 4], broadcast4(x + 16));
            }
        }
        UNROLL
        for (int t = 0; t < T; t++) {
            const char *x = p->x + (size_t)t * p->x_stride;
            float dx = qn__q32_d(x, p->k)[block];
            vf acc = vf_load(p->acc + t * VF_N);
            acc = vf_fma(vf_mul(p->u->d[b], vf_set1(dx)), vf_from_i(vi_add(s[t], s2[t])), acc);
            if (has_min)
                acc = vf_fma(p->u->m[b], vf_set1(dx * (-0.125f * (float)qn__q32_n8(x, p->k)[block])), acc);
            vf_store(p->acc + t * VF_N, acc);
        }
    }
}

/* Two scales: signed weights against activations + 128; sc[2b], sc[2b+1] are what that adds to each half. */
INLINE void dot16(const panel_dot *p, const int T)
{
    const vi flip = vi_set1((int32_t)0x80808080);
    for (int b = 0; b < p->blocks; b++) {
        const vi *w = p->u->w + 8 * b;
        const int block = p->first + b;
        UNROLL
        for (int t = 0; t < T; t++) {
            const char *xt = p->x + (size_t)t * p->x_stride, *x = xt + (size_t)block * 32;
            vi s = p->u->sc[2 * b], s2 = p->u->sc[2 * b + 1];
            UNROLL
            for (int c = 0; c < 4; c++) {
                s = vi_dpbusd(s, vi_xor(broadcast4(x + c * 4), flip), w[c]);
                s2 = vi_dpbusd(s2, vi_xor(broadcast4(x + 16 + c * 4), flip), w[c + 4]);
            }
            vf dx = vf_set1(qn__q32_d(xt, p->k)[block]), acc = vf_load(p->acc + t * VF_N);
            acc = vf_fma(vf_mul(p->u->d[b], dx), vf_from_i(s), acc);
            vf_store(p->acc + t * VF_N, vf_fma(vf_mul(p->u->m[b], dx), vf_from_i(s2), acc));
        }
    }
}

/* p in blocks of 32, where the type's are n of them. */
INLINE panel_dot by_32(const panel_dot *p, const int n)
{
    panel_dot d = *p;
    d.first *= n;
    d.blocks *= n;
    return d;
}

INLINE void dot_min(const panel_dot *p, const int T)
{
    dot32(p, T, 0, true);
}

INLINE void dot_iq4_nl(const panel_dot *p, const int T)
{
    dot32(p, T, 128, false);
}

INLINE void dot_mxfp4(const panel_dot *p, const int T)
{
    dot32(p, T, 16, false);
}

INLINE void dot_q1_0(const panel_dot *p, const int T)
{
    panel_dot d = by_32(p, 4);
    dot32(&d, T, 1, false);
}

INLINE void dot_q2_0(const panel_dot *p, const int T)
{
    panel_dot d = by_32(p, 2);
    dot32(&d, T, 1, false);
}

INLINE void dot_nvfp4(const panel_dot *p, const int T)
{
    panel_dot d = by_32(p, 2);
    dot16(&d, T);
}

INLINE void unpack_iq4_nl_unsigned(rows_at p, panel *u, int blocks, const bool packed)
{
    unpack_iq4_nl(p, u, blocks, packed);
    for (int c = 0; c < 8 * blocks; c++)
        u->w[c] = vi_xor(u->w[c], vi_set1((int32_t)0x80808080));
}

INLINE void unpack_nvfp4_sums(rows_at p, panel *u, int blocks, const bool packed)
{
    unpack_nvfp4(p, u, blocks, packed);
    for (int h = 0; h < 4 * blocks; h++) {
        vi s = vi_zero();
        UNROLL
        for (int c = 0; c < 4; c++)
            s = vi_dpbusd(s, vi_set1((int32_t)0x80808080), u->w[4 * h + c]);
        u->sc[h] = vi_sub(vi_zero(), s);
    }
}

/* ---- blocks of 256 ---- */

/* Sum of pair[j] * (sums of 16: 2j, 2j+1). */
INLINE vi pair_sum(const panel_dot *p, int t)
{
    const int16_t *s = qn__q256_s(p->x + (size_t)t * p->x_stride, p->k) + p->first * 16;
    vi m = vi_zero();
    UNROLL
    for (int j = 0; j < 8; j++)
        m = vi_dpwssd(m, p->u->pair[j], broadcast4(s + 2 * j));
    return m;
}

/* What is done with pair_sum: subtracted, shifted; or it is the sum of the minima. */
enum { MINIMA = -1 };

/* Sub-blocks of 4*n elements; small: their sums fit int16, and sc holds int16. */
INLINE void dot256(const panel_dot *p, const int T, const int n, const bool small, const int shift)
{
    const char *x = p->x + (size_t)p->first * 256;
    vi sum[TILE_T];
    UNROLL
    for (int t = 0; t < T; t++)
        sum[t] = vi_zero();
    for (int j = 0; j < 64 / n; j++) {
        vi a[TILE_T];
        const vi *w = p->u->w + n * j;
        UNROLL
        for (int t = 0; t < T; t++)
            a[t] = vi_zero();
        UNROLL
        for (int c = 0; c < n; c++) {
            UNROLL
            for (int t = 0; t < T; t++) {
                const char *xt = x + (size_t)t * p->x_stride + (j * n + c) * 4;
                a[t] = vi_dpbusd(a[t], w[c], broadcast4(xt));
            }
        }
        UNROLL
        for (int t = 0; t < T; t++)
            sum[t] = small ? vi_dpwssd(sum[t], a[t], p->u->sc[j]) : vi_add(sum[t], vi_mullo(a[t], p->u->sc[j]));
    }
    UNROLL
    for (int t = 0; t < T; t++) {
        vi m = pair_sum(p, t);
        vf dx = vf_set1(qn__q256_d(p->x + (size_t)t * p->x_stride, p->k)[p->first]), acc = vf_load(p->acc + t * VF_N);
        if (shift != MINIMA)
            sum[t] = vi_sub(sum[t], vi_sll(m, shift == MINIMA ? 0 : shift));
        acc = vf_fma(vf_mul(p->u->d[0], dx), vf_from_i(sum[t]), acc);
        if (shift == MINIMA)
            acc = vf_fnma(vf_mul(p->u->dmin, dx), vf_from_i(m), acc);
        vf_store(p->acc + t * VF_N, acc);
    }
}

INLINE void dot_q2_k(const panel_dot *p, const int T)
{
    dot256(p, T, 4, true, MINIMA); /* 16*3*127 = 6096 */
}

INLINE void dot_q3_k(const panel_dot *p, const int T)
{
    dot256(p, T, 4, true, 2); /* 16*7*127 = 14224 */
}

INLINE void dot_tq2_0(const panel_dot *p, const int T)
{
    dot256(p, T, 4, true, 0);
}

INLINE void dot_iq4_xs(const panel_dot *p, const int T)
{
    dot256(p, T, 8, false, 7);
}

INLINE void dot_rows(const panel_dot *p, const int T)
{
    dot256(p, T, 4, false, 6);
}

INLINE void unpack_iq4_xs_unsigned(rows_at p, panel *u, int blocks, const bool packed)
{
    unpack_iq4_xs(p, u, blocks, packed);
    for (int c = 0; c < 64; c++)
        u->w[c] = vi_xor(u->w[c], vi_set1((int32_t)0x80808080));
}

#define TYPE(type, size, bytes, unpack, dot, walk)                                                                     \
    void VNNI_MATMUL(type)(const qn_matmul *a)                                                                         \
    {                                                                                                                  \
        matmul_##walk(a, size, bytes, unpack, dot);                                                                    \
    }
TYPE(Q4_1, 32, 20, unpack_q4_1, dot_min, panels)
TYPE(Q5_1, 32, 24, unpack_q5_1, dot_min, panels)
TYPE(IQ4_NL, 32, 18, unpack_iq4_nl_unsigned, dot_iq4_nl, panels)
TYPE(MXFP4, 32, 17, unpack_mxfp4, dot_mxfp4, panels)
TYPE(NVFP4, 64, 36, unpack_nvfp4_sums, dot_nvfp4, rows)
TYPE(Q1_0, 128, 18, unpack_q1_0, dot_q1_0, rows)
TYPE(Q2_0, 64, 18, unpack_q2_0, dot_q2_0, rows)
TYPE(Q2_K, 256, 84, unpack_q2_k, dot_q2_k, panels)
TYPE(Q3_K, 256, 110, unpack_q3_k, dot_q3_k, panels)
TYPE(IQ4_XS, 256, 136, unpack_iq4_xs_unsigned, dot_iq4_xs, panels)
TYPE(TQ2_0, 256, 66, unpack_tq2_0, dot_tq2_0, rows)
TYPE(TQ1_0, 256, 54, unpack_tq1_0, dot_rows, rows)
TYPE(IQ2_XXS, 256, 66, unpack_iq2_xxs, dot_rows, rows)
TYPE(IQ2_XS, 256, 74, unpack_iq2_xs, dot_rows, rows)
TYPE(IQ2_S, 256, 82, unpack_iq2_s, dot_rows, rows)
TYPE(IQ3_XXS, 256, 98, unpack_iq3_xxs, dot_rows, rows)
TYPE(IQ3_S, 256, 110, unpack_iq3_s, dot_rows, rows)
TYPE(IQ1_S, 256, 50, unpack_iq1_s, dot_rows, rows)
TYPE(IQ1_M, 256, 56, unpack_iq1_m, dot_rows, rows)
#undef TYPE

#endif
