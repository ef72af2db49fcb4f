/* grammar_stack.c - stacks of frames and the places that a matcher may be in: what follows without a byte (units entered,
 * units left), and one byte's step. Shared by matchers, whose stacks are real, and by the masks, whose stacks begin at an
 * unknown bottom. */
#include <stdlib.h>

#include "text/grammar_int.h"

/* ---- frames ---- */

bool qn__frames_init(qn_frames *f, uint32_t many)
{
    *f = (qn_frames){.mask = 63, .many = many};
    f->slots = qn__alloc(64 * sizeof *f->slots);
    if (!f->slots || !qn__grow((void **)&f->v, &f->cap, 64, sizeof *f->v)) {
        qn__frames_free(f);
        return false;
    }
    qn__frames_clear(f);
    return true;
}

void qn__frames_free(qn_frames *f)
{
    qn_free(f->v);
    qn_free(f->slots);
    *f = (qn_frames){0};
}

void qn__frames_clear(qn_frames *f)
{
    memset(f->slots, -1, ((size_t)f->mask + 1) * sizeof *f->slots);
    f->v[0] = (qn_frame){.parent = -1};
    f->n = 1;
}

static uint32_t frame_hash(const qn_frame *x)
{
    uint64_t h = ((uint64_t)(uint32_t)x->parent << 32 | x->push) * 0x9E3779B97F4A7C15u;
    h = (h ^ (h >> 29) ^ x->a) * 0xD6E8FEB86659FD93u;
    h = (h ^ (h >> 32) ^ x->b) * 0xD6E8FEB86659FD93u;
    return (uint32_t)(h >> 32);
}

static bool frames_rehash(qn_frames *f)
{
    uint32_t mask = f->mask * 2 + 1;
    int32_t *slots = qn__alloc(((size_t)mask + 1) * sizeof *slots);
    if (!slots)
        return false;
    memset(slots, -1, ((size_t)mask + 1) * sizeof *slots);
    for (size_t i = 1; i < f->n; i++) {
        uint32_t at = frame_hash(&f->v[i]) & mask;
        while (slots[at] >= 0)
            at = (at + 1) & mask;
        slots[at] = (int32_t)i;
    }
    qn_free(f->slots);
    f->slots = slots;
    f->mask = mask;
    return true;
}


int32_t qn__frames_push(qn_frames *f, qn_frame x)
{
    uint32_t at = frame_hash(&x) & f->mask;
    for (; f->slots[at] >= 0; at = (at + 1) & f->mask) {
        const qn_frame *o = &f->v[f->slots[at]];
        if (o->parent == x.parent && o->push == x.push && o->a == x.a && o->b == x.b)
            return f->slots[at];
    }
    if (f->n >= QN_FRAMES_MAX)
        return -2;
    if (!qn__grow((void **)&f->v, &f->cap, f->n + 1, sizeof *f->v))
        return -1;
    f->v[f->n] = x;
    f->slots[at] = (int32_t)f->n++;
    int32_t id = (int32_t)f->n - 1;
    if (f->n * 2 > f->mask && !frames_rehash(f)) {
        f->slots[at] = -1; /* it was the last of its cluster */
        f->n--;
        return -1;
    }
    return id;
}

/* ---- what follows without a byte ---- */

void qn__closure_free(qn_closure *c)
{
    qn_free(c->todo);
    qn_free(c->seen);
    qn_free(c->stamp);
    *c = (qn_closure){0};
}

static bool closure_grow(qn_closure *c)
{
    uint32_t mask = c->seen_mask ? c->seen_mask * 2 + 1 : 127;
    qn_item *seen = qn__alloc(((size_t)mask + 1) * sizeof *seen);
    uint32_t *stamp = qn__calloc((size_t)mask + 1, sizeof *stamp);
    if (!seen || !stamp) {
        qn_free(seen);
        qn_free(stamp);
        return false;
    }
    for (size_t i = 0; c->seen_mask && i <= c->seen_mask; i++)
        if (c->stamp[i] == c->epoch) {
            uint32_t at = ((uint32_t)c->seen[i].state * 0x9E3779B1u ^ (uint32_t)c->seen[i].stack * 0x85EBCA6Bu) >> 7 & mask;
            while (stamp[at])
                at = (at + 1) & mask;
            stamp[at] = 1;
            seen[at] = c->seen[i];
        }
    qn_free(c->seen);
    qn_free(c->stamp);
    c->seen = seen;
    c->stamp = stamp;
    c->epoch = 1;
    c->seen_mask = mask;
    return true;
}

bool qn__closure_begin(qn_closure *c, qn_items *out)
{
    out->n = 0;
    out->ended = false;
    c->n_todo = 0;
    c->n_seen = 0;
    if (!c->seen_mask)
        return closure_grow(c);
    if (++c->epoch == 0) {
        memset(c->stamp, 0, ((size_t)c->seen_mask + 1) * sizeof *c->stamp);
        c->epoch = 1;
    }
    return true;
}

/* Note that (state, stack) was reached; it goes on the list of what is to be followed when that is news. */
static qn_follow reach(qn_closure *c, int32_t state, int32_t stack)
{
    if (stack < 0)
        return stack == -1 ? QN_FOLLOW_MEMORY : QN_FOLLOW_LIMIT;
    uint32_t at = ((uint32_t)state * 0x9E3779B1u ^ (uint32_t)stack * 0x85EBCA6Bu) >> 7 & c->seen_mask;
    for (; c->stamp[at] == c->epoch; at = (at + 1) & c->seen_mask)
        if (c->seen[at].state == state && c->seen[at].stack == stack)
            return QN_FOLLOW_OK;
    if (c->n_seen >= 4 * QN_ITEMS_MAX)
        return QN_FOLLOW_LIMIT;
    if (!qn__grow((void **)&c->todo, &c->cap_todo, c->n_todo + 1, sizeof *c->todo))
        return QN_FOLLOW_MEMORY;
    c->stamp[at] = c->epoch;
    c->seen[at] = c->todo[c->n_todo++] = (qn_item){state, stack};
    return ++c->n_seen * 2 > c->seen_mask && !closure_grow(c) ? QN_FOLLOW_MEMORY : QN_FOLLOW_OK;
}

static uint32_t one_less(const qn_frames *f, uint32_t v)
{
    return v == UINT32_MAX || v == 0 || (f->many && v >= f->many) ? v : v - 1;
}

/* The members that may come next, each with its own frame. a, b: what was seen. */
static qn_follow members(const qn_grammar *g, qn_frames *f, qn_closure *c, uint32_t push, uint64_t a, uint32_t b, int32_t parent,
                         bool rest)
{
    const qn_members *m = &g->collects[g->pushes[push].collect];
    bool bounded = m->max != UINT32_MAX;
    uint32_t next = bounded || b < m->min ? b + 1 : b;
    qn_follow r = QN_FOLLOW_OK;
    for (uint32_t i = 0; i < m->n && !r; i++) {
        uint64_t bit = i < m->n_named ? (uint64_t)1 << i : 0;
        if (a & bit)
            continue;
        uint64_t seen = a | bit;
        if (bounded && next + (uint32_t)__builtin_popcountll(m->required & ~seen) > m->max)
            continue;
        r = reach(c, g->starts[m->first + 2 * i + rest], qn__frames_push(f, (qn_frame){parent, push, seen, next}));
    }
    return r;
}

static qn_follow take_off(const qn_grammar *g, qn_frames *f, qn_closure *c, uint32_t push, uint64_t a, uint32_t b, int32_t parent)
{
    const qn_push *p = &g->pushes[push];
    if (p->kind == QN_FRAME_CALL)
        return reach(c, p->ret, parent);
    qn_follow r = QN_FOLLOW_OK;
    if (p->kind == QN_FRAME_COUNT) {
        uint32_t lo = one_less(f, (uint32_t)(a >> 32)), hi = one_less(f, (uint32_t)a);
        if (lo == 0)
            r = reach(c, p->ret, parent);
        if (!r && hi > 0)
            r = reach(c, p->start, qn__frames_push(f, (qn_frame){parent, push, (uint64_t)lo << 32 | hi, 0}));
        return r;
    }
    const qn_members *m = &g->collects[p->collect];
    if (!(m->required & ~a) && b >= m->min)
        r = reach(c, p->ret, parent);
    return r ? r : members(g, f, c, push, a, b, parent, true);
}

static qn_follow follow(const qn_grammar *g, qn_frames *f, qn_closure *c, qn_items *out)
{
    while (c->n_todo) {
        qn_item at = c->todo[--c->n_todo];
        const qn_state *s = at.state < 0 ? NULL : &g->states[at.state];
        qn_follow r = QN_FOLLOW_OK;
        if (s && (s->n_bytes || s->n_tokens)) {
            if (out->n >= QN_ITEMS_MAX)
                return QN_FOLLOW_LIMIT;
            if (!qn__grow((void **)&out->v, &out->cap, out->n + 1, sizeof *out->v))
                return QN_FOLLOW_MEMORY;
            out->v[out->n++] = at;
        }
        for (uint32_t i = 0; s && i < s->n_pushes && !r; i++) {
            const struct qn_push_edge *e = &g->push_of[s->push + i];
            const qn_push *p = &g->pushes[e->push];
            uint32_t lo = e->min, hi = e->max;
            if (f->many) {
                lo = lo < f->many ? lo : f->many;
                hi = hi < f->many ? hi : f->many;
            }
            if (p->kind == QN_FRAME_CALL)
                r = reach(c, p->start, p->ret < 0 ? at.stack : qn__frames_push(f, (qn_frame){at.stack, e->push, 0, 0}));
            else if (p->kind == QN_FRAME_COUNT)
                r = reach(c, p->start, qn__frames_push(f, (qn_frame){at.stack, e->push, (uint64_t)lo << 32 | hi, 0}));
            else
                r = members(g, f, c, e->push, 0, 0, at.stack, false);
        }
        if (!r && (!s || s->final)) {
            if (at.stack == 0) {
                out->ended = true;
            } else {
                qn_frame x = f->v[at.stack];
                r = take_off(g, f, c, x.push, x.a, x.b, x.parent);
            }
        }
        if (r)
            return r;
    }
    return QN_FOLLOW_OK;
}

qn_follow qn__items_add(const qn_grammar *g, qn_frames *f, qn_closure *c, int32_t state, int32_t stack, qn_items *out)
{
    qn_follow r = reach(c, state, stack);
    return r ? r : follow(g, f, c, out);
}

qn_follow qn__items_pop(const qn_grammar *g, qn_frames *f, qn_closure *c, uint32_t push, uint64_t a, uint32_t b, int32_t parent,
                        qn_items *out)
{
    qn_follow r = take_off(g, f, c, push, a, b, parent);
    return r ? r : follow(g, f, c, out);
}

static int by_item(const void *a, const void *b)
{
    const qn_item *x = a, *y = b;
    return x->stack != y->stack ? (x->stack > y->stack) - (x->stack < y->stack) : (x->state > y->state) - (x->state < y->state);
}

void qn__items_sort(qn_items *s)
{
    if (s->n > 1)
        qsort(s->v, s->n, sizeof *s->v, by_item);
}

/* ---- steps ---- */

qn_follow qn__items_step(const qn_grammar *g, qn_frames *f, qn_closure *c, const qn_items *in, uint8_t b, qn_items *out)
{
    if (!qn__closure_begin(c, out))
        return QN_FOLLOW_MEMORY;
    for (size_t i = 0; i < in->n; i++) {
        const qn_state *s = &g->states[in->v[i].state];
        const struct qn_byte_edge *e = g->bytes + s->byte;
        uint32_t lo = 0, hi = s->n_bytes;
        while (lo < hi) {
            uint32_t mid = (lo + hi) / 2;
            if (e[mid].hi < b)
                lo = mid + 1;
            else
                hi = mid;
        }
        if (lo == s->n_bytes || e[lo].lo > b)
            continue;
        qn_follow r = qn__items_add(g, f, c, e[lo].to, in->v[i].stack, out);
        if (r)
            return r;
    }
    qn__items_sort(out);
    return QN_FOLLOW_OK;
}

qn_follow qn__items_step_token(const qn_grammar *g, qn_frames *f, qn_closure *c, const qn_items *in, int32_t token, qn_items *out)
{
    if (!qn__closure_begin(c, out))
        return QN_FOLLOW_MEMORY;
    for (size_t i = 0; i < in->n; i++) {
        const qn_state *s = &g->states[in->v[i].state];
        for (uint32_t k = 0; k < s->n_tokens; k++)
            if (g->tokens[s->token + k].token == token) {
                qn_follow r = qn__items_add(g, f, c, g->tokens[s->token + k].to, in->v[i].stack, out);
                if (r)
                    return r;
            }
    }
    qn__items_sort(out);
    return QN_FOLLOW_OK;
}
