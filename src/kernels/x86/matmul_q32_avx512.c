/* matmul_q32_avx512.c - Q8_0, Q4_0, Q5_0 with VNNI: see matmul_q32_vnni.h. */
#include "kernels/x86/vnni_avx512.h"

enum { TILE_T = 8 };

#include "kernels/x86/matmul_q32_vnni.h"
