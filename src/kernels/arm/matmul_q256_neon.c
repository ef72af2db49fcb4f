/* matmul_q256_neon.c - Q4_K, Q5_K, Q6_K with SDOT. See quant_arm.h and one_token.h. */
#include "kernels/arm/step_neon.h"

#include "kernels/arm/one_token.h"

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
        int32x4_t sum[4], msum[4], head[4];
        float32x4_t d, dmin;
        four_columns(w, off, head);
        heads(head, &d, &dmin, sc, mins);
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

/* ---- packed ---- */

typedef struct head8 { /* of eight rows: [scales or minima 4i .. 4i+3][rows 4h .. 4h+3] */
    vf d, dmin;
    int8x16_t sc[2][2], m[2][2]; /* [h][i] */
} head8;

INLINE head8 head_of_group(rows_at p)
{
    int32x4_t c[2][4];
    uint32x4_t sc[2][2], m[2][2];
    head8 u;
    columns(p, 0, c, true);
    heads(c[0], &u.d.a, &u.dmin.a, sc[0], m[0]);
    heads(c[1], &u.d.b, &u.dmin.b, sc[1], m[1]);
    UNROLL
    for (int i = 0; i < 4; i++) {
        u.sc[i / 2][i % 2] = vreinterpretq_s8_u32(sc[i / 2][i % 2]);
        u.m[i / 2][i % 2] = vreinterpretq_s8_u32(m[i / 2][i % 2]);
    }
    return u;
}

/* Byte j of each lane. */
INLINE int32x4_t byte_of(int8x16_t v, const int j)
{
    uint32x4_t u = vreinterpretq_u32_s8(v);
    return vreinterpretq_s32_u32(j == 0   ? vandq_u32(u, vdupq_n_u32(255))
                                 : j == 1 ? vandq_u32(vshrq_n_u32(u, 8), vdupq_n_u32(255))
                                 : j == 2 ? vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(255))
                                          : vshrq_n_u32(u, 24));
}

INLINE int32x4_t signed_byte_of(int8x16_t v, const int j)
{
    int32x4_t s = vreinterpretq_s32_s8(v);
    return vshrq_n_s32(j == 0 ? vshlq_n_s32(s, 24) : j == 1 ? vshlq_n_s32(s, 16) : j == 2 ? vshlq_n_s32(s, 8) : s, 24);
}

INLINE void finish_q45_k(float32x4_t acc[2], const head8 *u, byte_sums pairs, float dx, const int32x4_t sum[2])
{
    const int32x4_t msum[2] = {weigh_sums(pairs, u->m[0], 8), weigh_sums(pairs, u->m[1], 8)};
    add_block(acc, u->d, dx, sum);
    subtract_block(acc, u->dmin, dx, msum);
}

INLINE void group_of_q4_k(rows_at p, const char *x, int k, int b, float32x4_t acc[2])
{
    const head8 u = head_of_group(p);
    int32x4_t sum[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
    UNROLL
    for (int e = 0; e < 4; e++) { /* sub-blocks 2e and 2e+1 */
        int32x4_t even[2] = {vdupq_n_s32(0), vdupq_n_s32(0)}, odd[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
        const char *at = x + b * 256 + e * 64;
        UNROLL
        for (int half = 0; half < 2; half++) {
            uint8x16_t q[8];
            loads_stay();
            take(p, 16 + 32 * (size_t)e + 16 * (size_t)half, q, true);
            step_low(even, q, chunk_at(at + 16 * half));
            step_high(odd, q, chunk_at(at + 32 + 16 * half));
        }
        UNROLL
        for (int h = 0; h < 2; h++) {
            sum[h] = vmlaq_s32(sum[h], even[h], byte_of(u.sc[h][e / 2], e % 2 * 2));
            sum[h] = vmlaq_s32(sum[h], odd[h], byte_of(u.sc[h][e / 2], e % 2 * 2 + 1));
        }
    }
    finish_q45_k(acc, &u, bytes_of_sums(qn__q256_s2(x, k) + b * 8, 8), qn__q256_d(x, k)[b], sum);
}

/* Sub-blocks 4f .. 4f+3, less 16 an element: a high bit that is missing gives 0xf0 above the nibble. A vector of high bits
 * serves all four. */
INLINE void four_q5_k(rows_at p, const int8_t *x, const int f, int32x4_t s[4][2])
{
    UNROLL
    for (int j = 0; j < 4; j++)
        s[j][0] = s[j][1] = vdupq_n_s32(0);
    UNROLL
    for (int g = 0; g < 2; g++) { /* 16 elements of each */
        int8x16_t xs[4];
        UNROLL
        for (int j = 0; j < 4; j++)
            xs[j] = vld1q_s8(x + 32 * (4 * f + j) + 16 * g);
        UNROLL
        for (int i = 0; i < 8; i++) {
            const int h = i % 2;
            const size_t at = 16 * (size_t)g + 4 * (size_t)(i / 2);
            loads_stay();
            uint8x16_t missing = vmvnq_u8(packed_column(p, 16 + at, h));
            missing = in_register(f ? vshrq_n_u8(missing, 4) : missing);
            UNROLL
            for (int e = 0; e < 2; e++) {
                uint8x16_t q = packed_column(p, 48 + 32 * (size_t)(2 * f + e) + at, h);
                uint8x16_t even = vtstq_u8(missing, vdupq_n_u8((uint8_t)(1 << 2 * e)));
                uint8x16_t odd = vtstq_u8(missing, vdupq_n_u8((uint8_t)(2 << 2 * e)));
                s[2 * e][h] = lane_dot(s[2 * e][h], above_low(even, q), xs[2 * e], i / 2);
                s[2 * e + 1][h] = lane_dot(s[2 * e + 1][h], above_high(odd, q), xs[2 * e + 1], i / 2);
            }
        }
    }
}

INLINE void group_of_q5_k(rows_at p, const char *x, int k, int b, float32x4_t acc[2])
{
    const head8 u = head_of_group(p);
    const byte_sums pairs = bytes_of_sums(qn__q256_s2(x, k) + b * 8, 8);
    int32x4_t sum[2];
    UNROLL
    for (int h = 0; h < 2; h++)
        sum[h] = vshlq_n_s32(weigh_sums(pairs, u.sc[h], 8), 4);
    UNROLL
    for (int f = 0; f < 2; f++) {
        int32x4_t s[4][2];
        four_q5_k(p, (const int8_t *)x + b * 256, f, s);
        UNROLL
        for (int j = 0; j < 8; j++)
            sum[j % 2] = vmlaq_s32(sum[j % 2], s[j / 2][j % 2], byte_of(u.sc[j % 2][f], j / 2));
    }
    finish_q45_k(acc, &u, pairs, qn__q256_d(x, k)[b], sum);
}

/* 16 of the 32 elements of each quarter of a half: sub-blocks c, c + 2, c + 4, c + 6 of it -> s, without the offset. */
INLINE void quarters_q6_k(rows_at p, const int8_t *x, const int half, const int c, int32x4_t s[4][2])
{
    const uint8x16_t high = vdupq_n_u8(0x30);
    int8x16_t xs[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        xs[i] = vld1q_s8(x + 128 * half + 32 * i + 16 * c);
        s[i][0] = s[i][1] = vdupq_n_s32(0);
    }
    UNROLL
    for (int i = 0; i < 8; i++) {
        const int h = i % 2;
        const size_t at = 16 * (size_t)c + 4 * (size_t)(i / 2);
        loads_stay();
        uint8x16_t a = packed_column(p, 64 * (size_t)half + at, h), b = packed_column(p, 64 * (size_t)half + 32 + at, h),
                   t = packed_column(p, 128 + 32 * (size_t)half + at, h);
        s[0][h] = lane_dot(s[0][h], above_low(vandq_u8(vshlq_n_u8(t, 4), high), a), xs[0], i / 2);
        s[1][h] = lane_dot(s[1][h], above_low(vandq_u8(vshlq_n_u8(t, 2), high), b), xs[1], i / 2);
        s[2][h] = lane_dot(s[2][h], above_high(vandq_u8(t, high), a), xs[2], i / 2);
        s[3][h] = lane_dot(s[3][h], above_high(vandq_u8(vshrq_n_u8(t, 2), high), b), xs[3], i / 2);
    }
}

INLINE void group_of_q6_k(rows_at p, const char *x, int k, int b, float32x4_t acc[2])
{
    const byte_sums s16 = bytes_of_sums(qn__q256_s(x, k) + b * 16, 16);
    int8x16_t sc[2][4];
    int32x4_t sum[2];
    UNROLL
    for (int i = 0; i < 8; i++)
        sc[i % 2][i / 2] = vreinterpretq_s8_u8(packed_column(p, 192 + 4 * (size_t)(i / 2), i % 2));
    UNROLL
    for (int h = 0; h < 2; h++) /* the offset of 32 */
        sum[h] = vshlq_n_s32(vnegq_s32(weigh_sums(s16, sc[h], 16)), 5);
    UNROLL
    for (int i = 0; i < 4; i++) {
        const int half = i / 2, c = i % 2;
        int32x4_t s[4][2];
        quarters_q6_k(p, (const int8_t *)x + b * 256, half, c, s);
        UNROLL
        for (int j = 0; j < 8; j++) { /* sub-block 8*half + 2*(j/2) + c */
            const int at = 2 * (j / 2) + c;
            sum[j % 2] = vmlaq_s32(sum[j % 2], s[j / 2][j % 2], signed_byte_of(sc[j % 2][2 * half + at / 4], at % 4));
        }
    }
    add_block(acc, row_halves(p, 208, true), qn__q256_d(x, k)[b], sum);
}

void qn__neon_matmul_Q4_K(const qn_matmul *a)
{
    if (few(a))
        one_token(a, 256, 144, one_q4_k, group_of_q4_k);
    else
        matmul_panels(a, 256, 144, unpack_q4_k, dot_q45_k);
}

void qn__neon_matmul_Q5_K(const qn_matmul *a)
{
    if (few(a))
        one_token(a, 256, 176, one_q5_k, group_of_q5_k);
    else
        matmul_panels(a, 256, 176, unpack_q5_k, dot_q45_k);
}

void qn__neon_matmul_Q6_K(const qn_matmul *a)
{
    if (few(a))
        one_token(a, 256, 210, one_q6_k, group_of_q6_k);
    else
        matmul_panels(a, 256, 210, unpack_q6_k, dot_q6_k);
}
