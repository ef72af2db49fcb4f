/* matmul_q32_avx2.c - Q8_0, Q4_0, Q5_0. See quant_vec.h. For Q8_0 the weight's sign moves to the activation: |w|*x'
 * stays within int16 in pairs (2*128*127 = 32512), which w + 128 would not. Q4_0 is q + 8 and starts at what that adds
 * too much. */
#include "kernels/x86/vec_avx2.h"

enum { TILE_T = 2 };
#define SC_HIGH(i) (i)

#include "kernels/x86/quant_vec.h"

INLINE void finish(const panel_dot *p, int t, int b, vi sum)
{
    vf dx = vf_set1(qn__q32_d(p->x + (size_t)t * p->x_stride, p->k)[p->first + b]);
    vf acc = vf_load(p->acc + t * VF_N);
    vf_store(p->acc + t * VF_N, vf_fma(vf_mul(p->u->d[b], dx), vf_from_i(sum), acc));
}

INLINE void dot_q8_0(const panel_dot *p, const int T)
{
    const vi ones = _mm256_set1_epi16(1);
    for (int b = 0; b < p->blocks; b++) {
        vi s[TILE_T];
        UNROLL
        for (int t = 0; t < T; t++)
            s[t] = vi_zero();
        UNROLL
        for (int c = 0; c < 8; c++) {
            vi w = p->u->w[8 * b + c], a = _mm256_abs_epi8(w);
            UNROLL
            for (int t = 0; t < T; t++) {
                vi x = broadcast4(p->x + (size_t)t * p->x_stride + (size_t)(p->first + b) * 32 + c * 4);
                vi h = _mm256_maddubs_epi16(a, _mm256_sign_epi8(x, w));
                s[t] = vi_add(s[t], _mm256_madd_epi16(h, ones));
            }
        }
        UNROLL
        for (int t = 0; t < T; t++)
            finish(p, t, b, s[t]);
    }
}

/* Nibbles: `fit` of them, twice, stay in int16 (8 * 2*15*127 = 30480; 4 * 2*31*127 = 31496). */
INLINE void dot_unsigned(const panel_dot *p, const int fit, const int shift, const int T)
{
    const vi ones = _mm256_set1_epi16(1);
    for (int b = 0; b < p->blocks; b++) {
        UNROLL
        for (int t = 0; t < T; t++) {
            const char *xt = p->x + (size_t)t * p->x_stride, *x = xt + (size_t)(p->first + b) * 32;
            vi sum = vi_sll(broadcast4(qn__q32_n8(xt, p->k) + p->first + b), shift);
            UNROLL
            for (int c = 0; c < 8; c += fit) {
                vi h = _mm256_maddubs_epi16(p->u->w[8 * b + c], broadcast4(x + c * 4));
                UNROLL
                for (int i = c + 1; i < c + fit; i++)
                    h = _mm256_add_epi16(h, _mm256_maddubs_epi16(p->u->w[8 * b + i], broadcast4(x + i * 4)));
                sum = vi_add(sum, _mm256_madd_epi16(h, ones));
            }
            finish(p, t, b, sum);
        }
    }
}

INLINE void dot_q4_0(const panel_dot *p, const int T)
{
    dot_unsigned(p, 8, 0, T);
}

INLINE void dot_q5_0(const panel_dot *p, const int T)
{
    dot_unsigned(p, 4, 1, T);
}

void qn__avx2_matmul_Q8_0(const qn_matmul *a)
{
    matmul_panels(a, 32, 34, unpack_q8_0, dot_q8_0);
}

void qn__avx2_matmul_Q4_0(const qn_matmul *a)
{
    matmul_panels(a, 32, 18, unpack_q4_0, dot_q4_0);
}

void qn__avx2_matmul_Q5_0(const qn_matmul *a)
{
    matmul_panels(a, 32, 22, unpack_q5_0, dot_q5_0);
}
