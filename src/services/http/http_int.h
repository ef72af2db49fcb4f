/* http_int.h - what the files of this room share. See server.h.
 *
 * Locks, in the order in which they may be taken: exchange.rest_lock, exchange.lock, server.lock. libmicrohttpd's own come
 * after the exchange's, but for a response's, which is before it: read_out is called under it. */
#ifndef QN_SERVICES_HTTP_INT_H
#define QN_SERVICES_HTTP_INT_H

#include <microhttpd.h>
#include <stdatomic.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/thread.h"
#include "services/http/server.h"

typedef struct http_pair {
    struct http_pair *next;
    const char *name, *value;
} http_pair;

typedef enum http_phase {
    HTTP_IDLE,   /* between requests, or the request line is not complete */
    HTTP_HEAD,   /* headers come in */
    HTTP_BODY,
    HTTP_ANSWER
} http_phase;

/* A connection: kept in the server's list from accept to close. Guarded by server.lock. */
typedef struct http_conn {
    struct http_conn *next, *prev;
    uint64_t id;
    int fd;
    http_phase phase;
    double since;    /* when the phase began */
    size_t received; /* of the body */
    http_exchange *x;
    bool watched;    /* its fd is in the watcher's set */
} http_conn;

struct http_exchange {
    http_server *s;
    uint64_t id;
    double since;
    bool quick, too_large, head_only; /* network thread's alone */
    size_t body_declared;
    bool handed;      /* to handle(); network thread's alone */
    qn_arena arena;   /* under lock once handed */
    char *method, *path;
    http_pair *headers, *queries;
    qn_buf body;
    bool tls, old;
    http_conn *conn;  /* network thread's alone */

    atomic_size_t refs;
    qn_lock lock;
    struct MHD_Connection *c; /* NULL once libmicrohttpd is done with the request */
    bool suspended;           /* waits to be resumed */
    bool answered;            /* respond or stream_begin came */
    bool streaming, ended;    /* a stream; its end came */
    bool gone;                /* the client went, or is too far behind */
    bool complete;            /* the whole answer was handed to the client */
    int status;
    struct MHD_Response *response; /* of respond */
    const char *type;              /* of a stream */
    http_pair *answer_headers;
    qn_buf out;      /* not read yet: [out_at, out.n) */
    size_t out_at;
    uint64_t sent;
    double last_put;
    void (*on_gone)(void *arg);
    void *gone_arg;
    void *user;
    void (*release_user)(void *user);

    http_task task;

    qn_lock rest_lock;
    void (*on_rest)(void *arg, http_exchange *x);
    void *rest_arg;
};

enum { HTTP_LISTENERS = 8, HTTP_WORKERS = 64 };

typedef struct http_tasks {
    http_task *first, **end;
} http_tasks;

struct http_server {
    http_options o;
    qn_lock lock;
    qn_cond work, quiet; /* tasks; an exchange or a task ended */
    struct MHD_Daemon *daemons[HTTP_LISTENERS];
    int quiesced[HTTP_LISTENERS]; /* listening sockets that are ours again */
    bool tls[HTTP_LISTENERS];
    size_t n_daemons;
    qn_thread *workers[HTTP_WORKERS], *watcher;
    http_tasks requests_due, deferred;
    int waiting, n_workers, busy, blocked; /* requests due; threads; those at work; of these, those that only wait */
    bool quit;
    atomic_bool draining; /* read under an exchange's lock, too */
    http_conn *conns;
    uint64_t next_conn, next_exchange;
    int n_conns, n_exchanges;
    uint64_t accepted, requests;
    int epoll, wake; /* the watcher's */
};

/* exchange.c */
http_exchange *http__exchange_open(http_server *s, struct MHD_Connection *c, http_conn *conn, const char *path,
                                   const char *method);
/* The client went: on_gone is called, a suspended connection runs on so that it can be cleaned up. */
void http__exchange_gone(http_exchange *x);
/* libmicrohttpd is done with it. */
void http__exchange_completed(http_exchange *x, bool ok);
/* Queue what respond or stream_begin prepared. */
enum MHD_Result http__exchange_queue(http_exchange *x);
/* Call on_rest if the stream has rested. */
void http__exchange_rest(http_exchange *x, double now);

/* workers.c */
qn_status http__workers_start(http_server *s, qn_err *err);
bool http__work(http_server *s, http_task *t, void (*fn)(void *arg), void *arg, bool request);
void http__workers_stop(http_server *s);

/* watch.c */
qn_status http__watch_start(http_server *s, qn_err *err);
void http__watch_stop(http_server *s);
/* Under server.lock. */
void http__watch_add(http_server *s, http_conn *c);
void http__watch_remove(http_server *s, http_conn *c);

#endif
