/* small.h - a smaller model of the same vocabulary that drafts where nothing of the kind was there before.
 *
 * It has an engine of its own: pages, scratch, threads. For each request that writes it has a sequence with the same tokens,
 * behind which it goes ahead by itself, likeliest token by likeliest token; what was not accepted is simply written over, for
 * only what the request has said counts as computed. */
#ifndef QN_ENGINE_SMALL_H
#define QN_ENGINE_SMALL_H

#include "engine/engine.h"

/* Opens e->small for e->o.draft_model. Errors: QN_EINVAL (another vocabulary, a recurrent model, an encoder), and those of
 * qn_engine_open. */
qn_status qn__small_open(qn_engine *e, qn_err *err);
/* Up to `most` tokens behind r's, where they are expected to pay, and the probability of each and all before it; `expected` and
 * `rows` of the step so far. 0 while it has still to read what r has: a piece of that is read then. */
int qn__small_draft(qn_engine *e, qn_request *r, int most, int rows, double expected, int32_t *guess, double *p);
/* Of n tokens that it drafted for r, so many were right. */
void qn__small_learn(qn_request *r, int n, int right);
/* r is over, or waits again. */
void qn__small_leave(qn_request *r);

#endif
