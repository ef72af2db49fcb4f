/* rope_avx2.c - rotary position embedding at this level; the body is rope_vec.h. */
#include "kernels/x86/vec_avx2.h"

#include "kernels/vec/rope_vec.h"
