/* gemma4_model.h - tiny Gemma 4 models with random weights, as the tests know them: named float tensors under the names of
 * published checkpoints, and the same written as a GGUF file. Four kinds, after the published ones: per-layer embeddings and
 * layers that read others' keys and values; keys as values; experts beside the dense part; everything at once.
 *
 *   layer   0 1 2 3 4 5 | 6 7        s: sees a window, f: sees everything; from the bar on, layers of models that share
 *   kind    s s f s s f | s f        read keys and values of layers 4 and 5 */
#ifndef QN_TESTS_GEMMA4_MODEL_H
#define QN_TESTS_GEMMA4_MODEL_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/gguf.h"

enum {
    G4_E = 32, G4_HEADS = 4, G4_D = 8, G4_DF = 16, G4_TURNED = 2, G4_FF = 24, G4_VOCAB = 96, G4_CTX = 256, G4_LAYERS = 8,
    G4_WINDOW = 6, G4_PLE = 8, G4_EXPERTS = 5, G4_USED = 2, G4_FX = 16, G4_MAX_TENSORS = 256
};
static const char g4_kinds[] = "ssfssfsf";
static const double G4_EPS = 1e-3, G4_BASE = 5e4, G4_BASE_WINDOW = 700, G4_CAP = 20;

typedef struct g4_variant {
    const char *name;
    int shared, kv, kv_full; /* layers that share; key-value heads of windowed and of full layers */
    bool ple, keys_as_values, wide, experts;
} g4_variant;

static const g4_variant g4_variants[] = {
    {"small", 2, 2, 2, .ple = true, .wide = true},
    {"dense", 0, 2, 1, .keys_as_values = true},
    {"experts", 0, 2, 1, .keys_as_values = true, .experts = true},
    {"everything", 2, 2, 1, .ple = true, .keys_as_values = true, .wide = true, .experts = true},
};
enum { G4_VARIANTS = sizeof g4_variants / sizeof *g4_variants };

typedef struct g4_tensor {
    char hf[64], gguf[48];
    int k, rows, count; /* rows 0: a vector */
    float *v;
} g4_tensor;

static g4_tensor g4_tensors[G4_MAX_TENSORS];
static int g4_n;
static uint64_t g4_seed;

static inline float g4_noise(void)
{
    g4_seed = g4_seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(g4_seed >> 40) / 8388608.0 - 1.0);
}

static inline size_t g4_count(const g4_tensor *t)
{
    return (size_t)t->k * (size_t)(t->rows ? t->rows : 1) * (size_t)t->count;
}

/* hf NULL: the checkpoint has no such tensor. */
static inline g4_tensor *g4_add(int layer, const char *hf, const char *gguf, int k, int rows, int count, double scale, double centre)
{
    g4_tensor *t = &g4_tensors[g4_n++];
    *t = (g4_tensor){.k = k, .rows = rows, .count = count};
    if (layer >= 0)
        (void)snprintf(t->gguf, sizeof t->gguf, "blk.%d.%s", layer, gguf);
    else
        (void)snprintf(t->gguf, sizeof t->gguf, "%s", gguf);
    if (hf && layer >= 0)
        (void)snprintf(t->hf, sizeof t->hf, "layers.%d.%s", layer, hf);
    else if (hf)
        (void)snprintf(t->hf, sizeof t->hf, "%s", hf);
    t->v = malloc(g4_count(t) * sizeof *t->v);
    for (size_t i = 0; i < g4_count(t); i++)
        t->v[i] = (float)(centre + scale * (double)g4_noise());
    return t;
}

/* By the checkpoint's name; NULL when the model has none. */
static inline g4_tensor *g4_find(int layer, const char *hf)
{
    char name[64];
    if (layer >= 0)
        (void)snprintf(name, sizeof name, "layers.%d.%s", layer, hf);
    else
        (void)snprintf(name, sizeof name, "%s", hf);
    for (int i = 0; i < g4_n; i++)
        if (strcmp(g4_tensors[i].hf, name) == 0)
            return &g4_tensors[i];
    return NULL;
}

static inline void g4_forget(void)
{
    while (g4_n)
        free(g4_tensors[--g4_n].v);
    g4_seed = 11;
}

static inline bool g4_full(int l)
{
    return g4_kinds[l] == 'f';
}

static inline bool g4_shares(const g4_variant *m, int l)
{
    return l >= G4_LAYERS - m->shared;
}

static inline int g4_ff(const g4_variant *m, int l)
{
    return m->wide && g4_shares(m, l) ? 2 * G4_FF : G4_FF;
}

static inline void g4_make_layer(const g4_variant *m, int l)
{
    int d = g4_full(l) ? G4_DF : G4_D, kv = g4_full(l) ? m->kv_full : m->kv, ff = g4_ff(m, l);
    g4_add(l, "input_layernorm.weight", "attn_norm.weight", G4_E, 0, 1, 0.3, 1);
    g4_add(l, "post_attention_layernorm.weight", "post_attention_norm.weight", G4_E, 0, 1, 0.3, 0.8);
    g4_add(l, "pre_feedforward_layernorm.weight", "ffn_norm.weight", G4_E, 0, 1, 0.3, 1);
    g4_add(l, "post_feedforward_layernorm.weight", "post_ffw_norm.weight", G4_E, 0, 1, 0.3, 0.8);
    g4_add(l, "layer_scalar", "layer_output_scale.weight", 1, 0, 1, 0.3, 0.9);
    g4_add(l, "self_attn.q_proj.weight", "attn_q.weight", G4_E, G4_HEADS * d, 1, 0.4, 0);
    g4_add(l, "self_attn.q_norm.weight", "attn_q_norm.weight", d, 0, 1, 0.3, 0.8);
    if (!g4_shares(m, l) || l % 2 == 0) { /* published files carry them where they are not used, too */
        g4_add(l, "self_attn.k_proj.weight", "attn_k.weight", G4_E, kv * d, 1, 0.4, 0);
        g4_add(l, "self_attn.k_norm.weight", "attn_k_norm.weight", d, 0, 1, 0.3, 0.8);
        if (!(m->keys_as_values && g4_full(l)))
            g4_add(l, "self_attn.v_proj.weight", "attn_v.weight", G4_E, kv * d, 1, 0.4, 0);
    }
    g4_add(l, "self_attn.o_proj.weight", "attn_output.weight", G4_HEADS * d, G4_E, 1, 0.3, 0);
    g4_add(l, "mlp.gate_proj.weight", "ffn_gate.weight", G4_E, ff, 1, 0.4, 0);
    g4_add(l, "mlp.up_proj.weight", "ffn_up.weight", G4_E, ff, 1, 0.4, 0);
    g4_add(l, "mlp.down_proj.weight", "ffn_down.weight", ff, G4_E, 1, 0.3, 0);
    if (m->ple) {
        g4_add(l, "per_layer_input_gate.weight", "inp_gate.weight", G4_E, G4_PLE, 1, 0.4, 0);
        g4_add(l, "per_layer_projection.weight", "proj.weight", G4_PLE, G4_E, 1, 0.4, 0);
        g4_add(l, "post_per_layer_input_norm.weight", "post_norm.weight", G4_E, 0, 1, 0.3, 0.8);
    }
    if (m->experts) {
        g4_add(l, "router.proj.weight", "ffn_gate_inp.weight", G4_E, G4_EXPERTS, 1, 2, 0);
        g4_add(l, "router.scale", "ffn_gate_inp.scale", G4_E, 0, 1, 0.3, 1.2);
        g4_add(l, "router.per_expert_scale", "ffn_down_exps.scale", G4_EXPERTS, 0, 1, 0.3, 1);
        g4_add(l, "pre_feedforward_layernorm_2.weight", "pre_ffw_norm_2.weight", G4_E, 0, 1, 0.3, 1);
        g4_add(l, "post_feedforward_layernorm_1.weight", "post_ffw_norm_1.weight", G4_E, 0, 1, 0.3, 0.7);
        g4_add(l, "post_feedforward_layernorm_2.weight", "post_ffw_norm_2.weight", G4_E, 0, 1, 0.3, 0.7);
        g4_add(l, "experts.gate_up_proj", "ffn_gate_up_exps.weight", G4_E, 2 * G4_FX, G4_EXPERTS, 0.4, 0);
        g4_add(l, "experts.down_proj", "ffn_down_exps.weight", G4_FX, G4_E, G4_EXPERTS, 0.4, 0);
    }
}

static inline void g4_make(const g4_variant *m)
{
    g4_forget();
    g4_add(-1, "embed_tokens.weight", "token_embd.weight", G4_E, G4_VOCAB, 1, 0.5, 0);
    g4_add(-1, "norm.weight", "output_norm.weight", G4_E, 0, 1, 0.3, 1);
    if (m->ple) {
        g4_add(-1, "embed_tokens_per_layer.weight", "per_layer_token_embd.weight", G4_PLE * G4_LAYERS, G4_VOCAB, 1, 0.5, 0);
        g4_add(-1, "per_layer_model_projection.weight", "per_layer_model_proj.weight", G4_E, G4_PLE * G4_LAYERS, 1, 0.5, 0);
        g4_add(-1, "per_layer_projection_norm.weight", "per_layer_proj_norm.weight", G4_PLE, 0, 1, 0.3, 1);
    }
    for (int l = 0; l < G4_LAYERS; l++)
        g4_make_layer(m, l);
    g4_tensor *f = g4_add(-1, NULL, "rope_freqs.weight", G4_DF / 2, 0, 1, 0, 1);
    for (int i = G4_TURNED; i < G4_DF / 2; i++) /* what does not turn */
        f->v[i] = 1e30f;
}

/* Numbers that a test may misstate; 0: as the variant has it. */
typedef struct g4_wrong {
    int pattern_entries, shared, head, ff_entries;
    bool no_factors;
} g4_wrong;

static inline void g4_put_numbers(qn_gguf_writer *w, const g4_variant *m, const g4_wrong *wrong)
{
    unsigned char windowed[G4_LAYERS + 1] = {0};
    int32_t ff[G4_LAYERS], kv[G4_LAYERS];
    for (int l = 0; l < G4_LAYERS; l++) {
        windowed[l] = !g4_full(l);
        ff[l] = g4_ff(m, l);
        kv[l] = g4_full(l) ? m->kv_full : m->kv;
    }
    int head = wrong->head < 0 ? 0 : G4_D, n = wrong->pattern_entries ? wrong->pattern_entries : G4_LAYERS;
    const struct {
        const char *key;
        int v;
    } ints[] = {{"block_count", G4_LAYERS}, {"context_length", G4_CTX}, {"embedding_length", G4_E},
                {"attention.head_count", G4_HEADS}, {"attention.key_length", G4_DF}, {"attention.value_length", G4_DF},
                {"attention.key_length_swa", head}, {"attention.value_length_swa", head}, {"rope.dimension_count", G4_DF},
                {"rope.dimension_count_swa", G4_D}, {"attention.sliding_window", G4_WINDOW},
                {"attention.shared_kv_layers", wrong->shared ? wrong->shared : m->shared},
                {"embedding_length_per_layer_input", m->ple ? G4_PLE : 0}, {"expert_count", m->experts ? G4_EXPERTS : -1},
                {"expert_used_count", m->experts ? G4_USED : -1}, {"expert_feed_forward_length", m->experts ? G4_FX : -1}};
    qn__gguf_put_str(w, "general.architecture", "gemma4", 6);
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        char key[64];
        (void)snprintf(key, sizeof key, "gemma4.%s", ints[i].key);
        if (ints[i].v >= 0)
            qn__gguf_put_int(w, key, QN_GGUF_U32, ints[i].v);
    }
    qn__gguf_put_arr(w, "gemma4.feed_forward_length", QN_GGUF_I32, (uint64_t)(wrong->ff_entries ? wrong->ff_entries : G4_LAYERS), ff,
                     sizeof *ff * (size_t)(wrong->ff_entries ? wrong->ff_entries : G4_LAYERS));
    qn__gguf_put_arr(w, "gemma4.attention.head_count_kv", QN_GGUF_I32, G4_LAYERS, kv, sizeof kv);
    qn__gguf_put_arr(w, "gemma4.attention.sliding_window_pattern", QN_GGUF_BOOL, (uint64_t)n, windowed, (size_t)n);
    qn__gguf_put_float(w, "gemma4.attention.layer_norm_rms_epsilon", QN_GGUF_F32, G4_EPS);
    qn__gguf_put_float(w, "gemma4.rope.freq_base", QN_GGUF_F32, G4_BASE);
    qn__gguf_put_float(w, "gemma4.rope.freq_base_swa", QN_GGUF_F32, G4_BASE_WINDOW);
    qn__gguf_put_float(w, "gemma4.final_logit_softcapping", QN_GGUF_F32, G4_CAP);
}

/* The model that g4_make made, as a file. */
static inline qn_status g4_save(const char *path, const g4_variant *m, const g4_wrong *wrong)
{
    static const g4_wrong right;
    qn_gguf_writer *w;
    if (qn__gguf_create(path, &w, NULL) != QN_OK)
        return QN_EIO;
    wrong = wrong ? wrong : &right;
    g4_put_numbers(w, m, wrong);
    for (int i = 0; i < g4_n - wrong->no_factors; i++) { /* the factors come last */
        const g4_tensor *t = &g4_tensors[i];
        uint64_t dims[3] = {(uint64_t)t->k, (uint64_t)(t->rows ? t->rows : 1), (uint64_t)t->count};
        qn__gguf_put_tensor(w, t->gguf, QN_F32, t->count > 1 ? 3 : t->rows ? 2 : 1, dims);
    }
    qn_status s = qn__gguf_begin_data(w, NULL);
    for (int i = 0; i < g4_n - wrong->no_factors && s == QN_OK; i++)
        s = qn__gguf_write(w, g4_tensors[i].v, g4_count(&g4_tensors[i]) * 4, NULL);
    return s == QN_OK ? qn__gguf_commit(w, NULL) : s;
}

#endif
