/* step_neon.h - how the neon level multiplies a panel of weights (quant_arm.h) with SDOT: a vector has four rows across
 * its lanes, one token at a time; that token's four activations are taken from a lane.
 *
 *      vector 2*c + h of a chunk, lane r  =  elements 4c..4c+3 of row 4h + r        c = 0..3, h = 0..1 */
#ifndef QN_KERNELS_STEP_NEON_H
#define QN_KERNELS_STEP_NEON_H

#include "kernels/arm/vec_neon.h"

enum { UNIT = 1, V = 2, TILE_U = 4 }; /* tokens a vector; vectors for 8 rows; units of a tile */

typedef struct chunk_x { /* 16 activations of a unit */
    int8x16_t x;
} chunk_x;

INLINE chunk_x load_x(const char *x, size_t stride)
{
    (void)stride;
    return (chunk_x){vld1q_s8((const int8_t *)x)};
}

/* s + a dword of four rows against activations 4c..4c+3. */
INLINE int32x4_t lane_dot(int32x4_t s, int8x16_t w, int8x16_t x, const int c)
{
    return c == 0   ? vdotq_laneq_s32(s, w, x, 0)
           : c == 1 ? vdotq_laneq_s32(s, w, x, 1)
           : c == 2 ? vdotq_laneq_s32(s, w, x, 2)
                    : vdotq_laneq_s32(s, w, x, 3);
}

INLINE void step(int32x4_t s[V], const int8x16_t w[8], chunk_x x)
{
    UNROLL
    for (int h = 0; h < 2; h++) {
        s[h] = vdotq_laneq_s32(s[h], w[0 + h], x.x, 0);
        s[h] = vdotq_laneq_s32(s[h], w[2 + h], x.x, 1);
        s[h] = vdotq_laneq_s32(s[h], w[4 + h], x.x, 2);
        s[h] = vdotq_laneq_s32(s[h], w[6 + h], x.x, 3);
    }
}

/* 16 bytes of each of 8 rows -> a chunk. */
INLINE void arrange(const uint8x16_t rows[8], uint8x16_t out[8])
{
    UNROLL
    for (int h = 0; h < 2; h++) {
        int32x4_t z[4], c[4];
        UNROLL
        for (int i = 0; i < 4; i++)
            z[i] = vreinterpretq_s32_u8(rows[4 * h + i]);
        qn__transpose(z, c);
        UNROLL
        for (int i = 0; i < 4; i++)
            out[2 * i + h] = vreinterpretq_u8_s32(c[i]);
    }
}

/* Dword c of rows 4h..4h+3 in cols[2*c + h] -> a chunk. */
INLINE void arrange_columns(const uint8x16_t cols[8], uint8x16_t out[8])
{
    UNROLL
    for (int i = 0; i < 8; i++)
        out[i] = cols[i];
}

/* A number of each of 8 rows -> as the sums lie. */
INLINE void spread(const int32x4_t rows[2], int32x4_t out[V])
{
    out[0] = rows[0];
    out[1] = rows[1];
}
INLINE void spread_f(vf rows, float32x4_t out[V])
{
    out[0] = rows.a;
    out[1] = rows.b;
}
/* A number of each token of a unit -> as the sums lie; the numbers of consecutive tokens are `stride` bytes apart. */
INLINE float32x4_t unit_f(const float *p, size_t stride)
{
    (void)stride;
    return vld1q_dup_f32(p);
}
/* The same for four numbers of each token. */
INLINE void unit_i(const int32x4_t *tokens, int32x4_t out[4])
{
    out[0] = vdupq_laneq_s32(tokens[0], 0);
    out[1] = vdupq_laneq_s32(tokens[0], 1);
    out[2] = vdupq_laneq_s32(tokens[0], 2);
    out[3] = vdupq_laneq_s32(tokens[0], 3);
}

#endif
