/* test_quants.c - every block type, dequantised, against the floats that the reference made of the same bytes: what a
 * quantiser wrote, and random bytes (which use every code, scale and sign). Equal means memcmp. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "base/file.h"
#include "kernels/dequant.h"

/* Our own copy, else the shared one. */
static const char *find_dir(void)
{
    static char path[512];
    const char *shared = getenv("SHARED");
    (void)snprintf(path, sizeof path, "%s/golden/quants", shared ? shared : "../shared");
    const char *const places[] = {"tests/data/quants", path};
    for (size_t i = 0; i < 2; i++) {
        char probe[600];
        (void)snprintf(probe, sizeof probe, "%s/manifest.json", places[i]);
        FILE *f = fopen(probe, "rb");
        if (f) {
            (void)fclose(f);
            return places[i];
        }
    }
    return NULL;
}

static char *load(const char *dir, const char *file, size_t *n)
{
    char path[1024];
    char *data = NULL;
    qn_err err = {0};
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    if (qn__read_file(path, (size_t)64 << 20, &data, n, &err) != QN_OK)
        fail_msg("%s: %s", err.where, err.what);
    return data;
}

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    if (!s)
        fail_msg("manifest: no %s", key);
    return s;
}

static int type_named(const char *name)
{
    for (uint32_t id = 0; id < QN_TYPE__COUNT; id++) {
        const qn_type_info *t = qn__type_info(id);
        if (t && strcmp(t->name, name) == 0)
            return (int)id;
    }
    return -1;
}

/* Elements that differ in bits; the first is named. `flip` plants a fault. */
static size_t compare(const char *dir, const json_t *row, size_t n, bool flip)
{
    size_t nq, nf, row_bytes, bad = 0;
    const char *name = text(row, "type");
    int type = type_named(name);
    if (type < 0 || !qn__dequant_has((qn_type)type))
        fail_msg("%s: no such type", name);
    char *q = load(dir, text(row, "file"), &nq), *want = load(dir, text(row, "dequantised"), &nf);
    assert_true(qn__type_row_bytes((qn_type)type, n, &row_bytes));
    assert_int_equal(nq, row_bytes);
    assert_int_equal(nf, 4 * n);
    /* An exact block each, so that a sanitizer sees one byte too many. */
    void *src = malloc(nq);
    float *got = malloc(nf);
    assert_true(src && got);
    memcpy(src, q, nq);
    if (flip)
        want[nf / 2] ^= 1;
    qn__dequant_row((qn_type)type, src, got, n);
    for (size_t i = 0; i < n; i++)
        if (memcmp(got + i, want + 4 * i, 4) != 0 && bad++ == 0 && !flip) {
            float w;
            memcpy(&w, want + 4 * i, 4);
            printf("%s (%s): element %zu is %a, not %a\n", name, text(row, "file"), i, (double)got[i], (double)w);
        }
    free(src);
    free(got);
    free(q);
    free(want);
    return bad;
}

static void test_types(void **state)
{
    (void)state;
    const char *dir = find_dir();
    if (!dir) {
        printf("skipped: neither tests/data/quants nor golden/quants in ../shared (set SHARED)\n");
        skip();
        return;
    }
    size_t n_text, types = 0, right = 0, randoms = 0, random_right = 0;
    char *manifest = load(dir, "manifest.json", &n_text);
    json_error_t why;
    json_t *root = json_loadb(manifest, n_text, 0, &why), *row;
    size_t i;
    assert_non_null(root);
    size_t n = (size_t)json_integer_value(json_object_get(root, "n"));
    json_array_foreach(json_object_get(root, "types"), i, row) {
        const qn_type_info *t = qn__type_info((uint32_t)json_integer_value(json_object_get(row, "ggml_id")));
        assert_non_null(t);
        assert_string_equal(t->name, text(row, "type"));
        assert_int_equal(t->block, json_integer_value(json_object_get(row, "block_size")));
        assert_int_equal(t->bytes, json_integer_value(json_object_get(row, "block_bytes")));
        types++;
        right += compare(dir, row, n, false) == 0;
        assert_true(compare(dir, row, n, true) > 0); /* the planted fault: one bit of the expectation */
    }
    json_array_foreach(json_object_get(root, "random_bytes"), i, row) {
        randoms++;
        random_right += compare(dir, row, (size_t)json_integer_value(json_object_get(row, "n")), false) == 0;
    }
    json_decref(root);
    free(manifest);
    printf("figure: quants %zu of %zu types bit-identical (random bytes: %zu of %zu)\n", right, types, random_right, randoms);
    assert_true(types > 0 && right == types && random_right == randoms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_types)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
