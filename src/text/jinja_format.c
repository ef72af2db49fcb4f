/* jinja_format.c - Python's two ways to format text (`%` and str.format) and strftime.
 *
 * Both are read into one `spec`. Refuses: precisions over 300 digits, fields within a field's spec. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "text/jinja_int.h"

typedef struct spec {
    char fill[4];
    uint8_t fill_n;
    char align; /* '<' '>' '^' '=', 0: by type */
    char sign;  /* '+', ' ' or 0 */
    bool alt;
    char group; /* ',' or '_' between thousands */
    int64_t width;
    int prec; /* -1: none */
    char type;
} spec;

static qn_status emit_padded(jrun *r, const spec *sp, char align, qn_slice prefix, qn_slice body)
{
    int64_t n = (int64_t)qn__j_str_len(qn__j_str(body.p, body.n)) + (int64_t)prefix.n;
    int64_t more = sp->width > n ? sp->width - n : 0, left = 0, inner = 0;
    if (sp->align)
        align = sp->align;
    if (align == '>')
        left = more;
    else if (align == '^')
        left = more / 2;
    else if (align == '=')
        inner = more;
    for (int64_t i = 0; i < left; i++)
        J_TRY(qn__j_emit(r, sp->fill, sp->fill_n));
    J_TRY(qn__j_emit(r, prefix.p, prefix.n));
    for (int64_t i = 0; i < inner; i++)
        J_TRY(qn__j_emit(r, sp->fill, sp->fill_n));
    J_TRY(qn__j_emit(r, body.p, body.n));
    for (int64_t i = left + inner; i < more; i++)
        J_TRY(qn__j_emit(r, sp->fill, sp->fill_n));
    return QN_OK;
}

static qn_status emit_text(jrun *r, const spec *sp, jval s, char align)
{
    if (sp->prec >= 0)
        s.n = (uint32_t)qn__j_offset(s, (uint32_t)sp->prec);
    J_TRY(qn__j_step(r, s.n));
    return emit_padded(r, sp, align, (qn_slice){"", 0}, (qn_slice){s.u.s, s.n});
}

/* Put separators between each `every` of the digits in [p, p+n); returns the new length. */
static size_t group(char *p, size_t n, char sep, size_t every)
{
    size_t seps = n ? (n - 1) / every : 0, w = n + seps;
    for (size_t i = n, k = 0; seps; k++) {
        if (k == every) {
            p[--w] = sep;
            k = 0;
            if (!--seps)
                break;
        }
        p[--w] = p[--i];
    }
    return n + (n ? (n - 1) / every : 0);
}

static qn_status emit_int(jrun *r, const spec *sp, int64_t i)
{
    char digits[160], prefix[4];
    size_t n = 0, k = 0;
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    unsigned base = sp->type == 'x' || sp->type == 'X' ? 16 : sp->type == 'o' ? 8 : sp->type == 'b' ? 2 : 10;
    const char *set = sp->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    char reversed[72];
    do
        reversed[k++] = set[u % base];
    while (u /= base);
    if (sp->prec > 80)
        return qn__j_type(r, "precision is too large");
    for (int pad = sp->prec - (int)k; pad > 0; pad--)
        digits[n++] = '0';
    while (k)
        digits[n++] = reversed[--k];
    if (sp->group)
        n = group(digits, n, sp->group, base == 10 ? 3 : 4);
    if (i < 0 || sp->sign)
        prefix[k++] = i < 0 ? '-' : sp->sign;
    if (sp->alt && base != 10) {
        prefix[k++] = '0';
        prefix[k++] = sp->type;
    }
    return emit_padded(r, sp, '>', (qn_slice){prefix, k}, (qn_slice){digits, n});
}

static qn_status emit_float(jrun *r, const spec *sp, double f)
{
    char text[800], type = sp->type == '%' ? 'f' : sp->type, fmt[8], prefix[2];
    bool minus = signbit(f) && !isnan(f);
    size_t k = 0;
    J_TRY(qn__j_step(r, J_COST_FLOAT));
    if (sp->prec > 300)
        return qn__j_type(r, "precision is too large");
    double a = fabs(sp->type == '%' ? f * 100 : f);
    if (isnan(a) || isinf(a)) {
        (void)snprintf(text, sizeof text, "%s", isnan(a) ? "nan" : "inf");
    } else if (!type && sp->prec < 0) {
        qn__j_float_repr(a, text);
    } else {
        (void)snprintf(fmt, sizeof fmt, "%%%s.*%c", sp->alt ? "#" : "", type ? type : 'g');
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        (void)snprintf(text, sizeof text - 1, fmt, sp->prec < 0 ? 6 : sp->prec, a);
#pragma GCC diagnostic pop
    }
    if (sp->group) {
        size_t whole = strspn(text, "0123456789");
        char rest[400];
        (void)snprintf(rest, sizeof rest, "%s", text + whole);
        whole = group(text, whole, sp->group, 3);
        (void)snprintf(text + whole, sizeof text - whole, "%s", rest);
    }
    if (sp->type == '%')
        (void)strcat(text, "%");
    if (minus || sp->sign)
        prefix[k++] = minus ? '-' : sp->sign;
    return emit_padded(r, sp, '>', (qn_slice){prefix, k}, (qn_slice){text, strlen(text)});
}

static qn_status emit_char(jrun *r, const spec *sp, jval v)
{
    char utf8[4];
    if (v.kind == J_STR && qn__j_str_len(v) == 1)
        return emit_text(r, sp, v, '>');
    if (!qn__j_is_int(v) || qn__j_as_int(v) < 0 || qn__j_as_int(v) > 0x10FFFF)
        return qn__j_type(r, "%%c requires int or char");
    return emit_text(r, sp, qn__j_str(utf8, qn__utf8_encode((int32_t)qn__j_as_int(v), utf8)), '>');
}

/* ---- %
 * ----------------------------------------------------------------------------------------------------------------------
 */

typedef struct printf_args {
    jval all;
    const jval *v;
    uint32_t n, at;
} printf_args;

static qn_status next_arg(jrun *r, printf_args *a, jval *out)
{
    if (a->at >= a->n)
        return qn__j_type(r, "not enough arguments for format string");
    *out = a->v[a->at++];
    return QN_OK;
}

/* A number or `*` at *at. */
static qn_status printf_number(jrun *r, jval f, size_t *at, printf_args *a, int64_t *out)
{
    jval v;
    if (*at < f.n && f.u.s[*at] == '*') {
        ++*at;
        J_TRY(next_arg(r, a, &v));
        if (!qn__j_is_int(v))
            return qn__j_type(r, "* wants int");
        *out = qn__j_as_int(v);
        return QN_OK;
    }
    for (; *at < f.n && f.u.s[*at] >= '0' && f.u.s[*at] <= '9'; ++*at) {
        *out = *out * 10 + (f.u.s[*at] - '0');
        if (*out > INT32_MAX)
            return qn__j_type(r, "width too big");
    }
    return QN_OK;
}

static qn_status printf_value(jrun *r, spec *sp, bool zero, jval v)
{
    bool number = strchr("diuoxXeEfFgG", sp->type) != NULL;
    double f;
    bool ok;
    if (zero && number && !sp->align) {
        sp->fill[0] = '0';
        sp->align = '=';
    }
    switch (sp->type) {
    case 's': J_TRY(qn__j_to_str(r, v, &v)); return emit_text(r, sp, v, '>');
    case 'r':
    case 'a': {
        size_t mark = qn__j_mark(r);
        J_TRY(qn__j_emit_repr(r, v));
        J_TRY(qn__j_take(r, mark, &v));
        return emit_text(r, sp, v, '>');
    }
    case 'c': return emit_char(r, sp, v);
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        if (v.kind == J_FLOAT && strchr("diu", sp->type) && fabs(v.u.f) < 9e18)
            v = qn__j_int((int64_t)v.u.f);
        if (!qn__j_is_int(v))
            return qn__j_type(r, "%%%c format: a number is required, not %s", sp->type, qn__j_type_name(v));
        return emit_int(r, sp, qn__j_as_int(v));
    default: break;
    }
    if (!number)
        return qn__j_type(r, "unsupported format character '%c'", sp->type);
    J_TRY(qn__j_float_of(r, v, &ok, &f));
    if (!ok || v.kind == J_STR)
        return qn__j_type(r, "must be real number, not %s", qn__j_type_name(v));
    return emit_float(r, sp, f);
}

/* One conversion; *at stands behind the %. */
static qn_status printf_one(jrun *r, jval f, size_t *at, printf_args *a)
{
    spec sp = {.fill = " ", .fill_n = 1, .prec = -1};
    bool zero = false, named = false;
    jval v = {0};
    int64_t prec = 0;
    if (*at < f.n && f.u.s[*at] == '(') {
        size_t k = qn__j_find_bytes(f.u.s + *at, f.n - *at, ")", 1);
        if (k == SIZE_MAX)
            return qn__j_type(r, "incomplete format key");
        if (a->all.kind != J_DICT)
            return qn__j_type(r, "format requires a mapping");
        const jval *item = qn__j_dict_find(a->all.u.dict, (qn_slice){f.u.s + *at + 1, k - 1});
        J_TRY(qn__j_step(r, a->all.u.dict->n));
        if (!item)
            return qn__j_type(r, "the format names '%.*s', which the mapping lacks", (int)(k > 60 ? 60 : k - 1),
                              f.u.s + *at + 1);
        v = *item;
        named = true;
        a->at = a->n;
        *at += k + 1;
    }
    for (; *at < f.n && f.u.s[*at] && strchr("-+ #0", f.u.s[*at]); ++*at) {
        char c = f.u.s[*at];
        sp.align = c == '-' ? '<' : sp.align;
        sp.sign = c == '+' || (c == ' ' && !sp.sign) ? c : sp.sign;
        sp.alt |= c == '#';
        zero |= c == '0';
    }
    J_TRY(printf_number(r, f, at, a, &sp.width));
    if (sp.width < 0) {
        sp.align = '<';
        sp.width = sp.width < -INT32_MAX ? INT32_MAX : -sp.width;
    }
    if (*at < f.n && f.u.s[*at] == '.') {
        ++*at;
        J_TRY(printf_number(r, f, at, a, &prec));
        sp.prec = prec < 0 ? 0 : prec > INT32_MAX ? INT32_MAX : (int)prec;
    }
    while (*at < f.n && f.u.s[*at] && strchr("hlL", f.u.s[*at]))
        ++*at;
    if (*at >= f.n)
        return qn__j_type(r, "incomplete format");
    sp.type = f.u.s[(*at)++];
    if (sp.type == '%')
        return qn__j_emit(r, "%", 1);
    if (!named)
        J_TRY(next_arg(r, a, &v));
    if (v.kind == J_UNDEF && sp.type != 's' && sp.type != 'r')
        return qn__j_undef_used(r, v);
    return printf_value(r, &sp, zero, v);
}

qn_status qn__j_printf(jrun *r, jval f, jval args, jval *out)
{
    printf_args a = {.all = args, .v = &args, .n = 1};
    size_t mark = qn__j_mark(r);
    if (args.kind == J_TUPLE) {
        a.v = args.u.v;
        a.n = args.n;
    }
    for (size_t at = 0; at < f.n;) {
        size_t k = qn__j_find_bytes(f.u.s + at, f.n - at, "%", 1);
        J_TRY(qn__j_emit(r, f.u.s + at, k == SIZE_MAX ? f.n - at : k));
        if (k == SIZE_MAX)
            break;
        at += k + 1;
        J_TRY(printf_one(r, f, &at, &a));
    }
    if (a.at < a.n && args.kind != J_DICT)
        return qn__j_type(r, "not all arguments converted during string formatting");
    return qn__j_take(r, mark, out);
}

/* ---- str.format
 * -------------------------------------------------------------------------------------------------------------- */

static qn_status read_spec(jrun *r, qn_slice s, spec *sp)
{
    size_t at = 0, k;
    int32_t cp;
    *sp = (spec){.fill = " ", .fill_n = 1, .prec = -1};
    k = s.n ? qn__j_char(s.p, s.n, &cp) : 0;
    if (k && k < s.n && s.p[k] && strchr("<>^=", s.p[k])) {
        memcpy(sp->fill, s.p, k);
        sp->fill_n = (uint8_t)k;
        sp->align = s.p[k];
        at = k + 1;
    } else if (s.n && *s.p && strchr("<>^=", *s.p)) {
        sp->align = s.p[at++];
    }
    if (at < s.n && s.p[at] && strchr("+- ", s.p[at]))
        sp->sign = s.p[at] == '-' ? 0 : s.p[at], at++;
    if (at < s.n && s.p[at] == '#')
        sp->alt = true, at++;
    if (at < s.n && s.p[at] == '0') {
        if (!sp->align) {
            sp->fill[0] = '0';
            sp->align = '=';
        }
        at++;
    }
    for (; at < s.n && s.p[at] >= '0' && s.p[at] <= '9' && sp->width < INT32_MAX / 10; at++)
        sp->width = sp->width * 10 + (s.p[at] - '0');
    if (at < s.n && (s.p[at] == ',' || s.p[at] == '_'))
        sp->group = s.p[at++];
    if (at < s.n && s.p[at] == '.') {
        sp->prec = 0;
        for (at++; at < s.n && s.p[at] >= '0' && s.p[at] <= '9' && sp->prec < INT32_MAX / 10 - 1; at++)
            sp->prec = sp->prec * 10 + (s.p[at] - '0');
    }
    if (at < s.n)
        sp->type = s.p[at++];
    if (at < s.n)
        return qn__j_type(r, "invalid format specifier '%.*s'", (int)(s.n > 60 ? 60 : s.n), s.p);
    return QN_OK;
}

static qn_status format_value(jrun *r, spec *sp, jval v)
{
    bool int_type = sp->type && strchr("dboxXn", sp->type), float_type = sp->type && strchr("eEfFgG%", sp->type);
    if (v.kind == J_STR && (!sp->type || sp->type == 's') && sp->align != '=')
        return emit_text(r, sp, v, '<');
    if (v.kind == J_BOOL && !sp->type && !sp->width) {
        J_TRY(qn__j_to_str(r, v, &v));
        return emit_text(r, sp, v, '<');
    }
    if (qn__j_is_int(v) && sp->type == 'c')
        return emit_char(r, sp, v);
    if (qn__j_is_int(v) && (int_type || !sp->type) && sp->prec < 0)
        return emit_int(r, sp, qn__j_as_int(v));
    if (qn__j_is_num(v) && (float_type || (v.kind == J_FLOAT && !sp->type)))
        return emit_float(r, sp, qn__j_as_float(v));
    if (v.kind != J_STR && !qn__j_is_num(v) && !sp->type && !sp->width && sp->prec < 0 && !sp->align)
        return qn__j_emit_str(r, v);
    return qn__j_type(r, "this format specifier does not fit an object of type '%s'", qn__j_type_name(v));
}

/* The argument a field names: "", "0", "name", then .attr and [key]. */
static qn_status field_value(jrun *r, const jcall *c, qn_slice s, uint32_t *next, jval *out)
{
    size_t at = 0;
    int64_t index = 0;
    while (at < s.n && s.p[at] != '.' && s.p[at] != '[')
        at++;
    bool number = true;
    for (size_t i = 0; i < at; i++) {
        number = number && s.p[i] >= '0' && s.p[i] <= '9' && index < INT32_MAX;
        index = number ? index * 10 + (s.p[i] - '0') : index;
    }
    if (!at)
        index = (*next)++;
    bool found = number && index < c->n_pos;
    if (found)
        *out = c->pos[index];
    for (uint32_t i = 0; i < c->n_kw && !number; i++)
        if (c->kw[i].name.n == at && memcmp(c->kw[i].name.p, s.p, at) == 0) {
            *out = c->kw[i].v;
            found = true;
        }
    J_TRY(qn__j_step(r, c->n_kw));
    if (!found)
        return qn__j_type(r, "format() has no argument for the field '%.*s'", (int)(at > 60 ? 60 : at), s.p);
    while (at < s.n) {
        size_t from = ++at;
        bool item = s.p[from - 1] == '[';
        while (at < s.n && (item ? s.p[at] != ']' : s.p[at] != '.' && s.p[at] != '['))
            at++;
        qn_slice name = {s.p + from, at - from};
        if (!item) {
            J_TRY(qn__j_getattr(r, *out, name, out));
            continue;
        }
        at++;
        jval key = qn__j_str(name.p, name.n);
        bool digits = name.n && name.n < 10;
        index = 0;
        for (size_t i = 0; i < name.n && digits; i++) {
            digits = name.p[i] >= '0' && name.p[i] <= '9';
            index = index * 10 + (name.p[i] - '0');
        }
        if (digits)
            key = qn__j_int(index);
        J_TRY(qn__j_getitem(r, *out, key, out));
    }
    return out->kind == J_UNDEF ? qn__j_undef_used(r, *out) : QN_OK;
}

static qn_status format_field(jrun *r, const jcall *c, qn_slice s, uint32_t *next)
{
    size_t n = 0, brackets = 0;
    jval v;
    spec sp;
    while (n < s.n && (brackets || (s.p[n] != '!' && s.p[n] != ':'))) {
        brackets += s.p[n] == '[';
        brackets -= s.p[n] == ']' && brackets;
        n++;
    }
    J_TRY(field_value(r, c, (qn_slice){s.p, n}, next, &v));
    if (n + 1 < s.n && s.p[n] == '!') {
        if (s.p[n + 1] == 'r') {
            size_t mark = qn__j_mark(r);
            J_TRY(qn__j_emit_repr(r, v));
            J_TRY(qn__j_take(r, mark, &v));
        } else if (s.p[n + 1] == 's') {
            J_TRY(qn__j_to_str(r, v, &v));
        } else {
            return qn__j_type(r, "unknown conversion specifier '%c'", s.p[n + 1]);
        }
        n += 2;
    }
    n += n < s.n && s.p[n] == ':';
    J_TRY(read_spec(r, (qn_slice){s.p + n, s.n - n}, &sp));
    return format_value(r, &sp, v);
}

qn_status qn__j_format(jrun *r, jval f, const jcall *c, jval *out)
{
    size_t mark = qn__j_mark(r);
    uint32_t next = 0;
    for (size_t at = 0; at < f.n; at++) {
        char ch = f.u.s[at];
        if ((ch == '{' || ch == '}') && at + 1 < f.n && f.u.s[at + 1] == ch) {
            J_TRY(qn__j_emit(r, &ch, 1));
            at++;
        } else if (ch == '}') {
            return qn__j_type(r, "single '}' encountered in format string");
        } else if (ch == '{') {
            size_t k = qn__j_find_bytes(f.u.s + at, f.n - at, "}", 1);
            if (k == SIZE_MAX)
                return qn__j_type(r, "expected '}' before end of string");
            J_TRY(format_field(r, c, (qn_slice){f.u.s + at + 1, k - 1}, &next));
            at += k;
        } else {
            J_TRY(qn__j_emit(r, &ch, 1));
        }
    }
    return qn__j_take(r, mark, out);
}

/* ---- time
 * ----------------------------------------------------------------------------------------------------------------------
 */

qn_status qn__j_strftime(jrun *r, jval f, jval *out)
{
    size_t mark = qn__j_mark(r);
    time_t now = (time_t)r->now;
    struct tm tm;
    if (!gmtime_r(&now, &tm))
        return qn__j_type(r, "the time is out of range");
    for (size_t at = 0; at < f.n;) {
        char one[5] = "%", text[128];
        size_t k = 1, from = at++;
        J_TRY(qn__j_step(r, 256));
        if (f.u.s[from] == '%') {
            while (at < f.n && k < 3 && f.u.s[at] && strchr("-_0^#EO", f.u.s[at]))
                one[k++] = f.u.s[at++];
        }
        if (f.u.s[from] != '%' || at >= f.n || !f.u.s[at] ||
            !strchr("aAbBcCdDeFfgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%", f.u.s[at])) {
            J_TRY(qn__j_emit(r, f.u.s + from, at - from));
            continue;
        }
        one[k] = f.u.s[at++];
        if (strchr("zZ", one[k])) /* a time without zone prints nothing */
            continue;
        if (one[k] == 'f') {
            J_TRY(qn__j_emits(r, "000000"));
            continue;
        }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        size_t n = strftime(text, sizeof text, one, &tm);
#pragma GCC diagnostic pop
        J_TRY(qn__j_emit(r, text, n));
    }
    return qn__j_take(r, mark, out);
}
