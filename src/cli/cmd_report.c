/* cmd_report.c - a model as an agent: tasks with tools, in four tiers, and why they fail. */
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/report.h"

typedef struct report_options {
    const char *tiers, *families;
    int path;
    double repeats, temp, top_p, deadline;
    int32_t limit, max_tokens, rescore;
    bool all_tiers, unconstrained, constrain_json;
    cli_report report;
    cli_probe probe;
} report_options;

/* Names of a list as bits; false: an unknown one, which is said. */
static bool read_tiers(const cli_command *c, const char *text, uint32_t *bits)
{
    static const char *const names[] = {"easy", "medium", "hard", "extreme"};
    while (text && *text) {
        const size_t n = strcspn(text, ",");
        uint32_t bit = 0;
        for (size_t i = 0; i < 4; i++)
            if (strlen(names[i]) == n && strncmp(names[i], text, n) == 0)
                bit = 1u << i;
        if (!bit) {
            (void)cli_usage(c, "--tiers: '%.*s' is none of easy, medium, hard, extreme", (int)n, text);
            return false;
        }
        *bits |= bit;
        text += n + (text[n] == ',');
    }
    return true;
}

static int report(const cli_command *c, int argc, char **argv)
{
    report_options o = {.top_p = 1};
    const char *operands[CLI_MAX_OPERANDS];
    char *text = NULL;
    qn_agent_options a;
    qn_agent_options_init(&a);
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc == CLI_GO)
        rc = cli_report_check(c, &o.report);
    if (rc == CLI_GO && !read_tiers(c, o.tiers, &a.tiers))
        rc = CLI_USAGE;
    if (rc != CLI_GO || (rc = cli_probe_fill(c, &o.probe, operands[0], &a.probe)) != CLI_GO)
        return rc;
    a.paths = (uint32_t)(o.path == 0 ? 0 : o.path);
    a.families = o.families;
    a.repeats = o.repeats;
    a.limit = o.limit;
    a.all_tiers = o.all_tiers;
    a.unconstrained = o.unconstrained;
    a.constrain_json = o.constrain_json;
    a.temperature = (float)o.temp;
    a.top_p = (float)o.top_p;
    a.max_tokens = o.max_tokens;
    a.deadline_s = o.deadline;
    a.rescore = o.rescore;
    qn_err err;
    const qn_status s = qn_agent_report(&a, &text, &err);
    cli_probe_done(&o.probe);
    rc = s == QN_OK ? cli_report_put(&o.report, text, NULL) : cli_fail(&err);
    qn_free(text);
    return rc;
}

static const cli_option options[] = {
    {"--tiers", NULL, CLI_TEXT, "LIST", offsetof(report_options, tiers), 0, 0, "some of easy,medium,hard,extreme (default: all, until one fails)"},
    {"--path", NULL, CLI_CHOICE, "both|native|json", offsetof(report_options, path), 0, 0,
     "how tools are called: the model's own calls, JSON that the prompt asks for, or both one after the other"},
    {"--families", NULL, CLI_TEXT, "LIST", offsetof(report_options, families), 0, 0, "only these kinds of tasks, such as fix_bug,triage"},
    {"--repeats", NULL, CLI_REAL, "F", offsetof(report_options, repeats), 0.01, 100, "times the 5, 8, 16 and 24 instances of each kind that the tiers have (default 1)"},
    {"--limit", NULL, CLI_INT, "N", offsetof(report_options, limit), 1, 1000000, "at most N samples of each tier and path"},
    {"--all-tiers", NULL, CLI_FLAG, NULL, offsetof(report_options, all_tiers), 0, 0, "also test the tiers behind one that failed"},
    {"--unconstrained", NULL, CLI_FLAG, NULL, offsetof(report_options, unconstrained), 0, 0, "native calls are not held to their schemas"},
    {"--constrain-json", NULL, CLI_FLAG, NULL, offsetof(report_options, constrain_json), 0, 0, "JSON calls are held to their form"},
    {"--temp", NULL, CLI_REAL, "T", offsetof(report_options, temp), 0, 10, "temperature (default 0; every sample is another instance of its task)"},
    {"--top-p", NULL, CLI_REAL, "P", offsetof(report_options, top_p), 0, 1, "nucleus sampling (default 1: off)"},
    {"--max-tokens", "-n", CLI_INT, "N", offsetof(report_options, max_tokens), 1, 1000000, "tokens of an answer (default 1024)"},
    {"--deadline", NULL, CLI_REAL, "SECONDS", offsetof(report_options, deadline), 0.1, 86400, "for an answer (default 600)"},
    {"--rescore", NULL, CLI_INT, "RUN", offsetof(report_options, rescore), 1, 2147483647, "judge the transcripts of this run of the ledger again; nothing is asked"},
    CLI_REPORT_OPTIONS(report_options, report),
    CLI_PROBE_OPTIONS(report_options, probe, "context of a conversation (default: the model's, as far as memory holds it)"),
};

const cli_command cli_cmd_report = {
    .name = "report",
    .usage = "[MODEL] [--tiers LIST] [--limit N] [--endpoint URL --model NAME] [--json] [--html FILE]",
    .summary = "Find out how reliably a model works as an agent, and why it fails.",
    .details = "Tasks in simulated worlds (files with tests that run, a history, packages, tickets, a store) are given to the model in four tiers, with native calls of "
               "tools and with JSON that the prompt asks for. What counts is the state in the end and that nothing forbidden was done. Each kind of task is solved by a "
               "script that sees what the model sees, so that every one can be passed. Transcripts lie in the ledger. Ctrl-C ends a run; the same command goes on where it was.",
    .min_operands = 0,
    .max_operands = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = report,
};
