/* bench_run.c - one measurement: requests of made-up tokens, timed by the engine's own clock.
 *
 * Tokens before the ones that are measured (depth) are the same in each run, so they are computed once and found again.
 */
#include <stdlib.h>

#include "cli/args.h"
#include "cli/bench.h"
#include "cli/io.h"
#include "cli/term.h"

enum { MOST_SEQS = 1024, PAGE = 64 };

/* Token i of a text: any id, the same every time. */
static int32_t token(uint32_t text, int32_t i, int32_t n_vocab)
{
    uint64_t x = ((uint64_t)text << 32 | (uint32_t)i) * 0x9E3779B97F4A7C15u + 1;
    x = (x ^ x >> 31) * 0xBF58476D1CE4E5B9u;
    return (int32_t)((x >> 33) % (uint64_t)n_vocab);
}

typedef struct prompt {
    int32_t *tokens;
    int32_t n;
} prompt;

/* `depth` tokens of text `before`, then n of text `text`. */
static bool make(prompt *p, int32_t depth, uint32_t before, int32_t n, uint32_t text, int32_t n_vocab)
{
    p->n = depth + n;
    p->tokens = malloc((size_t)p->n * sizeof *p->tokens);
    for (int32_t i = 0; p->tokens && i < p->n; i++)
        p->tokens[i] = i < depth ? token(before, i, n_vocab) : token(text, i, n_vocab);
    return p->tokens != NULL;
}

/* Run n requests side by side to their ends. */
static int together(qn_engine *e, const prompt *p, int32_t n, int32_t max_tokens, qn_timings *out)
{
    qn_request *r[MOST_SEQS] = {0};
    qn_request_options o;
    qn_event ev;
    qn_err err;
    int rc = CLI_OK;
    for (int32_t i = 0; i < n && rc == CLI_OK; i++) {
        qn_request_options_init(&o);
        o.tokens = p[i].tokens;
        o.n_tokens = (size_t)p[i].n;
        o.max_tokens = max_tokens;
        o.ignore_eos = true;
        o.draft = -1; /* random weights soon repeat themselves: guessed tokens would be measured, not computed ones */
        if (qn_request_open(e, &o, &r[i], &err) != QN_OK)
            rc = cli_fail(&err);
    }
    for (int32_t i = 0; i < n && rc == CLI_OK; i++) {
        do {
            if (qn_request_next(r[i], &ev, &err) != QN_OK)
                rc = cli_fail(&err);
            else if (term_interrupted())
                rc = CLI_INTERRUPTED;
        } while (rc == CLI_OK && ev.kind != QN_EVENT_END);
        if (rc == CLI_OK && ev.timings.drafted_tokens > 0)
            rc = cli_fail_text("bench", "tokens were drafted, so this would be no measurement of decoding");
        if (rc == CLI_OK)
            out[i] = ev.timings;
    }
    for (int32_t i = 0; i < n; i++)
        if (r[i])
            qn_request_close(r[i]);
    return rc;
}

static void drop(prompt *p, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        free(p[i].tokens);
}

/* The texts before, one for each sequence; those that are known already cost next to nothing. */
static int prepare(qn_engine *e, const bench_test *t, int32_t n_vocab)
{
    qn_timings w;
    for (int32_t i = 0; i < t->seqs && t->depth > 0; i++) {
        prompt p;
        if (!make(&p, t->depth, (uint32_t)i, 0, 0, n_vocab))
            return cli_fail_text("bench", "out of memory");
        const int rc = together(e, &p, 1, 0, &w);
        drop(&p, 1);
        if (rc != CLI_OK)
            return rc;
    }
    return CLI_OK;
}

static int once(qn_engine *e, const bench_test *t, int32_t run, int32_t n_vocab, double *rate)
{
    prompt p[MOST_SEQS] = {0};
    qn_timings w[MOST_SEQS] = {0};
    int32_t n = 0;
    int rc = prepare(e, t, n_vocab);
    if (rc != CLI_OK)
        return rc;
    for (; n < t->seqs && rc == CLI_OK; n++) /* another text in each run, so that nothing of it is known */
        if (!make(&p[n], t->depth, (uint32_t)n, t->prompt ? t->n : 1, (uint32_t)(MOST_SEQS * (run + 1) + n), n_vocab))
            rc = cli_fail_text("bench", "out of memory");
    if (rc == CLI_OK)
        rc = together(e, p, t->seqs, t->prompt ? 1 : t->n + 1, w);
    drop(p, n);
    if (rc != CLI_OK)
        return rc;
    double slowest = 0;
    for (int32_t i = 0; i < t->seqs; i++) {
        if (w[i].cached_tokens + PAGE < t->depth)
            return CLI_GO;
        slowest = w[i].decode_s > slowest ? w[i].decode_s : slowest;
    }
    *rate = t->prompt ? (w[0].prompt_tokens - w[0].cached_tokens) / w[0].prefill_s : (double)t->seqs * t->n / slowest;
    return CLI_OK;
}

int bench_measure(qn_engine *e, const bench_test *t, int32_t runs, double *rates, void (*tick)(void *arg), void *arg)
{
    qn_engine_info info;
    qn_engine_get_info(e, &info);
    for (int32_t i = 0; i < runs; i++) {
        const int rc = once(e, t, i, info.n_vocab, &rates[i]);
        if (rc != CLI_OK)
            return rc;
        tick(arg);
    }
    return CLI_OK;
}

int bench_warm(qn_engine *e)
{
    const bench_test t = {.prompt = false, .n = 4, .seqs = 1};
    double rate;
    qn_engine_info info;
    qn_engine_get_info(e, &info);
    const bench_test p = {.prompt = true, .n = info.n_ctx < 128 ? info.n_ctx / 2 + 1 : 64, .seqs = 1};
    const int rc = once(e, &p, 1 << 20, info.n_vocab, &rate);
    return rc == CLI_OK && info.n_ctx > 8 ? once(e, &t, 1 << 20, info.n_vocab, &rate) : rc;
}
