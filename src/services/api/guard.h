/* guard.h - who may ask: keys, names in Host, pages in Origin.
 *
 *   Host    an address, localhost, or a name that was allowed: else a page elsewhere whose name was rebound to this machine asks.
 *           Exactly one; absent only in HTTP/1.0
 *   Origin  absent, this server itself, an editor's own page, or one that was allowed: else a page elsewhere asks through a browser
 *   key     Authorization: Bearer, or x-api-key, where keys were set; not for /health
 *
 * CORS headers are sent to pages that were allowed by name and to no others. */
#ifndef QN_SERVICES_API_GUARD_H
#define QN_SERVICES_API_GUARD_H

#include "services/http/secret.h"
#include "services/http/server.h"

typedef struct api_guard {
    http_secrets keys;
    char **origins, **hosts;
    size_t n_origins, n_hosts;
} api_guard;

typedef struct api_verdict {
    int status;      /* 0: may go on */
    const char *why;
} api_verdict;

qn_status api_guard_open(const qn_server_options *o, api_guard *g, qn_err *err);
void api_guard_close(api_guard *g);
/* Host and Origin; sets CORS headers where they belong. */
api_verdict api_guard_page(const api_guard *g, http_exchange *x);
api_verdict api_guard_key(const api_guard *g, http_exchange *x);

/* Pure parts. The name in a Host header or origin, without port; false when there is none,
 * or what follows it is no port. */
bool api_host_name(const char *host, char *out, size_t cap);
bool api_host_is_safe(const char *name);

#endif
