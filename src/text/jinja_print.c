/* jinja_print.c - values to text: str() and repr() of Python, and JSON as Python's json module writes it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja_int.h"

/* ---- numbers ------------------------------------------------------------------------------------------------------
 */

/* The shortest digits that read back as f; fixed notation for exponents in [-4, 16), as Python's repr. */
void qn__j_float_repr(double f, char out[40])
{
    char e[40];
    if (isnan(f) || isinf(f)) {
        (void)snprintf(out, 40, "%s", isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    for (int digits = 0; digits < 17; digits++) {
        (void)snprintf(e, sizeof e, "%.*e", digits, f);
        if (strtod(e, NULL) == f)
            break;
    }
    char *exp_at = strchr(e, 'e'), mant[32];
    int exp10 = exp_at ? (int16_t)atoi(exp_at + 1) : 0, n = 0;
    const char *p = e, *sign = *e == '-' ? "-" : "";
    for (; p < exp_at; p++)
        if (*p >= '0' && *p <= '9')
            mant[n++] = *p;
    mant[n] = 0;
    if (exp10 >= 16 || exp10 < -4) {
        (void)snprintf(out, 40, "%s%c%s%.20se%c%02u", sign, mant[0], n > 1 ? "." : "", mant + 1, exp10 < 0 ? '-' : '+',
                       (unsigned)abs(exp10) % 1000);
    } else if (exp10 < 0) {
        (void)snprintf(out, 40, "%s0.%.*s%s", sign, -exp10 - 1, "000", mant);
    } else if (n <= exp10 + 1) {
        (void)snprintf(out, 40, "%s%s%.*s.0", sign, mant, exp10 + 1 - n, "0000000000000000");
    } else {
        (void)snprintf(out, 40, "%s%.*s.%s", sign, exp10 + 1, mant, mant + exp10 + 1);
    }
}

static qn_status emit_int(jrun *r, int64_t i)
{
    char text[24];
    J_TRY(qn__j_step(r, 64));
    (void)snprintf(text, sizeof text, "%lld", (long long)i);
    return qn__j_emits(r, text);
}

static qn_status emit_float(jrun *r, double f)
{
    char text[40];
    J_TRY(qn__j_step(r, J_COST_FLOAT));
    qn__j_float_repr(f, text);
    return qn__j_emits(r, text);
}

/* ---- repr
 * ------------------------------------------------------------------------------------------------------------ */

static qn_status repr_str(jrun *r, jval s)
{
    bool single = s.n && memchr(s.u.s, '\'', s.n), twice = s.n && memchr(s.u.s, '"', s.n);
    char quote = single && !twice ? '"' : '\'', text[12];
    J_TRY(qn__j_emit(r, &quote, 1));
    for (size_t at = 0, k; at < s.n; at += k) {
        int32_t cp;
        k = qn__j_char(s.u.s + at, s.n - at, &cp);
        if (cp == quote || cp == '\\')
            (void)snprintf(text, sizeof text, "\\%c", (char)cp);
        else if (cp == '\n' || cp == '\r' || cp == '\t')
            (void)snprintf(text, sizeof text, "\\%c", cp == '\n' ? 'n' : cp == '\r' ? 'r' : 't');
        else if (cp < 0 || qn__j_printable(cp)) {
            J_TRY(qn__j_emit(r, s.u.s + at, k));
            continue;
        } else
            (void)snprintf(text, sizeof text,
                           cp < 0x100     ? "\\x%02x"
                           : cp < 0x10000 ? "\\u%04x"
                                          : "\\U%08x",
                           (unsigned)cp);
        J_TRY(qn__j_emits(r, text));
    }
    return qn__j_emit(r, &quote, 1);
}

static qn_status repr_list(jrun *r, jval v)
{
    static const char *const open[] = {"[", "(", "dict_keys([", "dict_values([", "dict_items(["};
    static const char *const close[] = {"]", ")", "])", "])", "])"};
    J_TRY(qn__j_emits(r, open[v.kind - J_LIST]));
    for (uint32_t i = 0; i < v.n; i++) {
        if (i)
            J_TRY(qn__j_emits(r, ", "));
        J_TRY(qn__j_emit_repr(r, v.u.v[i]));
    }
    if (v.kind == J_TUPLE && v.n == 1)
        J_TRY(qn__j_emits(r, ","));
    return qn__j_emits(r, close[v.kind - J_LIST]);
}

static qn_status repr_dict(jrun *r, jval v)
{
    const jdict *d = v.u.dict;
    J_TRY(qn__j_emits(r, v.kind == J_NS ? "<Namespace {" : "{"));
    for (uint32_t i = 0; i < d->n; i++) {
        if (i)
            J_TRY(qn__j_emits(r, ", "));
        J_TRY(qn__j_emit_repr(r, d->v[i].k));
        J_TRY(qn__j_emits(r, ": "));
        J_TRY(qn__j_emit_repr(r, d->v[i].v));
    }
    return qn__j_emits(r, v.kind == J_NS ? "}>" : "}");
}

static qn_status repr_other(jrun *r, jval v)
{
    switch (v.kind) {
    case J_RANGE: {
        char text[80];
        const jrange *x = v.u.range;
        int n = snprintf(text, sizeof text, "range(%lld, %lld", (long long)x->start, (long long)x->stop);
        if (x->step != 1)
            n += snprintf(text + n, sizeof text - (size_t)n, ", %lld", (long long)x->step);
        (void)snprintf(text + n, sizeof text - (size_t)n, ")");
        return qn__j_emits(r, text);
    }
    case J_MACRO: {
        qn_slice name = v.u.macro->node->name;
        J_TRY(qn__j_emits(r, "<Macro '"));
        J_TRY(qn__j_emit(r, name.p, name.n));
        return qn__j_emits(r, "'>");
    }
    default:
        J_TRY(qn__j_emits(r, "<"));
        J_TRY(qn__j_emits(r, qn__j_type_name(v)));
        return qn__j_emits(r, " object>");
    }
}

qn_status qn__j_emit_repr(jrun *r, jval v)
{
    qn_status s;
    switch (v.kind) {
    case J_ABSENT:
    case J_UNDEF: return qn__j_emits(r, "Undefined");
    case J_NONE: return qn__j_emits(r, "None");
    case J_BOOL: return qn__j_emits(r, v.u.b ? "True" : "False");
    case J_INT: return emit_int(r, v.u.i);
    case J_FLOAT: return emit_float(r, v.u.f);
    case J_STR:
        if (!v.safe)
            return repr_str(r, v);
        J_TRY(qn__j_emits(r, "Markup("));
        J_TRY(repr_str(r, v));
        return qn__j_emits(r, ")");
    default: break;
    }
    J_TRY(qn__j_deeper(r));
    if (qn__j_is_list(v))
        s = repr_list(r, v);
    else if (v.kind == J_DICT || v.kind == J_NS)
        s = repr_dict(r, v);
    else
        s = repr_other(r, v);
    r->depth--;
    return s;
}

qn_status qn__j_emit_str(jrun *r, jval v)
{
    if (v.kind == J_STR)
        return qn__j_emit(r, v.u.s, v.n);
    if (v.kind == J_UNDEF)
        return QN_OK;
    return qn__j_emit_repr(r, v);
}

qn_status qn__j_to_str(jrun *r, jval v, jval *out)
{
    if (v.kind == J_STR) {
        *out = v;
        return QN_OK;
    }
    size_t mark = qn__j_mark(r);
    J_TRY(qn__j_emit_str(r, v));
    return qn__j_take(r, mark, out);
}

/* ---- JSON
 * ------------------------------------------------------------------------------------------------------------ */

static qn_status json_str(jrun *r, const char *p, size_t n, bool ascii)
{
    char text[16];
    J_TRY(qn__j_emits(r, "\""));
    size_t from = 0;
    for (size_t at = 0, k; at < n; at += k) {
        unsigned char c = (unsigned char)p[at];
        int32_t cp = c;
        k = 1;
        if (c >= 0x20 && c != '"' && c != '\\' && (!ascii || c < 0x7F))
            continue;
        if (c >= 0x80)
            k = qn__j_char(p + at, n - at, &cp);
        J_TRY(qn__j_emit(r, p + from, at - from));
        static const char plain[] = "\"\\\n\r\t\f\b", letter[] = "\"\\nrtfb";
        const char *e = c ? strchr(plain, c) : NULL;
        if (e)
            (void)snprintf(text, sizeof text, "\\%c", letter[e - plain]);
        else if (cp < 0x10000)
            (void)snprintf(text, sizeof text, "\\u%04x", (unsigned)(cp < 0 ? 0xFFFD : cp));
        else
            (void)snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xD800u + ((unsigned)(cp - 0x10000) >> 10),
                           0xDC00u + ((unsigned)cp & 0x3FF));
        J_TRY(qn__j_emits(r, text));
        from = at + k;
    }
    J_TRY(qn__j_emit(r, p + from, n - from));
    return qn__j_emits(r, "\"");
}

static qn_status json_float(jrun *r, double f)
{
    if (isnan(f) || isinf(f))
        return qn__j_emits(r, isnan(f) ? "NaN" : f < 0 ? "-Infinity" : "Infinity");
    return emit_float(r, f);
}

static qn_status json_value(jrun *r, jval v, const jjson *how, uint32_t level);

static qn_status json_line(jrun *r, const jjson *how, uint32_t level)
{
    if (how->indent.kind != J_STR)
        return QN_OK;
    J_TRY(qn__j_emits(r, "\n"));
    for (uint32_t i = 0; i < level; i++)
        J_TRY(qn__j_emit(r, how->indent.u.s, how->indent.n));
    return QN_OK;
}

static qn_status json_list(jrun *r, jval v, const jjson *how, uint32_t level)
{
    if (!v.n)
        return qn__j_emits(r, "[]");
    J_TRY(qn__j_emits(r, "["));
    for (uint32_t i = 0; i < v.n; i++) {
        if (i)
            J_TRY(qn__j_emit(r, how->item_sep.u.s, how->item_sep.n));
        J_TRY(json_line(r, how, level + 1));
        J_TRY(json_value(r, v.u.v[i], how, level + 1));
    }
    J_TRY(json_line(r, how, level));
    return qn__j_emits(r, "]");
}

static qn_status json_key(jrun *r, jval k, bool ascii)
{
    char text[40];
    switch (k.kind) {
    case J_STR: return json_str(r, k.u.s, k.n, ascii);
    case J_BOOL: return qn__j_emits(r, k.u.b ? "\"true\"" : "\"false\"");
    case J_NONE: return qn__j_emits(r, "\"null\"");
    case J_INT: (void)snprintf(text, sizeof text, "%lld", (long long)k.u.i); break;
    case J_FLOAT: qn__j_float_repr(k.u.f, text); break;
    default: return qn__j_type(r, "keys must be str, int, float, bool or None, not %s", qn__j_type_name(k));
    }
    return json_str(r, text, strlen(text), ascii);
}

/* Merge sort: stable, and its work is n log n. */
qn_status qn__j_sort(jrun *r, const jpair *v, uint32_t n, bool reverse, jpair **out)
{
    jpair *a, *b;
    int first = reverse ? 1 : -1; /* the sign of (right, left) that lets the right one go first */
    J_TRY(qn__j_step(r, n));
    J_TRY(qn__j_alloc(r, ((size_t)n + 1) * sizeof *a, &a));
    J_TRY(qn__j_alloc(r, ((size_t)n + 1) * sizeof *b, &b));
    if (n)
        memcpy(a, v, n * sizeof *a);
    for (uint64_t width = 1; width < n; width *= 2) {
        for (uint64_t lo = 0; lo < n; lo += 2 * width) {
            uint64_t mid = lo + width < n ? lo + width : n, hi = lo + 2 * width < n ? lo + 2 * width : n, i = lo,
                     j = mid;
            for (uint64_t k = lo; k < hi; k++) {
                int sign = 0;
                if (i < mid && j < hi)
                    J_TRY(qn__j_compare(r, a[j].k, a[i].k, "<", &sign));
                bool right = i >= mid || (j < hi && sign == first);
                b[k] = right ? a[j++] : a[i++];
            }
        }
        jpair *t = a;
        a = b;
        b = t;
    }
    *out = a;
    return QN_OK;
}

static qn_status json_dict(jrun *r, const jdict *d, const jjson *how, uint32_t level)
{
    jpair *v = d->v;
    if (!d->n)
        return qn__j_emits(r, "{}");
    if (how->sort)
        J_TRY(qn__j_sort(r, d->v, d->n, false, &v));
    J_TRY(qn__j_emits(r, "{"));
    for (uint32_t i = 0; i < d->n; i++) {
        if (i)
            J_TRY(qn__j_emit(r, how->item_sep.u.s, how->item_sep.n));
        J_TRY(json_line(r, how, level + 1));
        J_TRY(json_key(r, v[i].k, how->ascii));
        J_TRY(qn__j_emit(r, how->key_sep.u.s, how->key_sep.n));
        J_TRY(json_value(r, v[i].v, how, level + 1));
    }
    J_TRY(json_line(r, how, level));
    return qn__j_emits(r, "}");
}

static qn_status json_value(jrun *r, jval v, const jjson *how, uint32_t level)
{
    qn_status s;
    switch (v.kind) {
    case J_NONE: return qn__j_emits(r, "null");
    case J_BOOL: return qn__j_emits(r, v.u.b ? "true" : "false");
    case J_INT: return emit_int(r, v.u.i);
    case J_FLOAT: return json_float(r, v.u.f);
    case J_STR: return json_str(r, v.u.s, v.n, how->ascii);
    case J_LIST:
    case J_TUPLE:
    case J_DICT: break;
    default: return qn__j_type(r, "Object of type %s is not JSON serializable", qn__j_type_name(v));
    }
    J_TRY(qn__j_deeper(r));
    s = v.kind == J_DICT ? json_dict(r, v.u.dict, how, level) : json_list(r, v, how, level);
    r->depth--;
    return s;
}

qn_status qn__j_emit_json(jrun *r, jval v, const jjson *how)
{
    return json_value(r, v, how, 0);
}
