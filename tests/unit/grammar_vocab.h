/* grammar_vocab.h - a small byte-level vocabulary for grammar tests: 256 bytes, pieces that cross the borders of JSON's
 * syntax, special tokens; and the check that a mask says of each token what accepting it says. */
#ifndef QN_TESTS_GRAMMAR_VOCAB_H
#define QN_TESTS_GRAMMAR_VOCAB_H

#include <stdio.h>

#include "base/mem.h"
#include "gguf_bytes.h"
#include "text/grammar.h"

static const char *const vocab_pieces[] = {
    "{\"", "\":", "\": ", "\", \"", "\",\"", "\"}", "\"}]", "}}", "}}}", "]]", "],", "}, {", "\"]", "\\\"", "\\u", "\\n", "00",
    "12", "123", ".5", "e1", "-1", "true", "false", "null", "tru", "nul", "abc", "name", "na", "me", "ab", "aab", "bb",
    "aaaa", "aaaaaaaa", " a", "  ", "\n", "\n  ", ", ", ": ", "[[", "[1", "[]", "{}", "\"a\"", "\"a\":", "a\": ", "xyz", "foo",
    "bar", "foobar", "oba", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xE2\x82", "\xF0\x9F", "<tool", "_call>", "</", "call",
    "2024", "-0", "T1", ":00", "Z\"", "0\"", "a\"", "b\",", "\"b\"", "\",", "1,", "1, ", "1}", "1]", "null}", "aa", "ba"};
enum {
    VOCAB_PIECES = sizeof vocab_pieces / sizeof *vocab_pieces,
    VOCAB_END = 256 + VOCAB_PIECES, /* <|end|>, control, ends a turn */
    VOCAB_CALL,                     /* <|sep|>, control */
    VOCAB_TOOL,                     /* <tool_call>, user-defined */
    VOCAB_N
};

/* What a byte-level vocabulary writes for byte b. */
static inline void vocab_mapped(unsigned b, char out[5])
{
    bool prints = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    unsigned others = 0;
    for (unsigned i = 0; i < b; i++)
        others += !((i >= 0x21 && i <= 0x7E) || (i >= 0xA1 && i <= 0xAC) || i >= 0xAE);
    unsigned cp = prints ? b : 0x100 + others;
    if (cp < 0x80) {
        out[0] = (char)cp;
        out[1] = 0;
    } else {
        out[0] = (char)(0xC0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 63));
        out[2] = 0;
    }
}

typedef struct vocab {
    gb b;
    qn_gguf *g;
    qn_tokenizer *t;
} vocab;

static inline vocab vocab_open(void)
{
    vocab v = {0};
    qn_err err = {0};
    gb b;
    gb_begin(&b, 3);
    gb_kv_str(&b, "general.architecture", "llama");
    gb_kv_str(&b, "tokenizer.ggml.model", "gpt2");
    gb_kv_arr(&b, "tokenizer.ggml.tokens", QN_GGUF_STR, VOCAB_N);
    for (unsigned i = 0; i < VOCAB_END; i++) {
        char text[128] = "", one[5];
        const char raw[2] = {(char)i, 0}, *p = i < 256 ? raw : vocab_pieces[i - 256];
        for (size_t k = 0; k < (i < 256 ? 1 : strlen(p)); k++) {
            vocab_mapped((unsigned char)p[k], one);
            strcat(text, one);
        }
        gb_str(&b, text);
    }
    gb_str(&b, "<|end|>");
    gb_str(&b, "<|sep|>");
    gb_str(&b, "<tool_call>");
    gb_kv_arr(&b, "tokenizer.ggml.token_type", QN_GGUF_I32, VOCAB_N);
    for (int i = 0; i < VOCAB_N; i++)
        gb_u32(&b, i == VOCAB_TOOL ? QN_TOKEN_USER : i >= VOCAB_END ? QN_TOKEN_CONTROL : QN_TOKEN_NORMAL);
    static const char *const merges[] = {"a a"};
    gb_kv_strs(&b, "tokenizer.ggml.merges", merges, 1);
    gb_kv_u32(&b, "tokenizer.ggml.eos_token_id", VOCAB_END);
    v.b = b;
    if (qn__gguf_open_memory(b.p, b.n, "t.gguf", &v.g, &err) || qn__tokenizer_open(v.g, &v.t, &err)) {
        (void)fprintf(stderr, "%s: %s\n", err.where, err.what);
        abort();
    }
    return v;
}

static inline void vocab_close(vocab *v)
{
    qn__tokenizer_close(v->t);
    qn__gguf_close(v->g);
    gb_free(&v->b);
}

/* A token's bytes; specials: their text. */
static inline size_t vocab_text(int32_t id, char out[64])
{
    const char *s = id < 256 ? NULL : id < VOCAB_END ? vocab_pieces[id - 256] : id == VOCAB_END ? "" : id == VOCAB_CALL ? "<|sep|>" : "<tool_call>";
    if (!s) {
        out[0] = (char)id;
        return 1;
    }
    size_t n = strlen(s);
    memcpy(out, s, n);
    return n;
}

static inline uint32_t vocab_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

/* Walk at random through g; at each step every token's bit must agree with what accepting it says. After `tokens` steps, only
 * closing pieces are preferred. Returns the number of disagreements (0: none), -1 on an error or a dead end. out: the text.
 * ended: whether it came to an end. */
static inline int vocab_walk(const qn_grammar *g, uint64_t seed, int tokens, bool compare, qn_buf *out, bool *ended)
{
    qn_matcher *m = NULL;
    qn_err err = {0};
    int bad = 0;
    *ended = false;
    if (qn__matcher_open(g, &m, &err))
        return -1;
    for (int step = 0; step < tokens * 20 && !*ended && bad >= 0; step++) {
        const uint32_t *mask;
        int32_t allowed[VOCAB_N], n = 0;
        if (qn__matcher_mask(m, &mask, &err)) {
            bad = -1;
            break;
        }
        for (int32_t id = 0; id < VOCAB_N; id++) {
            bool bit = mask[id >> 5] >> (id & 31) & 1;
            if (bit)
                allowed[n++] = id;
            if (!compare || step > tokens * 2)
                continue;
            bool took = qn__matcher_accept(m, id);
            if (took)
                qn__matcher_rewind(m, 1);
            if (took != bit)
                bad++;
        }
        if (!n) {
            bad = -1;
            break;
        }
        int32_t pick = allowed[vocab_random(&seed) % (uint32_t)n];
        if (step > tokens) /* wind down: an end, or what closes */
            for (int32_t i = 0; i < n; i++) {
                char text[64];
                size_t len = allowed[i] == VOCAB_END ? 0 : vocab_text(allowed[i], text);
                if (allowed[i] == VOCAB_END || (len == 1 && strchr("]}\"", text[0]) && vocab_random(&seed) % 2))
                    pick = allowed[i];
            }
        if (pick == VOCAB_END) {
            *ended = true;
            break;
        }
        if (!qn__matcher_accept(m, pick))
            bad++;
        char text[64];
        qn__buf_put(out, text, vocab_text(pick, text));
    }
    qn__matcher_close(m);
    return bad;
}

#endif
