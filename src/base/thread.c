/* thread.c - see thread.h. */
#include "base/thread.h"

#include <math.h>
#include <signal.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"

struct qn_thread {
    pthread_t id;
    void (*fn)(void *);
    void *arg;
};

void qn__lock_init(qn_lock *l)
{
    (void)pthread_mutex_init(&l->m, NULL);
}

void qn__lock_destroy(qn_lock *l)
{
    (void)pthread_mutex_destroy(&l->m);
}

void qn__lock(qn_lock *l)
{
    (void)pthread_mutex_lock(&l->m);
}

void qn__unlock(qn_lock *l)
{
    (void)pthread_mutex_unlock(&l->m);
}

void qn__cond_init(qn_cond *c)
{
    pthread_condattr_t a; /* the clock of qn__now: nobody can set it */
    (void)pthread_condattr_init(&a);
    (void)pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&c->c, &a);
    (void)pthread_condattr_destroy(&a);
}

void qn__cond_destroy(qn_cond *c)
{
    (void)pthread_cond_destroy(&c->c);
}

void qn__cond_wait(qn_cond *c, qn_lock *l)
{
    (void)pthread_cond_wait(&c->c, &l->m);
}

bool qn__cond_wait_until(qn_cond *c, qn_lock *l, double when)
{
    double s = floor(when);
    const struct timespec t = {.tv_sec = (time_t)s, .tv_nsec = (long)((when - s) * 1e9)};
    return pthread_cond_timedwait(&c->c, &l->m, &t) == 0;
}

void qn__cond_signal(qn_cond *c)
{
    (void)pthread_cond_signal(&c->c);
}

void qn__cond_broadcast(qn_cond *c)
{
    (void)pthread_cond_broadcast(&c->c);
}

static void *begin(void *arg)
{
    qn_thread *t = arg;
    t->fn(t->arg);
    return NULL;
}

qn_status qn__thread_start(void (*fn)(void *arg), void *arg, qn_thread **out, qn_err *err)
{
    qn_thread *t = qn__calloc(1, sizeof *t);
    if (!t)
        return qn__fail_mem(err, "threads");
    t->fn = fn;
    t->arg = arg;
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    int rc = pthread_create(&t->id, NULL, begin, t);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        qn_free(t);
        return qn__fail(err, QN_EIO, "threads", "the system allows no further thread; end other programs or raise the limit");
    }
    *out = t;
    return QN_OK;
}

void qn__thread_join(qn_thread *t)
{
    if (!t)
        return;
    (void)pthread_join(t->id, NULL);
    qn_free(t);
}

bool qn__thread_is_here(const qn_thread *t)
{
    return pthread_equal(t->id, pthread_self()) != 0;
}
