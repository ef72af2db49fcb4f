/* test_convert_hostile.c - checkpoints that contradict themselves, are not complete or mean harm: one sentence each, and no
 * file is left; and the conversion with every allocation failing in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "../golden/hf_folder.h"
#include "base/mem.h"
#include "quern.h"

static char dir[256], out[300];
static hf_folder folder;
static qn_gguf *model;

static int setup(void **state)
{
    hf_options o = {0};
    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/quern-hostile-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(dir) || qn__gguf_open("tests/data/models/qwen2.gguf", &model, NULL) != QN_OK)
        return -1;
    (void)snprintf(out, sizeof out, "%s/out.gguf", dir);
    hf_make(&folder, dir, model, "qwen2", "Qwen2ForCausalLM", &o);
    return 0;
}

static int teardown(void **state)
{
    char command[300];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    hf_free(&folder);
    qn__gguf_close(model);
    return system(command);
}

static void put_file(const char *name, const char *text)
{
    char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    (void)fputs(text, f);
    (void)fclose(f);
}

static void remove_file(const char *name)
{
    char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    (void)unlink(path);
}

static qn_status convert_to(qn_convert_type type, const char *pre, qn_err *err)
{
    qn_convert_options o;
    qn_convert_options_init(&o);
    o.in = dir, o.out = out, o.type = type, o.pre = pre;
    *err = (qn_err){0};
    return qn_convert(&o, NULL, err);
}

/* Nothing but the input lies in the folder. */
static bool nothing_left(void)
{
    char command[400];
    (void)snprintf(command, sizeof command, "test -z \"$(ls '%s' | grep out.gguf)\"", dir);
    return system(command) == 0;
}

static void refused(const char *where, const char *what)
{
    qn_err err;
    qn_status s = convert_to(QN_CONVERT_AUTO, NULL, &err);
    if (s == QN_OK || !strstr(err.where, where) || !strstr(err.what, what))
        fail_msg("wanted \"%s: ...%s\", got %d: \"%s: %s\"", where, what, s, err.where, err.what);
    assert_true(nothing_left());
}

static void accepted(void)
{
    qn_err err;
    if (convert_to(QN_CONVERT_AUTO, NULL, &err) != QN_OK)
        fail_msg("%s: %s", err.where, err.what);
    assert_int_equal(unlink(out), 0);
}

/* Change a key of config.json (NULL: take it out), expect the refusal, change it back. */
static void with_key(const char *key, const char *json, const char *where, const char *what)
{
    json_t *old = json_incref(json_object_get(folder.config, key));
    if (json)
        json_object_set_new(folder.config, key, json_loads(json, JSON_DECODE_ANY, NULL));
    else
        json_object_del(folder.config, key);
    hf_write_config(&folder);
    refused(where, what);
    json_object_del(folder.config, key);
    if (old)
        json_object_set_new(folder.config, key, old);
    hf_write_config(&folder);
}

static void test_config(void **state)
{
    (void)state;
    accepted();
    with_key("hidden_size", NULL, "config.json: hidden_size", "missing");
    with_key("hidden_size", "64.5", "config.json: hidden_size", "not a whole number");
    with_key("hidden_size", "\"64\"", "config.json: hidden_size", "not a whole number");
    with_key("hidden_size", "96", "tensor model.embed_tokens.weight", "its shape is [512, 64], but by config.json it is [512, 96]");
    with_key("vocab_size", "511", "tensor model.embed_tokens.weight", "[511, 64]");
    with_key("num_attention_heads", "0", "config.json: num_attention_heads", "must be in");
    with_key("num_key_value_heads", "3", "config.json: num_key_value_heads", "does not divide");
    with_key("num_hidden_layers", "4", "tensor layers.3.input_layernorm.weight", "is missing");
    with_key("num_hidden_layers", "2", "tensor model.layers.2.", "has no place");
    with_key("num_hidden_layers", "100000000", "config.json: num_hidden_layers", "must be in");
    with_key("intermediate_size", "127", "tensor model.layers.0.mlp.gate_proj.weight", "[127, 64]");
    with_key("rms_norm_eps", NULL, "config.json: rms_norm_eps", "missing");
    with_key("rms_norm_eps", "-1", "config.json: rms_norm_eps", "must be in");
    with_key("max_position_embeddings", NULL, "config.json: max_position_embeddings", "missing");
    with_key("architectures", "[\"NoSuchForCausalLM\"]", "config.json: architectures", "NoSuchForCausalLM is not known");
    with_key("architectures", "[\"NoSuchForCausalLM\"]", "config.json: architectures", "qwen3moe");
    with_key("architectures", "7", "config.json: architectures", "is missing or not a list");
    with_key("architectures", "[\"Qwen3MoeForCausalLM\"]", "config.json: num_experts", "missing");
    with_key("use_sliding_window", "true", "config.json: use_sliding_window", "no place");
    with_key("hidden_act", "\"gelu\"", "config.json: hidden_act", "computes silu");
    with_key("rope_scaling", "{\"rope_type\":\"dynamic\",\"factor\":2}", "rope_type", "\"dynamic\" is not one of");
    with_key("rope_scaling", "{\"rope_type\":\"linear\"}", "config.json: rope_scaling.factor", "missing");
    with_key("rope_scaling", "[]", "config.json: rope_scaling", "not an object");
    with_key("tie_word_embeddings", "false", "tensor lm_head.weight", "is missing");
    with_key("quantization_config", "{\"quant_method\":\"gptq\"}", "quantization_config", "gptq");
    put_file("config.json", "{\"hidden_size\": NaN}");
    refused("config.json: line 1", "not JSON");
    put_file("config.json", "{\"a\":1,\"a\":2}");
    refused("config.json: line 1", "not JSON");
    put_file("config.json", "[]");
    refused("config.json", "not a JSON object");
    char deep[6001];
    memset(deep, '[', 6000);
    deep[6000] = 0;
    put_file("config.json", deep);
    refused("config.json: line 1", "not JSON");
    remove_file("config.json");
    refused("config.json", "cannot open");
    hf_write_config(&folder);
    accepted();
}

/* Rewrite the weights with one tensor changed by `change`, expect the refusal, write them back. */
static void with_tensor(const char *name, void (*change)(hf_tensor *), const char *where, const char *what)
{
    hf_options o = {0};
    for (size_t i = 0; i < folder.n; i++)
        if (!strcmp(folder.t[i].name, name)) {
            hf_tensor old = folder.t[i];
            change(&folder.t[i]);
            hf_write_weights(&folder, &o);
            refused(where, what);
            folder.t[i] = old;
            hf_write_weights(&folder, &o);
            return;
        }
    fail_msg("no tensor %s", name);
}

static void renamed(hf_tensor *t)
{
    (void)strcpy(t->name, "model.layers.0.self_attn.secret.weight");
}
static void as_fp8(hf_tensor *t)
{
    t->dtype = "F8_E4M3";
    t->dims[1] *= 2;
}
static void as_int(hf_tensor *t)
{
    t->dtype = "I16";
}
static void transposed(hf_tensor *t)
{
    uint64_t d = t->dims[0];
    t->dims[0] = t->dims[1];
    t->dims[1] = d;
}
static void alias(hf_tensor *t)
{
    (void)strcpy(t->name, "norm.weight");
}
static void surplus(hf_tensor *t)
{
    (void)strcpy(t->name, "model.layers.1.self_attn.rotary_emb.inv_freqs");
}

static void test_tensors(void **state)
{
    (void)state;
    with_tensor("model.layers.0.self_attn.k_proj.weight", renamed, "tensor layers.0.self_attn.k_proj.weight", "is missing");
    with_tensor("model.layers.0.mlp.up_proj.weight", transposed, "tensor model.layers.0.mlp.up_proj.weight", "[64, 128], but by config.json it is [128, 64]");
    with_tensor("model.layers.0.mlp.up_proj.weight", as_fp8, "layers.0.mlp.up_proj.weight", "_scale_inv");
    with_tensor("model.layers.0.mlp.up_proj.weight", as_int, "tensor model.layers.0.mlp.up_proj.weight", "dtype I16");
    with_tensor("model.layers.0.self_attn.q_proj.bias", surplus, "tensor model.layers.1.self_attn.rotary_emb.inv_freqs", "no place");
    with_tensor("model.layers.0.input_layernorm.weight", alias, "norm.weight", "there twice");
    accepted();
}

static void test_shards(void **state)
{
    static const char *const names[] = {"../x.safetensors", "/etc/x.safetensors", ".x.safetensors", "a/b.safetensors", "x.bin", "", "a\\\\b.safetensors"};
    hf_options o = {.shards = 2};
    char path[400];
    (void)state;
    hf_write_weights(&folder, &o);
    accepted();
    remove_file("model-00002-of-00002.safetensors");
    refused("model-00002-of-00002.safetensors", "cannot open");
    hf_write_weights(&folder, &o);
    (void)snprintf(path, sizeof path, "%s/model-00002-of-00002.safetensors", dir);
    assert_int_equal(truncate(path, 5000), 0);
    refused("model-00002-of-00002.safetensors", "");
    hf_write_weights(&folder, &o);
    put_file("model-00002-of-00002.safetensors", "\2\0\0\0\0\0\0");
    refused("model-00002-of-00002.safetensors", "");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[200];
        (void)snprintf(text, sizeof text, "{\"weight_map\":{\"model.norm.weight\":\"%s\"}}", names[i]);
        put_file("model.safetensors.index.json", text);
        refused("model.safetensors.index.json", "not a plain .safetensors name");
    }
    put_file("model.safetensors.index.json", "{\"weight_map\":{\"model.norm.weight\":7}}");
    refused("model.safetensors.index.json", "not a plain");
    put_file("model.safetensors.index.json", "{\"weight_map\":{\"nothing\":\"model-00001-of-00002.safetensors\"}}");
    refused("model-00001-of-00002.safetensors", "nothing, which model.safetensors.index.json promises");
    put_file("model.safetensors.index.json", "{\"weight_map\":{}}");
    refused("model.safetensors.index.json", "missing or empty");
    remove_file("model.safetensors.index.json");
    accepted(); /* the unsharded file is still there */
}

static void test_tokenizers(void **state)
{
    qn_err err;
    (void)state;
    put_file("tokenizer.json", "{\"model\":{\"type\":\"WordLevel\",\"vocab\":{}}}");
    refused("tokenizer.json: model", "WordLevel");
    put_file("tokenizer.json", "{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}");
    refused("tokenizer.json: normalizer", "WordPiece");
    put_file("tokenizer.json", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":512},\"merges\":[]},\"decoder\":{\"type\":\"ByteLevel\"}}");
    refused("tokenizer.json", "\"a\" has id 512, but the embedding has 512 rows");
    put_file("tokenizer.json", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1,\"b\":1},\"merges\":[]},\"decoder\":{\"type\":\"ByteLevel\"}}");
    refused("tokenizer.json", "which another one has already");
    put_file("tokenizer.json", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]},\"decoder\":{\"type\":\"ByteLevel\"}}");
    refused("tokenizer.json", "has id -1");
    put_file("tokenizer.json", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1},\"merges\":[\"ab\"]},\"decoder\":{\"type\":\"ByteLevel\"}}");
    refused("tokenizer.json", "not two texts");
    put_file("tokenizer.json", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1},\"merges\":[]},\"decoder\":{\"type\":\"ByteLevel\"},"
                               "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[aeiou]+\"}}}");
    refused("tokenizer.json: pre_tokenizer", "[aeiou]+");
    assert_int_equal(convert_to(QN_CONVERT_AUTO, "gpt-2", &err), QN_OK); /* the way out that the sentence names */
    assert_int_equal(unlink(out), 0);
    remove_file("tokenizer.json");
    refused(dir, "neither tokenizer.json nor tokenizer.model");
    put_file("tokenizer.model", "\x0a\x7f");
    refused("tokenizer.model", "not complete");
    remove_file("tokenizer.model");
    hf_write_tokenizer(&folder, model, &(hf_options){0});
    put_file("tokenizer_config.json", "{\"chat_template\":[{\"name\":\"default\",\"template\":\"D\"},{\"name\":\"tool_use\",\"template\":\"T\"}]}");
    assert_int_equal(convert_to(QN_CONVERT_AUTO, NULL, &err), QN_OK);
    qn_gguf *g;
    qn_slice s;
    assert_int_equal(qn__gguf_open(out, &g, NULL), QN_OK);
    assert_int_equal(qn__gguf_str(g, "tokenizer.chat_template.tool_use", &s, NULL), QN_OK);
    assert_memory_equal(s.p, "T", 1);
    assert_int_equal(qn__gguf_str(g, "tokenizer.chat_template", &s, NULL), QN_OK);
    assert_memory_equal(s.p, "D", 1);
    qn__gguf_close(g);
    assert_int_equal(unlink(out), 0);
    put_file("chat_template.jinja", "J\xC3");
    refused("chat_template.jinja", "not UTF-8");
    remove_file("chat_template.jinja");
    hf_write_tokenizer(&folder, model, &(hf_options){0});
}

static bool stop(void *arg, uint64_t done, uint64_t total, const char *tensor)
{
    assert_true(done <= total && tensor[0]);
    return ++*(int *)arg < 5;
}

static void test_cancelled(void **state)
{
    qn_convert_options o;
    qn_err err;
    int calls = 0;
    (void)state;
    (void)unlink(out);
    qn_convert_options_init(&o);
    o.in = dir, o.out = out, o.progress = stop, o.arg = &calls;
    assert_int_equal(qn_convert(&o, NULL, &err), QN_ECANCELLED);
    assert_int_equal(calls, 5);
    assert_true(nothing_left());
}

static void test_types(void **state)
{
    static const struct { qn_convert_type as; qn_type type; } types[] = {{QN_CONVERT_F32, QN_F32}, {QN_CONVERT_F16, QN_F16}, {QN_CONVERT_BF16, QN_BF16}, {QN_CONVERT_Q8_0, QN_Q8_0}};
    qn_err err;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        qn_gguf *g;
        assert_int_equal(convert_to(types[i].as, NULL, &err), QN_OK);
        assert_int_equal(qn__gguf_open(out, &g, NULL), QN_OK);
        assert_int_equal(qn__gguf_find(g, "blk.1.ffn_up.weight")->type, types[i].type);
        assert_int_equal(qn__gguf_find(g, "blk.1.attn_norm.weight")->type, QN_F32);
        if (types[i].type == QN_F32) { /* widened exactly */
            const qn_gguf_tensor *a = qn__gguf_find(g, "blk.1.ffn_up.weight"), *b = qn__gguf_find(model, "blk.1.ffn_up.weight");
            for (size_t k = 0; k < a->bytes / 4; k++) {
                uint32_t w;
                memcpy(&w, a->data + 4 * k, 4);
                assert_int_equal(w >> 16, b->data[2 * k] | b->data[2 * k + 1] << 8);
                assert_int_equal(w & 0xFFFF, 0);
            }
        }
        qn__gguf_close(g);
        assert_int_equal(unlink(out), 0);
    }
}

static void test_memory(void **state)
{
    qn_err err;
    int failed = 0;
    (void)state;
    for (uint64_t n = 1;; n++) {
        qn__alloc_fail_at(n);
        qn_status s = convert_to(QN_CONVERT_AUTO, NULL, &err);
        qn__alloc_fail_at(0);
        if (s == QN_OK && n > 40)
            break;
        assert_int_equal(s, QN_ENOMEM);
        failed++;
        assert_true(n % 16 || nothing_left());
    }
    assert_true(failed > 40);
    assert_int_equal(unlink(out), 0);
    print_message("figure: conversion refused cleanly at each of %d failing allocations\n", failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config), cmocka_unit_test(test_tensors),   cmocka_unit_test(test_shards), cmocka_unit_test(test_tokenizers),
        cmocka_unit_test(test_cancelled), cmocka_unit_test(test_types), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
