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
void api_openai_read_chat(api_ask *a, const api_at *body);
/* native.c */
extern const api_wire api_native_wire;
void api_infill(api_server *s, http_exchange *x, api_at *body);
void api_completion(api_server *s, http_exchange *x, api_at *body);
/* responses.c */
extern const api_wire api_responses_wire;
void api_openai_responses(api_server *s, http_exchange *x, api_at *body);
/* anthropic.c */
extern const api_wire api_anthropic_wire;
void api_anthropic_messages(api_server *s, http_exchange *x, api_at *body);
void api_anthropic_count(api_server *s, http_exchange *x, api_at *body);
/* openai_models.c */
void api_openai_models(api_server *s, http_exchange *x, api_at *body);
void api_openai_model(api_server *s, http_exchange *x, api_at *body);
/* openai_completions.c */
void api_openai_completions(api_server *s, http_exchange *x, api_at *body);
/* openai_embeddings.c */
void api_openai_embeddings(api_server *s, http_exchange *x, api_at *body);
/* The vectors of a->prompts (after api_ask_prepare), of the first `dimensions` values (0: all) to length 1, one after another. False:
 * it was answered with an error, and ask and `out` are gone. */
bool api_embed_each(api_ask *a, int32_t dimensions, void (*put)(void *arg, size_t i, const float *v, size_t n, qn_buf *out), void *arg, qn_buf *out);
/* ollama.c, ollama_models.c */
extern const api_wire api_ollama_wire, api_ollama_run_wire;
void api_ollama_chat(api_server *s, http_exchange *x, api_at *body);
void api_ollama_generate(api_server *s, http_exchange *x, api_at *body);
void api_ollama_embed(api_server *s, http_exchange *x, api_at *body);
void api_ollama_tags(api_server *s, http_exchange *x, api_at *body);
void api_ollama_ps(api_server *s, http_exchange *x, api_at *body);
void api_ollama_show(api_server *s, http_exchange *x, api_at *body);
void api_ollama_version(api_server *s, http_exchange *x, api_at *body);
void api_ollama_pull(api_server *s, http_exchange *x, api_at *body);
void api_ollama_root(api_server *s, http_exchange *x, api_at *body);
/* A prompt field: string, tokens, or an array of either; sets a->prompts. */
void api_read_prompts(api_ask *a, const api_at *body, const char *key);
/* plain.c */
void api_tokenize(api_server *s, http_exchange *x, api_at *body);
void api_detokenize(api_server *s, http_exchange *x, api_at *body);
void api_apply_template(api_server *s, http_exchange *x, api_at *body);
/* status.c */
void api_health(api_server *s, http_exchange *x, api_at *body);
void api_props(api_server *s, http_exchange *x, api_at *body);
void api_metrics(api_server *s, http_exchange *x, api_at *body);
void api_requests(api_server *s, http_exchange *x, api_at *body);
/* Answer 200 with b (503 if it failed) and free it. */
void api_respond(http_exchange *x, const char *type, qn_buf *b);
/* openai_common.c: {"error":{...}} */
void api_openai_error(const api_error *e, api_ask *a, qn_buf *out);

#endif
