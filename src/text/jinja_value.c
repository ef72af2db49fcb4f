/* jinja_value.c - values: making, comparing, counting, looking into them; a rendering's memory and steps.
 *
 * Python's rules: True == 1 == 1.0, a dict keeps the order of insertion, only like orders with like. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text/jinja_int.h"

/* ---- errors, memory, output ------------------------------------------------------------------------------------- */

qn_status qn__j_fail(jrun *r, qn_status code, const char *fmt, ...)
{
    char where[40], what[sizeof r->err->what];
    va_list ap;
    (void)snprintf(where, sizeof where, "template line %u", (unsigned)r->line);
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return qn__fail(r->err, code, where, "%s", what);
}

qn_status qn__j_out_of_steps(jrun *r)
{
    return qn__j_fail(r, QN_ELIMIT, "rendering took more than the limit of %llu steps",
                      (unsigned long long)r->t->limits.steps);
}

static qn_status no_memory(jrun *r, size_t n)
{
    size_t held = r->arena.total + r->out.cap, limit = r->t->limits.memory;
    /* The arena asks for whole blocks of up to 1 MiB. */
    if (n > limit || held + n + ((size_t)2 << 20) > limit)
        return qn__j_fail(r, QN_ELIMIT, "rendering needs more than the limit of %zu bytes", limit);
    return qn__fail_mem(r->err, "template");
}

qn_status qn__j_alloc(jrun *r, size_t n, void *out)
{
    size_t limit = r->t->limits.memory;
    if (r->out.cap >= limit)
        return no_memory(r, n);
    r->arena.limit = limit - r->out.cap;
    void *p = qn__arena_alloc(&r->arena, n);
    if (!p)
        return no_memory(r, n);
    memcpy(out, &p, sizeof p);
    return QN_OK;
}

qn_status qn__j_array(jrun *r, uint64_t n, jval **out)
{
    if (n > r->t->limits.memory / sizeof(jval))
        return no_memory(r, SIZE_MAX);
    J_TRY(qn__j_step(r, n));
    return qn__j_alloc(r, (size_t)n * sizeof(jval), out);
}

qn_status qn__j_emit(jrun *r, const char *p, size_t n)
{
    J_TRY(qn__j_step(r, n));
    if (n >= r->t->limits.memory || r->out.n + n + r->arena.total > r->t->limits.memory)
        return no_memory(r, SIZE_MAX);
    qn__buf_put(&r->out, p, n);
    return r->out.failed ? no_memory(r, n) : QN_OK;
}

qn_status qn__j_emits(jrun *r, const char *s)
{
    return qn__j_emit(r, s, strlen(s));
}

qn_status qn__j_emit_cp(jrun *r, int32_t cp)
{
    char utf8[4];
    return qn__j_emit(r, utf8, qn__utf8_encode(cp, utf8));
}

qn_status qn__j_take(jrun *r, size_t mark, jval *out)
{
    size_t n = r->out.n - mark;
    char *p;
    J_TRY(qn__j_step(r, n));
    J_TRY(qn__j_alloc(r, n, &p));
    if (n)
        memcpy(p, r->out.data + mark, n);
    r->out.n = mark;
    *out = qn__j_str(p, n);
    return QN_OK;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

bool qn__j_str_is(jval v, const char *s)
{
    size_t n = strlen(s);
    return v.kind == J_STR && v.n == n && memcmp(v.u.s, s, n) == 0;
}

qn_status qn__j_gen(jrun *r, const jval *v, uint32_t n, jval *out)
{
    jgen *g = NULL;
    J_TRY(qn__j_alloc(r, sizeof *g, &g));
    *g = (jgen){v, n, 0};
    *out = (jval){.kind = J_GEN, .u.gen = g};
    return QN_OK;
}

qn_status qn__j_pair(jrun *r, jval a, jval b, jval *out)
{
    jval *v;
    J_TRY(qn__j_array(r, 2, &v));
    v[0] = a;
    v[1] = b;
    *out = (jval){.kind = J_TUPLE, .n = 2, .u.v = v};
    return QN_OK;
}

qn_status qn__j_undef(jrun *r, jundef_why why, jkind of, qn_slice name, jval *out)
{
    jundef *u = NULL;
    J_TRY(qn__j_alloc(r, sizeof *u, &u));
    *u = (jundef){(uint8_t)why, (uint8_t)of, name};
    *out = (jval){.kind = J_UNDEF, .u.undef = u};
    return QN_OK;
}

qn_status qn__j_undef_used(jrun *r, jval v)
{
    const jundef *u = v.u.undef;
    if (!u)
        return qn__j_type(r, "an undefined value is used");
    int n = u->name.n > 100 ? 100 : (int)u->name.n;
    const char *of = qn__j_type_name((jval){.kind = u->of});
    switch ((jundef_why)u->why) {
    case JU_NAME: return qn__j_type(r, "'%.*s' is undefined", n, u->name.p);
    case JU_ATTR:
        if (u->of == J_NONE)
            return qn__j_type(r, "'None' has no attribute '%.*s'", n, u->name.p);
        return qn__j_type(r, "'%s object' has no attribute '%.*s'", of, n, u->name.p);
    case JU_UNSAFE: return qn__j_type(r, "access to attribute '%.*s' of '%s' object is unsafe", n, u->name.p, of);
    case JU_PARAM: return qn__j_type(r, "parameter '%.*s' was not provided", n, u->name.p);
    case JU_TEXT: break;
    }
    return qn__j_type(r, "%.*s", n, u->name.p);
}

const char *qn__j_type_name(jval v)
{
    static const char *const names[] = {
        "absent",   "Undefined",   "NoneType",  "bool",      "int",         "float",
        "str",      "list",        "tuple",     "dict_keys", "dict_values", "dict_items",
        "dict",     "range",       "generator", "Namespace", "Macro",       "builtin_function_or_method",
        "function", "LoopContext", "Joiner",    "Cycler"};
    return v.kind == J_STR && v.safe ? "Markup" : names[v.kind];
}

bool qn__j_truth(jval v)
{
    switch (v.kind) {
    case J_ABSENT:
    case J_UNDEF:
    case J_NONE: return false;
    case J_BOOL: return v.u.b;
    case J_INT: return v.u.i != 0;
    case J_FLOAT: return v.u.f != 0;
    case J_DICT: return v.u.dict->n != 0;
    case J_RANGE: return v.u.range->n != 0;
    default: return v.kind == J_STR || qn__j_is_list(v) ? v.n != 0 : true;
    }
}

/* ---- comparing ----------------------------------------------------------------------------------------------------
 */

static int sign_of(bool less, bool more)
{
    return more - less;
}

static int compare_num(jval a, jval b)
{
    if (qn__j_is_int(a) && qn__j_is_int(b))
        return sign_of(qn__j_as_int(a) < qn__j_as_int(b), qn__j_as_int(a) > qn__j_as_int(b));
    double x = qn__j_as_float(a), y = qn__j_as_float(b);
    if (isnan(x) || isnan(y))
        return 2;
    return sign_of(x<y, x> y);
}

/* Python orders strings by code points; for UTF-8 that is the order of the bytes. */
static int compare_str(jval a, jval b)
{
    uint32_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.u.s, b.u.s, n) : 0;
    return c ? sign_of(c<0, c> 0) : sign_of(a.n<b.n, a.n> b.n);
}

static qn_status equal_dicts(jrun *r, const jdict *a, const jdict *b, bool *out)
{
    *out = a->n == b->n;
    for (uint32_t i = 0; i < a->n && *out; i++) {
        const jval *v;
        J_TRY(qn__j_dict_get(r, b, a->v[i].k, &v));
        *out = v != NULL;
        if (v)
            J_TRY(qn__j_equal(r, a->v[i].v, *v, out));
    }
    return QN_OK;
}

qn_status qn__j_equal(jrun *r, jval a, jval b, bool *out)
{
    *out = false;
    J_TRY(qn__j_step(r, a.kind == J_STR ? a.n : 0));
    if (qn__j_is_num(a) && qn__j_is_num(b)) {
        *out = compare_num(a, b) == 0;
        return QN_OK;
    }
    if (a.kind != b.kind)
        return QN_OK;
    qn_status s = QN_OK;
    J_TRY(qn__j_deeper(r));
    switch (a.kind) {
    case J_UNDEF:
    case J_NONE: *out = true; break;
    case J_STR: *out = a.n == b.n && (a.n == 0 || memcmp(a.u.s, b.u.s, a.n) == 0); break;
    case J_LIST:
    case J_TUPLE:
    case J_KEYS:
    case J_ITEMS:
        *out = a.n == b.n;
        for (uint32_t i = 0; i < a.n && *out && s == QN_OK; i++)
            s = qn__j_equal(r, a.u.v[i], b.u.v[i], out);
        break;
    case J_DICT: s = equal_dicts(r, a.u.dict, b.u.dict, out); break;
    case J_RANGE: {
        const jrange *x = a.u.range, *y = b.u.range;
        *out = x->n == y->n && (!x->n || (x->start == y->start && (x->n == 1 || x->step == y->step)));
        break;
    }
    default: *out = a.u.v == b.u.v; break; /* identity; every member of the union that is left is a pointer */
    }
    r->depth--;
    return s;
}

qn_status qn__j_compare(jrun *r, jval a, jval b, const char *op, int *sign)
{
    J_TRY(qn__j_step(r, a.kind == J_STR ? a.n : 0));
    if (qn__j_is_num(a) && qn__j_is_num(b)) {
        *sign = compare_num(a, b);
        return QN_OK;
    }
    if (a.kind == J_STR && b.kind == J_STR) {
        *sign = compare_str(a, b);
        return QN_OK;
    }
    if (a.kind == J_UNDEF || b.kind == J_UNDEF)
        return qn__j_undef_used(r, a.kind == J_UNDEF ? a : b);
    if (a.kind != b.kind || (a.kind != J_LIST && a.kind != J_TUPLE))
        return qn__j_type(r, "'%s' not supported between instances of '%s' and '%s'", op, qn__j_type_name(a),
                          qn__j_type_name(b));
    J_TRY(qn__j_deeper(r));
    for (uint32_t i = 0; i < a.n && i < b.n; i++) {
        bool same;
        J_TRY(qn__j_equal(r, a.u.v[i], b.u.v[i], &same));
        if (!same) {
            J_TRY(qn__j_compare(r, a.u.v[i], b.u.v[i], op, sign));
            r->depth--;
            return QN_OK;
        }
    }
    r->depth--;
    *sign = sign_of(a.n<b.n, a.n> b.n);
    return QN_OK;
}

qn_status qn__j_contains(jrun *r, jval item, jval in, bool *out)
{
    const jval *v, *found;
    uint32_t n;
    if (in.kind == J_STR) {
        if (item.kind != J_STR)
            return item.kind == J_UNDEF
                       ? qn__j_undef_used(r, item)
                       : qn__j_type(r, "'in <string>' requires string as left operand, not %s", qn__j_type_name(item));
        J_TRY(qn__j_step(r, in.n));
        *out = qn__j_find_bytes(in.u.s, in.n, item.u.s, item.n) != SIZE_MAX;
        return QN_OK;
    }
    if (in.kind == J_DICT) {
        J_TRY(qn__j_dict_get(r, in.u.dict, item, &found));
        *out = found != NULL;
        return QN_OK;
    }
    if (!qn__j_iterable(in))
        return qn__j_type(r, "argument of type '%s' is not iterable", qn__j_type_name(in));
    J_TRY(qn__j_items(r, in, &v, &n));
    *out = false;
    for (uint32_t i = 0; i < n && !*out; i++)
        J_TRY(qn__j_equal(r, v[i], item, out));
    return QN_OK;
}

/* ---- counting and iterating ---------------------------------------------------------------------------------------
 */

qn_status qn__j_len(jrun *r, jval v, uint32_t *n)
{
    switch (v.kind) {
    case J_UNDEF: *n = 0; return QN_OK;
    case J_STR:
        J_TRY(qn__j_step(r, v.n));
        *n = qn__j_str_len(v);
        return QN_OK;
    case J_DICT: *n = v.u.dict->n; return QN_OK;
    case J_RANGE: *n = v.u.range->n; return QN_OK;
    case J_LOOP: {
        jval len;
        bool found;
        J_TRY(qn__j_loop_attr(r, v.u.loop, (qn_slice){"length", 6}, &len, &found));
        *n = (uint32_t)len.u.i;
        return QN_OK;
    }
    default: break;
    }
    if (!qn__j_is_list(v))
        return qn__j_type(r, "object of type '%s' has no len()", qn__j_type_name(v));
    *n = v.n;
    return QN_OK;
}

bool qn__j_iterable(jval v)
{
    return v.kind == J_UNDEF || v.kind == J_STR || qn__j_is_list(v) || v.kind == J_DICT || v.kind == J_RANGE ||
           v.kind == J_GEN;
}

static qn_status chars_of(jrun *r, jval s, const jval **items, uint32_t *n)
{
    uint32_t len = qn__j_str_len(s);
    jval *v;
    size_t at = 0;
    J_TRY(qn__j_array(r, (uint64_t)len * 4, &v)); /* times 4: count the work, not the room */
    for (uint32_t i = 0; i < len; i++) {
        int32_t cp;
        size_t k = qn__j_char(s.u.s + at, s.n - at, &cp);
        v[i] = qn__j_str(s.u.s + at, k);
        at += k;
    }
    *items = v;
    *n = len;
    return QN_OK;
}

qn_status qn__j_items(jrun *r, jval v, const jval **items, uint32_t *n)
{
    jval *made;
    J_TRY(qn__j_step(r, 0));
    *n = 0;
    *items = NULL;
    switch (v.kind) {
    case J_UNDEF: return QN_OK;
    case J_STR: return chars_of(r, v, items, n);
    case J_DICT:
        *n = v.u.dict->n;
        J_TRY(qn__j_array(r, *n, &made));
        for (uint32_t i = 0; i < *n; i++)
            made[i] = v.u.dict->v[i].k;
        *items = made;
        return QN_OK;
    case J_RANGE:
        *n = v.u.range->n;
        J_TRY(qn__j_array(r, *n, &made));
        for (uint32_t i = 0; i < *n; i++)
            made[i] = qn__j_int(v.u.range->start + v.u.range->step * (int64_t)i);
        *items = made;
        return QN_OK;
    case J_GEN: {
        jgen *g = v.u.gen;
        *items = g->v ? g->v + g->pos : NULL;
        *n = g->n - g->pos;
        g->pos = g->n;
        return QN_OK;
    }
    default: break;
    }
    if (!qn__j_is_list(v))
        return qn__j_type(r, "'%s' object is not iterable", qn__j_type_name(v));
    *items = v.u.v;
    *n = v.n;
    return QN_OK;
}

/* ---- dicts ---------------------------------------------------------------------------------------------------------
 */

qn_status qn__j_dict_new(jrun *r, uint32_t cap, jval *out)
{
    jdict *d;
    J_TRY(qn__j_step(r, cap));
    J_TRY(qn__j_alloc(r, sizeof *d, &d));
    *d = (jdict){.cap = cap};
    if (cap > r->t->limits.memory / sizeof(jpair))
        return no_memory(r, SIZE_MAX);
    if (cap)
        J_TRY(qn__j_alloc(r, cap * sizeof(jpair), &d->v));
    *out = (jval){.kind = J_DICT, .u.dict = d};
    return QN_OK;
}

const jval *qn__j_dict_find(const jdict *d, qn_slice key)
{
    for (uint32_t i = 0; i < d->n; i++) {
        jval k = d->v[i].k;
        if (k.kind == J_STR && k.n == key.n && (!k.n || memcmp(k.u.s, key.p, key.n) == 0))
            return &d->v[i].v;
    }
    return NULL;
}

qn_status qn__j_dict_get(jrun *r, const jdict *d, jval k, const jval **out)
{
    /* Workload: objects of tools and messages, a handful of keys; so a list, and the search is counted. */
    J_TRY(qn__j_step(r, (uint64_t)d->n * 4));
    *out = NULL;
    if (k.kind == J_STR) {
        *out = qn__j_dict_find(d, (qn_slice){k.u.s, k.n});
        return QN_OK;
    }
    if (k.kind == J_LIST || k.kind == J_DICT)
        return qn__j_type(r, "unhashable type: '%s'", qn__j_type_name(k));
    for (uint32_t i = 0; i < d->n; i++) {
        bool same;
        J_TRY(qn__j_equal(r, d->v[i].k, k, &same));
        if (same) {
            *out = &d->v[i].v;
            return QN_OK;
        }
    }
    return QN_OK;
}

qn_status qn__j_dict_put(jrun *r, jdict *d, jval k, jval v)
{
    const jval *old;
    J_TRY(qn__j_dict_get(r, d, k, &old));
    if (old) {
        d->v[(const jpair *)(const void *)((const char *)old - offsetof(jpair, v)) - d->v].v = v;
        return QN_OK;
    }
    if (d->n == d->cap) {
        uint32_t cap = d->cap ? d->cap * 2 : 8;
        jpair *p;
        J_TRY(qn__j_alloc(r, cap * sizeof *p, &p));
        if (d->n)
            memcpy(p, d->v, d->n * sizeof *p);
        d->v = p;
        d->cap = cap;
    }
    d->v[d->n++] = (jpair){k, v};
    return QN_OK;
}

/* ---- JSON in -------------------------------------------------------------------------------------------------------
 */

static qn_status from_object(jrun *r, const json_t *j, jval *out)
{
    const char *key;
    json_t *value;
    size_t n = json_object_size(j);
    if (n > UINT32_MAX / 2)
        return no_memory(r, SIZE_MAX);
    J_TRY(qn__j_dict_new(r, (uint32_t)n, out));
    jdict *d = out->u.dict;
    json_object_foreach((json_t *)(uintptr_t)j, key, value)
    {
        jpair *p = &d->v[d->n];
        p->k = qn__j_str(key, strlen(key));
        J_TRY(qn__j_from_json(r, value, &p->v));
        d->n++;
    }
    return QN_OK;
}

qn_status qn__j_from_json(jrun *r, const json_t *j, jval *out)
{
    jval *v;
    J_TRY(qn__j_step(r, 0));
    switch (json_typeof(j)) {
    case JSON_NULL: *out = qn__j_none(); return QN_OK;
    case JSON_TRUE:
    case JSON_FALSE: *out = qn__j_bool(json_is_true(j)); return QN_OK;
    case JSON_INTEGER: *out = qn__j_int(json_integer_value(j)); return QN_OK;
    case JSON_REAL: *out = qn__j_float(json_real_value(j)); return QN_OK;
    case JSON_STRING:
        /* Borrowed: the JSON outlives the rendering. */
        if (json_string_length(j) > r->t->limits.memory)
            return no_memory(r, SIZE_MAX);
        *out = qn__j_str(json_string_value(j), json_string_length(j));
        return QN_OK;
    default: break;
    }
    J_TRY(qn__j_deeper(r));
    if (json_is_object(j)) {
        J_TRY(from_object(r, j, out));
    } else {
        size_t n = json_array_size(j);
        J_TRY(qn__j_array(r, n, &v));
        for (size_t i = 0; i < n; i++)
            J_TRY(qn__j_from_json(r, json_array_get(j, i), &v[i]));
        *out = qn__j_list(v, (uint32_t)n);
    }
    r->depth--;
    return QN_OK;
}
