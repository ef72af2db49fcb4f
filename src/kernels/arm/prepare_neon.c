/* prepare_neon.c - quantising activation rows at this level; the body is prepare_vec.h. */
#include "kernels/arm/vec_neon.h"

#include "kernels/vec/prepare_vec.h"
