/* test_gguf.c - the GGUF reader, typed reads, splits and the writer, on files made here byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/mem.h"
#include "formats/gguf.h"
#include "gguf_bytes.h"

/* ---- help ---- */

static qn_gguf *open_ok(const gb *b)
{
    qn_gguf *g = NULL;
    qn_err err = {0};
    qn_status s = qn__gguf_open_memory(b->p, b->n, "t.gguf", &g, &err);
    if (s != QN_OK)
        fail_msg("%s: %s", err.where, err.what);
    return g;
}

/* Opening fails with this code, and the sentence or place holds `part`. */
static void open_fails(gb *b, qn_status code, const char *part)
{
    qn_gguf *g = NULL;
    qn_err err = {0};
    qn_status s = qn__gguf_open_memory(b->p, b->n, "t.gguf", &g, &err);
    assert_int_equal(s, code);
    assert_int_equal(err.code, code);
    assert_null(g);
    assert_true(err.where[0] && err.what[0]);
    if (!strstr(err.what, part) && !strstr(err.where, part))
        fail_msg("expected '%s' in '%s: %s'", part, err.where, err.what);
    gb_free(b);
}

/* A small model with every kind of value. */
static void small(gb *b, uint32_t version)
{
    gb_begin(b, version);
    gb_kv_str(b, "general.architecture", "llama");
    gb_key(b, "k.u8", QN_GGUF_U8), gb_u8(b, 200);
    gb_key(b, "k.i8", QN_GGUF_I8), gb_u8(b, (uint8_t)-5);
    gb_kv_u16(b, "k.u16", 65000);
    gb_key(b, "k.i16", QN_GGUF_I16), gb_u16(b, (uint16_t)-300);
    gb_kv_u32(b, "k.u32", 4000000000u);
    gb_kv_i32(b, "k.i32", -7);
    gb_kv_f32(b, "k.f32", 0.5f);
    gb_kv_bool(b, "k.bool", true);
    gb_kv_u64(b, "k.u64", UINT64_MAX);
    gb_key(b, "k.i64", QN_GGUF_I64), gb_u64(b, (uint64_t)INT64_MIN);
    gb_key(b, "k.f64", QN_GGUF_F64), gb_f64(b, 1e300);
    gb_kv_strs(b, "a.str", (const char *[]){"a", "", "longer"}, 3);
    gb_kv_arr(b, "a.i16", QN_GGUF_I16, 2), gb_u16(b, 1), gb_u16(b, (uint16_t)-1);
    gb_kv_arr(b, "a.f32", QN_GGUF_F32, 2), gb_f32(b, 1.5f), gb_f32(b, -2.0f);
    gb_kv_arr(b, "a.empty", QN_GGUF_STR, 0);
    gb_kv_arr(b, "a.nested", QN_GGUF_ARR, 2);
    gb_u32(b, QN_GGUF_STR), gb_u64(b, 1), gb_str(b, "in");
    gb_u32(b, QN_GGUF_ARR), gb_u64(b, 1), gb_u32(b, QN_GGUF_BOOL), gb_u64(b, 2), gb_u8(b, 0), gb_u8(b, 1);
    gb_kv_str(b, "last", "");
    gb_tensor(b, "a.weight", QN_F32, 2, 8, 3);
    gb_tensor(b, "b.weight", QN_Q4_0, 3, 64, 2, 2);
    gb_tensor(b, "c", QN_F16, 1, 5);
    gb_data(b);
}

/* ---- reading ---- */

static void test_reads(void **state)
{
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        gb b;
        small(&b, version);
        qn_gguf *g = open_ok(&b);
        assert_int_equal(qn__gguf_version(g), version);
        assert_int_equal(qn__gguf_alignment(g), 32);
        assert_int_equal(qn__gguf_file_bytes(g), b.n);
        assert_int_equal(qn__gguf_parts(g), 1);
        assert_int_equal(qn__gguf_n_kv(g), 18);
        assert_int_equal(qn__gguf_n_tensors(g), 3);
        assert_null(qn__gguf_tensor(g, 3));
        assert_null(qn__gguf_kv_at(g, 18));
        const qn_gguf_tensor *t = qn__gguf_find(g, "b.weight");
        assert_non_null(t);
        assert_ptr_equal(t, qn__gguf_tensor(g, 1));
        assert_int_equal(t->type, QN_Q4_0);
        assert_int_equal(t->n_dims, 3);
        assert_int_equal(t->dims[0], 64);
        assert_int_equal(t->dims[2], 2);
        assert_int_equal(t->dims[3], 1);
        assert_int_equal(t->row_bytes, 36);
        assert_int_equal(t->bytes, 36 * 4);
        assert_ptr_equal(t->data, b.p + t->offset);
        assert_int_equal(t->data[0], (uint8_t)(96 * 31 + 7));
        assert_null(qn__gguf_find(g, "b.weigh"));
        assert_null(qn__gguf_find(g, ""));
        assert_string_equal(qn__gguf_name(g), "t.gguf");
        qn__gguf_close(g);
        gb_free(&b);
    }
}

static void test_typed(void **state)
{
    (void)state;
    gb b;
    small(&b, 3);
    qn_gguf *g = open_ok(&b);
    int64_t v = 0;
    double d = 0;
    bool y = false;
    qn_slice s;
    qn_err err = {0};
    static const struct { const char *key; int64_t v; } ints[] = {
        {"k.u8", 200}, {"k.i8", -5}, {"k.u16", 65000}, {"k.i16", -300}, {"k.u32", 4000000000ll}, {"k.i32", -7}, {"k.i64", INT64_MIN}};
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        assert_int_equal(qn__gguf_int(g, ints[i].key, INT64_MIN, INT64_MAX, 1, &v, &err), QN_OK);
        assert_true(v == ints[i].v);
        assert_int_equal(qn__gguf_float(g, ints[i].key, 1, &d, &err), QN_OK);
        assert_true(d == (double)ints[i].v);
    }
    v = 42;
    assert_int_equal(qn__gguf_int(g, "k.u64", INT64_MIN, INT64_MAX, 1, &v, &err), QN_EFORMAT); /* does not fit */
    assert_int_equal(qn__gguf_int(g, "k.u8", 0, 199, 1, &v, &err), QN_EFORMAT);
    assert_non_null(strstr(err.what, "200"));
    assert_non_null(strstr(err.where, "k.u8"));
    assert_int_equal(qn__gguf_int(g, "k.f32", 0, 9, 1, &v, &err), QN_EFORMAT);
    assert_int_equal(qn__gguf_int_req(g, "absent", 0, 9, &v, &err), QN_EFORMAT);
    assert_non_null(strstr(err.what, "absent"));
    assert_int_equal(v, 42); /* untouched by failures */
    assert_int_equal(qn__gguf_int(g, "absent", 0, 9, 77, &v, &err), QN_OK);
    assert_int_equal(v, 77);
    assert_int_equal(qn__gguf_float(g, "k.f64", 0, &d, &err), QN_OK);
    assert_true(d == 1e300);
    assert_int_equal(qn__gguf_float(g, "k.u64", 0, &d, &err), QN_OK);
    assert_true(d == 18446744073709551616.0);
    assert_int_equal(qn__gguf_float(g, "k.bool", 0, &d, &err), QN_EFORMAT);
    assert_int_equal(qn__gguf_float(g, "absent", 2.5, &d, &err), QN_OK);
    assert_true(d == 2.5);
    assert_int_equal(qn__gguf_bool(g, "k.bool", false, &y, &err), QN_OK);
    assert_true(y);
    assert_int_equal(qn__gguf_bool(g, "k.u8", false, &y, &err), QN_EFORMAT);
    assert_int_equal(qn__gguf_bool(g, "absent", false, &y, &err), QN_OK);
    assert_false(y);
    assert_int_equal(qn__gguf_str(g, "general.architecture", &s, &err), QN_OK);
    assert_true(s.n == 5 && memcmp(s.p, "llama", 5) == 0);
    assert_int_equal(qn__gguf_str(g, "last", &s, &err), QN_OK);
    assert_true(s.p && s.n == 0);
    assert_int_equal(qn__gguf_str(g, "absent", &s, &err), QN_OK);
    assert_null(s.p);
    assert_int_equal(qn__gguf_str(g, "a.f32", &s, &err), QN_EFORMAT);
    assert_non_null(strstr(err.what, "array of f32"));
    qn__gguf_close(g);
    gb_free(&b);
}

static void test_arrays(void **state)
{
    (void)state;
    gb b;
    small(&b, 3);
    qn_gguf *g = open_ok(&b);
    const qn_gguf_kv *kv = qn__gguf_kv(g, "a.str");
    assert_true(kv && kv->kind == QN_GGUF_ARR && kv->elem == QN_GGUF_STR && kv->n == 3);
    assert_int_equal(kv->bytes, 8 * 3 + 7);
    qn_slice s[3];
    qn__gguf_arr_strs(kv, s);
    assert_true(s[0].n == 1 && s[1].n == 0 && s[2].n == 6 && memcmp(s[2].p, "longer", 6) == 0);
    kv = qn__gguf_kv(g, "a.i16");
    assert_int_equal(qn__gguf_arr_int(kv, 1), -1);
    assert_true(qn__gguf_arr_float(kv, 1) == -1.0);
    kv = qn__gguf_kv(g, "a.f32");
    assert_true(qn__gguf_arr_float(kv, 0) == 1.5 && qn__gguf_arr_float(kv, 1) == -2.0);
    kv = qn__gguf_kv(g, "a.nested");
    assert_true(kv->elem == QN_GGUF_ARR && kv->n == 2);
    kv = qn__gguf_kv(g, "a.empty");
    assert_true(kv->n == 0 && kv->bytes == 0);
    qn__gguf_close(g);
    gb_free(&b);
}

/* ---- refusals ---- */

static void foreign(const char *bytes, size_t n, const char *part)
{
    gb b = {0};
    gb_put(&b, bytes, n);
    if (!n)
        b.p = malloc(1);
    open_fails(&b, QN_EFORMAT, part);
}

static void test_foreign(void **state)
{
    (void)state;
    foreign("", 0, "is empty");
    foreign("GGU", 3, "not a GGUF");
    foreign("PK\3\4....", 8, "zip");
    foreign("FUGG\0\0\0\3", 8, "big-endian");
    foreign("\x40\0\0\0\0\0\0\0{\"a\":{}}", 16, "safetensors");
    foreign("version https://git-lfs.github.com/spec/v1\n", 43, "Git LFS");
    foreign("<!DOCTYPE html><html>", 21, "web page");
    foreign("\0\0\0\0\0\0\0\0\0\0\0\0", 12, "zeros");
    foreign("Dear diary,\n", 12, "text file");
    foreign("\x80\x02}q\0", 5, "pickle");
    foreign("lmgg\1\0\0\0", 8, "older than GGUF");
    foreign("\1\2\3\4\5", 5, "does not begin");
    foreign("GGUF\3", 5, "cut off");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_typed),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_foreign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
