/* convert_write.c - the plan's tensors as bytes: some rows at a time, so that the memory held does not grow with the model.
 *
 *   source rows ──(same type: bytes as they are)──────────────────────────────> chunk ──> file
 *        └──────> floats (scales of FP8 applied) ──> + 1 ──> the output's type ──┘
 *
 * What was read leaves memory at once: a checkpoint of any size passes through the same few megabytes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "kernels/f16.h"
#include "kernels/quant.h"
#include "model/convert_int.h"

enum { CHUNK = 4 << 20 }; /* bytes of floats; a single row may be more */

typedef struct chunk {
    float *f;            /* rows of cols floats */
    unsigned char *out;
    uint64_t rows;       /* that fit */
    size_t row_bytes;    /* of the output */
    uint64_t n;          /* rows filled */
} chunk;

/* OCP 8-bit floats: E4M3 has no infinities, E5M2 is the upper half of a binary16. */
static float fp8(qn_st_dtype d, unsigned char b)
{
    if (d == QN_ST_F8_E5M2)
        return qn__f16_to_f32((uint16_t)(b << 8));
    int exp = b >> 3 & 15, man = b & 7;
    float sign = b & 0x80 ? -1.0f : 1.0f;
    if (exp == 15 && man == 7)
        return NAN;
    return sign * (exp ? ldexpf((float)(8 + man), exp - 10) : ldexpf((float)man, -9));
}

static uint16_t load16(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static float load_scale(const qn_st_tensor *t, uint64_t i)
{
    float f;
    switch (t->dtype) {
    case QN_ST_F16: return qn__f16_to_f32(load16(t->data + 2 * i));
    case QN_ST_BF16: return qn__bf16_to_f32(load16(t->data + 2 * i));
    default: memcpy(&f, t->data + 4 * i, sizeof f); return f;
    }
}

/* How the scales of a weight lie. */
typedef struct scaling {
    const qn_st_tensor *t;       /* NULL: none */
    uint64_t block_rows, block_cols, per_row; /* block r / block_rows, c / block_cols; per_row scales to a line */
    uint64_t outer_rows, outer_scales; /* of one expert */
} scaling;

static bool find_scaling(qn__cv *c, const qn__cv_entry *e, scaling *s)
{
    const qn_st_tensor *t = e->t, *k = e->scale ? e->scale->t : NULL;
    uint64_t n = 1, cols = t->n_dims ? t->dims[t->n_dims - 1] : 1, rows = t->n_dims > 1 ? t->dims[t->n_dims - 2] : 1;
    *s = (scaling){.t = k, .outer_rows = rows};
    if (!k)
        return true;
    for (uint32_t i = 0; i < k->n_dims; i++)
        n *= k->dims[i];
    uint64_t rb = (rows + (uint64_t)c->block_rows - 1) / (uint64_t)c->block_rows;
    uint64_t cb = (cols + (uint64_t)c->block_cols - 1) / (uint64_t)c->block_cols;
    uint64_t outer = t->n_dims == 3 ? t->dims[0] : 1;
    if (n == 1) {
        s->block_rows = UINT64_MAX, s->block_cols = UINT64_MAX, s->per_row = 1, s->outer_scales = 0;
    } else if (k->n_dims >= 2 && k->dims[k->n_dims - 1] == cb && k->dims[k->n_dims - 2] == rb && n == outer * rb * cb) {
        s->block_rows = (uint64_t)c->block_rows, s->block_cols = (uint64_t)c->block_cols, s->per_row = cb, s->outer_scales = rb * cb;
    } else if (n == outer * rows && (k->n_dims == 1 || k->dims[k->n_dims - 1] == 1)) {
        s->block_rows = 1, s->block_cols = UINT64_MAX, s->per_row = 1, s->outer_scales = rows;
    } else {
        char where[160];
        (void)snprintf(where, sizeof where, "tensor %.140s", e->scale->t->name);
        return qn__cv_fail(c, QN_EFORMAT, where, "its shape fits neither one scale for all, nor one for a row, nor one for each block of %lldx%lld of its weight", (long long)c->block_rows, (long long)c->block_cols);
    }
    return true;
}

/* One source row as floats. */
static void read_row(const qn__cv_entry *e, const scaling *s, uint64_t row, uint64_t cols, float *f)
{
    size_t size = qn__st_dtype_size(e->t->dtype);
    const unsigned char *p = e->t->data + row * cols * size;
    uint64_t line = 0;
    switch (e->t->dtype) {
    case QN_ST_F32: memcpy(f, p, (size_t)cols * 4); break;
    case QN_ST_F16:
        for (uint64_t i = 0; i < cols; i++)
            f[i] = qn__f16_to_f32(load16(p + 2 * i));
        break;
    case QN_ST_BF16:
        for (uint64_t i = 0; i < cols; i++)
            f[i] = qn__bf16_to_f32(load16(p + 2 * i));
        break;
    default:
        if (s->t)
            line = row / s->outer_rows * s->outer_scales + row % s->outer_rows / s->block_rows * s->per_row;
        for (uint64_t i = 0; i < cols; i++)
            f[i] = fp8(e->t->dtype, p[i]) * (s->t ? load_scale(s->t, line + i / s->block_cols) : 1.0f);
    }
}

static bool overflows(const float *f, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (fabsf(f[i]) >= 65520 && isfinite(f[i]))
            return true;
    return false;
}

static bool all_finite(const float *f, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (!isfinite(f[i]))
            return false;
    return true;
}

static bool encode(qn__cv *c, const qn__cv_out *o, const float *f, uint64_t n, unsigned char *out)
{
    if ((o->type == QN_F16 && overflows(f, n)) || (o->type == QN_Q8_0 && (!all_finite(f, n) || overflows(f, n))))
        return qn__cv_fail(c, QN_EUNSUPPORTED, o->name, "a number of it does not fit %s; take bf16 or f32", o->type == QN_F16 ? "f16" : "q8_0");
    switch (o->type) {
    case QN_F16:
        for (uint64_t i = 0; i < n; i++) {
            uint16_t h = qn__f32_to_f16(f[i]);
            memcpy(out + 2 * i, &h, 2);
        }
        break;
    case QN_BF16:
        for (uint64_t i = 0; i < n; i++) {
            uint16_t h = qn__f32_to_bf16(f[i]);
            memcpy(out + 2 * i, &h, 2);
        }
        break;
    case QN_Q8_0: qn__quant_row(QN_Q8_0, f, out, (size_t)n, NULL); break;
    default: memcpy(out, f, (size_t)n * 4);
    }
    return true;
}

/* The source row that the i-th row of a piece is: halves of a head become neighbours. */
static uint64_t source_row(const qn__cv_out *o, const qn__cv_piece *p, uint64_t i)
{
    if (o->swap) {
        uint64_t head = i / o->swap, at = i % o->swap;
        i = head * o->swap + (at % 2) * (o->swap / 2) + at / 2;
    }
    return p->row0 + p->stride * i;
}

static bool same_bytes(const qn__cv_out *o, const qn__cv_entry *e)
{
    return !o->plus_one && !o->neg_exp && ((o->type == QN_F32 && e->t->dtype == QN_ST_F32) || (o->type == QN_F16 && e->t->dtype == QN_ST_F16) ||
                            (o->type == QN_BF16 && e->t->dtype == QN_ST_BF16));
}

static bool flush(qn__cv *c, const qn__cv_out *o, chunk *k)
{
    if (k->n && c->status == QN_OK)
        c->status = qn__gguf_write(c->w, k->out, (size_t)k->n * k->row_bytes, c->err);
    c->result->bytes += k->n * k->row_bytes;
    k->n = 0;
    if (c->status == QN_OK && c->o->progress && !c->o->progress(c->o->arg, c->bytes_done, c->bytes_total, o->name))
        return qn__cv_fail(c, QN_ECANCELLED, c->o->out, "cancelled; nothing was written");
    return c->status == QN_OK;
}

/* An MXFP4 block here: two numbers to a byte, in order; in GGUF: the scale, then bytes with numbers i and i + 16. */
static void repack_mxfp4(const unsigned char *blocks, const unsigned char *scales, uint64_t n, unsigned char *out)
{
    for (uint64_t b = 0; b < n; b++, out += 17) {
        unsigned char v[32];
        for (int i = 0; i < 16; i++) {
            v[2 * i] = blocks[16 * b + (uint64_t)i] & 15;
            v[2 * i + 1] = blocks[16 * b + (uint64_t)i] >> 4;
        }
        out[0] = scales[b];
        for (int i = 0; i < 16; i++)
            out[1 + i] = (unsigned char)(v[i] | v[i + 16] << 4);
    }
}

/* The columns of a row, `size` bytes each: value heads of one key head together -> the first of each key head, ... */
static void tile(const qn__cv *c, const qn__cv_out *o, const unsigned char *from, unsigned char *to, size_t size)
{
    uint64_t keys = (uint64_t)c->key_heads, per = o->cols / o->col_block / keys;
    size_t block = (size_t)o->col_block * size;
    for (uint64_t v = 0; v < per; v++)
        for (uint64_t k = 0; k < keys; k++, to += block)
            memcpy(to, from + (k * per + v) * block, block);
}

static bool put_row(qn__cv *c, const qn__cv_out *o, const qn__cv_entry *e, const scaling *s, uint64_t row, chunk *k)
{
    unsigned char *out = k->out + k->n * k->row_bytes;
    if (o->type == QN_MXFP4) {
        repack_mxfp4(e->t->data + row * o->cols, e->scale->t->data + row * (o->cols / 16), o->cols / 16, out);
    } else if (same_bytes(o, e) && o->col_block) {
        tile(c, o, e->t->data + row * k->row_bytes, out, qn__st_dtype_size(e->t->dtype));
    } else if (same_bytes(o, e)) {
        memcpy(out, e->t->data + row * k->row_bytes, k->row_bytes);
    } else {
        read_row(e, s, row, o->cols, k->f);
        for (uint64_t i = 0; o->plus_one && i < o->cols; i++)
            k->f[i] += 1;
        for (uint64_t i = 0; o->neg_exp && i < o->cols; i++)
            k->f[i] = (float)-exp((double)k->f[i]);
        if (o->col_block) /* behind the row: alloc_chunk made room */
            tile(c, o, (const unsigned char *)k->f, (unsigned char *)(k->f + o->cols), sizeof *k->f);
        if (!encode(c, o, k->f + (o->col_block ? o->cols : 0), o->cols, out))
            return false;
    }
    c->bytes_done += o->cols * qn__st_dtype_size(e->t->dtype);
    return ++k->n < k->rows || flush(c, o, k);
}

static bool write_piece(qn__cv *c, const qn__cv_out *o, const qn__cv_piece *p, chunk *k)
{
    const qn__cv_entry *e = p->from;
    scaling s = {0};
    size_t row = (size_t)o->cols * qn__st_dtype_size(e->t->dtype);
    uint64_t dropped = 0;
    if (o->type != QN_MXFP4 && !find_scaling(c, e, &s))
        return false;
    for (uint64_t i = 0; i < p->n; i++) {
        if (!put_row(c, o, e, &s, source_row(o, p, i), k))
            return false;
        /* Whole heads are behind us: their pages may go. */
        if (i + 1 == p->n || ((i + 1 - dropped) * row >= CHUNK && (!o->swap || (i + 1) % o->swap == 0))) {
            qn__st_drop(e->file, e->t->data + (p->row0 + dropped * p->stride) * row, (size_t)((i + 1 - dropped) * p->stride) * row - (p->stride > 1 ? row : 0));
            dropped = i + 1;
        }
    }
    return true;
}

/* A head's part of the latent's expansion, transposed: [nope, cols] -> [cols, nope]. Small, so in one go. */
static bool write_transposed(qn__cv *c, const qn__cv_out *o, const qn__cv_piece *p, chunk *k)
{
    float *line = k->f + p->n * o->cols; /* behind the head: alloc_chunk made room */
    scaling s;
    if (!find_scaling(c, p->from, &s))
        return false;
    for (uint64_t i = 0; i < p->n; i++)
        read_row(p->from, &s, p->row0 + i, o->cols, k->f + i * o->cols);
    for (uint64_t j = 0; j < o->cols; j++) {
        for (uint64_t i = 0; i < p->n; i++)
            line[i] = k->f[i * o->cols + j];
        if (!encode(c, o, line, p->n, k->out + k->n * k->row_bytes) || (++k->n == k->rows && !flush(c, o, k)))
            return false;
    }
    c->bytes_done += p->n * o->cols * qn__st_dtype_size(p->from->t->dtype);
    return true;
}

static bool alloc_chunk(qn__cv *c, const qn__cv_out *o, chunk *k)
{
    uint64_t cols = o->type == QN_MXFP4 ? o->cols * 2 : o->op == QN_CV_K_B ? o->pieces[0].n : o->cols;
    size_t floats = o->op == QN_CV_K_B ? (size_t)(o->pieces[0].n * (o->cols + 1)) : (size_t)cols, bytes;
    if (o->col_block && !qn__mul(floats, 2, &floats))
        return qn__cv_fail(c, QN_ELIMIT, o->name, "a row of %llu elements is too long", (unsigned long long)cols);
    *k = (chunk){.rows = CHUNK / 4 / (cols ? cols : 1) + 1};
    if (!qn__type_row_bytes(o->type, cols, &k->row_bytes) || !qn__mul(floats, 4, &floats) || !qn__mul(k->row_bytes, (size_t)k->rows, &bytes))
        return qn__cv_fail(c, QN_ELIMIT, o->name, "a row of %llu elements is too long", (unsigned long long)cols);
    k->f = qn__alloc(floats);
    k->out = qn__alloc(bytes);
    return (k->f && k->out) || qn__cv_memory(c);
}

static bool write_out(qn__cv *c, const qn__cv_out *o)
{
    chunk k = {0};
    if (o->made) {
        c->status = qn__gguf_write(c->w, o->made, (size_t)o->cols * 4, c->err);
        c->result->bytes += o->cols * 4;
        return c->status == QN_OK;
    }
    if (alloc_chunk(c, o, &k)) {
        for (size_t i = 0; i < o->n_pieces && c->status == QN_OK; i++)
            (void)(o->op == QN_CV_K_B ? write_transposed : write_piece)(c, o, &o->pieces[i], &k);
        if (c->status == QN_OK)
            (void)flush(c, o, &k);
    }
    qn_free(k.f);
    qn_free(k.out);
    return c->status == QN_OK;
}

bool qn__cv_write(qn__cv *c)
{
    for (size_t i = 0; i < c->n_outs; i++)
        qn__gguf_put_tensor(c->w, c->outs[i].name, c->outs[i].type, c->outs[i].n_dims, c->outs[i].dims);
    c->result->n_tensors = c->n_outs;
    c->status = qn__gguf_begin_data(c->w, c->err);
    for (size_t i = 0; i < c->n_outs && c->status == QN_OK; i++)
        (void)write_out(c, &c->outs[i]);
    return c->status == QN_OK;
}
