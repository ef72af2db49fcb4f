/* py_value.c - what values of the small Python do to each other: sums, comparisons, indices, how they are written. See py_int.h.
 * Numbers are checked: what leaves 64 bits is an error, not a wrong number. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "services/probe/py_int.h"

enum { LONGEST = 100000 }; /* bytes of a string, elements of a list */

void *py_alloc(py *r, size_t n)
{
    void *p = qn__arena_alloc(&r->arena, n ? n : 1);
    if (!p && !r->raised) {
        r->no_memory = r->arena.total + n < r->arena.limit; /* the system's, not the bound of this run */
        (void)py_raise(r, "MemoryError", "the program needs too much memory");
    }
    return p;
}

py_val py_raise(py *r, const char *type, const char *fmt, ...)
{
    if (!r->raised) {
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(r->message, sizeof r->message, fmt, ap);
        va_end(ap);
        r->raised = type;
        r->where_file = r->file;
        r->where_line = r->line;
    }
    return (py_val){.t = PY_NONE};
}

bool py_step(py *r)
{
    if (++r->steps > PY_STEPS)
        (void)py_raise(r, "TimeoutError", "the program ran for more than %d steps", PY_STEPS);
    return !r->raised;
}

py_val py_str(py *r, const char *p, size_t n)
{
    py_text *s = n <= LONGEST ? py_alloc(r, sizeof *s + n + 1) : NULL;
    if (!s)
        return py_raise(r, "MemoryError", "a string of %zu bytes is too long", n);
    char *to = (char *)(s + 1);
    if (n)
        memcpy(to, p, n);
    to[n] = 0;
    *s = (py_text){to, n};
    return (py_val){PY_STR, .s = s};
}

py_val py_list(py *r, py_type t)
{
    py_seq *q = py_alloc(r, sizeof *q);
    if (!q)
        return (py_val){.t = PY_NONE};
    *q = (py_seq){0};
    return (py_val){t, .q = q};
}

py_val py_map_new(py *r, py_type t)
{
    py_map *m = py_alloc(r, sizeof *m);
    if (!m)
        return (py_val){.t = PY_NONE};
    *m = (py_map){0};
    return (py_val){t, .m = m};
}

/* Room for one more of a doubled array inside the arena. */
static bool room(py *r, py_val **v, size_t n, size_t cap, size_t more)
{
    if (n < cap)
        return true;
    py_val *to = more <= LONGEST ? py_alloc(r, more * sizeof *to) : NULL;
    if (!to) {
        (void)py_raise(r, "MemoryError", "more than %d elements", LONGEST);
        return false;
    }
    if (n)
        memcpy(to, *v, n * sizeof *to);
    *v = to;
    return true;
}

bool py_append(py *r, py_val list, py_val v)
{
    py_seq *q = list.q;
    const size_t more = q->cap ? 2 * q->cap : 8;
    if (r->raised || !py_step(r) || !room(r, &q->v, q->n, q->cap, more))
        return false;
    q->cap = q->n < q->cap ? q->cap : more;
    q->v[q->n++] = v;
    return true;
}

py_val *py_map_get(py *r, const py_map *m, py_val k)
{
    for (size_t i = 0; i < m->n && py_step(r); i++)
        if (py_equal(r, m->k[i], k))
            return &m->v[i];
    return NULL;
}

bool py_map_set(py *r, py_map *m, py_val k, py_val v)
{
    if (k.t == PY_LIST || k.t == PY_DICT || k.t == PY_SET) {
        (void)py_raise(r, "TypeError", "unhashable type: '%s'", py_type_name(k));
        return false;
    }
    py_val *at = py_map_get(r, m, k);
    if (at) {
        *at = v;
        return true;
    }
    const size_t more = m->cap ? 2 * m->cap : 8;
    if (r->raised || !room(r, &m->k, m->n, m->cap, more) || !room(r, &m->v, m->n, m->cap, more))
        return false;
    m->cap = m->n < m->cap ? m->cap : more;
    m->k[m->n] = k;
    m->v[m->n++] = v;
    return true;
}

void py_map_drop(py_map *m, size_t i)
{
    memmove(m->k + i, m->k + i + 1, (m->n - i - 1) * sizeof *m->k);
    memmove(m->v + i, m->v + i + 1, (m->n - i - 1) * sizeof *m->v);
    m->n--;
}

bool py_truth(py_val v)
{
    switch (v.t) {
    case PY_NONE: return false;
    case PY_BOOL: case PY_INT: return v.i != 0;
    case PY_FLOAT: return v.f != 0;
    case PY_STR: return v.s->n != 0;
    case PY_LIST: case PY_TUPLE: return v.q->n != 0;
    case PY_DICT: case PY_SET: return v.m->n != 0;
    default: return true;
    }
}

static bool number(py_val v)
{
    return v.t == PY_BOOL || v.t == PY_INT || v.t == PY_FLOAT;
}

static double real(py_val v)
{
    return v.t == PY_FLOAT ? v.f : (double)v.i;
}

/* Data of hostile programs may hold itself. */
static bool deeper(py *r)
{
    if (++r->nest <= PY_NEST)
        return true;
    r->nest--;
    (void)py_raise(r, "RecursionError", "data is too deeply nested");
    return false;
}

bool py_equal(py *r, py_val a, py_val b)
{
    bool same = false;
    if (number(a) && number(b))
        return a.t == PY_FLOAT || b.t == PY_FLOAT ? real(a) == real(b) : a.i == b.i;
    if (a.t != b.t || !py_step(r))
        return false;
    switch (a.t) {
    case PY_NONE: return true;
    case PY_STR: return a.s->n == b.s->n && memcmp(a.s->p, b.s->p, a.s->n) == 0;
    case PY_LIST: case PY_TUPLE:
        if (a.q->n != b.q->n || !deeper(r))
            return false;
        same = true;
        for (size_t i = 0; i < a.q->n && same; i++)
            same = py_equal(r, a.q->v[i], b.q->v[i]);
        r->nest--;
        return same;
    case PY_DICT: case PY_SET:
        if (a.m->n != b.m->n || !deeper(r))
            return false;
        same = true;
        for (size_t i = 0; i < a.m->n && same; i++) {
            const py_val *v = py_map_get(r, b.m, a.m->k[i]);
            same = v && (a.t == PY_SET || py_equal(r, a.m->v[i], *v));
        }
        r->nest--;
        return same;
    case PY_BUILTIN: case PY_ERROR: return a.b == b.b;
    case PY_FUNC: return a.fn == b.fn;
    default: return false;
    }
}

int py_order(py *r, py_val a, py_val b)
{
    if (number(a) && number(b)) {
        if (a.t == PY_FLOAT || b.t == PY_FLOAT)
            return (real(a) > real(b)) - (real(a) < real(b));
        return (a.i > b.i) - (a.i < b.i);
    }
    if (a.t == PY_STR && b.t == PY_STR) {
        const size_t n = a.s->n < b.s->n ? a.s->n : b.s->n;
        const int c = n ? memcmp(a.s->p, b.s->p, n) : 0;
        return c ? c : (a.s->n > b.s->n) - (a.s->n < b.s->n);
    }
    if (a.t == b.t && (a.t == PY_LIST || a.t == PY_TUPLE) && py_step(r) && deeper(r)) {
        int c = 0;
        for (size_t i = 0; i < a.q->n && i < b.q->n && !c; i++)
            c = py_equal(r, a.q->v[i], b.q->v[i]) ? 0 : py_order(r, a.q->v[i], b.q->v[i]);
        r->nest--;
        return c ? c : (a.q->n > b.q->n) - (a.q->n < b.q->n);
    }
    (void)py_raise(r, "TypeError", "'<' not supported between instances of '%s' and '%s'", py_type_name(a), py_type_name(b));
    return 0;
}

const char *py_type_name(py_val v)
{
    static const char *const names[] = {"NoneType", "bool", "int", "float", "str", "list", "tuple", "dict", "set", "function",
                                        "builtin_function_or_method", "builtin_function_or_method", "module", "type"};
    return names[v.t];
}

/* ---- written ---- */

static void show_float(qn_buf *out, double f)
{
    char s[40];
    if (isnan(f) || isinf(f)) {
        qn__buf_puts(out, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) { /* the shortest that reads back as the same */
        double back = 0;
        (void)snprintf(s, sizeof s, "%.*g", digits, f);
        if (sscanf(s, "%lf", &back) == 1 && back == f)
            break;
    }
    qn__buf_puts(out, s);
    if (!strpbrk(s, ".en"))
        qn__buf_puts(out, ".0");
}

static void show_str(qn_buf *out, const py_text *s)
{
    const char q = memchr(s->p, '\'', s->n) && !memchr(s->p, '"', s->n) ? '"' : '\'';
    qn__buf_putc(out, q);
    for (size_t i = 0; i < s->n; i++) {
        const char c = s->p[i];
        if (c == '\n')
            qn__buf_puts(out, "\\n");
        else if (c == '\t')
            qn__buf_puts(out, "\\t");
        else if (c == q || c == '\\')
            qn__buf_putc(out, '\\'), qn__buf_putc(out, c);
        else
            qn__buf_putc(out, c);
    }
    qn__buf_putc(out, q);
}

static void show_many(py *r, qn_buf *out, py_val v)
{
    const bool map = v.t == PY_DICT || v.t == PY_SET;
    const size_t n = map ? v.m->n : v.q->n;
    if (v.t == PY_SET && n == 0) {
        qn__buf_puts(out, "set()");
        return;
    }
    if (!deeper(r))
        return;
    qn__buf_putc(out, v.t == PY_LIST ? '[' : v.t == PY_TUPLE ? '(' : '{');
    for (size_t i = 0; i < n && py_step(r) && out->n < LONGEST; i++) {
        qn__buf_puts(out, i ? ", " : "");
        py_show(r, out, map ? v.m->k[i] : v.q->v[i], true);
        if (v.t == PY_DICT) {
            qn__buf_puts(out, ": ");
            py_show(r, out, v.m->v[i], true);
        }
    }
    qn__buf_puts(out, v.t == PY_TUPLE && n == 1 ? "," : "");
    qn__buf_putc(out, v.t == PY_LIST ? ']' : v.t == PY_TUPLE ? ')' : '}');
    r->nest--;
}

void py_show(py *r, qn_buf *out, py_val v, bool repr)
{
    switch (v.t) {
    case PY_NONE: qn__buf_puts(out, "None"); break;
    case PY_BOOL: qn__buf_puts(out, v.i ? "True" : "False"); break;
    case PY_INT: qn__buf_printf(out, "%lld", (long long)v.i); break;
    case PY_FLOAT: show_float(out, v.f); break;
    case PY_STR:
        if (repr)
            show_str(out, v.s);
        else
            qn__buf_put(out, v.s->p, v.s->n);
        break;
    case PY_LIST: case PY_TUPLE: case PY_DICT: case PY_SET: show_many(r, out, v); break;
    case PY_FUNC: qn__buf_printf(out, "<function %s>", v.fn->def->text ? v.fn->def->text : "<lambda>"); break;
    case PY_MODULE: qn__buf_printf(out, "<module '%s'>", v.mod->name); break;
    default: qn__buf_printf(out, "<%s>", py_type_name(v)); break;
    }
}

/* ---- arithmetic ---- */

static py_val integer(int64_t i)
{
    return (py_val){PY_INT, .i = i};
}

static py_val too_large(py *r)
{
    return py_raise(r, "OverflowError", "integers of more than 64 bits are not supported here");
}

static py_val int_power(py *r, int64_t a, int64_t b)
{
    int64_t v = 1;
    if (b < 0)
        return (py_val){PY_FLOAT, .f = pow((double)a, (double)b)};
    for (int64_t i = 0; i < b; i++) {
        if (a == 0 || a == 1 || a == -1)
            return integer(a == -1 && b % 2 == 0 ? 1 : a);
        if (__builtin_mul_overflow(v, a, &v))
            return too_large(r);
    }
    return integer(v);
}

static py_val int_binary(py *r, py_op op, int64_t a, int64_t b)
{
    int64_t v = 0;
    if (b == 0 && (op == PY_DIV || op == PY_FLOORDIV || op == PY_MOD))
        return py_raise(r, "ZeroDivisionError", "division by zero");
    if (b == -1 && a == INT64_MIN && (op == PY_FLOORDIV || op == PY_MOD))
        return too_large(r);
    switch (op) {
    case PY_ADD: return __builtin_add_overflow(a, b, &v) ? too_large(r) : integer(v);
    case PY_SUB: return __builtin_sub_overflow(a, b, &v) ? too_large(r) : integer(v);
    case PY_MUL: return __builtin_mul_overflow(a, b, &v) ? too_large(r) : integer(v);
    case PY_DIV: return (py_val){PY_FLOAT, .f = (double)a / (double)b};
    case PY_FLOORDIV: return integer(a / b - (a % b != 0 && (a % b < 0) != (b < 0)));
    case PY_MOD: v = a % b; return integer(v != 0 && (v < 0) != (b < 0) ? v + b : v);
    case PY_POW: return int_power(r, a, b);
    case PY_BITAND: return integer(a & b);
    case PY_BITOR: return integer(a | b);
    case PY_BITXOR: return integer(a ^ b);
    case PY_SHL: return b < 0 || b > 62 || (a < 0 ? -(a + 1) : a) >> (62 - b) ? too_large(r) : integer((int64_t)((uint64_t)a << b));
    case PY_SHR: return b < 0 ? py_raise(r, "ValueError", "negative shift count") : integer(b > 63 ? (a < 0 ? -1 : 0) : a >> b);
    default: return integer(0);
    }
}

static py_val unsupported(py *r, py_op op, py_val a, py_val b)
{
    static const char *const names[] = {"+", "-", "*", "/", "//", "%", "**", "&", "|", "^", "<<", ">>"};
    return py_raise(r, "TypeError", "unsupported operand type(s) for %s: '%s' and '%s'", op <= PY_SHR ? names[op] : "?", py_type_name(a), py_type_name(b));
}

static py_val float_binary(py *r, py_op op, py_val x, py_val y)
{
    const double a = real(x), b = real(y);
    double v = 0;
    if (b == 0 && (op == PY_DIV || op == PY_FLOORDIV || op == PY_MOD))
        return py_raise(r, "ZeroDivisionError", "division by zero");
    switch (op) {
    case PY_ADD: v = a + b; break;
    case PY_SUB: v = a - b; break;
    case PY_MUL: v = a * b; break;
    case PY_DIV: v = a / b; break;
    case PY_FLOORDIV: v = floor(a / b); break;
    case PY_MOD: v = a - b * floor(a / b); break;
    case PY_POW: v = pow(a, b); break;
    default: return unsupported(r, op, x, y);
    }
    return (py_val){PY_FLOAT, .f = v};
}

static py_val repeated(py *r, py_val v, int64_t times)
{
    const size_t n = v.t == PY_STR ? v.s->n : v.q->n, k = times > 0 ? (size_t)times : 0;
    size_t all;
    if (!qn__mul(n, k, &all) || all > LONGEST)
        return py_raise(r, "MemoryError", "too long");
    if (v.t != PY_STR) {
        py_val out = py_list(r, v.t);
        for (size_t i = 0; i < k && !r->raised; i++)
            for (size_t j = 0; j < n && py_append(r, out, v.q->v[j]); j++) {
            }
        return out;
    }
    char *p = all ? qn__alloc(all) : NULL;
    if (all && !p)
        return py_raise(r, "MemoryError", "too long");
    for (size_t done = 0, step = n; done < all; done += step, step = done < all - done ? done : all - done)
        memcpy(p + done, done ? p : v.s->p, step); /* twice as much each time: a step of the program is not to cost a put for each copy */
    py_val out = py_str(r, p, all);
    qn_free(p);
    return out;
}

static py_val joined(py *r, py_val a, py_val b)
{
    if (a.t == PY_STR) {
        qn_buf s = {0};
        qn__buf_put(&s, a.s->p, a.s->n);
        qn__buf_put(&s, b.s->p, b.s->n);
        py_val out = py_str(r, s.data, s.n);
        qn__buf_free(&s);
        return out;
    }
    py_val out = py_list(r, a.t);
    for (size_t i = 0; !r->raised && i < a.q->n && py_append(r, out, a.q->v[i]); i++) {
    }
    for (size_t i = 0; !r->raised && i < b.q->n && py_append(r, out, b.q->v[i]); i++) {
    }
    return out;
}

static py_val set_binary(py *r, py_op op, py_val a, py_val b)
{
    py_val out = py_map_new(r, PY_SET), none = {.t = PY_NONE};
    for (size_t i = 0; i < a.m->n && !r->raised; i++) {
        const bool in = py_map_get(r, b.m, a.m->k[i]) != NULL;
        if (op == PY_BITOR || (op == PY_BITAND) == in)
            (void)py_map_set(r, out.m, a.m->k[i], none);
    }
    for (size_t i = 0; i < b.m->n && !r->raised && (op == PY_BITOR || op == PY_BITXOR); i++)
        if (op == PY_BITOR || !py_map_get(r, a.m, b.m->k[i]))
            (void)py_map_set(r, out.m, b.m->k[i], none);
    return out;
}

py_val py_binary(py *r, py_op op, py_val a, py_val b)
{
    if (number(a) && number(b))
        return a.t == PY_FLOAT || b.t == PY_FLOAT ? float_binary(r, op, a, b) : int_binary(r, op, a.i, b.i);
    if (op == PY_ADD && a.t == b.t && (a.t == PY_STR || a.t == PY_LIST || a.t == PY_TUPLE))
        return joined(r, a, b);
    if (op == PY_MUL && (a.t == PY_STR || a.t == PY_LIST) && (b.t == PY_INT || b.t == PY_BOOL))
        return repeated(r, a, b.i);
    if (op == PY_MUL && (b.t == PY_STR || b.t == PY_LIST) && (a.t == PY_INT || a.t == PY_BOOL))
        return repeated(r, b, a.i);
    if (a.t == PY_SET && b.t == PY_SET && (op == PY_BITOR || op == PY_BITAND || op == PY_SUB || op == PY_BITXOR))
        return set_binary(r, op, a, b);
    if (op == PY_MOD && a.t == PY_STR)
        return py_raise(r, "NotImplementedError", "%% of strings is not supported here; use an f-string");
    return unsupported(r, op, a, b);
}

/* ---- containers ---- */

bool py_contains(py *r, py_val in, py_val v)
{
    switch (in.t) {
    case PY_STR:
        if (v.t == PY_STR)
            return v.s->n == 0 || memmem(in.s->p, in.s->n, v.s->p, v.s->n) != NULL;
        (void)py_raise(r, "TypeError", "'in <string>' requires string as left operand, not %s", py_type_name(v));
        return false;
    case PY_LIST: case PY_TUPLE:
        for (size_t i = 0; i < in.q->n && py_step(r); i++)
            if (py_equal(r, in.q->v[i], v))
                return true;
        return false;
    case PY_DICT: case PY_SET: return py_map_get(r, in.m, v) != NULL;
    default: (void)py_raise(r, "TypeError", "argument of type '%s' is not iterable", py_type_name(in)); return false;
    }
}

bool py_index_of(py *r, py_val i, size_t n, size_t *out)
{
    if (i.t != PY_INT && i.t != PY_BOOL) {
        (void)py_raise(r, "TypeError", "indices must be integers, not '%s'", py_type_name(i));
        return false;
    }
    const int64_t at = i.i < 0 ? i.i + (int64_t)n : i.i;
    if (at < 0 || at >= (int64_t)n) {
        (void)py_raise(r, "IndexError", "index out of range");
        return false;
    }
    *out = (size_t)at;
    return true;
}

py_val py_get_index(py *r, py_val of, py_val i)
{
    size_t at = 0;
    if (of.t == PY_DICT) {
        const py_val *v = py_map_get(r, of.m, i);
        if (v || r->raised)
            return v ? *v : (py_val){.t = PY_NONE};
        qn_buf key = {0};
        py_show(r, &key, i, true);
        (void)py_raise(r, "KeyError", "%s", key.data ? key.data : "?");
        qn__buf_free(&key);
        return (py_val){.t = PY_NONE};
    }
    if (of.t != PY_STR && of.t != PY_LIST && of.t != PY_TUPLE)
        return py_raise(r, "TypeError", "'%s' object is not subscriptable", py_type_name(of));
    if (!py_index_of(r, i, of.t == PY_STR ? of.s->n : of.q->n, &at))
        return (py_val){.t = PY_NONE};
    return of.t == PY_STR ? py_str(r, of.s->p + at, 1) : of.q->v[at];
}

static int64_t clamp(py *r, py_val v, int64_t otherwise, int64_t n, int64_t low, int64_t high)
{
    if (v.t == PY_NONE)
        return otherwise;
    if (v.t != PY_INT && v.t != PY_BOOL) {
        (void)py_raise(r, "TypeError", "slice indices must be integers or None");
        return 0;
    }
    int64_t i = v.i < 0 ? v.i + n : v.i;
    return i < low ? low : i > high ? high : i;
}

py_val py_get_slice(py *r, py_val of, py_val from, py_val to, py_val step)
{
    if (of.t != PY_STR && of.t != PY_LIST && of.t != PY_TUPLE)
        return py_raise(r, "TypeError", "'%s' object cannot be sliced", py_type_name(of));
    const int64_t n = (int64_t)(of.t == PY_STR ? of.s->n : of.q->n), by = step.t == PY_NONE ? 1 : step.i;
    if (step.t != PY_NONE && (step.t != PY_INT || by == 0 || by > LONGEST || by < -LONGEST))
        return py_raise(r, "ValueError", "slice step must be an integer and not zero");
    const int64_t a = clamp(r, from, by > 0 ? 0 : n - 1, n, by > 0 ? 0 : -1, by > 0 ? n : n - 1);
    const int64_t b = clamp(r, to, by > 0 ? n : -1, n, by > 0 ? 0 : -1, by > 0 ? n : n - 1);
    if (r->raised)
        return (py_val){.t = PY_NONE};
    if (of.t != PY_STR) {
        py_val out = py_list(r, of.t);
        for (int64_t i = a; (by > 0 ? i < b : i > b) && !r->raised && py_append(r, out, of.q->v[i]); i += by) {
        }
        return out;
    }
    qn_buf s = {0};
    for (int64_t i = a; by > 0 ? i < b : i > b; i += by)
        qn__buf_putc(&s, of.s->p[i]);
    py_val out = py_str(r, s.data, s.n);
    qn__buf_free(&s);
    return out;
}

py_val py_items(py *r, py_val of)
{
    py_val out = py_list(r, PY_LIST);
    if (of.t != PY_STR && (of.t < PY_LIST || of.t > PY_SET))
        return py_raise(r, "TypeError", "'%s' object is not iterable", py_type_name(of));
    const size_t n = of.t == PY_STR ? of.s->n : of.t >= PY_DICT ? of.m->n : of.q->n;
    for (size_t i = 0; i < n && !r->raised; i++)
        (void)py_append(r, out, of.t == PY_STR ? py_str(r, of.s->p + i, 1) : of.t >= PY_DICT ? of.m->k[i] : of.q->v[i]);
    return out;
}
