/* vec_avx2.h - the AVX2 half of the vocabulary; see vec_avx512.h, which explains it. */
#ifndef QN_KERNELS_VEC_AVX2_H
#define QN_KERNELS_VEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernels/x86/unroll.h"
#include "kernels/x86/x86.h"

#define VF_N 8
#define VF_NAME(op) qn__avx2_##op
typedef __m256 vf;
typedef __m256i vi;
typedef __m256d vd;

static inline __m256i vf_first(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vf vf_zero(void)
{
    return _mm256_setzero_ps();
}
static inline vf vf_set1(float x)
{
    return _mm256_set1_ps(x);
}
static inline vf vf_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
static inline vf vf_load_n(const float *p, int n)
{
    return _mm256_maskload_ps(p, vf_first(n));
}
static inline vf vf_pin(vf v)
{
    return v;
}
static inline void vf_store(float *p, vf v)
{
    _mm256_storeu_ps(p, v);
}
static inline void vf_store_n(float *p, vf v, int n)
{
    _mm256_maskstore_ps(p, vf_first(n), v);
}
static inline vf vf_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}
static inline vf vf_div(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}
static inline vf vf_fnma(vf a, vf b, vf c)
{
    return _mm256_fnmadd_ps(a, b, c);
}
static inline vf vf_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}
static inline vf vf_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}
static inline vf vf_round(vf a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* In two factors: the first product is exact, so the result is rounded once. |n| <= 252 */
static inline vf vf_scale2(vf a, vf n)
{
    vi i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1), bias = _mm256_set1_epi32(127);
    vi rest = _mm256_sub_epi32(i, half);
    a = _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
    return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23)));
}
static inline vf vf_abs(vf a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
static inline vf vf_neg(vf a)
{
    return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f));
}
static inline vf vf_sign(vf a, vf b)
{
    return _mm256_or_ps(a, _mm256_and_ps(b, _mm256_set1_ps(-0.0f)));
}
static inline vf vf_le_select(vf a, vf b, vf x, vf y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LE_OQ));
}
static inline vf vf_eq_select(vf a, vf b, vf x, vf y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_EQ_OQ));
}
static inline vf vf_range(vf v, int i0, int i1, vf other)
{
    vi lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    vi out = _mm256_or_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(i0), lane),
                             _mm256_cmpgt_epi32(lane, _mm256_set1_epi32(i1)));
    return _mm256_blendv_ps(v, other, _mm256_castsi256_ps(out));
}

/* Halves: i + i+4, then +2, +1. */
static inline float vf_sum(vf v)
{
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
static inline float vf_hmax(vf v)
{
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}
static inline float vf_sum64(const vf p[8])
{
    vf lo = vf_add(vf_add(p[0], p[2]), vf_add(p[4], p[6])), hi = vf_add(vf_add(p[1], p[3]), vf_add(p[5], p[7]));
    return vf_sum(vf_add(lo, hi));
}

static inline vf vf_load_f16(const void *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128(p));
}
static inline __m128i vf_halves_n(const void *p, int n)
{
    uint16_t h[8] = {0};
    memcpy(h, p, (size_t)n * 2);
    return _mm_loadu_si128((const __m128i *)h);
}
static inline vf vf_load_f16_n(const void *p, int n)
{
    return _mm256_cvtph_ps(vf_halves_n(p, n));
}
static inline void vf_store_f16(void *p, vf v)
{
    _mm_storeu_si128(p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
static inline vf vf_load_i8(const void *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p)));
}
static inline vf vf_load_i8_n(const void *p, int n)
{
    int8_t b[VF_N] = {0};
    memcpy(b, p, (size_t)n);
    return vf_load_i8(b);
}
static inline vf vf_load_bf16(const void *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}
static inline vf vf_load_bf16_n(const void *p, int n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(vf_halves_n(p, n)), 16));
}

static inline void vf_unzip(const float *p, vf *a, vf *b)
{
    vf lo = vf_load(p), hi = vf_load(p + 8);
    vf x = _mm256_permute2f128_ps(lo, hi, 0x20), y = _mm256_permute2f128_ps(lo, hi, 0x31);
    *a = _mm256_shuffle_ps(x, y, 0x88);
    *b = _mm256_shuffle_ps(x, y, 0xDD);
}

static inline vf vf_even(vf v)
{
    return _mm256_moveldup_ps(v);
}
static inline vf vf_odd(vf v)
{
    return _mm256_movehdup_ps(v);
}
static inline vf vf_swap(vf v)
{
    return _mm256_permute_ps(v, 0xB1);
}
static inline vf vf_neg_even(vf v)
{
    return _mm256_xor_ps(v, _mm256_castsi256_ps(_mm256_set1_epi64x(0x80000000)));
}

static inline vd vd_zero(void)
{
    return _mm256_setzero_pd();
}
static inline vd vd_set1(double x)
{
    return _mm256_set1_pd(x);
}
static inline vd vd_lo(vf v)
{
    return _mm256_cvtps_pd(_mm256_castps256_ps128(v));
}
static inline vd vd_hi(vf v)
{
    return _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
}
static inline vd vd_add(vd a, vd b)
{
    return _mm256_add_pd(a, b);
}
static inline vd vd_sub(vd a, vd b)
{
    return _mm256_sub_pd(a, b);
}
static inline vd vd_fma(vd a, vd b, vd c)
{
    return _mm256_fmadd_pd(a, b, c);
}
static inline double vd_sum(vd v)
{
    __m128d b = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(b, _mm_unpackhi_pd(b, b)));
}

static inline vi vi_zero(void)
{
    return _mm256_setzero_si256();
}
static inline vi vi_set1(int32_t x)
{
    return _mm256_set1_epi32(x);
}
static inline vi vi_and(vi a, vi b)
{
    return _mm256_and_si256(a, b);
}
static inline vi vi_or(vi a, vi b)
{
    return _mm256_or_si256(a, b);
}
static inline vi vi_xor(vi a, vi b)
{
    return _mm256_xor_si256(a, b);
}
#define vi_sll(a, n) _mm256_slli_epi32(a, n)
#define vi_srl(a, n) _mm256_srli_epi32(a, n)
#define vi_sra(a, n) _mm256_srai_epi32(a, n)
#define vi_sra16(a, n) _mm256_srai_epi16(a, n)
static inline vi vi_add(vi a, vi b)
{
    return _mm256_add_epi32(a, b);
}
static inline vi vi_sub(vi a, vi b)
{
    return _mm256_sub_epi32(a, b);
}
static inline vi vi_mullo(vi a, vi b)
{
    return _mm256_mullo_epi32(a, b);
}
static inline vi vi_max_u(vi a, vi b)
{
    return _mm256_max_epu32(a, b);
}
static inline uint32_t vi_hmax_u(vi a)
{
    __m128i b = _mm_max_epu32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    b = _mm_max_epu32(b, _mm_shuffle_epi32(b, 0x4E));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(b, _mm_shuffle_epi32(b, 0xB1)));
}
static inline vi vi_bits(vf a)
{
    return _mm256_castps_si256(a);
}
static inline vi vi_from_f(vf a)
{
    return _mm256_cvtps_epi32(a);
}
static inline vf vf_from_i(vi a)
{
    return _mm256_cvtepi32_ps(a);
}
static inline void vi_store_i8(int8_t *p, vi a)
{
    __m128i h = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packs_epi16(h, h));
}
static inline int32_t vi_sum(vi a)
{
    __m128i b = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    b = _mm_add_epi32(b, _mm_shuffle_epi32(b, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(b, _mm_shuffle_epi32(b, 0xB1)));
}
/* 32 bytes, and zeros behind them if a vector has more. */
static inline vi vi_load_32(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}
static inline void vi_store_i16(int16_t *p, vi a)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1)));
}
/* Sums of neighbours: a's in the lower half, b's in the upper. */
static inline vi vi_pairs(vi a, vi b)
{
    return _mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xd8);
}
/* The sum of each lane's 4 signed bytes. */
static inline vi vi_sum4(vi a)
{
    return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), a), _mm256_set1_epi16(1));
}
static inline vi vi_bytes(vi a, int b0, int b1, int b2, int b3)
{
    return _mm256_shuffle_epi8(a, _mm256_broadcastsi128_si256(qn__byte_index(b0, b1, b2, b3)));
}
static inline vi vi_load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}
static inline vi vi_add8(vi a, vi b)
{
    return _mm256_add_epi8(a, b);
}
static inline vi vi_lookup(const int8_t table[16], vi index)
{
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)table)),
                               index);
}
static inline vf vf_from_half(vi a)
{
    a = _mm256_and_si256(a, _mm256_set1_epi32(0xffff));
    return _mm256_cvtph_ps(_mm_packus_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1)));
}

/* 16 bytes of each of 8 rows -> 4 columns of dwords: out[c] lane r = dword c of row r. */
static inline void vi_columns(const unsigned char *const p[VF_N], size_t off, vi out[4])
{
    vi z[4];
    UNROLL
    for (int i = 0; i < 4; i++)
        z[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(p[i] + off))),
                                       _mm_loadu_si128((const __m128i *)(p[4 + i] + off)), 1);
    vi a = _mm256_unpacklo_epi32(z[0], z[1]), b = _mm256_unpackhi_epi32(z[0], z[1]);
    vi c = _mm256_unpacklo_epi32(z[2], z[3]), d = _mm256_unpackhi_epi32(z[2], z[3]);
    out[0] = _mm256_unpacklo_epi64(a, c);
    out[1] = _mm256_unpackhi_epi64(a, c);
    out[2] = _mm256_unpacklo_epi64(b, d);
    out[3] = _mm256_unpackhi_epi64(b, d);
}

#endif
