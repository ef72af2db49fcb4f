/* rope_neon.c - rotary position embedding at this level; the body is rope_vec.h. */
#include "kernels/arm/vec_neon.h"

#include "kernels/vec/rope_vec.h"
