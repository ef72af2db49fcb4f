/* synth.c - random-weight model files of real shapes, for measuring speed and memory without a download: qn_synth of
 * quern.h. A block is random bytes with its scales set so that the weights have a standard deviation near
 * 0.02; nothing is quantised, so a 4 GB file is written at the disk's speed. Which tensors there are: synth_shape.c. */
#include "model/synth.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "kernels/f16.h"

enum { CHUNK = 1 << 20 };

/* ---- random blocks ------------------------------------------------------------------------------------------------
 */

/* xorshift64*: fast, and the same everywhere. */
static uint64_t next(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 0x2545F4914F6CDD1Du;
}

static void put_half(unsigned char *p, float v)
{
    uint16_t h = qn__f32_to_f16(v);
    memcpy(p, &h, 2);
}

/* Where a block's half-precision scales lie and how large they must be for weights near 0.02. `min_at` < 0: no minimum.
 */
typedef struct block_form {
    qn_type type;
    int scale_at, min_at;
    float scale, min;
} block_form;

static const block_form forms[] = {
    {QN_Q4_0, 0, -1, 0.0043f, 0},       {QN_Q4_1, 0, 2, 0.0043f, -0.0325f}, {QN_Q5_0, 0, -1, 0.0022f, 0},
    {QN_Q5_1, 0, 2, 0.0022f, -0.0335f}, {QN_Q8_0, 0, -1, 0.00027f, 0},      {QN_Q2_K, 80, 82, 0.0016f, 0.0024f},
    {QN_Q3_K, 108, -1, 0.00045f, 0},    {QN_Q4_K, 0, 2, 0.00012f, 0.0009f}, {QN_Q5_K, 0, 2, 0.00006f, 0.00093f},
    {QN_Q6_K, 208, -1, 0.000015f, 0},   {QN_IQ4_NL, 0, -1, 0.0003f, 0},     {QN_IQ4_XS, 0, -1, 0.00002f, 0},
    {QN_TQ1_0, 52, -1, 0.025f, 0},      {QN_TQ2_0, 64, -1, 0.02f, 0},       {QN_MXFP4, -1, -1, 0, 0},
};
enum { MXFP4_EXPONENT = 120 }; /* 2^-7 times values up to 6 */

static const block_form *form_of(qn_type type)
{
    for (size_t f = 0; f < sizeof forms / sizeof forms[0]; f++)
        if (forms[f].type == type)
            return &forms[f];
    return NULL;
}

static bool is_float(qn_type t)
{
    return t == QN_F32 || t == QN_F16 || t == QN_BF16;
}

static void fill_floats(qn_type type, unsigned char *p, size_t n, uint64_t *seed)
{
    for (size_t i = 0; i < n; i++) {
        float v = ((float)(next(seed) >> 40) / 16777216.0f - 0.5f) * 0.07f;
        uint32_t bits;
        memcpy(&bits, &v, 4);
        uint16_t top = (uint16_t)(bits >> 16);
        if (type == QN_F32)
            memcpy(p + 4 * i, &v, 4);
        else if (type == QN_BF16)
            memcpy(p + 2 * i, &top, 2);
        else
            put_half(p + 2 * i, v);
    }
}

/* p has 8 bytes of slack. */
static void fill(qn_type type, unsigned char *p, size_t blocks, uint64_t *seed)
{
    const size_t size = qn__type_info((uint32_t)type)->bytes;
    if (is_float(type)) {
        fill_floats(type, p, blocks, seed);
        return;
    }
    for (size_t i = 0; i < blocks * size; i += 8) {
        uint64_t v = next(seed);
        memcpy(p + i, &v, 8);
    }
    const block_form *f = form_of(type);
    for (size_t b = 0; b < blocks; b++) {
        unsigned char *block = p + b * size;
        if (f->scale_at < 0)
            block[0] = MXFP4_EXPONENT;
        else
            put_half(block + f->scale_at, f->scale);
        if (f->min_at >= 0)
            put_half(block + f->min_at, f->min);
    }
}

/* ---- the file -----------------------------------------------------------------------------------------------------
 */

typedef struct job {
    qn_gguf_writer *w;
    const qn_planned *plan;
    size_t n;
    unsigned char *chunk;
    uint64_t seed, done, total; /* bytes of tensors */
    bool (*progress)(void *arg, uint64_t done, uint64_t total);
    void *arg;
} job;

static uint64_t blocks_of(const qn_planned *p)
{
    const uint64_t *d = p->tensor->dims;
    return d[0] / qn__type_info((uint32_t)p->type)->block * d[1] * d[2];
}

static qn_status put(job *j, size_t bytes, const char *path, qn_err *err)
{
    qn_status st = qn__gguf_write(j->w, j->chunk, bytes, err);
    j->done += bytes;
    if (st == QN_OK && j->progress && !j->progress(j->arg, j->done, j->total))
        st = qn__fail(err, QN_ECANCELLED, path, "cancelled; nothing was left behind");
    return st;
}

static qn_status write_tensor(job *j, const qn_planned *p, const char *path, qn_err *err)
{
    const qn_synth_tensor *t = (const qn_synth_tensor *)(const void *)p->tensor;
    const size_t size = qn__type_info((uint32_t)p->type)->bytes;
    qn_status st = QN_OK;
    for (uint64_t left = blocks_of(p); left && st == QN_OK;) {
        size_t n = left < CHUNK / size ? (size_t)left : CHUNK / size;
        if (p->tensor->n_dims == 1)
            for (size_t i = 0; i < n; i++)
                memcpy(j->chunk + i * size, &t->constant, size);
        else
            fill(p->type, j->chunk, n, &j->seed);
        st = put(j, n * size, path, err);
        left -= n;
    }
    return st;
}

static qn_status write_file(job *j, const qn_shape *s, const qn_mixture *m, int n_layers, const char *path, qn_err *err)
{
    qn_status st = qn__gguf_create(path, &j->w, err);
    if (st != QN_OK)
        return st;
    if (!qn__shape_metadata(s, m, n_layers, j->w))
        st = qn__fail_mem(err, "synth");
    for (size_t i = 0; i < j->n; i++) {
        const qn_gguf_tensor *t = j->plan[i].tensor;
        char name[64];
        (void)snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        qn__gguf_put_tensor(j->w, name, j->plan[i].type, t->n_dims, t->dims);
    }
    if (st == QN_OK)
        st = qn__gguf_begin_data(j->w, err);
    for (size_t i = 0; i < j->n && st == QN_OK; i++)
        st = write_tensor(j, &j->plan[i], path, err);
    if (st != QN_OK) {
        qn__gguf_abort(j->w);
        return st;
    }
    return qn__gguf_commit(j->w, err);
}

static qn_status unknown_shape(const char *name, qn_err *err)
{
    char list[400] = "";
    const char *s;
    for (size_t i = 0, n = 0; (s = qn_synth_shape(i)) && n < sizeof list - 40; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", s);
    return qn__fail(err, QN_EINVAL, "shape", "\"%.60s\" is not one of %s", name, list);
}

qn_status qn_synth(const char *name, const char *mixture, int n_layers, const char *path,
                   bool (*progress)(void *arg, uint64_t done, uint64_t total), void *arg, qn_err *err)
{
    const qn_shape *s = qn__shape_find(name);
    const qn_mixture *m = qn__mixture_find(mixture);
    if (!s)
        return unknown_shape(name, err);
    if (!m)
        return qn__fail(err, QN_EINVAL, "type", "\"%.60s\" is not a file type such as Q4_K_M, Q8_0, Q6_K, Q4_0, F16",
                        mixture);
    if (n_layers > QN_SYNTH_MAX_LAYERS)
        return qn__fail(err, QN_EINVAL, "layers", "%d is more than the %d that a model may have", n_layers,
                        QN_SYNTH_MAX_LAYERS);
    if (n_layers <= 0)
        n_layers = qn__shape_layers(s);
    qn_arena arena;
    qn__arena_init(&arena, 0);
    job j = {.seed = 0x9E3779B97F4A7C15u, .progress = progress, .arg = arg};
    j.plan = qn__shape_plan(s, m, n_layers, &arena, &j.n);
    j.chunk = qn__alloc(CHUNK + 8);
    qn_status st = QN_OK;
    if (!j.plan || !j.chunk)
        st = qn__fail_mem(err, "synth");
    for (size_t i = 0; i < j.n && st == QN_OK; i++) {
        qn_type t = j.plan[i].type;
        j.total += blocks_of(&j.plan[i]) * qn__type_info((uint32_t)t)->bytes;
        if (!is_float(t) && !form_of(t))
            st = qn__fail(err, QN_EINVAL, "type", "no random weights can be made for type %s",
                          qn__type_info((uint32_t)t)->name);
    }
    if (st == QN_OK)
        st = write_file(&j, s, m, n_layers, path, err);
    qn_free(j.chunk);
    qn__arena_free(&arena);
    return st;
}
