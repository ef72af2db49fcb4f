/* grammar_json.c - JSON's own pieces, see grammar_json.h.
 *
 * White space that is "any" is bounded to the forms that writers use: nothing, a space, or a line break and up to 40 spaces or
 * tabs; inside brackets, behind commas and behind colons. Numbers have at most 18 digits before and behind the point and an
 * exponent that a double can hold, so that what is read back is a number. */
#include <stdio.h>

#include "text/grammar_json.h"

/* Pieces by style (compact + 2 * any_space) where that matters, else under 0; 0: not made yet, otherwise the node + 1. */
enum { P_CHAR, P_QUOTE, P_STRING, P_NUMBER, P_INTEGER, P_SPACE, P_COMMA, P_COLON, P_OBJECT, P_ARRAY, P_VALUE, PIECES };

typedef struct pieces {
    qn_node at[4][PIECES];
} pieces;

void qn__ir_json_free(qn_ir *ir)
{
    qn_free(ir->json);
}

static int style_id(const qn_json_style *s)
{
    return s ? s->compact + 2 * s->any_space : 0;
}

/* A fresh reference to the piece's rule; *made: its body is there already. */
static qn_node piece(qn_ir *ir, int what, int style, bool *made, char name[32])
{
    pieces *p = ir->json;
    if (!p)
        p = ir->json = qn__calloc(1, sizeof *p);
    if (!p)
        return qn__ir_fail(ir, QN_ENOMEM, "grammar", "out of memory");
    (void)snprintf(name, 32, "\x01json %d.%d", what, style);
    *made = p->at[style][what] > 0;
    if (!*made) {
        qn_node n = qn__ir_rule(ir, name);
        if (n < 0)
            return -1;
        p->at[style][what] = n + 1;
    }
    return p->at[style][what] - 1;
}

static qn_node hex(qn_ir *ir)
{
    static const uint32_t r[][2] = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
    return qn__ir_class(ir, r, 3, false);
}

static qn_node chars(qn_ir *ir, const char *set)
{
    uint32_t r[32][2];
    size_t n = 0;
    for (; set[n]; n++)
        r[n][0] = r[n][1] = (unsigned char)set[n];
    return qn__ir_class(ir, (const uint32_t(*)[2])r, n, false);
}

qn_node qn__json_char(qn_ir *ir)
{
    bool made;
    char name[32];
    qn_node ref = piece(ir, P_CHAR, 0, &made, name);
    if (ref < 0 || made)
        return ref;
    static const uint32_t not_raw[][2] = {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}};
    qn_node raw = qn__ir_class(ir, not_raw, 3, true);
    qn_node x = hex(ir), two = QN_SEQ(ir, x, x);
    qn_node plain = QN_SEQ(ir, chars(ir, "0123456789ABCEFabcef"), x, two);
    qn_node below = QN_SEQ(ir, chars(ir, "Dd"), chars(ir, "01234567"), two);
    qn_node high = QN_SEQ(ir, chars(ir, "Dd"), chars(ir, "89ABab"), two);
    qn_node low = QN_SEQ(ir, qn__ir_puts(ir, "\\u"), chars(ir, "Dd"), chars(ir, "CDEFcdef"), two);
    qn_node u = QN_SEQ(ir, qn__ir_puts(ir, "u"), QN_ALT(ir, plain, below, QN_SEQ(ir, high, low)));
    qn_node escape = QN_SEQ(ir, qn__ir_puts(ir, "\\"), QN_ALT(ir, chars(ir, "\"\\/bfnrt"), u));
    qn__ir_define(ir, name, QN_ALT(ir, raw, escape));
    return ref;
}

/* The body of the rule itself: a repeat of it makes one automaton rather than a push per character. */
static qn_node char_body(qn_ir *ir)
{
    qn_node ref = qn__json_char(ir);
    return ref < 0 ? -1 : ir->rules[ir->nodes[ref].a].body;
}

qn_node qn__json_quote(qn_ir *ir)
{
    bool made;
    char name[32];
    qn_node ref = piece(ir, P_QUOTE, 0, &made, name);
    if (ref >= 0 && !made) /* an alternative, so that it stays a rule of its own when it is spelled */
        qn__ir_define(ir, name, QN_ALT(ir, qn__ir_puts(ir, "\""), qn__ir_puts(ir, "\"")));
    return ref;
}

qn_node qn__json_string(qn_ir *ir, uint32_t min, uint32_t max)
{
    bool made;
    char name[32];
    qn_node body = char_body(ir);
    if (body < 0)
        return -1;
    if (min == 0 && max == UINT32_MAX) {
        qn_node ref = piece(ir, P_STRING, 0, &made, name);
        if (ref >= 0 && !made)
            qn__ir_define(ir, name, QN_SEQ(ir, qn__ir_puts(ir, "\""), qn__ir_repeat(ir, body, 0, UINT32_MAX), qn__ir_puts(ir, "\"")));
        return ref;
    }
    (void)snprintf(name, sizeof name, "\x01str %u.%u", min, max);
    qn_node ref = qn__ir_rule(ir, name);
    if (ref >= 0 && ir->rules[ir->nodes[ref].a].body < 0)
        qn__ir_define(ir, name, QN_SEQ(ir, qn__ir_puts(ir, "\""), qn__ir_repeat(ir, body, min, max), qn__json_quote(ir)));
    return ref;
}

static qn_node digits(qn_ir *ir, uint32_t min, uint32_t max)
{
    static const uint32_t d[][2] = {{'0', '9'}};
    return qn__ir_repeat(ir, qn__ir_class(ir, d, 1, false), min, max);
}

static qn_node maybe(qn_ir *ir, qn_node n)
{
    return qn__ir_repeat(ir, n, 0, 1);
}

qn_node qn__json_integer(qn_ir *ir)
{
    bool made;
    char name[32];
    qn_node ref = piece(ir, P_INTEGER, 0, &made, name);
    if (ref < 0 || made)
        return ref;
    qn_node whole = QN_ALT(ir, qn__ir_puts(ir, "0"), QN_SEQ(ir, chars(ir, "123456789"), digits(ir, 0, 17)));
    qn__ir_define(ir, name, QN_SEQ(ir, maybe(ir, qn__ir_puts(ir, "-")), whole));
    return ref;
}

qn_node qn__json_number(qn_ir *ir)
{
    bool made;
    char name[32];
    qn_node ref = piece(ir, P_NUMBER, 0, &made, name);
    if (ref < 0 || made)
        return ref;
    qn_node one = digits(ir, 1, 1), e = chars(ir, "Ee"), plus = maybe(ir, qn__ir_puts(ir, "+"));
    qn_node fraction = maybe(ir, QN_SEQ(ir, qn__ir_puts(ir, "."), digits(ir, 1, 18)));
    qn_node down = QN_SEQ(ir, qn__ir_puts(ir, "-"), digits(ir, 1, 3));
    /* 18 digits times 10^289, or one digit times 10^307, are less than the largest double. */
    qn_node up = QN_ALT(ir, digits(ir, 1, 2), QN_SEQ(ir, qn__ir_puts(ir, "1"), digits(ir, 2, 2)),
                        QN_SEQ(ir, qn__ir_puts(ir, "2"), chars(ir, "012345678"), one));
    qn_node far = QN_ALT(ir, up, QN_SEQ(ir, qn__ir_puts(ir, "29"), one), QN_SEQ(ir, qn__ir_puts(ir, "30"), chars(ir, "01234567")));
    qn_node whole = QN_ALT(ir, qn__ir_puts(ir, "0"), QN_SEQ(ir, chars(ir, "123456789"), digits(ir, 0, 17)));
    qn_node many = QN_SEQ(ir, whole, fraction, maybe(ir, QN_SEQ(ir, e, QN_ALT(ir, down, QN_SEQ(ir, plus, up)))));
    qn_node single = QN_SEQ(ir, one, fraction, e, plus, far);
    qn__ir_define(ir, name, QN_SEQ(ir, maybe(ir, qn__ir_puts(ir, "-")), QN_ALT(ir, many, single)));
    return ref;
}

/* ---- what stands between ---- */

static qn_node space(qn_ir *ir)
{
    bool made;
    char name[32];
    qn_node ref = piece(ir, P_SPACE, 0, &made, name);
    if (ref < 0 || made)
        return ref;
    qn_node line = QN_SEQ(ir, maybe(ir, qn__ir_puts(ir, "\r")), qn__ir_puts(ir, "\n"), qn__ir_repeat(ir, chars(ir, " \t"), 0, 40));
    qn__ir_define(ir, name, QN_ALT(ir, qn__ir_seq(ir, NULL, 0), qn__ir_puts(ir, " "), line));
    return ref;
}

static qn_node body_of(const qn_ir *ir, qn_node ref)
{
    return ref < 0 ? -1 : ir->rules[ir->nodes[ref].a].body;
}

qn_node qn__json_inside(qn_ir *ir, const qn_json_style *s)
{
    return s && s->any_space ? body_of(ir, space(ir)) : qn__ir_seq(ir, NULL, 0);
}

qn_node qn__json_comma(qn_ir *ir, const qn_json_style *s)
{
    if (s && s->any_space)
        return QN_SEQ(ir, qn__ir_puts(ir, ","), body_of(ir, space(ir)));
    return qn__ir_puts(ir, s && s->compact ? "," : ", ");
}

qn_node qn__json_colon(qn_ir *ir, const qn_json_style *s)
{
    if (s && s->any_space)
        return QN_SEQ(ir, qn__ir_puts(ir, ":"), maybe(ir, qn__ir_puts(ir, " ")));
    return qn__ir_puts(ir, s && s->compact ? ":" : ": ");
}

/* ---- any value ---- */

static qn_node listing(qn_ir *ir, const qn_json_style *s, const char *brackets, qn_node one)
{
    const char open[2] = {brackets[0], 0}, close[2] = {brackets[1], 0};
    qn_node in = qn__json_inside(ir, s);
    qn_node more = qn__ir_repeat(ir, QN_SEQ(ir, qn__json_comma(ir, s), one), 0, UINT32_MAX);
    return QN_SEQ(ir, qn__ir_puts(ir, open), maybe(ir, QN_SEQ(ir, in, one, more)), in, qn__ir_puts(ir, close));
}

qn_node qn__json_object(qn_ir *ir, const qn_json_style *s)
{
    bool made;
    char name[32];
    qn_node ref = piece(ir, P_OBJECT, style_id(s), &made, name);
    if (ref >= 0 && !made)
        qn__ir_define(ir, name, listing(ir, s, "{}", QN_SEQ(ir, qn__json_string(ir, 0, UINT32_MAX), qn__json_colon(ir, s), qn__ir_json(ir, s))));
    return ref;
}

qn_node qn__json_array(qn_ir *ir, const qn_json_style *s)
{
    bool made;
    char name[32];
    qn_node ref = piece(ir, P_ARRAY, style_id(s), &made, name);
    if (ref >= 0 && !made)
        qn__ir_define(ir, name, listing(ir, s, "[]", qn__ir_json(ir, s)));
    return ref;
}

qn_node qn__ir_json(qn_ir *ir, const qn_json_style *s)
{
    bool made;
    char name[32];
    qn_node ref = piece(ir, P_VALUE, style_id(s), &made, name);
    if (ref < 0 || made)
        return ref;
    qn__ir_define(ir, name,
                  QN_ALT(ir, qn__json_object(ir, s), qn__json_array(ir, s), qn__json_string(ir, 0, UINT32_MAX), qn__json_number(ir),
                         qn__ir_puts(ir, "true"), qn__ir_puts(ir, "false"), qn__ir_puts(ir, "null")));
    return ref;
}
