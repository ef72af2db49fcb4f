/* world_files.c - a tree of files with a search and a test runner that really evaluates (py.h). See world.h. */
#include <stdio.h>
#include <string.h>

#include "services/probe/py.h"
#include "services/probe/world.h"

enum { LIST_FILES, READ_FILE, WRITE_FILE, EDIT_FILE, DELETE_FILE, SEARCH, RUN_TESTS };

static const qn_tool_spec tools[] = {
    [LIST_FILES] = {"list_files", "Paths of all files.", {{NULL, 0, NULL}}},
    [READ_FILE] = {"read_file", "The text of a file.", {{"path", 's', "as list_files gives it"}}},
    [WRITE_FILE] = {"write_file", "Write a whole file, new or in place of the old one.", {{"path", 's', "path"}, {"content", 's', "the whole text"}}},
    [EDIT_FILE] = {"edit_file", "Replace a piece of a file's text. The old piece must occur exactly once.",
                   {{"path", 's', "path"}, {"old", 's', "the text to be replaced, to the letter"}, {"new", 's', "what comes in its place"}}},
    [DELETE_FILE] = {"delete_file", "Delete a file.", {{"path", 's', "path"}}},
    [SEARCH] = {"search", "Lines of all files that hold a text, as path:line: text.", {{"text", 's', "what to look for, to the letter"}}},
    [RUN_TESTS] = {"run_tests", "Run the tests (functions test_* in files test_*.py) and say which failed and why.",
                   {{"path", 'S', "one test file; left out: all"}}},
};

/* ---- trees ---- */

static size_t place(const qn_tree *t, const char *path)
{
    size_t i = 0;
    while (i < t->n && strcmp(t->f[i].path, path) < 0)
        i++;
    return i;
}

const char *qn__tree_get(const qn_tree *t, const char *path)
{
    const size_t i = place(t, path);
    return i < t->n && strcmp(t->f[i].path, path) == 0 ? t->f[i].text : NULL;
}

bool qn__tree_put(qn_env *e, qn_tree *t, const char *path, const char *text)
{
    const size_t i = place(t, path), n = strlen(text);
    const bool there = i < t->n && strcmp(t->f[i].path, path) == 0;
    if (n > QN_FILE_BYTES || (!there && t->n == QN_FILES))
        return false;
    const char *copy = qn__env_text(e, text, n);
    if (!there) {
        memmove(&t->f[i + 1], &t->f[i], (t->n - i) * sizeof t->f[0]);
        t->n++;
        t->f[i].path = qn__env_text(e, path, strlen(path));
    }
    t->f[i].text = copy;
    return true;
}

bool qn__tree_drop(qn_tree *t, const char *path)
{
    const size_t i = place(t, path);
    if (i == t->n || strcmp(t->f[i].path, path) != 0)
        return false;
    memmove(&t->f[i], &t->f[i + 1], (t->n - i - 1) * sizeof t->f[0]);
    t->n--;
    return true;
}

static size_t lend(const qn_tree *t, qn_py_file files[QN_FILES])
{
    for (size_t i = 0; i < t->n; i++)
        files[i] = (qn_py_file){t->f[i].path, t->f[i].text};
    return t->n;
}

bool qn__tree_passes(qn_env *e, const qn_tree *t, const char *const hidden[][2], size_t n_hidden)
{
    qn_py_file files[QN_FILES + 8];
    size_t n = lend(t, files);
    qn_py_report r = {0};
    for (size_t i = 0; i < n_hidden && i < 8; i++)
        files[n++] = (qn_py_file){hidden[i][0], hidden[i][1]};
    if (qn__py_test(files, n, NULL, &r, NULL))
        e->failed = true;
    qn__buf_free(&r.out);
    return r.failed == 0 && r.passed > 0;
}

/* ---- tools ---- */

static bool good_path(const char *path, qn_buf *out)
{
    const size_t n = strlen(path);
    if (n > 0 && n < 120 && *path != '/' && !strstr(path, "..") && !strchr(path, '\n'))
        return true;
    qn__buf_puts(out, "error: a path is relative and has no \"..\"");
    return false;
}

static bool write_file(qn_env *e, const char *path, const char *text, qn_buf *out)
{
    if (!good_path(path, out))
        return false;
    if (!qn__tree_put(e, e->files, path, text)) {
        qn__buf_printf(out, "error: no room: at most %d files of %d bytes", QN_FILES, QN_FILE_BYTES);
        return false;
    }
    qn__env_effect(e, "write %s", path);
    qn__buf_printf(out, "wrote %s (%zu bytes)", path, strlen(text));
    return true;
}

static bool edit_file(qn_env *e, const json_t *args, qn_buf *out)
{
    const char *path = qn__arg(args, "path"), *old = qn__arg(args, "old"), *text = qn__tree_get(e->files, path);
    if (!text) {
        qn__buf_printf(out, "error: there is no file %.100s", path);
        return false;
    }
    const char *at = *old ? strstr(text, old) : NULL;
    if (!at || strstr(at + 1, old)) {
        qn__buf_printf(out, "error: the old text occurs %s in %s", at ? "more than once" : "nowhere", path);
        return false;
    }
    qn_buf b = {0};
    qn__buf_put(&b, text, (size_t)(at - text));
    qn__buf_puts(&b, qn__arg(args, "new"));
    qn__buf_puts(&b, at + strlen(old));
    e->failed |= b.failed;
    const bool ok = !b.failed && write_file(e, path, b.data ? b.data : "", out);
    qn__buf_free(&b);
    return ok;
}

static void search(const qn_env *e, const char *text, qn_buf *out)
{
    size_t hits = 0;
    for (size_t i = 0; i < e->files->n && *text; i++) {
        int line = 1;
        for (const char *p = e->files->f[i].text; *p && hits < 100; line++) {
            const char *end = strchr(p, '\n');
            const size_t n = end ? (size_t)(end - p) : strlen(p);
            if (memmem(p, n, text, strlen(text))) {
                qn__buf_printf(out, "%s:%d: %.*s\n", e->files->f[i].path, line, (int)n, p);
                hits++;
            }
            p += n + (end != NULL);
        }
    }
    if (!hits)
        qn__buf_puts(out, "no line holds this text");
}

/* In the harder tiers some runs, which the seed names, tell of a failure that has nothing to do with the work and is gone next time. */
static bool flaky(const qn_env *e)
{
    return e->tier >= QN_HARD && (e->seed >> 5) % 3 == e->n_calls % 3 && (e->seed >> 9) % 4 != e->n_calls % 4;
}

static bool run_tests(qn_env *e, const char *only, qn_buf *out)
{
    qn_py_file files[QN_FILES];
    const size_t n = lend(e->files, files);
    qn_py_report r = {0};
    if (only && !qn__tree_get(e->files, only)) {
        qn__buf_printf(out, "error: there is no file %.100s", only);
        return false;
    }
    if (qn__py_test(files, n, only, &r, NULL))
        e->failed = true;
    qn__buf_put(out, r.out.data ? r.out.data : "", r.out.n);
    if (!only && flaky(e)) {
        qn__buf_puts(out, "tests/test_network.py::test_ping FAILED\n    ConnectionResetError: connection reset by peer (flaky)\n");
        r.failed++;
    }
    qn__buf_printf(out, "%d passed, %d failed", r.passed, r.failed);
    qn__buf_free(&r.out);
    return true;
}

static bool call(qn_env *e, size_t tool, const json_t *args, qn_buf *out)
{
    const char *path = qn__arg(args, "path"), *text = path ? qn__tree_get(e->files, path) : NULL;
    switch (tool) {
    case LIST_FILES:
        for (size_t i = 0; i < e->files->n; i++)
            qn__buf_printf(out, "%s\n", e->files->f[i].path);
        return true;
    case WRITE_FILE: return write_file(e, path, qn__arg(args, "content"), out);
    case EDIT_FILE: return edit_file(e, args, out);
    case SEARCH: search(e, qn__arg(args, "text"), out); return true;
    case RUN_TESTS: return run_tests(e, path, out);
    default: break;
    }
    if (!text) {
        qn__buf_printf(out, "error: there is no file %.100s", path);
        return false;
    }
    if (tool == READ_FILE) {
        qn__buf_puts(out, *text ? text : "(empty)");
        return true;
    }
    qn__env_effect(e, "delete %s", path);
    qn__buf_printf(out, "deleted %s", path);
    return qn__tree_drop(e->files, path);
}

const qn_world qn__world_files = {tools, sizeof tools / sizeof *tools, call};
