/* peak_vec.h - the body of peak_LEVEL.c of x86 and ARM: as many independent chains as hide an instruction's latency and
 * leave registers for the operands. The including file defines vi, vf, the operations, CHAINS, LEVEL(name), and
 * INT8_PER_STEP (multiplications of one `dot8`). */
#include "kernels/peak.h"

uint64_t LEVEL(int8)(uint64_t rounds, void *sink)
{
    vi sum[CHAINS], a = vi_of(0x5be33f91), b = vi_of((int32_t)0xc86d17a4);
    UNROLL
    for (int i = 0; i < CHAINS; i++)
        sum[i] = vi_of(i);
    for (uint64_t r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < CHAINS; i++) {
            sum[i] = dot8(sum[i], a, b);
            KEEP(a); /* a compiler that knew the operands could share the work */
        }
    }
    UNROLL
    for (int i = 1; i < CHAINS; i++)
        sum[0] = vi_sum(sum[0], sum[i]);
    vi_put(sink, sum[0]);
    return rounds * CHAINS * INT8_PER_STEP * 2;
}

#ifndef PEAK_INT8_ONLY
uint64_t LEVEL(fp32)(uint64_t rounds, void *sink)
{
    vf sum[CHAINS], a = vf_of(0.999f), b = vf_of(0.001f);
    UNROLL
    for (int i = 0; i < CHAINS; i++)
        sum[i] = vf_of((float)i);
    for (uint64_t r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < CHAINS; i++)
            sum[i] = fma_of(sum[i], a, b);
        KEEP(a);
    }
    UNROLL
    for (int i = 1; i < CHAINS; i++)
        sum[0] = fma_of(sum[0], a, sum[i]);
    vf_put(sink, sum[0]);
    return rounds * CHAINS * (sizeof(vf) / 4) * 2;
}

/* Eight streams side by side, as the rows of a panel lie: each is a page-sized run of its own for the prefetchers. */
void LEVEL(read)(const void *p, size_t n, void *sink)
{
    enum { STREAMS = 8, AHEAD = 512 /* bytes */ };
    const char *c = p;
    const size_t run = n / STREAMS;
    vi sum[STREAMS];
    UNROLL
    for (int s = 0; s < STREAMS; s++)
        sum[s] = vi_of(0);
    for (size_t i = 0; i < run; i += 64) {
        UNROLL
        for (int s = 0; s < STREAMS; s++) {
            const char *at = c + (size_t)s * run + i;
            __builtin_prefetch(at + AHEAD);
            for (size_t j = 0; j < 64; j += sizeof(vi))
                sum[s] = vi_sum(sum[s], vi_get(at + j));
        }
    }
    UNROLL
    for (int s = 1; s < STREAMS; s++)
        sum[0] = vi_sum(sum[0], sum[s]);
    vi_put(sink, sum[0]);
}
#endif
