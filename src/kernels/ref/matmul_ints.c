/* matmul_ints.c - blocks of 256 that ints.h states as integers, activations Q8_256: acc = fma(d*dx, sum, acc) and, for
 * Q2_K, acc = fma(-(dmin*dx), msum, acc); blocks ascending. The integer sums are exact: |sum| <= 256*127*127*32 < 2^28.
 * All levels agree to the bit. */
#include <math.h>

#include "kernels/act.h"
#include "kernels/ref/ints.h"
#include "kernels/ref/ref.h"

static void matmul(const qn_matmul *a, size_t bytes, bool has_min, qn__ints_fn *ints)
{
    for (int r = 0; r < a->rows; r++) {
        const unsigned char *w = (const unsigned char *)a->w + (size_t)r * a->w_stride;
        for (int t = 0; t < a->tokens; t++)
            a->y[(size_t)t * a->y_stride + (size_t)r] = 0;
        for (int b = 0; b < a->k / 256; b++, w += bytes) {
            qn_ints u;
            ints(w, &u);
            for (int t = 0; t < a->tokens; t++) {
                const char *x = (const char *)a->x + (size_t)t * a->x_stride;
                const int8_t *q = (const int8_t *)x + b * 256;
                const int16_t *s16 = qn__q256_s(x, a->k) + b * 16;
                float dx = qn__q256_d(x, a->k)[b], *y = &a->y[(size_t)t * a->y_stride + (size_t)r];
                int32_t sum = 0, msum = 0;
                for (int j = 0; j < 16; j++) {
                    int32_t s = 0;
                    for (int i = 16 * j; i < 16 * j + 16; i++)
                        s += u.v[i] * q[i];
                    sum += u.sc[j] * s;
                    msum += u.m[j] * s16[j];
                }
                *y = fmaf(u.d * dx, (float)sum, *y);
                if (has_min)
                    *y = fmaf(-(u.dmin * dx), (float)msum, *y);
            }
        }
    }
}

#define TYPE(type, bytes, min, name)                                                                                   \
    void qn__ref_matmul_##type(const qn_matmul *a)                                                                     \
    {                                                                                                                  \
        matmul(a, bytes, min, qn__ints_##name);                                                                        \
    }
TYPE(Q2_K, 84, true, q2_k)
TYPE(Q3_K, 110, false, q3_k)
TYPE(IQ4_XS, 136, false, iq4_xs)
TYPE(IQ2_XXS, 66, false, iq2_xxs)
TYPE(IQ2_XS, 74, false, iq2_xs)
TYPE(IQ2_S, 82, false, iq2_s)
TYPE(IQ3_XXS, 98, false, iq3_xxs)
TYPE(IQ3_S, 110, false, iq3_s)
TYPE(IQ1_S, 50, false, iq1_s)
TYPE(IQ1_M, 56, false, iq1_m)
TYPE(TQ1_0, 54, false, tq1_0)
TYPE(TQ2_0, 66, false, tq2_0)
#undef TYPE
