/* imatrix.c - qn_measure_imatrix: a text through the model, chunk by chunk from nothing, while model/importance.c looks on. */
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "model/importance.h"

/* The token that a text begins with, or -1. */
static int32_t first_token(const qn_model *m)
{
    const qn_tokenizer_info *t = m->tokenizer ? qn__tokenizer_info(m->tokenizer) : NULL;
    return t && t->add_bos && t->bos >= 0 && t->bos < m->info.n_vocab ? t->bos : -1;
}

static qn_status read_chunk(qn_engine *e, const int32_t *tokens, size_t n, int32_t first, qn_err *err)
{
    bool whole = e->model->info.embedding_only;
    size_t rows = whole ? n + 1 : (size_t)e->o.n_chunk, bytes;
    float *hidden = NULL; /* asked for, so that the output matrix is met */
    qn_seq *s;
    qn_status st = qn__seq_open(&first, first >= 0, &s, err);
    if (st)
        return st;
    if (!qn__mul(rows, (size_t)e->model->info.n_embd * sizeof *hidden, &bytes) || !(hidden = qn__alloc_aligned(bytes)))
        st = qn__fail_mem(err, "importance matrix");
    for (size_t i = 0; !st && i < n; i++)
        st = qn__seq_push(s, tokens[i], err);
    while (!st && s->n_done < s->n_tokens) {
        size_t left = s->n_tokens - s->n_done, most = whole ? left : (size_t)e->o.n_chunk, k = left < most ? left : most;
        st = qn__engine_advance(e, s, k, k, NULL, hidden, err);
    }
    qn__free_aligned(hidden);
    qn__seq_close(e->pages, s);
    return st;
}

static qn_status check(const qn_engine *e, const int32_t *tokens, size_t n, int32_t n_ctx, const char *path, qn_err *err)
{
    if (n_ctx < 2 || n_ctx > e->o.n_ctx)
        return qn__fail(err, QN_EINVAL, "importance matrix", "a chunk of %d tokens is out of range; give 2 to %d", n_ctx,
                        e->o.n_ctx);
    if (n == 0)
        return qn__fail(err, QN_EINVAL, "importance matrix", "the text is empty; give at least one token");
    if (!e->model->info.embedded && qn__same_file(path, e->model->file))
        return qn__fail(err, QN_EINVAL, path, "is the model; give another name for the importance matrix");
    return qn__engine_check_tokens(e, tokens, n, err);
}

qn_status qn_measure_imatrix(qn_engine *e, const int32_t *tokens, size_t n, const qn_imatrix_options *o,
                             qn_imatrix_result *out, qn_err *err)
{
    int32_t n_ctx = o->n_ctx ? o->n_ctx : e->o.n_ctx, first = first_token(e->model);
    qn_status st = check(e, tokens, n, n_ctx, o->path, err);
    if (st)
        return st;
    if (first >= 0 && tokens[0] == first && n > 1) {
        tokens++;
        n--;
    }
    size_t size = (size_t)n_ctx - (first >= 0), take = size < n ? size : n, total = n / take;
    if (e->model->info.embedding_only && (st = qn__engine_room(e, take + 1, err))) /* before somebody looks at the context */
        return st;
    qn_importance *m = NULL;
    st = qn__importance_open(e->context, &m, err);
    for (size_t i = 0; !st && i < total; i++) {
        st = read_chunk(e, tokens + i * take, take, first, err);
        if (!st)
            st = qn__importance_check(m, err);
        if (!st && o->progress && !o->progress(o->arg, i + 1, total))
            st = qn__fail(err, QN_ECANCELLED, "importance matrix", "cancelled after %zu of %zu chunks", i + 1, total);
    }
    qn_imatrix_result r = {.chunks = total, .tokens = total * take};
    if (!st) {
        qn__importance_count(m, &r.matrices, &r.unmet);
        st = qn__importance_write(m, o->path, o->dataset ? o->dataset : "", (uint32_t)total, (uint32_t)n_ctx, err);
    }
    qn__importance_close(m);
    if (!st && out)
        *out = r;
    return st;
}
