/* test_threads.c - which processors there are, from trees of files like Linux's, and how many threads are chosen from
 * them: with rates that are made up, and what is remembered of them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/pool.h"
#include "engine/threads.h"

/* ---- trees ---- */

static char root[64];

static void put(const char *path, const char *text)
{
    char at[512];
    assert_true(snprintf(at, sizeof at, "%s%s", root, path) < (int)sizeof at);
    for (char *p = at + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            assert_true(mkdir(at, 0700) == 0 || errno == EEXIST);
            *p = '/';
        }
    FILE *f = fopen(at, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void cpu_file(int cpu, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/%s", cpu, name);
    put(path, text);
}

static void fresh(void)
{
    strcpy(root, "/tmp/quern-threads-XXXXXX");
    assert_non_null(mkdtemp(root));
}

static void drop(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

static qn_topology read_tree(int n)
{
    static qn_topology t;
    qn_cpus allowed = {.n = n};
    for (int i = 0; i < n; i++)
        allowed.id[i] = (int16_t)i;
    qn__topology_read(root, &allowed, &t);
    return t;
}

/* The first `stage` of the order as text: "0,2,1". */
static const char *order(const qn_topology *t, int stage)
{
    static char text[256];
    qn_cpus c;
    int stages[3], n = 0;
    qn__topology_order(t, &c, stages);
    text[0] = 0;
    for (int i = 0; i < stages[stage]; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s%d", i ? "," : "", c.id[i]);
    return text;
}

/* One Zen core with two threads. */
static void zen(void)
{
    put("/proc/cpuinfo",
        "processor\t: 0\nmodel name\t: AMD Ryzen\nflags\t: x\n\nprocessor\t: 1\nmodel name\t: AMD Ryzen\n");
    for (int i = 0; i < 2; i++) {
        cpu_file(i, "topology/thread_siblings_list", "0-1\n");
        cpu_file(i, "cpufreq/cpuinfo_max_freq", "5100000\n");
    }
}

/* Two fast cores of two threads each, 0-3, and four slow ones, 4-7. */
static void hybrid(void)
{
    static const char *const siblings[] = {"0-1\n", "0-1\n", "2-3\n", "2-3\n", "4\n", "5\n", "6\n", "7\n"};
    for (int i = 0; i < 8; i++)
        cpu_file(i, "topology/thread_siblings_list", siblings[i]);
    put("/sys/devices/cpu_core/cpus", "0-3\n");
    put("/sys/devices/cpu_atom/cpus", "4-7\n");
}

/* Two sockets of two cores; siblings have the upper numbers. */
static void sockets(void)
{
    static const char *const siblings[] = {"0,4\n", "1,5\n", "2,6\n", "3,7\n"};
    for (int i = 0; i < 8; i++)
        cpu_file(i, "topology/thread_siblings_list", siblings[i % 4]);
    put("/sys/devices/system/node/online", "0-1\n");
    put("/sys/devices/system/node/node0/cpulist", "0-1,4-5\n");
    put("/sys/devices/system/node/node1/cpulist", "2-3,6-7\n");
}

static void trees(void **state)
{
    (void)state;
    fresh();
    zen();
    qn_topology t = read_tree(2);
    assert_int_equal(t.n_cores, 1);
    assert_int_equal(t.n_slow, 0);
    assert_int_equal(t.n_nodes, 1);
    assert_string_equal(order(&t, 0), "0");
    assert_string_equal(order(&t, 2), "0,1");
    uint64_t key = t.key;
    put("/proc/cpuinfo", "processor\t: 0\nmodel name\t: another\n\n");
    t = read_tree(2);
    assert_true(t.key != key);
    drop();

    fresh();
    hybrid();
    t = read_tree(8);
    assert_int_equal(t.n_cores, 6);
    assert_int_equal(t.n_slow, 4);
    assert_string_equal(order(&t, 0), "0,2");
    assert_string_equal(order(&t, 1), "0,2,4,5,6,7");
    assert_string_equal(order(&t, 2), "0,2,4,5,6,7,1,3");
    qn_cpus some = {.n = 3, .id = {7, 3, 4}}; /* 3 without its sibling is the first of its core */
    qn__topology_read(root, &some, &t);
    assert_string_equal(order(&t, 2), "3,4,7");
    some = (qn_cpus){.n = 2, .id = {5, 6}}; /* slow ones only: then they are not slow */
    qn__topology_read(root, &some, &t);
    assert_int_equal(t.n_slow, 0);
    assert_string_equal(order(&t, 0), "5,6");
    drop();

    fresh();
    sockets();
    t = read_tree(8);
    assert_int_equal(t.n_cores, 4);
    assert_int_equal(t.n_nodes, 2);
    assert_int_equal(t.cpu[6].node, 1);
    assert_string_equal(order(&t, 1), "0,1,2,3");
    /* planted: one file changed must change what is read */
    cpu_file(5, "topology/thread_siblings_list", "5\n");
    t = read_tree(8);
    assert_int_not_equal(t.n_cores, 4);
    drop();

    fresh(); /* ARM: two large cores, four small ones */
    for (int i = 0; i < 6; i++)
        cpu_file(i, "cpu_capacity", i < 4 ? "446\n" : "1024\n");
    t = read_tree(6);
    assert_int_equal(t.n_slow, 4);
    assert_string_equal(order(&t, 1), "4,5,0,1,2,3");
    drop();
}

static void quotas(void **state)
{
    (void)state;
    fresh();
    put("/proc/self/cgroup", "0::/user.slice/app\n");
    put("/sys/fs/cgroup/user.slice/app/cpu.max", "max 100000\n");
    assert_true(read_tree(4).quota == 0);
    put("/sys/fs/cgroup/user.slice/cpu.max", "250000 100000\n"); /* the group above it */
    qn_topology t = read_tree(4);
    assert_true(t.quota == 2.5);
    assert_int_equal(qn__threads_choose(&t, NULL, NULL), 2);
    put("/sys/fs/cgroup/user.slice/app/cpu.max", "50000 100000\n");
    t = read_tree(4);
    assert_true(t.quota == 0.5);
    assert_int_equal(qn__threads_choose(&t, NULL, NULL), 1);
    drop();

    fresh(); /* version 1, in a container: what is mounted is its own group */
    put("/proc/self/cgroup", "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    assert_true(read_tree(8).quota == 3);
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    assert_true(read_tree(8).quota == 0);
    drop();
}

/* Nothing in these files may do harm, and what makes no sense counts as not said. */
static void nonsense(void **state)
{
    (void)state;
    static const char *const texts[] = {"",       "\n",     "x",    "0-",    "-1", "9-0", "0-99999999999999999999",
                                        "1,2,3,", "0-1023", "0,,1", "5\xff", "0 1"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        fresh();
        for (int c = 0; c < 3; c++) {
            cpu_file(c, "topology/thread_siblings_list", texts[i]);
            cpu_file(c, "cpu_capacity", texts[i]);
        }
        put("/sys/devices/cpu_atom/cpus", texts[i]);
        put("/sys/devices/system/node/online", texts[i]);
        put("/sys/devices/system/node/node0/cpulist", texts[i]);
        put("/proc/cpuinfo", texts[i]);
        put("/proc/self/cgroup", "0::/../../x\n::\n:\n\n0::\n9:cpu:/a/b/c/\n");
        put("/sys/fs/cgroup/cpu.max", texts[i]);
        qn_topology t = read_tree(3);
        assert_in_range(t.n_cores, 1, 3);
        assert_int_equal(t.n_nodes, 1);
        assert_in_range(qn__threads_choose(&t, NULL, NULL), 1, 3);
        drop();
    }
    fresh(); /* nothing at all */
    qn_topology t = read_tree(5);
    assert_int_equal(t.n_cores, 5);
    assert_int_equal(qn__threads_choose(&t, NULL, NULL), 5);
    drop();
}

static void lists(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",      ",",    "1,", "-",    "1-",  "3-1",        "1,1",
                                        "0-2,2", "1024", "a",  "1 ,2", "1;2", "99999999999"};
    qn_cpus c = {.n = 77};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(qn__cpus_parse(wrong[i], &c, NULL), QN_EINVAL);
    assert_int_equal(c.n, 77);
    assert_int_equal(qn__cpus_parse("8,0-3,1023", &c, NULL), QN_OK);
    assert_int_equal(c.n, 6);
    assert_int_equal(c.id[0], 8);
    assert_int_equal(c.id[4], 3);
    assert_int_equal(c.id[5], 1023);
}

/* ---- choosing ---- */

/* What a further thread adds: to computing, to reading. */
typedef struct machine {
    double slow, sibling, memory_slow, memory_sibling;
    int asked;
    bool mute, disturbed;
} machine;

static bool rate(void *arg, const qn_cpus *on, qn_rates *out)
{
    machine *m = arg;
    qn_topology t = read_tree(8);
    m->asked++;
    if (m->mute)
        return false;
    *out = (qn_rates){.memory = 10, .disturbed = m->disturbed};
    for (int i = 0; i < on->n; i++) {
        bool slow = t.cpu[on->id[i]].slow, first = t.cpu[on->id[i]].first;
        out->compute += !first ? m->sibling : slow ? m->slow : 1;
        out->memory += !first ? m->memory_sibling : slow ? m->memory_slow : 1;
    }
    return true;
}

static void choice(void **state)
{
    (void)state;
    fresh();
    hybrid();
    qn_topology t = read_tree(8);
    const struct {
        machine m;
        double quota;
        int threads;
    } cases[] = {
        {{.slow = 0.5, .sibling = 0.2}, 0, 8},                       /* both help */
        {{.slow = 0.5, .sibling = 0}, 0, 6},                         /* siblings add nothing */
        {{.slow = 0.5, .sibling = 0.2, .memory_sibling = -1}, 0, 6}, /* and cost memory */
        {{.slow = -0.2, .memory_slow = 0.1}, 0, 2},                  /* slow cores hold up the fast ones */
        {{.slow = -0.2, .sibling = 2}, 0, 8},                        /* unlikely: all together are better again */
        {{.slow = 0.5, .sibling = 0.2}, 4, 4},                       /* the control group grants four */
        {{.slow = 0.5, .sibling = 0.2}, 1, 1},
        {{.mute = true}, 0, 2}, /* cannot be measured */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        machine m = cases[i].m;
        t.quota = cases[i].quota;
        assert_int_equal(qn__threads_choose(&t, rate, &m), cases[i].threads);
        assert_in_range(m.asked, 0, 3);
    }
    drop();
}

static void memory(void **state)
{
    (void)state;
    char file[128], *text;
    size_t n;
    machine m = {.slow = 0.5};
    fresh();
    hybrid();
    qn_topology t = read_tree(8);
    snprintf(file, sizeof file, "%s/threads", root);
    assert_int_equal(qn__threads_remembered(&t, file, rate, &m), 6);
    assert_int_equal(m.asked, 3);
    assert_int_equal(qn__threads_remembered(&t, file, rate, &m), 6);
    assert_int_equal(m.asked, 3); /* remembered */
    t.key++;                      /* another machine with the same home */
    assert_int_equal(qn__threads_remembered(&t, file, rate, &m), 6);
    assert_int_equal(m.asked, 6);
    t.key--;
    assert_int_equal(qn__threads_remembered(&t, file, rate, &m), 6);
    assert_int_equal(m.asked, 6); /* the first is still known */

    static const char *const broken[] = {"",
                                         "quern threads 1\n",
                                         "quern threads 2\n",
                                         "\xff\xfe",
                                         "quern threads 1\n%s 0\n",
                                         "quern threads 1\n%s 9\n",
                                         "quern threads 1\n%s -1\n",
                                         "quern threads 1\n%s 3x\n",
                                         "quern threads 1\n%s 99999999999999999999\n",
                                         "quern threads 1\n%s 3"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        char key[32], line[128];
        snprintf(key, sizeof key, "%016llx", (unsigned long long)t.key);
        const char *at = strstr(broken[i], "%s");
        snprintf(line, sizeof line, "%.*s%s%s", at ? (int)(at - broken[i]) : 99, broken[i], at ? key : "",
                 at ? at + 2 : "");
        put("/threads", line);
        m.asked = 0;
        assert_int_equal(qn__threads_remembered(&t, file, rate, &m), 6);
        assert_int_equal(m.asked, 3); /* measured again */
        assert_int_equal(qn__threads_remembered(&t, file, rate, &m), 6);
        assert_int_equal(m.asked, 3); /* and mended */
    }
    char good[64]; /* planted: a number that is there is believed */
    snprintf(good, sizeof good, "quern threads 1\n%016llx 7\n", (unsigned long long)t.key);
    put("/threads", good);
    assert_int_equal(qn__threads_remembered(&t, file, rate, &m), 7);

    assert_int_equal(unlink(file), 0);
    assert_int_equal(qn__threads_remembered(&t, "/proc/no/such/place", rate, &m), 6); /* not written: fine */
    m.disturbed = true;
    assert_int_equal(qn__threads_remembered(&t, file, rate, &m), 6);
    m.mute = true; /* what was not measured, or not well, is not kept */
    assert_int_equal(qn__threads_remembered(&t, file, rate, &m), 2);
    assert_int_equal(qn__read_file(file, 1 << 16, &text, &n, NULL), QN_EIO);
    drop();
}

/* ---- this machine ---- */

static void where(void *arg, int item, int thread)
{
    qn_cpus *seen = arg;
    qn_cpus now;
    (void)thread;
    if (qn__cpus_pin(NULL, 0, &now)) /* an empty set is refused: only reads */
        return;
    seen->id[item] = now.n == 1 ? now.id[0] : (int16_t)-1;
}

static void here(void **state)
{
    (void)state;
    static qn_topology t;
    qn_pool *pool;
    qn_cpus order_, before, after, seen;
    int stages[3];
    qn__topology_read("", NULL, &t);
    assert_true(t.n >= 1 && t.n_cores >= 1 && t.n_cores <= t.n);
    assert_in_range(qn__threads_default(QN_CPU_REF), 1, t.n);
    printf(
        "figure: this machine: %d processor(s), %d core(s), %d slow, %d node(s), quota %g; %d thread(s) by default\n",
        t.n, t.n_cores, t.n_slow, t.n_nodes, t.quota, qn__threads_default(qn__cpu_best()));
    qn__topology_order(&t, &order_, stages);
    assert_int_equal(order_.n, t.n);
    (void)qn__cpus_pin(NULL, 0, &before);
    order_.n = 1;
    assert_int_equal(qn__pool_open(1, &pool, NULL), QN_OK);
    assert_int_equal(qn__pool_pin(pool, &order_, NULL), QN_OK);
    seen.id[0] = -2;
    qn__pool_run(pool, 1, where, &seen);
    assert_int_equal(seen.id[0], order_.id[0]);
    qn__pool_close(pool);
    (void)qn__cpus_pin(NULL, 0, &after);
    assert_int_equal(after.n, before.n); /* back where it was */
    assert_int_equal(qn__pool_open(2, &pool, NULL), QN_OK);
    assert_int_equal(qn__pool_pin(pool, &order_, NULL), QN_EINVAL);
    qn__pool_close(pool);
}

int main(void)
{
    (void)setenv("XDG_CACHE_HOME", "/tmp/quern-threads-cache", 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(trees), cmocka_unit_test(quotas), cmocka_unit_test(nonsense),
                                       cmocka_unit_test(lists), cmocka_unit_test(choice), cmocka_unit_test(memory),
                                       cmocka_unit_test(here)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
