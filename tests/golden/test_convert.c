/* test_convert.c - checkpoint folders in the Hugging Face layout, made from GGUF files, converted back: the same tensors to
 * the byte, the same metadata, and, where this build runs the architecture, the same logits (memcmp). Also what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "hf_folder.h"
#include "quern.h"

static char root[200];
static int folders;

static void fresh(char out[256])
{
    (void)snprintf(out, 256, "%s/tiny-%d", root, folders++);
    assert_int_equal(mkdir(out, 0700), 0);
}

static int make_root(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof root, "%s/quern-convert-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    char command[300];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static qn_gguf *open_model(const char *name)
{
    const char *shared = getenv("SHARED") ? getenv("SHARED") : "../shared";
    char path[512];
    qn_gguf *g = NULL;
    qn_err err;
    (void)snprintf(path, sizeof path, "tests/data/models/%s.gguf", name);
    if (qn__gguf_open(path, &g, &err) == QN_OK)
        return g;
    (void)snprintf(path, sizeof path, "%s/golden/models/%s.gguf", shared, name);
    return qn__gguf_open(path, &g, &err) == QN_OK ? g : NULL;
}

/* ---- comparing ---- */

static bool same_value(const qn_gguf_kv *a, const qn_gguf_kv *b)
{
    if (a->kind == b->kind && a->elem == b->elem && a->n == b->n && a->bytes == b->bytes && !memcmp(a->data, b->data, a->bytes))
        return true;
    return a->kind == QN_GGUF_F32 && b->kind == QN_GGUF_F32 && fabs(qn__gguf_arr_float(a, 0) - qn__gguf_arr_float(b, 0)) <= 2e-7 * fabs(qn__gguf_arr_float(b, 0));
}

/* Counts differences; says them. loose: norms may differ in their last bit (weight - 1 + 1), or tensors be made of factors. */
static bool quiet;

static int compare(const qn_gguf *want, const qn_gguf *got, bool loose)
{
    static const char *const free_keys[] = {"general.name", "general.file_type", "tokenizer.ggml.pre", "tokenizer.ggml.scores"};
    int bad = 0;
    for (size_t i = 0; i < qn__gguf_n_kv(want); i++) {
        const qn_gguf_kv *a = qn__gguf_kv_at(want, i);
        char key[128];
        bool skip_it = false;
        (void)snprintf(key, sizeof key, "%.*s", (int)a->key.n, a->key.p);
        const qn_gguf_kv *b = qn__gguf_kv(got, key);
        for (size_t k = 0; k < (loose ? 4 : 3); k++)
            skip_it |= !strcmp(key, free_keys[k]);
        if (!b || (!skip_it && !same_value(a, b))) {
            if (!quiet)
                print_message("key %s: %s\n", key, b ? "differs" : "is missing");
            bad++;
        }
    }
    if (qn__gguf_n_tensors(want) != qn__gguf_n_tensors(got))
        print_message("%zu tensors instead of %zu\n", qn__gguf_n_tensors(got), qn__gguf_n_tensors(want)), bad++;
    for (size_t i = 0; i < qn__gguf_n_tensors(want); i++) {
        const qn_gguf_tensor *a = qn__gguf_tensor(want, i);
        char name[160];
        (void)snprintf(name, sizeof name, "%.*s", (int)a->name.n, a->name.p);
        const qn_gguf_tensor *b = qn__gguf_find(got, name);
        bool same = b && a->type == b->type && a->n_dims == b->n_dims && !memcmp(a->dims, b->dims, sizeof a->dims);
        if (same && memcmp(a->data, b->data, a->bytes) != 0) {
            same = loose && a->type == QN_F32;
            for (uint64_t k = 0; same && k < a->bytes / 4; k++) {
                float x, y;
                memcpy(&x, a->data + 4 * k, 4);
                memcpy(&y, b->data + 4 * k, 4);
                same = fabsf(x - y) <= 2e-7f * fmaxf(1, fabsf(x));
            }
        }
        if (!same) {
            if (!quiet)
                print_message("tensor %s: %s\n", name, b ? "differs" : "is missing");
            bad++;
        }
    }
    return bad;
}

static float *logits_of(const char *path, int *n)
{
    static const int32_t prompt[] = {1, 168, 191, 294, 474, 112, 456, 14, 450, 484, 458, 503, 362, 102, 489, 151, 180, 144};
    qn_model *m;
    qn_engine *e;
    qn_err err;
    qn_model_info info;
    qn_engine_options o;
    if (qn_model_open(path, QN_OPEN_FULL, &m, &err) != QN_OK)
        return NULL; /* what both files share: an architecture that this build does not run */
    qn_model_get_info(m, &info);
    qn_engine_options_init(&o);
    o.n_threads = 1, o.n_ctx = 64, o.kv = QN_KV_F32;
    assert_int_equal(qn_engine_open(m, &o, &e, &err), QN_OK);
    float *out = calloc((size_t)info.n_vocab * 18, sizeof *out);
    *n = info.n_vocab * 18;
    assert_int_equal(qn_logits(e, prompt, 18, 18, out, &err), QN_OK);
    qn_engine_close(e);
    qn_model_close(m);
    return out;
}

/* 1: compared and equal; 0: this build does not run the architecture */
static int compare_logits(const char *want, const char *got)
{
    int n = 0, m = 0;
    float *a = logits_of(want, &n), *b = logits_of(got, &m);
    int ran = a && b;
    if (ran) {
        assert_int_equal(n, m);
        assert_memory_equal(a, b, (size_t)n * sizeof *a);
    }
    assert_true(!a == !b);
    free(a);
    free(b);
    return ran;
}

/* ---- round trips ---- */

static void convert(const char *dir, const char *out, qn_convert_result *r)
{
    qn_convert_options o;
    qn_err err;
    qn_convert_options_init(&o);
    o.in = dir, o.out = out;
    if (qn_convert(&o, r, &err) != QN_OK)
        fail_msg("%s: %s: %s", dir, err.where, err.what);
}

/* One file there and back. Returns whether logits were compared, -1 when the file is not there. */
static int round_trip(const char *name, const char *hf_arch, hf_options o, bool loose)
{
    qn_gguf *want = open_model(name), *got;
    hf_folder f;
    char dir[256], out[300], arch[64];
    qn_slice a;
    qn_convert_result r;
    if (!want)
        return -1;
    fresh(dir);
    (void)snprintf(out, sizeof out, "%s.gguf", dir);
    assert_int_equal(qn__gguf_str(want, "general.architecture", &a, NULL), QN_OK);
    (void)snprintf(arch, sizeof arch, "%.*s", (int)a.n, a.p);
    hf_make(&f, dir, want, arch, hf_arch, &o);
    convert(dir, out, &r);
    assert_string_equal(r.architecture, arch);
    assert_int_equal(qn__gguf_open(out, &got, NULL), QN_OK);
    assert_int_equal(r.n_tensors, qn__gguf_n_tensors(got));
    int bad = compare(want, got, loose);
    if (bad)
        fail_msg("%s: %d differences", name, bad);
    int ran = loose ? 0 : compare_logits(qn__gguf_name(want), out);
    /* The planted fault: one byte of one tensor. */
    const qn_gguf_tensor *t = qn__gguf_tensor(got, qn__gguf_n_tensors(got) - 1);
    FILE *file = fopen(out, "r+b");
    (void)fseek(file, (long)t->offset, SEEK_SET);
    (void)fputc(t->data[0] ^ 0x40, file);
    (void)fclose(file);
    qn__gguf_close(got);
    assert_int_equal(qn__gguf_open(out, &got, NULL), QN_OK);
    quiet = true;
    assert_true(compare(want, got, loose) > 0);
    quiet = false;
    qn__gguf_close(got);
    qn__gguf_close(want);
    hf_free(&f);
    return ran;
}

static const struct trip {
    const char *file, *hf;
    bool loose;
} trips[] = {
    {"llama", "LlamaForCausalLM", false}, {"llama-gqa", "LlamaForCausalLM", false}, {"llama-headdim", "MistralForCausalLM", false},
    {"llama-mqa-bias", "LlamaForCausalLM", false}, {"llama-tied", "LlamaForCausalLM", false}, {"llama-yarn", "LlamaForCausalLM", false},
    {"llama-ropelinear", "LlamaForCausalLM", false}, {"llama-moe", "MixtralForCausalLM", false}, {"qwen2", "Qwen2ForCausalLM", false},
    {"qwen3", "Qwen3ForCausalLM", false}, {"qwen3moe", "Qwen3MoeForCausalLM", false}, {"cohere2", "Cohere2ForCausalLM", false},
    {"cohere2moe", "Cohere2MoeForCausalLM", false}, {"cohere2moe-shexp", "Cohere2MoeForCausalLM", false},
    {"gemma2", "Gemma2ForCausalLM", true}, {"gemma3", "Gemma3ForCausalLM", true}, {"phi3", "Phi3ForCausalLM", false},
    {"phi3-longrope", "Phi3ForCausalLM", true}, {"starcoder2", "Starcoder2ForCausalLM", false}, {"olmo2", "Olmo2ForCausalLM", false},
    {"olmo3", "Olmo3ForCausalLM", false}, {"granite", "GraniteForCausalLM", false}, {"glm4", "Glm4ForCausalLM", false},
    {"seed-oss", "SeedOssForCausalLM", false}, {"mistral3", "Ministral3ForCausalLM", false}, {"minimax-m2", "MiniMaxM2ForCausalLM", false},
    {"granitemoe", "GraniteMoeForCausalLM", false}, {"granitemoe-shexp", "GraniteMoeSharedForCausalLM", false},
    {"gpt-oss", "GptOssForCausalLM", false}, {"deepseek2-mla", "DeepseekV3ForCausalLM", false},
    {"deepseek2-mla-groups", "DeepseekV3ForCausalLM", false},
};

static void test_round_trips(void **state)
{
    int there = 0, ran = 0;
    (void)state;
    for (size_t i = 0; i < sizeof trips / sizeof *trips; i++) {
        int r = round_trip(trips[i].file, trips[i].hf, (hf_options){0}, trips[i].loose);
        there += r >= 0;
        ran += r > 0;
    }
    print_message("figure: %d of %zu tiny checkpoints converted back to the bytes they were made of, %d run with equal logits\n", there,
                  sizeof trips / sizeof *trips, ran);
    assert_true(there >= 5 && ran >= 2);
}

static void test_sharded(void **state)
{
    (void)state;
    assert_true(round_trip("qwen2", "Qwen2ForCausalLM", (hf_options){.shards = 3}, false) >= 0);
    (void)round_trip("qwen3moe", "Qwen3MoeForCausalLM", (hf_options){.shards = 2}, false);
}

/* The experts of a layer in one tensor, as newer checkpoints have them. */
static void test_packed(void **state)
{
    (void)state;
    if (round_trip("qwen3moe", "Qwen3MoeForCausalLM", (hf_options){.packed = true}, false) < 0) {
        print_message("skipped: no qwen3moe.gguf\n");
        skip();
    }
}

/* A GGUF file of the same model whose layers' matrices are what the FP8 codes of hf_folder.h mean. */
static void write_fp8_twin(const qn_gguf *g, const char *path, uint64_t head, bool permutes)
{
    qn_gguf_writer *w;
    assert_int_equal(qn__gguf_create(path, &w, NULL), QN_OK);
    for (size_t i = 0; i < qn__gguf_n_kv(g); i++)
        qn__gguf_put_kv(w, qn__gguf_kv_at(g, i));
    for (size_t i = 0; i < qn__gguf_n_tensors(g); i++) {
        const qn_gguf_tensor *t = qn__gguf_tensor(g, i);
        char name[160];
        (void)snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        bool fp8 = t->n_dims == 2 && !strncmp(name, "blk.", 4);
        qn__gguf_put_tensor(w, name, fp8 ? QN_BF16 : t->type, t->n_dims, t->dims);
    }
    assert_int_equal(qn__gguf_begin_data(w, NULL), QN_OK);
    for (size_t i = 0; i < qn__gguf_n_tensors(g); i++) {
        const qn_gguf_tensor *t = qn__gguf_tensor(g, i);
        bool fp8 = t->n_dims == 2 && t->name.n > 4 && !memcmp(t->name.p, "blk.", 4);
        bool qk = permutes && (memmem(t->name.p, t->name.n, "attn_q.", 7) || memmem(t->name.p, t->name.n, "attn_k.", 7));
        if (!fp8) {
            assert_int_equal(qn__gguf_write(w, t->data, t->bytes, NULL), QN_OK);
            continue;
        }
        for (uint64_t r = 0; r < t->dims[1]; r++)
            for (uint64_t c = 0; c < t->dims[0]; c++) {
                uint16_t h = qn__f32_to_bf16(hf_fp8_value(qk ? hf_row(r, head) : r, c));
                assert_int_equal(qn__gguf_write(w, &h, 2, NULL), QN_OK);
            }
    }
    assert_int_equal(qn__gguf_commit(w, NULL), QN_OK);
}

static int fp8_trip(const char *name, const char *arch, const char *hf_arch, uint64_t head)
{
    qn_gguf *base = open_model(name), *twin, *got;
    char dir[256], out[300], want[300];
    hf_folder f;
    hf_options o = {.fp8 = true};
    qn_convert_result r;
    if (!base)
        return 0;
    fresh(dir);
    (void)snprintf(out, sizeof out, "%s.gguf", dir);
    (void)snprintf(want, sizeof want, "%s.want.gguf", dir);
    write_fp8_twin(base, want, head, hf_permutes(arch));
    assert_int_equal(qn__gguf_open(want, &twin, NULL), QN_OK);
    hf_make(&f, dir, base, arch, hf_arch, &o);
    convert(dir, out, &r);
    assert_int_equal(qn__gguf_open(out, &got, NULL), QN_OK);
    assert_int_equal(compare(twin, got, strstr(name, "rope") != NULL), 0);
    int ran = compare_logits(want, out);
    qn__gguf_close(got);
    qn__gguf_close(twin);
    qn__gguf_close(base);
    hf_free(&f);
    return ran;
}

static void test_fp8(void **state)
{
    (void)state;
    assert_int_equal(fp8_trip("qwen2", "qwen2", "Qwen2ForCausalLM", 32), 1);
    assert_int_equal(fp8_trip("llama-yarn", "llama", "LlamaForCausalLM", 32), 1);
}

/* ---- tokenizers of real size ---- */

/* A folder of a llama of one layer of zeros around the vocabulary of `g`. */
static void make_around(hf_folder *f, const char *dir, const qn_gguf *g, const hf_options *o)
{
    uint64_t n = qn__gguf_kv(g, "tokenizer.ggml.tokens")->n, embed[2] = {n, 8}, ff[2] = {16, 8}, down[2] = {8, 16};
    static const char *const square[] = {"q", "k", "v", "o"};
    char name[96];
    *f = (hf_folder){.config = json_pack("{s:[s],s:i,s:i,s:i,s:i,s:I,s:i,s:f}", "architectures", "LlamaForCausalLM", "hidden_size", 8, "intermediate_size", 16,
                                         "num_attention_heads", 2, "num_hidden_layers", 1, "vocab_size", (json_int_t)n, "max_position_embeddings", 64, "rms_norm_eps", 1e-5)};
    (void)snprintf(f->dir, sizeof f->dir, "%s", dir);
    hf_add(f, "model.embed_tokens.weight", "F16", 2, 2, embed);
    hf_add(f, "model.norm.weight", "F32", 4, 1, down);
    hf_add(f, "model.layers.0.input_layernorm.weight", "F32", 4, 1, down);
    hf_add(f, "model.layers.0.post_attention_layernorm.weight", "F32", 4, 1, down);
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(name, sizeof name, "model.layers.0.self_attn.%s_proj.weight", square[i]);
        hf_add(f, name, "F16", 2, 2, (uint64_t[]){8, 8});
    }
    hf_add(f, "model.layers.0.mlp.gate_proj.weight", "F16", 2, 2, ff);
    hf_add(f, "model.layers.0.mlp.up_proj.weight", "F16", 2, 2, ff);
    hf_add(f, "model.layers.0.mlp.down_proj.weight", "F16", 2, 2, down);
    hf_write_weights(f, o);
    hf_write_config(f);
    hf_write_tokenizer(f, g, o);
}

/* How many texts both tokenize alike; fails at the first that they do not. */
static int same_ids(const char *want, const char *got, char *texts, bool planted)
{
    static const char cut[] = "\n__ggml_vocab_test__\n";
    qn_model *a, *b;
    qn_err err;
    int n = 0;
    if (qn_model_open(want, QN_OPEN_VOCAB, &a, &err) != QN_OK || qn_model_open(got, QN_OPEN_VOCAB, &b, &err) != QN_OK)
        fail_msg("%s: %s", err.where, err.what);
    for (char *t = texts, *next; t; t = next) {
        char *end = strstr(t, cut);
        next = end ? end + strlen(cut) : NULL;
        size_t size = end ? (size_t)(end - t) : strlen(t), n_a, n_b;
        int32_t *x, *y;
        assert_int_equal(qn_tokenize(a, t, size, true, QN_BOS_NO, &x, &n_a, &err), QN_OK);
        assert_int_equal(qn_tokenize(b, t, planted && size > 3 ? size - 1 : size, true, QN_BOS_NO, &y, &n_b, &err), QN_OK);
        bool same = n_a == n_b && !memcmp(x, y, n_a * sizeof *x);
        qn_free(x);
        qn_free(y);
        if (!same && !planted)
            fail_msg("%s: text %d is cut otherwise", got, n);
        n += same;
    }
    qn_model_close(a);
    qn_model_close(b);
    return n;
}

static int vocab_trip(const char *name, hf_options o)
{
    const char *shared = getenv("SHARED") ? getenv("SHARED") : "../shared";
    char path[512], inp[600], dir[256], out[300], *texts = NULL;
    qn_gguf *g;
    hf_folder f;
    qn_convert_result r;
    size_t n;
    (void)snprintf(path, sizeof path, "%s/golden/tokenizers/ggml-vocab-%s.gguf", shared, name);
    (void)snprintf(inp, sizeof inp, "%s.inp", path);
    if (qn__gguf_open(path, &g, NULL) != QN_OK || qn__read_file(inp, 1 << 20, &texts, &n, NULL) != QN_OK)
        return 0;
    fresh(dir);
    (void)snprintf(out, sizeof out, "%s.gguf", dir);
    make_around(&f, dir, g, &o);
    convert(dir, out, &r);
    int same = same_ids(path, out, texts, false);
    assert_true(same_ids(path, out, texts, true) < same);
    qn_free(texts);
    qn__gguf_close(g);
    hf_free(&f);
    return same;
}

static void test_vocabularies(void **state)
{
    (void)state;
    int n = vocab_trip("llama-spm", (hf_options){.spm_json = true});
    if (!n) {
        print_message("skipped: no vocabularies in the shared data\n");
        skip();
    }
    n += vocab_trip("llama-spm", (hf_options){0}) + vocab_trip("qwen2", (hf_options){0}) + vocab_trip("llama-bpe", (hf_options){0});
    n += vocab_trip("bert-bge", (hf_options){0});
    n += vocab_trip("phi-3", (hf_options){.spm_json = true}) + vocab_trip("starcoder", (hf_options){0});
    print_message("figure: %d texts tokenized alike by vocabularies and what came of them through tokenizer.json and tokenizer.model\n", n);
}

/* ---- unigram ---- */

/* A map of no characters: the size of its trie (0) and one string. */
static const unsigned char no_map[6] = {0, 0, 0, 0, 'a', 0};

static void put_file(const char *dir, const char *name, const void *data, size_t n)
{
    char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    (void)fwrite(data, 1, n, f);
    (void)fclose(f);
}

/* SentencePiece's own file: pieces, a trainer's and a normaliser's description. */
static void unigram_model(const char *dir)
{
    qn_buf all = {0};
    for (int i = 0; i < HF_PIECES; i++) {
        float score = (float)hf_pieces[i].score;
        size_t n = strlen(hf_pieces[i].text);
        hf_varint(&all, 1 << 3 | 2);
        hf_varint(&all, 2 + n + 5 + 2);
        hf_varint(&all, 1 << 3 | 2);
        hf_varint(&all, n);
        qn__buf_put(&all, hf_pieces[i].text, n);
        hf_varint(&all, 2 << 3 | 5);
        qn__buf_put(&all, &score, 4);
        hf_varint(&all, 3 << 3);
        hf_varint(&all, (uint64_t)hf_pieces[i].type);
    }
    qn__buf_put(&all, "\x12\x02\x18\x01", 4); /* model_type: unigram */
    qn__buf_put(&all, "\x1A\x0A\x12\x06", 4); /* normalizer_spec: the map, and the prefix said */
    qn__buf_put(&all, no_map, 6);
    qn__buf_put(&all, "\x18\x01", 2);
    put_file(dir, "tokenizer.model", all.data, all.n);
    qn__buf_free(&all);
}

static void test_unigram(void **state)
{
    /* "he" + "llo" adds up to -4.5, "hello" has -5; two blanks are one; q is nobody's */
    static const int32_t want[] = {0, 4, 5, 4, 10, 3, 2};
    static const char text[] = "hello  he q";
    qn_gguf *g = open_model("qwen2"), *got;
    (void)state;
    for (int way = 0; way < 2; way++) {
        hf_options o = {0};
        hf_folder f;
        char dir[256], out[300], path[400];
        qn_convert_result r;
        qn_model *m;
        qn_err err;
        int32_t *ids;
        size_t n;
        fresh(dir);
        (void)snprintf(out, sizeof out, "%s.gguf", dir);
        make_around(&f, dir, g, &o);
        (void)snprintf(path, sizeof path, "%s/tokenizer.json", dir);
        (void)unlink(path);
        put_file(dir, "tokenizer_config.json", "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"unk_token\":\"<unk>\"}", 58);
        (way ? unigram_model : hf_write_unigram)(dir);
        convert(dir, out, &r);
        assert_int_equal(qn__gguf_open(out, &got, NULL), QN_OK);
        const qn_gguf_kv *map = qn__gguf_kv(got, "tokenizer.ggml.precompiled_charsmap");
        assert_non_null(map);
        assert_int_equal(map->n, sizeof no_map);
        assert_memory_equal(map->data, no_map, sizeof no_map);
        qn__gguf_close(got);
        if (qn_model_open(out, QN_OPEN_VOCAB, &m, &err) != QN_OK)
            fail_msg("%s: %s", err.where, err.what);
        assert_int_equal(qn_tokenize(m, text, sizeof text - 1, false, QN_BOS_AUTO, &ids, &n, &err), QN_OK);
        /* tokenizer.model alone says nothing of a first token */
        assert_int_equal(n, 7 - (size_t)way);
        assert_memory_equal(ids, want + way, n * sizeof *ids);
        qn_free(ids);
        qn_model_close(m);
        hf_free(&f);
    }
    qn__gguf_close(g);
}

/* Layers that guess further tokens are left out, and counted. */
static void test_further_layers(void **state)
{
    (void)state;
    qn_gguf *want = open_model("glm4moe"), *got;
    if (!want) {
        print_message("skipped: no glm4moe.gguf\n");
        skip();
    }
    hf_options o = {0};
    hf_folder f;
    char dir[256], out[300];
    qn_convert_result r;
    size_t further = 0;
    fresh(dir);
    (void)snprintf(out, sizeof out, "%s.gguf", dir);
    hf_make(&f, dir, want, "glm4moe", "Glm4MoeForCausalLM", &o);
    for (size_t i = 0; i < f.n; i++)
        further += strstr(f.t[i].name, "layers.3.") != NULL;
    json_object_set_new(f.config, "num_hidden_layers", json_integer(3));
    json_object_set_new(f.config, "num_nextn_predict_layers", json_integer(1));
    hf_write_config(&f);
    convert(dir, out, &r);
    assert_int_equal(r.n_left_out, further);
    assert_non_null(strstr(r.left_out, "layers.3."));
    assert_int_equal(qn__gguf_open(out, &got, NULL), QN_OK);
    further = 0;
    for (size_t i = 0; i < qn__gguf_n_tensors(want); i++)
        further += !strncmp(qn__gguf_tensor(want, i)->name.p, "blk.3.", 6);
    assert_int_equal(qn__gguf_n_tensors(got) + further, qn__gguf_n_tensors(want));
    for (size_t i = 0; i < qn__gguf_n_tensors(got); i++) {
        const qn_gguf_tensor *b = qn__gguf_tensor(got, i);
        char name[160];
        (void)snprintf(name, sizeof name, "%.*s", (int)b->name.n, b->name.p);
        const qn_gguf_tensor *a = qn__gguf_find(want, name);
        assert_non_null(a);
        assert_int_equal(a->type, b->type);
        assert_memory_equal(a->data, b->data, a->bytes);
    }
    qn__gguf_close(got);
    qn__gguf_close(want);
    hf_free(&f);
}

/* Llama 3.1's rope: factor 8 over 8192, base 500000, heads of 32. By the paper's formula: the first waves are shorter than
 * 8192 / 4 and keep 1, the last are longer than 8192 and get 8; between them, 1 / ((1 - s) / 8 + s). */
static void test_llama3_rope(void **state)
{
    (void)state;
    qn_gguf *g = open_model("llama-yarn"), *got;
    hf_options o = {0};
    hf_folder f;
    char dir[256], out[300];
    qn_convert_result r;
    fresh(dir);
    (void)snprintf(out, sizeof out, "%s.gguf", dir);
    hf_make(&f, dir, g, "llama", "LlamaForCausalLM", &o);
    json_object_set_new(f.config, "rope_theta", json_real(500000));
    json_object_set_new(f.config, "rope_scaling", json_pack("{s:s,s:f,s:f,s:f,s:i}", "rope_type", "llama3", "factor", 8.0, "low_freq_factor", 1.0,
                                                            "high_freq_factor", 4.0, "original_max_position_embeddings", 8192));
    hf_write_config(&f);
    convert(dir, out, &r);
    assert_int_equal(qn__gguf_open(out, &got, NULL), QN_OK);
    const qn_gguf_tensor *t = qn__gguf_find(got, "rope_freqs.weight");
    assert_non_null(t);
    assert_int_equal(t->dims[0], 16);
    for (int i = 0; i < 16; i++) {
        float v;
        double wave = 6.283185307179586 * pow(500000, i / 16.0), s = (8192 / wave - 1) / 3;
        memcpy(&v, t->data + 4 * i, 4);
        double want = s >= 1 ? 1 : s <= 0 ? 8 : 1 / ((1 - s) / 8 + s);
        assert_true(fabs((double)v - want) < 1e-6 * want);
    }
    qn__gguf_close(got);
    qn__gguf_close(g);
    hf_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_sharded),
        cmocka_unit_test(test_packed),
        cmocka_unit_test(test_fp8),
        cmocka_unit_test(test_vocabularies),
        cmocka_unit_test(test_unigram),
        cmocka_unit_test(test_further_layers),
        cmocka_unit_test(test_llama3_rope),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
