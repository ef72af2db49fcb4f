/* pool.h - a fixed set of threads that run one parallel region after another.
 *
 * A region is n_items pieces of independent work. Each thread has a share of neighbours, which it takes in ascending
 * order, and then helps the others with theirs, from the end. Which thread runs a piece is not fixed; by DESIGN.md
 * section 5 it cannot matter. Workers spin for a short while between regions (a decoder starts hundreds a millisecond
 * apart) and then sleep. */
#ifndef QN_BASE_POOL_H
#define QN_BASE_POOL_H

#include "base/topology.h"

typedef struct qn_pool qn_pool;

/* n_threads >= 1, the caller's included. Errors: QN_ENOMEM, QN_EIO (no thread could be made). */
qn_status qn__pool_open(int n_threads, qn_pool **out, qn_err *err);
void qn__pool_close(qn_pool *p);
/* Thread i stays on processor ids[i], for i below the number of threads. The caller of qn__pool_run is moved when it runs the
 * next region, and back where it was when it closes the pool. Errors: QN_EINVAL (fewer than threads, or one that this process
 * may not use). */
qn_status qn__pool_pin(qn_pool *p, const qn_cpus *cpus, qn_err *err);
int qn__pool_threads(const qn_pool *p);

/* Run fn(arg, item, thread) for item in [0, n_items); returns when all are done and their writes are visible.
 * thread is in [0, n_threads): index per-thread scratch with it. One region at a time; not reentrant. */
void qn__pool_run(qn_pool *p, int n_items, void (*fn)(void *arg, int item, int thread), void *arg);

#endif
