/* server.c - listeners, connections and the way of a request through them. See server.h. */
#include <errno.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/http/http_int.h"

/* A body that is too large is read to its end and thrown away, so that the client reads why; but not without end. */
static const uint64_t DISCARD_LIMIT = (uint64_t)256 << 20;

/* ---- requests ---- */

static void handle(void *arg)
{
    http_exchange *x = arg;
    if (!http_is_gone(x))
        x->s->o.handle(x->s->o.arg, x);
    if (http_is_gone(x) && !http_is_answered(x))
        http_respond(x, 499, NULL, "", 0); /* nobody reads it; the connection must end */
    http_release(x);
}

static void set_phase(http_exchange *x, http_phase phase)
{
    http_server *s = x->s;
    qn__lock(&s->lock);
    x->conn->phase = phase;
    x->conn->since = qn__now();
    if (phase == HTTP_ANSWER)
        http__watch_add(s, x->conn);
    qn__unlock(&s->lock);
}

/* Nothing happens on this connection until it is resumed by wake(). False: it was answered just now. */
static bool suspend(http_exchange *x, struct MHD_Connection *c)
{
    qn__lock(&x->lock);
    const bool waits = !x->answered;
    if (waits) {
        x->suspended = true;
        MHD_suspend_connection(c);
    }
    qn__unlock(&x->lock);
    return waits;
}

/* The request is here whole. */
static enum MHD_Result dispatch(http_exchange *x, struct MHD_Connection *c)
{
    http_server *s = x->s;
    if (x->handed) { /* resumed */
        if (http_is_answered(x))
            return http__exchange_queue(x);
        return MHD_NO;
    }
    x->handed = true;
    if (!http_is_answered(x) && x->too_large)
        s->o.refuse(s->o.arg, x, 413, "the body is too large");
    if (!http_is_answered(x) && x->body.failed)
        s->o.refuse(s->o.arg, x, 503, "there is no memory for the body");
    if (http_is_answered(x))
        return http__exchange_queue(x);
    if (x->quick) {
        s->o.handle(s->o.arg, x);
        if (http_is_answered(x))
            return http__exchange_queue(x);
    }
    set_phase(x, HTTP_ANSWER);
    if (!suspend(x, c))
        return http__exchange_queue(x);
    if (!x->quick) {
        http_hold(x);
        if (!http__work(s, &x->task, handle, x, true)) {
            s->o.refuse(s->o.arg, x, 503, "too many requests wait");
            http_release(x);
        }
    }
    return MHD_YES;
}

/* How long the body says it is; SIZE_MAX for what is no number. */
static uint64_t declared(const http_exchange *x)
{
    const char *v = http_header(x, "content-length");
    char *end = NULL;
    if (!v)
        return 0;
    errno = 0;
    unsigned long long n = strtoull(v, &end, 10);
    return errno || !end || *end ? UINT64_MAX : (uint64_t)n;
}

static enum MHD_Result begin(http_server *s, struct MHD_Connection *c, const char *url, const char *method,
                             const char *version, void **state)
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    http_conn *conn = i ? i->socket_context : NULL;
    http_exchange *x = conn ? http__exchange_open(s, c, conn, url, method) : NULL;
    if (!x)
        return MHD_NO;
    *state = x;
    const union MHD_ConnectionInfo *tls = MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    x->tls = tls && tls->tls_session;
    x->old = strcmp(version, MHD_HTTP_VERSION_1_0) == 0;
    s->o.head(s->o.arg, x);
    const uint64_t n = declared(x);
    const char *expect = http_header(x, "expect");
    x->too_large = n > s->o.body_limit;
    if ((x->too_large || http_is_answered(x)) && (n > DISCARD_LIMIT || (expect && strcasecmp(expect, "100-continue") == 0))) {
        if (!http_is_answered(x))
            s->o.refuse(s->o.arg, x, 413, "the body is too large");
        x->handed = true;
        return http__exchange_queue(x);
    }
    return MHD_YES;
}

static enum MHD_Result access_handler(void *arg, struct MHD_Connection *c, const char *url, const char *method,
                                      const char *version, const char *upload, size_t *n_upload, void **state)
{
    http_server *s = arg;
    http_exchange *x = *state;
    if (!x)
        return begin(s, c, url, method, version, state);
    if (!*n_upload)
        return dispatch(x, c);
    qn__lock(&s->lock);
    x->conn->received += *n_upload;
    const size_t received = x->conn->received;
    qn__unlock(&s->lock);
    if (received > s->o.body_limit) {
        x->too_large = true;
        qn__buf_free(&x->body);
    } else if (!x->too_large && !http_is_answered(x)) {
        qn__buf_put(&x->body, upload, *n_upload);
    }
    *n_upload = 0;
    return received > DISCARD_LIMIT ? MHD_NO : MHD_YES;
}

static void completed(void *arg, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode why)
{
    (void)arg;
    (void)c;
    if (*state)
        http__exchange_completed(*state, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    *state = NULL;
}

/* ---- connections ---- */

static void *uri(void *arg, const char *text, struct MHD_Connection *c)
{
    http_server *s = arg;
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    http_conn *conn = i ? i->socket_context : NULL;
    (void)text;
    if (conn) {
        qn__lock(&s->lock);
        conn->phase = HTTP_HEAD;
        conn->since = qn__now();
        qn__unlock(&s->lock);
    }
    return NULL;
}

static void connection(void *arg, struct MHD_Connection *c, void **context, enum MHD_ConnectionNotificationCode what)
{
    http_server *s = arg;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
        http_conn *n = qn__calloc(1, sizeof *n);
        *context = n;
        if (!n || !i) {
            qn_free(n);
            *context = NULL;
            return;
        }
        n->fd = i->connect_fd;
        n->since = qn__now();
        qn__lock(&s->lock);
        n->id = ++s->next_conn;
        n->next = s->conns;
        if (n->next)
            n->next->prev = n;
        s->conns = n;
        s->n_conns++;
        s->accepted++;
        qn__unlock(&s->lock);
        return;
    }
    http_conn *n = *context;
    if (!n)
        return;
    qn__lock(&s->lock);
    http__watch_remove(s, n);
    *(n->prev ? &n->prev->next : &s->conns) = n->next;
    if (n->next)
        n->next->prev = n->prev;
    s->n_conns--;
    qn__cond_broadcast(&s->quiet);
    qn__unlock(&s->lock);
    qn_free(n);
    *context = NULL;
}

static void silent(void *arg, const char *format, va_list ap)
{
    (void)arg;
    (void)format;
    (void)ap;
}

/* ---- listening ---- */

static qn_status bind_to(const char *host, uint16_t port, int *out, qn_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *a = NULL;
    char service[8], where[160];
    qn_status st = QN_OK;
    int on = 1;
    (void)snprintf(service, sizeof service, "%u", port);
    (void)snprintf(where, sizeof where, "%.120s:%s", host, service);
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    hints.ai_flags |= AI_NUMERICHOST;
    int rc = getaddrinfo(host, service, &hints, &a);
    if (rc)
        return qn__fail(err, QN_EINVAL, where, "is no address: %s; give a numeric one such as 127.0.0.1", gai_strerror(rc));
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 || bind(fd, a->ai_addr, a->ai_addrlen) < 0 ||
        listen(fd, 511) < 0) {
        st = qn__fail(err, QN_EIO, where, "cannot listen: %s%s", strerror(errno),
                      errno == EADDRINUSE ? "; another server is there, choose another port" : "");
        if (fd >= 0)
            (void)close(fd);
    } else {
        *out = fd;
    }
    freeaddrinfo(a);
    return st;
}

bool http_is_local(const char *host, int fd)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    unsigned char ip[16];
    if (fd >= 0) {
        if (getsockname(fd, (struct sockaddr *)&a, &n) < 0)
            return false;
        if (a.ss_family == AF_INET)
            return ntohl(((struct sockaddr_in *)&a)->sin_addr.s_addr) >> 24 == 127;
        if (a.ss_family == AF_INET6)
            return IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *)&a)->sin6_addr);
        return a.ss_family == AF_UNIX;
    }
    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, ip) == 1)
        return ip[0] == 127;
    return inet_pton(AF_INET6, host, ip) == 1 && IN6_IS_ADDR_LOOPBACK((struct in6_addr *)(void *)ip);
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &n) < 0)
        return 0;
    if (a.ss_family == AF_INET)
        return ntohs(((struct sockaddr_in *)&a)->sin_port);
    if (a.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&a)->sin6_port);
    return 0;
}

qn_status http_server_listen(http_server *s, const http_listen *l, uint16_t *port, qn_err *err)
{
    int fd = l->fd;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem options[16];
    size_t n = 0;
    if (s->n_daemons == HTTP_LISTENERS)
        return qn__fail(err, QN_EINVAL, l->host, "more than %d ports are too many", HTTP_LISTENERS);
    if (l->cert && MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
        return qn__fail(err, QN_EUNSUPPORTED, l->host, "libmicrohttpd of this system has no TLS");
    qn_status st = fd >= 0 ? QN_OK : bind_to(l->host, l->port, &fd, err);
    if (st)
        return st;
    const int status_flags = fcntl(fd, F_GETFL);
    (void)fcntl(fd, F_SETFL, status_flags | O_NONBLOCK);
    const uint16_t chosen = port_of(fd);
#define OPTION(what, number, pointer) options[n++] = (struct MHD_OptionItem){what, (intptr_t)(number), pointer}
    OPTION(MHD_OPTION_EXTERNAL_LOGGER, silent, NULL);
    OPTION(MHD_OPTION_LISTEN_SOCKET, fd, NULL);
    OPTION(MHD_OPTION_CONNECTION_MEMORY_LIMIT, s->o.head_limit, NULL);
    OPTION(MHD_OPTION_CONNECTION_LIMIT, s->o.max_connections, NULL);
    OPTION(MHD_OPTION_CONNECTION_TIMEOUT, s->o.idle_s, NULL);
    OPTION(MHD_OPTION_NOTIFY_COMPLETED, completed, s);
    OPTION(MHD_OPTION_NOTIFY_CONNECTION, connection, s);
    OPTION(MHD_OPTION_URI_LOG_CALLBACK, uri, s);
    if (l->cert) {
        flags |= MHD_USE_TLS;
        OPTION(MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)l->cert);
        OPTION(MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)l->key);
    }
    OPTION(MHD_OPTION_END, 0, NULL);
#undef OPTION
    struct MHD_Daemon *d = MHD_start_daemon(flags, 0, NULL, NULL, access_handler, s, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (!d) {
        (void)close(fd);
        return l->cert ? qn__fail(err, QN_EFORMAT, l->host, "the certificate and its key could not be used")
                       : qn__fail(err, QN_EIO, l->host, "the HTTP library could not start");
    }
    s->daemons[s->n_daemons] = d;
    s->quiesced[s->n_daemons++] = -1;
    if (port)
        *port = chosen;
    return QN_OK;
}

/* ---- life ---- */

/* Connections are open files; the usual soft limit of 1,024 is for programs that still use select(). */
static int file_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0)
        return 1024;
    const rlim_t want = 65536;
    if (r.rlim_cur < want && r.rlim_cur < r.rlim_max) {
        struct rlimit more = r;
        more.rlim_cur = r.rlim_max < want ? r.rlim_max : want;
        if (setrlimit(RLIMIT_NOFILE, &more) == 0)
            r = more;
    }
    return r.rlim_cur > INT32_MAX ? INT32_MAX : (int)r.rlim_cur;
}

qn_status http_server_open(const http_options *o, http_server **out, qn_err *err)
{
    http_server *s = qn__calloc(1, sizeof *s);
    if (!s)
        return qn__fail_mem(err, "serve");
    const int files = file_limit() - 64;
    s->o = *o;
    s->o.body_limit = o->body_limit ? o->body_limit : (size_t)32 << 20;
    s->o.head_limit = o->head_limit ? o->head_limit : (size_t)32 << 10;
    s->o.stream_limit = o->stream_limit ? o->stream_limit : (size_t)4 << 20;
    s->o.max_connections = o->max_connections ? o->max_connections : 4096;
    if (s->o.max_connections > files && files > 0)
        s->o.max_connections = files;
    s->o.idle_s = o->idle_s ? o->idle_s : 120;
    s->o.body_s = o->body_s ? o->body_s : 30;
    s->o.rest_s = o->rest_s ? o->rest_s : 15;
    s->o.workers = o->workers ? o->workers : 4;
    if (s->o.workers > HTTP_WORKERS / 2)
        s->o.workers = HTTP_WORKERS / 2; /* the others stand in for those that wait */
    s->o.max_waiting = o->max_waiting ? o->max_waiting : 1024;
    s->epoll = s->wake = -1;
    qn__lock_init(&s->lock);
    qn__cond_init(&s->work);
    qn__cond_init(&s->quiet);
    qn_status st = http__workers_start(s, err);
    if (!st)
        st = http__watch_start(s, err);
    if (st)
        http_server_close(s);
    else
        *out = s;
    return st;
}

/* Under lock, which is let go in between: give up what is being answered; hard: with its connection. */
static void cut_off(http_server *s, bool hard)
{
    enum { SOME = 64 };
    http_exchange *some[SOME];
    int n = 0;
    uint64_t from = 0;
    do {
        n = 0;
        for (http_conn *c = s->conns; c && n < SOME; c = c->next) {
            if (!c->x || (from && c->id >= from))
                continue;
            from = c->id;
            if (hard || c->phase != HTTP_ANSWER)
                (void)shutdown(c->fd, SHUT_RDWR);
            http_hold(some[n++] = c->x);
        }
        qn__unlock(&s->lock);
        for (int i = 0; i < n; i++) {
            http__exchange_gone(some[i]);
            http_release(some[i]);
        }
        qn__lock(&s->lock);
    } while (n == SOME);
}

void http_server_quiesce(http_server *s)
{
    for (size_t i = 0; i < s->n_daemons; i++)
        if (s->quiesced[i] < 0)
            s->quiesced[i] = MHD_quiesce_daemon(s->daemons[i]);
    atomic_store(&s->draining, true);
}

/* Under lock. */
static bool is_quiet(const http_server *s)
{
    return !s->n_exchanges && !s->requests_due.first && !s->deferred.first && !s->busy;
}

bool http_server_is_quiet(http_server *s)
{
    qn__lock(&s->lock);
    const bool quiet = is_quiet(s);
    qn__unlock(&s->lock);
    return quiet;
}

/* Give up what is answered, until nothing is or the time has come. */
static void quieten(http_server *s, bool hard, double until)
{
    qn__lock(&s->lock);
    while (!is_quiet(s) && qn__now() < until) {
        cut_off(s, hard);
        (void)qn__cond_wait_until(&s->quiet, &s->lock, qn__now() + 0.05);
    }
    qn__unlock(&s->lock);
}

void http_server_drain(http_server *s)
{
    enum { PATIENCE = 5 };
    http_server_quiesce(s);
    quieten(s, false, qn__now() + PATIENCE);
}

void http_server_close(http_server *s)
{
    if (!s)
        return;
    http_server_drain(s);
    quieten(s, true, INFINITY); /* a step or a load may take longer than patience lasts, and who answers then needs the server */
    http__workers_stop(s);
    http__watch_stop(s);
    for (size_t i = 0; i < s->n_daemons; i++) {
        MHD_stop_daemon(s->daemons[i]);
        if (s->quiesced[i] >= 0)
            (void)close(s->quiesced[i]);
    }
    qn__lock_destroy(&s->lock);
    qn__cond_destroy(&s->work);
    qn__cond_destroy(&s->quiet);
    qn_free(s);
}

void http_get_counts(http_server *s, http_counts *out)
{
    qn__lock(&s->lock);
    *out = (http_counts){.connections = s->n_conns, .exchanges = s->n_exchanges, .accepted = s->accepted,
                         .requests = s->requests};
    qn__unlock(&s->lock);
}
