/* step_i8mm.h - how the i8mm level multiplies a panel of weights (quant_arm.h) with SMMLA: a vector has two rows, and
 * of each its sums with two tokens.
 *
 *      vector 2*i + h of a chunk  =  elements 8h..8h+7 of row 2i, then of row 2i + 1        i = 0..3, h = 0..1
 *      sum i                      =  row 2i token 0, row 2i token 1, row 2i+1 token 0, row 2i+1 token 1 */
#ifndef QN_KERNELS_STEP_I8MM_H
#define QN_KERNELS_STEP_I8MM_H

#include "kernels/arm/vec_neon.h"

enum { UNIT = 2, V = 4, TILE_U = 2 }; /* tokens a vector; vectors for 8 rows; units of a tile */

typedef struct chunk_x { /* 16 activations of two tokens */
    int8x16_t lo, hi;
} chunk_x;

INLINE chunk_x load_x(const char *x, size_t stride)
{
    int64x2_t a = vreinterpretq_s64_s8(vld1q_s8((const int8_t *)x));
    int64x2_t b = vreinterpretq_s64_s8(vld1q_s8((const int8_t *)x + stride));
    return (chunk_x){vreinterpretq_s8_s64(vzip1q_s64(a, b)), vreinterpretq_s8_s64(vzip2q_s64(a, b))};
}

INLINE void step(int32x4_t s[V], const int8x16_t w[8], chunk_x x)
{
    UNROLL
    for (int i = 0; i < 4; i++)
        s[i] = vmmlaq_s32(vmmlaq_s32(s[i], w[2 * i], x.lo), w[2 * i + 1], x.hi);
}

/* 16 bytes of each of 8 rows -> a chunk. */
INLINE void arrange(const uint8x16_t rows[8], uint8x16_t out[8])
{
    UNROLL
    for (int i = 0; i < 4; i++) {
        uint64x2_t a = vreinterpretq_u64_u8(rows[2 * i]), b = vreinterpretq_u64_u8(rows[2 * i + 1]);
        out[2 * i] = vreinterpretq_u8_u64(vzip1q_u64(a, b));
        out[2 * i + 1] = vreinterpretq_u8_u64(vzip2q_u64(a, b));
    }
}

/* Dword c of rows 4q..4q+3 in cols[2*c + q] -> a chunk. */
INLINE void arrange_columns(const uint8x16_t cols[8], uint8x16_t out[8])
{
    UNROLL
    for (int i = 0; i < 8; i++) { /* of rows 4q + 2p and 4q + 2p + 1 their half h */
        const int h = i % 2, p = i / 2 % 2, q = i / 4;
        uint32x4_t a = vreinterpretq_u32_u8(cols[4 * h + q]), b = vreinterpretq_u32_u8(cols[4 * h + 2 + q]);
        out[i] = vreinterpretq_u8_u32(p ? vzip2q_u32(a, b) : vzip1q_u32(a, b));
    }
}

/* A number of each of 8 rows -> as the sums lie. */
INLINE void spread(const int32x4_t rows[2], int32x4_t out[V])
{
    UNROLL
    for (int h = 0; h < 2; h++) {
        out[2 * h] = vzip1q_s32(rows[h], rows[h]);
        out[2 * h + 1] = vzip2q_s32(rows[h], rows[h]);
    }
}
INLINE void spread_f(vf rows, float32x4_t out[V])
{
    out[0] = vzip1q_f32(rows.a, rows.a);
    out[1] = vzip2q_f32(rows.a, rows.a);
    out[2] = vzip1q_f32(rows.b, rows.b);
    out[3] = vzip2q_f32(rows.b, rows.b);
}
/* A number of each token of a unit -> as the sums lie; the numbers of consecutive tokens are `stride` bytes apart. */
INLINE float32x4_t unit_f(const float *p, size_t stride)
{
    float32x2_t v = vset_lane_f32(*(const float *)((const char *)p + stride), vdup_n_f32(*p), 1);
    return vcombine_f32(v, v);
}
/* The same for four numbers of each token. */
INLINE void unit_i(const int32x4_t *tokens, int32x4_t out[4])
{
    int64x2_t lo = vreinterpretq_s64_s32(vzip1q_s32(tokens[0], tokens[1]));
    int64x2_t hi = vreinterpretq_s64_s32(vzip2q_s32(tokens[0], tokens[1]));
    out[0] = vreinterpretq_s32_s64(vdupq_laneq_s64(lo, 0));
    out[1] = vreinterpretq_s32_s64(vdupq_laneq_s64(lo, 1));
    out[2] = vreinterpretq_s32_s64(vdupq_laneq_s64(hi, 0));
    out[3] = vreinterpretq_s32_s64(vdupq_laneq_s64(hi, 1));
}

#endif
