/* measure.c - numbers about a model: the logits themselves, and perplexity. Each starts from nothing: no page of another
 * sequence is used, and none is left behind. */
#include <math.h>

#include "base/err.h"
#include "base/mem.h"
#include "engine/engine.h"

qn_status qn__engine_check_tokens(const qn_engine *e, const int32_t *tokens, size_t n, qn_err *err)
{
    for (size_t i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= e->n_vocab)
            return qn__fail(err, QN_EINVAL, "tokens", "token %d at place %zu is not in the vocabulary; ids go from 0 to %d",
                            tokens[i], i, e->n_vocab - 1);
    return QN_OK;
}

qn_status qn__engine_advance(qn_engine *e, qn_seq *s, size_t n, size_t n_out, float *logits, float *hidden, qn_err *err)
{
    qn_status st;
    while ((st = qn__seq_reserve(e->pages, s, s->n_done + n, err))) /* requests that run give way */
        if (!qn__engine_yield(e, 0))
            return st;
    for (size_t i = 0; i < n; i++)
        e->rows[i] = (qn_row){.token = s->tokens[s->n_done + i], .pos = (int32_t)(s->n_done + i),
                              .out = i + n_out < n ? -1 : (int32_t)(i + n_out - n)};
    unsigned char *const *table = s->pages;
    const qn_step step = {.rows = e->rows, .n_rows = (int)n, .pages = &table, .states = &s->state, .n_seqs = 1,
                          .logits = n_out ? logits : NULL, .hidden = n_out ? hidden : NULL};
    st = qn__context_step(e->context, &step, err);
    if (!st)
        s->n_done += n;
    return st;
}

qn_status qn_logits(qn_engine *e, const int32_t *tokens, size_t n, size_t rows, float *out, qn_err *err)
{
    if (n == 0 || rows == 0 || rows > n)
        return qn__fail(err, QN_EINVAL, "logits", "%zu rows of %zu tokens were asked for; give 1 to %zu", rows, n, n);
    if (n > (size_t)e->o.n_ctx)
        return qn__fail(err, QN_ECONTEXT, "logits",
                        "there are %zu tokens but the context holds %d; use --ctx or shorten them", n, e->o.n_ctx);
    qn_status st = qn__engine_check_tokens(e, tokens, n, err);
    if (st || (st = qn__engine_generates(e, err)))
        return st;
    qn_seq *s;
    st = qn__seq_open(tokens, n, &s, err);
    if (st)
        return st;
    size_t silent = n - rows;
    while (!st && s->n_done < n) {
        size_t k = n - s->n_done < (size_t)e->o.n_chunk ? n - s->n_done : (size_t)e->o.n_chunk, end = s->n_done + k;
        size_t k_out = end <= silent ? 0 : end - silent < k ? end - silent : k;
        st = qn__engine_advance(e, s, k, k_out, out, NULL, err);
        out += k_out * (size_t)e->n_vocab;
    }
    qn__seq_close(e->pages, s);
    return st;
}

/* -log p(token), nats. */
static double nll_of(const float *logits, int32_t n, int32_t token)
{
    double max = -INFINITY, sum = 0;
    for (int32_t i = 0; i < n; i++)
        max = (double)logits[i] > max ? (double)logits[i] : max;
    for (int32_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - max);
    return max + log(sum) - (double)logits[token];
}

typedef struct tally {
    double sum, sum2;
    size_t n;
} tally;

enum { SCORED_AT_ONCE = 128 }; /* rows of logits: 78 MB at a vocabulary of 152k */

/* One window from nothing: targets are tokens[first..n), each predicted from the position before it. */
static qn_status score_window(qn_engine *e, const int32_t *tokens, size_t n, size_t first, float *logits, size_t at_once,
                              tally *t, qn_err *err)
{
    qn_seq *s;
    qn_status st = qn__seq_open(tokens, n - 1, &s, err); /* the last token is only a target */
    if (st)
        return st;
    while (!st && s->n_done < n - 1) {
        size_t done = s->n_done, most = done + 1 < first ? (size_t)e->o.n_chunk : at_once;
        size_t end = done + 1 < first ? first - 1 : n - 1; /* position first - 1 predicts the first target */
        size_t k = end - done < most ? end - done : most;
        bool score = done + 1 >= first;
        st = qn__engine_advance(e, s, k, score ? k : 0, logits, NULL, err);
        for (size_t i = 0; !st && score && i < k; i++) {
            double x = nll_of(logits + i * (size_t)e->n_vocab, e->n_vocab, tokens[done + i + 1]);
            t->sum += x;
            t->sum2 += x * x;
            t->n++;
        }
    }
    qn__seq_close(e->pages, s);
    return st;
}

static void result(const tally *t, size_t n_tokens, qn_perplexity *out)
{
    double n = (double)t->n, mean = t->sum / n, var = t->n > 1 ? (t->sum2 / n - mean * mean) * n / (n - 1) : 0;
    double ppl = exp(mean);
    *out = (qn_perplexity){.nll = mean, .ppl = ppl, .error = ppl * sqrt(var > 0 ? var / n : 0), .n_scored = t->n,
                           .n_tokens = n_tokens};
}

qn_status qn_measure_perplexity(qn_engine *e, const int32_t *tokens, size_t n, int32_t n_ctx,
                                bool (*progress)(void *arg, size_t done, size_t total, double ppl), void *arg,
                                qn_perplexity *out, qn_err *err)
{
    if (n_ctx == 0)
        n_ctx = e->o.n_ctx;
    if (n_ctx < 2 || n_ctx > e->o.n_ctx)
        return qn__fail(err, QN_EINVAL, "perplexity", "a window of %d tokens is out of range; give 2 to %d", n_ctx,
                        e->o.n_ctx);
    if (n < 2)
        return qn__fail(err, QN_EINVAL, "perplexity", "the text has %zu tokens; two are needed to predict one", n);
    qn_status st = qn__engine_check_tokens(e, tokens, n, err);
    if (st || (st = qn__engine_generates(e, err)))
        return st;
    size_t window = (size_t)n_ctx < n ? (size_t)n_ctx : n, total = n / window, bytes;
    size_t at_once = e->o.n_chunk < SCORED_AT_ONCE ? (size_t)e->o.n_chunk : SCORED_AT_ONCE;
    float *logits = NULL;
    if (!qn__mul(at_once * sizeof(float), (size_t)e->n_vocab, &bytes) || !(logits = qn__alloc_aligned(bytes)))
        return qn__fail_mem(err, "perplexity");
    tally t = {0};
    qn_perplexity p = {0};
    for (size_t w = 0; w < total; w++) {
        size_t first = window / 2 ? window / 2 : 1;
        st = score_window(e, tokens + w * window, window, first, logits, at_once, &t, err);
        if (st)
            goto out;
        result(&t, n, &p);
        if (!(p.nll < INFINITY)) {
            st = qn__engine_no_numbers(e->model->file, err);
            goto out;
        }
        if (progress && !progress(arg, w + 1, total, p.ppl)) {
            st = qn__fail(err, QN_ECANCELLED, "perplexity", "cancelled after %zu of %zu windows", w + 1, total);
            goto out;
        }
    }
    *out = p;
out:
    qn__free_aligned(logits);
    return st;
}
