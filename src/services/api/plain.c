/* plain.c - the text half by itself: tokenize, detokenize, apply-template. */
#include "base/err.h"
#include "services/api/routes.h"
#include "services/api/serve.h"

static void fail_with(api_server *s, http_exchange *x, const qn_err *err)
{
    api_error e;
    api_error_from(&e, err);
    api_fail(s, x, &e);
}

static void put_piece(const api_model *m, int32_t id, qn_buf *b)
{
    char *bytes = NULL;
    size_t n = 0;
    if (api_token_bytes(m, id, &bytes, &n) != QN_OK)
        n = 0;
    qn__buf_printf(b, "{\"id\":%d,\"piece\":", id);
    if (qn__utf8_valid(bytes ? bytes : "", n)) {
        api_put_string(b, bytes ? bytes : "", n);
    } else {
        for (size_t i = 0; i < n; i++)
            qn__buf_printf(b, i ? ",%d" : "[%d", (unsigned char)bytes[i]);
        qn__buf_putc(b, ']');
    }
    qn__buf_putc(b, '}');
    qn_free(bytes);
}

void api_tokenize(api_server *s, http_exchange *x, api_at *body)
{
    const char *text = "", *name = NULL;
    size_t n = 0, n_ids = 0;
    bool add_special = false, parse_special = true, pieces = false;
    int32_t *ids = NULL;
    qn_buf b = {0};
    (void)api_get_text(body, "model", &name);
    if (!api_get_bytes(body, "content", &text, &n) && !api_get_bytes(body, "prompt", &text, &n))
        api_refuse_field(body, "content", "is missing");
    (void)api_get_bool(body, "add_special", &add_special);
    (void)api_get_bool(body, "parse_special", &parse_special);
    (void)api_get_bool(body, "with_pieces", &pieces);
    if (!api_is_ok(body)) {
        fail_with(s, x, body->err);
        return;
    }
    api_model *m = api_hold(s, x, name);
    if (!m)
        return;
    qn_err err;
    if (qn_tokenize(m->model, text, n, parse_special, add_special ? QN_BOS_AUTO : QN_BOS_NO, &ids, &n_ids, &err)) {
        fail_with(s, x, &err);
    } else {
        qn__buf_puts(&b, "{\"tokens\":[");
        for (size_t i = 0; i < n_ids; i++) {
            qn__buf_puts(&b, i ? "," : "");
            if (pieces)
                put_piece(m, ids[i], &b);
            else
                qn__buf_printf(&b, "%d", ids[i]);
        }
        qn__buf_printf(&b, "],\"count\":%zu}", n_ids);
        api_respond(x, "application/json", &b);
    }
    qn_free(ids);
    api_model_release(&s->models, m);
}

void api_detokenize(api_server *s, http_exchange *x, api_at *body)
{
    const char *name = NULL;
    api_at tokens;
    int32_t *ids = NULL;
    char *text = NULL;
    size_t n = 0;
    (void)api_get_text(body, "model", &name);
    if (!api_get_array(body, "tokens", &tokens))
        api_refuse_field(body, "tokens", "is missing");
    const size_t n_ids = json_array_size(tokens.j);
    ids = qn__alloc(n_ids * sizeof *ids);
    for (size_t i = 0; ids && i < n_ids; i++) {
        const json_t *v = json_array_get(tokens.j, i);
        const api_at item = api_item(&tokens, i);
        const json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
        if (id < 0 || id > INT32_MAX)
            api_refuse(&item, "is no token id");
        ids[i] = (int32_t)id;
    }
    if (!ids)
        (void)qn__fail_mem(body->err, "tokens");
    api_model *m = api_is_ok(body) ? api_hold(s, x, name) : NULL;
    if (!api_is_ok(body)) {
        fail_with(s, x, body->err);
    } else if (m) {
        qn_err err;
        if (qn_detokenize(m->model, ids, n_ids, true, &text, &n, &err)) {
            err.where[0] = 0;
            fail_with(s, x, &err);
        } else {
            qn_buf b = {0};
            qn__buf_puts(&b, "{\"content\":");
            api_put_string(&b, text, n);
            qn__buf_putc(&b, '}');
            api_respond(x, "application/json", &b);
        }
        api_model_release(&s->models, m);
    }
    qn_free(text);
    qn_free(ids);
}

void api_apply_template(api_server *s, http_exchange *x, api_at *body)
{
    api_ask *a = api_ask_open(s, x, body);
    qn_buf b = {0};
    if (!a)
        return;
    api_openai_read_chat(a, body);
    if (!api_ask_prepare(a))
        return;
    qn__buf_puts(&b, "{\"prompt\":");
    api_put_string(&b, a->rendered, a->n_rendered);
    qn__buf_printf(&b, ",\"tokens\":%zu}", a->prompts[0].n_tokens);
    api_respond(x, "application/json", &b);
    api_ask_close(a);
}
