/* arm.h - the kernels of the neon and i8mm levels: declarations. Each is one file per operation; the i8mm level has its
 * own matmuls of quantised weights and takes the rest from neon. */
#ifndef QN_KERNELS_ARM_H
#define QN_KERNELS_ARM_H

#include "kernels/kernels.h"
#include "kernels/ref/ref.h"

void qn__neon_prepare_q8_32(const float *x, void *dst, int k);
void qn__neon_prepare_q8_256(const float *x, void *dst, int k);
void qn__neon_attention(const qn_attention *a);
void qn__neon_kv_store(qn_kv kv, const float *k, const float *v, int head_k, int head_v, unsigned char *k_page,
                       unsigned char *v_page, int slot);
void qn__neon_rms_norm(const float *x, const float *w, float *y, int n, float eps);
void qn__neon_layer_norm(const float *x, const float *w, const float *b, float *y, int n, float eps);
void qn__neon_rope(float *x, const float *cos_sin, int n_rot, bool neox);
void qn__neon_silu(const float *x, float *y, int n);
void qn__neon_gelu(const float *x, float *y, int n);
void qn__neon_relu2(const float *x, float *y, int n);
void qn__neon_silu_mul(const float *g, const float *u, float *y, int n);
void qn__neon_gelu_mul(const float *g, const float *u, float *y, int n);
void qn__neon_add(const float *a, const float *b, float *y, int n);
void qn__neon_scale(const float *x, float s, float *y, int n);
void qn__neon_softcap(const float *x, float cap, float *y, int n);
void qn__neon_oai_mul(const float *g, const float *u, float *y, int n, float limit);
void qn__neon_silu_mul_clamped(const float *g, const float *u, float *y, int n, float limit);
void qn__neon_sigmoid_mul(const float *g, const float *x, float *y, int n);
void qn__neon_add_scaled(const float *x, float s, float *y, int n);
void qn__neon_conv_step(const float *w, const float *b, float *state, const float *x, float *y, int n, int taps);
void qn__neon_delta_step(float *state, const float *q, const float *k, const float *v, float decay, float beta,
                         float *out, int n_k, int n_v);
void qn__neon_ssm_step(float *state, const float *x, const float *b, const float *c, float decay, float *y, int n_state,
                       int n);

/* Weights of other types go through the scalar integer code. */
#define X(type) void qn__neon_matmul_##type(const qn_matmul *a);
QN_FLOAT_TYPES(X)
QN_MAIN_TYPES(X)
#undef X
#define X(type) void qn__i8mm_matmul_##type(const qn_matmul *a);
QN_MAIN_TYPES(X)
#undef X

#endif
