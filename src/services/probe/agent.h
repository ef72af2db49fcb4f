/* agent.h - a model as an agent: it is given a task (task.h), calls tools until it says that it is done, and is judged by what is there
 * then; and why it failed is named by rule. See agent.c for the loop, agent_reason.c for the rules, agent_report.c for what is made of it.
 *
 *   runs over paths × tiers × repeats × families        one sample = one transcript, in the ledger as JSON:
 *   {"path","family","tier","index","system","user","steps":[{"text","reasoning","raw","malformed","end","generated","prompt",
 *     "calls":[{"name","arguments","kind","result"}]}],"ended","right","why","forbidden":[...]}
 */
#ifndef QN_SERVICES_PROBE_AGENT_H
#define QN_SERVICES_PROBE_AGENT_H

#include <jansson.h>

#include "services/ledger/ledger.h"
#include "services/probe/subject.h"
#include "services/probe/task.h"

/* How tools are called: by the model's own dialect, or by a JSON object that the prompt asks for. */
typedef enum qn_agent_path { QN_PATH_NATIVE, QN_PATH_JSON, QN_PATHS } qn_agent_path;
const char *qn__agent_path_name(int path);

/* What an answer is, by its text and calls alone. */
typedef enum qn_answer_kind {
    QN_ANSWER_CALLS, QN_ANSWER_DONE, QN_ANSWER_PROSE, QN_ANSWER_EMPTY, QN_ANSWER_MALFORMED, QN_ANSWER_FOREIGN, QN_ANSWER_CUT
} qn_answer_kind;
qn_answer_kind qn__answer_kind(int path, const char *text, size_t n_calls, bool malformed, bool cut);

/* Why a run ended as it did; the first of these that holds, in this order. What ended the run names it; where only the budget did, what
 * filled it:
 *   forbidden    something forbidden was done, whatever else
 *   passed       the state is right
 *   context, time  the conversation no longer fitted; an answer took too long
 *   premature    it said that it was done, and it was not
 *   cut, empty, malformed, foreign, prose   three answers in a row were no use, and most of them (of equals the later) were this
 *   -- from here on the budget of steps ended it, or that it was stuck --
 *   undeclared, schema, decoy   in at least half of the steps a tool was called that does not exist, with arguments that do not conform,
 *                or that is a decoy
 *   repeat, cycle   the last four or more steps repeat one; or two to four in turn, at least twice
 *   cut, empty, malformed, foreign, prose   at least half of the answers were no use, and most of those were this
 *   steps        none of these */
typedef enum qn_reason {
    QN_REASON_PASSED, QN_REASON_FORBIDDEN, QN_REASON_CONTEXT, QN_REASON_TIME, QN_REASON_CUT, QN_REASON_EMPTY, QN_REASON_MALFORMED,
    QN_REASON_FOREIGN, QN_REASON_PROSE, QN_REASON_PREMATURE, QN_REASON_UNDECLARED, QN_REASON_SCHEMA, QN_REASON_DECOY, QN_REASON_REPEAT,
    QN_REASON_CYCLE, QN_REASON_STEPS, QN_REASONS
} qn_reason;
const char *qn__reason_name(int reason);
const char *qn__reason_means(int reason);
qn_reason qn__agent_reason(const json_t *transcript);
/* Hash of what a step called (or said); the end of sigs[n] as a repetition: its period (1..4), 0: none. *span: how many steps of the end it fills. */
uint64_t qn__step_signature(const json_t *step);
int qn__tail_period(const uint64_t *sigs, size_t n, size_t *span);
/* A call out of text that should be a JSON object {"tool", "arguments"}; NULL: there is none. *done: it is {"done"}. */
json_t *qn__json_call(const char *text, bool *done);

enum { QN_AGENT_BAD = 3, QN_AGENT_STUCK = 8 }; /* useless answers in a row that end a run; steps of a repetition that do */

typedef struct qn_agent_sample {
    uint8_t path, tier, reason;
    uint16_t family;
    int32_t repeat, steps;
    int64_t prompt_tokens, generated_tokens; /* -1: not known */
    double seconds;
} qn_agent_sample;

typedef struct qn_agent_samples {
    qn_agent_sample *v;
    size_t n, cap;
} qn_agent_samples;

/* The whole: asks, judges, keeps in `l` (NULL: nowhere), reports. subject NULL: only what o->rescore names is judged again. */
qn_status qn__agent(const qn_agent_options *o, qn_subject *subject, qn_ledger *l, json_t **out, qn_err *err);
/* Runs n samples (path, tier, family, repeat filled in) and fills in the rest. each: after every one, with its transcript; false cancels. */
qn_status qn__agent_run(const qn_agent_options *o, qn_subject *subject, qn_agent_sample *v, size_t n,
                        bool (*each)(void *arg, const qn_agent_sample *s, const json_t *transcript, qn_err *err), void *arg, qn_err *err);
/* What a stored transcript says, judged anew. */
void qn__agent_reread(const json_t *transcript, qn_agent_sample *s);
/* agent_report.c: from samples to a report. */
typedef enum qn_tier_status { QN_TIER_NOT_TESTED, QN_TIER_FAIL, QN_TIER_SATURATED, QN_TIER_CLEAR } qn_tier_status;
const char *qn__tier_status_name(qn_tier_status s);
/* By passes of n: CLEAR where the rate is surely at least 0.8, FAIL where it is surely under 0.5, else SATURATED; under four: NOT TESTED. */
qn_tier_status qn__tier_status(uint64_t passed, uint64_t n);
json_t *qn__agent_summary(const qn_agent_samples *all);

#endif
