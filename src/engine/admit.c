/* admit.c - who waits, who runs, who gives way.
 *
 * Shares: a client that has fewer requests running, then one that has been served fewer rows, comes first; of one client's
 * requests the one that came first. A new client begins where the least served one stands, so that having been away earns
 * nothing. When all places are taken and a client has none, the one that has most gives one up.
 *
 * Pages: a request runs when the pages for all that it has to read, and one more, can be had beside what the running ones are
 * still going to need for theirs. Output is not reckoned with: when pages run out, the youngest waits again, and its pages are
 * kept as long as nobody needs them. So the oldest always gets on, and a request that runs is never failed for want of
 * pages as long as one context fits. */
#include "base/err.h"
#include "engine/small.h"

static size_t pages_of(size_t tokens)
{
    return (tokens + QN_PAGE_TOKENS - 1) / QN_PAGE_TOKENS;
}

static bool runs(const qn_request *r)
{
    return r->phase == QN_READING || r->phase == QN_WRITING;
}

/* ---- pages ---- */

/* The first pages that r has from somebody before it in the list. */
static size_t shared_pages(const qn_engine *e, const qn_request *r)
{
    size_t most = 0;
    for (const qn_request *o = e->first; o != r; o = o->next) {
        size_t n = 0;
        while (runs(o) && n < o->seq->n_pages && n < r->seq->n_pages && o->seq->ids[n] == r->seq->ids[n])
            n++;
        most = n > most ? n : most;
    }
    return most;
}

/* Pages that the running have or are going to need for what they have to read and their next token. */
static size_t taken_pages(const qn_engine *e)
{
    size_t n = 0;
    for (const qn_request *r = e->first; r; r = r->next) {
        if (!runs(r))
            continue;
        size_t need = pages_of(r->seq->n_tokens + 1), have = r->seq->n_pages;
        n += (have > need ? have : need) - shared_pages(e, r);
    }
    return n;
}

static bool has_room(const qn_engine *e, const qn_request *r)
{
    size_t all = (size_t)e->max_pages, taken = taken_pages(e), need = pages_of(r->seq->n_tokens + 1) + 1, shared = 0;
    if (taken + need <= all)
        return true;
    for (const qn_request *o = e->first; o; o = o->next)
        if (runs(o)) {
            size_t n = qn__seq_common(r->seq, r->seq->n_tokens - 1, o->seq, o->seq->n_done) / QN_PAGE_TOKENS;
            shared = n > shared ? n : shared;
        }
    return taken + need - shared <= all;
}

/* ---- giving way ---- */

/* r waits again; what it computed is kept. False when there is no memory for that: then it runs on. */
static bool requeue(qn_request *r)
{
    qn_engine *e = r->e;
    qn_seq *fresh;
    if (qn__seq_open(r->seq->tokens, r->seq->n_tokens, &fresh, NULL))
        return false;
    fresh->session = r->seq->session;
    qn__pages_keep(e->pages, r->seq);
    qn__small_leave(r);
    r->seq = fresh;
    r->phase = QN_QUEUED;
    r->again = true;
    r->n_rows = 0;
    r->n_wants = 0;
    r->moving = 0;
    (void)qn__request_want(r, fresh->n_tokens - 1);
    e->n_running--;
    r->client->n_running--;
    return true;
}

bool qn__engine_yield(qn_engine *e, int least)
{
    if (e->n_running <= least)
        return false;
    for (qn_request *r = e->last; r; r = r->prev)
        if (runs(r) && r->n_rows == 0 && requeue(r))
            return true;
    return false;
}

bool qn__engine_reserve(qn_engine *e, qn_request *r, size_t n)
{
    qn_err err = {0};
    while (qn__seq_reserve(e->pages, r->seq, n, &err)) {
        qn_request *v = e->last;
        while (v != r && !(runs(v) && v->n_rows == 0 && requeue(v)))
            v = v->prev;
        if (v != r)
            continue;
        if (e->n_running == 1 || !requeue(r))
            qn__request_fail(r, &err);
        return false;
    }
    return true;
}

/* ---- letting in ---- */

static bool before(const qn_request *a, const qn_request *b)
{
    const qn_client *x = a->client, *y = b->client;
    return x->n_running != y->n_running ? x->n_running < y->n_running : x->served < y->served;
}

static qn_request *next_queued(const qn_engine *e)
{
    qn_request *best = NULL;
    for (qn_request *r = e->first; r; r = r->next)
        if (r->phase == QN_QUEUED && (!best || before(r, best)))
            best = r;
    return best;
}

/* All places are taken, r's client has none: the youngest of the client that has most, and more than one, waits again. */
static bool make_place(qn_engine *e, const qn_request *r)
{
    qn_request *young = NULL;
    if (r->client->n_running > 0)
        return false;
    for (qn_request *o = e->first; o; o = o->next)
        if (runs(o) && o->client->n_running > 1 && (!young || o->client->n_running >= young->client->n_running))
            young = o;
    return young && requeue(young);
}

void qn__engine_admit(qn_engine *e, double now)
{
    for (qn_request *r = e->first; r; r = r->next) {
        if (r->phase == QN_ENDED)
            continue;
        if (atomic_load_explicit(&r->cancelled, memory_order_relaxed))
            qn__request_end(r, QN_END_CANCELLED);
        else if (now >= r->deadline)
            qn__request_end(r, QN_END_DEADLINE);
    }
    for (qn_request *r; (r = next_queued(e));) {
        if ((e->n_running > 0 && !has_room(e, r)) || (e->n_running >= e->o.max_seqs && !make_place(e, r)))
            break;
        r->phase = QN_READING;
        r->behind = true; /* look for its prefix */
        r->client->n_running++;
        e->n_running++;
    }
}
