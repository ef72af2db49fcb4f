/* test_tokenizer.c - tokenizers over tiny vocabularies made here: each kind, special tokens, spaces, malformed text,
 * the streaming way back, long inputs without a border, hostile metadata, and every allocation failing once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "gguf_bytes.h"
#include "text/pretok.h"
#include "text/tokenizer.h"

/* ---- vocabularies ---- */

/* A mapped byte's character, as byte-level vocabularies write it. */
static size_t mapped(unsigned b, char out[4])
{
    bool prints = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    unsigned others = 0;
    for (unsigned i = 0; i < b; i++)
        others += !((i >= 0x21 && i <= 0x7E) || (i >= 0xA1 && i <= 0xAC) || i >= 0xAE);
    return qn__utf8_encode(prints ? (int32_t)b : (int32_t)(0x100 + others), out);
}

static const char *const bpe_extra[] = {"he", "ll", "hell", "hello", "Ġw", "Ġwo", "ĠĠ", "aa", "aaaa", "11"};
static const char *const bpe_merges[] = {"h e", "l l", "he ll", "hell o", "Ġ w", "Ġw o", "Ġ Ġ", "a a", "aa aa", "1 1"};
enum { HE = 256, LL, HELL, HELLO, SP_W, SP_WO, SP_SP, AA, AAAA, ONES, BOS, END, TOOL, UNK, N_BPE };

/* ids 0..255 are the bytes. `pre` NULL: none. */
static gb bpe_file(const char *pre)
{
    gb b;
    char c[4];
    gb_begin(&b, 3);
    gb_kv_str(&b, "general.architecture", "llama");
    gb_kv_str(&b, "tokenizer.ggml.model", "gpt2");
    if (pre)
        gb_kv_str(&b, "tokenizer.ggml.pre", pre);
    gb_kv_arr(&b, "tokenizer.ggml.tokens", QN_GGUF_STR, N_BPE);
    for (unsigned i = 0; i < 256; i++) {
        size_t n = mapped(i, c);
        gb_strn(&b, c, n);
    }
    for (size_t i = 0; i < 10; i++)
        gb_str(&b, bpe_extra[i]);
    gb_str(&b, "<bos>");
    gb_str(&b, "<|im_end|>");
    gb_str(&b, "<tool>");
    gb_str(&b, "<unk>");
    gb_kv_arr(&b, "tokenizer.ggml.token_type", QN_GGUF_I32, N_BPE);
    for (int i = 0; i < N_BPE; i++)
        gb_u32(&b, i == BOS || i == END ? QN_TOKEN_CONTROL
                   : i == TOOL          ? QN_TOKEN_USER
                   : i == UNK           ? QN_TOKEN_UNKNOWN
                                        : QN_TOKEN_NORMAL);
    gb_kv_strs(&b, "tokenizer.ggml.merges", bpe_merges, 10);
    gb_kv_u32(&b, "tokenizer.ggml.bos_token_id", BOS);
    gb_kv_u32(&b, "tokenizer.ggml.eos_token_id", END);
    return b;
}

static const char *const spm_texts[] = {"<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "ab", "▁ab", "aa", "▁▁", "é"};
static const float spm_scores[] = {0, 0, 0, -9, -8, -8, -3, -2, -1, -4, -5, -7};
enum { S_BLOCK = 3, S_A, S_B, S_BA, S_AB, S_BAB, S_AA, S_BB, S_E, N_SPM_TEXTS, N_SPM = N_SPM_TEXTS + 256 };

static gb spm_file(const char *model, bool prefix)
{
    gb b;
    gb_begin(&b, 3);
    gb_kv_str(&b, "tokenizer.ggml.model", model);
    gb_kv_arr(&b, "tokenizer.ggml.tokens", QN_GGUF_STR, N_SPM);
    for (int i = 0; i < N_SPM_TEXTS; i++)
        gb_str(&b, spm_texts[i]);
    for (unsigned i = 0; i < 256; i++) {
        char t[8];
        (void)snprintf(t, sizeof t, "<0x%02X>", i);
        gb_str(&b, t);
    }
    gb_kv_arr(&b, "tokenizer.ggml.scores", QN_GGUF_F32, N_SPM);
    for (int i = 0; i < N_SPM; i++)
        gb_f32(&b, i < N_SPM_TEXTS ? spm_scores[i] : 0);
    gb_kv_arr(&b, "tokenizer.ggml.token_type", QN_GGUF_I32, N_SPM);
    for (int i = 0; i < N_SPM; i++)
        gb_u32(&b, i == 0            ? QN_TOKEN_UNKNOWN
                   : i < 3           ? QN_TOKEN_CONTROL
                   : i < N_SPM_TEXTS ? QN_TOKEN_NORMAL
                                     : QN_TOKEN_BYTE);
    if (!prefix)
        gb_kv_bool(&b, "tokenizer.ggml.add_space_prefix", false);
    return b;
}

/* ---- help ---- */

typedef struct vocab {
    gb b;
    qn_gguf *g;
    qn_tokenizer *t;
} vocab;

static vocab open_ok(gb b)
{
    vocab v = {.b = b};
    qn_err err = {0};
    if (qn__gguf_open_memory(b.p, b.n, "t.gguf", &v.g, &err) || qn__tokenizer_open(v.g, &v.t, &err))
        fail_msg("%s: %s", err.where, err.what);
    return v;
}

static void done(vocab *v)
{
    qn__tokenizer_close(v->t);
    qn__gguf_close(v->g);
    gb_free(&v->b);
}

static void open_fails(gb b, qn_status code, const char *part)
{
    qn_gguf *g = NULL;
    qn_tokenizer *t = NULL;
    qn_err err = {0};
    assert_int_equal(qn__gguf_open_memory(b.p, b.n, "t.gguf", &g, &err), QN_OK);
    assert_int_equal(qn__tokenizer_open(g, &t, &err), code);
    assert_null(t);
    assert_true(err.where[0] && err.what[0]);
    if (!strstr(err.what, part) && !strstr(err.where, part))
        fail_msg("expected '%s' in '%s: %s'", part, err.where, err.what);
    qn__gguf_close(g);
    gb_free(&b);
}

/* ids of text, given as a list ended by -1 */
static void gives(const qn_tokenizer *t, const char *text, bool special, qn_add_bos bos, ...)
{
    int32_t *ids = NULL;
    size_t n = 0, i = 0;
    qn_err err = {0};
    assert_int_equal(qn__tokenize(t, text, strlen(text), special, bos, &ids, &n, &err), QN_OK);
    va_list ap;
    va_start(ap, bos);
    for (int want; (want = va_arg(ap, int)) >= 0; i++)
        if (i >= n || ids[i] != want) {
            for (size_t j = 0; j < n; j++)
                print_message("%d ", ids[j]);
            fail_msg("\"%s\": id %zu of %zu should be %d", text, i, n, want);
        }
    va_end(ap);
    assert_int_equal(n, i);
    qn_free(ids);
}

static bool comes_back(const qn_tokenizer *t, const int32_t *ids, size_t n_ids, const char *text, size_t n)
{
    qn_buf b = {0};
    qn_detok d;
    qn__detok_init(&d, t, true);
    for (size_t i = 0; i < n_ids; i++)
        qn__detok_put(&d, ids[i], &b);
    qn__detok_flush(&d, &b);
    bool ok = b.n == n && (!n || !memcmp(b.data, text, n));
    qn__buf_free(&b);
    return ok;
}

static void round_trip(const qn_tokenizer *t, const char *text, size_t n)
{
    int32_t *ids = NULL;
    size_t n_ids = 0;
    qn_err err = {0};
    assert_int_equal(qn__tokenize(t, text, n, true, QN_BOS_NO, &ids, &n_ids, &err), QN_OK);
    assert_true(comes_back(t, ids, n_ids, text, n));
    if (n_ids) { /* and the comparison can fail */
        ids[n_ids / 2] = ids[n_ids / 2] == 'Z' ? 'Y' : 'Z';
        assert_false(comes_back(t, ids, n_ids, text, n));
    }
    qn_free(ids);
}

/* ---- byte-level BPE ---- */

static void bpe(void **state)
{
    (void)state;
    vocab v = open_ok(bpe_file("gpt-2"));
    gives(v.t, "", true, QN_BOS_NO, -1);
    gives(v.t, "hello", true, QN_BOS_NO, HELLO, -1);
    gives(v.t, "hello wo", true, QN_BOS_NO, HELLO, SP_WO, -1);
    gives(v.t, "hellhe", true, QN_BOS_NO, HELL, HE, -1);
    gives(v.t, "aaaaa", true, QN_BOS_NO, AAAA, 'a', -1);
    gives(v.t, "aaa", true, QN_BOS_NO, AA, 'a', -1); /* leftmost first */
    gives(v.t, "x", true, QN_BOS_YES, BOS, 'x', -1);
    gives(v.t, "x", true, QN_BOS_AUTO, 'x', -1);
    assert_int_equal(qn__token_find(v.t, "hello", 5), HELLO);
    assert_int_equal(qn__token_find(v.t, "hallo", 5), -1);
    assert_int_equal(qn__token_text(v.t, HELLO).n, 5);
    assert_string_equal(qn__tokenizer_info(v.t)->pre, "gpt-2");
    assert_int_equal(qn__tokenizer_info(v.t)->n_vocab, N_BPE);
    assert_int_equal(qn__tokenizer_info(v.t)->eot, END);
    assert_true(qn__token_ends(v.t, END));
    assert_false(qn__token_ends(v.t, BOS));
    assert_false(qn__token_ends(v.t, -1));
    assert_false(qn__token_ends(v.t, N_BPE));
    done(&v);
}

static void special_tokens(void **state)
{
    (void)state;
    vocab v = open_ok(bpe_file("llama-bpe"));
    gives(v.t, "a<|im_end|>a", true, QN_BOS_NO, 'a', END, 'a', -1);
    gives(v.t, "<bos><tool><|im_end|>", true, QN_BOS_AUTO, BOS, BOS, TOOL, END, -1); /* the family adds BOS */
    gives(v.t, "<tool", true, QN_BOS_NO, '<', 't', 'o', 'o', 'l', -1);
    gives(v.t, "<tool>", false, QN_BOS_NO, TOOL, -1); /* user-defined: always */
    gives(v.t, "<bos>", false, QN_BOS_NO, '<', 'b', 'o', 's', '>', -1);
    int32_t *ids;
    size_t n;
    qn_err err;
    assert_int_equal(qn__tokenize(v.t, "<bos>hello<tool>", 16, true, QN_BOS_NO, &ids, &n, &err), QN_OK);
    qn_buf b = {0};
    qn_detok d;
    qn__detok_init(&d, v.t, false); /* control tokens are silent */
    for (size_t i = 0; i < n; i++)
        qn__detok_put(&d, ids[i], &b);
    qn__detok_put(&d, -1, &b);
    qn__detok_put(&d, N_BPE, &b);
    qn__detok_flush(&d, &b);
    assert_string_equal(b.data, "hello<tool>");
    qn__buf_free(&b);
    qn_free(ids);
    done(&v);
}

static uint32_t next_random(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return *s >> 8;
}

static void any_bytes_come_back(void **state)
{
    (void)state;
    static const char *const pres[] = {"gpt-2", "qwen2", "deepseek-llm", "gpt-4o", "default", "jais-2"};
    uint32_t seed = 7;
    for (size_t p = 0; p < sizeof pres / sizeof *pres; p++) {
        vocab v = open_ok(bpe_file(pres[p]));
        for (int k = 0; k < 200; k++) {
            char text[300];
            size_t n = next_random(&seed) % sizeof text;
            for (size_t i = 0; i < n;
                 i++) { /* bytes at random; every other text mostly of a few that make patterns bite */
                static const char few[] = " \n\r\t'sS aA1<|im_end|>\xC3\xA9\xE2\x80\xAF\xF0\x9F\x98\x80\xFF";
                text[i] = k & 1 ? (char)next_random(&seed) : few[next_random(&seed) % (sizeof few - 1)];
            }
            round_trip(v.t, text, n);
        }
        done(&v);
    }
}

static void no_border_is_no_problem(void **state)
{
    (void)state;
    enum { N = 100000 };
    static const char *const pres[] = {"gpt-2",  "qwen2",    "deepseek-llm", "deepseek-coder", "gpt-4o", "exaone-moe",
                                       "jais-2", "tiny_aya", "superbpe",     "kimi-k2",        "bloom",  "afmoe"};
    char *text = malloc(N);
    for (size_t p = 0; p < sizeof pres / sizeof *pres; p++) {
        vocab v = open_ok(bpe_file(pres[p]));
        for (int k = 0; k < 5; k++) {
            memset(text, "a 1\nA"[k], N);
            round_trip(v.t, text, N);
            text[N - 1] = 'x';
            round_trip(v.t, text, N);
        }
        for (size_t i = 0; i + 2 < N; i += 2)
            memcpy(text + i, "\xC3\xA9", 2);
        round_trip(v.t, text, N);
        done(&v);
    }
    free(text);
}

/* ---- pre-tokenizers ---- */

struct cuts {
    char out[256];
    const char *text;
};

static bool note(void *arg, size_t at, size_t n)
{
    struct cuts *c = arg;
    size_t k = strlen(c->out);
    (void)snprintf(c->out + k, sizeof c->out - k, "%s%.*s", k ? "|" : "", (int)n, c->text + at);
    return true;
}

static void rule_sets(void **state)
{
    (void)state;
    static const struct {
        const char *pre, *text, *want;
    } rows[] = {
        {"", "a1, b", "a|1|,| b"},
        {"gpt-2", "I'll be  there'S\n\n x", "I|'ll| be| | there|'|S|\n\n| x"},
        {"llama-bpe", "I'LL 12345+\r\n  x", "I|'LL| |123|45|+\r\n| | x"},
        {"qwen2", "a12 \n b", "a|1|2| \n| b"},
        {"starcoder", "a12 b", "a|1|2| b"},
        {"deepseek-coder", "a\n12 b.", "a|\n|1|2| b|."},
        {"deepseek-llm", "a\n123 b.  ", "a|\n|123| b|.|  "},
        {"deepseek-v3", "1234日本x(y", "123|4|日本|x|(y"},
        {"falcon", "a$b 1234", "a|$|b| |123|4"},
        {"gpt-4o", "HelloWorld's ABC", "Hello|World's| ABC"},
        {"tekken", "HelloWorld's 12", "Hello|World|'s| |1|2"},
        {"kimi-k2", "Hi漢字ok 1234", "Hi|漢字|ok| |123|4"},
        {"tiny_aya", "1234567 12px 1234", "1|234|567| |12|px| |1|234"},
        {"superbpe", "ab1234567", "ab|1|234|567"},
        {"afmoe", "x12345", "x|12|345"},
        {"chameleon", "a <sentinel:12>  IMGIMGABZ!", "a| |<|sentinel|:|1|2|>|  |IMGIMGABZ|!"},
        {"bloom", "one two, x", "one| two|,| x"},
        {"viking", "a12", "a|1|2"},
        {"jais-2", "a       b\n", "a|    |  | b|\n"},
        {"exaone-moe", "ab cd 12", "ab cd| |1|2"},
        {"seed-coder", "a+\nb", "a|+|\n|b"},
        {"bailingmoe", "a+\nb\n\n", "a|+\n|b|\n\n"},
        {"youtu", "한국x", "한국|x"},
        {"k2-horizon", "a\u0301b 1234", "a\u0301b| |123|4"},
        {"minicpm5", "a1234 b", "a|123|4| b"},
        {"laguna", "a\n\n b12", "a|\n\n| b|1|2"},
        {"gemma4", "a b\n\nc", "a b|\n\n|c"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qn_pretok *p;
        qn_pretok_run run = {0};
        qn_err err;
        struct cuts c = {.text = rows[i].text};
        assert_int_equal(qn__pretok_open((qn_slice){rows[i].pre, strlen(rows[i].pre)}, &p, &err), QN_OK);
        assert_int_equal(qn__pretok_split(p, &run, rows[i].text, strlen(rows[i].text), note, &c, &err), QN_OK);
        if (strcmp(c.out, rows[i].want) != 0)
            fail_msg("%s: \"%s\" gave \"%s\", not \"%s\"", rows[i].pre, rows[i].text, c.out, rows[i].want);
        qn__pretok_run_free(&run);
        qn__pretok_close(p);
    }
    open_fails(bpe_file("no-such-rules"), QN_EUNSUPPORTED, "no-such-rules");
    vocab v = open_ok(bpe_file(NULL));
    assert_string_equal(qn__tokenizer_info(v.t)->pre, "");
    done(&v);
}

/* ---- SentencePiece ---- */

static int byte_id(unsigned b)
{
    return N_SPM_TEXTS + (int)b;
}

static void spm(void **state)
{
    (void)state;
    vocab v = open_ok(spm_file("llama", true));
    gives(v.t, "", true, QN_BOS_NO, -1);
    gives(v.t, "ab", true, QN_BOS_AUTO, 1, S_BAB, -1);
    gives(v.t, "aab", true, QN_BOS_NO, S_BA, S_AB, -1); /* ab (-2) before ▁a (-3) before aa (-4) */
    gives(v.t, " ab", true, QN_BOS_NO, S_BLOCK, S_BAB, -1);
    gives(v.t, "b\xC3\xA9\n\xFF", true, QN_BOS_NO, S_BLOCK, S_B, S_E, byte_id('\n'), byte_id(0xFF), -1);
    gives(v.t, "a</s>a", true, QN_BOS_NO, S_BA, 2, S_BA, -1);
    round_trip(v.t, "ab </s> b", 9);
    round_trip(v.t, "a\xC3 b\xE2\x96 a\xF0", 10);
    done(&v);
    v = open_ok(spm_file("llama", false));
    gives(v.t, "ab", true, QN_BOS_NO, S_AB, -1);
    gives(v.t, "  ab", true, QN_BOS_NO, S_BLOCK, S_BAB, -1);
    round_trip(v.t, " a", 2);
    done(&v);
}

static void unigram(void **state)
{
    (void)state;
    vocab v = open_ok(spm_file("t5", true));
    gives(v.t, "ab", true, QN_BOS_NO, S_BAB, -1);
    gives(v.t, "aab", true, QN_BOS_NO, S_BA, S_AB, -1); /* -3 -2 */
    gives(v.t, "a", true, QN_BOS_AUTO, S_BA, 1, -1);
    gives(v.t, "a z", true, QN_BOS_NO, S_BA, S_BLOCK, byte_id('z'), -1);
    done(&v);
}

/* A character map of one entry, "A" -> "b": root's offset 0x100; node 0x141 ('A', has a leaf, offset 1); leaf 0x140. */
static gb charsmap_file(uint32_t root, uint32_t leaf, uint32_t size)
{
    enum { UNITS = 0x142 };
    gb b = spm_file("t5", true);
    gb_kv_arr(&b, "tokenizer.ggml.precompiled_charsmap", QN_GGUF_U8, 4 + 4 * UNITS + 2);
    gb_u32(&b, size ? size : 4 * UNITS);
    for (uint32_t i = 0; i < UNITS; i++)
        gb_u32(&b, i == 0 ? root << 10 : i == 0x141 ? 'A' | 1u << 8 | 1u << 10 : i == 0x140 ? leaf | 0x80000000u : 0);
    gb_u8(&b, 'b');
    gb_u8(&b, 0);
    gb_kv_bool(&b, "tokenizer.ggml.remove_extra_whitespaces", true);
    return b;
}

static void character_map(void **state)
{
    (void)state;
    vocab v = open_ok(charsmap_file(0x100, 0, 0));
    gives(v.t, "  aA   A ", true, QN_BOS_NO, S_BAB, S_BLOCK, S_B, -1);
    done(&v);
    v = open_ok(charsmap_file(0x3FFFFF, 0, 0)); /* points outside: as if there were no entry */
    gives(v.t, "aA", true, QN_BOS_NO, S_BA, byte_id('A'), -1);
    done(&v);
    v = open_ok(charsmap_file(0x100, 99, 0));
    gives(v.t, "aA", true, QN_BOS_NO, S_BA, byte_id('A'), -1);
    done(&v);
    open_fails(charsmap_file(0x100, 0, 0xFFFFFFF0u), QN_EFORMAT, "precompiled_charsmap");
}

/* ---- WordPiece ---- */

static gb bert_file(bool hashes)
{
    static const char *const blocks[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁play", "ing", "▁,", "▁cafe", "▁漢", "s"};
    static const char *const marks[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "play", "##ing", ",", "cafe", "漢", "##s"};
    gb b;
    gb_begin(&b, 3);
    gb_kv_str(&b, "tokenizer.ggml.model", "bert");
    gb_kv_strs(&b, "tokenizer.ggml.tokens", hashes ? marks : blocks, 10);
    gb_kv_arr(&b, "tokenizer.ggml.token_type", QN_GGUF_I32, 10);
    for (int i = 0; i < 10; i++)
        gb_u32(&b, i < 4 ? QN_TOKEN_CONTROL : QN_TOKEN_NORMAL);
    gb_kv_u32(&b, "tokenizer.ggml.unknown_token_id", 1);
    gb_kv_u32(&b, "tokenizer.ggml.cls_token_id", 2);
    gb_kv_u32(&b, "tokenizer.ggml.seperator_token_id", 3);
    return b;
}

static void wordpiece(void **state)
{
    (void)state;
    for (int hashes = 0; hashes < 2; hashes++) {
        vocab v = open_ok(bert_file(hashes));
        gives(v.t, " Playing,\tCaf\xC3\xA9s\xE6\xBC\xA2\x01", true, QN_BOS_AUTO, 2, 4, 5, 6, 7, 9, 8, 3, -1);
        gives(v.t, "playx play [SEP]", true, QN_BOS_NO, 1, 4, 3, -1);
        qn_buf b = {0};
        qn_detok d;
        qn__detok_init(&d, v.t, false);
        const int32_t ids[] = {2, 4, 5, 4, 9, 3};
        for (size_t i = 0; i < 6; i++)
            qn__detok_put(&d, ids[i], &b);
        assert_string_equal(b.data, "playing plays");
        qn__buf_free(&b);
        done(&v);
    }
}

/* ---- streaming ---- */

static void whole_characters_only(void **state)
{
    (void)state;
    vocab v = open_ok(bpe_file("gpt-2"));
    static const char text[] = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z\xE2\x82x\xF0\x9F\xFF\xC3";
    static const size_t held[] = {0, 1, 0, 1, 2, 0, 1, 2, 3, 0, 0, 1, 2, 0, 1, 2, 0, 1};
    qn_buf b = {0};
    qn_detok d;
    qn__detok_init(&d, v.t, true);
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        qn__detok_put(&d, (unsigned char)text[i], &b);
        assert_int_equal(b.n, i + 1 - held[i]);
        assert_int_equal(d.n_held, held[i]);
        assert_memory_equal(b.data, text, b.n);
    }
    qn__detok_flush(&d, &b);
    assert_int_equal(b.n, sizeof text - 1);
    assert_memory_equal(b.data, text, b.n);
    qn__buf_free(&b);
    done(&v);
}

/* ---- hostile metadata ---- */

static gb small(const char *model)
{
    gb b;
    static const char *const texts[] = {"a", "b", "ab"};
    gb_begin(&b, 3);
    gb_kv_str(&b, "tokenizer.ggml.model", model);
    gb_kv_strs(&b, "tokenizer.ggml.tokens", texts, 3);
    return b;
}

static void refused(void **state)
{
    (void)state;
    static const char *const unknown[] = {"a c"}, *const unlinked[] = {"ab"}, *const endless[] = {"a "};
    gb b;
    gb_begin(&b, 3);
    open_fails(b, QN_EFORMAT, "tokenizer.ggml.model");
    open_fails(small("rwkv"), QN_EUNSUPPORTED, "rwkv");
    gb_begin(&b, 3);
    gb_kv_str(&b, "tokenizer.ggml.model", "llama");
    open_fails(b, QN_EFORMAT, "missing");
    gb_begin(&b, 3);
    gb_kv_str(&b, "tokenizer.ggml.model", "llama");
    gb_kv_arr(&b, "tokenizer.ggml.tokens", QN_GGUF_STR, 0);
    open_fails(b, QN_EFORMAT, "empty");
    gb_begin(&b, 3);
    gb_kv_str(&b, "tokenizer.ggml.model", "llama");
    gb_kv_u32(&b, "tokenizer.ggml.tokens", 3);
    open_fails(b, QN_EFORMAT, "array");
    open_fails(small("gpt2"), QN_EFORMAT, "merges");
    open_fails(small("llama"), QN_EFORMAT, "scores");
    b = small("gpt2");
    gb_kv_strs(&b, "tokenizer.ggml.merges", unknown, 1);
    open_fails(b, QN_EFORMAT, "a c");
    b = small("gpt2");
    gb_kv_strs(&b, "tokenizer.ggml.merges", unlinked, 1);
    open_fails(b, QN_EFORMAT, "space");
    b = small("gpt2");
    gb_kv_strs(&b, "tokenizer.ggml.merges", endless, 1);
    open_fails(b, QN_EFORMAT, "space");
    b = small("llama");
    gb_kv_arr(&b, "tokenizer.ggml.scores", QN_GGUF_F32, 2);
    gb_f32(&b, 0);
    gb_f32(&b, 0);
    open_fails(b, QN_EFORMAT, "3 tokens");
    b = small("llama");
    gb_kv_arr(&b, "tokenizer.ggml.scores", QN_GGUF_F32, 3);
    gb_f32(&b, 0);
    gb_u32(&b, 0x7FC00000); /* NaN */
    gb_f32(&b, 0);
    open_fails(b, QN_EFORMAT, "token 1");
    b = small("bert");
    gb_kv_arr(&b, "tokenizer.ggml.token_type", QN_GGUF_I32, 3);
    gb_u32(&b, 1);
    gb_u32(&b, 77);
    gb_u32(&b, 1);
    open_fails(b, QN_EFORMAT, "77");
    b = small("bert");
    gb_kv_u32(&b, "tokenizer.ggml.eos_token_id", 3);
    open_fails(b, QN_EFORMAT, "outside");
    b = small("bert");
    gb_kv_str(&b, "tokenizer.ggml.eos_token_id", "x");
    open_fails(b, QN_EFORMAT, "eos_token_id");
}

/* Files with bytes changed: refused with a sentence, or a tokenizer whose ids stay in its vocabulary. */
static void ten_thousand_mutations(void **state)
{
    (void)state;
    uint32_t seed = 99;
    int opened = 0, refusals = 0;
    for (int i = 0; i < 10000; i++) {
        gb b = i % 5 == 0   ? bpe_file("gpt-2")
               : i % 5 == 1 ? spm_file("llama", true)
               : i % 5 == 2 ? charsmap_file(0x100, 0, 0)
               : i % 5 == 3 ? bert_file(false)
                            : bert_file(true);
        for (uint32_t k = next_random(&seed) % 4 + 1; k; k--)
            b.p[24 + next_random(&seed) % (b.n - 24)] ^= (unsigned char)(1u << next_random(&seed) % 8);
        qn_gguf *g = NULL;
        qn_tokenizer *t = NULL;
        qn_err err = {0};
        int32_t *ids = NULL;
        size_t n = 0;
        if (!qn__gguf_open_memory(b.p, b.n, "t.gguf", &g, &err)) {
            qn_status st = qn__tokenizer_open(g, &t, &err);
            assert_true(st == QN_OK || (err.what[0] && err.where[0] && (st == QN_EFORMAT || st == QN_EUNSUPPORTED)));
            opened += st == QN_OK;
            refusals += st != QN_OK;
        }
        if (t) {
            static const char text[] = "hello wo\n  12 aAb </s><tool>playing caf\xC3\xA9 \xFF";
            assert_int_equal(qn__tokenize(t, text, sizeof text - 1, i & 1, QN_BOS_AUTO, &ids, &n, &err), QN_OK);
            for (size_t k = 0; k < n; k++)
                assert_true(ids[k] >= 0 && ids[k] < qn__tokenizer_info(t)->n_vocab);
        }
        qn_free(ids);
        qn__tokenizer_close(t);
        qn__gguf_close(g);
        gb_free(&b);
    }
    assert_true(opened > 1000 && refusals > 100);
    print_message(
        "figure: tokenizer metadata: 10000 mutations, %d opened, %d refused by the tokenizer, the rest by the reader\n",
        opened, refusals);
}

static void tolerated(void **state)
{
    (void)state;
    static const char *const texts[] = {"a", "", "a", "\xFF\xFE", "b"};
    gb b;
    gb_begin(&b, 3);
    gb_kv_str(&b, "tokenizer.ggml.model", "gpt2");
    gb_kv_strs(&b, "tokenizer.ggml.tokens", texts, 5);
    gb_kv_arr(&b, "tokenizer.ggml.merges", QN_GGUF_STR, 0);
    gb_kv_u32(&b, "tokenizer.ggml.padding_token_id", UINT32_MAX); /* "none" */
    vocab v = open_ok(b);
    assert_int_equal(qn__tokenizer_info(v.t)->pad, -1);
    gives(v.t, "ab", true, QN_BOS_NO, 2, 4, -1);  /* of equal texts the later one */
    gives(v.t, "azb", true, QN_BOS_NO, 2, 4, -1); /* no token for z, no unknown token either */
    assert_int_equal(qn__token_find(v.t, "", 0), -1);
    done(&v);
}

/* ---- memory ---- */

static void allocation_failures(void **state)
{
    (void)state;
    static const char text[] =
        "hello <tool> wo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xFF 12<bos>";
    for (int kind = 0; kind < 4; kind++) {
        gb b = kind == 0   ? bpe_file("deepseek-v3")
               : kind == 1 ? spm_file("llama", true)
               : kind == 2 ? charsmap_file(0x100, 0, 0)
                           : bert_file(true);
        char *many = malloc(4096);
        for (size_t i = 0; i < 4096; i++)
            many[i] = text[i % (sizeof text - 1)];
        qn_gguf *g = NULL;
        qn_err err = {0};
        assert_int_equal(qn__gguf_open_memory(b.p, b.n, "t.gguf", &g, &err), QN_OK);
        int failures = 0;
        for (uint64_t n = 1;; n++) {
            qn_tokenizer *t = NULL;
            int32_t *ids = NULL;
            size_t n_ids = 0;
            qn__alloc_fail_at(n);
            qn_status st = qn__tokenizer_open(g, &t, &err);
            if (!st)
                st = qn__tokenize(t, many, 4096, true, QN_BOS_AUTO, &ids, &n_ids, &err);
            qn__alloc_fail_at(0);
            if (st) {
                assert_int_equal(st, QN_ENOMEM);
                assert_null(ids);
                failures++;
            }
            qn_free(ids);
            qn__tokenizer_close(t);
            if (!st)
                break;
            assert_true(n < 5000);
        }
        assert_true(failures > 5);
        qn__gguf_close(g);
        gb_free(&b);
        free(many);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bpe),
        cmocka_unit_test(special_tokens),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(no_border_is_no_problem),
        cmocka_unit_test(rule_sets),
        cmocka_unit_test(spm),
        cmocka_unit_test(unigram),
        cmocka_unit_test(character_map),
        cmocka_unit_test(wordpiece),
        cmocka_unit_test(whole_characters_only),
        cmocka_unit_test(refused),
        cmocka_unit_test(tolerated),
        cmocka_unit_test(ten_thousand_mutations),
        cmocka_unit_test(allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
