/* disk.c - see disk.h. Here: the index of what is there, reading, and the writer's queue. The budget is in disk_budget.c.
 *
 *   engine's thread:  index: name -> (file, place in it)      queue ──> writer ──> done ──> reap, index
 *
 * The index is made of the heads of all files at open. It may be wrong at any time: what it says is only tried. */
#include "engine/disk.h"

#include <stdio.h>
#include <string.h>

#include "base/dir.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/thread.h"
#include "engine/disk_budget.h"

enum { BUCKETS_MIN = 1024, PAUSE_S = 30, REFRESH_MS = 200 };

typedef struct place {
    qn_name name;
    struct place *next;
    struct file *file;
    uint32_t slot;
} place;

/* A file of our root. */
typedef struct file {
    struct file *next;
    uint32_t first, n;
    uint32_t states;
    place places[];
} file;

struct qn_disk {
    qn_dir *base, *dir;
    qn_root root;
    qn_name root_name;
    char root_text[33];
    /* the index */
    place **buckets;
    size_t n_buckets, n_places;
    file *files;
    int64_t stamp;
    double refreshed;
    int32_t *tokens; /* of a file that is being read */
    size_t cap_tokens;
    double rate;
    uint64_t bad;
    char bad_notice[256];
    /* the writer */
    qn_thread *thread;
    qn_lock lock;
    qn_cond work, through;
    bool quit;
    qn_disk_job *queue, **queue_end, *done, **done_end;
    qn_budget *budget; /* the writer's alone */
    double paused_until;
    uint64_t bytes, written, failed;
    char notice[256];
};

/* ---- the index ---- */

static bool same_name(qn_name a, qn_name b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

static place **bucket(const qn_disk *d, qn_name n)
{
    return &d->buckets[(n.lo ^ n.hi * 0x9E3779B97F4A7C15u) >> 20 & (d->n_buckets - 1)];
}

static bool more_buckets(qn_disk *d)
{
    if (d->n_places < d->n_buckets)
        return true;
    size_t n = d->n_buckets ? d->n_buckets * 4 : BUCKETS_MIN;
    place **b = qn__calloc(n, sizeof *b);
    if (!b)
        return d->n_buckets > 0;
    place **old = d->buckets;
    size_t n_old = d->n_buckets;
    d->buckets = b;
    d->n_buckets = n;
    for (size_t i = 0; i < n_old; i++)
        for (place *p = old[i], *next; p; p = next) {
            next = p->next;
            place **at = bucket(d, p->name);
            p->next = *at;
            *at = p;
        }
    qn_free((void *)old);
    return true;
}

static const file *known(const qn_disk *d, qn_name last, uint32_t first)
{
    for (const place *p = *bucket(d, last); p; p = p->next)
        if (same_name(p->name, last) && p->slot + 1 == p->file->n && p->file->first == first)
            return p->file;
    return NULL;
}

static void index_add(qn_disk *d, const qn_page_run *r)
{
    if (known(d, r->page[r->n - 1].name, r->first) || !more_buckets(d))
        return;
    file *f = qn__calloc(1, sizeof *f + r->n * sizeof *f->places);
    if (!f)
        return;
    f->first = r->first;
    f->n = r->n;
    f->next = d->files;
    d->files = f;
    for (uint32_t i = 0; i < r->n; i++) {
        place **at = bucket(d, r->page[i].name);
        f->places[i] = (place){.name = r->page[i].name, .next = *at, .file = f, .slot = i};
        f->states |= (uint32_t)r->page[i].has_state << i;
        *at = &f->places[i];
    }
    d->n_places += r->n;
}

static void index_drop(qn_disk *d, file *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        place **at = bucket(d, f->places[i].name);
        while (*at != &f->places[i])
            at = &(*at)->next;
        *at = f->places[i].next;
    }
    d->n_places -= f->n;
    file **at = &d->files;
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    qn_free(f);
}

bool qn__disk_find(const qn_disk *d, qn_name name, bool *state)
{
    bool any = false;
    *state = false;
    for (const place *p = *bucket(d, name); p; p = p->next)
        if (same_name(p->name, name)) {
            any = true;
            *state = *state || p->file->states >> p->slot & 1;
        }
    return any;
}

static void remove_bad(qn_disk *d, const char *name, const char *why)
{
    if (!qn__dir_remove(d->dir, name))
        return;
    d->bad++;
    (void)snprintf(d->bad_notice, sizeof d->bad_notice, "%.120s/%.60s: %.60s", qn__dir_path(d->dir), name, why);
}

static bool see_file(void *arg, const qn_dir_entry *e)
{
    qn_disk *d = arg;
    qn_name last;
    uint32_t first;
    qn_file f;
    qn_page_run r;
    unsigned char head[QN_PAGEFILE_HEAD];
    if (e->is_dir || !qn__run_parse_name(e->name, &last, &first) || known(d, last, first) || !qn__dir_read(d->dir, e->name, &f))
        return true;
    const char *bad = qn__file_get(&f, 0, head, sizeof head) ? qn__run_read(head, f.size, &r) : "it is too short";
    qn__file_close(&f);
    if (bad) {
        remove_bad(d, e->name, bad);
        return true;
    }
    qn_name root = qn__root_name(&r.root);
    if (same_name(root, d->root_name) && r.first == first && same_name(r.page[r.n - 1].name, last))
        index_add(d, &r);
    return true;
}

void qn__disk_refresh(qn_disk *d)
{
    double now = qn__now();
    int64_t stamp = qn__dir_stamp(d->dir);
    if (stamp == d->stamp || (d->refreshed > 0 && now - d->refreshed < REFRESH_MS * 1e-3))
        return;
    d->refreshed = now;
    d->stamp = stamp; /* what comes while the list is read has a later one */
    (void)qn__dir_list(d->dir, false, see_file, d, NULL);
}

/* ---- reading ---- */

/* A file that is open, with a head that is right and all tokens. */
typedef struct reading {
    qn_file f;
    qn_page_run r;
} reading;

/* bad: what is wrong with it; NULL: nothing, it is only gone. */
static void discard(qn_disk *d, file *f, const char *bad)
{
    char name[QN_PAGEFILE_NAME];
    qn__run_file_name(f->places[f->n - 1].name, f->first, name);
    if (bad)
        remove_bad(d, name, bad);
    index_drop(d, f);
}

typedef enum opened { OPENED, GONE, NO_MEMORY } opened;

/* GONE: there is nothing of use, and the file is forgotten; when it was damaged it is removed. */
static opened open_run(qn_disk *d, file *f, reading *out)
{
    char name[QN_PAGEFILE_NAME];
    unsigned char head[QN_PAGEFILE_HEAD];
    qn__run_file_name(f->places[f->n - 1].name, f->first, name);
    if (!qn__dir_read(d->dir, name, &out->f)) {
        discard(d, f, NULL);
        return GONE;
    }
    bool good = qn__file_get(&out->f, 0, head, sizeof head) && !qn__run_read(head, out->f.size, &out->r);
    if (good) {
        qn_name root = qn__root_name(&out->r.root);
        good = same_name(root, d->root_name) && out->r.first == f->first && out->r.n == f->n;
        for (uint32_t i = 0; good && i < f->n; i++)
            good = same_name(out->r.page[i].name, f->places[i].name);
    }
    size_t n = good ? (size_t)(out->r.first + out->r.n) * QN_PAGE_TOKENS : 0;
    if (good && !qn__grow((void **)&d->tokens, &d->cap_tokens, n, sizeof *d->tokens)) {
        qn__file_close(&out->f);
        return NO_MEMORY;
    }
    good = good && qn__file_get(&out->f, qn__run_tokens_at(&out->r), d->tokens, n * sizeof *d->tokens) &&
           qn__run_sum(d->tokens, n * sizeof *d->tokens) == out->r.tokens_sum;
    if (good)
        return OPENED;
    qn__file_close(&out->f);
    discard(d, f, "its head or its tokens are not what was written");
    return GONE;
}

/* A file that has page `at` under this name, tokens compared. Several may have the name: of one page, or of pages whose names
 * collide. */
static bool open_page(qn_disk *d, const int32_t *tokens, uint32_t at, qn_name name, bool state, reading *out, file **from)
{
    for (size_t skip = 0;;) {
        place *p = *bucket(d, name);
        size_t seen = 0;
        for (; p; p = p->next)
            if (same_name(p->name, name) && p->file->first + p->slot == at && (!state || p->file->states >> p->slot & 1) &&
                seen++ == skip)
                break;
        if (!p)
            return false;
        *from = p->file;
        switch (open_run(d, p->file, out)) {
        case NO_MEMORY: return false;
        case GONE: continue; /* the next one stands in its place */
        case OPENED: break;
        }
        if (memcmp(d->tokens, tokens, ((size_t)at + 1) * QN_PAGE_TOKENS * sizeof *tokens) == 0)
            return true;
        qn__file_close(&out->f);
        skip++;
    }
}

static void timed(qn_disk *d, size_t bytes, double seconds)
{
    double rate = seconds > 0 ? (double)bytes / seconds : 0;
    if (rate > 0)
        d->rate = d->rate > 0 ? 0.8 * d->rate + 0.2 * rate : rate;
}

double qn__disk_rate(const qn_disk *d)
{
    return d->rate;
}

void qn__disk_forget_rate(qn_disk *d)
{
    d->rate *= 1.05;
}

size_t qn__disk_read(qn_disk *d, const int32_t *tokens, uint32_t first, const qn_name *names, size_t n,
                     unsigned char *const *pages)
{
    reading x;
    file *from;
    double start = qn__now();
    if (n == 0 || !open_page(d, tokens, first, names[0], false, &x, &from))
        return 0;
    size_t bytes = (size_t)d->root.page_bytes, k = 0;
    bool bad = false;
    for (uint32_t slot = first - x.r.first; k < n && slot < x.r.n; slot++, k++) {
        size_t at = (size_t)(first + k) * QN_PAGE_TOKENS;
        if (k && memcmp(d->tokens + at, tokens + at, QN_PAGE_TOKENS * sizeof *tokens) != 0)
            break;
        bad = !qn__file_get(&x.f, qn__run_page_at(&x.r, slot), pages[k], bytes) ||
              qn__run_sum(pages[k], bytes) != x.r.page[slot].sum;
        if (bad)
            break;
    }
    qn__file_close(&x.f);
    if (bad)
        discard(d, from, "a page is not what was written");
    timed(d, k * bytes, qn__now() - start);
    return k;
}

bool qn__disk_read_state(qn_disk *d, const int32_t *tokens, uint32_t at, qn_name name, float *state)
{
    reading x;
    file *from;
    if (!open_page(d, tokens, at, name, true, &x, &from))
        return false;
    size_t bytes = (size_t)d->root.state_bytes;
    uint32_t slot = at - x.r.first;
    bool good = x.r.page[slot].has_state && qn__file_get(&x.f, qn__run_state_at(&x.r, slot), state, bytes) &&
                qn__run_sum(state, bytes) == x.r.page[slot].state_sum;
    qn__file_close(&x.f);
    if (!good)
        discard(d, from, "a state is not what was written");
    return good;
}

/* ---- jobs ---- */

qn_disk_job *qn__disk_job(void)
{
    return qn__calloc(1, sizeof(qn_disk_job));
}

void qn__disk_job_free(qn_disk_job *j)
{
    if (!j)
        return;
    qn_free(j->tokens);
    qn_free(j->touch);
    qn_free(j);
}

void qn__disk_job_touch(const qn_disk *d, qn_disk_job *j, qn_name name)
{
    for (const place *p = *bucket(d, name); p; p = p->next) {
        char text[QN_PAGEFILE_NAME];
        if (!same_name(p->name, name))
            continue;
        qn__run_file_name(p->file->places[p->file->n - 1].name, p->file->first, text);
        if (j->n_touch && strcmp(j->touch[j->n_touch - 1], text) == 0)
            continue;
        if (!qn__grow((void **)&j->touch, &j->cap_touch, j->n_touch + 1, sizeof *j->touch))
            return;
        memcpy(j->touch[j->n_touch++], text, sizeof text);
    }
}

static qn_status write_run(qn_disk *d, qn_disk_job *j, qn_err *err)
{
    qn_page_run *r = &j->run;
    unsigned char head[QN_PAGEFILE_HEAD];
    char name[QN_PAGEFILE_NAME];
    qn_piece pieces[2 + 2 * QN_RUN];
    int n = 2;
    size_t n_tokens = (size_t)(r->first + r->n) * QN_PAGE_TOKENS * sizeof *j->tokens;
    r->root = d->root;
    r->tokens_sum = qn__run_sum(j->tokens, n_tokens);
    for (uint32_t i = 0; i < r->n; i++) {
        pieces[n++] = (qn_piece){j->pages[i], (size_t)d->root.page_bytes};
        r->page[i].sum = qn__run_sum(j->pages[i], (size_t)d->root.page_bytes);
    }
    for (uint32_t i = 0; i < r->n; i++)
        if (r->page[i].has_state) {
            pieces[n++] = (qn_piece){j->states[i], (size_t)d->root.state_bytes};
            r->page[i].state_sum = qn__run_sum(j->states[i], (size_t)d->root.state_bytes);
        }
    qn__run_write(r, head);
    pieces[0] = (qn_piece){head, sizeof head};
    pieces[1] = (qn_piece){j->tokens, n_tokens};
    qn__run_file_name(r->page[r->n - 1].name, r->first, name);
    qn_status st = qn__budget_room(d->budget, qn__run_bytes(r), err);
    if (!st)
        st = qn__dir_write(d->dir, name, pieces, n, err);
    if (st)
        return st;
    qn__budget_took(d->budget, qn__run_bytes(r));
    int64_t now = qn__wall_now(); /* one time for the whole prefix: its end must not outlive its beginning */
    qn__dir_touch(d->dir, name, now);
    for (size_t i = 0; i < j->n_touch; i++)
        qn__dir_touch(d->dir, j->touch[i], now);
    return QN_OK;
}

static void work(void *arg)
{
    qn_disk *d = arg;
    qn__lock(&d->lock);
    for (;;) {
        while (!d->queue && !d->quit)
            qn__cond_wait(&d->work, &d->lock);
        qn_disk_job *j = d->queue;
        if (d->quit)
            break;
        d->queue = j->next;
        if (!d->queue)
            d->queue_end = &d->queue;
        qn__unlock(&d->lock);
        qn_err err = {0};
        if (j->run.n)
            j->written = write_run(d, j, &err) == QN_OK;
        else
            for (size_t i = 0; i < j->n_touch; i++)
                qn__dir_touch(d->dir, j->touch[i], qn__wall_now());
        qn__lock(&d->lock);
        j->next = NULL;
        *d->done_end = j;
        d->done_end = &j->next;
        d->bytes = qn__budget_bytes(d->budget);
        if (j->run.n && j->written) {
            d->written++;
        } else if (j->run.n) {
            d->failed++;
            d->paused_until = qn__now() + PAUSE_S;
            if (!d->notice[0])
                (void)snprintf(d->notice, sizeof d->notice, "%.60s: %.180s", qn__dir_path(d->base), err.what);
        }
        qn__cond_broadcast(&d->through);
    }
    qn__unlock(&d->lock);
}

void qn__disk_put(qn_disk *d, qn_disk_job *j)
{
    j->next = NULL;
    qn__lock(&d->lock);
    *d->queue_end = j;
    d->queue_end = &j->next;
    qn__cond_signal(&d->work);
    qn__unlock(&d->lock);
}

qn_disk_job *qn__disk_reap(qn_disk *d, bool wait, double until)
{
    qn__lock(&d->lock);
    while (wait && !d->done && qn__cond_wait_until(&d->through, &d->lock, until))
        ;
    qn_disk_job *j = d->done;
    if (j) {
        d->done = j->next;
        if (!d->done)
            d->done_end = &d->done;
    }
    qn__unlock(&d->lock);
    if (j && j->written)
        index_add(d, &j->run);
    return j;
}

bool qn__disk_writable(qn_disk *d)
{
    qn__lock(&d->lock);
    bool yes = d->paused_until == 0 || qn__now() >= d->paused_until;
    qn__unlock(&d->lock);
    return yes;
}

void qn__disk_get_stats(qn_disk *d, qn_disk_stats *out)
{
    qn__lock(&d->lock);
    *out = (qn_disk_stats){.pages = d->n_places, .bytes = d->bytes, .written = d->written, .failed = d->failed, .bad = d->bad};
    memcpy(out->notice, d->notice, sizeof out->notice);
    memcpy(out->bad_notice, d->bad_notice, sizeof out->bad_notice);
    qn__unlock(&d->lock);
}

/* ---- opening ---- */

qn_status qn__disk_open(const char *path, uint64_t max_bytes, const qn_root *root, qn_disk **out, qn_err *err)
{
    qn_disk *d = qn__calloc(1, sizeof *d);
    if (!d)
        return qn__fail_mem(err, "KV on disk");
    d->root = *root;
    d->root_name = qn__root_name(root);
    d->queue_end = &d->queue;
    d->done_end = &d->done;
    qn__name_text(d->root_name, d->root_text);
    qn__lock_init(&d->lock);
    qn__cond_init(&d->work);
    qn__cond_init(&d->through);
    qn_status st = more_buckets(d) ? qn__dir_open(path, true, &d->base, err) : qn__fail_mem(err, "KV on disk");
    if (!st)
        st = qn__dir_enter(d->base, d->root_text, true, &d->dir, err);
    if (!st)
        st = qn__budget_open(d->base, max_bytes, &d->budget, err);
    if (!st) {
        qn__disk_refresh(d);
        d->bytes = qn__budget_bytes(d->budget);
        st = qn__thread_start(work, d, &d->thread, err);
    }
    if (st)
        qn__disk_close(d);
    else
        *out = d;
    return st;
}

void qn__disk_stop(qn_disk *d)
{
    qn__lock(&d->lock);
    d->quit = true;
    qn__cond_signal(&d->work);
    qn__unlock(&d->lock);
    qn__thread_join(d->thread);
    d->thread = NULL;
    *d->done_end = d->queue;
    if (d->queue)
        d->done_end = d->queue_end;
    d->queue = NULL;
    d->queue_end = &d->queue;
}

void qn__disk_close(qn_disk *d)
{
    if (!d)
        return;
    if (d->thread)
        qn__disk_stop(d);
    for (qn_disk_job *j = d->done, *next; j; j = next) {
        next = j->next;
        qn__disk_job_free(j);
    }
    while (d->files)
        index_drop(d, d->files);
    qn_free((void *)d->buckets);
    qn_free(d->tokens);
    qn__budget_close(d->budget);
    qn__dir_close(d->dir);
    qn__dir_close(d->base);
    qn__cond_destroy(&d->work);
    qn__cond_destroy(&d->through);
    qn__lock_destroy(&d->lock);
    qn_free(d);
}
