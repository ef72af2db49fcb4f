/* disk_budget.h - how much all the files of pages in a directory may take, whoever wrote them. For one thread at a time. */
#ifndef QN_ENGINE_DISK_BUDGET_H
#define QN_ENGINE_DISK_BUDGET_H

#include "base/dir.h"

typedef struct qn_budget qn_budget;

/* base must outlive it. */
qn_status qn__budget_open(const qn_dir *base, uint64_t max_bytes, qn_budget **out, qn_err *err);
void qn__budget_close(qn_budget *b);
/* What there is, as far as is known. */
uint64_t qn__budget_bytes(const qn_budget *b);
/* Make room for so much more: what was unused for longest is removed. Errors: QN_ELIMIT (more than the whole budget). */
qn_status qn__budget_room(qn_budget *b, uint64_t bytes, qn_err *err);
/* So much was written. */
void qn__budget_took(qn_budget *b, uint64_t bytes);

#endif
