/* recall.c - putting what was said here back into a history, and learning it. See replay.h.
 *
 * Learning renders the conversation once more, with the answer and something behind it, as the client's next request will bring it:
 * what stands there in the answer's place is the canonical text. It is kept only if, taken apart like an answer, it gives the same
 * reply as what was sampled. That takes milliseconds and happens when the answer is out; a request that comes meanwhile waits. */
#include "services/api/replay.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/err.h"
#include "base/mem.h"
#include "services/api/ask_int.h"
#include "services/api/serve.h"

enum { MARKS = 2, ENDS_MAX = 8, DEPTH_MAX = 256 };

/* ---- values ---- */

/* Do both say the same? 1 is 1.0: JavaScript does not tell them apart. */
static bool same_value(const json_t *a, const json_t *b, int depth)
{
    const char *key;
    json_t *v;
    if (depth > DEPTH_MAX)
        return false;
    if (json_is_number(a) && json_is_number(b))
        return json_is_integer(a) && json_is_integer(b) ? json_integer_value(a) == json_integer_value(b)
                                                        : json_number_value(a) == json_number_value(b);
    if (json_is_object(a) && json_is_object(b)) {
        if (json_object_size(a) != json_object_size(b))
            return false;
        json_object_foreach((json_t *)(uintptr_t)a, key, v)
            if (!same_value(v, json_object_get(b, key), depth + 1))
                return false;
        return true;
    }
    if (json_is_array(a) && json_is_array(b)) {
        if (json_array_size(a) != json_array_size(b))
            return false;
        for (size_t i = 0; i < json_array_size(a); i++)
            if (!same_value(json_array_get(a, i), json_array_get(b, i), depth + 1))
                return false;
        return true;
    }
    return json_equal(a, b) != 0;
}

static bool same_json(const char *a, size_t na, const char *b, size_t nb)
{
    if (na == nb && memcmp(a, b, na) == 0)
        return true;
    json_t *x = json_loadb(a, na, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL), *y = json_loadb(b, nb, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    const bool same = x && y && same_value(x, y, 0);
    json_decref(x);
    json_decref(y);
    return same;
}

/* White space around texts belongs to templates. */
static bool same_text(const qn_buf *a, const qn_buf *b)
{
    static const char blank[] = " \t\r\n";
    qn_slice s[2] = {{a->data ? a->data : "", a->n}, {b->data ? b->data : "", b->n}};
    for (int i = 0; i < 2; i++) {
        while (s[i].n && memchr(blank, s[i].p[s[i].n - 1], sizeof blank - 1))
            s[i].n--;
        while (s[i].n && memchr(blank, s[i].p[0], sizeof blank - 1)) {
            s[i].p++;
            s[i].n--;
        }
    }
    return s[0].n == s[1].n && memcmp(s[0].p, s[1].p, s[0].n) == 0;
}

/* ---- calls by their ids ---- */

/* Under lock: the arguments of the call `id` as they were sampled. */
static const char *arguments_of(const api_replay *r, const char *id)
{
    for (const api_said *e = r->newest; e; e = e->older) {
        const char *p = e->calls;
        for (uint32_t i = 0; i < e->n_calls; i++) {
            const char *arguments = p + strlen(p) + 1;
            if (strcmp(p, id) == 0)
                return arguments;
            p = arguments + strlen(arguments) + 1;
        }
    }
    return NULL;
}

static void recall_call(api_replay *r, const json_t *call)
{
    json_t *f = json_object_get(call, "function"), *have = json_object_get(f, "arguments");
    const char *id = json_string_value(json_object_get(call, "id")), *known;
    char *text = id && json_is_object(have) ? json_dumps(have, JSON_COMPACT) : NULL;
    if (!id || (!text && !json_is_string(have)))
        return;
    const char *s = text ? text : json_string_value(have);
    const size_t n = text ? strlen(text) : json_string_length(have);
    qn__lock(&r->lock);
    known = arguments_of(r, id);
    if (known && same_json(known, strlen(known), s, n))
        (void)json_object_set_new(f, "arguments", json_string(known));
    qn__unlock(&r->lock);
    free(text);
}

void api_recall_calls(api_ask *a, json_t *canon)
{
    api_replay *r = &a->server->replay;
    for (size_t i = 0; i < json_array_size(canon); i++) {
        const json_t *calls = json_object_get(json_array_get(canon, i), "tool_calls");
        for (size_t k = 0; k < json_array_size(calls); k++)
            recall_call(r, json_array_get(calls, k));
    }
}

/* ---- history ---- */

/* Do these tokens spell this text? A first space may be the tokenizer's own. */
static bool spells(const qn_model *m, const int32_t *tokens, size_t n, const char *text, size_t n_text)
{
    char *s = NULL;
    size_t k = 0;
    if (qn_detokenize(m, tokens, n, true, &s, &k, NULL))
        return false;
    const bool same = (k == n_text && memcmp(s, text, k) == 0) ||
                      (k + 1 == n_text && text[0] == ' ' && memcmp(s, text + 1, k) == 0);
    qn_free(s);
    return same;
}

typedef struct places {
    api_said **v;
    size_t n, cap;
} places;

static int by_place(const void *a, const void *b)
{
    const api_said *x = *(api_said *const *)a, *y = *(api_said *const *)b;
    return (x->n_before > y->n_before) - (x->n_before < y->n_before);
}

/* Under lock: entries whose canonical text stands where theirs stood, in the order of their places. */
static bool find_places(const api_ask *a, places *out)
{
    const api_replay *r = &a->server->replay;
    const uint64_t model = api_replay_model(a->loaded);
    for (api_said *e = r->newest; e; e = e->older) {
        const size_t n = (size_t)e->n_canonical + e->n_mark;
        if (e->model != model || e->n_before > a->n_rendered || n > a->n_rendered - e->n_before ||
            memcmp(a->rendered + e->n_before, e->canonical, n) != 0)
            continue;
        if (!qn__grow((void **)&out->v, &out->cap, out->n + 1, sizeof(api_said *)))
            return false;
        out->v[out->n++] = e;
    }
    if (out->n)
        qsort(out->v, out->n, sizeof(api_said *), by_place);
    return true;
}

/* Under lock: leave those that have everything before them, too; names the whole text. False: no memory. */
static bool check_places(api_ask *a, places *p)
{
    size_t at = 0, n = 0, end = 0;
    XXH3_state_t *s = XXH3_createState();
    if (!s)
        return false;
    (void)XXH3_128bits_reset(s);
    for (size_t i = 0; i < p->n; i++) {
        api_said *e = p->v[i];
        (void)XXH3_128bits_update(s, a->rendered + at, e->n_before - at);
        at = e->n_before;
        const XXH128_hash_t h = XXH3_128bits_digest(s);
        if (h.high64 == e->before.v[0] && h.low64 == e->before.v[1] && at >= end) {
            p->v[n++] = e;
            end = at + e->n_canonical;
        }
    }
    (void)XXH3_128bits_update(s, a->rendered + at, a->n_rendered - at);
    const XXH128_hash_t h = XXH3_128bits_digest(s);
    a->plain = (api_name){{h.high64, h.low64}};
    a->n_plain = a->n_rendered;
    p->n = n;
    (void)XXH3_freeState(s);
    return true;
}

/* Under lock: write it all down. */
static qn_status replace(api_ask *a, const places *p, qn_err *err)
{
    api_replay *r = &a->server->replay;
    qn_buf b = {0};
    size_t at = 0;
    a->spans = qn__calloc(p->n, sizeof *a->spans);
    bool ok = a->spans != NULL;
    for (size_t i = 0; ok && i < p->n; i++) {
        api_said *e = p->v[i];
        if (!e->trusted && e->n_tokens && !spells(a->loaded->model, e->tokens, e->n_tokens, e->exact, e->n_exact)) {
            r->bad++;
            api_replay_drop(r, e);
            continue;
        }
        e->trusted = true;
        qn__buf_put(&b, a->rendered + at, e->n_before - at);
        if (e->n_tokens) {
            api_span *span = &a->spans[a->n_spans];
            *span = (api_span){.at = b.n, .n = e->n_exact, .n_tokens = e->n_tokens, .tokens = qn__alloc(e->n_tokens * sizeof *e->tokens)};
            ok = span->tokens != NULL;
            if (ok)
                memcpy(span->tokens, e->tokens, e->n_tokens * sizeof *e->tokens);
            a->n_spans += ok;
        }
        qn__buf_put(&b, e->exact, e->n_exact);
        at = e->n_before + e->n_canonical;
        r->used++;
        api_replay_touch(r, e);
    }
    qn__buf_put(&b, a->rendered + at, a->n_rendered - at);
    if (!ok || b.failed) {
        qn__buf_free(&b);
        return qn__fail_mem(err, "messages");
    }
    qn_free(a->rendered);
    a->n_rendered = b.n;
    a->rendered = qn__buf_take(&b, NULL);
    return QN_OK;
}

static void learn_pending(api_replay *r);

qn_status api_recall(api_ask *a, qn_err *err)
{
    api_replay *r = &a->server->replay;
    places p = {0};
    learn_pending(r);
    qn__lock(&r->lock);
    qn_status st = find_places(a, &p) && check_places(a, &p) ? QN_OK : qn__fail_mem(err, "messages");
    if (!st && p.n)
        st = replace(a, &p, err);
    qn__unlock(&r->lock);
    qn_free(p.v);
    return st;
}

/* ---- learning ---- */

/* A reply as it is heard, beside the one that was given. */
typedef struct heard {
    const api_choice *c;
    qn_buf reasoning, text, arguments;
    size_t n_calls;
    bool differs;
} heard;

static void hear(void *arg, const qn_part *p)
{
    heard *h = arg;
    const api_call *call = h->n_calls && h->n_calls <= h->c->n_calls ? &h->c->calls[h->n_calls - 1] : NULL;
    switch (p->kind) {
    case QN_PART_REASONING: qn__buf_put(&h->reasoning, p->text, p->n); break;
    case QN_PART_TEXT: qn__buf_put(&h->text, p->text, p->n); break;
    case QN_PART_CALL:
        h->arguments.n = 0;
        if (++h->n_calls > h->c->n_calls || strcmp(h->c->calls[h->n_calls - 1].name, p->name) != 0)
            h->differs = true;
        break;
    case QN_PART_ARGUMENTS: qn__buf_put(&h->arguments, p->text, p->n); break;
    case QN_PART_CALL_END:
        if (!call || h->arguments.failed ||
            !same_json(call->arguments.data ? call->arguments.data : "", call->arguments.n, h->arguments.data ? h->arguments.data : "",
                       h->arguments.n))
            h->differs = true;
        break;
    }
}

/* Is this text the reply that was given? */
static bool says_same(const api_ask *a, const api_choice *c, const char *text, size_t n)
{
    heard h = {.c = c};
    qn_reply *reply = NULL;
    if (c->reply) {
        h.differs = api_forms_reply(a, &reply, NULL) || qn_reply_put(reply, text, n, hear, &h, NULL) || qn_reply_end(reply, hear, &h, NULL);
        qn_reply_close(reply);
    } else {
        qn__buf_put(&h.text, text, n);
    }
    const bool same = !h.differs && h.n_calls == c->n_calls && !h.text.failed && !h.reasoning.failed && same_text(&h.text, &c->text) &&
                      same_text(&h.reasoning, &c->reasoning);
    qn__buf_free(&h.reasoning);
    qn__buf_free(&h.text);
    qn__buf_free(&h.arguments);
    return same;
}

/* The answer as the client will send it back, and what will stand behind it. NULL: no memory, or text that is no text. */
static json_t *messages_of(const api_choice *c)
{
    json_t *out = json_array(), *calls = json_array();
    for (size_t i = 0; i < c->n_calls; i++) {
        const api_call *k = &c->calls[i];
        (void)json_array_append_new(calls, json_pack("{s:s, s:s, s:{s:s, s:s%}}", "id", k->id, "type", "function", "function", "name",
                                                     k->name, "arguments", k->arguments.data ? k->arguments.data : "", k->arguments.n));
    }
    json_t *m = json_pack("{s:s, s:s%}", "role", "assistant", "content", c->text.data ? c->text.data : "", c->text.n);
    if (m && c->reasoning.n)
        (void)json_object_set_new(m, "reasoning_content", json_stringn(c->reasoning.data, c->reasoning.n));
    const bool whole = m && json_array_size(calls) == c->n_calls;
    if (m && c->n_calls)
        (void)json_object_set(m, "tool_calls", calls);
    (void)json_array_append_new(out, m);
    for (size_t i = 0; i < c->n_calls; i++)
        (void)json_array_append_new(out, json_pack("{s:s, s:s, s:s, s:s}", "role", "tool", "content", "ok", "tool_call_id", c->calls[i].id,
                                                   "name", c->calls[i].name));
    if (!c->n_calls)
        (void)json_array_append_new(out, json_pack("{s:s, s:s}", "role", "user", "content", "ok"));
    json_decref(calls);
    if (whole && json_array_size(out) >= 2)
        return out;
    json_decref(out);
    return NULL;
}

/* Texts of the tokens that end a turn. */
static size_t marks_of(const api_model *m, qn_slice *out)
{
    const int32_t ids[MARKS] = {m->info.eot, m->info.eos};
    size_t n = 0;
    for (size_t i = 0; i < MARKS; i++) {
        char *s = NULL;
        size_t k = 0;
        if (ids[i] < 0 || (i && ids[i] == ids[0]) || api_token_bytes(m, ids[i], &s, &k) != QN_OK)
            continue;
        if (k)
            out[n++] = (qn_slice){s, k};
        else
            qn_free(s);
    }
    return n;
}

/* The first mark at `from` or later; false: none. */
static bool next_mark(const qn_slice *marks, size_t n, const char *text, size_t n_text, size_t from, size_t *at, size_t *which)
{
    const char *best = NULL;
    for (size_t i = 0; i < n; i++) {
        const char *p = memmem(text + from, n_text - from, marks[i].p, marks[i].n);
        if (p && (!best || p < best)) {
            best = p;
            *which = i;
        }
    }
    *at = best ? (size_t)(best - text) : 0;
    return best != NULL;
}

/* Would the tokenizer have cut it as it was sampled? Looked at from the last end of a turn on. */
static bool is_plain(const api_ask *a, const api_choice *c, const qn_slice *marks, size_t n_marks)
{
    const api_prompt *p = &a->prompts[c->prompt];
    size_t from = 0, at, which, n = 0;
    qn_buf b = {0};
    int32_t *ids = NULL;
    bool same = false;
    while (next_mark(marks, n_marks, a->rendered, a->n_rendered, from ? from + 1 : 0, &at, &which))
        from = at;
    qn__buf_put(&b, a->rendered + from, a->n_rendered - from);
    qn__buf_put(&b, c->raw.data, c->raw.n);
    if (!b.failed && qn_tokenize(a->loaded->model, b.data, b.n, true, QN_BOS_NO, &ids, &n, NULL) == QN_OK && n >= c->n_tokens &&
        n - c->n_tokens <= p->n_tokens)
        same = memcmp(ids + n - c->n_tokens, c->tokens, c->n_tokens * sizeof *ids) == 0 &&
               memcmp(ids, p->tokens + p->n_tokens - (n - c->n_tokens), (n - c->n_tokens) * sizeof *ids) == 0;
    qn_free(ids);
    qn__buf_free(&b);
    return same;
}

static void keep(api_ask *a, const api_choice *c, qn_slice canonical, size_t n_mark, bool plain)
{
    const bool known = c->n_tokens && spells(a->loaded->model, c->tokens, c->n_tokens, c->raw.data, c->raw.n);
    qn_buf calls = {0};
    if (c->n_calls == 0 && canonical.n - n_mark == c->raw.n && memcmp(canonical.p, c->raw.data, c->raw.n) == 0 && (plain || !known))
        return; /* it comes back as it went out */
    for (size_t i = 0; i < c->n_calls; i++) {
        const api_call *k = &c->calls[i];
        if (k->arguments.n && memchr(k->arguments.data, 0, k->arguments.n))
            return;
        qn__buf_put(&calls, k->id, strlen(k->id) + 1);
        qn__buf_put(&calls, k->arguments.data ? k->arguments.data : "", k->arguments.n);
        qn__buf_put(&calls, "", 1);
    }
    if (!calls.failed)
        api_replay_keep(&a->server->replay,
                        &(api_saying){.model = api_replay_model(a->loaded), .before = a->plain, .n_before = a->n_plain, .canonical = canonical,
                                      .n_mark = n_mark, .exact = {c->raw.data, c->raw.n}, .tokens = known ? c->tokens : NULL,
                                      .n_tokens = known ? c->n_tokens : 0, .calls = {calls.data ? calls.data : "", calls.n},
                                      .n_calls = c->n_calls});
    qn__buf_free(&calls);
}

static void learn(api_ask *a, const api_choice *c)
{
    qn_slice marks[MARKS];
    char *later = NULL;
    size_t n = 0, at = a->n_plain, which = 0;
    json_t *more = messages_of(c);
    const size_t n_marks = marks_of(a->loaded, marks);
    if (!more || !n_marks || api_render_with(a, more, &later, &n, NULL) || n <= a->n_plain)
        goto out;
    const XXH128_hash_t h = XXH3_128bits(later, a->n_plain);
    if (h.high64 != a->plain.v[0] || h.low64 != a->plain.v[1])
        goto out; /* the template writes history in another way: nothing behind it would be found anyway */
    for (int k = 0; k < ENDS_MAX && next_mark(marks, n_marks, later, n, at, &at, &which); k++, at++) {
        const qn_slice canonical = {later + a->n_plain, at - a->n_plain};
        if ((canonical.n == c->raw.n && memcmp(canonical.p, c->raw.data, c->raw.n) == 0) || says_same(a, c, canonical.p, canonical.n)) {
            keep(a, c, (qn_slice){canonical.p, canonical.n + marks[which].n}, marks[which].n, is_plain(a, c, marks, n_marks));
            break;
        }
    }
out:
    for (size_t i = 0; i < n_marks; i++)
        qn_free((void *)(uintptr_t)marks[i].p);
    qn_free(later);
    json_decref(more);
}

/* Under r->learning. */
static void learn_all(api_ask *a)
{
    for (size_t i = 0; i < a->n_choices; i++) {
        const api_choice *c = &a->choices[i];
        bool whole = c->finish != API_FAILED && c->finish != API_DEADLINE && c->raw.n && !c->raw.failed && !c->text.failed && !c->failed;
        for (size_t k = 0; whole && k < c->n_calls; k++)
            whole = c->calls[k].complete && !c->calls[k].arguments.failed;
        if (whole)
            learn(a, c);
    }
}

void api_recall_later(api_ask *a)
{
    api_replay *r = &a->server->replay;
    if (a->mode != API_CHAT || !a->canon || !a->n_plain || a->continue_last || a->error.status || a->failed)
        return;
    qn__lock(&r->queue);
    a->said = a->pending = true;
    a->next_pending = r->pending;
    r->pending = a;
    qn__unlock(&r->queue);
}

/* Take `a` (NULL: any) out of the queue; NULL: it is not there. */
static api_ask *take(api_replay *r, api_ask *a)
{
    qn__lock(&r->queue);
    api_ask **p = &r->pending;
    while (*p && a && *p != a)
        p = &(*p)->next_pending;
    api_ask *got = *p;
    if (got) {
        *p = got->next_pending;
        got->pending = false;
    }
    qn__unlock(&r->queue);
    return got;
}

static void learn_pending(api_replay *r)
{
    qn__lock(&r->learning);
    for (api_ask *a; (a = take(r, NULL));)
        learn_all(a);
    qn__unlock(&r->learning);
}

void api_recall_learn(api_ask *a)
{
    api_replay *r = &a->server->replay;
    if (!a->said)
        return;
    qn__lock(&r->learning);
    if (take(r, a))
        learn_all(a);
    qn__unlock(&r->learning);
}
