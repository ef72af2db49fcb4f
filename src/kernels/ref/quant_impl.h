/* quant_impl.h - what the quant_*.c files share. Private to src/kernels/ref.
 *
 *   quant.c        the table; cleans a block's input, so that what follows sees finite numbers only
 *   quant_fit.c    the two searches that every type is made of: x ~ d q, and x ~ d q + m
 *   quant_basic.c  one scale (and minimum) a block
 *   quant_k.c      sub-blocks whose scales are quantised themselves */
#ifndef QN_KERNELS_REF_QUANT_IMPL_H
#define QN_KERNELS_REF_QUANT_IMPL_H

#include "kernels/f16.h"
#include "kernels/quant.h"

/* One block: x finite, |x| <= 2^23; w in [1e-6, 1]. y is written whole. */
typedef void qn__quant_fn(const float *x, const float *w, unsigned char *y);

qn__quant_fn qn__quant_q4_0, qn__quant_q4_1, qn__quant_q5_0, qn__quant_q5_1, qn__quant_q8_0, qn__quant_iq4_nl,
    qn__quant_mxfp4, qn__quant_tq1_0, qn__quant_tq2_0;
qn__quant_fn qn__quant_q2_k, qn__quant_q3_k, qn__quant_q4_k, qn__quant_q5_k, qn__quant_q6_k, qn__quant_iq4_xs;

/* The values that q may take: the integers lo..hi, or (table set) the 16 values of IQ4, lo and hi being its ends. */
typedef struct qn__levels {
    int lo, hi;
    bool table;
} qn__levels;

/* The d that minimises sum w (x - d q)^2 with each q the nearest level; *energy (may be NULL) is sum w q^2. Any sign of
 * d when the levels are not symmetric, else d >= 0. 0 when all x are. n is a multiple of 8, at most 32. */
float qn__fit_scale(const float *x, const float *w, int n, qn__levels levels, float *energy);
/* For a given d: the error, and q as codes from 0 (the level lo, or the first of the table). */
float qn__error_scale(const float *x, const float *w, int n, qn__levels levels, float d);
void qn__codes_scale(const float *x, int n, qn__levels levels, float d, uint8_t *code);

typedef enum qn__min_sign { QN__MIN_ANY, QN__MIN_NEGATIVE, QN__MIN_POSITIVE } qn__min_sign;
/* d >= 0 and m that minimise sum w (x - d q - m)^2 with q in 0..top; m has the sign asked for, or is 0. */
void qn__fit_affine(const float *x, const float *w, int n, int top, qn__min_sign sign, float *d, float *m);
float qn__error_affine(const float *x, const float *w, int n, int top, float d, float m);
void qn__codes_affine(const float *x, int n, int top, float d, float m, uint8_t *q);

static inline void qn__put_le16(unsigned char *p, unsigned v)
{
    p[0] = (unsigned char)v;
    p[1] = (unsigned char)(v >> 8);
}
/* f as the nearest finite half at p; returns what stands there. */
static inline float qn__put_half(unsigned char *p, float f)
{
    uint16_t h = qn__f32_to_f16(f > 65504.0f ? 65504.0f : f < -65504.0f ? -65504.0f : f);
    qn__put_le16(p, h);
    return qn__f16_to_f32(h);
}

#endif
