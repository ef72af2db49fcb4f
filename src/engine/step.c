/* step.c - the step: which rows the decoder computes next, for whom, and what comes of them. See engine.h. */
#include "base/err.h"
#include "base/file.h"
#include "engine/engine.h"

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

/* Take over the longest computed prefix that the tree or a running sequence has. The last prompt token is always computed: its
 * logits are wanted. Of a recurrent model, less than what is common may be usable: then the place where the two part is one
 * where others will part, too, and worth a snapshot. */
static qn_status find_prefix(qn_engine *e, qn_request *r, qn_err *err)
{
    size_t limit = r->n_prompt - 1, common, most = qn__pages_find(e->pages, r->seq, limit, &common);
    const qn_seq *best = NULL;
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
    if (most > before) {
        st = best ? qn__seq_adopt(e->pages, r->seq, best, most, err) : qn__pages_adopt(e->pages, r->seq, most, err);
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
    qn__seq_done(e->pages, r->seq, (size_t)r->n_rows);
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
