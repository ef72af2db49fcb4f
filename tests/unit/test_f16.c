/* test_f16.c - the scalar conversions: every 16-bit pattern, and every border of rounding between them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "kernels/f16.h"

static float after(float f, int by)
{
    return qn__bits_f32(qn__f32_bits(f) + (uint32_t)by);
}

/* The value of a finite pattern by its definition. */
static double value(unsigned h)
{
    int exp = (int)(h >> 10 & 31), man = (int)(h & 1023);
    double v = exp ? ldexp(1024 + man, exp - 25) : ldexp(man, -24);
    return h & 0x8000 ? -v : v;
}

static void test_widen_and_back(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 0x10000; h++) {
        float f = qn__f16_to_f32((uint16_t)h);
        unsigned a = h & 0x7FFF;
        if (a > 0x7C00) {
            assert_true(isnan(f));
            assert_int_equal(qn__f32_bits(f) >> 31, h >> 15);
            assert_int_equal(qn__f32_to_f16(f), h | 0x200);
        } else {
            if (a == 0x7C00)
                assert_true(isinf(f));
            else
                assert_true((double)f == value(h));
            assert_int_equal(qn__f32_to_f16(f), h); /* the sign of zero too */
        }
        float b = qn__bf16_to_f32((uint16_t)h);
        if (isnan(b))
            assert_int_equal(qn__f32_to_bf16(b), h | 0x40);
        else
            assert_int_equal(qn__f32_to_bf16(b), h);
    }
}

/* Halfway between neighbours goes to the even one; a bit to either side, to the nearer. */
static void test_round(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 0x7C00; h++) {
        float lo = qn__f16_to_f32((uint16_t)h);
        float mid = h < 0x7BFF ? lo + (qn__f16_to_f32((uint16_t)(h + 1)) - lo) / 2 : 65520.0f; /* exact in binary32 */
        unsigned even = h & 1 ? h + 1 : h;
        assert_int_equal(qn__f32_to_f16(mid), even);
        assert_int_equal(qn__f32_to_f16(-mid), even | 0x8000);
        assert_int_equal(qn__f32_to_f16(after(mid, -1)), h);
        assert_int_equal(qn__f32_to_f16(after(mid, 1)), h + 1);
    }
    for (unsigned h = 0; h < 0x7F80; h++) {
        float mid = qn__bits_f32(h << 16 | 0x8000);
        assert_int_equal(qn__f32_to_bf16(mid), h & 1 ? h + 1 : h);
        assert_int_equal(qn__f32_to_bf16(after(mid, -1)), h);
        assert_int_equal(qn__f32_to_bf16(after(mid, 1)), h + 1);
    }
    assert_int_equal(qn__f32_to_f16(1e30f), 0x7C00);
    assert_int_equal(qn__f32_to_f16(-1e30f), 0xFC00);
    assert_int_equal(qn__f32_to_f16(1e-30f), 0);
    assert_int_equal(qn__f32_to_bf16(qn__bits_f32(0x7F800001)), 0x7FC0); /* a NaN never rounds to infinity */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_widen_and_back), cmocka_unit_test(test_round)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
