/* compare.c - see compare.h. */
#include "services/eval/compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "services/eval/vary.h"
#include "services/probe/machine.h"
#include "services/probe/open.h"

enum { SAID = 65536 }; /* bytes of an answer that are kept */

/* The item under which a quantisation's figures lie in the ledger; no item of a suite can be called so: names are trimmed. */
static const char QUANTS[] = " quantisation";

void qn_compare_options_init(qn_compare_options *o)
{
    *o = (qn_compare_options){0};
    qn_probe_options_init(&o->probe);
}

static bool keep_on(void *arg)
{
    const qn_comparison *c = arg;
    return !c->o->probe.progress || c->o->probe.progress(c->o->probe.arg, c->doing, c->done, c->total);
}

static bool on(qn_comparison *c, const char *doing)
{
    (void)snprintf(c->doing, sizeof c->doing, "%s", doing);
    return keep_on(c);
}

/* ---- asking ---- */

/* In a chat as messages; else as text, the system prompt first. From qn__alloc. */
static char *words_of(const qn_comparison *c, bool chat, const char *prompt)
{
    const char *system = c->tasks.system;
    if (!chat) {
        qn_buf b = {0};
        qn__buf_printf(&b, "%s%s%s\n\n", system, *system ? "\n\n" : "", prompt);
        return qn__buf_take(&b, NULL);
    }
    json_t *m = *system ? json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "system", "content", system, "role", "user", "content", prompt)
                        : json_pack("[{s:s, s:s}]", "role", "user", "content", prompt);
    char *text = m ? json_dumps(m, JSON_COMPACT) : NULL, *copy = text ? qn__strndup(text, strlen(text)) : NULL;
    free(text);
    json_decref(m);
    return copy;
}

static int32_t room_for(const qn_comparison *c, const qn_task *t)
{
    return c->o->max_tokens > 0 ? c->o->max_tokens : t->max_tokens ? t->max_tokens : c->tasks.max_tokens ? c->tasks.max_tokens : QN_COMPARE_TOKENS;
}

qn_status qn__compare_judge(qn_comparison *c, size_t item, const char *answer, size_t n, bool cut, json_t *data, qn_verdict *v, qn_err *err)
{
    qn_status st = qn__judge(c->judge, item, answer, n, v, err);
    if (st)
        return st;
    if (cut && !v->right && strcmp(v->outcome, "shown") != 0)
        v->outcome = "cut";
    (void)(v->detail ? json_object_set_new(data, "check", v->detail) : json_object_del(data, "check"));
    return QN_OK;
}

static qn_status judged(qn_comparison *c, size_t item, const qn_answer *a, json_t *data, qn_verdict *v, qn_err *err)
{
    *v = (qn_verdict){.outcome = "no answer"};
    if (a->err.code) { /* a prompt that does not fit, say: the contender's own limit */
        char text[sizeof a->err.where + sizeof a->err.what + 4];
        (void)snprintf(text, sizeof text, "%s: %s", a->err.where, a->err.what);
        return json_object_set_new(data, "error", json_string(text)) ? qn__fail_mem(err, "answer") : QN_OK;
    }
    return qn__compare_judge(c, item, a->text.data ? a->text.data : "", a->text.n, a->reason == QN_END_LENGTH, data, v, err);
}

static qn_status ask_one(qn_comparison *c, qn_subject *s, size_t who, size_t item, int run, qn_err *err)
{
    const qn_task *t = &c->tasks.v[item];
    qn_buf prompt = {0};
    char applied[48];
    qn__vary_names(c->o->verbatim ? 0 : qn__vary(t->prompt, c->o->probe.seed, run, &prompt), applied);
    if (c->o->verbatim)
        qn__buf_puts(&prompt, t->prompt);
    char *words = prompt.failed ? NULL : words_of(c, s->chats, prompt.data);
    if (!words) {
        qn__buf_free(&prompt);
        return qn__fail_mem(err, "question");
    }
    qn_question q = {.id = t->name, .max_tokens = room_for(c, t), .seed = c->o->probe.seed + (uint64_t)run};
    *(s->chats ? &q.messages_json : &q.prompt) = words;
    qn_answer a = {0};
    qn_verdict v = {0};
    qn_status st = s->ask(s, &q, 1, &a) ? QN_OK : qn__probe_cancelled("compare", err);
    if (!st && (a.err.code == QN_EIO || a.err.code == QN_ENOMEM || a.err.code == QN_ECANCELLED)) { /* nobody's answer, so nobody's score */
        st = a.err.code;
        if (err)
            *err = a.err;
    }
    json_t *data = st ? NULL : json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:b, s:i, s:i, s:i, s:f, s:f}", "contender", c->who[who].spec, "applied", applied, "system",
                                         c->tasks.system, "prompt", prompt.data, "answer", qn__probe_said(a.text.data, a.text.n, SAID), "reasoning",
                                         qn__probe_said(a.reasoning.data, a.reasoning.n, SAID),
                                         "cut", (int)(a.reason == QN_END_LENGTH), "prompt_tokens", a.prompt_tokens, "cached_tokens", a.cached_tokens, "generated_tokens", a.generated_tokens,
                                         "first_s", a.first_s, "total_s", a.total_s);
    if (!st && !data)
        st = qn__fail_mem(err, "answer");
    if (!st)
        st = judged(c, item, &a, data, &v, err);
    if (!st)
        st = qn__ledger_put(c->ledger, c->id[who], t->name, run, v.outcome, v.right, data, err);
    json_decref(data);
    qn__answer_free(&a);
    qn__buf_free(&prompt);
    qn_free(words);
    return st;
}

static qn_status ask_all(qn_comparison *c, qn_subject *s, size_t who, qn_err *err)
{
    char doing[sizeof c->doing];
    (void)snprintf(doing, sizeof doing, "asking %c (%.100s)", (char)('A' + who), s->name);
    qn_status st = QN_OK;
    for (size_t i = 0; i < c->tasks.n && !st; i++)
        for (int r = 0; r < c->runs && !st; r++) {
            bool there = false;
            if (!on(c, doing))
                return qn__probe_cancelled("compare", err);
            if (!qn__judge_skips(c->judge, i) && !(st = qn__ledger_has(c->ledger, c->id[who], c->tasks.v[i].name, r, &there, err)) && !there)
                st = ask_one(c, s, who, i, r, err);
            c->done++;
        }
    return st;
}

/* ---- one contender after another ---- */

static char *key_of(const qn_comparison *c, size_t who)
{
    const qn_compare_options *o = c->o;
    json_t *k = json_pack("{s:I, s:s, s:s, s:I, s:I, s:i, s:b, s:i, s:I, s:b, s:s, s:i}", "suite", (json_int_t)c->tasks.hash, "model", c->name[who], "fingerprint",
                          c->fingerprint[who], "place", (json_int_t)who, "of", (json_int_t)c->n_who, "runs", c->runs, "verbatim", (int)o->verbatim,
                          "max_tokens", o->max_tokens, "seed", (json_int_t)o->probe.seed, "quants", (int)o->quants, "text", o->text ? o->text : "",
                          "text_tokens", o->text_tokens);
    json_t *all = json_array();
    for (size_t i = 0; all && i < c->n_who; i++)
        (void)json_array_append_new(all, json_string(c->who[i].spec));
    if (k)
        (void)json_object_set(k, "contenders", all);
    json_decref(all);
    char *text = k ? json_dumps(k, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(k);
    return text;
}

static qn_status begin(qn_comparison *c, size_t who, qn_err *err)
{
    char *key = key_of(c, who), *machine = qn__machine_text(c->who[who].local ? &c->o->probe.engine : NULL);
    int64_t before = 0;
    const qn_run_info info = {.kind = "compare", .key = key, .model = c->name[who], .fingerprint = c->fingerprint[who], .machine = machine};
    qn_status st = key && machine ? qn__ledger_begin(c->ledger, &info, !c->o->probe.fresh, &c->id[who], &before, err) : qn__fail_mem(err, "compare");
    free(key);
    qn_free(machine);
    return st;
}

static qn_status visit(qn_comparison *c, size_t who, qn_err *err)
{
    qn_subject *s = NULL;
    qn_status st = c->who[who].open(&c->who[who], c->o, &s, err);
    if (st)
        return st;
    s->keep_on = keep_on;
    s->arg = c;
    c->chats[who] = s->chats;
    (void)snprintf(c->name[who], sizeof c->name[who], "%s", s->name);
    (void)snprintf(c->fingerprint[who], sizeof c->fingerprint[who], "%s", s->fingerprint);
    if (!(st = begin(c, who, err)))
        st = ask_all(c, s, who, err);
    qn__subject_close(s);
    return st;
}

/* Rows of quantisations lie in the ledger like answers, so that they are measured once. */
static bool see_row(void *arg, const char *text)
{
    json_t **row = arg, *v = json_loads(text, 0, NULL);
    const char *item = json_string_value(json_object_get(v, "item"));
    if (item && strcmp(item, QUANTS) == 0)
        *row = json_incref(json_object_get(v, "data"));
    json_decref(v);
    return !*row;
}

static qn_status measure_quants(qn_comparison *c, qn_err *err)
{
    qn_status st = QN_OK;
    c->quants = json_array();
    for (size_t i = 0; i < c->n_who && !st; i++) {
        json_t *row = NULL;
        if (!on(c, "measuring quantisations"))
            return qn__probe_cancelled("compare", err);
        st = qn_ledger_samples(qn__ledger_path(c->ledger), c->id[i], see_row, &row, err);
        if (!st && !row && !(st = qn__compare_quant(c, i, &row, err)))
            st = qn__ledger_put(c->ledger, c->id[i], QUANTS, 0, "measured", true, row, err);
        if (!st && json_array_append(c->quants, row))
            st = qn__fail_mem(err, "compare");
        json_decref(row);
        c->done++;
    }
    return st;
}

/* ---- reading back ---- */

typedef struct reading {
    qn_comparison *c;
    size_t who;
    bool failed;
} reading;

static bool see_sample(void *arg, const char *text)
{
    static const char *const outcomes[] = {"right", "wrong", "race", "time", "limits", "empty", "no JSON", "shown", "cut", "no answer"};
    reading *r = arg;
    qn_comparison *c = r->c;
    json_t *v = json_loads(text, JSON_ALLOW_NUL, NULL), *data = json_object_get(v, "data");
    const char *item = json_string_value(json_object_get(v, "item")), *outcome = json_string_value(json_object_get(v, "outcome"));
    const json_int_t seq = json_integer_value(json_object_get(v, "seq"));
    size_t i = 0;
    while (i < c->tasks.n && (!item || strcmp(c->tasks.v[i].name, item) != 0))
        i++;
    if (i < c->tasks.n && seq >= 0 && seq < c->runs && outcome && json_is_object(data)) {
        qn_compared *to = qn__compared(c, i, r->who, (int)seq);
        for (size_t k = 0; k < sizeof outcomes / sizeof *outcomes; k++)
            if (strcmp(outcome, outcomes[k]) == 0)
                to->outcome = outcomes[k];
        to->right = json_is_true(json_object_get(v, "passed"));
        to->prompt_tokens = (int32_t)json_integer_value(json_object_get(data, "prompt_tokens"));
        to->cached_tokens = (int32_t)json_integer_value(json_object_get(data, "cached_tokens"));
        to->generated_tokens = (int32_t)json_integer_value(json_object_get(data, "generated_tokens"));
        to->first_s = json_number_value(json_object_get(data, "first_s"));
        to->total_s = json_number_value(json_object_get(data, "total_s"));
        if (!to->data)
            to->data = json_incref(data);
    }
    json_decref(v);
    return true;
}

qn_status qn__compare_read(qn_comparison *c, qn_err *err)
{
    size_t n = 0;
    if (!qn__mul(c->tasks.n * c->n_who, (size_t)c->runs, &n) || !(c->v = qn__calloc(n + 1, sizeof *c->v)))
        return qn__fail_mem(err, "compare");
    qn_status st = QN_OK;
    for (size_t i = 0; i < c->n_who && !st; i++) {
        reading r = {.c = c, .who = i};
        st = qn_ledger_samples(qn__ledger_path(c->ledger), c->id[i], see_sample, &r, err);
    }
    return st;
}

/* ---- beginning and end ---- */

static qn_status check_options(const qn_compare_options *o, const qn_contender *who, size_t n, qn_err *err)
{
    if (n < 2 || n > QN_COMPARE_MOST)
        return qn__fail(err, QN_EINVAL, "compare", "%zu contenders; a comparison has 2 to %d", n, QN_COMPARE_MOST);
    if (!o->suite && !o->quants)
        return qn__fail(err, QN_EINVAL, "compare", "a suite is missing; only quantisations of one model can be compared without");
    if (o->runs < 0 || o->runs > QN_COMPARE_RUNS_MOST || o->max_tokens < 0 || o->text_tokens < 0)
        return qn__fail(err, QN_EINVAL, "compare", "runs or a number of tokens is out of range");
    for (size_t i = 0; o->quants && i < n; i++)
        if (!who[i].local)
            return qn__fail(err, QN_EINVAL, who[i].spec, "is not a file here; quantisations are compared by their logits, which a server does not give");
    return QN_OK;
}

/* Every file, before the first is asked anything: the run would end at the wrong one. */
static qn_status look_at(const qn_contender *who, size_t n, qn_err *err)
{
    qn_status st = QN_OK;
    for (size_t i = 0; i < n && !st; i++) {
        qn_model *m = NULL;
        if (who[i].local && !(st = qn_model_open(who[i].path, QN_OPEN_FULL, &m, err)))
            qn_model_close(m);
    }
    return st;
}

qn_status qn__compare_suite(qn_comparison *c, qn_err *err)
{
    size_t judged_here = 0;
    qn_status st = qn__tasks_read(c->suite, &c->tasks, err);
    if (!st)
        st = qn__judge_open(&c->tasks, c->suite, &c->judge, err);
    if (!st)
        qn__judge_watch(c->judge, keep_on, c);
    for (size_t i = 0; i < c->tasks.n && !st; i++) {
        if (!on(c, "checking the suite's own examples"))
            return qn__probe_cancelled("compare", err);
        st = qn__judge_skips(c->judge, i) ? QN_OK : qn__judge_examples(c->judge, i, err);
        judged_here += !st && !qn__judge_skips(c->judge, i);
    }
    if (!st && judged_here == 0)
        st = qn__fail(err, QN_EUNSUPPORTED, c->suite, "nothing in it can be judged here: %s", qn__judge_skips(c->judge, 0));
    return st;
}

void qn__compare_clean(qn_comparison *c, bool finished)
{
    for (size_t i = 0; c->v && i < c->tasks.n * c->n_who * (size_t)c->runs; i++)
        json_decref(c->v[i].data);
    qn_free(c->v);
    json_decref(c->quants);
    for (size_t i = 0; i < c->n_who; i++)
        if (c->id[i] && !finished)
            qn__ledger_leave(c->ledger, c->id[i]);
    if (c->ledger)
        qn__ledger_close(c->ledger);
    qn__judge_close(c->judge);
    qn_free(c->left_out);
    qn__tasks_free(&c->tasks);
}

qn_status qn__compare(const qn_compare_options *o, const qn_contender *who, size_t n, json_t **out, qn_err *err)
{
    qn_comparison c = {.o = o, .who = who, .n_who = n, .suite = o->suite, .runs = o->runs ? o->runs : QN_COMPARE_RUNS};
    json_t *report = NULL;
    qn_status st = check_options(o, who, n, err);
    if (!st)
        st = look_at(who, n, err);
    if (st)
        return st;
    if (!o->suite)
        c.tasks.title = c.tasks.system = "";
    else if ((st = qn__compare_suite(&c, err)))
        goto out;
    c.total = n * (c.tasks.n * (size_t)c.runs + o->quants);
    st = qn__ledger_open(o->probe.ledger, &c.ledger, err);
    for (size_t i = 0; i < n && !st; i++)
        st = visit(&c, i, err);
    if (!st && o->quants)
        st = measure_quants(&c, err);
    if (!st)
        st = qn__compare_read(&c, err);
    if (!st)
        st = qn__compare_report(&c, &report, err);
    for (size_t i = 0; i < n && !st; i++)
        st = qn__ledger_finish(c.ledger, c.id[i], report, err);
    if (!st)
        *out = json_incref(report);
out:
    json_decref(report);
    qn__compare_clean(&c, !st);
    return st;
}

/* ---- whom ---- */

static qn_status open_local(const qn_contender *c, const qn_compare_options *o, qn_subject **out, qn_err *err)
{
    return qn__subject_local(c->path, &o->probe.engine, out, err);
}

/* URL#MODEL. */
static qn_status open_remote(const qn_contender *c, const qn_compare_options *o, qn_subject **out, qn_err *err)
{
    const char *mark = strchr(c->spec, '#');
    char *url = qn__strndup(c->spec, mark ? (size_t)(mark - c->spec) : 0);
    qn_status st = url ? qn__subject_remote(url, mark ? mark + 1 : "", o->probe.key, out, err) : qn__fail_mem(err, c->spec);
    qn_free(url);
    return st;
}

static qn_status make_contender(const char *spec, qn_contender *c, qn_err *err)
{
    *c = (qn_contender){.spec = spec, .path = spec, .local = true, .open = open_local};
    if (strcmp(spec, "embedded") == 0)
        c->path = NULL;
    if (strncmp(spec, "http://", 7) != 0 && strncmp(spec, "https://", 8) != 0)
        return QN_OK;
    const char *mark = strchr(spec, '#');
    if (!mark || !mark[1])
        return qn__fail(err, QN_EINVAL, spec, "a server's address ends with # and the model's name there, as in http://127.0.0.1:8080/v1#qwen");
    *c = (qn_contender){.spec = spec, .open = open_remote};
    return QN_OK;
}

qn_status qn_compare(const qn_compare_options *o, char **report_json, qn_err *err)
{
    qn_contender who[QN_COMPARE_MOST];
    json_t *report = NULL;
    qn_status st = o->rescore && o->n_subjects ? qn__fail(err, QN_EINVAL, "compare", "judging again asks nobody; leave out the contenders")
                 : o->n_subjects > QN_COMPARE_MOST ? qn__fail(err, QN_EINVAL, "compare", "more than %d contenders", QN_COMPARE_MOST) : QN_OK;
    for (size_t i = 0; i < o->n_subjects && !st; i++)
        st = make_contender(o->subjects[i], &who[i], err);
    if (!st)
        st = o->rescore ? qn__compare_again(o, &report, err) : qn__compare(o, who, o->n_subjects, &report, err);
    if (!st)
        st = qn__probe_text(report, report_json, err);
    json_decref(report);
    return st;
}
