/* vnni_avx512.h - dot products of 64 bytes for matmul_*_vnni.h, and the vocabulary beside them. */
#ifndef QN_KERNELS_VNNI_AVX512_H
#define QN_KERNELS_VNNI_AVX512_H

#include "kernels/x86/vec_avx512.h"

#define VNNI_MATMUL(type) qn__avx512_matmul_##type
#define SC_HIGH(i) (-1) /* a scale stands in the lower half of its lane */

/* sum + products of 4 unsigned bytes of w with 4 signed ones of x, in each lane */
INLINE vi vi_dpbusd(vi sum, vi w, vi x)
{
    return _mm512_dpbusd_epi32(sum, w, x);
}

/* sum + products of 2 int16 each */
INLINE vi vi_dpwssd(vi sum, vi a, vi b)
{
    return _mm512_dpwssd_epi32(sum, a, b);
}

#endif
