/* matmul_float_neon.c - matmul with float activations at this level; the body is matmul_float_vec.h. */
#include "kernels/arm/arm.h"
#include "kernels/arm/vec_neon.h"

#include "kernels/x86/matmul_float_vec.h"
