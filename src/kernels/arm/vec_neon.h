/* vec_neon.h - the vocabulary of the common bodies (*_vec.h) in Advanced SIMD. A vector is two registers, so that
 * lanes, and with them the order of every sum, are those of AVX2. */
#ifndef QN_KERNELS_VEC_NEON_H
#define QN_KERNELS_VEC_NEON_H

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#include "kernels/arm/arm.h"
#include "kernels/vec/unroll.h"

#define VF_N 8
#define VF_NAME(op) qn__neon_##op

typedef struct vf {
    float32x4_t a, b; /* lanes 0..3, 4..7 */
} vf;
typedef struct vi {
    int32x4_t a, b;
} vi;
typedef struct vd {
    float64x2_t a, b; /* half as many lanes */
} vd;

/* ---- floats ---- */

INLINE vf vf_set1(float x)
{
    return (vf){vdupq_n_f32(x), vdupq_n_f32(x)};
}
INLINE vf vf_zero(void)
{
    return vf_set1(0.0f);
}
/* By bytes: weights lie as they lie in the file. */
INLINE vf vf_load(const float *p)
{
    const uint8_t *b = (const uint8_t *)p;
    return (vf){vreinterpretq_f32_u8(vld1q_u8(b)), vreinterpretq_f32_u8(vld1q_u8(b + 16))};
}
INLINE void vf_store(float *p, vf v)
{
    vst1q_f32(p, v.a);
    vst1q_f32(p + 4, v.b);
}
/* The first n lanes; the others are zero and are not read. */
INLINE vf vf_load_n(const float *p, int n)
{
    float part[VF_N] = {0};
    if (n == VF_N)
        return vf_load(p);
    memcpy(part, p, (size_t)n * sizeof *p);
    return vf_load(part);
}
INLINE void vf_store_n(float *p, vf v, int n)
{
    float part[VF_N];
    if (n == VF_N) {
        vf_store(p, v);
        return;
    }
    vf_store(part, v);
    memcpy(p, part, (size_t)n * sizeof *p);
}
INLINE vf vf_pin(vf v)
{
    return v;
}

INLINE vf vf_add(vf x, vf y)
{
    return (vf){vaddq_f32(x.a, y.a), vaddq_f32(x.b, y.b)};
}
INLINE vf vf_sub(vf x, vf y)
{
    return (vf){vsubq_f32(x.a, y.a), vsubq_f32(x.b, y.b)};
}
INLINE vf vf_mul(vf x, vf y)
{
    return (vf){vmulq_f32(x.a, y.a), vmulq_f32(x.b, y.b)};
}
INLINE vf vf_div(vf x, vf y)
{
    return (vf){vdivq_f32(x.a, y.a), vdivq_f32(x.b, y.b)};
}
INLINE vf vf_fma(vf x, vf y, vf z) /* x*y + z */
{
    return (vf){vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b)};
}
INLINE vf vf_fnma(vf x, vf y, vf z) /* z - x*y */
{
    return (vf){vfmsq_f32(z.a, x.a, y.a), vfmsq_f32(z.b, x.b, y.b)};
}
/* x > y ? x : y, and x < y ? x : y: what is no number in x is dropped, in y kept. */
INLINE vf vf_max(vf x, vf y)
{
    return (vf){vbslq_f32(vcgtq_f32(x.a, y.a), x.a, y.a), vbslq_f32(vcgtq_f32(x.b, y.b), x.b, y.b)};
}
INLINE vf vf_min(vf x, vf y)
{
    return (vf){vbslq_f32(vcltq_f32(x.a, y.a), x.a, y.a), vbslq_f32(vcltq_f32(x.b, y.b), x.b, y.b)};
}
INLINE vf vf_round(vf x)
{
    return (vf){vrndnq_f32(x.a), vrndnq_f32(x.b)};
}
INLINE vf vf_abs(vf x)
{
    return (vf){vabsq_f32(x.a), vabsq_f32(x.b)};
}
INLINE vf vf_neg(vf x)
{
    return (vf){vnegq_f32(x.a), vnegq_f32(x.b)};
}
/* x with the sign of y. */
INLINE vf vf_sign(vf x, vf y)
{
    uint32x4_t sign = vdupq_n_u32(0x80000000u);
    return (vf){vbslq_f32(sign, y.a, x.a), vbslq_f32(sign, y.b, x.b)};
}
/* x <= y ? p : q */
INLINE vf vf_le_select(vf x, vf y, vf p, vf q)
{
    return (vf){vbslq_f32(vcleq_f32(x.a, y.a), p.a, q.a), vbslq_f32(vcleq_f32(x.b, y.b), p.b, q.b)};
}
INLINE vf vf_eq_select(vf x, vf y, vf p, vf q)
{
    return (vf){vbslq_f32(vceqq_f32(x.a, y.a), p.a, q.a), vbslq_f32(vceqq_f32(x.b, y.b), p.b, q.b)};
}

/* Pairs of lanes: the first of each twice, the second of each twice, the two exchanged, the first negated. */
INLINE vf vf_even(vf v)
{
    return (vf){vtrn1q_f32(v.a, v.a), vtrn1q_f32(v.b, v.b)};
}
INLINE vf vf_odd(vf v)
{
    return (vf){vtrn2q_f32(v.a, v.a), vtrn2q_f32(v.b, v.b)};
}
INLINE vf vf_swap(vf v)
{
    return (vf){vrev64q_f32(v.a), vrev64q_f32(v.b)};
}
INLINE vf vf_neg_even(vf v)
{
    return (vf){vtrn1q_f32(vnegq_f32(v.a), vrev64q_f32(v.a)), vtrn1q_f32(vnegq_f32(v.b), vrev64q_f32(v.b))};
}

INLINE float32x4_t qn__scale2(float32x4_t x, float32x4_t n)
{
    int32x4_t i = vcvtq_s32_f32(n), half = vshrq_n_s32(i, 1), bias = vdupq_n_s32(127), rest = vsubq_s32(i, half);
    x = vmulq_f32(x, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23)));
    return vmulq_f32(x, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23)));
}
/* x * 2^n in two factors: the first product is exact, so the result is rounded once. n is whole, |n| <= 252. */
INLINE vf vf_scale2(vf x, vf n)
{
    return (vf){qn__scale2(x.a, n.a), qn__scale2(x.b, n.b)};
}

INLINE float32x4_t qn__in_range(float32x4_t v, int i0, int i1, float32x4_t other)
{
    static const int32_t index[4] = {0, 1, 2, 3};
    int32x4_t lane = vld1q_s32(index);
    uint32x4_t in = vandq_u32(vcgeq_s32(lane, vdupq_n_s32(i0)), vcleq_s32(lane, vdupq_n_s32(i1)));
    return vbslq_f32(in, v, other);
}
/* Lanes i0..i1 of v, the others of `other`. */
INLINE vf vf_range(vf v, int i0, int i1, vf other)
{
    return (vf){qn__in_range(v.a, i0, i1, other.a), qn__in_range(v.b, i0 - 4, i1 - 4, other.b)};
}

/* Halves: i + i+4, then +2, +1. */
INLINE float vf_sum(vf v)
{
    float32x4_t s = vaddq_f32(v.a, v.b);
    return vpadds_f32(vadd_f32(vget_low_f32(s), vget_high_f32(s)));
}
INLINE float vf_hmax(vf v)
{
    return vmaxvq_f32(vmaxq_f32(v.a, v.b));
}
INLINE float vf_sum64(const vf p[8])
{
    vf lo = vf_add(vf_add(p[0], p[2]), vf_add(p[4], p[6])), hi = vf_add(vf_add(p[1], p[3]), vf_add(p[5], p[7]));
    return vf_sum(vf_add(lo, hi));
}

/* ---- half floats ---- */

INLINE uint16x8_t qn__halves_n(const void *p, int n)
{
    uint16_t h[VF_N] = {0};
    memcpy(h, p, (size_t)n * 2);
    return vld1q_u16(h);
}
INLINE vf qn__from_f16(uint16x8_t h)
{
    float16x8_t f = vreinterpretq_f16_u16(h);
    return (vf){vcvt_f32_f16(vget_low_f16(f)), vcvt_high_f32_f16(f)};
}
INLINE vf qn__from_bf16(uint16x8_t h)
{
    return (vf){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(h), 16)),
                vreinterpretq_f32_u32(vshll_high_n_u16(h, 16))};
}
INLINE vf vf_load_f16(const void *p)
{
    return qn__from_f16(vreinterpretq_u16_u8(vld1q_u8(p)));
}
INLINE vf vf_load_f16_n(const void *p, int n)
{
    return qn__from_f16(qn__halves_n(p, n));
}
/* VF_N signed bytes. */
INLINE vf vf_load_i8(const void *p)
{
    int16x8_t x = vmovl_s8(vreinterpret_s8_u8(vld1_u8(p)));
    return (vf){vcvtq_f32_s32(vmovl_s16(vget_low_s16(x))), vcvtq_f32_s32(vmovl_high_s16(x))};
}
INLINE vf vf_load_i8_n(const void *p, int n)
{
    int8_t b[VF_N] = {0};
    memcpy(b, p, (size_t)n);
    return vf_load_i8(b);
}
INLINE vf vf_load_bf16(const void *p)
{
    return qn__from_bf16(vreinterpretq_u16_u8(vld1q_u8(p)));
}
INLINE vf vf_load_bf16_n(const void *p, int n)
{
    return qn__from_bf16(qn__halves_n(p, n));
}
INLINE void vf_store_f16(void *p, vf v)
{
    vst1q_u8(p, vreinterpretq_u8_f16(vcvt_high_f16_f32(vcvt_f16_f32(v.a), v.b)));
}

/* 16 floats: the even ones, the odd ones. */
INLINE void vf_unzip(const float *p, vf *even, vf *odd)
{
    float32x4x2_t x = vld2q_f32(p), y = vld2q_f32(p + 8);
    *even = (vf){x.val[0], y.val[0]};
    *odd = (vf){x.val[1], y.val[1]};
}

/* ---- doubles ---- */

INLINE vd vd_set1(double x)
{
    return (vd){vdupq_n_f64(x), vdupq_n_f64(x)};
}
INLINE vd vd_zero(void)
{
    return vd_set1(0.0);
}
INLINE vd vd_lo(vf v)
{
    return (vd){vcvt_f64_f32(vget_low_f32(v.a)), vcvt_high_f64_f32(v.a)};
}
INLINE vd vd_hi(vf v)
{
    return (vd){vcvt_f64_f32(vget_low_f32(v.b)), vcvt_high_f64_f32(v.b)};
}
INLINE vd vd_add(vd x, vd y)
{
    return (vd){vaddq_f64(x.a, y.a), vaddq_f64(x.b, y.b)};
}
INLINE vd vd_sub(vd x, vd y)
{
    return (vd){vsubq_f64(x.a, y.a), vsubq_f64(x.b, y.b)};
}
INLINE vd vd_fma(vd x, vd y, vd z)
{
    return (vd){vfmaq_f64(z.a, x.a, y.a), vfmaq_f64(z.b, x.b, y.b)};
}
INLINE double vd_sum(vd v)
{
    return vpaddd_f64(vaddq_f64(v.a, v.b));
}

/* ---- integers: what preparing activations needs ---- */

INLINE vi vi_set1(int32_t x)
{
    return (vi){vdupq_n_s32(x), vdupq_n_s32(x)};
}
INLINE vi vi_zero(void)
{
    return vi_set1(0);
}
INLINE vi vi_and(vi x, vi y)
{
    return (vi){vandq_s32(x.a, y.a), vandq_s32(x.b, y.b)};
}
INLINE vi vi_add(vi x, vi y)
{
    return (vi){vaddq_s32(x.a, y.a), vaddq_s32(x.b, y.b)};
}
INLINE uint32x4_t qn__max_u(int32x4_t x, int32x4_t y)
{
    return vmaxq_u32(vreinterpretq_u32_s32(x), vreinterpretq_u32_s32(y));
}
INLINE vi vi_max_u(vi x, vi y)
{
    return (vi){vreinterpretq_s32_u32(qn__max_u(x.a, y.a)), vreinterpretq_s32_u32(qn__max_u(x.b, y.b))};
}
INLINE uint32_t vi_hmax_u(vi x)
{
    return vmaxvq_u32(qn__max_u(x.a, x.b));
}
INLINE vi vi_bits(vf x)
{
    return (vi){vreinterpretq_s32_f32(x.a), vreinterpretq_s32_f32(x.b)};
}
/* To the nearest, halves to even. */
INLINE vi vi_from_f(vf x)
{
    return (vi){vcvtnq_s32_f32(x.a), vcvtnq_s32_f32(x.b)};
}
INLINE void vi_store_i8(int8_t *p, vi x)
{
    vst1_s8(p, vmovn_s16(vcombine_s16(vmovn_s32(x.a), vmovn_s32(x.b))));
}

INLINE vi vi_load(const void *p)
{
    return (vi){vld1q_s32(p), vld1q_s32((const int32_t *)p + 4)};
}
INLINE vi vi_load_32(const void *p)
{
    return vi_load(p);
}
INLINE int32_t vi_sum(vi x)
{
    return vaddvq_s32(vaddq_s32(x.a, x.b));
}
INLINE vi vi_sub(vi x, vi y)
{
    return (vi){vsubq_s32(x.a, y.a), vsubq_s32(x.b, y.b)};
}
INLINE vi vi_sll(vi x, const int n)
{
    return (vi){vshlq_s32(x.a, vdupq_n_s32(n)), vshlq_s32(x.b, vdupq_n_s32(n))};
}
INLINE void vi_store_i16(int16_t *p, vi x)
{
    vst1q_s16(p, vcombine_s16(vmovn_s32(x.a), vmovn_s32(x.b)));
}
/* Sums of neighbours: a's in the lower half, b's in the upper. */
INLINE vi vi_pairs(vi a, vi b)
{
    return (vi){vpaddq_s32(a.a, a.b), vpaddq_s32(b.a, b.b)};
}
/* The sum of each lane's 4 signed bytes. */
INLINE vi vi_sum4(vi x)
{
    return (vi){vpaddlq_s16(vpaddlq_s8(vreinterpretq_s8_s32(x.a))), vpaddlq_s16(vpaddlq_s8(vreinterpretq_s8_s32(x.b)))};
}

/* Rows of four dwords to columns. */
INLINE void qn__transpose(const int32x4_t z[4], int32x4_t out[4])
{
    int64x2_t a = vreinterpretq_s64_s32(vtrn1q_s32(z[0], z[1])), b = vreinterpretq_s64_s32(vtrn2q_s32(z[0], z[1]));
    int64x2_t c = vreinterpretq_s64_s32(vtrn1q_s32(z[2], z[3])), d = vreinterpretq_s64_s32(vtrn2q_s32(z[2], z[3]));
    out[0] = vreinterpretq_s32_s64(vtrn1q_s64(a, c));
    out[1] = vreinterpretq_s32_s64(vtrn1q_s64(b, d));
    out[2] = vreinterpretq_s32_s64(vtrn2q_s64(a, c));
    out[3] = vreinterpretq_s32_s64(vtrn2q_s64(b, d));
}

#endif
