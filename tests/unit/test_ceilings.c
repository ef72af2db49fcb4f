/* The machine's ceilings are measured, and the least work of a step is what its shapes say. Nothing is timed against a
 * limit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "kernels/peak.h"
#include "quern.h"

static void measured(void **state)
{
    (void)state;
    const char *levels[8];
    size_t n = qn_cpu_levels(levels, 8);
    for (size_t i = 0; i < n; i++)
        for (int threads = 1; threads <= 2; threads++) {
            qn_ceilings c = {0};
            qn_err err = {0};
            assert_int_equal(qn_measure_ceilings(levels[i], NULL, threads, 1, &c, &err), QN_OK);
            assert_string_equal(c.cpu, levels[i]);
            assert_int_equal(c.n_threads, threads);
            assert_true(c.read_bytes > 0 && c.read_bytes <= 4u << 20);
            assert_true(c.bandwidth > 0 && c.int8_ops > 0 && c.fp32_ops > 0);
            assert_true(strcmp(levels[i], "amx") == 0 ? c.int8_vector_ops > 0 && c.int8_vector_ops < c.int8_ops
                                                      : c.int8_vector_ops == c.int8_ops);
            assert_true(isfinite(c.bandwidth) && isfinite(c.int8_ops) && isfinite(c.fp32_ops));
            printf("figure: %s, %d thread(s), 4 MiB: %.1f GB/s, %.0f int8 GOPS, %.0f fp32 GFLOPS\n", c.cpu, threads,
                   c.bandwidth / 1e9, c.int8_ops / 1e9, c.fp32_ops / 1e9);
        }
    qn_ceilings c;
    qn_err err;
    assert_int_equal(qn_measure_ceilings("avx9", NULL, 1, 1, &c, &err), QN_EINVAL);
    assert_int_equal(qn_measure_ceilings(NULL, NULL, -1, 1, &c, &err), QN_EINVAL);
}

/* The operations said are done: reading sums up what is there, and twice the rounds are twice the operations. */
static void peaks(void **state)
{
    (void)state;
    static _Alignas(64) unsigned char memory[8192];
    memset(memory, 1, sizeof memory);
    const char *levels[8];
    size_t n = qn_cpu_levels(levels, 8);
    for (size_t i = 0; i < n; i++) {
        const qn_peak *p = qn__peak((qn_cpu)i);
        unsigned char a[64] = {0}, b[64] = {0}, sum = 0;
        assert_true(p->int8(10, a) > 0);
        assert_true(p->int8(20, b) == 2 * p->int8(10, a));
        assert_memory_not_equal(a, b, 64); /* another number of rounds, another sum */
        assert_true(p->fp32(20, b) == 2 * p->fp32(10, a));
        p->read(memory, sizeof memory, a);
        for (int j = 0; j < 64; j++)
            sum = (unsigned char)(sum + a[j]);
        memory[5000] = 2;
        p->read(memory, sizeof memory, b);
        assert_memory_not_equal(a, b, 64);
        memory[5000] = 1;
    }
}

typedef struct opened {
    qn_model *m;
    qn_engine *e;
    char path[64];
} opened;

static void start(opened *o, const char *shape, const char *type)
{
    qn_err err = {0};
    qn_engine_options eo;
    (void)snprintf(o->path, sizeof o->path, "/tmp/quern-ceilings-%d.gguf", (int)getpid());
    assert_int_equal(qn_synth(shape, type, 0, o->path, NULL, NULL, &err), QN_OK);
    assert_int_equal(qn_model_open(o->path, QN_OPEN_FULL, &o->m, &err), QN_OK);
    qn_engine_options_init(&eo);
    eo.n_threads = 1;
    eo.n_ctx = 64;
    assert_int_equal(qn_engine_open(o->m, &eo, &o->e, &err), QN_OK);
}

static void end(opened *o)
{
    qn_engine_close(o->e);
    qn_model_close(o->m);
    (void)remove(o->path);
}

static void dense(void **state)
{
    (void)state;
    opened o;
    qn_work w;
    qn_model_info info;
    start(&o, "tiny", "Q8_0");
    /* Two layers: 256 x (256 + 128 + 128 + 256) of attention, 3 x 256 x 512; the output 256 x 512. */
    const double layers = 2 * (256.0 * (256 + 128 + 128 + 256) + 3 * 256.0 * 512), output = 256.0 * 512,
                 byte = 34.0 / 32;
    qn_engine_get_work(o.e, 1, 1, 0, &w);
    assert_true(w.bytes == (layers + output) * byte);
    assert_true(w.int8_ops == 2 * (layers + output) && w.float_ops == 0);
    qn_model_get_info(o.m, &info);
    assert_true((double)info.bytes_per_token == w.bytes);
    assert_true((double)info.params_per_token == layers + output);
    qn_engine_get_work(o.e, 3, 10, 7, &w); /* keys and values: 2 layers x 2 heads x (64 + 64) halves a token */
    assert_true(w.bytes == (layers + output) * byte + 3 * 7 * 2 * 2 * 128 * 2.0);
    assert_true(w.int8_ops == 2 * (30 * layers + 3 * output));
    /* 2 layers x 4 heads x (64 + 64), each token with the 7 before it and on average 5.5 of its own */
    assert_true(w.attention_ops == 2 * 30 * 12.5 * 2 * 4 * 128);
    qn_engine_options q8;
    qn_engine_options_init(&q8);
    q8.n_threads = 1;
    q8.kv = QN_KV_Q8_0;
    qn_engine *e;
    qn_engine_info ei;
    assert_int_equal(qn_engine_open(o.m, &q8, &e, NULL), QN_OK);
    qn_engine_get_work(e, 1, 1, 7, &w); /* and a half float for 32 of its values */
    assert_true(w.bytes == (layers + output) * byte + 7 * 2 * 2 * 128 * byte);
    qn_engine_get_info(e, &ei);
    assert_true((double)ei.kv_bytes_per_token == 2 * 2 * 128 * byte);
    qn_engine_close(e);
    end(&o);
    qn_model *m;
    assert_int_equal(qn_model_open("embedded", QN_OPEN_HEADER, &m, NULL), QN_OK);
    qn_model_get_info(m, &info);
    assert_true(info.bytes_per_token == 0 && info.params_per_token == 0);
    qn_model_close(m);
}

static void experts(void **state)
{
    (void)state;
    opened o;
    qn_work one, many;
    start(&o, "tiny-cohere2moe", "Q8_0");
    /* Five layers, the first dense; of eight experts of 3 x 256 x 256 two are chosen; the router is F32; the head is
     * tied. */
    const double attention = 5 * 256.0 * (256 + 128 + 128 + 256), ffn = 3 * 256.0 * 512, expert = 3 * 256.0 * 256,
                 router = 4 * 256.0 * 8, output = 256.0 * 512, byte = 34.0 / 32;
    qn_engine_get_work(o.e, 1, 1, 0, &one);
    assert_true(fabs(one.bytes - ((attention + ffn + output + 4 * 2 * expert) * byte + router * 4)) < 1);
    assert_true(one.int8_ops == 2 * (attention + ffn + output + 4 * 2 * expert) && one.float_ops == 2 * router);
    qn_engine_get_work(o.e, 1, 1000, 0, &many); /* so many tokens choose them all */
    assert_true(fabs(many.bytes - one.bytes - 4 * 6 * expert * byte) < 1);
    /* Windows of 64 in layers 1 to 3; layers 0 and 4 see everything. */
    qn_engine_get_work(o.e, 1, 1, 1000, &many);
    assert_true(fabs(many.bytes - one.bytes - (2 * 1000 + 3 * 64) * 2 * 128 * 2.0) < 1);
    end(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(measured), cmocka_unit_test(peaks), cmocka_unit_test(dense),
                                       cmocka_unit_test(experts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
