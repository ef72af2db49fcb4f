/* test_convert_encoders.c - encoders: golden files written back as checkpoint folders; the golden vectors, the formulas of the
 * published modelling code on the folder, and this engine on the folder converted must agree (trip.h).
 *
 * BERT's checkpoints compute GELU by the error function; GGUF's engines, the golden's maker among them, by the tanh formula. The
 * formulas run here with both: with tanh they must meet the golden, with erf the distance is said. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "trip.h"

#define LAYER "encoder.layer."
#define NOMIC "encoder.layers."

static void layer_norm(const trip *t, fw_mat w, fw_mat b, fw_rows to)
{
    for (int i = 0; i < t->n; i++) {
        double mean = 0, var = 0;
        for (int c = 0; c < w.cols; c++)
            mean += to[i][c] / w.cols;
        for (int c = 0; c < w.cols; c++)
            var += (to[i][c] - mean) * (to[i][c] - mean) / w.cols;
        for (int c = 0; c < w.cols; c++)
            to[i][c] = (to[i][c] - mean) / sqrt(var + t->w.eps) * w.v[c] + b.v[c];
    }
}

static void linear(trip *t, const char *prefix, int l, const char *what, fw_rows from, fw_rows to)
{
    char name[96];
    (void)snprintf(name, sizeof name, "%s.weight", what);
    fw_mat w = fw_layer(&t->w, prefix, l, name);
    (void)snprintf(name, sizeof name, "%s.bias", what);
    fw_mat b = fw_layer(&t->w, prefix, l, name);
    for (int i = 0; i < t->n; i++)
        fw_linear(w, b, from[i], to[i]);
}

static void norm(trip *t, const char *prefix, int l, const char *what)
{
    char name[96];
    (void)snprintf(name, sizeof name, "%s.weight", what);
    fw_mat w = l < 0 ? fw_get(&t->w, name) : fw_layer(&t->w, prefix, l, name);
    (void)snprintf(name, sizeof name, "%s.bias", what);
    fw_mat b = l < 0 ? fw_get(&t->w, name) : fw_layer(&t->w, prefix, l, name);
    layer_norm(t, w, b, x);
}

static int second;       /* where the second segment begins; 0: nowhere */
static bool one_segment;

/* word + segment (+ position, from row `offset` on), normed */
static void begin(trip *t, int offset, const char *norm_name)
{
    fw_mat words = fw_get(&t->w, "embeddings.word_embeddings.weight"), kinds = fw_get(&t->w, "embeddings.token_type_embeddings.weight");
    fw_mat at = fw_get(&t->w, "embeddings.position_embeddings.weight");
    for (int i = 0; i < t->n; i++)
        for (int c = 0; c < words.cols; c++)
            x[i][c] = words.v[t->prompt[i] * words.cols + c] + kinds.v[(second && i >= second && !one_segment ? words.cols : 0) + c] + (at.v ? at.v[(i + offset) * words.cols + c] : 0);
    norm(t, "", -1, norm_name);
}

static double gelu(double v, bool by_erf)
{
    return by_erf ? 0.5 * v * (1 + erf(v / sqrt(2))) : 0.5 * v * (1 + tanh(sqrt(2 / 3.141592653589793) * (v + 0.044715 * v * v * v)));
}

static void forward_bert(trip *t, int offset, bool by_erf, double (*got)[512])
{
    int heads = (int)num(t, "attention.head_count"), e = (int)num(t, "embedding_length"), ff = (int)num(t, "feed_forward_length");
    begin(t, offset, "embeddings.LayerNorm");
    for (int l = 0; l < (int)num(t, "block_count"); l++) {
        linear(t, LAYER, l, "attention.self.query", x, q);
        linear(t, LAYER, l, "attention.self.key", x, k);
        linear(t, LAYER, l, "attention.self.value", x, val);
        fw_attend(&t->w, q, k, val, heads, heads, e / heads, 0, true, att);
        linear(t, LAYER, l, "attention.output.dense", att, res);
        add_rows(t, x, res, e);
        norm(t, LAYER, l, "attention.output.LayerNorm");
        linear(t, LAYER, l, "intermediate.dense", x, h);
        for (int i = 0; i < t->n; i++)
            for (int c = 0; c < ff; c++)
                h[i][c] = gelu(h[i][c], by_erf);
        linear(t, LAYER, l, "output.dense", h, res);
        add_rows(t, x, res, e);
        norm(t, LAYER, l, "output.LayerNorm");
    }
    for (int i = 0; i < t->rows; i++)
        memcpy(got[i], x[t->positions[i]], (size_t)e * sizeof(double));
}

static void forward_nomic(trip *t, double (*got)[512])
{
    int heads = (int)num(t, "attention.head_count"), e = (int)num(t, "embedding_length");
    begin(t, 0, "emb_ln");
    for (int l = 0; l < (int)num(t, "block_count"); l++) {
        linear(t, NOMIC, l, "attn.Wqkv", x, h);
        for (int i = 0; i < t->n; i++) {
            memcpy(q[i], h[i], (size_t)e * sizeof(double));
            memcpy(k[i], h[i] + e, (size_t)e * sizeof(double));
            memcpy(val[i], h[i] + 2 * e, (size_t)e * sizeof(double));
        }
        fw_rope(&t->w, q, heads, e / heads, e / heads, (double)num(t, "rope.freq_base"), NULL);
        fw_rope(&t->w, k, heads, e / heads, e / heads, (double)num(t, "rope.freq_base"), NULL);
        fw_attend(&t->w, q, k, val, heads, heads, e / heads, 0, true, att);
        linear(t, NOMIC, l, "attn.out_proj", att, res);
        add_rows(t, x, res, e);
        norm(t, NOMIC, l, "norm1");
        memset(res, 0, sizeof res);
        for (int i = 0; i < t->n; i++) /* fc11(x) * silu(fc12(x)) */
            fw_mlp(fw_layer(&t->w, NOMIC, l, "mlp.fc12.weight"), fw_layer(&t->w, NOMIC, l, "mlp.fc11.weight"), fw_layer(&t->w, NOMIC, l, "mlp.fc2.weight"), 0, x[i], 1, res[i]);
        add_rows(t, x, res, e);
        norm(t, NOMIC, l, "norm2");
    }
    for (int i = 0; i < t->rows; i++)
        memcpy(got[i], x[t->positions[i]], (size_t)e * sizeof(double));
}

static void write_json(const trip *t, const char *name, json_t *j)
{
    char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", t->dir, name);
    json_dump_file(j, path, 0);
    json_decref(j);
}

/* As sentence-transformers says how to pool. */
static void put_pooling(const trip *t)
{
    char path[400];
    int how = (int)num(t, "pooling_type");
    (void)snprintf(path, sizeof path, "%s/1_Pooling", t->dir);
    (void)mkdir(path, 0700);
    write_json(t, "modules.json", json_pack("[{s:s},{s:s},{s:s}]", "type", "sentence_transformers.models.Transformer", "type", "sentence_transformers.models.Pooling", "type",
                                            "sentence_transformers.models.Normalize"));
    write_json(t, "1_Pooling/config.json", json_pack("{s:i,s:b,s:b,s:b}", "word_embedding_dimension", 96, "pooling_mode_cls_token", how == 2, "pooling_mode_mean_tokens", how == 1,
                                                     "pooling_mode_max_tokens", 0));
}

static const hf_name bert_names[] = {
    {"attn_q", "attention.self.query"}, {"attn_k", "attention.self.key"}, {"attn_v", "attention.self.value"}, {"attn_output", "attention.output.dense"},
    {"attn_output_norm", "attention.output.LayerNorm"}, {"ffn_up", "intermediate.dense"}, {"ffn_down", "output.dense"}, {"layer_output_norm", "output.LayerNorm"}};

/* offset: rows of the position embeddings that belong to nobody. */
static void put_bert(trip *t, const char *hf_arch, int offset)
{
    char from[96], to[96];
    common_keys(t, hf_arch);
    json_t *c = t->f.config;
    set(t, "layer_norm_eps", "attention.layer_norm_epsilon");
    json_object_set_new(c, "type_vocab_size", json_integer(2));
    json_object_set_new(c, "hidden_act", json_string("gelu"));
    json_object_set_new(c, "max_position_embeddings", json_integer(num(t, "context_length") + offset));
    json_object_set_new(c, "pad_token_id", json_integer(offset - 1));
    same(t, "", -1, "token_embd.weight", "embeddings.word_embeddings.weight");
    same(t, "", -1, "token_types.weight", "embeddings.token_type_embeddings.weight");
    same(t, "", -1, "token_embd_norm.weight", offset ? "embeddings.LayerNorm.weight" : "embeddings.LayerNorm.weight");
    same(t, "", -1, "token_embd_norm.bias", "embeddings.LayerNorm.bias");
    const qn_gguf_tensor *p = tensor(t, -1, "position_embd.weight");
    rows(add(t, "embeddings.position_embeddings.weight", p, 2, p->dims[1] + (uint64_t)offset, p->dims[0], 1), (uint64_t)offset, p, 0, p->dims[1]);
    for (int l = 0; l < (int)num(t, "block_count"); l++)
        for (size_t i = 0; i < sizeof bert_names / sizeof *bert_names; i++)
            for (int b = 0; b < 2; b++) {
                (void)snprintf(from, sizeof from, "%s.%s", bert_names[i].gguf, b ? "bias" : "weight");
                (void)snprintf(to, sizeof to, "%s.%s", bert_names[i].hf, b ? "bias" : "weight");
                same(t, LAYER, l, from, to);
            }
}

static void put_nomic(trip *t)
{
    static const hf_name names[] = {{"attn_qkv.weight", "attn.Wqkv.weight"}, {"attn_output.weight", "attn.out_proj.weight"}, {"attn_output_norm.weight", "norm1.weight"},
        {"attn_output_norm.bias", "norm1.bias"}, {"ffn_up.weight", "mlp.fc11.weight"}, {"ffn_gate.weight", "mlp.fc12.weight"}, {"ffn_down.weight", "mlp.fc2.weight"},
        {"layer_output_norm.weight", "norm2.weight"}, {"layer_output_norm.bias", "norm2.bias"}};
    static const hf_name keys[] = {{"n_layer", "block_count"}, {"n_embd", "embedding_length"}, {"vocab_size", "vocab_size"}, {"n_head", "attention.head_count"},
        {"n_inner", "feed_forward_length"}, {"max_trained_positions", "context_length"}, {"rotary_emb_base", "rope.freq_base"},
        {"layer_norm_epsilon", "attention.layer_norm_epsilon"}};
    json_t *c = t->f.config;
    json_object_set_new(c, "architectures", json_pack("[s]", "NomicBertModel"));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        set(t, keys[i].gguf, keys[i].hf);
    json_object_set_new(c, "n_positions", json_integer(4 * num(t, "context_length")));
    json_object_set_new(c, "type_vocab_size", json_integer(2));
    json_object_set_new(c, "activation_function", json_string("swiglu"));
    json_object_set_new(c, "prenorm", json_false());
    same(t, "", -1, "token_embd.weight", "embeddings.word_embeddings.weight");
    same(t, "", -1, "token_types.weight", "embeddings.token_type_embeddings.weight");
    same(t, "", -1, "token_embd_norm.weight", "emb_ln.weight");
    same(t, "", -1, "token_embd_norm.bias", "emb_ln.bias");
    for (int l = 0; l < (int)num(t, "block_count"); l++)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            same(t, NOMIC, l, names[i].gguf, names[i].hf);
}

/* Everything that the golden file says of itself, the converted one says too. */
static void same_keys(const trip *t)
{
    qn_gguf *got;
    assert_int_equal(qn__gguf_open(t->out, &got, NULL), QN_OK);
    for (size_t i = 0; i < qn__gguf_n_kv(t->g); i++) {
        const qn_gguf_kv *a = qn__gguf_kv_at(t->g, i);
        char key[128];
        (void)snprintf(key, sizeof key, "%.*s", (int)a->key.n, a->key.p);
        const qn_gguf_kv *b = qn__gguf_kv(got, key);
        if (strcmp(key, "general.name") == 0)
            continue;
        if (!b || a->kind != b->kind || a->n != b->n || a->bytes != b->bytes || memcmp(a->data, b->data, a->bytes) != 0)
            fail_msg("%s: %s %s", t->out, key, b ? "differs" : "is missing");
    }
    qn__gguf_close(got);
}

static double farthest(const trip *t, double (*got)[512])
{
    double worst = 0;
    for (int i = 0; i < t->rows; i++)
        worst = fmax(worst, nmse(got[i], t->want + (size_t)i * (size_t)t->cols, t->cols));
    return worst;
}

/* ---- rerankers ---- */

static unsigned char *noise_tensor(trip *t, const char *name, int n_dims, uint64_t a, uint64_t b, uint64_t seed)
{
    uint64_t dims[2] = {a, b};
    unsigned char *to = hf_add(&t->f, name, "F32", 4, n_dims, dims)->data;
    for (uint64_t i = 0; i < a * (n_dims > 1 ? b : 1); i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        float w = (float)((double)(seed >> 40) / 8388608.0 - 1.0);
        memcpy(to + 4 * i, &w, 4);
    }
    return to;
}

/* What the head makes of query and document by the formulas: the text is put together here, from the ids of both. */
static double head_score(trip *t, qn_model *m, bool roberta, const char *query, const char *document)
{
    static double none[16][512];
    int32_t *ids;
    size_t n;
    qn_err err;
    double pooled[FW_WIDTH], score;
    fw_mat w, b;
    t->n = t->rows = 0;
    const int32_t end = roberta ? 2 : 3; /* </s> or [SEP] */
    t->prompt[t->n++] = roberta ? 0 : 2; /* <s> or [CLS] */
    assert_int_equal(qn_tokenize(m, query, strlen(query), false, QN_BOS_NO, &ids, &n, &err), QN_OK);
    for (size_t i = 0; i < n; i++)
        t->prompt[t->n++] = ids[i];
    qn_free(ids);
    t->prompt[t->n++] = end;
    if (roberta)
        t->prompt[t->n++] = end; /* twice, and one segment */
    else
        second = t->n;
    assert_int_equal(qn_tokenize(m, document, strlen(document), false, QN_BOS_NO, &ids, &n, &err), QN_OK);
    for (size_t i = 0; i < n; i++)
        t->prompt[t->n++] = ids[i];
    qn_free(ids);
    t->prompt[t->n++] = end;
    t->w.n = t->n;
    forward_bert(t, roberta ? 2 : 0, false, none);
    second = 0;
    w = fw_get(&t->w, roberta ? "classifier.dense.weight" : "pooler.dense.weight"), b = fw_get(&t->w, roberta ? "classifier.dense.bias" : "pooler.dense.bias");
    fw_linear(w, b, x[0], pooled);
    for (int i = 0; i < w.rows; i++)
        pooled[i] = tanh(pooled[i]);
    w = fw_get(&t->w, roberta ? "classifier.out_proj.weight" : "classifier.weight"), b = fw_get(&t->w, roberta ? "classifier.out_proj.bias" : "classifier.bias");
    fw_linear(w, b, pooled, &score);
    return score;
}

static bool reranker(bool roberta)
{
    static const char query[] = "hello one", *const documents[] = {"a thing of the other", "hello he and the other", "", "hello x"};
    double worst = 0, spread[2] = {1e9, -1e9};
    trip t;
    qn_convert_options o;
    qn_convert_result r;
    qn_err err;
    qn_model *m;
    qn_engine *e;
    qn_engine_options eo;
    qn_pooling p;
    if (!open_trip(&t, "bert"))
        return false;
    put_bert(&t, roberta ? "XLMRobertaForSequenceClassification" : "BertForSequenceClassification", roberta ? 2 : 0);
    noise_tensor(&t, roberta ? "classifier.dense.weight" : "pooler.dense.weight", 2, 96, 96, 1);
    noise_tensor(&t, roberta ? "classifier.dense.bias" : "pooler.dense.bias", 1, 96, 1, 2);
    noise_tensor(&t, roberta ? "classifier.out_proj.weight" : "classifier.weight", 2, 1, 96, 3);
    noise_tensor(&t, roberta ? "classifier.out_proj.bias" : "classifier.bias", 1, 1, 1, 4);
    json_object_set_new(t.f.config, "id2label", json_pack("{s:s}", "0", "LABEL_0"));
    t.w.eps = 0.001;
    hf_write_weights(&t.f, &(hf_options){0});
    hf_write_config(&t.f);
    if (roberta) {
        hf_write_unigram(t.dir);
        write_json(&t, "tokenizer_config.json", json_pack("{s:s,s:s,s:s,s:s,s:s}", "bos_token", "<s>", "eos_token", "</s>", "unk_token", "<unk>", "sep_token", "</s>", "cls_token", "<s>"));
    } else {
        hf_write_tokenizer(&t.f, t.g, &(hf_options){0});
    }
    qn_convert_options_init(&o);
    o.in = t.dir, o.out = t.out;
    if (qn_convert(&o, &r, &err) != QN_OK || qn_model_open(t.out, QN_OPEN_FULL, &m, &err) != QN_OK)
        fail_msg("%s: %s", err.where, err.what);
    qn_engine_options_init(&eo);
    eo.n_threads = 1, eo.n_ctx = 64, eo.kv = QN_KV_F32, eo.max_seqs = 1;
    assert_int_equal(qn_engine_open(m, &eo, &e, &err), QN_OK);
    assert_int_equal(qn_rerank_labels(e), 1);
    assert_int_equal(qn_embed_pooling(e, QN_POOL_AUTO, &p, &err), QN_EUNSUPPORTED);
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        float got;
        size_t n;
        assert_int_equal(qn_rerank(e, query, strlen(query), documents[i], strlen(documents[i]), &got, &n, &err), QN_OK);
        double want = head_score(&t, m, roberta, query, documents[i]);
        assert_int_equal(n, t.n);
        worst = fmax(worst, fabs((double)got - want));
        spread[0] = fmin(spread[0], want), spread[1] = fmax(spread[1], want);
    }
    print_message("figure: reranker (%s head): scores over %.2f..%.2f, at most %.1e from the formulas\n", roberta ? "RoBERTa's" : "BERT's", spread[0], spread[1], worst);
    assert_true(spread[1] - spread[0] > 0.1);
    assert_true(worst < 2e-4 * (spread[1] - spread[0]));
    if (!roberta) { /* the planted fault: document and query in one segment */
        float got;
        assert_int_equal(qn_rerank(e, query, strlen(query), documents[0], strlen(documents[0]), &got, NULL, &err), QN_OK);
        one_segment = true;
        assert_true(fabs((double)got - head_score(&t, m, roberta, query, documents[0])) > 1e-3);
        one_segment = false;
    }
    char *all = calloc(1, 4000);
    memset(all, 'a', 3999);
    for (int i = 1; i < 3999; i += 2)
        all[i] = ' ';
    float got;
    assert_int_equal(qn_rerank(e, query, strlen(query), all, 3999, &got, NULL, &err), QN_ECONTEXT);
    free(all);
    qn_engine_close(e);
    qn_model_close(m);
    close_trip(&t);
    return true;
}

static void test_rerankers(void **state)
{
    (void)state;
    if (!reranker(false)) {
        print_message("skipped: no bert.gguf\n");
        skip();
    }
    assert_true(reranker(true));
}

/* ---- vectors ---- */

static bool bert(const char *hf_arch, int offset)
{
    static double got[16][512], by_erf[16][512];
    trip t;
    if (!open_trip(&t, "bert"))
        return false;
    put_bert(&t, hf_arch, offset);
    put_pooling(&t);
    t.w.eps = 0.001;
    forward_bert(&t, offset, true, by_erf);
    forward_bert(&t, offset, false, got);
    settle(&t, got, 1e-6, hf_arch);
    same_keys(&t);
    print_message("figure: %s: golden (GELU by tanh) against the checkpoint's own GELU by erf %.1e\n", hf_arch, farthest(&t, by_erf));
    refused(&t, "hidden_act", "\"relu\"", "hidden_act", "gelu");
    refused(&t, "type_vocab_size", "3", "token_type_embeddings", "its shape is");
    refused(&t, "position_embedding_type", "\"relative_key\"", "position_embedding_type", "absolute");
    if (offset)
        refused(&t, "pad_token_id", "300", "pad_token_id", "no positions");
    if (offset) { /* the planted fault: positions from the first row on */
        forward_bert(&t, 0, false, got);
        assert_true(farthest(&t, got) > 1e-3);
    }
    close_trip(&t);
    return true;
}

static void test_bert(void **state)
{
    (void)state;
    if (!bert("BertModel", 0)) {
        print_message("skipped: no bert.gguf\n");
        skip();
    }
    assert_true(bert("XLMRobertaModel", 2));
}

static void test_nomic(void **state)
{
    static double got[16][512];
    trip t;
    (void)state;
    if (!open_trip(&t, "nomic-bert")) {
        print_message("skipped: no nomic-bert.gguf\n");
        skip();
    }
    put_nomic(&t);
    put_pooling(&t);
    t.w.eps = 0.001;
    forward_nomic(&t, got);
    settle(&t, got, 1e-9, "nomic-bert");
    same_keys(&t);
    refused(&t, "activation_function", "\"gelu\"", "activation_function", "swiglu");
    refused(&t, "moe_every_n_layers", "2", "moe_every_n_layers", "experts");
    refused(&t, "prenorm", "true", "prenorm", "no place");
    write_json(&t, "1_Pooling/config.json", json_pack("{s:b}", "pooling_mode_max_tokens", 1));
    refused(&t, "prenorm", "false", "1_Pooling", "ways of pooling");
    write_json(&t, "1_Pooling/config.json", json_pack("{s:b}", "pooling_mode_mean_tokens", 1));
    write_json(&t, "modules.json", json_pack("[{s:s}]", "type", "sentence_transformers.models.Dense"));
    refused(&t, "prenorm", "false", "modules.json", "Dense");
    close_trip(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bert),
        cmocka_unit_test(test_nomic),
        cmocka_unit_test(test_rerankers),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
