/* spm.c - SentencePiece's byte pair encoding: neighbours are joined when the vocabulary has their text, the one with
 * the highest score first, leftmost first (Kudo and Richardson 2018). Spaces are written U+2581; what the vocabulary
 * lacks becomes byte tokens.
 *
 * Merges never cross into a new word when no text of the vocabulary does: then each word is merged on its own, and a
 * word met before is copied. */
#include "text/tokenizer_internal.h"

qn_status qn__spm_open(qn_tokenizer *t, const qn_gguf *g, qn_err *err)
{
    (void)g;
    (void)err;
    for (int b = 0; b < 256; b++) {
        const char one = (char)b;
        t->byte_id[b] = qn__byte_token_find(t, b);
        if (t->byte_id[b] < 0)
            t->byte_id[b] = qn__tok_map_find(t, &one, 1);
    }
    t->word_starts = true;
    for (int32_t id = 0; id < t->info.n_vocab; id++) {
        const char *p = t->text[id].p, *end = p + t->text[id].n;
        for (const char *q = p + 1; q < end; q++)
            if (qn__is_block(q, end) && !(q - p >= 3 && qn__is_block(q - 3, end)))
                t->word_starts = false;
    }
    return QN_OK;
}

/* Scores as keys that ascend from the best. */
static uint32_t key_of(float score)
{
    uint32_t u;
    memcpy(&u, &score, 4);
    return ~(u & 0x80000000u ? ~u : u | 0x80000000u);
}

static size_t end_of(const qn_tok_sym *sym, int32_t i, size_t n)
{
    return sym[i].next >= 0 ? sym[sym[i].next].at : n;
}

static bool queue(qn_tok_run *r, const char *p, size_t n, size_t *n_heap, int32_t i)
{
    const qn_tokenizer *t = r->t;
    qn_tok_sym *a = &r->sym[i];
    a->rank = UINT32_MAX;
    if (a->next < 0)
        return true;
    a->merged = qn__tok_map_find(t, p + a->at, end_of(r->sym, a->next, n) - a->at);
    if (a->merged < 0)
        return true;
    a->rank = key_of(t->score[a->merged]);
    return qn__heap_push(r, n_heap, (uint64_t)a->rank << 32 | (uint32_t)i);
}

/* Symbols are characters by their first byte's word for it, malformed or not; never across a space. */
static bool first_symbols(qn_tok_run *r, const char *p, size_t n, size_t *n_sym)
{
    static const unsigned char lengths[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4};
    size_t k = 0;
    if (!qn__grow((void **)&r->sym, &r->cap_sym, n, sizeof *r->sym))
        return false;
    for (size_t i = 0; i < n; k++) {
        qn_tok_sym *s = &r->sym[k];
        *s = (qn_tok_sym){.prev = (int32_t)k - 1, .next = (int32_t)k + 1, .at = (uint32_t)i};
        size_t len = lengths[(unsigned char)p[i] >> 4], take = 1;
        while (take < len && i + take < n && !qn__is_block(p + i + take, p + n))
            take++;
        s->id = qn__tok_map_find(r->t, p + i, take);
        i += take;
    }
    r->sym[k - 1].next = -1;
    *n_sym = k;
    return true;
}

static bool emit(qn_tok_run *r, const char *p, size_t n, int32_t id)
{
    if (id >= 0)
        return qn__tok_emit(r, id);
    for (size_t i = 0; i < n; i++) {
        int32_t b = r->t->byte_id[(unsigned char)p[i]];
        if (b < 0)
            b = r->t->info.unk;
        if (b >= 0 && !qn__tok_emit(r, b))
            return false;
    }
    return true;
}

static bool merge(qn_tok_run *r, const char *p, size_t n)
{
    size_t n_sym, n_heap = 0;
    if (!first_symbols(r, p, n, &n_sym))
        return false;
    qn_tok_sym *sym = r->sym;
    for (size_t i = 0; i < n_sym; i++)
        if (!queue(r, p, n, &n_heap, (int32_t)i))
            return false;
    while (n_heap) {
        uint64_t key = qn__heap_pop(r->heap, &n_heap);
        int32_t i = (int32_t)(uint32_t)key;
        qn_tok_sym *a = &sym[i];
        if (a->next < 0 || a->rank != (uint32_t)(key >> 32))
            continue; /* stale */
        qn_tok_sym *b = &sym[a->next];
        a->id = a->merged;
        a->next = b->next;
        b->next = -2;
        b->rank = UINT32_MAX;
        if (a->next >= 0)
            sym[a->next].prev = i;
        if (!queue(r, p, n, &n_heap, i) || (a->prev >= 0 && !queue(r, p, n, &n_heap, a->prev)))
            return false;
    }
    for (int32_t i = 0; i >= 0; i = sym[i].next)
        if (!emit(r, p + sym[i].at, end_of(sym, i, n) - sym[i].at, sym[i].id))
            return false;
    return true;
}

static bool encode_word(qn_tok_run *r, const char *p, size_t n)
{
    qn_tok_seen *slot;
    bool failed = false;
    if (qn__tok_seen(r, p, n, &slot, &failed))
        return !failed;
    size_t before = r->n_ids;
    if (!merge(r, p, n))
        return false;
    qn__tok_remember(r, slot, p, n, before);
    return true;
}

qn_status qn__spm_encode(qn_tok_run *r, const char *text, size_t n, bool prefix)
{
    r->norm.n = 0;
    r->epoch++;
    if (prefix)
        qn__buf_put(&r->norm, QN_BLOCK, 3);
    qn__put_blocks(&r->norm, text, n);
    if (r->norm.failed)
        return qn__fail_mem(r->err, "tokenize");
    const char *p = r->norm.data, *end = p + r->norm.n;
    while (p < end) {
        const char *q = r->t->word_starts ? p : end;
        while (q < end && qn__is_block(q, end)) /* the word's own beginning */
            q += 3;
        while (q < end && !qn__is_block(q, end))
            q++;
        if (!encode_word(r, p, (size_t)(q - p)))
            return qn__fail_mem(r->err, "tokenize");
        p = q;
    }
    return QN_OK;
}
