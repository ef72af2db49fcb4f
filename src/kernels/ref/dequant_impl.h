/* dequant_impl.h - what the dequant_*.c files share. Each function turns n_blocks blocks at x into y; a block is read byte
 * by byte, so that neither alignment nor byte order matters. Private to src/kernels/ref. */
#ifndef QN_KERNELS_REF_DEQUANT_IMPL_H
#define QN_KERNELS_REF_DEQUANT_IMPL_H

#include "kernels/dequant.h"
#include "kernels/f16.h"

typedef void qn__dequant_fn(const unsigned char *x, float *y, size_t n_blocks);

qn__dequant_fn qn__dequant_f32, qn__dequant_f16, qn__dequant_bf16;
qn__dequant_fn qn__dequant_q1_0, qn__dequant_q2_0, qn__dequant_q4_0, qn__dequant_q4_1, qn__dequant_q5_0, qn__dequant_q5_1,
    qn__dequant_q8_0, qn__dequant_tq1_0, qn__dequant_tq2_0, qn__dequant_mxfp4, qn__dequant_nvfp4;
qn__dequant_fn qn__dequant_q2_k, qn__dequant_q3_k, qn__dequant_q4_k, qn__dequant_q5_k, qn__dequant_q6_k;
qn__dequant_fn qn__dequant_iq1_s, qn__dequant_iq1_m, qn__dequant_iq2_xxs, qn__dequant_iq2_xs, qn__dequant_iq2_s,
    qn__dequant_iq3_xxs, qn__dequant_iq3_s, qn__dequant_iq4_nl, qn__dequant_iq4_xs;

static inline uint16_t qn__le16(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t qn__le32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline float qn__half_at(const unsigned char *p)
{
    return qn__f16_to_f32(qn__le16(p));
}

/* 2^(e - 127), halved. */
static inline float qn__half_e8m0(unsigned e)
{
    return qn__bits_f32(e < 2 ? 0x200000u << e : (e - 1) << 23);
}

/* Half of an unsigned FP8 number: 4 bits of exponent (bias 7), 3 of mantissa; the top bit is not looked at. The pattern
 * of NaN counts as zero. */
static inline float qn__half_ue4m3(unsigned v)
{
    unsigned exp = v >> 3 & 15, man = v & 7;
    if ((v & 0x7F) == 0x7F)
        return 0.0f;
    if (exp == 0)
        return (float)man * 0x1p-10f;
    return qn__bits_f32((exp + 119) << 23 | man << 20);
}

#endif
