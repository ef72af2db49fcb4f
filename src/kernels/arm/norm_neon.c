/* norm_neon.c - normalisation at this level; the body is norm_vec.h. */
#include "kernels/arm/vec_neon.h"

#include "kernels/vec/norm_vec.h"
