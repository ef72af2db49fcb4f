/* cmd_ledger.c - looking back at what probes kept: list runs, show one, write its page again, remove it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/report.h"

typedef struct ledger_options {
    const char *ledger;
    bool samples;
    cli_report report;
} ledger_options;

typedef struct listing {
    bool json;
    int rc;
    size_t n;
} listing;

/* Texts of the ledger are ours but for the model's name, which cli_put_safe makes safe. */
static void see_run(void *arg, const qn_ledger_run *r)
{
    listing *l = arg;
    char line[400];
    if (l->rc != CLI_OK)
        return;
    if (l->n++ == 0)
        l->rc = cli_printf("%6s  %-8s %-17s %-12s %9s  %s\n", "run", "kind", "started", "", "samples", "model");
    const int n = snprintf(line, sizeof line, "%6lld  %-8.20s %.10s %.5s  %-12s %9llu  %.200s\n", (long long)r->id, r->kind, r->started,
                           strlen(r->started) > 16 ? r->started + 11 : "", *r->finished ? "finished" : "not finished", (unsigned long long)r->samples, r->model);
    if (l->rc == CLI_OK && n > 0)
        l->rc = cli_put_safe(line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

static int list(const ledger_options *o)
{
    listing l = {0};
    qn_err err;
    if (qn_ledger_list(o->ledger, see_run, &l, &err) != QN_OK)
        return cli_fail(&err);
    return l.rc == CLI_OK && l.n == 0 ? cli_printf("no runs\n") : l.rc;
}

static bool see_sample(void *arg, const char *sample_json)
{
    int *rc = arg;
    *rc = cli_put_safe(sample_json, strlen(sample_json));
    if (*rc == CLI_OK)
        *rc = cli_printf("\n");
    return *rc == CLI_OK;
}

static int show(const ledger_options *o, int64_t run, bool page)
{
    char *report = NULL;
    qn_err err;
    int rc = CLI_OK;
    if (o->samples) {
        const qn_status s = qn_ledger_samples(o->ledger, run, see_sample, &rc, &err);
        return s != QN_OK ? cli_fail(&err) : rc;
    }
    if (qn_ledger_report(o->ledger, run, &report, &err) != QN_OK)
        return cli_fail(&err);
    rc = page ? cli_report_files(&o->report, report) : cli_report_put(&o->report, report, NULL);
    qn_free(report);
    return rc;
}

/* The page of a report that --json printed. */
static int page_of_file(const ledger_options *o, const char *path)
{
    char *report = NULL;
    size_t n = 0;
    int rc = cli_read(path, &report, &n);
    if (rc == CLI_OK)
        rc = cli_report_files(&o->report, report);
    free(report);
    return rc;
}

static int ledger(const cli_command *c, int argc, char **argv)
{
    ledger_options o = {0};
    const char *operands[CLI_MAX_OPERANDS];
    long long run = 0;
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc == CLI_GO)
        rc = cli_report_check(c, &o.report);
    if (rc != CLI_GO)
        return rc;
    static const char *const words[] = {"ls", "show", "page", "rm"};
    const char *what = operands[0];
    if (strcmp(what, "ls") == 0)
        return operands[1] ? cli_usage(c, "ls takes no run") : list(&o);
    if (strcmp(what, "show") != 0 && strcmp(what, "page") != 0 && strcmp(what, "rm") != 0) {
        const char *near = cli_nearest(what, words, 4);
        return near ? cli_usage(c, "'%s' is none of ls, show, page and rm; did you mean %s?", what, near) : cli_usage(c, "'%s' is none of ls, show, page and rm", what);
    }
    const bool page = strcmp(what, "page") == 0;
    if (page && !o.report.html && !o.report.markdown)
        return cli_usage(c, "page needs --html FILE or --markdown FILE");
    if (page && operands[1] && strlen(operands[1]) > 5 && strcmp(operands[1] + strlen(operands[1]) - 5, ".json") == 0)
        return page_of_file(&o, operands[1]);
    if (!operands[1] || !cli_number(operands[1], strlen(operands[1]), 1, INT64_MAX, &run))
        return cli_usage(c, "%s needs the number of a run, as quern ledger ls shows it", what);
    if (strcmp(what, "rm") != 0)
        return show(&o, run, page);
    qn_err err;
    return qn_ledger_remove(o.ledger, run, &err) == QN_OK ? CLI_OK : cli_fail(&err);
}

static const cli_option options[] = {
    {"--samples", NULL, CLI_FLAG, NULL, offsetof(ledger_options, samples), 0, 0, "with show: every sample with its transcript, one JSON object a line"},
    {"--ledger", NULL, CLI_TEXT, "FILE", offsetof(ledger_options, ledger), 0, 0, "which ledger (default: $XDG_DATA_HOME/quern/ledger.db)"},
    CLI_REPORT_OPTIONS(ledger_options, report),
};

const cli_command cli_cmd_ledger = {
    .name = "ledger",
    .usage = "ls | show RUN [--samples] | page RUN|REPORT.json --html FILE | rm RUN",
    .summary = "Look back at what was measured: list runs, show one, write its page again.",
    .details = "Every run of quern eval, inspect and the other probes is kept, with every answer. Runs that were not finished have samples and no report. A page can also be made of a file that --json wrote.",
    .min_operands = 1,
    .max_operands = 2,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = ledger,
};
