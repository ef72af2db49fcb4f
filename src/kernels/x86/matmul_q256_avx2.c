/* matmul_q256_avx2.c - Q4_K, Q5_K, Q6_K. See quant_vec.h.
 *
 * VPMADDUBSW adds two products to an int16; further additions stay in int16 as long as they fit: 8 for Q4_K (8*2*15*127
 * = 30480), 4 for Q5_K (4*2*31*127 = 31496), 2 for Q6_K (2*2*63*127 = 32004). VPMADDWD then multiplies by the scale,
 * which stands in both halves of a lane. */
#include "kernels/x86/vec_avx2.h"

enum { TILE_T = 2 };
#define SC_HIGH(i) (i)

#include "kernels/x86/quant_vec.h"

INLINE void finish(const panel_dot *p, int t, vi sum, const vi *msum)
{
    vf dx = vf_set1(qn__q256_d(p->x + (size_t)t * p->x_stride, p->k)[p->first]);
    vf acc = vf_load(p->acc + t * VF_N);
    acc = vf_fma(vf_mul(p->u->d[0], dx), vf_from_i(sum), acc);
    if (msum)
        acc = vf_fnma(vf_mul(p->u->dmin, dx), vf_from_i(*msum), acc);
    vf_store(p->acc + t * VF_N, acc);
}

/* Sum of pair[j] * (s[2j], s[2j+1]), n pairs. */
INLINE vi pair_sum(const panel_dot *p, const int16_t *s, const int n)
{
    vi m = vi_zero();
    UNROLL
    for (int j = 0; j < n; j++)
        m = vi_add(m, _mm256_madd_epi16(p->u->pair[j], broadcast4(s + 2 * j)));
    return m;
}

/* The minima's part: of sums of 32. The offset of Q6_K: of sums of 16. */
INLINE vi min_sum(const panel_dot *p, int t)
{
    return pair_sum(p, qn__q256_s2(p->x + (size_t)t * p->x_stride, p->k) + p->first * 8, 4);
}

INLINE vi offset_sum(const panel_dot *p, int t)
{
    return pair_sum(p, qn__q256_s(p->x + (size_t)t * p->x_stride, p->k) + p->first * 16, 8);
}

/* sum += sc * (n dwords of w against x); `fit` of them stay in int16. */
INLINE void sub_block(const panel_dot *p, const char *x, const vi *w, vi sc, vi *sum, const int n, const int fit,
                      const int T)
{
    UNROLL
    for (int c = 0; c < n; c += fit) {
        UNROLL
        for (int t = 0; t < T; t++) {
            const char *xt = x + (size_t)t * p->x_stride + c * 4;
            vi h = _mm256_maddubs_epi16(w[c], broadcast4(xt));
            UNROLL
            for (int i = 1; i < fit; i++)
                h = _mm256_add_epi16(h, _mm256_maddubs_epi16(w[c + i], broadcast4(xt + i * 4)));
            sum[t] = vi_add(sum[t], _mm256_madd_epi16(h, sc));
        }
    }
}

INLINE void dot_q45(const panel_dot *p, const int fit, const int T)
{
    const char *x = p->x + (size_t)p->first * 256;
    vi sum[TILE_T];
    UNROLL
    for (int t = 0; t < T; t++)
        sum[t] = vi_zero();
    for (int j = 0; j < 8; j++)
        sub_block(p, x + j * 32, p->u->w + 8 * j, p->u->sc[j], sum, 8, fit, T);
    UNROLL
    for (int t = 0; t < T; t++) {
        vi m = min_sum(p, t);
        finish(p, t, sum[t], &m);
    }
}

INLINE void dot_q4_k(const panel_dot *p, const int T)
{
    dot_q45(p, 8, T);
}

INLINE void dot_q5_k(const panel_dot *p, const int T)
{
    dot_q45(p, 4, T);
}

INLINE void dot_q6_k(const panel_dot *p, const int T)
{
    const char *x = p->x + (size_t)p->first * 256;
    vi sum[TILE_T];
    UNROLL
    for (int t = 0; t < T; t++)
        sum[t] = vi_zero();
    for (int j = 0; j < 16; j++) {
        vi sc = vi_and(p->u->sc[j], vi_set1(0xffff));
        sub_block(p, x + j * 16, p->u->w + 4 * j, vi_or(sc, vi_sll(sc, 16)), sum, 4, 2, T);
    }
    UNROLL
    for (int t = 0; t < T; t++) /* the offset of 32 */
        finish(p, t, vi_sub(sum[t], vi_sll(offset_sum(p, t), 5)), NULL);
}

void qn__avx2_matmul_Q4_K(const qn_matmul *a)
{
    matmul_panels(a, 256, 144, unpack_q4_k, dot_q4_k);
}

void qn__avx2_matmul_Q5_K(const qn_matmul *a)
{
    matmul_panels(a, 256, 176, unpack_q5_k, dot_q5_k);
}

void qn__avx2_matmul_Q6_K(const qn_matmul *a)
{
    matmul_panels(a, 256, 210, unpack_q6_k, dot_q6_k);
}
