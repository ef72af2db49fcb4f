/* pages.c - see pages.h. Pages are carved from slabs of some megabytes; a page that nobody has waits in a free list. */
#include <assert.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "engine/pages_int.h"

enum { SLAB_BYTES = 8 << 20, T = QN_PAGE_TOKENS };

qn_status qn__pages_open(size_t page_bytes, int32_t max_pages, int32_t budget, qn_pages **out, qn_err *err)
{
    qn_pages *p = qn__calloc(1, sizeof *p);
    if (!p)
        return qn__fail_mem(err, "KV pages");
    p->page_bytes = page_bytes;
    p->max_pages = max_pages;
    p->budget = budget < max_pages ? budget : max_pages;
    p->free = -1;
    qn_status st = qn__tree_open((qn_name){0}, (size_t)p->budget, &p->tree, err);
    if (st) {
        qn_free(p);
        return st;
    }
    *out = p;
    return QN_OK;
}

void qn__pages_recurrent(qn_pages *p, size_t state_bytes, size_t max_snapshots)
{
    p->snaps = (qn_snapshots){.state_bytes = state_bytes, .max = max_snapshots};
}

void qn__pages_close(qn_pages *p)
{
    if (!p)
        return;
    qn__pages_flush(p);
    qn__tiers_close(p);
    for (qn_tree_node *x = NULL; p->snaps.n && (x = qn__tree_next(p->tree, x));)
        qn__snapshot_drop(&p->snaps, &x->snap);
    qn__tree_close(p->tree);
    for (size_t i = 0; i < p->n_slabs; i++)
        qn__free_aligned(p->slabs[i]);
    qn_free(p->slabs);
    qn_free(p->slots);
    qn_free(p);
}

uint64_t qn__pages_bytes(const qn_pages *p)
{
    return (uint64_t)p->n_pages * p->page_bytes + (uint64_t)p->snaps.n * p->snaps.state_bytes;
}

int32_t qn__pages_free(const qn_pages *p)
{
    return p->n_free + (p->max_pages - p->n_pages);
}

qn_tree *qn__pages_tree(qn_pages *p)
{
    return p->tree;
}

void qn__pages_stats(const qn_pages *p, qn_pages_stats *out)
{
    *out = (qn_pages_stats){.nodes = qn__tree_count(p->tree), .evicted = p->evicted, .lost = p->lost, .reused = p->reused,
                            .restored = p->restored, .token_seconds = p->token_seconds,
                            .rate = p->disk ? qn__disk_rate(p->disk) : 0, .budget = (size_t)p->budget};
    if (p->disk)
        qn__disk_get_stats(p->disk, &out->disk);
}

/* ---- pages ---- */

void qn__page_drop(qn_pages *p, int32_t id)
{
    p->slots[id].next = p->free;
    p->free = id;
    p->n_free++;
}

/* Up to `most` pages in all. */
static bool make_slab(qn_pages *p, int32_t most)
{
    size_t n = SLAB_BYTES / p->page_bytes;
    if (most <= p->n_pages)
        return false;
    if (n < 1)
        n = 1;
    if (n > (size_t)(most - p->n_pages))
        n = (size_t)(most - p->n_pages);
    size_t bytes;
    if (!qn__grow((void **)&p->slots, &p->cap_slots, (size_t)p->n_pages + n, sizeof *p->slots) ||
        !qn__grow((void **)&p->slabs, &p->cap_slabs, p->n_slabs + 1, sizeof *p->slabs) ||
        !qn__mul(n, p->page_bytes, &bytes))
        return false;
    unsigned char *slab = qn__alloc_aligned(bytes);
    if (!slab)
        return false;
    p->slabs[p->n_slabs++] = slab;
    for (size_t i = n; i-- > 0;) {
        int32_t id = p->n_pages + (int32_t)i;
        p->slots[id] = (qn_slot){.data = slab + i * p->page_bytes, .next = p->free};
        p->free = id;
    }
    p->n_pages += (int32_t)n;
    p->n_free += (int32_t)n;
    return true;
}

static void remove_node(qn_pages *p, qn_tree_node *x)
{
    qn__tiers_remove(p, x);
    qn__snapshot_drop(&p->snaps, &x->snap);
    qn__page_drop(p, x->page);
    qn__tree_remove(p->tree, x);
}

/* False when nobody can. */
static bool give_way(qn_pages *p, uint64_t session)
{
    qn_tree_node *x = qn__tree_victim(p->tree, session);
    if (!x)
        return false;
    remove_node(p, x);
    p->evicted++;
    return true;
}

int32_t qn__page_take(qn_pages *p, uint64_t session)
{
    while (p->free < 0)
        if (!make_slab(p, p->budget) && !give_way(p, session) && !make_slab(p, p->max_pages))
            return -1;
    int32_t id = p->free;
    p->free = p->slots[id].next;
    p->n_free--;
    return id;
}

/* ---- sequences ---- */

qn_status qn__seq_open(const int32_t *tokens, size_t n, qn_seq **out, qn_err *err)
{
    qn_seq *s = qn__calloc(1, sizeof *s);
    if (!s || !qn__grow((void **)&s->tokens, &s->cap_tokens, n, sizeof *s->tokens)) {
        qn_free(s);
        return qn__fail_mem(err, "sequence");
    }
    if (n)
        memcpy(s->tokens, tokens, n * sizeof *tokens);
    s->n_tokens = n;
    *out = s;
    return QN_OK;
}

/* Stand on that node of the tree; NULL: on none. */
static void stand_on(qn_pages *p, qn_seq *s, qn_tree_node *x)
{
    if (x)
        qn__tree_pin(p->tree, x);
    if (s->node)
        qn__tree_unpin(p->tree, s->node);
    s->node = x;
    s->n_shared = x ? x->depth : 0;
}

/* Give up every page. */
static void forget(qn_pages *p, qn_seq *s)
{
    while (s->n_pages > s->n_shared)
        qn__page_drop(p, s->ids[--s->n_pages]);
    s->n_pages = s->n_done = 0;
    stand_on(p, s, NULL);
}

void qn__seq_close(qn_pages *p, qn_seq *s)
{
    if (!s)
        return;
    if (s->n_pages)
        forget(p, s);
    if (s->held)
        qn__pages_let_go(p, s);
    qn__free_aligned(s->state);
    qn__free_aligned(s->spare);
    qn_free(s->tokens);
    qn_free(s->pages);
    qn_free(s->ids);
    qn_free(s);
}

qn_status qn__seq_push(qn_seq *s, int32_t token, qn_err *err)
{
    if (!qn__grow((void **)&s->tokens, &s->cap_tokens, s->n_tokens + 1, sizeof *s->tokens))
        return qn__fail_mem(err, "sequence");
    s->tokens[s->n_tokens++] = token;
    return QN_OK;
}

static bool table_room(qn_seq *s, size_t n)
{
    return qn__grow((void **)&s->pages, &s->cap_pages, n, sizeof *s->pages) &&
           qn__grow((void **)&s->ids, &s->cap_ids, n, sizeof *s->ids);
}

static bool state_room(const qn_pages *p, qn_seq *s)
{
    if (p->snaps.state_bytes && !s->state)
        s->state = qn__alloc_aligned(p->snaps.state_bytes);
    return s->state || !p->snaps.state_bytes;
}

bool qn__seq_spare(const qn_pages *p, qn_seq *s)
{
    if (p->snaps.state_bytes && !s->spare)
        s->spare = qn__alloc_aligned(p->snaps.state_bytes);
    return s->spare != NULL;
}

static void set_page(qn_pages *p, qn_seq *s, size_t i, int32_t id)
{
    s->ids[i] = id;
    s->pages[i] = p->slots[id].data;
}

qn_status qn__seq_reserve(qn_pages *p, qn_seq *s, size_t n, qn_err *err)
{
    size_t want = (n + T - 1) / T;
    if (!table_room(s, want) || !state_room(p, s))
        return qn__fail_mem(err, "KV pages");
    while (s->n_pages < want) {
        int32_t id = qn__page_take(p, s->session);
        if (id < 0)
            return qn__fail_mem(err, "KV pages");
        set_page(p, s, s->n_pages++, id);
    }
    return QN_OK;
}

static qn_tree_node *standing(const qn_pages *p, const qn_seq *s)
{
    return s->node ? s->node : qn__tree_root(p->tree);
}

/* A partial page that is a beginning of the new node's serves nobody any more, unless a state hangs on it. */
static void drop_beginning(qn_pages *p, const qn_tree_node *x)
{
    qn_tree_node *before = qn__tree_before(x);
    if (before && before->n < x->n && !before->pins && !before->snap &&
        memcmp(before->tokens, x->tokens, before->n * sizeof *x->tokens) == 0)
        remove_node(p, before);
}

void qn__seq_done(qn_pages *p, qn_seq *s, size_t n)
{
    s->n_done += n;
    assert(s->n_done <= s->n_pages * T);
    while ((s->n_shared + 1) * T <= s->n_done) {
        size_t i = s->n_shared;
        qn_tree_node *at = standing(p, s), *x = qn__tree_child(at, s->tokens + i * T);
        if (x) { /* somebody else was there before: the same bytes */
            qn__page_drop(p, s->ids[i]);
            set_page(p, s, i, x->page);
        } else if (!(x = qn__tree_add(p->tree, at, s->tokens + i * T, T, s->ids[i]))) {
            return; /* no memory: it stays the sequence's own, and is tried again */
        } else if (!p->snaps.state_bytes) {
            qn__tiers_add(p, x);
        }
        stand_on(p, s, x);
        drop_beginning(p, x);
        qn__tree_touch(p->tree, x, s->session);
    }
}

/* ---- taking over ---- */

size_t qn__seq_common(const qn_seq *s, size_t limit, const qn_seq *of, size_t of_n)
{
    size_t n = limit < of_n ? limit : of_n, i = 0;
    while (i < n && s->tokens[i] == of->tokens[i])
        i++;
    return i;
}

size_t qn__seq_usable(const qn_pages *p, const qn_seq *s, size_t limit, const qn_seq *of)
{
    size_t common = qn__seq_common(s, limit, of, of->n_done), most = (of->n_shared + 1) * T;
    if (!p->snaps.state_bytes)
        return common < most ? common : most;
    return of->state && common == of->n_done && common <= most ? common : 0;
}

size_t qn__pages_find(const qn_pages *p, const qn_seq *s, size_t limit, size_t *common)
{
    const qn_tree_node *at = qn__tree_root(p->tree), *kid;
    size_t n = 0, usable = 0, part;
    while (n + T <= limit && (kid = qn__tree_child(at, s->tokens + n))) {
        at = kid;
        n += T;
        if (kid->snap)
            usable = n;
    }
    (void)qn__tree_nearest(at, s->tokens + n, limit - n, &part);
    *common = n + part;
    if (!p->snaps.state_bytes)
        return n + part;
    kid = qn__tree_resumable(at, s->tokens + n, limit - n);
    return kid ? n + kid->n : usable;
}

/* Stand on the node of the first n tokens, whole pages, which are in the tree. */
static void adopt_whole(qn_pages *p, qn_seq *s, size_t n)
{
    qn_tree_node *at = standing(p, s);
    for (size_t i = s->n_shared; i < n / T; i++) {
        at = qn__tree_child(at, s->tokens + i * T);
        assert(at);
        if (i < s->n_pages)
            qn__page_drop(p, s->ids[i]);
        else
            s->n_pages++;
        set_page(p, s, i, at->page);
    }
    if (n / T > s->n_shared) {
        stand_on(p, s, at);
        s->n_done = n / T * T;
    }
}

/* Positions from the last whole page on, from a page that has them. False when there is no memory for a copy. */
static bool adopt_part(qn_pages *p, qn_seq *s, const unsigned char *data)
{
    size_t i = s->n_shared;
    if (i == s->n_pages) { /* otherwise it has computed into that page itself: the same values */
        int32_t id = qn__page_take(p, s->session);
        if (id < 0)
            return false;
        set_page(p, s, s->n_pages++, id);
    }
    memcpy(s->pages[i], data, p->page_bytes);
    return true;
}

qn_status qn__pages_adopt(qn_pages *p, qn_seq *s, size_t n, qn_err *err)
{
    size_t whole = n / T * T, common;
    if (!table_room(s, n / T + 1) || !state_room(p, s))
        return qn__fail_mem(err, "KV pages");
    adopt_whole(p, s, whole);
    qn_tree_node *last = standing(p, s);
    bool got = true;
    if (n > whole) {
        last = p->snaps.state_bytes ? qn__tree_partial(last, s->tokens + whole, n - whole)
                                    : qn__tree_nearest(last, s->tokens + whole, n - whole, &common);
        assert(last);
        qn__tree_pin(p->tree, last); /* taking a page for the copy must not take this one */
        got = adopt_part(p, s, p->slots[last->page].data);
        qn__tree_unpin(p->tree, last);
    }
    qn__tree_touch(p->tree, last, s->session);
    if (p->snaps.state_bytes && got) {
        memcpy(s->state, last->snap->state, p->snaps.state_bytes);
        qn__snapshot_touch(&p->snaps, last->snap);
    }
    if (got && n > s->n_done)
        p->reused += n - s->n_done;
    if (got)
        s->n_done = n;
    else if (p->snaps.state_bytes) /* the pages are of no use without it: begin anew */
        forget(p, s);
    return QN_OK;
}

qn_status qn__seq_adopt(qn_pages *p, qn_seq *s, const qn_seq *from, size_t n, qn_err *err)
{
    size_t whole = n / T < from->n_shared ? n / T : from->n_shared;
    if (!table_room(s, whole + 1) || !state_room(p, s))
        return qn__fail_mem(err, "KV pages");
    adopt_whole(p, s, whole * T);
    if (n > whole * T && !adopt_part(p, s, from->pages[whole])) {
        if (p->snaps.state_bytes)
            forget(p, s);
        return QN_OK;
    }
    if (p->snaps.state_bytes)
        memcpy(s->state, from->state, p->snaps.state_bytes);
    if (n > s->n_done)
        qn__seq_done(p, s, n - s->n_done);
    return QN_OK;
}

/* ---- leaving behind ---- */

void qn__seq_mark(qn_pages *p, qn_seq *s, size_t instead)
{
    if (!s->state || s->n_shared * T != s->n_done || !s->node)
        return;
    qn_tree_node *x = s->node;
    while (instead && x && x->depth * T > instead)
        x = x->parent;
    if (instead && x != s->node && x->snap && !x->snap->used)
        qn__snapshot_drop(&p->snaps, &x->snap);
    qn__snapshot_copy(&p->snaps, &s->node->snap, s->state);
    if (!instead) /* those that move along in the output are soon of no use: the last one is written at the end */
        qn__tiers_add(p, s->node);
}

/* The node where the sequence ends: the partial last page becomes one, unless somebody has all of it. NULL: of nothing. */
static qn_tree_node *keep_part(qn_pages *p, qn_seq *s)
{
    size_t part = s->n_done - s->n_shared * T, common = 0;
    const int32_t *tokens = s->tokens + s->n_shared * T;
    qn_tree_node *at = standing(p, s), *x = NULL;
    if (part == 0 || part > T || (p->snaps.state_bytes && !s->state))
        return s->node;
    x = p->snaps.state_bytes ? qn__tree_partial(at, tokens, part) : qn__tree_nearest(at, tokens, part, &common);
    if (x && (p->snaps.state_bytes || common == part))
        return x;
    x = qn__tree_add(p->tree, at, tokens, part, s->ids[s->n_shared]);
    if (!x)
        return s->node;
    for (size_t i = s->n_shared + 1; i < s->n_pages; i++)
        qn__page_drop(p, s->ids[i]);
    s->n_pages = s->n_shared;
    drop_beginning(p, x);
    return x;
}

void qn__pages_keep(qn_pages *p, qn_seq *s)
{
    qn_tree_node *x = keep_part(p, s);
    if (x && s->state && (x->n < T || s->n_shared * T == s->n_done)) { /* where it ends, it can be resumed */
        qn__snapshot_give(&p->snaps, &x->snap, s->state);
        s->state = NULL;
    }
    qn_tree_node *whole = s->node;
    if (x)
        qn__tree_touch(p->tree, x, s->session);
    while (p->snaps.state_bytes && whole && whole->depth && !whole->snap)
        whole = whole->parent;
    if (whole && whole->depth) {
        if (p->snaps.state_bytes)
            qn__tiers_add(p, whole);
        qn__tiers_settle(p, whole);
    }
    qn__seq_close(p, s);
    while (p->n_pages - p->n_free > p->budget && give_way(p, 0))
        ;
}
