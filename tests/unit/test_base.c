/* test_base.c - the floor that everything stands on: errors, memory, bytes, files, threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/str.h"

/* ---- errors ---- */

static void errors_are_printable(void **state)
{
    (void)state;
    qn_err e;
    assert_int_equal(qn__fail(&e, QN_EFORMAT, "a\x1b[2Jb", "%s", "bad\xff\xc3\xa9\x07 \xed\xa0\x80"), QN_EFORMAT);
    assert_string_equal(e.where, "a?[2Jb");
    assert_string_equal(e.what, "bad?\xc3\xa9? ???");
    char longer[2000];
    memset(longer, 'x', sizeof longer - 1);
    memcpy(longer + sizeof e.what - 2, "\xc3\xa9", 2); /* a character across the cut */
    longer[sizeof longer - 1] = 0;
    (void)qn__fail(&e, QN_EIO, NULL, "%s", longer);
    assert_int_equal(strlen(e.what), sizeof e.what - 1);
    assert_true(qn__utf8_valid(e.what, strlen(e.what)));
    assert_string_equal(e.where, "");
    qn__err_prefix(&e, "file");
    assert_string_equal(e.where, "file");
    qn__err_prefix(&e, "outer");
    assert_string_equal(e.where, "outer: file");
    (void)qn__fail(&e, QN_EIO, e.where, "again: %.20s", e.what); /* arguments that alias the error itself */
    assert_string_equal(e.where, "outer: file");
    assert_memory_equal(e.what, "again: xxxx", 11);
    assert_int_equal(qn__fail(NULL, QN_EIO, "w", "x"), QN_EIO);
}

/* ---- memory ---- */

static void sizes_do_not_wrap(void **state)
{
    (void)state;
    size_t n = 7;
    assert_false(qn__mul(SIZE_MAX / 2, 3, &n));
    assert_false(qn__add(SIZE_MAX, 1, &n));
    assert_null(qn__calloc(SIZE_MAX / 2, 3));
    assert_null(qn__strndup("x", SIZE_MAX));
    void *p = NULL;
    size_t cap = 0;
    assert_false(qn__grow(&p, &cap, SIZE_MAX / 2, 16));
    assert_null(p);
    assert_int_equal(cap, 0);
    assert_true(qn__grow(&p, &cap, 100, 8));
    assert_true(cap >= 100);
    qn_free(p);
}

static void nth_allocation_fails(void **state)
{
    (void)state;
    qn__alloc_fail_at(2);
    void *a = qn__alloc(1), *b = qn__alloc(1), *c = qn__alloc(1);
    assert_non_null(a);
    assert_null(b);
    assert_non_null(c);
    qn__alloc_fail_at(0);
    qn_free(a);
    qn_free(c);
}

static void arena_holds_its_limit(void **state)
{
    (void)state;
    qn_arena a;
    qn__arena_init(&a, 1 << 20);
    size_t got = 0;
    unsigned char *p, *small = qn__arena_alloc(&a, 3);
    memset(small, 0xAA, 3);
    for (size_t n = 1; (p = qn__arena_alloc(&a, n)) != NULL; n = n * 5 / 3 + 1) {
        assert_int_equal((uintptr_t)p % 16, 0);
        memset(p, 0x55, n);
        got += n;
    }
    assert_true(got < (1 << 20) && a.total <= (1 << 20));
    assert_int_equal(small[0], 0xAA);
    assert_int_equal(small[2], 0xAA);
    assert_null(qn__arena_alloc(&a, SIZE_MAX));
    assert_string_equal(qn__arena_strndup(&a, "hello", 4), "hell");
    qn__arena_free(&a);
    unsigned char *big = qn__alloc_aligned((size_t)5 << 20), *tiny = qn__alloc_aligned(1);
    assert_int_equal((uintptr_t)big % ((size_t)2 << 20), 0);
    assert_int_equal((uintptr_t)tiny % 64, 0);
    qn__free_aligned(big);
    qn__free_aligned(tiny);
}

/* ---- bytes ---- */

static void utf8(void **state)
{
    (void)state;
    char out[4];
    int32_t cp;
    for (int32_t c = 0; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c <= 0xDFFF)
            continue;
        size_t n = qn__utf8_encode(c, out);
        if (qn__utf8_decode(out, n, &cp) != n || cp != c || qn__utf8_incomplete(out, n) != 0)
            fail_msg("U+%04X", (unsigned)c);
        for (size_t cut = 1; cut < n; cut++) /* every prefix is incomplete, and not valid */
            if (qn__utf8_incomplete(out, cut) != cut || qn__utf8_valid(out, cut))
                fail_msg("U+%04X cut at %zu", (unsigned)c, cut);
    }
    static const char *const bad[] = {"\x80",
                                      "\xC0\x80",
                                      "\xC1\xBF",
                                      "\xE0\x80\x80",
                                      "\xED\xA0\x80",
                                      "\xF0\x80\x80\x80",
                                      "\xF4\x90\x80\x80",
                                      "\xF5\x80\x80\x80",
                                      "\xFF",
                                      "\xC3(",
                                      "\xE2\x82("};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(qn__utf8_valid(bad[i], strlen(bad[i])));
        assert_int_equal(qn__utf8_decode(bad[i], strlen(bad[i]), &cp), 1);
        assert_int_equal(cp, -1);
    }
    assert_int_equal(qn__utf8_incomplete("\xED\xA0", 2), 0); /* can become no character: nothing to wait for */
    assert_int_equal(qn__utf8_incomplete("", 0), 0);
}

static void buffers(void **state)
{
    (void)state;
    qn_buf b = {.limit = 10};
    qn__buf_puts(&b, "abc");
    qn__buf_printf(&b, "%d-%s", 42, "xyz");
    assert_string_equal(b.data, "abc42-xyz");
    qn__buf_putc(&b, '!');
    assert_false(b.failed);
    qn__buf_putc(&b, '!');
    assert_true(b.failed);
    assert_null(qn__buf_take(&b, NULL));
    size_t n = 9;
    char *s = qn__buf_take(&b, &n);
    assert_string_equal(s, "");
    assert_int_equal(n, 0);
    qn_free(s);
}

/* ---- files ---- */

static void files(void **state)
{
    (void)state;
    char dir[] = "/tmp/quern-test-XXXXXX", path[64];
    qn_err e;
    qn_map m;
    qn_writer *w;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(qn__map_open(dir, &m, &e), QN_EIO);
    assert_non_null(strstr(e.what, "directory"));
    (void)snprintf(path, sizeof path, "%s/f", dir);
    assert_int_equal(qn__map_open(path, &m, &e), QN_EIO);
    assert_string_equal(e.where, path);
    assert_int_equal(qn__writer_open(path, &w, &e), QN_OK);
    assert_int_equal(qn__writer_put(w, "hello", 5, &e), QN_OK);
    assert_int_equal(access(path, F_OK), -1); /* not there before it is whole */
    assert_int_equal(qn__writer_tell(w), 5);
    assert_int_equal(qn__writer_commit(w, &e), QN_OK);
    assert_int_equal(qn__map_open(path, &m, &e), QN_OK);
    assert_int_equal(m.size, 5);
    assert_memory_equal(m.data, "hello", 5);
    qn__map_close(&m);
    assert_int_equal(qn__writer_open(path, &w, &e), QN_OK);
    (void)qn__writer_put(w, "other", 5, &e);
    qn__writer_abort(w);
    char *text;
    size_t n;
    assert_int_equal(qn__read_file(path, 5, &text, &n, &e), QN_OK);
    assert_string_equal(text, "hello");
    qn_free(text);
    assert_int_equal(qn__read_file(path, 4, &text, &n, &e), QN_ELIMIT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(qn__map_open(path, &m, &e), QN_EIO); /* and does not hang */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0); /* nothing was left behind */
}

/* ---- threads ---- */

typedef struct tally {
    _Atomic int runs[1000];
    _Atomic int outside;
    int n_threads;
} tally;

static void count(void *arg, int item, int thread)
{
    tally *t = arg;
    atomic_fetch_add(&t->runs[item], 1);
    if (thread < 0 || thread >= t->n_threads)
        atomic_fetch_add(&t->outside, 1);
}

static void pool_runs_each_item_once(void **state)
{
    (void)state;
    tally *t = calloc(1, sizeof *t);
    for (int threads = 1; threads <= 5; threads++) {
        qn_pool *p;
        assert_int_equal(qn__pool_open(threads, &p, NULL), QN_OK);
        assert_int_equal(qn__pool_threads(p), threads);
        for (int round = 0; round < 200; round++) {
            int n = (round * 37) % 1000;
            memset(t, 0, sizeof *t);
            t->n_threads = threads;
            if (round == 100)
                usleep(20000); /* long enough for workers to sleep */
            qn__pool_run(p, n, count, t);
            for (int i = 0; i < 1000; i++)
                assert_int_equal(t->runs[i], i < n ? 1 : 0);
            assert_int_equal(t->outside, 0);
        }
        qn__pool_close(p);
    }
    qn_err e;
    qn_pool *p;
    assert_int_equal(qn__pool_open(0, &p, &e), QN_EINVAL);
    free(t);
}

typedef struct trail {
    int items[5][1000], n[5]; /* of each thread, in its order */
} trail;

static void follow(void *arg, int item, int thread)
{
    trail *t = arg;
    t->items[thread][t->n[thread]++] = item;
    for (volatile int i = 0; i < 200 * (thread + 1); i++) /* some are slower, so that there is something to help with */
        ;
}

/* Own pieces are neighbours, one after the other, so that what is prefetched behind one is the next; others' come from their end. */
static void pool_keeps_neighbours(void **state)
{
    (void)state;
    enum { N = 997 };
    trail *t = calloc(1, sizeof *t);
    int helped = 0;
    for (int threads = 2; threads <= 5; threads++) {
        qn_pool *p;
        assert_int_equal(qn__pool_open(threads, &p, NULL), QN_OK);
        for (int round = 0; round < 50; round++) {
            int owner[N], first[6] = {0};
            for (int i = 0; i < threads; i++) {
                first[i + 1] = first[i] + N / threads + (i < N % threads);
                for (int k = first[i]; k < first[i + 1]; k++)
                    owner[k] = i;
            }
            memset(t, 0, sizeof *t);
            qn__pool_run(p, N, follow, t);
            for (int i = 0; i < threads; i++) {
                int mine = first[i], last[5] = {N, N, N, N, N};
                for (int k = 0; k < t->n[i]; k++) {
                    const int item = t->items[i][k], whose = owner[item];
                    if (whose == i) {
                        assert_int_equal(k, item - first[i]); /* before any others' */
                        assert_int_equal(item, mine++);
                    } else {
                        assert_true(item < last[whose]);
                        last[whose] = item;
                        helped++;
                    }
                }
            }
        }
        qn__pool_close(p);
    }
    assert_true(helped > 0);
    free(t);
}

static void cpu_levels(void **state)
{
    (void)state;
    const char *names[8];
    size_t n = qn_cpu_levels(names, 8);
    qn_cpu c;
    qn_err e;
    assert_true(n >= 1);
    assert_string_equal(names[0], "ref");
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(qn__cpu_choose(names[i], &c, &e), QN_OK);
        assert_int_equal(c, i);
    }
    assert_int_equal(qn__cpu_choose("mmx", &c, &e), QN_EINVAL);
    assert_int_equal(setenv("QUERN_CPU", "ref", 1), 0);
    assert_int_equal(qn__cpu_choose(NULL, &c, &e), QN_OK);
    assert_int_equal(c, QN_CPU_REF);
    assert_int_equal(setenv("QUERN_CPU", "nonsense", 1), 0);
    assert_int_equal(qn__cpu_choose(NULL, &c, &e), QN_EINVAL);
    assert_int_equal(unsetenv("QUERN_CPU"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(errors_are_printable),
                                       cmocka_unit_test(sizes_do_not_wrap),
                                       cmocka_unit_test(nth_allocation_fails),
                                       cmocka_unit_test(arena_holds_its_limit),
                                       cmocka_unit_test(utf8),
                                       cmocka_unit_test(buffers),
                                       cmocka_unit_test(files),
                                       cmocka_unit_test(pool_runs_each_item_once),
                                       cmocka_unit_test(pool_keeps_neighbours),
                                       cmocka_unit_test(cpu_levels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
