/* native.c - POST /infill and /completion: what autocomplete plug-ins for editors send (llama.vim and its kin, Continue).
 *
 *   /infill       input_extra (other files) <pre> input_prefix prompt <suf> input_suffix <mid>
 *   /completion   prompt, as it stands
 *
 * n_predict 0 only reads, so that the next request finds its pages. t_max_prompt_ms and t_max_predict_ms together bound the time.
 * response_fields names what the client wants to see ("content", "timings/prompt_n"): nothing else is sent then. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "services/api/openai.h"

/* ---- reading ---- */

static void read_common(api_ask *a, const api_at *body)
{
    int32_t prompt_ms = 0, predict_ms = 0;
    a->mode = API_TEXT;
    a->max_tokens = -1;
    (void)api_get_text(body, "model", &a->model);
    (void)api_get_int32(body, "n_predict", -2, INT32_MAX, &a->max_tokens);
    if (a->max_tokens < 0)
        a->max_tokens = -1;
    (void)api_get_bool(body, "stream", &a->stream);
    (void)api_get_int32(body, "t_max_prompt_ms", 0, INT32_MAX, &prompt_ms);
    if (api_get_int32(body, "t_max_predict_ms", 0, INT32_MAX, &predict_ms) && predict_ms > 0)
        a->deadline_s = ((double)prompt_ms + predict_ms) / 1000;
    api_read_sampling(a, body);
    api_read_stop(a, body, "stop");
}

/* Other files, each with its name before it. */
static void read_extra(const api_at *body, qn_buf *out)
{
    api_at list;
    if (!api_get_array(body, "input_extra", &list))
        return;
    for (size_t i = 0; i < json_array_size(list.j) && api_is_ok(body); i++) {
        const api_at one = api_item(&list, i);
        const char *name = "snippet", *text = "";
        size_t n = 0;
        if (!json_is_object(one.j)) {
            api_refuse(&one, "is %s; it must be an object with text", api_type_name(one.j));
            return;
        }
        (void)api_get_text(&one, "filename", &name);
        if (!api_get_bytes(&one, "text", &text, &n))
            api_refuse_field(&one, "text", "is missing");
        qn__buf_printf(out, "\n\n--- %s ---\n\n", name);
        qn__buf_put(out, text, n);
    }
}

/* Memory of the ask with these bytes in it. */
static const char *keep(api_ask *a, const qn_buf *b)
{
    char *p = b->failed ? NULL : api_keep(a, b->n + 1);
    if (p && b->n)
        memcpy(p, b->data, b->n);
    else if (b->failed)
        api_no_memory(a);
    return p;
}

void api_infill(api_server *s, http_exchange *x, api_at *body)
{
    api_ask *a = api_ask_open(s, x, body);
    const char *prefix = "", *prompt = "", *suffix = "";
    size_t n_prefix = 0, n_prompt = 0, n_suffix = 0;
    qn_buf before = {0}, text = {0};
    if (!a)
        return;
    read_common(a, body);
    if (!api_get_bytes(body, "input_prefix", &prefix, &n_prefix))
        api_refuse_field(body, "input_prefix", "is missing");
    if (!api_get_bytes(body, "input_suffix", &suffix, &n_suffix))
        api_refuse_field(body, "input_suffix", "is missing");
    (void)api_get_bytes(body, "prompt", &prompt, &n_prompt);
    read_extra(body, &before);
    qn__buf_put(&text, prefix, n_prefix);
    qn__buf_put(&text, prompt, n_prompt);
    if ((a->prompts = api_keep(a, sizeof *a->prompts))) {
        a->n_prompts = 1;
        *a->prompts = (api_prompt){.text = keep(a, &text), .n_text = text.n, .suffix = suffix, .n_suffix = n_suffix,
                                   .before = before.n ? keep(a, &before) : NULL, .n_before = before.n};
    }
    qn__buf_free(&before);
    qn__buf_free(&text);
    api_ask_run(a);
}

void api_completion(api_server *s, http_exchange *x, api_at *body)
{
    api_ask *a = api_ask_open(s, x, body);
    if (!a)
        return;
    read_common(a, body);
    api_read_prompts(a, body, "prompt");
    if (a->n_prompts > 1)
        api_refuse_field(body, "prompt", "has several texts; this endpoint takes one");
    api_ask_run(a);
}

/* ---- writing ---- */

static const char *stop_type(api_finish f)
{
    return f == API_STOP_STRING ? "word" : f == API_STOP ? "eos" : "limit";
}

static void put_all(api_ask *a, const char *content, size_t n, qn_buf *out)
{
    const api_choice *c = &a->choices[0];
    api_usage u;
    api_get_usage(a, &u);
    qn__buf_puts(out, "{\"content\":");
    api_put_string(out, content ? content : "", n);
    qn__buf_printf(out, ",\"index\":0,\"id_slot\":0,\"stop\":true,\"stop_type\":\"%s\",\"stopping_word\":", stop_type(c->finish));
    api_put_text(out, c->finish == API_STOP_STRING && a->n_stop == 1 ? a->stop[0] : "");
    qn__buf_puts(out, ",\"model\":");
    api_put_text(out, a->model_name);
    qn__buf_printf(out, ",\"tokens_predicted\":%" PRId64 ",\"tokens_evaluated\":%" PRId64 ",\"tokens_cached\":%" PRId64
                   ",\"truncated\":false,\"has_new_line\":%s", u.generated, u.prompt, u.cached,
                   c->text.n && memchr(c->text.data, '\n', c->text.n) ? "true" : "false");
    api_openai_usage(a, out);
    qn__buf_putc(out, '}');
}

/* The value at "timings/prompt_n". */
static json_t *at_path(json_t *o, const char *path)
{
    while (o && *path) {
        size_t n = strcspn(path, "/");
        o = json_object_getn(o, path, n);
        path += n + (path[n] == '/');
    }
    return o;
}

/* Only what was asked for, under the names by which it was. */
static void put_wanted(api_ask *a, const char *content, size_t n, qn_buf *out)
{
    const json_t *fields = json_object_get(a->body, "response_fields");
    qn_buf all = {0};
    size_t i;
    json_t *f;
    put_all(a, content, n, &all);
    json_t *o = json_is_array(fields) && json_array_size(fields) && !all.failed ? json_loadb(all.data, all.n, 0, NULL) : NULL;
    json_t *picked = o ? json_object() : NULL;
    json_array_foreach(fields, i, f)
    {
        json_t *v = picked && json_is_string(f) ? at_path(o, json_string_value(f)) : NULL;
        if (v)
            (void)json_object_set(picked, json_string_value(f), v);
    }
    if (picked)
        api_put_json(out, picked);
    else
        qn__buf_put(out, all.data ? all.data : "", all.n);
    out->failed = out->failed || all.failed;
    json_decref(picked);
    json_decref(o);
    qn__buf_free(&all);
}

static void event(api_ask *a, const api_event *e, qn_buf *out)
{
    if (e->kind == API_EVENT_TEXT && e->n) {
        qn__buf_puts(out, "data: {\"index\":0,\"content\":");
        api_put_string(out, e->text, e->n);
        qn__buf_puts(out, ",\"stop\":false}\n\n");
    } else if (e->kind == API_EVENT_END) {
        qn__buf_puts(out, "data: ");
        put_wanted(a, "", 0, out);
        qn__buf_puts(out, "\n\n");
    }
}

static void whole(api_ask *a, qn_buf *out)
{
    put_wanted(a, a->choices[0].text.data, a->choices[0].text.n, out);
}

const api_wire api_native_wire = {
    .stream_type = "text/event-stream",
    .rest = ": still reading\n\n",
    .event = event,
    .whole = whole,
    .error = api_openai_error,
};
