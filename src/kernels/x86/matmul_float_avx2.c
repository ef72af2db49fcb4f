/* matmul_float_avx2.c - matmul with float activations at this level; the body is matmul_float_vec.h. */
#include "kernels/x86/vec_avx2.h"

#include "kernels/vec/matmul_float_vec.h"
