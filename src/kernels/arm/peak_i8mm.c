/* peak_i8mm.c - 8-bit matrix products; the rest is the level below's; the body is peak_vec.h. */
#include <arm_neon.h>

#define UNROLL _Pragma("GCC unroll 32")
#define LEVEL(name) qn__i8mm_peak_##name
#define PEAK_INT8_ONLY
typedef int32x4_t vi;
enum { CHAINS = 16, INT8_PER_STEP = 32 };
#define KEEP(v) __asm__ volatile("" : "+w"(v))
#define vi_of(x) vdupq_n_s32(x)
#define vi_sum vaddq_s32
#define vi_put(p, v) vst1q_s32(p, v)
#define dot8(s, a, b) vmmlaq_s32(s, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b))

#include "kernels/vec/peak_vec.h"
