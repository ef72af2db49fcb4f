/* cache_api.c - looking after a directory of pages without an engine: list, remove, verify (quern cache). Whatever else lies in
 * the directory is left alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
#include "base/err.h"
#include "base/mem.h"
#include "engine/pagefile.h"

qn_status qn_cache_default_dir(char **out, qn_err *err)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool xdg = base && base[0] == '/'; /* a relative one is to be ignored */
    if (!xdg && (!home || !home[0]))
        return qn__fail(err, QN_EINVAL, "cache", "neither XDG_CACHE_HOME nor HOME is set; name a directory");
    const char *tail = xdg ? "/quern/kv" : "/.cache/quern/kv";
    base = xdg ? base : home;
    size_t n = strlen(base) + strlen(tail) + 1;
    char *s = qn__alloc(n);
    if (!s)
        return qn__fail_mem(err, "cache");
    (void)snprintf(s, n, "%s%s", base, tail);
    *out = s;
    return QN_OK;
}

/* ---- walking ---- */

typedef struct names {
    char (*v)[QN_PAGEFILE_NAME];
    uint64_t *bytes;
    int64_t *used;
    size_t n, cap, cap_bytes, cap_used;
    bool dirs, failed;
} names;

static bool collect(void *arg, const qn_dir_entry *e)
{
    names *l = arg;
    qn_name name;
    uint32_t first;
    if (e->is_dir != l->dirs || !(l->dirs ? qn__name_parse(e->name, &name) : qn__run_parse_name(e->name, &name, &first)))
        return true;
    if (!qn__grow((void **)&l->v, &l->cap, l->n + 1, sizeof *l->v) ||
        !qn__grow((void **)&l->bytes, &l->cap_bytes, l->n + 1, sizeof *l->bytes) ||
        !qn__grow((void **)&l->used, &l->cap_used, l->n + 1, sizeof *l->used)) {
        l->failed = true;
        return false;
    }
    memcpy(l->v[l->n], e->name, strlen(e->name) + 1);
    l->bytes[l->n] = e->bytes;
    l->used[l->n++] = e->used;
    return true;
}

static void names_free(names *l)
{
    qn_free(l->v);
    qn_free(l->bytes);
    qn_free(l->used);
}

static qn_status list(const qn_dir *d, bool dirs, names *out, qn_err *err)
{
    *out = (names){.dirs = dirs};
    qn_status st = qn__dir_list(d, false, collect, out, err);
    return !st && out->failed ? qn__fail_mem(err, "cache") : st;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Call `see` with each directory of a model, in the order of their names. A directory that is not there has none. */
static qn_status walk(const char *path, qn_status (*see)(void *arg, const char *id, const qn_dir *base, const qn_dir *d, qn_err *err),
                      void *arg, qn_err *err)
{
    qn_dir *base = NULL;
    names roots;
    if (qn__dir_missing(path))
        return QN_OK;
    qn_status st = qn__dir_open(path, false, &base, err);
    if (st)
        return st;
    st = list(base, true, &roots, err);
    if (!st && roots.n)
        qsort(roots.v, roots.n, sizeof *roots.v, by_name);
    for (size_t i = 0; !st && i < roots.n; i++) {
        qn_dir *d;
        st = qn__dir_enter(base, roots.v[i], false, &d, err);
        if (st)
            break;
        st = see(arg, roots.v[i], base, d, err);
        qn__dir_close(d);
    }
    names_free(&roots);
    qn__dir_close(base);
    return st;
}

/* NULL, or what is wrong. */
static const char *read_head(const qn_dir *d, const char *name, qn_file *f, qn_page_run *r)
{
    unsigned char head[QN_PAGEFILE_HEAD];
    if (!qn__dir_read(d, name, f))
        return "it cannot be opened";
    const char *bad = qn__file_get(f, 0, head, sizeof head) ? qn__run_read(head, f->size, r) : "it is too short";
    if (bad)
        qn__file_close(f);
    return bad;
}

/* ---- listing ---- */

static const char *kv_name(uint32_t kv)
{
    static const char *const text[QN__KV__COUNT] = {[QN__KV_F16] = "f16", [QN__KV_F32] = "f32", [QN__KV_Q8_0] = "q8_0"};
    return kv < QN__KV__COUNT ? text[kv] : "?";
}

typedef struct lister {
    void (*see)(void *arg, const qn_cache_model *m);
    void *arg;
    int64_t now;
} lister;

static qn_status see_model(void *arg, const char *id, const qn_dir *base, const qn_dir *d, qn_err *err)
{
    lister *l = arg;
    names files;
    qn_page_run run = {0};
    bool known = false;
    (void)base;
    qn_cache_model m = {.id = id, .newest_s = 1e300};
    qn_status st = list(d, false, &files, err);
    for (size_t i = 0; !st && i < files.n; i++) {
        qn_file f;
        qn_page_run r;
        double age = (double)(l->now - files.used[i]) * 1e-9;
        m.files++;
        m.bytes += files.bytes[i];
        m.oldest_s = age > m.oldest_s ? age : m.oldest_s;
        m.newest_s = age < m.newest_s ? age : m.newest_s;
        if (read_head(d, files.v[i], &f, &r))
            continue;
        qn__file_close(&f);
        m.pages += r.n;
        run = r;
        known = true;
    }
    names_free(&files);
    if (st)
        return st;
    m.newest_s = m.files && m.newest_s > 0 ? m.newest_s : 0;
    m.name = run.root.label;
    m.kv = known ? kv_name(run.root.kv) : "?";
    m.usable = known && run.root.build == qn__root_build();
    l->see(l->arg, &m);
    return QN_OK;
}

qn_status qn_cache_list(const char *dir, void (*see)(void *arg, const qn_cache_model *m), void *arg, qn_err *err)
{
    lister l = {.see = see, .arg = arg, .now = qn__wall_now()};
    return walk(dir, see_model, &l, err);
}

/* ---- removing ---- */

typedef struct remover {
    const char *model;
    double older_s;
    int64_t now;
    qn_cache_counts n;
} remover;

/* By the beginning of its id or by its name. */
static bool is_model(const qn_dir *d, const char *id, const names *files, const char *model)
{
    if (!model || (strlen(model) >= 4 && strncmp(id, model, strlen(model)) == 0))
        return true;
    for (size_t i = 0; i < files->n; i++) {
        qn_file f;
        qn_page_run r;
        if (read_head(d, files->v[i], &f, &r))
            continue;
        qn__file_close(&f);
        return strcmp(r.root.label, model) == 0;
    }
    return false;
}

static qn_status remove_in(void *arg, const char *id, const qn_dir *base, const qn_dir *d, qn_err *err)
{
    remover *r = arg;
    names files;
    qn_status st = list(d, false, &files, err);
    if (!st && is_model(d, id, &files, r->model)) {
        r->n.models++;
        for (size_t i = 0; i < files.n; i++) {
            if ((double)(r->now - files.used[i]) * 1e-9 < r->older_s)
                continue;
            if (qn__dir_remove(d, files.v[i])) {
                r->n.files++;
                r->n.bytes += files.bytes[i];
            }
        }
        (void)qn__dir_remove_dir(base, id); /* unless something is left in it */
    }
    names_free(&files);
    return st;
}

typedef struct sweeper {
    const qn_dir *d;
    remover *r;
} sweeper;

static bool sweep(void *arg, const qn_dir_entry *e)
{
    sweeper *s = arg;
    if (!e->is_dir && (double)(s->r->now - e->used) * 1e-9 >= s->r->older_s && qn__dir_remove(s->d, e->name)) {
        s->r->n.files++;
        s->r->n.bytes += e->bytes;
    }
    return true;
}

/* What a server keeps of its answers beside the pages (services/api/replay.h): text, so it goes with them. */
static qn_status remove_replies(const char *path, remover *r, qn_err *err)
{
    static const char name[] = "replies";
    qn_dir *base = NULL, *d = NULL;
    if (qn__dir_missing(path))
        return QN_OK;
    qn_status st = qn__dir_open(path, false, &base, err);
    if (!st && !qn__dir_enter(base, name, false, &d, NULL)) {
        st = qn__dir_list(d, false, sweep, &(sweeper){d, r}, err);
        qn__dir_close(d);
        (void)qn__dir_remove_dir(base, name);
    }
    qn__dir_close(base);
    return st;
}

qn_status qn_cache_remove(const char *dir, const char *model, double older_s, qn_cache_counts *out, qn_err *err)
{
    remover r = {.model = model, .older_s = older_s, .now = qn__wall_now()};
    qn_status st = walk(dir, remove_in, &r, err);
    if (!st && !model)
        st = remove_replies(dir, &r, err);
    if (!st)
        *out = r.n;
    return st;
}

/* ---- verifying ---- */

typedef struct verifier {
    bool remove;
    void (*bad)(void *arg, const char *file, const char *why);
    void *arg;
    unsigned char *buffer;
    size_t cap;
    qn_cache_counts n;
} verifier;

static const char *check_part(verifier *v, const qn_file *f, uint64_t at, uint64_t n, uint64_t sum, const char *what)
{
    if (!qn__grow((void **)&v->buffer, &v->cap, (size_t)n, 1))
        return "there is no memory to read it";
    return qn__file_get(f, at, v->buffer, (size_t)n) && qn__run_sum(v->buffer, (size_t)n) == sum ? NULL : what;
}

/* The size is that of the head, so nothing larger than the file is read into memory. */
static const char *check(verifier *v, const qn_dir *d, const char *id, const char *name)
{
    qn_file f;
    qn_page_run r;
    qn_name last, root;
    uint32_t first;
    char text[33];
    const char *bad = read_head(d, name, &f, &r);
    if (bad)
        return bad;
    root = qn__root_name(&r.root);
    qn__name_text(root, text);
    if (strcmp(text, id) != 0 || !qn__run_parse_name(name, &last, &first) || first != r.first ||
        memcmp(&last, &r.page[r.n - 1].name, sizeof last) != 0)
        bad = "it is under another's name";
    if (!bad)
        bad = check_part(v, &f, qn__run_tokens_at(&r), (uint64_t)(r.first + r.n) * QN_PAGE_TOKENS * sizeof(int32_t), r.tokens_sum,
                         "its tokens are damaged");
    for (uint32_t i = 0; !bad && i < r.n; i++) {
        bad = check_part(v, &f, qn__run_page_at(&r, i), r.root.page_bytes, r.page[i].sum, "a page is damaged");
        if (!bad && r.page[i].has_state)
            bad = check_part(v, &f, qn__run_state_at(&r, i), r.root.state_bytes, r.page[i].state_sum, "a state is damaged");
    }
    qn__file_close(&f);
    v->n.pages += bad ? 0 : r.n;
    return bad;
}

static qn_status verify_in(void *arg, const char *id, const qn_dir *base, const qn_dir *d, qn_err *err)
{
    verifier *v = arg;
    names files;
    (void)base;
    qn_status st = list(d, false, &files, err);
    v->n.models++;
    for (size_t i = 0; !st && i < files.n; i++) {
        const char *why = check(v, d, id, files.v[i]);
        v->n.files++;
        v->n.bytes += files.bytes[i];
        if (!why)
            continue;
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", id, files.v[i]);
        v->n.bad++;
        if (v->remove)
            (void)qn__dir_remove(d, files.v[i]);
        if (v->bad)
            v->bad(v->arg, path, why);
    }
    names_free(&files);
    return st;
}

qn_status qn_cache_verify(const char *dir, bool remove, void (*bad)(void *arg, const char *file, const char *why), void *arg,
                          qn_cache_counts *out, qn_err *err)
{
    verifier v = {.remove = remove, .bad = bad, .arg = arg};
    qn_status st = walk(dir, verify_in, &v, err);
    qn_free(v.buffer);
    if (!st)
        *out = v.n;
    return st;
}
