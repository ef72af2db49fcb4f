/* suite.h - suites of programming problems in their published formats, and how an answer becomes a program that checks itself.
 *
 * Formats, told by the fields of their records (JSON lines or a JSON array, gzip or not): HumanEval, MBPP and its sanitized
 * subset, HumanEval+ and MBPP+ (EvalPlus; suite_plus.h), HumanEval-infilling, MultiPL-E, DS-1000.
 * Refuses: records that fit none (the line is named). */
#ifndef QN_SERVICES_EVAL_SUITE_H
#define QN_SERVICES_EVAL_SUITE_H

#include <jansson.h>

#include "base/str.h"

typedef enum qn_suite_kind {
    QN_SUITE_HUMANEVAL, QN_SUITE_HUMANEVAL_PLUS, QN_SUITE_INFILLING, QN_SUITE_MBPP, QN_SUITE_MBPP_PLUS, QN_SUITE_MULTIPL_E,
    QN_SUITE_DS1000
} qn_suite_kind;

/* Everything is borrowed from the suite. */
typedef struct qn_problem {
    const char *id;
    const char *language;  /* "python", "cpp", ... */
    const char *prompt;    /* what a completion continues */
    const char *suffix;    /* of infilling; else NULL */
    const char *request;   /* what a chat is asked */
    const char *entry;     /* the function's name; "" when the tests name it */
    const char *canonical; /* a right completion; NULL when the format has none */
    const char *const *stops; /* where a completion ends */
    size_t n_stops;
    const json_t *record;
} qn_problem;

typedef struct qn_suite qn_suite;
/* Errors: QN_EIO, QN_EFORMAT (where names the line), QN_EUNSUPPORTED, QN_ENOMEM. */
qn_status qn__suite_open(const char *path, qn_suite **out, qn_err *err);
/* The same of bytes, which stay the caller's; `path` is what errors call them. */
qn_status qn__suite_of(const char *path, const char *bytes, size_t n, qn_suite **out, qn_err *err);
void qn__suite_close(qn_suite *s);
const char *qn__suite_name(const qn_suite *s);  /* "HumanEval" */
const char *qn__suite_note(const qn_suite *s);  /* what a reader of a score should know */
uint64_t qn__suite_hash(const qn_suite *s);     /* of the file's bytes */
size_t qn__suite_size(const qn_suite *s);
const qn_problem *qn__suite_get(const qn_suite *s, size_t i);

/* An answer may run for so many seconds (0: 10). What the sandbox must then allow its programs: of some suites they run the published
 * solution beside it, so that takes longer and more memory (0: what a sandbox allows anyway). */
void qn__suite_time(qn_suite *s, double seconds, double *wall_s, size_t *memory);

/* How a language's programs are run in a sandbox: a file's name and a shell command; NULL: unknown language. `needs` is the program
 * that must be there, `check` a command that succeeds in a sandbox exactly where programs can be run. */
typedef struct qn_language {
    const char *name, *file, *command, *needs, *check;
} qn_language;
const qn_language *qn__language(const char *name);

/* The source of a program that its language's command ends with 0 exactly if the completion is right. */
qn_status qn__suite_program(const qn_suite *s, const qn_problem *p, const char *completion, size_t n, qn_buf *out, qn_err *err);
/* The completion in a chat's answer: the fenced block that holds the function (else the longest one; an answer without a fence as it
 * is); signatures that repeat the prompt stay: programs are built for both. False: the answer holds no code. */
bool qn__suite_extract(const qn_problem *p, const char *answer, size_t n, qn_slice *code);
/* The same for an extracted block, which may be a whole function or only its body. */
qn_status qn__suite_program_of_block(const qn_suite *s, const qn_problem *p, qn_slice code, qn_buf *out, qn_err *err);

#endif
