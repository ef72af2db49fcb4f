/* ledger.h - what was measured, kept: one SQLite file of runs and their samples.
 *
 *   run     one measurement of one model: kind, key (everything that decides what is asked), machine, build, result
 *   sample  one answer in it: (run, item, seq) -> outcome and its whole transcript as JSON
 *
 * A sample is on disk when qn__ledger_put returns, whatever happens to the process afterwards. A run that did not finish is taken
 * up again by the next one with the same key; two at once get two runs. */
#ifndef QN_SERVICES_LEDGER_LEDGER_H
#define QN_SERVICES_LEDGER_LEDGER_H

#include <jansson.h>

#include "quern.h"

typedef struct qn_ledger qn_ledger;

/* path NULL: $XDG_DATA_HOME/quern/ledger.db (made with its folders, for its owner only). Errors: QN_EIO, QN_EFORMAT (not a ledger,
 * or of a newer quern), QN_ENOMEM. */
qn_status qn__ledger_open(const char *path, qn_ledger **out, qn_err *err);
void qn__ledger_close(qn_ledger *l);
const char *qn__ledger_path(const qn_ledger *l);

typedef struct qn_run_info {
    const char *kind;        /* "eval" */
    const char *key;         /* JSON: same key, same questions */
    const char *model, *fingerprint;
    const char *machine;     /* JSON */
} qn_run_info;
/* A new run, or (resume) the latest unfinished one of that kind and key that nobody works on; *n_before: its samples so far. */
qn_status qn__ledger_begin(qn_ledger *l, const qn_run_info *i, bool resume, int64_t *run, int64_t *n_before, qn_err *err);
qn_status qn__ledger_put(qn_ledger *l, int64_t run, const char *item, int seq, const char *outcome, bool passed,
                         const json_t *data, qn_err *err);
/* The outcome of a sample, if it is there. */
qn_status qn__ledger_has(qn_ledger *l, int64_t run, const char *item, int seq, bool *there, qn_err *err);
qn_status qn__ledger_finish(qn_ledger *l, int64_t run, const json_t *result, qn_err *err);
/* Leave a run unfinished, for a later one to take up. */
void qn__ledger_leave(qn_ledger *l, int64_t run);
/* Every sample of a run in order of (item, seq); each returns false to end. */
qn_status qn__ledger_each(qn_ledger *l, int64_t run, bool (*each)(void *arg, const char *item, int seq, const char *outcome, bool passed),
                          void *arg, qn_err *err);
/* The same with each sample's data (borrowed). */
qn_status qn__ledger_read(qn_ledger *l, int64_t run, bool (*each)(void *arg, const char *item, int seq, const char *outcome, const json_t *data),
                          void *arg, qn_err *err);
/* {"kind", "key" (as an object), "model", "fingerprint", "machine" (likewise)} of a run. Errors: QN_EINVAL (no such run), QN_EFORMAT. */
qn_status qn__ledger_run(qn_ledger *l, int64_t run, json_t **out, qn_err *err);

/* For looking back (ledger_api.c): the database that other functions of this floor read. */
struct sqlite3;
struct sqlite3 *qn__ledger_db(qn_ledger *l);
/* What went wrong in it last, as a status. */
qn_status qn__ledger_fail(const qn_ledger *l, const char *doing, qn_err *err);

#endif
