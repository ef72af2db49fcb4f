/* test_bfcl_schemas.c - every function signature of ../shared/data/bfcl, as JSON Schema, compiles; and what it describes ends:
 * an output sampled from random logits is JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>

#include "../unit/grammar_vocab.h"

/* The collection writes types as Python's and Java's names. */
static void rename_types(json_t *s, int depth)
{
    static const char *const names[][2] = {{"dict", "object"},   {"HashMap", "object"}, {"Hashtable", "object"}, {"float", "number"},  {"double", "number"},
                                           {"long", "integer"},  {"byte", "integer"},   {"short", "integer"},    {"tuple", "array"},   {"Array", "array"},
                                           {"ArrayList", "array"}, {"Queue", "array"},  {"Stack", "array"},      {"Set", "array"},     {"bool", "boolean"}, {"Boolean", "boolean"},
                                           {"String", "string"}, {"char", "string"},    {"Bigint", "integer"},   {"Long", "integer"},
                                           {"None", "null"}};
    const char *key, *t = json_string_value(json_object_get(s, "type"));
    json_t *v;
    size_t i;
    if (depth > 30)
        return;
    for (size_t k = 0; t && k < sizeof names / sizeof *names; k++)
        if (!strcmp(t, names[k][0]))
            (void)json_object_set_new(s, "type", json_string(names[k][1]));
    t = json_string_value(json_object_get(s, "type"));
    if (t && (!strcmp(t, "any") || !*t)) {
        (void)json_object_del(s, "type");
        t = NULL;
    }
    /* Some lists have the values of their items beside them: nothing would match. */
    json_t *e = json_object_get(s, "enum"), *of = json_object_get(s, "items");
    if (e && of && t && !strcmp(t, "array") && !json_is_array(json_array_get(e, 0))) {
        (void)json_object_set(of, "enum", e);
        (void)json_object_del(s, "enum");
    }
    if (json_object_get(s, "properties") && !json_object_get(s, "additionalProperties"))
        (void)json_object_set_new(s, "additionalProperties", json_false()); /* as a call's arguments are held to */
    (void)json_object_del(s, "optional"); /* an annotation of the collection's own */
    json_object_foreach(json_object_get(s, "properties"), key, v) rename_types(v, depth + 1);
    v = json_object_get(s, "items");
    if (v)
        rename_types(v, depth + 1);
    v = json_object_get(s, "additionalProperties");
    if (json_is_object(v))
        rename_types(v, depth + 1);
    static const char *const unions[] = {"anyOf", "oneOf", "allOf"};
    for (size_t k = 0; k < 3; k++)
    {
        json_t *x;
        json_array_foreach(json_object_get(s, unions[k]), i, x) rename_types(x, depth + 1);
    }
}

typedef struct tally {
    size_t n, ok, samples, ended;
} tally;

static void one(const vocab *v, const char *file, json_t *f, tally *c)
{
    static const qn_json_style style = {.any_space = true};
    json_t *p = json_object_get(f, "parameters");
    qn_ir *ir = NULL;
    qn_grammar *g = NULL;
    qn_err err = {0};
    if (!json_is_object(p))
        return;
    rename_types(p, 0);
    assert_int_equal(qn__ir_open(v->t, &ir, &err), QN_OK);
    qn__ir_root(ir, qn__ir_schema(ir, p, &style, "#", &err));
    qn_status st = qn__ir_check(ir, &err);
    if (!st)
        st = qn__grammar_compile(ir, v->t, &g, &err);
    qn__ir_close(ir);
    c->n++;
    c->ok += !st;
    if (st)
        print_message("%s: %s: %s: %s\n", file, json_string_value(json_object_get(f, "name")), err.where, err.what);
    if (!st && c->n % 10 == 0) {
        qn_buf text = {0};
        bool ended;
        assert_int_equal(vocab_walk(g, c->n, 40, false, &text, &ended), 0);
        c->samples++;
        if (ended) {
            json_t *j = json_loadb(text.data, text.n, JSON_ALLOW_NUL, NULL);
            assert_non_null(j);
            json_decref(j);
            c->ended++;
        }
        qn__buf_free(&text);
    }
    qn__grammar_drop(g);
}

static void signatures(void **state)
{
    (void)state;
    const char *shared = getenv("SHARED");
    char dir[512];
    (void)snprintf(dir, sizeof dir, "%s/data/bfcl", shared ? shared : "../shared");
    DIR *d = opendir(dir);
    if (!d) {
        print_message("skipped: no %s\n", dir);
        skip();
    }
    vocab v = vocab_open();
    tally c = {0};
    struct dirent *e;
    char *line = NULL;
    size_t cap = 0;
    while ((e = readdir(d))) {
        char command[1024];
        size_t n = strlen(e->d_name);
        if (n < 3 || strcmp(e->d_name + n - 3, ".gz") != 0)
            continue;
        (void)snprintf(command, sizeof command, "gzip -dc '%s/%s'", dir, e->d_name);
        FILE *f = popen(command, "r");
        assert_non_null(f);
        while (getline(&line, &cap, f) > 0) {
            json_t *q = json_loads(line, 0, NULL), *fn;
            size_t i;
            json_array_foreach(json_object_get(q, "function"), i, fn) one(&v, e->d_name, fn, &c);
            json_decref(q);
        }
        (void)pclose(f);
    }
    (void)closedir(d);
    free(line);
    vocab_close(&v);
    print_message("figure: function signatures: %zu, %zu of them compile; %zu outputs of random logits, %zu came to an end and are JSON\n", c.n, c.ok,
                  c.samples, c.ended);
    assert_true(c.n > 1000);
    assert_int_equal(c.ok, c.n);
    assert_true(c.ended * 2 > c.samples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(signatures)};
    return cmocka_run_group_tests_name("bfcl_schemas", tests, NULL, NULL);
}
