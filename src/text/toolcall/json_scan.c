/* json_scan.c - see json_scan.h. */
#include "text/toolcall/json_scan.h"

#include <string.h>

enum { VALUE, OBJECT, FIRST_VALUE, FIRST_KEY, KEY, COLON, AFTER, STRING, KEY_STRING, NUMBER, WORD };
/* Inside a number: behind '-', a first 0, digits, '.', its digits, 'e', its sign, its digits. */
enum { MINUS, ZERO, DIGITS, POINT, FRACTION, EXP, EXP_SIGN, EXP_DIGITS };

void qn__json_scan_init(qn_json_scan *s)
{
    memset(s, 0, sizeof *s);
    s->state = VALUE;
}

void qn__json_scan_init_object(qn_json_scan *s)
{
    qn__json_scan_init(s);
    s->state = OBJECT;
}

static bool in_object(const qn_json_scan *s)
{
    unsigned d = s->depth - 1u;
    return s->depth && (s->object[d / 64] >> (d % 64) & 1);
}

static void finished(qn_json_scan *s)
{
    s->in_string = false;
    s->state = AFTER;
    s->done = s->depth == 0;
}

static bool push(qn_json_scan *s, bool object)
{
    if (s->depth == QN_JSON_SCAN_DEPTH)
        return false;
    uint64_t bit = (uint64_t)1 << (s->depth % 64), *w = &s->object[s->depth / 64];
    *w = object ? *w | bit : *w & ~bit;
    s->depth++;
    s->state = object ? FIRST_KEY : FIRST_VALUE;
    return true;
}

static bool begin_value(qn_json_scan *s, char c)
{
    switch (c) {
    case '{': return push(s, true);
    case '[': return push(s, false);
    case '"':
        s->state = STRING;
        s->sub = 0;
        s->in_string = true;
        return true;
    case 't': s->word = "rue"; break;
    case 'f': s->word = "alse"; break;
    case 'n': s->word = "ull"; break;
    default:
        if (c != '-' && (c < '0' || c > '9'))
            return false;
        s->state = NUMBER;
        s->sub = c == '-' ? MINUS : c == '0' ? ZERO : DIGITS;
        return true;
    }
    s->state = WORD;
    return true;
}

/* sub: 0, 1 behind a backslash, 2..5 the hex digits still to come, plus one. */
static bool string_byte(qn_json_scan *s, char c)
{
    if (s->sub == 1) {
        if (!strchr("\"\\/bfnrtu", c) || !c)
            return false;
        s->sub = c == 'u' ? 5 : 0;
    } else if (s->sub) {
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
            return false;
        s->sub = s->sub == 2 ? 0 : (uint8_t)(s->sub - 1);
    } else if (c == '\\') {
        s->sub = 1;
    } else if (c == '"') {
        bool key = s->state == KEY_STRING;
        finished(s);
        if (key)
            s->state = COLON;
    }
    return true;
}

/* Whether c continues the number. */
static bool number_byte(qn_json_scan *s, char c)
{
    bool digit = c >= '0' && c <= '9';
    switch (s->sub) {
    case MINUS:
        s->sub = c == '0' ? ZERO : DIGITS;
        return digit;
    case DIGITS:
        if (digit)
            return true;
        /* fall through */
    case ZERO:
        s->sub = c == '.' ? POINT : EXP;
        return c == '.' || c == 'e' || c == 'E';
    case POINT: s->sub = FRACTION; return digit;
    case FRACTION:
        if (digit)
            return true;
        s->sub = EXP;
        return c == 'e' || c == 'E';
    case EXP:
        s->sub = digit ? EXP_DIGITS : EXP_SIGN;
        return digit || c == '+' || c == '-';
    default: s->sub = EXP_DIGITS; return digit;
    }
}

static bool number_may_end(uint8_t sub)
{
    return sub == ZERO || sub == DIGITS || sub == FRACTION || sub == EXP_DIGITS;
}

static bool structure(qn_json_scan *s, char c)
{
    bool object = in_object(s);
    if ((c == '}' && object && (s->state == AFTER || s->state == FIRST_KEY)) ||
        (c == ']' && !object && (s->state == AFTER || s->state == FIRST_VALUE) && s->depth)) {
        s->depth--;
        finished(s);
        return true;
    }
    switch (s->state) {
    case OBJECT: return c == '{' && push(s, true);
    case VALUE:
    case FIRST_VALUE: return begin_value(s, c);
    case FIRST_KEY:
    case KEY:
        s->state = KEY_STRING;
        s->sub = 0;
        s->in_string = true;
        return c == '"';
    case COLON: s->state = VALUE; return c == ':';
    default: s->state = object ? KEY : VALUE; return c == ',';
    }
}

size_t qn__json_scan(qn_json_scan *s, const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && !s->done && !s->bad) {
        char c = p[i];
        bool ok = true;
        if (s->state == STRING || s->state == KEY_STRING) {
            ok = string_byte(s, c);
        } else if (s->state == WORD) {
            ok = c == *s->word;
            if (ok && !*++s->word)
                finished(s);
        } else if (s->state == NUMBER) {
            uint8_t was = s->sub;
            if (!number_byte(s, c)) {
                s->bad = !number_may_end(was);
                if (!s->bad)
                    finished(s);
                continue; /* c is read again, as what follows */
            }
        } else if (c != ' ' && c != '\t' && c != '\n' && c != '\r') {
            ok = structure(s, c);
        }
        if (!ok) {
            s->bad = true;
            break;
        }
        i++;
    }
    return i;
}
