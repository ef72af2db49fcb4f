/* unloop.c - see unloop.h.
 *
 * When the output has become periodic (text/loop.h says when), its last period is kept, and for SPAN tokens every token is forbidden
 * that would go on with it: one that follows, somewhere in the cycle, on what the last GRAM tokens are.
 *
 *   ... x y z x y z x y z|     cycle: x y z     after "y z" (GRAM 2) x is forbidden; a token later, after "z w", nothing is
 *
 * So the model leaves the cycle at once, and cannot step back into it while the span lasts; what it does else is its own choice. */
#include "engine/unloop.h"

#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "text/loop.h"

enum { SPAN = 256, GRAM = 3, WINDOW = 1024 };

struct qn_unloop {
    qn_loop_watch *watch;
    size_t seen;               /* tokens of the output that the watch was shown */
    int32_t cycle[WINDOW + 8];
    size_t n_cycle, until;     /* forbidden up to this length of the output */
};

qn_status qn__unloop_open(qn_unloop **out, qn_err *err)
{
    qn_unloop *u = qn__calloc(1, sizeof *u);
    if (!u)
        return qn__fail_mem(err, "loop guard");
    qn_status st = qn__loop_open(&(qn_loop_limits){.window = WINDOW}, &u->watch, err);
    if (st) {
        qn_free(u);
        return st;
    }
    *out = u;
    return QN_OK;
}

void qn__unloop_close(qn_unloop *u)
{
    if (!u)
        return;
    qn__loop_close(u->watch);
    qn_free(u);
}

/* The cycle's place i follows on the last tokens of the output. */
static bool follows(const qn_unloop *u, size_t i, const int32_t *output, size_t n)
{
    for (size_t k = 1; k <= GRAM; k++)
        if (k > n || u->cycle[(i + GRAM * u->n_cycle - k) % u->n_cycle] != output[n - k])
            return false;
    return true;
}

static bool any_left(const float *logits, int32_t n_vocab)
{
    for (int32_t i = 0; i < n_vocab; i++)
        if (logits[i] > -INFINITY)
            return true;
    return false;
}

bool qn__unloop_apply(qn_unloop *u, float *logits, int32_t n_vocab, const int32_t *output, size_t n)
{
    bool found = false;
    for (; u->seen < n; u->seen++) {
        qn__loop_tokens(u->watch, &output[u->seen], 1);
        const qn_loop l = qn__loop_now(u->watch);
        if (l.kind != QN_LOOP_TOKENS || u->seen + 1 < u->until || l.period > WINDOW || l.period > u->seen + 1)
            continue;
        u->n_cycle = l.period;
        memcpy(u->cycle, output + u->seen + 1 - l.period, l.period * sizeof *output);
        u->until = u->seen + 1 + SPAN;
        found = true;
    }
    if (n >= u->until)
        return found;
    for (size_t i = 0; i < u->n_cycle; i++) {
        const int32_t token = u->cycle[i];
        if (!follows(u, i, output, n) || token < 0 || token >= n_vocab)
            continue;
        const float was = logits[token];
        logits[token] = -INFINITY;
        if (!any_left(logits, n_vocab)) /* a grammar may leave nothing else */
            logits[token] = was;
    }
    return found;
}
