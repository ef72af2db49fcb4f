/* peak.c - what scalar C of this build can do: see peak.h. The compiler may use the vectors of the baseline. */
#include "kernels/peak.h"

#include <string.h>

enum { LANES = 32 };

uint64_t qn__ref_peak_int8(uint64_t rounds, void *sink)
{
    int32_t sum[LANES] = {0};
    int8_t a[LANES], b[LANES];
    for (int i = 0; i < LANES; i++) {
        a[i] = (int8_t)(i + 1);
        b[i] = (int8_t)(3 - i);
    }
    for (uint64_t r = 0; r < rounds; r++) {
        for (int i = 0; i < LANES; i++)
            sum[i] = (int32_t)((uint32_t)sum[i] + (uint32_t)(a[i] * b[i]));
        __asm__ volatile("" : : "r"(a) : "memory"); /* else the loop is one multiplication */
    }
    memcpy(sink, sum, 64);
    return rounds * LANES * 2;
}

uint64_t qn__ref_peak_fp32(uint64_t rounds, void *sink)
{
    float sum[LANES];
    for (int i = 0; i < LANES; i++)
        sum[i] = (float)i;
    for (uint64_t r = 0; r < rounds; r++)
        for (int i = 0; i < LANES; i++)
            sum[i] = sum[i] * 0.999f + 0.001f;
    memcpy(sink, sum, 64);
    return rounds * LANES * 2;
}

void qn__ref_peak_read(const void *p, size_t n, void *sink)
{
    const unsigned char *c = p;
    uint64_t sum[8] = {0};
    for (size_t i = 0; i < n; i += 64)
        for (size_t j = 0; j < 8; j++) {
            uint64_t v;
            memcpy(&v, c + i + 8 * j, 8);
            sum[j] += v;
        }
    memcpy(sink, sum, 64);
}
