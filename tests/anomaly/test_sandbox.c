/* test_sandbox.c - programs that mean harm, and what became of each: contained, reported, the machine unharmed.
 *
 * Each is a line of shell (with perl, which every Debian has). `want` is how it must end; `says`, what its output must hold.
 * Afterwards nothing of it may run, and the canary files outside must be as they were. Planted fault: the same check run
 * without a sandbox must find a leftover. */
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

#include "services/eval/sandbox.h"

typedef struct hostile {
    const char *name, *program;
    int want;
    const char *says; /* NULL: anything */
} hostile;

enum { E = QN_PROCESS_EXITED, T = QN_PROCESS_TIME, O = QN_PROCESS_OUTPUT, P = QN_PROCESS_PROCESSES, M = QN_PROCESS_MEMORY, ANY = -1 };

static const hostile programs[] = {
    {"fork bomb", "f() { f | f & }; f; sleep 9", ANY, NULL},
    {"fork bomb in perl", "perl -e 'while (1) { fork }'", T, NULL},
    {"many sleepers", "i=0; while [ $i -lt 200 ]; do sleep 9 & i=$((i+1)); done; wait", ANY, NULL},
    {"memory bomb", "perl -e '$s = \"x\" x 1e8; push @a, $s . $_ for 1 .. 100; sleep 9'", M, NULL},
    {"memory bomb in many processes", "for i in 1 2 3 4 5 6; do perl -e '$s = \"x\" x 9e7; sleep 9' & done; wait", M, NULL},
    {"address space", "perl -e '$s = \"x\" x 8e9; print length $s' 2>/dev/null || echo refused", E, "refused"},
    {"endless loop", "while :; do :; done", T, NULL},
    {"sleeps", "sleep 60", T, NULL},
    {"ignores signals", "trap '' TERM INT HUP QUIT XCPU; while :; do :; done", T, NULL},
    {"stops itself", "kill -STOP $$; sleep 60", T, NULL},
    {"floods stdout", "yes", O, NULL},
    {"floods stderr", "yes >&2", O, NULL},
    {"floods slowly and closes", "yes | head -c 10000000; exit 0", O, NULL},
    {"leaves a daemon", "(setsid sleep 7771 >/dev/null 2>&1 &); echo left", E, "left"},
    {"leaves a double fork", "perl -e 'exit if fork; use POSIX; POSIX::setsid(); exit if fork; sleep 7772'; echo left", E, "left"},
    {"leaves a daemon that holds the output", "(setsid sleep 7773 &) ; echo left", E, "left"},
    {"network by name", "perl -e 'use Socket; print defined(inet_aton(\"example.com\")) ? \"net\" : \"none\"'", E, "none"},
    {"network by address", "perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(PeerAddr => \"1.1.1.1:53\", Timeout => 2) ? \"net\" : \"none\"'", E, "none"},
    {"loopback of the machine", "perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(PeerAddr => \"127.0.0.1:22\", Timeout => 2) ? \"net\" : \"none\"'", E, "none"},
    {"interfaces", "cat /proc/net/dev | grep -v lo: | grep -c : ; true", E, "0"},
    {"writes to the root", "echo x > /canary 2>/dev/null || echo refused", E, "refused"},
    {"writes to /usr", "echo x > /usr/canary 2>/dev/null || echo refused", E, "refused"},
    {"writes to /etc", "mkdir -p /etc/canary 2>/dev/null || echo refused", E, "refused"},
    {"removes what it runs on", "rm -rf /usr/bin/perl /bin/sh /etc /tmp /box --no-preserve-root >/dev/null 2>&1; test -x /usr/bin/perl && echo still", E, "still"},
    {"reads passwords", "cat /etc/shadow 2>/dev/null || echo refused", E, "refused"},
    {"reads homes", "ls -a /root /home 2>/dev/null | grep -c . || echo none", ANY, "0"},
    {"reads the environment", "env | grep -c CANARY; true", E, "0"},
    {"a link out", "ln -s \"$OLDPWD/canary\" l 2>/dev/null; ln -s /canary l2; echo x > l2 2>/dev/null || echo refused", E, "refused"},
    {"climbs by ..", "cat ../../../../../../canary-outside 2>/dev/null || echo refused", E, "refused"},
    {"others' processes", "ls /proc | grep -c '^[0-9]'", E, NULL},
    {"kills all", "kill -9 -1; sleep 1; echo alive", ANY, NULL},
    {"kills its parent", "kill -9 $PPID 2>/dev/null; echo tried", ANY, NULL},
    {"kills the first process", "kill -9 1; echo tried", ANY, NULL},
    {"traces the first process", "perl -e 'syscall(101, 16, 1, 0, 0); sleep 60'", T, NULL},
    {"memory of the first process", "dd if=/proc/1/mem of=/dev/null bs=1 count=1 2>/dev/null && echo read || echo refused", E, "refused"},
    {"kernel settings", "v=$(cat /proc/sys/kernel/panic); echo $v > /proc/sys/kernel/panic 2>/dev/null && echo set || echo refused", E, "refused"},
    {"sysrq", "echo b > /proc/sysrq-trigger 2>/dev/null && echo set || echo refused", E, "refused"},
    {"mounts", "mount -t tmpfs x /usr 2>/dev/null && echo mounted || echo refused", E, "refused"},
    {"mounts in a new namespace", "unshare -Urm sh -c 'mount -t tmpfs x /usr && touch /usr/mine' 2>/dev/null; test -e /usr/mine && echo seen || echo unseen", E, "unseen"},
    {"devices", "ls /dev/sd* /dev/nvme* /dev/vd* /dev/mem /dev/kmem 2>/dev/null | grep -c .; true", E, "0"},
    {"makes a device", "mknod d b 8 0 2>/dev/null && echo made || echo refused", E, "refused"},
    {"fills the disk", "dd if=/dev/zero of=/tmp/big bs=1M count=500 2>/dev/null; dd if=/dev/zero of=/box/big bs=1M count=500 2>/dev/null; du -sm /tmp /box | awk '$1 > 20 {print \"too much\"} END {print \"bounded\"}'", E, "bounded"},
    {"many small files", "perl -e 'for (1 .. 200000) { open F, \">/tmp/$_\" or last; print F \"x\"; close F } print \"stopped\"'", ANY, NULL},
    {"many open files", "perl -e 'my @f; while (open my $f, \"<\", \"/dev/null\") { push @f, $f; last if @f > 9999 } print @f < 1000 ? \"bounded\" : \"many\"'", E, "bounded"},
    {"raises its limits", "ulimit -t unlimited 2>/dev/null && echo raised || echo refused", E, "refused"},
    {"sets the clock", "date -s 2001-01-01 >/dev/null 2>&1 && echo set || echo refused", E, "refused"},
    {"becomes another", "perl -e '$< = $> = 1234; print $> == 1234 ? \"other\" : \"refused\"'", E, "refused"},
    {"reads input", "cat; echo end", E, "end"},
    {"dies", "kill -SEGV $$", ANY, NULL},
};

static const qn_sandbox_limits tight = {.wall_s = 3, .memory = 300 << 20, .processes = 40, .output = 64 << 10, .disk = 16 << 20};

static bool runs(const char *mark)
{
    char command[128];
    (void)snprintf(command, sizeof command, "pgrep -f '^sleep %s' >/dev/null", mark);
    return system(command) == 0;
}

static qn_sandbox *need_sandbox(void)
{
    qn_err err = {0};
    qn_sandbox *s = NULL;
    if (qn__sandbox_open(&s, &err)) {
        /* Where a plain container can be made, a sandbox that cannot is broken, not missing. */
        assert_int_not_equal(system("bwrap --unshare-all --ro-bind / / true >/dev/null 2>&1"), 0);
        print_message("skipped: %s\n", err.what);
        skip();
    }
    return s;
}

static void test_hostile(void **state)
{
    (void)state;
    qn_sandbox *s = need_sandbox();
    assert_int_equal(setenv("CANARY", "secret", 1), 0);
    char outside[] = "/tmp/quern-canary-XXXXXX";
    int fd = mkstemp(outside);
    assert_true(fd >= 0);
    size_t bad = 0, n = sizeof programs / sizeof *programs;
    for (size_t i = 0; i < n; i++) {
        const hostile *h = &programs[i];
        qn_err err = {0};
        qn_process_result r = {0};
        qn_sandbox_limits limits = tight;
        if (h->want != ANY && h->want != QN_PROCESS_TIME)
            limits.wall_s = 20; /* it ends by another limit, on a busy machine a little later */
        if (qn__sandbox_run(s, &limits, "p", h->program, strlen(h->program), "sh ./p", &r, &err)) {
            print_error("%s: %s: %s\n", h->name, err.where, err.what);
            bad++;
            continue;
        }
        bool ok = (h->want == ANY || (int)r.end == h->want) && r.out.n <= tight.output && r.err.n <= tight.output && r.seconds < 30 &&
                  (!h->says || (r.out.data && strstr(r.out.data, h->says)));
        if (!ok)
            print_error("%s: end %d (code %d, signal %d), %.1f s, out '%.*s' err '%.*s'\n", h->name, r.end, r.code, r.signal, r.seconds,
                        (int)(r.out.n < 200 ? r.out.n : 200), r.out.data ? r.out.data : "", (int)(r.err.n < 300 ? r.err.n : 300),
                        r.err.data ? r.err.data : "");
        bad += !ok;
        qn__process_result_free(&r);
    }
    assert_false(runs("777[123]"));
    assert_int_equal(access("/canary", F_OK), -1);
    assert_int_equal(access(outside, F_OK), 0);
    (void)close(fd);
    (void)unlink(outside);
    print_message("figure: sandbox: %zu hostile programs, %zu not contained as expected\n", n, bad);
    qn__sandbox_close(s);
    assert_int_equal(bad, 0);
}

/* Without a sandbox a daemon outlives its starter: the check that looks for leftovers must see it. */
static void test_planted(void **state)
{
    (void)state;
    const char *const argv[] = {"sh", "-c", "setsid sleep 7774 >/dev/null 2>&1 & sleep 0.3; echo left", NULL};
    qn_process_result r = {0};
    assert_int_equal(qn__process_run(&(qn_process_options){.argv = argv}, &r, NULL), QN_OK);
    qn__process_result_free(&r);
    for (int i = 0; i < 100 && !runs("7774"); i++)
        (void)usleep(10000);
    assert_true(runs("7774"));
    assert_int_equal(system("pkill -f '^sleep 7774'"), 0);
}

static void test_process(void **state)
{
    (void)state;
    qn_process_result r = {0};
    qn_err err = {0};
    const char *const cat[] = {"cat", NULL};
    static char big[300000];
    memset(big, 'a', sizeof big);
    assert_int_equal(qn__process_run(&(qn_process_options){.argv = cat, .input = big, .n_input = sizeof big}, &r, &err), QN_OK);
    assert_int_equal(r.end, QN_PROCESS_EXITED);
    assert_int_equal(r.out.n, sizeof big);
    qn__process_result_free(&r);
    const char *const deaf[] = {"true", NULL}; /* does not read: no SIGPIPE here */
    assert_int_equal(qn__process_run(&(qn_process_options){.argv = deaf, .input = big, .n_input = sizeof big}, &r, &err), QN_OK);
    assert_int_equal(r.code, 0);
    qn__process_result_free(&r);
    const char *const none[] = {"no-such-program", NULL};
    assert_int_equal(qn__process_run(&(qn_process_options){.argv = none}, &r, &err), QN_EIO);
    assert_non_null(strstr(err.where, "no-such-program"));
    const char *const fails[] = {"sh", "-c", "echo out; echo err >&2; exit 7", NULL};
    assert_int_equal(qn__process_run(&(qn_process_options){.argv = fails}, &r, &err), QN_OK);
    assert_int_equal(r.code, 7);
    assert_string_equal(r.out.data, "out\n");
    assert_string_equal(r.err.data, "err\n");
    qn__process_result_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_process), cmocka_unit_test(test_planted), cmocka_unit_test(test_hostile)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
