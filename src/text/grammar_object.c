/* grammar_object.c - JSON Schema: objects. Properties may come in any order, each once: they are the members of a collection.
 * An object with more than 64 named properties has them in the order of the schema. Other keys are automata: whatever is not
 * named, divided by the patterns that match it. */
#include <stdio.h>

#include "text/grammar_schema.h"


typedef struct pattern {
    qn_fa fa;
    size_t part;
    json_t *schema;
    const char *path;
} pattern;

typedef struct object {
    qn_schema *c;
    const qn_conj *k;
    json_t *names;            /* array of texts, in order */
    json_t *required;         /* object: name -> true */
    pattern patterns[QN_PATTERNS_MAX];
    size_t n_patterns;
    uint32_t min, max;
    qn_conj keys;             /* propertyNames */
    qn_ir_member *members;
    size_t n_members, cap_members, n_required;
    bool extra;
} object;

static bool add_name(object *o, json_t *seen, const char *key)
{
    if (json_object_get(seen, key))
        return true;
    if (json_array_size(o->names) >= QN_NAMES_MAX)
        return qn__schema_fail(o->c, QN_ELIMIT, o->k->v[0].path, "properties", "more than 4000 properties of one object") >= 0;
    if (json_object_set_new(seen, key, json_true()) || json_array_append_new(o->names, json_string(key)))
        return qn__ir_fail(o->c->ir, QN_ENOMEM, "schema", "out of memory") >= 0;
    return true;
}

static bool gather_part(object *o, json_t *seen, size_t at)
{
    const qn_schema_part *p = &o->k->v[at];
    qn_schema *c = o->c;
    const char *key;
    json_t *v;
    size_t i;
    bool have;
    uint32_t n;
    static const char *const objects[] = {"properties", "patternProperties"};
    for (int j = 0; j < 2; j++)
        if (qn__part_get(p, objects[j]) && !json_is_object(qn__part_get(p, objects[j])))
            return qn__schema_fail(c, QN_EFORMAT, p->path, objects[j], "an object is expected") >= 0;
    if (!qn__part_ignores(p, "properties"))
        json_object_foreach(qn__part_get(p, "properties"), key, v) if (!add_name(o, seen, key)) return false;
    v = qn__part_ignores(p, "required") ? NULL : qn__part_get(p, "required");
    if (v && !json_is_array(v))
        return qn__schema_fail(c, QN_EFORMAT, p->path, "required", "a list of names is expected") >= 0;
    json_t *r;
    json_array_foreach(v, i, r)
    {
        if (!json_is_string(r))
            return qn__schema_fail(c, QN_EFORMAT, p->path, "required", "a list of names is expected") >= 0;
        if (!add_name(o, seen, json_string_value(r)) || json_object_set_new(o->required, json_string_value(r), json_true()))
            return false;
    }
    if (!qn__schema_count(c, p, "minProperties", &have, &n))
        return false;
    o->min = have && n > o->min ? n : o->min;
    if (!qn__schema_count(c, p, "maxProperties", &have, &n))
        return false;
    o->max = have && n < o->max ? n : o->max;
    v = qn__part_get(p, "propertyNames");
    if (v && !qn__part_ignores(p, "propertyNames") && !qn__conj_add(c, &o->keys, v, qn__schema_path(c, p->path, "propertyNames")))
        return false;
    if (qn__part_get(p, "unevaluatedProperties") && !qn__part_ignores(p, "unevaluatedProperties") && o->k->n > 1)
        return qn__schema_fail(c, QN_EUNSUPPORTED, p->path, "unevaluatedProperties", "it is supported only where nothing else describes the same object") >= 0;
    if (qn__part_ignores(p, "patternProperties"))
        return true;
    json_object_foreach(qn__part_get(p, "patternProperties"), key, v)
    {
        const char *path = qn__schema_path(c, qn__schema_path(c, p->path, "patternProperties"), key);
        if (o->n_patterns == QN_PATTERNS_MAX)
            return qn__schema_fail(c, QN_EUNSUPPORTED, p->path, "patternProperties", "more than 4 patterns for one object") >= 0;
        pattern *x = &o->patterns[o->n_patterns];
        if (!qn__schema_pattern_fa(c, key, path, &x->fa))
            return false;
        x->part = at;
        x->schema = v;
        x->path = path;
        o->n_patterns++;
    }
    return true;
}

/* What holds for other keys of part p. */
static bool add_others(object *o, const qn_schema_part *p, qn_conj *out)
{
    static const char *const keys[] = {"additionalProperties", "unevaluatedProperties"};
    for (int i = 0; i < 2; i++) {
        json_t *v = qn__part_get(p, keys[i]);
        if (v && !qn__part_ignores(p, keys[i]))
            return qn__conj_add(o->c, out, v, qn__schema_path(o->c, p->path, keys[i]));
    }
    return true;
}

/* What holds for the value of that key; name NULL: of other keys that match the patterns in `matched`. */
static bool value_conj(object *o, const char *name, unsigned matched, qn_conj *out)
{
    *out = (qn_conj){0};
    for (size_t i = 0; i < o->k->n; i++) {
        const qn_schema_part *p = &o->k->v[i];
        bool hit = false;
        json_t *v = name && !qn__part_ignores(p, "properties") ? json_object_get(qn__part_get(p, "properties"), name) : NULL;
        if (v) {
            hit = true;
            if (!qn__conj_add(o->c, out, v, qn__schema_path(o->c, qn__schema_path(o->c, p->path, "properties"), name)))
                return false;
        }
        for (size_t j = 0; j < o->n_patterns; j++) {
            const pattern *x = &o->patterns[j];
            if (x->part != i || !(name ? qn__fa_accepts(&x->fa, name, strlen(name)) : matched >> j & 1))
                continue;
            hit = true;
            if (!qn__conj_add(o->c, out, x->schema, x->path))
                return false;
        }
        if (!hit && !add_others(o, p, out))
            return false;
    }
    return true;
}

static bool put_member(object *o, qn_node key, const qn_conj *value, bool required, bool extra)
{
    qn_ir *ir = o->c->ir;
    qn_node v = qn__schema_node(o->c, value);
    if (key < 0 || v < 0)
        return false;
    qn_node first = QN_SEQ(ir, key, qn__json_colon(ir, o->c->style), v);
    qn_node rest = QN_SEQ(ir, qn__json_comma(ir, o->c->style), first);
    if (first < 0 || rest < 0 || !qn__grow((void **)&o->members, &o->cap_members, o->n_members + 1, sizeof *o->members))
        return ir->err.code ? false : qn__ir_fail(ir, QN_ENOMEM, "schema", "out of memory") >= 0;
    o->members[o->n_members++] = (qn_ir_member){first, rest, required, extra};
    return true;
}

static bool named_members(object *o)
{
    json_t *name;
    size_t i;
    json_array_foreach(o->names, i, name)
    {
        qn_conj v;
        bool required = json_object_get(o->required, json_string_value(name)) != NULL;
        int allowed = qn__schema_holds(o->c, &o->keys, name);
        if (allowed < 0 || !value_conj(o, json_string_value(name), 0, &v))
            return false;
        if (!allowed)
            v.never = true;
        if (v.never && !required)
            continue;
        char *text = json_dumps(name, JSON_ENCODE_ANY);
        qn_node key = text ? qn__ir_puts(o->c->ir, text) : qn__ir_fail(o->c->ir, QN_ENOMEM, "schema", "out of memory");
        free(text);
        if (v.never) { /* it is asked for and not allowed */
            qn_node none = qn__ir_alt(o->c->ir, NULL, 0);
            if (none < 0 || !qn__grow((void **)&o->members, &o->cap_members, o->n_members + 1, sizeof *o->members))
                return false;
            o->members[o->n_members++] = (qn_ir_member){none, none, true, false};
        } else if (!put_member(o, key, &v, required, false)) {
            return false;
        }
        o->n_required += required;
    }
    return true;
}

/* Other keys that match exactly the patterns in `matched`. universe: which names are allowed at all (any: all of them). */
static bool other_members(object *o, unsigned matched, const qn_fa *universe)
{
    qn_conj v;
    qn_fa f = {0};
    qn_err err = {0};
    qn_schema *c = o->c;
    if (!value_conj(o, NULL, matched, &v))
        return false;
    if (v.never)
        return true;
    if (qn__fa_copy(universe, &f, &err))
        return qn__ir_fail(c->ir, err.code, err.where, "%s", err.what) >= 0;
    for (size_t j = 0; j < o->n_patterns; j++) {
        qn_fa other = {0};
        if (qn__fa_copy(&o->patterns[j].fa, &other, &err) || !qn__schema_cross(c, &f, &other, !(matched >> j & 1), o->patterns[j].path)) {
            qn__fa_free(&f);
            return qn__ir_fail(c->ir, QN_ENOMEM, "schema", "out of memory") >= 0;
        }
    }
    if (qn__fa_empty(&f))
        return true;
    qn_ir *ir = c->ir;
    qn_node body = qn__ir_fa(ir, &f, true);
    o->extra = true;
    return put_member(o, QN_SEQ(ir, qn__ir_puts(ir, "\""), body, qn__ir_puts(ir, "\"")), &v, false, true);
}

static bool others(object *o)
{
    qn_schema *c = o->c;
    qn_conj v;
    qn_fa universe = {0}, names = {0};
    qn_err err = {0};
    bool any = true, ok = false;
    if (o->keys.never)
        return true;
    if (!value_conj(o, NULL, 0, &v))
        return false;
    if (v.never && !o->n_patterns)
        return true;
    if (o->keys.n && !qn__schema_string_fa(c, &o->keys, &universe, &any)) {
        qn__fa_free(&universe);
        return false;
    }
    if (any && !json_array_size(o->names) && !o->n_patterns) {
        o->extra = true;
        return put_member(o, qn__json_string(c->ir, 0, UINT32_MAX), &v, false, true);
    }
    if (any && qn__fa_any(0, UINT32_MAX, &universe, &err))
        return qn__ir_fail(c->ir, err.code, err.where, "%s", err.what) >= 0;
    if (json_array_size(o->names))
        ok = qn__schema_names_fa(c, o->names, &names) && qn__schema_cross(c, &universe, &names, true, o->k->v[0].path);
    else
        ok = true;
    for (unsigned m = 0; ok && m < 1u << o->n_patterns; m++)
        ok = other_members(o, m, &universe);
    qn__fa_free(&universe);
    return ok;
}

/* Members in the order of the schema: more[i] follows a member, first[i] follows none. */
static qn_node in_order(object *o)
{
    qn_schema *c = o->c;
    qn_ir *ir = c->ir;
    size_t n = 0;
    qn_node none = qn__ir_seq(ir, NULL, 0), more = none, first = none;
    if (o->min > o->n_required || o->max != UINT32_MAX)
        return qn__schema_fail(c, QN_EUNSUPPORTED, o->k->v[0].path, o->max == UINT32_MAX ? "minProperties" : "maxProperties", "it is not supported together with more than 64 properties");
    while (n < o->n_members && !o->members[n].extra)
        n++;
    if (n < o->n_members) {
        qn_node rest[1 << QN_PATTERNS_MAX], begin[1 << QN_PATTERNS_MAX];
        size_t m = 0;
        for (size_t i = n; i < o->n_members && m < 1 << QN_PATTERNS_MAX; i++, m++) {
            rest[m] = o->members[i].rest;
            begin[m] = o->members[i].first;
        }
        more = qn__schema_share(c, qn__ir_repeat(ir, qn__ir_alt(ir, rest, m), 0, UINT32_MAX));
        first = qn__schema_share(c, QN_ALT(ir, none, QN_SEQ(ir, qn__ir_alt(ir, begin, m), more)));
    }
    for (size_t i = n; i-- > 0;) {
        const qn_ir_member *x = &o->members[i];
        qn_node a = QN_SEQ(ir, x->rest, more), b = QN_SEQ(ir, x->first, more);
        first = qn__schema_share(c, x->required ? b : QN_ALT(ir, b, first));
        more = qn__schema_share(c, x->required ? a : QN_ALT(ir, a, more));
    }
    return first;
}

static qn_node assemble(object *o)
{
    qn_schema *c = o->c;
    qn_ir *ir = c->ir;
    qn_node in = qn__json_inside(ir, c->style), open = qn__ir_puts(ir, "{"), close = qn__ir_puts(ir, "}");
    bool empty = !o->n_required && !o->min;
    if (!o->n_members || !o->max || o->max < o->min)
        return empty && o->max >= o->min ? qn__ir_puts(ir, "{}") : qn__ir_alt(ir, NULL, 0);
    if (o->extra && o->min > 1 && o->min > o->n_required)
        return qn__schema_fail(c, QN_EUNSUPPORTED, o->k->v[0].path, "minProperties",
                               "more than one is supported only where other properties are not allowed (a key could come twice)");
    size_t named = 0;
    for (size_t i = 0; i < o->n_members; i++)
        named += !o->members[i].extra;
    qn_node all;
    if (named > QN_MEMBERS_MAX) {
        all = in_order(o);
        if (all < 0)
            return -1;
        qn_node some = QN_SEQ(ir, open, in, all, in, close);
        return some; /* `all` may be nothing: then required has nothing, and min is at most 1 */
    }
    all = QN_SEQ(ir, in, qn__ir_collect(ir, o->members, o->n_members, o->min, o->max), in);
    if (empty)
        all = QN_ALT(ir, all, qn__ir_seq(ir, NULL, 0));
    return QN_SEQ(ir, open, all, close);
}

static bool describes_objects(const qn_conj *k)
{
    static const char *const keys[] = {"properties", "required", "additionalProperties", "patternProperties", "propertyNames",
                                       "minProperties", "maxProperties", "unevaluatedProperties"};
    for (size_t i = 0; i < k->n; i++)
        for (size_t j = 0; j < sizeof keys / sizeof *keys; j++)
            if (qn__part_get(&k->v[i], keys[j]))
                return true;
    return false;
}

qn_node qn__schema_object(qn_schema *c, const qn_conj *k)
{
    if (!describes_objects(k))
        return qn__json_object(c->ir, c->style);
    object *o = qn__calloc(1, sizeof *o);
    json_t *seen = json_object();
    qn_node out = -1;
    bool ok = o && seen;
    if (ok) {
        o->c = c;
        o->k = k;
        o->max = UINT32_MAX;
        o->names = json_array();
        o->required = json_object();
        ok = o->names && o->required;
    }
    if (!ok)
        (void)qn__ir_fail(c->ir, QN_ENOMEM, "schema", "out of memory");
    for (size_t i = 0; ok && i < k->n; i++)
        ok = gather_part(o, seen, i);
    ok = ok && named_members(o) && others(o);
    if (ok)
        out = assemble(o);
    json_decref(seen);
    if (o) {
        for (size_t j = 0; j < o->n_patterns; j++)
            qn__fa_free(&o->patterns[j].fa);
        json_decref(o->names);
        json_decref(o->required);
        qn_free(o->members);
        qn_free(o);
    }
    if (out < 0 && !c->ir->err.code)
        (void)qn__ir_fail(c->ir, QN_ENOMEM, "schema", "out of memory");
    return out;
}
