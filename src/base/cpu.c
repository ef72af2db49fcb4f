/* cpu.c - see cpu.h. */
#include "base/cpu.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>

static uint64_t xcr0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

/* Tile data is 8 KB per thread that a Linux process gets only if it asks, once for all its threads. */
static bool tiles_allowed(void)
{
#ifdef __linux__
    const long request = 0x1023, tile_data = 18; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return syscall(SYS_arch_prctl, request, tile_data) == 0;
#else
    return false;
#endif
}

qn_cpu qn__cpu_best(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return QN_CPU_REF;
    const unsigned fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29;
    if ((c & (fma | osxsave | avx | f16c)) != (fma | osxsave | avx | f16c))
        return QN_CPU_REF;
    uint64_t saved = xcr0();
    if ((saved & 0x6) != 0x6) /* SSE and AVX state */
        return QN_CPU_REF;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return QN_CPU_REF;
    const unsigned avx2 = 1u << 5, bmi2 = 1u << 8;
    if ((b & (avx2 | bmi2)) != (avx2 | bmi2))
        return QN_CPU_REF;
    const unsigned f = 1u << 16, dq = 1u << 17, cd = 1u << 28, bw = 1u << 30, vl = 1u << 31, vnni = 1u << 11;
    if ((saved & 0xE6) != 0xE6 /* and opmask, ZMM state */ ||
        (b & (f | dq | cd | bw | vl)) != (f | dq | cd | bw | vl) || !(c & vnni))
        return QN_CPU_AVX2;
    const unsigned tile = 1u << 24, int8 = 1u << 25;
    if ((saved & 0x60000) != 0x60000 /* tile configuration and data */ || (d & (tile | int8)) != (tile | int8) ||
        !tiles_allowed())
        return QN_CPU_AVX512;
    return QN_CPU_AMX;
}

bool qn__cpu_has_vnni(void)
{
    unsigned a, b, c, d;
    const unsigned avx_vnni = 1u << 4;
    return qn__cpu_best() >= QN_CPU_AVX2 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & avx_vnni);
}
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>

qn_cpu qn__cpu_best(void)
{
    const unsigned long asimd = 1ul << 1, asimddp = 1ul << 20, i8mm = 1ul << 13; /* HWCAP, HWCAP, HWCAP2 */
    unsigned long has = getauxval(AT_HWCAP);
    if ((has & (asimd | asimddp)) != (asimd | asimddp))
        return QN_CPU_REF;
    return getauxval(AT_HWCAP2) & i8mm ? QN_CPU_I8MM : QN_CPU_NEON;
}

#else
qn_cpu qn__cpu_best(void)
{
    return QN_CPU_REF;
}
#endif

#if defined(__x86_64__)
#define NAMES "ref, avx2, avx512, amx"
static const char *const names[QN_CPU__COUNT] = {"ref", "avx2", "avx512", "amx"};
#elif defined(__aarch64__)
#define NAMES "ref, neon, i8mm"
static const char *const names[QN_CPU__COUNT] = {"ref", "neon", "i8mm"};
#else
#define NAMES "ref"
static const char *const names[QN_CPU__COUNT] = {"ref"};
#endif

const char *qn__cpu_name(qn_cpu level)
{
    return names[level];
}

qn_status qn__cpu_choose(const char *name, qn_cpu *out, qn_err *err)
{
    qn_cpu best = qn__cpu_best();
    const char *where = "cpu";
    if (!name) {
        name = getenv("QUERN_CPU");
        where = "QUERN_CPU";
    }
    if (!name || !*name) {
        *out = best;
        return QN_OK;
    }
    for (int i = 0; i < QN_CPU__COUNT; i++) {
        if (strcmp(name, names[i]) != 0)
            continue;
        if ((qn_cpu)i > best)
            return qn__fail(err, QN_EUNSUPPORTED, where, "this machine has no %s; its best level is %s", name,
                            names[best]);
        *out = (qn_cpu)i;
        return QN_OK;
    }
    return qn__fail(err, QN_EINVAL, where, "\"%s\" is not one of " NAMES, name);
}

size_t qn_cpu_levels(const char **out, size_t cap)
{
    size_t n = (size_t)qn__cpu_best() + 1;
    for (size_t i = 0; i < n && i < cap; i++)
        out[i] = names[i];
    return n;
}

int qn__cpu_count(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

/* A file that holds one number; 0 when it does not. */
static uint64_t number_in(const char *path)
{
    uint64_t n = 0;
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    if (fscanf(f, "%" SCNu64, &n) != 1)
        n = 0;
    (void)fclose(f);
    return n;
}

uint64_t qn__memory_total(void)
{
    static const char *const limits[] = {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t all = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        uint64_t n = number_in(limits[i]);
        if (n && (!all || n < all))
            all = n;
    }
    return all;
}

double qn__cpu_load(void)
{
    double load;
    return getloadavg(&load, 1) == 1 ? load : 0;
}
#if !defined(__x86_64__)
bool qn__cpu_has_vnni(void)
{
    return false;
}
#endif

size_t qn__cpu_cache(void)
{
    long most = 0;
#ifdef _SC_LEVEL3_CACHE_SIZE
    const int levels[] = {_SC_LEVEL2_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL4_CACHE_SIZE};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        long n = sysconf(levels[i]);
        most = n > most ? n : most;
    }
#endif
    return (size_t)most;
}
