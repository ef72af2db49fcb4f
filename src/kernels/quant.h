/* quant.h - floats -> blocks of a weight type, in scalar C: the inverse of dequant.h, as close as the type allows.
 *
 * What is minimised is the sum over the elements of a row of importance[i] * (src[i] - dequantised[i])^2. With the mean
 * square of the activation that meets element i as importance[i], that sum is the expected square of the error of the
 * matrix product (activations taken as uncorrelated); without an importance it is the plain square error. */
#ifndef QN_KERNELS_QUANT_H
#define QN_KERNELS_QUANT_H

#include "formats/types.h"

/* Can floats be turned into blocks of this type? */
bool qn__quant_has(qn_type type);
/* n elements at src to n / block blocks at dst. n is whole blocks of `type`, qn__quant_has(type). dst needs no
 * alignment. importance: n weights, or NULL for equal ones; what is negative or not finite counts as zero, and a block
 * whose weights are all zero as equally weighted. F32, F16 and BF16 convert as IEEE 754 rounds (NaN stays, overflow is
 * infinite). In the other types NaN becomes zero and magnitudes beyond 2^23, infinity among them, saturate there or at
 * the largest that the type holds. */
void qn__quant_row(qn_type type, const float *src, void *dst, size_t n, const float *importance);

#endif
