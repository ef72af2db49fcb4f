/* norm.c - RMS and layer normalisation; sums in double. */
#include <math.h>

#include "kernels/ref/ref.h"

void qn__ref_rms_norm(const float *x, const float *w, float *y, int n, float eps)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    float scale = (float)(1.0 / sqrt(sum / n + (double)eps));
    for (int i = 0; i < n; i++)
        y[i] = w ? x[i] * scale * w[i] : x[i] * scale;
}

void qn__ref_layer_norm(const float *x, const float *w, const float *b, float *y, int n, float eps)
{
    double sum = 0, var = 0;
    for (int i = 0; i < n; i++)
        sum += x[i];
    double mean = sum / n;
    for (int i = 0; i < n; i++) {
        double c = x[i] - mean;
        var += c * c;
    }
    float m = (float)mean, scale = (float)(1.0 / sqrt(var / n + (double)eps));
    for (int i = 0; i < n; i++) {
        float v = (x[i] - m) * scale;
        v = w ? v * w[i] : v;
        y[i] = b ? v + b[i] : v;
    }
}
