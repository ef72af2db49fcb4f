/* decoder.c - a decoder-only transformer, read from top to bottom: see layer() and qn__context_step(). */
#include "model/decoder.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "model/device.h"
#include "model/recipe.h"
#include "model/rope.h"
#include "model/weights.h"

struct qn_decoder {
    const qn_recipe *recipe;
    qn_hparams h;
    qn_weights w;
    qn_decoder_info info;
};

/* Buffers of a step, each max_rows rows: the stream of the residuals x, the normed input n, what attention and ffn make. */
struct qn_context {
    const qn_decoder *d;
    qn_device *dev;
    qn_kv kv;
    int max_rows, max_out;
    int32_t n_ctx;
    qn_rope rope[2];     /* of full and of windowed layers */
    float *rope_freq;
    float *tables[2];    /* [max_rows][n_rot] */
    float *row_scale;    /* [max_rows] of queries, when temperature_scale is on */
    int32_t *ids;        /* [max_rows] tokens or positions */
    qn_run *runs;        /* [max_rows] */
    float *x, *n, *q, *k, *v, *att, *gate, *up, *res;
    float *gathered;     /* [max_out][n_embd] */
    size_t bytes;
    qn_arena arena;
};

/* ---- the model ---- */

static qn_status unknown_architecture(qn_slice arch, qn_err *err)
{
    char list[320] = "";
    size_t n = 0;
    const char *name;
    for (size_t i = 0; (name = qn__recipe_name(i)) && n < sizeof list - 40; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", name);
    return qn__fail(err, QN_EUNSUPPORTED, "general.architecture", "\"%.*s\" is not an architecture that this build runs (%s)",
                    (int)(arch.n < 60 ? arch.n : 60), arch.p, list);
}

qn_status qn__decoder_open(const qn_gguf *g, qn_decoder **out, qn_err *err)
{
    qn_slice arch;
    bool windowed[QN_MAX_LAYERS];
    qn_status s = qn__gguf_str(g, "general.architecture", &arch, err);
    if (s != QN_OK)
        return s;
    if (!arch.p)
        return qn__fail(err, QN_EFORMAT, "general.architecture", "the key is missing; this is not a model file");
    const qn_recipe *r = qn__recipe_find(arch.p, arch.n);
    if (!r)
        return unknown_architecture(arch, err);
    qn_decoder *d = qn__calloc(1, sizeof *d);
    if (!d)
        return qn__fail_mem(err, "model");
    d->recipe = r;
    s = qn__hparams_read(g, r, &d->h, windowed, err);
    if (s == QN_OK && (d->h.head_k > QN_HEAD_MAX || d->h.head_v > QN_HEAD_MAX))
        s = qn__fail(err, QN_EUNSUPPORTED, "attention.key_length", "heads of %d and %d values are larger than the %d this build computes", d->h.head_k, d->h.head_v, QN_HEAD_MAX);
    if (s == QN_OK)
        s = qn__weights_bind(g, r, &d->h, windowed, &d->w, err);
    if (s != QN_OK) {
        qn_free(d);
        return s;
    }
    const qn_hparams *h = &d->h;
    d->info = (qn_decoder_info){.architecture = r->architecture, .n_layers = h->n_layers, .n_embd = h->n_embd,
                                .n_heads = h->n_heads, .n_kv_heads = h->n_kv_heads, .head_k = h->head_k,
                                .head_v = h->head_v, .n_ff = h->n_ff, .n_vocab = h->n_vocab,
                                .n_ctx_train = h->n_ctx_train, .window = h->window, .n_params = d->w.n_params};
    *out = d;
    return QN_OK;
}

void qn__decoder_close(qn_decoder *d)
{
    if (!d)
        return;
    qn__weights_free(&d->w);
    qn_free(d);
}

const qn_decoder_info *qn__decoder_info(const qn_decoder *d)
{
    return &d->info;
}

/* ---- pages: layer after layer, in each K of all heads and then V of all heads ---- */

static qn_kv_place place(const qn_decoder *d, qn_kv kv, int layer)
{
    const qn_hparams *h = &d->h;
    size_t es = kv == QN__KV_F32 ? 4 : 2;
    size_t k = (size_t)h->n_kv_heads * (size_t)h->head_k * QN_PAGE_TOKENS * es;
    size_t v = (size_t)h->n_kv_heads * (size_t)h->head_v * QN_PAGE_TOKENS * es;
    size_t at = (size_t)layer * (k + v);
    return (qn_kv_place){.k_off = at, .v_off = at + k, .kv = kv, .n_heads = h->n_heads, .n_kv_heads = h->n_kv_heads,
                         .head_k = h->head_k, .head_v = h->head_v};
}

size_t qn__decoder_page_bytes(const qn_decoder *d, qn_kv kv)
{
    return place(d, kv, d->h.n_layers).k_off; /* 64 slots of at least 2 bytes: a multiple of 64 */
}

/* ---- a context ---- */

static void *reserve(qn_context *c, size_t rows, size_t cols, size_t size, qn_status *s, qn_err *err)
{
    size_t n;
    void *p = NULL;
    if (*s != QN_OK)
        return NULL;
    if (!qn__mul(rows, cols, &n) || !qn__mul(n, size, &n) || !qn__add(n, 63, &n) || !(p = qn__arena_alloc(&c->arena, n)))
        *s = qn__fail_mem(err, "context");
    return (void *)(((uintptr_t)p + 63) & ~(uintptr_t)63);
}

static qn_status reserve_all(qn_context *c, qn_err *err)
{
    const qn_hparams *h = &c->d->h;
    const qn_weights *w = &c->d->w;
    size_t rows = (size_t)c->max_rows;
    qn_status s = QN_OK;
    c->x = reserve(c, rows, (size_t)h->n_embd, 4, &s, err);
    c->n = reserve(c, rows, (size_t)h->n_embd, 4, &s, err);
    c->res = reserve(c, rows, (size_t)h->n_embd, 4, &s, err);
    c->q = reserve(c, rows, (size_t)h->n_heads * (size_t)h->head_k, 4, &s, err);
    c->k = reserve(c, rows, (size_t)h->n_kv_heads * (size_t)h->head_k, 4, &s, err);
    c->v = reserve(c, rows, (size_t)h->n_kv_heads * (size_t)h->head_v, 4, &s, err);
    c->att = reserve(c, rows, (size_t)h->n_heads * (size_t)h->head_v, 4, &s, err);
    c->gate = reserve(c, rows, (size_t)h->n_ff, 4, &s, err);
    c->up = reserve(c, rows, (size_t)h->n_ff, 4, &s, err);
    c->gathered = reserve(c, (size_t)c->max_out, (size_t)h->n_embd, 4, &s, err);
    c->ids = reserve(c, rows, 1, sizeof *c->ids, &s, err);
    c->runs = reserve(c, rows, 1, sizeof *c->runs, &s, err);
    if (h->temperature_scale > 0)
        c->row_scale = reserve(c, rows, 1, 4, &s, err);
    if (c->d->recipe->rope != QN_ROPE_NONE) {
        c->rope_freq = reserve(c, 2, (size_t)h->n_rot, 4, &s, err);
        c->tables[0] = reserve(c, rows, (size_t)h->n_rot, 4, &s, err);
        c->tables[1] = reserve(c, rows, (size_t)h->n_rot, 4, &s, err);
    }
    if (s == QN_OK && c->rope_freq) {
        const float *factors = w->rope_factors;
        if (!factors) /* LongRoPE: by the context in use against the one of pre-training */
            factors = c->n_ctx > h->rope_original_ctx ? w->rope_factors_long : w->rope_factors_short;
        qn__rope_init(h, factors, false, false, c->rope_freq, &c->rope[0]);
        qn__rope_init(h, factors, true, c->d->recipe->window_plain_rope, c->rope_freq + h->n_rot, &c->rope[1]);
    }
    c->bytes = c->arena.total;
    return s;
}

qn_status qn__context_open(const qn_decoder *d, const qn_context_options *o, qn_context **out, qn_err *err)
{
    const qn_hparams *h = &d->h;
    if (o->max_rows < 1 || o->n_ctx < 1 || o->max_out < 1)
        return qn__fail(err, QN_EINVAL, "context", "rows, outputs and context must be at least 1");
    if (d->recipe->learned_positions && o->n_ctx > d->w.positions.rows)
        return qn__fail(err, QN_EINVAL, "context", "%d tokens are more than the %d positions that this model has learned", o->n_ctx, d->w.positions.rows);
    qn_context *c = qn__calloc(1, sizeof *c);
    if (!c)
        return qn__fail_mem(err, "context");
    *c = (qn_context){.d = d, .kv = o->kv, .max_rows = o->max_rows, .max_out = o->max_out, .n_ctx = o->n_ctx};
    qn__arena_init(&c->arena, 0);
    int max_k = h->n_embd > h->n_ff ? h->n_embd : h->n_ff, heads = h->n_heads * h->head_v;
    qn_cpu_device_options device = {.level = o->level, .n_threads = o->n_threads, .max_k = max_k > heads ? max_k : heads,
                                    .max_rows = o->max_rows > o->max_out ? o->max_rows : o->max_out};
    qn_status s = reserve_all(c, err);
    if (s == QN_OK)
        s = qn__cpu_device_open(&device, &c->dev, err);
    if (s != QN_OK) {
        qn__context_close(c);
        return s;
    }
    c->bytes += qn__cpu_device_bytes(&device);
    *out = c;
    return QN_OK;
}

void qn__context_close(qn_context *c)
{
    if (!c)
        return;
    if (c->dev)
        c->dev->ops->close(c->dev);
    qn__arena_free(&c->arena);
    qn_free(c);
}

size_t qn__context_bytes(const qn_context *c)
{
    return c->bytes;
}

/* ---- a step ---- */

static qn_rows rows_of(float *p, int rows, int cols)
{
    return (qn_rows){.p = p, .rows = rows, .cols = cols, .stride = (size_t)cols};
}

/* Cut the step into runs of one sequence; returns how many. */
static int find_runs(qn_context *c, const qn_step *step)
{
    int n = 0;
    for (int i = 0; i < step->n_rows; i++) {
        const qn_row *r = &step->rows[i];
        assert(r->token >= 0 && r->token < c->d->h.n_vocab && r->pos >= 0 && r->pos < c->n_ctx);
        assert(r->seq >= 0 && r->seq < step->n_seqs);
        if (i > 0 && r->seq == r[-1].seq) {
            assert(r->pos == r[-1].pos + 1);
            c->runs[n - 1].n++;
        } else {
            c->runs[n++] = (qn_run){.first = i, .n = 1, .pos = r->pos, .pages = step->pages[r->seq]};
        }
    }
    return n;
}

/* x = embeddings of the step's tokens, with learned positions where the model has them; tables for its positions. */
static void begin(qn_context *c, const qn_step *step, qn_rows x, qn_rows res)
{
    const qn_decoder *d = c->d;
    const qn_device_ops *op = c->dev->ops;
    for (int i = 0; i < step->n_rows; i++)
        c->ids[i] = step->rows[i].token;
    op->embed(c->dev, &d->w.embed, c->ids, d->h.embed_scale, x);
    for (int i = 0; i < step->n_rows; i++)
        c->ids[i] = step->rows[i].pos;
    if (d->recipe->learned_positions) {
        op->embed(c->dev, &d->w.positions, c->ids, 1, res);
        op->add(c->dev, x, res, 1);
    }
    for (int v = 0; v < 2 && c->rope_freq; v++)
        for (int i = 0; i < step->n_rows; i++)
            qn__rope_table(&c->rope[v], c->ids[i], c->tables[v] + (size_t)i * (size_t)d->h.n_rot);
    for (int i = 0; c->row_scale && i < step->n_rows; i++)
        c->row_scale[i] = (float)(1 + d->h.temperature_scale * log(floor((double)c->ids[i] / d->h.temperature_floor) + 1));
}

/* out = attention(in) */
static void attend(qn_context *c, const qn_layer *l, int index, int n_runs, qn_rows in, qn_rows out)
{
    const qn_hparams *h = &c->d->h;
    const qn_recipe *r = c->d->recipe;
    const qn_device_ops *op = c->dev->ops;
    qn_rows q = rows_of(c->q, in.rows, l->q.rows), k = rows_of(c->k, in.rows, l->k.rows), v = rows_of(c->v, in.rows, l->v.rows);
    qn_rows att = rows_of(c->att, in.rows, l->o.k);
    qn_kv_place at = place(c->d, c->kv, index);
    op->linear(c->dev, in, (qn_linear[]){{&l->q, q}, {&l->k, k}, {&l->v, v}}, 3);
    if (l->q_norm.w) {
        op->head_norm(c->dev, &l->q_norm, h->norm_eps, q);
        op->head_norm(c->dev, &l->k_norm, h->norm_eps, k);
    }
    const float *table = l->rope >= 0 ? c->tables[l->rope] : NULL;
    if (table || c->row_scale)
        op->rope(c->dev, q, h->head_k, h->n_rot, r->rope == QN_ROPE_NEOX, table, c->row_scale);
    if (table)
        op->rope(c->dev, k, h->head_k, h->n_rot, r->rope == QN_ROPE_NEOX, table, NULL);
    op->kv_store(c->dev, &at, k, v, c->runs, n_runs);
    op->attention(c->dev, &at, q, att, c->runs, n_runs, l->window, h->attn_scale, h->attn_softcap);
    op->linear(c->dev, att, (qn_linear[]){{&l->o, out}}, 1);
}

/* out = ffn(in) */
static void feed_forward(qn_context *c, const qn_layer *l, qn_rows in, qn_rows out)
{
    const qn_device_ops *op = c->dev->ops;
    qn_rows gate = rows_of(c->gate, in.rows, l->up.rows), up = rows_of(c->up, in.rows, l->up.rows);
    bool gated = l->gate.rows > 0;
    op->linear(c->dev, in, (qn_linear[]){{&l->up, up}, {&l->gate, gate}}, gated ? 2 : 1);
    op->activate(c->dev, c->d->recipe->ffn, gated ? gate : (qn_rows){0}, up, up);
    op->linear(c->dev, up, (qn_linear[]){{&l->down, out}}, 1);
}

static qn_rows normed(qn_context *c, const qn_norm *n, qn_rows x, qn_rows y)
{
    if (!n->w)
        return x;
    c->dev->ops->norm(c->dev, c->d->recipe->norm, n, c->d->h.norm_eps, x, y);
    return y;
}

static void layer(qn_context *c, int index, int n_runs, qn_rows x)
{
    const qn_layer *l = &c->d->w.layers[index];
    const float scale = c->d->h.residual_scale;
    qn_rows n = rows_of(c->n, x.rows, x.cols), res = rows_of(c->res, x.rows, x.cols);

    qn_rows in = normed(c, &l->attn_norm, x, n);
    attend(c, l, index, n_runs, in, res);
    (void)normed(c, &l->post_attn_norm, res, res);
    c->dev->ops->add(c->dev, x, res, scale);

    if (!c->d->recipe->parallel) /* else the ffn reads what attention read, which is still in n */
        in = normed(c, &l->ffn_norm, x, n);
    feed_forward(c, l, in, res);
    (void)normed(c, &l->post_ffn_norm, res, res);
    c->dev->ops->add(c->dev, x, res, scale);
}

/* Logits of the rows that are asked for. */
static void finish(qn_context *c, const qn_step *step, qn_rows x)
{
    const qn_decoder *d = c->d;
    int n = 0;
    for (int i = 0; i < step->n_rows; i++) {
        if (step->rows[i].out < 0)
            continue;
        assert(step->rows[i].out < c->max_out);
        memcpy(c->gathered + (size_t)step->rows[i].out * (size_t)x.cols, x.p + (size_t)i * x.stride, (size_t)x.cols * sizeof(float));
        n++;
    }
    if (n == 0)
        return;
    qn_rows g = rows_of(c->gathered, n, x.cols), logits = rows_of(step->logits, n, d->h.n_vocab);
    (void)normed(c, &d->w.output_norm, g, g);
    c->dev->ops->linear(c->dev, g, (qn_linear[]){{&d->w.output, logits}}, 1);
    c->dev->ops->finish(c->dev, logits, d->h.logit_scale, d->h.final_softcap);
}

qn_status qn__context_step(qn_context *c, const qn_step *step, qn_err *err)
{
    qn_rows x = rows_of(c->x, step->n_rows, c->d->h.n_embd), res = rows_of(c->res, step->n_rows, c->d->h.n_embd);
    assert(step->n_rows <= c->max_rows);
    int n_runs = find_runs(c, step);
    begin(c, step, x, res);
    for (int i = 0; i < c->d->h.n_layers; i++) {
        if (step->cancelled && step->cancelled(step->cancel_arg))
            return qn__fail(err, QN_ECANCELLED, "step", "cancelled");
        layer(c, i, n_runs, x);
    }
    finish(c, step, x);
    return QN_OK;
}
