/* unigram.c - SentencePiece's unigram model: of all ways to cut the text into pieces of the vocabulary, the one whose
 * scores add up highest (Viterbi; Kudo 2018). Before that the text is normalised by the character map that the file
 * brings along, and spaces become U+2581.
 *
 * The map (tokenizer.ggml.precompiled_charsmap): u32 size | double-array trie, `size` bytes | replacement strings, each
 * ended by a NUL; a leaf's value is an offset into them. The trie is untrusted: every step is bounded. */
#include <float.h>

#include "text/tokenizer_internal.h"

static qn_status open_charsmap(qn_tokenizer *t, const qn_gguf *g, qn_err *err)
{
    const char *where = "tokenizer.ggml.precompiled_charsmap";
    const qn_gguf_kv *kv = qn__gguf_kv(g, where);
    if (!kv || (kv->kind == QN_GGUF_ARR && !kv->n))
        return QN_OK;
    if (kv->kind != QN_GGUF_ARR || (kv->elem != QN_GGUF_U8 && kv->elem != QN_GGUF_I8))
        return qn__fail(err, QN_EFORMAT, where, "The value must be an array of bytes.");
    uint32_t size = 0;
    if (kv->n >= 4)
        size = (uint32_t)kv->data[0] | (uint32_t)kv->data[1] << 8 | (uint32_t)kv->data[2] << 16 |
               (uint32_t)kv->data[3] << 24;
    if (kv->n < 4 || size > kv->n - 4 || size % 4)
        return qn__fail(err, QN_EFORMAT, where, "The map of %llu bytes says that its trie has %u.",
                        (unsigned long long)kv->n, size);
    char *copy = qn__alloc((size_t)kv->n - 4 + 1);
    if (!copy)
        return qn__fail_mem(err, where);
    memcpy(copy, kv->data + 4, (size_t)kv->n - 4);
    copy[kv->n - 4] = 0; /* the last string ends, whatever the file says */
    t->charsmap = (const uint32_t *)(const void *)copy;
    t->n_charsmap = size / 4;
    t->replacements = copy + size;
    t->n_replacements = (size_t)kv->n - 4 - size;
    return QN_OK;
}

qn_status qn__unigram_open(qn_tokenizer *t, const qn_gguf *g, qn_err *err)
{
    qn_status st = open_charsmap(t, g, err);
    if (!st)
        st = qn__gguf_bool(g, "tokenizer.ggml.remove_extra_whitespaces", false, &t->squeeze_spaces, err);
    if (!st)
        st = qn__gguf_bool(g, "tokenizer.ggml.treat_whitespace_as_suffix", false, &t->space_suffix, err);
    if (st)
        return st;
    if (!qn__trie_init(&t->pieces))
        return qn__fail_mem(err, "tokenizer.ggml.tokens");
    float least = FLT_MAX;
    bool has_bytes = false;
    for (int32_t id = 0; id < t->info.n_vocab; id++) {
        uint8_t a = t->attr[id];
        if (a == QN_TOKEN_NORMAL && t->score[id] < least)
            least = t->score[id];
        if ((a == QN_TOKEN_NORMAL || a == QN_TOKEN_USER) && !qn__trie_add(&t->pieces, t->text[id].p, t->text[id].n, id))
            return qn__fail_mem(err, "tokenizer.ggml.tokens");
        if (a == QN_TOKEN_BYTE)
            has_bytes = true;
    }
    for (int b = 0; b < 256; b++)
        t->byte_id[b] = has_bytes ? qn__byte_token_find(t, b) : -1;
    t->unk_score = (least == FLT_MAX ? 0 : least) - 10;
    return QN_OK;
}

/* The longest entry of the character map that begins at p: its replacement, NULL when there is none. */
static const char *mapped(const qn_tokenizer *t, const char *p, const char *end, size_t *n)
{
    const char *found = NULL;
    if (!t->n_charsmap)
        return NULL;
    uint32_t unit = t->charsmap[0], at = (unit >> 10) << ((unit & 0x200) >> 6);
    for (const char *q = p; q < end && *q; q++) {
        at ^= (unsigned char)*q;
        if (at >= t->n_charsmap)
            break;
        unit = t->charsmap[at];
        if ((unit & 0x800000FFu) != (unsigned char)*q)
            break;
        at ^= (unit >> 10) << ((unit & 0x200) >> 6);
        if ((unit >> 8 & 1) && at < t->n_charsmap) {
            uint32_t value = t->charsmap[at] & 0x7FFFFFFFu;
            if (value < t->n_replacements) {
                found = t->replacements + value;
                *n = (size_t)(q - p) + 1;
            }
        }
    }
    return found;
}

struct spacing {
    bool in_word, begun; /* begun: something was written */
    bool prefix;
};

static void put_normal(const qn_tokenizer *t, qn_buf *b, struct spacing *s, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == ' ') {
            s->in_word = false;
            if (!t->squeeze_spaces)
                qn__buf_put(b, QN_BLOCK, 3);
            s->begun |= !t->squeeze_spaces;
            continue;
        }
        if (!s->in_word && ((t->squeeze_spaces && s->begun) || (!s->begun && s->prefix)))
            qn__buf_put(b, QN_BLOCK, 3);
        s->in_word = s->begun = true;
        qn__buf_putc(b, p[i]);
    }
}

static void normalise(const qn_tokenizer *t, qn_buf *b, const char *text, size_t n, bool prefix)
{
    struct spacing s = {.prefix = prefix && !t->space_suffix};
    const char *end = text + n;
    if (s.prefix && !t->squeeze_spaces) {
        qn__buf_put(b, QN_BLOCK, 3);
        s.prefix = false;
    }
    for (const char *p = text; p < end;) {
        size_t len = 1;
        const char *with = mapped(t, p, end, &len);
        if (with) {
            put_normal(t, b, &s, with, strlen(with));
        } else {
            int32_t cp;
            len = qn__utf8_decode(p, (size_t)(end - p), &cp);
            put_normal(t, b, &s, cp < 0 ? "\xEF\xBF\xBD" : p, cp < 0 ? 3 : len);
        }
        p += len;
    }
    if (prefix && t->space_suffix)
        qn__buf_put(b, QN_BLOCK, 3);
}

/* best[i]: the highest sum of scores that ends at byte i, the piece it ends with and where that began. */
static void search(const qn_tokenizer *t, struct qn_uni_best *best, const char *p, size_t n)
{
    for (size_t i = 0; i <= n; i++)
        best[i] = (struct qn_uni_best){i ? -FLT_MAX : 0, -1, 0};
    for (size_t i = 0, len; i < n; i += len) {
        int32_t cp, node = 0;
        bool whole_char = false;
        len = qn__utf8_decode(p + i, n - i, &cp);
        for (size_t j = i; j < n && (node = qn__trie_step(&t->pieces, node, (unsigned char)p[j])) >= 0; j++) {
            int32_t id = t->pieces.value[node];
            if (id < 0)
                continue;
            whole_char |= j + 1 == i + len;
            float sum = best[i].score + (t->attr[id] == QN_TOKEN_USER ? 0 : t->score[id]);
            if (sum > best[j + 1].score)
                best[j + 1] = (struct qn_uni_best){sum, id, (uint32_t)i};
        }
        float sum = best[i].score + t->unk_score;
        if (!whole_char && sum > best[i + len].score)
            best[i + len] = (struct qn_uni_best){sum, -1, (uint32_t)i};
    }
}

qn_status qn__unigram_encode(qn_tok_run *r, const char *text, size_t n, bool prefix)
{
    const qn_tokenizer *t = r->t;
    r->norm.n = 0;
    normalise(t, &r->norm, text, n, prefix);
    n = r->norm.n;
    const char *p = r->norm.data;
    if (r->norm.failed || n >= UINT32_MAX / 2 || !qn__grow((void **)&r->best, &r->cap_best, n + 1, sizeof *r->best))
        return qn__fail_mem(r->err, "tokenize");
    search(t, r->best, p, n);
    size_t before = r->n_ids;
    bool was_unk = false, ok = true;
    for (size_t i = n; i && ok; i = r->best[i].prev) {
        const struct qn_uni_best *b = &r->best[i];
        bool bytes = b->id < 0 && t->byte_id[(unsigned char)p[b->prev]] >= 0;
        if (b->id >= 0)
            ok = qn__tok_emit(r, b->id);
        for (size_t j = i; bytes && ok && j-- > b->prev;)
            ok = qn__tok_emit(r, t->byte_id[(unsigned char)p[j]] >= 0 ? t->byte_id[(unsigned char)p[j]] : 0);
        if (b->id < 0 && !bytes && !was_unk && t->info.unk >= 0) /* neighbours are one unknown */
            ok = qn__tok_emit(r, t->info.unk);
        was_unk = b->id < 0 && !bytes;
    }
    if (!ok)
        return qn__fail_mem(r->err, "tokenize");
    for (size_t i = before, j = r->n_ids; i + 1 < j; i++) { /* found back to front */
        int32_t swap = r->ids[i];
        r->ids[i] = r->ids[--j];
        r->ids[j] = swap;
    }
    return QN_OK;
}
