/* cmd_eval.c - a suite of programming problems: asked, run in a sandbox, counted; and got from where it is published. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/report.h"
#include "cli/term.h"

typedef struct eval_options {
    int32_t samples, limit, max_tokens;
    double temp, top_p, time;
    int mode;
    bool fetch, list;
    const char *to;
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

/* ---- published suites ---- */

static void see_row(void *arg, const qn_suite_info *s)
{
    int *rc = arg;
    if (*rc == CLI_OK)
        *rc = cli_printf("%-28s %-20s %5d problems  %-30s %s\n", s->name, s->title, (int)s->problems, s->licence, s->there ? s->path : s->url);
}

static void see_object(void *arg, const qn_suite_info *s)
{
    (void)json_array_append_new(arg, json_pack("{s:s, s:s, s:i, s:s, s:s, s:s?, s:s, s:b}", "name", s->name, "title", s->title, "problems", (int)s->problems,
                                               "licence", s->licence, "url", s->url, "sha256", s->sha256, "path", s->path, "there", (int)s->there));
}

static int list_suites(const eval_options *o)
{
    qn_err err;
    int rc = CLI_OK;
    json_t *all = o->report.json ? json_array() : NULL;
    const qn_status s = all ? qn_suite_list(o->to, see_object, all, &err) : qn_suite_list(o->to, see_row, &rc, &err);
    char *text = all && s == QN_OK ? json_dumps(all, JSON_INDENT(2)) : NULL;
    if (s != QN_OK)
        rc = cli_fail(&err);
    else if (all)
        rc = text ? cli_printf("%s\n", text) : cli_fail_text("eval", "not enough memory");
    free(text);
    json_decref(all);
    return rc;
}

typedef struct fetching {
    cli_progress bar;
    char what[64];
    const char *wanted; /* a name, or "all" */
    const char *to;
    int rc;
    bool over, any;
} fetching;

static bool on_bytes(void *arg, uint64_t done, uint64_t total)
{
    fetching *f = arg;
    cli_progress_at(&f->bar, f->what, "KiB", (size_t)(done / 1024), (size_t)(total / 1024));
    return !term_interrupted();
}

static void fetch_one(void *arg, const qn_suite_info *s)
{
    fetching *f = arg;
    char *path = NULL;
    qn_err err;
    if (f->over || (strcmp(f->wanted, "all") != 0 && strcmp(f->wanted, s->name) != 0))
        return;
    f->any = true;
    (void)snprintf(f->what, sizeof f->what, "getting %s", s->name);
    cli_progress_start(&f->bar, true);
    const qn_status st = qn_suite_fetch(s->name, &(qn_suite_fetch_options){.dir = f->to, .progress = on_bytes, .arg = f}, &path, &err);
    cli_progress_clear(&f->bar);
    if (st != QN_OK) { /* of all, the others are tried */
        f->rc = cli_fail(&err);
        f->over = st == QN_ECANCELLED;
    } else if (cli_printf("%s: %d problems of %s, %s, from %s\n%s\n", s->name, (int)s->problems, s->title, s->licence, s->url, path) != CLI_OK) {
        f->rc = CLI_FAILED;
        f->over = true;
    }
    qn_free(path);
}

static int fetch_suites(const eval_options *o, const char *name)
{
    fetching f = {.wanted = name, .to = o->to, .rc = CLI_OK};
    qn_err err;
    term_catch();
    const qn_status s = qn_suite_list(o->to, fetch_one, &f, &err);
    term_release();
    if (s != QN_OK)
        return cli_fail(&err);
    return f.any ? f.rc : cli_fail_text(name, "is no suite that is known by name; `quern eval --list` shows those");
}

/* CLI_GO: it is a suite to be asked. */
static int about_suites(const cli_command *c, const eval_options *o, const char *name)
{
    if (o->list && (o->fetch || name))
        return cli_usage(c, "--list stands alone");
    if (o->to && !o->fetch && !o->list)
        return cli_usage(c, "--to belongs to --fetch");
    if (o->list)
        return list_suites(o);
    if (!name)
        return cli_usage(c, o->fetch ? "--fetch needs the name of a suite, or all; --list shows them" : "SUITE is missing: a file, or a name that --list shows");
    return o->fetch ? fetch_suites(o, name) : CLI_GO;
}

static int eval(const cli_command *c, int argc, char **argv)
{
    eval_options o = {.top_p = 1};
    const char *operands[CLI_MAX_OPERANDS];
    char *report = NULL;
    qn_probe_options p;
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc == CLI_GO && (rc = about_suites(c, &o, operands[0])) == CLI_GO)
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
    {"--fetch", NULL, CLI_FLAG, NULL, offsetof(eval_options, fetch), 0, 0, "get SUITE, or all, from where it is published, and end"},
    {"--to", NULL, CLI_TEXT, "DIR", offsetof(eval_options, to), 0, 0, "where --fetch puts files (default: $XDG_DATA_HOME/quern/suites, where names are looked up)"},
    {"--list", NULL, CLI_FLAG, NULL, offsetof(eval_options, list), 0, 0, "the suites that are known by name: where they are or come from, and their licences"},
    CLI_REPORT_OPTIONS(eval_options, report),
    CLI_PROBE_OPTIONS(eval_options, probe, "context of a question and its answer (default: the model's, as far as memory holds it)"),
};

const cli_command cli_cmd_eval = {
    .name = "eval",
    .usage = "SUITE [MODEL] [--samples N --temp T] [--endpoint URL --model NAME] [--json] [--html FILE]",
    .summary = "Ask a suite of programming problems and run the answers in a sandbox.",
    .details = "SUITE is the name of a suite that was fetched (humaneval, mbpp, ...: --list), or a file in its published format: HumanEval, HumanEval+, HumanEval-infilling, MBPP, MBPP+, MultiPL-E or DS-1000 "
               "(.jsonl or .json, also .gz). Answers are run with bubblewrap: no network, a read-only system, limits on time, memory, "
               "processes and output; without bubblewrap nothing is run. Nothing is got from the network unless --fetch says so. Ctrl-C ends a run; the same command goes on where it was.",
    .min_operands = 0,
    .max_operands = 2,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = eval,
};
