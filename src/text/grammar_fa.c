/* grammar_fa.c - finite automata over symbols: from nondeterministic to deterministic, and what is asked of languages
 * (both, either, one without the other, how long). Owns the bound on subset construction: an expression that needs too many
 * states is refused, and how much work was done decides that, not the clock. */
#include <stdlib.h>

#include "text/grammar_int.h"

void qn__fa_free(qn_fa *f)
{
    qn_free(f->states);
    qn_free(f->edges);
    *f = (qn_fa){0};
}

void qn__nfa_free(qn_nfa *n)
{
    qn_free(n->nodes);
    *n = (qn_nfa){0};
}

int32_t qn__nfa_node(qn_nfa *n)
{
    if (n->failed)
        return 0;
    if (n->limit && n->n >= n->limit)
        n->failed = n->too_large = true;
    else if (!qn__grow((void **)&n->nodes, &n->cap, n->n + 1, sizeof *n->nodes))
        n->failed = true;
    if (n->failed)
        return 0;
    n->nodes[n->n] = (struct qn_nfa_node){.to = -1, .eps = {-1, -1}};
    return (int32_t)n->n++;
}

/* A node that has room for a step or an empty step, reached from `from` without a symbol. */
static int32_t room(qn_nfa *n, int32_t from, bool step)
{
    for (;;) {
        if (n->failed)
            return 0;
        struct qn_nfa_node *x = &n->nodes[from];
        if (step ? x->to < 0 : x->eps[0] < 0 || x->eps[1] < 0)
            return from;
        if (x->eps[1] < 0) { /* the step is taken: hang a fresh node on */
            int32_t y = qn__nfa_node(n);
            if (n->failed)
                return 0;
            n->nodes[from].eps[n->nodes[from].eps[0] < 0 ? 0 : 1] = y;
            return y;
        }
        /* Both empty steps are taken: put a fresh node between. */
        int32_t y = qn__nfa_node(n);
        if (n->failed)
            return 0;
        n->nodes[y].eps[0] = n->nodes[from].eps[1];
        n->nodes[from].eps[1] = y;
        from = y;
    }
}

void qn__nfa_step(qn_nfa *n, int32_t from, uint32_t lo, uint32_t hi, int32_t to)
{
    int32_t at = room(n, from, true);
    if (n->failed)
        return;
    n->nodes[at].lo = lo;
    n->nodes[at].hi = hi;
    n->nodes[at].to = to;
}

void qn__nfa_eps(qn_nfa *n, int32_t from, int32_t to)
{
    int32_t at = room(n, from, false);
    if (n->failed)
        return;
    n->nodes[at].eps[n->nodes[at].eps[0] < 0 ? 0 : 1] = to;
}

/* ---- subset construction ----
 *
 * A set is a sorted run of nfa nodes that have a step, or are the end; the empty steps between them are gone. */
typedef struct subset {
    const qn_nfa *n;
    int32_t end;
    int32_t *pool;       /* the sets, one behind the other */
    size_t n_pool, cap_pool;
    struct set {
        size_t at;
        uint32_t n;
        uint32_t hash;
    } * sets;            /* [states] */
    size_t n_sets, cap_sets;
    int32_t *slots;      /* set by content */
    uint32_t mask;
    int32_t *single;     /* [nfa nodes] the state of closure({node}), -1 unknown */
    uint32_t *stamp, epoch;
    int32_t *todo;
    size_t *work;
    qn_range *active;    /* edges of the set at hand */
    size_t cap_active;
    uint32_t *cuts;
    size_t cap_cuts;
    int32_t *targets;
    size_t cap_targets;
} subset;

static int by_int(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}
static int by_uint(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}
static int by_lo(const void *a, const void *b)
{
    const qn_range *x = a, *y = b;
    return x->lo != y->lo ? (x->lo > y->lo) - (x->lo < y->lo) : (x->to > y->to) - (x->to < y->to);
}

static bool spend(size_t *work, size_t n)
{
    if (*work < n) {
        *work = 0;
        return false;
    }
    *work -= n;
    return true;
}

/* Steps of sorting n numbers. */
static size_t sorting(size_t n)
{
    size_t depth = 0;
    while (n >> depth)
        depth++;
    return n * depth;
}

enum { SUBSET_MEMORY = -1, SUBSET_LIMIT = -2 };

static bool rehash(subset *s)
{
    uint32_t mask = s->mask * 2 + 1;
    int32_t *slots = qn__alloc(((size_t)mask + 1) * sizeof *slots);
    if (!slots)
        return false;
    memset(slots, -1, ((size_t)mask + 1) * sizeof *slots);
    for (size_t i = 0; i < s->n_sets; i++) {
        uint32_t at = s->sets[i].hash & mask;
        while (slots[at] >= 0)
            at = (at + 1) & mask;
        slots[at] = (int32_t)i;
    }
    qn_free(s->slots);
    s->slots = slots;
    s->mask = mask;
    return true;
}

/* The state of the set that v[0..n) leads to without symbols; SUBSET_ when there is none to be had. */
static int32_t closure(subset *s, const int32_t *v, size_t n)
{
    if (n == 1 && s->single[v[0]] >= 0)
        return s->single[v[0]];
    size_t start = s->n_pool, n_todo = 0;
    s->epoch++;
    for (size_t i = 0; i < n; i++)
        if (s->stamp[v[i]] != s->epoch) {
            s->stamp[v[i]] = s->epoch;
            s->todo[n_todo++] = v[i];
        }
    while (n_todo) {
        int32_t at = s->todo[--n_todo];
        const struct qn_nfa_node *x = &s->n->nodes[at];
        if (!spend(s->work, 1))
            return SUBSET_LIMIT;
        if (x->to >= 0 || at == s->end) {
            if (!qn__grow((void **)&s->pool, &s->cap_pool, s->n_pool + 1, sizeof *s->pool))
                return SUBSET_MEMORY;
            s->pool[s->n_pool++] = at;
        }
        for (int i = 0; i < 2; i++)
            if (x->eps[i] >= 0 && s->stamp[x->eps[i]] != s->epoch) {
                s->stamp[x->eps[i]] = s->epoch;
                s->todo[n_todo++] = x->eps[i];
            }
    }
    size_t len = s->n_pool - start;
    if (!spend(s->work, sorting(len)))
        return SUBSET_LIMIT;
    if (len > 1)
        qsort(s->pool + start, len, sizeof *s->pool, by_int);
    uint32_t h = (uint32_t)qn__hash(s->pool + start, len * sizeof *s->pool), at = h & s->mask;
    int32_t id = -1;
    for (; s->slots[at] >= 0; at = (at + 1) & s->mask) {
        const struct set *o = &s->sets[s->slots[at]];
        if (o->hash == h && o->n == len && !memcmp(s->pool + o->at, s->pool + start, len * sizeof *s->pool)) {
            id = s->slots[at];
            s->n_pool = start;
            break;
        }
    }
    if (id < 0) {
        if (!qn__grow((void **)&s->sets, &s->cap_sets, s->n_sets + 1, sizeof *s->sets))
            return SUBSET_MEMORY;
        id = (int32_t)s->n_sets;
        s->sets[s->n_sets++] = (struct set){start, (uint32_t)len, h};
        s->slots[at] = id;
        if (s->n_sets * 2 > s->mask && !rehash(s))
            return SUBSET_MEMORY;
    }
    if (n == 1)
        s->single[v[0]] = id;
    return id;
}

static bool put_edge(qn_fa *f, size_t first, uint32_t lo, uint32_t hi, int32_t to)
{
    if (f->n_edges > first) {
        qn_range *last = &f->edges[f->n_edges - 1];
        if (last->to == to && last->hi + 1 == lo) {
            last->hi = hi;
            return true;
        }
    }
    if (!qn__grow((void **)&f->edges, &f->cap_edges, f->n_edges + 1, sizeof *f->edges))
        return false;
    f->edges[f->n_edges++] = (qn_range){lo, hi, to};
    return true;
}

/* The edges of set `id`: cut the symbols where any of its steps begins or ends. */
static int32_t expand(subset *s, int32_t id, qn_fa *out)
{
    size_t n = 0, n_cuts = 0, first = out->n_edges;
    bool final = false;
    for (uint32_t i = 0; i < s->sets[id].n; i++) {
        int32_t at = s->pool[s->sets[id].at + i];
        const struct qn_nfa_node *x = &s->n->nodes[at];
        final |= at == s->end;
        if (x->to < 0)
            continue;
        if (!qn__grow((void **)&s->active, &s->cap_active, n + 1, sizeof *s->active) ||
            !qn__grow((void **)&s->cuts, &s->cap_cuts, n_cuts + 2, sizeof *s->cuts) ||
            !qn__grow((void **)&s->targets, &s->cap_targets, n + 1, sizeof *s->targets))
            return SUBSET_MEMORY;
        s->active[n++] = (qn_range){x->lo, x->hi, x->to};
        s->cuts[n_cuts++] = x->lo;
        s->cuts[n_cuts++] = x->hi + 1;
    }
    if (!spend(s->work, 1 + sorting(n) + sorting(n_cuts)))
        return SUBSET_LIMIT;
    if (n > 1) {
        qsort(s->active, n, sizeof *s->active, by_lo);
        qsort(s->cuts, n_cuts, sizeof *s->cuts, by_uint);
    }
    size_t live = 0, next = 0; /* active[0..live) cover the cut at hand; active[next..) begin later */
    for (size_t c = 0; c + 1 < n_cuts; c++) {
        uint32_t lo = s->cuts[c], hi = s->cuts[c + 1];
        if (lo == hi)
            continue;
        size_t keep = 0;
        for (size_t i = 0; i < live; i++)
            if (s->active[i].hi >= lo)
                s->active[keep++] = s->active[i];
        live = keep;
        for (; next < n && s->active[next].lo == lo; next++)
            s->active[live++] = s->active[next]; /* live <= next always */
        if (!live)
            continue;
        if (!spend(s->work, live))
            return SUBSET_LIMIT;
        for (size_t i = 0; i < live; i++)
            s->targets[i] = s->active[i].to;
        int32_t to = closure(s, s->targets, live);
        if (to < 0)
            return to;
        if (!put_edge(out, first, lo, hi - 1, to))
            return SUBSET_MEMORY;
    }
    if (!qn__grow((void **)&out->states, &out->cap_states, out->n_states + 1, sizeof *out->states))
        return SUBSET_MEMORY;
    out->states[out->n_states++] = (struct qn_fa_state){(uint32_t)first, (uint32_t)(out->n_edges - first), final};
    return 0;
}

qn_status qn__nfa_determinise(const qn_nfa *n, int32_t start, int32_t end, size_t *work, const char *where, qn_fa *out, qn_err *err)
{
    subset s = {.n = n, .end = end, .work = work, .mask = 63};
    qn_fa f = {0};
    int32_t r = SUBSET_MEMORY;
    if (n->failed) {
        r = n->too_large ? SUBSET_LIMIT : SUBSET_MEMORY;
        goto out;
    }
    s.slots = qn__alloc(64 * sizeof *s.slots);
    s.single = qn__alloc(n->n * sizeof *s.single);
    s.stamp = qn__calloc(n->n, sizeof *s.stamp);
    s.todo = qn__alloc(n->n * sizeof *s.todo);
    if (!s.slots || !s.single || !s.stamp || !s.todo || !qn__grow((void **)&s.pool, &s.cap_pool, 64, sizeof *s.pool))
        goto out;
    memset(s.slots, -1, 64 * sizeof *s.slots);
    memset(s.single, -1, n->n * sizeof *s.single);
    r = closure(&s, &start, 1);
    for (size_t i = 0; r >= 0 && i < s.n_sets; i++)
        r = i < QN_GRAMMAR_STATES_MAX ? expand(&s, (int32_t)i, &f) : SUBSET_LIMIT;
out:
    qn_free(s.pool);
    qn_free(s.sets);
    qn_free(s.slots);
    qn_free(s.single);
    qn_free(s.stamp);
    qn_free(s.todo);
    qn_free(s.active);
    qn_free(s.cuts);
    qn_free(s.targets);
    if (r < 0) {
        qn__fa_free(&f);
        return r == SUBSET_MEMORY ? qn__fail_mem(err, where)
                                  : qn__fail(err, QN_ELIMIT, where,
                                             "it needs too many states; make its repeats, alternatives or patterns simpler");
    }
    *out = f;
    return QN_OK;
}

/* ---- what is asked of languages ---- */

qn_status qn__fa_trim(qn_fa *f, qn_err *err)
{
    size_t n = f->n_states, n_rev = f->n_edges;
    if (!n)
        return QN_OK;
    uint32_t *first = qn__calloc(n + 1, sizeof *first);
    int32_t *from = qn__alloc((n_rev + 1) * sizeof *from), *todo = qn__alloc(n * sizeof *todo), *id = qn__alloc(n * sizeof *id);
    qn_status st = QN_OK;
    if (!first || !from || !todo || !id) {
        st = qn__fail_mem(err, "grammar");
        goto out;
    }
    for (size_t i = 0; i < n_rev; i++)
        first[f->edges[i].to + 1]++;
    for (size_t i = 0; i < n; i++)
        first[i + 1] += first[i];
    for (size_t q = 0; q < n; q++)
        for (uint32_t e = 0; e < f->states[q].n_edges; e++) {
            int32_t to = f->edges[f->states[q].edge + e].to;
            from[--first[to + 1]] = (int32_t)q; /* leaves first[to+1] at the group's begin */
        }
    size_t n_todo = 0;
    for (size_t q = 0; q < n; q++) {
        id[q] = f->states[q].final ? 0 : -1;
        if (f->states[q].final)
            todo[n_todo++] = (int32_t)q;
    }
    while (n_todo) {
        int32_t q = todo[--n_todo];
        size_t end = (size_t)q + 2 <= n ? first[q + 2] : n_rev;
        for (size_t i = first[q + 1]; i < end; i++)
            if (id[from[i]] < 0) {
                id[from[i]] = 0;
                todo[n_todo++] = from[i];
            }
    }
    if (id[0] < 0) {
        qn__fa_free(f);
        goto out;
    }
    int32_t count = 0;
    for (size_t q = 0; q < n; q++)
        if (id[q] >= 0)
            id[q] = count++;
    size_t e_out = 0, q_out = 0;
    for (size_t q = 0; q < n; q++) {
        if (id[q] < 0)
            continue;
        struct qn_fa_state s = f->states[q];
        size_t begin = e_out;
        for (uint32_t e = 0; e < s.n_edges; e++) {
            qn_range r = f->edges[s.edge + e];
            if (id[r.to] >= 0) {
                r.to = id[r.to];
                f->edges[e_out++] = r;
            }
        }
        f->states[q_out++] = (struct qn_fa_state){(uint32_t)begin, (uint32_t)(e_out - begin), s.final};
    }
    f->n_states = q_out;
    f->n_edges = e_out;
out:
    qn_free(first);
    qn_free(from);
    qn_free(todo);
    qn_free(id);
    return st;
}

typedef struct pairs { /* states of a product: (a, b), -1 where one has come to its end */
    struct pair {
        int32_t a, b;
    } * v;
    size_t n, cap;
    int32_t *slots;
    uint32_t mask;
} pairs;

static int32_t pair_id(pairs *p, int32_t a, int32_t b)
{
    if ((p->n + 1) * 2 > p->mask) {
        uint32_t mask = p->mask ? p->mask * 2 + 1 : 63;
        int32_t *slots = qn__alloc(((size_t)mask + 1) * sizeof *slots);
        if (!slots)
            return -1;
        memset(slots, -1, ((size_t)mask + 1) * sizeof *slots);
        for (size_t i = 0; i < p->n; i++) {
            uint32_t at = (uint32_t)qn__hash(&p->v[i], sizeof *p->v) & mask;
            while (slots[at] >= 0)
                at = (at + 1) & mask;
            slots[at] = (int32_t)i;
        }
        qn_free(p->slots);
        p->slots = slots;
        p->mask = mask;
    }
    struct pair x = {a, b};
    uint32_t at = (uint32_t)qn__hash(&x, sizeof x) & p->mask;
    for (; p->slots[at] >= 0; at = (at + 1) & p->mask)
        if (p->v[p->slots[at]].a == a && p->v[p->slots[at]].b == b)
            return p->slots[at];
    if (!qn__grow((void **)&p->v, &p->cap, p->n + 1, sizeof *p->v))
        return -1;
    p->v[p->n] = x;
    p->slots[at] = (int32_t)p->n;
    return (int32_t)p->n++;
}

/* Edges of the pair number `at`; false: no memory. */
static bool product_state(pairs *p, size_t at, const qn_fa *a, const qn_fa *b, qn_fa_op op, qn_fa *f)
{
    struct pair x = p->v[at];
    const struct qn_fa_state none = {0}, *sa = x.a < 0 ? &none : &a->states[x.a], *sb = x.b < 0 ? &none : &b->states[x.b];
    size_t first = f->n_edges;
    uint32_t i = 0, j = 0, at_sym = 0;
    while (i < sa->n_edges || j < sb->n_edges) {
        const qn_range *ea = i < sa->n_edges ? &a->edges[sa->edge + i] : NULL, *eb = j < sb->n_edges ? &b->edges[sb->edge + j] : NULL;
        uint32_t la = ea ? (ea->lo > at_sym ? ea->lo : at_sym) : UINT32_MAX, lb = eb ? (eb->lo > at_sym ? eb->lo : at_sym) : UINT32_MAX;
        uint32_t lo = la < lb ? la : lb, hi = UINT32_MAX - 1;
        bool in_a = ea && la == lo, in_b = eb && lb == lo;
        if (ea)
            hi = in_a ? (ea->hi < hi ? ea->hi : hi) : (la - 1 < hi ? la - 1 : hi);
        if (eb)
            hi = in_b ? (eb->hi < hi ? eb->hi : hi) : (lb - 1 < hi ? lb - 1 : hi);
        int32_t ta = in_a ? ea->to : -1, tb = in_b ? eb->to : -1;
        bool live = op == QN_FA_AND ? ta >= 0 && tb >= 0 : op == QN_FA_OR ? true : ta >= 0;
        if (live) {
            int32_t to = pair_id(p, ta, tb);
            if (to < 0 || !put_edge(f, first, lo, hi, to))
                return false;
        }
        at_sym = hi + 1;
        i += ea && ea->hi < at_sym;
        j += eb && eb->hi < at_sym;
    }
    bool fa = x.a >= 0 && sa->final, fb = x.b >= 0 && sb->final;
    if (!qn__grow((void **)&f->states, &f->cap_states, f->n_states + 1, sizeof *f->states))
        return false;
    f->states[f->n_states++] = (struct qn_fa_state){(uint32_t)first, (uint32_t)(f->n_edges - first),
                                                    op == QN_FA_AND ? fa && fb : op == QN_FA_OR ? fa || fb : fa && !fb};
    return true;
}

qn_status qn__fa_product(const qn_fa *a, const qn_fa *b, qn_fa_op op, size_t *work, const char *where, qn_fa *out, qn_err *err)
{
    pairs p = {0};
    qn_fa f = {0};
    qn_status st = QN_OK;
    if ((!a->n_states && op != QN_FA_OR) || (!b->n_states && op == QN_FA_AND) || (!a->n_states && !b->n_states)) {
        *out = f;
        return QN_OK;
    }
    if (pair_id(&p, a->n_states ? 0 : -1, b->n_states ? 0 : -1) < 0)
        st = qn__fail_mem(err, where);
    for (size_t i = 0; !st && i < p.n; i++) {
        size_t before = f.n_edges;
        if (!product_state(&p, i, a, b, op, &f))
            st = qn__fail_mem(err, where);
        else if (!spend(work, 8 + 2 * (f.n_edges - before)) || p.n > QN_GRAMMAR_STATES_MAX / 4)
            st = qn__fail(err, QN_ELIMIT, where, "what its patterns and lengths ask for together needs too many states");
    }
    if (!st)
        st = qn__fa_trim(&f, err);
    qn_free(p.v);
    qn_free(p.slots);
    if (st) {
        qn__fa_free(&f);
        return st;
    }
    *out = f;
    return QN_OK;
}

qn_status qn__fa_any(uint32_t min, uint32_t max, qn_fa *out, qn_err *err)
{
    qn_fa f = {0};
    uint32_t n = max == UINT32_MAX ? min : max;
    for (uint32_t i = 0; i <= n; i++) {
        size_t first = f.n_edges;
        int32_t to = i < n ? (int32_t)i + 1 : (int32_t)i;
        bool more = i < n || max == UINT32_MAX;
        if (!qn__grow((void **)&f.states, &f.cap_states, f.n_states + 1, sizeof *f.states) ||
            (more && (!put_edge(&f, first, 0, 0xD7FF, to) || !put_edge(&f, first, 0xE000, QN_CHAR_MAX, to)))) {
            qn__fa_free(&f);
            return qn__fail_mem(err, "grammar");
        }
        f.states[f.n_states++] = (struct qn_fa_state){(uint32_t)first, (uint32_t)(f.n_edges - first), i >= min};
    }
    *out = f;
    return QN_OK;
}

qn_status qn__fa_lengths(const qn_fa *f, uint32_t *min, uint32_t *max, qn_err *err)
{
    size_t n = f->n_states;
    uint32_t *dist = qn__alloc(n * sizeof *dist), *in = qn__calloc(n, sizeof *in);
    int32_t *todo = qn__alloc(n * sizeof *todo);
    qn_status st = QN_OK;
    if (!dist || !in || !todo) {
        st = qn__fail_mem(err, "grammar");
        goto out;
    }
    size_t head = 0, tail = 0, done = 0;
    uint32_t least = UINT32_MAX, most = 0;
    memset(dist, 0xFF, n * sizeof *dist);
    dist[0] = 0;
    todo[tail++] = 0;
    while (head < tail) {
        int32_t q = todo[head++];
        if (f->states[q].final && dist[q] < least)
            least = dist[q];
        for (uint32_t e = 0; e < f->states[q].n_edges; e++) {
            int32_t to = f->edges[f->states[q].edge + e].to;
            in[to]++;
            if (dist[to] == UINT32_MAX) {
                dist[to] = dist[q] + 1;
                todo[tail++] = to;
            }
        }
    }
    /* The longest: in topological order; what is left over lies on a cycle. */
    memset(dist, 0, n * sizeof *dist);
    head = tail = 0;
    if (!in[0])
        todo[tail++] = 0;
    while (head < tail) {
        int32_t q = todo[head++];
        done++;
        if (f->states[q].final && dist[q] > most)
            most = dist[q];
        for (uint32_t e = 0; e < f->states[q].n_edges; e++) {
            int32_t to = f->edges[f->states[q].edge + e].to;
            if (dist[q] + 1 > dist[to])
                dist[to] = dist[q] + 1;
            if (--in[to] == 0)
                todo[tail++] = to;
        }
    }
    *min = least;
    *max = done < n ? UINT32_MAX : most;
out:
    qn_free(dist);
    qn_free(in);
    qn_free(todo);
    return st;
}

bool qn__fa_accepts(const qn_fa *f, const char *s, size_t n)
{
    int32_t q = 0, cp = 0;
    if (!f->n_states)
        return false;
    for (size_t i = 0; i < n;) {
        i += qn__utf8_decode(s + i, n - i, &cp);
        int32_t to = -1;
        for (uint32_t e = 0; cp >= 0 && e < f->states[q].n_edges; e++) {
            const qn_range *r = &f->edges[f->states[q].edge + e];
            if (r->lo <= (uint32_t)cp && (uint32_t)cp <= r->hi)
                to = r->to;
        }
        if (to < 0)
            return false;
        q = to;
    }
    return f->states[q].final;
}

qn_status qn__fa_copy(const qn_fa *f, qn_fa *out, qn_err *err)
{
    qn_fa c = {.n_states = f->n_states, .n_edges = f->n_edges, .cap_states = f->n_states, .cap_edges = f->n_edges};
    c.states = qn__alloc(f->n_states * sizeof *c.states);
    c.edges = qn__alloc(f->n_edges * sizeof *c.edges);
    if (!c.states || !c.edges) {
        qn__fa_free(&c);
        return qn__fail_mem(err, "grammar");
    }
    if (f->n_states)
        memcpy(c.states, f->states, f->n_states * sizeof *c.states);
    if (f->n_edges)
        memcpy(c.edges, f->edges, f->n_edges * sizeof *c.edges);
    *out = c;
    return QN_OK;
}
