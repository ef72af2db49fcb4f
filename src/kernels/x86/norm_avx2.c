/* norm_avx2.c - normalisation at this level; the body is norm_vec.h. */
#include "kernels/x86/vec_avx2.h"

#include "kernels/vec/norm_vec.h"
