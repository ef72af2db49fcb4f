/* matmul_q256_vnni.h - Q4_K, Q5_K, Q6_K with VNNI. See quant_vec.h.
 *
 * A lane of one VPDPBUSD chain of c steps is a sum of 4c products. For Q4_K 16 products stay within int16 (16*15*127 =
 * 30480), so VPDPWSSD multiplies it by the scale and adds it, the scale's upper half being 0. So do 8 products of Q6_K
 * that begin at their offset. Q5_K needs a 32-bit product. */
#ifndef QN_KERNELS_MATMUL_Q256_VNNI_H
#define QN_KERNELS_MATMUL_Q256_VNNI_H

#include "kernels/x86/quant_vec.h"

/* acc = fma(d*dx, sum, acc); acc = fma(-(dmin*dx), msum, acc) */
INLINE void finish(const panel_dot *p, int t, vi sum, const vi *msum)
{
    vf dx = vf_set1(qn__q256_d(p->x + (size_t)t * p->x_stride, p->k)[p->first]);
    vf acc = vf_load(p->acc + t * VF_N);
    acc = vf_fma(vf_mul(p->u->d[0], dx), vf_from_i(sum), acc);
    if (msum)
        acc = vf_fnma(vf_mul(p->u->dmin, dx), vf_from_i(*msum), acc);
    vf_store(p->acc + t * VF_N, acc);
}

/* The minima's part: of sums of 32. */
INLINE vi min_sum(const panel_dot *p, int t)
{
    const int16_t *s = qn__q256_s2(p->x + (size_t)t * p->x_stride, p->k) + p->first * 8;
    vi m = vi_zero();
    UNROLL
    for (int j = 0; j < 4; j++)
        m = vi_dpwssd(m, p->u->pair[j], broadcast4(s + 2 * j));
    return m;
}

/* sum += sc * (2*n dwords of w against x), in two chains that have begun at a and b and end within int16. */
INLINE void two_chains(const panel_dot *p, const char *x, const vi *w, vi sc, vi *a, vi *b, vi *sum, const int n,
                       const int T)
{
    UNROLL
    for (int c = 0; c < n; c++) {
        UNROLL
        for (int t = 0; t < T; t++) {
            const char *xt = x + (size_t)t * p->x_stride + c * 4;
            a[t] = vi_dpbusd(a[t], w[c], broadcast4(xt));
            b[t] = vi_dpbusd(b[t], w[c + n], broadcast4(xt + n * 4));
        }
    }
    UNROLL
    for (int t = 0; t < T; t++) {
        sum[t] = vi_dpwssd(sum[t], a[t], sc);
        sum[t] = vi_dpwssd(sum[t], b[t], sc);
    }
}

INLINE void dot_q4_k(const panel_dot *p, const int T)
{
    const char *x = p->x + (size_t)p->first * 256;
    vi sum[TILE_T];
    UNROLL
    for (int t = 0; t < T; t++)
        sum[t] = vi_zero();
    for (int j = 0; j < 8; j++) {
        vi a[TILE_T], b[TILE_T];
        UNROLL
        for (int t = 0; t < T; t++)
            a[t] = b[t] = vi_zero();
        two_chains(p, x + j * 32, p->u->w + 8 * j, p->u->sc[j], a, b, sum, 4, T);
    }
    UNROLL
    for (int t = 0; t < T; t++) {
        vi m = min_sum(p, t);
        finish(p, t, sum[t], &m);
    }
}

/* sum += sc * (8 dwords of w against x) */
INLINE void sub_block(const panel_dot *p, const char *x, const vi *w, vi sc, vi *sum, const int T)
{
    vi a[TILE_T];
    UNROLL
    for (int t = 0; t < T; t++)
        a[t] = vi_zero();
    UNROLL
    for (int c = 0; c < 8; c++) {
        UNROLL
        for (int t = 0; t < T; t++)
            a[t] = vi_dpbusd(a[t], w[c], broadcast4(x + (size_t)t * p->x_stride + c * 4));
    }
    UNROLL
    for (int t = 0; t < T; t++)
        sum[t] = vi_add(sum[t], vi_mullo(a[t], sc));
}

INLINE void dot_q5_k(const panel_dot *p, const int T)
{
    const char *x = p->x + (size_t)p->first * 256;
    vi sum[TILE_T];
    UNROLL
    for (int t = 0; t < T; t++)
        sum[t] = vi_zero();
    for (int j = 0; j < 8; j++)
        sub_block(p, x + j * 32, p->u->w + 8 * j, p->u->sc[j], sum, T);
    UNROLL
    for (int t = 0; t < T; t++) {
        vi m = min_sum(p, t);
        finish(p, t, sum[t], &m);
    }
}

/* Sums of 8 products that begin at their offset, -32 * sum of x, stay within int16 (8*32*127 = 32512), whatever the upper
 * half of the lane holds: so the beginnings are taken as they lie, two at a time. */
INLINE void dot_q6_k(const panel_dot *p, const int T)
{
    const char *x = p->x + (size_t)p->first * 256;
    const char *o = (const char *)(qn__q256_o(p->x, p->k) + p->first * 32);
    vi sum[TILE_T];
    UNROLL
    for (int t = 0; t < T; t++)
        sum[t] = vi_zero();
    for (int j = 0; j < 16; j++) {
        vi a[TILE_T], b[TILE_T];
        UNROLL
        for (int t = 0; t < T; t++) {
            a[t] = broadcast4(o + (size_t)t * p->x_stride + j * 4);
            b[t] = broadcast4(o + (size_t)t * p->x_stride + j * 4 + 2);
        }
        two_chains(p, x + j * 16, p->u->w + 4 * j, p->u->sc[j], a, b, sum, 2, T);
    }
    UNROLL
    for (int t = 0; t < T; t++)
        finish(p, t, sum[t], NULL);
}

INLINE void unpack_q6_k_low(rows_at p, panel *u, int blocks, const bool packed)
{
    unpack_q6_k(p, u, blocks, packed);
    UNROLL
    for (int j = 0; j < 16; j++)
        u->sc[j] = vi_and(u->sc[j], vi_set1(0xffff));
}

void VNNI_MATMUL(Q4_K)(const qn_matmul *a)
{
    matmul_panels(a, 256, 144, unpack_q4_k, dot_q4_k);
}

void VNNI_MATMUL(Q5_K)(const qn_matmul *a)
{
    matmul_panels(a, 256, 176, unpack_q5_k, dot_q5_k);
}

void VNNI_MATMUL(Q6_K)(const qn_matmul *a)
{
    matmul_panels(a, 256, 210, unpack_q6_k_low, dot_q6_k);
}

#endif
