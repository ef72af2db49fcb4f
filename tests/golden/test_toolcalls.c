/* test_toolcalls.c - round trips through every published template of ../shared/golden/templates that writes calls of tools.
 *
 * An assistant's turn (text, reasoning, calls with harmless and with hostile arguments) is rendered; what the template wrote for it is
 * taken for the model's output and parsed, whole, byte by byte and cut in two at every byte; the message made of the parts, rendered
 * again, has to give the same bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/file.h"
#include "text/toolcall/parse.h"

static char dir[512];

static bool present(void)
{
    const char *shared = getenv("SHARED");
    char path[600];
    (void)snprintf(dir, sizeof dir, "%s/golden/templates", shared && *shared ? shared : "../shared");
    (void)snprintf(path, sizeof path, "%s/renderings.jsonl", dir);
    FILE *f = fopen(path, "rb");
    if (f)
        (void)fclose(f);
    return f != NULL;
}

typedef struct tmpl {
    char name[128];
    char *source;
    size_t n;
    qn_jinja *t;
    qn_calls *calls;
    qn_thinking thinking[QN_MAX_THINKING];
    size_t n_thinking;
} tmpl;

static const char tools_json[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"run\",\"description\":\"Run.\",\"parameters\":{\"type\":\"object\",\"properties\":{"
    "\"cmd\":{\"type\":\"string\",\"description\":\"c\"},\"n\":{\"type\":\"integer\",\"description\":\"n\"},"
    "\"ok\":{\"type\":\"boolean\",\"description\":\"o\"},\"x\":{\"type\":\"number\",\"description\":\"x\"},"
    "\"list\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"description\":\"l\"},"
    "\"map\":{\"type\":\"object\",\"description\":\"m\"}},\"required\":[\"cmd\"]}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"now\",\"description\":\"Now.\",\"parameters\":{\"type\":\"object\",\"properties\":{},"
    "\"required\":[]}}}]";

/* One assistant's turn: content, reasoning (NULL: none), its calls' names and arguments. */
typedef struct turn {
    const char *label, *content, *reasoning;
    const char *name[2], *args[2];
} turn;

static const turn turns[] = {
    {"one", "", NULL, {"run"}, {"{\"cmd\": \"ls -l\"}"}},
    {"two", "", NULL, {"run", "run"}, {"{\"cmd\": \"ls\"}", "{\"cmd\": \"pwd\", \"n\": 3}"}},
    {"text", "I look.", NULL, {"run"}, {"{\"cmd\": \"ls\", \"ok\": true}"}},
    {"reasoning", "", "First ls.\n\nThen pwd.", {"run"}, {"{\"cmd\": \"ls\"}"}},
    {"all", "I look.", "First ls.", {"run", "run"}, {"{\"cmd\": \"ls\"}", "{\"cmd\": \"cd\"}"}},
    {"types", "", NULL, {"run"},
     {"{\"cmd\": \"ls\", \"n\": -12, \"ok\": false, \"x\": 2.5, \"list\": [1, 20], \"map\": {\"a\": {\"b\": [\"c\", null, true]}}}"}},
    {"nothing", "", NULL, {"now"}, {"{}"}},
    {"code", "", NULL, {"run"}, {"{\"cmd\": \"if (a < b) {\\n\\tputs(\\\"\\\\n\\\");\\n}\", \"n\": 1}"}},
    {"unicode", "", NULL, {"run"}, {"{\"cmd\": \"Gr\u00fc\u00dfe \u65e5\u672c\u8a9e \xf0\x9f\x99\x82 \u2014 '\\\"}]\"}"}},
    {"closers", "", NULL, {"run"},
     {"{\"cmd\": \"</tool_call></function></parameter></arg_value></seed:tool_call>[ARGS][/TOOL_CALLS]}}]}```<|END_ACTION|>"
      "</tool_calls><tool_call>{\\\"name\\\": \\\"run\\\"\", \"n\": 2}"}},
    {"two tags", "", NULL, {"run", "now"}, {"{\"cmd\": \"a\\n</parameter>\\nb\\n</parameter>\\n<parameter=zz>\\nc\"}", "{}"}},
};

static char *message(const turn *t, const char *id1, const char *id2, bool null)
{
    const char *ids[2] = {id1, id2};
    json_t *m = json_object(), *calls = json_array();
    (void)json_object_set_new(m, "role", json_string("assistant"));
    (void)json_object_set_new(m, "content", null && !*t->content ? json_null() : json_string(t->content));
    if (t->reasoning) {
        (void)json_object_set_new(m, "reasoning_content", json_string(t->reasoning));
        (void)json_object_set_new(m, "thinking", json_string(t->reasoning));
    }
    for (int i = 0; i < 2 && t->name[i]; i++)
        (void)json_array_append_new(calls, json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", ids[i], "type", "function", "function", "name",
                                                     t->name[i], "arguments", t->args[i]));
    if (json_array_size(calls))
        (void)json_object_set(m, "tool_calls", calls);
    json_decref(calls);
    char *s = json_dumps(m, 0);
    json_decref(m);
    return s;
}

/* NULL: the template refuses. */
static char *render(const tmpl *t, const char *assistant, bool prompt)
{
    size_t n = strlen(assistant) + 200;
    char *messages = malloc(n), *text = NULL;
    qn_err err;
    (void)snprintf(messages, n, "[{\"role\":\"user\",\"content\":\"Which files?\"}%s%s]", *assistant ? "," : "", assistant);
    qn_chat_input in = {.messages_json = messages, .tools_json = tools_json, .bos = "<BOS>", .eos = "<EOS>", .unk = "<UNK>",
                        .pad = "<PAD>", .add_generation_prompt = prompt};
    assert_int_equal(qn__chat_date("2026-01-02", &in.now, &err), QN_OK);
    if (qn__chat_render(t->t, &in, &text, &n, &err))
        text = NULL;
    free(messages);
    return text;
}

/* ---- what the parts say ---- */

typedef struct reply {
    qn_buf text, reasoning, name[4], args[4], id[4];
    int calls, ends;
} reply;

static void part(void *arg, const qn_part *p)
{
    reply *r = arg;
    if (p->call >= 4)
        return;
    switch (p->kind) {
    case QN_PART_TEXT: qn__buf_put(&r->text, p->text, p->n); break;
    case QN_PART_REASONING: qn__buf_put(&r->reasoning, p->text, p->n); break;
    case QN_PART_CALL:
        r->calls++;
        qn__buf_puts(&r->name[p->call], p->name);
        break;
    case QN_PART_ARGUMENTS: qn__buf_put(&r->args[p->call], p->text, p->n); break;
    case QN_PART_CALL_END:
        r->ends++;
        if (p->id)
            qn__buf_puts(&r->id[p->call], p->id);
        break;
    }
}

static void reply_free(reply *r)
{
    qn__buf_free(&r->text);
    qn__buf_free(&r->reasoning);
    for (int i = 0; i < 4; i++) {
        qn__buf_free(&r->name[i]);
        qn__buf_free(&r->args[i]);
        qn__buf_free(&r->id[i]);
    }
    memset(r, 0, sizeof *r);
}

static const char *str(const qn_buf *b)
{
    return b->data ? b->data : "";
}

static void parse(const tmpl *t, const char *prompt, size_t n_prompt, const char *out, size_t n, size_t cut, size_t step, reply *r)
{
    qn_parse *p = NULL;
    qn_err err;
    assert_int_equal(
        qn__parse_open(t->calls, t->calls->dialect, t->thinking, t->n_thinking, prompt, n_prompt, &p, &err), QN_OK);
    for (size_t i = 0, k; i < n; i += k) {
        k = i < cut ? cut - i : step;
        k = k < n - i ? k : n - i;
        assert_int_equal(qn__parse_put(p, out + i, k, part, r, &err), QN_OK);
    }
    assert_int_equal(qn__parse_end(p, part, r, &err), QN_OK);
    qn__parse_close(p);
}

static bool same(const reply *a, const reply *b)
{
    bool ok = a->calls == b->calls && a->ends == b->ends && strcmp(str(&a->text), str(&b->text)) == 0 &&
              strcmp(str(&a->reasoning), str(&b->reasoning)) == 0;
    for (int i = 0; i < 4 && ok; i++)
        ok = strcmp(str(&a->name[i]), str(&b->name[i])) == 0 && strcmp(str(&a->args[i]), str(&b->args[i])) == 0;
    return ok;
}

/* The turn's end, which a model's output does not contain. */
static size_t without_end(const char *s, size_t n)
{
    static const char *const ends[] = {"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<EOS>", "<|end|>", "<|call|>", "<turn|>",
                                       "<|END_OF_TURN_TOKEN|>", "<seed:eos>", "<｜end▁of▁sentence｜>", "<|message_sep|>", "<|user|>",
                                       "<|assistant_end|>", "<|observation|>", "<sep>", "\n<|end|>\n"};
    for (bool again = true; again;) {
        again = false;
        size_t k = n;
        while (k && (s[k - 1] == '\n' || s[k - 1] == ' '))
            k--;
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
            size_t m = strlen(ends[i]);
            if (k >= m && memcmp(s + k - m, ends[i], m) == 0) {
                n = k - m;
                again = true;
                break;
            }
        }
    }
    return n;
}

/* 1: round trip; 0: not; -1: the template has no such turn (it refuses, or leaves calls out). */
static int trip(const tmpl *t, const turn *w, bool plant)
{
    int ok = -1;
    bool null = true; /* how a client says that there is no text; some templates want "" */
    char *m = message(w, "callid001", "callid002", null), *full = render(t, m, false), *prompt = render(t, "", true), *again = NULL;
    reply r = {0}, s = {0};
    if (!full) {
        free(m);
        m = message(w, "callid001", "callid002", null = false);
        full = render(t, m, false);
    }
    if (!full || !prompt || !strstr(full, w->name[0]))
        goto out;
    /* Text that a template puts behind the calls, in a turn of its own. */
    const char *spoken = *w->content ? strstr(full, w->content) : NULL;
    if (spoken && strstr(full, "ls") && strstr(full, "ls") < spoken && !strstr(spoken, "\"ls") && !strstr(spoken, "ls\""))
        goto out;
    size_t at = 0, n = strlen(full);
    while (prompt[at] && prompt[at] == full[at])
        at++;
    if (prompt[at]) /* the template writes history differently from what it prompts with: from the turn's beginning */
        while (at && (full[at - 1] != '>' && full[at - 1] != '\n'))
            at--;
    if (!strstr(full + at, w->name[0]) || !strstr(full + at, w->name[0][0] == 'n' ? "now" : "cmd"))
        goto out;
    n = without_end(full, n);
    const char *o = full + at;
    size_t n_out = n > at ? n - at : 0, n_prompt = at;
    const char *before = full;
    for (size_t i = 0; i < t->n_thinking; i++) /* reasoning that was opened by the prompt */
        if (strncmp(o, t->thinking[i].close, strlen(t->thinking[i].close)) == 0) {
            before = t->thinking[i].open;
            n_prompt = strlen(before);
        }
    parse(t, before, n_prompt, o, n_out, n_out, n_out, &r);
    ok = 1;
    for (size_t cut = 0; cut <= n_out && ok; cut++) {
        parse(t, before, n_prompt, o, n_out, cut, cut ? n_out : 1, &s);
        if (!same(&r, &s))
            ok = 0, printf("%s, %s: cut at %zu it says something else\n", t->name, w->label, cut);
        reply_free(&s);
    }
    turn back = {.content = str(&r.text), .reasoning = r.reasoning.n ? str(&r.reasoning) : NULL};
    for (int i = 0; i < r.calls && i < 2; i++) {
        back.name[i] = str(&r.name[i]);
        back.args[i] = r.args[i].n ? str(&r.args[i]) : "{}";
    }
    if (plant && r.args[0].n > 10)
        r.args[0].data[9] ^= 1;
    char *m2 = message(&back, "callid001", "callid002", null);
    again = render(t, m2, false);
    if (!again) {
        free(m2);
        m2 = message(&back, "callid001", "callid002", !null);
        again = render(t, m2, false);
    }
    /* Templates leave out old reasoning, ids and calls beyond the first: compare with what they wrote. */
    bool second = w->name[1] && strstr(full, "pwd") && !strcmp(w->label, "two");
    if (!again || strcmp(again, full) != 0 || r.calls != r.ends || r.calls < 1 + second) {
        if (!plant)
            printf("%s (%s), %s: from\n  %.*s\ncame\n  R[%s]T[%s]C[%s]A[%s] %d calls %d ends\nand\n  %s\n", t->name,
                   t->calls->dialect->name, w->label, (int)n_out, o, str(&r.reasoning), str(&r.text), str(&r.name[0]), str(&r.args[0]),
                   r.calls, r.ends, again ? again + (strlen(again) > at ? at : 0) : "(refused)");
        ok = 0;
    }
    free(m2);
out:
    free(m);
    qn_free(full);
    qn_free(prompt);
    qn_free(again);
    reply_free(&r);
    return ok;
}

static bool load(const char *name, tmpl *t)
{
    char path[800];
    qn_err err = {0};
    memset(t, 0, sizeof *t);
    (void)snprintf(t->name, sizeof t->name, "%s", name);
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(qn__read_file(path, (size_t)1 << 24, &t->source, &t->n, &err), QN_OK);
    if (qn__jinja_parse(t->source, t->n, NULL, &t->t, &err))
        return false;
    assert_int_equal(qn__calls_open(tools_json, &t->calls, &err), QN_OK);
    qn_probe probe = {.template = t->t, .source = t->source, .n_source = t->n,
                      .in = {.bos = "<BOS>", .eos = "<EOS>", .unk = "<UNK>", .pad = "<PAD>"}};
    assert_int_equal(qn__chat_date("2026-01-02", &probe.in.now, &err), QN_OK);
    assert_int_equal(qn__calls_detect(t->calls, &probe, NULL, &err), QN_OK);
    t->n_thinking = qn__thinking_of(t->source, t->n, t->thinking);
    return true;
}

static void unload(tmpl *t)
{
    qn__calls_close(t->calls);
    qn__jinja_free(t->t);
    qn_free(t->source);
}

static void round_trips(void **state)
{
    (void)state;
    if (!present()) {
        printf("skipped: no %s\n", dir);
        skip();
    }
    char path[800], *line = NULL, last[256] = "";
    size_t cap = 0;
    int templates = 0, writing = 0, bad = 0, trips = 0, planted = 0, found = 0;
    const char *only = getenv("ONLY");
    (void)snprintf(path, sizeof path, "%s/renderings.jsonl", dir);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    while (getline(&line, &cap, f) > 0) {
        json_t *row = json_loads(line, 0, NULL);
        const char *name = json_string_value(json_object_get(row, "template"));
        tmpl t;
        if (strcmp(name, last) != 0 && (!only || strstr(name, only)) && load(name, &t)) {
            int ok = 0, all = 0;
            for (size_t i = 0; i < sizeof turns / sizeof *turns; i++) {
                int r = trip(&t, &turns[i], false);
                all += r >= 0;
                ok += r > 0;
                if (r > 0 && i == 0) {
                    planted++;
                    found += trip(&t, &turns[i], true) != 1;
                }
            }
            templates++;
            writing += all > 0;
            trips += ok;
            bad += all - ok;
            printf("%-52s %-18s %s %d/%d\n", name, t.calls->dialect->name, t.calls->seen ? "seen" : "    ", ok, all);
            unload(&t);
        }
        (void)snprintf(last, sizeof last, "%s", name);
        json_decref(row);
    }
    (void)fclose(f);
    free(line);
    printf("figure: tool calls: %d of %d templates write them; %d of %d turns come back to the byte, cut at every byte\n", writing,
           templates, trips, trips + bad);
    assert_int_equal(found, planted);
    /* Known: Reka's template writes a space between prompt and text that it does not take away again (2). */
    if (!only)
        assert_true(bad <= 2 && trips >= 383);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trips)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
