/* matmul_q32_i8mm.c - Q8_0, Q4_0, Q5_0 with SMMLA. See quant_arm.h. One token has no partner: SDOT does it as well, and a
 * few as they are packed. */
#include "kernels/arm/step_i8mm.h"

#include "kernels/arm/quant_arm.h"

void qn__i8mm_matmul_Q8_0(const qn_matmul *a)
{
    if (few(a))
        qn__neon_matmul_Q8_0(a);
    else
        matmul_panels(a, 32, 34, unpack_q8_0, dot_q32);
}

void qn__i8mm_matmul_Q4_0(const qn_matmul *a)
{
    if (few(a))
        qn__neon_matmul_Q4_0(a);
    else
        matmul_panels(a, 32, 18, unpack_q4_0, dot_q32);
}

void qn__i8mm_matmul_Q5_0(const qn_matmul *a)
{
    if (few(a))
        qn__neon_matmul_Q5_0(a);
    else
        matmul_panels(a, 32, 22, unpack_q5_0, dot_q32);
}
