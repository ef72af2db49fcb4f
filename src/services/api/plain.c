/* plain.c - endpoints of no protocol: health. */
#include "services/api/routes.h"
#include "services/api/serve.h"

void api_health(api_server *s, http_exchange *x, api_at *body)
{
    static const char ok[] = "{\"status\":\"ok\"}";
    (void)body;
    qn__lock(&s->models.lock);
    const bool loading = s->models.list[0].state == API_MODEL_LOADING;
    qn__unlock(&s->models.lock);
    if (loading)
        api_fail_status(s, x, 503, "loading_model", "the model is being loaded");
    else
        http_respond(x, 200, "application/json", ok, sizeof ok - 1);
}
