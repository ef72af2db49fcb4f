/* world_tickets.c - a queue of tickets. See world.h. */
#include <stdio.h>
#include <string.h>

#include "services/probe/world.h"

enum { LIST, GET, ASSIGN, PRIORITY, COMMENT, CLOSE };

static const qn_tool_spec tools[] = {
    [LIST] = {"list_tickets", "Numbers and titles of tickets, ten at a time.", {{"page", 'I', "from 1 on; left out: 1"}}},
    [GET] = {"get_ticket", "Everything about a ticket.", {{"id", 'i', "its number"}}},
    [ASSIGN] = {"assign_ticket", "Give a ticket to somebody.", {{"id", 'i', "its number"}, {"person", 's', "name"}}},
    [PRIORITY] = {"set_priority", "Set a ticket's priority.", {{"id", 'i', "its number"}, {"priority", 'i', "1 (most urgent) to 4"}}},
    [COMMENT] = {"comment_ticket", "Write a comment under a ticket.", {{"id", 'i', "its number"}, {"text", 's', "comment"}}},
    [CLOSE] = {"close_ticket", "Close a ticket.", {{"id", 'i', "its number"}, {"reason", 's', "why, in a word or a sentence"}}},
};

static void get(const qn_tickets *t, size_t i, qn_buf *out)
{
    qn__buf_printf(out, "#%d %s\nstatus: %s\nlabel: %s\nage: %d days\nassignee: %s\n", t->t[i].id, t->t[i].title, t->t[i].status, t->t[i].label,
                   t->t[i].age, *t->t[i].assignee ? t->t[i].assignee : "nobody");
    if (t->t[i].priority)
        qn__buf_printf(out, "priority: %d\n", t->t[i].priority);
    qn__buf_printf(out, "%s\n", t->t[i].body);
    for (size_t k = 0; k < t->t[i].n_comments; k++)
        qn__buf_printf(out, "comment: %s\n", t->t[i].comments[k]);
}

static bool list(const qn_tickets *t, const json_t *args, qn_buf *out)
{
    const json_t *v = json_object_get(args, "page");
    const json_int_t page = v ? json_integer_value(v) : 1;
    const size_t pages = (t->n + 9) / 10;
    if (page < 1 || (size_t)page > pages) {
        qn__buf_printf(out, "error: there are pages 1 to %zu", pages);
        return false;
    }
    for (size_t i = 10 * ((size_t)page - 1); i < t->n && i < 10 * (size_t)page; i++)
        qn__buf_printf(out, "#%d [%s] %s\n", t->t[i].id, t->t[i].status, t->t[i].title);
    qn__buf_printf(out, "page %d of %zu", (int)page, pages);
    return true;
}

static bool call(qn_env *e, size_t tool, const json_t *args, qn_buf *out)
{
    qn_tickets *t = e->tickets;
    if (tool == LIST)
        return list(t, args, out);
    const json_int_t id = json_integer_value(json_object_get(args, "id"));
    size_t i = 0;
    while (i < t->n && t->t[i].id != id)
        i++;
    if (i == t->n) {
        qn__buf_printf(out, "error: there is no ticket #%lld", (long long)id);
        return false;
    }
    if (tool == GET) {
        get(t, i, out);
        return true;
    }
    if (tool == PRIORITY) {
        const json_int_t p = json_integer_value(json_object_get(args, "priority"));
        if (p < 1 || p > 4) {
            qn__buf_puts(out, "error: a priority is 1 to 4");
            return false;
        }
        t->t[i].priority = (int)p;
        qn__env_effect(e, "priority #%d", t->t[i].id);
    } else if (tool == ASSIGN) {
        t->t[i].assignee = qn__env_text(e, qn__arg(args, "person"), strlen(qn__arg(args, "person")));
        qn__env_effect(e, "assign #%d", t->t[i].id);
    } else if (tool == COMMENT) {
        if (t->t[i].n_comments == QN_COMMENTS) {
            qn__buf_puts(out, "error: this ticket has too many comments");
            return false;
        }
        t->t[i].comments[t->t[i].n_comments++] = qn__env_text(e, qn__arg(args, "text"), strlen(qn__arg(args, "text")));
        qn__env_effect(e, "comment #%d", t->t[i].id);
    } else {
        t->t[i].status = "closed";
        qn__env_effect(e, "close #%d", t->t[i].id);
    }
    qn__buf_printf(out, "ticket #%d updated", t->t[i].id);
    return true;
}

const qn_world qn__world_tickets = {tools, sizeof tools / sizeof *tools, call};
