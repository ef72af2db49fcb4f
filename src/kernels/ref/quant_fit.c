/* quant_fit.c - the two searches that every quantiser is made of.
 *
 * For a fixed scale the best q are the nearest levels; for fixed q the best scale is a least-squares solution. Neither
 * step can make the error larger, so alternating them descends, but only to the nearest valley. Which valley is good is
 * found by a grid of starting scales around the one that maps the extreme element to the last level.
 *
 * One evaluation is one pass over the elements with eight independent sums, in a form that compilers vectorise: clamp,
 * round by adding 1.5 * 2^23 (to nearest, ties to even; |t| < 2^22 after the clamp), multiply, add. */
#include <math.h>

#include "kernels/ref/dequant_impl.h" /* the values of IQ4 */
#include "kernels/ref/iq_tables.h"
#include "kernels/ref/quant_impl.h"

enum { LANES = 8 };
static const float round_magic = 12582912.0f;

static inline float nearest(float t, float lo, float hi)
{
    t = t < lo ? lo : t;
    t = t > hi ? hi : t;
    return t + round_magic - round_magic;
}

static float total(const float a[LANES])
{
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}

/* Index of the value of IQ4 nearest to t. Its 15 borders, counted from the first value, lie more than 8 apart: so a
 * cell of width 8 has at most one, and `below[cell]` borders lie before the cell. */
static inline int nearest_iq4(float t)
{
    static const uint8_t below[31] = {0, 0, 1, 1,  1,  2,  2,  3,  3,  4,  4,  5,  5,  6,  7, 7,
                                      8, 9, 9, 10, 11, 11, 12, 12, 13, 13, 14, 14, 14, 15, 15};
    static const float border[16] = {11.5f, 33.5f, 53,     70,     85,  98.5f, 111, 122.5f,
                                     134,   146,   158.5f, 172.5f, 188, 206,   228, 1e9f};
    float u = t + 127;
    u = u < 0 ? 0 : u;
    u = u > 240 ? 240 : u;
    int i = below[(int)(u * 0.125f)];
    return i + (u >= border[i]);
}

/* ---- x ~ d q ----------------------------------------------------------------------------------------------------- */

typedef struct sums {
    float xq, qq; /* sum w x q, sum w q q: the best d is xq / qq, and it takes xq^2 / qq off the error */
} sums;

static sums evaluate(const float *x, const float *w, int n, qn__levels levels, float inverse)
{
    float xq[LANES] = {0}, qq[LANES] = {0};
    float lo = (float)levels.lo, hi = (float)levels.hi;
    if (levels.table)
        for (int i = 0; i < n; i++) {
            float q = qn__iq4_values[nearest_iq4(x[i] * inverse)], wq = w[i] * q;
            xq[i % LANES] += wq * x[i];
            qq[i % LANES] += wq * q;
        }
    else
        for (int i = 0; i < n; i += LANES)
            for (int l = 0; l < LANES; l++) {
                float q = nearest(x[i + l] * inverse, lo, hi), wq = w[i + l] * q;
                xq[l] += wq * x[i + l];
                qq[l] += wq * q;
            }
    return (sums){total(xq), total(qq)};
}

/* Keep s when it is better than best: by more than the rounding of d to a half can undo (2^-11, squared), so that among
 * equals the first wins, whose d times a power of two is the extreme element: exact where the element is. */
static void keep(sums s, sums *best)
{
    if (s.qq > 0 && (best->qq <= 0 || s.xq * s.xq * best->qq > best->xq * best->xq * s.qq * (1 + 0x1p-22f)))
        *best = s;
}

/* The x of the largest magnitude that matters: of the elements whose weight is at least `least`. */
static float extreme_of(const float *x, const float *w, int n, float least)
{
    float extreme = 0;
    for (int i = 0; i < n; i++)
        if (w[i] >= least && fabsf(x[i]) > fabsf(extreme))
            extreme = x[i];
    return extreme;
}

static void search(const float *x, const float *w, int n, qn__levels levels, float extreme, sums *best)
{
    /* Where the extreme element falls, relative to the last level, in levels. */
    static const float offset[] = {0, -1.5f, -1.25f, -1, -0.75f, -0.5f, -0.25f, 0.25f, 0.5f, 0.75f, 1, 1.25f, 1.5f};
    float step = levels.table ? 14 : 1, edge = (float)-levels.lo;
    bool symmetric = levels.lo == -levels.hi;
    for (size_t k = 0; k < sizeof offset / sizeof *offset; k++) {
        float inverse = (edge + step * offset[k]) / (symmetric ? fabsf(extreme) : -extreme);
        keep(evaluate(x, w, n, levels, inverse), best);
        if (!symmetric)
            keep(evaluate(x, w, n, levels, -inverse), best);
    }
}

float qn__fit_scale(const float *x, const float *w, int n, qn__levels levels, float *energy)
{
    float extreme = extreme_of(x, w, n, 0), typical = extreme_of(x, w, n, 0.01f);
    sums best = {0, 0};
    if (fabsf(extreme) >= 0x1p-40f) {
        search(x, w, n, levels, extreme, &best);
        if (fabsf(typical) >= 0x1p-40f && fabsf(typical) < 0.75f * fabsf(extreme)) /* an outlier that hardly matters */
            search(x, w, n, levels, typical, &best);
    }
    for (int k = 0; k < 3 && best.qq > 0 && best.xq != 0; k++) {
        float before = best.xq;
        keep(evaluate(x, w, n, levels, best.qq / best.xq), &best);
        if (best.xq == before)
            break;
    }
    if (energy)
        *energy = best.qq;
    return best.qq > 0 ? best.xq / best.qq : 0;
}

float qn__error_scale(const float *x, const float *w, int n, qn__levels levels, float d)
{
    float inverse = d != 0 ? 1 / d : 0, error[LANES] = {0};
    float lo = (float)levels.lo, hi = (float)levels.hi;
    if (levels.table)
        for (int i = 0; i < n; i++) {
            float e = x[i] - d * qn__iq4_values[nearest_iq4(x[i] * inverse)];
            error[i % LANES] += w[i] * e * e;
        }
    else
        for (int i = 0; i < n; i += LANES)
            for (int l = 0; l < LANES; l++) {
                float e = x[i + l] - d * nearest(x[i + l] * inverse, lo, hi);
                error[l] += w[i + l] * e * e;
            }
    return total(error);
}

void qn__codes_scale(const float *x, int n, qn__levels levels, float d, uint8_t *code)
{
    float inverse = d != 0 ? 1 / d : 0;
    for (int i = 0; i < n; i++)
        code[i] =
            (uint8_t)(levels.table ? nearest_iq4(x[i] * inverse)
                                   : (int)nearest(x[i] * inverse, (float)levels.lo, (float)levels.hi) - levels.lo);
}

/* ---- x ~ d q + m ------------------------------------------------------------------------------------------------- */

typedef struct line {
    float d, m;
    double gain; /* what the fit takes off sum w x^2 */
} line;

/* What one search is about: n elements and their range; x is taken relative to lo, so that nothing cancels and the
 * gains of all candidates compare. */
typedef struct span {
    const float *x, *w;
    int n;
    float top, lo, hi;
    qn__min_sign sign;
} span;

/* The least-squares line through the q that a scale and a minimum (relative to lo) give. */
static line fit_line(const span *p, float inverse, float from)
{
    float s1[LANES] = {0}, sx[LANES] = {0}, sq[LANES] = {0}, sqq[LANES] = {0}, sxq[LANES] = {0};
    for (int i = 0; i < p->n; i += LANES)
        for (int l = 0; l < LANES; l++) {
            float v = p->x[i + l] - p->lo, w = p->w[i + l];
            float q = nearest((v - from) * inverse, 0, p->top), wq = w * q;
            s1[l] += w;
            sx[l] += w * v;
            sq[l] += wq;
            sqq[l] += wq * q;
            sxq[l] += wq * v;
        }
    double a = (double)total(s1), b = (double)total(sx), c = (double)total(sq), e = (double)total(sqq),
           f = (double)total(sxq);
    double det = a * e - c * c, d = 0, m = b / a, lo = (double)p->lo;
    if (det > 0) {
        d = (a * f - b * c) / det;
        m = (b * e - c * f) / det;
    }
    if (d < 0 || (p->sign == QN__MIN_NEGATIVE && m + lo > 0) || (p->sign == QN__MIN_POSITIVE && m + lo < 0)) {
        m = p->sign == QN__MIN_ANY ? b / a : -lo; /* through the origin */
        d = e > 0 ? (f - m * c) / e : 0;
        d = d > 0 ? d : 0;
    }
    double gain = 2 * (d * f + m * b) - (d * d * e + 2 * d * m * c + m * m * a);
    return (line){(float)d, (float)m, gain};
}

static void range_of(span *p, float least)
{
    p->lo = 0x1p30f;
    p->hi = -0x1p30f;
    for (int i = 0; i < p->n; i++)
        if (p->w[i] >= least) {
            p->lo = p->x[i] < p->lo ? p->x[i] : p->lo;
            p->hi = p->x[i] > p->hi ? p->x[i] : p->hi;
        }
    if ((p->sign == QN__MIN_NEGATIVE && p->lo > 0) || (p->sign == QN__MIN_POSITIVE && p->lo < 0))
        p->lo = 0;
}

/* `range`: the elements whose range is stepped through; p->lo stays the origin. */
static void search_line(const span *p, const span *range, line *best)
{
    static const float offset[] = {-0.9f, -0.7f, -0.5f, -0.35f, -0.2f, -0.1f, 0,   0.1f,
                                   0.2f,  0.35f, 0.5f,  0.7f,   0.9f,  1.1f,  1.3f};
    for (size_t k = 0; k < sizeof offset / sizeof *offset; k++) {
        line now = fit_line(p, (p->top + offset[k]) / (range->hi - range->lo), range->lo - p->lo);
        if (now.gain > best->gain)
            *best = now;
    }
}

void qn__fit_affine(const float *x, const float *w, int n, int top, qn__min_sign sign, float *d, float *m)
{
    span p = {x, w, n, (float)top, 0, 0, sign}, typical = p;
    range_of(&p, 0);
    range_of(&typical, 0.01f);
    line best = {0, 0, -1e300};
    if (p.hi - p.lo >= 0x1p-40f) {
        search_line(&p, &p, &best);
        if (typical.hi - typical.lo >= 0x1p-40f && typical.hi - typical.lo < 0.75f * (p.hi - p.lo))
            search_line(&p, &typical, &best);
    }
    for (int k = 0; k < 2 && best.d > 0; k++) {
        line now = fit_line(&p, 1 / best.d, best.m);
        if (now.gain <= best.gain)
            break;
        best = now;
    }
    *d = best.d;
    *m = p.lo + best.m;
}

float qn__error_affine(const float *x, const float *w, int n, int top, float d, float m)
{
    float inverse = d != 0 ? 1 / d : 0, error[LANES] = {0}, hi = (float)top;
    for (int i = 0; i < n; i += LANES)
        for (int l = 0; l < LANES; l++) {
            float v = x[i + l] - m, e = v - d * nearest(v * inverse, 0, hi);
            error[l] += w[i + l] * e * e;
        }
    return total(error);
}

void qn__codes_affine(const float *x, int n, int top, float d, float m, uint8_t *q)
{
    float inverse = d != 0 ? 1 / d : 0;
    for (int i = 0; i < n; i++)
        q[i] = (uint8_t)nearest((x[i] - m) * inverse, 0, (float)top);
}
