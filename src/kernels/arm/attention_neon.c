/* attention_neon.c - attention at this level; the body is attention_vec.h. */
#include "kernels/arm/vec_neon.h"

#include "kernels/vec/attention_vec.h"
