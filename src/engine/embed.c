/* embed.c - embeddings: hidden states behind the last layer, pooled. An encoder's tokens see each other in both directions,
 * so that its text comes in one step; others go in chunks. Sums run over positions ascending, in double. */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "engine/engine.h"

qn_status qn_embed_pooling(const qn_engine *e, qn_pooling asked, qn_pooling *out, qn_err *err)
{
    const qn_decoder_info *d = qn__decoder_info(e->model->decoder);
    if (asked < QN_POOL_AUTO || asked > QN_POOL_LAST)
        return qn__fail(err, QN_EINVAL, "pooling", "%d is not a way of pooling", (int)asked);
    if (asked == QN_POOL_AUTO && d->pooling > 3)
        return qn__fail(err, QN_EUNSUPPORTED, e->model->file,
                        "the file asks for a reranker's pooling, which scores a text for a query: use qn_rerank (quern embed --query), or ask for mean, cls, last or none");
    if (asked != QN_POOL_AUTO)
        *out = asked;
    else if (d->pooling >= 0)
        *out = (qn_pooling)(QN_POOL_NONE + d->pooling);
    else
        *out = d->embedding_only ? QN_POOL_MEAN : QN_POOL_LAST;
    return QN_OK;
}

static void to_unit(float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    double scale = sum > 0 ? 1 / sqrt(sum) : 0;
    for (size_t i = 0; i < n; i++)
        v[i] = (float)((double)v[i] * scale);
}

/* `hidden` holds the rows of positions [at, at + k) of n; sum: n_embd, of the mean. */
static void pool(qn_pooling p, const float *hidden, size_t at, size_t k, size_t n, size_t n_embd, double *sum, float *out)
{
    switch (p) {
    case QN_POOL_NONE: memcpy(out + at * n_embd, hidden, k * n_embd * sizeof *out); break;
    case QN_POOL_CLS:
        if (at == 0)
            memcpy(out, hidden, n_embd * sizeof *out);
        break;
    case QN_POOL_LAST:
        if (at + k == n)
            memcpy(out, hidden + (k - 1) * n_embd, n_embd * sizeof *out);
        break;
    default:
        for (size_t r = 0; r < k; r++)
            for (size_t i = 0; i < n_embd; i++)
                sum[i] += (double)hidden[r * n_embd + i];
        for (size_t i = 0; i < n_embd && at + k == n; i++)
            out[i] = (float)(sum[i] / (double)n);
    }
}

static qn_status read_all(qn_engine *e, qn_seq *s, size_t n, size_t at_once, qn_pooling p, float *out, qn_err *err)
{
    size_t n_embd = (size_t)e->model->info.n_embd, bytes;
    float *hidden = NULL;
    double *sum = qn__calloc(n_embd, sizeof *sum);
    qn_status st = QN_OK;
    if (!sum || !qn__mul(at_once, n_embd * sizeof *hidden, &bytes) || !(hidden = qn__alloc_aligned(bytes)))
        st = qn__fail_mem(err, "embedding");
    while (!st && s->n_done < n) {
        size_t at = s->n_done, k = n - at < at_once ? n - at : at_once;
        st = qn__engine_advance(e, s, k, k, NULL, hidden, err);
        if (!st)
            pool(p, hidden, at, k, n, n_embd, sum, out);
    }
    qn_free(sum);
    qn__free_aligned(hidden);
    return st;
}

qn_status qn_embed(qn_engine *e, const int32_t *tokens, size_t n, qn_pooling pooling, bool normalise, float *out, qn_err *err)
{
    qn_pooling p;
    qn_seq *s;
    size_t n_embd = (size_t)e->model->info.n_embd, at_once = n;
    qn_status st = qn_embed_pooling(e, pooling, &p, err);
    if (st)
        return st;
    if (n == 0)
        return qn__fail(err, QN_EINVAL, "embedding", "the text is empty; give at least one token");
    if (n > (size_t)e->o.n_ctx)
        return qn__fail(err, QN_ECONTEXT, "embedding",
                        "the text has %zu tokens but the context holds %d; use --ctx or shorten it", n, e->o.n_ctx);
    st = qn__engine_check_tokens(e, tokens, n, err);
    if (!st && e->model->info.embedding_only)
        st = qn__engine_room(e, n, err);
    else if (n > (size_t)e->o.n_chunk)
        at_once = (size_t)e->o.n_chunk;
    if (st || (st = qn__seq_open(tokens, n, &s, err)))
        return st;
    st = read_all(e, s, n, at_once, p, out, err);
    qn__seq_close(e->pages, s);
    for (size_t i = 0; !st && normalise && i < (p == QN_POOL_NONE ? n : 1); i++)
        to_unit(out + i * n_embd, n_embd);
    return st;
}
