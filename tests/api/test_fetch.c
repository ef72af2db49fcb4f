/* test_fetch.c - published suites are got from a server of our own on 127.0.0.1, which answers as servers do when all is well and when it
 * is not: what is on disk afterwards is whole and checked, or what was there before. Planted fault: the same bytes but for one, whose
 * SHA-256 is known, must be refused. With ../shared the published files themselves are served. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "quern.h"

/* ---- the server: one answer, to whoever asks, until it is told another ---- */

typedef enum answer { WHOLE, ZIPPED, MISSING, BUSY, CUT, CHUNKED_FOREVER, SAYS_LARGE, TO_HTTP, TO_FILE, CIRCLE, NOTHING, GARBAGE, SILENT, PAGES } answer;

typedef struct script {
    answer how;
    const char *body;
    size_t n;
} script;

static struct {
    int fd;
    unsigned port;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    script next;
    int asked;
    char path[256]; /* that was asked for last */
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char KNOCK[] = "KNOCK\r\n\r\n";

/* The server has done with whoever came before, a client that has gone again included: it takes one after the other, and we are last. */
static void settle(void)
{
    const struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    char none;
    assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(send(fd, KNOCK, sizeof KNOCK - 1, MSG_NOSIGNAL), sizeof KNOCK - 1);
    assert_int_equal(recv(fd, &none, 1, 0), 0);
    (void)close(fd);
}

static int asked(void)
{
    pthread_mutex_lock(&server.lock);
    const int n = server.asked;
    pthread_mutex_unlock(&server.lock);
    return n;
}

static bool asked_for(const char *part)
{
    pthread_mutex_lock(&server.lock);
    const bool has = strstr(server.path, part) != NULL;
    pthread_mutex_unlock(&server.lock);
    return has;
}

static void send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        const ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
        if (w <= 0)
            return;
        p += w;
        n -= (size_t)w;
    }
}

static void say(int fd, const char *status, const char *headers, const char *body, size_t n, size_t claimed)
{
    char head[512];
    const int len = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n", status, claimed, headers);
    send_all(fd, head, (size_t)len);
    send_all(fd, body, n);
}

/* Rows of a table, 100 at a time, as the published tables are given. */
static void say_page(int fd, const char *path)
{
    static const char row[] = "{\"row_idx\":%zu,\"row\":{\"name\":\"p%zu\",\"language\":\"cpp\",\"prompt\":\"int f() {\\n\",\"tests\":\"}\\n\",\"stop_tokens\":[\"\\n}\"]},\"truncated_cells\":[]}";
    const char *at = strstr(path, "offset=");
    const size_t offset = at ? strtoul(at + 7, NULL, 10) : 0;
    qn_buf b = {0};
    qn__buf_puts(&b, "{\"features\":[],\"rows\":[");
    for (size_t i = offset; i < offset + 100 && i < 161; i++) {
        qn__buf_puts(&b, i > offset ? "," : "");
        qn__buf_printf(&b, row, i, i);
    }
    qn__buf_puts(&b, "],\"num_rows_total\":161,\"num_rows_per_page\":100,\"partial\":false}");
    say(fd, "200 OK", "", b.data, b.n, b.n);
    qn__buf_free(&b);
}

static void serve_one(int fd)
{
    char request[4096], there[96], path[256] = "";
    size_t n = 0;
    while (n < sizeof request - 1) {
        const ssize_t r = recv(fd, request + n, sizeof request - 1 - n, 0);
        if (r <= 0)
            break;
        n += (size_t)r;
        request[n] = 0;
        if (strstr(request, "\r\n\r\n"))
            break;
    }
    request[n] = 0;
    if (strcmp(request, KNOCK) == 0)
        return;
    (void)sscanf(request, "GET %255s", path);
    pthread_mutex_lock(&server.lock);
    const script s = server.next;
    server.asked++;
    memcpy(server.path, path, sizeof path);
    pthread_mutex_unlock(&server.lock);
    (void)snprintf(there, sizeof there, "Location: %s://127.0.0.1:%u/elsewhere\r\n", s.how == TO_FILE ? "file" : "http", server.port);
    switch (s.how) {
    case WHOLE: say(fd, "200 OK", "", s.body, s.n, s.n); break;
    case ZIPPED: say(fd, "200 OK", "Content-Type: application/gzip\r\n", s.body, s.n, s.n); break;
    case MISSING: say(fd, "404 Not Found", "", "no", 2, 2); break;
    case BUSY: say(fd, "503 Service Unavailable", "", "", 0, 0); break;
    case CUT: say(fd, "200 OK", "", s.body, s.n / 2, s.n); break;
    case SAYS_LARGE: say(fd, "200 OK", "", "x", 1, (size_t)1 << 33); break;
    case TO_HTTP: case TO_FILE: case CIRCLE: say(fd, "302 Found", there, "", 0, 0); break;
    case NOTHING: break;
    case GARBAGE: send_all(fd, "\xff\xfe\x00", 3); break;
    case PAGES: say_page(fd, path); break;
    case SILENT: (void)recv(fd, request, 1, 0); break; /* until the client goes */
    case CHUNKED_FOREVER:
        send_all(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 47);
        for (int i = 0; i < 80; i++) { /* 80 MiB */
            static char piece[1 << 20];
            send_all(fd, "100000\r\n", 8);
            send_all(fd, piece, sizeof piece);
            send_all(fd, "\r\n", 2);
        }
        break;
    }
}

static void *serve(void *arg)
{
    (void)arg;
    for (;;) {
        const int fd = accept(server.fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        serve_one(fd);
        (void)close(fd);
    }
}

/* ---- what is fetched ---- */

static char dir[] = "/tmp/quern-fetch-XXXXXX";
static char *made; /* a suite of 427 problems of our own, in MBPP's form */
static size_t n_made;

static int begin(void **state)
{
    (void)state;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    char from[64];
    qn_buf b = {0};
    server.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (server.fd < 0 || bind(server.fd, (struct sockaddr *)&a, sizeof a) || listen(server.fd, 8) || getsockname(server.fd, (struct sockaddr *)&a, &len))
        return -1;
    server.port = ntohs(a.sin_port);
    (void)snprintf(from, sizeof from, "http://127.0.0.1:%u", server.port);
    (void)setenv("QUERN_SUITES_FROM", from, 1);
    (void)setenv("http_proxy", "http://127.0.0.1:1", 1); /* not asked for what is on this machine */
    for (int i = 0; i < 427; i++)
        qn__buf_printf(&b, "%s{\"task_id\":%d,\"prompt\":\"Do %d.\",\"code\":\"x=%d\",\"test_list\":[\"assert x\"]}", i ? ",\n" : "[", i, i, i);
    qn__buf_puts(&b, "]\n");
    made = qn__buf_take(&b, &n_made);
    return !mkdtemp(dir) || pthread_create(&server.thread, NULL, serve, NULL);
}

static int end(void **state)
{
    char command[128];
    (void)state;
    (void)shutdown(server.fd, SHUT_RDWR);
    (void)pthread_join(server.thread, NULL);
    (void)close(server.fd);
    (void)snprintf(command, sizeof command, "rm -r %s", dir);
    qn_free(made);
    return system(command);
}

static qn_status fetch(const char *name, qn_err *err)
{
    char *path = NULL;
    const qn_status st = qn_suite_fetch(name, &(qn_suite_fetch_options){.dir = dir}, &path, err);
    assert_true(!st == (path != NULL));
    qn_free(path);
    settle();
    return st;
}

static size_t files(void)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    (void)closedir(d);
    return n;
}

static void hold(const char *file, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
}

static bool holds(const char *file, const char *text, size_t n)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    FILE *f = fopen(path, "r");
    char *have = malloc(n + 2);
    assert_true(f && have);
    const bool same = fread(have, 1, n + 2, f) == n && memcmp(have, text, n) == 0;
    free(have);
    (void)fclose(f);
    return same;
}

static void drop(const char *file)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    (void)remove(path);
}

static void answer_with(answer how, const char *body, size_t n)
{
    settle();
    pthread_mutex_lock(&server.lock);
    server.next = (script){how, body, n};
    server.asked = 0;
    pthread_mutex_unlock(&server.lock);
}

static void test_whole(void **state)
{
    (void)state;
    qn_err err = {0};
    answer_with(WHOLE, made, n_made);
    if (fetch("mbpp-sanitized", &err))
        fail_msg("%s: %s", err.where, err.what);
    assert_true(holds("sanitized-mbpp.json", made, n_made));
    assert_true(asked_for("/mbpp/sanitized-mbpp.json"));
    assert_int_equal(asked(), 1);
    assert_int_equal(fetch("mbpp-sanitized", &err), QN_OK); /* there: nobody is asked */
    assert_int_equal(asked(), 1);
    hold("sanitized-mbpp.json", "[1"); /* damaged: got again */
    assert_int_equal(fetch("mbpp-sanitized", &err), QN_OK);
    assert_int_equal(asked(), 2);
    assert_true(holds("sanitized-mbpp.json", made, n_made));
    assert_int_equal(files(), 1);
    drop("sanitized-mbpp.json");
}

static void test_zipped(void **state)
{
    (void)state;
    qn_err err = {0};
    static unsigned char packed[1 << 16];
    z_stream z = {.next_in = (Bytef *)made, .avail_in = (uInt)n_made, .next_out = packed, .avail_out = sizeof packed};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    (void)deflateEnd(&z);
    answer_with(ZIPPED, (char *)packed, z.total_out);
    if (fetch("mbpp-sanitized", &err))
        fail_msg("%s: %s", err.where, err.what);
    assert_true(holds("sanitized-mbpp.json", (char *)packed, z.total_out));
    drop("sanitized-mbpp.json");
    answer_with(ZIPPED, (char *)packed, z.total_out - 20); /* a whole transfer of a file that is not */
    assert_int_equal(fetch("mbpp-sanitized", &err), QN_EFORMAT);
    assert_int_equal(files(), 0);
}

static void test_pages(void **state)
{
    (void)state;
    qn_err err = {0};
    answer_with(PAGES, NULL, 0);
    if (fetch("multipl-e-cpp", &err))
        fail_msg("%s: %s", err.where, err.what);
    assert_int_equal(asked(), 2);
    assert_true(asked_for("config=humaneval-cpp&split=test&offset=100&length=100"));
    assert_int_equal(fetch("multipl-e-ts", &err), QN_EFORMAT); /* another number of problems */
    assert_int_equal(files(), 1);
    drop("humaneval-cpp.jsonl");
    static const char *const bad[] = {"", "{}", "{\"rows\":[],\"num_rows_total\":5}", "{\"rows\":[{}],\"num_rows_total\":1}", "{\"rows\":[{\"row\":{}}],\"num_rows_total\":99999999}",
                                      "{\"rows\":[{\"row\":{},\"truncated_cells\":[\"prompt\"]}],\"num_rows_total\":1}", "{\"rows\":{},\"num_rows_total\":1}", "[[[[[["};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        answer_with(WHOLE, bad[i], strlen(bad[i]));
        assert_int_equal(fetch("multipl-e-cpp", &err), QN_EFORMAT);
    }
    assert_int_equal(files(), 0);
}

static void test_failures(void **state)
{
    (void)state;
    static const struct {
        answer how;
        const char *body;
        qn_status status;
        const char *says;
    } t[] = {
        {MISSING, NULL, QN_EIO, "no longer there (status 404)"},
        {BUSY, NULL, QN_EIO, "status 503; try again later"},
        {CUT, NULL, QN_EIO, "was cut after"},
        {NOTHING, NULL, QN_EIO, "was cut after 0 bytes"},
        {GARBAGE, NULL, QN_EIO, "cannot be got"},
        {SAYS_LARGE, NULL, QN_ELIMIT, "is larger than 67108864 bytes"},
        {CHUNKED_FOREVER, NULL, QN_ELIMIT, "is larger than 67108864 bytes"},
        {TO_HTTP, NULL, QN_EIO, "leads to an address that is not https"},
        {TO_FILE, NULL, QN_EIO, "leads to an address that is not https"},
        {CIRCLE, NULL, QN_EIO, "leads to an address that is not https"},
        {WHOLE, "", QN_EFORMAT, "holds no problems"},
        {WHOLE, "<html>", QN_EFORMAT, "a suite is a file of JSON"},
        {WHOLE, "[{\"prompt\":\"p\",\"test_list\":[]}]", QN_EFORMAT, "it has 1 problems of MBPP, not 427 of MBPP"},
    };
    for (int there = 0; there < 2; there++) /* also where a file is there, which must stay */
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
            qn_err err = {0};
            if (there)
                hold("sanitized-mbpp.json", "of the user");
            answer_with(t[i].how, t[i].body ? t[i].body : made, t[i].body ? strlen(t[i].body) : n_made);
            if (fetch("mbpp-sanitized", &err) != t[i].status || !strstr(err.what, t[i].says))
                fail_msg("%zu: status %d: %s: %s", i, (int)err.code, err.where, err.what);
            assert_non_null(strstr(err.where, "127.0.0.1"));
            assert_int_equal(files(), there);
            assert_true(!there || holds("sanitized-mbpp.json", "of the user", 11));
        }
    drop("sanitized-mbpp.json");
    qn_err err = {0};
    answer_with(WHOLE, made, n_made);
    assert_int_equal(fetch("mbpp", &err), QN_EFORMAT); /* the planted fault: good bytes, but not those whose sum is known */
    assert_non_null(strstr(err.what, "SHA-256"));
    assert_int_equal(fetch("mbpp-sanitised", &err), QN_EINVAL);
    assert_int_equal(files(), 0);
}

static bool stop(void *arg, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    return ++*(int *)arg < 2;
}

static void test_cancelled(void **state)
{
    (void)state;
    qn_err err = {0};
    char *path = NULL;
    int calls = 0;
    answer_with(SILENT, NULL, 0);
    assert_int_equal(qn_suite_fetch("mbpp", &(qn_suite_fetch_options){.dir = dir, .progress = stop, .arg = &calls}, &path, &err), QN_ECANCELLED);
    assert_int_equal(files(), 0);
}

static void test_no_place(void **state)
{
    (void)state;
    qn_err err = {0};
    char *path = NULL;
    answer_with(WHOLE, made, n_made);
    assert_int_equal(qn_suite_fetch("mbpp-sanitized", &(qn_suite_fetch_options){.dir = "/proc/nowhere"}, &path, &err), QN_EIO);
    assert_int_equal(asked(), 0);
    const char *from = getenv("QUERN_SUITES_FROM");
    char kept[64];
    (void)snprintf(kept, sizeof kept, "%s", from ? from : "");
    static const char *const bad[] = {"http://127.0.0.1:1", "http://example.org", "ftp://127.0.0.1:1", "file:///tmp", "http://127.0.0.1.example.org:80", "x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void)setenv("QUERN_SUITES_FROM", bad[i], 1);
        assert_int_equal(fetch("mbpp-sanitized", &err), i ? QN_EINVAL : QN_EIO);
        assert_non_null(strstr(err.what, i ? "is not an address with https" : "cannot be reached"));
    }
    (void)setenv("QUERN_SUITES_FROM", kept, 1);
    assert_int_equal(asked(), 0);
    assert_int_equal(files(), 0);
}

/* A disk that takes no more, as far as a process can be told so. */
static void test_full(void **state)
{
    (void)state;
    qn_err err = {0};
    struct rlimit was, small;
    answer_with(WHOLE, made, n_made);
    hold("sanitized-mbpp.json", "of the user");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small = was;
    small.rlim_cur = n_made / 2;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const qn_status st = fetch("mbpp-sanitized", &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_equal(st, QN_EIO);
    assert_non_null(strstr(err.where, "sanitized-mbpp.json"));
    assert_true(holds("sanitized-mbpp.json", "of the user", 11));
    assert_int_equal(files(), 1);
    drop("sanitized-mbpp.json");
}

/* An allocation that fails, each in turn: an error, and what is there stays. */
static void test_memory(void **state)
{
    (void)state;
    size_t failed = 0;
    answer_with(WHOLE, made, n_made);
    const uint64_t before = qn__alloc_count();
    assert_int_equal(fetch("mbpp-sanitized", NULL), QN_OK);
    const uint64_t all = qn__alloc_count() - before;
    for (uint64_t n = 1; n <= all; n += n < 40 ? 1 : 97) {
        qn_err err = {0};
        char *path = NULL;
        hold("sanitized-mbpp.json", "of the user");
        qn__alloc_fail_at(n);
        const qn_status st = qn_suite_fetch("mbpp-sanitized", &(qn_suite_fetch_options){.dir = dir}, &path, &err);
        qn__alloc_fail_at(0);
        failed += st != QN_OK;
        assert_int_equal(st, err.code);
        assert_true(st ? holds("sanitized-mbpp.json", "of the user", 11) : holds("sanitized-mbpp.json", made, n_made));
        assert_int_equal(files(), 1);
        qn_free(path);
    }
    assert_true(failed > 20);
    drop("sanitized-mbpp.json");
}

/* What is known of published files is true of them. */
static void see(void *arg, const qn_suite_info *s)
{
    static const char *const folders[] = {"humaneval", "humaneval-infilling", "mbpp", "evalplus"};
    const char *shared = getenv("SHARED"), *file = strrchr(s->path, '/') + 1;
    size_t *n = arg;
    qn_err err = {0};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[256];
        qn_buf b = {0};
        (void)snprintf(path, sizeof path, "%s/data/%s/%s", shared && *shared ? shared : "../shared", folders[i], file);
        FILE *f = fopen(path, "rb");
        if (!f)
            continue;
        char piece[65536];
        for (size_t got; (got = fread(piece, 1, sizeof piece, f)) > 0;)
            qn__buf_put(&b, piece, got);
        (void)fclose(f);
        answer_with(WHOLE, b.data, b.n);
        if (fetch(s->name, &err))
            fail_msg("%s: %s", err.where, err.what);
        drop(file);
        if (s->sha256) {
            b.data[b.n / 2] ^= 1;
            assert_int_equal(fetch(s->name, &err), QN_EFORMAT);
        }
        ++*n;
        qn__buf_free(&b);
    }
}

static void test_published(void **state)
{
    (void)state;
    size_t n = 0;
    assert_int_equal(qn_suite_list(dir, see, &n, NULL), QN_OK);
    if (!n) {
        print_message("skipped: ../shared/data is not there\n");
        skip();
    }
    print_message("figure: %zu published files are what is known of them\n", n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole),     cmocka_unit_test(test_zipped),   cmocka_unit_test(test_pages), cmocka_unit_test(test_failures),
                                       cmocka_unit_test(test_cancelled), cmocka_unit_test(test_no_place), cmocka_unit_test(test_full), cmocka_unit_test(test_memory), cmocka_unit_test(test_published)};
    return cmocka_run_group_tests(tests, begin, end);
}
