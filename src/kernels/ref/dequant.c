/* dequant.c - the table from type to function; see dequant.h. */
#include "kernels/ref/dequant_impl.h"

static qn__dequant_fn *const functions[QN_TYPE__COUNT] = {
    [QN_F32] = qn__dequant_f32,         [QN_F16] = qn__dequant_f16,         [QN_BF16] = qn__dequant_bf16,
    [QN_Q1_0] = qn__dequant_q1_0,       [QN_Q2_0] = qn__dequant_q2_0,       [QN_Q4_0] = qn__dequant_q4_0,
    [QN_Q4_1] = qn__dequant_q4_1,       [QN_Q5_0] = qn__dequant_q5_0,       [QN_Q5_1] = qn__dequant_q5_1,
    [QN_Q8_0] = qn__dequant_q8_0,       [QN_Q2_K] = qn__dequant_q2_k,       [QN_Q3_K] = qn__dequant_q3_k,
    [QN_Q4_K] = qn__dequant_q4_k,       [QN_Q5_K] = qn__dequant_q5_k,       [QN_Q6_K] = qn__dequant_q6_k,
    [QN_IQ1_S] = qn__dequant_iq1_s,     [QN_IQ1_M] = qn__dequant_iq1_m,     [QN_IQ2_XXS] = qn__dequant_iq2_xxs,
    [QN_IQ2_XS] = qn__dequant_iq2_xs,   [QN_IQ2_S] = qn__dequant_iq2_s,     [QN_IQ3_XXS] = qn__dequant_iq3_xxs,
    [QN_IQ3_S] = qn__dequant_iq3_s,     [QN_IQ4_NL] = qn__dequant_iq4_nl,   [QN_IQ4_XS] = qn__dequant_iq4_xs,
    [QN_TQ1_0] = qn__dequant_tq1_0,     [QN_TQ2_0] = qn__dequant_tq2_0,     [QN_MXFP4] = qn__dequant_mxfp4,
    [QN_NVFP4] = qn__dequant_nvfp4,
};

bool qn__dequant_has(qn_type type)
{
    return (unsigned)type < QN_TYPE__COUNT && functions[type];
}

void qn__dequant_row(qn_type type, const void *src, float *dst, size_t n)
{
    functions[type](src, dst, n / qn__type_info((uint32_t)type)->block);
}
