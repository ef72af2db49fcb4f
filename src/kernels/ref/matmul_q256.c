/* matmul_q256.c - weights in blocks of 256 with integer sub-scales, activations Q8_256. Per block exact integer sums,
 * then acc = fma(d*dx, sum, acc) and, where there are minima, acc = fma(-(dmin*dx), msum, acc); blocks ascending. All
 * levels agree to the bit. The sums fit: |sum| <= 8 * 63 * 32 * 31 * 127 < 2^26 (Q5_K), 16 * 128 * 16 * 63 * 127 < 2^28
 * (Q6_K).
 *
 *   Q4_K  f16 d, f16 dmin, u8 s[12], u8 q[128]                 8 sub-blocks of 32: w = d*sc*q - dmin*m
 *         q: 4 chunks of 32 bytes, chunk c: low nibbles sub-block 2c, high nibbles 2c+1
 *   Q5_K  f16 d, f16 dmin, u8 s[12], u8 h[32], u8 q[128]       as Q4_K; bit j of h[i] is bit 4 of element i of
 * sub-block j Q6_K  u8 l[128], u8 h[64], i8 sc[16], f16 d                16 sub-blocks of 16: w = d*sc*(q - 32)
 *
 *   s: 6-bit scales and minima of 8 sub-blocks
 *      sc[j] = s[j] & 63                               m[j] = s[j+4] & 63                              j < 4
 *      sc[j] = (s[j+4] & 15) | (s[j-4] >> 6) << 4      m[j] = (s[j+4] >> 4) | (s[j] >> 6) << 4         j >= 4 */
#include <math.h>
#include <string.h>

#include "kernels/act.h"
#include "kernels/f16.h"
#include "kernels/ref/ref.h"

typedef struct sums {
    float d, dmin;
    int32_t sum, msum; /* msum 0 and dmin 0 where the type has no minima: then has_min is false */
} sums;

static float half_at(const unsigned char *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return qn__f16_to_f32(h);
}

static void scale_min(const unsigned char *s, int j, int *sc, int *m)
{
    if (j < 4) {
        *sc = s[j] & 63;
        *m = s[j + 4] & 63;
    } else {
        *sc = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
        *m = (s[j + 4] >> 4) | (s[j] >> 6) << 4;
    }
}

static sums dot_q45(const unsigned char *w, const unsigned char *high, const unsigned char *q, const int8_t *x,
                    const int16_t *s16)
{
    sums out = {half_at(w), half_at(w + 2), 0, 0};
    for (int j = 0; j < 8; j++) {
        int sc, m, sum = 0;
        scale_min(w + 4, j, &sc, &m);
        for (int i = 0; i < 32; i++) {
            int v = q[j / 2 * 32 + i] >> (j % 2 * 4) & 15;
            if (high)
                v |= (high[i] >> j & 1) << 4;
            sum += v * x[j * 32 + i];
        }
        out.sum += sc * sum;
        out.msum += m * (s16[2 * j] + s16[2 * j + 1]);
    }
    return out;
}

static sums dot_q4_k(const unsigned char *w, const int8_t *x, const int16_t *s16)
{
    return dot_q45(w, NULL, w + 16, x, s16);
}

static sums dot_q5_k(const unsigned char *w, const int8_t *x, const int16_t *s16)
{
    return dot_q45(w, w + 16, w + 48, x, s16);
}

static sums dot_q6_k(const unsigned char *w, const int8_t *x, const int16_t *s16)
{
    (void)s16;
    sums out = {half_at(w + 208), 0, 0, 0};
    for (int j = 0; j < 16; j++) {
        int half = j / 8, quarter = j % 8 / 2, sum = 0; /* quarter: 32 elements that share a nibble and a bit pair */
        const unsigned char *l = w + half * 64 + quarter % 2 * 32, *h = w + 128 + half * 32;
        for (int i = j % 2 * 16; i < j % 2 * 16 + 16; i++) {
            int v = (l[i] >> (quarter / 2 * 4) & 15) | (h[i] >> (quarter * 2) & 3) << 4;
            sum += (v - 32) * x[half * 128 + quarter * 32 + i];
        }
        out.sum += (int8_t)w[192 + j] * sum;
    }
    return out;
}

static inline void matmul(const qn_matmul *a, size_t bytes, bool has_min,
                          sums (*dot)(const unsigned char *, const int8_t *, const int16_t *))
{
    for (int t = 0; t < a->tokens; t++) {
        const char *x = (const char *)a->x + (size_t)t * a->x_stride;
        const float *dx = qn__q256_d(x, a->k);
        const int16_t *s16 = qn__q256_s(x, a->k);
        for (int r = 0; r < a->rows; r++) {
            const unsigned char *w = (const unsigned char *)a->w + (size_t)r * a->w_stride;
            float acc = 0;
            for (int b = 0; b < a->k / 256; b++, w += bytes) {
                sums s = dot(w, (const int8_t *)x + b * 256, s16 + b * 16);
                acc = fmaf(s.d * dx[b], (float)s.sum, acc);
                if (has_min)
                    acc = fmaf(-(s.dmin * dx[b]), (float)s.msum, acc);
            }
            a->y[(size_t)t * a->y_stride + (size_t)r] = acc;
        }
    }
}

void qn__ref_matmul_Q4_K(const qn_matmul *a)
{
    matmul(a, 144, true, dot_q4_k);
}

void qn__ref_matmul_Q5_K(const qn_matmul *a)
{
    matmul(a, 176, true, dot_q5_k);
}

void qn__ref_matmul_Q6_K(const qn_matmul *a)
{
    matmul(a, 210, false, dot_q6_k);
}
