/* convert_gemma.c - the table of Gemma 4, the text part: layers whose heads differ in size, layers that read the keys and values
 * of others, keys that are the values too, an embedding for each layer, experts beside the dense part.
 *
 * Source: the published modelling code and configuration. Its norms hold the weight itself, not the weight minus one as Gemma 3's.
 * Refuses by name: attention in both directions, biases of attention, another rope than the one that the GGUF architecture has. */
#include <stdio.h>
#include <string.h>

#include "model/convert_rules.h"

static const qn__cv_rule r_gemma4[] = {
    IN_NORM, MID_NORM("post_attention_norm"), GATED_MLP,
    {L "pre_feedforward_layernorm.weight", B "ffn_norm.weight", "E", QN_CV_COPY, QN_CV_ALWAYS},
    {L "post_feedforward_layernorm.weight", B "post_ffw_norm.weight", "E", QN_CV_COPY, QN_CV_ALWAYS},
    {L "layer_scalar", B "layer_output_scale.weight", "1", QN_CV_COPY, QN_CV_MAYBE},
    {L "self_attn.q_proj.weight", B "attn_q.weight", "QE", QN_CV_COPY, QN_CV_ALWAYS},
    {L "self_attn.q_norm.weight", B "attn_q_norm.weight", "D", QN_CV_COPY, QN_CV_ALWAYS},
    {L "self_attn.k_proj.weight", B "attn_k.weight", "KE", QN_CV_COPY, QN_CV_KEYS},
    {L "self_attn.k_norm.weight", B "attn_k_norm.weight", "D", QN_CV_COPY, QN_CV_KEYS},
    {L "self_attn.v_proj.weight", B "attn_v.weight", "KE", QN_CV_COPY, QN_CV_VALUES},
    {L "self_attn.o_proj.weight", B "attn_output.weight", "EO", QN_CV_COPY, QN_CV_ALWAYS},
    {L "router.proj.weight", B "ffn_gate_inp.weight", "XE", QN_CV_COPY, QN_CV_MOE},
    {L "router.scale", B "ffn_gate_inp.scale", "E", QN_CV_COPY, QN_CV_MOE},
    {L "router.per_expert_scale", B "ffn_down_exps.scale", "X", QN_CV_COPY, QN_CV_MOE},
    {L "experts.gate_up_proj", B "ffn_gate_up_exps.weight", "XNE", QN_CV_COPY, QN_CV_MOE},
    {L "experts.down_proj", B "ffn_down_exps.weight", "XEM", QN_CV_COPY, QN_CV_MOE},
    {L "pre_feedforward_layernorm_2.weight", B "pre_ffw_norm_2.weight", "E", QN_CV_COPY, QN_CV_MOE},
    {L "post_feedforward_layernorm_1.weight", B "post_ffw_norm_1.weight", "E", QN_CV_COPY, QN_CV_MOE},
    {L "post_feedforward_layernorm_2.weight", B "post_ffw_norm_2.weight", "E", QN_CV_COPY, QN_CV_MOE},
    {L "per_layer_input_gate.weight", B "inp_gate.weight", "eE", QN_CV_COPY, QN_CV_PLE},
    {L "per_layer_projection.weight", B "proj.weight", "Ee", QN_CV_COPY, QN_CV_PLE},
    {L "post_per_layer_input_norm.weight", B "post_norm.weight", "E", QN_CV_COPY, QN_CV_PLE},
    {"embed_tokens_per_layer.weight", "per_layer_token_embd.weight", "Va", QN_CV_COPY, QN_CV_PLE},
    {"per_layer_model_projection.weight", "per_layer_model_proj.weight", "aE", QN_CV_COPY, QN_CV_PLE},
    {"per_layer_projection_norm.weight", "per_layer_proj_norm.weight", "e", QN_CV_COPY, QN_CV_PLE}, {0}};

static const qn__cv_key k_gemma4[] = {{"sliding_window", "attention.sliding_window", 'i', true}, {0}};

/* layer_types, or five windowed ones and one that sees everything; the last is made one that does. */
static bool slides(qn__cv *c, int64_t i)
{
    json_t *types = qn__cv_get(c, "layer_types");
    const char *s = json_string_value(json_array_get(types, (size_t)i));
    if (i + 1 == c->n_layers)
        return false;
    return types ? s && strcmp(s, "sliding_attention") == 0 : (i + 1) % 6 != 0;
}

static void check_types(qn__cv *c)
{
    json_t *types = qn__cv_get(c, "layer_types");
    if (types && json_array_size(types) != (size_t)c->n_layers)
        (void)qn__cv_bad_key(c, "layer_types", "has %zu entries for %lld layers", json_array_size(types), (long long)c->n_layers);
    for (int64_t i = 0; types && c->status == QN_OK && i < c->n_layers; i++) {
        const char *s = json_string_value(json_array_get(types, (size_t)i));
        if (!s || (strcmp(s, "sliding_attention") != 0 && strcmp(s, "full_attention") != 0))
            (void)qn__cv_bad_key(c, "layer_types", "entry %lld is neither sliding_attention nor full_attention", (long long)i);
    }
}

static void check_switches(qn__cv *c)
{
    json_t *ropes = qn__cv_get(c, "rope_parameters"), *window = json_object_get(ropes, "sliding_attention");
    const char *type = json_string_value(json_object_get(window, "rope_type")), *both = qn__cv_text(c, "use_bidirectional_attention");
    qn__cv_must_be(c, "attention_bias", false, false);
    if (both && strcmp(both, "vision") != 0)
        (void)qn__cv_bad_key(c, "use_bidirectional_attention", "is \"%.20s\"; GGUF's gemma4 looks back only", both);
    if (qn__cv_get(c, "per_layer_config"))
        (void)qn__cv_bad_key(c, "per_layer_config", "is there; this build takes head sizes from head_dim and global_head_dim");
    if (strcmp(qn__cv_rope_type(c), "proportional") != 0)
        (void)qn__cv_bad_key(c, "rope_parameters.full_attention.rope_type", "is not proportional, which GGUF's gemma4 takes for granted");
    if (type && strcmp(type, "default") != 0)
        (void)qn__cv_bad_key(c, "rope_parameters.sliding_attention.rope_type", "is \"%.20s\", not default", type);
}

static void gemma4_layer(qn__cv *c, int64_t layer)
{
    bool windowed = c->kind[layer] & QN_CV_HAS_WINDOW;
    int64_t d = c->size[windowed ? 'w' : 'f'];
    c->size['D'] = d;
    c->size['Q'] = c->size['O'] = c->size['H'] * d;
    c->size['K'] = c->n_kv_of[layer] * d;
    c->size['F'] = c->n_ff_of[layer];
}

/* What each layer has. */
static void set_layers(qn__cv *c, bool keys_are_values, bool wide)
{
    size_t n = (size_t)c->n_layers;
    bool lends[2] = {false, false};
    unsigned always = QN_CV_HAS_ATTN | QN_CV_HAS_DENSE | (c->n_experts > 0 ? QN_CV_HAS_EXPERTS : 0u) | (c->size['e'] > 0 ? QN_CV_HAS_PLE : 0u);
    c->kind = qn__cv_alloc(c, n);
    c->n_kv_of = qn__cv_alloc(c, n * sizeof *c->n_kv_of);
    c->n_ff_of = qn__cv_alloc(c, n * sizeof *c->n_ff_of);
    for (int64_t i = 0; c->status == QN_OK && i < c->n_layers; i++) {
        bool windowed = slides(c, i), shares = c->first_shared > 0 && i >= c->first_shared;
        unsigned own = shares ? 0 : keys_are_values && !windowed ? QN_CV_HAS_KEYS : QN_CV_HAS_KEYS | QN_CV_HAS_VALUES;
        c->kind[i] = (uint8_t)(always | own | (windowed ? QN_CV_HAS_WINDOW : 0u));
        c->n_kv_of[i] = (int32_t)c->size[windowed ? 'k' : 'm'];
        c->n_ff_of[i] = (int32_t)c->size['F'] * (wide && shares ? 2 : 1);
        if (!shares)
            lends[windowed] = true;
        else if (!lends[windowed])
            (void)qn__cv_bad_key(c, "num_kv_shared_layers", "leaves layer %lld nothing to read: no layer before %lld is of its kind", (long long)i, (long long)c->first_shared);
    }
}

static void s_gemma4(qn__cv *c)
{
    int64_t window = c->size['D'], kv = c->size['K'] / window;
    int64_t full = qn__cv_int(c, "global_head_dim", 2, 1 << 12, window), ple = qn__cv_int(c, "hidden_size_per_layer_input", 0, 1 << 16, 0);
    bool same = qn__cv_bool(c, "attention_k_eq_v", false), wide = qn__cv_bool(c, "use_double_wide_mlp", false);
    int64_t kv_full = same ? qn__cv_int(c, "num_global_key_value_heads", 1, 1 << 12, kv) : kv;
    int64_t shared = qn__cv_int(c, "num_kv_shared_layers", 0, c->n_layers - 1, 0);
    check_types(c);
    check_switches(c);
    if (c->status == QN_OK && c->size['H'] % kv_full)
        (void)qn__cv_bad_key(c, "num_global_key_value_heads", "%lld does not divide the %lld heads", (long long)kv_full, (long long)c->size['H']);
    if (c->status == QN_OK && ple > 0 && qn__cv_int(c, "vocab_size_per_layer_input", 1, 1 << 28, 262144) != c->size['V'])
        (void)qn__cv_bad_key(c, "vocab_size_per_layer_input", "is not vocab_size: GGUF's gemma4 has one vocabulary");
    if (c->status == QN_OK && qn__cv_bool(c, "enable_moe_block", false))
        qn__cv_experts(c, 0, "moe_intermediate_size|expert_intermediate_size");
    if (c->status != QN_OK)
        return;
    c->size['w'] = window;
    c->size['f'] = full;
    c->size['k'] = kv;
    c->size['m'] = kv_full;
    qn__cv_size(c, 'e', 0, ple);
    qn__cv_size(c, 'a', 0, ple * c->n_layers);
    c->first_shared = shared > 0 ? c->n_layers - shared : 0;
    c->rot = full;
    set_layers(c, same, wide);
    c->layer = gemma4_layer;
}

static void m_gemma4(qn__cv *c)
{
    json_t *local = json_object_get(qn__cv_get(c, "rope_parameters"), "sliding_attention");
    uint8_t *windowed = qn__cv_alloc(c, (size_t)c->n_layers);
    for (int64_t i = 0; windowed && i < c->n_layers; i++)
        windowed[i] = (c->kind[i] & QN_CV_HAS_WINDOW) != 0;
    qn__cv_put_bools(c, "attention.sliding_window_pattern", windowed, c->n_layers);
    qn__cv_put_int(c, "attention.shared_kv_layers", c->first_shared > 0 ? c->n_layers - c->first_shared : 0);
    qn__cv_put_int(c, "embedding_length_per_layer_input", c->size['e'] > 0 ? c->size['e'] : 0);
    qn__cv_put_int(c, "attention.key_length", c->size['f']);
    qn__cv_put_int(c, "attention.value_length", c->size['f']);
    qn__cv_put_int(c, "attention.key_length_swa", c->size['w']);
    qn__cv_put_int(c, "attention.value_length_swa", c->size['w']);
    qn__cv_put_int(c, "rope.dimension_count_swa", c->size['w']);
    qn__cv_put_float(c, "rope.freq_base_swa", qn__cv_rope_float(c, local, "rope_theta", 1e-3, 1e12, 10000));
    qn__cv_put_float(c, "final_logit_softcapping", qn__cv_float(c, "final_logit_softcapping", 0, 1e9, 0)); /* readers take 30 for granted */
    if (c->n_experts > 0)
        qn__cv_put_int(c, "expert_feed_forward_length", c->size['M']);
}

/* What published files may leave out. The 12B ("unified") has neither embeddings for each layer nor experts. */
#define LEFT_OUT(context, window, ple)                                                                                 \
    "{\"vocab_size\":262144,\"hidden_size\":2304,\"intermediate_size\":9216,\"num_hidden_layers\":30,\"num_attention_heads\":8," \
    "\"num_key_value_heads\":4,\"global_head_dim\":512,\"rms_norm_eps\":1e-6,\"max_position_embeddings\":" context \
    ",\"sliding_window\":" window ",\"hidden_size_per_layer_input\":" ple ",\"rope_parameters\":{\"sliding_attention\":{" \
    "\"rope_type\":\"default\",\"rope_theta\":10000.0},\"full_attention\":{\"rope_type\":\"proportional\",\"partial_rotary_factor\":" \
    "0.25,\"rope_theta\":1000000.0}}}"

enum { FLAGS = QN_CV_TIED | QN_CV_VISION | QN_CV_MLA | QN_CV_MERGES };
const qn__cv_family qn__cv_gemmas[] = {
    {{"Gemma4ForConditionalGeneration", "Gemma4ForCausalLM"}, "gemma4", FLAGS, {r_globals, r_gemma4}, {k_gemma4}, s_gemma4, m_gemma4,
     1e6, 256, LEFT_OUT("131072", "512", "256")},
    {{"Gemma4UnifiedForConditionalGeneration", "Gemma4UnifiedForCausalLM"}, "gemma4", FLAGS, {r_globals, r_gemma4}, {k_gemma4}, s_gemma4,
     m_gemma4, 1e6, 256, LEFT_OUT("262144", "1024", "0")},
    {.arch = NULL}};
