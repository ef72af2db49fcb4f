/* one_token.h - the matmul of quantised weights with one token: nothing is worth unpacking for it. Four rows side by
 * side, multiplied as they lie; sums of integers are exact, so the lanes of a row may be added at the end of a block.
 */
#ifndef QN_KERNELS_ONE_TOKEN_H
#define QN_KERNELS_ONE_TOKEN_H

#include "kernels/act.h"
#include "kernels/arm/arm.h"

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

/* Lane i takes rows i*groups .. i*groups + groups-1 one after the other; see matmul_panels. */
INLINE void one_token(const qn_matmul *a, one_fn *rows)
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

#endif
