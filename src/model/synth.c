/* synth.c - random-weight model files of real shapes, for measuring speed and memory without a download: qn_synth of
 * quern.h. A block is random bytes with its scales set so that the weights have a standard deviation near
 * 0.02; nothing is quantised, so a 4 GB file is written at the disk's speed. */
#include "quern.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "formats/gguf.h"
#include "kernels/f16.h"

typedef struct shape {
    const char *name, *architecture;
    int layers, embd, heads, kv_heads, head, ff, vocab;
    bool tied, qkv_bias, qk_norm;
    double rope_base;
    int ctx;
} shape;

static const shape shapes[] = {
    {"qwen2.5-coder-0.5b", "qwen2", 24, 896, 14, 2, 64, 4864, 151936, true, true, false, 1e6, 32768},
    {"qwen2.5-coder-1.5b", "qwen2", 28, 1536, 12, 2, 128, 8960, 151936, true, true, false, 1e6, 32768},
    {"qwen2.5-coder-7b", "qwen2", 28, 3584, 28, 4, 128, 18944, 152064, false, true, false, 1e6, 32768},
    {"qwen3-4b", "qwen3", 36, 2560, 32, 8, 128, 9728, 151936, true, false, true, 1e6, 32768},
    {"llama-3.1-8b", "llama", 32, 4096, 32, 8, 128, 14336, 128256, false, false, false, 5e5, 131072},
    {"tiny", "qwen2", 2, 256, 4, 2, 64, 512, 512, true, true, false, 1e4, 2048},
};

enum { N_SHAPES = sizeof shapes / sizeof shapes[0], CHUNK = 1 << 20 };

const char *qn_synth_shape(size_t i)
{
    return i < N_SHAPES ? shapes[i].name : NULL;
}

/* ---- random blocks ---- */

/* xorshift64*: fast, and the same everywhere. */
static uint64_t next(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 0x2545F4914F6CDD1Du;
}

static void put_half(unsigned char *p, float v)
{
    uint16_t h = qn__f32_to_f16(v);
    memcpy(p, &h, 2);
}

/* Where a block's half-precision scales lie and how large they must be for weights near 0.02. `min_at` < 0: no minimum. */
typedef struct block_form {
    qn_type type;
    int scale_at, min_at;
    float scale, min;
} block_form;

static const block_form forms[] = {
    {QN_Q4_0, 0, -1, 0.0043f, 0}, {QN_Q4_1, 0, 2, 0.0043f, -0.0325f}, {QN_Q5_0, 0, -1, 0.0022f, 0},
    {QN_Q5_1, 0, 2, 0.0022f, -0.0335f}, {QN_Q8_0, 0, -1, 0.00027f, 0}, {QN_Q2_K, 80, 82, 0.0016f, 0.0024f},
    {QN_Q3_K, 108, -1, 0.00045f, 0}, {QN_Q4_K, 0, 2, 0.00012f, 0.0009f}, {QN_Q5_K, 0, 2, 0.00006f, 0.00093f},
    {QN_Q6_K, 208, -1, 0.000015f, 0}, {QN_IQ4_NL, 0, -1, 0.0003f, 0}, {QN_IQ4_XS, 0, -1, 0.00002f, 0},
};

static bool fill(qn_type type, unsigned char *p, size_t blocks, uint64_t *seed)
{
    const qn_type_info *info = qn__type_info(type);
    size_t n = blocks * info->bytes;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t v = next(seed);
        memcpy(p + i, &v, n - i < 8 ? n - i : 8);
    }
    if (type == QN_F32 || type == QN_F16 || type == QN_BF16) {
        for (size_t i = 0; i < blocks; i++) {
            float v = ((float)(next(seed) >> 40) / 16777216.0f - 0.5f) * 0.07f;
            uint32_t bits;
            memcpy(&bits, &v, 4);
            uint16_t top = (uint16_t)(bits >> 16);
            if (type == QN_F32)
                memcpy(p + 4 * i, &v, 4);
            else if (type == QN_BF16)
                memcpy(p + 2 * i, &top, 2);
            else
                put_half(p + 2 * i, v);
        }
        return true;
    }
    for (size_t f = 0; f < sizeof forms / sizeof forms[0]; f++) {
        if (forms[f].type != type)
            continue;
        for (size_t b = 0; b < blocks; b++) {
            unsigned char *block = p + b * info->bytes;
            put_half(block + forms[f].scale_at, forms[f].scale);
            if (forms[f].min_at >= 0)
                put_half(block + forms[f].min_at, forms[f].min);
        }
        return true;
    }
    return false;
}

/* ---- the file ---- */

typedef struct tensor {
    char name[48];
    qn_type type;
    uint64_t dims[2]; /* dims[1] 0: a vector of F32 */
    float constant;   /* of a vector */
} tensor;

typedef struct plan {
    tensor *t;
    size_t n, cap;
    const char *mixture;
    int n_layers;
    bool failed;
} plan;

static qn_type type_by_name(const char *name)
{
    for (uint32_t i = 0; i < QN_TYPE__COUNT; i++) {
        const qn_type_info *info = qn__type_info(i);
        if (info && strcmp(info->name, name) == 0)
            return (qn_type)i;
    }
    return QN_TYPE__COUNT;
}

/* Which layers get more bits in the _M mixtures: the first and last eighth, and every third between. */
static bool more_bits(int layer, int n)
{
    return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
}

/* The type of a matrix. Rows that are not whole 256-blocks fall back to a 32-block type of about the same size, as in the
 * ecosystem's files. */
static qn_type choose(const plan *p, const char *what, int layer, uint64_t k)
{
    qn_type t = type_by_name(p->mixture);
    if (strcmp(p->mixture, "Q4_K_M") == 0) {
        bool sensitive = strcmp(what, "attn_v") == 0 || strcmp(what, "ffn_down") == 0;
        bool head = strcmp(what, "token_embd") == 0 || strcmp(what, "output") == 0;
        t = head || (sensitive && more_bits(layer, p->n_layers)) ? QN_Q6_K : QN_Q4_K;
    }
    if (t == QN_TYPE__COUNT || k % qn__type_info(t)->block == 0)
        return t;
    switch (t) {
    case QN_Q2_K: case QN_Q3_K: case QN_IQ4_XS: return QN_IQ4_NL;
    case QN_Q4_K: return QN_Q5_0;
    case QN_Q5_K: return QN_Q5_1;
    default: return QN_Q8_0;
    }
}

static void plan_add(plan *p, int layer, const char *what, const char *suffix, uint64_t k, uint64_t rows, float constant)
{
    if (p->failed || !qn__grow((void **)&p->t, &p->cap, p->n + 1, sizeof *p->t)) {
        p->failed = true;
        return;
    }
    tensor *t = &p->t[p->n++];
    *t = (tensor){.type = rows ? choose(p, what, layer, k) : QN_F32, .dims = {k, rows}, .constant = constant};
    if (layer >= 0)
        (void)snprintf(t->name, sizeof t->name, "blk.%d.%s.%s", layer, what, suffix);
    else
        (void)snprintf(t->name, sizeof t->name, "%s.%s", what, suffix);
}

static void plan_model(plan *p, const shape *s)
{
    uint64_t e = (uint64_t)s->embd, q = (uint64_t)(s->heads * s->head), kv = (uint64_t)(s->kv_heads * s->head), ff = (uint64_t)s->ff;
    plan_add(p, -1, "token_embd", "weight", e, (uint64_t)s->vocab, 0);
    plan_add(p, -1, "output_norm", "weight", e, 0, 1);
    if (!s->tied)
        plan_add(p, -1, "output", "weight", e, (uint64_t)s->vocab, 0);
    for (int i = 0; i < p->n_layers; i++) {
        plan_add(p, i, "attn_norm", "weight", e, 0, 1);
        plan_add(p, i, "ffn_norm", "weight", e, 0, 1);
        plan_add(p, i, "attn_q", "weight", e, q, 0);
        plan_add(p, i, "attn_k", "weight", e, kv, 0);
        plan_add(p, i, "attn_v", "weight", e, kv, 0);
        plan_add(p, i, "attn_output", "weight", q, e, 0);
        if (s->qkv_bias) {
            plan_add(p, i, "attn_q", "bias", q, 0, 0.1f);
            plan_add(p, i, "attn_k", "bias", kv, 0, 0.1f);
            plan_add(p, i, "attn_v", "bias", kv, 0, 0.1f);
        }
        if (s->qk_norm) {
            plan_add(p, i, "attn_q_norm", "weight", (uint64_t)s->head, 0, 1);
            plan_add(p, i, "attn_k_norm", "weight", (uint64_t)s->head, 0, 1);
        }
        plan_add(p, i, "ffn_gate", "weight", e, ff, 0);
        plan_add(p, i, "ffn_up", "weight", e, ff, 0);
        plan_add(p, i, "ffn_down", "weight", ff, e, 0);
    }
}

static void put_metadata(qn_gguf_writer *w, const shape *s, const plan *p)
{
    char key[80];
#define KEY(suffix) ((void)snprintf(key, sizeof key, "%s.%s", s->architecture, suffix), key)
    qn__gguf_put_str(w, "general.architecture", s->architecture, strlen(s->architecture));
    qn__gguf_put_str(w, "general.name", s->name, strlen(s->name));
    qn__gguf_put_int(w, "general.file_type", QN_GGUF_U32, strcmp(p->mixture, "Q4_K_M") == 0 ? 15 : strcmp(p->mixture, "Q8_0") == 0 ? 7 : strcmp(p->mixture, "Q6_K") == 0 ? 18 : strcmp(p->mixture, "Q4_0") == 0 ? 2 : 1);
    qn__gguf_put_int(w, "general.quantization_version", QN_GGUF_U32, 2);
    qn__gguf_put_int(w, KEY("block_count"), QN_GGUF_U32, p->n_layers);
    qn__gguf_put_int(w, KEY("context_length"), QN_GGUF_U32, s->ctx);
    qn__gguf_put_int(w, KEY("embedding_length"), QN_GGUF_U32, s->embd);
    qn__gguf_put_int(w, KEY("feed_forward_length"), QN_GGUF_U32, s->ff);
    qn__gguf_put_int(w, KEY("attention.head_count"), QN_GGUF_U32, s->heads);
    qn__gguf_put_int(w, KEY("attention.head_count_kv"), QN_GGUF_U32, s->kv_heads);
    qn__gguf_put_int(w, KEY("attention.key_length"), QN_GGUF_U32, s->head);
    qn__gguf_put_int(w, KEY("attention.value_length"), QN_GGUF_U32, s->head);
    qn__gguf_put_int(w, KEY("rope.dimension_count"), QN_GGUF_U32, s->head);
    qn__gguf_put_float(w, KEY("rope.freq_base"), QN_GGUF_F32, s->rope_base);
    qn__gguf_put_float(w, KEY("attention.layer_norm_rms_epsilon"), QN_GGUF_F32, 1e-6);
#undef KEY
}

/* A byte-level vocabulary that can read any text, a byte a token: 256 bytes, fillers, an end token. */
static bool put_vocabulary(qn_gguf_writer *w, const shape *s)
{
    size_t n = (size_t)s->vocab;
    qn_arena arena;
    qn__arena_init(&arena, 0);
    qn_slice *tokens = qn__arena_alloc(&arena, n * sizeof *tokens);
    int32_t *types = qn__arena_alloc(&arena, n * sizeof *types);
    bool ok = tokens && types;
    int32_t shifted = 0; /* bytes that are not printable stand as U+0100 and up, in order (GPT-2's mapping) */
    for (size_t i = 0; ok && i < n; i++) {
        char text[24];
        size_t len;
        bool plain = (i >= 33 && i <= 126) || (i >= 161 && i <= 172) || (i >= 174 && i <= 255);
        if (i < 256)
            len = qn__utf8_encode(plain ? (int32_t)i : 256 + shifted++, text);
        else
            len = (size_t)snprintf(text, sizeof text, i + 1 == n ? "<|end|>" : "<|filler_%zu|>", i);
        char *copy = qn__arena_strndup(&arena, text, len);
        ok = copy != NULL;
        tokens[i] = (qn_slice){copy, len};
        types[i] = i < 256 ? 1 : 3;
    }
    if (ok) {
        qn_slice merge = {"! !", 3};
        qn__gguf_put_str(w, "tokenizer.ggml.model", "gpt2", 4);
        qn__gguf_put_str(w, "tokenizer.ggml.pre", "qwen2", 5);
        qn__gguf_put_strs(w, "tokenizer.ggml.tokens", tokens, n);
        qn__gguf_put_arr(w, "tokenizer.ggml.token_type", QN_GGUF_I32, n, types, n * sizeof *types);
        qn__gguf_put_strs(w, "tokenizer.ggml.merges", &merge, 0);
        qn__gguf_put_int(w, "tokenizer.ggml.eos_token_id", QN_GGUF_U32, s->vocab - 1);
        qn__gguf_put_bool(w, "tokenizer.ggml.add_bos_token", false);
    }
    qn__arena_free(&arena);
    return ok;
}

static qn_status write_tensor(qn_gguf_writer *w, const tensor *t, unsigned char *chunk, uint64_t *seed, qn_err *err)
{
    if (!t->dims[1]) {
        for (uint64_t i = 0; i < t->dims[0]; i++) {
            qn_status s = qn__gguf_write(w, &t->constant, 4, err);
            if (s != QN_OK)
                return s;
        }
        return QN_OK;
    }
    const qn_type_info *info = qn__type_info(t->type);
    uint64_t blocks = t->dims[0] / info->block * t->dims[1], per = CHUNK / info->bytes;
    while (blocks) {
        size_t n = (size_t)(blocks < per ? blocks : per);
        if (!fill(t->type, chunk, n, seed))
            return qn__fail(err, QN_EINVAL, "mixture", "no random weights can be made for type %s", info->name);
        qn_status s = qn__gguf_write(w, chunk, n * info->bytes, err);
        if (s != QN_OK)
            return s;
        blocks -= n;
    }
    return QN_OK;
}

static qn_status write_file(const shape *s, const plan *p, const char *path,
                            bool (*progress)(void *, uint64_t, uint64_t), void *arg, qn_err *err)
{
    qn_gguf_writer *w;
    unsigned char *chunk = qn__alloc(CHUNK + 8);
    if (!chunk)
        return qn__fail_mem(err, "synth");
    qn_status st = qn__gguf_create(path, &w, err);
    if (st != QN_OK) {
        qn_free(chunk);
        return st;
    }
    put_metadata(w, s, p);
    if (!put_vocabulary(w, s))
        st = qn__fail_mem(err, "synth");
    for (size_t i = 0; i < p->n; i++)
        qn__gguf_put_tensor(w, p->t[i].name, p->t[i].type, p->t[i].dims[1] ? 2 : 1, p->t[i].dims);
    if (st == QN_OK)
        st = qn__gguf_begin_data(w, err);
    uint64_t seed = 0x9E3779B97F4A7C15u;
    for (size_t i = 0; i < p->n && st == QN_OK; i++) {
        st = write_tensor(w, &p->t[i], chunk, &seed, err);
        if (st == QN_OK && progress && !progress(arg, i + 1, p->n))
            st = qn__fail(err, QN_ECANCELLED, path, "cancelled; nothing was left behind");
    }
    qn_free(chunk);
    if (st != QN_OK) {
        qn__gguf_abort(w);
        return st;
    }
    return qn__gguf_commit(w, err);
}

qn_status qn_synth(const char *name, const char *mixture, int n_layers, const char *path,
                    bool (*progress)(void *arg, uint64_t done, uint64_t total), void *arg, qn_err *err)
{
    const shape *s = NULL;
    for (size_t i = 0; i < N_SHAPES; i++)
        if (strcmp(shapes[i].name, name) == 0)
            s = &shapes[i];
    if (!s) {
        char list[300] = "";
        for (size_t i = 0, n = 0; i < N_SHAPES && n < sizeof list - 40; i++)
            n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", shapes[i].name);
        return qn__fail(err, QN_EINVAL, "shape", "\"%s\" is not one of %s", name, list);
    }
    plan p = {.mixture = mixture, .n_layers = n_layers > 0 ? n_layers : s->layers};
    if (strcmp(mixture, "Q4_K_M") != 0 && type_by_name(mixture) == QN_TYPE__COUNT)
        return qn__fail(err, QN_EINVAL, "mixture", "\"%s\" is not Q4_K_M or the name of a type such as Q8_0, Q6_K, Q4_0, F16", mixture);
    plan_model(&p, s);
    qn_status st = p.failed ? qn__fail_mem(err, "synth") : write_file(s, &p, path, progress, arg, err);
    qn_free(p.t);
    return st;
}
