/* layer.c - one layer, read from top to bottom: qn__layer() at the end, its parts before it. */
#include "model/context.h"

static qn_kv_place place(const qn_context *c, int index)
{
    const qn_layer *l = &c->d->w.layers[index];
    const qn_layer_shape *s = &c->d->h.layers[index];
    size_t at = l->kv_at[c->kv];
    return (qn_kv_place){.k_off = at, .v_off = at + (size_t)s->n_kv_heads * qn__kv_bytes(c->kv, s->head_k), .kv = c->kv,
                         .n_heads = s->n_heads, .n_kv_heads = s->n_kv_heads, .head_k = s->head_k, .head_v = s->head_v};
}

/* Rotate the part [at, at + n_rot) of each head; queries also take their temperature. */
static void rotate(qn_context *c, const qn_layer *l, qn_rows x, int head, int at, bool queries)
{
    const float *table = l->rope >= 0 ? c->tables[l->rope] : NULL, *scale = queries ? c->row_scale : NULL;
    int n_rot = table ? c->rope[l->rope].n_rot : 0;
    if (table || scale)
        c->dev->ops->rope(c->dev, x, head, at, n_rot, c->d->recipe->rope == QN_ROPE_NEOX, table, n_rot, scale);
}

/* att = softmax(q k^T) v over the sequence's pages, which take in this step's k and v first, unless an earlier layer's serve. */
static void look_back(qn_context *c, const qn_layer *l, int index, int n_runs, qn_rows q, qn_rows k, qn_rows v, qn_rows att)
{
    const qn_hparams *h = &c->d->h;
    qn_kv_place at = place(c, index);
    if (h->layers[index].kv_from == index)
        c->dev->ops->kv_store(c->dev, &at, k, v, c->runs, n_runs);
    c->dev->ops->attention(c->dev, &at, q, att, c->runs, n_runs, l->window, c->d->recipe->bidirectional, h->attn_scale,
                           h->attn_softcap, l->sinks);
}

/* out = attention(in) */
static void attend(qn_context *c, const qn_layer *l, int index, int n_runs, qn_rows in, qn_rows out)
{
    const qn_hparams *h = &c->d->h;
    const qn_device_ops *op = c->dev->ops;
    const qn_layer_shape *s = &h->layers[index];
    int heads = s->n_heads, n = in.rows, head = s->head_k;
    bool wide = c->d->recipe->gate == QN_GATE_QUERY, own = s->kv_from == index, values = l->v.rows > 0;
    qn_rows q = qn__rows(c->q, n, heads * head), k = qn__rows(c->k, n, l->k.rows), v = qn__rows(c->v, n, values ? l->v.rows : l->k.rows);
    qn_rows att = qn__rows(c->att, n, l->o.k), aux = qn__rows(c->aux, n, wide ? l->q.rows : heads);
    op->linear(c->dev, in, (qn_linear[]){{&l->q, wide ? aux : q}, {&l->k, k}, {&l->v, v}}, !own ? 1 : values ? 3 : 2);
    if (wide) /* each head: query, gate */
        op->take_heads(c->dev, aux, 2 * head, 0, q, head, 0, head, heads);
    if (own && !values)
        op->take_heads(c->dev, k, 0, 0, v, 0, 0, k.cols, 1);
    if (l->q_norm.w)
        op->head_norm(c->dev, &l->q_norm, h->norm_eps, q);
    if (l->k_norm.w)
        op->head_norm(c->dev, &l->k_norm, h->norm_eps, k);
    if (own && c->d->recipe->value_norm)
        op->head_norm(c->dev, &(qn_norm){.n = s->head_v}, h->norm_eps, v);
    rotate(c, l, q, head, 0, true);
    if (own)
        rotate(c, l, k, head, 0, false);
    look_back(c, l, index, n_runs, q, k, v, att);
    if (wide) {
        op->take_heads(c->dev, aux, 2 * head, head, q, head, 0, head, heads);
        op->gate(c->dev, att, q, 1);
    } else if (l->head_gate.rows > 0) {
        op->linear(c->dev, in, (qn_linear[]){{&l->head_gate, aux}}, 1);
        op->gate(c->dev, att, aux, s->head_v);
    }
    op->linear(c->dev, att, (qn_linear[]){{&l->o, out}}, 1);
}

/* Latent attention in its absorbed form (DeepSeek-V2, section 2.1.2): the cache holds one head, [compressed | rotated] as key
 * and [compressed] as value; a query is carried into the compressed space, a result out of it.
 * The value repeats a part of the key, at 47 % of the page. It is not read out of it: keys lie transposed, positions across
 * lanes, values do not (kernels.h), and sums over positions must not cross lanes. Turning the key round for each page and tile
 * would cost, by count, about a fourth of a page's sums with eight queries, which is what a thread has when it decodes; and
 * the page would be floats in a buffer where it is now read as it lies. */
static void attend_latent(qn_context *c, const qn_layer *l, int index, int n_runs, qn_rows in, qn_rows out)
{
    const qn_hparams *h = &c->d->h;
    const qn_device_ops *op = c->dev->ops;
    int heads = h->layers[index].n_heads, n = in.rows, own = h->nope + h->n_rot;
    qn_rows k = qn__rows(c->k, n, h->head_k), v = qn__rows(c->v, n, h->kv_lora), q = qn__rows(c->q, n, heads * h->head_k);
    qn_rows wide = qn__rows(c->aux, n, heads * own), att = qn__rows(c->att, n, heads * h->kv_lora);
    qn_rows values = qn__rows(c->aux, n, heads * h->latent_v);
    if (l->q_a.rows > 0) {
        qn_rows low = qn__rows(c->q, n, h->q_lora);
        op->linear(c->dev, in, (qn_linear[]){{&l->q_a, low}, {&l->kv_a, k}}, 2);
        op->norm(c->dev, QN_NORM_RMS, &l->q_a_norm, h->norm_eps, low, low);
        op->linear(c->dev, low, (qn_linear[]){{&l->q, wide}}, 1);
    } else {
        op->linear(c->dev, in, (qn_linear[]){{&l->q, wide}, {&l->kv_a, k}}, 2);
    }
    qn_rows compressed = k;
    compressed.cols = h->kv_lora;
    op->norm(c->dev, QN_NORM_RMS, &l->kv_a_norm, h->norm_eps, compressed, compressed);
    if (l->kv_b.rows > 0) /* what it would be multiplied with, were it not absorbed */
        qn__observe(c->dev, (qn_linear[]){{&l->kv_b, {0}}}, 1, (qn_seen){.x = compressed});
    op->take_heads(c->dev, k, 0, 0, v, 0, 0, h->kv_lora, 1);
    rotate(c, l, wide, own, h->nope, false);
    rotate(c, l, k, h->head_k, h->kv_lora, false);
    op->head_linear(c->dev, &l->k_b, wide, own, q, h->head_k);
    op->take_heads(c->dev, wide, own, h->nope, q, h->head_k, h->kv_lora, h->n_rot, heads);
    look_back(c, l, index, n_runs, q, k, v, att);
    op->head_linear(c->dev, &l->v_b, att, h->kv_lora, values, h->latent_v);
    op->linear(c->dev, values, (qn_linear[]){{&l->o, out}}, 1);
}

static qn_recurrent_shape recurrent_shape(const qn_context *c)
{
    const qn_hparams *h = &c->d->h;
    return (qn_recurrent_shape){.conv = h->conv, .state = h->state, .groups = h->groups, .heads = h->time_rank,
                                .inner = h->inner, .keys_tiled = c->d->recipe->key_heads_tiled, .eps = h->norm_eps};
}

/* Gated delta net (Yang 2024; Qwen3-Next): out = W (norm(rule(conv(qkv))) * silu(z)) */
static void delta(qn_context *c, const qn_layer *l, int n_runs, qn_rows in, qn_rows out)
{
    const qn_hparams *h = &c->d->h;
    const qn_device_ops *op = c->dev->ops;
    int n = in.rows, heads = h->time_rank, per_key = heads / h->groups;
    qn_recurrent_shape s = recurrent_shape(c);
    qn_rows qkv = qn__rows(c->aux, n, l->in.rows), z = qn__rows(c->q, n, h->inner), y = qn__rows(c->att, n, h->inner);
    qn_rows alpha = qn__rows(c->k, n, heads), beta = qn__rows(c->v, n, heads);
    if (l->ba.rows > 0) { /* for each key head: its betas, its alphas */
        qn_rows ba = qn__rows(c->pair, n, 2 * heads);
        op->linear(c->dev, in, (qn_linear[]){{&l->in, qkv}, {&l->z, z}, {&l->ba, ba}}, 3);
        op->take_heads(c->dev, ba, 2 * per_key, 0, beta, per_key, 0, per_key, h->groups);
        op->take_heads(c->dev, ba, 2 * per_key, per_key, alpha, per_key, 0, per_key, h->groups);
    } else {
        op->linear(c->dev, in, (qn_linear[]){{&l->in, qkv}, {&l->z, z}, {&l->alpha, alpha}, {&l->beta, beta}}, 4);
    }
    op->delta(c->dev, &s, l, qkv, alpha, beta, y, c->runs, n_runs);
    op->head_norm(c->dev, &l->ssm_norm, h->norm_eps, y);
    op->activate(c->dev, QN_FFN_SILU, 0, z, y, y);
    op->linear(c->dev, y, (qn_linear[]){{&l->ssm_out, out}}, 1);
}

/* Mamba-2 (Dao 2024) */
static void mamba(qn_context *c, const qn_layer *l, int n_runs, qn_rows in, qn_rows out)
{
    const qn_device_ops *op = c->dev->ops;
    qn_recurrent_shape s = recurrent_shape(c);
    qn_rows wide = qn__rows(c->aux, in.rows, l->in.rows), y = qn__rows(c->att, in.rows, c->d->h.inner);
    op->linear(c->dev, in, (qn_linear[]){{&l->in, wide}}, 1);
    op->mamba(c->dev, &s, l, wide, y, c->runs, n_runs);
    op->linear(c->dev, y, (qn_linear[]){{&l->ssm_out, out}}, 1);
}

/* out = down(act(gate(in)) * up(in)), or without a gate */
static void feed_forward(qn_context *c, const qn_weight *gate, const qn_weight *up, const qn_weight *down, float clamp,
                         qn_rows in, qn_rows out)
{
    const qn_device_ops *op = c->dev->ops;
    qn_rows g = qn__rows(c->gate, in.rows, up->rows), u = qn__rows(c->up, in.rows, up->rows);
    bool gated = gate->rows > 0;
    op->linear(c->dev, in, (qn_linear[]){{up, u}, {gate, g}}, gated ? 2 : 1);
    op->activate(c->dev, c->d->recipe->ffn, clamp, gated ? g : (qn_rows){0}, u, u);
    op->linear(c->dev, u, (qn_linear[]){{down, out}}, 1);
}

/* The experts of each row of in. */
static void choose(qn_context *c, const qn_layer *l, qn_rows in)
{
    const qn_hparams *h = &c->d->h;
    qn_rows logits = qn__rows(c->logits_route, in.rows, h->n_experts);
    qn_route_rule rule = {.kind = h->router, .normalise = h->router_normalises, .scale = h->router_scale,
                          .bias = l->router_bias, .gain = l->expert_gain, .n_experts = h->n_experts, .n_used = h->n_used,
                          .n_groups = h->n_groups, .n_groups_used = h->n_groups_used};
    c->dev->ops->linear(c->dev, in, (qn_linear[]){{&l->router, logits}}, 1);
    c->dev->ops->route(c->dev, &rule, logits, &c->routing);
}

/* out = sum of the chosen experts of in, and the shared one */
static void experts(qn_context *c, const qn_layer *l, const qn_layer_shape *s, qn_rows in, qn_rows out)
{
    const qn_hparams *h = &c->d->h;
    const qn_device_ops *op = c->dev->ops;
    int n = in.rows, slots = n * h->n_used, width = l->up_exps.k;
    bool gated = l->gate_exps.rows > 0, latent = l->latent_down.rows > 0;
    qn_rows gate = qn__rows(c->gate_exps, slots, l->up_exps.rows);
    qn_rows up = qn__rows(c->up_exps, slots, l->up_exps.rows), down = qn__rows(c->down_exps, slots, width);
    qn_rows small = qn__rows(c->latent, n, width), sum = latent ? qn__rows(c->latent + (size_t)n * (size_t)width, n, width) : out;
    if (latent)
        op->linear(c->dev, in, (qn_linear[]){{&l->latent_down, small}}, 1);
    op->expert_linear(c->dev, &c->routing, true, latent ? small : in, (qn_linear[]){{&l->up_exps, up}, {&l->gate_exps, gate}},
                      gated ? 2 : 1);
    op->activate(c->dev, c->d->recipe->ffn, s->clamp, gated ? gate : (qn_rows){0}, up, up);
    op->expert_linear(c->dev, &c->routing, false, up, (qn_linear[]){{&l->down_exps, down}}, 1);
    op->combine(c->dev, &c->routing, down, sum);
    if (latent)
        op->linear(c->dev, sum, (qn_linear[]){{&l->latent_up, out}}, 1);
    if (l->up_shared.rows == 0)
        return;
    qn_rows shared = qn__rows(c->shared, n, out.cols);
    feed_forward(c, &l->gate_shared, &l->up_shared, &l->down_shared, s->clamp_shared, in, shared);
    if (l->shared_gate.rows > 0) {
        qn_rows g = qn__rows(c->logits_route, n, 1);
        op->linear(c->dev, in, (qn_linear[]){{&l->shared_gate, g}}, 1);
        op->gate(c->dev, shared, g, shared.cols);
    }
    op->add(c->dev, out, shared, 1);
    op->finish(c->dev, out, c->d->recipe->shared_averaged ? 0.5f : 1, 0);
}

static qn_rows normed(qn_context *c, const qn_norm *n, qn_rows x, qn_rows y)
{
    if (!n->w)
        return x;
    c->dev->ops->norm(c->dev, c->d->recipe->norm, n, c->d->h.norm_eps, x, y);
    return y;
}

/* out = norm(dense(in)) + norm(experts(norm(x))), chosen by norm(x): in is x normed for the dense part; its rows are reused. */
static void experts_beside(qn_context *c, const qn_layer *l, const qn_layer_shape *s, qn_rows x, qn_rows in, qn_rows out)
{
    qn_rows other = qn__rows(c->shared, x.rows, x.cols);
    feed_forward(c, &l->gate, &l->up, &l->down, 0, in, out);
    (void)normed(c, &l->post_dense_norm, out, out);
    choose(c, l, normed(c, &l->router_norm, x, in));
    experts(c, l, s, normed(c, &l->experts_norm, x, in), other);
    (void)normed(c, &l->post_experts_norm, other, other);
    c->dev->ops->add(c->dev, out, other, 1);
}

/* x += norm(proj(act(gate(x)) * the tokens' embeddings for this layer)) */
static void add_embedding(qn_context *c, const qn_layer *l, int index, qn_rows x, qn_rows res)
{
    const qn_device_ops *op = c->dev->ops;
    int n = c->d->h.n_ple;
    qn_rows gate = qn__rows(c->gate, x.rows, n), own = qn__rows(c->ple, x.rows, c->d->h.n_layers * n);
    own.p += (size_t)index * (size_t)n;
    own.cols = n;
    op->linear(c->dev, x, (qn_linear[]){{&l->ple_gate, gate}}, 1);
    op->activate(c->dev, c->d->recipe->ffn, 0, gate, own, own);
    op->linear(c->dev, own, (qn_linear[]){{&l->ple_proj, res}}, 1);
    (void)normed(c, &l->ple_norm, res, res);
    op->add(c->dev, x, res, 1);
}

void qn__layer(qn_context *c, int index, int n_runs, qn_rows x)
{
    const qn_layer *l = &c->d->w.layers[index];
    const qn_layer_shape *s = &c->d->h.layers[index];
    const float scale = c->d->h.residual_scale;
    qn_rows n = qn__rows(c->n, x.rows, x.cols), res = qn__rows(c->res, x.rows, x.cols);

    qn_rows in = normed(c, &l->attn_norm, x, n);
    switch (s->mixer) {
    case QN_MIX_ATTENTION: attend(c, l, index, n_runs, in, res); break;
    case QN_MIX_LATENT: attend_latent(c, l, index, n_runs, in, res); break;
    case QN_MIX_DELTA: delta(c, l, n_runs, in, res); break;
    case QN_MIX_MAMBA2: mamba(c, l, n_runs, in, res); break;
    case QN_MIX_NONE: break;
    }
    if (s->mixer != QN_MIX_NONE) {
        (void)normed(c, &l->post_attn_norm, res, res);
        c->dev->ops->add(c->dev, x, res, scale);
        (void)normed(c, &l->sum_attn_norm, x, x);
        if (!c->d->recipe->parallel) /* else the ffn reads what attention read, which is still in n */
            in = normed(c, &l->ffn_norm, x, n);
    }
    if (s->experts && c->d->recipe->experts_norm) {
        experts_beside(c, l, s, x, in, res);
    } else if (s->experts) {
        choose(c, l, in);
        experts(c, l, s, in, res);
    } else if (s->n_ff > 0) {
        feed_forward(c, &l->gate, &l->up, &l->down, 0, in, res);
    }
    if (s->experts || s->n_ff > 0) {
        (void)normed(c, &l->post_ffn_norm, res, res);
        c->dev->ops->add(c->dev, x, res, scale);
        (void)normed(c, &l->sum_ffn_norm, x, x);
    }
    if (l->ple_gate.rows > 0)
        add_embedding(c, l, index, x, res);
    c->dev->ops->finish(c->dev, x, l->out_scale, 0);
}
