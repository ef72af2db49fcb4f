/* test_packing.c - packed weights: the same logits, one copy in memory, shared between engines, and no leak when memory
 * runs out while they are made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "formats/gguf.h"
#include "kernels/kernels.h"
#include "model/context.h"
#include "quern.h"

#define FILE_NAME "models/seedling-q8_0.gguf"
enum { N = 40 };

static qn_err err;
static const int32_t first_token = 5;

static float *logits(const qn_model *m, const char *level, bool no_repack, uint64_t *packed)
{
    qn_engine_options o;
    qn_engine *e;
    qn_model_info info;
    qn_engine_info about;
    int32_t tokens[N];
    qn_model_get_info(m, &info);
    qn_engine_options_init(&o);
    o.n_ctx = 64;
    o.max_seqs = 1;
    o.n_threads = 2;
    o.cpu = level;
    o.no_repack = no_repack;
    assert_int_equal(qn_engine_open(m, &o, &e, &err), QN_OK);
    float *out = malloc((size_t)N * (size_t)info.n_vocab * sizeof *out);
    for (int i = 0; i < N; i++)
        tokens[i] = (first_token + i * 37) % info.n_vocab;
    assert_int_equal(qn_logits(e, tokens, N, N, out, &err), QN_OK);
    qn_engine_get_info(e, &about);
    *packed = about.packed_bytes;
    qn_engine_close(e);
    return out;
}

static void same_bytes(void **state)
{
    (void)state;
    const char *names[8];
    size_t n = qn_cpu_levels(names, 8);
    for (int file = 0; file < 2; file++) {
        qn_model *m;
        qn_model_info info;
        assert_int_equal(qn_model_open(file ? FILE_NAME : NULL, QN_OPEN_FULL, &m, &err), QN_OK);
        qn_model_get_info(m, &info);
        for (size_t i = 0; i < n; i++) {
            uint64_t none, bytes;
            float *a = logits(m, names[i], true, &none), *b = logits(m, names[i], false, &bytes);
            assert_int_equal(none, 0);
            assert_int_equal(bytes > 0, qn__kernels((qn_cpu)i)->lanes > 0);
            assert_true(bytes <= info.file_bytes);
            assert_memory_equal(a, b, (size_t)N * (size_t)info.n_vocab * sizeof *a);
            free(a);
            free(b);
        }
        qn_model_close(m);
    }
}

/* KiB of the mapping around p that are in this process's memory; -1: the system does not say. */
static long resident(const void *p)
{
    FILE *f = fopen("/proc/self/smaps", "re");
    char line[512];
    bool inside = false;
    long kib = -1;
    while (f && kib < 0 && fgets(line, sizeof line, f)) {
        uintptr_t a, b;
        long v;
        if (sscanf(line, "%lx-%lx ", &a, &b) == 2)
            inside = (uintptr_t)p >= a && (uintptr_t)p < b;
        else if (inside && sscanf(line, "Rss: %ld", &v) == 1)
            kib = v;
    }
    if (f)
        (void)fclose(f);
    return kib;
}

typedef struct both {
    qn_gguf *g;
    qn_decoder *d;
} both;

static both open_file(void)
{
    both b;
    assert_int_equal(qn__gguf_open(FILE_NAME, &b.g, &err), QN_OK);
    assert_int_equal(qn__decoder_open(b.g, &b.d, &err), QN_OK);
    return b;
}

static void close_file(both b)
{
    qn__decoder_close(b.d);
    qn__gguf_close(b.g);
}

static void one_copy(void **state)
{
    (void)state;
    both b = open_file();
    const qn_decoder *p;
    const unsigned char *data = b.d->w.output.data;
    unsigned sum = 0;
    for (size_t i = 0; i < (size_t)b.d->w.output.rows * b.d->w.output.row_bytes; i += 512)
        sum += data[i];
    long before = resident(data);
    assert_int_equal(qn__decoder_pack(b.d, qn__cpu_best(), 2, &p, &err), QN_OK);
    if (p == b.d || before < 0) {
        printf("skipped: this level packs nothing, or the system does not tell what is resident\n");
        close_file(b);
        skip();
    }
    long after = resident(data);
    printf("figure: of the file %ld KiB are resident, %ld after %zu KiB were packed (checksum %u)\n", before, after,
           qn__decoder_packed_bytes(p) >> 10, sum & 255);
    assert_true(before >= (long)((size_t)b.d->w.output.rows * b.d->w.output.row_bytes >> 10));
    assert_true(after < before / 4);
    assert_ptr_not_equal(p->w.output.data, data);
    assert_int_equal(p->w.embed.data == p->w.output.data, b.d->w.embed.data == data);
    qn__decoder_release(b.d, p);
    close_file(b);
}

static void shared(void **state)
{
    (void)state;
    both b = open_file();
    const qn_decoder *p, *q, *r;
    assert_int_equal(qn__decoder_pack(b.d, qn__cpu_best(), 1, &p, &err), QN_OK);
    assert_int_equal(qn__decoder_pack(b.d, qn__cpu_best(), 2, &q, &err), QN_OK);
    assert_int_equal(qn__decoder_pack(b.d, QN_CPU_REF, 2, &r, &err), QN_OK);
    assert_ptr_equal(p, q);
    assert_ptr_equal(r, b.d);
    qn__decoder_release(b.d, p);
    qn__decoder_release(b.d, r);
    qn__decoder_release(b.d, NULL);
    assert_int_equal(qn__decoder_page_bytes(q, QN__KV_F16), qn__decoder_page_bytes(b.d, QN__KV_F16));
    qn__decoder_release(b.d, q);
    assert_int_equal(qn__decoder_pack(b.d, qn__cpu_best(), 1, &p, &err), QN_OK);
    close_file(b); /* what was not given back goes with it */
}

static void no_memory(void **state)
{
    (void)state;
    both b = open_file();
    const qn_decoder *p = NULL;
    for (uint64_t i = 1; i < 64; i++) {
        qn__alloc_fail_at(i);
        qn_status s = qn__decoder_pack(b.d, qn__cpu_best(), 1, &p, &err);
        qn__alloc_fail_at(0);
        assert_true(s == QN_OK || s == QN_ENOMEM);
        if (s == QN_OK)
            qn__decoder_release(b.d, p);
    }
    close_file(b);
}

/* The comparison sees a packed weight that is wrong. */
static void planted_fault(void **state)
{
    (void)state;
    both b = open_file();
    const qn_decoder *p;
    assert_int_equal(qn__decoder_pack(b.d, qn__cpu_best(), 1, &p, &err), QN_OK);
    if (p != b.d) {
        const qn_weight *w = &p->w.layers[0].q;
        const qn_kernels *k = qn__kernels(qn__cpu_best());
        size_t stride = qn__act_bytes(k->act[w->type], w->k);
        float *x = malloc((size_t)w->k * sizeof *x), *y = malloc((size_t)w->rows * sizeof *y), *z = malloc((size_t)w->rows * sizeof *z);
        void *form = qn__alloc_aligned(stride);
        for (int i = 0; i < w->k; i++)
            x[i] = (float)(i % 13 + 1);
        k->prepare[k->act[w->type]](x, form, w->k);
        qn_matmul a = {.w = w->data, .w_stride = w->row_bytes, .packed = true, .x = form, .x_stride = stride, .y = y,
                       .y_stride = (size_t)w->rows, .k = w->k, .rows = w->rows, .tokens = 1};
        k->matmul[w->type](&a);
        a.w = b.d->w.layers[0].q.data;
        a.packed = false;
        a.y = z;
        k->matmul[w->type](&a);
        assert_memory_equal(y, z, (size_t)w->rows * sizeof *y);
        *(unsigned char *)(uintptr_t)(w->data + (size_t)k->lanes * 6) ^= 0x10;
        a.w = w->data;
        a.packed = true;
        k->matmul[w->type](&a);
        assert_memory_not_equal(y, z, (size_t)w->rows * sizeof *y);
        free(x);
        free(y);
        free(z);
        qn__free_aligned(form);
    }
    qn__decoder_release(b.d, p);
    close_file(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bytes), cmocka_unit_test(one_copy), cmocka_unit_test(shared),
                                       cmocka_unit_test(no_memory), cmocka_unit_test(planted_fault)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
