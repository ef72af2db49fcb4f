/* quant_basic.c - types whose blocks have one scale (and perhaps one minimum): Qx_0, Qx_1, IQ4_NL, MXFP4, ternary. The
 * layouts are drawn in dequant_basic.c. */
#include <math.h>

#include "kernels/ref/quant_impl.h"

/* Nibble codes: element j in the low half of byte j, element j + 16 in the high one. */
static void put_nibbles(unsigned char *y, const uint8_t code[32])
{
    for (int j = 0; j < 16; j++)
        y[j] = (unsigned char)((code[j] & 15) | (code[j + 16] & 15) << 4);
}

/* The fifth bits of 32 codes. */
static void put_fifth(unsigned char *y, const uint8_t code[32])
{
    for (int i = 0; i < 32; i += 8) {
        unsigned bits = 0;
        for (int k = 0; k < 8; k++)
            bits |= (unsigned)(code[i + k] >> 4) << k;
        y[i / 8] = (unsigned char)bits;
    }
}

/* Scale at y, codes of the rounded scale in code. */
static void scale_and_codes(const float *x, const float *w, qn__levels levels, unsigned char *y, uint8_t code[32])
{
    float d = qn__put_half(y, qn__fit_scale(x, w, 32, levels, NULL));
    qn__codes_scale(x, 32, levels, d, code);
}

static void line_and_codes(const float *x, const float *w, int top, unsigned char *y, uint8_t code[32])
{
    float d, m;
    qn__fit_affine(x, w, 32, top, QN__MIN_ANY, &d, &m);
    d = qn__put_half(y, d);
    m = qn__put_half(y + 2, m);
    qn__codes_affine(x, 32, top, d, m, code);
}

void qn__quant_q4_0(const float *x, const float *w, unsigned char *y)
{
    uint8_t code[32];
    scale_and_codes(x, w, (qn__levels){-8, 7, false}, y, code);
    put_nibbles(y + 2, code);
}

void qn__quant_q4_1(const float *x, const float *w, unsigned char *y)
{
    uint8_t code[32];
    line_and_codes(x, w, 15, y, code);
    put_nibbles(y + 4, code);
}

void qn__quant_q5_0(const float *x, const float *w, unsigned char *y)
{
    uint8_t code[32];
    scale_and_codes(x, w, (qn__levels){-16, 15, false}, y, code);
    put_fifth(y + 2, code);
    put_nibbles(y + 6, code);
}

void qn__quant_q5_1(const float *x, const float *w, unsigned char *y)
{
    uint8_t code[32];
    line_and_codes(x, w, 31, y, code);
    put_fifth(y + 4, code);
    put_nibbles(y + 8, code);
}

/* -128 is left out: kernels that move signs from one factor to the other may not hold +128. */
void qn__quant_q8_0(const float *x, const float *w, unsigned char *y)
{
    uint8_t code[32];
    scale_and_codes(x, w, (qn__levels){-127, 127, false}, y, code);
    for (int i = 0; i < 32; i++)
        y[2 + i] = (unsigned char)(code[i] - 127);
}

void qn__quant_iq4_nl(const float *x, const float *w, unsigned char *y)
{
    uint8_t code[32];
    scale_and_codes(x, w, (qn__levels){-127, 113, true}, y, code);
    put_nibbles(y + 2, code);
}

/* Index of |t| among 0, 1, 2, 3, 4, 6, 8, 12 (twice the values of FP4), and bit 3 for the sign. */
static unsigned nearest_fp4(float t)
{
    static const float border[7] = {0.5f, 1.5f, 2.5f, 3.5f, 5, 7, 10};
    float a = t < 0 ? -t : t;
    unsigned i = 0;
    for (int k = 0; k < 7; k++)
        i += a > border[k];
    return i | (t < 0 && i ? 8 : 0);
}

/* The scale is a power of two: with the one that puts the extreme element between 6 and 12 (twice FP4's 3 and 6), its
 * neighbours are tried, one to clip and one to be coarser. */
void qn__quant_mxfp4(const float *x, const float *w, unsigned char *y)
{
    static const float value[8] = {0, 1, 2, 3, 4, 6, 8, 12};
    float extreme = 0, best = INFINITY;
    for (int i = 0; i < 32; i++)
        extreme = fabsf(x[i]) > extreme ? fabsf(x[i]) : extreme;
    int exponent = 0;
    (void)frexpf(extreme, &exponent); /* extreme in [2^(exponent-1), 2^exponent) */
    for (int e = exponent - 5; e <= exponent - 2; e++) {
        int stored = e + 128; /* half of 2^(stored - 127) is 2^e */
        if (stored < 0 || stored > 254 || extreme <= 0)
            stored = 0;
        float d = ldexpf(1, stored - 128), error = 0;
        uint8_t code[32];
        for (int i = 0; i < 32; i++) {
            code[i] = (uint8_t)nearest_fp4(x[i] / d);
            float v = value[code[i] & 7] * d, miss = fabsf(x[i]) - v;
            error += w[i] * miss * miss;
        }
        if (error < best) {
            best = error;
            y[0] = (unsigned char)stored;
            put_nibbles(y + 1, code);
        }
    }
}

/* ---- ternary ----------------------------------------------------------------------------------------------------- */

/* d and the codes 0, 1, 2 (for -1, 0, 1) of 256 elements. Weights of ternary models are exactly -d, 0 and d; for others
 * the best d is where the mean of the elements beyond d / 2 is d. */
static float fit_ternary(const float *x, const float *w, uint8_t code[256])
{
    static const float clip[] = {1, 0.9f, 0.8f, 0.7f, 0.6f, 0.5f, 0.4f, 0.3f, 0.2f};
    double best = 0;
    float extreme = 0, d = 0;
    for (int i = 0; i < 256; i++)
        extreme = fabsf(x[i]) > extreme ? fabsf(x[i]) : extreme;
    for (size_t k = 0; k < sizeof clip / sizeof *clip; k++) {
        double sum = 0, weight = 0;
        float border = extreme * clip[k] * 0.5f;
        for (int i = 0; i < 256; i++)
            if (fabsf(x[i]) > border) {
                sum += (double)w[i] * (double)fabsf(x[i]);
                weight += (double)w[i];
            }
        if (weight > 0 && sum * sum / weight > best) {
            best = sum * sum / weight;
            d = (float)(sum / weight);
        }
    }
    d = qn__f16_to_f32(qn__f32_to_f16(d > 65504 ? 65504 : d));
    for (int i = 0; i < 256; i++)
        code[i] = (uint8_t)(fabsf(x[i]) <= d * 0.5f ? 1 : x[i] < 0 ? 0 : 2);
    return d;
}

/* A byte of the five-digit number in base 3, first digit highest, of n codes `stride` apart; see trit() in
 * dequant_basic.c. */
static unsigned char pack3(const uint8_t *code, int n, int stride)
{
    unsigned v = 0;
    for (int k = 0; k < 5; k++)
        v = 3 * v + (k < n ? code[k * stride] : 0);
    return (unsigned char)((v * 256 + 242) / 243);
}

void qn__quant_tq1_0(const float *x, const float *w, unsigned char *y)
{
    uint8_t code[256];
    (void)qn__put_half(y + 52, fit_ternary(x, w, code));
    for (int j = 0; j < 32; j++)
        y[j] = pack3(code + j, 5, 32);
    for (int j = 0; j < 16; j++)
        y[32 + j] = pack3(code + 160 + j, 5, 16);
    for (int j = 0; j < 4; j++)
        y[48 + j] = pack3(code + 240 + j, 4, 4);
}

void qn__quant_tq2_0(const float *x, const float *w, unsigned char *y)
{
    uint8_t code[256];
    (void)qn__put_half(y + 64, fit_ternary(x, w, code));
    for (int b = 0; b < 64; b++) {
        const uint8_t *c = code + 128 * (b / 32) + b % 32;
        y[b] = (unsigned char)(c[0] | c[32] << 2 | c[64] << 4 | c[96] << 6);
    }
}
