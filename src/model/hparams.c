/* hparams.c - reading a file's numbers: every key is checked for kind and range before anything is computed from it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "model/recipe.h"

/* Reads keys of the form PREFIX.suffix. After the first failure everything is a no-op and `status` stays. */
typedef struct reader {
    const qn_gguf *g;
    const qn_recipe *r;
    const char *prefix;
    qn_err *err;
    qn_status status;
    int n_blocks; /* that the file says it has, once that is known: entries of an array that has one per layer */
    char key[112];
} reader;

static const char *key(reader *rd, const char *suffix)
{
    (void)snprintf(rd->key, sizeof rd->key, "%s.%s", rd->prefix, suffix);
    return rd->key;
}

static bool is_int_kind(qn_gguf_kind k)
{
    return k <= QN_GGUF_I32 || k == QN_GGUF_U64 || k == QN_GGUF_I64 || k == QN_GGUF_BOOL;
}

static const qn_gguf_kv *array(reader *rd, const char *suffix)
{
    const qn_gguf_kv *kv = qn__gguf_kv(rd->g, key(rd, suffix));
    return kv && kv->kind == QN_GGUF_ARR && kv->n > 0 && (is_int_kind(kv->elem) || kv->elem == QN_GGUF_F32) ? kv : NULL;
}

static void out_of_range(reader *rd, int64_t v, int64_t min, int64_t max)
{
    rd->status = qn__fail(rd->err, QN_EFORMAT, rd->key, "is %lld; it must be in %lld..%lld", (long long)v,
                          (long long)min, (long long)max);
}

/* An integer; of an array (one per layer) the largest. */
static int64_t get_int(reader *rd, const char *suffix, int64_t min, int64_t max, int64_t fallback, bool required)
{
    if (rd->status != QN_OK)
        return fallback;
    const qn_gguf_kv *kv = array(rd, suffix);
    int64_t v = fallback;
    if (kv && is_int_kind(kv->elem)) {
        v = qn__gguf_arr_int(kv, 0);
        for (uint64_t i = 1; i < kv->n; i++)
            v = qn__gguf_arr_int(kv, i) > v ? qn__gguf_arr_int(kv, i) : v;
        if (v < min || v > max)
            out_of_range(rd, v, min, max);
    } else if (required) {
        rd->status = qn__gguf_int_req(rd->g, rd->key, min, max, &v, rd->err);
    } else {
        rd->status = qn__gguf_int(rd->g, rd->key, min, max, fallback, &v, rd->err);
    }
    return rd->status == QN_OK ? v : fallback;
}

/* The value of one layer: the array's, or the one number. */
static int layer_int(reader *rd, const char *suffix, int layer, int min, int max, int fallback)
{
    const qn_gguf_kv *kv = rd->status == QN_OK ? array(rd, suffix) : NULL;
    if (!kv || !is_int_kind(kv->elem))
        return fallback;
    if (kv->n <= (uint64_t)layer || (rd->r->shares_kv && kv->n != (uint64_t)rd->n_blocks)) {
        rd->status = qn__fail(rd->err, QN_EFORMAT, rd->key, "has %llu entries; the file has %d layers",
                              (unsigned long long)kv->n, rd->n_blocks);
        return fallback;
    }
    int64_t v = qn__gguf_arr_int(kv, (uint64_t)layer);
    if (v < min || v > max) {
        out_of_range(rd, v, min, max);
        return fallback;
    }
    return (int)v;
}

static double get_float(reader *rd, const char *suffix, double min, double max, double fallback)
{
    double v = fallback;
    if (rd->status != QN_OK)
        return fallback;
    const char *k = key(rd, suffix);
    rd->status = qn__gguf_float(rd->g, k, fallback, &v, rd->err);
    if (rd->status == QN_OK && v != fallback && !(v >= min && v <= max)) {
        rd->status = qn__fail(rd->err, QN_EFORMAT, k, "is %g; it must be in %g..%g", v, min, max);
        v = fallback;
    }
    return v;
}

static bool get_bool(reader *rd, const char *suffix, bool fallback)
{
    bool v = fallback;
    if (rd->status == QN_OK)
        rd->status = qn__gguf_bool(rd->g, key(rd, suffix), fallback, &v, rd->err);
    return v;
}

static void read_embedding(reader *rd, qn_hparams *h)
{
    const qn_gguf_tensor *e = qn__gguf_find(rd->g, "token_embd.weight");
    if (!e)
        rd->status = qn__fail(rd->err, QN_EFORMAT, "token_embd.weight",
                              "the tensor is missing; the file holds no model weights (a vocabulary only?)");
    else if (e->n_dims != 2 || e->dims[0] != (uint64_t)h->n_embd || e->dims[1] > (1u << 28))
        rd->status = qn__fail(rd->err, QN_EFORMAT, "token_embd.weight",
                              "its shape [%llu, %llu] does not match the expected [%d, vocabulary]",
                              (unsigned long long)e->dims[0], (unsigned long long)e->dims[1], h->n_embd);
    else
        h->n_vocab = (int32_t)e->dims[1];
}

static void read_sizes(reader *rd, qn_hparams *h)
{
    h->n_layers = (int)get_int(rd, "block_count", 1, QN_MAX_LAYERS, 0, true);
    h->n_embd = (int)get_int(rd, "embedding_length", 1, 1 << 20, 0, true);
    h->n_heads = (int)get_int(rd, "attention.head_count", 1, 1 << 12, 0, true);
    h->n_kv_heads = (int)get_int(rd, "attention.head_count_kv", 1, 1 << 12, h->n_heads, false);
    h->n_ff = (int)get_int(rd, "feed_forward_length", rd->r->hybrid == QN_HYBRID_ONE_OF ? 0 : 1, 1 << 22, 0, true);
    h->n_ctx_train = (int32_t)get_int(rd, "context_length", 1, INT32_MAX, 0, true);
    h->n_nextn = (int)get_int(rd, "nextn_predict_layers", 0, h->n_layers > 0 ? h->n_layers - 1 : 0, 0, false);
    rd->n_blocks = h->n_layers;
    h->n_layers -= h->n_nextn;
    h->pooling = (int)get_int(rd, "pooling_type", 0, 4, -1, false);
    if (rd->status == QN_OK)
        read_embedding(rd, h);
    if (rd->status != QN_OK)
        return;
    bool stated = qn__gguf_kv(rd->g, key(rd, "attention.key_length")) != NULL;
    if (!stated && h->n_embd % h->n_heads != 0)
        rd->status = qn__fail(rd->err, QN_EFORMAT, key(rd, "attention.head_count"),
                              "%d heads do not divide the embedding of %d", h->n_heads, h->n_embd);
    int head = h->n_embd / h->n_heads > 0 ? h->n_embd / h->n_heads : 1;
    h->head_k = (int)get_int(rd, "attention.key_length", 1, 1 << 12, head, false);
    h->head_v = (int)get_int(rd, "attention.value_length", 1, 1 << 12, head, false);
    h->head_k_window = rd->r->window_heads ? (int)get_int(rd, "attention.key_length_swa", 1, 1 << 12, 0, true) : h->head_k;
    h->head_v_window = rd->r->window_heads ? (int)get_int(rd, "attention.value_length_swa", 1, 1 << 12, 0, true) : h->head_v;
    if (rd->r->layer_embeddings)
        h->n_ple = (int)get_int(rd, "embedding_length_per_layer_input", 0, 1 << 16, 0, false);
}

static void read_rope(reader *rd, qn_hparams *h)
{
    const qn_recipe *r = rd->r;
    h->n_rot = (int)get_int(rd, "rope.dimension_count", 2, 1 << 12, h->head_k, false);
    if (rd->status == QN_OK && r->rope != QN_ROPE_NONE &&
        (h->n_rot > h->head_k || h->n_rot % (r->rope_half_when_full ? 4 : 2) != 0))
        rd->status = qn__fail(rd->err, QN_EFORMAT, key(rd, "rope.dimension_count"),
                              "%d is not an even number up to the head size %d", h->n_rot, h->head_k);
    h->n_rot_window = h->n_rot;
    if (r->window_heads)
        h->n_rot_window = (int)get_int(rd, "rope.dimension_count_swa", 2, 1 << 12, h->head_k_window, false);
    if (rd->status == QN_OK && r->window_heads && (h->n_rot_window > h->head_k_window || h->n_rot_window % 2 != 0))
        rd->status = qn__fail(rd->err, QN_EFORMAT, key(rd, "rope.dimension_count_swa"),
                              "%d is not an even number up to the head size %d", h->n_rot_window, h->head_k_window);
    h->rope_base = get_float(rd, "rope.freq_base", 1e-3, 1e12, 10000);
    h->rope_base_window =
        get_float(rd, "rope.freq_base_swa", 1e-3, 1e12, r->window_rope_base > 0 ? r->window_rope_base : h->rope_base);
    double legacy = get_float(rd, "rope.scale_linear", 1e-6, 1e6, 0);
    h->rope_factor = get_float(rd, "rope.scaling.factor", 0, 1e6, legacy);
    h->rope_magnitude = get_float(rd, "rope.scaling.attn_factor", 1e-3, 1e3, 1);
    h->yarn_beta_fast = get_float(rd, "rope.scaling.yarn_beta_fast", 1e-6, 1e6, 32);
    h->yarn_beta_slow = get_float(rd, "rope.scaling.yarn_beta_slow", 1e-6, 1e6, 1);
    h->yarn_log_multiplier = get_float(rd, "rope.scaling.yarn_log_multiplier", 0, 1e3, 0);
    h->rope_original_ctx =
        (int32_t)get_int(rd, "rope.scaling.original_context_length", 1, INT32_MAX, h->n_ctx_train, false);
    if (rd->status != QN_OK)
        return;
    qn_slice type;
    const char *k = key(rd, "rope.scaling.type");
    rd->status = qn__gguf_str(rd->g, k, &type, rd->err);
    if (rd->status != QN_OK)
        return;
    static const char *const names[] = {"none", "linear", "yarn", "longrope"};
    h->scaling = QN_SCALING_LINEAR;
    if (type.p) {
        int i = 0;
        while (i < 4 && (strlen(names[i]) != type.n || memcmp(names[i], type.p, type.n) != 0))
            i++;
        if (i == 4) {
            rd->status = qn__fail(rd->err, QN_EUNSUPPORTED, k, "\"%.*s\" is not one of none, linear, yarn, longrope",
                                  (int)(type.n < 40 ? type.n : 40), type.p);
            return;
        }
        h->scaling = (qn_rope_scaling)i;
    }
    if (h->rope_factor == 0 || h->scaling == QN_SCALING_NONE)
        h->rope_factor = 1;
}

/* What the cache holds of latent attention is one head: the compressed row and the rotated part. */
static void read_latent(reader *rd, qn_hparams *h)
{
    if (rd->r->mixer != QN_MIX_LATENT)
        return;
    h->q_lora = (int)get_int(rd, "attention.q_lora_rank", 0, 1 << 16, 0, false);
    h->kv_lora = (int)get_int(rd, "attention.kv_lora_rank", 1, 1 << 12, 0, true);
    int head = (int)get_int(rd, "attention.key_length_mla", 1, 1 << 12, h->head_k, false);
    h->latent_v = (int)get_int(rd, "attention.value_length_mla", 1, 1 << 12, h->head_v, false);
    h->n_rot = h->n_rot_window = (int)get_int(rd, "rope.dimension_count", 2, 1 << 12, 64, false);
    if (rd->status == QN_OK && (h->n_rot >= head || h->n_rot % 2 != 0))
        rd->status = qn__fail(rd->err, QN_EFORMAT, key(rd, "rope.dimension_count"),
                              "%d is not an even number below the head size %d", h->n_rot, head);
    h->nope = head - h->n_rot;
    h->head_k = h->head_k_window = h->kv_lora + h->n_rot;
    h->head_v = h->head_v_window = h->kv_lora;
    h->n_kv_heads = 1;
}

static void read_window(reader *rd, qn_hparams *h)
{
    h->window = (int32_t)get_int(rd, "attention.sliding_window", 0, INT32_MAX, 0, false);
    if (rd->status != QN_OK || h->window == 0 || rd->r->window_period == 0) {
        h->window = 0;
        return;
    }
    const qn_gguf_kv *pattern = array(rd, "attention.sliding_window_pattern");
    int64_t period =
        pattern ? 0 : get_int(rd, "attention.sliding_window_pattern", 1, QN_MAX_LAYERS, rd->r->window_period, false);
    for (int i = 0; i < h->n_layers && rd->status == QN_OK; i++)
        h->layers[i].windowed = pattern
                                    ? layer_int(rd, "attention.sliding_window_pattern", i, INT32_MIN, INT32_MAX, 0) != 0
                                    : period == 1 || i % period != period - 1;
}

static void read_experts(reader *rd, qn_hparams *h)
{
    const qn_recipe *r = rd->r;
    if (r->experts == QN_NEVER)
        return;
    h->n_experts =
        (int)get_int(rd, "expert_count", r->experts == QN_ALWAYS, QN_MAX_EXPERTS, 0, r->experts == QN_ALWAYS);
    if (rd->status != QN_OK || h->n_experts == 0)
        return;
    h->n_used = (int)get_int(rd, "expert_used_count", 1,
                             h->n_experts < QN_MAX_EXPERTS_USED ? h->n_experts : QN_MAX_EXPERTS_USED, 0, true);
    h->n_ff_expert = (int)get_int(rd, "expert_feed_forward_length", 1, 1 << 22, h->n_ff, false);
    h->n_ff_shared = (int)get_int(rd, "expert_shared_feed_forward_length", 0, 1 << 22, 0, false);
    int shared = (int)get_int(rd, "expert_shared_count", 0, 1 << 10, 0, false);
    if (h->n_ff_shared == 0 && shared > 0)
        h->n_ff_shared = shared * (h->n_ff_expert < (1 << 20) ? h->n_ff_expert : 0);
    h->n_dense = (int)get_int(rd, "leading_dense_block_count", 0, QN_MAX_LAYERS, 0, false);
    h->n_latent_ff = (int)get_int(rd, "moe_latent_size", 0, 1 << 20, 0, false);
    if (rd->status == QN_OK && r->experts_norm && (h->n_ff_shared > 0 || h->n_latent_ff > 0)) {
        rd->status = qn__fail(rd->err, QN_EUNSUPPORTED, key(rd, "expert_count"),
                              "architecture %s has experts beside a dense part; shared or low-rank ones as well are not known",
                              r->architecture);
        return;
    }
    h->n_groups = (int)get_int(rd, "expert_group_count", 1, h->n_experts < QN_MAX_GROUPS ? h->n_experts : QN_MAX_GROUPS,
                               1, false);
    h->n_groups_used = (int)get_int(rd, "expert_group_used_count", 1, h->n_groups, h->n_groups, false);
    if (rd->status == QN_OK && h->n_experts % h->n_groups != 0)
        rd->status = qn__fail(rd->err, QN_EFORMAT, key(rd, "expert_group_count"), "%d groups do not divide %d experts",
                              h->n_groups, h->n_experts);
    if (rd->status == QN_OK && h->n_groups > 1 && h->n_used > h->n_groups_used * (h->n_experts / h->n_groups))
        rd->status = qn__fail(rd->err, QN_EFORMAT, key(rd, "expert_used_count"),
                              "%d experts cannot be chosen from %d groups of %d", h->n_used, h->n_groups_used,
                              h->n_experts / h->n_groups);
    h->router = (qn_router)get_int(rd, "expert_gating_func", 1, 3, r->router ? r->router : QN_ROUTER_SOFTMAX, false);
    h->router_normalises = get_bool(rd, "expert_weights_norm", r->router_normalises);
    double scale = get_float(rd, "expert_weights_scale", 0, 1e6, 1);
    h->router_scale = scale > 0 ? (float)scale : 1;
}

static void read_recurrent(reader *rd, qn_hparams *h)
{
    if (rd->r->hybrid == QN_HYBRID_NONE)
        return;
    h->conv = (int)get_int(rd, "ssm.conv_kernel", 2, 64, 0, true);
    h->state = (int)get_int(rd, "ssm.state_size", 1, 1 << 12, 0, true);
    h->groups = (int)get_int(rd, "ssm.group_count", 1, 1 << 12, 0, true);
    h->time_rank = (int)get_int(rd, "ssm.time_step_rank", 1, 1 << 12, 0, true);
    h->inner = (int)get_int(rd, "ssm.inner_size", 1, 1 << 20, 0, true);
    if (rd->status == QN_OK &&
        (h->inner % h->time_rank != 0 || h->time_rank % h->groups != 0 || h->inner % h->groups != 0))
        rd->status =
            qn__fail(rd->err, QN_EFORMAT, key(rd, "ssm.time_step_rank"),
                     "%d heads do not fit an inner size of %d in %d groups", h->time_rank, h->inner, h->groups);
}

static void shape_layers(reader *rd, qn_hparams *h)
{
    const qn_recipe *r = rd->r;
    qn_mixer attention = r->mixer == QN_MIX_NONE ? QN_MIX_ATTENTION : r->mixer;
    int interval =
        r->hybrid == QN_HYBRID_INTERVAL ? (int)get_int(rd, "full_attention_interval", 1, QN_MAX_LAYERS, 4, false) : 1;
    bool one_of = r->hybrid == QN_HYBRID_ONE_OF;
    const qn_gguf_kv *clamp = array(rd, "swiglu_clamp_exp"), *clamp_shared = array(rd, "swiglu_clamp_shexp");
    for (int i = 0; i < h->n_layers && rd->status == QN_OK; i++) {
        qn_layer_shape *l = &h->layers[i];
        l->n_heads = layer_int(rd, "attention.head_count", i, 1, 1 << 12, h->n_heads);
        l->n_kv_heads = r->mixer == QN_MIX_LATENT
                            ? 1
                            : layer_int(rd, "attention.head_count_kv", i, one_of ? 0 : 1, 1 << 12, h->n_kv_heads);
        l->n_ff = layer_int(rd, "feed_forward_length", i, 0, 1 << 22, h->n_ff);
        l->mixer = attention;
        l->head_k = l->windowed ? h->head_k_window : h->head_k;
        l->head_v = l->windowed ? h->head_v_window : h->head_v;
        l->kv_from = i;
        if (one_of)
            l->mixer = l->n_kv_heads > 0 ? attention : l->n_ff > 0 ? QN_MIX_NONE : r->recurrent;
        else if (r->hybrid == QN_HYBRID_INTERVAL && (i + 1) % interval != 0)
            l->mixer = r->recurrent;
        if (one_of && l->mixer != QN_MIX_NONE)
            l->n_ff = 0;
        l->experts = h->n_experts > 0 && i >= h->n_dense && (!one_of || l->mixer == QN_MIX_NONE);
        l->clamp = clamp && clamp->elem == QN_GGUF_F32 && clamp->n > (uint64_t)i
                       ? (float)qn__gguf_arr_float(clamp, (uint64_t)i)
                       : 0;
        l->clamp_shared = clamp_shared && clamp_shared->elem == QN_GGUF_F32 && clamp_shared->n > (uint64_t)i
                              ? (float)qn__gguf_arr_float(clamp_shared, (uint64_t)i)
                              : 0;
        if (rd->status == QN_OK && l->n_kv_heads > 0 && l->n_heads % l->n_kv_heads != 0)
            rd->status = qn__fail(rd->err, QN_EFORMAT, key(rd, "attention.head_count_kv"),
                                  "%d key-value heads do not divide %d heads (layer %d)", l->n_kv_heads, l->n_heads, i);
    }
}

/* The last layers have no keys and values of their own. */
static void share_layers(reader *rd, qn_hparams *h)
{
    if (!rd->r->shares_kv)
        return;
    int shared = (int)get_int(rd, "attention.shared_kv_layers", 0, h->n_layers - 1, 0, false), first = h->n_layers - shared;
    for (int i = first; i < h->n_layers && rd->status == QN_OK; i++) {
        qn_layer_shape *l = &h->layers[i];
        int from = first - 1;
        while (from >= 0 && h->layers[from].windowed != l->windowed)
            from--;
        if (from < 0)
            rd->status = qn__fail(rd->err, QN_EFORMAT, rd->key,
                                  "is %d; layer %d would read the keys and values of a layer before %d that is %s, and there is none",
                                  shared, i, first, l->windowed ? "windowed" : "not windowed");
        else if (h->layers[from].n_kv_heads != l->n_kv_heads)
            rd->status = qn__fail(rd->err, QN_EFORMAT, key(rd, "attention.head_count_kv"),
                                  "layer %d says %d heads and reads those of layer %d, which has %d", i, l->n_kv_heads, from,
                                  h->layers[from].n_kv_heads);
        else
            l->kv_from = from;
    }
}

/* YaRN's temperature as a factor of queries and keys (Peng 2023, section 3.3). */
static double mscale(double factor, double multiplier)
{
    return factor <= 1 ? 1 : 0.1 * multiplier * log(factor) + 1;
}

static void read_scales(reader *rd, qn_hparams *h)
{
    const qn_recipe *r = rd->r;
    h->norm_eps = (float)get_float(
        rd, r->norm == QN_NORM_RMS ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", 0, 1, 1e-5);
    double wide = (double)h->n_embd / (h->n_heads ? h->n_heads : 1);
    double head = r->wide_head_layers && h->n_layers == r->wide_head_layers ? wide : h->head_k;
    double scale = get_float(rd, "attention.scale", 1e-9, 1e9, 0);
    double log_multiplier = h->yarn_log_multiplier > 0 ? h->yarn_log_multiplier : 0;
    if (r->mixer == QN_MIX_LATENT) { /* a head's own size; the temperature stands here and not in the rope; the file
                                        holds a tenth of the multiplier */
        double m = h->scaling == QN_SCALING_YARN ? mscale(h->rope_factor, 10 * log_multiplier) : 1;
        head = (h->nope + h->n_rot) / (m * m * m * m);
    } else if (h->scaling == QN_SCALING_YARN) {
        h->rope_magnitude *= mscale(h->rope_factor, 1) / mscale(h->rope_factor, log_multiplier);
    }
    h->attn_scale = (float)(scale > 0 ? scale : r->attn_scale > 0 ? r->attn_scale : 1 / sqrt(head > 0 ? head : 1));
    h->attn_softcap = (float)get_float(rd, "attn_logit_softcapping", 0, 1e9, r->attn_softcap);
    h->final_softcap = (float)get_float(rd, "final_logit_softcapping", 0, 1e9, r->final_softcap);
    h->embed_scale = r->embed_sqrt ? sqrtf((float)h->n_embd) : (float)get_float(rd, "embedding_scale", 1e-9, 1e9, 1);
    h->residual_scale = (float)get_float(rd, "residual_scale", 1e-9, 1e9, 1);
    h->logit_scale = 1;
    if (r->logit_scale != QN_SCALE_NONE) {
        double s = get_float(rd, "logit_scale", 1e-9, 1e9, 1);
        h->logit_scale = (float)(r->logit_scale == QN_SCALE_DIVIDE ? 1 / s : s);
    }
    h->temperature_scale = (float)get_float(rd, "attention.temperature_scale", 0, 1e6, 0);
    h->temperature_floor = h->rope_original_ctx;
}

qn_status qn__hparams_read(const qn_gguf *g, const qn_recipe *r, const char *prefix, qn_hparams *h, qn_err *err)
{
    reader rd = {.g = g, .r = r, .prefix = prefix, .err = err};
    static void (*const parts[])(reader *, qn_hparams *) = {read_sizes,   read_rope,      read_latent,  read_window, read_experts,
                                                            read_recurrent, shape_layers, share_layers, read_scales};
    memset(h, 0, sizeof *h);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && rd.status == QN_OK; i++)
        parts[i](&rd, h);
    return rd.status;
}
