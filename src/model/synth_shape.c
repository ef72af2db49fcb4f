/* synth_shape.c - the shapes that qn_synth knows: their tensors, metadata and a vocabulary of the right size. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "model/synth.h"

struct qn_shape {
    const char *name, *architecture;
    int layers, embd, heads, kv_heads, head, ff, vocab;
    bool tied, qkv_bias, qk_norm;
    double rope_base;
    int ctx;
    int experts, used, ff_expert; /* experts 0: dense */
    int dense;                    /* leading layers without experts */
    bool parallel; /* one norm before attention and ffn; sigmoid router; sliding windows, three of four */
    int window;
};

/* As published, but for north-mini-code: layers, experts, window, tying and vocabulary are; widths and heads are
 * assumed, so that it comes to about 30 billion parameters with three of them active. */
static const qn_shape shapes[] = {
    {"qwen2.5-coder-0.5b", "qwen2", 24, 896, 14, 2, 64, 4864, 151936, .tied = true, .qkv_bias = true, .rope_base = 1e6,
     .ctx = 32768},
    {"qwen2.5-coder-1.5b", "qwen2", 28, 1536, 12, 2, 128, 8960, 151936, .tied = true, .qkv_bias = true,
     .rope_base = 1e6, .ctx = 32768},
    {"qwen2.5-coder-7b", "qwen2", 28, 3584, 28, 4, 128, 18944, 152064, .qkv_bias = true, .rope_base = 1e6,
     .ctx = 32768},
    {"qwen3-4b", "qwen3", 36, 2560, 32, 8, 128, 9728, 151936, .tied = true, .qk_norm = true, .rope_base = 1e6,
     .ctx = 32768},
    {"llama-3.1-8b", "llama", 32, 4096, 32, 8, 128, 14336, 128256, .rope_base = 5e5, .ctx = 131072},
    {"qwen3-coder-30b-a3b", "qwen3moe", 48, 2048, 32, 4, 128, 5472, 151936, .qk_norm = true, .rope_base = 1e7,
     .ctx = 262144, .experts = 128, .used = 8, .ff_expert = 768},
    {"north-mini-code", "cohere2moe", 49, 2048, 32, 4, 128, 6144, 262144, .tied = true, .rope_base = 5e4, .ctx = 131072,
     .experts = 128, .used = 8, .ff_expert = 768, .dense = 1, .parallel = true, .window = 4096},
    {"tiny", "qwen2", 2, 256, 4, 2, 64, 512, 512, .tied = true, .qkv_bias = true, .rope_base = 1e4, .ctx = 2048},
    {"tiny-qwen3moe", "qwen3moe", 2, 256, 4, 2, 64, 512, 512, .qk_norm = true, .rope_base = 1e4, .ctx = 2048,
     .experts = 8, .used = 2, .ff_expert = 256},
    {"tiny-cohere2moe", "cohere2moe", 5, 256, 4, 2, 64, 512, 512, .tied = true, .rope_base = 1e4, .ctx = 2048,
     .experts = 8, .used = 2, .ff_expert = 256, .dense = 1, .parallel = true, .window = 64},
};

enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

const char *qn_synth_shape(size_t i)
{
    return i < N_SHAPES ? shapes[i].name : NULL;
}

const qn_shape *qn__shape_find(const char *name)
{
    for (size_t i = 0; i < N_SHAPES; i++)
        if (strcasecmp(shapes[i].name, name) == 0)
            return &shapes[i];
    return NULL;
}

int qn__shape_layers(const qn_shape *s)
{
    return s->layers;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

typedef struct builder {
    qn_arena *arena;
    qn_synth_tensor *t; /* NULL: only counting */
    size_t n;
    bool failed;
} builder;

static void add(builder *b, int layer, const char *what, const char *suffix, uint64_t k, uint64_t rows, uint64_t count,
                float constant)
{
    size_t i = b->n++;
    if (!b->t || b->failed)
        return;
    char name[64];
    int len = layer >= 0 ? snprintf(name, sizeof name, "blk.%d.%s.%s", layer, what, suffix)
                         : snprintf(name, sizeof name, "%s.%s", what, suffix);
    char *copy = qn__arena_strndup(b->arena, name, (size_t)len);
    b->failed = !copy;
    b->t[i] = (qn_synth_tensor){.t = {.name = {copy, (size_t)len},
                                      .type = QN_F32,
                                      .n_dims = count > 1 ? 3
                                                : rows    ? 2
                                                          : 1,
                                      .dims = {k, rows ? rows : 1, count, 1}},
                                .constant = constant};
}

static void vector(builder *b, int layer, const char *what, const char *suffix, int n, float constant)
{
    add(b, layer, what, suffix, (uint64_t)n, 0, 1, constant);
}

static void matrix(builder *b, int layer, const char *what, int k, int rows, int count)
{
    add(b, layer, what, "weight", (uint64_t)k, (uint64_t)rows, (uint64_t)count, 0);
}

static void add_layer(builder *b, const qn_shape *s, int i)
{
    int q = s->heads * s->head, kv = s->kv_heads * s->head, n = s->experts;
    vector(b, i, "attn_norm", "weight", s->embd, 1);
    if (!s->parallel)
        vector(b, i, "ffn_norm", "weight", s->embd, 1);
    matrix(b, i, "attn_q", s->embd, q, 1);
    matrix(b, i, "attn_k", s->embd, kv, 1);
    matrix(b, i, "attn_v", s->embd, kv, 1);
    matrix(b, i, "attn_output", q, s->embd, 1);
    if (s->qkv_bias) {
        vector(b, i, "attn_q", "bias", q, 0.1f);
        vector(b, i, "attn_k", "bias", kv, 0.1f);
        vector(b, i, "attn_v", "bias", kv, 0.1f);
    }
    if (s->qk_norm) {
        vector(b, i, "attn_q_norm", "weight", s->head, 1);
        vector(b, i, "attn_k_norm", "weight", s->head, 1);
    }
    if (n == 0 || i < s->dense) {
        matrix(b, i, "ffn_gate", s->embd, s->ff, 1);
        matrix(b, i, "ffn_up", s->embd, s->ff, 1);
        matrix(b, i, "ffn_down", s->ff, s->embd, 1);
    } else {
        matrix(b, i, "ffn_gate_inp", s->embd, n, 1);
        matrix(b, i, "ffn_gate_exps", s->embd, s->ff_expert, n);
        matrix(b, i, "ffn_up_exps", s->embd, s->ff_expert, n);
        matrix(b, i, "ffn_down_exps", s->ff_expert, s->embd, n);
    }
}

static void add_all(builder *b, const qn_shape *s, int n_layers)
{
    b->n = 0;
    matrix(b, -1, "token_embd", s->embd, s->vocab, 1);
    vector(b, -1, "output_norm", "weight", s->embd, 1);
    if (!s->tied)
        matrix(b, -1, "output", s->embd, s->vocab, 1);
    for (int i = 0; i < n_layers; i++)
        add_layer(b, s, i);
}

qn_planned *qn__shape_plan(const qn_shape *s, const qn_mixture *m, int n_layers, qn_arena *arena, size_t *n)
{
    builder b = {.arena = arena};
    add_all(&b, s, n_layers);
    b.t = qn__arena_alloc(arena, b.n * sizeof *b.t);
    qn_planned *plan = qn__arena_alloc(arena, b.n * sizeof *plan);
    if (!b.t || !plan)
        return NULL;
    add_all(&b, s, n_layers);
    if (b.failed)
        return NULL;
    for (size_t i = 0; i < b.n; i++)
        plan[i] = (qn_planned){.tensor = &b.t[i].t};
    const qn_mixture_model model = {
        .layers = n_layers, .experts = s->experts, .shared = s->heads / s->kv_heads, .tied = s->tied};
    qn__mixture_assign(m, &model, plan, b.n);
    *n = b.n;
    return plan;
}

/* ---- metadata ---------------------------------------------------------------------------------------------------- */

static void put_numbers(qn_gguf_writer *w, const qn_shape *s, int n_layers)
{
    char key[80];
#define KEY(suffix) ((void)snprintf(key, sizeof key, "%s.%s", s->architecture, suffix), key)
#define INT(suffix, v) qn__gguf_put_int(w, KEY(suffix), QN_GGUF_U32, v)
    INT("block_count", n_layers);
    INT("context_length", s->ctx);
    INT("embedding_length", s->embd);
    INT("feed_forward_length", s->ff);
    INT("attention.head_count", s->heads);
    INT("attention.head_count_kv", s->kv_heads);
    INT("attention.key_length", s->head);
    INT("attention.value_length", s->head);
    INT("rope.dimension_count", s->head);
    INT("vocab_size", s->vocab);
    qn__gguf_put_float(w, KEY("rope.freq_base"), QN_GGUF_F32, s->rope_base);
    qn__gguf_put_float(w, KEY("attention.layer_norm_rms_epsilon"), QN_GGUF_F32, 1e-6);
    if (s->experts > 0) {
        INT("expert_count", s->experts);
        INT("expert_used_count", s->used);
        INT("expert_feed_forward_length", s->ff_expert);
        if (s->dense > 0)
            INT("leading_dense_block_count", s->dense);
    }
    if (s->parallel) {
        INT("expert_gating_func", 2); /* sigmoid */
        qn__gguf_put_bool(w, KEY("expert_weights_norm"), false);
        qn__gguf_put_float(w, KEY("logit_scale"), QN_GGUF_F32, 1);
    }
    if (s->window > 0) { /* after layer 0 three windowed ones, then a full one */
        unsigned char windowed[QN_SYNTH_MAX_LAYERS];
        for (int i = 0; i < n_layers; i++)
            windowed[i] = i % 4 != 0;
        INT("attention.sliding_window", s->window);
        qn__gguf_put_arr(w, KEY("attention.sliding_window_pattern"), QN_GGUF_BOOL, (uint64_t)n_layers, windowed,
                         (size_t)n_layers);
    }
#undef INT
#undef KEY
}

enum { BYTES = 256, CONTROL = 3 };

/* A byte-level vocabulary that reads any text: 256 bytes, one pair with the one merge that makes it (other engines
 * refuse a file without merges), words that no merge makes, an end token. */
static bool put_vocabulary(qn_gguf_writer *w, const qn_shape *s)
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
        bool plain = (i >= 33 && i <= 126) || (i >= 161 && i <= 172) || (i >= 174 && i <= 255), end = i + 1 == n;
        if (i < BYTES)
            len = qn__utf8_encode(plain ? (int32_t)i : 256 + shifted++, text);
        else
            len = (size_t)(end          ? snprintf(text, sizeof text, "<|end|>")
                           : i == BYTES ? snprintf(text, sizeof text, "!!")
                                        : snprintf(text, sizeof text, "word%zu", i));
        char *copy = qn__arena_strndup(&arena, text, len);
        ok = copy != NULL;
        tokens[i] = (qn_slice){copy, len};
        types[i] = end ? CONTROL : 1;
    }
    if (ok) {
        qn_slice merge = {"! !", 3};
        qn__gguf_put_str(w, "tokenizer.ggml.model", "gpt2", 4);
        qn__gguf_put_str(w, "tokenizer.ggml.pre", "qwen2", 5);
        qn__gguf_put_strs(w, "tokenizer.ggml.tokens", tokens, n);
        qn__gguf_put_arr(w, "tokenizer.ggml.token_type", QN_GGUF_I32, n, types, n * sizeof *types);
        qn__gguf_put_strs(w, "tokenizer.ggml.merges", &merge, 1);
        qn__gguf_put_int(w, "tokenizer.ggml.eos_token_id", QN_GGUF_U32, s->vocab - 1);
        qn__gguf_put_bool(w, "tokenizer.ggml.add_bos_token", false);
    }
    qn__arena_free(&arena);
    return ok;
}

bool qn__shape_metadata(const qn_shape *s, const qn_mixture *m, int n_layers, qn_gguf_writer *w)
{
    qn__gguf_put_str(w, "general.architecture", s->architecture, strlen(s->architecture));
    qn__gguf_put_str(w, "general.name", s->name, strlen(s->name));
    qn__gguf_put_str(w, "general.type", "model", 5);
    qn__gguf_put_int(w, "general.file_type", QN_GGUF_U32, qn__mixture_file_type(m));
    qn__gguf_put_int(w, "general.quantization_version", QN_GGUF_U32, 2);
    put_numbers(w, s, n_layers);
    return put_vocabulary(w, s);
}
