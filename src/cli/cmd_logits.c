/* cmd_logits.c - token ids -> raw float32 logits. Its form is fixed: other tools check us by it. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/open.h"

typedef struct logits_options {
    const char *tokens, *out;
    int32_t rows;
    cli_engine engine;
} logits_options;

static int compute(const char *path, logits_options *o, const int32_t *ids, size_t n)
{
    qn_model *m = NULL;
    qn_engine *e = NULL;
    float *logits = NULL;
    int rc = cli_model_open(path, QN_OPEN_FULL, &m);
    if (rc != CLI_OK)
        goto out;
    qn_model_info info;
    qn_model_get_info(m, &info);
    /* The context that the file states, whatever the prompt's length: the long-context forms of rope depend on it. */
    if (!o->engine.ctx && info.n_ctx_train > 0)
        o->engine.ctx = info.n_ctx_train;
    rc = cli_engine_open(m, &o->engine, &e);
    if (rc != CLI_OK)
        goto out;
    qn_engine_info ei;
    qn_engine_get_info(e, &ei);
    const size_t rows = (size_t)o->rows;
    logits = calloc(rows * (size_t)ei.n_vocab, sizeof *logits);
    if (!logits) {
        rc = cli_fail_text("logits", "%zu rows of %d floats do not fit the memory; ask for fewer --rows", rows,
                           (int)ei.n_vocab);
        goto out;
    }
    qn_err err;
    rc = qn_logits(e, ids, n, rows, logits, &err) == QN_OK ? cli_write_floats(o->out, logits, rows * (size_t)ei.n_vocab)
                                                           : cli_fail(&err);
out:
    free(logits);
    qn_engine_close(e);
    qn_model_close(m);
    return rc;
}

static int logits(const cli_command *c, int argc, char **argv)
{
    logits_options o = {.rows = 1};
    const char *operands[CLI_MAX_OPERANDS];
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc == CLI_GO)
        rc = cli_engine_check(c, &o.engine);
    if (rc != CLI_GO)
        return rc;
    if (!o.tokens)
        return cli_usage(c, "--tokens 1,5,9 is missing");
    if (!o.out)
        return cli_usage(c, "-o OUT.f32 is missing");
    int32_t *ids;
    size_t n;
    if (!cli_ids(o.tokens, &ids, &n))
        return cli_usage(c, "--tokens: '%.40s' is not a list of token ids like 1,5,9", o.tokens);
    if ((size_t)o.rows > n)
        rc = cli_usage(c, "--rows: %d is more than the %zu tokens given", (int)o.rows, n);
    else
        rc = compute(operands[0], &o, ids, n);
    free(ids);
    return rc;
}

static const cli_option options[] = {
    {"--tokens", NULL, CLI_TEXT, "1,5,9", offsetof(logits_options, tokens), 0, 0,
     "the token ids; nothing is added to them"},
    {"--rows", NULL, CLI_INT, "LAST_N", offsetof(logits_options, rows), 1, INT32_MAX,
     "the last N positions, ascending (default 1)"},
    {"--output", "-o", CLI_TEXT, "OUT.f32", offsetof(logits_options, out), 0, 0,
     "where to write; the file appears whole or not at all; - is standard output"},
    CLI_ENGINE_OPTIONS(logits_options, engine, "context length (default: what the model states)"),
};

const cli_command cli_cmd_logits = {
    .name = "logits",
    .usage = "MODEL --tokens 1,5,9[,...] [--rows LAST_N] [--threads N] [--chunk N] [--kv f16|f32|q8_0] -o OUT.f32",
    .summary = "Compute the logits of the last positions of a token sequence.",
    .details = "Writes raw little-endian float32, one row of n_vocab numbers per position.\n\n"
               "Example: quern logits embedded --tokens 1,5,9 --rows 2 -o out.f32",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = logits,
};
