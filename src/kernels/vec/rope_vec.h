/* rope_vec.h - rotary position embedding; the body of every rope_LEVEL.c. In the split form cosines and sines
 * are taken apart on the way in; in the other, pairs stay side by side in a vector. */
#include "kernels/kernels.h"

/* (a c - b s, a s + b c) for neighbouring lanes a, b. */
INLINE vf turn(vf x, vf cos_sin)
{
    return vf_add(vf_mul(x, vf_even(cos_sin)), vf_mul(vf_swap(x), vf_neg_even(vf_odd(cos_sin))));
}

static void rope_pairs(float *x, const float *cos_sin, int n)
{
    int i = 0;
    for (; i + VF_N <= n; i += VF_N)
        vf_store(x + i, turn(vf_load(x + i), vf_load(cos_sin + i)));
    if (i < n)
        vf_store_n(x + i, turn(vf_load_n(x + i, n - i), vf_load_n(cos_sin + i, n - i)), n - i);
}

void VF_NAME(rope)(float *x, const float *cos_sin, int n_rot, bool neox)
{
    int half = n_rot / 2, i = 0;
    if (!neox) {
        rope_pairs(x, cos_sin, half * 2);
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
