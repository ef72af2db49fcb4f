/* open.h - what every probe begins and ends with: whom to ask, where samples lie, the report as text. */
#ifndef QN_SERVICES_PROBE_OPEN_H
#define QN_SERVICES_PROBE_OPEN_H

#include "services/ledger/ledger.h"
#include "services/probe/subject.h"

/* The subject and the ledger that the options name; both stay NULL on failure. close: either may be NULL. */
qn_status qn__probe_open(const qn_probe_options *o, qn_subject **subject, qn_ledger **ledger, qn_err *err);
void qn__probe_close(qn_subject *subject, qn_ledger *ledger);
/* A report in the form that the public functions give it: *text is freed with qn_free. */
qn_status qn__probe_text(const json_t *report, char **text, qn_err *err);
/* "Cancelled": where is the command, which takes up its run when it is given again. Always QN_ECANCELLED. */
qn_status qn__probe_cancelled(const char *where, qn_err *err);
/* Bytes that a model or a program wrote, for a transcript: at most `most` of them, never cut inside a character; what is no UTF-8, and
 * NUL, as '?'. NULL: no memory. */
json_t *qn__probe_said(const char *p, size_t n, size_t most);

#endif
