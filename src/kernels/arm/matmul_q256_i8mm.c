/* matmul_q256_i8mm.c - Q4_K, Q5_K, Q6_K with SMMLA. See quant_arm.h. One token has no partner: SDOT does it as well, and a
 * few as they are packed. */
#include "kernels/arm/step_i8mm.h"

#include "kernels/arm/quant_arm.h"

void qn__i8mm_matmul_Q4_K(const qn_matmul *a)
{
    if (few(a))
        qn__neon_matmul_Q4_K(a);
    else
        matmul_panels(a, 256, 144, unpack_q4_k, dot_q45_k);
}

void qn__i8mm_matmul_Q5_K(const qn_matmul *a)
{
    if (few(a))
        qn__neon_matmul_Q5_K(a);
    else
        matmul_panels(a, 256, 176, unpack_q5_k, dot_q45_k);
}

void qn__i8mm_matmul_Q6_K(const qn_matmul *a)
{
    if (few(a))
        qn__neon_matmul_Q6_K(a);
    else
        matmul_panels(a, 256, 210, unpack_q6_k, dot_q6_k);
}
