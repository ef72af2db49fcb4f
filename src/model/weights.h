/* weights.h - a file's tensors bound to the fields of a recipe, once; afterwards nobody looks up a name. */
#ifndef QN_MODEL_WEIGHTS_H
#define QN_MODEL_WEIGHTS_H

#include "base/mem.h"
#include "kernels/kernels.h"
#include "model/recipe.h"
#include "model/rope.h"

/* A matrix: rows x k, row-major blocks, in the file's map; or `count` of them one after another (an expert's, a head's).
 * rows 0: absent. */
typedef struct qn_weight {
    const unsigned char *data;
    size_t row_bytes, stride; /* bytes of a row, from matrix to matrix */
    int rows, k, count;
    int lanes; /* 0: rows as in the file; else packed in groups of so many (kernels/pack.h) */
    qn_type type;
    const float *bias; /* count x rows floats, or NULL */
    const qn_gguf_tensor *tensor; /* that begins with these rows; NULL of a merged one's further rows and of what was computed */
} qn_weight;

/* n floats each; w NULL: the norm is absent. */
typedef struct qn_norm {
    const float *w, *b;
    int n;
} qn_norm;

typedef struct qn_layer {
    qn_norm attn_norm, post_attn_norm, ffn_norm, post_ffn_norm, sum_attn_norm, sum_ffn_norm;
    /* attention; head_gate: a value per head. sinks: n_heads floats or NULL */
    qn_norm q_norm, k_norm;
    qn_weight q, k, v, o, head_gate;
    const float *sinks;
    int32_t window;           /* 0: sees everything */
    int rope;                 /* 0: the model's, 1: the windowed variant, -1: none */
    size_t kv_at[QN__KV__COUNT]; /* bytes: where its keys, and behind them its values, start in a page of that type */
    /* latent attention: q = q_b(norm(q_a(x))) when q_a is there; k_b: heads x [kv_lora x nope], v_b: heads x [v x kv_lora] */
    qn_weight q_a, kv_a, k_b, v_b;
    qn_weight kv_b; /* the older layout's matrix, from which k_b and v_b were made */
    qn_norm q_a_norm, kv_a_norm;
    /* recurrent. delta: in (q, k, v), z, alpha and beta (or both as ba); mamba2: in (z, x, B, C, dt). conv: [channels][taps] */
    qn_weight in, z, alpha, beta, ba, ssm_out;
    const float *conv, *conv_bias, *a, *dt_bias, *skip;
    qn_norm ssm_norm;
    size_t state_at;          /* where this layer's state starts, in floats */
    /* ffn; gate absent: plain */
    qn_weight gate, up, down;
    /* experts; gate_exps absent: plain */
    qn_weight router, gate_exps, up_exps, down_exps, gate_shared, up_shared, down_shared, shared_gate;
    qn_weight latent_down, latent_up;
    const float *router_bias; /* added for the choice only */
    const float *expert_gain; /* of each expert's result, or NULL */
    qn_norm router_norm, experts_norm, post_dense_norm, post_experts_norm;
    /* the token's embedding for this layer: x += norm(proj(act(gate(x)) * embedding)) */
    qn_weight ple_gate, ple_proj;
    qn_norm ple_norm;
    float out_scale;          /* of the stream at the layer's end; 1: nothing */
} qn_layer;

typedef struct qn_weights {
    qn_weight embed, positions, output;
    qn_weight cls, cls_output; /* a reranker's head: a layer, which may be absent, and a row for each label */
    const float *token_type;  /* [n_token_types][n_embd], or NULL: of the segments that a text has */
    int n_token_types;
    qn_norm embed_norm, output_norm;
    qn_weight ple_embed, ple_model_proj; /* embeddings for all layers, layer after layer: by token, and made of its embedding */
    qn_norm ple_proj_norm;
    qn_layer *layers;
    const float *rope_factors, *rope_factors_long, *rope_factors_short; /* n_rot/2, or NULL */
    uint64_t n_params;
    size_t kv_bytes[QN__KV__COUNT]; /* of a page of that type */
    size_t state_floats;      /* of a sequence's recurrent state in all layers */
    qn_arena arena; /* layers and everything small that was converted to float */
} qn_weights;

/* Bind and check every tensor. A tensor that the recipe does not know is refused too: ignoring it would compute something
 * else than the model. On failure *w holds nothing. */
qn_status qn__weights_bind(const qn_gguf *g, const qn_recipe *r, const qn_hparams *h, qn_weights *w, qn_err *err);
void qn__weights_free(qn_weights *w);

#endif
