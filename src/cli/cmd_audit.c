/* cmd_audit.c - the context cliff, as a table and a map. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/report.h"

typedef struct audit_options {
    const char *kinds, *fillers;
    int32_t min_length, max_length, depths, samples, max_tokens, rescore;
    cli_probe probe;
    cli_report report;
} audit_options;

static double number_at(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static const char *text_at(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static double at(const json_t *list, size_t i)
{
    return json_number_value(json_array_get(list, i));
}

static int put_kind(const json_t *k)
{
    const json_t *s = json_object_get(k, "short"), *g = json_object_get(k, "guess"), *a = json_object_get(k, "absent"), *c = json_object_get(k, "cliff");
    const char *state = text_at(k, "state");
    char result[80];
    if (!s)
        return cli_printf("  %-12s %s: %s\n", text_at(k, "kind"), state, text_at(k, "why"));
    if (c)
        (void)snprintf(result, sizeof result, "cliff at %d (%d to %d)", (int)number_at(c, "length"), (int)at(json_object_get(c, "interval95"), 0),
                       (int)at(json_object_get(c, "interval95"), 1));
    else if (strcmp(state, "none") == 0)
        (void)snprintf(result, sizeof result, "no cliff up to %d", (int)number_at(k, "up_to"));
    else
        (void)snprintf(result, sizeof result, "never able");
    return cli_printf("  %-12s %3d/%-3d at %-6d %3d/%-3d     %3d/%-3d    %s\n", text_at(k, "kind"), (int)number_at(s, "right"), (int)number_at(s, "n"),
                      (int)number_at(k, "shortest"), (int)number_at(g, "right"), (int)number_at(g, "n"), (int)number_at(a, "right"),
                      (int)number_at(a, "n"), result);
}

/* Percent right; a row for each depth, a column for each length. */
static int put_map(const json_t *r)
{
    const json_t *m = json_object_get(r, "heat_map"), *depths = json_object_get(m, "depths"), *lengths = json_object_get(m, "lengths");
    size_t n = json_array_size(lengths);
    int rc = cli_printf("\nPercent right, by depth (down) and length (across)\n  depth");
    for (size_t i = 0; i < n && rc == CLI_OK; i++)
        rc = cli_printf(" %6d", (int)at(lengths, i));
    for (size_t d = 0; d < json_array_size(depths) && rc == CLI_OK; d++) {
        const json_t *row = json_array_get(json_object_get(m, "right_of"), d);
        rc = cli_printf("\n  %3.0f %%", 100 * at(depths, d));
        for (size_t i = 0; i < n && rc == CLI_OK; i++) {
            const json_t *cell = json_array_get(row, i);
            rc = at(cell, 1) > 0 ? cli_printf(" %6.0f", 100 * at(cell, 0) / at(cell, 1)) : cli_printf("      -");
        }
    }
    return rc == CLI_OK ? cli_printf("\n") : rc;
}

static int put_depths(const json_t *r)
{
    const json_t *d;
    size_t i;
    int rc = CLI_OK;
    json_array_foreach(json_object_get(r, "depth_scores"), i, d)
        if (rc == CLI_OK && json_is_true(json_object_get(d, "weak")))
            rc = cli_printf("Weak at depth %.0f %%: %d of %d right at lengths before the cliff.\n", 100 * number_at(d, "depth"), (int)number_at(d, "right"),
                            (int)number_at(d, "n"));
    return rc;
}

static int put_cost(const json_t *r)
{
    const json_t *c = json_object_get(r, "cost"), *o = json_object_get(r, "outcomes");
    const char *key;
    const json_t *v;
    int rc = cli_printf("\nAnswers:");
    json_object_foreach((json_t *)o, key, v)
        if (rc == CLI_OK)
            rc = cli_printf(" %s %d", key, (int)json_integer_value(v));
    if (rc == CLI_OK)
        rc = json_object_get(c, "reused") ? cli_printf("\nRead %.0f tokens; %d questions with a text each would have been %.0f: %.1f %% were reused.\n",
                                                       number_at(c, "read_tokens"), (int)number_at(c, "questions"), number_at(c, "naive_tokens"),
                                                       100 * number_at(c, "reused"))
                                          : cli_printf("\n%d questions, %.0f tokens; the server does not say how many of them it had cached.\n",
                                                       (int)number_at(c, "questions"), number_at(c, "naive_tokens"));
    if (rc == CLI_OK && !json_is_true(json_object_get(r, "exact")))
        rc = cli_printf("Lengths are estimates: the server does not count tokens; taken as %.2f bytes each, from the prompts that it counted.\n",
                        number_at(r, "bytes_per_token"));
    return rc;
}

static int put_table(const json_t *r)
{
    const json_t *k;
    size_t i;
    int rc = cli_printf("%s, %s: %s\n\n  %-12s %-17s %-11s %-10s %s\n", text_at(r, "model"), json_is_true(json_object_get(r, "chat")) ? "chat" : "completion",
                        text_at(json_object_get(r, "verdict"), "text"), "kind", "right, shortest", "guessing", "not there", "result");
    json_array_foreach(json_object_get(r, "kinds"), i, k)
        if (rc == CLI_OK)
            rc = put_kind(k);
    if (rc == CLI_OK)
        rc = put_map(r);
    if (rc == CLI_OK)
        rc = put_depths(r);
    if (rc == CLI_OK)
        rc = put_cost(r);
    return rc == CLI_OK ? cli_printf("Every question and answer: run %lld in %s\n", (long long)json_integer_value(json_object_get(r, "run")), text_at(r, "ledger")) : rc;
}

static int put_report(const char *text)
{
    json_t *r = json_loads(text, 0, NULL);
    const int rc = r ? put_table(r) : cli_fail_text("audit", "the report cannot be read");
    json_decref(r);
    return rc;
}

static int audit(const cli_command *c, int argc, char **argv)
{
    audit_options o = {0};
    const char *operands[CLI_MAX_OPERANDS];
    char *report = NULL;
    qn_audit_options e;
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc == CLI_GO)
        rc = cli_report_check(c, &o.report);
    qn_audit_options_init(&e);
    if (rc != CLI_GO || (rc = cli_probe_fill(c, &o.probe, operands[0], &e.probe)) != CLI_GO)
        return rc;
    e.min_length = o.min_length;
    e.max_length = o.max_length;
    e.depths = o.depths;
    e.samples = o.samples;
    e.kinds = o.kinds;
    e.fillers = o.fillers;
    e.max_tokens = o.max_tokens;
    e.rescore = o.rescore;
    qn_err err;
    const qn_status s = qn_audit(&e, &report, &err);
    cli_probe_done(&o.probe);
    rc = s == QN_OK ? cli_report_put(&o.report, report, put_report) : cli_fail(&err);
    qn_free(report);
    return rc;
}

static const cli_option options[] = {
    {"--max-length", NULL, CLI_INT, "N", offsetof(audit_options, max_length), 64, 16777216,
     "tokens of the longest prompt (default: what the context holds; of a server 8192)"},
    {"--min-length", NULL, CLI_INT, "N", offsetof(audit_options, min_length), 64, 16777216, "tokens of the shortest prompt (default 256)"},
    {"--samples", "-k", CLI_INT, "N", offsetof(audit_options, samples), 1, 1000,
     "texts of each kind at a length (default 2; four times as many where it is close)"},
    {"--depths", NULL, CLI_INT, "N", offsetof(audit_options, depths), 2, 9, "places in a text at which what is asked for may stand (default 5)"},
    {"--kinds", NULL, CLI_TEXT, "LIST", offsetof(audit_options, kinds), 0, 0,
     "of plain, needle, several, last-write, variable, caller, tool-result, instruction (default: all)"},
    {"--fillers", NULL, CLI_TEXT, "LIST", offsetof(audit_options, fillers), 0, 0, "of python, c, go, javascript, rust, java, log, prose (default: all)"},
    {"--max-tokens", "-n", CLI_INT, "N", offsetof(audit_options, max_tokens), 1, 1000000,
     "tokens of an answer (default 128; a model that reasons needs more)"},
    {"--rescore", NULL, CLI_INT, "RUN", offsetof(audit_options, rescore), 1, 2147483647, "judge the answers of a run in the ledger again; nothing is asked"},
    CLI_REPORT_OPTIONS(audit_options, report),
    CLI_PROBE_OPTIONS(audit_options, probe, "context of a prompt and its answer (default: the model's, as far as memory holds it, or what --max-length needs)"),
};

const cli_command cli_cmd_audit = {
    .name = "audit",
    .usage = "[MODEL] [--max-length N] [--endpoint URL --model NAME] [--json] [--html FILE]",
    .summary = "Find the length at which a model no longer finds in a text what it is asked for.",
    .details = "Facts are planted at several depths of texts that never repeat, and each is asked for: one number, several, the last of several writes, "
               "a variable, who calls a function, what a tool said ten turns ago, an instruction. Lengths are doubled until the score falls below "
               "half-way between guessing and the score at the shortest, then halved in. Ctrl-C ends a run; the same command goes on where it was.",
    .min_operands = 0,
    .max_operands = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = audit,
};
