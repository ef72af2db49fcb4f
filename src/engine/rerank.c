/* rerank.c - how well a document answers a query, by an encoder that reads both in one text and scores its first token.
 *
 *   BERT:     [CLS] query [SEP] document [SEP]           the document and what ends it are the second segment
 *   RoBERTa:  <s> query </s></s> document </s>           one segment
 *
 * Refuses models without a head for it (cls.output). */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "engine/engine.h"

int32_t qn_rerank_labels(const qn_engine *e)
{
    return qn__decoder_info(e->model->decoder)->n_labels;
}

static size_t put(int32_t *to, size_t n, int32_t id)
{
    if (id >= 0)
        to[n++] = id;
    return n;
}

/* *second: where the document begins, when the model tells segments apart. *ids is released with qn_free. */
static qn_status compose(const qn_engine *e, const char *query, size_t n_query, const char *document, size_t n_document, int32_t **ids, size_t *n_ids,
                         size_t *second, qn_err *err)
{
    const qn_tokenizer_info *t = qn__tokenizer_info(e->model->tokenizer);
    bool bert = strcmp(t->model, "bert") == 0;
    int32_t *q = NULL, *d = NULL, *all = NULL, end = bert || t->eos < 0 ? t->sep : t->eos;
    size_t n_q, n_d, n = 0, bytes;
    qn_status st = qn__tokenize(e->model->tokenizer, query, n_query, false, QN_BOS_NO, &q, &n_q, err);
    if (!st)
        st = qn__tokenize(e->model->tokenizer, document, n_document, false, QN_BOS_NO, &d, &n_d, err);
    if (!st && (!qn__add(n_q, n_d, &bytes) || !qn__add(bytes, 4, &bytes) || !qn__mul(bytes, sizeof *all, &bytes) || !(all = qn__alloc(bytes))))
        st = qn__fail_mem(err, "rerank");
    if (!st) {
        n = put(all, n, t->bos);
        memcpy(all + n, q, n_q * sizeof *all);
        n = put(all, n + n_q, end);
        if (!bert)
            n = put(all, n, t->sep >= 0 ? t->sep : end);
        *second = bert ? n : 0;
        memcpy(all + n, d, n_d * sizeof *all);
        n = put(all, n + n_d, end);
        *ids = all;
        *n_ids = n;
    }
    qn_free(q);
    qn_free(d);
    return st;
}

/* All tokens in one step; the first one's hidden state through the head. */
static qn_status score(qn_engine *e, qn_seq *s, size_t n, size_t second, float *out, qn_err *err)
{
    qn_status st = qn__seq_reserve(e->pages, s, n, err);
    if (st)
        return st;
    for (size_t i = 0; i < n; i++)
        e->rows[i] = (qn_row){.token = s->tokens[i], .pos = (int32_t)i, .out = i ? -1 : 0};
    unsigned char *const *table = s->pages;
    const qn_step step = {.rows = e->rows, .n_rows = (int)n, .pages = &table, .states = &s->state, .n_seqs = 1, .scores = out, .second = (int)second};
    return qn__context_step(e->context, &step, err);
}

qn_status qn_rerank(qn_engine *e, const char *query, size_t n_query, const char *document, size_t n_document, float *out, size_t *n_tokens, qn_err *err)
{
    int32_t *ids = NULL;
    size_t n = 0, second = 0;
    qn_seq *s = NULL;
    if (qn_rerank_labels(e) == 0)
        return qn__fail(err, QN_EUNSUPPORTED, e->model->file, "the model is no reranker: it has no cls.output to score with");
    if (!e->model->tokenizer)
        return qn__fail(err, QN_EUNSUPPORTED, e->model->file, "the model has no tokenizer");
    qn_status st = compose(e, query, n_query, document, n_document, &ids, &n, &second, err);
    if (!st && n > (size_t)e->o.n_ctx)
        st = qn__fail(err, QN_ECONTEXT, "rerank", "query and document have %zu tokens but the context holds %d; use --ctx or shorten them", n, e->o.n_ctx);
    if (!st && n == 0)
        st = qn__fail(err, QN_EINVAL, "rerank", "query and document are empty");
    if (!st)
        st = qn__engine_room(e, n, err);
    if (!st)
        st = qn__seq_open(ids, n, &s, err);
    if (!st) {
        st = score(e, s, n, second, out, err);
        qn__seq_close(e->pages, s);
    }
    if (!st && n_tokens)
        *n_tokens = n;
    qn_free(ids);
    return st;
}
