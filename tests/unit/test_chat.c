/* test_chat.c - a conversation's JSON to a template's variables; what is refused and where the refusal points. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "text/chat.h"

static qn_status render(const char *text, const qn_chat_input *in, char **out, qn_err *err)
{
    qn_jinja *t = NULL;
    size_t n;
    *out = NULL;
    assert_int_equal(qn__jinja_parse(text, strlen(text), NULL, &t, err), QN_OK);
    qn_status s = qn__chat_render(t, in, out, &n, err);
    qn__jinja_free(t);
    return s;
}

static void gives(const char *text, const qn_chat_input *in, const char *want)
{
    char *got;
    qn_err err = {0};
    if (render(text, in, &got, &err) != QN_OK)
        fail_msg("%s: %s", err.where, err.what);
    assert_string_equal(got, want);
    qn_free(got);
}

static void refuses(const char *messages, qn_status code, const char *where, const char *what)
{
    char *got;
    qn_err err = {0};
    qn_chat_input in = {.messages_json = messages};
    assert_int_equal(render("x", &in, &got, &err), code);
    if (!strstr(err.where, where) || !strstr(err.what, what))
        fail_msg("got \"%s\": \"%s\"", err.where, err.what);
}

static void messages(void **state)
{
    (void)state;
    qn_chat_input in = {.messages_json = "[{\"role\":\"user\",\"content\":\"hi \\u00e9\"},{\"role\":\"assistant\"}]"};
    gives("{% for m in messages %}{{ m.role }}:{{ m.content }}:{{ m.content is defined }};{% endfor %}", &in,
          "user:hi \u00e9:True;assistant::False;");
    gives("{{ tools }} {{ documents }} {{ bos_token is defined }} {{ add_generation_prompt }}", &in,
          "None None False False");
    in.messages_json = "{\"messages\":[],\"tools\":[{\"b\":1,\"a\":1.0}],\"enable_thinking\":false}";
    in.bos = "<s>";
    in.add_generation_prompt = true;
    gives("{{ bos_token }}{{ tools|tojson }}{{ enable_thinking }}{{ add_generation_prompt }}{{ messages }}", &in,
          "<s>[{\"b\": 1, \"a\": 1.0}]FalseTrue[]");
}

static void variables_win(void **state)
{
    (void)state;
    const qn_var vars[] = {{"bos_token", "\"B\""}, {"x", "[1, 2.5, null]"}, {"add_generation_prompt", "0"}};
    qn_chat_input in = {
        .messages_json = "{\"messages\":[],\"x\":1}", .vars = vars, .n_vars = 3, .bos = "<s>", .tools_json = "[7]"};
    gives("{{ bos_token }}{{ x }}{{ add_generation_prompt }}{{ tools }}", &in, "B[1, 2.5, None]0[7]");
    const qn_var bad[] = {{"x", "{"}};
    in.vars = bad;
    in.n_vars = 1;
    char *got;
    qn_err err = {0};
    assert_int_equal(render("x", &in, &got, &err), QN_EFORMAT);
    assert_non_null(strstr(err.where, "x: line 1"));
}

static void call_arguments(void **state)
{
    (void)state;
    static const char t[] = "{% for c in messages[0].tool_calls %}{{ c.function.arguments }};{% endfor %}";
    qn_chat_input in = {.messages_json =
                            "[{\"role\":\"assistant\",\"tool_calls\":["
                            "{\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"b\\\": 1, \\\"a\\\": [true]}\"}},"
                            "{\"function\":{\"name\":\"f\",\"arguments\":{\"k\":1}}},"
                            "{\"function\":{\"name\":\"f\",\"arguments\":\"not json\"}},"
                            "{\"function\":{\"name\":\"f\",\"arguments\":\"[1]\"}}]}]"};
    gives(t, &in, "{'b': 1, 'a': [True]};{'k': 1};not json;[1];");
    /* A template that puts a text of them together gets texts: as they were written, or spelled. */
    static const char joins[] = "{% for c in messages[0].tool_calls %}{{ c.function.name + c.function.arguments }};{% endfor %}";
    gives(joins, &in, "f{\"b\": 1, \"a\": [true]};f{\"k\": 1};fnot json;f[1];");
}

static void refusals(void **state)
{
    (void)state;
    refuses("", QN_EFORMAT, "messages: line 1", "JSON");
    refuses("[{\"role\":\"user\",\n\"content\":}]", QN_EFORMAT, "messages: line 2", "JSON");
    refuses("[{\"role\":\"user\",\"role\":\"user\"}]", QN_EFORMAT, "messages: line 1", "duplicate");
    refuses("5", QN_EFORMAT, "messages", "an integer");
    refuses("{\"tools\":[]}", QN_EFORMAT, "messages", "missing");
    refuses("[{\"role\":\"user\"},[]]", QN_EFORMAT, "messages[1]", "an array");
    refuses("[{\"role\":\"user\"},{\"content\":\"x\"}]", QN_EFORMAT, "messages[1].role", "missing");
    refuses("[{\"role\":\"user\"},{\"role\":3}]", QN_EFORMAT, "messages[1].role", "an integer");
    refuses("[{\"role\":\"user\",\"content\":3}]", QN_EFORMAT, "messages[0].content", "an integer");
    refuses("[{\"role\":\"a\",\"tool_calls\":{}}]", QN_EFORMAT, "messages[0].tool_calls", "an object");
    refuses("[{\"role\":\"a\",\"tool_calls\":[{},4]}]", QN_EFORMAT, "messages[0].tool_calls[1]", "an integer");
    refuses("[{\"role\":\"a\",\"tool_calls\":[{\"function\":\"f\"}]}]", QN_EFORMAT, "tool_calls[0].function",
            "a string");
    refuses("{\"messages\":[],\"tools\":{}}", QN_EFORMAT, "tools", "an object");
    refuses("[99999999999999999999]", QN_EFORMAT, "messages: line 1", "integer");
    qn_buf b = {0};
    qn__buf_puts(&b, "[{\"role\":\"user\",\"content\":");
    for (int i = 0; i < 150; i++)
        qn__buf_puts(&b, "[");
    for (int i = 0; i < 150; i++)
        qn__buf_puts(&b, "]");
    qn__buf_puts(&b, "}]");
    refuses(b.data, QN_EFORMAT, "messages[0].content[0][0]", "nested deeper");
    b.n = 0;
    for (int i = 0; i < 100000; i++)
        qn__buf_puts(&b, "[");
    refuses(b.data, QN_EFORMAT, "messages: line 1", "depth");
    qn__buf_free(&b);
}

static void raises(void **state)
{
    (void)state;
    qn_chat_input in = {.messages_json = "[]"};
    char *got;
    qn_err err = {0};
    assert_int_equal(render("{{ raise_exception('no messages') }}", &in, &got, &err), QN_ERAISED);
    assert_string_equal(err.what, "no messages");
}

static void dates(void **state)
{
    (void)state;
    qn_err err = {0};
    int64_t now = -1;
    assert_int_equal(qn__chat_date("2026-01-02", &now, &err), QN_OK);
    assert_true(now == 1767355200);
    assert_int_equal(qn__chat_date("1970-01-01", &now, &err), QN_OK);
    assert_true(now == 43200);
    assert_int_equal(qn__chat_date("2024-02-29", &now, &err), QN_OK);
    assert_true(now == 1709208000);
    static const char *const bad[] = {"2026-02-29", "2026-13-01", "2026-1-1",   "2026/01/01",
                                      "",           "2026-01-32", "20260-1-01", "0000-01-01"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        now = 7;
        assert_int_equal(qn__chat_date(bad[i], &now, &err), QN_EINVAL);
        assert_true(now == 7 && err.what[0]);
    }
    qn_chat_input in = {.messages_json = "[]", .now = 1709208000};
    gives("{{ strftime_now('%Y-%m-%d %A') }}", &in, "2024-02-29 Thursday");
}

/* Without this the assertions above could all be true of nothing: a wrong expectation must be noticed. */
static void planted_fault(void **state)
{
    (void)state;
    qn_chat_input in = {.messages_json = "[{\"role\":\"user\",\"content\":\"a\"}]"};
    char *got;
    qn_err err = {0};
    assert_int_equal(render("{{ messages[0].content }}", &in, &got, &err), QN_OK);
    assert_string_not_equal(got, "b");
    qn_free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(messages),       cmocka_unit_test(variables_win),
                                       cmocka_unit_test(call_arguments), cmocka_unit_test(refusals),
                                       cmocka_unit_test(raises),         cmocka_unit_test(dates),
                                       cmocka_unit_test(planted_fault)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
