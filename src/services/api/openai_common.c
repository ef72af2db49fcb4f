/* openai_common.c - what OpenAI's endpoints share: errors, usage, the fields that chat and completions both have. */
#include "services/api/openai.h"

#include <inttypes.h>

#include "base/err.h"

void api_openai_error(const api_error *e, api_ask *a, qn_buf *out)
{
    if (a)
        qn__buf_puts(out, "data: ");
    qn__buf_puts(out, "{\"error\":{\"message\":");
    api_put_text(out, e->message);
    qn__buf_puts(out, ",\"type\":");
    api_put_text(out, api_error_type(e->status));
    qn__buf_puts(out, ",\"param\":");
    api_put_text(out, e->param[0] ? e->param : NULL);
    qn__buf_puts(out, ",\"code\":");
    if (e->code)
        api_put_text(out, e->code);
    else
        qn__buf_printf(out, "%d", e->status);
    if (e->n_ctx)
        qn__buf_printf(out, ",\"n_prompt_tokens\":%" PRId64 ",\"n_ctx\":%" PRId64, e->n_prompt, e->n_ctx);
    qn__buf_puts(out, a ? "}}\n\n" : "}}");
}

const api_wire api_openai_wire = {.error = api_openai_error};

void api_openai_begin(api_ask *a, const char *prefix, const char *object, qn_buf *out)
{
    qn__buf_printf(out, "{\"id\":\"%s-%s\",\"object\":\"%s\",\"created\":%" PRId64 ",\"model\":", prefix, a->id, object,
                   a->created);
    api_put_text(out, a->model_name);
}

static double per_second(double n, double seconds)
{
    return seconds > 0 ? n / seconds : 0;
}

void api_openai_usage(const api_ask *a, qn_buf *out)
{
    api_usage u;
    api_get_usage(a, &u);
    qn__buf_printf(out,
                   ",\"usage\":{\"prompt_tokens\":%" PRId64 ",\"completion_tokens\":%" PRId64 ",\"total_tokens\":%" PRId64
                   ",\"prompt_tokens_details\":{\"cached_tokens\":%" PRId64 "}}",
                   u.prompt, u.generated, u.prompt + u.generated, u.cached);
    const double read = (double)(u.prompt - u.cached), written = (double)u.generated;
    qn__buf_printf(out,
                   ",\"timings\":{\"cache_n\":%" PRId64 ",\"prompt_n\":%" PRId64
                   ",\"prompt_ms\":%.3f,\"prompt_per_second\":%.3f,\"predicted_n\":%" PRId64
                   ",\"predicted_ms\":%.3f,\"predicted_per_second\":%.3f,\"draft_n\":%" PRId64 ",\"draft_n_accepted\":%" PRId64
                   "}",
                   u.cached, u.prompt - u.cached, u.prefill_s * 1e3, per_second(read, u.prefill_s), u.generated,
                   u.decode_s * 1e3, per_second(written > 1 ? written - 1 : 0, u.decode_s), u.drafted, u.accepted);
}

const char *api_openai_finish(api_finish f)
{
    switch (f) {
    case API_LENGTH:
    case API_DEADLINE: return "length";
    case API_CALLS: return "tool_calls";
    default: return "stop";
    }
}

void api_openai_read(api_ask *a, const api_at *body)
{
    api_at options;
    (void)api_get_text(body, "model", &a->model);
    (void)api_get_int32(body, "max_tokens", -1, INT32_MAX, &a->max_tokens);
    (void)api_get_int32(body, "n_predict", -1, INT32_MAX, &a->max_tokens);
    (void)api_get_int32(body, "max_completion_tokens", -1, INT32_MAX, &a->max_tokens);
    (void)api_get_bool(body, "stream", &a->stream);
    if (api_get_object(body, "stream_options", &options))
        (void)api_get_bool(&options, "include_usage", &a->stream_usage);
    (void)api_get_bool(body, "return_progress", &a->want_progress);
    (void)api_get_int32(body, "n", 1, 128, &a->n);
    api_read_sampling(a, body);
    api_read_stop(a, body, "stop");
}
