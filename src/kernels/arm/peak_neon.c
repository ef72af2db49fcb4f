/* peak_neon.c - dot products of 8-bit integers and FMA; the body is peak_vec.h. */
#include <arm_neon.h>

#define UNROLL _Pragma("GCC unroll 32")
#define LEVEL(name) qn__neon_peak_##name
typedef int32x4_t vi;
typedef float32x4_t vf;
enum { CHAINS = 16, INT8_PER_STEP = 16 };
#define KEEP(v) __asm__ volatile("" : "+w"(v))
#define vi_of(x) vdupq_n_s32(x)
#define vi_sum vaddq_s32
#define vi_get(p) vld1q_s32((const int32_t *)(const void *)(p))
#define vi_put(p, v) vst1q_s32(p, v)
#define vf_of(x) vdupq_n_f32(x)
#define vf_put(p, v) vst1q_f32(p, v)
#define dot8(s, a, b) vdotq_s32(s, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b))
#define fma_of(x, a, b) vfmaq_f32(b, x, a)

#include "kernels/vec/peak_vec.h"
