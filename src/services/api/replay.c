/* replay.c - the entries of replay.h: in memory, and each in a file of its own. */
#include "services/api/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/err.h"
#include "base/mem.h"

enum { ENTRIES_MAX = 8192, ENTRY_BYTES_MAX = 1 << 20, NAME = 40 };
static const char MAGIC[8] = "QNSAID1";

/* A file: this, and the body. Numbers are the machine's own: its pages are, too. */
typedef struct file_head {
    char magic[8];
    uint64_t check; /* XXH3 of everything behind it */
    uint64_t model, before[2], n_before;
    uint32_t n_canonical, n_mark, n_exact, n_tokens, n_calls, n_body;
} file_head;

/* ---- entries ---- */

/* Point into the body; false when it is not as the numbers say. */
static bool bind(api_said *e)
{
    const size_t tokens = e->n_tokens * sizeof *e->tokens, text = (size_t)e->n_canonical + e->n_mark;
    if (tokens > e->bytes || text > e->bytes - tokens || e->n_exact > e->bytes - tokens - text)
        return false;
    e->tokens = (const int32_t *)(const void *)e->body;
    e->canonical = e->body + tokens;
    e->exact = e->canonical + text;
    e->calls = e->exact + e->n_exact;
    const char *p = e->calls, *end = e->body + e->bytes;
    for (uint64_t i = 0; i < 2 * (uint64_t)e->n_calls; i++) {
        const char *zero = p < end ? memchr(p, 0, (size_t)(end - p)) : NULL;
        if (!zero)
            return false;
        p = zero + 1;
    }
    return p == end && e->n_canonical + e->n_mark > 0;
}

static bool same_place(const api_said *a, const api_said *b)
{
    return a->model == b->model && a->n_before == b->n_before && memcmp(&a->before, &b->before, sizeof a->before) == 0 &&
           a->n_canonical == b->n_canonical && a->n_mark == b->n_mark &&
           memcmp(a->canonical, b->canonical, (size_t)a->n_canonical + a->n_mark) == 0;
}

static void name_of(const api_said *e, char *out)
{
    const XXH128_hash_t text = XXH3_128bits(e->canonical, (size_t)e->n_canonical + e->n_mark);
    const uint64_t parts[] = {e->model, e->before.v[0], e->before.v[1], text.high64, text.low64};
    const XXH128_hash_t h = XXH3_128bits(parts, sizeof parts);
    (void)snprintf(out, NAME, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
}

static void unlink_entry(api_replay *r, api_said *e)
{
    *(e->newer ? &e->newer->older : &r->newest) = e->older;
    *(e->older ? &e->older->newer : &r->oldest) = e->newer;
}

static void link_newest(api_replay *r, api_said *e)
{
    e->newer = NULL;
    e->older = r->newest;
    *(r->newest ? &r->newest->newer : &r->oldest) = e;
    r->newest = e;
}

void api_replay_touch(api_replay *r, api_said *e)
{
    unlink_entry(r, e);
    link_newest(r, e);
}

static void forget(api_replay *r, api_said *e)
{
    unlink_entry(r, e);
    r->bytes -= sizeof *e + e->bytes;
    r->n--;
    qn_free(e);
}

void api_replay_drop(api_replay *r, api_said *e)
{
    char name[NAME];
    name_of(e, name);
    if (r->dir)
        (void)qn__dir_remove(r->dir, name);
    forget(r, e);
}

/* Under lock. */
static void add(api_replay *r, api_said *e)
{
    for (api_said *o = r->newest; o; o = o->older)
        if (same_place(o, e)) {
            forget(r, o);
            break;
        }
    link_newest(r, e);
    r->bytes += sizeof *e + e->bytes;
    r->n++;
    while ((r->bytes > r->limit || r->n > ENTRIES_MAX) && r->oldest)
        api_replay_drop(r, r->oldest);
}

/* ---- files ---- */

static uint64_t check_of(const file_head *h, const void *body, size_t n)
{
    const size_t skip = offsetof(file_head, model);
    const uint64_t parts[] = {XXH3_64bits((const char *)h + skip, sizeof *h - skip), XXH3_64bits(body, n)};
    return XXH3_64bits(parts, sizeof parts);
}

static void save(api_replay *r, const api_said *e)
{
    char name[NAME];
    file_head h = {.model = e->model, .before = {e->before.v[0], e->before.v[1]}, .n_before = e->n_before,
                   .n_canonical = e->n_canonical, .n_mark = e->n_mark, .n_exact = e->n_exact, .n_tokens = e->n_tokens,
                   .n_calls = e->n_calls, .n_body = (uint32_t)e->bytes};
    memcpy(h.magic, MAGIC, sizeof h.magic);
    h.check = check_of(&h, e->body, e->bytes);
    name_of(e, name);
    (void)qn__dir_write(r->dir, name, (qn_piece[]){{&h, sizeof h}, {e->body, e->bytes}}, 2, NULL);
}

/* NULL: damaged, or no memory. */
static api_said *load(const qn_file *f)
{
    file_head h;
    if (f->size < sizeof h || f->size > sizeof h + ENTRY_BYTES_MAX || !qn__file_get(f, 0, &h, sizeof h) ||
        memcmp(h.magic, MAGIC, sizeof h.magic) != 0 || h.n_body != f->size - sizeof h)
        return NULL;
    api_said *e = qn__alloc(sizeof *e + h.n_body);
    if (!e)
        return NULL;
    *e = (api_said){.model = h.model, .before = {{h.before[0], h.before[1]}}, .n_before = h.n_before, .n_canonical = h.n_canonical,
                    .n_mark = h.n_mark, .n_exact = h.n_exact, .n_tokens = h.n_tokens, .n_calls = h.n_calls, .bytes = h.n_body};
    if (qn__file_get(f, sizeof h, e->body, h.n_body) && check_of(&h, e->body, h.n_body) == h.check && bind(e))
        return e;
    qn_free(e);
    return NULL;
}

typedef struct found {
    char name[NAME];
    int64_t used;
} found;
typedef struct listing {
    found *v;
    size_t n, cap;
} listing;

static bool see(void *arg, const qn_dir_entry *e)
{
    listing *l = arg;
    if (e->is_dir || strlen(e->name) != 32 || strspn(e->name, "0123456789abcdef") != 32)
        return true;
    if (!qn__grow((void **)&l->v, &l->cap, l->n + 1, sizeof *l->v))
        return false;
    l->v[l->n].used = e->used;
    memcpy(l->v[l->n++].name, e->name, 33);
    return true;
}

static int by_age(const void *a, const void *b)
{
    const found *x = a, *y = b;
    return (x->used > y->used) - (x->used < y->used);
}

/* The oldest first, so that they are the first to go. Damaged ones are removed. */
static qn_status load_all(api_replay *r, qn_err *err)
{
    listing l = {0};
    qn_status st = qn__dir_list(r->dir, false, see, &l, err);
    if (l.n)
        qsort(l.v, l.n, sizeof *l.v, by_age);
    for (size_t i = 0; !st && i < l.n; i++) {
        qn_file f;
        if (!qn__dir_read(r->dir, l.v[i].name, &f))
            continue;
        api_said *e = load(&f);
        qn__file_close(&f);
        if (e) {
            add(r, e);
        } else {
            r->bad++;
            (void)qn__dir_remove(r->dir, l.v[i].name);
        }
    }
    qn_free(l.v);
    return st;
}

/* ---- life ---- */

qn_status api_replay_open(api_replay *r, size_t limit, const char *kv_disk, qn_err *err)
{
    qn_status st = QN_OK;
    qn_dir *base = NULL;
    *r = (api_replay){.limit = limit};
    qn__lock_init(&r->lock);
    qn__lock_init(&r->learning);
    qn__lock_init(&r->queue);
    if (!kv_disk || !limit) /* what others left there stays theirs */
        return QN_OK;
    st = qn__dir_open(kv_disk, true, &base, err);
    if (!st)
        st = qn__dir_enter(base, "replies", true, &r->dir, err);
    if (!st)
        st = load_all(r, err);
    qn__dir_close(base);
    return st;
}

void api_replay_close(api_replay *r)
{
    while (r->oldest)
        forget(r, r->oldest);
    qn__dir_close(r->dir);
    r->dir = NULL;
    qn__lock_destroy(&r->queue);
    qn__lock_destroy(&r->learning);
    qn__lock_destroy(&r->lock);
}

uint64_t api_replay_model(const api_model *m)
{
    const uint64_t parts[] = {XXH3_64bits(m->name, strlen(m->name)), m->file_bytes, (uint64_t)m->info.n_vocab};
    return XXH3_64bits(parts, sizeof parts);
}

void api_replay_keep(api_replay *r, const api_saying *s)
{
    const size_t tokens = s->tokens ? s->n_tokens * sizeof *s->tokens : 0;
    const size_t n = tokens + s->canonical.n + s->exact.n + s->calls.n;
    if (n > ENTRY_BYTES_MAX || n + sizeof(api_said) > r->limit || s->canonical.n < s->n_mark)
        return;
    api_said *e = qn__alloc(sizeof *e + n);
    if (!e)
        return;
    *e = (api_said){.model = s->model, .before = s->before, .n_before = s->n_before, .n_canonical = (uint32_t)(s->canonical.n - s->n_mark),
                    .n_mark = (uint32_t)s->n_mark, .n_exact = (uint32_t)s->exact.n, .n_tokens = (uint32_t)(tokens / sizeof *s->tokens),
                    .n_calls = (uint32_t)s->n_calls, .trusted = true, .bytes = n};
    char *p = e->body;
    const qn_slice parts[] = {{(const char *)s->tokens, tokens}, s->canonical, s->exact, s->calls};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].n)
            memcpy(p, parts[i].p, parts[i].n);
        p += parts[i].n;
    }
    if (!bind(e)) {
        qn_free(e);
        return;
    }
    if (r->dir)
        save(r, e); /* before others could drop it */
    qn__lock(&r->lock);
    r->kept++;
    add(r, e);
    qn__unlock(&r->lock);
}
