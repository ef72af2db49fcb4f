/* dir.h - a directory of one's own and the files in it, through handles: what a name leads to cannot be changed on the way.
 *
 * Names are single components. Links are never followed (except in the path that the user gave), what is not a regular file is
 * refused, files are made for their owner alone. A directory that others could write to is refused: what lies in it would be
 * theirs to choose. */
#ifndef QN_BASE_DIR_H
#define QN_BASE_DIR_H

#include "quern.h"

typedef struct qn_dir qn_dir;

/* create: make it (and those above it) when it is missing. Errors: QN_EIO, QN_ENOMEM. */
qn_status qn__dir_open(const char *path, bool create, qn_dir **out, qn_err *err);
/* Nothing has that path. */
bool qn__dir_missing(const char *path);
/* A directory inside it. */
qn_status qn__dir_enter(const qn_dir *d, const char *name, bool create, qn_dir **out, qn_err *err);
/* NULL is allowed. */
void qn__dir_close(qn_dir *d);
const char *qn__dir_path(const qn_dir *d);

typedef struct qn_dir_entry {
    const char *name;
    bool is_dir;
    uint64_t bytes;
    int64_t used; /* when it was written or touched last: nanoseconds of the wall clock */
} qn_dir_entry;
/* Regular files and directories, in no order; not the hidden ones unless asked for. false from `see` ends it. */
qn_status qn__dir_list(const qn_dir *d, bool hidden, bool (*see)(void *arg, const qn_dir_entry *e), void *arg, qn_err *err);
/* Changes when a file comes or goes. */
int64_t qn__dir_stamp(const qn_dir *d);

/* A file opened for reading. */
typedef struct qn_file {
    int fd;
    uint64_t size;
} qn_file;
/* False: it is not there, or is no regular file. */
bool qn__dir_read(const qn_dir *d, const char *name, qn_file *out);
/* False: an error, or the file is shorter. */
bool qn__file_get(const qn_file *f, uint64_t at, void *p, size_t n);
void qn__file_close(qn_file *f);

typedef struct qn_piece {
    const void *p;
    size_t n;
} qn_piece;
/* A file of these pieces appears under the name whole or not at all, in place of another. It is not synced: after a power
 * failure it may be damaged, so its contents need a checksum. Any thread. Errors: QN_EIO. */
qn_status qn__dir_write(const qn_dir *d, const char *name, const qn_piece *pieces, int n, qn_err *err);
bool qn__dir_remove(const qn_dir *d, const char *name);
/* Remove a directory in it, if that is empty. */
bool qn__dir_remove_dir(const qn_dir *d, const char *name);
/* The file was used at that time. */
void qn__dir_touch(const qn_dir *d, const char *name, int64_t when);
/* Nanoseconds of the wall clock. */
int64_t qn__wall_now(void);

#endif
