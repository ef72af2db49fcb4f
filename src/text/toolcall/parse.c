/* parse.c - text, reasoning, and where a call may begin. See parse.h and parse_int.h. */
#include "text/toolcall/parse_int.h"

#include <string.h>

#include "base/err.h"

/* ---- what is pending ---- */

cursor qn__cursor(const qn_parse *p)
{
    return (cursor){.p = p->in.data ? p->in.data + p->at : "", .n = p->in.n - p->at};
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

void qn__cur_space(cursor *c)
{
    while (c->i < c->n && is_space(c->p[c->i]))
        c->i++;
    c->more = c->i == c->n;
}

bool qn__cur_exact(cursor *c, const char *s)
{
    size_t n = strlen(s), have = c->n - c->i, k = have < n ? have : n;
    if (memcmp(c->p + c->i, s, k) != 0) {
        c->more = false;
        return false;
    }
    c->more = k < n;
    if (k == n)
        c->i += n;
    return k == n;
}

bool qn__cur_lit(cursor *c, const char *s)
{
    size_t from = c->i;
    while (*s) {
        char piece[96];
        size_t n = strcspn(s, " \n\t");
        if (!n) {
            s++;
            continue;
        }
        if (n >= sizeof piece)
            return false;
        memcpy(piece, s, n);
        piece[n] = 0;
        s += n;
        qn__cur_space(c);
        if (c->more || !qn__cur_exact(c, piece)) {
            c->i = from;
            return false;
        }
    }
    c->more = false;
    return true;
}

bool qn__cur_string(cursor *c, qn_slice *out)
{
    if (!qn__cur_exact(c, "\""))
        return false;
    size_t from = c->i;
    for (; c->i < c->n; c->i++) {
        if (c->p[c->i] == '"') {
            *out = (qn_slice){c->p + from, c->i++ - from};
            return true;
        }
        if (c->p[c->i] == '\\')
            c->i++;
    }
    c->i = c->n;
    c->more = true;
    return false;
}

bool qn__cur_value(cursor *c, qn_slice *out)
{
    qn_json_scan s;
    qn__json_scan_init(&s);
    size_t used = qn__json_scan(&s, c->p + c->i, c->n - c->i);
    *out = (qn_slice){c->p + c->i, used};
    c->i += used;
    c->more = !s.done && !s.bad;
    return s.done;
}

void qn__parse_take(qn_parse *p, size_t n, bool raw)
{
    if (raw)
        qn__buf_put(&p->raw, p->in.data + p->at, n);
    p->failed |= p->raw.failed;
    p->at += n;
    p->head_tried = 0;
}

void qn__parse_skip(qn_parse *p, size_t n)
{
    qn__buf_put(&p->skipped, p->in.data + p->at, n);
    p->failed |= p->skipped.failed;
    qn__parse_take(p, n, false);
}

void qn__parse_emit(qn_parse *p, qn_part_kind kind, const char *text, size_t n)
{
    if (n && !p->failed)
        p->part(p->arg, &(qn_part){.kind = kind, .call = p->call, .text = text, .n = n});
}

void qn__parse_begin_call(qn_parse *p)
{
    p->failed |= p->name.failed || p->id.failed;
    p->spoken = true;
    if (!p->failed)
        p->part(p->arg, &(qn_part){.kind = QN_PART_CALL,
                                   .call = p->call,
                                   .name = p->name.data,
                                   .id = p->has_id ? p->id.data : NULL});
}

void qn__parse_end_call(qn_parse *p)
{
    if (!p->failed)
        p->part(p->arg, &(qn_part){.kind = QN_PART_CALL_END,
                                   .call = p->call,
                                   .name = p->name.data,
                                   .id = p->has_id ? p->id.data : NULL,
                                   .text = p->raw.data,
                                   .n = p->raw.n});
    p->call++;
    p->raw.n = 0;
}

void qn__parse_to_text(qn_parse *p, bool after)
{
    p->state = S_TEXT;
    p->blank = after;
    p->after = after;
    p->in_section = false;
    p->raw.n = 0;
    p->head_tried = 0;
}

void qn__parse_json_string(qn_buf *b, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char ch = (unsigned char)p[i];
        const char *short_form = "\b\f\n\r\t", *at = ch ? strchr(short_form, ch) : NULL;
        if (ch == '"' || ch == '\\')
            qn__buf_printf(b, "\\%c", ch);
        else if (at)
            qn__buf_printf(b, "\\%c", "bfnrt"[at - short_form]);
        else if (ch < 0x20)
            qn__buf_printf(b, "\\u%04x", ch);
        else
            qn__buf_putc(b, (char)ch);
    }
}

bool qn__parse_name_ok(const char *p, size_t n)
{
    if (!n || n >= MAX_TOKEN) /* so long it was cut, maybe inside a character */
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] <= ' ' || strchr("\"'<>{}[]\\`,;()", p[i]))
            return false;
    return true;
}

/* ---- markers ---- */

static void add_mark(qn_parse *p, mark_kind kind, const char *lead, const char *text, bool anywhere, size_t think)
{
    size_t a = lead ? strlen(lead) : 0, n = text ? strcspn(text, "\n") : 0;
    if (kind == M_CALL || kind == M_THINK)
        n = text ? strlen(text) : 0;
    if (kind == M_CALL && text && strchr(text + strspn(text, "\n"), '\n')) /* only the first line is certain */
        n = (size_t)(strchr(text + strspn(text, "\n"), '\n') - text);
    parse_mark *m = &p->marks[p->n_marks];
    if (!n || p->n_marks == MAX_MARKS || a + n >= sizeof m->text)
        return;
    if (a)
        memcpy(m->text, lead, a);
    memcpy(m->text + a, text, n);
    m->n = (uint8_t)(a + n);
    m->lead = (uint8_t)a;
    m->kind = kind;
    m->anywhere = anywhere;
    m->think = (uint8_t)think;
    p->n_marks++;
}

static void add_marks(qn_parse *p)
{
    const qn_dialect *d = p->calls && p->calls->n_tools ? p->d : NULL;
    if (d && d->form != QN_FORM_CHANNELS && d->form != QN_FORM_RECIPIENT) {
        const char *const openings[] = {d->open, d->begin, d->other};
        for (size_t i = 0; i < 3; i++) {
            const char *lead = p->calls->written.lead;
            if (lead && *lead && openings[i])
                add_mark(p, M_CALL, lead, openings[i], true, 0);
            add_mark(p, M_CALL, "", openings[i], true, 0);
        }
    }
    for (size_t i = 0; i < p->n_thinking; i++) {
        add_mark(p, M_THINK, "", p->thinking[i].open, p->thinking[i].anywhere, i);
        if (strcmp(p->thinking[i].close, "<|END_THINKING|>") == 0) {
            static const char *const text_marks[] = {"<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"};
            for (size_t k = 0; k < 4; k++)
                add_mark(p, M_DROP, "", text_marks[k], true, 0);
        }
        if (p->thinking[i].close[0] == '[' && p->thinking[i].close[1] == 'B')
            add_mark(p, M_DROP, "", "[END FINAL RESPONSE]", true, 0);
    }
}

/* Which marker stands at b: YES 1, NO 0, and -1 when the bytes end before that can be told. */
static int mark_at(const qn_parse *p, const char *b, size_t n, bool border, const parse_mark **out)
{
    bool more = false;
    const parse_mark *best = NULL;
    for (size_t i = 0; i < p->n_marks; i++) {
        const parse_mark *m = &p->marks[i];
        if (!border && !m->anywhere)
            continue;
        size_t k = n < m->n ? n : m->n;
        if (m->text[0] != b[0] || memcmp(m->text, b, k) != 0)
            continue;
        if (k < m->n)
            more = true;
        else if (!best || m->n > best->n)
            best = m;
    }
    *out = best;
    return best ? 1 : more ? -1 : 0;
}

static void begin_mark(qn_parse *p, const parse_mark *m)
{
    switch (m->kind) {
    case M_THINK:
        qn__parse_take(p, m->n, false);
        p->state = S_REASON;
        p->think_close = p->thinking[m->think].close;
        p->think_begun = false;
        break;
    case M_CALL:
        qn__parse_skip(p, m->lead);
        p->state = S_HEAD;
        p->in_section = false;
        p->raw.n = 0;
        break;
    case M_DROP:
        qn__parse_take(p, m->n, false);
        p->blank = true;
        p->after = false;
        break;
    }
}

static void emit_text(qn_parse *p, size_t n)
{
    if (n) {
        p->spoken = true;
        qn__parse_emit(p, QN_PART_TEXT, p->in.data + p->at, n);
    }
    qn__parse_take(p, n, false);
}

/* At a border: white space, then a marker, or text. */
static parse_step text_border(qn_parse *p, bool final)
{
    cursor c = qn__cursor(p);
    const parse_mark *m = NULL;
    while (c.i < c.n && c.i < MAX_BLANK && is_space(c.p[c.i]))
        c.i++;
    if (c.i == c.n && !final && c.n < MAX_BLANK)
        return STEP_MORE;
    p->skipped.n = 0;
    /* White space is part of some markers. */
    for (size_t i = 0; i < c.n && i <= c.i && i < MAX_BLANK; i++) {
        int r = mark_at(p, c.p + i, c.n - i, true, &m);
        if (r < 0 && !final)
            return STEP_MORE;
        if (r > 0) {
            qn__parse_skip(p, i);
            begin_mark(p, m);
            return STEP_AGAIN;
        }
    }
    if (c.i < MAX_BLANK && c.i < c.n && p->d && p->d->bare && p->calls && p->calls->n_tools && !p->spoken && c.p[c.i] == '{') {
        p->spoken = true; /* there is no second try */
        p->state = S_HEAD;
        p->in_section = false;
        return STEP_AGAIN;
    }
    p->blank = false;
    if (p->after) {
        size_t k = 0;
        while (k < c.i && (c.p[k] == '\n' || c.p[k] == '\r'))
            k++;
        if (c.i == c.n)
            k = c.n;
        qn__parse_take(p, k, false);
    }
    return STEP_AGAIN;
}

/* An answer of a given form: all of it is text, but for what frames it at its very end. */
static parse_step answer_step(qn_parse *p, bool final)
{
    cursor c = qn__cursor(p);
    for (size_t i = 0; i < c.n; i++) {
        const parse_mark *m = NULL;
        int r = mark_at(p, c.p + i, c.n - i, false, &m);
        bool frame = r < 0 || (r > 0 && m->kind == M_DROP && i + m->n == c.n);
        if (!frame || (r < 0 && final))
            continue;
        emit_text(p, i);
        if (final)
            qn__parse_take(p, c.n - i, false);
        return STEP_MORE;
    }
    emit_text(p, c.n);
    return STEP_MORE;
}

static parse_step text_step(qn_parse *p, bool final)
{
    cursor c = qn__cursor(p);
    const parse_mark *m = NULL;
    if (!c.n)
        return STEP_MORE;
    if (p->blank)
        return text_border(p, final);
    if (p->calls && p->calls->answer && !p->call)
        return answer_step(p, final);
    for (size_t i = 0; i < c.n; i++) {
        int r = mark_at(p, c.p + i, c.n - i, false, &m);
        if (r == 0 || (r < 0 && final))
            continue;
        emit_text(p, i);
        if (r < 0)
            return STEP_MORE;
        p->skipped.n = 0;
        begin_mark(p, m);
        return STEP_AGAIN;
    }
    emit_text(p, c.n);
    return STEP_MORE;
}

/* Line breaks around reasoning belong to its markers. A call whose opening is a control token ends it, too: some models
 * forget to, unless a grammar makes them. */
static parse_step reason_step(qn_parse *p, bool final)
{
    cursor c = qn__cursor(p);
    size_t n_close = strlen(p->think_close), breaks = 0, i = 0;
    if (!p->think_begun) {
        while (i < c.n && (c.p[i] == '\n' || c.p[i] == '\r'))
            i++;
        qn__parse_take(p, i, false);
        c = qn__cursor(p);
        if (!c.n)
            return STEP_MORE;
        p->think_begun = true;
    }
    for (i = 0; i < c.n; i++) {
        size_t k = c.n - i < n_close ? c.n - i : n_close;
        const parse_mark *m = NULL;
        bool close = memcmp(c.p + i, p->think_close, k) == 0;
        int r = close && k == n_close ? 1 : close ? -1 : 0;
        if (!r && !(p->calls && p->calls->exact) && (c.p[i] == '<' || c.p[i] == '[')) {
            r = mark_at(p, c.p + i, c.n - i, false, &m);
            if ((m && (m->kind != M_CALL || (m->text[1] != '|' && m->text[0] != '[' && strncmp(m->text, "<｜", 4) != 0))))
                r = 0, m = NULL;
        }
        if (r < 0 && final)
            r = 0;
        if (r) {
            qn__parse_emit(p, QN_PART_REASONING, c.p, i - breaks);
            qn__parse_take(p, r > 0 ? i : i - breaks, false);
            if (r < 0)
                return STEP_MORE;
            if (m) {
                p->skipped.n = 0;
                begin_mark(p, m);
            } else {
                qn__parse_take(p, n_close, false);
                qn__parse_to_text(p, true);
            }
            return STEP_AGAIN;
        }
        breaks = c.p[i] == '\n' || c.p[i] == '\r' ? breaks + 1 : 0;
        breaks = breaks < MAX_BLANK ? breaks : 0;
    }
    qn__parse_emit(p, QN_PART_REASONING, c.p, c.n - breaks);
    qn__parse_take(p, final ? c.n : c.n - breaks, false);
    return STEP_MORE;
}

/* ---- the machine ---- */

static void run(qn_parse *p, bool final)
{
    parse_step s = STEP_AGAIN;
    while (s == STEP_AGAIN && !p->failed) {
        switch (p->state) {
        case S_TEXT: s = text_step(p, final); break;
        case S_REASON: s = reason_step(p, final); break;
        case S_HEAD: s = qn__parse_head(p, final); break;
        case S_ARGS: s = qn__parse_args(p, final); break;
        case S_TAIL: s = qn__parse_tail(p, final); break;
        case S_AFTER: s = qn__parse_after(p, final); break;
        case S_KEY: s = qn__parse_key(p, final); break;
        case S_VALUE: s = qn__parse_value(p, final); break;
        case S_TERSE: s = qn__parse_terse(p, final); break;
        case S_CHANNEL: s = qn__parse_channel(p, final); break;
        case S_BODY: s = qn__parse_body(p, final); break;
        }
    }
    if (p->at && p->in.data) {
        memmove(p->in.data, p->in.data + p->at, p->in.n - p->at);
        p->in.n -= p->at;
        p->at = 0;
    }
}

/* Whole characters go in; bytes that are none become U+FFFD, so that every part is text. */
static void put_bytes(qn_parse *p, const char *text, size_t n, bool final)
{
    size_t i = 0, run;
    int32_t cp;
    while (p->n_held && (i < n || final)) {
        char one[4];
        size_t have = p->n_held;
        memcpy(one, p->held, have);
        while (have < 4 && i < n && qn__utf8_incomplete(one, have) == have)
            one[have++] = text[i++];
        if (!final && i == n && have < 4 && qn__utf8_incomplete(one, have) == have) {
            memcpy(p->held, one, have);
            p->n_held = (uint8_t)have;
            return;
        }
        size_t used = qn__utf8_decode(one, have, &cp);
        if (cp < 0)
            qn__buf_puts(&p->in, "\xef\xbf\xbd");
        else
            qn__buf_put(&p->in, one, used);
        p->n_held = (uint8_t)(have - used); /* what followed is looked at again */
        memcpy(p->held, one + used, have - used);
    }
    for (run = i; i < n;) {
        size_t used = qn__utf8_decode(text + i, n - i, &cp);
        if (cp >= 0) {
            i += used;
            continue;
        }
        qn__buf_put(&p->in, text + run, i - run);
        if (!final && qn__utf8_incomplete(text + i, n - i) == n - i) {
            p->n_held = (uint8_t)(n - i);
            memcpy(p->held, text + i, n - i);
            p->failed |= p->in.failed;
            return;
        }
        qn__buf_puts(&p->in, "\xef\xbf\xbd");
        i += used;
        run = i;
    }
    qn__buf_put(&p->in, text + run, i - run);
    p->failed |= p->in.failed;
}

static qn_status put(qn_parse *p, const char *text, size_t n, bool final, qn_part_fn *part, void *arg, qn_err *err)
{
    p->part = part;
    p->arg = arg;
    if (!p->failed) {
        put_bytes(p, text, n, final);
        run(p, final);
    }
    return p->failed ? qn__fail_mem(err, "reply") : QN_OK;
}

qn_status qn__parse_put(qn_parse *p, const char *text, size_t n, qn_part_fn *part, void *arg, qn_err *err)
{
    return put(p, text, n, false, part, arg, err);
}

qn_status qn__parse_end(qn_parse *p, qn_part_fn *part, void *arg, qn_err *err)
{
    return put(p, "", 0, true, part, arg, err);
}

/* ---- life ---- */

int qn__thinking_open_in(const qn_thinking *thinking, size_t n, const char *prompt, size_t n_prompt)
{
    while (n_prompt && is_space(prompt[n_prompt - 1]))
        n_prompt--;
    for (size_t i = 0; prompt && i < n; i++) {
        size_t k = strlen(thinking[i].open);
        while (k && is_space(thinking[i].open[k - 1]))
            k--;
        if (n_prompt >= k && memcmp(prompt + n_prompt - k, thinking[i].open, k) == 0)
            return (int)i;
    }
    return -1;
}

qn_status qn__parse_open(const qn_calls *calls, const qn_dialect *dialect, const qn_thinking *thinking, size_t n_thinking,
                         const char *prompt, size_t n_prompt, qn_parse **out, qn_err *err)
{
    qn_parse *p = qn__calloc(1, sizeof *p);
    if (!p)
        return qn__fail_mem(err, "reply");
    p->calls = calls;
    p->d = dialect;
    p->n_thinking = n_thinking < QN_MAX_THINKING ? n_thinking : QN_MAX_THINKING;
    if (p->n_thinking)
        memcpy(p->thinking, thinking, p->n_thinking * sizeof *thinking);
    add_marks(p);
    p->state = S_TEXT;
    p->blank = true;
    int inside = qn__thinking_open_in(p->thinking, p->n_thinking, prompt ? prompt : "", n_prompt);
    if (dialect && (dialect->form == QN_FORM_CHANNELS || dialect->form == QN_FORM_RECIPIENT)) {
        p->state = S_CHANNEL;
    } else if (inside >= 0) {
        p->state = S_REASON;
        p->think_close = p->thinking[inside].close;
    }
    *out = p;
    return QN_OK;
}

void qn__parse_close(qn_parse *p)
{
    if (!p)
        return;
    qn__buf_free(&p->in);
    qn__buf_free(&p->raw);
    qn__buf_free(&p->name);
    qn__buf_free(&p->id);
    qn__buf_free(&p->value);
    qn__buf_free(&p->keys);
    qn__buf_free(&p->skipped);
    qn_free(p);
}
