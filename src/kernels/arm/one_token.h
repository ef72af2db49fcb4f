/* one_token.h - the matmul of quantised weights with one token: nothing is worth unpacking for it, nor, packed, for a few
 * more, which find a group in the cache. As they lie in the file, four rows side by side; sums of integers are exact, so the lanes of a row may be added at the end of a block.
 * Packed (pack.h), a group of eight: a dword of four rows against four activations from a lane, so a lane is a row. */
#ifndef QN_KERNELS_ONE_TOKEN_H
#define QN_KERNELS_ONE_TOKEN_H

#include "kernels/act.h"
#include "kernels/arm/quant_arm.h"

typedef const unsigned char *const four[4];

/* The results of four rows of weights. */
typedef float32x4_t one_fn(four w, const char *x, int k);

/* Lane i = sum of the lanes of s[i]. */
INLINE int32x4_t row_sums(const int32x4_t s[4])
{
    return vpaddq_s32(vpaddq_s32(s[0], s[1]), vpaddq_s32(s[2], s[3]));
}

/* The half float at off in each row. */
INLINE float32x4_t four_halves(four w, size_t off)
{
    uint16_t h[4];
    UNROLL
    for (int i = 0; i < 4; i++)
        memcpy(&h[i], w[i] + off, 2);
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h)));
}

/* A weighted sum of a block's 8 or 16 sums of activations: they have 13 bits, so each is 256*hi + lo, bytes that SDOT
 * takes. */
typedef struct byte_sums {
    int8x16_t hi, lo;
} byte_sums;

INLINE byte_sums bytes_of_sums(const int16_t *s, const int n)
{
    int16x8_t a = vld1q_s16(s), b = n == 16 ? vld1q_s16(s + 8) : a;
    return (byte_sums){vcombine_s8(vrshrn_n_s16(a, 8), vrshrn_n_s16(b, 8)), vcombine_s8(vmovn_s16(a), vmovn_s16(b))};
}

/* w[i] byte j of lane r: the weight of sum 4i + j for row r, as a signed byte. */
INLINE int32x4_t weigh_sums(byte_sums s, const int8x16_t *w, const int n)
{
    int32x4_t v = vdotq_laneq_s32(vdotq_laneq_s32(vdupq_n_s32(0), w[0], s.hi, 0), w[1], s.hi, 1);
    if (n == 16)
        v = vdotq_laneq_s32(vdotq_laneq_s32(v, w[2], s.hi, 2), w[3], s.hi, 3);
    v = vshlq_n_s32(v, 8);
    v = vdotq_laneq_s32(vdotq_laneq_s32(v, w[0], s.lo, 0), w[1], s.lo, 1);
    if (n == 16)
        v = vdotq_laneq_s32(vdotq_laneq_s32(v, w[2], s.lo, 2), w[3], s.lo, 3);
    return v;
}

/* Loads are not moved across this: compilers move all of them to where a long straight piece of code begins, and then have
 * no registers left. */
INLINE void loads_stay(void)
{
    __asm__ volatile("" ::: "memory");
}

/* v is computed once and not joined with what is done with it. */
INLINE uint8x16_t in_register(uint8x16_t v)
{
    __asm__("" : "+w"(v));
    return v;
}

INLINE chunk_x chunk_at(const void *x)
{
    return load_x(x, 0);
}

/* s += 16 elements of eight rows, low nibbles of q against x; high nibbles likewise. */
INLINE void step_low(int32x4_t s[V], const uint8x16_t q[8], chunk_x x)
{
    int8x16_t w[8];
    UNROLL
    for (int i = 0; i < 8; i++)
        w[i] = low_nibbles(q[i]);
    step(s, w, x);
}
INLINE void step_high(int32x4_t s[V], const uint8x16_t q[8], chunk_x x)
{
    int8x16_t w[8];
    UNROLL
    for (int i = 0; i < 8; i++)
        w[i] = high_nibbles(q[i]);
    step(s, w, x);
}
INLINE void step_bytes(int32x4_t s[V], const uint8x16_t q[8], chunk_x x)
{
    int8x16_t w[8];
    UNROLL
    for (int i = 0; i < 8; i++)
        w[i] = vreinterpretq_s8_u8(q[i]);
    step(s, w, x);
}

/* acc[h] = fma(d*dx, sum[h], acc[h]) */
INLINE void add_block(float32x4_t acc[2], vf d, float dx, const int32x4_t sum[2])
{
    acc[0] = vfmaq_f32(acc[0], vmulq_n_f32(d.a, dx), vcvtq_f32_s32(sum[0]));
    acc[1] = vfmaq_f32(acc[1], vmulq_n_f32(d.b, dx), vcvtq_f32_s32(sum[1]));
}

/* acc[h] = fma(-(d*dx), sum[h], acc[h]) */
INLINE void subtract_block(float32x4_t acc[2], vf d, float dx, const int32x4_t sum[2])
{
    acc[0] = vfmsq_f32(acc[0], vmulq_n_f32(d.a, dx), vcvtq_f32_s32(sum[0]));
    acc[1] = vfmsq_f32(acc[1], vmulq_n_f32(d.b, dx), vcvtq_f32_s32(sum[1]));
}

/* acc = the results of a packed group, block b of which begins at p[0]. */
typedef void one_group_fn(rows_at p, const char *x, int k, int b, float32x4_t acc[2]);

INLINE void one_token_packed(const qn_matmul *a, int size, size_t bytes, one_group_fn *group)
{
    for (int r = 0; r < a->rows; r += ROWS)
        for (int t = 0; t < a->tokens; t++) {
            const unsigned char *p[ROWS];
            const char *x = (const char *)a->x + (size_t)t * a->x_stride;
            float *y = a->y + (size_t)t * a->y_stride + r;
            float32x4_t acc[2] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};
            p[0] = (const unsigned char *)a->w + (size_t)r * a->w_stride;
            for (int b = 0; b < a->k / size; b++, p[0] += ROWS * bytes)
                group(p, x, a->k, b, acc);
            vst1q_f32(y, acc[0]);
            vst1q_f32(y + 4, acc[1]);
        }
}

/* Lane i takes rows i*groups .. i*groups + groups-1 one after the other; see matmul_panels. */
INLINE void one_token_rows(const qn_matmul *a, one_fn *rows)
{
    const int groups = (a->rows + 3) / 4;
    for (int g = 0; g < groups; g++) {
        const unsigned char *w[4];
        float out[4];
        for (int i = 0; i < 4; i++) {
            int r = i * groups + g;
            w[i] = (const unsigned char *)a->w + (size_t)(r < a->rows ? r : a->rows - 1) * a->w_stride;
        }
        vst1q_f32(out, rows(w, a->x, a->k));
        for (int i = 0; i < 4 && i * groups + g < a->rows; i++)
            a->y[i * groups + g] = out[i];
    }
}

/* Blocks of `size` elements in `bytes` bytes. */
INLINE void one_token(const qn_matmul *a, int size, size_t bytes, one_fn *rows, one_group_fn *group)
{
    if (a->packed)
        one_token_packed(a, size, bytes, group);
    else
        one_token_rows(a, rows);
}

#endif
