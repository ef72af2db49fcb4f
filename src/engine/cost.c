/* cost.c - see cost.h. */
#include "engine/cost.h"

#include <math.h>

enum {
    FEW = 8,     /* rows of prefill: fewer say more about the step than about prefill */
    UNKNOWN = 64 /* tokens, while nothing is known */
};
static const double KEEP_DECODE = 0.97, KEEP_PREFILL = 0.7, MORE_UNKNOWN = 0.15, SPREAD = 0.05;
/* How far steps went beyond what was expected is remembered so: on a machine that others keep busy, that is how far they go again. */
static const double KEEP_OVER = 0.99, MOST_OVER = 1, SPARE = 0.25;
/* A step that took so much longer than expected: what was known before is of another time. */
static const double SURPRISE = 1.3, KEEP_SURPRISED = 0.1;

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

static double spread_of(const qn_line *l)
{
    double mean = l->x / l->w;
    return l->xx / l->w - mean * mean;
}

void qn__cost_decode(const qn_cost *c, int rows, double *seconds, double *more)
{
    double a, b;
    if (!qn__line_fit(&c->decode, &a, &b)) {
        *seconds = 1 + MORE_UNKNOWN * (rows - 1);
        *more = MORE_UNKNOWN;
        return;
    }
    double one = c->decode.x / c->decode.w;
    if (spread_of(&c->decode) < SPREAD) { /* all steps had as many rows: what one more costs is known from before, or a guess */
        double ratio = c->ratio > 0 ? c->ratio : MORE_UNKNOWN, y = c->decode.y / c->decode.w;
        b = y * ratio / (1 + ratio * (one - 1));
        a = y - b * one;
    }
    *seconds = a + b * rows;
    *more = b;
}

void qn__cost_learn(qn_cost *c, int prefill, double depth, int decode, double seconds)
{
    if (c->frozen || !(seconds > 0))
        return;
    if (prefill == 0 && decode > 0) {
        double a, b;
        bool late = qn__line_fit(&c->decode, &a, &b) && seconds > SURPRISE * (a + b * decode);
        qn__line_add(&c->decode, decode, seconds, 1, late ? 1 - 3 * (1 - KEEP_DECODE) : KEEP_DECODE);
        if (spread_of(&c->decode) >= SPREAD && qn__line_fit(&c->decode, &a, &b) && a + b > 0)
            c->ratio = b / (a + b);
    } else if (prefill >= FEW) {
        double beside = 0, more;
        if (decode && c->decode.w > 0)
            qn__cost_decode(c, decode, &beside, &more);
        double left = seconds - beside, each = (left > 0.1 * seconds ? left : 0.1 * seconds) / prefill, a, b;
        const bool known = qn__line_fit(&c->prefill, &a, &b), late = known && each > SURPRISE * (a + b * depth);
        const double over = known ? seconds / (beside + prefill * (a + b * depth)) - 1 : 0;
        c->over = fmin(MOST_OVER, fmax(over, c->over * KEEP_OVER));
        c->last = prefill;
        qn__line_add(&c->prefill, depth, each, prefill, late ? KEEP_SURPRISED : KEEP_PREFILL);
    }
}

/* A line through few steps that lie close together says little about depths far from them: a token costs four fifths of what it did
 * lately at least. */
static double careful(const qn_cost *c, double seconds)
{
    const double least = 0.8 * c->prefill.y / c->prefill.w;
    return seconds > least ? seconds : least;
}

int qn__cost_prefill(const qn_cost *c, double from, int decode, double limit, int least, int most)
{
    double a, b, beside = 0, more;
    if (least > most)
        least = most;
    if (!(limit < INFINITY))
        return most;
    if (decode && c->decode.w > 0)
        qn__cost_decode(c, decode, &beside, &more);
    if (!qn__line_fit(&c->prefill, &a, &b)) {
        int n = UNKNOWN;
        if (decode && (beside <= 0 || limit - beside < n * more)) /* a token costs as much as a further row of theirs, until it is known */
            n = beside > 0 && limit > beside ? (int)((limit - beside) / more) : least;
        return n < least ? least : n > most ? most : n;
    }
    if (decode && c->over > SPARE) /* the limit leaves so much to spare; where steps go further beyond, it is to be kept all the same */
        limit *= (1 + SPARE) / (1 + c->over);
    /* A step has twice as many as the last at most. What that loses is made up for in a few steps; a step that takes ten times its time
     * is not. */
    if (c->last > 0 && most > 2 * c->last)
        most = 2 * c->last > UNKNOWN ? 2 * c->last : UNKNOWN < most ? UNKNOWN : most;
    if (least > most)
        least = most;
    /* n * (a + b * (from + n / 2)) = room */
    double room = limit - beside, p = careful(c, a + b * from), n;
    if (room <= 0)
        return least;
    n = b > 0 ? (sqrt(p * p + 2 * b * room) - p) / b : p > 0 ? room / p : most;
    return n < least ? least : n > most ? most : (int)n;
}
