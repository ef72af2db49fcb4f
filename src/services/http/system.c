/* system.c - see system.h. */
#include "services/http/system.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"

void http_random(void *p, size_t n)
{
    unsigned char *b = p;
    while (n) {
        const ssize_t got = getrandom(b, n, 0);
        if (got > 0) {
            b += got;
            n -= (size_t)got;
        } else if (errno != EINTR) { /* not on a system that has it; the clock is better than nothing */
            const double t = qn__now();
            const size_t k = n < sizeof t ? n : sizeof t;
            memcpy(b, &t, k);
            b += k;
            n -= k;
        }
    }
}

qn_status http_bell_open(int *bell, qn_err *err)
{
    const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return qn__fail(err, QN_EIO, "serve", "the system gives no event counter: %s", strerror(errno));
    *bell = fd;
    return QN_OK;
}

void http_bell_ring(int bell)
{
    const uint64_t one = 1;
    const int keep = errno;
    const ssize_t n = write(bell, &one, sizeof one);
    (void)n;
    errno = keep;
}

bool http_bell_wait(int bell, double seconds)
{
    const double until = qn__now() + seconds;
    for (;;) {
        struct pollfd p = {.fd = bell, .events = POLLIN};
        const double left = until - qn__now();
        const int ms = seconds < 0 ? -1 : left <= 0 ? 0 : left > 1e6 ? 1000000000 : (int)(left * 1e3) + 1;
        uint64_t rings;
        if (poll(&p, 1, ms) > 0 && read(bell, &rings, sizeof rings) == (ssize_t)sizeof rings)
            return true;
        if (ms >= 0 && qn__now() >= until)
            return false;
    }
}

void http_bell_close(int bell)
{
    if (bell >= 0)
        (void)close(bell);
}

void http_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof a.sun_path)
        return;
    const size_t n = strlen(path);
    memcpy(a.sun_path, path, n);
    if (a.sun_path[0] == '@')
        a.sun_path[0] = 0;
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&a,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    (void)close(fd);
}

size_t http_inherited(int *fds, size_t cap)
{
    enum { FIRST = 3 };
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    if (!pid || !count || strtol(pid, NULL, 10) != (long)getpid())
        return 0;
    const long n = strtol(count, NULL, 10);
    size_t got = 0;
    for (int fd = FIRST; fd < FIRST + n && got < cap; fd++) {
        int type = 0;
        socklen_t len = sizeof type;
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM)
            fds[got++] = fd;
    }
    return got;
}
