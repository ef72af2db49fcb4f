/* openai_chat.c - POST /v1/chat/completions. */
#include "services/api/openai.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"

/* ---- reading ---- */

static void read_tools(api_ask *a, const api_at *body)
{
    api_at tools, f = api_field(body, "tool_choice");
    bool parallel = true;
    if (api_get_array(body, "tools", &tools) && json_array_size(tools.j))
        a->tools = json_incref(tools.j);
    if (api_get_bool(body, "parallel_tool_calls", &parallel))
        a->single_call = !parallel;
    if (!f.j || json_is_null(f.j))
        return;
    const char *word = json_string_value(f.j);
    if (word && strcmp(word, "auto") == 0) {
        a->tool_choice = QN_TOOLS_AUTO;
    } else if (word && strcmp(word, "none") == 0) {
        a->tool_choice = QN_TOOLS_NONE;
    } else if (word && (strcmp(word, "required") == 0 || strcmp(word, "any") == 0)) {
        a->tool_choice = QN_TOOLS_REQUIRED;
    } else if (json_is_object(f.j)) {
        api_at function;
        if (api_get_object(&f, "function", &function))
            (void)api_get_text(&function, "name", &a->tool_name);
        if (!a->tool_name)
            api_refuse(&f, "must name a function: {\"type\":\"function\",\"function\":{\"name\":\"...\"}}");
        a->tool_choice = QN_TOOLS_NAMED;
    } else {
        api_refuse(&f, "must be \"auto\", \"none\", \"required\" or an object that names a function");
    }
    if (!a->tools && (a->tool_choice == QN_TOOLS_REQUIRED || a->tool_choice == QN_TOOLS_NAMED))
        api_refuse(&f, "asks for a call but there are no tools");
}

static void read_format(api_ask *a, const api_at *body)
{
    api_at f, s, schema;
    const char *type = NULL;
    if (api_get_object(body, "response_format", &f)) {
        (void)api_get_text(&f, "type", &type);
        if (!type) {
            api_refuse_field(&f, "type", "is missing; it must be \"text\", \"json_object\" or \"json_schema\"");
        } else if (strcmp(type, "json_object") == 0) {
            if (api_get_object(&f, "schema", &schema)) {
                api_keep_schema(a, schema.j, "response_format.schema");
            } else {
                api_keep_object(a, "response_format");
            }
        } else if (strcmp(type, "json_schema") == 0) {
            if (!api_get_object(&f, "json_schema", &s))
                api_refuse_field(&f, "json_schema", "is missing");
            else if (!api_get_object(&s, "schema", &schema))
                api_refuse_field(&s, "schema", "is missing");
            else
                api_keep_schema(a, schema.j, "response_format.json_schema.schema");
        } else if (strcmp(type, "text") != 0) {
            api_refuse_field(&f, "type", "'%.40s' is none of \"text\", \"json_object\", \"json_schema\"", type);
        }
    }
    if (api_get_object(body, "json_schema", &schema))
        api_keep_schema(a, schema.j, "json_schema");
    const char *text;
    if (api_get_bytes(body, "grammar", &text, &a->n_format) && a->n_format) {
        a->has_format = true;
        a->format = QN_GRAMMAR_GBNF;
        a->format_text = text;
        a->format_path = "grammar";
    }
}

/* Template variables: chat_template_kwargs, and what has names of its own. */
static void read_vars(api_ask *a, const api_at *body)
{
    static const char *const names[] = {"reasoning_effort", "enable_thinking", "thinking_budget"};
    api_at kwargs;
    a->vars = json_object();
    if (!a->vars) {
        api_refuse(body, "there is no memory for it");
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *v = json_object_get(body->j, names[i]);
        if (v && !json_is_null(v))
            (void)json_object_set(a->vars, names[i], v);
    }
    const char *effort = NULL;
    if (api_get_text(body, "reasoning_effort", &effort) && strcmp(effort, "none") == 0)
        (void)json_object_set_new(a->vars, "enable_thinking", json_false());
    if (api_get_object(body, "chat_template_kwargs", &kwargs))
        (void)json_object_update(a->vars, kwargs.j);
}

void api_openai_read_chat(api_ask *a, const api_at *body)
{
    api_at messages;
    a->mode = API_CHAT;
    api_openai_read(a, body);
    if (!api_get_array(body, "messages", &messages))
        api_refuse_field(body, "messages", "is missing");
    else if (!json_array_size(messages.j))
        api_refuse(&messages, "is empty; give at least one message");
    else
        a->messages = json_incref(messages.j);
    (void)api_get_bool(body, "logprobs", &a->logprobs);
    if (api_get_int32(body, "top_logprobs", 0, 20, &a->top_logprobs) && a->top_logprobs && !a->logprobs)
        api_refuse_field(body, "top_logprobs", "needs logprobs to be true");
    (void)api_get_bool(body, "continue_final_message", &a->continue_last);
    read_tools(a, body);
    read_format(a, body);
    read_vars(a, body);
}

void api_openai_chat(api_server *s, http_exchange *x, api_at *body)
{
    api_ask *a = api_ask_open(s, x, body);
    if (!a)
        return;
    api_openai_read_chat(a, body);
    api_ask_run(a);
}

/* ---- writing ---- */

static void put_token(const api_ask *a, const qn_prob *p, qn_buf *out)
{
    char *bytes = NULL;
    size_t n = 0;
    if (api_token_bytes(a->loaded, p->token, &bytes, &n) != QN_OK)
        n = 0;
    qn__buf_puts(out, "{\"token\":");
    api_put_string(out, bytes ? bytes : "", n);
    qn__buf_puts(out, ",\"logprob\":");
    api_put_float(out, p->logprob < -9999 ? -9999 : p->logprob);
    qn__buf_puts(out, ",\"bytes\":[");
    for (size_t i = 0; i < n; i++)
        qn__buf_printf(out, i ? ",%d" : "%d", (unsigned char)bytes[i]);
    qn__buf_puts(out, "]");
    qn_free(bytes);
}

static void put_logprobs(const api_choice *c, size_t from, qn_buf *out)
{
    const api_probs *p = &c->probs;
    const size_t row = 1 + p->n_top;
    if (!c->ask->logprobs || from >= p->n) {
        qn__buf_puts(out, ",\"logprobs\":null");
        return;
    }
    qn__buf_puts(out, ",\"logprobs\":{\"content\":[");
    for (size_t i = from; i < p->n; i++) {
        const qn_prob *r = p->rows + i * row;
        if (i > from)
            qn__buf_putc(out, ',');
        put_token(c->ask, r, out);
        qn__buf_puts(out, ",\"top_logprobs\":[");
        for (size_t k = 1; k < row && r[k].token >= 0 && k <= (size_t)c->ask->top_logprobs; k++) {
            if (k > 1)
                qn__buf_putc(out, ',');
            put_token(c->ask, &r[k], out);
            qn__buf_putc(out, '}');
        }
        qn__buf_puts(out, "]}");
    }
    qn__buf_puts(out, "],\"refusal\":null}");
}

/* A chunk up to the delta's brace. */
static void begin_chunk(api_ask *a, int index, qn_buf *out)
{
    qn__buf_puts(out, "data: ");
    api_openai_begin(a, "chatcmpl", "chat.completion.chunk", out);
    qn__buf_printf(out, ",\"choices\":[{\"index\":%d,\"delta\":{", index);
}

static void end_chunk(const api_choice *c, size_t probs_from, const char *finish, qn_buf *out)
{
    qn__buf_putc(out, '}');
    if (c)
        put_logprobs(c, probs_from, out);
    else
        qn__buf_puts(out, ",\"logprobs\":null");
    qn__buf_puts(out, ",\"finish_reason\":");
    api_put_text(out, finish);
    if (finish)
        api_put_loop(c, out);
    qn__buf_puts(out, "}]}\n\n");
}

static void put_start(api_ask *a, qn_buf *out)
{
    for (size_t i = 0; i < a->n_choices; i++) {
        begin_chunk(a, (int)i, out);
        qn__buf_puts(out, "\"role\":\"assistant\",\"content\":\"\"");
        end_chunk(NULL, 0, NULL, out);
    }
}

static void put_progress(api_ask *a, const api_event *e, qn_buf *out)
{
    if (!a->want_progress)
        return;
    qn__buf_puts(out, "data: ");
    api_openai_begin(a, "chatcmpl", "chat.completion.chunk", out);
    qn__buf_printf(out,
                   ",\"choices\":[{\"index\":%d,\"delta\":{},\"finish_reason\":null}],\"prompt_progress\":{\"total\":%d,"
                   "\"processed\":%d}}\n\n",
                   e->choice->index, e->total, e->done);
}

static void put_delta(api_ask *a, const api_event *e, qn_buf *out)
{
    begin_chunk(a, e->choice->index, out);
    switch (e->kind) {
    case API_EVENT_REASONING:
        qn__buf_puts(out, "\"reasoning_content\":");
        api_put_string(out, e->text, e->n);
        break;
    case API_EVENT_TEXT:
        qn__buf_puts(out, "\"content\":");
        api_put_string(out, e->text, e->n);
        break;
    case API_EVENT_CALL:
        qn__buf_printf(out, "\"tool_calls\":[{\"index\":%zu,\"id\":", e->call_index);
        api_put_text(out, e->call->id);
        qn__buf_puts(out, ",\"type\":\"function\",\"function\":{\"name\":");
        api_put_text(out, e->call->name);
        qn__buf_puts(out, ",\"arguments\":\"\"}}]");
        break;
    case API_EVENT_ARGUMENTS:
        qn__buf_printf(out, "\"tool_calls\":[{\"index\":%zu,\"function\":{\"arguments\":", e->call_index);
        api_put_string(out, e->text, e->n);
        qn__buf_puts(out, "}}]");
        break;
    default: break;
    }
    end_chunk(e->choice, e->kind == API_EVENT_TEXT || e->kind == API_EVENT_FINISH ? e->probs_from : SIZE_MAX,
              e->kind == API_EVENT_FINISH ? api_openai_finish(e->choice->finish) : NULL, out);
}

static void put_end(api_ask *a, qn_buf *out)
{
    if (a->stream_usage) {
        qn__buf_puts(out, "data: ");
        api_openai_begin(a, "chatcmpl", "chat.completion.chunk", out);
        qn__buf_puts(out, ",\"choices\":[]");
        api_openai_usage(a, out);
        qn__buf_puts(out, "}\n\n");
    }
    qn__buf_puts(out, "data: [DONE]\n\n");
}

static void event(api_ask *a, const api_event *e, qn_buf *out)
{
    switch (e->kind) {
    case API_EVENT_START: put_start(a, out); break;
    case API_EVENT_PROGRESS: put_progress(a, e, out); break;
    case API_EVENT_CALL_END: break;
    case API_EVENT_END: put_end(a, out); break;
    default: put_delta(a, e, out); break;
    }
}

static void put_message(const api_choice *c, qn_buf *out)
{
    qn__buf_puts(out, "{\"role\":\"assistant\",\"content\":");
    if (c->text.n || !c->n_calls)
        api_put_string(out, c->text.data ? c->text.data : "", c->text.n);
    else
        qn__buf_puts(out, "null");
    if (c->reasoning.n) {
        qn__buf_puts(out, ",\"reasoning_content\":");
        api_put_string(out, c->reasoning.data, c->reasoning.n);
    }
    for (size_t i = 0; i < c->n_calls; i++) {
        const api_call *call = &c->calls[i];
        qn__buf_puts(out, i ? ",{\"id\":" : ",\"tool_calls\":[{\"id\":");
        api_put_text(out, call->id);
        qn__buf_puts(out, ",\"type\":\"function\",\"function\":{\"name\":");
        api_put_text(out, call->name);
        qn__buf_puts(out, ",\"arguments\":");
        api_put_string(out, call->arguments.data ? call->arguments.data : "", call->arguments.n);
        qn__buf_puts(out, "}}");
    }
    qn__buf_puts(out, c->n_calls ? "],\"refusal\":null}" : ",\"refusal\":null}");
}

static void whole(api_ask *a, qn_buf *out)
{
    api_openai_begin(a, "chatcmpl", "chat.completion", out);
    qn__buf_puts(out, ",\"choices\":[");
    for (size_t i = 0; i < a->n_choices; i++) {
        const api_choice *c = &a->choices[i];
        qn__buf_printf(out, "%s{\"index\":%d,\"message\":", i ? "," : "", c->index);
        put_message(c, out);
        put_logprobs(c, 0, out);
        qn__buf_printf(out, ",\"finish_reason\":\"%s\"", api_openai_finish(c->finish));
        api_put_loop(c, out);
        qn__buf_putc(out, '}');
    }
    qn__buf_putc(out, ']');
    api_openai_usage(a, out);
    qn__buf_putc(out, '}');
}

const api_wire api_openai_chat_wire = {
    .stream_type = "text/event-stream",
    .rest = ": still reading\n\n",
    .event = event,
    .whole = whole,
    .error = api_openai_error,
};
