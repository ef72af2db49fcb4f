/* peak_avxvnni.c - 8-bit products of 256 bits; the rest is the level's. The body is peak_vec.h. */
#include "kernels/x86/unroll.h"

#define PEAK_INT8_ONLY
#define LEVEL(name) qn__avxvnni_peak_##name
typedef __m256i vi;
enum { CHAINS = 12, INT8_PER_STEP = 32 };
#define KEEP(v) __asm__ volatile("" : "+x"(v))
#define vi_of(x) _mm256_set1_epi32(x)
#define vi_sum _mm256_add_epi32
#define vi_put(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#define dot8(s, a, b) _mm256_dpbusd_avx_epi32(s, a, b)

#include "kernels/vec/peak_vec.h"
