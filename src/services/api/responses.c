/* responses.c - POST /v1/responses: the writing. Reading is in responses_read.c.
 *
 * An answer is a list of items: reasoning, messages, calls, in the order in which they came. A stream tells the life of each:
 *
 *   response.created, .in_progress
 *   { output_item.added, [content_part.added], delta ..., done, [content_part.done], output_item.done } ...
 *   response.completed | .incomplete | .failed            each with a sequence_number */
#include "services/api/responses.h"

#include <inttypes.h>
#include <string.h>

#include "base/err.h"

enum { ITEMS_MAX = 256 };
typedef enum kind { REASONING, MESSAGE, CALL } kind;

/* [from, to) of the choice's text or reasoning; or a call. */
typedef struct item {
    kind kind;
    size_t from, to, call;
    bool closed;
} item;

typedef struct writing {
    item items[ITEMS_MAX];
    int n, sequence;
} writing;

/* ---- items ---- */

/* Was the tool declared as custom? Then its call has one text and not arguments. */
static bool is_custom(const api_ask *a, const char *name)
{
    const json_t *tools = json_object_get(a->body, "tools");
    size_t i;
    const json_t *t;
    json_array_foreach(tools, i, t)
    {
        const char *type = json_string_value(json_object_get(t, "type")), *n = json_string_value(json_object_get(t, "name"));
        if (type && n && strcmp(type, "custom") == 0 && strcmp(n, name) == 0)
            return true;
    }
    return false;
}

static void put_id(const api_ask *a, const item *it, int index, qn_buf *out)
{
    static const char *const prefixes[] = {"rs", "msg", "fc"};
    qn__buf_printf(out, "\"%s_%s%d\"", prefixes[it->kind], a->id, index);
}

static void put_content(const api_choice *c, const item *it, qn_buf *out)
{
    const qn_buf *from = it->kind == REASONING ? &c->reasoning : &c->text;
    qn__buf_puts(out, it->kind == REASONING ? "{\"type\":\"reasoning_text\",\"text\":" : "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":");
    api_put_string(out, from->data ? from->data + it->from : "", it->to - it->from);
    qn__buf_putc(out, '}');
}

static void put_call(const api_ask *a, const api_call *call, bool done, qn_buf *out)
{
    const bool custom = is_custom(a, call->name);
    const char *arguments = call->arguments.data ? call->arguments.data : "";
    json_t *j = custom && done ? json_loadb(arguments, call->arguments.n, 0, NULL) : NULL;
    const json_t *input = json_object_get(j, "input");
    qn__buf_puts(out, ",\"call_id\":");
    api_put_text(out, call->id);
    qn__buf_puts(out, ",\"name\":");
    api_put_text(out, call->name);
    qn__buf_puts(out, custom ? ",\"input\":" : ",\"arguments\":");
    if (custom)
        api_put_string(out, json_is_string(input) ? json_string_value(input) : "", json_string_length(input));
    else
        api_put_string(out, arguments, done ? call->arguments.n : 0);
    json_decref(j);
}

static void put_item(const api_ask *a, const api_choice *c, const item *it, int index, bool done, qn_buf *out)
{
    qn__buf_puts(out, "{\"id\":");
    put_id(a, it, index, out);
    if (it->kind == CALL) {
        const api_call *call = &c->calls[it->call];
        qn__buf_printf(out, ",\"type\":\"%s\",\"status\":\"%s\"", is_custom(a, call->name) ? "custom_tool_call" : "function_call",
                       !done ? "in_progress" : call->complete ? "completed" : "incomplete");
        put_call(a, call, done, out);
    } else if (it->kind == REASONING) {
        qn__buf_puts(out, ",\"type\":\"reasoning\",\"summary\":[],\"content\":[");
        if (done)
            put_content(c, it, out);
        qn__buf_putc(out, ']');
    } else {
        qn__buf_printf(out, ",\"type\":\"message\",\"role\":\"assistant\",\"status\":\"%s\",\"content\":[", done ? "completed" : "in_progress");
        if (done)
            put_content(c, it, out);
        qn__buf_putc(out, ']');
    }
    qn__buf_putc(out, '}');
}

/* ---- the response ---- */

static const char *status_of(const api_ask *a)
{
    if (a->n_finished < a->n_choices || !a->n_choices)
        return "in_progress";
    const api_finish f = a->choices[0].finish;
    return f == API_LENGTH || f == API_DEADLINE ? "incomplete" : "completed";
}

static void put_as_sent(const api_ask *a, const char *key, const char *other, qn_buf *out)
{
    const json_t *v = json_object_get(a->body, key);
    qn__buf_printf(out, ",\"%s\":", key);
    if (v)
        api_put_json(out, v);
    else
        qn__buf_puts(out, other);
}

static void put_response(const api_ask *a, const writing *w, const char *status, const api_error *e, qn_buf *out)
{
    qn__buf_printf(out, "{\"id\":\"resp_%s\",\"object\":\"response\",\"created_at\":%" PRId64 ",\"status\":\"%s\",\"model\":", a->id, a->created, status);
    api_put_text(out, a->model_name);
    qn__buf_puts(out, strcmp(status, "incomplete") == 0 ? ",\"incomplete_details\":{\"reason\":\"max_output_tokens\"}" : ",\"incomplete_details\":null");
    qn__buf_puts(out, ",\"error\":");
    if (e) {
        qn__buf_puts(out, "{\"code\":");
        api_put_text(out, e->code ? e->code : "server_error");
        qn__buf_puts(out, ",\"message\":");
        api_put_text(out, e->message);
        qn__buf_putc(out, '}');
    } else {
        qn__buf_puts(out, "null");
    }
    qn__buf_puts(out, ",\"output\":[");
    for (int i = 0, n = 0; i < w->n; i++)
        if (w->items[i].closed) {
            qn__buf_puts(out, n++ ? "," : "");
            put_item(a, &a->choices[0], &w->items[i], i, true, out);
        }
    qn__buf_puts(out, "],\"previous_response_id\":null,\"store\":false,\"truncation\":\"disabled\"");
    put_as_sent(a, "instructions", "null", out);
    put_as_sent(a, "max_output_tokens", "null", out);
    put_as_sent(a, "parallel_tool_calls", "true", out);
    put_as_sent(a, "tool_choice", "\"auto\"", out);
    put_as_sent(a, "tools", "[]", out);
    put_as_sent(a, "text", "{\"format\":{\"type\":\"text\"}}", out);
    put_as_sent(a, "reasoning", "{\"effort\":null,\"summary\":null}", out);
    put_as_sent(a, "metadata", "{}", out);
    put_as_sent(a, "temperature", "null", out);
    put_as_sent(a, "top_p", "null", out);
    if (strcmp(status, "in_progress") == 0) {
        qn__buf_puts(out, ",\"usage\":null}");
        return;
    }
    api_usage u;
    api_get_usage(a, &u);
    qn__buf_printf(out, ",\"usage\":{\"input_tokens\":%" PRId64 ",\"input_tokens_details\":{\"cached_tokens\":%" PRId64 "},\"output_tokens\":%" PRId64
                   ",\"output_tokens_details\":{\"reasoning_tokens\":%" PRId64 "},\"total_tokens\":%" PRId64 "}}",
                   u.prompt, u.cached, u.generated, u.reasoning, u.prompt + u.generated);
}

/* ---- a stream ---- */

static void begin(writing *w, const char *type, qn_buf *out)
{
    qn__buf_printf(out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%d", type, type, w->sequence++);
}

static void finish(qn_buf *out)
{
    qn__buf_puts(out, "}\n\n");
}

static void put_place(const api_ask *a, const writing *w, qn_buf *out)
{
    qn__buf_puts(out, ",\"item_id\":");
    put_id(a, &w->items[w->n - 1], w->n - 1, out);
    qn__buf_printf(out, ",\"output_index\":%d", w->n - 1);
    if (w->items[w->n - 1].kind != CALL)
        qn__buf_puts(out, ",\"content_index\":0");
}

static void whole_response(const api_ask *a, writing *w, const char *type, const char *status, const api_error *e, qn_buf *out)
{
    begin(w, type, out);
    qn__buf_puts(out, ",\"response\":");
    put_response(a, w, status, e, out);
    finish(out);
}

static void close_item(const api_ask *a, writing *w, qn_buf *out)
{
    item *it = w->n ? &w->items[w->n - 1] : NULL;
    const api_choice *c = &a->choices[0];
    if (!it || it->closed)
        return;
    it->closed = true;
    if (it->kind == CALL) {
        const api_call *call = &c->calls[it->call];
        const bool custom = is_custom(a, call->name);
        begin(w, custom ? "response.custom_tool_call_input.done" : "response.function_call_arguments.done", out);
        put_place(a, w, out);
        put_call(a, call, true, out);
        finish(out);
    } else {
        it->to = it->kind == REASONING ? c->reasoning.n : c->text.n;
        begin(w, it->kind == REASONING ? "response.reasoning_text.done" : "response.output_text.done", out);
        put_place(a, w, out);
        qn__buf_puts(out, ",\"logprobs\":[],\"text\":");
        api_put_string(out, (it->kind == REASONING ? c->reasoning.data : c->text.data) + it->from, it->to - it->from);
        finish(out);
        begin(w, "response.content_part.done", out);
        put_place(a, w, out);
        qn__buf_puts(out, ",\"part\":");
        put_content(c, it, out);
        finish(out);
    }
    begin(w, "response.output_item.done", out);
    qn__buf_printf(out, ",\"output_index\":%d,\"item\":", w->n - 1);
    put_item(a, c, it, w->n - 1, true, out);
    finish(out);
}

static void open_item(const api_ask *a, writing *w, kind k, size_t from, size_t call, qn_buf *out)
{
    if (w->n && !w->items[w->n - 1].closed && w->items[w->n - 1].kind == k && k != CALL)
        return;
    close_item(a, w, out);
    if (w->n == ITEMS_MAX)
        return;
    item *it = &w->items[w->n++];
    *it = (item){.kind = k, .from = from, .to = from, .call = call};
    begin(w, "response.output_item.added", out);
    qn__buf_printf(out, ",\"output_index\":%d,\"item\":", w->n - 1);
    put_item(a, &a->choices[0], it, w->n - 1, false, out);
    finish(out);
    if (k == CALL)
        return;
    begin(w, "response.content_part.added", out);
    put_place(a, w, out);
    qn__buf_puts(out, ",\"part\":");
    put_content(&a->choices[0], it, out);
    finish(out);
}

static void put_delta(const api_ask *a, writing *w, const char *type, const api_event *e, qn_buf *out)
{
    begin(w, type, out);
    put_place(a, w, out);
    qn__buf_puts(out, ",\"logprobs\":[],\"delta\":");
    api_put_string(out, e->text, e->n);
    finish(out);
}

static void event(api_ask *a, const api_event *e, qn_buf *out)
{
    writing *w = a->state;
    switch (e->kind) {
    case API_EVENT_START:
        whole_response(a, w, "response.created", "in_progress", NULL, out);
        whole_response(a, w, "response.in_progress", "in_progress", NULL, out);
        break;
    case API_EVENT_PROGRESS: break;
    case API_EVENT_REASONING: /* the choice holds this piece already */
        open_item(a, w, REASONING, e->choice->reasoning.n - e->n, 0, out);
        put_delta(a, w, "response.reasoning_text.delta", e, out);
        break;
    case API_EVENT_TEXT:
        if (!e->n)
            break;
        open_item(a, w, MESSAGE, e->choice->text.n - e->n, 0, out);
        put_delta(a, w, "response.output_text.delta", e, out);
        break;
    case API_EVENT_CALL: open_item(a, w, CALL, 0, e->call_index, out); break;
    case API_EVENT_ARGUMENTS:
        if (!is_custom(a, e->call->name)) /* a custom tool's text is told when it is complete */
            put_delta(a, w, "response.function_call_arguments.delta", e, out);
        break;
    case API_EVENT_CALL_END: close_item(a, w, out); break;
    case API_EVENT_FINISH: close_item(a, w, out); break;
    case API_EVENT_END: {
        const char *status = status_of(a);
        whole_response(a, w, strcmp(status, "incomplete") == 0 ? "response.incomplete" : "response.completed", status, NULL, out);
        break;
    }
    }
}

/* ---- the whole, and errors ---- */

static void whole(api_ask *a, qn_buf *out)
{
    writing *w = a->state;
    const api_choice *c = &a->choices[0];
    if (c->reasoning.n)
        w->items[w->n++] = (item){.kind = REASONING, .to = c->reasoning.n, .closed = true};
    if (c->text.n || !c->n_calls)
        w->items[w->n++] = (item){.kind = MESSAGE, .to = c->text.n, .closed = true};
    for (size_t i = 0; i < c->n_calls && w->n < ITEMS_MAX; i++)
        w->items[w->n++] = (item){.kind = CALL, .call = i, .closed = true};
    put_response(a, w, status_of(a), NULL, out);
}

static void write_error(const api_error *e, api_ask *a, qn_buf *out)
{
    if (!a) {
        api_openai_error(e, NULL, out);
        return;
    }
    whole_response(a, a->state, "response.failed", "failed", e, out);
}

const api_wire api_responses_wire = {
    .stream_type = "text/event-stream",
    .rest = ": still reading\n\n",
    .event = event,
    .whole = whole,
    .error = write_error,
};

void api_openai_responses(api_server *s, http_exchange *x, api_at *body)
{
    api_ask *a = api_ask_open(s, x, body);
    if (!a)
        return;
    api_responses_read(a, body);
    a->state = api_keep(a, sizeof(writing));
    api_ask_run(a);
}
