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

#endif
