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
typedef enum qn_ffn_kind { QN_FFN_SILU, QN_FFN_GELU, QN_FFN_PLAIN_GELU } qn_ffn_kind; /* the first two are gated */
typedef enum qn_presence { QN_NEVER, QN_MAYBE, QN_ALWAYS } qn_presence;
typedef enum qn_scale_rule { QN_SCALE_NONE, QN_SCALE_MULTIPLY, QN_SCALE_DIVIDE } qn_scale_rule;

/* A row. Tensor names are without "blk.N." and ".weight"; NULL: the layer has no such norm. */
typedef struct qn_recipe {
    const char *architecture;
    qn_norm_kind norm;
    qn_presence norm_bias;
    const char *attn_norm, *post_attn_norm; /* before attention; on its result */
    const char *ffn_norm, *post_ffn_norm;   /* before the ffn; on its result */
    bool parallel;                          /* ffn reads what attention read; both are added at once */
    qn_rope_kind rope;
    bool learned_positions;
    qn_qk_norm qk_norm;
    qn_presence qkv_bias, out_bias, ffn_bias;
    qn_ffn_kind ffn;
    uint8_t window_period;    /* of `period` layers the last is full, the others windowed; 0: none; 1: all windowed */
    bool rope_windowed_only;  /* full layers have no rope */
    bool window_plain_rope;   /* windowed layers: no scaling of the rope */
    double window_rope_base;  /* base of windowed layers; 0: the same */
    bool embed_sqrt;          /* embeddings times sqrt(n_embd) */
    qn_scale_rule logit_scale; /* what the key logit_scale does */
    double attn_softcap, final_softcap; /* when the key is missing */
    int wide_head_layers;     /* at this layer count attention scales by n_embd / n_heads instead of the head size */
} qn_recipe;

/* NULL when unknown. */
const qn_recipe *qn__recipe_find(const char *architecture, size_t n);
/* The i-th row's architecture, NULL past the end: for a refusal that says what there is. */
const char *qn__recipe_name(size_t i);

typedef enum qn_rope_scaling { QN_SCALING_NONE, QN_SCALING_LINEAR, QN_SCALING_YARN, QN_SCALING_LONGROPE } qn_rope_scaling;

/* The numbers of one file. Ranges are checked: all are positive where that makes sense, and small enough that products
 * of three of them fit in 63 bits. */
typedef struct qn_hparams {
    int n_layers, n_embd, n_heads, n_kv_heads, head_k, head_v, n_ff, n_rot;
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
    double rope_attn_factor, yarn_beta_fast, yarn_beta_slow, yarn_log_multiplier;
    int32_t rope_original_ctx;
} qn_hparams;

enum { QN_MAX_LAYERS = 1024 };

/* Read a file's numbers by its recipe; windowed[QN_MAX_LAYERS] says which layers see only the window. */
qn_status qn__hparams_read(const qn_gguf *g, const qn_recipe *r, qn_hparams *h, bool *windowed, qn_err *err);

#endif
