/* routes.c - which path is answered by whom, and what every request goes through first.
 *
 * Order of checks: Host and Origin (403), the key (401), the path (404), the method (405), then on a worker the body (400), then the handler. Errors have the form of
 * the route's protocol; where no route is found, OpenAI's. */
#include "services/api/routes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "services/api/serve.h"

static const api_route table[] = {
    {"/health", API_GET | API_QUICK | API_OPEN, api_health, &api_openai_wire},
    {"/models", API_GET | API_QUICK, api_openai_models, &api_openai_wire},
    {"/models/*", API_GET | API_QUICK, api_openai_model, &api_openai_wire},
    {"/chat/completions", API_POST, api_openai_chat, &api_openai_chat_wire},
    {"/completions", API_POST, api_openai_completions, &api_openai_text_wire},
    {"/embeddings", API_POST, api_openai_embeddings, &api_openai_wire},
    {"/tokenize", API_POST, api_tokenize, &api_openai_wire},
    {"/detokenize", API_POST, api_detokenize, &api_openai_wire},
    {"/apply-template", API_POST, api_apply_template, &api_openai_wire},
    {"/props", API_GET, api_props, &api_openai_wire},
    {"/metrics", API_GET, api_metrics, &api_openai_wire},
    {"/requests", API_GET | API_QUICK, api_requests, &api_openai_wire},
    {"/slots", API_GET | API_QUICK, api_requests, &api_openai_wire},
    {"/api/chat", API_POST, api_ollama_chat, &api_ollama_run_wire},
    {"/api/generate", API_POST, api_ollama_generate, &api_ollama_run_wire},
    {"/api/embed", API_POST, api_ollama_embed, &api_ollama_wire},
    {"/api/embeddings", API_POST, api_ollama_embed, &api_ollama_wire},
    {"/api/tags", API_GET, api_ollama_tags, &api_ollama_wire},
    {"/api/ps", API_GET, api_ollama_ps, &api_ollama_wire},
    {"/api/show", API_POST, api_ollama_show, &api_ollama_wire},
    {"/api/pull", API_POST, api_ollama_pull, &api_ollama_wire},
    {"/api/version", API_GET, api_ollama_version, &api_ollama_wire},
    {"/", API_GET | API_OPEN, api_ollama_root, &api_openai_wire},
    {"/infill", API_POST, api_infill, &api_native_wire},
    {"/completion", API_POST, api_completion, &api_native_wire},
    {"/responses", API_POST, api_openai_responses, &api_responses_wire},
    {"/messages", API_POST, api_anthropic_messages, &api_anthropic_wire},
    {"/messages/count_tokens", API_POST, api_anthropic_count, &api_anthropic_wire},
};
enum { N_ROUTES = sizeof table / sizeof *table };

static const api_route nowhere = {"", 0, NULL, &api_openai_wire};

/* ---- finding ---- */

static bool matches(const char *pattern, const char *path)
{
    const size_t n = strlen(pattern);
    if (n && pattern[n - 1] == '*')
        return strncmp(pattern, path, n - 1) == 0 && path[n - 1];
    if (strncmp(pattern, path, n) != 0)
        return false;
    return !path[n] || (n > 1 && path[n] == '/' && !path[n + 1]); /* a slash at the end does not matter */
}

static const char *without_version(const char *path)
{
    return strncmp(path, "/v1/", 4) == 0 ? path + 3 : path;
}

static const api_route *find(const char *path)
{
    path = without_version(path);
    for (size_t i = 0; i < N_ROUTES; i++)
        if (matches(table[i].path, path))
            return &table[i];
    return NULL;
}

static const api_route *route_of(http_exchange *x)
{
    const api_route *r = http_get_user(x);
    return r ? r : &nowhere;
}

const api_wire *api_wire_of(http_exchange *x)
{
    return route_of(x)->wire;
}

const char *api_route_rest(http_exchange *x)
{
    const api_route *r = route_of(x);
    const size_t n = strlen(r->path);
    return n && r->path[n - 1] == '*' ? without_version(http_path(x)) + n - 1 : "";
}

/* ---- errors ---- */

void api_fail(api_server *s, http_exchange *x, const api_error *e)
{
    qn_buf b = {0};
    (void)s;
    if (e->retry_s) {
        char seconds[16];
        (void)snprintf(seconds, sizeof seconds, "%d", e->retry_s);
        http_set_header(x, "Retry-After", seconds);
    }
    api_wire_of(x)->error(e, NULL, &b);
    http_respond(x, e->status, "application/json", b.failed ? "" : b.data, b.failed ? 0 : b.n);
    qn__buf_free(&b);
}

void api_fail_status(api_server *s, http_exchange *x, int status, const char *code, const char *fmt, ...)
{
    api_error e = {.status = status, .code = code};
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(e.message, sizeof e.message, fmt, ap);
    va_end(ap);
    if (status == 503 || status == 429)
        e.retry_s = 2;
    api_fail(s, x, &e);
}

void api_respond(http_exchange *x, const char *type, qn_buf *b)
{
    if (b->failed)
        http_respond(x, 503, NULL, "", 0);
    else
        http_respond(x, 200, type, b->data, b->n);
    qn__buf_free(b);
}

void api_refuse_http(void *server, http_exchange *x, int status, const char *why)
{
    api_server *s = server;
    api_fail_status(s, x, status, status == 413 ? "body_too_large" : "overloaded", "%s", why);
}

/* ---- the way of a request ---- */

static unsigned method_of(http_exchange *x)
{
    static const struct {
        const char *name;
        unsigned flag;
    } methods[] = {{"GET", API_GET}, {"HEAD", API_GET}, {"POST", API_POST}, {"DELETE", API_DELETE}};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(http_method(x), methods[i].name) == 0)
            return methods[i].flag;
    return 0;
}

static void allow(http_exchange *x, unsigned flags)
{
    char list[64];
    (void)snprintf(list, sizeof list, "%s%s%sOPTIONS", flags & API_GET ? "GET, HEAD, " : "", flags & API_POST ? "POST, " : "",
                   flags & API_DELETE ? "DELETE, " : "");
    http_set_header(x, "Allow", list);
}

void api_head(void *server, http_exchange *x)
{
    api_server *s = server;
    const api_route *r = find(http_path(x));
    atomic_fetch_add(&s->totals.requests, 1);
    http_set_user(x, (void *)(uintptr_t)r, NULL);
    char id[24];
    (void)snprintf(id, sizeof id, "%" PRIu64, http_id(x));
    http_set_header(x, "x-request-id", id);
    api_verdict v = api_guard_page(&s->guard, x);
    if (!v.status && strcmp(http_method(x), "OPTIONS") == 0) {
        allow(x, r ? r->flags : API_GET);
        http_respond(x, 204, NULL, "", 0);
        return;
    }
    if (!v.status && !(r && r->flags & API_OPEN))
        v = api_guard_key(&s->guard, x);
    if (v.status) {
        api_fail_status(s, x, v.status, v.status == 401 ? "invalid_api_key" : v.status == 403 ? "forbidden" : NULL, "%s", v.why);
    } else if (atomic_load(&s->stopping)) {
        api_fail_status(s, x, 503, "shutting_down", "the server is shutting down");
    } else if (!r) {
        api_fail_status(s, x, 404, NULL, "nothing is served at '%.200s'", http_path(x));
    } else if (!(r->flags & method_of(x))) {
        allow(x, r->flags);
        api_fail_status(s, x, 405, NULL, "%.20s is not for this path", http_method(x));
    } else if (r->flags & API_QUICK) {
        http_set_quick(x);
    }
}

void api_handle(void *server, http_exchange *x)
{
    api_server *s = server;
    const api_route *r = route_of(x);
    qn_err err = {0};
    json_t *j = NULL;
    api_at body = {.key = "", .err = &err};
    if (!r->handle)
        return;
    if (method_of(x) == API_POST) {
        size_t n;
        char *text = (char *)(uintptr_t)http_body(x, &n);
        qn_status st = api_json_parse(text, n, &j, &err);
        if (!st) {
            body = api_root(j, &err);
            st = err.code;
        }
        if (st) {
            api_error e;
            api_error_from(&e, &err);
            e.param[0] = 0;
            api_fail(s, x, &e);
            json_decref(j);
            return;
        }
    }
    r->handle(s, x, &body);
    json_decref(j);
}
