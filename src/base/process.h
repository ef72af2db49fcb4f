/* process.h - another program: run to its end within limits, its output kept.
 *
 * Owns the child and everything that the child leaves behind in its process group or, when it made one, its process-ID
 * namespace: when the call returns nothing of it runs any more. Uses no shell: arguments go through as they are. */
#ifndef QN_BASE_PROCESS_H
#define QN_BASE_PROCESS_H

#include "base/str.h"

typedef struct qn_process_options {
    const char *const *argv; /* NULL-terminated; argv[0] is looked for in PATH */
    const char *cwd;         /* NULL: this process's */
    const char *input;       /* what it reads; then its end */
    size_t n_input;
    size_t max_output;       /* bytes kept of each of stdout and stderr; a program that writes more is ended; 0: 1 MiB */
    double max_s;            /* wall time; 0: none */
    /* Of all processes of the PID namespace that the child makes (a sandbox): more of them, or more resident memory together,
     * and they are ended. Looked at every few milliseconds, so a little more may be seen for a moment. 0: not looked at. */
    int max_processes;
    size_t max_memory;
    bool (*keep_on)(void *arg); /* asked several times a second; false ends it. NULL: keep on */
    void *arg;
} qn_process_options;

typedef enum qn_process_end {
    QN_PROCESS_EXITED,  /* code */
    QN_PROCESS_KILLED,  /* signal: by itself or by the system */
    QN_PROCESS_TIME, QN_PROCESS_OUTPUT, QN_PROCESS_PROCESSES, QN_PROCESS_MEMORY, /* ended for passing that limit */
    QN_PROCESS_CANCELLED
} qn_process_end;

typedef struct qn_process_result {
    qn_process_end end;
    int code, signal;
    double seconds;
    qn_buf out, err; /* at most max_output bytes */
} qn_process_result;

/* Errors: QN_EIO (it cannot be started: `what` names the program), QN_ENOMEM. *out is filled only on QN_OK; free it. */
qn_status qn__process_run(const qn_process_options *o, qn_process_result *out, qn_err *err);
void qn__process_result_free(qn_process_result *r);
/* A name of this process that no other one on this machine has, before or after it; from qn__alloc, NULL without memory. And is the
 * process of such a name still there? */
char *qn__process_self(void);
bool qn__process_lives(const char *name);
bool qn__is_root(void);
/* May everybody read and pass an absolute path's every folder, and it? */
bool qn__readable_by_all(const char *path);
/* The path of a program that PATH has, or NULL. From qn__alloc. */
char *qn__process_find(const char *name);

#endif
