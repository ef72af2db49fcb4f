/* matmul_q32_avxvnni.c - Q8_0, Q4_0, Q5_0 with VNNI: see matmul_q32_vnni.h. */
#include "kernels/x86/vnni_avxvnni.h"

enum { TILE_T = 4 };

#include "kernels/x86/matmul_q32_vnni.h"
