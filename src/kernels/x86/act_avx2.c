/* act_avx2.c - element-wise operations at this level; the body is act_vec.h. */
#include "kernels/x86/vec_avx2.h"

#include "kernels/vec/act_vec.h"
