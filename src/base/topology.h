/* topology.h - which processors this process may use, how they share cores and memory, and in what order threads are
 * best put on them. Read from Linux's /sys and /proc; what is missing or makes no sense there counts as not said: every
 * processor is then a core of its own. Elsewhere there is only a count. */
#ifndef QN_BASE_TOPOLOGY_H
#define QN_BASE_TOPOLOGY_H

#include "quern.h"

enum { QN_MAX_CPUS = 1024 };

/* Numbers of processors, in an order that matters. */
typedef struct qn_cpus {
    int n;
    int16_t id[QN_MAX_CPUS];
} qn_cpus;

/*   fast core 0   fast core 1   slow core        cpu[]: by number
 *   [ 0 ] [ 4 ]   [ 1 ] [ 5 ]   [ 2 ]            4 and 5 are siblings: not the first of their cores */
typedef struct qn_topology {
    int n, n_cores, n_slow, n_nodes; /* processors, cores, of them slow ones (efficiency cores), memory nodes */
    struct {
        int16_t id, node;
        bool first; /* of the processors of its core that may be used */
        bool slow;
    } cpu[QN_MAX_CPUS];
    double quota; /* processors' worth of time that the control group grants; 0: no bound */
    uint64_t key; /* of all this and the processor's name */
} qn_topology;

/* `root` stands before /sys and /proc: "" but in tests. allowed NULL: the calling thread's affinity. */
void qn__topology_read(const char *root, const qn_cpus *allowed, qn_topology *out);

/* Fast cores one by one, then slow cores, then siblings of fast ones, then the rest: a prefix of it is what n threads
 * are put on. stages[0..2]: how many are fast cores; those and slow ones; all. */
void qn__topology_order(const qn_topology *t, qn_cpus *out, int stages[3]);

/* "0-3,8": each once. Errors: QN_EINVAL. */
qn_status qn__cpus_parse(const char *text, qn_cpus *out, qn_err *err);

/* Keep the calling thread on these processors; false when the system refuses. *before, unless NULL: where it was. */
bool qn__cpus_pin(const int16_t *ids, int n, qn_cpus *before);

#endif
