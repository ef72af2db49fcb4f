/* test_calls_bfcl.c - the function signatures of ../shared/data/bfcl in every dialect: each compiles to a grammar, and what random walks
 * through it write parses and conforms.
 *
 * Their schemas name types in their own way (dict, float, tuple...); they are translated first. Functions come in groups, as tools of one
 * conversation. A dialect gets every fourth group;
 * WALKS=n: every group, with so many walks each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../unit/calls_walk.h"

enum { GROUP = 16 };

static json_t *translated(const json_t *s)
{
    static const char *const types[][2] = {{"dict", "object"}, {"float", "number"}, {"double", "number"}, {"long", "integer"},
                                           {"tuple", "array"}, {"Array", "array"}, {"ArrayList", "array"}, {"HashMap", "object"},
                                           {"String", "string"}, {"char", "string"}, {"Boolean", "boolean"}, {"integer", "integer"},
                                           {"number", "number"}, {"string", "string"}, {"boolean", "boolean"}, {"array", "array"},
                                           {"object", "object"}};
    static const char *const keep[] = {"enum", "required", "minItems", "maxItems", "minimum", "maximum"};
    json_t *out = json_object(), *props = json_object_get(s, "properties"), *v;
    const char *type = json_string_value(json_object_get(s, "type")), *key;
    for (size_t i = 0; type && i < sizeof types / sizeof *types; i++)
        if (strcmp(type, types[i][0]) == 0)
            (void)json_object_set_new(out, "type", json_string(types[i][1]));
    for (size_t i = 0; i < sizeof keep / sizeof *keep; i++)
        if (json_object_get(s, keep[i]) && (i != 1 || json_is_array(json_object_get(s, keep[i]))))
            (void)json_object_set(out, keep[i], json_object_get(s, keep[i]));
    if (json_is_object(props)) {
        json_t *to = json_object();
        json_object_foreach(props, key, v)(void) json_object_set_new(to, key, translated(v));
        (void)json_object_set_new(out, "properties", to);
    }
    if (json_is_object(json_object_get(s, "items")))
        (void)json_object_set_new(out, "items", translated(json_object_get(s, "items")));
    /* An enumeration of another type than the one said (there are some): the enumeration holds. */
    const json_t *e = json_object_get(out, "enum");
    if (e && json_string_value(json_object_get(out, "type"))) {
        bool strings = strcmp(json_string_value(json_object_get(out, "type")), "string") == 0;
        for (size_t i = 0; i < json_array_size(e); i++)
            if (json_is_string(json_array_get(e, i)) != strings) {
                (void)json_object_del(out, "type");
                break;
            }
    }
    return out;
}

/* What is required but not described is not asked for. */
static void only_known(json_t *s)
{
    json_t *r = json_object_get(s, "required"), *props = json_object_get(s, "properties"), *v;
    const char *key;
    for (size_t i = json_array_size(r); i-- > 0;)
        if (!json_object_get(props, json_string_value(json_array_get(r, i))))
            (void)json_array_remove(r, i);
    json_object_foreach(props, key, v) only_known(v);
    if (json_object_get(s, "items"))
        only_known(json_object_get(s, "items"));
}

static json_t *all_functions(const char *dir)
{
    static const char *const files[] = {"simple_python", "simple_java", "simple_javascript", "multiple", "parallel", "parallel_multiple",
                                        "live_simple", "live_parallel", "live_parallel_multiple", "irrelevance"};
    json_t *all = json_array(), *seen = json_object();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char cmd[900], *line = NULL;
        size_t cap = 0;
        (void)snprintf(cmd, sizeof cmd, "gzip -dc '%s/BFCL_v4_%s.json.gz' 2>/dev/null", dir, files[i]);
        FILE *f = popen(cmd, "r");
        while (f && getline(&line, &cap, f) > 0) {
            json_t *row = json_loads(line, 0, NULL), *fs = json_object_get(row, "function");
            for (size_t k = 0; k < json_array_size(fs); k++) {
                const json_t *fn = json_array_get(fs, k);
                char *id = json_dumps(fn, JSON_SORT_KEYS);
                if (!json_object_get(seen, id)) {
                    (void)json_object_set_new(seen, id, json_true());
                    json_t *p = translated(json_object_get(fn, "parameters"));
                    only_known(p);
                    (void)json_array_append_new(all, json_pack("{s:O,s:o}", "name", json_object_get(fn, "name"), "parameters", p));
                }
                free(id);
            }
            json_decref(row);
        }
        free(line);
        if (f)
            (void)pclose(f);
    }
    json_decref(seen);
    return all;
}

typedef struct tally {
    int grammars, refused, walks, ended, calls, bad;
} tally;

static void group(const json_t *functions, size_t from, const qn_dialect *d, const qn_tokenizer *t, int walks, tally *sum)
{
    json_t *tools = json_array(), *names = json_object();
    for (size_t i = from; i < from + GROUP && i < json_array_size(functions); i++) {
        json_t *f = json_copy(json_array_get(functions, i));
        char name[300];
        (void)snprintf(name, sizeof name, "%s", json_string_value(json_object_get(f, "name")));
        for (char *p = name; *p; p++)
            if (*p == ' ' || *p == '\'')
                *p = '_';
        if (json_object_get(names, name))
            (void)snprintf(name + strlen(name), sizeof name - strlen(name), "_%zu", i);
        (void)json_object_set_new(names, name, json_true());
        (void)json_object_set_new(f, "name", json_string(name));
        (void)json_array_append_new(tools, f);
    }
    char *text = json_dumps(tools, 0);
    qn_calls *c = NULL;
    qn_err err = {0};
    qn_grammar *g = NULL;
    if (qn__calls_open(text, &c, &err) || qn__calls_detect(c, &(qn_probe){0}, d->name, &err) ||
        !(g = walk_grammar(c, t, true, false, NULL, &err))) {
        printf("%s, functions from %zu: %s: %s\n", d->name, from, err.where, err.what);
        sum->refused++;
        goto out;
    }
    sum->grammars++;
    for (int k = 0; k < walks; k++) {
        qn_buf out = {0};
        walk_reply r = {0};
        sum->walks++;
        if (walk(g, t, c, (uint64_t)k * 1000 + from + (uint64_t)d->name[0], 60, &out)) {
            sum->ended++;
            walk_parse(c, out.data, out.n, 7, &r);
            sum->calls += r.calls;
            if (r.bad || !r.calls || r.calls != r.ends) {
                sum->bad++;
                printf("%s, functions from %zu: %d calls, %d complete, %d do not conform (%s %.*s):\n%s\n", d->name, from, r.calls, r.ends, r.bad,
                       r.name, (int)r.args.n, r.args.data ? r.args.data : "", out.data);
            }
        }
        walk_reply_free(&r);
        qn__buf_free(&out);
    }
out:
    if (g)
        qn__grammar_drop(g);
    qn__calls_close(c);
    free(text);
    json_decref(tools);
    json_decref(names);
}

static void signatures(void **state)
{
    (void)state;
    const char *shared = getenv("SHARED"), *w = getenv("WALKS");
    char dir[600];
    (void)snprintf(dir, sizeof dir, "%s/data/bfcl", shared && *shared ? shared : "../shared");
    json_t *functions = all_functions(dir);
    if (!json_array_size(functions)) {
        printf("skipped: no %s\n", dir);
        json_decref(functions);
        skip();
    }
    walk_vocab v = walk_open();
    tally sum = {0};
    const qn_dialect *d;
    size_t n = 0;
    for (size_t i = 0; (d = qn__dialect(i)) != NULL; i++, n++)
        for (size_t from = 0; from < json_array_size(functions); from += GROUP)
            if (w || (from / GROUP + i) % 4 == 0)
                group(functions, from, d, v.t, w ? atoi(w) : 1, &sum);
    printf("figure: calls of %zu published functions in %zu dialects: %d grammars, %d refused; %d of %d walks ended, %d calls, %d replies wrong\n",
           json_array_size(functions), n, sum.grammars, sum.refused, sum.ended, sum.walks, sum.calls, sum.bad);
    assert_int_equal(sum.refused, 0);
    assert_int_equal(sum.bad, 0);
    assert_true(sum.ended > sum.walks / 2);
    walk_close(&v);
    json_decref(functions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(signatures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
