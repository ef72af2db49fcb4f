/* test_toolcall.c - outputs taken apart: reasoning, text and calls of every dialect, given whole, byte by byte, and cut in two at
 * every byte; all three have to say the same. What a reply came to is written as
 *
 *   R[reasoning]T[text]C0[name id]A0[arguments]E0      E0: the call is complete */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "text/toolcall/parse.h"

static const char tools_json[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"run\",\"parameters\":{\"type\":\"object\",\"properties\":{"
    "\"cmd\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"},\"ok\":{\"type\":\"boolean\"},\"l\":{\"type\":\"array\"},"
    "\"o\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}},\"required\":[\"cmd\"]}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"now\",\"parameters\":{\"type\":\"object\",\"properties\":{}}}}]";

typedef struct said {
    qn_buf b;
    int last; /* kind and call of the last part: pieces of one are joined */
} said;

static void part(void *arg, const qn_part *p)
{
    said *s = arg;
    int kind = (int)p->kind * 1000 + (p->kind == QN_PART_TEXT || p->kind == QN_PART_REASONING ? 0 : p->call);
    bool same = s->last == kind && p->kind != QN_PART_CALL;
    assert_true(qn__utf8_valid(p->text ? p->text : "", p->n));
    if (same)
        s->b.n--;
    switch (p->kind) {
    case QN_PART_REASONING:
    case QN_PART_TEXT:
        assert_true(p->n > 0);
        if (!same)
            qn__buf_puts(&s->b, p->kind == QN_PART_TEXT ? "T[" : "R[");
        break;
    case QN_PART_CALL: qn__buf_printf(&s->b, "C%d[%s%s%s", p->call, p->name, p->id ? " " : "", p->id ? p->id : ""); break;
    case QN_PART_ARGUMENTS:
        if (!same)
            qn__buf_printf(&s->b, "A%d[", p->call);
        break;
    case QN_PART_CALL_END: qn__buf_printf(&s->b, "E%d", p->call); break;
    }
    if (p->kind != QN_PART_CALL_END)
        qn__buf_put(&s->b, p->text ? p->text : "", p->n), qn__buf_putc(&s->b, ']');
    s->last = kind;
}

/* Parse in pieces that end at cut, then at every `step` bytes. */
static char *parse(const qn_calls *c, const qn_dialect *d, const char *prompt, const char *text, size_t n, size_t cut, size_t step)
{
    qn_thinking thinking[QN_MAX_THINKING];
    static const char source[] = "[THINK] <|START_THINKING|>";
    size_t n_thinking = qn__thinking_of(source, sizeof source - 1, thinking);
    qn_parse *p = NULL;
    said s = {.last = -1};
    qn_err err;
    assert_int_equal(qn__parse_open(c, d, thinking, n_thinking, prompt, strlen(prompt), &p, &err), QN_OK);
    qn__buf_puts(&s.b, "");
    for (size_t i = 0; i < n;) {
        size_t k = i < cut ? cut - i : step;
        k = k < n - i ? k : n - i;
        char *piece = qn__strndup(text + i, k); /* so that a read beyond it is seen */
        assert_int_equal(qn__parse_put(p, piece, k, part, &s, &err), QN_OK);
        qn_free(piece);
        i += k;
    }
    assert_int_equal(qn__parse_end(p, part, &s, &err), QN_OK);
    qn__parse_close(p);
    return qn__buf_take(&s.b, NULL);
}

static qn_calls *open_calls(const char *dialect)
{
    qn_calls *c = NULL;
    qn_err err;
    assert_int_equal(qn__calls_open(tools_json, &c, &err), QN_OK);
    assert_int_equal(qn__calls_detect(c, &(qn_probe){0}, dialect, &err), QN_OK);
    return c;
}

static void check_n(const char *dialect, const char *prompt, const char *text, size_t n, const char *want)
{
    qn_calls *c = dialect ? open_calls(dialect) : NULL;
    for (size_t cut = 0; cut <= n + 1; cut++) {
        char *got = cut > n ? parse(c, c ? c->dialect : NULL, prompt, text, n, n, n)
                            : parse(c, c ? c->dialect : NULL, prompt, text, n, cut, cut ? n : 1);
        if (strcmp(got, want) != 0)
            fail_msg("%s, cut at %zu:\n  %s\nwanted\n  %s\ngot\n  %s", dialect, cut, text, want, got);
        qn_free(got);
    }
    qn__calls_close(c);
}

static void check(const char *dialect, const char *text, const char *want)
{
    check_n(dialect, "", text, strlen(text), want);
}

static void each_dialect(void **state)
{
    (void)state;
    const char *two = "C0[run]A0[{\"cmd\": \"ls\"}]E0C1[now]A1[{}]E1";
    check("hermes", "<tool_call>\n{\"name\": \"run\", \"arguments\": {\"cmd\": \"ls\"}}\n</tool_call>\n<tool_call>\n{\"name\": \"now\", "
                    "\"arguments\": {}}\n</tool_call>", two);
    check("qwen3-coder", "Hi.\n<tool_call>\n<function=run>\n<parameter=cmd>\nls\n</parameter>\n</function>\n</tool_call>\n"
                         "<tool_call>\n<function=now>\n</function>\n</tool_call>",
          "T[Hi.]C0[run]A0[{\"cmd\": \"ls\"}]E0C1[now]A1[{}]E1");
    check("seed", "<seed:tool_call>\n<function=run>\n<parameter=cmd>ls</parameter>\n</function>\n</seed:tool_call>",
          "C0[run]A0[{\"cmd\": \"ls\"}]E0");
    check("llama3", "{\"name\": \"run\", \"parameters\": {\"cmd\": \"ls\"}}", "C0[run]A0[{\"cmd\": \"ls\"}]E0");
    check("llama3", "<|python_tag|>{\"name\": \"run\", \"parameters\": {\"cmd\": \"ls\"}}", "C0[run]A0[{\"cmd\": \"ls\"}]E0");
    check("llama3", "{\"name\": \"else\", \"parameters\": {}}", "T[{\"name\": \"else\", \"parameters\": {}}]");
    check("llama3", "{\"a\": 1}", "T[{\"a\": 1}]");
    check("mistral", "[TOOL_CALLS]run[CALL_ID]abcdefgh1[ARGS]{\"cmd\": \"ls\"}[TOOL_CALLS]now[ARGS]{}",
          "C0[run abcdefgh1]A0[{\"cmd\": \"ls\"}]E0C1[now]A1[{}]E1");
    check("mistral-array", "[TOOL_CALLS][{\"name\": \"run\", \"arguments\": {\"cmd\": \"ls\"}, \"id\": \"abcdefgh1\"}, {\"name\": \"now\", "
                           "\"arguments\": {}}]", two);
    check("deepseek-v3.1", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>run<｜tool▁sep｜>{\"cmd\": \"ls\"}<｜tool▁call▁end｜>"
                           "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>", two);
    check("deepseek-r1", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>run\n```json\n{\"cmd\": \"ls\"}\n```"
                         "<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜>"
                         "<｜tool▁calls▁end｜>", two);
    check("deepseek-v3.2", "Look.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"run\">\n<｜DSML｜parameter name=\"cmd\" string=\"true\">"
                           "ls</｜DSML｜parameter>\n<｜DSML｜parameter name=\"n\" string=\"false\">7</｜DSML｜parameter>\n</｜DSML｜invoke>\n"
                           "<｜DSML｜invoke name=\"now\">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
          "T[Look.]C0[run]A0[{\"cmd\": \"ls\", \"n\": 7}]E0C1[now]A1[{}]E1");
    check("cohere", "<|START_THINKING|>I plan.<|END_THINKING|><|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"run\", "
                    "\"parameters\": {\"cmd\": \"ls\"}},\n    {\"tool_call_id\": \"1\", \"tool_name\": \"now\", \"parameters\": {}}\n]"
                    "<|END_ACTION|>", "R[I plan.]C0[run]A0[{\"cmd\": \"ls\"}]E0C1[now]A1[{}]E1");
    check("cohere", "<|START_RESPONSE|>It is 7.<|END_RESPONSE|>", "T[It is 7.]");
    check("command-r", "Plan.\nAction:\n```json\n[\n    {\n        \"tool_name\": \"run\",\n        \"parameters\": {\n"
                       "            \"cmd\": \"ls\"\n        }\n    }\n]```",
          "T[Plan.]C0[run]A0[{\n            \"cmd\": \"ls\"\n        }]E0");
    check("harmony", "<|channel|>analysis<|message|>Think.<|end|><|start|>assistant to=functions.run<|channel|>commentary json<|message|>"
                     "{\"cmd\": \"ls\"}<|call|>", "R[Think.]C0[run]A0[{\"cmd\": \"ls\"}]E0");
    check("harmony", "<|channel|>commentary to=functions.run <|constrain|>json<|message|>{\"cmd\": \"ls\"}",
          "C0[run]A0[{\"cmd\": \"ls\"}]E0");
    check("harmony", "<|channel|>commentary<|message|>I will.<|end|><|start|>assistant<|channel|>final<|message|>Done <b>.",
          "T[I will.Done <b>.]");
    check("glm", "<tool_call>run\n<arg_key>cmd</arg_key>\n<arg_value>ls</arg_value>\n<arg_key>n</arg_key>\n<arg_value>7</arg_value>\n"
                 "</tool_call>\n<tool_call>now\n</tool_call>", "C0[run]A0[{\"cmd\": \"ls\", \"n\": 7}]E0C1[now]A1[{}]E1");
    check("glm", "<tool_call>run<arg_key>cmd</arg_key><arg_value>ls</arg_value></tool_call>", "C0[run]A0[{\"cmd\": \"ls\"}]E0");
    check("granite", "<|tool_call|>[{\"name\": \"run\", \"arguments\": {\"cmd\": \"ls\"}}, {\"name\": \"now\", \"arguments\": {}}]", two);
    check("functionary-v3.1", "<function=run>{\"cmd\": \"ls\"}</function><function=now>{}</function>", two);
    check("functionary-v3.2", "run\n{\"cmd\": \"ls\"}>>>now\n{}", two);
    check("functionary-v3.2", "all\nIn Python:\n>>> 1\n>>>run\n{\"cmd\": \"ls\"}",
          "T[In Python:\n>>> 1\n]C0[run]A0[{\"cmd\": \"ls\"}]E0");
    check("kimi-k2", "<|tool_calls_section_begin|><|tool_call_begin|>functions.run:0<|tool_call_argument_begin|>{\"cmd\": \"ls\"}"
                     "<|tool_call_end|><|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}<|tool_call_end|>"
                     "<|tool_calls_section_end|>",
          "C0[run functions.run:0]A0[{\"cmd\": \"ls\"}]E0C1[now functions.now:1]A1[{}]E1");
    check("minimax-m2", "<minimax:tool_call>\n<invoke name=\"run\">\n<parameter name=\"cmd\">ls</parameter>\n</invoke>\n<invoke "
                        "name=\"now\">\n</invoke>\n</minimax:tool_call>", two);
    check("phi4", "<|tool_call|>[{\"name\": \"run\", \"arguments\": {\"cmd\": \"ls\"}}]<|/tool_call|>", "C0[run]A0[{\"cmd\": \"ls\"}]E0");
    check("apertus", "<|tools_prefix|>[{\"run\": {\"cmd\": \"ls\"}}, {\"now\": {}}]<|tools_suffix|>", two);
    check("apriel", "<tool_calls>[{\"name\": \"run\", \"arguments\": {\"cmd\": \"ls\"}, \"id\": \"x1\"}]</tool_calls>",
          "C0[run]A0[{\"cmd\": \"ls\"}]E0");
    check("gigachat", "<|function_call|>{\"name\": \"run\", \"arguments\": {\"cmd\": \"ls\"}}", "C0[run]A0[{\"cmd\": \"ls\"}]E0");
    check("firefunction", " functools[{\"name\": \"run\", \"arguments\": {\"cmd\": \"ls\"}}]", "C0[run]A0[{\"cmd\": \"ls\"}]E0");
    check("gemma4", "<|tool_call>call:run{cmd:<|\"|>a, {b} \"c\" <|x<|\"|>,l:[1,<|\"|>x<|\"|>,{},[]],n:-7,o:None,ok:true}<tool_call|>"
                    "<|tool_call>call:now{}<tool_call|>",
          "C0[run]A0[{\"cmd\": \"a, {b} \\\"c\\\" <|x\", \"l\": [1, \"x\", {}, []], \"n\": -7, \"o\": null, \"ok\": true}]E0"
          "C1[now]A1[{}]E1");
    check("gemma4", "<|tool_call>call:run{cmd:<|\"|>a", "C0[run]A0[{\"cmd\": \"a]");
    check("gemma4", "<|tool_call>call:run{cmd}", "C0[run]A0[{]T[cmd}]");
    check("json", "{\"name\": \"run\", \"arguments\": {\"cmd\": \"ls\"}}", "C0[run]A0[{\"cmd\": \"ls\"}]E0");
}

static void reasoning(void **state)
{
    (void)state;
    const char *call = "<tool_call>\n{\"name\": \"run\", \"arguments\": {\"cmd\": \"ls\"}}\n</tool_call>";
    char text[1000];
    check(NULL, "<think>\nHm.\n\nSo.\n</think>\n\nYes.", "R[Hm.\n\nSo.]T[Yes.]");
    check_n(NULL, "<|im_start|>assistant\n<think>\n", "Hm.\n</think>\n\n  Yes <think>.", 28, "R[Hm.]T[  Yes <think>.]");
    check(NULL, "<think>\n\n</think>\n\nYes.", "T[Yes.]");
    check(NULL, "<think>It goes on </th", "R[It goes on </th]");
    check(NULL, "One <b>. The tag is `<think>`.\n</think>\n", "T[One <b>. The tag is `<think>`.\n</think>\n]");
    check(NULL, "[THINK]Hm.[/THINK]Yes.", "R[Hm.]T[Yes.]");
    (void)snprintf(text, sizeof text, "<think>A call: %s?</think>\nI call.\n%s\n<think>\nMore.\n</think>\n%s\nEnd.", call, call, call);
    check("hermes", text,
          "R[A call: <tool_call>\n{\"name\": \"run\", \"arguments\": {\"cmd\": \"ls\"}}\n</tool_call>?]T[I call.]"
          "C0[run]A0[{\"cmd\": \"ls\"}]E0R[More.]C1[run]A1[{\"cmd\": \"ls\"}]E1T[End.]");
    check_n("kimi-k2", "<think>", "Hm.<|tool_calls_section_begin|><|tool_call_begin|>functions.now:0<|tool_call_argument_begin|>{}"
                                  "<|tool_call_end|><|tool_calls_section_end|>", strlen("Hm.<|tool_calls_section_begin|><|tool_call_begin|>functions.now:0<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>"), "R[Hm.]C0[now functions.now:0]A0[{}]E0");
}

static void hostile_arguments(void **state)
{
    (void)state;
    check("hermes", "<tool_call>\n{\"name\": \"run\", \"arguments\": {\"cmd\": \"</tool_call>\\\" } { <tool_call>\\n \xf0\x9f\x99\x82 "
                    "\\ud83d\\ude42 \\\\\"}}\n</tool_call>",
          "C0[run]A0[{\"cmd\": \"</tool_call>\\\" } { <tool_call>\\n \xf0\x9f\x99\x82 \\ud83d\\ude42 \\\\\"}]E0");
    check("hermes", "<tool_call>{\"arguments\": {\"cmd\": \"ls\"}, \"name\": \"run\"}</tool_call>", "C0[run]A0[{\"cmd\": \"ls\"}]E0");
    check("hermes", "<tool_call>{\"name\": \"run\", \"arguments\": \"{\\\"cmd\\\": \\\"ls\\\"}\"}</tool_call>",
          "C0[run]A0[{\"cmd\": \"ls\"}]E0");
    check("hermes", "<tool_call>{\"name\": \"run\", \"arguments\": {\"cmd\":\n\"a\nb\"}}</tool_call>",
          "C0[run]A0[{\"cmd\":\n\"a\\nb\"}]E0");
    check("hermes", "<tool_call>{\"name\": \"now\"}</tool_call>", "C0[now]A0[{}]E0");
    check("qwen3-coder",
          "<tool_call>\n<function=run>\n<parameter=cmd>\nif (a < b) {\n\t\"x\\\";\n}\n</parameter>\n</function> <parameter=cmd>\n"
          "<parameter=z>\n</parameter>\n<parameter=z>\n\n</parameter>\n<parameter=n>\n7\n</parameter>\n<parameter=ok>\nTrue\n</parameter>\n"
          "<parameter=l>\n[1, \"a\"]\n</parameter>\n<parameter=o>\nNone\n</parameter>\n</function>\n</tool_call>",
          "C0[run]A0[{\"cmd\": \"if (a < b) {\\n\\t\\\"x\\\\\\\";\\n}\\n</parameter>\\n</function> <parameter=cmd>\\n<parameter=z>\\n"
          "</parameter>\\n<parameter=z>\\n\", \"n\": 7, \"ok\": true, \"l\": [1, \"a\"], \"o\": null}]E0");
    check("qwen3-coder", "<function=run>\n<parameter=n>\n123456789012345678901234567890\n</parameter>\n<parameter=l>\n[\n \"a\n\"\n]\n"
                         "</parameter>\n</function>", "C0[run]A0[{\"n\": 123456789012345678901234567890, \"l\": [\n \"a\\n\"\n]}]E0");
    check("deepseek-v3.2", "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"run\">\n<｜DSML｜parameter name=\"cmd\" string=\"false\">\"x\"</｜DSML｜"
                           "parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>", "C0[run]A0[{\"cmd\": \"x\"}]E0");
    check("qwen3-coder", "<function=run>\n<parameter=cmd>\n123\n</parameter>\n<parameter=n>\nseven\n</parameter>\n</function>",
          "C0[run]A0[{\"cmd\": \"123\", \"n\": \"seven\"}]E0");
}

static void cut_off_and_malformed(void **state)
{
    (void)state;
    check("hermes", "<tool_call>\n{\"name\": \"run\", \"arguments\": {\"cmd\": \"l", "C0[run]A0[{\"cmd\": \"l]");
    check("hermes", "<tool_call>\n{\"name\": \"run\", \"arguments\": {\"cmd\": \"l\"}", "C0[run]A0[{\"cmd\": \"l\"}]");
    check("hermes", "<tool_call>\n{\"name\": \"run\", \"arguments\": {\"cmd\": \"l\"}}\n</tool", "C0[run]A0[{\"cmd\": \"l\"}]E0");
    check("hermes", "Ah <tool_call>\n{\"name\": \"ru", "T[Ah <tool_call>\n{\"name\": \"ru]");
    check("hermes", "Ah <tool_call> is a tag. <tool_", "T[Ah <tool_call> is a tag. <tool_]");
    check("hermes", "<tool_call>\n{\"name\": 7}\n</tool_call>", "T[<tool_call>\n{\"name\": 7}\n</tool_call>]");
    check("hermes", "<tool_call>\n{\"name\": \"run\", \"arguments\": {cmd: 1}}", "C0[run]A0[{]T[cmd: 1}}]");
    check("hermes", "<tool_call>\n{\"name\": \"run\", \"arguments\": [1]}\n</tool_call>",
          "T[<tool_call>\n{\"name\": \"run\", \"arguments\": [1]}\n</tool_call>]");
    check("qwen3-coder", "<tool_call>\n<function=run>\n<parameter=cmd>\nls\n</param", "C0[run]A0[{\"cmd\": \"ls\\n</param]");
    check("qwen3-coder", "<tool_call>\n<function=run>\n<parameter=cmd>\nls\n</parameter>\n", "C0[run]A0[{\"cmd\": \"ls\"]");
    check("mistral", "[TOOL_CALLS]run[ARGS]{\"cmd\": \"ls\"} and more", "C0[run]A0[{\"cmd\": \"ls\"}]E0T[and more]");
    check("harmony", "<|channel|>commentary to=functions.run<|message|>{\"cmd\": \"l", "C0[run]A0[{\"cmd\": \"l]");
    char longest[600] = "<tool_call>", as_text[700]; /* a name of 512 bytes would end inside a character */
    for (int i = 0; i < 180; i++)
        memcpy(longest + 11 + 3 * i, "\xe2\x82\xac", 4);
    (void)snprintf(as_text, sizeof as_text, "T[%s\n</tool_call>]", longest);
    (void)strcat(longest, "\n</tool_call>");
    check_n("glm", "", longest, strlen(longest), as_text);
    check("harmony", "<|channel|>commentary to=functions.run<|message|>[1]<|call|>", "C0[run]T[[1]<|call|>]");
    check("functionary-v3.2", "run\n \"cmd\" x", "C0[run]A0[ ]T[\"cmd\" x]");
    check_n("hermes", "", "a\xff\xf0\x9f\x99\x82\xf0\x9f", 8, "T[a\xef\xbf\xbd\xf0\x9f\x99\x82\xef\xbf\xbd\xef\xbf\xbd]");
    /* No tools: nothing is a call. */
    check(NULL, "<tool_call>\n{\"name\": \"run\", \"arguments\": {}}\n</tool_call>",
          "T[<tool_call>\n{\"name\": \"run\", \"arguments\": {}}\n</tool_call>]");
}

static void planted_fault(void **state)
{
    (void)state;
    qn_calls *c = open_calls("hermes");
    const char *text = "<tool_call>\n{\"name\": \"run\", \"arguments\": {\"cmd\": \"ls\"}}\n</tool_call>";
    char *got = parse(c, c->dialect, "", text, strlen(text), 0, 1);
    assert_string_not_equal(got, "C0[run]A0[{\"cmd\": \"lS\"}]E0");
    qn_free(got);
    qn__calls_close(c);
}

static void refusals(void **state)
{
    (void)state;
    qn_calls *c = NULL;
    qn_err err;
    assert_int_equal(qn__calls_open("[1]", &c, &err), QN_EFORMAT);
    assert_string_equal(err.where, "tools[0]");
    assert_int_equal(qn__calls_open("{}", &c, &err), QN_EFORMAT);
    assert_int_equal(qn__calls_open("[", &c, &err), QN_EFORMAT);
    assert_int_equal(qn__calls_open("[{\"name\":\"a b\"}]", &c, &err), QN_EFORMAT);
    assert_int_equal(qn__calls_open("[{\"name\":\"a\"},{\"name\":\"a\"}]", &c, &err), QN_EFORMAT);
    assert_int_equal(qn__calls_open("[{\"name\":\"a\",\"parameters\":3}]", &c, &err), QN_EFORMAT);
    assert_int_equal(qn__calls_open("[]", &c, &err), QN_OK);
    assert_int_equal(qn__calls_detect(c, &(qn_probe){0}, "klingon", &err), QN_EUNSUPPORTED);
    assert_non_null(strstr(err.what, "hermes"));
    qn__calls_close(c);
}

static const char small_template[] =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}{% for c in m.tool_calls or [] %}{{ '\n' if m.content or not "
    "loop.first }}<tool_call> {{ c.function.name }} <arg_key>{% endfor %}<|im_end|>\n{% endfor %}";

/* Our own spellings, as a template would write them: dialect and spelling come from what is rendered. */
static void probing(void **state)
{
    (void)state;
    static const struct {
        const char *text, *dialect, *first, *mid, *between, *last, *lead;
    } t[] = {
        {"{% for m in messages %}[{{ m.role }}]{{ m.content or '' }}{% for c in m.tool_calls or [] %}{{ '\n\n' }}<tool_call>{\"name\":\"{{ "
         "c.function.name }}\",\"arguments\":{{ c.function.arguments|tojson }}}</tool_call>{% endfor %}[/]{% endfor %}",
         "hermes", "<tool_call>{\"name\":\"", "\",\"arguments\":", "}</tool_call>\n\n<tool_call>{\"name\":\"", "}</tool_call>", "\n\n"},
        {"{% for m in messages %}[{{ m.role }}]{{ m.content or '' }}{% for c in m.tool_calls or [] %}[TOOL_CALLS]{{ c.function.name }}[CALL_ID]{{ "
         "c.id }}[ARGS]{{ c.function.arguments|tojson }}{% endfor %}</s>{% endfor %}",
         "mistral", "[TOOL_CALLS]", "[CALL_ID]\x01[ARGS]", "[TOOL_CALLS]", "", ""},
        {"{% for m in messages %}[{{ m.role }}]{{ m.content or '' }}{% for c in m.tool_calls or [] %} <tool_call>{{ c.function.name }}{% for k, v "
         "in c.function.arguments.items() %}<arg_key>{{ k }}</arg_key> <arg_value>{{ v }}</arg_value>{% endfor %}</tool_call>{% endfor %}\n{% "
         "endfor %}",
         "glm", "<tool_call>", "", "</tool_call> <tool_call>", "</tool_call>", " "},
        {small_template, "json", "{\"name\": \"", "\", \"arguments\": ", NULL, "}", ""},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        qn_calls *c = NULL;
        qn_jinja *j = NULL;
        qn_err err;
        assert_int_equal(qn__jinja_parse(t[i].text, strlen(t[i].text), NULL, &j, &err), QN_OK);
        assert_int_equal(qn__calls_open(tools_json, &c, &err), QN_OK);
        assert_int_equal(qn__calls_detect(c, &(qn_probe){.template = j}, NULL, &err), QN_OK);
        assert_string_equal(c->dialect->name, t[i].dialect);
        assert_string_equal(c->written.first, t[i].first);
        assert_string_equal(c->written.mid, t[i].mid);
        assert_string_equal(c->written.last, t[i].last);
        assert_string_equal(c->written.lead, t[i].lead);
        if (t[i].between)
            assert_string_equal(c->written.between, t[i].between);
        else
            assert_null(c->written.between);
        if (i == 2) { /* str() of Python: True */
            assert_string_equal(c->written.yes, "True");
            assert_string_equal(c->written.null, "None");
        }
        qn__calls_close(c);
        qn__jinja_free(j);
    }
}

static void ignore(void *arg, const qn_part *p)
{
    (void)arg;
    (void)p;
}

static void failing_allocations(void **state)
{
    (void)state;
    static const char *const template =
        "{% for m in messages %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}<tool_call>\n{\"name\": \"{{ c.function.name }}\", "
        "\"arguments\": {{ c.function.arguments|tojson }}}\n</tool_call>{% endfor %}{% endfor %}";
    static const char *const texts[][2] = {
        {"hermes", "<think>a</think>\nb\n<tool_call>\n{\"arguments\": {\"cmd\": \"l\ns\"}, \"name\": \"run\"}\n</tool_call>"},
        {"qwen3-coder", "<tool_call>\n<function=run>\n<parameter=cmd>\nls\n</parameter>\n<parameter=n>\n1\n</parameter>\n</function>\n"
                        "</tool_call>"}};
    bool done = false;
    for (uint64_t k = 1; !done && k < 3000; k++) {
        qn_calls *c = NULL;
        qn_jinja *j = NULL;
        qn_parse *p = NULL;
        qn_err err = {0};
        const char *const *w = texts[k % 2];
        assert_int_equal(qn__jinja_parse(template, strlen(template), NULL, &j, &err), QN_OK);
        qn__alloc_fail_at(k / 2 + 1);
        qn_status st = qn__calls_open(tools_json, &c, &err);
        if (!st)
            st = qn__calls_detect(c, &(qn_probe){.template = j}, w[0], &err);
        if (!st)
            st = qn__parse_open(c, c->dialect, (qn_thinking[]){{"<think>", "</think>", false}}, 1, "", 0, &p, &err);
        for (size_t i = 0; !st && w[1][i]; i++)
            st = qn__parse_put(p, w[1] + i, 1, ignore, NULL, &err);
        if (!st)
            st = qn__parse_end(p, ignore, NULL, &err);
        done = !st && k > 500;
        if (st && st != QN_ENOMEM)
            fail_msg("allocation %d: %s", (int)k, err.what);
        qn__alloc_fail_at(0);
        qn__parse_close(p);
        qn__calls_close(c);
        qn__jinja_free(j);
    }
    assert_true(done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_dialect),         cmocka_unit_test(reasoning),     cmocka_unit_test(hostile_arguments),
        cmocka_unit_test(cut_off_and_malformed), cmocka_unit_test(planted_fault), cmocka_unit_test(refusals),
        cmocka_unit_test(probing),              cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
