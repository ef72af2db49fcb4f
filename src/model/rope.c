/* rope.c - see rope.h. */
#include "model/rope.h"

#include <math.h>

static const double PI = 3.14159265358979323846;

/* The pair index at which a full rotation count over the original context equals `rotations` (YaRN, section 3.2). */
static double yarn_pair(const qn_hparams *h, double base, double rotations)
{
    return h->n_rot * log(h->rope_original_ctx / (rotations * 2 * PI)) / (2 * log(base));
}

void qn__rope_init(const qn_hparams *h, int n_rot, const float *factors, bool windowed, bool plain, float *inv_freq,
                   qn_rope *out)
{
    double base = windowed ? h->rope_base_window : h->rope_base;
    double factor = plain ? 1 : h->rope_factor, magnitude = plain ? 1 : h->rope_magnitude;
    bool yarn = !plain && h->scaling == QN_SCALING_YARN;
    double low = 0, high = 0;
    if (yarn) {
        low = floor(yarn_pair(h, base, h->yarn_beta_fast));
        high = ceil(yarn_pair(h, base, h->yarn_beta_slow));
        low = low > 0 ? low : 0;
        high = high < n_rot - 1 ? high : n_rot - 1;
    }
    for (int i = 0; i < n_rot / 2; i++) {
        double f = pow(base, -2.0 * i / n_rot) / (factors && !plain ? factors[i] : 1);
        double keep = 0; /* share of the unscaled frequency */
        if (yarn) {
            double width = high - low > 0.001 ? high - low : 0.001, t = (i - low) / width;
            keep = 1 - (t < 0 ? 0 : t > 1 ? 1 : t);
        }
        inv_freq[i] = (float)(f * (keep + (1 - keep) / factor));
    }
    *out = (qn_rope){.n_rot = n_rot, .inv_freq = inv_freq, .magnitude = (float)magnitude};
}

void qn__rope_table(const qn_rope *r, int32_t pos, float *cos_sin)
{
    for (int i = 0; i < r->n_rot / 2; i++) {
        double a = (double)pos * (double)r->inv_freq[i]; /* double: the product is exact, the reduction too */
        cos_sin[2 * i] = (float)cos(a) * r->magnitude;
        cos_sin[2 * i + 1] = (float)sin(a) * r->magnitude;
    }
}
