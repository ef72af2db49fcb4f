/* convert_vocab.c - the tokenizer: tokenizer.json (byte-level BPE, SentencePiece-like BPE), or tokenizer.model
 * (SentencePiece's protobuf) when there is none, with what tokenizer_config.json, special_tokens_map.json and
 * generation_config.json add: special ids, whether BOS and EOS are added, chat templates.
 *
 *   ids without a text            -> "[PADn]", unused       embeddings are padded to round numbers
 *   added tokens beyond the rows  -> left out, counted      nothing could look them up
 *
 * Refuses: two texts for one id; ids outside; merges or pieces that are malformed; kinds of tokenizers not named above. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "model/convert_vocab.h"

enum { MAX_TOKENIZER = 256 << 20, MAX_TEMPLATE = 8 << 20 };

bool qn__vocab_bad(vocab *v, const char *fmt, const char *detail, int64_t id)
{
    char shown[64];
    (void)snprintf(shown, sizeof shown, "%.60s", detail);
    return qn__cv_fail(v->c, QN_EFORMAT, v->words ? "tokenizer.json" : "tokenizer", fmt, shown, (long long)id, (long long)v->n);
}

bool qn__vocab_set(vocab *v, int64_t id, qn_slice text, int32_t type, float score)
{
    if (id < 0 || id >= v->n)
        return qn__vocab_bad(v, "the token \"%s\" has id %lld, but the embedding has %lld rows", text.p, id);
    if (v->text[id].p && (v->text[id].n != text.n || memcmp(v->text[id].p, text.p, text.n) != 0))
        return qn__vocab_bad(v, "the token \"%s\" has id %lld, which another one has already", text.p, id);
    v->text[id] = text;
    v->type[id] = type;
    v->score[id] = score;
    return true;
}

int64_t qn__vocab_find(const vocab *v, const char *text)
{
    json_t *id = json_object_get(v->words, text);
    size_t n = strlen(text);
    if (json_is_integer(id))
        return json_integer_value(id);
    for (int64_t i = 0; i < v->n; i++)
        if (v->text[i].n == n && v->text[i].p && memcmp(v->text[i].p, text, n) == 0)
            return i;
    return -1;
}

/* ---- tokenizer.json ---- */

static bool is_byte(const char *s)
{
    return strlen(s) == 6 && strncmp(s, "<0x", 3) == 0 && s[5] == '>';
}

/* Does a part of the tokenizer (a pre-tokenizer, decoder...) or one of its sequence have this type? Sequences may nest. */
static json_t *part(json_t *j, const char *type, int depth)
{
    static const char *const lists[] = {"pretokenizers", "decoders", "normalizers", "processors"};
    const char *t = json_string_value(json_object_get(j, "type"));
    if (t && strcmp(t, type) == 0)
        return j;
    for (size_t i = 0; depth < 8 && i < 4; i++) {
        json_t *list = json_object_get(j, lists[i]);
        for (size_t k = 0; k < json_array_size(list); k++) {
            json_t *found = part(json_array_get(list, k), type, depth + 1);
            if (found)
                return found;
        }
    }
    return NULL;
}

json_t *qn__vocab_top(vocab *v, const char *name, const char *type)
{
    return part(json_object_get(v->c->tokenizer, name), type, 0);
}

static bool read_words(vocab *v)
{
    const char *text;
    json_t *id, *unk = json_object_get(json_object_get(v->c->tokenizer, "model"), "unk_token");
    const char *unknown = json_string_value(unk);
    json_object_foreach(v->words, text, id) {
        int32_t type = v->spm && is_byte(text) ? BYTE : v->spm && unknown && strcmp(text, unknown) == 0 ? UNKNOWN : NORMAL;
        if (!json_is_integer(id))
            return qn__vocab_bad(v, "model.vocab: the id of \"%s\" is not a whole number", text, 0);
        if (!qn__vocab_set(v, json_integer_value(id), (qn_slice){text, strlen(text)}, type, 0))
            return false;
    }
    if (v->spm && unknown)
        v->unk = qn__vocab_find(v, unknown);
    return true;
}

/* The two texts of a merge: "a b" or ["a", "b"]. */
static bool merge_sides(vocab *v, json_t *m, qn_slice *a, qn_slice *b)
{
    const char *s = json_string_value(m), *space = s && s[0] ? strchr(s + 1, ' ') : NULL;
    if (json_is_array(m) && json_array_size(m) == 2) {
        const char *x = json_string_value(json_array_get(m, 0)), *y = json_string_value(json_array_get(m, 1));
        if (x && y && *x && *y) {
            *a = (qn_slice){x, strlen(x)};
            *b = (qn_slice){y, strlen(y)};
            return (v->spm && !v->merges) || !(strchr(x, ' ') || strchr(y, ' ')) || qn__vocab_bad(v, "model.merges: \"%s\" has a space in it, which GGUF cannot hold", x, 0);
        }
    } else if (space && space[1]) {
        *a = (qn_slice){s, (size_t)(space - s)};
        *b = (qn_slice){space + 1, strlen(space + 1)};
        return true;
    }
    return qn__vocab_bad(v, "model.merges: an entry (\"%s\") is not two texts", s ? s : "?", 0);
}

/* Byte-level: the merges as they are. SentencePiece-like: they become scores, the earlier the higher; a few keep both. */
static bool read_merges(vocab *v)
{
    json_t *merges = json_object_get(json_object_get(v->c->tokenizer, "model"), "merges");
    size_t n = json_array_size(merges);
    qn_buf text = {0}, joined = {0};
    bool kept = !v->spm || v->merges;
    qn_slice a = {0}, b = {0}, *out = qn__cv_alloc(v->c, n * sizeof *out);
    size_t *at = qn__cv_alloc(v->c, n * sizeof *at);
    bool ok = out && at;
    if (ok && (!json_is_array(merges) || n > INT32_MAX))
        ok = qn__vocab_bad(v, "model.merges is not a list%s", "", 0);
    for (size_t i = 0; ok && i < n; i++) {
        ok = merge_sides(v, json_array_get(merges, i), &a, &b);
        if (!ok)
            break;
        at[i] = text.n;
        if (kept) {
            qn__buf_put(&text, a.p, a.n);
            qn__buf_putc(&text, ' ');
            qn__buf_put(&text, b.p, b.n);
        }
        out[i].n = text.n - at[i];
        joined.n = 0;
        qn__buf_put(&joined, a.p, a.n);
        qn__buf_put(&joined, b.p, b.n);
        if (text.failed || joined.failed)
            ok = qn__cv_memory(v->c);
        json_t *id = ok && v->spm ? json_object_get(v->words, joined.data) : NULL;
        if (id && v->score[json_integer_value(id)] == 0)
            v->score[json_integer_value(id)] = -(float)(i + 1);
    }
    for (size_t i = 0; ok && kept && i < n; i++)
        out[i].p = text.data + at[i];
    if (ok && kept)
        qn__gguf_put_strs(v->c->w, "tokenizer.ggml.merges", out, n);
    qn__buf_free(&text);
    qn__buf_free(&joined);
    return ok;
}

/* SentencePiece keeps blanks as U+2581; in tokens that users add they are blanks again. */
static qn_slice plain(vocab *v, const char *s)
{
    size_t n = 0;
    char *out = v->spm && strstr(s, "\xE2\x96\x81") ? qn__cv_alloc(v->c, strlen(s) + 1) : NULL;
    if (!out)
        return (qn_slice){s, strlen(s)};
    for (const char *p = s; *p;) {
        bool blank = strncmp(p, "\xE2\x96\x81", 3) == 0;
        out[n++] = blank ? ' ' : *p;
        p += blank ? 3 : 1;
    }
    return (qn_slice){out, n};
}

/* Marks that the family's parsers of output read: no control tokens, whatever tokenizer.json says. */
static bool is_mark(const vocab *v, const char *text)
{
    static const char *const marks[] = {"<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", "<|\"|>"};
    for (size_t i = 0; v->merges && i < sizeof marks / sizeof *marks; i++)
        if (strcmp(text, marks[i]) == 0)
            return true;
    return false;
}

static bool add_token(vocab *v, int64_t id, const char *text, bool special)
{
    if (!text)
        return qn__vocab_bad(v, "an added token has no content%s", "", id);
    if (id >= v->n) {
        v->c->result->n_tokens_left_out++;
        return true;
    }
    int32_t type = special && !is_mark(v, text) ? CONTROL : USER;
    if (id >= 0 && id == v->unk && (v->spm || v->kind == VOCAB_UNIGRAM))
        type = UNKNOWN;
    else if (id >= 0 && v->type[id] == BYTE)
        type = BYTE;
    if (id >= 0)
        v->text[id] = (qn_slice){0}; /* what is added wins */
    return qn__vocab_set(v, id, special || !v->spm ? (qn_slice){text, strlen(text)} : plain(v, text), type, 0);
}

bool qn__vocab_read_added(vocab *v)
{
    json_t *list = json_object_get(v->c->tokenizer, "added_tokens"), *t, *more = json_object_get(v->c->tokenizer_config, "added_tokens_decoder");
    const char *key;
    for (size_t i = 0; i < json_array_size(list); i++) {
        t = json_array_get(list, i);
        json_t *id = json_object_get(t, "id");
        if (!json_is_integer(id))
            return qn__vocab_bad(v, "added_tokens: an id is not a whole number%s", "", 0);
        if (!add_token(v, json_integer_value(id), json_string_value(json_object_get(t, "content")), json_is_true(json_object_get(t, "special"))))
            return false;
    }
    json_object_foreach(more, key, t) {
        long long id;
        if (sscanf(key, "%10lld", &id) != 1 || id < 0)
            return qn__vocab_bad(v, "tokenizer_config.json: added_tokens_decoder: \"%s\" is not an id", key, 0);
        if (id < v->n && !v->text[id].p && !add_token(v, id, json_string_value(json_object_get(t, "content")), json_is_true(json_object_get(t, "special"))))
            return false;
    }
    return true;
}

static bool read_json(vocab *v)
{
    json_t *model = json_object_get(v->c->tokenizer, "model");
    const char *type = json_string_value(json_object_get(model, "type"));
    if (type && strcmp(type, "Unigram") == 0)
        return qn__vocab_unigram(v, model);
    v->words = json_object_get(model, "vocab");
    if (type && strcmp(type, "WordPiece") == 0)
        return qn__vocab_wordpiece(v, model);
    bool bytes = json_is_true(json_object_get(model, "byte_fallback"));
    bool level = qn__vocab_top(v, "pre_tokenizer", "ByteLevel") || qn__vocab_top(v, "decoder", "ByteLevel");
    if ((type && strcmp(type, "BPE") != 0) || !json_is_object(v->words) || bytes == level)
        return qn__cv_fail(v->c, QN_EUNSUPPORTED, "tokenizer.json: model", "is of type %.40s (byte level: %s, byte fallback: %s); this build converts BPE with exactly one of these two, Unigram and WordPiece%s", type ? type : "?", level ? "yes" : "no", bytes ? "yes" : "no", qn__cv_exists(v->c, "tokenizer.model") ? "; remove tokenizer.json to use tokenizer.model" : "");
    v->spm = bytes;
    v->merges = bytes && v->c->family->flags & QN_CV_MERGES;
    v->kind = bytes ? VOCAB_SPM : VOCAB_BYTES;
    return read_words(v) && read_merges(v) && qn__vocab_read_added(v);
}

/* ---- tokenizer.model ---- */

typedef struct proto {
    const unsigned char *at, *end;
    bool failed;
} proto;

static uint64_t varint(proto *p)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64 && p->at < p->end; shift += 7) {
        unsigned char b = *p->at++;
        v |= (uint64_t)(b & 127) << shift;
        if (b < 128)
            return v;
    }
    p->failed = true;
    return 0;
}

/* One field: its number, or 0 at the end. Numbers come in *v, bytes in *sub. */
static unsigned field(proto *p, uint64_t *v, proto *sub)
{
    if (p->failed || p->at == p->end)
        return 0;
    uint64_t tag = varint(p), n = 0;
    *sub = (proto){p->at, p->at, false};
    *v = 0;
    switch (tag & 7) {
    case 0: *v = varint(p); break;
    case 1: n = 8; break;
    case 2: n = varint(p); break;
    case 5: n = 4; break;
    default: p->failed = true;
    }
    if (p->failed || n > (uint64_t)(p->end - p->at) || tag >> 3 == 0 || tag >> 3 > 1000000) {
        p->failed = true;
        return 0;
    }
    *sub = (proto){p->at, p->at + n, false};
    p->at += n;
    return (unsigned)(tag >> 3);
}

static bool read_piece(vocab *v, proto p, int64_t id)
{
    uint64_t number, type = NORMAL;
    proto sub, text = {0};
    float score = 0;
    for (unsigned f; (f = field(&p, &number, &sub)) != 0;) {
        if (f == 1)
            text = sub;
        else if (f == 2 && sub.end - sub.at == 4)
            memcpy(&score, sub.at, 4);
        else if (f == 3)
            type = number;
    }
    if (p.failed || type < NORMAL || type > BYTE || !(score > -1e30f && score < 1e30f))
        return qn__vocab_bad(v, "tokenizer.model: piece%s %lld is malformed", "", id);
    if (type == UNKNOWN)
        v->unk = id;
    char *copy = qn__cv_alloc(v->c, (size_t)(text.end - text.at) + 1);
    if (!copy)
        return false;
    if (text.at)
        memcpy(copy, text.at, (size_t)(text.end - text.at));
    return qn__vocab_set(v, id, (qn_slice){copy, (size_t)(text.end - text.at)}, (int32_t)type, score);
}

static bool read_proto(vocab *v, proto p)
{
    uint64_t number, kind = 1;
    proto sub, inner;
    bool ok = true;
    int64_t id = 0;
    v->space_prefix = v->squeeze = true; /* the format's defaults */
    for (unsigned f, g; (f = field(&p, &number, &sub)) != 0;) {
        if (f == 1 && !read_piece(v, sub, id++))
            return false;
        while (f == 2 && (g = field(&sub, &number, &inner)) != 0) {
            int64_t *to = g == 41 ? &v->bos : g == 42 ? &v->eos : g == 43 ? &v->pad : NULL;
            if (g == 3)
                kind = number;
            if (to)
                *to = (int32_t)number;
        }
        while (f == 3 && (g = field(&sub, &number, &inner)) != 0) {
            if (g == 2)
                ok = ok && qn__vocab_charsmap(v, inner.at, (size_t)(inner.end - inner.at));
            else if (g == 3 || g == 4)
                *(g == 3 ? &v->space_prefix : &v->squeeze) = number != 0;
        }
        p.failed |= sub.failed;
    }
    if (!ok)
        return false;
    if (p.failed || id == 0)
        return qn__cv_fail(v->c, QN_EFORMAT, "tokenizer.model", "is not a SentencePiece model, or not complete");
    if (kind != 1 && kind != 2)
        return qn__cv_fail(v->c, QN_EUNSUPPORTED, "tokenizer.model", "is a SentencePiece model of kind %llu; this build converts unigram (1) and BPE (2)", (unsigned long long)kind);
    v->spm = kind == 2;
    v->kind = v->spm ? VOCAB_SPM : VOCAB_UNIGRAM;
    return true;
}

static bool read_model(vocab *v)
{
    char *data, *path = qn__cv_printf(v->c, "%stokenizer.model", v->c->dir);
    size_t n;
    if (!path)
        return false;
    v->spm = true;
    v->bos = 1, v->eos = 2;
    v->c->status = qn__read_file(path, MAX_TOKENIZER, &data, &n, v->c->err);
    if (v->c->status != QN_OK)
        return false;
    const unsigned char *bytes = (const unsigned char *)data;
    bool ok = read_proto(v, (proto){bytes, bytes + n, false}) && qn__vocab_read_added(v);
    qn_free(data);
    return ok;
}

/* ---- special ids ---- */

static const char *content(json_t *j)
{
    return json_is_object(j) ? json_string_value(json_object_get(j, "content")) : json_string_value(j);
}

static int64_t first_id(json_t *j)
{
    json_t *one = json_is_array(j) ? json_array_get(j, 0) : j;
    return json_is_integer(one) ? json_integer_value(one) : -1;
}

/* By text in tokenizer_config.json or special_tokens_map.json, else by number in config.json or generation_config.json. */
static int64_t special(vocab *v, const char *name, const char *id_name, int64_t fallback)
{
    const char *text = content(json_object_get(v->c->tokenizer_config, name));
    if (!text)
        text = content(json_object_get(v->c->special_map, name));
    int64_t id = text ? qn__vocab_find(v, text) : -1;
    if (id < 0)
        id = first_id(qn__cv_get(v->c, id_name));
    if (id < 0)
        id = first_id(json_object_get(v->c->generation, id_name));
    if (id < 0)
        id = fallback;
    return id < v->n ? id : -1;
}

static void put_id(vocab *v, const char *key, int64_t id)
{
    if (id >= 0)
        qn__gguf_put_int(v->c->w, key, QN_GGUF_U32, id);
}

/* A second way to end a turn, when generation_config.json names several. */
static int64_t other_end(vocab *v)
{
    json_t *list = json_object_get(v->c->generation, "eos_token_id");
    for (size_t i = 0; i < json_array_size(list); i++) {
        int64_t id = first_id(json_array_get(list, i));
        if (id >= 0 && id < v->n && id != v->eos)
            return id;
    }
    return -1;
}

/* Does the tokenizer put this special token first (or last)? */
static bool template_has(vocab *v, bool last, int64_t id)
{
    json_t *t = qn__vocab_top(v, "post_processor", "TemplateProcessing"), *single = json_object_get(t, "single");
    size_t n = json_array_size(single);
    json_t *s = n ? json_object_get(json_array_get(single, last ? n - 1 : 0), "SpecialToken") : NULL;
    const char *text = json_string_value(json_object_get(s, "id"));
    return text && id >= 0 && qn__vocab_find(v, text) == id;
}

static void put_adds(vocab *v)
{
    json_t *bos = json_object_get(v->c->tokenizer_config, "add_bos_token"), *eos = json_object_get(v->c->tokenizer_config, "add_eos_token");
    bool described = json_is_object(json_object_get(v->c->tokenizer, "post_processor"));
    bool first = template_has(v, false, v->bos), last = template_has(v, true, v->eos);
    if (qn__vocab_top(v, "post_processor", "BertProcessing") || qn__vocab_top(v, "post_processor", "RobertaProcessing"))
        first = last = true; /* what these two are */
    if (!described && v->kind == VOCAB_WORDPIECE)
        first = last = true;
    if (!described && v->kind == VOCAB_UNIGRAM)
        last = v->eos >= 0;
    if (json_is_boolean(bos) && v->kind <= VOCAB_SPM)
        first = json_is_true(bos);
    else if (!described && v->kind == VOCAB_SPM)
        first = v->bos >= 0;
    if (json_is_boolean(eos) && v->kind <= VOCAB_SPM)
        last = json_is_true(eos);
    if (v->merges) /* its readers take that for granted */
        first = true;
    qn__gguf_put_bool(v->c->w, "tokenizer.ggml.add_bos_token", first);
    qn__gguf_put_bool(v->c->w, "tokenizer.ggml.add_eos_token", last);
    if (v->kind == VOCAB_UNIGRAM) {
        qn__gguf_put_bool(v->c->w, "tokenizer.ggml.add_space_prefix", v->space_prefix);
        qn__gguf_put_bool(v->c->w, "tokenizer.ggml.remove_extra_whitespaces", v->squeeze);
        if (v->n_charsmap)
            qn__gguf_put_arr(v->c->w, "tokenizer.ggml.precompiled_charsmap", QN_GGUF_U8, v->n_charsmap, v->charsmap, v->n_charsmap);
    }
    if (!v->spm)
        return;
    json_t *prefix = json_object_get(v->c->tokenizer_config, "add_prefix_space"), *meta = qn__vocab_top(v, "pre_tokenizer", "Metaspace");
    const char *scheme = json_string_value(json_object_get(meta, "prepend_scheme"));
    bool space = !v->words || qn__vocab_top(v, "normalizer", "Prepend") || (meta && (scheme ? strcmp(scheme, "never") != 0 : !json_is_false(json_object_get(meta, "add_prefix_space"))));
    if (!v->words && json_is_boolean(prefix))
        space = json_is_true(prefix);
    qn__gguf_put_bool(v->c->w, "tokenizer.ggml.add_space_prefix", space);
}

/* ---- chat templates ---- */

static void put_named_templates(vocab *v, json_t *list)
{
    size_t n = json_array_size(list), used = 0;
    qn_slice *names = qn__cv_alloc(v->c, n * sizeof *names);
    for (size_t i = 0; names && i < n; i++) {
        const char *name = json_string_value(json_object_get(json_array_get(list, i), "name"));
        const char *text = json_string_value(json_object_get(json_array_get(list, i), "template"));
        char key[160];
        if (!name || !text || strlen(name) > 100) {
            (void)qn__cv_fail(v->c, QN_EFORMAT, "tokenizer_config.json: chat_template", "entry %zu is not a name and a template", i);
            return;
        }
        bool main_one = strcmp(name, "default") == 0;
        (void)snprintf(key, sizeof key, "tokenizer.chat_template%s%s", main_one ? "" : ".", main_one ? "" : name);
        qn__gguf_put_str(v->c->w, key, text, strlen(text));
        if (!main_one)
            names[used++] = (qn_slice){name, strlen(name)};
    }
    if (names && used)
        qn__gguf_put_strs(v->c->w, "tokenizer.chat_templates", names, used);
}

static bool put_template(vocab *v)
{
    json_t *t = json_object_get(v->c->tokenizer_config, "chat_template"), *file = NULL;
    if (qn__cv_exists(v->c, "chat_template.jinja")) {
        char *text, *path = qn__cv_printf(v->c, "%schat_template.jinja", v->c->dir);
        size_t n;
        if (path)
            v->c->status = qn__read_file(path, MAX_TEMPLATE, &text, &n, v->c->err);
        if (v->c->status != QN_OK)
            return false;
        if (!qn__utf8_valid(text, n))
            (void)qn__cv_fail(v->c, QN_EFORMAT, "chat_template.jinja", "is not UTF-8");
        qn__gguf_put_str(v->c->w, "tokenizer.chat_template", text, n);
        qn_free(text);
        return v->c->status == QN_OK;
    }
    if (!t && qn__cv_json(v->c, "chat_template.json", MAX_TEMPLATE, false, &file) && file)
        t = json_object_get(file, "chat_template");
    if (json_is_string(t))
        qn__gguf_put_str(v->c->w, "tokenizer.chat_template", json_string_value(t), json_string_length(t));
    else if (json_is_array(t))
        put_named_templates(v, t);
    else if (t && !json_is_null(t))
        (void)qn__cv_fail(v->c, QN_EFORMAT, "tokenizer_config.json: chat_template", "is neither a text nor a list of named ones");
    json_decref(file);
    return v->c->status == QN_OK;
}

/* ---- all of it ---- */

static bool put_all(vocab *v)
{
    qn_gguf_writer *w = v->c->w;
    const char *pre = v->c->o->pre ? v->c->o->pre : v->merges ? v->c->family->arch : v->kind != VOCAB_BYTES ? "default" : qn__cv_pre(v->c);
    if (!pre)
        return false;
    for (int64_t i = 0; i < v->n; i++)
        if (!v->text[i].p) {
            const char *name = qn__cv_printf(v->c, "[PAD%lld]", (long long)i);
            if (!name)
                return false;
            v->text[i] = (qn_slice){name, strlen(name)};
            v->type[i] = UNUSED;
            v->score[i] = v->kind == VOCAB_UNIGRAM ? -10000 : 0;
        }
    static const char *const models[] = {"gpt2", "llama", "t5", "bert"};
    const char *model = v->merges ? v->c->family->arch : models[v->kind];
    qn__gguf_put_str(w, "tokenizer.ggml.model", model, strlen(model));
    qn__gguf_put_str(w, "tokenizer.ggml.pre", pre, strlen(pre));
    (void)snprintf(v->c->result->pre, sizeof v->c->result->pre, "%.31s", pre);
    qn__gguf_put_strs(w, "tokenizer.ggml.tokens", v->text, (uint64_t)v->n);
    if (v->spm || v->kind == VOCAB_UNIGRAM)
        qn__gguf_put_arr(w, "tokenizer.ggml.scores", QN_GGUF_F32, (uint64_t)v->n, v->score, (size_t)v->n * 4);
    qn__gguf_put_arr(w, "tokenizer.ggml.token_type", QN_GGUF_I32, (uint64_t)v->n, v->type, (size_t)v->n * 4);
    v->bos = special(v, "bos_token", "bos_token_id", v->bos);
    v->eos = special(v, "eos_token", "eos_token_id", v->eos);
    int64_t cls = special(v, "cls_token", "cls_token_id", -1), sep = special(v, "sep_token", "sep_token_id", -1);
    if (v->kind == VOCAB_WORDPIECE) { /* what stands first and last */
        v->bos = cls;
        v->eos = sep;
        put_id(v, "tokenizer.ggml.cls_token_id", cls);
    }
    put_id(v, "tokenizer.ggml.bos_token_id", v->bos);
    put_id(v, "tokenizer.ggml.eos_token_id", v->eos);
    put_id(v, "tokenizer.ggml.eot_token_id", other_end(v));
    put_id(v, "tokenizer.ggml.unknown_token_id", v->kind != VOCAB_BYTES ? special(v, "unk_token", "unk_token_id", v->unk) : -1);
    put_id(v, "tokenizer.ggml.padding_token_id", special(v, "pad_token", "pad_token_id", v->pad));
    put_id(v, "tokenizer.ggml.seperator_token_id", sep); /* sic: the format's spelling */
    put_id(v, "tokenizer.ggml.mask_token_id", special(v, "mask_token", "mask_token_id", -1));
    put_adds(v);
    return put_template(v);
}

bool qn__cv_vocab(qn__cv *c)
{
    vocab v = {.c = c, .n = c->size['V'], .unk = -1, .bos = -1, .eos = -1, .pad = -1};
    if (!qn__cv_json(c, "tokenizer_config.json", MAX_TOKENIZER, false, &c->tokenizer_config) ||
        !qn__cv_json(c, "special_tokens_map.json", MAX_TEMPLATE, false, &c->special_map) ||
        !qn__cv_json(c, "generation_config.json", MAX_TEMPLATE, false, &c->generation) ||
        !qn__cv_json(c, "tokenizer.json", MAX_TOKENIZER, false, &c->tokenizer))
        return false;
    v.text = qn__cv_alloc(c, (size_t)v.n * sizeof *v.text);
    v.score = qn__cv_alloc(c, (size_t)v.n * sizeof *v.score);
    v.type = qn__cv_alloc(c, (size_t)v.n * sizeof *v.type);
    if (c->status != QN_OK)
        return false;
    if (c->tokenizer)
        return read_json(&v) && put_all(&v);
    if (qn__cv_exists(c, "tokenizer.model"))
        return read_model(&v) && put_all(&v);
    return qn__cv_fail(c, QN_EIO, c->o->in, "holds neither tokenizer.json nor tokenizer.model");
}
