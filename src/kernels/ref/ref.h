/* ref.h - the scalar truth: declarations. One file per operation; the contracts are in kernels.h. */
#ifndef QN_KERNELS_REF_H
#define QN_KERNELS_REF_H

#include "kernels/kernels.h"

/* clang-format off */
#define QN_FLOAT_TYPES(X) X(F32) X(F16) X(BF16)
#define QN_MAIN_TYPES(X) X(Q8_0) X(Q4_0) X(Q5_0) X(Q4_K) X(Q5_K) X(Q6_K)
#define QN_MORE_TYPES(X)                                                                                               \
    X(Q4_1) X(Q5_1) X(IQ4_NL) X(MXFP4) X(NVFP4) X(Q1_0) X(Q2_0)                                                        \
    X(Q2_K) X(Q3_K) X(IQ4_XS) X(IQ2_XXS) X(IQ2_XS) X(IQ2_S) X(IQ3_XXS) X(IQ3_S) X(IQ1_S) X(IQ1_M) X(TQ1_0) X(TQ2_0)
#define QN_MATMUL_TYPES(X) QN_FLOAT_TYPES(X) QN_MAIN_TYPES(X) QN_MORE_TYPES(X)
/* clang-format on */

#define X(type) void qn__ref_matmul_##type(const qn_matmul *a);
QN_MATMUL_TYPES(X)
#undef X

void qn__ref_prepare_f32(const float *x, void *dst, int k);
void qn__ref_prepare_q8_32(const float *x, void *dst, int k);
void qn__ref_prepare_q8_256(const float *x, void *dst, int k);
void qn__ref_attention(const qn_attention *a);
void qn__ref_kv_store(qn_kv kv, const float *k, const float *v, int head_k, int head_v, unsigned char *k_page,
                      unsigned char *v_page, int slot);
void qn__ref_rms_norm(const float *x, const float *w, float *y, int n, float eps);
void qn__ref_layer_norm(const float *x, const float *w, const float *b, float *y, int n, float eps);
void qn__ref_rope(float *x, const float *cos_sin, int n_rot, bool neox);
void qn__ref_silu(const float *x, float *y, int n);
void qn__ref_gelu(const float *x, float *y, int n);
void qn__ref_relu2(const float *x, float *y, int n);
void qn__ref_silu_mul(const float *g, const float *u, float *y, int n);
void qn__ref_gelu_mul(const float *g, const float *u, float *y, int n);
void qn__ref_add(const float *a, const float *b, float *y, int n);
void qn__ref_scale(const float *x, float s, float *y, int n);
void qn__ref_softcap(const float *x, float cap, float *y, int n);
void qn__ref_oai_mul(const float *g, const float *u, float *y, int n, float limit);
void qn__ref_silu_mul_clamped(const float *g, const float *u, float *y, int n, float limit);
void qn__ref_sigmoid_mul(const float *g, const float *x, float *y, int n);
void qn__ref_add_scaled(const float *x, float s, float *y, int n);
void qn__ref_conv_step(const float *w, const float *b, float *state, const float *x, float *y, int n, int taps);
void qn__ref_delta_step(float *state, const float *q, const float *k, const float *v, float decay, float beta,
                        float *out, int n_k, int n_v);
void qn__ref_ssm_step(float *state, const float *x, const float *b, const float *c, float decay, float *y, int n_state,
                      int n);

#endif
