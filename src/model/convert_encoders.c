/* convert_encoders.c - the tables of encoders: BERT, its relatives with longer positions (XLM-RoBERTa), nomic-bert; with the
 * heads of rerankers. And how a text's vectors become one, which sentence-transformers folders say beside config.json.
 *
 *   RoBERTa's position embeddings begin behind the padding token's: the first pad + 1 rows are nobody's and are left out
 *   BERT's head is a layer "pooler" and a row per label; RoBERTa's the same under other names: cls, cls.output
 *
 * Refuses: relative positions, other activations, modules behind the pooling that would change the vectors. */
#include <stdio.h>
#include <string.h>

#include "model/convert_rules.h"

enum { MAX_MODULES = 1 << 20, RANK = 4 };

#undef L
#define L "encoder.layer.*."
static const qn__cv_rule r_bert[] = {
    {"embeddings.word_embeddings.weight", "token_embd.weight", "VE", QN_CV_COPY, QN_CV_ALWAYS},
    {"embeddings.position_embeddings.weight", "position_embd.weight", "pE", QN_CV_TAIL, QN_CV_ALWAYS},
    {"embeddings.token_type_embeddings.weight", "token_types.weight", "tE", QN_CV_COPY, QN_CV_ALWAYS},
    {"embeddings.LayerNorm.weight", "token_embd_norm.weight", "E", QN_CV_COPY, QN_CV_ALWAYS},
    {"embeddings.LayerNorm.bias", "token_embd_norm.bias", "E", QN_CV_COPY, QN_CV_ALWAYS},
    WITH_BIAS("attention.self.query", "attn_q", "EE", "E", QN_CV_COPY, QN_CV_ALWAYS),
    WITH_BIAS("attention.self.key", "attn_k", "EE", "E", QN_CV_COPY, QN_CV_ALWAYS),
    WITH_BIAS("attention.self.value", "attn_v", "EE", "E", QN_CV_COPY, QN_CV_ALWAYS),
    WITH_BIAS("attention.output.dense", "attn_output", "EE", "E", QN_CV_COPY, QN_CV_ALWAYS),
    WITH_BIAS("attention.output.LayerNorm", "attn_output_norm", "E", "E", QN_CV_COPY, QN_CV_ALWAYS),
    WITH_BIAS("intermediate.dense", "ffn_up", "FE", "F", QN_CV_COPY, QN_CV_ALWAYS),
    WITH_BIAS("output.dense", "ffn_down", "EF", "E", QN_CV_COPY, QN_CV_ALWAYS),
    WITH_BIAS("output.LayerNorm", "layer_output_norm", "E", "E", QN_CV_COPY, QN_CV_ALWAYS), {0}};
#undef L
#define L "encoder.layers.*."
static const qn__cv_rule r_nomic[] = {
    {"embeddings.word_embeddings.weight", "token_embd.weight", "VE", QN_CV_COPY, QN_CV_ALWAYS},
    {"embeddings.token_type_embeddings.weight", "token_types.weight", "tE", QN_CV_COPY, QN_CV_ALWAYS},
    {"emb_ln.weight", "token_embd_norm.weight", "E", QN_CV_COPY, QN_CV_ALWAYS},
    {"emb_ln.bias", "token_embd_norm.bias", "E", QN_CV_COPY, QN_CV_ALWAYS},
    {L "attn.Wqkv.weight", B "attn_qkv.weight", "AE", QN_CV_COPY, QN_CV_ALWAYS},
    {L "attn.out_proj.weight", B "attn_output.weight", "EE", QN_CV_COPY, QN_CV_ALWAYS},
    WITH_BIAS("norm1", "attn_output_norm", "E", "E", QN_CV_COPY, QN_CV_ALWAYS),
    {L "mlp.fc11.weight", B "ffn_up.weight", "FE", QN_CV_COPY, QN_CV_ALWAYS},
    {L "mlp.fc12.weight", B "ffn_gate.weight", "FE", QN_CV_COPY, QN_CV_ALWAYS},
    {L "mlp.fc2.weight", B "ffn_down.weight", "EF", QN_CV_COPY, QN_CV_ALWAYS},
    WITH_BIAS("norm2", "layer_output_norm", "E", "E", QN_CV_COPY, QN_CV_ALWAYS), {0}};

static const qn__cv_rule r_bert_head[] = {
    {"pooler.dense.weight", "cls.weight", "EE", QN_CV_COPY, QN_CV_ALWAYS},
    {"pooler.dense.bias", "cls.bias", "E", QN_CV_COPY, QN_CV_ALWAYS},
    {"classifier.weight", "cls.output.weight", "cE", QN_CV_COPY, QN_CV_ALWAYS},
    {"classifier.bias", "cls.output.bias", "c", QN_CV_COPY, QN_CV_ALWAYS}, {0}};
static const qn__cv_rule r_roberta_head[] = {
    {"classifier.dense.weight", "cls.weight", "EE", QN_CV_COPY, QN_CV_ALWAYS},
    {"classifier.dense.bias", "cls.bias", "E", QN_CV_COPY, QN_CV_ALWAYS},
    {"classifier.out_proj.weight", "cls.output.weight", "cE", QN_CV_COPY, QN_CV_ALWAYS},
    {"classifier.out_proj.bias", "cls.output.bias", "c", QN_CV_COPY, QN_CV_ALWAYS}, {0}};

static void s_bert(qn__cv *c)
{
    const char *how = qn__cv_text(c, "position_embedding_type"), *act = qn__cv_text(c, "hidden_act");
    qn__cv_size(c, 'p', 0, qn__cv_int(c, "max_position_embeddings", 1, 1 << 24, INT64_MIN));
    qn__cv_size(c, 't', 0, qn__cv_int(c, "type_vocab_size", 1, 16, INT64_MIN));
    if (how && strcmp(how, "absolute") != 0)
        (void)qn__cv_bad_key(c, "position_embedding_type", "is \"%.40s\"; GGUF's bert has absolute positions", how);
    if (act && strcmp(act, "gelu") != 0)
        (void)qn__cv_bad_key(c, "hidden_act", "is \"%.40s\"; GGUF's bert computes gelu", act);
    qn__cv_must_be(c, "is_decoder", false, false);
}

static void s_roberta(qn__cv *c)
{
    int64_t pad = qn__cv_int(c, "pad_token_id", 0, 1 << 20, INT64_MIN);
    s_bert(c);
    if (c->status == QN_OK && pad + 1 >= c->size['p'])
        (void)qn__cv_bad_key(c, "pad_token_id", "leaves no positions");
    c->skip = pad + 1;
}

/* One label: a score. */
static void labels(qn__cv *c)
{
    json_t *names = qn__cv_get(c, "id2label");
    int64_t n = qn__cv_int(c, "num_labels", 1, 1 << 12, json_is_object(names) ? (int64_t)json_object_size(names) : 2);
    qn__cv_size(c, 'c', 0, n);
}

static void s_bert_head(qn__cv *c)
{
    s_bert(c);
    labels(c);
}

static void s_roberta_head(qn__cv *c)
{
    s_roberta(c);
    labels(c);
}

static void s_nomic(qn__cv *c)
{
    static const char *const no[] = {"causal", "qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias", "prenorm", "rotary_emb_interleaved", "use_rms_norm", "parallel_block"};
    const char *act = qn__cv_text(c, "activation_function");
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        qn__cv_must_be(c, no[i], false, false);
    if (!act || strcmp(act, "swiglu") != 0)
        (void)qn__cv_bad_key(c, "activation_function", "is \"%.40s\"; GGUF's nomic-bert computes swiglu", act ? act : "missing");
    if (qn__cv_float(c, "rotary_emb_fraction", 0, 1, 1) < 1 || qn__cv_get(c, "rotary_emb_scale_base"))
        (void)qn__cv_bad_key(c, "rotary_emb_fraction", "or rotary_emb_scale_base asks for a rope that GGUF's nomic-bert does not have");
    if (qn__cv_int(c, "moe_every_n_layers", 0, 1 << 10, 0) > 0 || qn__cv_int(c, "num_experts", 0, 1 << 10, 0) > 0)
        (void)qn__cv_fail(c, QN_EUNSUPPORTED, "config.json: moe_every_n_layers", "a nomic-bert with experts is not known to this build");
    qn__cv_size(c, 't', 0, qn__cv_int(c, "type_vocab_size", 1, 16, INT64_MIN));
}

static void m_encoder(qn__cv *c)
{
    qn__cv_put_bool(c, "attention.causal", false);
    if (c->status == QN_OK)
        qn__gguf_put_int(c->w, "tokenizer.ggml.token_type_count", QN_GGUF_U32, c->size['t']);
}

static void m_head(qn__cv *c)
{
    json_t *names = qn__cv_get(c, "id2label");
    size_t n = json_object_size(names);
    qn_slice *text = n == (size_t)c->size['c'] ? qn__cv_alloc(c, n * sizeof *text) : NULL;
    m_encoder(c);
    qn__cv_put_int(c, "pooling_type", RANK);
    for (size_t i = 0; text && i < n; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "%zu", i);
        const char *s = json_string_value(json_object_get(names, key));
        if (!s)
            return;
        text[i] = (qn_slice){s, strlen(s)};
    }
    char key[64];
    (void)snprintf(key, sizeof key, "%s.classifier.output_labels", c->family->arch);
    if (text && c->status == QN_OK)
        qn__gguf_put_strs(c->w, key, text, n);
}

/* ---- sentence-transformers ---- */

/* Only a pooling and a scaling to length 1 may stand behind the model. */
static bool check_modules(qn__cv *c)
{
    static const char *const known[] = {".Transformer", ".Pooling", ".Normalize"};
    json_t *list = NULL;
    if (!qn__cv_json_any(c, "modules.json", MAX_MODULES, &list))
        return false;
    for (size_t i = 0; c->status == QN_OK && i < json_array_size(list); i++) {
        const char *type = json_string_value(json_object_get(json_array_get(list, i), "type"));
        bool fine = type == NULL;
        for (size_t k = 0; type && k < sizeof known / sizeof *known; k++)
            fine |= strlen(type) >= strlen(known[k]) && strcmp(type + strlen(type) - strlen(known[k]), known[k]) == 0;
        if (!fine)
            (void)qn__cv_fail(c, QN_EUNSUPPORTED, "modules.json", "the module %.80s would change the vectors, and this build does not convert it", type);
    }
    json_decref(list);
    return c->status == QN_OK;
}

bool qn__cv_pooling(qn__cv *c)
{
    static const struct {
        const char *key;
        int type;
    } modes[] = {{"pooling_mode_mean_tokens", 1}, {"pooling_mode_cls_token", 2}, {"pooling_mode_lasttoken", 3}};
    static const char where[] = "1_Pooling/config.json";
    json_t *p = NULL;
    int type = 0, n = 0;
    const char *key;
    json_t *v;
    if (c->size['c'] > 0) /* a reranker */
        return c->status == QN_OK;
    if (!check_modules(c) || !qn__cv_json(c, where, MAX_MODULES, false, &p))
        return false;
    json_object_foreach(p, key, v)
        n += strncmp(key, "pooling_mode_", 13) == 0 && json_is_true(v);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (json_is_true(json_object_get(p, modes[i].key)))
            type = modes[i].type;
    if (p && (n != 1 || !type))
        (void)qn__cv_fail(c, QN_EUNSUPPORTED, where, "asks for %d ways of pooling or for one that GGUF does not have; it has mean, cls and last token", n);
    else if (p)
        qn__cv_put_int(c, "pooling_type", type);
    json_decref(p);
    return c->status == QN_OK;
}

#define ENCODER (QN_CV_LAYER_NORM | QN_CV_ENCODER)
#define BERT (ENCODER | QN_CV_NO_ROPE)
const qn__cv_family qn__cv_encoders[] = {
    {{"BertModel", "BertForMaskedLM"}, "bert", BERT, {r_bert}, {0}, s_bert, m_encoder, 0, 0, NULL},
    {{"BertForSequenceClassification"}, "bert", BERT, {r_bert, r_bert_head}, {0}, s_bert_head, m_head, 0, 0, NULL},
    {{"XLMRobertaModel", "RobertaModel"}, "bert", BERT, {r_bert}, {0}, s_roberta, m_encoder, 0, 0, NULL},
    {{"XLMRobertaForSequenceClassification", "RobertaForSequenceClassification"}, "bert", BERT, {r_bert, r_roberta_head}, {0},
     s_roberta_head, m_head, 0, 0, NULL},
    {{"NomicBertModel"}, "nomic-bert", ENCODER, {r_nomic}, {0}, s_nomic, m_encoder, 1000, 0, NULL},
    {.arch = NULL}};
