/* constraint.c - see constraint.h. A matcher stands behind what was said; for drafts it goes ahead and comes back. */
#include "engine/constraint.h"

#include <math.h>

#include "base/err.h"
#include "base/mem.h"
#include "text/grammar.h"

struct qn_constraint {
    const qn_tokenizer *t;
    int32_t n_bits; /* of a mask */
    qn_grammar *g;
    qn_matcher *m;
};

qn_status qn__constraint_open(const qn_grammar *g, const qn_tokenizer *t, qn_constraint **out, qn_err *err)
{
    qn_matcher *m;
    qn_status st = qn__matcher_open(g, &m, err);
    if (st)
        return st;
    qn_constraint *c = qn__calloc(1, sizeof *c);
    if (!c) {
        qn__matcher_close(m);
        return qn__fail_mem(err, "grammar");
    }
    *c = (qn_constraint){.t = t, .n_bits = qn__tokenizer_info(t)->n_vocab, .g = qn__grammar_keep(g), .m = m};
    *out = c;
    return QN_OK;
}

void qn__constraint_close(qn_constraint *c)
{
    if (!c)
        return;
    qn__matcher_close(c->m);
    qn__grammar_drop(c->g);
    qn_free(c);
}

/* The only token in the mask; -1: there are more; -2: there is none. */
static int32_t only_one(const uint32_t *mask, int32_t n_bits)
{
    int32_t only = -2;
    for (int32_t w = 0; w < (n_bits + 31) / 32; w++) {
        uint32_t bits = mask[w];
        if (w == n_bits / 32)
            bits &= ((uint32_t)1 << (n_bits & 31)) - 1;
        if (!bits)
            continue;
        if (only >= 0 || (bits & (bits - 1)))
            return -1;
        only = w * 32 + __builtin_ctz(bits);
    }
    return only;
}

qn_status qn__constraint_mask(qn_constraint *c, float *logits, int32_t n_vocab, int32_t *only, qn_err *err)
{
    const uint32_t *mask;
    int32_t n_bits = c->n_bits < n_vocab ? c->n_bits : n_vocab;
    qn_status st = qn__matcher_mask(c->m, &mask, err);
    if (st)
        return st;
    int32_t one = only_one(mask, n_bits);
    if (one == -2)
        return qn__fail(err, QN_EUNSUPPORTED, "grammar", "no token of this model's vocabulary can follow what it has written");
    for (int32_t i = 0; i < n_bits; i++)
        if (!(mask[i >> 5] >> (i & 31) & 1))
            logits[i] = -INFINITY;
    for (int32_t i = n_bits; i < n_vocab; i++)
        logits[i] = -INFINITY;
    *only = one;
    return QN_OK;
}

qn_status qn__constraint_accept(qn_constraint *c, int32_t token, qn_err *err)
{
    /* The mask allowed it, so only memory can be lacking. */
    return qn__matcher_accept(c->m, token) ? QN_OK : qn__fail_mem(err, "grammar");
}

int qn__constraint_draft(qn_constraint *c, int32_t *guess, double *p, int n, int most)
{
    const uint32_t *mask;
    int k = 0;
    while (k < n && qn__matcher_accept(c->m, guess[k]))
        k++;
    for (; k < most && !qn__matcher_mask(c->m, &mask, NULL); k++) {
        int32_t token = only_one(mask, c->n_bits);
        if (token < 0 || qn__token_ends(c->t, token) || !qn__matcher_accept(c->m, token))
            break;
        guess[k] = token;
        p[k] = k ? p[k - 1] : 1;
    }
    qn__matcher_rewind(c->m, (size_t)k);
    return k;
}
