/* The day of an agent: ten turns each of three agents, in the shape in which their requests come (Claude Code on /v1/messages, Codex on
 * /v1/responses, an agent on /v1/chat/completions), against a server in a process of its own, which is killed (-9) after the fifth
 * turn and started again on the same directory. What the server says is sent back the way each client sends it: arguments of calls
 * parsed and written anew, blocks that become strings, headers that change. From the second turn on nearly nothing may be read again. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <dirent.h>
#include <jansson.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/str.h"
#include "quern.h"

enum { TURNS = 10, RESTART = 5 };
#ifdef QN_SANITIZED
enum { SENTENCES = 60, CTX = 8192 }; /* too few for the share that is asked for: only that nothing breaks */
static const double LEAST = 0.5;
#else
enum { SENTENCES = 420, CTX = 24576 };
static const double LEAST = 0.95;
#endif

/* ---- the server ---- */

static char dir[64];
static pid_t server;
static int port;
static uint64_t recall_ram; /* 0: as it is by itself */
static bool recall_none;

static void child(int out)
{
    qn_server_options o;
    qn_server *s;
    qn_err err = {0};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)alarm(300);
    qn_server_options_init(&o);
    o.port = 0;
    o.preload = true;
    o.engine.n_ctx = CTX;
    o.engine.max_seqs = 2;
    o.engine.kv_disk = dir;
    if (recall_ram || recall_none)
        o.recall_ram = recall_ram;
    if (qn_server_open(&o, &s, &err)) {
        fprintf(stderr, "%s: %s\n", err.where, err.what);
        _exit(1);
    }
    const int p = qn_server_port(s, NULL);
    if (write(out, &p, sizeof p) != sizeof p)
        _exit(1);
    for (;;)
        (void)pause();
}

static void start(void)
{
    int p[2];
    assert_int_equal(pipe(p), 0);
    fflush(stdout);
    server = fork();
    if (server == 0)
        child(p[1]);
    (void)close(p[1]);
    assert_int_equal(read(p[0], &port, sizeof port), sizeof port);
    (void)close(p[0]);
}

static void stop(void)
{
    if (server <= 0)
        return;
    (void)kill(server, SIGKILL);
    (void)waitpid(server, NULL, 0);
    server = 0;
}

static long files_in(const char *path)
{
    DIR *d = opendir(path);
    long n = 0;
    for (struct dirent *x; d && (x = readdir(d));) {
        char sub[512];
        if (x->d_name[0] == '.')
            continue;
        n++;
        (void)snprintf(sub, sizeof sub, "%s/%s", path, x->d_name);
        if (x->d_type == DT_DIR)
            n += files_in(sub);
    }
    if (d)
        (void)closedir(d);
    return n;
}

/* Until nothing more is written; then the process is killed. */
static void settle(void)
{
    long before = -1, now;
    for (int i = 0, still = 0; i < 100 && still < 4; i++) {
        now = files_in(dir);
        still = now == before ? still + 1 : 0;
        before = now;
        (void)usleep(50000);
    }
}

/* ---- the wire ---- */

static int status;

/* The answer's body, from qn__buf; HTTP/1.0, so it ends with the connection. */
static char *post(const char *path, json_t *body)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : strdup(""), chunk[16384];
    const struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval limit = {.tv_sec = 120};
    qn_buf out = {0}, in = {0};
    assert_non_null(text);
    qn__buf_printf(&out, "%s %s HTTP/1.0\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n%s", body ? "POST" : "GET", path, strlen(text), text);
    free(text);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    for (size_t at = 0; at < out.n;) {
        const ssize_t k = send(fd, out.data + at, out.n - at, MSG_NOSIGNAL);
        assert_true(k > 0);
        at += (size_t)k;
    }
    for (ssize_t k; (k = recv(fd, chunk, sizeof chunk, 0)) > 0;)
        qn__buf_put(&in, chunk, (size_t)k);
    (void)close(fd);
    qn__buf_free(&out);
    assert_true(in.n > 12 && !in.failed);
    status = atoi(in.data + 9);
    char *end = strstr(in.data, "\r\n\r\n"), *answer = end ? strdup(end + 4) : NULL;
    qn__buf_free(&in);
    assert_non_null(answer);
    if (status != 200)
        fail_msg("%s: %d %.500s", path, status, answer);
    return answer;
}

static json_t *parse(const char *s)
{
    json_t *j = json_loads(s, JSON_ALLOW_NUL, NULL);
    if (!j)
        fail_msg("not JSON: %.300s", s);
    return j;
}

/* ---- what clients make of it ---- */

/* As JavaScript writes it: no spaces, 1 for 1.0. */
static void put_js(qn_buf *b, const json_t *j)
{
    const char *key;
    json_t *v;
    size_t i;
    bool any = false;
    if (json_is_object(j)) {
        qn__buf_putc(b, '{');
        json_object_foreach((json_t *)(uintptr_t)j, key, v)
        {
            json_t *name = json_string(key);
            char *k = json_dumps(name, JSON_ENCODE_ANY);
            qn__buf_printf(b, "%s%s:", any ? "," : "", k);
            free(k);
            json_decref(name);
            put_js(b, v);
            any = true;
        }
        qn__buf_putc(b, '}');
    } else if (json_is_array(j)) {
        qn__buf_putc(b, '[');
        json_array_foreach((json_t *)(uintptr_t)j, i, v)
        {
            qn__buf_puts(b, i ? "," : "");
            put_js(b, v);
        }
        qn__buf_putc(b, ']');
    } else if (json_is_real(j)) {
        qn__buf_printf(b, "%.15g", json_real_value(j));
    } else {
        char *s = json_dumps(j, JSON_ENCODE_ANY);
        qn__buf_puts(b, s);
        free(s);
    }
}

/* Numbers that are whole lose their ".0". */
static json_t *through_js(const json_t *j)
{
    qn_buf b = {0};
    put_js(&b, j);
    json_t *out = json_loads(b.data, JSON_DECODE_ANY, NULL);
    qn__buf_free(&b);
    return out;
}

static char *words(uint32_t seed, int sentences)
{
    static const char *const w[] = {"the",  "file",   "tool",   "must",   "read",  "before", "edit",  "return", "value", "never", "when",
                                    "test", "result", "list",   "string", "check", "path",   "line",  "error",  "code",  "write", "call",
                                    "use",  "only",   "answer", "short",  "plan",  "search", "match", "branch", "user",  "first"};
    qn_buf b = {0};
    for (int i = 0; i < sentences; i++) {
        qn__buf_printf(&b, "%d.", i + 1);
        for (int k = 0; k < 10; k++) {
            seed = seed * 1664525u + 1013904223u;
            qn__buf_printf(&b, " %s", w[seed >> 27]);
        }
        qn__buf_puts(&b, ".\n");
    }
    return qn__buf_take(&b, NULL);
}

static json_t *schema(void)
{
    return parse("{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\",\"maxLength\":20},\"line\":{\"type\":\"integer\","
                 "\"minimum\":0,\"maximum\":9999},\"ratio\":{\"enum\":[0.5,1.0,2.0]}},\"required\":[\"path\",\"line\",\"ratio\"],"
                 "\"additionalProperties\":false}");
}

typedef struct use {
    int64_t prompt, cached;
} use;

typedef struct agent {
    const char *name;
    json_t *messages; /* as this client keeps them */
    char *system;
    int calls;        /* that were made */
    use (*turn)(struct agent *a, int k);
} agent;

static bool wants_call(int k)
{
    return k % 3 != 0;
}

/* ---- Claude Code ---- */

static json_t *block(const char *text, bool marked)
{
    json_t *b = json_pack("{s:s, s:s}", "type", "text", "text", text);
    if (marked)
        (void)json_object_set_new(b, "cache_control", json_pack("{s:s}", "type", "ephemeral"));
    return b;
}

/* The last message has its text in a marked block; when others follow it, the same text is a string. */
static json_t *claude_messages(const json_t *all)
{
    json_t *out = json_deep_copy(all);
    for (size_t i = 0; i < json_array_size(out); i++) {
        json_t *m = json_array_get(out, i), *content = json_object_get(m, "content");
        if (i + 1 == json_array_size(out) && json_is_string(content))
            (void)json_object_set_new(m, "content", json_pack("[o]", block(json_string_value(content), true)));
    }
    return out;
}

static json_t *claude_tools(int k)
{
    static const char *const names[] = {"Bash", "Edit", "NotebookEdit", "Read", "Write"};
    json_t *out = json_array();
    for (size_t i = 0; i < 5; i++) {
        if (i == 2 && k < 4)
            continue; /* it comes later, in the middle, and deferred */
        json_t *t = json_pack("{s:s, s:s, s:o}", "name", names[i], "description", "Does what its name says.", "input_schema", schema());
        if (i == 2)
            (void)json_object_set_new(t, "defer_loading", json_true());
        (void)json_array_append_new(out, t);
    }
    return out;
}

static use claude(agent *a, int k)
{
    char text[200];
    if (k == 1) {
        (void)json_array_append_new(a->messages, json_pack("{s:s, s:s}", "role", "user", "content",
                                                           "<system-reminder>\nToday is a day.\n</system-reminder>\nMake the tests pass."));
        (void)json_array_append_new(a->messages, json_pack("{s:s, s:s}", "role", "system", "content", "The shell is bash. Work in /src."));
    }
    (void)snprintf(text, sizeof text, "x-anthropic-billing-header: cc_version=2.1.%d; cc_entrypoint=cli; cch=%08x;", k / 4, (unsigned)k * 2654435761u);
    json_t *body = json_pack("{s:s, s:i, s:f, s:[o,o], s:o, s:o, s:{s:s}}", "model", "m", "max_tokens", 160, "temperature", 1.5, "system",
                             block(text, false), block(a->system, true), "messages", claude_messages(a->messages), "tools", claude_tools(k),
                             "tool_choice", "type", wants_call(k) ? "any" : "auto");
    char *s = post("/v1/messages?beta=true", body);
    json_t *r = parse(s), *usage = json_object_get(r, "usage");
    free(s);
    json_decref(body);
    const use u = {.cached = json_integer_value(json_object_get(usage, "cache_read_input_tokens")),
                   .prompt = json_integer_value(json_object_get(usage, "input_tokens")) +
                             json_integer_value(json_object_get(usage, "cache_read_input_tokens"))};
    json_t *content = through_js(json_object_get(r, "content")), *results = json_array();
    const bool cut = strcmp(json_string_value(json_object_get(r, "stop_reason")), "max_tokens") == 0;
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *b = json_array_get(content, i);
        if (strcmp(json_string_value(json_object_get(b, "type")), "tool_use") != 0)
            continue;
        if (cut) {
            (void)json_array_remove(content, i--);
            continue;
        }
        a->calls++;
        (void)snprintf(text, sizeof text, "%d tests failed", 10 - k);
        json_t *inner = json_pack("[o]", block(text, false));
        if (k == 5)
            (void)json_array_append_new(inner, json_pack("{s:s, s:s}", "type", "tool_reference", "tool_name", "NotebookEdit"));
        (void)json_array_append_new(results, json_pack("{s:s, s:O, s:o}", "type", "tool_result", "tool_use_id", json_object_get(b, "id"), "content", inner));
    }
    if (!json_array_size(content))
        (void)json_array_append_new(content, block("(nothing)", false));
    (void)json_array_append_new(a->messages, json_pack("{s:s, s:o}", "role", "assistant", "content", content));
    if (json_array_size(results))
        (void)json_array_append_new(a->messages, json_pack("{s:s, s:O}", "role", "user", "content", results));
    else
        (void)json_array_append_new(a->messages, json_pack("{s:s, s:s}", "role", "user", "content", "Go on."));
    json_decref(results);
    json_decref(r);
    return u;
}

/* ---- Codex ---- */

static json_t *codex_text(const char *role, const char *text)
{
    return json_pack("{s:s, s:s, s:[{s:s, s:s}]}", "type", "message", "role", role, "content", "type", "input_text", "text", text);
}

/* The response in the last event of the stream; it may have been cut. */
static json_t *completed(const char *stream)
{
    const char *p = strstr(stream, "event: response.completed"), *cut = strstr(stream, "event: response.incomplete");
    p = p ? p : cut;
    const char *data = p ? strstr(p, "data: ") : NULL, *end = data ? strchr(data, '\n') : NULL;
    if (!end)
        fail_msg("the stream was not completed: %.300s", stream);
    char *s = strndup(data + 6, (size_t)(end - data) - 6);
    json_t *j = parse(s), *r = json_incref(json_object_get(j, "response"));
    free(s);
    json_decref(j);
    return r;
}

static use codex(agent *a, int k)
{
    if (k == 1) {
        (void)json_array_append_new(a->messages, codex_text("developer", "<permissions>Everything is allowed in /src.</permissions>"));
        (void)json_array_append_new(a->messages, codex_text("user", "<environment_context>\n  <cwd>/src</cwd>\n</environment_context>"));
        (void)json_array_append_new(a->messages, codex_text("user", "Make the tests pass."));
    }
    json_t *tools = json_pack("[{s:s, s:s, s:s, s:b, s:o}, {s:s}]", "type", "function", "name", "shell", "description", "Runs a command.", "strict",
                              0, "parameters", schema(), "type", "web_search");
    json_t *body = json_pack("{s:s, s:s, s:O, s:o, s:s, s:b, s:b, s:b, s:[s], s:s, s:i, s:f}", "model", "m", "instructions", a->system, "input",
                             a->messages, "tools", tools, "tool_choice", wants_call(k) ? "required" : "auto", "parallel_tool_calls", 0, "store", 0,
                             "stream", 1, "include", "reasoning.encrypted_content", "prompt_cache_key", "0199-codex", "max_output_tokens", 160,
                             "temperature", 1.5);
    char *s = post("/v1/responses", body);
    json_t *r = completed(s), *usage = json_object_get(r, "usage"), *output = json_object_get(r, "output");
    free(s);
    json_decref(body);
    const use u = {.prompt = json_integer_value(json_object_get(usage, "input_tokens")),
                   .cached = json_integer_value(json_object_get(json_object_get(usage, "input_tokens_details"), "cached_tokens"))};
    bool called = false;
    for (size_t i = 0; i < json_array_size(output); i++) {
        json_t *item = json_array_get(output, i);
        const char *whole = json_string_value(json_object_get(item, "status"));
        if (whole && strcmp(whole, "incomplete") == 0)
            continue; /* what was cut is of no use to a client */
        (void)json_array_append(a->messages, item);
        if (strcmp(json_string_value(json_object_get(item, "type")), "function_call") != 0)
            continue;
        called = true;
        a->calls++;
        (void)json_array_append_new(a->messages, json_pack("{s:s, s:O, s:s}", "type", "function_call_output", "call_id",
                                                           json_object_get(item, "call_id"), "output", "Exit code: 1\nOutput:\nfailed\n"));
    }
    if (!called)
        (void)json_array_append_new(a->messages, codex_text("user", "Go on."));
    json_decref(r);
    return u;
}

/* ---- an agent that speaks OpenAI's chat ---- */

static use chat(agent *a, int k)
{
    if (k == 1) {
        (void)json_array_append_new(a->messages, json_pack("{s:s, s:s}", "role", "system", "content", a->system));
        (void)json_array_append_new(a->messages, json_pack("{s:s, s:s}", "role", "user", "content", "Make the tests pass."));
    }
    json_t *tools = json_pack("[{s:s, s:{s:s, s:s, s:o}}, {s:s, s:{s:s, s:s, s:o}}]", "type", "function", "function", "name", "bash", "description",
                              "Runs a command.", "parameters", schema(), "type", "function", "function", "name", "read", "description",
                              "Reads a file.", "parameters", schema());
    json_t *body = json_pack("{s:s, s:O, s:o, s:s, s:i, s:f}", "model", "m", "messages", a->messages, "tools", tools, "tool_choice",
                             wants_call(k) ? "required" : "auto", "max_completion_tokens", 160, "temperature", 1.5);
    char *s = post("/v1/chat/completions", body);
    json_t *r = parse(s), *usage = json_object_get(r, "usage");
    free(s);
    json_decref(body);
    const use u = {.prompt = json_integer_value(json_object_get(usage, "prompt_tokens")),
                   .cached = json_integer_value(json_object_get(json_object_get(usage, "prompt_tokens_details"), "cached_tokens"))};
    const json_t *choice = json_array_get(json_object_get(r, "choices"), 0);
    json_t *m = json_object_get(choice, "message"), *results = json_array();
    if (strcmp(json_string_value(json_object_get(choice, "finish_reason")), "length") == 0)
        (void)json_object_del(m, "tool_calls"); /* cut */
    json_t *calls = json_object_get(m, "tool_calls");
    for (size_t i = 0; i < json_array_size(calls); i++) {
        json_t *call = json_array_get(calls, i), *f = json_object_get(call, "function");
        json_t *arguments = json_loads(json_string_value(json_object_get(f, "arguments")), 0, NULL);
        qn_buf b = {0};
        a->calls++;
        if (!arguments)
            fail_msg("arguments are no JSON: %s", json_string_value(json_object_get(f, "arguments")));
        put_js(&b, arguments);
        (void)json_object_set_new(f, "arguments", json_string(b.data));
        qn__buf_free(&b);
        json_decref(arguments);
        (void)json_array_append_new(results, json_pack("{s:s, s:O, s:s}", "role", "tool", "tool_call_id", json_object_get(call, "id"), "content", "failed"));
    }
    (void)json_array_append(a->messages, m);
    if (json_array_size(results))
        (void)json_array_extend(a->messages, results);
    else
        (void)json_array_append_new(a->messages, json_pack("{s:s, s:s}", "role", "user", "content", "Go on."));
    json_decref(results);
    json_decref(r);
    return u;
}

/* ---- the day ---- */

static long long metric(const char *name)
{
    char line[80];
    char *s = post("/metrics", NULL);
    (void)snprintf(line, sizeof line, "\n%s ", name);
    const char *p = strstr(s, line);
    const long long v = p ? atoll(p + strlen(line)) : -1;
    free(s);
    return v;
}

static void drop(agent *a)
{
    json_decref(a->messages);
    qn_free(a->system);
}

static void day(agent *a, uint32_t seed)
{
    use sum = {0};
    int64_t worst = 0;
    long long recalled = 0;
    int calls_before = 0;
    a->messages = json_array();
    a->system = words(seed, SENTENCES);
    start();
    for (int k = 1; k <= TURNS; k++) {
        const use u = a->turn(a, k);
        if (getenv("VERBOSE"))
            printf("%s, turn %d: %lld prompt tokens, %lld computed\n", a->name, k, (long long)u.prompt, (long long)(u.prompt - u.cached));
        if (k > 1) {
            sum.prompt += u.prompt;
            sum.cached += u.cached;
            worst = u.prompt - u.cached > worst ? u.prompt - u.cached : worst;
        }
        if (k == RESTART) {
            settle();
            recalled += metric("quern_recalled_total");
            stop();
            start();
            calls_before = a->calls;
        }
    }
    const long long after = metric("quern_recalled_total");
    stop();
    printf("figure: agents: %s: turns 2 to %d, killed after turn %d: %lld of %lld prompt tokens reused (%.1f %%), at most %lld computed in a "
           "turn; %d calls; %lld answers put back as they were sampled, %lld of them after the restart\n",
           a->name, TURNS, RESTART, (long long)sum.cached, (long long)sum.prompt, 100.0 * (double)sum.cached / (double)sum.prompt, (long long)worst,
           a->calls, recalled + after, after);
    assert_true((double)sum.cached >= LEAST * (double)sum.prompt);
    assert_true(calls_before > 0 && after >= calls_before); /* what was said before the restart is known after it */
    drop(a);
}

static int clean(void **state)
{
    char cmd[128];
    (void)state;
    stop();
    (void)snprintf(dir, sizeof dir, "/tmp/quern-agents-%ld", (long)getpid());
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    return system(cmd);
}

static void claude_code(void **state)
{
    (void)state;
    day(&(agent){.name = "Claude Code", .turn = claude}, 1);
}
static void codex_cli(void **state)
{
    (void)state;
    day(&(agent){.name = "Codex", .turn = codex}, 2);
}
static void chat_agent(void **state)
{
    (void)state;
    day(&(agent){.name = "an agent on chat completions", .turn = chat}, 3);
}

/* Two turns, their answers on disk, and the server gone. */
static void two_turns(agent *a)
{
    start();
    (void)chat(a, 1);
    (void)chat(a, 2);
    settle();
    stop();
}

/* Files whose numbers are in order and whose tokens are not those of their text, as a stranger might write them. */
static long forge(const char *folder)
{
    enum { CHECK = 8, REST = 16, N_TOKENS = 60, HEAD = 72, MOST = 1 << 20 };
    static unsigned char b[MOST];
    long forged = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *x; (x = readdir(d));) {
        char path[400];
        uint32_t n_tokens = 0, token;
        (void)snprintf(path, sizeof path, "%s/%s", folder, x->d_name);
        FILE *f = x->d_name[0] == '.' ? NULL : fopen(path, "r+b");
        if (!f)
            continue;
        const size_t n = fread(b, 1, sizeof b, f);
        assert_true(n > HEAD && n < sizeof b);
        memcpy(&n_tokens, b + N_TOKENS, 4);
        assert_true(n_tokens > 0);
        memcpy(&token, b + HEAD, 4);
        token ^= 1;
        memcpy(b + HEAD, &token, 4);
        const uint64_t parts[] = {XXH3_64bits(b + REST, HEAD - REST), XXH3_64bits(b + HEAD, n - HEAD)}, check = XXH3_64bits(parts, sizeof parts);
        memcpy(b + CHECK, &check, 8);
        rewind(f);
        assert_int_equal(fwrite(b, 1, n, f), n);
        (void)fclose(f);
        forged++;
    }
    (void)closedir(d);
    return forged;
}

static void forged(void **state)
{
    (void)state;
    agent a = {.turn = chat, .messages = json_array(), .system = words(6, 40)};
    char folder[96];
    two_turns(&a);
    (void)snprintf(folder, sizeof folder, "%s/replies", dir);
    assert_true(forge(folder) > 0);
    start();
    (void)chat(&a, 3);
    assert_int_equal(metric("quern_recalled_total"), 0);
    stop();
    drop(&a);
}

/* The same answers at the same places behind other rules of the same length: they are somebody else's. */
static void behind_other_words(void **state)
{
    (void)state;
    agent a = {.turn = chat, .messages = json_array(), .system = words(7, 40)};
    start();
    for (int k = 1; k <= 3; k++)
        (void)chat(&a, k);
    const long long before = metric("quern_recalled_total");
    assert_true(before > 0);
    json_t *rules = json_array_get(a.messages, 0);
    char *other = strdup(json_string_value(json_object_get(rules, "content")));
    assert_non_null(other);
    other[0] = other[0] == 'X' ? 'Y' : 'X';
    (void)json_object_set_new(rules, "content", json_string(other));
    free(other);
    (void)chat(&a, 4);
    assert_int_equal(metric("quern_recalled_total"), before);
    stop();
    drop(&a);
}

/* Every file of answers is damaged while the server is down: none is believed, nothing fails, and a test that counts what was put back
 * sees it. */
static void damaged(void **state)
{
    (void)state;
    agent a = {.turn = chat, .messages = json_array(), .system = words(5, 40)};
    char folder[96], path[400];
    long files = 0;
    two_turns(&a);
    (void)snprintf(folder, sizeof folder, "%s/replies", dir);
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *x; (x = readdir(d));) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, x->d_name);
        FILE *f = x->d_name[0] == '.' ? NULL : fopen(path, "r+b");
        if (!f)
            continue;
        (void)fseek(f, files++ % 2 ? -1 : -20, SEEK_END);
        (void)fputc(0x5a, f);
        (void)fclose(f);
    }
    (void)closedir(d);
    assert_true(files > 0);
    start();
    (void)chat(&a, 3);
    assert_int_equal(metric("quern_recalled_total"), 0);
    assert_true(files_in(folder) <= 1); /* the new one */
    stop();
    drop(&a);
}

/* Answers kept take no more than they may: what was not used for longest goes, and with 0 none is kept, while those that another server
 * left in the directory stay. */
static void bounded(void **state)
{
    (void)state;
    agent a = {.turn = chat, .messages = json_array(), .system = words(8, 40)}, b = {.turn = chat, .messages = json_array(), .system = words(9, 40)};
    char folder[96];
    long long entries = 0, used = 0, most = 0;
    recall_ram = 1500; /* two answers of this kind; six turns make four */
    start();
    for (int k = 1; k <= 6; k++) {
        (void)chat(&a, k);
        settle();
        used = metric("quern_recall_bytes");
        entries = metric("quern_recall_entries");
        most = used > most ? used : most;
        assert_in_range(used, 0, recall_ram);
    }
    assert_true(most > (long long)recall_ram / 2);
    stop();
    assert_true(entries > 0);
    (void)snprintf(folder, sizeof folder, "%s/replies", dir);
    const long files = files_in(folder);
    assert_int_equal(files, entries);
    recall_ram = 0;
    recall_none = true;
    start();
    (void)chat(&b, 1);
    (void)chat(&b, 2);
    settle();
    assert_int_equal(metric("quern_recall_entries"), 0);
    assert_int_equal(metric("quern_recall_bytes"), 0);
    stop();
    recall_none = false;
    assert_int_equal(files_in(folder), files);
    drop(&a);
    drop(&b);
}

/* Planted: a client that changes its system prompt with each request is seen to reuse nothing. */
static void planted(void **state)
{
    (void)state;
    agent a = {.turn = chat, .messages = json_array(), .system = words(4, 40)};
    use u = {0};
    start();
    for (int k = 1; k <= 2; k++) {
        u = chat(&a, k);
        (void)json_object_set_new(json_array_get(a.messages, 0), "content", json_string("Other rules apply today.\n"));
    }
    stop();
    assert_true(u.cached < u.prompt / 2);
    json_decref(a.messages);
    qn_free(a.system);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(claude_code, clean, clean),
        cmocka_unit_test_setup_teardown(codex_cli, clean, clean),
        cmocka_unit_test_setup_teardown(chat_agent, clean, clean),
        cmocka_unit_test_setup_teardown(damaged, clean, clean),
        cmocka_unit_test_setup_teardown(forged, clean, clean),
        cmocka_unit_test_setup_teardown(behind_other_words, clean, clean),
        cmocka_unit_test_setup_teardown(bounded, clean, clean),
        cmocka_unit_test_setup_teardown(planted, clean, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
