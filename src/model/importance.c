/* importance.c - see importance.h. Memory for a matrix is taken when it is first seen, for an observer cannot fail: what is
 * lacking is remembered and reported when asked. */
#include "model/importance.h"

#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "model/device.h"

typedef struct tally {
    const qn_gguf_tensor *tensor;
    size_t k, count;  /* columns, matrices */
    double *sums;     /* [count][k] */
    uint64_t *counts; /* [count] */
} tally;

struct qn_importance {
    qn_context *context;
    qn_observer observer;
    tally *tallies; /* in the order in which they were first seen, which is the one of every step */
    size_t n, cap, next;
    bool failed;
};

/* The tally of w's tensor: nearly always the one after the last. */
static tally *find(qn_importance *m, const qn_weight *w)
{
    for (size_t i = 0; i < m->n; i++) {
        size_t at = (m->next + i) % m->n;
        if (m->tallies[at].tensor == w->tensor) {
            m->next = at + 1;
            return &m->tallies[at];
        }
    }
    tally t = {.tensor = w->tensor, .k = (size_t)w->k, .count = (size_t)w->count};
    size_t cells;
    bool ok = qn__mul(t.k, t.count, &cells) && qn__grow((void **)&m->tallies, &m->cap, m->n + 1, sizeof t);
    t.sums = ok ? qn__calloc(cells, sizeof *t.sums) : NULL;
    t.counts = ok ? qn__calloc(t.count, sizeof *t.counts) : NULL;
    if (!t.sums || !t.counts) {
        qn_free(t.sums);
        qn_free(t.counts);
        m->failed = true;
        return NULL;
    }
    m->tallies[m->n++] = t;
    m->next = m->n;
    return &m->tallies[m->n - 1];
}

static void add(tally *t, size_t matrix, const float *x)
{
    double *sums = t->sums + matrix * t->k;
    for (size_t i = 0; i < t->k; i++)
        sums[i] += (double)x[i] * (double)x[i];
    t->counts[matrix]++;
}

static void see(void *arg, const qn_seen *s)
{
    qn_importance *m = arg;
    tally *t = s->w->tensor ? find(m, s->w) : NULL;
    if (!t)
        return;
    const qn_routing *r = s->routing;
    for (int seg = 0; r && seg < r->n_segments; seg++)
        for (int slot = r->start[seg]; slot < r->start[seg + 1]; slot++)
            add(t, (size_t)r->experts[seg], s->x.p + (size_t)(s->gather ? r->source[slot] : slot) * s->x.stride);
    for (int row = 0; !r && row < s->x.rows; row++)
        for (size_t h = 0; h < t->count; h++)
            add(t, h, s->x.p + (size_t)row * s->x.stride + h * (size_t)s->x_step);
}

qn_status qn__importance_open(qn_context *c, qn_importance **out, qn_err *err)
{
    qn_importance *m = qn__calloc(1, sizeof *m);
    if (!m)
        return qn__fail_mem(err, "importance matrix");
    m->context = c;
    m->observer = (qn_observer){see, m};
    qn__context_observe(c, &m->observer);
    *out = m;
    return QN_OK;
}

void qn__importance_close(qn_importance *m)
{
    if (!m)
        return;
    qn__context_observe(m->context, NULL);
    for (size_t i = 0; i < m->n; i++) {
        qn_free(m->tallies[i].sums);
        qn_free(m->tallies[i].counts);
    }
    qn_free(m->tallies);
    qn_free(m);
}

qn_status qn__importance_check(const qn_importance *m, qn_err *err)
{
    return m->failed ? qn__fail_mem(err, "importance matrix") : QN_OK;
}

void qn__importance_count(const qn_importance *m, size_t *matrices, size_t *unmet)
{
    *matrices = *unmet = 0;
    for (size_t i = 0; i < m->n; i++)
        for (size_t h = 0; h < m->tallies[i].count; h++) {
            ++*matrices;
            *unmet += m->tallies[i].counts[h] == 0;
        }
}

/* t as the file has it; floats are taken from the arena. */
static qn_status entry(const tally *t, qn_arena *arena, qn_imatrix_entry *out, qn_err *err)
{
    size_t n = t->k * t->count;
    char *name = qn__arena_strndup(arena, t->tensor->name.p, t->tensor->name.n);
    float *sums = qn__arena_alloc(arena, n * sizeof *sums), *counts = qn__arena_alloc(arena, t->count * sizeof *counts);
    if (!name || !sums || !counts)
        return qn__fail_mem(err, "importance matrix");
    for (size_t i = 0; i < n; i++) {
        sums[i] = (float)t->sums[i];
        if (!isfinite(sums[i]))
            return qn__fail(err, QN_EFORMAT, name, "what meets column %zu is not finite; the model's weights are broken", i % t->k);
    }
    for (size_t i = 0; i < t->count; i++)
        counts[i] = (float)t->counts[i];
    *out = (qn_imatrix_entry){.tensor = name, .n = t->k, .experts = t->count, .sums = sums, .counts = counts};
    return QN_OK;
}

qn_status qn__importance_write(const qn_importance *m, const char *path, const char *dataset, uint32_t chunks,
                               uint32_t chunk_size, qn_err *err)
{
    qn_arena arena;
    qn__arena_init(&arena, 0);
    qn_imatrix_entry *entries = qn__arena_alloc(&arena, (m->n + 1) * sizeof *entries);
    qn_status st = entries ? QN_OK : qn__fail_mem(err, "importance matrix");
    for (size_t i = 0; i < m->n && !st; i++)
        st = entry(&m->tallies[i], &arena, &entries[i], err);
    if (!st) {
        qn_slice name = {dataset, strlen(dataset)};
        st = qn__imatrix_write(path, &name, 1, chunks, chunk_size, entries, m->n, err);
    }
    qn__arena_free(&arena);
    return st;
}
