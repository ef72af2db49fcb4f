/* matmul_more_avx512.c - the other types with VNNI: see matmul_more_vnni.h. */
#include "kernels/x86/vnni_avx512.h"

enum { TILE_T = 4 };

#include "kernels/x86/matmul_more_vnni.h"
