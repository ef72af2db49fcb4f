/* sampler.h - from logits to a token: a pure function of the logits, the tokens so far, the options and the draw's number.
 *
 * The generator is counter-based (Philox 4x32-10; Salmon et al. 2011): draw i of seed s is the same number on every
 * machine and does not depend on what else was drawn. */
#ifndef QN_ENGINE_SAMPLER_H
#define QN_ENGINE_SAMPLER_H

#include "quern.h"

typedef struct qn_sampler qn_sampler;
/* Errors: QN_EINVAL naming the option that is out of range (NaN and infinities are); QN_ENOMEM. n_vocab bounds bias tokens,
 * n_ctx the tokens that a pick may be given: everything that a pick needs is allocated here. */
qn_status qn__sampler_open(const qn_sampling *o, int32_t n_vocab, int32_t n_ctx, qn_sampler **out, qn_err *err);
void qn__sampler_close(qn_sampler *s);
/* tokens[0..n): prompt and output so far, n <= n_ctx. logits[n_vocab] is used as scratch. NaN logits count as -infinity;
 * -1 when there is nothing else. Returns a token id; the draw number is n, the count of tokens before it, so that a resumed request draws
 * what an uninterrupted one would. */
int32_t qn__sampler_pick(qn_sampler *s, float *logits, const int32_t *tokens, size_t n);
/* out[0]: ln of the probability of `chosen` (of its logits alone: temperature 1, nothing left out), at least -9999, as of a token
 * that cannot be; out[1 .. n_top]: the likeliest, the lowest id first among equals; token -1 where there are no more. */
void qn__sampler_probs(const float *logits, int32_t n_vocab, int32_t chosen, int n_top, qn_prob *out);
/* Uniform in [0, 1): the upper 24 bits of the first word of Philox(key = seed, counter = {index, stream, 0}). */
float qn__uniform(uint64_t seed, uint64_t index, uint32_t stream);
void qn__philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#endif
