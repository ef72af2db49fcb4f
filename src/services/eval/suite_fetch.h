/* suite_fetch.h - published suites by name: where they come from, and where they lie here (the public part: quern.h, qn_suite_*). */
#ifndef QN_SERVICES_EVAL_SUITE_FETCH_H
#define QN_SERVICES_EVAL_SUITE_FETCH_H

#include "quern.h"

/* What somebody named: the path of a file, or a suite's name. *path from qn__alloc. Errors: QN_EIO: a suite that is not here (the
 * sentence says how to get it), or nothing that is known. */
qn_status qn__suite_find(const char *name, char **path, qn_err *err);

#endif
