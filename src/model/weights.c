/* weights.c - see weights.h. */
#include "model/weights.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "kernels/dequant.h"

/* State of one binding. After the first failure everything is a no-op. */
typedef struct binder {
    const qn_gguf *g;
    const qn_recipe *r;
    const qn_hparams *h;
    qn_weights *w;
    bool *used; /* per tensor of the file */
    size_t n_used;
    qn_err *err;
    qn_status status;
    char name[96];
} binder;

static const char *layer_name(binder *b, int layer, const char *what, const char *suffix)
{
    if (layer >= 0)
        (void)snprintf(b->name, sizeof b->name, "blk.%d.%s.%s", layer, what, suffix);
    else
        (void)snprintf(b->name, sizeof b->name, "%s.%s", what, suffix);
    return b->name;
}

static void fail_shape(binder *b, const qn_gguf_tensor *t, const char *expected)
{
    char is[96];
    int n = 0;
    for (uint32_t i = 0; i < t->n_dims && n >= 0 && (size_t)n < sizeof is; i++)
        n += snprintf(is + n, sizeof is - (size_t)n, "%s%llu", i ? ", " : "", (unsigned long long)t->dims[i]);
    b->status = qn__fail(b->err, QN_EFORMAT, b->name, "has shape [%s], but architecture %s with this file's numbers needs [%s]",
                         is, b->r->architecture, expected);
}

/* Find a tensor by b->name and mark it used. NULL when absent (an error when required). */
static const qn_gguf_tensor *take(binder *b, qn_presence presence)
{
    if (b->status != QN_OK || presence == QN_NEVER)
        return NULL;
    const qn_gguf_tensor *t = qn__gguf_find(b->g, b->name);
    if (!t) {
        if (presence == QN_ALWAYS)
            b->status = qn__fail(b->err, QN_EFORMAT, b->name, "the tensor is missing; architecture %s needs it", b->r->architecture);
        return NULL;
    }
    if (!qn__dequant_has(t->type)) {
        const qn_type_info *info = qn__type_info(t->type);
        b->status = qn__fail(b->err, QN_EUNSUPPORTED, b->name, "its type %s holds no weights that this build computes with", info ? info->name : "?");
        return NULL;
    }
    size_t i = (size_t)(t - qn__gguf_tensor(b->g, 0));
    if (!b->used[i]) {
        b->used[i] = true;
        b->n_used++;
        uint64_t n = 1;
        for (uint32_t d = 0; d < t->n_dims; d++)
            n *= t->dims[d]; /* bounded by the file's size: checked on reading */
        b->w->n_params += n;
    }
    return t;
}

/* A tensor's values as floats, whatever its dimensions, when it holds `rows` rows of n. */
static const float *floats(binder *b, int n, int rows, qn_presence presence)
{
    const qn_gguf_tensor *t = take(b, presence);
    if (!t)
        return NULL;
    bool flat = n == 1 && t->dims[0] == (uint64_t)rows && t->dims[1] == 1; /* [rows] serves as [1, rows] */
    if (!flat && (t->dims[0] != (uint64_t)n || t->dims[1] != (uint64_t)rows || t->dims[2] != 1 || t->dims[3] != 1)) {
        char expected[40];
        (void)snprintf(expected, sizeof expected, rows > 1 ? "%d, %d" : "%d", n, rows);
        fail_shape(b, t, expected);
        return NULL;
    }
    size_t bytes = (size_t)n * (size_t)rows * sizeof(float); /* what the file itself holds, at most times 32 */
    float *v = qn__arena_alloc(&b->w->arena, bytes);
    if (!v) {
        b->status = qn__fail_mem(b->err, b->name);
        return NULL;
    }
    if (flat)
        qn__dequant_row(t->type, t->data, v, (size_t)rows);
    for (int i = 0; !flat && i < rows; i++)
        qn__dequant_row(t->type, t->data + (size_t)i * t->row_bytes, v + (size_t)i * (size_t)n, (size_t)n);
    return v;
}

/* n floats, converted. */
static const float *vector(binder *b, int n, qn_presence presence)
{
    return floats(b, n, 1, presence);
}

static qn_norm norm(binder *b, int layer, const char *what, int n, qn_presence presence)
{
    qn_norm out = {0};
    if (!what)
        return out;
    (void)layer_name(b, layer, what, "weight");
    out.w = vector(b, n, presence);
    if (out.w) {
        out.n = n;
        (void)layer_name(b, layer, what, "bias");
        out.b = vector(b, n, b->r->norm_bias);
    }
    return out;
}

static bool shape_is(binder *b, const qn_gguf_tensor *t, int k, int rows, int count)
{
    if (t->dims[0] == (uint64_t)k && t->dims[1] == (uint64_t)rows && t->dims[2] == (uint64_t)count && t->dims[3] == 1)
        return true;
    char expected[60];
    (void)snprintf(expected, sizeof expected, count > 1 ? "%d, %d, %d" : "%d, %d", k, rows, count);
    fail_shape(b, t, expected);
    return false;
}

/* Rows [first, first + rows) of a matrix of k columns and `all` rows, with the same rows of its bias. */
static qn_weight slice(binder *b, int layer, const char *what, int k, int all, int first, int rows, qn_presence presence,
                       qn_presence bias)
{
    qn_weight out = {0};
    (void)layer_name(b, layer, what, "weight");
    const qn_gguf_tensor *t = take(b, presence);
    if (!t || !shape_is(b, t, k, all, 1))
        return out;
    (void)layer_name(b, layer, what, "bias");
    const float *v = vector(b, all, bias);
    out = (qn_weight){.data = t->data + (size_t)first * t->row_bytes, .row_bytes = t->row_bytes, .rows = rows, .k = k, .count = 1,
                      .type = t->type, .bias = v ? v + first : NULL, .tensor = first == 0 ? t : NULL};
    return out;
}

static qn_weight matrix(binder *b, int layer, const char *what, int k, int rows, qn_presence presence, qn_presence bias)
{
    return slice(b, layer, what, k, rows, 0, rows, presence, bias);
}

/* `count` matrices of one shape, with count x rows biases. Of a merged tensor of `all` rows each: the rows from `first`. */
static qn_weight stack(binder *b, int layer, const char *what, int k, int all, int first, int rows, int count,
                       qn_presence presence, qn_presence bias)
{
    qn_weight out = {0};
    (void)layer_name(b, layer, what, "weight");
    const qn_gguf_tensor *t = take(b, presence);
    if (!t || !shape_is(b, t, k, all, count))
        return out;
    out = (qn_weight){.data = t->data + (size_t)first * t->row_bytes, .row_bytes = t->row_bytes, .rows = rows, .k = k,
                      .count = count, .stride = t->row_bytes * (size_t)all, .type = t->type, .tensor = first == 0 ? t : NULL};
    (void)layer_name(b, layer, what, "bias");
    out.bias = all == rows ? floats(b, rows, count, bias) : NULL;
    return out;
}

static bool has(binder *b, int layer, const char *what)
{
    return qn__gguf_find(b->g, layer_name(b, layer, what, "weight")) != NULL;
}

static void bind_attention(binder *b, int i, const qn_layer_shape *s, qn_layer *l)
{
    const qn_recipe *r = b->r;
    const qn_hparams *h = b->h;
    bool own = s->kv_from == i;
    qn_presence of_keys = own ? QN_ALWAYS : QN_MAYBE; /* files carry those of layers that read others', too */
    int nq = s->n_heads * s->head_k, nk = s->n_kv_heads * s->head_k, nv = s->n_kv_heads * s->head_v;
    int wide = r->gate == QN_GATE_QUERY ? 2 * nq : nq; /* each head's query is followed by its gate */
    if (has(b, i, "attn_qkv")) { /* one matrix, queries first */
        int all = wide + nk + nv;
        l->q = slice(b, i, "attn_qkv", h->n_embd, all, 0, wide, QN_ALWAYS, r->qkv_bias);
        l->k = slice(b, i, "attn_qkv", h->n_embd, all, wide, nk, QN_ALWAYS, r->qkv_bias);
        l->v = slice(b, i, "attn_qkv", h->n_embd, all, wide + nk, nv, QN_ALWAYS, r->qkv_bias);
    } else {
        l->q = matrix(b, i, "attn_q", h->n_embd, wide, QN_ALWAYS, r->qkv_bias);
        l->k = matrix(b, i, "attn_k", h->n_embd, nk, of_keys, r->qkv_bias);
        l->v = matrix(b, i, "attn_v", h->n_embd, nv, r->keys_as_values && nk == nv ? QN_MAYBE : of_keys, r->qkv_bias);
    }
    l->o = matrix(b, i, "attn_output", s->n_heads * s->head_v, h->n_embd, QN_ALWAYS, r->out_bias);
    if (r->qk_norm != QN_QK_NONE) {
        bool full = r->qk_norm == QN_QK_FULL;
        qn_presence p = r->qk_norm_presence == QN_MAYBE ? QN_MAYBE : QN_ALWAYS;
        l->q_norm = norm(b, i, "attn_q_norm", full ? nq : s->head_k, p);
        l->k_norm = norm(b, i, "attn_k_norm", full ? nk : s->head_k, own ? p : QN_MAYBE);
    }
    if (!own) {
        l->k = l->v = (qn_weight){0};
        l->k_norm = (qn_norm){0};
    }
    if (r->gate == QN_GATE_HEAD)
        l->head_gate = matrix(b, i, "attn_gate", h->n_embd, s->n_heads, QN_MAYBE, QN_NEVER);
    (void)layer_name(b, i, "attn_sinks", "weight");
    l->sinks = vector(b, s->n_heads, r->sinks ? QN_ALWAYS : QN_NEVER);
}

/* The older layout keeps [nope + v rows] x kv_lora for each head in one matrix. The absorbed form needs its first part
 * transposed: that is computed once, in F32, exactly. */
static void split_latent(binder *b, int i, const qn_layer_shape *s, qn_layer *l)
{
    const qn_hparams *h = b->h;
    int per_head = h->nope + h->latent_v;
    qn_weight both = matrix(b, i, "attn_kv_b", h->kv_lora, s->n_heads * per_head, QN_ALWAYS, QN_NEVER);
    if (b->status != QN_OK)
        return;
    l->kv_b = both;
    size_t nope = (size_t)h->nope, lora = (size_t)h->kv_lora, heads = (size_t)s->n_heads;
    float *t = qn__arena_alloc(&b->w->arena, heads * nope * lora * sizeof *t);
    float *row = qn__arena_alloc(&b->w->arena, lora * sizeof *row);
    if (!t || !row) {
        b->status = qn__fail_mem(b->err, b->name);
        return;
    }
    for (size_t head = 0; head < heads; head++)
        for (size_t n = 0; n < nope; n++) {
            qn__dequant_row(both.type, both.data + (head * (size_t)per_head + n) * both.row_bytes, row, lora);
            for (size_t c = 0; c < lora; c++)
                t[(head * lora + c) * nope + n] = row[c];
        }
    l->k_b = (qn_weight){.data = (const unsigned char *)t, .row_bytes = nope * 4, .rows = h->kv_lora, .k = h->nope,
                         .count = s->n_heads, .stride = lora * nope * 4, .type = QN_F32};
    l->v_b = (qn_weight){.data = both.data + nope * both.row_bytes, .row_bytes = both.row_bytes, .rows = h->latent_v,
                         .k = h->kv_lora, .count = s->n_heads, .stride = (size_t)per_head * both.row_bytes, .type = both.type};
}

static void bind_latent(binder *b, int i, const qn_layer_shape *s, qn_layer *l)
{
    const qn_hparams *h = b->h;
    int nq = s->n_heads * (h->nope + h->n_rot);
    if (h->q_lora > 0) {
        l->q_a = matrix(b, i, "attn_q_a", h->n_embd, h->q_lora, QN_ALWAYS, QN_NEVER);
        l->q_a_norm = norm(b, i, "attn_q_a_norm", h->q_lora, QN_ALWAYS);
        l->q = matrix(b, i, "attn_q_b", h->q_lora, nq, QN_ALWAYS, QN_NEVER);
    } else {
        l->q = matrix(b, i, "attn_q", h->n_embd, nq, QN_ALWAYS, QN_NEVER);
    }
    l->kv_a = matrix(b, i, "attn_kv_a_mqa", h->n_embd, h->kv_lora + h->n_rot, QN_ALWAYS, QN_NEVER);
    l->kv_a_norm = norm(b, i, "attn_kv_a_norm", h->kv_lora, QN_ALWAYS);
    if (has(b, i, "attn_k_b")) {
        l->k_b = stack(b, i, "attn_k_b", h->nope, h->kv_lora, 0, h->kv_lora, s->n_heads, QN_ALWAYS, QN_NEVER);
        l->v_b = stack(b, i, "attn_v_b", h->kv_lora, h->latent_v, 0, h->latent_v, s->n_heads, QN_ALWAYS, QN_NEVER);
        /* Some files carry the older layout as well: known, not needed. */
        (void)matrix(b, i, "attn_kv_b", h->kv_lora, s->n_heads * (h->nope + h->latent_v), QN_MAYBE, QN_NEVER);
    } else {
        split_latent(b, i, s, l);
    }
    l->o = matrix(b, i, "attn_output", s->n_heads * h->latent_v, h->n_embd, QN_ALWAYS, QN_NEVER);
}

static const float *named(binder *b, int i, const char *what, const char *suffix, int n, int rows, qn_presence presence)
{
    if (suffix)
        (void)layer_name(b, i, what, suffix);
    else
        (void)snprintf(b->name, sizeof b->name, "blk.%d.%s", i, what);
    return floats(b, n, rows, presence);
}

static void bind_recurrent(binder *b, int i, const qn_layer_shape *s, qn_layer *l)
{
    const qn_hparams *h = b->h;
    bool delta = s->mixer == QN_MIX_DELTA;
    int keys = h->groups * h->state, channels = h->inner + 2 * keys, heads = h->time_rank;
    if (delta) {
        l->in = matrix(b, i, "attn_qkv", h->n_embd, channels, QN_ALWAYS, QN_NEVER);
        l->z = matrix(b, i, "attn_gate", h->n_embd, h->inner, QN_ALWAYS, QN_NEVER);
        if (has(b, i, "ssm_ba")) {
            l->ba = matrix(b, i, "ssm_ba", h->n_embd, 2 * heads, QN_ALWAYS, QN_NEVER);
        } else {
            l->alpha = matrix(b, i, "ssm_alpha", h->n_embd, heads, QN_ALWAYS, QN_NEVER);
            l->beta = matrix(b, i, "ssm_beta", h->n_embd, heads, QN_ALWAYS, QN_NEVER);
        }
        l->ssm_norm = norm(b, i, "ssm_norm", h->inner / heads, QN_ALWAYS);
    } else {
        l->in = matrix(b, i, "ssm_in", h->n_embd, h->inner + channels + heads, QN_ALWAYS, QN_NEVER);
        l->conv_bias = named(b, i, "ssm_conv1d", "bias", channels, 1, QN_MAYBE);
        l->skip = named(b, i, "ssm_d", NULL, 1, heads, QN_ALWAYS);
        l->ssm_norm.w = named(b, i, "ssm_norm", "weight", h->inner / h->groups, h->groups, QN_ALWAYS);
        l->ssm_norm.n = h->inner / h->groups;
    }
    l->conv = named(b, i, "ssm_conv1d", "weight", h->conv, channels, QN_ALWAYS);
    l->a = named(b, i, "ssm_a", NULL, 1, heads, QN_ALWAYS);
    l->dt_bias = named(b, i, "ssm_dt", "bias", heads, 1, QN_ALWAYS);
    l->ssm_out = matrix(b, i, "ssm_out", h->inner, h->n_embd, QN_ALWAYS, QN_NEVER);
    l->state_at = b->w->state_floats;
    b->w->state_floats += (size_t)(h->conv - 1) * (size_t)channels + (size_t)h->state * (size_t)h->inner;
}

static void bind_ffn(binder *b, int i, const qn_layer_shape *s, qn_layer *l)
{
    const qn_recipe *r = b->r;
    const qn_hparams *h = b->h;
    if (r->ffn == QN_FFN_PLAIN_GELU || r->ffn == QN_FFN_PLAIN_RELU2) {
        l->up = matrix(b, i, "ffn_up", h->n_embd, s->n_ff, QN_ALWAYS, r->ffn_bias);
    } else if (has(b, i, "ffn_gate")) {
        l->gate = matrix(b, i, "ffn_gate", h->n_embd, s->n_ff, QN_ALWAYS, r->ffn_bias);
        l->up = matrix(b, i, "ffn_up", h->n_embd, s->n_ff, QN_ALWAYS, r->ffn_bias);
    } else { /* gate and up in one matrix, gate first */
        l->gate = slice(b, i, "ffn_up", h->n_embd, 2 * s->n_ff, 0, s->n_ff, QN_ALWAYS, r->ffn_bias);
        l->up = slice(b, i, "ffn_up", h->n_embd, 2 * s->n_ff, s->n_ff, s->n_ff, QN_ALWAYS, r->ffn_bias);
    }
    l->down = matrix(b, i, "ffn_down", s->n_ff, h->n_embd, QN_ALWAYS, r->ffn_bias);
}

/* What experts beside a dense part have of their own. The router's norm ends in a division by sqrt(n_embd). */
static void bind_beside(binder *b, int i, qn_layer *l)
{
    const qn_hparams *h = b->h;
    l->experts_norm = norm(b, i, b->r->experts_norm, h->n_embd, QN_ALWAYS);
    l->post_dense_norm = norm(b, i, b->r->post_dense_norm, h->n_embd, QN_ALWAYS);
    l->post_experts_norm = norm(b, i, b->r->post_experts_norm, h->n_embd, QN_ALWAYS);
    l->expert_gain = named(b, i, "ffn_down_exps", "scale", h->n_experts, 1, QN_MAYBE);
    const float *v = b->r->router_norm ? named(b, i, "ffn_gate_inp", "scale", h->n_embd, 1, QN_ALWAYS) : NULL;
    float *w = v ? qn__arena_alloc(&b->w->arena, (size_t)h->n_embd * sizeof *w) : NULL;
    if (v && !w)
        b->status = qn__fail_mem(b->err, b->name);
    for (int n = 0; w && n < h->n_embd; n++)
        w[n] = (float)((double)v[n] / sqrt(h->n_embd));
    l->router_norm = (qn_norm){.w = w, .n = h->n_embd};
}

static void bind_experts(binder *b, int i, qn_layer *l)
{
    const qn_recipe *r = b->r;
    const qn_hparams *h = b->h;
    int n = h->n_experts, ff = h->n_ff_expert, width = h->n_latent_ff > 0 ? h->n_latent_ff : h->n_embd, sh = h->n_ff_shared;
    bool plain = r->ffn == QN_FFN_PLAIN_GELU || r->ffn == QN_FFN_PLAIN_RELU2;
    l->router = matrix(b, i, "ffn_gate_inp", h->n_embd, n, QN_ALWAYS, r->ffn_bias);
    l->router_bias = named(b, i, "exp_probs_b", "bias", n, 1, QN_MAYBE);
    if (h->n_latent_ff > 0) {
        l->latent_down = matrix(b, i, "ffn_latent_down", h->n_embd, width, QN_ALWAYS, QN_NEVER);
        l->latent_up = matrix(b, i, "ffn_latent_up", width, h->n_embd, QN_ALWAYS, QN_NEVER);
    }
    if (!plain && has(b, i, "ffn_gate_up_exps")) {
        l->gate_exps = stack(b, i, "ffn_gate_up_exps", width, 2 * ff, 0, ff, n, QN_ALWAYS, QN_NEVER);
        l->up_exps = stack(b, i, "ffn_gate_up_exps", width, 2 * ff, ff, ff, n, QN_ALWAYS, QN_NEVER);
    } else {
        if (!plain)
            l->gate_exps = stack(b, i, "ffn_gate_exps", width, ff, 0, ff, n, QN_ALWAYS, r->ffn_bias);
        l->up_exps = stack(b, i, "ffn_up_exps", width, ff, 0, ff, n, QN_ALWAYS, r->ffn_bias);
    }
    l->down_exps = stack(b, i, "ffn_down_exps", ff, width, 0, width, n, QN_ALWAYS, r->ffn_bias);
    if (sh == 0)
        return;
    if (!plain)
        l->gate_shared = matrix(b, i, "ffn_gate_shexp", h->n_embd, sh, QN_ALWAYS, QN_NEVER);
    l->up_shared = matrix(b, i, "ffn_up_shexp", h->n_embd, sh, QN_ALWAYS, QN_NEVER);
    l->down_shared = matrix(b, i, "ffn_down_shexp", sh, h->n_embd, QN_ALWAYS, QN_NEVER);
    if (has(b, i, "ffn_gate_inp_shexp")) { /* one row, stored as a vector */
        const float *v = named(b, i, "ffn_gate_inp_shexp", "weight", h->n_embd, 1, QN_ALWAYS);
        l->shared_gate = (qn_weight){.data = (const unsigned char *)v, .row_bytes = (size_t)h->n_embd * 4, .rows = v ? 1 : 0,
                                     .k = h->n_embd, .count = 1, .type = QN_F32};
    }
}

static const float *factors(binder *b, const char *what, qn_presence presence)
{
    (void)layer_name(b, -1, what, "weight");
    const float *f = b->r->rope != QN_ROPE_NONE ? vector(b, b->h->n_rot / 2, presence) : NULL;
    for (int i = 0; f && i < b->h->n_rot / 2; i++)
        if (!(f[i] > 1e-6f && f[i] < 1e31f)) { /* 1e30 is how files say that a pair does not turn */
            b->status = qn__fail(b->err, QN_EFORMAT, b->name, "factor %d is %g; it must be positive", i, (double)f[i]);
            return NULL;
        }
    return f;
}

static void bind_ends(binder *b)
{
    const qn_recipe *r = b->r;
    const qn_hparams *h = b->h;
    qn_weights *w = b->w;
    w->embed = matrix(b, -1, "token_embd", h->n_embd, h->n_vocab, QN_ALWAYS, QN_NEVER);
    if (r->learned_positions)
        w->positions = matrix(b, -1, "position_embd", h->n_embd, h->n_ctx_train, QN_ALWAYS, QN_NEVER);
    if (r->token_types) {
        const qn_gguf_tensor *t = qn__gguf_find(b->g, layer_name(b, -1, "token_types", "weight"));
        w->n_token_types = t && t->dims[1] <= 16 ? (int)t->dims[1] : 1;
        w->token_type = floats(b, h->n_embd, w->n_token_types, QN_ALWAYS);
    }
    if (r->embedding_only) {
        const qn_gguf_tensor *labels = qn__gguf_find(b->g, layer_name(b, -1, "cls.output", "weight"));
        w->embed_norm = norm(b, -1, "token_embd_norm", h->n_embd, QN_ALWAYS);
        w->cls_output = matrix(b, -1, "cls.output", h->n_embd, labels && labels->dims[1] <= 4096 ? (int)labels->dims[1] : 1, QN_MAYBE, QN_MAYBE);
        w->cls = matrix(b, -1, "cls", h->n_embd, h->n_embd, labels ? QN_MAYBE : QN_NEVER, QN_MAYBE);
    } else {
        w->output_norm = norm(b, -1, "output_norm", h->n_embd, QN_ALWAYS);
        w->output = has(b, -1, "output") ? matrix(b, -1, "output", h->n_embd, h->n_vocab, QN_ALWAYS, QN_MAYBE) : w->embed;
    }
    w->rope_factors = factors(b, "rope_freqs", r->rope_factors == QN_ALWAYS ? QN_ALWAYS : QN_MAYBE);
    w->rope_factors_long = factors(b, "rope_factors_long", QN_MAYBE);
    w->rope_factors_short = factors(b, "rope_factors_short", QN_MAYBE);
    if (h->n_ple > 0) {
        w->ple_embed = matrix(b, -1, "per_layer_token_embd", h->n_layers * h->n_ple, h->n_vocab, QN_ALWAYS, QN_NEVER);
        w->ple_model_proj = matrix(b, -1, "per_layer_model_proj", h->n_embd, h->n_layers * h->n_ple, QN_ALWAYS, QN_NEVER);
        w->ple_proj_norm = norm(b, -1, "per_layer_proj_norm", h->n_ple, QN_ALWAYS);
    }
}

/* Where layer i's keys and values lie in a page: behind the layers' before it, or where the layer has them that it reads. */
static void place_kv(qn_weights *w, int i, const qn_layer_shape *s, qn_layer *l)
{
    for (int kv = 0; kv < QN__KV__COUNT; kv++)
        if (s->kv_from == i) {
            l->kv_at[kv] = w->kv_bytes[kv];
            w->kv_bytes[kv] += (size_t)s->n_kv_heads * (qn__kv_bytes((qn_kv)kv, s->head_k) + qn__kv_bytes((qn_kv)kv, s->head_v));
        } else {
            l->kv_at[kv] = w->layers[s->kv_from].kv_at[kv];
        }
}

/* What comes behind the ffn. */
static void bind_end(binder *b, int i, qn_layer *l)
{
    const qn_hparams *h = b->h;
    if (h->n_ple > 0) {
        l->ple_gate = matrix(b, i, "inp_gate", h->n_embd, h->n_ple, QN_ALWAYS, QN_NEVER);
        l->ple_proj = matrix(b, i, "proj", h->n_ple, h->n_embd, QN_ALWAYS, QN_NEVER);
        l->ple_norm = norm(b, i, "post_norm", h->n_embd, QN_ALWAYS);
    }
    const float *scale = b->r->out_scale ? named(b, i, "layer_output_scale", "weight", 1, 1, QN_MAYBE) : NULL;
    if (scale && !isfinite(*scale))
        b->status = qn__fail(b->err, QN_EFORMAT, b->name, "is not a finite number");
    else if (scale)
        l->out_scale = *scale;
}

static void bind_layer(binder *b, int i, qn_layer *l)
{
    const qn_recipe *r = b->r;
    const qn_hparams *h = b->h;
    const qn_layer_shape *s = &h->layers[i];
    bool full_rope = !r->rope_windowed_only || s->windowed || i < h->n_dense;
    *l = (qn_layer){.window = s->windowed ? h->window : 0, .out_scale = 1};
    l->rope = r->rope == QN_ROPE_NONE || !full_rope ? -1 : s->windowed;
    l->attn_norm = norm(b, i, r->attn_norm, h->n_embd, QN_ALWAYS);
    l->post_attn_norm = norm(b, i, r->post_attn_norm, h->n_embd, QN_ALWAYS);
    l->ffn_norm = norm(b, i, r->ffn_norm, h->n_embd, QN_ALWAYS);
    l->post_ffn_norm = norm(b, i, r->post_ffn_norm, h->n_embd, QN_ALWAYS);
    l->sum_attn_norm = norm(b, i, r->sum_attn_norm, h->n_embd, QN_ALWAYS);
    l->sum_ffn_norm = norm(b, i, r->sum_ffn_norm, h->n_embd, QN_ALWAYS);
    switch (s->mixer) {
    case QN_MIX_ATTENTION: bind_attention(b, i, s, l); break;
    case QN_MIX_LATENT: bind_latent(b, i, s, l); break;
    case QN_MIX_MAMBA2: case QN_MIX_DELTA: bind_recurrent(b, i, s, l); break;
    case QN_MIX_NONE: break;
    }
    if (s->mixer == QN_MIX_ATTENTION || s->mixer == QN_MIX_LATENT)
        place_kv(b->w, i, s, l);
    if (s->experts)
        bind_experts(b, i, l);
    if (s->experts && r->experts_norm)
        bind_beside(b, i, l);
    if (s->n_ff > 0 && (!s->experts || r->experts_norm))
        bind_ffn(b, i, s, l);
    bind_end(b, i, l);
}

static void bind_all(binder *b)
{
    qn_weights *w = b->w;
    int n = b->h->n_layers;
    bind_ends(b);
    /* A layer's fields cost less than its tensors' table entries do; still, hold no more than the file warrants. */
    if (b->status == QN_OK && (size_t)n > qn__gguf_n_tensors(b->g))
        b->status = qn__fail(b->err, QN_EFORMAT, "block_count", "says %d layers, but the file has only %zu tensors", n, qn__gguf_n_tensors(b->g));
    w->layers = b->status == QN_OK ? qn__arena_alloc(&w->arena, (size_t)n * sizeof *w->layers) : NULL;
    if (b->status == QN_OK && !w->layers)
        b->status = qn__fail_mem(b->err, "layers");
    for (int i = 0; i < n && b->status == QN_OK; i++)
        bind_layer(b, i, &w->layers[i]);
}

/* Blocks behind the last layer (next-token predictors) are known and not run. */
static bool not_run(const qn_hparams *h, qn_slice name)
{
    int block = 0;
    size_t i = 4;
    if (h->n_nextn == 0 || name.n < 6 || memcmp(name.p, "blk.", 4) != 0)
        return false;
    for (; i < name.n && i < 9 && name.p[i] >= '0' && name.p[i] <= '9'; i++)
        block = block * 10 + (name.p[i] - '0');
    return i > 4 && i < name.n && name.p[i] == '.' && block >= h->n_layers && block < h->n_layers + h->n_nextn;
}

qn_status qn__weights_bind(const qn_gguf *g, const qn_recipe *r, const qn_hparams *h, qn_weights *w, qn_err *err)
{
    size_t n = qn__gguf_n_tensors(g);
    binder b = {.g = g, .r = r, .h = h, .w = w, .err = err};
    *w = (qn_weights){0};
    qn__arena_init(&w->arena, 0);
    b.used = qn__calloc(n, sizeof *b.used);
    if (!b.used)
        return qn__fail_mem(err, "tensors");
    bind_all(&b);
    for (size_t i = 0; i < n && b.status == QN_OK && b.n_used < n; i++)
        if (!b.used[i] && !not_run(h, qn__gguf_tensor(g, i)->name)) {
            char name[96];
            qn_slice s = qn__gguf_tensor(g, i)->name;
            (void)snprintf(name, sizeof name, "%.*s", (int)(s.n < 90 ? s.n : 90), s.p);
            b.status = qn__fail(err, QN_EUNSUPPORTED, name, "the tensor has no place in architecture %s as this build knows it; running without it would compute something else", r->architecture);
        }
    qn_free(b.used);
    if (b.status != QN_OK)
        qn__weights_free(w);
    return b.status;
}

void qn__weights_free(qn_weights *w)
{
    qn__arena_free(&w->arena);
    *w = (qn_weights){0};
}
