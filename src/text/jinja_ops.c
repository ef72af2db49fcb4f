/* jinja_ops.c - operators, attributes, subscripts and slices, as Python has them.
 *
 * Integers are 64 bits wide; what would not fit is an error, never a wrong number. */
#include <math.h>
#include <string.h>

#include "text/jinja_int.h"

/* ---- arithmetic
 * ------------------------------------------------------------------------------------------------------ */

static qn_status too_big(jrun *r)
{
    return qn__j_type(r, "an integer does not fit in 64 bits");
}

static qn_status int_pow(jrun *r, int64_t a, int64_t b, jval *out)
{
    int64_t result = 1;
    if (b < 0) {
        if (a == 0)
            return qn__j_type(r, "0.0 cannot be raised to a negative power");
        *out = qn__j_float(pow((double)a, (double)b));
        return QN_OK;
    }
    while (b) {
        if ((b & 1) && __builtin_mul_overflow(result, a, &result))
            return too_big(r);
        b >>= 1;
        if (b && __builtin_mul_overflow(a, a, &a))
            return too_big(r);
    }
    *out = qn__j_int(result);
    return QN_OK;
}

static qn_status int_arith(jrun *r, jop op, int64_t a, int64_t b, jval *out)
{
    int64_t v = 0;
    bool over = false;
    if ((op == JP_DIV || op == JP_FLOORDIV || op == JP_MOD) && b == 0)
        return qn__j_type(r, op == JP_DIV ? "division by zero" : "integer division or modulo by zero");
    switch (op) {
    case JP_ADD: over = __builtin_add_overflow(a, b, &v); break;
    case JP_SUB: over = __builtin_sub_overflow(a, b, &v); break;
    case JP_MUL: over = __builtin_mul_overflow(a, b, &v); break;
    case JP_DIV: *out = qn__j_float((double)a / (double)b); return QN_OK;
    case JP_POW: return int_pow(r, a, b, out);
    default:
        if (b == -1) { /* INT64_MIN / -1 traps */
            over = op == JP_FLOORDIV && __builtin_sub_overflow((int64_t)0, a, &v);
            break;
        }
        v = op == JP_MOD ? a % b : a / b;
        if (a % b != 0 && (a < 0) != (b < 0))
            v += op == JP_MOD ? b : -1; /* towards minus infinity */
        break;
    }
    if (over)
        return too_big(r);
    *out = qn__j_int(v);
    return QN_OK;
}

static qn_status float_arith(jrun *r, jop op, double a, double b, jval *out)
{
    double v, m;
    if ((op == JP_DIV || op == JP_FLOORDIV || op == JP_MOD) && b == 0)
        return qn__j_type(r, op == JP_MOD ? "float modulo" : "float division by zero");
    switch (op) {
    case JP_ADD: v = a + b; break;
    case JP_SUB: v = a - b; break;
    case JP_MUL: v = a * b; break;
    case JP_DIV: v = a / b; break;
    case JP_POW:
        v = pow(a, b);
        if (isnan(v) && !isnan(a) && !isnan(b))
            return qn__j_type(r, "a negative number has no such power here");
        break;
    default:
        m = fmod(a, b);
        if (m != 0 && (m < 0) != (b < 0))
            m += b;
        v = op == JP_MOD ? m : floor((a - m) / b + 0.5);
        break;
    }
    *out = qn__j_float(v);
    return QN_OK;
}

/* s * n and list * n. */
static qn_status repeat(jrun *r, jval s, int64_t times, jval *out)
{
    if (times < 0)
        times = 0;
    uint64_t n;
    if (__builtin_mul_overflow((uint64_t)s.n, (uint64_t)times, &n) || n > r->t->limits.memory)
        return qn__j_fail(r, QN_ELIMIT, "repeating %lld times needs more memory than the limit", (long long)times);
    if (s.kind == J_STR) {
        char *p;
        J_TRY(qn__j_step(r, n));
        J_TRY(qn__j_alloc(r, n, &p));
        for (uint64_t i = 0; s.n && i < n; i += s.n)
            memcpy(p + i, s.u.s, s.n);
        uint8_t safe = s.safe;
        *out = qn__j_str(p, n);
        out->safe = safe;
        return QN_OK;
    }
    jval *v;
    J_TRY(qn__j_array(r, n, &v));
    for (uint64_t i = 0; s.n && i < n; i += s.n)
        memcpy(v + i, s.u.v, s.n * sizeof *v);
    *out = (jval){.kind = s.kind, .n = (uint32_t)n, .u.v = v};
    return QN_OK;
}

/* Workload: templates that build a text by s = s + x in a loop. New strings leave free bytes behind them; when the left
 * side is the newest string, the right side is written there, so that a text of n pieces costs n and not n*n. Strings
 * do not change: the bytes of the shorter one stay what they were.
 *
 *   |...left...|right|   free   |
 *               ^tail moves      ^tail_end */
qn_status qn__j_join2(jrun *r, jval a, jval b, jval *out)
{
    if (a.safe != b.safe) /* Markup + str escapes the str */
        J_TRY(qn__j_escape(r, a.safe ? b : a, a.safe ? &b : &a));
    uint64_t n = (uint64_t)a.n + b.n;
    if (n > r->t->limits.memory)
        return qn__j_fail(r, QN_ELIMIT, "a string is longer than the limit of %zu bytes", r->t->limits.memory);
    J_TRY(qn__j_step(r, b.n));
    if (!b.n || !a.n) {
        *out = b.n ? b : a;
        return QN_OK;
    }
    uint8_t safe = a.safe;
    char *p;
    if (a.u.s + a.n == r->tail && (size_t)(r->tail_end - r->tail) >= b.n) {
        memcpy(r->tail, b.u.s, b.n);
        r->tail += b.n;
        *out = qn__j_str(a.u.s, n);
    } else {
        size_t room = n < 64 ? n : n + n / 2;
        J_TRY(qn__j_step(r, a.n));
        J_TRY(qn__j_alloc(r, room, &p));
        memcpy(p, a.u.s, a.n);
        memcpy(p + a.n, b.u.s, b.n);
        r->tail = p + n;
        r->tail_end = p + room;
        *out = qn__j_str(p, n);
    }
    out->safe = safe;
    return QN_OK;
}

static qn_status join_lists(jrun *r, jval a, jval b, jval *out)
{
    jval *v;
    J_TRY(qn__j_array(r, (uint64_t)a.n + b.n, &v));
    if (a.n)
        memcpy(v, a.u.v, a.n * sizeof *v);
    if (b.n)
        memcpy(v + a.n, b.u.v, b.n * sizeof *v);
    *out = (jval){.kind = a.kind, .n = a.n + b.n, .u.v = v};
    return QN_OK;
}

qn_status qn__j_arith(jrun *r, jop op, jval a, jval b, jval *out)
{
    static const char *const names[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};
    J_TRY(qn__j_step(r, 0));
    if (qn__j_is_int(a) && qn__j_is_int(b))
        return int_arith(r, op, qn__j_as_int(a), qn__j_as_int(b), out);
    if (qn__j_is_num(a) && qn__j_is_num(b))
        return float_arith(r, op, qn__j_as_float(a), qn__j_as_float(b), out);
    if (op == JP_MOD && a.kind == J_STR)
        return qn__j_printf(r, a, b, out);
    if (a.kind == J_UNDEF || b.kind == J_UNDEF)
        return qn__j_undef_used(r, a.kind == J_UNDEF ? a : b);
    bool list_a = a.kind == J_LIST || a.kind == J_TUPLE, list_b = b.kind == J_LIST || b.kind == J_TUPLE;
    if (op == JP_ADD && a.kind == J_STR && b.kind == J_STR)
        return qn__j_join2(r, a, b, out);
    if (op == JP_ADD && list_a && a.kind == b.kind)
        return join_lists(r, a, b, out);
    if (op == JP_MUL && (list_a || a.kind == J_STR) && qn__j_is_int(b))
        return repeat(r, a, qn__j_as_int(b), out);
    if (op == JP_MUL && (list_b || b.kind == J_STR) && qn__j_is_int(a))
        return repeat(r, b, qn__j_as_int(a), out);
    if (op == JP_ADD && (a.kind == J_STR || list_a))
        return qn__j_type(r, "can only concatenate %s (not \"%s\") to %s", qn__j_type_name(a), qn__j_type_name(b),
                          qn__j_type_name(a));
    return qn__j_type(r, "unsupported operand type(s) for %s: '%s' and '%s'", names[op], qn__j_type_name(a),
                      qn__j_type_name(b));
}

qn_status qn__j_test_cmp(jrun *r, jop op, jval a, jval b, bool *out)
{
    static const char *const names[] = {"<", "<=", ">", ">="};
    int sign;
    switch (op) {
    case JP_EQ:
    case JP_NE:
        J_TRY(qn__j_equal(r, a, b, out));
        *out ^= op == JP_NE;
        return QN_OK;
    case JP_IN:
    case JP_NOTIN:
        J_TRY(qn__j_contains(r, a, b, out));
        *out ^= op == JP_NOTIN;
        return QN_OK;
    default: break;
    }
    J_TRY(qn__j_compare(r, a, b, names[op - JP_LT], &sign));
    bool less = sign == -1, more = sign == 1, same = sign == 0;
    *out = op == JP_LT ? less : op == JP_LE ? less || same : op == JP_GT ? more : more || same;
    return QN_OK;
}

/* ---- attributes and subscripts
 * ---------------------------------------------------------------------------------------- */

static bool is_mutator(jval v, qn_slice name)
{
    static const char *const of_list[] = {"append", "clear",  "pop",    "reverse", "insert",
                                          "sort",   "extend", "remove", NULL};
    static const char *const of_dict[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
    const char *const *names = v.kind == J_LIST ? of_list : v.kind == J_DICT ? of_dict : NULL;
    for (; names && *names; names++)
        if (strlen(*names) == name.n && memcmp(*names, name.p, name.n) == 0)
            return true;
    return false;
}

/* What Python's getattr finds: methods, and the fields of our own objects. */
static qn_status python_attr(jrun *r, jval v, qn_slice name, jval *out, bool *found)
{
    *found = true;
    if (v.kind == J_LOOP) {
        J_TRY(qn__j_loop_attr(r, v.u.loop, name, out, found));
        if (*found)
            return QN_OK;
    }
    if (v.kind == J_NS) {
        const jval *field = qn__j_dict_find(v.u.dict, name);
        *found = field != NULL;
        if (field)
            *out = *field;
        return qn__j_step(r, v.u.dict->n);
    }
    if (v.kind == J_MACRO && name.n == 4 && memcmp(name.p, "name", 4) == 0) {
        *out = qn__j_str(v.u.macro->node->name.p, v.u.macro->node->name.n);
        return QN_OK;
    }
    if (v.kind == J_CYCLER && name.n == 7 && memcmp(name.p, "current", 7) == 0) {
        *out = v.u.cycler->v[v.u.cycler->pos];
        return QN_OK;
    }
    bool grouper = name.n == 7 && memcmp(name.p, "grouper", 7) == 0,
         list = name.n == 4 && memcmp(name.p, "list", 4) == 0;
    if (v.kind == J_TUPLE && v.safe && (grouper || list)) {
        *out = v.u.v[list];
        return QN_OK;
    }
    if (is_mutator(v, name) || (name.n > 1 && name.p[0] == '_' && name.p[1] == '_'))
        return qn__j_undef(r, JU_UNSAFE, (jkind)v.kind, name, out);
    const jbuiltin *fn = qn__j_method(v, name);
    *found = fn != NULL;
    if (fn) {
        jmethod *m;
        J_TRY(qn__j_alloc(r, sizeof *m, &m));
        *m = (jmethod){v, fn};
        *out = (jval){.kind = J_METHOD, .u.method = m};
    }
    return QN_OK;
}

qn_status qn__j_getattr(jrun *r, jval v, qn_slice name, jval *out)
{
    bool found;
    J_TRY(qn__j_step(r, 0));
    if (v.kind == J_UNDEF)
        return qn__j_undef_used(r, v);
    J_TRY(python_attr(r, v, name, out, &found));
    if (found)
        return QN_OK;
    if (v.kind == J_DICT) {
        const jval *item = qn__j_dict_find(v.u.dict, name);
        J_TRY(qn__j_step(r, v.u.dict->n));
        if (item) {
            *out = *item;
            return QN_OK;
        }
    }
    return qn__j_undef(r, JU_ATTR, (jkind)v.kind, name, out);
}

/* Index i (may be negative) within n; false when outside. */
static bool at_index(int64_t i, uint32_t n, uint32_t *at)
{
    if (i < 0)
        i += n;
    if (i < 0 || i >= n)
        return false;
    *at = (uint32_t)i;
    return true;
}

static qn_status missing(jrun *r, jval v, jval key, jval *out)
{
    jval name;
    J_TRY(qn__j_to_str(r, key, &name));
    return qn__j_undef(r, JU_ATTR, (jkind)v.kind, (qn_slice){name.u.s, name.n}, out);
}

qn_status qn__j_getitem(jrun *r, jval v, jval key, jval *out)
{
    uint32_t at, n;
    bool found;
    J_TRY(qn__j_step(r, 0));
    if (v.kind == J_UNDEF)
        return qn__j_undef_used(r, v);
    if (v.kind == J_DICT && key.kind != J_LIST && key.kind != J_DICT) {
        const jval *item;
        J_TRY(qn__j_dict_get(r, v.u.dict, key, &item));
        if (item) {
            *out = *item;
            return QN_OK;
        }
    } else if ((v.kind == J_LIST || v.kind == J_TUPLE) && qn__j_is_int(key)) {
        if (at_index(qn__j_as_int(key), v.n, &at)) {
            *out = v.u.v[at];
            return QN_OK;
        }
    } else if (v.kind == J_RANGE && qn__j_is_int(key)) {
        if (at_index(qn__j_as_int(key), v.u.range->n, &at)) {
            *out = qn__j_int(v.u.range->start + v.u.range->step * (int64_t)at);
            return QN_OK;
        }
    } else if (v.kind == J_STR && qn__j_is_int(key)) {
        J_TRY(qn__j_len(r, v, &n));
        if (at_index(qn__j_as_int(key), n, &at)) {
            size_t from = qn__j_offset(v, at);
            int32_t cp;
            *out = qn__j_str(v.u.s + from, qn__j_char(v.u.s + from, v.n - from, &cp));
            out->safe = v.safe;
            return QN_OK;
        }
    }
    if (key.kind == J_STR) {
        J_TRY(python_attr(r, v, (qn_slice){key.u.s, key.n}, out, &found));
        if (found)
            return QN_OK;
    }
    if (key.kind == J_UNDEF)
        key = qn__j_str("Undefined", 9);
    return missing(r, v, key, out);
}

/* ---- slices
 * -------------------------------------------------------------------------------------------------------------- */

static qn_status bound(jrun *r, jval v, int64_t n, int64_t step, int64_t absent, int64_t *out)
{
    if (v.kind == J_ABSENT || v.kind == J_NONE) {
        *out = absent;
        return QN_OK;
    }
    if (v.kind == J_UNDEF)
        return qn__j_undef_used(r, v);
    if (!qn__j_is_int(v))
        return qn__j_type(r, "slice indices must be integers or None or have an __index__ method");
    int64_t i = qn__j_as_int(v);
    if (i < 0)
        i = i < -n ? -1 : i + n; /* -1: before the first, to be clamped */
    if (i < 0)
        i = step < 0 ? -1 : 0;
    if (i >= n)
        i = step < 0 ? n - 1 : n;
    *out = i;
    return QN_OK;
}

qn_status qn__j_slice(jrun *r, jval v, jval from, jval to, jval step, jval *out)
{
    uint32_t n;
    int64_t by = 1, lo, hi;
    const jval *items;
    if (v.kind == J_UNDEF)
        return qn__j_undef_used(r, v);
    if (v.kind != J_STR && v.kind != J_LIST && v.kind != J_TUPLE && v.kind != J_RANGE)
        return missing(r, v, qn__j_str("slice", 5), out);
    if (step.kind != J_ABSENT && step.kind != J_NONE) {
        if (!qn__j_is_int(step))
            return qn__j_type(r, "slice indices must be integers or None or have an __index__ method");
        by = qn__j_as_int(step);
        if (by == 0)
            return qn__j_type(r, "slice step cannot be zero");
    }
    J_TRY(qn__j_len(r, v, &n));
    if (by > (int64_t)n + 1 || by < -(int64_t)n - 1) /* no further than the end anyway */
        by = by > 0 ? (int64_t)n + 1 : -(int64_t)n - 1;
    J_TRY(bound(r, from, n, by, by > 0 ? 0 : (int64_t)n - 1, &lo));
    J_TRY(bound(r, to, n, by, by > 0 ? (int64_t)n : -1, &hi));
    int64_t count = by > 0 ? (hi > lo ? (hi - lo + by - 1) / by : 0) : (lo > hi ? (lo - hi - by - 1) / -by : 0);
    if (v.kind == J_RANGE) {
        jrange *x;
        int64_t start = v.u.range->start, old = v.u.range->step;
        J_TRY(qn__j_alloc(r, sizeof *x, &x));
        *x = (jrange){start + lo * old, start + hi * old, old * by, (uint32_t)count};
        *out = (jval){.kind = J_RANGE, .u.range = x};
        return QN_OK;
    }
    if (v.kind == J_STR && by == 1) {
        size_t a = qn__j_offset(v, (uint32_t)lo), b = count ? qn__j_offset(v, (uint32_t)hi) : a;
        uint8_t safe = v.safe;
        *out = qn__j_str(v.u.s + a, b - a);
        out->safe = safe;
        return QN_OK;
    }
    J_TRY(qn__j_items(r, v, &items, &n));
    if (v.kind == J_STR) {
        size_t mark = qn__j_mark(r);
        for (int64_t i = lo, k = 0; k < count; i += by, k++)
            J_TRY(qn__j_emit(r, items[i].u.s, items[i].n));
        return qn__j_take(r, mark, out);
    }
    jval *copy;
    J_TRY(qn__j_array(r, (uint64_t)count, &copy));
    for (int64_t i = lo, k = 0; k < count; i += by, k++)
        copy[k] = items[i];
    *out = (jval){.kind = v.kind == J_TUPLE ? J_TUPLE : J_LIST, .n = (uint32_t)count, .u.v = copy};
    return QN_OK;
}
