/* guard.c - see guard.h. */
#include "services/api/guard.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"

/* ---- lists ---- */

static qn_status copy_list(const char *const *from, size_t n, char ***out, size_t *n_out, qn_err *err)
{
    if (!n)
        return QN_OK;
    *out = qn__calloc(n, sizeof **out);
    for (size_t i = 0; *out && i < n; i++) {
        (*out)[i] = qn__strndup(from[i], strlen(from[i]));
        if (!(*out)[i])
            break;
        *n_out = i + 1;
    }
    return *n_out == n ? QN_OK : qn__fail_mem(err, "serve");
}

static void free_list(char **list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        qn_free(list[i]);
    qn_free(list);
}

static bool listed(char *const *list, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], "*") == 0 || strcasecmp(list[i], what) == 0)
            return true;
    return false;
}

qn_status api_guard_open(const qn_server_options *o, api_guard *g, qn_err *err)
{
    *g = (api_guard){0};
    qn_status st = http_secrets_open(&g->keys, o->keys, o->n_keys, err);
    if (!st)
        st = copy_list(o->origins, o->n_origins, &g->origins, &g->n_origins, err);
    if (!st)
        st = copy_list(o->hosts, o->n_hosts, &g->hosts, &g->n_hosts, err);
    return st;
}

void api_guard_close(api_guard *g)
{
    http_secrets_close(&g->keys);
    free_list(g->origins, g->n_origins);
    free_list(g->hosts, g->n_hosts);
    *g = (api_guard){0};
}

/* ---- hosts and origins ---- */

bool api_host_name(const char *host, char *out, size_t cap)
{
    const char *end = host[0] == '[' ? strchr(host, ']') : strchr(host, ':');
    const size_t n = end ? (size_t)(end - host) + (host[0] == '[') : strlen(host);
    if (!n || n >= cap || (host[0] == '[' && !end))
        return false;
    const char *port = host + n;
    if (*port && (*port != ':' || port[1 + strspn(port + 1, "0123456789")]))
        return false;
    memcpy(out, host, n);
    out[n] = 0;
    return true;
}

/* An address cannot be rebound; localhost is this machine by standard. */
bool api_host_is_safe(const char *name)
{
    const size_t n = strlen(name);
    if (name[0] == '[')
        return name[n - 1] == ']' && strspn(name + 1, "0123456789abcdefABCDEF:.%") >= n - 2;
    if (strcasecmp(name, "localhost") == 0 || (n > 10 && strcasecmp(name + n - 10, ".localhost") == 0))
        return true;
    int parts = 0;
    for (const char *p = name; *p; parts++) {
        size_t digits = 0;
        int v = 0;
        while (isdigit((unsigned char)p[digits]) && digits < 4)
            v = v * 10 + p[digits++] - '0';
        if (!digits || v > 255 || (p[digits] && (p[digits] != '.' || !p[digits + 1])))
            return false;
        p += digits + (p[digits] == '.');
    }
    return parts == 4;
}

/* Pages that only a program on this machine can have opened. */
static bool is_editor(const char *origin)
{
    static const char *const schemes[] = {"vscode-webview://", "vscode-file://", "app://", "tauri://"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (strncasecmp(origin, schemes[i], strlen(schemes[i])) == 0)
            return true;
    return false;
}

static bool is_self(const char *origin, const char *host, bool tls)
{
    const char *scheme = tls ? "https://" : "http://";
    const size_t n = strlen(scheme);
    return host && strncasecmp(origin, scheme, n) == 0 && strcasecmp(origin + n, host) == 0;
}

static void allow_origin(http_exchange *x, const char *origin)
{
    const char *headers = http_header(x, "access-control-request-headers");
    http_set_header(x, "Access-Control-Allow-Origin", origin);
    http_set_header(x, "Vary", "Origin");
    if (strcmp(http_method(x), "OPTIONS") != 0)
        return;
    http_set_header(x, "Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE, OPTIONS");
    http_set_header(x, "Access-Control-Allow-Headers", headers ? headers : "authorization, content-type");
    http_set_header(x, "Access-Control-Max-Age", "600");
}

api_verdict api_guard_page(const api_guard *g, http_exchange *x)
{
    const char *host = http_header(x, "host"), *origin = http_header(x, "origin");
    char name[256];
    if (!host && !http_is_old(x))
        return (api_verdict){400, "a request of HTTP/1.1 says in Host whom it is for"};
    if (http_header_count(x, "host") > 1) /* which of them somebody on the way believed cannot be known */
        return (api_verdict){400, "there is more than one Host"};
    if (host && (!api_host_name(host, name, sizeof name) || (!api_host_is_safe(name) && !listed(g->hosts, g->n_hosts, name))))
        return (api_verdict){403, "the name in Host is not one of this server's; allow it with --allow-host"};
    if (!origin)
        return (api_verdict){0};
    if (listed(g->origins, g->n_origins, origin)) {
        allow_origin(x, origin);
        return (api_verdict){0};
    }
    if (is_self(origin, host, http_is_tls(x)) || is_editor(origin))
        return (api_verdict){0};
    return (api_verdict){403, "pages of this origin may not ask; allow them with --allow-origin"};
}

api_verdict api_guard_key(const api_guard *g, http_exchange *x)
{
    if (!g->keys.n)
        return (api_verdict){0};
    const char *bearer = http_header(x, "authorization"), *key = http_header(x, "x-api-key");
    if (bearer && strncasecmp(bearer, "bearer ", 7) == 0) {
        key = bearer + 7;
        while (*key == ' ')
            key++;
    }
    if (http_secrets_have(&g->keys, key))
        return (api_verdict){0};
    http_set_header(x, "WWW-Authenticate", "Bearer");
    return (api_verdict){401, key ? "the key is not one of this server's" : "a key is needed: Authorization: Bearer KEY, or x-api-key"};
}
