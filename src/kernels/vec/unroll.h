/* unroll.h - what every vector kernel needs of its compiler. */
#ifndef QN_KERNELS_UNROLL_H
#define QN_KERNELS_UNROLL_H

/* Loops over small constant bounds must be unrolled for their arrays to live in registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif
#define INLINE static inline __attribute__((always_inline))

#endif
