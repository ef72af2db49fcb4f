/* norm_vec.h - RMS and layer normalisation; the body of every norm_LEVEL.c. Sums in double: lane j takes elements
 * j mod VF_N, what is left over joins one by one. */
#include <math.h>

INLINE void scale_shift(const float *x, float m, float scale, const float *w, const float *b, float *y, int n)
{
    vf vm = vf_set1(m), vs = vf_set1(scale);
    for (int i = 0; i < n; i += VF_N) {
        int left = n - i < VF_N ? n - i : VF_N;
        vf v = vf_mul(vf_sub(vf_load_n(x + i, left), vm), vs);
        v = w ? vf_mul(v, vf_load_n(w + i, left)) : v;
        v = b ? vf_add(v, vf_load_n(b + i, left)) : v;
        vf_store_n(y + i, v, left);
    }
}

void VF_NAME(rms_norm)(const float *x, const float *w, float *y, int n, float eps)
{
    vd lo = vd_zero(), hi = vd_zero();
    int i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        vf v = vf_load(x + i);
        lo = vd_fma(vd_lo(v), vd_lo(v), lo);
        hi = vd_fma(vd_hi(v), vd_hi(v), hi);
    }
    double sum = vd_sum(vd_add(lo, hi));
    for (; i < n; i++)
        sum += (double)x[i] * x[i];
    float scale = (float)(1.0 / sqrt(sum / n + (double)eps));
    scale_shift(x, 0.0f, scale, w, NULL, y, n);
}

void VF_NAME(layer_norm)(const float *x, const float *w, const float *b, float *y, int n, float eps)
{
    vd lo = vd_zero(), hi = vd_zero();
    int i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        vf v = vf_load(x + i);
        lo = vd_add(vd_lo(v), lo);
        hi = vd_add(vd_hi(v), hi);
    }
    double sum = vd_sum(vd_add(lo, hi));
    for (; i < n; i++)
        sum += x[i];
    double mean = sum / n;
    vd vmean = vd_set1(mean);
    lo = hi = vd_zero();
    for (i = 0; i + VF_N <= n; i += VF_N) {
        vf v = vf_load(x + i);
        vd a = vd_sub(vd_lo(v), vmean), c = vd_sub(vd_hi(v), vmean);
        lo = vd_fma(a, a, lo);
        hi = vd_fma(c, c, hi);
    }
    double var = vd_sum(vd_add(lo, hi));
    for (; i < n; i++)
        var += (x[i] - mean) * (x[i] - mean);
    scale_shift(x, (float)mean, (float)(1.0 / sqrt(var / n + (double)eps)), w, b, y, n);
}
