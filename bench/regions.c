/* regions.c - what a parallel region costs that does nothing, and one whose pieces each take a few microseconds, beside the
 * same work without one: nanoseconds, the median of many. For 1, 2, 4, ... threads, as many as there are processors. */
#include <stdio.h>
#include <stdlib.h>

#include "base/cpu.h"
#include "base/file.h"
#include "base/pool.h"

enum { ROUNDS = 2000, WORK = 2000 };

static void nothing(void *arg, int item, int thread)
{
    (void)arg;
    (void)item;
    (void)thread;
}

static void work(void *arg, int item, int thread)
{
    volatile unsigned *sum = arg;
    unsigned x = (unsigned)(item + thread);
    for (int i = 0; i < WORK; i++)
        x = x * 1664525u + 1013904223u;
    sum[thread * 64] = x;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(qn_pool *p, int items, void (*fn)(void *, int, int), void *arg)
{
    static double t[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        double from = qn__now();
        qn__pool_run(p, items, fn, arg);
        t[i] = qn__now() - from;
    }
    qsort(t, ROUNDS, sizeof *t, by_value);
    return t[ROUNDS / 2] * 1e9;
}

int main(void)
{
    static unsigned sum[1024 * 64];
    double one = 0;
    for (int n = 1; n <= qn__cpu_count(); n *= 2) {
        qn_pool *p;
        qn_err err;
        if (qn__pool_open(n, &p, &err) != QN_OK) {
            fprintf(stderr, "bench: %s\n", err.what);
            return 1;
        }
        double w = median(p, 8 * n, work, sum);
        one = n == 1 ? w / 8 : one;
        printf("%3d thread(s): empty region of %d pieces %6.0f ns; %d pieces of %.0f ns: %6.0f ns, of these not work %6.0f ns\n", n,
               2 * n, median(p, 2 * n, nothing, sum), 8 * n, one, w, w - 8 * one);
        qn__pool_close(p);
    }
    return 0;
}
