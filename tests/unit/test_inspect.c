/* test_inspect.c - the inspector, calibrated: planted gaps are found and none else, each cause is named where it was provoked.
 *
 * Scripted gaps first (what was planted is known exactly), then a real run of the embedded model in which each cause is made to happen,
 * where this machine can make it happen. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/thread.h"
#include "base/topology.h"
#include "services/probe/inspect.h"

enum { N = 400 };

/* ---- scripted ---- */

static double noise(uint64_t *x)
{
    *x = *x * 6364136223846793005u + 1442695040888963407u;
    return (double)(*x >> 11) / 9007199254740992.0;
}

/* Sum of 12 uniform ones: nearly normal, deviation 1. */
static double normal(uint64_t *x)
{
    double s = -6;
    for (int i = 0; i < 12; i++)
        s += noise(x);
    return s;
}

static void steady(qn_gap *g, size_t n, double s, double deviation, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        g[i] = (qn_gap){.s = s * (1 + deviation * normal(&seed)), .minor_faults = (uint32_t)(3 * noise(&seed)), .taken_away = noise(&seed) < 0.05,
                        .clock = 3e9f};
}

static qn_pace pace_of(const qn_gap *g, size_t n)
{
    qn_pace p;
    qn_err err;
    assert_int_equal(qn__pace_of(g, n, QN_INSPECT_K, &p, &err), QN_OK);
    return p;
}

/* No spike in 200,000 steady gaps, however fast the model and however noisy the machine. */
static void test_steady(void **state)
{
    (void)state;
    static const double speeds[] = {0.0002, 0.02, 0.5}, deviations[] = {0, 0.001, 0.02, 0.1};
    qn_gap g[N];
    size_t found = 0;
    for (uint64_t seed = 0; seed < 42; seed++)
        for (size_t i = 0; i < 3; i++)
            for (size_t j = 0; j < 4; j++) {
                steady(g, N, speeds[i], deviations[j], seed * 12 + i * 4 + j);
                qn_pace p = pace_of(g, N);
                found += p.n_spikes;
                qn__pace_free(&p);
            }
    assert_int_equal(found, 0);
}

static const struct {
    qn_cause cause;
    qn_gap what;
} PLANTED[] = {
    {QN_CAUSE_NEIGHBOUR_PREFILL, {.neighbour_prefill = 64, .taken_away = 2}}, {QN_CAUSE_EVICTION, {.evicted = 4}}, {QN_CAUSE_DISK_FAULT, {.major_faults = 3, .minor_faults = 200}},
    {QN_CAUSE_HEAT, {.throttled = 1}}, {QN_CAUSE_STOLEN, {.stolen_s = 0.04f}}, {QN_CAUSE_SWITCH, {.taken_away = 5}}, {QN_CAUSE_CLOCK, {.clock = 1.2e9f}},
    {QN_CAUSE_FAULT, {.minor_faults = 900}}, {QN_CAUSE_OTHER_REQUEST, {.others = 1}}, {QN_CAUSE_UNKNOWN, {.s = 0}},
};
enum { N_PLANTED = sizeof PLANTED / sizeof *PLANTED };

/* Each spike at its place and by its cause; nothing else; also when the others have all counters above zero. */
static void test_planted(void **state)
{
    (void)state;
    qn_gap g[N];
    for (uint64_t seed = 0; seed < 50; seed++) {
        steady(g, N, 0.02, 0.03, seed);
        size_t at[N_PLANTED];
        for (size_t i = 0; i < N_PLANTED; i++) {
            at[i] = 7 + i * 37 + seed % 11;
            const float clock = PLANTED[i].what.clock > 0 ? PLANTED[i].what.clock : 3e9f;
            g[at[i]] = PLANTED[i].what;
            g[at[i]].s = 0.02 * (1.5 + 0.5 * (double)i);
            g[at[i]].clock = clock;
        }
        qn_pace p = pace_of(g, N);
        assert_int_equal(p.n_spikes, N_PLANTED);
        for (size_t i = 0; i < N_PLANTED; i++) {
            assert_int_equal(p.spikes[i].at, at[i]);
            assert_int_equal(p.spikes[i].first, PLANTED[i].cause);
        }
        qn__pace_free(&p);
    }
}

/* What happens in every token explains none. */
static void test_ordinary(void **state)
{
    (void)state;
    qn_gap g[N];
    steady(g, N, 0.02, 0.02, 3);
    for (size_t i = 0; i < N; i++)
        g[i].taken_away = 2, g[i].minor_faults = 500, g[i].others = 1;
    g[100].s = 0.1;
    qn_pace p = pace_of(g, N);
    assert_int_equal(p.n_spikes, 1);
    assert_int_equal(p.spikes[0].first, QN_CAUSE_UNKNOWN);
    qn__pace_free(&p);
}

static void test_figures(void **state)
{
    (void)state;
    qn_gap g[101];
    for (int i = 0; i < 101; i++)
        g[i] = (qn_gap){.s = 0.001 * (double)((i * 37) % 101)};
    qn_pace p = pace_of(g, 101);
    assert_true(fabs(p.p50 - 0.05) < 1e-9 && fabs(p.p95 - 0.095) < 1e-9 && fabs(p.p99 - 0.099) < 1e-9 && fabs(p.most - 0.1) < 1e-9 && fabs(p.mean - 0.05) < 1e-9);
    json_t *j = qn__pace_json(&p, g, 101);
    assert_int_equal(json_integer_value(json_object_get(j, "p50_ns")), 50000000);
    assert_int_equal(json_array_size(json_object_get(j, "gaps_ns")), 101);
    json_decref(j);
    qn__pace_free(&p);
    g[0].s = 0.004;
    p = pace_of(g, 1);
    assert_int_equal(p.n_spikes, 0);
    qn__pace_free(&p);
}

/* ---- the counters, on a tree of files that stands in for the machine ---- */

static void put_file(const char *root, const char *path, const char *text)
{
    char full[300];
    (void)snprintf(full, sizeof full, "%s%s", root, path);
    for (char *s = full + strlen(root) + 1; (s = strchr(s, '/')); s++) {
        *s = 0;
        (void)mkdir(full, 0700);
        *s = '/';
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    (void)fputs(text, f);
    (void)fclose(f);
}

static void test_machine(void **state)
{
    (void)state;
    char root[] = "/tmp/quern-usage-XXXXXX", command[64], name[64];
    assert_non_null(mkdtemp(root));
    const char *why = NULL;
    qn_energy a, b;
    assert_true(qn__cpu_clock(root) == 0 && qn__cpu_throttled(root) == -1 && isnan(qn__cpu_heat(root)));
    assert_false(qn__energy_read(root, &a, &why));
    assert_non_null(why);
    put_file(root, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "3000000\n");
    put_file(root, "/sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "1000000\n");
    put_file(root, "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "4\n");
    put_file(root, "/sys/class/thermal/thermal_zone0/temp", "41500\n");
    put_file(root, "/sys/class/powercap/intel-rapl:0/energy_uj", "900000\n");
    put_file(root, "/sys/class/powercap/intel-rapl:0/max_energy_range_uj", "1000000\n");
    put_file(root, "/proc/cpuinfo", "processor\t: 0\nmodel name\t: A Processor\n");
    put_file(root, "/proc/stat", "cpu  1 2 3 4 5 6 7 250 0 0\n");
    assert_true(qn__cpu_clock(root) == 2e9 && qn__cpu_throttled(root) == 4 && qn__cpu_heat(root) == 41.5);
    assert_true(qn__time_stolen(root) == 250.0 / (double)sysconf(_SC_CLK_TCK));
    qn__cpu_model(root, name, sizeof name);
    assert_string_equal(name, "A Processor");
    assert_true(qn__energy_read(root, &a, &why));
    put_file(root, "/sys/class/powercap/intel-rapl:0/energy_uj", "400000\n"); /* wrapped */
    assert_true(qn__energy_read(root, &b, &why));
    assert_true(fabs(qn__energy_between(&a, &b) - 0.5) < 1e-9);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

/* A clock that halves, a processor that is throttled and a host that takes time: seen in the long gap, and named. */
static void test_meter(void **state)
{
    (void)state;
    char root[] = "/tmp/quern-meter-XXXXXX", command[64];
    qn_gap g[40];
    qn_meter m;
    assert_non_null(mkdtemp(root));
    put_file(root, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "3000000\n");
    put_file(root, "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "4\n");
    put_file(root, "/proc/stat", "cpu  1 2 3 4 5 6 7 250 0 0\n");
    qn__meter_begin(&m, root, 7);
    for (int i = 0; i < 40; i++) {
        g[i] = (qn_gap){.s = 0.01 + 1e-5 * (i % 5)};
        if (i == 30) { /* as if the last look had been a while ago */
            m.slow_read -= 0.1;
            g[i].s = 0.05;
            put_file(root, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1500000\n");
            put_file(root, "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "6\n");
            put_file(root, "/proc/stat", "cpu  1 2 3 4 5 6 7 260 0 0\n");
        }
        qn__meter_take(&m, qn__now(), i < 30 ? 7 : 9, &g[i]);
        g[i].minor_faults = g[i].major_faults = g[i].taken_away = 0; /* this process's own, whatever it did */
    }
    assert_true(g[30].slow && g[30].throttled == 2 && g[30].evicted == 2 && g[30].clock == 1.5e9f && g[29].clock == 3e9f);
    assert_true(fabs(g[30].stolen_s - 10.0 / (double)sysconf(_SC_CLK_TCK)) < 1e-6);
    qn_pace p = pace_of(g, 40);
    assert_int_equal(p.n_spikes, 1);
    assert_int_equal(p.spikes[0].at, 30);
    assert_int_equal(p.spikes[0].causes, 1u << QN_CAUSE_EVICTION | 1u << QN_CAUSE_HEAT | 1u << QN_CAUSE_STOLEN | 1u << QN_CAUSE_CLOCK);
    qn__pace_free(&p);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

static void test_files(void **state)
{
    (void)state;
    char path[] = "/tmp/quern-mapped-XXXXXX";
    const int fd = mkstemp(path);
    const size_t n = (size_t)4 << 20;
    static char block[4096];
    uint64_t mapped = 0, resident = 0, most = 0;
    qn_map m;
    memset(block, 1, sizeof block);
    for (size_t at = 0; at < n; at += sizeof block)
        assert_int_equal(write(fd, block, sizeof block), (ssize_t)sizeof block);
    (void)close(fd);
    assert_int_equal(qn__map_open(path, &m, NULL), QN_OK);
    unsigned sum = 0;
    for (size_t at = 0; at < n / 2; at += 4096)
        sum += m.data[at];
    assert_int_equal(sum, 512);
    qn__memory_of_file("", path, &mapped, &resident);
    assert_int_equal(mapped, n);
    assert_true(resident >= n / 2 && resident <= n);
    assert_int_equal(qn__file_cached(path), n);
    qn__map_close(&m);
    qn__memory_of_file("", path, &mapped, &resident);
    assert_int_equal(mapped, 0);
    qn__memory_self("", &resident, &most);
    assert_true(resident > 0 && most >= resident);
    (void)unlink(path);
}

/* ---- provoked, in real runs of the embedded model ---- */

typedef struct bench {
    qn_model *m;
    qn_engine *e;
    qn_scheduler *s;
} bench;

static void open_bench(bench *b, uint64_t kv_ram, int32_t n_ctx, const char *cpus)
{
    qn_engine_options o;
    qn_err err;
    qn_engine_options_init(&o);
    o.n_ctx = n_ctx;
    o.n_threads = 1;
    o.max_seqs = 2;
    o.kv_ram = kv_ram;
    o.cpus = cpus;
    assert_int_equal(qn_model_open(NULL, QN_OPEN_FULL, &b->m, &err), QN_OK);
    if (qn_engine_open(b->m, &o, &b->e, &err))
        fail_msg("%s: %s", err.where, err.what);
    assert_int_equal(qn_scheduler_open(b->e, NULL, &b->s, &err), QN_OK);
}

static void close_bench(bench *b)
{
    qn_scheduler_close(b->s);
    qn_engine_close(b->e);
    qn_model_close(b->m);
}

static int32_t *tokens(int32_t n, int32_t from)
{
    int32_t *t = malloc((size_t)n * sizeof *t);
    for (int32_t i = 0; i < n; i++)
        t[i] = 100 + (i * 7 + from) % 900;
    return t;
}

static qn_pace_run paced(bench *b, int32_t prompt, int32_t generate, int32_t beside, int32_t from)
{
    qn_pace_run r = {0};
    qn_err err = {0};
    int32_t *mine = tokens(prompt, from), *other = beside ? tokens(beside, from + 501) : NULL;
    const qn_pace_options o = {.tokens = mine, .n_tokens = (size_t)prompt, .n_generate = generate, .beside = other, .n_beside = (size_t)beside};
    if (qn__pace_run(b->s, &o, &r, &err))
        fail_msg("%s: %s", err.where, err.what);
    free(mine);
    free(other);
    return r;
}

static size_t named(const qn_pace *p, qn_cause c)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_spikes; i++)
        n += (p->spikes[i].causes >> c) & 1u;
    return n;
}

static void test_run(void **state)
{
    (void)state;
    bench b;
    open_bench(&b, 0, 512, NULL);
    qn_pace_run r = paced(&b, 100, 64, 0, 0);
    assert_int_equal(r.n_gaps, 63);
    assert_int_equal(r.timings.generated_tokens, 64);
    assert_true(r.prefill_s > 0 && r.first_s >= r.prefill_s && r.decode_s > 0);
    double sum = 0, evicted = 0;
    for (size_t i = 0; i < r.n_gaps; i++) {
        sum += r.gaps[i].s;
        evicted += r.gaps[i].evicted;
        assert_int_equal(r.gaps[i].neighbour_prefill + r.gaps[i].others, 0);
    }
    assert_true(fabs(sum - r.decode_s) < 1e-6);
    assert_true(evicted == 0);
    qn__pace_run_free(&r);
    close_bench(&b);
}

static void test_neighbour(void **state)
{
    (void)state;
    bench b;
    open_bench(&b, 0, 1024, NULL);
    qn_pace_run r = paced(&b, 64, 300, 600, 0);
    uint32_t read = 0, tokens_beside = 0;
    size_t longest = 0;
    for (size_t i = 0; i < r.n_gaps; i++) {
        read += r.gaps[i].neighbour_prefill;
        tokens_beside += r.gaps[i].others;
        longest = r.gaps[i].neighbour_prefill > r.gaps[longest].neighbour_prefill ? i : longest;
    }
    qn_pace p = pace_of(r.gaps, r.n_gaps);
    assert_int_equal(read, 600); /* every token of its prompt is put to some gap of ours */
    assert_true(tokens_beside > 0);
    assert_true(named(&p, QN_CAUSE_NEIGHBOUR_PREFILL) > 0);
    for (size_t i = 0; i < p.n_spikes; i++)
        if (p.spikes[i].at == longest)
            assert_int_equal(p.spikes[i].first, QN_CAUSE_NEIGHBOUR_PREFILL);
    qn__pace_free(&p);
    qn__pace_run_free(&r);
    close_bench(&b);
}

/* A cache that holds hardly more than one context: what other prompts left there goes when a neighbour comes. */
static void test_eviction(void **state)
{
    (void)state;
    bench b;
    open_bench(&b, (uint64_t)3 << 20, 1024, NULL);
    for (int i = 0; i < 3; i++) {
        qn_pace_run fill = paced(&b, 600, 8, 0, 1 + i * 100);
        qn__pace_run_free(&fill);
    }
    qn_pace_run r = paced(&b, 64, 200, 600, 0);
    uint32_t evicted = 0;
    for (size_t i = 0; i < r.n_gaps; i++)
        evicted += r.gaps[i].evicted;
    if (evicted == 0) {
        qn__pace_run_free(&r);
        close_bench(&b);
        print_message("skipped: nothing had to be evicted\n");
        skip();
    }
    for (size_t i = 0; i < r.n_gaps; i++) /* the time of one step is not ours to make: a long one */
        if (r.gaps[i].evicted)
            r.gaps[i].s += 1;
    qn_pace p = pace_of(r.gaps, r.n_gaps);
    assert_true(named(&p, QN_CAUSE_EVICTION) > 0);
    qn__pace_free(&p);
    qn__pace_run_free(&r);
    close_bench(&b);
}

/* A mapped region is dropped before a step and touched in it: the meter sees its faults there and nowhere else. */
static void test_faults(void **state)
{
    (void)state;
    const size_t n = (size_t)8 << 20;
    char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    (void)madvise(p, n, MADV_NOHUGEPAGE);
    qn_gap g[100];
    qn_meter m;
    memset(p, 1, n);
    qn__meter_begin(&m, "", 0);
    for (int i = 0; i < 100; i++) {
        if (i == 60)
            (void)madvise(p, n, MADV_DONTNEED);
        for (size_t at = 0; at < n; at += 4096)
            p[at]++;
        g[i] = (qn_gap){.s = i == 60 ? 0.03 : 0.01 + 1e-5 * (i % 5)};
        qn__meter_take(&m, qn__now(), 0, &g[i]);
    }
    qn_pace pace = pace_of(g, 100);
    assert_int_equal(pace.n_spikes, 1);
    assert_int_equal(pace.spikes[0].at, 60);
    assert_true((pace.spikes[0].causes >> QN_CAUSE_FAULT) & 1u);
    qn__pace_free(&pace);
    (void)munmap(p, n);
}

/* The same with a file that the system was made to forget: its pages come from the disk, where there is one. */
static void test_disk_faults(void **state)
{
    (void)state;
    char path[] = "/var/tmp/quern-faults-XXXXXX";
    const size_t n = (size_t)16 << 20;
    static char block[65536];
    const int fd = mkstemp(path);
    qn_map map;
    qn_gap g[40];
    qn_meter m;
    unsigned sum = 0;
    if (fd < 0) {
        print_message("skipped: no file can be made in /var/tmp\n");
        skip();
    }
    memset(block, 1, sizeof block);
    for (size_t at = 0; at < n; at += sizeof block)
        assert_int_equal(write(fd, block, sizeof block), (ssize_t)sizeof block);
    (void)fsync(fd);
    (void)close(fd);
    assert_int_equal(qn__map_open(path, &map, NULL), QN_OK);
    (void)madvise((void *)(uintptr_t)map.data, n, MADV_RANDOM);
    for (size_t at = 0; at < n; at += 4096)
        sum += map.data[at];
    qn__meter_begin(&m, "", 0);
    for (int i = 0; i < 40; i++) {
        if (i == 25) {
            (void)madvise((void *)(uintptr_t)map.data, n, MADV_DONTNEED);
            qn__file_forget(path);
        }
        for (size_t at = 0; at < n; at += 4096)
            sum += map.data[at];
        g[i] = (qn_gap){.s = i == 25 ? 0.05 : 0.01 + 1e-5 * (i % 5)};
        qn__meter_take(&m, qn__now(), 0, &g[i]);
    }
    qn__map_close(&map);
    (void)unlink(path);
    assert_int_equal(sum, 41 * (n / 4096));
    if (g[25].major_faults == 0) {
        print_message("skipped: /var/tmp is not on a disk\n");
        skip();
    }
    qn_pace pace = pace_of(g, 40);
    assert_int_equal(pace.n_spikes, 1);
    assert_int_equal(pace.spikes[0].at, 25);
    assert_int_equal(pace.spikes[0].first, QN_CAUSE_DISK_FAULT);
    qn__pace_free(&pace);
}

typedef struct busy {
    int16_t cpu;
    atomic_int stop;
    atomic_uint n;
} busy;

static void spin(void *arg)
{
    busy *b = arg;
    (void)qn__cpus_pin(&b->cpu, 1, NULL);
    while (!atomic_load(&b->stop))
        atomic_fetch_add(&b->n, 1);
}

/* A busy thread on the processor where the model runs: it is taken away, and the meter says so. */
static void test_switches(void **state)
{
    (void)state;
    static qn_topology t;
    qn__topology_read("", NULL, &t);
    busy others[2] = {{.cpu = t.cpu[0].id}, {.cpu = t.cpu[0].id}};
    qn_thread *threads[2] = {NULL, NULL};
    char cpus[16];
    bench b;
    (void)snprintf(cpus, sizeof cpus, "%d", t.cpu[0].id);
    open_bench(&b, 0, 1024, cpus);
    for (int i = 0; i < 2; i++)
        assert_int_equal(qn__thread_start(spin, &others[i], &threads[i], NULL), QN_OK);
    qn_pace_run r = paced(&b, 64, 600, 0, 0);
    for (int i = 0; i < 2; i++) {
        atomic_store(&others[i].stop, 1);
        qn__thread_join(threads[i]);
    }
    uint64_t taken = 0;
    for (size_t i = 0; i < r.n_gaps; i++)
        taken += r.gaps[i].taken_away;
    qn_pace p = pace_of(r.gaps, r.n_gaps);
    if (!taken) {
        print_message("skipped: the system did not take the processor away\n");
        qn__pace_free(&p);
        qn__pace_run_free(&r);
        close_bench(&b);
        skip();
    }
    if (p.n_spikes > 0)
        assert_true(named(&p, QN_CAUSE_SWITCH) > 0);
    printf("figure: inspect: %zu of %zu spikes beside two busy threads have a context switch\n", named(&p, QN_CAUSE_SWITCH), p.n_spikes);
    qn__pace_free(&p);
    qn__pace_run_free(&r);
    close_bench(&b);
}

/* ---- the whole ---- */

static char ledger[64];

static int prepare(void **state)
{
    (void)state;
    strcpy(ledger, "/tmp/quern-inspect-XXXXXX");
    const int fd = mkstemp(ledger);
    return fd < 0 || close(fd) || unlink(ledger);
}

static int drop(void **state)
{
    (void)state;
    char command[300];
    (void)snprintf(command, sizeof command, "rm -f '%s' '%s-wal' '%s-shm'", ledger, ledger, ledger);
    return system(command);
}

static size_t n_seen;
static void see_run(void *arg, const qn_ledger_run *r)
{
    *(int64_t *)arg = r->id;
    assert_string_equal(r->kind, "inspect");
    assert_string_equal(r->model, "embedded");
    assert_true(*r->finished != 0);
    assert_int_equal(r->samples, 7);
}

static bool see_sample(void *arg, const char *text)
{
    json_t *s = json_loads(text, 0, NULL);
    assert_true(json_is_object(json_object_get(s, "data")));
    json_decref(s);
    (*(size_t *)arg)++;
    return true;
}

static void test_whole(void **state)
{
    (void)state;
    qn_inspect_options o;
    qn_err err = {0};
    char *text = NULL, *again = NULL, *page = NULL;
    qn_inspect_options_init(&o);
    o.probe.ledger = ledger;
    o.probe.engine.n_ctx = 512;
    o.runs = 2;
    o.n_depths = 3;
    o.n_generate = 32;
    if (qn_inspect(&o, &text, &err))
        fail_msg("%s: %s", err.where, err.what);
    json_t *r = json_loads(text, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(r, "kind")), "inspect");
    assert_int_equal(json_array_size(json_object_get(json_object_get(r, "warm"), "runs")), 2);
    assert_int_equal(json_array_size(json_object_get(json_object_get(r, "cold"), "phases")), 7);
    assert_int_equal(json_array_size(json_object_get(r, "depths")), 3);
    assert_true(json_number_value(json_object_get(json_object_get(r, "memory"), "weights_repacked")) > 0);
    assert_true(json_number_value(json_object_get(json_object_get(json_object_get(r, "memory"), "fits"), "bytes_per_token")) > 0);
    const double share = json_number_value(json_object_get(json_object_get(json_object_get(r, "limits"), "decode"), "share"));
    assert_true(share > 0);
    printf("figure: inspect: measuring takes %.2f %% of the embedded model's decode time\n", 100 * json_number_value(json_object_get(r, "overhead")));
    for (int form = QN_PAGE_HTML; form <= QN_PAGE_TEXT; form++) {
        assert_int_equal(qn_report_page(text, (qn_page_form)form, &page, NULL, &err), QN_OK);
        assert_null(strstr(page, "nan"));
        qn_free(page);
    }
    int64_t id = 0;
    n_seen = 0;
    assert_int_equal(qn_ledger_list(ledger, see_run, &id, &err), QN_OK);
    assert_int_equal(qn_ledger_samples(ledger, id, see_sample, &n_seen, &err), QN_OK);
    assert_int_equal(n_seen, 7); /* cold, two warm, beside, three depths */
    assert_int_equal(qn_ledger_report(ledger, id, &again, &err), QN_OK);
    json_t *kept = json_loads(again, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(kept, "fingerprint")), json_string_value(json_object_get(r, "fingerprint")));
    json_decref(kept);
    qn_free(again);
    assert_int_equal(qn_ledger_remove(ledger, id, &err), QN_OK);
    assert_int_equal(qn_ledger_report(ledger, id, &again, &err), QN_EINVAL);
    assert_int_equal(qn_ledger_samples(ledger, id, see_sample, &n_seen, &err), QN_EINVAL);
    assert_int_equal(qn_ledger_remove(ledger, id, &err), QN_EINVAL);
    json_decref(r);
    qn_free(text);
}

static void test_refused(void **state)
{
    (void)state;
    qn_inspect_options o;
    qn_err err = {0};
    char *text = NULL;
    qn_inspect_options_init(&o);
    o.probe.ledger = ledger;
    o.probe.engine.n_ctx = 256;
    o.n_prompt = 250;
    o.n_generate = 100;
    assert_int_equal(qn_inspect(&o, &text, &err), QN_ECONTEXT);
    assert_non_null(strstr(err.what, "250"));
    assert_non_null(strstr(err.what, "256"));
    assert_null(text);
}

/* A wrong expectation must be found wrong: a gap beyond the threshold that the finder is not shown. */
static void test_harness(void **state)
{
    (void)state;
    qn_gap g[N];
    steady(g, N, 0.02, 0.03, 1);
    g[50].s = 0.02 * 1.5;
    qn_pace p = pace_of(g, N);
    assert_int_equal(p.n_spikes, 1);
    g[50].s = 0.02;
    qn__pace_free(&p);
    p = pace_of(g, N);
    assert_int_equal(p.n_spikes, 0);
    qn__pace_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_harness), cmocka_unit_test(test_steady), cmocka_unit_test(test_planted), cmocka_unit_test(test_ordinary),
        cmocka_unit_test(test_figures), cmocka_unit_test(test_machine), cmocka_unit_test(test_meter), cmocka_unit_test(test_files), cmocka_unit_test(test_run),
        cmocka_unit_test(test_neighbour), cmocka_unit_test(test_eviction), cmocka_unit_test(test_faults), cmocka_unit_test(test_disk_faults),
        cmocka_unit_test(test_switches),
        cmocka_unit_test(test_whole), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, prepare, drop);
}
