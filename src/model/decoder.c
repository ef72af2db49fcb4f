/* decoder.c - the life of a decoder and of a context, and the step: embeddings, layers (layer.c), logits. */
#include "model/decoder.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "model/context.h"

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

static qn_status check_heads(const qn_layer_shape *l, qn_err *err)
{
    if (l->head_k <= QN_HEAD_MAX && l->head_v <= QN_HEAD_MAX)
        return QN_OK;
    return qn__fail(err, QN_EUNSUPPORTED, "attention.key_length", "heads of %d and %d values are larger than the %d this build computes", l->head_k, l->head_v, QN_HEAD_MAX);
}

qn_status qn__decoder_open(const qn_gguf *g, qn_decoder **out, qn_err *err)
{
    qn_slice arch;
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
    d->g = g;
    s = (d->packings = qn__packings_open()) ? QN_OK : qn__fail_mem(err, "model");
    if (s == QN_OK)
        s = qn__hparams_read(g, r, r->architecture, &d->h, err);
    for (int i = 0; i < d->h.n_layers && s == QN_OK; i++)
        s = check_heads(&d->h.layers[i], err);
    if (s == QN_OK)
        s = qn__weights_bind(g, r, &d->h, &d->w, err);
    if (s != QN_OK) {
        qn__packings_close(d->packings);
        qn_free(d);
        return s;
    }
    const qn_hparams *h = &d->h;
    d->info = (qn_decoder_info){.architecture = r->architecture, .n_layers = h->n_layers, .n_embd = h->n_embd,
                                .n_heads = h->n_heads, .n_kv_heads = h->n_kv_heads, .head_k = h->head_k,
                                .head_v = h->head_v, .n_ff = h->n_ff, .n_vocab = h->n_vocab,
                                .n_ctx_train = h->n_ctx_train, .window = h->window, .n_params = d->w.n_params,
                                .embedding_only = r->embedding_only, .pooling = h->pooling, .n_experts = h->n_experts,
                                .n_used = h->n_used, .n_labels = d->w.cls_output.rows};
    *out = d;
    return QN_OK;
}

void qn__decoder_close(qn_decoder *d)
{
    if (!d)
        return;
    qn__packings_close(d->packings);
    qn__weights_free(&d->w);
    qn_free(d);
}

const qn_decoder_info *qn__decoder_info(const qn_decoder *d)
{
    return &d->info;
}

size_t qn__decoder_page_bytes(const qn_decoder *d, qn_kv kv)
{
    size_t n = d->w.kv_bytes[kv]; /* a multiple of 64 */
    return n ? n : 64;
}

uint32_t qn__decoder_variant(const qn_decoder *d, int32_t n_ctx)
{
    /* LongRoPE: by the context in use against the one of pre-training */
    return !d->w.rope_factors && (d->w.rope_factors_long || d->w.rope_factors_short) && n_ctx > d->h.rope_original_ctx;
}

size_t qn__decoder_state_bytes(const qn_decoder *d)
{
    return d->w.state_floats * sizeof(float);
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

static qn_status reserve_experts(qn_context *c, qn_err *err)
{
    const qn_hparams *h = &c->d->h;
    size_t rows = (size_t)c->max_rows, slots = rows * (size_t)h->n_used, ff = (size_t)h->n_ff_expert;
    size_t width = (size_t)(h->n_latent_ff > 0 ? h->n_latent_ff : h->n_embd);
    qn_status s = QN_OK;
    qn_routing *r = &c->routing;
    c->logits_route = reserve(c, rows, (size_t)h->n_experts, 4, &s, err);
    c->gate_exps = reserve(c, slots, ff, 4, &s, err);
    c->up_exps = reserve(c, slots, ff, 4, &s, err);
    c->down_exps = reserve(c, slots, width, 4, &s, err);
    c->latent = reserve(c, rows, 2 * width, 4, &s, err);
    c->shared = reserve(c, rows, (size_t)h->n_embd, 4, &s, err);
    r->chosen = reserve(c, slots, 1, sizeof *r->chosen, &s, err);
    r->weight = reserve(c, slots, 1, sizeof *r->weight, &s, err);
    r->source = reserve(c, slots, 1, sizeof *r->source, &s, err);
    r->place = reserve(c, slots, 1, sizeof *r->place, &s, err);
    r->experts = reserve(c, (size_t)h->n_experts, 1, sizeof *r->experts, &s, err);
    r->start = reserve(c, (size_t)h->n_experts + 1, 1, sizeof *r->start, &s, err);
    return s;
}

/* The widest row of each buffer over all layers. */
static void measure(const qn_decoder *d, qn_widths *m)
{
    const qn_hparams *h = &d->h;
    *m = (qn_widths){.ff = h->n_ff_shared > 1 ? h->n_ff_shared : 1, .q = 1, .k = 1, .v = 1, .att = 1, .aux = 1};
#define WIDEN(field, n) ((field) = (n) > (field) ? (n) : (field))
    for (int i = 0; i < h->n_layers; i++) {
        const qn_layer_shape *l = &h->layers[i];
        if (!l->experts || d->recipe->experts_norm)
            WIDEN(m->ff, l->n_ff);
        int channels = h->inner + 2 * h->groups * h->state;
        switch (l->mixer) {
        case QN_MIX_ATTENTION:
            WIDEN(m->q, l->n_heads * l->head_k);
            WIDEN(m->k, l->n_kv_heads * l->head_k);
            WIDEN(m->v, l->n_kv_heads * l->head_v);
            WIDEN(m->att, l->n_heads * l->head_v);
            WIDEN(m->aux, d->recipe->gate == QN_GATE_QUERY ? 2 * l->n_heads * l->head_k : l->n_heads);
            break;
        case QN_MIX_LATENT:
            WIDEN(m->q, l->n_heads * h->head_k);
            WIDEN(m->k, h->head_k);
            WIDEN(m->v, h->head_v);
            WIDEN(m->att, l->n_heads * h->kv_lora);
            WIDEN(m->aux, l->n_heads * (h->nope + h->n_rot));
            WIDEN(m->aux, l->n_heads * h->latent_v);
            WIDEN(m->q, h->q_lora);
            break;
        case QN_MIX_DELTA:
            WIDEN(m->aux, channels);
            WIDEN(m->q, h->inner);
            WIDEN(m->k, 2 * h->time_rank);
            WIDEN(m->v, 2 * h->time_rank);
            WIDEN(m->att, h->inner);
            break;
        case QN_MIX_MAMBA2:
            WIDEN(m->aux, h->inner + channels + h->time_rank);
            WIDEN(m->att, h->inner);
            break;
        case QN_MIX_NONE: break;
        }
    }
    WIDEN(m->ff, h->n_ple);
    WIDEN(m->aux, h->n_layers * h->n_ple);
#undef WIDEN
}

static qn_status reserve_rope(qn_context *c, qn_err *err)
{
    const qn_hparams *h = &c->d->h;
    const qn_recipe *r = c->d->recipe;
    const qn_weights *w = &c->d->w;
    qn_status s = QN_OK;
    const int n_rot[2] = {r->rope_half_when_full ? h->n_rot / 2 : h->n_rot, h->n_rot_window};
    c->rope_freq = reserve(c, 1, (size_t)(n_rot[0] + n_rot[1]), 4, &s, err);
    for (int v = 0; v < 2; v++)
        c->tables[v] = reserve(c, (size_t)c->max_rows, (size_t)n_rot[v], 4, &s, err);
    if (s != QN_OK)
        return s;
    const float *factors = w->rope_factors;
    if (!factors)
        factors = qn__decoder_variant(c->d, c->n_ctx) ? w->rope_factors_long : w->rope_factors_short;
    qn__rope_init(h, n_rot[0], factors, false, false, c->rope_freq, &c->rope[0]);
    qn__rope_init(h, n_rot[1], factors, true, r->window_plain_rope, c->rope_freq + n_rot[0], &c->rope[1]);
    return QN_OK;
}

static qn_status reserve_all(qn_context *c, qn_err *err)
{
    const qn_hparams *h = &c->d->h;
    size_t rows = (size_t)c->max_rows;
    qn_widths m;
    qn_status s = QN_OK;
    measure(c->d, &m);
    c->x = reserve(c, rows, (size_t)h->n_embd, 4, &s, err);
    c->n = reserve(c, rows, (size_t)h->n_embd, 4, &s, err);
    c->res = reserve(c, rows, (size_t)h->n_embd, 4, &s, err);
    c->q = reserve(c, rows, (size_t)m.q, 4, &s, err);
    c->k = reserve(c, rows, (size_t)m.k, 4, &s, err);
    c->v = reserve(c, rows, (size_t)m.v, 4, &s, err);
    c->att = reserve(c, rows, (size_t)m.att, 4, &s, err);
    c->aux = reserve(c, rows, (size_t)m.aux, 4, &s, err);
    if (h->n_ple > 0)
        c->ple = reserve(c, rows, (size_t)h->n_layers * (size_t)h->n_ple, 4, &s, err);
    c->gate = reserve(c, rows, (size_t)m.ff, 4, &s, err);
    c->up = reserve(c, rows, (size_t)m.ff, 4, &s, err);
    c->gathered = reserve(c, (size_t)c->max_out, (size_t)h->n_embd, 4, &s, err);
    c->ids = reserve(c, rows, 1, sizeof *c->ids, &s, err);
    c->runs = reserve(c, rows, 1, sizeof *c->runs, &s, err);
    if (c->d->recipe->recurrent == QN_MIX_DELTA)
        c->pair = reserve(c, rows, 2 * (size_t)h->time_rank, 4, &s, err);
    if (h->temperature_scale > 0)
        c->row_scale = reserve(c, rows, 1, 4, &s, err);
    if (s == QN_OK && h->n_experts > 0)
        s = reserve_experts(c, err);
    if (s == QN_OK && c->d->recipe->rope != QN_ROPE_NONE)
        s = reserve_rope(c, err);
    c->bytes = c->arena.total;
    return s;
}

/* What its matmuls read at most. */
static qn_cpu_device_options device_options(const qn_context *c, const qn_context_options *o)
{
    const qn_hparams *h = &c->d->h;
    qn_widths m;
    measure(c->d, &m);
    int k = h->n_embd > m.ff ? h->n_embd : m.ff;
    k = m.att > k ? m.att : k;
    k = m.aux > k ? m.aux : k;
    int slots = h->n_experts > 0 ? h->n_used : 0, width = h->n_ff_expert > h->n_embd ? h->n_ff_expert : h->n_embd;
    width = h->n_latent_ff > width ? h->n_latent_ff : width;
    int heads = c->d->recipe->mixer == QN_MIX_LATENT ? h->n_heads : 0, part = h->kv_lora > h->nope ? h->kv_lora : h->nope;
    return (qn_cpu_device_options){
        .level = o->level, .n_threads = o->n_threads, .cpus = o->cpus,
        .rows = {o->max_rows > o->max_out ? o->max_rows : o->max_out, o->max_rows * slots, o->max_rows * heads},
        .k = {k, width, part}, .scratch = h->time_rank > 0 ? (size_t)(h->inner / h->time_rank) : 1};
}

qn_status qn__context_open(const qn_decoder *d, const qn_context_options *o, qn_context **out, qn_err *err)
{
    if (o->max_rows < 1 || o->max_rows > (1 << 16) || o->n_ctx < 1 || o->max_out < 1)
        return qn__fail(err, QN_EINVAL, "context", "rows (at most 65536), outputs and context must be at least 1");
    if (d->recipe->learned_positions && o->n_ctx > d->w.positions.rows)
        return qn__fail(err, QN_EINVAL, "context", "%d tokens are more than the %d positions that this model has learned", o->n_ctx, d->w.positions.rows);
    qn_context *c = qn__calloc(1, sizeof *c);
    if (!c)
        return qn__fail_mem(err, "context");
    *c = (qn_context){.d = d, .kv = o->kv, .max_rows = o->max_rows, .max_out = o->max_out, .n_ctx = o->n_ctx};
    qn__arena_init(&c->arena, 0);
    qn_cpu_device_options device = device_options(c, o);
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

void qn__context_observe(qn_context *c, const qn_observer *o)
{
    c->dev->observer = o;
}

/* ---- a step ---- */

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
            float *state = c->d->w.state_floats > 0 ? step->states[r->seq] : NULL;
            if (state && r->pos == 0)
                memset(state, 0, c->d->w.state_floats * sizeof *state);
            float *beyond = state && step->beyond ? step->beyond[r->seq] : NULL;
            c->runs[n++] = (qn_run){.first = i, .n = 1, .pos = r->pos, .pages = step->pages[r->seq], .state = state,
                                    .beyond = beyond, .kept = beyond ? step->kept[r->seq] : 0};
        }
    }
    return n;
}

/* The tokens' embeddings for all layers: what the table says and what x makes of it, one as much as the other. The
 * projection's factor 1/sqrt(n_embd) stands in its norm's epsilon. */
static void begin_layers(qn_context *c, qn_rows x)
{
    const qn_decoder *d = c->d;
    const qn_device_ops *op = c->dev->ops;
    int n = d->h.n_layers * d->h.n_ple;
    qn_rows made = qn__rows(c->ple, x.rows, n), looked_up = qn__rows(c->aux, x.rows, n);
    op->linear(c->dev, x, (qn_linear[]){{&d->w.ple_model_proj, made}}, 1);
    op->head_norm(c->dev, &d->w.ple_proj_norm, d->h.norm_eps * (float)d->h.n_embd, made);
    op->embed(c->dev, &d->w.ple_embed, c->ids, sqrtf((float)d->h.n_ple), looked_up);
    op->add(c->dev, made, looked_up, 1);
    op->finish(c->dev, made, sqrtf(0.5f), 0);
}

/* x = embeddings of the step's tokens, with learned positions where the model has them; tables for its positions. */
static void begin(qn_context *c, const qn_step *step, qn_rows x, qn_rows res)
{
    const qn_decoder *d = c->d;
    const qn_device_ops *op = c->dev->ops;
    for (int i = 0; i < step->n_rows; i++)
        c->ids[i] = step->rows[i].token;
    op->embed(c->dev, &d->w.embed, c->ids, d->h.embed_scale, x);
    if (d->h.n_ple > 0)
        begin_layers(c, x);
    for (int i = 0; i < step->n_rows; i++)
        c->ids[i] = step->rows[i].pos;
    if (d->recipe->learned_positions) {
        op->embed(c->dev, &d->w.positions, c->ids, 1, res);
        op->add(c->dev, x, res, 1);
    }
    if (d->w.token_type) {
        bool two = step->second > 0 && step->second < step->n_rows && d->w.n_token_types > 1;
        qn_rows first = x, rest = x;
        first.rows = two ? step->second : x.rows;
        rest.rows = x.rows - first.rows;
        rest.p += (size_t)first.rows * x.stride;
        op->add_vector(c->dev, d->w.token_type, first);
        if (two)
            op->add_vector(c->dev, d->w.token_type + d->h.n_embd, rest);
    }
    if (d->w.embed_norm.w)
        op->norm(c->dev, d->recipe->norm, &d->w.embed_norm, d->h.norm_eps, x, x);
    for (int v = 0; v < 2 && c->rope_freq; v++)
        for (int i = 0; i < step->n_rows; i++)
            qn__rope_table(&c->rope[v], c->ids[i], c->tables[v] + (size_t)i * (size_t)c->rope[v].n_rot);
    for (int i = 0; c->row_scale && i < step->n_rows; i++)
        c->row_scale[i] = (float)(1 + d->h.temperature_scale * log(floor((double)c->ids[i] / d->h.temperature_floor) + 1));
}

/* Hidden states and logits of the rows that are asked for. */
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
    qn_rows g = qn__rows(c->gathered, n, x.cols);
    if (d->w.output_norm.w)
        c->dev->ops->norm(c->dev, d->recipe->norm, &d->w.output_norm, d->h.norm_eps, g, g);
    if (step->hidden)
        memcpy(step->hidden, g.p, (size_t)n * (size_t)x.cols * sizeof(float));
    if (step->scores) { /* score = out tanh(cls x) */
        qn_rows scores = qn__rows(step->scores, n, d->w.cls_output.rows), in = d->w.cls.rows > 0 ? qn__rows(c->n, n, x.cols) : g;
        if (d->w.cls.rows > 0) {
            c->dev->ops->linear(c->dev, g, (qn_linear[]){{&d->w.cls, in}}, 1);
            c->dev->ops->finish(c->dev, in, 1, 1);
        }
        c->dev->ops->linear(c->dev, in, (qn_linear[]){{&d->w.cls_output, scores}}, 1);
    }
    bool apart = d->w.output.rows > 0 && d->w.output.tensor != d->w.embed.tensor;
    if (!step->logits && apart) /* whoever looks on sees what would be multiplied */
        qn__observe(c->dev, (qn_linear[]){{&d->w.output, {0}}}, 1, (qn_seen){.x = g});
    if (!step->logits)
        return;
    qn_rows logits = qn__rows(step->logits, n, d->h.n_vocab);
    c->dev->ops->linear(c->dev, g, (qn_linear[]){{&d->w.output, logits}}, 1);
    c->dev->ops->finish(c->dev, logits, d->h.logit_scale, d->h.final_softcap);
}

qn_status qn__context_step(qn_context *c, const qn_step *step, qn_err *err)
{
    qn_rows x = qn__rows(c->x, step->n_rows, c->d->h.n_embd), res = qn__rows(c->res, step->n_rows, c->d->h.n_embd);
    assert(step->n_rows <= c->max_rows && (!step->logits || c->d->w.output.rows > 0));
    assert(!step->scores || c->d->w.cls_output.rows > 0);
    int n_runs = find_runs(c, step);
    begin(c, step, x, res);
    for (int i = 0; i < c->d->h.n_layers; i++) {
        if (step->cancelled && step->cancelled(step->cancel_arg))
            return qn__fail(err, QN_ECANCELLED, "step", "cancelled");
        qn__layer(c, i, n_runs, x);
    }
    finish(c, step, x);
    return QN_OK;
}
