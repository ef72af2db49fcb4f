/* iq_tables.h - the codebooks of the IQ block types, packed. An entry is 8 lanes of 2 bits or 4 lanes of 3 bits, the first
 * lane lowest; a lane is an index into the values named beside each table. */
#ifndef QN_KERNELS_REF_IQ_TABLES_H
#define QN_KERNELS_REF_IQ_TABLES_H

#include <stdint.h>

extern const uint16_t qn__iq2xxs_grid[256]; /* 8 lanes: 8, 25, 43 */
extern const uint16_t qn__iq2xs_grid[512];  /* 8 lanes: 8, 25, 43 */
extern const uint16_t qn__iq2s_grid[1024];  /* 8 lanes: 8, 25, 43 */
extern const uint16_t qn__iq3xxs_grid[256]; /* 4 lanes: 4, 12, 20, 28, 36, 44, 52, 62 */
extern const uint16_t qn__iq3s_grid[512];   /* 4 lanes: 1, 3, 5, ... 15 */
extern const uint16_t qn__iq1s_grid[2048];  /* 8 lanes: -1, 0, 1 */

/* The 16 levels of IQ4_NL and IQ4_XS. */
extern const int8_t qn__iq4_values[16];
/* Twice the value of an FP4 (E2M1) number; the scales that go with it are halved in turn. */
extern const int8_t qn__fp4_values[16];

/* Seven stored sign bits stand for eight: the eighth makes their number even. Bit j set: lane j is negative. */
static inline unsigned qn__iq_signs(unsigned seven)
{
    return seven | (unsigned)__builtin_parity(seven) << 7;
}

#endif
