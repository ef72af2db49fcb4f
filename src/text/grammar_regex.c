/* grammar_regex.c - regular expressions (the syntax of ECMAScript, which JSON Schema names) become expressions. Groups do not
 * capture, lazy repeats match what greedy ones do.
 *
 * Refuses, by name: look-around, back-references, word borders, anchors in the middle, flags, properties other than general
 * categories. */
#include <stdio.h>
#include <utf8proc.h>

#include "text/grammar_regex.h"

enum { GROUPS_MAX = 150, SET_MAX = 4096, REPEAT_MAX = 1000000, PROPERTY_WORK = 1000000 };

typedef struct parser {
    qn_ir *ir;
    const char *text, *p, *end;
    const char *where;
    bool json;
    int depth;
    uint32_t (*set)[2]; /* the class at hand */
    size_t n_set, cap_set;
} parser;

static qn_node bad(parser *r, qn_status code, const char *what)
{
    return qn__ir_fail(r->ir, code, r->where, "regular expression, at byte %zu: %s", (size_t)(r->p - r->text), what);
}

static bool set_put(parser *r, uint32_t lo, uint32_t hi)
{
    if (!qn__grow((void **)&r->set, &r->cap_set, r->n_set + 1, sizeof *r->set)) {
        (void)qn__ir_fail(r->ir, QN_ENOMEM, r->where, "out of memory");
        return false;
    }
    r->set[r->n_set][0] = lo;
    r->set[r->n_set++][1] = hi;
    return true;
}

/* set[from..) becomes everything else. */
static bool set_negate(parser *r, size_t from)
{
    size_t n = r->n_set > from ? qn__ranges_tidy(r->set + from, r->n_set - from) : 0; /* of nothing there is no array yet */
    uint32_t next = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t lo = r->set[from + i][0], hi = r->set[from + i][1];
        r->set[from + i][0] = next;
        r->set[from + i][1] = lo - 1; /* empty when lo == next: dropped by the next tidying; lo 0 wraps, so: */
        if (lo == 0) {
            r->set[from + i][0] = 1;
            r->set[from + i][1] = 0;
        }
        next = hi + 1;
    }
    r->n_set = from + n;
    return next > QN_CHAR_MAX || set_put(r, next, QN_CHAR_MAX);
}

static bool put_all(parser *r, const uint32_t (*v)[2], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!set_put(r, v[i][0], v[i][1]))
            return false;
    return true;
}

/* \d \w \s and their opposites; false: not one of them, or no memory */
static bool set_escape(parser *r, char c)
{
    static const uint32_t digit[][2] = {{'0', '9'}}, word[][2] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
                          space[][2] = {{9, 13},          {32, 32},         {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
                                        {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
    size_t from = r->n_set;
    bool ok;
    switch (c | 0x20) {
    case 'd': ok = put_all(r, digit, 1); break;
    case 'w': ok = put_all(r, word, 4); break;
    case 's': ok = put_all(r, space, 10); break;
    default: return false;
    }
    return ok && (c >= 'a' || set_negate(r, from));
}

/* \p{Lu}: characters of a general category */
static bool set_property(parser *r, bool negated)
{
    static const char names[][3] = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps",
                                    "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"};
    static const char *const longer[][2] = {{"Letter", "L"}, {"Uppercase_Letter", "Lu"}, {"Lowercase_Letter", "Ll"}, {"Number", "N"},
                                            {"Decimal_Number", "Nd"}, {"digit", "Nd"}, {"Punctuation", "P"}, {"Symbol", "S"},
                                            {"Separator", "Z"}, {"Mark", "M"}, {"Other", "C"}};
    const char *close = r->p < r->end && *r->p == '{' ? memchr(r->p, '}', (size_t)(r->end - r->p)) : NULL;
    char name[32] = "";
    if (close && close - r->p - 1 < (int)sizeof name) {
        memcpy(name, r->p + 1, (size_t)(close - r->p) - 1);
        name[close - r->p - 1] = 0;
    }
    for (size_t i = 0; i < sizeof longer / sizeof *longer; i++)
        if (!strcmp(name, longer[i][0]))
            (void)snprintf(name, sizeof name, "%s", longer[i][1]);
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < 30 && *name; i++)
        if (!strcmp(name, names[i]) || (!name[1] && name[0] == names[i][0]))
            wanted |= 1u << i;
    if (!wanted) {
        (void)bad(r, QN_EUNSUPPORTED, "only general categories, as \\p{L} or \\p{Lu}, are known as properties");
        return false;
    }
    if (r->ir->work < PROPERTY_WORK) {
        (void)bad(r, QN_ELIMIT, "too many properties");
        return false;
    }
    r->ir->work -= PROPERTY_WORK;
    r->p = close + 1;
    size_t from = r->n_set;
    uint32_t begin = UINT32_MAX;
    for (uint32_t c = 0; c <= QN_CHAR_MAX + 1; c++) {
        bool in = c <= QN_CHAR_MAX && wanted >> utf8proc_category((utf8proc_int32_t)c) & 1;
        if (in && begin == UINT32_MAX)
            begin = c;
        if (!in && begin != UINT32_MAX) {
            if (!set_put(r, begin, c - 1))
                return false;
            begin = UINT32_MAX;
        }
    }
    return !negated || set_negate(r, from);
}

/* n hexadecimal digits at r->p; -1: they are not */
static int32_t hex(parser *r, int n)
{
    int32_t v = 0;
    if (r->end - r->p < n)
        return -1;
    for (int i = 0; i < n; i++) {
        char c = r->p[i], l = (char)(c | 0x20);
        int d = c >= '0' && c <= '9' ? c - '0' : l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    r->p += n;
    return v;
}

static int32_t unicode_escape(parser *r)
{
    if (r->p < r->end && *r->p == '{') {
        int32_t v = 0, digits = 0, d;
        r->p++;
        while (r->p < r->end && *r->p != '}' && (d = hex(r, 1)) >= 0 && digits++ < 6)
            v = v * 16 + d;
        if (r->p < r->end && *r->p == '}' && digits && v <= (int32_t)QN_CHAR_MAX) {
            r->p++;
            return v;
        }
        return -1;
    }
    int32_t v = hex(r, 4);
    if (v >= 0xD800 && v < 0xDC00 && r->end - r->p >= 6 && r->p[0] == '\\' && r->p[1] == 'u') {
        r->p += 2;
        int32_t low = hex(r, 4);
        return low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((v - 0xD800) << 10) + (low - 0xDC00) : -1;
    }
    return v;
}

/* The character that an escape stands for; r->p is behind the backslash. -1: failed. */
static int32_t char_escape(parser *r, bool in_class)
{
    char c = *r->p++;
    int32_t v = -1;
    switch (c) {
    case 't': return '\t';
    case 'n': return '\n';
    case 'r': return '\r';
    case 'f': return '\f';
    case 'v': return '\v';
    case 'x': v = hex(r, 2); break;
    case 'u': v = unicode_escape(r); break;
    case 'c': v = r->p < r->end && (*r->p | 0x20) >= 'a' && (*r->p | 0x20) <= 'z' ? *r->p++ & 31 : -1; break;
    case '0':
        if (r->p < r->end && *r->p >= '0' && *r->p <= '9')
            return bad(r, QN_EUNSUPPORTED, "octal escapes are not supported");
        return 0;
    case 'b':
        if (in_class)
            return '\b';
        return bad(r, QN_EUNSUPPORTED, "word borders are not supported");
    case 'B': return bad(r, QN_EUNSUPPORTED, "word borders are not supported");
    case 'k': return bad(r, QN_EUNSUPPORTED, "back-references are not supported");
    default:
        if (c >= '1' && c <= '9')
            return bad(r, QN_EUNSUPPORTED, "back-references are not supported");
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
            return bad(r, QN_EUNSUPPORTED, "this escape is not supported");
        r->p--;
        r->p += qn__utf8_decode(r->p, (size_t)(r->end - r->p), &v);
        return v < 0 ? bad(r, QN_EFORMAT, "not UTF-8") : v;
    }
    return v < 0 ? bad(r, QN_EFORMAT, "an escape that is not complete") : v;
}

static qn_node emit_set(parser *r)
{
    qn_node n = r->json ? qn__ir_json_class(r->ir, (const uint32_t(*)[2])r->set, r->n_set, false)
                        : qn__ir_class(r->ir, (const uint32_t(*)[2])r->set, r->n_set, false);
    r->n_set = 0;
    return n;
}

static qn_node emit_char(parser *r, int32_t c)
{
    char text[4];
    if (!r->json)
        return qn__ir_text(r->ir, text, qn__utf8_encode(c, text));
    r->n_set = 0;
    return set_put(r, (uint32_t)c, (uint32_t)c) ? emit_set(r) : -1;
}

/* One end of a class's range, or a set (then *is_set). */
static int32_t class_atom(parser *r, bool *is_set)
{
    int32_t v = 0;
    *is_set = false;
    if (*r->p != '\\') {
        r->p += qn__utf8_decode(r->p, (size_t)(r->end - r->p), &v);
        return v < 0 ? bad(r, QN_EFORMAT, "not UTF-8") : v;
    }
    if (++r->p == r->end)
        return bad(r, QN_EFORMAT, "it ends behind a backslash");
    char c = *r->p;
    if (strchr("dDwWsS", c) && c) {
        r->p++;
        *is_set = true;
        return set_escape(r, c) ? 0 : -1;
    }
    if (c == 'p' || c == 'P') {
        r->p++;
        *is_set = true;
        return set_property(r, c == 'P') ? 0 : -1;
    }
    return char_escape(r, true);
}

static qn_node parse_class(parser *r)
{
    bool negated = r->p < r->end && *r->p == '^', set1, set2;
    r->p += negated;
    r->n_set = 0;
    for (;;) {
        if (r->p >= r->end)
            return bad(r, QN_EFORMAT, "a class is not closed");
        if (*r->p == ']')
            break;
        if (r->n_set > SET_MAX * 4)
            return bad(r, QN_ELIMIT, "a class has too many ranges");
        int32_t lo = class_atom(r, &set1);
        if (lo < 0)
            return -1;
        if (set1)
            continue;
        int32_t hi = lo;
        if (r->end - r->p >= 2 && r->p[0] == '-' && r->p[1] != ']') {
            r->p++;
            hi = class_atom(r, &set2);
            if (hi < 0)
                return -1;
            if (set2) { /* a minus sign between a character and a set stands for itself */
                if (!set_put(r, '-', '-'))
                    return -1;
                hi = lo;
            } else if (hi < lo) {
                return bad(r, QN_EFORMAT, "a range runs backwards");
            }
        }
        if (!set_put(r, (uint32_t)lo, (uint32_t)hi))
            return -1;
    }
    r->p++;
    if (negated && !set_negate(r, 0))
        return -1;
    return emit_set(r);
}

static qn_node parse_alt(parser *r, bool top, bool search);

static qn_node parse_group(parser *r)
{
    if (++r->depth > GROUPS_MAX)
        return bad(r, QN_ELIMIT, "groups are nested too deeply");
    if (r->p < r->end && *r->p == '?') {
        if (r->end - r->p >= 2 && r->p[1] == ':') {
            r->p += 2;
        } else if (r->end - r->p >= 3 && r->p[1] == '<' && r->p[2] != '=' && r->p[2] != '!') {
            const char *close = memchr(r->p, '>', (size_t)(r->end - r->p));
            if (!close)
                return bad(r, QN_EFORMAT, "a group's name is not closed");
            r->p = close + 1;
        } else {
            return bad(r, QN_EUNSUPPORTED, "look-around and flags are not supported");
        }
    }
    qn_node n = parse_alt(r, false, false);
    if (n < 0)
        return -1;
    if (r->p >= r->end || *r->p != ')')
        return bad(r, QN_EFORMAT, "a group is not closed");
    r->p++;
    r->depth--;
    return n;
}

static qn_node parse_atom(parser *r)
{
    int32_t c = 0;
    switch (*r->p) {
    case '(': r->p++; return parse_group(r);
    case '[': r->p++; return parse_class(r);
    case '.':
        r->p++;
        r->n_set = 0;
        if (!set_put(r, 0, 9) || !set_put(r, 11, 12) || !set_put(r, 14, 0x2027) || !set_put(r, 0x202A, QN_CHAR_MAX))
            return -1;
        return emit_set(r);
    case '*':
    case '+':
    case '?': return bad(r, QN_EFORMAT, "there is nothing to repeat");
    case '^':
    case '$': return bad(r, QN_EUNSUPPORTED, "an anchor is supported only at the beginning or the end of an alternative outside groups");
    case '\\':
        if (++r->p == r->end)
            return bad(r, QN_EFORMAT, "it ends behind a backslash");
        r->n_set = 0;
        if (*r->p && strchr("dDwWsS", *r->p)) {
            char k = *r->p++;
            return set_escape(r, k) ? emit_set(r) : -1;
        }
        if (*r->p == 'p' || *r->p == 'P') {
            char k = *r->p++;
            return set_property(r, k == 'P') ? emit_set(r) : -1;
        }
        c = char_escape(r, false);
        return c < 0 ? -1 : emit_char(r, c);
    default:
        r->p += qn__utf8_decode(r->p, (size_t)(r->end - r->p), &c);
        return c < 0 ? bad(r, QN_EFORMAT, "not UTF-8") : emit_char(r, c);
    }
}

static bool number(parser *r, uint32_t *v)
{
    const char *from = r->p;
    *v = 0;
    for (; r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++)
        *v = *v > REPEAT_MAX ? *v : *v * 10 + (uint32_t)(*r->p - '0');
    return r->p > from;
}

/* A repeat behind an atom; false: none. Bounds over REPEAT_MAX are left to the caller. */
static bool parse_repeat(parser *r, uint32_t *min, uint32_t *max)
{
    const char *from = r->p;
    if (r->p >= r->end)
        return false;
    switch (*r->p) {
    case '*': *min = 0, *max = UINT32_MAX, r->p++; break;
    case '+': *min = 1, *max = UINT32_MAX, r->p++; break;
    case '?': *min = 0, *max = 1, r->p++; break;
    case '{':
        r->p++;
        if (!number(r, min)) {
            r->p = from;
            return false;
        }
        *max = *min;
        if (r->p < r->end && *r->p == ',') {
            r->p++;
            if (!number(r, max))
                *max = UINT32_MAX;
        }
        if (r->p >= r->end || *r->p != '}') {
            r->p = from;
            return false;
        }
        r->p++;
        break;
    default: return false;
    }
    if (r->p < r->end && *r->p == '?') /* lazy: the same language */
        r->p++;
    return true;
}

/* One alternative. top: it may be anchored; what is not anchored is found anywhere when `search`. */
static qn_node parse_seq(parser *r, bool top, bool search)
{
    qn_node *v = NULL, out = -1;
    size_t n = 0, cap = 0;
    bool begins = !search, ends = !search;
    if (top && r->p < r->end && *r->p == '^') {
        begins = true;
        r->p++;
    }
    if (!qn__grow((void **)&v, &cap, 1, sizeof *v))
        goto memory;
    if (!begins)
        v[n++] = qn__regex_any(r->ir, r->json);
    while (r->p < r->end && *r->p != '|' && *r->p != ')') {
        if (top && *r->p == '$' && (r->p + 1 == r->end || r->p[1] == '|')) {
            ends = true;
            r->p++;
            break;
        }
        uint32_t min, max;
        qn_node a = parse_atom(r);
        if (a < 0)
            goto done;
        if (parse_repeat(r, &min, &max)) {
            if (min > REPEAT_MAX || (max != UINT32_MAX && max > REPEAT_MAX)) {
                (void)bad(r, QN_ELIMIT, "a repeat of more than a million");
                goto done;
            }
            if (min > max) {
                (void)bad(r, QN_EFORMAT, "a repeat of at least more than at most");
                goto done;
            }
            a = qn__ir_repeat(r->ir, a, min, max);
        }
        if (!qn__grow((void **)&v, &cap, n + 2, sizeof *v))
            goto memory;
        v[n++] = a;
    }
    if (!ends)
        v[n++] = qn__regex_any(r->ir, r->json);
    out = qn__ir_seq(r->ir, v, n);
    goto done;
memory:
    (void)qn__ir_fail(r->ir, QN_ENOMEM, r->where, "out of memory");
done:
    qn_free(v);
    return out;
}

static qn_node parse_alt(parser *r, bool top, bool search)
{
    qn_node *v = NULL, out = -1;
    size_t n = 0, cap = 0;
    for (;;) {
        qn_node s = parse_seq(r, top, search);
        if (s < 0)
            break;
        if (!qn__grow((void **)&v, &cap, n + 1, sizeof *v)) {
            (void)qn__ir_fail(r->ir, QN_ENOMEM, r->where, "out of memory");
            break;
        }
        v[n++] = s;
        if (r->p < r->end && *r->p == '|') {
            r->p++;
            continue;
        }
        out = qn__ir_alt(r->ir, v, n);
        break;
    }
    qn_free(v);
    return out;
}

qn_node qn__regex_any(qn_ir *ir, bool json)
{
    static const uint32_t all[][2] = {{0, QN_CHAR_MAX}};
    qn_node c = json ? qn__ir_json_class(ir, all, 1, false) : qn__ir_class(ir, all, 1, false);
    return qn__ir_repeat(ir, c, 0, UINT32_MAX);
}

qn_node qn__regex_node(qn_ir *ir, const char *pattern, size_t n, bool json, bool search, const char *where)
{
    parser r = {.ir = ir, .text = pattern, .p = pattern, .end = pattern + n, .where = where, .json = json};
    if (ir->err.code)
        return -1;
    qn_node x = parse_alt(&r, true, search);
    if (x >= 0 && r.p < r.end)
        x = bad(&r, QN_EFORMAT, "a ')' that closes nothing");
    qn_free(r.set);
    return x;
}

qn_node qn__ir_regex(qn_ir *ir, const char *pattern, size_t n, const char *where, qn_err *err)
{
    qn_node x = qn__regex_node(ir, pattern, n, false, false, where);
    if (x < 0)
        (void)qn__ir_check(ir, err);
    return x;
}

/* ---- to an automaton over characters ---- */

static int32_t chars(qn_ir *ir, qn_nfa *a, qn_node n, int32_t from)
{
    const qn_ir_node x = ir->nodes[n];
    int32_t to;
    if (a->failed)
        return 0;
    switch ((qn_ir_kind)x.kind) {
    case QN_IR_TEXT:
        for (size_t i = 0; i < x.b && !a->failed;) {
            int32_t c;
            i += qn__utf8_decode(ir->text + x.a + i, x.b - i, &c);
            to = qn__nfa_node(a);
            qn__nfa_step(a, from, (uint32_t)c, (uint32_t)c, to);
            from = to;
        }
        return from;
    case QN_IR_CLASS:
        to = qn__nfa_node(a);
        for (uint32_t i = 0; i < x.b && !a->failed; i++)
            qn__nfa_step(a, from, ir->ranges[x.a + i][0], ir->ranges[x.a + i][1], to);
        return to;
    case QN_IR_SEQ:
        for (uint32_t i = 0; i < x.b && !a->failed; i++)
            from = chars(ir, a, ir->kids[x.a + i], from);
        return from;
    case QN_IR_ALT:
        to = qn__nfa_node(a);
        for (uint32_t i = 0; i < x.b && !a->failed; i++) {
            int32_t fresh = qn__nfa_node(a);
            qn__nfa_eps(a, from, fresh);
            int32_t end = chars(ir, a, ir->kids[x.a + i], fresh);
            qn__nfa_eps(a, end, to);
        }
        return to;
    case QN_IR_REPEAT: {
        for (uint32_t i = 0; i < x.b && !a->failed; i++)
            from = chars(ir, a, (qn_node)x.a, from);
        int32_t end = qn__nfa_node(a);
        if (x.c == UINT32_MAX) {
            int32_t loop = qn__nfa_node(a);
            qn__nfa_eps(a, from, loop);
            int32_t back = chars(ir, a, (qn_node)x.a, loop);
            if (back != loop)
                qn__nfa_eps(a, back, loop);
            qn__nfa_eps(a, loop, end);
            return end;
        }
        for (uint32_t i = x.b; i < x.c && !a->failed; i++) {
            int32_t fresh = qn__nfa_node(a);
            qn__nfa_eps(a, from, end);
            qn__nfa_eps(a, from, fresh);
            from = chars(ir, a, (qn_node)x.a, fresh);
        }
        qn__nfa_eps(a, from, end);
        return end;
    }
    default: a->failed = a->too_large = true; return 0;
    }
}

bool qn__regex_fa(qn_ir *ir, qn_node n, const char *where, qn_fa *out)
{
    qn_nfa a = {.limit = QN_GRAMMAR_STATES_MAX / 4};
    if (ir->err.code || n < 0)
        return false;
    int32_t start = qn__nfa_node(&a), end = chars(ir, &a, n, start);
    qn_fa f = {0};
    qn_err err = {0};
    qn_status st = qn__nfa_determinise(&a, start, end, &ir->work, where, &f, &err);
    if (!st)
        st = qn__fa_trim(&f, &err);
    qn__nfa_free(&a);
    if (st) {
        qn__fa_free(&f);
        (void)qn__ir_fail(ir, err.code, err.where, "%s", err.what);
        return false;
    }
    *out = f;
    return true;
}
