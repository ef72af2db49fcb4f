/* peak.c - the table of each level's peaks: see peak.h. */
#include "kernels/peak.h"

#define PEAK(l)                                                                                                        \
    {                                                                                                                  \
        .int8 = qn__##l##_peak_int8, .fp32 = qn__##l##_peak_fp32, .read = qn__##l##_peak_read                          \
    }

static const qn_peak peaks[] = {
    [QN_CPU_REF] = PEAK(ref),
#if defined(__x86_64__)
    [QN_CPU_AVX2] = PEAK(avx2),
    [QN_CPU_AVX512] = PEAK(avx512),
    [QN_CPU_AMX] = {.int8 = qn__amx_peak_int8,
                    .int8_vector = qn__avx512_peak_int8,
                    .fp32 = qn__avx512_peak_fp32,
                    .read = qn__avx512_peak_read},
#elif defined(__aarch64__)
    [QN_CPU_NEON] = PEAK(neon),
    [QN_CPU_I8MM] = {.int8 = qn__i8mm_peak_int8, .fp32 = qn__neon_peak_fp32, .read = qn__neon_peak_read},
#endif
};

#if defined(__x86_64__)
static const qn_peak avx2_vnni = {
    .int8 = qn__avxvnni_peak_int8, .fp32 = qn__avx2_peak_fp32, .read = qn__avx2_peak_read};
#endif

const qn_peak *qn__peak(qn_cpu level)
{
#if defined(__x86_64__)
    if (level == QN_CPU_AVX2 && qn__cpu_has_vnni())
        return &avx2_vnni;
#endif
    return &peaks[level];
}
