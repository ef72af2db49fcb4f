/* recurrent_neon.c - layers that carry a state at this level; the body is recurrent_vec.h. */
#include "kernels/arm/vec_neon.h"

#include "kernels/vec/recurrent_vec.h"
