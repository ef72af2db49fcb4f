/* convert_pieces.c - tokenizer.json of the types that encoders have: Unigram (pieces with scores, XLM-RoBERTa, T5) and
 * WordPiece (BERT).
 *
 *   WordPiece here:  "word", "##tail", "[SEP]"      in GGUF:  U+2581 "word", "tail", "[SEP]"
 *   Unigram's map of characters: base64 here, bytes in GGUF
 *
 * Refuses: normalisers that GGUF has no key for. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/convert_vocab.h"

/* ---- WordPiece ---- */

static bool put_piece(vocab *v, const char *text, int64_t id, bool special)
{
    size_t n = strlen(text);
    if (special)
        return qn__vocab_set(v, id, (qn_slice){text, n}, CONTROL, 0);
    if (n > 2 && text[0] == '#' && text[1] == '#')
        return qn__vocab_set(v, id, (qn_slice){text + 2, n - 2}, NORMAL, 0);
    char *out = qn__cv_alloc(v->c, n + 4);
    if (!out)
        return false;
    memcpy(out, "\xE2\x96\x81", 3);
    memcpy(out + 3, text, n);
    return qn__vocab_set(v, id, (qn_slice){out, n + 3}, NORMAL, 0);
}

static bool is_added(vocab *v, int64_t id)
{
    json_t *list = json_object_get(v->c->tokenizer, "added_tokens");
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *t = json_array_get(list, i), *at = json_object_get(t, "id");
        if (json_is_integer(at) && json_integer_value(at) == id)
            return true;
    }
    return false;
}

/* BERT's normaliser: cleans, cuts CJK apart; puts in lower case and strips accents, or not. */
static bool check_bert(vocab *v)
{
    json_t *n = qn__vocab_top(v, "normalizer", "BertNormalizer"), *lower = json_object_get(n, "lowercase"), *strip = json_object_get(n, "strip_accents");
    bool low = !json_is_false(lower), accents = json_is_boolean(strip) ? json_is_true(strip) : low;
    if (!n || !qn__vocab_top(v, "pre_tokenizer", "BertPreTokenizer"))
        return qn__cv_fail(v->c, QN_EUNSUPPORTED, "tokenizer.json: normalizer", "WordPiece is converted with BertNormalizer and BertPreTokenizer only");
    if (json_is_false(json_object_get(n, "handle_chinese_chars")) || json_is_false(json_object_get(n, "clean_text")))
        return qn__cv_fail(v->c, QN_EUNSUPPORTED, "tokenizer.json: normalizer", "handle_chinese_chars and clean_text must be true: GGUF has no keys for them");
    if (!low)
        qn__gguf_put_bool(v->c->w, "tokenizer.ggml.normalizer.lowercase", false);
    if (accents != low)
        qn__gguf_put_bool(v->c->w, "tokenizer.ggml.normalizer.strip_accents", accents);
    return true;
}

bool qn__vocab_wordpiece(vocab *v, json_t *model)
{
    const char *text, *prefix = json_string_value(json_object_get(model, "continuing_subword_prefix"));
    json_t *id;
    v->kind = VOCAB_WORDPIECE;
    if (!json_is_object(v->words) || (prefix && strcmp(prefix, "##") != 0))
        return qn__cv_fail(v->c, QN_EUNSUPPORTED, "tokenizer.json: model", "a WordPiece vocabulary is a map from texts to ids with continuing_subword_prefix ##");
    json_object_foreach(v->words, text, id) {
        if (!json_is_integer(id))
            return qn__vocab_bad(v, "model.vocab: the id of \"%s\" is not a whole number", text, 0);
        if (!is_added(v, json_integer_value(id)) && !put_piece(v, text, json_integer_value(id), false))
            return false;
    }
    return check_bert(v) && qn__vocab_read_added(v);
}

/* ---- Unigram ---- */

bool qn__vocab_charsmap(vocab *v, const unsigned char *bytes, size_t n)
{
    v->charsmap = qn__cv_alloc(v->c, n);
    if (v->charsmap && n)
        memcpy(v->charsmap, bytes, n);
    v->n_charsmap = v->charsmap ? n : 0;
    return v->charsmap != NULL;
}

/* RFC 4648; false when it is not base64. out: 3/4 of n and 3 more. */
static bool base64(const char *s, unsigned char *out, size_t *n_out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned hold = 0, bits = 0;
    size_t n = 0;
    for (; *s && *s != '='; s++) {
        const char *at = strchr(digits, *s);
        if (!at)
            return false;
        hold = (hold << 6 | (unsigned)(at - digits)) & 0xFFFFFF;
        bits += 6;
        if (bits >= 8)
            out[n++] = (unsigned char)(hold >> (bits -= 8));
    }
    *n_out = n;
    return true;
}

/* What a normaliser does that GGUF can say: a map of characters, runs of blanks to one. */
static bool read_normaliser(vocab *v, json_t *n, int depth)
{
    const char *type = json_string_value(json_object_get(n, "type")), *map = json_string_value(json_object_get(n, "precompiled_charsmap"));
    json_t *list = json_object_get(n, "normalizers");
    if (!n || json_is_null(n))
        return true;
    if (type && depth < 4 && strcmp(type, "Sequence") == 0) {
        for (size_t i = 0; i < json_array_size(list); i++)
            if (!read_normaliser(v, json_array_get(list, i), depth + 1))
                return false;
        return true;
    }
    if (type && strcmp(type, "Precompiled") == 0 && map) {
        size_t size = strlen(map);
        v->charsmap = qn__cv_alloc(v->c, size / 4 * 3 + 3);
        if (v->charsmap && base64(map, v->charsmap, &v->n_charsmap))
            return true;
        return v->c->status == QN_OK && qn__cv_fail(v->c, QN_EFORMAT, "tokenizer.json: normalizer", "precompiled_charsmap is not base64");
    }
    if (type && strcmp(type, "Replace") == 0) {
        const char *regex = json_string_value(json_object_get(json_object_get(n, "pattern"), "Regex")), *with = json_string_value(json_object_get(n, "content"));
        if (regex && with && (strcmp(regex, " {2,}") == 0 || strcmp(regex, "\\s+") == 0) && (strcmp(with, " ") == 0 || strcmp(with, "\xE2\x96\x81") == 0)) {
            v->squeeze = true;
            return true;
        }
    }
    if (type && strcmp(type, "Strip") == 0) /* at both ends: what dropping needless blanks does too */
        return true;
    return qn__cv_fail(v->c, QN_EUNSUPPORTED, "tokenizer.json: normalizer", "the step %.40s has no key in GGUF; a map of characters and the replacement of several blanks by one have", type ? type : "?");
}

static bool is_byte(const char *s)
{
    return strlen(s) == 6 && strncmp(s, "<0x", 3) == 0 && s[5] == '>';
}

bool qn__vocab_unigram(vocab *v, json_t *model)
{
    json_t *list = json_object_get(model, "vocab"), *unk = json_object_get(model, "unk_id"), *meta = qn__vocab_top(v, "pre_tokenizer", "Metaspace");
    const char *scheme = json_string_value(json_object_get(meta, "prepend_scheme"));
    bool bytes = json_is_true(json_object_get(model, "byte_fallback"));
    v->kind = VOCAB_UNIGRAM;
    v->unk = json_is_integer(unk) ? json_integer_value(unk) : -1;
    if (!json_is_array(list) || !meta)
        return qn__cv_fail(v->c, QN_EUNSUPPORTED, "tokenizer.json: model", "a Unigram vocabulary is a list of pieces with scores behind a pre_tokenizer of type Metaspace");
    v->space_prefix = scheme ? strcmp(scheme, "never") != 0 : !json_is_false(json_object_get(meta, "add_prefix_space"));
    v->squeeze = qn__vocab_top(v, "pre_tokenizer", "WhitespaceSplit") != NULL;
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *pair = json_array_get(list, i), *score = json_array_get(pair, 1);
        const char *text = json_string_value(json_array_get(pair, 0));
        double s = json_number_value(score);
        if (!text || !json_is_number(score) || !(fabs(s) < 1e30))
            return qn__vocab_bad(v, "model.vocab: entry%s %lld is not a piece and its score", "", (int64_t)i);
        if (!qn__vocab_set(v, (int64_t)i, (qn_slice){text, strlen(text)}, (int64_t)i == v->unk ? UNKNOWN : bytes && is_byte(text) ? BYTE : NORMAL, (float)s))
            return false;
    }
    return read_normaliser(v, json_object_get(v->c->tokenizer, "normalizer"), 0) && qn__vocab_read_added(v);
}
