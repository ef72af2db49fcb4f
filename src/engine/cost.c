/* cost.c - see cost.h. */
#include "engine/cost.h"

#include <math.h>

enum {
    FEW = 8,     /* rows of prefill: fewer say more about the step than about prefill */
    UNKNOWN = 64 /* tokens, while nothing is known */
};
static const double KEEP_DECODE = 0.97, KEEP_PREFILL = 0.7, MORE_UNKNOWN = 0.1;

void qn__line_add(qn_line *l, double x, double y, double weight, double keep)
{
    l->w = l->w * keep + weight;
    l->x = l->x * keep + weight * x;
    l->y = l->y * keep + weight * y;
    l->xx = l->xx * keep + weight * x * x;
    l->xy = l->xy * keep + weight * x * y;
}

bool qn__line_fit(const qn_line *l, double *a, double *b)
{
    if (!(l->w > 0))
        return false;
    double mx = l->x / l->w, my = l->y / l->w, var = l->xx / l->w - mx * mx, cov = l->xy / l->w - mx * my;
    *b = var > 1e-6 * (1 + mx * mx) && cov > 0 ? cov / var : 0;
    if (*b * mx > my) /* through the origin rather than below it */
        *b = mx > 0 ? my / mx : 0;
    *a = my - *b * mx;
    return true;
}

void qn__cost_decode(const qn_cost *c, int rows, double *seconds, double *more)
{
    double a, b;
    if (!qn__line_fit(&c->decode, &a, &b)) {
        *seconds = 1 + MORE_UNKNOWN * (rows - 1);
        *more = MORE_UNKNOWN;
        return;
    }
    double one = c->decode.x / c->decode.w, spread = c->decode.xx / c->decode.w - one * one;
    if (spread < 0.05) { /* all steps had as many rows: what one more costs is a guess */
        b = MORE_UNKNOWN * (a + b * one) / one;
        a = c->decode.y / c->decode.w - b * one;
    }
    *seconds = a + b * rows;
    *more = b;
}

void qn__cost_learn(qn_cost *c, int prefill, double depth, int decode, double seconds)
{
    if (c->frozen || !(seconds > 0))
        return;
    if (prefill == 0 && decode > 0) {
        qn__line_add(&c->decode, decode, seconds, 1, KEEP_DECODE);
    } else if (prefill >= FEW) {
        double beside = 0, more;
        if (decode && c->decode.w > 0)
            qn__cost_decode(c, decode, &beside, &more);
        double left = seconds - beside;
        qn__line_add(&c->prefill, depth, (left > 0.1 * seconds ? left : 0.1 * seconds) / prefill, prefill, KEEP_PREFILL);
    }
}

int qn__cost_prefill(const qn_cost *c, double from, int decode, double limit, int least, int most)
{
    double a, b, beside = 0, more;
    if (least > most)
        least = most;
    if (!(limit < INFINITY))
        return most;
    if (!qn__line_fit(&c->prefill, &a, &b))
        return most < UNKNOWN ? most : UNKNOWN;
    if (decode && c->decode.w > 0)
        qn__cost_decode(c, decode, &beside, &more);
    /* n * (a + b * (from + n / 2)) = room */
    double room = limit - beside, p = a + b * from, n;
    if (room <= 0)
        return least;
    n = b > 0 ? (sqrt(p * p + 2 * b * room) - p) / b : p > 0 ? room / p : most;
    return n < least ? least : n > most ? most : (int)n;
}
