/* test_http.c - the HTTP room by itself: answers that come from any thread, early and late, and a server that is closed meanwhile.
 * When http_server_close returns nobody may need the server any more, however long an answer took. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "services/http/server.h"

#define OK(x)                                                                                                          \
    do {                                                                                                               \
        qn_err err = {0};                                                                                              \
        if ((x) != QN_OK)                                                                                              \
            fail_msg("%s: %s: %s", #x, err.where, err.what);                                                           \
    } while (0)

/* What a handler does, by path: /quick/TURNS of an empty loop, /late/SECONDS, /stream/SECONDS. Each answer is given by a thread of its own. */
typedef struct answerer {
    http_exchange *x;
    http_task task;
    long micros, turns;
    atomic_bool *ready; /* the handler waits for it */
    bool stream;
} answerer;

static http_server *server;
static uint16_t port;
static atomic_int answered, released, gone; /* threads that answered; exchanges that are freed; clients that went */

static void pause_us(long us)
{
    const struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    (void)nanosleep(&t, NULL);
}

static void release_user(void *user)
{
    (void)user;
    atomic_fetch_add(&released, 1);
}

static void went(void *arg)
{
    (void)arg;
    atomic_fetch_add(&gone, 1);
}

static void let_go(void *arg)
{
    answerer *a = arg;
    http_on_gone(a->x, NULL, NULL);
    http_release(a->x);
    free(a);
}

static void *answer(void *arg)
{
    answerer *a = arg;
    if (a->ready)
        atomic_store(a->ready, true);
    for (atomic_long i = 0; i < a->turns; i++)
        ;
    if (a->micros)
        pause_us(a->micros);
    if (a->stream) {
        for (int i = 0; i < 20; i++)
            (void)http_stream_put(a->x, "word ", 5);
        http_stream_end(a->x);
    } else {
        http_respond(a->x, 200, "text/plain", "here", 4);
    }
    atomic_fetch_add(&answered, 1);
    http_defer(server, &a->task, let_go, a);
    return NULL;
}

static void head(void *arg, http_exchange *x)
{
    (void)arg;
    http_set_user(x, x, release_user);
    if (strncmp(http_path(x), "/quick/", 7) == 0)
        http_set_quick(x);
}

static void handle(void *arg, http_exchange *x)
{
    const char *path = http_path(x), *number = strchr(path + 1, '/');
    pthread_t thread;
    pthread_attr_t attr;
    (void)arg;
    answerer *a = calloc(1, sizeof *a);
    if (!a || !number)
        abort();
    const bool quick = strncmp(path, "/quick/", 7) == 0;
    const long n = strtol(number + 1, NULL, 10);
    atomic_bool ready = false;
    *a = (answerer){.x = x, .stream = strncmp(path, "/stream/", 8) == 0, .turns = quick ? n : 0, .micros = quick ? 0 : n * 1000000};
    a->ready = quick ? &ready : NULL;
    http_hold(x);
    http_on_gone(x, went, NULL);
    if (a->stream)
        http_stream_begin(x, 200, "text/plain");
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attr, answer, a))
        abort();
    (void)pthread_attr_destroy(&attr);
    while (quick && !atomic_load(&ready))
        (void)sched_yield();
}

static void refuse(void *arg, http_exchange *x, int status, const char *why)
{
    (void)arg;
    http_respond(x, status, "text/plain", why, strlen(why));
}

static void open_server(void)
{
    const http_options o = {.head = head, .handle = handle, .refuse = refuse};
    const http_listen l = {.host = "127.0.0.1", .fd = -1};
    atomic_store(&answered, 0);
    atomic_store(&released, 0);
    atomic_store(&gone, 0);
    OK(http_server_open(&o, &server, &err));
    OK(http_server_listen(server, &l, &port, &err));
}

/* ---- the wire ---- */

static int send_to(const char *path)
{
    const struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval limit = {.tv_sec = 10};
    char text[200];
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    const int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    assert_int_equal(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
    return fd;
}

/* What came until the end; "" after ten seconds of nothing. */
static const char *receive(int fd)
{
    static char text[4096];
    size_t n = 0;
    for (ssize_t k; n < sizeof text - 1 && (k = recv(fd, text + n, sizeof text - 1 - n, 0)) > 0;)
        n += (size_t)k;
    text[n] = 0;
    (void)close(fd);
    return text;
}

/* ---- tests ---- */

/* A quick handler's answer may come from elsewhere just when the connection is about to wait for it. */
static void quick_but_elsewhere(void **state)
{
    enum { MANY = 400 };
    char path[32];
    (void)state;
    open_server();
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(path, sizeof path, "/quick/%d", i % 300 * 10);
        const char *text = receive(send_to(path));
        if (!strstr(text, "200 OK") || !strstr(text, "here"))
            fail_msg("request %d: no answer, but '%s'", i, text);
    }
    http_server_close(server);
    assert_int_equal(atomic_load(&answered), MANY);
    assert_int_equal(atomic_load(&released), MANY);
}

static void streams(void **state)
{
    (void)state;
    open_server();
    int fds[8];
    for (size_t i = 0; i < 8; i++)
        fds[i] = send_to("/stream/0");
    for (size_t i = 0; i < 8; i++)
        assert_non_null(strstr(receive(fds[i]), "word "));
    http_server_close(server);
    assert_int_equal(atomic_load(&released), 8);
}

/* Closed while answers take longer than its patience: of a client that waits, of one that went, and of one in a stream. */
static void closed_meanwhile(void **state)
{
    (void)state;
    open_server();
    const int waits = send_to("/late/7"), goes = send_to("/late/7"), streams_on = send_to("/stream/7");
    for (int i = 0; i < 100; i++) { /* until they are being handled */
        http_counts c;
        http_get_counts(server, &c);
        if (c.exchanges == 3)
            break;
        pause_us(10000);
    }
    pause_us(100000);
    (void)close(goes);
    for (int i = 0; i < 500 && atomic_load(&gone) < 1; i++)
        pause_us(10000);
    assert_int_equal(atomic_load(&gone), 1);
    http_server_close(server);
    assert_int_equal(atomic_load(&gone), 3);
    assert_int_equal(atomic_load(&answered), 3);
    assert_int_equal(atomic_load(&released), 3);
    assert_null(strstr(receive(waits), "here"));
    (void)receive(streams_on);
}

/* The counts see what is not there. */
static void planted(void **state)
{
    (void)state;
    open_server();
    (void)receive(send_to("/quick/0"));
    http_server_close(server);
    assert_int_not_equal(atomic_load(&released), 2);
    assert_int_equal(atomic_load(&gone), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quick_but_elsewhere),
        cmocka_unit_test(streams),
        cmocka_unit_test(closed_meanwhile),
        cmocka_unit_test(planted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
