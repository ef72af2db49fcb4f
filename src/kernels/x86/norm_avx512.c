/* norm_avx512.c - normalisation at this level; the body is norm_vec.h. */
#include "kernels/x86/vec_avx512.h"

#include "kernels/vec/norm_vec.h"
