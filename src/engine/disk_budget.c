/* disk_budget.c - see disk_budget.h. The total is counted from time to time, for others write and remove here, too; in between
 * it is what we added to it. Temporary files of those who died are removed when they are old. */
#include "engine/disk_budget.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "engine/pagefile.h"

enum { COUNT_EVERY = 64 };
static const int64_t TEMP_AGE = (int64_t)600 * 1000000000;

typedef struct item {
    char name[QN_PAGEFILE_NAME];
    size_t root;
    uint64_t bytes;
    int64_t used;
    uint32_t first;
} item;

typedef struct root_dir {
    char name[33];
} root_dir;

struct qn_budget {
    const qn_dir *base;
    uint64_t max, bytes;
    int since;     /* files written since they were counted */
    item *items;   /* while they are counted */
    size_t n, cap;
    root_dir *roots;
    size_t n_roots, cap_roots;
    const qn_dir *dir;
    int64_t now;
};

static bool see_root(void *arg, const qn_dir_entry *e)
{
    qn_budget *b = arg;
    qn_name n;
    if (e->is_dir && qn__name_parse(e->name, &n) && qn__grow((void **)&b->roots, &b->cap_roots, b->n_roots + 1, sizeof *b->roots))
        memcpy(b->roots[b->n_roots++].name, e->name, sizeof b->roots->name);
    return true;
}

static bool see_file(void *arg, const qn_dir_entry *e)
{
    qn_budget *b = arg;
    qn_name last;
    uint32_t first;
    if (e->is_dir)
        return true;
    if (strncmp(e->name, ".tmp-", 5) == 0) {
        if (b->now - e->used > TEMP_AGE)
            (void)qn__dir_remove(b->dir, e->name);
        else
            b->bytes += e->bytes;
        return true;
    }
    if (!qn__run_parse_name(e->name, &last, &first))
        return true;
    b->bytes += e->bytes;
    if (!qn__grow((void **)&b->items, &b->cap, b->n + 1, sizeof *b->items))
        return true;
    item *x = &b->items[b->n++];
    *x = (item){.root = b->n_roots, .bytes = e->bytes, .used = e->used, .first = first};
    memcpy(x->name, e->name, strlen(e->name) + 1);
    return true;
}

/* Oldest first; of the same age, what lies deeper. */
static int by_age(const void *a, const void *b)
{
    const item *x = a, *y = b;
    if (x->used != y->used)
        return x->used < y->used ? -1 : 1;
    return x->first > y->first ? -1 : x->first < y->first;
}

static void remove_oldest(qn_budget *b, uint64_t most)
{
    qsort(b->items, b->n, sizeof *b->items, by_age);
    for (size_t i = 0; i < b->n && b->bytes > most; i++) {
        const item *x = &b->items[i];
        qn_dir *d;
        if (qn__dir_enter(b->base, b->roots[x->root].name, false, &d, NULL))
            continue;
        if (qn__dir_remove(d, x->name))
            b->bytes -= x->bytes;
        qn__dir_close(d);
    }
}

/* Count everything; then remove down to `most`. */
static void count(qn_budget *b, uint64_t most)
{
    b->bytes = b->n = b->n_roots = 0;
    b->since = 0;
    b->now = qn__wall_now();
    (void)qn__dir_list(b->base, false, see_root, b, NULL);
    size_t n = b->n_roots;
    for (b->n_roots = 0; b->n_roots < n; b->n_roots++) {
        qn_dir *d;
        if (qn__dir_enter(b->base, b->roots[b->n_roots].name, false, &d, NULL))
            continue;
        b->dir = d;
        (void)qn__dir_list(d, true, see_file, b, NULL);
        qn__dir_close(d);
    }
    if (b->bytes > most)
        remove_oldest(b, most);
    qn_free(b->items);
    qn_free(b->roots);
    b->items = NULL;
    b->roots = NULL;
    b->cap = b->cap_roots = 0;
}

qn_status qn__budget_open(const qn_dir *base, uint64_t max_bytes, qn_budget **out, qn_err *err)
{
    qn_budget *b = qn__calloc(1, sizeof *b);
    if (!b)
        return qn__fail_mem(err, "KV on disk");
    b->base = base;
    b->max = max_bytes;
    count(b, max_bytes);
    *out = b;
    return QN_OK;
}

void qn__budget_close(qn_budget *b)
{
    qn_free(b);
}

uint64_t qn__budget_bytes(const qn_budget *b)
{
    return b->bytes;
}

qn_status qn__budget_room(qn_budget *b, uint64_t bytes, qn_err *err)
{
    if (bytes > b->max)
        return qn__fail(err, QN_ELIMIT, "KV on disk", "a run of %llu bytes is more than the %llu that may be used",
                        (unsigned long long)bytes, (unsigned long long)b->max);
    if (b->since >= COUNT_EVERY)
        count(b, b->max);
    if (b->bytes > b->max - bytes) { /* some more than needed, so that it is not needed each time */
        uint64_t spare = b->max / 16 > bytes ? b->max / 16 : bytes;
        count(b, b->max - (spare < b->max ? spare : b->max));
    }
    return QN_OK;
}

void qn__budget_took(qn_budget *b, uint64_t bytes)
{
    b->bytes += bytes;
    b->since++;
}
