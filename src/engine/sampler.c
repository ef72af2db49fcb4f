/* sampler.c - see sampler.h.
 *
 * Workload: one pick per token and sequence over up to 256k logits, mostly with top-p or top-k, while the machine wants
 * to get on with the next step. So a pick makes few linear passes, the first of which keeps the largest logit of each
 * block of 64: where a filter has a least logit, most blocks are never looked at again. Only what a filter can keep is
 * sorted; for top-p a histogram over the upper 11 bits of an order-preserving key says what that is. What is sorted is
 * sorted by radix, stably, so the worst case (a flat distribution) is linear too and equal logits stand in the order of
 * their ids.
 *
 * Owns its arithmetic: exp is a polynomial of our own, so that the weights, and with them what a seed draws, do not
 * depend on the machine's math library. */
#include "engine/sampler.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

enum { BLOCK = 64, LANES = 16 };

typedef struct cand {
    uint32_t key; /* ascending key: descending logit */
    int32_t id;
} cand;

struct qn_sampler {
    qn_sampling o;
    qn_logit_bias *bias;
    int32_t n_vocab, n_ctx;
    cand *a, *b, *c;  /* n_vocab each: candidates and the sort's other half; c for typical only */
    float *top;       /* [n_vocab / BLOCK]: the largest logit of each block */
    int32_t *count;   /* [n_vocab], all zero between picks: occurrences, or DRY's longest match */
    int32_t *z, *rev; /* DRY: [window] */
};

/* ---- the generator ---- */

void qn__philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

float qn__uniform(uint64_t seed, uint64_t index, uint32_t stream)
{
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), stream, 0};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t r[4];
    qn__philox(counter, key, r);
    return (float)(r[0] >> 8) * 0x1p-24f;
}

static inline double of_bits(int64_t b)
{
    double x;
    memcpy(&x, &b, sizeof x);
    return x;
}

static inline int64_t bits_of(double x)
{
    int64_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

/* e^x for x <= 0, relative error below 1e-9; 0 below -700. Without branches and comparisons of floats, so that loops
 * over it become vectors. */
static inline double exp_neg(double x)
{
    const double log2e = 1.4426950408889634, ln2_hi = 6.93147180369123816490e-01, ln2_lo = 1.90821492927058770002e-10;
    const double magic = 6755399441055744.0; /* 1.5 * 2^52: adding it rounds to an integer, held in the low bits */
    const int64_t least = bits_of(-700.0);   /* among negative numbers bits ascend as magnitudes do */
    int64_t b = bits_of(x) | INT64_MIN, far = -(int64_t)(b > least);
    double y = of_bits((b & ~far) | (least & far)), t = y * log2e + magic;
    double n = t - magic, r = y - n * ln2_hi - n * ln2_lo, r2 = r * r, r4 = r2 * r2;
    double p = 1 + r + r2 * (0.5 + r * (1.0 / 6)) +
               r4 * (1.0 / 24 + r * (1.0 / 120) + r2 * (1.0 / 720 + r * (1.0 / 5040) + r2 * (1.0 / 40320)));
    double s = of_bits((int64_t)(((uint64_t)bits_of(t) + 1023) << 52)); /* magic's own bits go */
    return of_bits(bits_of(p * s) & ~far);
}

static void exp_block(const double *x, double *w)
{
    for (int j = 0; j < BLOCK; j++)
        w[j] = exp_neg(x[j]);
}

/* ---- order ---- */

static uint32_t key_of(float x)
{
    x += 0.0f; /* -0 is 0 */
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return ~(u >> 31 ? ~u : u | 0x80000000u);
}

/* What has this key. */
static float logit_of(uint32_t key)
{
    uint32_t u = ~key;
    u = u >> 31 ? u & 0x7FFFFFFF : ~u;
    float x;
    memcpy(&x, &u, sizeof x);
    return x == x ? x : -INFINITY; /* what lies beyond -infinity */
}

/* Stable, ascending by key. `tmp` has room for n. */
static void sort(cand *a, cand *tmp, size_t n)
{
    if (n <= 48) {
        for (size_t i = 1; i < n; i++) {
            cand x = a[i];
            size_t j = i;
            for (; j > 0 && a[j - 1].key > x.key; j--)
                a[j] = a[j - 1];
            a[j] = x;
        }
        return;
    }
    uint32_t at[3][2048] = {{0}};
    for (size_t i = 0; i < n; i++) {
        at[0][a[i].key & 2047]++;
        at[1][a[i].key >> 11 & 2047]++;
        at[2][a[i].key >> 22]++;
    }
    cand *from = a, *to = tmp;
    for (int pass = 0; pass < 3; pass++) {
        int shift = 11 * pass;
        if (at[pass][from[0].key >> shift & 2047] == n)
            continue; /* all in one bucket */
        uint32_t sum = 0;
        for (int i = 0; i < 2048; i++) {
            uint32_t k = at[pass][i];
            at[pass][i] = sum;
            sum += k;
        }
        for (size_t i = 0; i < n; i++)
            to[at[pass][from[i].key >> shift & 2047]++] = from[i];
        cand *t = from;
        from = to;
        to = t;
    }
    if (from != a)
        memcpy(a, from, n * sizeof *a);
}

/* ---- what changes logits ---- */

static size_t window(size_t n, int32_t last)
{
    return last < 0 || (size_t)last > n ? n : (size_t)last;
}

static void penalise(qn_sampler *s, float *logits, const int32_t *tokens, size_t n)
{
    const qn_sampling *o = &s->o;
    size_t w = window(n, o->penalty_last_n);
    const int32_t *t = tokens + (n - w);
    for (size_t i = 0; i < w; i++)
        if (t[i] >= 0 && t[i] < s->n_vocab)
            s->count[t[i]]++;
    for (size_t i = 0; i < w; i++) {
        if (t[i] < 0 || t[i] >= s->n_vocab || !s->count[t[i]])
            continue;
        float *l = &logits[t[i]];
        *l = *l > 0 ? *l / o->repeat_penalty : *l * o->repeat_penalty;
        *l -= (float)s->count[t[i]] * o->frequency_penalty + o->presence_penalty;
        s->count[t[i]] = 0;
    }
}

/* DRY: a token that would continue a repetition of the last `len` tokens costs multiplier * base^(len - allowed).
 * Reversed, those repetitions are the Z function: z[i] is how far rev[i..] agrees with rev[0..], and rev[i-1] is the
 * token that followed there. */
static void dry(qn_sampler *s, float *logits, const int32_t *tokens, size_t n)
{
    const qn_sampling *o = &s->o;
    size_t w = window(n, o->dry_last_n);
    int32_t *z = s->z, *rev = s->rev;
    for (size_t i = 0; i < w; i++)
        rev[i] = tokens[n - 1 - i];
    for (size_t i = 1, lo = 0, hi = 0; i < w; i++) { /* [lo, hi): the match that reaches furthest */
        size_t k = 0;
        if (i < hi)
            k = (size_t)z[i - lo] < hi - i ? (size_t)z[i - lo] : hi - i;
        while (i + k < w && rev[k] == rev[i + k])
            k++;
        z[i] = (int32_t)k;
        if (i + k > hi) {
            lo = i;
            hi = i + k;
        }
        int32_t next = rev[i - 1];
        if (z[i] >= o->dry_allowed_length && next >= 0 && next < s->n_vocab && z[i] > s->count[next])
            s->count[next] = z[i];
    }
    for (size_t i = 1; i < w; i++) {
        int32_t next = rev[i - 1];
        if (next < 0 || next >= s->n_vocab || !s->count[next])
            continue;
        double p = (double)o->dry_multiplier;
        for (int32_t k = o->dry_allowed_length; k < s->count[next] && p < 1e30 && o->dry_base > 1; k++)
            p *= (double)o->dry_base;
        logits[next] -= (float)(p < 1e30 ? p : 1e30);
        s->count[next] = 0;
    }
}

/* NaN becomes -infinity, +infinity a number. */
static float numbered(float x)
{
    x = x > -INFINITY ? x : -INFINITY;
    return x > FLT_MAX ? FLT_MAX : x;
}

/* Makes every logit a number; the largest, the lowest id among equals; tops: of each whole block, or NULL. Blocks
 * without branches, as the compiler's vectors like them; only a block that holds a new maximum is looked at twice. */
static int32_t argmax(float *logits, int32_t n, float *tops)
{
    int32_t best = 0, i = 0;
    float max = -INFINITY;
    for (; i + BLOCK <= n; i += BLOCK) {
        float *x = logits + i, top[LANES], block = -INFINITY;
        for (int j = 0; j < LANES; j++)
            top[j] = -INFINITY;
        for (int k = 0; k < BLOCK; k += LANES)
            for (int j = 0; j < LANES; j++) {
                float v = numbered(x[k + j]);
                x[k + j] = v;
                top[j] = v > top[j] ? v : top[j];
            }
        for (int j = 0; j < LANES; j++)
            block = top[j] > block ? top[j] : block;
        if (tops)
            tops[i / BLOCK] = block;
        if (!(block > max))
            continue;
        max = block;
        for (best = i; logits[best] != max; best++)
            ;
    }
    for (; i < n; i++) {
        logits[i] = numbered(logits[i]);
        if (logits[i] > max) {
            max = logits[i];
            best = i;
        }
    }
    return best;
}

/* ---- what keeps candidates ---- */

/* Those that are at least `least`, and above -infinity, by id. */
static size_t take_from(qn_sampler *s, const float *logits, float least)
{
    size_t m = 0;
    for (int32_t i = 0; i < s->n_vocab; i += BLOCK) {
        int32_t end = i + BLOCK;
        if (end > s->n_vocab)
            end = s->n_vocab;
        else if (s->top[i / BLOCK] < least)
            continue;
        for (int32_t k = i; k < end; k++)
            if (logits[k] >= least && logits[k] > -INFINITY)
                s->a[m++] = (cand){key_of(logits[k]), k};
    }
    return m;
}

/* The k largest, sorted. The k-th largest of the blocks' largest is one that k logits reach. */
static size_t take_top_k(qn_sampler *s, const float *logits, size_t k)
{
    size_t blocks = (size_t)(s->n_vocab / BLOCK), m;
    float least = -INFINITY;
    if (k <= blocks) {
        for (size_t i = 0; i < blocks; i++)
            s->a[i] = (cand){key_of(s->top[i]), (int32_t)i};
        sort(s->a, s->b, blocks);
        least = s->top[s->a[k - 1].id];
    }
    m = take_from(s, logits, least);
    sort(s->a, s->b, m);
    return m < k ? m : k;
}

/* All that top-p can keep, sorted; *total: the weight of all. */
static size_t take_top_p(qn_sampler *s, const float *logits, double max, double *total)
{
    enum { WAYS = 4 }; /* neighbours often fall into one bucket: they need not wait for one another */
    double hist[WAYS][2048] = {{0}}, sum = 0, x[BLOCK], w[BLOCK];
    for (int32_t i = 0; i < s->n_vocab; i += BLOCK) {
        int n = s->n_vocab - i < BLOCK ? s->n_vocab - i : BLOCK;
        for (int j = 0; j < BLOCK; j++)
            x[j] = j < n ? (double)logits[i + j] - max : -INFINITY;
        exp_block(x, w);
        for (int j = 0; j < n; j++)
            hist[j % WAYS][key_of(logits[i + j]) >> 21] += w[j];
    }
    for (int b = 0; b < 2048; b++)
        sum += hist[0][b] += hist[1][b] + hist[2][b] + hist[3][b];
    /* A little more than asked: the walk that decides adds in another order. */
    double want = sum * ((double)s->o.top_p + 1e-9), seen = 0;
    uint32_t last = 0;
    for (; last < 2047 && (seen += hist[0][last]) < want; last++)
        ;
    size_t m = take_from(s, logits, logit_of(last << 21 | 0x1FFFFF));
    sort(s->a, s->b, m);
    *total = sum;
    return m;
}

static double weigh(const qn_sampler *s, const float *logits, size_t m, double max)
{
    double sum = 0;
    for (size_t i = 0; i < m; i++)
        sum += exp_neg((double)logits[s->a[i].id] - max);
    return sum;
}

/* Locally typical sampling (Meister et al. 2022): those whose surprise is nearest to the entropy. Surprise is
 * log(total) - x and the entropy log(total) - mean(x), so the distance is |x - mean(x)|. */
static size_t keep_typical(qn_sampler *s, const float *logits, size_t m, double max)
{
    double total = 0, mean = 0;
    for (size_t i = 0; i < m; i++) {
        double x = (double)logits[s->a[i].id] - max, w = exp_neg(x);
        total += w;
        if (w > 0)
            mean += w * x;
    }
    mean /= total;
    for (size_t i = 0; i < m; i++) {
        float d = (float)fabs((double)logits[s->a[i].id] - max - mean);
        uint32_t u;
        memcpy(&u, &d, sizeof u);
        s->c[i] = (cand){u, (int32_t)i};
    }
    sort(s->c, s->b, m);
    double want = total * (double)s->o.typical_p, sum = 0;
    size_t k = 0;
    while (k < m && (k == 0 || sum < want))
        sum += exp_neg((double)logits[s->a[s->c[k++].id].id] - max);
    for (size_t i = 0; i < k; i++)
        s->c[i].key = (uint32_t)s->c[i].id;
    sort(s->c, s->b, k); /* back in the order of a */
    for (size_t i = 0; i < k; i++)
        s->a[i] = s->a[s->c[i].id];
    return k;
}

static size_t keep_top_p(const qn_sampler *s, const float *logits, size_t m, double max, double total)
{
    double want = total * (double)s->o.top_p, sum = 0;
    size_t k = 0;
    while (k < m && (k == 0 || sum < want))
        sum += exp_neg((double)logits[s->a[k++].id] - max);
    return k;
}

/* Log of min-p, and how far from it the exp decides. */
static double min_p_edge(const qn_sampler *s, double top, double *sure)
{
    double edge = log(top * (double)s->o.min_p);
    *sure = 1e-6 * (1 - edge);
    return edge;
}

static size_t keep_min_p(qn_sampler *s, const float *logits, size_t m, double max)
{
    double far = -INFINITY, sure;
    for (size_t i = 0; i < m; i++)
        far = (double)logits[s->a[i].id] > far ? (double)logits[s->a[i].id] : far;
    /* A logit that is clearly too small, or large enough, needs no exp. */
    double top = exp_neg(far - max), least = top * (double)s->o.min_p, edge = min_p_edge(s, top, &sure);
    size_t k = 0;
    for (size_t i = 0; i < m; i++) {
        double x = (double)logits[s->a[i].id] - max;
        if (x >= edge - sure && (x > edge + sure || exp_neg(x) >= least))
            s->a[k++] = s->a[i];
    }
    return k;
}

/* Weights of candidates i .. i + n at the temperature; their sum. */
static double weights(const qn_sampler *s, const float *logits, size_t i, size_t n, double far, double *w)
{
    double x[BLOCK], sum = 0;
    for (size_t j = 0; j < BLOCK; j++)
        x[j] = j < n ? ((double)logits[s->a[i + j].id] - far) / (double)s->o.temperature : -INFINITY;
    exp_block(x, w);
    for (size_t j = 0; j < n; j++)
        sum += w[j];
    return sum;
}

/* One of the first m candidates by their weights. Blocks are added in the same order twice over, and so is what a block
 * holds: so the last partial sum is the total itself. */
static int32_t draw(qn_sampler *s, const float *logits, size_t m, float uniform)
{
    double far = -INFINITY, sum = 0, w[BLOCK], *of = (double *)(void *)s->b; /* [m / BLOCK]; the sort is done */
    for (size_t i = 0; i < m; i++)
        far = (double)logits[s->a[i].id] > far ? (double)logits[s->a[i].id] : far;
    for (size_t i = 0; i < m; i += BLOCK)
        sum += of[i / BLOCK] = weights(s, logits, i, m - i < BLOCK ? m - i : BLOCK, far, w);
    double want = sum * (double)uniform, before = 0;
    for (size_t i = 0; i < m; before += of[i / BLOCK], i += BLOCK) {
        if (!(before + of[i / BLOCK] > want))
            continue;
        (void)weights(s, logits, i, m - i < BLOCK ? m - i : BLOCK, far, w);
        double in = 0;
        for (size_t j = i; j < m; j++)
            if (before + (in += w[j - i]) > want)
                return s->a[j].id;
    }
    return -1;
}

int32_t qn__sampler_pick(qn_sampler *s, float *logits, const int32_t *tokens, size_t n)
{
    const qn_sampling *o = &s->o;
    if (n > (size_t)s->n_ctx) { /* a caller's mistake; look at what the window can hold */
        tokens += n - (size_t)s->n_ctx;
        n = (size_t)s->n_ctx;
    }
    for (size_t i = 0; i < o->n_bias; i++)
        logits[s->bias[i].token] += s->bias[i].bias;
    if (o->penalty_last_n != 0 && (o->repeat_penalty != 1 || o->frequency_penalty != 0 || o->presence_penalty != 0))
        penalise(s, logits, tokens, n);
    if (o->dry_multiplier > 0)
        dry(s, logits, tokens, n);
    int32_t best = argmax(logits, s->n_vocab, s->top);
    if (!(logits[best] > -INFINITY))
        return -1;
    if (o->temperature == 0)
        return best;

    double max = (double)logits[best], total = -1; /* of the weights at temperature 1; -1: not known */
    size_t m = 0;
    bool typical = o->typical_p < 1, top_p = o->top_p < 1;
    if (o->top_k > 0 && o->top_k < s->n_vocab) {
        m = take_top_k(s, logits, (size_t)o->top_k);
    } else if (top_p && !typical) {
        m = take_top_p(s, logits, max, &total);
    } else {
        double sure, least = -INFINITY;
        if (o->min_p > 0 && !typical) {
            double edge = min_p_edge(s, 1, &sure);
            least = max + edge - 2 * sure - 1e-6 * fabs(max); /* as a float, too */
        }
        m = take_from(s, logits, least > (double)-FLT_MAX ? (float)least : -INFINITY);
        if (typical)
            sort(s->a, s->b, m);
    }
    if (typical)
        m = keep_typical(s, logits, m, max);
    if (top_p)
        m = keep_top_p(s, logits, m, max, total < 0 ? weigh(s, logits, m, max) : total);
    if (o->min_p > 0)
        m = keep_min_p(s, logits, m, max);

    int32_t drawn = draw(s, logits, m, qn__uniform(o->seed, n, 0));
    return drawn < 0 ? best : drawn;
}

/* ---- options ---- */

void qn_sampling_init(qn_sampling *s)
{
    *s = (qn_sampling){.top_p = 1,
                       .typical_p = 1,
                       .repeat_penalty = 1,
                       .penalty_last_n = 64,
                       .dry_base = 1.75f,
                       .dry_allowed_length = 2,
                       .dry_last_n = -1};
}

static qn_status check(const qn_sampling *o, int32_t n_vocab, qn_err *err)
{
    const struct {
        const char *name;
        float v, min, max;
    } reals[] = {
        {"temperature", o->temperature, 0, FLT_MAX},
        {"top_p", o->top_p, 0, 1},
        {"min_p", o->min_p, 0, 1},
        {"typical_p", o->typical_p, 0, 1},
        {"repeat_penalty", o->repeat_penalty, FLT_MIN, FLT_MAX},
        {"frequency_penalty", o->frequency_penalty, -FLT_MAX, FLT_MAX},
        {"presence_penalty", o->presence_penalty, -FLT_MAX, FLT_MAX},
        {"dry_multiplier", o->dry_multiplier, 0, FLT_MAX},
        {"dry_base", o->dry_base, 1, FLT_MAX},
    };
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        if (reals[i].v >= reals[i].min && reals[i].v <= reals[i].max)
            continue;
        if (reals[i].min == FLT_MIN)
            return qn__fail(err, QN_EINVAL, reals[i].name, "%g is out of range; give a number above 0",
                            (double)reals[i].v);
        if (reals[i].max == FLT_MAX && reals[i].min == -FLT_MAX)
            return qn__fail(err, QN_EINVAL, reals[i].name, "%g is out of range; give a finite number",
                            (double)reals[i].v);
        if (reals[i].max == FLT_MAX)
            return qn__fail(err, QN_EINVAL, reals[i].name, "%g is out of range; give a finite number of at least %g",
                            (double)reals[i].v, (double)reals[i].min);
        return qn__fail(err, QN_EINVAL, reals[i].name, "%g is out of range; give a number from %g to %g",
                        (double)reals[i].v, (double)reals[i].min, (double)reals[i].max);
    }
    const struct {
        const char *name;
        int32_t v, min;
    } ints[] = {
        {"top_k", o->top_k, 0},
        {"penalty_last_n", o->penalty_last_n, -1},
        {"dry_allowed_length", o->dry_allowed_length, 1},
        {"dry_last_n", o->dry_last_n, -1},
    };
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        if (ints[i].v < ints[i].min)
            return qn__fail(err, QN_EINVAL, ints[i].name, "%d is out of range; give at least %d", ints[i].v,
                            ints[i].min);
    if (o->n_bias && !o->bias)
        return qn__fail(err, QN_EINVAL, "logit_bias", "n_bias is %zu but the list is missing", o->n_bias);
    for (size_t i = 0; i < o->n_bias; i++) {
        if (o->bias[i].token < 0 || o->bias[i].token >= n_vocab)
            return qn__fail(err, QN_EINVAL, "logit_bias", "token %d is not in the vocabulary; ids go from 0 to %d",
                            o->bias[i].token, n_vocab - 1);
        if (!isfinite(o->bias[i].bias))
            return qn__fail(err, QN_EINVAL, "logit_bias", "the bias of token %d is not a finite number",
                            o->bias[i].token);
    }
    return QN_OK;
}

qn_status qn__sampler_open(const qn_sampling *o, int32_t n_vocab, int32_t n_ctx, qn_sampler **out, qn_err *err)
{
    qn_status st = check(o, n_vocab, err);
    if (st)
        return st;
    qn_sampler *s = qn__calloc(1, sizeof *s);
    if (!s)
        return qn__fail_mem(err, "sampler");
    s->o = *o;
    s->o.bias = NULL;
    s->n_vocab = n_vocab;
    s->n_ctx = n_ctx;
    size_t v = (size_t)n_vocab, bytes;
    bool ok = true;
    if (o->n_bias) {
        ok = qn__mul(o->n_bias, sizeof *s->bias, &bytes) && (s->bias = qn__alloc(bytes));
        if (ok)
            memcpy(s->bias, o->bias, bytes);
    }
    if (ok && o->temperature > 0)
        ok = (s->top = qn__alloc((v / BLOCK + 1) * sizeof *s->top)) && (s->a = qn__alloc(v * sizeof *s->a)) &&
             (s->b = qn__alloc(v * sizeof *s->b)) && (o->typical_p >= 1 || (s->c = qn__alloc(v * sizeof *s->c)));
    if (ok)
        ok = (s->count = qn__calloc(v, sizeof *s->count)) != NULL;
    if (ok && o->dry_multiplier > 0) {
        size_t w = window((size_t)n_ctx, o->dry_last_n);
        ok = (s->z = qn__calloc(w + 1, sizeof *s->z)) && (s->rev = qn__calloc(w + 1, sizeof *s->rev));
    }
    if (!ok) {
        qn__sampler_close(s);
        return qn__fail_mem(err, "sampler");
    }
    *out = s;
    return QN_OK;
}

void qn__sampler_close(qn_sampler *s)
{
    if (!s)
        return;
    qn_free(s->bias);
    qn_free(s->top);
    qn_free(s->a);
    qn_free(s->b);
    qn_free(s->c);
    qn_free(s->count);
    qn_free(s->z);
    qn_free(s->rev);
    qn_free(s);
}
