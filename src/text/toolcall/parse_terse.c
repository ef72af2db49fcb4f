/* parse_terse.c - arguments in Gemma's form: {key:<|"|>text<|"|>,list:[1,true],map:{a:None}}; they become JSON on the way. */
#include "text/toolcall/parse_int.h"

#include <string.h>

static const char quote[] = "<|\"|>";

enum { T_FIRST_KEY, T_KEY, T_FIRST_VALUE, T_VALUE, T_STRING, T_AFTER };

static bool in_object(const qn_parse *p)
{
    unsigned d = p->scan.depth - 1u;
    return p->scan.depth && (p->scan.object[d / 64] >> (d % 64) & 1);
}

static bool push(qn_parse *p, bool object)
{
    if (p->scan.depth == QN_JSON_SCAN_DEPTH)
        return false;
    uint64_t bit = (uint64_t)1 << (p->scan.depth % 64), *w = &p->scan.object[p->scan.depth / 64];
    *w = object ? *w | bit : *w & ~bit;
    p->scan.depth++;
    p->scan.state = object ? T_FIRST_KEY : T_FIRST_VALUE;
    return true;
}

void qn__parse_terse_begin(qn_parse *p)
{
    qn__json_scan_init(&p->scan);
    (void)push(p, true);
}

/* "name{" behind the opening. */
bool qn__parse_terse_head(const qn_parse *p, cursor *c, qn_slice *name)
{
    if (!qn__cur_lit(c, p->d->begin) || !qn__cur_lit(c, "call:"))
        return false;
    size_t from = c->i;
    while (c->i < c->n && c->p[c->i] != '{' && c->i - from < MAX_TOKEN)
        c->i++;
    *name = (qn_slice){c->p + from, c->i - from};
    c->more = c->i == c->n;
    return !c->more && qn__parse_name_ok(name->p, name->n) && qn__cur_exact(c, "{");
}

static parse_step emit(qn_parse *p, size_t n)
{
    p->failed |= p->value.failed;
    qn__parse_emit(p, QN_PART_ARGUMENTS, p->value.data, p->value.n);
    qn__parse_take(p, n, true);
    return STEP_AGAIN;
}

/* Each of these looks at c, behind white space: bytes used, 0 for more, SIZE_MAX for what it cannot be. */
static size_t key(qn_parse *p, cursor *c)
{
    bool quoted = qn__cur_exact(c, quote);
    if (!quoted && c->more)
        return 0;
    size_t from = c->i, to;
    while (c->i < c->n && !strchr(quoted ? "<" : ":,{}[]<\n", c->p[c->i]) && c->i - from < MAX_TOKEN)
        c->i++;
    to = c->i;
    if (c->i == c->n)
        return 0;
    if ((quoted && !qn__cur_exact(c, quote)) || !qn__cur_exact(c, ":"))
        return c->more ? 0 : SIZE_MAX;
    qn__buf_puts(&p->value, p->scan.state == T_KEY ? ", \"" : "\"");
    qn__parse_json_string(&p->value, c->p + from, to - from);
    qn__buf_puts(&p->value, "\": ");
    p->scan.state = T_VALUE;
    return c->i;
}

static size_t word(qn_parse *p, cursor *c)
{
    size_t from = c->i;
    while (c->i < c->n && !strchr(",}]\n", c->p[c->i]) && c->i - from < MAX_TOKEN)
        c->i++;
    if (c->i == c->n)
        return 0;
    if (c->i == from || c->i - from == MAX_TOKEN)
        return SIZE_MAX;
    p->types = QN_TYPE_ANY;
    qn__parse_loose_value(p, (qn_slice){c->p + from, c->i - from}, &p->value);
    p->scan.state = T_AFTER;
    return c->i;
}

static size_t value(qn_parse *p, cursor *c)
{
    char ch = c->p[c->i];
    if (ch == '{' || ch == '[') {
        qn__buf_putc(&p->value, ch);
        return push(p, ch == '{') ? c->i + 1 : SIZE_MAX;
    }
    if (qn__cur_exact(c, quote)) {
        qn__buf_putc(&p->value, '"');
        p->scan.state = T_STRING;
        return c->i;
    }
    return c->more ? 0 : word(p, c);
}

static size_t after(qn_parse *p, cursor *c)
{
    char ch = c->p[c->i];
    if (ch == ',') {
        if (!in_object(p))
            qn__buf_puts(&p->value, ", ");
        p->scan.state = in_object(p) ? T_KEY : T_VALUE;
        return c->i + 1;
    }
    if (ch != (in_object(p) ? '}' : ']'))
        return SIZE_MAX;
    qn__buf_putc(&p->value, ch);
    p->scan.depth--;
    p->scan.state = T_AFTER;
    return c->i + 1;
}

static parse_step string(qn_parse *p, bool final)
{
    cursor c = qn__cursor(p);
    for (size_t i = 0; i < c.n; i++) {
        cursor at = c;
        at.i = i;
        if (c.p[i] != '<' || (!qn__cur_exact(&at, quote) && (!at.more || final)))
            continue;
        qn__parse_json_string(&p->value, c.p, i);
        if (at.more) {
            (void)emit(p, i);
            return STEP_MORE;
        }
        qn__buf_putc(&p->value, '"');
        p->scan.state = T_AFTER;
        return emit(p, at.i);
    }
    qn__parse_json_string(&p->value, c.p, c.n);
    (void)emit(p, c.n);
    return STEP_MORE;
}

parse_step qn__parse_terse(qn_parse *p, bool final)
{
    cursor c = qn__cursor(p);
    size_t used;
    p->value.n = 0;
    if (p->scan.state == T_STRING)
        return string(p, final);
    qn__cur_space(&c);
    bool first = p->scan.state == T_FIRST_KEY || p->scan.state == T_FIRST_VALUE;
    if (c.more)
        used = 0;
    else if (p->scan.state == T_AFTER || (first && c.p[c.i] == (in_object(p) ? '}' : ']')))
        used = after(p, &c);
    else
        used = p->scan.state == T_FIRST_KEY || p->scan.state == T_KEY ? key(p, &c) : value(p, &c);
    if (used == SIZE_MAX) {
        qn__parse_to_text(p, false);
        p->call++;
        return STEP_AGAIN;
    }
    if (!used) {
        if (final)
            qn__parse_take(p, c.n, true); /* cut off */
        return STEP_MORE;
    }
    (void)emit(p, used);
    if (!p->scan.depth)
        p->state = S_TAIL;
    return STEP_AGAIN;
}
