/* report.c - see report.h. */
#include "cli/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/io.h"
#include "cli/term.h"

int cli_report_check(const cli_command *c, const cli_report *o)
{
    if (o->html && o->markdown && strcmp(o->html, o->markdown) == 0)
        return cli_usage(c, "--html and --markdown name the same file");
    return CLI_GO;
}

static int put_file(const char *path, const char *report_json, qn_page_form form)
{
    char *page = NULL;
    size_t n = 0;
    term_file f;
    qn_err err;
    if (qn_report_page(report_json, form, &page, &n, &err) != QN_OK)
        return cli_fail(&err);
    int rc = term_file_open(path, &f) ? CLI_OK : cli_fail_text(path, "cannot be written: %s", strerror(errno));
    if (rc == CLI_OK && fwrite(page, 1, n, f.f) != n) {
        rc = cli_fail_text(path, "cannot be written: %s", strerror(errno));
        term_file_abort(&f);
    } else if (rc == CLI_OK && !term_file_commit(&f)) {
        rc = cli_fail_text(path, "cannot be written: %s", strerror(errno));
    }
    qn_free(page);
    return rc;
}

static int put_text(const char *report_json)
{
    char *page = NULL;
    size_t n = 0;
    qn_err err;
    if (qn_report_page(report_json, QN_PAGE_TEXT, &page, &n, &err) != QN_OK)
        return cli_fail(&err);
    const int rc = cli_put_safe(page, n);
    qn_free(page);
    return rc;
}

int cli_report_files(const cli_report *o, const char *report_json)
{
    int rc = o->html ? put_file(o->html, report_json, QN_PAGE_HTML) : CLI_OK;
    if (rc == CLI_OK && o->markdown)
        rc = put_file(o->markdown, report_json, QN_PAGE_MARKDOWN);
    return rc;
}

int cli_report_put(const cli_report *o, const char *report_json, int (*table)(const char *report_json))
{
    const int rc = o->json ? cli_printf("%s\n", report_json) : table ? table(report_json) : put_text(report_json);
    return rc == CLI_OK ? cli_report_files(o, report_json) : rc;
}

/* ---- whom ---- */

static bool on_progress(void *arg, const char *doing, size_t done, size_t total)
{
    cli_progress_at(arg, doing, "", done, total);
    return !term_interrupted();
}

int cli_probe_fill(const cli_command *c, cli_probe *o, const char *model, qn_probe_options *p)
{
    int rc = cli_engine_check(c, &o->engine);
    if (rc != CLI_GO)
        return rc;
    if (o->endpoint && model)
        return cli_usage(c, "give a MODEL or --endpoint, not both");
    if (o->endpoint && !o->model)
        return cli_usage(c, "--endpoint needs --model NAME, as the server calls it");
    if (!o->endpoint && (o->model || o->key_file))
        return cli_usage(c, "%s belongs to --endpoint; a model here is named without an option", o->model ? "--model" : "--api-key-file");
    size_t n = 0;
    if (o->key_file && (rc = cli_read(o->key_file, &o->key, &n)) != CLI_OK)
        return rc;
    if (o->key)
        o->key[strcspn(o->key, "\r\n")] = 0;
    p->model = o->endpoint ? o->model : model;
    p->endpoint = o->endpoint;
    p->key = o->key;
    p->ledger = o->ledger;
    p->fresh = o->fresh;
    p->seed = o->seed;
    cli_engine_fill(&o->engine, &p->engine);
    cli_progress_start(&o->bar, true);
    p->progress = on_progress;
    p->arg = &o->bar;
    term_catch();
    return CLI_GO;
}

void cli_probe_done(cli_probe *o)
{
    if (o->bar.start > 0) {
        term_release();
        cli_progress_clear(&o->bar);
    }
    free(o->key);
    o->key = NULL;
}
