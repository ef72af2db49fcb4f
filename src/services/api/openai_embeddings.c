/* openai_embeddings.c - POST /v1/embeddings: texts to vectors, as numbers or as base64 of little-endian floats. */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "services/api/openai.h"

typedef struct embedding {
    const api_prompt *prompt;
    float *out;
    qn_status st;
    qn_err err;
} embedding;

static void embed(qn_engine *e, void *arg)
{
    embedding *m = arg;
    m->st = qn_embed(e, m->prompt->tokens, m->prompt->n_tokens, QN_POOL_AUTO, true, m->out, &m->err);
}

static void put_base64(qn_buf *out, const void *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *b = p;
    qn__buf_putc(out, '"');
    for (size_t i = 0; i < n; i += 3) {
        const size_t left = n - i;
        const uint32_t v = (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0) | (left > 2 ? b[i + 2] : 0);
        const char four[4] = {digits[v >> 18], digits[v >> 12 & 63], left > 1 ? digits[v >> 6 & 63] : '=',
                              left > 2 ? digits[v & 63] : '='};
        qn__buf_put(out, four, 4);
    }
    qn__buf_putc(out, '"');
}

/* The first ones, to length 1 again. */
static void shorten(float *v, size_t n, size_t wanted)
{
    double sum = 0;
    if (wanted >= n)
        return;
    for (size_t i = 0; i < wanted; i++)
        sum += (double)v[i] * (double)v[i];
    const float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 1;
    for (size_t i = 0; i < wanted; i++)
        v[i] *= scale;
}

static void put_vector(qn_buf *out, const float *v, size_t n, bool base64)
{
    if (base64) {
        put_base64(out, v, n * sizeof *v);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        qn__buf_putc(out, i ? ',' : '[');
        api_put_float(out, (double)v[i]);
    }
    qn__buf_putc(out, ']');
}

typedef struct form {
    int32_t dimensions;
    bool base64;
} form;

static void put_one(void *arg, size_t i, const float *v, size_t n, qn_buf *out)
{
    const form *f = arg;
    qn__buf_printf(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i ? "," : "", i);
    put_vector(out, v, n, f->base64);
    qn__buf_putc(out, '}');
}

/* One call of the scheduler's thread after another: what runs goes on in between. */
static qn_status embed_each(api_ask *a, int32_t dimensions, void (*put)(void *arg, size_t i, const float *v, size_t n, qn_buf *out), void *arg,
                            qn_buf *out, qn_err *err)
{
    const size_t n = (size_t)a->loaded->info.n_embd, wanted = dimensions ? (size_t)dimensions : n;
    embedding m = {.out = qn__alloc(n * sizeof *m.out)};
    qn_status st = m.out ? QN_OK : qn__fail_mem(err, "embeddings");
    if (!st && dimensions > (int32_t)n)
        st = qn__fail(err, QN_EINVAL, "dimensions", "%d are more than the model's %zu", dimensions, n);
    for (size_t i = 0; i < a->n_prompts && !st; i++) {
        m.prompt = &a->prompts[i];
        if (http_is_gone(a->x)) {
            st = qn__fail(err, QN_ECANCELLED, "", "the client went");
            break;
        }
        st = qn_scheduler_call(a->loaded->scheduler, embed, &m, err);
        if (!st && m.st) {
            st = m.st;
            *err = m.err;
        }
        if (st)
            break;
        shorten(m.out, n, wanted);
        put(arg, i, m.out, wanted, out);
    }
    qn_free(m.out);
    return st;
}

bool api_embed_each(api_ask *a, int32_t dimensions, void (*put)(void *arg, size_t i, const float *v, size_t n, qn_buf *out), void *arg, qn_buf *out)
{
    qn_err err = {0};
    api_error e;
    if (!embed_each(a, dimensions, put, arg, out, &err))
        return true;
    qn__buf_free(out);
    api_error_from(&e, &err);
    api_ask_drop(a, &e);
    return false;
}

void api_openai_embeddings(api_server *s, http_exchange *x, api_at *body)
{
    api_ask *a = api_ask_open(s, x, body);
    const char *format = "float";
    int32_t dimensions = 0;
    int64_t tokens = 0;
    qn_buf out = {0};
    if (!a)
        return;
    a->mode = API_TEXT;
    (void)api_get_text(body, "model", &a->model);
    (void)api_get_int32(body, "dimensions", 1, INT32_MAX, &dimensions);
    if (api_get_text(body, "encoding_format", &format) && strcmp(format, "float") != 0 && strcmp(format, "base64") != 0)
        api_refuse_field(body, "encoding_format", "'%.40s' is neither \"float\" nor \"base64\"", format);
    api_read_prompts(a, body, "input");
    for (size_t i = 0; i < a->n_prompts; i++)
        a->prompts[i].special = false;
    if (!api_ask_prepare(a))
        return;
    qn__buf_puts(&out, "{\"object\":\"list\",\"data\":[");
    form f = {dimensions, strcmp(format, "base64") == 0};
    if (!api_embed_each(a, dimensions, put_one, &f, &out))
        return;
    for (size_t i = 0; i < a->n_prompts; i++)
        tokens += (int64_t)a->prompts[i].n_tokens;
    qn__buf_puts(&out, "],\"model\":");
    api_put_text(&out, a->model_name);
    qn__buf_printf(&out, ",\"usage\":{\"prompt_tokens\":%lld,\"total_tokens\":%lld}}", (long long)tokens, (long long)tokens);
    api_respond(x, "application/json", &out);
    api_ask_close(a);
}
