/* test_quant.c - the quantisers: error beside the reference's (tests/data/quants), beside an exhaustive search, with an
 * importance, and for input that no model should have. */
#include <float.h>
#include <math.h>
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
#include "kernels/f16.h"
#include "kernels/quant.h"

enum { ROW = 256, ROWS = 16, N = ROW * ROWS };

static uint64_t step(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return *s >> 33;
}
/* Near normal, variance 1. */
static float normal(uint64_t *s)
{
    float t = 0;
    for (int i = 0; i < 12; i++)
        t += (float)step(s) / 2147483648.0f;
    return t - 6;
}

static double row_error(const float *a, const float *b, const float *w, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double e = (double)a[i] - (double)b[i];
        sum += e * e * (w ? (double)w[i] : 1);
    }
    return sum;
}

/* Quantise and dequantise n elements; the destination is exact, so that a sanitizer sees one byte too many. */
static void round_trip(qn_type type, const float *x, const float *w, float *y, size_t n)
{
    size_t bytes;
    assert_true(qn__type_row_bytes(type, n, &bytes));
    unsigned char *q = malloc(bytes);
    assert_non_null(q);
    memset(q, 0xAA, bytes);
    qn__quant_row(type, x, q, n, w);
    qn__dequant_row(type, q, y, n);
    free(q);
}

static float *load_floats(const char *path)
{
    char *data = NULL;
    size_t n = 0;
    qn_err err = {0};
    if (qn__read_file(path, 1 << 20, &data, &n, &err) != QN_OK || n != N * sizeof(float))
        fail_msg("%s: %s", path, err.what);
    float *x = malloc(n);
    assert_non_null(x);
    memcpy(x, data, n);
    free(data);
    return x;
}

/* Our error over the reference's: overall (returned) and per row (printed; 1.00 where both are zero). `scale` plants a
 * fault: the result is blown up by it. */
static double compare(const json_t *t, const float *x, float scale)
{
    qn_type type = (qn_type)json_integer_value(json_object_get(t, "ggml_id"));
    static float y[N];
    char line[256];
    int at = snprintf(line, sizeof line, "%-7s", json_string_value(json_object_get(t, "type")));
    double all = 0;
    round_trip(type, x, NULL, y, N);
    for (int r = 0; r < ROWS; r++) {
        for (int i = 0; i < ROW; i++)
            y[r * ROW + i] *= scale;
        double sum = row_error(x + r * ROW, y + r * ROW, NULL, ROW), ours = sqrt(sum / ROW);
        double theirs = json_number_value(json_array_get(json_object_get(t, "rmse_per_row"), (size_t)r));
        all += sum;
        at += snprintf(line + at, sizeof line - (size_t)at, " %5.2f",
                       theirs > 0 ? fmin(ours / theirs, 99)
                       : ours > 0 ? 99.0
                                  : 1.0);
    }
    double ratio = sqrt(all / N) / json_number_value(json_object_get(t, "rmse"));
    if (scale == 1)
        printf("%s | %.4f\n", line, ratio);
    return ratio;
}

static void test_error(void **state)
{
    (void)state;
    json_error_t why;
    json_t *root = json_load_file("tests/data/quants/manifest.json", 0, &why), *t;
    float *x = load_floats("tests/data/quants/input.f32");
    assert_non_null(root);
    size_t i, types = 0, good = 0;
    char worst[16] = "";
    double most = 0;
    printf("RMSE over the reference's, per row of the manifest | overall\n");
    json_array_foreach(json_object_get(root, "types"), i, t)
    {
        if (!qn__quant_has((qn_type)json_integer_value(json_object_get(t, "ggml_id"))))
            continue;
        types++;
        double ratio = compare(t, x, 1);
        good += ratio <= 1.02;
        if (ratio > most && fabs(ratio - 1) > 1e-6) {
            most = ratio;
            (void)snprintf(worst, sizeof worst, "%s", json_string_value(json_object_get(t, "type")));
        }
        assert_true(compare(t, x, 4) > 1.02); /* the planted fault */
    }
    printf("figure: quantisers %zu of %zu types with an RMSE at most 1.02 of the reference's; the largest that "
           "differs: %s %.4f\n",
           good, types, worst, most);
    assert_true(types >= 17 && good == types);
    json_decref(root);
    free(x);
}

/* x ~ d q over a fine sweep of d: what the best scale of one block of 32 could reach. */
static double exhaustive(const float *x, int lo, int hi)
{
    double best = INFINITY;
    float extreme = 0;
    for (int i = 0; i < 32; i++)
        extreme = fmaxf(extreme, fabsf(x[i]));
    for (int sign = -1; sign <= 1; sign += 2)
        for (float edge = 0.5f * (float)-lo; edge < 1.6f * (float)-lo; edge += 0.01f) {
            float d = qn__f16_to_f32(qn__f32_to_f16((float)sign * extreme / edge));
            double sum = 0;
            for (int i = 0; i < 32; i++) {
                double q = fmin(fmax(nearbyint((double)(x[i] / d)), lo), hi), e = (double)x[i] - q * (double)d;
                sum += e * e;
            }
            best = fmin(best, sum);
        }
    return best;
}

static void test_near_optimal(void **state)
{
    (void)state;
    static const struct {
        qn_type type;
        int lo, hi;
        double limit; /* of 8-bit levels the sweep finds a lucky one; a quantiser need not */
    } kinds[] = {{QN_Q4_0, -8, 7, 1.02}, {QN_Q5_0, -16, 15, 1.02}, {QN_Q8_0, -127, 127, 1.2}};
    for (size_t k = 0; k < 3; k++) {
        uint64_t seed = 7;
        double ours = 0, best = 0;
        for (int block = 0; block < 100; block++) {
            float x[32], y[32];
            for (int i = 0; i < 32; i++)
                x[i] = 0.02f * normal(&seed) * (block % 3 == 2 && i % 11 == 0 ? 5 : 1);
            round_trip(kinds[k].type, x, NULL, y, 32);
            ours += row_error(x, y, NULL, 32);
            best += exhaustive(x, kinds[k].lo, kinds[k].hi);
        }
        printf("figure: %s square error %.4f of an exhaustive search of the scale\n",
               qn__type_info((uint32_t)kinds[k].type)->name, ours / best);
        assert_true(ours <= kinds[k].limit * best);
    }
}

static const qn_type *block_types(size_t *n)
{
    static qn_type types[QN_TYPE__COUNT];
    size_t count = 0;
    for (uint32_t id = 0; id < QN_TYPE__COUNT; id++) {
        const qn_type_info *t = qn__type_info(id);
        if (t && t->block > 1 && qn__quant_has((qn_type)id)) {
            assert_true(qn__dequant_has((qn_type)id));
            types[count++] = (qn_type)id;
        }
    }
    *n = count;
    return types;
}

/* An importance lowers the error it weighs, and equal ones of any size change nothing. */
static void test_importance(void **state)
{
    (void)state;
    size_t n;
    const qn_type *types = block_types(&n);
    static float x[N], w[N], plain[N], weighted[N];
    uint64_t seed = 3;
    for (int i = 0; i < N; i++) {
        x[i] = 0.02f * normal(&seed);
        float g = normal(&seed);
        w[i] = g * g * g * g + 1e-3f;
    }
    for (size_t k = 0; k < n; k++) {
        round_trip(types[k], x, NULL, plain, N);
        round_trip(types[k], x, w, weighted, N);
        double before = row_error(x, plain, w, N), after = row_error(x, weighted, w, N);
        printf("%-7s weighted error with importance / without: %.3f\n", qn__type_info((uint32_t)types[k])->name,
               after / before);
        assert_true(after <= before);
        if (types[k] != QN_MXFP4 && types[k] != QN_Q8_0)
            assert_true(after < 0.97 * before);
        static const float sizes[] = {1e-30f, 0.125f, 1e30f};
        for (size_t s = 0; s < 3; s++) {
            static float same[N], equal[N];
            for (int i = 0; i < N; i++)
                equal[i] = sizes[s];
            round_trip(types[k], x, equal, same, N);
            assert_memory_equal(same, plain, sizeof same);
        }
    }
}

/* Weights that are no weights: negative, NaN, infinite, all zero. */
static void test_bad_importance(void **state)
{
    (void)state;
    size_t n;
    const qn_type *types = block_types(&n);
    static const float bad[] = {0, -1, NAN, INFINITY, -INFINITY, FLT_MAX, 1e-45f};
    float x[ROW], w[ROW], y[ROW];
    uint64_t seed = 4;
    for (int i = 0; i < ROW; i++)
        x[i] = normal(&seed);
    for (size_t k = 0; k < n; k++)
        for (size_t b = 0; b <= sizeof bad / sizeof *bad; b++) {
            for (int i = 0; i < ROW; i++)
                w[i] = b < sizeof bad / sizeof *bad ? bad[b] : bad[step(&seed) % b];
            round_trip(types[k], x, w, y, ROW);
            double energy = row_error(x, (float[ROW]){0}, NULL, ROW);
            for (int i = 0; i < ROW; i++)
                assert_true(isfinite(y[i]));
            if (b < 5) /* as if there were none */
                assert_true(row_error(x, y, NULL, ROW) < 0.3 * energy);
        }
}

static void test_zeros(void **state)
{
    (void)state;
    size_t n;
    const qn_type *types = block_types(&n);
    float x[ROW] = {0}, y[ROW];
    for (size_t k = 0; k < n; k++) {
        x[5] = -0.0f;
        round_trip(types[k], x, NULL, y, ROW);
        for (int i = 0; i < ROW; i++)
            assert_true(y[i] == 0);
    }
}

/* What is finite comes back finite, near where the type reaches; NaN is zero. */
static void test_hostile(void **state)
{
    (void)state;
    size_t n;
    const qn_type *types = block_types(&n);
    static const float odd[] = {NAN,     INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, FLT_MIN, 1e-45f,
                                -1e-45f, 65504,    -1e6f,     1e-20f,  3e-8f,    0,       1};
    uint64_t seed = 9;
    for (size_t k = 0; k < n; k++)
        for (int round = 0; round < 400; round++) {
            float x[ROW], y[ROW];
            for (int i = 0; i < ROW; i++) {
                uint64_t r = step(&seed);
                float noise = qn__bits_f32((uint32_t)(r << 7 ^ step(&seed))); /* any bits */
                x[i] = round % 4 == 0   ? odd[r % (sizeof odd / sizeof *odd)]
                       : round % 4 == 1 ? noise
                       : round % 4 == 2 ? (r % 50 ? normal(&seed) : odd[r / 64 % 8])
                                        : ldexpf(normal(&seed), round - 250);
            }
            if (round < 14)
                for (int i = 0; i < ROW; i++)
                    x[i] = odd[round];
            round_trip(types[k], x, NULL, y, ROW);
            for (int i = 0; i < ROW; i++)
                assert_true(isfinite(y[i]));
            if (round == 0)
                for (int i = 0; i < ROW; i++)
                    assert_true(y[i] == 0); /* NaN only */
        }
}

/* What a type can hold exactly it holds: values that it made itself come back. */
static void test_again(void **state)
{
    (void)state;
    size_t n;
    const qn_type *types = block_types(&n);
    uint64_t seed = 5;
    for (size_t k = 0; k < n; k++) {
        double lost = 0, energy = 0;
        for (int round = 0; round < 40; round++) {
            float x[ROW], y[ROW], z[ROW];
            for (int i = 0; i < ROW; i++)
                x[i] = 0.03f * normal(&seed);
            round_trip(types[k], x, NULL, y, ROW);
            round_trip(types[k], y, NULL, z, ROW);
            lost += row_error(y, z, NULL, ROW);
            energy += row_error(x, y, NULL, ROW);
        }
        printf("%-7s a second time loses %.4f of what the first did\n", qn__type_info((uint32_t)types[k])->name,
               lost / energy);
        assert_true(lost < 0.2 * energy);
    }
}

static void test_floats(void **state)
{
    (void)state;
    float x[5] = {1.0f, -2.5f, 1e6f, NAN, 0x1p-24f}, y[5];
    round_trip(QN_F32, x, NULL, y, 5);
    assert_memory_equal(x, y, sizeof x);
    round_trip(QN_F16, x, NULL, y, 5);
    assert_true(y[0] == 1 && y[1] == -2.5f && isinf(y[2]) && isnan(y[3]) && y[4] == 0x1p-24f);
    round_trip(QN_BF16, x, NULL, y, 5);
    assert_true(y[0] == 1 && y[1] == -2.5f && y[2] == 999424.0f && isnan(y[3]) && y[4] == 0x1p-24f);
    assert_false(qn__quant_has(QN_I32));
    assert_false(qn__quant_has((qn_type)99));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error),          cmocka_unit_test(test_near_optimal), cmocka_unit_test(test_importance),
        cmocka_unit_test(test_bad_importance), cmocka_unit_test(test_zeros),        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_again),          cmocka_unit_test(test_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
