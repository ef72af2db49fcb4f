/* agent_page.c - the page of a model as an agent: verdicts first, then tiers, then why it failed. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "services/probe/agent.h"
#include "services/probe/page.h"

static qn_tone tone_of(const char *status)
{
    if (strcmp(status, "CLEAR") == 0 || strcmp(status, "READY") == 0)
        return QN_TONE_GOOD;
    if (strcmp(status, "SATURATED") == 0 || strcmp(status, "CONDITIONAL") == 0)
        return QN_TONE_WARN;
    return strcmp(status, "NOT TESTED") == 0 ? QN_TONE_SOFT : QN_TONE_BAD;
}

static void put_profiles(qn_page *p, const json_t *r)
{
    static const char *const names[] = {"coding", "assistant", "batch"}, *const means[] = {"Coding agent", "Assistant", "Batch work"};
    qn__page_section(p, "Verdict");
    for (int i = 0; i < 3; i++) {
        const json_t *v = json_object_get(json_object_get(r, "profiles"), names[i]), *change = json_object_get(v, "change"), *c;
        const char *verdict = qn__page_str(v, "verdict"), *path = qn__page_str(v, "path");
        size_t k;
        qn__page_verdict(p, tone_of(verdict), verdict, "%s: needs every tier up to %s clear%s%s%s.", means[i], qn__page_str(v, "needs"), *path ? "; seen with " : "",
                         *path ? (strcmp(path, "json") == 0 ? "prompted JSON" : "native calls") : "", "");
        qn_buf all = {0};
        json_array_foreach(change, k, c)
            qn__buf_printf(&all, "%s%s", k ? ". And " : "", json_is_string(c) ? json_string_value(c) : "");
        if (all.data)
            qn__page_text(p, "What would change it: %s.", all.data);
        qn__buf_free(&all);
    }
}

static void put_rate(qn_page *p, const json_t *o)
{
    const json_t *w = json_object_get(o, "interval95");
    if (!o)
        qn__page_cell(p, "-");
    else
        qn__page_cell(p, "%.0f %% (%.0f to %.0f)", 100 * qn__page_num(o, "value"), 100 * json_number_value(json_array_get(w, 0)), 100 * json_number_value(json_array_get(w, 1)));
}

static void put_number(qn_page *p, double v)
{
    if (isnan(v))
        qn__page_cell(p, "-");
    else
        qn__page_cell(p, "%.1f", v);
}

static void put_path(qn_page *p, const json_t *r, const char *path, const char *title)
{
    static const qn_page_column columns[] = {{"Tier", false}, {"Status", false}, {"Passed", true}, {"pass@1 (95 %)", true}, {"pass^k (95 %)", true}, {"k", true},
                                             {"Steps", true}, {"Steps to success", true}, {"Tokens read, written to success", true}, {"Seconds a step", true}};
    const json_t *tiers = json_object_get(json_object_get(r, "paths"), path);
    double n = 0;
    for (int i = 0; i < QN_TIERS; i++)
        n += qn__page_num(json_object_get(tiers, qn__tier_name(i)), "samples");
    if (!(n > 0)) {
        qn__page_note(p, "%s: not tested.", title);
        return;
    }
    qn__page_table(p, title, columns, sizeof columns / sizeof *columns);
    for (int i = 0; i < QN_TIERS; i++) {
        const json_t *t = json_object_get(tiers, qn__tier_name(i));
        const char *status = qn__page_str(t, "status");
        qn__page_cell(p, "%s", qn__tier_name(i));
        qn__page_cell_as(p, tone_of(status), "%s", status);
        qn__page_cell(p, "%s of %s", qn__page_count(qn__page_num(t, "passed")).s, qn__page_count(qn__page_num(t, "samples")).s);
        put_rate(p, json_object_get(t, "pass@1"));
        put_rate(p, json_object_get(t, "pass^k"));
        if (json_object_get(t, "pass^k"))
            qn__page_cell(p, "%s", qn__page_count(qn__page_num(t, "pass^k.k")).s);
        else
            qn__page_cell(p, "-");
        put_number(p, qn__page_num(t, "mean_steps"));
        put_number(p, qn__page_num(t, "steps_to_success"));
        if (json_object_get(t, "tokens_to_success"))
            qn__page_cell(p, "%.0f, %.0f", qn__page_num(t, "tokens_to_success.read"), qn__page_num(t, "tokens_to_success.written"));
        else
            qn__page_cell(p, "-");
        put_number(p, qn__page_num(t, "seconds_per_step"));
    }
    qn__page_table_end(p);
}

static void put_reasons(qn_page *p, const json_t *r, const char *path, const char *title)
{
    qn_page_bar bars[QN_REASONS];
    size_t n = 0;
    for (int k = 0; k < QN_REASONS; k++) {
        double all = 0;
        for (int i = 0; i < QN_TIERS; i++) {
            const json_t *v = json_object_get(json_object_get(json_object_get(json_object_get(json_object_get(r, "paths"), path), qn__tier_name(i)), "reasons"), qn__reason_name(k));
            all += json_is_number(v) ? json_number_value(v) : 0;
        }
        if (all > 0)
            bars[n++] = (qn_page_bar){.label = qn__reason_name(k), .v = all, .tone = k == QN_REASON_PASSED ? QN_TONE_GOOD : k == QN_REASON_FORBIDDEN ? QN_TONE_BAD : QN_TONE_WARN};
    }
    if (n)
        qn__page_bars(p, title, "", 0, bars, n);
}

static void put_families(qn_page *p, const json_t *r, const char *path, const char *title)
{
    const char *rows[40], *columns[QN_TIERS];
    double v[40 * QN_TIERS];
    qn_word words[40 * QN_TIERS];
    const char *shown[40 * QN_TIERS];
    size_t n = 0;
    bool any = false;
    for (int i = 0; i < QN_TIERS; i++)
        columns[i] = qn__tier_name(i);
    for (; n < 40 && qn__task_family(n); n++) {
        rows[n] = qn__task_family(n)->name;
        for (int i = 0; i < QN_TIERS; i++) {
            const json_t *c = json_object_get(json_object_get(json_object_get(json_object_get(json_object_get(r, "paths"), path), columns[i]), "families"), rows[n]);
            const double of = json_number_value(json_array_get(c, 1)), hit = json_number_value(json_array_get(c, 0));
            const size_t at = n * QN_TIERS + (size_t)i;
            v[at] = of > 0 ? hit / of : (double)NAN;
            any |= of > 0;
            (void)snprintf(words[at].s, sizeof words[at].s, "%.0f/%.0f", hit, of);
            shown[at] = of > 0 ? words[at].s : "";
        }
    }
    if (any)
        qn__page_heat(p, &(qn_page_heat){.title = title, .row_name = "Task", .column_name = "Tier", .rows = n, .columns = QN_TIERS, .row_labels = rows,
                                         .column_labels = columns, .v = v, .words = shown});
}

qn_status qn__page_of_agent(qn_page *p, const json_t *r, qn_err *err)
{
    size_t i;
    const json_t *note;
    (void)err;
    qn_buf title = {0};
    qn__buf_printf(&title, "%s as an agent", qn__page_str(r, "model"));
    qn__page_begin(p, title.data ? title.data : "", "Tasks in simulated worlds (files with tests that run, a history, packages, tickets, a store), judged by what is "
                                                    "there in the end and by what was forbidden. Every task was solved by a script that sees what the model sees.");
    qn__buf_free(&title);
    put_profiles(p, r);
    qn__page_section(p, "Tiers");
    put_path(p, r, "native", "Native calls of tools");
    put_path(p, r, "json", "JSON that the prompt asks for");
    qn__page_note(p, "CLEAR: at least 80 %% pass, for certain (the lower end of the interval). FAIL: certainly fewer than half. SATURATED: between. pass@1: one try "
                     "passes; pass^k: all of k tries at one kind of task pass, each try another instance. Intervals are Wilson's, 95 %%; of pass^k over kinds of "
                     "tasks. Behind a tier that fails, harder ones are not tested unless asked for.");
    qn__page_section(p, "Why runs ended");
    put_reasons(p, r, "native", "Native calls");
    put_reasons(p, r, "json", "Prompted JSON");
    qn__page_facts(p);
    for (int k = 0; k < QN_REASONS; k++)
        qn__page_fact(p, qn__reason_name(k), "%s", qn__reason_means(k));
    qn__page_facts_end(p);
    qn__page_section(p, "Kinds of tasks");
    put_families(p, r, "native", "Native calls: passed of tried");
    put_families(p, r, "json", "Prompted JSON: passed of tried");
    qn__page_section(p, "What was measured");
    qn__page_facts(p);
    qn__page_fact(p, "Model", "%s (%s)", qn__page_str(r, "model"), qn__page_str(r, "fingerprint"));
    qn__page_fact(p, "Machine", "%s", qn__page_str(r, "machine_class"));
    qn__page_fact(p, "Ledger", "run %s in %s: every transcript", qn__page_count(qn__page_num(r, "run")).s, qn__page_str(r, "ledger"));
    if (json_object_get(r, "rescored"))
        qn__page_fact(p, "Judged again", "%s samples have another reason than when they were made", qn__page_count(qn__page_num(r, "rescored")).s);
    qn__page_machine(p, json_object_get(r, "machine"));
    qn__page_facts_end(p);
    json_array_foreach(json_object_get(r, "notes"), i, note)
        qn__page_note(p, "%s", json_is_string(note) ? json_string_value(note) : "");
    return QN_OK;
}
