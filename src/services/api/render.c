/* render.c - a conversation to the prompt's text, whatever the template thinks of it. See ask.h, canon.h.
 *
 * A template may raise where system texts stand late, or drop them without a word; both are seen, and the conversation is bent a
 * little further. What was said here is put back as it was sampled (replay.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "services/api/ask_int.h"
#include "services/api/canon.h"
#include "services/api/replay.h"

enum { VARS_MAX = 64, SHOWN = 48 };

/* ---- variables ---- */

typedef struct variables {
    qn_var v[VARS_MAX];
    size_t n;
} variables;

static void drop_vars(variables *v)
{
    for (size_t i = 0; i < v->n; i++)
        free((void *)(uintptr_t)v->v[i].json);
    v->n = 0;
}

/* Names that are the conversation's own are not for kwargs. */
static bool reserved(const char *name)
{
    static const char *const names[] = {"messages", "tools", "add_generation_prompt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static qn_status take_vars(const api_ask *a, variables *v, qn_err *err)
{
    const char *key;
    json_t *value;
    v->n = 0;
    json_object_foreach(a->vars, key, value)
    {
        if (reserved(key))
            continue;
        if (v->n == VARS_MAX)
            return qn__fail(err, QN_ELIMIT, "chat_template_kwargs", "has more than %d variables", VARS_MAX);
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        if (!text)
            return qn__fail_mem(err, "chat_template_kwargs");
        v->v[v->n++] = (qn_var){.name = key, .json = text};
    }
    /* A grammar begins with the output: no reasoning before it, if the template lets it be switched off. */
    if (a->has_format && a->format != QN_GRAMMAR_JSON && a->format != QN_GRAMMAR_SCHEMA && !json_object_get(a->vars, "enable_thinking") && v->n < VARS_MAX) {
        char *no = strdup("false");
        if (!no)
            return qn__fail_mem(err, "messages");
        v->v[v->n++] = (qn_var){.name = "enable_thinking", .json = no};
    }
    return QN_OK;
}

/* ---- one attempt ---- */

static qn_status render(const api_ask *a, const json_t *messages, const json_t *tools, bool open_end, const variables *v, char **text,
                        size_t *n, qn_err *err)
{
    qn_status st;
    char *m = json_dumps(messages, JSON_COMPACT), *t = tools ? json_dumps(tools, JSON_COMPACT) : NULL;
    if (!m || (tools && !t))
        st = qn__fail_mem(err, "messages");
    else
        st = qn_render(&(qn_render_options){.model = a->loaded->model, .messages_json = m, .tools_json = t, .vars = v->v,
                                            .n_vars = v->n, .no_generation_prompt = !open_end},
                       text, n, err);
    free(m);
    free(t);
    return st;
}

/* Does the prompt show the beginning of this text? */
static bool shows(const char *text, size_t n, const char *s)
{
    while (*s == ' ' || *s == '\n' || *s == '\t' || *s == '\r')
        s++;
    size_t k = strcspn(s, "\n");
    if (k > SHOWN)
        k = SHOWN;
    return memmem(text, n, s, k) != NULL;
}

static bool shows_system(const json_t *messages, const char *text, size_t n)
{
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *m = json_array_get(messages, i);
        if (strcmp(json_string_value(json_object_get(m, "role")), "system") == 0 &&
            !shows(text, n, json_string_value(json_object_get(m, "content"))))
            return false;
    }
    return true;
}

/* Arguments that are no JSON object would fail in templates that walk through them: give them one. */
static bool wrap_arguments(json_t *messages)
{
    bool any = false;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        json_t *calls = json_object_get(json_array_get(messages, i), "tool_calls");
        for (size_t k = 0; k < json_array_size(calls); k++) {
            json_t *f = json_object_get(json_array_get(calls, k), "function"), *s = json_object_get(f, "arguments");
            json_t *parsed = json_is_string(s) ? json_loads(json_string_value(s), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL)
                                               : NULL;
            if (json_is_string(s) && !json_is_object(parsed)) {
                (void)json_object_set_new(f, "arguments", json_pack("{s:O}", "input", s));
                any = true;
            }
            json_decref(parsed);
        }
    }
    return any;
}

/* The tools' names must be in the prompt, or the model knows nothing of them: a template without tools gets them as text. */
static json_t *tell_tools(const json_t *messages, const json_t *tools)
{
    qn_buf b = {0};
    json_t *out = json_deep_copy(messages);
    qn__buf_puts(&b, "You may call these functions:\n");
    for (size_t i = 0; i < json_array_size(tools); i++) {
        api_put_json(&b, json_object_get(json_array_get(tools, i), "function"));
        qn__buf_putc(&b, '\n');
    }
    qn__buf_puts(&b, "To call one, answer with nothing but {\"name\": NAME, \"arguments\": {...}}.");
    json_t *first = json_array_get(out, 0);
    if (first && strcmp(json_string_value(json_object_get(first, "role")), "system") == 0) {
        json_t *both = b.failed ? NULL : json_sprintf("%s\n\n%s", json_string_value(json_object_get(first, "content")), b.data);
        (void)json_object_set_new(first, "content", both);
    } else if (!b.failed) {
        (void)json_array_insert_new(out, 0, json_pack("{s:s, s:s}", "role", "system", "content", b.data));
    }
    qn__buf_free(&b);
    return out;
}

/* Bend until it goes; a->bend remembers how far. The error is that of the first attempt. */
static qn_status try_all(api_ask *a, const json_t *messages, const json_t *tools, bool open_end, const variables *v, char **text,
                         size_t *n, qn_err *err)
{
    qn_status first = QN_OK;
    for (api_bend how = API_AS_IS; how < API_BENDS; how++) {
        qn_err e = {0};
        char *got = NULL;
        size_t n_got = 0;
        json_t *bent = api_canon_bend(messages, how);
        if (!bent)
            return qn__fail_mem(err, "messages");
        qn_status st = render(a, bent, tools, open_end, v, &got, &n_got, &e);
        if (st == QN_EFORMAT && wrap_arguments(bent))
            st = render(a, bent, tools, open_end, v, &got, &n_got, &e);
        json_decref(bent);
        if (!st && (how == API_BENDS - 1 || shows_system(messages, got, n_got))) {
            *text = got;
            *n = n_got;
            a->bend = how;
            return QN_OK;
        }
        qn_free(st ? NULL : got);
        if (st && !first) {
            first = st;
            if (err)
                *err = e;
        }
        if (st && st != QN_ERAISED && st != QN_EFORMAT)
            break;
    }
    return first ? first : qn__fail(err, QN_EFORMAT, "messages", "the template leaves out a system message");
}

/* ---- the last message goes on ---- */

static qn_status cut_end(api_ask *a, const json_t *messages, qn_err *err)
{
    const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    const char *s = json_string_value(json_object_get(last, "content"));
    size_t k = strlen(s);
    while (k && (s[k - 1] == ' ' || s[k - 1] == '\n' || s[k - 1] == '\t'))
        k--; /* templates trim */
    for (size_t at = a->n_rendered; k && at-- > 0;)
        if (at + k <= a->n_rendered && memcmp(a->rendered + at, s, k) == 0) {
            a->n_rendered = at + k;
            a->rendered[a->n_rendered] = 0;
            return QN_OK;
        }
    return qn__fail(err, QN_EUNSUPPORTED, "messages", "the template does not show the last message, so it cannot be continued");
}

/* The tools that stand in the prompt's place for tools; NULL: none. */
static json_t *canon_shown(const api_ask *a)
{
    const json_t *shown = a->shown_tools ? a->shown_tools : a->tools;
    return json_array_size(shown) ? api_canon_tools(shown) : NULL;
}

qn_status api_render(api_ask *a, qn_err *err)
{
    variables v;
    json_t *canon = NULL, *tools = canon_shown(a);
    qn_status st = take_vars(a, &v, err);
    if (!st)
        st = api_canon_messages(a->messages, &canon, err);
    if (!st)
        api_recall_calls(a, canon);
    const json_t *last = json_array_get(canon, json_array_size(canon) - 1);
    const bool goes_on = a->continue_last && last && strcmp(json_string_value(json_object_get(last, "role")), "assistant") == 0;
    if (!st)
        st = try_all(a, canon, tools, !goes_on, &v, &a->rendered, &a->n_rendered, err);
    const json_t *tool = json_object_get(json_array_get(tools, 0), "function");
    const char *name = json_string_value(json_object_get(tool, "name"));
    if (!st && name && !memmem(a->rendered, a->n_rendered, name, strlen(name))) {
        json_t *told = tell_tools(canon, tools);
        qn_free(a->rendered);
        a->rendered = NULL;
        st = told ? try_all(a, told, NULL, !goes_on, &v, &a->rendered, &a->n_rendered, err) : qn__fail_mem(err, "tools");
        json_decref(canon);
        canon = told;
    }
    if (!st && goes_on)
        st = cut_end(a, canon, err);
    if (!st)
        st = api_recall(a, err);
    a->canon = canon;
    drop_vars(&v);
    json_decref(tools);
    return st;
}

/* The conversation with these messages behind it, as a later request would bring it. */
qn_status api_render_with(api_ask *a, json_t *messages, char **text, size_t *n, qn_err *err)
{
    variables v;
    json_t *tools = canon_shown(a), *all = json_deep_copy(a->canon), *bent = NULL;
    qn_status st = take_vars(a, &v, err);
    if (!st && (!all || json_array_extend(all, messages) != 0 || !(bent = api_canon_bend(all, a->bend))))
        st = qn__fail_mem(err, "messages");
    if (!st)
        st = render(a, bent, tools, false, &v, text, n, err);
    json_decref(all);
    json_decref(bent);
    json_decref(tools);
    drop_vars(&v);
    return st;
}
