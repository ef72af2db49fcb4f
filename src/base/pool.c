/* pool.c - see pool.h. */
#include "base/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"

#if defined(__x86_64__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() ((void)0)
#endif

enum { SPINS = 20000 }; /* about 0.3 ms: longer than the gap between regions of one step */

struct worker {
    struct qn_pool *pool;
    pthread_t thread;
    int index;
};

/* epoch counts regions. A region is published by writing fn/arg/n_items, next = 0 and active = n_workers, and then
 * raising epoch; each worker that sees the new epoch drains `next` and lowers `active`. */
struct qn_pool {
    _Alignas(64) _Atomic uint32_t epoch;
    _Alignas(64) _Atomic int next;
    _Alignas(64) _Atomic int active;
    void (*fn)(void *, int, int);
    void *arg;
    int n_items, n_workers;
    _Atomic bool quit;
    _Atomic int sleeping;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct worker workers[];
};

static void drain(qn_pool *p, int thread)
{
    for (;;) {
        int i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (i >= p->n_items)
            return;
        p->fn(p->arg, i, thread);
    }
}

static uint32_t wait_for(qn_pool *p, uint32_t seen)
{
    for (int i = 0; i < SPINS; i++) {
        uint32_t e = atomic_load_explicit(&p->epoch, memory_order_acquire);
        if (e != seen)
            return e;
        PAUSE();
    }
    (void)pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleeping, 1);
    uint32_t e;
    while ((e = atomic_load(&p->epoch)) == seen)
        (void)pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleeping, 1);
    (void)pthread_mutex_unlock(&p->lock);
    return e;
}

static void raise_epoch(qn_pool *p)
{
    atomic_fetch_add(&p->epoch, 1); /* seq_cst with `sleeping`: either the sleeper sees it or we see the sleeper */
    if (atomic_load(&p->sleeping) > 0) {
        (void)pthread_mutex_lock(&p->lock);
        (void)pthread_cond_broadcast(&p->wake);
        (void)pthread_mutex_unlock(&p->lock);
    }
}

static void *work(void *arg)
{
    struct worker *w = arg;
    qn_pool *p = w->pool;
    uint32_t seen = 0;
    for (;;) {
        seen = wait_for(p, seen);
        if (atomic_load(&p->quit))
            return NULL;
        drain(p, w->index);
        atomic_fetch_sub_explicit(&p->active, 1, memory_order_acq_rel);
    }
}

qn_status qn__pool_open(int n_threads, qn_pool **out, qn_err *err)
{
    if (n_threads < 1 || n_threads > 1024)
        return qn__fail(err, QN_EINVAL, "threads", "%d is not in 1..1024", n_threads);
    size_t bytes = sizeof(qn_pool) + (size_t)(n_threads - 1) * sizeof(struct worker);
    qn_pool *p = qn__alloc_aligned(bytes);
    if (!p)
        return qn__fail_mem(err, "threads");
    *p = (qn_pool){.n_workers = 0};
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->wake, NULL);
    for (int i = 0; i < n_threads - 1; i++) {
        struct worker *w = &p->workers[i];
        *w = (struct worker){.pool = p, .index = i + 1};
        if (pthread_create(&w->thread, NULL, work, w) != 0) {
            qn__pool_close(p);
            return qn__fail(err, QN_EIO, "threads", "the system allows only %d threads; ask for fewer", i + 1);
        }
        p->n_workers++;
    }
    *out = p;
    return QN_OK;
}

void qn__pool_close(qn_pool *p)
{
    if (!p)
        return;
    atomic_store(&p->quit, true);
    raise_epoch(p);
    for (int i = 0; i < p->n_workers; i++)
        (void)pthread_join(p->workers[i].thread, NULL);
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->wake);
    qn__free_aligned(p);
}

int qn__pool_threads(const qn_pool *p)
{
    return p->n_workers + 1;
}

void qn__pool_run(qn_pool *p, int n_items, void (*fn)(void *, int, int), void *arg)
{
    if (n_items <= 0)
        return;
    if (p->n_workers == 0 || n_items == 1) {
        for (int i = 0; i < n_items; i++)
            fn(arg, i, 0);
        return;
    }
    p->fn = fn;
    p->arg = arg;
    p->n_items = n_items;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    atomic_store_explicit(&p->active, p->n_workers, memory_order_relaxed);
    raise_epoch(p);
    drain(p, 0);
    /* A worker holds `active` for the length of one piece; spin, and give the core away when machines are crowded. */
    for (int spins = 0; atomic_load_explicit(&p->active, memory_order_acquire) > 0; spins++) {
        if (spins < SPINS)
            PAUSE();
        else
            (void)sched_yield();
    }
}
