/* trip.h - a golden file written back as a checkpoint folder, and the three results that must agree: the golden numbers, the
 * formulas on the folder's own tensors, this engine on the folder converted. */
#ifndef QN_TESTS_TRIP_H
#define QN_TESTS_TRIP_H

#include "base/file.h"
#include "base/mem.h"
#include "hf_forward.h"
#include "quern.h"

static char root[200];
static int folders;
static bool planted; /* the folder is written with its value heads in the wrong order */
static fw_rows x, h, q, k, val, att, res;

static inline int make_root(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof root, "%s/quern-formulas-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    return mkdtemp(root) ? 0 : -1;
}

static inline int remove_root(void **state)
{
    char command[300];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

/* ---- one file: what is known of it ---- */

typedef struct trip {
    const qn_gguf *g;
    char arch[64], pre[64], gguf[600], dir[256], out[300];
    hf_folder f;
    json_t *json;
    int32_t prompt[FW_TOKENS];
    int n, rows, cols, positions[16];
    float *want; /* [rows][cols] */
    fw w;
} trip;

static inline bool open_trip(trip *t, const char *name)
{
    const char *shared = getenv("SHARED") ? getenv("SHARED") : "../shared";
    char path[600], *data;
    size_t n;
    qn_gguf *g;
    qn_slice s;
    memset(t, 0, sizeof *t);
    (void)snprintf(t->gguf, sizeof t->gguf, "tests/data/models/%s.gguf", name);
    if (qn__gguf_open(t->gguf, &g, NULL) != QN_OK) {
        (void)snprintf(t->gguf, sizeof t->gguf, "%s/golden/models/%s.gguf", shared, name);
        if (qn__gguf_open(t->gguf, &g, NULL) != QN_OK)
            return false;
    }
    t->g = g;
    assert_int_equal(qn__gguf_str(g, "general.architecture", &s, NULL), QN_OK);
    (void)snprintf(t->arch, sizeof t->arch, "%.*s", (int)s.n, s.p);
    assert_int_equal(qn__gguf_str(g, "tokenizer.ggml.pre", &s, NULL), QN_OK);
    (void)snprintf(t->pre, sizeof t->pre, "%.*s", (int)s.n, s.p);
    (void)snprintf(path, sizeof path, "%.*s.json", (int)strlen(t->gguf) - 5, t->gguf);
    t->json = json_load_file(path, 0, NULL);
    assert_non_null(t->json);
    json_t *p = json_object_get(t->json, "prompt"), *at = json_object_get(t->json, "positions");
    t->n = (int)json_array_size(p), t->rows = (int)json_array_size(at), t->cols = (int)json_integer_value(json_object_get(t->json, "cols"));
    assert_true(t->n <= FW_TOKENS && t->rows <= 16);
    for (int i = 0; i < t->n; i++)
        t->prompt[i] = (int32_t)json_integer_value(json_array_get(p, (size_t)i));
    for (int i = 0; i < t->rows; i++)
        t->positions[i] = (int)json_integer_value(json_array_get(at, (size_t)i));
    const char *file = json_string_value(json_object_get(t->json, json_object_get(t->json, "logits_file") ? "logits_file" : "tokembd_file"));
    (void)snprintf(path, sizeof path, "%.*s%s", (int)(strrchr(t->gguf, '/') + 1 - t->gguf), t->gguf, file);
    assert_int_equal(qn__read_file(path, 1 << 24, &data, &n, NULL), QN_OK);
    assert_int_equal(n, (size_t)t->rows * (size_t)t->cols * 4);
    t->want = (float *)(void *)data;
    (void)snprintf(t->dir, sizeof t->dir, "%s/tiny-%d", root, folders++);
    assert_int_equal(mkdir(t->dir, 0700), 0);
    (void)snprintf(t->out, sizeof t->out, "%s.gguf", t->dir);
    (void)snprintf(t->f.dir, sizeof t->f.dir, "%s", t->dir);
    t->f.config = json_object();
    t->w = (fw){.f = &t->f, .n = t->n};
    return true;
}

static inline void close_trip(trip *t)
{
    fw_free(&t->w);
    hf_free(&t->f);
    json_decref(t->json);
    qn_free(t->want);
    qn__gguf_close((qn_gguf *)(uintptr_t)t->g);
}

static inline double nmse(const double *got, const float *want, int n)
{
    double num = 0, den = 0;
    for (int i = 0; i < n; i++) {
        num += (got[i] - (double)want[i]) * (got[i] - (double)want[i]);
        den += (double)want[i] * (double)want[i];
    }
    return num / den;
}

/* ---- writing a folder ---- */

static inline int64_t num(const trip *t, const char *key)
{
    json_t *j = hf_value(t->g, t->arch, key);
    if (!j)
        fail_msg("%s: no %s", t->gguf, key);
    int64_t n = (int64_t)json_number_value(j);
    json_decref(j);
    return n;
}

/* config.json's `to` from GGUF's `key`, when that is there */
static inline void set(trip *t, const char *to, const char *key)
{
    json_t *j = hf_value(t->g, t->arch, key);
    if (j)
        json_object_set_new(t->f.config, to, j);
}

static inline const qn_gguf_tensor *tensor(const trip *t, int layer, const char *what)
{
    char name[160];
    (void)snprintf(name, sizeof name, "blk.%d.%s", layer, what);
    return qn__gguf_find(t->g, layer < 0 ? what : name);
}

static inline size_t size_of(const qn_gguf_tensor *t)
{
    return t->type == QN_F32 ? 4 : 2;
}

/* An empty tensor of the folder, in the type of `like`. */
static inline unsigned char *add(trip *t, const char *name, const qn_gguf_tensor *like, int n_dims, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t dims[3] = {a, b, c};
    return hf_add(&t->f, name, like->type == QN_F32 ? "F32" : "F16", size_of(like), n_dims, dims)->data;
}

/* n rows of a GGUF tensor -> rows of a tensor of the folder. */
static inline void rows(unsigned char *to, uint64_t at, const qn_gguf_tensor *from, uint64_t first, uint64_t n)
{
    size_t row = (size_t)from->dims[0] * size_of(from);
    memcpy(to + at * row, from->data + first * row, (size_t)n * row);
}

/* The same numbers in the same order under another name; the shape may get ones in front of a vector. */
static inline void same(trip *t, const char *prefix, int layer, const char *gguf, const char *hf)
{
    const qn_gguf_tensor *g = tensor(t, layer, gguf);
    char name[200];
    if (!g)
        return;
    if (layer < 0)
        (void)snprintf(name, sizeof name, "%s", hf);
    else
        (void)snprintf(name, sizeof name, "%s%d.%s", prefix, layer, hf);
    hf_put_whole(&t->f, name, g);
}

/* A norm that is stored as weight - 1. */
static inline void minus_one(trip *t, const char *prefix, int layer, const char *gguf, const char *hf)
{
    same(t, prefix, layer, gguf, hf);
    hf_tensor *n = &t->f.t[t->f.n - 1];
    for (size_t i = 0; i < n->bytes / 4; i++) {
        float w;
        memcpy(&w, n->data + 4 * i, 4);
        w -= 1;
        memcpy(n->data + 4 * i, &w, 4);
    }
}

/* A vector under a layer's name, entry order[i] of GGUF's at i (NULL: the same); logarithms of rates. */
static inline void vector(trip *t, const char *prefix, int layer, const char *gguf, const char *hf, int n, const int *order, bool log_of)
{
    const qn_gguf_tensor *g = tensor(t, layer, gguf);
    char name[200];
    (void)snprintf(name, sizeof name, "%s%d.%s", prefix, layer, hf);
    unsigned char *to = add(t, name, g, 1, (uint64_t)n, 1, 1);
    for (int i = 0; i < n; i++) {
        float a;
        memcpy(&a, g->data + 4 * (order ? order[i] : i), 4);
        if (log_of)
            a = (float)log(-(double)a);
        memcpy(to + 4 * i, &a, 4);
    }
}

static inline void experts(trip *t, const char *prefix, int layer, const char *gguf, const char *hf, const char *tail)
{
    const qn_gguf_tensor *g = tensor(t, layer, gguf);
    for (uint64_t e = 0; e < g->dims[2]; e++) {
        char name[200];
        (void)snprintf(name, sizeof name, "%s%d.%s.%d.%s.weight", prefix, layer, hf, (int)e, tail);
        rows(add(t, name, g, 2, g->dims[1], g->dims[0], 1), 0, g, e * g->dims[1], g->dims[1]);
    }
}

static inline void common_keys(trip *t, const char *hf_arch)
{
    static const hf_name keys[] = {{"num_hidden_layers", "block_count"}, {"hidden_size", "embedding_length"}, {"vocab_size", "vocab_size"},
        {"num_attention_heads", "attention.head_count"}, {"num_key_value_heads", "attention.head_count_kv"}, {"head_dim", "attention.key_length"},
        {"max_position_embeddings", "context_length"}, {"intermediate_size", "feed_forward_length"}, {"rope_theta", "rope.freq_base"},
        {"rms_norm_eps", "attention.layer_norm_rms_epsilon"}, {"moe_intermediate_size", "expert_feed_forward_length"}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        set(t, keys[i].gguf, keys[i].hf);
    json_object_set_new(t->f.config, "architectures", json_pack("[s]", hf_arch));
}

/* Convert the folder; the golden, the formulas and this engine must agree. got: the formulas' rows. */
static inline void settle(trip *t, double (*got)[512], double bound, const char *what)
{
    double worst = 0, engine = 0;
    qn_convert_options o;
    qn_convert_result r;
    qn_err err;
    qn_model *m;
    qn_engine *e;
    qn_model_info info;
    qn_engine_options eo;
    hf_write_weights(&t->f, &(hf_options){0});
    hf_write_config(&t->f);
    hf_write_tokenizer(&t->f, t->g, &(hf_options){0});
    qn_convert_options_init(&o);
    o.in = t->dir, o.out = t->out, o.pre = t->pre;
    if (qn_convert(&o, &r, &err) != QN_OK)
        fail_msg("%s: %s: %s", t->gguf, err.where, err.what);
    assert_string_equal(r.architecture, t->arch);
    if (qn_model_open(t->out, QN_OPEN_FULL, &m, &err) != QN_OK)
        fail_msg("%s: %s: %s", t->out, err.where, err.what);
    qn_model_get_info(m, &info);
    qn_engine_options_init(&eo);
    eo.n_threads = 1, eo.n_ctx = 128, eo.kv = QN_KV_F32, eo.max_seqs = 1;
    assert_int_equal(qn_engine_open(m, &eo, &e, &err), QN_OK);
    size_t cols = (size_t)t->cols;
    float *out = calloc((size_t)t->n * cols, sizeof *out);
    qn_status s = info.embedding_only ? qn_embed(e, t->prompt, (size_t)t->n, QN_POOL_NONE, false, out, &err)
                                      : qn_logits(e, t->prompt, (size_t)t->n, (size_t)t->n, out, &err);
    if (s != QN_OK)
        fail_msg("%s: %s", err.where, err.what);
    double mine[512];
    for (int i = 0; i < t->rows; i++) {
        const float *want = t->want + (size_t)i * cols;
        for (size_t c = 0; c < cols; c++)
            mine[c] = (double)out[(size_t)t->positions[i] * cols + c];
        worst = fmax(worst, nmse(got[i], want, t->cols));
        engine = fmax(engine, nmse(mine, want, t->cols));
    }
    assert_true(planted ? worst > 1e-3 : worst <= bound);
    assert_true(planted ? engine > 1e-3 : engine <= bound);
    if (!planted)
        print_message("figure: %s: golden against the formulas on the folder %.1e, against this engine on the folder converted %.1e\n", what, worst, engine);
    free(out);
    qn_engine_close(e);
    qn_model_close(m);
}

/* With one key of config.json changed (NULL: gone) the folder is refused: a sentence that names the place, nothing written. The
 * key is put back. */
static inline void refused(trip *t, const char *key, const char *json, const char *where, const char *what)
{
    qn_convert_options o;
    qn_err err = {0};
    json_t *old = json_incref(json_object_get(t->f.config, key));
    (void)unlink(t->out);
    if (json)
        json_object_set_new(t->f.config, key, json_loads(json, JSON_DECODE_ANY, NULL));
    else
        json_object_del(t->f.config, key);
    hf_write_config(&t->f);
    qn_convert_options_init(&o);
    o.in = t->dir, o.out = t->out, o.pre = t->pre;
    if (qn_convert(&o, NULL, &err) == QN_OK || !strstr(err.where, where) || !strstr(err.what, what))
        fail_msg("%s = %s: wanted \"%s: ...%s\", got \"%s: %s\"", key, json ? json : "nothing", where, what, err.where, err.what);
    assert_int_equal(access(t->out, F_OK), -1);
    json_object_del(t->f.config, key);
    if (old)
        json_object_set_new(t->f.config, key, old);
}

/* The rows at the golden's positions, through the output matrix. */
static inline void logits(trip *t, const char *norm, double (*got)[512])
{
    fw_norm(&t->w, fw_get(&t->w, norm), x, h);
    for (int i = 0; i < t->rows; i++)
        fw_linear(fw_get(&t->w, "lm_head.weight"), fw_none, h[t->positions[i]], got[i]);
}

static inline void embed(trip *t, const char *name)
{
    fw_mat e = fw_get(&t->w, name);
    for (int i = 0; i < t->n; i++)
        memcpy(x[i], e.v + (size_t)t->prompt[i] * (size_t)e.cols, (size_t)e.cols * sizeof(double));
}

static inline void add_rows(const trip *t, fw_rows to, fw_rows from, int n)
{
    for (int i = 0; i < t->n; i++)
        for (int c = 0; c < n; c++)
            to[i][c] += from[i][c];
}

#endif
