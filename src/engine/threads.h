/* threads.h - how many threads an engine is given when nobody says. */
#ifndef QN_ENGINE_THREADS_H
#define QN_ENGINE_THREADS_H

#include "base/cpu.h"
#include "base/topology.h"

/* How fast threads on these processors compute and read memory, in any units; false: it cannot be told. */
typedef struct qn_rates {
    double compute, memory;
    bool disturbed; /* something else ran: good enough for now, not to be kept */
} qn_rates;
typedef bool (*qn_rate_threads)(void *arg, const qn_cpus *on, qn_rates *out);

/* The number of threads for a machine: one for each fast core; slow cores and siblings join if `rate`, asked at most
 * three times, says that they help. Never more than the control group grants. */
int qn__threads_choose(const qn_topology *t, qn_rate_threads rate, void *arg);

/* What this machine was measured to be best given; what is measured is kept in `file` (NULL: nowhere), a line for each
 * machine that shares it. A file that cannot be read, or makes no sense, counts as none. */
int qn__threads_remembered(const qn_topology *t, const char *file, qn_rate_threads rate, void *arg);

/* The most that are of use: a processor each, as far as the control group grants them. */
int qn__threads_most(const qn_topology *t);

/* qn__threads_remembered for this machine, its own measurement (at most 0.1 s, once) and $XDG_CACHE_HOME/quern/threads.
 */
int qn__threads_default(qn_cpu level);

/* What an engine's options say about threads: *n_threads is given a number if it is 0; `on` has none without a list.
 * Errors: QN_EINVAL. */
qn_status qn__threads_fill(qn_cpu level, const char *cpus, int32_t *n_threads, qn_cpus *on, qn_err *err);

#endif
