/* prepare_vec.h - quantising activation rows; the body of every prepare_LEVEL.c. The bytes are those of ref/prepare.c.
 */
#include <math.h>

#include "kernels/act.h"

/* n a multiple of 32; s[j] = sum of the j-th 16 of q. Returns the scale. */
INLINE float quantise(const float *x, int8_t *q, int32_t *s, int n)
{
    vi bits = vi_set1(0x7fffffff), top = vi_zero();
    for (int i = 0; i < n; i += VF_N)
        top = vi_max_u(top, vi_and(vi_bits(vf_load(x + i)), bits));
    uint32_t t = vi_hmax_u(top);
    float amax;
    memcpy(&amax, &t, sizeof amax);
    if (!(amax >= QN_ACT_TINY) || isinf(amax)) {
        memset(q, 0, (size_t)n);
        memset(s, 0, (size_t)n / 16 * sizeof *s);
        return amax < QN_ACT_TINY ? 0.0f : NAN;
    }
    vf id = vf_set1(127.0f / amax);
    for (int j = 0; j < n / 16; j++) {
        vi sum = vi_zero();
        UNROLL
        for (int i = 0; i < 16; i += VF_N) {
            vi v = vi_from_f(vf_mul(vf_load(x + j * 16 + i), id));
            vi_store_i8(q + j * 16 + i, v);
            sum = vi_add(sum, v);
        }
        s[j] = vi_sum(sum);
    }
    return amax / 127.0f;
}

void VF_NAME(prepare_q8_32)(const float *x, void *dst, int k)
{
    int8_t *q = dst;
    float *d = (float *)((char *)dst + k);
    int32_t *n8 = (int32_t *)((char *)dst + k + k / 8);
    for (int b = 0; b < k / 32; b++) {
        int32_t s[2];
        d[b] = quantise(x + b * 32, q + b * 32, s, 32);
        n8[b] = -8 * (s[0] + s[1]);
    }
}

void VF_NAME(prepare_q8_256)(const float *x, void *dst, int k)
{
    int8_t *q = dst;
    int16_t *s16 = (int16_t *)((char *)dst + k);
    float *d = (float *)((char *)dst + k + k / 8);
    int16_t *s2 = (int16_t *)((char *)dst + k + k / 8 + k / 64);
    for (int b = 0; b < k / 256; b++) {
        int32_t s[16];
        d[b] = quantise(x + b * 256, q + b * 256, s, 256);
        for (int j = 0; j < 16; j++)
            s16[b * 16 + j] = (int16_t)s[j];
        for (int j = 0; j < 8; j++)
            s2[b * 8 + j] = (int16_t)(s[2 * j] + s[2 * j + 1]);
    }
}
