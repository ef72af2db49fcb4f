/* matmul_more_avx2.c - the types of quant_more_vec.h and iq_vec.h. Weights are unsigned where a sum of activations can
 * take off what was added; tables that need all of int8 stay signed, and the weight's sign moves to the activation.
 * `fit`: how many results of VPMADDUBSW can be added in int16. */
#include "kernels/x86/vec_avx2.h"

enum { TILE_T = 2 };
#define SC_HIGH(i) (i)

#include "kernels/x86/iq_vec.h"
#include "kernels/x86/quant_more_vec.h"

/* int16 pairs: w[0..fit) against x; with_sign: w is signed. */
INLINE vi products(const vi *w, const char *x, const int fit, const bool with_sign)
{
    vi h = vi_zero();
    UNROLL
    for (int i = 0; i < fit; i++) {
        vi v = broadcast4(x + i * 4), m;
        m = with_sign ? _mm256_maddubs_epi16(_mm256_abs_epi8(w[i]), _mm256_sign_epi8(v, w[i]))
                      : _mm256_maddubs_epi16(w[i], v);
        h = i == 0 ? m : _mm256_add_epi16(h, m);
    }
    return h;
}

/* ---- blocks of 32 ---- */

typedef struct form32 {
    int fit, add; /* add: what the weights are more than their values: 0, 1 or 16 */
    bool with_sign, has_min, two;
} form32;

INLINE void dot32(const panel_dot *p, const int T, const form32 f)
{
    const vi ones = _mm256_set1_epi16(1);
    for (int b = 0; b < p->blocks; b++) {
        UNROLL
        for (int t = 0; t < T; t++) {
            const char *xt = p->x + (size_t)t * p->x_stride, *x = xt + (size_t)(p->first + b) * 32;
            int32_t n8 = qn__q32_n8(xt, p->k)[p->first + b];
            float dx = qn__q32_d(xt, p->k)[p->first + b];
            vi s[2] = {vi_set1(f.add == 0 ? 0 : f.add == 1 ? n8 / 8 : n8 * (f.add / 8)), vi_zero()};
            UNROLL
            for (int c = 0; c < 8; c += f.fit) {
                vi m = _mm256_madd_epi16(products(p->u->w + 8 * b + c, x + c * 4, f.fit, f.with_sign), ones);
                s[f.two && c >= 4] = vi_add(s[f.two && c >= 4], m);
            }
            vf acc = vf_load(p->acc + t * VF_N), d = vf_set1(dx);
            acc = vf_fma(vf_mul(p->u->d[b], d), vf_from_i(s[0]), acc);
            if (f.two)
                acc = vf_fma(vf_mul(p->u->m[b], d), vf_from_i(s[1]), acc);
            if (f.has_min)
                acc = vf_fma(p->u->m[b], vf_set1(dx * (-0.125f * (float)n8)), acc);
            vf_store(p->acc + t * VF_N, acc);
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

INLINE void dot_q4_1(const panel_dot *p, const int T)
{
    dot32(p, T, (form32){.fit = 8, .has_min = true}); /* 8*2*15*127 = 30480 */
}

INLINE void dot_q5_1(const panel_dot *p, const int T)
{
    dot32(p, T, (form32){.fit = 4, .has_min = true}); /* 4*2*31*127 = 31496 */
}

INLINE void dot_iq4_nl(const panel_dot *p, const int T)
{
    dot32(p, T, (form32){.fit = 1, .with_sign = true}); /* 2*127*127 = 32258 */
}

INLINE void dot_mxfp4(const panel_dot *p, const int T)
{
    dot32(p, T, (form32){.fit = 4, .add = 16}); /* 4*2*28*127 = 28448 */
}

INLINE void dot_q1_0(const panel_dot *p, const int T)
{
    panel_dot d = by_32(p, 4);
    dot32(&d, T, (form32){.fit = 8, .add = 1});
}

INLINE void dot_q2_0(const panel_dot *p, const int T)
{
    panel_dot d = by_32(p, 2);
    dot32(&d, T, (form32){.fit = 8, .add = 1});
}

INLINE void dot_nvfp4(const panel_dot *p, const int T)
{
    panel_dot d = by_32(p, 2);
    dot32(&d, T, (form32){.fit = 4, .with_sign = true, .two = true}); /* 4*2*12*127 = 12192 */
}

/* ---- blocks of 256 ---- */

INLINE vi pair_sum(const panel_dot *p, int t)
{
    const int16_t *s = qn__q256_s(p->x + (size_t)t * p->x_stride, p->k) + p->first * 16;
    vi m = vi_zero();
    UNROLL
    for (int j = 0; j < 8; j++)
        m = vi_add(m, _mm256_madd_epi16(p->u->pair[j], broadcast4(s + 2 * j)));
    return m;
}

/* What is done with pair_sum: subtracted, shifted; or it is the sum of the minima; or nothing. */
enum { MINIMA = -1, NOTHING = -2 };

/* Sub-blocks of 4*n elements. */
INLINE void dot256(const panel_dot *p, const int T, const int n, const int fit, const bool with_sign, const int shift)
{
    const char *x = p->x + (size_t)p->first * 256;
    vi sum[TILE_T];
    UNROLL
    for (int t = 0; t < T; t++)
        sum[t] = vi_zero();
    for (int j = 0; j < 64 / n; j++) {
        vi sc = p->u->sc[j];
        UNROLL
        for (int c = 0; c < n; c += fit) {
            UNROLL
            for (int t = 0; t < T; t++) {
                const char *xt = x + (size_t)t * p->x_stride + (j * n + c) * 4;
                vi h = products(p->u->w + n * j + c, xt, fit, with_sign);
                sum[t] = vi_add(sum[t], _mm256_madd_epi16(h, sc));
            }
        }
    }
    UNROLL
    for (int t = 0; t < T; t++) {
        vi m = shift == NOTHING ? vi_zero() : pair_sum(p, t);
        vf dx = vf_set1(qn__q256_d(p->x + (size_t)t * p->x_stride, p->k)[p->first]), acc = vf_load(p->acc + t * VF_N);
        if (shift >= 0)
            sum[t] = vi_sub(sum[t], vi_sll(m, shift < 0 ? 0 : shift));
        acc = vf_fma(vf_mul(p->u->d[0], dx), vf_from_i(sum[t]), acc);
        if (shift == MINIMA)
            acc = vf_fnma(vf_mul(p->u->dmin, dx), vf_from_i(m), acc);
        vf_store(p->acc + t * VF_N, acc);
    }
}

INLINE void dot_q2_k(const panel_dot *p, const int T)
{
    dot256(p, T, 4, 4, false, MINIMA); /* 4*2*3*127 = 3048 */
}

INLINE void dot_q3_k(const panel_dot *p, const int T)
{
    dot256(p, T, 4, 4, false, 2); /* 4*2*7*127 = 7112 */
}

INLINE void dot_tq2_0(const panel_dot *p, const int T)
{
    dot256(p, T, 4, 4, false, 0);
}

INLINE void dot_iq4_xs(const panel_dot *p, const int T)
{
    dot256(p, T, 8, 1, true, NOTHING); /* 2*127*127 = 32258 */
}

INLINE void dot_rows(const panel_dot *p, const int T)
{
    dot256(p, T, 4, 1, false, 6); /* 2*126*127 = 32004 */
}

INLINE void unpack_iq4_xs_scales(rows_at p, panel *u, int blocks, const bool packed)
{
    unpack_iq4_xs(p, u, blocks, packed);
    for (int g = 0; g < 8; g++)
        u->sc[g] = scale16(u->sc[g]);
}

#define TYPE(type, size, bytes, unpack, dot, walk)                                                                     \
    void qn__avx2_matmul_##type(const qn_matmul *a)                                                                    \
    {                                                                                                                  \
        matmul_##walk(a, size, bytes, unpack, dot);                                                                    \
    }
TYPE(Q4_1, 32, 20, unpack_q4_1, dot_q4_1, panels)
TYPE(Q5_1, 32, 24, unpack_q5_1, dot_q5_1, panels)
TYPE(IQ4_NL, 32, 18, unpack_iq4_nl, dot_iq4_nl, panels)
TYPE(MXFP4, 32, 17, unpack_mxfp4, dot_mxfp4, panels)
TYPE(NVFP4, 64, 36, unpack_nvfp4, dot_nvfp4, rows)
TYPE(Q1_0, 128, 18, unpack_q1_0, dot_q1_0, rows)
TYPE(Q2_0, 64, 18, unpack_q2_0, dot_q2_0, rows)
TYPE(Q2_K, 256, 84, unpack_q2_k, dot_q2_k, panels)
TYPE(Q3_K, 256, 110, unpack_q3_k, dot_q3_k, panels)
TYPE(IQ4_XS, 256, 136, unpack_iq4_xs_scales, dot_iq4_xs, panels)
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
