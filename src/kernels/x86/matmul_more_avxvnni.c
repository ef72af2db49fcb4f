/* matmul_more_avxvnni.c - the other types with VNNI: see matmul_more_vnni.h. */
#include "kernels/x86/vnni_avxvnni.h"

enum { TILE_T = 2 };

#include "kernels/x86/matmul_more_vnni.h"
