/* err.h - filling a qn_err. Owns nothing. */
#ifndef QN_BASE_ERR_H
#define QN_BASE_ERR_H

#include "quern.h"

/* Set code, where and what; returns the code so that `return qn__fail(...)` reads well. err may be NULL; where may be
 * NULL (""). Texts that do not fit are cut at a UTF-8 border; bytes that are not printable UTF-8 are shown as '?',
 * since names come from hostile files and end on a terminal. */
qn_status qn__fail(qn_err *err, qn_status code, const char *where, const char *fmt, ...) QN_PRINTF(4, 5);
/* The common case. */
qn_status qn__fail_mem(qn_err *err, const char *where);
/* Put `prefix: ` before err->where (a file's name is known only higher up). */
void qn__err_prefix(qn_err *err, const char *prefix);

#endif
