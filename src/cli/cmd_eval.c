/* cmd_eval.c - a suite of programming problems: asked, run in a sandbox, counted. */
#include <jansson.h>
#include <stdio.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/report.h"
#include "cli/term.h"

typedef struct eval_options {
    int32_t samples, limit, max_tokens;
    double temp, top_p, time;
    int mode;
    cli_probe probe;
    cli_report report;
} eval_options;

static bool on_progress(void *arg, size_t done, size_t total, size_t passed)
{
    char unit[48];
    snprintf(unit, sizeof unit, "answers (%zu passed)", passed);
    cli_progress_at(arg, "asking", unit, done, total);
    return !term_interrupted();
}

static double number_at(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static int put_table(const json_t *r)
{
    static const char *const names[] = {"pass@1", "pass@10", "pass@100"};
    const char *key;
    const json_t *v;
    int rc = cli_printf("%s, %s, %s: %d problems, %d answers\n", json_string_value(json_object_get(r, "suite")),
                        json_string_value(json_object_get(r, "model")), json_is_true(json_object_get(r, "chat")) ? "chat" : "completion",
                        (int)number_at(r, "problems"), (int)number_at(r, "samples"));
    for (size_t i = 0; rc == CLI_OK && i < sizeof names / sizeof *names; i++) {
        const json_t *p = json_object_get(r, names[i]), *w = json_object_get(p, "interval95");
        if (p && w)
            rc = cli_printf("  %-9s %5.1f %%   (95 %%: %.1f to %.1f)\n", names[i], 100 * number_at(p, "value"),
                            100 * json_number_value(json_array_get(w, 0)), 100 * json_number_value(json_array_get(w, 1)));
        else if (p)
            rc = cli_printf("  %-9s %5.1f %%\n", names[i], 100 * number_at(p, "value"));
    }
    json_object_foreach(json_object_get(r, "outcomes"), key, v)
        if (rc == CLI_OK)
            rc = cli_printf("  %-9s %5lld\n", key, (long long)json_integer_value(v));
    if (rc == CLI_OK)
        rc = cli_printf("Note: %s.\nEvery answer and program: run %lld in %s\n", json_string_value(json_object_get(r, "note")),
                        (long long)json_integer_value(json_object_get(r, "run")), json_string_value(json_object_get(r, "ledger")));
    return rc;
}

static int put_report(const char *text)
{
    json_t *r = json_loads(text, 0, NULL);
    const int rc = r ? put_table(r) : cli_fail_text("eval", "the report cannot be read");
    json_decref(r);
    return rc;
}

static int eval(const cli_command *c, int argc, char **argv)
{
    eval_options o = {.top_p = 1};
    const char *operands[CLI_MAX_OPERANDS];
    char *report = NULL;
    qn_probe_options p;
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc == CLI_GO)
        rc = cli_report_check(c, &o.report);
    if (rc == CLI_GO && o.samples > 1 && o.temp <= 0)
        return cli_usage(c, "several samples at temperature 0 are one sample printed several times; give --temp");
    qn_probe_options_init(&p);
    if (rc != CLI_GO || (rc = cli_probe_fill(c, &o.probe, operands[1], &p)) != CLI_GO)
        return rc;
    qn_eval_options e;
    qn_eval_options_init(&e);
    e.suite = operands[0];
    e.model = p.model;
    e.endpoint = p.endpoint;
    e.key = p.key;
    e.mode = (qn_eval_mode)o.mode;
    e.samples = o.samples;
    e.limit = o.limit;
    e.temperature = (float)o.temp;
    e.top_p = (float)o.top_p;
    e.seed = p.seed;
    e.max_tokens = o.max_tokens;
    e.time_s = o.time;
    e.fresh = p.fresh;
    e.ledger = p.ledger;
    e.engine = p.engine;
    e.progress = on_progress;
    e.arg = p.arg;
    qn_err err;
    const qn_status s = qn_eval(&e, &report, &err);
    cli_probe_done(&o.probe);
    rc = s == QN_OK ? cli_report_put(&o.report, report, put_report) : cli_fail(&err);
    qn_free(report);
    return rc;
}

static const cli_option options[] = {
    {"--samples", "-k", CLI_INT, "N", offsetof(eval_options, samples), 1, 1000, "answers to each problem (default 1); more need --temp"},
    {"--limit", NULL, CLI_INT, "N", offsetof(eval_options, limit), 1, 1000000, "only the first N problems"},
    {"--temp", NULL, CLI_REAL, "T", offsetof(eval_options, temp), 0, 10, "temperature (default 0: greedy)"},
    {"--top-p", NULL, CLI_REAL, "P", offsetof(eval_options, top_p), 0, 1, "nucleus sampling (default 1: off)"},
    {"--max-tokens", "-n", CLI_INT, "N", offsetof(eval_options, max_tokens), 1, 1000000, "tokens of an answer (default 512)"},
    {"--time", NULL, CLI_REAL, "SECONDS", offsetof(eval_options, time), 0.1, 3600, "time that a program may run (default 10)"},
    {"--mode", NULL, CLI_CHOICE, "auto|complete|chat", offsetof(eval_options, mode), 0, 0,
     "ask for a completion or in a chat (default: a chat where the model has a template)"},
    CLI_REPORT_OPTIONS(eval_options, report),
    CLI_PROBE_OPTIONS(eval_options, probe, "context of a question and its answer (default: the model's, as far as memory holds it)"),
};

const cli_command cli_cmd_eval = {
    .name = "eval",
    .usage = "SUITE [MODEL] [--samples N --temp T] [--endpoint URL --model NAME] [--json] [--html FILE]",
    .summary = "Ask a suite of programming problems and run the answers in a sandbox.",
    .details = "SUITE is a file in its published format: HumanEval, HumanEval+, HumanEval-infilling, MBPP, MBPP+, MultiPL-E or DS-1000 "
               "(.jsonl or .json, also .gz). Answers are run with bubblewrap: no network, a read-only system, limits on time, memory, "
               "processes and output; without bubblewrap nothing is run. Ctrl-C ends a run; the same command goes on where it was.",
    .min_operands = 1,
    .max_operands = 2,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = eval,
};
