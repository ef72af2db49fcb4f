/* routes.h - the endpoints of all protocols. See routes.c, and ask.h for how to add one. */
#ifndef QN_SERVICES_API_ROUTES_H
#define QN_SERVICES_API_ROUTES_H

#include "services/api/ask.h"

typedef void (*api_handler)(api_server *s, http_exchange *x, api_at *body);

typedef enum api_route_flags {
    API_GET = 1,   /* and HEAD */
    API_POST = 2,
    API_DELETE = 4,
    API_QUICK = 8, /* needs no body and never waits: answered on the network thread */
    API_OPEN = 16  /* needs no key */
} api_route_flags;

typedef struct api_route {
    const char *path;  /* without /v1; a trailing * matches the rest */
    unsigned flags;
    api_handler handle;
    const api_wire *wire; /* also of errors before the handler is called */
} api_route;

/* The part of the path that * matched; "" when there is none. */
const char *api_route_rest(http_exchange *x);

extern const api_wire api_openai_chat_wire, api_openai_text_wire, api_openai_wire;

/* openai_chat.c */
void api_openai_chat(api_server *s, http_exchange *x, api_at *body);
/* openai_models.c */
void api_openai_models(api_server *s, http_exchange *x, api_at *body);
void api_openai_model(api_server *s, http_exchange *x, api_at *body);
/* plain.c */
void api_health(api_server *s, http_exchange *x, api_at *body);
/* openai_common.c: {"error":{...}} */
void api_openai_error(const api_error *e, api_ask *a, qn_buf *out);

#endif
