/* server.h - HTTP, and nothing about what is spoken through it.
 *
 * Owns: sockets, connections, limits, timeouts, threads that handle requests. libmicrohttpd reads and writes the wire; one
 * thread of its for each listener, which must never wait: a request that takes time is handled by a worker, and its answer
 * is pushed from any thread.
 *
 *   network thread            worker                         any thread
 *   head() ── may answer
 *   body, bounded
 *   suspended ──────────────> handle() ── http_respond ──┐   http_respond
 *   <────────────────────────────────────────────────────┴── http_stream_put ... http_stream_end
 *
 *   watcher: one thread that sees clients go (then gone() is called), requests dawdle (then they are cut off), and answers
 *   rest (then idle() is called).
 *
 * Refuses: bodies over the limit (413), heads over the limit (431), heads and bodies that trickle in, clients that do not
 * read (what they have not read is bounded; beyond it the answer ends there). */
#ifndef QN_SERVICES_HTTP_SERVER_H
#define QN_SERVICES_HTTP_SERVER_H

#include "base/str.h"

typedef struct http_server http_server;
typedef struct http_exchange http_exchange; /* a request and its answer */

typedef struct http_options {
    size_t body_limit;   /* bytes; 0: 32 MiB */
    size_t head_limit;   /* request line and headers; 0: 32 KiB. A connection takes so much memory */
    size_t stream_limit; /* bytes of an answer that a client has not read yet; 0: 4 MiB */
    int max_connections; /* 0: 4096, or what the system's limit of open files leaves */
    int idle_s;          /* a connection without a request, or that takes no bytes, is closed after this; 0: 120 */
    int body_s;          /* a head or body must be there after this, and a second for each 16 KiB; 0: 30 */
    int rest_s;          /* idle() is called when a stream had nothing to say for so long; 0: 15 */
    int workers;         /* requests that are handled at a time, at most 32; 0: 4 */
    int max_waiting;     /* requests waiting for a worker; beyond them 503; 0: 1024 */
    void *arg;
    /* On a network thread, before the body is read: must not wait. May respond; then there is no body and no handle(). */
    void (*head)(void *arg, http_exchange *x);
    /* With the body. On a worker, or on a network thread if head() called http_set_quick. Must lead to an answer. */
    void (*handle)(void *arg, http_exchange *x);
    /* Fills the answer for an error that arises here: 413, 503. */
    void (*refuse)(void *arg, http_exchange *x, int status, const char *why);
    /* An answer is complete, or was given up (gone); bytes of body sent. On any thread; must not wait. May be NULL. */
    void (*done)(void *arg, http_exchange *x, int status, uint64_t sent, bool gone);
} http_options;

qn_status http_server_open(const http_options *o, http_server **out, qn_err *err);

typedef struct http_listen {
    const char *host; /* an address, or "localhost" */
    uint16_t port;    /* 0: any free one */
    int fd;           /* a socket that listens already; -1: none. Taken over in any case */
    const char *cert, *key; /* PEM text: TLS; NULL: none */
} http_listen;
/* Begin to listen; several times for several ports. *port (may be NULL): which one it became. Errors: QN_EIO (the address is in
 * use, is no address here), QN_EUNSUPPORTED (TLS, and the library was built without), QN_EFORMAT (certificate or key). */
qn_status http_server_listen(http_server *s, const http_listen *l, uint16_t *port, qn_err *err);
/* No new connections. What is being answered goes on. */
void http_server_quiesce(http_server *s);
/* Is anything being answered? */
bool http_server_is_quiet(http_server *s);
/* What is still being answered is given up: its gone() is called. Waits a few seconds for what follows from that. */
void http_server_drain(http_server *s);
/* Can only this machine reach it? The socket's address counts if there is one. */
bool http_is_local(const char *host, int fd);
/* Closes what is open; joins the threads. Waits until nobody holds an exchange: what answers them must end when they are given
 * up. */
void http_server_close(http_server *s);
typedef struct http_task {
    struct http_task *next;
    void (*fn)(void *arg);
    void *arg;
    bool request; /* counts as waiting */
} http_task;
/* Run fn on a worker, before requests that wait; http_server_close waits for it. The task is the caller's memory, unused when fn is
 * called. fn must not wait for other requests. */
void http_defer(http_server *s, http_task *t, void (*fn)(void *arg), void *arg);

typedef struct http_counts {
    int connections, exchanges;
    uint64_t accepted, requests;
} http_counts;
void http_get_counts(http_server *s, http_counts *out);

/* ---- the request: valid as long as the exchange is held ---- */

uint64_t http_id(const http_exchange *x); /* 1, 2, ... */
const char *http_method(const http_exchange *x);
const char *http_path(const http_exchange *x); /* decoded, without the query */
/* NULL when absent; names without regard to case. */
const char *http_header(const http_exchange *x, const char *name);
/* How often it is there. */
size_t http_header_count(const http_exchange *x, const char *name);
const char *http_query(const http_exchange *x, const char *name);
const char *http_body(const http_exchange *x, size_t *n);
double http_since(const http_exchange *x); /* qn__now() of the head */
bool http_is_tls(const http_exchange *x);
bool http_is_old(const http_exchange *x); /* HTTP/1.0, in which Host may be missing */

void http_set_quick(http_exchange *x);
/* What a handler keeps with the exchange: freed with it. */
void http_set_user(http_exchange *x, void *user, void (*release)(void *user));
void *http_get_user(const http_exchange *x);

/* ---- the answer: from any thread, exactly one of respond and stream ---- */

/* Before the answer begins. Copied. */
void http_set_header(http_exchange *x, const char *name, const char *value);
/* Copies the body. type may be NULL. */
void http_respond(http_exchange *x, int status, const char *type, const void *body, size_t n);
/* Headers go out at once. put may come before begin. */
void http_stream_begin(http_exchange *x, int status, const char *type);
/* False when the client is gone, or too far behind, and nothing more need be said. */
bool http_stream_put(http_exchange *x, const void *p, size_t n);
void http_stream_end(http_exchange *x);
bool http_is_answered(http_exchange *x);
bool http_is_gone(http_exchange *x);

/* fn is called at most once, on another thread, when the client goes before the answer is complete; if it has gone already, at
 * once, here. It must not wait, nor call into this exchange. After http_on_gone(x, NULL, NULL) returned it is not called. */
void http_on_gone(http_exchange *x, void (*fn)(void *arg), void *arg);
/* fn is called on the watcher's thread whenever the stream has rested: it may put. Replaced, or stopped with NULL, likewise. */
void http_on_rest(http_exchange *x, void (*fn)(void *arg, http_exchange *x), void *arg);

/* Between these two a handler, on a worker, waits for something that may take long: others are handled meanwhile. */
void http_wait_begin(http_exchange *x);
void http_wait_end(http_exchange *x);

void http_hold(http_exchange *x);
void http_release(http_exchange *x);

#endif
