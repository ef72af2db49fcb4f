/* compare_again.c - a comparison that lies in the ledger, judged again: the same answers, the suite's present checks, nobody asked.
 *
 *   run of any contender -> its report -> all contenders' runs -> answers -> present checks -> the report anew, and what changed
 *
 * An answer is an answer to the question that was asked. So an item whose question (or the suite's system prompt) is another one now, or
 * that was not asked then, is left out, and said so. The ledger stays as it is. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "services/eval/compare.h"

typedef struct again {
    qn_comparison c;
    qn_compare_options o;      /* as it was asked then */
    qn_contender who[QN_COMPARE_MOST];
    json_t *before;            /* the report of then */
    json_t *changed;           /* [{"item", "contender", "run", "before", "after"}] */
    size_t judged;
} again;

static const char *text_of(const json_t *o, const char *key)
{
    const char *v = json_string_value(json_object_get(o, key));
    return v ? v : "";
}

static qn_status unreadable(const again *a, qn_err *err)
{
    return qn__fail(err, QN_EFORMAT, qn__ledger_path(a->c.ledger), "run %lld cannot be read", (long long)a->o.rescore);
}

/* ---- who it was ---- */

static qn_status find(again *a, qn_err *err)
{
    qn_comparison *c = &a->c;
    char *text = NULL;
    qn_status st = qn_ledger_report(qn__ledger_path(c->ledger), a->o.rescore, &text, err);
    if (st)
        return st;
    a->before = json_loads(text, 0, NULL);
    qn_free(text);
    if (strcmp(text_of(a->before, "kind"), "compare") != 0)
        return qn__fail(err, QN_EINVAL, qn__ledger_path(c->ledger), "run %lld is no comparison", (long long)a->o.rescore);
    const json_t *who = json_object_get(a->before, "contenders");
    const json_int_t runs = json_integer_value(json_object_get(a->before, "runs"));
    if (json_array_size(who) < 2 || json_array_size(who) > QN_COMPARE_MOST || runs < 1 || runs > QN_COMPARE_RUNS_MOST)
        return unreadable(a, err);
    c->n_who = json_array_size(who);
    c->runs = (int)runs;
    a->o.verbatim = json_is_true(json_object_get(a->before, "verbatim"));
    a->o.probe.seed = (uint64_t)json_integer_value(json_object_get(a->before, "seed"));
    for (size_t i = 0; i < c->n_who; i++) {
        const json_t *x = json_array_get(who, i);
        a->who[i] = (qn_contender){.spec = text_of(x, "spec"), .local = json_is_true(json_object_get(x, "local"))};
        c->id[i] = json_integer_value(json_object_get(x, "run"));
        c->chats[i] = json_is_true(json_object_get(x, "chat"));
        (void)snprintf(c->name[i], sizeof c->name[i], "%s", text_of(x, "name"));
        (void)snprintf(c->fingerprint[i], sizeof c->fingerprint[i], "%s", text_of(x, "fingerprint"));
    }
    c->suite = a->o.suite ? a->o.suite : json_string_value(json_object_get(a->before, "suite_file"));
    if (!json_object_get(a->before, "suite_file"))
        return qn__fail(err, QN_EINVAL, qn__ledger_path(c->ledger), "run %lld had no suite, so there is nothing in it to judge", (long long)a->o.rescore);
    return QN_OK;
}

/* ---- what is still the same question ---- */

static bool is_asked(const qn_comparison *c, size_t item)
{
    for (size_t k = 0; k < c->n_who; k++)
        for (int r = 0; r < c->runs; r++)
            if (!qn__compared(c, item, k, r)->data)
                return false;
    return true;
}

static qn_status leave_out(again *a, qn_err *err)
{
    qn_comparison *c = &a->c;
    size_t left = 0;
    if (!(c->left_out = qn__calloc(c->tasks.n + 1, sizeof *c->left_out)))
        return qn__fail_mem(err, "compare");
    for (size_t i = 0; i < c->tasks.n; i++) {
        const json_t *first = qn__compared(c, i, 0, 0)->data; /* the first run has the words as they are written */
        if (!is_asked(c, i))
            c->left_out[i] = "it was not asked then";
        else if (strcmp(text_of(first, "prompt"), c->tasks.v[i].prompt) != 0)
            c->left_out[i] = "it asks something else now";
        else if (strcmp(text_of(first, "system"), c->tasks.system) != 0)
            c->left_out[i] = "the system prompt is another one now";
        left += !qn__compare_skips(c, i);
    }
    return left ? QN_OK : qn__fail(err, QN_EINVAL, c->suite, "asks nothing (any more) that run %lld asked, or that can be judged here", (long long)a->o.rescore);
}

/* ---- judging ---- */

static qn_status judge_one(again *a, size_t item, size_t who, int run, qn_err *err)
{
    qn_comparison *c = &a->c;
    qn_compared *x = qn__compared(c, item, who, run);
    const json_t *answer = json_object_get(x->data, "answer");
    if (!x->outcome || json_object_get(x->data, "error") || !json_is_string(answer)) /* there is no answer to judge */
        return QN_OK;
    qn_verdict v = {0};
    const bool cut = json_is_true(json_object_get(x->data, "cut")) || strcmp(x->outcome, "cut") == 0;
    qn_status st = qn__compare_judge(c, item, json_string_value(answer), json_string_length(answer), cut, x->data, &v, err);
    if (st)
        return st;
    a->judged++;
    const char label[2] = {(char)('A' + who), 0};
    if (strcmp(v.outcome, x->outcome) != 0 &&
        json_array_append_new(a->changed, json_pack("{s:s, s:s, s:i, s:s, s:s}", "item", c->tasks.v[item].name, "contender", label, "run", run + 1, "before",
                                                    x->outcome, "after", v.outcome)))
        return qn__fail_mem(err, "compare");
    x->outcome = v.outcome;
    x->right = v.right;
    return QN_OK;
}

static qn_status judge_all(again *a, qn_err *err)
{
    qn_comparison *c = &a->c;
    const qn_probe_options *p = &a->o.probe;
    qn_status st = QN_OK;
    c->total = c->tasks.n * c->n_who * (size_t)c->runs;
    for (size_t i = 0; i < c->tasks.n && !st; i++)
        for (size_t k = 0; k < c->n_who && !st; k++)
            for (int r = 0; r < c->runs && !st; r++) {
                if (p->progress && !p->progress(p->arg, "judging again", c->done++, c->total))
                    return qn__fail(err, QN_ECANCELLED, "compare", "cancelled; the ledger is as it was");
                if (!qn__compare_skips(c, i))
                    st = judge_one(a, i, k, r, err);
            }
    return st;
}

/* ---- the report ---- */

/* Names of what was asked then and is no longer in the suite. */
static json_t *gone(const again *a)
{
    json_t *names = json_array();
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(a->before, "items"), i, item) {
        size_t k = 0;
        while (k < a->c.tasks.n && strcmp(a->c.tasks.v[k].name, text_of(item, "name")) != 0)
            k++;
        if (k == a->c.tasks.n)
            (void)json_array_append_new(names, json_string(text_of(item, "name")));
    }
    return names;
}

static qn_status finish(again *a, json_t **out, qn_err *err)
{
    json_t *report = NULL;
    const json_t *quants = json_object_get(a->before, "quants");
    if (quants && !(a->c.quants = json_deep_copy(quants)))
        return qn__fail_mem(err, "compare");
    qn_status st = qn__compare_report(&a->c, &report, err);
    if (st)
        return st;
    (void)json_object_set_new(report, "rescored", json_integer((json_int_t)json_array_size(a->changed)));
    (void)json_object_set_new(report, "judged", json_integer((json_int_t)a->judged));
    (void)json_object_set(report, "changed", a->changed);
    (void)json_object_set_new(report, "gone", gone(a));
    (void)json_object_set(report, "suite_hash_before", json_object_get(a->before, "suite_hash"));
    (void)json_object_set(report, "machine", json_object_get(a->before, "machine"));
    *out = report;
    return QN_OK;
}

qn_status qn__compare_again(const qn_compare_options *o, json_t **out, qn_err *err)
{
    again a = {.o = *o, .changed = json_array()};
    a.c.o = &a.o;
    a.c.who = a.who;
    qn_status st = a.changed ? qn__ledger_open(o->probe.ledger, &a.c.ledger, err) : qn__fail_mem(err, "compare");
    if (!st)
        st = find(&a, err);
    if (!st)
        st = qn__compare_suite(&a.c, err);
    if (!st)
        st = qn__compare_read(&a.c, err);
    if (!st)
        st = leave_out(&a, err);
    if (!st)
        st = judge_all(&a, err);
    if (!st)
        st = finish(&a, out, err);
    qn__compare_clean(&a.c, true); /* its runs are nobody's to be left */
    json_decref(a.changed);
    json_decref(a.before);
    return st;
}
