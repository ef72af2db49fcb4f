/* math.h - exp, tanh and what is built on them, once: every level performs this sequence of operations (the vector form
 * is vec/math_vec.h), so all levels agree to the bit. Error of exp and tanh below 1.5 ulp; no argument is undefined. */
#ifndef QN_KERNELS_MATH_H
#define QN_KERNELS_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* e^r = 1 + r + r^2 (E0 + E1 r + ... + E4 r^4) for |r| <= ln2/2, interpolated at Chebyshev nodes: error 2e-9. */
#define QN_EXP_E0 0x1.000000p-1f
#define QN_EXP_E1 0x1.5554d8p-3f
#define QN_EXP_E2 0x1.555516p-5f
#define QN_EXP_E3 0x1.12106cp-7f
#define QN_EXP_E4 0x1.6d1606p-10f
#define QN_EXP_LOG2E 0x1.715476p+0f
#define QN_EXP_LN2_HI 0x1.62e400p-1f /* few bits: n * hi is exact */
#define QN_EXP_LN2_LO 0x1.7f7d1cp-20f
#define QN_EXP_MIN (-104.0f) /* e^-104 rounds to 0 */
#define QN_EXP_MAX 89.0f     /* e^89 rounds to infinity */

/* tanh x = x + x^3 (T0 + T1 z + ... + T4 z^4), z = x^2, for |x| <= 0.625: beyond it 1 - 2/(e^2x + 1) loses nothing. */
#define QN_TANH_T0 (-0x1.555552p-2f)
#define QN_TANH_T1 0x1.110e1cp-3f
#define QN_TANH_T2 (-0x1.b9258ap-5f)
#define QN_TANH_T3 0x1.58048ep-6f
#define QN_TANH_T4 (-0x1.8f8de4p-8f)
#define QN_TANH_SMALL 0.625f

#define QN_GELU_C 0x1.988454p-1f /* sqrt(2/pi) */
#define QN_GELU_K 0.044715f

/* 2^n for -126 <= n <= 127. */
static inline float qn__exp2i(int32_t n)
{
    uint32_t bits = (uint32_t)(n + 127) << 23;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline float qn__expf(float x)
{
    if (x != x)
        return x;
    x = x < QN_EXP_MIN ? QN_EXP_MIN : x;
    x = x > QN_EXP_MAX ? QN_EXP_MAX : x;
    float n = rintf(x * QN_EXP_LOG2E);
    float r = fmaf(-n, QN_EXP_LN2_HI, x);
    r = fmaf(-n, QN_EXP_LN2_LO, r);
    float p = fmaf(QN_EXP_E4, r, QN_EXP_E3);
    p = fmaf(p, r, QN_EXP_E2);
    p = fmaf(p, r, QN_EXP_E1);
    p = fmaf(p, r, QN_EXP_E0);
    p = fmaf(p, r * r, r);
    p = p + 1.0f;
    /* Two factors: the first product is exact, so a denormal result is rounded once. */
    int32_t i = (int32_t)n, half = i >> 1;
    return p * qn__exp2i(half) * qn__exp2i(i - half);
}

static inline float qn__tanhf(float x)
{
    float z = x * x;
    float p = fmaf(QN_TANH_T4, z, QN_TANH_T3);
    p = fmaf(p, z, QN_TANH_T2);
    p = fmaf(p, z, QN_TANH_T1);
    p = fmaf(p, z, QN_TANH_T0);
    p = fmaf(p * z, x, x);
    float a = fabsf(x);
    float big = copysignf(1.0f - 2.0f / (qn__expf(a + a) + 1.0f), x);
    return a <= QN_TANH_SMALL ? p : big;
}

static inline float qn__siluf(float x)
{
    return x / (1.0f + qn__expf(-x));
}

/* x/2 (1 + tanh u) = x / (1 + e^-2u): no cancellation. */
static inline float qn__geluf(float x)
{
    float u = QN_GELU_C * x * fmaf(QN_GELU_K * x, x, 1.0f);
    return x / (1.0f + qn__expf(-(u + u)));
}

static inline float qn__softcapf(float x, float cap)
{
    return cap * qn__tanhf(x / cap);
}

#endif
