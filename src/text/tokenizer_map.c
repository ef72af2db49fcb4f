/* tokenizer_map.c - the look-up structures: text -> id, prefix trees, the byte alphabet, the heap of pending merges.
 * Each is built once from hostile input: sizes are bounded by the vocabulary's own, clusters by reseeding. */
#include <string.h>

#include "text/tokenizer_internal.h"

/* ---- text -> id ---- */

enum { CLUSTER_MAX = 512 };

/* The slot of this text or the free one where it belongs; NULL when the cluster is too long. */
static struct qn_tok_slot *find_slot(const qn_tokenizer *t, const char *p, size_t n)
{
    const qn_tok_map *m = &t->map;
    uint32_t h = (uint32_t)qn__tok_hash(m->seed, p, n);
    for (uint32_t i = h & m->mask, steps = 0; steps < CLUSTER_MAX; i = (i + 1) & m->mask, steps++) {
        struct qn_tok_slot *s = &m->slots[i];
        if (s->id < 0)
            return s;
        if (s->hash == h && t->text[s->id].n == n && !memcmp(t->text[s->id].p, p, n))
            return s;
    }
    return NULL;
}

static bool fill(qn_tokenizer *t)
{
    qn_tok_map *m = &t->map;
    for (uint32_t i = 0; i <= m->mask; i++)
        m->slots[i].id = -1;
    for (int32_t id = 0; id < t->info.n_vocab; id++) {
        qn_slice s = t->text[id];
        if (!s.n)
            continue;
        struct qn_tok_slot *slot = find_slot(t, s.p, s.n);
        if (!slot)
            return false;
        slot->hash = (uint32_t)qn__tok_hash(m->seed, s.p, s.n);
        slot->id = id; /* of two equal texts the later one counts */
    }
    return true;
}

qn_status qn__tok_map_build(qn_tokenizer *t, const char *where, qn_err *err)
{
    size_t n = 16;
    while (n < 2 * (size_t)t->info.n_vocab)
        n *= 2;
    size_t bytes;
    if (!qn__mul(n, sizeof *t->map.slots, &bytes) || n > UINT32_MAX || !(t->map.slots = qn__alloc(bytes)))
        return qn__fail_mem(err, where);
    t->map.mask = (uint32_t)(n - 1);
    for (int tries = 0; tries < 8; tries++) {
        t->map.seed = (uint64_t)(uintptr_t)t * 0xA0761D6478BD642Fu + (uint64_t)tries;
        if (fill(t))
            return QN_OK;
    }
    return qn__fail(err, QN_EFORMAT, where, "The token texts are made to collide; this is not a real vocabulary.");
}

int32_t qn__tok_map_find(const qn_tokenizer *t, const char *p, size_t n)
{
    if (!n || n > t->max_bytes)
        return -1;
    const struct qn_tok_slot *s = find_slot(t, p, n);
    return s ? s->id : -1;
}

/* ---- prefix tree ---- */

enum { TRIE_NODES_MAX = (1 << 24) - 1 };

static struct qn_trie_edge *find_edge(const qn_trie *t, uint32_t key)
{
    for (uint32_t i = qn__tok_mix(t->seed, key) & t->mask;; i = (i + 1) & t->mask)
        if (t->edges[i].key == key || t->edges[i].key == UINT32_MAX)
            return &t->edges[i];
}

static bool edges_resize(qn_trie *t, size_t n)
{
    size_t bytes;
    struct qn_trie_edge *fresh;
    if (n > UINT32_MAX || !qn__mul(n, sizeof *fresh, &bytes) || !(fresh = qn__alloc(bytes)))
        return false;
    memset(fresh, 0xFF, bytes);
    qn_trie old = *t;
    t->edges = fresh;
    t->mask = (uint32_t)(n - 1);
    for (size_t i = 0; old.edges && i <= old.mask; i++)
        if (old.edges[i].key != UINT32_MAX)
            *find_edge(t, old.edges[i].key) = old.edges[i];
    qn_free(old.edges);
    return true;
}

bool qn__trie_init(qn_trie *t)
{
    *t = (qn_trie){.seed = (uint64_t)(uintptr_t)t * 0xA0761D6478BD642Fu};
    for (int i = 0; i < 256; i++)
        t->root[i] = -1;
    if (!qn__grow((void **)&t->value, &t->cap_nodes, 1, sizeof *t->value))
        return false;
    t->value[0] = -1;
    t->n_nodes = 1;
    return edges_resize(t, 256);
}

void qn__trie_free(qn_trie *t)
{
    qn_free(t->edges);
    qn_free(t->value);
    *t = (qn_trie){0};
}

int32_t qn__trie_step(const qn_trie *t, int32_t node, unsigned char b)
{
    if (!node)
        return t->root[b];
    const struct qn_trie_edge *e = find_edge(t, (uint32_t)node << 8 | b);
    return e->key == UINT32_MAX ? -1 : (int32_t)e->child;
}

bool qn__trie_add(qn_trie *t, const char *p, size_t n, int32_t id)
{
    int32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char b = (unsigned char)p[i];
        int32_t next = qn__trie_step(t, node, b);
        if (next < 0) {
            if (t->n_nodes >= TRIE_NODES_MAX ||
                !qn__grow((void **)&t->value, &t->cap_nodes, t->n_nodes + 1, sizeof *t->value))
                return false;
            next = (int32_t)t->n_nodes;
            if (!node) {
                t->root[b] = next;
            } else {
                if (t->n_edges > t->mask / 4 * 3 && !edges_resize(t, 2 * ((size_t)t->mask + 1)))
                    return false;
                *find_edge(t, (uint32_t)node << 8 | b) = (struct qn_trie_edge){(uint32_t)node << 8 | b, (uint32_t)next};
                t->n_edges++;
            }
            t->value[t->n_nodes++] = -1;
        }
        node = next;
    }
    if (n)
        t->value[node] = id;
    return true;
}

/* ---- bytes as characters ----
 * Byte-level vocabularies write each byte as a printable character: the printable Latin-1 bytes as themselves, the
 * other 68 as U+0100.. in ascending order (Radford et al. 2019, the encoder published with GPT-2). */

static bool prints(int b)
{
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
}

int32_t qn__byte_to_char(unsigned char b)
{
    if (prints(b))
        return b;
    if (b <= 0x20)
        return 0x100 + b;
    return b == 0xAD ? 0x143 : 0x121 + (b - 0x7F);
}

int32_t qn__char_to_byte(int32_t cp)
{
    if (cp < 0x100)
        return cp >= 0 && prints(cp) ? cp : -1;
    if (cp <= 0x120)
        return cp - 0x100;
    if (cp <= 0x142)
        return cp - 0x121 + 0x7F;
    return cp == 0x143 ? 0xAD : -1;
}

int32_t qn__byte_token_find(const qn_tokenizer *t, int b)
{
    static const char hex[] = "0123456789ABCDEF";
    const char c[6] = {'<', '0', 'x', hex[b >> 4 & 15], hex[b & 15], '>'};
    return qn__tok_map_find(t, c, 6);
}

/* ---- heap ---- */

static void heap_down(uint64_t *h, size_t n, size_t i)
{
    uint64_t v = h[i];
    for (size_t c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && h[c + 1] < h[c])
            c++;
        if (h[c] >= v)
            break;
        h[i] = h[c];
    }
    h[i] = v;
}

bool qn__heap_push(qn_tok_run *r, size_t *n, uint64_t key)
{
    if (!qn__grow((void **)&r->heap, &r->cap_heap, *n + 1, sizeof *r->heap))
        return false;
    uint64_t *h = r->heap;
    size_t i = (*n)++;
    for (size_t up; i && h[up = (i - 1) / 2] > key; i = up)
        h[i] = h[up];
    h[i] = key;
    return true;
}

uint64_t qn__heap_pop(uint64_t *h, size_t *n)
{
    uint64_t top = h[0], last = h[--*n];
    if (*n) {
        h[0] = last;
        heap_down(h, *n, 0);
    }
    return top;
}

/* ---- words of this call ---- */

bool qn__tok_seen(qn_tok_run *r, const char *p, size_t n, qn_tok_seen **slot, bool *failed)
{
    *slot = NULL;
    if (!r->seen || n > QN_SEEN_BYTES)
        return false;
    uint32_t h = (uint32_t)qn__tok_hash(0, p, n);
    qn_tok_seen *s = &r->seen[h & r->seen_mask];
    if (!s->text || s->epoch != r->epoch || s->hash != h || s->n_text != n || memcmp(s->text, p, n) != 0) {
        s->text = NULL;
        s->hash = h;
        *slot = s;
        return false;
    }
    if (!qn__grow((void **)&r->ids, &r->cap_ids, r->n_ids + s->n_ids, sizeof *r->ids)) {
        *failed = true;
        return true;
    }
    memmove(r->ids + r->n_ids, r->ids + s->at_ids, s->n_ids * sizeof *r->ids);
    r->n_ids += s->n_ids;
    return true;
}

void qn__tok_remember(qn_tok_run *r, qn_tok_seen *slot, const char *p, size_t n, size_t ids_before)
{
    if (!slot)
        return;
    slot->text = p;
    slot->epoch = r->epoch;
    slot->n_text = (uint32_t)n;
    slot->at_ids = (uint32_t)ids_before;
    slot->n_ids = (uint32_t)(r->n_ids - ids_before);
}
