/* run.h - what `quern run` holds: its options, the model, the conversation, one answer.
 *
 *   cmd_run.c       options, one-shot prompts          chat.c    the loop at a terminal
 *   conversation.c  messages -> prompt -> token ids    editor.c  a message typed over several lines
 *   generate.c      token ids -> streamed text
 */
#ifndef QN_CLI_RUN_H
#define QN_CLI_RUN_H

#include <jansson.h>

#include "cli/args.h"
#include "cli/open.h"
#include "quern.h"

typedef struct run_options {
    const char *prompt, *file, *system, *tools;
    const char *schema, *grammar, *regex; /* what the answer must match: at most one of them */
    bool raw, json, quiet;
    double temp, top_p, min_p, typical, repeat, frequency, presence; /* negative temp, top_p: not given */
    double dry_multiplier, dry_base;
    int32_t top_k, penalty_last_n, dry_allowed_length, max_tokens;
    uint64_t seed;
    cli_list bias, stop;
    cli_engine engine;
} run_options;

typedef struct run_session {
    const run_options *o;
    qn_model *model;
    qn_model_info info;
    qn_engine *engine;
    qn_sampling sampling; /* its bias points to `bias` */
    qn_logit_bias *bias;
    int32_t max_tokens; /* of an answer; -1: until the context ends */
    bool raw;           /* no template: the text is completed */
    char *tools;        /* JSON text, or NULL */
    qn_grammar *grammar; /* NULL: any answer */
    json_t *messages;   /* array; a system message, if any, stands first */
} run_session;

/* One answer. text grows as it comes; `reason` and `timings` are there when CLI_OK came back. */
typedef struct run_answer {
    char *text;
    size_t n, cap;
    qn_end_reason reason;
    qn_timings timings;
} run_answer;

/* ---- conversation.c */
/* Append a message; false when the text is not UTF-8 or memory is short. */
bool run_add(run_session *s, const char *role, const char *text, size_t n);
void run_drop_last(run_session *s);
/* Set, replace or (NULL) remove the system message. */
bool run_set_system(run_session *s, const char *text);
const char *run_get_system(const run_session *s);
/* Forget everything but the system message. */
void run_reset(run_session *s);
int run_save(const run_session *s, const char *path);
int run_load(run_session *s, const char *path);
/* Ids of the conversation as the model's template writes it, or with raw of `text`. Caller releases with qn_free. */
int run_prompt_ids(const run_session *s, const char *text, size_t n, int32_t **ids, size_t *n_ids);

/* ---- generate.c */
/* Answer `ids`; with `show` the text goes to stdout as it comes. CLI_OK also when Ctrl-C stopped it (a->reason says
 * so); signals must have been caught by the caller. */
int run_generate(const run_session *s, const int32_t *ids, size_t n_ids, bool show, run_answer *a);
void run_answer_free(run_answer *a);
const char *run_reason_name(qn_end_reason r);  /* for --json: "stop", ... */
const char *run_reason_words(qn_end_reason r); /* for people */
void run_put_timings(const run_answer *a);     /* the line on stderr */

/* ---- chat.c */
int run_chat(run_session *s);

#endif
