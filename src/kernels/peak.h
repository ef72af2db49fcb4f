/* peak.h - how fast this machine can be at a level: loops of nothing but multiplications, and of nothing but reading.
 * What a matmul reaches is measured against them.
 *
 * Contract: `rounds` of the innermost loop; the return value is the number of operations done (a multiplication and an
 * addition are two). `sink` takes 64 bytes of the result, so that no compiler can leave the work out. */
#ifndef QN_KERNELS_PEAK_H
#define QN_KERNELS_PEAK_H

#include "base/cpu.h"

typedef struct qn_peak {
    uint64_t (*int8)(uint64_t rounds, void *sink);     /* products of 8-bit integers, summed in 32 bits */
    uint64_t (*int8_vector)(uint64_t rounds, void *sink); /* the same by vectors, where int8 is of matrix tiles; or NULL */
    uint64_t (*fp32)(uint64_t rounds, void *sink);     /* fused multiply-adds of binary32 */
    void (*read)(const void *p, size_t n, void *sink); /* n bytes once; p is 64-byte aligned, n a multiple of 4096 */
} qn_peak;

/* The machine must have the level. Static. */
const qn_peak *qn__peak(qn_cpu level);

#define QN_PEAK_LEVEL(level)                                                                                           \
    uint64_t qn__##level##_peak_int8(uint64_t rounds, void *sink);                                                     \
    uint64_t qn__##level##_peak_fp32(uint64_t rounds, void *sink);                                                     \
    void qn__##level##_peak_read(const void *p, size_t n, void *sink);
QN_PEAK_LEVEL(ref)
#if defined(__x86_64__)
QN_PEAK_LEVEL(avx2)
QN_PEAK_LEVEL(avx512)
uint64_t qn__amx_peak_int8(uint64_t rounds, void *sink);
uint64_t qn__avxvnni_peak_int8(uint64_t rounds, void *sink);
#elif defined(__aarch64__)
QN_PEAK_LEVEL(neon)
uint64_t qn__i8mm_peak_int8(uint64_t rounds, void *sink);
#endif
#undef QN_PEAK_LEVEL

#endif
