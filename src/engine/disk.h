/* disk.h - the disk tier: pages in files, found by name, read with suspicion, written by a thread of its own.
 *
 *   DIR/<root name>/<name of the last page>-<first>.kv       a run of pages (pagefile.h); a root: a model, KV type, level, build
 *
 * Any number of engines and processes may use one DIR: files appear whole or not at all, are never changed, and may go at any
 * time. All of DIR has one budget; the files that were unused for longest go first, the later part of a prefix before the
 * earlier. A file that is damaged is removed and what was in it computed again. When writing fails (a full disk), that is
 * noted once and nothing else suffers; it is tried again half a minute later.
 *
 * Everything is for the engine's thread; only a job is the writer's from put to reap. */
#ifndef QN_ENGINE_DISK_H
#define QN_ENGINE_DISK_H

#include "engine/pagefile.h"

typedef struct qn_disk qn_disk;

/* A run to be written, and the files of what comes before it, which are in use as well. n 0: only those. */
typedef struct qn_disk_job {
    struct qn_disk_job *next;
    qn_page_run run;                         /* names and which have states; sums and root are filled in */
    int32_t *tokens;                    /* (first + n) * 64 */
    const unsigned char *pages[QN_RUN]; /* they and the states stay as they are until the job is reaped */
    const float *states[QN_RUN];
    char (*touch)[QN_PAGEFILE_NAME];
    size_t n_touch, cap_touch;
    void *nodes[QN_RUN], *snaps[QN_RUN]; /* the owner's */
    bool written;
} qn_disk_job;

/* max_bytes: of all files in `dir`. Errors: QN_EIO, QN_ENOMEM. */
qn_status qn__disk_open(const char *dir, uint64_t max_bytes, const qn_root *root, qn_disk **out, qn_err *err);
/* Ends the writer after the job it is at; the others can be reaped, unwritten. */
void qn__disk_stop(qn_disk *d);
/* Jobs that were not reaped are freed. NULL is allowed. */
void qn__disk_close(qn_disk *d);

/* Is that page there (as far as is known)? *state: with its state. */
bool qn__disk_find(const qn_disk *d, qn_name name, bool *state);
/* Look whether other processes have left something new. */
void qn__disk_refresh(qn_disk *d);
/* Read page `first` of the prefix `tokens` and those behind it, whose names are names[0..n), into pages[0..n): how many are
 * good. */
size_t qn__disk_read(qn_disk *d, const int32_t *tokens, uint32_t first, const qn_name *names, size_t n,
                     unsigned char *const *pages);
/* The state behind page `at`. */
bool qn__disk_read_state(qn_disk *d, const int32_t *tokens, uint32_t at, qn_name name, float *state);
/* Bytes a second of reading; 0: not known yet. */
double qn__disk_rate(const qn_disk *d);
/* It was slower than computing would be and was not tried: little by little that is forgotten. */
void qn__disk_forget_rate(qn_disk *d);

/* A job with nothing in it. NULL: no memory. */
qn_disk_job *qn__disk_job(void);
void qn__disk_job_free(qn_disk_job *j);
/* The file of that page is in use. */
void qn__disk_job_touch(const qn_disk *d, qn_disk_job *j, qn_name name);
/* Takes the job. */
void qn__disk_put(qn_disk *d, qn_disk_job *j);
/* A job that is through, or NULL; the caller frees it. wait: until there is one or qn__now() is `until`. */
qn_disk_job *qn__disk_reap(qn_disk *d, bool wait, double until);
/* Does the writer accept anything at the moment? */
bool qn__disk_writable(qn_disk *d);

typedef struct qn_disk_stats {
    uint64_t pages, bytes; /* of this root, as far as known; of all of DIR */
    uint64_t written, failed, bad; /* runs; bad: files removed */
    char notice[256];      /* why writing failed first; "" */
    char bad_notice[256];  /* which file was bad last, and why; "" */
} qn_disk_stats;
void qn__disk_get_stats(qn_disk *d, qn_disk_stats *out);

#endif
