/* audit_page.c - the page of an audit: the verdict, the map of depths and lengths, each kind, what it cost. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "services/probe/page.h"

enum { MOST_DEPTHS = 16, MOST_LENGTHS = 96, MOST_KINDS = 16 };

static double item(const json_t *list, size_t i)
{
    const json_t *v = json_array_get(list, i);
    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

static void put_verdict(qn_page *p, const json_t *r)
{
    const char *state = qn__page_str(r, "verdict.state");
    bool cliff = strcmp(state, "cliff") == 0, none = strcmp(state, "none") == 0;
    qn__page_verdict(p, none ? QN_TONE_GOOD : cliff ? QN_TONE_WARN : QN_TONE_BAD, none ? "no cliff" : cliff ? "cliff" : "never able", "%s.",
                     qn__page_str(r, "verdict.text"));
}

static void put_map(qn_page *p, const json_t *r)
{
    const json_t *m = json_object_get(r, "heat_map"), *depths = json_object_get(m, "depths"), *lengths = json_object_get(m, "lengths");
    size_t rows = json_array_size(depths), columns = json_array_size(lengths);
    double v[MOST_DEPTHS * MOST_LENGTHS];
    qn_word row[MOST_DEPTHS], column[MOST_LENGTHS];
    const char *row_names[MOST_DEPTHS], *column_names[MOST_LENGTHS];
    if (rows == 0 || columns == 0 || rows > MOST_DEPTHS || columns > MOST_LENGTHS)
        return;
    for (size_t i = 0; i < columns; i++) {
        column[i] = qn__page_count(item(lengths, i));
        column_names[i] = column[i].s;
    }
    for (size_t d = 0; d < rows; d++) {
        const json_t *cells = json_array_get(json_object_get(m, "right_of"), d);
        row[d] = qn__page_percent(item(depths, d));
        row_names[d] = row[d].s;
        for (size_t i = 0; i < columns; i++) {
            double right = item(json_array_get(cells, i), 0), n = item(json_array_get(cells, i), 1);
            v[d * columns + i] = n > 0 ? right / n : (double)NAN;
        }
    }
    qn__page_section(p, "Where in the text, and how long");
    qn__page_heat(p, &(qn_page_heat){.title = "Right answers", .row_name = "depth", .column_name = "tokens", .rows = rows, .columns = columns,
                                     .row_labels = row_names, .column_labels = column_names, .v = v});
    qn__page_note(p, "All kinds together; 0 %% is the beginning of the text. Near a cliff lengths lie close: there only the kinds are asked that "
                     "were not decided yet.");
}

static void put_rate(qn_page *p, const json_t *o)
{
    if (!o || !(qn__page_num(o, "n") > 0))
        qn__page_cell(p, "%s", "");
    else
        qn__page_cell(p, "%s of %s", qn__page_count(qn__page_num(o, "right")).s, qn__page_count(qn__page_num(o, "n")).s);
}

static void put_kinds(qn_page *p, const json_t *r)
{
    static const qn_page_column columns[] = {{"task", false}, {"from", true}, {"right there", true}, {"guessing", true}, {"\"not there\"", true}, {"result", false},
                                             {"95 %", false}};
    const json_t *k;
    size_t i;
    qn__page_section(p, "Each kind of task");
    qn__page_table(p, "Tokens of a prompt; right answers at the shortest; without the text; about what was left out", columns, 7);
    json_array_foreach(json_object_get(r, "kinds"), i, k) {
        const char *state = qn__page_str(k, "state");
        bool cliff = strcmp(state, "cliff") == 0, none = strcmp(state, "none") == 0;
        qn__page_cell(p, "%s", qn__page_str(k, "kind"));
        if (qn__page_num(k, "shortest") > 0)
            qn__page_cell(p, "%s", qn__page_count(qn__page_num(k, "shortest")).s);
        else
            qn__page_cell(p, "%s", "");
        put_rate(p, json_object_get(k, "short"));
        put_rate(p, json_object_get(k, "guess"));
        put_rate(p, json_object_get(k, "absent"));
        if (cliff)
            qn__page_cell_as(p, QN_TONE_WARN, "cliff at %s", qn__page_count(qn__page_num(k, "cliff.length")).s);
        else if (none)
            qn__page_cell_as(p, QN_TONE_GOOD, "no cliff up to %s", qn__page_count(qn__page_num(k, "up_to")).s);
        else
            qn__page_cell_as(p, strcmp(state, "never") == 0 ? QN_TONE_BAD : QN_TONE_SOFT, "%s", strcmp(state, "never") == 0 ? "never able" : state);
        const json_t *w = qn__page_at(k, "cliff.interval95");
        if (w)
            qn__page_cell(p, "%s to %s", qn__page_count(item(w, 0)).s, qn__page_count(item(w, 1)).s);
        else
            qn__page_cell(p, "%s", qn__page_str(k, "why"));
    }
    qn__page_table_end(p);
    qn__page_note(p, "A cliff is where the score is half-way between guessing and that at the shortest length, from a logistic curve by maximum "
                     "likelihood; the interval is its profile's. The verdict is the middle one of the kinds that can be done.");
}

static void put_bars(qn_page *p, const json_t *list, const char *title, const char *name, bool percent)
{
    qn_page_bar bars[MOST_KINDS];
    qn_word labels[MOST_KINDS];
    const json_t *o;
    size_t i, n = 0;
    json_array_foreach(list, i, o) {
        if (n == MOST_KINDS || !(qn__page_num(o, "n") > 0))
            continue;
        const json_t *w = json_object_get(o, "interval95");
        labels[n] = qn__page_percent(qn__page_num(o, name));
        bars[n] = (qn_page_bar){.label = percent ? labels[n].s : qn__page_str(o, name), .v = qn__page_num(o, "score"), .low = item(w, 0), .high = item(w, 1),
                                .tone = json_is_true(json_object_get(o, "weak")) ? QN_TONE_BAD : QN_TONE_PLAIN};
        n++;
    }
    if (n)
        qn__page_bars(p, title, "", 1, bars, n);
}

static void put_cost(qn_page *p, const json_t *r)
{
    qn__page_section(p, "What was measured, and what it cost");
    qn__page_facts(p);
    qn__page_fact(p, "Model", "%s (%s), %s", qn__page_str(r, "model"), qn__page_str(r, "fingerprint"), qn__page_num(r, "chat") == 1 ? "asked in a chat" : "completing text");
    qn__page_fact(p, "Questions", "%s, seed %s", qn__page_count(qn__page_num(r, "cost.questions")).s, qn__page_count(qn__page_num(r, "seed")).s);
    if (isfinite(qn__page_num(r, "cost.reused")))
        qn__page_fact(p, "Read", "%s tokens; with a text for each question it would have been %s: %s were reused", qn__page_count(qn__page_num(r, "cost.read_tokens")).s,
                      qn__page_count(qn__page_num(r, "cost.naive_tokens")).s, qn__page_percent(qn__page_num(r, "cost.reused")).s);
    else
        qn__page_fact(p, "Asked", "%s tokens; the server does not say how many of them it had cached", qn__page_count(qn__page_num(r, "cost.naive_tokens")).s);
    if (qn__page_num(r, "exact") == 1)
        qn__page_fact(p, "Lengths", "counted by the model's own tokenizer, template included");
    else
        qn__page_fact(p, "Lengths", "estimates: %.2f bytes a token, from prompts that the server counted", qn__page_num(r, "bytes_per_token"));
    qn__page_fact(p, "Ledger", "run %s in %s: every question and answer", qn__page_count(qn__page_num(r, "run")).s, qn__page_str(r, "ledger"));
    qn__page_machine(p, json_object_get(r, "machine"));
    qn__page_facts_end(p);
}

qn_status qn__page_of_audit(qn_page *p, const json_t *r, qn_err *err)
{
    (void)err;
    qn_buf title = {0};
    qn__buf_printf(&title, "Context cliff: %s", qn__page_str(r, "model"));
    qn__page_begin(p, title.data ? title.data : "", "Does it still find in a long text what it is asked for? Prompts of up to %s tokens.",
                   qn__page_count(qn__page_num(r, "max_length")).s);
    qn__buf_free(&title);
    put_verdict(p, r);
    put_map(p, r);
    put_kinds(p, r);
    qn__page_section(p, "Depths and fillers");
    put_bars(p, json_object_get(r, "depth_scores"), "Right at each depth, at lengths before the cliff", "depth", true);
    put_bars(p, json_object_get(r, "filler_scores"), "Right in each filler, at lengths before the cliff", "filler", false);
    put_cost(p, r);
    return QN_OK;
}
