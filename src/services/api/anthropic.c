/* anthropic.c - POST /v1/messages and /v1/messages/count_tokens: the writing. Reading is in anthropic_read.c.
 *
 * A stream is a sequence of blocks, one open at a time:
 *
 *   message_start, ping, { content_block_start, content_block_delta ..., content_block_stop } ..., message_delta, message_stop */
#include "services/api/anthropic.h"

#include <inttypes.h>
#include <string.h>

#include "base/err.h"

typedef enum block { NONE, THINKING, TEXT, CALL } block;

typedef struct writing {
    block open;
    int index; /* of the open block, or of the next one */
} writing;

/* ---- errors ---- */

static const char *error_type(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    default: return status >= 500 ? "api_error" : "invalid_request_error";
    }
}

static void write_error(const api_error *e, api_ask *a, qn_buf *out)
{
    if (a)
        qn__buf_puts(out, "event: error\ndata: ");
    qn__buf_printf(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":", error_type(e->status));
    api_put_text(out, e->message);
    qn__buf_puts(out, a ? "}}\n\n" : "}}");
}

/* ---- a stream ---- */

static void begin(qn_buf *out, const char *event)
{
    qn__buf_printf(out, "event: %s\ndata: {\"type\":\"%s\"", event, event);
}

static void finish(qn_buf *out)
{
    qn__buf_puts(out, "}\n\n");
}

static void put_usage(const api_ask *a, qn_buf *out)
{
    api_usage u;
    api_get_usage(a, &u);
    qn__buf_printf(out, ",\"usage\":{\"input_tokens\":%" PRId64 ",\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":%" PRId64
                   ",\"output_tokens\":%" PRId64 "}", u.prompt - u.cached, u.cached, u.generated);
}

static void put_head(api_ask *a, qn_buf *out)
{
    qn__buf_printf(out, "\"id\":\"msg_%s\",\"type\":\"message\",\"role\":\"assistant\",\"model\":", a->id);
    api_put_text(out, a->model_name);
}

static void put_start(api_ask *a, qn_buf *out)
{
    begin(out, "message_start");
    qn__buf_puts(out, ",\"message\":{");
    put_head(a, out);
    qn__buf_puts(out, ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null");
    put_usage(a, out);
    qn__buf_putc(out, '}');
    finish(out);
    begin(out, "ping");
    finish(out);
}

static void close_block(writing *w, qn_buf *out)
{
    if (w->open == NONE)
        return;
    if (w->open == THINKING) { /* clients keep it with the block and send it back */
        begin(out, "content_block_delta");
        qn__buf_printf(out, ",\"index\":%d,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"\"}", w->index);
        finish(out);
    }
    begin(out, "content_block_stop");
    qn__buf_printf(out, ",\"index\":%d", w->index);
    finish(out);
    w->open = NONE;
    w->index++;
}

static void open_block(writing *w, block kind, const api_call *call, qn_buf *out)
{
    if (w->open == kind && kind != CALL)
        return;
    close_block(w, out);
    w->open = kind;
    begin(out, "content_block_start");
    qn__buf_printf(out, ",\"index\":%d,\"content_block\":{\"type\":", w->index);
    if (kind == CALL) {
        qn__buf_puts(out, "\"tool_use\",\"id\":");
        api_put_text(out, call->id);
        qn__buf_puts(out, ",\"name\":");
        api_put_text(out, call->name);
        qn__buf_puts(out, ",\"input\":{}}");
    } else {
        qn__buf_puts(out, kind == TEXT ? "\"text\",\"text\":\"\"}" : "\"thinking\",\"thinking\":\"\",\"signature\":\"\"}");
    }
    finish(out);
}

static void put_delta(const writing *w, const char *type, const char *key, const api_event *e, qn_buf *out)
{
    begin(out, "content_block_delta");
    qn__buf_printf(out, ",\"index\":%d,\"delta\":{\"type\":\"%s\",\"%s\":", w->index, type, key);
    api_put_string(out, e->text, e->n);
    qn__buf_putc(out, '}');
    finish(out);
}

static void put_reason(const api_ask *a, const api_choice *c, qn_buf *out)
{
    const char *reason = "end_turn", *stop = NULL;
    if (c->finish == API_LENGTH || c->finish == API_DEADLINE) {
        reason = "max_tokens";
    } else if (c->finish == API_CALLS) {
        reason = "tool_use";
    } else if (c->finish == API_STOP_STRING) {
        reason = "stop_sequence";
        stop = a->n_stop == 1 ? a->stop[0] : NULL; /* of several, which it was is not known here */
    }
    qn__buf_printf(out, "\"stop_reason\":\"%s\",\"stop_sequence\":", reason);
    api_put_text(out, stop);
}

static void put_finish(api_ask *a, const api_choice *c, qn_buf *out)
{
    begin(out, "message_delta");
    qn__buf_puts(out, ",\"delta\":{");
    put_reason(a, c, out);
    qn__buf_putc(out, '}');
    put_usage(a, out);
    finish(out);
}

static void event(api_ask *a, const api_event *e, qn_buf *out)
{
    writing *w = a->state;
    switch (e->kind) {
    case API_EVENT_START: put_start(a, out); break;
    case API_EVENT_PROGRESS: break;
    case API_EVENT_REASONING:
        open_block(w, THINKING, NULL, out);
        put_delta(w, "thinking_delta", "thinking", e, out);
        break;
    case API_EVENT_TEXT:
        if (e->n == 0)
            break;
        open_block(w, TEXT, NULL, out);
        put_delta(w, "text_delta", "text", e, out);
        break;
    case API_EVENT_CALL: open_block(w, CALL, e->call, out); break;
    case API_EVENT_ARGUMENTS: put_delta(w, "input_json_delta", "partial_json", e, out); break;
    case API_EVENT_CALL_END: close_block(w, out); break;
    case API_EVENT_FINISH:
        close_block(w, out);
        put_finish(a, e->choice, out);
        break;
    case API_EVENT_END:
        begin(out, "message_stop");
        finish(out);
        break;
    }
}

/* ---- the whole ---- */

static void whole(api_ask *a, qn_buf *out)
{
    const api_choice *c = &a->choices[0];
    const char *comma = "";
    qn__buf_putc(out, '{');
    put_head(a, out);
    qn__buf_puts(out, ",\"content\":[");
    if (c->reasoning.n) {
        qn__buf_puts(out, "{\"type\":\"thinking\",\"thinking\":");
        api_put_string(out, c->reasoning.data, c->reasoning.n);
        qn__buf_puts(out, ",\"signature\":\"\"}");
        comma = ",";
    }
    if (c->text.n) {
        qn__buf_printf(out, "%s{\"type\":\"text\",\"text\":", comma);
        api_put_string(out, c->text.data, c->text.n);
        qn__buf_putc(out, '}');
        comma = ",";
    }
    for (size_t i = 0; i < c->n_calls; i++) {
        const api_call *call = &c->calls[i];
        if (!call->complete) /* cut off: stop_reason says so, and its arguments are no object yet */
            continue;
        qn__buf_printf(out, "%s{\"type\":\"tool_use\",\"id\":", comma);
        api_put_text(out, call->id);
        qn__buf_puts(out, ",\"name\":");
        api_put_text(out, call->name);
        qn__buf_puts(out, ",\"input\":");
        if (call->arguments.n)
            qn__buf_put(out, call->arguments.data, call->arguments.n);
        else
            qn__buf_puts(out, "{}");
        qn__buf_putc(out, '}');
        comma = ",";
    }
    qn__buf_puts(out, "],");
    put_reason(a, c, out);
    put_usage(a, out);
    qn__buf_putc(out, '}');
}

const api_wire api_anthropic_wire = {
    .stream_type = "text/event-stream",
    .rest = "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    .event = event,
    .whole = whole,
    .error = write_error,
};

/* ---- endpoints ---- */

void api_anthropic_messages(api_server *s, http_exchange *x, api_at *body)
{
    api_ask *a = api_ask_open(s, x, body);
    if (!a)
        return;
    api_anthropic_read(a, body);
    if (a->max_tokens < 0)
        api_refuse_field(body, "max_tokens", "is missing; it must be a number of at least 1");
    a->state = api_keep(a, sizeof(writing));
    api_ask_run(a);
}

void api_anthropic_count(api_server *s, http_exchange *x, api_at *body)
{
    api_ask *a = api_ask_open(s, x, body);
    if (!a)
        return;
    api_anthropic_read(a, body);
    if (!api_ask_prepare(a)) /* one that does not fit is counted, too */
        return;
    qn_buf b = {0};
    qn__buf_printf(&b, "{\"input_tokens\":%zu}", a->n_prompts ? a->prompts[0].n_tokens : 0);
    api_respond(x, "application/json", &b);
    api_ask_close(a);
}
