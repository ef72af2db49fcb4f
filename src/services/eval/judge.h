/* judge.h - is an answer right? Each item of a suite has one check; all are prepared before anybody is asked, so that a pattern or a
 * schema that cannot be used, and an example answer that its own check misjudges, are found first.
 *
 * regex    PCRE2 with bounded work; every line must be found in the answer, one behind "!" must not be
 * exact    the answer, or its one block of code, without white space around it
 * schema   the answer's JSON, against the automaton that the schema becomes (what that cannot express is refused)
 * command  the answer's code beside the item's files, in the sandbox: exit code 0
 * race     the same with room for Go's race detector; "DATA RACE" is told from a failing test
 * rubric   not judged here */
#ifndef QN_SERVICES_EVAL_JUDGE_H
#define QN_SERVICES_EVAL_JUDGE_H

#include <jansson.h>

#include "services/eval/tasks.h"

typedef struct qn_judge qn_judge;

typedef struct qn_verdict {
    const char *outcome; /* "right", "wrong", "race", "time", "limits", "empty", "no JSON", "shown" (to people); static */
    bool right;
    json_t *detail;      /* of a program: what it wrote and how long it took; else NULL. Owned */
} qn_verdict;

/* t must outlive it. Errors: QN_EFORMAT, QN_EUNSUPPORTED (where: "suite:line"), QN_ENOMEM. */
qn_status qn__judge_open(const qn_tasks *t, const char *suite, qn_judge **out, qn_err *err);
void qn__judge_close(qn_judge *j);
/* Asked several times a second while a program runs; false ends it and the judging. */
void qn__judge_watch(qn_judge *j, bool (*keep_on)(void *arg), void *arg);
/* Why item i cannot be judged on this machine (no sandbox, no such program); NULL: it can. */
const char *qn__judge_skips(const qn_judge *j, size_t i);
/* Errors: of the sandbox itself, QN_ELIMIT (a pattern that is too much work), QN_ECANCELLED, QN_ENOMEM. */
qn_status qn__judge(const qn_judge *j, size_t i, const char *answer, size_t n, qn_verdict *out, qn_err *err);
/* The item's own examples: QN_EFORMAT names the first that is misjudged. An item whose tools turn out not to work is skipped from
 * then on. */
qn_status qn__judge_examples(qn_judge *j, size_t i, qn_err *err);

#endif
