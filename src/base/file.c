/* file.c - see file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

qn_status qn__map_open(const char *path, qn_map *out, qn_err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* non-blocking: opening a FIFO must not hang */
    if (fd < 0)
        return qn__fail(err, QN_EIO, path, "cannot open: %s", strerror(errno));
    qn_status s = QN_OK;
    void *p = NULL;
    if (fstat(fd, &st) != 0)
        s = qn__fail(err, QN_EIO, path, "cannot read its size: %s", strerror(errno));
    else if (S_ISDIR(st.st_mode))
        s = qn__fail(err, QN_EIO, path, "is a directory; name a file in it");
    else if (!S_ISREG(st.st_mode))
        s = qn__fail(err, QN_EIO, path, "is not a regular file");
    else if (st.st_size > 0) {
        p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            s = qn__fail(err, QN_EIO, path, "cannot map: %s", strerror(errno));
    }
    (void)close(fd);
    if (s == QN_OK)
        *out = (qn_map){.data = p, .size = (size_t)st.st_size};
    return s;
}

void qn__map_close(qn_map *m)
{
    if (m->data)
        (void)munmap((void *)(uintptr_t)m->data, m->size);
    *m = (qn_map){0};
}

void qn__map_willneed(const qn_map *m)
{
    if (m->data)
        (void)madvise((void *)(uintptr_t)m->data, m->size, MADV_WILLNEED);
}

void qn__map_done(const void *p, size_t n)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = ((uintptr_t)p + page - 1) & ~(page - 1);
    uintptr_t to = ((uintptr_t)p + n) & ~(page - 1);
    if (from < to)
        (void)madvise((void *)from, to - from, MADV_DONTNEED);
}

bool qn__same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

qn_status qn__read_stream(FILE *f, const char *name, size_t limit, char **out, size_t *n, qn_err *err)
{
    char *data = NULL;
    size_t used = 0, cap = 0;
    for (;;) {
        if (!qn__grow((void **)&data, &cap, used + 4097, 1)) {
            free(data);
            return qn__fail_mem(err, name);
        }
        size_t got = fread(data + used, 1, cap - used - 1, f);
        used += got;
        if (used > limit) {
            free(data);
            return qn__fail(err, QN_ELIMIT, name, "is larger than the %zu bytes that are read at most", limit);
        }
        if (got == 0)
            break;
    }
    if (ferror(f)) {
        int e = errno;
        free(data);
        return qn__fail(err, QN_EIO, name, "cannot read: %s", strerror(e));
    }
    data[used] = 0;
    *out = data;
    *n = used;
    return QN_OK;
}

qn_status qn__read_file(const char *path, size_t limit, char **out, size_t *n, qn_err *err)
{
    struct stat st;
    FILE *f = fopen(path, "rbe");
    if (!f)
        return qn__fail(err, QN_EIO, path, "cannot open: %s", strerror(errno));
    qn_status s;
    if (fstat(fileno(f), &st) == 0 && S_ISDIR(st.st_mode))
        s = qn__fail(err, QN_EIO, path, "is a directory; name a file in it");
    else
        s = qn__read_stream(f, path, limit, out, n, err);
    (void)fclose(f);
    return s;
}

struct qn_writer {
    FILE *f;
    uint64_t at;
    char *path, *temp;
};

static void writer_free(qn_writer *w)
{
    free(w->path);
    free(w->temp);
    free(w);
}

qn_status qn__writer_open(const char *path, qn_writer **out, qn_err *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) /* the rename would put a file in a device's place */
        return qn__fail(err, QN_EIO, path,
                        S_ISDIR(st.st_mode) ? "is a directory; name a file in it" : "is not a regular file");
    qn_writer *w = qn__calloc(1, sizeof *w);
    size_t n = strlen(path);
    if (!w || !(w->path = qn__strndup(path, n)) || !(w->temp = qn__alloc(n + 12))) {
        if (w)
            writer_free(w);
        return qn__fail_mem(err, path);
    }
    (void)snprintf(w->temp, n + 12, "%s.tmpXXXXXX", path);
    int fd = mkostemp(w->temp, O_CLOEXEC);
    if (fd < 0 || !(w->f = fdopen(fd, "wb"))) {
        qn_status s = qn__fail(err, QN_EIO, path, "cannot write beside it: %s", strerror(errno));
        if (fd >= 0) {
            (void)close(fd);
            (void)unlink(w->temp);
        }
        writer_free(w);
        return s;
    }
    mode_t mask = umask(0);
    (void)umask(mask);
    (void)fchmod(fd, 0666 & ~mask); /* mkstemp makes 0600; a new file has what the user's umask says */
    *out = w;
    return QN_OK;
}

qn_status qn__writer_put(qn_writer *w, const void *p, size_t n, qn_err *err)
{
    if (n && fwrite(p, 1, n, w->f) != n)
        return qn__fail(err, QN_EIO, w->path, "cannot write: %s", strerror(errno));
    w->at += n;
    return QN_OK;
}

uint64_t qn__writer_tell(const qn_writer *w)
{
    return w->at;
}

qn_status qn__writer_commit(qn_writer *w, qn_err *err)
{
    bool ok = fflush(w->f) == 0 && fsync(fileno(w->f)) == 0;
    int e = errno;
    if (fclose(w->f) != 0 && ok) {
        ok = false;
        e = errno;
    }
    if (ok && rename(w->temp, w->path) != 0) {
        ok = false;
        e = errno;
    }
    qn_status s = QN_OK;
    if (!ok) {
        s = qn__fail(err, QN_EIO, w->path, "cannot write: %s", strerror(e));
        (void)unlink(w->temp);
    }
    writer_free(w);
    return s;
}

void qn__writer_abort(qn_writer *w)
{
    if (!w)
        return;
    (void)fclose(w->f);
    (void)unlink(w->temp);
    writer_free(w);
}

double qn__now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Make every folder of `path` before its last part. */
static qn_status make_folders(char *path, qn_err *err)
{
    for (char *p = path + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        int rc = mkdir(path, 0700), why = errno;
        if (rc && why != EEXIST)
            return qn__fail(err, QN_EIO, path, "cannot make this folder: %s", strerror(why));
        *p = '/';
    }
    return QN_OK;
}

qn_status qn__user_file(qn_user_dir dir, const char *name, char **path, qn_err *err)
{
    static const struct {
        const char *variable, *under_home;
    } dirs[] = {{"XDG_CACHE_HOME", ".cache"}, {"XDG_DATA_HOME", ".local/share"}, {"XDG_STATE_HOME", ".local/state"},
                {"XDG_CONFIG_HOME", ".config"}};
    const char *base = getenv(dirs[dir].variable), *home = getenv("HOME");
    qn_buf b = {0};
    if (base && *base == '/')
        qn__buf_printf(&b, "%s", base);
    else if (home && *home == '/')
        qn__buf_printf(&b, "%s/%s", home, dirs[dir].under_home);
    else
        return qn__fail(err, QN_EIO, dirs[dir].variable, "there is no home folder; set HOME or %s", dirs[dir].variable);
    qn__buf_printf(&b, "/quern/%s", name);
    char *p = qn__buf_take(&b, NULL);
    if (!p)
        return qn__fail_mem(err, "path");
    qn_status st = make_folders(p, err);
    size_t n = strlen(p);
    if (p[n - 1] == '/')
        p[n - 1] = 0;
    if (st)
        qn_free(p);
    else
        *path = p;
    return st;
}
