/* report.c - qn_model_report: what a model file is, as one JSON object. Reads the header only, whatever was opened.
 *
 * Names and texts come from a stranger's file: what is not UTF-8 is replaced by U+FFFD, so that the JSON is always valid. */
#include <jansson.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "engine/model.h"

/* jansson's setters take NULL for a value that could not be made and report it; `failed` collects that. */
typedef struct report {
    const qn_model *m;
    const qn_gguf *g;
    const qn_decoder *d; /* NULL: not supported, or not tried */
    bool failed;
} report;

static void put(report *r, json_t *o, const char *key, json_t *v)
{
    if (json_object_set_new(o, key, v))
        r->failed = true;
}

static void push(report *r, json_t *a, json_t *v)
{
    if (json_array_append_new(a, v))
        r->failed = true;
}

static json_t *text(qn_slice s)
{
    if (qn__utf8_valid(s.p, s.n))
        return json_stringn(s.n ? s.p : "", s.n);
    qn_buf b = {0};
    for (size_t i = 0; i < s.n;) {
        int32_t cp;
        size_t n = qn__utf8_decode(s.p + i, s.n - i, &cp);
        if (cp < 0)
            qn__buf_puts(&b, "\xEF\xBF\xBD");
        else
            qn__buf_put(&b, s.p + i, n);
        i += n;
    }
    json_t *j = b.failed ? NULL : json_stringn(b.data ? b.data : "", b.n);
    qn__buf_free(&b);
    return j;
}

static json_t *ctext(const char *s)
{
    return text((qn_slice){s, strlen(s)});
}

static json_t *number(uint64_t v)
{
    return v <= INT64_MAX ? json_integer((json_int_t)v) : json_real((double)v);
}

/* "ARCH.suffix"; false when the architecture's name is too long to be one. */
static bool arch_key(const report *r, const char *suffix, char key[128])
{
    qn_slice a = {0};
    if (qn__gguf_str(r->g, "general.architecture", &a, NULL) || !a.p || a.n + strlen(suffix) + 2 > 128)
        return false;
    memcpy(key, a.p, a.n);
    key[a.n] = '.';
    memcpy(key + a.n + 1, suffix, strlen(suffix) + 1);
    return strlen(key) == a.n + 1 + strlen(suffix);
}

/* One value of the file as JSON: a scalar, or an array of numbers of at most 4096; NULL when absent or of no use here. */
static json_t *value(report *r, const qn_gguf_kv *kv)
{
    if (!kv || kv->kind != QN_GGUF_ARR) {
        int64_t i;
        double f;
        bool b;
        char key[256];
        if (!kv || kv->key.n >= sizeof key)
            return NULL;
        memcpy(key, kv->key.p, kv->key.n);
        key[kv->key.n] = 0;
        switch (kv->kind) {
        case QN_GGUF_STR: return text((qn_slice){(const char *)kv->data, kv->bytes});
        case QN_GGUF_BOOL: return qn__gguf_bool(r->g, key, false, &b, NULL) ? NULL : json_boolean(b);
        case QN_GGUF_F32:
        case QN_GGUF_F64: return qn__gguf_float(r->g, key, 0, &f, NULL) ? NULL : json_real(f);
        default: return qn__gguf_int(r->g, key, INT64_MIN, INT64_MAX, 0, &i, NULL) ? NULL : json_integer(i);
        }
    }
    if (kv->n > 4096 || kv->elem == QN_GGUF_STR || kv->elem == QN_GGUF_ARR)
        return NULL;
    json_t *a = json_array();
    for (uint64_t i = 0; a && i < kv->n; i++) {
        bool real = kv->elem == QN_GGUF_F32 || kv->elem == QN_GGUF_F64;
        double f = real ? qn__gguf_arr_float(kv, i) : 0;
        /* JSON has no NaN */
        push(r, a, !real ? json_integer(qn__gguf_arr_int(kv, i)) : f - f == 0 ? json_real(f) : json_null());
    }
    return a;
}

static void put_arch(report *r, json_t *o, const char *name, const char *suffix)
{
    char key[128];
    json_t *v = arch_key(r, suffix, key) ? value(r, qn__gguf_kv(r->g, key)) : NULL;
    put(r, o, name, v ? v : json_null());
}

/* ---- quantisation ---- */

enum { CLASS_EMBEDDING, CLASS_ATTENTION, CLASS_FFN, CLASS_NORM, CLASS_OUTPUT, CLASS_OTHER, CLASS__COUNT };
static const char *const class_names[CLASS__COUNT] = {"embedding", "attention", "ffn", "norm", "output", "other"};

static bool has(qn_slice s, const char *part)
{
    return s.n >= strlen(part) && memmem(s.p, s.n, part, strlen(part)) != NULL;
}

static bool starts(qn_slice s, const char *with)
{
    return s.n >= strlen(with) && memcmp(s.p, with, strlen(with)) == 0;
}

static int class_of(qn_slice name)
{
    if (has(name, "norm"))
        return CLASS_NORM;
    if (starts(name, "token_embd") || starts(name, "position_embd") || starts(name, "token_types"))
        return CLASS_EMBEDDING;
    if (starts(name, "output"))
        return CLASS_OUTPUT;
    if (has(name, ".attn_"))
        return CLASS_ATTENTION;
    return has(name, ".ffn_") ? CLASS_FFN : CLASS_OTHER;
}

/* general.file_type as its writers number it. */
static const char *file_type_name(int64_t id)
{
    static const char *const names[] = {
        [0] = "F32", [1] = "F16", [2] = "Q4_0", [3] = "Q4_1", [7] = "Q8_0", [8] = "Q5_0", [9] = "Q5_1", [10] = "Q2_K",
        [11] = "Q3_K_S", [12] = "Q3_K_M", [13] = "Q3_K_L", [14] = "Q4_K_S", [15] = "Q4_K_M", [16] = "Q5_K_S",
        [17] = "Q5_K_M", [18] = "Q6_K", [19] = "IQ2_XXS", [20] = "IQ2_XS", [21] = "Q2_K_S", [22] = "IQ3_XS",
        [23] = "IQ3_XXS", [24] = "IQ1_S", [25] = "IQ4_NL", [26] = "IQ3_S", [27] = "IQ3_M", [28] = "IQ2_S", [29] = "IQ2_M",
        [30] = "IQ4_XS", [31] = "IQ1_M", [32] = "BF16", [36] = "TQ1_0", [37] = "TQ2_0", [38] = "MXFP4"};
    return id >= 0 && (size_t)id < sizeof names / sizeof *names ? names[id] : NULL;
}

typedef struct sums {
    uint64_t count, elements, bytes;
} sums;

static uint64_t elements(const qn_gguf_tensor *t)
{
    return t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3]; /* the reader has checked the product */
}

static json_t *sums_json(report *r, const sums *s)
{
    json_t *o = json_object();
    put(r, o, "tensors", number(s->count));
    put(r, o, "elements", number(s->elements));
    put(r, o, "bytes", number(s->bytes));
    put(r, o, "bits_per_weight", json_real(s->elements ? (double)s->bytes * 8 / (double)s->elements : 0));
    return o;
}

static void put_quantisation(report *r, json_t *o)
{
    sums by[CLASS__COUNT][QN_TYPE__COUNT] = {{{0}}}, types[QN_TYPE__COUNT] = {{0}}, all = {0};
    for (size_t i = 0; i < qn__gguf_n_tensors(r->g); i++) {
        const qn_gguf_tensor *t = qn__gguf_tensor(r->g, i);
        sums *each[] = {&by[class_of(t->name)][t->type], &types[t->type], &all};
        for (size_t k = 0; k < 3; k++) {
            each[k]->count++;
            each[k]->elements += elements(t);
            each[k]->bytes += t->bytes;
        }
    }
    int most = 0;
    for (int t = 0; t < QN_TYPE__COUNT; t++)
        if (types[t].bytes > types[most].bytes)
            most = t;
    put(r, o, "parameters", number(all.elements));

    json_t *q = json_object(), *classes = json_object();
    int64_t file_type = -1;
    const char *label = qn__gguf_int(r->g, "general.file_type", INT64_MIN, INT64_MAX, -1, &file_type, NULL)
                            ? NULL : file_type_name(file_type);
    put(r, q, "label", label ? json_string(label) : json_null());
    const qn_type_info *info = all.count ? qn__type_info((uint32_t)most) : NULL;
    put(r, q, "mostly", info && info->name ? json_string(info->name) : json_null());
    put(r, q, "bytes", number(all.bytes));
    put(r, q, "bits_per_weight", json_real(all.elements ? (double)all.bytes * 8 / (double)all.elements : 0));
    for (int c = 0; c < CLASS__COUNT; c++) {
        json_t *one = NULL;
        for (int t = 0; t < QN_TYPE__COUNT; t++) {
            if (!by[c][t].count)
                continue;
            if (!one)
                one = json_object();
            put(r, one, qn__type_info((uint32_t)t)->name, sums_json(r, &by[c][t]));
        }
        if (one)
            put(r, classes, class_names[c], one);
    }
    put(r, q, "classes", classes);
    put(r, o, "quantisation", q);
}

/* ---- the rest ---- */

static void put_sizes(report *r, json_t *o)
{
    put_arch(r, o, "layers", "block_count");
    put_arch(r, o, "embedding", "embedding_length");
    put_arch(r, o, "heads", "attention.head_count");
    put_arch(r, o, "kv_heads", "attention.head_count_kv");
    put_arch(r, o, "head_k", "attention.key_length");
    put_arch(r, o, "head_v", "attention.value_length");
    put_arch(r, o, "feed_forward", "feed_forward_length");
    put_arch(r, o, "context", "context_length");
    put_arch(r, o, "window", "attention.sliding_window");
    put_arch(r, o, "experts", "expert_count");
    put_arch(r, o, "experts_used", "expert_used_count");
    put(r, o, "vocabulary", json_integer(r->m->info.n_vocab));
    json_t *rope = json_object();
    put_arch(r, rope, "base", "rope.freq_base");
    put_arch(r, rope, "dimensions", "rope.dimension_count");
    put_arch(r, rope, "scaling", "rope.scaling.type");
    put_arch(r, rope, "factor", "rope.scaling.factor");
    put_arch(r, rope, "original_context", "rope.scaling.original_context_length");
    put(r, o, "rope", rope);
    if (!r->d) {
        put(r, o, "kv_bytes_per_token", json_null());
        return;
    }
    const qn_decoder_info *d = qn__decoder_info(r->d);
    put(r, o, "layers", json_integer(d->n_layers));
    put(r, o, "embedding", json_integer(d->n_embd));
    put(r, o, "heads", json_integer(d->n_heads));
    put(r, o, "kv_heads", json_integer(d->n_kv_heads));
    put(r, o, "head_k", json_integer(d->head_k));
    put(r, o, "head_v", json_integer(d->head_v));
    put(r, o, "feed_forward", json_integer(d->n_ff));
    put(r, o, "window", json_integer(d->window));
    put(r, o, "kv_bytes_per_token", number(qn__decoder_page_bytes(r->d, QN__KV_F16) / QN_PAGE_TOKENS));
}

static void put_tokenizer(report *r, json_t *o)
{
    static const struct {
        const char *name, *key;
    } special[] = {
        {"bos", "tokenizer.ggml.bos_token_id"}, {"eos", "tokenizer.ggml.eos_token_id"},
        {"eot", "tokenizer.ggml.eot_token_id"}, {"eom", "tokenizer.ggml.eom_token_id"},
        {"unk", "tokenizer.ggml.unknown_token_id"}, {"sep", "tokenizer.ggml.seperator_token_id"},
        {"pad", "tokenizer.ggml.padding_token_id"}, {"mask", "tokenizer.ggml.mask_token_id"},
        {"cls", "tokenizer.ggml.cls_token_id"}, {"fim_pre", "tokenizer.ggml.fim_pre_token_id"},
        {"fim_suf", "tokenizer.ggml.fim_suf_token_id"}, {"fim_mid", "tokenizer.ggml.fim_mid_token_id"},
        {"fim_pad", "tokenizer.ggml.fim_pad_token_id"}, {"fim_rep", "tokenizer.ggml.fim_rep_token_id"},
        {"fim_sep", "tokenizer.ggml.fim_sep_token_id"},
    };
    json_t *t = json_object(), *s = json_object();
    json_t *model = value(r, qn__gguf_kv(r->g, "tokenizer.ggml.model")), *pre = value(r, qn__gguf_kv(r->g, "tokenizer.ggml.pre"));
    put(r, t, "model", model ? model : json_null());
    put(r, t, "pre", pre ? pre : json_null());
    const qn_gguf_kv *kv = qn__gguf_kv(r->g, "tokenizer.ggml.tokens");
    uint64_t n = kv && kv->kind == QN_GGUF_ARR && kv->elem == QN_GGUF_STR ? kv->n : 0;
    put(r, t, "tokens", number(n));
    /* A string of an array has at least 8 bytes in the file, so this is at most twice the header. */
    qn_slice *texts = n ? qn__calloc(n, sizeof *texts) : NULL;
    if (n && !texts)
        r->failed = true;
    if (texts)
        qn__gguf_arr_strs(kv, texts);
    for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
        int64_t id = -1;
        if (qn__gguf_int(r->g, special[i].key, 0, INT32_MAX, -1, &id, NULL) || id < 0)
            continue;
        json_t *one = json_object();
        put(r, one, "id", json_integer(id));
        put(r, one, "text", texts && (uint64_t)id < n ? text(texts[id]) : json_null());
        put(r, s, special[i].name, one);
    }
    qn_free(texts);
    put(r, t, "special", s);
    static const char *const flags[] = {"add_bos_token", "add_eos_token", "add_space_prefix"};
    for (size_t i = 0; i < 3; i++) {
        char key[64] = "tokenizer.ggml.";
        memcpy(key + strlen(key), flags[i], strlen(flags[i]) + 1);
        json_t *v = value(r, qn__gguf_kv(r->g, key));
        if (v)
            put(r, t, flags[i], v);
    }
    if (r->m->how != QN_OPEN_HEADER)
        put(r, t, "error", r->m->tokenizer_err.code ? ctext(r->m->tokenizer_err.what) : json_null());
    put(r, o, "tokenizer", t);
}

static void put_template(report *r, json_t *o)
{
    qn_slice s = qn__model_template(r->m);
    json_t *t = json_object();
    put(r, t, "present", json_boolean(s.p != NULL));
    put(r, t, "length", number(s.n));
    put(r, t, "text", s.p ? text(s) : json_null());
    if (r->m->how != QN_OPEN_HEADER)
        put(r, t, "error", r->m->template_err.code ? ctext(r->m->template_err.what) : json_null());
    put(r, o, "chat_template", t);
}

static void put_tensors(report *r, json_t *o)
{
    json_t *a = json_array();
    for (size_t i = 0; i < qn__gguf_n_tensors(r->g); i++) {
        const qn_gguf_tensor *t = qn__gguf_tensor(r->g, i);
        json_t *one = json_object(), *shape = json_array();
        for (uint32_t k = 0; k < t->n_dims; k++)
            push(r, shape, number(t->dims[k]));
        put(r, one, "name", text(t->name));
        put(r, one, "type", json_string(qn__type_info(t->type)->name));
        put(r, one, "shape", shape);
        put(r, one, "bytes", number(t->bytes));
        put(r, one, "part", number(t->part));
        put(r, one, "offset", number(t->offset));
        push(r, a, one);
    }
    put(r, o, "tensors", a);
}

qn_status qn_model_report(const qn_model *m, bool tensors, char **json, qn_err *err)
{
    qn_status st = QN_OK;
    qn_err why = {0};
    qn_decoder *tried = NULL;
    report r = {.m = m, .g = m->g, .d = m->decoder};
    if (!r.d) { /* binding reads the header only */
        st = qn__decoder_open(m->g, &tried, &why);
        if (st == QN_ENOMEM) {
            if (err)
                *err = why;
            return st;
        }
        r.d = tried;
    }
    json_t *o = json_object();
    put(&r, o, "file", ctext(m->file));
    put(&r, o, "embedded", json_boolean(m->info.embedded));
    put(&r, o, "bytes", number(m->info.file_bytes));
    put(&r, o, "parts", number(qn__gguf_parts(m->g)));
    put(&r, o, "format", json_string("GGUF"));
    put(&r, o, "version", number(qn__gguf_version(m->g)));
    put(&r, o, "alignment", number(qn__gguf_alignment(m->g)));
    put(&r, o, "architecture", ctext(m->architecture));
    put(&r, o, "name", ctext(m->name));
    put(&r, o, "supported", json_boolean(r.d != NULL));
    put(&r, o, "unsupported_because", r.d ? json_null() : ctext(why.what));
    put_quantisation(&r, o);
    put_sizes(&r, o);
    put_tokenizer(&r, o);
    put_template(&r, o);
    if (tensors)
        put_tensors(&r, o);
    char *s = r.failed ? NULL : json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(o);
    qn__decoder_close(tried);
    if (!s)
        return qn__fail_mem(err, m->file);
    *json = s;
    return QN_OK;
}
