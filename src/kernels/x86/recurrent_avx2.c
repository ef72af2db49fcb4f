/* recurrent_avx2.c - layers that carry a state at this level; the body is recurrent_vec.h. */
#include "kernels/x86/vec_avx2.h"

#include "kernels/vec/recurrent_vec.h"
