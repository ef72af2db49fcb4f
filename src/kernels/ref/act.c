/* act.c - element-wise operations. */
#include "kernels/math.h"
#include "kernels/ref/ref.h"

void qn__ref_silu(const float *x, float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = qn__siluf(x[i]);
}

void qn__ref_gelu(const float *x, float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = qn__geluf(x[i]);
}

void qn__ref_relu2(const float *x, float *y, int n)
{
    for (int i = 0; i < n; i++) {
        float p = x[i] < 0.0f ? 0.0f : x[i];
        y[i] = p * p;
    }
}

void qn__ref_silu_mul(const float *g, const float *u, float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = qn__siluf(g[i]) * u[i];
}

void qn__ref_gelu_mul(const float *g, const float *u, float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = qn__geluf(g[i]) * u[i];
}

void qn__ref_add(const float *a, const float *b, float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

void qn__ref_scale(const float *x, float s, float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = x[i] * s;
}

void qn__ref_softcap(const float *x, float cap, float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = qn__softcapf(x[i], cap);
}
