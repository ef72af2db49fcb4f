/* probs.c - log-probabilities of a row of logits, for those who ask. See sampler.h. */
#include <float.h>
#include <math.h>

#include "engine/sampler.h"

static float number(float x)
{
    return !(x > -INFINITY) ? -INFINITY : x > FLT_MAX ? FLT_MAX : x;
}

/* Among out[0..*n), descending; those that fall behind `most` are gone. */
static void insert(qn_prob *out, int *n, int most, int32_t token, float x)
{
    int i = *n < most ? (*n)++ : most - 1;
    for (; i > 0 && out[i - 1].logprob < x; i--)
        out[i] = out[i - 1];
    out[i] = (qn_prob){token, x};
}

void qn__sampler_probs(const float *logits, int32_t n_vocab, int32_t chosen, int n_top, qn_prob *out)
{
    const double least = -9999;
    float max = -INFINITY;
    int n = 0;
    for (int32_t i = 0; i < n_vocab; i++) {
        float x = number(logits[i]);
        max = x > max ? x : max;
        if (n_top > 0 && x > -INFINITY && (n < n_top || x > out[n].logprob))
            insert(out + 1, &n, n_top, i, x);
    }
    double sum = 0;
    for (int32_t i = 0; i < n_vocab; i++)
        sum += exp((double)number(logits[i]) - (double)max);
    double all = (double)max + log(sum), p = (double)number(logits[chosen]) - all;
    out[0] = (qn_prob){chosen, (float)(p > least ? p : least)};
    for (int i = 1; i <= n; i++) {
        p = (double)out[i].logprob - all;
        out[i].logprob = (float)(p > least ? p : least);
    }
    for (int i = n + 1; i <= n_top; i++)
        out[i] = (qn_prob){-1, 0};
}
