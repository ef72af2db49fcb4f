/* dialect.c - the list of dialects, and which one a rendered call is written in. See dialect.h. */
#include "text/toolcall/dialect.h"

#include <string.h>

/* Those with the most particular signs first: <tool_call> alone says little. */
static const qn_dialect *const all[] = {
    &qn__dialect_harmony,    &qn__dialect_qwen3_coder,   &qn__dialect_seed,        &qn__dialect_glm,
    &qn__dialect_hermes,     &qn__dialect_mistral,       &qn__dialect_mistral_array, &qn__dialect_deepseek_r1,
    &qn__dialect_deepseek,   &qn__dialect_deepseek_dsml, &qn__dialect_deepseek_v4, &qn__dialect_cohere,      &qn__dialect_cohere_action,
    &qn__dialect_kimi,       &qn__dialect_minimax,       &qn__dialect_apertus,     &qn__dialect_apriel,
    &qn__dialect_phi4,       &qn__dialect_granite,       &qn__dialect_gigachat,    &qn__dialect_gigachat_role,
    &qn__dialect_firefunction, &qn__dialect_functionary, &qn__dialect_functionary_recipient,
    &qn__dialect_gemma, &qn__dialect_llama3_python, &qn__dialect_llama3,     &qn__dialect_json,
};

const qn_dialect *qn__dialect(size_t i)
{
    return i < sizeof all / sizeof *all ? all[i] : NULL;
}

const qn_dialect *qn__dialect_find(const char *name)
{
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return NULL;
}

const qn_dialect *qn__dialect_of(const char *call, size_t n, const char *name)
{
    if (!memmem(call, n, name, strlen(name)))
        return NULL;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const char *p = call, *end = call + n;
        for (size_t k = 0; k < 3 && all[i]->sign[k] && p; k++) {
            const char *at = memmem(p, (size_t)(end - p), all[i]->sign[k], strlen(all[i]->sign[k]));
            p = at ? at + 1 : NULL;
        }
        if (p)
            return all[i];
    }
    return NULL;
}

static const qn_thinking thinkings[] = {
    {"<think>", "</think>", false},
    {"<seed:think>", "</seed:think>", false},
    {"<thinking>", "</thinking>", false},
    {"[THINK]", "[/THINK]", true},
    {"<|START_THINKING|>", "<|END_THINKING|>", true},
    {"<|inner_prefix|>", "<|inner_suffix|>", true},
    {"<|channel>thought\n", "<channel|>", true},
    {"Here are my reasoning steps:\n", "[BEGIN FINAL RESPONSE]", false},
};

size_t qn__thinking_of(const char *source, size_t n, qn_thinking out[QN_MAX_THINKING])
{
    size_t count = 0;
    for (size_t i = 0; i < sizeof thinkings / sizeof *thinkings; i++) {
        const qn_thinking *t = &thinkings[i];
        size_t open = strcspn(t->open, "\n");
        if (i == 0 || (source && (memmem(source, n, t->open, open) || memmem(source, n, t->close, strlen(t->close)))))
            out[count++] = *t;
    }
    return count;
}
