/* device.h - what the decoder is written in: about a dozen operations over rows of activations.
 *
 * The decoder is straight-line C that calls these in order; the CPU device runs each at once on its threads, a GPU device
 * may record them. Activations are float rows; every argument carries its shape. No operation fails: memory is reserved
 * when the device is opened. */
#ifndef QN_MODEL_DEVICE_H
#define QN_MODEL_DEVICE_H

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
} qn_run;

/* Where a layer's keys and values lie in a page, and how heads share them. */
typedef struct qn_kv_place {
    size_t k_off, v_off;     /* bytes from the page's start: [n_kv_heads][head_k][64] and [n_kv_heads][64][head_v] */
    qn_kv kv;
    int n_heads, n_kv_heads, head_k, head_v;
} qn_kv_place;

typedef struct qn_linear {
    const qn_weight *w;
    qn_rows y;
} qn_linear;

typedef struct qn_device qn_device;

typedef struct qn_device_ops {
    void (*close)(qn_device *d);
    /* y[t] = row tokens[t] of w, times scale. */
    void (*embed)(qn_device *d, const qn_weight *w, const int32_t *tokens, float scale, qn_rows y);
    void (*norm)(qn_device *d, qn_norm_kind kind, const qn_norm *n, float eps, qn_rows x, qn_rows y);
    /* The same over each head: x.cols = heads * n->n. In place. */
    void (*head_norm)(qn_device *d, const qn_norm *n, float eps, qn_rows x);
    /* outs[i].y = x * outs[i].w^T + bias, for all i in one sweep. */
    void (*linear)(qn_device *d, qn_rows x, const qn_linear *outs, int n_outs);
    /* Rotate the heads of each row by tables[row] (n_rot floats each), then multiply by row_scale[row] unless NULL. */
    void (*rope)(qn_device *d, qn_rows x, int head, int n_rot, bool neox, const float *tables, const float *row_scale);
    void (*kv_store)(qn_device *d, const qn_kv_place *at, qn_rows k, qn_rows v, const qn_run *runs, int n_runs);
    void (*attention)(qn_device *d, const qn_kv_place *at, qn_rows q, qn_rows out, const qn_run *runs, int n_runs,
                      int32_t window, float scale, float softcap);
    /* y = act(gate) * up, or act(up) when gate.p is NULL. */
    void (*activate)(qn_device *d, qn_ffn_kind kind, qn_rows gate, qn_rows up, qn_rows y);
    /* x += y * scale. */
    void (*add)(qn_device *d, qn_rows x, qn_rows y, float scale);
    /* x = cap * tanh(x * scale / cap), or x * scale when cap is 0. */
    void (*finish)(qn_device *d, qn_rows x, float scale, float cap);
} qn_device_ops;

struct qn_device {
    const qn_device_ops *ops;
};

typedef struct qn_cpu_device_options {
    qn_cpu level;
    int n_threads, max_rows, max_k; /* max_k: the longest activation row */
} qn_cpu_device_options;
qn_status qn__cpu_device_open(const qn_cpu_device_options *o, qn_device **out, qn_err *err);
/* Scratch bytes that such a device holds. */
size_t qn__cpu_device_bytes(const qn_cpu_device_options *o);

#endif
