/* tree.c - see tree.h. */
#include "engine/tree.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

#include "base/err.h"
#include "base/mem.h"

enum { SESSIONS = 64 }; /* that have a share; the first place is of pages that belong to none */

typedef struct session {
    uint64_t id;
    uint64_t used;
    size_t n_pages;
    qn_tree_node *newest, *oldest; /* leaves */
} session;

struct qn_tree {
    qn_tree_node *root;
    size_t n, max_pages;
    uint64_t clock, mask;
    session sessions[SESSIONS];
};

qn_status qn__tree_open(qn_name root, size_t max_pages, qn_tree **out, qn_err *err)
{
    qn_tree *t = qn__calloc(1, sizeof *t);
    if (t)
        t->root = qn__calloc(1, sizeof *t->root);
    if (!t || !t->root) {
        qn_free(t);
        return qn__fail_mem(err, "prefix tree");
    }
    t->root->name = root;
    t->root->pins = 1;
    t->max_pages = max_pages;
    t->mask = UINT64_MAX;
    *out = t;
    return QN_OK;
}

void qn__tree_close(qn_tree *t)
{
    if (!t)
        return;
    for (qn_tree_node *x = t->root; x;) {
        if (x->n_kids) {
            x = x->kids[--x->n_kids];
            continue;
        }
        qn_tree_node *up = x->parent;
        qn_free((void *)x->kids);
        qn_free(x);
        x = up;
    }
    qn_free(t);
}

qn_tree_node *qn__tree_root(qn_tree *t)
{
    return t->root;
}

size_t qn__tree_count(const qn_tree *t)
{
    return t->n;
}

void qn__tree_mask_names(qn_tree *t, uint64_t mask)
{
    t->mask = mask;
}

qn_name qn__tree_name(const qn_tree *t, qn_name parent, const int32_t *tokens)
{
    unsigned char key[sizeof parent + QN_PAGE_TOKENS * sizeof *tokens];
    memcpy(key, &parent, sizeof parent);
    memcpy(key + sizeof parent, tokens, QN_PAGE_TOKENS * sizeof *tokens);
    XXH128_hash_t h = XXH3_128bits(key, sizeof key);
    return (qn_name){.lo = h.low64 & t->mask, .hi = h.high64 & t->mask};
}

/* ---- children ---- */

static size_t same(const qn_tree_node *x, const int32_t *tokens, size_t n)
{
    size_t most = x->n < n ? x->n : n, i = 0;
    while (i < most && x->tokens[i] == tokens[i])
        i++;
    return i;
}

/* Where tokens[0..n) stands or would stand; what is a beginning of another comes before it. */
static size_t place(const qn_tree_node *at, const int32_t *tokens, size_t n)
{
    size_t low = 0, high = at->n_kids;
    while (low < high) {
        size_t mid = (low + high) / 2, k = same(at->kids[mid], tokens, n);
        const qn_tree_node *x = at->kids[mid];
        bool before = k < x->n && k < n ? x->tokens[k] < tokens[k] : x->n < n;
        if (before)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static qn_tree_node *exact(const qn_tree_node *at, const int32_t *tokens, size_t n)
{
    size_t i = place(at, tokens, n);
    if (i == at->n_kids || at->kids[i]->n != n || same(at->kids[i], tokens, n) != n)
        return NULL;
    return at->kids[i];
}

qn_tree_node *qn__tree_child(const qn_tree_node *at, const int32_t *tokens)
{
    return exact(at, tokens, QN_PAGE_TOKENS);
}

qn_tree_node *qn__tree_partial(const qn_tree_node *at, const int32_t *tokens, size_t n)
{
    return exact(at, tokens, n);
}

qn_tree_node *qn__tree_nearest(const qn_tree_node *at, const int32_t *tokens, size_t n, size_t *common)
{
    size_t i = place(at, tokens, n), most = 0;
    qn_tree_node *best = NULL;
    for (size_t k = i ? i - 1 : 0; k <= i && k < at->n_kids; k++) { /* in sorted order the nearest one is a neighbour */
        size_t c = same(at->kids[k], tokens, n);
        if (c > most) {
            most = c;
            best = at->kids[k];
        }
    }
    *common = most;
    return best;
}

qn_tree_node *qn__tree_resumable(const qn_tree_node *at, const int32_t *tokens, size_t n)
{
    size_t i = place(at, tokens, n);
    if (i < at->n_kids && at->kids[i]->snap && at->kids[i]->n == n && same(at->kids[i], tokens, n) == n)
        return at->kids[i];
    while (i-- > 0) { /* beginnings come before; the further away, the less is in common */
        qn_tree_node *x = at->kids[i];
        size_t c = same(x, tokens, n);
        if (c == 0)
            break;
        if (c == x->n && x->snap)
            return x;
    }
    return NULL;
}

/* ---- the leaves that may go ---- */

static void unlist(qn_tree *t, qn_tree_node *x)
{
    session *s = &t->sessions[x->session];
    if (!x->listed)
        return;
    *(x->newer ? &x->newer->older : &s->newest) = x->older;
    *(x->older ? &x->older->newer : &s->oldest) = x->newer;
    x->newer = x->older = NULL;
    x->listed = false;
}

/* A leaf just used goes to one end at once; a parent whose last child gave way has about that child's age, so the way from the
 * other end is short, too. */
static void list(qn_tree *t, qn_tree_node *x)
{
    session *s = &t->sessions[x->session];
    if (x->pins || x->n_kids || x->listed)
        return;
    qn_tree_node *older = s->newest;
    if (older && older->used > x->used) {
        qn_tree_node *newer = s->oldest;
        while (newer->used <= x->used)
            newer = newer->newer;
        older = newer->older;
    }
    x->older = older;
    x->newer = older ? older->newer : s->oldest;
    *(x->newer ? &x->newer->older : &s->newest) = x;
    *(x->older ? &x->older->newer : &s->oldest) = x;
    x->listed = true;
}

static void set_session(qn_tree *t, qn_tree_node *x, uint32_t to)
{
    t->sessions[x->session].n_pages--;
    x->session = to;
    t->sessions[to].n_pages++;
}

/* The place of a session, made if need be: of the one that was unused for longest, whose pages belong to none from then on. */
static uint32_t find_session(qn_tree *t, uint64_t id)
{
    uint32_t i, oldest = 1;
    for (i = 1; id && i < SESSIONS && t->sessions[i].id != id; i++)
        if (t->sessions[i].used < t->sessions[oldest].used)
            oldest = i;
    if (!id)
        return 0;
    if (i == SESSIONS) {
        i = oldest;
        for (qn_tree_node *x = qn__tree_next(t, NULL); x && t->sessions[i].n_pages; x = qn__tree_next(t, x))
            if (x->session == i) {
                unlist(t, x);
                set_session(t, x, 0);
                list(t, x);
            }
        t->sessions[i].id = id;
    }
    t->sessions[i].used = t->clock;
    return i;
}

qn_tree_node *qn__tree_victim(const qn_tree *t, uint64_t id)
{
    size_t live = 1; /* those that belong to none have a share, too */
    for (int i = 1; i < SESSIONS; i++)
        live += t->sessions[i].n_pages > 0;
    size_t share = t->max_pages / live;
    qn_tree_node *best = NULL, *last = NULL;
    for (int i = 0; i < SESSIONS; i++) {
        const session *s = &t->sessions[i];
        qn_tree_node *x = s->oldest;
        if (!x)
            continue;
        bool may = i == 0 || s->id == id || s->n_pages > share;
        if (may && (!best || x->used < best->used))
            best = x;
        if (!last || x->used < last->used)
            last = x;
    }
    return best ? best : last;
}

/* ---- nodes ---- */

qn_tree_node *qn__tree_add(qn_tree *t, qn_tree_node *at, const int32_t *tokens, size_t n, int32_t page)
{
    size_t cap = at->cap_kids;
    qn_tree_node *x = qn__calloc(1, sizeof *x + n * sizeof *tokens);
    if (!x || !qn__grow((void **)&at->kids, &cap, (size_t)at->n_kids + 1, sizeof *at->kids)) {
        qn_free(x);
        return NULL;
    }
    at->cap_kids = (uint32_t)cap;
    memcpy(x->tokens, tokens, n * sizeof *tokens);
    x->n = (uint32_t)n;
    x->parent = at;
    x->depth = at->depth + 1;
    x->page = page;
    x->used = at->used;
    x->session = at->session;
    if (n == QN_PAGE_TOKENS)
        x->name = qn__tree_name(t, at->name, tokens);
    size_t i = place(at, tokens, n);
    memmove((void *)(at->kids + i + 1), (void *)(at->kids + i), (at->n_kids - i) * sizeof *at->kids);
    at->kids[i] = x;
    at->n_kids++;
    unlist(t, at);
    t->n++;
    t->sessions[x->session].n_pages++;
    list(t, x);
    return x;
}

qn_tree_node *qn__tree_before(const qn_tree_node *x)
{
    size_t i = place(x->parent, x->tokens, x->n);
    return i ? x->parent->kids[i - 1] : NULL;
}

void qn__tree_remove(qn_tree *t, qn_tree_node *x)
{
    assert(x->n_kids == 0 && x->pins == 0 && !x->snap);
    qn_tree_node *at = x->parent;
    size_t i = place(at, x->tokens, x->n);
    assert(at->kids[i] == x);
    unlist(t, x);
    at->n_kids--;
    memmove((void *)(at->kids + i), (void *)(at->kids + i + 1), (at->n_kids - i) * sizeof *at->kids);
    t->n--;
    t->sessions[x->session].n_pages--;
    qn_free((void *)x->kids);
    qn_free(x);
    list(t, at);
}

void qn__tree_touch(qn_tree *t, qn_tree_node *x, uint64_t id)
{
    t->clock++;
    uint32_t to = find_session(t, id);
    for (; x != t->root; x = x->parent) {
        bool listed = x->listed;
        if (listed)
            unlist(t, x);
        x->used = t->clock;
        if (x->session != to)
            set_session(t, x, to);
        if (listed)
            list(t, x);
    }
}

void qn__tree_pin(qn_tree *t, qn_tree_node *x)
{
    x->pins++;
    unlist(t, x);
}

void qn__tree_unpin(qn_tree *t, qn_tree_node *x)
{
    assert(x->pins > 0);
    x->pins--;
    list(t, x);
}

qn_tree_node *qn__tree_next(const qn_tree *t, const qn_tree_node *x)
{
    if (!x)
        x = t->root;
    if (x->n_kids)
        return x->kids[0];
    while (x != t->root) {
        const qn_tree_node *at = x->parent;
        size_t i = place(at, x->tokens, x->n) + 1;
        if (i < at->n_kids)
            return at->kids[i];
        x = at;
    }
    return NULL;
}
