/* threads.c - see threads.h.
 *
 * The file: a first line that names the form, then "KEY THREADS" for each machine, newest last; KEY is qn_topology.key.
 */
#include "engine/threads.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/pool.h"
#include "kernels/peak.h"

static const char HEAD[] = "quern threads 1\n";
enum { MOST_THREADS = 512 };
enum { FILE_BYTES = 1 << 16, KEPT = 64 }; /* lines kept of an old file */

/* ---- choosing ---- */

int qn__threads_most(const qn_topology *t)
{
    int most = t->quota > 0 && t->quota < t->n ? (int)t->quota : t->n;
    return most < 1 ? 1 : most < MOST_THREADS ? most : MOST_THREADS;
}

int qn__threads_choose(const qn_topology *t, qn_rate_threads rate, void *arg)
{
    const double worth = 1.03, even = 0.97; /* a gain worth the heat and what else could run there; no loss */
    qn_cpus on;
    int stages[3], most = qn__threads_most(t);
    qn__topology_order(t, &on, stages);
    int n = stages[0] > 0 ? stages[0] : stages[1] > 0 ? stages[1] : 1;
    n = n < most ? n : most;
    on.n = n;
    qn_rates best, r;
    if (n == most || !rate || !rate(arg, &on, &best))
        return n;
    for (int s = 1; s < 3; s++) {
        on.n = stages[s] < most ? stages[s] : most;
        if (on.n <= n || !rate(arg, &on, &r))
            continue;
        /* An answer's time goes into reading, a prompt's into computing: neither may lose. */
        if (r.compute >= even * best.compute && r.memory >= even * best.memory &&
            r.compute * r.memory >= worth * worth * best.compute * best.memory) {
            n = on.n;
            best = r;
        }
    }
    return n;
}

/* ---- remembering ---- */

/* The number that `text` has for a key, at most `most`; 0: none. */
static int find(const char *text, uint64_t key, int most)
{
    int found = 0;
    if (strncmp(text, HEAD, sizeof HEAD - 1) != 0)
        return 0;
    for (const char *p = text + sizeof HEAD - 1; *p;) {
        char *end;
        uint64_t k = strtoull(p, &end, 16);
        long n = end != p && *end == ' ' ? strtol(end, &end, 10) : 0;
        if (k == key && *end == '\n')
            found = n >= 1 && n <= most ? (int)n : 0;
        p = strchr(p, '\n');
        if (!p)
            break;
        p++;
    }
    return found;
}

/* Old lines but those of this key, then the new one. What fails is measured again next time. */
static void keep(const char *file, const char *old, uint64_t key, int n)
{
    qn_writer *w;
    char line[64];
    int lines = 0;
    if (qn__writer_open(file, &w, NULL) != QN_OK)
        return;
    qn_status s = qn__writer_put(w, HEAD, sizeof HEAD - 1, NULL);
    if (old && strncmp(old, HEAD, sizeof HEAD - 1) == 0)
        for (const char *p = old + sizeof HEAD - 1, *end; s == QN_OK && lines < KEPT && (end = strchr(p, '\n'));
             p = end + 1)
            if (end - p < 40 && strtoull(p, NULL, 16) != key) {
                s = qn__writer_put(w, p, (size_t)(end - p) + 1, NULL);
                lines++;
            }
    int len = snprintf(line, sizeof line, "%016" PRIx64 " %d\n", key, n);
    if (s == QN_OK)
        s = qn__writer_put(w, line, (size_t)len, NULL);
    if (s == QN_OK)
        (void)qn__writer_commit(w, NULL);
    else
        qn__writer_abort(w);
}

typedef struct asked {
    qn_rate_threads rate;
    void *arg;
    bool answered, disturbed;
} asked;

static bool ask(void *arg, const qn_cpus *on, qn_rates *out)
{
    asked *a = arg;
    if (!a->rate || !a->rate(a->arg, on, out))
        return false;
    a->answered = true;
    a->disturbed = a->disturbed || out->disturbed;
    return true;
}

int qn__threads_remembered(const qn_topology *t, const char *file, qn_rate_threads rate, void *arg)
{
    char *old = NULL;
    size_t n_old;
    asked a = {.rate = rate, .arg = arg};
    if (qn__threads_choose(t, NULL, NULL) == qn__threads_most(t)) /* nothing to choose */
        return qn__threads_most(t);
    if (file && qn__read_file(file, FILE_BYTES, &old, &n_old, NULL) != QN_OK)
        old = NULL;
    int n = old ? find(old, t->key, qn__threads_most(t)) : 0;
    if (n == 0) {
        n = qn__threads_choose(t, ask, &a);
        if (file && a.answered && !a.disturbed)
            keep(file, old, t->key, n);
    }
    qn_free(old);
    return n;
}

/* ---- measuring ---- */

typedef struct probe {
    const qn_peak *peak;
    unsigned char *memory;
    size_t bytes, piece; /* of memory; of one item */
    uint64_t rounds;     /* of one item of computing */
    bool touched;
    struct {
        _Alignas(64) unsigned char sink[64];
        uint64_t ops;
    } * of; /* [threads] */
} probe;

static const size_t PAGE = 4096;
static const double SECONDS = 0.008; /* per loop: six of them, and the first touch of the memory, make less than 0.1 */

static void touch_item(void *arg, int item, int thread)
{
    probe *p = arg;
    (void)thread;
    memset(p->memory + (size_t)item * p->piece, 1, p->piece);
}

static void read_item(void *arg, int item, int thread)
{
    probe *p = arg;
    p->peak->read(p->memory + (size_t)item * p->piece, p->piece, p->of[thread].sink);
}

static void compute_item(void *arg, int item, int thread)
{
    probe *p = arg;
    (void)item;
    p->of[thread].ops += p->peak->int8(p->rounds, p->of[thread].sink);
}

/* Items a second, the best of several sweeps. */
static double sweep(qn_pool *pool, int n_items, void (*item)(void *, int, int), probe *p)
{
    double most = 0, start = qn__now();
    do {
        double from = qn__now();
        qn__pool_run(pool, n_items, item, p);
        double seconds = qn__now() - from, rate = seconds > 0 ? n_items / seconds : 0;
        most = rate > most ? rate : most;
    } while (qn__now() - start < SECONDS);
    return most;
}

static bool measure(void *arg, const qn_cpus *on, qn_rates *out)
{
    enum { ITEMS = 8 }; /* per thread: a slow one takes fewer */
    probe *p = arg;
    qn_pool *pool;
    if (qn__pool_open(on->n, &pool, NULL) != QN_OK)
        return false;
    bool ok = qn__pool_pin(pool, on, NULL) == QN_OK && (p->of = qn__alloc_aligned((size_t)on->n * sizeof *p->of));
    if (ok) {
        int n_items = on->n * ITEMS;
        p->piece = p->bytes / (size_t)n_items / PAGE * PAGE;
        p->piece = p->piece < PAGE ? PAGE : p->piece;
        n_items = p->piece * (size_t)n_items > p->bytes ? (int)(p->bytes / p->piece) : n_items;
        if (!p->touched)
            qn__pool_run(pool, n_items, touch_item, p);
        p->touched = true;
        double seconds = 0;
        for (p->rounds = 500; seconds < 1e-4 && p->rounds < (uint64_t)1 << 32; p->rounds *= 2) {
            double from = qn__now();
            (void)p->peak->int8(p->rounds, p->of[0].sink);
            seconds = qn__now() - from;
        }
        double items = sweep(pool, on->n * ITEMS, compute_item, p);
        *out = (qn_rates){.disturbed = qn__cpu_load() > 0.5 * qn__cpu_count(),
                          .compute = items * (double)p->rounds,
                          .memory = sweep(pool, n_items, read_item, p) * (double)p->piece};
    }
    qn__free_aligned(p->of);
    p->of = NULL;
    qn__pool_close(pool);
    return ok;
}

int qn__threads_default(qn_cpu level)
{
    enum { LEAST = 12 << 20, MOST = 24 << 20 };
    qn_topology t;
    char *file;
    size_t cache = qn__cpu_cache() * 2;
    probe p = {.peak = qn__peak(level), .bytes = cache < LEAST ? LEAST : cache > MOST ? MOST : cache};
    qn__topology_read("", NULL, &t);
    if (qn__threads_choose(&t, NULL, NULL) == qn__threads_most(&t))
        return qn__threads_most(&t);
    if (qn__user_file(QN_USER_CACHE, "threads", &file, NULL) != QN_OK)
        file = NULL;
    p.memory = qn__alloc_aligned(p.bytes);
    int n = qn__threads_remembered(&t, file, p.memory ? measure : NULL, &p);
    qn__free_aligned(p.memory);
    qn_free(file);
    return n;
}

qn_status qn__threads_fill(qn_cpu level, const char *cpus, int32_t *n_threads, qn_cpus *on, qn_err *err)
{
    qn_cpus c = {0};
    qn_status s = cpus ? qn__cpus_parse(cpus, &c, err) : QN_OK;
    if (s != QN_OK)
        return s;
    if (*n_threads < 0 || *n_threads > MOST_THREADS)
        return qn__fail(err, QN_EINVAL, "threads", "%d is out of range; give 1 to %d, or 0 for the default", *n_threads,
                        MOST_THREADS);
    if (c.n > 0 && *n_threads > c.n)
        return qn__fail(err, QN_EINVAL, "threads", "%d threads are more than the %d processors of \"%s\"", *n_threads,
                        c.n, cpus);
    if (*n_threads == 0)
        *n_threads = cpus ? c.n < MOST_THREADS ? c.n : MOST_THREADS : qn__threads_default(level);
    *on = c;
    return QN_OK;
}
