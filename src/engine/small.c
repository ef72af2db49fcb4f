/* small.c - see small.h. */
#include "engine/small.h"

#include <math.h>

#include "base/err.h"
#include "base/file.h"

enum { PIECE = 128, TRY_AGAIN = 256 };

qn_status qn__small_open(qn_engine *e, qn_err *err)
{
    const qn_model *m = e->o.draft_model;
    if (!m->decoder || m->info.embedding_only || m->info.n_vocab != e->n_vocab)
        return qn__fail(err, QN_EINVAL, "draft model", "%s has %d tokens and %s %d: a draft model needs the same vocabulary, and weights",
                        m->file, m->info.n_vocab, e->model->file, e->n_vocab);
    if (qn__decoder_state_bytes(m->decoder)) /* what it drafts it would have to take back, again and again */
        return qn__fail(err, QN_EINVAL, "draft model", "%s has a recurrent state, which cannot be taken back; use a draft model without one",
                        m->file);
    qn_engine_options o = {.n_ctx = e->o.n_ctx, .n_threads = e->o.n_threads, .n_chunk = PIECE, .max_seqs = e->o.max_seqs,
                           .kv = e->o.kv, .kv_ram = (uint64_t)e->max_pages * qn__decoder_page_bytes(m->decoder, e->kv), .cpu = e->o.cpu, .no_repack = e->o.no_repack};
    return qn_engine_open(m, &o, &e->small, err);
}

void qn__small_leave(qn_request *r)
{
    if (r->small)
        qn__pages_keep(r->e->small->pages, r->small);
    r->small = NULL;
}

/* A sequence with r's tokens, on what is known of them. */
static bool follow(qn_engine *d, qn_request *r)
{
    const qn_seq *s = r->seq;
    if (!r->small) {
        size_t common, n;
        if (qn__seq_open(s->tokens, s->n_tokens, &r->small, NULL))
            return false;
        n = qn__pages_find(d->pages, r->small, s->n_tokens - 1, &common);
        if (n > 0 && qn__pages_adopt(d->pages, r->small, n, NULL))
            return false;
    }
    while (r->small->n_tokens < s->n_tokens)
        if (qn__seq_push(r->small, s->tokens[r->small->n_tokens], NULL))
            return false;
    return true;
}

/* Positions from..from + n: the sequence's tokens, or one that was guessed. The likeliest token behind the last; -1: failed. */
static int32_t advance(qn_engine *d, qn_seq *s, size_t from, size_t n, int32_t guessed)
{
    if (qn__seq_reserve(d->pages, s, from + n, NULL))
        return -1;
    for (size_t i = 0; i < n; i++)
        d->rows[i] = (qn_row){.token = from + i < s->n_tokens ? s->tokens[from + i] : guessed, .pos = (int32_t)(from + i),
                              .out = i + 1 == n ? 0 : -1};
    unsigned char *const *table = s->pages;
    const qn_step step = {.rows = d->rows, .n_rows = (int)n, .pages = &table, .states = &s->state, .n_seqs = 1, .logits = d->logits};
    if (qn__context_step(d->context, &step, NULL))
        return -1;
    int32_t best = -1;
    for (int32_t i = 0; i < d->n_vocab; i++)
        if (d->logits[i] > -INFINITY && (best < 0 || d->logits[i] > d->logits[best]))
            best = i;
    return best;
}

/* How many tokens pay: one more costs a row of the large model's and a step of the small one's. */
static int how_many(const qn_engine *e, const qn_request *r, int most, int rows, double expected)
{
    double p = 1, seconds, more, spent = 0;
    int k = 0;
    for (; k < most; k++, rows++) {
        p *= (double)r->small_right;
        qn__cost_decode(&e->cost, rows, &seconds, &more);
        if (r->draft == 0 && p * (seconds + spent) <= (more + e->small_s) * expected)
            break;
        expected += p;
        spent += e->small_s;
    }
    return k;
}

int qn__small_draft(qn_engine *e, qn_request *r, int most, int rows, double expected, int32_t *guess, double *p)
{
    qn_engine *d = e->small;
    if (!follow(d, r))
        return 0;
    qn_seq *s = r->small;
    size_t left = s->n_tokens - s->n_done;
    if (left > PIECE) {
        if (advance(d, s, s->n_done, PIECE, -1) >= 0)
            qn__seq_done(d->pages, s, PIECE);
        return 0;
    }
    int n = how_many(e, r, most, rows, expected), k = 0;
    r->small_right += (0.5f - r->small_right) / TRY_AGAIN; /* what is never tried is forgotten */
    double start = qn__now();
    for (int32_t token; k < n; k++) {
        size_t from = k ? s->n_tokens + (size_t)k - 1 : s->n_done;
        token = advance(d, s, from, k ? 1 : left, k ? guess[k - 1] : -1);
        if (token < 0)
            break;
        if (k == 0)
            qn__seq_done(d->pages, s, left);
        guess[k] = token;
        p[k] = (k ? p[k - 1] : 1) * (double)r->small_right;
    }
    if (k > 0 && !e->cost.frozen) {
        double each = (qn__now() - start) / k;
        e->small_s = e->small_s > 0 ? 0.9 * e->small_s + 0.1 * each : each;
    }
    return k;
}

void qn__small_learn(qn_request *r, int n, int right)
{
    for (int i = 0; i < n && i <= right; i++)
        r->small_right += ((i < right ? 1.0f : 0.0f) - r->small_right) / 16;
}
