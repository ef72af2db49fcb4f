/* convert_meta.c - config.json -> the keys that describe the model, and the tensors of rope factors. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/convert_int.h"

static const char *key_of(qn__cv *c, char out[96], const char *key)
{
    (void)snprintf(out, 96, "%s.%s", c->family->arch, key);
    return out;
}

void qn__cv_put_int(qn__cv *c, const char *key, int64_t v)
{
    char k[96];
    if (c->status == QN_OK)
        qn__gguf_put_int(c->w, key_of(c, k, key), QN_GGUF_U32, v);
}

void qn__cv_put_float(qn__cv *c, const char *key, double v)
{
    char k[96];
    if (c->status == QN_OK)
        qn__gguf_put_float(c->w, key_of(c, k, key), QN_GGUF_F32, v);
}

void qn__cv_put_bool(qn__cv *c, const char *key, bool v)
{
    char k[96];
    if (c->status == QN_OK)
        qn__gguf_put_bool(c->w, key_of(c, k, key), v);
}

void qn__cv_put_text(qn__cv *c, const char *key, const char *v)
{
    char k[96];
    if (c->status == QN_OK)
        qn__gguf_put_str(c->w, key_of(c, k, key), v, strlen(v));
}

static void put_array(qn__cv *c, const char *key, qn_gguf_kind kind, const void *v, int64_t n, size_t each)
{
    char k[96];
    if (c->status == QN_OK)
        qn__gguf_put_arr(c->w, key_of(c, k, key), kind, (uint64_t)n, v, (size_t)n * each);
}

void qn__cv_put_ints(qn__cv *c, const char *key, const int32_t *v, int64_t n)
{
    put_array(c, key, QN_GGUF_I32, v, n, sizeof *v);
}

void qn__cv_put_floats(qn__cv *c, const char *key, const float *v, int64_t n)
{
    put_array(c, key, QN_GGUF_F32, v, n, sizeof *v);
}

void qn__cv_put_bools(qn__cv *c, const char *key, const uint8_t *v, int64_t n)
{
    put_array(c, key, QN_GGUF_BOOL, v, n, sizeof *v);
}

static void put_keys(qn__cv *c, const qn__cv_key *keys)
{
    for (const qn__cv_key *k = keys; k->hf && c->status == QN_OK; k++) {
        if (!qn__cv_get(c, k->hf)) {
            if (k->need)
                (void)qn__cv_bad_key(c, k->hf, "the key is missing");
            continue;
        }
        switch (k->kind) {
        case 'i': qn__cv_put_int(c, k->gguf, qn__cv_int(c, k->hf, 0, UINT32_MAX, 0)); break;
        case 'f': qn__cv_put_float(c, k->gguf, qn__cv_float(c, k->hf, -1e30, 1e30, 0)); break;
        default: qn__cv_put_bool(c, k->gguf, qn__cv_bool(c, k->hf, false));
        }
    }
}

/* ---- rope ---- */

static void yarn(qn__cv *c, const json_t *r, int64_t context)
{
    double factor = qn__cv_rope_float(c, r, "factor", 1, 1e6, NAN), usual = 0.1 * log(factor) + 1;
    double original = qn__cv_rope_float(c, r, "original_max_position_embeddings", 1, INT32_MAX, (double)context);
    double attention = qn__cv_rope_float(c, r, "attention_factor", 1e-3, 1e3, usual);
    double fast = qn__cv_rope_float(c, r, "beta_fast", 0, 1e6, -1), slow = qn__cv_rope_float(c, r, "beta_slow", 0, 1e6, -1);
    qn__cv_put_text(c, "rope.scaling.type", "yarn");
    qn__cv_put_float(c, "rope.scaling.factor", factor);
    qn__cv_put_int(c, "rope.scaling.original_context_length", (int64_t)original);
    if (fast >= 0)
        qn__cv_put_float(c, "rope.scaling.yarn_beta_fast", fast);
    if (slow >= 0)
        qn__cv_put_float(c, "rope.scaling.yarn_beta_slow", slow);
    if (json_object_get(r, "attention_factor"))
        qn__cv_put_float(c, "rope.scaling.yarn_attn_factor", attention);
    if (fabs(attention - usual) > 1e-6 * usual) /* a reader multiplies the usual one by this */
        qn__cv_put_float(c, "rope.scaling.attn_factor", attention / usual);
}

/* Long waves are stretched, short ones are not, those between are mixed. */
float *qn__cv_llama3(qn__cv *c, const json_t *r, double base, int64_t rot, int64_t n)
{
    float *f = qn__cv_alloc(c, (size_t)n * sizeof *f);
    double factor = qn__cv_rope_float(c, r, "factor", 1e-3, 1e6, NAN), low = qn__cv_rope_float(c, r, "low_freq_factor", 1e-3, 1e6, 1);
    double high = qn__cv_rope_float(c, r, "high_freq_factor", 1e-3, 1e6, 4);
    double original = qn__cv_rope_float(c, r, "original_max_position_embeddings", 1, INT32_MAX, 8192);
    if (c->status == QN_OK && !(high > low))
        (void)qn__cv_bad_key(c, "rope_scaling.high_freq_factor", "is not greater than low_freq_factor");
    for (int64_t i = 0; c->status == QN_OK && i < n; i++) {
        double wave = 2 * 3.14159265358979323846 * pow(base, 2 * (double)i / (double)rot), smooth;
        smooth = (original / wave - low) / (high - low);
        f[i] = (float)(wave < original / high ? 1 : wave > original / low ? factor : 1 / ((1 - smooth) / factor + smooth));
    }
    return c->status == QN_OK ? f : NULL;
}

static void llama3(qn__cv *c, const json_t *r, double base)
{
    float *f = qn__cv_llama3(c, r, base, c->rot, c->rot / 2);
    if (f)
        (void)qn__cv_plan_made(c, "rope_freqs.weight", f, (uint64_t)c->rot / 2);
}

static void put_factors(qn__cv *c, const json_t *r, const char *key, const char *name)
{
    json_t *a = json_object_get(r, key);
    size_t n = (size_t)c->rot / 2;
    float *f = qn__cv_alloc(c, n * sizeof *f);
    if (json_array_size(a) != n)
        (void)qn__cv_bad_key(c, "rope_scaling", "%s has %zu numbers; a rope of %lld elements needs %zu", key, json_array_size(a), (long long)c->rot, n);
    for (size_t i = 0; c->status == QN_OK && i < n; i++) {
        double v = json_number_value(json_array_get(a, i));
        if (!(v > 1e-6 && v < 1e6))
            (void)qn__cv_bad_key(c, "rope_scaling", "%s: number %zu is not positive", key, i);
        f[i] = (float)v;
    }
    if (c->status == QN_OK)
        (void)qn__cv_plan_made(c, name, f, n);
}

static void longrope(qn__cv *c, const json_t *r, int64_t context)
{
    int64_t original = (int64_t)qn__cv_rope_float(c, r, "original_max_position_embeddings", 1, INT32_MAX, 0);
    if (original == 0)
        original = qn__cv_int(c, "original_max_position_embeddings", 2, INT32_MAX, INT64_MIN);
    if (c->status != QN_OK)
        return;
    double scale = (double)context / (double)original;
    put_factors(c, r, "long_factor", "rope_factors_long.weight");
    put_factors(c, r, "short_factor", "rope_factors_short.weight");
    qn__cv_put_int(c, "rope.scaling.original_context_length", original);
    double usual = scale <= 1 ? 1 : sqrt(1 + log(scale) / log((double)original));
    qn__cv_put_float(c, "rope.scaling.attn_factor", qn__cv_rope_float(c, r, "attention_factor", 1e-3, 1e3, usual));
}

/* Some pairs of a whole head turn, with the frequencies that they would have if all did. 1e30 is how the format says that one
 * does not. */
static void proportional(qn__cv *c, const json_t *r)
{
    int64_t n = c->rot / 2;
    double part = qn__cv_rope_float(c, r, "partial_rotary_factor", 0, 1, 1), factor = qn__cv_rope_float(c, r, "factor", 1e-3, 1e6, 1);
    float *f = qn__cv_alloc(c, (size_t)n * sizeof *f);
    for (int64_t i = 0; f && i < n; i++)
        f[i] = i < (int64_t)floor(part * (double)c->rot / 2) ? (float)factor : 1e30f;
    if (f)
        (void)qn__cv_plan_made(c, "rope_freqs.weight", f, (uint64_t)n);
}

static void put_rope(qn__cv *c, int64_t context)
{
    json_t *r = qn__cv_rope(c);
    const char *type = qn__cv_rope_type(c);
    double base = qn__cv_rope_base(c);
    qn__cv_put_float(c, "rope.freq_base", base);
    qn__cv_put_int(c, "rope.dimension_count", c->rot);
    if (strcmp(type, "linear") == 0) {
        qn__cv_put_text(c, "rope.scaling.type", "linear");
        qn__cv_put_float(c, "rope.scaling.factor", qn__cv_rope_float(c, r, "factor", 1e-3, 1e6, NAN));
    } else if (strcmp(type, "yarn") == 0) {
        yarn(c, r, context);
    } else if (strcmp(type, "llama3") == 0) {
        llama3(c, r, base);
    } else if (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0) {
        longrope(c, r, context);
    } else if (strcmp(type, "proportional") == 0) {
        proportional(c, r);
    } else if (type[0]) {
        (void)qn__cv_fail(c, QN_EUNSUPPORTED, "config.json: rope_scaling.rope_type", "\"%.40s\" is not one of default, linear, yarn, llama3, longrope, proportional", type);
    }
}

/* ---- the rest ---- */

static void put_experts(qn__cv *c)
{
    if (c->n_experts <= 0)
        return;
    int64_t used = qn__cv_int(c, "num_experts_per_tok|num_experts_per_token|experts_per_token|moe_top_k|top_k_experts", 1, c->n_experts, INT64_MIN);
    qn__cv_put_int(c, "expert_count", c->n_experts);
    qn__cv_put_int(c, "expert_used_count", used);
}

static void put_int_or_array(qn__cv *c, const char *key, int64_t v, const int32_t *of)
{
    if (of)
        qn__cv_put_ints(c, key, of, c->n_layers);
    else
        qn__cv_put_int(c, key, v);
}

static void put_sizes(qn__cv *c, int64_t context)
{
    bool mla = c->family->flags & QN_CV_MLA, head_said = qn__cv_get(c, "head_dim") || c->family->head_dim;
    int64_t ff = c->size['F'] > 0 ? c->size['F'] : c->size['M'];
    if (ff <= 0)
        (void)qn__cv_bad_key(c, "intermediate_size", "the key is missing");
    qn__cv_put_int(c, "vocab_size", c->size['V']);
    qn__cv_put_int(c, "block_count", c->n_layers);
    qn__cv_put_int(c, "context_length", context);
    qn__cv_put_int(c, "embedding_length", c->size['E']);
    put_int_or_array(c, "feed_forward_length", ff, c->n_ff_of);
    put_int_or_array(c, "attention.head_count", c->size['H'], c->n_heads_of);
    if (!(c->family->flags & QN_CV_ENCODER))
        put_int_or_array(c, "attention.head_count_kv", c->size['K'] / c->size['D'], c->n_kv_of);
    if (head_said && !mla) {
        qn__cv_put_int(c, "attention.key_length", c->size['D']);
        qn__cv_put_int(c, "attention.value_length", c->size['D']);
    }
}

static void put_epsilon(qn__cv *c)
{
    bool layer = c->family->flags & QN_CV_LAYER_NORM && !qn__cv_get(c, "rms_norm_eps");
    double eps = qn__cv_float(c, layer ? "layer_norm_eps|layer_norm_epsilon|norm_epsilon" : "rms_norm_eps|layer_norm_epsilon|norm_eps", 1e-12, 1, NAN);
    qn__cv_put_float(c, layer ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", eps);
}

/* The activation that the family is known by; another one would compute something else. */
static void check_activation(qn__cv *c)
{
    const char *a = qn__cv_text(c, "hidden_act|hidden_activation|activation_function"), *arch = c->family->arch;
    bool gelu = strncmp(arch, "gemma", 5) == 0 || strcmp(arch, "starcoder2") == 0 || strcmp(arch, "bert") == 0;
    if (a && (strncmp(a, "gelu", 4) == 0) != gelu)
        (void)qn__cv_bad_key(c, "hidden_act", "is \"%.40s\"; GGUF's %s computes %s", a, arch, gelu ? "gelu" : "silu");
}

/* The number that stands for what most matrices are: the format's own list. */
static int file_type(const qn__cv *c)
{
    uint64_t bytes[QN_TYPE__COUNT] = {0}, most = 0;
    qn_type type = QN_F32;
    for (size_t i = 0; i < c->n_outs; i++) {
        const qn__cv_out *o = &c->outs[i];
        uint64_t n = o->dims[0] * o->dims[1] * o->dims[2];
        if (o->n_dims > 1 && (bytes[o->type] += n) > most) {
            most = bytes[o->type];
            type = o->type;
        }
    }
    return type == QN_F16 ? 1 : type == QN_Q8_0 ? 7 : type == QN_BF16 ? 32 : type == QN_MXFP4 ? 38 : 0;
}

/* The folder's name; of a download cache (models--MAKER--NAME/snapshots/HASH/) what stands for NAME. */
static const char *folder_name(qn__cv *c)
{
    size_t n = strlen(c->dir), from;
    const char *cache = strstr(c->dir, "models--"), *maker = cache ? strstr(cache + 8, "--") : NULL;
    const char *end = maker ? strstr(maker, "/snapshots/") : NULL;
    if (end)
        return qn__cv_printf(c, "%.*s", (int)(end - maker - 2), maker + 2);
    while (n && c->dir[n - 1] == '/')
        n--;
    for (from = n; from && c->dir[from - 1] != '/';)
        from--;
    return qn__cv_printf(c, "%.*s", (int)(n - from), c->dir + from);
}

static void put_general(qn__cv *c)
{
    const char *name = c->o->name ? c->o->name : folder_name(c);
    if (c->status != QN_OK)
        return;
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        name = c->family->arch;
    qn__gguf_put_str(c->w, "general.architecture", c->family->arch, strlen(c->family->arch));
    qn__gguf_put_str(c->w, "general.type", "model", 5);
    qn__gguf_put_str(c->w, "general.name", name, strlen(name));
    qn__gguf_put_int(c->w, "general.quantization_version", QN_GGUF_U32, 2);
    qn__gguf_put_int(c->w, "general.file_type", QN_GGUF_U32, file_type(c));
}

bool qn__cv_meta(qn__cv *c)
{
    int64_t context = qn__cv_int(c, "max_position_embeddings|n_positions", 1, INT32_MAX, INT64_MIN) - c->skip;
    int64_t trained = qn__cv_int(c, "max_trained_positions", 1, INT32_MAX, context);
    if (trained < context)
        context = trained;
    put_general(c);
    put_sizes(c, context);
    put_epsilon(c);
    if (!(c->family->flags & QN_CV_NO_ROPE))
        put_rope(c, context);
    put_experts(c);
    for (size_t i = 0; c->family->keys[i]; i++)
        put_keys(c, c->family->keys[i]);
    if (c->status == QN_OK && c->family->meta)
        c->family->meta(c);
    (void)qn__cv_pooling(c);
    check_activation(c);
    return c->status == QN_OK;
}
