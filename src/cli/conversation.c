/* conversation.c - the messages of a chat, their file, and the prompt that the model's template makes of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

#include "cli/io.h"
#include "cli/run.h"
#include "cli/term.h"

bool run_add(run_session *s, const char *role, const char *text, size_t n)
{
    json_t *m = json_object(), *content = json_stringn(text, n);
    const bool ok = m && content && json_object_set_new(m, "role", json_string(role)) == 0 &&
                    json_object_set(m, "content", content) == 0 && json_array_append(s->messages, m) == 0;
    json_decref(content);
    json_decref(m);
    return ok;
}

void run_drop_last(run_session *s)
{
    const size_t n = json_array_size(s->messages);
    if (n)
        json_array_remove(s->messages, n - 1);
}

const char *run_get_system(const run_session *s)
{
    const json_t *m = json_array_get(s->messages, 0);
    const char *role = json_string_value(json_object_get(m, "role"));
    return role && strcmp(role, "system") == 0 ? json_string_value(json_object_get(m, "content")) : NULL;
}

bool run_set_system(run_session *s, const char *text)
{
    json_t *m = text ? json_pack("{s:s,s:s}", "role", "system", "content", text) : NULL;
    if (text && !m)
        return false;
    if (run_get_system(s))
        json_array_remove(s->messages, 0);
    return !text || json_array_insert_new(s->messages, 0, m) == 0;
}

void run_reset(run_session *s)
{
    const size_t keep = run_get_system(s) != NULL;
    while (json_array_size(s->messages) > keep)
        run_drop_last(s);
}

int run_save(const run_session *s, const char *path)
{
    term_file f;
    json_t *whole = json_pack("{s:O}", "messages", s->messages);
    char *text = whole ? json_dumps(whole, JSON_INDENT(2)) : NULL;
    json_decref(whole);
    if (!text)
        return cli_fail_text(path, "out of memory");
    int rc = CLI_OK;
    if (!term_file_open(path, &f)) {
        rc = cli_fail_text(path, "cannot write: %s", strerror(errno));
    } else {
        fputs(text, f.f);
        fputc('\n', f.f);
        if (!term_file_commit(&f))
            rc = cli_fail_text(path, "cannot write: %s", strerror(errno));
    }
    free(text);
    return rc;
}

int run_load(run_session *s, const char *path)
{
    char *text;
    size_t n;
    int rc = cli_read(path, &text, &n);
    if (rc != CLI_OK)
        return rc;
    json_error_t e;
    json_t *j = json_loadb(text, n, 0, &e);
    free(text);
    if (!j)
        return cli_fail_text(path, "line %d: not JSON: %s", e.line, e.text);
    json_t *list = json_is_object(j) ? json_object_get(j, "messages") : j;
    size_t i;
    json_t *m;
    if (!json_is_array(list)) {
        rc = cli_fail_text(path, "holds no array of messages");
    } else {
        json_array_foreach(list, i, m)
        {
            if (!json_is_string(json_object_get(m, "role"))) {
                rc = cli_fail_text(path, "message %zu has no role", i + 1);
                break;
            }
        }
    }
    if (rc == CLI_OK) {
        json_incref(list);
        json_decref(s->messages);
        s->messages = list;
    }
    json_decref(j);
    return rc;
}

int run_prompt_make(const run_session *s, const char *text, size_t n, run_prompt *out)
{
    qn_err err;
    *out = (run_prompt){0};
    if (s->raw)
        return qn_tokenize(s->model, text, n, true, QN_BOS_AUTO, &out->ids, &out->n_ids, &err) == QN_OK ? CLI_OK : cli_fail(&err);
    char *messages = json_dumps(s->messages, JSON_COMPACT);
    if (!messages)
        return cli_fail_text("run", "out of memory");
    const qn_render_options o = {.model = s->model, .messages_json = messages, .tools_json = s->tools_json};
    qn_status st = qn_render(&o, &out->text, &out->n, &err);
    free(messages);
    /* The template writes BOS itself where the model wants it: nothing is added. */
    if (st == QN_OK)
        st = qn_tokenize(s->model, out->text, out->n, true, QN_BOS_NO, &out->ids, &out->n_ids, &err);
    return st == QN_OK ? CLI_OK : cli_fail(&err);
}

void run_prompt_free(run_prompt *p)
{
    qn_free(p->text);
    qn_free(p->ids);
    *p = (run_prompt){0};
}

bool run_add_answer(run_session *s, const run_answer *a)
{
    if (!run_add(s, "assistant", a->text.p ? a->text.p : "", a->text.n))
        return false;
    json_t *m = json_array_get(s->messages, json_array_size(s->messages) - 1);
    return !a->calls || json_object_set(m, "tool_calls", a->calls) == 0;
}
