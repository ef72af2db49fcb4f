/* grammar_match.c - one sequence's way through a grammar: where it may be after each token, and back.
 *
 *   steps[]  ring of the last positions; each is a set of (state, stack); stacks are numbers of hash-consed frames */
#include "text/grammar_int.h"

enum { STEPS = 160 }; /* so that at least 64 tokens can be taken back, with room */

struct qn_matcher {
    qn_grammar *g;
    qn_frames frames;
    qn_closure closure;
    qn_items steps[STEPS];
    size_t at;        /* the position now */
    size_t back;      /* how many can be taken back */
    qn_items scratch[2];
    uint32_t *mask;
    size_t words;
    bool masked;      /* mask is that of the position now */
    size_t sweep;     /* frames at which unused ones are dropped */
};

void qn__matcher_close(qn_matcher *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < STEPS; i++)
        qn_free(m->steps[i].v);
    qn_free(m->scratch[0].v);
    qn_free(m->scratch[1].v);
    qn_free(m->mask);
    qn__frames_free(&m->frames);
    qn__closure_free(&m->closure);
    qn__grammar_drop(m->g);
    qn_free(m);
}

static qn_status failed(qn_follow r, qn_err *err)
{
    return r == QN_FOLLOW_MEMORY ? qn__fail_mem(err, "grammar")
                                 : qn__fail(err, QN_ELIMIT, "grammar",
                                            "the grammar is too ambiguous here: too many ways to read the output so far");
}

qn_status qn__matcher_open(const qn_grammar *g, qn_matcher **out, qn_err *err)
{
    qn_matcher *m = qn__calloc(1, sizeof *m);
    qn_status st = QN_OK;
    if (!m)
        return qn__fail_mem(err, "grammar");
    m->g = qn__grammar_keep(g);
    m->sweep = 4096;
    m->words = g->trie ? ((size_t)g->trie->n_vocab + 31) / 32 : 0;
    m->mask = qn__alloc(m->words * sizeof *m->mask);
    if (!m->mask || !qn__frames_init(&m->frames, 0) || !qn__closure_begin(&m->closure, &m->steps[0]))
        st = qn__fail_mem(err, "grammar");
    if (!st) {
        qn_follow r = qn__items_add(g, &m->frames, &m->closure, g->root, 0, &m->steps[0]);
        if (r)
            st = failed(r, err);
        qn__items_sort(&m->steps[0]);
    }
    if (st) {
        qn__matcher_close(m);
        return st;
    }
    *out = m;
    return QN_OK;
}

bool qn__matcher_may_end(const qn_matcher *m)
{
    return m->steps[m->at].ended;
}

qn_status qn__matcher_mask(qn_matcher *m, const uint32_t **mask, qn_err *err)
{
    const qn_token_trie *t = m->g->trie;
    if (!t)
        return qn__fail(err, QN_EINVAL, "grammar", "the grammar is not bound to a vocabulary");
    if (!m->masked) {
        memset(m->mask, 0, m->words * sizeof *m->mask);
        qn_status st = qn__mask_fill(m->g, &m->frames, &m->steps[m->at], m->mask, err);
        if (st)
            return st;
        for (size_t i = 0; m->steps[m->at].ended && i < t->n_ends; i++)
            m->mask[t->ends[i] >> 5] |= 1u << (t->ends[i] & 31);
        m->masked = true;
    }
    *mask = m->mask;
    return QN_OK;
}

/* Drop frames that no remembered position needs: mark, then renumber in order. Parents come before children. False: no
 * memory, nothing changed. */
static bool sweep(qn_matcher *m)
{
    qn_frames *f = &m->frames, fresh;
    int32_t *to = qn__calloc(f->n, sizeof *to);
    if (!to || !qn__frames_init(&fresh, 0)) {
        qn_free(to);
        return false;
    }
    for (size_t i = 0; i <= m->back; i++) {
        const qn_items *s = &m->steps[(m->at + STEPS - i) % STEPS];
        for (size_t k = 0; k < s->n; k++)
            for (int32_t x = s->v[k].stack; x > 0 && !to[x]; x = f->v[x].parent)
                to[x] = -1;
    }
    bool ok = true;
    for (size_t i = 1; ok && i < f->n; i++) {
        if (!to[i])
            continue;
        qn_frame x = f->v[i];
        x.parent = x.parent > 0 ? to[x.parent] : 0;
        to[i] = qn__frames_push(&fresh, x);
        ok = to[i] > 0;
    }
    if (ok) {
        for (size_t i = 0; i <= m->back; i++) {
            qn_items *s = &m->steps[(m->at + STEPS - i) % STEPS];
            for (size_t k = 0; k < s->n; k++)
                s->v[k].stack = s->v[k].stack > 0 ? to[s->v[k].stack] : 0;
            qn__items_sort(s);
        }
        qn__frames_free(f);
        *f = fresh;
        m->sweep = f->n * 2 + 4096;
    } else {
        qn__frames_free(&fresh);
    }
    qn_free(to);
    return ok;
}

/* scratch[which] becomes the next position. */
static void advance(qn_matcher *m, int which)
{
    m->at = (m->at + 1) % STEPS;
    m->back = m->back < STEPS - 1 ? m->back + 1 : m->back;
    qn_items old = m->steps[m->at];
    m->steps[m->at] = m->scratch[which];
    m->scratch[which] = old;
    m->masked = false;
}

bool qn__matcher_accept_bytes(qn_matcher *m, const char *bytes, size_t n)
{
    const qn_items *from = &m->steps[m->at];
    int which = 0;
    if (m->frames.n > m->sweep && !sweep(m))
        return false;
    if (!n) { /* a step that changes nothing, so that it can be taken back as any */
        qn_items *s = &m->scratch[0];
        if (!qn__grow((void **)&s->v, &s->cap, from->n, sizeof *s->v))
            return false;
        if (from->n)
            memcpy(s->v, from->v, from->n * sizeof *s->v);
        s->n = from->n;
        s->ended = from->ended;
    }
    for (size_t i = 0; i < n; i++) {
        which = (int)(i & 1);
        qn_items *to = &m->scratch[which];
        if (qn__items_step(m->g, &m->frames, &m->closure, from, (uint8_t)bytes[i], to) || (!to->n && !to->ended))
            return false;
        from = to;
    }
    advance(m, which);
    return true;
}

static bool named(const qn_grammar *g, int32_t token)
{
    size_t lo = 0, hi = g->n_named;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (g->named[mid] < token)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < g->n_named && g->named[lo] == token;
}

bool qn__matcher_accept(qn_matcher *m, int32_t token)
{
    const qn_token_trie *t = m->g->trie;
    if (!t || token < 0 || token >= t->n_vocab)
        return false;
    if (named(m->g, token)) {
        qn_items *to = &m->scratch[0];
        if (!qn__items_step_token(m->g, &m->frames, &m->closure, &m->steps[m->at], token, to) && (to->n || to->ended)) {
            advance(m, 0);
            return true;
        }
    }
    for (size_t i = 0; i < t->n_ends; i++)
        if (t->ends[i] == token) {
            if (!m->steps[m->at].ended)
                return false;
            m->scratch[0].n = 0; /* nothing but another end may follow */
            m->scratch[0].ended = true;
            advance(m, 0);
            return true;
        }
    size_t n = t->at[token + 1] - t->at[token];
    return n && !named(m->g, token) && qn__matcher_accept_bytes(m, (const char *)t->text + t->at[token], n);
}

void qn__matcher_rewind(qn_matcher *m, size_t n)
{
    n = n < m->back ? n : m->back;
    m->at = (m->at + STEPS - n) % STEPS;
    m->back -= n;
    m->masked = m->masked && !n;
}
