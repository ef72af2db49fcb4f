/* act_vec.h - element-wise operations; the body of every act_LEVEL.c. */
#include "kernels/vec/math_vec.h"

/* y[i] = result, where `load(name)` gives a vector of each input. */
#define MAP(body, body_n)                                                                                              \
    int i = 0;                                                                                                         \
    for (; i + VF_N <= n; i += VF_N)                                                                                   \
        vf_store(y + i, body);                                                                                         \
    if (i < n)                                                                                                         \
        vf_store_n(y + i, body_n, n - i);
#define A(p) vf_load((p) + i)
#define N(p) vf_load_n((p) + i, n - i)

INLINE vf relu2(vf x)
{
    vf p = vf_max(vf_zero(), x);
    return vf_mul(p, p);
}

void VF_NAME(silu)(const float *x, float *y, int n)
{
    MAP(vf_silu(A(x)), vf_silu(N(x)))
}

void VF_NAME(gelu)(const float *x, float *y, int n)
{
    MAP(vf_gelu(A(x)), vf_gelu(N(x)))
}

void VF_NAME(relu2)(const float *x, float *y, int n)
{
    MAP(relu2(A(x)), relu2(N(x)))
}

void VF_NAME(silu_mul)(const float *g, const float *u, float *y, int n)
{
    MAP(vf_mul(vf_silu(A(g)), A(u)), vf_mul(vf_silu(N(g)), N(u)))
}

void VF_NAME(gelu_mul)(const float *g, const float *u, float *y, int n)
{
    MAP(vf_mul(vf_gelu(A(g)), A(u)), vf_mul(vf_gelu(N(g)), N(u)))
}

void VF_NAME(add)(const float *a, const float *b, float *y, int n)
{
    MAP(vf_add(A(a), A(b)), vf_add(N(a), N(b)))
}

void VF_NAME(scale)(const float *x, float s, float *y, int n)
{
    MAP(vf_mul(A(x), vf_set1(s)), vf_mul(N(x), vf_set1(s)))
}

void VF_NAME(softcap)(const float *x, float cap, float *y,
                      int n){MAP(vf_softcap(A(x), vf_set1(cap)), vf_softcap(N(x), vf_set1(cap)))}

/* What is no number stays so. */
INLINE vf clamp(vf x, vf limit)
{
    return vf_max(vf_neg(limit), vf_min(limit, x));
}

INLINE vf oai(vf g, vf u, vf limit)
{
    vf a = vf_min(limit, g), one = vf_set1(1.0f);
    vf gate = vf_div(a, vf_add(one, vf_exp(vf_mul(vf_set1(-1.702f), a))));
    return vf_mul(gate, vf_add(clamp(u, limit), one));
}

INLINE vf sigmoid_times(vf g, vf x)
{
    return vf_div(x, vf_add(vf_set1(1.0f), vf_exp(vf_neg(g))));
}

void VF_NAME(oai_mul)(const float *g, const float *u, float *y, int n, float limit)
{
    vf l = vf_set1(limit);
    MAP(oai(A(g), A(u), l), oai(N(g), N(u), l))
}

void VF_NAME(silu_mul_clamped)(const float *g, const float *u, float *y, int n, float limit)
{
    vf l = vf_set1(limit);
    MAP(vf_mul(vf_min(l, vf_silu(A(g))), clamp(A(u), l)), vf_mul(vf_min(l, vf_silu(N(g))), clamp(N(u), l)))
}

void VF_NAME(sigmoid_mul)(const float *g, const float *x, float *y, int n)
{
    MAP(sigmoid_times(A(g), A(x)), sigmoid_times(N(g), N(x)))
}

void VF_NAME(add_scaled)(const float *x, float s, float *y, int n)
{
    MAP(vf_fma(A(x), vf_set1(s), A(y)), vf_fma(N(x), vf_set1(s), N(y)))
}
