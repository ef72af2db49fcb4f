/* gated.c - the gates that some families use instead of silu(g) * u. */
#include "kernels/math.h"
#include "kernels/ref/ref.h"

static float clamp(float x, float limit)
{
    return x > limit ? limit : x < -limit ? -limit : x;
}

void qn__ref_oai_mul(const float *g, const float *u, float *y, int n, float limit)
{
    for (int i = 0; i < n; i++) {
        float a = g[i] > limit ? limit : g[i];
        y[i] = a / (1.0f + qn__expf(-1.702f * a)) * (clamp(u[i], limit) + 1.0f);
    }
}

void qn__ref_silu_mul_clamped(const float *g, const float *u, float *y, int n, float limit)
{
    for (int i = 0; i < n; i++) {
        float a = qn__siluf(g[i]);
        y[i] = (a > limit ? limit : a) * clamp(u[i], limit);
    }
}

void qn__ref_sigmoid_mul(const float *g, const float *x, float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = x[i] / (1.0f + qn__expf(-g[i]));
}

void qn__ref_add_scaled(const float *x, float s, float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = fmaf(x[i], s, y[i]);
}
