/* grammar_array.c - JSON Schema: arrays. Places with a schema of their own (prefixItems), then items, counted. */
#include <stdio.h>

#include "text/grammar_schema.h"

enum { PREFIX_MAX = 200 };

typedef struct array {
    uint32_t min, max;
    size_t prefix;       /* places with a schema of their own */
    json_t *contains;    /* NULL: none */
    const char *contains_path;
    uint32_t least, most; /* items that match it */
    const char *unique;  /* path of the part that asks for it; NULL: none */
} array;

enum { GRID_MAX = 4096 };

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
    if (json_is_true(qn__part_get(p, "uniqueItems")) && !qn__part_ignores(p, "uniqueItems"))
        a->unique = p->path;
    v = qn__part_get(p, "contains");
    if (!v || qn__part_ignores(p, "contains"))
        return true;
    uint32_t least = 1, most = UINT32_MAX;
    if (!qn__schema_count(c, p, "minContains", &have, &least) || !qn__schema_count(c, p, "maxContains", &have, &most))
        return false;
    if (least == 0 && most == UINT32_MAX)
        return true;
    if (a->contains)
        return qn__schema_fail(c, QN_EUNSUPPORTED, p->path, "contains", "a second one at the same place is not supported") >= 0;
    a->contains = v;
    a->least = least;
    a->most = most;
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

/* ---- contains ---- */

/* Items that do and do not match, counted: a place of the grid is (items so far, of which so many match), both up to where more makes
 * no difference. Each is a rule: what may follow there.
 *
 *   (j, m) -> ["," other (j+1, m)] | ["," match (j+1, m+1)] | nothing, if that is enough  */
typedef struct grid {
    qn_schema *c;
    const qn_conj *k;
    const array *a;
    qn_node comma;
    uint32_t items, matches;     /* where counting of each stops */
    uint32_t id;
    qn_node *match, *other;      /* of place 0 ... prefix */
} grid;

static qn_node item_with(grid *g, size_t i, json_t *also)
{
    qn_conj v;
    if (!place_conj(g->c, g->k, i < g->a->prefix ? i : SIZE_MAX, &v) || (also && !qn__conj_add(g->c, &v, also, g->a->contains_path)))
        return -1;
    return v.never ? qn__ir_alt(g->c->ir, NULL, 0) : qn__schema_share(g->c, qn__schema_node(g->c, &v));
}

/* Items of place i: those that match, and those that do not (any, where too many can be no harm). */
static bool kinds(grid *g, size_t i)
{
    json_t *not_it = NULL;
    if (g->a->most != UINT32_MAX) {
        not_it = json_is_boolean(g->a->contains) ? json_boolean(!json_is_true(g->a->contains)) : json_pack("{s:O}", "not", g->a->contains);
        if (!not_it || json_array_append_new(g->c->owned, not_it))
            return qn__schema_no_memory(g->c);
    }
    g->match[i] = item_with(g, i, g->a->contains);
    g->other[i] = item_with(g, i, not_it);
    return g->match[i] >= 0 && g->other[i] >= 0;
}

static qn_node grid_rule(grid *g, uint32_t j, uint32_t m)
{
    char name[64];
    (void)snprintf(name, sizeof name, "\x04%u.%u.%u.%u", g->c->id, g->id, j, m);
    return qn__ir_rule(g->c->ir, name);
}

static bool grid_place(grid *g, uint32_t j, uint32_t m)
{
    const array *a = g->a;
    qn_ir *ir = g->c->ir;
    qn_node alt[3], rule = grid_rule(g, j, m);
    size_t n = 0, i = j < a->prefix ? j : a->prefix;
    if (rule < 0)
        return false;
    if (j >= a->min && m >= a->least)
        alt[n++] = qn__ir_seq(ir, NULL, 0);
    if (a->max == UINT32_MAX || j < a->max) {
        uint32_t j1 = j < g->items ? j + 1 : j, m1 = m < g->matches ? m + 1 : m;
        bool full = a->most != UINT32_MAX && m == a->most;
        alt[n++] = QN_SEQ(ir, g->comma, g->other[i], grid_rule(g, j1, m));
        if (!full)
            alt[n++] = QN_SEQ(ir, g->comma, g->match[i], grid_rule(g, j1, m1));
    }
    struct qn_ir_rule *r = &ir->rules[ir->nodes[rule].a];
    qn_node body = qn__ir_alt(ir, alt, n);
    r->body = body;
    return body >= 0;
}

static qn_node with_contains(qn_schema *c, const qn_conj *k, const array *a, qn_node in, qn_node comma)
{
    qn_ir *ir = c->ir;
    grid g = {.c = c, .k = k, .a = a, .comma = comma, .id = c->n_rules++};
    uint32_t far = a->min > a->prefix ? a->min : (uint32_t)a->prefix;
    qn_node out = -1;
    g.items = a->max != UINT32_MAX ? a->max : far ? far : 1;
    g.matches = a->most != UINT32_MAX ? a->most : a->least;
    if (a->most < a->least || (a->max != UINT32_MAX && a->max < a->least))
        return qn__ir_alt(ir, NULL, 0);
    if (g.items >= GRID_MAX || g.matches >= GRID_MAX || (g.items + 1) * (g.matches + 1) > GRID_MAX)
        return qn__schema_fail(c, QN_EUNSUPPORTED, a->contains_path, NULL, "together with counts (minItems, maxItems, minContains, maxContains) this large it is not supported");
    g.match = qn__alloc(2 * (a->prefix + 1) * sizeof *g.match);
    if (!g.match)
        return qn__schema_no_memory(c) ? 0 : -1;
    g.other = g.match + a->prefix + 1;
    for (size_t i = 0; i <= a->prefix; i++)
        if (!kinds(&g, i))
            goto out;
    for (uint32_t j = 1; j <= g.items; j++)
        for (uint32_t m = 0; m <= g.matches; m++)
            if (!grid_place(&g, j, m))
                goto out;
    qn_node empty = !a->min && !a->least ? qn__ir_puts(ir, "[]") : qn__ir_alt(ir, NULL, 0);
    /* The first item has no comma before it, and an empty array no white space inside. */
    qn_node some[2] = {QN_SEQ(ir, g.other[0], grid_rule(&g, 1, 0)),
                       a->most == 0 ? qn__ir_alt(ir, NULL, 0) : QN_SEQ(ir, g.match[0], grid_rule(&g, 1, g.matches ? 1 : 0))};
    out = QN_ALT(ir, empty, QN_SEQ(ir, qn__ir_puts(ir, "["), in, qn__ir_alt(ir, some, 2), in, qn__ir_puts(ir, "]")));
out:
    qn_free(g.match);
    return out;
}

/* ---- uniqueItems ---- */

/* All values that k allows, if they are few and can be listed; kept by c->owned. NULL: they cannot, or failed. */
static json_t *few_values(qn_schema *c, const qn_conj *k)
{
    qn_conj *flat = qn__alloc(sizeof *flat);
    json_t *all = json_array(), *from = NULL, *v;
    size_t i;
    if (!flat || !all || json_array_append_new(c->owned, all)) {
        qn_free(flat);
        (void)qn__schema_no_memory(c);
        return NULL;
    }
    if (!qn__schema_flatten(c, k, flat)) {
        qn_free(flat);
        return NULL;
    }
    for (i = 0; i < flat->n && !from; i++) {
        json_t *e = qn__part_get(&flat->v[i], "enum"), *one = qn__part_get(&flat->v[i], "const");
        if (json_is_array(e) && !qn__part_ignores(&flat->v[i], "enum"))
            from = json_incref(e);
        else if (one && !qn__part_ignores(&flat->v[i], "const"))
            from = json_pack("[O]", one);
    }
    if (!from && (flat->never || !(qn__schema_types(flat) & ~(unsigned)(QN_T_BOOL | QN_T_NULL))))
        from = json_pack("[b,b,n]", 0, 1);
    if (!from || json_array_size(from) > 1000)
        all = NULL;
    json_array_foreach(from, i, v)
    {
        int holds = !all || qn__schema_among(all, v) ? 0 : qn__schema_holds(c, flat, v);
        if (holds < 0 || (holds && json_array_append(all, v)))
            all = NULL;
    }
    json_decref(from);
    qn_free(flat);
    return all && json_array_size(all) <= QN_MEMBERS_MAX ? all : NULL;
}

/* Each value once at most, in any order: an unordered collection. */
static qn_node without_repeats(qn_schema *c, const qn_conj *k, const array *a, qn_node in, qn_node comma)
{
    qn_ir *ir = c->ir;
    qn_conj v;
    qn_ir_member m[QN_MEMBERS_MAX];
    json_t *list = NULL, *x;
    size_t i;
    if (!a->prefix && !a->contains) {
        if (!place_conj(c, k, SIZE_MAX, &v))
            return -1;
        list = few_values(c, &v);
    }
    if (!list)
        return c->ir->err.code ? -1
                               : qn__schema_fail(c, QN_EUNSUPPORTED, a->unique, "uniqueItems",
                                                 "it is supported only for items that are one of at most 64 values (enum, const); name it in \"x-quern-ignore\" to go without");
    const size_t n = json_array_size(list);
    json_array_foreach(list, i, x)
    {
        qn_node one = qn__schema_literal(c, x);
        m[i] = (qn_ir_member){one, QN_SEQ(ir, comma, one), false, false};
    }
    qn_node empty = a->min ? qn__ir_alt(ir, NULL, 0) : qn__ir_puts(ir, "[]");
    if (!n || a->min > n)
        return empty;
    return QN_ALT(ir, empty, QN_SEQ(ir, qn__ir_puts(ir, "["), in, qn__ir_collect(ir, m, n, a->min, a->max), in, qn__ir_puts(ir, "]")));
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
    if (a.min > a.max)
        return qn__ir_alt(ir, NULL, 0);
    if (a.max == 0)
        return a.contains && a.least ? qn__ir_alt(ir, NULL, 0) : qn__ir_puts(ir, "[]");
    qn_node in = qn__json_inside(ir, c->style), comma = qn__json_comma(ir, c->style);
    if (a.unique && a.max > 1)
        return without_repeats(c, k, &a, in, comma);
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
