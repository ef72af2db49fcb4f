/* report.h - what every command that probes a model has in common: whom it asks, and where its report goes. */
#ifndef QN_CLI_REPORT_H
#define QN_CLI_REPORT_H

#include "cli/open.h"
#include "cli/progress.h"

/* ---- where a report goes: a page of text to stdout, or --json; and files ---- */

typedef struct cli_report {
    const char *html, *markdown;
    bool json;
} cli_report;

/* clang-format off */
/* Rows for a command's table; `m` is the cli_report inside its struct `type`. */
#define CLI_REPORT_OPTIONS(type, m) \
    {"--json", NULL, CLI_FLAG, NULL, offsetof(type, m.json), 0, 0, "the report as JSON"}, \
    {"--html", NULL, CLI_TEXT, "FILE", offsetof(type, m.html), 0, 0, "also write it as a page that opens in any browser, offline"}, \
    {"--markdown", NULL, CLI_TEXT, "FILE", offsetof(type, m.markdown), 0, 0, "also write it as Markdown"}
/* clang-format on */

/* CLI_GO, or CLI_USAGE when the options contradict each other (they do not yet name what cannot be). */
int cli_report_check(const cli_command *c, const cli_report *o);
/* Print the report (as JSON, by `table` or, when that is NULL, as qn_report_page's text) and write the files, each of which appears
 * whole or not at all. CLI_OK or said why. */
int cli_report_put(const cli_report *o, const char *report_json, int (*table)(const char *report_json));

/* The files alone. */
int cli_report_files(const cli_report *o, const char *report_json);

/* ---- whom a probe asks ---- */

typedef struct cli_probe {
    const char *endpoint, *model, *key_file, *ledger;
    uint64_t seed;
    bool fresh;
    cli_engine engine;
    /* made by cli_probe_fill */
    char *key;
    cli_progress bar;
} cli_probe;

/* clang-format off */
/* Rows for a command's table; `m` is the cli_probe inside its struct `type`. */
#define CLI_PROBE_OPTIONS(type, m, ctx_help) \
    {"--endpoint", NULL, CLI_TEXT, "URL", offsetof(type, m.endpoint), 0, 0, \
     "ask an OpenAI-compatible server, such as http://127.0.0.1:8080/v1, instead of a model here"}, \
    {"--model", NULL, CLI_TEXT, "NAME", offsetof(type, m.model), 0, 0, "the model's name at the endpoint"}, \
    {"--api-key-file", NULL, CLI_TEXT, "FILE", offsetof(type, m.key_file), 0, 0, "a file that holds the endpoint's key"}, \
    {"--seed", NULL, CLI_SEED, "N", offsetof(type, m.seed), 0, 0, "everything random follows from it (default 0)"}, \
    {"--fresh", NULL, CLI_FLAG, NULL, offsetof(type, m.fresh), 0, 0, "begin anew instead of going on with a run that was ended"}, \
    {"--ledger", NULL, CLI_TEXT, "FILE", offsetof(type, m.ledger), 0, 0, "where samples are kept (default: $XDG_DATA_HOME/quern/ledger.db)"}, \
    CLI_ENGINE_OPTIONS(type, m.engine, ctx_help)
/* clang-format on */

/* Check the options and fill `p` (initialised by qn_probe_options_init), progress bar and Ctrl-C included; `model` is the operand or
 * NULL. CLI_GO, or what the command returns. cli_probe_done takes back what this made and took, whatever it returned. */
int cli_probe_fill(const cli_command *c, cli_probe *o, const char *model, qn_probe_options *p);
void cli_probe_done(cli_probe *o);

#endif
