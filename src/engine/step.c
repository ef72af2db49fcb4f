/* step.c - the step: which rows the decoder computes next, for whom, and what comes of them. See engine.h. */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "engine/small.h"

static const double RESTORE_S = 0.05; /* reading pages from disk may hold up a step for so long */

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
static qn_status find_prefix(qn_engine *e, qn_request *r, bool *again, qn_err *err)
{
    size_t limit = r->seq->n_tokens - 1, common, most;
    *again = qn__pages_restore(e->pages, r->seq, limit, qn__now() + RESTORE_S);
    if (*again)
        return QN_OK;
    most = qn__pages_find(e->pages, r->seq, limit, &common);
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
        if (!r->again)
            r->timings.cached_tokens = after < before ? 0 : r->timings.cached_tokens + (int32_t)(after - before);
    }
    qn__pages_let_go(e->pages, r->seq);
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
        size_t common = qn__seq_common(r->seq, r->seq->n_tokens - 1, o->seq, o->seq->n_tokens);
        size_t border = common / QN_PAGE_TOKENS * QN_PAGE_TOKENS;
        if (!e->state_bytes ? common >= done + QN_PAGE_TOKENS
                            : border > done && border >= r->seq->n_done + QN_PAGE_TOKENS && qn__request_want(o, common))
            return true;
    }
    return false;
}

/* At most n rows of r, so that its run ends where a snapshot is wanted. */
static size_t up_to_want(const qn_request *r, size_t n)
{
    for (int i = 0; i < r->n_wants; i++)
        if (r->wants[i] > r->seq->n_done && r->wants[i] - r->seq->n_done < n)
            n = r->wants[i] - r->seq->n_done;
    return n;
}

/* ---- drafts ----
 *
 * The state of a recurrent model cannot be taken back. So rows of drafted tokens advance a copy: if all were right it is the sequence's
 * from then on; if not, the state stays where the known tokens end, and those of the drafted that were right are computed again:
 *
 *   tokens  ... t7 | d8 d9 d10      state: after t7, the spare one: after d10
 *   d8 right, d9 not: x9 is said    the next step: d8 again, x9 | drafts */

/* How many tokens may be drafted for r: none behind the end of its output or context, nor of a recurrent model behind the next page
 * border, where a state is to be kept. */
static int most_drafts(const qn_engine *e, const qn_request *r)
{
    if (r->draft < 0)
        return 0;
    int64_t most = r->draft > 0 ? r->draft : QN_DRAFT_MOST;
    int64_t ctx = (int64_t)e->o.n_ctx - (int64_t)r->seq->n_tokens, out = (int64_t)r->max_tokens - r->timings.generated_tokens;
    if (r->max_tokens >= 0 && out < ctx)
        ctx = out;
    int64_t border = QN_PAGE_TOKENS - (int64_t)(r->seq->n_tokens % QN_PAGE_TOKENS);
    most = ctx - 1 < most ? ctx - 1 : most;
    most = e->state_bytes && border < most ? border : most;
    return most < 0 ? 0 : most > QN_DRAFT_MOST ? QN_DRAFT_MOST : (int)most;
}

/* Rows for drafted tokens, as long as one more brings more tokens per second: with n rows in time T that are expected to bring
 * x tokens, a row that costs t more and is right with probability p does when (x + p) / (T + t) > x / T. For a recurrent model it costs
 * more: if it is the first that is wrong, all before it are computed again. rows: without drafts. */
static void draft(qn_engine *e, int writing, int rows, int room)
{
    double expected = writing, seconds, more;
    const int known = rows;
    for (qn_request *r = e->first; r && room > 0; r = r->next) {
        int most = r->phase == QN_WRITING && r->n_rows ? most_drafts(e, r) : 0;
        if (most == 0 || !qn__drafter_see(&r->drafter, r->seq->tokens, r->seq->n_tokens))
            continue;
        double p[QN_DRAFT_MOST];
        most = most < room ? most : room;
        int tries = r->draft > 0 ? most : qn__drafter_most(&r->drafter);
        tries = tries < most ? tries : most;
        int k = 0, n = qn__drafter_guess(&r->drafter, r->seq->tokens, r->seq->n_tokens, tries, r->guess, p);
        r->by_small = false;
        if (e->small && tries > 0 && (n == 0 || p[0] < (double)r->small_right)) {
            int by_small = qn__small_draft(e, r, tries, rows, expected, r->guess, p);
            r->by_small = by_small > 0;
            n = by_small > 0 ? by_small : n;
        }
        if (r->constraint)
            n = qn__constraint_draft(r->constraint, r->guess, p, n, most);
        for (; k < n; k++, rows++) {
            qn__cost_decode(&e->cost, rows, &seconds, &more);
            const double again = e->state_bytes ? ((k ? p[k - 1] : 1) - p[k]) * k : 0;
            if (r->draft == 0 && p[k] * seconds <= (1 + again) * more * expected)
                break;
            expected += p[k];
        }
        qn__cost_decode(&e->cost, known, &seconds, &more);
        r->price = (more + (r->by_small ? e->small_s : 0)) * writing / seconds;
        if (k && (qn__seq_reserve(e->pages, r->seq, r->seq->n_tokens + (size_t)k, NULL) ||
                  (e->state_bytes && !qn__seq_spare(e->pages, r->seq))))
            k = 0; /* nobody gives way for a guess */
        r->n_guess = k;
        r->n_rows += k;
        room -= k;
    }
}

/* ---- the plan ---- */

/* What r could read in this step beyond what it has been dealt. */
static size_t wants_rows(const qn_request *r)
{
    if (r->phase != QN_READING || r->behind)
        return 0;
    return up_to_want(r, r->seq->n_tokens - r->seq->n_done) - (size_t)r->n_rows;
}

/* The first request of the client that was served least. */
static qn_request *next_reader(const qn_engine *e)
{
    qn_request *best = NULL;
    for (qn_request *r = e->first; r; r = r->next)
        if (wants_rows(r) > 0 && (!best || r->client->served < best->client->served))
            best = r;
    return best;
}

/* Who waits for whom, and who starts from what is computed already. */
static void find_prefixes(qn_engine *e)
{
    for (qn_request *r = e->first; r && e->state_bytes; r = r->next) /* before rows are dealt out: what the others want of them */
        r->behind |= r->phase == QN_READING && is_behind(e, r);
    for (qn_request *r = e->first; r; r = r->next) {
        if (r->phase != QN_READING)
            continue;
        if (is_behind(e, r)) {
            r->behind = true;
            continue;
        }
        qn_err err = {0};
        bool again = false; /* there is more to be read from disk: the others' turn */
        if (r->behind && find_prefix(e, r, &again, &err))
            qn__request_fail(r, &err);
        r->behind = again;
    }
}

/* Deal `room` rows to those who read, a page at a time. */
static void deal(qn_engine *e, int decode, int room)
{
    enum { LEAST = 16, ALONE_LEAST = 128 };
    const double margin = 0.8, alone = 2; /* seconds of a step when nobody waits for a token: others may want to begin */
    qn_request *r = next_reader(e);
    if (!r)
        return;
    double limit = decode ? margin * e->max_gap : e->max_gap < INFINITY && alone > e->max_gap ? alone : e->max_gap;
    room = qn__cost_prefill(&e->cost, (double)r->seq->n_done, decode, limit, decode ? LEAST : ALONE_LEAST, room);
    for (; r && room > 0; r = next_reader(e)) {
        size_t n = wants_rows(r);
        n = n < QN_PAGE_TOKENS ? n : QN_PAGE_TOKENS;
        n = n < (size_t)room ? n : (size_t)room;
        r->n_rows += (int)n;
        r->client->served += (double)n;
        room -= (int)n;
    }
}

/* Rows of the step for r, from its first position that is not computed. */
static void add_rows(qn_engine *e, qn_request *r, qn_step *step, int *n_out)
{
    const qn_seq *s = r->seq;
    size_t known = s->n_tokens - s->n_done;
    r->row = step->n_rows;
    for (size_t i = 0; i < (size_t)r->n_rows; i++)
        e->rows[step->n_rows++] = (qn_row){.token = i < known ? s->tokens[s->n_done + i] : r->guess[i - known],
                                           .pos = (int32_t)(s->n_done + i), .seq = step->n_seqs, .out = -1};
    bool last = s->n_done + (size_t)r->n_rows >= s->n_tokens, generates = r->max_tokens != 0 && s->n_tokens < (size_t)e->o.n_ctx;
    for (int i = step->n_rows - 1 - r->n_guess; last && generates && i < step->n_rows; i++) {
        if (r->out < 0)
            r->out = *n_out;
        e->rows[i].out = (*n_out)++;
    }
    e->states[step->n_seqs] = s->state;
    e->beyond[step->n_seqs] = r->n_guess ? s->spare : NULL;
    e->kept[step->n_seqs] = r->n_rows - r->n_guess;
    e->tables[step->n_seqs++] = s->pages;
}

/* The rows of the next step. False: nobody could get pages, and somebody gave way or was given up for it: plan again. */
static bool plan(qn_engine *e, qn_step *step)
{
    int n_out = 0, writing = 0, known = 0, decode = 0;
    bool wanted = false;
    for (qn_request *r = e->first; r; r = r->next) {
        r->n_rows = r->n_guess = 0;
        r->out = -1;
    }
    for (qn_request *r = e->first; r; r = r->next)
        if (r->phase == QN_WRITING && qn__engine_reserve(e, r, r->seq->n_tokens)) {
            r->n_rows = (int)(r->seq->n_tokens - r->seq->n_done);
            writing++;
            known += r->n_rows; /* beyond one each what was drafted before, and was right: as many as there may be drafts, at most */
        }
    draft(e, writing, known, (e->o.n_chunk - 1 < QN_DRAFT_ROWS ? e->o.n_chunk - 1 : QN_DRAFT_ROWS) - (known - writing));
    for (const qn_request *r = e->first; r; r = r->next)
        decode += r->n_rows;
    find_prefixes(e);
    deal(e, decode, e->o.n_chunk - (decode - writing));
    for (qn_request *r = e->first; r; r = r->next) {
        if (r->n_rows == 0)
            continue;
        wanted = true;
        if (r->phase == QN_READING && qn__seq_reserve(e->pages, r->seq, r->seq->n_done + (size_t)r->n_rows, NULL))
            r->n_rows = 0; /* it waits where it is */
        else
            add_rows(e, r, step, &n_out);
    }
    if (step->n_rows > 0 || !wanted)
        return true;
    if (!qn__engine_yield(e, 1))
        for (qn_request *r = e->first; r; r = r->next)
            if (r->phase == QN_READING) {
                qn_err err = {0};
                (void)qn__fail_mem(&err, "KV pages");
                qn__request_fail(r, &err);
            }
    return false;
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

/* The token that follows, from a row of logits; -1 with err. */
static int32_t choose(qn_engine *e, qn_request *r, float *logits, qn_err *err)
{
    int32_t only = -1;
    if (r->raw)
        memcpy(r->raw, logits, (size_t)e->n_vocab * sizeof *logits);
    if (r->constraint && qn__constraint_mask(r->constraint, logits, e->n_vocab, &only, err))
        return -1;
    if (r->unloop && only < 0)
        r->timings.broken_loops += qn__unloop_apply(r->unloop, logits, e->n_vocab, r->seq->tokens + r->n_prompt, r->seq->n_tokens - r->n_prompt);
    int32_t token = only >= 0 ? only : qn__sampler_pick(r->sampler, logits, r->seq->tokens, r->seq->n_tokens);
    if (token >= 0 && r->replay)
        token = r->replay[r->seq->n_tokens - r->n_prompt];
    if (token < 0)
        (void)qn__engine_no_numbers(e->model->file, err);
    else if (r->constraint && qn__constraint_accept(r->constraint, token, err))
        token = -1;
    return token;
}

/* Whatever was drafted for r was right: a recurrent model's state is the one behind it. */
static void all_right(qn_engine *e, qn_request *r)
{
    qn_seq *s = r->seq;
    float *state = s->state;
    s->state = s->spare;
    s->spare = state;
    qn__seq_done(e->pages, s, (size_t)r->n_guess);
    mark(e, r, false);
}

/* Choose and say tokens for as long as the drafted ones are what was chosen: of those the next row's logits hold. */
static void say(qn_engine *e, qn_request *r)
{
    float *logits = e->logits + (size_t)r->out * (size_t)e->n_vocab;
    r->timings.drafted_tokens += r->n_guess;
    for (int k = 0;; k++, logits += e->n_vocab) {
        qn_err err = {0};
        if (e->state_bytes && k > 0 && k == r->n_guess)
            all_right(e, r);
        int32_t token = choose(e, r, logits, &err);
        if (token < 0) {
            qn__request_fail(r, &err);
            return;
        }
        bool right = k < r->n_guess && r->guess[k] == token;
        r->timings.accepted_tokens += right;
        qn__request_emit(r, token);
        if (!right || r->phase != QN_WRITING)
            return;
        if (!e->state_bytes)
            qn__seq_done(e->pages, r->seq, 1);
    }
}

/* again: rows that were computed before, for the sake of drafts. */
static void speak(qn_engine *e, qn_request *r, int again)
{
    int32_t before = r->timings.accepted_tokens;
    say(e, r);
    const int right = r->timings.accepted_tokens - before;
    qn__drafter_paid(&r->drafter, again, r->price);
    if (r->by_small)
        qn__small_learn(r, r->n_guess, right);
    if (r->draft == 0)
        qn__drafter_tried(&r->drafter, r->n_guess, right, r->price);
}

/* What the step did for r. */
static void settle(qn_engine *e, qn_request *r, double seconds)
{
    bool reading = r->phase == QN_READING;
    const int again = reading ? 0 : r->n_rows - r->n_guess - 1;
    *(r->timings.generated_tokens == 0 ? &r->timings.prefill_s : &r->timings.decode_s) += seconds;
    if (!reading)
        r->client->served += r->n_rows;
    qn__seq_done(e->pages, r->seq, (size_t)(r->n_rows - r->n_guess));
    r->n_rows = 0;
    if (e->state_bytes)
        mark(e, r, reading);
    if (reading) {
        if (r->timings.generated_tokens == 0 && r->seq->n_done > r->n_read) {
            r->news_read = true;
            r->n_read = r->seq->n_done;
        }
        if (r->seq->n_done < r->seq->n_tokens)
            return;
        r->phase = QN_WRITING;
    }
    if (atomic_load_explicit(&r->cancelled, memory_order_relaxed))
        qn__request_end(r, QN_END_CANCELLED);
    else if (r->max_tokens == 0)
        qn__request_end(r, QN_END_LENGTH);
    else if (r->out < 0)
        qn__request_end(r, QN_END_CONTEXT);
    else
        speak(e, r, again);
}

qn_status qn__engine_no_numbers(const char *where, qn_err *err)
{
    return qn__fail(err, QN_EFORMAT, where,
                    "the model computed logits that are not numbers; the file is damaged, download or convert it again");
}

static void look_back(qn_engine *e)
{
    qn_step_stats *l = &e->last_step;
    for (const qn_request *r = e->first; r; r = r->next) {
        if (r->phase == QN_READING) {
            l->prefill += r->n_rows;
            l->depth += r->n_rows * ((double)r->seq->n_done + 0.5 * r->n_rows);
        } else {
            l->decode += r->n_rows;
            l->drafted += r->n_guess;
        }
    }
    if (l->prefill)
        l->depth /= l->prefill;
}

qn_status qn__engine_step(qn_engine *e, qn_err *err)
{
    double start = qn__now();
    e->last_step = (qn_step_stats){0};
    /* A step that was abandoned half-way has left recurrent states advanced in some layers and not in others, and nothing
     * brings them back (pages are simply written again): such a step runs to its end. */
    qn_step step = {.rows = e->rows, .pages = e->tables, .states = e->states, .logits = e->logits, .beyond = e->beyond, .kept = e->kept,
                    .cancelled = e->state_bytes ? NULL : step_cancelled, .cancel_arg = e};
    qn__engine_admit(e, start);
    while (!plan(e, &step))
        ;
    if (step.n_rows == 0)
        return QN_OK;
    start = qn__now(); /* reading from disk is not computing */
    look_back(e);
    qn_status st = qn__context_step(e->context, &step, err);
    double seconds = e->last_step.seconds = qn__now() - start;
    if (st == QN_ECANCELLED) { /* the next step's admit ends whom it concerns */
        for (qn_request *r = e->first; r; r = r->next) {
            if (r->n_rows)
                *(r->timings.generated_tokens == 0 ? &r->timings.prefill_s : &r->timings.decode_s) += seconds;
            r->n_rows = 0;
        }
        return QN_OK;
    }
    if (st)
        return st;
    qn__cost_learn(&e->cost, e->last_step.prefill, e->last_step.depth, e->last_step.decode, seconds);
    if (e->last_step.decode == 0)
        qn__pages_timed(e->pages, (size_t)e->last_step.prefill, seconds);
    for (qn_request *r = e->first, *next; r; r = next) {
        next = r->next;
        if (r->n_rows)
            settle(e, r, seconds);
    }
    qn__pages_tick(e->pages);
    return QN_OK;
}
