/* calls_walk.h - outputs at random, as a model that knows nothing would write them through the grammar of a dialect's calls; and the
 * check that what comes of them are calls that conform. Used by the unit test with our own tools, by the golden test with published
 * ones. */
#ifndef QN_TESTS_CALLS_WALK_H
#define QN_TESTS_CALLS_WALK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf_bytes.h"
#include "text/toolcall/parse.h"

/* ---- a vocabulary: bytes, a few pieces, control tokens ---- */

static const char *const walk_pieces[] = {"{\"", "\": ", "\", \"", "\"}", "}}", "\n</", "</parameter", ">\n", "<parameter=", "<function=", "  ",
                                          "name", "aa", "\xC3\xA9", "\xF0\x9F\x98\x80", "\xE2\x82", "true", "null", "[ARG", "</"};
static const char *const walk_specials[] = {"<|im_end|>", "<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "<think>",
                                            "</think>", "<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|call|>", "<|return|>", "<|constrain|>",
                                            "<|START_ACTION|>", "<|END_ACTION|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>",
                                            "<|START_THINKING|>", "<|END_THINKING|>", "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>",
                                            "<｜tool▁sep｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>", "<|tool_calls_section_begin|>",
                                            "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>",
                                            "<|tool_calls_section_end|>", "<|tool_call|>", "<|python_tag|>", "<|endoftext|>"};
enum {
    WALK_PIECES = sizeof walk_pieces / sizeof *walk_pieces,
    WALK_SPECIALS = sizeof walk_specials / sizeof *walk_specials,
    WALK_END = 256 + WALK_PIECES, /* the first special ends the turn */
    WALK_N = WALK_END + WALK_SPECIALS
};

typedef struct walk_vocab {
    gb b;
    qn_gguf *g;
    qn_tokenizer *t;
} walk_vocab;

static inline void walk_mapped(gb *b, const char *s, size_t n)
{
    char text[512];
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned ch = (unsigned char)s[i], others = 0;
        bool prints = (ch >= 0x21 && ch <= 0x7E) || (ch >= 0xA1 && ch <= 0xAC) || ch >= 0xAE;
        for (unsigned j = 0; j < ch; j++)
            others += !((j >= 0x21 && j <= 0x7E) || (j >= 0xA1 && j <= 0xAC) || j >= 0xAE);
        k += qn__utf8_encode((int32_t)(prints ? ch : 0x100 + others), text + k);
    }
    text[k] = 0;
    gb_str(b, text);
}

static inline walk_vocab walk_open(void)
{
    walk_vocab v = {0};
    qn_err err = {0};
    gb b;
    gb_begin(&b, 3);
    gb_kv_str(&b, "general.architecture", "llama");
    gb_kv_str(&b, "tokenizer.ggml.model", "gpt2");
    gb_kv_arr(&b, "tokenizer.ggml.tokens", QN_GGUF_STR, WALK_N);
    for (int i = 0; i < 256; i++) {
        char one = (char)i;
        walk_mapped(&b, &one, 1);
    }
    for (int i = 0; i < WALK_PIECES; i++)
        walk_mapped(&b, walk_pieces[i], strlen(walk_pieces[i]));
    for (int i = 0; i < WALK_SPECIALS; i++)
        gb_str(&b, walk_specials[i]);
    gb_kv_arr(&b, "tokenizer.ggml.token_type", QN_GGUF_I32, WALK_N);
    for (int i = 0; i < WALK_N; i++)
        gb_u32(&b, i < WALK_END ? QN_TOKEN_NORMAL : i % 2 ? QN_TOKEN_CONTROL : QN_TOKEN_USER);
    static const char *const merges[] = {"a a"};
    gb_kv_strs(&b, "tokenizer.ggml.merges", merges, 1);
    gb_kv_u32(&b, "tokenizer.ggml.eos_token_id", WALK_END);
    v.b = b;
    if (qn__gguf_open_memory(b.p, b.n, "t.gguf", &v.g, &err) || qn__tokenizer_open(v.g, &v.t, &err)) {
        (void)fprintf(stderr, "%s: %s\n", err.where, err.what);
        abort();
    }
    return v;
}

static inline void walk_close(walk_vocab *v)
{
    qn__tokenizer_close(v->t);
    qn__gguf_close(v->g);
    gb_free(&v->b);
}

static inline uint32_t walk_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

static inline void walk_put(qn_buf *out, int32_t id)
{
    if (id < 256)
        qn__buf_putc(out, (char)id);
    else if (id < WALK_END)
        qn__buf_puts(out, walk_pieces[id - 256]);
    else
        qn__buf_puts(out, walk_specials[id - WALK_END]);
}

/* ---- a walk ---- */

/* What may lead out of raw text. */
static inline void walk_closers(const qn_calls *c, const qn_tool *t, qn_buf *out, size_t *at, size_t *n)
{
    const qn_written *w = &c->written;
    const char *key;
    json_t *v;
    *n = 0;
    if (c->dialect->form == QN_FORM_PARAMS) {
        json_object_foreach(t && t->schema ? json_object_get(t->schema, "properties") : NULL, key, v)
        {
            at[(*n)++] = out->n;
            qn__buf_printf(out, "%s%s%s", w->value_close, w->key_open, key);
            qn__buf_putc(out, 0);
            if (*n > 60)
                break;
        }
        at[(*n)++] = out->n;
        qn__buf_printf(out, "%s%s", w->value_close, c->dialect->end);
        qn__buf_putc(out, 0);
    }
    at[(*n)++] = out->n;
    qn__buf_puts(out, w->first[0] == QN_ID_HERE ? "" : w->first);
    qn__buf_putc(out, 0);
}

/* true: it came to an end. After `length` tokens it makes for one. */
static inline bool walk(const qn_grammar *g, const qn_tokenizer *t, const qn_calls *c, uint64_t seed, int length, qn_buf *out)
{
    qn_matcher *m = NULL;
    qn_err err = {0};
    qn_buf closers = {0};
    size_t at[70], n_closers, turn = 0;
    const char *forced = "";
    bool ended = false;
    const qn_tool *tool = NULL;
    if (qn__matcher_open(g, &m, &err))
        return false;
    walk_closers(c, tool, &closers, at, &n_closers);
    for (int step = 0; step < 20000 && !ended; step++) {
        const uint32_t *mask;
        int32_t allowed[WALK_N], n = 0, pick = -1;
        if (qn__matcher_mask(m, &mask, &err))
            break;
        for (int32_t id = 0; id < WALK_N; id++)
            if (mask[id >> 5] >> (id & 31) & 1)
                allowed[n++] = id;
        if (!n)
            break;
        bool down = step > length;
        pick = allowed[walk_random(&seed) % (uint32_t)n];
        if (down && *forced) {
            unsigned char ch = (unsigned char)*forced++;
            if (mask[ch >> 5] >> (ch & 31) & 1)
                pick = ch;
            else
                forced = "";
        } else if (down && n > 100) {
            const char *best = NULL;
            for (size_t i = 0; i < c->n_tools && c->dialect->form == QN_FORM_PARAMS; i++) { /* whose arguments these are */
                char head[300];
                (void)snprintf(head, sizeof head, "%s%s", c->tools[i].name, c->written.mid);
                for (const char *p = out->data; p && (p = strstr(p, head)) != NULL; p++)
                    if (!best || p > best) {
                        best = p;
                        tool = &c->tools[i];
                    }
            }
            closers.n = 0;
            walk_closers(c, tool, &closers, at, &n_closers);
            forced = walk_random(&seed) % 2 ? closers.data + at[turn++ % n_closers] : "";
        }
        if (down)
            for (int32_t i = 0; i < n; i++) {
                int32_t id = allowed[i];
                bool closing = id < 256 && strchr("]}\"", id) && id && walk_random(&seed) % 2;
                if (qn__token_ends(t, id) || (!*forced && (closing || (id > WALK_END && walk_random(&seed) % 4 == 0))))
                    pick = id;
            }
        if (qn__token_ends(t, pick)) {
            ended = true;
            break;
        }
        if (!qn__matcher_accept(m, pick))
            break;
        walk_put(out, pick);
    }
    qn__matcher_close(m);
    qn__buf_free(&closers);
    return ended;
}

/* ---- does it conform? ---- */

static inline bool walk_conforms(const json_t *v, const json_t *s)
{
    const json_t *t = json_object_get(s, "type"), *e = json_object_get(s, "enum"), *props = json_object_get(s, "properties"),
                 *required = json_object_get(s, "required"), *items = json_object_get(s, "items");
    const char *type = json_string_value(t), *key;
    json_t *m;
    if (json_is_array(e)) {
        bool found = false;
        for (size_t i = 0; i < json_array_size(e); i++)
            found |= json_equal(json_array_get(e, i), v) != 0;
        if (!found)
            return false;
    }
    if (type && ((strcmp(type, "string") == 0 && !json_is_string(v)) ||
                 (strcmp(type, "integer") == 0 && !json_is_integer(v) && !(json_is_real(v) && json_real_value(v) == (double)(int64_t)json_real_value(v))) ||
                 (strcmp(type, "number") == 0 && !json_is_number(v)) || (strcmp(type, "boolean") == 0 && !json_is_boolean(v)) ||
                 (strcmp(type, "null") == 0 && !json_is_null(v)) || (strcmp(type, "array") == 0 && !json_is_array(v)) ||
                 (strcmp(type, "object") == 0 && !json_is_object(v))))
        return false;
    if (json_is_object(v)) {
        for (size_t i = 0; i < json_array_size(required); i++)
            if (!json_object_get(v, json_string_value(json_array_get(required, i))))
                return false;
        json_object_foreach((json_t *)(uintptr_t)v, key, m)
        {
            const json_t *p = json_object_get(props, key);
            if (props && !p)
                return false;
            if (p && !walk_conforms(m, p))
                return false;
        }
    }
    for (size_t i = 0; json_is_array(v) && json_is_object(items) && i < json_array_size(v); i++)
        if (!walk_conforms(json_array_get(v, i), items))
            return false;
    return true;
}

typedef struct walk_reply {
    const qn_calls *c;
    char name[300];
    qn_buf args, text;
    int calls, ends, bad; /* bad: arguments that do not conform */
} walk_reply;

static inline void walk_part(void *arg, const qn_part *p)
{
    walk_reply *r = arg;
    if (p->kind == QN_PART_CALL) {
        r->calls++;
        (void)snprintf(r->name, sizeof r->name, "%s", p->name);
        r->args.n = 0;
    }
    if (p->kind == QN_PART_ARGUMENTS)
        qn__buf_put(&r->args, p->text, p->n);
    if (p->kind == QN_PART_TEXT)
        qn__buf_put(&r->text, p->text, p->n);
    if (p->kind == QN_PART_CALL_END) {
        const qn_tool *t = qn__calls_find(r->c, r->name, strlen(r->name));
        json_t *v = json_loadb(r->args.data, r->args.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
        if (!v) /* integers beyond 64 bits */
            v = json_loadb(r->args.data, r->args.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
        r->ends++;
        /* What is no double either (1e999) is still JSON. */
        bool huge = !v && r->args.n > 1 && r->args.data[r->args.n - 1] == '}';
        if (!t || (!json_is_object(v) && !huge) || (t->schema && v && !walk_conforms(v, t->schema)))
            r->bad++;
        json_decref(v);
    }
}

static inline void walk_parse(const qn_calls *c, const char *text, size_t n, size_t step, walk_reply *r)
{
    qn_thinking thinking[QN_MAX_THINKING];
    static const char source[] = "<think> <|START_THINKING|>";
    size_t k = qn__thinking_of(source, sizeof source - 1, thinking);
    qn_parse *p = NULL;
    r->c = c;
    if (qn__parse_open(c, c->dialect, thinking, k, "", 0, &p, NULL))
        abort();
    for (size_t i = 0; i < n; i += step)
        (void)qn__parse_put(p, text + i, n - i < step ? n - i : step, walk_part, r, NULL);
    (void)qn__parse_end(p, walk_part, r, NULL);
    qn__parse_close(p);
}

static inline void walk_reply_free(walk_reply *r)
{
    qn__buf_free(&r->args);
    qn__buf_free(&r->text);
}

/* The grammar of c's calls; NULL: why is in err. */
static inline qn_grammar *walk_grammar(qn_calls *c, const qn_tokenizer *t, bool required, bool single, const char *only, qn_err *err)
{
    qn_thinking thinking[QN_MAX_THINKING];
    static const char source[] = "<think> <|START_THINKING|>";
    qn_calls_want want = {.required = required, .single = single, .only = only, .thinking = thinking, .inside = -1,
                          .n_thinking = qn__thinking_of(source, sizeof source - 1, thinking)};
    qn_ir *ir = NULL;
    qn_grammar *g = NULL;
    qn_status st = qn__ir_open(t, &ir, err);
    if (!st)
        st = qn__calls_grammar(c, &want, t, ir, err);
    if (!st)
        st = qn__grammar_compile(ir, t, &g, err);
    c->exact = true;
    if (ir)
        qn__ir_close(ir);
    return st ? NULL : g;
}

#endif
