/* test_safetensors.c - the safetensors reader: what is right is read, every kind of wrong has its sentence, and no mutation
 * or failed allocation does harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "formats/safetensors.h"

/* A file of this header and n_data bytes 0, 1, 2...; exactly sized, so that a sanitizer sees a byte too many. */
static unsigned char *file_of(const char *header, size_t n_data, size_t *size)
{
    size_t n = strlen(header);
    unsigned char *p = malloc(8 + n + n_data);
    *size = 8 + n + n_data;
    for (int i = 0; i < 8; i++)
        p[i] = (unsigned char)((uint64_t)n >> (8 * i));
    memcpy(p + 8, header, n);
    for (size_t i = 0; i < n_data; i++)
        p[8 + n + i] = (unsigned char)i;
    return p;
}

#define GOOD                                                                                                           \
    "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"         \
    "\"b.\\u00e9\\ud83d\\ude00\":{\"shape\":[],\"data_offsets\":[24,26],\"dtype\":\"BF16\"},"                          \
    "\"c\":{\"dtype\":\"U8\",\"shape\":[0,7],\"data_offsets\":[26,26]}}   "

static void test_good(void **state)
{
    size_t size;
    unsigned char *p = file_of(GOOD, 26, &size);
    qn_st *s;
    qn_err err;
    (void)state;
    assert_int_equal(qn__st_open_memory(p, size, "good", &s, &err), QN_OK);
    assert_int_equal(qn__st_n_tensors(s), 3);
    const qn_st_tensor *a = qn__st_find(s, "a"), *b = qn__st_find(s, "b.\xC3\xA9\xF0\x9F\x98\x80");
    assert_non_null(a);
    assert_non_null(b);
    assert_null(qn__st_find(s, "b"));
    assert_int_equal(a->n_dims, 2);
    assert_int_equal(a->dims[1], 3);
    assert_int_equal(a->bytes, 24);
    assert_int_equal(a->data[23], 23);
    assert_int_equal(b->n_dims, 0);
    assert_int_equal(b->data[0], 24);
    assert_string_equal(qn__st_dtype_name(b->dtype), "BF16");
    assert_string_equal(qn__st_tensor(s, 2)->name, "c");
    qn__st_drop(s, a->data, a->bytes); /* nothing mapped: nothing happens */
    qn__st_close(s);
    free(p);
}

static const struct wrong {
    const char *header;
    size_t n_data;
    const char *sentence;
} wrongs[] = {
    {"", 0, "expected '{'"},
    {"[]", 0, "expected '{'"},
    {"{\"a\"", 0, "expected ':'"},
    {"{\"a\":{}}", 0, "expected '\"'"},
    {"{\"a\":[[[[[[[[", 0, "expected '{'"},
    {"{\"a", 0, "does not end"},
    {"{\"a\\q\":1}", 0, "malformed escape"},
    {"{\"a\\u0000\":1}", 0, "malformed escape"},
    {"{\"a\\ud800\":1}", 0, "malformed escape"},
    {"{\"a\\udc00\":1}", 0, "malformed escape"},
    {"{\"a\n\":1}", 0, "control character"},
    {"{\"\xFF\":1}", 0, "not UTF-8"},
    {"{} x", 0, "something follows"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4, "expected '}'"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"offsets\":[0,4]}}", 4, "none of them"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"shape\":[1]}}", 4, "there twice"},
    {"{\"a\":{\"dtype\":\"Q4\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype Q4 is unknown"},
    {"{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "expected '\"'"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "not a whole number"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, "expected ','"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[01],\"data_offsets\":[0,4]}}", 4, "not a whole number"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}", 4, "does not fit 64 bits"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4, "product of its shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, "longer than it may be"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "two numbers"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 4, "outside the file"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "outside the file"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "do not span"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 8, "belong to no tensor"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "overlaps"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}", 6, "overlaps"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "hole"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "there twice"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "expected '\"'"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "there twice"},
};

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        size_t size;
        unsigned char *p = file_of(wrongs[i].header, wrongs[i].n_data, &size);
        qn_st *s = NULL;
        qn_err err = {0};
        qn_status st = qn__st_open_memory(p, size, "wrong", &s, &err);
        if (st == QN_OK || s || !strstr(err.what, wrongs[i].sentence) || strncmp(err.where, "wrong", 5) != 0)
            fail_msg("%s: status %d, where \"%s\", what \"%s\"", wrongs[i].header, st, err.where, err.what);
        free(p);
    }
}

static void test_lengths(void **state)
{
    unsigned char p[10] = {3, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    qn_st *s;
    qn_err err;
    (void)state;
    for (size_t n = 0; n <= sizeof p; n++) { /* header says 3, there are at most 2 */
        assert_int_equal(qn__st_open_memory(p, n, "short", &s, &err), QN_EFORMAT);
        assert_non_null(strstr(err.what, "no safetensors file"));
    }
    memset(p, 0xFF, 8);
    assert_int_equal(qn__st_open_memory(p, sizeof p, "long", &s, &err), QN_EFORMAT);
    p[0] = 2;
    memset(p + 1, 0, 7);
    assert_int_equal(qn__st_open_memory(p, sizeof p, "empty", &s, &err), QN_OK); /* the smallest there is */
    assert_int_equal(qn__st_n_tensors(s), 0);
    qn__st_close(s);
}

/* Is every tensor inside, and of the size that its shape says? */
static bool sound(const qn_st *s, const unsigned char *p, size_t size)
{
    for (size_t i = 0; i < qn__st_n_tensors(s); i++) {
        const qn_st_tensor *t = qn__st_tensor(s, i);
        uint64_t n = qn__st_dtype_size(t->dtype);
        for (uint32_t d = 0; d < t->n_dims; d++)
            n *= t->dims[d];
        if (n != t->bytes || t->data < p || t->bytes > (size_t)(p + size - t->data) || qn__st_find(s, t->name) != t)
            return false;
    }
    return true;
}

static void test_mutations(void **state)
{
    size_t size, accepted = 0;
    unsigned char *good = file_of(GOOD, 26, &size), *p = malloc(size);
    uint64_t r = 88172645463325252u;
    (void)state;
    for (int i = 0; i < 20000; i++) {
        memcpy(p, good, size);
        for (int k = 0; k <= i % 3; k++) {
            r ^= r << 13, r ^= r >> 7, r ^= r << 17;
            p[r % size] = "{}[],:\"0123456789\\ua\0\xFF"[(r >> 32) % 23];
        }
        qn_st *s = NULL;
        qn_err err = {0};
        (void)qn__alloc_peak_take();
        if (qn__st_open_memory(p, size, "mutant", &s, &err) == QN_OK) {
            assert_true(sound(s, p, size));
            accepted++;
        } else {
            assert_true(err.what[0] && err.where[0] && !s);
        }
        assert_true(qn__alloc_peak_take() <= 65536);
        qn__st_close(s);
    }
    assert_true(accepted > 100 && accepted < 15000);
    free(p);
    free(good);
}

static void test_memory(void **state)
{
    size_t size;
    unsigned char *p = file_of(GOOD, 26, &size);
    qn_err err;
    (void)state;
    for (uint64_t n = 1;; n++) {
        qn_st *s = NULL;
        qn__alloc_fail_at(n);
        qn_status st = qn__st_open_memory(p, size, "memory", &s, &err);
        qn__alloc_fail_at(0);
        if (st == QN_OK) {
            assert_true(n > 3);
            qn__st_close(s);
            break;
        }
        assert_int_equal(st, QN_ENOMEM);
        assert_null(s);
    }
    free(p);
}

/* The check above can fail: a tensor moved by one byte is not sound. */
static void test_planted(void **state)
{
    size_t size;
    unsigned char *p = file_of(GOOD, 26, &size);
    qn_st *s;
    (void)state;
    assert_int_equal(qn__st_open_memory(p, size, "planted", &s, NULL), QN_OK);
    assert_true(sound(s, p, size));
    assert_false(sound(s, p, size - 3));
    qn__st_close(s);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),   cmocka_unit_test(test_wrong),   cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_mutations), cmocka_unit_test(test_memory), cmocka_unit_test(test_planted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
