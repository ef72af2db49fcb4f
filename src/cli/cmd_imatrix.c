/* cmd_imatrix.c - an importance matrix of a model from a text, for quern quantize. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/open.h"
#include "cli/progress.h"
#include "cli/term.h"

typedef struct imatrix_options {
    const char *file, *out;
    bool json, quiet;
    cli_engine engine; /* ctx: tokens of a chunk */
} imatrix_options;

static bool on_progress(void *arg, size_t done, size_t total)
{
    cli_progress_at(arg, "measuring", "chunks", done, total);
    return !term_interrupted();
}

static int put_result(const imatrix_options *o, const char *model, const qn_imatrix_result *r)
{
    if (o->quiet)
        return CLI_OK;
    if (!o->json) {
        cli_printf("measured %zu matrices over %zu tokens in %zu chunks\n", r->matrices, r->tokens, r->chunks);
        if (r->unmet)
            cli_printf("  %zu of them are of experts that the text never chose; a longer or more varied text may\n", r->unmet);
        return cli_flush();
    }
    json_t *j = json_pack("{s:s,s:s,s:s,s:I,s:I,s:I,s:I}", "model", model, "text", o->file, "output", o->out, "chunks",
                          (json_int_t)r->chunks, "tokens", (json_int_t)r->tokens, "matrices", (json_int_t)r->matrices, "unmet",
                          (json_int_t)r->unmet);
    char *s = j ? json_dumps(j, JSON_COMPACT) : NULL;
    const int rc = s ? cli_printf("%s\n", s) : cli_fail_text("imatrix", "the result cannot be written as JSON");
    free(s);
    json_decref(j);
    return rc;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int measure(const char *path, imatrix_options *o)
{
    enum { CHUNK = 512 }; /* what files of this kind commonly have */
    qn_model *m = NULL;
    qn_engine *e = NULL;
    char *text = NULL;
    int32_t *ids = NULL;
    size_t n = 0, n_ids = 0;
    qn_err err;
    int rc = cli_read(o->file, &text, &n);
    if (rc == CLI_OK)
        rc = cli_model_open(path, QN_OPEN_FULL, &m);
    if (rc != CLI_OK)
        goto out;
    qn_model_info info;
    qn_model_get_info(m, &info);
    if (!o->engine.ctx)
        o->engine.ctx = info.n_ctx_train > 0 && info.n_ctx_train < CHUNK ? info.n_ctx_train : CHUNK;
    rc = cli_engine_open(m, &o->engine, &e);
    if (rc != CLI_OK)
        goto out;
    if (qn_tokenize(m, text, n, false, QN_BOS_NO, &ids, &n_ids, &err) != QN_OK) {
        rc = cli_fail(&err);
        goto out;
    }
    cli_progress bar;
    qn_imatrix_result r;
    const qn_imatrix_options q = {.path = o->out, .dataset = base_name(o->file), .progress = on_progress, .arg = &bar};
    cli_progress_start(&bar, !o->quiet);
    term_catch();
    const qn_status s = qn_measure_imatrix(e, ids, n_ids, &q, &r, &err);
    term_release();
    cli_progress_clear(&bar);
    rc = s == QN_OK ? put_result(o, path, &r) : cli_fail(&err);
out:
    qn_free(ids);
    free(text);
    qn_engine_close(e);
    qn_model_close(m);
    return rc;
}

static int imatrix(const cli_command *c, int argc, char **argv)
{
    imatrix_options o = {0};
    const char *operands[CLI_MAX_OPERANDS];
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc == CLI_GO)
        rc = cli_engine_check(c, &o.engine);
    if (rc != CLI_GO)
        return rc;
    if (!o.file)
        return cli_usage(c, "-f TEXT is missing");
    if (!o.out)
        return cli_usage(c, "-o FILE is missing");
    return measure(operands[0], &o);
}

static const cli_option options[] = {
    {"--file", "-f", CLI_TEXT, "TEXT", offsetof(imatrix_options, file), 0, 0,
     "the text to read; - is standard input; some hundred kilobytes like what the model will be used for"},
    {"--output", "-o", CLI_TEXT, "FILE", offsetof(imatrix_options, out), 0, 0,
     "where to write the importance matrix (GGUF); the file appears whole or not at all"},
    {"--chunk", NULL, CLI_INT, "N", offsetof(imatrix_options, engine.ctx), 2, 65536,
     "tokens read from one beginning (default: 512, or less where the model states less)"},
    {"--threads", "-t", CLI_INT, "N", offsetof(imatrix_options, engine.threads), 1, 512,
     "threads (default: chosen from the machine)"},
    {"--cpu", NULL, CLI_TEXT, "LEVEL", offsetof(imatrix_options, engine.cpu), 0, 0,
     "kernel level: ref, avx2 or avx512 (default: $QUERN_CPU, then the best that the machine has)"},
    {"--json", NULL, CLI_FLAG, NULL, offsetof(imatrix_options, json), 0, 0, "the result as one JSON object"},
    {"--quiet", "-q", CLI_FLAG, NULL, offsetof(imatrix_options, quiet), 0, 0, "no bar and no result, only errors"},
};

const cli_command cli_cmd_imatrix = {
    .name = "imatrix",
    .usage = "MODEL -f TEXT -o FILE [--chunk N] [--threads N]",
    .summary = "Measure which weights matter, for quantize --imatrix.",
    .details = "The model reads the text chunk by chunk; for each column of each matrix the squares of what met it are added up. "
               "A text shorter than a chunk is one chunk; what does not fill a last one is left out.\n\n"
               "Example: quern imatrix model-f16.gguf -f code.txt -o model.imatrix",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = imatrix,
};
