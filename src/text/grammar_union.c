/* grammar_union.c - JSON Schema: anyOf and oneOf become alternatives; which of them can hold at all; can two schemas both match?
 *
 * A branch that contradicts what holds beside it is dropped before it is written out: twenty `if`s over one discriminator are
 * twenty alternatives then, and not two to the twentieth. */
#include <math.h>
#include <stdio.h>

#include "text/grammar_schema.h"

/* A keyword that is not ignored. */
static json_t *held(json_t *s, const char *key)
{
    const qn_schema_part p = {s, ""};
    return qn__part_ignores(&p, key) ? NULL : json_object_get(s, key);
}

static bool requires_key(json_t *s, const char *key)
{
    json_t *list = held(s, "required"), *v;
    size_t i;
    json_array_foreach(list, i, v) if (json_is_string(v) && !strcmp(json_string_value(v), key)) return true;
    return false;
}

static bool values_disjoint(json_t *a, json_t *b)
{
    json_t *x;
    size_t i;
    json_array_foreach(a, i, x) if (qn__schema_among(b, x)) return false;
    return true;
}

static bool values_within(json_t *a, json_t *b)
{
    json_t *x;
    size_t i;
    json_array_foreach(a, i, x) if (!qn__schema_among(b, x)) return false;
    return true;
}

static double bound(json_t *s, bool low, bool *open)
{
    json_t *only = held(s, "const");
    *open = false;
    if (json_is_number(only))
        return json_number_value(only);
    json_t *x = held(s, low ? "minimum" : "maximum"), *y = held(s, low ? "exclusiveMinimum" : "exclusiveMaximum");
    double v = json_is_number(x) ? json_number_value(x) : low ? -INFINITY : INFINITY;
    *open = false;
    if (json_is_number(y) && (low ? json_number_value(y) >= v : json_number_value(y) <= v)) {
        v = json_number_value(y);
        *open = true;
    }
    return v;
}

/* The lower bound of x lies above the upper one of y. */
static bool nothing_between(json_t *x, json_t *y, bool whole)
{
    bool open_low, open_high;
    double low = bound(x, true, &open_low), high = bound(y, false, &open_high);
    if (whole) {
        low = open_low ? floor(low) + 1 : ceil(low);
        high = open_high ? ceil(high) - 1 : floor(high);
        open_low = open_high = false;
    }
    return low > high || (low == high && (open_low || open_high));
}

/* Some part of k is a union of which no branch has anything in common with b. */
static bool union_disjoint(qn_schema *c, const qn_conj *k, json_t *b, unsigned types, const char *path, int depth)
{
    static const char *const unions[] = {"anyOf", "oneOf"};
    for (size_t i = 0; i < k->n; i++)
        for (int u = 0; u < 2; u++) {
            json_t *list = qn__part_get(&k->v[i], unions[u]);
            size_t n = json_array_size(list), at = 0;
            if (!n || n > 32 || qn__part_ignores(&k->v[i], unions[u]))
                continue;
            while (at < n && qn__schema_disjoint(c, json_array_get(list, at), b, types, path, depth + 1))
                at++;
            if (at == n)
                return true;
        }
    return false;
}

bool qn__schema_disjoint(qn_schema *c, json_t *a, json_t *b, unsigned types, const char *path, int depth)
{
    qn_conj ka = {0}, kb = {0}, fa, fb;
    if (json_is_false(a) || json_is_false(b))
        return true;
    if (++c->looks > QN_SCHEMA_LOOKS) {
        (void)qn__schema_fail(c, QN_ELIMIT, path, NULL, "too many alternatives are to be told apart");
        return false;
    }
    if (depth > 4 || !json_is_object(a) || !json_is_object(b) || !qn__conj_add(c, &ka, a, path) || !qn__conj_add(c, &kb, b, path) ||
        !qn__schema_flatten(c, &ka, &fa) || !qn__schema_flatten(c, &kb, &fb))
        return false;
    if (fa.never || fb.never)
        return true;
    unsigned both = types & qn__schema_types(&fa) & qn__schema_types(&fb);
    if (!both)
        return true;
    for (size_t i = 0; i < fa.n; i++)
        for (size_t j = 0; j < fb.n; j++) {
            json_t *x = fa.v[i].s, *y = fb.v[j].s, *v;
            json_t *ex = held(x, "enum"), *ey = held(y, "enum"), *cx = held(x, "const"),
                   *cy = held(y, "const"), *nx = held(x, "\x01strings"), *ny = held(y, "\x01strings");
            if ((cx && qn__schema_among(ny, cx)) || (cy && qn__schema_among(nx, cy)) || (ex && ny && values_within(ex, ny)) || (ey && nx && values_within(ey, nx)))
                return true;
            if ((ex && ey && values_disjoint(ex, ey)) || (cx && ey && !qn__schema_among(ey, cx)) || (ex && cy && !qn__schema_among(ex, cy)) ||
                (cx && cy && !qn__schema_same(cx, cy)))
                return true;
            if ((cx && !(qn__schema_types(&fb) & qn__schema_type_of(cx))) || (cy && !(qn__schema_types(&fa) & qn__schema_type_of(cy))))
                return true;
            if (!(both & ~(unsigned)(QN_T_INT | QN_T_NUM)) && (nothing_between(x, y, both == QN_T_INT) || nothing_between(y, x, both == QN_T_INT)))
                return true;
            if (both != QN_T_OBJ)
                continue;
            const char *key;
            json_object_foreach(held(x, "properties"), key, v)
            {
                json_t *w = json_object_get(held(y, "properties"), key);
                if (w && (requires_key(x, key) || requires_key(y, key)) && qn__schema_disjoint(c, v, w, QN_T_ALL, path, depth + 1))
                    return true;
            }
            /* One asks for a key that the other does not allow. */
            for (int swap = 0; swap < 2; swap++) {
                json_t *need = swap ? y : x, *closed = swap ? x : y, *r;
                size_t n;
                if (!json_is_false(held(closed, "additionalProperties")) || held(closed, "patternProperties"))
                    continue;
                json_array_foreach(held(need, "required"), n, r)
                    if (json_is_string(r) && !json_object_get(held(closed, "properties"), json_string_value(r)))
                        return true;
            }
        }
    return union_disjoint(c, &fa, b, both, path, depth) || union_disjoint(c, &fb, a, both, path, depth);
}

/* What has been written out; whatever it adds lies in the same conjunction. */
void qn__schema_drop_expanded(json_t *s)
{
    (void)json_object_del(s, "$ref");
    (void)json_object_del(s, "allOf");
    for (const char *const *key = qn__schema_rewritten; *key; key++)
        (void)json_object_del(s, *key);
}

static bool has_expanded(json_t *s)
{
    bool has = held(s, "$ref") || held(s, "allOf");
    for (const char *const *key = qn__schema_rewritten; *key && !has; key++)
        has = json_object_get(s, *key) != NULL;
    return has;
}

/* What references, allOf and negation add is in k already; a branch must not add it again, with the union that it is a branch of. */
bool qn__schema_strip(qn_schema *c, qn_conj *k)
{
    for (size_t i = 0; i < k->n; i++) {
        json_t *s = k->v[i].s;
        if (!has_expanded(s))
            continue;
        s = json_copy(s);
        if (!s || json_array_append_new(c->owned, s))
            return qn__schema_no_memory(c);
        qn__schema_drop_expanded(s);
        k->v[i].s = s;
    }
    return true;
}

/* The branches of a oneOf, each with what it takes that no other holds: nothing where two cannot both match, else the other's
 * complement. NULL: failed. */
static json_t *apart(qn_schema *c, const qn_schema_part *p, json_t *list)
{
    const size_t n = json_array_size(list);
    const char *path = qn__schema_path(c, p->path, "oneOf");
    json_t *out = json_array();
    if (!out || json_array_append_new(c->owned, out) || (n <= 200 && json_array_extend(out, list))) {
        (void)qn__schema_no_memory(c);
        return NULL;
    }
    if (n > 200) {
        (void)qn__schema_fail(c, QN_EUNSUPPORTED, p->path, "oneOf", "more than 200 alternatives; use anyOf, or name it in \"x-quern-ignore\"");
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++) {
            json_t *a = json_array_get(list, i), *b = json_array_get(list, j);
            if (qn__schema_disjoint(c, a, b, QN_T_ALL, path, 0))
                continue;
            if (c->ir->err.code)
                return NULL;
            if (n > 12) {
                (void)qn__schema_fail(c, QN_EUNSUPPORTED, p->path, "oneOf", "it is not certain that a value matches one alternative only; use anyOf, or name it in \"x-quern-ignore\"");
                return NULL;
            }
            json_t *x = json_pack("{s:[O{s:O}]}", "allOf", json_array_get(out, i), "not", b),
                   *y = json_pack("{s:[O{s:O}]}", "allOf", json_array_get(out, j), "not", a);
            if (!x || !y || json_array_set_new(out, i, x) || json_array_set_new(out, j, y)) {
                (void)qn__schema_no_memory(c);
                return NULL;
            }
        }
    return out;
}

static bool requires_some(const qn_conj *k, const char *key)
{
    for (size_t i = 0; i < k->n; i++)
        if (requires_key(k->v[i].s, key))
            return true;
    return false;
}

/* Of the property of that name, as far as k says it by itself. */
static unsigned types_at(const qn_conj *k, const char *key)
{
    unsigned types = QN_T_ALL;
    for (size_t i = 0; i < k->n; i++) {
        json_t *s = json_object_get(held(k->v[i].s, "properties"), key);
        if (json_is_object(s) && held(s, "type"))
            types &= qn__schema_part_types(s);
    }
    return types;
}

/* Is it certain that no value matches both k and the branch v? What is not noticed only costs: discriminators must be. */
static bool clashes(qn_schema *c, const qn_conj *k, json_t *v, const char *path)
{
    qn_conj one = {0}, *flat;
    bool found = json_is_false(v);
    if (!json_is_object(v) || !qn__conj_add(c, &one, v, path) || !(flat = qn__alloc(sizeof *flat)))
        return found;
    if (!qn__schema_flatten(c, &one, flat))
        goto out;
    found = flat->never || !(qn__schema_types(k) & qn__schema_types(flat));
    bool objects = !((qn__schema_types(k) & qn__schema_types(flat)) & ~(unsigned)QN_T_OBJ);
    c->looks += (uint32_t)(flat->n * k->n / 4);
    for (size_t i = 0; i < flat->n && !found && !c->ir->err.code; i++)
        for (size_t j = 0; j < k->n && !found; j++) {
            const char *key;
            json_t *x = flat->v[i].s, *y = k->v[j].s, *s;
            json_t *a = held(x, "properties"), *b = held(y, "properties");
            if (!objects) {
                found = qn__schema_disjoint(c, x, y, qn__schema_types(k), path, 1);
                continue;
            }
            json_object_foreach(a, key, s)
                if (!found && requires_some(k, key) && json_object_get(b, key))
                    found = qn__schema_disjoint(c, s, json_object_get(b, key), types_at(k, key), path, 1);
            json_object_foreach(a, key, s) found = found || (json_is_false(s) && requires_some(k, key));
            json_object_foreach(b, key, s)
                if (!found && requires_some(flat, key))
                    found = json_is_false(s) || (json_object_get(a, key) && qn__schema_disjoint(c, s, json_object_get(a, key), types_at(k, key), path, 1));
        }
out:
    qn_free(flat);
    return found;
}

/* Part `at` of k has the union `key`: one alternative per branch. */
qn_node qn__schema_split(qn_schema *c, const qn_conj *k, size_t at, const char *key)
{
    const qn_schema_part *p = &k->v[at];
    json_t *list = qn__part_get(p, key), *rest = json_copy(p->s), *v;
    size_t n, count = json_array_size(list);
    if (!json_is_array(list) || !count) {
        json_decref(rest);
        return qn__schema_fail(c, QN_EFORMAT, p->path, key, "a list of schemas is expected");
    }
    if (!rest || json_array_append_new(c->owned, rest)) {
        (void)qn__schema_no_memory(c);
        return -1;
    }
    (void)json_object_del(rest, key);
    const char *path = qn__schema_path(c, p->path, key);
    if (!strcmp(key, "oneOf") && !(list = apart(c, p, list)))
        return -1;
    qn_node *nodes = qn__alloc(count * sizeof *nodes), out = -1;
    if (!nodes) {
        (void)qn__schema_no_memory(c);
        return -1;
    }
    bool ok = true;
    json_array_foreach(list, n, v)
    {
        qn_conj one = {0};
        char index[24];
        (void)snprintf(index, sizeof index, "%zu", n);
        for (size_t i = 0; ok && i < k->n; i++)
            ok = qn__conj_add(c, &one, i == at ? rest : k->v[i].s, k->v[i].path);

        const bool dead = ok && clashes(c, &one, v, path);
        ok = ok && !c->ir->err.code && qn__conj_add(c, &one, v, qn__schema_path(c, path, index));
        nodes[n] = !ok ? -1 : dead ? qn__ir_alt(c->ir, NULL, 0) : qn__schema_node(c, &one);
        ok = ok && nodes[n] >= 0;
        if (!ok)
            break;
    }
    if (ok)
        out = qn__ir_alt(c->ir, nodes, count);
    qn_free(nodes);
    return out;
}
