/* test_hostile.c - clients that do not behave: bodies cut at every byte, heads and bodies that trickle in, 100 MB, clients that go
 * or do not read, a thousand that rest. The server refuses with a sentence or closes, and then serves the next one. */
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
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"

static qn_server *server;
static int port;

/* ---- the wire ---- */

static int dial(void)
{
    const struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval limit = {.tv_sec = 30};
    const int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (fd < 0 || connect(fd, (const struct sockaddr *)&a, sizeof a) < 0) {
        if (fd >= 0)
            (void)close(fd);
        return -1;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

static bool push(int fd, const void *p, size_t n)
{
    const char *c = p;
    while (n) {
        const ssize_t k = send(fd, c, n, MSG_NOSIGNAL);
        if (k <= 0)
            return false;
        c += k;
        n -= (size_t)k;
    }
    return true;
}

static void pause_ms(long ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
}

/* Everything until the server closes, or the timeout. */
static void pull(int fd, qn_buf *b)
{
    char buf[16384];
    ssize_t n;
    while ((n = recv(fd, buf, sizeof buf, 0)) > 0)
        qn__buf_put(b, buf, (size_t)n);
}

static int status_of(const qn_buf *b)
{
    return b->n > 12 && memcmp(b->data, "HTTP/1.1 ", 9) == 0 ? atoi(b->data + 9) : 0;
}

/* One request, its connection closed after; the status, and the answer in `b` if it is wanted. */
static int ask(const char *path, const char *body, size_t n, qn_buf *b)
{
    qn_buf head = {0}, own = {0};
    const int fd = dial();
    assert_true(fd >= 0);
    qn__buf_printf(&head, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", body ? "POST" : "GET",
                   path, n);
    (void)push(fd, head.data, head.n);
    (void)push(fd, body ? body : "", n);
    pull(fd, &own);
    (void)close(fd);
    const int status = status_of(&own);
    if (b)
        *b = own;
    else
        qn__buf_free(&own);
    qn__buf_free(&head);
    return status;
}

static void alive(void)
{
    assert_int_equal(ask("/health", NULL, 0, NULL), 200);
}

/* Nothing runs any more. */
static void quiet(void)
{
    for (int i = 0; i < 200; i++) {
        qn_buf b = {0};
        (void)ask("/v1/requests", NULL, 0, &b);
        const bool none = b.n && strstr(b.data, "\"data\":[]");
        qn__buf_free(&b);
        if (none)
            return;
        pause_ms(50);
    }
    fail_msg("a request still runs after 10 s");
}

/* ---- tests ---- */

static const char body[] = "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"h\\u00e9 \\ud83d\\ude00\"}]}],"
                           "\"max_tokens\":1,\"stop\":[\"a\"],\"logit_bias\":{\"5\":-1.5},\"stream\":true}";

static void test_cut_bodies(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof body - 1; n++)
        assert_int_equal(ask("/v1/chat/completions", body, n, NULL), 400);
    assert_int_equal(ask("/v1/chat/completions", body, sizeof body - 1, NULL), 200);
}

/* One byte at a time made another: never anything but 200 or 400. */
static void test_flipped_bodies(void **state)
{
    char text[sizeof body];
    (void)state;
    uint32_t r = 1;
    for (size_t i = 0; i < sizeof body - 1; i++) {
        memcpy(text, body, sizeof body);
        r = r * 1664525u + 1013904223u;
        text[i] = (char)(r >> 24);
        const int status = ask("/v1/chat/completions", text, sizeof body - 1, NULL);
        if (status != 200 && status != 400)
            fail_msg("byte %zu as %02x: status %d", i, (unsigned char)text[i], status);
    }
    quiet();
}

static void test_malformed_http(void **state)
{
    static const char *const heads[] = {
        "\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        qn_buf b = {0};
        const int fd = dial();
        assert_true(fd >= 0);
        (void)push(fd, heads[i], strlen(heads[i]));
        (void)shutdown(fd, SHUT_WR);
        pull(fd, &b);
        (void)close(fd);
        const int status = status_of(&b);
        if (status && (status < 400 || status > 505))
            fail_msg("%s: status %d", heads[i], status);
        qn__buf_free(&b);
    }
    alive();
}

static void test_100_megabytes(void **state)
{
    static char block[1 << 20];
    static const char head[] = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 104857600\r\n\r\n";
    qn_buf b = {0};
    (void)state;
    memset(block, '[', sizeof block);
    const int fd = dial();
    (void)push(fd, head, sizeof head - 1);
    for (int i = 0; i < 100; i++)
        if (!push(fd, block, sizeof block))
            break;
    pull(fd, &b);
    (void)close(fd);
    assert_int_equal(status_of(&b), 413);
    assert_non_null(strstr(b.data, "too large"));
    qn__buf_free(&b);
    alive();
}

/* A byte now and then keeps no connection open: heads and bodies have a time by which they must be there. */
static void trickle(const char *text, const char *what)
{
    const double begun = qn__now();
    const int fd = dial();
    bool open = true;
    for (size_t i = 0; open && qn__now() - begun < 20; i++) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        open = push(fd, text[i] ? text + i : "a", 1);
        if (!text[i])
            i--;
        if (poll(&p, 1, 100) > 0) {
            char c;
            open = open && recv(fd, &c, 1, 0) > 0;
            if (open)
                break; /* it was answered: that is an end, too */
        }
    }
    (void)close(fd);
    if (qn__now() - begun >= 20)
        fail_msg("%s that trickles in keeps its connection for 20 s", what);
    alive();
}

static void test_slowloris(void **state)
{
    (void)state;
    trickle("GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: ", "a head");
    trickle("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n{", "a body");
    trickle("", "a request line");
}

/* Clients that go in the middle of a stream, or before it begins. */
static void test_gone(void **state)
{
    static const char text[] = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 98\r\n\r\n"
                               "{\"prompt\":\"x\",\"max_tokens\":2000,\"n\":4,\"ignore_eos\":true,\"temperature\":1,\"seed\":1,\"stream\": true  }";
    (void)state;
    for (int i = 0; i < 40; i++) {
        char buf[512];
        const int fd = dial();
        assert_true(fd >= 0);
        (void)push(fd, text, sizeof text - 1);
        for (int k = 0; k < i % 4; k++)
            (void)!recv(fd, buf, sizeof buf, 0);
        (void)close(fd);
    }
    quiet();
    alive();
}

/* A client that does not read gets no more memory than the bound, and the request ends. */
static void test_does_not_read(void **state)
{
    static const char json[] = "{\"prompt\":\"x\",\"max_tokens\":1900,\"n\":8,\"ignore_eos\":true,\"temperature\":1,\"stream\":true,\"logprobs\":20}";
    qn_buf b = {0};
    const int fd = dial(), small = 4096;
    (void)state;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    qn__buf_printf(&b, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n%s", sizeof json - 1, json);
    (void)push(fd, b.data, b.n);
    qn__buf_free(&b);
    for (int i = 0; i < 600; i++) { /* it ends by itself, or is ended */
        qn_buf a = {0};
        (void)ask("/v1/requests", NULL, 0, &a);
        const bool none = strstr(a.data, "\"data\":[]") != NULL;
        qn__buf_free(&a);
        if (none && i > 2)
            break;
        pause_ms(50);
    }
    (void)close(fd);
    quiet();
}

static long resident_kib(void)
{
    char *text;
    size_t n;
    long pages = 0, skip = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f)
        return 0;
    if (qn__read_stream(f, "statm", 256, &text, &n, NULL) == QN_OK) {
        (void)sscanf(text, "%ld %ld", &skip, &pages);
        qn_free(text);
    }
    (void)fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void test_idle_connections(void **state)
{
    enum { MANY = 1000 };
    static int fds[MANY];
    char buf[4096];
    static const char text[] = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct rlimit r;
    (void)state;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur < 2 * MANY + 100) {
        printf("skipped: %d connections need more open files than are allowed\n", MANY);
        skip();
    }
    const long before = resident_kib();
    int n = 0;
    for (; n < MANY; n++) {
        fds[n] = dial();
        if (fds[n] < 0 || !push(fds[n], text, sizeof text - 1) || recv(fds[n], buf, sizeof buf, 0) <= 0)
            break;
    }
    const long each = (resident_kib() - before) / (n ? n : 1);
    for (int i = 0; i < n; i++)
        (void)close(fds[i]);
    assert_int_equal(n, MANY);
    printf("figure: %d idle keep-alive connections: %ld KiB each\n", n, each);
#ifndef QN_SANITIZED
    assert_true(each < 64);
#endif
    alive();
}

/* The harness must see what is wrong. */
static void test_planted(void **state)
{
    qn_buf wrong = {0};
    (void)state;
    qn__buf_puts(&wrong, "HTTP/1.0 200 OK\r\n\r\n");
    assert_int_equal(status_of(&wrong), 0);
    qn__buf_free(&wrong);
    assert_int_not_equal(ask("/nothing", NULL, 0, NULL), 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_planted),       cmocka_unit_test(test_cut_bodies),       cmocka_unit_test(test_flipped_bodies),
        cmocka_unit_test(test_malformed_http), cmocka_unit_test(test_100_megabytes),    cmocka_unit_test(test_slowloris),
        cmocka_unit_test(test_gone),          cmocka_unit_test(test_does_not_read),    cmocka_unit_test(test_idle_connections),
    };
    qn_server_options o;
    qn_err err;
    qn_server_options_init(&o);
    o.port = 0;
    o.preload = true;
    o.body_s = 1;
    o.idle_s = 5;
    if (qn_server_open(&o, &server, &err) != QN_OK) {
        printf("%s: %s\n", err.where, err.what);
        return 1;
    }
    port = qn_server_port(server, NULL);
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    qn_server_stop(server);
    qn_server_wait(server);
    qn_server_close(server);
    return rc;
}
