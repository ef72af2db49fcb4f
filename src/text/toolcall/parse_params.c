/* parse_params.c - calls whose arguments stand between tags, as raw text: they become JSON on the way.
 *
 * A value may hold whatever looks like its own end. Its end counts only where something follows it that may follow: the opening of
 * another argument (one that the schema knows and that has not been given), or the end of the call. A value that the schema wants as a
 * string streams; any other is read when it is whole. */
#include "text/toolcall/parse_int.h"

#include <string.h>

bool qn__parse_params_head(qn_parse *p, cursor *c, qn_slice *name)
{
    const qn_dialect *d = p->d;
    bool opened = false;
    if (d->open) {
        opened = qn__cur_lit(c, d->open);
        if (!opened && c->more)
            return false;
    }
    if (!qn__cur_lit(c, d->begin))
        return false;
    size_t from = c->i;
    const char *stops = *d->mid ? d->mid : "\n<";
    size_t n_stops = *d->mid ? 1 : 2;
    while (c->i < c->n && !memchr(stops, c->p[c->i], n_stops) && c->i - from < MAX_TOKEN)
        c->i++;
    *name = (qn_slice){c->p + from, c->i - from};
    c->more = c->i == c->n;
    if (c->more && name->n && !qn__parse_name_ok(name->p, name->n))
        c->more = false;
    if (c->more || !qn__parse_name_ok(name->p, name->n))
        return false;
    p->opened = opened;
    return !*d->mid || qn__cur_lit(c, d->mid);
}

/* What an argument is opened with. */
typedef struct key_head {
    qn_slice key;
    int string; /* of dialects that say: 1 a string, 0 not; else -1 */
} key_head;

static bool key_head_at(const qn_parse *p, cursor *c, key_head *k)
{
    const qn_dialect *d = p->d;
    if (!qn__cur_lit(c, d->key_open))
        return false;
    size_t from = c->i;
    char stop = d->key_mid[0];
    while (c->i < c->n && c->p[c->i] != stop && c->p[c->i] != '\n' && c->i - from < MAX_TOKEN)
        c->i++;
    k->key = (qn_slice){c->p + from, c->i - from};
    k->string = -1;
    c->more = c->i == c->n;
    if (c->more || !k->key.n || !qn__cur_exact(c, d->key_mid))
        return false;
    if (d->typed) {
        cursor yes = *c, no = *c;
        bool y = qn__cur_lit(&yes, "string=\"true\">"), n = !y && qn__cur_lit(&no, "string=\"false\">");
        k->string = y;
        if (!y && !n) {
            c->more = yes.more || no.more;
            return false;
        }
        *c = y ? yes : no;
    }
    return !d->key_close || qn__cur_lit(c, d->key_close);
}

/* p->keys holds the keys given so far, each behind its length. */
static bool given(const qn_parse *p, qn_slice key)
{
    for (size_t i = 0; i < p->keys.n;) {
        uint16_t n;
        memcpy(&n, p->keys.data + i, sizeof n);
        if (n == key.n && memcmp(p->keys.data + i + sizeof n, key.p, n) == 0)
            return true;
        i += sizeof n + n;
    }
    return false;
}

static bool may_follow(const qn_parse *p, qn_slice key)
{
    bool known;
    (void)qn__tool_types(p->tool, key.p, key.n, &known);
    return (known || qn__tool_open_ended(p->tool)) && !given(p, key);
}

/* The end of the call, as it has to look for a value to have ended before it. */
static bool call_end_at(const qn_parse *p, cursor *c)
{
    const qn_dialect *d = p->d;
    if (!qn__cur_lit(c, d->end))
        return false;
    const char *const next[] = {d->end_more, d->close, d->begin};
    if (!p->opened || (!d->end_more && !d->close))
        return true;
    bool more = false;
    for (size_t i = 0; i < 3; i++) {
        cursor at = *c;
        if (next[i] && qn__cur_lit(&at, next[i]))
            return true;
        more |= next[i] && at.more;
    }
    c->more = more;
    return false;
}

parse_step qn__parse_key(qn_parse *p, bool final)
{
    cursor c = qn__cursor(p), end = c;
    key_head k;
    if (key_head_at(p, &c, &k) && !given(p, k.key)) {
        if (p->d->lines) {
            if (c.i == c.n && !final)
                return STEP_MORE;
            if (c.i < c.n && c.p[c.i] == '\n')
                c.i++;
        }
        bool known;
        p->types = qn__tool_types(p->tool, k.key.p, k.key.n, &known);
        if (k.string >= 0)
            p->types = k.string ? QN_TYPE_STRING : QN_TYPE_ANY & ~(unsigned)QN_TYPE_STRING;
        p->streaming = p->types == QN_TYPE_STRING;
        p->value.n = 0;
        qn__buf_puts(&p->value, p->keys.n ? ", \"" : "\"");
        qn__parse_json_string(&p->value, k.key.p, k.key.n);
        qn__buf_puts(&p->value, p->streaming ? "\": \"" : "\": ");
        uint16_t n = (uint16_t)k.key.n;
        qn__buf_put(&p->keys, &n, sizeof n);
        qn__buf_put(&p->keys, k.key.p, n);
        p->failed |= p->value.failed || p->keys.failed;
        qn__parse_emit(p, QN_PART_ARGUMENTS, p->value.data, p->value.n);
        qn__parse_take(p, c.i, true);
        p->value.n = 0;
        p->state = S_VALUE;
        return STEP_AGAIN;
    }
    if (qn__cur_lit(&end, p->d->end)) {
        qn__parse_emit(p, QN_PART_ARGUMENTS, "}", 1);
        qn__parse_take(p, end.i, true);
        p->state = S_TAIL;
        return STEP_AGAIN;
    }
    if ((c.more || end.more) && c.n <= MAX_HEAD) {
        if (final)
            qn__parse_take(p, c.n, true); /* cut off */
        return STEP_MORE;
    }
    qn__parse_to_text(p, false);
    p->call++;
    return STEP_AGAIN;
}

/* The same where a grammar held the output to the spelling: white space that differs does not end a value either. */
static bool exact_end_at(const qn_parse *p, cursor *c, bool final)
{
    const qn_written *w = &p->calls->written;
    key_head k;
    if (!qn__cur_exact(c, w->value_close))
        return false;
    cursor key = *c, end = *c, whole = *c;
    if (qn__cur_exact(&key, w->key_open) && key_head_at(p, &whole, &k) && may_follow(p, k.key))
        return true;
    if (qn__cur_exact(&end, p->d->end))
        return true;
    c->more = key.more || end.more || whole.more;
    return final && c->more;
}

/* Does the value end at c? Then c is behind its closing tag. */
static bool value_end_at(const qn_parse *p, cursor *c, bool final)
{
    if (p->calls->exact)
        return exact_end_at(p, c, final);
    if (p->d->lines && c->i < c->n && c->p[c->i] == '\n')
        c->i++;
    if (!qn__cur_exact(c, p->d->value_close))
        return false;
    cursor key = *c, end = *c;
    key_head k;
    if (key_head_at(p, &key, &k) && may_follow(p, k.key))
        return true;
    if (call_end_at(p, &end))
        return true;
    c->more = key.more || end.more;
    return final && c->more;
}

static qn_slice trimmed(qn_slice s)
{
    while (s.n && memchr(" \n\t\r", s.p[0], 4))
        s.p++, s.n--;
    while (s.n && memchr(" \n\t\r", s.p[s.n - 1], 4))
        s.n--;
    return s;
}

/* The type of the JSON value that s is from end to end; 0: it is none. */
static unsigned type_of_text(qn_slice s)
{
    qn_json_scan scan;
    qn__json_scan_init(&scan);
    size_t n = s.n ? qn__json_scan(&scan, s.p, s.n) : 0;
    if (n == s.n && n && !scan.done) /* a number ends with what follows */
        (void)qn__json_scan(&scan, " ", 1);
    if (!s.n || n != s.n || !scan.done)
        return 0;
    switch (s.p[0]) {
    case '"': return QN_TYPE_STRING;
    case '{': return QN_TYPE_OBJECT;
    case '[': return QN_TYPE_ARRAY;
    case 't':
    case 'f': return QN_TYPE_BOOLEAN;
    case 'n': return QN_TYPE_NULL;
    default: return QN_TYPE_NUMBER;
    }
}

void qn__parse_loose_value(qn_parse *p, qn_slice text, qn_buf *out)
{
    static const struct {
        const char *text, *json;
        unsigned type;
    } words[] = {{"True", "true", QN_TYPE_BOOLEAN}, {"False", "false", QN_TYPE_BOOLEAN}, {"None", "null", QN_TYPE_NULL}};
    qn_slice s = trimmed(text);
    for (size_t i = 0; i < 3; i++)
        if ((p->types & words[i].type) && s.n == strlen(words[i].text) && memcmp(s.p, words[i].text, s.n) == 0) {
            qn__buf_puts(out, words[i].json);
            return;
        }
    unsigned type = type_of_text(s);
    if (type && (!(p->types & QN_TYPE_STRING) || (p->types & type & ~(unsigned)QN_TYPE_STRING))) {
        qn_json_scan scan;
        qn__json_scan_init(&scan);
        qn__parse_json_clean(&scan, out, s.p, s.n);
    } else {
        qn__buf_putc(out, '"');
        qn__parse_json_string(out, text.p, text.n);
        qn__buf_putc(out, '"');
    }
}

/* n more bytes of the value. */
static void put_piece(qn_parse *p, size_t n)
{
    cursor c = qn__cursor(p);
    if (!p->streaming) {
        qn__buf_put(&p->value, c.p, n);
    } else if (n) {
        p->value.n = 0;
        qn__parse_json_string(&p->value, c.p, n);
        qn__parse_emit(p, QN_PART_ARGUMENTS, p->value.data, p->value.n);
    }
    p->failed |= p->value.failed;
    qn__parse_take(p, n, true);
}

parse_step qn__parse_value(qn_parse *p, bool final)
{
    cursor c = qn__cursor(p);
    char first = p->d->value_close[0];
    for (size_t i = 0; i < c.n; i++) {
        if (c.p[i] != first && !(p->d->lines && c.p[i] == '\n'))
            continue;
        cursor at = c;
        at.i = i;
        if (!value_end_at(p, &at, final)) {
            if (!at.more || final)
                continue;
            put_piece(p, i);
            return STEP_MORE;
        }
        size_t used = at.i - i;
        put_piece(p, i);
        qn_buf b = {0};
        if (p->streaming)
            qn__buf_putc(&b, '"');
        else
            qn__parse_loose_value(p, (qn_slice){p->value.data ? p->value.data : "", p->value.n}, &b);
        p->failed |= b.failed;
        if (!p->failed)
            qn__parse_emit(p, QN_PART_ARGUMENTS, b.data, b.n);
        qn__buf_free(&b);
        qn__parse_take(p, used, true);
        p->state = S_KEY;
        return STEP_AGAIN;
    }
    put_piece(p, c.n);
    return STEP_MORE;
}
