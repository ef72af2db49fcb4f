/* matmul_q256_avx512.c - Q4_K, Q5_K, Q6_K with VNNI: see matmul_q256_vnni.h. */
#include "kernels/x86/vnni_avx512.h"

enum { TILE_T = 8 };

#include "kernels/x86/matmul_q256_vnni.h"
