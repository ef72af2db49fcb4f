/* rope.c - rotary position embedding by a table. */
#include "kernels/ref/ref.h"

void qn__ref_rope(float *x, const float *cos_sin, int n_rot, bool neox)
{
    int half = n_rot / 2, step = neox ? 1 : 2, other = neox ? half : 1;
    for (int i = 0; i < half; i++) {
        float *p = x + i * step, a = p[0], b = p[other], c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
        p[0] = a * c - b * s;
        p[other] = a * s + b * c;
    }
}
