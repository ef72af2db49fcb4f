/* serve.c - qn_server_*: a server's life. */
#include "services/api/serve.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "services/http/system.h"

enum { PEM_MAX = 1 << 20 };

struct qn_server {
    struct api_server api;
    double drain_s;
};

void qn_server_options_init(qn_server_options *o)
{
    *o = (qn_server_options){.ollama_port = -1, .port = 8080, .temperature = 0.7f, .top_p = 0.95f, .recall_ram = 16 << 20};
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

/* ---- opening ---- */

/* The terminated text of a PEM file; NULL path: NULL. */
static qn_status read_pem(const char *path, char **out, qn_err *err)
{
    size_t n;
    return path ? qn__read_file(path, PEM_MAX, out, &n, err) : QN_OK;
}

/* A port, or a socket that the service manager opened. Beyond this machine only with a key. */
static qn_status listen_one(api_server *s, const qn_server_options *o, int32_t port, int fd, const char *cert, const char *key,
                            int *chosen, qn_err *err)
{
    uint16_t got = 0;
    http_listen l = {.host = o->host ? o->host : "127.0.0.1", .port = (uint16_t)port, .fd = fd, .cert = cert, .key = key};
    if (!s->guard.keys.n && !o->insecure && !http_is_local(l.host, l.fd))
        return qn__fail(err, QN_EINVAL, l.host,
                        "other machines could use this server without a key; give one (--api-key-file), or say --insecure");
    qn_status st = http_server_listen(s->http, &l, &got, err);
    if (!st)
        *chosen = got;
    return st;
}

static qn_status listen_all(api_server *s, const qn_server_options *o, qn_err *err)
{
    int fds[2] = {-1, -1};
    char *cert = NULL, *key = NULL;
    (void)http_inherited(fds, 2);
    qn_status st = QN_OK;
    if (!o->cert != !o->key)
        st = qn__fail(err, QN_EINVAL, "TLS", "a certificate and its key go together; give both files");
    if (!st)
        st = read_pem(o->cert, &cert, err);
    if (!st)
        st = read_pem(o->key, &key, err);
    if (!st)
        st = listen_one(s, o, o->port, fds[0], cert, key, &s->ports[0], err);
    if (!st && (o->ollama_port >= 0 || fds[1] >= 0))
        st = listen_one(s, o, o->ollama_port, fds[1], cert, key, &s->ports[1], err);
    qn_free(cert);
    if (key)
        explicit_bzero(key, strlen(key));
    qn_free(key);
    return st;
}

static qn_status preload(api_server *s, qn_err *err)
{
    char text[200];
    api_model *m = &s->models.list[0];
    qn_status st = api_model_hold(&s->models, m, NULL, err);
    if (st)
        return st;
    if (m->info.n_ctx_train > 0 && m->engine_info.n_ctx > m->info.n_ctx_train) {
        (void)snprintf(text, sizeof text, "the context of %d tokens is longer than the %d that %.60s was trained for",
                       m->engine_info.n_ctx, m->info.n_ctx_train, m->name);
        api_log_text(s, "warning", text);
    }
    api_model_release(&s->models, m);
    return QN_OK;
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
    s->o.loop = o->loop;
    s->log = o->log;
    s->log_arg = o->log_arg;
    s->log_prompts = o->log_prompts;
    s->started = qn__now();
    q->drain_s = o->drain_s > 0 ? o->drain_s : 30;
    const api_models_options models = {.paths = o->models, .n_paths = o->n_models, .engine = o->engine,
                                       .scheduler = o->scheduler, .memory = o->memory};
    const http_options http = {.body_limit = o->body_limit, .idle_s = o->idle_s, .body_s = o->body_s, .arg = s, .head = api_head,
                               .handle = api_handle, .refuse = api_refuse_http, .done = api_done};
    qn_status st = api_models_open(&models, &s->models, err);
    if (st) {
        qn_free(q);
        return st;
    }
    qn__lock_init(&s->asks_lock);
    st = api_replay_open(&s->replay, (size_t)o->recall_ram, o->engine.kv_disk, err);
    if (!st)
        st = http_bell_open(&s->bell, err);
    if (!st)
        st = api_guard_open(o, &s->guard, err);
    if (!st)
        st = http_server_open(&http, &s->http, err);
    if (!st)
        st = listen_all(s, o, err);
    if (!st && o->preload) /* requests that come meanwhile wait for it */
        st = preload(s, err);
    if (st) {
        qn_server_close(q);
        return st;
    }
    http_notify("READY=1");
    *out = q;
    return QN_OK;
}

int32_t qn_server_port(const qn_server *s, int32_t *ollama)
{
    if (ollama)
        *ollama = s->api.ports[1];
    return s->api.ports[0];
}

/* ---- ending ---- */

void qn_server_stop(qn_server *s)
{
    http_bell_ring(s->api.bell);
}

void qn_server_wait(qn_server *s)
{
    (void)http_bell_wait(s->api.bell, -1);
    http_notify("STOPPING=1");
    atomic_store(&s->api.stopping, true);
    api_log_text(&s->api, "stopping", "no new requests; those that run may end");
    http_server_quiesce(s->api.http);
    const double until = qn__now() + s->drain_s;
    while (!http_server_is_quiet(s->api.http) && qn__now() < until)
        if (http_bell_wait(s->api.bell, 0.05))
            break; /* asked a second time */
    api_models_stop(&s->api.models);
    http_server_drain(s->api.http);
}

void qn_server_close(qn_server *s)
{
    if (!s)
        return;
    api_server *a = &s->api;
    api_models_stop(&a->models);
    http_server_close(a->http);
    api_models_close(&a->models);
    api_replay_close(&a->replay);
    api_guard_close(&a->guard);
    qn__lock_destroy(&a->asks_lock);
    http_bell_close(a->bell);
    qn_free(s);
}
