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

static const uint64_t d8[4] = {8, 1, 1, 1};

/* A header with one tensor, as said, then 4 KiB. */
static void one_tensor(gb *b, const char *name, uint32_t type, uint32_t n_dims, const uint64_t *dims, uint64_t offset)
{
    gb_begin(b, 3);
    gb_tensor_at(b, name, type, n_dims, dims, offset);
    gb_pad(b);
    for (int i = 0; i < 4096; i++)
        gb_u8(b, 0);
}

static void test_bad_head(void **state)
{
    (void)state;
    gb b;
    static const struct { uint32_t v; const char *say; } versions[] = {
        {0, "version 0"}, {1, "obsolete"}, {4, "version 4"}, {0x03000000, "big-endian"}};
    for (size_t i = 0; i < 4; i++) {
        gb_begin(&b, versions[i].v);
        open_fails(&b, QN_EUNSUPPORTED, versions[i].say);
    }
    for (size_t at = 8; at <= 16; at += 8)
        for (int bit = 0; bit < 64; bit += 9) {
            gb_begin(&b, 3);
            gb_patch(&b, at, (uint64_t)1 << bit, 8);
            open_fails(&b, QN_EFORMAT, at == 8 ? "tensors" : "keys");
        }
    gb_begin(&b, 3), gb_kv_u32(&b, "", 1);
    open_fails(&b, QN_EFORMAT, "a key has 0 bytes");
    gb_begin(&b, 3), gb_patch(&b, 16, 1, 8), gb_strn(&b, "a\0b", 3), gb_u32(&b, QN_GGUF_U8), gb_u8(&b, 1);
    open_fails(&b, QN_EFORMAT, "zero byte");
    gb_begin(&b, 3), gb_key(&b, "k", 13), gb_u64(&b, 0);
    open_fails(&b, QN_EFORMAT, "kind 13");
    gb_begin(&b, 3), gb_key(&b, "k", QN_GGUF_BOOL), gb_u8(&b, 2);
    open_fails(&b, QN_EFORMAT, "a boolean is 2");
    gb_begin(&b, 3), gb_kv_arr(&b, "k", QN_GGUF_BOOL, 2), gb_u8(&b, 1), gb_u8(&b, 255);
    open_fails(&b, QN_EFORMAT, "a boolean is 255");
    gb_begin(&b, 3), gb_key(&b, "k", QN_GGUF_STR), gb_u64(&b, 1), gb_u8(&b, 'x'), gb_kv_u32(&b, "k", 1);
    open_fails(&b, QN_EFORMAT, "stands twice");
    gb_begin(&b, 3), gb_key(&b, "key.long", QN_GGUF_STR), gb_u64(&b, UINT64_MAX);
    open_fails(&b, QN_EFORMAT, "key.long");
    gb_begin(&b, 3), gb_key(&b, "k", QN_GGUF_U64), gb_u32(&b, 1);
    open_fails(&b, QN_EFORMAT, "cut off");
}

static void test_bad_arrays(void **state)
{
    (void)state;
    gb b;
    for (uint32_t kind = 0; kind <= QN_GGUF_F64; kind++) { /* one element more than there is room for; then absurdly many */
        gb_begin(&b, 3), gb_kv_arr(&b, "arr", kind, 3), gb_u8(&b, 0);
        open_fails(&b, QN_EFORMAT, "arr");
        gb_begin(&b, 3), gb_kv_arr(&b, "arr", kind, UINT64_MAX / 2 + 2), gb_u64(&b, 0);
        open_fails(&b, QN_EFORMAT, "arr");
    }
    gb_begin(&b, 3), gb_kv_arr(&b, "deep", QN_GGUF_ARR, 1);
    for (int d = 0; d < 100; d++)
        gb_u32(&b, QN_GGUF_ARR), gb_u64(&b, 1);
    open_fails(&b, QN_EFORMAT, "deep");
    gb_begin(&b, 3), gb_kv_arr(&b, "k", QN_GGUF_ARR, 1), gb_u32(&b, 99), gb_u64(&b, 1);
    open_fails(&b, QN_EFORMAT, "kind 99");
    /* As deep as is allowed, and the pair behind it is found. */
    gb_begin(&b, 3), gb_kv_arr(&b, "deep", QN_GGUF_ARR, 1);
    for (int d = 0; d < 7; d++)
        gb_u32(&b, QN_GGUF_ARR), gb_u64(&b, 1);
    gb_u32(&b, QN_GGUF_I8), gb_u64(&b, 1), gb_u8(&b, 9), gb_kv_u32(&b, "next", 5);
    qn_gguf *g = open_ok(&b);
    assert_non_null(qn__gguf_kv(g, "next"));
    qn__gguf_close(g);
    gb_free(&b);
}

static void test_bad_tensors(void **state)
{
    (void)state;
    gb b;
    one_tensor(&b, "t", QN_F32, 0, d8, 0), open_fails(&b, QN_EFORMAT, "0 dimensions");
    one_tensor(&b, "t", QN_F32, 4, (uint64_t[]){8, 1, 1, 1, 1}, 0);
    gb_patch(&b, 24 + 9, 5, 4), open_fails(&b, QN_EFORMAT, "5 dimensions");
    one_tensor(&b, "t.zero", QN_F32, 2, (uint64_t[]){8, 0}, 0), open_fails(&b, QN_EFORMAT, "t.zero");
    one_tensor(&b, "t", QN_F32, 2, (uint64_t[]){8, (uint64_t)-1}, 0), open_fails(&b, QN_EFORMAT, "dimension 1 is -1");
    one_tensor(&b, "t", QN_F32, 2, (uint64_t[]){INT64_MAX, INT64_MAX}, 0), open_fails(&b, QN_EFORMAT, "63 bits");
    one_tensor(&b, "t", QN_F32, 4, (uint64_t[]){1ull << 16, 1ull << 16, 1ull << 16, 1ull << 16}, 0);
    open_fails(&b, QN_EFORMAT, "63 bits");
    one_tensor(&b, "t", QN_I8, 1, (uint64_t[]){1ull << 62}, 0), open_fails(&b, QN_EFORMAT, "cut off");
    one_tensor(&b, "t", QN_Q4_0, 1, (uint64_t[]){33}, 0), open_fails(&b, QN_EFORMAT, "blocks of 32");
    one_tensor(&b, "t", QN_Q4_K, 1, (uint64_t[]){32}, 0), open_fails(&b, QN_EFORMAT, "blocks of 256");
    static const uint32_t unknown[] = {4, 5, 31, 33, 36, 38, 43, 1000, UINT32_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        char say[32];
        (void)snprintf(say, sizeof say, "type %u", unknown[i]);
        one_tensor(&b, "t", unknown[i], 1, d8, 0), open_fails(&b, QN_EUNSUPPORTED, say);
    }
    one_tensor(&b, "t", QN_F32, 1, d8, 4), open_fails(&b, QN_EFORMAT, "alignment 32");
    one_tensor(&b, "t", QN_F32, 1, d8, 4096), open_fails(&b, QN_EFORMAT, "cut off");
    one_tensor(&b, "t", QN_F32, 1, d8, (uint64_t)-32), open_fails(&b, QN_EFORMAT, "outside");
    one_tensor(&b, "t", QN_F32, 1, d8, (uint64_t)1 << 63), open_fails(&b, QN_EFORMAT, "cut off");
    one_tensor(&b, "", QN_F32, 1, d8, 0), open_fails(&b, QN_EFORMAT, "name has 0 bytes");
    char longest[300];
    memset(longest, 'n', sizeof longest);
    longest[256] = 0;
    one_tensor(&b, longest, QN_F32, 1, d8, 0), open_fails(&b, QN_EFORMAT, "name has 256 bytes");
    gb_begin(&b, 3), gb_tensor(&b, "same", QN_F32, 1, 8), gb_tensor(&b, "same", QN_F32, 1, 8), gb_data(&b);
    open_fails(&b, QN_EFORMAT, "tensor same");
    for (int swap = 0; swap < 2; swap++) { /* overlap, found in either order */
        gb_begin(&b, 3);
        gb_tensor_at(&b, "one", QN_F32, 1, (uint64_t[]){16}, swap ? 32 : 0);
        gb_tensor_at(&b, "two", QN_F32, 1, (uint64_t[]){16}, swap ? 0 : 32);
        gb_tensor_at(&b, "three", QN_F32, 1, (uint64_t[]){8}, 128);
        b.data = 256, gb_data(&b);
        open_fails(&b, QN_EFORMAT, swap ? "overlaps tensor two" : "overlaps tensor one");
    }
}

static void test_alignment(void **state)
{
    (void)state;
    gb b;
    static const uint32_t bad[] = {0, 1, 4, 33, 48, 1u << 25, 1u << 31};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gb_begin(&b, 3), gb_kv_u32(&b, "general.alignment", bad[i]);
        open_fails(&b, QN_EFORMAT, "power of two");
    }
    gb_begin(&b, 3), gb_kv_str(&b, "general.alignment", "32");
    open_fails(&b, QN_EFORMAT, "general.alignment");
    for (uint32_t a = 8; a <= 4096; a *= 8) {
        gb_begin(&b, 3), gb_kv_u32(&b, "general.alignment", a);
        b.alignment = a;
        gb_tensor(&b, "x", QN_F32, 1, 3), gb_tensor(&b, "y", QN_F32, 1, 5);
        gb_data(&b);
        qn_gguf *g = open_ok(&b);
        assert_int_equal(qn__gguf_alignment(g), a);
        assert_int_equal(qn__gguf_find(g, "y")->offset % a, 0);
        qn__gguf_close(g);
        gb_free(&b);
    }
}

/* Every shorter file is refused, and says where. */
static void test_cut_off(void **state)
{
    (void)state;
    gb b;
    small(&b, 3);
    const size_t last = b.data - 32 + 10; /* the last tensor has 10 bytes; padding behind it may be missing */
    size_t data = b.n - (size_t)b.data;
    for (size_t n = 0; n < data + last; n++) {
        gb c = {0};
        gb_put(&c, b.p, n);
        if (!n)
            c.p = malloc(1);
        open_fails(&c, QN_EFORMAT, n == 0 ? "empty" : n < 4 ? "not a GGUF" : n < 32 ? "" : n < data ? "" : "cut off");
    }
    b.n = data + last;
    qn__gguf_close(open_ok(&b));
    gb_free(&b);
}

static void test_allocation_fails(void **state)
{
    (void)state;
    gb b;
    small(&b, 3);
    qn_gguf *g = NULL;
    uint64_t before = qn__alloc_count();
    assert_int_equal(qn__gguf_open_memory(b.p, b.n, "t", &g, NULL), QN_OK);
    uint64_t n = qn__alloc_count() - before;
    qn__gguf_close(g);
    for (uint64_t i = 1; i <= n; i++) {
        qn_err err = {0};
        g = NULL;
        qn__alloc_fail_at(i);
        assert_int_equal(qn__gguf_open_memory(b.p, b.n, "t", &g, &err), QN_ENOMEM);
        assert_null(g);
        assert_true(err.what[0]);
    }
    qn__alloc_fail_at(0);
    gb_free(&b);
}

/* ---- files ---- */

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/quern-gguf-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

static const char *in_dir(char path[160], const char *name)
{
    (void)snprintf(path, 160, "%s/%s", dir, name);
    return path;
}

static void save(const char *path, const gb *b)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b->p, 1, b->n, f), b->n);
    assert_int_equal(fclose(f), 0);
}

/* A 5 GB file: nothing of its data is read. The file is sparse; a page that was read would be in the page cache. */
static void test_reads_only_the_header(void **state)
{
    (void)state;
    char path[160];
    gb b;
    gb_begin(&b, 3);
    gb_tensor_at(&b, "huge", QN_F32, 2, (uint64_t[]){1 << 20, 1280}, 0);
    gb_pad(&b);
    save(in_dir(path, "huge.gguf"), &b);
    if (truncate(path, (off_t)(b.n + ((uint64_t)5 << 30))) != 0) {
        (void)unlink(path);
        gb_free(&b);
        print_message("skipped: no room for a sparse 5 GB file in /tmp\n");
        skip();
    }
    qn_gguf *g = NULL;
    qn_err err = {0};
    (void)qn__alloc_peak_take();
    assert_int_equal(qn__gguf_open(path, &g, &err), QN_OK);
    assert_true(qn__alloc_peak_take() < 16384);
    const qn_gguf_tensor *t = qn__gguf_find(g, "huge");
    assert_true(t->bytes == (size_t)5 << 30);
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    size_t resident = 0, pages = 1 << 16;
    unsigned char *in_core = malloc(pages);
    uintptr_t start = ((uintptr_t)t->data + ((size_t)1 << 30)) / page * page;
    if (in_core && mincore((void *)start, pages * page, in_core) == 0)
        for (size_t i = 0; i < pages; i++)
            resident += in_core[i] & 1;
    assert_int_equal(resident, 0);
    free(in_core);
    qn__gguf_close(g);
    (void)unlink(path);
    gb_free(&b);
}

/* Part no (from 0) of count, holding tensors t<no> and u<no>. */
static void part(gb *b, int no, int count, int tensors)
{
    char name[16];
    gb_begin(b, 3);
    if (no == 0)
        gb_kv_str(b, "general.architecture", "llama");
    gb_kv_u16(b, "split.no", (uint16_t)no);
    gb_kv_u16(b, "split.count", (uint16_t)count);
    gb_kv_i32(b, "split.tensors.count", tensors);
    (void)snprintf(name, sizeof name, "t%d", no), gb_tensor(b, name, QN_F32, 1, 4 + no);
    (void)snprintf(name, sizeof name, "u%d", no), gb_tensor(b, name, QN_F32, 1, 8);
    gb_data(b);
}

static void save_part(int no, int count, const gb *b)
{
    char path[160], name[64];
    (void)snprintf(name, sizeof name, "m-%05d-of-%05d.gguf", no + 1, count);
    save(in_dir(path, name), b);
}

static void split_fails(const char *name, qn_status code, const char *say)
{
    char path[160];
    qn_gguf *g = NULL;
    qn_err err = {0};
    assert_int_equal(qn__gguf_open(in_dir(path, name), &g, &err), code);
    assert_null(g);
    if (!strstr(err.what, say) && !strstr(err.where, say))
        fail_msg("expected '%s' in '%s: %s'", say, err.where, err.what);
}

static void write_parts(void)
{
    gb b;
    for (int i = 0; i < 3; i++)
        part(&b, i, 3, 6), save_part(i, 3, &b), gb_free(&b);
}

static void remove_parts(void)
{
    char path[160], name[64];
    for (int i = 0; i < 3; i++) {
        (void)snprintf(name, sizeof name, "m-%05d-of-00003.gguf", i + 1);
        (void)unlink(in_dir(path, name));
    }
}

static void test_split(void **state)
{
    (void)state;
    char path[160], name[64];
    write_parts();
    for (int i = 0; i < 3; i++) { /* any part opens all */
        qn_gguf *g = NULL;
        qn_err err = {0};
        (void)snprintf(name, sizeof name, "m-%05d-of-00003.gguf", i + 1);
        if (qn__gguf_open(in_dir(path, name), &g, &err) != QN_OK)
            fail_msg("%s: %s", err.where, err.what);
        assert_int_equal(qn__gguf_parts(g), 3);
        assert_int_equal(qn__gguf_n_tensors(g), 6);
        assert_non_null(qn__gguf_kv(g, "general.architecture")); /* the first part's */
        const qn_gguf_tensor *t = qn__gguf_tensor(g, 4);
        assert_true(t->name.n == 2 && memcmp(t->name.p, "t2", 2) == 0);
        assert_int_equal(t->part, 2);
        assert_int_equal(t->dims[0], 6);
        assert_int_equal(t->data[0], 7);
        assert_ptr_equal(qn__gguf_find(g, "u1"), qn__gguf_tensor(g, 3));
        qn__gguf_close(g);
        for (uint64_t n = 1; n < 40; n++) {
            g = NULL;
            qn__alloc_fail_at(n);
            qn_status s = qn__gguf_open(path, &g, &err);
            assert_true(s == QN_OK || s == QN_ENOMEM);
            qn__gguf_close(g);
        }
        qn__alloc_fail_at(0);
    }
    remove_parts();
}

static void test_bad_split(void **state)
{
    (void)state;
    char path[160], to[160];
    gb b;
    write_parts();
    part(&b, 2, 4, 6), save_part(2, 3, &b), gb_free(&b);
    split_fails("m-00001-of-00003.gguf", QN_EFORMAT, "part 3 of 4");
    part(&b, 1, 3, 6), save_part(2, 3, &b), gb_free(&b);
    split_fails("m-00001-of-00003.gguf", QN_EFORMAT, "part 2 of 3");
    split_fails("m-00003-of-00003.gguf", QN_EFORMAT, "renamed");
    part(&b, 0, 3, 6), gb_patch(&b, b.n - 1, 0, 1);
    save(in_dir(path, "other.gguf"), &b);
    split_fails("other.gguf", QN_EFORMAT, "its name does not end in");
    (void)unlink(path);
    open_fails(&b, QN_EUNSUPPORTED, "split");
    write_parts();
    (void)unlink(in_dir(path, "m-00002-of-00003.gguf"));
    split_fails("m-00001-of-00003.gguf", QN_EIO, "m-00002-of-00003.gguf");
    split_fails("m-00003-of-00003.gguf", QN_EIO, "m-00002-of-00003.gguf");
    write_parts();
    part(&b, 0, 3, 7), save_part(0, 3, &b), gb_free(&b);
    split_fails("m-00001-of-00003.gguf", QN_EFORMAT, "the first says 7");
    write_parts(); /* the same tensor in two parts */
    gb_begin(&b, 3), gb_kv_u16(&b, "split.no", 1), gb_kv_u16(&b, "split.count", 3), gb_kv_i32(&b, "split.tensors.count", 6);
    gb_tensor(&b, "t0", QN_F32, 1, 4), gb_tensor(&b, "u1", QN_F32, 1, 4), gb_data(&b);
    save_part(1, 3, &b), gb_free(&b);
    split_fails("m-00001-of-00003.gguf", QN_EFORMAT, "twice in the model");
    write_parts(); /* a part without its keys */
    gb_begin(&b, 3), save_part(1, 3, &b), gb_free(&b);
    split_fails("m-00001-of-00003.gguf", QN_EFORMAT, "split.count");
    gb_begin(&b, 3), gb_kv_str(&b, "split.count", "3"), save_part(0, 3, &b), gb_free(&b);
    split_fails("m-00001-of-00003.gguf", QN_EFORMAT, "split.count");
    /* A whole model may have such a name. */
    gb_begin(&b, 3), gb_kv_u16(&b, "split.count", 1), gb_tensor(&b, "x", QN_F32, 1, 1), gb_data(&b);
    save_part(0, 3, &b), gb_free(&b);
    qn_gguf *g = NULL;
    assert_int_equal(qn__gguf_open(in_dir(to, "m-00001-of-00003.gguf"), &g, NULL), QN_OK);
    assert_int_equal(qn__gguf_parts(g), 1);
    qn__gguf_close(g);
    remove_parts();
}

/* Paths longer than an error's room keep their end. */
static void test_long_path(void **state)
{
    (void)state;
    char path[400];
    qn_gguf *g = NULL;
    qn_err err = {0};
    memset(path, 'p', sizeof path);
    (void)snprintf(path + 300, 100, "/the-end.gguf");
    gb b;
    gb_begin(&b, 3), gb_kv_arr(&b, "some.key", QN_GGUF_U8, 99);
    assert_int_equal(qn__gguf_open_memory(b.p, b.n, path, &g, &err), QN_EFORMAT);
    assert_non_null(strstr(err.where, "/the-end.gguf: key some.key, byte "));
    gb_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_typed),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_bad_head),
        cmocka_unit_test(test_bad_arrays),
        cmocka_unit_test(test_bad_tensors),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_allocation_fails),
        cmocka_unit_test(test_reads_only_the_header),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_bad_split),
        cmocka_unit_test(test_long_path),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
