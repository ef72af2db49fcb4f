/* audit_plan.c - what to ask next, from what came of it so far and nothing else; so a run that was ended goes on as if it had not been.
 *
 *   shortest length, 2 x samples texts      not surely above guessing: never
 *   2 x, 4 x, 8 x ... up to the longest     all above the bar: none up to there
 *   between the last above and the first below, halving in the logarithm until they are within 4 %: the cliff
 *
 * The bar is half-way between guessing and the score at the shortest length. A length is decided when the score's 90 % interval leaves
 * the bar; where it does not, it is asked again with more texts, four times as many at most. */
#include <math.h>

#include "services/probe/audit.h"

static const double NEAR = 1.04, SURE = 1.959964, LIKELY = 1.644854, LEAST = 0.1;

void qn__audit_count(const qn_audit_log *log, int kind, char control, int32_t length, uint64_t *n, uint64_t *right)
{
    *n = *right = 0;
    for (size_t i = 0; i < log->n; i++) {
        const qn_audit_sample *s = &log->v[i];
        if ((kind < 0 || s->kind == kind) && s->control == control && (length == 0 || s->length == length)) {
            ++*n;
            *right += s->outcome == QN_RIGHT;
        }
    }
}

double qn__audit_guess(const qn_audit_plan *p, const qn_audit_log *log, int kind)
{
    uint64_t n, right;
    qn__audit_count(log, kind, 'g', 0, &n, &right);
    double rate = n ? (double)right / (double)n : 0, chance = qn__audit_chance((qn_audit_kind)kind, p->depths);
    return rate > chance ? rate : chance;
}

size_t qn__audit_points(const qn_audit_log *log, int kind, qn_audit_point *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < log->n; i++) {
        const qn_audit_sample *s = &log->v[i];
        if ((kind >= 0 && s->kind != kind) || s->control)
            continue;
        size_t at = 0;
        while (at < n && out[at].length < s->length)
            at++;
        if (at == n || out[at].length > s->length) {
            if (n == cap)
                continue;
            for (size_t k = n++; k > at; k--)
                out[k] = out[k - 1];
            out[at] = (qn_audit_point){s->length, 0, 0};
        }
        out[at].n++;
        out[at].right += s->outcome == QN_RIGHT;
    }
    return n;
}

typedef enum verdict { MORE, ABOVE, BELOW } verdict;

static verdict judge(const qn_audit_plan *p, const qn_audit_log *log, int kind, int32_t length, double bar, int32_t *batch)
{
    uint64_t n, right;
    qn__audit_count(log, kind, 0, length, &n, &right);
    *batch = (int32_t)(n / (uint64_t)p->depths);
    if (*batch < p->samples)
        return MORE;
    qn_interval w = qn__wilson(right, n, LIKELY);
    if (w.low > bar)
        return ABOVE;
    if (w.high < bar)
        return BELOW;
    if (*batch < 4 * p->samples)
        return MORE;
    return (double)right > bar * (double)n ? ABOVE : BELOW;
}

qn_audit_state qn__audit_next(const qn_audit_plan *p, const qn_audit_log *log, int kind, int32_t *length, int32_t *batch)
{
    int32_t lo = p->shortest[kind], hi = 0;
    if (lo <= 0)
        return QN_AUDIT_NEVER;
    uint64_t n, right;
    qn__audit_count(log, kind, 0, lo, &n, &right);
    *length = lo;
    *batch = (int32_t)(n / (uint64_t)p->depths);
    if (*batch < 2 * p->samples)
        return QN_AUDIT_OPEN;
    double guess = qn__audit_guess(p, log, kind), low = qn__wilson(right, n, SURE).low;
    if (low <= guess || low <= LEAST)
        return QN_AUDIT_NEVER;
    double bar = guess + ((double)right / (double)n - guess) / 2;
    while (hi == 0 && lo < p->max_length) {
        *length = lo > p->max_length / 2 ? p->max_length : 2 * lo;
        verdict v = judge(p, log, kind, *length, bar, batch);
        if (v == MORE)
            return QN_AUDIT_OPEN;
        *(v == ABOVE ? &lo : &hi) = *length;
    }
    if (hi == 0)
        return QN_AUDIT_NONE;
    while ((double)hi > NEAR * lo) {
        *length = (int32_t)lround(sqrt((double)lo * hi));
        verdict v = judge(p, log, kind, *length, bar, batch);
        if (v == MORE)
            return QN_AUDIT_OPEN;
        *(v == ABOVE ? &lo : &hi) = *length;
    }
    return QN_AUDIT_CLIFF;
}
