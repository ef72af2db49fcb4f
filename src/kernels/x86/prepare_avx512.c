/* prepare_avx512.c - quantising activation rows at this level; the body is prepare_vec.h. */
#include "kernels/x86/vec_avx512.h"

#include "kernels/vec/prepare_vec.h"
