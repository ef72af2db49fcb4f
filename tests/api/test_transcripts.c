/* test_transcripts.c - the exchanges of tests/api/NAME.md against a server in this process: whole, byte by byte, and cut in two
 * at every byte. See README.md here for their form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <glob.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

static qn_server *server;
static int port;

/* ---- reading transcripts ---- */

typedef struct exchange {
    char title[160];
    qn_buf request;  /* as it goes out */
    char *expected;  /* status, headers, empty line, body */
    bool slow;
} exchange;

enum { EXCHANGES_MAX = 256 };

typedef struct transcript {
    exchange x[EXCHANGES_MAX];
    size_t n;
} transcript;

static void put_hex(qn_buf *b, const char *s, size_t n)
{
    for (size_t i = 0; i + 1 < n; i += 2) {
        unsigned v = 0;
        (void)sscanf(s + i, "%2x", &v);
        qn__buf_putc(b, (char)v);
    }
}

/* The body with its {{...}} written out. */
static void expand(qn_buf *b, const char *s)
{
    while (*s) {
        const char *end;
        if (strncmp(s, "{{REPEAT ", 9) == 0 && (end = strstr(s, "}}"))) {
            char *text;
            const unsigned long n = strtoul(s + 9, &text, 10);
            text++;
            for (unsigned long i = 0; i < n; i++)
                qn__buf_put(b, text, (size_t)(end - text));
            s = end + 2;
        } else if (strncmp(s, "{{HEX ", 6) == 0 && (end = strstr(s, "}}"))) {
            put_hex(b, s + 6, (size_t)(end - s) - 6);
            s = end + 2;
        } else {
            qn__buf_putc(b, *s++);
        }
    }
}

/* "POST /path\nHeader: x\n\nbody" to what goes over the wire. */
static void make_request(exchange *x, char *text)
{
    qn_buf body = {0};
    char *line = text, *rest = strstr(text, "\n\n");
    if (rest) {
        *rest = 0;
        rest += 2;
        size_t n = strlen(rest);
        while (n && rest[n - 1] == '\n')
            rest[--n] = 0;
        expand(&body, rest);
    }
    char *headers = strchr(line, '\n');
    if (headers)
        *headers++ = 0;
    const bool own_host = headers && (strncmp(headers, "Host:", 5) == 0 || strstr(headers, "\nHost:"));
    qn__buf_printf(&x->request, "%s%s\r\nConnection: close\r\n", line, strstr(line, " HTTP/1.") ? "" : " HTTP/1.1");
    if (!own_host)
        qn__buf_printf(&x->request, "Host: 127.0.0.1:%d\r\n", port);
    for (char *save = NULL, *h = headers ? strtok_r(headers, "\n", &save) : NULL; h; h = strtok_r(NULL, "\n", &save))
        if (strcmp(h, "Host: (none)") != 0)
            qn__buf_printf(&x->request, "%s\r\n", h);
    if (rest)
        qn__buf_printf(&x->request, "Content-Length: %zu\r\n", body.n);
    qn__buf_puts(&x->request, "\r\n");
    qn__buf_put(&x->request, body.data ? body.data : "", body.n);
    qn__buf_free(&body);
}

static char *block(char **at)
{
    char *begin = strstr(*at, "```http\n");
    char *end = begin ? strstr(begin + 8, "\n```") : NULL;
    if (!end)
        return NULL;
    *at = end + 4;
    return qn__strndup(begin + 8, (size_t)(end - begin) - 8);
}

static void read_transcript(const char *path, transcript *t)
{
    char *text;
    size_t n;
    qn_err err;
    t->n = 0;
    assert_int_equal(qn__read_file(path, (size_t)1 << 24, &text, &n, &err), QN_OK);
    for (char *at = strstr(text, "\n## "); at; ) {
        char *next = strstr(at + 4, "\n## "), *end = strchr(at + 4, '\n');
        exchange *x = &t->x[t->n++];
        assert_true(t->n < EXCHANGES_MAX);
        memset(x, 0, sizeof *x);
        (void)snprintf(x->title, sizeof x->title, "%.*s", (int)(end - at - 4), at + 4);
        x->slow = strstr(x->title, "(slow)") != NULL;
        if (next)
            *next = 0;
        char *request = block(&end);
        x->expected = block(&end);
        if (!request || !x->expected)
            fail_msg("%s: '%s' has no two blocks of http", path, x->title);
        make_request(x, request);
        qn_free(request);
        if (next)
            *next = '\n';
        at = next;
    }
    qn_free(text);
}

static void free_transcript(transcript *t)
{
    for (size_t i = 0; i < t->n; i++) {
        qn__buf_free(&t->x[i].request);
        qn_free(t->x[i].expected);
    }
}

/* ---- the wire ---- */

static int dial(void)
{
    const struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    const struct timeval limit = {.tv_sec = 60};
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

static void wait_a_little(void)
{
    const struct timespec t = {.tv_nsec = 100000};
    (void)nanosleep(&t, NULL);
}

static void push(int fd, const char *p, size_t n)
{
    while (n) {
        const ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0)
            return; /* the server has answered already; what it said counts */
        p += k;
        n -= (size_t)k;
    }
}

/* Send [0, cut) and then the rest in pieces of `step`; everything that comes back. */
static void talk(const qn_buf *request, size_t cut, size_t step, qn_buf *answer)
{
    char buf[8192];
    ssize_t n;
    const int fd = dial();
    push(fd, request->data, cut);
    for (size_t at = cut; at < request->n; at += step) {
        if (cut && step > 1)
            wait_a_little();
        push(fd, request->data + at, step < request->n - at ? step : request->n - at);
    }
    while ((n = recv(fd, buf, sizeof buf, 0)) > 0)
        qn__buf_put(answer, buf, (size_t)n);
    (void)close(fd);
}

/* The body without the marks of chunked transfer. */
static void dechunk(const char *p, const char *end, qn_buf *body)
{
    while (p < end) {
        char *line;
        const unsigned long n = strtoul(p, &line, 16);
        line += 2;
        if (!n || line + n > end)
            break;
        qn__buf_put(body, line, n);
        p = line + n + 2;
    }
}

/* ---- comparing ---- */

static bool text_matches(const char *want, const char *have)
{
    const size_t n = strlen(want), k = strlen(have);
    if (n > 2 && want[0] == '*' && want[n - 1] == '*')
        return memmem(have, k, want + 1, n - 2) != NULL;
    if (n && want[n - 1] == '*')
        return k >= n - 1 && strncmp(want, have, n - 1) == 0;
    return strcmp(want, have) == 0;
}

static bool json_matches(const json_t *want, const json_t *have, char *where, size_t cap)
{
    const char *key, *s = json_string_value(want);
    json_t *v;
    if (s && strcmp(s, "*") == 0)
        return have != NULL;
    if (!have || json_typeof(want) != json_typeof(have))
        return false;
    if (json_is_object(want)) {
        json_object_foreach((json_t *)(uintptr_t)want, key, v)
        {
            const size_t n = strlen(where);
            (void)snprintf(where + n, cap - n, ".%s", key);
            if (!json_matches(v, json_object_get(have, key), where, cap))
                return false;
            where[n] = 0;
        }
        return true;
    }
    if (json_is_array(want)) {
        size_t n = json_array_size(want);
        const char *last = n ? json_string_value(json_array_get(want, n - 1)) : NULL;
        const bool more = last && strcmp(last, "...") == 0;
        n -= more;
        if (more ? json_array_size(have) < n : json_array_size(have) != n)
            return false;
        for (size_t i = 0; i < n; i++) {
            const size_t k = strlen(where);
            (void)snprintf(where + k, cap - k, "[%zu]", i);
            if (!json_matches(json_array_get(want, i), json_array_get(have, i), where, cap))
                return false;
            where[k] = 0;
        }
        return true;
    }
    return s ? text_matches(s, json_string_value(have)) : json_equal(want, have);
}

static bool line_matches(const char *want, const char *have)
{
    char where[256] = "";
    const size_t skip = strncmp(want, "data: {", 7) == 0 ? 6 : want[0] == '{' ? 0 : SIZE_MAX;
    if (skip == SIZE_MAX)
        return text_matches(want, have);
    json_t *a = json_loads(want + skip, 0, NULL), *b = strncmp(want, have, skip) == 0 ? json_loads(have + skip, 0, NULL) : NULL;
    const bool ok = a && b && json_matches(a, b, where, sizeof where);
    json_decref(a);
    json_decref(b);
    return ok;
}

/* Lines in order, `...` for any between. Empty lines do not count. */
static bool lines_match(char *want, char *have, char *why, size_t cap)
{
    char *save_want = NULL, *save_have = NULL, *h = strtok_r(have, "\n", &save_have);
    bool skip = false;
    for (char *w = strtok_r(want, "\n", &save_want); w; w = strtok_r(NULL, "\n", &save_want)) {
        if (strcmp(w, "...") == 0) {
            skip = true;
            continue;
        }
        while (h && !line_matches(w, h) && skip)
            h = strtok_r(NULL, "\n", &save_have);
        if (!h || !line_matches(w, h)) {
            (void)snprintf(why, cap, "expected the line %.200s, got %.300s", w, h ? h : "the end");
            return false;
        }
        h = strtok_r(NULL, "\n", &save_have);
        skip = false;
    }
    if (h && !skip)
        (void)snprintf(why, cap, "a line too many: %.300s", h);
    return !h || skip;
}

static bool body_matches(const char *want, const char *have, char *why, size_t cap)
{
    char where[256] = "";
    json_error_t e;
    if (strncmp(want, "data:", 5) == 0 || strncmp(want, "event:", 6) == 0 || strncmp(want, "...", 3) == 0 || strchr(want, '\n')) {
        json_t *whole = json_loads(want, 0, NULL);
        json_decref(whole);
        if (!whole) {
            char *w = strdup(want), *h = strdup(have);
            const bool ok = lines_match(w, h, why, cap);
            free(w);
            free(h);
            return ok;
        }
    }
    json_t *a = json_loads(want, 0, &e), *b = json_loads(have, 0, NULL);
    if (!a && want[0] == '{')
        fail_msg("the expected body is no JSON: %s: %s", e.text, want);
    const bool ok = a ? b && json_matches(a, b, where, sizeof where) : text_matches(want, have);
    if (!ok)
        (void)snprintf(why, cap, "at %s: expected %.200s, got %.500s", where, want, have);
    json_decref(a);
    json_decref(b);
    return ok;
}

static const char *header_of(char *head, const char *name)
{
    const size_t n = strlen(name);
    for (char *h = head; (h = strstr(h, "\r\n")) != NULL;) {
        h += 2;
        if (strncasecmp(h, name, n) == 0 && h[n] == ':')
            return h + n + 1 + strspn(h + n + 1, " ");
    }
    return NULL;
}

/* Does the answer look as it should? `why` says what does not. */
static bool answer_matches(const char *expected, const qn_buf *answer, char *why, size_t cap)
{
    char *want = strdup(expected), *head = strndup(answer->data ? answer->data : "", answer->n);
    char *end = strstr(head, "\r\n\r\n"), *body = strstr(want, "\n\n");
    qn_buf plain = {0};
    bool ok = false;
    if (!end) {
        (void)snprintf(why, cap, "no answer, but %.200s", head);
        goto out;
    }
    end[2] = 0;
    if (body) {
        *body = 0;
        body += 2;
    }
    char *save = NULL, *line = strtok_r(want, "\n", &save);
    if (atoi(head + 9) != atoi(line)) {
        (void)snprintf(why, cap, "status %d instead of %s; %.400s", atoi(head + 9), line, end + 4);
        goto out;
    }
    while ((line = strtok_r(NULL, "\n", &save)) != NULL) {
        char *colon = strstr(line, ": "), *value, *stop;
        if (line[0] == '-') {
            if (!header_of(head, line + 1))
                continue;
            (void)snprintf(why, cap, "header %s is there", line + 1);
            goto out;
        }
        assert_non_null(colon);
        *colon = 0;
        const char *have = header_of(head, line);
        value = have ? strdup(have) : NULL;
        if (value && (stop = strstr(value, "\r\n")))
            *stop = 0;
        const bool same = value && text_matches(colon + 2, value);
        free(value);
        if (!same) {
            (void)snprintf(why, cap, "header %s is not %s", line, colon + 2);
            goto out;
        }
    }
    if (body) {
        const char *transfer = header_of(head, "transfer-encoding"), *from = answer->data + (end + 4 - head);
        if (transfer && strncasecmp(transfer, "chunked", 7) == 0)
            dechunk(from, answer->data + answer->n, &plain);
        else
            qn__buf_put(&plain, from, (size_t)(answer->data + answer->n - from));
        ok = body_matches(body, plain.data ? plain.data : "", why, cap);
    } else {
        ok = true;
    }
out:
    qn__buf_free(&plain);
    free(want);
    free(head);
    return ok;
}

/* ---- replaying ---- */

static void once(const char *path, const exchange *x, size_t cut, size_t step)
{
    qn_buf answer = {0};
    char why[1024] = "";
    talk(&x->request, cut, step, &answer);
    if (!answer_matches(x->expected, &answer, why, sizeof why))
        fail_msg("%s: %s (cut at byte %zu of %zu, in pieces of %zu): %s", path, x->title, cut, x->request.n, step, why);
    qn__buf_free(&answer);
}

static size_t replay(const char *path)
{
#ifdef QN_TSAN /* many times slower */
    enum { LONG = 4096, SOME = 3, ALL = 0 };
#else
    enum { LONG = 4096, SOME = 12, ALL = 1 };
#endif
    static transcript t;
    size_t n = 0;
    read_transcript(path, &t);
    for (size_t i = 0; i < t.n; i++) {
        const exchange *x = &t.x[i];
        const size_t whole = x->request.n;
        once(path, x, 0, whole);
        if (whole <= LONG)
            once(path, x, 0, 1);
        const size_t by = x->slow || whole > LONG || !ALL ? whole / SOME + 1 : 1;
        for (size_t cut = 1; cut < whole; cut += by)
            once(path, x, cut, whole - cut);
        n += 1;
    }
    free_transcript(&t);
    return n;
}

static void test_transcripts(void **state)
{
    glob_t g;
    size_t n = 0;
    (void)state;
    const char *only = getenv("TRANSCRIPT");
    assert_int_equal(glob("tests/api/*.md", 0, NULL, &g), 0);
    for (size_t i = 0; i < g.gl_pathc; i++)
        if (!strstr(g.gl_pathv[i], "README.md") && (!only || strstr(g.gl_pathv[i], only)))
            n += replay(g.gl_pathv[i]);
    printf("figure: %zu exchanges replayed whole, byte by byte and cut at every byte\n", n);
    assert_true(n > 0);
    globfree(&g);
}

/* The harness must see what is wrong. */
static void test_planted(void **state)
{
    static const char *const wrong[] = {
        "404", "200\ncontent-type: text/plain", "200\n-Content-Type", "200\n\n{\"object\":\"lost\"}",
        "200\n\n{\"data\":[]}", "200\n\n{\"data\":[{\"id\":\"x*\"}]}",
        "200\n\ndata: {\"object\":\"list\"}", "200\n\n{\"object\":\"list\",\"nothing\":\"*\"}"};
    static const char right[] = "200\ncontent-type: application/*\n-x-nothing\n\n{\"object\":\"list\",\"data\":[{\"id\":\"seed*\"},\"...\"]}";
    exchange x = {.title = "planted"};
    char text[] = "GET /v1/models", why[1024];
    qn_buf answer = {0};
    (void)state;
    make_request(&x, text);
    talk(&x.request, 0, x.request.n, &answer);
    assert_true(answer_matches(right, &answer, why, sizeof why));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (answer_matches(wrong[i], &answer, why, sizeof why))
            fail_msg("the planted fault was not found: %s", wrong[i]);
    char stream[] = "data: {\"a\":1}\n\ndata: {\"b\":2}\n\ndata: [DONE]\n";
    assert_true(body_matches("data: {\"a\":1}\n...\ndata: [DONE]", stream, why, sizeof why));
    assert_false(body_matches("data: {\"a\":1}\ndata: [DONE]", stream, why, sizeof why));
    assert_false(body_matches("...\ndata: {\"a\":1}\ndata: {\"b\":2}", stream, why, sizeof why));
    assert_false(body_matches("data: {\"b\":2}\n...", stream, why, sizeof why));
    qn__buf_free(&answer);
    qn__buf_free(&x.request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_planted), cmocka_unit_test(test_transcripts)};
    qn_server_options o;
    qn_err err;
    qn_server_options_init(&o);
    o.port = 0;
    o.preload = true;
    o.body_limit = (uint64_t)1 << 20;
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
