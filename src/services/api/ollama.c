/* ollama.c - Ollama's /api/chat, /api/generate and /api/embed: bodies to asks, and answers in its form, a line of JSON for each piece.
 * What it says of models is in ollama_models.c.
 *
 * Differs from the others: a stream unless "stream" is false; sampling in "options"; arguments of calls are objects, so a call is
 * told when it is complete; durations are nanoseconds. A prompt that does not fit is refused and never cut, whatever num_ctx says. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/file.h"
#include "services/api/ollama.h"
#include "services/api/serve.h"

typedef struct writing {
    bool chat;     /* "message", or "response" */
    double begun;
} writing;

/* ---- errors ---- */

static void write_error(const api_error *e, api_ask *a, qn_buf *out)
{
    qn__buf_puts(out, "{\"error\":");
    api_put_text(out, e->message);
    qn__buf_puts(out, a ? "}\n" : "}");
}

const api_wire api_ollama_wire = {.error = write_error};

/* ---- reading ---- */

static void read_options(api_ask *a, const api_at *body)
{
    api_at options;
    if (!api_get_object(body, "options", &options))
        return;
    api_read_sampling(a, &options);
    api_read_stop(a, &options, "stop");
    (void)api_get_float(&options, "typical_p", 0, 1, &a->sampling.typical_p);
    (void)api_get_int32(&options, "num_predict", -2, INT32_MAX, &a->max_tokens);
    if (a->max_tokens < 0)
        a->max_tokens = -1;
}

/* "json", or a schema. */
static void read_format(api_ask *a, const api_at *body)
{
    const api_at f = api_field(body, "format");
    const char *word = json_string_value(f.j);
    if (!f.j || json_is_null(f.j) || (word && !*word))
        return;
    if (word && strcmp(word, "json") == 0) {
        api_keep_object(a, "format");
    } else if (json_is_object(f.j)) {
        api_keep_schema(a, f.j, "format");
    } else {
        api_refuse(&f, "must be \"json\" or a JSON schema");
    }
}

/* true, false, or how much. */
static void read_think(api_ask *a, const api_at *body)
{
    const json_t *v = json_object_get(body->j, "think");
    if (!(a->vars = json_object()))
        api_refuse(body, "there is no memory for it");
    else if (json_is_boolean(v))
        (void)json_object_set_new(a->vars, "enable_thinking", json_boolean(json_is_true(v)));
    else if (json_is_string(v))
        (void)json_object_set_new(a->vars, "reasoning_effort", json_string(json_string_value(v)));
    else if (v && !json_is_null(v))
        api_refuse_field(body, "think", "must be true, false, \"low\", \"medium\" or \"high\"");
}

static void read_common(api_ask *a, const api_at *body, bool chat)
{
    writing *w = a->state = api_keep(a, sizeof *w);
    if (w) {
        w->chat = chat;
        w->begun = qn__now();
    }
    a->stream = true;
    (void)api_get_bool(body, "stream", &a->stream);
    (void)api_get_text(body, "model", &a->model);
    read_options(a, body);
    read_format(a, body);
    read_think(a, body);
}

static void refuse_images(const api_at *at)
{
    api_at images;
    if (api_get_array(at, "images", &images) && json_array_size(images.j))
        api_refuse(&images, "cannot be seen: this server reads text only");
}

/* A message to OpenAI's form: `thinking` is its reasoning; calls get ids by their place, results by the calls before them. */
static json_t *read_message(const api_at *m, size_t *n_calls, size_t *n_results)
{
    json_t *out = json_is_object(m->j) ? json_copy(m->j) : NULL, *calls = json_object_get(out, "tool_calls"), *named;
    const char *role = NULL;
    char id[32];
    if (!json_is_object(m->j)) {
        api_refuse(m, "is %s; it must be an object with role and content", api_type_name(m->j));
        return NULL;
    }
    refuse_images(m);
    if (!api_get_text(m, "role", &role))
        api_refuse_field(m, "role", "is missing");
    if (json_object_get(out, "thinking"))
        (void)json_object_set(out, "reasoning_content", json_object_get(out, "thinking"));
    (void)json_object_del(out, "thinking");
    if (json_is_array(calls) && json_array_size(calls)) {
        json_t *with_ids = json_array();
        size_t i;
        json_t *c;
        json_array_foreach(calls, i, c)
        {
            (void)snprintf(id, sizeof id, "call_%zu", (*n_calls)++);
            json_t *call = json_is_object(c) ? json_copy(c) : json_object();
            if (!json_object_get(call, "id"))
                (void)json_object_set_new(call, "id", json_string(id));
            (void)json_object_set_new(call, "type", json_string("function"));
            (void)json_array_append_new(with_ids, call);
        }
        (void)json_object_set_new(out, "tool_calls", with_ids);
    }
    if (role && strcmp(role, "tool") == 0 && !json_object_get(out, "tool_call_id")) {
        (void)snprintf(id, sizeof id, "call_%zu", (*n_results)++);
        (void)json_object_set_new(out, "tool_call_id", json_string(id));
        if ((named = json_object_get(out, "tool_name")))
            (void)json_object_set(out, "name", named);
    }
    return out;
}

static bool respond_loaded(api_server *s, http_exchange *x, const api_at *body, bool chat);

void api_ollama_chat(api_server *s, http_exchange *x, api_at *body)
{
    api_at list, tools;
    size_t n_calls = 0, n_results = 0;
    if (!json_array_size(json_object_get(body->j, "messages")) && respond_loaded(s, x, body, true))
        return;
    api_ask *a = api_ask_open(s, x, body);
    if (!a)
        return;
    a->mode = API_CHAT;
    read_common(a, body, true);
    a->messages = json_array();
    if (api_get_array(body, "tools", &tools) && json_array_size(tools.j))
        a->tools = json_incref(tools.j);
    if (!api_get_array(body, "messages", &list))
        api_refuse_field(body, "messages", "is missing");
    for (size_t i = 0; i < json_array_size(list.j) && api_is_ok(body); i++) {
        const api_at m = api_item(&list, i);
        json_t *message = read_message(&m, &n_calls, &n_results);
        if (message && json_array_append_new(a->messages, message))
            api_refuse(&m, "there is no memory for it");
    }
    api_ask_run(a);
}

static void read_prompt(api_ask *a, const api_at *body)
{
    const char *prompt = "", *suffix = NULL, *system = NULL;
    size_t n_prompt = 0, n_suffix = 0;
    bool raw = false;
    (void)api_get_bytes(body, "prompt", &prompt, &n_prompt);
    (void)api_get_bytes(body, "suffix", &suffix, &n_suffix);
    (void)api_get_text(body, "system", &system);
    (void)api_get_bool(body, "raw", &raw);
    refuse_images(body);
    if (raw || n_suffix) {
        a->mode = API_TEXT;
        if (!(a->prompts = api_keep(a, sizeof *a->prompts)))
            return;
        a->n_prompts = 1;
        *a->prompts = (api_prompt){.text = prompt, .n_text = n_prompt, .special = true, .suffix = n_suffix ? suffix : NULL, .n_suffix = n_suffix};
        return;
    }
    a->mode = API_CHAT;
    a->messages = json_array();
    if (system && *system)
        (void)json_array_append_new(a->messages, json_pack("{s:s, s:s}", "role", "system", "content", system));
    if (json_array_append_new(a->messages, json_pack("{s:s, s:s%}", "role", "user", "content", prompt, n_prompt)))
        api_refuse_field(body, "prompt", "there is no memory for it");
}

void api_ollama_generate(api_server *s, http_exchange *x, api_at *body)
{
    const json_t *prompt = json_object_get(body->j, "prompt");
    if ((!prompt || json_is_null(prompt) || (json_is_string(prompt) && !json_string_length(prompt))) &&
        !json_object_get(body->j, "suffix") && respond_loaded(s, x, body, false))
        return;
    api_ask *a = api_ask_open(s, x, body);
    if (!a)
        return;
    read_common(a, body, false);
    read_prompt(a, body);
    api_ask_run(a);
}

/* ---- writing ---- */

void api_ollama_put_time(qn_buf *out, int64_t when)
{
    struct tm t;
    time_t at = (time_t)when;
    char text[32] = "1970-01-01T00:00:00";
    if (gmtime_r(&at, &t))
        (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &t);
    qn__buf_printf(out, "\"%s.000000Z\"", text);
}

static void begin(api_ask *a, qn_buf *out)
{
    qn__buf_puts(out, "{\"model\":");
    api_put_text(out, a->model_name);
    qn__buf_puts(out, ",\"created_at\":");
    api_ollama_put_time(out, (int64_t)time(NULL));
}

static void put_call(const api_call *c, qn_buf *out)
{
    qn__buf_puts(out, "{\"id\":");
    api_put_text(out, c->id);
    qn__buf_puts(out, ",\"function\":{\"name\":");
    api_put_text(out, c->name);
    qn__buf_puts(out, ",\"arguments\":");
    qn__buf_put(out, c->arguments.n ? c->arguments.data : "{}", c->arguments.n ? c->arguments.n : 2);
    qn__buf_puts(out, "}}");
}

/* What one piece, or the whole, says. */
static void put_said(const writing *w, const char *text, size_t n_text, const char *thought, size_t n_thought, qn_buf *out)
{
    qn__buf_puts(out, w->chat ? ",\"message\":{\"role\":\"assistant\",\"content\":" : ",\"response\":");
    api_put_string(out, text ? text : "", n_text);
    if (n_thought) {
        qn__buf_puts(out, ",\"thinking\":");
        api_put_string(out, thought, n_thought);
    }
}

static long long ns(double s)
{
    return (long long)(s * 1e9);
}

static void put_end(api_ask *a, qn_buf *out)
{
    const writing *w = a->state;
    const api_choice *c = &a->choices[0];
    api_usage u;
    api_get_usage(a, &u);
    qn__buf_printf(out, ",\"done\":true,\"done_reason\":\"%s\",\"total_duration\":%lld,\"load_duration\":%lld,\"prompt_eval_count\":%" PRId64
                   ",\"prompt_eval_duration\":%lld,\"eval_count\":%" PRId64 ",\"eval_duration\":%lld}",
                   c->finish == API_LENGTH || c->finish == API_DEADLINE ? "length" : "stop", ns(qn__now() - w->begun), ns(a->t_submit - w->begun),
                   u.prompt, ns(u.prefill_s), u.generated, ns(u.decode_s));
}

static void event(api_ask *a, const api_event *e, qn_buf *out)
{
    const writing *w = a->state;
    const bool reasoning = e->kind == API_EVENT_REASONING, text = e->kind == API_EVENT_TEXT;
    if (reasoning || (text && e->n)) {
        begin(a, out);
        put_said(w, text ? e->text : "", text ? e->n : 0, e->text, reasoning ? e->n : 0, out);
        qn__buf_puts(out, w->chat ? "},\"done\":false}\n" : ",\"done\":false}\n");
    } else if (e->kind == API_EVENT_CALL_END && w->chat) {
        begin(a, out);
        put_said(w, "", 0, NULL, 0, out);
        qn__buf_puts(out, ",\"tool_calls\":[");
        put_call(e->call, out);
        qn__buf_puts(out, "]},\"done\":false}\n");
    } else if (e->kind == API_EVENT_END) {
        begin(a, out);
        put_said(w, "", 0, NULL, 0, out);
        qn__buf_puts(out, w->chat ? "}" : "");
        put_end(a, out);
        qn__buf_putc(out, '\n');
    }
}

static void whole(api_ask *a, qn_buf *out)
{
    const writing *w = a->state;
    const api_choice *c = &a->choices[0];
    size_t n = 0;
    begin(a, out);
    put_said(w, c->text.data, c->text.n, c->reasoning.data, c->reasoning.n, out);
    for (size_t i = 0; i < c->n_calls && w->chat; i++)
        if (c->calls[i].complete) {
            qn__buf_puts(out, n++ ? "," : ",\"tool_calls\":[");
            put_call(&c->calls[i], out);
        }
    qn__buf_puts(out, n ? "]" : "");
    qn__buf_puts(out, w->chat ? "}" : "");
    put_end(a, out);
}

const api_wire api_ollama_run_wire = {
    .stream_type = "application/x-ndjson",
    .event = event,
    .whole = whole,
    .error = write_error,
};

/* Nothing to answer: the model is loaded, which is what the client wanted. False: it cannot be, and an ask will say why. */
static bool respond_loaded(api_server *s, http_exchange *x, const api_at *body, bool chat)
{
    const char *name = json_string_value(json_object_get(body->j, "model"));
    api_model *m = api_model_find(&s->models, name);
    qn_buf b = {0};
    if (!m || api_model_hold(&s->models, m, x, NULL))
        return false;
    qn__buf_puts(&b, "{\"model\":");
    api_put_text(&b, m->name);
    qn__buf_puts(&b, ",\"created_at\":");
    api_ollama_put_time(&b, (int64_t)time(NULL));
    qn__buf_puts(&b, chat ? ",\"message\":{\"role\":\"assistant\",\"content\":\"\"}" : ",\"response\":\"\"");
    qn__buf_puts(&b, ",\"done\":true,\"done_reason\":\"load\"}");
    api_respond(x, "application/json", &b);
    api_model_release(&s->models, m);
    return true;
}

/* ---- embeddings ---- */

static void put_vector(void *arg, size_t i, const float *v, size_t n, qn_buf *out)
{
    (void)arg;
    for (size_t k = 0; k < n; k++) {
        qn__buf_puts(out, k ? "," : i ? ",[" : "[");
        api_put_float(out, (double)v[k]);
    }
    qn__buf_putc(out, ']');
}

/* /api/embed takes input and gives embeddings; the older /api/embeddings takes a prompt and gives one embedding. */
void api_ollama_embed(api_server *s, http_exchange *x, api_at *body)
{
    const bool old = !json_object_get(body->j, "input") && json_object_get(body->j, "prompt");
    const double begun = qn__now();
    api_ask *a = api_ask_open(s, x, body);
    int32_t dimensions = 0;
    int64_t tokens = 0;
    qn_buf out = {0};
    if (!a)
        return;
    a->mode = API_TEXT;
    (void)api_get_text(body, "model", &a->model);
    (void)api_get_int32(body, "dimensions", 1, INT32_MAX, &dimensions);
    api_read_prompts(a, body, old ? "prompt" : "input");
    for (size_t i = 0; i < a->n_prompts; i++)
        a->prompts[i].special = false;
    if (!api_ask_prepare(a))
        return;
    qn__buf_puts(&out, "{\"model\":");
    api_put_text(&out, a->model_name);
    qn__buf_puts(&out, old ? ",\"embedding\":" : ",\"embeddings\":[");
    if (!api_embed_each(a, dimensions, put_vector, NULL, &out))
        return;
    for (size_t i = 0; i < a->n_prompts; i++)
        tokens += (int64_t)a->prompts[i].n_tokens;
    qn__buf_puts(&out, old ? "" : "]");
    qn__buf_printf(&out, ",\"total_duration\":%lld,\"load_duration\":0,\"prompt_eval_count\":%" PRId64 "}", ns(qn__now() - begun), tokens);
    api_respond(x, "application/json", &out);
    api_ask_close(a);
}
