/* peak_avx512.c - 512-bit VNNI and FMA; the body is peak_vec.h. */
#include "kernels/x86/unroll.h"

#define LEVEL(name) qn__avx512_peak_##name
typedef __m512i vi;
typedef __m512 vf;
enum { CHAINS = 16, INT8_PER_STEP = 64 };
#define KEEP(v) __asm__ volatile("" : "+v"(v))
#define vi_of(x) _mm512_set1_epi32(x)
#define vi_sum _mm512_add_epi32
#define vi_get(p) _mm512_loadu_si512(p)
#define vi_put(p, v) _mm512_storeu_si512(p, v)
#define vf_of(x) _mm512_set1_ps(x)
#define vf_put(p, v) _mm512_storeu_ps(p, v)
#define dot8(s, a, b) _mm512_dpbusd_epi32(s, a, b)
#define fma_of(x, a, b) _mm512_fmadd_ps(x, a, b)

#include "kernels/vec/peak_vec.h"
