/* math_vec.h - kernels/math.h, lane by lane: the same operations in the same order. Include a vocabulary first. */
#ifndef QN_KERNELS_MATH_VEC_H
#define QN_KERNELS_MATH_VEC_H

#include "kernels/math.h"

INLINE vf vf_exp(vf x)
{
    x = vf_max(vf_set1(QN_EXP_MIN), x);
    x = vf_min(vf_set1(QN_EXP_MAX), x);
    vf n = vf_round(vf_mul(x, vf_set1(QN_EXP_LOG2E)));
    vf r = vf_fnma(n, vf_set1(QN_EXP_LN2_HI), x);
    r = vf_fnma(n, vf_set1(QN_EXP_LN2_LO), r);
    vf p = vf_fma(vf_set1(QN_EXP_E4), r, vf_set1(QN_EXP_E3));
    p = vf_fma(p, r, vf_set1(QN_EXP_E2));
    p = vf_fma(p, r, vf_set1(QN_EXP_E1));
    p = vf_fma(p, r, vf_set1(QN_EXP_E0));
    p = vf_fma(p, vf_mul(r, r), r);
    return vf_scale2(vf_add(p, vf_set1(1.0f)), n);
}

INLINE vf vf_tanh(vf x)
{
    vf z = vf_mul(x, x), one = vf_set1(1.0f);
    vf p = vf_fma(vf_set1(QN_TANH_T4), z, vf_set1(QN_TANH_T3));
    p = vf_fma(p, z, vf_set1(QN_TANH_T2));
    p = vf_fma(p, z, vf_set1(QN_TANH_T1));
    p = vf_fma(p, z, vf_set1(QN_TANH_T0));
    p = vf_fma(vf_mul(p, z), x, x);
    vf a = vf_abs(x);
    vf big = vf_sub(one, vf_div(vf_set1(2.0f), vf_add(vf_exp(vf_add(a, a)), one)));
    return vf_le_select(a, vf_set1(QN_TANH_SMALL), p, vf_sign(big, x));
}

INLINE vf vf_silu(vf x)
{
    return vf_div(x, vf_add(vf_set1(1.0f), vf_exp(vf_neg(x))));
}

INLINE vf vf_gelu(vf x)
{
    vf u = vf_mul(vf_mul(vf_set1(QN_GELU_C), x), vf_fma(vf_mul(vf_set1(QN_GELU_K), x), x, vf_set1(1.0f)));
    return vf_div(x, vf_add(vf_set1(1.0f), vf_exp(vf_neg(vf_add(u, u)))));
}

INLINE vf vf_softcap(vf x, vf cap)
{
    return vf_mul(cap, vf_tanh(vf_div(x, cap)));
}

#endif
