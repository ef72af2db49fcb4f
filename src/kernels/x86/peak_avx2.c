/* peak_avx2.c - 256-bit FMA, and 8-bit products by way of 16 bits; the body is peak_vec.h. */
#include "kernels/x86/unroll.h"

#define LEVEL(name) qn__avx2_peak_##name
typedef __m256i vi;
typedef __m256 vf;
enum { CHAINS = 10, INT8_PER_STEP = 128 };
#define KEEP(v) __asm__ volatile("" : "+x"(v))
#define vi_of(x) _mm256_set1_epi32(x)
#define vi_sum _mm256_add_epi32
#define vi_get(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define vi_put(p, v) _mm256_storeu_si256(p, v)
#define vf_of(x) _mm256_set1_ps(x)
#define vf_put(p, v) _mm256_storeu_ps(p, v)
#define fma_of(x, a, b) _mm256_fmadd_ps(x, a, b)

/* Four products may be summed in 16 bits before they are widened: 4 * 2 * 15 * 127 fits for 4-bit weights, the type
 * that most models are in. */
static inline __attribute__((always_inline)) vi dot8(vi s, vi a, vi b)
{
    vi x = _mm256_maddubs_epi16(a, b);
    for (int i = 0; i < 3; i++) {
        KEEP(a); /* each is computed anew */
        x = _mm256_add_epi16(x, _mm256_maddubs_epi16(a, b));
    }
    return _mm256_add_epi32(s, _mm256_madd_epi16(x, _mm256_set1_epi16(1)));
}

#include "kernels/vec/peak_vec.h"
