/* wordpiece.c - BERT's tokenizer: text is cleaned, decomposed, stripped of accents and put in lower case, cut into
 * words at spaces, punctuation and CJK characters; a word becomes the longest pieces from its beginning on, or one
 * unknown (Devlin et al. 2019). Not reversible: the text that comes back is the cleaned one. */
#include <utf8proc.h>

#include "text/tokenizer_internal.h"

qn_status qn__wordpiece_open(qn_tokenizer *t, const qn_gguf *g, qn_err *err)
{
    qn_status st = qn__gguf_bool(g, "tokenizer.ggml.normalizer.lowercase", true, &t->lowercase, err);
    if (!st)
        st = qn__gguf_bool(g, "tokenizer.ggml.normalizer.strip_accents", t->lowercase, &t->strip_accents, err);
    if (st)
        return st;
    bool blocks = false;
    for (int32_t id = 0; id < t->info.n_vocab; id++) {
        qn_slice s = t->text[id];
        blocks |= qn__is_block(s.p, s.p + s.n);
        t->hashes |= s.n > 2 && s.p[0] == '#' && s.p[1] == '#';
    }
    t->hashes &= !blocks;
    char *key = qn__alloc(t->max_bytes + 3);
    bool ok = key && qn__trie_init(&t->pieces);
    for (int32_t id = 0; ok && id < t->info.n_vocab; id++) {
        qn_slice s = t->text[id];
        if (!t->hashes || t->attr[id] == QN_TOKEN_CONTROL) {
            ok = qn__trie_add(&t->pieces, s.p, s.n, id);
        } else if (s.n > 2 && s.p[0] == '#' && s.p[1] == '#') {
            ok = qn__trie_add(&t->pieces, s.p + 2, s.n - 2, id);
        } else {
            memcpy(key, QN_BLOCK, 3);
            memcpy(key + 3, s.p, s.n);
            ok = qn__trie_add(&t->pieces, key, s.n + 3, id);
        }
    }
    qn_free(key);
    return ok ? QN_OK : qn__fail_mem(err, "tokenizer.ggml.tokens");
}

static bool is_space(int32_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static bool is_cjk(int32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

static bool stands_alone(int32_t c, utf8proc_category_t k)
{
    return (k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO) || is_cjk(c) ||
           (c < 0x7F && k >= UTF8PROC_CATEGORY_SM && k <= UTF8PROC_CATEGORY_SO);
}

/* The word in r->norm (U+2581 in front) -> ids. */
static bool end_word(qn_tok_run *r)
{
    const qn_tokenizer *t = r->t;
    const char *p = r->norm.data;
    size_t n = r->norm.n, before = r->n_ids;
    r->norm.n = 0;
    if (r->norm.failed)
        return false;
    for (size_t i = 0; i < n;) {
        int32_t found = -1, node = 0;
        size_t to = i;
        for (size_t j = i; j < n && (node = qn__trie_step(&t->pieces, node, (unsigned char)p[j])) >= 0; j++)
            if (t->pieces.value[node] >= 0) {
                found = t->pieces.value[node];
                to = j + 1;
            }
        if (found < 0) { /* one piece is missing: the whole word is unknown */
            r->n_ids = before;
            return t->info.unk < 0 || qn__tok_emit(r, t->info.unk);
        }
        if (!qn__tok_emit(r, found))
            return false;
        i = to;
    }
    return true;
}

static void add_char(qn_tok_run *r, int32_t c)
{
    char u[4];
    if (!r->norm.n)
        qn__buf_put(&r->norm, QN_BLOCK, 3);
    qn__buf_put(&r->norm, u, qn__utf8_encode(c, u));
}

static bool take_char(qn_tok_run *r, int32_t c)
{
    if (is_space(c))
        return end_word(r);
    utf8proc_category_t k = utf8proc_category(c);
    bool control = k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CS ||
                   k == UTF8PROC_CATEGORY_CO;
    bool mark = k >= UTF8PROC_CATEGORY_MN && k <= UTF8PROC_CATEGORY_ME;
    if (c == 0 || c == 0xFFFD || control || (mark && r->t->strip_accents))
        return true;
    if (r->t->lowercase)
        c = utf8proc_tolower(c);
    if (!stands_alone(c, k)) {
        add_char(r, c);
        return true;
    }
    if (!end_word(r))
        return false;
    add_char(r, c);
    return end_word(r);
}

qn_status qn__wordpiece_encode(qn_tok_run *r, const char *text, size_t n)
{
    bool ok = true;
    for (size_t i = 0; i < n && ok;) {
        int32_t c, parts[32];
        i += qn__utf8_decode(text + i, n - i, &c);
        if (c < 0)
            continue; /* malformed: dropped, as U+FFFD would be */
        int boundary = 0;
        /* Of a decomposition the base alone counts: what follows it are the marks that are stripped anyway, and the
         * vowels and finals of Hangul syllables, which the ecosystem's WordPiece leaves out too. */
        if (r->t->strip_accents && utf8proc_decompose_char(c, parts, 32, UTF8PROC_DECOMPOSE, &boundary) > 0)
            c = parts[0];
        ok = take_char(r, c);
    }
    return ok && end_word(r) ? QN_OK : qn__fail_mem(r->err, "tokenize");
}
