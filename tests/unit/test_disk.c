/* Pages on disk against what their tokens say: written, read back, damaged, shared by several, out of room. */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/mem.h"
#include "engine/pages.h"

enum { T = 64, SLOT = 8, BYTES = T * SLOT, STATE = 256 };

static char dir[64];
static qn_root root = {.model = {7, 8}, .build = 9, .page_bytes = BYTES, .label = "a test"};

static uint64_t rng = 1;
static uint32_t below(uint32_t n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(rng >> 33) % n;
}

/* ---- sequences whose pages hold a function of all tokens before ---- */

static void compute(qn_pages *p, qn_seq *s, size_t n)
{
    assert_int_equal(qn__seq_reserve(p, s, n, NULL), QN_OK);
    uint64_t h = 99;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ (uint64_t)s->tokens[i]) * 0x100000001b3u;
        if (i >= s->n_done)
            memcpy(s->pages[i / T] + i % T * SLOT, &h, SLOT);
    }
    if (s->state)
        for (size_t i = 0; i < STATE / 8; i++)
            memcpy((char *)s->state + i * 8, &h, 8);
    if (n > s->n_done)
        qn__seq_done(p, s, n - s->n_done);
}
static bool holds(const qn_seq *s)
{
    uint64_t h = 99;
    for (size_t i = 0; i < s->n_done; i++) {
        h = (h ^ (uint64_t)s->tokens[i]) * 0x100000001b3u;
        if (memcmp(s->pages[i / T] + i % T * SLOT, &h, SLOT) != 0)
            return false;
    }
    return !s->state || s->n_done == 0 || memcmp(s->state, &h, 8) == 0;
}
static qn_seq *prompt(size_t n, uint32_t salt)
{
    int32_t *t = malloc((n + 1) * sizeof *t);
    for (size_t i = 0; i < n; i++)
        t[i] = (int32_t)((i * 7 + (i >= 70 ? salt : 0)) % 1000);
    qn_seq *s = NULL;
    assert_int_equal(qn__seq_open(t, n, &s, NULL), QN_OK);
    free(t);
    return s;
}
static qn_pages *pool_of(int32_t pages, int32_t budget, uint64_t max)
{
    qn_pages *p = NULL;
    qn_err err = {0};
    assert_int_equal(qn__pages_open(BYTES, pages, budget, &p, NULL), QN_OK);
    if (root.state_bytes)
        qn__pages_recurrent(p, STATE, 20);
    if (qn__pages_disk(p, dir, max, &root, &err))
        fail_msg("%s: %s", err.where, err.what);
    return p;
}
static qn_pages *pool(void)
{
    return pool_of(100, 100, 1 << 24);
}
/* Takes over what there is; how many tokens. */
static size_t resume(qn_pages *p, qn_seq *s)
{
    size_t common;
    while (qn__pages_restore(p, s, s->n_tokens - 1, 0))
        ;
    size_t n = qn__pages_find(p, s, s->n_tokens - 1, &common);
    if (n > s->n_done)
        assert_int_equal(qn__pages_adopt(p, s, n, NULL), QN_OK);
    qn__pages_let_go(p, s);
    assert_true(holds(s));
    return s->n_done;
}
/* A conversation is had and the process ends in good order. */
static void leave(size_t n, uint32_t salt)
{
    qn_pages *p = pool();
    qn_seq *s = prompt(n, salt);
    (void)resume(p, s);
    compute(p, s, n);
    qn__pages_keep(p, s);
    qn__pages_close(p);
}

/* ---- the directory ---- */

static void wipe(void)
{
    char cmd[128];
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    assert_int_equal(system(cmd), 0);
}
static int set_up(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/quern-disk-%ld", (long)getpid());
    wipe();
    root = (qn_root){.model = {7, 8}, .build = 9, .page_bytes = BYTES, .label = "a test"};
    return 0;
}
static int tear_down(void **state)
{
    (void)state;
    wipe();
    return 0;
}
/* The paths of the page files, sorted by nothing; how many. */
static size_t files(char out[][400], size_t most)
{
    char text[33], sub[128];
    size_t n = 0;
    qn__name_text(qn__root_name(&root), text);
    (void)snprintf(sub, sizeof sub, "%s/%s", dir, text);
    DIR *d = opendir(sub);
    for (struct dirent *e; d && (e = readdir(d));)
        if (strstr(e->d_name, ".kv") && n < most)
            (void)snprintf(out[n++], 400, "%s/%s", sub, e->d_name);
    if (d)
        (void)closedir(d);
    return n;
}
static unsigned char *slurp(const char *path, size_t *n)
{
    char *data;
    assert_int_equal(qn__read_file(path, 1 << 24, &data, n, NULL), QN_OK);
    return (unsigned char *)data;
}
static void spew(const char *path, const unsigned char *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    (void)fclose(f);
}

/* ---- tests ---- */

static void comes_back(void **state)
{
    (void)state;
    char f[64][400];
    leave(1500, 1); /* 23 whole pages: two files */
    assert_int_equal(files(f, 64), 2);
    struct stat st;
    assert_int_equal(stat(f[0], &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);

    qn_pages *p = pool();
    qn_seq *s = prompt(1500, 1), *other = prompt(1500, 2), *exact = prompt(1472, 1);
    assert_int_equal(resume(p, other), 64);
    assert_int_equal(resume(p, s), 1472);
    assert_int_equal(resume(p, exact), 1471);
    qn_pages_stats ps;
    qn__pages_stats(p, &ps);
    assert_int_equal(ps.restored, 23);
    /* Planted: a page that is not what its tokens say. */
    s->pages[20][3] ^= 1;
    assert_false(holds(s));
    s->pages[20][3] ^= 1;
    compute(p, s, 1500);
    qn__pages_keep(p, s);
    qn__seq_close(p, other);
    qn__seq_close(p, exact);
    qn__pages_close(p);
    assert_int_equal(files(f, 64), 2); /* nothing was written twice */

    /* What the pages depend on is another: nothing is found. */
    for (int k = 0; k < 6; k++) {
        qn_root right = root;
        root.model.lo += k == 0;
        root.build += k == 1;
        root.kv += k == 2;
        root.level += k == 3;
        root.variant += k == 4;
        if (k == 5)
            root.label[0] ^= 1; /* only for people */
        p = pool();
        s = prompt(1500, 1);
        assert_int_equal(resume(p, s), k == 5 ? 1472 : 0);
        qn__seq_close(p, s);
        qn__pages_close(p);
        root = right;
    }
}

/* Each byte of a file, one at a time; and each length. Never anything but what the tokens say. */
static void damaged(void **state)
{
    (void)state;
    char f[4][400];
    leave(200, 1);
    assert_int_equal(files(f, 4), 1);
    size_t n, tried = 0;
    unsigned char *good = slurp(f[0], &n);
    for (size_t i = 0; i < n; i += i < QN_PAGEFILE_HEAD + 64 ? 1 : 1 + below(40)) {
        unsigned char *bad = malloc(n);
        memcpy(bad, good, n);
        bad[i] ^= (unsigned char)(1u << below(8));
        spew(f[0], bad, n);
        qn_pages *p = pool();
        qn_seq *s = prompt(200, 1);
        size_t got = resume(p, s);
        qn_pages_stats st;
        qn__pages_stats(p, &st);
        tried++;
        assert_true(got < 192);
        assert_int_equal(st.disk.bad, 1);
        assert_int_equal(access(f[0], F_OK), -1); /* it is gone */
        if (i % 16 == 0 && got == 0) {            /* and comes anew */
            compute(p, s, 200);
            qn__pages_keep(p, s);
            s = NULL;
            qn__pages_flush(p);
            assert_int_equal(access(f[0], F_OK), 0);
        }
        if (s)
            qn__seq_close(p, s);
        qn__pages_close(p);
        free(bad);
    }
    for (size_t cut = 0; cut < n; cut += 1 + cut / 16) {
        spew(f[0], good, cut);
        qn_pages *p = pool();
        qn_seq *s = prompt(200, 1);
        assert_int_equal(resume(p, s), 0);
        qn__seq_close(p, s);
        qn__pages_close(p);
        assert_int_equal(access(f[0], F_OK), -1);
        tried++;
    }
    assert_true(tried > 900);
    printf("figure: disk: %zu damaged files, none of them believed\n", tried);
    free(good);
}

/* A file is cut, removed or replaced between the index and the reading. */
static void behind_our_back(void **state)
{
    (void)state;
    char f[4][400];
    for (int k = 0; k < 4; k++) {
        wipe();
        leave(200, 1);
        assert_int_equal(files(f, 4), 1);
        qn_pages *p = pool();
        qn_seq *s = prompt(200, 1);
        if (k == 0)
            assert_int_equal(truncate(f[0], 1000), 0);
        if (k == 1)
            assert_int_equal(unlink(f[0]), 0);
        if (k == 2) { /* a link to something else is not followed */
            assert_int_equal(rename(f[0], "/tmp/quern-disk-elsewhere"), 0);
            assert_int_equal(symlink("/tmp/quern-disk-elsewhere", f[0]), 0);
        }
        if (k == 3) {
            assert_int_equal(unlink(f[0]), 0);
            assert_int_equal(mkfifo(f[0], 0600), 0);
        }
        assert_int_equal(resume(p, s), 0);
        compute(p, s, 200);
        assert_true(holds(s));
        qn__pages_keep(p, s);
        qn__pages_close(p);
        (void)unlink("/tmp/quern-disk-elsewhere");
    }
    /* A directory that others may write to. */
    wipe();
    assert_int_equal(mkdir(dir, 0777), 0);
    assert_int_equal(chmod(dir, 0777), 0);
    qn_pages *p = NULL;
    qn_err err = {0};
    assert_int_equal(qn__pages_open(BYTES, 10, 10, &p, NULL), QN_OK);
    assert_int_equal(qn__pages_disk(p, dir, 1 << 20, &root, &err), QN_EIO);
    assert_non_null(strstr(err.what, "others may write"));
    qn__pages_close(p);
}

/* All names are one of two: what is found is compared, and nothing of another comes. */
static void collisions(void **state)
{
    (void)state;
    size_t reused = 0;
    for (int round = 0; round < 2; round++) {
        qn_pages *p = pool();
        qn__tree_mask_names(qn__pages_tree(p), 1);
        for (uint32_t i = 0; i < 40; i++) {
            qn_seq *s = prompt(150 + 40 * (i % 5), i % 13);
            reused += resume(p, s); /* resume() looks at every byte */
            compute(p, s, s->n_tokens);
            assert_true(holds(s));
            qn__pages_keep(p, s);
        }
        qn__pages_close(p);
    }
    assert_true(reused > 0);
    printf("figure: disk: %zu tokens reused where all names collide, each compared\n", reused);
}

/* A small memory and a small disk, many conversations: always the right bytes, and never more than the budgets. */
static void random_life(void **state)
{
    (void)state;
    const uint64_t most = 200000;
    uint64_t restored = 0;
    size_t reused = 0, total = 0;
    rng = 3;
    for (int life = 0; life < 8; life++) {
        qn_pages *p = pool_of(60, 12, most);
        if (life == 5)
            qn__tree_mask_names(qn__pages_tree(p), 7);
        for (int i = 0; i < 60; i++) {
            qn_seq *s = prompt(30 + below(900), below(6));
            s->session = below(3);
            reused += resume(p, s);
            total += s->n_tokens;
            for (size_t n = s->n_done; n < s->n_tokens;) {
                n += 1 + below(200);
                compute(p, s, n < s->n_tokens ? n : s->n_tokens);
                qn__pages_tick(p);
            }
            assert_true(holds(s));
            if (below(5))
                qn__pages_keep(p, s);
            else
                qn__seq_close(p, s);
            qn_pages_stats st;
            qn__pages_stats(p, &st);
            assert_true(st.nodes <= 12 + 60);
        }
        qn_pages_stats st;
        qn__pages_flush(p);
        qn__pages_stats(p, &st);
        assert_true(st.disk.bytes <= most);
        assert_int_equal(st.disk.bad, 0);
        assert_int_equal(st.disk.failed, 0);
        restored += st.restored;
        qn__pages_close(p);
    }
    assert_true(restored > 100);
    printf("figure: disk: random life: %zu of %zu tokens reused, %llu pages read back\n", reused, total,
           (unsigned long long)restored);
}

/* Two pools on one directory, each finding what the other left while both live. */
static void two_at_once(void **state)
{
    (void)state;
    qn_pages *a = pool(), *b = pool();
    qn_seq *s = prompt(500, 1), *t = prompt(600, 1);
    compute(a, s, 500);
    qn__pages_keep(a, s);
    qn__pages_flush(a);
    double until = qn__now() + 5; /* the directory is looked at again only now and then */
    size_t got = 0;
    while (got == 0 && qn__now() < until)
        got = resume(b, t);
    assert_int_equal(got, 448);
    compute(b, t, 600);
    qn__pages_keep(b, t);
    qn__pages_close(b);
    s = prompt(600, 1);
    (void)usleep(250000);
    assert_int_equal(resume(a, s), 576);
    qn__seq_close(a, s);
    qn__pages_close(a);
}

/* Children on one directory, killed in the midst of writing; then everything there is right. */
static void killed(void **state)
{
    (void)state;
    for (int round = 0; round < 6; round++) {
        pid_t child[2];
        for (uint32_t k = 0; k < 2; k++) {
            child[k] = fork();
            if (child[k] == 0) {
                (void)alarm(20);
                qn_pages *p = pool();
                for (uint32_t i = 0;; i++) {
                    qn_seq *s = prompt(700, (k ? i : i * 3) % 50);
                    (void)resume(p, s);
                    compute(p, s, 700);
                    qn__pages_keep(p, s);
                }
            }
        }
        (void)usleep(15000 + 20000 * (useconds_t)round);
        for (int k = 0; k < 2; k++) {
            (void)kill(child[k], SIGKILL);
            (void)waitpid(child[k], NULL, 0);
        }
    }
    qn_pages *p = pool_of(100, 50, 1 << 24);
    size_t reused = 0;
    for (uint32_t i = 0; i < 50; i++) {
        qn_seq *s = prompt(700, i);
        reused += resume(p, s);
        qn__seq_close(p, s);
    }
    qn_pages_stats st;
    qn__pages_stats(p, &st);
    assert_int_equal(st.disk.bad, 0); /* renamed when whole: the dead leave only temporary files */
    assert_true(reused > 0);
    printf("figure: disk: after 12 processes were killed while they wrote: %zu tokens found, 0 bad files\n", reused);
    qn__pages_close(p);
}

/* No room: noted once, and nobody else suffers. */
static void full(void **state)
{
    (void)state;
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 3000;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    qn_pages *p = pool();
    for (uint32_t i = 0; i < 5; i++) {
        qn_seq *s = prompt(700, i);
        compute(p, s, 700);
        assert_true(holds(s));
        qn__pages_keep(p, s);
    }
    qn__pages_flush(p);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    qn_pages_stats st;
    qn__pages_stats(p, &st);
    assert_true(st.disk.failed >= 1 && st.disk.failed < 10);
    assert_non_null(strstr(st.disk.notice, "cannot write"));
    assert_int_equal(st.disk.written, 0);
    qn__pages_close(p);
    char f[4][400];
    assert_int_equal(files(f, 4), 0);

    p = pool_of(100, 100, 5000); /* a budget smaller than a run */
    qn_seq *s = prompt(700, 1);
    compute(p, s, 700);
    qn__pages_keep(p, s);
    qn__pages_flush(p);
    qn__pages_stats(p, &st);
    assert_true(st.disk.failed >= 1);
    qn__pages_close(p);
}

static void recurrent(void **state)
{
    (void)state;
    root.state_bytes = STATE;
    qn_pages *p = pool();
    qn_seq *s = prompt(700, 1);
    compute(p, s, 320);
    qn__seq_mark(p, s, 0); /* as at the end of a prompt */
    for (size_t at = 0; s->n_done < 640;) { /* output: one that moves along */
        compute(p, s, s->n_done + 64);
        qn__seq_mark(p, s, at);
        at = s->n_done;
    }
    compute(p, s, 650);
    qn__pages_keep(p, s);
    qn__pages_close(p);

    p = pool();
    s = prompt(700, 1);
    assert_int_equal(resume(p, s), 640);
    assert_true(holds(s));
    qn__seq_close(p, s);
    s = prompt(600, 1); /* ends before: from the end of the prompt */
    assert_int_equal(resume(p, s), 320);
    qn__seq_close(p, s);
    s = prompt(300, 1);
    assert_int_equal(resume(p, s), 0);
    qn__seq_close(p, s);
    qn__pages_close(p);

    char f[8][400];
    size_t n = files(f, 8), len; /* a damaged state: computed again */
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++) {
        unsigned char *data = slurp(f[i], &len);
        data[len - 5] ^= 1;
        spew(f[i], data, len);
        free(data);
    }
    p = pool();
    s = prompt(700, 1);
    assert_int_equal(resume(p, s), 0);
    qn__seq_close(p, s);
    qn__pages_close(p);
}

static void out_of_memory(void **state)
{
    (void)state;
    leave(500, 1);
    uint64_t failed = 0, i = 1;
    for (bool more = true; more; i++) {
        qn_pages *p = NULL;
        qn_seq *s = prompt(700, 1);
        uint64_t before = qn__alloc_count();
        qn__alloc_fail_at(i);
        bool ok = qn__pages_open(BYTES, 100, 100, &p, NULL) == QN_OK && qn__pages_disk(p, dir, 1 << 20, &root, NULL) == QN_OK;
        size_t common;
        if (ok) {
            while (qn__pages_restore(p, s, 699, 0))
                ;
            size_t n = qn__pages_find(p, s, 699, &common);
            if (n > s->n_done)
                ok = qn__pages_adopt(p, s, n, NULL) == QN_OK;
            qn__pages_let_go(p, s);
            assert_true(holds(s));
        }
        ok = ok && qn__seq_reserve(p, s, 700, NULL) == QN_OK;
        if (ok) {
            compute(p, s, 700);
            assert_true(holds(s));
            qn__pages_keep(p, s);
            s = NULL;
            qn__pages_flush(p);
        }
        more = qn__alloc_count() - before >= i;
        qn__alloc_fail_at(0);
        failed += !ok;
        if (p)
            qn__seq_close(p, s);
        else
            qn__seq_close(NULL, s);
        qn__pages_close(p);
    }
    assert_true(failed > 5 && i > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(comes_back, set_up, tear_down), cmocka_unit_test_setup_teardown(damaged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(behind_our_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(collisions, set_up, tear_down), cmocka_unit_test_setup_teardown(random_life, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_at_once, set_up, tear_down), cmocka_unit_test_setup_teardown(killed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(full, set_up, tear_down), cmocka_unit_test_setup_teardown(recurrent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(out_of_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
