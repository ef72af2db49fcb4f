/* ollama_models.c - what Ollama's protocol says of models: tags, show, ps, version. Context lengths are those in force: what the
 * server gives a request, not what the file could. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "services/api/ollama.h"
#include "services/api/serve.h"

/* The protocol's version that is spoken; some clients ask for a least one. */
static const char VERSION[] = "0.13.5";

static const char *text_at(const json_t *o, const char *key, const char *other)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : other;
}

/* Needs a report: of a model that was loaded once; before that, what the file's name says. */
static void put_details(const api_model *m, qn_buf *b)
{
    const json_t *r = m->report, *q = json_object_get(r, "quantisation"), *n = json_object_get(r, "parameters");
    const char *arch = text_at(r, "architecture", "");
    qn__buf_puts(b, "\"details\":{\"parent_model\":\"\",\"format\":\"gguf\",\"family\":");
    api_put_text(b, arch);
    qn__buf_puts(b, ",\"families\":[");
    api_put_text(b, arch);
    const double count = json_number_value(n);
    qn__buf_printf(b, count >= 1e9 ? "],\"parameter_size\":\"%.1fB\"" : "],\"parameter_size\":\"%.1fM\"", count >= 1e9 ? count / 1e9 : count / 1e6);
    qn__buf_puts(b, ",\"quantization_level\":");
    api_put_text(b, text_at(q, "label", ""));
    qn__buf_putc(b, '}');
}

static void put_model(const api_model *m, qn_buf *b)
{
    char digest[65];
    const uint64_t h = qn__hash(m->name, strlen(m->name)) ^ m->file_bytes;
    for (int i = 0; i < 4; i++) /* an identity, not a checksum: reading gigabytes for a list is not worth it */
        (void)snprintf(digest + 16 * i, sizeof digest - 16 * (size_t)i, "%016" PRIx64, h * (0x9e3779b97f4a7c15u + (uint64_t)i * 2));
    qn__buf_puts(b, "{\"name\":");
    api_put_text(b, m->name);
    qn__buf_puts(b, ",\"model\":");
    api_put_text(b, m->name);
    qn__buf_puts(b, ",\"modified_at\":");
    api_ollama_put_time(b, m->modified);
    qn__buf_printf(b, ",\"size\":%" PRIu64 ",\"digest\":\"%s\",", m->file_bytes, digest);
    put_details(m, b);
}

static void put_list(api_server *s, bool running, qn_buf *b)
{
    bool any = false;
    qn__buf_puts(b, "{\"models\":[");
    qn__lock(&s->models.lock);
    for (size_t i = 0; i < s->models.n; i++) {
        const api_model *m = &s->models.list[i];
        if (running && m->state != API_MODEL_READY)
            continue;
        qn__buf_puts(b, any ? "," : "");
        any = true;
        put_model(m, b);
        if (running) {
            qn__buf_puts(b, ",\"expires_at\":");
            api_ollama_put_time(b, (int64_t)time(NULL) + 3600 * 24 * 365); /* until its memory is needed */
            qn__buf_printf(b, ",\"size_vram\":0,\"context_length\":%d", m->engine_info.n_ctx);
        }
        qn__buf_putc(b, '}');
    }
    qn__unlock(&s->models.lock);
    qn__buf_puts(b, "]}");
}

void api_ollama_tags(api_server *s, http_exchange *x, api_at *body)
{
    qn_buf b = {0};
    (void)body;
    put_list(s, false, &b);
    api_respond(x, "application/json", &b);
}

void api_ollama_ps(api_server *s, http_exchange *x, api_at *body)
{
    qn_buf b = {0};
    (void)body;
    put_list(s, true, &b);
    api_respond(x, "application/json", &b);
}

void api_ollama_version(api_server *s, http_exchange *x, api_at *body)
{
    qn_buf b = {0};
    (void)s;
    (void)body;
    qn__buf_printf(&b, "{\"version\":\"%s\"}", VERSION);
    api_respond(x, "application/json", &b);
}

void api_ollama_root(api_server *s, http_exchange *x, api_at *body)
{
    static const char text[] = "quern is running\n";
    (void)s;
    (void)body;
    http_respond(x, 200, "text/plain; charset=utf-8", text, sizeof text - 1);
}

/* Autocompletion looks for .Suffix in the template to see whether a gap can be filled. */
static void put_template(const api_model *m, qn_buf *b)
{
    const json_t *t = json_object_get(json_object_get(m->report, "chat_template"), "text");
    qn_buf text = {0};
    if (m->fim_pre >= 0)
        qn__buf_puts(&text, "{{- if .Suffix }}(filled in the middle){{ end }}");
    if (json_is_string(t))
        qn__buf_put(&text, json_string_value(t), json_string_length(t));
    api_put_string(b, text.data ? text.data : "", text.n);
    b->failed = b->failed || text.failed;
    qn__buf_free(&text);
}

void api_ollama_show(api_server *s, http_exchange *x, api_at *body)
{
    const char *name = NULL;
    if (!api_get_text(body, "model", &name))
        (void)api_get_text(body, "name", &name);
    api_model *m = api_hold(s, x, name);
    if (!m)
        return;
    const char *arch = text_at(m->report, "architecture", "");
    qn_buf b = {0};
    qn__buf_printf(&b, "{\"modelfile\":\"\",\"parameters\":\"num_ctx %d\",\"template\":", m->engine_info.n_ctx);
    put_template(m, &b);
    qn__buf_putc(&b, ',');
    put_details(m, &b);
    qn__buf_puts(&b, ",\"model_info\":{\"general.architecture\":");
    api_put_text(&b, arch);
    qn__buf_printf(&b, ",\"general.parameter_count\":%.0f,\"%s.context_length\":%d,\"%s.embedding_length\":%d},\"capabilities\":[",
                   json_number_value(json_object_get(m->report, "parameters")), arch, m->engine_info.n_ctx, arch, m->info.n_embd);
    if (m->info.embedding_only) {
        qn__buf_puts(&b, "\"embedding\"");
    } else {
        qn__buf_puts(&b, "\"completion\"");
        qn__buf_puts(&b, m->info.has_chat_template ? ",\"tools\"" : "");
        qn__buf_puts(&b, m->fim_pre >= 0 ? ",\"insert\"" : "");
    }
    qn__buf_puts(&b, "]}");
    api_respond(x, "application/json", &b);
    api_model_release(&s->models, m);
}

void api_ollama_pull(api_server *s, http_exchange *x, api_at *body)
{
    const char *name = NULL;
    if (!api_get_text(body, "model", &name))
        (void)api_get_text(body, "name", &name);
    if (name && api_model_find(&s->models, name)) {
        static const char done[] = "{\"status\":\"success\"}\n";
        http_respond(x, 200, "application/x-ndjson", done, sizeof done - 1);
        return;
    }
    api_fail_status(s, x, 404, NULL, "the model '%.200s' is not served here, and nothing is fetched on a client's word; start the server with it",
                    name ? name : "");
}
