/* x86.h - the kernels of the AVX2 and AVX-512 levels: declarations. Each is one file per operation and level; where the
 * two differ only in width, both are a few lines around a common body (*_vec.h). */
#ifndef QN_KERNELS_X86_H
#define QN_KERNELS_X86_H

#include "kernels/kernels.h"
#include "kernels/ref/ref.h"

#define QN_X86_LEVEL(level)                                                                                            \
    void qn__##level##_prepare_q8_32(const float *x, void *dst, int k);                                                \
    void qn__##level##_prepare_q8_256(const float *x, void *dst, int k);                                               \
    void qn__##level##_attention(const qn_attention *a);                                                               \
    void qn__##level##_kv_store(qn_kv kv, const float *k, const float *v, int head_k, int head_v,                      \
                                unsigned char *k_page, unsigned char *v_page, int slot);                               \
    void qn__##level##_rms_norm(const float *x, const float *w, float *y, int n, float eps);                           \
    void qn__##level##_layer_norm(const float *x, const float *w, const float *b, float *y, int n, float eps);         \
    void qn__##level##_rope(float *x, const float *cos_sin, int n_rot, bool neox);                                     \
    void qn__##level##_silu(const float *x, float *y, int n);                                                          \
    void qn__##level##_gelu(const float *x, float *y, int n);                                                          \
    void qn__##level##_relu2(const float *x, float *y, int n);                                                         \
    void qn__##level##_silu_mul(const float *g, const float *u, float *y, int n);                                      \
    void qn__##level##_gelu_mul(const float *g, const float *u, float *y, int n);                                      \
    void qn__##level##_add(const float *a, const float *b, float *y, int n);                                           \
    void qn__##level##_scale(const float *x, float s, float *y, int n);                                                \
    void qn__##level##_softcap(const float *x, float cap, float *y, int n);                                            \
    void qn__##level##_oai_mul(const float *g, const float *u, float *y, int n, float limit);                          \
    void qn__##level##_silu_mul_clamped(const float *g, const float *u, float *y, int n, float limit);                 \
    void qn__##level##_sigmoid_mul(const float *g, const float *x, float *y, int n);                                   \
    void qn__##level##_add_scaled(const float *x, float s, float *y, int n);                                           \
    void qn__##level##_conv_step(const float *w, const float *b, float *state, const float *x, float *y, int n,        \
                                 int taps);                                                                            \
    void qn__##level##_delta_step(float *state, const float *q, const float *k, const float *v, float decay,           \
                                  float beta, float *out, int n_k, int n_v);                                           \
    void qn__##level##_ssm_step(float *state, const float *x, const float *b, const float *c, float decay, float *y,   \
                                int n_state, int n);
QN_X86_LEVEL(avx2)
QN_X86_LEVEL(avx512)
#undef QN_X86_LEVEL

#define X(type)                                                                                                        \
    void qn__avx2_matmul_##type(const qn_matmul *a);                                                                   \
    void qn__avx512_matmul_##type(const qn_matmul *a);
QN_MATMUL_TYPES(X)
#undef X

/* The AVX2 level where there are dot products of 32 bytes (AVX-VNNI): the same bits. */
#define X(type) void qn__avxvnni_matmul_##type(const qn_matmul *a);
QN_MAIN_TYPES(X)
QN_MORE_TYPES(X)
#undef X

/* Weights of other types are as at the AVX-512 level. */
#define X(type) void qn__amx_matmul_##type(const qn_matmul *a);
QN_MAIN_TYPES(X)
#undef X

#endif
