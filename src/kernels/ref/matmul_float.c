/* matmul_float.c - matmul with float activations: F32, F16, BF16. Products and their sum are doubles, k ascending:
 * as near to the truth as a test can want. */
#include <string.h>

#include "kernels/act.h"
#include "kernels/f16.h"
#include "kernels/ref/ref.h"

static float weight_f32(const unsigned char *w)
{
    float f;
    memcpy(&f, w, sizeof f);
    return f;
}

static float weight_f16(const unsigned char *w)
{
    uint16_t h;
    memcpy(&h, w, sizeof h);
    return qn__f16_to_f32(h);
}

static float weight_bf16(const unsigned char *w)
{
    uint16_t h;
    memcpy(&h, w, sizeof h);
    return qn__bf16_to_f32(h);
}

static inline void matmul(const qn_matmul *a, size_t size, float (*weight)(const unsigned char *))
{
    for (int t = 0; t < a->tokens; t++) {
        const float *x = (const float *)((const char *)a->x + (size_t)t * a->x_stride);
        for (int r = 0; r < a->rows; r++) {
            const unsigned char *w = (const unsigned char *)a->w + (size_t)r * a->w_stride;
            double sum = 0;
            for (int k = 0; k < a->k; k++)
                sum += (double)weight(w + (size_t)k * size) * x[k];
            a->y[(size_t)t * a->y_stride + (size_t)r] = (float)sum;
        }
    }
}

void qn__ref_matmul_F32(const qn_matmul *a)
{
    matmul(a, 4, weight_f32);
}

void qn__ref_matmul_F16(const qn_matmul *a)
{
    matmul(a, 2, weight_f16);
}

void qn__ref_matmul_BF16(const qn_matmul *a)
{
    matmul(a, 2, weight_bf16);
}
