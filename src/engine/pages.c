/* pages.c - see pages.h. Pages are carved from slabs of some megabytes; a page that nobody refers to waits in a free list. */
#include "engine/pages.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "kernels/kernels.h"

enum {
    SLAB_BYTES = 8 << 20,
    KEPT_MAX = 256 /* sequences: a prompt is compared with each */
};

typedef struct slot {
    unsigned char *data;
    int32_t refs;
    int32_t next; /* in the free list; -1: the last */
} slot;

struct qn_pages {
    size_t page_bytes;
    int32_t max_pages, n_pages, n_free, free; /* free: first of the list, -1 when empty */
    slot *slots;
    size_t cap_slots;
    unsigned char **slabs;
    size_t n_slabs, cap_slabs;
    qn_seq *newest, *oldest;
    size_t n_kept;
    qn_snapshots snaps;
};

qn_status qn__pages_open(size_t page_bytes, int32_t max_pages, qn_pages **out, qn_err *err)
{
    qn_pages *p = qn__calloc(1, sizeof *p);
    if (!p)
        return qn__fail_mem(err, "KV pages");
    p->page_bytes = page_bytes;
    p->max_pages = max_pages;
    p->free = -1;
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
    for (qn_seq *s = p->newest, *older; s; s = older) {
        older = s->older;
        qn__seq_close(p, s);
    }
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

size_t qn__pages_n_kept(const qn_pages *p)
{
    return p->n_kept;
}

/* ---- the list of the kept ---- */

static void unlink_kept(qn_pages *p, qn_seq *s)
{
    *(s->newer ? &s->newer->older : &p->newest) = s->older;
    *(s->older ? &s->older->newer : &p->oldest) = s->newer;
    s->newer = s->older = NULL;
    s->kept = false;
    p->n_kept--;
}

static void link_newest(qn_pages *p, qn_seq *s)
{
    s->older = p->newest;
    s->newer = NULL;
    *(p->newest ? &p->newest->newer : &p->oldest) = s;
    p->newest = s;
    s->kept = true;
    p->n_kept++;
}

/* ---- pages ---- */

static void page_drop(qn_pages *p, int32_t id)
{
    slot *s = &p->slots[id];
    if (--s->refs > 0)
        return;
    s->next = p->free;
    p->free = id;
    p->n_free++;
}

static void seq_pop(qn_pages *p, qn_seq *s)
{
    page_drop(p, s->ids[--s->n_pages]);
    if (s->n_done > s->n_pages * QN_PAGE_TOKENS)
        s->n_done = s->n_pages * QN_PAGE_TOKENS;
    qn__marks_cut(&p->snaps, &s->marks, s->n_done);
}

static bool make_slab(qn_pages *p)
{
    size_t n = SLAB_BYTES / p->page_bytes;
    if (n < 1)
        n = 1;
    if (n > (size_t)(p->max_pages - p->n_pages))
        n = (size_t)(p->max_pages - p->n_pages);
    size_t bytes;
    if (n == 0 || !qn__grow((void **)&p->slots, &p->cap_slots, (size_t)p->n_pages + n, sizeof *p->slots) ||
        !qn__grow((void **)&p->slabs, &p->cap_slabs, p->n_slabs + 1, sizeof *p->slabs) ||
        !qn__mul(n, p->page_bytes, &bytes))
        return false;
    unsigned char *slab = qn__alloc_aligned(bytes);
    if (!slab)
        return false;
    p->slabs[p->n_slabs++] = slab;
    for (size_t i = n; i-- > 0;) {
        int32_t id = p->n_pages + (int32_t)i;
        p->slots[id] = (slot){.data = slab + i * p->page_bytes, .next = p->free};
        p->free = id;
    }
    p->n_pages += (int32_t)n;
    p->n_free += (int32_t)n;
    return true;
}

/* A page with one reference; -1 when there is none to be had. The kept give way last page first, the longest unused before
 * the others; a page that is shared becomes free only with its last holder. */
static int32_t page_take(qn_pages *p)
{
    while (p->free < 0 && !make_slab(p)) {
        qn_seq *s = p->oldest;
        if (!s)
            return -1;
        seq_pop(p, s);
        s->n_tokens = s->n_done;
        if (s->n_pages == 0) {
            unlink_kept(p, s);
            qn__seq_close(p, s);
        }
    }
    int32_t id = p->free;
    p->free = p->slots[id].next;
    p->slots[id].refs = 1;
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

void qn__seq_close(qn_pages *p, qn_seq *s)
{
    if (!s)
        return;
    while (s->n_pages)
        seq_pop(p, s);
    qn__marks_clear(&p->snaps, &s->marks);
    qn__free_aligned(s->state);
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

static void seq_add(qn_pages *p, qn_seq *s, int32_t id)
{
    s->ids[s->n_pages] = id;
    s->pages[s->n_pages++] = p->slots[id].data;
}

qn_status qn__seq_reserve(qn_pages *p, qn_seq *s, size_t n, qn_err *err)
{
    size_t want = (n + QN_PAGE_TOKENS - 1) / QN_PAGE_TOKENS;
    if (!table_room(s, want) || !state_room(p, s))
        return qn__fail_mem(err, "KV pages");
    while (s->n_pages < want) {
        int32_t id = page_take(p);
        if (id < 0)
            return qn__fail_mem(err, "KV pages");
        seq_add(p, s, id);
    }
    return QN_OK;
}

size_t qn__seq_common(const qn_seq *s, size_t limit, const qn_seq *of, size_t of_n)
{
    size_t n = limit < of_n ? limit : of_n, i = 0;
    while (i < n && s->tokens[i] == of->tokens[i])
        i++;
    return i;
}

size_t qn__seq_usable(const qn_pages *p, const qn_seq *s, size_t limit, const qn_seq *of)
{
    size_t common = qn__seq_common(s, limit, of, of->n_done);
    if (!p->snaps.state_bytes || (of->state && common == of->n_done))
        return common;
    const qn_snapshot *x = qn__snapshot_find(&of->marks, common);
    return x ? x->at : 0;
}

/* The state after n tokens, from where qn__seq_usable saw it. */
static void adopt_state(qn_pages *p, qn_seq *s, const qn_seq *from, size_t n)
{
    if (from->state && from->n_done == n) {
        memcpy(s->state, from->state, p->snaps.state_bytes);
    } else {
        qn_snapshot *x = qn__snapshot_find(&from->marks, n);
        memcpy(s->state, x->state, p->snaps.state_bytes);
        qn__snapshot_touch(&p->snaps, x);
    }
    qn__marks_share(&p->snaps, &s->marks, &from->marks, n);
}

/* A copy of the partial page `id`; false when there is no memory. It is held meanwhile, for taking a page may drop it. */
static bool adopt_part(qn_pages *p, qn_seq *s, int32_t id)
{
    p->slots[id].refs++;
    int32_t copy = page_take(p);
    if (copy >= 0) {
        memcpy(p->slots[copy].data, p->slots[id].data, p->page_bytes);
        seq_add(p, s, copy);
    }
    page_drop(p, id);
    return copy >= 0;
}

qn_status qn__seq_adopt(qn_pages *p, qn_seq *s, qn_seq *from, size_t n, qn_err *err)
{
    size_t whole = n / QN_PAGE_TOKENS, part = n % QN_PAGE_TOKENS;
    if (!table_room(s, whole + 1) || !state_room(p, s))
        return qn__fail_mem(err, "KV pages");
    if (whole * QN_PAGE_TOKENS > s->n_done) {
        while (s->n_pages)
            seq_pop(p, s);
        for (size_t i = 0; i < whole; i++) {
            p->slots[from->ids[i]].refs++;
            seq_add(p, s, from->ids[i]);
        }
        s->n_done = whole * QN_PAGE_TOKENS;
    }
    if (p->snaps.state_bytes)
        adopt_state(p, s, from, n);
    if (from->kept) {
        unlink_kept(p, from);
        link_newest(p, from);
    }
    bool got = true;
    if (part && s->n_pages > whole) /* it has computed into this page itself: the same values, so overwrite them */
        memcpy(s->pages[whole], from->pages[whole], p->page_bytes);
    else if (part)
        got = adopt_part(p, s, from->ids[whole]);
    if (got) {
        s->n_done = n;
    } else if (p->snaps.state_bytes) { /* the state is ahead of the pages: begin anew */
        while (s->n_pages)
            seq_pop(p, s);
    }
    return QN_OK;
}

qn_seq *qn__pages_find(qn_pages *p, const qn_seq *s, size_t limit, size_t *n)
{
    qn_seq *best = NULL;
    size_t most = 0;
    for (qn_seq *k = p->newest; k; k = k->older) {
        size_t c = qn__seq_usable(p, s, limit, k);
        if (c > most) {
            most = c;
            best = k;
        }
    }
    *n = most;
    return best;
}

size_t qn__pages_common(const qn_pages *p, const qn_seq *s, size_t limit)
{
    size_t most = 0;
    for (const qn_seq *k = p->newest; k; k = k->older) {
        size_t c = qn__seq_common(s, limit, k, k->n_done);
        most = c > most ? c : most;
    }
    return most;
}

void qn__seq_mark(qn_pages *p, qn_seq *s, size_t instead)
{
    if (instead)
        qn__marks_drop(&p->snaps, &s->marks, instead);
    if (s->state)
        qn__snapshot_copy(&p->snaps, &s->marks, s->n_done, s->state);
}

/* Drop from the kept what is a part of s. True when s is a part of one of them, which then has its snapshots too. */
static bool merge_kept(qn_pages *p, qn_seq *s)
{
    bool known = false;
    for (qn_seq *k = p->newest, *older; k && !known; k = older) {
        older = k->older;
        size_t c = qn__seq_common(s, s->n_done, k, k->n_done);
        if (c == s->n_done) {
            unlink_kept(p, k);
            link_newest(p, k);
            qn__marks_share(&p->snaps, &k->marks, &s->marks, c);
            known = true;
        } else if (c == k->n_done) {
            qn__marks_share(&p->snaps, &s->marks, &k->marks, c);
            unlink_kept(p, k);
            qn__seq_close(p, k);
        }
    }
    return known;
}

void qn__pages_keep(qn_pages *p, qn_seq *s)
{
    s->n_tokens = s->n_done;
    size_t want = (s->n_done + QN_PAGE_TOKENS - 1) / QN_PAGE_TOKENS;
    while (s->n_pages > want) /* reserved for tokens that never came */
        page_drop(p, s->ids[--s->n_pages]);
    if (s->state) { /* where it ends, it can be resumed */
        qn__snapshot_give(&p->snaps, &s->marks, s->n_done, s->state);
        s->state = NULL;
    }
    bool lost = p->snaps.state_bytes && !qn__snapshot_find(&s->marks, s->n_done);
    if (s->n_done == 0 || lost || merge_kept(p, s)) {
        qn__seq_close(p, s);
        return;
    }
    link_newest(p, s);
    if (p->n_kept > KEPT_MAX) {
        qn_seq *old = p->oldest;
        unlink_kept(p, old);
        qn__seq_close(p, old);
    }
}
