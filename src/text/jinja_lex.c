/* jinja_lex.c - template text to tokens.
 *
 * Why by hand: the rules for white space around tags are most of what a chat template's bytes depend on.
 * Owns: trim_blocks (the newline behind a block or comment goes), lstrip_blocks (blanks between the line's start and a
 * block or comment go), the signs - and +, raw sections, comments, string escapes, numbers.
 * Refuses: unterminated strings, comments and raw sections, integers over 64 bits. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja_int.h"

qn_status qn__j_syntax(qn_err *err, uint32_t line, const char *fmt, ...)
{
    char where[40], what[400];
    va_list ap;
    (void)snprintf(where, sizeof where, "template line %u", (unsigned)line);
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return qn__fail(err, QN_EFORMAT, where, "%s", what);
}

/* Length of the white space that begins at p. */
static size_t spaces(const char *p, size_t n)
{
    size_t at = 0;
    while (at < n) {
        int32_t cp;
        size_t k = qn__j_char(p + at, n - at, &cp);
        if (!qn__j_is_space(cp))
            break;
        at += k;
    }
    return at;
}

/* n without the white space at the end of [p, p+n). */
static size_t trimmed(const char *p, size_t n)
{
    while (n) {
        int32_t cp;
        size_t k = qn__j_char_back(p, n);
        (void)qn__j_char(p + n - k, k, &cp);
        if (!qn__j_is_space(cp))
            break;
        n -= k;
    }
    return n;
}

static void move(jlex *l, size_t to)
{
    for (const char *p = l->t->src.p + l->pos, *end = l->t->src.p + to; (p = memchr(p, '\n', (size_t)(end - p))); p++)
        l->line++;
    l->pos = to;
}

/* What stays of the text [from, to) before a tag with this sign. */
static size_t strip_before(const jlex *l, size_t from, size_t to, char sign, bool variable)
{
    const char *s = l->t->src.p;
    if (sign == '-')
        return from + trimmed(s + from, to - from);
    if (sign == '+' || variable)
        return to;
    size_t line = to;
    while (line > from && s[line - 1] != '\n')
        line--;
    bool at_line_start = line > from || from == 0 || s[from - 1] == '\n';
    return at_line_start && spaces(s + line, to - line) == to - line ? line : to;
}

/* If a tag's end (`%}`, `}}` or `#}`, with an optional sign) is at pos, the position behind it and behind what it
 * swallows; else 0. */
static size_t tag_end(const jlex *l, size_t pos, const char *close, bool trim)
{
    const char *s = l->t->src.p;
    size_t n = l->t->src.n;
    bool minus = pos < n && s[pos] == '-', plus = pos < n && s[pos] == '+' && trim;
    size_t at = pos + (minus || plus);
    if (n < 2 || at > n - 2 || s[at] != close[0] || s[at + 1] != close[1])
        return 0;
    at += 2;
    if (minus)
        return at + spaces(s + at, n - at);
    if (trim && !plus && at < n && s[at] == '\n')
        at++;
    return at;
}

/* `{% [sign] word [-]%}` at pos: its end, else 0. For endraw the newline behind goes as behind any block. */
static size_t raw_tag(const jlex *l, size_t pos, const char *word, char *sign)
{
    const char *s = l->t->src.p;
    size_t n = l->t->src.n, w = strlen(word), at = pos + 2;
    *sign = 0;
    if (at < n && (s[at] == '-' || s[at] == '+'))
        *sign = s[at++];
    at += spaces(s + at, n - at);
    if (n - at < w || memcmp(s + at, word, w) != 0)
        return 0;
    at += w;
    at += spaces(s + at, n - at);
    if (w == 6)
        return tag_end(l, at, "%}", true);
    return tag_end(l, at, "%}", false);
}

static qn_status lex_raw(jlex *l, size_t body, jtok *out)
{
    const char *s = l->t->src.p;
    size_t n = l->t->src.n;
    uint32_t line = l->line;
    for (size_t at = body;; at++) {
        size_t k = qn__j_find_bytes(s + at, n - at, "{%", 2);
        if (k == SIZE_MAX)
            return qn__j_syntax(l->err, line, "the raw section has no end; add {%% endraw %%}");
        at += k;
        char sign;
        size_t end = raw_tag(l, at, "endraw", &sign);
        if (!end)
            continue;
        size_t to = strip_before(l, body, at, sign, false);
        out->kind = JT_DATA;
        out->text = (qn_slice){s + body, to > body ? to - body : 0};
        move(l, end);
        return QN_OK;
    }
}

/* Text up to the next tag; leaves the lexer behind the tag's opening. Gives JT_DATA (perhaps empty) and sets the mode,
 * or JT_EOF. */
static qn_status lex_data(jlex *l, jtok *out)
{
    const char *s = l->t->src.p;
    size_t n = l->t->src.n, from = l->pos, at = from;
    out->kind = JT_DATA;
    out->line = l->line;
    for (; at + 1 < n; at++) {
        const char *b = memchr(s + at, '{', n - 1 - at);
        at = b ? (size_t)(b - s) : n;
        if (!b || s[at + 1] == '{' || s[at + 1] == '%' || s[at + 1] == '#')
            break;
    }
    if (at + 1 >= n) {
        out->kind = from < n ? JT_DATA : JT_EOF;
        out->text = (qn_slice){s + from, n - from};
        move(l, n);
        return QN_OK;
    }
    char sign = at + 2 < n && (s[at + 2] == '-' || s[at + 2] == '+') ? s[at + 2] : 0, raw_sign;
    size_t to = strip_before(l, from, at, sign, s[at + 1] == '{');
    out->text = (qn_slice){s + from, to - from};
    if (s[at + 1] == '#') {
        /* Some text may precede the comment; both are passed at once. */
        size_t body = at + 2 + (sign != 0), k = qn__j_find_bytes(s + body, n - body, "#}", 2);
        if (k == SIZE_MAX)
            return qn__j_syntax(l->err, l->line, "the comment has no end; add #}");
        bool signed_end = k && (s[body + k - 1] == '-' || s[body + k - 1] == '+');
        move(l, tag_end(l, body + k - signed_end, "#}", true));
        return QN_OK;
    }
    size_t raw = s[at + 1] == '%' ? raw_tag(l, at, "raw", &raw_sign) : 0;
    if (raw) {
        if (out->text.n) { /* give the text first, then come back here */
            move(l, at);
            return QN_OK;
        }
        move(l, raw);
        return lex_raw(l, raw, out);
    }
    l->mode = s[at + 1] == '{' ? JLEX_VAR : JLEX_BLOCK;
    l->opened = true;
    move(l, at + 2 + (sign != 0));
    return QN_OK;
}

/* Length of the character of a name at p, 0 when it is none. */
static size_t name_char(const char *p, size_t n)
{
    int32_t cp;
    size_t k = qn__j_char(p, n, &cp);
    return qn__j_is_word(cp) ? k : 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \xHH, \uHHHH, \UHHHHHHHH: n digits at p. */
static bool hex_escape(const char *p, const char *end, int n, int32_t *cp)
{
    uint32_t v = 0;
    if (end - p < n)
        return false;
    for (int i = 0; i < n; i++) {
        int d = hex_digit(p[i]);
        if (d < 0)
            return false;
        v = v << 4 | (uint32_t)d;
    }
    if (v > 0x10FFFF || (v >= 0xD800 && v < 0xE000))
        return false;
    *cp = (int32_t)v;
    return true;
}

/* One escape behind a backslash at *pp; writes to *w. Unknown escapes keep their backslash, as in Python. */
static bool unescape(const char **pp, const char *end, char **w)
{
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    const char *p = *pp, *k = *p ? strchr(from, *p) : NULL;
    char utf8[4];
    int32_t cp = 0;
    if (k) {
        *(*w)++ = to[k - from];
        *pp = p + 1;
        return true;
    }
    if (*p == '\n') {
        *pp = p + 1;
        return true;
    }
    int digits = *p == 'x' ? 2 : *p == 'u' ? 4 : *p == 'U' ? 8 : 0;
    if (digits) {
        if (!hex_escape(p + 1, end, digits, &cp))
            return false;
        p += 1 + digits;
    } else if (*p >= '0' && *p <= '7') {
        for (int i = 0; i < 3 && p < end && *p >= '0' && *p <= '7'; i++)
            cp = cp * 8 + (*p++ - '0');
    } else if (*p == 'N') {
        return false;
    } else {
        *(*w)++ = '\\';
        return true;
    }
    size_t n = qn__utf8_encode(cp, utf8);
    memcpy(*w, utf8, n);
    *w += n;
    *pp = p;
    return true;
}

static qn_status lex_string(jlex *l, jtok *out)
{
    const char *s = l->t->src.p, *p = s + l->pos, *end = s + l->t->src.n;
    char quote = *p++;
    const char *close = p;
    bool escapes = false;
    while (close < end && *close != quote) {
        if (*close == '\\') {
            escapes = true;
            close++;
        }
        close++;
    }
    if (close >= end)
        return qn__j_syntax(l->err, l->line, "the string has no closing %c", quote);
    out->kind = JT_STR;
    out->val = qn__j_str(p, (size_t)(close - p));
    if (escapes) {
        /* Escapes only shrink: the longest result of \xHH is 2 bytes, of \uHHHH 3, of \777 2. */
        char *w = qn__arena_alloc(&l->t->arena, (size_t)(close - p));
        char *begin = w;
        if (!w)
            return qn__fail_mem(l->err, "template");
        while (p < close) {
            if (*p != '\\') {
                *w++ = *p++;
                continue;
            }
            p++;
            if (!unescape(&p, close, &w))
                return qn__j_syntax(l->err, l->line, "the string holds an escape that names no character");
        }
        out->val = qn__j_str(begin, (size_t)(w - begin));
    }
    move(l, (size_t)(close + 1 - s));
    out->text = (qn_slice){s + l->pos, 0};
    return QN_OK;
}

/* Digits with single underscores between them; the position behind. */
static size_t digits(const char *s, size_t n, size_t at, int base)
{
    for (;;) {
        size_t k = at < n && s[at] == '_' ? at + 1 : at;
        int d = k < n ? hex_digit(s[k]) : -1;
        if (d < 0 || d >= base)
            return at;
        at = k + 1;
    }
}

static qn_status lex_number(jlex *l, jtok *out)
{
    const char *s = l->t->src.p;
    size_t n = l->t->src.n, from = l->pos, end = digits(s, n, from, 10);
    int base = 10;
    bool real = false;
    if (s[from] == '0' && from + 2 < n) {
        char c = (char)(s[from + 1] | 0x20);
        int b = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
        size_t e = b ? digits(s, n, from + 2, b) : 0;
        if (b && e > from + 2) {
            base = b;
            end = e;
        }
    }
    bool after_dot = from > 0 && s[from - 1] == '.'; /* x.0.1 is two subscripts, not a float */
    if (base == 10 && !after_dot) {
        size_t e = end;
        if (e + 1 < n && s[e] == '.' && s[e + 1] >= '0' && s[e + 1] <= '9') {
            end = e = digits(s, n, e + 1, 10);
            real = true;
        }
        if (e < n && (s[e] | 0x20) == 'e') {
            e++;
            if (e < n && (s[e] == '+' || s[e] == '-'))
                e++;
            if (e < n && s[e] >= '0' && s[e] <= '9') {
                end = digits(s, n, e, 10);
                real = true;
            }
        }
    }
    char text[400];
    size_t k = 0;
    for (size_t i = from + (base == 10 ? 0 : 2); i < end && k < sizeof text - 1; i++)
        if (s[i] != '_')
            text[k++] = s[i];
    text[k] = 0;
    out->kind = JT_NUM;
    if (real) {
        out->val = qn__j_float(strtod(text, NULL));
    } else {
        int64_t v = 0;
        for (size_t i = 0; i < k; i++)
            if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, hex_digit(text[i]), &v))
                return qn__j_syntax(l->err, l->line, "the integer %.40s does not fit in 64 bits", text);
        out->val = qn__j_int(v);
    }
    out->text = (qn_slice){s + from, end - from};
    move(l, end);
    return QN_OK;
}

static qn_status lex_op(jlex *l, jtok *out)
{
    static const char two[][3] = {"//", "**", "==", "!=", ">=", "<="};
    const char *s = l->t->src.p + l->pos;
    size_t n = l->t->src.n - l->pos, k = 1;
    for (size_t i = 0; n > 1 && i < sizeof two / sizeof *two; i++)
        if (memcmp(s, two[i], 2) == 0)
            k = 2;
    if (k == 1 && (!*s || !strchr("+-/*%~[](){}<>=.:|,;", *s))) {
        int32_t cp;
        size_t c = qn__j_char(s, n, &cp);
        return qn__j_syntax(l->err, l->line, "unexpected character '%.*s'", (int)c, s);
    }
    if (k == 1 && strchr("([{", *s))
        l->brackets++;
    else if (k == 1 && strchr(")]}", *s) && l->brackets)
        l->brackets--;
    out->kind = JT_OP;
    out->text = (qn_slice){s, k};
    move(l, l->pos + k);
    return QN_OK;
}

static qn_status lex_code(jlex *l, jtok *out)
{
    const char *s = l->t->src.p;
    size_t n = l->t->src.n, end = 0;
    move(l, l->pos + spaces(s + l->pos, n - l->pos));
    out->line = l->line;
    if (l->pos >= n)
        return qn__j_syntax(l->err, l->line, "the template ends inside a tag; close it with %s",
                            l->mode == JLEX_VAR ? "}}" : "%}");
    if (!l->brackets)
        end = tag_end(l, l->pos, l->mode == JLEX_VAR ? "}}" : "%}", l->mode == JLEX_BLOCK);
    if (end) {
        out->kind = l->mode == JLEX_VAR ? JT_VAR_END : JT_BLOCK_END;
        out->text = (qn_slice){s + l->pos, 2};
        l->mode = JLEX_DATA;
        move(l, end);
        return QN_OK;
    }
    char c = s[l->pos];
    if (c >= '0' && c <= '9')
        return lex_number(l, out);
    if (c == '"' || c == '\'')
        return lex_string(l, out);
    size_t at = l->pos, k;
    while (at < n && (k = name_char(s + at, n - at)) != 0)
        at += k;
    if (at == l->pos)
        return lex_op(l, out);
    out->kind = JT_NAME;
    out->text = (qn_slice){s + l->pos, at - l->pos};
    move(l, at);
    return QN_OK;
}

qn_status qn__j_lex(jlex *l, jtok *out)
{
    jtok tok = {.line = l->line};
    while (l->mode == JLEX_DATA) {
        J_TRY(lex_data(l, &tok));
        if (tok.kind == JT_EOF || tok.text.n) {
            *out = tok;
            return QN_OK;
        }
    }
    if (l->opened) { /* the tag that lex_data stopped at is a token of its own */
        l->opened = false;
        tok.kind = l->mode == JLEX_VAR ? JT_VAR_BEGIN : JT_BLOCK_BEGIN;
        tok.line = l->line;
        *out = tok;
        return QN_OK;
    }
    J_TRY(lex_code(l, &tok));
    *out = tok;
    return QN_OK;
}
