/* recipe.c - the table of architectures. Sources: each model's paper or reference implementation. */
#include "model/recipe.h"

#include <string.h>

/* What several rows share. */
#define COHERE2MOE(name)                                                                                                       \
    {.architecture = name, .attn_norm = "attn_norm", .parallel = true, .rope = QN_ROPE_NORM, .qkv_bias = QN_MAYBE,             \
     .experts = QN_ALWAYS, .router = QN_ROUTER_SIGMOID, .window_period = 4, .rope_windowed_only = true,                        \
     .shared_averaged = true, .logit_scale = QN_SCALE_MULTIPLY}
#define QWEN35                                                                                                                 \
    .attn_norm = "attn_norm", .ffn_norm = "post_attention_norm", .rope = QN_ROPE_NEOX, .qk_norm = QN_QK_HEAD,                  \
    .gate = QN_GATE_QUERY, .hybrid = QN_HYBRID_INTERVAL, .recurrent = QN_MIX_DELTA
#define NEMOTRON                                                                                                               \
    .attn_norm = "attn_norm", .hybrid = QN_HYBRID_ONE_OF, .recurrent = QN_MIX_MAMBA2, .qkv_bias = QN_MAYBE,                    \
    .out_bias = QN_MAYBE, .ffn_bias = QN_MAYBE, .ffn = QN_FFN_PLAIN_RELU2

static const qn_recipe recipes[] = {
    {.architecture = "llama", .attn_norm = "attn_norm", .ffn_norm = "ffn_norm", .rope = QN_ROPE_NORM,
     .qkv_bias = QN_MAYBE, .out_bias = QN_MAYBE, .ffn_bias = QN_MAYBE, .experts = QN_MAYBE, .router_normalises = true},
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
    {.architecture = "gemma4", .attn_norm = "attn_norm", .post_attn_norm = "post_attention_norm",
     .ffn_norm = "ffn_norm", .post_ffn_norm = "post_ffw_norm", .rope = QN_ROPE_NEOX, .rope_factors = QN_ALWAYS,
     .qk_norm = QN_QK_HEAD, .value_norm = true, .keys_as_values = true, .shares_kv = true, .ffn = QN_FFN_GELU,
     .experts = QN_MAYBE, .router_normalises = true, .router_norm = true, .experts_norm = "pre_ffw_norm_2",
     .post_dense_norm = "post_ffw_norm_1", .post_experts_norm = "post_ffw_norm_2", .window_period = 6,
     .window_heads = true, .window_plain_rope = true, .window_rope_base = 10000, .layer_embeddings = true,
     .out_scale = true, .embed_sqrt = true, .attn_scale = 1, .final_softcap = 30},
    {.architecture = "starcoder2", .norm = QN_NORM_LAYER, .norm_bias = QN_ALWAYS, .attn_norm = "attn_norm",
     .ffn_norm = "ffn_norm", .rope = QN_ROPE_NEOX, .qkv_bias = QN_MAYBE, .out_bias = QN_MAYBE, .ffn_bias = QN_MAYBE,
     .ffn = QN_FFN_PLAIN_GELU, .window_period = 1},
    {.architecture = "starcoder", .norm = QN_NORM_LAYER, .norm_bias = QN_ALWAYS, .attn_norm = "attn_norm",
     .ffn_norm = "ffn_norm", .learned_positions = true, .qkv_bias = QN_ALWAYS, .out_bias = QN_ALWAYS,
     .ffn_bias = QN_ALWAYS, .ffn = QN_FFN_PLAIN_GELU},
    {.architecture = "gpt2", .norm = QN_NORM_LAYER, .norm_bias = QN_ALWAYS, .attn_norm = "attn_norm",
     .ffn_norm = "ffn_norm", .learned_positions = true, .qkv_bias = QN_ALWAYS, .out_bias = QN_ALWAYS,
     .ffn_bias = QN_ALWAYS, .ffn = QN_FFN_PLAIN_GELU},
    {.architecture = "qwen3moe", .attn_norm = "attn_norm", .ffn_norm = "ffn_norm", .rope = QN_ROPE_NEOX,
     .qk_norm = QN_QK_HEAD, .experts = QN_ALWAYS, .router_normalises = true},
    {.architecture = "olmoe", .attn_norm = "attn_norm", .ffn_norm = "ffn_norm", .rope = QN_ROPE_NEOX,
     .qk_norm = QN_QK_FULL, .experts = QN_ALWAYS},
    {.architecture = "granitemoe", .attn_norm = "attn_norm", .ffn_norm = "ffn_norm", .rope = QN_ROPE_NORM,
     .experts = QN_ALWAYS, .router_normalises = true, .logit_scale = QN_SCALE_DIVIDE},
    {.architecture = "glm4moe", .attn_norm = "attn_norm", .ffn_norm = "post_attention_norm", .rope = QN_ROPE_NEOX,
     .qk_norm = QN_QK_HEAD, .qk_norm_presence = QN_MAYBE, .qkv_bias = QN_MAYBE, .experts = QN_ALWAYS,
     .router = QN_ROUTER_SIGMOID, .router_normalises = true},
    {.architecture = "minimax-m2", .attn_norm = "attn_norm", .ffn_norm = "ffn_norm", .rope = QN_ROPE_NEOX,
     .qk_norm = QN_QK_FULL, .experts = QN_ALWAYS, .router = QN_ROUTER_SIGMOID, .router_normalises = true},
    COHERE2MOE("cohere2moe"), COHERE2MOE("cohere2_moe"),
    {.architecture = "gpt-oss", .attn_norm = "attn_norm", .ffn_norm = "post_attention_norm", .rope = QN_ROPE_NEOX,
     .qkv_bias = QN_ALWAYS, .out_bias = QN_ALWAYS, .ffn_bias = QN_ALWAYS, .sinks = true, .ffn = QN_FFN_OAI,
     .experts = QN_ALWAYS, .router = QN_ROUTER_SELECTED, .window_period = 2},
    {.architecture = "step35", .attn_norm = "attn_norm", .ffn_norm = "ffn_norm", .rope = QN_ROPE_NEOX,
     .qk_norm = QN_QK_HEAD, .qk_norm_presence = QN_MAYBE, .gate = QN_GATE_HEAD, .experts = QN_ALWAYS,
     .router = QN_ROUTER_SIGMOID, .window_period = 4, .window_plain_rope = true, .rope_half_when_full = true},
    {.architecture = "deepseek2", .attn_norm = "attn_norm", .ffn_norm = "ffn_norm", .mixer = QN_MIX_LATENT,
     .rope = QN_ROPE_NORM, .experts = QN_MAYBE},
    {.architecture = "qwen35", QWEN35, .key_heads_tiled = true},
    {.architecture = "qwen35moe", QWEN35, .key_heads_tiled = true, .experts = QN_ALWAYS, .router_normalises = true},
    {.architecture = "qwen3next", QWEN35, .experts = QN_ALWAYS, .router_normalises = true},
    {.architecture = "nemotron_h", NEMOTRON}, {.architecture = "nemotron_h_moe", NEMOTRON, .experts = QN_ALWAYS,
     .router = QN_ROUTER_SIGMOID, .router_normalises = true},
    {.architecture = "bert", .norm = QN_NORM_LAYER, .norm_bias = QN_ALWAYS, .sum_attn_norm = "attn_output_norm",
     .sum_ffn_norm = "layer_output_norm", .bidirectional = true, .embedding_only = true, .learned_positions = true,
     .token_types = true, .qkv_bias = QN_ALWAYS, .out_bias = QN_ALWAYS, .ffn_bias = QN_ALWAYS,
     .ffn = QN_FFN_PLAIN_GELU},
    {.architecture = "nomic-bert", .norm = QN_NORM_LAYER, .norm_bias = QN_ALWAYS, .sum_attn_norm = "attn_output_norm",
     .sum_ffn_norm = "layer_output_norm", .bidirectional = true, .embedding_only = true, .token_types = true,
     .rope = QN_ROPE_NEOX},
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
