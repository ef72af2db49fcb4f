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

void VF_NAME(softcap)(const float *x, float cap, float *y, int n)
{
    MAP(vf_softcap(A(x), vf_set1(cap)), vf_softcap(N(x), vf_set1(cap)))
}
