/* stats.c - see stats.h. */
#include "services/probe/stats.h"

#include <math.h>
#include <stdlib.h>

qn_interval qn__wilson(uint64_t hits, uint64_t n, double z)
{
    if (n == 0)
        return (qn_interval){0, 1};
    double m = (double)n, p = (double)hits / m, zz = z * z / m, mid = (p + zz / 2) / (1 + zz);
    double half = z * sqrt(p * (1 - p) / m + zz / (4 * m)) / (1 + zz);
    return (qn_interval){hits == 0 || mid < half ? 0 : mid - half, hits == n || mid + half > 1 ? 1 : mid + half};
}

/* C(top, k) / C(n, k) as a product of k ratios, none of them large. */
static double choose_ratio(uint64_t top, uint64_t n, uint64_t k)
{
    if (top < k)
        return 0;
    double r = 1;
    for (uint64_t i = 0; i < k; i++)
        r *= (double)(top - i) / (double)(n - i);
    return r;
}

double qn__pass_at(uint64_t n, uint64_t c, uint64_t k)
{
    return 1 - choose_ratio(n - c, n, k);
}

double qn__pass_all(uint64_t n, uint64_t c, uint64_t k)
{
    return choose_ratio(c, n, k);
}

double qn__sign_test(uint64_t a, uint64_t b)
{
    uint64_t n = a + b, least = a < b ? a : b;
    double log_half = -(double)n * M_LN2, sum = 0;
    if (n == 0 || a == b)
        return 1;
    for (uint64_t i = 0; i <= least; i++)
        sum += exp(lgamma((double)n + 1) - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) + log_half);
    return 2 * sum < 1 ? 2 * sum : 1;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void qn__sort_doubles(double *v, size_t n)
{
    if (n > 1)
        qsort(v, n, sizeof *v, ascending);
}

double qn__quantile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;
    return i + 1 >= n ? sorted[n - 1] : sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]);
}

void qn__median_mad(double *v, size_t n, double *scratch, double *median, double *mad)
{
    qn__sort_doubles(v, n);
    *median = qn__quantile(v, n, 0.5);
    for (size_t i = 0; i < n; i++)
        scratch[i] = fabs(v[i] - *median);
    qn__sort_doubles(scratch, n);
    *mad = 1.4826 * qn__quantile(scratch, n, 0.5);
}
