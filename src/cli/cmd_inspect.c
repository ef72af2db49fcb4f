/* cmd_inspect.c - where a model's time and memory go. */
#include "cli/commands.h"
#include "cli/io.h"
#include "cli/report.h"

typedef struct inspect_options {
    int32_t prompt, tokens, runs, depths;
    bool no_depths, keep_cached;
    cli_probe probe;
    cli_report report;
} inspect_options;

static int inspect(const cli_command *c, int argc, char **argv)
{
    inspect_options o = {0};
    const char *operands[CLI_MAX_OPERANDS];
    char *report = NULL;
    qn_inspect_options p;
    qn_inspect_options_init(&p);
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc == CLI_GO && o.depths && o.no_depths)
        return cli_usage(c, "--depths and --no-depths contradict each other");
    if (rc == CLI_GO)
        rc = cli_report_check(c, &o.report);
    if (rc != CLI_GO || (rc = cli_probe_fill(c, &o.probe, operands[0], &p.probe)) != CLI_GO)
        return rc;
    p.n_prompt = o.prompt;
    p.n_generate = o.tokens;
    p.runs = o.runs;
    p.n_depths = o.no_depths ? -1 : o.depths;
    p.keep_cached = o.keep_cached;
    qn_err err;
    const qn_status s = qn_inspect(&p, &report, &err);
    cli_probe_done(&o.probe);
    rc = s == QN_OK ? cli_report_put(&o.report, report, NULL) : cli_fail(&err);
    qn_free(report);
    return rc;
}

static const cli_option options[] = {
    {"--prompt", "-p", CLI_INT, "N", offsetof(inspect_options, prompt), 1, 16777216, "tokens of the prompts, which are made up (default 512, or half of the context)"},
    {"--tokens", "-n", CLI_INT, "N", offsetof(inspect_options, tokens), 2, 1000000, "tokens generated in each run (default 128)"},
    {"--runs", "-r", CLI_INT, "N", offsetof(inspect_options, runs), 1, 100, "warm runs (default 3)"},
    {"--depths", NULL, CLI_INT, "N", offsetof(inspect_options, depths), 1, 100, "measure the speed at so many points from an empty to a full context (default 5)"},
    {"--no-depths", NULL, CLI_FLAG, NULL, offsetof(inspect_options, no_depths), 0, 0, "at none: much quicker with a long context"},
    {"--keep-cached", NULL, CLI_FLAG, NULL, offsetof(inspect_options, keep_cached), 0, 0, "do not make the system forget the file before the cold run"},
    CLI_REPORT_OPTIONS(inspect_options, report),
    CLI_PROBE_OPTIONS(inspect_options, probe, "context (default: the model's, at most 4096)"),
    CLI_CACHE_OPTIONS(inspect_options, probe.engine),
};

const cli_command cli_cmd_inspect = {
    .name = "inspect",
    .usage = "[MODEL] [--html FILE] [-p N] [-n N] [--ctx N] [--endpoint URL --model NAME]",
    .summary = "Look into a run: phases, every token's time, spikes and their causes, memory.",
    .details = "Without MODEL the embedded one is looked into. Prompts are made-up tokens. A token that took too long (median and six median "
               "absolute deviations) is named with its cause where one can be known: a page fault, a page evicted from the KV cache, a context "
               "switch, a slower clock, another request and its prefill. Of a server (--endpoint) only what can be seen from outside is "
               "measured, and the report says what is not.",
    .max_operands = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = inspect,
};
