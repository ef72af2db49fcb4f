/* tasks.h - a suite of questions that people write: one Markdown file, readable as it is.
 *
 *   # Title
 *   system: You are a careful engineer.          <- head: lines "key: value", before the first item
 *   Prose is for readers and left out.
 *
 *   ## item-name                                 <- an item, up to the next "## "
 *   check: regex | exact | schema | command | race | rubric
 *   run: python3 test_stack.py                   <- command, race: what must exit with 0, in the sandbox
 *   answer: stack.py                             <- the file that the answer's code becomes there
 *   needs: python3                               <- a program without which the item is skipped, and said so
 *
 *   ```prompt                                    <- what is asked. A longer fence holds shorter ones
 *   ```python file=test_stack.py shown           <- a file for the sandbox; shown: also appended to the prompt; the answer replaces
 *                                                   one of its name
 *   ```check                                     <- regex: one a line, all must be found, "!": must not be; exact: the answer;
 *                                                   schema: JSON Schema; rubric: what a person looks for
 *   ```good  ```bad                              <- answers that the check must accept or refuse; tried before anybody is asked
 *
 * Parsing is pure and bounded (1 MiB, 1,000 items, 64 blocks each); hostile text is a sentence with file and line. */
#ifndef QN_SERVICES_EVAL_TASKS_H
#define QN_SERVICES_EVAL_TASKS_H

#include "base/mem.h"
#include "base/str.h"

typedef enum qn_check { QN_CHECK_NONE, QN_CHECK_REGEX, QN_CHECK_EXACT, QN_CHECK_SCHEMA, QN_CHECK_COMMAND, QN_CHECK_RACE, QN_CHECK_RUBRIC } qn_check;
enum { QN_TASK_BLOCKS = 64, QN_TASK_ITEMS = 1000, QN_TASK_BYTES = 1 << 20 };

typedef struct qn_task_file {
    const char *name, *language; /* "" when the fence names none */
    qn_slice text;
    bool shown;
} qn_task_file;

/* Everything is borrowed from the suite. */
typedef struct qn_task {
    const char *name;
    size_t line;            /* where it begins */
    qn_check check;
    const char *prompt;     /* with the files that are shown */
    const char *run, *answer, *needs; /* NULL: not given */
    const char *against;    /* the check block; NULL: none */
    size_t against_line;
    qn_task_file *files;
    size_t n_files;
    const char **good, **bad;
    size_t n_good, n_bad;
    int32_t max_tokens;     /* 0: not given */
    int32_t time_s, memory_mib; /* 0: the check's own */
} qn_task;

typedef struct qn_tasks {
    const char *title, *system; /* "" when not given */
    qn_task *v;
    size_t n;
    int32_t max_tokens;
    uint64_t hash;          /* of the file's bytes */
    qn_arena *arena;
} qn_tasks;

/* name: for errors. Errors: QN_EFORMAT (where: "name:line"), QN_ELIMIT, QN_ENOMEM. */
qn_status qn__tasks_parse(const char *text, size_t n, const char *name, qn_tasks *out, qn_err *err);
qn_status qn__tasks_read(const char *path, qn_tasks *out, qn_err *err);
void qn__tasks_free(qn_tasks *t);
const char *qn__check_name(qn_check c);

#endif
