/* vec_avx512.h - the AVX-512 half of the vocabulary in which the *_vec.h bodies are written; vec_avx2.h is the other
 * half.
 *
 *   vf  VF_N floats         vi  as many int32 (or what an operation sees in their bits)
 *   _n  the first n < VF_N lanes: nothing beyond is read or written, lanes read as 0
 *
 * A body performs one sequence of operations per output element; where two levels are promised to agree to the bit it
 * is because they run the same body. */
#ifndef QN_KERNELS_VEC_AVX512_H
#define QN_KERNELS_VEC_AVX512_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernels/x86/unroll.h"
#include "kernels/x86/x86.h"

#define VF_N 16
#define VF_NAME(op) qn__avx512_##op
typedef __m512 vf;
typedef __m512i vi;
typedef __m512d vd;

static inline __mmask16 vf_first(int n)
{
    return (__mmask16)((1u << n) - 1u);
}
static inline vf vf_zero(void)
{
    return _mm512_setzero_ps();
}
static inline vf vf_set1(float x)
{
    return _mm512_set1_ps(x);
}
static inline vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline vf vf_load_n(const float *p, int n)
{
    return _mm512_maskz_loadu_ps(vf_first(n), p);
}
/* v, in a register. */
static inline vf vf_pin(vf v)
{
    __asm__("" : "+v"(v)); /* else the load is repeated for every use: at 64 bytes that is what limits */
    return v;
}
static inline void vf_store(float *p, vf v)
{
    _mm512_storeu_ps(p, v);
}
static inline void vf_store_n(float *p, vf v, int n)
{
    _mm512_mask_storeu_ps(p, vf_first(n), v);
}
static inline vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
static inline vf vf_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}
/* a*b + c */
static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
/* -a*b + c */
static inline vf vf_fnma(vf a, vf b, vf c)
{
    return _mm512_fnmadd_ps(a, b, c);
}
/* b where either is NaN */
static inline vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}
static inline vf vf_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}
static inline vf vf_round(vf a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a * 2^n, rounded once; n whole */
static inline vf vf_scale2(vf a, vf n)
{
    return _mm512_scalef_ps(a, n);
}
static inline vf vf_abs(vf a)
{
    return _mm512_abs_ps(a);
}
static inline vf vf_neg(vf a)
{
    return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(a), _mm512_set1_epi32(INT32_MIN)));
}
/* |a| with the sign of b, a >= 0 */
static inline vf vf_sign(vf a, vf b)
{
    return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(a),
                                               _mm512_and_si512(_mm512_castps_si512(b), _mm512_set1_epi32(INT32_MIN))));
}
/* a <= b ? x : y */
static inline vf vf_le_select(vf a, vf b, vf x, vf y)
{
    return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ), x);
}
/* a == b ? x : y */
static inline vf vf_eq_select(vf a, vf b, vf x, vf y)
{
    return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ), x);
}
/* lanes i with i0 <= i <= i1 of v, elsewhere `other` */
static inline vf vf_range(vf v, int i0, int i1, vf other)
{
    vi lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __mmask16 in =
        _mm512_cmpge_epi32_mask(lane, _mm512_set1_epi32(i0)) & _mm512_cmple_epi32_mask(lane, _mm512_set1_epi32(i1));
    return _mm512_mask_mov_ps(other, in, v);
}

/* Halves: i + i+8, then +4, +2, +1. */
static inline float vf_sum(vf v)
{
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
static inline float vf_hmax(vf v)
{
    return _mm512_reduce_max_ps(v);
}
/* 64 floats in the order of the reference: 64 -> 16 -> a tree. */
static inline float vf_sum64(const vf p[4])
{
    return vf_sum(vf_add(vf_add(p[0], p[1]), vf_add(p[2], p[3])));
}

static inline vf vf_load_f16(const void *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}
static inline vf vf_load_f16_n(const void *p, int n)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(vf_first(n), p));
}
static inline void vf_store_f16(void *p, vf v)
{
    _mm256_storeu_si256(p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
/* One half float in all lanes; VF_N signed bytes. */
static inline vf vf_load_i8(const void *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p)));
}
static inline vf vf_load_i8_n(const void *p, int n)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(vf_first(n), p)));
}
static inline vf vf_load_bf16(const void *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}
static inline vf vf_load_bf16_n(const void *p, int n)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(vf_first(n), p)), 16));
}

/* VF_N pairs apart: *a the first of each, *b the second. */
static inline void vf_unzip(const float *p, vf *a, vf *b)
{
    vi even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    vf lo = vf_load(p), hi = vf_load(p + 16);
    *a = _mm512_permutex2var_ps(lo, even, hi);
    *b = _mm512_permutex2var_ps(lo, _mm512_add_epi32(even, _mm512_set1_epi32(1)), hi);
}

/* Pairs of lanes: the first of each twice, the second of each twice, the two exchanged, the first negated. */
static inline vf vf_even(vf v)
{
    return _mm512_moveldup_ps(v);
}
static inline vf vf_odd(vf v)
{
    return _mm512_movehdup_ps(v);
}
static inline vf vf_swap(vf v)
{
    return _mm512_permute_ps(v, 0xB1);
}
static inline vf vf_neg_even(vf v)
{
    return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(v), _mm512_set1_epi64(0x80000000)));
}

static inline vd vd_zero(void)
{
    return _mm512_setzero_pd();
}
static inline vd vd_set1(double x)
{
    return _mm512_set1_pd(x);
}
static inline vd vd_lo(vf v)
{
    return _mm512_cvtps_pd(_mm512_castps512_ps256(v));
}
static inline vd vd_hi(vf v)
{
    return _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
}
static inline vd vd_add(vd a, vd b)
{
    return _mm512_add_pd(a, b);
}
static inline vd vd_sub(vd a, vd b)
{
    return _mm512_sub_pd(a, b);
}
static inline vd vd_fma(vd a, vd b, vd c)
{
    return _mm512_fmadd_pd(a, b, c);
}
static inline double vd_sum(vd v)
{
    return _mm512_reduce_add_pd(v);
}

static inline vi vi_zero(void)
{
    return _mm512_setzero_si512();
}
static inline vi vi_set1(int32_t x)
{
    return _mm512_set1_epi32(x);
}
static inline vi vi_and(vi a, vi b)
{
    return _mm512_and_si512(a, b);
}
static inline vi vi_or(vi a, vi b)
{
    return _mm512_or_si512(a, b);
}
static inline vi vi_xor(vi a, vi b)
{
    return _mm512_xor_si512(a, b);
}
#define vi_sll(a, n) _mm512_slli_epi32(a, n)
#define vi_srl(a, n) _mm512_srli_epi32(a, n)
#define vi_sra(a, n) _mm512_srai_epi32(a, n)
#define vi_sra16(a, n) _mm512_srai_epi16(a, n)
static inline vi vi_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}
static inline vi vi_sub(vi a, vi b)
{
    return _mm512_sub_epi32(a, b);
}
static inline vi vi_mullo(vi a, vi b)
{
    return _mm512_mullo_epi32(a, b);
}
static inline vi vi_max_u(vi a, vi b)
{
    return _mm512_max_epu32(a, b);
}
static inline uint32_t vi_hmax_u(vi a)
{
    return _mm512_reduce_max_epu32(a);
}
static inline vi vi_bits(vf a)
{
    return _mm512_castps_si512(a);
}
/* halves to even */
static inline vi vi_from_f(vf a)
{
    return _mm512_cvtps_epi32(a);
}
static inline vf vf_from_i(vi a)
{
    return _mm512_cvtepi32_ps(a);
}
static inline void vi_store_i8(int8_t *p, vi a)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(a));
}
static inline int32_t vi_sum(vi a)
{
    return _mm512_reduce_add_epi32(a);
}
/* 32 bytes, and zeros behind them if a vector has more. */
static inline vi vi_load_32(const void *p)
{
    return _mm512_zextsi256_si512(_mm256_loadu_si256(p));
}
static inline void vi_store_i16(int16_t *p, vi a)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(a));
}
/* Sums of neighbours: a's in the lower half, b's in the upper. */
static inline vi vi_pairs(vi a, vi b)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    return _mm512_add_epi32(_mm512_permutex2var_epi32(a, even, b), _mm512_permutex2var_epi32(a, odd, b));
}
/* The sum of each lane's 4 signed bytes. */
static inline vi vi_sum4(vi a)
{
    return _mm512_madd_epi16(_mm512_maddubs_epi16(_mm512_set1_epi8(1), a), _mm512_set1_epi16(1));
}
/* Bytes of each dword by four indices (-1: zero). */
static inline vi vi_bytes(vi a, int b0, int b1, int b2, int b3)
{
    return _mm512_shuffle_epi8(a, _mm512_broadcast_i32x4(qn__byte_index(b0, b1, b2, b3)));
}
static inline vi vi_load(const void *p)
{
    return _mm512_loadu_si512(p);
}
static inline vi vi_add8(vi a, vi b)
{
    return _mm512_add_epi8(a, b);
}
/* Byte by byte the table's entry; an index is 0..15. */
static inline vi vi_lookup(const int8_t table[16], vi index)
{
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)table)), index);
}
/* The low 16 bits of each lane are a half float. */
static inline vf vf_from_half(vi a)
{
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a));
}

/* 16 bytes of each of 16 rows -> 4 columns of dwords: out[c] lane r = dword c of row r.
 *   lane L of z[i] = row 4L + i, so the 4x4 transposition inside each 128-bit lane puts the rows in order */
static inline void vi_columns(const unsigned char *const p[VF_N], size_t off, vi out[4])
{
    vi z[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        z[i] = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(p[i] + off)));
        z[i] = _mm512_mask_broadcast_i32x4(z[i], 0x00F0, _mm_loadu_si128((const __m128i *)(p[4 + i] + off)));
        z[i] = _mm512_mask_broadcast_i32x4(z[i], 0x0F00, _mm_loadu_si128((const __m128i *)(p[8 + i] + off)));
        z[i] = _mm512_mask_broadcast_i32x4(z[i], 0xF000, _mm_loadu_si128((const __m128i *)(p[12 + i] + off)));
    }
    vi a = _mm512_unpacklo_epi32(z[0], z[1]), b = _mm512_unpackhi_epi32(z[0], z[1]);
    vi c = _mm512_unpacklo_epi32(z[2], z[3]), d = _mm512_unpackhi_epi32(z[2], z[3]);
    out[0] = _mm512_unpacklo_epi64(a, c);
    out[1] = _mm512_unpackhi_epi64(a, c);
    out[2] = _mm512_unpacklo_epi64(b, d);
    out[3] = _mm512_unpackhi_epi64(b, d);
}

#endif
