/* dir.c - see dir.h. */
#include "base/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

struct qn_dir {
    int fd;
    char *path; /* for messages */
};

static int64_t nanoseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t qn__wall_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return nanoseconds(t);
}

/* Takes fd. */
static qn_status adopt(int fd, const char *path, qn_dir **out, qn_err *err)
{
    struct stat st;
    qn_status s = QN_OK;
    if (fstat(fd, &st) != 0)
        s = qn__fail(err, QN_EIO, path, "cannot look at the directory: %s", strerror(errno));
    else if (st.st_uid != geteuid())
        s = qn__fail(err, QN_EIO, path, "the directory belongs to another user; name one of your own");
    else if (st.st_mode & (S_IWGRP | S_IWOTH))
        s = qn__fail(err, QN_EIO, path, "others may write to the directory; use chmod go-w or name another");
    qn_dir *d = s ? NULL : qn__calloc(1, sizeof *d);
    if (!s && (!d || !(d->path = qn__strndup(path, strlen(path)))))
        s = qn__fail_mem(err, path);
    if (s) {
        qn_free(d);
        (void)close(fd);
        return s;
    }
    d->fd = fd;
    *out = d;
    return QN_OK;
}

/* Every directory of the path that is missing. */
static qn_status make_path(const char *path, qn_err *err)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n >= sizeof part)
        return qn__fail(err, QN_EIO, path, "the path is too long");
    for (size_t i = 1; i <= n; i++) {
        if (i < n && path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return qn__fail(err, QN_EIO, part, "cannot make the directory: %s", strerror(errno));
    }
    return QN_OK;
}

qn_status qn__dir_open(const char *path, bool create, qn_dir **out, qn_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && create) {
        qn_status s = make_path(path, err);
        if (s)
            return s;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (fd < 0)
        return qn__fail(err, QN_EIO, path, "cannot open the directory: %s", strerror(errno));
    return adopt(fd, path, out, err);
}

bool qn__dir_missing(const char *path)
{
    struct stat st;
    return stat(path, &st) != 0 && errno == ENOENT;
}

static bool is_name(const char *name)
{
    return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

qn_status qn__dir_enter(const qn_dir *d, const char *name, bool create, qn_dir **out, qn_err *err)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%.3000s/%.255s", d->path, name);
    if (!is_name(name))
        return qn__fail(err, QN_EINVAL, path, "not the name of a directory");
    if (create && mkdirat(d->fd, name, 0700) != 0 && errno != EEXIST)
        return qn__fail(err, QN_EIO, path, "cannot make the directory: %s", strerror(errno));
    int fd = openat(d->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return qn__fail(err, QN_EIO, path, "cannot open the directory: %s", strerror(errno));
    return adopt(fd, path, out, err);
}

void qn__dir_close(qn_dir *d)
{
    if (!d)
        return;
    (void)close(d->fd);
    qn_free(d->path);
    qn_free(d);
}

const char *qn__dir_path(const qn_dir *d)
{
    return d->path;
}

qn_status qn__dir_list(const qn_dir *d, bool hidden, bool (*see)(void *arg, const qn_dir_entry *e), void *arg, qn_err *err)
{
    int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* its own position */
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (!list) {
        int e = errno;
        if (fd >= 0)
            (void)close(fd);
        return qn__fail(err, QN_EIO, d->path, "cannot list the directory: %s", strerror(e));
    }
    for (const struct dirent *e; (e = readdir(list));) {
        struct stat st;
        if ((e->d_name[0] == '.' && !hidden) || !is_name(e->d_name) || fstatat(d->fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
            !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
            continue;
        const qn_dir_entry x = {.name = e->d_name, .is_dir = S_ISDIR(st.st_mode), .bytes = (uint64_t)st.st_size,
                                .used = nanoseconds(st.st_mtim)};
        if (!see(arg, &x))
            break;
    }
    (void)closedir(list);
    return QN_OK;
}

int64_t qn__dir_stamp(const qn_dir *d)
{
    struct stat st;
    return fstat(d->fd, &st) == 0 ? nanoseconds(st.st_mtim) : 0;
}

bool qn__dir_read(const qn_dir *d, const char *name, qn_file *out)
{
    struct stat st;
    int fd = is_name(name) ? openat(d->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
    if (fd < 0)
        return false;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        (void)close(fd);
        return false;
    }
    *out = (qn_file){.fd = fd, .size = (uint64_t)st.st_size};
    return true;
}

bool qn__file_get(const qn_file *f, uint64_t at, void *p, size_t n)
{
    if (at > f->size || n > f->size - at)
        return false;
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(f->fd, (char *)p + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

void qn__file_close(qn_file *f)
{
    (void)close(f->fd);
    f->fd = -1;
}

/* False with errno. */
static bool write_pieces(int fd, const qn_piece *pieces, int n)
{
    for (int i = 0; i < n; i++)
        for (size_t done = 0; done < pieces[i].n;) {
            ssize_t put = write(fd, (const char *)pieces[i].p + done, pieces[i].n - done);
            if (put < 0 && errno == EINTR)
                continue;
            if (put <= 0) {
                errno = put == 0 ? ENOSPC : errno;
                return false;
            }
            done += (size_t)put;
        }
    return true;
}

qn_status qn__dir_write(const qn_dir *d, const char *name, const qn_piece *pieces, int n, qn_err *err)
{
    char temp[80];
    int fd = -1;
    for (int tries = 0; fd < 0 && tries < 10 && is_name(name); tries++) { /* another thread or process may have the same name */
        (void)snprintf(temp, sizeof temp, ".tmp-%lx-%llx", (unsigned long)(uintptr_t)&temp ^ (unsigned long)getpid(),
                       (unsigned long long)qn__wall_now());
        fd = openat(d->fd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    if (fd < 0)
        return qn__fail(err, QN_EIO, d->path, "cannot make a file: %s", strerror(errno));
    bool ok = write_pieces(fd, pieces, n);
    int e = errno;
    if (close(fd) != 0 && ok) {
        ok = false;
        e = errno;
    }
    if (ok && renameat(d->fd, temp, d->fd, name) != 0) {
        ok = false;
        e = errno;
    }
    if (ok)
        return QN_OK;
    (void)unlinkat(d->fd, temp, 0);
    return qn__fail(err, QN_EIO, d->path, "cannot write a file: %s", strerror(e));
}

bool qn__dir_remove(const qn_dir *d, const char *name)
{
    return is_name(name) && unlinkat(d->fd, name, 0) == 0;
}

bool qn__dir_remove_dir(const qn_dir *d, const char *name)
{
    return is_name(name) && unlinkat(d->fd, name, AT_REMOVEDIR) == 0;
}

void qn__dir_touch(const qn_dir *d, const char *name, int64_t when)
{
    struct timespec t = {.tv_sec = (time_t)(when / 1000000000), .tv_nsec = (long)(when % 1000000000)};
    const struct timespec both[2] = {t, t};
    if (is_name(name))
        (void)utimensat(d->fd, name, both, AT_SYMLINK_NOFOLLOW);
}
