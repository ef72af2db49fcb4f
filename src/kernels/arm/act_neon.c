/* act_neon.c - element-wise operations at this level; the body is act_vec.h. */
#include "kernels/arm/vec_neon.h"

#include "kernels/vec/act_vec.h"
