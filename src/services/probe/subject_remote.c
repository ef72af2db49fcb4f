/* subject_remote.c - an OpenAI-compatible server, asked over HTTP with streaming, so that the time of the first token is known. */
#include <curl/curl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "services/probe/subject.h"

enum { AT_ONCE = 4, WAIT_MS = 200, CONNECT_S = 10, SILENT_S = 600 };
static const size_t MOST = (size_t)64 << 20; /* bytes of one answer */

typedef struct remote {
    qn_subject s;
    char *url, *model;
    struct curl_slist *headers;
    CURL *counter;   /* kept open between counts; NULL before the first */
    bool cannot_count;
} remote;

typedef struct call {
    qn_buf name, arguments;
} call;
enum { MAX_CALLS = 64 };

/* One transfer: lines of server-sent events, or a whole JSON body when the server does not stream or refuses. */
typedef struct transfer {
    CURL *curl;
    char *body;
    char *url;
    qn_buf line, other; /* the line so far; what was no event */
    qn_answer *a;
    call calls[MAX_CALLS];
    size_t n_calls, taken;
    double start;
    bool over;
} transfer;

static void note_time(transfer *t)
{
    qn_answer *a = t->a;
    double at = qn__now() - t->start;
    if (a->n_token_s == 0)
        a->first_s = at;
    if (qn__grow((void **)&a->token_s, &a->cap_token_s, a->n_token_s + 1, sizeof *a->token_s))
        a->token_s[a->n_token_s++] = at;
}

static void put_text(qn_buf *b, const json_t *v)
{
    if (json_is_string(v))
        qn__buf_put(b, json_string_value(v), json_string_length(v));
}

static void take_calls(transfer *t, const json_t *list)
{
    size_t i;
    json_t *c;
    json_array_foreach(list, i, c) {
        const json_t *index = json_object_get(c, "index"), *f = json_object_get(c, "function");
        json_int_t at = json_is_integer(index) ? json_integer_value(index) : (json_int_t)i;
        if (at < 0 || at >= MAX_CALLS)
            continue;
        put_text(&t->calls[at].name, json_object_get(f, "name"));
        put_text(&t->calls[at].arguments, json_object_get(f, "arguments"));
        if ((size_t)at >= t->n_calls)
            t->n_calls = (size_t)at + 1;
    }
}

static int32_t number_of(const json_t *o, const char *key, int32_t other)
{
    const json_t *v = json_object_get(o, key);
    return json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= INT32_MAX ? (int32_t)json_integer_value(v) : other;
}

static void take_object(transfer *t, const json_t *o)
{
    qn_answer *a = t->a;
    const json_t *choice = json_array_get(json_object_get(o, "choices"), 0), *usage = json_object_get(o, "usage");
    const json_t *delta = json_object_get(choice, "delta") ? json_object_get(choice, "delta") : json_object_get(choice, "message");
    size_t before = a->text.n + a->reasoning.n;
    put_text(&a->text, json_object_get(choice, "text"));
    put_text(&a->text, json_object_get(delta, "content"));
    put_text(&a->reasoning, json_object_get(delta, "reasoning_content"));
    take_calls(t, json_object_get(delta, "tool_calls"));
    if (a->text.n + a->reasoning.n > before || json_object_get(delta, "tool_calls"))
        note_time(t);
    const char *why = json_string_value(json_object_get(choice, "finish_reason"));
    if (why)
        a->reason = strcmp(why, "length") == 0 ? QN_END_LENGTH : QN_END_STOP;
    if (json_is_object(usage)) {
        a->prompt_tokens = number_of(usage, "prompt_tokens", a->prompt_tokens);
        a->generated_tokens = number_of(usage, "completion_tokens", a->generated_tokens);
        a->cached_tokens = number_of(json_object_get(usage, "prompt_tokens_details"), "cached_tokens", a->cached_tokens);
    }
    const json_t *error = json_object_get(o, "error");
    if (error && !json_is_null(error)) {
        const char *m = json_string_value(json_object_get(error, "message"));
        (void)qn__fail(&a->err, QN_EIO, t->url, "the server says: %s", m ? m : json_is_string(error) ? json_string_value(error) : "an error");
    }
}

static void take_line(transfer *t)
{
    const char *p = t->line.data ? t->line.data : "";
    size_t n = t->line.n;
    if (n && p[n - 1] == '\r')
        n--;
    if (n >= 5 && memcmp(p, "data:", 5) == 0) {
        json_t *o = json_loadb(p + 5, n - 5, 0, NULL);
        if (o)
            take_object(t, o);
        json_decref(o);
    } else if (n && *p != ':') {
        qn__buf_put(&t->other, p, n);
        qn__buf_putc(&t->other, '\n');
    }
    t->line.n = 0;
}

static size_t receive(char *p, size_t size, size_t n, void *arg)
{
    transfer *t = arg;
    n *= size;
    t->taken += n;
    if (t->taken > MOST) {
        (void)qn__fail(&t->a->err, QN_ELIMIT, t->url, "the answer is larger than 64 MiB");
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\n')
            take_line(t);
        else
            qn__buf_putc(&t->line, p[i]);
    }
    return n;
}

/* What calls or text must look like, as far as the protocol can say it. */
static void put_forms(json_t *o, const qn_question *q)
{
    static const char *const choices[] = {"auto", "none", "required"};
    if (q->tools_json) {
        (void)json_object_set_new(o, "tools", json_loads(q->tools_json, 0, NULL));
        (void)json_object_set_new(o, "tool_choice", q->tool_choice == QN_TOOLS_NAMED
                                  ? json_pack("{s:s, s:{s:s}}", "type", "function", "function", "name", q->tool_name)
                                  : json_string(choices[q->tool_choice]));
    }
    json_t *schema = q->schema_json ? json_loads(q->schema_json, 0, NULL) : NULL;
    if (schema)
        (void)json_object_set_new(o, "response_format", json_pack("{s:s, s:{s:s, s:b, s:o}}", "type", "json_schema", "json_schema", "name",
                                                                  "answer", "strict", 1, "schema", schema));
}

static char *make_body(const remote *r, const qn_question *q)
{
    json_error_t e;
    json_t *o = json_pack("{s:s, s:b, s:f, s:f, s:I, s:i, s:{s:b}}", "model", r->model, "stream", 1, "temperature", (double)q->temperature,
                          "top_p", q->top_p > 0 ? (double)q->top_p : 1.0, "seed", (json_int_t)(q->seed & INT32_MAX), "max_tokens",
                          q->max_tokens < 0 ? 4096 : q->max_tokens, "stream_options", "include_usage", 1);
    json_t *stop = json_array();
    for (size_t i = 0; i < q->n_stop && i < 4; i++) /* the protocol allows four; the rest is cut off afterwards */
        (void)json_array_append_new(stop, json_string(q->stop[i]));
    if (q->n_stop)
        (void)json_object_set(o, "stop", stop);
    json_decref(stop);
    if (q->messages_json)
        (void)json_object_set_new(o, "messages", json_loads(q->messages_json, 0, &e));
    else
        (void)json_object_set_new(o, "prompt", json_string(q->prompt));
    if (q->suffix)
        (void)json_object_set_new(o, "suffix", json_string(q->suffix));
    put_forms(o, q);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return text;
}

static bool start(remote *r, CURLM *m, transfer *t, const qn_question *q, qn_answer *a)
{
    qn_buf url = {0};
    t->a = a;
    a->prompt_tokens = a->cached_tokens = a->generated_tokens = -1;
    qn__buf_printf(&url, "%s/%s", r->url, q->messages_json ? "chat/completions" : "completions");
    t->url = qn__buf_take(&url, NULL);
    t->body = make_body(r, q);
    t->curl = curl_easy_init();
    if (!t->url || !t->body || !t->curl)
        return (void)qn__fail_mem(&a->err, "question"), false;
    (void)curl_easy_setopt(t->curl, CURLOPT_URL, t->url);
    (void)curl_easy_setopt(t->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, r->headers);
    (void)curl_easy_setopt(t->curl, CURLOPT_POSTFIELDS, t->body);
    (void)curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, receive);
    (void)curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, t);
    (void)curl_easy_setopt(t->curl, CURLOPT_PRIVATE, t);
    (void)curl_easy_setopt(t->curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(t->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    (void)curl_easy_setopt(t->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)curl_easy_setopt(t->curl, CURLOPT_LOW_SPEED_TIME, (long)SILENT_S);
    if (q->deadline_s > 0)
        (void)curl_easy_setopt(t->curl, CURLOPT_TIMEOUT_MS, (long)(fmin(q->deadline_s, 1e6) * 1000) + 1);
    t->start = qn__now();
    return curl_multi_add_handle(m, t->curl) == CURLM_OK || (qn__fail_mem(&a->err, "question"), false);
}

/* Text behind the first of the stops that the protocol had no room for. */
static void cut_stops(const qn_question *q, qn_answer *a)
{
    for (size_t i = 4; i < q->n_stop && a->text.data; i++) {
        char *at = strstr(a->text.data, q->stop[i]);
        if (at)
            a->text.n = (size_t)(at - a->text.data), *at = 0;
    }
}

/* Calls whose arguments are no JSON object are none: what came stays in raw. */
static void make_calls(transfer *t)
{
    json_t *list = NULL;
    for (size_t i = 0; i < t->n_calls; i++) {
        const call *c = &t->calls[i];
        const char *arguments = c->arguments.data ? c->arguments.data : "{}";
        const size_t n = c->arguments.data ? c->arguments.n : 2;
        json_t *read = json_loadb(arguments, n, 0, NULL);
        qn__buf_printf(&t->a->raw, "%s%s %s", t->a->raw.n ? "\n" : "", c->name.data ? c->name.data : "", arguments);
        if (!json_is_object(read) || !c->name.n) {
            t->a->malformed = true;
        } else {
            list = list ? list : json_array();
            (void)json_array_append_new(list, json_pack("{s:s%, s:s%}", "name", c->name.data, c->name.n, "arguments", arguments, n));
        }
        json_decref(read);
    }
    char *text = list ? json_dumps(list, JSON_COMPACT) : NULL;
    t->a->calls_json = text ? qn__strndup(text, strlen(text)) : NULL;
    if (list && !t->a->calls_json && !t->a->err.code)
        (void)qn__fail_mem(&t->a->err, "answer");
    free(text);
    json_decref(list);
}

/* Servers tell of a prompt that is too long in words only, or by a code of OpenAI's. */
static bool tells_of_context(const qn_err *e)
{
    return strstr(e->what, "context_length") || strstr(e->what, "context length") || strstr(e->what, "context size") ||
           strstr(e->what, "the context") || strstr(e->what, "exceed_context");
}

static void end(transfer *t, CURLcode rc, const qn_question *q)
{
    qn_answer *a = t->a;
    long status = 0;
    if (t->over || !t->curl)
        return;
    t->over = true;
    take_line(t);
    (void)curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    json_t *body = t->other.n ? json_loadb(t->other.data, t->other.n, 0, NULL) : NULL;
    if (body)
        take_object(t, body);
    json_decref(body);
    a->total_s = qn__now() - t->start;
    if (!a->err.code && rc == CURLE_OPERATION_TIMEDOUT && q->deadline_s > 0 && a->total_s >= q->deadline_s)
        a->reason = QN_END_DEADLINE;
    else if (!a->err.code && rc != CURLE_OK)
        (void)qn__fail(&a->err, QN_EIO, t->url, "no answer: %s", curl_easy_strerror(rc));
    else if (!a->err.code && (status < 200 || status > 299))
        (void)qn__fail(&a->err, QN_EIO, t->url, "the server answered with status %ld", status);
    if (a->err.code == QN_EIO && tells_of_context(&a->err))
        a->err.code = QN_ECONTEXT;
    /* Servers say "length" of a full context, too; then it was not the bound of this answer. */
    if (a->reason == QN_END_LENGTH && a->generated_tokens >= 0 && a->generated_tokens < q->max_tokens)
        a->reason = QN_END_CONTEXT;
    cut_stops(q, a);
    make_calls(t);
    if (!a->err.code && (a->text.failed || a->reasoning.failed || a->raw.failed || t->line.failed))
        (void)qn__fail_mem(&a->err, "answer");
}

static void drop(CURLM *m, transfer *t)
{
    if (t->curl) {
        (void)curl_multi_remove_handle(m, t->curl);
        curl_easy_cleanup(t->curl);
    }
    qn__buf_free(&t->line);
    qn__buf_free(&t->other);
    for (size_t i = 0; i < MAX_CALLS; i++) {
        qn__buf_free(&t->calls[i].name);
        qn__buf_free(&t->calls[i].arguments);
    }
    free(t->body);
    qn_free(t->url);
}

static bool ask_some(remote *r, const qn_question *q, size_t n, qn_answer *a)
{
    CURLM *m = curl_multi_init();
    transfer *t = qn__calloc(n, sizeof *t);
    bool on = true;
    int running = 0;
    for (size_t i = 0; i < n; i++)
        if (!m || !t)
            (void)qn__fail_mem(&a[i].err, "question");
        else if (start(r, m, &t[i], &q[i], &a[i]))
            running++;
    while (m && t && running > 0 && on) {
        (void)curl_multi_perform(m, &running);
        int left;
        for (CURLMsg *msg; (msg = curl_multi_info_read(m, &left));) {
            transfer *x = NULL;
            (void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &x);
            if (msg->msg == CURLMSG_DONE)
                end(x, msg->data.result, &q[x - t]);
        }
        if (running > 0)
            (void)curl_multi_poll(m, NULL, 0, WAIT_MS, NULL);
        on = !r->s.keep_on || r->s.keep_on(r->s.arg);
    }
    for (size_t i = 0; t && i < n; i++) {
        if (!t[i].over && !a[i].err.code)
            (void)qn__fail(&a[i].err, QN_ECANCELLED, "answer", "was cancelled");
        drop(m, &t[i]);
    }
    qn_free(t);
    if (m)
        (void)curl_multi_cleanup(m);
    return on;
}

static bool ask(qn_subject *s, const qn_question *q, size_t n, qn_answer *a)
{
    for (size_t i = 0; i < n; i += AT_ONCE)
        if (!ask_some((remote *)s, q + i, n - i < AT_ONCE ? n - i : AT_ONCE, a + i))
            return false;
    return true;
}

/* ---- counting: /tokenize beside /v1, which quern and some others have ---- */

static size_t receive_count(char *p, size_t size, size_t n, void *arg)
{
    qn_buf *b = arg;
    qn__buf_put(b, p, size * n);
    return b->failed ? 0 : size * n;
}

static char *count_body(const remote *r, const char *text, size_t n)
{
    json_t *o = json_pack("{s:s, s:s%, s:s%, s:b, s:b}", "model", r->model, "content", text, n, "prompt", text, n, "add_special", 0, "parse_special", 0);
    char *body = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return body;
}

static int64_t count(qn_subject *s, const char *text, size_t n)
{
    remote *r = (remote *)s;
    size_t base = strlen(r->url);
    qn_buf url = {0}, answer = {.limit = MOST};
    int64_t tokens = -1;
    long status = 0;
    if (r->cannot_count)
        return -1;
    if (base > 3 && strcmp(r->url + base - 3, "/v1") == 0)
        base -= 3;
    qn__buf_printf(&url, "%.*s/tokenize", (int)base, r->url);
    char *body = count_body(r, text, n);
    if (!r->counter)
        r->counter = curl_easy_init();
    if (r->counter && body && !url.failed) {
        (void)curl_easy_setopt(r->counter, CURLOPT_URL, url.data);
        (void)curl_easy_setopt(r->counter, CURLOPT_PROTOCOLS_STR, "http,https");
        (void)curl_easy_setopt(r->counter, CURLOPT_HTTPHEADER, r->headers);
        (void)curl_easy_setopt(r->counter, CURLOPT_POSTFIELDS, body);
        (void)curl_easy_setopt(r->counter, CURLOPT_WRITEFUNCTION, receive_count);
        (void)curl_easy_setopt(r->counter, CURLOPT_WRITEDATA, &answer);
        (void)curl_easy_setopt(r->counter, CURLOPT_NOSIGNAL, 1L);
        (void)curl_easy_setopt(r->counter, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
        (void)curl_easy_setopt(r->counter, CURLOPT_TIMEOUT, (long)SILENT_S);
        if (curl_easy_perform(r->counter) == CURLE_OK)
            (void)curl_easy_getinfo(r->counter, CURLINFO_RESPONSE_CODE, &status);
    }
    json_t *o = status == 200 ? json_loadb(answer.data ? answer.data : "", answer.n, 0, NULL) : NULL;
    if (json_is_array(json_object_get(o, "tokens")))
        tokens = (int64_t)json_array_size(json_object_get(o, "tokens"));
    json_decref(o);
    free(body);
    qn__buf_free(&url);
    qn__buf_free(&answer);
    r->cannot_count = tokens < 0;
    return tokens;
}

static void close_remote(qn_subject *s)
{
    remote *r = (remote *)s;
    if (r->counter)
        curl_easy_cleanup(r->counter);
    curl_slist_free_all(r->headers);
    qn_free(r->url);
    qn_free(r->model);
    qn_free(r);
}

qn_status qn__subject_remote(const char *url, const char *model, const char *key, qn_subject **out, qn_err *err)
{
    size_t n = strlen(url);
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return qn__fail(err, QN_EINVAL, url, "is not an http address; give one like http://127.0.0.1:8080/v1");
    remote *r = qn__calloc(1, sizeof *r);
    if (!r)
        return qn__fail_mem(err, "endpoint");
    while (n && url[n - 1] == '/')
        n--;
    r->s = (qn_subject){.ask = ask, .close = close_remote, .count = count, .chats = true, .at_once = AT_ONCE};
    r->url = qn__strndup(url, n);
    r->model = qn__strndup(model, strlen(model));
    qn_buf auth = {0};
    qn__buf_printf(&auth, "Authorization: Bearer %s", key ? key : "none");
    r->headers = curl_slist_append(NULL, "Content-Type: application/json");
    struct curl_slist *more = r->headers && auth.data ? curl_slist_append(r->headers, auth.data) : NULL;
    qn__buf_free(&auth);
    if (!r->url || !r->model || !more) {
        close_remote(&r->s);
        return qn__fail_mem(err, "endpoint");
    }
    (void)snprintf(r->s.name, sizeof r->s.name, "%s", model);
    (void)snprintf(r->s.fingerprint, sizeof r->s.fingerprint, "remote-%016llx", (unsigned long long)qn__hash(r->url, n));
    *out = &r->s;
    return QN_OK;
}
