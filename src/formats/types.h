/* types.h - the block types in which weights are stored: their ids (ggml's numbering, as written in GGUF files), names,
 * and sizes. A block is `block` consecutive elements of a row in `bytes` bytes; a row is whole blocks. */
#ifndef QN_FORMATS_TYPES_H
#define QN_FORMATS_TYPES_H

#include "quern.h"

typedef enum qn_type {
    QN_F32 = 0, QN_F16 = 1, QN_Q4_0 = 2, QN_Q4_1 = 3, QN_Q5_0 = 6, QN_Q5_1 = 7, QN_Q8_0 = 8, QN_Q8_1 = 9,
    QN_Q2_K = 10, QN_Q3_K = 11, QN_Q4_K = 12, QN_Q5_K = 13, QN_Q6_K = 14, QN_Q8_K = 15,
    QN_IQ2_XXS = 16, QN_IQ2_XS = 17, QN_IQ3_XXS = 18, QN_IQ1_S = 19, QN_IQ4_NL = 20, QN_IQ3_S = 21, QN_IQ2_S = 22,
    QN_IQ4_XS = 23, QN_I8 = 24, QN_I16 = 25, QN_I32 = 26, QN_I64 = 27, QN_F64 = 28, QN_IQ1_M = 29, QN_BF16 = 30,
    QN_TQ1_0 = 34, QN_TQ2_0 = 35, QN_MXFP4 = 39, QN_NVFP4 = 40, QN_Q1_0 = 41, QN_Q2_0 = 42,
    QN_TYPE__COUNT = 43
} qn_type;

typedef struct qn_type_info {
    const char *name;   /* "Q4_K"; NULL for an id that names no type we know */
    uint32_t block;     /* elements */
    uint32_t bytes;     /* per block */
} qn_type_info;

/* NULL when id is unknown. */
const qn_type_info *qn__type_info(uint32_t id);
/* Bytes of a row of n elements; false when n is not whole blocks or the product overflows. */
bool qn__type_row_bytes(qn_type type, uint64_t n, size_t *bytes);

#endif
