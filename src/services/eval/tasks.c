/* tasks.c - see tasks.h. */
#include "services/eval/tasks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"

static const char *const CHECKS[] = {"", "regex", "exact", "schema", "command", "race", "rubric"};
enum { N_CHECKS = sizeof CHECKS / sizeof *CHECKS, NAME_MAX_BYTES = 120 };

const char *qn__check_name(qn_check c)
{
    return CHECKS[c];
}

/* What is read of an item before it is known to be whole. */
typedef struct draft {
    qn_task t;
    qn_slice prompt;
    qn_task_file files[QN_TASK_BLOCKS];
    const char *good[QN_TASK_BLOCKS], *bad[QN_TASK_BLOCKS];
    size_t n_blocks;
    bool any;
} draft;

typedef struct parser {
    const char *name;
    qn_slice rest;
    size_t line; /* of what `next_line` gave last */
    qn_tasks *out;
    size_t cap;
    draft d;
    qn_err *err;
} parser;

static qn_status fail_at(const parser *p, size_t line, const char *what, const char *detail)
{
    char where[300];
    (void)snprintf(where, sizeof where, "%.250s:%zu", p->name, line);
    return qn__fail(p->err, QN_EFORMAT, where, what, detail);
}

static bool next_line(parser *p, qn_slice *line)
{
    if (p->rest.n == 0)
        return false;
    const char *end = memchr(p->rest.p, '\n', p->rest.n);
    const size_t n = end ? (size_t)(end - p->rest.p) : p->rest.n;
    *line = (qn_slice){p->rest.p, n > 0 && p->rest.p[n - 1] == '\r' ? n - 1 : n};
    p->rest.p += n + (end != NULL);
    p->rest.n -= n + (end != NULL);
    p->line++;
    return true;
}

static qn_slice trimmed(qn_slice s)
{
    while (s.n > 0 && (*s.p == ' ' || *s.p == '\t'))
        s.p++, s.n--;
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

static bool is(qn_slice s, const char *word)
{
    return s.n == strlen(word) && memcmp(s.p, word, s.n) == 0;
}

static bool begins(qn_slice s, const char *word)
{
    const size_t n = strlen(word);
    return s.n >= n && memcmp(s.p, word, n) == 0;
}

static char *keep(parser *p, qn_slice s)
{
    return qn__arena_strndup(p->out->arena, s.p, s.n);
}

/* Names of files: letters, digits, "._-" and "/" between; nothing that leaves the folder or looks like an option. */
static bool is_file_name(const char *s)
{
    if (!*s || strlen(s) > NAME_MAX_BYTES)
        return false;
    for (const char *part = s; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL) {
        const size_t n = strcspn(part, "/");
        if (n == 0 || part[0] == '-' || part[0] == '.' ||
            strspn(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") < n)
            return false;
    }
    return true;
}

/* ---- keys ---- */

static qn_status number(const parser *p, const char *value, int32_t most, int32_t *out)
{
    char *end;
    const long v = strtol(value, &end, 10);
    if (end == value || *end || v < 1 || v > most)
        return fail_at(p, p->line, "\"%s\" is no number in range", value);
    *out = (int32_t)v;
    return QN_OK;
}

static qn_status set_check(parser *p, const char *value)
{
    for (size_t i = 1; i < N_CHECKS; i++)
        if (strcmp(CHECKS[i], value) == 0)
            return p->d.t.check = (qn_check)i, QN_OK;
    return fail_at(p, p->line, "\"%s\" is no check; it is regex, exact, schema, command, race or rubric", value);
}

/* "key: value" with a key that is known here; anything else is prose. */
static qn_status head_line(parser *p, qn_slice line)
{
    const char *colon = memchr(line.p, ':', line.n);
    if (!colon)
        return QN_OK;
    const qn_slice key = {line.p, (size_t)(colon - line.p)}, v = trimmed((qn_slice){colon + 1, line.n - key.n - 1});
    static const char *const of_suite[] = {"system", "max_tokens"}, *const of_item[] = {"check", "run", "answer", "needs", "max_tokens", "time", "memory"};
    const char *const *known = p->d.any ? of_item : of_suite;
    const size_t n = p->d.any ? sizeof of_item / sizeof *of_item : 2;
    size_t i = 0;
    while (i < n && !is(key, known[i]))
        i++;
    if (i == n)
        return QN_OK;
    char *value = keep(p, v);
    if (!value)
        return qn__fail_mem(p->err, p->name);
    if (v.n == 0)
        return fail_at(p, p->line, "\"%s\" has no value", known[i]);
    if (!p->d.any)
        return is(key, "system") ? (p->out->system = value, QN_OK) : number(p, value, 1000000, &p->out->max_tokens);
    switch (i) {
    case 0: return set_check(p, value);
    case 1: p->d.t.run = value; return QN_OK;
    case 2: p->d.t.answer = value; return is_file_name(value) ? QN_OK : fail_at(p, p->line, "\"%s\" is no file name that can be used", value);
    case 3: p->d.t.needs = value; return is_file_name(value) && !strchr(value, '/') ? QN_OK : fail_at(p, p->line, "\"%s\" is no program's name", value);
    case 4: return number(p, value, 1000000, &p->d.t.max_tokens);
    case 5: return number(p, value, 3600, &p->d.t.time_s);
    default: return number(p, value, 65536, &p->d.t.memory_mib);
    }
}

/* ---- fenced blocks ---- */

typedef enum block_kind { PROSE, PROMPT, CHECK, GOOD, BAD, A_FILE } block_kind;

/* What the words after a fence say. */
static qn_status block_of(parser *p, qn_slice info, block_kind *kind, qn_task_file *f)
{
    *kind = PROSE;
    *f = (qn_task_file){.name = "", .language = ""};
    for (size_t at = 0, words = 0; at < info.n; words++) {
        while (at < info.n && info.p[at] == ' ')
            at++;
        size_t end = at;
        while (end < info.n && info.p[end] != ' ')
            end++;
        const qn_slice w = {info.p + at, end - at};
        at = end;
        static const char *const names[] = {"", "prompt", "check", "good", "bad"};
        block_kind k = PROSE;
        for (size_t i = PROMPT; i <= BAD; i++)
            k = is(w, names[i]) ? (block_kind)i : k;
        const bool file = begins(w, "file=");
        if ((k != PROSE || file) && *kind != PROSE)
            return fail_at(p, p->line, "%s", "a block is one of prompt, check, good, bad and file=NAME");
        if (k != PROSE)
            *kind = k;
        else if (file) {
            *kind = A_FILE;
            if (!(f->name = keep(p, (qn_slice){w.p + 5, w.n - 5})))
                return qn__fail_mem(p->err, p->name);
            if (!is_file_name(f->name))
                return fail_at(p, p->line, "\"%s\" is no file name that can be used", f->name);
        } else if (is(w, "shown"))
            f->shown = true;
        else if (words == 0 && w.n > 0 && w.n < 32 && !(f->language = keep(p, w)))
            return qn__fail_mem(p->err, p->name);
    }
    return QN_OK;
}

static qn_status put_block(parser *p, block_kind kind, qn_task_file f, qn_slice text, size_t at)
{
    draft *d = &p->d;
    if (kind == PROSE)
        return QN_OK;
    if (!d->any)
        return fail_at(p, at, "%s", "a block before the first item (\"## name\")");
    if (d->n_blocks++ == QN_TASK_BLOCKS)
        return fail_at(p, at, "%s", "an item has too many blocks");
    if ((kind == PROMPT && d->prompt.p) || (kind == CHECK && d->t.against))
        return fail_at(p, at, "a second %s in one item", kind == PROMPT ? "prompt" : "check");
    if (kind != A_FILE && kind != PROMPT && memchr(text.p, 0, text.n))
        return fail_at(p, at, "%s", "a block holds a NUL byte");
    if (kind == PROMPT) {
        d->prompt = text;
        return memchr(text.p, 0, text.n) ? fail_at(p, at, "%s", "a prompt holds a NUL byte") : QN_OK;
    }
    if (kind == A_FILE) {
        for (size_t i = 0; i < d->t.n_files; i++)
            if (strcmp(d->files[i].name, f.name) == 0)
                return fail_at(p, at, "a second file \"%s\"", f.name);
        if (memchr(text.p, 0, text.n))
            return fail_at(p, at, "%s", "a file holds a NUL byte");
        f.text = text;
        d->files[d->t.n_files++] = f;
        return QN_OK;
    }
    char *copy = keep(p, text);
    if (!copy)
        return qn__fail_mem(p->err, p->name);
    if (kind == CHECK) {
        d->t.against = copy;
        d->t.against_line = at + 1;
    } else if (kind == GOOD)
        d->good[d->t.n_good++] = copy;
    else
        d->bad[d->t.n_bad++] = copy;
    return QN_OK;
}

static size_t fence(qn_slice line, char *mark)
{
    size_t n = 0;
    *mark = line.n > 0 ? *line.p : 0;
    while (n < line.n && (*mark == '`' || *mark == '~') && line.p[n] == *mark)
        n++;
    return n >= 3 ? n : 0;
}

/* line opened a fence. Up to one that closes it: of the same mark, as long at least, and nothing after it. */
static qn_status read_block(parser *p, qn_slice line)
{
    char mark, other;
    const size_t wide = fence(line, &mark), at = p->line;
    block_kind kind;
    qn_task_file f;
    qn_status st = block_of(p, trimmed((qn_slice){line.p + wide, line.n - wide}), &kind, &f);
    const char *from = p->rest.p;
    while (!st) {
        const char *before = p->rest.p;
        qn_slice l;
        if (!next_line(p, &l))
            return fail_at(p, at, "%s", "a block begins here and does not end");
        const size_t n = fence(l, &other);
        if (n >= wide && other == mark && trimmed((qn_slice){l.p + n, l.n - n}).n == 0)
            return put_block(p, kind, f, (qn_slice){from, (size_t)(before - from)}, at);
    }
    return st;
}

/* ---- items ---- */

static qn_status make_prompt(parser *p, qn_task *t)
{
    qn_buf b = {.limit = QN_TASK_BYTES * 2};
    qn_slice s = p->d.prompt;
    while (s.n > 0 && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r'))
        s.n--;
    qn__buf_put(&b, s.p, s.n);
    for (size_t i = 0; i < t->n_files; i++)
        if (t->files[i].shown) {
            qn__buf_printf(&b, "\n\n`%s`:\n\n```%s\n", t->files[i].name, t->files[i].language);
            qn__buf_put(&b, t->files[i].text.p, t->files[i].text.n);
            qn__buf_puts(&b, "```");
        }
    t->prompt = b.failed ? NULL : keep(p, (qn_slice){b.data ? b.data : "", b.n});
    qn__buf_free(&b);
    return t->prompt ? QN_OK : qn__fail_mem(p->err, p->name);
}

static qn_status is_whole(parser *p)
{
    const qn_task *t = &p->d.t;
    const bool runs = t->check == QN_CHECK_COMMAND || t->check == QN_CHECK_RACE;
    const char *why = NULL;
    if (!p->d.prompt.p)
        why = "has no prompt";
    else if (t->check == QN_CHECK_NONE)
        why = "has no \"check:\" line";
    else if (runs && !t->run)
        why = "has a check that runs something and no \"run:\" line";
    else if (runs && !t->answer)
        why = "has a check that runs something and no \"answer:\" line";
    else if (!runs && !t->against && t->check != QN_CHECK_RUBRIC)
        why = "has no check block";
    else if (t->check == QN_CHECK_RUBRIC && (t->n_good || t->n_bad))
        why = "is judged by people, so example answers have no use";
    for (size_t i = 0; !why && i < t->n_files; i++)
        if (t->answer && !p->d.files[i].shown && strcmp(p->d.files[i].name, t->answer) == 0)
            why = "has a hidden file of the name that the answer gets, which nobody would ever see";
    return why ? fail_at(p, t->line, why, "") : QN_OK;
}

static qn_status end_item(parser *p)
{
    draft *d = &p->d;
    if (!d->any)
        return QN_OK;
    qn_status st = is_whole(p);
    if (st)
        return st;
    for (size_t i = 0; i < p->out->n; i++)
        if (strcmp(p->out->v[i].name, d->t.name) == 0)
            return fail_at(p, d->t.line, "a second item \"%s\"", d->t.name);
    qn_arena *a = p->out->arena;
    d->t.files = qn__arena_alloc(a, (d->t.n_files + 1) * sizeof *d->t.files);
    d->t.good = qn__arena_alloc(a, (d->t.n_good + 1) * sizeof *d->t.good);
    d->t.bad = qn__arena_alloc(a, (d->t.n_bad + 1) * sizeof *d->t.bad);
    if (!d->t.files || !d->t.good || !d->t.bad || !qn__grow((void **)&p->out->v, &p->cap, p->out->n + 1, sizeof *p->out->v))
        return qn__fail_mem(p->err, p->name);
    memcpy(d->t.files, d->files, d->t.n_files * sizeof *d->files);
    memcpy(d->t.good, d->good, d->t.n_good * sizeof *d->good);
    memcpy(d->t.bad, d->bad, d->t.n_bad * sizeof *d->bad);
    if ((st = make_prompt(p, &d->t)))
        return st;
    p->out->v[p->out->n++] = d->t;
    return QN_OK;
}

static qn_status begin_item(parser *p, qn_slice name)
{
    qn_status st = end_item(p);
    if (st)
        return st;
    if (p->out->n == QN_TASK_ITEMS)
        return fail_at(p, p->line, "%s", "too many items");
    if (name.n == 0 || name.n > NAME_MAX_BYTES || memchr(name.p, 0, name.n) || !qn__utf8_valid(name.p, name.n))
        return fail_at(p, p->line, "%s", "an item's name is empty, longer than 120 bytes or no UTF-8");
    p->d = (draft){.any = true, .t.line = p->line};
    p->d.t.name = keep(p, name);
    return p->d.t.name ? QN_OK : qn__fail_mem(p->err, p->name);
}

static qn_status parse(parser *p)
{
    qn_slice line;
    char mark;
    qn_status st = QN_OK;
    while (!st && next_line(p, &line)) {
        if (fence(line, &mark))
            st = read_block(p, line);
        else if (begins(line, "## "))
            st = begin_item(p, trimmed((qn_slice){line.p + 3, line.n - 3}));
        else if (begins(line, "# ") && !p->d.any && !*p->out->title) {
            const qn_slice title = trimmed((qn_slice){line.p + 2, line.n - 2});
            p->out->title = keep(p, title);
            st = p->out->title ? QN_OK : qn__fail_mem(p->err, p->name);
        } else
            st = head_line(p, line);
    }
    if (!st)
        st = end_item(p);
    if (!st && p->out->n == 0)
        st = fail_at(p, p->line, "%s", "holds no items: each begins with \"## name\"");
    return st;
}

qn_status qn__tasks_parse(const char *text, size_t n, const char *name, qn_tasks *out, qn_err *err)
{
    qn_tasks t = {.title = "", .system = "", .hash = qn__hash(text, n)};
    if (n > QN_TASK_BYTES)
        return qn__fail(err, QN_ELIMIT, name, "is larger than 1 MiB; make it several suites");
    if (!qn__utf8_valid(text, n))
        return qn__fail(err, QN_EFORMAT, name, "is no UTF-8 text");
    parser *p = qn__calloc(1, sizeof *p);
    t.arena = qn__calloc(1, sizeof *t.arena);
    if (!p || !t.arena) {
        qn_free(p);
        qn_free(t.arena);
        return qn__fail_mem(err, name);
    }
    qn__arena_init(t.arena, (size_t)QN_TASK_BYTES * 16);
    *p = (parser){.name = name, .rest = {text, n}, .out = &t, .err = err};
    qn_status st = parse(p);
    qn_free(p);
    if (st) {
        qn__tasks_free(&t);
        return st;
    }
    /* Files are slices of the text that was parsed; they outlive it here. */
    for (size_t i = 0; i < t.n; i++)
        for (size_t k = 0; k < t.v[i].n_files; k++) {
            qn_slice *s = &t.v[i].files[k].text;
            if (!(s->p = qn__arena_strndup(t.arena, s->p, s->n))) {
                qn__tasks_free(&t);
                return qn__fail_mem(err, name);
            }
        }
    *out = t;
    return QN_OK;
}

qn_status qn__tasks_read(const char *path, qn_tasks *out, qn_err *err)
{
    char *text = NULL;
    size_t n = 0;
    qn_status st = qn__read_file(path, QN_TASK_BYTES, &text, &n, err);
    if (!st)
        st = qn__tasks_parse(text, n, path, out, err);
    qn_free(text);
    return st;
}

void qn__tasks_free(qn_tasks *t)
{
    if (t->arena)
        qn__arena_free(t->arena);
    qn_free(t->arena);
    qn_free(t->v);
    *t = (qn_tasks){0};
}
