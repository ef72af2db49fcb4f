/* nvml.h - energy that NVIDIA's GPUs have used, asked of their driver's own library (NVML), which is opened when it is wanted: nothing
 * depends on it, and where it is not there the reason is told.
 *
 * QUERN_NVML=/path/to/library stands in for libnvidia-ml.so.1 (tests; drivers in odd places); empty: none is opened. */
#ifndef QN_BASE_NVML_H
#define QN_BASE_NVML_H

#include "quern.h"

enum { QN_NVML_MOST = 64 };

typedef struct qn_nvml qn_nvml;

/* NULL: *why says why not (a static sentence, which names no path). */
qn_nvml *qn__nvml_open(const char **why);
/* NULL is allowed. */
void qn__nvml_close(qn_nvml *n);
/* GPUs that tell their energy: at least one. */
int qn__nvml_devices(const qn_nvml *n);

/* Millijoules that each has used since its driver was loaded. False: one of them no longer tells. */
typedef struct qn_nvml_energy {
    uint64_t millijoules[QN_NVML_MOST];
} qn_nvml_energy;
bool qn__nvml_read(const qn_nvml *n, qn_nvml_energy *out);
/* Joules of all of them; one whose counter went back (its driver was loaded anew) counts for nothing. */
double qn__nvml_between(const qn_nvml *n, const qn_nvml_energy *from, const qn_nvml_energy *to);

#endif
