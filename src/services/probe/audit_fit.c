/* audit_fit.c - the curve through scores at lengths, and the length where it is half-way down.
 *
 *     top ----.
 *              \        a logistic curve in the logarithm of the length; steepness is free, so a step is among them
 *     guess     `----
 *              ^ cliff
 *
 * For each cliff on a grid the best top and steepness are taken (profile likelihood); the interval is where the likelihood is within
 * 1.92 of the best (Wilks 1938), to the next point of the grid. Between two lengths of which all samples of one pass and of the other fail the likelihood is flat: the
 * middle of the flat part is told. */
#include <math.h>

#include "services/probe/audit.h"

enum { GRID = 480, STEEP = 8, TOPS = 20 };

static double likelihood(const qn_audit_point *p, size_t n, double guess, double top, double cliff, double steep)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double q = guess + (top - guess) / (1 + exp(steep * log(p[i].length / cliff)));
        q = q < 1e-4 ? 1e-4 : q > 1 - 1e-4 ? 1 - 1e-4 : q;
        sum += p[i].right * log(q) + (p[i].n - p[i].right) * log(1 - q);
    }
    return sum;
}

static double best_at(const qn_audit_point *p, size_t n, double guess, double cliff, double *top)
{
    static const double steep[STEEP] = {1, 2, 4, 8, 16, 32, 128, 8000};
    double best = -INFINITY;
    for (int s = 0; s < STEEP; s++)
        for (int t = 1; t <= TOPS; t++) {
            double x = guess + (1 - guess) * t / TOPS, l = likelihood(p, n, guess, x, cliff, steep[s]);
            if (l > best) {
                best = l;
                *top = x;
            }
        }
    return best;
}

qn_audit_cliff qn__audit_fit(const qn_audit_point *p, size_t n_points, double guess)
{
    const double first = p[0].length, last = p[n_points - 1].length, span = log(last / first);
    double l[GRID + 1], tops[GRID + 1], best = -INFINITY;
    for (int i = 0; i <= GRID; i++) {
        l[i] = best_at(p, n_points, guess, first * exp(span * i / GRID), &tops[i]);
        best = l[i] > best ? l[i] : best;
    }
    int low = -1, high = -1, from = -1, to = -1;
    for (int i = 0; i <= GRID; i++) {
        if (l[i] >= best - 1.92) {
            low = low < 0 ? i : low;
            high = i;
        }
        if (l[i] >= best - 0.02) {
            from = from < 0 ? i : from;
            to = i;
        }
    }
    low -= low > 0;
    high += high < GRID;
    return (qn_audit_cliff){first * exp(span * (from + to) / 2 / GRID), first * exp(span * low / GRID), first * exp(span * high / GRID),
                            tops[(from + to) / 2]};
}
