/* recipe.c - the table of architectures and the reading of a file's numbers. Sources: each model's paper or reference
 * implementation; the GGUF keys are the format's own. */
#include "model/recipe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

static const qn_recipe recipes[] = {
    {.architecture = "llama", .attn_norm = "attn_norm", .ffn_norm = "ffn_norm", .rope = QN_ROPE_NORM,
     .qkv_bias = QN_MAYBE, .out_bias = QN_MAYBE, .ffn_bias = QN_MAYBE},
    {.architecture = "mistral3", .attn_norm = "attn_norm", .ffn_norm = "ffn_norm", .rope = QN_ROPE_NORM},
    {.architecture = "granite", .attn_norm = "attn_norm", .ffn_norm = "ffn_norm", .rope = QN_ROPE_NORM,
     .qkv_bias = QN_MAYBE, .out_bias = QN_MAYBE, .ffn_bias = QN_MAYBE, .logit_scale = QN_SCALE_DIVIDE},
    {.architecture = "qwen2", .attn_norm = "attn_norm", .ffn_norm = "ffn_norm", .rope = QN_ROPE_NEOX,
     .qkv_bias = QN_ALWAYS},
    {.architecture = "qwen3", .attn_norm = "attn_norm", .ffn_norm = "ffn_norm", .rope = QN_ROPE_NEOX,
     .qk_norm = QN_QK_HEAD},
    {.architecture = "seed_oss", .attn_norm = "attn_norm", .ffn_norm = "post_attention_norm", .rope = QN_ROPE_NEOX,
     .qkv_bias = QN_MAYBE, .out_bias = QN_MAYBE},
    {.architecture = "glm4", .attn_norm = "attn_norm", .post_attn_norm = "post_attention_norm", .ffn_norm = "ffn_norm",
     .post_ffn_norm = "post_ffw_norm", .rope = QN_ROPE_NORM, .qkv_bias = QN_MAYBE},
    {.architecture = "phi3", .attn_norm = "attn_norm", .ffn_norm = "ffn_norm", .rope = QN_ROPE_NEOX,
     .window_period = 1},
    {.architecture = "olmo2", .post_attn_norm = "post_attention_norm", .post_ffn_norm = "post_ffw_norm",
     .rope = QN_ROPE_NEOX, .qk_norm = QN_QK_FULL, .window_period = 4, .window_plain_rope = true},
    {.architecture = "cohere2", .norm = QN_NORM_LAYER, .attn_norm = "attn_norm", .parallel = true,
     .rope = QN_ROPE_NORM, .qkv_bias = QN_MAYBE, .window_period = 4, .rope_windowed_only = true,
     .logit_scale = QN_SCALE_MULTIPLY},
    {.architecture = "gemma2", .attn_norm = "attn_norm", .post_attn_norm = "post_attention_norm",
     .ffn_norm = "ffn_norm", .post_ffn_norm = "post_ffw_norm", .rope = QN_ROPE_NEOX, .ffn = QN_FFN_GELU,
     .window_period = 2, .embed_sqrt = true, .attn_softcap = 50, .final_softcap = 30, .wide_head_layers = 46},
    {.architecture = "gemma3", .attn_norm = "attn_norm", .post_attn_norm = "post_attention_norm",
     .ffn_norm = "ffn_norm", .post_ffn_norm = "post_ffw_norm", .rope = QN_ROPE_NEOX, .qk_norm = QN_QK_HEAD,
     .ffn = QN_FFN_GELU, .window_period = 6, .window_plain_rope = true, .window_rope_base = 10000,
     .embed_sqrt = true, .wide_head_layers = 62},
    {.architecture = "starcoder2", .norm = QN_NORM_LAYER, .norm_bias = QN_ALWAYS, .attn_norm = "attn_norm",
     .ffn_norm = "ffn_norm", .rope = QN_ROPE_NEOX, .qkv_bias = QN_MAYBE, .out_bias = QN_MAYBE, .ffn_bias = QN_MAYBE,
     .ffn = QN_FFN_PLAIN_GELU, .window_period = 1},
    {.architecture = "starcoder", .norm = QN_NORM_LAYER, .norm_bias = QN_ALWAYS, .attn_norm = "attn_norm",
     .ffn_norm = "ffn_norm", .learned_positions = true, .qkv_bias = QN_ALWAYS, .out_bias = QN_ALWAYS,
     .ffn_bias = QN_ALWAYS, .ffn = QN_FFN_PLAIN_GELU},
    {.architecture = "gpt2", .norm = QN_NORM_LAYER, .norm_bias = QN_ALWAYS, .attn_norm = "attn_norm",
     .ffn_norm = "ffn_norm", .learned_positions = true, .qkv_bias = QN_ALWAYS, .out_bias = QN_ALWAYS,
     .ffn_bias = QN_ALWAYS, .ffn = QN_FFN_PLAIN_GELU},
};

enum { N_RECIPES = sizeof recipes / sizeof recipes[0] };

const qn_recipe *qn__recipe_find(const char *architecture, size_t n)
{
    for (size_t i = 0; i < N_RECIPES; i++)
        if (strlen(recipes[i].architecture) == n && memcmp(recipes[i].architecture, architecture, n) == 0)
            return &recipes[i];
    return NULL;
}

const char *qn__recipe_name(size_t i)
{
    return i < N_RECIPES ? recipes[i].architecture : NULL;
}

/* Reads keys of the form ARCH.suffix. After the first failure everything is a no-op and `status` stays. */
typedef struct reader {
    const qn_gguf *g;
    const qn_recipe *r;
    qn_err *err;
    qn_status status;
    char key[96];
} reader;

static const char *key(reader *rd, const char *suffix)
{
    (void)snprintf(rd->key, sizeof rd->key, "%s.%s", rd->r->architecture, suffix);
    return rd->key;
}

/* An integer key that may also be an array of equal integers (some converters write one per layer). */
static int64_t get_int(reader *rd, const char *suffix, int64_t min, int64_t max, int64_t fallback, bool required)
{
    if (rd->status != QN_OK)
        return fallback;
    const char *k = key(rd, suffix);
    const qn_gguf_kv *kv = qn__gguf_kv(rd->g, k);
    int64_t v = fallback;
    if (kv && kv->kind == QN_GGUF_ARR && kv->n > 0 && (kv->elem <= QN_GGUF_I32 || kv->elem == QN_GGUF_U64 || kv->elem == QN_GGUF_I64)) {
        v = qn__gguf_arr_int(kv, 0);
        for (uint64_t i = 1; i < kv->n; i++)
            if (qn__gguf_arr_int(kv, i) != v) {
                rd->status = qn__fail(rd->err, QN_EUNSUPPORTED, k, "differs from layer to layer; this build runs only models where it is one number");
                return fallback;
            }
        if (v < min || v > max)
            rd->status = qn__fail(rd->err, QN_EFORMAT, k, "is %lld; it must be in %lld..%lld", (long long)v, (long long)min, (long long)max);
    } else if (required) {
        rd->status = qn__gguf_int_req(rd->g, k, min, max, &v, rd->err);
    } else {
        rd->status = qn__gguf_int(rd->g, k, min, max, fallback, &v, rd->err);
    }
    return rd->status == QN_OK ? v : fallback;
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

static void read_sizes(reader *rd, qn_hparams *h)
{
    const qn_gguf_tensor *e = qn__gguf_find(rd->g, "token_embd.weight");
    if (!e) {
        rd->status = qn__fail(rd->err, QN_EFORMAT, "token_embd.weight", "the tensor is missing; the file holds no model weights (a vocabulary only?)");
        return;
    }
    h->n_layers = (int)get_int(rd, "block_count", 1, QN_MAX_LAYERS, 0, true);
    h->n_embd = (int)get_int(rd, "embedding_length", 1, 1 << 20, 0, true);
    h->n_heads = (int)get_int(rd, "attention.head_count", 1, 1 << 12, 0, true);
    h->n_kv_heads = (int)get_int(rd, "attention.head_count_kv", 1, 1 << 12, h->n_heads, false);
    h->n_ff = (int)get_int(rd, "feed_forward_length", 1, 1 << 22, 0, true);
    h->n_ctx_train = (int32_t)get_int(rd, "context_length", 1, INT32_MAX, 0, true);
    if (rd->status != QN_OK)
        return;
    if (h->n_heads % h->n_kv_heads != 0) {
        rd->status = qn__fail(rd->err, QN_EFORMAT, key(rd, "attention.head_count_kv"), "%d key-value heads do not divide %d heads", h->n_kv_heads, h->n_heads);
        return;
    }
    h->head_k = (int)get_int(rd, "attention.key_length", 1, 1 << 12, h->n_embd / h->n_heads, false);
    h->head_v = (int)get_int(rd, "attention.value_length", 1, 1 << 12, h->n_embd / h->n_heads, false);
    if (rd->status == QN_OK && (h->head_k < 1 || h->head_v < 1 || h->n_embd % h->n_heads != 0) && !qn__gguf_kv(rd->g, key(rd, "attention.key_length")))
        rd->status = qn__fail(rd->err, QN_EFORMAT, key(rd, "attention.head_count"), "%d heads do not divide the embedding of %d", h->n_heads, h->n_embd);
    if (rd->status == QN_OK && (e->n_dims != 2 || e->dims[0] != (uint64_t)h->n_embd || e->dims[1] < 1 || e->dims[1] > (1u << 28)))
        rd->status = qn__fail(rd->err, QN_EFORMAT, "token_embd.weight", "its shape [%llu, %llu] does not match the expected [%d, vocabulary]", (unsigned long long)e->dims[0], (unsigned long long)e->dims[1], h->n_embd);
    if (rd->status == QN_OK)
        h->n_vocab = (int32_t)e->dims[1];
}

static void read_rope(reader *rd, qn_hparams *h)
{
    const qn_recipe *r = rd->r;
    h->n_rot = (int)get_int(rd, "rope.dimension_count", 2, 1 << 12, h->head_k, false);
    if (rd->status == QN_OK && r->rope != QN_ROPE_NONE && (h->n_rot > h->head_k || h->n_rot % 2 != 0))
        rd->status = qn__fail(rd->err, QN_EFORMAT, key(rd, "rope.dimension_count"), "%d is not an even number up to the head size %d", h->n_rot, h->head_k);
    h->rope_base = get_float(rd, "rope.freq_base", 1e-3, 1e12, 10000);
    h->rope_base_window = get_float(rd, "rope.freq_base_swa", 1e-3, 1e12, r->window_rope_base > 0 ? r->window_rope_base : h->rope_base);
    double legacy = get_float(rd, "rope.scale_linear", 1e-6, 1e6, 0);
    h->rope_factor = get_float(rd, "rope.scaling.factor", 0, 1e6, legacy);
    h->rope_attn_factor = get_float(rd, "rope.scaling.attn_factor", 1e-3, 1e3, 1);
    h->yarn_beta_fast = get_float(rd, "rope.scaling.yarn_beta_fast", 0, 1e6, 32);
    h->yarn_beta_slow = get_float(rd, "rope.scaling.yarn_beta_slow", 0, 1e6, 1);
    h->yarn_log_multiplier = get_float(rd, "rope.scaling.yarn_log_multiplier", 0, 1e3, 0);
    h->rope_original_ctx = (int32_t)get_int(rd, "rope.scaling.original_context_length", 1, INT32_MAX, h->n_ctx_train, false);
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
            rd->status = qn__fail(rd->err, QN_EUNSUPPORTED, k, "\"%.*s\" is not one of none, linear, yarn, longrope", (int)(type.n < 40 ? type.n : 40), type.p);
            return;
        }
        h->scaling = (qn_rope_scaling)i;
    }
    if (h->rope_factor == 0 || h->scaling == QN_SCALING_NONE)
        h->rope_factor = 1;
}

static void read_window(reader *rd, qn_hparams *h, bool *windowed)
{
    memset(windowed, 0, QN_MAX_LAYERS * sizeof *windowed);
    h->window = (int32_t)get_int(rd, "attention.sliding_window", 0, INT32_MAX, 0, false);
    if (rd->status != QN_OK || h->window == 0 || rd->r->window_period == 0) {
        h->window = 0;
        return;
    }
    const char *k = key(rd, "attention.sliding_window_pattern");
    const qn_gguf_kv *kv = qn__gguf_kv(rd->g, k);
    if (kv && kv->kind == QN_GGUF_ARR) {
        if ((kv->elem != QN_GGUF_BOOL && kv->elem > QN_GGUF_I32) || kv->n < (uint64_t)h->n_layers) {
            rd->status = qn__fail(rd->err, QN_EFORMAT, k, "has %llu entries for %d layers", (unsigned long long)kv->n, h->n_layers);
            return;
        }
        for (int i = 0; i < h->n_layers; i++)
            windowed[i] = qn__gguf_arr_int(kv, (uint64_t)i) != 0;
        return;
    }
    int64_t period = get_int(rd, "attention.sliding_window_pattern", 1, QN_MAX_LAYERS, rd->r->window_period, false);
    for (int i = 0; i < h->n_layers; i++)
        windowed[i] = period == 1 || i % period != period - 1;
}

qn_status qn__hparams_read(const qn_gguf *g, const qn_recipe *r, qn_hparams *h, bool *windowed, qn_err *err)
{
    reader rd = {.g = g, .r = r, .err = err};
    *h = (qn_hparams){0};
    read_sizes(&rd, h);
    if (rd.status == QN_OK)
        read_rope(&rd, h);
    if (rd.status == QN_OK)
        read_window(&rd, h, windowed);
    h->norm_eps = (float)get_float(&rd, r->norm == QN_NORM_RMS ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", 0, 1, 1e-5);
    double wide = (double)h->n_embd / (h->n_heads ? h->n_heads : 1);
    double head = r->wide_head_layers && h->n_layers == r->wide_head_layers ? wide : h->head_k;
    double scale = get_float(&rd, "attention.scale", 1e-9, 1e9, 0);
    h->attn_scale = (float)(scale > 0 ? scale : 1 / sqrt(head > 0 ? head : 1));
    h->attn_softcap = (float)get_float(&rd, "attn_logit_softcapping", 0, 1e9, r->attn_softcap);
    h->final_softcap = (float)get_float(&rd, "final_logit_softcapping", 0, 1e9, r->final_softcap);
    h->embed_scale = r->embed_sqrt ? sqrtf((float)h->n_embd) : (float)get_float(&rd, "embedding_scale", 1e-9, 1e9, 1);
    h->residual_scale = (float)get_float(&rd, "residual_scale", 1e-9, 1e9, 1);
    h->logit_scale = 1;
    if (r->logit_scale != QN_SCALE_NONE) {
        double s = get_float(&rd, "logit_scale", 1e-9, 1e9, 1);
        h->logit_scale = (float)(r->logit_scale == QN_SCALE_DIVIDE ? 1 / s : s);
    }
    h->temperature_scale = (float)get_float(&rd, "attention.temperature_scale", 0, 1e6, 0);
    h->temperature_floor = h->rope_original_ctx;
    return rd.status;
}
