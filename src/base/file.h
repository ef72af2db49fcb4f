/* file.h - files: read-only maps, whole reads with a bound, atomic writes; and the clock. */
#ifndef QN_BASE_FILE_H
#define QN_BASE_FILE_H

#include <stdio.h>

#include "quern.h"

/* A read-only private map of a regular file. Pages are read when touched: opening a 5 GB file costs nothing. If another
 * process truncates the file while it is mapped, touching the lost part raises SIGBUS, as with every mapped file. */
typedef struct qn_map {
    const unsigned char *data; /* NULL when size is 0 */
    size_t size;
} qn_map;

/* Errors (QN_EIO): missing, a directory, not a regular file, unreadable; the sentence says which and names the path. */
qn_status qn__map_open(const char *path, qn_map *out, qn_err *err);
void qn__map_close(qn_map *m);
/* Tell the kernel that the map will be read whole and soon. */
void qn__map_willneed(const qn_map *m);
/* [p, p+n) of a map was read and is not needed soon: its whole pages leave this process's memory (and come back from
 * the file if touched again). */
void qn__map_done(const void *p, size_t n);

/* Do both paths name one existing file? (Also through links.) */
bool qn__same_file(const char *a, const char *b);

/* Read a whole regular file or pipe, at most `limit` bytes (QN_ELIMIT beyond). The text is terminated; *n excludes it.
 */
qn_status qn__read_file(const char *path, size_t limit, char **out, size_t *n, qn_err *err);
qn_status qn__read_stream(FILE *f, const char *name, size_t limit, char **out, size_t *n, qn_err *err);

/* A file that appears at `path` whole or not at all: written beside it, synced, renamed on commit. */
typedef struct qn_writer qn_writer;
qn_status qn__writer_open(const char *path, qn_writer **out, qn_err *err);
qn_status qn__writer_put(qn_writer *w, const void *p, size_t n, qn_err *err);
uint64_t qn__writer_tell(const qn_writer *w);
/* Commit and free; on failure the old file stays and the new one is gone. */
qn_status qn__writer_commit(qn_writer *w, qn_err *err);
/* Drop what was written. NULL is allowed. */
void qn__writer_abort(qn_writer *w);

/* The user's own folders: $XDG_CACHE_HOME, _DATA_HOME, _STATE_HOME, _CONFIG_HOME, or where the XDG base directory specification has
 * them without. */
typedef enum qn_user_dir { QN_USER_CACHE, QN_USER_DATA, QN_USER_STATE, QN_USER_CONFIG } qn_user_dir;
/* FOLDER/quern/NAME; the folders are made (0700), what NAME names is not. name may be "" (then no slash ends it) and have folders of
 * its own, which are made too. *path from qn__alloc. Errors: QN_EIO (no home, a folder cannot be made), QN_ENOMEM. */
qn_status qn__user_file(qn_user_dir dir, const char *name, char **path, qn_err *err);

/* Seconds of a clock that never goes back. */
double qn__now(void);

#endif
