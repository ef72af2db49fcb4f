/* soak.c - a server under everything at once, for as long as asked.
 *
 *   build/bench/soak [SECONDS [STREAMS [GAP_MS]]]     600, 32, 250
 *
 * STREAMS clients ask the embedded model, each again and again: streams that are read to the end, streams that are dropped in the
 * middle, answers in one piece in three protocols, bodies that are damaged. The server is a process of its own. At the end:
 *   - its memory, looked at ten times a second, is flat: the median of the last quarter against that of the one after warming up;
 *   - no request is left, none took a minute;
 *   - tokens add up: each answer's usage is what the server's log says of it, and the log's sum is what the metrics say;
 *   - how long streams had to wait for their next token, seen by the clients, and how often for longer than GAP_MS (told, not
 *     judged: the clients share the processors with the server).
 * Exit status 1 if one of the first three is not so; with SOAK_PLANTED in the environment one answer is counted wrong, and it must be. */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "quern.h"

enum { STREAMS_MOST = 256, SAMPLES = 1 << 16, BUCKETS = 512, REQUEST_S = 60, RECALL = 1 << 20 };

/* ---- the server ---- */

static int child_log;

static void log_line(void *arg, const char *line)
{
    (void)arg;
    char text[4096]; /* one write a line: threads do not mix */
    const int n = snprintf(text, sizeof text, "%s\n", line);
    if (n > 0 && (size_t)n < sizeof text && write(child_log, text, (size_t)n) != n)
        _exit(1);
}

static void child(int out, int streams, int gap_ms)
{
    qn_server_options o;
    qn_server *s;
    qn_err err = {0};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    qn_server_options_init(&o);
    o.port = 0;
    o.preload = true;
    o.engine.n_ctx = 1024;
    o.engine.max_seqs = streams;
    o.engine.kv_ram = 64 << 20; /* full soon, so that pages give way all the time; */
    o.recall_ram = RECALL;      /* answers, too, or the memory that is looked at would be that of their store filling up */
    o.scheduler.max_queue = 2 * streams;
    o.scheduler.max_gap_ms = gap_ms;
    o.log = log_line;
    if (qn_server_open(&o, &s, &err)) {
        fprintf(stderr, "soak: %s: %s\n", err.where, err.what);
        _exit(1);
    }
    const int p = qn_server_port(s, NULL);
    if (write(out, &p, sizeof p) != sizeof p)
        _exit(1);
    for (;;)
        (void)pause();
}

/* ---- what is counted ---- */

typedef struct answer {
    uint64_t id; /* x-request-id */
    int64_t prompt, cached, generated;
} answer;

typedef struct client {
    pthread_t thread;
    uint32_t rng;
    answer *answers; /* that came whole, with their usage */
    size_t n, cap;
    uint64_t streams, dropped, damaged, whole, failed;
    uint64_t gaps[BUCKETS]; /* by milliseconds; the last: and more */
    double worst, longest;
    char why[200];          /* of the first failure */
} client;

static int port, gap_ms = 250;
static double until;

static uint32_t below(client *c, uint32_t n)
{
    c->rng = c->rng * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(c->rng >> 8) * n) >> 24);
}

static void fail(client *c, const char *what, const char *detail)
{
    if (c->failed++ == 0)
        (void)snprintf(c->why, sizeof c->why, "%s: %.150s", what, detail ? detail : "");
}

/* ---- requests ---- */

static int dial(void)
{
    const struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval limit = {.tv_sec = REQUEST_S};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (const struct sockaddr *)&a, sizeof a) < 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static int send_request(const char *path, const char *body, size_t n)
{
    qn_buf b = {0};
    const int fd = dial();
    qn__buf_printf(&b, "%s %s HTTP/1.0\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n", body ? "POST" : "GET", path, n);
    qn__buf_put(&b, body ? body : "", n);
    for (size_t at = 0; fd >= 0 && at < b.n;) {
        const ssize_t k = send(fd, b.data + at, b.n - at, MSG_NOSIGNAL);
        if (k <= 0)
            break; /* it may have been refused already */
        at += (size_t)k;
    }
    qn__buf_free(&b);
    return fd;
}

/* The last number behind this key; -1: none. */
static int64_t number(const char *text, const char *key)
{
    const char *at = NULL;
    for (const char *p = text; (p = strstr(p, key)); p += strlen(key))
        at = p + strlen(key);
    return at ? strtoll(at, NULL, 10) : -1;
}

static void count(client *c, const char *text, const char *prompt, const char *cached, const char *generated, bool apart)
{
    answer a = {.prompt = number(text, prompt), .cached = cached ? number(text, cached) : 0, .generated = number(text, generated)};
    const char *id = strcasestr(text, "x-request-id: ");
    if (a.prompt < 0 || a.cached < 0 || a.generated < 0 || !id) {
        fail(c, "an answer without usage", strlen(text) > 150 ? text + strlen(text) - 150 : text);
        return;
    }
    a.id = strtoull(id + 14, NULL, 10);
    a.prompt += apart ? a.cached : 0;
    if (c->n == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 256;
        answer *more = realloc(c->answers, c->cap * sizeof *more);
        if (!more)
            abort();
        c->answers = more;
    }
    c->answers[c->n++] = a;
}

/* Text that begins like others' and ends like nobody's. */
static void prompt_of(client *c, qn_buf *b)
{
    static const char *const begins[] = {"You are careful. ", "Answer in one line. ", "Write code and nothing else. ", ""};
    const char *begin = begins[below(c, 4)];
    for (uint32_t i = below(c, 20); i > 0; i--)
        qn__buf_puts(b, begin);
    for (uint32_t i = 1 + below(c, 12); i > 0; i--)
        qn__buf_printf(b, "word%u ", below(c, 1000));
}

/* `drop`: go after so many pieces; 0: stay. */
static void stream(client *c, uint32_t drop)
{
    qn_buf body = {0}, in = {0};
    char chunk[16384];
    double last = 0;
    uint32_t pieces = 0;
    qn__buf_puts(&body, "{\"messages\":[{\"role\":\"user\",\"content\":\"");
    prompt_of(c, &body);
    qn__buf_printf(&body, "\"}],\"stream\":true,\"stream_options\":{\"include_usage\":true},\"max_tokens\":%u,\"temperature\":%s,\"user\":\"u%u\"}",
                   8 + below(c, 120), below(c, 2) ? "0" : "0.9", below(c, 6));
    const int fd = send_request("/v1/chat/completions", body.data, body.n);
    qn__buf_free(&body);
    ssize_t k = 0;
    while (fd >= 0 && (k = recv(fd, chunk, sizeof chunk, 0)) > 0) {
        const double now = qn__now();
        const bool piece = memmem(chunk, (size_t)k, "\"content\":", 10) != NULL;
        qn__buf_put(&in, chunk, (size_t)k);
        if (piece && last > 0) {
            const double ms = 1e3 * (now - last);
            c->gaps[ms < BUCKETS - 1 ? (int)ms : BUCKETS - 1]++;
            c->worst = ms > c->worst ? ms : c->worst;
        }
        last = piece ? now : last;
        pieces += piece;
        if (drop && pieces >= drop)
            break;
    }
    if (fd >= 0)
        (void)close(fd);
    if (drop && pieces >= drop) {
        c->dropped++;
    } else if (fd < 0 || k < 0 || in.n < 12 || atoi(in.data + 9) != 200 || !strstr(in.data, "data: [DONE]")) {
        fail(c, "a stream that did not end", in.data);
    } else {
        c->streams++;
        count(c, in.data, "\"prompt_tokens\":", "\"cached_tokens\":", "\"completion_tokens\":", false);
    }
    qn__buf_free(&in);
}

static char *receive(int fd, int *status)
{
    qn_buf in = {0};
    char chunk[16384];
    ssize_t k = 0;
    while (fd >= 0 && (k = recv(fd, chunk, sizeof chunk, 0)) > 0)
        qn__buf_put(&in, chunk, (size_t)k);
    if (fd >= 0)
        (void)close(fd);
    *status = fd < 0 || k < 0 || in.n < 12 ? 0 : atoi(in.data + 9);
    return qn__buf_take(&in, NULL);
}

static void whole(client *c)
{
    static const struct kind {
        const char *path, *key, *rest, *prompt, *cached, *generated;
        bool apart;
    } kinds[] = {
        {"/v1/messages", "max_tokens", "", "\"input_tokens\":", "\"cache_read_input_tokens\":", "\"output_tokens\":", true},
        {"/v1/responses", "max_output_tokens", "", "\"input_tokens\":", "\"cached_tokens\":", "\"output_tokens\":", false},
        {"/v1/chat/completions", "max_tokens", ",\"n\":2", "\"prompt_tokens\":", "\"cached_tokens\":", "\"completion_tokens\":", false},
    };
    const struct kind *k = &kinds[below(c, 3)];
    qn_buf body = {0};
    int status;
    qn__buf_printf(&body, "{\"%s\":[{\"role\":\"user\",\"content\":\"", strcmp(k->path, "/v1/responses") == 0 ? "input" : "messages");
    prompt_of(c, &body);
    qn__buf_printf(&body, "\"}],\"%s\":%u%s}", k->key, 1 + below(c, 40), k->rest);
    char *s = receive(send_request(k->path, body.data, body.n), &status);
    qn__buf_free(&body);
    if (status != 200) {
        fail(c, k->path, s);
    } else {
        c->whole++;
        count(c, s, k->prompt, k->cached, k->generated, k->apart);
    }
    qn_free(s);
}

/* A body that is wrong somewhere: refused, or harmless; never anything else. */
static void damaged(client *c)
{
    static const char good[] = "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"h\\u00e9\"}]}],\"max_tokens\":2,"
                               "\"stop\":[\"a\"],\"logit_bias\":{\"5\":-1.5},\"tools\":[]}";
    static const char *const paths[] = {"/v1/chat/completions", "/v1/messages", "/v1/responses", "/api/chat", "/v1/completions", "/nowhere"};
    char body[sizeof good];
    size_t n = sizeof good - 1;
    int status;
    memcpy(body, good, sizeof good);
    if (below(c, 2))
        n = below(c, (uint32_t)n);
    for (uint32_t i = 1 + below(c, 4); i > 0 && n; i--)
        body[below(c, (uint32_t)n)] = (char)below(c, 256);
    char *s = receive(send_request(paths[below(c, 6)], body, n), &status);
    if (status != 200 && (status < 400 || status >= 500))
        fail(c, "a damaged body", s ? s : "no answer");
    c->damaged++;
    qn_free(s);
}

static void *work(void *arg)
{
    client *c = arg;
    while (qn__now() < until) {
        const double begun = qn__now();
        const uint32_t what = below(c, 20);
        if (what < 12)
            stream(c, 0);
        else if (what < 15)
            stream(c, 1 + below(c, 30));
        else if (what < 18)
            whole(c);
        else
            damaged(c);
        const double took = qn__now() - begun;
        c->longest = took > c->longest ? took : c->longest;
    }
    return NULL;
}

/* ---- looking at it ---- */

static long resident_kib(pid_t pid)
{
    char path[64], *text;
    size_t n;
    long pages = 0, all = 0;
    (void)snprintf(path, sizeof path, "/proc/%ld/statm", (long)pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return 0;
    if (qn__read_stream(f, "statm", 256, &text, &n, NULL) == QN_OK) {
        (void)sscanf(text, "%ld %ld", &all, &pages);
        qn_free(text);
    }
    (void)fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int by_size(const void *a, const void *b)
{
    const long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

static long median(const long *v, size_t n)
{
    long copy[SAMPLES];
    memcpy(copy, v, n * sizeof *v);
    qsort(copy, n, sizeof *copy, by_size);
    return copy[n / 2];
}

static int by_id(const void *a, const void *b)
{
    const answer *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static uint64_t metric(const char *text, const char *name)
{
    char line[80];
    (void)snprintf(line, sizeof line, "\n%s ", name);
    const char *p = strstr(text, line);
    return p ? strtoull(p + strlen(line), NULL, 10) : UINT64_MAX;
}

/* True if every answer is in the log with the same numbers, and the log adds up to the metrics. */
static bool adds_up(char *log, const char *metrics, answer *all, size_t n)
{
    answer sum = {0};
    size_t found = 0, wrong = 0, lines = 0;
    qsort(all, n, sizeof *all, by_id);
    char *save = NULL;
    for (char *line = strtok_r(log, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (!strstr(line, "\"event\":\"answer\""))
            continue;
        answer a = {.id = (uint64_t)number(line, "\"request\":"), .prompt = number(line, "\"prompt_tokens\":"),
                    .cached = number(line, "\"cached_tokens\":"), .generated = number(line, "\"generated_tokens\":")};
        lines++;
        sum.prompt += a.prompt;
        sum.cached += a.cached;
        sum.generated += a.generated;
        const answer *b = bsearch(&a, all, n, sizeof *all, by_id);
        if (!b)
            continue;
        found++;
        if ((b->prompt != a.prompt || b->cached != a.cached || b->generated != a.generated) && wrong++ == 0)
            printf("  request %" PRIu64 ": the client was told %" PRId64 "/%" PRId64 "/%" PRId64 ", the log %" PRId64 "/%" PRId64 "/%" PRId64 "\n",
                   a.id, b->prompt, b->cached, b->generated, a.prompt, a.cached, a.generated);
    }
    const bool same = metric(metrics, "quern_prompt_tokens_total") == (uint64_t)sum.prompt &&
                      metric(metrics, "quern_cached_tokens_total") == (uint64_t)sum.cached &&
                      metric(metrics, "quern_generated_tokens_total") == (uint64_t)sum.generated;
    printf("  tokens: %zu answers that clients read to the end, %zu of them in the log, %zu with other numbers; %zu answers in the log: %" PRId64
           " prompt tokens, %" PRId64 " cached, %" PRId64 " generated, which %s what the metrics say\n",
           n, found, wrong, lines, sum.prompt, sum.cached, sum.generated, same ? "is" : "IS NOT");
    return same && wrong == 0 && found == n;
}

static bool tell_gaps(const client *c, int n)
{
    static uint64_t all[BUCKETS];
    uint64_t total = 0, over = 0, at = 0;
    double worst = 0;
    int p50 = -1, p99 = -1, p999 = -1;
    for (int i = 0; i < n; i++) {
        worst = c[i].worst > worst ? c[i].worst : worst;
        for (int k = 0; k < BUCKETS; k++) {
            all[k] += c[i].gaps[k];
            total += c[i].gaps[k];
            over += k >= gap_ms ? c[i].gaps[k] : 0;
        }
    }
    for (int k = 0; k < BUCKETS; k++) {
        at += all[k];
        p50 = p50 < 0 && 2 * at >= total ? k : p50;
        p99 = p99 < 0 && 100 * at >= 99 * total ? k : p99;
        p999 = p999 < 0 && 1000 * at >= 999 * total ? k : p999;
    }
    printf("  gaps between two tokens of a stream, seen by clients: %" PRIu64 "; half of them within %d ms, 99 %% within %d ms, 99.9 %% within %d ms, "
           "the worst %.0f ms; over %d ms: %" PRIu64 "\n", total, p50 + 1, p99 + 1, p999 + 1, worst, gap_ms, over);
    return over == 0;
}

/* Waits for them; their answers and counts in one. NULL: no memory. */
static answer *join_all(client *clients, int n, client *sum, size_t *n_all)
{
    answer *all = NULL;
    *n_all = 0;
    for (int i = 0; i < n; i++) {
        client *c = &clients[i];
        (void)pthread_join(c->thread, NULL);
        answer *more = realloc(all, (*n_all + c->n + 1) * sizeof *all);
        if (!more) {
            free(all);
            return NULL;
        }
        all = more;
        if (c->n)
            memcpy(all + *n_all, c->answers, c->n * sizeof *all);
        *n_all += c->n;
        free(c->answers);
        sum->streams += c->streams;
        sum->dropped += c->dropped;
        sum->damaged += c->damaged;
        sum->whole += c->whole;
        sum->failed += c->failed;
        sum->longest = c->longest > sum->longest ? c->longest : sum->longest;
        if (c->why[0] && !sum->why[0])
            memcpy(sum->why, c->why, sizeof sum->why);
    }
    return all;
}

int main(int argc, char **argv)
{
    static client clients[STREAMS_MOST];
    static long rss[SAMPLES];
    const double seconds = argc > 1 && atof(argv[1]) > 0 ? atof(argv[1]) : 600;
    int n = argc > 2 ? atoi(argv[2]) : 32, out[2], status;
    gap_ms = argc > 3 && atoi(argv[3]) > 0 ? atoi(argv[3]) : gap_ms;
    n = n < 1 ? 1 : n > STREAMS_MOST ? STREAMS_MOST : n;
    FILE *log = tmpfile();
    if (!log || pipe(out) < 0)
        return 1;
    child_log = fileno(log);
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0)
        child(out[1], n, gap_ms);
    (void)close(out[1]);
    if (pid < 0 || read(out[0], &port, sizeof port) != sizeof port)
        return 1;
    const double begun = qn__now();
    until = begun + seconds;
    for (int i = 0; i < n; i++) {
        clients[i].rng = (uint32_t)i * 7919 + 1;
        if (pthread_create(&clients[i].thread, NULL, work, &clients[i]))
            return 1;
    }
    size_t samples = 0;
    for (; qn__now() < until && samples < SAMPLES; samples++) {
        rss[samples] = resident_kib(pid);
        (void)usleep(seconds > SAMPLES / 10 ? 1000000 : 100000);
    }
    size_t n_all;
    client sum = {0};
    answer *all = join_all(clients, n, &sum, &n_all);
    if (!all)
        return 1;
    printf("soak: %.0f s, %d clients: %" PRIu64 " streams read to the end, %" PRIu64 " dropped, %" PRIu64 " answers in one piece, %" PRIu64
           " damaged bodies; %" PRIu64 " failures%s%s; the longest request took %.1f s\n",
           qn__now() - begun, n, sum.streams, sum.dropped, sum.whole, sum.damaged, sum.failed, sum.why[0] ? ": " : "", sum.why, sum.longest);
    bool ok = sum.failed == 0 && sum.longest < REQUEST_S && n_all > 0, empty = false;
    for (int i = 0; i < 200 && !empty; i++) {
        char *s = receive(send_request("/v1/requests", NULL, 0), &status);
        empty = s && strstr(s, "\"data\":[]");
        qn_free(s);
        if (!empty)
            (void)usleep(50000);
    }
    printf("  requests left running: %s\n", empty ? "none" : "SOME");
    char *metrics = receive(send_request("/metrics", NULL, 0), &status), *text = NULL;
    size_t n_text;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    rewind(log);
    if (!metrics || qn__read_stream(log, "log", (size_t)1 << 30, &text, &n_text, NULL))
        return 1;
    if (getenv("SOAK_PLANTED") && n_all)
        all[n_all / 2].generated++;
    ok = adds_up(text, metrics, all, n_all) && ok && empty;
    const size_t quarter = samples / 4;
    const long early = quarter ? median(rss + quarter, quarter) : 0, late = quarter ? median(rss + samples - quarter, quarter) : 0;
    const uint64_t recall = metric(metrics, "quern_recall_bytes");
    const double grown = early ? 100.0 * (double)(late - early) / (double)early : 0, most = seconds >= 300 ? 2 : 10;
    printf("  memory of the server: %.1f MiB in the second quarter, %.1f MiB in the last: %+.1f %% (%.0f %% are allowed); %" PRIu64 " KiB of it are answers kept\n", (double)early / 1024,
           (double)late / 1024, grown, most, recall >> 10);
#ifdef QN_SANITIZED /* its own books grow */
    ok = ok && recall <= RECALL;
#else
    ok = ok && grown <= most && recall <= RECALL;
#endif
    (void)tell_gaps(clients, n);
    printf("soak: %s\n", ok ? "passed" : "FAILED");
    qn_free(text);
    qn_free(metrics);
    free(all);
    (void)fclose(log);
    return ok ? 0 : 1;
}
