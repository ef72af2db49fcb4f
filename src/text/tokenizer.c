/* tokenizer.c - see tokenizer.h. Owns opening and closing, and the way from a whole text to ids: cutting special tokens
 * out, handing what lies between to the kind's encoder, BOS and EOS. */
#include "text/tokenizer.h"

#include <string.h>

#include "text/tokenizer_internal.h"

qn_status qn__tokenizer_open(const qn_gguf *g, qn_tokenizer **out, qn_err *err)
{
    qn_tokenizer *t = qn__calloc(1, sizeof *t);
    if (!t)
        return qn__fail_mem(err, "tokenizer");
    int32_t *none[] = {&t->info.bos,     &t->info.eos,     &t->info.eot,     &t->info.eom,     &t->info.unk,
                       &t->info.sep,     &t->info.pad,     &t->info.mask,    &t->info.fim_pre, &t->info.fim_suf,
                       &t->info.fim_mid, &t->info.fim_pad, &t->info.fim_rep, &t->info.fim_sep, &t->tail};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        *none[i] = -1;
    qn_status st = qn__tok_vocab_open(t, g, err);
    if (!st && t->kind == QN_TOK_BPE)
        st = qn__bpe_open(t, g, err);
    if (!st)
        st = qn__tok_specials_open(t, g, err);
    if (!st && t->kind == QN_TOK_SPM)
        st = qn__spm_open(t, g, err);
    if (!st && t->kind == QN_TOK_UNIGRAM)
        st = qn__unigram_open(t, g, err);
    if (!st && t->kind == QN_TOK_WORDPIECE)
        st = qn__wordpiece_open(t, g, err);
    if (st) {
        qn__tokenizer_close(t);
        /* What the reader of metadata says names the file already. */
        if (err && strncmp(err->where, qn__gguf_name(g), strlen(qn__gguf_name(g))) != 0)
            qn__err_prefix(err, qn__gguf_name(g));
        return st;
    }
    *out = t;
    return QN_OK;
}

void qn__tokenizer_close(qn_tokenizer *t)
{
    if (!t)
        return;
    void *kept = atomic_load(&t->kept);
    if (kept)
        atomic_load(&t->drop)(kept);
    qn_free(t->text);
    qn_free(t->attr);
    qn_free(t->flags);
    qn_free(t->score);
    qn_free(t->map.slots);
    qn_free(t->pairs);
    qn_free((void *)t->charsmap);
    qn__trie_free(&t->special);
    qn__trie_free(&t->pieces);
    qn__pretok_close(t->pretok);
    qn_free(t);
}

const qn_tokenizer_info *qn__tokenizer_info(const qn_tokenizer *t)
{
    return &t->info;
}

qn_slice qn__token_text(const qn_tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->info.n_vocab ? t->text[id] : (qn_slice){"", 0};
}

qn_token_attr qn__token_attr(const qn_tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->info.n_vocab ? (qn_token_attr)t->attr[id] : QN_TOKEN_UNKNOWN;
}

int32_t qn__token_find(const qn_tokenizer *t, const char *text, size_t n)
{
    return qn__tok_map_find(t, text, n);
}

bool qn__token_ends(const qn_tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->info.n_vocab && (t->flags[id] & QN_TF_ENDS);
}

void *qn__tokenizer_keep(const qn_tokenizer *t, void *(*make)(const qn_tokenizer *t), void (*drop)(void *))
{
    qn_tokenizer *x = (qn_tokenizer *)t; /* read-only but for this slot, which is filled once */
    void *have = atomic_load(&x->kept), *none = NULL;
    if (have)
        return have;
    void *made = make(t);
    if (!made)
        return NULL;
    atomic_store(&x->drop, drop);
    if (atomic_compare_exchange_strong(&x->kept, &none, made))
        return made;
    drop(made); /* someone else was quicker */
    return none;
}

bool qn__tok_emit(qn_tok_run *r, int32_t id)
{
    if (!qn__grow((void **)&r->ids, &r->cap_ids, r->n_ids + 1, sizeof *r->ids))
        return false;
    r->ids[r->n_ids++] = id;
    return true;
}

void qn__put_blocks(qn_buf *b, const char *text, size_t n)
{
    for (size_t i = 0, from = 0; i <= n; i++)
        if (i == n || text[i] == ' ') {
            qn__buf_put(b, text + from, i - from);
            if (i < n)
                qn__buf_put(b, QN_BLOCK, 3);
            from = i + 1;
        }
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The longest special token that begins at p; -1 when none does. `plain`: user-defined ones only. */
static int32_t special_at(const qn_tokenizer *t, const char *p, const char *end, bool plain, size_t *n)
{
    int32_t found = -1;
    const char *q = p;
    for (int32_t node = 0; q < end && (node = qn__trie_step(&t->special, node, (unsigned char)*q)) >= 0; q++) {
        int32_t id = t->special.value[node];
        if (id >= 0 && !(plain && t->attr[id] != QN_TOKEN_USER)) {
            found = id;
            *n = (size_t)(q - p) + 1;
        }
    }
    return found;
}

static qn_status encode(qn_tok_run *r, const char *p, size_t n, bool prefix)
{
    if (!n)
        return QN_OK;
    switch (r->t->kind) {
    case QN_TOK_BPE: return qn__bpe_encode(r, p, n);
    case QN_TOK_SPM: return qn__spm_encode(r, p, n, prefix);
    case QN_TOK_UNIGRAM: return qn__unigram_encode(r, p, n, prefix);
    case QN_TOK_WORDPIECE: break;
    }
    return qn__wordpiece_encode(r, p, n);
}

/* Text between special tokens goes to the encoder; after one, as at the very beginning, a space prefix is due. */
static qn_status fragments(qn_tok_run *r, const char *text, size_t n, bool special)
{
    const qn_tokenizer *t = r->t;
    const char *from = text, *p = text, *end = text + n;
    bool prefix = t->info.add_space_prefix;
    if (!special && !t->has_user)
        return encode(r, text, n, prefix);
    while (p < end) {
        size_t len = 0;
        int32_t id = t->special.root[(unsigned char)*p] < 0 ? -1 : special_at(t, p, end, !special, &len);
        if (id < 0) {
            p++;
            continue;
        }
        const char *to = p;
        while ((t->flags[id] & QN_TF_LSTRIP) && to > from && is_space(to[-1]))
            to--;
        qn_status st = encode(r, from, (size_t)(to - from), prefix);
        if (st)
            return st;
        if (!qn__tok_emit(r, id))
            return qn__fail_mem(r->err, "tokenize");
        p += len;
        while ((t->flags[id] & QN_TF_RSTRIP) && p < end && is_space(*p))
            p++;
        from = p;
    }
    return encode(r, from, (size_t)(end - from), prefix);
}

/* A table of words already met: no larger than the text warrants. */
static bool remember_words(qn_tok_run *r, size_t n)
{
    size_t slots = 64;
    if (n < 1024)
        return true;
    while (slots < n / 8 && slots < 16384)
        slots *= 2;
    r->seen = qn__calloc(slots, sizeof *r->seen);
    r->seen_mask = (uint32_t)slots - 1;
    return r->seen != NULL;
}

qn_status qn__tokenize(const qn_tokenizer *t, const char *text, size_t n, bool special, qn_add_bos bos, int32_t **ids,
                       size_t *n_ids, qn_err *err)
{
    if (n > INT32_MAX / 4)
        return qn__fail(err, QN_ELIMIT, "tokenize", "A text of %zu bytes is more than the %d that are taken at once.",
                        n, INT32_MAX / 4);
    qn_status st = QN_OK;
    qn_tok_run r = {.t = t, .err = err};
    bool head = t->info.bos >= 0 && (bos == QN_BOS_YES || (bos == QN_BOS_AUTO && t->info.add_bos));
    bool tail = t->tail >= 0 && bos == QN_BOS_AUTO;
    if (!qn__grow((void **)&r.ids, &r.cap_ids, n / 4 + 2, sizeof *r.ids) || !remember_words(&r, n) ||
        (head && !qn__tok_emit(&r, t->info.bos))) {
        st = qn__fail_mem(err, "tokenize");
        goto out;
    }
    st = fragments(&r, text, n, special);
    if (!st && tail && !qn__tok_emit(&r, t->tail))
        st = qn__fail_mem(err, "tokenize");
    if (st)
        goto out;
    *ids = r.ids;
    *n_ids = r.n_ids;
    r.ids = NULL;
out:
    qn_free(r.ids);
    qn_free(r.seen);
    qn_free(r.sym);
    qn_free(r.heap);
    qn_free(r.best);
    qn__buf_free(&r.norm);
    qn__pretok_run_free(&r.pre);
    return st;
}
