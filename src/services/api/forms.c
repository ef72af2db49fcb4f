/* forms.c - what output must look like, and how a reply is taken apart: tools, grammars, parts. See ask.h.
 *
 * Making them takes time (a template is probed for its dialect, a grammar compiled) and agents ask with the same tools again and
 * again: each model keeps the last ones, by what they were made from. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "services/api/ask_int.h"

enum { FORMS_MAX = 24 };

struct api_form {
    api_form *next;
    char *key; /* everything it was made from */
    size_t n_key;
    int users;
    qn_tools *tools;
    qn_grammar *grammar;
};

static void free_form(api_form *f)
{
    qn_tools_close(f->tools);
    qn_grammar_close(f->grammar);
    qn_free(f->key);
    qn_free(f);
}

void api_forms_drop(api_model *m)
{
    while (m->forms) {
        api_form *f = m->forms;
        m->forms = f->next;
        free_form(f);
    }
}

/* Under lock: the form of this key, moved to the front and held. */
static api_form *find(api_model *m, const qn_buf *key)
{
    for (api_form **p = &m->forms; *p; p = &(*p)->next) {
        api_form *f = *p;
        if (f->n_key == key->n && memcmp(f->key, key->data, key->n) == 0) {
            *p = f->next;
            f->next = m->forms;
            m->forms = f;
            f->users++;
            return f;
        }
    }
    return NULL;
}

/* Under lock: drop the oldest that nobody uses. */
static void trim(api_model *m)
{
    size_t n = 0;
    for (api_form **p = &m->forms; *p;) {
        api_form *f = *p;
        if (++n > FORMS_MAX && !f->users) {
            *p = f->next;
            free_form(f);
        } else {
            p = &f->next;
        }
    }
}

/* In a chat an answer in JSON may follow reasoning, and tools may be called instead of it; other grammars are the whole output's, unless
 * there are tools. */
static bool is_reply(const api_ask *a)
{
    return a->tools || (a->has_format && a->mode == API_CHAT && (a->format == QN_GRAMMAR_JSON || a->format == QN_GRAMMAR_SCHEMA));
}

static qn_status make(const api_ask *a, const char *tools, api_form *f, qn_err *err)
{
    const qn_model *m = a->loaded->model;
    qn_err why = {0};
    const char *format = !a->has_format ? NULL : a->format_text ? a->format_text : "";
    qn_status st = is_reply(a) ? qn_tools_open(m, &(qn_tools_options){.tools_json = tools, .choice = a->tool_choice, .name = a->tool_name,
                                                                      .single = a->single_call, .answer = format,
                                                                      .n_answer = a->n_format, .answer_kind = a->format},
                                               &f->tools, &why)
                               : qn_grammar_open(m, a->format, format, a->n_format, &f->grammar, &why);
    if (st && a->has_format && a->format_path && strncmp(why.where, "tool", 4) != 0)
        qn__err_prefix(&why, a->format_path);
    if (st)
        *err = why;
    return st;
}

qn_status api_forms_open(api_ask *a, qn_err *err)
{
    qn_buf key = {0}, tools = {0};
    if (!a->tools && !a->has_format)
        return QN_OK;
    if (a->tools) {
        api_put_json(&tools, a->tools);
        qn__buf_printf(&key, "tools %d %d %s ", a->tool_choice, a->single_call, a->tool_name ? a->tool_name : "");
        qn__buf_put(&key, tools.data ? tools.data : "", tools.n);
    }
    if (a->has_format) {
        qn__buf_printf(&key, " format %d %d ", is_reply(a), a->format);
        qn__buf_put(&key, a->format_text ? a->format_text : "", a->n_format);
    }
    qn_status st = key.failed || tools.failed ? qn__fail_mem(err, "tools") : QN_OK;
    qn_lock *lock = &a->loaded->forms_lock;
    if (!st) {
        qn__lock(lock);
        a->form = find(a->loaded, &key);
        qn__unlock(lock);
    }
    if (!st && !a->form) {
        api_form *f = qn__calloc(1, sizeof *f);
        st = f ? make(a, tools.data, f, err) : qn__fail_mem(err, "tools");
        if (!st) {
            f->n_key = key.n;
            f->key = qn__buf_take(&key, NULL);
            f->users = 1;
            qn__lock(lock);
            f->next = a->loaded->forms;
            a->loaded->forms = f;
            trim(a->loaded);
            qn__unlock(lock);
            a->form = f;
        } else if (f) {
            free_form(f);
        }
    }
    qn__buf_free(&key);
    qn__buf_free(&tools);
    return st;
}

void api_forms_close(api_ask *a)
{
    if (!a->form)
        return;
    qn__lock(&a->loaded->forms_lock);
    a->form->users--;
    trim(a->loaded);
    qn__unlock(&a->loaded->forms_lock);
    a->form = NULL;
}

const qn_grammar *api_forms_grammar(const api_ask *a)
{
    if (!a->form)
        return NULL;
    return a->form->grammar ? a->form->grammar : qn_tools_grammar(a->form->tools, a->rendered, a->n_rendered);
}

/* ---- parts ---- */

qn_status api_parts_open(api_choice *c, qn_err *err)
{
    const api_ask *a = c->ask;
    if (a->form && a->form->grammar) /* its form is the whole output's */
        return QN_OK;
    return api_forms_reply(a, &c->reply, err);
}

qn_status api_forms_reply(const api_ask *a, qn_reply **out, qn_err *err)
{
    return qn_reply_open(a->loaded->model, a->form ? a->form->tools : NULL, a->rendered, a->n_rendered, out, err);
}

void api_parts_close(api_choice *c)
{
    qn_reply_close(c->reply);
    c->reply = NULL;
}

qn_status api_parts_put(api_choice *c, const char *text, size_t n, qn_err *err)
{
    if (c->reply)
        return qn_reply_put(c->reply, text, n, api__answer_part, c, err);
    api__answer_part(c, &(qn_part){.kind = QN_PART_TEXT, .text = text, .n = n});
    return QN_OK;
}

qn_status api_parts_end(api_choice *c, qn_err *err)
{
    return c->reply ? qn_reply_end(c->reply, api__answer_part, c, err) : QN_OK;
}
