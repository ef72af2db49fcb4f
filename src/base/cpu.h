/* cpu.h - what this machine can run. */
#ifndef QN_BASE_CPU_H
#define QN_BASE_CPU_H

#include "quern.h"

/* Levels ascend: a machine that has one has those below it. Those of other architectures do not exist here. */
typedef enum qn_cpu {
    QN_CPU_REF,
#if defined(__x86_64__)
    QN_CPU_AVX2,   /* AVX2, FMA, F16C, BMI2 */
    QN_CPU_AVX512, /* F, BW, CD, DQ, VL, VNNI */
    QN_CPU_AMX,    /* AVX512 and tiles of int8, which the system gives on request: qn__cpu_best asks */
#elif defined(__aarch64__)
    QN_CPU_NEON, /* Advanced SIMD with dot products (SDOT): Cortex-A76, Apple M1 */
    QN_CPU_I8MM, /* int8 matrix products (SMMLA): Neoverse V1, Apple M2 */
#endif
    QN_CPU__COUNT
} qn_cpu;

const char *qn__cpu_name(qn_cpu level);
/* The best level of this machine: from CPUID and XCR0 (the OS must save the registers), or from what the kernel tells
 * of an ARM. */
qn_cpu qn__cpu_best(void);
/* Dot products of 32 bytes (AVX-VNNI) at the AVX2 level. */
bool qn__cpu_has_vnni(void);
/* `name` NULL: the environment's QUERN_CPU, else the best. Errors: QN_EINVAL for an unknown name, QN_EUNSUPPORTED when
 * the machine does not have it. */
qn_status qn__cpu_choose(const char *name, qn_cpu *out, qn_err *err);
/* Logical processors that the calling thread may use. */
int qn__cpu_count(void);
/* Bytes of memory that the machine has, or that this process's control group may use; 0 when the system does not say. Not
 * how much of it is free: that changes, and what follows from it would, too. */
uint64_t qn__memory_total(void);
/* Programs that ran in the last minute, on average; 0 when the system does not say. */
double qn__cpu_load(void);
/* Bytes of the largest cache; 0 when the system does not say. */
size_t qn__cpu_cache(void);

#endif
