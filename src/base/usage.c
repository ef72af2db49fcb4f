/* usage.c - see usage.h. */
#include "base/usage.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"

void qn__usage_get(qn_usage *out)
{
    struct rusage r;
    *out = (qn_usage){0};
    if (getrusage(RUSAGE_SELF, &r) != 0)
        return;
    *out = (qn_usage){.minor_faults = (uint64_t)r.ru_minflt, .major_faults = (uint64_t)r.ru_majflt, .given_up = (uint64_t)r.ru_nvcsw,
                      .taken_away = (uint64_t)r.ru_nivcsw,
                      .user_s = (double)r.ru_utime.tv_sec + 1e-6 * (double)r.ru_utime.tv_usec,
                      .system_s = (double)r.ru_stime.tv_sec + 1e-6 * (double)r.ru_stime.tv_usec};
}

/* root + a path, for reading; NULL: not there. */
static FILE *open_at(const char *root, const char *path)
{
    char full[512];
    const int n = snprintf(full, sizeof full, "%s%s", root, path);
    return n > 0 && (size_t)n < sizeof full ? fopen(full, "re") : NULL;
}

static bool number_at(const char *root, const char *path, double *out)
{
    FILE *f = open_at(root, path);
    const bool ok = f && fscanf(f, "%lf", out) == 1;
    if (f)
        (void)fclose(f);
    return ok;
}

/* ---- memory ---- */

void qn__memory_self(const char *root, uint64_t *resident, uint64_t *most)
{
    char line[256];
    unsigned long long kib;
    FILE *f = open_at(root, "/proc/self/status");
    *resident = *most = 0;
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "VmRSS: %llu", &kib) == 1)
            *resident = kib * 1024;
        else if (sscanf(line, "VmHWM: %llu", &kib) == 1)
            *most = kib * 1024;
    }
    if (f)
        (void)fclose(f);
}

uint64_t qn__heap_bytes(void)
{
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
    const struct mallinfo2 m = mallinfo2();
    return (uint64_t)m.uordblks + (uint64_t)m.hblkhd;
#else
    return 0;
#endif
}

uint64_t qn__file_cached(const char *path)
{
    qn_map m;
    uint64_t in = 0;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), some = 4096; /* pages at a time */
    unsigned char there[4096];
    if (qn__map_open(path, &m, NULL))
        return 0;
    for (size_t at = 0; at < m.size; at += some * page) {
        const size_t n = m.size - at < some * page ? m.size - at : some * page;
        if (mincore((void *)(uintptr_t)(m.data + at), n, there) != 0)
            break;
        for (size_t i = 0; i * page < n; i++)
            in += there[i] & 1 ? page : 0;
    }
    if (in > m.size)
        in = m.size;
    qn__map_close(&m);
    return in;
}

void qn__file_forget(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    (void)close(fd);
}

/* smaps: a line for each mapping, `from-to perms offset dev inode path`, and beneath it what it holds, `Rss: 12 kB`. */
void qn__memory_of_file(const char *root, const char *path, uint64_t *mapped, uint64_t *resident)
{
    char line[1024];
    struct stat st;
    bool ours = false;
    *mapped = *resident = 0;
    FILE *f = stat(path, &st) == 0 ? open_at(root, "/proc/self/smaps") : NULL;
    while (f && fgets(line, sizeof line, f)) {
        unsigned long long from, to, offset, inode, kib;
        unsigned major_dev, minor_dev;
        char perms[8];
        if (sscanf(line, "%llx-%llx %7s %llx %x:%x %llu", &from, &to, perms, &offset, &major_dev, &minor_dev, &inode) == 7) {
            ours = inode == st.st_ino && inode != 0 && major_dev == major(st.st_dev) && minor_dev == minor(st.st_dev) && to > from;
            *mapped += ours ? to - from : 0;
        } else if (ours && sscanf(line, "Rss: %llu", &kib) == 1) {
            *resident += kib * 1024;
        }
    }
    if (f)
        (void)fclose(f);
}

/* ---- the processor ---- */

void qn__cpu_model(const char *root, char *out, size_t cap)
{
    char line[256], *colon;
    FILE *f = open_at(root, "/proc/cpuinfo");
    *out = 0;
    while (f && !*out && fgets(line, sizeof line, f))
        if ((strncmp(line, "model name", 10) == 0 || strncmp(line, "Model", 5) == 0) && (colon = strchr(line, ':'))) {
            colon += strspn(colon, ": \t");
            colon[strcspn(colon, "\r\n")] = 0;
            (void)snprintf(out, cap, "%s", colon);
        }
    if (f)
        (void)fclose(f);
}

void qn__system_name(char *out, size_t cap)
{
    struct utsname u;
    *out = 0;
    if (uname(&u) == 0)
        (void)snprintf(out, cap, "%s %s %s", u.sysname, u.release, u.machine);
}

double qn__cpu_clock(const char *root)
{
    double sum = 0, khz;
    int n = 0;
    char path[96];
    for (int i = 0; i < 64; i++) { /* numbers may have gaps, but not at the start */
        (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", i);
        if (number_at(root, path, &khz)) {
            sum += khz * 1000;
            n++;
        } else if (n == 0) {
            break;
        }
    }
    return n ? sum / n : 0;
}

int64_t qn__cpu_throttled(const char *root)
{
    double sum = 0, v;
    bool any = false;
    char path[112];
    for (int i = 0; i < 64; i++) {
        (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/thermal_throttle/core_throttle_count", i);
        if (!number_at(root, path, &v))
            break;
        sum += v;
        any = true;
    }
    return any ? (int64_t)sum : -1;
}

double qn__time_stolen(const char *root)
{
    double v[8] = {0};
    FILE *f = open_at(root, "/proc/stat");
    const int n = f ? fscanf(f, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]) : 0;
    if (f)
        (void)fclose(f);
    return n == 8 ? v[7] / (double)sysconf(_SC_CLK_TCK) : 0;
}

double qn__cpu_heat(const char *root)
{
    double most = (double)NAN, v;
    char path[80];
    for (int i = 0; i < 32; i++) {
        (void)snprintf(path, sizeof path, "/sys/class/thermal/thermal_zone%d/temp", i);
        if (number_at(root, path, &v))
            most = isnan(most) || v / 1000 > most ? v / 1000 : most;
    }
    return most;
}

/* ---- energy ---- */

bool qn__energy_read(const char *root, qn_energy *out, const char **why)
{
    char path[96];
    double v, wraps;
    *out = (qn_energy){0};
    *why = "this machine has no counter of energy (/sys/class/powercap/intel-rapl:0)";
    for (int i = 0; i < 8; i++) {
        (void)snprintf(path, sizeof path, "/sys/class/powercap/intel-rapl:%d/energy_uj", i);
        errno = 0;
        if (!number_at(root, path, &v)) {
            if (errno == EACCES || errno == EPERM)
                *why = "the counter of energy may be read by root only (/sys/class/powercap/intel-rapl:0/energy_uj)";
            continue;
        }
        (void)snprintf(path, sizeof path, "/sys/class/powercap/intel-rapl:%d/max_energy_range_uj", i);
        if (!number_at(root, path, &wraps))
            wraps = 0;
        out->microjoules[out->n] = (uint64_t)v;
        out->wraps[out->n++] = (uint64_t)wraps;
    }
    return out->n > 0;
}

double qn__energy_between(const qn_energy *from, const qn_energy *to)
{
    double sum = 0;
    for (int i = 0; i < from->n && i < to->n; i++)
        sum += (double)(to->microjoules[i] >= from->microjoules[i] ? to->microjoules[i] - from->microjoules[i]
                                                                   : to->microjoules[i] + from->wraps[i] - from->microjoules[i]);
    return sum * 1e-6;
}
