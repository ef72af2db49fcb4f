/* thread.h - threads, locks and conditions. A thread started here runs no signal handlers: those are for the program's own. */
#ifndef QN_BASE_THREAD_H
#define QN_BASE_THREAD_H

#include <pthread.h>

#include "quern.h"

typedef struct qn_lock {
    pthread_mutex_t m;
} qn_lock;
typedef struct qn_cond {
    pthread_cond_t c;
} qn_cond;

void qn__lock_init(qn_lock *l);
void qn__lock_destroy(qn_lock *l);
void qn__lock(qn_lock *l);
void qn__unlock(qn_lock *l);

void qn__cond_init(qn_cond *c);
void qn__cond_destroy(qn_cond *c);
/* Wakes now and then without a reason, as conditions do. */
void qn__cond_wait(qn_cond *c, qn_lock *l);
/* The same, until qn__now() is `when` at the latest; false when it is. */
bool qn__cond_wait_until(qn_cond *c, qn_lock *l, double when);
void qn__cond_signal(qn_cond *c);
void qn__cond_broadcast(qn_cond *c);

typedef struct qn_thread qn_thread;
/* Errors: QN_ENOMEM, QN_EIO (the system allows no further thread). */
qn_status qn__thread_start(void (*fn)(void *arg), void *arg, qn_thread **out, qn_err *err);
/* Waits for its end and frees it. NULL is allowed. */
void qn__thread_join(qn_thread *t);
/* Is this code running on it? */
bool qn__thread_is_here(const qn_thread *t);

#endif
