/* dequant.h - blocks of any weight type -> binary32, in scalar C: the meaning of each type. */
#ifndef QN_KERNELS_DEQUANT_H
#define QN_KERNELS_DEQUANT_H

#include "formats/types.h"

/* Can blocks of this type be turned into floats? (Not the integer types, F64, nor the activation types Q8_1 and Q8_K.) */
bool qn__dequant_has(qn_type type);
/* dst[0..n) from n elements at src. n is whole blocks of `type`, qn__dequant_has(type). src needs no alignment. */
void qn__dequant_row(qn_type type, const void *src, float *dst, size_t n);

#endif
