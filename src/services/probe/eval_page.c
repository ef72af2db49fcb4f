/* eval_page.c - the page of a suite of programming problems. */
#include <math.h>
#include <string.h>

#include "services/probe/page.h"

static const struct {
    const char *name, *means;
    qn_tone tone;
} OUTCOMES[] = {
    {"passed", "the program did what its tests ask", QN_TONE_GOOD},
    {"wrong", "it ran, and a test found a wrong result", QN_TONE_BAD},
    {"error", "it did not run to its end", QN_TONE_BAD},
    {"time", "it ran out of time", QN_TONE_WARN},
    {"limits", "it passed a limit on memory, processes or output", QN_TONE_WARN},
    {"cut", "the answer ended at its limit of tokens", QN_TONE_WARN},
    {"no code", "the answer held no program", QN_TONE_WARN},
    {"no answer", "there was no answer", QN_TONE_SOFT},
};
enum { N_OUTCOMES = sizeof OUTCOMES / sizeof *OUTCOMES, MOST_OUTCOMES = 24 };

static void put_scores(qn_page *p, const json_t *r)
{
    static const char *const names[] = {"pass@1", "pass@10", "pass@100"};
    qn_page_bar bars[3];
    qn_word words[3];
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        const json_t *s = json_object_get(r, names[i]), *w = json_object_get(s, "interval95");
        if (!s)
            continue;
        words[n] = qn__page_percent(qn__page_num(s, "value"));
        bars[n] = (qn_page_bar){.label = names[i], .v = qn__page_num(s, "value"), .words = words[n].s, .tone = QN_TONE_PLAIN};
        if (w) {
            bars[n].low = json_number_value(json_array_get(w, 0));
            bars[n].high = json_number_value(json_array_get(w, 1));
        }
        n++;
    }
    qn__page_section(p, "How many problems are solved");
    qn__page_bars(p, "Chance that one of k answers passes", "", 1, bars, n);
    qn__page_note(p, "pass@k without bias (Chen 2021). The interval is where the true rate lies with 95 %%: Wilson's with one answer to "
                     "each problem, else from the spread over problems.");
}

static void put_outcomes(qn_page *p, const json_t *r)
{
    qn_page_bar bars[MOST_OUTCOMES];
    size_t n = 0;
    const json_t *all = json_object_get(r, "outcomes");
    const char *key;
    json_t *v;
    qn__page_section(p, "What became of the answers");
    for (size_t i = 0; i < N_OUTCOMES; i++)
        if (json_object_get(all, OUTCOMES[i].name))
            bars[n++] = (qn_page_bar){.label = OUTCOMES[i].name, .v = qn__page_num(all, OUTCOMES[i].name), .tone = OUTCOMES[i].tone};
    json_object_foreach((json_t *)all, key, v) {
        size_t i = 0;
        while (i < N_OUTCOMES && strcmp(OUTCOMES[i].name, key) != 0)
            i++;
        if (i == N_OUTCOMES && n < MOST_OUTCOMES)
            bars[n++] = (qn_page_bar){.label = key, .v = json_is_number(v) ? json_number_value(v) : (double)NAN};
    }
    qn__page_bars(p, "Answers", "", 0, bars, n);
    qn__page_facts(p);
    for (size_t i = 0; i < N_OUTCOMES; i++)
        if (json_object_get(all, OUTCOMES[i].name))
            qn__page_fact(p, OUTCOMES[i].name, "%s", OUTCOMES[i].means);
    qn__page_facts_end(p);
}

qn_status qn__page_of_eval(qn_page *p, const json_t *r, qn_err *err)
{
    (void)err;
    const double samples = qn__page_num(r, "samples"), passed = qn__page_num(r, "passed");
    qn_buf title = {0};
    qn__buf_printf(&title, "%s: %s", qn__page_str(r, "suite"), qn__page_str(r, "model"));
    qn__page_begin(p, title.data ? title.data : "", "%s of %s answers passed when they were run, to %s problems, %s.", qn__page_count(passed).s,
                   qn__page_count(samples).s, qn__page_count(qn__page_num(r, "problems")).s,
                   qn__page_num(r, "chat") == 1 ? "asked in a chat" : "asked for a completion");
    qn__buf_free(&title);
    put_scores(p, r);
    put_outcomes(p, r);
    qn__page_section(p, "What was measured");
    qn__page_facts(p);
    qn__page_fact(p, "Suite", "%s (%s)", qn__page_str(r, "suite"), qn__page_str(r, "suite_hash"));
    qn__page_fact(p, "Model", "%s (%s)", qn__page_str(r, "model"), qn__page_str(r, "fingerprint"));
    if (isfinite(qn__page_num(r, "of_problems")))
        qn__page_fact(p, "Problems", "the first %s of %s", qn__page_count(qn__page_num(r, "problems")).s, qn__page_count(qn__page_num(r, "of_problems")).s);
    qn__page_fact(p, "Note", "%s", qn__page_str(r, "note"));
    qn__page_fact(p, "Ledger", "run %s in %s: every prompt, answer and program", qn__page_count(qn__page_num(r, "run")).s, qn__page_str(r, "ledger"));
    qn__page_machine(p, json_object_get(r, "machine"));
    qn__page_facts_end(p);
    return QN_OK;
}
