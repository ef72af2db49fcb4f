/* types.c - the table of block types; see types.h. Ids that ggml has withdrawn (4, 5, 31..33, 36..38) stay unknown. */
#include "formats/types.h"

#include "base/mem.h"

static const qn_type_info infos[QN_TYPE__COUNT] = {
    [QN_F32] = {"F32", 1, 4},
    [QN_F16] = {"F16", 1, 2},
    [QN_BF16] = {"BF16", 1, 2},
    [QN_F64] = {"F64", 1, 8},
    [QN_I8] = {"I8", 1, 1},
    [QN_I16] = {"I16", 1, 2},
    [QN_I32] = {"I32", 1, 4},
    [QN_I64] = {"I64", 1, 8},
    [QN_Q1_0] = {"Q1_0", 128, 18},
    [QN_Q2_0] = {"Q2_0", 64, 18},
    [QN_Q4_0] = {"Q4_0", 32, 18},
    [QN_Q4_1] = {"Q4_1", 32, 20},
    [QN_Q5_0] = {"Q5_0", 32, 22},
    [QN_Q5_1] = {"Q5_1", 32, 24},
    [QN_Q8_0] = {"Q8_0", 32, 34},
    [QN_Q8_1] = {"Q8_1", 32, 36},
    [QN_Q2_K] = {"Q2_K", 256, 84},
    [QN_Q3_K] = {"Q3_K", 256, 110},
    [QN_Q4_K] = {"Q4_K", 256, 144},
    [QN_Q5_K] = {"Q5_K", 256, 176},
    [QN_Q6_K] = {"Q6_K", 256, 210},
    [QN_Q8_K] = {"Q8_K", 256, 292},
    [QN_IQ1_S] = {"IQ1_S", 256, 50},
    [QN_IQ1_M] = {"IQ1_M", 256, 56},
    [QN_IQ2_XXS] = {"IQ2_XXS", 256, 66},
    [QN_IQ2_XS] = {"IQ2_XS", 256, 74},
    [QN_IQ2_S] = {"IQ2_S", 256, 82},
    [QN_IQ3_XXS] = {"IQ3_XXS", 256, 98},
    [QN_IQ3_S] = {"IQ3_S", 256, 110},
    [QN_IQ4_NL] = {"IQ4_NL", 32, 18},
    [QN_IQ4_XS] = {"IQ4_XS", 256, 136},
    [QN_TQ1_0] = {"TQ1_0", 256, 54},
    [QN_TQ2_0] = {"TQ2_0", 256, 66},
    [QN_MXFP4] = {"MXFP4", 32, 17},
    [QN_NVFP4] = {"NVFP4", 64, 36},
};

const qn_type_info *qn__type_info(uint32_t id)
{
    return id < QN_TYPE__COUNT && infos[id].name ? &infos[id] : NULL;
}

bool qn__type_row_bytes(qn_type type, uint64_t n, size_t *bytes)
{
    const qn_type_info *t = qn__type_info((uint32_t)type);
    size_t product;
    if (!t || n % t->block != 0 || n / t->block > SIZE_MAX || !qn__mul((size_t)(n / t->block), t->bytes, &product))
        return false;
    *bytes = product;
    return true;
}
