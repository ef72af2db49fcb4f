/* weights.h - a file's tensors bound to the fields of a recipe, once; afterwards nobody looks up a name. */
#ifndef QN_MODEL_WEIGHTS_H
#define QN_MODEL_WEIGHTS_H

#include "base/mem.h"
#include "model/recipe.h"
#include "model/rope.h"

/* A matrix: rows x k, row-major blocks, in the file's map. rows 0: absent. */
typedef struct qn_weight {
    const unsigned char *data;
    size_t row_bytes;
    int rows, k;
    qn_type type;
    const float *bias; /* rows floats, or NULL */
} qn_weight;

/* n floats each; w NULL: the norm is absent. */
typedef struct qn_norm {
    const float *w, *b;
    int n;
} qn_norm;

typedef struct qn_layer {
    qn_norm attn_norm, post_attn_norm, ffn_norm, post_ffn_norm, q_norm, k_norm;
    qn_weight q, k, v, o;
    qn_weight gate, up, down; /* gate absent: plain ffn */
    int32_t window;           /* 0: sees everything */
    int rope;                 /* 0: the model's, 1: the windowed variant, -1: none */
} qn_layer;

typedef struct qn_weights {
    qn_weight embed, positions, output;
    qn_norm output_norm;
    qn_layer *layers;
    const float *rope_factors, *rope_factors_long, *rope_factors_short; /* n_rot/2, or NULL */
    uint64_t n_params;
    qn_arena arena; /* layers and everything small that was converted to float */
} qn_weights;

/* Bind and check every tensor. A tensor that the recipe does not know is refused too: ignoring it would compute something
 * else than the model. On failure *w holds nothing. */
qn_status qn__weights_bind(const qn_gguf *g, const qn_recipe *r, const qn_hparams *h, const bool *windowed, qn_weights *w,
                           qn_err *err);
void qn__weights_free(qn_weights *w);

#endif
