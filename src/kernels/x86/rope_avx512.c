/* rope_avx512.c - rotary position embedding at this level; the body is rope_vec.h. */
#include "kernels/x86/vec_avx512.h"

#include "kernels/vec/rope_vec.h"
