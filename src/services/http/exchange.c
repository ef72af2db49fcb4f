/* exchange.c - a request and its answer: what came in, what goes out, and who still needs it. See server.h.
 *
 * Life: the network thread makes it and holds it until libmicrohttpd is done with the request; whoever answers later holds it,
 * too. After the client went every call on it does nothing. */
#include <string.h>
#include <strings.h>

#include "services/http/http_int.h"

enum { ARENA_LIMIT = 1 << 20, COMPACT = 64 << 10, RELEASED_CAP = 256 << 10 };

/* ---- life ---- */

static char *keep(http_exchange *x, const char *s)
{
    return s ? qn__arena_strndup(&x->arena, s, strlen(s)) : NULL;
}

/* Pairs stay in the order in which they came; of one name the first counts. */
static void add_pair(http_exchange *x, http_pair **list, const char *name, const char *value)
{
    http_pair *p = qn__arena_alloc(&x->arena, sizeof *p);
    char *n = keep(x, name), *v = keep(x, value ? value : "");
    if (!p || !n || !v)
        return;
    *p = (http_pair){.name = n, .value = v};
    while (*list)
        list = &(*list)->next;
    *list = p;
}

static enum MHD_Result pair(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    http_exchange *x = arg;
    if (kind == MHD_HEADER_KIND)
        add_pair(x, &x->headers, name, value);
    else
        add_pair(x, &x->queries, name, value);
    return MHD_YES;
}

http_exchange *http__exchange_open(http_server *s, struct MHD_Connection *c, http_conn *conn, const char *path,
                                   const char *method)
{
    http_exchange *x = qn__calloc(1, sizeof *x);
    if (!x)
        return NULL;
    qn__arena_init(&x->arena, ARENA_LIMIT + s->o.head_limit);
    qn__lock_init(&x->lock);
    qn__lock_init(&x->rest_lock);
    atomic_init(&x->refs, 1);
    x->s = s;
    x->c = c;
    x->conn = conn;
    x->since = x->last_put = qn__now();
    x->path = keep(x, path);
    x->method = keep(x, method);
    x->body.limit = s->o.body_limit;
    (void)MHD_get_connection_values(c, MHD_HEADER_KIND, pair, x);
    (void)MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, pair, x);
    qn__lock(&s->lock);
    x->id = ++s->next_exchange;
    s->n_exchanges++;
    s->requests++;
    conn->x = x;
    conn->phase = HTTP_BODY;
    conn->since = x->since;
    conn->received = 0;
    qn__unlock(&s->lock);
    return x;
}

void http_hold(http_exchange *x)
{
    atomic_fetch_add(&x->refs, 1);
}

void http_release(http_exchange *x)
{
    if (!x || atomic_fetch_sub(&x->refs, 1) != 1)
        return;
    http_server *s = x->s;
    if (x->release_user)
        x->release_user(x->user);
    if (x->response)
        MHD_destroy_response(x->response);
    qn__buf_free(&x->body);
    qn__buf_free(&x->out);
    qn__arena_free(&x->arena);
    qn__lock_destroy(&x->lock);
    qn__lock_destroy(&x->rest_lock);
    qn_free(x);
    qn__lock(&s->lock);
    s->n_exchanges--;
    qn__cond_broadcast(&s->quiet);
    qn__unlock(&s->lock);
}

/* ---- the request ---- */

uint64_t http_id(const http_exchange *x)
{
    return x->id;
}

const char *http_method(const http_exchange *x)
{
    return x->method ? x->method : "";
}

const char *http_path(const http_exchange *x)
{
    return x->path ? x->path : "";
}

static const char *find(const http_pair *p, const char *name)
{
    for (; p; p = p->next)
        if (strcasecmp(p->name, name) == 0)
            return p->value;
    return NULL;
}

const char *http_header(const http_exchange *x, const char *name)
{
    return find(x->headers, name);
}

size_t http_header_count(const http_exchange *x, const char *name)
{
    size_t n = 0;
    for (const http_pair *p = x->headers; p; p = p->next)
        n += strcasecmp(p->name, name) == 0;
    return n;
}

const char *http_query(const http_exchange *x, const char *name)
{
    return find(x->queries, name);
}

const char *http_body(const http_exchange *x, size_t *n)
{
    *n = x->body.n;
    return x->body.data ? x->body.data : "";
}

double http_since(const http_exchange *x)
{
    return x->since;
}

bool http_is_tls(const http_exchange *x)
{
    return x->tls;
}

bool http_is_old(const http_exchange *x)
{
    return x->old;
}

void http_set_quick(http_exchange *x)
{
    x->quick = true;
}

void http_set_user(http_exchange *x, void *user, void (*release)(void *user))
{
    x->user = user;
    x->release_user = release;
}

void *http_get_user(const http_exchange *x)
{
    return x->user;
}

/* ---- the answer ---- */

/* Under lock: let libmicrohttpd go on. */
static void wake(http_exchange *x)
{
    if (x->suspended && x->c) {
        x->suspended = false;
        MHD_resume_connection(x->c);
    }
}

void http_set_header(http_exchange *x, const char *name, const char *value)
{
    qn__lock(&x->lock);
    add_pair(x, &x->answer_headers, name, value);
    qn__unlock(&x->lock);
}

void http_respond(http_exchange *x, int status, const char *type, const void *body, size_t n)
{
    qn__lock(&x->lock);
    if (!x->answered) {
        x->answered = x->ended = true;
        x->status = status;
        x->type = keep(x, type);
        x->sent = n;
        x->response = MHD_create_response_from_buffer(n, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
        wake(x);
    }
    qn__unlock(&x->lock);
}

void http_stream_begin(http_exchange *x, int status, const char *type)
{
    qn__lock(&x->lock);
    if (!x->answered) {
        x->answered = x->streaming = true;
        x->status = status;
        x->type = keep(x, type);
        x->last_put = qn__now();
        wake(x);
    }
    qn__unlock(&x->lock);
}

/* Under lock: nothing more can be said. */
static void give_up(http_exchange *x)
{
    if (x->gone)
        return;
    x->gone = true;
    if (x->on_gone)
        x->on_gone(x->gone_arg);
    x->on_gone = NULL;
    if (x->answered || atomic_load(&x->s->draining))
        wake(x);
}

bool http_stream_put(http_exchange *x, const void *p, size_t n)
{
    qn__lock(&x->lock);
    bool ok = !x->gone && !x->ended;
    if (ok && n) {
        if (x->out_at == x->out.n) {
            x->out.n = x->out_at = 0;
        } else if (x->out_at > COMPACT) {
            x->out.n -= x->out_at;
            memmove(x->out.data, x->out.data + x->out_at, x->out.n);
            x->out_at = 0;
        }
        x->last_put = qn__now();
        if (x->out.n - x->out_at + n <= x->s->o.stream_limit)
            qn__buf_put(&x->out, p, n);
        else
            x->out.failed = true;
        if (x->out.failed) {
            give_up(x);
            ok = false;
        } else if (x->streaming) {
            wake(x);
        }
    }
    qn__unlock(&x->lock);
    return ok;
}

void http_stream_end(http_exchange *x)
{
    qn__lock(&x->lock);
    x->ended = true;
    if (x->streaming)
        wake(x);
    qn__unlock(&x->lock);
}

bool http_is_answered(http_exchange *x)
{
    qn__lock(&x->lock);
    bool b = x->answered;
    qn__unlock(&x->lock);
    return b;
}

bool http_is_gone(http_exchange *x)
{
    qn__lock(&x->lock);
    bool b = x->gone;
    qn__unlock(&x->lock);
    return b;
}

void http_on_gone(http_exchange *x, void (*fn)(void *arg), void *arg)
{
    qn__lock(&x->lock);
    if (fn && x->gone) {
        fn(arg);
    } else {
        x->on_gone = fn;
        x->gone_arg = arg;
    }
    qn__unlock(&x->lock);
}

void http_on_rest(http_exchange *x, void (*fn)(void *arg, http_exchange *x), void *arg)
{
    qn__lock(&x->rest_lock);
    x->on_rest = fn;
    x->rest_arg = arg;
    qn__unlock(&x->rest_lock);
}

void http__exchange_rest(http_exchange *x, double now)
{
    qn__lock(&x->rest_lock);
    if (x->on_rest) {
        qn__lock(&x->lock);
        bool rests = x->streaming && !x->ended && !x->gone && now - x->last_put >= x->s->o.rest_s;
        qn__unlock(&x->lock);
        if (rests)
            x->on_rest(x->rest_arg, x);
    }
    qn__unlock(&x->rest_lock);
}

void http__exchange_gone(http_exchange *x)
{
    qn__lock(&x->lock);
    if (x->c && !(x->ended && x->out_at == x->out.n)) /* the last bytes are on their way: that is no loss */
        give_up(x);
    qn__unlock(&x->lock);
}

/* ---- the network thread's side ---- */

/* libmicrohttpd has room for `max` bytes. */
static ssize_t read_out(void *arg, uint64_t pos, char *buf, size_t max)
{
    http_exchange *x = arg;
    ssize_t got;
    (void)pos;
    qn__lock(&x->lock);
    size_t n = x->out.n - x->out_at;
    if (x->gone) {
        got = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (n) {
        n = n < max ? n : max;
        memcpy(buf, x->out.data + x->out_at, n);
        x->out_at += n;
        x->sent += n;
        got = (ssize_t)n;
        if (x->out_at == x->out.n && x->out.cap > RELEASED_CAP) { /* a burst need not stay in memory */
            const size_t limit = x->out.limit;
            qn__buf_free(&x->out);
            x->out = (qn_buf){.limit = limit};
            x->out_at = 0;
        }
    } else if (x->ended) {
        got = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        got = 0;
        x->suspended = true;
        MHD_suspend_connection(x->c);
    }
    qn__unlock(&x->lock);
    return got;
}

static void free_reader(void *arg)
{
    http_release(arg);
}

enum MHD_Result http__exchange_queue(http_exchange *x)
{
    enum { BLOCK = 16 << 10 };
    enum MHD_Result rc = MHD_NO;
    qn__lock(&x->lock);
    if (x->streaming && !x->response) {
        http_hold(x);
        x->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_out, x, free_reader);
        if (!x->response)
            atomic_fetch_sub(&x->refs, 1); /* never the last: the caller holds one */
    }
    struct MHD_Response *r = x->response;
    struct MHD_Connection *c = x->c;
    const unsigned status = (unsigned)x->status;
    if (r && c) {
        if (x->type)
            (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, x->type);
        for (http_pair *p = x->answer_headers; p; p = p->next)
            (void)MHD_add_response_header(r, p->name, p->value);
        if (atomic_load(&x->s->draining))
            (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    }
    x->response = NULL;
    qn__unlock(&x->lock);
    if (r && c) /* takes the response's lock, under which read_out takes ours */
        rc = MHD_queue_response(c, status, r);
    if (r)
        MHD_destroy_response(r);
    return rc;
}

void http__exchange_completed(http_exchange *x, bool ok)
{
    http_server *s = x->s;
    qn__lock(&s->lock);
    http_conn *conn = x->conn;
    http__watch_remove(s, conn);
    conn->x = NULL;
    conn->phase = HTTP_IDLE;
    conn->since = qn__now();
    qn__unlock(&s->lock);
    qn__lock(&x->lock);
    x->c = NULL;
    x->suspended = false;
    ok = ok && !x->gone;
    if (!ok)
        give_up(x);
    x->complete = ok;
    x->on_gone = NULL;
    const int status = x->status;
    const uint64_t sent = x->sent;
    qn__unlock(&x->lock);
    if (s->o.done)
        s->o.done(s->o.arg, x, status, sent, !ok);
    http_release(x);
}
