/* test_gemma4.c - Gemma 4 against its published modelling code, written out here in doubles and under the checkpoint's names:
 * there is no golden file of it. Four tiny models (gemma4_model.h) run here and there, as a file and as a checkpoint folder
 * converted to one; then one number after the other of the definition is misread, each of which must show. And files and
 * folders that contradict themselves are refused with a sentence.
 *
 * The oracle shares nothing with the decoder: plain loops over plain arrays, a whole prompt at a time. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/decoder.h"
#include "text/tokenizer.h"

#include "gemma4_model.h"
#include "hf_folder.h"
#include "quern.h"

enum { N = 21, QMAX = G4_HEADS * G4_DF, FFMAX = 2 * G4_FF };

/* What is misread. */
typedef enum fault {
    NOTHING, WINDOW, TURNED, SPREAD, BASE, BASE_WINDOW, EPSILON, CAP, ATTENTION_SCALE, VALUE_NORM, EMBED_SCALE, SCALAR,
    LENDER, KEYS, PLE_HALF, PLE_SCALE, PLE_MODEL_SCALE, ROUTER_ROOT, ROUTER_SCALE, GAIN, RENORM, EXPERT_INPUT, FAULTS
} fault;
static const char *const fault_names[FAULTS] = {
    "nothing", "window", "turned pairs", "spread of frequencies", "base", "window's base", "epsilon", "cap", "attention scale",
    "value norm", "embedding scale", "layer scalar", "lender", "keys as values", "half of embeddings", "embedding table's scale",
    "projection's scale", "router's root", "router's scale", "experts' gain", "router's normalisation", "experts' input"};

typedef double stream[N][G4_E];
/* Of a layer, kept for those that read them. */
static double keys[G4_LAYERS][N][QMAX], values[G4_LAYERS][N][QMAX];
static double layer_inputs[N][G4_LAYERS][G4_PLE];

static const float *get(int layer, const char *name)
{
    const g4_tensor *t = g4_find(layer, name);
    if (!t)
        fail_msg("no %s in layer %d", name, layer);
    return t->v;
}

static void matvec(const float *w, const double *x, double *y, int k, int rows)
{
    for (int r = 0; r < rows; r++) {
        y[r] = 0;
        for (int i = 0; i < k; i++)
            y[r] += (double)w[r * k + i] * x[i];
    }
}

static void norm(const double *x, const float *w, double *y, int n, fault f)
{
    double sq = 0;
    for (int i = 0; i < n; i++)
        sq += x[i] * x[i] / n;
    for (int i = 0; i < n; i++)
        y[i] = x[i] / sqrt(sq + (f == EPSILON ? 0.1 : 1) * G4_EPS) * (w ? (double)w[i] : 1);
}

static double gelu(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}

/* Of d values the first and the second half are pairs; of layers that see everything only some pairs turn, with the
 * frequencies that they would have if all did. */
static void turn(double *x, int d, bool full, int pos, fault f)
{
    int turned = !full ? d / 2 : G4_TURNED + (f == TURNED);
    double spread = full && f == SPREAD ? 2 * G4_TURNED : d;
    double base = full ? (f == BASE ? 1e4 : G4_BASE) : f == BASE_WINDOW ? G4_BASE : G4_BASE_WINDOW;
    for (int i = 0; i < turned; i++) {
        double a = pos * pow(base, -2.0 * i / spread), lo = x[i], hi = x[i + d / 2];
        x[i] = lo * cos(a) - hi * sin(a);
        x[i + d / 2] = lo * sin(a) + hi * cos(a);
    }
}

/* The last layer before the sharing ones that is of the same kind. */
static int lender(const g4_variant *m, int l, fault f)
{
    int i = l;
    if (g4_shares(m, l))
        for (i = G4_LAYERS - m->shared - 1 - (f == LENDER ? 3 : 0); g4_full(i) != g4_full(l);)
            i--;
    return i;
}

static void make_keys(const g4_variant *m, int l, int t, const double *n, fault f)
{
    bool full = g4_full(l);
    int d = full ? G4_DF : G4_D, heads = full ? m->kv_full : m->kv;
    double *k = keys[l][t], *v = values[l][t];
    matvec(get(l, "self_attn.k_proj.weight"), n, k, G4_E, heads * d);
    if (m->keys_as_values && full)
        memcpy(v, k, sizeof keys[l][t]);
    else
        matvec(get(l, "self_attn.v_proj.weight"), n, v, G4_E, heads * d);
    for (int h = 0; h < heads; h++) {
        norm(k + h * d, get(l, "self_attn.k_norm.weight"), k + h * d, d, f);
        if (m->keys_as_values && full && f == KEYS)
            memcpy(v + h * d, k + h * d, (size_t)d * sizeof *v);
        turn(k + h * d, d, full, t, f);
        if (f != VALUE_NORM)
            norm(v + h * d, NULL, v + h * d, d, f);
    }
}

static void attend(const g4_variant *m, int l, int t, const double *n, double *out, fault f)
{
    bool full = g4_full(l);
    int d = full ? G4_DF : G4_D, heads = full ? m->kv_full : m->kv, from = lender(m, l, f);
    int first = full || t < G4_WINDOW ? 0 : t - G4_WINDOW + (f == WINDOW ? 0 : 1);
    double q[QMAX], o[QMAX];
    matvec(get(l, "self_attn.q_proj.weight"), n, q, G4_E, G4_HEADS * d);
    for (int h = 0; h < G4_HEADS; h++) {
        double p[N], sum = 0, *qh = q + h * d;
        int at = h / (G4_HEADS / heads) * d;
        norm(qh, get(l, "self_attn.q_norm.weight"), qh, d, f);
        turn(qh, d, full, t, f);
        for (int s = first; s <= t; s++) {
            p[s] = 0;
            for (int i = 0; i < d; i++)
                p[s] += qh[i] * keys[from][s][at + i];
            sum += p[s] = exp(f == ATTENTION_SCALE ? p[s] / sqrt(d) : p[s]);
        }
        for (int i = 0; i < d; i++) {
            o[h * d + i] = 0;
            for (int s = first; s <= t; s++)
                o[h * d + i] += p[s] / sum * values[from][s][at + i];
        }
    }
    matvec(get(l, "self_attn.o_proj.weight"), o, out, G4_HEADS * d, G4_E);
}

static void mlp(const float *gate, const float *up, const float *down, const double *x, double *y, int ff)
{
    double g[FFMAX], u[FFMAX];
    matvec(gate, x, g, G4_E, ff);
    matvec(up, x, u, G4_E, ff);
    for (int i = 0; i < ff; i++)
        u[i] *= gelu(g[i]);
    matvec(down, u, y, ff, G4_E);
}

/* y += the experts' sum: x is the stream before the dense part's norm. */
static void experts(int l, const double *x, double *y, fault f)
{
    double n[G4_E], p[G4_EXPERTS], sum = 0, chosen = 0, out[G4_E] = {0}, one[G4_E];
    bool taken[G4_EXPERTS] = {false};
    norm(x, NULL, n, G4_E, f);
    for (int i = 0; i < G4_E; i++)
        n[i] *= (f == ROUTER_SCALE ? 1 : (double)get(l, "router.scale")[i]) / (f == ROUTER_ROOT ? 1 : sqrt(G4_E));
    matvec(get(l, "router.proj.weight"), n, p, G4_E, G4_EXPERTS);
    for (int e = 0; e < G4_EXPERTS; e++)
        sum += p[e] = exp(p[e]);
    for (int c = 0; c < G4_USED; c++) {
        int best = -1;
        for (int e = 0; e < G4_EXPERTS; e++)
            if (!taken[e] && (best < 0 || p[e] > p[best]))
                best = e;
        taken[best] = true;
        chosen += p[best];
    }
    norm(x, get(l, f == EXPERT_INPUT ? "pre_feedforward_layernorm.weight" : "pre_feedforward_layernorm_2.weight"), n, G4_E, f);
    for (int e = 0; e < G4_EXPERTS; e++) {
        const float *gate_up = get(l, "experts.gate_up_proj") + e * 2 * G4_FX * G4_E;
        if (!taken[e])
            continue;
        mlp(gate_up, gate_up + G4_FX * G4_E, get(l, "experts.down_proj") + e * G4_E * G4_FX, n, one, G4_FX);
        for (int i = 0; i < G4_E; i++)
            out[i] += p[e] / (f == RENORM ? sum : chosen) * (f == GAIN ? 1 : (double)get(l, "router.per_expert_scale")[e]) * one[i];
    }
    norm(out, get(l, "post_feedforward_layernorm_2.weight"), out, G4_E, f);
    for (int i = 0; i < G4_E; i++)
        y[i] += out[i];
}

static void feed_forward(const g4_variant *m, int l, double *x, fault f)
{
    double n[G4_E], y[G4_E];
    norm(x, get(l, "pre_feedforward_layernorm.weight"), n, G4_E, f);
    mlp(get(l, "mlp.gate_proj.weight"), get(l, "mlp.up_proj.weight"), get(l, "mlp.down_proj.weight"), n, y, g4_ff(m, l));
    if (m->experts) {
        norm(y, get(l, "post_feedforward_layernorm_1.weight"), y, G4_E, f);
        experts(l, x, y, f);
    }
    norm(y, get(l, "post_feedforward_layernorm.weight"), y, G4_E, f);
    for (int i = 0; i < G4_E; i++)
        x[i] += y[i];
}

static void add_layer_input(int l, int t, double *x, fault f)
{
    double g[G4_PLE], y[G4_E];
    matvec(get(l, "per_layer_input_gate.weight"), x, g, G4_E, G4_PLE);
    for (int i = 0; i < G4_PLE; i++)
        g[i] = gelu(g[i]) * layer_inputs[t][l][i];
    matvec(get(l, "per_layer_projection.weight"), g, y, G4_PLE, G4_E);
    norm(y, get(l, "post_per_layer_input_norm.weight"), y, G4_E, f);
    for (int i = 0; i < G4_E; i++)
        x[i] += y[i];
}

static void make_layer_inputs(int t, int32_t token, const double *x, fault f)
{
    double made[G4_LAYERS * G4_PLE];
    matvec(get(-1, "per_layer_model_projection.weight"), x, made, G4_E, G4_LAYERS * G4_PLE);
    for (int i = 0; i < G4_LAYERS * G4_PLE; i++)
        made[i] /= f == PLE_MODEL_SCALE ? 1 : sqrt(G4_E);
    for (int l = 0; l < G4_LAYERS; l++) {
        double *in = layer_inputs[t][l];
        const float *table = get(-1, "embed_tokens_per_layer.weight") + (token * G4_LAYERS + l) * G4_PLE;
        norm(made + l * G4_PLE, get(-1, "per_layer_projection_norm.weight"), in, G4_PLE, f);
        for (int i = 0; i < G4_PLE; i++)
            in[i] = (in[i] + (double)table[i] * (f == PLE_SCALE ? 1 : sqrt(G4_PLE))) * (f == PLE_HALF ? 1 : sqrt(0.5));
    }
}

static void gemma4(const g4_variant *m, const int32_t *tokens, double (*logits)[G4_VOCAB], fault f)
{
    static stream x, n;
    for (int t = 0; t < N; t++) {
        for (int i = 0; i < G4_E; i++)
            x[t][i] = (double)get(-1, "embed_tokens.weight")[tokens[t] * G4_E + i] * (f == EMBED_SCALE ? 1 : sqrt(G4_E));
        if (m->ple)
            make_layer_inputs(t, tokens[t], x[t], f);
    }
    for (int l = 0; l < G4_LAYERS; l++) {
        for (int t = 0; t < N; t++) {
            norm(x[t], get(l, "input_layernorm.weight"), n[t], G4_E, f);
            if (!g4_shares(m, l))
                make_keys(m, l, t, n[t], f);
        }
        for (int t = 0; t < N; t++) {
            double y[G4_E];
            attend(m, l, t, n[t], y, f);
            norm(y, get(l, "post_attention_layernorm.weight"), y, G4_E, f);
            for (int i = 0; i < G4_E; i++)
                x[t][i] += y[i];
            feed_forward(m, l, x[t], f);
            if (m->ple)
                add_layer_input(l, t, x[t], f);
            for (int i = 0; i < G4_E; i++)
                x[t][i] *= f == SCALAR ? 1 : (double)get(l, "layer_scalar")[0];
        }
    }
    for (int t = 0; t < N; t++) {
        double cap = f == CAP ? 30 : G4_CAP;
        norm(x[t], get(-1, "norm.weight"), n[t], G4_E, f);
        matvec(get(-1, "embed_tokens.weight"), n[t], logits[t], G4_E, G4_VOCAB);
        for (int i = 0; i < G4_VOCAB; i++)
            logits[t][i] = cap * tanh(logits[t][i] / cap);
    }
}

/* ---- against the engine ---- */

static double nmse(const float *got, double (*want)[G4_VOCAB])
{
    double num = 0, den = 0;
    for (int t = 0; t < N; t++)
        for (int i = 0; i < G4_VOCAB; i++) {
            double d = (double)got[t * G4_VOCAB + i] - want[t][i];
            num += d * d;
            den += want[t][i] * want[t][i];
        }
    return num / den;
}

static void run(const qn_decoder *d, qn_cpu level, const int32_t *tokens, float *got)
{
    qn_context *c;
    qn_row rows[N];
    const qn_context_options o = {
        .level = level, .n_threads = 1, .max_rows = N, .max_out = N, .n_ctx = G4_CTX, .kv = QN__KV_F32};
    for (int i = 0; i < N; i++)
        rows[i] = (qn_row){.token = tokens[i], .pos = i, .out = i};
    assert_int_equal(qn__context_open(d, &o, &c, NULL), QN_OK);
    unsigned char *page = qn__alloc_aligned(qn__decoder_page_bytes(d, QN__KV_F32)), *const pages[] = {page}, *const *tables[] = {pages};
    const qn_step step = {.rows = rows, .n_rows = N, .pages = tables, .n_seqs = 1, .logits = got};
    assert_int_equal(qn__context_step(c, &step, NULL), QN_OK);
    qn__free_aligned(page);
    qn__context_close(c);
}

/* Does the fault concern a model of this kind? */
static bool concerns(const g4_variant *m, fault f)
{
    switch (f) {
    case LENDER: return m->shared > 0;
    case KEYS: return m->keys_as_values;
    case PLE_HALF: case PLE_SCALE: case PLE_MODEL_SCALE: return m->ple;
    case ROUTER_ROOT: case ROUTER_SCALE: case GAIN: case RENORM: case EXPERT_INPUT: return m->experts;
    default: return true;
    }
}

static void check(const g4_variant *m, const char *path, const char *how)
{
    static double want[N][G4_VOCAB];
    static float got[N * G4_VOCAB];
    int32_t tokens[N];
    qn_gguf *g;
    qn_decoder *d;
    qn_err err;
    double worst = 0, least = 1e300;
    const char *least_name = "";
    for (int i = 0; i < N; i++)
        tokens[i] = (i * 37 + 11) % G4_VOCAB;
    assert_int_equal(qn__gguf_open(path, &g, NULL), QN_OK);
    if (qn__decoder_open(g, &d, &err) != QN_OK)
        fail_msg("%s: %s: %s", m->name, err.where, err.what);
    gemma4(m, tokens, want, NOTHING);
    for (int level = 0; level <= (int)qn__cpu_best(); level++) {
        run(d, (qn_cpu)level, tokens, got);
        double e = nmse(got, want);
        worst = e > worst ? e : worst;
        if (!(e <= 1e-9))
            fail_msg("%s at %s: NMSE %g", m->name, qn__cpu_name((qn_cpu)level), e);
    }
    for (int f = 1; f < FAULTS; f++) {
        gemma4(m, tokens, want, (fault)f);
        double e = nmse(got, want);
        if (concerns(m, (fault)f) && e < least) {
            least = e;
            least_name = fault_names[f];
        }
        if (concerns(m, (fault)f) && !(e > 1e-7))
            fail_msg("%s: misreading %s shows as %g only", m->name, fault_names[f], e);
    }
    printf("figure: gemma4, %s%s: NMSE %.1e (<= 1e-9); misreading any number shows, least %s (%.1e)\n", m->name, how, worst, least_name, least);
    qn__decoder_close(d);
    qn__gguf_close(g);
}

static void formulas(void **state)
{
    (void)state;
    for (size_t i = 0; i < G4_VARIANTS; i++) {
        char path[] = "/tmp/quern-gemma4-XXXXXX";
        assert_true(close(mkstemp(path)) == 0);
        g4_make(&g4_variants[i]);
        assert_int_equal(g4_save(path, &g4_variants[i], NULL), QN_OK);
        check(&g4_variants[i], path, "");
        (void)unlink(path);
        g4_forget();
    }
}

/* ---- files that contradict themselves ---- */

static void refused(void **state)
{
    (void)state;
    static const struct {
        g4_wrong wrong;
        const char *where, *what;
    } cases[] = {
        {{.pattern_entries = 5}, "gemma4.attention.sliding_window_pattern", "has 5 entries; the file has 8 layers"},
        {{.pattern_entries = 9}, "gemma4.attention.sliding_window_pattern", "has 9 entries; the file has 8 layers"},
        {{.ff_entries = 3}, "gemma4.feed_forward_length", "has 3 entries; the file has 8 layers"},
        {{.shared = 8}, "gemma4.attention.shared_kv_layers", "is 8; 0 to 7 is allowed"},
        {{.shared = 4000000}, "gemma4.attention.shared_kv_layers", "is 4000000; 0 to 7 is allowed"},
        {{.shared = 7}, "gemma4.attention.shared_kv_layers", "is 7; layer 2 would read the keys and values of a layer before 1 that is not windowed, and there is none"},
        {{.head = -1}, "gemma4.attention.key_length_swa", "is 0; 1 to 4096 is allowed"},
        {{.no_factors = true}, "rope_freqs.weight", "the tensor is missing; architecture gemma4 needs it"},
    };
    const g4_variant *m = &g4_variants[0];
    g4_make(m);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[] = "/tmp/quern-gemma4-XXXXXX";
        qn_gguf *g;
        qn_decoder *d = NULL;
        qn_err err;
        assert_true(close(mkstemp(path)) == 0);
        assert_int_equal(g4_save(path, m, &cases[i].wrong), QN_OK);
        assert_int_equal(qn__gguf_open(path, &g, NULL), QN_OK);
        assert_int_equal(qn__decoder_open(g, &d, &err), QN_EFORMAT);
        assert_null(d);
        if (!strstr(err.where, cases[i].where) || strcmp(err.what, cases[i].what) != 0)
            fail_msg("wanted \"%s: %s\", got \"%s: %s\"", cases[i].where, cases[i].what, err.where, err.what);
        qn__gguf_close(g);
        (void)unlink(path);
    }
    g4_forget();
}

/* ---- checkpoint folders ---- */

static const char *const first_tokens[] = {"<pad>", "<eos>", "<bos>", "<unk>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<turn|>",
                                           "</s>", "\n", "\n\n\n", "\u2581", "a", "b", "ab", "\u2581ab"};
enum { ADDED = 8, FIRST = sizeof first_tokens / sizeof *first_tokens };

static void write_json(const char *dir, const char *name, json_t *j)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(json_dump_file(j, path, 0), 0);
    json_decref(j);
}

static void write_tokenizer(const char *dir)
{
    json_t *vocab = json_object(), *added = json_array();
    for (int i = 0; i < G4_VOCAB; i++) {
        char word[16];
        (void)snprintf(word, sizeof word, "w%d", i);
        json_object_set_new(vocab, i < FIRST ? first_tokens[i] : word, json_integer(i));
        if (i < ADDED)
            json_array_append_new(added, json_pack("{s:i,s:s,s:b}", "id", i, "content", first_tokens[i], "special", 1));
    }
    write_json(dir, "tokenizer.json",
               json_pack("{s:s,s:o,s:{s:s,s:{s:s},s:s},s:{s:s,s:o,s:[[s,s],[s,s]],s:b,s:s}}", "version", "1.0", "added_tokens", added,
                         "normalizer", "type", "Replace", "pattern", "String", " ", "content", "\u2581", "model", "type", "BPE", "vocab", vocab,
                         "merges", "a", "b", "\u2581", "ab", "byte_fallback", 1, "unk_token", "<unk>"));
    write_json(dir, "tokenizer_config.json", json_pack("{s:s,s:s,s:s,s:s}", "bos_token", "<bos>", "eos_token", "<eos>", "unk_token", "<unk>", "pad_token", "<pad>"));
    write_json(dir, "generation_config.json", json_pack("{s:[i,i]}", "eos_token_id", 1, 7));
}

static json_t *text_config(const g4_variant *m)
{
    json_t *c = json_pack("{s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "model_type", "gemma4_text", "vocab_size", G4_VOCAB, "hidden_size", G4_E,
                          "intermediate_size", G4_FF, "num_hidden_layers", G4_LAYERS, "num_attention_heads", G4_HEADS, "num_key_value_heads", m->kv,
                          "head_dim", G4_D, "global_head_dim", G4_DF, "max_position_embeddings", G4_CTX, "sliding_window", G4_WINDOW);
    json_t *types = json_array();
    for (int l = 0; l < G4_LAYERS; l++)
        json_array_append_new(types, json_string(g4_full(l) ? "full_attention" : "sliding_attention"));
    json_object_set_new(c, "layer_types", types);
    json_object_set_new(c, "rms_norm_eps", json_real(G4_EPS));
    json_object_set_new(c, "final_logit_softcapping", json_real(G4_CAP));
    json_object_set_new(c, "hidden_activation", json_string("gelu_pytorch_tanh"));
    json_object_set_new(c, "use_bidirectional_attention", json_string("vision"));
    json_object_set_new(c, "num_kv_shared_layers", json_integer(m->shared));
    json_object_set_new(c, "use_double_wide_mlp", json_boolean(m->wide));
    json_object_set_new(c, "attention_k_eq_v", json_boolean(m->keys_as_values));
    json_object_set_new(c, "num_global_key_value_heads", m->keys_as_values ? json_integer(m->kv_full) : json_null());
    json_object_set_new(c, "hidden_size_per_layer_input", json_integer(m->ple ? G4_PLE : 0));
    json_object_set_new(c, "vocab_size_per_layer_input", json_integer(G4_VOCAB));
    json_object_set_new(c, "enable_moe_block", json_boolean(m->experts));
    json_object_set_new(c, "num_experts", m->experts ? json_integer(G4_EXPERTS) : json_null());
    json_object_set_new(c, "top_k_experts", m->experts ? json_integer(G4_USED) : json_null());
    json_object_set_new(c, "moe_intermediate_size", m->experts ? json_integer(G4_FX) : json_null());
    json_object_set_new(c, "rope_parameters",
                        json_pack("{s:{s:s,s:f},s:{s:s,s:f,s:f}}", "sliding_attention", "rope_type", "default", "rope_theta", G4_BASE_WINDOW,
                                  "full_attention", "rope_type", "proportional", "partial_rotary_factor", 2.0 * G4_TURNED / G4_DF, "rope_theta", G4_BASE));
    return c;
}

/* The model of g4_make as a folder, with parts that see and hear, which are left out. */
static void write_folder(hf_folder *f, const g4_variant *m, const char *dir, bool unified)
{
    static const char *const absent[] = {"vocab_size_per_layer_input", "hidden_size_per_layer_input", "enable_moe_block", "num_experts",
                                         "top_k_experts", "moe_intermediate_size"};
    const char *const more[] = {unified ? "model.vision_embedder.patch_dense.weight" : "model.vision_tower.encoder.layers.0.mlp.down_proj.weight",
                                "model.embed_audio.embedding_projection.weight"};
    *f = (hf_folder){.config = json_pack("{s:[s],s:o,s:{}}", "architectures",
                                         unified ? "Gemma4UnifiedForConditionalGeneration" : "Gemma4ForConditionalGeneration", "text_config",
                                         text_config(m), "vision_config")};
    for (size_t i = 0; unified && i < sizeof absent / sizeof *absent; i++)
        json_object_del(json_object_get(f->config, "text_config"), absent[i]);
    (void)snprintf(f->dir, sizeof f->dir, "%s", dir);
    for (int i = 0; i < g4_n; i++) {
        const g4_tensor *t = &g4_tensors[i];
        char name[128];
        uint64_t dims[3], k = (uint64_t)t->k, r = (uint64_t)t->rows;
        int n = t->count > 1 ? 3 : r ? 2 : 1;
        dims[0] = n == 3 ? (uint64_t)t->count : n == 2 ? r : k;
        dims[1] = n == 3 ? r : k;
        dims[2] = k;
        (void)snprintf(name, sizeof name, "model.language_model.%.63s", t->hf);
        if (t->hf[0])
            memcpy(hf_add(f, name, "F32", 4, n, dims)->data, t->v, g4_count(t) * 4);
    }
    for (size_t i = 0; i < 2; i++)
        (void)hf_add(f, more[i], "F32", 4, 2, (const uint64_t[]){3, 4});
    hf_write_weights(f, &(hf_options){0});
    hf_write_config(f);
    write_tokenizer(dir);
}

static qn_status convert(const char *dir, const char *out, qn_convert_result *r, qn_err *err)
{
    qn_convert_options o;
    qn_convert_options_init(&o);
    o.in = dir, o.out = out;
    return qn_convert(&o, r, err);
}

static void check_vocabulary(const char *path)
{
    static const int32_t want[] = {2, 14, 15, 10, 14, 9, 9, 4};
    static const char text[] = "ab ab\n\n\nab\n\n<|tool_call>";
    qn_gguf *g;
    qn_tokenizer *t;
    int32_t *ids;
    size_t n;
    assert_int_equal(qn__gguf_open(path, &g, NULL), QN_OK);
    assert_int_equal(qn__tokenizer_open(g, &t, NULL), QN_OK);
    assert_string_equal(qn__tokenizer_info(t)->model, "gemma4");
    assert_int_equal(qn__tokenize(t, text, sizeof text - 1, true, QN_BOS_AUTO, &ids, &n, NULL), QN_OK);
    assert_int_equal(n, sizeof want / sizeof *want);
    assert_memory_equal(ids, want, sizeof want);
    assert_true(qn__token_ends(t, 1) && qn__token_ends(t, 6) && qn__token_ends(t, 7) && !qn__token_ends(t, 8));
    assert_int_equal(qn__token_attr(t, 4), QN_TOKEN_USER);
    qn_free(ids);
    qn__tokenizer_close(t);
    qn__gguf_close(g);
}

static void remove_all(const char *dir)
{
    char command[300];
    (void)snprintf(command, sizeof command, "rm -rf '%s' '%s.gguf'", dir, dir);
    assert_int_equal(system(command), 0);
}

static void converted(void **state)
{
    (void)state;
    for (size_t i = 0; i <= G4_VARIANTS; i++) { /* the last: the dense one, as the family without encoders says it */
        char dir[] = "/tmp/quern-gemma4-XXXXXX", out[64];
        hf_folder f;
        qn_convert_result r;
        qn_err err;
        bool unified = i == G4_VARIANTS;
        const g4_variant *m = &g4_variants[unified ? 1 : i];
        assert_non_null(mkdtemp(dir));
        (void)snprintf(out, sizeof out, "%s.gguf", dir);
        g4_make(m);
        write_folder(&f, m, dir, unified);
        if (convert(dir, out, &r, &err) != QN_OK)
            fail_msg("%s: %s: %s", m->name, err.where, err.what);
        assert_string_equal(r.architecture, "gemma4");
        /* seeing, hearing, and of a layer that shares: keys, their norm and values, if any */
        assert_int_equal(r.n_left_out, m->shared ? 5 : 2);
        check(m, out, unified ? ", converted as unified" : ", converted");
        check_vocabulary(out);
        hf_free(&f);
        remove_all(dir);
        g4_forget();
    }
}

static void folders_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key, *json, *where, *what;
    } cases[] = {
        {"use_bidirectional_attention", "\"all\"", "use_bidirectional_attention", "looks back only"},
        {"attention_bias", "true", "attention_bias", "has no place for that"},
        {"per_layer_config", "{\"2\":{\"head_dim\":16}}", "per_layer_config", "global_head_dim"},
        {"layer_types", "[\"full_attention\"]", "layer_types", "has 1 entries for 8 layers"},
        {"num_kv_shared_layers", "8", "num_kv_shared_layers", "must be in 0..7"},
        {"num_kv_shared_layers", "6", "num_kv_shared_layers", "leaves layer 2 nothing to read"},
        {"num_global_key_value_heads", "3", "num_global_key_value_heads", "3 does not divide the 4 heads"},
        {"global_head_dim", "0", "global_head_dim", "must be in 2..4096"},
        {"global_head_dim", "24", "self_attn.q_proj", "by config.json it is [96, 32]"},
        {"vocab_size_per_layer_input", "7", "vocab_size_per_layer_input", "one vocabulary"},
        {"hidden_activation", "\"silu\"", "hidden_act", "computes gelu"},
        {"rope_parameters", "{\"full_attention\":{\"rope_type\":\"default\",\"rope_theta\":1e6}}", "full_attention.rope_type", "is not proportional"},
    };
    char dir[] = "/tmp/quern-gemma4-XXXXXX", out[64];
    const g4_variant *m = &g4_variants[3];
    hf_folder f;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(out, sizeof out, "%s.gguf", dir);
    g4_make(m);
    write_folder(&f, m, dir, false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qn_err err = {0};
        json_t *text = json_object_get(f.config, "text_config"), *old = json_incref(json_object_get(text, cases[i].key));
        json_object_set_new(text, cases[i].key, json_loads(cases[i].json, JSON_DECODE_ANY, NULL));
        hf_write_config(&f);
        if (convert(dir, out, NULL, &err) == QN_OK || !strstr(err.where, cases[i].where) || !strstr(err.what, cases[i].what))
            fail_msg("%s: wanted \"%s: ...%s\", got \"%s: %s\"", cases[i].key, cases[i].where, cases[i].what, err.where, err.what);
        assert_int_equal(access(out, F_OK), -1);
        json_object_del(text, cases[i].key);
        if (old)
            json_object_set_new(text, cases[i].key, old);
    }
    hf_free(&f);
    remove_all(dir);
    g4_forget();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(formulas), cmocka_unit_test(refused), cmocka_unit_test(converted),
                                       cmocka_unit_test(folders_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
