/* matmul_q32_vnni.h - Q8_0, Q4_0, Q5_0 with VNNI. See quant_vec.h. The weights are made unsigned, q + 128, q + 8 and
 * q + 16; the sum starts at what that adds too much: n8 << shift. */
#ifndef QN_KERNELS_MATMUL_Q32_VNNI_H
#define QN_KERNELS_MATMUL_Q32_VNNI_H

#include "kernels/x86/quant_vec.h"

INLINE void dot(const panel_dot *p, const int T, const int shift)
{
    for (int b = 0; b < p->blocks; b++) {
        const vi *w = p->u->w + 8 * b;
        const int block = p->first + b;
        vi s[TILE_T], s2[TILE_T];
        UNROLL
        for (int t = 0; t < T; t++) {
            s[t] = broadcast4(qn__q32_n8(p->x + (size_t)t * p->x_stride, p->k) + block);
            s[t] = vi_sll(s[t], shift);
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
            vf dx = vf_set1(qn__q32_d(p->x + (size_t)t * p->x_stride, p->k)[block]);
            vf acc = vf_load(p->acc + t * VF_N);
            vf_store(p->acc + t * VF_N, vf_fma(vf_mul(p->u->d[b], dx), vf_from_i(vi_add(s[t], s2[t])), acc));
        }
    }
}

INLINE void dot_q8_0(const panel_dot *p, const int T)
{
    dot(p, T, 4);
}

INLINE void dot_q4_0(const panel_dot *p, const int T)
{
    dot(p, T, 0);
}

INLINE void dot_q5_0(const panel_dot *p, const int T)
{
    dot(p, T, 1);
}

INLINE void unpack_q8_0_unsigned(rows_at p, panel *u, int blocks, const bool packed)
{
    unpack_q8_0(p, u, blocks, packed);
    vi flip = vi_set1((int32_t)0x80808080);
    for (int c = 0; c < 8 * blocks; c++)
        u->w[c] = vi_xor(u->w[c], flip);
}

void VNNI_MATMUL(Q8_0)(const qn_matmul *a)
{
    matmul_panels(a, 32, 34, unpack_q8_0_unsigned, dot_q8_0);
}

void VNNI_MATMUL(Q4_0)(const qn_matmul *a)
{
    matmul_panels(a, 32, 18, unpack_q4_0, dot_q4_0);
}

void VNNI_MATMUL(Q5_0)(const qn_matmul *a)
{
    matmul_panels(a, 32, 22, unpack_q5_0, dot_q5_0);
}

#endif
