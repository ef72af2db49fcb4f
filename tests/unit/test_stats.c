/* test_stats.c - against figures from textbooks, brute force and simulated runs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/probe/stats.h"

static void near(double got, double want, double tol)
{
    if (!(fabs(got - want) <= tol))
        fail_msg("got %.12g, want %.12g", got, want);
}

/* Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29. */
static void test_wilson(void **state)
{
    (void)state;
    static const struct { uint64_t c, n; double low, high; } t[] = {
        {81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718}, {29, 29, 0.8830, 1}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        qn_interval w = qn__wilson(t[i].c, t[i].n, 1.959964);
        near(w.low, t[i].low, 5.1e-5);
        near(w.high, t[i].high, 5.1e-5);
    }
    near(qn__wilson(0, 0, 1.96).high, 1, 0);
}

/* All subsets of k among n of which the first c pass. */
static void brute(unsigned n, unsigned c, unsigned k, double *any, double *all)
{
    unsigned total = 0, some = 0, every = 0;
    for (unsigned s = 0; s < 1u << n; s++) {
        if ((unsigned)__builtin_popcount(s) != k)
            continue;
        unsigned hit = (unsigned)__builtin_popcount(s & ((1u << c) - 1));
        total++;
        some += hit > 0;
        every += hit == k;
    }
    *any = (double)some / total;
    *all = (double)every / total;
}

static void test_pass(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 8; n++)
        for (unsigned c = 0; c <= n; c++)
            for (unsigned k = 1; k <= n; k++) {
                double any, all;
                brute(n, c, k, &any, &all);
                near(qn__pass_at(n, c, k), any, 1e-12);
                near(qn__pass_all(n, c, k), all, 1e-12);
            }
    near(qn__pass_at(1000000, 10, 100000), 1 - pow(0.9, 10), 1e-4); /* no overflow */
}

static void test_sign(void **state)
{
    (void)state;
    near(qn__sign_test(0, 0), 1, 0);
    near(qn__sign_test(1, 9), 0.021484375, 1e-12); /* 2 (1 + 10) / 2^10 */
    near(qn__sign_test(9, 1), 0.021484375, 1e-12);
    near(qn__sign_test(5, 5), 1, 0);
    near(qn__sign_test(4, 5), 1, 1e-9);
    near(qn__sign_test(0, 5), 0.0625, 1e-12);
    assert_true(qn__sign_test(400, 600) < 1e-9);
}

static void test_robust(void **state)
{
    (void)state;
    double v[] = {9, 1, 2, 3, 1000}, s[5], median, mad;
    qn__median_mad(v, 5, s, &median, &mad);
    near(median, 3, 0);
    near(mad, 1.4826 * 2, 1e-12); /* distances 0 1 2 6 997 */
    near(qn__quantile(v, 5, 0), 1, 0);
    near(qn__quantile(v, 5, 1), 1000, 0);
    near(qn__quantile(v, 5, 0.25), 2, 0);
    near(qn__quantile(v, 5, 0.625), 6, 0);
}

/* Over 1,000 simulated runs of 24 the interval holds the true rate about as often as it says. Planted fault: an interval of one
 * deviation must not. */
static void test_coverage(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252u;
    unsigned inside = 0, inside_narrow = 0, runs = 0;
    for (int p = 1; p <= 9; p++)
        for (int run = 0; run < 1000; run++) {
            uint64_t hits = 0;
            for (int i = 0; i < 24; i++) {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                hits += (double)(x >> 11) / 9007199254740992.0 < p / 10.0;
            }
            qn_interval w = qn__wilson(hits, 24, 1.959964), narrow = qn__wilson(hits, 24, 1);
            inside += w.low <= p / 10.0 && p / 10.0 <= w.high;
            inside_narrow += narrow.low <= p / 10.0 && p / 10.0 <= narrow.high;
            runs++;
        }
    print_message("figure: Wilson 95 %% interval, 24 samples, 9 rates, 1000 runs each: holds the rate in %.1f %%\n", 100.0 * inside / runs);
    assert_true(inside > runs * 94 / 100 && inside < runs * 98 / 100);
    assert_true(inside_narrow < runs * 80 / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_wilson), cmocka_unit_test(test_pass), cmocka_unit_test(test_sign),
                                       cmocka_unit_test(test_robust), cmocka_unit_test(test_coverage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
