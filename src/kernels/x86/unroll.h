/* unroll.h - what both vocabularies (vec_avx2.h, vec_avx512.h) need. */
#ifndef QN_KERNELS_X86_UNROLL_H
#define QN_KERNELS_X86_UNROLL_H

#include <immintrin.h>
#include <stdint.h>

#include "kernels/vec/unroll.h"

/* Index of a byte shuffle that picks bytes b0..b3 of each dword (-1: zero). */
INLINE __m128i qn__byte_index(int b0, int b1, int b2, int b3)
{
    uint32_t b = (b0 < 0 ? 0x80u : (uint32_t)b0) | (b1 < 0 ? 0x80u : (uint32_t)b1) << 8 |
                 (b2 < 0 ? 0x80u : (uint32_t)b2) << 16 | (b3 < 0 ? 0x80u : (uint32_t)b3) << 24;
    return _mm_setr_epi32((int)b, (int)(b + 0x04040404u), (int)(b + 0x08080808u), (int)(b + 0x0c0c0c0cu));
}

#endif
