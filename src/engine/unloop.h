/* unloop.h - out of a cycle of tokens: a pure function of the output so far (and so the same whatever was drafted or batched). */
#ifndef QN_ENGINE_UNLOOP_H
#define QN_ENGINE_UNLOOP_H

#include "quern.h"

typedef struct qn_unloop qn_unloop;
qn_status qn__unloop_open(qn_unloop **out, qn_err *err);
void qn__unloop_close(qn_unloop *u);
/* Before a token is chosen: output[0..n) is everything chosen so far; calls follow one another in its order. What would go on with a
 * cycle that was found is forbidden in logits, unless nothing else is left. True: a cycle was found just now. */
bool qn__unloop_apply(qn_unloop *u, float *logits, int32_t n_vocab, const int32_t *output, size_t n);

#endif
