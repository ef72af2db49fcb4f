/* act.h - the prepared forms of an activation row: where each part lies. Every level reads and writes the same bytes.
 *
 *   F32     [f32 x: k]                                    padded with zeros to 16 floats
 *   Q8_32   [i8 q: k][f32 d: k/32][i32 n8: k/32]          x = d*q; n8 = -8 * sum of the block's q
 *   Q8_256  [i8 q: k][i16 s: k/16][i16 o: k/8][f32 d: k/256][i16 s2: k/32]
 *                                                         x = d*q; s = sum of 16 q, s2 = of 32; o = -32 * sum of 8 q
 *
 * d = amax/127, q = rint(x * (127/amax)) in [-127, 127], halves to even. A block whose amax is below 2^-120 is zero
 * (127/amax would overflow). A block that holds an infinity or NaN has d = NaN and q = 0: what it touches becomes NaN,
 * honestly. n8 exists because the weights of these types are unsigned with an offset: sum (w-8)x = sum wx + n8, and
 * 16*n8 for w-128. o does the same for 8 elements of Q6_K, whose sum is then one of 16 bits: 8*32*127 = 32512. */
#ifndef QN_KERNELS_ACT_H
#define QN_KERNELS_ACT_H

#include "kernels/kernels.h"

#define QN_ACT_TINY 0x1p-120f

static inline const float *qn__q32_d(const void *x, int k)
{
    return (const float *)((const char *)x + k);
}
static inline const int32_t *qn__q32_n8(const void *x, int k)
{
    return (const int32_t *)((const char *)x + k + k / 8);
}
static inline const int16_t *qn__q256_s(const void *x, int k)
{
    return (const int16_t *)((const char *)x + k);
}
static inline const int16_t *qn__q256_o(const void *x, int k)
{
    return (const int16_t *)((const char *)x + k + k / 8);
}
static inline const float *qn__q256_d(const void *x, int k)
{
    return (const float *)((const char *)x + k + k / 8 + k / 4);
}
static inline const int16_t *qn__q256_s2(const void *x, int k)
{
    return (const int16_t *)((const char *)x + k + k / 8 + k / 4 + k / 64);
}

#endif
