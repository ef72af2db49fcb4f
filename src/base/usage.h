/* usage.h - what this process has used and what the machine is doing: faults, switches of context, memory by mapping, clock speed,
 * heat, energy. Read from getrusage and Linux's /proc and /sys; where the system does not say, values are 0 (or NaN, as stated) and the
 * reason can be told. `root` stands before /sys and /proc: "" but in tests. */
#ifndef QN_BASE_USAGE_H
#define QN_BASE_USAGE_H

#include "quern.h"

/* Since the process began, of all its threads. */
typedef struct qn_usage {
    uint64_t minor_faults, major_faults; /* pages mapped in from memory; read from disk */
    uint64_t given_up, taken_away;       /* context switches: waited for something; another program got the processor */
    double user_s, system_s;
} qn_usage;
void qn__usage_get(qn_usage *out);

/* Bytes that the allocator has handed out and not got back; 0 when it does not say. */
uint64_t qn__heap_bytes(void);
/* Of this process: bytes in memory now, and the most there ever were. */
void qn__memory_self(const char *root, uint64_t *resident, uint64_t *most);
/* Maps of a file by this process: how long, and how much of that is in its memory. Both 0 where there is none. */
void qn__memory_of_file(const char *root, const char *path, uint64_t *mapped, uint64_t *resident);

/* Bytes of a file that the system keeps in memory, whoever read them. And let go of it what nobody has mapped, so that it is read from
 * the disk next time. Both 0 where the file cannot be opened. */
uint64_t qn__file_cached(const char *path);
void qn__file_forget(const char *path);

/* "Intel(R) Xeon(R) ..."; "" when not said. */
void qn__cpu_model(const char *root, char *out, size_t cap);
/* "Linux 6.1.0 x86_64" */
void qn__system_name(char *out, size_t cap);

/* Mean clock of the processors, Hz; 0 when the system does not say. */
double qn__cpu_clock(const char *root);
/* How often processors were slowed down for heat since the start of the machine; -1 when not said. */
int64_t qn__cpu_throttled(const char *root);
/* Seconds that a host gave to other machines while this one had work, of all processors since its start; 0 when not said. */
double qn__time_stolen(const char *root);
/* The hottest zone, degrees Celsius; NaN when not said. */
double qn__cpu_heat(const char *root);

/* Joules that the processor's packages have used (RAPL; of GPUs: nvml.h) since some moment; wraps: the difference of two readings is taken with the second.
 * False: *why says why not (a static sentence). */
typedef struct qn_energy {
    int n;
    uint64_t microjoules[8], wraps[8];
} qn_energy;
bool qn__energy_read(const char *root, qn_energy *out, const char **why);
double qn__energy_between(const qn_energy *from, const qn_energy *to);

#endif
