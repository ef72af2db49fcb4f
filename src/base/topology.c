/* topology.c - see topology.h. */
#include "base/topology.h"

#include <ctype.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

enum { TEXT = 1 << 22, PATH = 768 };

/* ---- lists ---- */

static bool number(const char **p, int most, int *out)
{
    long v = 0;
    if (!isdigit((unsigned char)**p))
        return false;
    for (; isdigit((unsigned char)**p); (*p)++)
        if ((v = v * 10 + (**p - '0')) > most)
            return false;
    *out = (int)v;
    return true;
}

/* The next range of a list; *p then stands at its end. */
static bool range(const char **p, int *from, int *to)
{
    if (!number(p, QN_MAX_CPUS - 1, from))
        return false;
    *to = *from;
    if (**p == '-') {
        (*p)++;
        if (!number(p, QN_MAX_CPUS - 1, to))
            return false;
    }
    return *to >= *from;
}

qn_status qn__cpus_parse(const char *text, qn_cpus *out, qn_err *err)
{
    bool seen[QN_MAX_CPUS] = {false};
    qn_cpus c = {0};
    for (const char *p = text;; p++) {
        int from, to;
        if (!range(&p, &from, &to) || (*p && *p != ','))
            return qn__fail(err, QN_EINVAL, "cpus", "\"%s\" is not a list of processors as in 0-3,8", text);
        for (; from <= to; from++) {
            if (seen[from])
                return qn__fail(err, QN_EINVAL, "cpus", "\"%s\" names processor %d twice", text, from);
            seen[from] = true;
            c.id[c.n++] = (int16_t)from;
        }
        if (!*p)
            break;
    }
    *out = c;
    return QN_OK;
}

/* ---- files ---- */

/* A file below root as text; NULL when there is none. */
static char *text_of(const char *root, const char *path)
{
    char at[PATH], *text;
    size_t n;
    if (snprintf(at, sizeof at, "%s%s", root, path) >= (int)sizeof at)
        return NULL;
    return qn__read_file(at, TEXT, &text, &n, NULL) == QN_OK ? text : NULL;
}

/* Marks the processors of a list file; false when it is missing or no list. */
static bool list_of(const char *root, const char *path, bool *has)
{
    char *text = text_of(root, path);
    bool ok = text != NULL;
    memset(has, 0, QN_MAX_CPUS * sizeof *has);
    for (const char *p = text; ok && *p && *p != '\n'; p += *p == ',') {
        int from, to;
        ok = range(&p, &from, &to) && (*p == ',' || *p == '\n' || !*p);
        for (; ok && from <= to; from++)
            has[from] = true;
    }
    qn_free(text);
    return ok;
}

static long number_of(const char *root, const char *path)
{
    char *text = text_of(root, path);
    int v = 0;
    const char *p = text;
    bool ok = p && number(&p, INT_MAX / 16, &v);
    qn_free(text);
    return ok ? v : 0;
}

/* ---- processors ---- */

static void read_siblings(const char *root, qn_topology *t)
{
    bool has[QN_MAX_CPUS];
    for (int i = 0; i < t->n; i++) {
        char path[128];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", t->cpu[i].id);
        t->cpu[i].first = true;
        if (!list_of(root, path, has) || !has[t->cpu[i].id]) /* its own list does not hold it: nonsense */
            continue;
        for (int j = 0; j < i; j++)
            t->cpu[i].first = t->cpu[i].first && !has[t->cpu[j].id];
    }
}

/* Slow: what Linux calls the atoms of a hybrid processor; else those far below the greatest capacity or clock. */
static void read_speeds(const char *root, qn_topology *t)
{
    static const char *const files[] = {"/sys/devices/system/cpu/cpu%d/cpu_capacity",
                                        "/sys/devices/system/cpu/cpu%d/cpufreq/cpuinfo_max_freq"};
    bool atom[QN_MAX_CPUS];
    if (list_of(root, "/sys/devices/cpu_atom/cpus", atom)) {
        int n = 0;
        for (int i = 0; i < t->n; i++)
            n += t->cpu[i].slow = atom[t->cpu[i].id];
        for (int i = 0; i < t->n && n == t->n; i++) /* nothing but atoms: none is slow beside another */
            t->cpu[i].slow = false;
        return;
    }
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        long speed[QN_MAX_CPUS], most = 0;
        bool known = true;
        for (int i = 0; i < t->n && known; i++) {
            char path[128];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(path, sizeof path, files[f], t->cpu[i].id);
#pragma GCC diagnostic pop
            speed[i] = number_of(root, path);
            most = speed[i] > most ? speed[i] : most;
            known = speed[i] > 0;
        }
        for (int i = 0; i < t->n && known; i++)
            t->cpu[i].slow = speed[i] * 4 < most * 3;
        if (known)
            return;
    }
}

static void read_nodes(const char *root, qn_topology *t)
{
    bool has[QN_MAX_CPUS], node[QN_MAX_CPUS];
    t->n_nodes = 0;
    if (list_of(root, "/sys/devices/system/node/online", node))
        for (int k = 0; k < QN_MAX_CPUS; k++) {
            char path[128];
            bool used = false;
            snprintf(path, sizeof path, "/sys/devices/system/node/node%d/cpulist", k);
            if (!node[k] || !list_of(root, path, has))
                continue;
            for (int i = 0; i < t->n; i++)
                if (has[t->cpu[i].id]) {
                    t->cpu[i].node = (int16_t)k;
                    used = true;
                }
            t->n_nodes += used;
        }
    t->n_nodes = t->n_nodes > 0 ? t->n_nodes : 1;
}

/* ---- the control group ---- */

static void least(double *quota, double have)
{
    if (have > 0 && (*quota == 0 || have < *quota))
        *quota = have;
}

/* "150000 100000": one and a half processors; "max 100000": no bound. */
static double quota_v2(const char *root, const char *folder)
{
    char path[PATH];
    int time, period;
    if (snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", folder) >= (int)sizeof path)
        return 0;
    char *text = text_of(root, path);
    const char *p = text;
    double q = 0;
    if (p && number(&p, INT_MAX / 16, &time) && *p++ == ' ' && number(&p, INT_MAX / 16, &period) && period > 0)
        q = (double)time / period;
    qn_free(text);
    return q;
}

static double quota_v1(const char *root, const char *controller, const char *folder)
{
    char path[PATH], file[PATH + 32];
    if (snprintf(path, sizeof path, "/sys/fs/cgroup/%s%s", controller, folder) >= (int)sizeof path)
        return 0;
    snprintf(file, sizeof file, "%s/cpu.cfs_quota_us", path);
    long time = number_of(root, file);
    snprintf(file, sizeof file, "%s/cpu.cfs_period_us", path);
    long period = number_of(root, file);
    return period > 0 ? (double)time / (double)period : 0;
}

/* A group and all above it bound what it gets. */
static void walk(const char *root, const char *controller, char *folder, double *quota)
{
    if (strstr(folder, "..")) /* outside of what this process is shown */
        *folder = 0;
    for (;;) {
        size_t n = strlen(folder);
        while (n > 0 && folder[n - 1] == '/')
            folder[--n] = 0;
        least(quota, controller ? quota_v1(root, controller, folder) : quota_v2(root, folder));
        char *slash = strrchr(folder, '/');
        if (!slash)
            return;
        *slash = 0;
    }
}

/* Lines "0::/user/x" (version 2) and "4:cpu,cpuacct:/docker/x" (version 1). */
static double read_quota(const char *root)
{
    char *text = text_of(root, "/proc/self/cgroup"), *rest = text;
    double quota = 0;
    for (char *line; (line = strsep(&rest, "\n"));) {
        char *controllers = strchr(line, ':'), *folder = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!folder)
            continue;
        *controllers++ = *folder++ = 0;
        if (!*controllers)
            walk(root, NULL, folder, &quota);
        for (char *c; (c = strsep(&controllers, ","));)
            if (strcmp(c, "cpu") == 0)
                walk(root, "cpu", folder, &quota);
    }
    qn_free(text);
    return quota;
}

/* ---- all of it ---- */

static uint64_t hash(uint64_t h, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const unsigned char *)p)[i]) * 0x100000001B3u;
    return h;
}

/* The lines of /proc/cpuinfo's first processor that name it. */
static uint64_t hash_name(const char *root, uint64_t h)
{
    static const char *const keys[] = {"model name", "CPU implementer", "CPU part", "Model"};
    char *text = text_of(root, "/proc/cpuinfo"), *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) && *line;)
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            if (strncmp(line, keys[k], strlen(keys[k])) == 0)
                h = hash(h, line, strlen(line));
    qn_free(text);
    return h;
}

static void allowed_now(qn_cpus *out)
{
    out->n = 0;
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        for (int i = 0; i < QN_MAX_CPUS && i < CPU_SETSIZE; i++)
            if (CPU_ISSET(i, &set))
                out->id[out->n++] = (int16_t)i;
#endif
    for (int i = 0, n = out->n ? 0 : qn__cpu_count(); i < n && i < QN_MAX_CPUS; i++)
        out->id[out->n++] = (int16_t)i;
}

void qn__topology_read(const char *root, const qn_cpus *allowed, qn_topology *out)
{
    qn_cpus now;
    if (!allowed) {
        allowed_now(&now);
        allowed = &now;
    }
    memset(out, 0, sizeof *out);
    out->n = allowed->n;
    for (int i = 0; i < out->n; i++) {
        int at = i;
        for (; at > 0 && out->cpu[at - 1].id > allowed->id[i]; at--)
            out->cpu[at].id = out->cpu[at - 1].id;
        out->cpu[at].id = allowed->id[i];
    }
    read_siblings(root, out);
    read_speeds(root, out);
    read_nodes(root, out);
    out->quota = read_quota(root);
    out->key = hash_name(root, 0xCBF29CE484222325u);
    for (int i = 0; i < out->n; i++) {
        int16_t v[4] = {out->cpu[i].id, out->cpu[i].node, out->cpu[i].first, out->cpu[i].slow};
        out->n_cores += out->cpu[i].first;
        out->n_slow += out->cpu[i].first && out->cpu[i].slow;
        out->key = hash(out->key, v, sizeof v);
    }
    int hundredths = out->quota < 1e6 ? (int)(out->quota * 100) : 0;
    out->key = hash(out->key, &hundredths, sizeof hundredths);
}

void qn__topology_order(const qn_topology *t, qn_cpus *out, int stages[3])
{
    static const struct {
        bool first, slow;
    } kinds[] = {{true, false}, {true, true}, {false, false}, {false, true}};
    int ends[4];
    out->n = 0;
    for (int k = 0; k < 4; k++) {
        for (int i = 0; i < t->n; i++)
            if (t->cpu[i].first == kinds[k].first && t->cpu[i].slow == kinds[k].slow)
                out->id[out->n++] = t->cpu[i].id;
        ends[k] = out->n;
    }
    stages[0] = ends[0];
    stages[1] = ends[1];
    stages[2] = ends[3];
}

bool qn__cpus_pin(const int16_t *ids, int n, qn_cpus *before)
{
#ifdef __linux__
    cpu_set_t set;
    if (before)
        allowed_now(before);
    CPU_ZERO(&set);
    for (int i = 0; i < n; i++)
        if (ids[i] >= 0 && ids[i] < CPU_SETSIZE)
            CPU_SET(ids[i], &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
#else
    (void)ids;
    (void)n;
    if (before)
        before->n = 0;
    return false;
#endif
}
