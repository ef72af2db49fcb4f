/* constraint.h - a request's grammar, as the step needs it: what may be chosen, what was, and which drafts are worth a row. */
#ifndef QN_ENGINE_CONSTRAINT_H
#define QN_ENGINE_CONSTRAINT_H

#include "quern.h"
#include "text/tokenizer.h"

typedef struct qn_constraint qn_constraint;

/* Keeps the grammar, which must be of t's vocabulary; t outlives it. Errors: QN_ENOMEM. */
qn_status qn__constraint_open(const qn_grammar *g, const qn_tokenizer *t, qn_constraint **out, qn_err *err);
void qn__constraint_close(qn_constraint *c);
/* What may not come next gets -infinity. *only: the token, when there is but one; else -1. Errors: QN_EUNSUPPORTED (no token of
 * the vocabulary can follow), QN_ENOMEM, QN_ELIMIT. */
qn_status qn__constraint_mask(qn_constraint *c, float *logits, int32_t n_vocab, int32_t *only, qn_err *err);
/* The token was chosen. Errors: QN_ENOMEM. */
qn_status qn__constraint_accept(qn_constraint *c, int32_t token, qn_err *err);
/* How many of guess[0..n) may come next, one after the other; behind them, up to `most`, what must come, as likely as what is
 * before it. At most 24. */
int qn__constraint_draft(qn_constraint *c, int32_t *guess, double *p, int n, int most);

#endif
