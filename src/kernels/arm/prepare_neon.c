/* prepare_neon.c - quantising activation rows at this level; the body is prepare_vec.h. */
#include "kernels/arm/arm.h"
#include "kernels/arm/vec_neon.h"

#include "kernels/x86/prepare_vec.h"
