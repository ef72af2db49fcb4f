/* test_convert_formulas.c - families whose conversion changes tensors (gated delta net, Mamba-2, Step 3.5): golden
 * files are written back as checkpoint folders; then three things must agree:
 *
 *   the golden logits, made by an independent engine
 *   the folder's own tensors, through the formulas of the published modelling code (hf_forward.h, in doubles)
 *   the folder converted, run by this engine
 *
 * The middle one is what makes the way back trustworthy: a wrong order of heads in the folder, undone by the same wrong order in
 * the converter, would show there. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "trip.h"

static fw_rows z; /* gates */

/* ---- Qwen3-Next, Qwen3.5 ---- */

#define LAYERS "model.layers."

typedef struct gdn {
    int keys, values, per, dk, dv, interval, experts, used;
    bool tiled; /* GGUF's value heads */
} gdn;

static gdn gdn_of(const trip *t)
{
    gdn d = {.keys = (int)num(t, "ssm.group_count"), .values = (int)num(t, "ssm.time_step_rank"), .dk = (int)num(t, "ssm.state_size"),
             .interval = (int)num(t, "full_attention_interval"), .tiled = strncmp(t->arch, "qwen35", 6) == 0};
    d.per = d.values / d.keys;
    d.dv = (int)num(t, "ssm.inner_size") / d.values;
    if (strcmp(t->arch, "qwen35") != 0)
        d.experts = (int)num(t, "expert_count"), d.used = (int)num(t, "expert_used_count");
    return d;
}

/* Where GGUF has the checkpoint's value head: HF's head v belongs to key head v / per (its keys are repeated so often in a row);
 * tiled, head p belongs to key head p mod keys. */
static int place_of(const gdn *d, int v)
{
    return d->tiled && !planted ? v % d->per * d->keys + v / d->per : v;
}

static void put_gdn(trip *t, const gdn *d, int l)
{
    const qn_gguf_tensor *qkv = tensor(t, l, "attn_qkv.weight"), *gate = tensor(t, l, "attn_gate.weight"), *out = tensor(t, l, "ssm_out.weight");
    uint64_t e = qkv->dims[0], dk = (uint64_t)d->dk, dv = (uint64_t)d->dv, keys = (uint64_t)d->keys, per = (uint64_t)d->per, lead = 2 * keys * dk;
    const qn_gguf_tensor *conv = tensor(t, l, "ssm_conv1d.weight");
    char name[160];
    int order[64];
    for (int i = 0; i < d->values; i++)
        order[i] = place_of(d, i);
    if (!d->tiled) {
        (void)snprintf(name, sizeof name, LAYERS "%d.linear_attn.in_proj_qkvz.weight", l);
        unsigned char *to = add(t, name, qkv, 2, qkv->dims[1] + gate->dims[1], e, 1);
        for (uint64_t kh = 0; kh < keys; kh++) { /* a key head: its query, its key, its values, their gates */
            uint64_t at = kh * (2 * dk + 2 * per * dv);
            rows(to, at, qkv, kh * dk, dk);
            rows(to, at + dk, qkv, (keys + kh) * dk, dk);
            rows(to, at + 2 * dk, qkv, lead + kh * per * dv, per * dv);
            rows(to, at + 2 * dk + per * dv, gate, kh * per * dv, per * dv);
        }
        same(t, LAYERS, l, "ssm_ba.weight", "linear_attn.in_proj_ba.weight");
        same(t, LAYERS, l, "ssm_out.weight", "linear_attn.out_proj.weight");
    } else {
        static const hf_name heads[] = {{"attn_gate.weight", "z"}, {"ssm_alpha.weight", "a"}, {"ssm_beta.weight", "b"}};
        (void)snprintf(name, sizeof name, LAYERS "%d.linear_attn.in_proj_qkv.weight", l);
        unsigned char *to = add(t, name, qkv, 2, qkv->dims[1], e, 1);
        rows(to, 0, qkv, 0, lead);
        for (uint64_t v = 0; v < keys * per; v++)
            rows(to, lead + v * dv, qkv, lead + (uint64_t)order[v] * dv, dv);
        for (size_t i = 0; i < 3; i++) {
            const qn_gguf_tensor *g = tensor(t, l, heads[i].gguf);
            uint64_t each = g->dims[1] / (keys * per);
            (void)snprintf(name, sizeof name, LAYERS "%d.linear_attn.in_proj_%s.weight", l, heads[i].hf);
            to = add(t, name, g, 2, g->dims[1], e, 1);
            for (uint64_t v = 0; v < keys * per; v++)
                rows(to, v * each, g, (uint64_t)order[v] * each, each);
        }
        (void)snprintf(name, sizeof name, LAYERS "%d.linear_attn.out_proj.weight", l);
        to = add(t, name, out, 2, e, out->dims[0], 1);
        for (uint64_t r = 0; r < e; r++)
            for (uint64_t v = 0; v < keys * per; v++)
                memcpy(to + (r * keys * per + v) * dv * 2, out->data + (r * keys * per + (uint64_t)order[v]) * dv * 2, dv * 2);
    }
    (void)snprintf(name, sizeof name, LAYERS "%d.linear_attn.conv1d.weight", l);
    unsigned char *to = add(t, name, conv, 3, conv->dims[1], 1, conv->dims[0]);
    rows(to, 0, conv, 0, lead);
    for (uint64_t v = 0; v < keys * per; v++)
        rows(to, lead + v * dv, conv, lead + (uint64_t)order[v] * dv, dv);
    vector(t, LAYERS, l, "ssm_a", "linear_attn.A_log", d->values, order, true);
    vector(t, LAYERS, l, "ssm_dt.bias", "linear_attn.dt_bias", d->values, order, false);
    same(t, LAYERS, l, "ssm_norm.weight", "linear_attn.norm.weight");
}

static void put_ffn(trip *t, int l, bool moe, bool packed)
{
    static const hf_name dense[] = {{"ffn_gate.weight", "mlp.gate_proj.weight"}, {"ffn_up.weight", "mlp.up_proj.weight"}, {"ffn_down.weight", "mlp.down_proj.weight"},
        {"ffn_gate_inp.weight", "mlp.gate.weight"}, {"ffn_gate_shexp.weight", "mlp.shared_expert.gate_proj.weight"},
        {"ffn_up_shexp.weight", "mlp.shared_expert.up_proj.weight"}, {"ffn_down_shexp.weight", "mlp.shared_expert.down_proj.weight"}};
    char name[160];
    for (size_t i = 0; i < sizeof dense / sizeof *dense; i++)
        same(t, LAYERS, l, dense[i].gguf, dense[i].hf);
    if (!moe)
        return;
    const qn_gguf_tensor *g = tensor(t, l, "ffn_gate_inp_shexp.weight");
    (void)snprintf(name, sizeof name, LAYERS "%d.mlp.shared_expert_gate.weight", l);
    rows(add(t, name, g, 2, 1, g->dims[0], 1), 0, g, 0, 1);
    if (packed) {
        (void)snprintf(name, sizeof name, LAYERS "%d.mlp.experts.gate_up_proj", l);
        hf_pack_pair(&t->f, name, tensor(t, l, "ffn_gate_exps.weight"), tensor(t, l, "ffn_up_exps.weight"), false);
        same(t, LAYERS, l, "ffn_down_exps.weight", "mlp.experts.down_proj");
        return;
    }
    experts(t, LAYERS, l, "ffn_gate_exps.weight", "mlp.experts", "gate_proj");
    experts(t, LAYERS, l, "ffn_up_exps.weight", "mlp.experts", "up_proj");
    experts(t, LAYERS, l, "ffn_down_exps.weight", "mlp.experts", "down_proj");
}

static void put_qwen(trip *t, const gdn *d, const char *hf_arch, bool packed)
{
    common_keys(t, hf_arch);
    json_t *c = t->f.config, *sections = json_array();
    json_object_set_new(c, "linear_num_key_heads", json_integer(d->keys));
    json_object_set_new(c, "linear_num_value_heads", json_integer(d->values));
    json_object_set_new(c, "linear_key_head_dim", json_integer(d->dk));
    json_object_set_new(c, "linear_value_head_dim", json_integer(d->dv));
    set(t, "linear_conv_kernel_dim", "ssm.conv_kernel");
    set(t, "full_attention_interval", "full_attention_interval");
    set(t, "num_experts", "expert_count");
    set(t, "num_experts_per_tok", "expert_used_count");
    set(t, "shared_expert_intermediate_size", "expert_shared_feed_forward_length");
    json_object_set_new(c, "partial_rotary_factor", json_real((double)num(t, "rope.dimension_count") / (double)num(t, "attention.key_length")));
    const qn_gguf_kv *kv = qn__gguf_kv(t->g, "qwen35.rope.dimension_sections");
    for (uint64_t i = 0; kv && i < 3; i++)
        json_array_append_new(sections, json_integer(qn__gguf_arr_int(kv, i)));
    json_decref(sections);
    same(t, "", -1, "token_embd.weight", "model.embed_tokens.weight");
    same(t, "", -1, "output.weight", "lm_head.weight");
    minus_one(t, "", -1, "output_norm.weight", "model.norm.weight");
    for (int l = 0; l < (int)num(t, "block_count"); l++) {
        minus_one(t, LAYERS, l, "attn_norm.weight", "input_layernorm.weight");
        minus_one(t, LAYERS, l, "post_attention_norm.weight", "post_attention_layernorm.weight");
        put_ffn(t, l, d->experts > 0, packed);
        if ((l + 1) % d->interval) {
            put_gdn(t, d, l);
            continue;
        }
        static const hf_name attn[] = {{"attn_q.weight", "self_attn.q_proj.weight"}, {"attn_k.weight", "self_attn.k_proj.weight"},
                                       {"attn_v.weight", "self_attn.v_proj.weight"}, {"attn_output.weight", "self_attn.o_proj.weight"}};
        for (size_t i = 0; i < 4; i++)
            same(t, LAYERS, l, attn[i].gguf, attn[i].hf);
        minus_one(t, LAYERS, l, "attn_q_norm.weight", "self_attn.q_norm.weight");
        minus_one(t, LAYERS, l, "attn_k_norm.weight", "self_attn.k_norm.weight");
    }
}

/* One projection's part of each key head, side by side: values [at, at + n) of blocks of `all`. */
static void part(const trip *t, fw_rows from, int blocks, int all, int at, int n, fw_rows to)
{
    for (int i = 0; i < t->n; i++)
        for (int b = 0; b < blocks; b++)
            memcpy(to[i] + b * n, from[i] + b * all + at, (size_t)n * sizeof(double));
}

static void forward_gdn(trip *t, const gdn *d, int l)
{
    static fw_rows wide, a, b, qkv;
    double g[FW_TOKENS], beta[FW_TOKENS];
    int kd = d->keys * d->dk, vd = d->values * d->dv, all = 2 * d->dk + 2 * d->per * d->dv;
    fw *w = &t->w;
    if (fw_layer(w, LAYERS, l, "linear_attn.in_proj_qkvz.weight").v) {
        fw_all(w, fw_layer(w, LAYERS, l, "linear_attn.in_proj_qkvz.weight"), h, wide);
        part(t, wide, d->keys, all, 0, d->dk, q);
        part(t, wide, d->keys, all, d->dk, d->dk, k);
        part(t, wide, d->keys, all, 2 * d->dk, d->per * d->dv, val);
        part(t, wide, d->keys, all, 2 * d->dk + d->per * d->dv, d->per * d->dv, z);
        for (int i = 0; i < t->n; i++) {
            memcpy(qkv[i], q[i], (size_t)kd * sizeof(double));
            memcpy(qkv[i] + kd, k[i], (size_t)kd * sizeof(double));
            memcpy(qkv[i] + 2 * kd, val[i], (size_t)vd * sizeof(double));
        }
        fw_all(w, fw_layer(w, LAYERS, l, "linear_attn.in_proj_ba.weight"), h, wide);
        part(t, wide, d->keys, 2 * d->per, 0, d->per, b);
        part(t, wide, d->keys, 2 * d->per, d->per, d->per, a);
    } else {
        fw_all(w, fw_layer(w, LAYERS, l, "linear_attn.in_proj_qkv.weight"), h, qkv);
        fw_all(w, fw_layer(w, LAYERS, l, "linear_attn.in_proj_z.weight"), h, z);
        fw_all(w, fw_layer(w, LAYERS, l, "linear_attn.in_proj_b.weight"), h, b);
        fw_all(w, fw_layer(w, LAYERS, l, "linear_attn.in_proj_a.weight"), h, a);
    }
    fw_conv(w, fw_layer(w, LAYERS, l, "linear_attn.conv1d.weight"), fw_none, qkv);
    part(t, qkv, 1, 0, 0, kd, q);
    part(t, qkv, 1, 0, kd, kd, k);
    part(t, qkv, 1, 0, 2 * kd, vd, val);
    fw_mat rate = fw_layer(w, LAYERS, l, "linear_attn.A_log"), dt = fw_layer(w, LAYERS, l, "linear_attn.dt_bias"), nw = fw_layer(w, LAYERS, l, "linear_attn.norm.weight");
    for (int head = 0; head < d->values; head++) {
        for (int i = 0; i < t->n; i++) {
            g[i] = -exp(rate.v[head]) * fw_softplus(a[i][head] + dt.v[head]);
            beta[i] = fw_sigmoid(b[i][head]);
        }
        fw_delta_head(w, q, k, val, head / d->per, head, d->dk, d->dv, g, beta, att);
        for (int i = 0; i < t->n; i++) {
            double *y = att[i] + head * d->dv;
            fw_rms(w, y, nw.v, false, d->dv, y);
            for (int c = 0; c < d->dv; c++)
                y[c] *= fw_silu(z[i][head * d->dv + c]);
        }
    }
    fw_all(w, fw_layer(w, LAYERS, l, "linear_attn.out_proj.weight"), att, res);
}

/* Attention whose query matrix gives each head's query and then its gate. */
static void forward_gated(trip *t, int l)
{
    static fw_rows wide;
    fw *w = &t->w;
    int heads = (int)num(t, "attention.head_count"), kv = (int)num(t, "attention.head_count_kv"), d = (int)num(t, "attention.key_length");
    int n_rot = (int)num(t, "rope.dimension_count");
    fw_mat qn = fw_layer(w, LAYERS, l, "self_attn.q_norm.weight"), kn = fw_layer(w, LAYERS, l, "self_attn.k_norm.weight");
    fw_all(w, fw_layer(w, LAYERS, l, "self_attn.q_proj.weight"), h, wide);
    fw_all(w, fw_layer(w, LAYERS, l, "self_attn.k_proj.weight"), h, k);
    fw_all(w, fw_layer(w, LAYERS, l, "self_attn.v_proj.weight"), h, val);
    part(t, wide, heads, 2 * d, 0, d, q);
    part(t, wide, heads, 2 * d, d, d, z);
    for (int i = 0; i < t->n; i++) {
        for (int j = 0; j < heads; j++)
            fw_rms(w, q[i] + j * d, qn.v, w->plus_one, d, q[i] + j * d);
        for (int j = 0; j < kv; j++)
            fw_rms(w, k[i] + j * d, kn.v, w->plus_one, d, k[i] + j * d);
    }
    fw_rope(w, q, heads, d, n_rot, (double)num(t, "rope.freq_base"), NULL);
    fw_rope(w, k, kv, d, n_rot, (double)num(t, "rope.freq_base"), NULL);
    fw_attend(w, q, k, val, heads, kv, d, 0, false, att);
    for (int i = 0; i < t->n; i++)
        for (int c = 0; c < heads * d; c++)
            att[i][c] *= fw_sigmoid(z[i][c]);
    fw_all(w, fw_layer(w, LAYERS, l, "self_attn.o_proj.weight"), att, res);
}

/* An expert's part of a layer: of a tensor for all, or one of its own. */
static fw_mat expert(trip *t, const char *prefix, int l, const char *all, const char *own, const char *tail, int n, int e)
{
    fw_mat m = fw_layer(&t->w, prefix, l, all);
    char name[160];
    if (m.v)
        return fw_slice(m, n, e);
    (void)snprintf(name, sizeof name, "%s.%d.%s.weight", own, e, tail);
    return fw_layer(&t->w, prefix, l, name);
}

static void forward_qwen_ffn(trip *t, const gdn *d, int l)
{
    fw *w = &t->w;
    memset(res, 0, sizeof res);
    if (!d->experts) {
        fw_mat g = fw_layer(w, LAYERS, l, "mlp.gate_proj.weight"), u = fw_layer(w, LAYERS, l, "mlp.up_proj.weight"), o = fw_layer(w, LAYERS, l, "mlp.down_proj.weight");
        for (int i = 0; i < t->n; i++)
            fw_mlp(g, u, o, 0, h[i], 1, res[i]);
        return;
    }
    fw_mat sg = fw_layer(w, LAYERS, l, "mlp.shared_expert.gate_proj.weight"), su = fw_layer(w, LAYERS, l, "mlp.shared_expert.up_proj.weight");
    fw_mat so = fw_layer(w, LAYERS, l, "mlp.shared_expert.down_proj.weight"), gate = fw_layer(w, LAYERS, l, "mlp.shared_expert_gate.weight");
    fw_mat router = fw_layer(w, LAYERS, l, "mlp.gate.weight");
    for (int i = 0; i < t->n; i++) {
        double score[64], sum = 0, open;
        fw_linear(router, fw_none, h[i], score);
        for (int e = 0; e < d->experts; e++)
            sum += score[e] = exp(score[e]);
        for (int e = 0; e < d->experts; e++)
            score[e] /= sum;
        fw_choice c = fw_route(score, NULL, d->experts, d->used, true, 1);
        for (int j = 0; j < d->used; j++) {
            int e = c.expert[j];
            fw_mat gu = expert(t, LAYERS, l, "mlp.experts.gate_up_proj", "mlp.experts", "gate_proj", d->experts, e), u, g = gu;
            if (fw_layer(w, LAYERS, l, "mlp.experts.gate_up_proj").v)
                g = fw_slice(gu, 2, 0), u = fw_slice(gu, 2, 1);
            else
                u = expert(t, LAYERS, l, "no", "mlp.experts", "up_proj", d->experts, e);
            fw_mlp(g, u, expert(t, LAYERS, l, "mlp.experts.down_proj", "mlp.experts", "down_proj", d->experts, e), 0, h[i], c.weight[j], res[i]);
        }
        fw_linear(gate, fw_none, h[i], &open);
        fw_mlp(sg, su, so, 0, h[i], fw_sigmoid(open), res[i]);
    }
}

static bool qwen(const char *name, const char *hf_arch, bool packed)
{
    static double got[16][512];
    trip t;
    if (!open_trip(&t, name))
        return false;
    gdn d = gdn_of(&t);
    put_qwen(&t, &d, hf_arch, packed);
    t.w.eps = 1e-6, t.w.plus_one = true;
    embed(&t, "model.embed_tokens.weight");
    int n_embd = (int)num(&t, "embedding_length");
    for (int l = 0; l < (int)num(&t, "block_count"); l++) {
        fw_norm(&t.w, fw_layer(&t.w, LAYERS, l, "input_layernorm.weight"), x, h);
        if ((l + 1) % d.interval)
            forward_gdn(&t, &d, l);
        else
            forward_gated(&t, l);
        add_rows(&t, x, res, n_embd);
        fw_norm(&t.w, fw_layer(&t.w, LAYERS, l, "post_attention_layernorm.weight"), x, h);
        forward_qwen_ffn(&t, &d, l);
        add_rows(&t, x, res, n_embd);
    }
    logits(&t, "model.norm.weight", got);
    settle(&t, got, 1e-8, name);
    refused(&t, "linear_num_value_heads", "3", "linear_num_value_heads", "no multiple");
    refused(&t, "linear_num_key_heads", "0", "linear_num_key_heads", "must be in 1");
    refused(&t, "linear_value_head_dim", "64", "linear_attn", "its shape is");
    refused(&t, "linear_conv_kernel_dim", NULL, "linear_conv_kernel_dim", "missing");
    refused(&t, "layer_types", "[\"full_attention\"]", "layer_types", "has 1 entries");
    refused(&t, "attn_output_gate", "false", "attn_output_gate", "no place");
    refused(&t, "full_attention_interval", "1", "self_attn", "missing");
    close_trip(&t);
    return true;
}

static void test_qwen(void **state)
{
    (void)state;
    if (!qwen("qwen3next", "Qwen3NextForCausalLM", false)) {
        print_message("skipped: no qwen3next.gguf\n");
        skip();
    }
    assert_true(qwen("qwen35", "Qwen3_5ForConditionalGeneration", false));
    planted = true;
    assert_true(qwen("qwen35", "Qwen3_5ForConditionalGeneration", false));
    planted = false;
    assert_true(qwen("qwen35moe", "Qwen3_5MoeForConditionalGeneration", true));
    assert_true(qwen("qwen35moe", "Qwen3_5MoeForCausalLM", false));
}

/* ---- Nemotron-H ---- */

#define BACKBONE "backbone.layers."

static int64_t at_layer(const trip *t, const char *key, int l)
{
    char name[96];
    (void)snprintf(name, sizeof name, "%s.%s", t->arch, key);
    const qn_gguf_kv *kv = qn__gguf_kv(t->g, name);
    return kv && kv->kind == QN_GGUF_ARR ? qn__gguf_arr_int(kv, (uint64_t)l) : num(t, key);
}

/* M: Mamba, *: attention, -: plain, E: experts */
static char nemotron_kind(const trip *t, int l)
{
    if (at_layer(t, "attention.head_count_kv", l) > 0)
        return '*';
    if (at_layer(t, "feed_forward_length", l) == 0)
        return 'M';
    return strcmp(t->arch, "nemotron_h") == 0 ? '-' : 'E';
}

static void put_nemotron(trip *t, bool words)
{
    static const hf_name keys[] = {{"mamba_num_heads", "ssm.time_step_rank"}, {"n_groups", "ssm.group_count"}, {"ssm_state_size", "ssm.state_size"},
        {"conv_kernel", "ssm.conv_kernel"}, {"layer_norm_epsilon", "attention.layer_norm_epsilon"}, {"n_routed_experts", "expert_count"},
        {"num_experts_per_tok", "expert_used_count"}, {"moe_intermediate_size", "expert_feed_forward_length"},
        {"moe_shared_expert_intermediate_size", "expert_shared_feed_forward_length"}, {"n_shared_experts", "expert_shared_count"},
        {"norm_topk_prob", "expert_weights_norm"}, {"routed_scaling_factor", "expert_weights_scale"}, {"n_group", "expert_group_count"},
        {"moe_latent_size", "moe_latent_size"}};
    static const hf_name plain[] = {{"attn_norm.weight", "norm.weight"}, {"attn_q.weight", "mixer.q_proj.weight"}, {"attn_k.weight", "mixer.k_proj.weight"},
        {"attn_v.weight", "mixer.v_proj.weight"}, {"attn_output.weight", "mixer.o_proj.weight"}, {"ssm_in.weight", "mixer.in_proj.weight"},
        {"ssm_conv1d.bias", "mixer.conv1d.bias"}, {"ssm_out.weight", "mixer.out_proj.weight"}, {"ffn_up.weight", "mixer.up_proj.weight"},
        {"ffn_down.weight", "mixer.down_proj.weight"}, {"ffn_gate_inp.weight", "mixer.gate.weight"}, {"exp_probs_b.bias", "mixer.gate.e_score_correction_bias"},
        {"ffn_up_shexp.weight", "mixer.shared_experts.up_proj.weight"}, {"ffn_down_shexp.weight", "mixer.shared_experts.down_proj.weight"},
        {"ffn_latent_down.weight", "mixer.fc1_latent_proj.weight"}, {"ffn_latent_up.weight", "mixer.fc2_latent_proj.weight"}};
    int layers = (int)num(t, "block_count"), heads = (int)num(t, "ssm.time_step_rank");
    char pattern[64] = "";
    json_t *c = t->f.config, *list = json_array();
    common_keys(t, "NemotronHForCausalLM");
    json_object_del(c, "rms_norm_eps");
    json_object_del(c, "rope_theta");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        set(t, keys[i].gguf, keys[i].hf);
    same(t, "", -1, "token_embd.weight", "backbone.embeddings.weight");
    same(t, "", -1, "output.weight", "lm_head.weight");
    same(t, "", -1, "output_norm.weight", "backbone.norm_f.weight");
    for (int l = 0; l < layers; l++) {
        char kind = pattern[l] = nemotron_kind(t, l), name[160];
        json_array_append_new(list, json_string(kind == 'M' ? "mamba" : kind == '*' ? "attention" : kind == '-' ? "mlp" : "moe"));
        if (kind == '*')
            json_object_set_new(c, "num_key_value_heads", json_integer(at_layer(t, "attention.head_count_kv", l)));
        if (kind == '-')
            json_object_set_new(c, "intermediate_size", json_integer(at_layer(t, "feed_forward_length", l)));
        for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
            same(t, BACKBONE, l, plain[i].gguf, plain[i].hf);
        if (kind == 'E') {
            experts(t, BACKBONE, l, "ffn_up_exps.weight", "mixer.experts", "up_proj");
            experts(t, BACKBONE, l, "ffn_down_exps.weight", "mixer.experts", "down_proj");
        }
        if (kind != 'M')
            continue;
        const qn_gguf_tensor *conv = tensor(t, l, "ssm_conv1d.weight"), *norm = tensor(t, l, "ssm_norm.weight");
        (void)snprintf(name, sizeof name, BACKBONE "%d.mixer.conv1d.weight", l);
        rows(add(t, name, conv, 3, conv->dims[1], 1, conv->dims[0]), 0, conv, 0, conv->dims[1]);
        (void)snprintf(name, sizeof name, BACKBONE "%d.mixer.norm.weight", l);
        rows(add(t, name, norm, 1, norm->dims[0] * norm->dims[1], 1, 1), 0, norm, 0, norm->dims[1]);
        vector(t, BACKBONE, l, "ssm_a", "mixer.A_log", heads, NULL, true);
        vector(t, BACKBONE, l, "ssm_d", "mixer.D", heads, NULL, false);
        vector(t, BACKBONE, l, "ssm_dt.bias", "mixer.dt_bias", heads, NULL, false);
    }
    json_object_set_new(c, "mamba_head_dim", json_integer(num(t, "ssm.inner_size") / heads));
    if (words)
        json_object_set(c, "layers_block_type", list);
    else
        json_object_set_new(c, "hybrid_override_pattern", json_string(pattern));
    json_decref(list);
}

static void forward_mamba(trip *t, int l)
{
    static fw_rows wide, xs, b, c;
    fw *w = &t->w;
    int heads = (int)num(t, "ssm.time_step_rank"), inner = (int)num(t, "ssm.inner_size"), groups = (int)num(t, "ssm.group_count");
    int state = (int)num(t, "ssm.state_size"), d = inner / heads, channels = inner + 2 * groups * state;
    double dt[FW_TOKENS];
    fw_mat rate = fw_layer(w, BACKBONE, l, "mixer.A_log"), bias = fw_layer(w, BACKBONE, l, "mixer.dt_bias"), skip = fw_layer(w, BACKBONE, l, "mixer.D");
    fw_mat norm = fw_layer(w, BACKBONE, l, "mixer.norm.weight");
    fw_all(w, fw_layer(w, BACKBONE, l, "mixer.in_proj.weight"), h, wide);
    part(t, wide, 1, 0, 0, inner, z);
    part(t, wide, 1, 0, inner, channels, q);
    part(t, wide, 1, 0, inner + channels, heads, k);
    fw_conv(w, fw_layer(w, BACKBONE, l, "mixer.conv1d.weight"), fw_layer(w, BACKBONE, l, "mixer.conv1d.bias"), q);
    part(t, q, 1, 0, 0, inner, xs);
    part(t, q, 1, 0, inner, groups * state, b);
    part(t, q, 1, 0, inner + groups * state, groups * state, c);
    for (int head = 0; head < heads; head++) {
        for (int i = 0; i < t->n; i++)
            dt[i] = fw_softplus(k[i][head] + bias.v[head]);
        fw_scan_head(w, xs, b, c, head, head / (heads / groups), d, state, dt, -exp(rate.v[head]), skip.v[head], att);
    }
    for (int i = 0; i < t->n; i++) /* the gate first, then the norm of each group */
        for (int g = 0; g < groups; g++) {
            double *y = att[i] + g * (inner / groups);
            for (int j = 0; j < inner / groups; j++)
                y[j] *= fw_silu(z[i][g * (inner / groups) + j]);
            fw_rms(w, y, norm.v + g * (inner / groups), false, inner / groups, y);
        }
    fw_all(w, fw_layer(w, BACKBONE, l, "mixer.out_proj.weight"), att, res);
}

static void forward_nemotron_experts(trip *t, int l)
{
    fw *w = &t->w;
    int n = (int)num(t, "expert_count"), used = (int)num(t, "expert_used_count");
    fw_mat router = fw_layer(w, BACKBONE, l, "mixer.gate.weight"), bias = fw_layer(w, BACKBONE, l, "mixer.gate.e_score_correction_bias");
    fw_mat up = fw_layer(w, BACKBONE, l, "mixer.shared_experts.up_proj.weight"), down = fw_layer(w, BACKBONE, l, "mixer.shared_experts.down_proj.weight");
    fw_mat in = fw_layer(w, BACKBONE, l, "mixer.fc1_latent_proj.weight"), out = fw_layer(w, BACKBONE, l, "mixer.fc2_latent_proj.weight");
    for (int i = 0; i < t->n; i++) {
        double score[64], small[FW_WIDTH], sum[FW_WIDTH] = {0}, *from = h[i], *to = res[i];
        fw_linear(router, fw_none, h[i], score);
        for (int e = 0; e < n; e++)
            score[e] = fw_sigmoid(score[e]);
        fw_choice c = fw_route(score, bias.v, n, used, true, 2.5);
        if (in.v)
            fw_linear(in, fw_none, h[i], small), from = small, to = sum;
        for (int j = 0; j < used; j++)
            fw_mlp(fw_none, expert(t, BACKBONE, l, "no", "mixer.experts", "up_proj", n, c.expert[j]),
                   expert(t, BACKBONE, l, "no", "mixer.experts", "down_proj", n, c.expert[j]), 0, from, c.weight[j], to);
        if (out.v)
            fw_linear(out, fw_none, sum, res[i]);
        fw_mlp(fw_none, up, down, 0, h[i], 1, res[i]);
    }
}

static bool nemotron(const char *name, bool words)
{
    static double got[16][512];
    trip t;
    if (!open_trip(&t, name))
        return false;
    put_nemotron(&t, words);
    t.w.eps = 0.001;
    embed(&t, "backbone.embeddings.weight");
    int n_embd = (int)num(&t, "embedding_length"), heads = (int)num(&t, "attention.head_count"), d = (int)num(&t, "attention.key_length");
    for (int l = 0; l < (int)num(&t, "block_count"); l++) {
        fw *w = &t.w;
        fw_norm(w, fw_layer(w, BACKBONE, l, "norm.weight"), x, h);
        memset(res, 0, sizeof res);
        switch (nemotron_kind(&t, l)) {
        case 'M': forward_mamba(&t, l); break;
        case '*':
            fw_all(w, fw_layer(w, BACKBONE, l, "mixer.q_proj.weight"), h, q);
            fw_all(w, fw_layer(w, BACKBONE, l, "mixer.k_proj.weight"), h, k);
            fw_all(w, fw_layer(w, BACKBONE, l, "mixer.v_proj.weight"), h, val);
            fw_attend(w, q, k, val, heads, (int)at_layer(&t, "attention.head_count_kv", l), d, 0, false, att);
            fw_all(w, fw_layer(w, BACKBONE, l, "mixer.o_proj.weight"), att, res);
            break;
        case '-':
            for (int i = 0; i < t.n; i++)
                fw_mlp(fw_none, fw_layer(w, BACKBONE, l, "mixer.up_proj.weight"), fw_layer(w, BACKBONE, l, "mixer.down_proj.weight"), 0, h[i], 1, res[i]);
            break;
        default: forward_nemotron_experts(&t, l);
        }
        add_rows(&t, x, res, n_embd);
    }
    logits(&t, "backbone.norm_f.weight", got);
    settle(&t, got, 1e-9, name);
    if (!words) {
        refused(&t, "hybrid_override_pattern", "\"M-M\"", "hybrid_override_pattern", "has 3 entries for 5 layers");
        refused(&t, "hybrid_override_pattern", "\"MXM*-\"", "hybrid_override_pattern", "entry 1 is none of");
        refused(&t, "hybrid_override_pattern", "\"M-M*E\"", "", "");
    }
    refused(&t, "n_groups", "3", "n_groups", "does not divide");
    refused(&t, "ssm_state_size", "31", "mixer", "its shape is");
    refused(&t, "mlp_hidden_act", "\"silu\"", "mlp_hidden_act", "relu2");
    close_trip(&t);
    return true;
}

static void test_nemotron(void **state)
{
    (void)state;
    if (!nemotron("nemotron-h", false)) {
        print_message("skipped: no nemotron-h.gguf\n");
        skip();
    }
    assert_true(nemotron("nemotron-h-moe", false));
    assert_true(nemotron("nemotron-h-moe-latent", true));
}

/* ---- Step 3.5 ---- */

static double entry(const trip *t, const char *key, int l)
{
    char name[96];
    (void)snprintf(name, sizeof name, "step35.%s", key);
    return qn__gguf_arr_float(qn__gguf_kv(t->g, name), (uint64_t)l);
}

static bool slides(const trip *t, int l)
{
    return at_layer(t, "attention.sliding_window_pattern", l) != 0;
}

/* Llama 3's stretching of a frequency, as the modelling code has it: wavelengths of the turning elements of a full layer. */
enum { STEP_FACTOR = 2, STEP_LOW = 1, STEP_HIGH = 4, STEP_CONTEXT = 128 }; /* what the golden file was made with */

static double stretch(double base, int n_rot, int i)
{
    double wave = 2 * 3.141592653589793 * pow(base, 2.0 * i / n_rot), smooth = (STEP_CONTEXT / wave - STEP_LOW) / (double)(STEP_HIGH - STEP_LOW);
    if (wave > (double)STEP_CONTEXT / STEP_LOW)
        return STEP_FACTOR;
    return wave < (double)STEP_CONTEXT / STEP_HIGH ? 1 : 1 / ((1 - smooth) / STEP_FACTOR + smooth);
}

static void put_step35(trip *t)
{
    static const hf_name keys[] = {{"sliding_window", "attention.sliding_window"}, {"moe_num_experts", "expert_count"}, {"moe_top_k", "expert_used_count"},
        {"share_expert_dim", "expert_shared_feed_forward_length"}, {"moe_router_scaling_factor", "expert_weights_scale"}, {"norm_expert_weight", "expert_weights_norm"}};
    static const hf_name plain[] = {{"attn_q.weight", "self_attn.q_proj.weight"}, {"attn_k.weight", "self_attn.k_proj.weight"},
        {"attn_v.weight", "self_attn.v_proj.weight"}, {"attn_output.weight", "self_attn.o_proj.weight"}, {"attn_gate.weight", "self_attn.g_proj.weight"},
        {"ffn_gate.weight", "mlp.gate_proj.weight"}, {"ffn_up.weight", "mlp.up_proj.weight"}, {"ffn_down.weight", "mlp.down_proj.weight"},
        {"ffn_gate_inp.weight", "moe.gate.weight"}, {"exp_probs_b.bias", "moe.router_bias"}, {"ffn_gate_exps.weight", "moe.gate_proj.weight"},
        {"ffn_up_exps.weight", "moe.up_proj.weight"}, {"ffn_down_exps.weight", "moe.down_proj.weight"}, {"ffn_gate_shexp.weight", "share_expert.gate_proj.weight"},
        {"ffn_up_shexp.weight", "share_expert.up_proj.weight"}, {"ffn_down_shexp.weight", "share_expert.down_proj.weight"}};
    int layers = (int)num(t, "block_count");
    json_t *c = t->f.config, *types = json_array(), *theta = json_array(), *partial = json_array(), *exps = json_array(), *shared = json_array();
    char moe[64] = "";
    common_keys(t, "Step3p5ForCausalLM");
    json_object_del(c, "num_key_value_heads");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        set(t, keys[i].gguf, keys[i].hf);
    same(t, "", -1, "token_embd.weight", "model.embed_tokens.weight");
    same(t, "", -1, "output.weight", "lm_head.weight");
    minus_one(t, "", -1, "output_norm.weight", "model.norm.weight");
    for (int l = 0; l < layers; l++) {
        bool s = slides(t, l);
        json_t *other = json_pack("{s:s,s:I,s:I,s:I}", "attention_type", "sliding_attention", "num_attention_heads", (json_int_t)at_layer(t, "attention.head_count", l),
                                  "num_attention_groups", (json_int_t)at_layer(t, "attention.head_count_kv", l), "head_dim", (json_int_t)num(t, "attention.key_length"));
        if (!s) {
            json_object_set(c, "num_attention_heads", json_object_get(other, "num_attention_heads"));
            json_object_set(c, "num_attention_groups", json_object_get(other, "num_attention_groups"));
        } else {
            json_object_set(c, "attention_other_setting", other);
        }
        json_decref(other);
        json_array_append_new(types, json_string(s ? "sliding_attention" : "full_attention"));
        json_array_append_new(theta, json_real(s ? 700 : 5000));
        json_array_append_new(partial, json_real(s ? 1 : 0.5));
        json_array_append_new(exps, entry(t, "swiglu_clamp_exp", l) > 0 ? json_real(entry(t, "swiglu_clamp_exp", l)) : json_null());
        json_array_append_new(shared, json_real(entry(t, "swiglu_clamp_shexp", l)));
        if (tensor(t, l, "ffn_gate_inp.weight"))
            (void)snprintf(moe + strlen(moe), sizeof moe - strlen(moe), "%s%d", moe[0] ? "," : "", l);
        for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
            same(t, LAYERS, l, plain[i].gguf, plain[i].hf);
        minus_one(t, LAYERS, l, "attn_norm.weight", "input_layernorm.weight");
        minus_one(t, LAYERS, l, "ffn_norm.weight", "post_attention_layernorm.weight");
        minus_one(t, LAYERS, l, "attn_q_norm.weight", "self_attn.q_norm.weight");
        minus_one(t, LAYERS, l, "attn_k_norm.weight", "self_attn.k_norm.weight");
    }
    json_object_set_new(c, "layer_types", types);
    json_object_set_new(c, "rope_theta", theta);
    json_object_set_new(c, "partial_rotary_factors", partial);
    json_object_set_new(c, "swiglu_limits", exps);
    json_object_set_new(c, "swiglu_limits_shared", shared);
    json_object_set_new(c, "moe_layers_enum", json_string(moe));
    json_object_set_new(c, "rope_scaling", json_pack("{s:s,s:f,s:f,s:f,s:i}", "rope_type", "llama3", "factor", (double)STEP_FACTOR, "low_freq_factor",
                                                     (double)STEP_LOW, "high_freq_factor", (double)STEP_HIGH, "original_max_position_embeddings", STEP_CONTEXT));
    json_object_set_new(c, "yarn_only_types", json_pack("[s]", "full_attention"));
}

static void forward_step35(trip *t, double (*got)[512], const double *factors)
{
    fw *w = &t->w;
    int n_embd = (int)num(t, "embedding_length"), d = (int)num(t, "attention.key_length"), n = (int)num(t, "expert_count"), used = (int)num(t, "expert_used_count");
    embed(t, "model.embed_tokens.weight");
    for (int l = 0; l < (int)num(t, "block_count"); l++) {
        int heads = (int)at_layer(t, "attention.head_count", l), kv = (int)at_layer(t, "attention.head_count_kv", l);
        bool s = slides(t, l);
        fw_mat qn = fw_layer(w, LAYERS, l, "self_attn.q_norm.weight"), kn = fw_layer(w, LAYERS, l, "self_attn.k_norm.weight");
        fw_norm(w, fw_layer(w, LAYERS, l, "input_layernorm.weight"), x, h);
        fw_all(w, fw_layer(w, LAYERS, l, "self_attn.q_proj.weight"), h, q);
        fw_all(w, fw_layer(w, LAYERS, l, "self_attn.k_proj.weight"), h, k);
        fw_all(w, fw_layer(w, LAYERS, l, "self_attn.v_proj.weight"), h, val);
        fw_all(w, fw_layer(w, LAYERS, l, "self_attn.g_proj.weight"), h, z);
        for (int i = 0; i < t->n; i++) {
            for (int j = 0; j < heads; j++)
                fw_rms(w, q[i] + j * d, qn.v, true, d, q[i] + j * d);
            for (int j = 0; j < kv; j++)
                fw_rms(w, k[i] + j * d, kn.v, true, d, k[i] + j * d);
        }
        fw_rope(w, q, heads, d, s ? d : d / 2, s ? 700 : 5000, s ? NULL : factors);
        fw_rope(w, k, kv, d, s ? d : d / 2, s ? 700 : 5000, s ? NULL : factors);
        fw_attend(w, q, k, val, heads, kv, d, s ? (int)num(t, "attention.sliding_window") : 0, false, att);
        for (int i = 0; i < t->n; i++)
            for (int c = 0; c < heads * d; c++)
                att[i][c] *= fw_sigmoid(z[i][c / d]);
        fw_all(w, fw_layer(w, LAYERS, l, "self_attn.o_proj.weight"), att, res);
        add_rows(t, x, res, n_embd);
        fw_norm(w, fw_layer(w, LAYERS, l, "post_attention_layernorm.weight"), x, h);
        memset(res, 0, sizeof res);
        fw_mat router = fw_layer(w, LAYERS, l, "moe.gate.weight"), bias = fw_layer(w, LAYERS, l, "moe.router_bias");
        const char *own = router.v ? "share_expert" : "mlp";
        char name[3][64];
        (void)snprintf(name[0], 64, "%s.gate_proj.weight", own), (void)snprintf(name[1], 64, "%s.up_proj.weight", own), (void)snprintf(name[2], 64, "%s.down_proj.weight", own);
        fw_mat g = fw_layer(w, LAYERS, l, name[0]), u = fw_layer(w, LAYERS, l, name[1]), o = fw_layer(w, LAYERS, l, name[2]);
        fw_mat eg = fw_layer(w, LAYERS, l, "moe.gate_proj.weight"), eu = fw_layer(w, LAYERS, l, "moe.up_proj.weight"), eo = fw_layer(w, LAYERS, l, "moe.down_proj.weight");
        for (int i = 0; i < t->n; i++) {
            double score[64];
            fw_mlp(g, u, o, router.v ? entry(t, "swiglu_clamp_shexp", l) : 0, h[i], 1, res[i]);
            if (!router.v)
                continue;
            fw_linear(router, fw_none, h[i], score);
            for (int e = 0; e < n; e++)
                score[e] = fw_sigmoid(score[e]);
            fw_choice c = fw_route(score, bias.v, n, used, true, 3);
            for (int j = 0; j < used; j++) {
                int e = c.expert[j];
                fw_mlp(fw_slice(eg, n, e), fw_slice(eu, n, e), fw_slice(eo, n, e), entry(t, "swiglu_clamp_exp", l), h[i], c.weight[j], res[i]);
            }
        }
        add_rows(t, x, res, n_embd);
    }
    logits(t, "model.norm.weight", got);
}

static void test_step35(void **state)
{
    static double got[16][512];
    double factors[64];
    trip t;
    (void)state;
    if (!open_trip(&t, "step35")) {
        print_message("skipped: no step35.gguf\n");
        skip();
    }
    put_step35(&t);
    t.w.eps = 0.001, t.w.plus_one = true;
    const qn_gguf_tensor *f = tensor(&t, -1, "rope_freqs.weight");
    for (int i = 0; i < 16; i++) {
        float v;
        memcpy(&v, f->data + 4 * i, 4);
        factors[i] = i < 8 ? stretch(5000, 16, i) : 1;
        assert_true(fabs((double)v - factors[i]) < 1e-6);
    }
    forward_step35(&t, got, factors);
    settle(&t, got, 1e-9, "step35");
    refused(&t, "moe_layers_enum", "\"1,2,4\"", "moe_layers_enum", "from one on to the last");
    refused(&t, "moe_layers_enum", "\"1,2,3,4,5,6\"", "moe_layers_enum", "from one on to the last");
    refused(&t, "partial_rotary_factors", "[1,1,1,1,1]", "partial_rotary_factors", "entry 0 is not 0.5");
    refused(&t, "rope_theta", "[5000,700,701,700,5000]", "rope_theta", "entry 2 differs");
    refused(&t, "attention_other_setting", "{\"num_attention_heads\":7}", "attention_other_setting", "do not fit");
    refused(&t, "layer_types", "[\"full_attention\"]", "layer_types", "has 1 entries");
    refused(&t, "swiglu_limits_shared", "[1,0,0,0,0]", "swiglu_limits_shared", "clamps a layer without experts");
    close_trip(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qwen),
        cmocka_unit_test(test_nemotron),
        cmocka_unit_test(test_step35),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
