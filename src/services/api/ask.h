/* ask.h - the middle between wire protocols and the engine: a question in no protocol's form, and what comes of it.
 *
 * One file per wire protocol (openai_chat.c, openai_completions.c, ...) does two things and nothing else: it reads a JSON body
 * into an api_ask, and it writes canonical events, or the finished whole, in its own form (an api_wire). Everything between -
 * which model, rendering, tokens, the context check, grammar, jobs, cancelling, taking a reply apart, accounting - is here.
 *
 *   POST body ──> handler(): api_ask_open, fill fields, api_ask_run ──> render ─> tokenize ─> submit (n jobs per prompt)
 *                                                                                                  │ scheduler's thread
 *   wire->event() bytes ─> stream     <── START, PROGRESS, REASONING, TEXT, CALL ... END    <──────┘
 *   wire->whole() bytes ─> response   <── when all choices have ended
 *
 * To add a protocol:
 *  1. Write src/services/api/NAME.c with a handler for each endpoint:  void api_NAME_x(api_server *, http_exchange *, const api_at *body)
 *     (body->j is the parsed object of a POST, NULL of a GET) and a `const api_wire`. Declare both in routes.h.
 *  2. Add a row to the table in routes.c: method, path, handler, wire. `/v1` in front of a path is optional for every route.
 *  3. In the handler: `api_ask *a = api_ask_open(s, x, body)`; NULL means that it was answered. Read fields with api_get_*
 *     (json.h): they collect the first refusal with its JSON path; api_ask_run answers 400 with it, so a handler need not check in
 *     between. Text taken from the body may be borrowed: the ask keeps the body. Other memory: api_keep(a, n), freed with the ask.
 *     `a->messages` and `a->tools` take new references and are in OpenAI's chat form, whatever the protocol: content a string or
 *     parts, tool_calls with function.name and function.arguments, role tool with tool_call_id, reasoning_content.
 *  4. `api_ask_run(a)` takes the ask and always answers. It may return before the answer is complete.
 *  5. wire->event runs on the scheduler's thread (short, no locks, no waiting), once per event, in order; it appends to `out`
 *     what the client is to read. What it must remember between events hangs from a->state (from api_keep).
 *     It is called for streams only; wire->whole for the others. Both can read a->choices: what has come so far, or everything.
 *  6. wire->error writes the error's form, as a response and, with `a`, inside a stream that has begun (the stream ends after).
 *  7. Tests: transcripts in tests/api/NAME.md.
 *
 * Refuses: a prompt that does not fit (400, both numbers, "exceeds the available context size"), n out of range, what the
 * template, the grammar or the model refuse (400, with their sentence). */
#ifndef QN_SERVICES_API_ASK_H
#define QN_SERVICES_API_ASK_H

#include <stdatomic.h>

#include "base/mem.h"
#include "services/api/json.h"
#include "services/api/models.h"
#include "services/api/replay.h"
#include "services/http/server.h"
#include "text/loop.h"

typedef struct api_server api_server;

/* ---- errors ---- */

typedef struct api_error {
    int status;           /* of HTTP */
    const char *code;     /* "context_length_exceeded", "model_not_found", ..., or NULL; static */
    char param[160];      /* JSON path, or "" */
    char message[700];
    int retry_s;          /* Retry-After; 0: none */
    int64_t n_prompt, n_ctx; /* of context_length_exceeded */
} api_error;

/* What a status means to a client. `where` becomes param if it is a JSON path. */
void api_error_from(api_error *e, const qn_err *err);
void api_error_set(api_error *e, int status, const char *code, const char *fmt, ...) QN_PRINTF(4, 5);
/* OpenAI's word for a status: "invalid_request_error", ... */
const char *api_error_type(int status);
/* Answer with it, in the form of the route's wire. */
void api_fail(api_server *s, http_exchange *x, const api_error *e);
void api_fail_status(api_server *s, http_exchange *x, int status, const char *code, const char *fmt, ...) QN_PRINTF(5, 6);

/* ---- what comes of an ask ---- */

typedef enum api_finish { API_RUNNING, API_STOP, API_STOP_STRING, API_LENGTH, API_CALLS, API_DEADLINE, API_FAILED } api_finish;

typedef struct api_call {
    char *name, *id;  /* id is always there: the dialect's or made here */
    qn_buf arguments; /* JSON text */
    qn_buf exact;     /* the exact sampled text of the call */
    bool complete;
} api_call;

/* Rows of log-probabilities, in the order of tokens. */
typedef struct api_probs {
    qn_prob *rows;    /* n * (1 + n_top) */
    size_t n, n_top, cap;
} api_probs;

typedef struct api_choice {
    api_ask *ask;
    int index;        /* among all: prompt * n + number */
    int prompt;       /* which prompt */
    qn_buf reasoning, text;
    api_call *calls;
    size_t n_calls, cap_calls;
    int32_t *tokens;  /* chosen, in order */
    size_t n_tokens, cap_tokens;
    api_probs probs;
    qn_buf raw;       /* output as it was sampled, control tokens' text included if the ask is taken apart */
    api_finish finish;
    qn_timings timings;
    size_t probs_shown; /* rows that events have carried */
    bool failed;
    qn_loop_watch *watch; /* NULL: the answer is not watched for loops */
    qn_loop loop;      /* that it went into */
    bool stopped;      /* for that */
    qn_reply *reply;   /* takes the output apart; NULL: it is all text */
    qn_job *job;
    uint64_t seed;
} api_choice;

typedef enum api_event_kind {
    API_EVENT_START,     /* before all others; api_usage has the prompt's tokens */
    API_EVENT_PROGRESS,  /* of reading the prompt: done, total */
    API_EVENT_REASONING, /* text, n */
    API_EVENT_TEXT,      /* text, n */
    API_EVENT_CALL,      /* call begins: its name and id are known */
    API_EVENT_ARGUMENTS, /* call, text, n: its next piece of JSON text */
    API_EVENT_CALL_END,  /* call is complete; a call that is cut off gets none */
    API_EVENT_FINISH,    /* of this choice: choice->finish, choice->timings */
    API_EVENT_END        /* all choices have finished; after it only a wire's last words */
} api_event_kind;

typedef struct api_event {
    api_event_kind kind;
    api_choice *choice;  /* NULL: START, END */
    api_call *call;      /* CALL, ARGUMENTS, CALL_END */
    size_t call_index;
    const char *text;    /* valid during the call */
    size_t n;
    /* TEXT, FINISH: rows of choice->probs that no event showed before: [probs_from, choice->probs.n) */
    size_t probs_from;
    int32_t done, total; /* PROGRESS */
} api_event;

typedef struct api_wire {
    const char *stream_type; /* content type of a stream */
    const char *rest;        /* put when a stream had nothing to say for 15 s, while a prompt is read; NULL: nothing */
    void (*event)(api_ask *a, const api_event *e, qn_buf *out);
    void (*whole)(api_ask *a, qn_buf *out); /* application/json */
    /* a: NULL outside of a stream. */
    void (*error)(const api_error *e, api_ask *a, qn_buf *out);
} api_wire;

/* The wire of the route that this request took. */
const api_wire *api_wire_of(http_exchange *x);

/* ---- the ask ---- */

typedef enum api_mode {
    API_CHAT, /* messages through the model's template; the reply is taken apart */
    API_TEXT  /* prompts as they stand; the output is text */
} api_mode;

typedef struct api_prompt {
    const char *text; /* or NULL: tokens */
    size_t n_text;
    int32_t *tokens;  /* set by the protocol (api_keep), or by the middle from text */
    size_t n_tokens;
    bool owned;       /* tokens are freed with qn_free */
    bool special;     /* control tokens' text in `text` is parsed */
    const char *suffix; /* not NULL: fill the gap between text and it, with the model's tokens for that */
    size_t n_suffix;
    const char *before; /* of a gap: what stands before everything (other files); or NULL */
    size_t n_before;
} api_prompt;

/* A piece of the prompt that was said here: its tokens are known. */
typedef struct api_span {
    size_t at, n; /* in the rendered text */
    int32_t *tokens;
    size_t n_tokens;
} api_span;

struct api_ask {
    /* -- set by api_ask_open -- */
    api_server *server;
    http_exchange *x;
    const api_wire *wire;
    json_t *body;        /* kept */
    qn_err bad;          /* what the getters refused */
    qn_arena arena;
    char id[32];         /* 24 random letters and digits, for "chatcmpl-..." and the like */
    int64_t created;     /* Unix time */

    /* -- set by the protocol; the defaults are sensible -- */
    const char *model;   /* name asked for; NULL: the first */
    api_mode mode;
    json_t *messages;    /* CHAT */
    json_t *tools;       /* CHAT: OpenAI's array, or NULL */
    json_t *shown_tools; /* those of them that stand among the tools of the prompt; NULL: all */
    qn_tool_choice tool_choice;
    const char *tool_name; /* QN_TOOLS_NAMED */
    bool single_call;
    json_t *vars;        /* CHAT: template variables (object), or NULL */
    bool continue_last;  /* CHAT: the last message, an assistant's, is to be continued */
    api_prompt *prompts; /* TEXT */
    size_t n_prompts;
    bool has_format;     /* output must be of this form */
    qn_grammar_kind format;
    const char *format_text; /* schema, grammar or pattern */
    size_t n_format;
    const char *format_path; /* JSON path of it, for errors */
    qn_sampling sampling;
    qn_logit_bias *bias; /* sampling.bias points here */
    bool has_seed;
    const char **stop;
    size_t n_stop;
    int32_t max_tokens;  /* -1: until the context ends */
    double deadline_s;
    int32_t n;           /* choices per prompt */
    bool ignore_eos, show_special;
    qn_loops loop;
    bool logprobs;
    int32_t top_logprobs;
    bool stream, stream_usage, echo, want_progress, want_timings;
    void *state;         /* the protocol's own, from api_keep */

    /* -- set by the middle -- */
    api_model *loaded;   /* held until the end */
    const char *model_name;
    char *rendered;      /* CHAT: the prompt's text */
    size_t n_rendered;
    api_span *spans;     /* of it, ascending (replay.h) */
    size_t n_spans;
    api_name plain;      /* what history rendered to before that, */
    size_t n_plain;      /* and its length */
    api_choice *choices;
    size_t n_choices, n_finished;
    bool started, failed, gone, listed;
    api_error error;
    double t_submit;
    qn_lock lock;        /* guards `gone` and choices[].job */
    size_t refs;         /* under lock: the handler and the jobs that have not ended */
    struct api_form *form; /* tools or a grammar, shared with other asks */
    json_t *canon;       /* CHAT: the messages in one form (canon.h) */
    int bend;            /* how far they were bent for the template */
    qn_buf out;          /* of the event being written */
    http_task task;
    api_ask *next, *prev; /* of the server's, while it runs */
    bool said, pending;  /* its answers are to be learned; nobody has yet */
    api_ask *next_pending;
    atomic_int read, to_read, written; /* tokens, for those who look on */
};

/* NULL when it was answered (no memory). body->err collects refusals from now on. */
api_ask *api_ask_open(api_server *s, http_exchange *x, api_at *body);
void *api_keep(api_ask *a, size_t n);
/* For readers: a lack of memory is noted like a refusal, and api_ask_run answers with it. */
void api_no_memory(api_ask *a);
/* Takes item, which may be NULL: likewise. */
void api_append(api_ask *a, json_t *list, json_t *item);
/* NULL: likewise. */
json_t *api_string(api_ask *a, const qn_buf *b);
/* Takes the ask. */
void api_ask_run(api_ask *a);
/* The first half only: a->loaded, a->rendered and the prompts' tokens are there, whether they fit or not. False: it was answered
 * and is gone. */
bool api_ask_prepare(api_ask *a);
/* After api_ask_prepare, with the answer given. */
void api_ask_close(api_ask *a);
/* Hold a model by name (NULL: the default) for an endpoint that asks nothing; api_model_release. NULL: it was answered. */
api_model *api_hold(api_server *s, http_exchange *x, const char *name);
/* The output must match this schema, found at `path` (static) in the body. */
void api_keep_schema(api_ask *a, const json_t *schema, const char *path);
/* The same for any JSON object. */
void api_keep_object(api_ask *a, const char *path);
/* Answer 400 with a->bad, or `e`, and free it. */
void api_ask_drop(api_ask *a, const api_error *e);

/* Fields whose names and meanings all protocols of OpenAI's family share: temperature, top_p, top_k, min_p, penalties, DRY,
 * seed, stop, logit_bias, ... (common.c) */
void api_read_sampling(api_ask *a, const api_at *body);
void api_read_stop(api_ask *a, const api_at *body, const char *key);

/* circles.c: "x-quern-loop", and `,"loop":{...}` if the choice went into one. */
void api_read_loop(api_ask *a, const api_at *body);
void api_put_loop(const api_choice *c, qn_buf *out);

/* Tokens and times of the whole ask. */
typedef struct api_usage {
    int64_t prompt, cached, generated, reasoning, drafted, accepted;
    double prefill_s, decode_s;
} api_usage;
void api_get_usage(const api_ask *a, api_usage *out);
/* A token's bytes: caller frees. */
qn_status api_token_bytes(const api_model *m, int32_t token, char **out, size_t *n);

#endif
