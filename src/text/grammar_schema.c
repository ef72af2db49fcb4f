/* grammar_schema.c - JSON Schema (2020-12) becomes expressions: conjunctions, references, unions, enumerations. What a keyword
 * means for objects, arrays, strings and numbers is in grammar_object.c, grammar_array.c, grammar_string.c, grammar_number.c.
 *
 * Refuses what it cannot promise, by the keyword's JSON path; "x-quern-ignore": ["keyword", ...] beside a keyword lets it go. */
#include <math.h>
#include <stdio.h>

#include "text/grammar_schema.h"

/* ---- errors and paths ---- */

const char *qn__schema_path(qn_schema *c, const char *path, const char *key)
{
    size_t a = strlen(path), b = strlen(key);
    char *s = a + b > 400 ? NULL : qn__arena_alloc(&c->paths, a + b + 2);
    if (!s) /* too long or too many: the beginning will do */
        return path;
    memcpy(s, path, a);
    s[a] = '/';
    memcpy(s + a + 1, key, b + 1);
    return s;
}

qn_node qn__schema_fail(qn_schema *c, qn_status code, const char *path, const char *key, const char *what)
{
    char where[512];
    (void)snprintf(where, sizeof where, "%s%s%s", path, key ? "/" : "", key ? key : "");
    return qn__ir_fail(c->ir, code, where, "%s", what);
}

bool qn__schema_no_memory(qn_schema *c)
{
    (void)qn__ir_fail(c->ir, QN_ENOMEM, "schema", "out of memory");
    return false;
}

/* ---- keywords ---- */

/* Known: what they are for decides who reads them. */
static const char *const known[] = {
    "type", "enum", "const", "properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties",
    "maxProperties", "items", "prefixItems", "contains", "minContains", "maxContains", "minItems", "maxItems", "uniqueItems", "minLength", "maxLength", "pattern", "format", "minimum",
    "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "anyOf", "oneOf", "allOf", "$ref", "unevaluatedProperties", "unevaluatedItems",
    "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "\x01strings", "\x01pattern", /* the last two: grammar_logic.c */
    /* annotations and what only names things */
    "title", "description", "default", "examples", "example", "$schema", "$id", "id", "$comment", "$defs", "definitions", "$anchor", "deprecated",
    "readOnly", "writeOnly", "contentEncoding", "contentMediaType", "contentSchema", "$vocabulary", "x-quern-ignore", "$dynamicAnchor", "nullable"};

static bool is_known(const char *key)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(key, known[i]))
            return true;
    return key[0] == 'x' && key[1] == '-';
}

/* Keywords of the standard that are not supported; others that nobody knows are annotations by the standard, but here they are
 * refused as well: a misspelt keyword would be a silent pass. */
static bool check_keywords(qn_schema *c, const qn_schema_part *p)
{
    const char *key;
    json_t *v;
    json_object_foreach(p->s, key, v)
        if (!is_known(key) && !qn__part_ignores(p, key)) {
            (void)qn__schema_fail(c, QN_EUNSUPPORTED, p->path, key, "this keyword is not supported; name it in \"x-quern-ignore\" beside it to go without");
            return false;
        }
    return true;
}

bool qn__part_ignores(const qn_schema_part *p, const char *key)
{
    json_t *list = json_object_get(p->s, "x-quern-ignore"), *v;
    size_t i;
    json_array_foreach(list, i, v)
        if (json_is_string(v) && !strcmp(json_string_value(v), key))
            return true;
    return false;
}

bool qn__conj_add(qn_schema *c, qn_conj *k, json_t *s, const char *path)
{
    if (json_is_true(s) || k->never)
        return true;
    if (json_is_false(s)) {
        k->never = true;
        return true;
    }
    if (!json_is_object(s)) {
        (void)qn__schema_fail(c, QN_EFORMAT, path, NULL, "a schema is an object, true or false");
        return false;
    }
    if (!json_object_size(s))
        return true;
    for (size_t i = 0; i < k->n; i++)
        if (k->v[i].s == s)
            return true;
    if (k->n >= QN_CONJ_MAX) {
        (void)qn__schema_fail(c, QN_ELIMIT, path, NULL, "too many schemas hold at one place");
        return false;
    }
    k->v[k->n++] = (qn_schema_part){s, path};
    return true;
}

bool qn__schema_count(qn_schema *c, const qn_schema_part *p, const char *key, bool *have, uint32_t *v)
{
    json_t *x = qn__part_get(p, key);
    *have = x && !qn__part_ignores(p, key);
    if (!*have)
        return true;
    double d = json_number_value(x);
    if (!json_is_number(x) || d < 0 || d != floor(d)) {
        (void)qn__schema_fail(c, QN_EFORMAT, p->path, key, "a whole number that is not negative is expected");
        return false;
    }
    *v = d >= UINT32_MAX - 1 ? UINT32_MAX - 1 : (uint32_t)d;
    return true;
}

/* ---- references ---- */

/* One step of a JSON pointer, unescaped in place. */
static json_t *step(json_t *at, char *token)
{
    char *out = token;
    for (char *p = token; *p; p++) {
        if (p[0] == '~' && (p[1] == '0' || p[1] == '1'))
            *out++ = *++p == '0' ? '~' : '/';
        else if (p[0] == '%' && p[1] && p[2]) {
            char hex[3] = {p[1], p[2], 0};
            unsigned v = 0;
            if (sscanf(hex, "%2x", &v) != 1)
                return NULL;
            *out++ = (char)v;
            p += 2;
            if (out[-1] == '~' && (p[1] == '0' || p[1] == '1')) {
                out[-1] = p[1] == '0' ? '~' : '/';
                p++;
            }
        } else
            *out++ = *p;
    }
    *out = 0;
    if (json_is_array(at)) {
        unsigned i;
        char rest;
        return sscanf(token, "%u%c", &i, &rest) == 1 ? json_array_get(at, i) : NULL;
    }
    return json_object_get(at, token);
}

/* The schema of that $anchor or $id anywhere in the document; depth-limited by the parser. */
static json_t *find_named(json_t *at, const char *key, const char *name, int depth)
{
    if (depth > 200)
        return NULL;
    if (json_is_object(at)) {
        const char *k, *s = json_string_value(json_object_get(at, key));
        json_t *v;
        if (s && !strcmp(s, name))
            return at;
        json_object_foreach(at, k, v)
        {
            json_t *r = !strcmp(k, "enum") || !strcmp(k, "const") ? NULL : find_named(v, key, name, depth + 1);
            if (r)
                return r;
        }
    } else if (json_is_array(at)) {
        json_t *v;
        size_t i;
        json_array_foreach(at, i, v)
        {
            json_t *r = find_named(v, key, name, depth + 1);
            if (r)
                return r;
        }
    }
    return NULL;
}

/* A schema with an $id of its own inside another is a document of its own: references mean something else there. */
static bool has_inner_id(json_t *at, bool outermost, int depth)
{
    const char *k;
    json_t *v;
    size_t i;
    if (depth > 200)
        return true;
    if (json_is_object(at) && !outermost && json_is_string(json_object_get(at, "$id")))
        return true;
    json_object_foreach(at, k, v) if (strcmp(k, "enum") != 0 && strcmp(k, "const") != 0 && has_inner_id(v, false, depth + 1)) return true;
    json_array_foreach(at, i, v) if (has_inner_id(v, false, depth + 1)) return true;
    return false;
}

json_t *qn__schema_resolve(qn_schema *c, const qn_schema_part *p)
{
    json_t *at = c->root;
    const char *ref = json_string_value(qn__part_get(p, "$ref"));
    char token[512];
    if (!ref) {
        (void)qn__schema_fail(c, QN_EFORMAT, p->path, "$ref", "a text is expected");
        return NULL;
    }
    if (!c->ids)
        c->ids = has_inner_id(c->root, true, 0) ? 2 : 1;
    if (ref[0] != '#' || c->ids == 2) {
        const char *id = json_string_value(json_object_get(c->root, "$id"));
        at = id && c->ids == 1 && !strcmp(id, ref) ? c->root : NULL;
        if (!at)
            (void)qn__schema_fail(c, QN_EUNSUPPORTED, p->path, "$ref", "only references into the schema itself (#/...) are supported");
        return at;
    }
    ref++;
    if (*ref && *ref != '/') {
        at = find_named(c->root, "$anchor", ref, 0);
        if (!at)
            at = find_named(c->root, "$dynamicAnchor", ref, 0);
    } else
        while (at && *ref) {
            size_t n = strcspn(++ref, "/");
            if (n >= sizeof token) {
                at = NULL;
                break;
            }
            memcpy(token, ref, n);
            token[n] = 0;
            at = step(at, token);
            ref += n;
        }
    if (!at)
        (void)qn__schema_fail(c, QN_EFORMAT, p->path, "$ref", "it names nothing in the schema");
    return at;
}

/* Parts that say nothing by themselves, once they are expanded. */
static void drop_empty(qn_conj *k)
{
    static const char *const spent[] = {"$ref", "allOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "title",
                                        "description", "$comment"};
    size_t n = 0;
    for (size_t i = 0; i < k->n; i++) {
        const char *key;
        json_t *v;
        bool says = false;
        json_object_foreach(k->v[i].s, key, v)
        {
            bool one = false;
            for (size_t j = 0; j < sizeof spent / sizeof *spent && !one; j++)
                one = !strcmp(key, spent[j]);
            says = says || !one;
        }
        if (says)
            k->v[n++] = k->v[i];
    }
    k->n = n;
}

bool qn__schema_flatten(qn_schema *c, const qn_conj *k, qn_conj *out)
{
    *out = (qn_conj){.never = k->never};
    for (size_t i = 0; i < k->n; i++)
        if (!qn__conj_add(c, out, k->v[i].s, k->v[i].path))
            return false;
    for (size_t i = 0; i < out->n && !out->never; i++) {
        qn_schema_part p = out->v[i];
        if (!check_keywords(c, &p))
            return false;
        if (qn__part_get(&p, "$ref") && !qn__part_ignores(&p, "$ref")) {
            json_t *to = qn__schema_resolve(c, &p);
            if (!to || !qn__conj_add(c, out, to, json_string_value(qn__part_get(&p, "$ref"))))
                return false;
        }
        if (!qn__schema_rewrite(c, &p, out))
            return false;
        json_t *all = qn__part_get(&p, "allOf"), *v;
        size_t n;
        if (qn__part_ignores(&p, "allOf"))
            continue;
        if (all && !json_is_array(all))
            return qn__schema_fail(c, QN_EFORMAT, p.path, "allOf", "a list of schemas is expected") >= 0;
        json_array_foreach(all, n, v)
        {
            char key[32];
            (void)snprintf(key, sizeof key, "allOf/%zu", n);
            if (!qn__conj_add(c, out, v, qn__schema_path(c, p.path, key)))
                return false;
        }
    }
    if (!qn__schema_cases(c, out))
        return false;
    drop_empty(out);
    return true;
}

/* ---- values ---- */

unsigned qn__schema_type_of(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_NULL: return QN_T_NULL;
    case JSON_TRUE:
    case JSON_FALSE: return QN_T_BOOL;
    case JSON_INTEGER: return QN_T_INT;
    case JSON_REAL: return json_real_value(v) == floor(json_real_value(v)) ? QN_T_INT : QN_T_NUM;
    case JSON_STRING: return QN_T_STR;
    case JSON_ARRAY: return QN_T_ARR;
    default: return QN_T_OBJ;
    }
}

static unsigned named_type(const char *s)
{
    static const struct {
        const char *name;
        unsigned bit;
    } names[] = {{"null", QN_T_NULL},  {"boolean", QN_T_BOOL}, {"integer", QN_T_INT}, {"number", QN_T_INT | QN_T_NUM},
                 {"string", QN_T_STR}, {"array", QN_T_ARR},    {"object", QN_T_OBJ},   {"\x01" "fraction", QN_T_NUM}};
    for (size_t i = 0; s && i < sizeof names / sizeof *names; i++)
        if (!strcmp(s, names[i].name))
            return names[i].bit;
    return 0;
}

unsigned qn__schema_part_types(const json_t *s)
{
    json_t *t = json_object_get(s, "type"), *v;
    unsigned m = 0;
    size_t i;
    if (!t)
        return QN_T_ALL;
    if (json_is_string(t))
        m = named_type(json_string_value(t));
    json_array_foreach(t, i, v) m |= named_type(json_string_value(v));
    if (json_is_true(json_object_get(s, "nullable")))
        m |= QN_T_NULL;
    return m;
}

unsigned qn__schema_types(const qn_conj *k)
{
    unsigned m = QN_T_ALL;
    for (size_t i = 0; i < k->n; i++)
        if (!qn__part_ignores(&k->v[i], "type"))
            m &= qn__schema_part_types(k->v[i].s);
    return m;
}

bool qn__schema_check_types(qn_schema *c, const qn_schema_part *p)
{
    json_t *t = qn__part_get(p, "type"), *v;
    size_t i;
    bool ok = !t || (json_is_string(t) ? named_type(json_string_value(t)) != 0 : json_is_array(t));
    json_array_foreach(t, i, v) ok = ok && named_type(json_string_value(v)) != 0;
    if (!ok && !qn__part_ignores(p, "type"))
        (void)qn__schema_fail(c, QN_EFORMAT, p->path, "type", "not a type (null, boolean, integer, number, string, array, object) or a list of them");
    return ok;
}

/* json_equal, but 1 and 1.0 are one number. */
bool qn__schema_same(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    if (json_typeof(a) != json_typeof(b))
        return false;
    if (json_is_array(a)) {
        size_t n = json_array_size(a), i = 0;
        if (n != json_array_size(b))
            return false;
        while (i < n && qn__schema_same(json_array_get(a, i), json_array_get(b, i)))
            i++;
        return i == n;
    }
    if (json_is_object(a)) {
        const char *key;
        json_t *v;
        if (json_object_size(a) != json_object_size(b))
            return false;
        json_object_foreach((json_t *)a, key, v)
        {
            const json_t *w = json_object_get(b, key);
            if (!w || !qn__schema_same(v, w))
                return false;
        }
        return true;
    }
    return json_equal(a, b);
}

bool qn__schema_among(const json_t *list, const json_t *v)
{
    const json_t *x;
    size_t i;
    json_array_foreach(list, i, x) if (qn__schema_same(x, v)) return true;
    return false;
}

/* The text that is compiled from k, asked whether it takes the value: the one definition of what a schema means. */
static int matches_compiled(qn_schema *c, const qn_conj *k, json_t *value)
{
    static const qn_json_style compact = {.compact = true};
    qn_ir *ir = NULL;
    qn_grammar *g = NULL;
    qn_matcher *m = NULL;
    qn_err err = {0};
    int r = -1;
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    qn_schema sub = {.style = &compact, .ids = c->ids, .root = c->root, .owned = c->owned, .made = c->made, .looks = c->looks, .places = c->places, .depth = c->depth};
    if (!text) {
        (void)qn__schema_no_memory(c);
        return -1;
    }
    if (qn__ir_open(NULL, &ir, &err))
        goto out;
    sub.ir = ir;
    ir->work = c->ir->work;
    qn_node n = qn__schema_node(&sub, k);
    c->places = sub.places;
    c->looks = sub.looks;
    c->ir->work = ir->work;
    qn__ir_root(ir, n);
    if (qn__ir_check(ir, &err))
        goto out;
    qn_status st = qn__grammar_compile(ir, NULL, &g, &err);
    if (st == QN_EFORMAT) { /* nothing can match */
        r = 0;
        goto out;
    }
    if (st || qn__matcher_open(g, &m, &err))
        goto out;
    r = qn__matcher_accept_bytes(m, text, strlen(text)) && qn__matcher_may_end(m);
out:
    if (r < 0)
        (void)qn__ir_fail(c->ir, err.code, err.where, "%s", err.what);
    qn__matcher_close(m);
    qn__grammar_drop(g);
    qn__ir_close(ir);
    qn__arena_free(&sub.paths);
    free(text);
    return r;
}

int qn__schema_holds(qn_schema *c, const qn_conj *k, json_t *value)
{
    qn_conj flat, rest = {0};
    if (k->never)
        return 0;
    if (!k->n)
        return 1;
    if (!qn__schema_flatten(c, k, &flat))
        return -1;
    if (flat.never || !(qn__schema_types(&flat) & qn__schema_type_of(value)))
        return 0;
    for (size_t i = 0; i < flat.n; i++) {
        const qn_schema_part *p = &flat.v[i];
        json_t *e = qn__part_get(p, "enum"), *v = qn__part_get(p, "const");
        if ((e && !qn__part_ignores(p, "enum") && !qn__schema_among(e, value)) || (v && !qn__part_ignores(p, "const") && !qn__schema_same(v, value)))
            return 0;
        static const char *const others[] = {"type", "enum", "const", "title", "description", "default", "x-quern-ignore", "$ref", "allOf",
                                             "$defs", "definitions", "$schema", "$id", "examples", "nullable", "$comment", "$anchor"};
        const char *key;
        json_t *w;
        json_object_foreach(p->s, key, w)
        {
            bool simple = qn__part_ignores(p, key);
            for (size_t o = 0; o < sizeof others / sizeof *others && !simple; o++)
                simple = !strcmp(key, others[o]);
            if (!simple) { /* the rest of this schema is asked by compiling it */
                json_t *copy = json_copy(p->s);
                for (size_t o = 1; copy && o < sizeof others / sizeof *others; o++)
                    if (strcmp(others[o], "x-quern-ignore") != 0)
                        (void)json_object_del(copy, others[o]);
                if (!copy || json_array_append_new(c->owned, copy))
                    return qn__schema_no_memory(c) ? 0 : -1;
                for (const char *const *gone = qn__schema_rewritten; *gone; gone++)
                    (void)json_object_del(copy, *gone);
                if (!qn__conj_add(c, &rest, copy, p->path))
                    return -1;
                break;
            }
        }
    }
    return rest.n ? matches_compiled(c, &rest, value) : 1;
}

/* Its members in any order, as in every object. */
static qn_node object_literal(qn_schema *c, json_t *v)
{
    qn_ir *ir = c->ir;
    qn_ir_member m[QN_MEMBERS_MAX];
    size_t n = 0;
    const char *key;
    json_t *x;
    if (!json_object_size(v))
        return qn__ir_puts(ir, "{}");
    if (json_object_size(v) > QN_MEMBERS_MAX)
        return qn__schema_fail(c, QN_ELIMIT, "#", "const", "an object of more than 64 members as a constant");
    json_object_foreach(v, key, x)
    {
        json_t *s = json_string(key);
        if (!s) {
            (void)qn__schema_no_memory(c);
            return -1;
        }
        qn_node one = QN_SEQ(ir, qn__schema_literal(c, s), qn__json_colon(ir, c->style), qn__schema_literal(c, x));
        json_decref(s);
        m[n++] = (qn_ir_member){one, QN_SEQ(ir, qn__json_comma(ir, c->style), one), true, false};
    }
    qn_node in = qn__json_inside(ir, c->style);
    return QN_SEQ(ir, qn__ir_puts(ir, "{"), in, qn__ir_collect(ir, m, n, 1, UINT32_MAX), in, qn__ir_puts(ir, "}"));
}

qn_node qn__schema_literal(qn_schema *c, json_t *v)
{
    qn_ir *ir = c->ir;
    qn_node n = -1;
    if (json_is_object(v))
        return object_literal(c, v);
    if (json_is_array(v)) {
        /* Spaces as the style has them: the value, taken apart. */
        qn_node *list = NULL;
        size_t cap = 0, k = 0, i;
        json_t *x;
        bool ok = qn__grow((void **)&list, &cap, 3, sizeof *list);
        if (ok)
            list[k++] = qn__ir_puts(ir, "[");
        json_array_foreach(v, i, x)
        {
            ok = ok && qn__grow((void **)&list, &cap, k + 4, sizeof *list);
            if (!ok)
                break;
            list[k++] = i ? qn__json_comma(ir, c->style) : qn__json_inside(ir, c->style);
            list[k++] = qn__schema_literal(c, x);
        }
        if (ok) {
            if (k > 1)
                list[k++] = qn__json_inside(ir, c->style);
            list[k++] = qn__ir_puts(ir, "]");
            n = qn__ir_seq(ir, list, k);
        } else
            (void)qn__schema_no_memory(c);
        qn_free(list);
        return n;
    }
    char *text;
    if (json_is_real(v) && json_real_value(v) == floor(json_real_value(v)) && fabs(json_real_value(v)) < 1e15) {
        char whole[32];
        (void)snprintf(whole, sizeof whole, "%.0f", json_real_value(v) == 0 ? 0.0 : json_real_value(v));
        return qn__ir_puts(ir, whole);
    }
    text = json_dumps(v, JSON_ENCODE_ANY);
    if (!text) {
        (void)qn__schema_no_memory(c);
        return -1;
    }
    if (json_is_real(v)) /* the shortest that reads back: what other writers write */
        for (int digits = 1; digits < 18; digits++) {
            char s[40];
            (void)snprintf(s, sizeof s, "%.*g", digits, json_real_value(v));
            double back;
            if (sscanf(s, "%lf", &back) == 1 && back == json_real_value(v)) {
                free(text);
                return qn__ir_puts(ir, s);
            }
        }
    n = qn__ir_puts(ir, text);
    free(text);
    return n;
}

static qn_node values(qn_schema *c, const qn_conj *k, json_t *list)
{
    qn_node *v = NULL, out = -1;
    size_t n = 0, cap = 0, i;
    json_t *x;
    qn_conj rest = {0};
    /* The list itself need not be asked about again. */
    for (size_t p = 0; p < k->n; p++) {
        json_t *s = k->v[p].s;
        bool own = json_object_get(s, "enum") == list && !json_object_get(s, "const");
        if (own && json_object_size(s) > 1) {
            s = json_copy(s);
            if (!s || json_array_append_new(c->owned, s)) {
                (void)qn__schema_no_memory(c);
                return -1;
            }
            (void)json_object_del(s, "enum");
        } else if (own) {
            continue;
        }
        if (!qn__conj_add(c, &rest, s, k->v[p].path))
            return -1;
    }
    json_array_foreach(list, i, x)
    {
        int holds = qn__schema_holds(c, &rest, x);
        if (holds < 0)
            goto out;
        if (!holds)
            continue;
        if (!qn__grow((void **)&v, &cap, n + 1, sizeof *v)) {
            (void)qn__schema_no_memory(c);
            goto out;
        }
        v[n++] = qn__schema_literal(c, x);
    }
    out = qn__ir_alt(c->ir, v, n);
out:
    qn_free(v);
    return out;
}

/* ---- a place ---- */

qn_node qn__schema_share(qn_schema *c, qn_node n)
{
    char name[48];
    if (n < 0)
        return -1;
    uint8_t kind = c->ir->nodes[n].kind;
    if (kind == QN_IR_RULE || kind == QN_IR_TEXT)
        return n;
    (void)snprintf(name, sizeof name, "\x02%u.%u", c->id, c->n_rules++);
    qn_node ref = qn__ir_rule(c->ir, name);
    qn__ir_define(c->ir, name, n);
    return ref;
}

/* A lone reference: its target is a rule, so that recursion ends. */
static qn_node reference(qn_schema *c, const qn_schema_part *p)
{
    char name[64];
    json_t *to = qn__schema_resolve(c, p);
    if (!to)
        return -1;
    (void)snprintf(name, sizeof name, "\x03%u.%p", c->id, (void *)to);
    qn_node ref = qn__ir_rule(c->ir, name);
    if (ref < 0)
        return -1;
    struct qn_ir_rule *r = &c->ir->rules[c->ir->nodes[ref].a];
    if (r->body >= 0 || r->body == -2)
        return ref;
    r->body = -2; /* being made */
    uint32_t rule = c->ir->nodes[ref].a;
    int depth = c->depth;
    qn_conj k = {0};
    qn_node body = qn__conj_add(c, &k, to, json_string_value(qn__part_get(p, "$ref"))) ? qn__schema_node(c, &k) : -1;
    c->depth = depth;
    c->ir->rules[rule].body = body < 0 ? -1 : body;
    return body < 0 ? -1 : ref;
}

static bool only_reference(const qn_conj *k)
{
    const char *key;
    json_t *v;
    if (k->n != 1 || k->never || !qn__part_get(&k->v[0], "$ref") || qn__part_ignores(&k->v[0], "$ref"))
        return false;
    json_object_foreach(k->v[0].s, key, v)
    {
        static const char *const harmless[] = {"$ref", "title", "description", "default", "examples", "$defs", "definitions", "$comment",
                                               "$schema", "deprecated", "readOnly", "writeOnly", "$id", "$anchor"};
        bool ok = false;
        for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
            ok |= !strcmp(key, harmless[i]);
        if (!ok)
            return false;
    }
    return true;
}

static qn_node by_type(qn_schema *c, const qn_conj *k)
{
    unsigned types = qn__schema_types(k);
    qn_node v[8];
    size_t n = 0;
    if (types & QN_T_OBJ)
        v[n++] = qn__schema_object(c, k);
    if (types & QN_T_ARR)
        v[n++] = qn__schema_array(c, k);
    if (types & QN_T_STR)
        v[n++] = qn__schema_string(c, k);
    if (types & (QN_T_NUM | QN_T_INT))
        v[n++] = qn__schema_number(c, k, types & (QN_T_NUM | QN_T_INT));
    if (types & QN_T_BOOL) {
        v[n++] = qn__ir_puts(c->ir, "true");
        v[n++] = qn__ir_puts(c->ir, "false");
    }
    if (types & QN_T_NULL)
        v[n++] = qn__ir_puts(c->ir, "null");
    for (size_t i = 0; i < n; i++)
        if (v[i] < 0)
            return -1;
    return qn__ir_alt(c->ir, v, n);
}

static qn_node place(qn_schema *c, const qn_conj *k)
{
    qn_conj *flat = qn__alloc(sizeof *flat);
    qn_node out = -1;
    if (!flat) {
        (void)qn__schema_no_memory(c);
        return -1;
    }
    if (!qn__schema_flatten(c, k, flat))
        goto out;
    if (flat->never) {
        out = qn__ir_alt(c->ir, NULL, 0);
        goto out;
    }
    for (size_t i = 0; i < flat->n; i++)
        if (!qn__schema_check_types(c, &flat->v[i]) && c->ir->err.code)
            goto out;
    for (size_t i = 0; i < flat->n; i++)
        for (int u = 0; u < 2; u++) {
            const char *key = u ? "oneOf" : "anyOf";
            if (qn__part_get(&flat->v[i], key) && !(u == 0 && qn__part_ignores(&flat->v[i], key))) {
                /* An ignored oneOf is an anyOf: that much can still be promised. */
                if (u == 1 && qn__part_ignores(&flat->v[i], key)) {
                    json_t *copy = json_copy(flat->v[i].s);
                    if (!copy || json_array_append_new(c->owned, copy) || json_object_set(copy, "anyOf", json_object_get(copy, "oneOf"))) {
                        (void)qn__schema_no_memory(c);
                        goto out;
                    }
                    (void)json_object_del(copy, "oneOf");
                    flat->v[i].s = copy;
                    key = "anyOf";
                }
                if (qn__schema_strip(c, flat))
                    out = qn__schema_split(c, flat, i, key);
                goto out;
            }
        }
    for (size_t i = 0; i < flat->n; i++) {
        const qn_schema_part *p = &flat->v[i];
        json_t *e = qn__part_get(p, "enum"), *v = qn__part_get(p, "const");
        if (v && !qn__part_ignores(p, "const")) {
            int holds = qn__schema_holds(c, flat, v);
            if (holds >= 0)
                out = holds ? qn__schema_literal(c, v) : qn__ir_alt(c->ir, NULL, 0);
            goto out;
        }
        if (e && !qn__part_ignores(p, "enum")) {
            out = json_is_array(e) ? values(c, flat, e) : qn__schema_fail(c, QN_EFORMAT, p->path, "enum", "a list of values is expected");
            goto out;
        }
    }
    out = flat->n ? by_type(c, flat) : qn__ir_json(c->ir, c->style);
out:
    qn_free(flat);
    return out;
}

/* Nothing but a negation. */
static json_t *only_not(const qn_conj *k)
{
    return k->n == 1 && !k->never && json_object_size(k->v[0].s) == 1 ? qn__part_get(&k->v[0], "not") : NULL;
}

qn_node qn__schema_node(qn_schema *c, const qn_conj *k)
{
    qn_conj other;
    for (json_t *s; !c->ir->err.code && c->places++ < QN_SCHEMA_WORK && (s = only_not(k)); k = &other) {
        const char *path = qn__schema_path(c, k->v[0].path, "not"); /* of two, nothing is left: a reference stays a reference */
        json_t *rest = qn__schema_complement(c, s, path);
        other = (qn_conj){0};
        if (!rest || !qn__conj_add(c, &other, rest, path))
            return -1;
    }
    if (c->ir->err.code)
        return -1;
    c->places += k->n / 4; /* what looking at it costs */
    if (c->places > QN_SCHEMA_WORK)
        return qn__schema_fail(c, QN_ELIMIT, k->n ? k->v[0].path : "#", NULL, "the schema is too large when it is written out");
    if (c->depth >= QN_SCHEMA_DEPTH)
        return qn__schema_fail(c, QN_ELIMIT, k->n ? k->v[0].path : "#", NULL, "schemas or references are nested too deeply");
    c->depth++;
    qn_node n = only_reference(k) ? reference(c, &k->v[0]) : place(c, k);
    c->depth--;
    return n;
}

qn_node qn__ir_schema(qn_ir *ir, const json_t *schema, const qn_json_style *style, const char *where, qn_err *err)
{
    qn_schema c = {.ir = ir, .style = style, .root = (json_t *)schema, .owned = json_array(), .made = json_object(), .id = ir->n_schemas++};
    qn_conj k = {0};
    qn_node n = -1;
    qn__arena_init(&c.paths, (size_t)8 << 20);
    if (!c.owned || !c.made)
        (void)qn__schema_no_memory(&c);
    else if (qn__conj_add(&c, &k, (json_t *)schema, where ? where : "#"))
        n = k.never ? qn__ir_alt(ir, NULL, 0) : qn__schema_node(&c, &k);
    json_decref(c.owned);
    json_decref(c.made);
    qn__arena_free(&c.paths);
    if (n < 0)
        (void)qn__ir_check(ir, err);
    return n;
}
