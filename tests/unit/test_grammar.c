/* test_grammar.c - expressions, the compiler and the matcher: what is accepted and refused byte by byte; masks against
 * accepting each token; special tokens; taking tokens back; what is refused; and every allocation failing once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "grammar_vocab.h"
#include "text/grammar_json.h"

static qn_ir *begin(const qn_tokenizer *t)
{
    qn_ir *ir = NULL;
    assert_int_equal(qn__ir_open(t, &ir, NULL), QN_OK);
    return ir;
}

static qn_grammar *finish(qn_ir *ir, const qn_tokenizer *t)
{
    qn_grammar *g = NULL;
    qn_err err = {0};
    if (qn__grammar_compile(ir, t, &g, &err))
        fail_msg("%s: %s", err.where, err.what);
    qn__ir_close(ir);
    return g;
}

static bool accepts(const qn_grammar *g, const char *text)
{
    qn_matcher *m = NULL;
    assert_int_equal(qn__matcher_open(g, &m, NULL), QN_OK);
    bool ok = true;
    for (; *text && ok; text++)
        ok = qn__matcher_accept_bytes(m, text, 1);
    ok = ok && qn__matcher_may_end(m);
    qn__matcher_close(m);
    return ok;
}

static void takes(const qn_grammar *g, const char *text)
{
    if (!accepts(g, text))
        fail_msg("not accepted: %s", text);
}

static void refuses(const qn_grammar *g, const char *text)
{
    if (accepts(g, text))
        fail_msg("not refused: %s", text);
}

static void fails(qn_ir *ir, qn_status code, const char *part)
{
    qn_grammar *g = NULL;
    qn_err err = {0};
    assert_int_equal(qn__grammar_compile(ir, NULL, &g, &err), code);
    assert_null(g);
    assert_true(err.where[0] && err.what[0]);
    if (!strstr(err.what, part) && !strstr(err.where, part))
        fail_msg("expected '%s' in '%s: %s'", part, err.where, err.what);
    qn__ir_close(ir);
}

static void walks(const qn_grammar *g, int rounds, int tokens)
{
    int ends = 0;
    for (int i = 0; i < rounds; i++) {
        qn_buf text = {0};
        bool ended;
        int bad = vocab_walk(g, (uint64_t)i * 7919 + 1, tokens, true, &text, &ended);
        if (bad)
            fail_msg("round %d: %d disagreements after: %s", i, bad, text.data ? text.data : "");
        if (ended)
            ends++;
        qn__buf_free(&text);
    }
    assert_true(ends > 0);
}

/* ---- expressions ---- */

static void basics(void **state)
{
    (void)state;
    qn_ir *ir = begin(NULL);
    static const uint32_t az[][2] = {{'a', 'z'}};
    qn_node word = qn__ir_repeat(ir, qn__ir_class(ir, az, 1, false), 1, UINT32_MAX);
    qn__ir_root(ir, QN_SEQ(ir, qn__ir_puts(ir, "<"), QN_ALT(ir, word, qn__ir_puts(ir, "12"), qn__ir_puts(ir, "1")),
                           qn__ir_repeat(ir, qn__ir_puts(ir, "!"), 2, 3), qn__ir_puts(ir, ">")));
    qn_grammar *g = finish(ir, NULL);
    takes(g, "<a!!>");
    takes(g, "<abc!!!>");
    takes(g, "<12!!>");
    takes(g, "<1!!>");
    refuses(g, "<1!>");
    refuses(g, "<1!!!!>");
    refuses(g, "<!!>");
    refuses(g, "<a!!>x");
    refuses(g, "");
    qn__grammar_drop(g);
}

static void characters(void **state)
{
    (void)state;
    qn_ir *ir = begin(NULL);
    static const uint32_t few[][2] = {{0x20AC, 0x20AC}, {'a', 'c'}, {0x1F600, 0x1F64F}, {0xE9, 0x3FF}};
    qn__ir_root(ir, qn__ir_class(ir, few, 4, false));
    qn_grammar *g = finish(ir, NULL);
    takes(g, "\xE2\x82\xAC");
    takes(g, "b");
    takes(g, "\xF0\x9F\x98\x80");
    takes(g, "\xC3\xA9");
    takes(g, "\xCF\xBF");
    refuses(g, "\xC3\xA8");
    refuses(g, "\xD0\x80");
    refuses(g, "d");
    refuses(g, "\xF0\x9F\x99\x90");
    qn__grammar_drop(g);
    ir = begin(NULL);
    qn__ir_root(ir, qn__ir_class(ir, few, 4, true));
    g = finish(ir, NULL);
    refuses(g, "\xE2\x82\xAC");
    takes(g, "\xE2\x82\xAD");
    takes(g, "\xF4\x8F\xBF\xBF");
    refuses(g, "\xED\xA0\x80"); /* a surrogate */
    refuses(g, "\xC0\xAF");
    qn__grammar_drop(g);
}

static void counters(void **state)
{
    (void)state;
    char text[600];
    qn_ir *ir = begin(NULL);
    static const uint32_t any[][2] = {{0, 0x10FFFF}};
    qn_node c = qn__ir_class(ir, any, 1, false);
    qn__ir_root(ir, QN_SEQ(ir, qn__ir_puts(ir, "<"), qn__ir_repeat(ir, c, 3, 300), qn__ir_puts(ir, ">")));
    qn_grammar *g = finish(ir, NULL);
    assert_true(g->n_states < 60);
    for (int n = 0; n < 310; n++) {
        text[0] = '<';
        memset(text + 1, 'x', (size_t)n);
        strcpy(text + 1 + n, ">");
        if (n >= 3 && n <= 300)
            takes(g, text);
        else
            refuses(g, text);
    }
    qn__grammar_drop(g);
}

static qn_grammar *keyed(const qn_tokenizer *t, uint32_t min, uint32_t max, bool extra)
{
    static const char *const keys[] = {"\"a\":1", "\"ab\":2", "\"c\":3"};
    qn_ir *ir = begin(t);
    qn_ir_member m[4];
    for (size_t i = 0; i < 3u + extra; i++) {
        qn_node k = qn__ir_puts(ir, i < 3 ? keys[i] : "\"x\":0");
        m[i] = (qn_ir_member){k, QN_SEQ(ir, qn__ir_puts(ir, ","), k), i == 1, i == 3};
    }
    qn__ir_root(ir, QN_SEQ(ir, qn__ir_puts(ir, "{"), qn__ir_collect(ir, m, 3u + extra, min, max), qn__ir_puts(ir, "}")));
    return finish(ir, t);
}

static void collections(void **state)
{
    (void)state;
    qn_grammar *g = keyed(NULL, 0, UINT32_MAX, true);
    takes(g, "{\"ab\":2}");
    takes(g, "{\"a\":1,\"ab\":2,\"c\":3}");
    takes(g, "{\"c\":3,\"ab\":2,\"a\":1}");
    takes(g, "{\"x\":0,\"x\":0,\"ab\":2,\"x\":0}");
    refuses(g, "{\"a\":1}");
    refuses(g, "{\"ab\":2,\"ab\":2}");
    refuses(g, "{\"a\":1,\"ab\":2,\"a\":1}");
    refuses(g, "{}");
    qn__grammar_drop(g);
    g = keyed(NULL, 2, 2, true);
    takes(g, "{\"a\":1,\"ab\":2}");
    takes(g, "{\"x\":0,\"ab\":2}");
    refuses(g, "{\"ab\":2}");
    refuses(g, "{\"x\":0,\"x\":0"); /* "ab" would no longer fit */
    refuses(g, "{\"a\":1,\"c\":3,\"ab\":2}");
    qn__grammar_drop(g);
}

static void recursion(void **state)
{
    (void)state;
    qn_ir *ir = begin(NULL);
    qn_node v = qn__ir_rule(ir, "v");
    qn__ir_define(ir, "v", QN_ALT(ir, qn__ir_puts(ir, "x"), QN_SEQ(ir, qn__ir_puts(ir, "("), v, v, qn__ir_puts(ir, ")"))));
    qn__ir_root(ir, v);
    qn_grammar *g = finish(ir, NULL);
    takes(g, "x");
    takes(g, "(x(xx))");
    takes(g, "((xx)(x(xx)))");
    refuses(g, "(x)");
    refuses(g, "(xx");
    qn__grammar_drop(g);
    /* A rule that ends with itself leaves no frames behind. */
    ir = begin(NULL);
    qn_node r = qn__ir_rule(ir, "r");
    qn__ir_define(ir, "r", QN_ALT(ir, qn__ir_puts(ir, "."), QN_SEQ(ir, qn__ir_puts(ir, "x"), r)));
    qn__ir_root(ir, r);
    g = finish(ir, NULL);
    qn_matcher *m = NULL;
    assert_int_equal(qn__matcher_open(g, &m, NULL), QN_OK);
    for (int i = 0; i < 100000; i++)
        assert_true(qn__matcher_accept_bytes(m, "x", 1));
    assert_true(qn__matcher_accept_bytes(m, ".", 1) && qn__matcher_may_end(m));
    qn__matcher_close(m);
    qn__grammar_drop(g);
}

static void refused(void **state)
{
    (void)state;
    qn_ir *ir = begin(NULL);
    qn__ir_root(ir, QN_SEQ(ir, qn__ir_rule(ir, "missing")));
    fails(ir, QN_EFORMAT, "missing");
    ir = begin(NULL); /* directly */
    qn__ir_define(ir, "expr", QN_ALT(ir, qn__ir_puts(ir, "x"), QN_SEQ(ir, qn__ir_rule(ir, "expr"), qn__ir_puts(ir, "+x"))));
    qn__ir_root(ir, qn__ir_rule(ir, "expr"));
    fails(ir, QN_EFORMAT, "left recursion");
    ir = begin(NULL); /* behind something that may be empty, through another rule */
    qn__ir_define(ir, "ws", qn__ir_repeat(ir, QN_ALT(ir, qn__ir_puts(ir, " "), qn__ir_puts(ir, "\t")), 0, UINT32_MAX));
    qn__ir_define(ir, "one", QN_SEQ(ir, qn__ir_rule(ir, "ws"), qn__ir_rule(ir, "two"), qn__ir_puts(ir, "1")));
    qn__ir_define(ir, "two", QN_ALT(ir, qn__ir_rule(ir, "one"), qn__ir_puts(ir, "2")));
    qn__ir_root(ir, qn__ir_rule(ir, "one"));
    fails(ir, QN_EFORMAT, "left recursion");
    ir = begin(NULL); /* never comes to an end */
    qn__ir_define(ir, "loop", QN_SEQ(ir, qn__ir_puts(ir, "x"), qn__ir_rule(ir, "loop")));
    qn__ir_root(ir, qn__ir_rule(ir, "loop"));
    fails(ir, QN_EFORMAT, "nothing can match");
    ir = begin(NULL); /* (a|b)*a(a|b){20}: two million states */
    qn_node a = qn__ir_puts(ir, "a"), ab = QN_ALT(ir, a, qn__ir_puts(ir, "b"));
    qn_node s[24];
    for (int i = 0; i < 24; i++)
        s[i] = i == 0 ? qn__ir_repeat(ir, ab, 0, UINT32_MAX) : i == 1 ? a : ab;
    qn__ir_root(ir, qn__ir_seq(ir, s, 24));
    fails(ir, QN_ELIMIT, "states");
    ir = begin(NULL);
    qn_node deep = qn__ir_puts(ir, "x");
    for (int i = 0; i < 100000 && deep >= 0; i++)
        deep = QN_SEQ(ir, qn__ir_puts(ir, "("), deep, qn__ir_puts(ir, ")"));
    qn__ir_root(ir, deep);
    fails(ir, QN_ELIMIT, "deep");
    ir = begin(NULL);
    qn__ir_define(ir, "x", qn__ir_puts(ir, "a"));
    qn__ir_define(ir, "x", qn__ir_puts(ir, "b"));
    qn__ir_root(ir, qn__ir_rule(ir, "x"));
    fails(ir, QN_EFORMAT, "twice");
}

/* ---- masks ---- */

static void json_masks(void **state)
{
    (void)state;
    vocab v = vocab_open();
    for (int style = 0; style < 3; style++) {
        const qn_json_style s = {.compact = style == 1, .any_space = style == 2};
        qn_ir *ir = begin(v.t);
        qn__ir_root(ir, qn__ir_json(ir, &s));
        qn_grammar *g = finish(ir, v.t);
        walks(g, 40, 30);
        if (style != 1)
            takes(g, "{\"a\": [1, -2.5e-3, \"\\u00e9\\ud83d\\ude00\\n\", null], \"b\": {}}");
        takes(g, "[]");
        if (style == 1)
            takes(g, "{\"a\":[1,true,{\"b\":[]}]}");
        refuses(g, "[1, ]");
        refuses(g, "[01]");
        refuses(g, "\"\\ud83d\"");
        refuses(g, "{\"a\" 1}");
        qn__grammar_drop(g);
    }
    vocab_close(&v);
}

static void counted_masks(void **state)
{
    (void)state;
    vocab v = vocab_open();
    qn_ir *ir = begin(v.t);
    qn_node list = qn__ir_repeat(ir, QN_SEQ(ir, qn__json_string(ir, 2, 20), qn__ir_puts(ir, ",")), 1, 30);
    qn__ir_root(ir, QN_SEQ(ir, qn__ir_puts(ir, "["), list, qn__ir_puts(ir, "]")));
    qn_grammar *g = finish(ir, v.t);
    walks(g, 40, 40);
    qn__grammar_drop(g);
    for (int i = 0; i < 3; i++) {
        g = keyed(v.t, i ? 2 : 0, i == 2 ? 4 : UINT32_MAX, i > 0);
        walks(g, 30, 20);
        qn__grammar_drop(g);
    }
    vocab_close(&v);
}

static void special_tokens(void **state)
{
    (void)state;
    vocab v = vocab_open();
    qn_ir *ir = begin(v.t);
    static const char *const stops[] = {"<tool_call>"};
    qn_node text = qn__ir_until(ir, stops, 1), call = QN_SEQ(ir, qn__ir_special(ir, "<tool_call>"), qn__ir_json(ir, NULL), qn__ir_special(ir, "<|sep|>"));
    qn__ir_root(ir, QN_SEQ(ir, text, qn__ir_repeat(ir, QN_SEQ(ir, call, text), 0, UINT32_MAX)));
    qn_grammar *g = finish(ir, v.t);
    walks(g, 40, 30);
    qn_matcher *m = NULL;
    const uint32_t *mask;
    assert_int_equal(qn__matcher_open(g, &m, NULL), QN_OK);
    assert_true(qn__matcher_accept(m, 'x') && qn__matcher_may_end(m));
    assert_false(qn__matcher_accept(m, VOCAB_CALL));
    assert_true(qn__matcher_accept(m, VOCAB_TOOL));
    assert_false(qn__matcher_may_end(m));
    assert_false(qn__matcher_accept(m, 'x'));
    assert_true(qn__matcher_accept_bytes(m, "\"<tool_call", 11));
    assert_int_equal(qn__matcher_mask(m, &mask, NULL), QN_OK);
    assert_false(mask[VOCAB_TOOL >> 5] >> (VOCAB_TOOL & 31) & 1);
    assert_false(mask[VOCAB_CALL >> 5] >> (VOCAB_CALL & 31) & 1);
    assert_true(qn__matcher_accept_bytes(m, ">\"", 2));
    assert_true(qn__matcher_accept(m, VOCAB_CALL));
    assert_true(qn__matcher_may_end(m));
    /* In free text the stop's own letters are refused, one by one and as a piece. */
    assert_true(qn__matcher_accept_bytes(m, "<tool_call", 10));
    assert_false(qn__matcher_accept(m, '>'));
    assert_true(qn__matcher_accept(m, VOCAB_TOOL));
    qn__matcher_rewind(m, 2);
    assert_true(qn__matcher_accept(m, VOCAB_END) && qn__matcher_accept(m, VOCAB_END));
    assert_false(qn__matcher_accept(m, 'x'));
    qn__matcher_close(m);
    qn__grammar_drop(g);
    vocab_close(&v);
}

static void rewinding(void **state)
{
    (void)state;
    vocab v = vocab_open();
    qn_ir *ir = begin(v.t);
    qn__ir_root(ir, qn__ir_json(ir, NULL));
    qn_grammar *g = finish(ir, v.t);
    qn_matcher *m = NULL;
    const uint32_t *mask;
    uint32_t before[(VOCAB_N + 31) / 32];
    assert_int_equal(qn__matcher_open(g, &m, NULL), QN_OK);
    assert_true(qn__matcher_accept_bytes(m, "{\"a\": [", 7));
    assert_int_equal(qn__matcher_mask(m, &mask, NULL), QN_OK);
    memcpy(before, mask, sizeof before);
    for (int i = 0; i < 100; i++)
        assert_true(qn__matcher_accept(m, '['));
    qn__matcher_rewind(m, 100);
    assert_int_equal(qn__matcher_mask(m, &mask, NULL), QN_OK);
    assert_memory_equal(before, mask, sizeof before);
    assert_true(qn__matcher_accept_bytes(m, "1]}", 3) && qn__matcher_may_end(m));
    qn__matcher_close(m);
    /* Frames that are no longer needed go away. */
    assert_int_equal(qn__matcher_open(g, &m, NULL), QN_OK);
    assert_true(qn__matcher_accept(m, '['));
    for (int i = 0; i < 30000; i++) {
        assert_true(qn__matcher_accept_bytes(m, "[[1]", 4));
        assert_true(qn__matcher_accept_bytes(m, "], ", 3));
    }
    qn__matcher_rewind(m, 64);
    assert_true(qn__matcher_accept_bytes(m, "1]", 2) && qn__matcher_may_end(m));
    qn__matcher_close(m);
    qn__grammar_drop(g);
    vocab_close(&v);
}

/* ---- harness ---- */

/* The comparison of masks with accepting must notice a wrong bit. */
static void planted_fault(void **state)
{
    (void)state;
    vocab v = vocab_open();
    qn_ir *ir = begin(v.t);
    qn__ir_root(ir, qn__ir_json(ir, NULL));
    qn_grammar *g = finish(ir, v.t);
    qn_token_trie *t = (qn_token_trie *)g->trie;
    for (size_t i = 0; i < t->n; i++)
        if (t->token[i] == '[')
            t->token[i] = '%';
    qn_buf text = {0};
    bool ended;
    assert_true(vocab_walk(g, 1, 5, true, &text, &ended) != 0);
    qn__buf_free(&text);
    qn__grammar_drop(g);
    vocab_close(&v);
}

static qn_status everything(const qn_tokenizer *t)
{
    qn_ir *ir = NULL;
    qn_grammar *g = NULL;
    qn_matcher *m = NULL;
    qn_err err = {0};
    const uint32_t *mask;
    static const char *const stops[] = {"stop", "st"};
    qn_status st = qn__ir_open(t, &ir, &err);
    if (st)
        return st;
    qn_node k = qn__ir_puts(ir, "\"a\":"), l = qn__ir_puts(ir, ",\"b\":");
    qn_ir_member mem[2] = {{k, k, true, false}, {l, l, false, true}};
    qn__ir_root(ir, QN_SEQ(ir, qn__json_string(ir, 1, 40), qn__ir_collect(ir, mem, 2, 0, 8), qn__ir_json(ir, NULL), qn__ir_until(ir, stops, 2),
                           qn__ir_special(ir, "<|sep|>")));
    st = qn__ir_check(ir, &err);
    if (!st)
        st = qn__grammar_compile(ir, t, &g, &err);
    if (!st)
        st = qn__matcher_open(g, &m, &err);
    static const char *const pieces[] = {"\"", "abc", "d\"", "\"a\":", ",\"b\":", "[1", ", {}", "]", "x s"};
    for (size_t i = 0; !st && i < sizeof pieces / sizeof *pieces; i++) {
        st = qn__matcher_mask(m, &mask, &err);
        if (!st && !qn__matcher_accept_bytes(m, pieces[i], strlen(pieces[i])))
            st = QN_ENOMEM; /* accepting has only yes and no */
    }
    if (st)
        assert_int_equal(st, QN_ENOMEM);
    qn__matcher_close(m);
    qn__grammar_drop(g);
    qn__ir_close(ir);
    return st;
}

static void allocations(void **state)
{
    (void)state;
    vocab v = vocab_open();
    assert_int_equal(everything(v.t), QN_OK);
    for (uint64_t n = 1;; n++) {
        qn__alloc_fail_at(n);
        uint64_t before = qn__alloc_count();
        qn_status st = everything(v.t);
        qn__alloc_fail_at(0);
        if (!st && qn__alloc_count() - before < n)
            break;
        assert_true(n < 20000);
    }
    vocab_close(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(basics),         cmocka_unit_test(characters),     cmocka_unit_test(counters),
        cmocka_unit_test(collections),    cmocka_unit_test(recursion),      cmocka_unit_test(refused),
        cmocka_unit_test(json_masks),     cmocka_unit_test(counted_masks),  cmocka_unit_test(special_tokens),
        cmocka_unit_test(rewinding),      cmocka_unit_test(planted_fault),  cmocka_unit_test(allocations),
    };
    return cmocka_run_group_tests_name("grammar", tests, NULL, NULL);
}
