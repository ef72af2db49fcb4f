/* compare_quants.c - quantisations of one model: what a smaller file costs. Both models read the same windows of one text, each from
 * nothing; the second half of every window is scored:
 *
 *   perplexity   exp of the mean of -ln q(token that stands there)
 *   divergence   Kullback-Leibler, mean over positions of sum over the vocabulary of p (ln p - ln q), in nats; p: the reference
 *   agreement    positions at which both would choose the same token
 *
 * The reference stays in its file's map (the same bytes, no second copy in memory) while a candidate is measured. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "services/eval/compare.h"
#include "services/probe/stats.h"
#include "services/probe/open.h"

enum { WINDOW = 256, TEXT_TOKENS = 1024, SPEED_PROMPT = 128, SPEED_TOKENS = 32, SPEED_RUNS = 3, TEXT_MOST = 64 << 20 };

typedef struct quant {
    qn_model *model;
    qn_engine *engine;
    qn_model_info info;
} quant;

typedef struct scores {
    double *kl;    /* of each scored position */
    size_t n, cap, same;
    double nll, nll_sq;
} scores;

static void close_quant(quant *q)
{
    qn_engine_close(q->engine);
    qn_model_close(q->model);
    *q = (quant){0};
}

static qn_status open_quant(const qn_comparison *c, size_t k, bool in_map, quant *q, qn_err *err)
{
    qn_engine_options o = c->o->probe.engine;
    qn_status st = qn_model_open(c->who[k].path, QN_OPEN_FULL, &q->model, err);
    if (st)
        return st;
    qn_model_get_info(q->model, &q->info);
    o.n_ctx = q->info.n_ctx_train > 0 && q->info.n_ctx_train < 2 * WINDOW ? q->info.n_ctx_train : 2 * WINDOW;
    o.max_seqs = 1;
    o.kv_disk = NULL;
    o.draft_model = NULL;
    o.no_repack = o.no_repack || in_map;
    return qn_engine_open(q->model, &o, &q->engine, err);
}

static qn_status tokens_of(const qn_comparison *c, const quant *q, int32_t **ids, size_t *n, qn_err *err)
{
    char *text = NULL;
    size_t bytes = 0;
    qn_status st = c->o->text ? qn__read_file(c->o->text, TEXT_MOST, &text, &bytes, err) : QN_OK;
    if (!st)
        st = qn_tokenize(q->model, text ? text : qn__compare_text, text ? bytes : strlen(qn__compare_text), false, QN_BOS_AUTO, ids, n, err);
    qn_free(text);
    const size_t most = c->o->text_tokens ? (size_t)c->o->text_tokens : TEXT_TOKENS;
    if (!st && *n > most)
        *n = most;
    if (!st && *n < 4)
        st = qn__fail(err, QN_EINVAL, c->o->text ? c->o->text : "text", "has %zu tokens; divergence needs some hundreds", *n);
    return st;
}

/* ---- divergence ---- */

static double log_sum(const float *v, size_t n)
{
    float top = v[0];
    double sum = 0;
    for (size_t i = 1; i < n; i++)
        top = v[i] > top ? v[i] : top;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)v[i] - top);
    return top + log(sum);
}

static size_t top_of(const float *v, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        best = v[i] > v[best] ? i : best;
    return best;
}

/* One position: p and q are logits over n tokens, p NULL for the reference itself. */
static bool score(scores *s, const float *p, const float *q, size_t n, int32_t token)
{
    const double lq = log_sum(q, n), nll = lq - q[token];
    double kl = 0;
    if (p) {
        const double lp = log_sum(p, n);
        for (size_t i = 0; i < n; i++) {
            const double a = p[i] - lp;
            kl += exp(a) * (a - (q[i] - lq));
        }
        s->same += top_of(p, n) == top_of(q, n);
    } else
        s->same++;
    if (!qn__grow((void **)&s->kl, &s->cap, s->n + 1, sizeof *s->kl))
        return false;
    s->kl[s->n++] = kl > 0 ? kl : 0; /* rounding may put it below */
    s->nll += nll;
    s->nll_sq += nll * nll;
    return true;
}

static qn_status window(const quant *ref, const quant *q, const int32_t *ids, size_t n, float *p_out, float *q_out, scores *s, qn_err *err)
{
    const size_t half = n / 2, vocab = (size_t)q->info.n_vocab;
    const size_t rows = n - half; /* predictions of tokens half .. n-1 come from positions half-1 .. n-2 */
    qn_status st = qn_logits(q->engine, ids, n - 1, rows, q_out, err);
    if (!st && ref)
        st = qn_logits(ref->engine, ids, n - 1, rows, p_out, err);
    for (size_t i = 0; i < rows && !st; i++)
        if (!score(s, ref ? p_out + i * vocab : NULL, q_out + i * vocab, vocab, ids[half + i]))
            st = qn__fail_mem(err, "divergence");
    return st;
}

static qn_status diverge(const qn_comparison *c, const quant *ref, const quant *q, const int32_t *ids, size_t n, scores *s, qn_err *err)
{
    const size_t size = (size_t)(q->info.n_ctx_train > 0 && q->info.n_ctx_train < WINDOW ? q->info.n_ctx_train : WINDOW);
    size_t floats = 0;
    (void)(qn__mul((size + 1) / 2 * sizeof(float), (size_t)q->info.n_vocab, &floats));
    float *p = ref ? qn__alloc(floats) : NULL, *out = qn__alloc(floats);
    qn_status st = out && (p || !ref) ? QN_OK : qn__fail_mem(err, "divergence");
    for (size_t at = 0; !st && (at + size <= n || at == 0); at += size) {
        if (c->o->probe.progress && !c->o->probe.progress(c->o->probe.arg, "measuring quantisations", c->done, c->total))
            st = qn__probe_cancelled("compare", err);
        else
            st = window(ref, q, ids + at, n - at < size ? n - at : size, p, out, s, err);
    }
    qn_free(p);
    qn_free(out);
    return st;
}

/* ---- speed ---- */

static qn_status once(const quant *q, const int32_t *ids, size_t n, double *prefill, double *decode, qn_err *err)
{
    qn_request_options o;
    qn_request *r = NULL;
    qn_event ev = {0};
    qn_request_options_init(&o);
    o.tokens = ids;
    o.n_tokens = n;
    o.max_tokens = SPEED_TOKENS;
    o.ignore_eos = true;
    o.draft = -1;
    qn_status st = qn_request_open(q->engine, &o, &r, err);
    while (!st && !(st = qn_request_next(r, &ev, err)) && ev.kind != QN_EVENT_END) {}
    if (!st && ev.timings.prefill_s > 0 && ev.timings.decode_s > 0) {
        *prefill = (ev.timings.prompt_tokens - ev.timings.cached_tokens) / ev.timings.prefill_s;
        *decode = (ev.timings.generated_tokens - 1) / ev.timings.decode_s;
    }
    qn_request_close(r);
    return st;
}

static qn_status speed(const quant *q, const int32_t *ids, size_t n, double *prefill, double *decode, qn_err *err)
{
    double a[SPEED_RUNS], b[SPEED_RUNS];
    qn_status st = QN_OK;
    for (size_t i = 0; i < SPEED_RUNS && !st; i++) {
        const size_t from = n > 8 * i + 8 ? 8 * i : 0; /* begun elsewhere, so that nothing was read before */
        a[i] = b[i] = 0;
        st = once(q, ids + from, n - from < SPEED_PROMPT ? n - from : SPEED_PROMPT, &a[i], &b[i], err);
    }
    if (st)
        return st;
    qn__sort_doubles(a, SPEED_RUNS);
    qn__sort_doubles(b, SPEED_RUNS);
    *prefill = a[SPEED_RUNS / 2];
    *decode = b[SPEED_RUNS / 2];
    return QN_OK;
}

/* ---- a row ---- */

static void add_file(const quant *q, json_t *row)
{
    char *text = NULL;
    qn_engine_info e;
    qn_engine_get_info(q->engine, &e);
    const bool ok = qn_model_report(q->model, false, &text, NULL) == QN_OK;
    json_t *r = ok ? json_loads(text, 0, NULL) : NULL, *kind = json_object_get(r, "quantisation");
    if (kind) {
        (void)json_object_set(row, "type", json_object_get(kind, "label"));
        (void)json_object_set(row, "bits_per_weight", json_object_get(kind, "bits_per_weight"));
    }
    (void)json_object_set_new(row, "bytes", json_integer((json_int_t)q->info.file_bytes));
    (void)json_object_set_new(row, "memory", json_integer((json_int_t)((e.packed_bytes ? e.packed_bytes : q->info.file_bytes) + e.kv_bytes)));
    json_decref(r);
    qn_free(text);
}

static json_t *row_json(const qn_comparison *c, size_t k, const quant *q, scores *s, double prefill, double decode)
{
    const char label[2] = {(char)('A' + k), 0};
    double sum = 0, sq = 0;
    for (size_t i = 0; i < s->n; i++) {
        sum += s->kl[i];
        sq += s->kl[i] * s->kl[i];
    }
    const double n = (double)s->n, mean = sum / n, nll = s->nll / n;
    const double ppl = exp(nll), spread = sqrt(fmax(0, s->nll_sq / n - nll * nll) / fmax(1, n - 1)),
                 kl_spread = sqrt(fmax(0, sq / n - mean * mean) / fmax(1, n - 1));
    qn__sort_doubles(s->kl, s->n);
    json_t *row = json_pack("{s:s, s:s, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "label", label, "spec", c->who[k].spec, "scored", (json_int_t)s->n,
                            "perplexity", ppl, "perplexity_error", ppl * spread, "kl", mean, "kl_error", kl_spread, "kl_median",
                            qn__quantile(s->kl, s->n, 0.5), "kl_p99", qn__quantile(s->kl, s->n, 0.99), "kl_max", s->kl[s->n - 1], "same_top",
                            (double)s->same / n, "prefill_tps", prefill, "decode_tps", decode);
    if (row)
        add_file(q, row);
    return row;
}

static qn_status same_vocabulary(const qn_comparison *c, size_t k, const quant *ref, const quant *q, const int32_t *ids, size_t n, qn_err *err)
{
    int32_t *theirs = NULL;
    size_t m = 0;
    if (ref->info.n_vocab != q->info.n_vocab || strcmp(ref->info.architecture, q->info.architecture) != 0)
        return qn__fail(err, QN_EINVAL, c->who[k].spec, "is no quantisation of %s: one is %s with %d tokens, the other %s with %d", c->who[0].spec,
                        q->info.architecture, (int)q->info.n_vocab, ref->info.architecture, (int)ref->info.n_vocab);
    qn_status st = tokens_of(c, ref, &theirs, &m, err);
    if (!st && (m != n || memcmp(theirs, ids, n * sizeof *ids) != 0))
        st = qn__fail(err, QN_EINVAL, c->who[k].spec, "is no quantisation of %s: it cuts the text into other tokens", c->who[0].spec);
    qn_free(theirs);
    return st;
}

qn_status qn__compare_quant(const qn_comparison *c, size_t k, json_t **row, qn_err *err)
{
    quant q = {0}, ref = {0};
    scores s = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    double prefill = 0, decode = 0;
    qn_status st = open_quant(c, k, false, &q, err);
    if (!st)
        st = tokens_of(c, &q, &ids, &n, err);
    if (!st)
        st = speed(&q, ids, n, &prefill, &decode, err); /* before the other one is there */
    if (!st && k > 0 && !(st = open_quant(c, 0, true, &ref, err)))
        st = same_vocabulary(c, k, &ref, &q, ids, n, err);
    if (!st)
        st = diverge(c, k > 0 ? &ref : NULL, &q, ids, n, &s, err);
    if (!st && !(*row = row_json(c, k, &q, &s, prefill, decode)))
        st = qn__fail_mem(err, "report");
    qn_free(s.kl);
    qn_free(ids);
    close_quant(&ref);
    close_quant(&q);
    return st;
}
