/* engine.c - opening an engine, and the step: which rows the decoder computes next, for whom. See engine.h. */
#include "engine/engine.h"

#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

enum { CTX_DEFAULT = 8192, CTX_UNSTATED = 2048, CTX_MAX = 1 << 24 };

void qn_engine_options_init(qn_engine_options *o)
{
    *o = (qn_engine_options){0};
}

static qn_status range(const char *what, int32_t v, int32_t min, int32_t max, qn_err *err)
{
    if (v >= min && v <= max)
        return QN_OK;
    return qn__fail(err, QN_EINVAL, what, "%d is out of range; give %d to %d, or 0 for the default", v, min, max);
}

static qn_status fill_options(qn_engine *e, const qn_engine_options *given, qn_err *err)
{
    qn_engine_options *o = &e->o;
    if (given)
        *o = *given;
    int32_t train = e->model->info.n_ctx_train;
    if (o->n_ctx == 0)
        o->n_ctx = train <= 0 ? CTX_UNSTATED : train < CTX_DEFAULT ? train : CTX_DEFAULT;
    if (o->n_threads == 0)
        o->n_threads = qn__cpu_count();
    if (o->n_chunk == 0)
        o->n_chunk = 512;
    if (o->max_seqs == 0)
        o->max_seqs = 8;
    qn_status st;
    if ((st = range("context size", o->n_ctx, 1, CTX_MAX, err)) || (st = range("threads", o->n_threads, 1, 512, err)) ||
        (st = range("prefill chunk", o->n_chunk, 1, 65536, err)) || (st = range("sequences", o->max_seqs, 1, 1024, err)))
        return st;
    if (o->n_chunk > o->n_ctx)
        o->n_chunk = o->n_ctx;
    switch (o->kv) {
    case QN_KV_F16: e->kv = QN__KV_F16; break;
    case QN_KV_F32: e->kv = QN__KV_F32; break;
    case QN_KV_Q8_0: e->kv = QN__KV_Q8_0; break;
    default: return qn__fail(err, QN_EINVAL, "KV type", "%d is not a KV type; use f16, f32 or q8_0", (int)o->kv);
    }
    st = qn__cpu_choose(o->cpu, &e->level, err);
    o->cpu = qn__cpu_name(e->level);
    return st;
}

static qn_status open_context(const qn_engine *e, int rows, qn_context **out, qn_err *err)
{
    const qn_context_options c = {.level = e->level, .n_threads = e->o.n_threads, .max_rows = rows, .max_out = rows,
                                  .n_ctx = e->o.n_ctx, .kv = e->kv};
    return qn__context_open(e->model->decoder, &c, out, err);
}

/* Snapshots may take a quarter of what pages may, but there are always some. */
static size_t most_snapshots(const qn_engine *e, int64_t pages)
{
    enum { LEAST = 4, MOST = 1024 };
    size_t n = (size_t)pages * e->page_bytes / 4 / e->state_bytes;
    return n < LEAST ? LEAST : n > MOST ? MOST : n;
}

static qn_status open_parts(qn_engine *e, qn_err *err)
{
    const qn_engine_options *o = &e->o;
    size_t seqs = (size_t)o->max_seqs, rows = (size_t)o->n_chunk + seqs, bytes;
    e->page_bytes = qn__decoder_page_bytes(e->model->decoder, e->kv);
    e->state_bytes = qn__decoder_state_bytes(e->model->decoder);
    e->n_vocab = e->model->info.n_vocab;
    /* Every running sequence and one of qn_logits may fill its context; what they leave, the kept sequences use. */
    int64_t per_seq = ((int64_t)o->n_ctx + QN_PAGE_TOKENS - 1) / QN_PAGE_TOKENS, pages = per_seq * (o->max_seqs + 1);
    qn_status st = qn__pages_open(e->page_bytes, pages > INT32_MAX ? INT32_MAX : (int32_t)pages, &e->pages, err);
    if (st)
        return st;
    if (e->state_bytes)
        qn__pages_recurrent(e->pages, e->state_bytes, most_snapshots(e, pages));
    if (!qn__mul(seqs * sizeof(float), (size_t)e->n_vocab, &bytes) || !(e->logits = qn__alloc_aligned(bytes)) ||
        !(e->rows = qn__calloc(rows, sizeof *e->rows)) ||
        !(e->tables = qn__calloc(seqs, sizeof *e->tables)) || !(e->states = qn__calloc(seqs, sizeof *e->states)))
        return qn__fail_mem(err, "engine");
    e->max_rows = (int)rows;
    return open_context(e, (int)rows, &e->context, err);
}

qn_status qn__engine_room(qn_engine *e, size_t n, qn_err *err)
{
    if (n <= (size_t)e->max_rows)
        return QN_OK;
    qn_row *rows = qn__calloc(n, sizeof *rows);
    qn_context *c = NULL;
    qn_status st = rows ? open_context(e, (int)n, &c, err) : qn__fail_mem(err, "engine");
    if (st) {
        qn_free(rows);
        return st;
    }
    qn__context_close(e->context);
    qn_free(e->rows);
    e->context = c;
    e->rows = rows;
    e->max_rows = (int)n;
    return QN_OK;
}

qn_status qn__engine_generates(const qn_engine *e, qn_err *err)
{
    if (!e->model->info.embedding_only)
        return QN_OK;
    return qn__fail(err, QN_EUNSUPPORTED, e->model->file, "architecture %s gives embeddings, not text; use quern embed",
                    e->model->architecture);
}

qn_status qn_engine_open(const qn_model *m, const qn_engine_options *o, qn_engine **out, qn_err *err)
{
    if (!m->decoder)
        return qn__fail(err, QN_EINVAL, m->file, "the model was opened without its weights; open it with QN_OPEN_FULL");
    qn_engine *e = qn__calloc(1, sizeof *e);
    if (!e)
        return qn__fail_mem(err, "engine");
    e->model = m;
    qn_status st = fill_options(e, o, err);
    if (!st)
        st = open_parts(e, err);
    if (st)
        qn_engine_close(e);
    else
        *out = e;
    return st;
}

void qn_engine_close(qn_engine *e)
{
    if (!e)
        return;
    while (e->first)
        qn_request_close(e->first);
    qn__context_close(e->context);
    qn__pages_close(e->pages);
    qn__free_aligned(e->logits);
    qn_free(e->rows);
    qn_free((void *)e->tables);
    qn_free((void *)e->states);
    qn_free(e);
}

void qn_engine_get_info(const qn_engine *e, qn_engine_info *out)
{
    *out = (qn_engine_info){.n_ctx = e->o.n_ctx, .n_threads = e->o.n_threads, .n_vocab = e->n_vocab,
                            .n_chunk = e->o.n_chunk, .max_seqs = e->o.max_seqs, .cpu = e->o.cpu,
                            .kv_bytes_per_token = e->page_bytes / QN_PAGE_TOKENS, .kv_bytes = qn__pages_bytes(e->pages)};
}

/* ---- the step ---- */

bool qn__request_want(qn_request *r, size_t n)
{
    size_t at = n / QN_PAGE_TOKENS * QN_PAGE_TOKENS;
    if (!r->e->state_bytes || !r->seq || at <= r->seq->n_done)
        return true;
    for (int i = 0; i < r->n_wants; i++)
        if (r->wants[i] == at)
            return true;
    if (r->n_wants == QN_WANTS)
        return false;
    r->wants[r->n_wants++] = at;
    return true;
}

/* Take over the longest computed prefix that a kept or running sequence has. The last prompt token is always computed: its
 * logits are wanted. Of a recurrent model, less than what is common may be usable: then the place where the two part is one
 * where others will part, too, and worth a snapshot. */
static qn_status find_prefix(qn_engine *e, qn_request *r, qn_err *err)
{
    size_t limit = r->n_prompt - 1, most = 0, common = e->state_bytes ? qn__pages_common(e->pages, r->seq, limit) : 0;
    qn_seq *best = qn__pages_find(e->pages, r->seq, limit, &most);
    for (qn_request *o = e->first; o; o = o->next) {
        if (o == r || !o->seq)
            continue;
        size_t n = qn__seq_usable(e->pages, r->seq, limit, o->seq);
        if (n > most) {
            most = n;
            best = o->seq;
        }
    }
    size_t before = r->seq->n_done;
    qn_status st = QN_OK;
    if (best && most > before) {
        st = qn__seq_adopt(e->pages, r->seq, best, most, err);
        size_t after = r->seq->n_done; /* 0: taken over in part, which is of no use to a recurrent model */
        r->timings.cached_tokens = after < before ? 0 : r->timings.cached_tokens + (int32_t)(after - before);
    }
    (void)qn__request_want(r, common);
    return st;
}

/* Is a request that came earlier about to compute a page or more of what r needs next? Then r waits for it: until less than a
 * page is left of it, or of a recurrent model to the border at which there will be a snapshot. */
static bool is_behind(const qn_engine *e, const qn_request *r)
{
    for (qn_request *o = e->first; o != r; o = o->next) {
        if (o->phase != QN_READING || !o->seq)
            continue;
        size_t done = o->seq->n_done;
        if (done < r->seq->n_done)
            continue;
        size_t common = qn__seq_common(r->seq, r->n_prompt - 1, o->seq, o->n_prompt);
        size_t border = common / QN_PAGE_TOKENS * QN_PAGE_TOKENS;
        if (!e->state_bytes ? common >= done + QN_PAGE_TOKENS
                            : border > done && border >= r->seq->n_done + QN_PAGE_TOKENS && qn__request_want(o, common))
            return true;
    }
    return false;
}

static void admit(qn_engine *e, double now)
{
    for (qn_request *r = e->first, *next; r; r = next) {
        next = r->next;
        if (r->phase != QN_ENDED && atomic_load_explicit(&r->cancelled, memory_order_relaxed)) {
            qn__request_end(r, QN_END_CANCELLED);
            continue;
        }
        if (r->phase != QN_ENDED && now >= r->deadline) {
            qn__request_end(r, QN_END_DEADLINE);
            continue;
        }
        if (r->phase != QN_QUEUED || e->n_running >= e->o.max_seqs)
            continue;
        r->phase = QN_READING;
        r->behind = true; /* look for its prefix */
        e->n_running++;
    }
}

/* Give r `n` rows from its first position that is not computed. */
static bool add_rows(qn_engine *e, qn_request *r, qn_step *step, size_t n, bool wants_logits, int *n_out)
{
    qn_err err = {0};
    qn_seq *s = r->seq;
    if (qn__seq_reserve(e->pages, s, s->n_done + n, &err)) {
        qn__request_fail(r, &err);
        return false;
    }
    r->row = step->n_rows;
    r->n_rows = (int)n;
    for (size_t i = 0; i < n; i++)
        e->rows[step->n_rows++] = (qn_row){.token = s->tokens[s->n_done + i], .pos = (int32_t)(s->n_done + i),
                                           .seq = step->n_seqs, .out = -1};
    if (wants_logits)
        e->rows[step->n_rows - 1].out = r->out = (*n_out)++;
    e->states[step->n_seqs] = s->state;
    e->tables[step->n_seqs++] = s->pages;
    return true;
}

/* At most n rows of r, so that its run ends where a snapshot is wanted. */
static size_t up_to_want(const qn_request *r, size_t n)
{
    for (int i = 0; i < r->n_wants; i++)
        if (r->wants[i] > r->seq->n_done && r->wants[i] - r->seq->n_done < n)
            n = r->wants[i] - r->seq->n_done;
    return n;
}

/* The rows of the next step. */
static void plan(qn_engine *e, qn_step *step)
{
    int n_out = 0;
    for (qn_request *r = e->first, *next; r; r = next) {
        next = r->next;
        r->n_rows = 0;
        r->out = -1;
        if (r->phase == QN_WRITING)
            (void)add_rows(e, r, step, 1, true, &n_out);
    }
    for (qn_request *r = e->first; r && e->state_bytes; r = r->next) /* before rows are dealt out: what the others want of them */
        r->behind |= r->phase == QN_READING && is_behind(e, r);
    size_t room = (size_t)e->o.n_chunk;
    for (qn_request *r = e->first, *next; r && room; r = next) {
        next = r->next;
        if (r->phase != QN_READING || is_behind(e, r)) {
            r->behind |= r->phase == QN_READING;
            continue;
        }
        qn_err err = {0};
        if (r->behind && find_prefix(e, r, &err)) {
            qn__request_fail(r, &err);
            continue;
        }
        r->behind = false;
        size_t left = r->n_prompt - r->seq->n_done, n = up_to_want(r, left < room ? left : room);
        bool last = n == left, generates = r->max_tokens != 0 && r->n_prompt < (size_t)e->o.n_ctx;
        if (add_rows(e, r, step, n, last && generates, &n_out))
            room -= n;
    }
}

/* Asked between layers. A cancelled request's rows are not worth computing; the others' are, so the step goes on unless the
 * cancelled have half of it. */
static bool step_cancelled(void *arg)
{
    const qn_engine *e = arg;
    int total = 0, gone = 0;
    for (const qn_request *r = e->first; r; r = r->next) {
        total += r->n_rows;
        if (atomic_load_explicit(&r->cancelled, memory_order_relaxed))
            gone += r->n_rows;
    }
    return gone > 0 && gone * 2 >= total;
}

/* r has a state that is worth a snapshot. In the output it moves along from page to page: when the sequence is kept, it can be
 * resumed at its very end, and at the last border when the next prompt has not quite the same end. */
static void mark(qn_engine *e, qn_request *r, bool reading)
{
    size_t at = r->seq->n_done;
    bool wanted = false;
    for (int i = 0; i < r->n_wants; i++)
        wanted = wanted || r->wants[i] == at;
    if (reading && wanted)
        qn__seq_mark(e->pages, r->seq, 0);
    if (reading || at % QN_PAGE_TOKENS != 0)
        return;
    qn__seq_mark(e->pages, r->seq, r->moving);
    r->moving = at;
}

/* What the step did for r. */
static void settle(qn_engine *e, qn_request *r, double seconds)
{
    bool reading = r->phase == QN_READING;
    r->seq->n_done += (size_t)r->n_rows;
    r->n_rows = 0;
    if (e->state_bytes)
        mark(e, r, reading);
    if (reading) {
        r->timings.prefill_s += seconds;
        r->news_read = true;
        r->n_read = r->seq->n_done;
        if (r->seq->n_done < r->n_prompt)
            return;
        r->phase = QN_WRITING;
    } else {
        r->timings.decode_s += seconds;
    }
    if (atomic_load_explicit(&r->cancelled, memory_order_relaxed)) {
        qn__request_end(r, QN_END_CANCELLED);
    } else if (r->max_tokens == 0) {
        qn__request_end(r, QN_END_LENGTH);
    } else if (r->out < 0) {
        qn__request_end(r, QN_END_CONTEXT);
    } else {
        qn_err err = {0};
        int32_t token = qn__sampler_pick(r->sampler, e->logits + (size_t)r->out * (size_t)e->n_vocab, r->seq->tokens,
                                         r->seq->n_tokens);
        if (token >= 0)
            qn__request_emit(r, token);
        else if (qn__engine_no_numbers(e->model->file, &err))
            qn__request_fail(r, &err);
    }
}

qn_status qn__engine_no_numbers(const char *where, qn_err *err)
{
    return qn__fail(err, QN_EFORMAT, where,
                    "the model computed logits that are not numbers; the file is damaged, download or convert it again");
}

qn_status qn__engine_step(qn_engine *e, qn_err *err)
{
    double start = qn__now();
    admit(e, start);
    e->last_step = (qn_step_stats){0};
    /* A step that was abandoned half-way has left recurrent states advanced in some layers and not in others, and nothing
     * brings them back (pages are simply written again): such a step runs to its end. */
    qn_step step = {.rows = e->rows, .pages = e->tables, .states = e->states, .logits = e->logits,
                    .cancelled = e->state_bytes ? NULL : step_cancelled, .cancel_arg = e};
    plan(e, &step);
    if (step.n_rows == 0)
        return QN_OK;
    qn_status st = qn__context_step(e->context, &step, err);
    double seconds = qn__now() - start;
    e->last_step.seconds = seconds;
    for (const qn_request *r = e->first; r; r = r->next)
        *(r->phase == QN_READING ? &e->last_step.prefill : &e->last_step.decode) += r->n_rows;
    if (st == QN_ECANCELLED) { /* the next step's admit ends whom it concerns */
        for (qn_request *r = e->first; r; r = r->next) {
            if (r->n_rows)
                *(r->phase == QN_READING ? &r->timings.prefill_s : &r->timings.decode_s) += seconds;
            r->n_rows = 0;
        }
        return QN_OK;
    }
    if (st)
        return st;
    for (qn_request *r = e->first, *next; r; r = next) {
        next = r->next;
        if (r->n_rows)
            settle(e, r, seconds);
    }
    return QN_OK;
}
