/* quant_k.c - the K types and IQ4_XS: 256 elements in sub-blocks of 16 or 32 whose scales (and minimums) are integers
 * times the block's own scale. The layouts are drawn in dequant_k.c.
 *
 * Two families, each in the same three steps:
 *
 *   1. every sub-block alone: its best real scale (and minimum)                  quant_fit.c
 *   2. the block's scale: fits those reals by integers, weighted by what a change of each would cost
 *   3. rounds of: per sub-block the best integers near the reals, by their true error, with all q taken anew;
 *      then the block's scale by least squares for these integers and q. A round that does not help ends it. */
#include <math.h>
#include <string.h>

#include "kernels/ref/dequant_impl.h"
#include "kernels/ref/iq_tables.h"
#include "kernels/ref/quant_impl.h"

enum { ELEMENTS = 256, MOST_SUBS = 16, ROUNDS = 3 };

static float half_of(float f)
{
    return qn__f16_to_f32(qn__f32_to_f16(f > 65504.0f ? 65504.0f : f < -65504.0f ? -65504.0f : f));
}

/* ---- x ~ d s q: Q3_K, Q6_K, IQ4_XS ------------------------------------------------------------------------------- */

typedef struct scaled_kind {
    int length;      /* of a sub-block */
    qn__levels q, s; /* s: the sub-scale's integers */
} scaled_kind;

typedef struct scaled {
    float d;
    int s[MOST_SUBS];
    uint8_t code[ELEMENTS];
    float error;
} scaled;

/* The best integer near `wish` (the real sub-scale over d) for one sub-block. */
static float choose_scale(const float *x, const float *w, const scaled_kind *k, float d, float wish, int *s)
{
    float best = INFINITY;
    int centre = (int)lrintf(fminf(fmaxf(wish, (float)k->s.lo), (float)k->s.hi));
    for (int t = centre - 1; t <= centre + 1; t++) {
        if (t < k->s.lo || t > k->s.hi)
            continue;
        float error = qn__error_scale(x, w, k->length, k->q, d * (float)t);
        if (error < best) {
            best = error;
            *s = t;
        }
    }
    return best;
}

/* With the block's scale d: integers, codes and error. */
static void choose_scales(const float *x, const float *w, const scaled_kind *k, const float *real, float d, scaled *out)
{
    out->d = d;
    out->error = 0;
    for (int i = 0; i * k->length < ELEMENTS; i++) {
        int at = i * k->length;
        out->s[i] = 0;
        out->error += choose_scale(x + at, w + at, k, d, d != 0 ? real[i] / d : 0, &out->s[i]);
        qn__codes_scale(x + at, k->length, k->q, d * (float)out->s[i], out->code + at);
    }
}

static float refit_scale(const float *x, const float *w, const scaled_kind *k, const scaled *b)
{
    double xq = 0, qq = 0;
    for (int i = 0; i < ELEMENTS; i++) {
        float level = k->q.table ? (float)qn__iq4_values[b->code[i]] : (float)(b->code[i] + k->q.lo);
        float q = (float)b->s[i / k->length] * level;
        xq += (double)(w[i] * q * x[i]);
        qq += (double)(w[i] * q * q);
    }
    return qq > 0 ? (float)(xq / qq) : 0;
}

static void quantise_scaled(const float *x, const float *w, const scaled_kind *k, scaled *best)
{
    float real[MOST_SUBS] = {0}, cost[MOST_SUBS] = {0}, most = 0, extreme = 0;
    int n = ELEMENTS / k->length;
    for (int i = 0; i < n; i++) {
        real[i] = qn__fit_scale(x + i * k->length, w + i * k->length, k->length, k->q, &cost[i]);
        most = cost[i] > most ? cost[i] : most;
        extreme = fabsf(real[i]) > fabsf(extreme) ? real[i] : extreme;
    }
    for (int i = 0; i < n; i++)
        cost[i] = most > 0 ? cost[i] / most : 1;
    scaled trial;
    choose_scales(x, w, k, real, half_of(qn__fit_scale(real, cost, n, k->s, NULL)), best);
    /* The extreme sub-scale at the end of its range: the cost of a small change does not foresee every large one. */
    float d = half_of(extreme / (float)k->s.lo);
    for (int round = 0; round < ROUNDS; round++) {
        choose_scales(x, w, k, real, d, &trial);
        if (trial.error < best->error)
            *best = trial;
        else if (round > 0)
            break;
        d = half_of(refit_scale(x, w, k, best));
    }
}

/* h[32] q[64] scale[12] d[2] */
void qn__quant_q3_k(const float *x, const float *w, unsigned char *y)
{
    static const scaled_kind kind = {16, {-4, 3, false}, {-32, 31, false}};
    scaled b;
    quantise_scaled(x, w, &kind, &b);
    memset(y, 0, 110);
    for (int i = 0; i < ELEMENTS; i++) {
        y[32 + 32 * (i / 128) + i % 32] |= (unsigned char)((b.code[i] & 3) << (2 * (i / 32 % 4)));
        y[i % 32] |= (unsigned char)((b.code[i] >> 2) << (i / 32));
    }
    for (int s = 0; s < 16; s++) {
        unsigned v = (unsigned)(b.s[s] + 32);
        y[96 + s % 8] |= (unsigned char)((v & 15) << (4 * (s / 8)));
        y[104 + s % 4] |= (unsigned char)(v >> 4 << (2 * (s / 4)));
    }
    (void)qn__put_half(y + 108, b.d);
}

/* q[128] h[64] scale[16] d[2] */
void qn__quant_q6_k(const float *x, const float *w, unsigned char *y)
{
    static const scaled_kind kind = {16, {-32, 31, false}, {-128, 127, false}};
    scaled b;
    quantise_scaled(x, w, &kind, &b);
    memset(y, 0, 210);
    for (int i = 0; i < ELEMENTS; i++) {
        int half = i / 128, run = i / 32 % 4, j = i % 32;
        y[64 * half + 32 * (run % 2) + j] |= (unsigned char)((b.code[i] & 15) << (4 * (run / 2)));
        y[128 + 32 * half + j] |= (unsigned char)((b.code[i] >> 4) << (2 * run));
    }
    for (int s = 0; s < 16; s++)
        y[192 + s] = (unsigned char)b.s[s];
    (void)qn__put_half(y + 208, b.d);
}

/* d[2] high[2] low[4] q[128] */
void qn__quant_iq4_xs(const float *x, const float *w, unsigned char *y)
{
    static const scaled_kind kind = {32, {-127, 113, true}, {-32, 31, false}};
    scaled b;
    quantise_scaled(x, w, &kind, &b);
    memset(y, 0, 136);
    (void)qn__put_half(y, b.d);
    for (int g = 0; g < 8; g++) {
        unsigned v = (unsigned)(b.s[g] + 32);
        y[2 + g / 4] |= (unsigned char)(v >> 4 << (2 * (g % 4)));
        y[4 + g / 2] |= (unsigned char)((v & 15) << (4 * (g % 2)));
        for (int j = 0; j < 16; j++)
            y[8 + 16 * g + j] = (unsigned char)(b.code[32 * g + j] | b.code[32 * g + j + 16] << 4);
    }
}

/* ---- x ~ d s q - dmin m: Q2_K, Q4_K, Q5_K ------------------------------------------------------------------------ */

typedef struct affine_kind {
    int length, top; /* q in 0..top */
    int most;        /* sub-scales and sub-minimums in 0..most */
} affine_kind;

typedef struct affine {
    float d, dmin;
    int s[MOST_SUBS], m[MOST_SUBS];
    uint8_t q[ELEMENTS];
    float error;
} affine;

static int clamp_round(float v, int most)
{
    return v > 0 ? v < (float)most ? (int)lrintf(v) : most : 0;
}

/* The best pair of integers near the wishes for one sub-block. */
static float choose_pair(const float *x, const float *w, const affine_kind *k, affine *b, int i, float wish_s,
                         float wish_m)
{
    float best = INFINITY;
    int s0 = clamp_round(wish_s, k->most), m0 = clamp_round(wish_m, k->most), at = i * k->length;
    b->s[i] = s0;
    b->m[i] = m0;
    for (int s = s0 - 1; s <= s0 + 1; s++)
        for (int m = m0 - 1; m <= m0 + 1; m++) {
            if (s < 0 || m < 0 || s > k->most || m > k->most)
                continue;
            float error = qn__error_affine(x + at, w + at, k->length, k->top, b->d * (float)s, -b->dmin * (float)m);
            if (error < best) {
                best = error;
                b->s[i] = s;
                b->m[i] = m;
            }
        }
    qn__codes_affine(x + at, k->length, k->top, b->d * (float)b->s[i], -b->dmin * (float)b->m[i], b->q + at);
    return best;
}

static void choose_pairs(const float *x, const float *w, const affine_kind *k, const float *scale, const float *min,
                         affine *b)
{
    b->error = 0;
    for (int i = 0; i * k->length < ELEMENTS; i++)
        b->error += choose_pair(x, w, k, b, i, b->d != 0 ? scale[i] / b->d : 0, b->dmin != 0 ? -min[i] / b->dmin : 0);
}

/* d and dmin by least squares for the integers of b. */
static bool refit_pair(const float *x, const float *w, const affine_kind *k, const affine *b, float *d, float *dmin)
{
    double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
    for (int i = 0; i < ELEMENTS; i++) {
        double u = (double)(b->s[i / k->length] * b->q[i]), v = (double)-b->m[i / k->length], wi = (double)w[i];
        aa += wi * u * u;
        ab += wi * u * v;
        bb += wi * v * v;
        xa += wi * u * (double)x[i];
        xb += wi * v * (double)x[i];
    }
    double det = aa * bb - ab * ab;
    if (!(det > 1e-9 * aa * bb)) {
        *d = aa > 0 ? (float)(xa / aa) : 0;
        *dmin = aa > 0 ? 0 : bb > 0 ? (float)(xb / bb) : 0;
        return aa > 0 || bb > 0;
    }
    *d = (float)((xa * bb - xb * ab) / det);
    *dmin = (float)((xb * aa - xa * ab) / det);
    return true;
}

/* The scale of `n` reals of one sign by integers 0..most. */
static float common_scale(const float *real, const float *cost, int n, int most)
{
    float d = qn__fit_scale(real, cost, n, (qn__levels){-most, most, false}, NULL);
    float sum = 0;
    for (int i = 0; i < n; i++)
        sum += real[i];
    return half_of(sum < 0 ? -d : d);
}

static void quantise_affine(const float *x, const float *w, const affine_kind *k, affine *best)
{
    float scale[MOST_SUBS] = {0}, min[MOST_SUBS] = {0}, cost[MOST_SUBS] = {0}, most = 0;
    int n = ELEMENTS / k->length;
    /* Minimums are subtracted; a block without any negative minimum turns dmin's sign instead of giving them up. */
    float lowest = x[0];
    for (int i = 1; i < ELEMENTS; i++)
        lowest = x[i] < lowest ? x[i] : lowest;
    qn__min_sign sign = lowest > 0 ? QN__MIN_POSITIVE : QN__MIN_NEGATIVE;
    for (int i = 0; i < n; i++) {
        const float *wi = w + i * k->length;
        qn__fit_affine(x + i * k->length, wi, k->length, k->top, sign, &scale[i], &min[i]);
        cost[i] = 0;
        for (int j = 0; j < k->length; j++)
            cost[i] += wi[j];
        most = cost[i] > most ? cost[i] : most;
    }
    for (int i = 0; i < n; i++)
        cost[i] /= most;
    affine trial;
    best->d = common_scale(scale, cost, n, k->most);
    best->dmin = -common_scale(min, cost, n, k->most);
    choose_pairs(x, w, k, scale, min, best);
    for (int round = 1; round < ROUNDS; round++) {
        if (!refit_pair(x, w, k, best, &trial.d, &trial.dmin))
            break;
        trial.d = half_of(trial.d);
        trial.dmin = half_of(trial.dmin);
        choose_pairs(x, w, k, scale, min, &trial);
        if (!(trial.error < best->error))
            break;
        *best = trial;
    }
}

/* scale[16] q[64] d[2] dmin[2] */
void qn__quant_q2_k(const float *x, const float *w, unsigned char *y)
{
    static const affine_kind kind = {16, 3, 15};
    affine b;
    quantise_affine(x, w, &kind, &b);
    memset(y, 0, 84);
    for (int s = 0; s < 16; s++)
        y[s] = (unsigned char)(b.s[s] | b.m[s] << 4);
    for (int i = 0; i < ELEMENTS; i++)
        y[16 + 32 * (i / 128) + i % 32] |= (unsigned char)(b.q[i] << (2 * (i / 32 % 4)));
    (void)qn__put_half(y + 80, b.d);
    (void)qn__put_half(y + 82, b.dmin);
}

/* The 12 bytes of eight 6-bit pairs; see q4_scale() in dequant_k.c. */
static void put_pairs(unsigned char *p, const affine *b)
{
    for (int s = 0; s < 4; s++) {
        p[s] = (unsigned char)(b->s[s] | b->s[s + 4] >> 4 << 6);
        p[s + 4] = (unsigned char)(b->m[s] | b->m[s + 4] >> 4 << 6);
        p[s + 8] = (unsigned char)((b->s[s + 4] & 15) | (b->m[s + 4] & 15) << 4);
    }
}

/* The low nibbles of the codes, 64 elements in 32 bytes. */
static void put_low(unsigned char *y, const uint8_t *q)
{
    for (int i = 0; i < ELEMENTS / 2; i++) {
        const uint8_t *c = q + 64 * (i / 32) + i % 32;
        y[i] = (unsigned char)((c[0] & 15) | (c[32] & 15) << 4);
    }
}

/* d[2] dmin[2] scale[12] q[128] */
void qn__quant_q4_k(const float *x, const float *w, unsigned char *y)
{
    static const affine_kind kind = {32, 15, 63};
    affine b;
    quantise_affine(x, w, &kind, &b);
    (void)qn__put_half(y, b.d);
    (void)qn__put_half(y + 2, b.dmin);
    put_pairs(y + 4, &b);
    put_low(y + 16, b.q);
}

/* d[2] dmin[2] scale[12] h[32] q[128] */
void qn__quant_q5_k(const float *x, const float *w, unsigned char *y)
{
    static const affine_kind kind = {32, 31, 63};
    affine b;
    quantise_affine(x, w, &kind, &b);
    (void)qn__put_half(y, b.d);
    (void)qn__put_half(y + 2, b.dmin);
    put_pairs(y + 4, &b);
    memset(y + 16, 0, 32);
    for (int i = 0; i < ELEMENTS; i++)
        y[16 + i % 32] |= (unsigned char)((b.q[i] >> 4) << (i / 32));
    put_low(y + 48, b.q);
}
