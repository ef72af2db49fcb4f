/* agent_solve.h - scripted agents, one per family of tasks, that see what a model sees: the system prompt, the request, results of tools.
 * They know the language that requests are written in and nothing of the world's state; that they succeed proves that everything that is
 * needed can be found. The same script runs against a world at once (solve_world) or behind a conversation (solve_answer), in which
 * case it is begun anew for each answer and given the results that stand in the messages until it asks for one that is not there. */
#ifndef AGENT_SOLVE_H
#define AGENT_SOLVE_H

#include <jansson.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "services/probe/task.h"

typedef struct solver {
    qn_arena arena;
    const char *user;
    qn_env *world;         /* tools are called at once; or */
    const char **results;  /* results so far, n_results of them; */
    size_t n_results, at;
    const char *tool;      /* then the call that is wanted */
    char *arguments;
    jmp_buf out;
    int steps;
} solver;

static const char *keep(solver *s, const char *p, size_t n)
{
    const char *c = qn__arena_strndup(&s->arena, p, n);
    if (!c)
        abort();
    return c;
}

static const char *say(solver *s, const char *fmt, ...) QN_PRINTF(2, 3);
static const char *say(solver *s, const char *fmt, ...)
{
    char text[40000];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return keep(s, text, strlen(text));
}

static const char *one_call(solver *s, const char *tool, const char *arguments)
{
    if (!s->world) {
        if (s->at < s->n_results)
            return s->results[s->at++];
        s->tool = tool;
        s->arguments = strdup(arguments);
        longjmp(s->out, 1);
    }
    qn_buf out = {0};
    s->steps++;
    (void)qn__env_call(s->world, tool, arguments, &out);
    const char *r = keep(s, out.data ? out.data : "", out.n);
    qn__buf_free(&out);
    return r;
}

/* Call a tool; what fails for a moment is tried again. Takes args. */
static const char *use(solver *s, const char *tool, json_t *args)
{
    char *text = json_dumps(args, JSON_COMPACT);
    const char *arguments = keep(s, text, strlen(text)), *r = "";
    free(text);
    json_decref(args);
    for (int i = 0; i < 4; i++) {
        r = one_call(s, tool, arguments);
        if (strncmp(r, "error 429", 9) != 0 && strncmp(r, "error: timed out", 16) != 0)
            break;
    }
    return r;
}
#define USE0(tool) use(s, tool, json_object())
#define USE1(tool, a, v) use(s, tool, json_pack("{s:s}", a, v))
#define USE2(tool, a, v, b, w) use(s, tool, json_pack("{s:s, s:s}", a, v, b, w))

/* ---- reading ---- */

/* The next line of *p, which moves on; NULL at the end. */
static const char *line(solver *s, const char **p)
{
    if (!**p)
        return NULL;
    const size_t n = strcspn(*p, "\n");
    const char *l = keep(s, *p, n);
    *p += n + ((*p)[n] == '\n');
    return l;
}

/* What stands between two texts, or NULL. */
static const char *between(solver *s, const char *text, const char *a, const char *b)
{
    const char *from = text ? strstr(text, a) : NULL, *to;
    if (!from)
        return NULL;
    from += strlen(a);
    to = *b ? strstr(from, b) : from + strlen(from);
    return to ? keep(s, from, (size_t)(to - from)) : NULL;
}

static const char *path_of(solver *s, const char *module)
{
    char *p = (char *)(uintptr_t)say(s, "%s.py", module);
    for (char *c = p; c[3]; c++)
        if (*c == '.')
            *c = '/';
    return p;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* The text of a function in a file: from its def to the next thing at the left border. */
static const char *function_text(solver *s, const char *file, const char *name)
{
    const char *at = strstr(file, say(s, "def %s(", name)), *end;
    if (!at)
        return NULL;
    end = strstr(at, "\n\n\n");
    return keep(s, at, end ? (size_t)(end - at) + 1 : strlen(at));
}

/* What it should be, from its docstring; NULL: not understood. */
static const char *as_it_should_be(solver *s, const char *function)
{
    const char *head = between(s, function, "", ":\n"), *doc = between(s, function, "\"\"\"", "\"\"\"");
    qn_buf body = {0};
    const char *out = NULL;
    if (doc && qn__bank_understand(doc, &body))
        out = say(s, "%s:\n    \"\"\"%s\"\"\"\n%s", head, doc, body.data);
    qn__buf_free(&body);
    return out;
}

static void repair(solver *s, const char *path, const char *name)
{
    const char *old = function_text(s, USE1("read_file", "path", path), name), *new = old ? as_it_should_be(s, old) : NULL;
    if (new && strcmp(new, old) != 0)
        use(s, "edit_file", json_pack("{s:s, s:s, s:s}", "path", path, "old", old, "new", new));
}

/* Of failing tests: the function and the file it is in. Each once; false: no more. */
typedef struct failing {
    const char *test_path, *name;
} failing;
static int failures(solver *s, const char *report, failing out[16])
{
    int n = 0;
    for (const char *p = report, *l; (l = line(s, &p));) {
        if (!strstr(l, " FAILED") || strncmp(l, "tests/", 6) != 0)
            continue;
        const char *name = between(s, l, "::test_", " FAILED"), *cut = name ? strrchr(name, '_') : NULL;
        bool known = !cut;
        if (cut)
            name = keep(s, name, (size_t)(cut - name));
        for (int i = 0; i < n; i++)
            known |= strcmp(out[i].name, name) == 0;
        if (!known && n < 16)
            out[n++] = (failing){between(s, l, "", "::"), name};
    }
    return n;
}

/* ---- programming ---- */

static void solve_fix_bug(solver *s)
{
    failing f[16];
    const int n = failures(s, USE0("run_tests"), f);
    for (int i = 0; i < n; i++) {
        const char *module = between(s, USE1("read_file", "path", f[i].test_path), "from ", " import");
        if (module)
            repair(s, path_of(s, module), f[i].name);
    }
}

static void solve_write_function(solver *s)
{
    for (const char *p = USE1("search", "text", "raise NotImplementedError"), *l; (l = line(s, &p));) {
        const char *path = between(s, l, "", ":"), *text = USE1("read_file", "path", path), *at = strstr(text, "raise NotImplementedError");
        while (at > text && strncmp(at, "def ", 4) != 0)
            at--;
        const char *name = between(s, at, "def ", "(");
        const char *old = name ? function_text(s, text, name) : NULL, *new = old ? as_it_should_be(s, old) : NULL;
        if (new)
            use(s, "edit_file", json_pack("{s:s, s:s, s:s}", "path", path, "old", old, "new", new));
    }
}

static void solve_trace_failure(solver *s)
{
    static const char *const words[] = {"plus", "minus", "times"}, *const signs[] = {"+", "-", "*"};
    const char *name = between(s, s->user, "tests of ", " fail");
    const char *path = between(s, USE1("search", "text", say(s, "def %s(", name)), "", ":");
    for (int hop = 0; hop < 8 && path; hop++) {
        const char *text = USE1("read_file", "path", path), *doc = between(s, text, "\"\"\"Return ", ".\"\"\"");
        char below[64] = "", word[16] = "";
        int k = 0;
        if (!doc || sscanf(doc, "%63[a-z_](value) %15[a-z] %d", below, word, &k) != 3) {
            const char *old = function_text(s, text, name), *new = old ? as_it_should_be(s, old) : NULL;
            if (new && strcmp(new, old) != 0)
                use(s, "edit_file", json_pack("{s:s, s:s, s:s}", "path", path, "old", old, "new", new));
            return;
        }
        const char *is = say(s, "    return%s", between(s, text, "    return", "\n")), *should = NULL;
        for (int w = 0; w < 3; w++)
            if (strcmp(word, words[w]) == 0)
                should = say(s, "    return %s(value) %s %d", below, signs[w], k);
        if (should && strcmp(is, should) != 0) {
            use(s, "edit_file", json_pack("{s:s, s:s, s:s}", "path", path, "old", is, "new", should));
            return;
        }
        path = path_of(s, between(s, text, "from ", " import"));
        name = keep(s, below, strlen(below));
    }
}

static void solve_rename_symbol(solver *s)
{
    const char *old = between(s, s->user, "function ", " of"), *new = between(s, s->user, ".py to ", " in"), *done[24];
    int n = 0;
    for (const char *p = USE1("search", "text", old), *l; (l = line(s, &p));) {
        const char *path = between(s, l, "", ":");
        bool known = strncmp(path, "tests/", 6) == 0;
        for (int i = 0; i < n; i++)
            known |= strcmp(done[i], path) == 0;
        if (known || n == 24)
            continue;
        done[n++] = path;
        const char *text = USE1("read_file", "path", path);
        qn_buf b = {0};
        bool quoted = false;
        for (const char *c = text; *c;) {
            quoted ^= *c == '"';
            if (!quoted && strncmp(c, old, strlen(old)) == 0 && !is_word(c[strlen(old)]) && (c == text || !is_word(c[-1]))) {
                qn__buf_puts(&b, new);
                c += strlen(old);
            } else {
                qn__buf_putc(&b, *c++);
            }
        }
        const char *changed = keep(s, b.data, b.n);
        qn__buf_free(&b);
        if (strcmp(changed, text) != 0)
            USE2("write_file", "path", path, "content", changed);
    }
}

static void solve_resolve_conflict(solver *s)
{
    const char *notes = strstr(s->user, "MERGE.md") ? USE1("read_file", "path", "MERGE.md") : s->user;
    const char *text = USE1("read_file", "path", "settings.py"), *out = "";
    for (const char *p = text, *l; (l = line(s, &p));) {
        if (strncmp(l, "<<<<<<<", 7) != 0) {
            out = say(s, "%s%s\n", out, l);
            continue;
        }
        char name[32] = "";
        int ours = 0, theirs = 0;
        (void)sscanf(line(s, &p), "%31s = %d", name, &ours);
        (void)line(s, &p);
        (void)sscanf(line(s, &p), "%31s = %d", name, &theirs);
        (void)line(s, &p);
        const char *rule = between(s, notes, say(s, "- %s: ", name), ".");
        const int v = strstr(rule, "first") ? ours : strstr(rule, "second") ? theirs : strstr(rule, "larger") ? (ours > theirs ? ours : theirs)
                      : strstr(rule, "smaller") ? (ours < theirs ? ours : theirs) : ours + theirs;
        out = say(s, "%s%s = %d\n", out, name, v);
    }
    USE2("write_file", "path", "settings.py", "content", out);
}

static bool calls(solver *s, const char *function, const char *name)
{
    bool quoted = false;
    const char *body = strchr(function, '\n');
    (void)s;
    for (const char *c = body; c && *c; c++) {
        quoted ^= *c == '"';
        if (!quoted && strncmp(c, name, strlen(name)) == 0 && c[strlen(name)] == '(' && !is_word(c[-1]))
            return true;
    }
    return false;
}

static void solve_find_callers(solver *s)
{
    const char *target = between(s, s->user, "call ", " of"), *names[64], *texts[64], *answer = "";
    const bool indirect = strstr(s->user, "through other") != NULL;
    bool in[64] = {0};
    int n = 0;
    for (const char *p = USE0("list_files"), *l; (l = line(s, &p));) {
        if (strncmp(l, "part", 4) != 0)
            continue;
        for (const char *text = USE1("read_file", "path", l), *at = text; (at = strstr(at, "def ")) && n < 64; at += 4) {
            names[n] = between(s, at, "def ", "(");
            texts[n] = function_text(s, at, names[n]);
            in[n] = calls(s, texts[n], target);
            n++;
        }
    }
    for (bool more = indirect; more;) {
        more = false;
        for (int i = 0; i < n; i++)
            for (int k = 0; k < n && !in[i]; k++)
                if (in[k] && calls(s, texts[i], names[k]))
                    in[i] = more = true;
    }
    for (int i = 0; i < n; i++)
        if (in[i])
            answer = say(s, "%s%s%s", answer, *answer ? ", " : "", names[i]);
    USE1("submit_answer", "answer", answer);
}

static void solve_find_commit(solver *s)
{
    failing f[16];
    const char *path = between(s, s->user, " in ", " fail"), *name = between(s, s->user, "tests of ", " in "), *culprit = "", *now = NULL, *right = NULL;
    if (!name) {
        if (!failures(s, USE0("run_tests"), f))
            return;
        name = f[0].name;
        path = path_of(s, between(s, USE1("read_file", "path", f[0].test_path), "from ", " import"));
    }
    for (const char *p = USE1("git_log", "path", path), *l; (l = line(s, &p));) {
        const char *id = between(s, l, "", " "), *function = function_text(s, USE2("git_file_at", "commit", id, "path", path), name);
        const char *should = function ? as_it_should_be(s, function) : NULL;
        if (!now) {
            now = function;
            right = should;
        }
        if (!should || strstr(function, should))
            break;
        culprit = id;
    }
    if (now && right)
        use(s, "edit_file", json_pack("{s:s, s:s, s:s}", "path", path, "old", now, "new", right));
    USE1("submit_answer", "answer", culprit);
}

static void solve_restore_code(solver *s)
{
    const char *name = between(s, s->user, "function ", ", which"), *path = between(s, s->user, "once in ", " and was"), *log = USE1("git_log", "path", path);
    for (const char *p = log, *l; (l = line(s, &p));) {
        const char *shown = USE1("git_show", "commit", between(s, l, "", " "));
        if (!strstr(shown, say(s, "-def %s(", name)))
            continue;
        const char *before = line(s, &p); /* the commit under it in the log of this file */
        const char *old = function_text(s, USE2("git_file_at", "commit", between(s, before, "", " "), "path", path), name);
        USE2("write_file", "path", path, "content", say(s, "%s\n\n%s", old, USE1("read_file", "path", path)));
        return;
    }
}

static void solve_ticket_fix(solver *s)
{
    const int id = atoi(between(s, s->user, "ticket #", ":"));
    const char *ticket = use(s, "get_ticket", json_pack("{s:i}", "id", id)), *name = between(s, ticket, "Results of ", " are"), *path = between(s, name, " in ", "");
    if (path)
        name = between(s, name, "", " in ");
    else
        path = between(s, USE1("search", "text", say(s, "def %s(", name)), "", ":");
    repair(s, path, name);
    const char *commit = between(s, USE1("git_commit", "message", say(s, "Repair %s", name)), "", " ");
    use(s, "comment_ticket", json_pack("{s:i, s:s}", "id", id, "text", say(s, "Repaired in %s", commit)));
    use(s, "close_ticket", json_pack("{s:i, s:s}", "id", id, "reason", "repaired"));
}

/* ---- the desk ---- */

static int ticket_ids(solver *s, int ids[64])
{
    int n = 0, pages = 1;
    for (int page = 1; page <= pages; page++)
        for (const char *p = use(s, "list_tickets", json_pack("{s:i}", "page", page)), *l; (l = line(s, &p));) {
            if (*l == '#' && strstr(l, "[open]") && n < 64)
                ids[n++] = atoi(l + 1);
            else
                (void)sscanf(l, "page %*d of %d", &pages);
        }
    return n;
}

static void solve_triage(solver *s)
{
    int ids[64];
    const int n = ticket_ids(s, ids);
    const char *limit = between(s, s->user, "older than ", " days"), *outage = between(s, s->user, "outage goes to ", ",");
    for (int i = 0; i < n; i++) {
        const char *ticket = use(s, "get_ticket", json_pack("{s:i}", "id", ids[i]));
        if (!strstr(ticket, "assignee: nobody"))
            continue;
        const char *person = between(s, s->user, say(s, " %s: ", between(s, ticket, "label: ", "\n")), ".");
        if (outage && strstr(ticket, "outage"))
            person = outage;
        use(s, "assign_ticket", json_pack("{s:i, s:s}", "id", ids[i], "person", person));
        if (limit)
            use(s, "set_priority", json_pack("{s:i, s:i}", "id", ids[i], "priority", atoi(between(s, ticket, "age: ", " ")) > atoi(limit) ? 1 : 3));
    }
}

static void solve_duplicates(solver *s)
{
    int ids[64], code[64], age[64];
    const int n = ticket_ids(s, ids);
    for (int i = 0; i < n; i++) {
        const char *ticket = use(s, "get_ticket", json_pack("{s:i}", "id", ids[i]));
        code[i] = atoi(between(s, ticket, "error E-", " "));
        age[i] = atoi(between(s, ticket, "age: ", " "));
    }
    for (int i = 0; i < n; i++) {
        int oldest = i;
        for (int k = 0; k < n; k++)
            if (code[k] == code[i] && age[k] > age[oldest])
                oldest = k;
        if (oldest == i)
            continue;
        use(s, "comment_ticket", json_pack("{s:i, s:s}", "id", ids[i], "text", say(s, "duplicate of #%d", ids[oldest])));
        use(s, "close_ticket", json_pack("{s:i, s:s}", "id", ids[i], "reason", "duplicate"));
    }
}

static const char *fresh(solver *s, const char *key)
{
    return between(s, use(s, "get_value", json_pack("{s:s, s:b}", "key", key, "fresh", 1)), "value: ", "\n");
}

static void solve_look_up(solver *s)
{
    const char *ticket = use(s, "get_ticket", json_pack("{s:i}", "id", atoi(between(s, s->user, "Ticket #", " "))));
    const char *at = fresh(s, say(s, "service/%s/team", between(s, ticket, "service ", ".")));
    if (strstr(s->user, "leads"))
        at = fresh(s, say(s, "team/%s/lead", at));
    if (strstr(s->user, "room of") || strstr(s->user, "room"))
        at = fresh(s, say(s, "person/%s/room", at));
    if (strstr(s->user, "phone"))
        at = fresh(s, say(s, "room/%s/phone", at));
    USE1("submit_answer", "answer", at);
}

/* ---- operators ---- */

typedef struct seen_release {
    const char *name, *needs[4];
    int version, from[4], below[4], n;
    bool installed, advisory;
} seen_release;

static int version_of(const char *p)
{
    int a = 0, b = 0, c = 0;
    (void)sscanf(p, "%d.%d.%d", &a, &b, &c);
    return a * 1000000 + b * 1000 + c;
}

/* Releases of a package, the newest first. */
static int releases_of(solver *s, const char *name, seen_release *out)
{
    int n = 0;
    for (const char *p = USE1("package_info", "name", name), *l; (l = line(s, &p));) {
        if (strncmp(l, "  needs ", 8) == 0 && n) {
            seen_release *r = &out[n - 1];
            const char *spec = strstr(l, ">="), *below = strstr(l, ",<");
            r->needs[r->n] = keep(s, l + 8, (size_t)(spec - l - 8));
            r->from[r->n] = version_of(spec + 2);
            r->below[r->n++] = below ? version_of(below + 2) : 0;
        } else if (strncmp(l, "  advisory", 10) == 0 && n) {
            out[n - 1].advisory = true;
        } else if (*l != ' ') {
            out[n++] = (seen_release){.name = name, .version = version_of(l + strlen(name) + 1), .installed = strstr(l, "(installed)") != NULL};
        }
    }
    return n;
}

static const char *dotted(solver *s, int v)
{
    return say(s, "%d.%d.%d", v / 1000000, v / 1000 % 1000, v % 1000);
}

static int installed(solver *s, const char *list, const char *name)
{
    for (const char *p = list, *l; (l = line(s, &p));)
        if (strncmp(l, name, strlen(name)) == 0 && l[strlen(name)] == ' ')
            return version_of(l + strlen(name) + 1);
    return -1;
}

static bool needs_met(solver *s, const char *list, const seen_release *r)
{
    for (int i = 0; i < r->n; i++) {
        const int v = installed(s, list, r->needs[i]);
        if (v < r->from[i] || (r->below[i] && v >= r->below[i]))
            return false;
    }
    return true;
}

static void solve_upgrade_packages(solver *s)
{
    seen_release all[24][12];
    int n[24], packages = 0;
    const char *list = USE0("installed_packages");
    for (const char *p = list, *l; (l = line(s, &p)) && packages < 24; packages++)
        n[packages] = releases_of(s, between(s, l, "", " "), all[packages]);
    for (int k = 0; k < packages; k++) {
        int has = 0;
        while (has < n[k] && !all[k][has].installed)
            has++;
        for (int i = has; i-- > 0 && all[k][has].advisory;)
            if (!all[k][i].advisory && needs_met(s, list, &all[k][i])) {
                USE2("install_package", "name", all[k][0].name, "version", dotted(s, all[k][i].version));
                break;
            }
    }
}

/* Install the newest release within bounds whose needs can be met; false: there is none. */
static bool install_newest(solver *s, const char *list, const char *name, int from, int below, int depth)
{
    seen_release r[12];
    const int n = releases_of(s, name, r);
    for (int i = 0; i < n; i++) {
        bool fits = r[i].version >= from && (!below || r[i].version < below);
        for (int k = 0; k < r[i].n && fits; k++) {
            const int v = installed(s, list, r[i].needs[k]);
            if (v >= 0)
                fits = v >= r[i].from[k] && (!r[i].below[k] || v < r[i].below[k]);
        }
        for (int k = 0; k < r[i].n && fits && depth < 8; k++)
            if (installed(s, list, r[i].needs[k]) < 0)
                fits = install_newest(s, list, r[i].needs[k], r[i].from[k], r[i].below[k], depth + 1);
        if (fits) {
            USE2("install_package", "name", name, "version", dotted(s, r[i].version));
            return true;
        }
    }
    return false;
}

static void solve_add_package(solver *s)
{
    (void)install_newest(s, USE0("installed_packages"), between(s, s->user, "package ", ","), 0, 0, 0);
}

static const char *converted(solver *s, const char *rules, const char *v)
{
    if (strstr(rules, "milliseconds"))
        return say(s, atoi(v) % 1000 ? "%d.5" : "%d", atoi(v) / 1000);
    if (strstr(rules, "cents"))
        return say(s, "%d.%02d", atoi(v) / 100, atoi(v) % 100);
    if (strstr(rules, "yes or no"))
        return strcmp(v, "yes") == 0 ? "true" : "false";
    if (strstr(rules, "percent"))
        return say(s, "%d", 100 - atoi(v));
    char *up = (char *)(uintptr_t)keep(s, v, strlen(v));
    for (char *c = up; *c; c++)
        *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
    return up;
}

static void solve_migrate_keys(solver *s)
{
    const char *from = between(s, s->user, "begins with ", " to"), *to = between(s, s->user, " to ", " (the"), *named = between(s, s->user, "They are ", ".");
    const char *keys = named ? say(s, "%s\n%s\n", between(s, named, "", " and"), between(s, named, "and ", "")) : USE1("list_keys", "prefix", from);
    for (const char *p = keys, *l; (l = line(s, &p));) {
        const char *v = fresh(s, l);
        USE2("set_value", "key", say(s, "%s%s", to, l + strlen(from)), "value", converted(s, s->user, v));
        USE1("delete_key", "key", l);
    }
}

static void solve_reconcile(solver *s)
{
    const char *prefix = between(s, s->user, "Each key ", "/NAME"), *keys = USE1("list_keys", "prefix", ""), *start = say(s, "%s/", prefix);
    for (const char *p = keys, *l; (l = line(s, &p));) {
        if (strncmp(l, start, strlen(start)) != 0)
            continue;
        int sum = 0, most = 0, n = 0;
        const char *entry = say(s, "entry/%s/", l + strlen(start));
        for (const char *q = keys, *k; (k = line(s, &q));)
            if (strncmp(k, entry, strlen(entry)) == 0) {
                const int v = strcmp(prefix, "number") == 0 ? 0 : atoi(fresh(s, k));
                sum += v;
                most = v > most ? v : most;
                n++;
            }
        const int should = strcmp(prefix, "sum") == 0 ? sum : strcmp(prefix, "largest") == 0 ? most : n;
        const char *now = use(s, "get_value", json_pack("{s:s, s:b}", "key", l, "fresh", 1));
        if (atoi(between(s, now, "value: ", "\n")) != should)
            use(s, "set_value", json_pack("{s:s, s:s, s:i}", "key", l, "value", say(s, "%d", should), "version", atoi(between(s, now, "version: ", ""))));
    }
}

static void solve(solver *s, const char *family)
{
    static const struct { const char *family; void (*f)(solver *s); } all[] = {
        {"fix_bug", solve_fix_bug}, {"write_function", solve_write_function}, {"trace_failure", solve_trace_failure},
        {"rename_symbol", solve_rename_symbol}, {"resolve_conflict", solve_resolve_conflict}, {"find_callers", solve_find_callers},
        {"find_commit", solve_find_commit}, {"restore_code", solve_restore_code}, {"ticket_fix", solve_ticket_fix}, {"triage", solve_triage},
        {"duplicates", solve_duplicates}, {"look_up", solve_look_up}, {"upgrade_packages", solve_upgrade_packages},
        {"add_package", solve_add_package}, {"migrate_keys", solve_migrate_keys}, {"reconcile", solve_reconcile}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i].family, family) == 0)
            all[i].f(s);
}

/* Against a world, at once; how many calls it took. */
__attribute__((unused)) static int solve_world(qn_task *t)
{
    solver s = {.user = t->user.data, .world = &t->env};
    qn__arena_init(&s.arena, 0);
    solve(&s, t->family->name);
    qn__arena_free(&s.arena);
    return s.steps;
}

/* The next call after these results; false: there is nothing more to do. *tool is static, *arguments freed with free(). */
__attribute__((unused)) static bool solve_answer(const char *family, const char *user, const char **results, size_t n, const char **tool, char **arguments)
{
    solver s = {.user = user, .results = results, .n_results = n};
    qn__arena_init(&s.arena, 0);
    const bool more = setjmp(s.out) != 0;
    if (!more)
        solve(&s, family);
    *tool = s.tool;
    *arguments = s.arguments;
    qn__arena_free(&s.arena);
    return more;
}

#endif
