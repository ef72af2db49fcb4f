/* draft.c - see draft.h. */
#include "engine/draft.h"

#include <string.h>

#include "base/mem.h"

enum { LONG = 0, SHORT = 1, WALK = 32, RUN_MOST = 64, NEAR = 24, NEAR_BONUS = 3, BITS_LEAST = 8, BITS_MOST = 20, SLOW = 16 };
/* Tokens to try at first; that the account may be short of, and one more for so many said; to wait, and how often that doubles. */
enum { FIRST = 4, SHORT_OF = 1, PER_SAID = 100, WAIT = 16, WAITS_MOST = 5 };
static const size_t LENGTH[2] = {4, 2};
static const float RIGHT[QN_DRAFT_CLASSES] = {0.3f, 0.5f, 0.6f, 0.75f, 0.85f, 0.9f}; /* before anything was counted */

void qn__drafter_init(qn_drafter *d)
{
    *d = (qn_drafter){0};
    memcpy(d->right, RIGHT, sizeof RIGHT);
    d->most = FIRST;
}

void qn__drafter_free(qn_drafter *d)
{
    for (int g = 0; g < 2; g++) {
        qn_free(d->grams[g].head);
        qn_free(d->prev[g]);
    }
    qn__drafter_init(d);
}

static int class_of(size_t run)
{
    return run < 2 ? 0 : run < 4 ? 1 : run < 8 ? 2 : run < 16 ? 3 : run < 32 ? 4 : 5;
}

/* ---- the index ---- */

static uint32_t hash(const int32_t *end, size_t length, int bits)
{
    uint64_t h = 0;
    for (size_t i = length; i > 0; i--)
        h = (h + (uint32_t)end[-(ptrdiff_t)i]) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(h >> (64 - bits));
}

static void enter(qn_drafter *d, const int32_t *tokens, int g, size_t at)
{
    uint32_t h = hash(tokens + at, LENGTH[g], d->grams[g].bits);
    d->prev[g][at] = d->grams[g].head[h];
    d->grams[g].head[h] = (int32_t)at;
}

/* Tables for n tokens; entered anew when they grow. */
static bool make_room(qn_drafter *d, const int32_t *tokens, size_t n)
{
    if (n <= d->cap)
        return true;
    size_t cap = n + n / 2 + 256;
    for (int g = 0; g < 2; g++) {
        int bits = BITS_LEAST;
        while (bits < BITS_MOST && ((size_t)1 << bits) < cap)
            bits++;
        int32_t *head = qn__alloc(sizeof *head << bits), *prev = qn__alloc(cap * sizeof *prev);
        if (!head || !prev) {
            qn_free(head);
            qn_free(prev);
            return false;
        }
        memset(head, 0xFF, sizeof *head << bits);
        qn_free(d->grams[g].head);
        qn_free(d->prev[g]);
        d->grams[g] = (qn_grams){head, bits};
        d->prev[g] = prev;
        for (size_t i = LENGTH[g]; i < d->n; i++)
            enter(d, tokens, g, i);
    }
    d->cap = cap;
    return true;
}

/* How many tokens before `at` agree with the last ones. */
static size_t agree(const int32_t *tokens, size_t n, size_t at)
{
    size_t run = 0;
    while (run < RUN_MOST && run < at && tokens[at - 1 - run] == tokens[n - 1 - run])
        run++;
    return run;
}

/* The place where most of the last tokens agree, the latest of equals; near where the last guess was lost counts for more. */
static void look_up(qn_drafter *d, const int32_t *tokens, size_t n)
{
    size_t best = 0;
    d->run = 0;
    for (int g = 0; g < 2 && best == 0; g++) {
        if (n < LENGTH[g])
            continue;
        int32_t at = d->grams[g].head[hash(tokens + n, LENGTH[g], d->grams[g].bits)];
        for (int walk = 0; at >= 0 && walk < WALK; walk++, at = d->prev[g][at]) {
            size_t run = agree(tokens, n, (size_t)at), far = (size_t)at > d->lost ? (size_t)at - d->lost : d->lost - (size_t)at;
            if (run < LENGTH[g])
                continue; /* another run with the same hash */
            size_t score = run + (d->lost && far < NEAR ? NEAR_BONUS : 0);
            if (score > best) {
                best = score;
                d->src = (size_t)at;
                d->run = run;
            }
        }
    }
    for (size_t at = d->lost; d->run == 0 && d->lost && at < d->lost + NEAR && at < n; at++)
        if (tokens[at - 1] == tokens[n - 1]) {
            d->src = at;
            d->run = 1;
        }
}

/* A moving average that is quick at first: what was assumed weighs as much as two observations. */
static void count(qn_drafter *d, bool right)
{
    int c = class_of(d->run);
    if (d->seen[c] < SLOW)
        d->seen[c]++;
    d->right[c] += ((right ? 1.0f : 0.0f) - d->right[c]) / (float)(d->seen[c] < SLOW ? d->seen[c] + 2 : SLOW);
}

bool qn__drafter_see(qn_drafter *d, const int32_t *tokens, size_t n)
{
    if (!make_room(d, tokens, n))
        return false;
    bool news = d->n < n;
    for (; d->n < n; d->n++) {
        if (d->run) { /* it was the guess for this one */
            bool right = tokens[d->src] == tokens[d->n];
            count(d, right);
            if (right) {
                d->src++;
                d->run++;
            } else {
                d->lost = d->src + 1;
                d->run = 0;
            }
        }
        for (int g = 0; g < 2; g++)
            if (d->n >= LENGTH[g])
                enter(d, tokens, g, d->n);
    }
    if (news && d->run == 0)
        look_up(d, tokens, n);
    return true;
}

int qn__drafter_most(const qn_drafter *d)
{
    return d->wait > 0 ? 0 : d->most;
}

void qn__drafter_tried(qn_drafter *d, int n, int right, double price)
{
    const int tokens = right + 1;
    d->said += (size_t)tokens;
    d->wait = d->wait > tokens ? d->wait - tokens : 0;
    if (n == 0)
        return;
    d->account += right - n * price;
    if (right == n)
        d->most = d->most < QN_DRAFT_MOST / 2 ? 2 * d->most : QN_DRAFT_MOST;
    else if (right < n / 2)
        d->most = d->most / 2 > 1 ? d->most / 2 : 1;
    const double least = -(SHORT_OF + (double)d->said / PER_SAID);
    if (d->account > 0) { /* what was gained is not staked */
        d->waits = 0;
        d->account = d->account < 2 ? d->account : 2;
    } else if (d->account < least) {
        d->wait = WAIT << d->waits;
        d->waits += d->waits < WAITS_MOST;
        d->account = least + 0.5;
        d->most = 1;
    }
}

void qn__drafter_paid(qn_drafter *d, int rows, double price)
{
    d->account -= rows * price;
}

int qn__drafter_guess(const qn_drafter *d, const int32_t *tokens, size_t n, int most, int32_t *out, double *p)
{
    double all = 1;
    int k = 0;
    for (; d->run && k < most && k < QN_DRAFT_MOST; k++) {
        size_t at = d->src + (size_t)k;
        all *= (double)d->right[class_of(d->run + (size_t)k)];
        out[k] = at < n ? tokens[at] : out[at - n]; /* what repeats itself goes on doing so */
        p[k] = all;
    }
    return k;
}
