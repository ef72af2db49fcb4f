/* grammar_array.c - JSON Schema: arrays. Places with a schema of their own (prefixItems), then items, counted. */
#include <stdio.h>

#include "text/grammar_schema.h"

enum { PREFIX_MAX = 200 };

typedef struct array {
    uint32_t min, max;
    size_t prefix;       /* places with a schema of their own */
    json_t *contains;    /* NULL: none */
    const char *contains_path;
} array;

static bool gather_part(qn_schema *c, const qn_conj *k, size_t at, array *a)
{
    const qn_schema_part *p = &k->v[at];
    bool have;
    uint32_t n;
    if (!qn__schema_count(c, p, "minItems", &have, &n))
        return false;
    a->min = have && n > a->min ? n : a->min;
    if (!qn__schema_count(c, p, "maxItems", &have, &n))
        return false;
    a->max = have && n < a->max ? n : a->max;
    json_t *v = qn__part_get(p, "prefixItems");
    if (v && !qn__part_ignores(p, "prefixItems")) {
        if (!json_is_array(v))
            return qn__schema_fail(c, QN_EFORMAT, p->path, "prefixItems", "a list of schemas is expected") >= 0;
        if (json_array_size(v) > PREFIX_MAX)
            return qn__schema_fail(c, QN_ELIMIT, p->path, "prefixItems", "more than 200 places") >= 0;
        a->prefix = json_array_size(v) > a->prefix ? json_array_size(v) : a->prefix;
    }
    if (qn__part_get(p, "unevaluatedItems") && !qn__part_ignores(p, "unevaluatedItems") &&
        (k->n > 1 || qn__part_get(p, "contains")))
        return qn__schema_fail(c, QN_EUNSUPPORTED, p->path, "unevaluatedItems", "it is supported only where nothing else describes the same array") >= 0;
    v = qn__part_get(p, "contains");
    if (!v || qn__part_ignores(p, "contains"))
        return true;
    uint32_t least = 1, most = UINT32_MAX;
    if (!qn__schema_count(c, p, "minContains", &have, &least) || !qn__schema_count(c, p, "maxContains", &have, &most))
        return false;
    if (least == 0 && most == UINT32_MAX)
        return true;
    if (a->contains || least != 1 || most != UINT32_MAX)
        return qn__schema_fail(c, QN_EUNSUPPORTED, p->path, "contains", "one that counts (minContains, maxContains), or a second one, is not supported") >= 0;
    a->contains = v;
    a->contains_path = qn__schema_path(c, p->path, "contains");
    return true;
}

/* What holds at place i (SIZE_MAX: behind all prefixes). */
static bool place_conj(qn_schema *c, const qn_conj *k, size_t i, qn_conj *out)
{
    *out = (qn_conj){0};
    for (size_t j = 0; j < k->n; j++) {
        const qn_schema_part *p = &k->v[j];
        json_t *prefix = qn__part_ignores(p, "prefixItems") ? NULL : qn__part_get(p, "prefixItems"), *v = json_array_get(prefix, i);
        const char *key = "prefixItems";
        char index[32];
        if (v) {
            (void)snprintf(index, sizeof index, "prefixItems/%zu", i);
            key = index;
        } else {
            key = qn__part_get(p, "items") ? "items" : "unevaluatedItems";
            v = qn__part_ignores(p, key) ? NULL : qn__part_get(p, key);
        }
        if (v && !qn__conj_add(c, out, v, qn__schema_path(c, p->path, key)))
            return false;
    }
    return true;
}

static qn_node item(qn_schema *c, const qn_conj *k, size_t i)
{
    qn_conj v;
    return place_conj(c, k, i, &v) ? (v.never ? qn__ir_alt(c->ir, NULL, 0) : qn__schema_share(c, qn__schema_node(c, &v))) : -1;
}

static qn_node with_contains(qn_schema *c, const qn_conj *k, const array *a, qn_node in, qn_node comma)
{
    qn_ir *ir = c->ir;
    qn_conj v;
    if (a->prefix || a->min > 1 || a->max != UINT32_MAX)
        return qn__schema_fail(c, QN_EUNSUPPORTED, a->contains_path, NULL, "together with prefixItems, minItems over 1 or maxItems it is not supported");
    if (!place_conj(c, k, SIZE_MAX, &v) || !qn__conj_add(c, &v, a->contains, a->contains_path))
        return -1;
    qn_node any = item(c, k, SIZE_MAX), one = v.never ? qn__ir_alt(ir, NULL, 0) : qn__schema_share(c, qn__schema_node(c, &v));
    if (any < 0 || one < 0)
        return -1;
    qn_node before = qn__ir_repeat(ir, QN_SEQ(ir, any, comma), 0, UINT32_MAX), after = qn__ir_repeat(ir, QN_SEQ(ir, comma, any), 0, UINT32_MAX);
    return QN_SEQ(ir, qn__ir_puts(ir, "["), in, before, one, after, in, qn__ir_puts(ir, "]"));
}

static bool describes_arrays(const qn_conj *k)
{
    static const char *const keys[] = {"items", "prefixItems", "contains", "minItems", "maxItems", "uniqueItems", "unevaluatedItems"};
    for (size_t i = 0; i < k->n; i++)
        for (size_t j = 0; j < sizeof keys / sizeof *keys; j++)
            if (qn__part_get(&k->v[i], keys[j]))
                return true;
    return false;
}

qn_node qn__schema_array(qn_schema *c, const qn_conj *k)
{
    qn_ir *ir = c->ir;
    array a = {.max = UINT32_MAX};
    if (!describes_arrays(k))
        return qn__json_array(ir, c->style);
    for (size_t i = 0; i < k->n; i++)
        if (!gather_part(c, k, i, &a))
            return -1;
    for (size_t i = 0; i < k->n; i++)
        if (json_is_true(qn__part_get(&k->v[i], "uniqueItems")) && !qn__part_ignores(&k->v[i], "uniqueItems") && a.max > 1)
            return qn__schema_fail(c, QN_EUNSUPPORTED, k->v[i].path, "uniqueItems", "it is not supported for more than one item; name it in \"x-quern-ignore\" to go without");
    if (a.min > a.max)
        return qn__ir_alt(ir, NULL, 0);
    if (a.max == 0)
        return a.contains ? qn__ir_alt(ir, NULL, 0) : qn__ir_puts(ir, "[]");
    qn_node in = qn__json_inside(ir, c->style), comma = qn__json_comma(ir, c->style);
    if (a.contains)
        return with_contains(c, k, &a, in, comma);
    size_t prefix = a.prefix < a.max ? a.prefix : a.max;
    qn_node tail = qn__ir_seq(ir, NULL, 0);
    if (prefix < a.max) {
        qn_node rest = item(c, k, SIZE_MAX);
        uint32_t n = (uint32_t)prefix, least = a.min > n ? a.min - n : 0, most = a.max == UINT32_MAX ? UINT32_MAX : a.max - n;
        if (rest < 0)
            return -1;
        if (prefix) {
            tail = qn__ir_repeat(ir, QN_SEQ(ir, comma, rest), least, most);
        } else {
            tail = QN_SEQ(ir, rest, qn__ir_repeat(ir, QN_SEQ(ir, comma, rest), least > 1 ? least - 1 : 0, most == UINT32_MAX ? most : most - 1));
        }
    }
    for (size_t i = prefix; i-- > 0;) {
        qn_node x = item(c, k, i);
        if (x < 0)
            return -1;
        bool may_end = a.min <= i + 1; /* behind place i */
        if (i + 1 < prefix && may_end)
            tail = qn__ir_repeat(ir, tail, 0, 1);
        tail = i ? QN_SEQ(ir, comma, x, tail) : QN_SEQ(ir, x, tail);
    }
    qn_node some = QN_SEQ(ir, in, tail, in);
    if (!a.min)
        some = qn__ir_repeat(ir, some, 0, 1);
    return QN_SEQ(ir, qn__ir_puts(ir, "["), some, qn__ir_puts(ir, "]"));
}
