/* log.c - what a server writes down: one JSON object a line; never a prompt unless it was asked to. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/file.h"
#include "services/api/serve.h"

static const char *const finishes[] = {"running", "stop", "stop_string", "length", "calls", "deadline", "failed"};

/* `{"time":"...","event":"WHAT"`, left open. */
static void begin(qn_buf *b, const char *what)
{
    struct timespec now;
    struct tm t;
    char text[32];
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &t);
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &t);
    qn__buf_printf(b, "{\"time\":\"%s.%03dZ\",\"event\":\"%s\"", text, (int)(now.tv_nsec / 1000000), what);
}

static void write_out(api_server *s, qn_buf *b)
{
    qn__buf_putc(b, '}');
    if (!b->failed)
        s->log(s->log_arg, b->data);
    qn__buf_free(b);
}

void api_log_text(api_server *s, const char *event, const char *text)
{
    qn_buf b = {0};
    if (!s->log)
        return;
    begin(&b, event);
    qn__buf_puts(&b, ",\"what\":");
    api_put_text(&b, text);
    write_out(s, &b);
}

void api_log_prompt(const api_ask *a)
{
    api_server *s = a->server;
    if (!s->log || !s->log_prompts)
        return;
    for (size_t i = 0; i < a->n_prompts; i++) {
        const api_prompt *p = &a->prompts[i];
        qn_buf b = {0};
        begin(&b, "prompt");
        qn__buf_printf(&b, ",\"request\":%" PRIu64 ",\"tokens\":%zu,\"text\":", http_id(a->x), p->n_tokens);
        api_put_string(&b, p->text ? p->text : "", p->text ? p->n_text : 0);
        write_out(s, &b);
    }
}

static void get_cache(qn_engine *e, void *out)
{
    qn_engine_get_cache(e, out);
}

/* On the scheduler's thread: what became of the cache since the last answer, and what of it somebody should know. */
static void look_at_cache(const api_ask *a)
{
    api_model *m = a->loaded;
    qn_cache_stats now, before;
    char text[400];
    if (qn_scheduler_call(m->scheduler, get_cache, &now, NULL))
        return;
    qn__lock(&m->cache_lock);
    before = m->cache;
    m->cache = now;
    qn__unlock(&m->cache_lock);
    if (now.bad_files > before.bad_files) {
        (void)snprintf(text, sizeof text, "%" PRIu64 " damaged files of pages were removed, their text is read again; the last was %s",
                       now.bad_files - before.bad_files, now.bad_notice);
        api_log_text(a->server, "cache", text);
    }
    if (now.failed_writes && !before.failed_writes) {
        (void)snprintf(text, sizeof text, "pages cannot be kept on disk at the moment: %s", now.notice);
        api_log_text(a->server, "cache", text);
    }
}

void api_account(const api_ask *a)
{
    api_server *s = a->server;
    api_usage u;
    qn_buf b = {0};
    api_get_usage(a, &u);
    atomic_fetch_add(&s->totals.prompt_tokens, (uint64_t)u.prompt);
    atomic_fetch_add(&s->totals.cached_tokens, (uint64_t)u.cached);
    atomic_fetch_add(&s->totals.generated_tokens, (uint64_t)u.generated);
    look_at_cache(a);
    if (!s->log)
        return;
    begin(&b, "answer");
    qn__buf_printf(&b, ",\"request\":%" PRIu64 ",\"model\":", http_id(a->x));
    api_put_text(&b, a->model_name);
    qn__buf_printf(&b,
                   ",\"prompt_tokens\":%" PRId64 ",\"cached_tokens\":%" PRId64 ",\"generated_tokens\":%" PRId64
                   ",\"prefill_s\":%.3f,\"decode_s\":%.3f,\"finish\":[",
                   u.prompt, u.cached, u.generated, u.prefill_s, u.decode_s);
    for (size_t i = 0; i < a->n_choices; i++)
        qn__buf_printf(&b, i ? ",\"%s\"" : "\"%s\"", finishes[a->choices[i].finish]);
    qn__buf_putc(&b, ']');
    write_out(s, &b);
}

void api_done(void *server, http_exchange *x, int status, uint64_t sent, bool gone)
{
    api_server *s = server;
    qn_buf b = {0};
    if (status >= 400)
        atomic_fetch_add(&s->totals.errors, 1);
    if (gone)
        atomic_fetch_add(&s->totals.gone, 1);
    if (!s->log)
        return;
    begin(&b, "request");
    qn__buf_printf(&b, ",\"request\":%" PRIu64 ",\"method\":", http_id(x));
    api_put_text(&b, http_method(x));
    qn__buf_puts(&b, ",\"path\":");
    api_put_text(&b, http_path(x));
    qn__buf_printf(&b, ",\"status\":%d,\"bytes\":%" PRIu64 ",\"seconds\":%.3f%s", status, sent, qn__now() - http_since(x),
                   gone ? ",\"gone\":true" : "");
    write_out(s, &b);
}
