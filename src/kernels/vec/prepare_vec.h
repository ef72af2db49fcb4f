/* prepare_vec.h - quantising activation rows; the body of every prepare_LEVEL.c. The bytes are those of ref/prepare.c.
 */
#include <math.h>

#include "kernels/act.h"

/* n a multiple of 32. Returns the scale. */
INLINE float quantise(const float *x, int8_t *q, int n)
{
    vi bits = vi_set1(0x7fffffff), top = vi_zero();
    for (int i = 0; i < n; i += VF_N)
        top = vi_max_u(top, vi_and(vi_bits(vf_load(x + i)), bits));
    uint32_t t = vi_hmax_u(top);
    float amax;
    memcpy(&amax, &t, sizeof amax);
    if (!(amax >= QN_ACT_TINY) || isinf(amax)) {
        memset(q, 0, (size_t)n);
        return amax < QN_ACT_TINY ? 0.0f : NAN;
    }
    vf id = vf_set1(127.0f / amax);
    for (int i = 0; i < n; i += VF_N)
        vi_store_i8(q + i, vi_from_f(vf_mul(vf_load(x + i), id)));
    return amax / 127.0f;
}

void VF_NAME(prepare_q8_32)(const float *x, void *dst, int k)
{
    int8_t *q = dst;
    float *d = (float *)((char *)dst + k);
    int32_t *n8 = (int32_t *)((char *)dst + k + k / 8);
    for (int b = 0; b < k / 32; b++)
        d[b] = quantise(x + b * 32, q + b * 32, 32);
    for (int b = 0; b < k / 32; b++) /* not at once, for a load waits for the smaller stores that it covers */
        n8[b] = -8 * vi_sum(vi_sum4(vi_load_32(q + b * 32)));
}

/* o, s and s2 of 256 q: sums of 4 neighbours, and of those, again and again. */
INLINE void sums_256(const int8_t *q, int16_t *o, int16_t *s, int16_t *s2)
{
    enum { N = 64 / VF_N };
    int16_t t[VF_N > 8 ? VF_N : 8];
    vi v[N];
    UNROLL
    for (int i = 0; i < N; i++)
        v[i] = vi_sum4(vi_load(q + 4 * VF_N * i));
    UNROLL
    for (int i = 0; i < N / 2; i++) {
        v[i] = vi_pairs(v[2 * i], v[2 * i + 1]);
        vi_store_i16(o + VF_N * i, vi_sub(vi_zero(), vi_sll(v[i], 5)));
    }
    UNROLL
    for (int i = 0; i < N / 4; i++) {
        v[i] = vi_pairs(v[2 * i], v[2 * i + 1]);
        vi_store_i16(s + VF_N * i, v[i]);
    }
    vi_store_i16(t, vi_pairs(v[0], v[N / 4 - 1]));
    memcpy(s2, t, 8 * sizeof *s2);
}

void VF_NAME(prepare_q8_256)(const float *x, void *dst, int k)
{
    int8_t *q = dst;
    int16_t *s = (int16_t *)((char *)dst + k);
    int16_t *o = (int16_t *)((char *)dst + k + k / 8);
    float *d = (float *)((char *)dst + k + k / 8 + k / 4);
    int16_t *s2 = (int16_t *)((char *)dst + k + k / 8 + k / 4 + k / 64);
    for (int b = 0; b < k / 256; b++) {
        d[b] = quantise(x + b * 256, q + b * 256, 256);
        sums_256(q + b * 256, o + b * 32, s + b * 16, s2 + b * 8);
    }
}
