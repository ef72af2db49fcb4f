/* sandbox.h - code that a model wrote is run where it can hurt nothing.
 *
 * A sandbox is a bubblewrap container: its own user, PID, network, IPC, UTS and cgroup namespaces (no network at all), a root
 * of read-only system folders (/usr, /lib, ...; homes and other data are not there), an empty /tmp and /box in memory of bounded
 * size, no capabilities, no environment but a PATH; and limits on wall and CPU time, memory, processes, file size and output.
 * Where there is no bubblewrap, nothing is run: the error says how to get it. */
#ifndef QN_SERVICES_EVAL_SANDBOX_H
#define QN_SERVICES_EVAL_SANDBOX_H

#include "base/process.h"

typedef struct qn_sandbox_limits {
    double wall_s;      /* 0: 10 */
    int cpu_s;          /* of one process; 0: as wall_s, rounded up */
    size_t memory;      /* resident bytes of all processes; 0: 1 GiB. Address space of each is four times that */
    int processes;      /* 0: 64 */
    size_t output;      /* bytes of stdout and of stderr; 0: 256 KiB */
    size_t disk;        /* bytes of /tmp and of /box, each; 0: 64 MiB */
    bool any_space;     /* address space is not limited (race detectors map terabytes that they do not touch) */
    bool (*keep_on)(void *arg);
    void *arg;
} qn_sandbox_limits;

typedef struct qn_sandbox qn_sandbox;
/* Finds bubblewrap and tries it. Errors: QN_EUNSUPPORTED with what to install or allow. */
qn_status qn__sandbox_open(qn_sandbox **out, qn_err *err);
void qn__sandbox_close(qn_sandbox *s);
/* Write `source` to /box/NAME and run `sh -c command` in /box, with no input. Programs found through PATH outside of the system
 * folders (an interpreter under a home, say) are there too, read-only, when their folder is in `s`'s list. Any thread.
 * Errors: QN_EIO, QN_ENOMEM: of the sandbox; how the program ended is in the result. */
qn_status qn__sandbox_run(const qn_sandbox *s, const qn_sandbox_limits *l, const char *name, const char *source, size_t n,
                          const char *command, qn_process_result *out, qn_err *err);
/* Make the installation that holds `program` (python3, node, ...) visible inside: its folder above bin. False: PATH has none. */
bool qn__sandbox_allow(qn_sandbox *s, const char *program);

#endif
