/* test_quantize.c - which tensor gets which type, importance matrices, and qn_quantize: on files that are made here. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "formats/imatrix.h"
#include "kernels/dequant.h"
#include "model/mixture.h"

static char dir[64];

static const char *at(const char *name)
{
    static char paths[8][128];
    static int k;
    k = (k + 1) % 8;
    (void)snprintf(paths[k], sizeof paths[k], "%s/%s", dir, name);
    return paths[k];
}

/* ---- making models ----------------------------------------------------------------------------------------------- */

typedef struct tensor {
    const char *name; /* "blk.%d.x": one in every layer */
    qn_type type;
    uint32_t n_dims;
    uint64_t dims[3];
} tensor;

typedef struct model {
    const char *arch;
    int layers, experts, heads, kv_heads;
    const tensor *tensors;
    size_t n;
} model;

static float weight(uint64_t *seed)
{
    float t = 0;
    for (int i = 0; i < 4; i++) {
        *seed = *seed * 6364136223846793005u + 1442695040888963407u;
        t += (float)(*seed >> 40) / 16777216.0f - 0.5f;
    }
    return 0.05f * t;
}

static void put_number(qn_gguf_writer *w, const char *arch, const char *key, int v)
{
    char full[64];
    (void)snprintf(full, sizeof full, "%s.%s", arch, key);
    qn__gguf_put_int(w, full, QN_GGUF_U32, v);
}

/* part < 0: the whole; else one of two, layers below half in the first. `poison`: this element of the first matrix is
 * NaN. */
static void write_model(const char *path, const model *m, int part, uint64_t poison)
{
    qn_gguf_writer *w = NULL;
    qn_err err = {0};
    size_t count = 0, all = 0;
    assert_int_equal(qn__gguf_create(path, &w, &err), QN_OK);
    if (part <= 0) {
        qn__gguf_put_str(w, "general.architecture", m->arch, strlen(m->arch));
        put_number(w, m->arch, "block_count", m->layers);
        put_number(w, m->arch, "attention.head_count", m->heads);
        put_number(w, m->arch, "attention.head_count_kv", m->kv_heads);
        if (m->experts)
            put_number(w, m->arch, "expert_count", m->experts);
        qn__gguf_put_int(w, "general.file_type", QN_GGUF_U32, 1);
    }
    uint64_t seed = 1;
    float *data[512];
    size_t size[512];
    for (size_t i = 0; i < m->n; i++) {
        const tensor *t = &m->tensors[i];
        bool layered = strchr(t->name, '%') != NULL;
        for (int l = 0; l < (layered ? m->layers : 1); l++, all++) {
            char name[128];
            const char *pattern = t->name, *split = strchr(t->name, '%');
            if (split)
                (void)snprintf(name, sizeof name, "%.*s%d%s", (int)(split - pattern), pattern, l, split + 2);
            else
                (void)snprintf(name, sizeof name, "%s", pattern);
            size_t n = (size_t)(t->dims[0] * t->dims[1] * (t->n_dims > 2 ? t->dims[2] : 1));
            bool mine = part < 0 || (part == 0) == (l < m->layers / 2);
            float *x = malloc(n * sizeof *x);
            assert_true(x && count < 512 && t->type == QN_F32);
            for (size_t k = 0; k < n; k++)
                x[k] = all == 0 && k == poison ? NAN : weight(&seed);
            if (!mine) {
                free(x);
                continue;
            }
            qn__gguf_put_tensor(w, name, t->type, t->n_dims, t->dims);
            data[count] = x;
            size[count++] = n * sizeof *x;
        }
    }
    if (part >= 0) {
        qn__gguf_put_int(w, "split.no", QN_GGUF_U16, part);
        qn__gguf_put_int(w, "split.count", QN_GGUF_U16, 2);
        qn__gguf_put_int(w, "split.tensors.count", QN_GGUF_I32, (int64_t)all);
    }
    if (qn__gguf_begin_data(w, &err) != QN_OK)
        fail_msg("%s: %s", err.where, err.what);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(qn__gguf_write(w, data[i], size[i], &err), QN_OK);
        free(data[i]);
    }
    assert_int_equal(qn__gguf_commit(w, &err), QN_OK);
}

static const tensor dense[] = {
    {"token_embd.weight", QN_F32, 2, {256, 8}},    {"output.weight", QN_F32, 2, {256, 8}},
    {"output_norm.weight", QN_F32, 1, {256, 1}},   {"blk.%d.attn_norm.weight", QN_F32, 1, {256, 1}},
    {"blk.%d.attn_q.weight", QN_F32, 2, {256, 4}}, {"blk.%d.attn_k.weight", QN_F32, 2, {256, 2}},
    {"blk.%d.attn_v.weight", QN_F32, 2, {256, 2}}, {"blk.%d.attn_output.weight", QN_F32, 2, {256, 4}},
    {"blk.%d.ffn_up.weight", QN_F32, 2, {256, 4}}, {"blk.%d.ffn_down.weight", QN_F32, 2, {256, 4}},
    {"blk.%d.ffn_up.bias", QN_F32, 2, {256, 2}},   {"blk.%d.ffn_gate_inp.weight", QN_F32, 2, {256, 4}},
};
static const tensor sparse[] = {
    {"token_embd.weight", QN_F32, 2, {64, 40}},
    {"blk.%d.attn_v.weight", QN_F32, 2, {64, 6}},
    {"blk.%d.attn_k.weight", QN_F32, 2, {64, 6}},
    {"blk.%d.attn_output.weight", QN_F32, 2, {64, 4}},
    {"blk.%d.ffn_gate_inp.weight", QN_F32, 2, {64, 8}},
    {"blk.%d.ffn_down_exps.weight", QN_F32, 3, {64, 5, 8}},
    {"blk.%d.ffn_gate_exps.weight", QN_F32, 3, {48, 5, 8}},
};
#define COUNT(a) (sizeof(a) / sizeof *(a))

static qn_gguf *open_file(const char *path)
{
    qn_gguf *g = NULL;
    qn_err err = {0};
    if (qn__gguf_open(path, &g, &err) != QN_OK)
        fail_msg("%s: %s", err.where, err.what);
    return g;
}

/* ---- mixtures ---------------------------------------------------------------------------------------------------- */

static const char *planned_type(const qn_planned *plan, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (plan[i].tensor->name.n == strlen(name) && memcmp(plan[i].tensor->name.p, name, strlen(name)) == 0)
            return qn__type_info((uint32_t)plan[i].type)->name;
    fail_msg("no tensor %s", name);
    return NULL;
}

/* expect: "name=TYPE name=TYPE ..."; how many are otherwise. */
static int check_mixture(const model *m, const char *mixture, bool weighted, const char *expect)
{
    qn_err err = {0};
    qn_planned *plan = NULL;
    char text[1024];
    int bad = 0;
    write_model(at("mix.gguf"), m, -1, UINT64_MAX);
    qn_gguf *g = open_file(at("mix.gguf"));
    assert_non_null(qn__mixture_find(mixture));
    assert_int_equal(qn__mixture_plan(qn__mixture_find(mixture), g, weighted, &plan, &err), QN_OK);
    (void)snprintf(text, sizeof text, "%s", expect);
    for (char *save = NULL, *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *type = strchr(word, '=');
        *type++ = 0;
        const char *got = planned_type(plan, qn__gguf_n_tensors(g), word);
        if (strcmp(got, type) != 0 && bad++ < 1)
            printf("%s: %s is %s, not %s\n", mixture, word, got, type);
    }
    qn_free(plan);
    qn__gguf_close(g);
    (void)unlink(at("mix.gguf"));
    return bad;
}

static void test_mixtures(void **state)
{
    (void)state;
    const model m = {"llama", 32, 0, 8, 4, dense, COUNT(dense)}, shared = {"llama", 32, 0, 8, 2, dense, COUNT(dense)},
                seventy = {"llama", 80, 0, 8, 1, dense, COUNT(dense) - 5},
                eight = {"llama", 8, 8, 8, 2, sparse, COUNT(sparse)}, tied = {"llama", 2, 0, 8, 8, dense, 1};
    /* What never changes, whatever the mixture. */
    for (size_t k = 0; qn__mixture_name(k); k++)
        assert_int_equal(check_mixture(&m, qn__mixture_name(k), false,
                                       "output_norm.weight=F32 blk.7.ffn_up.bias=F32 blk.7.ffn_gate_inp.weight=F32"),
                         0);
    /* More bits in the first and last eighth, and every third between. */
    assert_int_equal(
        check_mixture(
            &m, "Q4_K_M", false,
            "output.weight=Q6_K token_embd.weight=Q4_K blk.0.attn_q.weight=Q4_K blk.0.attn_v.weight=Q6_K "
            "blk.3.attn_v.weight=Q6_K "
            "blk.4.attn_v.weight=Q4_K blk.5.attn_v.weight=Q4_K blk.6.attn_v.weight=Q6_K blk.9.ffn_down.weight=Q6_K "
            "blk.10.ffn_down.weight=Q4_K blk.27.ffn_down.weight=Q6_K blk.28.ffn_down.weight=Q6_K "
            "blk.31.ffn_down.weight=Q6_K"),
        0);
    assert_int_equal(
        check_mixture(
            &m, "q4_k_s", false,
            "blk.3.attn_v.weight=Q5_K blk.4.attn_v.weight=Q4_K blk.3.ffn_down.weight=Q5_K blk.4.ffn_down.weight=Q4_K"),
        0);
    assert_int_equal(
        check_mixture(
            &m, "Q3_K_M", false,
            "blk.1.attn_v.weight=Q5_K blk.2.attn_v.weight=Q4_K blk.1.ffn_down.weight=Q5_K blk.2.ffn_down.weight=Q4_K "
            "blk.2.attn_output.weight=Q4_K blk.2.ffn_up.weight=Q3_K"),
        0);
    assert_int_equal(check_mixture(&m, "Q3_K_L", false,
                                   "blk.9.attn_v.weight=Q5_K blk.9.ffn_down.weight=Q5_K blk.9.attn_output.weight=Q5_K"),
                     0);
    assert_int_equal(check_mixture(&m, "Q2_K", false,
                                   "blk.9.attn_v.weight=Q3_K blk.9.ffn_down.weight=Q3_K blk.9.attn_output.weight=Q3_K "
                                   "blk.9.ffn_up.weight=Q2_K"),
                     0);
    assert_int_equal(check_mixture(&shared, "Q2_K", false, "blk.9.attn_v.weight=Q4_K"), 0);
    assert_int_equal(check_mixture(&shared, "IQ4_XS", false,
                                   "blk.9.attn_v.weight=Q5_K blk.3.ffn_down.weight=Q5_K blk.4.ffn_down.weight=IQ4_XS"),
                     0);
    assert_int_equal(check_mixture(&m, "IQ4_XS", true, "blk.9.attn_v.weight=IQ4_XS blk.3.ffn_down.weight=IQ4_XS"), 0);
    assert_int_equal(check_mixture(&m, "Q4_0", false, "blk.3.ffn_down.weight=Q4_0"), 0);
    assert_int_equal(check_mixture(&m, "Q4_0", true, "blk.3.ffn_down.weight=Q4_1 blk.4.ffn_down.weight=Q4_0"), 0);
    assert_int_equal(check_mixture(&seventy, "Q4_K_M", false, "blk.11.attn_v.weight=Q5_K blk.12.attn_v.weight=Q6_K"),
                     0);
    assert_int_equal(check_mixture(&tied, "Q4_K_M", false, "token_embd.weight=Q6_K"), 0);
    /* Eight experts; rows of 64 and 48, which blocks of 256 and 32 do not divide. */
    assert_int_equal(check_mixture(&eight, "Q4_K_M", false,
                                   "blk.1.attn_v.weight=Q8_0 blk.1.attn_k.weight=Q8_0 blk.1.attn_output.weight=Q5_1 "
                                   "blk.2.ffn_down_exps.weight=Q5_0 "
                                   "blk.0.ffn_down_exps.weight=Q8_0 blk.1.ffn_gate_exps.weight=F16 "
                                   "blk.1.ffn_gate_inp.weight=F32 token_embd.weight=Q8_0"),
                     0);
    assert_int_equal(check_mixture(&eight, "MXFP4", false,
                                   "blk.1.attn_v.weight=Q8_0 blk.1.ffn_down_exps.weight=MXFP4 "
                                   "blk.1.ffn_gate_exps.weight=F16 token_embd.weight=Q8_0"),
                     0);
    assert_int_equal(check_mixture(&eight, "Q3_K_S", false, "blk.1.ffn_down_exps.weight=Q4_0"), 0);
    /* The planted fault. */
    assert_int_equal(check_mixture(&m, "Q4_K_M", false, "blk.0.attn_v.weight=Q4_K"), 1);
    assert_null(qn__mixture_find("Q4_K_X"));
}

/* ---- importance matrices ----------------------------------------------------------------------------------------- */

static void write_imatrix(const char *path, const qn_imatrix_entry *e, size_t n)
{
    qn_err err = {0};
    qn_slice sets[2] = {{"text.txt", 8}, {"more.txt", 8}};
    if (qn__imatrix_write(path, sets, 2, 7, 512, e, n, &err) != QN_OK)
        fail_msg("%s: %s", err.where, err.what);
}

static void test_imatrix(void **state)
{
    (void)state;
    float a[4] = {2, 4, 6, 8}, b[6] = {1, 2, 3, 4, 5, 6}, one = 2, two[3] = {1, 0, 4}, out[12];
    qn_imatrix_entry e[2] = {{"x.weight", 4, 1, a, &one}, {"y.weight", 2, 3, b, two}};
    qn_imatrix *m = NULL;
    qn_err err = {0};
    bool found = true;
    write_imatrix(at("i.gguf"), e, 2);
    assert_int_equal(qn__imatrix_open(at("i.gguf"), &m, &err), QN_OK);
    assert_int_equal(qn__imatrix_n(m), 2);
    assert_int_equal(qn__imatrix_chunk_count(m), 7);
    assert_int_equal(qn__imatrix_chunk_size(m), 512);
    assert_memory_equal(qn__imatrix_dataset(m).p, "text.txt", 8);
    assert_memory_equal(qn__imatrix_tensor(m, 1).p, "y.weight", 8);
    const qn_slice x = {"x.weight", 8}, y = {"y.weight", 8}, z = {"z.weight", 8};
    assert_int_equal(qn__imatrix_get(m, z, 4, 1, out, &found, &err), QN_OK);
    assert_false(found);
    assert_int_equal(qn__imatrix_get(m, x, 4, 1, out, &found, &err), QN_OK);
    assert_true(found && out[0] == 1 && out[3] == 4);
    assert_int_equal(qn__imatrix_get(m, x, 4, 3, out, &found, &err), QN_OK); /* one for all experts */
    assert_true(out[8] == 1 && out[11] == 4);
    assert_int_equal(qn__imatrix_get(m, y, 2, 3, out, &found, &err), QN_OK);
    assert_true(out[0] == 1 && out[1] == 2 && out[2] == 1 && out[3] == 1 && out[4] == 1.25f && out[5] == 1.5f);
    assert_int_equal(qn__imatrix_get(m, x, 5, 1, out, &found, &err), QN_EFORMAT);
    assert_non_null(strstr(err.where, "x.weight"));
    assert_int_equal(qn__imatrix_get(m, y, 2, 2, out, &found, &err), QN_EFORMAT);
    qn__imatrix_close(m);
    const float bad[] = {NAN, INFINITY, -1};
    for (int i = 0; i < 6; i++) {
        float sums[4] = {1, 1, 1, 1}, count = 1;
        if (i < 3)
            sums[2] = bad[i];
        else
            count = bad[i - 3];
        qn_imatrix_entry f = {"x.weight", 4, 1, sums, &count};
        write_imatrix(at("i.gguf"), &f, 1);
        assert_int_equal(qn__imatrix_open(at("i.gguf"), &m, &err), QN_OK);
        assert_int_equal(qn__imatrix_get(m, x, 4, 1, out, &found, &err), QN_EFORMAT);
        qn__imatrix_close(m);
    }
    write_imatrix(at("i.gguf"), NULL, 0);
    assert_int_equal(qn__imatrix_open(at("i.gguf"), &m, &err), QN_EFORMAT);
    (void)unlink(at("i.gguf"));
    assert_int_equal(qn__imatrix_open(at("i.gguf"), &m, &err), QN_EIO);
}

/* ---- qn_quantize ------------------------------------------------------------------------------------------------- */

static const tensor wide[] = {
    {"token_embd.weight", QN_F32, 2, {512, 300}},          {"blk.%d.attn_v.weight", QN_F32, 2, {256, 100}},
    {"blk.%d.ffn_down.weight", QN_F32, 2, {1280, 60}},     {"blk.%d.attn_norm.weight", QN_F32, 1, {256, 1}},
    {"blk.%d.ffn_up_exps.weight", QN_F32, 3, {288, 9, 4}},
};
static const model small = {"llama", 4, 4, 8, 4, wide, COUNT(wide)};

static qn_status quantise(const char *in, const char *out, const char *type, int threads, const char *imatrix,
                          qn_quantize_result *r, qn_err *err)
{
    qn_quantize_options o;
    qn_quantize_options_init(&o);
    o.type = type;
    o.n_threads = threads;
    o.imatrix = imatrix;
    o.dry_run = out == NULL;
    return qn_quantize(in, out, &o, r, err);
}

static char *bytes_of(const char *path, size_t *n)
{
    char *p = NULL;
    qn_err err = {0};
    if (qn__read_file(path, 1 << 28, &p, n, &err) != QN_OK)
        fail_msg("%s: %s", err.where, err.what);
    return p;
}

static void assert_same_file(const char *a, const char *b)
{
    size_t n, k;
    char *x = bytes_of(a, &n), *y = bytes_of(b, &k);
    assert_true(n == k && memcmp(x, y, n) == 0);
    free(x);
    free(y);
}

/* Threads and parts change nothing; the size is the one predicted; pairs of a split are gone. */
static void test_same_bytes(void **state)
{
    (void)state;
    qn_quantize_result r, dry;
    qn_err err = {0};
    write_model(at("a.gguf"), &small, -1, UINT64_MAX);
    write_model(at("s-00001-of-00002.gguf"), &small, 0, UINT64_MAX);
    write_model(at("s-00002-of-00002.gguf"), &small, 1, UINT64_MAX);
    static const char *const types[] = {"Q4_K_M", "Q8_0", "MXFP4", "F16"};
    for (size_t k = 0; k < COUNT(types); k++) {
        assert_int_equal(quantise(at("a.gguf"), NULL, types[k], 1, NULL, &dry, &err), QN_OK);
        assert_int_equal(quantise(at("a.gguf"), at("1.gguf"), types[k], 1, NULL, &r, &err), QN_OK);
        qn_gguf *g = open_file(at("1.gguf"));
        assert_int_equal(qn__gguf_file_bytes(g), r.bytes_out);
        assert_int_equal(dry.bytes_out, r.bytes_out);
        assert_int_equal(r.tensors, 17);
        int64_t type = 0;
        assert_int_equal(qn__gguf_int_req(g, "general.file_type", 0, 99, &type, &err), QN_OK);
        assert_int_equal(type, qn__mixture_file_type(qn__mixture_find(types[k])));
        qn__gguf_close(g);
        for (int threads = 2; threads < 5; threads++) {
            assert_int_equal(quantise(at("a.gguf"), at("n.gguf"), types[k], threads, NULL, NULL, &err), QN_OK);
            assert_same_file(at("1.gguf"), at("n.gguf"));
        }
        assert_int_equal(quantise(at("s-00002-of-00002.gguf"), at("n.gguf"), types[k], 2, NULL, NULL, &err), QN_OK);
        assert_same_file(at("1.gguf"), at("n.gguf"));
    }
    /* No part of the input may be the output. */
    assert_int_equal(quantise(at("s-00001-of-00002.gguf"), at("s-00002-of-00002.gguf"), "Q8_0", 1, NULL, NULL, &err),
                     QN_EINVAL);
    static const char *const made[] = {"a.gguf", "1.gguf", "n.gguf", "s-00001-of-00002.gguf", "s-00002-of-00002.gguf"};
    for (size_t k = 0; k < COUNT(made); k++)
        assert_int_equal(unlink(at(made[k])), 0);
}

static double weighted_error(const char *exact, const char *made, const char *name, const float *w)
{
    qn_gguf *a = open_file(exact), *b = open_file(made);
    const qn_gguf_tensor *x = qn__gguf_find(a, name), *y = qn__gguf_find(b, name);
    assert_true(x && y);
    size_t n = x->bytes / sizeof(float), row = (size_t)x->dims[0], matrix = row * (size_t)x->dims[1];
    float *p = malloc(n * sizeof *p), *q = malloc(n * sizeof *q);
    assert_true(p && q);
    qn__dequant_row(x->type, x->data, p, n);
    for (size_t i = 0; i < n; i += row)
        qn__dequant_row(y->type, y->data + i / row * y->row_bytes, q + i, row);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double e = (double)p[i] - (double)q[i];
        sum += (double)w[i / matrix * row + i % row] * e * e;
    }
    free(p);
    free(q);
    qn__gguf_close(a);
    qn__gguf_close(b);
    return sum;
}

static void test_weighted(void **state)
{
    (void)state;
    qn_quantize_result r;
    qn_err err = {0};
    float w[4 * 288], w2[1280], counts[4] = {2, 2, 2, 2}, one = 1;
    uint64_t seed = 8;
    write_model(at("a.gguf"), &small, -1, UINT64_MAX);
    for (int i = 0; i < 4 * 288; i++)
        w[i] = expf(60 * weight(&seed));
    for (int i = 0; i < 1280; i++)
        w2[i] = expf(60 * weight(&seed));
    const qn_imatrix_entry e[] = {{"blk.2.ffn_up_exps.weight", 288, 4, w, counts},
                                  {"blk.1.ffn_down.weight", 1280, 1, w2, &one},
                                  {"blk.9.none.weight", 4, 1, w, counts}};
    write_imatrix(at("i.gguf"), e, 3);
    assert_int_equal(quantise(at("a.gguf"), at("p.gguf"), "Q4_K_S", 2, NULL, NULL, &err), QN_OK);
    if (quantise(at("a.gguf"), at("w.gguf"), "Q4_K_S", 2, at("i.gguf"), &r, &err) != QN_OK)
        fail_msg("%s: %s", err.where, err.what);
    assert_int_equal(r.weighted, 2);
    const double experts = weighted_error(at("a.gguf"), at("w.gguf"), "blk.2.ffn_up_exps.weight", w) /
                           weighted_error(at("a.gguf"), at("p.gguf"), "blk.2.ffn_up_exps.weight", w);
    const double down = weighted_error(at("a.gguf"), at("w.gguf"), "blk.1.ffn_down.weight", w2) /
                        weighted_error(at("a.gguf"), at("p.gguf"), "blk.1.ffn_down.weight", w2);
    printf("figure: weighted square error with an importance matrix: %.2f (experts), %.2f (dense) of that without\n",
           experts, down);
    assert_true(experts < 0.9 && down < 0.9);
    qn_gguf *g = open_file(at("w.gguf"));
    int64_t v = 0;
    assert_int_equal(qn__gguf_int_req(g, "quantize.imatrix.entries_count", 0, 99, &v, &err), QN_OK);
    assert_int_equal(v, 3);
    assert_int_equal(qn__gguf_int_req(g, "quantize.imatrix.chunks_count", 0, 99, &v, &err), QN_OK);
    assert_int_equal(v, 7);
    assert_int_equal(qn__gguf_file_bytes(g), r.bytes_out);
    qn__gguf_close(g);
    /* Of another model: by names, by shape. */
    write_imatrix(at("i.gguf"), e + 2, 1);
    assert_int_equal(quantise(at("a.gguf"), at("x.gguf"), "Q4_K_S", 2, at("i.gguf"), NULL, &err), QN_EFORMAT);
    const qn_imatrix_entry other = {"blk.1.ffn_down.weight", 640, 1, w2, &one};
    write_imatrix(at("i.gguf"), &other, 1);
    assert_int_equal(quantise(at("a.gguf"), at("x.gguf"), "Q4_K_S", 2, at("i.gguf"), NULL, &err), QN_EFORMAT);
    assert_int_equal(quantise(at("a.gguf"), at("i.gguf"), "Q4_K_S", 2, at("i.gguf"), NULL, &err), QN_EINVAL);
    static const char *const made[] = {"a.gguf", "p.gguf", "w.gguf", "i.gguf"};
    for (size_t k = 0; k < COUNT(made); k++)
        assert_int_equal(unlink(at(made[k])), 0);
}

static bool stop_at(void *arg, const qn_quantize_progress *p)
{
    int *left = arg;
    assert_true(p->done <= p->total && p->tensor && p->from && p->to && p->index < p->n_tensors);
    return (*left)-- > 0;
}

/* What is refused or stopped leaves nothing (tear_down looks). */
static void test_refusals(void **state)
{
    (void)state;
    qn_err err = {0};
    write_model(at("a.gguf"), &small, -1, UINT64_MAX);
    assert_int_equal(quantise(at("a.gguf"), at("x.gguf"), "Q9", 1, NULL, NULL, &err), QN_EINVAL);
    assert_non_null(strstr(err.what, "Q4_K_M"));
    assert_int_equal(quantise(at("a.gguf"), at("x.gguf"), NULL, 1, NULL, NULL, &err), QN_EINVAL);
    assert_int_equal(quantise(at("a.gguf"), at("x.gguf"), "Q8_0", -1, NULL, NULL, &err), QN_EINVAL);
    assert_int_equal(quantise(at("a.gguf"), at("a.gguf"), "Q8_0", 1, NULL, NULL, &err), QN_EINVAL);
    assert_int_equal(quantise(at("b.gguf"), at("x.gguf"), "Q8_0", 1, NULL, NULL, &err), QN_EIO);
    assert_int_equal(quantise(at("a.gguf"), at("no/x.gguf"), "Q8_0", 1, NULL, NULL, &err), QN_EIO);
    assert_int_equal(quantise(at("a.gguf"), at("x.gguf"), "Q8_0", 1, at("a.gguf"), NULL, &err), QN_EFORMAT);
    for (int after = 0; after < 20; after += 3) {
        int left = after;
        qn_quantize_options o;
        qn_quantize_options_init(&o);
        o.type = "Q2_K";
        o.n_threads = 2;
        o.progress = stop_at;
        o.arg = &left;
        qn_status s = qn_quantize(at("a.gguf"), at("x.gguf"), &o, NULL, &err);
        if (s == QN_OK) {
            assert_true(after >= 17);
            assert_int_equal(unlink(at("x.gguf")), 0);
        } else {
            assert_int_equal(s, QN_ECANCELLED);
            assert_int_equal(access(at("x.gguf"), F_OK), -1);
        }
    }
    assert_int_equal(quantise(at("a.gguf"), at("q.gguf"), "Q8_0", 1, NULL, NULL, &err), QN_OK);
    assert_int_equal(quantise(at("q.gguf"), at("x.gguf"), "Q4_0", 1, NULL, NULL, &err), QN_EUNSUPPORTED);
    assert_non_null(strstr(err.what, "quantised already"));
    assert_int_equal(quantise(at("q.gguf"), at("x.gguf"), "Q8_0", 1, NULL, NULL, &err), QN_OK); /* a copy */
    assert_same_file(at("q.gguf"), at("x.gguf"));
    write_model(at("a.gguf"), &small, -1, 512 * 70 + 33);
    assert_int_equal(quantise(at("a.gguf"), at("y.gguf"), "Q8_0", 2, NULL, NULL, &err), QN_EFORMAT);
    assert_non_null(strstr(err.where, "token_embd.weight"));
    assert_non_null(strstr(err.what, "row 70, column 33"));
    static const char *const made[] = {"a.gguf", "q.gguf", "x.gguf"};
    for (size_t k = 0; k < COUNT(made); k++)
        assert_int_equal(unlink(at(made[k])), 0);
}

/* Every allocation may fail: a status, and nothing left. */
static void test_no_memory(void **state)
{
    (void)state;
    const tensor few[] = {{"token_embd.weight", QN_F32, 2, {256, 8}}, {"blk.%d.attn_v.weight", QN_F32, 2, {256, 2}}};
    const model m = {"llama", 2, 0, 2, 2, few, 2};
    float w[256], one = 1;
    for (int i = 0; i < 256; i++)
        w[i] = 1;
    const qn_imatrix_entry e = {"blk.1.attn_v.weight", 256, 1, w, &one};
    write_model(at("a.gguf"), &m, -1, UINT64_MAX);
    write_imatrix(at("i.gguf"), &e, 1);
    qn_status s = QN_ENOMEM;
    for (uint64_t n = 1; s != QN_OK && n < 500; n++) {
        qn_err err = {0};
        qn__alloc_fail_at(n);
        s = quantise(at("a.gguf"), at("x.gguf"), "Q4_K_M", 2, at("i.gguf"), NULL, &err);
        qn__alloc_fail_at(0);
        assert_true(s == QN_OK || s == QN_ENOMEM);
        assert_int_equal(access(at("x.gguf"), F_OK), s == QN_OK ? 0 : -1);
    }
    assert_int_equal(s, QN_OK);
    static const char *const made[] = {"a.gguf", "i.gguf", "x.gguf"};
    for (size_t k = 0; k < COUNT(made); k++)
        assert_int_equal(unlink(at(made[k])), 0);
}

/* A damaged header: refused or taken, never a crash, and a taken one has the size that was said. */
static void test_damaged(void **state)
{
    (void)state;
    const tensor few[] = {{"token_embd.weight", QN_F32, 2, {256, 4}},
                          {"blk.%d.ffn_down_exps.weight", QN_F32, 3, {64, 2, 3}}};
    const model m = {"llama", 2, 3, 2, 2, few, 2};
    size_t n, taken = 0;
    uint64_t seed = 11;
    qn_err err = {0};
    write_model(at("a.gguf"), &m, -1, UINT64_MAX);
    char *good = bytes_of(at("a.gguf"), &n);
    for (int round = 0; round < 600; round++) {
        char *bad = malloc(n);
        assert_non_null(bad);
        memcpy(bad, good, n);
        for (int k = 0; k <= round % 3; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            bad[8 + (seed >> 33) % 440] ^= (char)(1 << (seed >> 61));
        }
        FILE *f = fopen(at("b.gguf"), "wb");
        assert_true(f && fwrite(bad, 1, n, f) == n && fclose(f) == 0);
        qn_quantize_result r;
        if (quantise(at("b.gguf"), at("x.gguf"), round % 2 ? "Q4_0" : "MXFP4", 2, NULL, &r, &err) == QN_OK) {
            size_t size;
            free(bytes_of(at("x.gguf"), &size));
            assert_int_equal(size, r.bytes_out);
            assert_int_equal(unlink(at("x.gguf")), 0);
            taken++;
        } else {
            assert_true(err.what[0] != 0);
        }
        free(bad);
    }
    printf("600 damaged headers: %zu taken, the others refused\n", taken);
    free(good);
    assert_int_equal(unlink(at("a.gguf")), 0);
    assert_int_equal(unlink(at("b.gguf")), 0);
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/quern-quantize-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

/* Fails when a test left anything behind: also temporary files of writers. */
static int tear_down(void **state)
{
    (void)state;
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mixtures), cmocka_unit_test(test_imatrix),  cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_weighted), cmocka_unit_test(test_refusals), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
