/* eval.c - a suite, asked and judged: questions go to the subject in batches, and while it answers one batch the programs of the
 * batch before run in their sandboxes. Every sample lies in the ledger with its prompt, answer, program and what became of it, so
 * that a run that was ended goes on where it was and can be read afterwards.
 *
 *     batch k    asked ────────────> judged (own thread) ─> ledger
 *     batch k+1                asked ────────────> judged ...
 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/thread.h"
#include "services/eval/eval.h"
#include "services/eval/sandbox.h"
#include "services/eval/suite_fetch.h"
#include "services/eval/suite_plus.h"
#include "services/probe/machine.h"
#include "services/probe/open.h"
#include "services/probe/stats.h"

enum { BATCH = 8, MAX_TOKENS = 512, TRANSCRIPT = 16384 };

typedef struct sample {
    const qn_problem *p;
    int seq;
    qn_question q;
    qn_answer a;
    char *messages;
    const char *outcome;
    bool passed;
    json_t *data;
    qn_err err; /* the sandbox's or the ledger's own trouble */
} sample;

typedef struct run {
    const qn_eval_options *o;
    qn_suite *suite;
    qn_sandbox *box;
    qn_ledger *ledger;
    qn_subject *subject;
    int64_t id;
    bool chat;
    size_t n_problems, done, total, n_passed;
    size_t next; /* (problem, seq) to be asked, counted through */
    sample batches[2][BATCH];
    size_t n[2];
    qn_sandbox_limits limits;
    int judged; /* which of the two the judge has */
    qn_thread *judge;
} run;

/* ---- asking ---- */

static qn_status make_question(const run *r, sample *s, qn_err *err)
{
    const qn_eval_options *o = r->o;
    s->q = (qn_question){.id = s->p->id, .temperature = o->temperature, .top_p = o->top_p, .max_tokens = o->max_tokens > 0 ? o->max_tokens : MAX_TOKENS,
                         .seed = o->seed + (uint64_t)s->seq};
    if (!r->chat) {
        s->q.prompt = s->p->prompt;
        s->q.suffix = s->p->suffix;
        s->q.stop = s->p->stops;
        s->q.n_stop = s->p->n_stops;
        return QN_OK;
    }
    json_t *m = json_pack("[{s:s, s:s}]", "role", "user", "content", s->p->request);
    char *text = m ? json_dumps(m, JSON_COMPACT) : NULL;
    json_decref(m);
    s->messages = text ? qn__strndup(text, strlen(text)) : NULL;
    free(text);
    s->q.messages_json = s->messages;
    return s->messages ? QN_OK : qn__fail_mem(err, "question");
}

static void clear(sample *s)
{
    qn__answer_free(&s->a);
    qn_free(s->messages);
    json_decref(s->data);
    *s = (sample){0};
}

/* The next batch of samples that are not in the ledger. */
static qn_status fill(run *r, int which, qn_err *err)
{
    const size_t samples = r->o->samples > 0 ? (size_t)r->o->samples : 1;
    qn_status st = QN_OK;
    r->n[which] = 0;
    while (!st && r->next < r->n_problems * samples && r->n[which] < BATCH) {
        bool there = false;
        sample *s = &r->batches[which][r->n[which]];
        s->p = qn__suite_get(r->suite, r->next / samples);
        s->seq = (int)(r->next % samples);
        st = qn__ledger_has(r->ledger, r->id, s->p->id, s->seq, &there, err);
        r->next++;
        if (st || there)
            continue;
        st = make_question(r, s, err);
        r->n[which]++;
    }
    return st;
}

static qn_status ask(run *r, int which, qn_err *err)
{
    qn_question q[BATCH];
    qn_answer a[BATCH];
    memset(a, 0, sizeof a);
    for (size_t i = 0; i < r->n[which]; i++)
        q[i] = r->batches[which][i].q;
    bool on = r->subject->ask(r->subject, q, r->n[which], a);
    for (size_t i = 0; i < r->n[which]; i++)
        r->batches[which][i].a = a[i];
    return on ? QN_OK : qn__probe_cancelled("eval", err);
}

/* ---- judging ---- */

static const char *name_of(const qn_process_result *p, bool cut)
{
    if (p->end == QN_PROCESS_EXITED && p->code == 0)
        return "passed";
    if (cut)
        return "cut";
    switch (p->end) {
    case QN_PROCESS_TIME: return "time";
    case QN_PROCESS_OUTPUT: case QN_PROCESS_PROCESSES: case QN_PROCESS_MEMORY: return "limits";
    case QN_PROCESS_EXITED: case QN_PROCESS_KILLED: case QN_PROCESS_CANCELLED: break;
    }
    if (p->end == QN_PROCESS_EXITED && p->code == QN_PLUS_LATE)
        return "time";
    if (p->err.data && (strstr(p->err.data, "AssertionError") || strstr(p->err.data, "Assertion ")))
        return "wrong";
    return "error";
}

static void judge_one(run *r, sample *s)
{
    const qn_language *l = qn__language(s->p->language);
    qn_buf program = {0};
    qn_process_result p = {0};
    qn_slice code = {s->a.text.data ? s->a.text.data : "", s->a.text.n};
    qn_status st = QN_OK;
    s->data = json_pack("{s:s, s:o, s:o, s:i, s:i, s:f, s:f}", "prompt", r->chat ? s->p->request : s->p->prompt, "answer",
                        qn__probe_said(s->a.text.data, s->a.text.n, TRANSCRIPT), "reasoning", qn__probe_said(s->a.reasoning.data, s->a.reasoning.n, TRANSCRIPT),
                        "prompt_tokens", s->a.prompt_tokens, "generated_tokens", s->a.generated_tokens, "first_s", s->a.first_s, "total_s",
                        s->a.total_s);
    if (s->a.err.code) {
        s->outcome = "no answer";
        (void)json_object_set_new(s->data, "error", qn__probe_said(s->a.err.what, strlen(s->a.err.what), TRANSCRIPT));
        return;
    }
    if (r->chat && !qn__suite_extract(s->p, code.p, code.n, &code)) {
        s->outcome = s->a.reason == QN_END_LENGTH ? "cut" : "no code";
        return;
    }
    st = r->chat ? qn__suite_program_of_block(r->suite, s->p, code, &program, &s->err)
                 : qn__suite_program(r->suite, s->p, code.p, code.n, &program, &s->err);
    if (!st)
        st = qn__sandbox_run(r->box, &r->limits, l->file, program.data, program.n, l->command, &p, &s->err);
    if (!st) {
        s->outcome = name_of(&p, s->a.reason == QN_END_LENGTH);
        s->passed = strcmp(s->outcome, "passed") == 0;
        size_t tail = p.err.n > 2000 ? p.err.n - 2000 : 0;
        (void)json_object_set_new(s->data, "program", qn__probe_said(program.data, program.n, TRANSCRIPT));
        (void)json_object_set_new(s->data, "stderr", qn__probe_said(p.err.data ? p.err.data + tail : "", p.err.n - tail, TRANSCRIPT));
        (void)json_object_set_new(s->data, "run_s", json_real(p.seconds));
        qn__process_result_free(&p);
    }
    qn__buf_free(&program);
}

static void judge_all(void *arg)
{
    run *r = arg;
    for (size_t i = 0; i < r->n[r->judged]; i++)
        judge_one(r, &r->batches[r->judged][i]);
}

/* The judge is done with its batch: into the ledger. */
static qn_status settle(run *r, qn_err *err)
{
    if (!r->judge)
        return QN_OK;
    qn__thread_join(r->judge);
    r->judge = NULL;
    qn_status st = QN_OK;
    for (size_t i = 0; i < r->n[r->judged]; i++) {
        sample *s = &r->batches[r->judged][i];
        if (!st && s->err.code) {
            st = s->err.code;
            if (err)
                *err = s->err;
        }
        if (!st && s->a.err.code == QN_EIO) { /* the server is away: not the model's fault, so not its score */
            st = QN_EIO;
            if (err)
                *err = s->a.err;
        }
        if (!st)
            st = qn__ledger_put(r->ledger, r->id, s->p->id, s->seq, s->outcome, s->passed, s->data, err);
        r->done += !st;
        r->n_passed += !st && s->passed;
        clear(s);
    }
    r->n[r->judged] = 0;
    if (!st && r->o->progress && !r->o->progress(r->o->arg, r->done, r->total, r->n_passed))
        st = qn__probe_cancelled("eval", err);
    return st;
}

static qn_status work(run *r, qn_err *err)
{
    int which = 0;
    qn_status st = QN_OK;
    for (;;) {
        if ((st = fill(r, which, err)) || r->n[which] == 0)
            break;
        st = ask(r, which, err);
        qn_status settled = settle(r, st ? NULL : err);
        st = st ? st : settled;
        if (st)
            break;
        r->judged = which;
        if ((st = qn__thread_start(judge_all, r, &r->judge, err)))
            break;
        which = !which;
    }
    qn_status settled = settle(r, st ? NULL : err);
    for (int b = 0; b < 2; b++)
        for (size_t i = 0; i < BATCH; i++)
            clear(&r->batches[b][i]);
    return st ? st : settled;
}

/* ---- the result ---- */

typedef struct tally {
    json_t *outcomes;
    char item[128];
    uint64_t n, c;             /* of the item */
    uint64_t items, samples, passed;
    double at[3], sq;          /* sums over items of pass@1, @10, @100; of squares of pass@1 */
    uint64_t least;            /* samples of the item with fewest */
} tally;
static const uint64_t KS[3] = {1, 10, 100};

static void close_item(tally *t)
{
    if (t->n == 0)
        return;
    t->items++;
    for (int i = 0; i < 3; i++)
        t->at[i] += t->n >= KS[i] ? qn__pass_at(t->n, t->c, KS[i]) : 0;
    double p = (double)t->c / (double)t->n;
    t->sq += p * p;
    t->least = t->least == 0 || t->n < t->least ? t->n : t->least;
    t->n = t->c = 0;
}

static bool count(void *arg, const char *item, int seq, const char *outcome, bool passed)
{
    tally *t = arg;
    (void)seq;
    if (strncmp(item, t->item, sizeof t->item - 1) != 0) {
        close_item(t);
        (void)snprintf(t->item, sizeof t->item, "%s", item);
    }
    t->n++;
    t->c += passed;
    t->samples++;
    t->passed += passed;
    (void)json_object_set_new(t->outcomes, outcome, json_integer(json_integer_value(json_object_get(t->outcomes, outcome)) + 1));
    return true;
}

static json_t *score(const tally *t, int i)
{
    double n = (double)t->items, mean = t->at[i] / n;
    if (i == 0) {
        /* With one sample a problem, Wilson's; with more, the spread over problems. */
        double spread = n > 1 ? 1.96 * sqrt(fmax(0, t->sq / n - mean * mean) / (n - 1)) : 1;
        qn_interval w = t->least == 1 ? qn__wilson(t->passed, t->samples, 1.959964) : (qn_interval){fmax(0, mean - spread), fmin(1, mean + spread)};
        return json_pack("{s:f, s:[f, f]}", "value", mean, "interval95", w.low, w.high);
    }
    return json_pack("{s:f}", "value", mean);
}

static qn_status report(run *r, json_t **out, qn_err *err)
{
    tally t = {.outcomes = json_object()};
    qn_status st = t.outcomes ? qn__ledger_each(r->ledger, r->id, count, &t, err) : qn__fail_mem(err, "report");
    close_item(&t);
    if (!st && t.items == 0)
        st = qn__fail(err, QN_EINVAL, "eval", "no problem was asked");
    if (st) {
        json_decref(t.outcomes);
        return st;
    }
    char suite_hash[20];
    (void)snprintf(suite_hash, sizeof suite_hash, "%016llx", (unsigned long long)qn__suite_hash(r->suite));
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:o, s:I, s:s}", "kind", "eval", "suite", qn__suite_name(r->suite), "suite_hash",
                          suite_hash, "note", qn__suite_note(r->suite), "model", r->subject->name, "fingerprint", r->subject->fingerprint,
                          "chat", (int)r->chat, "problems", (json_int_t)t.items, "samples", (json_int_t)t.samples, "passed",
                          (json_int_t)t.passed, "outcomes", t.outcomes, "run", (json_int_t)r->id, "ledger", qn__ledger_path(r->ledger));
    static const char *const names[3] = {"pass@1", "pass@10", "pass@100"};
    for (int i = 0; o && i < 3; i++)
        if (t.least >= KS[i])
            (void)json_object_set_new(o, names[i], score(&t, i));
    if (o)
        (void)json_object_set_new(o, "machine", qn__machine_json(r->o->endpoint ? NULL : &r->o->engine));
    if (o && r->n_problems < qn__suite_size(r->suite))
        (void)json_object_set_new(o, "of_problems", json_integer((json_int_t)qn__suite_size(r->suite)));
    *out = o;
    return o ? QN_OK : qn__fail_mem(err, "report");
}

/* ---- beginning ---- */

static qn_status check_language(run *r, qn_err *err)
{
    const qn_problem *p = qn__suite_get(r->suite, 0);
    const qn_language *l = qn__language(p->language);
    if (!l)
        return qn__fail(err, QN_EUNSUPPORTED, qn__suite_name(r->suite), "programs in %s are not known", p->language);
    (void)qn__sandbox_allow(r->box, l->needs);
    qn_process_result out = {0};
    qn_status st = qn__sandbox_run(r->box, &(qn_sandbox_limits){0}, "x", "", 0, l->check, &out, err);
    if (!st && (out.end != QN_PROCESS_EXITED || out.code != 0))
        st = qn__fail(err, QN_EUNSUPPORTED, qn__suite_name(r->suite), "programs in %s cannot be run here: `%s` fails in the sandbox; "
                      "install what it needs under /usr", p->language, l->check);
    qn__process_result_free(&out);
    return st;
}

static char *key_of(const run *r)
{
    const qn_eval_options *o = r->o;
    json_t *k = json_pack("{s:I, s:s, s:s, s:b, s:f, s:f, s:I, s:i, s:i, s:i, s:f}", "suite", (json_int_t)qn__suite_hash(r->suite), "model",
                          r->subject->name, "fingerprint", r->subject->fingerprint, "chat", (int)r->chat, "temperature",
                          (double)o->temperature, "top_p", (double)o->top_p, "seed", (json_int_t)o->seed, "max_tokens", o->max_tokens,
                          "samples", o->samples, "limit", o->limit, "time_s", o->time_s);
    char *text = k ? json_dumps(k, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(k);
    return text;
}

static qn_status begin(run *r, qn_err *err)
{
    char *key = key_of(r);
    char *machine = qn__machine_text(r->o->endpoint ? NULL : &r->o->engine);
    int64_t before = 0;
    const qn_run_info info = {.kind = "eval", .key = key, .model = r->subject->name, .fingerprint = r->subject->fingerprint, .machine = machine};
    qn_status st = key && machine ? qn__ledger_begin(r->ledger, &info, !r->o->fresh, &r->id, &before, err) : qn__fail_mem(err, "eval");
    free(key);
    qn_free(machine);
    r->done = (size_t)before;
    return st;
}

void qn_eval_options_init(qn_eval_options *o)
{
    *o = (qn_eval_options){0};
}

qn_status qn__eval(const qn_eval_options *o, qn_subject *subject, json_t **out, qn_err *err)
{
    run r = {.o = o, .subject = subject};
    char *path = NULL;
    qn_status st;
    if (o->samples < 0 || o->samples > 1000 || o->limit < 0 || o->temperature < 0 || !(o->temperature <= 10))
        return qn__fail(err, QN_EINVAL, "eval", "samples, limit or temperature is out of range");
    if (o->samples > 1 && o->temperature <= 0)
        return qn__fail(err, QN_EINVAL, "eval", "several samples at temperature 0 are one sample printed several times; give --temp");
    if ((st = qn__suite_find(o->suite, &path, err)) || (st = qn__suite_open(path, &r.suite, err)) || (st = qn__sandbox_open(&r.box, err)) || (st = check_language(&r, err)) ||
        (st = qn__ledger_open(o->ledger, &r.ledger, err)))
        goto out;
    qn__suite_time(r.suite, o->time_s, &r.limits.wall_s, &r.limits.memory);
    r.chat = o->mode == QN_EVAL_CHAT || (o->mode == QN_EVAL_AUTO && subject->chats && !qn__suite_get(r.suite, 0)->suffix);
    size_t all = qn__suite_size(r.suite);
    r.n_problems = o->limit > 0 && (size_t)o->limit < all ? (size_t)o->limit : all;
    r.total = r.n_problems * (o->samples > 0 ? (size_t)o->samples : 1);
    if ((st = begin(&r, err)))
        goto out;
    if (!(st = work(&r, err)) && !(st = report(&r, out, err)))
        st = qn__ledger_finish(r.ledger, r.id, *out, err);
    else
        qn__ledger_leave(r.ledger, r.id);
out:
    if (r.ledger)
        qn__ledger_close(r.ledger);
    qn__sandbox_close(r.box);
    qn__suite_close(r.suite);
    qn_free(path);
    return st;
}

qn_status qn_eval(const qn_eval_options *o, char **report_json, qn_err *err)
{
    qn_subject *s = NULL;
    json_t *result = NULL;
    qn_status st = o->endpoint ? qn__subject_remote(o->endpoint, o->model ? o->model : "", o->key, &s, err)
                               : qn__subject_local(o->model, &o->engine, &s, err);
    if (!st)
        st = qn__eval(o, s, &result, err);
    if (!st)
        st = qn__probe_text(result, report_json, err);
    json_decref(result);
    qn__subject_close(s);
    return st;
}
