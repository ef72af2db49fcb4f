/* jinja_test.c - tests (`x is ...`), global functions, methods of everything but strings, and the look-up of all
 * built-ins by name. */
#include <string.h>

#include "text/jinja_int.h"

/* ---- tests
 * ------------------------------------------------------------------------------------------------------------------ */

#define TEST(name, expr)                                                                                               \
    static qn_status name(jrun *r, const jcall *c, jval *out)                                                          \
    {                                                                                                                  \
        jval v = c->self;                                                                                              \
        (void)r;                                                                                                       \
        *out = qn__j_bool(expr);                                                                                       \
        return QN_OK;                                                                                                  \
    }
TEST(t_defined, v.kind != J_UNDEF)
TEST(t_undefined, v.kind == J_UNDEF)
TEST(t_none, v.kind == J_NONE)
TEST(t_boolean, v.kind == J_BOOL)
TEST(t_true, v.kind == J_BOOL && v.u.b)
TEST(t_false, v.kind == J_BOOL && !v.u.b)
TEST(t_integer, v.kind == J_INT)
TEST(t_float, v.kind == J_FLOAT)
TEST(t_number, qn__j_is_num(v))
TEST(t_string, v.kind == J_STR)
TEST(t_mapping, v.kind == J_DICT)
TEST(t_iterable, qn__j_iterable(v))
TEST(t_sequence, v.kind == J_UNDEF || v.kind == J_STR || v.kind == J_LIST || v.kind == J_TUPLE || v.kind == J_DICT ||
                     v.kind == J_RANGE)
TEST(t_callable, v.kind == J_MACRO || v.kind == J_METHOD || v.kind == J_FUNC || v.kind == J_LOOP ||
                     v.kind == J_JOINER || v.kind == J_UNDEF)
TEST(t_escaped, v.kind == J_STR && v.safe)

static qn_status parity(jrun *r, const jcall *c, jval by, int64_t want, jval *out)
{
    jval rest;
    bool same;
    J_TRY(qn__j_arith(r, JP_MOD, c->self, by, &rest));
    J_TRY(qn__j_equal(r, rest, qn__j_int(want), &same));
    *out = qn__j_bool(same);
    return QN_OK;
}

static qn_status t_odd(jrun *r, const jcall *c, jval *out)
{
    return parity(r, c, qn__j_int(2), 1, out);
}

static qn_status t_even(jrun *r, const jcall *c, jval *out)
{
    return parity(r, c, qn__j_int(2), 0, out);
}

static qn_status t_divisibleby(jrun *r, const jcall *c, jval *out)
{
    return parity(r, c, c->a[0], 0, out);
}

static qn_status string_method(jrun *r, const jcall *c, const char *name, jval *out)
{
    jcall k = {0};
    J_TRY(qn__j_to_str(r, c->self, &k.self));
    return qn__j_call_builtin(r, qn__j_find(qn__j_str_methods, (qn_slice){name, strlen(name)}), &k, out);
}

static qn_status t_lower(jrun *r, const jcall *c, jval *out)
{
    return string_method(r, c, "islower", out);
}

static qn_status t_upper(jrun *r, const jcall *c, jval *out)
{
    return string_method(r, c, "isupper", out);
}

static qn_status t_filter(jrun *r, const jcall *c, jval *out)
{
    (void)r;
    *out = qn__j_bool(c->self.kind == J_STR && qn__j_filter((qn_slice){c->self.u.s, c->self.n}));
    return QN_OK;
}

static qn_status t_test(jrun *r, const jcall *c, jval *out)
{
    (void)r;
    *out = qn__j_bool(c->self.kind == J_STR && qn__j_test((qn_slice){c->self.u.s, c->self.n}));
    return QN_OK;
}

static qn_status t_sameas(jrun *r, const jcall *c, jval *out)
{
    jval a = c->self, b = c->a[0];
    bool same = a.kind == b.kind;
    if (same && (a.kind == J_STR || qn__j_is_num(a)))
        J_TRY(qn__j_equal(r, a, b, &same));
    else if (same && a.kind != J_NONE)
        same = a.u.v == b.u.v;
    *out = qn__j_bool(same);
    return QN_OK;
}

static qn_status compare(jrun *r, const jcall *c, jop op, jval *out)
{
    bool yes;
    J_TRY(qn__j_test_cmp(r, op, c->self, c->a[0], &yes));
    *out = qn__j_bool(yes);
    return QN_OK;
}

static qn_status t_eq(jrun *r, const jcall *c, jval *out)
{
    return compare(r, c, JP_EQ, out);
}

static qn_status t_ne(jrun *r, const jcall *c, jval *out)
{
    return compare(r, c, JP_NE, out);
}

static qn_status t_lt(jrun *r, const jcall *c, jval *out)
{
    return compare(r, c, JP_LT, out);
}

static qn_status t_le(jrun *r, const jcall *c, jval *out)
{
    return compare(r, c, JP_LE, out);
}

static qn_status t_gt(jrun *r, const jcall *c, jval *out)
{
    return compare(r, c, JP_GT, out);
}

static qn_status t_ge(jrun *r, const jcall *c, jval *out)
{
    return compare(r, c, JP_GE, out);
}

static qn_status t_in(jrun *r, const jcall *c, jval *out)
{
    return compare(r, c, JP_IN, out);
}

#define T(name)                                                                                                        \
    {                                                                                                                  \
#name, t_##name, "", 0, 0                                                                                      \
    }
#define T1(name, fn)                                                                                                   \
    {                                                                                                                  \
        name, fn, "other", 1, 0                                                                                        \
    }
static const jbuiltin tests[] = {T(defined),
                                 T(undefined),
                                 T(none),
                                 T(boolean),
                                 T(true),
                                 T(false),
                                 T(integer),
                                 T(float),
                                 T(number),
                                 T(string),
                                 T(mapping),
                                 T(iterable),
                                 T(sequence),
                                 T(callable),
                                 T(escaped),
                                 T(odd),
                                 T(even),
                                 T(lower),
                                 T(upper),
                                 T(filter),
                                 T(test),
                                 {"divisibleby", t_divisibleby, "num", 1, 0},
                                 T1("sameas", t_sameas),
                                 T1("in", t_in),
                                 T1("eq", t_eq),
                                 T1("equalto", t_eq),
                                 T1("==", t_eq),
                                 T1("ne", t_ne),
                                 T1("!=", t_ne),
                                 T1("lt", t_lt),
                                 T1("lessthan", t_lt),
                                 T1("<", t_lt),
                                 T1("le", t_le),
                                 T1("<=", t_le),
                                 T1("gt", t_gt),
                                 T1("greaterthan", t_gt),
                                 T1(">", t_gt),
                                 T1("ge", t_ge),
                                 T1(">=", t_ge),
                                 {NULL, NULL, NULL, 0, 0}};

/* ---- global functions
 * -------------------------------------------------------------------------------------------------------- */

static qn_status g_range(jrun *r, const jcall *c, jval *out)
{
    int64_t v[3] = {0, 0, 1};
    uint64_t n = 0;
    jrange *x;
    if (c->n_kw || c->n_pos < 1 || c->n_pos > 3)
        return qn__j_type(r, "range expected 1 to 3 arguments, got %u", (unsigned)c->n_pos);
    for (uint32_t i = 0; i < c->n_pos; i++) {
        if (c->pos[i].kind == J_UNDEF)
            return qn__j_undef_used(r, c->pos[i]);
        if (!qn__j_is_int(c->pos[i]))
            return qn__j_type(r, "'%s' object cannot be interpreted as an integer", qn__j_type_name(c->pos[i]));
        v[c->n_pos == 1 ? 1 : i] = qn__j_as_int(c->pos[i]);
    }
    if (v[2] == 0)
        return qn__j_type(r, "range() arg 3 must not be zero");
    if (v[2] > 0 && v[0] < v[1])
        n = ((uint64_t)v[1] - (uint64_t)v[0] - 1) / (uint64_t)v[2] + 1;
    if (v[2] < 0 && v[0] > v[1])
        n = ((uint64_t)v[0] - (uint64_t)v[1] - 1) / (0 - (uint64_t)v[2]) + 1;
    if (n > 100000) /* the bound of Jinja's sandbox */
        return qn__j_fail(r, QN_ELIMIT, "range too big; ranges of more than 100000 items are refused");
    J_TRY(qn__j_alloc(r, sizeof *x, &x));
    *x = (jrange){v[0], v[1], v[2], (uint32_t)n};
    *out = (jval){.kind = J_RANGE, .u.range = x};
    return QN_OK;
}

static qn_status g_dict(jrun *r, const jcall *c, jval *out)
{
    const jval *v, *kv;
    uint32_t n, two;
    jval d;
    if (c->n_pos > 1)
        return qn__j_type(r, "dict expected at most 1 argument, got %u", (unsigned)c->n_pos);
    if (c->n_pos && c->pos[0].kind == J_UNDEF)
        return qn__j_undef_used(r, c->pos[0]);
    J_TRY(qn__j_dict_new(r, 0, &d));
    if (c->n_pos && c->pos[0].kind == J_DICT) {
        for (uint32_t i = 0; i < c->pos[0].u.dict->n; i++)
            J_TRY(qn__j_dict_put(r, d.u.dict, c->pos[0].u.dict->v[i].k, c->pos[0].u.dict->v[i].v));
    } else if (c->n_pos) {
        J_TRY(qn__j_items(r, c->pos[0], &v, &n));
        for (uint32_t i = 0; i < n; i++) {
            J_TRY(qn__j_items(r, v[i], &kv, &two));
            if (two != 2)
                return qn__j_type(r, "dictionary update sequence element #%u has length %u; 2 is required", (unsigned)i,
                                  (unsigned)two);
            J_TRY(qn__j_dict_put(r, d.u.dict, kv[0], kv[1]));
        }
    }
    for (uint32_t i = 0; i < c->n_kw; i++)
        J_TRY(qn__j_dict_put(r, d.u.dict, qn__j_str(c->kw[i].name.p, c->kw[i].name.n), c->kw[i].v));
    *out = d;
    return QN_OK;
}

static qn_status g_namespace(jrun *r, const jcall *c, jval *out)
{
    J_TRY(g_dict(r, c, out));
    out->kind = J_NS;
    return QN_OK;
}

static qn_status g_joiner(jrun *r, const jcall *c, jval *out)
{
    jjoiner *j;
    J_TRY(qn__j_alloc(r, sizeof *j, &j));
    *j = (jjoiner){c->a[0].kind == J_ABSENT ? qn__j_str(", ", 2) : c->a[0], false};
    *out = (jval){.kind = J_JOINER, .u.joiner = j};
    return QN_OK;
}

static qn_status g_cycler(jrun *r, const jcall *c, jval *out)
{
    if (!c->n_pos || c->n_kw)
        return qn__j_type(r, "at least one item has to be provided");
    J_TRY(qn__j_gen(r, c->pos, c->n_pos, out));
    out->kind = J_CYCLER;
    return QN_OK;
}

static qn_status g_raise_exception(jrun *r, const jcall *c, jval *out)
{
    jval s;
    (void)out;
    J_TRY(qn__j_to_str(r, c->a[0], &s));
    return qn__j_fail(r, QN_ERAISED, "%.*s", (int)(s.n > 2000 ? 2000 : s.n), s.u.s);
}

static qn_status g_strftime_now(jrun *r, const jcall *c, jval *out)
{
    if (c->a[0].kind != J_STR)
        return qn__j_type(r, "strftime() argument 1 must be str, not %s", qn__j_type_name(c->a[0]));
    return qn__j_strftime(r, c->a[0], out);
}

static const jbuiltin globals[] = {{"range", g_range, NULL, 0, 0},
                                   {"dict", g_dict, NULL, 0, 0},
                                   {"namespace", g_namespace, NULL, 0, 0},
                                   {"joiner", g_joiner, "sep", 0, 0},
                                   {"cycler", g_cycler, NULL, 0, 0},
                                   {"raise_exception", g_raise_exception, "message", 1, 0},
                                   {"strftime_now", g_strftime_now, "format", 1, 0},
                                   {NULL, NULL, NULL, 0, 0}};

/* ---- methods
 * -------------------------------------------------------------------------------------------------------------------
 */

static qn_status m_get(jrun *r, const jcall *c, jval *out)
{
    const jval *v;
    J_TRY(qn__j_dict_get(r, c->self.u.dict, c->a[0], &v));
    *out = v ? *v : c->a[1].kind == J_ABSENT ? qn__j_none() : c->a[1];
    return QN_OK;
}

static qn_status m_keys(jrun *r, const jcall *c, jval *out)
{
    const jval *v;
    uint32_t n;
    J_TRY(qn__j_items(r, c->self, &v, &n));
    *out = (jval){.kind = J_KEYS, .n = n, .u.v = v};
    return QN_OK;
}

static qn_status m_values(jrun *r, const jcall *c, jval *out)
{
    const jdict *d = c->self.u.dict;
    jval *v;
    J_TRY(qn__j_array(r, d->n, &v));
    for (uint32_t i = 0; i < d->n; i++)
        v[i] = d->v[i].v;
    *out = (jval){.kind = J_VALUES, .n = d->n, .u.v = v};
    return QN_OK;
}

static qn_status m_items(jrun *r, const jcall *c, jval *out)
{
    const jdict *d = c->self.u.dict;
    jval *v;
    J_TRY(qn__j_array(r, d->n, &v));
    for (uint32_t i = 0; i < d->n; i++)
        J_TRY(qn__j_pair(r, d->v[i].k, d->v[i].v, &v[i]));
    *out = (jval){.kind = J_ITEMS, .n = d->n, .u.v = v};
    return QN_OK;
}

static qn_status m_copy(jrun *r, const jcall *c, jval *out)
{
    (void)r; /* values do not change: the copy is the thing itself */
    *out = c->self;
    return QN_OK;
}

static qn_status m_index(jrun *r, const jcall *c, jval *out)
{
    for (uint32_t i = 0; i < c->self.n; i++) {
        bool same;
        J_TRY(qn__j_equal(r, c->self.u.v[i], c->a[0], &same));
        if (same) {
            *out = qn__j_int(i);
            return QN_OK;
        }
    }
    return qn__j_type(r, "the value is not in the %s", qn__j_type_name(c->self));
}

static qn_status m_count(jrun *r, const jcall *c, jval *out)
{
    int64_t n = 0;
    for (uint32_t i = 0; i < c->self.n; i++) {
        bool same;
        J_TRY(qn__j_equal(r, c->self.u.v[i], c->a[0], &same));
        n += same;
    }
    *out = qn__j_int(n);
    return QN_OK;
}

static qn_status m_is_integer(jrun *r, const jcall *c, jval *out)
{
    (void)r;
    double f = qn__j_as_float(c->self);
    *out = qn__j_bool(f - f == 0 && (f >= 9e15 || f <= -9e15 || (double)(int64_t)f == f));
    return QN_OK;
}

static qn_status m_next(jrun *r, const jcall *c, jval *out)
{
    jgen *g = c->self.u.cycler;
    (void)r;
    *out = g->v[g->pos];
    g->pos = (g->pos + 1) % g->n;
    return QN_OK;
}

static qn_status m_reset(jrun *r, const jcall *c, jval *out)
{
    (void)r;
    c->self.u.cycler->pos = 0;
    *out = qn__j_none();
    return QN_OK;
}

static const jbuiltin methods[] = {{"get", m_get, "key,default", 1, J_BIT(J_DICT)},
                                   {"keys", m_keys, "", 0, J_BIT(J_DICT)},
                                   {"values", m_values, "", 0, J_BIT(J_DICT)},
                                   {"items", m_items, "", 0, J_BIT(J_DICT)},
                                   {"copy", m_copy, "", 0, J_BIT(J_DICT) | J_BIT(J_LIST)},
                                   {"index", m_index, "value", 1, J_BIT(J_LIST) | J_BIT(J_TUPLE)},
                                   {"count", m_count, "value", 1, J_BIT(J_LIST) | J_BIT(J_TUPLE)},
                                   {"is_integer", m_is_integer, "", 0, J_BIT(J_FLOAT)},
                                   {"next", m_next, "", 0, J_BIT(J_CYCLER)},
                                   {"reset", m_reset, "", 0, J_BIT(J_CYCLER)},
                                   {NULL, NULL, NULL, 0, 0}};

/* ---- look-up
 * ---------------------------------------------------------------------------------------------------------------------
 */

const jbuiltin *qn__j_find(const jbuiltin *table, qn_slice name)
{
    for (; table->name; table++)
        if (strlen(table->name) == name.n && memcmp(table->name, name.p, name.n) == 0)
            return table;
    return NULL;
}

const jbuiltin *qn__j_filter(qn_slice name)
{
    const jbuiltin *f = qn__j_find(qn__j_filters_text, name);
    return f ? f : qn__j_find(qn__j_filters_seq, name);
}

const jbuiltin *qn__j_test(qn_slice name)
{
    return qn__j_find(tests, name);
}

const jbuiltin *qn__j_global(qn_slice name)
{
    return qn__j_find(globals, name);
}

const jbuiltin *qn__j_method(jval self, qn_slice name)
{
    const jbuiltin *table = self.kind == J_STR ? qn__j_str_methods : self.kind == J_LOOP ? qn__j_loop_methods : methods;
    const jbuiltin *m = qn__j_find(table, name);
    return m && (m->mask & J_BIT(self.kind)) ? m : NULL;
}
