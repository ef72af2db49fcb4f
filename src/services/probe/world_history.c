/* world_history.c - a history of a file tree, as git has it: commits, what they changed, files as they were. See world.h. */
#include <stdio.h>
#include <string.h>

#include "services/probe/world.h"

enum { LOG, SHOW, FILE_AT, COMMIT, REVERT };

static const qn_tool_spec tools[] = {
    [LOG] = {"git_log", "Commits, the newest first, as `id message`.", {{"path", 'S', "only those that changed this file"}}},
    [SHOW] = {"git_show", "What a commit changed: lines taken away (-) and added (+), by file.", {{"commit", 's', "its id"}}},
    [FILE_AT] = {"git_file_at", "The text of a file as it was after a commit.", {{"commit", 's', "its id"}, {"path", 's', "path"}}},
    [COMMIT] = {"git_commit", "Commit all changes of files.", {{"message", 's', "what was done"}}},
    [REVERT] = {"git_revert", "Take the changes of one commit back, if later ones did not touch the same files, and commit that.",
                {{"commit", 's', "its id"}}},
};

static int find(const qn_history *h, const char *id)
{
    for (size_t i = 0; i < h->n; i++)
        if (strcmp(h->c[i].id, id) == 0)
            return (int)i;
    return -1;
}

static const qn_tree *before(const qn_history *h, size_t i)
{
    static const qn_tree empty = {0};
    return i ? &h->c[i - 1].tree : &empty;
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Calls f for each path of either tree that differs. */
static size_t differences(const qn_tree *a, const qn_tree *b, const char *paths[2 * QN_FILES])
{
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++)
        if (!same(qn__tree_get(a, b->f[i].path), b->f[i].text))
            paths[n++] = b->f[i].path;
    for (size_t i = 0; i < a->n; i++)
        if (!qn__tree_get(b, a->f[i].path))
            paths[n++] = a->f[i].path;
    return n;
}

const char *qn__commit(qn_env *e, const char *message)
{
    qn_history *h = e->history;
    if (h->n == QN_COMMITS)
        return "";
    uint64_t x = (e->seed + h->n * 7919 + 1) * 0x9e3779b97f4a7c15u;
    (void)snprintf(h->c[h->n].id, sizeof h->c[h->n].id, "%07x", (unsigned)(x >> 36));
    h->c[h->n].message = qn__env_text(e, message, strlen(message));
    h->c[h->n].tree = *e->files;
    return h->c[h->n++].id;
}

/* Lines of a text. */
typedef struct lines {
    const char *p[400];
    size_t len[400], n;
} lines;

static void split(const char *text, lines *l)
{
    l->n = 0;
    for (const char *p = text ? text : ""; *p && l->n < 400;) {
        const char *end = strchr(p, '\n');
        l->p[l->n] = p;
        l->len[l->n++] = end ? (size_t)(end - p) : strlen(p);
        p = end ? end + 1 : p + strlen(p);
    }
}

static bool equal(const lines *a, size_t i, const lines *b, size_t j)
{
    return a->len[i] == b->len[j] && memcmp(a->p[i], b->p[j], a->len[i]) == 0;
}

/* What stays at both ends is left out, and between them the next line that both have is looked for, nearest first: small, and right
 * though not always the shortest. */
static void diff(const char *old, const char *new, qn_buf *out)
{
    lines a, b;
    split(old, &a);
    split(new, &b);
    for (size_t i = 0, j = 0; i < a.n || j < b.n;) {
        if (i < a.n && j < b.n && equal(&a, i, &b, j)) {
            i++;
            j++;
            continue;
        }
        size_t di = a.n - i, dj = b.n - j; /* how far both go on without each other */
        for (size_t sum = 1; sum < di + dj; sum++)
            for (size_t x = 0; x <= sum; x++)
                if (i + x < a.n && j + (sum - x) < b.n && equal(&a, i + x, &b, j + (sum - x))) {
                    di = x;
                    dj = sum - x;
                    sum = SIZE_MAX / 2;
                    break;
                }
        for (; di; di--, i++)
            qn__buf_printf(out, "-%.*s\n", (int)a.len[i], a.p[i]);
        for (; dj; dj--, j++)
            qn__buf_printf(out, "+%.*s\n", (int)b.len[j], b.p[j]);
    }
}

static void show(const qn_history *h, size_t i, qn_buf *out)
{
    const char *paths[2 * QN_FILES];
    const size_t n = differences(before(h, i), &h->c[i].tree, paths);
    qn__buf_printf(out, "%s %s\n", h->c[i].id, h->c[i].message);
    for (size_t k = 0; k < n; k++) {
        qn__buf_printf(out, "--- %s\n", paths[k]);
        diff(qn__tree_get(before(h, i), paths[k]), qn__tree_get(&h->c[i].tree, paths[k]), out);
    }
}

static bool revert(qn_env *e, size_t at, qn_buf *out)
{
    qn_history *h = e->history;
    const char *paths[2 * QN_FILES], *later[2 * QN_FILES];
    const size_t n = differences(before(h, at), &h->c[at].tree, paths);
    for (size_t i = at + 1; i <= h->n; i++) { /* the last: what is not committed */
        const size_t m = differences(before(h, i), i < h->n ? &h->c[i].tree : e->files, later);
        for (size_t a = 0; a < n; a++)
            for (size_t b = 0; b < m; b++)
                if (strcmp(paths[a], later[b]) == 0) {
                    qn__buf_printf(out, "error: %s was changed later (%s); take the change back by hand", paths[a], i < h->n ? h->c[i].id : "not committed yet");
                    return false;
                }
    }
    for (size_t k = 0; k < n; k++) {
        const char *old = qn__tree_get(before(h, at), paths[k]);
        if (old)
            (void)qn__tree_put(e, e->files, paths[k], old);
        else
            (void)qn__tree_drop(e->files, paths[k]);
        qn__env_effect(e, "write %s", paths[k]);
    }
    char message[160];
    (void)snprintf(message, sizeof message, "Revert \"%.120s\"", h->c[at].message);
    const char *id = qn__commit(e, message);
    qn__env_effect(e, "revert %s", h->c[at].id);
    qn__buf_printf(out, "%s %s", id, message);
    return *id != 0;
}

static bool commit(qn_env *e, const char *message, qn_buf *out)
{
    const char *paths[2 * QN_FILES];
    if (!differences(before(e->history, e->history->n), e->files, paths)) {
        qn__buf_puts(out, "error: nothing to commit");
        return false;
    }
    const char *id = qn__commit(e, message);
    if (!*id) {
        qn__buf_puts(out, "error: the history is full");
        return false;
    }
    qn__env_effect(e, "commit %s", id);
    qn__buf_printf(out, "%s %.200s", id, message);
    return true;
}

static bool call(qn_env *e, size_t tool, const json_t *args, qn_buf *out)
{
    qn_history *h = e->history;
    const char *id = qn__arg(args, "commit"), *path = qn__arg(args, "path");
    if (tool == LOG) {
        for (size_t i = h->n; i-- > 0;)
            if (!path || !same(qn__tree_get(before(h, i), path), qn__tree_get(&h->c[i].tree, path)))
                qn__buf_printf(out, "%s %s\n", h->c[i].id, h->c[i].message);
        return true;
    }
    if (tool == COMMIT)
        return commit(e, qn__arg(args, "message"), out);
    const int at = find(h, id);
    if (at < 0) {
        qn__buf_printf(out, "error: there is no commit %.40s", id);
        return false;
    }
    if (tool == SHOW) {
        show(h, (size_t)at, out);
        return true;
    }
    if (tool == REVERT)
        return revert(e, (size_t)at, out);
    const char *text = qn__tree_get(&h->c[at].tree, path);
    qn__buf_printf(out, text ? "%s" : "error: the commit has no file %.100s", text ? text : path);
    return text != NULL;
}

const qn_world qn__world_history = {tools, sizeof tools / sizeof *tools, call};
