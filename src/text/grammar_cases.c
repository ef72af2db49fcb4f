/* grammar_cases.c - JSON Schema: conditions that ask one key for its value, as in
 *
 *   {"if": {"properties": {"kind": {"const": "a"}}}, "then": A}, {"if": {"properties": {"kind": {"enum": ["b", "c"]}}}, "then": B}, ...
 *
 * become one union by that key: a branch for each value that is named, one for all others, one for objects without the key, one for what
 * is no object. In each it is known which conditions hold. Each by itself would double the alternatives.
 *
 * Owns nothing: what it makes is kept by the schema compiler. */
#include <stdio.h>

#include "text/grammar_schema.h"

bool qn__schema_discriminates(const qn_schema_part *p, const char **key, json_t **values)
{
    json_t *s = qn__part_get(p, "if"), *props = json_object_get(s, "properties"), *need = json_object_get(s, "required"),
           *type = json_object_get(s, "type"), *v;
    const char *name;
    if (!json_is_object(s) || qn__part_ignores(p, "if") || json_object_size(props) != 1 ||
        json_object_size(s) != (size_t)1 + (need != NULL) + (type != NULL))
        return false;
    name = json_object_iter_key(json_object_iter(props));
    v = json_object_get(props, name);
    json_t *e = json_object_get(v, "enum"), *one = json_object_get(v, "const");
    if (json_object_size(v) != 1 || (!json_is_array(e) && !one))
        return false;
    if (need && (json_array_size(need) != 1 || !json_is_string(json_array_get(need, 0)) || strcmp(json_string_value(json_array_get(need, 0)), name) != 0))
        return false;
    if (type && (!json_is_string(type) || strcmp(json_string_value(type), "object") != 0))
        return false;
    if (key)
        *key = name;
    if (values)
        *values = e ? e : one;
    return true;
}

/* Which of `then` and `else` holds where the condition does or does not; NULL: neither says anything. */
static json_t *outcome(const qn_schema_part *p, bool holds)
{
    const char *key = holds ? "then" : "else";
    return qn__part_ignores(p, key) ? NULL : qn__part_get(p, key);
}

typedef enum what { VALUE, OTHERS, ABSENT, NO_OBJECT } what;

static bool holds_in(const qn_schema_part *p, what w, const json_t *value)
{
    json_t *s = qn__part_get(p, "if"), *values = NULL;
    if (w == OTHERS)
        return false;
    if (w == ABSENT)
        return !json_object_get(s, "required");
    if (w == NO_OBJECT)
        return !json_object_get(s, "type");
    (void)qn__schema_discriminates(p, NULL, &values);
    json_t *test = json_object_get(json_object_get(json_object_get(s, "properties"), json_object_iter_key(json_object_iter(json_object_get(s, "properties")))), "enum");
    return test ? qn__schema_among(values, value) : qn__schema_same(values, value);
}

/* One branch: takes `head`. */
static bool branch(json_t *any, json_t *head, const qn_conj *k, const bool *mine, what w, const json_t *value)
{
    json_t *all = json_array();
    bool ok = head && all;
    for (size_t i = 0; i < k->n && ok; i++) {
        json_t *s = mine[i] ? outcome(&k->v[i], holds_in(&k->v[i], w, value)) : NULL;
        ok = !s || !json_array_append(all, s);
    }
    ok = ok && !json_object_set(head, "allOf", all) && !json_array_append(any, head);
    json_decref(all);
    json_decref(head);
    return ok;
}

/* The union of those of k that ask for `key`. NULL: no memory. */
static json_t *by_key(const qn_conj *k, const bool *mine, const char *key)
{
    json_t *values = json_array(), *any = json_array(), *v, *x;
    size_t i;
    bool ok = values && any;
    for (size_t p = 0; p < k->n && ok; p++) {
        if (!mine[p])
            continue;
        (void)qn__schema_discriminates(&k->v[p], NULL, &v);
        json_t *test = json_object_get(json_object_get(json_object_get(qn__part_get(&k->v[p], "if"), "properties"), key), "enum");
        if (!test)
            ok = qn__schema_among(values, v) || !json_array_append(values, v);
        else
            json_array_foreach(v, i, x) ok = ok && (qn__schema_among(values, x) || !json_array_append(values, x));
    }
    json_array_foreach(values, i, x)
        ok = ok && branch(any, json_pack("{s:s,s:[s],s:{s:{s:O}}}", "type", "object", "required", key, "properties", key, "const", x), k, mine, VALUE, x);
    ok = ok && branch(any, json_pack("{s:s,s:[s],s:{s:{s:{s:O}}}}", "type", "object", "required", key, "properties", key, "not", "enum", values), k,
                      mine, OTHERS, NULL);
    ok = ok && branch(any, json_pack("{s:s,s:{s:b}}", "type", "object", "properties", key, 0), k, mine, ABSENT, NULL);
    ok = ok && branch(any, json_pack("{s:[s,s,s,s,s]}", "type", "null", "boolean", "number", "string", "array"), k, mine, NO_OBJECT, NULL);
    json_t *out = ok ? json_pack("{s:O}", "anyOf", any) : NULL;
    json_decref(values);
    json_decref(any);
    return out;
}

bool qn__schema_cases(qn_schema *c, qn_conj *k)
{
    const size_t n = k->n;
    bool done[QN_CONJ_MAX] = {false}, mine[QN_CONJ_MAX];
    for (size_t i = 0; i < n; i++) {
        const char *key, *other;
        if (done[i] || !qn__part_get(&k->v[i], "if") || !qn__schema_discriminates(&k->v[i], &key, NULL))
            continue;
        char name[32];
        uint64_t all = 0; /* which parts: the union is made once for all that meet again */
        for (size_t j = 0; j < QN_CONJ_MAX; j++) {
            mine[j] = j < n && !done[j] && qn__part_get(&k->v[j], "if") && qn__schema_discriminates(&k->v[j], &other, NULL) && !strcmp(key, other);
            if (mine[j]) {
                done[j] = true;
                all = (all ^ (uint64_t)(uintptr_t)k->v[j].s) * 0x9e3779b97f4a7c15u;
                all ^= all >> 29;
            }
        }
        (void)snprintf(name, sizeof name, "c%016llx", (unsigned long long)all);
        json_t *made = json_object_get(c->made, name);
        if (!made && (!(made = by_key(k, mine, key)) || json_object_set_new(c->made, name, made)))
            return qn__schema_no_memory(c);
        if (!qn__conj_add(c, k, made, qn__schema_path(c, k->v[i].path, "if")))
            return false;
    }
    return true;
}
