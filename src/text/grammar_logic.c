/* grammar_logic.c - JSON Schema: what is said by negation (`not`, `if`, `dependentRequired`, `dependentSchemas`, a `oneOf` whose branches
 * overlap) becomes unions of what can be written. A complement goes one level deep: what lies below is again a `not`, rewritten when its
 * place is reached.
 *
 *   not {type: string, maxLength: 3}      ->  type is none of string, or a string of 4 characters at least
 *   not {properties: {a: S}}              ->  an object that has a, and a is not S
 *   if A then B else C                    ->  (A and B) or (not A and C)
 *
 * Keywords made here, which no document can be meant to have: "\x01strings" (a text that is none of these), "\x01pattern" (in which the
 * pattern is not found), the type "\x01fraction" (a number that is not whole).
 *
 * Refuses, by its path, what has no complement that can be written: other keys (additionalProperties, patternProperties,
 * propertyNames), uniqueItems, multipleOf, formats, counting contains, constant objects that are not empty. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/grammar_schema.h"

enum { LIST_MAX = 256, ONE_MAX = 16 };

/* A complement under construction: its alternatives. */
typedef struct negation {
    qn_schema *c;
    json_t *s;
    const char *path;
    json_t *alts;
    bool failed;
} negation;

static void no_memory(negation *g)
{
    (void)qn__ir_fail(g->c->ir, QN_ENOMEM, "schema", "out of memory");
    g->failed = true;
}

static void refuse(negation *g, const char *key)
{
    (void)qn__schema_fail(g->c, QN_EUNSUPPORTED, g->path, key, "its opposite is not supported (it stands under not or if, or in a oneOf whose branches overlap)");
    g->failed = true;
}

static void malformed(negation *g, const char *key)
{
    (void)qn__schema_fail(g->c, QN_EFORMAT, g->path, key, "a value of another type is expected");
    g->failed = true;
}

/* Takes `schema`. */
static void add(negation *g, json_t *schema)
{
    if (!schema || json_array_append_new(g->alts, schema))
        no_memory(g);
}

static json_t *negated(json_t *s)
{
    return json_is_boolean(s) ? json_boolean(!json_is_true(s)) : json_pack("{s:O}", "not", s);
}

static json_t *type_list(unsigned mask)
{
    static const struct {
        const char *name;
        unsigned bits;
    } names[] = {{"null", QN_T_NULL},  {"boolean", QN_T_BOOL}, {"number", QN_T_INT | QN_T_NUM}, {"integer", QN_T_INT}, {"\x01" "fraction", QN_T_NUM},
                 {"string", QN_T_STR}, {"array", QN_T_ARR},    {"object", QN_T_OBJ}};
    json_t *list = json_array();
    for (size_t i = 0; list && i < sizeof names / sizeof *names; i++)
        if ((mask & names[i].bits) == names[i].bits) {
            mask &= ~names[i].bits;
            if (json_array_append_new(list, json_string(names[i].name))) {
                json_decref(list);
                return NULL;
            }
        }
    return list;
}

static void add_types(negation *g, unsigned mask)
{
    if (!mask)
        return;
    json_t *list = type_list(mask);
    add(g, list ? json_pack("{s:o}", "type", list) : NULL);
}

/* ---- values ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Numbers between those of the list. */
static void between(negation *g, const json_t *list)
{
    double v[LIST_MAX];
    size_t n = 0, i;
    const json_t *x;
    json_array_foreach(list, i, x) if (json_is_number(x)) v[n++] = json_number_value(x);
    if (!n)
        return;
    qsort(v, n, sizeof *v, by_value);
    add(g, json_pack("{s:s,s:f}", "type", "number", "exclusiveMaximum", v[0]));
    for (i = 0; i + 1 < n; i++)
        if (v[i] < v[i + 1])
            add(g, json_pack("{s:s,s:f,s:f}", "type", "number", "exclusiveMinimum", v[i], "exclusiveMaximum", v[i + 1]));
    add(g, json_pack("{s:s,s:f}", "type", "number", "exclusiveMinimum", v[n - 1]));
}

/* Arrays that are not `v`: shorter, longer, or different at some place. NULL: no memory. */
static json_t *other_array(const json_t *v)
{
    const size_t n = json_array_size(v);
    json_t *any = json_pack("[{s:I}]", "minItems", (json_int_t)n + 1);
    bool ok = any && (!n || !json_array_append_new(any, json_pack("{s:I}", "maxItems", (json_int_t)n - 1)));
    for (size_t i = 0; ok && i < n; i++) {
        json_t *prefix = json_array();
        for (size_t k = 0; k < i; k++)
            (void)json_array_append_new(prefix, json_true());
        (void)json_array_append_new(prefix, json_pack("{s:{s:O}}", "not", "const", json_array_get(v, i)));
        ok = json_array_size(prefix) == i + 1 && !json_array_append_new(any, json_pack("{s:I,s:O}", "minItems", (json_int_t)i + 1, "prefixItems", prefix));
        json_decref(prefix);
    }
    json_t *out = ok ? json_pack("{s:O}", "anyOf", any) : NULL;
    json_decref(any);
    return out;
}

static void not_values(negation *g, const json_t *list, const char *key)
{
    unsigned seen = 0;
    size_t i;
    const json_t *v;
    json_t *strings = json_array(), *arrays = json_array();
    if (!strings || !arrays) {
        no_memory(g);
        goto out;
    }
    if (json_array_size(list) > LIST_MAX) {
        refuse(g, key);
        goto out;
    }
    json_array_foreach(list, i, v)
    {
        const unsigned t = qn__schema_type_of(v);
        seen |= t & (QN_T_INT | QN_T_NUM) ? QN_T_INT | QN_T_NUM : t == QN_T_BOOL ? 0 : t;
        if (json_is_string(v) && json_array_append(strings, (json_t *)(uintptr_t)v))
            no_memory(g);
        if (json_is_array(v) && json_array_append_new(arrays, other_array(v)))
            no_memory(g);
        if (json_is_object(v) && json_object_size(v)) {
            refuse(g, key);
            goto out;
        }
    }
    for (int b = 0; b < 2; b++) {
        bool in = false;
        json_array_foreach(list, i, v) in |= b ? json_is_true(v) : json_is_false(v);
        if (!in)
            add(g, json_pack("{s:b}", "const", b));
    }
    add_types(g, QN_T_ALL & ~seen & ~(unsigned)QN_T_BOOL);
    between(g, list);
    if (seen & QN_T_STR)
        add(g, json_pack("{s:s,s:O}", "type", "string", "\x01strings", strings));
    if (seen & QN_T_ARR)
        add(g, json_pack("{s:s,s:O}", "type", "array", "allOf", arrays));
    if (seen & QN_T_OBJ)
        add(g, json_pack("{s:s,s:i}", "type", "object", "minProperties", 1));
out:
    json_decref(strings);
    json_decref(arrays);
}

/* ---- keywords ---- */

static const struct limit {
    const char *key, *type, *other;
    int add; /* to a count: not at least n: at most n - 1; bounds of numbers: 0 */
} limits[] = {{"minLength", "string", "maxLength", -1},     {"maxLength", "string", "minLength", 1},
              {"minItems", "array", "maxItems", -1},        {"maxItems", "array", "minItems", 1},
              {"minProperties", "object", "maxProperties", -1}, {"maxProperties", "object", "minProperties", 1},
              {"minimum", "number", "exclusiveMaximum", 0}, {"maximum", "number", "exclusiveMinimum", 0},
              {"exclusiveMinimum", "number", "maximum", 0}, {"exclusiveMaximum", "number", "minimum", 0}};

static bool not_limit(negation *g, const char *key, json_t *v)
{
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        const struct limit *l = &limits[i];
        if (strcmp(key, l->key) != 0)
            continue;
        const double d = json_number_value(v);
        if (!json_is_number(v) || (l->add && (d < 0 || d != floor(d) || d > 1e9)))
            malformed(g, key);
        else if (!l->add)
            add(g, json_pack("{s:s,s:O}", "type", l->type, l->other, v));
        else if (d > 0 || l->add > 0)
            add(g, json_pack("{s:s,s:I}", "type", l->type, l->other, (json_int_t)d + l->add));
        return true;
    }
    return false;
}

static void not_properties(negation *g, json_t *v)
{
    const char *key;
    json_t *s;
    json_object_foreach(v, key, s)
        if (!json_is_true(s) && !(json_is_object(s) && !json_object_size(s)))
            add(g, json_pack("{s:s,s:[s],s:{s:o}}", "type", "object", "required", key, "properties", key, negated(s)));
}

static void not_items(negation *g, const char *key, json_t *v)
{
    size_t i;
    json_t *s;
    if (!strcmp(key, "items")) {
        if (json_array_size(json_object_get(g->s, "prefixItems")))
            refuse(g, key);
        else
            add(g, json_pack("{s:s,s:o}", "type", "array", "contains", negated(v)));
        return;
    }
    json_array_foreach(v, i, s)
    {
        json_t *prefix = json_array();
        for (size_t k = 0; k < i; k++)
            (void)json_array_append_new(prefix, json_true());
        (void)json_array_append_new(prefix, negated(s));
        if (json_array_size(prefix) != i + 1)
            no_memory(g);
        add(g, json_pack("{s:s,s:I,s:O}", "type", "array", "minItems", (json_int_t)i + 1, "prefixItems", prefix));
        json_decref(prefix);
    }
}

/* None of the list, or (one: exactly one of it was asked for) two of it. */
static void not_union(negation *g, const char *key, json_t *v, bool one)
{
    json_t *none = json_array(), *s;
    size_t i;
    json_array_foreach(v, i, s) if (!none || json_array_append_new(none, negated(s))) no_memory(g);
    if (one && json_array_size(v) > ONE_MAX)
        refuse(g, key);
    for (i = 0; one && !g->failed && i < json_array_size(v); i++)
        for (size_t j = i + 1; j < json_array_size(v); j++)
            add(g, json_pack("{s:[OO]}", "allOf", json_array_get(v, i), json_array_get(v, j)));
    if (!g->failed)
        add(g, json_pack("{s:O}", "allOf", none));
    json_decref(none);
}

static void not_dependent(negation *g, const char *key, json_t *v, bool schemas)
{
    const char *name;
    json_t *of, *other;
    size_t i;
    json_object_foreach(v, name, of)
    {
        if (schemas) {
            add(g, json_pack("{s:s,s:[s],s:[o]}", "type", "object", "required", name, "allOf", negated(of)));
            continue;
        }
        json_array_foreach(of, i, other)
        {
            if (!json_is_string(other))
                malformed(g, key);
            else if (strcmp(json_string_value(other), name) != 0)
                add(g, json_pack("{s:s,s:[s],s:{s:b}}", "type", "object", "required", name, "properties", json_string_value(other), 0));
        }
    }
}

static void not_if(negation *g, json_t *s)
{
    json_t *yes = json_object_get(g->s, "then"), *no = json_object_get(g->s, "else");
    if (yes)
        add(g, json_pack("{s:[Oo]}", "allOf", s, negated(yes)));
    if (no)
        add(g, json_pack("{s:[oo]}", "allOf", negated(s), negated(no)));
}

static void not_required(negation *g, json_t *v)
{
    size_t i;
    json_t *name;
    json_array_foreach(v, i, name)
    {
        if (!json_is_string(name))
            malformed(g, "required");
        else
            add(g, json_pack("{s:s,s:{s:b}}", "type", "object", "properties", json_string_value(name), 0));
    }
}

static void not_type(negation *g)
{
    const qn_schema_part p = {g->s, g->path};
    if (!qn__schema_check_types(g->c, &p))
        g->failed = true;
    else
        add_types(g, QN_T_ALL & ~qn__schema_part_types(g->s));
}

static bool is(const char *key, const char *const *list)
{
    for (; *list; list++)
        if (!strcmp(key, *list))
            return true;
    return false;
}

static void not_keyword(negation *g, const char *key, json_t *v)
{
    static const char *const lists[] = {"required", "prefixItems", "anyOf", "allOf", "oneOf", "enum", NULL};
    static const char *const objects[] = {"properties", "dependentRequired", "dependentSchemas", NULL};
    /* `then`, `else` and counts of contains are seen with what they belong to. */
    static const char *const nothing[] = {"title", "description", "default", "examples", "example", "$schema", "$id", "id", "$comment", "$defs",
                                          "definitions", "$anchor", "$dynamicAnchor", "deprecated", "readOnly", "writeOnly", "contentEncoding",
                                          "contentMediaType", "contentSchema", "$vocabulary", "then", "else", "minContains", "maxContains",
                                          "nullable", NULL};
    if ((is(key, lists) && !json_is_array(v)) || (is(key, objects) && !json_is_object(v)))
        malformed(g, key);
    else if (is(key, nothing) || not_limit(g, key, v))
        return;
    else if (!strcmp(key, "type"))
        not_type(g);
    else if (!strcmp(key, "enum"))
        not_values(g, v, key);
    else if (!strcmp(key, "const")) {
        json_t *list = json_pack("[O]", v);
        if (list)
            not_values(g, list, key);
        else
            no_memory(g);
        json_decref(list);
    } else if (!strcmp(key, "required"))
        not_required(g, v);
    else if (!strcmp(key, "properties"))
        not_properties(g, v);
    else if (!strcmp(key, "items") || !strcmp(key, "prefixItems"))
        not_items(g, key, v);
    else if (!strcmp(key, "contains") && !json_object_get(g->s, "minContains") && !json_object_get(g->s, "maxContains"))
        add(g, json_pack("{s:s,s:o}", "type", "array", "items", negated(v)));
    else if (!strcmp(key, "anyOf") || !strcmp(key, "oneOf"))
        not_union(g, key, v, key[0] == 'o');
    else if (!strcmp(key, "allOf")) {
        for (size_t i = 0; i < json_array_size(v); i++)
            add(g, negated(json_array_get(v, i)));
    } else if (!strcmp(key, "not"))
        add(g, json_incref(v));
    else if (!strcmp(key, "if"))
        not_if(g, v);
    else if (!strcmp(key, "dependentRequired") || !strcmp(key, "dependentSchemas"))
        not_dependent(g, key, v, key[9] == 'S');
    else if (!strcmp(key, "pattern") && json_is_string(v))
        add(g, json_pack("{s:s,s:O}", "type", "string", "\x01pattern", v));
    else if (!strcmp(key, "\x01strings"))
        add(g, json_pack("{s:s,s:O}", "type", "string", "enum", v));
    else if (!strcmp(key, "\x01pattern"))
        add(g, json_pack("{s:s,s:O}", "type", "string", "pattern", v));
    else if (!strcmp(key, "$ref")) {
        const qn_schema_part p = {g->s, g->path};
        json_t *to = qn__schema_resolve(g->c, &p);
        if (to)
            add(g, negated(to));
        else
            g->failed = true;
    } else if (!(!strcmp(key, "uniqueItems") && json_is_false(v)) &&
               !(!strcmp(key, "additionalProperties") && (json_is_true(v) || (json_is_object(v) && !json_object_size(v)))))
        refuse(g, key);
}

json_t *qn__schema_complement(qn_schema *c, json_t *s, const char *path)
{
    char name[32];
    negation g = {.c = c, .s = s, .path = path};
    const char *key;
    json_t *v, *out = NULL;
    (void)snprintf(name, sizeof name, "n%p", (void *)s);
    if ((out = json_object_get(c->made, name)))
        return out;
    g.alts = json_array();
    if (json_is_boolean(s)) {
        out = json_boolean(!json_is_true(s));
    } else if (!json_is_object(s)) {
        (void)qn__schema_fail(c, QN_EFORMAT, path, NULL, "a schema is an object, true or false");
        goto out;
    } else if (json_object_get(s, "x-quern-ignore")) {
        refuse(&g, "x-quern-ignore");
        goto out;
    } else {
        json_object_foreach(s, key, v) if (!g.failed && strncmp(key, "x-", 2) != 0) not_keyword(&g, key, v);
        if (g.failed || c->ir->err.code)
            goto out;
        if (!json_array_size(g.alts))
            out = json_false();
        else if (json_array_size(g.alts) == 1)
            out = json_incref(json_array_get(g.alts, 0));
        else
            out = json_pack("{s:O}", "anyOf", g.alts);
    }
    if (!out || json_object_set_new(c->made, name, out)) {
        no_memory(&g);
        out = NULL;
    }
out:
    json_decref(g.alts);
    return out;
}

/* ---- what is rewritten ---- */

const char *const qn__schema_rewritten[] = {"not", "if", "then", "else", "dependentRequired", "dependentSchemas", NULL};

/* Takes `made`, found under `key`, into a list of both. */
static bool keep(qn_schema *c, json_t *list, const char *key, json_t *made)
{
    if (!made || json_array_append_new(list, json_string(key)) || json_array_append_new(list, made))
        return qn__schema_no_memory(c);
    return true;
}

/* Alternatives that exclude each other. */
static bool conditional(qn_schema *c, const qn_schema_part *p, json_t *list)
{
    json_t *s = qn__part_get(p, "if"), *yes = qn__part_ignores(p, "then") ? NULL : qn__part_get(p, "then"),
           *no = qn__part_ignores(p, "else") ? NULL : qn__part_get(p, "else");
    if (!s || qn__part_ignores(p, "if") || (!yes && !no) || qn__schema_discriminates(p, NULL, NULL))
        return true;
    if (!no)
        return keep(c, list, "if", json_pack("{s:[{s:[OO]},o]}", "anyOf", "allOf", s, yes, negated(s)));
    if (!yes)
        return keep(c, list, "if", json_pack("{s:[O,{s:[oO]}]}", "anyOf", s, "allOf", negated(s), no));
    return keep(c, list, "if", json_pack("{s:[{s:[OO]},{s:[oO]}]}", "anyOf", "allOf", s, yes, "allOf", negated(s), no));
}

/* Without the key, or with what it asks for. */
static bool dependent(qn_schema *c, const qn_schema_part *p, const char *key, json_t *list)
{
    json_t *v = qn__part_get(p, key), *of;
    const char *name;
    if (!v || qn__part_ignores(p, key))
        return true;
    if (!json_is_object(v))
        return qn__schema_fail(c, QN_EFORMAT, p->path, key, "an object is expected") >= 0;
    json_object_foreach(v, name, of)
    {
        json_t *need = json_pack("{s:[s]}", "required", name);
        bool names = json_is_array(of);
        if (names != !strcmp(key, "dependentRequired")) {
            json_decref(need);
            return qn__schema_fail(c, QN_EFORMAT, p->path, key, "a value of another type is expected") >= 0;
        }
        if (names && json_array_extend(json_object_get(need, "required"), of)) {
            json_decref(need);
            return qn__schema_no_memory(c);
        }
        json_t *with = names ? need : json_pack("{s:[oO]}", "allOf", need, of);
        if (!keep(c, list, key, json_pack("{s:[{s:{s:b}},o]}", "anyOf", "properties", name, 0, with)))
            return false;
    }
    return true;
}

/* What p says in other words, [keyword, schema, ...]: made once. NULL: failed. */
static json_t *rewritten(qn_schema *c, const qn_schema_part *p)
{
    char name[32];
    (void)snprintf(name, sizeof name, "r%p", (void *)p->s);
    json_t *list = json_object_get(c->made, name), *v = qn__part_get(p, "not");
    if (list)
        return list;
    list = json_array();
    if (!list || json_object_set_new(c->made, name, list)) {
        (void)qn__schema_no_memory(c);
        return NULL;
    }
    if (v && !qn__part_ignores(p, "not")) {
        json_t *other = qn__schema_complement(c, v, qn__schema_path(c, p->path, "not"));
        if (!other || !keep(c, list, "not", json_incref(other)))
            return NULL;
    }
    return conditional(c, p, list) && dependent(c, p, "dependentRequired", list) && dependent(c, p, "dependentSchemas", list) ? list : NULL;
}

/* What was evaluated is not known of conditions. */
static bool check_unevaluated(qn_schema *c, const qn_schema_part *p)
{
    static const char *const keys[] = {"unevaluatedProperties", "unevaluatedItems"};
    for (int i = 0; i < 2; i++)
        if (qn__part_get(p, keys[i]) && !qn__part_ignores(p, keys[i]) && (qn__part_get(p, "if") || qn__part_get(p, "dependentSchemas")))
            return qn__schema_fail(c, QN_EUNSUPPORTED, p->path, keys[i], "it is supported only where nothing else describes the same value") >= 0;
    return true;
}

bool qn__schema_rewrite(qn_schema *c, const qn_schema_part *p, qn_conj *out)
{
    bool any = false;
    if (!check_unevaluated(c, p))
        return false;
    for (const char *const *key = qn__schema_rewritten; *key && !any; key++)
        any = qn__part_get(p, *key) != NULL;
    json_t *list = any ? rewritten(c, p) : NULL;
    if (any && !list)
        return false;
    for (size_t i = 0; i + 1 < json_array_size(list); i += 2)
        if (!qn__conj_add(c, out, json_array_get(list, i + 1), qn__schema_path(c, p->path, json_string_value(json_array_get(list, i)))))
            return false;
    return true;
}
