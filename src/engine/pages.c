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
    return (uint64_t)p->n_pages * p->page_bytes;
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

static void seq_add(qn_pages *p, qn_seq *s, int32_t id)
{
    s->ids[s->n_pages] = id;
    s->pages[s->n_pages++] = p->slots[id].data;
}

qn_status qn__seq_reserve(qn_pages *p, qn_seq *s, size_t n, qn_err *err)
{
    size_t want = (n + QN_PAGE_TOKENS - 1) / QN_PAGE_TOKENS;
    if (!table_room(s, want))
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

qn_status qn__seq_adopt(qn_pages *p, qn_seq *s, qn_seq *from, size_t n, qn_err *err)
{
    size_t whole = n / QN_PAGE_TOKENS, part = n % QN_PAGE_TOKENS;
    if (!table_room(s, whole + 1))
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
    if (from->kept) {
        unlink_kept(p, from);
        link_newest(p, from);
    }
    if (part && s->n_pages > whole) { /* it has computed into this page itself: the same values, so overwrite them */
        memcpy(s->pages[whole], from->pages[whole], p->page_bytes);
        s->n_done = n;
    } else if (part) {
        /* Taking a page may drop the very one to be copied: hold it meanwhile. */
        int32_t src = from->ids[whole];
        p->slots[src].refs++;
        int32_t id = page_take(p);
        if (id >= 0) {
            memcpy(p->slots[id].data, p->slots[src].data, p->page_bytes);
            seq_add(p, s, id);
            s->n_done = n;
        }
        page_drop(p, src);
    }
    return QN_OK;
}

qn_seq *qn__pages_find(qn_pages *p, const qn_seq *s, size_t limit, size_t *n)
{
    qn_seq *best = NULL;
    size_t most = 0;
    for (qn_seq *k = p->newest; k; k = k->older) {
        size_t c = qn__seq_common(s, limit, k, k->n_done);
        if (c > most) {
            most = c;
            best = k;
        }
    }
    *n = most;
    return best;
}

void qn__pages_keep(qn_pages *p, qn_seq *s)
{
    s->n_tokens = s->n_done;
    size_t want = (s->n_done + QN_PAGE_TOKENS - 1) / QN_PAGE_TOKENS;
    while (s->n_pages > want) /* reserved for tokens that never came */
        page_drop(p, s->ids[--s->n_pages]);
    for (qn_seq *k = p->newest, *older; k && s->n_done; k = older) {
        older = k->older;
        size_t c = qn__seq_common(s, s->n_done, k, k->n_done);
        if (c == s->n_done) { /* k has all of it */
            unlink_kept(p, k);
            link_newest(p, k);
            s->n_done = 0;
        } else if (c == k->n_done) {
            unlink_kept(p, k);
            qn__seq_close(p, k);
        }
    }
    if (s->n_done == 0) {
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
