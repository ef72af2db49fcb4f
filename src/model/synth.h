/* synth.h - what synth.c (random weights, the file) and synth_shape.c (which tensors, which metadata) share. */
#ifndef QN_MODEL_SYNTH_H
#define QN_MODEL_SYNTH_H

#include "base/mem.h"
#include "formats/gguf.h"
#include "model/mixture.h"

enum { QN_SYNTH_MAX_LAYERS = 1024 };

typedef struct qn_shape qn_shape;

/* The tensor of a plan: the first member is what qn_planned.tensor points at. */
typedef struct qn_synth_tensor {
    qn_gguf_tensor t; /* name, type, n_dims, dims; the rest is unused */
    float constant;   /* of a vector */
} qn_synth_tensor;

/* NULL when there is none. */
const qn_shape *qn__shape_find(const char *name);
int qn__shape_layers(const qn_shape *s);
/* The tensors of s with n_layers layers, typed by m, in the order in which the file holds them; in the arena. NULL: out
 * of memory. */
qn_planned *qn__shape_plan(const qn_shape *s, const qn_mixture *m, int n_layers, qn_arena *arena, size_t *n);
/* Everything before the tensors. False: out of memory. */
bool qn__shape_metadata(const qn_shape *s, const qn_mixture *m, int n_layers, qn_gguf_writer *w);

#endif
