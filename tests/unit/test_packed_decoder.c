/* test_packed_decoder.c - packed weights in whole decoders, at every level of the machine: the logits are the same bytes as
 * with weights as the file has them, in chunks and token by token. With no library beyond the floors that it tests, so that
 * check-arm runs it for a processor that is not there. */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "kernels/kernels.h"
#include "model/context.h"

enum { N = 20, N_CTX = 64, PAGES = N_CTX / QN_PAGE_TOKENS };

/* N tokens in steps of `chunk` -> out[N][n_vocab]. */
static void run(const qn_decoder *d, qn_cpu level, int chunk, float *out)
{
    static qn_row rows[N];
    const size_t n_vocab = (size_t)qn__decoder_info(d)->n_vocab, page = qn__decoder_page_bytes(d, QN__KV_F16),
                 state = qn__decoder_state_bytes(d);
    unsigned char *pages[PAGES], *const table = qn__alloc_aligned(page + 64);
    float *memory = qn__alloc_aligned(state + 64);
    qn_context *c;
    qn_context_options o = {.level = level, .n_threads = 2, .max_rows = N, .max_out = N, .n_ctx = N_CTX, .kv = QN__KV_F16};
    assert_non_null(table);
    assert_non_null(memory);
    assert_int_equal(qn__context_open(d, &o, &c, NULL), QN_OK);
    pages[0] = table;
    memset(table, 0xff, page);
    memset(memory, 0xff, state);
    for (int at = 0; at < N; at += chunk) {
        int n = N - at < chunk ? N - at : chunk;
        for (int i = 0; i < n; i++)
            rows[i] = (qn_row){.token = (int32_t)((uint32_t)(at + i) * 2654435761u % n_vocab), .pos = at + i, .seq = 0, .out = i};
        unsigned char *const *tables[1] = {pages};
        float *states[1] = {memory};
        qn_step s = {.rows = rows, .n_rows = n, .pages = tables, .states = states, .n_seqs = 1, .logits = out + (size_t)at * n_vocab};
        assert_int_equal(qn__context_step(c, &s, NULL), QN_OK);
    }
    qn__context_close(c);
    qn__free_aligned(table);
    qn__free_aligned(memory);
}

typedef struct file {
    qn_gguf *g;
    qn_decoder *d;
    size_t bytes; /* of N tokens' logits */
    float *a, *b;
} file;

static bool file_open(file *f, const char *path)
{
    if (qn__gguf_open(path, &f->g, NULL) != QN_OK)
        return false;
    if (qn__decoder_open(f->g, &f->d, NULL) != QN_OK) {
        qn__gguf_close(f->g);
        return false;
    }
    f->bytes = (size_t)N * (size_t)qn__decoder_info(f->d)->n_vocab * sizeof(float);
    f->a = malloc(f->bytes);
    f->b = malloc(f->bytes);
    assert_true(f->a && f->b);
    return true;
}

static void file_close(file *f)
{
    free(f->a);
    free(f->b);
    qn__decoder_close(f->d);
    qn__gguf_close(f->g);
}

/* Levels that pack something of it. */
static int check(file *f, const char *path)
{
    int n = 0;
    for (int l = 0; l <= (int)qn__cpu_best(); l++) {
        const qn_decoder *p;
        assert_int_equal(qn__decoder_pack(f->d, (qn_cpu)l, 2, &p, NULL), QN_OK);
        assert_true(p == f->d || qn__kernels((qn_cpu)l)->lanes > 0);
        if (p == f->d)
            continue;
        n++;
        run(f->d, (qn_cpu)l, N, f->a);
        for (int chunk = 1; chunk <= N; chunk += chunk == 1 ? 2 : chunk == 3 ? 10 : N - 13) { /* 1, 3, 13, N */
            run(p, (qn_cpu)l, chunk, f->b);
            if (memcmp(f->a, f->b, f->bytes) != 0)
                fail_msg("%s at %s, packed, %d tokens a step: other bytes", path, qn__cpu_name((qn_cpu)l), chunk);
        }
        qn__decoder_release(f->d, p);
    }
    return n;
}

static void same_bytes(void **state)
{
    (void)state;
    glob_t files;
    int n = 0, packed = 0;
    assert_int_equal(glob("tests/data/models/*.gguf", 0, NULL, &files), 0);
    assert_int_equal(glob("models/*.gguf", GLOB_APPEND, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        file f;
        if (!file_open(&f, files.gl_pathv[i]))
            continue;
        if (!qn__decoder_info(f.d)->embedding_only) {
            int levels = check(&f, files.gl_pathv[i]);
            n += levels;
            packed += levels > 0;
        }
        file_close(&f);
    }
    globfree(&files);
    printf("figure: packed decoders give the same bytes: %d models, %d with each level counted\n", packed, n);
    assert_true(n > 0 || qn__kernels(qn__cpu_best())->lanes == 0);
}

/* The comparison sees one bit of a packed weight. */
static void planted_fault(void **state)
{
    (void)state;
    const qn_decoder *p;
    file f;
    assert_true(file_open(&f, "tests/data/models/llama-256-q4_k_m.gguf"));
    assert_int_equal(qn__decoder_pack(f.d, qn__cpu_best(), 1, &p, NULL), QN_OK);
    if (p != f.d) {
        run(f.d, qn__cpu_best(), N, f.a);
        unsigned char *w = (unsigned char *)(uintptr_t)p->w.layers[0].o.data;
        w[(size_t)p->w.layers[0].o.lanes * 40] ^= 0x08; /* a weight, not a scale */
        run(p, qn__cpu_best(), N, f.b);
        assert_true(memcmp(f.a, f.b, f.bytes) != 0);
    }
    qn__decoder_release(f.d, p);
    file_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bytes), cmocka_unit_test(planted_fault)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
