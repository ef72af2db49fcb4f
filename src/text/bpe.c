/* bpe.c - byte pair encoding: inside one piece of text, the pair of neighbours whose merge was learned first is joined,
 * leftmost first, until none is left (Sennrich et al. 2016; over bytes: Radford et al. 2019).
 *
 * Short pieces (nearly all of source code) scan a small array; long ones keep the pending merges in a heap, so that a
 * megabyte without a border costs n log n:
 *
 *   sym:  [h]<->[e]<->[l]<->[l]<->[o]      heap of (rank << 32 | left position); an entry is stale when the symbol at
 *          rank of (sym, next sym) in each  that position has another rank by now */
#include <string.h>

#include "text/tokenizer_internal.h"

enum { SHORT = 48 };

/* ---- open ---- */

static qn_status merge_at(qn_tokenizer *t, qn_slice m, uint32_t rank, uint64_t total, char *join, qn_err *err)
{
    const char *where = "tokenizer.ggml.merges";
    const char *space = m.n > 2 ? memchr(m.p + 1, ' ', m.n - 1) : NULL;
    size_t l = space ? (size_t)(space - m.p) : 0;
    if (!space || l + 1 == m.n)
        return qn__fail(err, QN_EFORMAT, where, "Merge %u is not two texts with a space between them.", rank);
    size_t r = m.n - l - 1;
    int32_t left = qn__tok_map_find(t, m.p, l), right = qn__tok_map_find(t, space + 1, r), both = -1;
    if (left >= 0 && right >= 0 && l + r <= t->max_bytes) {
        memcpy(join, m.p, l);
        memcpy(join + l, space + 1, r);
        both = qn__tok_map_find(t, join, l + r);
    }
    if (both < 0)
        return qn__fail(err, QN_EFORMAT, where, "Merge %u of %llu, \"%.*s\", names a token that the vocabulary lacks.",
                        rank, (unsigned long long)total, m.n > 80 ? 80 : (int)m.n, m.p);
    qn_tok_pair *p = (qn_tok_pair *)qn__tok_pair(t, left, right);
    if (p->rank == UINT32_MAX) /* of two equal merges the earlier one counts */
        *p = (qn_tok_pair){(uint64_t)(uint32_t)left << 32 | (uint32_t)right, rank, both};
    return QN_OK;
}

static qn_status open_merges(qn_tokenizer *t, const qn_gguf *g, qn_err *err)
{
    const char *where = "tokenizer.ggml.merges";
    const qn_gguf_kv *kv = qn__gguf_kv(g, where);
    if (!kv)
        return qn__fail(err, QN_EFORMAT, where, "The key is missing; byte pair encoding needs the list of merges.");
    if (kv->kind != QN_GGUF_ARR || kv->elem != QN_GGUF_STR || kv->n >= INT32_MAX)
        return qn__fail(err, QN_EFORMAT, where, "The value must be an array of strings.");
    qn_status st = QN_OK;
    char *join = NULL;
    qn_slice *merges = NULL;
    size_t n = 16, bytes;
    while (n < kv->n + kv->n / 2 + 1)
        n *= 2;
    if (!qn__mul(n, sizeof *t->pairs, &bytes) || !(t->pairs = qn__alloc(bytes)) ||
        !(join = qn__alloc(t->max_bytes + 1)) || !(merges = qn__calloc((size_t)kv->n, sizeof *merges))) {
        st = qn__fail_mem(err, where);
        goto out;
    }
    memset(t->pairs, 0xFF, bytes);
    t->pair_mask = (uint32_t)(n - 1);
    qn__gguf_arr_strs(kv, merges);
    for (uint64_t i = 0; i < kv->n && !st; i++)
        st = merge_at(t, merges[i], (uint32_t)i, kv->n, join, err);
out:
    qn_free(merges);
    qn_free(join);
    return st;
}

qn_status qn__bpe_open(qn_tokenizer *t, const qn_gguf *g, qn_err *err)
{
    qn_status st = qn__pretok_open((qn_slice){t->pre, strlen(t->pre)}, &t->pretok, err);
    if (st)
        return st;
    t->raw_utf8 = qn__pretok_info(t->pretok)->raw_utf8;
    for (int b = 0; b < 256; b++) {
        char c[4];
        /* Some vocabularies have no token for bytes that UTF-8 never uses, and a user-defined one (of text, not of a
         * byte) in that place: it must not stand for the byte. */
        t->byte_id[b] = t->raw_utf8 ? qn__byte_token_find(t, b)
                                    : qn__tok_map_find(t, c, qn__utf8_encode(qn__byte_to_char((unsigned char)b), c));
        if (t->byte_id[b] >= 0 && t->attr[t->byte_id[b]] == QN_TOKEN_USER)
            t->byte_id[b] = -1;
    }
    return open_merges(t, g, err);
}

/* ---- encode ---- */

/* Bytes that no merge and no text of the vocabulary covers. */
static bool emit_bytes(qn_tok_run *r, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t id = r->t->byte_id[(unsigned char)p[i]];
        if (id < 0)
            id = r->t->info.unk;
        if (id >= 0 && !qn__tok_emit(r, id))
            return false;
    }
    return true;
}

static bool merge_short(qn_tok_run *r, const char *p, size_t n)
{
    const qn_tokenizer *t = r->t;
    int32_t id[SHORT];
    const qn_tok_pair *pair[SHORT];
    size_t k = n;
    for (size_t i = 0; i < n; i++)
        id[i] = t->byte_id[(unsigned char)p[i]];
    for (size_t i = 0; i < n; i++)
        if (id[i] < 0) {
            /* A byte outside the alphabet takes part in no merge: what lies on either side stands alone. */
            return (!i || merge_short(r, p, i)) && emit_bytes(r, p + i, 1) &&
                   (i + 1 == n || merge_short(r, p + i + 1, n - i - 1));
        }
    for (size_t i = 0; i + 1 < n; i++)
        pair[i] = qn__tok_pair(t, id[i], id[i + 1]);
    while (k > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < k; i++)
            if (pair[i]->rank < pair[best]->rank)
                best = i;
        if (pair[best]->rank == UINT32_MAX)
            break;
        id[best] = pair[best]->id;
        k--;
        memmove(id + best + 1, id + best + 2, (k - best - 1) * sizeof *id);
        if (best + 1 < k) {
            memmove(pair + best + 1, pair + best + 2, (k - best - 2) * sizeof *pair);
            pair[best] = qn__tok_pair(t, id[best], id[best + 1]);
        }
        if (best)
            pair[best - 1] = qn__tok_pair(t, id[best - 1], id[best]);
    }
    if (!qn__grow((void **)&r->ids, &r->cap_ids, r->n_ids + k, sizeof *r->ids))
        return false;
    memcpy(r->ids + r->n_ids, id, k * sizeof *id);
    r->n_ids += k;
    return true;
}

/* Look the pair that begins at s up and queue it. */
static bool queue(qn_tok_run *r, size_t *n_heap, int32_t s)
{
    qn_tok_sym *a = &r->sym[s];
    a->rank = UINT32_MAX;
    if (a->id < 0 || a->next < 0 || r->sym[a->next].id < 0)
        return true;
    const qn_tok_pair *p = qn__tok_pair(r->t, a->id, r->sym[a->next].id);
    a->rank = p->rank;
    a->merged = p->id;
    return p->rank == UINT32_MAX || qn__heap_push(r, n_heap, (uint64_t)p->rank << 32 | (uint32_t)s);
}

/* The piece's first symbols: bytes, or characters of a vocabulary over characters. */
static bool first_symbols(qn_tok_run *r, const char *p, size_t n, size_t *n_sym)
{
    const qn_tokenizer *t = r->t;
    size_t k = 0;
    if (!qn__grow((void **)&r->sym, &r->cap_sym, n, sizeof *r->sym))
        return false;
    for (size_t i = 0, len = 1; i < n; i += len, k++) {
        qn_tok_sym *s = &r->sym[k];
        if (t->raw_utf8) {
            int32_t cp;
            len = qn__utf8_decode(p + i, n - i, &cp);
            s->id = qn__tok_map_find(t, p + i, len);
        } else {
            s->id = t->byte_id[(unsigned char)p[i]];
        }
        s->at = (uint32_t)i;
        s->prev = (int32_t)k - 1;
        s->next = (int32_t)k + 1;
    }
    r->sym[k - 1].next = -1;
    *n_sym = k;
    return true;
}

static bool merge_long(qn_tok_run *r, const char *p, size_t n)
{
    size_t n_sym, n_heap = 0;
    if (!first_symbols(r, p, n, &n_sym))
        return false;
    qn_tok_sym *sym = r->sym;
    for (size_t i = 0; i < n_sym; i++)
        if (!queue(r, &n_heap, (int32_t)i))
            return false;
    while (n_heap) {
        uint64_t key = qn__heap_pop(r->heap, &n_heap);
        qn_tok_sym *a = &sym[(uint32_t)key];
        if (a->next < 0 || a->rank != (uint32_t)(key >> 32))
            continue; /* stale */
        qn_tok_sym *b = &sym[a->next];
        a->id = a->merged;
        a->next = b->next;
        b->next = -2;
        b->rank = UINT32_MAX;
        if (a->next >= 0)
            sym[a->next].prev = (int32_t)(a - sym);
        if (!queue(r, &n_heap, (int32_t)(a - sym)) || (a->prev >= 0 && !queue(r, &n_heap, a->prev)))
            return false;
    }
    for (int32_t i = 0; i >= 0; i = sym[i].next) {
        size_t end = sym[i].next >= 0 ? sym[sym[i].next].at : n;
        if (sym[i].id >= 0 ? !qn__tok_emit(r, sym[i].id) : !emit_bytes(r, p + sym[i].at, end - sym[i].at))
            return false;
    }
    return true;
}

/* The vocabulary's own id for a whole piece, -1 when it has none. */
static int32_t whole(const qn_tokenizer *t, const char *p, size_t n)
{
    if (t->raw_utf8)
        return qn__tok_map_find(t, p, n);
    char mapped[2 * QN_SEEN_BYTES];
    size_t k = 0;
    if (n <= QN_SEEN_BYTES) {
        for (size_t i = 0; i < n; i++)
            k += qn__utf8_encode(qn__byte_to_char((unsigned char)p[i]), mapped + k);
        return qn__tok_map_find(t, mapped, k);
    }
    if (n > t->max_bytes)
        return -1;
    qn_buf b = {0};
    char c[4];
    for (size_t i = 0; i < n; i++)
        qn__buf_put(&b, c, qn__utf8_encode(qn__byte_to_char((unsigned char)p[i]), c));
    int32_t id = b.failed ? -2 : qn__tok_map_find(t, b.data, b.n);
    qn__buf_free(&b);
    return id;
}

struct piece {
    qn_tok_run *r;
    const char *text;
};

static bool encode_piece(void *arg, size_t at, size_t n)
{
    const struct piece *c = arg;
    qn_tok_run *r = c->r;
    const qn_tokenizer *t = r->t;
    const char *p = c->text + at;
    if (n == 1 && !t->raw_utf8 && t->byte_id[(unsigned char)*p] >= 0)
        return qn__tok_emit(r, t->byte_id[(unsigned char)*p]);
    qn_tok_seen *slot;
    bool failed = false;
    if (qn__tok_seen(r, p, n, &slot, &failed))
        return !failed;
    size_t before = r->n_ids;
    bool breaks = t->raw_utf8 && *p == '\n'; /* a piece of line breaks alone: the vocabulary has runs that no merge makes */
    if (breaks || qn__pretok_info(t->pretok)->whole_words) {
        int32_t id = whole(t, p, n);
        if (id != -1) {
            if (id < 0 || !qn__tok_emit(r, id))
                return false;
            qn__tok_remember(r, slot, p, n, before);
            return true;
        }
    }
    if (!(n <= SHORT && !t->raw_utf8 ? merge_short(r, p, n) : merge_long(r, p, n)))
        return false;
    qn__tok_remember(r, slot, p, n, before);
    return true;
}

/* The patterns want valid UTF-8. In text that is not, each malformed byte is shown to them as U+001A (SUBSTITUTE),
 * which is one byte too; the pieces are then cut from the text as it is, so that no byte is lost. Only a byte for which
 * the vocabulary has no token at all (some lack those that UTF-8 never uses) becomes U+FFFD. */
static bool substitute(const qn_tokenizer *t, qn_buf *kept, qn_buf *shown, const char *text, size_t n)
{
    for (size_t i = 0, len; i < n; i += len) {
        int32_t cp;
        len = qn__utf8_decode(text + i, n - i, &cp);
        if (cp < 0 && t->byte_id[(unsigned char)text[i]] < 0 && !t->raw_utf8) {
            qn__buf_put(kept, "\xEF\xBF\xBD", 3);
            qn__buf_put(shown, "\xEF\xBF\xBD", 3);
        } else {
            qn__buf_put(kept, text + i, len);
            qn__buf_put(shown, cp < 0 ? "\x1A" : text + i, len);
        }
    }
    return !kept->failed && !shown->failed;
}

qn_status qn__bpe_encode(qn_tok_run *r, const char *text, size_t n)
{
    qn_buf kept = {0}, shown = {0}, spaced = {0};
    qn_status st = QN_OK;
    if (r->t->raw_utf8) {
        qn__put_blocks(&spaced, text, n);
        text = spaced.data;
        n = spaced.n;
    }
    bool valid = !spaced.failed && qn__utf8_valid(text, n);
    if (spaced.failed || (!valid && !substitute(r->t, &kept, &shown, text, n))) {
        st = qn__fail_mem(r->err, "tokenize");
        goto out;
    }
    if (r->t->raw_utf8 || !valid)
        r->epoch++; /* words met before lie in memory that is gone */
    struct piece c = {r, valid ? text : kept.data};
    st = qn__pretok_split(r->t->pretok, &r->pre, valid ? text : shown.data, valid ? n : shown.n, encode_piece, &c,
                          r->err);
    if (r->t->raw_utf8 || !valid)
        r->epoch++;
out:
    qn__buf_free(&kept);
    qn__buf_free(&shown);
    qn__buf_free(&spaced);
    return st;
}
