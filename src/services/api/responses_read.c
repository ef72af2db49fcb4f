/* responses_read.c - a body of /v1/responses becomes an ask: items to OpenAI's chat form.
 *
 *   instructions                      -> {role: system} first
 *   message                           -> a message; input_text and output_text parts are its text
 *   reasoning                         -> reasoning_content of the assistant's next message
 *   function_call, custom_tool_call   -> tool_calls of the assistant's message before it, or of one of their own
 *   ..._output                        -> {role: tool}
 *   tools: flat functions; those of a namespace are taken out of it; a custom tool is a function of one text, `input`;
 *   tools that the provider would run (web_search, ...) are left out
 *
 * Refuses: previous_response_id and item_reference (nothing is stored here; send the items), images and files. */
#include <stdlib.h>
#include <string.h>

#include "services/api/responses.h"

typedef struct reading {
    api_ask *a;
    qn_buf thought; /* of a reasoning item whose message has not come yet */
} reading;

/* A string, or parts that have text. */
static void put_text(const api_at *content, qn_buf *out)
{
    if (!content->j || json_is_null(content->j))
        return;
    if (json_is_string(content->j)) {
        qn__buf_put(out, json_string_value(content->j), json_string_length(content->j));
        return;
    }
    if (!json_is_array(content->j)) {
        api_refuse(content, "is %s; it must be a string or an array of parts", api_type_name(content->j));
        return;
    }
    for (size_t i = 0; i < json_array_size(content->j) && api_is_ok(content); i++) {
        const api_at part = api_item(content, i);
        const char *type = NULL, *text;
        size_t n;
        (void)api_get_text(&part, "type", &type);
        if (type && (strcmp(type, "input_image") == 0 || strcmp(type, "input_file") == 0 || strcmp(type, "input_audio") == 0))
            api_refuse(&part, "is an %s, and this server reads text only", type);
        else if (api_get_bytes(&part, type && strcmp(type, "refusal") == 0 ? "refusal" : "text", &text, &n)) {
            if (out->n)
                qn__buf_putc(out, '\n');
            qn__buf_put(out, text, n);
        }
    }
}

/* The assistant's message that calls belong to: the last one if it is an assistant's, else a new one. */
static json_t *assistant(reading *r)
{
    json_t *m = r->a->messages, *last = json_array_get(m, json_array_size(m) - 1);
    const char *role = json_string_value(json_object_get(last, "role"));
    if (role && strcmp(role, "assistant") == 0)
        return last;
    last = json_pack("{s:s, s:s}", "role", "assistant", "content", "");
    api_append(r->a, m, last);
    return json_array_get(m, json_array_size(m) - 1);
}

static void give_thought(reading *r, json_t *m)
{
    if (r->thought.n && m && json_object_set_new(m, "reasoning_content", api_string(r->a, &r->thought)))
        api_no_memory(r->a);
    r->thought.n = 0;
}

static void read_message(reading *r, const api_at *item)
{
    const char *role = NULL;
    const api_at content = api_field(item, "content");
    qn_buf text = {0};
    if (!api_get_text(item, "role", &role))
        api_refuse_field(item, "role", "is missing");
    put_text(&content, &text);
    if (api_is_ok(item)) {
        json_t *m = json_pack("{s:s, s:o?}", "role", strcmp(role, "developer") == 0 ? "system" : role, "content", api_string(r->a, &text));
        if (strcmp(role, "assistant") == 0)
            give_thought(r, m);
        api_append(r->a, r->a->messages, m);
    }
    qn__buf_free(&text);
}

static void read_call(reading *r, const api_at *item, bool custom)
{
    const char *id = NULL, *name = NULL, *text = "";
    size_t n = 0;
    json_t *wrapped = NULL;
    char *dumped = NULL;
    if (!api_get_text(item, "call_id", &id))
        api_refuse_field(item, "call_id", "is missing");
    if (!api_get_text(item, "name", &name))
        api_refuse_field(item, "name", "is missing");
    if (!api_get_bytes(item, custom ? "input" : "arguments", &text, &n) && !custom)
        api_refuse_field(item, "arguments", "is missing");
    if (!api_is_ok(item))
        return;
    if (custom) {
        wrapped = json_pack("{s:s%}", "input", text, n);
        dumped = wrapped ? json_dumps(wrapped, JSON_COMPACT) : NULL;
        text = dumped ? dumped : "{}";
        n = strlen(text);
    }
    json_t *m = assistant(r), *calls = json_object_get(m, "tool_calls");
    give_thought(r, m);
    if (!calls && m) {
        (void)json_object_set_new(m, "tool_calls", json_array());
        calls = json_object_get(m, "tool_calls");
    }
    api_append(r->a, calls, json_pack("{s:s, s:s, s:{s:s, s:s%}}", "id", id, "type", "function", "function", "name", name, "arguments", text, n));
    json_decref(wrapped);
    free(dumped);
}

static void read_output(reading *r, const api_at *item)
{
    const char *id = NULL;
    const api_at output = api_field(item, "output");
    qn_buf text = {0};
    if (!api_get_text(item, "call_id", &id))
        api_refuse_field(item, "call_id", "is missing");
    put_text(&output, &text);
    if (api_is_ok(item))
        api_append(r->a, r->a->messages, json_pack("{s:s, s:s, s:o?}", "role", "tool", "tool_call_id", id, "content", api_string(r->a, &text)));
    qn__buf_free(&text);
}

static void read_reasoning(reading *r, const api_at *item)
{
    api_at list;
    r->thought.n = 0;
    if (api_get_array(item, "content", &list) && json_array_size(list.j))
        put_text(&list, &r->thought);
    else if (api_get_array(item, "summary", &list))
        put_text(&list, &r->thought);
}

static void read_item(reading *r, const api_at *item)
{
    const char *type = NULL;
    if (!json_is_object(item->j)) {
        api_refuse(item, "is %s; it must be an object", api_type_name(item->j));
        return;
    }
    if (!api_get_text(item, "type", &type) || strcmp(type, "message") == 0)
        read_message(r, item);
    else if (strcmp(type, "function_call") == 0 || strcmp(type, "custom_tool_call") == 0)
        read_call(r, item, *type == 'c');
    else if (strcmp(type, "function_call_output") == 0 || strcmp(type, "custom_tool_call_output") == 0)
        read_output(r, item);
    else if (strcmp(type, "reasoning") == 0)
        read_reasoning(r, item);
    else if (strcmp(type, "item_reference") == 0)
        api_refuse(item, "refers to a stored item, and nothing is stored here; send the item itself");
    /* what other tools of the provider left in a history is nothing to this model */
}

static void read_input(reading *r, const api_at *body)
{
    const api_at input = api_field(body, "input");
    const char *text;
    size_t n;
    if (!(r->a->messages = json_array())) {
        api_no_memory(r->a);
        return;
    }
    if (api_get_bytes(body, "instructions", &text, &n) && n)
        api_append(r->a, r->a->messages, json_pack("{s:s, s:s%}", "role", "system", "content", text, n));
    if (json_is_string(input.j)) {
        api_append(r->a, r->a->messages, json_pack("{s:s, s:O}", "role", "user", "content", input.j));
    } else if (json_is_array(input.j)) {
        for (size_t i = 0; i < json_array_size(input.j) && api_is_ok(body); i++) {
            const api_at item = api_item(&input, i);
            read_item(r, &item);
        }
    } else {
        api_refuse(&input, "must be a string or an array of items");
    }
    if (api_is_ok(body) && !json_array_size(r->a->messages))
        api_refuse(&input, "is empty; give at least one message");
}

/* ---- tools ---- */

static void read_tools(api_ask *a, const api_at *tools, int depth);

static void read_tool(api_ask *a, const api_at *tool, int depth)
{
    const char *type = NULL, *name = NULL, *description = "";
    api_at parameters = {0}, inner;
    if (!api_get_text(tool, "type", &type)) {
        api_refuse_field(tool, "type", "is missing");
        return;
    }
    const bool custom = strcmp(type, "custom") == 0;
    if (strcmp(type, "namespace") == 0 && depth < 2) {
        if (api_get_array(tool, "tools", &inner))
            read_tools(a, &inner, depth + 1);
        return;
    }
    if (!custom && strcmp(type, "function") != 0)
        return; /* the provider's own */
    if (!api_get_text(tool, "name", &name))
        api_refuse_field(tool, "name", "is missing");
    (void)api_get_text(tool, "description", &description);
    (void)api_get_object(tool, "parameters", &parameters);
    if (!api_is_ok(tool))
        return;
    json_t *schema = custom         ? json_pack("{s:s, s:{s:{s:s}}, s:[s]}", "type", "object", "properties", "input", "type", "string", "required", "input")
                     : parameters.j ? json_incref(parameters.j)
                                    : json_pack("{s:s, s:{}}", "type", "object", "properties");
    api_append(a, a->tools, json_pack("{s:s, s:{s:s, s:s, s:o?}}", "type", "function", "function", "name", name, "description", description,
                                  "parameters", schema));
}

static void read_tools(api_ask *a, const api_at *tools, int depth)
{
    for (size_t i = 0; i < json_array_size(tools->j) && api_is_ok(tools); i++) {
        const api_at t = api_item(tools, i);
        read_tool(a, &t, depth);
    }
}

static void read_choice(api_ask *a, const api_at *body)
{
    const api_at f = api_field(body, "tool_choice");
    const char *word = json_string_value(f.j), *type = NULL;
    bool parallel = true;
    if (api_get_bool(body, "parallel_tool_calls", &parallel))
        a->single_call = !parallel;
    if (!f.j || json_is_null(f.j) || (word && strcmp(word, "auto") == 0))
        return;
    if (word && strcmp(word, "none") == 0) {
        a->tool_choice = QN_TOOLS_NONE;
    } else if (word && strcmp(word, "required") == 0) {
        a->tool_choice = QN_TOOLS_REQUIRED;
    } else if (json_is_object(f.j) && api_get_text(&f, "name", &a->tool_name)) {
        a->tool_choice = QN_TOOLS_NAMED;
    } else if (json_is_object(f.j) && api_get_text(&f, "type", &type) && strcmp(type, "allowed_tools") == 0) {
        a->tool_choice = QN_TOOLS_AUTO;
    } else {
        api_refuse(&f, "must be \"auto\", \"none\", \"required\" or {\"type\":\"function\",\"name\":...}");
    }
    if (!a->tools && (a->tool_choice == QN_TOOLS_REQUIRED || a->tool_choice == QN_TOOLS_NAMED))
        api_refuse(&f, "asks for a call but there are no tools");
}

/* ---- the rest ---- */

static void read_format(api_ask *a, const api_at *body)
{
    api_at text, format, schema;
    const char *type = NULL;
    if (!api_get_object(body, "text", &text) || !api_get_object(&text, "format", &format))
        return;
    (void)api_get_text(&format, "type", &type);
    if (type && strcmp(type, "json_object") == 0) {
        api_keep_object(a, "text.format");
    } else if (type && strcmp(type, "json_schema") == 0) {
        if (api_get_object(&format, "schema", &schema))
            api_keep_schema(a, schema.j, "text.format.schema");
        else
            api_refuse_field(&format, "schema", "is missing");
    } else if (!type || strcmp(type, "text") != 0) {
        api_refuse_field(&format, "type", "is none of \"text\", \"json_object\", \"json_schema\"");
    }
}

static void read_effort(api_ask *a, const api_at *body)
{
    api_at reasoning;
    const char *effort = NULL;
    if (!(a->vars = json_object())) {
        api_no_memory(a);
        return;
    }
    if (!api_get_object(body, "reasoning", &reasoning) || !api_get_text(&reasoning, "effort", &effort))
        return;
    (void)json_object_set_new(a->vars, "reasoning_effort", json_string(effort));
    if (strcmp(effort, "none") == 0)
        (void)json_object_set_new(a->vars, "enable_thinking", json_false());
}

void api_responses_read(api_ask *a, const api_at *body)
{
    reading r = {.a = a};
    api_at tools;
    const api_at previous = api_field(body, "previous_response_id");
    a->mode = API_CHAT;
    (void)api_get_text(body, "model", &a->model);
    (void)api_get_int32(body, "max_output_tokens", 1, INT32_MAX, &a->max_tokens);
    (void)api_get_bool(body, "stream", &a->stream);
    if (previous.j && !json_is_null(previous.j))
        api_refuse(&previous, "cannot be gone on with: nothing is stored here; send the whole conversation as input");
    api_read_sampling(a, body);
    if (api_get_array(body, "tools", &tools) && json_array_size(tools.j)) {
        if (!(a->tools = json_array()))
            api_no_memory(a);
        else
            read_tools(a, &tools, 0);
        if (!json_array_size(a->tools)) {
            json_decref(a->tools);
            a->tools = NULL;
        }
    }
    read_choice(a, body);
    read_input(&r, body);
    read_format(a, body);
    read_effort(a, body);
    qn__buf_free(&r.thought);
}
