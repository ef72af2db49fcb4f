/* matmul_q256_avxvnni.c - Q4_K, Q5_K, Q6_K with VNNI: see matmul_q256_vnni.h. */
#include "kernels/x86/vnni_avxvnni.h"

enum { TILE_T = 4 };

#include "kernels/x86/matmul_q256_vnni.h"
