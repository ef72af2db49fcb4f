/* act_avx512.c - element-wise operations at this level; the body is act_vec.h. */
#include "kernels/x86/vec_avx512.h"

#include "kernels/vec/act_vec.h"
