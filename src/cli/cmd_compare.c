/* cmd_compare.c - the fair comparison of models: the same questions, several runs, and whether a difference is more than chance. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/report.h"

typedef struct compare_options {
    const char *suite, *text;
    bool quants, verbatim;
    int32_t runs, max_tokens, text_tokens, rescore;
    cli_probe probe;
    cli_report report;
} compare_options;

static int check(const cli_command *c, const compare_options *o, const char *const *who, size_t n)
{
    if (o->rescore && (n || o->quants || o->runs || o->verbatim || o->max_tokens))
        return cli_usage(c, "--rescore asks nobody: it takes --suite at most, no contenders and none of their options");
    if (o->rescore)
        return cli_report_check(c, &o->report);
    if (n < 2)
        return cli_usage(c, "a comparison needs two contenders at least");
    if (n > 16)
        return cli_usage(c, "a comparison has 16 contenders at most");
    if (!o->suite && !o->quants)
        return cli_usage(c, "--suite FILE is missing (or --quants, for quantisations of one model)");
    if ((o->text || o->text_tokens) && !o->quants)
        return cli_usage(c, "%s belongs to --quants", o->text ? "--text" : "--text-tokens");
    if (!o->suite && (o->runs || o->verbatim || o->max_tokens))
        return cli_usage(c, "%s belongs to --suite", o->runs ? "--runs" : o->verbatim ? "--verbatim" : "--max-tokens");
    for (size_t i = 0; o->quants && i < n; i++)
        if (strncmp(who[i], "http://", 7) == 0 || strncmp(who[i], "https://", 8) == 0)
            return cli_usage(c, "--quants compares files, and %s is a server", who[i]);
    return cli_report_check(c, &o->report);
}

static int compare(const cli_command *c, int argc, char **argv)
{
    compare_options o = {0};
    const char *operands[CLI_MAX_OPERANDS];
    char *report = NULL;
    qn_compare_options k;
    size_t n = 0;
    int rc = cli_parse(c, argc, argv, &o, operands);
    while (rc == CLI_GO && n < CLI_MAX_OPERANDS && operands[n])
        n++;
    if (rc == CLI_GO)
        rc = check(c, &o, operands, n);
    qn_compare_options_init(&k);
    /* Keys are for the servers among the contenders; who is asked is not the options' business here. */
    const char *key_file = o.probe.key_file;
    char *key = NULL;
    size_t n_key = 0;
    o.probe.key_file = NULL;
    if (rc == CLI_GO && key_file && (rc = cli_read(key_file, &key, &n_key)) == CLI_OK) {
        key[strcspn(key, "\r\n")] = 0;
        rc = CLI_GO;
    }
    if (rc != CLI_GO || (rc = cli_probe_fill(c, &o.probe, NULL, &k.probe)) != CLI_GO) {
        free(key);
        return rc;
    }
    k.probe.key = key;
    k.subjects = operands;
    k.n_subjects = n;
    k.suite = o.suite;
    k.quants = o.quants;
    k.text = o.text;
    k.text_tokens = o.text_tokens;
    k.runs = o.runs;
    k.verbatim = o.verbatim;
    k.max_tokens = o.max_tokens;
    k.rescore = o.rescore;
    qn_err err;
    const qn_status s = qn_compare(&k, &report, &err);
    cli_probe_done(&o.probe);
    rc = s == QN_OK ? cli_report_put(&o.report, report, NULL) : cli_fail(&err);
    qn_free(report);
    free(key);
    return rc;
}

static const cli_option options[] = {
    {"--suite", "-s", CLI_TEXT, "FILE", offsetof(compare_options, suite), 0, 0, "the questions: Markdown, as in suites/ (suites/README.md says how to write one)"},
    {"--runs", "-r", CLI_INT, "N", offsetof(compare_options, runs), 1, 100,
     "how often each question is asked (default 3): first as it is written, then with other words that mean the same"},
    {"--verbatim", NULL, CLI_FLAG, NULL, offsetof(compare_options, verbatim), 0, 0, "the same words each time (shows only whether a server answers the same twice)"},
    {"--max-tokens", "-n", CLI_INT, "N", offsetof(compare_options, max_tokens), 1, 1000000, "tokens of an answer (default: what the suite says, else 512)"},
    {"--quants", NULL, CLI_FLAG, NULL, offsetof(compare_options, quants), 0, 0,
     "the files are quantisations of one model, the first is the reference: size, memory, speed, perplexity, divergence"},
    {"--text", NULL, CLI_TEXT, "FILE", offsetof(compare_options, text), 0, 0, "the text that is read for --quants (default: a small one inside)"},
    {"--text-tokens", NULL, CLI_INT, "N", offsetof(compare_options, text_tokens), 4, 100000000, "how much of it (default 1024)"},
    {"--rescore", NULL, CLI_INT, "RUN", offsetof(compare_options, rescore), 1, 2147483647,
     "judge the answers of a comparison in the ledger again, with what the suite checks now; nothing is asked"},
    CLI_REPORT_OPTIONS(compare_options, report),
    {"--api-key-file", NULL, CLI_TEXT, "FILE", offsetof(compare_options, probe.key_file), 0, 0, "a file that holds the key of all servers among the contenders"},
    {"--seed", NULL, CLI_SEED, "N", offsetof(compare_options, probe.seed), 0, 0, "what other words are chosen follows from it (default 0)"},
    {"--fresh", NULL, CLI_FLAG, NULL, offsetof(compare_options, probe.fresh), 0, 0, "begin anew instead of going on with a run that was ended"},
    {"--ledger", NULL, CLI_TEXT, "FILE", offsetof(compare_options, probe.ledger), 0, 0, "where answers are kept (default: $XDG_DATA_HOME/quern/ledger.db)"},
    CLI_ENGINE_OPTIONS(compare_options, probe.engine, "context of a question and its answer (default: what the model states, if memory holds it)"),
};

const cli_command cli_cmd_compare = {
    .name = "compare",
    .usage = "A B [C ...] --suite FILE [--runs N] [--quants] [--json] [--html FILE] | --rescore RUN [--suite FILE]",
    .summary = "Ask models the same questions and say which differences are more than chance.",
    .details = "A, B, ...: the path of a GGUF, `embedded`, or URL#MODEL for an OpenAI-compatible server (--api-key-file serves all of them). "
               "Everybody gets the same questions in the same order at temperature 0. Right in every run is solid, right in some is luck. "
               "A suite's checks are tried on its own example answers first. Programs run with bubblewrap: no network, a read-only system, "
               "limits on time, memory and processes. Ctrl-C ends a run; the same command goes on where it was.",
    .min_operands = 0,
    .max_operands = CLI_MAX_OPERANDS,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = compare,
};
