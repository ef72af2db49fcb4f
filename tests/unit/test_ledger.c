/* test_ledger.c - samples survive kill -9 at any moment; an unfinished run is taken up by one, not by two; strangers' files are
 * refused. Planted fault: a sample that was never put must be missed. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/process.h"
#include "services/ledger/ledger.h"

static char dir[] = "/tmp/quern-ledger-XXXXXX", path[64];

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir + strlen(dir) - 6, "XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/l.db", dir);
    return 0;
}

static int drop_dir(void **state)
{
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static const qn_run_info info = {.kind = "eval", .key = "{\"suite\":1}", .model = "m", .fingerprint = "f", .machine = "{}"};

static qn_ledger *open_it(void)
{
    qn_ledger *l = NULL;
    qn_err err = {0};
    if (qn__ledger_open(path, &l, &err))
        fail_msg("%s: %s", err.where, err.what);
    return l;
}

static void put(qn_ledger *l, int64_t run, int i)
{
    char item[16];
    (void)snprintf(item, sizeof item, "item%04d", i);
    json_t *data = json_pack("{s:i}", "i", i);
    qn_err err = {0};
    if (qn__ledger_put(l, run, item, 0, "passed", i % 2 == 0, data, &err))
        fail_msg("%s: %s", err.where, err.what);
    json_decref(data);
}

static bool count(void *arg, const char *item, int seq, const char *outcome, bool passed)
{
    (void)seq;
    int *n = arg;
    assert_string_equal(outcome, "passed");
    assert_int_equal(passed, atoi(item + 4) % 2 == 0);
    ++*n;
    return true;
}

static void test_rows(void **state)
{
    (void)state;
    qn_ledger *l = open_it();
    int64_t run, before;
    assert_int_equal(qn__ledger_begin(l, &info, true, &run, &before, NULL), QN_OK);
    assert_int_equal(before, 0);
    for (int i = 0; i < 10; i++)
        put(l, run, i);
    put(l, run, 3); /* again: replaced */
    int n = 0;
    assert_int_equal(qn__ledger_each(l, run, count, &n, NULL), QN_OK);
    assert_int_equal(n, 10);
    bool there = false;
    assert_int_equal(qn__ledger_has(l, run, "item0003", 0, &there, NULL), QN_OK);
    assert_true(there);
    assert_int_equal(qn__ledger_has(l, run, "item0003", 1, &there, NULL), QN_OK);
    assert_false(there); /* planted: never put */
    json_t *result = json_object();
    assert_int_equal(qn__ledger_finish(l, run, result, NULL), QN_OK);
    json_decref(result);
    int64_t again;
    assert_int_equal(qn__ledger_begin(l, &info, true, &again, &before, NULL), QN_OK);
    assert_true(again != run && before == 0); /* finished runs are not taken up */
    qn__ledger_close(l);
}

/* A child writes and says after each put how far it is; it is killed somewhere; what it had said is there. */
static void test_killed(void **state)
{
    (void)state;
    int total = 0;
    for (int round = 0; round < 8; round++) {
        int fd[2];
        assert_int_equal(pipe(fd), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            qn_ledger *l = NULL;
            int64_t run, before;
            if (qn__ledger_open(path, &l, NULL) || qn__ledger_begin(l, &info, true, &run, &before, NULL))
                _exit(1);
            for (int i = (int)before;; i++) {
                char item[16];
                (void)snprintf(item, sizeof item, "item%04d", i);
                json_t *data = json_integer(i);
                if (qn__ledger_put(l, run, item, 0, "passed", i % 2 == 0, data, NULL) || write(fd[1], &i, sizeof i) != sizeof i)
                    _exit(1);
                json_decref(data);
            }
        }
        (void)close(fd[1]);
        int last = -1, i;
        for (int k = 0; k < 5 + round && read(fd[0], &i, sizeof i) == sizeof i; k++)
            last = i;
        (void)kill(child, SIGKILL);
        while (read(fd[0], &i, sizeof i) == sizeof i)
            last = i;
        (void)close(fd[0]);
        (void)waitpid(child, NULL, 0);
        assert_true(last >= total); /* it went on where the one before was */
        total = last + 1;
        qn_ledger *l = open_it();
        int64_t run, before;
        assert_int_equal(qn__ledger_begin(l, &info, true, &run, &before, NULL), QN_OK);
        assert_true(before >= total);
        qn__ledger_leave(l, run);
        qn__ledger_close(l);
    }
    print_message("figure: ledger: 8 kills, %d samples said to be kept, none lost\n", total);
}

/* Two at once: the second must not take the first's run, whose process lives. */
static void test_two(void **state)
{
    (void)state;
    qn_ledger *a = open_it(), *b = open_it();
    int64_t ra, rb, before;
    assert_int_equal(qn__ledger_begin(a, &info, true, &ra, &before, NULL), QN_OK);
    put(a, ra, 0);
    assert_int_equal(qn__ledger_begin(b, &info, true, &rb, &before, NULL), QN_OK);
    assert_true(ra != rb);
    assert_int_equal(before, 0);
    qn__ledger_leave(a, ra);
    qn__ledger_close(a);
    int64_t rc;
    assert_int_equal(qn__ledger_begin(b, &info, true, &rc, &before, NULL), QN_OK);
    assert_int_equal(rc, ra);
    assert_int_equal(before, 1);
    qn__ledger_close(b);
}

static void refused(const char *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    qn_ledger *l = NULL;
    qn_err err = {0};
    assert_int_equal(qn__ledger_open(path, &l, &err), QN_EFORMAT);
    assert_true(strlen(err.what) > 10 && strstr(err.where, path));
}

static void test_strangers(void **state)
{
    (void)state;
    static char noise[5000];
    memset(noise, 'q', sizeof noise);
    refused(noise, sizeof noise);
    (void)unlink(path);
    qn_ledger *l = open_it();
    qn__ledger_close(l);
    char *p = NULL;
    assert_int_equal(setenv("XDG_DATA_HOME", dir, 1), 0);
    assert_int_equal(qn__user_file(QN_USER_DATA, "x/ledger.db", &p, NULL), QN_OK);
    assert_true(strncmp(p, dir, strlen(dir)) == 0 && strstr(p, "/quern/x/ledger.db"));
    qn_free(p);
}

static void test_process_names(void **state)
{
    (void)state;
    char *self = qn__process_self();
    assert_true(qn__process_lives(self));
    assert_false(qn__process_lives("1.99.x"));
    assert_false(qn__process_lives("nonsense"));
    self[strlen(self) - 1] ^= 1; /* of another boot */
    assert_false(qn__process_lives(self));
    qn_free(self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows, make_dir, drop_dir), cmocka_unit_test_setup_teardown(test_killed, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_two, make_dir, drop_dir), cmocka_unit_test_setup_teardown(test_strangers, make_dir, drop_dir),
        cmocka_unit_test(test_process_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
