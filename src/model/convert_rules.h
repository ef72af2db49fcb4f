/* convert_rules.h - the pieces of which tables of families are put together; see convert_int.h for what a rule says. Included
 * by the tables alone. */
#ifndef QN_MODEL_CONVERT_RULES_H
#define QN_MODEL_CONVERT_RULES_H

#include "model/convert_int.h"

#define L "layers.*."
#define B "blk.*."
/* A weight, and its bias that may be there. */
#define WITH_BIAS(hf, gguf, shape, bias_shape, op, need)                                                               \
    {L hf ".weight", B gguf ".weight", shape, op, need}, {L hf ".bias", B gguf ".bias", bias_shape, op, QN_CV_MAYBE}

static const qn__cv_rule r_globals[] = {
    {"embed_tokens.weight", "token_embd.weight", "VE", QN_CV_COPY, QN_CV_ALWAYS},
    {"norm.weight", "output_norm.weight", "E", QN_CV_NORM, QN_CV_ALWAYS},
    {"norm.bias", "output_norm.bias", "E", QN_CV_COPY, QN_CV_MAYBE},
    {"lm_head.weight", "output.weight", "VE", QN_CV_COPY, QN_CV_HEAD},
    {0}};

#define ATTENTION                                                                                                      \
    WITH_BIAS("self_attn.q_proj", "attn_q", "QE", "Q", QN_CV_Q, QN_CV_ATTN),                                         \
    WITH_BIAS("self_attn.k_proj", "attn_k", "KE", "K", QN_CV_Q, QN_CV_ATTN),                                         \
    WITH_BIAS("self_attn.v_proj", "attn_v", "KE", "K", QN_CV_COPY, QN_CV_ATTN),                                      \
    WITH_BIAS("self_attn.o_proj", "attn_output", "EO", "E", QN_CV_COPY, QN_CV_ATTN)
#define IN_NORM {L "input_layernorm.weight", B "attn_norm.weight", "E", QN_CV_NORM, QN_CV_ALWAYS}
#define MID_NORM(to) {L "post_attention_layernorm.weight", B to ".weight", "E", QN_CV_NORM, QN_CV_ALWAYS}
#define QK_NORM(q, k)                                                                                                  \
    {L "self_attn.q_norm.weight", B "attn_q_norm.weight", q, QN_CV_NORM, QN_CV_ATTN},                                \
    {L "self_attn.k_norm.weight", B "attn_k_norm.weight", k, QN_CV_NORM, QN_CV_ATTN}
#define GATED_MLP                                                                                                      \
    WITH_BIAS("mlp.gate_proj", "ffn_gate", "FE", "F", QN_CV_COPY, QN_CV_DENSE),                                        \
    WITH_BIAS("mlp.up_proj", "ffn_up", "FE", "F", QN_CV_COPY, QN_CV_DENSE),                                            \
    WITH_BIAS("mlp.down_proj", "ffn_down", "EF", "E", QN_CV_COPY, QN_CV_DENSE)

#define EXPERT(from, gate, up, down)                                                                                   \
    {L from ".experts.#." gate ".weight", B "ffn_gate_exps.weight", "ME", QN_CV_COPY, QN_CV_MOE},                      \
    {L from ".experts.#." up ".weight", B "ffn_up_exps.weight", "ME", QN_CV_COPY, QN_CV_MOE},                          \
    {L from ".experts.#." down ".weight", B "ffn_down_exps.weight", "EM", QN_CV_COPY, QN_CV_MOE}
/* The experts of a layer in one tensor. */
#define PACKED                                                                                                         \
    {L "mlp.experts.gate_up_proj", B "ffn_gate_exps.weight", "XNE", QN_CV_GATE, QN_CV_PACKED},                         \
    {L "mlp.experts.gate_up_proj", B "ffn_up_exps.weight", "XNE", QN_CV_UP, QN_CV_PACKED},                             \
    {L "mlp.experts.down_proj", B "ffn_down_exps.weight", "XEM", QN_CV_COPY, QN_CV_PACKED}
#define ROUTER(from) {L from ".gate.weight", B "ffn_gate_inp.weight", "XE", QN_CV_COPY, QN_CV_MOE}
#define SHARED(from, need)                                                                                             \
    {L from ".gate_proj.weight", B "ffn_gate_shexp.weight", "SE", QN_CV_COPY, need},                                   \
    {L from ".up_proj.weight", B "ffn_up_shexp.weight", "SE", QN_CV_COPY, need},                                       \
    {L from ".down_proj.weight", B "ffn_down_shexp.weight", "ES", QN_CV_COPY, need}

static const qn__cv_rule r_moe[] = {ROUTER("mlp"), EXPERT("mlp", "gate_proj", "up_proj", "down_proj"), PACKED, {0}};

#endif
