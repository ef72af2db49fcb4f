/* canon.c - see canon.h. */
#include "services/api/canon.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"

static const char billing[] = "x-anthropic-billing-header:";

static bool is_billing(const char *s, size_t n)
{
    return n >= sizeof billing - 1 && memcmp(s, billing, sizeof billing - 1) == 0;
}

/* ---- content ---- */

static void put_part(const api_at *part, bool system, qn_buf *b)
{
    const char *type = "text", *text = NULL;
    size_t n = 0;
    if (json_is_string(part->j)) {
        text = json_string_value(part->j);
        n = json_string_length(part->j);
    } else if (!json_is_object(part->j)) {
        api_refuse(part, "is %s; it must be an object with type and text", api_type_name(part->j));
        return;
    } else {
        (void)api_get_text(part, "type", &type);
        if (!api_get_bytes(part, "text", &text, &n) && strcmp(type, "refusal") == 0)
            (void)api_get_bytes(part, "refusal", &text, &n);
    }
    if (!text)
        api_refuse(part, "is a part of type '%.40s'; this server reads text only", type);
    else if (!system || !is_billing(text, n)) {
        if (b->n)
            qn__buf_putc(b, '\n');
        qn__buf_put(b, text, n);
    }
}

/* The text of a message's content as a new string. NULL when refused, or no memory. */
static json_t *content_of(const api_at *message, bool system)
{
    const api_at f = api_field(message, "content");
    qn_buf b = {0};
    if (json_is_array(f.j)) {
        for (size_t i = 0; i < json_array_size(f.j); i++) {
            const api_at part = api_item(&f, i);
            put_part(&part, system, &b);
        }
    } else if (json_is_string(f.j)) {
        const char *s = json_string_value(f.j);
        size_t n = json_string_length(f.j);
        if (system && is_billing(s, n)) {
            const char *end = memchr(s, '\n', n);
            const size_t skip = end ? (size_t)(end - s) + 1 : n;
            s += skip;
            n -= skip;
        }
        qn__buf_put(&b, s, n);
    } else if (json_is_object(f.j)) {
        put_part(&f, system, &b);
    } else if (f.j && !json_is_null(f.j)) {
        api_refuse(&f, "is %s; it must be a string or an array of parts", api_type_name(f.j));
    }
    json_t *out = b.failed ? NULL : json_stringn(b.data ? b.data : "", b.n);
    qn__buf_free(&b);
    return out;
}

/* ---- calls ---- */

/* {"id", "type", "function": {"name", "arguments"}} */
static json_t *call_of(const api_at *call)
{
    api_at function = *call;
    const char *id = NULL, *name = NULL;
    if (!json_is_object(call->j)) {
        api_refuse(call, "is %s; it must be an object", api_type_name(call->j));
        return NULL;
    }
    (void)api_get_text(call, "id", &id);
    const api_at inner = api_field(call, "function");
    if (inner.j)
        function = inner;
    if (!json_is_object(function.j)) {
        api_refuse(&function, "is %s; it must be an object", api_type_name(function.j));
        return NULL;
    }
    if (!api_get_text(&function, "name", &name))
        api_refuse_field(&function, "name", "is missing");
    json_t *arguments = json_object_get(function.j, "arguments");
    if (arguments && !json_is_string(arguments) && !json_is_object(arguments) && !json_is_null(arguments))
        api_refuse_field(&function, "arguments", "is %s; it must be a string of JSON", api_type_name(arguments));
    if (!api_is_ok(call))
        return NULL;
    if (!arguments || json_is_null(arguments) || (json_is_string(arguments) && !json_string_length(arguments)))
        arguments = json_object();
    else
        json_incref(arguments);
    return json_pack("{s:s*, s:s, s:{s:s, s:o}}", "id", id, "type", "function", "function", "name", name, "arguments",
                     arguments);
}

static bool add_calls(const api_at *message, json_t *out)
{
    api_at calls;
    if (!api_get_array(message, "tool_calls", &calls) || !json_array_size(calls.j))
        return true;
    json_t *list = json_array();
    bool ok = list && json_object_set_new(out, "tool_calls", list) == 0;
    for (size_t i = 0; ok && i < json_array_size(calls.j); i++) {
        const api_at call = api_item(&calls, i);
        json_t *one = call_of(&call);
        if (!one && !api_is_ok(message))
            return true;
        ok = json_array_append_new(list, one) == 0;
    }
    return ok;
}

/* The name of the function that the call `id` was of, among the messages so far. */
static json_t *name_of_call(const json_t *messages, const char *id)
{
    for (size_t i = json_array_size(messages); i-- > 0;) {
        const json_t *calls = json_object_get(json_array_get(messages, i), "tool_calls");
        for (size_t k = 0; k < json_array_size(calls); k++) {
            const json_t *call = json_array_get(calls, k), *have = json_object_get(call, "id");
            if (json_is_string(have) && strcmp(json_string_value(have), id) == 0)
                return json_object_get(json_object_get(call, "function"), "name");
        }
    }
    return NULL;
}

/* ---- messages ---- */

static bool copy_text(const api_at *m, const char *from, json_t *out, const char *to)
{
    const char *s;
    size_t n;
    if (json_object_get(out, to) || !api_get_bytes(m, from, &s, &n) || !n)
        return true;
    return json_object_set_new(out, to, json_stringn(s, n)) == 0;
}

/* Append the canonical form of one message to `out`. False: no memory. */
static bool add_message(const api_at *m, json_t *out)
{
    const char *role = NULL, *id = NULL;
    if (!json_is_object(m->j)) {
        api_refuse(m, "is %s; it must be an object with role and content", api_type_name(m->j));
        return true;
    }
    if (!api_get_text(m, "role", &role)) {
        api_refuse_field(m, "role", "is %s; it must be a string such as \"user\"",
                         api_type_name(json_object_get(m->j, "role")));
        return true;
    }
    if (strcmp(role, "developer") == 0)
        role = "system";
    const bool system = strcmp(role, "system") == 0;
    json_t *content = content_of(m, system);
    if (!api_is_ok(m)) {
        json_decref(content);
        return true;
    }
    json_t *last = json_array_get(out, json_array_size(out) - 1);
    if (system && content && json_array_size(out) == 1 && strcmp(json_string_value(json_object_get(last, "role")), "system") == 0) {
        const char *have = json_string_value(json_object_get(last, "content"));
        json_t *both = json_sprintf(*have && json_string_length(content) ? "%s\n\n%s" : "%s%s", have, json_string_value(content));
        json_decref(content);
        return both && json_object_set_new(last, "content", both) == 0;
    }
    json_t *one = json_pack("{s:s, s:o}", "role", role, "content", content);
    bool ok = one && copy_text(m, "reasoning_content", one, "reasoning_content") &&
              copy_text(m, "reasoning", one, "reasoning_content") && copy_text(m, "name", one, "name") &&
              copy_text(m, "tool_call_id", one, "tool_call_id") && add_calls(m, one);
    if (ok && strcmp(role, "tool") == 0 && !json_object_get(one, "name") && api_get_text(m, "tool_call_id", &id)) {
        json_t *name = name_of_call(out, id);
        ok = !name || json_object_set(one, "name", name) == 0;
    }
    if (ok)
        ok = json_array_append(out, one) == 0;
    json_decref(one);
    return ok;
}

qn_status api_canon_messages(json_t *messages, json_t **out, qn_err *err)
{
    qn_err e = {0};
    const api_at root = {.key = "", .err = &e}, list = {.up = &root, .key = "messages", .j = messages, .err = &e};
    json_t *canon = json_array();
    bool ok = canon != NULL;
    for (size_t i = 0; ok && !e.code && i < json_array_size(messages); i++) {
        const api_at m = api_item(&list, i);
        ok = add_message(&m, canon);
    }
    if (ok && !e.code) {
        *out = canon;
        return QN_OK;
    }
    json_decref(canon);
    if (!e.code)
        return qn__fail_mem(err, "messages");
    if (err)
        *err = e;
    return e.code;
}

/* ---- bending ---- */

static bool is_role(const json_t *m, const char *role)
{
    return m && strcmp(json_string_value(json_object_get(m, "role")), role) == 0;
}

/* Put the text of `m` under (or over) that of the last message. */
static bool join(json_t *last, const json_t *m)
{
    const char *a = json_string_value(json_object_get(last, "content")), *b = json_string_value(json_object_get(m, "content"));
    json_t *both = json_sprintf(*a && *b ? "%s\n\n%s" : "%s%s", a, b);
    return both && json_object_set_new(last, "content", both) == 0;
}

json_t *api_canon_bend(const json_t *messages, api_bend how)
{
    if (how == API_AS_IS)
        return json_deep_copy(messages);
    json_t *out = json_array();
    bool ok = out != NULL;
    for (size_t i = 0; ok && i < json_array_size(messages); i++) {
        const json_t *m = json_array_get(messages, i);
        json_t *last = json_array_get(out, json_array_size(out) - 1);
        const bool turn = is_role(m, "system") && (i > 0 || how == API_NO_SYSTEM);
        if ((turn || is_role(m, "user")) && is_role(last, "user")) {
            ok = join(last, m);
            continue;
        }
        json_t *copy = json_deep_copy(m);
        ok = copy && (!turn || json_object_set_new(copy, "role", json_string("user")) == 0) &&
             json_array_append(out, copy) == 0;
        json_decref(copy);
    }
    if (!ok) {
        json_decref(out);
        return NULL;
    }
    return out;
}

/* ---- tools ---- */

json_t *api_canon_tools(const json_t *tools)
{
    json_t *out = json_array();
    for (size_t i = 0; out && i < json_array_size(tools); i++) {
        const json_t *t = json_array_get(tools, i);
        json_t *f = json_object_get(t, "function");
        if (json_is_true(json_object_get(t, "defer_loading")) || json_is_true(json_object_get(f, "defer_loading")) || !f)
            continue;
        json_t *one = json_pack("{s:s, s:O}", "type", "function", "function", f);
        if (one && json_is_object(f) && json_object_get(f, "strict")) {
            json_t *copy = json_copy(f);
            (void)json_object_del(copy, "strict");
            (void)json_object_set_new(one, "function", copy);
        }
        (void)json_array_append_new(out, one);
    }
    if (json_array_size(out))
        return out;
    json_decref(out);
    return NULL;
}
