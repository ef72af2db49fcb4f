/* eval.h - a suite of programming problems, asked of any subject. */
#ifndef QN_SERVICES_EVAL_EVAL_H
#define QN_SERVICES_EVAL_EVAL_H

#include "services/eval/suite.h"
#include "services/ledger/ledger.h"
#include "services/probe/subject.h"

/* As qn_eval, of a subject that stays the caller's; *out is its report. */
qn_status qn__eval(const qn_eval_options *o, qn_subject *subject, json_t **out, qn_err *err);

#endif
