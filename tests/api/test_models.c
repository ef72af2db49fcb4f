/* test_models.c - several models behind one server: loads that come at once, memory that is not enough for all, files that vanish or are
 * damaged, names that nobody knows. Who runs is never ended for another; who cannot be loaded hurts no one else. */
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
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "services/api/models.h"

#define OK(x)                                                                                                          \
    do {                                                                                                               \
        qn_err err = {0};                                                                                              \
        if ((x) != QN_OK)                                                                                              \
            fail_msg("%s: %s: %s", #x, err.where, err.what);                                                           \
    } while (0)

enum { MODELS = 3 };
static char dir[64], paths[MODELS][96];
static const char *const names[MODELS] = {"alpha", "beta", "gamma"};
static const char *list[MODELS] = {paths[0], paths[1], paths[2]};

static void copy(const char *to, size_t most)
{
    char *text;
    size_t n;
    OK(qn__read_file("models/seedling-q8_0.gguf", 64 << 20, &text, &n, &err));
    FILE *f = fopen(to, "wb");
    assert_non_null(f);
    n = n < most ? n : most;
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    qn_free(text);
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/quern-models-XXXXXX");
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < MODELS; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "%s/%s.gguf", dir, names[i]);
        copy(paths[i], SIZE_MAX);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < MODELS; i++)
        (void)unlink(paths[i]);
    return rmdir(dir);
}

/* ---- holding ---- */

static double patience_s;

static void open_models(api_models *m, uint64_t memory, double wait_s)
{
    api_models_options o = {.paths = list, .n_paths = MODELS, .memory = memory, .wait_s = wait_s, .patience_s = patience_s};
    qn_engine_options_init(&o.engine);
    o.engine.n_threads = 1;
    OK(api_models_open(&o, m, &err));
}

typedef struct holder {
    api_models *m;
    api_model *one;
    qn_status st;
    pthread_t thread;
} holder;

static void *hold(void *arg)
{
    holder *h = arg;
    h->st = api_model_hold(h->m, h->one, NULL, NULL);
    return NULL;
}

static void two_at_once(void **state)
{
    enum { MANY = 8 };
    api_models m;
    holder h[MANY];
    (void)state;
    open_models(&m, 0, 0);
    for (int i = 0; i < MANY; i++) { /* four want the first, the others the others */
        h[i] = (holder){.m = &m, .one = &m.list[i < 4 ? 0 : 1 + i % 2]};
        assert_int_equal(pthread_create(&h[i].thread, NULL, hold, &h[i]), 0);
    }
    for (int i = 0; i < MANY; i++) {
        (void)pthread_join(h[i].thread, NULL);
        assert_int_equal(h[i].st, QN_OK);
        api_model_release(&m, h[i].one);
    }
    for (int i = 0; i < MODELS; i++) {
        assert_int_equal(m.list[i].loads, 1);
        assert_int_equal(m.list[i].users, 0);
    }
    assert_int_equal(m.memory_used, m.list[0].memory + m.list[1].memory + m.list[2].memory);
    api_models_close(&m);
}

/* Memory for one and a half: the idle one goes, the one at work stays, and who cannot be loaded is told when time is up. */
static void not_enough_memory(void **state)
{
    api_models m;
    holder h;
    qn_err why = {0};
    (void)state;
    open_models(&m, 0, 0);
    OK(api_model_hold(&m, &m.list[0], NULL, &err));
    const uint64_t one = m.list[0].memory, budget = one + one / 2;
    api_model_release(&m, &m.list[0]);
    api_models_close(&m);
    assert_true(one > 0);

    open_models(&m, budget, 0.3);
    OK(api_model_hold(&m, &m.list[0], NULL, &err));
    for (int i = 1; i < MODELS; i++) { /* also when it was never loaded, and what it needs not known */
        assert_int_equal(api_model_hold(&m, &m.list[i], NULL, &why), QN_EBUSY);
        assert_non_null(strstr(why.what, "no memory"));
        assert_int_equal(m.list[0].state, API_MODEL_READY);
        assert_true(m.memory_used <= budget);
    }
    api_model_release(&m, &m.list[0]);
    for (int k = 1; k < 7; k++) {
        OK(api_model_hold(&m, &m.list[k % MODELS], NULL, &err));
        assert_true(m.memory_used <= budget);
        api_model_release(&m, &m.list[k % MODELS]);
    }
    api_models_close(&m);

    open_models(&m, budget, 60); /* who waits gets it as soon as it is free */
    OK(api_model_hold(&m, &m.list[0], NULL, &err));
    h = (holder){.m = &m, .one = &m.list[1]};
    assert_int_equal(pthread_create(&h.thread, NULL, hold, &h), 0);
    (void)usleep(100000);
    assert_int_equal(m.list[0].users, 1);
    api_model_release(&m, &m.list[0]);
    (void)pthread_join(h.thread, NULL);
    assert_int_equal(h.st, QN_OK);
    assert_int_equal(m.list[0].state, API_MODEL_IDLE);
    api_model_release(&m, &m.list[1]);
    api_models_close(&m);

    open_models(&m, one / 2, 0.3); /* one that is larger than all there is may be alone */
    for (int k = 0; k < 4; k++) {
        OK(api_model_hold(&m, &m.list[k % 2], NULL, &err));
        assert_int_equal(m.memory_used, m.list[k % 2].memory);
        api_model_release(&m, &m.list[k % 2]);
    }
    api_models_close(&m);
}

static void stopped_while_waiting(void **state)
{
    api_models m;
    holder h;
    (void)state;
    open_models(&m, 1, 600);
    OK(api_model_hold(&m, &m.list[0], NULL, &err));
    h = (holder){.m = &m, .one = &m.list[1]};
    assert_int_equal(pthread_create(&h.thread, NULL, hold, &h), 0);
    (void)usleep(50000);
    api_models_stop(&m);
    (void)pthread_join(h.thread, NULL); /* at once, not in ten minutes */
    assert_int_equal(h.st, QN_EBUSY);
    api_model_release(&m, &m.list[0]);
    api_models_close(&m);
}

/* ---- fairness ----
 *
 * RELAY threads keep the first model at work without a gap: each lets go only when another has come after it, or when the model takes
 * nothing new. So what happens does not depend on how quick the machine is, and is counted in their turns. */

enum { RELAY = 3, MANY_TURNS = 50 };

typedef struct relay {
    api_models *m;
    atomic_int turns, beside; /* beside: begun while the second model was waited for */
    atomic_bool stop;
    pthread_t thread[RELAY];
} relay;

static bool is_closed(api_models *m)
{
    qn__lock(&m->lock);
    const bool closed = m->list[0].closed_at > 0;
    qn__unlock(&m->lock);
    return closed;
}

/* Somebody waits for it. */
static bool is_wanted(api_models *m, const api_model *one)
{
    bool waits = false;
    qn__lock(&m->lock);
    for (const api_waiter *w = m->waiting; w; w = w->next)
        waits = waits || (w->one == one && !w->let_in);
    qn__unlock(&m->lock);
    return waits;
}

static void *run_relay(void *arg)
{
    relay *r = arg;
    while (!atomic_load(&r->stop)) {
        if (api_model_hold(r->m, &r->m->list[0], NULL, NULL))
            return NULL;
        atomic_fetch_add(&r->beside, is_wanted(r->m, &r->m->list[1]));
        const int turn = atomic_fetch_add(&r->turns, 1) + 1;
        while (atomic_load(&r->turns) == turn && !is_closed(r->m) && !atomic_load(&r->stop))
            (void)usleep(1000);
        api_model_release(r->m, &r->m->list[0]);
    }
    return r;
}

static void await_turns(relay *r, int n)
{
    const int from = atomic_load(&r->turns);
    while (atomic_load(&r->turns) < from + n)
        (void)usleep(1000);
}

static void start_relay(relay *r, api_models *m)
{
    *r = (relay){.m = m};
    for (int i = 0; i < RELAY; i++)
        assert_int_equal(pthread_create(&r->thread[i], NULL, run_relay, r), 0);
    await_turns(r, RELAY);
}

static void stop_relay(relay *r)
{
    void *ok;
    atomic_store(&r->stop, true);
    for (int i = 0; i < RELAY; i++) {
        (void)pthread_join(r->thread[i], &ok);
        assert_non_null(ok);
    }
}

static void await_waiting(api_models *m, const api_model *one)
{
    while (!is_wanted(m, one))
        (void)usleep(1000);
}

static void set_load_s(api_models *m, api_model *one, double s)
{
    qn__lock(&m->lock);
    one->load_s = s;
    qn__unlock(&m->lock);
}

static uint64_t memory_of_one(void)
{
    api_models m;
    open_models(&m, 0, 0);
    OK(api_model_hold(&m, &m.list[0], NULL, &err));
    const uint64_t one = m.list[0].memory;
    api_model_release(&m, &m.list[0]);
    api_models_close(&m);
    return one;
}

/* Steady work of the first, one request for the second, and when that was answered the first goes on. Turns of the first that were begun
 * while the second was waited for; with `kept_out` it must not be held before MANY_TURNS of these. */
static int turns_beside(double patience, double load_s, bool kept_out)
{
    api_models m;
    relay r;
    holder h;
    const uint64_t one = memory_of_one();
    patience_s = patience;
    open_models(&m, one + one / 2, 60);
    patience_s = 0;
    OK(api_model_hold(&m, &m.list[0], NULL, &err));
    set_load_s(&m, &m.list[0], load_s);
    api_model_release(&m, &m.list[0]);
    start_relay(&r, &m);
    h = (holder){.m = &m, .one = &m.list[1]};
    assert_int_equal(pthread_create(&h.thread, NULL, hold, &h), 0);
    if (kept_out) {
        await_waiting(&m, h.one);
        await_turns(&r, MANY_TURNS + RELAY);
        assert_true(is_wanted(&m, h.one));
        set_load_s(&m, &m.list[0], 0); /* it has served for long enough */
        if (patience > 1)
            stop_relay(&r);
    }
    (void)pthread_join(h.thread, NULL);
    const int beside = atomic_load(&r.beside);
    assert_int_equal(h.st, QN_OK);
    assert_int_equal(m.list[1].loads, 1);
    assert_int_equal(m.list[0].state, API_MODEL_IDLE);
    api_model_release(&m, &m.list[1]);
    if (!atomic_load(&r.stop)) {
        await_turns(&r, MANY_TURNS);
        stop_relay(&r);
        assert_int_equal(m.list[0].loads, 2);
    }
    assert_int_equal(m.list[0].users + m.list[1].users, 0);
    api_models_close(&m);
    return beside;
}

static void steady_work_keeps_nobody_out(void **state)
{
    (void)state;
    const int fair = turns_beside(1e-9, 0, false);
    printf("figure: while somebody waits for memory under steady work: %d turns of that are begun, at most %d\n", fair, RELAY);
    assert_true(fair <= RELAY); /* let in before, and counted after */
    /* What was just loaded serves first, also when somebody waits. */
    assert_true(turns_beside(1e-9, 1000, true) >= MANY_TURNS);
    /* Planted: where patience has no end, the other waits for as long as there is work. */
    assert_true(turns_beside(1e9, 0, true) >= MANY_TURNS);
}

/* Who came first is first; of one model all are let in together. */
static void in_order(void **state)
{
    api_models m;
    holder h[4];
    (void)state;
    const uint64_t one = memory_of_one();
    open_models(&m, one + one / 2, 60);
    OK(api_model_hold(&m, &m.list[0], NULL, &err));
    for (int i = 0; i < 4; i++) { /* beta, gamma, beta, gamma */
        h[i] = (holder){.m = &m, .one = &m.list[1 + i % 2]};
        assert_int_equal(pthread_create(&h[i].thread, NULL, hold, &h[i]), 0);
        if (i < 2)
            await_waiting(&m, h[i].one);
    }
    for (size_t n = 0; n < 4; (void)usleep(1000)) {
        n = 0;
        qn__lock(&m.lock);
        for (const api_waiter *w = m.waiting; w; w = w->next)
            n++;
        qn__unlock(&m.lock);
    }
    api_model_release(&m, &m.list[0]);
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(h[i].thread, NULL);
        (void)pthread_join(h[i + 2].thread, NULL);
        assert_int_equal(h[i].st, QN_OK);
        assert_int_equal(h[i + 2].st, QN_OK);
        assert_int_equal(m.list[1].loads, 1);
        assert_int_equal(m.list[2].loads, i);
        api_model_release(&m, h[i].one);
        assert_int_equal(m.list[1 + i].users, 1);
        api_model_release(&m, h[i].one);
    }
    api_models_close(&m);
}

/* Work that does not end: who asks for the same model is let in after half the time that anybody waits. */
static void endless_work(void **state)
{
    api_models m;
    holder h;
    qn_err why = {0};
    (void)state;
    const uint64_t one = memory_of_one();
    patience_s = 1e-9;
    open_models(&m, one + one / 2, 1.5);
    patience_s = 0;
    OK(api_model_hold(&m, &m.list[0], NULL, &err));
    set_load_s(&m, &m.list[0], 0);
    h = (holder){.m = &m, .one = &m.list[1]};
    assert_int_equal(pthread_create(&h.thread, NULL, hold, &h), 0);
    await_waiting(&m, h.one);
    OK(api_model_hold(&m, &m.list[0], NULL, &err)); /* is not failed for want of memory */
    (void)pthread_join(h.thread, NULL);
    assert_int_equal(h.st, QN_EBUSY);
    assert_int_equal(api_model_hold(&m, &m.list[2], NULL, &why), QN_EBUSY);
    assert_non_null(strstr(why.what, "no memory"));
    OK(api_model_hold(&m, &m.list[0], NULL, &err)); /* nobody waits any more: at once */
    for (int i = 0; i < 3; i++)
        api_model_release(&m, &m.list[0]);
    assert_int_equal(m.list[0].loads, 1);
    api_models_close(&m);
}

/* ---- through HTTP ---- */

static qn_server *server;
static int port;

static void serve(uint64_t memory, bool preload)
{
    qn_server_options o;
    qn_server_options_init(&o);
    o.models = list;
    o.n_models = MODELS;
    o.memory = memory;
    o.preload = preload;
    o.port = 0;
    o.engine.n_threads = 1;
    OK(qn_server_open(&o, &server, &err));
    port = qn_server_port(server, NULL);
}

/* HTTP/1.0: ends with the connection. */
static int ask(const char *path, const char *body, qn_buf *b)
{
    const struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval limit = {.tv_sec = 60};
    char chunk[4096];
    qn_buf out = {0};
    *b = (qn_buf){0};
    qn__buf_printf(&out, "%s %s HTTP/1.0\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n%s", body ? "POST" : "GET", path,
                   body ? strlen(body) : 0, body ? body : "");
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (const struct sockaddr *)&a, sizeof a) < 0 || send(fd, out.data, out.n, MSG_NOSIGNAL) != (ssize_t)out.n)
        fail_msg("the server does not take requests any more");
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    for (ssize_t k; (k = recv(fd, chunk, sizeof chunk, 0)) > 0;)
        qn__buf_put(b, chunk, (size_t)k);
    (void)close(fd);
    qn__buf_free(&out);
    return b->n > 12 ? atoi(b->data + 9) : 0;
}

static void want(int status, const char *path, const char *body, const char *has)
{
    qn_buf b;
    const int got = ask(path, body, &b);
    if (got != status || (has && !strstr(b.data, has)))
        fail_msg("%s %s: %d, %s\nwanted %d with %s", path, body ? body : "", got, b.data ? b.data : "", status, has ? has : "");
    qn__buf_free(&b);
}

static void works(const char *name)
{
    char body[200];
    (void)snprintf(body, sizeof body, "{\"model\":\"%s\",\"prompt\":\"def f\",\"max_tokens\":3,\"temperature\":0}", name);
    want(200, "/v1/completions", body, "\"finish_reason\"");
}

static void unknown_names(void **state)
{
    static const char no[] = "{\"model\":\"delta\",\"max_tokens\":2,\"prompt\":\"x\",\"input\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}";
    (void)state;
    serve(0, false);
    want(404, "/v1/chat/completions", no, "{\"error\":{\"message\":\"the model 'delta' is not served here");
    want(404, "/v1/chat/completions", no, "\"code\":\"model_not_found\"");
    want(404, "/v1/completions", no, "\"code\":\"model_not_found\"");
    want(404, "/v1/embeddings", no, "\"code\":\"model_not_found\"");
    want(404, "/v1/responses", no, "\"code\":\"model_not_found\"");
    want(404, "/v1/messages", no, "\"type\":\"error\"");
    want(404, "/v1/messages", no, "\"type\":\"not_found_error\"");
    want(404, "/v1/messages/count_tokens", no, "\"type\":\"not_found_error\"");
    want(404, "/api/chat", no, "{\"error\":\"");
    want(404, "/api/generate", no, "{\"error\":\"");
    want(404, "/api/show", "{\"model\":\"delta\"}", "{\"error\":\"");
    want(404, "/v1/models/delta", NULL, "model_not_found");
    want(200, "/v1/models", NULL, "\"gamma\"");
    works("alpha:latest");
    qn_server_close(server);
}

static void files_vanish(void **state)
{
    (void)state;
    serve(0, true);
    works("alpha");
    assert_int_equal(unlink(paths[1]), 0);
    copy(paths[2], 100000);
    for (int k = 0; k < 2; k++) { /* it is tried each time */
        want(500, "/v1/completions", "{\"model\":\"beta\",\"prompt\":\"x\"}", "beta.gguf");
        want(500, "/v1/messages", "{\"model\":\"gamma\",\"max_tokens\":2,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", "gamma.gguf");
        works("alpha");
    }
    copy(paths[1], SIZE_MAX);
    copy(paths[2], SIZE_MAX);
    works("beta");
    works("gamma");
    want(200, "/health", NULL, "ok");
    qn_server_close(server);
    /* At the start it is said at once. */
    qn_server_options o;
    qn_err err = {0};
    qn_server *none = NULL;
    qn_server_options_init(&o);
    copy(paths[2], 100);
    o.models = list;
    o.n_models = MODELS;
    o.port = 0;
    assert_true(qn_server_open(&o, &none, &err) != QN_OK && strstr(err.where, "gamma.gguf"));
    copy(paths[2], SIZE_MAX);
}

#ifdef QN_SANITIZED /* many times slower */
#define LONG "200"
#else
#define LONG "1500"
#endif
static atomic_int streaming;

/* A long answer of the first; the body when it is over. */
static void *long_answer(void *arg)
{
    atomic_fetch_add(&streaming, 1);
    const int status = ask("/v1/completions", "{\"model\":\"alpha\",\"prompt\":\"def f\",\"max_tokens\":" LONG ",\"ignore_eos\":true,\"temperature\":1,\"seed\":3}", arg);
    atomic_fetch_sub(&streaming, 1);
    return status == 200 ? arg : NULL;
}

static void at_work_is_not_ended(void **state)
{
    api_models m;
    pthread_t thread;
    void *ok;
    qn_buf b = {0};
    (void)state;
    open_models(&m, 0, 0);
    OK(api_model_hold(&m, &m.list[0], NULL, &err));
    const uint64_t one = m.list[0].memory;
    api_model_release(&m, &m.list[0]);
    api_models_close(&m);
    serve(one + one / 2, true);
    assert_int_equal(pthread_create(&thread, NULL, long_answer, &b), 0);
    for (int i = 0; i < 200; i++) { /* until it runs */
        qn_buf r;
        (void)ask("/v1/requests", NULL, &r);
        const bool runs = strstr(r.data, "\"writing\"") != NULL;
        qn__buf_free(&r);
        if (runs)
            break;
        (void)usleep(5000);
    }
    const bool meanwhile = atomic_load(&streaming) == 1;
    works("beta"); /* waits for it */
    (void)pthread_join(thread, &ok);
    assert_non_null(ok);
    assert_non_null(strstr(b.data, "\"completion_tokens\":" LONG));
    assert_true(meanwhile);
    qn__buf_free(&b);
    for (int k = 0; k < 6; k++)
        works(names[k % MODELS]);
    qn_server_close(server);
}

/* Who only looks does not wait for loads, and sees nothing of a model that is on its way in or out. */
static void *look(void *arg)
{
    static const char *const at[] = {"/api/tags", "/v1/models", "/api/ps", "/v1/models/beta", "/metrics", "/health"};
    for (size_t i = 0; !atomic_load((atomic_bool *)arg); i++) {
        qn_buf b;
        const int status = ask(at[i % (sizeof at / sizeof *at)], NULL, &b);
        qn__buf_free(&b);
        if (status != 200 && status != 503) /* 503: /health while the first is being loaded */
            return arg;
    }
    return NULL;
}

static void looked_at_meanwhile(void **state)
{
    enum { LOOKERS = 3, ROUNDS = 12 };
    pthread_t thread[LOOKERS];
    atomic_bool over = false;
    void *bad;
    (void)state;
    serve(1, false); /* memory for one at a time */
    for (int i = 0; i < LOOKERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, look, &over), 0);
    for (int k = 0; k < ROUNDS; k++)
        works(names[k % MODELS]);
    atomic_store(&over, true);
    for (int i = 0; i < LOOKERS; i++) {
        (void)pthread_join(thread[i], &bad);
        assert_null(bad);
    }
    qn_server_close(server);
}

static void *ask_beta(void *arg)
{
    return ask("/v1/completions", "{\"model\":\"beta\",\"prompt\":\"def f\",\"max_tokens\":3,\"temperature\":0}", arg) == 200 ? arg : NULL;
}

/* More wait for a model than there are threads to handle requests: the others are handled all the same, above all what they wait for. */
static void many_wait(void **state)
{
    enum { MANY = 12 };
    pthread_t first, thread[MANY];
    qn_buf long_one = {0}, b[MANY] = {{0}};
    void *ok;
    (void)state;
    const uint64_t one = memory_of_one();
    serve(one + one / 2, true);
    assert_int_equal(pthread_create(&first, NULL, long_answer, &long_one), 0);
    bool runs = false;
    for (int i = 0; i < 2000 && !runs; i++, (void)usleep(1000)) {
        qn_buf r;
        (void)ask("/v1/requests", NULL, &r);
        runs = strstr(r.data, "\"writing\"") != NULL;
        qn__buf_free(&r);
    }
    for (int i = 0; i < MANY; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, ask_beta, &b[i]), 0);
    want(200, "/metrics", NULL, "quern_running{model=\"alpha\"}");
    want(200, "/tokenize", "{\"model\":\"alpha\",\"content\":\"def f\"}", "tokens");
    for (int i = 0; i < MANY; i++) {
        (void)pthread_join(thread[i], &ok);
        assert_non_null(ok);
        qn__buf_free(&b[i]);
    }
    (void)pthread_join(first, &ok);
    assert_non_null(ok);
    assert_non_null(strstr(long_one.data, "\"completion_tokens\":" LONG));
    qn__buf_free(&long_one);
    qn_server_close(server);
}

static void planted(void **state)
{
    (void)state;
    qn_buf b;
    serve(0, false);
    assert_int_equal(ask("/v1/completions", "{\"model\":\"alpha\",\"prompt\":\"x\",\"max_tokens\":15,\"temperature\":0,\"ignore_eos\":true}", &b), 200);
    assert_null(strstr(b.data, "\"completion_tokens\":" LONG)); /* a shorter answer is seen */
    qn__buf_free(&b);
    qn_server_close(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_at_once),  cmocka_unit_test(not_enough_memory),    cmocka_unit_test(unknown_names),
        cmocka_unit_test(files_vanish), cmocka_unit_test(at_work_is_not_ended), cmocka_unit_test(looked_at_meanwhile),
        cmocka_unit_test(stopped_while_waiting), cmocka_unit_test(many_wait), cmocka_unit_test(planted),
        cmocka_unit_test(steady_work_keeps_nobody_out), cmocka_unit_test(in_order), cmocka_unit_test(endless_work),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
