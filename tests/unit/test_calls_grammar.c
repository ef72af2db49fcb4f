/* test_calls_grammar.c - every dialect's grammar of calls: random walks through it are calls that parse and conform; under auto, text is
 * text; names that were not offered, second calls where one is allowed, and text under `required` cannot be written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "calls_walk.h"

static const char tools_json[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"run\",\"parameters\":{\"type\":\"object\",\"properties\":{"
    "\"cmd\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"},\"ok\":{\"type\":\"boolean\"},\"how\":{\"type\":\"string\",\"enum\":[\"fast\","
    "\"slow\"]}},\"required\":[\"cmd\",\"ok\"]}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"runs\",\"parameters\":{\"type\":\"object\",\"properties\":{\"list\":{\"type\":\"array\","
    "\"items\":{\"type\":\"number\"}}},\"required\":[\"list\"]}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"now\",\"parameters\":{\"type\":\"object\",\"properties\":{}}}}]";

static qn_calls *open_with(const char *tools, const char *dialect)
{
    qn_calls *c = NULL;
    assert_int_equal(qn__calls_open(tools, &c, NULL), QN_OK);
    assert_int_equal(qn__calls_detect(c, &(qn_probe){0}, dialect, NULL), QN_OK);
    return c;
}

static qn_calls *open_calls(const char *dialect)
{
    return open_with(tools_json, dialect);
}

static void walks(void **state)
{
    (void)state;
    walk_vocab v = walk_open();
    const qn_dialect *d;
    int all = 0, called = 0;
    size_t n_dialects = 0;
    for (size_t i = 0; (d = qn__dialect(i)) != NULL; i++, n_dialects++) {
        for (int mode = 0; mode < 4; mode++) { /* auto, required, single, named */
            qn_calls *c = open_calls(d->name);
            qn_err err = {0};
            qn_grammar *g = walk_grammar(c, v.t, mode > 0, mode == 2, mode == 3 ? "runs" : NULL, &err);
            if (!g)
                fail_msg("%s: %s: %s", d->name, err.where, err.what);
            int ended = 0;
            for (uint64_t seed = 0; seed < 12; seed++) {
                qn_buf out = {0};
                walk_reply whole = {0}, bytes = {0};
                qn__buf_puts(&out, "");
                if (walk(g, v.t, c, seed * 77 + i, 30, &out)) {
                    ended++;
                    walk_parse(c, out.data, out.n, out.n + 1, &whole);
                    walk_parse(c, out.data, out.n, 1, &bytes);
                    bool ok = whole.calls == whole.ends && !whole.bad && bytes.calls == whole.calls && bytes.ends == whole.ends &&
                              (mode == 0 || whole.calls > 0) && (mode != 2 || whole.calls == 1) && (mode == 0 || !whole.text.n) &&
                              (mode != 3 || strcmp(whole.name, "runs") == 0);
                    if (!ok)
                        fail_msg("%s, mode %d: %d calls, %d complete, %d do not conform, text \"%.*s\":\n%s", d->name, mode, whole.calls,
                                 whole.ends, whole.bad, (int)whole.text.n, whole.text.data ? whole.text.data : "", out.data);
                    called += whole.calls;
                }
                walk_reply_free(&whole);
                walk_reply_free(&bytes);
                qn__buf_free(&out);
            }
            if (ended < 8)
                fail_msg("%s, mode %d: only %d walks ended", d->name, mode, ended);
            all += ended;
            qn__grammar_drop(g);
            qn__calls_close(c);
        }
    }
    printf("figure: calls at random: %d replies in %zu dialects, %d calls, all parse and conform\n", all, n_dialects,
           called);
    walk_close(&v);
}

/* Is text accepted, and may it end there? */
static bool takes(qn_grammar *g, const char *text)
{
    qn_matcher *m = NULL;
    assert_int_equal(qn__matcher_open(g, &m, NULL), QN_OK);
    bool ok = qn__matcher_accept_bytes(m, text, strlen(text)) && qn__matcher_may_end(m);
    qn__matcher_close(m);
    return ok;
}

static void accepts(const char *dialect, int mode, const char *text, bool want)
{
    qn_calls *c = open_calls(dialect);
    qn_err err = {0};
    qn_grammar *g = walk_grammar(c, NULL, mode > 0, mode == 2, mode == 3 ? "now" : NULL, &err);
    if (!g)
        fail_msg("%s: %s: %s", dialect, err.where, err.what);
    if (takes(g, text) != want)
        fail_msg("%s, mode %d: %s:\n%s", dialect, mode, want ? "refused" : "accepted", text);
    qn__grammar_drop(g);
    qn__calls_close(c);
}

static void choices(void **state)
{
    (void)state;
#define NOW "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>"
    accepts("hermes", 0, "", true);
    accepts("hermes", 0, "Plain text, <b> and {\"name\"}.", true);
    accepts("hermes", 0, "I look.\n" NOW, true);
    accepts("hermes", 0, NOW "\n" NOW, true);
    accepts("hermes", 0, "<think>\nA " NOW "?\n</think>\n\n" NOW, true);
    accepts("hermes", 0, "a <tool_call> tag", false);
    accepts("hermes", 0, NOW " and so on", false);
    accepts("hermes", 0, "<tool_call>\n{\"name\": \"never\", \"arguments\": {}}\n</tool_call>", false);
    accepts("hermes", 0, "<tool_call>\n{\"name\": \"now\", \"arguments\": {\"a\": 1}}\n</tool_call>", false);
    accepts("hermes", 1, "Prose.", false);
    accepts("hermes", 1, "Prose." NOW, false);
    accepts("hermes", 1, NOW, true);
    accepts("hermes", 1, "<think>Hm.</think>\n\n" NOW, true);
    accepts("hermes", 2, NOW "\n" NOW, false);
    accepts("hermes", 2, NOW, true);
    accepts("hermes", 3, "<tool_call>\n{\"name\": \"runs\", \"arguments\": {\"list\": []}}\n</tool_call>", false);
    accepts("llama3", 0, "{\"name\": \"now\", \"parameters\": {}}", true);
    accepts("llama3", 0, "{\"name\": \"never\", \"parameters\": {}}", false);
    accepts("llama3", 0, "Text {\"name\"", true);
    accepts("qwen3-coder", 0,
            "<tool_call>\n<function=run>\n<parameter=cmd>\nif (a < b) {\n</parameter>\n\"x\"\n</parameter>\n<parameter=ok>\nTrue\n"
            "</parameter>\n<parameter=how>\nslow\n</parameter>\n</function>\n</tool_call>", true);
    accepts("qwen3-coder", 0,
            "<tool_call>\n<function=run>\n<parameter=cmd>\nls\n</parameter>\n<parameter=ok>\nmaybe\n</parameter>\n</function>\n</tool_call>",
            false);
    accepts("harmony", 0, "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.", true);
    accepts("harmony", 1, "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.", false);
    accepts("harmony", 1, "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant to=functions.now<|channel|>commentary json<|message|>{}",
            true);
    accepts("harmony", 1, "<|channel|>commentary to=functions.now <|constrain|>json<|message|>{}", true);
    accepts("functionary-v3.2", 0, "all\nText.>>>now\n{}", true);
    accepts("functionary-v3.2", 1, "all\nText.", false);
}

/* Where values stand raw, strings are held to their limits all the same. */
static void raw_strings(void **state)
{
    (void)state;
    static const char tools[] =
        "[{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"b\",\"maxLength\":20}},\"required\":[\"a\"]}},"
        "{\"name\":\"g\",\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"minLength\":2,\"maxLength\":4}},\"required\":[\"a\"]}},"
        "{\"name\":\"h\",\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"anyOf\":[{\"type\":\"string\",\"format\":\"date\"},{\"type\":\"null\"}]}},\"required\":[\"a\"]}}]";
    static const struct {
        const char *tool, *value;
        bool ok;
    } cases[] = {{"f", "abc", true},   {"f", "b\nc", true},   {"f", "ac", false},        {"f", "bbbbbbbbbbbbbbbbbbbbb", false},
                 {"g", "ab", true},    {"g", "\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9", true}, {"g", "a", false}, {"g", "abcde", false},
                 {"h", "2024-02-29", true}, {"h", "null", true}, {"h", "2024-02-30", false}};
    static const char *const dialects[] = {"qwen3-coder", "seed", "glm", "minimax-m2"};
    int n = 0;
    for (size_t d = 0; d < sizeof dialects / sizeof *dialects; d++) {
        if (!qn__dialect_find(dialects[d]))
            continue;
        n++;
        qn_calls *c = open_with(tools, dialects[d]);
        qn_err err = {0};
        qn_grammar *g = walk_grammar(c, NULL, true, false, NULL, &err);
        if (!g)
            fail_msg("%s: %s: %s", dialects[d], err.where, err.what);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const qn_written *w = &c->written;
            char text[512];
            (void)snprintf(text, sizeof text, "%s%s%s%sa%s%s%s%s", w->first, cases[i].tool, w->mid, w->key_open, w->key_close, cases[i].value, w->value_close, w->last);
            if (takes(g, text) != cases[i].ok)
                fail_msg("%s: %s:\n%s", dialects[d], cases[i].ok ? "refused" : "accepted", text);
        }
        qn__grammar_drop(g);
        qn__calls_close(c);
    }
    assert_int_equal(n, 4);
}

/* A call, or an answer of a given form, which may hold what would be a marker elsewhere. */
static void answers(void **state)
{
    (void)state;
    static const char form[] = "{\"type\":\"object\",\"properties\":{\"say\":{\"enum\":[\"<tool_call>\",\"</think>\",\"<|end|>\",\"<|END_RESPONSE|>\",\">>>now\\n{}\"]}},"
                               "\"required\":[\"say\"],\"additionalProperties\":false}";
    walk_vocab v = walk_open();
    const qn_dialect *d;
    json_t *schema = json_loads(form, 0, NULL);
    int answered = 0, called = 0;
    for (size_t i = 0; (d = qn__dialect(i)) != NULL; i++) {
        qn_calls *c = open_calls(d->name);
        qn_thinking thinking[QN_MAX_THINKING];
        static const char source[] = "<think> <|START_THINKING|>";
        qn_ir *ir = NULL;
        qn_grammar *g = NULL;
        qn_err err = {0};
        assert_int_equal(qn__ir_open(v.t, &ir, &err), QN_OK);
        qn_calls_want want = {.thinking = thinking, .inside = -1, .n_thinking = qn__thinking_of(source, sizeof source - 1, thinking),
                              .answer = qn__ir_schema(ir, schema, &(qn_json_style){.any_space = true}, "#", &err), .has_answer = true};
        if (qn__calls_grammar(c, &want, v.t, ir, &err) || qn__grammar_compile(ir, v.t, &g, &err))
            fail_msg("%s: %s: %s", d->name, err.where, err.what);
        qn__ir_close(ir);
        c->exact = c->answer = true;
        for (uint64_t seed = 0; seed < 12; seed++) {
            qn_buf out = {0};
            walk_reply whole = {0}, bytes = {0};
            qn__buf_puts(&out, "");
            if (walk(g, v.t, c, seed * 77 + i, 30, &out)) {
                walk_parse(c, out.data, out.n, out.n + 1, &whole);
                walk_parse(c, out.data, out.n, 1, &bytes);
                json_t *said = json_loadb(whole.text.data ? whole.text.data : "", whole.text.n, 0, NULL);
                bool ok = whole.calls == whole.ends && !whole.bad && bytes.calls == whole.calls && bytes.text.n == whole.text.n &&
                          (whole.calls ? !whole.text.n : said && walk_conforms(said, schema));
                if (!ok)
                    fail_msg("%s: %d calls, %d complete, %d do not conform, text \"%.*s\":\n%s", d->name, whole.calls, whole.ends, whole.bad,
                             (int)whole.text.n, whole.text.data ? whole.text.data : "", out.data);
                answered += !whole.calls;
                called += whole.calls > 0;
                json_decref(said);
            }
            walk_reply_free(&whole);
            walk_reply_free(&bytes);
            qn__buf_free(&out);
        }
        qn__grammar_drop(g);
        qn__calls_close(c);
    }
    printf("figure: an answer of a given form, or calls: %d and %d replies\n", answered, called);
    assert_true(answered > 50 && called > 20);
    json_decref(schema);
    walk_close(&v);
}

static void planted_fault(void **state)
{
    (void)state;
    walk_reply r = {0};
    qn_calls *c = open_calls("hermes");
    const char *text = "<tool_call>\n{\"name\": \"run\", \"arguments\": {\"cmd\": \"ls\", \"ok\": 1}}\n</tool_call>";
    walk_parse(c, text, strlen(text), 1, &r);
    assert_int_equal(r.bad, 1); /* the checker has to see that 1 is no boolean */
    walk_reply_free(&r);
    qn__calls_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(choices), cmocka_unit_test(walks), cmocka_unit_test(raw_strings), cmocka_unit_test(answers), cmocka_unit_test(planted_fault)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
