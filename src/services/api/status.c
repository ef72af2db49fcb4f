/* status.c - what the server says of itself: health, props, metrics, the requests that run. */
#include <inttypes.h>

#include "base/file.h"
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

static void put_token(const api_model *m, int32_t id, qn_buf *b)
{
    char *t = NULL;
    size_t n = 0;
    if (id < 0 || api_token_bytes(m, id, &t, &n) != QN_OK)
        n = 0;
    api_put_string(b, t ? t : "", n);
    qn_free(t);
}

void api_props(api_server *s, http_exchange *x, api_at *body)
{
    qn_buf b = {0};
    (void)body;
    api_model *m = api_hold(s, x, http_query(x, "model"));
    if (!m)
        return;
    qn__buf_puts(&b, "{\"model\":");
    api_put_text(&b, m->name);
    qn__buf_printf(&b,
                   ",\"n_ctx\":%d,\"n_ctx_train\":%d,\"total_slots\":%d,\"default_generation_settings\":{\"n_ctx\":%d,"
                   "\"params\":{\"temperature\":%.9g,\"top_p\":%.9g,\"min_p\":%.9g}}",
                   m->engine_info.n_ctx, m->info.n_ctx_train, m->engine_info.max_seqs, m->engine_info.n_ctx,
                   (double)s->o.temperature, (double)s->o.top_p, (double)s->o.min_p);
    qn__buf_printf(&b, ",\"kv_bytes_per_token\":%" PRIu64 ",\"cpu\":", m->engine_info.kv_bytes_per_token);
    api_put_text(&b, m->engine_info.cpu);
    qn__buf_printf(&b, ",\"threads\":%d,\"modalities\":{\"vision\":false,\"audio\":false},\"bos_token\":",
                   m->engine_info.n_threads);
    put_token(m, m->info.bos, &b);
    qn__buf_puts(&b, ",\"eos_token\":");
    put_token(m, m->info.eos, &b);
    qn__buf_puts(&b, ",\"chat_template\":");
    const json_t *t = json_object_get(json_object_get(m->report, "chat_template"), "text");
    api_put_string(&b, json_is_string(t) ? json_string_value(t) : "", json_string_length(t));
    qn__buf_printf(&b, ",\"fill_in_the_middle\":%s,\"build_info\":\"quern %s\"}", m->fim_pre >= 0 ? "true" : "false", qn_version());
    api_respond(x, "application/json", &b);
    api_model_release(&s->models, m);
}

/* ---- metrics: the text form of Prometheus ---- */

static void head(qn_buf *b, const char *name, const char *type, const char *help)
{
    qn__buf_printf(b, "# HELP quern_%s %s\n# TYPE quern_%s %s\n", name, help, name, type);
}

static void total(qn_buf *b, const char *name, const char *type, const char *help, double v)
{
    head(b, name, type, help);
    qn__buf_printf(b, "quern_%s %.17g\n", name, v);
}

typedef struct figure {
    const char *name, *type, *help;
} figure;

static const figure figures[] = {
    {"running", "gauge", "Requests that are computed now."},
    {"waiting", "gauge", "Requests that wait in the queue."},
    {"steps_total", "counter", "Steps of the engine."},
    {"busy_seconds_total", "counter", "Time spent in steps."},
    {"prefill_tokens_per_second", "gauge", "Reading speed, moving average."},
    {"worst_gap_seconds", "gauge", "Longest time between two tokens of one request."},
    {"drafted_tokens_total", "counter", "Tokens guessed ahead."},
    {"accepted_tokens_total", "counter", "Guessed tokens that were right."},
    {"cache_pages", "gauge", "Pages of 64 tokens in the prefix tree."},
    {"cache_evicted_pages_total", "counter", "Pages that gave way in memory."},
    {"cache_restored_pages_total", "counter", "Pages that came back from disk."},
    {"cache_disk_bytes", "gauge", "What the directory of pages holds."},
    {"cache_bad_files_total", "counter", "Damaged files of pages that were removed."},
    {"cache_failed_writes_total", "counter", "Files of pages that could not be written."},
};
enum { N_FIGURES = sizeof figures / sizeof *figures };

static void put_models(api_server *s, qn_buf *b)
{
    qn_buf rows[N_FIGURES] = {0};
    for (size_t i = 0; i < s->models.n; i++) {
        api_model *m = &s->models.list[i];
        qn_scheduler_stats t;
        if (!api_model_hold_ready(&s->models, m))
            continue;
        qn_scheduler_get_stats(m->scheduler, &t);
        qn__lock(&m->cache_lock);
        const qn_cache_stats c = m->cache;
        qn__unlock(&m->cache_lock);
        const double v[N_FIGURES] = {t.running, t.waiting, (double)t.steps, t.busy_s, t.prefill_rate, t.worst_gap_s,
                                     (double)t.drafted_tokens, (double)t.accepted_tokens, (double)c.ram_pages,
                                     (double)c.evicted_pages, (double)c.restored_pages, (double)c.disk_bytes, (double)c.bad_files,
                                     (double)c.failed_writes};
        for (size_t k = 0; k < N_FIGURES; k++) {
            qn__buf_printf(&rows[k], "quern_%s{model=", figures[k].name);
            api_put_text(&rows[k], m->name);
            qn__buf_printf(&rows[k], "} %.17g\n", v[k]);
        }
        api_model_release(&s->models, m);
    }
    for (size_t k = 0; k < N_FIGURES; k++) {
        head(b, figures[k].name, figures[k].type, figures[k].help);
        if (rows[k].n)
            qn__buf_put(b, rows[k].data, rows[k].n);
        b->failed = b->failed || rows[k].failed;
        qn__buf_free(&rows[k]);
    }
}

void api_metrics(api_server *s, http_exchange *x, api_at *body)
{
    qn_buf b = {0};
    http_counts c;
    const api_totals *t = &s->totals;
    (void)body;
    http_get_counts(s->http, &c);
    total(&b, "requests_total", "counter", "HTTP requests.", (double)atomic_load(&t->requests));
    total(&b, "errors_total", "counter", "Answers with a status of 400 and more.", (double)atomic_load(&t->errors));
    total(&b, "gone_total", "counter", "Answers whose client went.", (double)atomic_load(&t->gone));
    total(&b, "prompt_tokens_total", "counter", "Tokens of prompts.", (double)atomic_load(&t->prompt_tokens));
    total(&b, "cached_tokens_total", "counter", "Tokens of prompts that were not computed again.",
          (double)atomic_load(&t->cached_tokens));
    total(&b, "generated_tokens_total", "counter", "Tokens written.", (double)atomic_load(&t->generated_tokens));
    total(&b, "loops_total", "counter", "Conversations and answers found going in circles.", (double)atomic_load(&t->loops));
    qn__lock(&s->replay.lock);
    const double recalled = (double)s->replay.used, kept = (double)s->replay.n, kept_bytes = (double)s->replay.bytes;
    qn__unlock(&s->replay.lock);
    total(&b, "recalled_total", "counter", "Answers in prompts that were put back as they were sampled.", recalled);
    total(&b, "recall_entries", "gauge", "Answers kept as they were sampled.", kept);
    total(&b, "recall_bytes", "gauge", "Memory that they take.", kept_bytes);
    total(&b, "connections", "gauge", "Open connections.", c.connections);
    total(&b, "uptime_seconds", "gauge", "Since the start.", qn__now() - s->started);
    put_models(s, &b);
    api_respond(x, "text/plain; version=0.0.4; charset=utf-8", &b);
}

void api_requests(api_server *s, http_exchange *x, api_at *body)
{
    qn_buf b = {0};
    bool any = false;
    const double now = qn__now();
    (void)body;
    qn__buf_puts(&b, "{\"object\":\"list\",\"data\":[");
    qn__lock(&s->asks_lock);
    for (const api_ask *a = s->asks; a; a = a->next) {
        const int read = atomic_load(&a->read), to_read = atomic_load(&a->to_read), written = atomic_load(&a->written);
        qn__buf_printf(&b, "%s{\"id\":\"%s\",\"request\":%" PRIu64 ",\"path\":", any ? "," : "", a->id, http_id(a->x));
        api_put_text(&b, http_path(a->x));
        qn__buf_puts(&b, ",\"model\":");
        api_put_text(&b, a->model_name);
        qn__buf_printf(&b,
                       ",\"state\":\"%s\",\"stream\":%s,\"choices\":%zu,\"prompt_tokens\":%d,\"read\":%d,\"written\":%d,"
                       "\"seconds\":%.3f}",
                       written ? "writing" : read ? "reading" : "waiting", a->stream ? "true" : "false", a->n_choices, to_read,
                       read, written, now - http_since(a->x));
        any = true;
    }
    qn__unlock(&s->asks_lock);
    qn__buf_puts(&b, "]}");
    api_respond(x, "application/json", &b);
}
