/* prepare_avx2.c - quantising activation rows at this level; the body is prepare_vec.h. */
#include "kernels/x86/vec_avx2.h"

#include "kernels/vec/prepare_vec.h"
