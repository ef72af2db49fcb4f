/* jinja_str.c - the methods of Python's str. */
#include <string.h>
#include <utf8proc.h>

#include "text/jinja_int.h"

static qn_status want_str(jrun *r, jval v, const char *method)
{
    if (v.kind == J_UNDEF)
        return qn__j_undef_used(r, v);
    return v.kind == J_STR ? QN_OK : qn__j_type(r, "%s() needs a string, not %s", method, qn__j_type_name(v));
}

/* An optional integer; None and absent give `otherwise`. */
static qn_status int_arg(jrun *r, jval v, int64_t otherwise, int64_t *out)
{
    *out = otherwise;
    if (v.kind == J_ABSENT || v.kind == J_NONE)
        return QN_OK;
    if (!qn__j_is_int(v))
        return qn__j_type(r, "'%s' object cannot be interpreted as an integer", qn__j_type_name(v));
    *out = qn__j_as_int(v);
    return QN_OK;
}

static jval sub(jval s, size_t from, size_t to)
{
    jval v = qn__j_str(s.u.s + from, to - from);
    v.safe = s.safe;
    return v;
}

/* ---- strip
 * ------------------------------------------------------------------------------------------------------------- */

static qn_status strip(jrun *r, const jcall *c, bool left, bool right, jval *out)
{
    bool plain = c->a[0].kind == J_ABSENT || c->a[0].kind == J_NONE;
    if (!plain)
        J_TRY(want_str(r, c->a[0], "strip"));
    /* Each character that is cut off is looked for in the set. */
    J_TRY(qn__j_step(r, (uint64_t)c->self.n * (1 + (plain ? 0 : c->a[0].n / 16))));
    *out = qn__j_strip(c->self, plain ? NULL : &c->a[0], left, right);
    return QN_OK;
}

static qn_status m_strip(jrun *r, const jcall *c, jval *out)
{
    return strip(r, c, true, true, out);
}

static qn_status m_lstrip(jrun *r, const jcall *c, jval *out)
{
    return strip(r, c, true, false, out);
}

static qn_status m_rstrip(jrun *r, const jcall *c, jval *out)
{
    return strip(r, c, false, true, out);
}

/* ---- split
 * ------------------------------------------------------------------------------------------------------------- */

/* A list that grows; pieces of a text. */
typedef struct pieces {
    jval *v;
    uint32_t n, cap;
} pieces;

static qn_status push(jrun *r, pieces *l, jval v)
{
    J_TRY(qn__j_step(r, 0));
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 8;
        jval *p;
        J_TRY(qn__j_array(r, cap, &p));
        if (l->n)
            memcpy(p, l->v, l->n * sizeof *p);
        l->v = p;
        l->cap = cap;
    }
    l->v[l->n++] = v;
    return QN_OK;
}

static void reverse(pieces *l)
{
    for (uint32_t i = 0; i < l->n / 2; i++) {
        jval t = l->v[i];
        l->v[i] = l->v[l->n - 1 - i];
        l->v[l->n - 1 - i] = t;
    }
}

/* At white space, runs of which count once. */
static qn_status split_words(jrun *r, jval s, int64_t max, bool right, pieces *l)
{
    s = qn__j_strip(s, NULL, !right, right);
    while (s.n) {
        size_t at = 0, k = 0, end;
        int32_t cp;
        if (max >= 0 && l->n >= max)
            return push(r, l, s);
        if (!right) {
            for (; at < s.n; at += k) {
                k = qn__j_char(s.u.s + at, s.n - at, &cp);
                if (qn__j_is_space(cp))
                    break;
            }
            J_TRY(push(r, l, sub(s, 0, at)));
            s = qn__j_strip(sub(s, at, s.n), NULL, true, false);
        } else {
            for (end = s.n; end; end -= k) {
                k = qn__j_char_back(s.u.s, end);
                (void)qn__j_char(s.u.s + end - k, k, &cp);
                if (qn__j_is_space(cp))
                    break;
            }
            J_TRY(push(r, l, sub(s, end, s.n)));
            s = qn__j_strip(sub(s, 0, end), NULL, false, true);
        }
    }
    return QN_OK;
}

/* The last place where q is found, SIZE_MAX: nowhere. Comparing backwards can cost n * m: each attempt is counted. */
static qn_status find_last(jrun *r, jval s, jval q, size_t *out)
{
    *out = SIZE_MAX;
    if (q.n > s.n)
        return QN_OK;
    for (size_t at = s.n - q.n + 1; at-- > 0;) {
        if (q.n && s.u.s[at] != q.u.s[0])
            continue;
        J_TRY(qn__j_step(r, q.n));
        if (!q.n || memcmp(s.u.s + at, q.u.s, q.n) == 0) {
            *out = at;
            break;
        }
    }
    return QN_OK;
}

static qn_status find_one(jrun *r, jval s, jval q, bool last, size_t *out)
{
    if (last)
        return find_last(r, s, q, out);
    *out = qn__j_find_bytes(s.u.s, s.n, q.u.s, q.n);
    return QN_OK;
}

static qn_status split(jrun *r, const jcall *c, bool right, jval *out)
{
    int64_t max;
    pieces l = {0};
    jval s = c->self, by = c->a[0];
    J_TRY(int_arg(r, c->a[1], -1, &max));
    J_TRY(qn__j_step(r, s.n));
    if (by.kind == J_ABSENT || by.kind == J_NONE) {
        J_TRY(split_words(r, s, max, right, &l));
    } else {
        J_TRY(want_str(r, by, "split"));
        if (!by.n)
            return qn__j_type(r, "empty separator");
        while (max < 0 || l.n < max) {
            size_t at;
            J_TRY(find_one(r, s, by, right, &at));
            if (at == SIZE_MAX)
                break;
            J_TRY(push(r, &l, right ? sub(s, at + by.n, s.n) : sub(s, 0, at)));
            s = right ? sub(s, 0, at) : sub(s, at + by.n, s.n);
        }
        J_TRY(push(r, &l, s));
    }
    if (right)
        reverse(&l);
    *out = qn__j_list(l.v, l.n);
    return QN_OK;
}

static qn_status m_split(jrun *r, const jcall *c, jval *out)
{
    return split(r, c, false, out);
}

static qn_status m_rsplit(jrun *r, const jcall *c, jval *out)
{
    return split(r, c, true, out);
}

static bool is_line_end(int32_t cp)
{
    return (cp >= 10 && cp <= 13) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 || cp == 0x2029;
}

static qn_status m_splitlines(jrun *r, const jcall *c, jval *out)
{
    pieces l = {0};
    jval s = c->self;
    size_t from = 0, k;
    bool ends = c->a[0].kind != J_ABSENT && qn__j_truth(c->a[0]);
    J_TRY(qn__j_step(r, s.n));
    for (size_t at = 0; at < s.n; at += k) {
        int32_t cp;
        k = qn__j_char(s.u.s + at, s.n - at, &cp);
        if (!is_line_end(cp))
            continue;
        if (cp == '\r' && at + 1 < s.n && s.u.s[at + 1] == '\n')
            k = 2;
        J_TRY(push(r, &l, sub(s, from, ends ? at + k : at)));
        from = at + k;
    }
    if (from < s.n)
        J_TRY(push(r, &l, sub(s, from, s.n)));
    *out = qn__j_list(l.v, l.n);
    return QN_OK;
}

static qn_status partition(jrun *r, const jcall *c, bool right, jval *out)
{
    jval s = c->self, by = c->a[0], *v;
    J_TRY(want_str(r, by, "partition"));
    if (!by.n)
        return qn__j_type(r, "empty separator");
    J_TRY(qn__j_step(r, s.n));
    J_TRY(qn__j_array(r, 3, &v));
    size_t at;
    J_TRY(find_one(r, s, by, right, &at));
    v[0] = v[1] = v[2] = qn__j_str("", 0);
    if (at == SIZE_MAX) {
        v[right ? 2 : 0] = s;
    } else {
        v[0] = sub(s, 0, at);
        v[1] = by;
        v[2] = sub(s, at + by.n, s.n);
    }
    *out = (jval){.kind = J_TUPLE, .n = 3, .u.v = v};
    return QN_OK;
}

static qn_status m_partition(jrun *r, const jcall *c, jval *out)
{
    return partition(r, c, false, out);
}

static qn_status m_rpartition(jrun *r, const jcall *c, jval *out)
{
    return partition(r, c, true, out);
}

/* ---- looking
 * ------------------------------------------------------------------------------------------------------------ */

/* The part of self between the optional arguments 1 and 2; *from: its first character's index. False: it is beyond the
 * end, where even "" is not found. */
static qn_status window(jrun *r, const jcall *c, jval *part, int64_t *from, bool *within)
{
    int64_t n = qn__j_str_len(c->self), lo, hi;
    J_TRY(qn__j_step(r, c->self.n));
    J_TRY(int_arg(r, c->a[1], 0, &lo));
    J_TRY(int_arg(r, c->a[2], n, &hi));
    lo = lo < 0 ? (lo < -n ? 0 : lo + n) : lo;
    hi = hi < 0 ? (hi < -n ? 0 : hi + n) : hi > n ? n : hi;
    *within = lo <= hi;
    *from = lo;
    size_t a = *within ? qn__j_offset(c->self, (uint32_t)lo) : 0, b = *within ? qn__j_offset(c->self, (uint32_t)hi) : 0;
    *part = sub(c->self, a, b);
    return QN_OK;
}

static qn_status find(jrun *r, const jcall *c, bool last, bool must, jval *out)
{
    jval part;
    int64_t from;
    bool within;
    J_TRY(want_str(r, c->a[0], "find"));
    J_TRY(window(r, c, &part, &from, &within));
    size_t at = SIZE_MAX;
    if (within)
        J_TRY(find_one(r, part, c->a[0], last, &at));
    if (at == SIZE_MAX && must)
        return qn__j_type(r, "substring not found");
    *out = qn__j_int(at == SIZE_MAX ? -1 : from + qn__j_str_len(sub(part, 0, at)));
    return QN_OK;
}

static qn_status m_find(jrun *r, const jcall *c, jval *out)
{
    return find(r, c, false, false, out);
}

static qn_status m_rfind(jrun *r, const jcall *c, jval *out)
{
    return find(r, c, true, false, out);
}

static qn_status m_index(jrun *r, const jcall *c, jval *out)
{
    return find(r, c, false, true, out);
}

static qn_status m_rindex(jrun *r, const jcall *c, jval *out)
{
    return find(r, c, true, true, out);
}

static qn_status m_count(jrun *r, const jcall *c, jval *out)
{
    jval part, what = c->a[0];
    int64_t from, n = 0;
    bool within;
    J_TRY(want_str(r, what, "count"));
    J_TRY(window(r, c, &part, &from, &within));
    if (!what.n) {
        n = within ? (int64_t)qn__j_str_len(part) + 1 : 0;
    } else {
        for (size_t at = 0, k; (k = qn__j_find_bytes(part.u.s + at, part.n - at, what.u.s, what.n)) != SIZE_MAX; n++)
            at += k + what.n;
    }
    *out = qn__j_int(n);
    return QN_OK;
}

static qn_status affix(jrun *r, const jcall *c, bool end, jval *out)
{
    jval part, *one = &(jval){0};
    int64_t from;
    bool within, yes = false;
    const jval *v = one;
    uint32_t n = 1;
    *one = c->a[0];
    if (c->a[0].kind == J_TUPLE) {
        v = c->a[0].u.v;
        n = c->a[0].n;
    }
    J_TRY(window(r, c, &part, &from, &within));
    for (uint32_t i = 0; i < n && !yes; i++) {
        J_TRY(qn__j_step(r, 0));
        if (v[i].kind == J_UNDEF)
            return qn__j_undef_used(r, v[i]);
        if (v[i].kind != J_STR)
            return qn__j_type(r, "%s first arg must be str or a tuple of str, not %s", end ? "endswith" : "startswith",
                              qn__j_type_name(v[i]));
        yes = within && v[i].n <= part.n && memcmp(part.u.s + (end ? part.n - v[i].n : 0), v[i].u.s, v[i].n) == 0;
    }
    *out = qn__j_bool(yes);
    return QN_OK;
}

static qn_status m_startswith(jrun *r, const jcall *c, jval *out)
{
    return affix(r, c, false, out);
}

static qn_status m_endswith(jrun *r, const jcall *c, jval *out)
{
    return affix(r, c, true, out);
}

static qn_status remove_affix(jrun *r, const jcall *c, bool end, jval *out)
{
    jval s = c->self, a = c->a[0];
    J_TRY(want_str(r, a, "removeprefix"));
    *out = s;
    if (a.n <= s.n && memcmp(s.u.s + (end ? s.n - a.n : 0), a.u.s, a.n) == 0)
        *out = end ? sub(s, 0, s.n - a.n) : sub(s, a.n, s.n);
    return QN_OK;
}

static qn_status m_removeprefix(jrun *r, const jcall *c, jval *out)
{
    return remove_affix(r, c, false, out);
}

static qn_status m_removesuffix(jrun *r, const jcall *c, jval *out)
{
    return remove_affix(r, c, true, out);
}

/* ---- making
 * --------------------------------------------------------------------------------------------------------------- */

static qn_status m_replace(jrun *r, const jcall *c, jval *out)
{
    int64_t count;
    J_TRY(want_str(r, c->a[0], "replace"));
    J_TRY(want_str(r, c->a[1], "replace"));
    J_TRY(int_arg(r, c->a[2], -1, &count));
    return qn__j_replace(r, c->self, c->a[0], c->a[1], count, out);
}

static qn_status m_upper(jrun *r, const jcall *c, jval *out)
{
    return qn__j_case(r, c->self, 'u', out);
}

static qn_status m_lower(jrun *r, const jcall *c, jval *out)
{
    return qn__j_case(r, c->self, 'l', out);
}

static qn_status m_title(jrun *r, const jcall *c, jval *out)
{
    return qn__j_case(r, c->self, 't', out);
}

static qn_status m_capitalize(jrun *r, const jcall *c, jval *out)
{
    return qn__j_case(r, c->self, 'c', out);
}

static qn_status m_swapcase(jrun *r, const jcall *c, jval *out)
{
    return qn__j_case(r, c->self, 's', out);
}

static qn_status m_join(jrun *r, const jcall *c, jval *out)
{
    const jval *v;
    uint32_t n;
    size_t mark = qn__j_mark(r);
    if (!qn__j_iterable(c->a[0]))
        return qn__j_type(r, "can only join an iterable");
    J_TRY(qn__j_items(r, c->a[0], &v, &n));
    for (uint32_t i = 0; i < n; i++) {
        if (v[i].kind != J_STR)
            return qn__j_type(r, "sequence item %u: expected str instance, %s found", (unsigned)i,
                              qn__j_type_name(v[i]));
        if (i)
            J_TRY(qn__j_emit(r, c->self.u.s, c->self.n));
        J_TRY(qn__j_emit(r, v[i].u.s, v[i].n));
    }
    return qn__j_take(r, mark, out);
}

/* `left` and `right`: how many times the filler goes to each side. */
static qn_status pad(jrun *r, jval s, jval fill, int64_t left, int64_t right, jval *out)
{
    size_t mark = qn__j_mark(r);
    for (int64_t i = 0; i < left; i++)
        J_TRY(qn__j_emit(r, fill.u.s, fill.n));
    J_TRY(qn__j_emit(r, s.u.s, s.n));
    for (int64_t i = 0; i < right; i++)
        J_TRY(qn__j_emit(r, fill.u.s, fill.n));
    return qn__j_take(r, mark, out);
}

static qn_status justify(jrun *r, const jcall *c, int how, jval *out)
{
    int64_t width, n = qn__j_str_len(c->self);
    jval fill = c->a[1].kind == J_ABSENT ? qn__j_str(" ", 1) : c->a[1];
    J_TRY(int_arg(r, c->a[0], 0, &width));
    J_TRY(want_str(r, fill, "justify"));
    if (qn__j_str_len(fill) != 1)
        return qn__j_type(r, "the fill character must be exactly one character long");
    int64_t more = width > n ? width - n : 0;
    int64_t left = how == 'l' ? 0 : how == 'r' ? more : more / 2 + (more & width & 1);
    return pad(r, c->self, fill, left, more - left, out);
}

static qn_status m_ljust(jrun *r, const jcall *c, jval *out)
{
    return justify(r, c, 'l', out);
}

static qn_status m_rjust(jrun *r, const jcall *c, jval *out)
{
    return justify(r, c, 'r', out);
}

static qn_status m_center(jrun *r, const jcall *c, jval *out)
{
    return justify(r, c, 'c', out);
}

static qn_status m_zfill(jrun *r, const jcall *c, jval *out)
{
    int64_t width, n = qn__j_str_len(c->self);
    J_TRY(int_arg(r, c->a[0], 0, &width));
    jval s = c->self, sign = qn__j_str("", 0), body;
    if (s.n && (*s.u.s == '-' || *s.u.s == '+')) {
        sign = sub(s, 0, 1);
        s = sub(s, 1, s.n);
    }
    J_TRY(pad(r, s, qn__j_str("0", 1), width > n ? width - n : 0, 0, &body));
    return qn__j_join2(r, sign, body, out);
}

static qn_status m_expandtabs(jrun *r, const jcall *c, jval *out)
{
    int64_t size, column = 0;
    size_t mark = qn__j_mark(r);
    J_TRY(int_arg(r, c->a[0], 8, &size));
    for (size_t at = 0, k; at < c->self.n; at += k) {
        int32_t cp;
        k = qn__j_char(c->self.u.s + at, c->self.n - at, &cp);
        if (cp != '\t') {
            column = cp == '\n' || cp == '\r' ? 0 : column + 1;
            J_TRY(qn__j_emit(r, c->self.u.s + at, k));
        } else if (size > 0) {
            for (int64_t i = size - column % size; i > 0; i--, column++)
                J_TRY(qn__j_emit(r, " ", 1));
        }
    }
    return qn__j_take(r, mark, out);
}

static qn_status m_format(jrun *r, const jcall *c, jval *out)
{
    return qn__j_format(r, c->self, c, out);
}

/* ---- is...()
 * -------------------------------------------------------------------------------------------------------------- */

static bool is_alpha(int32_t cp)
{
    utf8proc_category_t k = utf8proc_category(cp);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

static bool is_decimal(int32_t cp)
{
    return utf8proc_category(cp) == UTF8PROC_CATEGORY_ND;
}

static bool is_digit(int32_t cp)
{
    return is_decimal(cp) || cp == 0xB2 || cp == 0xB3 || cp == 0xB9 || cp == 0x2070 || (cp >= 0x2074 && cp <= 0x2079) ||
           (cp >= 0x2080 && cp <= 0x2089) || (cp >= 0x2460 && cp <= 0x2468);
}

static bool is_numeric(int32_t cp)
{
    utf8proc_category_t k = utf8proc_category(cp);
    return k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO;
}

static bool is_alnum(int32_t cp)
{
    return is_alpha(cp) || is_numeric(cp);
}

static bool is_ascii(int32_t cp)
{
    return cp < 0x80;
}

/* Every character passes and, but for isascii and isprintable, there is one. */
static qn_status every(jrun *r, jval s, bool (*test)(int32_t cp), bool if_empty, jval *out)
{
    bool yes = s.n || if_empty;
    J_TRY(qn__j_step(r, (uint64_t)s.n * 4));
    for (size_t at = 0; at < s.n && yes;) {
        int32_t cp;
        at += qn__j_char(s.u.s + at, s.n - at, &cp);
        yes = cp >= 0 && test(cp);
    }
    *out = qn__j_bool(yes);
    return QN_OK;
}

#define IS_METHOD(name, test, if_empty)                                                                                \
    static qn_status name(jrun *r, const jcall *c, jval *out)                                                          \
    {                                                                                                                  \
        return every(r, c->self, test, if_empty, out);                                                                 \
    }
IS_METHOD(m_isalpha, is_alpha, false)
IS_METHOD(m_isdecimal, is_decimal, false)
IS_METHOD(m_isdigit, is_digit, false)
IS_METHOD(m_isnumeric, is_numeric, false)
IS_METHOD(m_isalnum, is_alnum, false)
IS_METHOD(m_isspace, qn__j_is_space, false)
IS_METHOD(m_isascii, is_ascii, true)
IS_METHOD(m_isprintable, qn__j_printable, true)

/* There is a cased character and all of them are of one case; `how` 't': words begin upper and go on lower. */
static qn_status cased(jrun *r, jval s, int how, jval *out)
{
    bool any = false, yes = true, inside = false;
    J_TRY(qn__j_step(r, (uint64_t)s.n * 4));
    for (size_t at = 0; at < s.n && yes;) {
        int32_t cp;
        at += qn__j_char(s.u.s + at, s.n - at, &cp);
        utf8proc_category_t k = cp < 0 ? UTF8PROC_CATEGORY_CN : utf8proc_category(cp);
        bool up = k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LT, low = k == UTF8PROC_CATEGORY_LL;
        any |= up || low;
        yes = how == 'u' ? !low : how == 'l' ? !up : !(up && inside) && !(low && !inside);
        inside = up || low;
    }
    *out = qn__j_bool(any && yes);
    return QN_OK;
}

static qn_status m_isupper(jrun *r, const jcall *c, jval *out)
{
    return cased(r, c->self, 'u', out);
}

static qn_status m_islower(jrun *r, const jcall *c, jval *out)
{
    return cased(r, c->self, 'l', out);
}

static qn_status m_istitle(jrun *r, const jcall *c, jval *out)
{
    return cased(r, c->self, 't', out);
}

static qn_status m_isidentifier(jrun *r, const jcall *c, jval *out)
{
    jval s = c->self;
    bool yes = s.n && !(*s.u.s >= '0' && *s.u.s <= '9');
    for (size_t at = 0; at < s.n && yes;) {
        int32_t cp;
        at += qn__j_char(s.u.s + at, s.n - at, &cp);
        yes = cp == '_' || (cp >= 0 && is_alnum(cp));
    }
    *out = qn__j_bool(yes);
    return qn__j_step(r, (uint64_t)s.n * 4);
}

#define M(name, params, min)                                                                                           \
    {                                                                                                                  \
#name, m_##name, params, min, J_BIT(J_STR)                                                                     \
    }
const jbuiltin qn__j_str_methods[] = {M(strip, "chars", 0),
                                      M(lstrip, "chars", 0),
                                      M(rstrip, "chars", 0),
                                      M(split, "sep,maxsplit", 0),
                                      M(rsplit, "sep,maxsplit", 0),
                                      M(splitlines, "keepends", 0),
                                      M(partition, "sep", 1),
                                      M(rpartition, "sep", 1),
                                      M(find, "sub,start,end", 1),
                                      M(rfind, "sub,start,end", 1),
                                      M(index, "sub,start,end", 1),
                                      M(rindex, "sub,start,end", 1),
                                      M(count, "sub,start,end", 1),
                                      M(startswith, "prefix,start,end", 1),
                                      M(endswith, "suffix,start,end", 1),
                                      M(removeprefix, "prefix", 1),
                                      M(removesuffix, "suffix", 1),
                                      M(replace, "old,new,count", 2),
                                      M(upper, "", 0),
                                      M(lower, "", 0),
                                      M(title, "", 0),
                                      M(capitalize, "", 0),
                                      M(swapcase, "", 0),
                                      {"casefold", m_lower, "", 0, J_BIT(J_STR)},
                                      M(join, "iterable", 1),
                                      M(ljust, "width,fillchar", 1),
                                      M(rjust, "width,fillchar", 1),
                                      M(center, "width,fillchar", 1),
                                      M(zfill, "width", 1),
                                      M(expandtabs, "tabsize", 0),
                                      M(format, NULL, 0),
                                      M(isalpha, "", 0),
                                      M(isdecimal, "", 0),
                                      M(isdigit, "", 0),
                                      M(isnumeric, "", 0),
                                      M(isalnum, "", 0),
                                      M(isspace, "", 0),
                                      M(isascii, "", 0),
                                      M(isprintable, "", 0),
                                      M(isupper, "", 0),
                                      M(islower, "", 0),
                                      M(istitle, "", 0),
                                      M(isidentifier, "", 0),
                                      {NULL, NULL, NULL, 0, 0}};
