/* compare_page.c - the page of a fair comparison. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "services/probe/page.h"

enum { FIXED = 2, LABEL = 32 };

static size_t size_of(const json_t *list)
{
    const size_t n = json_array_size(list), most = QN_PAGE_COLUMNS - FIXED;
    return n < most ? n : most;
}

static qn_tone tone_of(const char *verdict)
{
    return strcmp(verdict, "solid") == 0 ? QN_TONE_GOOD : strcmp(verdict, "luck") == 0 ? QN_TONE_WARN : strcmp(verdict, "never") == 0 ? QN_TONE_BAD : QN_TONE_SOFT;
}

static void put_contenders(qn_page *p, const json_t *r)
{
    static const qn_page_column columns[] = {{"", false}, {"Contender", false}, {"Solid", true}, {"Luck", true}, {"Never", true}, {"Right as written", true},
                                             {"95 %", true}, {"First token", true}, {"Answer", true}, {"tok/s", true}, {"Tokens written", true}};
    size_t i;
    const json_t *c;
    qn__page_section(p, "Who was right");
    qn__page_table(p, NULL, columns, sizeof columns / sizeof *columns);
    json_array_foreach((json_t *)json_object_get(r, "contenders"), i, c) {
        const json_t *w = json_object_get(c, "first_interval95");
        const double luck = qn__page_num(c, "luck");
        qn__page_cell(p, "%s", qn__page_str(c, "label"));
        qn__page_cell(p, "%s", qn__page_str(c, "name"));
        qn__page_cell(p, "%s of %s", qn__page_count(qn__page_num(c, "solid")).s, qn__page_count(qn__page_num(c, "items")).s);
        qn__page_cell_as(p, luck > 0 ? QN_TONE_WARN : QN_TONE_PLAIN, "%s", qn__page_count(luck).s);
        qn__page_cell(p, "%s", qn__page_count(qn__page_num(c, "never")).s);
        qn__page_cell(p, "%s", qn__page_count(qn__page_num(c, "first")).s);
        qn__page_cell(p, "%.0f to %.0f %%", 100 * json_number_value(json_array_get(w, 0)), 100 * json_number_value(json_array_get(w, 1)));
        qn__page_cell(p, "%s", qn__page_seconds(qn__page_num(c, "first_s")).s);
        qn__page_cell(p, "%s", qn__page_seconds(qn__page_num(c, "total_s")).s);
        qn__page_cell(p, "%s", qn__page_number(QN_UNIT_PLAIN, qn__page_num(c, "tokens_per_s")).s);
        qn__page_cell(p, "%s", qn__page_count(qn__page_num(c, "generated_tokens")).s);
    }
    qn__page_table_end(p);
    qn__page_note(p, "Solid: right in every run. Luck: right in some runs and wrong in others; a single run would have shown either. Never: wrong in every "
                     "run. Times are medians over all answers, each asked alone; what was read for the run before is not read again.");
}

static void put_items(qn_page *p, const json_t *r)
{
    qn_page_column columns[QN_PAGE_COLUMNS] = {{"Question", false}, {"Check", false}};
    const json_t *who = json_object_get(r, "contenders"), *item;
    const size_t n = size_of(who);
    size_t i;
    for (size_t k = 0; k < n; k++)
        columns[FIXED + k] = (qn_page_column){qn__page_str(json_array_get(who, k), "label"), false};
    qn__page_section(p, "Question by question");
    qn__page_table(p, NULL, columns, FIXED + n);
    json_array_foreach((json_t *)json_object_get(r, "items"), i, item) {
        qn__page_cell(p, "%s", qn__page_str(item, "name"));
        qn__page_cell(p, "%s", qn__page_str(item, "check"));
        for (size_t k = 0; k < n; k++) {
            const json_t *c = json_array_get(json_object_get(item, "contenders"), k);
            const char *verdict = qn__page_str(c, "verdict");
            if (!c)
                qn__page_cell_as(p, QN_TONE_SOFT, "skipped");
            else if (strcmp(verdict, "not scored") == 0)
                qn__page_cell_as(p, QN_TONE_SOFT, "for people");
            else
                qn__page_cell_as(p, tone_of(verdict), "%s (%.0f/%.0f)", verdict, qn__page_num(c, "right"), qn__page_num(c, "of"));
        }
    }
    qn__page_table_end(p);
    json_array_foreach((json_t *)json_object_get(r, "items"), i, item)
        if (json_object_get(item, "skipped"))
            qn__page_text(p, "Skipped: %s: %s.", qn__page_str(item, "name"), qn__page_str(item, "skipped"));
}

/* What became of the answers when they were judged again. */
static void put_changed(qn_page *p, const json_t *r)
{
    static const qn_page_column columns[] = {{"Question", false}, {"Contender", false}, {"Run", true}, {"Before", false}, {"Now", false}};
    size_t i;
    const json_t *x;
    if (!json_object_get(r, "rescored"))
        return;
    qn__page_section(p, "Judged again");
    qn__page_text(p, "%s of %s answers have another verdict than before. Nobody was asked.", qn__page_count(qn__page_num(r, "rescored")).s,
                  qn__page_count(qn__page_num(r, "judged")).s);
    json_array_foreach((json_t *)json_object_get(r, "gone"), i, x)
        qn__page_text(p, "Left out: %s: the suite has no such question any more.", json_is_string(x) ? json_string_value(x) : "");
    if (json_array_size(json_object_get(r, "changed")) == 0)
        return;
    qn__page_table(p, NULL, columns, sizeof columns / sizeof *columns);
    json_array_foreach((json_t *)json_object_get(r, "changed"), i, x) {
        qn__page_cell(p, "%s", qn__page_str(x, "item"));
        qn__page_cell(p, "%s", qn__page_str(x, "contender"));
        qn__page_cell(p, "%.0f", qn__page_num(x, "run"));
        qn__page_cell(p, "%s", qn__page_str(x, "before"));
        qn__page_cell(p, "%s", qn__page_str(x, "after"));
    }
    qn__page_table_end(p);
}

static void put_pairs(qn_page *p, const json_t *r)
{
    static const qn_page_column columns[] = {{"Pair", false}, {"Better on", true}, {"Worse on", true}, {"Tied", true}, {"p", true}, {"p, corrected", true},
                                             {"p, as written only", true}};
    const json_t *pairs = json_object_get(r, "pairs"), *x;
    size_t i;
    qn__page_section(p, "Is a difference more than chance?");
    json_array_foreach((json_t *)pairs, i, x)
        qn__page_verdict(p, qn__page_num(x, "different") == 1 ? QN_TONE_GOOD : QN_TONE_SOFT, qn__page_num(x, "different") == 1 ? "DIFFERENT" : "NOT TOLD APART",
                         "%s", qn__page_str(x, "conclusion"));
    qn__page_table(p, NULL, columns, sizeof columns / sizeof *columns);
    json_array_foreach((json_t *)pairs, i, x) {
        qn__page_cell(p, "%s against %s", qn__page_str(x, "a"), qn__page_str(x, "b"));
        qn__page_cell(p, "%s", qn__page_count(qn__page_num(x, "wins_a")).s);
        qn__page_cell(p, "%s", qn__page_count(qn__page_num(x, "wins_b")).s);
        qn__page_cell(p, "%s", qn__page_count(qn__page_num(x, "ties")).s);
        qn__page_cell(p, "%.3g", qn__page_num(x, "p"));
        qn__page_cell(p, "%.3g", qn__page_num(x, "p_corrected"));
        qn__page_cell(p, "%.3g", qn__page_num(x, "first_runs.p"));
    }
    qn__page_table_end(p);
    qn__page_note(p, "p: how often a difference of this size or more would come about if there were none. An exact sign test over questions, on which of the two was "
                     "right in more runs; corrected for the number of pairs (Holm 1979). As written only: McNemar's exact test over the first runs. Runs of one question are not "
                     "independent, so they are not counted as if they were so many questions.");
}

static void put_quants(qn_page *p, const json_t *quants)
{
    static const qn_page_column columns[] = {{"", false}, {"Type", false}, {"File", true}, {"Bits", true}, {"Memory", true}, {"Reads tok/s", true}, {"Writes tok/s", true},
                                             {"Perplexity", true}, {"KL, mean", true}, {"KL, 99 %", true}, {"Same choice", true}, {"pass@1", true}};
    size_t i;
    const json_t *q;
    qn__page_section(p, "Quantisations of one model");
    const bool asked = isfinite(qn__page_num(json_array_get(quants, 0), "pass@1"));
    qn__page_table(p, NULL, columns, sizeof columns / sizeof *columns - !asked);
    json_array_foreach((json_t *)quants, i, q) {
        qn__page_cell(p, "%s", qn__page_str(q, "label"));
        qn__page_cell(p, "%s", qn__page_str(q, "type"));
        qn__page_cell(p, "%s", qn__page_bytes(qn__page_num(q, "bytes")).s);
        qn__page_cell(p, "%.2f", qn__page_num(q, "bits_per_weight"));
        qn__page_cell(p, "%s", qn__page_bytes(qn__page_num(q, "memory")).s);
        qn__page_cell(p, "%.1f", qn__page_num(q, "prefill_tps"));
        qn__page_cell(p, "%.1f", qn__page_num(q, "decode_tps"));
        qn__page_cell(p, "%.2f ± %.2f", qn__page_num(q, "perplexity"), qn__page_num(q, "perplexity_error"));
        if (i == 0)
            qn__page_cell(p, "reference");
        else
            qn__page_cell(p, "%.4f ± %.4f", qn__page_num(q, "kl"), qn__page_num(q, "kl_error"));
        qn__page_cell(p, "%.4f", qn__page_num(q, "kl_p99"));
        qn__page_cell(p, "%s", qn__page_percent(qn__page_num(q, "same_top")).s);
        if (asked)
            qn__page_cell(p, "%s", qn__page_percent(qn__page_num(q, "pass@1")).s);
    }
    qn__page_table_end(p);
    qn__page_note(p, "KL: Kullback-Leibler divergence of the next token's distribution from the reference's, in nats, over %s positions of a text in windows of 256 tokens of which "
                     "the second half is scored. Same choice: positions where both would choose the same token. Memory: weights as they are laid out and the pages of one "
                     "context.%s", qn__page_count(qn__page_num(json_array_get(quants, 0), "scored")).s,
                  asked ? " pass@1: share of right answers over all runs of the suite." : "");
}

/* Answers beside each other, for people to judge. */
static void put_answers(qn_page *p, const json_t *r, bool rubric)
{
    size_t i, k, a;
    const json_t *item, *c, *text, *who = json_object_get(r, "contenders");
    bool any = false;
    json_array_foreach((json_t *)json_object_get(r, "items"), i, item) {
        if ((strcmp(qn__page_str(item, "check"), "rubric") == 0) != rubric || json_object_get(item, "skipped"))
            continue;
        if (!any)
            qn__page_section(p, rubric ? "For people to judge" : "Transcripts");
        any = true;
        if (rubric)
            qn__page_text(p, "%s. What to look for: %s", qn__page_str(item, "name"), *qn__page_str(item, "rubric") ? qn__page_str(item, "rubric") : "not said.");
        else
            qn__page_fold(p, "%s", qn__page_str(item, "name"));
        qn__page_code(p, qn__page_str(item, "prompt"), strlen(qn__page_str(item, "prompt")));
        json_array_foreach((json_t *)json_object_get(item, "contenders"), k, c)
            json_array_foreach((json_t *)json_object_get(c, "answers"), a, text) {
                if (rubric && a > 0)
                    break;
                qn__page_text(p, "%s, run %zu (%s): %s", qn__page_str(json_array_get(who, k), "label"), a + 1,
                              json_string_length(json_array_get(json_object_get(item, "applied"), a)) ? json_string_value(json_array_get(json_object_get(item, "applied"), a)) : "",
                              json_is_string(json_array_get(json_object_get(c, "outcomes"), a)) ? json_string_value(json_array_get(json_object_get(c, "outcomes"), a)) : "");
                qn__page_code(p, json_is_string(text) ? json_string_value(text) : "", json_string_length(text));
            }
        if (!rubric)
            qn__page_fold_end(p);
    }
}

static void put_variations(qn_page *p, const json_t *r)
{
    qn_page_column columns[QN_PAGE_COLUMNS] = {{"Question", false}};
    char names[QN_PAGE_COLUMNS][LABEL];
    const double runs = qn__page_num(r, "runs");
    const size_t n = runs >= 1 && runs < QN_PAGE_COLUMNS - 1 ? (size_t)runs : QN_PAGE_COLUMNS - 1;
    size_t i;
    const json_t *item;
    for (size_t k = 0; k < n; k++) {
        (void)snprintf(names[k], LABEL, "Run %zu", k + 1);
        columns[1 + k] = (qn_page_column){names[k], false};
    }
    qn__page_section(p, "How the questions were put");
    qn__page_text(p, "Everybody got the same words in the same order%s%s%s, at temperature 0.", *qn__page_str(r, "system") ? ", with the same system prompt (“" : "",
                  qn__page_str(r, "system"), *qn__page_str(r, "system") ? "”)" : "");
    qn__page_table(p, NULL, columns, 1 + n);
    json_array_foreach((json_t *)json_object_get(r, "items"), i, item) {
        qn__page_cell(p, "%s", qn__page_str(item, "name"));
        for (size_t k = 0; k < n; k++) {
            const json_t *applied = json_array_get(json_object_get(item, "applied"), k);
            qn__page_cell(p, "%s", json_is_string(applied) ? json_string_value(applied) : "");
        }
    }
    qn__page_table_end(p);
    qn__page_note(p, "White space: blank lines. Synonyms: words of instruction for others that mean the same here. Order: requirements that do not refer to each other. Code stays to "
                     "the byte. At temperature 0 the same words give a model in this process the same answer, so repeating them would show nothing.");
}

static bool plain(const json_t *r)
{
    size_t i;
    const json_t *c;
    json_array_foreach((json_t *)json_object_get(r, "contenders"), i, c)
        if (qn__page_num(c, "chat") == 0)
            return true;
    return false;
}

qn_status qn__page_of_compare(qn_page *p, const json_t *r, qn_err *err)
{
    (void)err;
    size_t i;
    const json_t *c, *who = json_object_get(r, "contenders"), *items = json_object_get(r, "items"), *quants = json_object_get(r, "quants");
    qn_buf title = {0};
    if (items)
        qn__buf_printf(&title, "%s", qn__page_str(r, "suite"));
    else
        qn__buf_puts(&title, "Quantisations of one model");
    if (items)
        qn__page_begin(p, title.data ? title.data : "", "%zu contenders, %zu questions, each asked %.0f times.", json_array_size(who), json_array_size(items), qn__page_num(r, "runs"));
    else
        qn__page_begin(p, title.data ? title.data : "", "%zu files.", json_array_size(who));
    qn__buf_free(&title);
    if (items) {
        put_contenders(p, r);
        put_items(p, r);
        put_changed(p, r);
        put_pairs(p, r);
    }
    if (quants)
        put_quants(p, quants);
    if (items) {
        put_answers(p, r, true);
        put_variations(p, r);
        put_answers(p, r, false);
    }
    qn__page_section(p, "What was measured");
    qn__page_facts(p);
    json_array_foreach((json_t *)who, i, c)
        qn__page_fact(p, qn__page_str(c, "label"), "%s: %s (%s), run %s", qn__page_str(c, "name"), qn__page_str(c, "spec"), qn__page_str(c, "fingerprint"),
                      qn__page_count(qn__page_num(c, "run")).s);
    if (items)
        qn__page_fact(p, "Suite", "%s (%s)", qn__page_str(r, "suite_file"), qn__page_str(r, "suite_hash"));
    qn__page_fact(p, "Ledger", "%s: every prompt and answer", qn__page_str(r, "ledger"));
    qn__page_machine(p, json_object_get(r, "machine"));
    qn__page_facts_end(p);
    if (items && plain(r))
        qn__page_note(p, "A contender without a chat template was asked with the same text as plain text to go on from.");
    return QN_OK;
}
