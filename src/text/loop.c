/* loop.c - see loop.h.
 *
 * One detector serves all: it keeps the last symbols in a ring, and for each run of GRAM symbols where it last began to end. While the
 * sequence goes on as `period` symbols ago, nothing else is looked at; when it does not, the last place of the newest run gives the next
 * period to try. So a symbol costs a comparison, or one look-up and GRAM comparisons. The closest place is the shortest period. */
#include "text/loop.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

enum { GRAM = 4, SLOTS = 4096, MIN_BLOCK = 24 };

typedef struct cycle {
    uint64_t *ring; /* the last `size` symbols */
    uint32_t *slot; /* hash of the last `gram` symbols -> position behind them, plus one */
    uint32_t size, gram;
    uint32_t n;      /* symbols seen */
    uint32_t period; /* 0: none */
    uint32_t run;    /* symbols that equal the one `period` before them */
} cycle;

static uint64_t at(const cycle *c, uint32_t i)
{
    return c->ring[i % c->size];
}

static qn_status cycle_open(cycle *c, uint32_t size, uint32_t gram, qn_err *err)
{
    c->size = size;
    c->gram = gram;
    c->ring = qn__calloc(size, sizeof *c->ring);
    c->slot = qn__calloc(SLOTS, sizeof *c->slot);
    return c->ring && c->slot ? QN_OK : qn__fail_mem(err, "loop guard");
}

static void cycle_close(cycle *c)
{
    qn_free(c->ring);
    qn_free(c->slot);
}

static void cycle_put(cycle *c, uint64_t symbol)
{
    uint32_t i = c->n;
    if (i == UINT32_MAX)
        return;
    c->ring[i % c->size] = symbol;
    c->n++;
    if (c->period && at(c, i - c->period) == symbol) {
        c->run++;
        return;
    }
    c->period = c->run = 0;
    if (c->n < c->gram)
        return;
    uint64_t h = 0;
    for (uint32_t k = 0; k < c->gram; k++)
        h = (h ^ at(c, i - k)) * 0x9e3779b97f4a7c15u;
    uint32_t *slot = &c->slot[(h >> 40) % SLOTS], last = *slot;
    *slot = i + 1;
    if (!last)
        return;
    uint32_t period = i - (last - 1);
    if (period >= c->size - c->gram)
        return;
    for (uint32_t k = 0; k < c->gram; k++)
        if (last <= k || at(c, i - k) != at(c, last - 1 - k))
            return;
    c->period = period;
    c->run = c->gram;
}

/* Full periods at the end. */
static uint32_t cycle_count(const cycle *c)
{
    return c->period ? (c->run + c->period) / c->period : 0;
}

/* ---- text as a symbol ---- */

/* Case, white space and numbers do not count. */
typedef struct folded {
    uint64_t hash;
    uint32_t n;   /* what counted */
    char last;
} folded;

static void fold(folded *f, char ch)
{
    if (ch == '\n' || ch == '\t' || ch == '\r')
        ch = ' ';
    if (ch >= '0' && ch <= '9')
        ch = '0';
    if (ch >= 'A' && ch <= 'Z')
        ch = (char)(ch + 32);
    if ((ch == ' ' || ch == '0') && ch == f->last)
        return;
    f->last = ch;
    if (ch == ' ')
        return;
    f->hash = ((f->n ? f->hash : 0xcbf29ce484222325u) ^ (unsigned char)ch) * 0x100000001b3u;
    f->n++;
}

static uint64_t folded_hash(const char *p, size_t n)
{
    folded f = {0};
    for (size_t i = 0; i < n; i++)
        fold(&f, p[i]);
    return f.n ? f.hash : 0;
}

const char *qn__loop_name(qn_loop_kind k)
{
    static const char *const names[] = {"", "calls", "text", "tokens"};
    return names[k];
}

/* ---- a conversation ---- */

/* An assistant's turn: what it called and got, exactly and folded, and what it said. */
typedef struct turn {
    uint64_t exact, near, text;
    bool calls;
} turn;

typedef struct turns {
    turn *t;
    size_t n, cap;
} turns;

static bool mix_json(uint64_t *exact, uint64_t *near, const json_t *j)
{
    char *s = NULL;
    const char *p = json_string_value(j);
    size_t n = json_string_length(j);
    json_t *parsed = json_is_string(j) ? json_loadb(p, n, JSON_DECODE_ANY, NULL) : NULL;
    if (parsed || !json_is_string(j)) { /* clients write the same object in different ways */
        s = json_dumps(parsed ? parsed : j, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY);
        json_decref(parsed);
        if (!s)
            return j == NULL;
        p = s;
        n = strlen(s);
    }
    *exact = (*exact ^ qn__hash(p, n)) * 0x9e3779b97f4a7c15u;
    *near = (*near ^ folded_hash(p, n)) * 0x9e3779b97f4a7c15u;
    free(s);
    return true;
}

static bool mix_calls(turn *t, const json_t *calls)
{
    bool ok = true;
    for (size_t i = 0; i < json_array_size(calls) && ok; i++) {
        const json_t *call = json_array_get(calls, i), *f = json_object_get(call, "function");
        const json_t *name = json_object_get(f ? f : call, "name"), *args = json_object_get(f ? f : call, "arguments");
        uint64_t exact = 0, near = 0;
        ok = (!name || mix_json(&exact, &near, name)) && (!args || mix_json(&exact, &near, args));
        if (json_is_string(name)) /* names are compared as they are */
            near ^= qn__hash(json_string_value(name), json_string_length(name));
        t->exact += exact; /* calls of one turn have no order */
        t->near += near;
    }
    return ok;
}

static bool add_message(turns *all, const json_t *m)
{
    const char *role = json_string_value(json_object_get(m, "role"));
    const json_t *calls = json_object_get(m, "tool_calls"), *content = json_object_get(m, "content");
    if (!role)
        return true;
    if (strcmp(role, "user") == 0) {
        all->n = 0;
    } else if (strcmp(role, "assistant") == 0) {
        if (!qn__grow((void **)&all->t, &all->cap, all->n + 1, sizeof *all->t))
            return false;
        turn *t = &all->t[all->n++];
        memset(t, 0, sizeof *t);
        t->calls = json_array_size(calls) > 0;
        if (json_string_length(content) >= MIN_BLOCK)
            t->text = folded_hash(json_string_value(content), json_string_length(content));
        return mix_calls(t, calls);
    } else if (strcmp(role, "tool") == 0 && all->n && content) {
        uint64_t exact = 0, near = 0;
        bool ok = mix_json(&exact, &near, content);
        all->t[all->n - 1].exact += exact * 31;
        all->t[all->n - 1].near += exact * 31; /* results are equal, or it is no loop */
        return ok;
    }
    return true;
}

typedef enum { BY_EXACT, BY_NEAR, BY_TEXT } by;

static bool equal(const turn *a, const turn *b, by how)
{
    if (how == BY_TEXT)
        return a->text && a->text == b->text;
    return a->calls && b->calls && (how == BY_EXACT ? a->exact == b->exact : a->near == b->near);
}

/* The period whose repetitions reach back farthest. */
static qn_loop periodic_end(const turns *all, by how)
{
    qn_loop best = {0};
    uint32_t reach = 0;
    for (uint32_t p = 1; p <= 8 && p <= all->n / 2; p++) {
        uint32_t run = 0;
        while (run + p < all->n && equal(&all->t[all->n - 1 - run], &all->t[all->n - 1 - run - p], how))
            run++;
        uint32_t count = (run + p) / p, least = p == 1 || how == BY_TEXT ? 3 : 2;
        if (count >= least && count * p > reach) {
            reach = count * p;
            best = (qn_loop){.kind = how == BY_TEXT ? QN_LOOP_TEXT : QN_LOOP_CALLS, .period = p, .count = count, .near = how != BY_EXACT};
        }
    }
    return best;
}

qn_status qn__loop_conversation(const json_t *messages, qn_loop *out, qn_err *err)
{
    turns all = {0};
    bool ok = true;
    for (size_t i = 0; i < json_array_size(messages) && ok; i++)
        ok = add_message(&all, json_array_get(messages, i));
    /* A result that has not come yet is no result that is equal: turns are compared as they stand. */
    qn_loop found = periodic_end(&all, BY_EXACT);
    for (by how = BY_NEAR; how <= BY_TEXT && !found.kind; how++)
        found = periodic_end(&all, how);
    qn_free(all.t);
    if (!ok)
        return qn__fail_mem(err, "loop guard");
    *out = found;
    return QN_OK;
}

/* ---- an output ---- */

struct qn_loop_watch {
    qn_loop_limits l;
    cycle tokens, blocks;
    folded block;
    bool line_empty; /* since the last line break only white space has come */
};

qn_status qn__loop_open(const qn_loop_limits *l, qn_loop_watch **out, qn_err *err)
{
    qn_loop_watch *w = qn__calloc(1, sizeof *w);
    if (!w)
        return qn__fail_mem(err, "loop guard");
    if (l)
        w->l = *l;
    if (!w->l.window || w->l.window > 65536)
        w->l.window = 1024;
    w->l.token_count = w->l.token_count ? w->l.token_count : 6;
    w->l.token_length = w->l.token_length ? w->l.token_length : 192;
    w->l.block_count = w->l.block_count ? w->l.block_count : 3;
    qn_status st = cycle_open(&w->tokens, w->l.window + 2 * GRAM, GRAM, err);
    if (!st)
        st = cycle_open(&w->blocks, 64, 1, err);
    if (st)
        qn__loop_close(w);
    else
        *out = w;
    return st;
}

void qn__loop_close(qn_loop_watch *w)
{
    if (!w)
        return;
    cycle_close(&w->tokens);
    cycle_close(&w->blocks);
    qn_free(w);
}

void qn__loop_tokens(qn_loop_watch *w, const int32_t *tokens, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cycle_put(&w->tokens, (uint64_t)(uint32_t)tokens[i] + 1);
}

void qn__loop_text(qn_loop_watch *w, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\n' && w->line_empty) {
            if (w->block.n >= MIN_BLOCK)
                cycle_put(&w->blocks, w->block.hash);
            memset(&w->block, 0, sizeof w->block);
        }
        if (text[i] == '\n')
            w->line_empty = true;
        else if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r')
            w->line_empty = false;
        fold(&w->block, text[i]);
    }
}

qn_loop qn__loop_now(const qn_loop_watch *w)
{
    const cycle *t = &w->tokens, *b = &w->blocks;
    if (cycle_count(t) >= w->l.token_count && t->run + t->period >= w->l.token_length)
        return (qn_loop){.kind = QN_LOOP_TOKENS, .period = t->period, .count = cycle_count(t)};
    if (cycle_count(b) >= w->l.block_count)
        return (qn_loop){.kind = QN_LOOP_TEXT, .period = b->period, .count = cycle_count(b), .near = true};
    return (qn_loop){0};
}
