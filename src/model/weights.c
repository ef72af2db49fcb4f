/* weights.c - see weights.h. */
#include "model/weights.h"

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

/* n floats, converted. */
static const float *vector(binder *b, int n, qn_presence presence)
{
    const qn_gguf_tensor *t = take(b, presence);
    if (!t)
        return NULL;
    if (t->dims[0] != (uint64_t)n || t->dims[1] != 1 || t->dims[2] != 1 || t->dims[3] != 1) {
        char expected[24];
        (void)snprintf(expected, sizeof expected, "%d", n);
        fail_shape(b, t, expected);
        return NULL;
    }
    float *v = qn__arena_alloc(&b->w->arena, (size_t)n * sizeof *v);
    if (!v) {
        b->status = qn__fail_mem(b->err, b->name);
        return NULL;
    }
    qn__dequant_row(t->type, t->data, v, (size_t)n);
    return v;
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

static bool shape_is(binder *b, const qn_gguf_tensor *t, int k, int rows)
{
    if (t->dims[0] == (uint64_t)k && t->dims[1] == (uint64_t)rows && t->dims[2] == 1 && t->dims[3] == 1)
        return true;
    char expected[40];
    (void)snprintf(expected, sizeof expected, "%d, %d", k, rows);
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
    if (!t || !shape_is(b, t, k, all))
        return out;
    (void)layer_name(b, layer, what, "bias");
    const float *v = vector(b, all, bias);
    out = (qn_weight){.data = t->data + (size_t)first * t->row_bytes, .row_bytes = t->row_bytes, .rows = rows, .k = k,
                      .type = t->type, .bias = v ? v + first : NULL};
    return out;
}

static qn_weight matrix(binder *b, int layer, const char *what, int k, int rows, qn_presence presence, qn_presence bias)
{
    return slice(b, layer, what, k, rows, 0, rows, presence, bias);
}

static bool has(binder *b, int layer, const char *what)
{
    return qn__gguf_find(b->g, layer_name(b, layer, what, "weight")) != NULL;
}

static void bind_attention(binder *b, int i, qn_layer *l)
{
    const qn_recipe *r = b->r;
    const qn_hparams *h = b->h;
    int nq = h->n_heads * h->head_k, nk = h->n_kv_heads * h->head_k, nv = h->n_kv_heads * h->head_v;
    if (has(b, i, "attn_qkv")) { /* one matrix, queries first */
        int all = nq + nk + nv;
        l->q = slice(b, i, "attn_qkv", h->n_embd, all, 0, nq, QN_ALWAYS, r->qkv_bias);
        l->k = slice(b, i, "attn_qkv", h->n_embd, all, nq, nk, QN_ALWAYS, r->qkv_bias);
        l->v = slice(b, i, "attn_qkv", h->n_embd, all, nq + nk, nv, QN_ALWAYS, r->qkv_bias);
    } else {
        l->q = matrix(b, i, "attn_q", h->n_embd, nq, QN_ALWAYS, r->qkv_bias);
        l->k = matrix(b, i, "attn_k", h->n_embd, nk, QN_ALWAYS, r->qkv_bias);
        l->v = matrix(b, i, "attn_v", h->n_embd, nv, QN_ALWAYS, r->qkv_bias);
    }
    l->o = matrix(b, i, "attn_output", h->n_heads * h->head_v, h->n_embd, QN_ALWAYS, r->out_bias);
    if (r->qk_norm != QN_QK_NONE) {
        bool full = r->qk_norm == QN_QK_FULL;
        l->q_norm = norm(b, i, "attn_q_norm", full ? nq : h->head_k, QN_ALWAYS);
        l->k_norm = norm(b, i, "attn_k_norm", full ? nk : h->head_k, QN_ALWAYS);
    }
}

static void bind_ffn(binder *b, int i, qn_layer *l)
{
    const qn_recipe *r = b->r;
    const qn_hparams *h = b->h;
    if (r->ffn == QN_FFN_PLAIN_GELU) {
        l->up = matrix(b, i, "ffn_up", h->n_embd, h->n_ff, QN_ALWAYS, r->ffn_bias);
    } else if (has(b, i, "ffn_gate")) {
        l->gate = matrix(b, i, "ffn_gate", h->n_embd, h->n_ff, QN_ALWAYS, r->ffn_bias);
        l->up = matrix(b, i, "ffn_up", h->n_embd, h->n_ff, QN_ALWAYS, r->ffn_bias);
    } else { /* gate and up in one matrix, gate first */
        l->gate = slice(b, i, "ffn_up", h->n_embd, 2 * h->n_ff, 0, h->n_ff, QN_ALWAYS, r->ffn_bias);
        l->up = slice(b, i, "ffn_up", h->n_embd, 2 * h->n_ff, h->n_ff, h->n_ff, QN_ALWAYS, r->ffn_bias);
    }
    l->down = matrix(b, i, "ffn_down", h->n_ff, h->n_embd, QN_ALWAYS, r->ffn_bias);
}

static const float *factors(binder *b, const char *what)
{
    (void)layer_name(b, -1, what, "weight");
    const float *f = b->r->rope != QN_ROPE_NONE ? vector(b, b->h->n_rot / 2, QN_MAYBE) : NULL;
    for (int i = 0; f && i < b->h->n_rot / 2; i++)
        if (!(f[i] > 1e-6f && f[i] < 1e9f)) {
            b->status = qn__fail(b->err, QN_EFORMAT, b->name, "factor %d is %g; it must be positive", i, (double)f[i]);
            return NULL;
        }
    return f;
}

static void bind_all(binder *b, const bool *windowed)
{
    const qn_recipe *r = b->r;
    const qn_hparams *h = b->h;
    qn_weights *w = b->w;
    w->embed = matrix(b, -1, "token_embd", h->n_embd, h->n_vocab, QN_ALWAYS, QN_NEVER);
    if (r->learned_positions)
        w->positions = matrix(b, -1, "position_embd", h->n_embd, h->n_ctx_train, QN_ALWAYS, QN_NEVER);
    w->output_norm = norm(b, -1, "output_norm", h->n_embd, QN_ALWAYS);
    w->output = has(b, -1, "output") ? matrix(b, -1, "output", h->n_embd, h->n_vocab, QN_ALWAYS, QN_MAYBE) : w->embed;
    w->rope_factors = factors(b, "rope_freqs");
    w->rope_factors_long = factors(b, "rope_factors_long");
    w->rope_factors_short = factors(b, "rope_factors_short");
    /* A layer's fields cost less than its tensors' table entries do; still, hold no more than the file warrants. */
    if (b->status == QN_OK && (size_t)h->n_layers > qn__gguf_n_tensors(b->g)) {
        b->status = qn__fail(b->err, QN_EFORMAT, "block_count", "says %d layers, but the file has only %zu tensors", h->n_layers, qn__gguf_n_tensors(b->g));
        return;
    }
    w->layers = b->status == QN_OK ? qn__arena_alloc(&w->arena, (size_t)h->n_layers * sizeof *w->layers) : NULL;
    if (b->status == QN_OK && !w->layers)
        b->status = qn__fail_mem(b->err, "layers");
    for (int i = 0; i < h->n_layers && b->status == QN_OK; i++) {
        qn_layer *l = &w->layers[i];
        *l = (qn_layer){.window = windowed[i] ? h->window : 0};
        l->rope = r->rope == QN_ROPE_NONE || (r->rope_windowed_only && !windowed[i]) ? -1 : windowed[i];
        l->attn_norm = norm(b, i, r->attn_norm, h->n_embd, QN_ALWAYS);
        l->post_attn_norm = norm(b, i, r->post_attn_norm, h->n_embd, QN_ALWAYS);
        l->ffn_norm = norm(b, i, r->ffn_norm, h->n_embd, QN_ALWAYS);
        l->post_ffn_norm = norm(b, i, r->post_ffn_norm, h->n_embd, QN_ALWAYS);
        bind_attention(b, i, l);
        bind_ffn(b, i, l);
    }
}

qn_status qn__weights_bind(const qn_gguf *g, const qn_recipe *r, const qn_hparams *h, const bool *windowed, qn_weights *w,
                           qn_err *err)
{
    size_t n = qn__gguf_n_tensors(g);
    binder b = {.g = g, .r = r, .h = h, .w = w, .err = err};
    *w = (qn_weights){0};
    qn__arena_init(&w->arena, 0);
    b.used = qn__calloc(n, sizeof *b.used);
    if (!b.used)
        return qn__fail_mem(err, "tensors");
    bind_all(&b, windowed);
    for (size_t i = 0; i < n && b.status == QN_OK && b.n_used < n; i++)
        if (!b.used[i]) {
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
