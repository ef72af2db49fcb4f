/* cpu_device.h - what the files of the CPU device share. */
#ifndef QN_MODEL_CPU_DEVICE_H
#define QN_MODEL_CPU_DEVICE_H

#include "base/pool.h"
#include "model/device.h"

typedef struct cpu_device {
    qn_device base;
    const qn_kernels *k;
    qn_pool *pool;
    int n_threads;
    unsigned char *prepared[QN_ACT__COUNT]; /* activation rows in the form that a matmul reads */
    size_t prepared_bytes[QN_ACT__COUNT];
    float *scratch;                         /* [n_threads][scratch_floats] */
    size_t scratch_floats;
} cpu_device;

static inline cpu_device *qn__cpu(qn_device *d)
{
    return (cpu_device *)d;
}

static inline float *qn__row(qn_rows m, int i)
{
    return m.p + (size_t)i * m.stride;
}

/* cpu_device.c: the rows of one piece when `total` rows of weights are to be multiplied; which forms of activations outs
 * want and their strides (rows x stride must have been reserved). */
int qn__cpu_piece_rows(const cpu_device *d, int total);
void qn__cpu_strides(const cpu_device *d, const qn_linear *outs, int n_outs, size_t rows, bool *want, size_t *stride);
/* cpu_experts.c */
void qn__cpu_route(qn_device *d, const qn_route_rule *rule, qn_rows logits, qn_routing *out);
void qn__cpu_expert_linear(qn_device *d, const qn_routing *r, bool gather, qn_rows x, const qn_linear *outs, int n_outs);
void qn__cpu_combine(qn_device *d, const qn_routing *r, qn_rows x, qn_rows y);
/* cpu_recurrent.c */
void qn__cpu_delta(qn_device *d, const qn_recurrent_shape *s, const qn_layer *l, qn_rows qkv, qn_rows alpha, qn_rows beta,
                   qn_rows out, const qn_run *runs, int n_runs);
void qn__cpu_mamba(qn_device *d, const qn_recurrent_shape *s, const qn_layer *l, qn_rows in, qn_rows out,
                   const qn_run *runs, int n_runs);

#endif
