/* importance.h - what meets the columns of each weight matrix while a context runs: the numbers of an importance matrix
 * (formats/imatrix.h). Sums are in double, rows in their order, so threads and chunks do not change them. */
#ifndef QN_MODEL_IMPORTANCE_H
#define QN_MODEL_IMPORTANCE_H

#include "formats/imatrix.h"
#include "model/decoder.h"

typedef struct qn_importance qn_importance;

/* Looks on at `c`, which must live as long, from now on. */
qn_status qn__importance_open(qn_context *c, qn_importance **out, qn_err *err);
void qn__importance_close(qn_importance *m);
/* QN_ENOMEM when something that was seen could not be counted. */
qn_status qn__importance_check(const qn_importance *m, qn_err *err);
/* Matrices seen (an expert counts as one), and those of them that nothing met: experts that were never chosen. */
void qn__importance_count(const qn_importance *m, size_t *matrices, size_t *unmet);
/* Errors: QN_EFORMAT when a sum is not finite (named), those of qn__imatrix_write. */
qn_status qn__importance_write(const qn_importance *m, const char *path, const char *dataset, uint32_t chunks,
                               uint32_t chunk_size, qn_err *err);

#endif
