/* anthropic_read.c - a body of /v1/messages becomes an ask: blocks to OpenAI's chat form.
 *
 *   system: text | [text]                     -> {role: system}      (a billing header, which changes with each request, is dropped)
 *   user: [tool_result ..., text ...]         -> {role: tool} ..., {role: user}
 *   assistant: [thinking, text, tool_use ...] -> {role: assistant, reasoning_content, content, tool_calls}
 *   system between the others                 -> {role: system} where it stands
 *   tools: input_schema                       -> function.parameters
 *
 * Content that is a string and content that is one text block are the same: clients change from one to the other between turns,
 * and the prompt must not.
 * A tool with defer_loading stands in the prompt where a tool_reference names it first and not among the others, so that what comes
 * before it keeps its tokens; it can be called as any other.
 * Refuses: images and documents (nothing here sees them), server tools are left out (nothing here runs them). */
#include <stdlib.h>
#include <string.h>

#include "services/api/anthropic.h"

static const char BILLING[] = "x-anthropic-billing-header:";

typedef struct reading {
    api_ask *a;
    json_t *deferred; /* name -> tool in OpenAI's form */
} reading;

static void set(api_ask *a, json_t *object, const char *key, json_t *value)
{
    if (!value || json_object_set_new(object, key, value))
        api_no_memory(a);
}

static const char *type_of(const api_at *block)
{
    const char *type = NULL;
    if (!json_is_object(block->j))
        api_refuse(block, "is %s; it must be an object with a type", api_type_name(block->j));
    else if (!api_get_text(block, "type", &type))
        api_refuse_field(block, "type", "is missing");
    return type ? type : "";
}

static void put_line(qn_buf *b, const char *text, size_t n)
{
    if (b->n)
        qn__buf_putc(b, '\n');
    qn__buf_put(b, text, n);
}

static void put_text_block(const api_at *block, qn_buf *out)
{
    const char *text;
    size_t n;
    if (api_get_bytes(block, "text", &text, &n))
        put_line(out, text, n);
    else
        api_refuse_field(block, "text", "is missing");
}

static void refuse_block(const api_at *block, const char *type)
{
    if (strcmp(type, "image") == 0 || strcmp(type, "document") == 0)
        api_refuse(block, "is %s %s, and this server reads text only", strcmp(type, "image") == 0 ? "an" : "a", type);
    else
        api_refuse_field(block, "type", "'%.40s' is not known here", type);
}

/* ---- system ---- */

static bool is_billing(const char *text, size_t n)
{
    return n >= sizeof BILLING - 1 && memcmp(text, BILLING, sizeof BILLING - 1) == 0;
}

/* A string or text blocks. */
static void put_plain(const api_at *content, bool system, qn_buf *out)
{
    if (json_is_string(content->j)) {
        if (!system || !is_billing(json_string_value(content->j), json_string_length(content->j)))
            put_line(out, json_string_value(content->j), json_string_length(content->j));
        return;
    }
    if (!json_is_array(content->j)) {
        api_refuse(content, "is %s; it must be a string or an array of blocks", api_type_name(content->j));
        return;
    }
    for (size_t i = 0; i < json_array_size(content->j) && api_is_ok(content); i++) {
        const api_at block = api_item(content, i);
        const char *type = type_of(&block), *text = json_string_value(json_object_get(block.j, "text"));
        if (strcmp(type, "text") != 0)
            refuse_block(&block, type);
        else if (!system || !text || !is_billing(text, json_string_length(json_object_get(block.j, "text"))))
            put_text_block(&block, out);
    }
}

static void read_system(reading *r, const api_at *body, json_t *messages)
{
    const api_at system = api_field(body, "system");
    qn_buf b = {0};
    if (!system.j || json_is_null(system.j))
        return;
    put_plain(&system, true, &b);
    if (b.n)
        api_append(r->a, messages, json_pack("{s:s, s:o?}", "role", "system", "content", api_string(r->a, &b)));
    qn__buf_free(&b);
}

/* ---- messages ---- */

/* What a tool gave: text, and tools that become known with it. */
static void put_result(reading *r, const api_at *content, qn_buf *out)
{
    if (!content->j || json_is_null(content->j))
        return;
    if (!json_is_array(content->j)) {
        put_plain(content, false, out);
        return;
    }
    for (size_t i = 0; i < json_array_size(content->j) && api_is_ok(content); i++) {
        const api_at block = api_item(content, i);
        const char *type = type_of(&block), *name = NULL;
        if (strcmp(type, "text") == 0) {
            put_text_block(&block, out);
        } else if (strcmp(type, "tool_reference") == 0) {
            (void)api_get_text(&block, "tool_name", &name);
            const json_t *tool = name ? json_object_get(r->deferred, name) : NULL;
            char *text = tool ? json_dumps(tool, JSON_COMPACT) : NULL;
            if (text)
                put_line(out, text, strlen(text));
            free(text);
        } else {
            refuse_block(&block, type);
        }
    }
}

static void read_result(reading *r, const api_at *block, json_t *messages)
{
    const char *id = NULL;
    bool error = false;
    qn_buf b = {0};
    if (!api_get_text(block, "tool_use_id", &id))
        api_refuse_field(block, "tool_use_id", "is missing");
    (void)api_get_bool(block, "is_error", &error);
    const api_at content = api_field(block, "content");
    put_result(r, &content, &b);
    if (api_is_ok(block))
        api_append(r->a, messages, json_pack("{s:s, s:s, s:o?}", "role", "tool", "tool_call_id", id, "content", api_string(r->a, &b)));
    qn__buf_free(&b);
}

static void read_user(reading *r, const api_at *content, const char *role, json_t *messages)
{
    qn_buf text = {0};
    if (!json_is_array(content->j)) {
        put_plain(content, false, &text);
        api_append(r->a, messages, json_pack("{s:s, s:o?}", "role", role, "content", api_string(r->a, &text)));
        qn__buf_free(&text);
        return;
    }
    bool any = json_array_size(content->j) == 0;
    for (size_t i = 0; i < json_array_size(content->j) && api_is_ok(content); i++) {
        const api_at block = api_item(content, i);
        const char *type = type_of(&block);
        if (strcmp(type, "text") == 0) {
            put_text_block(&block, &text);
            any = true;
        } else if (strcmp(type, "tool_result") == 0) {
            read_result(r, &block, messages);
        } else {
            refuse_block(&block, type);
        }
    }
    if (any)
        api_append(r->a, messages, json_pack("{s:s, s:o?}", "role", role, "content", api_string(r->a, &text)));
    qn__buf_free(&text);
}

static void read_call(reading *r, const api_at *block, json_t *calls)
{
    const char *id = NULL, *name = NULL;
    api_at input;
    if (!api_get_text(block, "id", &id))
        api_refuse_field(block, "id", "is missing");
    if (!api_get_text(block, "name", &name))
        api_refuse_field(block, "name", "is missing");
    char *text = api_get_object(block, "input", &input) ? json_dumps(input.j, JSON_COMPACT) : NULL;
    if (api_is_ok(block))
        api_append(r->a, calls, json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", id, "type", "function", "function", "name", name, "arguments",
                                      text ? text : "{}"));
    free(text);
}

static void read_assistant(reading *r, const api_at *content, json_t *messages)
{
    json_t *m = json_pack("{s:s}", "role", "assistant"), *calls = json_array();
    qn_buf text = {0}, thought = {0};
    if (json_is_string(content->j)) {
        put_plain(content, false, &text);
    } else {
        for (size_t i = 0; i < json_array_size(content->j) && api_is_ok(content); i++) {
            const api_at block = api_item(content, i);
            const char *type = type_of(&block), *p;
            size_t n;
            if (strcmp(type, "text") == 0)
                put_text_block(&block, &text);
            else if (strcmp(type, "thinking") == 0 && api_get_bytes(&block, "thinking", &p, &n))
                put_line(&thought, p, n);
            else if (strcmp(type, "tool_use") == 0)
                read_call(r, &block, calls);
            else if (strcmp(type, "thinking") != 0 && strcmp(type, "redacted_thinking") != 0)
                refuse_block(&block, type);
        }
    }
    if (!m || !calls) {
        api_no_memory(r->a);
    } else {
        set(r->a, m, "content", api_string(r->a, &text));
        if (thought.n)
            set(r->a, m, "reasoning_content", api_string(r->a, &thought));
        if (json_array_size(calls))
            set(r->a, m, "tool_calls", json_incref(calls));
    }
    api_append(r->a, messages, m);
    json_decref(calls);
    qn__buf_free(&text);
    qn__buf_free(&thought);
}

static void read_message(reading *r, const api_at *m, json_t *messages)
{
    const char *role = NULL;
    if (!json_is_object(m->j)) {
        api_refuse(m, "is %s; it must be an object with role and content", api_type_name(m->j));
        return;
    }
    const api_at content = api_field(m, "content");
    if (!api_get_text(m, "role", &role))
        api_refuse_field(m, "role", "is missing");
    else if (!json_is_string(content.j) && !json_is_array(content.j))
        api_refuse_field(m, "content", "must be a string or an array of blocks");
    else if (strcmp(role, "assistant") == 0)
        read_assistant(r, &content, messages);
    else if (strcmp(role, "user") == 0 || strcmp(role, "system") == 0)
        read_user(r, &content, role, messages);
    else
        api_refuse_field(m, "role", "'%.40s' is none of \"user\", \"assistant\", \"system\"", role);
}

static void read_messages(reading *r, const api_at *body)
{
    api_at list;
    json_t *messages = json_array();
    if (!messages) {
        api_no_memory(r->a);
        return;
    }
    r->a->messages = messages;
    read_system(r, body, messages);
    if (!api_get_array(body, "messages", &list)) {
        api_refuse_field(body, "messages", "is missing");
        return;
    }
    if (!json_array_size(list.j))
        api_refuse(&list, "is empty; give at least one message");
    for (size_t i = 0; i < json_array_size(list.j) && api_is_ok(body); i++) {
        const api_at m = api_item(&list, i);
        read_message(r, &m, messages);
    }
    const size_t n = json_array_size(messages);
    const char *last = n ? json_string_value(json_object_get(json_array_get(messages, n - 1), "role")) : NULL;
    r->a->continue_last = last && strcmp(last, "assistant") == 0;
}

/* ---- tools ---- */

static void read_tool(reading *r, const api_at *tool, json_t *shown)
{
    const char *name = NULL, *description = NULL, *type = NULL;
    api_at schema;
    bool deferred = false;
    if (!json_is_object(tool->j)) {
        api_refuse(tool, "is %s; it must be an object", api_type_name(tool->j));
        return;
    }
    (void)api_get_text(tool, "type", &type);
    const bool has_schema = api_get_object(tool, "input_schema", &schema);
    if (!has_schema && type && strcmp(type, "custom") != 0)
        return; /* a server tool: nothing here runs it */
    if (!api_get_text(tool, "name", &name))
        api_refuse_field(tool, "name", "is missing");
    if (!has_schema)
        api_refuse_field(tool, "input_schema", "is missing");
    (void)api_get_text(tool, "description", &description);
    (void)api_get_bool(tool, "defer_loading", &deferred);
    if (!api_is_ok(tool))
        return;
    json_t *t = json_pack("{s:s, s:{s:s, s:s, s:O}}", "type", "function", "function", "name", name, "description",
                          description ? description : "", "parameters", schema.j);
    if (!t || json_array_append(r->a->tools, t) || (deferred ? json_object_set(r->deferred, name, t) : json_array_append(shown, t)))
        api_no_memory(r->a);
    json_decref(t);
}

static void read_tools(reading *r, const api_at *body)
{
    api_at tools;
    if (!api_get_array(body, "tools", &tools))
        return;
    json_t *shown = json_array();
    r->a->tools = json_array();
    r->deferred = json_object();
    if (!shown || !r->a->tools || !r->deferred) {
        api_no_memory(r->a);
        json_decref(shown);
        return;
    }
    for (size_t i = 0; i < json_array_size(tools.j) && api_is_ok(body); i++) {
        const api_at t = api_item(&tools, i);
        read_tool(r, &t, shown);
    }
    if (!json_array_size(r->a->tools)) {
        json_decref(r->a->tools);
        r->a->tools = NULL;
        json_decref(shown);
    } else {
        r->a->shown_tools = shown;
    }
}

static void read_choice(api_ask *a, const api_at *body)
{
    api_at choice;
    const char *type = NULL;
    bool single = false;
    if (!api_get_object(body, "tool_choice", &choice))
        return;
    if (api_get_bool(&choice, "disable_parallel_tool_use", &single))
        a->single_call = single;
    if (!api_get_text(&choice, "type", &type))
        api_refuse_field(&choice, "type", "is missing");
    else if (strcmp(type, "auto") == 0)
        a->tool_choice = QN_TOOLS_AUTO;
    else if (strcmp(type, "none") == 0)
        a->tool_choice = QN_TOOLS_NONE;
    else if (strcmp(type, "any") == 0)
        a->tool_choice = QN_TOOLS_REQUIRED;
    else if (strcmp(type, "tool") == 0 && api_get_text(&choice, "name", &a->tool_name))
        a->tool_choice = QN_TOOLS_NAMED;
    else if (strcmp(type, "tool") == 0)
        api_refuse_field(&choice, "name", "is missing");
    else
        api_refuse_field(&choice, "type", "'%.40s' is none of \"auto\", \"any\", \"tool\", \"none\"", type);
    if (!a->tools && (a->tool_choice == QN_TOOLS_REQUIRED || a->tool_choice == QN_TOOLS_NAMED))
        api_refuse(&choice, "asks for a call but there are no tools");
}

/* ---- the rest ---- */

static void read_format(api_ask *a, const api_at *body)
{
    api_at config, format, schema;
    if (!(api_get_object(body, "output_config", &config) && api_get_object(&config, "format", &format)) &&
        !api_get_object(body, "output_format", &format))
        return;
    const char *type = NULL;
    (void)api_get_text(&format, "type", &type);
    if (!type || strcmp(type, "json_schema") != 0)
        api_refuse_field(&format, "type", "must be \"json_schema\"");
    else if (!api_get_object(&format, "schema", &schema))
        api_refuse_field(&format, "schema", "is missing");
    else
        api_keep_schema(a, schema.j, "output_format.schema");
}

static void read_thinking(api_ask *a, const api_at *body)
{
    api_at thinking;
    const char *type = NULL;
    a->vars = json_object();
    if (!a->vars)
        api_no_memory(a);
    if (!api_get_object(body, "thinking", &thinking) || !api_get_text(&thinking, "type", &type))
        return;
    if (strcmp(type, "disabled") == 0)
        set(a, a->vars, "enable_thinking", json_false());
    else if (strcmp(type, "enabled") == 0)
        set(a, a->vars, "enable_thinking", json_true());
}

void api_anthropic_read(api_ask *a, const api_at *body)
{
    reading r = {.a = a};
    a->mode = API_CHAT;
    (void)api_get_text(body, "model", &a->model);
    (void)api_get_int32(body, "max_tokens", 1, INT32_MAX, &a->max_tokens);
    (void)api_get_bool(body, "stream", &a->stream);
    api_read_sampling(a, body);
    api_read_stop(a, body, "stop_sequences");
    read_tools(&r, body);
    read_choice(a, body);
    read_messages(&r, body);
    read_format(a, body);
    read_thinking(a, body);
    json_decref(r.deferred);
}
