/* compare_report.c - what the answers say about the contenders, and what they do not: tallies per item, luck, pairs.
 *
 * The unit of every test is the item: runs of one item are not independent of each other, so they are never counted as if they were
 * so many questions. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "services/eval/compare.h"
#include "services/probe/machine.h"
#include "services/probe/stats.h"

static const double LEVEL = 0.05;

typedef struct tally {
    uint64_t items, solid, luck, never, first;
    uint64_t right, runs;
    double first_s, total_s, decode_tps; /* medians; NaN: not known */
    double prompt_tokens, generated_tokens;
} tally;

static bool scored(const qn_comparison *c, size_t item)
{
    return c->tasks.v[item].check != QN_CHECK_RUBRIC && !qn__compare_skips(c, item);
}

static int n_right(const qn_comparison *c, size_t item, size_t who)
{
    int n = 0;
    for (int r = 0; r < c->runs; r++)
        n += qn__compared(c, item, who, r)->right;
    return n;
}

static double median(double *v, size_t n)
{
    qn__sort_doubles(v, n);
    return n ? qn__quantile(v, n, 0.5) : (double)NAN;
}

static qn_status count(const qn_comparison *c, size_t who, tally *t, qn_err *err)
{
    *t = (tally){0};
    size_t most = c->tasks.n * (size_t)c->runs + 1, n = 0, n_tps = 0;
    double *first = qn__calloc(most, sizeof *first), *total = qn__calloc(most, sizeof *total), *tps = qn__calloc(most, sizeof *tps);
    const bool ok = first && total && tps;
    for (size_t i = 0; ok && i < c->tasks.n; i++) {
        const int right = n_right(c, i, who);
        if (scored(c, i)) {
            t->items++;
            t->right += (uint64_t)right;
            t->runs += (uint64_t)c->runs;
            *(right == c->runs ? &t->solid : right ? &t->luck : &t->never) += 1;
            t->first += qn__compared(c, i, who, 0)->right;
        }
        for (int r = 0; r < c->runs; r++) {
            const qn_compared *x = qn__compared(c, i, who, r);
            if (!x->outcome || strcmp(x->outcome, "no answer") == 0)
                continue;
            first[n] = x->first_s;
            total[n++] = x->total_s;
            t->prompt_tokens += x->prompt_tokens;
            t->generated_tokens += x->generated_tokens;
            if (x->prompt_tokens < 0 || x->generated_tokens < 0)
                t->prompt_tokens = t->generated_tokens = (double)NAN; /* the server does not say */
            if (x->generated_tokens > 1 && x->total_s > x->first_s)
                tps[n_tps++] = (x->generated_tokens - 1) / (x->total_s - x->first_s);
        }
    }
    if (ok) {
        t->first_s = median(first, n);
        t->total_s = median(total, n);
        t->decode_tps = median(tps, n_tps);
    }
    qn_free(first);
    qn_free(total);
    qn_free(tps);
    return ok ? QN_OK : qn__fail_mem(err, "report");
}

/* NaN has no place in JSON: null. */
static json_t *real(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *contender_json(const qn_comparison *c, size_t who, const tally *t)
{
    const char label[2] = {(char)('A' + who), 0};
    const qn_interval w = qn__wilson(t->first, t->items, 1.959964);
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:I}", "label", label, "name", c->name[who], "spec", c->who[who].spec, "fingerprint", c->fingerprint[who],
                          "chat", (int)c->chats[who], "local", (int)c->who[who].local, "run", (json_int_t)c->id[who]);
    if (!o || !c->suite)
        return o;
    (void)json_object_update_new(o, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "items", (json_int_t)t->items, "solid", (json_int_t)t->solid, "luck", (json_int_t)t->luck,
                                          "never", (json_int_t)t->never, "first", (json_int_t)t->first, "right", (json_int_t)t->right, "answers",
                                          (json_int_t)t->runs));
    (void)json_object_set_new(o, "first_interval95", json_pack("[f, f]", w.low, w.high));
    (void)json_object_set_new(o, "first_s", real(t->first_s));
    (void)json_object_set_new(o, "total_s", real(t->total_s));
    (void)json_object_set_new(o, "tokens_per_s", real(t->decode_tps));
    (void)json_object_set_new(o, "prompt_tokens", real(t->prompt_tokens));
    (void)json_object_set_new(o, "generated_tokens", real(t->generated_tokens));
    return o;
}

/* ---- items ---- */

static json_t *cell_json(const qn_comparison *c, size_t item, size_t who, bool answers)
{
    const int right = n_right(c, item, who);
    json_t *o = json_pack("{s:i, s:i, s:s, s:[], s:[]}", "right", right, "of", c->runs, "verdict",
                          !scored(c, item) ? "not scored" : right == c->runs ? "solid" : right ? "luck" : "never", "outcomes", "answers");
    for (int r = 0; o && r < c->runs; r++) {
        const qn_compared *x = qn__compared(c, item, who, r);
        (void)json_array_append_new(json_object_get(o, "outcomes"), json_string(x->outcome ? x->outcome : ""));
        const json_t *text = json_object_get(x->data, "answer");
        const char *t = json_string_value(text);
        size_t n = json_string_length(text);
        if (n > QN_COMPARE_ANSWER)
            n = QN_COMPARE_ANSWER - qn__utf8_incomplete(t, QN_COMPARE_ANSWER);
        if (answers && t)
            (void)json_array_append_new(json_object_get(o, "answers"), json_stringn(t, n));
    }
    return o;
}

static json_t *item_json(const qn_comparison *c, size_t item, bool answers)
{
    const qn_task *t = &c->tasks.v[item];
    const char *skips = qn__compare_skips(c, item);
    json_t *o = json_pack("{s:s, s:s, s:s, s:[], s:[]}", "name", t->name, "check", qn__check_name(t->check), "prompt", t->prompt, "applied", "contenders");
    if (!o)
        return NULL;
    if (skips)
        (void)json_object_set_new(o, "skipped", json_string(skips));
    if (t->check == QN_CHECK_RUBRIC && t->against)
        (void)json_object_set_new(o, "rubric", json_string(t->against));
    for (int r = 0; r < c->runs && !skips; r++)
        (void)json_array_append(json_object_get(o, "applied"), json_object_get(qn__compared(c, item, 0, r)->data, "applied"));
    for (size_t i = 0; i < c->n_who && !skips; i++)
        (void)json_array_append_new(json_object_get(o, "contenders"), cell_json(c, item, i, answers || t->check == QN_CHECK_RUBRIC));
    return o;
}

/* ---- pairs ---- */

void qn__compare_holm(double *p, size_t n)
{
    /* From the smallest: times the number of those not yet passed, never less than the one before. n is small. */
    double before = 0;
    for (size_t done = 0; done < n; done++) {
        size_t least = n;
        for (size_t i = 0; i < n; i++)
            if (p[i] >= 0 && (least == n || p[i] < p[least]))
                least = i;
        before = fmin(1, fmax(before, p[least] * (double)(n - done)));
        p[least] = -1 - before; /* marked as passed */
    }
    for (size_t i = 0; i < n; i++)
        p[i] = -1 - p[i];
}

void qn__compare_conclude(char *out, size_t n, const char *a, const char *b, uint64_t wins_a, uint64_t wins_b, uint64_t ties, double p)
{
    const uint64_t items = wins_a + wins_b + ties;
    const char *better = wins_a > wins_b ? a : b;
    const unsigned long long most = wins_a > wins_b ? wins_a : wins_b, least = wins_a > wins_b ? wins_b : wins_a;
    int k = wins_a + wins_b == 0
                ? snprintf(out, n, "No difference can be told between %s and %s: they were right equally often on every question.", a, b)
            : p < LEVEL
                ? snprintf(out, n, "%s is better on this suite: right more often on %llu questions and less often on %llu (p = %.2g). Whether that holds elsewhere "
                                   "depends on how well the suite stands for it.", better, most, least, p)
                : snprintf(out, n, "No difference can be told between %s and %s: %llu to %llu on the questions that differ is what chance alone does often enough (p = %.2g).",
                           a, b, (unsigned long long)wins_a, (unsigned long long)wins_b, p);
    if (items > 0 && qn__sign_test(items, 0) >= LEVEL && k > 0 && (size_t)k < n)
        (void)snprintf(out + k, n - (size_t)k, " With %llu question%s no outcome could show one: it takes 6 at least, all one way.", (unsigned long long)items,
                       items == 1 ? "" : "s");
}

typedef struct pair {
    size_t a, b;
    uint64_t wins_a, wins_b, ties, only_a, only_b;
    double p;
} pair;

static pair make_pair(const qn_comparison *c, size_t a, size_t b)
{
    pair x = {.a = a, .b = b};
    for (size_t i = 0; i < c->tasks.n; i++) {
        if (!scored(c, i))
            continue;
        const int ra = n_right(c, i, a), rb = n_right(c, i, b);
        *(ra > rb ? &x.wins_a : ra < rb ? &x.wins_b : &x.ties) += 1;
        const bool fa = qn__compared(c, i, a, 0)->right, fb = qn__compared(c, i, b, 0)->right;
        x.only_a += fa && !fb;
        x.only_b += fb && !fa;
    }
    x.p = qn__sign_test(x.wins_a, x.wins_b);
    return x;
}

static json_t *pair_json(const pair *x, double corrected)
{
    char text[500];
    const char a[2] = {(char)('A' + x->a), 0}, b[2] = {(char)('A' + x->b), 0};
    qn__compare_conclude(text, sizeof text, a, b, x->wins_a, x->wins_b, x->ties, corrected);
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:{s:I, s:I, s:f}, s:b, s:s}", "a", a, "b", b, "wins_a", (json_int_t)x->wins_a, "wins_b",
                     (json_int_t)x->wins_b, "ties", (json_int_t)x->ties, "p", x->p, "p_corrected", corrected, "first_runs", "only_a", (json_int_t)x->only_a,
                     "only_b", (json_int_t)x->only_b, "p", qn__sign_test(x->only_a, x->only_b), "different", corrected < LEVEL, "conclusion", text);
}

static json_t *pairs_json(const qn_comparison *c)
{
    enum { MOST = QN_COMPARE_MOST * (QN_COMPARE_MOST - 1) / 2 };
    pair v[MOST];
    double p[MOST];
    size_t n = 0;
    for (size_t a = 0; a < c->n_who; a++)
        for (size_t b = a + 1; b < c->n_who; b++, n++) {
            v[n] = make_pair(c, a, b);
            p[n] = v[n].p;
        }
    qn__compare_holm(p, n);
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(all, pair_json(&v[i], p[i]));
    return all;
}

/* ---- all ---- */

/* Quantisations' rows with what the suite says of them. */
static void add_pass(const qn_comparison *c, json_t *quants, const tally *t)
{
    for (size_t i = 0; i < c->n_who; i++)
        if (c->suite && t[i].items)
            (void)json_object_set_new(json_array_get(quants, i), "pass@1", json_real((double)t[i].right / (double)t[i].runs));
}

qn_status qn__compare_report(qn_comparison *c, json_t **out, qn_err *err)
{
    tally t[QN_COMPARE_MOST];
    char hash[20];
    bool local = false;
    qn_status st = QN_OK;
    for (size_t i = 0; i < c->n_who && !st; i++) {
        st = count(c, i, &t[i], err);
        local = local || c->who[i].local;
    }
    if (st)
        return st;
    (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)c->tasks.hash);
    json_t *o = json_pack("{s:s, s:f, s:i, s:b, s:I, s:[], s:s}", "kind", "compare", "temperature", 0.0, "runs", c->runs, "verbatim", (int)c->o->verbatim, "seed",
                          (json_int_t)c->o->probe.seed, "contenders", "ledger", qn__ledger_path(c->ledger));
    if (!o)
        return qn__fail_mem(err, "report");
    for (size_t i = 0; i < c->n_who; i++)
        (void)json_array_append_new(json_object_get(o, "contenders"), contender_json(c, i, &t[i]));
    if (c->suite) {
        const bool answers = c->tasks.n * c->n_who * (size_t)c->runs <= 1000;
        json_t *items = json_array();
        for (size_t i = 0; items && i < c->tasks.n; i++)
            (void)json_array_append_new(items, item_json(c, i, answers));
        (void)json_object_update_new(o, json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "suite", *c->tasks.title ? c->tasks.title : c->suite, "suite_file", c->suite,
                                              "suite_hash", hash, "system", c->tasks.system, "items", items, "pairs", pairs_json(c)));
    }
    if (c->quants) {
        add_pass(c, c->quants, t);
        (void)json_object_set(o, "quants", c->quants);
    }
    (void)json_object_set_new(o, "machine", qn__machine_json(local ? &c->o->probe.engine : NULL));
    *out = o;
    return QN_OK;
}
