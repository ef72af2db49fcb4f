/* chat.c - a conversation to a prompt. See chat.h.
 *
 * Owns: reading the caller's JSON, the checks whose errors name a message and a key, the variables a template sees.
 * Refuses: JSON with a key twice, JSON nested deeper than the template's limit, messages that are not objects, roles
 * that are not strings. Everything else is the template's business. */
#include "text/chat.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"

static qn_status no_memory(qn_err *err)
{
    return qn__fail_mem(err, "conversation");
}

/* JSON nested deeper than MAX_DEPTH is refused with its path, which is written into `path` on the way. */
enum { MAX_DEPTH = 100 };

static qn_status check_depth(const json_t *j, char *path, size_t n, int depth, qn_err *err)
{
    const char *key;
    json_t *v;
    size_t i, cap = 160;
    qn_status s = QN_OK;
    if (depth > MAX_DEPTH)
        return qn__fail(err, QN_EFORMAT, path, "the JSON is nested deeper than %d levels here", MAX_DEPTH);
    if (json_is_object(j)) {
        json_object_foreach((json_t *)(uintptr_t)j, key, v)
        {
            size_t k = n;
            if (n < cap - 1)
                k += (size_t)snprintf(path + n, cap - n, "%s%.40s", n ? "." : "", key);
            s = check_depth(v, path, k < cap ? k : cap - 1, depth + 1, err);
            if (s != QN_OK)
                return s;
        }
    }
    if (json_is_array(j)) {
        json_array_foreach(j, i, v)
        {
            size_t k = n;
            if (n < cap - 1)
                k += (size_t)snprintf(path + n, cap - n, "[%zu]", i);
            s = check_depth(v, path, k < cap ? k : cap - 1, depth + 1, err);
            if (s != QN_OK)
                return s;
        }
    }
    return s;
}

/* Read JSON text; `what` names it in errors. */
static qn_status read_json(const char *text, const char *what, json_t **out, qn_err *err)
{
    json_error_t e;
    char where[120];
    json_t *j = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (j) {
        char path[160];
        size_t n = (size_t)snprintf(path, sizeof path, "%.60s", what);
        qn_status s = check_depth(j, path, n, 0, err);
        if (s == QN_OK)
            *out = j;
        else
            json_decref(j);
        return s;
    }
    if (json_error_code(&e) == json_error_out_of_memory)
        return no_memory(err);
    (void)snprintf(where, sizeof where, "%.60s: line %d, column %d", what, e.line, e.column);
    return qn__fail(err, QN_EFORMAT, where, "not valid JSON: %s", e.text);
}

/* ---- checks
 * -------------------------------------------------------------------------------------------------------------- */

static const char *type_name(const json_t *j)
{
    static const char *const names[] = {"an object", "an array", "a string", "an integer",
                                        "a number",  "true",     "false",    "null"};
    return j ? names[json_typeof(j)] : "missing";
}

/* Call arguments as a JSON string become the object they spell; what does not parse stays a string. */
static void arguments_to_object(json_t *function)
{
    json_t *a = json_object_get(function, "arguments"), *j;
    if (!json_is_string(a))
        return;
    j = json_loadb(json_string_value(a), json_string_length(a), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (json_is_object(j))
        (void)json_object_set(function, "arguments", j);
    json_decref(j);
}

/* The other way round, for templates that put a text of them together; what is a text stays as it was written. */
static bool arguments_to_text(json_t *function)
{
    json_t *a = json_object_get(function, "arguments");
    if (!json_is_object(a) && !json_is_array(a))
        return true;
    char *text = json_dumps(a, 0);
    const bool ok = text && json_object_set_new(function, "arguments", json_string(text)) == 0;
    free(text);
    return ok;
}

static qn_status check_calls(json_t *calls, size_t message, bool as_text, qn_err *err)
{
    char where[80];
    size_t i;
    json_t *call;
    if (!calls || json_is_null(calls))
        return QN_OK;
    (void)snprintf(where, sizeof where, "messages[%zu].tool_calls", message);
    if (!json_is_array(calls))
        return qn__fail(err, QN_EFORMAT, where, "is %s; it must be an array", type_name(calls));
    json_array_foreach(calls, i, call)
    {
        (void)snprintf(where, sizeof where, "messages[%zu].tool_calls[%zu]", message, i);
        if (!json_is_object(call))
            return qn__fail(err, QN_EFORMAT, where, "is %s; it must be an object", type_name(call));
        json_t *function = json_object_get(call, "function");
        if (function && !json_is_object(function)) {
            (void)snprintf(where, sizeof where, "messages[%zu].tool_calls[%zu].function", message, i);
            return qn__fail(err, QN_EFORMAT, where, "is %s; it must be an object", type_name(function));
        }
        if (!as_text)
            arguments_to_object(function ? function : call);
        else if (!arguments_to_text(function ? function : call))
            return no_memory(err);
    }
    return QN_OK;
}

static qn_status check_messages(json_t *messages, bool as_text, qn_err *err)
{
    char where[64];
    size_t i;
    json_t *m;
    if (!json_is_array(messages))
        return qn__fail(err, QN_EFORMAT, "messages", "is %s; it must be an array of messages", type_name(messages));
    json_array_foreach(messages, i, m)
    {
        (void)snprintf(where, sizeof where, "messages[%zu]", i);
        if (!json_is_object(m))
            return qn__fail(err, QN_EFORMAT, where, "is %s; it must be an object with role and content", type_name(m));
        json_t *role = json_object_get(m, "role"), *content = json_object_get(m, "content");
        if (!json_is_string(role)) {
            (void)snprintf(where, sizeof where, "messages[%zu].role", i);
            return qn__fail(err, QN_EFORMAT, where, "is %s; it must be a string such as \"user\"", type_name(role));
        }
        if (content && !json_is_string(content) && !json_is_array(content) && !json_is_object(content) &&
            !json_is_null(content)) {
            (void)snprintf(where, sizeof where, "messages[%zu].content", i);
            return qn__fail(err, QN_EFORMAT, where, "is %s; it must be a string or an array of parts",
                            type_name(content));
        }
        qn_status s = check_calls(json_object_get(m, "tool_calls"), i, as_text, err);
        if (s != QN_OK)
            return s;
    }
    return QN_OK;
}

/* ---- variables
 * ----------------------------------------------------------------------------------------------------------- */

/* Takes the reference to `value`, which may be NULL (out of memory). */
static qn_status put(json_t *vars, const char *name, json_t *value, qn_err *err)
{
    return json_object_set_new(vars, name, value) == 0 ? QN_OK : no_memory(err);
}

static qn_status put_text(json_t *vars, const char *name, const char *text, qn_err *err)
{
    if (!text)
        return QN_OK;
    json_t *s = json_string(text);
    if (!s)
        return qn__fail(err, QN_EFORMAT, name, "is not UTF-8");
    return put(vars, name, s, err);
}

/* The messages, and from an object also tools and whatever else it holds. */
static qn_status put_conversation(json_t *vars, const char *text, bool as_text, qn_err *err)
{
    json_t *j = NULL, *v;
    const char *key;
    if (!text)
        return qn__fail(err, QN_EINVAL, "messages", "no conversation was given");
    qn_status s = read_json(text, "messages", &j, err);
    if (s != QN_OK)
        return s;
    if (json_is_object(j)) {
        json_object_foreach(j, key, v)
        {
            s = put(vars, key, json_incref(v), err);
            if (s != QN_OK)
                goto out;
        }
    } else {
        s = put(vars, "messages", json_incref(j), err);
    }
    if (s == QN_OK)
        s = check_messages(json_object_get(vars, "messages"), as_text, err);
out:
    json_decref(j);
    return s;
}

static qn_status put_json(json_t *vars, const char *name, const char *text, qn_err *err)
{
    json_t *j = NULL;
    qn_status s = read_json(text, name, &j, err);
    return s == QN_OK ? put(vars, name, j, err) : s;
}

static qn_status fill(json_t *vars, const qn_chat_input *in, bool as_text, qn_err *err)
{
    static const char *const defaults[] = {"tools", "documents"};
    const char *const names[] = {"bos_token", "eos_token", "unk_token", "pad_token"};
    const char *const texts[] = {in->bos, in->eos, in->unk, in->pad};
    qn_status s = QN_OK;
    for (size_t i = 0; i < 2 && s == QN_OK; i++)
        s = put(vars, defaults[i], json_null(), err);
    for (size_t i = 0; i < 4 && s == QN_OK; i++)
        s = put_text(vars, names[i], texts[i], err);
    if (s == QN_OK)
        s = put(vars, "add_generation_prompt", json_boolean(in->add_generation_prompt), err);
    if (s == QN_OK)
        s = put_conversation(vars, in->messages_json, as_text, err);
    if (s == QN_OK && in->tools_json)
        s = put_json(vars, "tools", in->tools_json, err);
    for (size_t i = 0; i < in->n_vars && s == QN_OK; i++)
        s = put_json(vars, in->vars[i].name, in->vars[i].json, err);
    if (s != QN_OK)
        return s;
    json_t *tools = json_object_get(vars, "tools");
    if (!json_is_array(tools) && !json_is_null(tools))
        return qn__fail(err, QN_EFORMAT, "tools", "is %s; it must be an array", type_name(tools));
    return QN_OK;
}

static qn_status render(const qn_jinja *t, const qn_chat_input *in, bool as_text, char **out, size_t *n, qn_err *err)
{
    json_t *vars = json_object();
    if (!vars)
        return no_memory(err);
    qn_status s = fill(vars, in, as_text, err);
    if (s == QN_OK)
        s = qn__jinja_render(t, vars, in->now, out, n, err);
    json_decref(vars);
    return s;
}

qn_status qn__chat_render(const qn_jinja *t, const qn_chat_input *in, char **out, size_t *n, qn_err *err)
{
    qn_status s = render(t, in, false, out, n, err);
    /* A few templates want the arguments of calls as text (Functionary v3.2). The error is that of the first attempt. */
    if (s == QN_EFORMAT && in->messages_json && strstr(in->messages_json, "\"tool_calls\"") && render(t, in, true, out, n, NULL) == QN_OK)
        s = QN_OK;
    return s;
}

/* ---- dates
 * --------------------------------------------------------------------------------------------------------------- */

qn_status qn__chat_date(const char *date, int64_t *now, qn_err *err)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int v[3] = {0, 0, 0};
    bool ok = date && strlen(date) == 10 && date[4] == '-' && date[7] == '-';
    for (int i = 0; ok && i < 10; i++) {
        if (i == 4 || i == 7)
            continue;
        ok = date[i] >= '0' && date[i] <= '9';
        int *part = &v[i < 4 ? 0 : i < 7 ? 1 : 2];
        *part = *part * 10 + (date[i] - '0');
    }
    int year = v[0], month = v[1], day = v[2];
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    ok = ok && year > 0 && month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] + (month == 2 && leap);
    if (!ok)
        return qn__fail(err, QN_EINVAL, "date", "\"%.40s\" is not a date; write it as YYYY-MM-DD", date ? date : "");
    /* Days since 1970: years count from March, so that the leap day is the last of the year. */
    int64_t y = month > 2 ? year : year - 1, m = (month + 9) % 12;
    int64_t n = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
    *now = n * 86400 + 43200;
    return QN_OK;
}
