/* grammar_gbnf.c - GBNF text becomes rules.
 *
 *   root ::= "a" [b-z]+ (x | y)* digits{2,4}      # comment
 *   x    ::= <|special|>                           a special token, by its text
 *
 * A rule ends with its line, unless a group is open or the next line goes on with '|'. */
#include <stdio.h>

#include "text/grammar_json.h"

enum { GROUPS_MAX = 150, REPEAT_MAX = 1000000 };

typedef struct parser {
    qn_ir *ir;
    const char *p, *end;
    size_t line;
    int depth;
} parser;

static qn_node bad(parser *g, const char *what)
{
    char where[48];
    (void)snprintf(where, sizeof where, "grammar, line %zu", g->line);
    return qn__ir_fail(g->ir, QN_EFORMAT, where, "%s", what);
}

/* White space and comments; line ends, too, when `lines`. */
static void skip(parser *g, bool lines)
{
    while (g->p < g->end) {
        if (*g->p == '#') {
            while (g->p < g->end && *g->p != '\n')
                g->p++;
        } else if (*g->p == ' ' || *g->p == '\t' || *g->p == '\r' || (*g->p == '\n' && lines)) {
            g->line += *g->p++ == '\n';
        } else {
            return;
        }
    }
}

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/* A name at g->p, copied; false: there is none, or it is too long. */
static bool name(parser *g, char out[128])
{
    size_t n = 0;
    while (g->p + n < g->end && name_char(g->p[n]))
        n++;
    if (!n || n > 127)
        return false;
    memcpy(out, g->p, n);
    out[n] = 0;
    g->p += n;
    return true;
}

/* Does a rule begin at g->p? */
static bool rule_begins(const parser *g)
{
    const char *p = g->p;
    while (p < g->end && name_char(*p))
        p++;
    if (p == g->p)
        return false;
    while (p < g->end && (*p == ' ' || *p == '\t'))
        p++;
    return g->end - p >= 3 && !memcmp(p, "::=", 3);
}

/* A character of a literal or a class; -1: failed. */
static int32_t character(parser *g)
{
    int32_t c = 0;
    if (*g->p != '\\') {
        g->line += *g->p == '\n';
        g->p += qn__utf8_decode(g->p, (size_t)(g->end - g->p), &c);
        return c < 0 ? bad(g, "not UTF-8") : c;
    }
    if (g->end - g->p < 2)
        return bad(g, "it ends behind a backslash");
    g->p += 2;
    int digits = 0;
    switch (g->p[-1]) {
    case 'n': return '\n';
    case 't': return '\t';
    case 'r': return '\r';
    case 'x': digits = 2; break;
    case 'u': digits = 4; break;
    case 'U': digits = 8; break;
    case '"':
    case '\\':
    case '[':
    case ']':
    case '^':
    case '-':
    case '/': return g->p[-1];
    default: return bad(g, "an escape that is not known");
    }
    uint32_t v = 0;
    for (int i = 0; i < digits; i++, g->p++) {
        char d = g->p < g->end ? *g->p : 0, l = (char)(d | 0x20);
        if (!((d >= '0' && d <= '9') || (l >= 'a' && l <= 'f')))
            return bad(g, "an escape that is not complete");
        v = v * 16 + (uint32_t)(d <= '9' ? d - '0' : l - 'a' + 10);
    }
    return v > QN_CHAR_MAX || (v >= 0xD800 && v < 0xE000) ? bad(g, "an escape that stands for no character") : (int32_t)v;
}

static qn_node literal(parser *g)
{
    qn_buf b = {0};
    qn_node n = -1;
    g->p++;
    while (g->p < g->end && *g->p != '"') {
        char text[4];
        int32_t c = character(g);
        if (c < 0)
            goto out;
        qn__buf_put(&b, text, qn__utf8_encode(c, text));
    }
    if (g->p >= g->end)
        (void)bad(g, "a literal is not closed");
    else if (b.failed)
        (void)qn__ir_fail(g->ir, QN_ENOMEM, "grammar", "out of memory");
    else {
        g->p++;
        n = qn__ir_text(g->ir, b.data ? b.data : "", b.n);
    }
out:
    qn__buf_free(&b);
    return n;
}

static qn_node class(parser *g)
{
    uint32_t(*r)[2] = NULL;
    size_t n = 0, cap = 0;
    qn_node out = -1;
    g->p++;
    bool negated = g->p < g->end && *g->p == '^';
    g->p += negated;
    while (g->p < g->end && *g->p != ']') {
        int32_t lo = character(g), hi = lo;
        if (lo < 0)
            goto out;
        if (g->end - g->p >= 2 && g->p[0] == '-' && g->p[1] != ']') {
            g->p++;
            hi = character(g);
            if (hi < 0)
                goto out;
            if (hi < lo) {
                (void)bad(g, "a range runs backwards");
                goto out;
            }
        }
        if (!qn__grow((void **)&r, &cap, n + 1, sizeof *r)) {
            (void)qn__ir_fail(g->ir, QN_ENOMEM, "grammar", "out of memory");
            goto out;
        }
        r[n][0] = (uint32_t)lo;
        r[n++][1] = (uint32_t)hi;
    }
    if (g->p >= g->end) {
        (void)bad(g, "a class is not closed");
        goto out;
    }
    g->p++;
    out = qn__ir_class(g->ir, (const uint32_t(*)[2])r, n, negated);
out:
    qn_free(r);
    return out;
}

static qn_node special(parser *g)
{
    const char *close = memchr(g->p, '>', (size_t)(g->end - g->p));
    char text[128];
    if (!close || close - g->p + 1 > 127)
        return bad(g, "a special token is not closed by '>'");
    size_t n = (size_t)(close - g->p) + 1;
    memcpy(text, g->p, n);
    text[n] = 0;
    g->p += n;
    return qn__ir_special(g->ir, text);
}

static qn_node alternatives(parser *g);

static qn_node atom(parser *g)
{
    static const uint32_t all[][2] = {{0, QN_CHAR_MAX}};
    char text[128];
    switch (*g->p) {
    case '"': return literal(g);
    case '[': return class(g);
    case '<': return special(g);
    case '.': g->p++; return qn__ir_class(g->ir, all, 1, false);
    case '(': {
        if (++g->depth > GROUPS_MAX)
            return qn__ir_fail(g->ir, QN_ELIMIT, "grammar", "groups are nested more than %d deep", GROUPS_MAX);
        g->p++;
        qn_node n = alternatives(g);
        if (n < 0)
            return -1;
        if (g->p >= g->end || *g->p != ')')
            return bad(g, "a group is not closed");
        g->p++;
        g->depth--;
        return n;
    }
    default:
        if (!name(g, text))
            return bad(g, "expected a literal, a class, a group or a rule's name");
        return qn__ir_rule(g->ir, text);
    }
}

static bool number(parser *g, uint32_t *v)
{
    const char *from = g->p;
    *v = 0;
    for (; g->p < g->end && *g->p >= '0' && *g->p <= '9'; g->p++)
        *v = *v > REPEAT_MAX ? *v : *v * 10 + (uint32_t)(*g->p - '0');
    return g->p > from && *v <= REPEAT_MAX;
}

static qn_node repeated(parser *g, qn_node n)
{
    while (n >= 0 && g->p < g->end) {
        uint32_t min = 0, max = UINT32_MAX;
        char c = *g->p;
        if (c != '*' && c != '+' && c != '?' && c != '{')
            return n;
        g->p++;
        if (c == '+')
            min = 1;
        if (c == '?')
            max = 1;
        if (c == '{') {
            skip(g, true);
            bool low = number(g, &min);
            skip(g, true);
            max = min;
            if (g->p < g->end && *g->p == ',') {
                g->p++;
                skip(g, true);
                if (!number(g, &max))
                    max = UINT32_MAX;
                skip(g, true);
            } else if (!low) {
                return bad(g, "a repeat without a number");
            }
            if (g->p >= g->end || *g->p != '}' || min > max)
                return bad(g, "a repeat is not {n}, {n,} or {n,m} with n <= m <= 1000000");
            g->p++;
        }
        n = qn__ir_repeat(g->ir, n, min, max);
    }
    return n;
}

static qn_node sequence(parser *g)
{
    qn_node *v = NULL, out = -1;
    size_t n = 0, cap = 0;
    for (;;) {
        skip(g, g->depth > 0);
        if (g->p >= g->end || *g->p == '|' || *g->p == ')' || *g->p == '\n')
            break;
        qn_node a = repeated(g, atom(g));
        if (a < 0)
            goto out;
        if (!qn__grow((void **)&v, &cap, n + 1, sizeof *v)) {
            (void)qn__ir_fail(g->ir, QN_ENOMEM, "grammar", "out of memory");
            goto out;
        }
        v[n++] = a;
    }
    out = qn__ir_seq(g->ir, v, n);
out:
    qn_free(v);
    return out;
}

static qn_node alternatives(parser *g)
{
    qn_node *v = NULL, out = -1;
    size_t n = 0, cap = 0;
    for (;;) {
        skip(g, true);
        if (g->depth == 0 && rule_begins(g)) { /* nothing was written here */
            out = bad(g, "a rule without a body");
            break;
        }
        qn_node s = sequence(g);
        if (s < 0)
            break;
        if (!qn__grow((void **)&v, &cap, n + 1, sizeof *v)) {
            (void)qn__ir_fail(g->ir, QN_ENOMEM, "grammar", "out of memory");
            break;
        }
        v[n++] = s;
        const char *p = g->p;
        size_t line = g->line;
        skip(g, true);
        if (g->p < g->end && *g->p == '|') {
            g->p++;
            continue;
        }
        g->p = p;
        g->line = line;
        if (g->depth)
            skip(g, true);
        out = qn__ir_alt(g->ir, v, n);
        break;
    }
    qn_free(v);
    return out;
}

qn_status qn__ir_gbnf(qn_ir *ir, const char *text, size_t n, qn_err *err)
{
    parser g = {.ir = ir, .p = text, .end = text + n, .line = 1};
    char rule[128];
    bool root = false;
    for (;;) {
        skip(&g, true);
        if (g.p >= g.end || ir->err.code)
            break;
        if (!rule_begins(&g) || !name(&g, rule)) {
            (void)bad(&g, "expected a rule: name ::= ...");
            break;
        }
        skip(&g, false);
        g.p += 3;
        qn_node body = alternatives(&g);
        if (body < 0)
            break;
        skip(&g, false);
        if (g.p < g.end && *g.p != '\n') {
            (void)bad(&g, *g.p == ')' ? "a ')' that closes nothing" : "a rule goes on where it should end");
            break;
        }
        root |= !strcmp(rule, "root");
        qn__ir_define(ir, rule, body);
    }
    if (!ir->err.code && !root)
        (void)qn__ir_fail(ir, QN_EFORMAT, "grammar", "there is no rule named root");
    if (!ir->err.code)
        qn__ir_root(ir, qn__ir_rule(ir, "root"));
    return qn__ir_check(ir, err);
}
