/* quant.c - the table from type to function, and the one place where input is cleaned; see kernels/quant.h. */
#include <math.h>

#include "kernels/ref/quant_impl.h"

static qn__quant_fn *const functions[QN_TYPE__COUNT] = {
    [QN_Q4_0] = qn__quant_q4_0,   [QN_Q4_1] = qn__quant_q4_1,     [QN_Q5_0] = qn__quant_q5_0,
    [QN_Q5_1] = qn__quant_q5_1,   [QN_Q8_0] = qn__quant_q8_0,     [QN_Q2_K] = qn__quant_q2_k,
    [QN_Q3_K] = qn__quant_q3_k,   [QN_Q4_K] = qn__quant_q4_k,     [QN_Q5_K] = qn__quant_q5_k,
    [QN_Q6_K] = qn__quant_q6_k,   [QN_IQ4_NL] = qn__quant_iq4_nl, [QN_IQ4_XS] = qn__quant_iq4_xs,
    [QN_MXFP4] = qn__quant_mxfp4, [QN_TQ1_0] = qn__quant_tq1_0,   [QN_TQ2_0] = qn__quant_tq2_0,
};

enum { LONGEST = 256 };
static const float largest = 0x1p23f;

static bool is_float(qn_type type)
{
    return type == QN_F32 || type == QN_F16 || type == QN_BF16;
}

bool qn__quant_has(qn_type type)
{
    return is_float(type) || ((unsigned)type < QN_TYPE__COUNT && functions[type]);
}

static void convert(qn_type type, const float *src, unsigned char *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t u = qn__f32_bits(src[i]);
        if (type == QN_F32) {
            qn__put_le16(dst + 4 * i, u & 0xFFFF);
            qn__put_le16(dst + 4 * i + 2, u >> 16);
        } else {
            qn__put_le16(dst + 2 * i, type == QN_F16 ? qn__f32_to_f16(src[i]) : qn__f32_to_bf16(src[i]));
        }
    }
}

static void clean_values(const float *src, float *x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        float v = isnan(src[i]) ? 0.0f : src[i];
        x[i] = v > largest ? largest : v < -largest ? -largest : v;
    }
}

/* Weights relative to the block's largest, so that no sum overflows; not below a millionth of it, so that a sub-block
 * which matters to nobody is still fitted. */
static void clean_weights(const float *importance, float *w, uint32_t n)
{
    float top = 0;
    for (uint32_t i = 0; importance && i < n; i++) {
        w[i] = importance[i] > 0 && isfinite(importance[i]) ? importance[i] : 0;
        top = w[i] > top ? w[i] : top;
    }
    for (uint32_t i = 0; i < n; i++) {
        w[i] = top > 0 ? w[i] / top : 1;
        w[i] = w[i] > 1e-6f ? w[i] : 1e-6f;
    }
}

void qn__quant_row(qn_type type, const float *src, void *dst, size_t n, const float *importance)
{
    if (is_float(type)) {
        convert(type, src, dst, n);
        return;
    }
    const qn_type_info *info = qn__type_info((uint32_t)type);
    unsigned char *y = dst;
    float x[LONGEST], w[LONGEST];
    for (size_t i = 0; i + info->block <= n; i += info->block, y += info->bytes) {
        clean_values(src + i, x, info->block);
        if (importance || i == 0)
            clean_weights(importance ? importance + i : NULL, w, info->block);
        functions[type](x, w, y);
    }
}
