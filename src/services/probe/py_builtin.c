/* py_builtin.c - what programs of the small Python may call: functions, and methods by the type of what stands before the dot. See
 * py_int.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/probe/py_int.h"

static const py_val NONE = {.t = PY_NONE};

static py_val boolean(bool b)
{
    return (py_val){PY_BOOL, .i = b};
}

static py_val integer(int64_t i)
{
    return (py_val){PY_INT, .i = i};
}

py_val py_taken(py *r, qn_buf *b)
{
    py_val v = py_str(r, b->data ? b->data : "", b->n);
    qn__buf_free(b);
    return v;
}

py_val py_keyword(const py_args *a, const char *name, py_val otherwise)
{
    for (size_t i = 0; i < a->n_kw; i++)
        if (strcmp(a->names[i], name) == 0)
            return a->kw[i];
    return otherwise;
}

bool py_is_int(py *r, py_val v, const char *what)
{
    if (v.t == PY_INT || v.t == PY_BOOL)
        return true;
    (void)py_raise(r, "TypeError", "%s must be an integer, not '%s'", what, py_type_name(v));
    return false;
}

bool py_is_str(py *r, py_val v, const char *what)
{
    if (v.t == PY_STR)
        return true;
    (void)py_raise(r, "TypeError", "%s must be a string, not '%s'", what, py_type_name(v));
    return false;
}

/* ---- functions ---- */

static py_val f_len(py *r, py_val self, py_args *a)
{
    (void)self;
    const py_val v = a->v[0];
    if (v.t == PY_STR)
        return integer((int64_t)v.s->n);
    if (v.t == PY_LIST || v.t == PY_TUPLE)
        return integer((int64_t)v.q->n);
    if (v.t == PY_DICT || v.t == PY_SET)
        return integer((int64_t)v.m->n);
    return py_raise(r, "TypeError", "object of type '%s' has no len()", py_type_name(v));
}

static py_val f_range(py *r, py_val self, py_args *a)
{
    int64_t from = 0, by = 1;
    (void)self;
    for (size_t i = 0; i < a->n; i++)
        if (!py_is_int(r, a->v[i], "range()'s argument"))
            return NONE;
    const int64_t to = a->n > 1 ? a->v[1].i : a->v[0].i;
    if (a->n > 1)
        from = a->v[0].i;
    if (a->n > 2)
        by = a->v[2].i;
    if (by == 0 || by > PY_STEPS || by < -PY_STEPS)
        return py_raise(r, "ValueError", "range() arg 3 must not be zero or so large");
    py_val out = py_list(r, PY_LIST);
    for (int64_t i = from; (by > 0 ? i < to : i > to) && !r->raised && py_append(r, out, integer(i)); i += by) {
    }
    return out;
}

static py_val extreme(py *r, py_args *a, int sign)
{
    py_val list = a->n == 1 ? py_items(r, a->v[0]) : NONE, key = py_keyword(a, "key", NONE), best = NONE, best_key = NONE;
    const py_val *v = a->n == 1 && list.t == PY_LIST ? list.q->v : a->v;
    const size_t n = a->n == 1 ? list.t == PY_LIST ? list.q->n : 0 : a->n;
    if (r->raised)
        return NONE;
    for (size_t i = 0; i < n && !r->raised; i++) {
        py_val k = v[i];
        if (key.t != PY_NONE) {
            py_args one = {.n = 1};
            one.v[0] = v[i];
            k = py_call(r, key, &one);
        }
        if (i == 0 || (!r->raised && sign * py_order(r, k, best_key) > 0)) {
            best = v[i];
            best_key = k;
        }
    }
    for (size_t i = 0; n == 0 && i < a->n_kw; i++)
        if (strcmp(a->names[i], "default") == 0)
            return a->kw[i];
    return n ? best : py_raise(r, "ValueError", "%s() arg is an empty sequence", sign > 0 ? "max" : "min");
}

static py_val f_min(py *r, py_val self, py_args *a)
{
    (void)self;
    return extreme(r, a, -1);
}

static py_val f_max(py *r, py_val self, py_args *a)
{
    (void)self;
    return extreme(r, a, 1);
}

static py_val f_sum(py *r, py_val self, py_args *a)
{
    (void)self;
    py_val list = py_items(r, a->v[0]), all = a->n > 1 ? a->v[1] : py_keyword(a, "start", integer(0));
    for (size_t i = 0; !r->raised && i < list.q->n; i++)
        all = py_binary(r, PY_ADD, all, list.q->v[i]);
    return all;
}

static py_val f_abs(py *r, py_val self, py_args *a)
{
    (void)self;
    if (a->v[0].t == PY_FLOAT)
        return (py_val){PY_FLOAT, .f = fabs(a->v[0].f)};
    return py_is_int(r, a->v[0], "abs()'s argument") ? (a->v[0].i < 0 ? py_binary(r, PY_SUB, integer(0), a->v[0]) : integer(a->v[0].i)) : NONE;
}

static py_val f_round(py *r, py_val self, py_args *a)
{
    (void)self;
    const py_val v = a->v[0];
    if (v.t != PY_FLOAT && v.t != PY_INT && v.t != PY_BOOL)
        return py_raise(r, "TypeError", "type %s cannot be rounded", py_type_name(v));
    const double f = v.t == PY_FLOAT ? v.f : (double)v.i;
    if (a->n < 2) {
        const double n = nearbyint(f);
        return fabs(n) < 9e18 ? integer((int64_t)n) : py_raise(r, "OverflowError", "cannot be rounded to an integer");
    }
    if (!py_is_int(r, a->v[1], "round()'s argument"))
        return NONE;
    if (v.t != PY_FLOAT || a->v[1].i < -18 || a->v[1].i > 18)
        return v;
    char s[400];
    (void)snprintf(s, sizeof s, "%.*f", a->v[1].i < 0 ? 0 : (int)a->v[1].i, f);
    const double ten = pow(10, (double)a->v[1].i);
    return (py_val){PY_FLOAT, .f = a->v[1].i < 0 ? nearbyint(f * ten) / ten : strtod(s, NULL)};
}

static int compare(py *r, const py_val *a, const py_val *b, bool down)
{
    const int c = py_order(r, *a, *b);
    return down ? -c : c;
}

/* Insertion into what is sorted already: stable, and lists are small (steps are counted). */
void py_sort(py *r, py_seq *q, py_val key, bool down)
{
    py_val *keys = py_alloc(r, (q->n + 1) * sizeof *keys);
    for (size_t i = 0; keys && i < q->n && !r->raised; i++) {
        py_val v = q->v[i], k = v;
        if (key.t != PY_NONE) {
            py_args one = {.n = 1};
            one.v[0] = v;
            k = py_call(r, key, &one);
        }
        size_t j = i;
        for (; j > 0 && !r->raised && py_step(r) && compare(r, &keys[j - 1], &k, down) > 0; j--) {
            keys[j] = keys[j - 1];
            q->v[j] = q->v[j - 1];
        }
        keys[j] = k;
        q->v[j] = v;
    }
}

static py_val f_sorted(py *r, py_val self, py_args *a)
{
    (void)self;
    py_val list = py_items(r, a->v[0]);
    if (!r->raised)
        py_sort(r, list.q, py_keyword(a, "key", NONE), py_truth(py_keyword(a, "reverse", NONE)));
    return list;
}

static py_val f_reversed(py *r, py_val self, py_args *a)
{
    (void)self;
    py_val list = py_items(r, a->v[0]);
    for (size_t i = 0; !r->raised && i < list.q->n / 2; i++) {
        const py_val v = list.q->v[i];
        list.q->v[i] = list.q->v[list.q->n - 1 - i];
        list.q->v[list.q->n - 1 - i] = v;
    }
    return list;
}

static py_val f_enumerate(py *r, py_val self, py_args *a)
{
    (void)self;
    py_val list = py_items(r, a->v[0]), out = py_list(r, PY_LIST), start = a->n > 1 ? a->v[1] : py_keyword(a, "start", integer(0));
    if (!py_is_int(r, start, "enumerate()'s start"))
        return NONE;
    for (size_t i = 0; !r->raised && i < list.q->n; i++) {
        py_val two = py_list(r, PY_TUPLE);
        if (!r->raised && py_append(r, two, integer(start.i + (int64_t)i)) && py_append(r, two, list.q->v[i]))
            (void)py_append(r, out, two);
    }
    return out;
}

static py_val f_zip(py *r, py_val self, py_args *a)
{
    (void)self;
    py_val lists[PY_ARGS], out = py_list(r, PY_LIST);
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < a->n && !r->raised; i++) {
        lists[i] = py_items(r, a->v[i]);
        if (!r->raised && lists[i].q->n < least)
            least = lists[i].q->n;
    }
    for (size_t i = 0; a->n && i < least && !r->raised; i++) {
        py_val t = py_list(r, PY_TUPLE);
        for (size_t j = 0; j < a->n && !r->raised; j++)
            (void)py_append(r, t, lists[j].q->v[i]);
        if (!r->raised)
            (void)py_append(r, out, t);
    }
    return out;
}

static py_val f_str(py *r, py_val self, py_args *a)
{
    qn_buf b = {0};
    (void)self;
    if (a->n)
        py_show(r, &b, a->v[0], false);
    return py_taken(r, &b);
}

static py_val f_repr(py *r, py_val self, py_args *a)
{
    qn_buf b = {0};
    (void)self;
    py_show(r, &b, a->v[0], true);
    return py_taken(r, &b);
}

static py_val f_int(py *r, py_val self, py_args *a)
{
    (void)self;
    const py_val v = a->n ? a->v[0] : integer(0);
    if (v.t == PY_FLOAT)
        return fabs(v.f) < 9e18 ? integer((int64_t)v.f) : py_raise(r, "OverflowError", "cannot convert float to integer");
    if (v.t != PY_STR)
        return py_is_int(r, v, "int()'s argument") ? integer(v.i) : NONE;
    char *end, text[32];
    size_t from = 0, n = v.s->n;
    while (n && v.s->p[n - 1] == ' ')
        n--;
    while (from < n && v.s->p[from] == ' ')
        from++;
    if (n - from > 0 && n - from < sizeof text) {
        memcpy(text, v.s->p + from, n - from);
        text[n - from] = 0;
        const long long i = strtoll(text, &end, 10);
        if (!*end && n - from < 19)
            return integer(i);
    }
    return py_raise(r, "ValueError", "invalid literal for int() with base 10: '%.60s'", v.s->p);
}

static py_val f_float(py *r, py_val self, py_args *a)
{
    (void)self;
    const py_val v = a->n ? a->v[0] : integer(0);
    if (v.t == PY_FLOAT)
        return v;
    if (v.t != PY_STR)
        return py_is_int(r, v, "float()'s argument") ? (py_val){PY_FLOAT, .f = (double)v.i} : NONE;
    char *end;
    const double f = strtod(v.s->p, &end);
    return v.s->n && !*end ? (py_val){PY_FLOAT, .f = f} : py_raise(r, "ValueError", "could not convert string to float: '%.60s'", v.s->p);
}

static py_val f_bool(py *r, py_val self, py_args *a)
{
    (void)r;
    (void)self;
    return boolean(a->n && py_truth(a->v[0]));
}

static py_val f_list(py *r, py_val self, py_args *a)
{
    (void)self;
    return a->n ? py_items(r, a->v[0]) : py_list(r, PY_LIST);
}

static py_val f_tuple(py *r, py_val self, py_args *a)
{
    py_val v = f_list(r, self, a);
    if (!r->raised)
        v.t = PY_TUPLE;
    return v;
}

static py_val f_set(py *r, py_val self, py_args *a)
{
    py_val list = f_list(r, self, a), out = py_map_new(r, PY_SET);
    for (size_t i = 0; !r->raised && i < list.q->n; i++)
        (void)py_map_set(r, out.m, list.q->v[i], NONE);
    return out;
}

void py_merge(py *r, py_val to, py_val from)
{
    if (from.t == PY_DICT) {
        for (size_t i = 0; i < from.m->n && !r->raised; i++)
            (void)py_map_set(r, to.m, from.m->k[i], from.m->v[i]);
        return;
    }
    py_val list = py_items(r, from);
    for (size_t i = 0; !r->raised && i < list.q->n; i++) {
        const py_val v = list.q->v[i];
        if ((v.t != PY_TUPLE && v.t != PY_LIST) || v.q->n != 2)
            (void)py_raise(r, "TypeError", "dict() needs pairs");
        else
            (void)py_map_set(r, to.m, v.q->v[0], v.q->v[1]);
    }
}

static py_val f_dict(py *r, py_val self, py_args *a)
{
    (void)self;
    py_val out = py_map_new(r, PY_DICT);
    if (!r->raised && a->n)
        py_merge(r, out, a->v[0]);
    for (size_t i = 0; i < a->n_kw && !r->raised; i++)
        (void)py_map_set(r, out.m, py_str(r, a->names[i], strlen(a->names[i])), a->kw[i]);
    return out;
}

static py_val f_all(py *r, py_val self, py_args *a)
{
    (void)self;
    py_val list = py_items(r, a->v[0]);
    for (size_t i = 0; !r->raised && i < list.q->n; i++)
        if (!py_truth(list.q->v[i]))
            return boolean(false);
    return boolean(true);
}

static py_val f_any(py *r, py_val self, py_args *a)
{
    (void)self;
    py_val list = py_items(r, a->v[0]);
    for (size_t i = 0; !r->raised && i < list.q->n; i++)
        if (py_truth(list.q->v[i]))
            return boolean(true);
    return boolean(false);
}

static py_val mapped(py *r, py_args *a, bool filter)
{
    py_val list = py_items(r, a->v[1]), out = py_list(r, PY_LIST);
    for (size_t i = 0; !r->raised && i < list.q->n; i++) {
        py_args one = {.n = 1};
        one.v[0] = list.q->v[i];
        const py_val v = filter && a->v[0].t == PY_NONE ? list.q->v[i] : py_call(r, a->v[0], &one);
        if (!r->raised && (!filter || py_truth(v)))
            (void)py_append(r, out, filter ? list.q->v[i] : v);
    }
    return out;
}

static py_val f_map(py *r, py_val self, py_args *a)
{
    (void)self;
    return mapped(r, a, false);
}

static py_val f_filter(py *r, py_val self, py_args *a)
{
    (void)self;
    return mapped(r, a, true);
}

static py_val f_print(py *r, py_val self, py_args *a)
{
    (void)self;
    for (size_t i = 0; i < a->n && r->out && r->out->n < 65536; i++) {
        qn__buf_puts(r->out, i ? " " : "");
        py_show(r, r->out, a->v[i], false);
    }
    if (r->out)
        qn__buf_putc(r->out, '\n');
    return NONE;
}

static py_val f_isinstance(py *r, py_val self, py_args *a)
{
    (void)self;
    const py_val *types = &a->v[1];
    size_t n = 1;
    if (a->v[1].t == PY_TUPLE) {
        types = a->v[1].q->v;
        n = a->v[1].q->n;
    }
    for (size_t i = 0; i < n; i++) {
        if (types[i].t != PY_BUILTIN)
            return py_raise(r, "TypeError", "isinstance() arg 2 must be a type or tuple of types");
        const char *name = types[i].b->name;
        if (strcmp(name, py_type_name(a->v[0])) == 0 || (a->v[0].t == PY_BOOL && strcmp(name, "int") == 0))
            return boolean(true);
    }
    return boolean(false);
}

static py_val f_ord(py *r, py_val self, py_args *a)
{
    (void)self;
    if (!py_is_str(r, a->v[0], "ord()'s argument"))
        return NONE;
    return a->v[0].s->n == 1 ? integer((unsigned char)a->v[0].s->p[0]) : py_raise(r, "TypeError", "ord() expected a character");
}

static py_val f_chr(py *r, py_val self, py_args *a)
{
    (void)self;
    if (!py_is_int(r, a->v[0], "chr()'s argument"))
        return NONE;
    const char c = (char)a->v[0].i;
    return a->v[0].i > 0 && a->v[0].i < 128 ? py_str(r, &c, 1) : py_raise(r, "ValueError", "chr() arg not in range(128)");
}

static py_val f_divmod(py *r, py_val self, py_args *a)
{
    (void)self;
    py_val out = py_list(r, PY_TUPLE);
    if (!r->raised && py_append(r, out, py_binary(r, PY_FLOORDIV, a->v[0], a->v[1])))
        (void)py_append(r, out, py_binary(r, PY_MOD, a->v[0], a->v[1]));
    return out;
}

static py_val f_pow(py *r, py_val self, py_args *a)
{
    (void)self;
    return py_binary(r, PY_POW, a->v[0], a->v[1]);
}

/* ---- math ---- */

static py_val real_of(py *r, py_args *a, double *f)
{
    const py_val v = a->v[0];
    if (v.t != PY_FLOAT && v.t != PY_INT && v.t != PY_BOOL)
        return py_raise(r, "TypeError", "must be real number, not %s", py_type_name(v));
    *f = v.t == PY_FLOAT ? v.f : (double)v.i;
    return NONE;
}

static py_val whole(py *r, double f)
{
    return fabs(f) < 9e18 ? integer((int64_t)f) : py_raise(r, "OverflowError", "cannot convert float to integer");
}

static py_val m_floor(py *r, py_val self, py_args *a)
{
    double f = 0;
    (void)self;
    (void)real_of(r, a, &f);
    return whole(r, floor(f));
}

static py_val m_ceil(py *r, py_val self, py_args *a)
{
    double f = 0;
    (void)self;
    (void)real_of(r, a, &f);
    return whole(r, ceil(f));
}

static py_val m_sqrt(py *r, py_val self, py_args *a)
{
    double f = 0;
    (void)self;
    (void)real_of(r, a, &f);
    return f < 0 ? py_raise(r, "ValueError", "math domain error") : (py_val){PY_FLOAT, .f = sqrt(f)};
}

static py_val m_isqrt(py *r, py_val self, py_args *a)
{
    double f = 0;
    (void)self;
    (void)real_of(r, a, &f);
    if (f < 0 || f > 4e15)
        return py_raise(r, "ValueError", "isqrt() argument out of range");
    return integer((int64_t)sqrt(f));
}

static py_val m_gcd(py *r, py_val self, py_args *a)
{
    (void)self;
    if (!py_is_int(r, a->v[0], "gcd()'s argument") || !py_is_int(r, a->v[1], "gcd()'s argument"))
        return NONE;
    uint64_t x = a->v[0].i < 0 ? -(uint64_t)a->v[0].i : (uint64_t)a->v[0].i, y = a->v[1].i < 0 ? -(uint64_t)a->v[1].i : (uint64_t)a->v[1].i;
    while (y) {
        const uint64_t m = x % y;
        x = y;
        y = m;
    }
    return integer((int64_t)x);
}

py_val py_math(py *r, const char *name)
{
    static const py_callable all[] = {{"floor", PY_NONE, 1, 1, m_floor}, {"ceil", PY_NONE, 1, 1, m_ceil}, {"sqrt", PY_NONE, 1, 1, m_sqrt},
                                      {"isqrt", PY_NONE, 1, 1, m_isqrt}, {"gcd", PY_NONE, 2, 2, m_gcd}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i].name, name) == 0)
            return (py_val){PY_BUILTIN, .b = &all[i]};
    if (strcmp(name, "pi") == 0 || strcmp(name, "inf") == 0)
        return (py_val){PY_FLOAT, .f = *name == 'p' ? 3.141592653589793 : INFINITY};
    return py_raise(r, "AttributeError", "module 'math' has no attribute '%s' here", name);
}

static const py_callable all[] = {
    {"len", PY_NONE, 1, 1, f_len}, {"range", PY_NONE, 1, 3, f_range}, {"min", PY_NONE, 1, PY_ARGS, f_min}, {"max", PY_NONE, 1, PY_ARGS, f_max},
    {"sum", PY_NONE, 1, 2, f_sum}, {"abs", PY_NONE, 1, 1, f_abs}, {"round", PY_NONE, 1, 2, f_round}, {"sorted", PY_NONE, 1, 1, f_sorted},
    {"reversed", PY_NONE, 1, 1, f_reversed}, {"enumerate", PY_NONE, 1, 2, f_enumerate}, {"zip", PY_NONE, 1, PY_ARGS, f_zip},
    {"str", PY_NONE, 0, 1, f_str}, {"repr", PY_NONE, 1, 1, f_repr}, {"int", PY_NONE, 0, 1, f_int}, {"float", PY_NONE, 0, 1, f_float},
    {"bool", PY_NONE, 0, 1, f_bool}, {"list", PY_NONE, 0, 1, f_list}, {"tuple", PY_NONE, 0, 1, f_tuple}, {"set", PY_NONE, 0, 1, f_set},
    {"dict", PY_NONE, 0, 1, f_dict}, {"all", PY_NONE, 1, 1, f_all}, {"any", PY_NONE, 1, 1, f_any}, {"map", PY_NONE, 2, 2, f_map},
    {"filter", PY_NONE, 2, 2, f_filter}, {"print", PY_NONE, 0, PY_ARGS, f_print}, {"isinstance", PY_NONE, 2, 2, f_isinstance},
    {"ord", PY_NONE, 1, 1, f_ord}, {"chr", PY_NONE, 1, 1, f_chr}, {"divmod", PY_NONE, 2, 2, f_divmod}, {"pow", PY_NONE, 2, 2, f_pow},
};

const py_callable *py_builtin(const char *name, py_type of)
{
    if (of != PY_NONE)
        return py_method(name, of);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i].name, name) == 0)
            return &all[i];
    return NULL;
}
