/* py_run.c - walks the trees of the small Python and runs tests. See py_int.h. A raised exception is a state that every step looks at;
 * steps, depth of calls, memory and modules are bounded, so that every program ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "services/probe/py_int.h"

enum { MEMORY = 16 << 20 };

typedef enum flow { NEXT, BREAK, CONTINUE, RETURN, RAISED } flow;

typedef struct frame {
    py_scope *scope;
    py_module *module;
    py_val result;
} frame;

static const py_val NONE = {.t = PY_NONE};
static py_val eval(py *r, frame *f, const py_node *n);
static flow run(py *r, frame *f, const py_node *list);

/* ---- names ---- */

static py_val *find(py_scope *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->names[i] == name)
            return &s->v[i];
    return NULL;
}

static void put(py *r, py_scope *s, const char *name, py_val v)
{
    py_val *at = find(s, name);
    if (r->raised)
        return;
    if (at) {
        *at = v;
        return;
    }
    if (s->n == s->cap) {
        const size_t cap = s->cap ? 2 * s->cap : 8;
        const char **names = py_alloc(r, cap * sizeof *names);
        py_val *values = py_alloc(r, cap * sizeof *values);
        if (!names || !values)
            return;
        if (s->n) {
            memcpy(names, s->names, s->n * sizeof *names);
            memcpy(values, s->v, s->n * sizeof *values);
        }
        s->names = names;
        s->v = values;
        s->cap = cap;
    }
    s->names[s->n] = name;
    s->v[s->n++] = v;
}

static bool is_error(const char *name)
{
    const size_t n = strlen(name);
    return (n > 5 && strcmp(name + n - 5, "Error") == 0) || strcmp(name, "Exception") == 0 || strcmp(name, "StopIteration") == 0;
}

static py_val look_up(py *r, frame *f, const char *name)
{
    for (py_scope *s = f->scope; s; s = s->outer) {
        const py_val *v = find(s, name);
        if (v)
            return *v;
    }
    const py_callable *b = py_builtin(name, PY_NONE);
    if (b)
        return (py_val){PY_BUILTIN, .b = b};
    if (is_error(name)) { /* exceptions are their names */
        py_callable *e = py_alloc(r, sizeof *e);
        if (!e)
            return NONE;
        *e = (py_callable){.name = name};
        return (py_val){PY_ERROR, .b = e};
    }
    return py_raise(r, "NameError", "name '%s' is not defined", name);
}

/* ---- modules ---- */

static py_module *load(py *r, const char *name)
{
    char path[220];
    size_t n = 0;
    for (size_t i = 0; i < r->n_modules; i++)
        if (strcmp(r->modules[i]->name, name) == 0)
            return r->modules[i];
    for (const char *p = name; *p && n < sizeof path - 16; p++)
        path[n++] = *p == '.' ? '/' : *p;
    path[n] = 0;
    const qn_py_file *file = NULL;
    for (int form = 0; form < 2 && !file; form++) {
        (void)snprintf(path + n, sizeof path - n, form ? "/__init__.py" : ".py");
        for (size_t i = 0; i < r->n_files && !file; i++)
            if (strcmp(r->files[i].path, path) == 0)
                file = &r->files[i];
    }
    const bool math = !file && strcmp(name, "math") == 0;
    if (!file && !math) {
        (void)py_raise(r, "ModuleNotFoundError", "no module named '%s'", name);
        return NULL;
    }
    py_module *m = r->n_modules < PY_MODULES ? py_alloc(r, sizeof *m) : NULL;
    if (!m) {
        (void)py_raise(r, "MemoryError", "more than %d modules", PY_MODULES);
        return NULL;
    }
    *m = (py_module){.name = name, .file = file ? file->path : "math", .math = math};
    r->modules[r->n_modules++] = m;
    if (math)
        return m;
    const char *was = r->file;
    const int line = r->line, nest = r->nest;
    py_node *tree = py_parse(r, file->text, file->path);
    r->nest = nest;
    if (tree && ++r->depth <= PY_DEPTH) {
        frame f = {.scope = &m->scope, .module = m};
        (void)run(r, &f, tree->first);
        r->depth--;
    } else if (tree) {
        r->depth--;
        (void)py_raise(r, "RecursionError", "imports are too deeply nested");
    }
    r->file = was;
    r->line = line;
    m->done = !r->raised;
    if (r->raised) /* a later import tries again and fails again */
        r->n_modules -= r->modules[r->n_modules - 1] == m;
    return r->raised ? NULL : m;
}

static py_val attribute(py *r, py_val of, const char *name)
{
    if (of.t == PY_MODULE) {
        if (of.mod->math)
            return py_math(r, name);
        const py_val *v = find(&of.mod->scope, name);
        return v ? *v : py_raise(r, "AttributeError", "module '%s' has no attribute '%s'", of.mod->name, name);
    }
    const py_callable *b = of.t == PY_NONE ? NULL : py_builtin(name, of.t);
    py_bound *bound = b ? py_alloc(r, sizeof *bound) : NULL;
    if (!bound)
        return py_raise(r, "AttributeError", "'%s' object has no attribute '%s'", py_type_name(of), name);
    *bound = (py_bound){b, of};
    return (py_val){PY_METHOD, .bound = bound};
}

/* ---- calls ---- */

static bool bind(py *r, const py_func *fn, const py_args *a, py_scope *s)
{
    size_t i = 0, used = 0;
    const char *called = fn->def->text ? fn->def->text : "<lambda>";
    for (const py_node *p = fn->def->first; p && !r->raised; p = p->next, i++) {
        py_val v = fn->defaults ? fn->defaults[i] : NONE;
        bool have = p->a != NULL;
        if (i < a->n) {
            v = a->v[i];
            have = true;
        }
        for (size_t k = 0; k < a->n_kw; k++)
            if (a->names[k] == p->text) {
                if (i < a->n)
                    (void)py_raise(r, "TypeError", "%s() got multiple values for argument '%s'", called, p->text);
                v = a->kw[k];
                have = true;
                used++;
            }
        if (!have)
            (void)py_raise(r, "TypeError", "%s() missing required argument: '%s'", called, p->text);
        put(r, s, p->text, v);
    }
    if (a->n > i)
        (void)py_raise(r, "TypeError", "%s() takes %zu arguments but %zu were given", called, i, a->n);
    else if (used < a->n_kw)
        (void)py_raise(r, "TypeError", "%s() got an unexpected keyword argument", called);
    return !r->raised;
}

static py_val call_function(py *r, const py_func *fn, py_args *a)
{
    py_scope *s = py_alloc(r, sizeof *s);
    if (!s || r->raised)
        return NONE;
    *s = (py_scope){.outer = fn->outer};
    if (r->depth >= PY_DEPTH)
        return py_raise(r, "RecursionError", "maximum recursion depth exceeded (%d)", PY_DEPTH);
    if (!bind(r, fn, a, s))
        return NONE;
    const char *was = r->file;
    const int line = r->line, nest = r->nest;
    frame f = {.scope = s, .result = NONE};
    r->depth++;
    r->file = fn->file;
    r->nest = 0;
    if (fn->def->kind == PY_N_LAMBDA)
        f.result = eval(r, &f, fn->def->a);
    else
        (void)run(r, &f, fn->def->a->first);
    r->nest = nest;
    r->file = was;
    r->line = line;
    r->depth--;
    return f.result;
}

py_val py_call(py *r, py_val v, py_args *a)
{
    if (r->raised || !py_step(r))
        return NONE;
    if (v.t == PY_FUNC)
        return call_function(r, v.fn, a);
    if (v.t != PY_BUILTIN && v.t != PY_METHOD)
        return py_raise(r, "TypeError", "'%s' object is not callable", py_type_name(v));
    const py_callable *b = v.t == PY_METHOD ? v.bound->b : v.b;
    if (a->n < b->least || a->n > b->most)
        return py_raise(r, "TypeError", "%s() takes %d to %d arguments (%zu given)", b->name, b->least, b->most, a->n);
    if (r->depth >= PY_DEPTH)
        return py_raise(r, "RecursionError", "maximum recursion depth exceeded (%d)", PY_DEPTH);
    r->depth++;
    const py_val out = b->fn(r, v.t == PY_METHOD ? v.bound->self : NONE, a);
    r->depth--;
    return out;
}

static py_val eval_call(py *r, frame *f, const py_node *n)
{
    py_args a = {0};
    const py_val fn = eval(r, f, n->a);
    for (const py_node *k = n->first; k && !r->raised; k = k->next) {
        if (a.n == PY_ARGS || a.n_kw == PY_ARGS)
            return py_raise(r, "TypeError", "more than %d arguments", PY_ARGS);
        if (k->kind == PY_N_KEYWORD) {
            a.names[a.n_kw] = k->text;
            a.kw[a.n_kw++] = eval(r, f, k->a);
        } else {
            a.v[a.n++] = eval(r, f, k);
        }
    }
    if (fn.t == PY_ERROR) /* ValueError("x") outside of raise is its text */
        return a.n ? a.v[0] : py_str(r, "", 0);
    return py_call(r, fn, &a);
}

/* ---- expressions ---- */

static bool compare(py *r, py_op op, py_val a, py_val b)
{
    switch (op) {
    case PY_EQ: return py_equal(r, a, b);
    case PY_NE: return !py_equal(r, a, b);
    case PY_LT: return py_order(r, a, b) < 0;
    case PY_LE: return py_order(r, a, b) <= 0;
    case PY_GT: return py_order(r, a, b) > 0;
    case PY_GE: return py_order(r, a, b) >= 0;
    case PY_IN: return py_contains(r, b, a);
    case PY_NOTIN: return !py_contains(r, b, a);
    case PY_IS: case PY_ISNOT: {
        bool same = a.t == b.t && (a.t == PY_NONE || (a.t <= PY_INT && a.i == b.i) || (a.t > PY_FLOAT && a.s == b.s));
        return same == (op == PY_IS);
    }
    default: return false;
    }
}

static py_val eval_compare(py *r, frame *f, const py_node *n)
{
    py_val a = eval(r, f, n->a);
    bool yes = true;
    for (const py_node *k = n->first; k && yes && !r->raised; k = k->next) {
        const py_val b = eval(r, f, k->a);
        yes = !r->raised && compare(r, (py_op)k->op, a, b);
        a = b;
    }
    return (py_val){PY_BOOL, .i = yes};
}

static void assign(py *r, frame *f, const py_node *to, py_val v)
{
    if (to->kind == PY_N_NAME) {
        put(r, f->scope, to->text, v);
    } else if (to->kind == PY_N_TUPLE || to->kind == PY_N_LIST) {
        py_val list = py_items(r, v);
        size_t i = 0;
        for (const py_node *k = to->first; k && !r->raised; k = k->next, i++) {
            if (i >= list.q->n)
                (void)py_raise(r, "ValueError", "not enough values to unpack");
            else
                assign(r, f, k, list.q->v[i]);
        }
        if (!r->raised && i < list.q->n)
            (void)py_raise(r, "ValueError", "too many values to unpack");
    } else if (to->kind == PY_N_INDEX) {
        const py_val of = eval(r, f, to->a), key = eval(r, f, to->b);
        size_t at = 0;
        if (r->raised)
            return;
        if (of.t == PY_DICT)
            (void)py_map_set(r, of.m, key, v);
        else if (of.t != PY_LIST)
            (void)py_raise(r, "TypeError", "'%s' object does not support item assignment", py_type_name(of));
        else if (py_index_of(r, key, of.q->n, &at))
            of.q->v[at] = v;
    } else {
        (void)py_raise(r, "SyntaxError", "cannot assign to this here");
    }
}

static void comprehend(py *r, frame *f, const py_node *n, const py_node *clause, py_val out)
{
    if (!clause) {
        const py_val v = eval(r, f, n->a);
        if (out.t == PY_LIST)
            (void)py_append(r, out, v);
        else if (!r->raised)
            (void)py_map_set(r, out.m, v, out.t == PY_DICT ? eval(r, f, n->b) : NONE);
        return;
    }
    py_val list = py_items(r, eval(r, f, clause->b));
    for (size_t i = 0; !r->raised && i < list.q->n && py_step(r); i++) {
        assign(r, f, clause->a, list.q->v[i]);
        if (!r->raised && (!clause->c || py_truth(eval(r, f, clause->c))))
            comprehend(r, f, n, clause->next, out);
    }
}

static py_val eval_comp(py *r, frame *f, const py_node *n)
{
    py_scope *s = py_alloc(r, sizeof *s);
    py_val out = n->i == PY_N_LIST ? py_list(r, PY_LIST) : py_map_new(r, n->i == PY_N_DICT ? PY_DICT : PY_SET);
    if (!s || r->raised)
        return NONE;
    *s = (py_scope){.outer = f->scope};
    frame in = {.scope = s, .module = f->module};
    comprehend(r, &in, n, n->first, out);
    return out;
}

/* :.2f, :03d, :5d, !r */
static void format(py *r, qn_buf *b, py_val v, const char *how)
{
    char text[64], *end;
    const double d = v.t == PY_FLOAT ? v.f : v.t == PY_INT ? (double)v.i : 0;
    if (strcmp(how, "!r") == 0) {
        py_show(r, b, v, true);
        return;
    }
    const bool number = v.t == PY_FLOAT || v.t == PY_INT;
    if (number && strncmp(how, ":.", 2) == 0) {
        const long digits = strtol(how + 2, &end, 10);
        if (strcmp(end, "f") == 0 && digits >= 0 && digits <= 15 && d < 1e30 && d > -1e30) {
            (void)snprintf(text, sizeof text, "%.*f", (int)digits, d);
            qn__buf_puts(b, text);
            return;
        }
    } else if (v.t == PY_INT) {
        const bool zero = how[1] == '0';
        const long width = strtol(how + 1, &end, 10);
        if ((!*end || strcmp(end, "d") == 0) && width >= 0 && width <= 40) {
            (void)snprintf(text, sizeof text, zero ? "%0*lld" : "%*lld", (int)width, (long long)v.i);
            qn__buf_puts(b, text);
            return;
        }
    }
    (void)py_raise(r, "NotImplementedError", "the format '%.20s' is not supported here", how);
}

static py_val eval_fstr(py *r, frame *f, const py_node *n)
{
    qn_buf b = {0};
    for (const py_node *k = n->first; k && !r->raised; k = k->next) {
        if (k->kind == PY_N_STR) {
            qn__buf_put(&b, k->text, k->n);
            continue;
        }
        const py_val v = eval(r, f, k->a);
        if (!r->raised && k->text)
            format(r, &b, v, k->text);
        else if (!r->raised)
            py_show(r, &b, v, false);
    }
    py_val v = r->raised ? NONE : py_str(r, b.data ? b.data : "", b.n);
    qn__buf_free(&b);
    return v;
}

static py_val eval_display(py *r, frame *f, const py_node *n)
{
    if (n->kind == PY_N_LIST || n->kind == PY_N_TUPLE) {
        py_val out = py_list(r, n->kind == PY_N_LIST ? PY_LIST : PY_TUPLE);
        for (const py_node *k = n->first; k && !r->raised; k = k->next)
            (void)py_append(r, out, eval(r, f, k));
        return out;
    }
    py_val out = py_map_new(r, n->kind == PY_N_DICT ? PY_DICT : PY_SET);
    for (const py_node *k = n->first; k && !r->raised; k = k->next) {
        const py_val key = eval(r, f, k);
        if (n->kind == PY_N_DICT)
            k = k->next;
        const py_val v = n->kind == PY_N_DICT && !r->raised ? eval(r, f, k) : NONE;
        if (!r->raised)
            (void)py_map_set(r, out.m, key, v);
    }
    return out;
}

static py_val make_function(py *r, frame *f, const py_node *n)
{
    py_func *fn = py_alloc(r, sizeof *fn);
    size_t count = 0, i = 0;
    for (const py_node *p = n->first; p; p = p->next)
        count++;
    py_val *defaults = py_alloc(r, (count + 1) * sizeof *defaults);
    if (!fn || !defaults)
        return NONE;
    for (const py_node *p = n->first; p && !r->raised; p = p->next, i++)
        defaults[i] = p->a ? eval(r, f, p->a) : NONE;
    *fn = (py_func){.def = n, .outer = f->scope, .defaults = defaults, .file = r->file};
    return (py_val){PY_FUNC, .fn = fn};
}

static py_val eval_unary(py *r, frame *f, const py_node *n)
{
    const py_val v = eval(r, f, n->a);
    if (r->raised)
        return NONE;
    if (v.t == PY_FLOAT && n->op != PY_INVERT)
        return (py_val){PY_FLOAT, .f = n->op == PY_NEG ? -v.f : v.f};
    if (v.t != PY_INT && v.t != PY_BOOL)
        return py_raise(r, "TypeError", "bad operand type for unary operator: '%s'", py_type_name(v));
    if (n->op == PY_NEG)
        return py_binary(r, PY_SUB, (py_val){PY_INT, .i = 0}, v);
    return (py_val){PY_INT, .i = n->op == PY_INVERT ? ~v.i : v.i};
}

static py_val eval_node(py *r, frame *f, const py_node *n)
{
    py_val a;
    switch ((py_kind)n->kind) {
    case PY_N_TRUE: case PY_N_FALSE: return (py_val){PY_BOOL, .i = n->kind == PY_N_TRUE};
    case PY_N_INT: return (py_val){PY_INT, .i = n->i};
    case PY_N_FLOAT: return (py_val){PY_FLOAT, .f = n->f};
    case PY_N_STR: return py_str(r, n->text, n->n);
    case PY_N_FSTR: return eval_fstr(r, f, n);
    case PY_N_NAME: return look_up(r, f, n->text);
    case PY_N_LIST: case PY_N_TUPLE: case PY_N_DICT: case PY_N_SET: return eval_display(r, f, n);
    case PY_N_BINARY:
        a = eval(r, f, n->a);
        {
            const py_val b = eval(r, f, n->b);
            return r->raised ? NONE : py_binary(r, (py_op)n->op, a, b);
        }
    case PY_N_UNARY: return eval_unary(r, f, n);
    case PY_N_COMPARE: return eval_compare(r, f, n);
    case PY_N_AND: a = eval(r, f, n->a); return r->raised || !py_truth(a) ? a : eval(r, f, n->b);
    case PY_N_OR: a = eval(r, f, n->a); return r->raised || py_truth(a) ? a : eval(r, f, n->b);
    case PY_N_NOT: a = eval(r, f, n->a); return (py_val){PY_BOOL, .i = !py_truth(a)};
    case PY_N_IFELSE: return eval(r, f, py_truth(eval(r, f, n->b)) ? n->a : n->c);
    case PY_N_CALL: return eval_call(r, f, n);
    case PY_N_ATTR: a = eval(r, f, n->a); return r->raised ? NONE : attribute(r, a, n->text);
    case PY_N_INDEX:
        a = eval(r, f, n->a);
        {
            const py_val i = eval(r, f, n->b);
            return r->raised ? NONE : py_get_index(r, a, i);
        }
    case PY_N_SLICE:
        a = eval(r, f, n->a);
        {
            const py_val from = eval(r, f, n->b), to = eval(r, f, n->c), step = eval(r, f, n->d);
            return r->raised ? NONE : py_get_slice(r, a, from, to, step);
        }
    case PY_N_LAMBDA: return make_function(r, f, n);
    case PY_N_COMP: return eval_comp(r, f, n);
    default: return NONE;
    }
}

static py_val eval(py *r, frame *f, const py_node *n)
{
    if (!n || !py_step(r))
        return NONE;
    if (r->evals >= PY_EVAL)
        return py_raise(r, "RecursionError", "expressions are too deeply nested");
    r->evals++;
    const py_val v = eval_node(r, f, n);
    r->evals--;
    return v;
}

/* ---- statements ---- */

static flow loop(py *r, frame *f, const py_node *n)
{
    py_val list = n->kind == PY_N_FOR ? py_items(r, eval(r, f, n->b)) : NONE;
    for (size_t i = 0; !r->raised && py_step(r); i++) {
        if (n->kind == PY_N_FOR) {
            if (i >= list.q->n)
                break;
            assign(r, f, n->a, list.q->v[i]);
        } else if (!py_truth(eval(r, f, n->a)) || r->raised) {
            break;
        }
        const flow w = r->raised ? RAISED : run(r, f, n->kind == PY_N_FOR ? n->c->first : n->b->first);
        if (w == BREAK)
            break;
        if (w == RETURN || w == RAISED)
            return w;
    }
    return r->raised ? RAISED : NEXT;
}

static void raise_it(py *r, frame *f, const py_node *n)
{
    const py_node *e = n->a && n->a->kind == PY_N_CALL ? n->a->a : n->a;
    qn_buf text = {0};
    if (!e) {
        (void)py_raise(r, "RuntimeError", "raise without an exception is not supported here");
        return;
    }
    const py_val type = eval(r, f, e);
    const py_val said = n->a->kind == PY_N_CALL && n->a->first ? eval(r, f, n->a->first) : NONE;
    if (!r->raised && type.t != PY_ERROR)
        (void)py_raise(r, "TypeError", "exceptions must derive from BaseException");
    if (said.t != PY_NONE && !r->raised)
        py_show(r, &text, said, false);
    (void)py_raise(r, type.t == PY_ERROR ? type.b->name : "TypeError", "%s", text.data ? text.data : "");
    qn__buf_free(&text);
}

static void assert_it(py *r, frame *f, const py_node *n)
{
    const py_node *c = n->a;
    if (c && c->kind == PY_N_COMPARE && c->first && !c->first->next) { /* both sides are worth knowing */
        const py_val a = eval(r, f, c->a), b = eval(r, f, c->first->a);
        if (r->raised || compare(r, (py_op)c->first->op, a, b) || r->raised)
            return;
        qn_buf left = {0}, right = {0};
        py_show(r, &left, a, true);
        py_show(r, &right, b, true);
        (void)py_raise(r, "AssertionError", "left side is %.150s, right side is %.150s", left.data ? left.data : "", right.data ? right.data : "");
        qn__buf_free(&left);
        qn__buf_free(&right);
        return;
    }
    if (py_truth(eval(r, f, c)) || r->raised)
        return;
    qn_buf text = {0};
    if (n->b)
        py_show(r, &text, eval(r, f, n->b), false);
    (void)py_raise(r, "AssertionError", "%s", text.data ? text.data : "the condition is false");
    qn__buf_free(&text);
}

static bool catches(py *r, frame *f, const py_node *type, const char *raised)
{
    if (!type)
        return true;
    if (type->kind == PY_N_TUPLE) {
        for (const py_node *k = type->first; k; k = k->next)
            if (catches(r, f, k, raised))
                return true;
        return false;
    }
    if (type->kind != PY_N_NAME)
        return false;
    return strcmp(type->text, raised) == 0 || strcmp(type->text, "Exception") == 0 ||
           (strcmp(type->text, "LookupError") == 0 && (strcmp(raised, "KeyError") == 0 || strcmp(raised, "IndexError") == 0)) ||
           (strcmp(type->text, "ArithmeticError") == 0 && (strcmp(raised, "ZeroDivisionError") == 0 || strcmp(raised, "OverflowError") == 0));
}

static flow try_it(py *r, frame *f, const py_node *n)
{
    flow w = run(r, f, n->a ? n->a->first : NULL);
    const bool final = r->raised && (strcmp(r->raised, "TimeoutError") == 0 || strcmp(r->raised, "MemoryError") == 0);
    if (w == RAISED && !final) {
        for (const py_node *e = n->first; e; e = e->next) {
            if (!catches(r, f, e->a, r->raised))
                continue;
            r->raised = NULL;
            if (e->text)
                put(r, f->scope, e->text, py_str(r, r->message, strlen(r->message)));
            w = run(r, f, e->b->first);
            break;
        }
    } else if (w == NEXT && n->b) {
        w = run(r, f, n->b->first);
    }
    if (n->c && !final) {
        const char *raised = r->raised, *file = r->where_file;
        const int line = r->where_line;
        char message[sizeof r->message];
        memcpy(message, r->message, sizeof message);
        r->raised = NULL;
        const flow last = run(r, f, n->c->first);
        if (last != NEXT)
            return last;
        r->raised = raised;
        r->where_file = file;
        r->where_line = line;
        memcpy(r->message, message, sizeof message);
    }
    return w;
}

static void import(py *r, frame *f, const py_node *n)
{
    py_module *m = load(r, n->text);
    if (!m)
        return;
    if (n->kind == PY_N_IMPORT) {
        put(r, f->scope, n->a ? n->a->text : n->text, (py_val){PY_MODULE, .mod = m});
        return;
    }
    for (const py_node *k = n->first; k && !r->raised; k = k->next) {
        const py_val *v = m->math ? NULL : find(&m->scope, k->text);
        const py_val got = v ? *v : m->math ? py_math(r, k->text) : NONE;
        if (!v && !m->math)
            (void)py_raise(r, "ImportError", "cannot import name '%s' from '%s' (%s)", k->text, m->name, m->file);
        put(r, f->scope, k->a ? k->a->text : k->text, got);
    }
}

static void delete_it(py *r, frame *f, const py_node *n)
{
    size_t at = 0;
    if (n->a->kind != PY_N_INDEX) {
        (void)py_raise(r, "SyntaxError", "del of this is not supported here");
        return;
    }
    const py_val of = eval(r, f, n->a->a), key = eval(r, f, n->a->b);
    if (r->raised)
        return;
    if (of.t == PY_LIST && py_index_of(r, key, of.q->n, &at)) {
        memmove(of.q->v + at, of.q->v + at + 1, (of.q->n - at - 1) * sizeof *of.q->v);
        of.q->n--;
    } else if (of.t == PY_DICT) {
        const py_val *v = py_map_get(r, of.m, key);
        if (v)
            py_map_drop(of.m, (size_t)(v - of.m->v));
        else
            (void)py_raise(r, "KeyError", "key not found");
    }
}

static flow step(py *r, frame *f, const py_node *n)
{
    r->line = n->line;
    switch ((py_kind)n->kind) {
    case PY_N_EXPR: (void)eval(r, f, n->a); break;
    case PY_N_ASSIGN: {
        const py_val v = eval(r, f, n->b);
        if (!r->raised)
            assign(r, f, n->a, v);
        break;
    }
    case PY_N_AUGMENT: {
        const py_val a = eval(r, f, n->a), b = eval(r, f, n->b);
        const py_val v = r->raised ? NONE : py_binary(r, (py_op)n->op, a, b);
        if (!r->raised)
            assign(r, f, n->a, v);
        break;
    }
    case PY_N_RETURN: f->result = n->a ? eval(r, f, n->a) : NONE; return r->raised ? RAISED : RETURN;
    case PY_N_IF:
        if (py_truth(eval(r, f, n->a)))
            return r->raised ? RAISED : run(r, f, n->b->first);
        if (r->raised || !n->c)
            break;
        return n->c->kind == PY_N_IF ? step(r, f, n->c) : run(r, f, n->c->first);
    case PY_N_WHILE: case PY_N_FOR: return loop(r, f, n);
    case PY_N_DEF: put(r, f->scope, n->text, make_function(r, f, n)); break;
    case PY_N_BREAK: return BREAK;
    case PY_N_CONTINUE: return CONTINUE;
    case PY_N_ASSERT: assert_it(r, f, n); break;
    case PY_N_RAISE: raise_it(r, f, n); break;
    case PY_N_IMPORT: case PY_N_FROM: import(r, f, n); break;
    case PY_N_TRY: return try_it(r, f, n);
    case PY_N_DEL: delete_it(r, f, n); break;
    default: break;
    }
    return r->raised ? RAISED : NEXT;
}

static flow run(py *r, frame *f, const py_node *list)
{
    for (; list; list = list->next) {
        if (!py_step(r))
            return RAISED;
        const flow w = step(r, f, list);
        if (w != NEXT)
            return r->raised ? RAISED : w;
    }
    return NEXT;
}

/* ---- entries ---- */

static void begin(py *r, const qn_py_file *files, size_t n, qn_buf *out)
{
    *r = (py){.files = files, .n_files = n, .out = out};
    qn__arena_init(&r->arena, MEMORY);
}

static void tell(const py *r, qn_buf *out)
{
    qn__buf_printf(out, "%s: %s", r->raised, r->message);
    if (r->where_file && r->where_line)
        qn__buf_printf(out, " (%s, line %d)", r->where_file, r->where_line);
    qn__buf_putc(out, '\n');
}

static bool is_test(const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    const size_t n = strlen(base);
    return strncmp(base, "test_", 5) == 0 && n > 8 && strcmp(base + n - 3, ".py") == 0;
}

/* One test in a world of its own: modules are loaded anew, so that tests cannot disturb each other. which: the how-manieth of the
 * file's; *name: its name, or NULL when there is none; *more: others follow. */
static bool one_test(const qn_py_file *files, size_t n, const qn_py_file *file, size_t which, const char **name, char *named, bool *more,
                     qn_buf *why, bool *no_memory)
{
    py r;
    bool passed = false;
    qn_buf printed = {0};
    begin(&r, files, n, &printed);
    *name = NULL;
    *more = false;
    py_module m = {.name = "test", .file = file->path};
    frame f = {.scope = &m.scope, .module = &m};
    py_node *tree = py_parse(&r, file->text, file->path);
    if (tree)
        (void)run(&r, &f, tree->first);
    if (r.raised) {
        if (which == 0) {
            (void)snprintf(named, 80, "(the file itself)");
            *name = named;
        }
    } else {
        size_t k = 0;
        py_val test = NONE;
        for (size_t i = 0; i < m.scope.n; i++) {
            if (m.scope.v[i].t != PY_FUNC || strncmp(m.scope.names[i], "test_", 5) != 0)
                continue;
            if (k == which) {
                (void)snprintf(named, 80, "%s", m.scope.names[i]);
                *name = named;
                test = m.scope.v[i];
            }
            *more |= k++ > which;
        }
        if (*name) {
            py_args none = {0};
            r.steps = 0;
            (void)py_call(&r, test, &none);
        }
    }
    passed = *name && !r.raised;
    if (r.raised)
        tell(&r, why);
    *no_memory |= r.no_memory || why->failed || printed.failed;
    qn__arena_free(&r.arena);
    qn__buf_free(&printed);
    return passed;
}

qn_status qn__py_test(const qn_py_file *files, size_t n, const char *only, qn_py_report *r, qn_err *err)
{
    bool no_memory = false;
    for (size_t i = 0; i < n && !no_memory; i++) {
        if (!is_test(files[i].path) || (only && strcmp(files[i].path, only) != 0))
            continue;
        bool more = true;
        for (size_t k = 0; k < QN_PY_TESTS && more && !no_memory; k++) {
            char named[80];
            const char *name = NULL;
            qn_buf why = {0};
            const bool passed = one_test(files, n, &files[i], k, &name, named, &more, &why, &no_memory);
            if (name) {
                qn__buf_printf(&r->out, "%s::%s %s\n", files[i].path, name, passed ? "PASSED" : "FAILED");
                if (!passed)
                    qn__buf_printf(&r->out, "    %s", why.data ? why.data : "\n");
                r->passed += passed;
                r->failed += !passed;
            }
            qn__buf_free(&why);
        }
    }
    return no_memory || r->out.failed ? qn__fail_mem(err, "tests") : QN_OK;
}

qn_status qn__py_run(const qn_py_file *files, size_t n, const char *program, qn_buf *out, bool *ok, qn_err *err)
{
    py r;
    begin(&r, files, n, out);
    py_module m = {.name = "main", .file = "program"};
    frame f = {.scope = &m.scope, .module = &m};
    py_node *tree = py_parse(&r, program, "program");
    if (tree)
        (void)run(&r, &f, tree->first);
    *ok = !r.raised;
    if (r.raised)
        tell(&r, out);
    const bool no_memory = r.no_memory || out->failed;
    qn__arena_free(&r.arena);
    return no_memory ? qn__fail_mem(err, "program") : QN_OK;
}
