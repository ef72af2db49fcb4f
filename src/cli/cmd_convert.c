/* cmd_convert.c - a Hugging Face checkpoint folder -> a GGUF file. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/progress.h"
#include "cli/term.h"

typedef struct convert_options {
    const char *out, *pre, *name;
    int type; /* qn_convert_type */
    bool json, quiet;
} convert_options;

static bool on_progress(void *arg, uint64_t done, uint64_t total, const char *tensor)
{
    (void)tensor;
    cli_progress_at(arg, "converting", "MB", (size_t)(done >> 20), (size_t)(total >> 20));
    return !term_interrupted();
}

static int put_json(const convert_options *o, const char *in, const qn_convert_result *r, double seconds)
{
    json_t *j = json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:f}", "input", in, "output", o->out, "architecture",
                          r->architecture, "pre", r->pre, "tensors", (json_int_t)r->n_tensors, "left_out",
                          (json_int_t)r->n_left_out, "tokens_left_out", (json_int_t)r->n_tokens_left_out, "bytes",
                          (json_int_t)r->bytes, "seconds", seconds);
    char *s = j ? json_dumps(j, JSON_COMPACT) : NULL;
    const int rc = s ? cli_printf("%s\n", s) : cli_fail_text("convert", "the result cannot be written as JSON");
    free(s);
    json_decref(j);
    return rc;
}

static int put_text(const convert_options *o, const qn_convert_result *r, double seconds)
{
    cli_printf("made %s: %s, %zu tensors, %.2f MB, pre-tokenizer %s; %.1f s\n", o->out, r->architecture, r->n_tensors,
               (double)r->bytes / 1e6, r->pre, seconds);
    if (r->n_left_out)
        cli_printf("  %zu tensors are of no use to the language model and were left out (%s%s)\n", r->n_left_out,
                   r->left_out, r->n_left_out > 1 ? ", ..." : "");
    if (r->n_tokens_left_out)
        cli_printf("  %zu added tokens have no row in the embedding and were left out\n", r->n_tokens_left_out);
    return cli_flush();
}

static int convert(const cli_command *c, int argc, char **argv)
{
    convert_options o = {0};
    const char *operands[CLI_MAX_OPERANDS];
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc != CLI_GO)
        return rc;
    if (!o.out)
        return cli_usage(c, "-o OUT.gguf is missing");
    qn_convert_options q;
    qn_convert_result r;
    qn_err err;
    cli_progress bar;
    qn_convert_options_init(&q);
    q.in = operands[0];
    q.out = o.out;
    q.type = (qn_convert_type)o.type;
    q.pre = o.pre;
    q.name = o.name;
    q.progress = on_progress;
    q.arg = &bar;
    cli_progress_start(&bar, !o.quiet);
    const double start = term_now();
    term_catch();
    const qn_status s = qn_convert(&q, &r, &err);
    term_release();
    cli_progress_clear(&bar);
    if (s != QN_OK)
        return cli_fail(&err);
    if (o.json)
        return put_json(&o, operands[0], &r, term_now() - start);
    return o.quiet ? CLI_OK : put_text(&o, &r, term_now() - start);
}

static const cli_option options[] = {
    {"--output", "-o", CLI_TEXT, "OUT.gguf", offsetof(convert_options, out), 0, 0, "the file to be written"},
    {"--type", NULL, CLI_CHOICE, "auto|f32|f16|bf16|q8_0", offsetof(convert_options, type), 0, 0,
     "of the matrices; auto: as the checkpoint has them, FP8 as BF16, MXFP4 as it is (default)"},
    {"--pre", NULL, CLI_TEXT, "NAME", offsetof(convert_options, pre), 0, 0,
     "the pre-tokenizer's name, when it cannot be told from the tokenizer"},
    {"--name", NULL, CLI_TEXT, "NAME", offsetof(convert_options, name), 0, 0, "the model's name (default: the folder's)"},
    {"--json", NULL, CLI_FLAG, NULL, offsetof(convert_options, json), 0, 0, "the result as one JSON object"},
    {"--quiet", "-q", CLI_FLAG, NULL, offsetof(convert_options, quiet), 0, 0, "no bar and no result, only errors"},
};

const cli_command cli_cmd_convert = {
    .name = "convert",
    .usage = "DIR|FILE.safetensors -o OUT.gguf [--type auto|f32|f16|bf16|q8_0] [--pre NAME]",
    .summary = "Make a GGUF file of a Hugging Face checkpoint.",
    .details = "DIR holds config.json, model.safetensors (or its shards and their index), tokenizer.json or tokenizer.model, "
               "and what else describes the tokenizer and the chat template. Weights may be F32, F16, BF16, FP8 with "
               "scales, or MXFP4 experts. Families: Llama, Mistral, Mixtral, Granite, Qwen2, Qwen3 and their experts, "
               "Cohere2 and its experts, Gemma 2 and 3, Phi-3, StarCoder2, OLMo 2 and 3, OLMoE, GLM-4, Seed-OSS, MiniMax-M2, "
               "gpt-oss, DeepSeek. What cannot be converted is refused with the key or tensor named; OUT appears "
               "whole or not at all; Ctrl-C leaves nothing.",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = convert,
};
