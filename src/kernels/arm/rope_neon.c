/* rope_neon.c - rotary position embedding at this level; the body is rope_vec.h. */
#include "kernels/arm/arm.h"
#include "kernels/arm/vec_neon.h"

#include "kernels/x86/rope_vec.h"
