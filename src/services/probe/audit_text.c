/* audit_text.c - a text with its facts planted, of exactly so many tokens together with the question behind it.
 *
 *   document    one message:   header | filler, fact, filler, fact ... | pad | question
 *                              `------------- the same for all its questions --'
 *   talk        many:          for each depth: user (a rule), assistant (calls read_file), tool (filler, what it says, filler), assistant;
 *                              then ten short turns; then: pad | question
 *
 * Filler comes in whole units; what is missing behind them is filled by the pad, word by word, for each question. A subject that
 * completes text gets a talk as a transcript. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "services/probe/audit.h"

enum { MOST_MESSAGES = 4 * QN_AUDIT_DEPTHS + 2 * QN_AUDIT_BACK + 1, MOST_UNITS = 1 << 22, SLACK = 64, TRIES = 24 };

typedef enum role { USER, ASSISTANT, CALL, TOOL } role;
typedef struct message {
    role role;
    size_t from, n; /* in body */
} message;

struct qn_audit_text {
    qn_audit_recipe r;
    qn_arena arena;
    qn_group *groups[QN_AUDIT_KINDS];
    const qn_fact *facts[QN_AUDIT_KINDS * (QN_AUDIT_DEPTHS + 1)];
    qn_piece *pieces;
    size_t n_groups, n_facts, n_pieces, units;
    qn_filler filler;
    const char *paths[QN_AUDIT_DEPTHS], *notes[QN_AUDIT_BACK], *noted[QN_AUDIT_BACK];
    const char *pad[64];
    qn_buf body, tail;
    message messages[MOST_MESSAGES];
    size_t n_messages;
    int64_t body_tokens;
};

static bool talk(const qn_audit_text *t)
{
    return (t->r.kinds & QN_AUDIT_TALK) != 0;
}

/* ---- planting ---- */

static int by_place(const void *a, const void *b)
{
    const qn_piece *x = a, *y = b;
    if (x->at < y->at || x->at > y->at)
        return x->at < y->at ? -1 : 1;
    if (x->kind != y->kind)
        return x->kind - y->kind;
    return x->order - y->order;
}

static qn_status plan(qn_audit_text *t, qn_err *err)
{
    const qn_audit_recipe *r = &t->r;
    size_t most = 0;
    for (int k = 0; k < QN_AUDIT_KINDS; k++) {
        if (!(r->kinds >> k & 1))
            continue;
        qn_group *g = qn__arena_alloc(&t->arena, sizeof *g);
        if (!g || !qn__group_make(g, &t->arena, (qn_audit_kind)k, r->filler, r->depths,
                                  qn__dice(r->seed, (uint64_t)r->length, (uint64_t)r->batch | (uint64_t)r->again << 32, (uint64_t)k, 1)))
            return qn__fail_mem(err, "audit");
        t->groups[t->n_groups++] = g;
        for (int i = 0; i <= r->depths; i++)
            if (r->only < 0 || r->only == i)
                t->facts[t->n_facts++] = &g->facts[i];
        most += (size_t)g->n_pieces;
    }
    t->pieces = qn__arena_alloc(&t->arena, (most + 1) * sizeof *t->pieces);
    if (!t->pieces)
        return qn__fail_mem(err, "audit");
    for (size_t i = 0; i < t->n_groups; i++)
        for (int k = 0; k < t->groups[i]->n_pieces; k++)
            if (r->only < 0 || r->only == t->groups[i]->pieces[k].slot)
                t->pieces[t->n_pieces++] = t->groups[i]->pieces[k];
    qsort(t->pieces, t->n_pieces, sizeof *t->pieces, by_place);
    return QN_OK;
}

static const char *kept(qn_audit_text *t, const char *fmt, const char *a, int i)
{
    char line[200];
    (void)snprintf(line, sizeof line, fmt, a, i);
    return qn__arena_strndup(&t->arena, line, strlen(line));
}

/* What is said besides: names of files, ten notes, words that fill up. */
static qn_status small_talk(qn_audit_text *t, qn_err *err)
{
    const qn_audit_recipe *r = &t->r;
    qn_dice d = qn__dice(r->seed, (uint64_t)r->length, (uint64_t)r->batch, 0, 2);
    bool ok = true;
    for (int i = 0; i < r->depths && ok; i++) {
        char name[32];
        qn__audit_ident(&d, name);
        ok = (t->paths[i] = kept(t, "%s_%d.txt", name, i)) != NULL;
    }
    for (size_t i = 0; i < QN_AUDIT_BACK && ok; i++) {
        t->notes[i] = kept(t, "Note: %s %d is done.", qn__audit_noun(&d), (int)i + 1);
        t->noted[i] = kept(t, "Noted: %s %d.", qn__audit_noun(&d), (int)i + 1);
        ok = t->notes[i] && t->noted[i];
    }
    for (size_t i = 0; i < sizeof t->pad / sizeof *t->pad; i++)
        t->pad[i] = qn__audit_noun(&d);
    return ok ? QN_OK : qn__fail_mem(err, "audit");
}

/* ---- putting together ---- */

static void say(qn_audit_text *t, role who, size_t from)
{
    t->messages[t->n_messages++] = (message){who, from, t->body.n - from};
    if (talk(t))
        qn__buf_putc(&t->body, '\n'); /* so that counting does not join what stands apart */
}

static void line(qn_audit_text *t, role who, const char *text)
{
    size_t from = t->body.n;
    qn__buf_puts(&t->body, text);
    say(t, who, from);
}

static void put_units(qn_audit_text *t, size_t from, size_t to)
{
    size_t a = from ? t->filler.ends[from - 1] : 0, b = to ? t->filler.ends[to - 1] : 0;
    if (b > a)
        qn__buf_put(&t->body, t->filler.text.data + a, b - a);
}

static void build_document(qn_audit_text *t, size_t k)
{
    double total = k ? (double)t->filler.ends[k - 1] : 1;
    size_t next = 0;
    qn__buf_puts(&t->body, t->r.filler < 6 ? "Read these files; a question about them follows.\n\n" : "Read this text; a question about it follows.\n\n");
    for (size_t i = 0; i < k; i++) {
        double at = i ? (double)t->filler.ends[i - 1] / total : 0;
        while (next < t->n_pieces && t->pieces[next].at <= at)
            qn__buf_puts(&t->body, t->pieces[next++].text);
        put_units(t, i, i + 1);
    }
    while (next < t->n_pieces)
        qn__buf_puts(&t->body, t->pieces[next++].text);
    qn__buf_putc(&t->body, '\n');
    say(t, USER, 0);
}

static void put_pieces(qn_audit_text *t, int kind, int slot)
{
    for (size_t i = 0; i < t->n_pieces; i++)
        if (t->pieces[i].kind == kind && t->pieces[i].slot == slot)
            qn__buf_puts(&t->body, t->pieces[i].text);
}

static void build_talk(qn_audit_text *t, size_t k)
{
    size_t from = 0;
    for (int j = 0; j < t->r.depths; j++) {
        size_t to = k * (size_t)(j + 1) / (size_t)t->r.depths, at = t->body.n;
        put_pieces(t, QN_AUDIT_RULE, j);
        if (t->r.tools) {
            qn__buf_printf(&t->body, "Please read %s.", t->paths[j]);
            say(t, USER, at);
            line(t, CALL, t->paths[j]);
            at = t->body.n;
        } else {
            qn__buf_printf(&t->body, "The tool read_file gave this for %s:\n\n", t->paths[j]);
        }
        put_units(t, from, from + (to - from) / 2);
        put_pieces(t, QN_AUDIT_TOOL, j);
        put_units(t, from + (to - from) / 2, to);
        qn__buf_printf(&t->body, "end of %s", t->paths[j]);
        say(t, t->r.tools ? TOOL : USER, at);
        at = t->body.n;
        qn__buf_printf(&t->body, "I have read %s.", t->paths[j]);
        say(t, ASSISTANT, at);
        from = to;
    }
    for (int i = 0; i < QN_AUDIT_BACK; i++) {
        line(t, USER, t->notes[i]);
        line(t, ASSISTANT, t->noted[i]);
    }
}

/* The body with k units of filler, and its tokens; -1: no memory. */
static int64_t build(qn_audit_text *t, const qn_counter *c, size_t k)
{
    t->body.n = 0;
    t->n_messages = 0;
    if (!qn__filler_need(&t->filler, k))
        return -1;
    if (talk(t))
        build_talk(t, k);
    else
        build_document(t, k);
    t->units = k;
    return t->body.failed ? -1 : (t->body_tokens = c->count(c->arg, t->body.data, t->body.n));
}

/* ---- the tail ---- */

/* pad: so many words, then `extra`. */
static bool make_tail(qn_audit_text *t, const qn_fact *f, size_t pad, const char *extra)
{
    t->tail.n = 0;
    if (pad || *extra) {
        qn__buf_puts(&t->tail, "Also seen:");
        for (size_t i = 0; i < pad; i++)
            qn__buf_printf(&t->tail, " %s", t->pad[i % (sizeof t->pad / sizeof *t->pad)]);
        qn__buf_printf(&t->tail, "%s\n\n", extra);
    }
    qn__buf_printf(&t->tail, f->kind == QN_AUDIT_RULE ? "%s; if I gave none, answer: not there." : "%s; if the text above does not say it, answer: not there.",
                   f->ask);
    if (!t->r.chat)
        qn__buf_puts(&t->tail, talk(t) ? "\nAssistant:" : "\nAnswer:");
    return !t->tail.failed;
}

static int64_t count_tail(const qn_audit_text *t, const qn_counter *c)
{
    return c->count(c->arg, t->tail.data, t->tail.n);
}

/* Of the whole: as one text where it is one. */
static int64_t count_whole(qn_audit_text *t, const qn_counter *c)
{
    if (talk(t))
        return t->body_tokens + count_tail(t, c);
    size_t n = t->body.n;
    qn__buf_put(&t->body, t->tail.data, t->tail.n);
    int64_t tokens = t->body.failed ? -1 : c->count(c->arg, t->body.data, t->body.n);
    t->body.n = n;
    return tokens;
}

/* The most words of pad that keep the tail within `most`. */
static size_t pad_words(qn_audit_text *t, const qn_counter *c, const qn_fact *f, int64_t most)
{
    size_t lo = 0, hi = 1;
    while (hi < (size_t)1 << 20 && make_tail(t, f, hi, "") && count_tail(t, c) <= most) {
        lo = hi;
        hi *= 2;
    }
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (make_tail(t, f, mid, "") && count_tail(t, c) <= most)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

/* A tail of exactly `want` tokens where there is one, else of a few less. */
static void fill_tail(qn_audit_text *t, const qn_counter *c, const qn_fact *f, int64_t want)
{
    static const char *const extras[] = {"", ".", " a", " I", " 1", " of", " it is", " so be it", "!", " 7 8", " as x", "a", " b c d", "..."};
    size_t words = pad_words(t, c, f, want), best = words, best_extra = 0;
    int64_t best_tokens = -1;
    for (size_t back = 0; back < 3 && back <= words; back++)
        for (size_t e = 0; e < sizeof extras / sizeof *extras; e++) {
            (void)make_tail(t, f, words - back, extras[e]);
            int64_t n = count_tail(t, c);
            if (n == want)
                return;
            if (n < want && n > best_tokens) {
                best_tokens = n;
                best = words - back;
                best_extra = e;
            }
        }
    (void)make_tail(t, f, best, extras[best_extra]);
}

/* ---- making ---- */

/* Units so that the body has at most `want` tokens and hardly less. */
static qn_status fit(qn_audit_text *t, const qn_counter *c, int64_t want, qn_err *err)
{
    int64_t bare = build(t, c, 0), tokens = bare;
    size_t good = 0, bad = MOST_UNITS, k;
    if (bare < 0)
        return qn__fail_mem(err, "audit");
    if (bare > (t->n_groups > 1 ? want / 2 : want - want / 5)) /* alone it may stand closer */
        return qn__fail(err, QN_ELIMIT, "audit", "what is planted has %lld tokens, which leaves no room for text in %lld", (long long)bare, (long long)want);
    double per_unit = 40;
    for (int i = 0; i < TRIES && want - tokens > SLACK && bad - good > 1; i++) {
        k = good + (size_t)((double)(want - tokens - SLACK / 2) / per_unit);
        k = k <= good ? good + 1 : k >= bad ? good + (bad - good) / 2 : k;
        int64_t n = build(t, c, k);
        if (n < 0)
            return qn__fail_mem(err, "audit");
        if (k > 0 && n > bare)
            per_unit = (double)(n - bare) / (double)k;
        if (n <= want) {
            good = k;
            tokens = n;
        } else {
            bad = k;
        }
    }
    return build(t, c, good) < 0 ? qn__fail_mem(err, "audit") : QN_OK;
}

qn_status qn__audit_text_make(const qn_audit_recipe *r, const qn_counter *c, qn_audit_text **out, qn_err *err)
{
    if (r->length < 16 || r->depths < 2 || r->depths > QN_AUDIT_DEPTHS || r->filler < 0 || r->filler >= QN_AUDIT_FILLERS || r->kinds == 0 ||
        r->kinds >> QN_AUDIT_KINDS || ((r->kinds & QN_AUDIT_TALK) && (r->kinds & ~(uint32_t)QN_AUDIT_TALK)) || r->only < -1 || r->only > r->depths || r->again < 0)
        return qn__fail(err, QN_EINVAL, "audit", "is asked for a text that cannot be");
    qn_audit_text *t = qn__calloc(1, sizeof *t);
    if (!t)
        return qn__fail_mem(err, "audit");
    t->r = *r;
    qn__arena_init(&t->arena, (size_t)4 << 20);
    qn__filler_open(&t->filler, r->filler, qn__dice(r->seed, (uint64_t)r->length, (uint64_t)r->batch, r->kinds, 4));
    qn_status st = plan(t, err);
    if (!st)
        st = small_talk(t, err);
    int64_t longest = 0;
    for (size_t i = 0; i < t->n_facts && !st; i++) {
        if (!make_tail(t, t->facts[i], 0, ""))
            st = qn__fail_mem(err, "audit");
        else if (count_tail(t, c) > longest)
            longest = count_tail(t, c);
    }
    if (!st)
        st = fit(t, c, r->length - c->overhead - longest - 8, err);
    if (st) {
        qn__audit_text_close(t);
        return st;
    }
    *out = t;
    return QN_OK;
}

void qn__audit_text_close(qn_audit_text *t)
{
    if (!t)
        return;
    qn__filler_close(&t->filler);
    qn__buf_free(&t->body);
    qn__buf_free(&t->tail);
    qn__arena_free(&t->arena);
    qn_free(t);
}

size_t qn__audit_text_facts(const qn_audit_text *t)
{
    return t->n_facts;
}

const qn_fact *qn__audit_text_fact(const qn_audit_text *t, size_t i)
{
    return t->facts[i];
}

size_t qn__audit_text_units(const qn_audit_text *t)
{
    return t->units;
}

uint64_t qn__audit_text_hash(const qn_audit_text *t)
{
    return qn__hash(t->body.data ? t->body.data : "", t->body.n);
}

const char *qn__audit_tail(const qn_audit_text *t)
{
    return t->tail.data ? t->tail.data : "";
}

/* ---- asking ---- */

static json_t *as_message(const qn_audit_text *t, size_t i)
{
    const message *m = &t->messages[i];
    const char *p = t->body.data + m->from;
    char id[16];
    (void)snprintf(id, sizeof id, "call%05d", (int)i);
    if (m->role == CALL) {
        char arguments[80];
        (void)snprintf(arguments, sizeof arguments, "{\"path\": \"%.*s\"}", (int)m->n, p);
        return json_pack("{s:s, s:s, s:[{s:s, s:s, s:{s:s, s:s}}]}", "role", "assistant", "content", "", "tool_calls", "id", id, "type", "function",
                         "function", "name", "read_file", "arguments", arguments);
    }
    if (m->role == TOOL) {
        (void)snprintf(id, sizeof id, "call%05d", (int)i - 1);
        return json_pack("{s:s, s:s, s:s, s:s%}", "role", "tool", "tool_call_id", id, "name", "read_file", "content", p, m->n);
    }
    return json_pack("{s:s, s:s%}", "role", m->role == USER ? "user" : "assistant", "content", p, m->n);
}

static char *as_chat(qn_audit_text *t, bool alone)
{
    json_t *list = json_array();
    size_t n = t->body.n;
    if (!talk(t) && !alone) { /* body and tail are one message */
        qn__buf_put(&t->body, t->tail.data, t->tail.n);
        (void)json_array_append_new(list, json_pack("{s:s, s:s%}", "role", "user", "content", t->body.data, t->body.n));
        t->body.n = n;
    } else {
        for (size_t i = 0; i < t->n_messages && !alone; i++)
            (void)json_array_append_new(list, as_message(t, i));
        (void)json_array_append_new(list, json_pack("{s:s, s:s%}", "role", "user", "content", t->tail.data, t->tail.n));
    }
    char *dumped = json_dumps(list, JSON_COMPACT), *copy = dumped && !t->body.failed ? qn__strndup(dumped, strlen(dumped)) : NULL;
    free(dumped);
    json_decref(list);
    return copy;
}

static char *as_text(const qn_audit_text *t, bool alone)
{
    static const char *const who[] = {"User: ", "Assistant: ", "Assistant: read_file ", "Tool: "};
    qn_buf b = {0};
    for (size_t i = 0; i < t->n_messages && !alone; i++) {
        const message *m = &t->messages[i];
        if (talk(t))
            qn__buf_puts(&b, who[m->role]);
        qn__buf_put(&b, t->body.data + m->from, m->n);
        if (talk(t))
            qn__buf_putc(&b, '\n');
    }
    if (talk(t))
        qn__buf_puts(&b, who[USER]);
    qn__buf_put(&b, t->tail.data, t->tail.n);
    return qn__buf_take(&b, NULL);
}

qn_status qn__audit_ask(qn_audit_text *t, const qn_counter *c, size_t i, bool alone, char **asked, int64_t *counted, qn_err *err)
{
    const qn_fact *f = t->facts[i];
    const int64_t want = t->r.length - c->overhead;
    if (!make_tail(t, f, 0, ""))
        return qn__fail_mem(err, "audit");
    int64_t bare = count_tail(t, c), whole = alone ? bare : count_whole(t, c), beside = whole - bare;
    for (int i_try = 0; !alone && i_try < 3 && whole != want; i_try++) {
        fill_tail(t, c, f, want - beside);
        whole = count_whole(t, c);
        beside = whole - count_tail(t, c);
    }
    char *text = t->tail.failed ? NULL : t->r.chat ? as_chat(t, alone) : as_text(t, alone);
    if (!text)
        return qn__fail_mem(err, "audit");
    *asked = text;
    *counted = whole;
    return QN_OK;
}
