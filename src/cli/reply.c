/* reply.c - `quern run --tools`: what a model writes is reasoning, text and calls of tools.
 *
 * Text goes to stdout as it comes, a call as one line of JSON when it is complete: {"name": ..., "arguments": {...}}. Reasoning goes to
 * stderr. A call that is cut off is no line: stderr says so. Nothing is run here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/io.h"
#include "cli/run.h"

struct run_reply {
    qn_reply *r;
    run_answer *a;
    bool show, quiet;
    bool line;     /* stdout stands inside a line of text */
    bool thought;  /* stderr stands inside reasoning */
    int rc;        /* the first thing that failed */
};

int run_tools_open(run_session *s)
{
    const char *choice = s->o->tool_choice ? s->o->tool_choice : "auto";
    static const char *const words[] = {"auto", "none", "required"};
    qn_tools_options o = {.choice = QN_TOOLS_NAMED, .name = choice, .answer_kind = QN_GRAMMAR_SCHEMA};
    char *schema = NULL;
    size_t n;
    qn_err err;
    if (s->raw)
        return cli_fail_text("--tools", "this model has no chat template to offer tools in");
    int rc = s->o->schema ? cli_read(s->o->schema, &schema, &o.n_answer) : CLI_OK;
    if (rc == CLI_OK && s->o->tools) {
        rc = cli_read(s->o->tools, &s->tools_json, &n);
        if (rc == CLI_OK && strlen(s->tools_json) != n)
            rc = cli_fail_text(s->o->tools, "not JSON: it holds a zero byte");
    }
    if (rc != CLI_OK) {
        free(schema);
        return rc;
    }
    for (int i = 0; i < 3; i++)
        if (strcmp(choice, words[i]) == 0)
            o.choice = (qn_tool_choice)i;
    o.tools_json = s->tools_json;
    o.answer = schema;
    const qn_status st = qn_tools_open(s->model, &o, &s->tools, &err);
    free(schema);
    return st == QN_OK ? CLI_OK : cli_fail(&err);
}

/* {"name":...,"arguments":...}: JSON text, in which a line break can only be white space. */
static bool put_call(run_text *out, const char *name, const char *args)
{
    json_t *n = json_string(name);
    char *quoted = n ? json_dumps(n, JSON_ENCODE_ANY) : NULL;
    json_decref(n);
    bool ok = quoted && run_keep(out, "{\"name\":", 8) && run_keep(out, quoted, strlen(quoted)) && run_keep(out, ",\"arguments\":", 13);
    const size_t from = out->n;
    ok = ok && run_keep(out, args, strlen(args)) && run_keep(out, "}", 1);
    for (size_t i = from; ok && i < out->n; i++)
        if (out->p[i] == '\n' || out->p[i] == '\r')
            out->p[i] = ' ';
    free(quoted);
    return ok;
}

static bool end_line(run_reply *r)
{
    if (r->thought)
        fputc('\n', stderr);
    r->thought = false;
    if (r->line && r->show && cli_put("\n", 1) != CLI_OK)
        return false;
    r->line = false;
    return true;
}

static bool end_call(run_reply *r, const qn_part *p)
{
    run_answer *a = r->a;
    run_text line = {0};
    char id[40];
    if (!a->calls)
        a->calls = json_array();
    (void)snprintf(id, sizeof id, "call_%d", (int)p->call);
    const char *args = a->cut.p ? a->cut.p : "{}";
    json_t *call = json_pack("{s:s,s:s,s:{s:s,s:s}}", "id", p->id && *p->id ? p->id : id, "type", "function", "function", "name", p->name,
                             "arguments", args);
    bool ok = call && a->calls && json_array_append(a->calls, call) == 0;
    json_decref(call);
    if (ok && r->show)
        ok = end_line(r) && put_call(&line, p->name, args) && run_keep(&line, "\n", 1) && cli_put_safe(line.p, line.n) == CLI_OK &&
             cli_flush() == CLI_OK;
    free(line.p);
    a->cut.n = a->cut_name.n = 0;
    if (a->cut.p)
        *a->cut.p = 0;
    return ok;
}

/* A terminal is to show no control characters of a model's. */
static void think_aloud(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned char ch = (unsigned char)p[i];
        const bool c1 = ch == 0xC2 && i + 1 < n && (unsigned char)p[i + 1] < 0xA0;
        fputc(c1 || ch == 0x7F || (ch < ' ' && ch != '\n' && ch != '\t') ? '?' : ch, stderr);
        i += c1;
    }
}

static bool take(run_reply *r, const qn_part *p)
{
    run_answer *a = r->a;
    switch (p->kind) {
    case QN_PART_REASONING:
        if (r->show && !r->quiet) {
            think_aloud(p->text, p->n);
            r->thought = true;
        }
        return run_keep(&a->reasoning, p->text, p->n);
    case QN_PART_TEXT:
        if (r->thought && !end_line(r))
            return false;
        if (r->show && (cli_put_safe(p->text, p->n) != CLI_OK || cli_flush() != CLI_OK))
            return false;
        r->line = p->n && p->text[p->n - 1] != '\n';
        return run_keep(&a->text, p->text, p->n);
    case QN_PART_CALL:
        a->cut.n = a->cut_name.n = 0;
        return run_keep(&a->cut_name, p->name, strlen(p->name)) && run_keep(&a->cut, "", 0);
    case QN_PART_ARGUMENTS: return run_keep(&a->cut, p->text, p->n);
    case QN_PART_CALL_END: return end_call(r, p);
    }
    return true;
}

static void part(void *arg, const qn_part *p)
{
    run_reply *r = arg;
    if (r->rc == CLI_OK && !take(r, p)) {
        r->rc = cli_flush(); /* says why, if it was the output */
        if (r->rc == CLI_OK)
            r->rc = cli_fail_text("run", "out of memory");
    }
}

int run_reply_open(const run_session *s, const run_prompt *prompt, bool show, run_answer *a, run_reply **out)
{
    qn_err err;
    run_reply *r = calloc(1, sizeof *r);
    if (!r)
        return cli_fail_text("run", "out of memory");
    *r = (run_reply){.a = a, .show = show, .quiet = s->o->quiet};
    if (qn_reply_open(s->model, s->tools, prompt->text, prompt->n, &r->r, &err) != QN_OK) {
        free(r);
        return cli_fail(&err);
    }
    *out = r;
    return CLI_OK;
}

void run_reply_close(run_reply *r)
{
    if (!r)
        return;
    qn_reply_close(r->r);
    free(r);
}

int run_reply_put(run_reply *r, const char *text, size_t n)
{
    qn_err err;
    if ((n ? qn_reply_put(r->r, text, n, part, r, &err) : qn_reply_end(r->r, part, r, &err)) != QN_OK)
        return cli_fail(&err);
    if (!n && r->rc == CLI_OK) {
        if (!end_line(r))
            return CLI_FAILED;
        if (r->a->cut_name.n && r->show && !r->quiet)
            fprintf(stderr, "[a call of %s is not complete and left out]\n", r->a->cut_name.p);
    }
    return r->rc;
}

static bool put_text(run_text *out, const char *key, const run_text *t)
{
    json_t *j = json_stringn(t->p ? t->p : "", t->n);
    char *quoted = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL;
    const bool ok = quoted && run_keep(out, key, strlen(key)) && run_keep(out, quoted, strlen(quoted));
    json_decref(j);
    free(quoted);
    return ok;
}

bool run_put_parts(const run_answer *a, run_text *out)
{
    bool ok = !a->reasoning.n || put_text(out, ",\"reasoning\":", &a->reasoning);
    ok = ok && run_keep(out, ",\"calls\":[", 10);
    for (size_t i = 0; ok && i < json_array_size(a->calls); i++) {
        const json_t *f = json_object_get(json_array_get(a->calls, i), "function");
        ok = (!i || run_keep(out, ",", 1)) && put_call(out, json_string_value(json_object_get(f, "name")),
                                                       json_string_value(json_object_get(f, "arguments")));
    }
    ok = ok && run_keep(out, "]", 1);
    if (ok && a->cut_name.n)
        ok = put_text(out, ",\"cut\":{\"name\":", &a->cut_name) && put_text(out, ",\"arguments\":", &a->cut) && run_keep(out, "}", 1);
    return ok;
}
