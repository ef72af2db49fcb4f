/* matmul_q32.c - weights in blocks of 32 with one scale, activations Q8_32. Per block an exact integer sum and one fma:
 * acc = fma(d*dx, sum, acc), blocks ascending. All levels agree to the bit.
 *
 *   Q8_0  f16 d, i8 q[32]                     w = d*q
 *   Q4_0  f16 d, u8 q[16]: low nibbles 0..15, high nibbles 16..31      w = d*(q - 8)
 *   Q5_0  f16 d, u32 h, u8 q[16]: as Q4_0, bit i of h is bit 4 of element i      w = d*(q - 16) */
#include <math.h>
#include <string.h>

#include "kernels/act.h"
#include "kernels/f16.h"
#include "kernels/ref/ref.h"

static int32_t dot_q8_0(const unsigned char *w, const int8_t *x)
{
    const int8_t *q = (const int8_t *)w + 2;
    int32_t sum = 0;
    for (int i = 0; i < 32; i++)
        sum += q[i] * x[i];
    return sum;
}

static int32_t dot_q4_0(const unsigned char *w, const int8_t *x)
{
    const unsigned char *q = w + 2;
    int32_t sum = 0;
    for (int i = 0; i < 16; i++)
        sum += ((q[i] & 15) - 8) * x[i] + ((q[i] >> 4) - 8) * x[i + 16];
    return sum;
}

static int32_t dot_q5_0(const unsigned char *w, const int8_t *x)
{
    const unsigned char *q = w + 6;
    uint32_t h;
    int32_t sum = 0;
    memcpy(&h, w + 2, sizeof h);
    for (int i = 0; i < 16; i++) {
        int low = (q[i] & 15) | (int)(h >> i & 1) << 4, high = q[i] >> 4 | (int)(h >> (i + 16) & 1) << 4;
        sum += (low - 16) * x[i] + (high - 16) * x[i + 16];
    }
    return sum;
}

static inline void matmul(const qn_matmul *a, size_t bytes, int32_t (*dot)(const unsigned char *, const int8_t *))
{
    for (int t = 0; t < a->tokens; t++) {
        const char *x = (const char *)a->x + (size_t)t * a->x_stride;
        const float *dx = qn__q32_d(x, a->k);
        for (int r = 0; r < a->rows; r++) {
            const unsigned char *w = (const unsigned char *)a->w + (size_t)r * a->w_stride;
            float acc = 0;
            for (int b = 0; b < a->k / 32; b++, w += bytes) {
                uint16_t h;
                memcpy(&h, w, sizeof h);
                acc = fmaf(qn__f16_to_f32(h) * dx[b], (float)dot(w, (const int8_t *)x + b * 32), acc);
            }
            a->y[(size_t)t * a->y_stride + (size_t)r] = acc;
        }
    }
}

void qn__ref_matmul_Q8_0(const qn_matmul *a)
{
    matmul(a, 34, dot_q8_0);
}

void qn__ref_matmul_Q4_0(const qn_matmul *a)
{
    matmul(a, 18, dot_q4_0);
}

void qn__ref_matmul_Q5_0(const qn_matmul *a)
{
    matmul(a, 22, dot_q5_0);
}
