/* serve.c - qn_server_*: a server's life. */
#include "services/api/serve.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "services/http/system.h"

struct qn_server {
    struct api_server api;
    double drain_s;
};

void qn_server_options_init(qn_server_options *o)
{
    *o = (qn_server_options){.ollama_port = -1, .port = 8080, .temperature = 0.7f, .top_p = 0.95f};
    qn_engine_options_init(&o->engine);
    qn_scheduler_options_init(&o->scheduler);
}

void api_make_id(api_server *s, char *out, size_t n)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    unsigned char b[64];
    (void)s;
    http_random(b, n < sizeof b ? n : sizeof b);
    for (size_t i = 0; i < n; i++)
        out[i] = letters[b[i % sizeof b] % 62];
    out[n] = 0;
}

uint64_t api_random(api_server *s)
{
    uint64_t v;
    (void)s;
    http_random(&v, sizeof v);
    return v;
}

void api_account(const api_ask *a)
{
    api_usage u;
    api_get_usage(a, &u);
    atomic_fetch_add(&a->server->totals.prompt_tokens, (uint64_t)u.prompt);
    atomic_fetch_add(&a->server->totals.cached_tokens, (uint64_t)u.cached);
    atomic_fetch_add(&a->server->totals.generated_tokens, (uint64_t)u.generated);
}

void api_done(void *server, http_exchange *x, int status, uint64_t sent, bool gone)
{
    api_server *s = server;
    char line[512];
    if (status >= 400)
        atomic_fetch_add(&s->totals.errors, 1);
    if (gone)
        atomic_fetch_add(&s->totals.gone, 1);
    if (!s->log)
        return;
    (void)snprintf(line, sizeof line,
                   "{\"event\":\"request\",\"request\":%llu,\"method\":\"%.16s\",\"path\":\"%.100s\",\"status\":%d,\"bytes\":%llu,"
                   "\"seconds\":%.3f%s}",
                   (unsigned long long)http_id(x), http_method(x), http_path(x), status, (unsigned long long)sent,
                   qn__now() - http_since(x), gone ? ",\"gone\":true" : "");
    s->log(s->log_arg, line);
}

static qn_status listen_all(api_server *s, const qn_server_options *o, qn_err *err)
{
    uint16_t port = 0;
    http_listen l = {.host = o->host ? o->host : "127.0.0.1", .port = (uint16_t)o->port, .fd = -1};
    qn_status st = http_server_listen(s->http, &l, &port, err);
    s->ports[0] = port;
    return st;
}

qn_status qn_server_open(const qn_server_options *o, qn_server **out, qn_err *err)
{
    qn_server *q = qn__calloc(1, sizeof *q);
    if (!q)
        return qn__fail_mem(err, "serve");
    api_server *s = &q->api;
    s->bell = -1;
    s->o.temperature = o->temperature;
    s->o.top_p = o->top_p;
    s->o.min_p = o->min_p;
    s->log = o->log;
    s->log_arg = o->log_arg;
    s->log_prompts = o->log_prompts;
    s->started = qn__now();
    q->drain_s = o->drain_s > 0 ? o->drain_s : 30;
    const api_models_options models = {.paths = o->models, .n_paths = o->n_models, .engine = o->engine,
                                       .scheduler = o->scheduler, .memory = o->memory};
    const http_options http = {.body_limit = o->body_limit, .idle_s = o->idle_s, .arg = s, .head = api_head,
                               .handle = api_handle, .refuse = api_refuse_http, .done = api_done};
    qn_status st = api_models_open(&models, &s->models, err);
    if (st) {
        qn_free(q);
        return st;
    }
    api_replay_open(&s->replay, (size_t)16 << 20);
    qn__lock_init(&s->asks_lock);
    st = http_bell_open(&s->bell, err);
    if (!st)
        st = http_server_open(&http, &s->http, err);
    if (!st && o->preload) {
        st = api_model_hold(&s->models, &s->models.list[0], err);
        if (!st)
            api_model_release(&s->models, &s->models.list[0]);
    }
    if (!st)
        st = listen_all(s, o, err);
    if (st)
        qn_server_close(q);
    else
        *out = q;
    return st;
}

int32_t qn_server_port(const qn_server *s, int32_t *ollama)
{
    if (ollama)
        *ollama = s->api.ports[1];
    return s->api.ports[0];
}

void qn_server_stop(qn_server *s)
{
    http_bell_ring(s->api.bell);
}

void qn_server_wait(qn_server *s)
{
    (void)http_bell_wait(s->api.bell, -1);
    http_server_drain(s->api.http, s->drain_s);
}

void qn_server_close(qn_server *s)
{
    if (!s)
        return;
    http_server_close(s->api.http);
    api_models_close(&s->api.models);
    api_replay_close(&s->api.replay);
    qn__lock_destroy(&s->api.asks_lock);
    http_bell_close(s->api.bell);
    qn_free(s);
}
