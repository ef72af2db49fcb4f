/* suite_plus.h - HumanEval+ and MBPP+ (EvalPlus): a program's answers to many inputs are held against those of the published solution.
 *
 * The files hold inputs, not answers: {"entry_point", "canonical_solution", "base_input": [[arg, ...], ...], "plus_input", "atol", ...}.
 * Inputs are JSON where Python values are meant; of MBPP+ a table here says, by the task's number, what arguments really are (tuples,
 * sets, complex numbers). "contract" says which inputs may be asked, and served to make them: judging does not use it. */
#ifndef QN_SERVICES_EVAL_SUITE_PLUS_H
#define QN_SERVICES_EVAL_SUITE_PLUS_H

#include "services/eval/suite.h"

/* Has a record MBPP+'s lists of inputs? ({} where there are none, which the published file has.) */
bool qn__plus_is_mbpp(const json_t *record);

/* A line of MBPP+ that is no JSON only because of Infinity or NaN, which it may hold as numbers: they are null in what is returned.
 * NULL: it is something else. */
json_t *qn__plus_record(const char *line, size_t n);

/* Python that stands after a candidate and ends with an exception unless it answers every input as the published solution does,
 * within `seconds` of processor time beyond four times what that takes (else it ends with SIGPROF: a shell's QN_PLUS_LATE).
 * record: the problem's JSON as it stands in the file. */
enum { QN_PLUS_LATE = 128 + 27 };
void qn__plus_checks(const qn_problem *p, bool mbpp, qn_slice record, double seconds, qn_buf *b);

/* What the arguments of a task of MBPP+ are: a letter each, the last one also for all that follow (the letters: suite_plus.c). */
const char *qn__plus_arguments(const char *task_id);

/* A Python string literal of any text. */
void qn__put_literal(qn_buf *b, const char *s, size_t n);

#endif
