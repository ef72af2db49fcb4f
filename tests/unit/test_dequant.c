/* test_dequant.c - what the golden vectors cannot show: every entry of the codebooks (their expanded bytes have a known
 * hash), and that each type reads and writes exactly its block, at any alignment. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "kernels/dequant.h"
#include "kernels/f16.h"
#include "kernels/ref/iq_tables.h"

static uint64_t expanded_hash(const uint16_t *grid, size_t n, int lanes, const int8_t *value)
{
    int bits = lanes == 8 ? 2 : 3;
    int8_t *all = malloc(n * (size_t)lanes);
    assert_non_null(all);
    for (size_t i = 0; i < n; i++)
        for (int j = 0; j < lanes; j++)
            all[i * (size_t)lanes + (size_t)j] = value[grid[i] >> (bits * j) & ((1 << bits) - 1)];
    uint64_t h = qn__hash(all, n * (size_t)lanes);
    free(all);
    return h;
}

static void test_codebooks(void **state)
{
    (void)state;
    static const int8_t two[4] = {8, 25, 43, 99}, ternary[4] = {-1, 0, 1, 99};
    static const int8_t xxs[8] = {4, 12, 20, 28, 36, 44, 52, 62}, odd[8] = {1, 3, 5, 7, 9, 11, 13, 15};
    assert_true(expanded_hash(qn__iq2xxs_grid, 256, 8, two) == 0xbb4ee025b5ac6e8e);
    assert_true(expanded_hash(qn__iq2xs_grid, 512, 8, two) == 0xc9b1ee61e79909bd);
    assert_true(expanded_hash(qn__iq2s_grid, 1024, 8, two) == 0x123edd38a3b62b90);
    assert_true(expanded_hash(qn__iq3xxs_grid, 256, 4, xxs) == 0xdfa5dc83d6a155d5);
    assert_true(expanded_hash(qn__iq3s_grid, 512, 4, odd) == 0xfa37020c25b44829);
    assert_true(expanded_hash(qn__iq1s_grid, 2048, 8, ternary) == 0x6703ed863501ae2e);
    /* The planted fault: one lane changed must change the hash. */
    uint16_t copy[256];
    memcpy(copy, qn__iq2xxs_grid, sizeof copy);
    copy[200] ^= 1;
    assert_true(expanded_hash(copy, 256, 8, two) != 0xbb4ee025b5ac6e8e);
    for (unsigned s = 0; s < 128; s++)
        assert_true(__builtin_popcount(qn__iq_signs(s)) % 2 == 0 && (qn__iq_signs(s) & 127) == s);
}

static void test_which(void **state)
{
    (void)state;
    size_t n = 0;
    for (uint32_t id = 0; id < QN_TYPE__COUNT; id++) {
        n += qn__dequant_has((qn_type)id);
        if (qn__dequant_has((qn_type)id))
            assert_non_null(qn__type_info(id));
    }
    assert_int_equal(n, 28);
    assert_false(qn__dequant_has(QN_I32));
    assert_false(qn__dequant_has(QN_F64));
    assert_false(qn__dequant_has(QN_Q8_K));
    assert_false(qn__dequant_has((qn_type)4));
    assert_false(qn__dequant_has(QN_TYPE__COUNT));
    assert_null(qn__type_info(QN_TYPE__COUNT));
    assert_null(qn__type_info(UINT32_MAX));
    size_t bytes = 1;
    assert_false(qn__type_row_bytes(QN_Q4_K, 255, &bytes));
    assert_false(qn__type_row_bytes(QN_F64, UINT64_MAX, &bytes));
    assert_false(qn__type_row_bytes((qn_type)5, 32, &bytes));
    assert_int_equal(bytes, 1);
    assert_true(qn__type_row_bytes(QN_Q4_K, 512, &bytes) && bytes == 288);
    assert_true(qn__type_row_bytes(QN_F32, 0, &bytes) && bytes == 0);
}

/* Three blocks, at every offset from alignment, give what they give apart; nothing is touched before or behind. */
static void test_exact(void **state)
{
    (void)state;
    for (uint32_t id = 0; id < QN_TYPE__COUNT; id++) {
        if (!qn__dequant_has((qn_type)id))
            continue;
        const qn_type_info *t = qn__type_info(id);
        size_t n = 3 * t->block, bytes = 3 * t->bytes;
        float *apart = malloc(n * sizeof *apart), *row = malloc(n * sizeof *row);
        assert_true(apart && row);
        for (size_t shift = 0; shift < 4; shift++) {
            unsigned char *src = malloc(bytes + shift);
            assert_non_null(src);
            for (size_t i = 0; i < bytes; i++)
                src[shift + i] = (unsigned char)((i * 37 + i / 5) & 0x7B); /* finite scales */
            for (size_t k = 0; k < 3; k++)
                qn__dequant_row((qn_type)id, src + shift + k * t->bytes, apart + k * t->block, t->block);
            qn__dequant_row((qn_type)id, src + shift, row, n);
            assert_memory_equal(apart, row, n * sizeof *row);
            free(src);
        }
        free(apart);
        free(row);
    }
}

/* Numbers worked out by hand from the format's description. */
static void test_by_hand(void **state)
{
    (void)state;
    float y[256];
    unsigned char q4[18] = {0, 0x3C, 0x80}; /* d = 1; byte 0: element 0 is 0 - 8, element 16 is 8 - 8 */
    qn__dequant_row(QN_Q4_0, q4, y, 32);
    assert_true(y[0] == -8 && y[16] == 0 && y[1] == -8);
    unsigned char mx[17] = {128, 0x72}; /* scale 2; element 0: code 2 = 1, element 16: code 7 = 6 */
    qn__dequant_row(QN_MXFP4, mx, y, 32);
    assert_true(y[0] == 2 && y[16] == 12 && y[1] == 0);
    unsigned char q6[210] = {0};
    q6[208] = 0, q6[209] = 0x3C, q6[192] = 0xFF; /* d = 1, the first sub-scale -1: (0 - 32) * -1 */
    qn__dequant_row(QN_Q6_K, q6, y, 256);
    assert_true(y[0] == 32 && y[15] == 32 && y[16] == 0);
    unsigned char nl[18] = {0, 0xBC, 0xF0}; /* d = -1 */
    qn__dequant_row(QN_IQ4_NL, nl, y, 32);
    assert_true(y[0] == 127 && y[16] == -113);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_codebooks), cmocka_unit_test(test_which), cmocka_unit_test(test_exact),
                                       cmocka_unit_test(test_by_hand)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
