/* watch.c - the watcher: sees clients go, requests dawdle, streams rest. See server.h.
 *
 * libmicrohttpd does not look at a connection that is suspended, which is most of the time that an answer takes; so the
 * sockets of requests being answered are in a set of our own, which only asks for the other side's end. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/http/http_int.h"

enum { EVENTS = 64, TICK_MS = 250, BODY_RATE = 16 << 10 };

void http__watch_add(http_server *s, http_conn *c)
{
    struct epoll_event e = {.events = EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLONESHOT, .data.u64 = c->id};
    c->watched = epoll_ctl(s->epoll, EPOLL_CTL_ADD, c->fd, &e) == 0;
}

void http__watch_remove(http_server *s, http_conn *c)
{
    if (c->watched)
        (void)epoll_ctl(s->epoll, EPOLL_CTL_DEL, c->fd, NULL);
    c->watched = false;
}

static void went(http_server *s, uint64_t id)
{
    http_exchange *x = NULL;
    qn__lock(&s->lock);
    for (http_conn *c = s->conns; c; c = c->next)
        if (c->id == id)
            x = c->x;
    if (x)
        http_hold(x);
    qn__unlock(&s->lock);
    if (x) {
        http__exchange_gone(x);
        http_release(x);
    }
}

static bool dawdles(const http_server *s, const http_conn *c, double now)
{
    const double t = now - c->since;
    switch (c->phase) {
    case HTTP_IDLE: return t > s->o.idle_s;
    case HTTP_HEAD: return t > s->o.body_s;
    case HTTP_BODY: return t > s->o.body_s + (double)c->received / BODY_RATE;
    case HTTP_ANSWER: break;
    }
    return false;
}

/* Shut what dawdles; collect what is being answered. The list cannot be walked unlocked, so exchanges are held in rounds. */
static void tick(http_server *s, double now)
{
    http_exchange *some[EVENTS];
    uint64_t from = 0; /* connections are in the list newest first */
    for (bool more = true; more;) {
        size_t n = 0;
        more = false;
        qn__lock(&s->lock);
        for (http_conn *c = s->conns; c; c = c->next) {
            if (from && c->id >= from)
                continue;
            if (n == EVENTS) {
                more = true;
                break;
            }
            from = c->id;
            if (dawdles(s, c, now))
                (void)shutdown(c->fd, SHUT_RDWR);
            if (c->phase == HTTP_ANSWER && c->x) {
                some[n++] = c->x;
                http_hold(c->x);
            }
        }
        qn__unlock(&s->lock);
        for (size_t i = 0; i < n; i++) {
            http__exchange_rest(some[i], now);
            http_release(some[i]);
        }
    }
}

static void watch(void *arg)
{
    http_server *s = arg;
    struct epoll_event e[EVENTS];
    double next = qn__now() + TICK_MS / 1e3;
    for (bool quit = false; !quit;) {
        double now = qn__now();
        int wait = now >= next ? 0 : (int)((next - now) * 1e3) + 1;
        int n = epoll_wait(s->epoll, e, EVENTS, wait);
        for (int i = 0; i < n; i++) {
            if (e[i].data.u64)
                went(s, e[i].data.u64);
            else
                quit = true;
        }
        now = qn__now();
        if (now >= next) {
            tick(s, now);
            next = qn__now() + TICK_MS / 1e3;
        }
    }
}

qn_status http__watch_start(http_server *s, qn_err *err)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 0};
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->epoll < 0 || s->wake < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->wake, &e) < 0)
        return qn__fail(err, QN_EIO, "serve", "the system gives no event queue: error %d", errno);
    return qn__thread_start(watch, s, &s->watcher, err);
}

void http__watch_stop(http_server *s)
{
    const uint64_t one = 1;
    if (s->watcher && write(s->wake, &one, sizeof one) == (ssize_t)sizeof one)
        qn__thread_join(s->watcher);
    s->watcher = NULL;
    if (s->epoll >= 0)
        (void)close(s->epoll);
    if (s->wake >= 0)
        (void)close(s->wake);
    s->epoll = s->wake = -1;
}
