/* ints.h - a block of 256 weights as integers: what the matmuls of the types with codebooks, ternary digits or odd
 * scales have in common.
 *
 *      w[i] = d * sc[i/16] * v[i] - dmin * m[i/16]
 *
 * equal to what dequant.h says but for the rounding of d * sc. |v| <= 127, |sc| <= 32, 0 <= m <= 15. */
#ifndef QN_KERNELS_REF_INTS_H
#define QN_KERNELS_REF_INTS_H

#include "formats/types.h"

typedef struct qn_ints {
    float d, dmin;
    int8_t sc[16], m[16];
    int8_t v[256];
} qn_ints;

typedef void qn__ints_fn(const unsigned char *w, qn_ints *out);

/* One block of each type; dmin and m are zero where the type has no minima. */
qn__ints_fn qn__ints_q2_k, qn__ints_q3_k, qn__ints_iq4_xs, qn__ints_iq2_xxs, qn__ints_iq2_xs, qn__ints_iq2_s,
    qn__ints_iq3_xxs, qn__ints_iq3_s, qn__ints_iq1_s, qn__ints_iq1_m, qn__ints_tq1_0, qn__ints_tq2_0;

#endif
