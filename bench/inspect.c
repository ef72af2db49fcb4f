/* inspect.c - what inspecting costs: decode with all counters read after every token and with none, in turn, on the embedded model,
 * which is the fastest there is and so the one that suffers most. The figure is the median over pairs. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "services/probe/inspect.h"
#include "services/probe/stats.h"

enum { PAIRS = 31, TOKENS = 256, PROMPT = 64 };

static double median_gap(qn_scheduler *s, int text, bool bare)
{
    int32_t tokens[PROMPT];
    for (int i = 0; i < PROMPT; i++)
        tokens[i] = 100 + (i * 7 + text * 13) % 900;
    const qn_pace_options o = {.tokens = tokens, .n_tokens = PROMPT, .n_generate = TOKENS, .bare = bare};
    qn_pace_run r = {0};
    double v[TOKENS];
    qn_err err;
    if (qn__pace_run(s, &o, &r, &err)) {
        fprintf(stderr, "%s: %s\n", err.where, err.what);
        return 0;
    }
    size_t n = r.n_gaps < TOKENS ? r.n_gaps : TOKENS;
    for (size_t i = 0; i < n; i++)
        v[i] = r.gaps[i].s;
    qn__pace_run_free(&r);
    qn__sort_doubles(v, n);
    return n ? qn__quantile(v, n, 0.5) : 0;
}

int main(void)
{
    qn_model *m = NULL;
    qn_engine *e = NULL;
    qn_scheduler *s = NULL;
    qn_engine_options o;
    qn_err err;
    double with[PAIRS], without[PAIRS], cost[PAIRS];
    qn_engine_options_init(&o);
    o.n_ctx = 512;
    if (qn_model_open(NULL, QN_OPEN_FULL, &m, &err) || qn_engine_open(m, &o, &e, &err) || qn_scheduler_open(e, NULL, &s, &err)) {
        fprintf(stderr, "%s: %s\n", err.where, err.what);
        return 1;
    }
    (void)median_gap(s, 0, true);
    for (int i = 0; i < PAIRS; i++) { /* whoever is second is at no advantage: they take turns */
        const bool first = i % 2;
        const double a = median_gap(s, 2 * i + 1, first), b = median_gap(s, 2 * i + 2, !first);
        without[i] = first ? a : b;
        with[i] = first ? b : a;
        cost[i] = with[i] / without[i] - 1;
    }
    qn__sort_doubles(with, PAIRS);
    qn__sort_doubles(without, PAIRS);
    qn__sort_doubles(cost, PAIRS);
    printf("a token of the embedded model: %.1f us with counters, %.1f us without; in pairs %+.2f %% (quartiles %+.2f to %+.2f)\n",
           1e6 * with[PAIRS / 2], 1e6 * without[PAIRS / 2], 100 * cost[PAIRS / 2], 100 * cost[PAIRS / 4], 100 * cost[3 * PAIRS / 4]);
    qn_scheduler_close(s);
    qn_engine_close(e);
    qn_model_close(m);
    return 0;
}
