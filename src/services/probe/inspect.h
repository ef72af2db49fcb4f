/* inspect.h - where a model's time and memory go: what the files inspect_*.c share.
 *
 *   inspect_meter   counters of the system and the engine, read after every token
 *   inspect_spikes  which tokens took too long, and why (pure)
 *   inspect_run     one request, timed token by token, alone or beside others
 *   inspect_local   a model in this process: phases, runs, depths, memory, ceilings, energy
 *   inspect_remote  a server: what can be seen from outside
 *   inspect         the report and the ledger */
#ifndef QN_SERVICES_PROBE_INSPECT_H
#define QN_SERVICES_PROBE_INSPECT_H

#include <jansson.h>

#include "base/usage.h"
#include "quern.h"
#include "services/ledger/ledger.h"
#include "services/probe/subject.h"

/* ---- a token: what happened from the one before to it ---- */

typedef struct qn_gap {
    double s;
    uint32_t minor_faults, major_faults; /* of this process */
    uint32_t taken_away;                 /* context switches that it did not ask for */
    uint32_t evicted;                    /* pages of the KV cache */
    uint32_t neighbour_prefill;          /* tokens of others' prompts, read in the same steps */
    uint32_t others;                     /* other requests' tokens in the same steps */
    uint32_t throttled;                  /* times that the processor was slowed down for heat; */
    float stolen_s;                      /* time that a host gave to other machines; */
    float clock;                         /* Hz; 0: not known. These three are read now and then only: */
    bool slow;                           /* in this one */
    float own_s;                         /* measuring took; within the next gap */
} qn_gap;

/* In the order in which they are named first: the ones that explain most. */
typedef enum qn_cause {
    QN_CAUSE_NEIGHBOUR_PREFILL, QN_CAUSE_EVICTION, QN_CAUSE_DISK_FAULT, QN_CAUSE_HEAT, QN_CAUSE_STOLEN, QN_CAUSE_SWITCH,
    QN_CAUSE_CLOCK, QN_CAUSE_FAULT, QN_CAUSE_OTHER_REQUEST, QN_CAUSE_UNKNOWN, QN_CAUSES
} qn_cause;
const char *qn__cause_name(qn_cause c); /* "page fault" */

typedef struct qn_spike {
    size_t at;       /* which gap */
    unsigned causes; /* bit by qn_cause; UNKNOWN alone when nothing was out of the ordinary */
    qn_cause first;
} qn_spike;

typedef struct qn_pace {
    double p50, p95, p99, most, mean, mad; /* seconds; mad: as a standard deviation */
    double threshold;                      /* longer is a spike */
    qn_spike *spikes;                      /* ascending; qn_free */
    size_t n_spikes;
} qn_pace;
/* Of n > 0 gaps. A spike is longer than the median + k median absolute deviations (as standard deviations), and at least a tenth
 * longer than the median: timers of steady machines differ by less. Errors: QN_ENOMEM. */
qn_status qn__pace_of(const qn_gap *g, size_t n, double k, qn_pace *out, qn_err *err);
void qn__pace_free(qn_pace *p);
json_t *qn__pace_json(const qn_pace *p, const qn_gap *g, size_t n);

/* ---- the counters ---- */

typedef struct qn_meter {
    const char *root; /* before /sys and /proc: "" but in tests */
    qn_usage usage;
    uint64_t evicted;
    double clock, usual; /* read last; a gap usually takes */
    double slow_read;    /* when the slow ones were read last */
    int64_t throttled;
    double stolen;
    bool has_clock, has_heat; /* the machine tells them */
    size_t n;
} qn_meter;
void qn__meter_begin(qn_meter *m, const char *root, uint64_t evicted);
/* What changed since the last take, into g, whose s is set already. `now`: qn__now(). */
void qn__meter_take(qn_meter *m, double now, uint64_t evicted, qn_gap *g);
/* Seconds that measuring these took: what it usually takes, times how often. (Summed up, it would count other programs' turns.) */
double qn__meter_cost(const qn_gap *g, size_t n);

/* ---- one run ---- */

typedef struct qn_pace_options {
    const int32_t *tokens;
    size_t n_tokens;
    int32_t n_generate;
    /* Halfway through, this prompt comes in beside; NULL: none. */
    const int32_t *beside;
    size_t n_beside;
    bool bare; /* times only, no counters: what counting costs is found out against it */
    bool (*keep_on)(void *arg);
    void *arg;
} qn_pace_options;

typedef struct qn_pace_run {
    double prefill_s, first_s, decode_s; /* until the prompt was read; until the first token, from the beginning; from there to the end */
    double overhead_s;                   /* of decode_s: spent measuring */
    qn_gap *gaps;                        /* the second token on */
    size_t n_gaps;
    qn_timings timings;
} qn_pace_run;
/* The scheduler is that of an engine which nobody else uses meanwhile. Errors: those of the request; QN_ECANCELLED. */
qn_status qn__pace_run(qn_scheduler *s, const qn_pace_options *o, qn_pace_run *out, qn_err *err);
void qn__pace_run_free(qn_pace_run *r);

/* ---- the whole ---- */

enum { QN_INSPECT_K = 6 }; /* deviations beyond which a gap is a spike */

typedef struct qn_inspection {
    const qn_inspect_options *o;
    qn_ledger *ledger;
    int64_t run;
    json_t *report;
} qn_inspection;
qn_status qn__inspect_local(qn_inspection *x, qn_err *err);
qn_status qn__inspect_remote(qn_inspection *x, qn_subject *s, qn_err *err);
/* Begins the run in the ledger, once it is known what is measured. */
qn_status qn__inspect_begin(qn_inspection *x, const char *model, const char *fingerprint, qn_err *err);
/* A sample for the ledger; takes `data`. */
qn_status qn__inspect_put(qn_inspection *x, const char *item, int seq, json_t *data, qn_err *err);
/* False: cancelled. */
bool qn__inspect_at(const qn_inspection *x, const char *doing, size_t done, size_t total);
/* "figure" could not be had, and why. */
void qn__inspect_cannot(qn_inspection *x, const char *figure, const char *why);

#endif
