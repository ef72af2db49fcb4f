/* pool.c - see pool.h. */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/mem.h"

#if defined(__x86_64__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() ((void)0)
#endif

enum { STACK = 2 << 20 };
enum { SPINS = 2000 }; /* some 0.1 ms: longer than the gap between regions of one step */

struct worker {
    struct qn_pool *pool;
    pthread_t thread;
    int index;
};

/* What is left of a thread's pieces, end (32) | first (32). It takes them from the first on, so that one stretch of memory
 * follows the other and what it has prefetched behind a piece is its next; others, when they have done theirs, take from
 * the end. */
struct share {
    _Alignas(64) _Atomic uint64_t left;
};

/* One word says what region there is and who is in it:
 *
 *   gate:  epoch (32) | closed (1) | joined (31)
 *
 * The caller publishes a region by storing a new epoch, open, nobody joined. A worker joins by a compare-and-swap while
 * it is open, drains, and leaves. When the caller has drained too it closes the gate and waits for those inside only: a
 * worker that sleeps, or that the system has not scheduled, delays nobody. */
struct qn_pool {
    _Alignas(64) _Atomic uint64_t gate;
    _Alignas(64) void (*fn)(void *, int, int);
    void *arg;
    int n_workers, spins;
    struct share *shares; /* of each thread */
    _Atomic bool quit;
    _Atomic int sleeping;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool pinned; /* `home` is thread 0's processor; `guest` is there if has_guest, and came from `before` */
    bool has_guest;
    int16_t home;
    pthread_t guest;
    qn_cpus before;
    struct worker workers[];
};

static const uint64_t CLOSED = (uint64_t)1 << 31;

static uint32_t epoch_of(uint64_t gate)
{
    return (uint32_t)(gate >> 32);
}

static uint64_t stretch(uint64_t first, uint64_t end)
{
    return end << 32 | first;
}

/* A piece of that share, -1: none is left. */
static int take(struct share *s, bool own)
{
    uint64_t left = atomic_load_explicit(&s->left, memory_order_relaxed), first, end;
    do {
        first = (uint32_t)left;
        end = left >> 32;
        if (first == end)
            return -1;
    } while (!atomic_compare_exchange_weak_explicit(&s->left, &left, own ? stretch(first + 1, end) : stretch(first, end - 1),
                                                    memory_order_relaxed, memory_order_relaxed));
    return (int)(own ? first : end - 1);
}

static void drain(qn_pool *p, int thread)
{
    const int n = p->n_workers + 1;
    for (int i = 0, item; i < n; i++) {
        const int whose = thread + i < n ? thread + i : thread + i - n;
        while ((item = take(&p->shares[whose], i == 0)) >= 0)
            p->fn(p->arg, item, thread);
    }
}

/* The first shares are the larger ones: the caller is there already. */
static void share_out(qn_pool *p, int n_items)
{
    const int n = p->n_workers + 1, each = n_items / n, more = n_items % n;
    for (int i = 0, first = 0, end; i < n; i++, first = end) {
        end = first + each + (i < more);
        atomic_store_explicit(&p->shares[i].left, stretch((uint64_t)first, (uint64_t)end), memory_order_relaxed);
    }
}

static bool is_news(uint64_t gate, uint32_t seen)
{
    return epoch_of(gate) != seen && !(gate & CLOSED);
}

/* The gate, once it holds an open region later than `seen`. */
static uint64_t wait_for(qn_pool *p, uint32_t seen)
{
    uint64_t g;
    for (int i = 0; i < p->spins; i++) {
        if (is_news(g = atomic_load_explicit(&p->gate, memory_order_acquire), seen))
            return g;
        PAUSE();
    }
    (void)pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleeping, 1);
    while (!is_news(g = atomic_load(&p->gate), seen))
        (void)pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleeping, 1);
    (void)pthread_mutex_unlock(&p->lock);
    return g;
}

static void open_gate(qn_pool *p)
{
    uint64_t next = ((uint64_t)epoch_of(atomic_load_explicit(&p->gate, memory_order_relaxed)) + 1) << 32;
    atomic_store(&p->gate, next); /* seq_cst with `sleeping`: either the sleeper sees it or we see the sleeper */
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
        uint64_t g = wait_for(p, seen);
        while (is_news(g, seen) &&
               !atomic_compare_exchange_weak_explicit(&p->gate, &g, g + 1, memory_order_acquire, memory_order_acquire))
            ;
        if (!is_news(g, seen))
            continue; /* closed while we were coming */
        seen = epoch_of(g);
        if (atomic_load(&p->quit))
            return NULL;
        drain(p, w->index);
        atomic_fetch_sub_explicit(&p->gate, 1, memory_order_release);
    }
}

qn_status qn__pool_open(int n_threads, qn_pool **out, qn_err *err)
{
    if (n_threads < 1 || n_threads > 1024)
        return qn__fail(err, QN_EINVAL, "threads", "%d is not in 1..1024", n_threads);
    size_t bytes = sizeof(qn_pool) + (size_t)(n_threads - 1) * sizeof(struct worker);
    qn_pool *p = qn__alloc_aligned(bytes);
    struct share *shares = qn__alloc_aligned((size_t)n_threads * sizeof *shares);
    if (!p || !shares) {
        qn__free_aligned(p);
        qn__free_aligned(shares);
        return qn__fail_mem(err, "threads");
    }
    /* With more threads than processors spinning only takes time from those who work. */
    *p = (qn_pool){.spins = n_threads <= qn__cpu_count() ? SPINS : 0, .shares = shares};
    atomic_store(&p->gate, CLOSED);
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->wake, NULL);
    sigset_t all, before; /* signals are for the program's own threads: a worker must not run its handlers */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    pthread_attr_t attr; /* as much stack as kernels want, whatever the system's habit is */
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK);
    int made = 0;
    for (; made < n_threads - 1; made++) {
        struct worker *w = &p->workers[made];
        *w = (struct worker){.pool = p, .index = made + 1};
        if (pthread_create(&w->thread, &attr, work, w) != 0)
            break;
        p->n_workers++;
    }
    (void)pthread_attr_destroy(&attr);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (made < n_threads - 1) {
        qn__pool_close(p);
        return qn__fail(err, QN_EIO, "threads", "the system allows only %d threads; ask for fewer", made + 1);
    }
    *out = p;
    return QN_OK;
}

qn_status qn__pool_pin(qn_pool *p, const qn_cpus *cpus, qn_err *err)
{
    qn_cpus before;
    if (cpus->n <= p->n_workers)
        return qn__fail(err, QN_EINVAL, "cpus", "%d processors are too few for %d threads; name more or ask for fewer", cpus->n,
                        p->n_workers + 1);
    int bad = qn__cpus_pin(cpus->id, 1, &before) ? -1 : 0; /* only tried: it is not known yet who will run regions */
    (void)qn__cpus_pin(before.id, before.n, NULL);
    for (int i = 0; i < p->n_workers && bad < 0; i++) {
#ifdef __linux__
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cpus->id[i + 1], &set);
        if (pthread_setaffinity_np(p->workers[i].thread, sizeof set, &set) != 0)
#endif
            bad = i + 1;
    }
    if (bad >= 0)
        return qn__fail(err, QN_EINVAL, "cpus", "no thread can be put on processor %d; does it exist, and may this process use it?",
                        cpus->id[bad]);
    p->pinned = true;
    p->home = cpus->id[0];
    return QN_OK;
}

static void move_home(qn_pool *p)
{
    p->has_guest = true;
    p->guest = pthread_self();
    (void)qn__cpus_pin(&p->home, 1, &p->before);
}

void qn__pool_close(qn_pool *p)
{
    if (!p)
        return;
    if (p->has_guest && pthread_equal(p->guest, pthread_self()))
        (void)qn__cpus_pin(p->before.id, p->before.n, NULL);
    atomic_store(&p->quit, true);
    open_gate(p);
    for (int i = 0; i < p->n_workers; i++)
        (void)pthread_join(p->workers[i].thread, NULL);
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->wake);
    qn__free_aligned(p->shares);
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
    if (p->pinned && !(p->has_guest && pthread_equal(p->guest, pthread_self())))
        move_home(p);
    if (p->n_workers == 0 || n_items == 1) {
        for (int i = 0; i < n_items; i++)
            fn(arg, i, 0);
        return;
    }
    p->fn = fn;
    p->arg = arg;
    share_out(p, n_items);
    open_gate(p);
    drain(p, 0);
    uint64_t g = atomic_fetch_or_explicit(&p->gate, CLOSED, memory_order_acq_rel);
    /* Whoever is inside has at most one piece left; spin, and give the core away when the machine is crowded. */
    for (int spins = 0; (g & (CLOSED - 1)) != 0; spins++) {
        if (spins < p->spins)
            PAUSE();
        else
            (void)sched_yield();
        g = atomic_load_explicit(&p->gate, memory_order_acquire);
    }
}
