/* test_templates.c - every rendering of ../shared/golden/templates, byte for byte; refusals with their message.
 *
 * The rows are what Python's Jinja2 gave for 55 published templates. Rows whose error is Python's own (a type error,
 * the sandbox) may render or fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/file.h"
#include "base/mem.h"
#include "text/chat.h"

typedef struct tally {
    int texts, texts_ok, raises, raises_ok, others;
} tally;

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

static qn_jinja *load(const char *name)
{
    char path[800], *text;
    size_t n;
    qn_err err = {0};
    qn_jinja *t = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(qn__read_file(path, (size_t)1 << 24, &text, &n, &err), QN_OK);
    if (qn__jinja_parse(text, n, NULL, &t, &err) != QN_OK)
        printf("%s: %s: %s\n", name, err.where, err.what);
    qn_free(text);
    return t;
}

/* The conversation as a caller hands it over: one JSON object with messages, tools and the extra variables. */
static char *input_of(const json_t *conversations, const char *name)
{
    size_t i;
    json_t *c, *v;
    const char *key;
    json_array_foreach((json_t *)(uintptr_t)conversations, i, c)
    {
        if (strcmp(json_string_value(json_object_get(c, "name")), name) != 0)
            continue;
        json_t *o = json_object();
        (void)json_object_set(o, "messages", json_object_get(c, "messages"));
        if (json_object_get(c, "tools"))
            (void)json_object_set(o, "tools", json_object_get(c, "tools"));
        json_object_foreach(json_object_get(c, "extra"), key, v)(void) json_object_set(o, key, v);
        char *text = json_dumps(o, 0);
        json_decref(o);
        return text;
    }
    return NULL;
}

static bool check_row(const qn_jinja *t, const json_t *row, const json_t *conversations, bool plant, tally *sum)
{
    const char *want = json_string_value(json_object_get(row, "text"));
    const char *error = json_string_value(json_object_get(row, "error"));
    const char *conversation = json_string_value(json_object_get(row, "conversation"));
    char *input = input_of(conversations, conversation), *got = NULL;
    size_t n = 0;
    qn_err err = {0};
    qn_chat_input in = {.messages_json = input,
                        .bos = "<BOS>",
                        .eos = "<EOS>",
                        .unk = "<UNK>",
                        .pad = "<PAD>",
                        .add_generation_prompt = json_is_true(json_object_get(row, "add_generation_prompt"))};
    assert_int_equal(qn__chat_date("2026-01-02", &in.now, &err), QN_OK);
    qn_status s = t ? qn__chat_render(t, &in, &got, &n, &err) : QN_EFORMAT;
    bool ok = true;
    if (want) {
        size_t n_want = json_string_length(json_object_get(row, "text"));
        char *copy = qn__strndup(want, n_want);
        assert_non_null(copy);
        if (plant && n_want)
            copy[n_want / 2] ^= 1;
        ok = s == QN_OK && n == n_want && memcmp(got, copy, n) == 0;
        sum->texts++;
        sum->texts_ok += ok;
        if (!ok && !plant) {
            size_t at = 0;
            while (s == QN_OK && at < n && at < n_want && got[at] == want[at])
                at++;
            size_t from = at > 40 ? at - 40 : 0;
            printf("%s, %s: ", json_string_value(json_object_get(row, "template")), conversation);
            if (s != QN_OK)
                printf("%s: %s\n", err.where, err.what);
            else
                printf("differs at byte %zu: wanted ...%.80s, got ...%.80s\n", at, want + from, got + from);
        }
        qn_free(copy);
    } else if (strncmp(error, "TemplateError: ", 15) == 0) {
        ok = s == QN_ERAISED && strcmp(err.what, error + 15) == 0;
        sum->raises++;
        sum->raises_ok += ok;
        if (!ok)
            printf("%s, %s: wanted the refusal \"%s\", got %s \"%s\"\n",
                   json_string_value(json_object_get(row, "template")), conversation, error + 15, qn_status_name(s),
                   err.what);
    } else {
        sum->others++;
        ok = s == QN_OK || err.what[0];
    }
    qn_free(got);
    free(input);
    return ok;
}

static json_t *conversations(void)
{
    char path[800];
    (void)snprintf(path, sizeof path, "%s/conversations.json", dir);
    json_t *c = json_load_file(path, 0, NULL);
    assert_non_null(c);
    return c;
}

static void renders_every_row(void **state)
{
    (void)state;
    if (!present()) {
        printf("skipped: no %s\n", dir);
        skip();
    }
    char path[800], *line = NULL, name[256] = "";
    size_t cap = 0;
    tally sum = {0}, planted = {0};
    qn_jinja *t = NULL;
    json_t *conv = conversations();
    (void)snprintf(path, sizeof path, "%s/renderings.jsonl", dir);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    bool all = true, fault_caught = true;
    while (getline(&line, &cap, f) > 0) {
        json_t *row = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_non_null(row);
        const char *template = json_string_value(json_object_get(row, "template"));
        if (strcmp(name, template) != 0) {
            qn__jinja_free(t);
            t = load(template);
            (void)snprintf(name, sizeof name, "%s", template);
        }
        all = check_row(t, row, conv, false, &sum) && all;
        if (json_string_length(json_object_get(row, "text")) && planted.texts < 20)
            fault_caught = !check_row(t, row, conv, true, &planted) && fault_caught;
        json_decref(row);
    }
    (void)fclose(f);
    free(line);
    qn__jinja_free(t);
    json_decref(conv);
    printf("figure: templates %d of %d texts, %d of %d raises (%d rows fail in Python itself)\n", sum.texts_ok,
           sum.texts, sum.raises_ok, sum.raises, sum.others);
    assert_true(sum.texts > 0 && planted.texts > 0);
    assert_true(fault_caught);
    assert_true(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(renders_every_row)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
