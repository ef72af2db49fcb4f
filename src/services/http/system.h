/* system.h - what a server needs of the system beside sockets: randomness, a bell that a signal handler may ring, secrets, the
 * service manager. */
#ifndef QN_SERVICES_HTTP_SYSTEM_H
#define QN_SERVICES_HTTP_SYSTEM_H

#include "quern.h"

/* Bytes that nobody can guess. */
void http_random(void *p, size_t n);

/* A bell: rung from anywhere, a signal handler included; heard once. */
qn_status http_bell_open(int *bell, qn_err *err);
void http_bell_ring(int bell);
/* Waits; false after `seconds` (negative: never) without a ring. */
bool http_bell_wait(int bell, double seconds);
void http_bell_close(int bell);

/* Tell the service manager ("READY=1"), if one started us and listens; nothing otherwise. */
void http_notify(const char *state);
/* The sockets that the service manager opened for us: fds[0..cap), returns how many there are. */
size_t http_inherited(int *fds, size_t cap);

#endif
