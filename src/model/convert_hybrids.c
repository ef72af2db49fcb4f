/* convert_hybrids.c - the tables of families whose layers are of several kinds: Qwen3-Next and Qwen3.5 (gated delta net),
 * Nemotron-H (Mamba-2), Step 3.5 (layers of two widths). What a key head's rows are, which norms store weight - 1, what a rate
 * of decay is: from the models' published modelling code, which tests/golden/test_convert_formulas.c computes anew.
 *
 *   qwen3next   in_proj_qkvz: for each key head q, k, v, z       -> attn_qkv: all q, all k, all v;  attn_gate: all z
 *   qwen35      value heads of a key head are neighbours         -> value head v * keys + k reads key head k
 *
 * Refuses: a pattern of layers that GGUF cannot say; switches that it has no key for. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/convert_rules.h"

#define SHARED_GATE {L "mlp.shared_expert_gate.weight", B "ffn_gate_inp_shexp.weight", "1E>E", QN_CV_COPY, QN_CV_MOE}
/* Value heads stay as they are, or are tiled. */
#define DELTA(conv, a, dt)                                                                                             \
    {L "linear_attn.conv1d.weight", B "ssm_conv1d.weight", "Z1r>Zr", conv, QN_CV_STATE},                               \
    {L "linear_attn.A_log", B "ssm_a", "h", a, QN_CV_STATE},                                                           \
    {L "linear_attn.dt_bias", B "ssm_dt.bias", "h", dt, QN_CV_STATE},                                                  \
    {L "linear_attn.norm.weight", B "ssm_norm.weight", "d", QN_CV_COPY, QN_CV_STATE}

static const qn__cv_rule r_gated[] = {
    IN_NORM, QK_NORM("D", "D"), MID_NORM("post_attention_norm"), GATED_MLP,
    WITH_BIAS("self_attn.q_proj", "attn_q", "qE", "q", QN_CV_COPY, QN_CV_ATTN),
    WITH_BIAS("self_attn.k_proj", "attn_k", "KE", "K", QN_CV_COPY, QN_CV_ATTN),
    WITH_BIAS("self_attn.v_proj", "attn_v", "KE", "K", QN_CV_COPY, QN_CV_ATTN),
    WITH_BIAS("self_attn.o_proj", "attn_output", "EO", "E", QN_CV_COPY, QN_CV_ATTN), {0}};
static const qn__cv_rule r_qwen3next[] = {
    {L "linear_attn.in_proj_qkvz.weight", B "attn_qkv.weight", "zE>ZE", QN_CV_QKV, QN_CV_STATE},
    {L "linear_attn.in_proj_qkvz.weight", B "attn_gate.weight", "zE>RE", QN_CV_Z, QN_CV_STATE},
    {L "linear_attn.in_proj_ba.weight", B "ssm_ba.weight", "bE", QN_CV_COPY, QN_CV_STATE},
    {L "linear_attn.out_proj.weight", B "ssm_out.weight", "ER", QN_CV_COPY, QN_CV_STATE},
    DELTA(QN_CV_COPY, QN_CV_A, QN_CV_COPY), {0}};
static const qn__cv_rule r_qwen35[] = {
    {L "linear_attn.in_proj_qkv.weight", B "attn_qkv.weight", "ZE", QN_CV_TILE, QN_CV_STATE},
    {L "linear_attn.in_proj_z.weight", B "attn_gate.weight", "RE", QN_CV_TILE, QN_CV_STATE},
    {L "linear_attn.in_proj_a.weight", B "ssm_alpha.weight", "hE", QN_CV_TILE, QN_CV_STATE},
    {L "linear_attn.in_proj_b.weight", B "ssm_beta.weight", "hE", QN_CV_TILE, QN_CV_STATE},
    {L "linear_attn.out_proj.weight", B "ssm_out.weight", "ER", QN_CV_TILE_COLS, QN_CV_STATE},
    DELTA(QN_CV_TILE, QN_CV_TILE_A, QN_CV_TILE), {0}};
static const qn__cv_rule r_shared_one[] = {SHARED("mlp.shared_expert", QN_CV_MOE), SHARED_GATE, {0}};

static const qn__cv_rule r_nemotron[] = {
    {"embeddings.weight", "token_embd.weight", "VE", QN_CV_COPY, QN_CV_ALWAYS},
    {"norm_f.weight", "output_norm.weight", "E", QN_CV_COPY, QN_CV_ALWAYS},
    {"lm_head.weight", "output.weight", "VE", QN_CV_COPY, QN_CV_HEAD},
    {L "norm.weight", B "attn_norm.weight", "E", QN_CV_COPY, QN_CV_ALWAYS},
    WITH_BIAS("mixer.q_proj", "attn_q", "QE", "Q", QN_CV_COPY, QN_CV_ATTN),
    WITH_BIAS("mixer.k_proj", "attn_k", "KE", "K", QN_CV_COPY, QN_CV_ATTN),
    WITH_BIAS("mixer.v_proj", "attn_v", "KE", "K", QN_CV_COPY, QN_CV_ATTN),
    WITH_BIAS("mixer.o_proj", "attn_output", "EO", "E", QN_CV_COPY, QN_CV_ATTN),
    {L "mixer.in_proj.weight", B "ssm_in.weight", "zE", QN_CV_COPY, QN_CV_STATE},
    {L "mixer.conv1d.weight", B "ssm_conv1d.weight", "Z1r>Zr", QN_CV_COPY, QN_CV_STATE},
    {L "mixer.conv1d.bias", B "ssm_conv1d.bias", "Z", QN_CV_COPY, QN_CV_STATE_MAYBE},
    {L "mixer.A_log", B "ssm_a", "h>h1", QN_CV_A, QN_CV_STATE},
    {L "mixer.D", B "ssm_d", "h>h1", QN_CV_COPY, QN_CV_STATE},
    {L "mixer.dt_bias", B "ssm_dt.bias", "h", QN_CV_COPY, QN_CV_STATE},
    {L "mixer.norm.weight", B "ssm_norm.weight", "R>gi", QN_CV_COPY, QN_CV_STATE},
    {L "mixer.out_proj.weight", B "ssm_out.weight", "ER", QN_CV_COPY, QN_CV_STATE},
    WITH_BIAS("mixer.up_proj", "ffn_up", "FE", "F", QN_CV_COPY, QN_CV_DENSE),
    WITH_BIAS("mixer.down_proj", "ffn_down", "EF", "E", QN_CV_COPY, QN_CV_DENSE),
    ROUTER("mixer"), {L "mixer.gate.e_score_correction_bias", B "exp_probs_b.bias", "X", QN_CV_COPY, QN_CV_MOE},
    {L "mixer.experts.#.up_proj.weight", B "ffn_up_exps.weight", "Ml", QN_CV_COPY, QN_CV_MOE},
    {L "mixer.experts.#.down_proj.weight", B "ffn_down_exps.weight", "lM", QN_CV_COPY, QN_CV_MOE},
    {L "mixer.experts.up_proj", B "ffn_up_exps.weight", "XMl", QN_CV_COPY, QN_CV_PACKED},
    {L "mixer.experts.down_proj", B "ffn_down_exps.weight", "XlM", QN_CV_COPY, QN_CV_PACKED},
    {L "mixer.shared_experts.up_proj.weight", B "ffn_up_shexp.weight", "SE", QN_CV_COPY, QN_CV_MOE_MAYBE},
    {L "mixer.shared_experts.down_proj.weight", B "ffn_down_shexp.weight", "ES", QN_CV_COPY, QN_CV_MOE_MAYBE},
    {L "mixer.fc1_latent_proj.weight", B "ffn_latent_down.weight", "lE", QN_CV_COPY, QN_CV_MOE_MAYBE},
    {L "mixer.fc2_latent_proj.weight", B "ffn_latent_up.weight", "El", QN_CV_COPY, QN_CV_MOE_MAYBE}, {0}};

static const qn__cv_rule r_step35[] = {
    IN_NORM, ATTENTION, QK_NORM("D", "D"), MID_NORM("ffn_norm"), GATED_MLP,
    {L "self_attn.g_proj.weight", B "attn_gate.weight", "HE", QN_CV_COPY, QN_CV_MAYBE},
    ROUTER("moe"), {L "moe.router_bias", B "exp_probs_b.bias", "X", QN_CV_COPY, QN_CV_MOE},
    {L "moe.gate_proj.weight", B "ffn_gate_exps.weight", "XME", QN_CV_COPY, QN_CV_MOE},
    {L "moe.up_proj.weight", B "ffn_up_exps.weight", "XME", QN_CV_COPY, QN_CV_MOE},
    {L "moe.down_proj.weight", B "ffn_down_exps.weight", "XEM", QN_CV_COPY, QN_CV_MOE},
    SHARED("share_expert", QN_CV_MOE), {0}};

/* ---- keys ---- */

static const qn__cv_key k_nemotron_moe[] = {{"moe_intermediate_size", "expert_feed_forward_length", 'i', true},
                                            {"moe_shared_expert_intermediate_size", "expert_shared_feed_forward_length", 'i', true},
                                            {"n_shared_experts", "expert_shared_count", 'i', true},
                                            {"norm_topk_prob", "expert_weights_norm", 'b', true},
                                            {"routed_scaling_factor", "expert_weights_scale", 'f', true},
                                            {"n_group", "expert_group_count", 'i', true},
                                            {"moe_latent_size", "moe_latent_size", 'i', false}, {0}};
static const qn__cv_key k_step35[] = {{"sliding_window", "attention.sliding_window", 'i', true},
                                      {"moe_intermediate_size", "expert_feed_forward_length", 'i', true},
                                      {"share_expert_dim", "expert_shared_feed_forward_length", 'i', true},
                                      {"moe_router_scaling_factor", "expert_weights_scale", 'f', false},
                                      {"norm_expert_weight", "expert_weights_norm", 'b', false}, {0}};

/* ---- layers with a gated delta net ---- */

/* "layer_types", when it is there, must be what every `interval`-th layer says. */
static int64_t interval_of(qn__cv *c)
{
    json_t *types = qn__cv_get(c, "layer_types");
    int64_t interval = qn__cv_int(c, "full_attention_interval", 1, 1024, 4), i = 0;
    if (types && json_array_size(types) != (size_t)c->n_layers) {
        (void)qn__cv_bad_key(c, "layer_types", "has %zu entries for %lld layers", json_array_size(types), (long long)c->n_layers);
        return interval;
    }
    if (types && !qn__cv_get(c, "full_attention_interval"))
        for (interval = c->n_layers, i = 0; i < c->n_layers; i++) {
            const char *s = json_string_value(json_array_get(types, (size_t)i));
            if (s && strcmp(s, "full_attention") == 0) {
                interval = i + 1;
                break;
            }
        }
    for (i = 0; types && c->status == QN_OK && i < c->n_layers; i++) {
        const char *s = json_string_value(json_array_get(types, (size_t)i));
        if (!s || strcmp(s, (i + 1) % interval ? "linear_attention" : "full_attention") != 0)
            (void)qn__cv_bad_key(c, "layer_types", "entry %lld does not fit attention in every %lldth layer and linear_attention in the others, which is all that GGUF's %s can say", (long long)i, (long long)interval, c->family->arch);
    }
    return interval;
}

static void delta_sizes(qn__cv *c)
{
    int64_t keys = qn__cv_int(c, "linear_num_key_heads", 1, 1 << 12, INT64_MIN), values = qn__cv_int(c, "linear_num_value_heads", 1, 1 << 12, INT64_MIN);
    int64_t dk = qn__cv_int(c, "linear_key_head_dim", 1, 1 << 12, INT64_MIN), dv = qn__cv_int(c, "linear_value_head_dim", 1, 1 << 12, INT64_MIN);
    int64_t interval = interval_of(c);
    c->kind = qn__cv_alloc(c, (size_t)c->n_layers);
    if (c->status != QN_OK)
        return;
    if (values % keys)
        (void)qn__cv_bad_key(c, "linear_num_value_heads", "%lld is no multiple of the %lld key heads", (long long)values, (long long)keys);
    for (int64_t i = 0; i < c->n_layers; i++)
        c->kind[i] = (uint8_t)(((i + 1) % interval ? QN_CV_HAS_STATE : QN_CV_HAS_ATTN) | (c->n_experts > 0 ? QN_CV_HAS_EXPERTS : QN_CV_HAS_DENSE));
    c->key_heads = keys;
    qn__cv_size(c, 'q', 0, 2 * c->size['Q']);
    qn__cv_size(c, 'h', 'b', values);
    qn__cv_size(c, 'd', 0, dv);
    qn__cv_size(c, 'R', 0, values * dv);
    qn__cv_size(c, 'Z', 0, values * dv + 2 * keys * dk);
    qn__cv_size(c, 'z', 0, 2 * (values * dv + keys * dk));
    qn__cv_size(c, 'r', 0, qn__cv_int(c, "linear_conv_kernel_dim", 2, 64, INT64_MIN));
    qn__cv_must_be(c, "attn_output_gate", true, true);
    qn__cv_partial_rope(c, 0.25);
}

static void s_delta(qn__cv *c)
{
    delta_sizes(c);
}

static void s_delta_moe(qn__cv *c)
{
    json_t *only = qn__cv_get(c, "mlp_only_layers");
    qn__cv_experts(c, 0, "moe_intermediate_size");
    qn__cv_size(c, 'S', 'T', qn__cv_int(c, "shared_expert_intermediate_size", 1, 1 << 22, INT64_MIN));
    qn__cv_must_be(c, "norm_topk_prob", true, true);
    if (qn__cv_int(c, "decoder_sparse_step", 1, 1 << 20, 1) != 1 || json_array_size(only) > 0)
        (void)qn__cv_bad_key(c, "mlp_only_layers", "or decoder_sparse_step leaves layers without experts; GGUF's %s has them in every layer", c->family->arch);
    delta_sizes(c);
}

static void m_delta(qn__cv *c)
{
    json_t *sections = json_object_get(qn__cv_rope(c), "mrope_section");
    int32_t four[4] = {0};
    qn__cv_put_int(c, "ssm.conv_kernel", c->size['r']);
    qn__cv_put_int(c, "ssm.state_size", (c->size['Z'] - c->size['R']) / 2 / c->key_heads);
    qn__cv_put_int(c, "ssm.group_count", c->key_heads);
    qn__cv_put_int(c, "ssm.time_step_rank", c->size['h']);
    qn__cv_put_int(c, "ssm.inner_size", c->size['R']);
    qn__cv_put_int(c, "full_attention_interval", interval_of(c));
    for (size_t i = 0; i < json_array_size(sections) && i < 4; i++)
        four[i] = (int32_t)json_integer_value(json_array_get(sections, i));
    if (json_is_array(sections))
        qn__cv_put_ints(c, "rope.dimension_sections", four, 4);
    if (c->n_experts > 0) {
        qn__cv_put_int(c, "expert_feed_forward_length", c->size['M']);
        qn__cv_put_int(c, "expert_shared_feed_forward_length", c->size['S']);
    }
}

/* ---- Nemotron-H ---- */

/* What layer i is, by "hybrid_override_pattern" (a letter each) or by a list of words. */
static uint8_t nemotron_kind(qn__cv *c, const char *pattern, json_t *list, int64_t i)
{
    static const struct {
        const char *word;
        char letter;
        uint8_t kind;
    } kinds[] = {{"mamba", 'M', QN_CV_HAS_STATE}, {"linear_attention", 'M', QN_CV_HAS_STATE}, {"attention", '*', QN_CV_HAS_ATTN},
                 {"full_attention", '*', QN_CV_HAS_ATTN}, {"mlp", '-', QN_CV_HAS_DENSE}, {"moe", 'E', QN_CV_HAS_EXPERTS}};
    const char *word = json_string_value(json_array_get(list, (size_t)i));
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (pattern ? pattern[i] == kinds[k].letter : word && strcmp(word, kinds[k].word) == 0)
            return kinds[k].kind;
    (void)qn__cv_bad_key(c, pattern ? "hybrid_override_pattern" : "layers_block_type", "entry %lld is none of mamba, attention, mlp, moe (M, *, -, E)", (long long)i);
    return 0;
}

/* One name for two architectures of GGUF: that with experts has them in its pattern. */
const qn__cv_family *qn__cv_variant(qn__cv *c, const qn__cv_family *f)
{
    const char *pattern = json_string_value(qn__cv_get(c, "hybrid_override_pattern"));
    json_t *list = qn__cv_get(c, "layers_block_type|layer_types");
    bool moe = pattern && strchr(pattern, 'E');
    for (size_t i = 0; i < json_array_size(list) && !pattern; i++) {
        const char *s = json_string_value(json_array_get(list, i));
        moe |= s && strcmp(s, "moe") == 0;
    }
    return moe && strcmp(f->arch, "nemotron_h") == 0 ? f + 1 : f;
}

static bool nemotron_layers(qn__cv *c)
{
    const char *pattern = qn__cv_text(c, "hybrid_override_pattern");
    json_t *list = qn__cv_get(c, "layers_block_type|layer_types");
    size_t n = pattern ? strlen(pattern) : json_array_size(list);
    if (n != (size_t)c->n_layers)
        return qn__cv_bad_key(c, pattern ? "hybrid_override_pattern" : "layers_block_type", "has %zu entries for %lld layers", n, (long long)c->n_layers);
    c->kind = qn__cv_alloc(c, n);
    c->n_kv_of = qn__cv_alloc(c, n * sizeof *c->n_kv_of);
    c->n_ff_of = qn__cv_alloc(c, n * sizeof *c->n_ff_of);
    for (int64_t i = 0; c->status == QN_OK && i < c->n_layers; i++) {
        c->kind[i] = nemotron_kind(c, pattern, list, i);
        if (c->kind[i] == (c->n_experts > 0 ? QN_CV_HAS_DENSE : QN_CV_HAS_EXPERTS))
            return qn__cv_bad_key(c, "hybrid_override_pattern", "mixes plain layers and layers with experts, or has experts that n_routed_experts does not name");
        c->n_kv_of[i] = c->kind[i] & QN_CV_HAS_ATTN ? (int32_t)(c->size['K'] / c->size['D']) : 0;
        c->n_ff_of[i] = c->kind[i] & QN_CV_HAS_DENSE ? (int32_t)c->size['F'] : c->kind[i] & QN_CV_HAS_EXPERTS ? (int32_t)c->size['M'] : 0;
    }
    return c->status == QN_OK;
}

static void s_nemotron(qn__cv *c)
{
    int64_t heads = qn__cv_int(c, "mamba_num_heads", 1, 1 << 12, INT64_MIN), size = qn__cv_int(c, "mamba_head_dim", 1, 1 << 12, INT64_MIN);
    int64_t groups = qn__cv_int(c, "n_groups|mamba_n_groups", 1, 1 << 12, INT64_MIN), state = qn__cv_int(c, "ssm_state_size", 1, 1 << 12, INT64_MIN);
    const char *act = qn__cv_text(c, "mlp_hidden_act");
    if (c->status != QN_OK || !nemotron_layers(c))
        return;
    if (heads % groups)
        (void)qn__cv_bad_key(c, "n_groups", "%lld does not divide the %lld heads", (long long)groups, (long long)heads);
    if (act && strcmp(act, "relu2") != 0)
        (void)qn__cv_bad_key(c, "mlp_hidden_act", "is \"%.40s\"; GGUF's %s computes relu2", act, c->family->arch);
    qn__cv_size(c, 'h', 0, heads);
    qn__cv_size(c, 'g', 0, groups);
    qn__cv_size(c, 'R', 0, heads * size);
    qn__cv_size(c, 'i', 0, heads * size / groups);
    qn__cv_size(c, 'Z', 0, heads * size + 2 * groups * state);
    qn__cv_size(c, 'z', 0, 2 * heads * size + 2 * groups * state + heads);
    qn__cv_size(c, 'r', 0, qn__cv_int(c, "conv_kernel|mamba_d_conv", 2, 64, INT64_MIN));
}

static void s_nemotron_moe(qn__cv *c)
{
    qn__cv_experts(c, 0, "moe_intermediate_size");
    qn__cv_size(c, 'S', 0, qn__cv_int(c, "moe_shared_expert_intermediate_size", 1, 1 << 22, INT64_MIN));
    qn__cv_size(c, 'l', 0, qn__cv_int(c, "moe_latent_size", 1, 1 << 20, c->size['E']));
    if (qn__cv_int(c, "n_shared_experts", 0, 1 << 10, 1) != 1)
        (void)qn__cv_bad_key(c, "n_shared_experts", "is not 1, which the shared expert's size stands for");
    s_nemotron(c);
}

static void m_nemotron(qn__cv *c)
{
    double eps = qn__cv_float(c, "layer_norm_epsilon|rms_norm_eps|norm_eps", 1e-12, 1, NAN);
    qn__cv_put_float(c, "attention.layer_norm_epsilon", eps);
    qn__cv_put_int(c, "ssm.conv_kernel", c->size['r']);
    qn__cv_put_int(c, "ssm.state_size", (c->size['Z'] - c->size['R']) / 2 / c->size['g']);
    qn__cv_put_int(c, "ssm.group_count", c->size['g']);
    qn__cv_put_int(c, "ssm.inner_size", c->size['R']);
    qn__cv_put_int(c, "ssm.time_step_rank", c->size['h']);
    qn__cv_put_bool(c, "rope.scaling.finetuned", false);
    if (qn__cv_int(c, "n_group", 1, 1 << 10, 1) > 1)
        qn__cv_put_int(c, "expert_group_used_count", qn__cv_int(c, "topk_group", 1, 1 << 10, INT64_MIN));
}

/* ---- Step 3.5 ---- */

static bool slides(qn__cv *c, int64_t layer)
{
    const char *s = json_string_value(json_array_get(qn__cv_get(c, "layer_types"), (size_t)layer));
    return s && strcmp(s, "sliding_attention") == 0;
}

/* Entry `i` of a list of numbers, or the number that stands for all. */
static double number_at(qn__cv *c, const char *key, int64_t i, double fallback)
{
    json_t *j = qn__cv_get(c, key);
    json_t *v = json_is_array(j) ? json_array_get(j, (size_t)i) : j;
    if (v && !json_is_null(v) && !json_is_number(v))
        (void)qn__cv_bad_key(c, key, "entry %lld is not a number", (long long)i);
    return json_is_number(v) ? json_number_value(v) : fallback;
}

static void step35_layer(qn__cv *c, int64_t layer)
{
    int64_t heads = c->n_heads_of[layer], d = c->size['D'];
    c->size['H'] = heads;
    c->size['Q'] = c->size['O'] = heads * d;
    c->size['K'] = c->n_kv_of[layer] * d;
}

/* "moe_layers_enum": "3,4,5"; without it all but the first. */
static int64_t step35_dense(qn__cv *c)
{
    const char *s = qn__cv_text(c, "moe_layers_enum");
    long long first = 1, next;
    char *end;
    if (!s || !*s)
        return first;
    for (long long i = 0;; i++) {
        next = strtoll(s, &end, 10);
        first = i ? first : next;
        if (end == s || next != first + i || next < 0 || next >= c->n_layers)
            break;
        if (*end != ',') {
            if (*end || next + 1 != c->n_layers)
                break;
            return first;
        }
        s = end + 1;
    }
    (void)qn__cv_bad_key(c, "moe_layers_enum", "does not name all layers from one on to the last, which is all that GGUF's step35 can say");
    return 1;
}

static void step35_heads(qn__cv *c)
{
    json_t *other = qn__cv_get(c, "attention_other_setting"), *types = qn__cv_get(c, "layer_types");
    json_t *heads = json_object_get(other, "num_attention_heads"), *groups = json_object_get(other, "num_attention_groups");
    json_int_t h = json_is_integer(heads) ? json_integer_value(heads) : c->size['H'];
    json_int_t k = json_is_integer(groups) ? json_integer_value(groups) : c->size['K'] / c->size['D'];
    if (json_array_size(types) < (size_t)c->n_layers)
        (void)qn__cv_bad_key(c, "layer_types", "has %zu entries for %lld layers", json_array_size(types), (long long)c->n_layers);
    if (h < 1 || h > 1 << 12 || k < 1 || h % k)
        (void)qn__cv_bad_key(c, "attention_other_setting", "its %lld heads and %lld groups do not fit", (long long)h, (long long)k);
    c->n_heads_of = qn__cv_alloc(c, (size_t)c->n_layers * sizeof *c->n_heads_of);
    c->n_kv_of = qn__cv_alloc(c, (size_t)c->n_layers * sizeof *c->n_kv_of);
    for (int64_t i = 0; c->status == QN_OK && i < c->n_layers; i++) {
        bool s = slides(c, i);
        c->n_heads_of[i] = s ? (int32_t)h : (int32_t)c->size['H'];
        c->n_kv_of[i] = s ? (int32_t)k : (int32_t)(c->size['K'] / c->size['D']);
        if (fabs(number_at(c, "partial_rotary_factors", i, s ? 1 : 0.5) - (s ? 1 : 0.5)) > 0)
            (void)qn__cv_bad_key(c, "partial_rotary_factors", "entry %lld is not %s, which GGUF's step35 takes for granted", (long long)i, s ? "1" : "0.5");
        if (i < c->first_moe && number_at(c, "swiglu_limits_shared", i, 0) > 0)
            (void)qn__cv_bad_key(c, "swiglu_limits_shared", "entry %lld clamps a layer without experts, which this build does not compute", (long long)i);
    }
}

static void s_step35(qn__cv *c)
{
    c->n_experts = qn__cv_int(c, "moe_num_experts", 1, 1 << 14, INT64_MIN);
    qn__cv_size(c, 'X', 0, c->n_experts);
    qn__cv_size(c, 'M', 'N', qn__cv_int(c, "moe_intermediate_size", 1, 1 << 22, INT64_MIN));
    qn__cv_size(c, 'S', 'T', qn__cv_int(c, "share_expert_dim", 1, 1 << 22, INT64_MIN));
    qn__cv_must_be(c, "use_moe_router_bias", true, true);
    if (c->status != QN_OK)
        return;
    c->first_moe = step35_dense(c);
    step35_heads(c);
    c->layer = step35_layer;
}

/* The bases of two kinds of layers, each the same in all of its kind; factors of the layers that see everything. */
static void step35_rope(qn__cv *c)
{
    double base[2] = {0, 0};
    for (int64_t i = 0; i < c->n_layers; i++) {
        double b = number_at(c, "rope_theta", i, 10000);
        double *to = &base[slides(c, i)];
        if (*to > 0 && fabs(*to - b) > 0)
            (void)qn__cv_bad_key(c, "rope_theta", "entry %lld differs from others of its kind of layer", (long long)i);
        *to = b;
    }
    qn__cv_put_float(c, "rope.freq_base", base[0] > 0 ? base[0] : base[1]);
    qn__cv_put_float(c, "rope.freq_base_swa", base[1] > 0 ? base[1] : base[0]);
    json_t *rope = qn__cv_rope(c), *only = qn__cv_get(c, "yarn_only_types");
    const char *type = qn__cv_rope_type(c);
    if (!type[0])
        return;
    if (strcmp(type, "llama3") != 0 || json_array_size(only) != 1 || strcmp(json_string_value(json_array_get(only, 0)) ? json_string_value(json_array_get(only, 0)) : "", "full_attention") != 0) {
        (void)qn__cv_fail(c, QN_EUNSUPPORTED, "config.json: rope_scaling.rope_type", "\"%.40s\" is not llama3 with yarn_only_types [\"full_attention\"]", type);
        return;
    }
    /* GGUF has a factor for each pair of a whole head; these layers turn the first half of them. */
    int64_t all = c->size['D'] / 2, turning = all / 2;
    float *f = qn__cv_llama3(c, rope, base[0], 2 * turning, all);
    for (int64_t i = turning; f && i < all; i++)
        f[i] = 1;
    if (f)
        (void)qn__cv_plan_made(c, "rope_freqs.weight", f, (uint64_t)all);
}

static void put_limits(qn__cv *c, const char *key, const char *to)
{
    float *v = qn__cv_alloc(c, (size_t)c->n_layers * sizeof *v);
    if (!qn__cv_get(c, key))
        return;
    for (int64_t i = 0; v && i < c->n_layers; i++)
        v[i] = (float)number_at(c, key, i, 0);
    qn__cv_put_floats(c, to, v, c->n_layers);
}

static void m_step35(qn__cv *c)
{
    uint8_t *windowed = qn__cv_alloc(c, (size_t)c->n_layers);
    for (int64_t i = 0; windowed && i < c->n_layers; i++)
        windowed[i] = slides(c, i);
    qn__cv_put_bools(c, "attention.sliding_window_pattern", windowed, c->n_layers);
    qn__cv_put_int(c, "leading_dense_block_count", c->first_moe);
    qn__cv_put_int(c, "moe_every_n_layers", 1);
    qn__cv_put_int(c, "expert_gating_func", 2);
    put_limits(c, "swiglu_limits", "swiglu_clamp_exp");
    put_limits(c, "swiglu_limits_shared", "swiglu_clamp_shexp");
    step35_rope(c);
}

#define HYBRID (QN_CV_PLUS_ONE | QN_CV_VISION | QN_CV_MTP)
const qn__cv_family qn__cv_hybrids[] = {
    {{"Qwen3NextForCausalLM"}, "qwen3next", HYBRID, {r_globals, r_gated, r_qwen3next, r_moe, r_shared_one}, {0}, s_delta_moe, m_delta, 1e7, 256, NULL},
    {{"Qwen3_5ForConditionalGeneration", "Qwen3_5ForCausalLM"}, "qwen35", HYBRID, {r_globals, r_gated, r_qwen35}, {0}, s_delta, m_delta, 1e7, 256, NULL},
    {{"Qwen3_5MoeForConditionalGeneration", "Qwen3_5MoeForCausalLM"}, "qwen35moe", HYBRID,
     {r_globals, r_gated, r_qwen35, r_moe, r_shared_one}, {0}, s_delta_moe, m_delta, 1e7, 256, NULL},
    /* qn__cv_variant counts on these two being neighbours */
    {{"NemotronHForCausalLM"}, "nemotron_h", QN_CV_MTP, {r_nemotron}, {0}, s_nemotron, m_nemotron, 10000, 128, NULL},
    {{0}, "nemotron_h_moe", QN_CV_MTP, {r_nemotron}, {k_nemotron_moe}, s_nemotron_moe, m_nemotron, 10000, 128, NULL},
    {{"Step3p5ForCausalLM"}, "step35", QN_CV_PLUS_ONE | QN_CV_NO_ROPE, {r_globals, r_step35}, {k_step35}, s_step35, m_step35, 10000, 128, NULL},
    {.arch = NULL}};
