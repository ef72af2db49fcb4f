/* device.h - what the decoder is written in: about a dozen operations over rows of activations.
 *
 * The decoder is straight-line C that calls these in order; the CPU device runs each at once on its threads, a GPU device
 * may record them. Activations are float rows; every argument carries its shape. No operation fails: memory is reserved
 * when the device is opened. */
#ifndef QN_MODEL_DEVICE_H
#define QN_MODEL_DEVICE_H

#include "base/topology.h"
#include "kernels/kernels.h"
#include "model/weights.h"

/* rows x cols floats, `stride` floats from row to row. */
typedef struct qn_rows {
    float *p;
    int rows, cols;
    size_t stride;
} qn_rows;

/* The rows of one sequence in a step. */
typedef struct qn_run {
    int first, n;                        /* rows of the step */
    int32_t pos;                         /* of the first */
    unsigned char *const *pages;
    float *state;                        /* of the sequence's recurrent layers, or NULL */
    float *beyond;                       /* rows from `kept` on advance a copy of it here; NULL: all of them `state` */
    int kept;
} qn_run;

/* Where a layer's keys and values lie in a page, and how heads share them. */
typedef struct qn_kv_place {
    size_t k_off, v_off;     /* bytes from the page's start: of n_kv_heads heads (qn_attention) */
    qn_kv kv;
    int n_heads, n_kv_heads, head_k, head_v;
} qn_kv_place;

typedef struct qn_linear {
    const qn_weight *w;
    qn_rows y;
} qn_linear;

/* The step's rows sorted by the expert that they go to: a slot is one (row, choice).
 *
 *   slot:      0 1 2 3 4 5 ...       slots of expert experts[s] are [start[s], start[s+1])
 *   source[]:  the row that a slot reads          place[row*n_used + j]: the slot of a row's j-th choice
 *   weight[row*n_used + j]: its weight
 */
typedef struct qn_routing {
    int n_rows, n_used, n_slots, n_segments;
    int32_t *chosen;            /* [n_rows][n_used] experts, best first */
    float *weight;
    int32_t *source, *place, *experts, *start;
} qn_routing;

/* How a router's logits choose. */
typedef struct qn_route_rule {
    qn_router kind;
    bool normalise;
    float scale;
    const float *bias; /* added for the choice only, or NULL */
    const float *gain; /* of each expert's weight, last of all, or NULL */
    int n_experts, n_used, n_groups, n_groups_used;
} qn_route_rule;

/* A recurrent layer's shapes: time_rank heads of inner / time_rank values, groups of keys of `state` values. */
typedef struct qn_recurrent_shape {
    int conv, state, groups, heads, inner;
    bool keys_tiled;
    float eps;
} qn_recurrent_shape;

typedef struct qn_device qn_device;

typedef struct qn_device_ops {
    void (*close)(qn_device *d);
    /* y[t] = row tokens[t] of w, times scale. */
    void (*embed)(qn_device *d, const qn_weight *w, const int32_t *tokens, float scale, qn_rows y);
    /* y[t] += v */
    void (*add_vector)(qn_device *d, const float *v, qn_rows y);
    void (*norm)(qn_device *d, qn_norm_kind kind, const qn_norm *n, float eps, qn_rows x, qn_rows y);
    /* RMS over each n->n values: x.cols = heads * n->n. In place. n->w NULL: no weights. */
    void (*head_norm)(qn_device *d, const qn_norm *n, float eps, qn_rows x);
    /* outs[i].y = x * outs[i].w^T + bias, for all i in one sweep. */
    void (*linear)(qn_device *d, qn_rows x, const qn_linear *outs, int n_outs);
    /* For each matrix h of w: y[h*y_step ..] = x[h*x_step ..] * w[h]^T. */
    void (*head_linear)(qn_device *d, const qn_weight *w, qn_rows x, int x_step, qn_rows y, int y_step);
    /* Rotate values [at, at + n_rot) of each head by tables[row] (n_rot of `table_stride` floats), then multiply the row by
     * row_scale[row] unless NULL. */
    void (*rope)(qn_device *d, qn_rows x, int head, int at, int n_rot, bool neox, const float *tables, int table_stride,
                 const float *row_scale);
    /* y[h] = x[h*x_step + at .. + n] for each head: gathers parts of heads. */
    void (*take_heads)(qn_device *d, qn_rows x, int x_step, int at, qn_rows y, int y_step, int y_at, int n, int heads);
    void (*kv_store)(qn_device *d, const qn_kv_place *at, qn_rows k, qn_rows v, const qn_run *runs, int n_runs);
    /* sinks: a logit per head, or NULL. */
    void (*attention)(qn_device *d, const qn_kv_place *at, qn_rows q, qn_rows out, const qn_run *runs, int n_runs,
                      int32_t window, bool whole, float scale, float softcap, const float *sinks);
    /* x *= sigmoid(gate), each gate value for `span` values of x. */
    void (*gate)(qn_device *d, qn_rows x, qn_rows gate, int span);
    /* y = act(gate) * up, or act(up) when gate.p is NULL; clamp > 0 bounds a gated product. */
    void (*activate)(qn_device *d, qn_ffn_kind kind, float clamp, qn_rows gate, qn_rows up, qn_rows y);
    /* x += y * scale. */
    void (*add)(qn_device *d, qn_rows x, qn_rows y, float scale);
    /* x = cap * tanh(x * scale / cap), or x * scale when cap is 0. */
    void (*finish)(qn_device *d, qn_rows x, float scale, float cap);

    /* Choose experts for each row of router logits (used as scratch) and sort the slots. */
    void (*route)(qn_device *d, const qn_route_rule *rule, qn_rows logits, qn_routing *out);
    /* outs[i].y[slot] = x[source[slot] or slot] * outs[i].w[expert of slot]^T + bias. gather: read through source. */
    void (*expert_linear)(qn_device *d, const qn_routing *r, bool gather, qn_rows x, const qn_linear *outs, int n_outs);
    /* y[row] = sum over the row's choices, best first, of weight * x[place]. */
    void (*combine)(qn_device *d, const qn_routing *r, qn_rows x, qn_rows y);

    /* Gated delta rule: qkv rows (queries, keys, values) through the convolution and the rule; out rows of `inner` values.
     * alpha, beta: a value per head. states[run] is the sequence's state at this layer, zeroed by the caller at position 0. */
    void (*delta)(qn_device *d, const qn_recurrent_shape *s, const qn_layer *l, qn_rows qkv, qn_rows alpha, qn_rows beta,
                  qn_rows out, const qn_run *runs, int n_runs);
    /* Mamba-2: in rows (z, x, B, C, dt); out = norm(scan * silu(z)). */
    void (*mamba)(qn_device *d, const qn_recurrent_shape *s, const qn_layer *l, qn_rows in, qn_rows out,
                  const qn_run *runs, int n_runs);
} qn_device_ops;

/* What a matrix is about to be multiplied with: rows of x, or the rows that its experts get, or a part of each row for each
 * of its matrices. */
typedef struct qn_seen {
    const qn_weight *w;
    qn_rows x;
    const qn_routing *routing; /* NULL: not experts */
    bool gather;               /* of expert_linear */
    int x_step;                /* of head_linear; 0: no heads */
} qn_seen;

/* Somebody who looks on, before each multiplication and on the caller's thread. */
typedef struct qn_observer {
    void (*see)(void *arg, const qn_seen *s);
    void *arg;
} qn_observer;

struct qn_device {
    const qn_device_ops *ops;
    const qn_observer *observer; /* NULL: nobody */
};

static inline void qn__observe(const qn_device *d, const qn_linear *outs, int n_outs, qn_seen seen)
{
    for (int i = 0; d->observer && i < n_outs; i++) {
        seen.w = outs[i].w;
        d->observer->see(d->observer->arg, &seen);
    }
}

typedef struct qn_cpu_device_options {
    qn_cpu level;
    int n_threads;
    const qn_cpus *cpus; /* NULL: anywhere */
    /* Activations that a matmul reads: at most rows[i] rows of k[i] values, for each i. */
    int rows[3], k[3];
    size_t scratch; /* floats per thread, for recurrent layers */
} qn_cpu_device_options;
qn_status qn__cpu_device_open(const qn_cpu_device_options *o, qn_device **out, qn_err *err);
/* Scratch bytes that such a device holds. */
size_t qn__cpu_device_bytes(const qn_cpu_device_options *o);

#endif
