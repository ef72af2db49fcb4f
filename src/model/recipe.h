/* recipe.h - what an architecture is: a row of choices, and the numbers that a file fills in.
 *
 *   layer  = norm -> attention -> (+) -> norm -> ffn -> (+)
 *
 * Adding a model is adding a row to recipe.c, its golden file, and, if it does something new, a column. The decoder never
 * looks at an architecture's name. */
#ifndef QN_MODEL_RECIPE_H
#define QN_MODEL_RECIPE_H

#include "formats/gguf.h"

typedef enum qn_norm_kind { QN_NORM_RMS, QN_NORM_LAYER } qn_norm_kind;
typedef enum qn_rope_kind { QN_ROPE_NONE, QN_ROPE_NORM, QN_ROPE_NEOX } qn_rope_kind; /* NORM: neighbours are a pair */
typedef enum qn_qk_norm { QN_QK_NONE, QN_QK_HEAD, QN_QK_FULL } qn_qk_norm; /* per head, or over all heads at once */
typedef enum qn_ffn_kind { /* the PLAIN ones have no gate */
    QN_FFN_SILU, QN_FFN_GELU, QN_FFN_OAI, QN_FFN_PLAIN_GELU, QN_FFN_PLAIN_RELU2
} qn_ffn_kind;
typedef enum qn_presence { QN_NEVER, QN_MAYBE, QN_ALWAYS } qn_presence;
typedef enum qn_scale_rule { QN_SCALE_NONE, QN_SCALE_MULTIPLY, QN_SCALE_DIVIDE } qn_scale_rule;
typedef enum qn_mixer { QN_MIX_NONE, QN_MIX_ATTENTION, QN_MIX_LATENT, QN_MIX_MAMBA2, QN_MIX_DELTA } qn_mixer;
typedef enum qn_gate { QN_GATE_NONE, QN_GATE_HEAD, QN_GATE_QUERY } qn_gate; /* of attention's result: a value per head from
    its own matrix, or a value per element that the query matrix gives beside each head's query */
/* How router logits become weights. SELECTED: softmax over the chosen ones. The numbers 1 and 2 are the file format's. */
typedef enum qn_router { QN_ROUTER_SOFTMAX = 1, QN_ROUTER_SIGMOID = 2, QN_ROUTER_SELECTED = 3 } qn_router;
typedef enum qn_hybrid { /* which layers are recurrent */
    QN_HYBRID_NONE,
    QN_HYBRID_INTERVAL, /* every full_attention_interval-th layer is attention */
    QN_HYBRID_ONE_OF    /* a layer is one thing: attention where it has KV heads, ffn where it has n_ff, else recurrent */
} qn_hybrid;

/* A row. Tensor names are without "blk.N." and ".weight"; NULL: the layer has no such norm. */
typedef struct qn_recipe {
    const char *architecture;
    qn_norm_kind norm;
    qn_presence norm_bias;
    const char *attn_norm, *post_attn_norm; /* before the mixer; on its result */
    const char *ffn_norm, *post_ffn_norm;   /* before the ffn; on its result */
    const char *sum_attn_norm, *sum_ffn_norm; /* of the stream, after the mixer's and the ffn's result was added */
    bool parallel;                          /* ffn reads what attention read; both are added at once */
    qn_mixer mixer;                         /* of layers that are not recurrent; NONE reads as ATTENTION */
    qn_hybrid hybrid;
    qn_mixer recurrent;
    bool key_heads_tiled;                   /* delta: value head h reads key head h mod n, not h / (values per key) */
    bool bidirectional;                     /* every token sees the whole sequence (encoders) */
    bool embedding_only;                    /* no output matrix: hidden states are the result */
    qn_rope_kind rope;
    bool learned_positions, token_types;
    qn_presence qk_norm_presence;           /* NEVER reads as ALWAYS */
    qn_qk_norm qk_norm;
    qn_presence qkv_bias, out_bias, ffn_bias;
    qn_gate gate;
    bool sinks;
    qn_ffn_kind ffn;
    qn_presence experts;
    qn_router router;                       /* when the key is missing; 0 reads as SOFTMAX */
    bool router_normalises;                 /* when the key is missing */
    bool shared_averaged;                   /* the shared expert and the chosen ones' sum are averaged, not added */
    uint8_t window_period;    /* of `period` layers the last is full, the others windowed; 0: none; 1: all windowed */
    bool rope_windowed_only;  /* full layers have no rope, unless they are in the dense prefix */
    bool rope_half_when_full; /* full layers rotate half of rope.dimension_count, the windowed ones all */
    bool window_plain_rope;   /* windowed layers: no scaling of the rope */
    double window_rope_base;  /* base of windowed layers; 0: the same */
    bool embed_sqrt;          /* embeddings times sqrt(n_embd) */
    qn_scale_rule logit_scale; /* what the key logit_scale does */
    double attn_softcap, final_softcap; /* when the key is missing */
    int wide_head_layers;     /* at this layer count attention scales by n_embd / n_heads instead of the head size */
    double attn_scale;        /* when the key is missing; 0: 1 / sqrt(head size) */
    bool window_heads;        /* windowed layers have heads, and turn parts of them, of a size of their own */
    bool value_norm;          /* RMS norm of each head's values, without weights */
    bool keys_as_values;      /* a layer without a value matrix takes its keys as they are before their norm */
    bool shares_kv;           /* the last layers read the keys and values of the last one of their kind before them */
    bool layer_embeddings;    /* each token has a further vector for each layer, which is gated by the stream and added to it */
    bool out_scale;           /* a layer may end in multiplying the stream by a number */
    qn_presence rope_factors; /* NEVER reads as MAYBE */
    /* experts beside the layer's dense ffn, not instead of it; both read the stream. NULL: instead */
    const char *experts_norm, *post_dense_norm, *post_experts_norm; /* before the experts; on each of the two results */
    bool router_norm;         /* the router reads the stream, normed by weights of its own */
} qn_recipe;

/* NULL when unknown. */
const qn_recipe *qn__recipe_find(const char *architecture, size_t n);
/* The i-th row's architecture, NULL past the end: for a refusal that says what there is. */
const char *qn__recipe_name(size_t i);

typedef enum qn_rope_scaling { QN_SCALING_NONE, QN_SCALING_LINEAR, QN_SCALING_YARN, QN_SCALING_LONGROPE } qn_rope_scaling;

/* What one layer is. */
typedef struct qn_layer_shape {
    qn_mixer mixer;
    bool windowed, experts;
    int n_heads, n_kv_heads, n_ff; /* n_ff 0: no ffn (of the dense kind) */
    int head_k, head_v;
    int kv_from;                   /* the layer whose keys and values it reads: itself, or an earlier one */
    float clamp, clamp_shared;     /* of the gated product, experts' and shared expert's; 0: none */
} qn_layer_shape;

enum { QN_MAX_LAYERS = 1024, QN_MAX_EXPERTS = 4096, QN_MAX_EXPERTS_USED = 64, QN_MAX_GROUPS = 256 };

/* The numbers of one file. Ranges are checked: all are positive where that makes sense, and small enough that products
 * of three of them fit in 63 bits. n_heads, n_kv_heads and n_ff are the largest of any layer; head_k, head_v and
 * n_rot are those of layers that see everything. */
typedef struct qn_hparams {
    int n_layers, n_embd, n_heads, n_kv_heads, head_k, head_v, n_ff, n_rot;
    int head_k_window, head_v_window, n_rot_window; /* of windowed layers */
    int n_ple;                     /* values of a token's embedding for one layer, 0: none */
    int n_nextn;                   /* blocks behind the last layer that are not run */
    int32_t n_vocab, n_ctx_train;
    float norm_eps;
    int32_t window; /* 0: none */
    float attn_scale, attn_softcap, final_softcap;
    float embed_scale, residual_scale, logit_scale; /* multiply; 1: nothing */
    float temperature_scale;                        /* 0: off; queries grow with log(position) */
    int32_t temperature_floor;
    double rope_base, rope_base_window;
    qn_rope_scaling scaling;
    double rope_factor;                             /* context extension, >= 1 usually */
    double rope_magnitude;                          /* multiplies cos and sin */
    double yarn_beta_fast, yarn_beta_slow, yarn_log_multiplier;
    int32_t rope_original_ctx;
    /* latent attention: head_k = kv_lora + n_rot and head_v = kv_lora are what the cache holds; a head itself has nope + n_rot
     * query values and latent_v result values */
    int q_lora, kv_lora, nope, latent_v;
    /* experts */
    int n_experts, n_used, n_ff_expert, n_ff_shared, n_dense, n_latent_ff; /* n_dense: leading layers without experts */
    int n_groups, n_groups_used;
    qn_router router;
    bool router_normalises;
    float router_scale;
    /* recurrent layers */
    int conv, state, groups, time_rank, inner;
    int pooling; /* as the file says: 0 none, 1 mean, 2 first token, 3 last; -1 when absent */
    qn_layer_shape layers[QN_MAX_LAYERS];
} qn_hparams;

/* Read a file's numbers by its recipe. prefix: the architecture as the file spells it. */
qn_status qn__hparams_read(const qn_gguf *g, const qn_recipe *r, const char *prefix, qn_hparams *h, qn_err *err);

#endif
