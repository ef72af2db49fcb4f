/* hf_folder.h - write a GGUF file's model as a Hugging Face checkpoint folder: the inverse of the conversion, made for tests
 * from names and layouts as the models publish them, not from the converter's tables. */
#ifndef QN_TESTS_HF_FOLDER_H
#define QN_TESTS_HF_FOLDER_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "formats/gguf.h"
#include "kernels/f16.h"

typedef struct hf_options {
    int shards;      /* 0: model.safetensors; otherwise so many with an index */
    bool fp8;        /* matrices of layers are FP8 codes with block scales; see hf_fp8_* */
    bool packed;     /* experts of a layer in one tensor */
    bool spm_json;   /* SentencePiece-like tokenizer.json instead of tokenizer.model */
} hf_options;

typedef struct hf_tensor {
    char name[256];
    const char *dtype;
    uint64_t dims[4];
    int n_dims;
    unsigned char *data;
    size_t bytes;
} hf_tensor;

typedef struct hf_folder {
    char dir[256];
    hf_tensor *t;
    size_t n;
    json_t *config;
} hf_folder;

static inline hf_tensor *hf_add(hf_folder *f, const char *name, const char *dtype, size_t size, int n_dims, const uint64_t *dims)
{
    f->t = realloc(f->t, (f->n + 1) * sizeof *f->t);
    hf_tensor *t = &f->t[f->n++];
    *t = (hf_tensor){.dtype = dtype, .n_dims = n_dims, .bytes = size};
    (void)snprintf(t->name, sizeof t->name, "%s", name);
    for (int i = 0; i < n_dims; i++)
        t->bytes *= (size_t)(t->dims[i] = dims[i]);
    t->data = calloc(t->bytes ? t->bytes : 1, 1);
    return t;
}

/* ---- FP8: codes and scales that a test computes on both sides ---- */
enum { HF_BLOCK_ROWS = 16, HF_BLOCK_COLS = 24 };

static inline unsigned char hf_fp8_code(uint64_t row, uint64_t col)
{
    uint64_t h = (row * 0x9E3779B97F4A7C15u) ^ (col * 0xC2B2AE3D27D4EB4Fu);
    h ^= h >> 29;
    return (unsigned char)((h & 0x80) | (0x20 + (h >> 8) % 0x20)); /* normal, small */
}

static inline float hf_fp8_scale(uint64_t block_row, uint64_t block_col)
{
    return 0.11f * (float)(1 + (block_row * 3 + block_col) % 5);
}

static inline float hf_fp8_value(uint64_t row, uint64_t col)
{
    unsigned char b = hf_fp8_code(row, col);
    int e = b >> 3 & 15, m = b & 7;
    float v = (float)(8 + m) / 8 / (float)(1 << (7 - e)); /* exponents here are 4..7 */
    return (b & 0x80 ? -v : v) * hf_fp8_scale(row / HF_BLOCK_ROWS, col / HF_BLOCK_COLS);
}

/* ---- names ---- */

typedef struct hf_name {
    const char *gguf, *hf;
} hf_name;

static const hf_name hf_names[] = {
    {"attn_norm", "input_layernorm"},      {"attn_q", "self_attn.q_proj"},     {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},        {"attn_output", "self_attn.o_proj"}, {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},   {"attn_qkv", "self_attn.qkv_proj"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},         {"ffn_up", "mlp.up_proj"},          {"ffn_down", "mlp.down_proj"},
    {"ffn_gate_inp", "mlp.gate"},          {"ffn_gate_exps", "mlp.experts.#.gate_proj"}, {"ffn_up_exps", "mlp.experts.#.up_proj"},
    {"ffn_down_exps", "mlp.experts.#.down_proj"}, {"ffn_gate_shexp", "mlp.shared_experts.gate_proj"},
    {"ffn_up_shexp", "mlp.shared_experts.up_proj"}, {"ffn_down_shexp", "mlp.shared_experts.down_proj"},
    {"post_attention_norm", "post_attention_layernorm"}, {"post_ffw_norm", "post_feedforward_layernorm"},
    {"exp_probs_b", "mlp.gate.e_score_correction_bias"}, {"attn_sinks", "self_attn.sinks"},
    {"attn_q_a", "self_attn.q_a_proj"}, {"attn_q_a_norm", "self_attn.q_a_layernorm"}, {"attn_q_b", "self_attn.q_b_proj"},
    {"attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa"}, {"attn_kv_a_norm", "self_attn.kv_a_layernorm"},
};
/* Where a family says it otherwise. */
static const struct {
    const char *arch;
    hf_name name;
} hf_other[] = {
    {"gemma2", {"ffn_norm", "pre_feedforward_layernorm"}}, {"gemma3", {"ffn_norm", "pre_feedforward_layernorm"}},
    {"glm4", {"post_attention_norm", "post_self_attn_layernorm"}}, {"glm4", {"post_ffw_norm", "post_mlp_layernorm"}},
    {"glm4", {"ffn_up", "mlp.gate_up_proj"}}, {"phi3", {"ffn_up", "mlp.gate_up_proj"}},
    {"starcoder2", {"ffn_up", "mlp.c_fc"}}, {"starcoder2", {"ffn_down", "mlp.c_proj"}},
    {"llama", {"ffn_gate_inp", "block_sparse_moe.gate"}}, {"llama", {"ffn_gate_exps", "block_sparse_moe.experts.#.w1"}},
    {"llama", {"ffn_up_exps", "block_sparse_moe.experts.#.w3"}}, {"llama", {"ffn_down_exps", "block_sparse_moe.experts.#.w2"}},
    {"granitemoe", {"ffn_gate_inp", "block_sparse_moe.router.layer"}}, {"gpt-oss", {"ffn_gate_inp", "mlp.router"}},
    {"minimax-m2", {"ffn_gate_inp", "block_sparse_moe.gate"}}, {"minimax-m2", {"ffn_gate_exps", "block_sparse_moe.experts.#.w1"}},
    {"minimax-m2", {"ffn_up_exps", "block_sparse_moe.experts.#.w3"}}, {"minimax-m2", {"ffn_down_exps", "block_sparse_moe.experts.#.w2"}},
    {"minimax-m2", {"exp_probs_b", "block_sparse_moe.e_score_correction_bias"}},
};

/* Families whose checkpoints keep a head's rope pairs as two halves, while GGUF keeps them as neighbours. */
static inline bool hf_permutes(const char *arch)
{
    return !strcmp(arch, "llama") || !strcmp(arch, "mistral3") || !strcmp(arch, "granite") || !strcmp(arch, "granitemoe");
}

static inline bool hf_plus_one(const char *arch)
{
    return !strcmp(arch, "gemma2") || !strcmp(arch, "gemma3");
}

/* GGUF row -> checkpoint row. */
static inline uint64_t hf_row(uint64_t row, uint64_t head)
{
    uint64_t at = row % head;
    return row - at + (at % 2) * (head / 2) + at / 2;
}

static inline void hf_name_of(const char *arch, const char *gguf, char out[160])
{
    unsigned layer;
    char mid[64];
    const char *dot = strrchr(gguf, '.');
    if (sscanf(gguf, "blk.%u.%63[^.]", &layer, mid) != 2) {
        const char *base = !strncmp(gguf, "token_embd.", 11) ? "model.embed_tokens" : !strncmp(gguf, "output_norm.", 12) ? "model.norm" : "lm_head";
        (void)snprintf(out, 160, "%s%s", base, dot);
        return;
    }
    const char *to = NULL;
    for (size_t i = 0; i < sizeof hf_names / sizeof *hf_names; i++)
        if (!strcmp(hf_names[i].gguf, mid))
            to = hf_names[i].hf;
    for (size_t i = 0; i < sizeof hf_other / sizeof *hf_other; i++)
        if (!strcmp(hf_other[i].arch, arch) && !strcmp(hf_other[i].name.gguf, mid))
            to = hf_other[i].name.hf;
    if (!to) { /* a layer that is left out: any name of its own */
        (void)snprintf(out, 160, "model.layers.%u.%s", layer, strchr(gguf + 4, '.') + 1);
        return;
    }
    bool bare = strstr(to, "correction_bias") || strstr(to, "sinks");
    (void)snprintf(out, 160, "model.layers.%u.%s%s", layer, to, bare ? "" : dot);
}

/* ---- tensors ---- */

static inline void hf_put_matrix(hf_folder *f, const qn_gguf_tensor *t, const char *name, const hf_options *o, uint64_t head, bool plus_one,
                                 uint64_t expert)
{
    static const struct { qn_type type; const char *name; size_t size; } types[] = {{QN_F32, "F32", 4}, {QN_F16, "F16", 2}, {QN_BF16, "BF16", 2}};
    bool layer = strstr(name, "layers.") != NULL, vector = t->n_dims == 1, fp8 = o->fp8 && layer && t->n_dims == 2;
    size_t k = t->type == QN_F16 ? 1 : t->type == QN_BF16 ? 2 : 0, size = types[k].size;
    uint64_t rows = vector ? t->dims[0] : t->dims[1], cols = vector ? 1 : t->dims[0], dims[2] = {rows, cols};
    hf_tensor *out = hf_add(f, name, fp8 ? "F8_E4M3" : types[k].name, fp8 ? 1 : size, vector ? 1 : 2, dims);
    for (uint64_t r = 0; r < rows; r++) {
        uint64_t to = head ? hf_row(r, head) : r;
        if (fp8)
            for (uint64_t c = 0; c < cols; c++)
                out->data[to * cols + c] = hf_fp8_code(to, c);
        else
            memcpy(out->data + to * cols * size, t->data + (expert * rows + r) * cols * size, (size_t)cols * size);
    }
    for (uint64_t i = 0; plus_one && i < rows; i++) {
        float v;
        memcpy(&v, out->data + 4 * i, 4);
        v -= 1;
        memcpy(out->data + 4 * i, &v, 4);
    }
    if (fp8) {
        uint64_t blocks[2] = {(rows + HF_BLOCK_ROWS - 1) / HF_BLOCK_ROWS, (cols + HF_BLOCK_COLS - 1) / HF_BLOCK_COLS};
        char scale[240];
        (void)snprintf(scale, sizeof scale, "%s_scale_inv", name);
        hf_tensor *s = hf_add(f, scale, "F32", 4, 2, blocks);
        for (uint64_t i = 0; i < blocks[0] * blocks[1]; i++) {
            float v = hf_fp8_scale(i / blocks[1], i % blocks[1]);
            memcpy(s->data + 4 * i, &v, 4);
        }
    }
}

/* Gate and up in one tensor, one after the other or row by row; with their experts, when they have some. */
static inline void hf_pack_pair(hf_folder *f, const char *name, const qn_gguf_tensor *gate, const qn_gguf_tensor *up, bool interleave)
{
    uint64_t n = gate->dims[1], x = gate->n_dims == 3 ? gate->dims[2] : 1, dims[3] = {x, 2 * n, gate->dims[0]};
    size_t size = gate->type == QN_F32 ? 4 : 2, row = (size_t)gate->dims[0] * size;
    hf_tensor *t = hf_add(f, name, gate->type == QN_F32 ? "F32" : "F16", size, gate->n_dims == 3 ? 3 : 2, gate->n_dims == 3 ? dims : dims + 1);
    for (uint64_t e = 0; e < x; e++)
        for (uint64_t r = 0; r < n; r++) {
            memcpy(t->data + (e * 2 * n + (interleave ? 2 * r : r)) * row, gate->data + (e * n + r) * row, row);
            memcpy(t->data + (e * 2 * n + (interleave ? 2 * r + 1 : n + r)) * row, up->data + (e * n + r) * row, row);
        }
}

static inline void hf_put_whole(hf_folder *f, const char *name, const qn_gguf_tensor *t)
{
    uint64_t dims[3] = {t->dims[2], t->dims[1], t->dims[0]};
    hf_tensor *out = hf_add(f, name, t->type == QN_F32 ? "F32" : "F16", t->type == QN_F32 ? 4 : 2, (int)t->n_dims, dims + 3 - t->n_dims);
    memcpy(out->data, t->data, out->bytes);
}

/* MXFP4: numbers in order, two to a byte, low half first; the scales in a tensor of their own. up NULL: only one. */
static inline void hf_put_mxfp4(hf_folder *f, const char *name, const qn_gguf_tensor *gate, const qn_gguf_tensor *up)
{
    uint64_t k = up ? 2 : 1, blocks = gate->dims[0] / 32, dims[4] = {gate->dims[2], k * gate->dims[1], blocks, 16};
    char full[200];
    (void)snprintf(full, sizeof full, "%s_blocks", name);
    unsigned char *b = hf_add(f, full, "U8", 1, 4, dims)->data;
    (void)snprintf(full, sizeof full, "%s_scales", name);
    unsigned char *s = hf_add(f, full, "U8", 1, 3, dims)->data;
    for (uint64_t r = 0; r < k * gate->dims[1] * gate->dims[2]; r++)
        for (uint64_t i = 0; i < blocks; i++) {
            const unsigned char *from = (r % k ? up : gate)->data + (r / k * blocks + i) * 17;
            s[r * blocks + i] = from[0];
            for (int j = 0; j < 32; j += 2) {
                int low = j < 16 ? from[1 + j] & 15 : from[1 + j - 16] >> 4, high = j < 15 ? from[2 + j] & 15 : from[2 + j - 16] >> 4;
                b[(r * blocks + i) * 16 + (uint64_t)j / 2] = (unsigned char)(low | high << 4);
            }
        }
}

/* The latent's expansion: for each head its keys' rows, then its values'. k_b is [nope, low, heads] as GGUF counts. */
static inline void hf_put_kv_b(hf_folder *f, const char *name, const qn_gguf_tensor *k, const qn_gguf_tensor *v)
{
    uint64_t nope = k->dims[0], low = k->dims[1], heads = k->dims[2], per = nope + v->dims[1], dims[2] = {heads * per, low};
    uint16_t *out = (uint16_t *)(void *)hf_add(f, name, "F16", 2, 2, dims)->data;
    for (uint64_t h = 0; h < heads; h++)
        for (uint64_t j = 0; j < low; j++) {
            for (uint64_t i = 0; i < nope; i++)
                memcpy(&out[(h * per + i) * low + j], k->data + 2 * ((h * low + j) * nope + i), 2);
            for (uint64_t i = 0; i < v->dims[1]; i++)
                memcpy(&out[(h * per + nope + i) * low + j], v->data + 2 * ((h * v->dims[1] + i) * low + j), 2);
        }
}

static inline const qn_gguf_tensor *hf_of(const qn_gguf *g, int layer, const char *name)
{
    char full[96];
    (void)snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    return qn__gguf_find(g, full);
}

/* Tensors that have no twin of their own in the checkpoint: true when `gguf` is one; writes the pair at its first. */
static inline bool hf_put_special(hf_folder *f, const qn_gguf *g, const char *arch, const char *gguf, bool packed)
{
    int layer = -1;
    char name[160], mid[64] = "";
    bool granite = !strcmp(arch, "granitemoe"), oss = !strcmp(arch, "gpt-oss"), shared = strstr(gguf, "_shexp") != NULL;
    (void)sscanf(gguf, "blk.%d.%63s", &layer, mid);
    if (!strcmp(arch, "deepseek2") && (!strcmp(mid, "attn_k_b.weight") || !strcmp(mid, "attn_v_b.weight"))) {
        (void)snprintf(name, sizeof name, "model.layers.%d.self_attn.kv_b_proj.weight", layer);
        if (mid[5] == 'k')
            hf_put_kv_b(f, name, hf_of(g, layer, "attn_k_b.weight"), hf_of(g, layer, "attn_v_b.weight"));
        return true;
    }
    bool expert = strstr(mid, "_exps.") || (granite && shared), gate = !strncmp(mid, "ffn_gate_", 9), down = !strncmp(mid, "ffn_down_", 9);
    if (!expert || !(granite || oss || packed))
        return false;
    bool bias = strstr(mid, ".bias") != NULL;
    const char *from = granite ? shared ? "shared_mlp" : "block_sparse_moe" : "mlp.experts";
    const char *tail = granite ? ".weight" : bias ? "_bias" : "";
    (void)snprintf(name, sizeof name, "model.layers.%d.%s.%s%s", layer, from, granite ? down ? "output_linear" : "input_linear" : down ? "down_proj" : "gate_up_proj", tail);
    const qn_gguf_tensor *t = qn__gguf_find(g, gguf);
    const qn_gguf_tensor *up = gate ? hf_of(g, layer, bias ? "ffn_up_exps.bias" : shared ? "ffn_up_shexp.weight" : "ffn_up_exps.weight") : NULL;
    if (t->type == QN_MXFP4 && (gate || down))
        hf_put_mxfp4(f, name, t, up);
    else if (bias && gate) { /* elements, not rows: [X, 2n], one of each in turn */
        qn_gguf_tensor a = *t, b = *up;
        a.n_dims = b.n_dims = 3, a.dims[2] = b.dims[2] = t->dims[1], a.dims[1] = b.dims[1] = t->dims[0], a.dims[0] = b.dims[0] = 1;
        hf_pack_pair(f, name, &a, &b, true);
        f->t[f->n - 1].n_dims = 2;
    } else if (gate)
        hf_pack_pair(f, name, t, up, false);
    else if (down)
        hf_put_whole(f, name, t);
    return true;
}

static inline void hf_put_tensors(hf_folder *f, const qn_gguf *g, const char *arch, uint64_t head, const hf_options *o)
{
    for (size_t i = 0; i < qn__gguf_n_tensors(g); i++) {
        const qn_gguf_tensor *t = qn__gguf_tensor(g, i);
        char gguf[160], name[160];
        (void)snprintf(gguf, sizeof gguf, "%.*s", (int)t->name.n, t->name.p);
        if (!strncmp(gguf, "rope_", 5))
            continue; /* not in checkpoints */
        if (hf_put_special(f, g, arch, gguf, o->packed))
            continue;
        hf_name_of(arch, gguf, name);
        bool qk = strstr(gguf, "attn_q.") || strstr(gguf, "attn_k.");
        char *hash = strchr(name, '#');
        for (uint64_t e = 0; e < (hash ? t->dims[2] : 1); e++) {
            char one[200];
            qn_gguf_tensor flat = *t;
            if (hash) {
                (void)snprintf(one, sizeof one, "%.*s%d%s", (int)(hash - name), name, (int)e, hash + 1);
                flat.n_dims = 2;
            } else {
                (void)snprintf(one, sizeof one, "%s", name);
            }
            hf_put_matrix(f, &flat, one, o, qk && hf_permutes(arch) ? head : 0, strstr(gguf, "norm.weight") && hf_plus_one(arch), e);
        }
    }
}

static inline void hf_write_safetensors(const char *path, const hf_folder *f, size_t first, size_t step)
{
    qn_buf head = {0};
    size_t at = 0;
    qn__buf_puts(&head, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = first; i < f->n; i += step) {
        const hf_tensor *t = &f->t[i];
        qn__buf_printf(&head, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", t->name, t->dtype);
        for (int d = 0; d < t->n_dims; d++)
            qn__buf_printf(&head, "%s%llu", d ? "," : "", (unsigned long long)t->dims[d]);
        qn__buf_printf(&head, "],\"data_offsets\":[%zu,%zu]}", at, at + t->bytes);
        at += t->bytes;
    }
    qn__buf_puts(&head, "}");
    while (head.n % 8)
        qn__buf_putc(&head, ' ');
    FILE *out = fopen(path, "wb");
    uint64_t n = head.n;
    (void)fwrite(&n, 8, 1, out);
    (void)fwrite(head.data, 1, head.n, out);
    for (size_t i = first; i < f->n; i += step)
        (void)fwrite(f->t[i].data, 1, f->t[i].bytes, out);
    (void)fclose(out);
    qn__buf_free(&head);
}

static inline void hf_write_weights(const hf_folder *f, const hf_options *o)
{
    char path[400];
    if (!o->shards) {
        (void)snprintf(path, sizeof path, "%s/model.safetensors", f->dir);
        hf_write_safetensors(path, f, 0, 1);
        return;
    }
    json_t *map = json_object();
    for (int s = 0; s < o->shards; s++) {
        char name[64];
        (void)snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", s + 1, o->shards);
        (void)snprintf(path, sizeof path, "%s/%s", f->dir, name);
        hf_write_safetensors(path, f, (size_t)s, (size_t)o->shards);
        for (size_t i = (size_t)s; i < f->n; i += (size_t)o->shards)
            json_object_set_new(map, f->t[i].name, json_string(name));
    }
    json_t *index = json_pack("{s:{s:i},s:o}", "metadata", "total_size", 1, "weight_map", map);
    (void)snprintf(path, sizeof path, "%s/model.safetensors.index.json", f->dir);
    json_dump_file(index, path, 0);
    json_decref(index);
}

/* ---- config.json ---- */

static inline json_t *hf_value(const qn_gguf *g, const char *arch, const char *key)
{
    char k[128];
    (void)snprintf(k, sizeof k, "%s.%s", arch, key);
    const qn_gguf_kv *kv = qn__gguf_kv(g, k);
    if (!kv)
        return NULL;
    switch (kv->kind) {
    case QN_GGUF_F32: return json_real(qn__gguf_arr_float(kv, 0));
    case QN_GGUF_BOOL: return json_boolean(kv->data[0]);
    case QN_GGUF_STR: return json_stringn((const char *)kv->data, kv->bytes);
    case QN_GGUF_ARR: return NULL;
    default: return json_integer(qn__gguf_arr_int(kv, 0));
    }
}

static const hf_name hf_keys[] = {
    {"vocab_size", "vocab_size"}, {"block_count", "num_hidden_layers"}, {"context_length", "max_position_embeddings"},
    {"embedding_length", "hidden_size"}, {"feed_forward_length", "intermediate_size"}, {"attention.head_count", "num_attention_heads"},
    {"attention.head_count_kv", "num_key_value_heads"}, {"rope.freq_base", "rope_theta"}, {"attention.key_length", "head_dim"},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps"}, {"expert_count", "num_experts"}, {"expert_used_count", "num_experts_per_tok"},
    {"expert_feed_forward_length", "moe_intermediate_size"}, {"attention.sliding_window", "sliding_window"}, {"logit_scale", "logit_scale"},
    {"expert_weights_norm", "norm_topk_prob"}, {"attn_logit_softcapping", "attn_logit_softcapping"},
    {"final_logit_softcapping", "final_logit_softcapping"},
};

static inline void hf_rename(json_t *c, const char *from, const char *to)
{
    json_t *v = json_object_get(c, from);
    if (v) {
        json_object_set(c, to, v);
        if (strcmp(from, to))
            json_object_del(c, from);
    }
}

static inline void hf_rope_scaling(json_t *c, const qn_gguf *g, const char *arch)
{
    static const hf_name keys[] = {{"rope.scaling.factor", "factor"}, {"rope.scaling.original_context_length", "original_max_position_embeddings"},
        {"rope.scaling.yarn_beta_fast", "beta_fast"}, {"rope.scaling.yarn_beta_slow", "beta_slow"}, {"rope.scaling.yarn_attn_factor", "attention_factor"},
        {"rope.scaling.yarn_log_multiplier", "mscale_all_dim"}, {"attention.temperature_scale", "llama_4_scaling_beta"}};
    json_t *type = hf_value(g, arch, "rope.scaling.type");
    const char *s = json_string_value(type);
    if (s && strcmp(s, "none")) {
        json_t *r = json_object();
        json_object_set(r, "rope_type", type);
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            json_t *v = hf_value(g, arch, keys[i].gguf);
            if (v)
                json_object_set_new(r, keys[i].hf, v);
        }
        json_object_set_new(c, "rope_scaling", r);
    }
    json_decref(type);
}

/* phi3: the factors stand in config.json. */
static inline void hf_longrope(json_t *c, const qn_gguf *g, const char *arch)
{
    static const hf_name which[] = {{"rope_factors_long.weight", "long_factor"}, {"rope_factors_short.weight", "short_factor"}};
    json_t *r = json_object();
    for (size_t k = 0; k < 2; k++) {
        const qn_gguf_tensor *t = qn__gguf_find(g, which[k].gguf);
        json_t *a = json_array();
        for (uint64_t i = 0; t && i < t->dims[0]; i++) {
            float v;
            memcpy(&v, t->data + 4 * i, 4);
            json_array_append_new(a, json_real((double)v));
        }
        json_object_set_new(r, which[k].hf, a);
        if (!t) {
            json_decref(r);
            return;
        }
    }
    json_object_set_new(r, "type", json_string("longrope"));
    json_object_set_new(r, "attention_factor", hf_value(g, arch, "rope.scaling.attn_factor"));
    json_object_set_new(c, "rope_scaling", r);
}

static inline void hf_family_keys(json_t *c, const qn_gguf *g, const char *arch)
{
    json_t *dims = hf_value(g, arch, "rope.dimension_count");
    double rot = json_number_value(dims);
    json_decref(dims);
    double head = json_number_value(json_object_get(c, "hidden_size")) / json_number_value(json_object_get(c, "num_attention_heads"));
    if (json_object_get(c, "head_dim"))
        head = json_number_value(json_object_get(c, "head_dim"));
    if (!strcmp(arch, "phi3") || !strcmp(arch, "glm4"))
        json_object_set_new(c, "partial_rotary_factor", json_real(rot / head));
    if (!strcmp(arch, "phi3"))
        json_object_set_new(c, "original_max_position_embeddings", hf_value(g, arch, "rope.scaling.original_context_length"));
    if (!strcmp(arch, "cohere2"))
        json_object_set_new(c, "layer_norm_eps", hf_value(g, arch, "attention.layer_norm_epsilon"));
    if (!strcmp(arch, "starcoder2")) {
        json_object_set_new(c, "norm_epsilon", hf_value(g, arch, "attention.layer_norm_epsilon"));
        json_object_set_new(c, "hidden_act", json_string("gelu_pytorch_tanh"));
    }
    if (!strncmp(arch, "gemma", 5))
        json_object_set_new(c, "hidden_activation", json_string("gelu_pytorch_tanh"));
    if (!strcmp(arch, "minimax-m2"))
        json_object_set_new(c, "rotary_dim", json_integer((json_int_t)rot));
    if (!strcmp(arch, "cohere2moe")) {
        json_object_set_new(c, "first_k_dense_replace", hf_value(g, arch, "leading_dense_block_count"));
        json_object_set_new(c, "prefix_dense_intermediate_size", hf_value(g, arch, "feed_forward_length"));
        hf_rename(c, "moe_intermediate_size", "intermediate_size");
        json_object_set_new(c, "expert_selection_fn", json_string("sigmoid"));
        json_object_set_new(c, "num_shared_experts", hf_value(g, arch, "expert_shared_count"));
    }
    static const hf_name granite[] = {{"embedding_scale", "embedding_multiplier"}, {"residual_scale", "residual_multiplier"},
                                      {"attention.scale", "attention_multiplier"}, {"logit_scale", "logits_scaling"}};
    for (size_t i = 0; !strncmp(arch, "granite", 7) && i < 4; i++)
        json_object_set_new(c, granite[i].hf, hf_value(g, arch, granite[i].gguf));
    json_t *v;
    if (!strcmp(arch, "granitemoe") && (v = hf_value(g, arch, "expert_shared_feed_forward_length")))
        json_object_set_new(c, "shared_intermediate_size", v);
    if (!strcmp(arch, "gpt-oss"))
        hf_rename(c, "moe_intermediate_size", "intermediate_size");
    static const hf_name deepseek[] = {{"attention.q_lora_rank", "q_lora_rank"}, {"attention.kv_lora_rank", "kv_lora_rank"}, {"expert_shared_count", "n_shared_experts"},
        {"leading_dense_block_count", "first_k_dense_replace"}, {"expert_weights_scale", "routed_scaling_factor"}, {"expert_group_count", "n_group"},
        {"expert_group_used_count", "topk_group"}, {"rope.dimension_count", "qk_rope_head_dim"}, {"attention.value_length_mla", "v_head_dim"}};
    for (size_t i = 0; (!strcmp(arch, "deepseek2") || !strcmp(arch, "glm4moe")) && i < sizeof deepseek / sizeof *deepseek; i++)
        if ((v = hf_value(g, arch, deepseek[i].gguf)))
            json_object_set_new(c, deepseek[i].hf, v);
    if (!strcmp(arch, "glm4moe"))
        json_object_set_new(c, "partial_rotary_factor", json_real(rot / head));
    if (!strcmp(arch, "deepseek2")) {
        v = hf_value(g, arch, "attention.key_length_mla");
        json_object_set_new(c, "qk_nope_head_dim", json_integer(json_integer_value(v) - (json_int_t)rot));
        json_decref(v);
        json_object_del(c, "head_dim");
        json_object_set_new(c, "scoring_func", json_string("sigmoid"));
        v = json_object_get(json_object_get(c, "rope_scaling"), "mscale_all_dim");
        json_real_set(v, json_real_value(v) * 10);
    }
    if (!strcmp(arch, "qwen3moe"))
        json_object_set_new(c, "norm_topk_prob", json_true());
}

static inline json_t *hf_config(const qn_gguf *g, const char *arch, const char *hf_arch, const hf_options *o)
{
    json_t *c = json_pack("{s:[s]}", "architectures", hf_arch);
    for (size_t i = 0; i < sizeof hf_keys / sizeof *hf_keys; i++) {
        json_t *v = hf_value(g, arch, hf_keys[i].gguf);
        if (v)
            json_object_set_new(c, hf_keys[i].hf, v);
    }
    json_object_set_new(c, "tie_word_embeddings", json_boolean(!qn__gguf_find(g, "output.weight")));
    hf_rope_scaling(c, g, arch);
    hf_longrope(c, g, arch);
    hf_family_keys(c, g, arch);
    char key[96];
    (void)snprintf(key, sizeof key, "%s.attention.sliding_window_pattern", arch);
    const qn_gguf_kv *kv = qn__gguf_kv(g, key);
    if (kv && kv->kind == QN_GGUF_ARR) {
        json_t *a = json_array();
        for (uint64_t i = 0; i < kv->n; i++)
            json_array_append_new(a, json_string(qn__gguf_arr_int(kv, i) ? "sliding_attention" : "full_attention"));
        json_object_set_new(c, "layer_types", a);
    }
    if (o->fp8)
        json_object_set_new(c, "quantization_config", json_pack("{s:s,s:[ii]}", "quant_method", "fp8", "weight_block_size", HF_BLOCK_ROWS, HF_BLOCK_COLS));
    return c;
}

/* ---- tokenizers ---- */

static inline json_t *hf_pre(const char *name)
{
    static const struct { const char *name, *regex; } patterns[] = {
        {"qwen2", "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
        {"llama-bpe", "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
        {"dbrx", "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
        {"glm4", "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
        {"seed-coder", "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
        {"tekken", "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
        {"minimax-m2", "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    };
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (!strcmp(patterns[i].name, name))
            return json_pack("{s:s,s:[{s:s,s:{s:s},s:s,s:b},{s:s,s:b,s:b,s:b}]}", "type", "Sequence", "pretokenizers", "type", "Split", "pattern", "Regex",
                             patterns[i].regex, "behavior", "Isolated", "invert", 0, "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 0, "use_regex", 0);
    return json_pack("{s:s,s:[{s:s,s:b},{s:s,s:b,s:b,s:b}]}", "type", "Sequence", "pretokenizers", "type", "Digits", "individual_digits", 1, "type", "ByteLevel",
                     "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 1);
}

typedef struct hf_vocab {
    const qn_gguf_kv *tokens, *types, *scores, *merges;
    qn_slice *text;
} hf_vocab;

typedef struct hf_merge {
    float score;
    uint64_t id, at; /* where the token is cut */
} hf_merge;

static inline int hf_by_score(const void *a, const void *b)
{
    const hf_merge *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->id != y->id ? (x->id > y->id) - (x->id < y->id) : (x->at > y->at) - (x->at < y->at);
}

/* SentencePiece has scores, not merges: every way to cut a piece into two pieces is one, the best pieces first. */
static inline void hf_spm_merges(const hf_vocab *v, const json_t *vocab, json_t *merges)
{
    hf_merge *m = NULL;
    size_t n = 0, cap = 0;
    for (uint64_t i = 0; i < v->tokens->n; i++)
        for (size_t k = 1; qn__gguf_arr_int(v->types, i) == 1 && k < v->text[i].n; k++) {
            const char *s = v->text[i].p;
            if ((s[k] & 0xC0) == 0x80 || !json_object_getn(vocab, s, k) || !json_object_getn(vocab, s + k, v->text[i].n - k))
                continue;
            if (n == cap)
                m = realloc(m, (cap = cap * 2 + 1024) * sizeof *m);
            m[n++] = (hf_merge){(float)qn__gguf_arr_float(v->scores, i), i, k};
        }
    if (n)
        qsort(m, n, sizeof *m, hf_by_score);
    for (size_t i = 0; i < n; i++) {
        qn_slice s = v->text[m[i].id];
        json_array_append_new(merges, json_pack("[s%s%]", s.p, (size_t)m[i].at, s.p + m[i].at, s.n - m[i].at));
    }
    free(m);
}

static inline void hf_write_bpe(const hf_folder *f, const qn_gguf *g, const hf_vocab *v, bool spm)
{
    json_t *vocab = json_object(), *added = json_array(), *merges = json_array();
    for (uint64_t i = 0; i < v->tokens->n; i++) {
        int64_t type = qn__gguf_arr_int(v->types, i);
        json_t *text = json_stringn(v->text[i].p, v->text[i].n);
        if (type == 3 || type == 4)
            json_array_append_new(added, json_pack("{s:I,s:O,s:b}", "id", (json_int_t)i, "content", text, "special", type == 3));
        else
            json_object_setn_new(vocab, v->text[i].p, v->text[i].n, json_integer((json_int_t)i));
        json_decref(text);
    }
    qn_slice *m = calloc(v->merges ? v->merges->n : 1, sizeof *m);
    if (v->merges)
        qn__gguf_arr_strs(v->merges, m);
    for (uint64_t i = 0; v->merges && i < v->merges->n; i++) {
        const char *space = memchr(m[i].p + 1, ' ', m[i].n - 1);
        size_t n = (size_t)(space - m[i].p);
        json_t *pair = json_array(); /* both forms that there are */
        json_array_append_new(pair, json_stringn(m[i].p, n));
        json_array_append_new(pair, json_stringn(space + 1, m[i].n - n - 1));
        json_array_append_new(merges, i % 2 ? pair : json_stringn(m[i].p, m[i].n));
        if (i % 2 == 0)
            json_decref(pair);
    }
    free(m);
    if (spm)
        hf_spm_merges(v, vocab, merges);
    qn_slice pre = {0};
    (void)qn__gguf_str(g, "tokenizer.ggml.pre", &pre, NULL);
    char name[64];
    (void)snprintf(name, sizeof name, "%.*s", (int)pre.n, pre.p ? pre.p : "");
    json_t *model = json_pack("{s:s,s:o,s:o,s:b,s:b}", "type", "BPE", "vocab", vocab, "merges", merges, "byte_fallback", spm, "ignore_merges", !strcmp(name, "llama-bpe"));
    if (spm)
        json_object_set_new(model, "unk_token", json_string("<unk>"));
    json_t *t = json_pack("{s:s,s:o,s:o,s:o}", "version", "1.0", "added_tokens", added, "pre_tokenizer",
                          spm ? json_pack("{s:s,s:s}", "type", "Metaspace", "prepend_scheme", "first") : hf_pre(name), "model", model);
    if (!json_object_get(vocab, "<unk>") && spm)
        json_object_set_new(model, "unk_token", json_null());
    char path[400];
    (void)snprintf(path, sizeof path, "%s/tokenizer.json", f->dir);
    json_dump_file(t, path, 0);
    json_decref(t);
}

static inline void hf_varint(qn_buf *b, uint64_t v)
{
    for (; v >= 128; v >>= 7)
        qn__buf_putc(b, (char)(v | 128));
    qn__buf_putc(b, (char)v);
}

static inline void hf_write_spm(const hf_folder *f, const hf_vocab *v)
{
    qn_buf all = {0};
    char path[400];
    for (uint64_t i = 0; i < v->tokens->n; i++) {
        qn_buf p = {0};
        float score = (float)qn__gguf_arr_float(v->scores, i);
        hf_varint(&p, 1 << 3 | 2);
        hf_varint(&p, v->text[i].n);
        qn__buf_put(&p, v->text[i].p, v->text[i].n);
        hf_varint(&p, 2 << 3 | 5);
        qn__buf_put(&p, &score, 4);
        hf_varint(&p, 3 << 3);
        hf_varint(&p, (uint64_t)qn__gguf_arr_int(v->types, i));
        hf_varint(&all, 1 << 3 | 2);
        hf_varint(&all, p.n);
        qn__buf_put(&all, p.data, p.n);
        qn__buf_free(&p);
    }
    qn__buf_put(&all, "\x12\x02\x18\x02", 4); /* trainer_spec { model_type: BPE } */
    (void)snprintf(path, sizeof path, "%s/tokenizer.model", f->dir);
    FILE *out = fopen(path, "wb");
    (void)fwrite(all.data, 1, all.n, out);
    (void)fclose(out);
    qn__buf_free(&all);
}

/* BERT's: pieces that begin a word are bare, the others begin with ##; control tokens are themselves. */
static inline void hf_write_wordpiece(const hf_folder *f, const hf_vocab *v)
{
    json_t *vocab = json_object(), *added = json_array();
    char path[400];
    for (uint64_t i = 0; i < v->tokens->n; i++) {
        qn_slice s = v->text[i];
        bool control = qn__gguf_arr_int(v->types, i) == 3, word = s.n > 3 && !memcmp(s.p, "\xE2\x96\x81", 3);
        json_t *text = control ? json_stringn(s.p, s.n) : word ? json_stringn(s.p + 3, s.n - 3) : json_sprintf("##%.*s", (int)s.n, s.p);
        json_object_setn_new(vocab, json_string_value(text), json_string_length(text), json_integer((json_int_t)i));
        if (control)
            json_array_append_new(added, json_pack("{s:I,s:O,s:b}", "id", (json_int_t)i, "content", text, "special", 1));
        json_decref(text);
    }
    json_t *t = json_pack("{s:s,s:o,s:{s:s,s:b,s:b,s:n,s:b},s:{s:s},s:{s:s,s:[{s:{s:s,s:i}},{s:{s:s,s:i}},{s:{s:s,s:i}}]},s:{s:s,s:o,s:s,s:s}}", "version", "1.0", "added_tokens", added,
                          "normalizer", "type", "BertNormalizer", "clean_text", 1, "handle_chinese_chars", 1, "strip_accents", "lowercase", 1,
                          "pre_tokenizer", "type", "BertPreTokenizer",
                          "post_processor", "type", "TemplateProcessing", "single", "SpecialToken", "id", "[CLS]", "type_id", 0, "Sequence", "id", "A", "type_id", 0, "SpecialToken", "id", "[SEP]", "type_id", 0,
                          "model", "type", "WordPiece", "vocab", vocab, "unk_token", "[UNK]", "continuing_subword_prefix", "##");
    (void)snprintf(path, sizeof path, "%s/tokenizer.json", f->dir);
    json_dump_file(t, path, 0);
    json_decref(t);
    t = json_pack("{s:s,s:s,s:s,s:s,s:s}", "cls_token", "[CLS]", "sep_token", "[SEP]", "unk_token", "[UNK]", "pad_token", "[PAD]", "mask_token", "[MASK]");
    (void)snprintf(path, sizeof path, "%s/tokenizer_config.json", f->dir);
    json_dump_file(t, path, 0);
    json_decref(t);
}

static inline void hf_write_tokenizer(const hf_folder *f, const qn_gguf *g, const hf_options *o)
{
    hf_vocab v = {qn__gguf_kv(g, "tokenizer.ggml.tokens"), qn__gguf_kv(g, "tokenizer.ggml.token_type"), qn__gguf_kv(g, "tokenizer.ggml.scores"),
                  qn__gguf_kv(g, "tokenizer.ggml.merges"), NULL};
    qn_slice model = {0};
    v.text = calloc(v.tokens->n, sizeof *v.text);
    qn__gguf_arr_strs(v.tokens, v.text);
    (void)qn__gguf_str(g, "tokenizer.ggml.model", &model, NULL);
    bool spm = model.n == 5;
    if (model.n == 4 && !memcmp(model.p, "bert", 4)) {
        hf_write_wordpiece(f, &v);
        free(v.text);
        return;
    }
    if (spm && !o->spm_json)
        hf_write_spm(f, &v);
    else
        hf_write_bpe(f, g, &v, spm);
    static const hf_name ids[] = {{"bos_token_id", "bos_token"}, {"eos_token_id", "eos_token"}, {"padding_token_id", "pad_token"}, {"unknown_token_id", "unk_token"}};
    json_t *c = json_object();
    for (size_t i = 0; i < 4; i++) {
        char key[64];
        (void)snprintf(key, sizeof key, "tokenizer.ggml.%s", ids[i].gguf);
        const qn_gguf_kv *kv = qn__gguf_kv(g, key);
        if (kv) {
            qn_slice s = v.text[qn__gguf_arr_int(kv, 0)];
            json_object_set_new(c, ids[i].hf, i % 2 ? json_pack("{s:s%}", "content", s.p, s.n) : json_stringn(s.p, s.n));
        }
    }
    const qn_gguf_kv *space = qn__gguf_kv(g, "tokenizer.ggml.add_space_prefix");
    if (space)
        json_object_set_new(c, "add_prefix_space", json_boolean(space->data[0]));
    json_object_set_new(c, "chat_template", json_string("{{ messages[0].content }}"));
    char path[400];
    (void)snprintf(path, sizeof path, "%s/tokenizer_config.json", f->dir);
    json_dump_file(c, path, 0);
    json_decref(c);
    free(v.text);
}

/* A unigram vocabulary: enough to tell a sum of scores from a longest piece. */
static const struct hf_piece {
    const char *text;
    double score;
    int type;
} hf_pieces[] = {{"<s>", 0, 3}, {"<pad>", 0, 3}, {"</s>", 0, 3}, {"<unk>", 0, 2}, {"\xE2\x96\x81he", -2, 1}, {"llo", -2.5, 1}, {"\xE2\x96\x81hello", -5, 1},
    {"e", -3.5, 1}, {"l", -4, 1}, {"o", -4, 1}, {"\xE2\x96\x81", -3.2, 1}};
enum { HF_PIECES = sizeof hf_pieces / sizeof *hf_pieces };

/* A tokenizer.json of it; its map of characters is empty. */
static inline void hf_write_unigram(const char *dir)
{
    json_t *vocab = json_array(), *added = json_array();
    for (int i = 0; i < HF_PIECES; i++) {
        json_array_append_new(vocab, json_pack("[sf]", hf_pieces[i].text, hf_pieces[i].score));
        if (i < 4)
            json_array_append_new(added, json_pack("{s:i,s:s,s:b}", "id", i, "content", hf_pieces[i].text, "special", 1));
    }
    json_t *t = json_pack("{s:o,s:{s:s,s:s},s:{s:s,s:[{s:s},{s:s,s:s,s:b}]},s:{s:s,s:[{s:{s:s}},{s:{s:s}},{s:{s:s}}]},s:{s:s,s:i,s:o}}", "added_tokens", added,
                          "normalizer", "type", "Precompiled", "precompiled_charsmap", "AAAAAGEA",
                          "pre_tokenizer", "type", "Sequence", "pretokenizers", "type", "WhitespaceSplit", "type", "Metaspace", "replacement", "\xE2\x96\x81", "add_prefix_space", 1,
                          "post_processor", "type", "TemplateProcessing", "single", "SpecialToken", "id", "<s>", "Sequence", "id", "A", "SpecialToken", "id", "</s>",
                          "model", "type", "Unigram", "unk_id", 3, "vocab", vocab);
    char path[400];
    (void)snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    json_dump_file(t, path, 0);
    json_decref(t);
}

/* ---- all of it ---- */

/* `dir` must be there and empty. The caller may change f->config and call hf_write_config again. */
static inline void hf_write_config(const hf_folder *f)
{
    char path[400];
    (void)snprintf(path, sizeof path, "%s/config.json", f->dir);
    json_dump_file(f->config, path, JSON_INDENT(2));
}

static inline void hf_make(hf_folder *f, const char *dir, const qn_gguf *g, const char *arch, const char *hf_arch, const hf_options *o)
{
    *f = (hf_folder){.config = hf_config(g, arch, hf_arch, o)};
    (void)snprintf(f->dir, sizeof f->dir, "%s", dir);
    json_t *head = json_object_get(f->config, "head_dim");
    uint64_t n = head ? (uint64_t)json_integer_value(head)
                      : (uint64_t)(json_integer_value(json_object_get(f->config, "hidden_size")) / json_integer_value(json_object_get(f->config, "num_attention_heads")));
    hf_put_tensors(f, g, arch, n, o);
    hf_write_weights(f, o);
    hf_write_config(f);
    hf_write_tokenizer(f, g, o);
}

static inline void hf_free(hf_folder *f)
{
    for (size_t i = 0; i < f->n; i++)
        free(f->t[i].data);
    free(f->t);
    json_decref(f->config);
}

#endif
