/* openai_models.c - GET /v1/models: what is served. */
#include <inttypes.h>
#include <string.h>

#include "services/api/routes.h"
#include "services/api/serve.h"

static void put_model(const api_model *m, qn_buf *b)
{
    qn__buf_puts(b, "{\"id\":");
    api_put_text(b, m->name);
    qn__buf_printf(b,
                   ",\"object\":\"model\",\"created\":%" PRId64 ",\"owned_by\":\"quern\",\"meta\":{\"n_ctx\":%d,"
                   "\"n_ctx_train\":%d,\"size\":%" PRIu64 ",\"loaded\":%s}}",
                   m->modified, m->engine_info.n_ctx, m->info.n_ctx_train, m->file_bytes,
                   m->state == API_MODEL_READY ? "true" : "false");
}

void api_openai_models(api_server *s, http_exchange *x, api_at *body)
{
    qn_buf b = {0};
    (void)body;
    qn__buf_puts(&b, "{\"object\":\"list\",\"data\":[");
    qn__lock(&s->models.lock);
    for (size_t i = 0; i < s->models.n; i++) {
        if (i)
            qn__buf_putc(&b, ',');
        put_model(&s->models.list[i], &b);
    }
    qn__unlock(&s->models.lock);
    qn__buf_puts(&b, "]}");
    api_respond(x, "application/json", &b);
}

void api_openai_model(api_server *s, http_exchange *x, api_at *body)
{
    const char *name = api_route_rest(x);
    (void)body;
    for (size_t i = 0; i < s->models.n; i++) {
        const api_model *m = &s->models.list[i];
        if (strcmp(m->name, name) == 0 || (m->alias && strcmp(m->alias, name) == 0)) {
            qn_buf b = {0};
            qn__lock(&s->models.lock);
            put_model(m, &b);
            qn__unlock(&s->models.lock);
            api_respond(x, "application/json", &b);
            return;
        }
    }
    api_fail_status(s, x, 404, "model_not_found", "the model '%.200s' is not served here", name);
}
