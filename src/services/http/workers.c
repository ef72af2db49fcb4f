/* workers.c - threads that handle requests, and do what must not be done on a network or scheduler thread. See server.h. */
#include "services/http/http_int.h"

static void work(void *arg)
{
    http_server *s = arg;
    qn__lock(&s->lock);
    for (;;) {
        while (!s->tasks && !s->quit)
            qn__cond_wait(&s->work, &s->lock);
        http_task *t = s->tasks;
        if (!t)
            break;
        s->tasks = t->next;
        if (!s->tasks)
            s->tasks_end = &s->tasks;
        s->waiting -= t->request;
        s->busy++;
        qn__unlock(&s->lock);
        t->fn(t->arg);
        qn__lock(&s->lock);
        s->busy--;
        qn__cond_broadcast(&s->quiet);
    }
    qn__unlock(&s->lock);
}

qn_status http__workers_start(http_server *s, qn_err *err)
{
    s->tasks_end = &s->tasks;
    for (int i = 0; i < s->o.workers; i++) {
        qn_status st = qn__thread_start(work, s, &s->workers[i], err);
        if (st)
            return st;
    }
    return QN_OK;
}

bool http__work(http_server *s, http_task *t, void (*fn)(void *arg), void *arg, bool request)
{
    *t = (http_task){.fn = fn, .arg = arg, .request = request};
    qn__lock(&s->lock);
    const bool ok = !request || s->waiting < s->o.max_waiting;
    if (ok) {
        *s->tasks_end = t;
        s->tasks_end = &t->next;
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
