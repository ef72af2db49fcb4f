/* test_nvml.c - GPUs' energy, told by libraries that are built here and stand in for that of NVIDIA's driver: as it should be, and each way
 * in which it cannot be told. Planted fault: a library whose counters stand still must not look as one whose counters go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/nvml.h"

/* Device i has used 1000 (i + 1) mJ at its first reading and STEP (i + 1) more at each further one. */
static const char SOURCE[] = "#ifndef COUNT\n#define COUNT 2\n#endif\n#ifndef STEP\n#define STEP 500\n#endif\n#ifndef OLD\n#define OLD -1\n#endif\n"
                             "static int up; static struct { int i; unsigned long long used; } d[COUNT > 100 ? 100 : COUNT + 1];\n"
                             "int nvmlInit_v2(void) {\n#ifdef NO_DRIVER\n  return 9;\n#endif\n  up = 1; return 0; }\n"
                             "int nvmlShutdown(void) { up = 0; return 0; }\n"
                             "int nvmlDeviceGetCount_v2(unsigned *n) { if (!up) return 1; *n = COUNT; return 0; }\n"
                             "int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **p) { if (!up || i >= sizeof d / sizeof *d) return 2;"
                             "  d[i].i = (int)i; if (!d[i].used) d[i].used = 1000 * (i + 1); *p = &d[i]; return 0; }\n"
                             "#ifndef NO_ENERGY\n"
                             "int nvmlDeviceGetTotalEnergyConsumption(void *p, unsigned long long *e) { int i = *(int *)p;"
                             "  if (!up || i == OLD || OLD == 99) return 3; *e = d[i].used; d[i].used += STEP * (i + 1); return 0; }\n"
                             "#endif\n";

static char dir[] = "/tmp/quern-nvml-XXXXXX";

/* False: there is no compiler. */
static bool build(const char *flags)
{
    char path[64], command[256];
    (void)snprintf(path, sizeof path, "%s/s.c", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(SOURCE, f) >= 0 && fclose(f) == 0);
    (void)snprintf(command, sizeof command, "cc -shared -fPIC %s -o %s/s.so %s/s.c", flags, dir, dir);
    (void)snprintf(path, sizeof path, "%s/s.so", dir);
    (void)remove(path);
    if (system("cc --version >/dev/null 2>&1") != 0)
        return false;
    assert_int_equal(system(command), 0);
    (void)setenv("QUERN_NVML", path, 1);
    return true;
}

static double joules(const char *flags, int devices)
{
    const char *why = NULL;
    qn_nvml_energy a, b;
    if (!build(flags))
        skip();
    qn_nvml *n = qn__nvml_open(&why);
    if (!n)
        fail_msg("%s: %s", flags, why);
    assert_int_equal(qn__nvml_devices(n), devices);
    assert_true(qn__nvml_read(n, &a) && qn__nvml_read(n, &b));
    const double j = qn__nvml_between(n, &a, &b);
    qn__nvml_close(n);
    return j;
}

static void test_told(void **state)
{
    (void)state;
    assert_true(joules("", 2) == 0.5 + 1.0);
    assert_true(joules("-DCOUNT=1", 1) == 0.5);
    assert_true(joules("-DOLD=0", 1) == 1.0);  /* one of two tells nothing */
    assert_true(joules("-DSTEP=0", 2) == 0);   /* planted */
    assert_true(joules("-DSTEP=-200", 2) == 0); /* loaded anew in between */
    assert_true(joules("-DCOUNT=4000000000u", QN_NVML_MOST) == 0.5 * QN_NVML_MOST * (QN_NVML_MOST + 1) / 2);
}

static void test_not_told(void **state)
{
    (void)state;
    static const struct {
        const char *flags, *why;
    } t[] = {{"-DNO_DRIVER", "not loaded"}, {"-DCOUNT=0", "knows no GPU"}, {"-DOLD=99", "no GPU tells it"}, {"-DNO_ENERGY", "too old"}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        const char *why = NULL;
        if (!build(t[i].flags))
            skip();
        assert_null(qn__nvml_open(&why));
        assert_non_null(strstr(why, t[i].why));
    }
    static const char *const none[] = {"", "/no/such/library.so", "/dev/null", "/proc/self/maps"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        const char *why = NULL;
        (void)setenv("QUERN_NVML", none[i], 1);
        assert_null(qn__nvml_open(&why));
        assert_non_null(strstr(why, "there is no library"));
    }
}

static int begin(void **state)
{
    (void)state;
    return mkdtemp(dir) == NULL;
}

static int end(void **state)
{
    char command[64];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_told), cmocka_unit_test(test_not_told)};
    return cmocka_run_group_tests(tests, begin, end);
}
