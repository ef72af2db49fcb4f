/* rope_vec.h - rotary position embedding; the body of every rope_LEVEL.c. Only the split form has vector code:
 * its cosines are taken apart from the sines on the way in. */
#include "kernels/ref/ref.h"

void VF_NAME(rope)(float *x, const float *cos_sin, int n_rot, bool neox)
{
    int half = n_rot / 2, i = 0;
    if (!neox) {
        qn__ref_rope(x, cos_sin, n_rot, neox);
        return;
    }
    for (; i + VF_N <= half; i += VF_N) {
        vf c, s, a = vf_load(x + i), b = vf_load(x + half + i);
        vf_unzip(cos_sin + 2 * i, &c, &s);
        vf_store(x + i, vf_sub(vf_mul(a, c), vf_mul(b, s)));
        vf_store(x + half + i, vf_add(vf_mul(a, s), vf_mul(b, c)));
    }
    for (; i < half; i++) {
        float a = x[i], b = x[half + i], c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
        x[i] = a * c - b * s;
        x[half + i] = a * s + b * c;
    }
}
