/* jinja_text.c - strings as Python sees them: sequences of code points; the tools behind string methods and filters.
 *
 * A byte that is not part of well-formed UTF-8 counts as one character and is kept as it is. */
#include <string.h>
#include <utf8proc.h>

#include "text/jinja_int.h"

size_t qn__j_char(const char *p, size_t n, int32_t *cp)
{
    if ((unsigned char)*p < 0x80) {
        *cp = *p;
        return 1;
    }
    return qn__utf8_decode(p, n, cp);
}

size_t qn__j_char_back(const char *p, size_t n)
{
    for (size_t k = 1; k <= 4 && k <= n; k++) {
        int32_t cp;
        if (((unsigned char)p[n - k] & 0xC0) == 0x80)
            continue;
        return qn__j_char(p + n - k, k, &cp) == k ? k : 1;
    }
    return 1;
}

/* str.isspace: bidirectional WS, B, S or category Zs. */
bool qn__j_is_space(int32_t cp)
{
    if (cp < 0x80)
        return cp == ' ' || (cp >= 9 && cp <= 13) || (cp >= 0x1C && cp <= 0x1F);
    return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 ||
           cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

bool qn__j_printable(int32_t cp)
{
    if (cp < 0x7F)
        return cp >= 0x20;
    switch (utf8proc_category(cp)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
    }
}

bool qn__j_is_word(int32_t cp)
{
    if (cp < 0x80) /* or malformed: -1 */
        return (cp >= '0' && cp <= '9') || (cp >= 'a' && cp <= 'z') || (cp >= 'A' && cp <= 'Z') || cp == '_';
    utf8proc_category_t k = utf8proc_category(cp);
    return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) ||
           (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO);
}

uint32_t qn__j_str_len(jval s)
{
    uint32_t n = 0;
    for (size_t at = 0; at < s.n; n++) {
        int32_t cp;
        at += qn__j_char(s.u.s + at, s.n - at, &cp);
    }
    return n;
}

size_t qn__j_offset(jval s, uint32_t index)
{
    size_t at = 0;
    for (; index && at < s.n; index--) {
        int32_t cp;
        at += qn__j_char(s.u.s + at, s.n - at, &cp);
    }
    return at;
}

size_t qn__j_find_bytes(const char *p, size_t n, const char *q, size_t m)
{
    if (!m)
        return 0;
    if (m > n)
        return SIZE_MAX;
    const char *at = memmem(p, n, q, m);
    return at ? (size_t)(at - p) : SIZE_MAX;
}

static bool in_set(const char *p, size_t k, int32_t cp, const jval *chars)
{
    if (!chars)
        return qn__j_is_space(cp);
    /* Whole characters only: UTF-8 finds no character inside another. */
    return qn__j_find_bytes(chars->u.s, chars->n, p, k) != SIZE_MAX;
}

jval qn__j_strip(jval s, const jval *chars, bool left, bool right)
{
    int32_t cp;
    while (left && s.n) {
        size_t k = qn__j_char(s.u.s, s.n, &cp);
        if (!in_set(s.u.s, k, cp, chars))
            break;
        s.u.s += k;
        s.n -= (uint32_t)k;
    }
    while (right && s.n) {
        size_t k = qn__j_char_back(s.u.s, s.n);
        (void)qn__j_char(s.u.s + s.n - k, k, &cp);
        if (!in_set(s.u.s + s.n - k, k, cp, chars))
            break;
        s.n -= (uint32_t)k;
    }
    return s;
}

/* ---- case
 * -------------------------------------------------------------------------------------------------------------- */

static bool is_cased(int32_t cp)
{
    utf8proc_category_t c = cp < 0 ? UTF8PROC_CATEGORY_CN : utf8proc_category(cp);
    return c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LL || c == UTF8PROC_CATEGORY_LT;
}

static bool next_is_cased(jval s, size_t at)
{
    int32_t cp;
    if (at >= s.n)
        return false;
    (void)qn__j_char(s.u.s + at, s.n - at, &cp);
    return is_cased(cp);
}

static qn_status emit_upper(jrun *r, int32_t cp, bool title)
{
    if (cp == 0xDF)
        return qn__j_emits(r, title ? "Ss" : "SS");
    return qn__j_emit_cp(r, title ? utf8proc_totitle(cp) : utf8proc_toupper(cp));
}

static qn_status emit_lower(jrun *r, int32_t cp, bool final)
{
    if (cp == 0x130) /* capital I with a dot: i and a combining dot */
        return qn__j_emits(r, "i\xCC\x87");
    if (cp == 0x3A3 && final) /* sigma at a word's end */
        return qn__j_emit_cp(r, 0x3C2);
    return qn__j_emit_cp(r, utf8proc_tolower(cp));
}

static bool is_upper(int32_t cp)
{
    utf8proc_category_t c = utf8proc_category(cp);
    return c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LT;
}

qn_status qn__j_case(jrun *r, jval s, int how, jval *out)
{
    size_t mark = qn__j_mark(r);
    bool inside = false; /* the previous character was cased */
    J_TRY(qn__j_step(r, (uint64_t)s.n * 4));
    for (size_t at = 0, k; at < s.n; at += k) {
        int32_t cp;
        k = qn__j_char(s.u.s + at, s.n - at, &cp);
        if (cp < 0) {
            J_TRY(qn__j_emit(r, s.u.s + at, k));
            inside = false;
            continue;
        }
        bool up = how == 'u' || (how == 't' && !inside) || (how == 'c' && at == 0) || (how == 's' && !is_upper(cp));
        if (up)
            J_TRY(emit_upper(r, cp, how == 't' || how == 'c'));
        else
            J_TRY(emit_lower(r, cp, inside && !next_is_cased(s, at + k)));
        inside = is_cased(cp);
    }
    uint8_t safe = s.safe;
    J_TRY(qn__j_take(r, mark, out));
    out->safe = safe;
    return QN_OK;
}

/* ---- replacing
 * ---------------------------------------------------------------------------------------------------------- */

qn_status qn__j_replace(jrun *r, jval s, jval from, jval to, int64_t count, jval *out)
{
    size_t mark = qn__j_mark(r), at = 0;
    uint8_t safe = s.safe;
    J_TRY(qn__j_step(r, s.n));
    while (count != 0) {
        size_t k = qn__j_find_bytes(s.u.s + at, s.n - at, from.u.s, from.n);
        if (k == SIZE_MAX)
            break;
        J_TRY(qn__j_emit(r, s.u.s + at, k));
        J_TRY(qn__j_emit(r, to.u.s, to.n));
        at += k + from.n;
        count -= count > 0;
        if (!from.n) { /* between all characters */
            int32_t cp;
            if (at >= s.n)
                break;
            k = qn__j_char(s.u.s + at, s.n - at, &cp);
            J_TRY(qn__j_emit(r, s.u.s + at, k));
            at += k;
        }
    }
    J_TRY(qn__j_emit(r, s.u.s + at, s.n - at));
    J_TRY(qn__j_take(r, mark, out));
    out->safe = safe;
    return QN_OK;
}

qn_status qn__j_escape(jrun *r, jval s, jval *out)
{
    static const char from[] = "&<>'\"";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    size_t mark = qn__j_mark(r), begin = 0;
    for (size_t at = 0; at < s.n; at++) {
        const char *k = s.u.s[at] ? strchr(from, s.u.s[at]) : NULL;
        if (!k)
            continue;
        J_TRY(qn__j_emit(r, s.u.s + begin, at - begin));
        J_TRY(qn__j_emits(r, to[k - from]));
        begin = at + 1;
    }
    J_TRY(qn__j_emit(r, s.u.s + begin, s.n - begin));
    J_TRY(qn__j_take(r, mark, out));
    out->safe = 1;
    return QN_OK;
}
