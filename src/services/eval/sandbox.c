/* sandbox.c - see sandbox.h. */
#include "services/eval/sandbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

enum { MAX_ALLOWED = 16, MAX_ARGS = 128, WALL_S = 10, PROCESSES = 64 };
static const size_t MEMORY = (size_t)1 << 30, OUTPUT = 256 << 10, DISK = 64 << 20;

struct qn_sandbox {
    char *bwrap;
    char *allowed[MAX_ALLOWED];
    size_t n_allowed;
    char *path;       /* PATH inside */
    bool drop;        /* this process is root: become nobody first, so that the system's own checks count */
    bool count;       /* the system counts processes of a sandbox alone, so that their number can be limited there */
};

/* System folders that programs need; those that a machine lacks are left out (--ro-bind-try). */
static const char *const SYSTEM[] = {"/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/etc/alternatives", "/etc/ld.so.cache",
                                     "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/java-17-openjdk", "/etc/lua", "/etc/perl"};

typedef struct arguments {
    const char *v[MAX_ARGS];
    size_t n;
} arguments;

static void add(arguments *a, const char *s)
{
    if (a->n + 1 < MAX_ARGS)
        a->v[a->n++] = s;
}

static void add3(arguments *a, const char *x, const char *y, const char *z)
{
    add(a, x);
    add(a, y);
    add(a, z);
}

static void add_root(arguments *a, const qn_sandbox *s, const char *disk)
{
    static const char *const fixed[] = {"--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
                                        "--hostname", "box", "--proc", "/proc", "--dev", "/dev", "--unsetenv", "PWD"};
    if (s->drop) {
        static const char *const nobody[] = {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"};
        for (size_t i = 0; i < sizeof nobody / sizeof *nobody; i++)
            add(a, nobody[i]);
    }
    add(a, s->bwrap);
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        add(a, fixed[i]);
    for (size_t i = 0; i < sizeof SYSTEM / sizeof *SYSTEM; i++)
        add3(a, "--ro-bind-try", SYSTEM[i], SYSTEM[i]);
    for (size_t i = 0; i < s->n_allowed; i++)
        add3(a, "--ro-bind", s->allowed[i], s->allowed[i]);
    static const char *const covered[] = {"/proc/sys", "/proc/irq", "/proc/bus", "/proc/sysrq-trigger"};
    for (size_t i = 0; i < sizeof covered / sizeof *covered; i++)
        add3(a, "--ro-bind-try", covered[i], covered[i]);
    static const char *const rooms[] = {"/tmp", "/box", "/dev/shm"};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        add(a, "--size");
        add3(a, disk, "--tmpfs", rooms[i]);
    }
    add3(a, "--setenv", "PATH", s->path ? s->path : "/usr/local/bin:/usr/bin:/bin");
    add3(a, "--setenv", "HOME", "/tmp");
    add3(a, "--setenv", "LANG", "C.UTF-8");
    add(a, "--chdir");
    add(a, "/box");
    add(a, "--remount-ro");
    add(a, "/");
    add(a, "--");
}

qn_status qn__sandbox_run(const qn_sandbox *s, const qn_sandbox_limits *l, const char *name, const char *source, size_t n,
                          const char *command, qn_process_result *out, qn_err *err)
{
    const double wall = l->wall_s > 0 ? l->wall_s : WALL_S;
    const size_t memory = l->memory ? l->memory : MEMORY, disk = l->disk ? l->disk : DISK;
    char disk_text[32], script[1024];
    (void)snprintf(disk_text, sizeof disk_text, "%zu", disk);
    /* Limits that each process inherits; those of all together are watched from outside. */
    const int processes = l->processes ? l->processes : PROCESSES;
    int w = snprintf(script, sizeof script, "ulimit -c 0; ulimit -n 256; ulimit -t %d; %s%zu; ulimit -f %zu; %s%d; "
                     "cat >\"$0\" && exec sh -c \"$1\" </dev/null", l->cpu_s ? l->cpu_s : (int)wall + 1, l->any_space ? ": " : "ulimit -v ",
                     memory / 1024 * 4, disk / 512, s->count ? "ulimit -p " : ": ", processes);
    if (w < 0 || (size_t)w >= sizeof script)
        return qn__fail(err, QN_EINVAL, "sandbox", "limits are out of range");
    arguments a = {0};
    add_root(&a, s, disk_text);
    add3(&a, "/bin/sh", "-c", script);
    add(&a, name);
    add(&a, command);
    const qn_process_options o = {.argv = a.v, .input = source, .n_input = n, .max_output = l->output ? l->output : OUTPUT,
                                  .max_s = wall, .max_processes = processes, .max_memory = memory,
                                  .keep_on = l->keep_on, .arg = l->arg};
    return qn__process_run(&o, out, err);
}

bool qn__sandbox_allow(qn_sandbox *s, const char *program)
{
    char *found = qn__process_find(program), *real = found ? realpath(found, NULL) : NULL;
    qn_free(found);
    if (!real)
        return false;
    char *bin = strrchr(real, '/');
    *bin = 0;
    char *top = strrchr(real, '/');
    bool visible = !s->drop || qn__readable_by_all(real);
    bool system = strncmp(real, "/usr", 4) == 0 || strncmp(real, "/bin", 4) == 0, ok = true;
    if (!system && visible && top && top != real && s->n_allowed < MAX_ALLOWED) {
        qn_buf path = {0};
        qn__buf_printf(&path, "%s:%s", real, s->path ? s->path : "/usr/local/bin:/usr/bin:/bin");
        *top = 0;
        char *copy = qn__strndup(real, strlen(real)), *p = qn__buf_take(&path, NULL);
        ok = copy && p;
        if (ok) {
            s->allowed[s->n_allowed++] = copy;
            qn_free(s->path);
            s->path = p;
        } else {
            qn_free(copy);
            qn_free(p);
        }
    }
    free(real);
    return ok && visible;
}

void qn__sandbox_close(qn_sandbox *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_allowed; i++)
        qn_free(s->allowed[i]);
    qn_free(s->bwrap);
    qn_free(s->path);
    qn_free(s);
}

/* Does a small program run inside? */
static qn_status probe(const qn_sandbox *s, bool *works, char why[200], qn_err *err)
{
    qn_process_result r = {0};
    qn_status st = qn__sandbox_run(s, &(qn_sandbox_limits){.processes = 8}, "probe", "sh -c 'echo inside'\n", 21, "sh ./probe; true", &r, err);
    if (st)
        return st;
    *works = r.end == QN_PROCESS_EXITED && r.code == 0 && r.out.n == 7;
    (void)snprintf(why, 200, "%.*s", (int)strcspn(r.err.data ? r.err.data : "", "\n"), r.err.data ? r.err.data : "");
    qn__process_result_free(&r);
    return QN_OK;
}

qn_status qn__sandbox_open(qn_sandbox **out, qn_err *err)
{
    qn_sandbox *s = qn__calloc(1, sizeof *s);
    if (!s)
        return qn__fail_mem(err, "sandbox");
    qn_status st = QN_OK;
    bool works = false;
    char why[200] = "";
    s->count = true;
    s->drop = qn__is_root();
    if (!(s->bwrap = qn__process_find("bwrap")))
        st = qn__fail(err, QN_EUNSUPPORTED, "sandbox", "bubblewrap (bwrap) is not installed; code from a model is run in it only: "
                                                       "apt-get install bubblewrap");
    if (!st)
        st = probe(s, &works, why, err);
    if (!st && !works) { /* before Linux 5.14 a user's other processes count, too */
        s->count = false;
        st = probe(s, &works, why, err);
    }
    if (!st && !works)
        st = qn__fail(err, QN_EUNSUPPORTED, "sandbox", "bubblewrap cannot make a container here (%s); user namespaces must be "
                      "allowed", why);
    if (st)
        qn__sandbox_close(s);
    else
        *out = s;
    return st;
}
