/* run.h - what `quern run` holds: its options, the model, the conversation, one answer.
 *
 *   cmd_run.c       options, one-shot prompts          chat.c    the loop at a terminal
 *   conversation.c  messages -> prompt -> token ids    editor.c  a message typed over several lines
 *   generate.c      token ids -> streamed text             reply.c   with tools: text, reasoning, calls
 */
#ifndef QN_CLI_RUN_H
#define QN_CLI_RUN_H

#include <jansson.h>

#include "cli/args.h"
#include "cli/open.h"
#include "quern.h"

typedef struct run_options {
    const char *prompt, *file, *system, *tools, *tool_choice;
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
    char *tools_json;   /* or NULL */
    qn_tools *tools;    /* NULL: the answer is text */
    qn_grammar *grammar; /* NULL: any answer */
    json_t *messages;   /* array; a system message, if any, stands first */
} run_session;

typedef struct run_text {
    char *p;
    size_t n, cap;
} run_text;

/* One answer. text grows as it comes; `reason` and `timings` are there when CLI_OK came back. */
typedef struct run_answer {
    run_text text;
    run_text reasoning; /* this and the next two: with tools */
    json_t *calls;      /* complete ones, as OpenAI's tool_calls; NULL: none */
    run_text cut, cut_name; /* the arguments, so far, of a call that was cut off, and its name (n 0: none was) */
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
/* A prompt: the conversation as the model's template writes it, or with raw `text`, which is then not copied. */
typedef struct run_prompt {
    char *text; /* NULL with raw */
    size_t n;
    int32_t *ids;
    size_t n_ids;
} run_prompt;
int run_prompt_make(const run_session *s, const char *text, size_t n, run_prompt *out);
void run_prompt_free(run_prompt *p);
/* The assistant's answer becomes a message. */
bool run_add_answer(run_session *s, const run_answer *a);

/* ---- generate.c */
/* Answer; with `show` the text goes to stdout as it comes, a call as one line when it is complete. CLI_OK also when Ctrl-C stopped
 * it (a->reason says so); signals must have been caught by the caller. */
int run_generate(const run_session *s, const run_prompt *prompt, bool show, run_answer *a);
bool run_keep(run_text *t, const char *p, size_t n);
void run_answer_free(run_answer *a);
const char *run_reason_name(qn_end_reason r);  /* for --json: "stop", ... */
const char *run_reason_words(qn_end_reason r); /* for people */
void run_put_timings(const run_answer *a);     /* the line on stderr */

/* ---- reply.c */
int run_tools_open(run_session *s);
typedef struct run_reply run_reply;
int run_reply_open(const run_session *s, const run_prompt *prompt, bool show, run_answer *a, run_reply **out);
/* The next bytes of output; n 0: it has ended. */
int run_reply_put(run_reply *r, const char *text, size_t n);
void run_reply_close(run_reply *r);
/* `,"reasoning":...,"calls":[...]` for --json. */
bool run_put_parts(const run_answer *a, run_text *out);

/* ---- chat.c */
int run_chat(run_session *s);

#endif
