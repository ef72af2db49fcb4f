/* serve.h - a server: what all requests share. The public side is qn_server_* in quern.h. */
#ifndef QN_SERVICES_API_SERVE_H
#define QN_SERVICES_API_SERVE_H

#include <stdatomic.h>

#include "services/api/ask.h"
#include "services/api/guard.h"
#include "services/api/models.h"
#include "services/api/replay.h"
#include "services/http/server.h"

/* Totals since the start. */
typedef struct api_totals {
    atomic_uint_least64_t requests, errors, gone, prompt_tokens, cached_tokens, generated_tokens, loops;
} api_totals;

struct api_server {
    struct {
        float temperature, top_p, min_p; /* where a request names none */
        qn_loops loop;
    } o;
    api_models models;
    http_server *http;
    api_replay replay;
    api_guard guard;
    atomic_bool stopping; /* no new requests */
    qn_lock asks_lock;
    api_ask *asks; /* that run */
    int bell;
    int ports[2];  /* listened on; 0: not */
    bool log_prompts;
    void (*log)(void *arg, const char *line);
    void *log_arg;
    double started;
    api_totals totals;
};

/* n letters and digits that nobody can guess, terminated. */
void api_make_id(api_server *s, char *out, size_t n);
uint64_t api_random(api_server *s);
/* log.c. Count an ask that ended, and write it down. */
void api_account(const api_ask *a);
void api_log_prompt(const api_ask *a);
void api_log_text(api_server *s, const char *event, const char *text);

/* routes.c: what the HTTP room calls */
void api_head(void *server, http_exchange *x);
void api_handle(void *server, http_exchange *x);
void api_refuse_http(void *server, http_exchange *x, int status, const char *why);
void api_done(void *server, http_exchange *x, int status, uint64_t sent, bool gone);

#endif
