/* process.c - see process.h.
 *
 *   child (its own process group) <- stdin, stdout, stderr: pipes, watched by one poll loop
 *     `- namespace's first process, if the child makes one (found as the child's child in another PID namespace)
 *          `- everything that it started: counted and weighed through /proc
 */
#include "base/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

extern char **environ;

enum { OUTPUT_DEFAULT = 1 << 20, TICK_MS = 10, IDLE_MS = 100 };

typedef struct running {
    const qn_process_options *o;
    pid_t pid;
    int in, out, err; /* our ends; -1 when closed */
    size_t written;
    ino_t inner; /* the namespace's inode once known, and its first process */
    pid_t first;
    qn_process_result r;
} running;

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

/* ---- the inhabitants of the child's PID namespace ---- */

static ino_t namespace_of(const char *pid)
{
    char path[64];
    struct stat st;
    (void)snprintf(path, sizeof path, "/proc/%.16s/ns/pid", pid);
    return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* Parent and resident pages from /proc/PID/stat; the name in it may hold anything but is followed by the last ')'. False: it is
 * gone, or dead and only not yet waited for. */
static bool read_stat(const char *pid, pid_t *parent, size_t *pages)
{
    char path[64], text[1024];
    (void)snprintf(path, sizeof path, "/proc/%.16s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    (void)close(fd);
    if (n <= 0)
        return false;
    text[n] = 0;
    const char *p = strrchr(text, ')');
    if (!p || strlen(p) < 4 || p[2] == 'Z' || p[2] == 'X')
        return false;
    p += 4; /* ") S " */
    *parent = (pid_t)strtol(p, NULL, 10);
    for (int field = 4; field < 24 && p; field++) {
        p = strchr(p, ' ');
        p = p ? p + 1 : NULL;
    }
    *pages = p ? (size_t)strtoull(p, NULL, 10) : 0;
    return true;
}

static bool is_number(const char *s)
{
    return *s && s[strspn(s, "0123456789")] == 0;
}

/* Count and weigh; find the namespace first. */
static void look(running *p, int *n, size_t *bytes)
{
    *n = 0;
    *bytes = 0;
    DIR *d = opendir("/proc");
    if (!d)
        return;
    ino_t ours = namespace_of("self");
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (const struct dirent *e; (e = readdir(d));) {
        pid_t parent;
        size_t pages;
        if (!is_number(e->d_name))
            continue;
        if (!p->inner) {
            ino_t there;
            if (read_stat(e->d_name, &parent, &pages) && parent == p->pid && (there = namespace_of(e->d_name)) && there != ours) {
                p->inner = there;
                p->first = (pid_t)strtol(e->d_name, NULL, 10);
            }
        }
        if (p->inner && namespace_of(e->d_name) == p->inner && read_stat(e->d_name, &parent, &pages)) {
            ++*n;
            *bytes += pages * page;
        }
    }
    (void)closedir(d);
}

/* ---- the loop ---- */

/* Take what there is; false when the limit was passed. */
static bool take(int *fd, qn_buf *b, size_t max)
{
    char piece[16384];
    for (;;) {
        ssize_t n = read(*fd, piece, sizeof piece);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? true : (close_fd(fd), true);
        if (n == 0)
            return close_fd(fd), true;
        size_t room = max - b->n;
        qn__buf_put(b, piece, (size_t)n < room ? (size_t)n : room);
        if ((size_t)n > room)
            return false;
    }
}

static void give(running *p)
{
    while (p->written < p->o->n_input) {
        ssize_t n = write(p->in, p->o->input + p->written, p->o->n_input - p->written);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            break; /* it does not want it */
        p->written += (size_t)n;
    }
    close_fd(&p->in);
}

static bool reap(running *p, bool wait)
{
    int status;
    pid_t got;
    do
        got = waitpid(p->pid, &status, wait ? 0 : WNOHANG);
    while (got < 0 && errno == EINTR);
    if (got != p->pid)
        return false;
    if (WIFEXITED(status)) {
        p->r.end = QN_PROCESS_EXITED;
        p->r.code = WEXITSTATUS(status);
    } else {
        p->r.end = QN_PROCESS_KILLED;
        p->r.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    }
    return true;
}

/* Which limit was passed, if any. */
static bool passed(running *p, double start, qn_process_end *why)
{
    const qn_process_options *o = p->o;
    if (o->max_s > 0 && qn__now() - start > o->max_s)
        return *why = QN_PROCESS_TIME, true;
    if (o->keep_on && !o->keep_on(o->arg))
        return *why = QN_PROCESS_CANCELLED, true;
    if (o->max_processes > 0 || o->max_memory > 0) {
        int n;
        size_t bytes;
        look(p, &n, &bytes);
        if (o->max_processes > 0 && n > o->max_processes)
            return *why = QN_PROCESS_PROCESSES, true;
        if (o->max_memory > 0 && bytes > o->max_memory)
            return *why = QN_PROCESS_MEMORY, true;
    }
    return false;
}

static void follow(running *p)
{
    const size_t max = p->o->max_output ? p->o->max_output : OUTPUT_DEFAULT;
    const bool watch = p->o->max_processes > 0 || p->o->max_memory > 0;
    const double start = qn__now();
    qn_process_end why = QN_PROCESS_EXITED;
    bool stop = false, gone = false;
    while (!stop && !gone) {
        struct pollfd f[3] = {{.fd = p->in, .events = POLLOUT}, {.fd = p->out, .events = POLLIN}, {.fd = p->err, .events = POLLIN}};
        (void)poll(f, 3, watch || (p->out < 0 && p->err < 0) ? TICK_MS : IDLE_MS);
        if (p->in >= 0 && f[0].revents)
            give(p);
        if ((p->out >= 0 && f[1].revents && !take(&p->out, &p->r.out, max)) ||
            (p->err >= 0 && f[2].revents && !take(&p->err, &p->r.err, max))) {
            why = QN_PROCESS_OUTPUT;
            stop = true;
        }
        gone = reap(p, false);
        stop = stop || (!gone && passed(p, start, &why));
    }
    /* What is left of it: its group, and through the death of a namespace's first process all in it. (Its number cannot have
     * gone to another process: if it ended before, so did the child, which waits for it.) */
    if (!gone && p->first)
        (void)kill(p->first, SIGKILL);
    (void)kill(-p->pid, SIGKILL);
    if (!gone)
        (void)reap(p, true);
    for (int i = 0, n = watch; i < 200 && n > 0; i++) { /* dying takes the system a moment */
        size_t bytes;
        look(p, &n, &bytes);
        if (n > 0 && p->inner)
            (void)poll(NULL, 0, TICK_MS);
        else
            n = 0;
    }
    if (stop)
        p->r.end = why;
    else if ((p->out >= 0 && !take(&p->out, &p->r.out, max)) || (p->err >= 0 && !take(&p->err, &p->r.err, max)))
        p->r.end = QN_PROCESS_OUTPUT; /* the last of what it wrote */
    p->r.seconds = qn__now() - start;
}

static qn_status start(running *p, const int child[3], qn_err *err)
{
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t at;
    sigset_t none, all;
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    (void)posix_spawn_file_actions_init(&fa);
    (void)posix_spawnattr_init(&at);
    for (int i = 0; i < 3; i++)
        (void)posix_spawn_file_actions_adddup2(&fa, child[i], i);
    if (p->o->cwd)
        (void)posix_spawn_file_actions_addchdir_np(&fa, p->o->cwd);
    (void)posix_spawnattr_setflags(&at, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    (void)posix_spawnattr_setpgroup(&at, 0);
    (void)posix_spawnattr_setsigmask(&at, &none);
    (void)posix_spawnattr_setsigdefault(&at, &all);
    int rc = posix_spawnp(&p->pid, p->o->argv[0], &fa, &at, (char *const *)(uintptr_t)p->o->argv, environ);
    (void)posix_spawnattr_destroy(&at);
    (void)posix_spawn_file_actions_destroy(&fa);
    return rc ? qn__fail(err, QN_EIO, p->o->argv[0], "cannot be started: %s", strerror(rc)) : QN_OK;
}

qn_status qn__process_run(const qn_process_options *o, qn_process_result *out, qn_err *err)
{
    running p = {.o = o, .in = -1, .out = -1, .err = -1};
    int in[2] = {-1, -1}, outp[2] = {-1, -1}, errp[2] = {-1, -1};
    qn_status st = QN_OK;
    if (pipe2(in, O_CLOEXEC) || pipe2(outp, O_CLOEXEC) || pipe2(errp, O_CLOEXEC))
        st = qn__fail(err, QN_EIO, o->argv[0], "no pipe to it: %s", strerror(errno));
    if (!st)
        st = start(&p, (const int[3]){in[0], outp[1], errp[1]}, err);
    close_fd(&in[0]);
    close_fd(&outp[1]);
    close_fd(&errp[1]);
    p.in = in[1];
    p.out = outp[0];
    p.err = errp[0];
    if (!st) {
        /* A child that does not read must not end us with SIGPIPE; nor may a slow one make us wait. */
        sigset_t pipe_set, before;
        (void)sigemptyset(&pipe_set);
        (void)sigaddset(&pipe_set, SIGPIPE);
        (void)pthread_sigmask(SIG_BLOCK, &pipe_set, &before);
        for (int i = 0; i < 3; i++)
            (void)fcntl((const int[3]){p.in, p.out, p.err}[i], F_SETFL, O_NONBLOCK);
        follow(&p);
        while (sigtimedwait(&pipe_set, NULL, &(struct timespec){0}) > 0) {
        }
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    close_fd(&p.in);
    close_fd(&p.out);
    close_fd(&p.err);
    if (!st && (p.r.out.failed || p.r.err.failed))
        st = qn__fail_mem(err, o->argv[0]);
    if (st)
        qn__process_result_free(&p.r);
    else
        *out = p.r;
    return st;
}

void qn__process_result_free(qn_process_result *r)
{
    qn__buf_free(&r->out);
    qn__buf_free(&r->err);
    *r = (qn_process_result){0};
}

/* When a process began, in ticks since the machine did; 0: it is not there. */
static unsigned long long began(long pid)
{
    char path[64], text[1024];
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        (void)close(fd);
    if (n <= 0)
        return 0;
    text[n] = 0;
    const char *p = strrchr(text, ')');
    for (int field = 2; field < 22 && p; field++) {
        p = strchr(p, ' ');
        p = p ? p + 1 : NULL;
    }
    return p ? strtoull(p, NULL, 10) : 0;
}

/* PID.BEGAN.BOOT */
char *qn__process_self(void)
{
    qn_buf b = {0};
    char boot[64] = "";
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, boot, sizeof boot - 1);
    if (fd >= 0)
        (void)close(fd);
    boot[n > 0 ? strcspn(boot, "\n") : 0] = 0;
    qn__buf_printf(&b, "%ld.%llu.%s", (long)getpid(), began((long)getpid()), boot);
    return qn__buf_take(&b, NULL);
}

bool qn__process_lives(const char *name)
{
    char *end;
    long pid = strtol(name, &end, 10);
    if (pid <= 0 || *end != '.')
        return false;
    unsigned long long when = strtoull(end + 1, &end, 10), now = began(pid);
    char *self = qn__process_self(), *boot = self ? strrchr(self, '.') : NULL;
    bool same = *end == '.' && now != 0 && now == when && boot && strcmp(boot, end) == 0;
    qn_free(self);
    return same;
}

bool qn__is_root(void)
{
    return geteuid() == 0;
}

bool qn__readable_by_all(const char *path)
{
    struct stat st;
    char part[4096];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part || *path != '/')
        return false;
    for (size_t i = 1; i <= n; i++) {
        if (i < n && path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (stat(part, &st) || (st.st_mode & 05) != 05)
            return false;
    }
    return true;
}

char *qn__process_find(const char *name)
{
    const char *path = getenv("PATH");
    for (const char *p = path ? path : "/usr/bin:/bin"; *p;) {
        size_t n = strcspn(p, ":");
        qn_buf b = {0};
        qn__buf_put(&b, p, n);
        qn__buf_printf(&b, "/%s", name);
        char *full = qn__buf_take(&b, NULL);
        if (full && n > 0 && access(full, X_OK) == 0)
            return full;
        qn_free(full);
        p += n + (p[n] == ':');
    }
    return NULL;
}
