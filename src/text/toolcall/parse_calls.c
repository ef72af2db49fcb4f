/* parse_calls.c - calls whose arguments are JSON: their head, the arguments as they stream, their tail, and what follows.
 *
 * A head is read anew with each piece of output until it ends, is seen not to be one, or is longer than MAX_HEAD: what is not a call
 * comes out as text. Once CALL is out there is no way back: what then turns out not to be JSON ends the call without CALL_END. */
#include "text/toolcall/parse_int.h"

#include <string.h>

typedef struct head {
    qn_slice name, id, args; /* args.p: complete already, because they came before the name */
    bool no_args;            /* the object has ended without any */
} head;

static bool is(qn_slice s, const char *const *names)
{
    for (; *names; names++)
        if (strlen(*names) == s.n && memcmp(*names, s.p, s.n) == 0)
            return true;
    return false;
}

static const char *const name_keys[] = {"name", "tool_name", "function", NULL};
static const char *const args_keys[] = {"arguments", "parameters", "args", "input", NULL};
static const char *const id_keys[] = {"id", "tool_call_id", NULL};

/* Optional literal; false when the bytes end before that can be told. */
static bool optional(cursor *c, const char *s, bool *got)
{
    bool there = s && *s && qn__cur_lit(c, s);
    if (got)
        *got |= there;
    return there || !s || !*s || !c->more;
}

static bool one(cursor *c, char ch)
{
    qn__cur_space(c);
    if (c->more || c->p[c->i] != ch)
        return false;
    c->i++;
    return true;
}

/* The members of an object up to its arguments: false: not a head, or not yet. */
static bool object_members(cursor *c, head *h)
{
    for (bool first = true;; first = false) {
        qn_slice key, value;
        qn__cur_space(c);
        if (c->more)
            return false;
        if (c->p[c->i] == '}') {
            c->i++;
            h->no_args = true;
            return h->name.p != NULL;
        }
        if (!first && !one(c, ','))
            return false;
        qn__cur_space(c);
        if (c->more || !qn__cur_string(c, &key) || !one(c, ':'))
            return false;
        qn__cur_space(c);
        if (c->more)
            return false;
        bool args = is(key, args_keys);
        if (args && h->name.p && c->p[c->i] == '{')
            return true;
        if (!h->name.p && is(key, name_keys)) {
            if (!qn__cur_string(c, &h->name) || !qn__parse_name_ok(h->name.p, h->name.n))
                return false;
            continue;
        }
        if (!qn__cur_value(c, &value))
            return false;
        if (args)
            h->args = value;
        else if (is(key, id_keys) && value.n > 2 && value.p[0] == '"')
            h->id = (qn_slice){value.p + 1, value.n - 2};
    }
}

static bool head_object(const qn_parse *p, cursor *c, head *h)
{
    const qn_dialect *d = p->d;
    bool other = false, opened = false;
    if (!p->in_section) {
        if (d->other && !optional(c, d->other, &other))
            return false;
        if (!other && d->open && !optional(c, d->open, &opened))
            return false;
        if (d->open && !other && !opened)
            return false;
        if (d->array && !optional(c, "[", NULL))
            return false;
    }
    if (d->begin && !other && !qn__cur_lit(c, d->begin))
        return false;
    if (!one(c, '{'))
        return false;
    if (!d->name_is_key)
        return object_members(c, h);
    qn__cur_space(c);
    if (c->more || !qn__cur_string(c, &h->name) || !qn__parse_name_ok(h->name.p, h->name.n) || !one(c, ':'))
        return false;
    qn__cur_space(c);
    return !c->more && c->p[c->i] == '{';
}

/* What stands for the name, up to the marker behind it. */
static bool name_token(cursor *c, const char *mid, qn_slice *out)
{
    size_t from = c->i;
    for (; c->i < c->n && c->i - from < MAX_TOKEN; c->i++) {
        cursor probe = *c;
        if (c->p[c->i] == '{' || (mid && *mid && qn__cur_exact(&probe, mid))) {
            while (from < c->i && (c->p[from] == ' ' || c->p[from] == '\n'))
                from++;
            size_t n = c->i - from;
            while (n && (c->p[from + n - 1] == ' ' || c->p[from + n - 1] == '\n'))
                n--;
            *out = (qn_slice){c->p + from, n};
            return true;
        }
        if (mid && *mid && probe.more) {
            c->more = true;
            return false;
        }
    }
    c->more = c->i == c->n;
    return false;
}

/* A token takes the id with it in some dialects. */
static void split_token(const qn_parse *p, qn_slice token, head *h)
{
    const char *id = memmem(token.p, token.n, "[CALL_ID]", 9);
    h->name = token;
    if (id) {
        h->name.n = (size_t)(id - token.p);
        h->id = (qn_slice){id + 9, token.n - h->name.n - 9};
    }
    if (p->d->id == QN_ID_KIMI) {
        h->id = token;
        if (token.n > 10 && memcmp(token.p, "functions.", 10) == 0)
            h->name = (qn_slice){token.p + 10, token.n - 10};
        size_t n = h->name.n;
        while (n && h->name.p[n - 1] >= '0' && h->name.p[n - 1] <= '9')
            n--;
        if (n > 1 && n < h->name.n && h->name.p[n - 1] == ':')
            h->name.n = n - 1;
    }
}

static bool head_named(const qn_parse *p, cursor *c, head *h)
{
    const qn_dialect *d = p->d;
    qn_slice token;
    if (!optional(c, d->open, NULL) || !qn__cur_lit(c, d->begin) || !name_token(c, d->mid, &token))
        return false;
    split_token(p, token, h);
    if (!qn__parse_name_ok(h->name.p, h->name.n)) {
        c->more = false;
        return false;
    }
    if (!optional(c, d->mid, NULL))
        return false;
    qn__cur_space(c);
    return !c->more && c->p[c->i] == '{';
}

/* Arguments that came as one value: an object, or a string that spells one. */
static bool whole_args(qn_parse *p, qn_slice v)
{
    json_t *j = json_loadb(v.p, v.n, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL), *inner = NULL;
    p->value.n = 0;
    if (json_is_object(j)) {
        qn__buf_put(&p->value, v.p, v.n);
    } else if (json_is_string(j)) {
        inner = json_loadb(json_string_value(j), json_string_length(j), JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
        if (json_is_object(inner))
            qn__buf_put(&p->value, json_string_value(j), json_string_length(j));
    } else if (json_is_null(j)) {
        qn__buf_puts(&p->value, "{}");
    }
    bool ok = json_is_object(j) || json_is_object(inner) || json_is_null(j);
    json_decref(j);
    json_decref(inner);
    return ok;
}

static void keep(qn_buf *b, qn_slice s)
{
    b->n = 0;
    qn__buf_put(b, s.p ? s.p : "", s.n);
}

/* Its first character is text; what follows is looked at again. */
static parse_step not_a_call(qn_parse *p)
{
    cursor c = qn__cursor(p);
    p->spoken = true;
    qn__parse_emit(p, QN_PART_TEXT, p->skipped.data, p->skipped.n);
    qn__parse_emit(p, QN_PART_TEXT, c.p, c.n ? 1 : 0);
    p->skipped.n = 0;
    qn__parse_take(p, c.n ? 1 : 0, false);
    qn__parse_to_text(p, false);
    return STEP_AGAIN;
}

parse_step qn__parse_head(qn_parse *p, bool final)
{
    cursor c = qn__cursor(p);
    head h = {0};
    /* A long head is not read anew for each byte. */
    if (!final && c.n <= MAX_HEAD && p->head_tried > 512 && c.n < p->head_tried + p->head_tried / 16)
        return STEP_MORE;
    p->head_tried = c.n;
    bool ok = p->d->form == QN_FORM_OBJECT  ? head_object(p, &c, &h)
              : p->d->form == QN_FORM_NAMED ? head_named(p, &c, &h)
              : p->d->form == QN_FORM_TERSE ? qn__parse_terse_head(p, &c, &h.name)
                                            : qn__parse_params_head(p, &c, &h.name);
    if (!ok && c.more && !final && c.n <= MAX_HEAD)
        return STEP_MORE;
    ok = ok && c.i <= MAX_HEAD;
    if (ok && p->d->bare && !qn__calls_find(p->calls, h.name.p, h.name.n))
        ok = false;
    if (ok && h.args.p && !whole_args(p, h.args))
        ok = false;
    if (ok && h.no_args && !h.args.p) {
        p->value.n = 0;
        qn__buf_puts(&p->value, "{}");
    }
    if (!ok)
        return not_a_call(p);
    p->tool = qn__calls_find(p->calls, h.name.p, h.name.n);
    keep(&p->name, h.name);
    p->has_id = h.id.n && p->d->id != QN_ID_INDEX && p->d->id != QN_ID_NONE;
    keep(&p->id, h.id);
    qn__parse_take(p, c.i, true);
    qn__parse_begin_call(p);
    qn__json_scan_init_object(&p->scan);
    p->object_closed = h.no_args;
    p->state = S_ARGS;
    if (h.no_args) {
        qn__parse_emit(p, QN_PART_ARGUMENTS, p->value.data, p->value.n);
        p->state = S_TAIL;
    }
    if (p->d->form == QN_FORM_TERSE) {
        qn__parse_emit(p, QN_PART_ARGUMENTS, "{", 1);
        qn__parse_terse_begin(p);
        p->state = S_TERSE;
    }
    if (p->d->form == QN_FORM_PARAMS) {
        qn__parse_emit(p, QN_PART_ARGUMENTS, "{", 1);
        p->keys.n = 0;
        p->state = S_KEY;
    }
    return STEP_AGAIN;
}

/* Control characters outside of strings are white space and go as they are: whether inside, the scan tells. */
void qn__parse_json_clean(qn_json_scan *scan, qn_buf *out, const char *s, size_t n)
{
    size_t from = 0;
    for (size_t i = 0; i <= n; i++) {
        if (i < n && (unsigned char)s[i] >= 0x20)
            continue;
        qn__buf_put(out, s + from, qn__json_scan(scan, s + from, i - from));
        if (i < n && scan->in_string)
            qn__parse_json_string(out, s + i, 1);
        else if (i < n)
            qn__buf_putc(out, s[i]);
        if (i < n)
            (void)qn__json_scan(scan, s + i, 1);
        from = i + 1;
    }
}

parse_step qn__parse_args(qn_parse *p, bool final)
{
    cursor c = qn__cursor(p);
    qn_json_scan before = p->scan;
    (void)final;
    if (!c.n)
        return STEP_MORE;
    size_t used = qn__json_scan(&p->scan, c.p, c.n);
    p->value.n = 0;
    qn__parse_json_clean(&before, &p->value, c.p, used);
    p->failed |= p->value.failed;
    qn__parse_emit(p, QN_PART_ARGUMENTS, p->value.data, p->value.n);
    qn__parse_take(p, used, true);
    if (p->scan.bad) {
        qn__parse_to_text(p, false);
        p->call++;
        return STEP_AGAIN;
    }
    if (p->scan.done) {
        p->state = p->d->form == QN_FORM_CHANNELS || p->d->form == QN_FORM_RECIPIENT ? S_BODY : S_TAIL;
        return STEP_AGAIN;
    }
    return STEP_MORE;
}

/* The rest of the object: members behind the arguments. */
static bool tail_object(cursor *c, qn_slice *id)
{
    for (;;) {
        qn_slice key, value;
        qn__cur_space(c);
        if (c->more)
            return false;
        if (c->p[c->i] == '}') {
            c->i++;
            return true;
        }
        if (!one(c, ','))
            return false;
        qn__cur_space(c);
        if (c->more || !qn__cur_string(c, &key) || !one(c, ':'))
            return false;
        qn__cur_space(c);
        if (c->more || !qn__cur_value(c, &value))
            return false;
        if (is(key, id_keys) && value.n > 2 && value.p[0] == '"')
            *id = (qn_slice){value.p + 1, value.n - 2};
    }
}

parse_step qn__parse_tail(qn_parse *p, bool final)
{
    cursor c = qn__cursor(p);
    qn_slice id = {0};
    if (p->d->form == QN_FORM_OBJECT && !p->object_closed) {
        if (!tail_object(&c, &id) || c.i > MAX_HEAD) {
            if (c.more && c.n <= MAX_HEAD) {
                if (final)
                    qn__parse_take(p, c.n, true); /* cut off */
                return STEP_MORE;
            }
            qn__parse_to_text(p, false);
            p->call++;
            return STEP_AGAIN;
        }
    }
    size_t whole = c.i;
    const char *const ends[] = {p->d->form == QN_FORM_PARAMS ? NULL : p->d->end, p->d->end_more};
    for (size_t i = 0; i < 2; i++) {
        if (!ends[i])
            continue;
        if (qn__cur_lit(&c, ends[i]))
            whole = c.i;
        else if (c.more && !final)
            return STEP_MORE;
        else
            c.i = c.more ? c.n : whole;
    }
    if (id.n && !p->has_id && p->d->id != QN_ID_INDEX && p->d->id != QN_ID_NONE) {
        keep(&p->id, id);
        p->has_id = true;
    }
    qn__parse_take(p, final && c.more ? c.n : whole, true);
    qn__parse_end_call(p);
    p->state = S_AFTER;
    return STEP_AGAIN;
}

parse_step qn__parse_after(qn_parse *p, bool final)
{
    cursor c = qn__cursor(p);
    const qn_dialect *d = p->d;
    qn__cur_space(&c);
    if (c.more && !final)
        return STEP_MORE;
    if (d->array && d->form == QN_FORM_OBJECT && !c.more) {
        if (c.p[c.i] == ',') {
            cursor next = c;
            next.i++;
            qn__cur_space(&next);
            if (next.more && !final)
                return STEP_MORE;
            if (!next.more && next.p[next.i] == '{') {
                p->skipped.n = 0;
                qn__parse_skip(p, next.i);
                p->in_section = true;
                p->state = S_HEAD;
                return STEP_AGAIN;
            }
        }
        if (c.p[c.i] == ']')
            c.i++;
    }
    if (d->close) {
        cursor at = c;
        if (qn__cur_lit(&at, d->close))
            c = at;
        else if (at.more && !final)
            return STEP_MORE;
        else if (at.more)
            c.i = c.n;
    }
    qn__parse_take(p, c.i, false);
    qn__parse_to_text(p, true);
    return STEP_AGAIN;
}
