/* prepare.c - activation rows in the form a matmul wants (kernels/act.h). */
#include <math.h>
#include <string.h>

#include "kernels/act.h"
#include "kernels/ref/ref.h"

void qn__ref_prepare_f32(const float *x, void *dst, int k)
{
    size_t n = (size_t)k * sizeof(float);
    memcpy(dst, x, n);
    memset((char *)dst + n, 0, qn__act_bytes(QN_ACT_F32, k) - n);
}

/* Quantise n floats to q; returns the scale. The largest magnitude is taken from the bits, where NaN and infinity are
 * largest of all. */
static float quantise(const float *x, int8_t *q, int n)
{
    uint32_t top = 0;
    for (int i = 0; i < n; i++) {
        uint32_t b;
        memcpy(&b, &x[i], sizeof b);
        b &= 0x7fffffffu;
        top = b > top ? b : top;
    }
    float amax;
    memcpy(&amax, &top, sizeof amax);
    if (!(amax >= QN_ACT_TINY) || isinf(amax)) {
        memset(q, 0, (size_t)n);
        return amax < QN_ACT_TINY ? 0.0f : NAN;
    }
    float id = 127.0f / amax;
    for (int i = 0; i < n; i++)
        q[i] = (int8_t)rintf(x[i] * id);
    return amax / 127.0f;
}

void qn__ref_prepare_q8_32(const float *x, void *dst, int k)
{
    int8_t *q = dst;
    float *d = (float *)((char *)dst + k);
    int32_t *n8 = (int32_t *)((char *)dst + k + k / 8);
    for (int b = 0; b < k / 32; b++) {
        d[b] = quantise(x + b * 32, q + b * 32, 32);
        int32_t s = 0;
        for (int i = 0; i < 32; i++)
            s += q[b * 32 + i];
        n8[b] = -8 * s;
    }
}

void qn__ref_prepare_q8_256(const float *x, void *dst, int k)
{
    int8_t *q = dst;
    int16_t *s = (int16_t *)((char *)dst + k);
    int16_t *o = (int16_t *)((char *)dst + k + k / 8);
    float *d = (float *)((char *)dst + k + k / 8 + k / 4);
    int16_t *s2 = (int16_t *)((char *)dst + k + k / 8 + k / 4 + k / 64);
    for (int b = 0; b < k / 256; b++)
        d[b] = quantise(x + b * 256, q + b * 256, 256);
    for (int j = 0; j < k / 16; j++) {
        int sum = 0;
        for (int i = 0; i < 16; i++)
            sum += q[j * 16 + i];
        s[j] = (int16_t)sum;
    }
    for (int j = 0; j < k / 8; j++) {
        int sum = 0;
        for (int i = 0; i < 8; i++)
            sum += q[j * 8 + i];
        o[j] = (int16_t)(-32 * sum);
    }
    for (int j = 0; j < k / 32; j++)
        s2[j] = (int16_t)(s[2 * j] + s[2 * j + 1]);
}
