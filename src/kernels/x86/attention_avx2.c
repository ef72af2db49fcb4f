/* attention_avx2.c - attention and storing into a page at this level; the body is attention_vec.h. */
#include "kernels/x86/vec_avx2.h"

#include "kernels/vec/attention_vec.h"
