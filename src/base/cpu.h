/* cpu.h - what this machine can run. */
#ifndef QN_BASE_CPU_H
#define QN_BASE_CPU_H

#include "quern.h"

/* Levels ascend: a machine that has one has those below it. */
typedef enum qn_cpu { QN_CPU_REF, QN_CPU_AVX2, QN_CPU_AVX512, QN_CPU__COUNT } qn_cpu;

const char *qn__cpu_name(qn_cpu level);
/* The best level of this machine: from CPUID and XCR0 (the OS must save the registers). AVX2 means AVX2, FMA, F16C, BMI2;
 * AVX512 means F, BW, CD, DQ, VL and VNNI. */
qn_cpu qn__cpu_best(void);
/* `name` NULL: the environment's QUERN_CPU, else the best. Errors: QN_EINVAL for an unknown name, QN_EUNSUPPORTED when the
 * machine does not have it. */
qn_status qn__cpu_choose(const char *name, qn_cpu *out, qn_err *err);
/* Logical processors this process may use. */
int qn__cpu_count(void);

#endif
