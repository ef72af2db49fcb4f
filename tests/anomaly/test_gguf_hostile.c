/* test_gguf_hostile.c - 10,000 and more mutations of a GGUF file. Each must be opened, and then everything that the handle
 * hands out is read, or refused with a sentence and a place; no allocation is larger than the file warrants. Run under
 * ASan and UBSan too: every input lies in a block of exactly its size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../unit/gguf_bytes.h"
#include "../unit/gguf_touch.h"
#include "base/mem.h"

static struct counts {
    size_t tried, opened, refused;
} count;

/* xorshift64*: the same numbers everywhere. */
static uint64_t next(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 0x2545F4914F6CDD1Du;
}
static size_t below(uint64_t *s, size_t n)
{
    return (size_t)(next(s) % n);
}

static void try(const unsigned char *p, size_t n)
{
    qn_gguf *g = NULL;
    qn_err err = {0};
    unsigned char *exact = malloc(n ? n : 1);
    assert_non_null(exact);
    if (n)
        memcpy(exact, p, n);
    (void)qn__alloc_peak_take();
    qn_status s = qn__gguf_open_memory(exact, n, "hostile", &g, &err);
    size_t peak = qn__alloc_peak_take();
    count.tried++;
    if (peak > gguf_fair_allocation(n))
        fail_msg("a file of %zu bytes caused an allocation of %zu", n, peak);
    if (s == QN_OK) {
        const char *bad = gguf_touch(g, exact, n);
        if (bad)
            fail_msg("case %zu: %s", count.tried, bad);
        count.opened++;
    } else {
        if ((s != QN_EFORMAT && s != QN_EUNSUPPORTED) || err.code != s || !err.what[0] || strncmp(err.where, "hostile", 7) != 0)
            fail_msg("case %zu: status %d, '%s: %s'", count.tried, (int)s, err.where, err.what);
        assert_null(g);
        count.refused++;
    }
    qn__gguf_close(g);
    free(exact);
}

/* The file that is mutated: every kind, nested arrays, several types. */
static void model(gb *b)
{
    gb_begin(b, 3);
    gb_kv_str(b, "general.architecture", "llama");
    gb_kv_u32(b, "general.alignment", 32);
    gb_kv_u32(b, "llama.block_count", 1);
    gb_kv_f32(b, "llama.rope.freq_base", 10000.0f);
    gb_kv_bool(b, "tokenizer.ggml.add_bos_token", true);
    gb_kv_u64(b, "u64", 1ull << 40);
    gb_key(b, "f64", QN_GGUF_F64), gb_f64(b, 0.5);
    gb_key(b, "i8", QN_GGUF_I8), gb_u8(b, 0x80);
    gb_kv_u16(b, "u16", 7);
    gb_kv_strs(b, "tokenizer.ggml.tokens", (const char *[]){"<s>", "a", "bc", ""}, 4);
    gb_kv_arr(b, "tokenizer.ggml.scores", QN_GGUF_F32, 4);
    for (int i = 0; i < 4; i++)
        gb_f32(b, (float)i);
    gb_kv_arr(b, "flags", QN_GGUF_BOOL, 3), gb_u8(b, 0), gb_u8(b, 1), gb_u8(b, 1);
    gb_kv_arr(b, "nested", QN_GGUF_ARR, 2);
    gb_u32(b, QN_GGUF_ARR), gb_u64(b, 1), gb_u32(b, QN_GGUF_STR), gb_u64(b, 2), gb_str(b, "x"), gb_str(b, "y");
    gb_u32(b, QN_GGUF_I16), gb_u64(b, 2), gb_u32(b, 0x00020001);
    gb_tensor(b, "token_embd.weight", QN_F16, 2, 8, 4);
    gb_tensor(b, "blk.0.attn_norm.weight", QN_F32, 1, 8);
    gb_tensor(b, "blk.0.attn_q.weight", QN_Q4_0, 2, 32, 3);
    gb_tensor(b, "blk.0.ffn_up_exps.weight", QN_Q8_0, 3, 32, 2, 2);
    gb_tensor(b, "output.weight", QN_Q6_K, 2, 256, 1);
    gb_tensor(b, "iq", QN_IQ3_S, 1, 256);
    gb_data(b);
}

static void test_cut(void **state)
{
    (void)state;
    gb b;
    model(&b);
    for (size_t n = 0; n <= b.n; n++) /* at every byte, so at every border */
        try(b.p, n);
    gb_free(&b);
}

static void test_flipped_bits(void **state)
{
    (void)state;
    gb b;
    uint64_t seed = 1;
    model(&b);
    size_t header = b.n - (size_t)b.data;
    for (size_t i = 0; i < 3500; i++) {
        size_t bit[4], flips = 1 + i % 4;
        for (size_t k = 0; k < flips; k++) {
            bit[k] = below(&seed, 8 * header);
            b.p[bit[k] / 8] ^= (unsigned char)(1u << bit[k] % 8);
        }
        try(b.p, b.n);
        for (size_t k = flips; k-- > 0;)
            b.p[bit[k] / 8] ^= (unsigned char)(1u << bit[k] % 8);
    }
    gb_free(&b);
}

/* A number of 1, 2, 4 or 8 bytes anywhere in the header becomes one that hurts. */
static void test_numbers(void **state)
{
    (void)state;
    static const uint64_t values[] = {0, 1, 2, 9, 12, 13, 0x7F, 0xFF, 0x100, 0xFFFF, 1u << 20, (1u << 20) + 1, 0x7FFFFFFF, 0x80000000,
        0xFFFFFFFF, 1ull << 32, 1ull << 40, 1ull << 60, 1ull << 61, INT64_MAX, 1ull << 63, UINT64_MAX - 31, UINT64_MAX};
    gb b;
    uint64_t seed = 2;
    model(&b);
    size_t header = b.n - (size_t)b.data;
    for (size_t i = 0; i < 4000; i++) {
        size_t bytes = (size_t)1 << below(&seed, 4), at = below(&seed, header - bytes);
        unsigned char old[8];
        memcpy(old, b.p + at, bytes);
        gb_patch(&b, at, values[below(&seed, sizeof values / sizeof *values)], bytes);
        try(b.p, b.n);
        memcpy(b.p + at, old, bytes);
    }
    gb_free(&b);
}

/* Pieces removed, doubled, or written over others. */
static void test_spliced(void **state)
{
    (void)state;
    gb b;
    uint64_t seed = 3;
    model(&b);
    for (size_t i = 0; i < 1500; i++) {
        size_t from = below(&seed, b.n), to = below(&seed, b.n), len = 1 + below(&seed, 64);
        unsigned char *m = malloc(b.n + 64);
        size_t n = b.n;
        assert_non_null(m);
        memcpy(m, b.p, n);
        if (len > n - from)
            len = n - from;
        if (i % 3 == 0) {
            memmove(m + from, m + from + len, n - from - len);
            n -= len;
        } else if (i % 3 == 1) {
            memmove(m + to + len, m + to, n - to);
            memcpy(m + to, b.p + from, len);
            n += len;
        } else {
            if (len > n - to)
                len = n - to;
            memcpy(m + to, b.p + from, len);
        }
        try(m, n);
        free(m);
    }
    gb_free(&b);
}

static uint64_t odd_number(uint64_t *s, uint64_t usual)
{
    switch (below(s, 12)) {
    case 0: return 0;
    case 1: return UINT64_MAX;
    case 2: return (uint64_t)1 << below(s, 64);
    case 3: return usual + 1;
    case 4: return (uint64_t)-(int64_t)usual;
    default: return usual;
    }
}

static void odd_pair(gb *b, uint64_t *s)
{
    char key[16];
    (void)snprintf(key, sizeof key, "k%zu", below(s, 20)); /* now and then twice */
    switch (below(s, 5)) {
    case 0: gb_kv_u32(b, below(s, 4) ? key : "general.alignment", (uint32_t)odd_number(s, 64)); break;
    case 1: gb_kv_str(b, key, "text"); break;
    case 2: {
        size_t n = below(s, 5);
        gb_kv_arr(b, key, QN_GGUF_STR, odd_number(s, n));
        while (n--)
            gb_str(b, "s");
        break;
    }
    case 3: {
        size_t depth = below(s, 12);
        gb_kv_arr(b, key, QN_GGUF_ARR, odd_number(s, 1));
        while (depth--)
            gb_u32(b, QN_GGUF_ARR), gb_u64(b, odd_number(s, 1));
        gb_u32(b, (uint32_t)below(s, 14)), gb_u64(b, odd_number(s, 0));
        break;
    }
    default: {
        size_t n = below(s, 5);
        gb_kv_arr(b, key, (uint32_t)below(s, 14), odd_number(s, n));
        while (n--)
            gb_u64(b, below(s, 3));
    }
    }
}

/* Files whose parts are right or nearly so: zero and negative dimensions, offsets that overlap, do not align or lie
 * outside, odd counts, duplicate names, unknown types. */
static void test_made_up(void **state)
{
    (void)state;
    uint64_t seed = 4;
    for (size_t i = 0; i < 2500; i++) {
        gb b;
        size_t kvs = below(&seed, 4), tensors = below(&seed, 5);
        gb_begin(&b, 2 + (uint32_t)below(&seed, 2));
        while (kvs--)
            odd_pair(&b, &seed);
        while (tensors--) {
            char name[16];
            uint64_t dims[5];
            uint32_t n_dims = 1 + (uint32_t)below(&seed, below(&seed, 8) ? 3 : 5);
            uint32_t type = (uint32_t)below(&seed, below(&seed, 4) ? 3 : 64);
            (void)snprintf(name, sizeof name, "t%zu", below(&seed, 30));
            for (uint32_t d = 0; d < 5; d++)
                dims[d] = odd_number(&seed, d ? 1 : type == 2 ? 32 : 8);
            gb_tensor_at(&b, name, type, n_dims, dims, odd_number(&seed, b.data));
            b.data += below(&seed, 8) ? 64 : 32;
        }
        if (below(&seed, 6) == 0)
            gb_patch(&b, 8 * (1 + below(&seed, 2)), odd_number(&seed, 3), 8);
        gb_data(&b);
        try(b.p, b.n);
        gb_free(&b);
    }
}

static void test_allocations_fail(void **state)
{
    (void)state;
    gb b;
    model(&b);
    for (int damaged = 0; damaged < 2; damaged++) {
        if (damaged)
            b.p[b.n - (size_t)b.data - 60] ^= 0x40; /* in the last tensor's info or its padding */
        qn_gguf *g = NULL;
        qn_status plain = qn__gguf_open_memory(b.p, b.n, "t", &g, NULL);
        qn__gguf_close(g);
        for (uint64_t n = 1; n < 64; n++) {
            qn_err err = {0};
            g = NULL;
            qn__alloc_fail_at(n);
            qn_status s = qn__gguf_open_memory(b.p, b.n, "t", &g, &err);
            assert_true(s == QN_ENOMEM || s == plain);
            assert_true(s == QN_OK ? g && !gguf_touch(g, b.p, b.n) : !g && err.what[0]);
            qn__gguf_close(g);
        }
        qn__alloc_fail_at(0);
    }
    gb_free(&b);
}

/* Many tensors, listed against the order of their offsets: opened in n log n, found one by one. */
static void test_many_names(void **state)
{
    (void)state;
    gb b;
    gb_begin(&b, 3);
    for (uint32_t i = 0; i < 50000; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "%u", i);
        gb_tensor_at(&b, name, QN_F32, 1, (uint64_t[]){1}, (uint64_t)(50000 - i - 1) * 32); /* the offsets descend */
    }
    b.data = 50000 * 32;
    gb_data(&b);
    size_t before = count.opened;
    try(b.p, b.n);
    assert_int_equal(count.opened, before + 1);
    gb_free(&b);
}

/* The harness itself: bytes that are said to end earlier than they do must be noticed. */
static void test_planted_fault(void **state)
{
    (void)state;
    gb b;
    qn_gguf *g = NULL;
    model(&b);
    assert_int_equal(qn__gguf_open_memory(b.p, b.n, "t", &g, NULL), QN_OK);
    assert_null(gguf_touch(g, b.p, b.n));
    assert_non_null(gguf_touch(g, b.p, b.n - 64));
    assert_non_null(gguf_touch(g, b.p + 32, b.n - 32));
    qn__gguf_close(g);
    gb_free(&b);
}

static void test_enough(void **state)
{
    (void)state;
    printf("figure: hostile gguf %zu inputs: %zu opened and read through, %zu refused with a sentence\n", count.tried,
           count.opened, count.refused);
    assert_true(count.tried >= 10000 && count.opened > 1000 && count.refused > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_planted_fault), cmocka_unit_test(test_cut),      cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_numbers),       cmocka_unit_test(test_spliced),  cmocka_unit_test(test_made_up),
        cmocka_unit_test(test_many_names),    cmocka_unit_test(test_allocations_fail),
        cmocka_unit_test(test_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
