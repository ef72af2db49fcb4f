/* matmul_q256_neon.c - Q4_K, Q5_K, Q6_K with SDOT. See quant_arm.h and one_token.h. */
#include "kernels/arm/step_neon.h"

#include "kernels/arm/one_token.h"
#include "kernels/arm/quant_arm.h"

/* Bytes of four rows as `heads` gives them -> 8 of each row. */
INLINE void rows_of(const uint32x4_t v[2], uint8x8_t out[4])
{
    uint8x16_t a = vreinterpretq_u8_u32(vzip1q_u32(v[0], v[1])), b = vreinterpretq_u8_u32(vzip2q_u32(v[0], v[1]));
    out[0] = vget_low_u8(a);
    out[1] = vget_high_u8(a);
    out[2] = vget_low_u8(b);
    out[3] = vget_high_u8(b);
}

/* sum += sc lane `n` (and n + 1) * (32 elements . x0, x1 (and the next 32 . x2, x3)) */
#define TWO_SUB_BLOCKS(sum, sc, n, w0, w1, w2, w3)                                                                     \
    do {                                                                                                               \
        sum = vmlaq_laneq_s32(sum, vdotq_s32(vdotq_s32(vdupq_n_s32(0), w0, x[0]), w1, x[1]), sc, n);                   \
        sum = vmlaq_laneq_s32(sum, vdotq_s32(vdotq_s32(vdupq_n_s32(0), w2, x[2]), w3, x[3]), sc, (n) + 1);             \
    } while (0)

/* The bit of h that `right` (negative: left) brings to 4. */
INLINE int8x16_t with_bit(int8x16_t low, uint8x16_t h, const int right)
{
    uint8x16_t bit = vandq_u8(right < 0 ? h << -right : h >> right, vdupq_n_u8(16));
    return vorrq_s8(low, vreinterpretq_s8_u8(bit));
}

/* Sub-blocks 2c and 2c+1 of one row, whose high bits (if any) are bits 2c and 2c+1 of h. */
INLINE int32x4_t chunk64(const unsigned char *q, const uint8x16_t *h, const int8x16_t x[4], int32x4_t sum,
                         const int32x4_t sc[2], const int c)
{
    uint8x16_t q0 = vld1q_u8(q + 32 * c), q1 = vld1q_u8(q + 32 * c + 16);
    int8x16_t w0 = low_nibbles(q0), w1 = low_nibbles(q1), w2 = high_nibbles(q0), w3 = high_nibbles(q1);
    if (h) {
        w0 = with_bit(w0, h[0], 2 * c - 4);
        w1 = with_bit(w1, h[1], 2 * c - 4);
        w2 = with_bit(w2, h[0], 2 * c - 3);
        w3 = with_bit(w3, h[1], 2 * c - 3);
    }
    if (c % 2 == 0)
        TWO_SUB_BLOCKS(sum, sc[c / 2], 0, w0, w1, w2, w3);
    else
        TWO_SUB_BLOCKS(sum, sc[c / 2], 2, w0, w1, w2, w3);
    return sum;
}

/* R rows at a time: with high bits, four would not fit in the registers. */
INLINE void rows_q45_k(const unsigned char *const *w, size_t off, const int8_t *x, const uint8x8_t *s8, int32x4_t *sum,
                       const bool high, const int R)
{
    int32x4_t sc[4][2];
    uint8x16_t h[4][2];
    UNROLL
    for (int i = 0; i < R; i++) {
        uint16x8_t s = vmovl_u8(s8[i]);
        sc[i][0] = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(s)));
        sc[i][1] = vreinterpretq_s32_u32(vmovl_high_u16(s));
        sum[i] = vdupq_n_s32(0);
        h[i][0] = high ? vld1q_u8(w[i] + off + 16) : vdupq_n_u8(0);
        h[i][1] = high ? vld1q_u8(w[i] + off + 32) : vdupq_n_u8(0);
    }
    UNROLL
    for (int c = 0; c < 4; c++) {
        int8x16_t xs[4];
        UNROLL
        for (int i = 0; i < 4; i++)
            xs[i] = vld1q_s8(x + c * 64 + i * 16);
        UNROLL
        for (int i = 0; i < R; i++)
            sum[i] = chunk64(w[i] + off + (high ? 48 : 16), high ? h[i] : NULL, xs, sum[i], sc[i], c);
    }
}

INLINE float32x4_t one_q45_k(four w, const char *x, int k, const bool high, const size_t bytes)
{
    const float *dx = qn__q256_d(x, k);
    const int16_t *s16 = qn__q256_s(x, k);
    float32x4_t acc = vdupq_n_f32(0.0f);
    for (int b = 0; b < k / 256; b++) {
        size_t off = (size_t)b * bytes;
        int16x8_t pairs = vpaddq_s16(vld1q_s16(s16 + b * 16), vld1q_s16(s16 + b * 16 + 8));
        uint32x4_t sc[2], mins[2];
        uint8x8_t s8[4], m8[4];
        int32x4_t sum[4], msum[4];
        float32x4_t d, dmin;
        heads(w, off, &d, &dmin, sc, mins);
        rows_of(sc, s8);
        rows_of(mins, m8);
        UNROLL
        for (int i = 0; i < 4; i++) {
            int16x8_t m = vreinterpretq_s16_u16(vmovl_u8(m8[i]));
            msum[i] = vmlal_high_s16(vmull_s16(vget_low_s16(m), vget_low_s16(pairs)), m, pairs);
        }
        for (int i = 0; i < 4; i += high ? 2 : 4)
            rows_q45_k(w + i, off, (const int8_t *)x + b * 256, s8 + i, sum + i, high, high ? 2 : 4);
        acc = vfmaq_f32(acc, vmulq_n_f32(d, dx[b]), vcvtq_f32_s32(row_sums(sum)));
        acc = vfmsq_f32(acc, vmulq_n_f32(dmin, dx[b]), vcvtq_f32_s32(row_sums(msum)));
    }
    return acc;
}

INLINE float32x4_t one_q4_k(four w, const char *x, int k)
{
    return one_q45_k(w, x, k, false, 144);
}

INLINE float32x4_t one_q5_k(four w, const char *x, int k)
{
    return one_q45_k(w, x, k, true, 176);
}

INLINE int8x16_t six(int8x16_t low, uint8x16_t high)
{
    return vorrq_s8(low, vreinterpretq_s8_u8(vandq_u8(high, vdupq_n_u8(0x30))));
}

/* sum += 128 elements of one row, without the offset; sc: their 8 scales. */
INLINE int32x4_t half_q6_k(const unsigned char *l, const unsigned char *high, const int8_t *x, int32x4_t sum,
                           const int32x4_t sc[2])
{
    const int32x4_t zero = vdupq_n_s32(0);
    UNROLL
    for (int c = 0; c < 2; c++) {
        uint8x16_t a = vld1q_u8(l + 16 * c), b = vld1q_u8(l + 32 + 16 * c), h = vld1q_u8(high + 16 * c);
        int32x4_t s[4];
        s[0] = vdotq_s32(zero, six(low_nibbles(a), vshlq_n_u8(h, 4)), vld1q_s8(x + 16 * c));
        s[1] = vdotq_s32(zero, six(low_nibbles(b), vshlq_n_u8(h, 2)), vld1q_s8(x + 32 + 16 * c));
        s[2] = vdotq_s32(zero, six(high_nibbles(a), h), vld1q_s8(x + 64 + 16 * c));
        s[3] = vdotq_s32(zero, six(high_nibbles(b), vshrq_n_u8(h, 2)), vld1q_s8(x + 96 + 16 * c));
        if (c == 0) {
            sum = vmlaq_laneq_s32(vmlaq_laneq_s32(sum, s[0], sc[0], 0), s[1], sc[0], 2);
            sum = vmlaq_laneq_s32(vmlaq_laneq_s32(sum, s[2], sc[1], 0), s[3], sc[1], 2);
        } else {
            sum = vmlaq_laneq_s32(vmlaq_laneq_s32(sum, s[0], sc[0], 1), s[1], sc[0], 3);
            sum = vmlaq_laneq_s32(vmlaq_laneq_s32(sum, s[2], sc[1], 1), s[3], sc[1], 3);
        }
    }
    return sum;
}

INLINE float32x4_t one_q6_k(four w, const char *x, int k)
{
    const float *dx = qn__q256_d(x, k);
    const int16_t *s16 = qn__q256_s(x, k);
    float32x4_t acc = vdupq_n_f32(0.0f);
    for (int b = 0; b < k / 256; b++) {
        size_t off = (size_t)b * 210;
        int16x8_t s0 = vld1q_s16(s16 + b * 16), s1 = vld1q_s16(s16 + b * 16 + 8);
        int32x4_t sum[4];
        for (int i = 0; i < 4; i++) { /* not unrolled: one row fits in the registers */
            const unsigned char *p = w[i] + off;
            int8x16_t q = vld1q_s8((const int8_t *)p + 192);
            int16x8_t c0 = vmovl_s8(vget_low_s8(q)), c1 = vmovl_high_s8(q);
            int32x4_t o = vmlal_high_s16(vmull_s16(vget_low_s16(c0), vget_low_s16(s0)), c0, s0);
            o = vmlal_high_s16(vmlal_s16(o, vget_low_s16(c1), vget_low_s16(s1)), c1, s1);
            int32x4_t sc[4] = {vmovl_s16(vget_low_s16(c0)), vmovl_high_s16(c0), vmovl_s16(vget_low_s16(c1)),
                               vmovl_high_s16(c1)};
            sum[i] = vshlq_n_s32(vnegq_s32(o), 5); /* the offset of 32 */
            sum[i] = half_q6_k(p, p + 128, (const int8_t *)x + b * 256, sum[i], sc);
            sum[i] = half_q6_k(p + 64, p + 160, (const int8_t *)x + b * 256 + 128, sum[i], sc + 2);
        }
        acc = vfmaq_f32(acc, vmulq_n_f32(four_halves(w, off + 208), dx[b]), vcvtq_f32_s32(row_sums(sum)));
    }
    return acc;
}

void qn__neon_matmul_Q4_K(const qn_matmul *a)
{
    if (a->tokens == 1)
        one_token(a, one_q4_k);
    else
        matmul_panels(a, 256, 144, unpack_q4_k, dot_q45_k);
}

void qn__neon_matmul_Q5_K(const qn_matmul *a)
{
    if (a->tokens == 1)
        one_token(a, one_q5_k);
    else
        matmul_panels(a, 256, 176, unpack_q5_k, dot_q45_k);
}

void qn__neon_matmul_Q6_K(const qn_matmul *a)
{
    if (a->tokens == 1)
        one_token(a, one_q6_k);
    else
        matmul_panels(a, 256, 210, unpack_q6_k, dot_q6_k);
}
