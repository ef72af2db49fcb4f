/* stats.h - what a handful of samples says, and how surely. Pure functions. */
#ifndef QN_SERVICES_PROBE_STATS_H
#define QN_SERVICES_PROBE_STATS_H

#include "quern.h"

typedef struct qn_interval {
    double low, high;
} qn_interval;

/* Of a rate of which `hits` of n samples were seen: Wilson's score interval (Wilson 1927) for z standard deviations (1.96: 95 %).
 * n 0: [0, 1]. */
qn_interval qn__wilson(uint64_t hits, uint64_t n, double z);
/* Chance that at least one of k samples passes when c of n passed: 1 - C(n-c, k)/C(n, k), without bias (Chen 2021). k <= n. */
double qn__pass_at(uint64_t n, uint64_t c, uint64_t k);
/* Chance that all of k samples pass: C(c, k)/C(n, k). k <= n. */
double qn__pass_all(uint64_t n, uint64_t c, uint64_t k);
/* Two-sided exact p of a sign test: a wins of one side and b of the other (ties left out), each as likely under no difference.
 * The same is McNemar's exact test over pairs of which only one side passed. */
double qn__sign_test(uint64_t a, uint64_t b);
/* The q-quantile (0..1) of v[n] in ascending order, between two by linear interpolation. n > 0. */
double qn__quantile(const double *sorted, size_t n, double q);
/* Sorts v and gives its median and the median distance from that (times 1.4826: the standard deviation of a normal one). n > 0.
 * scratch[n]. */
void qn__median_mad(double *v, size_t n, double *scratch, double *median, double *mad);
/* Ascending. */
void qn__sort_doubles(double *v, size_t n);

#endif
