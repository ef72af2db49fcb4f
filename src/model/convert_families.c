/* convert_families.c - the tables: which architecture of config.json is which of GGUF, where each tensor goes and what shape
 * config.json promises for it, which keys are plain copies; and the few functions that do what no table says.
 *
 * Sources: the models' published config.json and tensor names, the papers, the GGUF keys as the format's own list has them.
 * A family that is not here is refused by name; a tensor that no rule of its family names is refused by name. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/convert_rules.h"

static const qn__cv_rule r_llama[] = {IN_NORM, ATTENTION, MID_NORM("ffn_norm"), GATED_MLP, {0}};
static const qn__cv_rule r_qwen3[] = {IN_NORM, ATTENTION, QK_NORM("D", "D"), MID_NORM("ffn_norm"), GATED_MLP, {0}};
static const qn__cv_rule r_cohere[] = {IN_NORM, ATTENTION, GATED_MLP, {0}};
static const qn__cv_rule r_seed_oss[] = {IN_NORM, ATTENTION, MID_NORM("post_attention_norm"), GATED_MLP, {0}};
static const qn__cv_rule r_gemma2[] = {
    IN_NORM, ATTENTION, MID_NORM("post_attention_norm"), GATED_MLP,
    {L "pre_feedforward_layernorm.weight", B "ffn_norm.weight", "E", QN_CV_NORM, QN_CV_ALWAYS},
    {L "post_feedforward_layernorm.weight", B "post_ffw_norm.weight", "E", QN_CV_NORM, QN_CV_ALWAYS}, {0}};
static const qn__cv_rule r_gemma3[] = {QK_NORM("D", "D"), {0}};
static const qn__cv_rule r_olmo2[] = {
    ATTENTION, QK_NORM("Q", "K"), MID_NORM("post_attention_norm"), GATED_MLP,
    {L "post_feedforward_layernorm.weight", B "post_ffw_norm.weight", "E", QN_CV_NORM, QN_CV_ALWAYS}, {0}};
static const qn__cv_rule r_phi3[] = {
    IN_NORM, MID_NORM("ffn_norm"),
    {L "self_attn.qkv_proj.weight", B "attn_qkv.weight", "AE", QN_CV_COPY, QN_CV_ALWAYS},
    {L "self_attn.o_proj.weight", B "attn_output.weight", "EO", QN_CV_COPY, QN_CV_ALWAYS},
    {L "mlp.gate_up_proj.weight", B "ffn_up.weight", "GE", QN_CV_COPY, QN_CV_ALWAYS},
    {L "mlp.down_proj.weight", B "ffn_down.weight", "EF", QN_CV_COPY, QN_CV_ALWAYS}, {0}};
static const qn__cv_rule r_glm4[] = {
    IN_NORM, ATTENTION, MID_NORM("ffn_norm"),
    {L "post_self_attn_layernorm.weight", B "post_attention_norm.weight", "E", QN_CV_NORM, QN_CV_ALWAYS},
    {L "post_mlp_layernorm.weight", B "post_ffw_norm.weight", "E", QN_CV_NORM, QN_CV_ALWAYS},
    {L "mlp.gate_up_proj.weight", B "ffn_up.weight", "GE", QN_CV_COPY, QN_CV_ALWAYS},
    {L "mlp.down_proj.weight", B "ffn_down.weight", "EF", QN_CV_COPY, QN_CV_ALWAYS}, {0}};
static const qn__cv_rule r_starcoder2[] = {
    IN_NORM, {L "input_layernorm.bias", B "attn_norm.bias", "E", QN_CV_COPY, QN_CV_ALWAYS},
    MID_NORM("ffn_norm"), {L "post_attention_layernorm.bias", B "ffn_norm.bias", "E", QN_CV_COPY, QN_CV_ALWAYS},
    ATTENTION,
    WITH_BIAS("mlp.c_fc", "ffn_up", "FE", "F", QN_CV_COPY, QN_CV_ALWAYS),
    WITH_BIAS("mlp.c_proj", "ffn_down", "EF", "E", QN_CV_COPY, QN_CV_ALWAYS), {0}};

/* ---- experts ---- */

static const qn__cv_rule r_shared[] = {SHARED("mlp.shared_experts", QN_CV_MOE_MAYBE),
    {L "mlp.gate.e_score_correction_bias", B "exp_probs_b.bias", "X", QN_CV_COPY, QN_CV_MOE_MAYBE}, {0}};
static const qn__cv_rule r_mixtral[] = {ROUTER("block_sparse_moe"), EXPERT("block_sparse_moe", "w1", "w3", "w2"), {0}};
static const qn__cv_rule r_olmoe[] = {IN_NORM, ATTENTION, QK_NORM("Q", "K"), MID_NORM("ffn_norm"), {0}};
static const qn__cv_rule r_minimax[] = {
    {L "block_sparse_moe.e_score_correction_bias", B "exp_probs_b.bias", "X", QN_CV_COPY, QN_CV_ALWAYS}, {0}};
static const qn__cv_rule r_granitemoe[] = {
    {L "block_sparse_moe.router.layer.weight", B "ffn_gate_inp.weight", "XE", QN_CV_COPY, QN_CV_MOE},
    {L "block_sparse_moe.input_linear.weight", B "ffn_gate_exps.weight", "XNE", QN_CV_GATE, QN_CV_MOE},
    {L "block_sparse_moe.input_linear.weight", B "ffn_up_exps.weight", "XNE", QN_CV_UP, QN_CV_MOE},
    {L "block_sparse_moe.output_linear.weight", B "ffn_down_exps.weight", "XEM", QN_CV_COPY, QN_CV_MOE},
    {L "shared_mlp.input_linear.weight", B "ffn_gate_shexp.weight", "TE", QN_CV_GATE, QN_CV_MOE_MAYBE},
    {L "shared_mlp.input_linear.weight", B "ffn_up_shexp.weight", "TE", QN_CV_UP, QN_CV_MOE_MAYBE},
    {L "shared_mlp.output_linear.weight", B "ffn_down_shexp.weight", "ES", QN_CV_COPY, QN_CV_MOE_MAYBE}, {0}};
static const qn__cv_rule r_glm4moe[] = {
    {L "self_attn.q_norm.weight", B "attn_q_norm.weight", "D", QN_CV_NORM, QN_CV_MAYBE},
    {L "self_attn.k_norm.weight", B "attn_k_norm.weight", "D", QN_CV_NORM, QN_CV_MAYBE}, {0}};
static const qn__cv_rule r_gpt_oss[] = {
    IN_NORM, ATTENTION, MID_NORM("post_attention_norm"),
    {L "self_attn.sinks", B "attn_sinks.weight", "H", QN_CV_COPY, QN_CV_ALWAYS},
    {L "mlp.router.weight", B "ffn_gate_inp.weight", "XE", QN_CV_COPY, QN_CV_MOE},
    {L "mlp.router.bias", B "ffn_gate_inp.bias", "X", QN_CV_COPY, QN_CV_MOE},
    {L "mlp.experts.gate_up_proj_blocks", B "ffn_gate_exps.weight", "XNPU", QN_CV_MXFP4_EVEN, QN_CV_MOE},
    {L "mlp.experts.gate_up_proj_blocks", B "ffn_up_exps.weight", "XNPU", QN_CV_MXFP4_ODD, QN_CV_MOE},
    {L "mlp.experts.down_proj_blocks", B "ffn_down_exps.weight", "XEWU", QN_CV_MXFP4, QN_CV_MOE},
    {L "mlp.experts.gate_up_proj_bias", B "ffn_gate_exps.bias", "XN", QN_CV_EVEN, QN_CV_MOE},
    {L "mlp.experts.gate_up_proj_bias", B "ffn_up_exps.bias", "XN", QN_CV_ODD, QN_CV_MOE},
    {L "mlp.experts.down_proj_bias", B "ffn_down_exps.bias", "XE", QN_CV_COPY, QN_CV_MOE}, {0}};
static const qn__cv_rule r_deepseek2[] = {
    IN_NORM, MID_NORM("ffn_norm"), GATED_MLP,
    {L "self_attn.q_proj.weight", B "attn_q.weight", "QE", QN_CV_COPY, QN_CV_MAYBE},
    {L "self_attn.q_a_proj.weight", B "attn_q_a.weight", "BE", QN_CV_COPY, QN_CV_MAYBE},
    {L "self_attn.q_a_layernorm.weight", B "attn_q_a_norm.weight", "B", QN_CV_COPY, QN_CV_MAYBE},
    {L "self_attn.q_b_proj.weight", B "attn_q_b.weight", "QB", QN_CV_COPY, QN_CV_MAYBE},
    {L "self_attn.kv_a_proj_with_mqa.weight", B "attn_kv_a_mqa.weight", "JE", QN_CV_COPY, QN_CV_ALWAYS},
    {L "self_attn.kv_a_layernorm.weight", B "attn_kv_a_norm.weight", "C", QN_CV_COPY, QN_CV_ALWAYS},
    {L "self_attn.kv_b_proj.weight", B "attn_k_b.weight", "YC", QN_CV_K_B, QN_CV_ALWAYS},
    {L "self_attn.kv_b_proj.weight", B "attn_v_b.weight", "YC", QN_CV_V_B, QN_CV_ALWAYS},
    {L "self_attn.o_proj.weight", B "attn_output.weight", "EO", QN_CV_COPY, QN_CV_ALWAYS}, {0}};

/* ---- keys ---- */

static const qn__cv_key k_granite[] = {{"embedding_multiplier", "embedding_scale", 'f', true},
                                       {"residual_multiplier", "residual_scale", 'f', true},
                                       {"attention_multiplier", "attention.scale", 'f', true},
                                       {"logits_scaling", "logit_scale", 'f', true}, {0}};
static const qn__cv_key k_cohere[] = {{"logit_scale", "logit_scale", 'f', true},
                                      {"sliding_window", "attention.sliding_window", 'i', true}, {0}};
static const qn__cv_key k_gemma[] = {{"attn_logit_softcapping", "attn_logit_softcapping", 'f', false},
                                     {"final_logit_softcapping", "final_logit_softcapping", 'f', false},
                                     {"sliding_window", "attention.sliding_window", 'i', true}, {0}};
static const qn__cv_key k_window[] = {{"sliding_window", "attention.sliding_window", 'i', false}, {0}};
static const qn__cv_key k_deepseek[] = {{"q_lora_rank", "attention.q_lora_rank", 'i', false},
                                        {"kv_lora_rank", "attention.kv_lora_rank", 'i', true},
                                        {"first_k_dense_replace", "leading_dense_block_count", 'i', true},
                                        {"n_shared_experts", "expert_shared_count", 'i', false},
                                        {"routed_scaling_factor", "expert_weights_scale", 'f', true},
                                        {"norm_topk_prob", "expert_weights_norm", 'b', false},
                                        {"n_group", "expert_group_count", 'i', false},
                                        {"topk_group", "expert_group_used_count", 'i', false}, {0}};
static const qn__cv_key k_glm4moe[] = {{"first_k_dense_replace", "leading_dense_block_count", 'i', true},
                                       {"n_shared_experts", "expert_shared_count", 'i', true},
                                       {"routed_scaling_factor", "expert_weights_scale", 'f', true},
                                       {"norm_topk_prob", "expert_weights_norm", 'b', true}, {0}};

/* ---- what tables do not say ---- */

void qn__cv_must_be(qn__cv *c, const char *key, bool want, bool fallback)
{
    if (qn__cv_bool(c, key, fallback) != want)
        (void)qn__cv_bad_key(c, key, "is %s; GGUF's %s has no place for that", want ? "false" : "true", c->family->arch);
}

void qn__cv_size(qn__cv *c, char letter, char twice, int64_t n)
{
    bool known = c->status == QN_OK && n > 0;
    c->size[(unsigned char)letter] = known ? n : -1;
    if (twice)
        c->size[(unsigned char)twice] = known ? 2 * n : -1;
}

void qn__cv_experts(qn__cv *c, int64_t first, const char *ff)
{
    c->n_experts = qn__cv_int(c, "num_experts|num_local_experts|n_routed_experts", 1, 1 << 14, INT64_MIN);
    qn__cv_size(c, 'X', 0, c->n_experts);
    qn__cv_size(c, 'M', 'N', qn__cv_int(c, ff, 1, 1 << 22, INT64_MIN));
    c->first_moe = first;
}

void qn__cv_partial_rope(qn__cv *c, double fallback)
{
    double part = qn__cv_rope_float(c, qn__cv_rope(c), "partial_rotary_factor", 0.01, 1, -1);
    if (part < 0)
        part = qn__cv_float(c, "partial_rotary_factor", 0.01, 1, fallback);
    c->rot = (int64_t)((double)c->size['D'] * part);
}

static void s_qwen2(qn__cv *c)
{
    qn__cv_must_be(c, "use_sliding_window", false, false);
}

static void s_mixtral(qn__cv *c)
{
    qn__cv_experts(c, 0, "intermediate_size");
}

static void s_qwen3moe(qn__cv *c)
{
    json_t *only = qn__cv_get(c, "mlp_only_layers");
    qn__cv_experts(c, 0, "moe_intermediate_size");
    qn__cv_must_be(c, "norm_topk_prob", true, false);
    qn__cv_must_be(c, "use_sliding_window", false, false);
    if (qn__cv_int(c, "decoder_sparse_step", 1, 1 << 20, 1) != 1)
        (void)qn__cv_bad_key(c, "decoder_sparse_step", "is not 1: GGUF's qwen3moe has experts in every layer");
    if (json_array_size(only) > 0)
        (void)qn__cv_bad_key(c, "mlp_only_layers", "is not empty: GGUF's qwen3moe has experts in every layer");
}

static void s_olmoe(qn__cv *c)
{
    qn__cv_experts(c, 0, "intermediate_size");
    qn__cv_must_be(c, "norm_topk_prob", false, false);
}

static void s_cohere2(qn__cv *c)
{
    qn__cv_must_be(c, "use_qk_norm", false, false);
    if (qn__cv_float(c, "rotary_pct", 0, 1, 1) != 1)
        (void)qn__cv_bad_key(c, "rotary_pct", "is not 1: GGUF's %s has no place for a partial rope", c->family->arch);
}

/* intermediate_size is an expert's; the leading layers have a size of their own. */
static void s_cohere2moe(qn__cv *c)
{
    s_cohere2(c);
    json_t *kinds = qn__cv_get(c, "mlp_layer_types");
    int64_t first = qn__cv_int(c, "first_k_dense_replace", 0, c->n_layers, 0), shared;
    if (json_is_array(kinds))
        for (first = 0; first < (int64_t)json_array_size(kinds); first++) {
            const char *s = json_string_value(json_array_get(kinds, (size_t)first));
            if (!s || strcmp(s, "dense") != 0)
                break;
        }
    if (first > 0 && qn__cv_int(c, "prefix_dense_sliding_window_pattern", 1, 1 << 20, 1) != 1)
        (void)qn__cv_bad_key(c, "prefix_dense_sliding_window_pattern", "is not 1: in GGUF's cohere2moe the leading layers see everything");
    qn__cv_experts(c, first, "intermediate_size");
    shared = qn__cv_int(c, "num_shared_experts", 0, 1 << 10, 0);
    if (shared > 0) {
        const char *how = qn__cv_text(c, "shared_expert_combination_strategy");
        qn__cv_size(c, 'S', 'T', shared * c->size['M']);
        if (how && strcmp(how, "average") != 0)
            (void)qn__cv_bad_key(c, "shared_expert_combination_strategy", "is \"%.20s\"; GGUF's cohere2moe averages", how);
    }
    qn__cv_size(c, 'F', 'G', qn__cv_int(c, "prefix_dense_intermediate_size", 1, 1 << 22, c->size['M']));
}

static void s_granitemoe(qn__cv *c)
{
    qn__cv_experts(c, 0, "intermediate_size");
    int64_t shared = qn__cv_int(c, "shared_intermediate_size", 0, 1 << 22, 0);
    if (shared > 0)
        qn__cv_size(c, 'S', 'T', shared);
}

static void s_glm4(qn__cv *c)
{
    qn__cv_partial_rope(c, 0.5);
}

static void s_shared(qn__cv *c)
{
    int64_t shared = qn__cv_int(c, "n_shared_experts", 0, 1 << 10, 0);
    qn__cv_experts(c, qn__cv_int(c, "first_k_dense_replace", 0, c->n_layers, INT64_MIN), "moe_intermediate_size");
    if (shared > 0)
        qn__cv_size(c, 'S', 'T', shared * c->size['M']);
    if (qn__cv_int(c, "moe_layer_freq", 1, 1 << 20, 1) != 1)
        (void)qn__cv_bad_key(c, "moe_layer_freq", "is not 1: GGUF's %s has experts in every layer behind the leading ones", c->family->arch);
}

static void s_glm4moe(qn__cv *c)
{
    s_shared(c);
    qn__cv_partial_rope(c, 0.5);
    if (qn__cv_int(c, "n_group", 1, 1 << 10, 1) != 1)
        (void)qn__cv_bad_key(c, "n_group", "is not 1: GGUF's glm4moe has no groups of experts");
}

static void s_minimax(qn__cv *c)
{
    const char *scoring = qn__cv_text(c, "scoring_func");
    qn__cv_experts(c, 0, "intermediate_size");
    c->rot = qn__cv_int(c, "rotary_dim", 2, c->size['D'], c->size['D']);
    if (scoring && strcmp(scoring, "sigmoid") != 0)
        (void)qn__cv_bad_key(c, "scoring_func", "is \"%.20s\", not sigmoid", scoring);
}

static void s_phi3(qn__cv *c)
{
    qn__cv_partial_rope(c, 1);
}

static void s_gpt_oss(qn__cv *c)
{
    qn__cv_experts(c, 0, "intermediate_size");
    if (c->status == QN_OK && (c->size['E'] % 32 || c->size['M'] % 32))
        (void)qn__cv_bad_key(c, "hidden_size", "and intermediate_size must be multiples of 32, MXFP4's block");
    qn__cv_size(c, 'P', 0, c->size['E'] / 32);
    qn__cv_size(c, 'W', 0, c->size['M'] / 32);
}

static void s_deepseek2(qn__cv *c)
{
    int64_t heads = c->size['H'], nope = qn__cv_int(c, "qk_nope_head_dim", 1, 1 << 12, INT64_MIN);
    int64_t rope = qn__cv_int(c, "qk_rope_head_dim", 2, 1 << 12, INT64_MIN);
    int64_t v = qn__cv_int(c, "v_head_dim", 1, 1 << 12, INT64_MIN), low = qn__cv_int(c, "kv_lora_rank", 1, 1 << 16, INT64_MIN);
    if (c->status != QN_OK)
        return;
    s_shared(c);
    qn__cv_size(c, 'B', 0, qn__cv_int(c, "q_lora_rank", 1, 1 << 16, -1));
    qn__cv_size(c, 'C', 0, low);
    qn__cv_size(c, 'D', 0, nope + rope);
    qn__cv_size(c, 'Q', 0, heads * (nope + rope));
    qn__cv_size(c, 'K', 0, nope + rope); /* the latent is one head for all */
    qn__cv_size(c, 'O', 0, heads * v);
    qn__cv_size(c, 'J', 0, low + rope);
    qn__cv_size(c, 'Y', 0, heads * (nope + v));
    qn__cv_size(c, 'n', 0, nope);
    qn__cv_size(c, 'v', 0, v);
    c->rot = rope;
}

/* layer_types, or a period: of so many layers the last sees everything. */
static void put_pattern(qn__cv *c, int64_t period, int64_t first, bool always)
{
    json_t *types = qn__cv_get(c, "layer_types");
    bool plain = true;
    uint8_t *windowed = qn__cv_alloc(c, (size_t)c->n_layers);
    int64_t p = qn__cv_int(c, "sliding_window_pattern|_sliding_window_pattern|layer_switch", 1, 1024, period);
    if (types && json_array_size(types) != (size_t)c->n_layers)
        (void)qn__cv_bad_key(c, "layer_types", "has %zu entries for %lld layers", json_array_size(types), (long long)c->n_layers);
    for (int64_t i = 0; c->status == QN_OK && i < c->n_layers; i++) {
        const char *s = json_string_value(json_array_get(types, (size_t)i));
        bool w = types ? s && strcmp(s, "sliding_attention") == 0 : (i - first + 1) % p != 0;
        if (types && !w && (!s || strcmp(s, "full_attention") != 0))
            (void)qn__cv_bad_key(c, "layer_types", "entry %lld is neither sliding_attention nor full_attention", (long long)i);
        windowed[i] = w && i >= first;
        plain &= windowed[i] == ((i + 1) % period != 0);
    }
    if (c->status == QN_OK && (always || !plain)) {
        char key[64];
        (void)snprintf(key, sizeof key, "%s.attention.sliding_window_pattern", c->family->arch);
        qn__gguf_put_arr(c->w, key, QN_GGUF_BOOL, (uint64_t)c->n_layers, windowed, (size_t)c->n_layers);
    }
}

static void m_cohere2(qn__cv *c)
{
    put_pattern(c, 4, 0, false);
    qn__cv_put_text(c, "rope.scaling.type", "none");
}

static void m_cohere2moe(qn__cv *c)
{
    const char *how = qn__cv_text(c, "expert_selection_fn");
    put_pattern(c, 4, c->first_moe, true);
    qn__cv_put_text(c, "rope.scaling.type", "none");
    qn__cv_put_int(c, "expert_feed_forward_length", c->size['M']);
    qn__cv_put_int(c, "leading_dense_block_count", c->first_moe);
    qn__cv_put_bool(c, "expert_weights_norm", qn__cv_bool(c, "norm_topk_prob", true));
    if (how && strcmp(how, "sigmoid") != 0 && strcmp(how, "softmax") != 0)
        (void)qn__cv_bad_key(c, "expert_selection_fn", "is \"%.20s\", neither sigmoid nor softmax", how);
    qn__cv_put_int(c, "expert_gating_func", how && strcmp(how, "sigmoid") == 0 ? 2 : 1);
    if (c->size['S'] > 0) {
        qn__cv_put_int(c, "expert_shared_count", c->size['S'] / c->size['M']);
        qn__cv_put_int(c, "expert_shared_feed_forward_length", c->size['S']);
    }
}

/* Attention's scale, when it is not what a reader takes for granted. */
static void put_scale(qn__cv *c, int64_t wide_layers)
{
    double wide = (double)c->size['E'] / (double)c->size['H'], usual = c->n_layers == wide_layers ? wide : (double)c->size['D'];
    double q = qn__cv_float(c, "query_pre_attn_scalar", 1e-6, 1e9, usual);
    if (fabs(q - usual) > 1e-6 * usual)
        qn__cv_put_float(c, "attention.scale", 1 / sqrt(q));
}

static void m_gemma2(qn__cv *c)
{
    put_pattern(c, 2, 0, false);
    put_scale(c, 46);
}

static void m_gemma3(qn__cv *c)
{
    json_t *local = json_object_get(qn__cv_get(c, "rope_parameters"), "sliding_attention");
    double base = qn__cv_rope_float(c, local, "rope_theta", 1e-3, 1e12, 0);
    if (base <= 0)
        base = qn__cv_float(c, "rope_local_base_freq", 1e-3, 1e12, 10000);
    if (base != 10000)
        qn__cv_put_float(c, "rope.freq_base_swa", base);
    put_pattern(c, 6, 0, false);
    put_scale(c, 62);
}

static void m_olmo2(qn__cv *c)
{
    if (qn__cv_get(c, "sliding_window"))
        put_pattern(c, 4, 0, true);
}

static void m_phi3(qn__cv *c)
{
    if (!qn__cv_rope_type(c)[0] && qn__cv_get(c, "original_max_position_embeddings"))
        qn__cv_put_int(c, "rope.scaling.original_context_length", qn__cv_int(c, "original_max_position_embeddings", 1, INT32_MAX, 1));
}

static void m_qwen3moe(qn__cv *c)
{
    qn__cv_put_int(c, "expert_feed_forward_length", c->size['M']);
}

static void m_granitemoe(qn__cv *c)
{
    if (c->size['S'] > 0)
        qn__cv_put_int(c, "expert_shared_feed_forward_length", c->size['S']);
}

static void m_glm4moe(qn__cv *c)
{
    qn__cv_put_int(c, "expert_feed_forward_length", c->size['M']);
    qn__cv_put_int(c, "expert_gating_func", 2);
}

static void m_minimax(qn__cv *c)
{
    m_glm4moe(c);
}

static void m_gpt_oss(qn__cv *c)
{
    put_pattern(c, 2, 0, false);
    qn__cv_put_int(c, "expert_feed_forward_length", c->size['M']);
    if (fabs(qn__cv_float(c, "swiglu_limit", 0, 1e9, 7) - 7) > 0)
        (void)qn__cv_bad_key(c, "swiglu_limit", "is not 7, which GGUF's gpt-oss takes for granted");
}

static void m_mistral3(qn__cv *c)
{
    json_t *rope = qn__cv_rope(c);
    double beta = qn__cv_rope_float(c, rope, "llama_4_scaling_beta", 0, 1e6, 0);
    double all = qn__cv_rope_float(c, rope, "mscale_all_dim", 0, 1e3, 0);
    if (beta > 0)
        qn__cv_put_float(c, "attention.temperature_scale", beta);
    if (all > 0)
        qn__cv_put_float(c, "rope.scaling.yarn_log_multiplier", all);
}

static void m_deepseek2(qn__cv *c)
{
    const char *scoring = qn__cv_text(c, "scoring_func");
    double all = qn__cv_rope_float(c, qn__cv_rope(c), "mscale_all_dim", 0, 1e3, 0);
    const char *method = qn__cv_text(c, "topk_method");
    bool sigmoid = scoring ? strcmp(scoring, "sigmoid") == 0 : method && strcmp(method, "noaux_tc") == 0;
    if (scoring && !sigmoid && strcmp(scoring, "softmax") != 0)
        (void)qn__cv_bad_key(c, "scoring_func", "is \"%.20s\", neither sigmoid nor softmax", scoring);
    qn__cv_put_int(c, "expert_feed_forward_length", c->size['M']);
    qn__cv_put_int(c, "expert_gating_func", sigmoid ? 2 : 1);
    qn__cv_put_int(c, "attention.key_length", c->size['J']);
    qn__cv_put_int(c, "attention.value_length", c->size['C']);
    qn__cv_put_int(c, "attention.key_length_mla", c->size['D']);
    qn__cv_put_int(c, "attention.value_length_mla", c->size['v']);
    if (all > 0)
        qn__cv_put_float(c, "rope.scaling.yarn_log_multiplier", 0.1 * all);
}

const qn__cv_family qn__cv_decoders[] = {
    {{"LlamaForCausalLM", "MistralForCausalLM"}, "llama", QN_CV_PERMUTES, {r_globals, r_llama}, {0}, NULL, NULL, 10000, 0, NULL},
    {{"MixtralForCausalLM"}, "llama", QN_CV_PERMUTES, {r_globals, r_llama, r_mixtral}, {0}, s_mixtral, NULL, 1e6, 0, NULL},
    {{"Mistral3ForConditionalGeneration", "Ministral3ForCausalLM"}, "mistral3", QN_CV_PERMUTES | QN_CV_VISION,
     {r_globals, r_llama}, {0}, NULL, m_mistral3, 0, 0, NULL},
    {{"GraniteForCausalLM"}, "granite", QN_CV_PERMUTES, {r_globals, r_llama}, {k_granite}, NULL, NULL, 10000, 0, NULL},
    {{"GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"}, "granitemoe", QN_CV_PERMUTES,
     {r_globals, r_llama, r_granitemoe}, {k_granite}, s_granitemoe, m_granitemoe, 10000, 0, NULL},
    {{"Qwen2ForCausalLM"}, "qwen2", 0, {r_globals, r_llama}, {0}, s_qwen2, NULL, 10000, 0, NULL},
    {{"Qwen3ForCausalLM"}, "qwen3", 0, {r_globals, r_qwen3}, {0}, s_qwen2, NULL, 10000, 128, NULL},
    {{"Qwen3MoeForCausalLM"}, "qwen3moe", 0, {r_globals, r_qwen3, r_moe}, {0}, s_qwen3moe, m_qwen3moe, 10000, 0, NULL},
    {{"Cohere2ForCausalLM"}, "cohere2", QN_CV_LAYER_NORM | QN_CV_TIED, {r_globals, r_cohere}, {k_cohere}, s_cohere2, m_cohere2, 10000, 0, NULL},
    {{"Cohere2MoeForCausalLM"}, "cohere2moe", QN_CV_LAYER_NORM | QN_CV_TIED, {r_globals, r_cohere, r_moe, r_shared}, {k_cohere},
     s_cohere2moe, m_cohere2moe, 10000, 0, NULL},
    {{"Gemma2ForCausalLM"}, "gemma2", QN_CV_PLUS_ONE | QN_CV_TIED, {r_globals, r_gemma2}, {k_gemma}, NULL, m_gemma2, 10000, 256, NULL},
    {{"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"}, "gemma3", QN_CV_PLUS_ONE | QN_CV_TIED | QN_CV_VISION,
     {r_globals, r_gemma2, r_gemma3}, {k_gemma}, NULL, m_gemma3, 1e6, 256,
     "{\"vocab_size\":262208,\"num_attention_heads\":8,\"num_key_value_heads\":4,\"max_position_embeddings\":131072,\"rms_norm_eps\":1e-6,"
     "\"sliding_window\":4096}"},
    {{"Phi3ForCausalLM"}, "phi3", 0, {r_globals, r_phi3}, {k_window}, s_phi3, m_phi3, 10000, 0, NULL},
    {{"Starcoder2ForCausalLM"}, "starcoder2", QN_CV_LAYER_NORM, {r_globals, r_starcoder2}, {k_window}, NULL, NULL, 10000, 0, NULL},
    {{"Olmo2ForCausalLM", "Olmo3ForCausalLM"}, "olmo2", 0, {r_globals, r_olmo2}, {k_window}, NULL, m_olmo2, 500000, 0, NULL},
    {{"OlmoeForCausalLM"}, "olmoe", 0, {r_globals, r_olmoe, r_moe}, {0}, s_olmoe, NULL, 10000, 0, NULL},
    {{"Glm4ForCausalLM"}, "glm4", 0, {r_globals, r_glm4}, {0}, s_glm4, NULL, 10000, 128, NULL},
    {{"Glm4MoeForCausalLM"}, "glm4moe", 0, {r_globals, r_seed_oss, r_glm4moe, r_moe, r_shared}, {k_glm4moe}, s_glm4moe, m_glm4moe, 10000, 128, NULL},
    {{"SeedOssForCausalLM"}, "seed_oss", 0, {r_globals, r_seed_oss}, {0}, NULL, NULL, 1e7, 128, NULL},
    {{"MiniMaxM2ForCausalLM"}, "minimax-m2", 0, {r_globals, r_olmoe, r_mixtral, r_minimax}, {0}, s_minimax, m_minimax, 5e6, 128, NULL},
    {{"GptOssForCausalLM"}, "gpt-oss", 0, {r_globals, r_gpt_oss}, {k_window}, s_gpt_oss, m_gpt_oss, 150000, 64, NULL},
    {{"DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM", "Glm4MoeLiteForCausalLM"}, "deepseek2", QN_CV_MLA,
     {r_globals, r_deepseek2, r_moe, r_shared}, {k_deepseek}, s_deepseek2, m_deepseek2, 10000, 0, NULL},
    {.arch = NULL}};

const qn__cv_family *qn__cv_family_at(size_t i)
{
    static const qn__cv_family *const tables[] = {qn__cv_decoders, qn__cv_hybrids, qn__cv_gemmas, qn__cv_encoders};
    for (size_t k = 0; k < sizeof tables / sizeof *tables; k++)
        for (const qn__cv_family *f = tables[k]; f->arch; f++)
            if (i-- == 0)
                return f;
    return NULL;
}
