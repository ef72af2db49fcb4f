/* py_method.c - methods of the small Python's strings, lists, dicts and sets. See py_int.h. */
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

/* ---- methods of strings ---- */

static bool space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Characters through f. */
static py_val each(py *r, py_val self, char (*f)(char c, bool first))
{
    qn_buf b = {0};
    bool first = true;
    for (size_t i = 0; i < self.s->n; i++) {
        qn__buf_putc(&b, f(self.s->p[i], first));
        first = false;
    }
    return py_taken(r, &b);
}

static char up(char c, bool first)
{
    (void)first;
    return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

static char down(char c, bool first)
{
    (void)first;
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static char capital(char c, bool first)
{
    return first ? up(c, true) : down(c, false);
}

static py_val s_upper(py *r, py_val self, py_args *a)
{
    (void)a;
    return each(r, self, up);
}

static py_val s_lower(py *r, py_val self, py_args *a)
{
    (void)a;
    return each(r, self, down);
}

static py_val s_capitalize(py *r, py_val self, py_args *a)
{
    (void)a;
    return each(r, self, capital);
}

static py_val s_title(py *r, py_val self, py_args *a)
{
    qn_buf b = {0};
    (void)a;
    for (size_t i = 0; i < self.s->n; i++) {
        const char before = i ? down(self.s->p[i - 1], false) : ' ';
        qn__buf_putc(&b, capital(self.s->p[i], !(before >= 'a' && before <= 'z')));
    }
    return py_taken(r, &b);
}

static py_val stripped(py *r, py_val self, const py_args *a, bool left, bool right)
{
    const char *p = self.s->p, *end = p + self.s->n;
    if (a->n && a->v[0].t != PY_NONE && !py_is_str(r, a->v[0], "strip()'s argument"))
        return NONE;
    const py_text *set = a->n && a->v[0].t == PY_STR ? a->v[0].s : NULL;
#define OUT(c) (set ? memchr(set->p, (c), set->n) != NULL : space(c))
    while (left && p < end && OUT(*p))
        p++;
    while (right && p < end && OUT(end[-1]))
        end--;
#undef OUT
    return py_str(r, p, (size_t)(end - p));
}

static py_val s_strip(py *r, py_val self, py_args *a)
{
    return stripped(r, self, a, true, true);
}

static py_val s_lstrip(py *r, py_val self, py_args *a)
{
    return stripped(r, self, a, true, false);
}

static py_val s_rstrip(py *r, py_val self, py_args *a)
{
    return stripped(r, self, a, false, true);
}

static py_val s_split(py *r, py_val self, py_args *a)
{
    const char *p = self.s->p, *end = p + self.s->n;
    py_val out = py_list(r, PY_LIST);
    if (!a->n || a->v[0].t == PY_NONE) {
        while (p < end && !r->raised) {
            while (p < end && space(*p))
                p++;
            const char *from = p;
            while (p < end && !space(*p))
                p++;
            if (p > from)
                (void)py_append(r, out, py_str(r, from, (size_t)(p - from)));
        }
        return out;
    }
    if (!py_is_str(r, a->v[0], "split()'s argument"))
        return NONE;
    if (!a->v[0].s->n)
        return py_raise(r, "ValueError", "empty separator");
    int64_t most = a->n > 1 && a->v[1].t == PY_INT && a->v[1].i >= 0 ? a->v[1].i : PY_STEPS;
    for (const char *at; !r->raised; p = at + a->v[0].s->n) {
        at = most-- > 0 ? memmem(p, (size_t)(end - p), a->v[0].s->p, a->v[0].s->n) : NULL;
        (void)py_append(r, out, py_str(r, p, (size_t)((at ? at : end) - p)));
        if (!at)
            break;
    }
    return out;
}

static py_val s_splitlines(py *r, py_val self, py_args *a)
{
    const char *p = self.s->p, *end = p + self.s->n;
    py_val out = py_list(r, PY_LIST);
    (void)a;
    while (p < end && !r->raised) {
        const char *at = memchr(p, '\n', (size_t)(end - p));
        (void)py_append(r, out, py_str(r, p, (size_t)((at ? at : end) - p)));
        p = at ? at + 1 : end;
    }
    return out;
}

static py_val s_join(py *r, py_val self, py_args *a)
{
    qn_buf b = {0};
    py_val list = py_items(r, a->v[0]);
    for (size_t i = 0; !r->raised && i < list.q->n; i++)
        if (py_is_str(r, list.q->v[i], "an item of join()")) {
            if (i)
                qn__buf_put(&b, self.s->p, self.s->n);
            qn__buf_put(&b, list.q->v[i].s->p, list.q->v[i].s->n);
        }
    return py_taken(r, &b);
}

static py_val s_replace(py *r, py_val self, py_args *a)
{
    qn_buf b = {0};
    if (!py_is_str(r, a->v[0], "replace()'s argument") || !py_is_str(r, a->v[1], "replace()'s argument"))
        return NONE;
    const py_text *from = a->v[0].s, *to = a->v[1].s;
    for (size_t i = 0; i < self.s->n && b.n <= 200000;) {
        if (from->n && self.s->n - i >= from->n && memcmp(self.s->p + i, from->p, from->n) == 0) {
            qn__buf_put(&b, to->p, to->n);
            i += from->n;
        } else {
            qn__buf_putc(&b, self.s->p[i++]);
        }
    }
    return py_taken(r, &b);
}

static bool edge(py *r, py_val self, py_val v, bool end)
{
    if (v.t == PY_TUPLE) {
        for (size_t i = 0; i < v.q->n && !r->raised; i++)
            if (edge(r, self, v.q->v[i], end))
                return true;
        return false;
    }
    if (!py_is_str(r, v, "the argument") || v.s->n > self.s->n)
        return false;
    return memcmp(self.s->p + (end ? self.s->n - v.s->n : 0), v.s->p, v.s->n) == 0;
}

static py_val s_startswith(py *r, py_val self, py_args *a)
{
    return boolean(edge(r, self, a->v[0], false));
}

static py_val s_endswith(py *r, py_val self, py_args *a)
{
    return boolean(edge(r, self, a->v[0], true));
}

static int64_t found(py *r, py_val self, py_val what)
{
    if (!py_is_str(r, what, "the argument"))
        return -1;
    const char *at = what.s->n ? memmem(self.s->p, self.s->n, what.s->p, what.s->n) : self.s->p;
    return at ? at - self.s->p : -1;
}

static py_val s_find(py *r, py_val self, py_args *a)
{
    return integer(found(r, self, a->v[0]));
}

static py_val s_index(py *r, py_val self, py_args *a)
{
    const int64_t i = found(r, self, a->v[0]);
    return i < 0 ? py_raise(r, "ValueError", "substring not found") : integer(i);
}

static py_val s_count(py *r, py_val self, py_args *a)
{
    int64_t n = 0;
    if (!py_is_str(r, a->v[0], "count()'s argument") || !a->v[0].s->n)
        return integer((int64_t)self.s->n + 1);
    for (const char *p = self.s->p, *end = p + self.s->n; (p = memmem(p, (size_t)(end - p), a->v[0].s->p, a->v[0].s->n)); p += a->v[0].s->n)
        n++;
    return integer(n);
}

static bool only(const py_text *s, bool digits, bool letters, bool blanks)
{
    for (size_t i = 0; i < s->n; i++) {
        const char c = down(s->p[i], false);
        if (!((digits && c >= '0' && c <= '9') || (letters && c >= 'a' && c <= 'z') || (blanks && space(c))))
            return false;
    }
    return s->n > 0;
}

static py_val s_isdigit(py *r, py_val self, py_args *a)
{
    (void)r;
    (void)a;
    return boolean(only(self.s, true, false, false));
}

static py_val s_isalpha(py *r, py_val self, py_args *a)
{
    (void)r;
    (void)a;
    return boolean(only(self.s, false, true, false));
}

static py_val s_isalnum(py *r, py_val self, py_args *a)
{
    (void)r;
    (void)a;
    return boolean(only(self.s, true, true, false));
}

static py_val s_isspace(py *r, py_val self, py_args *a)
{
    (void)r;
    (void)a;
    return boolean(only(self.s, false, false, true));
}

static py_val s_isupper(py *r, py_val self, py_args *a)
{
    bool any = false;
    (void)r;
    (void)a;
    for (size_t i = 0; i < self.s->n; i++) {
        if (self.s->p[i] >= 'a' && self.s->p[i] <= 'z')
            return boolean(false);
        any |= self.s->p[i] >= 'A' && self.s->p[i] <= 'Z';
    }
    return boolean(any);
}

static py_val s_zfill(py *r, py_val self, py_args *a)
{
    qn_buf b = {0};
    if (!py_is_int(r, a->v[0], "zfill()'s argument"))
        return NONE;
    for (int64_t i = (int64_t)self.s->n; i < a->v[0].i && i < 1000; i++)
        qn__buf_putc(&b, '0');
    qn__buf_put(&b, self.s->p, self.s->n);
    return py_taken(r, &b);
}

/* ---- of lists ---- */

static py_val l_append(py *r, py_val self, py_args *a)
{
    (void)py_append(r, self, a->v[0]);
    return NONE;
}

static py_val l_extend(py *r, py_val self, py_args *a)
{
    py_val list = py_items(r, a->v[0]);
    for (size_t i = 0; !r->raised && i < list.q->n; i++)
        (void)py_append(r, self, list.q->v[i]);
    return NONE;
}

static void drop(py_seq *q, size_t at)
{
    memmove(q->v + at, q->v + at + 1, (q->n - at - 1) * sizeof *q->v);
    q->n--;
}

static py_val l_pop(py *r, py_val self, py_args *a)
{
    size_t at = 0;
    if (!py_index_of(r, a->n ? a->v[0] : integer(-1), self.q->n, &at))
        return NONE;
    const py_val v = self.q->v[at];
    drop(self.q, at);
    return v;
}

static py_val l_insert(py *r, py_val self, py_args *a)
{
    if (!py_is_int(r, a->v[0], "insert()'s argument") || !py_append(r, self, a->v[1]))
        return NONE;
    const int64_t n = (int64_t)self.q->n - 1;
    int64_t i = a->v[0].i < 0 ? a->v[0].i + n : a->v[0].i;
    i = i < 0 ? 0 : i > n ? n : i;
    memmove(self.q->v + i + 1, self.q->v + i, (size_t)(n - i) * sizeof *self.q->v);
    self.q->v[i] = a->v[1];
    return NONE;
}

static int64_t position(py *r, py_val self, py_val v)
{
    for (size_t i = 0; i < self.q->n && py_step(r); i++)
        if (py_equal(r, self.q->v[i], v))
            return (int64_t)i;
    return -1;
}

static py_val l_index(py *r, py_val self, py_args *a)
{
    const int64_t i = position(r, self, a->v[0]);
    return i < 0 ? py_raise(r, "ValueError", "value is not in list") : integer(i);
}

static py_val l_remove(py *r, py_val self, py_args *a)
{
    const int64_t i = position(r, self, a->v[0]);
    if (i < 0)
        return py_raise(r, "ValueError", "list.remove(x): x not in list");
    drop(self.q, (size_t)i);
    return NONE;
}

static py_val l_count(py *r, py_val self, py_args *a)
{
    int64_t n = 0;
    for (size_t i = 0; i < self.q->n && py_step(r); i++)
        n += py_equal(r, self.q->v[i], a->v[0]);
    return integer(n);
}

static py_val l_sort(py *r, py_val self, py_args *a)
{
    py_sort(r, self.q, py_keyword(a, "key", NONE), py_truth(py_keyword(a, "reverse", NONE)));
    return NONE;
}

static py_val l_reverse(py *r, py_val self, py_args *a)
{
    (void)r;
    (void)a;
    for (size_t i = 0; i < self.q->n / 2; i++) {
        const py_val v = self.q->v[i];
        self.q->v[i] = self.q->v[self.q->n - 1 - i];
        self.q->v[self.q->n - 1 - i] = v;
    }
    return NONE;
}

static py_val l_copy(py *r, py_val self, py_args *a)
{
    (void)a;
    return py_items(r, self);
}

static py_val l_clear(py *r, py_val self, py_args *a)
{
    (void)r;
    (void)a;
    self.q->n = 0;
    return NONE;
}

/* ---- of dicts and sets ---- */

static py_val d_get(py *r, py_val self, py_args *a)
{
    const py_val *v = py_map_get(r, self.m, a->v[0]);
    return v ? *v : a->n > 1 ? a->v[1] : NONE;
}

static py_val d_keys(py *r, py_val self, py_args *a)
{
    (void)a;
    return py_items(r, self);
}

static py_val d_values(py *r, py_val self, py_args *a)
{
    py_val out = py_list(r, PY_LIST);
    (void)a;
    for (size_t i = 0; !r->raised && i < self.m->n; i++)
        (void)py_append(r, out, self.m->v[i]);
    return out;
}

static py_val d_items(py *r, py_val self, py_args *a)
{
    py_val out = py_list(r, PY_LIST);
    (void)a;
    for (size_t i = 0; !r->raised && i < self.m->n; i++) {
        py_val two = py_list(r, PY_TUPLE);
        if (!r->raised && py_append(r, two, self.m->k[i]) && py_append(r, two, self.m->v[i]))
            (void)py_append(r, out, two);
    }
    return out;
}

static py_val d_pop(py *r, py_val self, py_args *a)
{
    for (size_t i = 0; i < self.m->n && py_step(r); i++)
        if (py_equal(r, self.m->k[i], a->v[0])) {
            const py_val v = self.m->v[i];
            py_map_drop(self.m, i);
            return v;
        }
    return a->n > 1 ? a->v[1] : py_raise(r, "KeyError", "key not found");
}

static py_val d_setdefault(py *r, py_val self, py_args *a)
{
    const py_val *v = py_map_get(r, self.m, a->v[0]);
    if (v)
        return *v;
    const py_val given = a->n > 1 ? a->v[1] : NONE;
    (void)py_map_set(r, self.m, a->v[0], given);
    return given;
}

static py_val d_update(py *r, py_val self, py_args *a)
{
    py_merge(r, self, a->v[0]);
    return NONE;
}

static py_val d_copy(py *r, py_val self, py_args *a)
{
    py_val out = py_map_new(r, self.t);
    (void)a;
    for (size_t i = 0; !r->raised && i < self.m->n; i++)
        (void)py_map_set(r, out.m, self.m->k[i], self.m->v[i]);
    return out;
}

static py_val set_add(py *r, py_val self, py_args *a)
{
    (void)py_map_set(r, self.m, a->v[0], NONE);
    return NONE;
}

static py_val set_drop(py *r, py_val self, py_args *a)
{
    for (size_t i = 0; i < self.m->n && py_step(r); i++)
        if (py_equal(r, self.m->k[i], a->v[0])) {
            py_map_drop(self.m, i);
            break;
        }
    return NONE;
}

static const py_callable methods[] = {
    {"upper", PY_STR, 0, 0, s_upper}, {"lower", PY_STR, 0, 0, s_lower}, {"capitalize", PY_STR, 0, 0, s_capitalize},
    {"title", PY_STR, 0, 0, s_title}, {"strip", PY_STR, 0, 1, s_strip}, {"lstrip", PY_STR, 0, 1, s_lstrip},
    {"rstrip", PY_STR, 0, 1, s_rstrip}, {"split", PY_STR, 0, 2, s_split}, {"splitlines", PY_STR, 0, 0, s_splitlines},
    {"join", PY_STR, 1, 1, s_join}, {"replace", PY_STR, 2, 2, s_replace}, {"startswith", PY_STR, 1, 1, s_startswith},
    {"endswith", PY_STR, 1, 1, s_endswith}, {"find", PY_STR, 1, 1, s_find}, {"index", PY_STR, 1, 1, s_index},
    {"count", PY_STR, 1, 1, s_count}, {"isdigit", PY_STR, 0, 0, s_isdigit}, {"isalpha", PY_STR, 0, 0, s_isalpha},
    {"isalnum", PY_STR, 0, 0, s_isalnum}, {"isspace", PY_STR, 0, 0, s_isspace}, {"isupper", PY_STR, 0, 0, s_isupper},
    {"zfill", PY_STR, 1, 1, s_zfill},
    {"append", PY_LIST, 1, 1, l_append}, {"extend", PY_LIST, 1, 1, l_extend}, {"pop", PY_LIST, 0, 1, l_pop}, {"insert", PY_LIST, 2, 2, l_insert},
    {"index", PY_LIST, 1, 1, l_index}, {"remove", PY_LIST, 1, 1, l_remove}, {"count", PY_LIST, 1, 1, l_count}, {"sort", PY_LIST, 0, 0, l_sort},
    {"reverse", PY_LIST, 0, 0, l_reverse}, {"copy", PY_LIST, 0, 0, l_copy}, {"clear", PY_LIST, 0, 0, l_clear},
    {"index", PY_TUPLE, 1, 1, l_index}, {"count", PY_TUPLE, 1, 1, l_count},
    {"get", PY_DICT, 1, 2, d_get}, {"keys", PY_DICT, 0, 0, d_keys}, {"values", PY_DICT, 0, 0, d_values}, {"items", PY_DICT, 0, 0, d_items},
    {"pop", PY_DICT, 1, 2, d_pop}, {"setdefault", PY_DICT, 1, 2, d_setdefault}, {"update", PY_DICT, 1, 1, d_update},
    {"copy", PY_DICT, 0, 0, d_copy}, {"add", PY_SET, 1, 1, set_add}, {"discard", PY_SET, 1, 1, set_drop}, {"remove", PY_SET, 1, 1, set_drop},
    {"copy", PY_SET, 0, 0, d_copy},
};

const py_callable *py_method(const char *name, py_type of)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (methods[i].of == of && strcmp(methods[i].name, name) == 0)
            return &methods[i];
    return NULL;
}
