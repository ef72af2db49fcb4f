/* context.h - what decoder.c and layer.c share: the model and the buffers of a step. */
#ifndef QN_MODEL_CONTEXT_H
#define QN_MODEL_CONTEXT_H

#include "model/decoder.h"
#include "model/device.h"
#include "model/recipe.h"
#include "model/rope.h"
#include "model/weights.h"

/* Its packed forms (packing.c), made and dropped behind a lock. */
typedef struct qn_packings qn_packings;
qn_packings *qn__packings_open(void); /* NULL: no memory */
void qn__packings_close(qn_packings *p);

struct qn_decoder {
    const qn_recipe *recipe;
    const qn_gguf *g;
    qn_packings *packings; /* NULL of a packed form */
    qn_hparams h;
    qn_weights w;
    qn_decoder_info info;
};

/* Columns of the buffers that differ from layer to layer. */
typedef struct qn_widths {
    int q, k, v, att, aux, ff;
} qn_widths;

/* Each buffer has max_rows rows: the stream x, its normed form n, what mixer and ffn give (res), and what is in between. */
struct qn_context {
    const qn_decoder *d;
    qn_device *dev;
    qn_kv kv;
    int max_rows, max_out;
    int32_t n_ctx;
    qn_rope rope[2];     /* of full and of windowed layers */
    float *rope_freq;
    float *tables[2];    /* [max_rows][rope[].n_rot] */
    float *row_scale;    /* [max_rows] of queries, when temperature_scale is on */
    int32_t *ids;        /* [max_rows] tokens or positions */
    qn_run *runs;        /* [max_rows] */
    float *x, *n, *res;
    float *q, *k, *v, *att, *aux; /* aux: wide queries, latent queries, recurrent inputs */
    float *gate, *up;
    float *ple;          /* [max_rows][n_layers][n_ple]: the tokens' embeddings for each layer */
    float *pair;  /* of delta layers whose alpha and beta come in one matrix */
    float *gathered;     /* [max_out][n_embd] */
    /* experts: [max_rows * n_used] rows */
    qn_routing routing;
    float *logits_route, *gate_exps, *up_exps, *down_exps, *latent, *shared;
    size_t bytes;
    qn_arena arena;
};

static inline qn_rows qn__rows(float *p, int rows, int cols)
{
    return (qn_rows){.p = p, .rows = rows, .cols = cols, .stride = (size_t)cols};
}

/* layer.c: x = layer `index` of x, rows cut into c->runs[n_runs]. */
void qn__layer(qn_context *c, int index, int n_runs, qn_rows x);

#endif
