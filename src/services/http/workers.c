/* workers.c - threads that handle requests, and do what must not be done on a network or scheduler thread. See server.h.
 *
 * `workers` requests are handled at a time; a handler that waits for something (http_wait_begin) does not count, and a further
 * thread stands in for it. One thread always remains for what was deferred: what is waited for often hangs on just that. */
#include "services/http/http_int.h"

/* Under lock: what a thread that is free is to do. */
static http_task *take(http_server *s)
{
    const bool may = s->busy - s->blocked < s->o.workers && s->busy + 1 < s->n_workers;
    http_tasks *q = s->deferred.first ? &s->deferred : may ? &s->requests_due : NULL;
    http_task *t = q ? q->first : NULL;
    if (!t)
        return NULL;
    q->first = t->next;
    if (!q->first)
        q->end = &q->first;
    s->waiting -= t->request;
    return t;
}

static void work(void *arg)
{
    http_server *s = arg;
    qn__lock(&s->lock);
    for (;;) {
        http_task *t;
        while (!(t = take(s)) && !s->quit)
            qn__cond_wait(&s->work, &s->lock);
        if (!t) /* what is left is taken by those that are at work */
            break;
        s->busy++;
        qn__unlock(&s->lock);
        t->fn(t->arg);
        qn__lock(&s->lock);
        s->busy--;
        qn__cond_broadcast(&s->quiet);
    }
    qn__unlock(&s->lock);
}

/* Under lock: as many threads as there should be, beside those that wait. */
static qn_status add_workers(http_server *s, qn_err *err)
{
    qn_status st = QN_OK;
    while (!st && !s->quit && s->n_workers < s->o.workers + 1 + s->blocked && s->n_workers < HTTP_WORKERS) {
        st = qn__thread_start(work, s, &s->workers[s->n_workers], err);
        s->n_workers += !st;
    }
    return st;
}

qn_status http__workers_start(http_server *s, qn_err *err)
{
    s->deferred.end = &s->deferred.first;
    s->requests_due.end = &s->requests_due.first;
    qn__lock(&s->lock);
    qn_status st = add_workers(s, err);
    qn__unlock(&s->lock);
    return st;
}

bool http__work(http_server *s, http_task *t, void (*fn)(void *arg), void *arg, bool request)
{
    *t = (http_task){.fn = fn, .arg = arg, .request = request};
    qn__lock(&s->lock);
    const bool ok = !request || s->waiting < s->o.max_waiting;
    if (ok) {
        http_tasks *q = request ? &s->requests_due : &s->deferred;
        *q->end = t;
        q->end = &t->next;
        s->waiting += request;
        qn__cond_signal(&s->work);
    }
    qn__unlock(&s->lock);
    return ok;
}

void http_defer(http_server *s, http_task *t, void (*fn)(void *arg), void *arg)
{
    (void)http__work(s, t, fn, arg, false);
}

void http_wait_begin(http_exchange *x)
{
    http_server *s = x->s;
    qn__lock(&s->lock);
    s->blocked++;
    (void)add_workers(s, NULL); /* with fewer, others wait with it */
    qn__cond_signal(&s->work);
    qn__unlock(&s->lock);
}

void http_wait_end(http_exchange *x)
{
    qn__lock(&x->s->lock);
    x->s->blocked--;
    qn__unlock(&x->s->lock);
}

void http__workers_stop(http_server *s)
{
    qn__lock(&s->lock);
    s->quit = true;
    qn__cond_broadcast(&s->work);
    qn__unlock(&s->lock);
    for (int i = 0; i < HTTP_WORKERS; i++) {
        qn__thread_join(s->workers[i]);
        s->workers[i] = NULL;
    }
}
