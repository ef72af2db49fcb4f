/* tiers.c - between memory and disk: which pages are written, and when; which are read back.
 *
 *   computed -> DUE -> WRITING (pinned; the writer reads the page where it lies) -> THERE
 *
 * A page is due as soon as it is whole; it is written together with those that follow it: when there are QN_RUN of them, when
 * the sequence is over, or when it has waited a second. So a process that is killed loses a second's work at most, and a long
 * prompt makes few files. Of a recurrent model pages are due only up to where a state stands that is worth keeping: without it
 * they are of no use.
 *
 * The writer may have `max_writing` pages at a time; what comes faster than the disk takes it waits, and may give way unwritten. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "engine/pages_int.h"

enum { T = QN_PAGE_TOKENS };
enum { NOWHERE, DUE, WRITING, THERE };
static const double WAIT_S = 1, TOUCH_S = 60, FLUSH_S = 10;

/* ---- what is due ---- */

static void due(qn_pages *p, qn_tree_node *x)
{
    x->disk = DUE;
    x->due_since = qn__now();
    x->due_next = NULL;
    x->due_prev = p->due_last;
    *(p->due_last ? &p->due_last->due_next : &p->due_first) = x;
    p->due_last = x;
}

static void not_due(qn_pages *p, qn_tree_node *x)
{
    *(x->due_prev ? &x->due_prev->due_next : &p->due_first) = x->due_next;
    *(x->due_next ? &x->due_next->due_prev : &p->due_last) = x->due_prev;
    x->due_next = x->due_prev = NULL;
}

static bool state_lacks(const qn_tree_node *x)
{
    return x->snap && !x->state_there;
}

void qn__tiers_add(qn_pages *p, qn_tree_node *x)
{
    if (!p->disk || x->n < T)
        return;
    if (!p->snaps.state_bytes) {
        due(p, x);
        return;
    }
    if (!x->snap)
        return;
    qn_tree_node *path = x; /* the top of what is not there yet comes first */
    while (path->parent && path->parent->depth && !path->parent->resumable)
        path = path->parent;
    for (qn_tree_node *y = x; y->depth && !y->resumable; y = y->parent)
        y->resumable = true;
    for (uint32_t depth = path->depth; depth <= x->depth; depth++) {
        qn_tree_node *y = x;
        while (y->depth > depth)
            y = y->parent;
        if (y->disk == NOWHERE || (y->disk == THERE && y == x && state_lacks(y)))
            due(p, y);
    }
}

void qn__tiers_remove(qn_pages *p, qn_tree_node *x)
{
    if (x->disk != DUE)
        return;
    not_due(p, x);
    p->lost++;
}

/* ---- writing ---- */

/* The run that begins with x: nodes[0..n). */
static uint32_t gather(qn_tree_node *x, qn_tree_node **nodes)
{
    uint32_t n = 0;
    while (x && n < QN_RUN) {
        nodes[n++] = x;
        qn_tree_node *next = NULL;
        for (uint32_t i = 0; i < x->n_kids && !next; i++)
            if (x->kids[i]->disk == DUE)
                next = x->kids[i];
        x = next;
    }
    return n;
}

static void copy_tokens(int32_t *to, const qn_tree_node *x)
{
    for (; x->depth; x = x->parent)
        memcpy(to + (size_t)(x->depth - 1) * T, x->tokens, T * sizeof *to);
}

/* False when memory is short. */
static bool send(qn_pages *p, qn_tree_node **nodes, uint32_t n)
{
    qn_disk_job *j = qn__disk_job();
    if (j)
        j->tokens = qn__alloc((size_t)nodes[n - 1]->depth * T * sizeof *j->tokens);
    if (!j || !j->tokens) {
        qn__disk_job_free(j);
        return false;
    }
    j->run.first = nodes[0]->depth - 1;
    j->run.n = n;
    copy_tokens(j->tokens, nodes[n - 1]);
    for (uint32_t i = 0; i < n; i++) {
        qn_tree_node *x = nodes[i];
        not_due(p, x);
        x->disk = WRITING;
        qn__tree_pin(p->tree, x);
        j->nodes[i] = x;
        j->pages[i] = p->slots[x->page].data;
        j->run.page[i] = (qn_run_page){.name = x->name, .has_state = x->snap != NULL};
        if (x->snap) {
            qn__snapshot_hold(x->snap);
            j->snaps[i] = x->snap;
            j->states[i] = x->snap->state;
        }
    }
    for (const qn_tree_node *x = nodes[0]->parent; x->depth; x = x->parent)
        qn__disk_job_touch(p->disk, j, x->name);
    p->n_writing += n;
    qn__disk_put(p->disk, j);
    return true;
}

static void reap(qn_pages *p, bool wait, double until)
{
    for (qn_disk_job *j; (j = qn__disk_reap(p->disk, wait, until)); wait = false) {
        for (uint32_t i = 0; i < j->run.n; i++) {
            qn_tree_node *x = j->nodes[i];
            x->disk = j->written ? THERE : NOWHERE;
            x->state_there = j->written && j->snaps[i];
            if (j->snaps[i])
                qn__snapshot_release(&p->snaps, j->snaps[i]);
            qn__tree_unpin(p->tree, x);
            if (!j->written) /* its turn comes again */
                due(p, x);
        }
        p->n_writing -= j->run.n;
        qn__disk_job_free(j);
    }
}

static void write_due(qn_pages *p, bool all)
{
    double now = qn__now();
    bool state;
    if (!p->due_first || !qn__disk_writable(p->disk))
        return;
    for (qn_tree_node *x = p->due_first, *next; x && p->n_writing < p->max_writing; x = next) {
        qn_tree_node *nodes[QN_RUN];
        uint32_t n = gather(x, nodes);
        bool there = qn__disk_find(p->disk, x->name, &state);
        next = x->due_next;
        if (there && (state || !state_lacks(x))) { /* another process wrote it, or an earlier life */
            not_due(p, x);
            x->disk = THERE;
            x->state_there = state;
        } else if (all || n == QN_RUN || now - x->due_since >= WAIT_S) {
            if (!send(p, nodes, n))
                return;
            next = p->due_first; /* the run may have taken what came next */
        }
    }
}

void qn__pages_tick(qn_pages *p)
{
    if (!p->disk)
        return;
    reap(p, false, 0);
    write_due(p, false);
}

void qn__tiers_settle(qn_pages *p, qn_tree_node *x)
{
    if (!p->disk)
        return;
    for (qn_tree_node *y = x; y->depth; y = y->parent)
        if (y->disk == DUE)
            y->due_since = -INFINITY;
    double now = qn__now();
    if (x->touched == 0 || now - x->touched > TOUCH_S) { /* what is used in memory is in use on disk, too */
        qn_disk_job *j = qn__disk_job();
        for (const qn_tree_node *y = x; j && y->depth; y = y->parent)
            if (y->disk == THERE)
                qn__disk_job_touch(p->disk, j, y->name);
        x->touched = now;
        if (j && j->n_touch)
            qn__disk_put(p->disk, j);
        else
            qn__disk_job_free(j);
    }
    qn__pages_tick(p);
}

void qn__pages_flush(qn_pages *p)
{
    if (!p->disk)
        return;
    double until = qn__now() + FLUSH_S;
    while (qn__now() < until) {
        reap(p, false, 0);
        write_due(p, true);
        if (p->n_writing == 0)
            break;
        reap(p, true, until);
    }
}

qn_status qn__pages_disk(qn_pages *p, const char *dir, uint64_t max_bytes, const qn_root *root, qn_err *err)
{
    enum { WRITING_BYTES = 256 << 20 };
    size_t n = WRITING_BYTES / p->page_bytes;
    p->max_writing = n < QN_RUN ? QN_RUN : n > 1024 ? 1024 : n;
    if ((int64_t)p->max_pages + (int64_t)p->max_writing + QN_RUN <= INT32_MAX)
        p->max_pages += (int32_t)p->max_writing + QN_RUN; /* what the writer holds must not be lacking to those who run */
    qn_name name = qn__root_name(root);
    qn__tree_root(p->tree)->name = name;
    return qn__disk_open(dir, max_bytes, root, &p->disk, err);
}

void qn__tiers_close(qn_pages *p)
{
    if (!p->disk)
        return;
    qn__disk_stop(p->disk);
    reap(p, false, 0);
    qn__disk_close(p->disk);
    p->disk = NULL;
}

/* ---- reading ---- */

void qn__pages_timed(qn_pages *p, size_t tokens, double seconds)
{
    enum { ENOUGH = 32 }; /* fewer tokens say more about reading weights */
    if (tokens < ENOUGH || !(seconds > 0))
        return;
    double x = seconds / (double)tokens;
    p->token_seconds = p->token_seconds > 0 ? 0.8 * p->token_seconds + 0.2 * x : x;
}

static bool worth_reading(qn_pages *p)
{
    double rate = qn__disk_rate(p->disk);
    if (rate == 0 || p->token_seconds == 0 || (double)p->page_bytes / rate < p->token_seconds * T)
        return true;
    qn__disk_forget_rate(p->disk);
    return false;
}

/* How many pages the disk has behind x, of tokens[0..n): of a recurrent model, up to where it has a state. */
static size_t on_disk(const qn_pages *p, const qn_tree_node *x, const int32_t *tokens, size_t n, qn_name *names, size_t most)
{
    qn_name name = x->name;
    size_t k = 0, usable = 0;
    bool state;
    while (k < most && (k + 1) * T <= n) {
        name = qn__tree_name(p->tree, name, tokens + k * T);
        if (!qn__disk_find(p->disk, name, &state))
            break;
        names[k++] = name;
        if (!p->snaps.state_bytes || state)
            usable = k;
    }
    return usable;
}

/* Up to n pages behind x into the tree; the last of them, or x. */
static qn_tree_node *read_run(qn_pages *p, qn_tree_node *x, const qn_seq *s, const qn_name *names, size_t n, bool *more)
{
    unsigned char *data[QN_RUN];
    int32_t ids[QN_RUN];
    size_t want = n < QN_RUN ? n : QN_RUN, have = 0, got = 0;
    while (have < want && (ids[have] = qn__page_take(p, s->session)) >= 0) {
        data[have] = p->slots[ids[have]].data;
        have++;
    }
    if (have)
        got = qn__disk_read(p->disk, s->tokens, x->depth, names, have, data);
    size_t used = 0;
    for (qn_tree_node *kid; used < got; used++, x = kid) {
        kid = qn__tree_add(p->tree, x, s->tokens + (size_t)x->depth * T, T, ids[used]);
        if (!kid)
            break;
        kid->disk = THERE;
        qn__tree_pin(p->tree, kid);
        qn__tree_unpin(p->tree, x);
    }
    p->restored += used;
    *more = used > 0;
    for (size_t i = used; i < have; i++)
        qn__page_drop(p, ids[i]);
    return x;
}

/* The last state at or before x that the disk has and memory has not. */
static void read_state(qn_pages *p, qn_tree_node *x, const qn_seq *s)
{
    bool there;
    for (; x->depth && !x->snap; x = x->parent) {
        if (!qn__disk_find(p->disk, x->name, &there) || !there)
            continue;
        float *state = qn__alloc_aligned(p->snaps.state_bytes);
        if (!state)
            return;
        if (qn__disk_read_state(p->disk, s->tokens, x->depth - 1, x->name, state)) {
            qn__snapshot_give(&p->snaps, &x->snap, state);
            x->state_there = x->resumable = true;
            return;
        }
        qn__free_aligned(state);
    }
}

void qn__pages_let_go(qn_pages *p, qn_seq *s)
{
    if (s->held)
        qn__tree_unpin(p->tree, s->held);
    s->held = NULL;
}

bool qn__pages_restore(qn_pages *p, qn_seq *s, size_t limit, double until)
{
    if (!p->disk)
        return false;
    reap(p, false, 0);
    qn__disk_refresh(p->disk);
    size_t pages = limit / T, most;
    qn_name *names = qn__alloc((pages + 1) * sizeof *names);
    qn_tree_node *x = qn__tree_root(p->tree), *kid;
    if (!names)
        return false;
    while (x->depth < pages && (kid = qn__tree_child(x, s->tokens + (size_t)x->depth * T)))
        x = kid;
    size_t at = (size_t)x->depth, from = 0;
    bool again = false, more = true;
    most = on_disk(p, x, s->tokens + at * T, limit - at * T, names, pages - at);
    qn__tree_pin(p->tree, x);
    qn__pages_let_go(p, s);
    while (from < most && more && worth_reading(p)) {
        if (from && qn__now() >= until) {
            again = true;
            break;
        }
        x = read_run(p, x, s, names + from, most - from, &more);
        from = x->depth - at;
    }
    if (p->snaps.state_bytes && !again)
        read_state(p, x, s);
    s->held = x; /* what was read must not give way before it is taken over */
    qn_free(names);
    return again;
}
