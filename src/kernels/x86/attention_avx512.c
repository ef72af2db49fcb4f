/* attention_avx512.c - attention and storing into a page at this level; the body is attention_vec.h. */
#include "kernels/x86/vec_avx512.h"

#include "kernels/vec/attention_vec.h"
