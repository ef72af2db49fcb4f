/* attention.h - what the attention of every level shares: which positions of a page a query sees, and the order in
 * which 64 floats are summed. */
#ifndef QN_KERNELS_ATTENTION_H
#define QN_KERNELS_ATTENTION_H

#include <math.h>

#include "kernels/kernels.h"
#include "kernels/math.h"

/* The slots [*i0, *i1] of page `page` that query j sees; false when it sees none. */
static inline bool qn__attention_range(const qn_attention *a, int j, int page, int *i0, int *i1)
{
    int first = page * QN_PAGE_TOKENS, from = a->lo[j] - first, to = a->pos[j] - first;
    *i0 = from > 0 ? from : 0;
    *i1 = to < QN_PAGE_TOKENS - 1 ? to : QN_PAGE_TOKENS - 1;
    return *i0 <= *i1;
}

/* The pages that any query sees: [*p0, *p1]. */
static inline void qn__attention_pages(const qn_attention *a, int *p0, int *p1)
{
    int32_t least = a->lo[0], most = a->pos[0];
    for (int j = 1; j < a->n_q; j++) {
        least = a->lo[j] < least ? a->lo[j] : least;
        most = a->pos[j] > most ? a->pos[j] : most;
    }
    *p0 = (least > 0 ? least : 0) / QN_PAGE_TOKENS;
    *p1 = most / QN_PAGE_TOKENS;
}

/* What the accumulated output of a query is multiplied by: 1 / its sum of weights, the sink's among them. */
static inline float qn__attention_finish(float max, float sum, const float *sink)
{
    if (!sink)
        return 1.0f / sum;
    float top = *sink > max ? *sink : max;
    float c = max == -INFINITY ? 0.0f : qn__expf(max - top);
    return c / fmaf(sum, c, qn__expf(*sink - top));
}

#endif
