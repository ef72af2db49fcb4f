/* parse_channels.c - outputs that are messages with headers: gpt-oss (channels) and Functionary v3.2 (recipients).
 *
 *   <|channel|>analysis<|message|>reasoning<|end|><|start|>assistant to=functions.f<|channel|>commentary json<|message|>{...}<|call|>
 *   all\ntext>>>f\n{...}
 *
 * The prompt ends inside the first header. The end token of a turn is not part of the output, so that a call may end with it. */
#include "text/toolcall/parse_int.h"

#include <string.h>

static const char *const body_ends[] = {"<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>", NULL};

static qn_slice word_behind(qn_slice s, const char *mark)
{
    const char *at = memmem(s.p, s.n, mark, strlen(mark));
    qn_slice w = {at, 0};
    if (!at)
        return w;
    w.p += strlen(mark);
    while (w.p < s.p + s.n && *w.p == ' ')
        w.p++;
    while (w.p + w.n < s.p + s.n && w.p[w.n] != ' ' && w.p[w.n] != '<' && w.p[w.n] != '\n')
        w.n++;
    return w;
}

static bool same(qn_slice s, const char *t)
{
    return s.n == strlen(t) && memcmp(s.p, t, s.n) == 0;
}

static void open_call(qn_parse *p, qn_slice name, size_t head)
{
    p->name.n = 0;
    qn__buf_put(&p->name, name.p, name.n);
    p->tool = qn__calls_find(p->calls, name.p, name.n);
    p->has_id = false;
    p->body_text = false;
    p->raw.n = 0;
    qn__parse_take(p, head, true);
    qn__parse_begin_call(p);
    qn__json_scan_init_object(&p->scan);
    p->state = S_ARGS;
}

/* The header has no more to say: what it begins. */
static void begin_body(qn_parse *p, size_t n_header, size_t head)
{
    cursor c = qn__cursor(p);
    qn_slice header = {c.p, n_header}, to = word_behind(header, "to="), channel = word_behind(header, "<|channel|>");
    bool call = to.p && p->calls && p->calls->n_tools;
    if (call && to.n > 10 && memcmp(to.p, "functions.", 10) == 0)
        to = (qn_slice){to.p + 10, to.n - 10};
    else if (call && !qn__calls_find(p->calls, to.p, to.n))
        call = false;
    if (call && qn__parse_name_ok(to.p, to.n)) {
        open_call(p, to, head);
        return;
    }
    p->body_reason = same(channel, "analysis") || (to.p && !call && p->calls);
    p->state = S_BODY;
    p->body_text = true;
    qn__parse_take(p, head, false);
}

static parse_step recipient(qn_parse *p, bool final)
{
    cursor c = qn__cursor(p);
    size_t n_head = c.n < MAX_TOKEN ? c.n : MAX_TOKEN;
    const char *nl = memchr(c.p, '\n', n_head), *brace = memchr(c.p, '{', n_head);
    size_t from = c.n >= 3 && memcmp(c.p, ">>>", 3) == 0 ? 3 : 0;
    const char *stop = nl && (!brace || nl < brace) ? nl : brace;
    if (!stop && !final && c.n < MAX_TOKEN)
        return STEP_MORE;
    size_t n = stop ? (size_t)(stop - c.p) : 0;
    qn_slice name = {c.p + from, stop && n > from ? n - from : 0};
    if (stop == nl && nl && same(name, "all")) {
        qn__parse_take(p, n + 1, false);
        p->body_text = true;
        p->body_reason = false;
    } else if (stop && p->calls && qn__calls_find(p->calls, name.p, name.n)) {
        open_call(p, name, n + (stop == nl));
        return STEP_AGAIN;
    } else { /* no header at all: text */
        p->body_text = true;
        p->body_reason = false;
    }
    p->state = S_BODY;
    return STEP_AGAIN;
}

parse_step qn__parse_channel(qn_parse *p, bool final)
{
    if (p->d->form == QN_FORM_RECIPIENT)
        return recipient(p, final);
    cursor c = qn__cursor(p);
    static const char end[] = "<|message|>";
    size_t n_head = c.n < 1024 ? c.n : 1024;
    bool header = !c.n || c.p[0] == '<' || c.p[0] == ' ' || c.p[0] == '\n';
    /* A body may begin without any header, when the prompt holds it; then its beginning looks like none. */
    const char *at = header ? memmem(c.p, n_head, end, sizeof end - 1) : NULL;
    if (at) {
        size_t n = (size_t)(at - c.p);
        begin_body(p, n, n + sizeof end - 1);
        return STEP_AGAIN;
    }
    if (header && !final && c.n < 1024)
        return STEP_MORE;
    if (final && header && c.n && (memmem(c.p, c.n, "<|channel|>", 11) || c.p[0] == '<')) {
        qn__parse_take(p, c.n, false); /* a header that was cut off says nothing */
        return STEP_MORE;
    }
    if (!c.n)
        return STEP_MORE;
    p->state = S_BODY;
    p->body_text = true;
    p->body_reason = false;
    return STEP_AGAIN;
}

/* Where the body ends in what is pending: its index, and how long the marker is (0: bytes end before that can be told). c->n: not here. */
static size_t body_end(const qn_parse *p, const cursor *c, size_t *n_mark)
{
    bool recipients = p->d->form == QN_FORM_RECIPIENT;
    *n_mark = 0;
    if (p->calls && p->calls->answer && !p->call && !p->body_reason) /* in an answer of a given form nothing is a marker */
        return c->n;
    for (size_t i = 0; i < c->n; i++) {
        if (c->p[i] != (recipients ? '>' : '<'))
            continue;
        for (size_t k = 0; !recipients && body_ends[k]; k++) {
            cursor at = *c;
            at.i = i;
            if (qn__cur_exact(&at, body_ends[k])) {
                *n_mark = strlen(body_ends[k]);
                return i;
            }
            if (at.more) {
                *n_mark = 0;
                return i;
            }
        }
        /* >>> counts only before a known name and a line break: it is Python's prompt, too. */
        size_t left = c->n - i, dots = left < 3 ? left : 3;
        if (!recipients || memcmp(c->p + i, ">>>", dots) != 0)
            continue;
        const char *nl = memchr(c->p + i, '\n', left);
        if (!nl && left < MAX_TOKEN) {
            *n_mark = 0;
            return i;
        }
        qn_slice name = {c->p + i + 3, nl && nl - c->p >= (ptrdiff_t)i + 3 ? (size_t)(nl - c->p) - i - 3 : 0};
        if (name.n && (same(name, "all") || qn__calls_find(p->calls, name.p, name.n))) {
            *n_mark = 3;
            return i;
        }
    }
    *n_mark = 0;
    return c->n;
}

static void next_header(qn_parse *p, qn_slice mark)
{
    p->state = S_CHANNEL;
    if (same(mark, "<|channel|>") || same(mark, "<|start|>")) /* belongs to the header */
        return;
    qn__parse_take(p, mark.n, false);
}

parse_step qn__parse_body(qn_parse *p, bool final)
{
    cursor c = qn__cursor(p);
    size_t n_mark;
    if (!p->body_text) { /* behind the arguments of a call */
        qn__cur_space(&c);
        if (c.i == c.n && !final)
            return STEP_MORE;
        cursor mark = c;
        bool ended = c.i == c.n || (p->d->form == QN_FORM_CHANNELS && qn__cur_exact(&mark, "<|call|>"));
        if (!ended && mark.more && !final)
            return STEP_MORE;
        qn__parse_take(p, ended ? mark.i : c.i, true);
        qn__parse_end_call(p);
        p->body_text = true;
        p->body_reason = false;
        if (ended && c.i < c.n)
            p->state = S_CHANNEL;
        return STEP_AGAIN;
    }
    if (!c.n)
        return STEP_MORE;
    size_t at = body_end(p, &c, &n_mark);
    if (at < c.n && !n_mark && final)
        at = c.n;
    qn__parse_emit(p, p->body_reason ? QN_PART_REASONING : QN_PART_TEXT, c.p, at);
    qn__parse_take(p, at, false);
    if (at == c.n || !n_mark)
        return STEP_MORE;
    cursor mark = qn__cursor(p);
    p->body_text = false;
    p->raw.n = 0;
    if (p->d->form == QN_FORM_CHANNELS)
        next_header(p, (qn_slice){mark.p, n_mark});
    else
        p->state = S_CHANNEL;
    return STEP_AGAIN;
}
