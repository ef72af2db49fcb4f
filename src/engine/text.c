/* text.c - the text half of the public API: tokenize, detokenize, render. */
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "engine/model.h"
#include "text/chat.h"

/* The model's tokenizer, or why it has none. */
static qn_status tokenizer(const qn_model *m, const qn_tokenizer **out, qn_err *err)
{
    if (m->tokenizer) {
        *out = m->tokenizer;
        return QN_OK;
    }
    if (m->tokenizer_err.code) {
        if (err)
            *err = m->tokenizer_err;
        qn__err_prefix(err, m->file);
        return m->tokenizer_err.code;
    }
    return qn__fail(err, QN_EINVAL, m->file, "the model was opened without its vocabulary; open it with QN_OPEN_VOCAB");
}

qn_status qn_tokenize(const qn_model *m, const char *text, size_t n, bool special, qn_add_bos bos, int32_t **ids,
                      size_t *n_ids, qn_err *err)
{
    const qn_tokenizer *t = NULL;
    qn_status st = tokenizer(m, &t, err);
    return st ? st : qn__tokenize(t, text, n, special, bos, ids, n_ids, err);
}

qn_status qn_detokenize(const qn_model *m, const int32_t *ids, size_t n, bool special, char **text, size_t *n_text,
                        qn_err *err)
{
    const qn_tokenizer *t = NULL;
    qn_status st = tokenizer(m, &t, err);
    if (st)
        return st;
    int32_t n_vocab = qn__tokenizer_info(t)->n_vocab;
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= n_vocab)
            return qn__fail(err, QN_EINVAL, m->file, "token %d is not in the vocabulary; ids go from 0 to %d", ids[i],
                            n_vocab - 1);
    qn_detok d;
    qn_buf b = {0};
    qn__detok_init(&d, t, special);
    for (size_t i = 0; i < n; i++)
        qn__detok_put(&d, ids[i], &b);
    qn__detok_flush(&d, &b);
    size_t len;
    char *s = qn__buf_take(&b, &len);
    if (!s)
        return qn__fail_mem(err, m->file);
    *text = s;
    if (n_text)
        *n_text = len;
    return QN_OK;
}

/* A terminated copy of a token's text in *out; NULL stays for a token that is absent. */
static bool token_text(const qn_tokenizer *t, int32_t id, char **out)
{
    if (id < 0 || id >= qn__tokenizer_info(t)->n_vocab)
        return true;
    qn_slice s = qn__token_text(t, id);
    return (*out = qn__strndup(s.p, s.n)) != NULL;
}

static qn_status model_template(const qn_model *m, const qn_jinja **out, qn_err *err)
{
    if (m->template) {
        *out = m->template;
        return QN_OK;
    }
    if (m->how == QN_OPEN_HEADER)
        return qn__fail(err, QN_EINVAL, m->file, "the model was opened without its vocabulary; open it with QN_OPEN_VOCAB");
    if (!m->template_err.code)
        return qn__fail(err, QN_EINVAL, m->file,
                        "the model has no chat template; give one, or use it without a conversation (raw text)");
    if (err)
        *err = m->template_err;
    qn__err_prefix(err, m->file);
    return m->template_err.code;
}

qn_status qn_render(const qn_render_options *o, char **text, size_t *n, qn_err *err)
{
    qn_status st;
    qn_jinja *own = NULL;
    const qn_jinja *t = NULL;
    char *bos = NULL, *eos = NULL, *unk = NULL, *pad = NULL;
    if (!o->messages_json || (!o->model && !o->template_text))
        return qn__fail(err, QN_EINVAL, "render", "messages and a model or a template are needed");
    qn_chat_input in = {.messages_json = o->messages_json, .tools_json = o->tools_json, .vars = o->vars,
                        .n_vars = o->n_vars, .add_generation_prompt = !o->no_generation_prompt};
    if (o->template_text) {
        st = qn__jinja_parse(o->template_text, strlen(o->template_text), NULL, &own, err);
        t = own;
    } else {
        st = model_template(o->model, &t, err);
    }
    if (st)
        goto out;
    if (o->date)
        st = qn__chat_date(o->date, &in.now, err);
    else
        in.now = (int64_t)time(NULL);
    if (st)
        goto out;
    if (o->model && o->model->tokenizer) {
        const qn_tokenizer *k = o->model->tokenizer;
        const qn_tokenizer_info *i = qn__tokenizer_info(k);
        if (!token_text(k, i->bos, &bos) || !token_text(k, i->eos, &eos) || !token_text(k, i->unk, &unk) ||
            !token_text(k, i->pad, &pad)) {
            st = qn__fail_mem(err, "render");
            goto out;
        }
    }
    in.bos = bos;
    in.eos = eos;
    in.unk = unk;
    in.pad = pad;
    size_t len;
    st = qn__chat_render(t, &in, text, &len, err);
    if (!st && n)
        *n = len;
out:
    qn__jinja_free(own);
    qn_free(bos);
    qn_free(eos);
    qn_free(unk);
    qn_free(pad);
    return st;
}
