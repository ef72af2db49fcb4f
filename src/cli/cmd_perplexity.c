/* cmd_perplexity.c - how well a model predicts a text. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/open.h"
#include "cli/progress.h"
#include "cli/term.h"

typedef struct perplexity_options {
    const char *file;
    bool json;
    cli_engine engine;
} perplexity_options;

static bool on_progress(void *arg, size_t done, size_t total, double ppl)
{
    (void)ppl;
    cli_progress_at(arg, "measuring", "windows", done, total);
    return !term_interrupted();
}

static int put_result(const perplexity_options *o, const char *model, const qn_engine_info *e, const qn_perplexity *p)
{
    if (!o->json)
        return cli_printf("perplexity %.4f +- %.4f (%.5f nats per token; %zu of %zu tokens scored, context %d)\n",
                          p->ppl, p->error, p->nll, p->n_scored, p->n_tokens, (int)e->n_ctx);
    json_t *j = json_pack("{s:s,s:s,s:f,s:f,s:f,s:I,s:I,s:i,s:s}", "model", model, "text", o->file, "perplexity",
                          p->ppl, "error", p->error, "nll", p->nll, "scored", (json_int_t)p->n_scored, "tokens",
                          (json_int_t)p->n_tokens, "ctx", (int)e->n_ctx, "cpu", e->cpu);
    char *s = j ? json_dumps(j, JSON_COMPACT) : NULL;
    const int rc = s ? cli_printf("%s\n", s) : cli_fail_text("perplexity", "the result cannot be written as JSON");
    free(s);
    json_decref(j);
    return rc;
}

static int measure(const char *path, perplexity_options *o)
{
    enum { WINDOW = 512 }; /* what published figures commonly use */
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
        o->engine.ctx = info.n_ctx_train > 0 && info.n_ctx_train < WINDOW ? info.n_ctx_train : WINDOW;
    rc = cli_engine_open(m, &o->engine, &e);
    if (rc != CLI_OK)
        goto out;
    if (qn_tokenize(m, text, n, false, QN_BOS_AUTO, &ids, &n_ids, &err) != QN_OK) {
        rc = cli_fail(&err);
        goto out;
    }
    cli_progress bar;
    qn_perplexity p;
    cli_progress_start(&bar, true);
    term_catch();
    const qn_status s = qn_measure_perplexity(e, ids, n_ids, 0, on_progress, &bar, &p, &err);
    term_release();
    cli_progress_clear(&bar);
    qn_engine_info ei;
    qn_engine_get_info(e, &ei);
    rc = s == QN_OK ? put_result(o, path, &ei, &p) : cli_fail(&err);
out:
    qn_free(ids);
    free(text);
    qn_engine_close(e);
    qn_model_close(m);
    return rc;
}

static int perplexity(const cli_command *c, int argc, char **argv)
{
    perplexity_options o = {0};
    const char *operands[CLI_MAX_OPERANDS];
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc == CLI_GO)
        rc = cli_engine_check(c, &o.engine);
    if (rc != CLI_GO)
        return rc;
    if (!o.file)
        return cli_usage(c, "-f TEXT is missing");
    return measure(operands[0], &o);
}

static const cli_option options[] = {
    {"--file", "-f", CLI_TEXT, "TEXT", offsetof(perplexity_options, file), 0, 0,
     "the text to predict; - is standard input"},
    {"--json", NULL, CLI_FLAG, NULL, offsetof(perplexity_options, json), 0, 0, "the result as one JSON object"},
    CLI_ENGINE_OPTIONS(perplexity_options, engine,
                       "tokens in a window (default: 512, or less where the model states less)"),
};

const cli_command cli_cmd_perplexity = {
    .name = "perplexity",
    .usage = "MODEL -f TEXT [--ctx N] [--json]",
    .summary = "Measure how well a model predicts a text (lower is better).",
    .details = "The text is cut into windows of --ctx tokens; the second half of each is scored, so that every scored "
               "token has at least half a window before it. The figure is exp(mean negative log-likelihood) with its "
               "standard error; compare it only between runs with the same text, window and tokenizer.",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = perplexity,
};
