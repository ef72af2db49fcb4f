/* matmul_q32_neon.c - Q8_0, Q4_0, Q5_0 with SDOT. See quant_arm.h and one_token.h. */
#include "kernels/arm/step_neon.h"

#include "kernels/arm/one_token.h"

INLINE float32x4_t one_q8_0(four w, const char *x, int k)
{
    const float *dx = qn__q32_d(x, k);
    float32x4_t acc = vdupq_n_f32(0.0f);
    for (int b = 0; b < k / 32; b++) {
        size_t off = (size_t)b * 34;
        int8x16_t x0 = vld1q_s8((const int8_t *)x + b * 32), x1 = vld1q_s8((const int8_t *)x + b * 32 + 16);
        int32x4_t s[4];
        UNROLL
        for (int i = 0; i < 4; i++) {
            const int8_t *q = (const int8_t *)w[i] + off + 2;
            s[i] = vdotq_s32(vdotq_s32(vdupq_n_s32(0), vld1q_s8(q), x0), vld1q_s8(q + 16), x1);
        }
        acc = vfmaq_f32(acc, vmulq_n_f32(four_halves(w, off), dx[b]), vcvtq_f32_s32(row_sums(s)));
    }
    return acc;
}

/* q and w = q - 8: what the offset adds is in n8. */
INLINE float32x4_t one_q4_0(four w, const char *x, int k)
{
    const float *dx = qn__q32_d(x, k);
    const int32_t *n8 = qn__q32_n8(x, k);
    float32x4_t acc = vdupq_n_f32(0.0f);
    for (int b = 0; b < k / 32; b++) {
        size_t off = (size_t)b * 18;
        int8x16_t x0 = vld1q_s8((const int8_t *)x + b * 32), x1 = vld1q_s8((const int8_t *)x + b * 32 + 16);
        int32x4_t s[4];
        UNROLL
        for (int i = 0; i < 4; i++) {
            uint8x16_t q = vld1q_u8(w[i] + off + 2);
            s[i] = vdotq_s32(vdotq_s32(vdupq_n_s32(0), low_nibbles(q), x0), high_nibbles(q), x1);
        }
        int32x4_t sum = vaddq_s32(row_sums(s), vdupq_n_s32(n8[b]));
        acc = vfmaq_f32(acc, vmulq_n_f32(four_halves(w, off), dx[b]), vcvtq_f32_s32(sum));
    }
    return acc;
}

INLINE float32x4_t one_q5_0(four w, const char *x, int k)
{
    const float *dx = qn__q32_d(x, k);
    float32x4_t acc = vdupq_n_f32(0.0f);
    for (int b = 0; b < k / 32; b++) {
        size_t off = (size_t)b * 22;
        int8x16_t x0 = vld1q_s8((const int8_t *)x + b * 32), x1 = vld1q_s8((const int8_t *)x + b * 32 + 16);
        int32x4_t s[4];
        UNROLL
        for (int i = 0; i < 4; i++) {
            int8x16_t q[2];
            row_q5_0(w[i] + off, q);
            s[i] = vdotq_s32(vdotq_s32(vdupq_n_s32(0), q[0], x0), q[1], x1);
        }
        acc = vfmaq_f32(acc, vmulq_n_f32(four_halves(w, off), dx[b]), vcvtq_f32_s32(row_sums(s)));
    }
    return acc;
}

INLINE void group_of_q8_0(rows_at p, const char *x, int k, int b, float32x4_t acc[2])
{
    int32x4_t s[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
    UNROLL
    for (int c = 0; c < 2; c++) {
        uint8x16_t q[8];
        take(p, 2 + 16 * (size_t)c, q, true);
        step_bytes(s, q, chunk_at(x + b * 32 + 16 * c));
    }
    add_block(acc, row_halves(p, 0, true), qn__q32_d(x, k)[b], s);
}

INLINE void group_of_q4_0(rows_at p, const char *x, int k, int b, float32x4_t acc[2])
{
    int32x4_t n8 = vdupq_n_s32(qn__q32_n8(x, k)[b]), s[2] = {n8, n8};
    uint8x16_t q[8];
    take(p, 2, q, true);
    step_low(s, q, chunk_at(x + b * 32));
    step_high(s, q, chunk_at(x + b * 32 + 16));
    add_block(acc, row_halves(p, 0, true), qn__q32_d(x, k)[b], s);
}

INLINE void group_of_q5_0(rows_at p, const char *x, int k, int b, float32x4_t acc[2])
{
    int32x4_t s[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
    int8x16_t q[2][8];
    group_q5_0(p, 0, q);
    step(s, q[0], chunk_at(x + b * 32));
    step(s, q[1], chunk_at(x + b * 32 + 16));
    add_block(acc, row_halves(p, 0, true), qn__q32_d(x, k)[b], s);
}

void qn__neon_matmul_Q8_0(const qn_matmul *a)
{
    if (few(a))
        one_token(a, 32, 34, one_q8_0, group_of_q8_0);
    else
        matmul_panels(a, 32, 34, unpack_q8_0, dot_q32);
}

void qn__neon_matmul_Q4_0(const qn_matmul *a)
{
    if (few(a))
        one_token(a, 32, 18, one_q4_0, group_of_q4_0);
    else
        matmul_panels(a, 32, 18, unpack_q4_0, dot_q32);
}

void qn__neon_matmul_Q5_0(const qn_matmul *a)
{
    if (few(a))
        one_token(a, 32, 22, one_q5_0, group_of_q5_0);
    else
        matmul_panels(a, 32, 22, unpack_q5_0, dot_q32);
}
