/* replay.c - see replay.h. */
#include "services/api/replay.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "services/api/ask_int.h"
#include "services/api/serve.h"

/* ---- the table ---- */

void api_replay_open(api_replay *r, size_t limit)
{
    *r = (api_replay){.limit = limit};
    qn__lock_init(&r->lock);
}

static size_t size_of(const api_replay_entry *e)
{
    return sizeof *e + strlen(e->id) + e->n_canonical + e->n_exact;
}

static void drop(api_replay *r, api_replay_entry *e)
{
    *(e->newer ? &e->newer->older : &r->newest) = e->older;
    *(e->older ? &e->older->newer : &r->oldest) = e->newer;
    r->bytes -= size_of(e);
    qn_free(e->id);
    qn_free(e->canonical);
    qn_free(e->exact);
    qn_free(e);
}

void api_replay_close(api_replay *r)
{
    while (r->oldest)
        drop(r, r->oldest);
    qn__lock_destroy(&r->lock);
}

static void keep(api_replay *r, const char *id, const char *canonical, size_t n_canonical, const char *exact, size_t n_exact)
{
    api_replay_entry *e = qn__calloc(1, sizeof *e);
    if (!e)
        return;
    e->id = qn__strndup(id, strlen(id));
    e->canonical = qn__strndup(canonical, n_canonical);
    e->exact = qn__strndup(exact, n_exact);
    e->n_canonical = n_canonical;
    e->n_exact = n_exact;
    if (!e->id || !e->canonical || !e->exact) {
        qn_free(e->id);
        qn_free(e->canonical);
        qn_free(e->exact);
        qn_free(e);
        return;
    }
    qn__lock(&r->lock);
    e->older = r->newest;
    *(r->newest ? &r->newest->newer : &r->oldest) = e;
    r->newest = e;
    r->bytes += size_of(e);
    r->kept++;
    while (r->bytes > r->limit && r->oldest)
        drop(r, r->oldest);
    qn__unlock(&r->lock);
}

/* ---- using it ---- */

/* Replace at `from` or later; returns where to go on. */
static size_t replace(api_ask *a, const char *id, size_t from)
{
    api_replay *r = &a->server->replay;
    qn__lock(&r->lock);
    for (api_replay_entry *e = r->newest; e; e = e->older) {
        if (strcmp(e->id, id) != 0)
            continue;
        const char *at = memmem(a->rendered + from, a->n_rendered - from, e->canonical, e->n_canonical);
        if (!at)
            continue;
        const size_t pos = (size_t)(at - a->rendered), rest = a->n_rendered - pos - e->n_canonical;
        const size_t n = pos + e->n_exact + rest;
        char *text = qn__alloc(n + 1);
        if (!text)
            break;
        memcpy(text, a->rendered, pos);
        memcpy(text + pos, e->exact, e->n_exact);
        memcpy(text + pos + e->n_exact, at + e->n_canonical, rest);
        text[n] = 0;
        qn_free(a->rendered);
        a->rendered = text;
        a->n_rendered = n;
        from = pos + e->n_exact;
        r->used++;
        break;
    }
    qn__unlock(&r->lock);
    return from;
}

qn_status api_replay_apply(api_ask *a, const json_t *canon, qn_err *err)
{
    size_t from = 0;
    (void)err;
    for (size_t i = 0; i < json_array_size(canon); i++) {
        const json_t *calls = json_object_get(json_array_get(canon, i), "tool_calls");
        const char *id = json_string_value(json_object_get(json_array_get(calls, 0), "id"));
        if (id)
            from = replace(a, id, from);
    }
    return QN_OK;
}

/* ---- learning ---- */

/* The message as the client will send it back. */
static json_t *message_of(const api_choice *c)
{
    json_t *calls = json_array(), *m;
    for (size_t i = 0; i < c->n_calls; i++) {
        const api_call *k = &c->calls[i];
        (void)json_array_append_new(calls, json_pack("{s:s, s:s, s:{s:s, s:s%}}", "id", k->id, "type", "function", "function",
                                                     "name", k->name, "arguments", k->arguments.data ? k->arguments.data : "",
                                                     k->arguments.n));
    }
    m = json_pack("{s:s, s:s%, s:o}", "role", "assistant", "content", c->text.data ? c->text.data : "", c->text.n, "tool_calls",
                  calls);
    if (m && c->reasoning.n)
        (void)json_object_set_new(m, "reasoning_content", json_stringn(c->reasoning.data, c->reasoning.n));
    return m;
}

/* Where the end of the turn begins in the last part of a rendered message. */
static size_t turn_end(const api_model *m, const char *text, size_t n)
{
    const int32_t ids[] = {m->info.eot, m->info.eos};
    for (size_t i = 0; i < 2; i++) {
        char *mark = NULL;
        size_t k = 0;
        if (ids[i] < 0 || api_token_bytes(m, ids[i], &mark, &k) != QN_OK)
            continue;
        for (size_t at = n; k && at-- > 0;)
            if (at + k <= n && memcmp(text + at, mark, k) == 0) {
                qn_free(mark);
                return at;
            }
        qn_free(mark);
    }
    while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
        n--;
    return n;
}

static void learn(api_ask *a, const api_choice *c)
{
    enum { LEAST = 8 };
    char *later = NULL;
    size_t n_later = 0, same = 0;
    json_t *m = message_of(c);
    qn_buf now = {0};
    if (!m || api_render_with(a, m, &later, &n_later, NULL))
        goto out;
    qn__buf_put(&now, a->rendered, a->n_rendered);
    qn__buf_put(&now, c->raw.data, c->raw.n);
    if (now.failed)
        goto out;
    while (same < n_later && same < now.n && later[same] == now.data[same])
        same++;
    if (same == now.n || same < a->n_rendered)
        goto out; /* nothing to mend, or the template writes history in another way altogether */
    const char *call = c->calls[0].exact.n ? memmem(c->raw.data, c->raw.n, c->calls[0].exact.data, c->calls[0].exact.n) : NULL;
    const size_t begins = call ? a->n_rendered + (size_t)(call - c->raw.data) : same;
    const size_t from = begins < same ? begins : same;
    const size_t end = from + turn_end(a->loaded, later + from, n_later - from);
    if (end > from + LEAST)
        keep(&a->server->replay, c->calls[0].id, later + from, end - from, now.data + from, now.n - from);
out:
    qn__buf_free(&now);
    qn_free(later);
    json_decref(m);
}

void api_replay_learn(api_ask *a)
{
    if (a->mode != API_CHAT || !a->canon || !a->rendered)
        return;
    for (size_t i = 0; i < a->n_choices; i++) {
        const api_choice *c = &a->choices[i];
        bool whole = c->finish == API_CALLS && !c->raw.failed;
        for (size_t k = 0; whole && k < c->n_calls; k++)
            whole = c->calls[k].complete;
        if (whole)
            learn(a, c);
    }
}
