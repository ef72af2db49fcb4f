/* test_gguf_write.c - the GGUF writer: what it writes reads back, a copied file has the same bytes, mistakes are told and
 * leave no file. Copies every model of ../shared/golden/models as well, where it is there. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "formats/gguf.h"

static char dir[64], path[128];

static int make_dir(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/quern-gguf-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/out.gguf", dir);
    return 0;
}

/* Fails when a test left anything behind: also temporary files of writers. */
static int remove_dir(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

static qn_gguf_writer *create(void)
{
    qn_gguf_writer *w = NULL;
    qn_err err = {0};
    if (qn__gguf_create(path, &w, &err) != QN_OK)
        fail_msg("%s: %s", err.where, err.what);
    return w;
}

static qn_gguf *reopen(void)
{
    qn_gguf *g = NULL;
    qn_err err = {0};
    if (qn__gguf_open(path, &g, &err) != QN_OK)
        fail_msg("%s: %s", err.where, err.what);
    return g;
}

/* Every kind and two tensors, the data in odd pieces. */
static qn_status write_sample(qn_gguf_writer *w, qn_err *err)
{
    static const uint64_t d1[] = {5, 3}, d2[] = {64};
    static const int16_t shorts[] = {1, -2, 3};
    const qn_slice strs[] = {{"one", 3}, {"", 0}, {"\0x", 2}};
    unsigned char data[96];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 7);
    qn__gguf_put_str(w, "general.architecture", "llama", 5);
    qn__gguf_put_int(w, "general.alignment", QN_GGUF_U32, 64);
    qn__gguf_put_int(w, "i8", QN_GGUF_I8, -128);
    qn__gguf_put_int(w, "u16", QN_GGUF_U16, 65535);
    qn__gguf_put_int(w, "i64", QN_GGUF_I64, INT64_MIN);
    qn__gguf_put_float(w, "f32", QN_GGUF_F32, 0.1);
    qn__gguf_put_float(w, "f64", QN_GGUF_F64, 0.1);
    qn__gguf_put_bool(w, "yes", true);
    qn__gguf_put_arr(w, "shorts", QN_GGUF_I16, 3, shorts, sizeof shorts);
    qn__gguf_put_strs(w, "strs", strs, 3);
    qn__gguf_put_tensor(w, "first", QN_F32, 2, d1);
    qn__gguf_put_tensor(w, "second", QN_Q4_0, 1, d2);
    qn_status s = qn__gguf_begin_data(w, err);
    for (size_t at = 0, n; at < sizeof data && s == QN_OK; at += n) {
        n = at + 13 < sizeof data ? 13 : sizeof data - at; /* pieces span tensors */
        s = qn__gguf_write(w, data + at, n, err);
    }
    return s;
}

static void test_reads_back(void **state)
{
    (void)state;
    qn_err err = {0};
    qn_gguf_writer *w = create();
    assert_int_equal(write_sample(w, &err), QN_OK);
    assert_int_equal(access(path, F_OK), -1); /* not before commit */
    assert_int_equal(qn__gguf_commit(w, &err), QN_OK);
    qn_gguf *g = reopen();
    int64_t v;
    double f;
    bool y;
    qn_slice s[3];
    assert_int_equal(qn__gguf_version(g), 3);
    assert_int_equal(qn__gguf_alignment(g), 64);
    assert_int_equal(qn__gguf_n_kv(g), 10);
    assert_int_equal(qn__gguf_int_req(g, "i8", -128, 127, &v, &err), QN_OK);
    assert_int_equal(v, -128);
    assert_int_equal(qn__gguf_int_req(g, "i64", INT64_MIN, 0, &v, &err), QN_OK);
    assert_true(v == INT64_MIN);
    assert_int_equal(qn__gguf_float(g, "f32", 0, &f, &err), QN_OK);
    assert_true(f == (double)0.1f);
    assert_int_equal(qn__gguf_float(g, "f64", 0, &f, &err), QN_OK);
    assert_true(f == 0.1);
    assert_int_equal(qn__gguf_bool(g, "yes", false, &y, &err), QN_OK);
    assert_true(y);
    assert_int_equal(qn__gguf_arr_int(qn__gguf_kv(g, "shorts"), 1), -2);
    qn__gguf_arr_strs(qn__gguf_kv(g, "strs"), s);
    assert_true(s[0].n == 3 && s[1].n == 0 && s[2].n == 2 && s[2].p[1] == 'x');
    const qn_gguf_tensor *t = qn__gguf_find(g, "second");
    assert_int_equal(t->offset % 64, 0);
    assert_int_equal(t->data[0], (unsigned char)(60 * 7));
    assert_int_equal(t->data[35], (unsigned char)(95 * 7));
    assert_int_equal(qn__gguf_file_bytes(g) % 64, 0);
    qn__gguf_close(g);
    (void)unlink(path);
}

/* Write every pair and tensor of g to `path`. */
static void copy(const qn_gguf *g)
{
    qn_err err = {0};
    qn_gguf_writer *w = create();
    for (size_t i = 0; i < qn__gguf_n_kv(g); i++)
        qn__gguf_put_kv(w, qn__gguf_kv_at(g, i));
    for (size_t i = 0; i < qn__gguf_n_tensors(g); i++) {
        const qn_gguf_tensor *t = qn__gguf_tensor(g, i);
        char name[300];
        (void)snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        qn__gguf_put_tensor(w, name, t->type, t->n_dims, t->dims);
    }
    qn_status s = qn__gguf_begin_data(w, &err);
    for (size_t i = 0; i < qn__gguf_n_tensors(g) && s == QN_OK; i++)
        s = qn__gguf_write(w, qn__gguf_tensor(g, i)->data, qn__gguf_tensor(g, i)->bytes, &err);
    if (s == QN_OK)
        s = qn__gguf_commit(w, &err);
    if (s != QN_OK)
        fail_msg("%s: %s", err.where, err.what);
}

static bool same_bytes(const char *a, const char *b)
{
    qn_map x, y;
    assert_int_equal(qn__map_open(a, &x, NULL), QN_OK);
    assert_int_equal(qn__map_open(b, &y, NULL), QN_OK);
    bool same = x.size == y.size && memcmp(x.data, y.data, x.size) == 0;
    qn__map_close(&x);
    qn__map_close(&y);
    return same;
}

static void test_copy_is_identical(void **state)
{
    (void)state;
    char source[160];
    qn_gguf *g;
    qn_gguf_writer *w = create();
    assert_int_equal(write_sample(w, NULL), QN_OK);
    assert_int_equal(qn__gguf_commit(w, NULL), QN_OK);
    (void)snprintf(source, sizeof source, "%s/in.gguf", dir);
    assert_int_equal(rename(path, source), 0);
    assert_int_equal(qn__gguf_open(source, &g, NULL), QN_OK);
    copy(g);
    assert_true(same_bytes(source, path));
    qn__gguf_close(g);
    /* The planted fault: one changed byte must be seen. */
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 40, SEEK_SET), 0);
    assert_int_equal(fputc('!', f), '!');
    assert_int_equal(fclose(f), 0);
    assert_false(same_bytes(source, path));
    (void)unlink(source);
    (void)unlink(path);
}

static void test_copy_of_models(void **state)
{
    (void)state;
    char models[512], source[1024];
    const char *shared = getenv("SHARED");
    size_t n = 0;
    (void)snprintf(models, sizeof models, "%s/golden/models", shared ? shared : "../shared");
    DIR *d = opendir(models);
    if (!d) {
        print_message("skipped: no golden/models in ../shared (set SHARED)\n");
        skip();
    }
    for (struct dirent *e; (e = readdir(d));) {
        size_t len = strlen(e->d_name);
        if (len < 5 || strcmp(e->d_name + len - 5, ".gguf") != 0)
            continue;
        qn_gguf *g = NULL;
        qn_err err = {0};
        (void)snprintf(source, sizeof source, "%s/%s", models, e->d_name);
        if (qn__gguf_open(source, &g, &err) != QN_OK)
            fail_msg("%s: %s", err.where, err.what);
        copy(g);
        qn__gguf_close(g);
        if (!same_bytes(source, path))
            fail_msg("%s: the copy differs", source);
        (void)unlink(path);
        n++;
    }
    (void)closedir(d);
    printf("figure: gguf %zu models read and written back byte-identical\n", n);
}

/* begin_data refuses, naming `say`; nothing appears on the disk. */
static void refused(qn_gguf_writer *w, const char *say)
{
    qn_err err = {0};
    assert_int_equal(qn__gguf_begin_data(w, &err), QN_EINVAL);
    if (!strstr(err.what, say) && !strstr(err.where, say))
        fail_msg("expected '%s' in '%s: %s'", say, err.where, err.what);
    assert_int_equal(qn__gguf_commit(w, &err), QN_EINVAL);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_mistakes(void **state)
{
    (void)state;
    static const uint64_t d[4] = {32, 1, 1, 1}, zero[] = {32, 0}, odd[] = {31}, huge[] = {1ull << 40, 1ull << 40};
    qn_gguf_writer *w;
    w = create(), qn__gguf_put_int(w, "big", QN_GGUF_U8, 256), refused(w, "key big");
    w = create(), qn__gguf_put_int(w, "neg", QN_GGUF_U64, -1), refused(w, "key neg");
    w = create(), qn__gguf_put_int(w, "kind", QN_GGUF_F32, 1), refused(w, "key kind");
    w = create(), qn__gguf_put_float(w, "kind", QN_GGUF_I32, 1), refused(w, "key kind");
    w = create(), qn__gguf_put_bool(w, "", true), refused(w, "1 to 65535");
    w = create(), qn__gguf_put_arr(w, "arr", QN_GGUF_I32, 2, d, 7), refused(w, "key arr");
    w = create(), qn__gguf_put_arr(w, "arr", QN_GGUF_STR, 0, d, 0), refused(w, "key arr");
    w = create(), qn__gguf_put_int(w, "general.alignment", QN_GGUF_U32, 33), refused(w, "power of two");
    w = create(), qn__gguf_put_bool(w, "x", true), qn__gguf_put_bool(w, "x", true), refused(w, "put twice");
    w = create(), qn__gguf_put_tensor(w, "t", QN_F32, 1, d), qn__gguf_put_tensor(w, "t", QN_F32, 1, d), refused(w, "put twice");
    w = create(), qn__gguf_put_tensor(w, "t0", QN_F32, 2, zero), refused(w, "t0");
    w = create(), qn__gguf_put_tensor(w, "t1", QN_Q4_0, 1, odd), refused(w, "t1");
    w = create(), qn__gguf_put_tensor(w, "t2", QN_F32, 2, huge), refused(w, "t2");
    w = create(), qn__gguf_put_tensor(w, "t3", (qn_type)4, 1, d), refused(w, "t3");
    w = create(), qn__gguf_put_tensor(w, "t4", QN_F32, 5, d), refused(w, "t4");
    /* The first mistake is the one told. */
    w = create(), qn__gguf_put_bool(w, "", true), qn__gguf_put_tensor(w, "t3", (qn_type)4, 1, d), refused(w, "1 to 65535");
}

static void test_incomplete(void **state)
{
    (void)state;
    static const uint64_t d[] = {32};
    qn_err err = {0};
    char bytes[200] = {0};
    qn_gguf_writer *w = create();
    qn__gguf_put_tensor(w, "t", QN_F32, 1, d);
    assert_int_equal(qn__gguf_write(w, bytes, 1, &err), QN_EINVAL); /* before the header */
    qn__gguf_abort(w);
    w = create();
    qn__gguf_put_tensor(w, "t", QN_F32, 1, d);
    assert_int_equal(qn__gguf_begin_data(w, &err), QN_OK);
    assert_int_equal(qn__gguf_write(w, bytes, 127, &err), QN_OK);
    assert_int_equal(qn__gguf_commit(w, &err), QN_EINVAL);
    assert_non_null(strstr(err.what, "1 bytes of it are missing"));
    w = create();
    qn__gguf_put_tensor(w, "t", QN_F32, 1, d);
    assert_int_equal(qn__gguf_begin_data(w, &err), QN_OK);
    assert_int_equal(qn__gguf_write(w, bytes, 129, &err), QN_EINVAL);
    assert_int_equal(qn__gguf_commit(w, &err), QN_EINVAL);
    w = create();
    assert_int_equal(qn__gguf_commit(w, &err), QN_EINVAL);
    qn__gguf_abort(create());
    qn__gguf_abort(NULL);
    assert_int_equal(access(path, F_OK), -1);
    char nowhere[160];
    (void)snprintf(nowhere, sizeof nowhere, "%s/no/such/out.gguf", dir);
    w = NULL;
    assert_int_equal(qn__gguf_create(nowhere, &w, &err), QN_EIO);
    assert_null(w);
}

static void test_allocation_fails(void **state)
{
    (void)state;
    bool done = false;
    for (uint64_t n = 1; !done && n < 1000; n++) {
        qn_gguf_writer *w = NULL;
        qn_err err = {0};
        qn__alloc_fail_at(n);
        qn_status s = qn__gguf_create(path, &w, &err);
        if (s == QN_OK)
            s = write_sample(w, &err);
        if (s == QN_OK) {
            s = qn__gguf_commit(w, &err);
            done = true;
        } else {
            qn__gguf_abort(w);
            assert_int_equal(s, QN_ENOMEM);
            assert_true(err.what[0]);
            assert_int_equal(access(path, F_OK), -1);
        }
    }
    qn__alloc_fail_at(0);
    assert_true(done);
    qn__gguf_close(reopen());
    (void)unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_back),   cmocka_unit_test(test_copy_is_identical), cmocka_unit_test(test_copy_of_models),
        cmocka_unit_test(test_mistakes),     cmocka_unit_test(test_incomplete),        cmocka_unit_test(test_allocation_fails),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
