/* model.c - opening and closing a qn_model: a GGUF file and what was made of it. See model.h.
 *
 * Refuses what its parts refuse; adds only the file's name to what they say. */
#include "engine/model.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "engine/embedded.h"

char *qn__printable(qn_slice s)
{
    char *out = qn__alloc(s.n + 1);
    size_t k = 0;
    for (size_t i = 0; out && i < s.n;) {
        int32_t cp;
        size_t n = qn__utf8_decode(s.p + i, s.n - i, &cp);
        if (cp < 0x20 || (cp >= 0x7F && cp < 0xA0)) {
            out[k++] = '?';
        } else {
            memcpy(out + k, s.p + i, n);
            k += n;
        }
        i += n;
    }
    if (out)
        out[k] = 0;
    return out;
}

qn_slice qn__model_template(const qn_model *m)
{
    qn_slice s = {0};
    if (qn__gguf_str(m->g, "tokenizer.chat_template", &s, NULL))
        s = (qn_slice){0};
    return s;
}

/* A key of the wrong kind counts as absent: these are facts to show; what depends on them checks for itself. */
static int32_t id_key(const qn_gguf *g, const char *key)
{
    int64_t v = -1;
    return qn__gguf_int(g, key, -1, INT32_MAX, -1, &v, NULL) ? -1 : (int32_t)v;
}

static int32_t header_vocab(const qn_gguf *g)
{
    const qn_gguf_tensor *t = qn__gguf_find(g, "output.weight");
    if (!t)
        t = qn__gguf_find(g, "token_embd.weight");
    if (t && t->dims[1] <= INT32_MAX)
        return (int32_t)t->dims[1];
    const qn_gguf_kv *kv = qn__gguf_kv(g, "tokenizer.ggml.tokens");
    return kv && kv->kind == QN_GGUF_ARR && kv->n <= INT32_MAX ? (int32_t)kv->n : 0;
}

static qn_status fill_info(qn_model *m, qn_err *err)
{
    qn_slice arch = {0}, name = {0};
    (void)qn__gguf_str(m->g, "general.architecture", &arch, NULL);
    (void)qn__gguf_str(m->g, "general.name", &name, NULL);
    m->architecture = qn__printable(arch);
    m->name = qn__printable(name);
    if (!m->architecture || !m->name)
        return qn__fail_mem(err, NULL);

    qn_model_info *i = &m->info;
    i->architecture = m->architecture;
    i->name = m->name;
    i->has_chat_template = qn__model_template(m).p != NULL;
    i->file_bytes = qn__gguf_file_bytes(m->g);
    i->n_vocab = header_vocab(m->g);
    char key[128];
    static const char suffix[] = ".context_length";
    if (arch.p && arch.n + sizeof suffix <= sizeof key) {
        int64_t v = 0;
        memcpy(key, arch.p, arch.n);
        memcpy(key + arch.n, suffix, sizeof suffix);
        i->n_ctx_train = qn__gguf_int(m->g, key, 0, INT32_MAX, 0, &v, NULL) ? 0 : (int32_t)v;
    }
    if (m->tokenizer) {
        const qn_tokenizer_info *t = qn__tokenizer_info(m->tokenizer);
        i->bos = t->bos;
        i->eos = t->eos;
        i->eot = t->eot;
    } else {
        i->bos = id_key(m->g, "tokenizer.ggml.bos_token_id");
        i->eos = id_key(m->g, "tokenizer.ggml.eos_token_id");
        i->eot = id_key(m->g, "tokenizer.ggml.eot_token_id");
    }
    if (m->decoder) {
        const qn_decoder_info *d = qn__decoder_info(m->decoder);
        i->n_vocab = d->n_vocab;
        i->n_ctx_train = d->n_ctx_train;
        i->n_embd = d->n_embd;
        i->embedding_only = d->embedding_only;
        qn_work w;
        qn__decoder_work(m->decoder, QN__KV_F16, 1, 1, 0, &w);
        i->bytes_per_token = (uint64_t)w.bytes;
        i->params_per_token = (uint64_t)((w.int8_ops + w.float_ops) / 2);
    }
    return QN_OK;
}

/* An error that is the file's is kept; one that is the machine's is reported. */
static qn_status keep(qn_status st, const qn_err *why, qn_err *kept, qn_err *err)
{
    if (st == QN_ENOMEM) {
        if (err)
            *err = *why;
        return st;
    }
    if (st)
        *kept = *why;
    return QN_OK;
}

static qn_status open_parts(qn_model *m, qn_err *err)
{
    qn_err why = {0};
    if (m->how == QN_OPEN_HEADER)
        return QN_OK;
    if (m->how == QN_OPEN_FULL) { /* first: an architecture that is unknown is what the user should read */
        qn_status st = qn__decoder_open(m->g, &m->decoder, err);
        if (st)
            return st;
    }
    qn_status st = qn__tokenizer_open(m->g, &m->tokenizer, &why);
    if (st && m->how == QN_OPEN_VOCAB) {
        if (err)
            *err = why;
        return st;
    }
    st = keep(st, &why, &m->tokenizer_err, err);
    if (st)
        return st;
    qn_slice text = qn__model_template(m);
    if (!text.p)
        return QN_OK;
    why = (qn_err){0};
    return keep(qn__jinja_parse(text.p, text.n, NULL, &m->template, &why), &why, &m->template_err, err);
}

qn_status qn_model_open(const char *path, qn_open how, qn_model **out, qn_err *err)
{
    qn_status st;
    bool embedded = !path || strcmp(path, "embedded") == 0;
    const char *file = embedded ? "embedded" : path;
    qn_model *m = qn__calloc(1, sizeof *m);
    if (!m || !(m->file = qn__strndup(file, strlen(file)))) {
        st = qn__fail_mem(err, file);
        goto out;
    }
    m->how = how;
    m->info.embedded = embedded;
    if (embedded) {
        size_t size;
        const unsigned char *data = qn__embedded_model(&size);
        st = qn__gguf_open_memory(data, size, file, &m->g, err);
    } else {
        st = qn__gguf_open(path, &m->g, err);
    }
    if (!st)
        st = open_parts(m, err);
    if (!st)
        st = fill_info(m, err);
    if (st && err && !strstr(err->where, file) && !strstr(err->what, file))
        qn__err_prefix(err, file);
out:
    if (st)
        qn_model_close(m);
    else
        *out = m;
    return st;
}

void qn_model_close(qn_model *m)
{
    if (!m)
        return;
    qn__decoder_close(m->decoder);
    qn__jinja_free(m->template);
    qn__tokenizer_close(m->tokenizer);
    qn__gguf_close(m->g);
    qn_free(m->file);
    qn_free(m->architecture);
    qn_free(m->name);
    qn_free(m);
}

void qn_model_get_info(const qn_model *m, qn_model_info *out)
{
    *out = m->info;
}
