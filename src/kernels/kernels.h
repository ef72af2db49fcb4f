/* kernels.h - the operation table: one operation, several rooms (ref, x86, arm), one name.
 *
 * What a kernel knows: pointers, strides, shapes, its instruction set. It does not allocate, lock, log, fail or start
 * threads; the caller splits the work over rows, tokens and heads, never over K.
 *
 * The order of sums (DESIGN.md section 5) is part of each operation's definition: within one level an output element is
 * computed by the same operations in the same order whatever the tile, the batch or the number of tokens, so results are
 * equal to the bit. Levels may differ in bits from each other where floats are summed across lanes; the integer
 * matmuls are exact inside a block and end in one fma per block, ascending, so there all levels agree to the bit.
 */
#ifndef QN_KERNELS_KERNELS_H
#define QN_KERNELS_KERNELS_H

#include "base/cpu.h"
#include "formats/types.h"

/* The form in which a row of activations is handed to a matmul; a function of that row alone. */
typedef enum qn_act {
    QN_ACT_F32,    /* the floats themselves: for F32, F16, BF16 */
    QN_ACT_Q8_32,  /* int8 in blocks of 32 with a float scale each: for types whose blocks are shorter than 256 */
    QN_ACT_Q8_256, /* int8 in blocks of 256 with a float scale and 16 partial sums: for blocks of 256 */
    QN_ACT__COUNT
} qn_act;

/* y[t*y_stride + r] = sum over k of W[r][k] * X[t][k],  0 <= r < rows, 0 <= t < tokens. */
typedef struct qn_matmul {
    const void *w;   /* rows of the weight matrix as they lie in the file: unaligned, row after row */
    size_t w_stride; /* bytes */
    bool packed;     /* or as qn__pack lays them out (pack.h): w at the start of a group, rows of whole groups; same bits */
    const void *x;   /* activation rows in the type's qn_act form, 64-byte aligned */
    size_t x_stride; /* bytes, a multiple of 64 */
    float *y;
    size_t y_stride; /* floats */
    int k, rows, tokens;
} qn_matmul;

enum { QN_PAGE_TOKENS = 64 }; /* tokens of a KV page; also the step of the online softmax */
typedef enum qn_kv { QN__KV_F16, QN__KV_F32, QN__KV_Q8_0, QN__KV__COUNT } qn_kv;

/* Attention of n_q queries that share one KV head, over pages ascending.
 *
 *   page i holds positions 64i .. 64i+63
 *     K at pages[i] + k_off : [head_k][64]   transposed: positions lie across lanes, so no horizontal sum exists
 *     V at pages[i] + v_off : [64][head_v]
 *
 * Q8_0: int8 in that order, then a half float for every 32 values of a head (the last group may be shorter), also in that
 * order: K's as [ceil(head_k/32)][64], V's as [64][ceil(head_v/32)]. A value is their product, which is exact.
 *
 * Query j sees positions lo[j] .. pos[j], both included. Per query and page: 64 scores (sum over d ascending, one fma
 * each), scaled, soft-capped if softcap > 0, masked; running maximum; exp; out scaled and added to, positions ascending.
 * At the end the sink (if any) joins the denominator. A query's result does not depend on the other queries. Slots after
 * pos may hold anything, NaN included. pages[i] for 64i+63 < the least lo may be NULL. */
typedef struct qn_attention {
    const float *const *q; /* n_q pointers to head_k floats */
    float *const *out;     /* n_q pointers to head_v floats */
    const int32_t *pos, *lo;
    const float *sink;     /* n_q logits, or NULL */
    int n_q;
    const unsigned char *const *pages;
    size_t k_off, v_off;   /* bytes */
    int head_k, head_v;
    qn_kv kv;
    float scale, softcap;
} qn_attention;
enum { QN_KV_GROUP = 32 }; /* values that share a scale in Q8_0 */
/* Bytes of the keys, or of the values, of one head in a page: a multiple of 64. */
size_t qn__kv_bytes(qn_kv kv, int head);
enum { QN_ATTENTION_MAX_Q = 96, QN_HEAD_MAX = 576 }; /* bounds of n_q and head sizes: some 0.4 MB of stack */

typedef struct qn_kernels {
    qn_cpu level;

    /* Which form matmul[type] wants, and the matmul; every type that qn__dequant_has has one. */
    qn_act act[QN_TYPE__COUNT];
    int lanes; /* rows of a packed group (pack.h) that matmul takes, of what qn__kernels_pack says; 0: it takes none */
    int span; /* tokens that a matmul is best given at once, as long as their activations stay in a second-level cache */
    int least; /* ... and so many even if they do not: weights unpacked for fewer cost more than that */
    void (*matmul[QN_TYPE__COUNT])(const qn_matmul *a);
    /* Prepare one row of k floats: k is a multiple of 32 (Q8_32) or 256 (Q8_256). dst: qn__act_bytes, 64-byte aligned. */
    void (*prepare[QN_ACT__COUNT])(const float *x, void *dst, int k);

    void (*attention)(const qn_attention *a);
    /* Write one token's K (head_k floats) and V (head_v) of one KV head into slot 0..63 of a page. */
    void (*kv_store)(qn_kv kv, const float *k, const float *v, int head_k, int head_v, unsigned char *k_page,
                     unsigned char *v_page, int slot);

    /* y = x / sqrt(mean(x^2) + eps) * w; w NULL: ones. In place allowed, here and below. */
    void (*rms_norm)(const float *x, const float *w, float *y, int n, float eps);
    /* y = (x - mean) / sqrt(var + eps) * w + b; w, b may be NULL. */
    void (*layer_norm)(const float *x, const float *w, const float *b, float *y, int n, float eps);
    /* Rotate the first n_rot of a head's values by the table of one position: cos_sin[2*i], cos_sin[2*i+1] for pair i of
     * n_rot/2. neox: pair i is (x[i], x[i + n_rot/2]); else (x[2i], x[2i+1]). In place. */
    void (*rope)(float *x, const float *cos_sin, int n_rot, bool neox);

    void (*silu)(const float *x, float *y, int n);                     /* x / (1 + exp(-x)) */
    void (*gelu)(const float *x, float *y, int n);                     /* x/2 (1 + tanh(sqrt(2/pi)(x + 0.044715 x^3))) */
    void (*relu2)(const float *x, float *y, int n);                    /* max(x, 0)^2 */
    void (*silu_mul)(const float *g, const float *u, float *y, int n); /* silu(g) * u */
    void (*gelu_mul)(const float *g, const float *u, float *y, int n); /* gelu(g) * u */
    void (*add)(const float *a, const float *b, float *y, int n);      /* a + b */
    void (*scale)(const float *x, float s, float *y, int n);           /* x * s */
    void (*softcap)(const float *x, float cap, float *y, int n);       /* cap * tanh(x / cap) */

    /* g = min(g, limit), u = clamp(u, -limit, limit): g / (1 + exp(-1.702 g)) * (u + 1), as gpt-oss gates. */
    void (*oai_mul)(const float *g, const float *u, float *y, int n, float limit);
    /* min(silu(g), limit) * clamp(u, -limit, limit). */
    void (*silu_mul_clamped)(const float *g, const float *u, float *y, int n, float limit);
    void (*sigmoid_mul)(const float *g, const float *x, float *y, int n); /* x / (1 + exp(-g)) */
    void (*add_scaled)(const float *x, float s, float *y, int n);         /* y = fma(x, s, y) */

    /* One token of a depthwise causal convolution over n channels and `taps` tokens, then silu: y[c] = silu(sum over j
     * ascending of w[c*taps + j] * x_j[c] + b[c]), where x_0 .. x_(taps-2) are the rows of state, oldest first, and the last
     * is x. Then state moves on by x. b may be NULL. */
    void (*conv_step)(const float *w, const float *b, float *state, const float *x, float *y, int n, int taps);
    /* One token of a gated delta rule (Yang 2024), state[n_k][n_v]: state *= decay; m = state^T k; d = (v - m) * beta;
     * state += k d^T; out = state^T q. Sums over n_k ascending, one fma each. */
    void (*delta_step)(float *state, const float *q, const float *k, const float *v, float decay, float beta, float *out,
                       int n_k, int n_v);
    /* One token of a selective state space head (Dao 2024), state[n_state][n]: state = state * decay + b[s] * x[i];
     * y[i] = sum over s ascending of state[s][i] * c[s]. */
    void (*ssm_step)(float *state, const float *x, const float *b, const float *c, float decay, float *y, int n_state, int n);
} qn_kernels;

/* The table of a level; the machine must have it. Static. */
const qn_kernels *qn__kernels(qn_cpu level);
/* A level may have further instructions for the same bits: the i-th form that the machine has, best first; NULL past the
 * end. qn__kernels gives the first. */
const qn_kernels *qn__kernels_form(qn_cpu level, int i);
/* Does matmul[type] take packed groups of k->lanes rows? Levels of as many lanes take the same types. */
bool qn__kernels_pack(const qn_kernels *k, qn_type type);
/* Bytes of one prepared row, an odd multiple of 64. */
size_t qn__act_bytes(qn_act act, int k);

#endif
