/* grammar_mask.c - which tokens may come next.
 *
 * Most tokens are decided by where the matcher is in its unit, whatever lies on the stack; that part is found once per place
 * and kept (the adaptive mask cache of Dong et al., "XGrammar", 2024). What is left are tokens in whose middle the unit ends:
 * for those the walk goes on with the frame below, and so on down; each of these continuations is kept, too:
 *
 *   place ──> node: tokens that stay inside; where in the token tree the unit may end
 *              │ frame on top (its push and what it holds)
 *              └──> node: further tokens; where that frame's unit may end
 *                    └──> ...                until no token reaches further down
 *
 * A mask is the union of a chain of nodes. A walk through the tree does not follow sets of places byte by byte: each set that
 * comes up is numbered and its 256 steps are remembered (a "local" automaton, made as it is used).
 *
 * Everything here can be thrown away and found again; it is, when it has grown past a bound. */
#include <stdlib.h>

#include "text/grammar_int.h"

enum {
    LOCALS_MAX = 16384,         /* numbered sets, each with a row of 1 KiB */
    CACHE_BYTES_MAX = 96 << 20, /* of masks */
    WORK_MAX = 6000000          /* steps of places in one mask: an ambiguous grammar gives up, not the clock */
};

enum { ROW_UNKNOWN = -2, ROW_DEAD = -1 };

typedef struct local { /* a set of places over an unknown bottom */
    qn_items items;    /* ended: the bottom may be popped here */
    int32_t *row;      /* [256] the set after a byte; NULL until asked for */
    uint32_t hash;
    int32_t node;      /* -1: no mask yet */
    int8_t stays;      /* 1: plain text leads back here (inside a string), 0: it does not, -1: not known yet */
} local;

typedef struct node {
    uint32_t *dense;   /* tokens as bits, or ... */
    int32_t *ids;      /* ... as a list */
    size_t n_ids;
    int32_t *roots;    /* tree nodes where the unit may end and tokens go on, ascending */
    size_t n_roots;
} node;

typedef struct child {
    uint64_t a;
    int32_t parent, node; /* node -1: free slot */
    uint32_t push, b;
} child;

struct qn_mask_cache {
    qn_lock lock;
    qn_frames frames;
    qn_closure closure;
    local *locals;
    int32_t *slots;
    uint32_t mask;
    size_t n_locals, cap_locals;
    node *nodes;
    size_t n_nodes, cap_nodes;
    child *children;
    uint32_t child_mask;
    size_t n_children, bytes, work;
    qn_items scratch, group;
    int32_t *path;     /* [max_depth + 2] local sets along the tree */
    uint32_t *bits;    /* [words] */
    int32_t *roots;
    size_t n_roots, cap_roots, words;
};

static void drop_all(qn_mask_cache *c)
{
    for (size_t i = 0; i < c->n_locals; i++) {
        qn_free(c->locals[i].items.v);
        qn_free(c->locals[i].row);
    }
    for (size_t i = 0; i < c->n_nodes; i++) {
        qn_free(c->nodes[i].dense);
        qn_free(c->nodes[i].ids);
        qn_free(c->nodes[i].roots);
    }
    c->n_locals = c->n_nodes = c->n_children = c->bytes = 0;
}

static void empty(qn_mask_cache *c)
{
    drop_all(c);
    qn__frames_clear(&c->frames);
    memset(c->slots, -1, ((size_t)c->mask + 1) * sizeof *c->slots);
    for (size_t i = 0; i <= c->child_mask; i++)
        c->children[i].node = -1;
}

void qn__mask_cache_close(qn_mask_cache *c)
{
    if (!c)
        return;
    drop_all(c);
    qn__lock_destroy(&c->lock);
    qn__frames_free(&c->frames);
    qn__closure_free(&c->closure);
    qn_free(c->locals);
    qn_free(c->slots);
    qn_free(c->nodes);
    qn_free(c->children);
    qn_free(c->scratch.v);
    qn_free(c->group.v);
    qn_free(c->path);
    qn_free(c->bits);
    qn_free(c->roots);
    qn_free(c);
}

qn_status qn__mask_cache_open(qn_grammar *g, qn_err *err)
{
    if (!g->trie)
        return QN_OK;
    qn_mask_cache *c = qn__calloc(1, sizeof *c);
    if (!c)
        return qn__fail_mem(err, "grammar");
    qn__lock_init(&c->lock);
    c->words = ((size_t)g->trie->n_vocab + 31) / 32;
    c->mask = 255;
    c->child_mask = 255;
    c->slots = qn__alloc(((size_t)c->mask + 1) * sizeof *c->slots);
    c->children = qn__alloc(((size_t)c->child_mask + 1) * sizeof *c->children);
    c->path = qn__alloc(((size_t)g->trie->max_depth + 2) * sizeof *c->path);
    c->bits = qn__calloc(c->words, sizeof *c->bits);
    /* One token cannot make more iterations than it has bytes: a counter that is larger might as well be endless. */
    if (!c->slots || !c->children || !c->path || !c->bits || !qn__frames_init(&c->frames, (uint32_t)g->trie->max_depth + 2)) {
        qn__mask_cache_close(c);
        return qn__fail_mem(err, "grammar");
    }
    empty(c);
    g->cache = c;
    return QN_OK;
}

/* ---- local sets ---- */

static uint32_t items_hash(const qn_items *s)
{
    return (uint32_t)qn__hash(s->v ? (const void *)s->v : "", s->n * sizeof *s->v) * 2 + s->ended;
}

static bool rehash_locals(qn_mask_cache *c)
{
    uint32_t mask = c->mask * 2 + 1;
    int32_t *slots = qn__alloc(((size_t)mask + 1) * sizeof *slots);
    if (!slots)
        return false;
    memset(slots, -1, ((size_t)mask + 1) * sizeof *slots);
    for (size_t i = 0; i < c->n_locals; i++) {
        uint32_t at = c->locals[i].hash & mask;
        while (slots[at] >= 0)
            at = (at + 1) & mask;
        slots[at] = (int32_t)i;
    }
    qn_free(c->slots);
    c->slots = slots;
    c->mask = mask;
    return true;
}

/* The number of the set; ROW_DEAD when nothing is in it and nothing ended; below that: -2 - qn_follow, it failed. */
static int32_t number(qn_mask_cache *c, const qn_items *s)
{
    if (!s->n && !s->ended)
        return ROW_DEAD;
    uint32_t h = items_hash(s), at = h & c->mask;
    for (; c->slots[at] >= 0; at = (at + 1) & c->mask) {
        const local *l = &c->locals[c->slots[at]];
        if (l->hash == h && l->items.n == s->n && l->items.ended == s->ended &&
            (!s->n || !memcmp(l->items.v, s->v, s->n * sizeof *s->v)))
            return c->slots[at];
    }
    if (c->n_locals >= 4 * LOCALS_MAX)
        return -2 - QN_FOLLOW_LIMIT;
    if ((c->n_locals + 1) * 2 > c->mask) {
        if (!rehash_locals(c))
            return -2 - QN_FOLLOW_MEMORY;
        for (at = h & c->mask; c->slots[at] >= 0; at = (at + 1) & c->mask)
            ;
    }
    qn_item *v = qn__alloc(s->n * sizeof *v);
    if (!v || !qn__grow((void **)&c->locals, &c->cap_locals, c->n_locals + 1, sizeof *c->locals)) {
        qn_free(v);
        return -2 - QN_FOLLOW_MEMORY;
    }
    if (s->n)
        memcpy(v, s->v, s->n * sizeof *v);
    c->locals[c->n_locals] = (local){.items = {.v = v, .n = s->n, .cap = s->n, .ended = s->ended}, .hash = h, .node = -1, .stays = -1};
    c->slots[at] = (int32_t)c->n_locals;
    return (int32_t)c->n_locals++;
}

/* The set after byte b, from the row or found now. */
static int32_t find_step(const qn_grammar *g, qn_mask_cache *c, int32_t from, uint8_t b)
{
    if (!c->locals[from].row) {
        int32_t *row = qn__alloc(256 * sizeof *row);
        if (!row)
            return -2 - QN_FOLLOW_MEMORY;
        for (int i = 0; i < 256; i++)
            row[i] = ROW_UNKNOWN;
        c->locals[from].row = row;
    }
    size_t cost = 1 + c->locals[from].items.n;
    if (c->work < cost)
        return -2 - QN_FOLLOW_LIMIT;
    c->work -= cost;
    qn_follow r = qn__items_step(g, &c->frames, &c->closure, &c->locals[from].items, b, &c->scratch);
    c->work -= c->work < c->scratch.n ? c->work : c->scratch.n;
    int32_t to = r ? -2 - (int32_t)r : number(c, &c->scratch);
    if (to >= ROW_DEAD)
        c->locals[from].row[b] = to;
    return to;
}

/* ---- walks ---- */

static bool put_root(qn_mask_cache *c, int32_t r)
{
    if (!qn__grow((void **)&c->roots, &c->cap_roots, c->n_roots + 1, sizeof *c->roots))
        return false;
    c->roots[c->n_roots++] = r;
    return true;
}

/* Does every plain byte lead from `l` back to it? Then a plain subtree need not be walked. */
static qn_follow stays(const qn_grammar *g, qn_mask_cache *c, int32_t l, bool *yes)
{
    if (c->locals[l].stays < 0) {
        bool all = !c->locals[l].items.ended;
        for (unsigned b = ' '; b <= 'z' && all; b++) {
            if (!qn__trie_plain_byte((uint8_t)b))
                continue;
            int32_t to = c->locals[l].row ? c->locals[l].row[b] : ROW_UNKNOWN;
            if (to < ROW_DEAD)
                to = find_step(g, c, l, (uint8_t)b);
            if (to < ROW_DEAD)
                return (qn_follow)(-2 - to);
            all = to == l;
        }
        c->locals[l].stays = all;
    }
    *yes = c->locals[l].stays == 1;
    return QN_FOLLOW_OK;
}

/* Tree nodes [begin, end), all deeper than `depth`, from the set `start`: tokens that can be read into c->bits, nodes where the
 * bottom may be popped into c->roots. */
static qn_follow walk(const qn_grammar *g, qn_mask_cache *c, int32_t start, int32_t begin, int32_t end, uint32_t depth)
{
    const qn_token_trie *t = g->trie;
    int32_t *path = c->path;
    path[depth] = start;
    for (int32_t i = begin; i < end;) {
        uint32_t d = t->depth[i];
        int32_t from = path[d - 1];
        const int32_t *row = c->locals[from].row;
        int32_t to = row ? row[t->byte[i]] : ROW_UNKNOWN;
        if (to < ROW_DEAD) {
            to = find_step(g, c, from, t->byte[i]);
            if (to < ROW_DEAD)
                return (qn_follow)(-2 - to);
        }
        if (to == ROW_DEAD) {
            i = t->skip[i];
            continue;
        }
        path[d] = to;
        if (t->plain[i] && t->skip[i] > i + 2) {
            bool whole = false;
            qn_follow r = stays(g, c, to, &whole);
            if (r)
                return r;
            if (whole) {
                for (uint32_t k = t->from[i]; k < t->from[t->skip[i]]; k++)
                    c->bits[t->order[k] >> 5] |= 1u << (t->order[k] & 31);
                i = t->skip[i];
                continue;
            }
        }
        for (int32_t id = t->token[i]; id >= 0; id = t->same[id])
            c->bits[id >> 5] |= 1u << (id & 31);
        if (c->locals[to].items.ended && t->skip[i] > i + 1 && !put_root(c, i))
            return QN_FOLLOW_MEMORY;
        i++;
    }
    return QN_FOLLOW_OK;
}

static int by_int(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* A node of what c->bits and c->roots hold, which are emptied; -1: no memory. */
static int32_t keep_node(qn_mask_cache *c)
{
    node x = {0};
    size_t count = 0;
    for (size_t w = 0; w < c->words; w++)
        count += (size_t)__builtin_popcount(c->bits[w]);
    if (c->n_roots > 1) {
        qsort(c->roots, c->n_roots, sizeof *c->roots, by_int);
        size_t n = 1;
        for (size_t i = 1; i < c->n_roots; i++)
            if (c->roots[i] != c->roots[n - 1])
                c->roots[n++] = c->roots[i];
        c->n_roots = n;
    }
    bool dense = count > c->words;
    if (dense)
        x.dense = qn__alloc(c->words * sizeof *x.dense);
    else
        x.ids = qn__alloc(count * sizeof *x.ids);
    x.roots = qn__alloc(c->n_roots * sizeof *x.roots);
    bool ok = (dense ? x.dense != NULL : x.ids != NULL) && x.roots && qn__grow((void **)&c->nodes, &c->cap_nodes, c->n_nodes + 1, sizeof x);
    if (ok) {
        if (dense)
            memcpy(x.dense, c->bits, c->words * sizeof *x.dense);
        for (size_t w = 0; !dense && w < c->words; w++)
            for (uint32_t b = c->bits[w]; b; b &= b - 1)
                x.ids[x.n_ids++] = (int32_t)(w * 32) + __builtin_ctz(b);
        if (c->n_roots)
            memcpy(x.roots, c->roots, c->n_roots * sizeof *x.roots);
        x.n_roots = c->n_roots;
        c->bytes += sizeof x + (dense ? c->words * 4 : count * 4) + c->n_roots * 4;
        c->nodes[c->n_nodes++] = x;
    } else {
        qn_free(x.dense);
        qn_free(x.ids);
        qn_free(x.roots);
    }
    memset(c->bits, 0, c->words * sizeof *c->bits);
    c->n_roots = 0;
    return ok ? (int32_t)c->n_nodes - 1 : -1;
}

static void forget(qn_mask_cache *c)
{
    memset(c->bits, 0, c->words * sizeof *c->bits);
    c->n_roots = 0;
}

static qn_follow base_node(const qn_grammar *g, qn_mask_cache *c, const qn_items *places, int32_t *out)
{
    int32_t l = number(c, places);
    if (l < 0)
        return l == ROW_DEAD ? QN_FOLLOW_LIMIT : (qn_follow)(-2 - l);
    if (c->locals[l].node < 0) {
        qn_follow r = walk(g, c, l, 0, (int32_t)g->trie->n, 0);
        if (r) {
            forget(c);
            return r;
        }
        int32_t n = keep_node(c);
        if (n < 0)
            return QN_FOLLOW_MEMORY;
        c->locals[l].node = n;
    }
    *out = c->locals[l].node;
    return QN_FOLLOW_OK;
}

static child *child_slot(qn_mask_cache *c, int32_t parent, uint32_t push, uint64_t a, uint32_t b)
{
    uint64_t h = ((uint64_t)(uint32_t)parent << 32 | push) * 0x9E3779B97F4A7C15u;
    h = (h ^ (h >> 29) ^ a) * 0xD6E8FEB86659FD93u;
    h = (h ^ (h >> 32) ^ b) * 0xD6E8FEB86659FD93u;
    for (uint32_t at = (uint32_t)(h >> 32) & c->child_mask;; at = (at + 1) & c->child_mask) {
        child *x = &c->children[at];
        if (x->node < 0 || (x->parent == parent && x->push == push && x->a == a && x->b == b))
            return x;
    }
}

static bool rehash_children(qn_mask_cache *c)
{
    child *old = c->children;
    uint32_t n = c->child_mask + 1;
    child *fresh = qn__alloc(2 * (size_t)n * sizeof *fresh);
    if (!fresh)
        return false;
    for (size_t i = 0; i < 2 * (size_t)n; i++)
        fresh[i].node = -1;
    c->children = fresh;
    c->child_mask = 2 * n - 1;
    for (uint32_t i = 0; i < n; i++)
        if (old[i].node >= 0)
            *child_slot(c, old[i].parent, old[i].push, old[i].a, old[i].b) = old[i];
    qn_free(old);
    return true;
}

/* What node `parent` leads to when the frame (push, a, b) lies on top. */
static qn_follow child_node(const qn_grammar *g, qn_mask_cache *c, int32_t parent, uint32_t push, uint64_t a, uint32_t b, int32_t *out)
{
    const qn_token_trie *t = g->trie;
    if (g->pushes[push].kind == QN_FRAME_COUNT) {
        uint64_t lo = a >> 32, hi = (uint32_t)a;
        lo = lo < c->frames.many ? lo : c->frames.many;
        hi = hi < c->frames.many ? hi : c->frames.many;
        a = lo << 32 | hi;
    }
    child *slot = child_slot(c, parent, push, a, b);
    if (slot->node >= 0) {
        *out = slot->node;
        return QN_FOLLOW_OK;
    }
    qn_follow r = qn__closure_begin(&c->closure, &c->scratch) ? QN_FOLLOW_OK : QN_FOLLOW_MEMORY;
    if (!r)
        r = qn__items_pop(g, &c->frames, &c->closure, push, a, b, 0, &c->scratch);
    qn__items_sort(&c->scratch);
    int32_t start = r ? 0 : number(c, &c->scratch);
    if (!r && start < ROW_DEAD)
        r = (qn_follow)(-2 - start);
    for (size_t i = 0; !r && start >= 0 && i < c->nodes[parent].n_roots; i++) {
        int32_t at = c->nodes[parent].roots[i];
        if (c->locals[start].items.ended && !put_root(c, at))
            r = QN_FOLLOW_MEMORY;
        else
            r = walk(g, c, start, at + 1, t->skip[at], t->depth[at]);
    }
    if (r) {
        forget(c);
        return r;
    }
    int32_t n = keep_node(c);
    if (n < 0 || ((c->n_children + 1) * 2 > c->child_mask && !rehash_children(c)))
        return QN_FOLLOW_MEMORY;
    slot = child_slot(c, parent, push, a, b);
    *slot = (child){.a = a, .parent = parent, .node = n, .push = push, .b = b};
    c->n_children++;
    *out = n;
    return QN_FOLLOW_OK;
}

static void add_node(const node *x, size_t words, uint32_t *mask)
{
    if (x->dense)
        for (size_t w = 0; w < words; w++)
            mask[w] |= x->dense[w];
    for (size_t i = 0; i < x->n_ids; i++)
        mask[x->ids[i] >> 5] |= 1u << (x->ids[i] & 31);
}

static qn_follow fill(const qn_grammar *g, qn_mask_cache *c, const qn_frames *f, const qn_items *items, uint32_t *mask)
{
    for (size_t i = 0; i < items->n;) {
        int32_t stack = items->v[i].stack, at = -1;
        c->group.n = 0;
        c->group.ended = false;
        for (; i < items->n && items->v[i].stack == stack; i++) {
            if (!qn__grow((void **)&c->group.v, &c->group.cap, c->group.n + 1, sizeof *c->group.v))
                return QN_FOLLOW_MEMORY;
            if (g->states[items->v[i].state].n_bytes)
                c->group.v[c->group.n++] = (qn_item){items->v[i].state, 0};
        }
        if (!c->group.n)
            continue;
        qn_follow r = base_node(g, c, &c->group, &at);
        if (r)
            return r;
        add_node(&c->nodes[at], c->words, mask);
        while (c->nodes[at].n_roots && stack) {
            const qn_frame *x = &f->v[stack];
            r = child_node(g, c, at, x->push, x->a, x->b, &at);
            if (r)
                return r;
            add_node(&c->nodes[at], c->words, mask);
            stack = x->parent;
        }
    }
    return QN_FOLLOW_OK;
}

qn_status qn__mask_fill(const qn_grammar *g, const qn_frames *f, const qn_items *items, uint32_t *mask, qn_err *err)
{
    qn_mask_cache *c = g->cache;
    qn__lock(&c->lock);
    if (c->n_locals > LOCALS_MAX || c->bytes > CACHE_BYTES_MAX)
        empty(c);
    c->work = WORK_MAX;
    qn_follow r = fill(g, c, f, items, mask);
    if (r) /* what was left half done must not be met again */
        empty(c);
    qn__unlock(&c->lock);
    if (r == QN_FOLLOW_MEMORY)
        return qn__fail_mem(err, "grammar");
    if (r)
        return qn__fail(err, QN_ELIMIT, "grammar", "the grammar is too ambiguous here: too many ways to read the output so far");
    /* A special token that the grammar names is a terminal of its own, whatever its text. */
    for (size_t i = 0; i < g->n_named; i++)
        mask[g->named[i] >> 5] &= ~(1u << (g->named[i] & 31));
    for (size_t i = 0; i < items->n; i++) {
        const qn_state *s = &g->states[items->v[i].state];
        for (uint32_t k = 0; k < s->n_tokens; k++) {
            int32_t id = g->tokens[s->token + k].token;
            mask[id >> 5] |= 1u << (id & 31);
        }
    }
    return QN_OK;
}
