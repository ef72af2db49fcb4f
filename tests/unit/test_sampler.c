/* The sampler against the generator's published vectors, exact probabilities and a slow, direct oracle of each filter. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "engine/sampler.h"

static uint64_t rng = 1;
static double uniform(void)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (double)(rng >> 11) * 0x1p-53;
}
static double normal(void)
{
    return sqrt(-2 * log(uniform() + 1e-300)) * cos(6.283185307179586 * uniform());
}

static qn_sampler *open(const qn_sampling *o, int32_t n_vocab, int32_t n_ctx)
{
    qn_sampler *s = NULL;
    qn_err err = {0};
    assert_int_equal(qn__sampler_open(o, n_vocab, n_ctx, &s, &err), QN_OK);
    return s;
}

/* Salmon et al. 2011, the known answers that come with the authors' code. */
static void philox(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } v[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < 3; i++) {
        uint32_t got[4];
        qn__philox(v[i].counter, v[i].key, got);
        assert_memory_equal(got, v[i].want, sizeof got);
        uint32_t key[2] = {v[i].key[0] ^ 1, v[i].key[1]}; /* planted: one bit of the key */
        qn__philox(v[i].counter, key, got);
        assert_memory_not_equal(got, v[i].want, sizeof got);
    }
    for (uint64_t i = 0; i < 10000; i++) {
        float u = qn__uniform(7, i, 0);
        assert_true(u >= 0 && u < 1);
    }
    assert_true(qn__uniform(7, 3, 0) != qn__uniform(7, 3, 1));
}

/* ---- the oracle: sort everything, then do what the names say, in double precision ---- */

typedef struct item {
    int32_t id;
    double logit, p, d;
} item;
static int by_logit(const void *a, const void *b)
{
    const item *x = a, *y = b;
    return x->logit != y->logit ? (x->logit < y->logit ? 1 : -1) : (x->id > y->id) - (x->id < y->id);
}
static int by_distance(const void *a, const void *b)
{
    const item *x = a, *y = b;
    return x->d != y->d ? (x->d > y->d ? 1 : -1) : by_logit(a, b);
}
static void normalise(item *v, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += v[i].p = exp(v[i].logit - v[0].logit);
    for (int i = 0; i < n; i++)
        v[i].p /= sum;
}

/* prob[id] after all filters; 0: filtered. */
static void oracle(const qn_sampling *o, const float *logits, int n, double *prob)
{
    item *v = malloc((size_t)n * sizeof *v);
    for (int i = 0; i < n; i++)
        v[i] = (item){.id = i, .logit = (double)logits[i]};
    qsort(v, (size_t)n, sizeof *v, by_logit);
    int m = o->top_k > 0 && o->top_k < n ? o->top_k : n;
    normalise(v, m);
    if (o->typical_p < 1) {
        double h = 0, sum = 0;
        for (int i = 0; i < m; i++)
            h -= v[i].p > 0 ? v[i].p * log(v[i].p) : 0;
        for (int i = 0; i < m; i++)
            v[i].d = fabs(-log(v[i].p) - h);
        qsort(v, (size_t)m, sizeof *v, by_distance);
        int k = 0;
        while (k < m && (k == 0 || sum < (double)o->typical_p))
            sum += v[k++].p;
        m = k;
        qsort(v, (size_t)m, sizeof *v, by_logit);
        normalise(v, m);
    }
    if (o->top_p < 1) {
        double sum = 0;
        int k = 0;
        while (k < m && (k == 0 || sum < (double)o->top_p))
            sum += v[k++].p;
        m = k;
        normalise(v, m);
    }
    if (o->min_p > 0) {
        int k = 0;
        while (k < m && v[k].p >= v[0].p * (double)o->min_p)
            k++;
        m = k;
    }
    memset(prob, 0, (size_t)n * sizeof *prob);
    double sum = 0;
    for (int i = 0; i < m; i++)
        sum += prob[v[i].id] = exp((v[i].logit - v[0].logit) / (double)o->temperature);
    for (int i = 0; i < n; i++)
        prob[i] /= sum;
    free(v);
}

enum { VOCAB = 60, DRAWS = 20000 };

/* Draw, demand that nothing comes that the oracle excludes, and return chi-squared over its degrees of freedom's 5 sigma
 * (below 1: agrees). */
static double agreement(const qn_sampling *o, const float *logits, const double *prob)
{
    static int32_t tokens[DRAWS];
    static int hits[VOCAB];
    memset(hits, 0, sizeof hits);
    qn_sampler *s = open(o, VOCAB, DRAWS);
    for (size_t i = 0; i < DRAWS; i++) {
        float copy[VOCAB];
        memcpy(copy, logits, sizeof copy);
        hits[qn__sampler_pick(s, copy, tokens, i)]++;
    }
    qn__sampler_close(s);
    double chi = 0, rest_e = 0, rest_h = 0;
    int dof = -1;
    for (int i = 0; i < VOCAB; i++) {
        double e = prob[i] * DRAWS;
        if (prob[i] == 0 && hits[i])
            return 1e9;
        if (e < 8) { /* rare ones together */
            rest_e += e;
            rest_h += hits[i];
            continue;
        }
        chi += ((double)hits[i] - e) * ((double)hits[i] - e) / e;
        dof++;
    }
    if (rest_e >= 8) {
        chi += (rest_h - rest_e) * (rest_h - rest_e) / rest_e;
        dof++;
    }
    if (dof < 1)
        return 0;
    return chi / ((double)dof + 5 * sqrt(2 * (double)dof));
}

static void filters(void **state)
{
    (void)state;
    double worst = 0;
    int n_cases = 0;
    for (int round = 0; round < 3; round++) {
        for (int kind = 0; kind < 9; kind++) {
            qn_sampling o;
            qn_sampling_init(&o);
            o.temperature = round == 0 ? 1 : round == 1 ? 0.7f : 1.6f;
            o.seed = (uint64_t)(round * 100 + kind);
            switch (kind) {
            case 0: break;
            case 1: o.top_k = 1 + 9 * round; break;
            case 2: o.top_p = 0.3f + 0.3f * (float)round; break;
            case 3: o.min_p = 0.02f + 0.1f * (float)round; break;
            case 4: o.typical_p = 0.2f + 0.3f * (float)round; break;
            case 5: o.top_k = 20; o.top_p = 0.8f; break;
            case 6: o.top_k = 30; o.typical_p = 0.9f; o.top_p = 0.8f; o.min_p = 0.05f; break;
            case 7: o.typical_p = 0.7f; o.top_p = 0.7f; break;
            case 8: o.top_p = 0; break;
            }
            float logits[VOCAB];
            double prob[VOCAB];
            for (int i = 0; i < VOCAB; i++)
                logits[i] = (float)(normal() * 2);
            logits[7] = logits[31]; /* equal ones */
            oracle(&o, logits, VOCAB, prob);
            double a = agreement(&o, logits, prob);
            assert_true(a < 1);
            worst = a > worst ? a : worst;
            n_cases++;
            if (kind == 0) { /* planted: probabilities that are a little wrong, and a token wrongly excluded */
                int most = 0;
                for (int i = 0; i < VOCAB; i++)
                    most = prob[i] > prob[most] ? i : most;
                double wrong[VOCAB];
                memcpy(wrong, prob, sizeof wrong);
                int other = most ? 0 : 1;
                wrong[other] += 0.06;
                wrong[most] -= 0.06;
                assert_true(agreement(&o, logits, wrong) > 1);
                wrong[most] = 0;
                assert_true(agreement(&o, logits, wrong) > 1);
            }
        }
    }
    printf("figure: sampler: %d settings agree with exact probabilities; largest chi-squared %.2f of the 5 sigma bound\n",
           n_cases, worst);
}

/* Which tokens survive, at a real vocabulary's size: the histogram must not lose any. */
static void survivors(void **state)
{
    (void)state;
    enum { N = 20000 };
    float *logits = malloc(N * sizeof *logits), *copy = malloc(N * sizeof *copy);
    double *prob = malloc(N * sizeof *prob);
    static int32_t tokens[3000];
    for (int kind = 0; kind < 5; kind++) {
        qn_sampling o;
        qn_sampling_init(&o);
        o.temperature = 1;
        if (kind < 2)
            o.top_p = kind ? 0.5f : 0.95f;
        else if (kind == 2)
            o.top_k = 40;
        else if (kind == 3)
            o.typical_p = 0.5f;
        else
            o.min_p = 0.1f;
        for (int i = 0; i < N; i++)
            logits[i] = (float)(normal() * 1.5 - 3);
        logits[5] = -INFINITY;
        oracle(&o, logits, N, prob);
        o.temperature = 50; /* nearly flat: every survivor has the same chance to be seen */
        qn_sampler *s = open(&o, N, 3000);
        int kept = 0, seen = 0;
        char *hit = calloc(N, 1);
        for (size_t i = 0; i < 3000; i++) {
            memcpy(copy, logits, N * sizeof *copy);
            int32_t t = qn__sampler_pick(s, copy, tokens, i);
            assert_true(prob[t] > 0);
            seen += !hit[t];
            hit[t] = 1;
        }
        for (int i = 0; i < N; i++)
            kept += prob[i] > 0;
        /* Expected distinct of `kept` nearly equal ones in 3000 draws. */
        double expect = (double)kept * (1 - pow(1 - 1.0 / (double)kept, 3000));
        assert_true((double)seen > expect * 0.93);
        free(hit);
        qn__sampler_close(s);
    }
    free(logits);
    free(copy);
    free(prob);
}

static int32_t pick_once(const qn_sampling *o, const float *logits, int n_vocab, const int32_t *tokens, size_t n, float *after)
{
    float *copy = malloc((size_t)n_vocab * sizeof *copy);
    memcpy(copy, logits, (size_t)n_vocab * sizeof *copy);
    qn_sampler *s = open(o, n_vocab, (int32_t)n + 1);
    int32_t t = qn__sampler_pick(s, copy, tokens, n);
    if (after)
        memcpy(after, copy, (size_t)n_vocab * sizeof *copy);
    qn__sampler_close(s);
    free(copy);
    return t;
}

static void greedy(void **state)
{
    (void)state;
    qn_sampling o;
    qn_sampling_init(&o);
    const float tie[6] = {-1, 3, 2, 3, NAN, 3};
    assert_int_equal(pick_once(&o, tie, 6, NULL, 0, NULL), 1);
    const float odd[4] = {NAN, -INFINITY, NAN, -INFINITY};
    assert_int_equal(pick_once(&o, odd, 4, NULL, 0, NULL), -1);
    o.temperature = 1;
    assert_int_equal(pick_once(&o, odd, 4, NULL, 0, NULL), -1);
    const float inf[4] = {1, INFINITY, 2, -INFINITY};
    assert_int_equal(pick_once(&o, inf, 4, NULL, 0, NULL), 1);
    o.temperature = 1e-30f; /* as good as greedy */
    const float near[3] = {1, 1.0001f, 0.5f};
    for (size_t i = 0; i < 50; i++) {
        static const int32_t none[50];
        assert_int_equal(pick_once(&o, near, 3, none, i, NULL), 1);
    }
    const qn_logit_bias bias[2] = {{0, 5}, {0, 5}};
    o.temperature = 0;
    o.bias = bias;
    o.n_bias = 2;
    const float b[2] = {0, 9};
    assert_int_equal(pick_once(&o, b, 2, NULL, 0, NULL), 0);
}

static void penalties(void **state)
{
    (void)state;
    qn_sampling o;
    for (int round = 0; round < 50; round++) {
        qn_sampling_init(&o);
        o.repeat_penalty = round % 2 ? 1.3f : 1;
        o.frequency_penalty = round % 3 ? 0.4f : 0;
        o.presence_penalty = round % 5 ? 0.7f : 0;
        o.penalty_last_n = round % 4 == 0 ? -1 : round % 4 == 1 ? 10 : round % 4 == 2 ? 0 : 1000;
        float logits[30], got[30];
        int32_t tokens[64];
        for (int i = 0; i < 30; i++)
            logits[i] = (float)normal();
        for (int i = 0; i < 64; i++)
            tokens[i] = (int32_t)(uniform() * 30);
        (void)pick_once(&o, logits, 30, tokens, 64, got);
        int from = o.penalty_last_n < 0 || o.penalty_last_n > 64 ? 0 : 64 - o.penalty_last_n;
        for (int t = 0; t < 30; t++) {
            int count = 0;
            for (int i = from; i < 64; i++)
                count += tokens[i] == t;
            float want = logits[t];
            if (count) {
                want = want > 0 ? want / o.repeat_penalty : want * o.repeat_penalty;
                want -= (float)count * o.frequency_penalty + o.presence_penalty;
            }
            assert_float_equal(got[t], want, 1e-6);
        }
    }
}

/* DRY by its definition, quadratic. */
static void dry(void **state)
{
    (void)state;
    int punished = 0;
    for (int round = 0; round < 200; round++) {
        qn_sampling o;
        qn_sampling_init(&o);
        o.dry_multiplier = 0.8f;
        o.dry_base = round % 3 ? 1.75f : 1;
        o.dry_allowed_length = 1 + round % 3;
        o.dry_last_n = round % 2 ? -1 : 20;
        enum { V = 4, N = 50 };
        float logits[V] = {0}, got[V];
        int32_t tokens[N];
        for (int i = 0; i < N; i++)
            tokens[i] = (int32_t)(uniform() * (round % 5 ? V : 1.2));
        (void)pick_once(&o, logits, V, tokens, N, got);
        int from = o.dry_last_n < 0 ? 0 : N - o.dry_last_n;
        int longest[V] = {0};
        for (int at = from + 1; at < N; at++) { /* tokens[at] followed a match that ends at at - 1 */
            int len = 0;
            while (at - 1 - len >= from && tokens[at - 1 - len] == tokens[N - 1 - len])
                len++;
            if (len > longest[tokens[at]])
                longest[tokens[at]] = len;
        }
        for (int t = 0; t < V; t++) {
            double want = 0;
            if (longest[t] >= o.dry_allowed_length)
                want = -0.8 * pow((double)o.dry_base, longest[t] - o.dry_allowed_length);
            want = want < -1e30 ? -1e30 : want;
            punished += want < 0;
            assert_true(fabs((double)got[t] - want) <= 1e-5 * fabs(want));
        }
    }
    assert_true(punished > 100);
    /* Not quadratic: 200,000 equal tokens. */
    enum { LONG = 200000 };
    int32_t *same = calloc(LONG, sizeof *same);
    qn_sampling o;
    qn_sampling_init(&o);
    o.dry_multiplier = 1;
    float logits[2] = {5, 0};
    double t = qn__now();
    assert_int_equal(pick_once(&o, logits, 2, same, LONG, NULL), 1);
    printf("figure: sampler: DRY over 200,000 equal tokens %.1f ms\n", (qn__now() - t) * 1e3);
    free(same);
}

static void refused(const char *name, void (*change)(qn_sampling *o, float v), float v)
{
    qn_sampling o;
    qn_sampler *s = NULL;
    qn_err err = {0};
    qn_sampling_init(&o);
    change(&o, v);
    assert_int_equal(qn__sampler_open(&o, 100, 100, &s, &err), QN_EINVAL);
    assert_null(s);
    assert_string_equal(err.where, name);
    assert_true(strlen(err.what) > 10);
}
#define FIELD(f) static void set_##f(qn_sampling *o, float v) { o->f = v; }
#define INT_FIELD(f) static void set_##f(qn_sampling *o, float v) { o->f = (int32_t)v; }
FIELD(temperature)
FIELD(top_p)
FIELD(min_p)
FIELD(typical_p)
FIELD(repeat_penalty)
FIELD(frequency_penalty)
FIELD(presence_penalty)
FIELD(dry_multiplier)
FIELD(dry_base)
INT_FIELD(top_k)
INT_FIELD(penalty_last_n)
INT_FIELD(dry_allowed_length)
INT_FIELD(dry_last_n)

static void options(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        void (*set)(qn_sampling *, float);
        float bad;
    } reals[] = {{"temperature", set_temperature, -1}, {"top_p", set_top_p, 1.1f}, {"top_p", set_top_p, -0.1f},
                 {"min_p", set_min_p, 2}, {"typical_p", set_typical_p, -1}, {"repeat_penalty", set_repeat_penalty, 0},
                 {"frequency_penalty", set_frequency_penalty, INFINITY}, {"presence_penalty", set_presence_penalty, -INFINITY},
                 {"dry_multiplier", set_dry_multiplier, -1}, {"dry_base", set_dry_base, 0.5f}};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        refused(reals[i].name, reals[i].set, reals[i].bad);
        refused(reals[i].name, reals[i].set, NAN);
        refused(reals[i].name, reals[i].set, INFINITY);
        refused(reals[i].name, reals[i].set, -INFINITY);
    }
    refused("top_k", set_top_k, -1);
    refused("penalty_last_n", set_penalty_last_n, -2);
    refused("dry_allowed_length", set_dry_allowed_length, 0);
    refused("dry_last_n", set_dry_last_n, -2);
    static const qn_logit_bias bad[] = {{-1, 0}, {100, 0}, {5, NAN}, {5, INFINITY}};
    for (size_t i = 0; i < 4; i++) {
        qn_sampling o;
        qn_sampler *s = NULL;
        qn_sampling_init(&o);
        o.bias = &bad[i];
        o.n_bias = 1;
        assert_int_equal(qn__sampler_open(&o, 100, 100, &s, NULL), QN_EINVAL);
        o.bias = NULL;
        assert_int_equal(qn__sampler_open(&o, 100, 100, &s, NULL), QN_EINVAL);
    }
}

/* The same seed draws the same; another seed, another place in the text, something else. */
static void seeds(void **state)
{
    (void)state;
    float logits[100];
    static const int32_t tokens[200];
    for (int i = 0; i < 100; i++)
        logits[i] = (float)normal();
    qn_sampling o;
    qn_sampling_init(&o);
    o.temperature = 1;
    o.top_p = 0.99f;
    int same = 0;
    for (size_t i = 0; i < 200; i++) {
        o.seed = 5;
        int32_t a = pick_once(&o, logits, 100, tokens, i, NULL), b = pick_once(&o, logits, 100, tokens, i, NULL);
        o.seed = 6;
        same += a == pick_once(&o, logits, 100, tokens, i, NULL);
        assert_int_equal(a, b);
    }
    assert_true(same < 50);
}

static void speed(void **state)
{
    (void)state;
    enum { N = 151936 };
    float *logits = malloc(N * sizeof *logits), *copy = malloc(N * sizeof *copy);
    static const int32_t tokens[64];
    static const struct {
        const char *name;
        float top_p, typical_p, spread;
        int32_t top_k;
    } c[] = {{"top-p 0.95", 0.95f, 1, 3, 0}, {"top-p 0.95, flat logits", 0.95f, 1, 0.01f, 0}, {"top-k 40", 1, 1, 3, 40},
             {"no filter", 1, 1, 3, 0}, {"typical 0.9", 1, 0.9f, 3, 0}};
    for (size_t k = 0; k < sizeof c / sizeof *c; k++) {
        qn_sampling o;
        qn_sampling_init(&o);
        o.temperature = 1;
        o.top_p = c[k].top_p;
        o.top_k = c[k].top_k;
        o.typical_p = c[k].typical_p;
        for (int i = 0; i < N; i++)
            logits[i] = (float)normal() * c[k].spread;
        qn_sampler *s = open(&o, N, 64);
        double best = 1e9;
        for (size_t i = 0; i < 10; i++) {
            memcpy(copy, logits, N * sizeof *copy);
            double t = qn__now();
            (void)qn__sampler_pick(s, copy, tokens, i);
            t = qn__now() - t;
            best = t < best ? t : best;
        }
        printf("figure: sampler: a pick of 151,936 at temperature 1, %s: %.2f ms\n", c[k].name, best * 1e3);
        qn__sampler_close(s);
    }
    free(logits);
    free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox), cmocka_unit_test(filters), cmocka_unit_test(survivors), cmocka_unit_test(greedy),
        cmocka_unit_test(penalties), cmocka_unit_test(dry), cmocka_unit_test(options), cmocka_unit_test(seeds),
        cmocka_unit_test(speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
