/* openai_completions.c - POST /v1/completions: text goes on, or a gap is filled. */
#include <string.h>

#include "base/err.h"
#include "services/api/openai.h"

enum { PROMPTS_MAX = 128 };

/* ---- reading ---- */

static bool is_tokens(const json_t *j)
{
    return json_is_array(j) && json_array_size(j) && json_is_integer(json_array_get(j, 0));
}

static void read_tokens(api_ask *a, const api_at *at, api_prompt *p)
{
    const size_t n = json_array_size(at->j);
    p->tokens = api_keep(a, n * sizeof *p->tokens);
    for (size_t i = 0; p->tokens && i < n; i++) {
        const json_t *v = json_array_get(at->j, i);
        const json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
        if (id < 0 || id > INT32_MAX) {
            const api_at item = api_item(at, i);
            api_refuse(&item, "is no token id");
            return;
        }
        p->tokens[i] = (int32_t)id;
    }
    p->n_tokens = n;
}

static void read_one(api_ask *a, const api_at *at, api_prompt *p)
{
    if (json_is_string(at->j)) {
        p->text = json_string_value(at->j);
        p->n_text = json_string_length(at->j);
        p->special = true;
    } else if (is_tokens(at->j)) {
        read_tokens(a, at, p);
    } else {
        api_refuse(at, "is %s; it must be a string or an array of token ids", api_type_name(at->j));
    }
}

void api_read_prompts(api_ask *a, const api_at *body, const char *key)
{
    const api_at f = api_field(body, key);
    if (!f.j || json_is_null(f.j)) {
        api_refuse(&f, "is missing");
        return;
    }
    const bool many = json_is_array(f.j) && !is_tokens(f.j);
    const size_t n = many ? json_array_size(f.j) : 1;
    if (!n || n > PROMPTS_MAX) {
        api_refuse(&f, n ? "has %zu prompts; %d at most go into one request" : "has %zu prompts; give 1 to %d", n, PROMPTS_MAX);
        return;
    }
    a->prompts = api_keep(a, n * sizeof *a->prompts);
    a->n_prompts = a->prompts ? n : 0;
    for (size_t i = 0; i < a->n_prompts; i++) {
        const api_at item = api_item(&f, i);
        read_one(a, many ? &item : &f, &a->prompts[i]);
    }
}

void api_openai_completions(api_server *s, http_exchange *x, api_at *body)
{
    api_ask *a = api_ask_open(s, x, body);
    const char *suffix = NULL;
    size_t n_suffix = 0;
    if (!a)
        return;
    a->mode = API_TEXT;
    api_openai_read(a, body);
    api_read_prompts(a, body, "prompt");
    if (api_get_bytes(body, "suffix", &suffix, &n_suffix) && n_suffix)
        for (size_t i = 0; i < a->n_prompts; i++) {
            a->prompts[i].suffix = suffix;
            a->prompts[i].n_suffix = n_suffix;
            if (!a->prompts[i].text)
                api_refuse_field(body, "suffix", "goes with a prompt of text, not of tokens");
        }
    (void)api_get_bool(body, "echo", &a->echo);
    a->logprobs = api_get_int32(body, "logprobs", 0, 20, &a->top_logprobs);
    if (a->echo && a->logprobs)
        api_refuse_field(body, "logprobs", "are not computed for the prompt; ask for echo or logprobs, not both");
    if (a->max_tokens < 0 && !json_object_get(body->j, "max_tokens") && !json_object_get(body->j, "n_predict"))
        a->max_tokens = 16; /* as the protocol says */
    api_ask_run(a);
}

/* ---- writing ---- */

static void put_token(const api_ask *a, int32_t token, qn_buf *out)
{
    char *bytes = NULL;
    size_t n = 0;
    if (api_token_bytes(a->loaded, token, &bytes, &n) != QN_OK)
        n = 0;
    api_put_string(out, bytes ? bytes : "", n);
    qn_free(bytes);
}

static void put_top(const api_ask *a, const qn_prob *r, size_t row, qn_buf *out)
{
    qn__buf_putc(out, '{');
    for (size_t k = 1; k < row && r[k].token >= 0 && k <= (size_t)a->top_logprobs; k++) {
        if (k > 1)
            qn__buf_putc(out, ',');
        put_token(a, r[k].token, out);
        qn__buf_putc(out, ':');
        api_put_float(out, r[k].logprob);
    }
    qn__buf_putc(out, '}');
}

/* tokens, token_logprobs, top_logprobs, text_offset: four arrays side by side */
static void put_logprobs(const api_choice *c, size_t from, qn_buf *out)
{
    const api_probs *p = &c->probs;
    const api_ask *a = c->ask;
    const size_t row = 1 + p->n_top;
    size_t offset = 0;
    if (!a->logprobs || from >= p->n) {
        qn__buf_puts(out, "null");
        return;
    }
    qn__buf_puts(out, "{\"tokens\":[");
    for (size_t i = from; i < p->n; i++) {
        qn__buf_puts(out, i > from ? "," : "");
        put_token(a, p->rows[i * row].token, out);
    }
    qn__buf_puts(out, "],\"token_logprobs\":[");
    for (size_t i = from; i < p->n; i++) {
        qn__buf_puts(out, i > from ? "," : "");
        api_put_float(out, p->rows[i * row].logprob);
    }
    qn__buf_puts(out, "],\"top_logprobs\":[");
    for (size_t i = from; i < p->n; i++) {
        qn__buf_puts(out, i > from ? "," : "");
        put_top(a, &p->rows[i * row], row, out);
    }
    qn__buf_puts(out, "],\"text_offset\":[");
    for (size_t i = 0; i < p->n; i++) {
        char *bytes = NULL;
        size_t n = 0;
        if (i >= from)
            qn__buf_printf(out, "%s%zu", i > from ? "," : "", offset);
        if (api_token_bytes(a->loaded, p->rows[i * row].token, &bytes, &n) == QN_OK)
            offset += n;
        qn_free(bytes);
    }
    qn__buf_puts(out, "]}");
}

/* What echo puts before the first text. */
static void put_prompt(const api_ask *a, const api_choice *c, qn_buf *text)
{
    const api_prompt *p = &a->prompts[c->prompt];
    if (!a->echo)
        return;
    if (p->text) {
        qn__buf_put(text, p->text, p->n_text);
        return;
    }
    char *t = NULL;
    size_t n = 0;
    if (qn_detokenize(a->loaded->model, p->tokens, p->n_tokens, true, &t, &n, NULL) == QN_OK)
        qn__buf_put(text, t, n);
    qn_free(t);
}

static void put_choice(const api_choice *c, const char *text, size_t n, size_t probs_from, const char *finish, qn_buf *out)
{
    qn__buf_printf(out, "{\"index\":%d,\"text\":", c->index);
    api_put_string(out, text, n);
    qn__buf_puts(out, ",\"logprobs\":");
    put_logprobs(c, probs_from, out);
    qn__buf_puts(out, ",\"finish_reason\":");
    api_put_text(out, finish);
    qn__buf_putc(out, '}');
}

static void chunk(api_ask *a, const api_choice *c, const char *text, size_t n, size_t probs_from, const char *finish, qn_buf *out)
{
    qn__buf_puts(out, "data: ");
    api_openai_begin(a, "cmpl", "text_completion", out);
    qn__buf_puts(out, ",\"choices\":[");
    if (c)
        put_choice(c, text, n, probs_from, finish, out);
    qn__buf_putc(out, ']');
    if (!c)
        api_openai_usage(a, out);
    qn__buf_puts(out, "}\n\n");
}

static void event(api_ask *a, const api_event *e, qn_buf *out)
{
    switch (e->kind) {
    case API_EVENT_START:
        for (size_t i = 0; a->echo && i < a->n_choices; i++) {
            qn_buf text = {0};
            put_prompt(a, &a->choices[i], &text);
            chunk(a, &a->choices[i], text.data ? text.data : "", text.n, SIZE_MAX, NULL, out);
            out->failed = out->failed || text.failed;
            qn__buf_free(&text);
        }
        break;
    case API_EVENT_TEXT: chunk(a, e->choice, e->text, e->n, e->probs_from, NULL, out); break;
    case API_EVENT_FINISH:
        chunk(a, e->choice, "", 0, e->probs_from, api_openai_finish(e->choice->finish), out);
        break;
    case API_EVENT_END:
        if (a->stream_usage)
            chunk(a, NULL, NULL, 0, 0, NULL, out);
        qn__buf_puts(out, "data: [DONE]\n\n");
        break;
    default: break;
    }
}

static void whole(api_ask *a, qn_buf *out)
{
    api_openai_begin(a, "cmpl", "text_completion", out);
    qn__buf_puts(out, ",\"choices\":[");
    for (size_t i = 0; i < a->n_choices; i++) {
        const api_choice *c = &a->choices[i];
        qn_buf text = {0};
        put_prompt(a, c, &text);
        qn__buf_put(&text, c->text.data ? c->text.data : "", c->text.n);
        qn__buf_puts(out, i ? "," : "");
        put_choice(c, text.data, text.n, 0, api_openai_finish(c->finish), out);
        out->failed = out->failed || text.failed;
        qn__buf_free(&text);
    }
    qn__buf_putc(out, ']');
    api_openai_usage(a, out);
    qn__buf_putc(out, '}');
}

const api_wire api_openai_text_wire = {
    .stream_type = "text/event-stream",
    .rest = ": still reading\n\n",
    .event = event,
    .whole = whole,
    .error = api_openai_error,
};
