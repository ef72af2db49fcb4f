/* jinja_filter_text.c - filters that make text or numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja_int.h"

static bool given(jval v)
{
    return v.kind != J_ABSENT && v.kind != J_NONE;
}

static bool truth_or(jval v, bool otherwise)
{
    return v.kind == J_ABSENT ? otherwise : qn__j_truth(v);
}

static qn_status int_or(jrun *r, jval v, int64_t otherwise, int64_t *out)
{
    *out = otherwise;
    if (!given(v))
        return QN_OK;
    if (!qn__j_is_int(v))
        return qn__j_type(r, "'%s' object cannot be interpreted as an integer", qn__j_type_name(v));
    *out = qn__j_as_int(v);
    return QN_OK;
}

/* ---- case, trimming, replacing
 * ---------------------------------------------------------------------------------------- */

static qn_status change_case(jrun *r, const jcall *c, int how, jval *out)
{
    jval s;
    J_TRY(qn__j_to_str(r, c->self, &s));
    return qn__j_case(r, s, how, out);
}

static qn_status f_upper(jrun *r, const jcall *c, jval *out)
{
    return change_case(r, c, 'u', out);
}

static qn_status f_lower(jrun *r, const jcall *c, jval *out)
{
    return change_case(r, c, 'l', out);
}

static qn_status f_capitalize(jrun *r, const jcall *c, jval *out)
{
    return change_case(r, c, 'c', out);
}

/* Jinja's own title: a word begins at the start and behind blanks and any of -({[<. */
static qn_status f_title(jrun *r, const jcall *c, jval *out)
{
    jval s, word;
    J_TRY(qn__j_to_str(r, c->self, &s));
    size_t mark = qn__j_mark(r);
    for (size_t at = 0, end; at < s.n; at = end) {
        int32_t cp;
        size_t k = qn__j_char(s.u.s + at, s.n - at, &cp);
        end = at + k;
        if (qn__j_is_space(cp) || (cp > 0 && cp < 0x80 && strchr("-({[<", (char)cp))) {
            J_TRY(qn__j_emit(r, s.u.s + at, k));
            continue;
        }
        for (; end < s.n; end += k) {
            k = qn__j_char(s.u.s + end, s.n - end, &cp);
            if (qn__j_is_space(cp) || (cp > 0 && cp < 0x80 && strchr("-({[<", (char)cp)))
                break;
        }
        k = qn__j_char(s.u.s + at, end - at, &cp);
        J_TRY(qn__j_case(r, qn__j_str(s.u.s + at, k), 'u', &word));
        J_TRY(qn__j_emit_str(r, word));
        J_TRY(qn__j_case(r, qn__j_str(s.u.s + at + k, end - at - k), 'l', &word));
        J_TRY(qn__j_emit_str(r, word));
    }
    return qn__j_take(r, mark, out);
}

static qn_status f_trim(jrun *r, const jcall *c, jval *out)
{
    jval s;
    J_TRY(qn__j_to_str(r, c->self, &s));
    if (given(c->a[0]) && c->a[0].kind != J_STR)
        return qn__j_type(r, "strip arg must be None or str");
    J_TRY(qn__j_step(r, (uint64_t)s.n * (1 + (given(c->a[0]) ? c->a[0].n / 16 : 0))));
    *out = qn__j_strip(s, given(c->a[0]) ? &c->a[0] : NULL, true, true);
    return QN_OK;
}

static qn_status f_replace(jrun *r, const jcall *c, jval *out)
{
    jval s, from, to;
    int64_t count;
    J_TRY(qn__j_to_str(r, c->self, &s));
    J_TRY(qn__j_to_str(r, c->a[0], &from));
    J_TRY(qn__j_to_str(r, c->a[1], &to));
    J_TRY(int_or(r, c->a[2], -1, &count));
    s.safe = 0;
    return qn__j_replace(r, s, from, to, count, out);
}

static qn_status f_string(jrun *r, const jcall *c, jval *out)
{
    return qn__j_to_str(r, c->self, out);
}

static qn_status f_safe(jrun *r, const jcall *c, jval *out)
{
    J_TRY(qn__j_to_str(r, c->self, out));
    out->safe = 1;
    return QN_OK;
}

static qn_status f_escape(jrun *r, const jcall *c, jval *out)
{
    jval s;
    J_TRY(qn__j_to_str(r, c->self, &s));
    if (s.safe) {
        *out = s;
        return QN_OK;
    }
    return qn__j_escape(r, s, out);
}

static qn_status f_forceescape(jrun *r, const jcall *c, jval *out)
{
    jval s;
    J_TRY(qn__j_to_str(r, c->self, &s));
    return qn__j_escape(r, s, out);
}

static qn_status f_default(jrun *r, const jcall *c, jval *out)
{
    bool use = c->self.kind == J_UNDEF || (truth_or(c->a[1], false) && !qn__j_truth(c->self));
    (void)r;
    *out = !use ? c->self : c->a[0].kind == J_ABSENT ? qn__j_str("", 0) : c->a[0];
    return QN_OK;
}

/* ---- layout
 * ------------------------------------------------------------------------------------------------------------- */

static qn_status f_indent(jrun *r, const jcall *c, jval *out)
{
    jval with = c->a[0], lines, s = c->self;
    int64_t width;
    bool first = truth_or(c->a[1], false), blank = truth_or(c->a[2], false);
    if (s.kind == J_UNDEF)
        return qn__j_undef_used(r, s);
    if (s.kind != J_STR)
        return qn__j_type(r, "unsupported operand type(s) for +=: '%s' and 'str'", qn__j_type_name(s));
    size_t mark = qn__j_mark(r);
    if (with.kind != J_STR) {
        J_TRY(int_or(r, with, 4, &width));
        for (int64_t i = 0; i < width; i++)
            J_TRY(qn__j_emit(r, " ", 1));
        J_TRY(qn__j_take(r, mark, &with));
    }
    const jbuiltin *split = qn__j_method(s, (qn_slice){"splitlines", 10});
    jcall k = {0};
    J_TRY(qn__j_join2(r, qn__j_str(s.u.s, s.n), qn__j_str("\n", 1), &k.self));
    J_TRY(qn__j_call_builtin(r, split, &k, &lines));
    for (uint32_t i = 0; i < lines.n; i++) {
        jval line = lines.u.v[i];
        if (i)
            J_TRY(qn__j_emit(r, "\n", 1));
        if (i ? line.n || blank : first)
            J_TRY(qn__j_emit(r, with.u.s, with.n));
        J_TRY(qn__j_emit(r, line.u.s, line.n));
    }
    uint8_t safe = s.safe;
    J_TRY(qn__j_take(r, mark, out));
    out->safe = safe;
    return QN_OK;
}

static qn_status f_truncate(jrun *r, const jcall *c, jval *out)
{
    int64_t length, leeway;
    jval s, end = c->a[2].kind == J_STR ? c->a[2] : qn__j_str("...", 3);
    J_TRY(qn__j_to_str(r, c->self, &s));
    J_TRY(int_or(r, c->a[0], 255, &length));
    J_TRY(int_or(r, c->a[3], 5, &leeway));
    int64_t keep = length - (int64_t)qn__j_str_len(end), n = qn__j_str_len(s);
    J_TRY(qn__j_step(r, s.n));
    if (keep < 0 || leeway < 0)
        return qn__j_type(r, "truncate: the length must hold the end mark, leeway must not be negative");
    if (n <= length || n - length <= leeway) {
        *out = s;
        return QN_OK;
    }
    s.n = (uint32_t)qn__j_offset(s, (uint32_t)keep);
    if (!truth_or(c->a[1], false)) {
        const char *space = s.n ? memrchr(s.u.s, ' ', s.n) : NULL;
        s.n = space ? (uint32_t)(space - s.u.s) : s.n;
    }
    return qn__j_join2(r, s, end, out);
}

static qn_status f_center(jrun *r, const jcall *c, jval *out)
{
    jcall k = {.pos = c->a, .n_pos = 1};
    jval width = c->a[0].kind == J_ABSENT ? qn__j_int(80) : c->a[0];
    J_TRY(qn__j_to_str(r, c->self, &k.self));
    k.pos = &width;
    return qn__j_call_builtin(r, qn__j_method(k.self, (qn_slice){"center", 6}), &k, out);
}

static qn_status f_wordcount(jrun *r, const jcall *c, jval *out)
{
    jval s;
    int64_t n = 0;
    bool inside = false;
    J_TRY(qn__j_to_str(r, c->self, &s));
    J_TRY(qn__j_step(r, s.n));
    for (size_t at = 0; at < s.n;) {
        int32_t cp;
        at += qn__j_char(s.u.s + at, s.n - at, &cp);
        bool word = qn__j_is_word(cp);
        n += word && !inside;
        inside = word;
    }
    *out = qn__j_int(n);
    return QN_OK;
}

/* ---- URLs, attributes
 * ----------------------------------------------------------------------------------------------------- */

static qn_status quote(jrun *r, jval v, bool query)
{
    jval s;
    J_TRY(qn__j_to_str(r, v, &s));
    J_TRY(qn__j_step(r, (uint64_t)s.n * 32));
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.u.s[i], hex[4];
        bool plain = (unsigned char)ch < 0x80 &&
                     (qn__j_is_word(ch) || ch == '.' || ch == '-' || ch == '~' || (ch == '/' && !query));
        (void)snprintf(hex, sizeof hex, "%%%02X", (unsigned char)ch);
        if (query && ch == ' ')
            J_TRY(qn__j_emit(r, "+", 1));
        else
            J_TRY(qn__j_emit(r, plain ? &ch : hex, plain ? 1 : 3));
    }
    return QN_OK;
}

static qn_status f_urlencode(jrun *r, const jcall *c, jval *out)
{
    const jval *v, *kv;
    uint32_t n, two;
    jval pairs = c->self;
    size_t mark = qn__j_mark(r);
    if (pairs.kind == J_STR || (!qn__j_is_list(pairs) && pairs.kind != J_DICT && pairs.kind != J_GEN)) {
        J_TRY(quote(r, pairs, false));
        return qn__j_take(r, mark, out);
    }
    bool dict = pairs.kind == J_DICT;
    J_TRY(qn__j_items(r, pairs, &v, &n));
    for (uint32_t i = 0; i < n; i++) {
        jval k, x;
        if (dict) {
            k = pairs.u.dict->v[i].k;
            x = pairs.u.dict->v[i].v;
        } else {
            J_TRY(qn__j_items(r, v[i], &kv, &two));
            if (two != 2)
                return qn__j_type(r, "urlencode needs pairs");
            k = kv[0];
            x = kv[1];
        }
        if (i)
            J_TRY(qn__j_emit(r, "&", 1));
        J_TRY(quote(r, k, true));
        J_TRY(qn__j_emit(r, "=", 1));
        J_TRY(quote(r, x, true));
    }
    return qn__j_take(r, mark, out);
}

static qn_status f_xmlattr(jrun *r, const jcall *c, jval *out)
{
    bool any = false;
    jval text;
    if (c->self.kind != J_DICT)
        return qn__j_type(r, "xmlattr needs a mapping, not %s", qn__j_type_name(c->self));
    size_t mark = qn__j_mark(r);
    for (uint32_t i = 0; i < c->self.u.dict->n; i++) {
        jpair p = c->self.u.dict->v[i];
        if (p.v.kind == J_NONE || p.v.kind == J_UNDEF)
            continue;
        if (any || truth_or(c->a[0], true))
            J_TRY(qn__j_emit(r, " ", 1));
        any = true;
        J_TRY(qn__j_to_str(r, p.k, &text));
        J_TRY(qn__j_escape(r, text, &text));
        J_TRY(qn__j_emit_str(r, text));
        J_TRY(qn__j_emits(r, "=\""));
        J_TRY(qn__j_to_str(r, p.v, &text));
        if (!text.safe)
            J_TRY(qn__j_escape(r, text, &text));
        J_TRY(qn__j_emit_str(r, text));
        J_TRY(qn__j_emits(r, "\""));
    }
    return qn__j_take(r, mark, out);
}

/* ---- JSON, formats
 * -------------------------------------------------------------------------------------------------------- */

static qn_status f_tojson(jrun *r, const jcall *c, jval *out)
{
    jval indent = c->a[1], sep = c->a[2];
    int64_t width;
    jjson how = {.ascii = truth_or(c->a[0], false), .sort = truth_or(c->a[3], false)};
    size_t mark = qn__j_mark(r);
    if (indent.kind == J_STR) {
        how.indent = indent;
    } else if (given(indent)) {
        J_TRY(int_or(r, indent, 0, &width));
        for (int64_t i = 0; i < width; i++)
            J_TRY(qn__j_emit(r, " ", 1));
        J_TRY(qn__j_take(r, mark, &how.indent));
    }
    how.item_sep = how.indent.kind == J_STR ? qn__j_str(",", 1) : qn__j_str(", ", 2);
    how.key_sep = qn__j_str(": ", 2);
    if (given(sep)) {
        if (!qn__j_is_list(sep) || sep.n != 2 || sep.u.v[0].kind != J_STR || sep.u.v[1].kind != J_STR)
            return qn__j_type(r, "separators must be two strings");
        how.item_sep = sep.u.v[0];
        how.key_sep = sep.u.v[1];
    }
    J_TRY(qn__j_emit_json(r, c->self, &how));
    return qn__j_take(r, mark, out);
}

static qn_status f_pprint(jrun *r, const jcall *c, jval *out)
{
    size_t mark = qn__j_mark(r);
    J_TRY(qn__j_emit_repr(r, c->self));
    return qn__j_take(r, mark, out);
}

static qn_status f_format(jrun *r, const jcall *c, jval *out)
{
    jval s, args = {.kind = J_TUPLE, .n = c->n_pos, .u.v = c->pos};
    if (c->n_kw && c->n_pos)
        return qn__j_type(r, "can't handle positional and keyword arguments at the same time");
    if (c->n_kw) {
        J_TRY(qn__j_dict_new(r, c->n_kw, &args));
        for (uint32_t i = 0; i < c->n_kw; i++)
            J_TRY(qn__j_dict_put(r, args.u.dict, qn__j_str(c->kw[i].name.p, c->kw[i].name.n), c->kw[i].v));
    }
    J_TRY(qn__j_to_str(r, c->self, &s));
    return qn__j_printf(r, s, args, out);
}

/* ---- numbers
 * --------------------------------------------------------------------------------------------------------------- */

/* Digits of a number's text without blanks around it and underscores within, terminated; false when it is too long or
 * an underscore stands where Python allows none. */
static bool number_text(jval s, char *out, size_t cap)
{
    size_t n = 0;
    s = qn__j_strip(s, NULL, true, true);
    for (uint32_t i = 0; i < s.n; i++) {
        char ch = s.u.s[i];
        bool between =
            i > 0 && i + 1 < s.n && s.u.s[i - 1] != '_' && (qn__j_is_word(s.u.s[i - 1]) && qn__j_is_word(s.u.s[i + 1]));
        if (ch == '_' && between)
            continue;
        if (ch == '_' || ch == 0 || n + 1 >= cap)
            return false;
        out[n++] = ch;
    }
    out[n] = 0;
    return n > 0;
}

qn_status qn__j_float_of(jrun *r, jval v, bool *ok, double *out)
{
    char text[512], *end;
    J_TRY(qn__j_step(r, v.kind == J_STR ? J_COST_FLOAT : 0));
    *ok = true;
    if (v.kind == J_UNDEF)
        return qn__j_undef_used(r, v);
    if (qn__j_is_num(v)) {
        *out = qn__j_as_float(v);
        return QN_OK;
    }
    *ok = v.kind == J_STR && number_text(v, text, sizeof text);
    if (!*ok)
        return QN_OK;
    /* strtod reads more than Python: hexadecimal and nan(...). */
    *ok = !strpbrk(text, "xX(");
    *out = strtod(text, &end);
    *ok = *ok && *end == 0 && end != text;
    return QN_OK;
}

static bool int_of_text(jval v, int64_t base, int64_t *out)
{
    char text[128], *p = text;
    if (!number_text(v, text, sizeof text) || base < 0 || base == 1 || base > 36)
        return false;
    bool minus = *p == '-';
    p += minus || *p == '+';
    int64_t prefix = *p == '0' ? ((p[1] | 0x20) == 'x'   ? 16
                                  : (p[1] | 0x20) == 'o' ? 8
                                  : (p[1] | 0x20) == 'b' ? 2
                                                         : 0)
                               : 0;
    if (prefix && (base == prefix || base == 0)) {
        p += 2;
        base = prefix;
    }
    base = base ? base : 10;
    *out = 0;
    if (!*p)
        return false;
    for (; *p; p++) {
        int d = *p >= '0' && *p <= '9'                     ? *p - '0'
                : (*p | 0x20) >= 'a' && (*p | 0x20) <= 'z' ? (*p | 0x20) - 'a' + 10
                                                           : 99;
        if (d >= base || __builtin_mul_overflow(*out, base, out) || __builtin_sub_overflow(*out, d, out))
            return false;
    }
    return minus || !__builtin_sub_overflow((int64_t)0, *out, out);
}

static qn_status f_int(jrun *r, const jcall *c, jval *out)
{
    int64_t base, i;
    double f;
    bool ok;
    J_TRY(int_or(r, c->a[1], 10, &base));
    *out = c->a[0].kind == J_ABSENT ? qn__j_int(0) : c->a[0];
    if (qn__j_is_int(c->self)) {
        *out = qn__j_int(qn__j_as_int(c->self));
        return QN_OK;
    }
    if (c->self.kind == J_STR && int_of_text(c->self, base, &i)) {
        *out = qn__j_int(i);
        return QN_OK;
    }
    J_TRY(qn__j_float_of(r, c->self, &ok, &f));
    if (ok && !isnan(f) && !isinf(f)) {
        if (fabs(f) >= 9223372036854775808.0)
            return qn__j_type(r, "an integer does not fit in 64 bits");
        *out = qn__j_int((int64_t)f);
    }
    return QN_OK;
}

static qn_status f_float(jrun *r, const jcall *c, jval *out)
{
    double f;
    bool ok;
    J_TRY(qn__j_float_of(r, c->self, &ok, &f));
    *out = ok ? qn__j_float(f) : c->a[0].kind == J_ABSENT ? qn__j_float(0) : c->a[0];
    return QN_OK;
}

static qn_status want_num(jrun *r, jval v, const char *what)
{
    if (v.kind == J_UNDEF)
        return qn__j_undef_used(r, v);
    return qn__j_is_num(v) ? QN_OK : qn__j_type(r, "bad operand type for %s: '%s'", what, qn__j_type_name(v));
}

static qn_status f_abs(jrun *r, const jcall *c, jval *out)
{
    J_TRY(want_num(r, c->self, "abs()"));
    if (c->self.kind == J_FLOAT)
        *out = qn__j_float(fabs(c->self.u.f));
    else if (qn__j_as_int(c->self) < 0)
        return qn__j_arith(r, JP_SUB, qn__j_int(0), c->self, out);
    else
        *out = qn__j_int(qn__j_as_int(c->self));
    return QN_OK;
}

/* Python's round: to the nearest decimal, ties to even; through text, since that is exact. */
static double round_to(double f, int64_t digits)
{
    char text[700];
    if (isnan(f) || isinf(f) || digits > 300)
        return f;
    if (digits < 0) {
        double scale = pow(10, (double)-digits);
        return digits < -308 ? 0 : nearbyint(f / scale) * scale;
    }
    (void)snprintf(text, sizeof text, "%.*f", (int)digits, f);
    return strtod(text, NULL);
}

static qn_status f_round(jrun *r, const jcall *c, jval *out)
{
    int64_t digits;
    jval method = c->a[1].kind == J_ABSENT ? qn__j_str("common", 6) : c->a[1];
    J_TRY(int_or(r, c->a[0], 0, &digits));
    J_TRY(want_num(r, c->self, "round()"));
    J_TRY(qn__j_step(r, J_COST_FLOAT));
    double f = qn__j_as_float(c->self), scale = pow(10, (double)digits);
    if (qn__j_str_is(method, "common")) {
        *out = c->self.kind == J_FLOAT ? qn__j_float(round_to(f, digits)) : qn__j_int(qn__j_as_int(c->self));
        if (c->self.kind != J_FLOAT && digits < 0)
            *out = qn__j_int((int64_t)round_to(f, digits));
    } else if (qn__j_str_is(method, "ceil")) {
        *out = qn__j_float(ceil(f * scale) / scale);
    } else if (qn__j_str_is(method, "floor")) {
        *out = qn__j_float(floor(f * scale) / scale);
    } else {
        return qn__j_type(r, "method must be common, ceil or floor");
    }
    return QN_OK;
}

#define F(name, params, min)                                                                                           \
    {                                                                                                                  \
#name, f_##name, params, min, 0                                                                                \
    }
const jbuiltin qn__j_filters_text[] = {F(upper, "", 0),
                                       F(lower, "", 0),
                                       F(capitalize, "", 0),
                                       F(title, "", 0),
                                       F(trim, "chars", 0),
                                       F(replace, "old,new,count", 2),
                                       F(string, "", 0),
                                       F(safe, "", 0),
                                       F(escape, "", 0),
                                       {"e", f_escape, "", 0, 0},
                                       F(forceescape, "", 0),
                                       F(default, "default_value,boolean", 0),
                                       {"d", f_default, "default_value,boolean", 0, 0},
                                       F(indent, "width,first,blank", 0),
                                       F(truncate, "length,killwords,end,leeway", 0),
                                       F(center, "width", 0),
                                       F(wordcount, "", 0),
                                       F(urlencode, "", 0),
                                       F(xmlattr, "autospace", 0),
                                       F(tojson, "ensure_ascii,indent,separators,sort_keys", 0),
                                       F(pprint, "", 0),
                                       F(format, NULL, 0),
                                       F(int, "default,base", 0),
                                       F(float, "default", 0),
                                       F(abs, "", 0),
                                       F(round, "precision,method", 0),
                                       {NULL, NULL, NULL, 0, 0}};
