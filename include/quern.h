/* quern.h - the public C API of libquern: open a model, tokenize, render, run requests, read reports.
 *
 * Why: everything that a program needs in order to run a local model and nothing about how it is done. The `quern`
 * command uses this header and nothing else.
 *
 * Ownership: `open`/`close` own a handle; `get` borrows and lives as long as its parent; every `char *` or array that
 * a function hands out through an out-parameter is the caller's and is released with qn_free().
 * Errors: functions return QN_OK (0) or a negative qn_status; out-parameters are untouched on failure; `err` may be
 * NULL, otherwise it carries the code, where it happened and a sentence that says what to do.
 * Threads: a handle may be used by one thread at a time unless its function says otherwise; different handles are
 * independent. A qn_model is read-only after open and may be shared by engines on different threads.
 */
#ifndef QUERN_H
#define QUERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define QN_API __attribute__((visibility("default")))
#define QN_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define QN_API
#define QN_PRINTF(f, a)
#endif

#define QN_VERSION "0.1.0"

/* ---- status and errors ---------------------------------------------------------------------------------------- */

typedef enum qn_status {
    QN_OK = 0,
    QN_ENOMEM = -1,       /* an allocation failed */
    QN_EIO = -2,          /* the operating system refused: open, read, write, map */
    QN_EFORMAT = -3,      /* a file, template, JSON text or token stream is malformed */
    QN_EUNSUPPORTED = -4, /* well-formed, but this build does not run it (architecture, type, feature) */
    QN_EINVAL = -5,       /* an argument is out of its range */
    QN_ECONTEXT = -6,     /* the prompt does not fit the context; `what` names both numbers */
    QN_ELIMIT = -7,       /* a bound on steps, depth, memory or size was reached */
    QN_ERAISED = -8,      /* a chat template called raise_exception */
    QN_ECANCELLED = -9,   /* the caller cancelled */
    QN_EBUSY = -10        /* a queue is full; `what` says when to try again */
} qn_status;

typedef struct qn_err {
    qn_status code;
    char where[160]; /* "file.gguf: tensor blk.0.attn_q.weight, byte 1234", a JSON path, a template line; may be "" */
    char what[512];  /* one sentence: what is wrong and what to do */
} qn_err;

/* Short name of a status: "ok", "format", ... Static storage. */
QN_API const char *qn_status_name(qn_status s);
QN_API const char *qn_version(void);
/* Release anything that an out-parameter handed over. NULL is allowed. */
QN_API void qn_free(void *p);

/* ---- models ---------------------------------------------------------------------------------------------------- */

typedef struct qn_model qn_model;

typedef enum qn_open {
    QN_OPEN_HEADER, /* metadata and tensor table only: reads just the header */
    QN_OPEN_VOCAB,  /* and the tokenizer */
    QN_OPEN_FULL    /* and the weights, bound to their recipe; the file stays mapped, nothing is copied until an
                     * engine repacks */
} qn_open;

/* Open a GGUF file (or the first part of a split one). `path` NULL or "embedded": the model linked into the library.
 * Errors: QN_EIO, QN_EFORMAT, QN_EUNSUPPORTED (unknown architecture, tensors that do not match it), QN_ENOMEM. */
QN_API qn_status qn_model_open(const char *path, qn_open how, qn_model **out, qn_err *err);
QN_API void qn_model_close(qn_model *m);

/* A few facts that programs branch on; everything else is in the report. */
typedef struct qn_model_info {
    const char *architecture; /* borrowed */
    const char *name;         /* general.name or "" */
    bool embedded;
    bool has_chat_template;
    int32_t n_vocab;          /* rows of logits; 0 when only the header was opened and it cannot be told */
    int32_t n_ctx_train;      /* the context length the file states; 0 when absent */
    int32_t bos, eos, eot;    /* -1 when absent */
    uint64_t file_bytes;
    int32_t n_embd;           /* values of an embedding; 0 unless opened QN_OPEN_FULL */
    bool embedding_only;      /* an encoder: it gives embeddings and no text; false unless opened QN_OPEN_FULL */
    /* What one token of a new sequence takes, of experts only the chosen ones; 0 unless opened QN_OPEN_FULL: bytes of
     * weights read, and weights multiplied by. The output matrix counts, the look-up of the embedding does not. */
    uint64_t bytes_per_token, params_per_token;
} qn_model_info;
QN_API void qn_model_get_info(const qn_model *m, qn_model_info *out);

/* What the file is, as one JSON object (architecture, sizes, quantisation by tensor class, context, template, special
 * tokens; with `tensors` the whole tensor table). Works on every qn_open kind. */
QN_API qn_status qn_model_report(const qn_model *m, bool tensors, char **json, qn_err *err);

/* What tells this file from others, as 32 hexadecimal digits: of its metadata, its tensor table, and samples of every tensor; so a model
 * that was trained further is another one, although all its shapes are the same. Needs QN_OPEN_FULL (else QN_EINVAL). */
enum { QN_FINGERPRINT = 33 };
QN_API qn_status qn_model_fingerprint(const qn_model *m, char out[QN_FINGERPRINT], qn_err *err);

/* ---- text ------------------------------------------------------------------------------------------------------ */

typedef enum qn_add_bos { QN_BOS_AUTO, QN_BOS_YES, QN_BOS_NO } qn_add_bos;

/* Text (any bytes, not terminated) to ids. `special`: special-token text is parsed to its id. AUTO adds BOS/EOS as the
 * file asks; YES adds BOS; NO adds neither. Needs QN_OPEN_VOCAB. `*ids` is released with qn_free. */
QN_API qn_status qn_tokenize(const qn_model *m, const char *text, size_t n, bool special, qn_add_bos bos, int32_t **ids,
                             size_t *n_ids, qn_err *err);
/* Ids to bytes; `special` includes control tokens' text. The bytes may not be UTF-8 if the ids are not. */
QN_API qn_status qn_detokenize(const qn_model *m, const int32_t *ids, size_t n, bool special, char **text,
                               size_t *n_text, qn_err *err);

typedef struct qn_var {
    const char *name;
    const char *json; /* the value as JSON text */
} qn_var;

typedef struct qn_render_options {
    const qn_model *model;   /* its template and tokens; may be NULL when `template_text` is given */
    const char *template_text; /* overrides the model's; UTF-8, terminated */
    const char *messages_json; /* array of OpenAI-style messages, or an object with "messages" and optionally "tools" */
    const char *tools_json;    /* array, or NULL */
    const qn_var *vars;
    size_t n_vars;
    bool no_generation_prompt;
    const char *date; /* "YYYY-MM-DD" for strftime_now (12:00); NULL: now */
} qn_render_options;

/* Render a conversation to the prompt's bytes. Errors: QN_ERAISED (the template refuses, `what` is its message),
 * QN_EFORMAT (template or JSON), QN_ELIMIT. */
QN_API qn_status qn_render(const qn_render_options *o, char **text, size_t *n, qn_err *err);

/* ---- engine ---------------------------------------------------------------------------------------------------- */

typedef struct qn_engine qn_engine;
typedef enum qn_kv_type { QN_KV_F16, QN_KV_F32, QN_KV_Q8_0 } qn_kv_type;

typedef struct qn_engine_options {
    int32_t n_ctx;     /* tokens a sequence may hold, prompt and output; 0: what the model states, if kv_ram holds it */
    int32_t n_threads; /* 0: as many as `cpus` names, else one per core; where the machine has siblings or slow cores, these too
                        * if they help, which is measured once (0.1 s) and kept in $XDG_CACHE_HOME/quern/threads */
    int32_t n_chunk;   /* prefill tokens per step; 0: 512 */
    int32_t max_seqs;  /* sequences running together; 0: 8 */
    qn_kv_type kv;
    uint64_t kv_ram;   /* bytes that pages of KV may take, of running and of ended requests, if one context fits into them; taken
                        * as they are needed. 0: a quarter of the machine's memory, at most a context for each of max_seqs + 1 */
    const char *cpu;   /* "ref", "avx2", "avx512", "amx" (ARM: "neon", "i8mm") or NULL: QUERN_CPU, then the best the machine has */
    const char *cpus;  /* "0-3,8": thread i stays on the i-th of these processors, the thread that runs steps too; NULL: anywhere */
    bool no_repack;    /* weights stay in the file's map, which processes share and memory may evict: slower. Else they are laid
                        * out for the level's registers in memory of their own, where that fits; the file's pages are let go.
                        * Engines of one model share it. The results are the same bytes */
    const char *kv_disk;  /* a directory for pages that survive this process (made if missing; nobody else may write to it), or NULL */
    uint64_t kv_disk_max; /* bytes of everything in it; 0: 10 GiB */
    const qn_model *draft_model; /* a smaller one of the same vocabulary that drafts where nothing of the kind was there before; opened
                                  * QN_OPEN_FULL, outlives the engine. It has pages of its own, as many as kv_ram holds. NULL: none */
} qn_engine_options;

QN_API void qn_engine_options_init(qn_engine_options *o);
/* The model must have been opened QN_OPEN_FULL and must outlive the engine. */
QN_API qn_status qn_engine_open(const qn_model *m, const qn_engine_options *o, qn_engine **out, qn_err *err);
/* Closes what requests are still open, too: their handles are gone. */
QN_API void qn_engine_close(qn_engine *e);

typedef struct qn_engine_info {
    int32_t n_ctx, n_threads, n_vocab, n_chunk, max_seqs;
    const char *cpu;    /* the level in use; static */
    uint64_t kv_bytes_per_token;
    uint64_t kv_bytes;  /* pages allocated now */
    uint64_t packed_bytes; /* of repacked weights; 0: they stay in the file's map */
    uint64_t kv_ram;    /* what they may take */
} qn_engine_info;
QN_API void qn_engine_get_info(const qn_engine *e, qn_engine_info *out);

/* What the engine keeps of what it computed. A page is 64 tokens. */
typedef struct qn_cache_stats {
    uint64_t ram_pages, ram_budget;   /* in the prefix tree; that may be kept there */
    uint64_t page_bytes;
    uint64_t reused_tokens;           /* that were not computed again, */
    uint64_t restored_pages;          /* of which so many pages came from disk */
    uint64_t evicted_pages;           /* from memory; */
    uint64_t lost_pages;              /* of which so many were still to be written to disk */
    uint64_t disk_pages, disk_bytes;  /* of this model; of the whole directory. 0 without one */
    uint64_t written_files, failed_writes, bad_files; /* bad: damaged, so removed */
    double restore_rate;              /* bytes per second; 0: not known yet */
    char notice[256];                 /* why writing to disk failed for the first time, or "" */
    char bad_notice[256];             /* which file was damaged last, and what was wrong with it, or "" */
} qn_cache_stats;
QN_API void qn_engine_get_cache(const qn_engine *e, qn_cache_stats *out);
/* Wait until what is kept on disk is there, ten seconds at most. Closing does that, too. */
QN_API void qn_engine_sync(qn_engine *e);

/* Logits of the last `rows` positions of `tokens`, ascending: out[rows * n_vocab], caller's memory; on failure its contents
 * are undefined. Each call starts from nothing (no cache). Errors: QN_ECONTEXT, QN_EINVAL (token id out of range),
 * QN_EUNSUPPORTED (a model that gives embeddings only), QN_ENOMEM. */
QN_API qn_status qn_logits(qn_engine *e, const int32_t *tokens, size_t n, size_t rows, float *out, qn_err *err);

typedef struct qn_logit_bias {
    int32_t token;
    float bias;
} qn_logit_bias;

/* Sampling. Zero-initialise through qn_sampling_init: that is greedy with nothing switched on. Order of application:
 * logit bias, penalties, DRY, then temperature 0 -> argmax (lowest id wins a tie), else top-k, typical, top-p, min-p,
 * temperature, one draw. */
typedef struct qn_sampling {
    float temperature;       /* 0: greedy */
    int32_t top_k;           /* 0: off */
    float top_p;             /* 1: off */
    float min_p;             /* 0: off */
    float typical_p;         /* 1: off */
    float repeat_penalty;    /* 1: off (Keskar 2019: divides positive, multiplies negative logits) */
    float frequency_penalty; /* 0: off (OpenAI's definition) */
    float presence_penalty;  /* 0: off */
    int32_t penalty_last_n;  /* tokens looked back at; -1: all; 0: none */
    float dry_multiplier;    /* 0: off */
    float dry_base;          /* 1.75 */
    int32_t dry_allowed_length; /* 2 */
    int32_t dry_last_n;      /* -1: all */
    const qn_logit_bias *bias; /* copied */
    size_t n_bias;
    uint64_t seed;
} qn_sampling;
QN_API void qn_sampling_init(qn_sampling *s);

/* What output must look like: compiled for one model's vocabulary, read-only, may be shared by requests and threads. */
typedef struct qn_grammar qn_grammar;

typedef struct qn_request qn_request;

typedef struct qn_request_options {
    const int32_t *tokens; /* the prompt; copied */
    size_t n_tokens;
    int32_t max_tokens;    /* -1: until the context ends; 0: read the prompt, generate nothing */
    qn_sampling sampling;
    const char *const *stop; /* stop strings; copied; the stop text is not emitted */
    size_t n_stop;
    bool show_special;       /* emit control tokens' text */
    bool ignore_eos;
    const qn_grammar *grammar; /* only tokens that it allows are chosen; NULL: any. Kept by the request */
    bool probs;              /* events carry the chosen tokens' log-probabilities, and of the */
    int32_t top_probs;       /* so many likeliest ones, at most 20 */
    int32_t draft;           /* tokens drafted at a time; 0: as it pays; -1: none. Output is the same bytes either way */
    uint64_t client;         /* clients get equal shares of steps; 0 is one of them */
    uint64_t session;        /* pages of a session are not evicted for another's as long as others can be; 0: none */
    double deadline_s;       /* seconds from now, after which it ends with QN_END_DEADLINE; 0: none */
    bool break_loops;        /* an output that has gone into a cycle of tokens is made to leave it: for the next 256 tokens none is
                              * chosen that would go on with the cycle, if there is another. Follows from the output alone */
} qn_request_options;
QN_API void qn_request_options_init(qn_request_options *o);

typedef enum qn_event_kind { QN_EVENT_PREFILL, QN_EVENT_TEXT, QN_EVENT_END } qn_event_kind;
typedef enum qn_end_reason {
    QN_END_STOP,        /* the model ended its turn; the end token is not emitted */
    QN_END_STOP_STRING,
    QN_END_LENGTH,      /* max_tokens */
    QN_END_CONTEXT,     /* prompt and output fill the context */
    QN_END_CANCELLED,
    QN_END_DEADLINE,
    QN_END_ERROR        /* of a job: `error` says why */
} qn_end_reason;

/* A token and ln of its probability, before temperature and truncation. */
typedef struct qn_prob {
    int32_t token;
    float logprob;
} qn_prob;

typedef struct qn_timings {
    int32_t prompt_tokens, cached_tokens, generated_tokens; /* generated: with the end token, if there was one */
    int32_t drafted_tokens, accepted_tokens; /* tokens proposed ahead, and those of them that were what was chosen */
    int32_t broken_loops; /* cycles that break_loops has found */
    /* prefill: of the tokens that were not cached, and the first token out; decode: of the generated_tokens - 1 others */
    double prefill_s, decode_s;
} qn_timings;

typedef struct qn_event {
    qn_event_kind kind;
    int32_t done, total;  /* PREFILL: prompt tokens read so far, of how many */
    /* TEXT: whole UTF-8 characters, unless the model ended inside one or wrote bytes that are none; not terminated; valid
     * until the next call on this request. It continues the prompt: a first space is part of it. */
    const char *text;
    size_t n_text;
    const int32_t *tokens; /* TEXT: the ids chosen since the last event; likewise. Text may lag behind them (a character or
                            * a stop string that may be complete with the next token), so it may be empty */
    size_t n_tokens;
    const qn_prob *probs;  /* TEXT, when asked for: n_tokens rows of 1 + n_top, the chosen one first, then the likeliest; rows
                            * with fewer are filled up with token -1. NULL otherwise */
    size_t n_top;
    qn_end_reason reason;  /* END */
    const qn_err *error;   /* END of a job with QN_END_ERROR */
    qn_timings timings;    /* END */
} qn_event;

/* Queue a request. A finished request's pages stay until space is needed: a later request that starts with the same
 * tokens does not compute them again (of a recurrent model: from the last page border of its prompt or output, or from its
 * end). Errors: QN_ECONTEXT with both numbers; QN_EINVAL; QN_EUNSUPPORTED (a model that gives embeddings only); QN_ENOMEM. */
QN_API qn_status qn_request_open(qn_engine *e, const qn_request_options *o, qn_request **out, qn_err *err);
/* Run the engine until this request has something to say. All open requests advance together. After END it returns
 * END again. Errors: what ended this request (QN_ENOMEM; QN_EFORMAT when the model's logits are not numbers). */
QN_API qn_status qn_request_next(qn_request *r, qn_event *ev, qn_err *err);
/* May be called from a signal handler or another thread; takes effect within one step. */
QN_API void qn_request_cancel(qn_request *r);
QN_API void qn_request_close(qn_request *r);

/* ---- serving --------------------------------------------------------------------------------------------------- */

/* A scheduler gives an engine a thread of its own, which runs its steps; jobs come in from any thread through a bounded queue
 * and go out as events. While it lives, the engine is used through it alone. */
typedef struct qn_scheduler qn_scheduler;
typedef struct qn_job qn_job;

typedef struct qn_scheduler_options {
    int32_t max_queue;  /* jobs waiting beyond those running; 0: 64 */
    int32_t max_gap_ms; /* prefill of one is cut so that another's next token does not wait longer; 0: 250 */
} qn_scheduler_options;

/* Called on the scheduler's thread: it must not block, nor call qn_scheduler_close or qn_job_close. What the event lends is
 * valid during the call. Exactly one END comes, last. */
typedef struct qn_sink {
    void (*event)(void *arg, const qn_event *ev);
    void *arg;
} qn_sink;

QN_API void qn_scheduler_options_init(qn_scheduler_options *o);
QN_API qn_status qn_scheduler_open(qn_engine *e, const qn_scheduler_options *o, qn_scheduler **out, qn_err *err);
/* Cancels what is open (each sink gets its END), waits for the thread. The engine is the caller's again; jobs may be closed
 * before or after. */
QN_API void qn_scheduler_close(qn_scheduler *s);
/* Any thread. Errors: QN_EBUSY (the queue is full), and what qn_request_open says: then no event comes. */
QN_API qn_status qn_scheduler_submit(qn_scheduler *s, const qn_request_options *o, const qn_sink *sink, qn_job **out,
                                     qn_err *err);
/* Run fn on the scheduler's thread between two steps (embeddings, statistics of the engine); returns when it has run. */
QN_API qn_status qn_scheduler_call(qn_scheduler *s, void (*fn)(qn_engine *e, void *arg), void *arg, qn_err *err);
/* Takes effect within one step; END follows. Any thread. */
QN_API void qn_job_cancel(qn_job *j);
/* Cancels if it has not ended. When it returns no event is being delivered and none will be. */
QN_API void qn_job_close(qn_job *j);

typedef struct qn_scheduler_stats {
    int32_t running, waiting;
    uint64_t jobs, cancelled, failed, refused;
    uint64_t prompt_tokens, cached_tokens, generated_tokens, drafted_tokens, accepted_tokens, steps;
    double busy_s;       /* spent in steps */
    double prefill_rate; /* tokens per second, moving average; 0: not known yet */
    double worst_gap_s;  /* longest time between two tokens of one job */
    double retry_s;      /* after how long a job that is refused now had best come again: at least 1 */
} qn_scheduler_stats;
/* Any thread. */
QN_API void qn_scheduler_get_stats(qn_scheduler *s, qn_scheduler_stats *out);

/* ---- grammars -------------------------------------------------------------------------------------------------- */

typedef enum qn_grammar_kind {
    QN_GRAMMAR_JSON,   /* any JSON value; no text */
    QN_GRAMMAR_SCHEMA, /* JSON Schema 2020-12 */
    QN_GRAMMAR_GBNF,
    QN_GRAMMAR_REGEX   /* of the whole output */
} qn_grammar_kind;

/* Errors: QN_EFORMAT (text that is not of its kind; where), QN_EUNSUPPORTED (a keyword, with its path), QN_ELIMIT (too large when
 * compiled), QN_ENOMEM. The model must outlive the grammar. */
QN_API qn_status qn_grammar_open(const qn_model *m, qn_grammar_kind kind, const char *text, size_t n, qn_grammar **out,
                                 qn_err *err);
/* Requests that use it keep it alive. NULL is allowed. */
QN_API void qn_grammar_close(qn_grammar *g);

/* ---- tools and replies ----------------------------------------------------------------------------------------- */

/* The tools that a conversation offers, in the dialect of a model. Read-only; may be shared by threads. */
typedef struct qn_tools qn_tools;

typedef enum qn_tool_choice { QN_TOOLS_AUTO, QN_TOOLS_NONE, QN_TOOLS_REQUIRED, QN_TOOLS_NAMED } qn_tool_choice;

typedef struct qn_tools_options {
    const char *tools_json; /* array of OpenAI's {"type":"function","function":{"name","description","parameters"}} */
    qn_tool_choice choice;
    const char *name;       /* NAMED */
    bool single;            /* one call at most */
    bool unconstrained;     /* no grammar: output is only taken apart */
    /* What an answer that is no call must look like, from its first character (behind reasoning) to its end; NULL: any text. It is then
     * text in one piece. tools_json may be NULL: then every output is such an answer. */
    const char *answer;
    size_t n_answer;
    qn_grammar_kind answer_kind; /* of JSON: answer is "" */
    const char *dialect;    /* NULL: found from the model's template */
} qn_tools_options;

/* Errors: QN_EFORMAT (with the JSON path), QN_EUNSUPPORTED (a schema keyword, a dialect's name), QN_ELIMIT, QN_ENOMEM. */
QN_API qn_status qn_tools_open(const qn_model *m, const qn_tools_options *o, qn_tools **out, qn_err *err);
QN_API void qn_tools_close(qn_tools *t);
/* What the model's output must match so that each call in it parses and conforms: borrowed; NULL when nothing need be
 * constrained (NONE). prompt: the rendered prompt; whether it ends inside its reasoning decides what may come first. */
QN_API const qn_grammar *qn_tools_grammar(const qn_tools *t, const char *prompt, size_t n_prompt);
QN_API const char *qn_tools_dialect(const qn_tools *t);

/* Takes a model's output apart as it streams: reasoning, text, calls. What looks like a call and cannot be read as one is text; a call
 * that turns out to be malformed behind its name ends without CALL_END, and the rest is text. Bytes that are no UTF-8 become U+FFFD.
 * White space between text, reasoning and calls that belongs to their markers is in no part. */
typedef struct qn_reply qn_reply;

typedef enum qn_part_kind {
    QN_PART_REASONING, QN_PART_TEXT,
    QN_PART_CALL,      /* a call begins: name, and the id if the dialect has ids */
    QN_PART_ARGUMENTS, /* its next piece of JSON text */
    QN_PART_CALL_END   /* its arguments are complete and valid JSON; `text` is the exact sampled text of the whole call */
} qn_part_kind;

typedef struct qn_part {
    qn_part_kind kind;
    int32_t call;     /* 0, 1, ... */
    const char *name; /* CALL, CALL_END; terminated */
    const char *id;   /* CALL; NULL when the dialect has none there. CALL_END: also one that stood behind the arguments */
    const char *text; /* whole UTF-8 characters; not terminated; valid during the call */
    size_t n;
} qn_part;

/* prompt: the rendered prompt (its end tells whether the model begins inside its reasoning). tools may be NULL: then only
 * reasoning is told apart. Requests whose output is to be taken apart set show_special. `m` and `tools` outlive it. */
QN_API qn_status qn_reply_open(const qn_model *m, const qn_tools *tools, const char *prompt, size_t n_prompt, qn_reply **out,
                               qn_err *err);
QN_API void qn_reply_close(qn_reply *r);
/* The next n bytes of output, split anywhere. `part` is called for what they complete. Errors: QN_ENOMEM. */
QN_API qn_status qn_reply_put(qn_reply *r, const char *text, size_t n, void (*part)(void *arg, const qn_part *p), void *arg,
                              qn_err *err);
/* The output has ended: what was held back comes. A call that is not complete gets no CALL_END. */
QN_API qn_status qn_reply_end(qn_reply *r, void (*part)(void *arg, const qn_part *p), void *arg, qn_err *err);

/* ---- a server -------------------------------------------------------------------------------------------------- */

/* Serves models over HTTP in the protocols that editors and agents speak. */
typedef struct qn_server qn_server;

/* What is done when output goes in circles: nothing, it is told of, it is ended too, or its next tokens are made to leave the cycle. */
typedef enum qn_loops { QN_LOOPS_OFF, QN_LOOPS_REPORT, QN_LOOPS_STOP, QN_LOOPS_PERTURB } qn_loops;

typedef struct qn_server_options {
    const char *const *models; /* paths; NULL or "embedded" among them: the one in the library. The first is the default */
    size_t n_models;           /* 0: the embedded one */
    qn_engine_options engine;  /* of each; a draft model is the first one's alone */
    qn_scheduler_options scheduler;
    uint64_t memory;           /* bytes that all loaded models may take; those not in use make room. 0: no limit */
    bool preload;              /* load the first before the first request */
    const char *host;          /* a numeric address; NULL: 127.0.0.1 */
    int32_t port;              /* 0: any free one */
    int32_t ollama_port;       /* a second port for clients that look there; -1: none, 0: any free one */
    const char *const *keys;   /* clients must show one; copied as hashes */
    size_t n_keys;
    bool insecure;             /* listen beyond this machine without a key */
    const char *const *origins; /* web pages that may call: "https://example.org", or "*". None: only pages of this server */
    size_t n_origins;
    const char *const *hosts;  /* names in Host beside addresses of this machine and localhost */
    size_t n_hosts;
    const char *cert, *key;    /* files with PEM: TLS. NULL: none */
    float temperature, top_p, min_p; /* where a request names none */
    qn_loops loop;             /* conversations and answers that go in circles, where a request says nothing of it ("x-quern-loop") */
    uint64_t recall_ram;       /* bytes for answers kept as they were sampled, over all models; 0: none are */
    uint64_t body_limit;       /* bytes; 0: 32 MiB */
    int32_t idle_s;            /* connections without a request, or that take nothing, are closed after; 0: 120 */
    int32_t body_s;            /* a request must be here after; 0: 30 */
    double drain_s;            /* how long qn_server_wait lets running requests end; 0: 30 */
    bool log_prompts;
    void (*log)(void *arg, const char *line); /* a JSON object, terminated, for each request and event; any thread. NULL: none */
    void *log_arg;
} qn_server_options;

QN_API void qn_server_options_init(qn_server_options *o);
/* Listens when it returns. Errors: QN_EINVAL (an address beyond this machine without a key, names given twice), QN_EIO (the
 * port is taken, files), QN_EUNSUPPORTED (TLS), and those of opening a model. */
QN_API qn_status qn_server_open(const qn_server_options *o, qn_server **out, qn_err *err);
/* Ports listened on; `ollama` may be NULL. */
QN_API int32_t qn_server_port(const qn_server *s, int32_t *ollama);
/* Returns when qn_server_stop was called, no new request is taken, and the running ones have ended or drain_s is over. */
QN_API void qn_server_wait(qn_server *s);
/* From any thread or a signal handler. A second time: what runs is ended at once. */
QN_API void qn_server_stop(qn_server *s);
QN_API void qn_server_close(qn_server *s);

/* ---- pages on disk --------------------------------------------------------------------------------------------- */

/* What an engine opened with kv_disk leaves there. Whatever else lies in the directory is left alone; engines may be using it
 * meanwhile. A directory that is missing counts as empty. Errors of all: QN_EIO (not a directory, or one that others may write to),
 * QN_ENOMEM. */

/* $XDG_CACHE_HOME/quern/kv, or $HOME/.cache/quern/kv. `*out` is released with qn_free. */
QN_API qn_status qn_cache_default_dir(char **out, qn_err *err);

/* The pages of one model, KV type, CPU level and build. */
typedef struct qn_cache_model {
    const char *id;    /* its directory, 32 digits; this and the others are valid during the call */
    const char *name;  /* of the model, as its file says; "" when there are no files */
    const char *kv;    /* "f16", ... */
    bool usable;       /* this build made them */
    uint64_t files, pages, bytes;
    double newest_s, oldest_s; /* seconds since a file of it was used */
} qn_cache_model;
QN_API qn_status qn_cache_list(const char *dir, void (*see)(void *arg, const qn_cache_model *m), void *arg, qn_err *err);

typedef struct qn_cache_counts {
    uint64_t models, files, pages, bytes, bad;
} qn_cache_counts;
/* Remove files that were not used for older_s seconds: of the model with that name, or whose id begins so (four digits at
 * least), or of all (NULL). */
QN_API qn_status qn_cache_remove(const char *dir, const char *model, double older_s, qn_cache_counts *out, qn_err *err);
/* Read every file and compare its checksums; bad ones are told, and removed if `remove`. */
QN_API qn_status qn_cache_verify(const char *dir, bool remove, void (*bad)(void *arg, const char *file, const char *why), void *arg,
                                 qn_cache_counts *out, qn_err *err);

/* ---- embeddings ------------------------------------------------------------------------------------------------ */

typedef enum qn_pooling {
    QN_POOL_AUTO, /* as the file says; where it says nothing: the mean of an encoder, the last token's of other models */
    QN_POOL_NONE, /* a vector for each token */
    QN_POOL_MEAN,
    QN_POOL_CLS,  /* the first token's */
    QN_POOL_LAST
} qn_pooling;

/* How qn_embed would pool: AUTO becomes what the file asks for. Errors: QN_EUNSUPPORTED (a reranker: qn_rerank). */
QN_API qn_status qn_embed_pooling(const qn_engine *e, qn_pooling asked, qn_pooling *out, qn_err *err);
/* The hidden state behind the last layer, of any model: out[n_embd], or out[n * n_embd] without pooling; caller's memory; on
 * failure its contents are undefined. normalise: to length 1. An encoder reads all tokens in one step, for which memory is
 * taken on demand and kept. Each call starts from nothing. Errors: QN_ECONTEXT with both numbers, QN_EINVAL (no tokens, a token
 * id out of range), QN_EUNSUPPORTED (a reranker: qn_rerank), QN_ENOMEM. */
QN_API qn_status qn_embed(qn_engine *e, const int32_t *tokens, size_t n, qn_pooling pooling, bool normalise, float *out,
                          qn_err *err);

/* How well a document answers a query, by a reranker: an encoder with a head for it. labels: how many scores it gives, 0 of any
 * other model; nearly always 1, the greater the better, not bounded. out[labels]: caller's memory. n_tokens: of the text that both
 * make together, or NULL. Errors: QN_EUNSUPPORTED (no reranker), QN_ECONTEXT with both numbers, QN_ENOMEM. */
QN_API int32_t qn_rerank_labels(const qn_engine *e);
QN_API qn_status qn_rerank(qn_engine *e, const char *query, size_t n_query, const char *document, size_t n_document, float *out,
                           size_t *n_tokens, qn_err *err);

/* ---- measuring ------------------------------------------------------------------------------------------------- */

typedef struct qn_perplexity {
    double nll;   /* mean negative log-likelihood per scored token, nats */
    double ppl;   /* exp(nll) */
    double error; /* standard error of ppl */
    size_t n_scored, n_tokens;
} qn_perplexity;

/* Perplexity over `tokens` in windows of n_ctx (0: the engine's) that follow one another, each computed from nothing. The
 * tokens in the second half of each window are scored, each predicted from those before it in the window. What does not fill
 * a last window is left out; a text shorter than a window is one window. No BOS is put anywhere. `progress` (per window) may
 * be NULL; it returns false to cancel. Errors: QN_EINVAL (fewer than two tokens, window out of range), QN_ECANCELLED. */
QN_API qn_status qn_measure_perplexity(qn_engine *e, const int32_t *tokens, size_t n, int32_t n_ctx,
                                       bool (*progress)(void *arg, size_t done, size_t total, double ppl), void *arg,
                                       qn_perplexity *out, qn_err *err);

/* What this machine can do at most with n_threads, measured by loops that do nothing else. */
typedef struct qn_ceilings {
    int32_t n_threads;
    const char *cpu;      /* the level; static */
    uint64_t read_bytes;  /* the memory that was read over and over, in huge pages where the system has them */
    double bandwidth;     /* bytes per second */
    double plain_bandwidth; /* the same from small pages, as a mapped file has them */
    double int8_ops;      /* operations per second: a multiplication and an addition are two */
    double int8_vector_ops; /* the same by vectors, where the level has matrix tiles (amx); else int8_ops */
    double fp32_ops;
} qn_ceilings;
/* cpu, cpus, n_threads as in qn_engine_options. read_bytes: as much memory as the work reads in turn, so that
 * caches help as much as they help there (4 MiB to 1 GiB; less or more is brought there); 0: more than the caches hold.
 * Takes under a second. Errors: QN_EINVAL, QN_ENOMEM, QN_EIO (threads). */
QN_API qn_status qn_measure_ceilings(const char *cpu, const char *cpus, int32_t n_threads, uint64_t read_bytes, qn_ceilings *out,
                                     qn_err *err);

/* The least that a step must do in which each of n_seqs sequences that hold `depth` tokens gets n_tokens more and the logits
 * of its last one: each weight it needs read once (of experts, those that so many tokens choose if they choose evenly), keys,
 * values and states read once, each weight multiplied by each token. */
typedef struct qn_work {
    double bytes;
    double int8_ops;  /* with quantised weights */
    double float_ops; /* with F32, F16 and BF16 weights */
    double attention_ops; /* in floats: each token with those that it sees */
} qn_work;
QN_API void qn_engine_get_work(const qn_engine *e, int32_t n_seqs, int32_t n_tokens, int32_t depth, qn_work *out);

/* Write a random-weight model of a real model's shape, for measuring speed and memory without a download: `shape` as
 * qn_synth_shape lists them, `mixture` as qn_quantize_type_name does: each matrix gets the type that it has in files of that
 * name. The same call writes the same bytes; the file appears whole or not at all. n_layers > 0 overrides the shape's number.
 * progress (bytes of tensors; may be NULL) returns false to cancel. Errors: QN_EINVAL (shape, mixture, layers), QN_EIO,
 * QN_ECANCELLED, QN_ENOMEM. */
QN_API qn_status qn_synth(const char *shape, const char *mixture, int n_layers, const char *path,
                          bool (*progress)(void *arg, uint64_t done, uint64_t total), void *arg, qn_err *err);
/* The i-th shape's name; NULL past the end. */
QN_API const char *qn_synth_shape(size_t i);

/* The CPU levels this machine can run, best last: fills names[0..cap), returns how many there are. Static strings. */
QN_API size_t qn_cpu_levels(const char **names, size_t cap);

/* ---- quantising ------------------------------------------------------------------------------------------------ */

/* The k-th file type that qn_quantize knows ("Q8_0", "Q6_K", ... "Q4_K_M", ...); NULL from the end on. Static. */
QN_API const char *qn_quantize_type_name(size_t k);

typedef struct qn_quantize_progress {
    uint64_t done, total;   /* bytes of the input's tensors */
    const char *tensor;     /* being worked on; valid during the call */
    const char *from, *to;  /* its types */
    size_t index, n_tensors;
} qn_quantize_progress;

typedef struct qn_quantize_options {
    const char *type;      /* one of the names above, in either case of letters */
    int32_t n_threads;     /* 0: one per processor */
    const char *imatrix;   /* path of an importance matrix (GGUF), or NULL: every weight counts the same */
    bool allow_requantize; /* else an input whose matrices are quantised already is refused: errors add up */
    bool dry_run;          /* write nothing: only fill in the result */
    bool (*progress)(void *arg, const qn_quantize_progress *p); /* several times a second; false cancels. NULL: none */
    void *arg;
} qn_quantize_options;
QN_API void qn_quantize_options_init(qn_quantize_options *o);

typedef struct qn_quantize_count {
    const char *type; /* "Q4_K"; static */
    uint64_t tensors, bytes;
} qn_quantize_count;

enum { QN_QUANTIZE_TYPES = 48 };

typedef struct qn_quantize_result {
    uint64_t bytes_in, bytes_out; /* whole files; bytes_out is exact, of a dry run too */
    uint64_t tensors;
    uint64_t fallbacks;           /* tensors whose rows the type's blocks do not divide, and which got another */
    uint64_t weighted;            /* tensors whose importance was found */
    qn_quantize_count types[QN_QUANTIZE_TYPES]; /* of the output; those that occur, most bytes first */
    size_t n_types;
} qn_quantize_result;

/* Write the model at `in` (any part of a split one) to `out` with its matrices in smaller types: which matrix gets which is
 * what files of that name have (embeddings, outputs, values more bits; norms, biases, routers unchanged). Metadata are
 * copied; general.file_type and general.quantization_version are set. Memory stays bounded whatever the file's size. `out`
 * appears whole or not at all and may not be the input. `out` may be NULL in a dry run; `result` may be NULL.
 * Errors: QN_EINVAL (type, threads, out is in), QN_EIO, QN_EFORMAT (input, or a weight that is NaN or infinite),
 * QN_EUNSUPPORTED (quantised already), QN_ECANCELLED, QN_ENOMEM. */
QN_API qn_status qn_quantize(const char *in, const char *out, const qn_quantize_options *o, qn_quantize_result *result,
                             qn_err *err);

typedef struct qn_imatrix_options {
    int32_t n_ctx;       /* tokens of a chunk; 0: the engine's context */
    const char *path;    /* where to write */
    const char *dataset; /* what the file says that the text was; NULL: nothing */
    bool (*progress)(void *arg, size_t done, size_t total); /* per chunk; false cancels. NULL: none */
    void *arg;
} qn_imatrix_options;

typedef struct qn_imatrix_result {
    size_t chunks, tokens;
    size_t matrices, unmet; /* each expert's counts; unmet: of experts that were never chosen (all columns count the same) */
} qn_imatrix_result;

/* Measure how much each column of the engine's model's matrices matters: the sum of squares of what meets it while the model
 * reads `tokens`, chunk by chunk, each from nothing and begun with BOS where the model's texts are. What does not fill a last
 * chunk is left out; a text shorter than a chunk is one. Written in GGUF's form of importance matrices, for qn_quantize; the
 * file appears whole or not at all. Logits are not computed, so the output matrix is not in it. `out` may be NULL.
 * Errors: QN_EINVAL (no tokens, one out of range, the chunk's size, path is the model), QN_ECANCELLED, QN_EIO, QN_ENOMEM. */
QN_API qn_status qn_measure_imatrix(qn_engine *e, const int32_t *tokens, size_t n, const qn_imatrix_options *o,
                                    qn_imatrix_result *out, qn_err *err);

/* ---- published suites ------------------------------------------------------------------------------------------- */

/* Suites that are known by name. Valid during the call. */
typedef struct qn_suite_info {
    const char *name;    /* "humaneval": qn_eval takes it when the suite is there */
    const char *title;   /* "HumanEval" */
    const char *licence, *url;
    const char *sha256;  /* of the published file, in hex; NULL: none is known, it is checked by reading it */
    int32_t problems;
    const char *path;    /* where it is, or would be */
    bool there;
} qn_suite_info;
/* dir: where they lie; NULL: $XDG_DATA_HOME/quern/suites. Looks at nothing but whether files are there. Errors: QN_EIO, QN_ENOMEM. */
QN_API qn_status qn_suite_list(const char *dir, void (*see)(void *arg, const qn_suite_info *s), void *arg, qn_err *err);

typedef struct qn_suite_fetch_options {
    const char *dir; /* NULL: as above */
    bool (*progress)(void *arg, uint64_t done, uint64_t total); /* bytes; total 0: not known. False cancels; NULL: none */
    void *arg;
} qn_suite_fetch_options;
/* Get one from where it is published (https), unless it is there already and whole. It appears at *path (free with qn_free) whole and
 * checked, or not at all, and then what was there stays. This is the only call that gets anything from the network without being given
 * an address. Errors: QN_EINVAL (no such name), QN_EIO (network, disk), QN_EFORMAT (not what was published), QN_ELIMIT, QN_ECANCELLED,
 * QN_ENOMEM. */
QN_API qn_status qn_suite_fetch(const char *name, const qn_suite_fetch_options *o, char **path, qn_err *err);

/* ---- evaluating ------------------------------------------------------------------------------------------------ */

typedef enum qn_eval_mode { QN_EVAL_AUTO, QN_EVAL_COMPLETE, QN_EVAL_CHAT } qn_eval_mode;

typedef struct qn_eval_options {
    const char *suite;       /* a file: HumanEval, HumanEval+, HumanEval-infilling, MBPP, MBPP+, MultiPL-E, DS-1000 (.jsonl, .json,
                                .gz); or the name of one that was fetched */
    const char *model;       /* a GGUF, NULL: the embedded model; with an endpoint, the name that it knows */
    const char *endpoint;    /* NULL: in this process; else an OpenAI-compatible server's base address, ".../v1" */
    const char *key;         /* what the endpoint wants as bearer, or NULL */
    qn_engine_options engine;
    qn_eval_mode mode;       /* AUTO: a chat where the model has a template and the suite is not for infilling */
    int32_t samples;         /* of each problem; 0: 1 */
    int32_t limit;           /* the first so many problems; 0: all */
    float temperature, top_p; /* 0: greedy; top_p 0 counts as 1 */
    uint64_t seed;           /* sample i has seed + i */
    int32_t max_tokens;      /* of an answer; 0: 512 */
    double time_s;           /* for a program to run; 0: 10 */
    bool fresh;              /* do not take up a run that was ended */
    const char *ledger;      /* its path; NULL: the user's */
    bool (*progress)(void *arg, size_t done, size_t total, size_t passed); /* false cancels; NULL: none */
    void *arg;
} qn_eval_options;
QN_API void qn_eval_options_init(qn_eval_options *o);
/* Ask every problem, run each answer in a sandbox (bubblewrap: without it nothing is run), and report as JSON: pass@1 with a 95 %
 * interval, pass@k without bias, how the others failed. Samples lie in the ledger; the same call takes an ended run up again.
 * Errors: QN_EUNSUPPORTED (no sandbox, no interpreter), QN_EFORMAT (suite), QN_EIO, QN_ECANCELLED, and those of the model. */
QN_API qn_status qn_eval(const qn_eval_options *o, char **report_json, qn_err *err);

/* ---- probing --------------------------------------------------------------------------------------------------- */

/* Whom a probe asks, and where what it saw is kept. */
typedef struct qn_probe_options {
    const char *model;       /* a GGUF, NULL: the embedded model; with an endpoint, the name that it knows */
    const char *endpoint;    /* NULL: in this process; else an OpenAI-compatible server's base address, ".../v1" */
    const char *key;         /* what the endpoint wants as bearer, or NULL */
    qn_engine_options engine;
    const char *ledger;      /* its path; NULL: the user's */
    bool fresh;              /* do not take up a run that was ended */
    uint64_t seed;           /* everything random in a probe follows from it */
    bool (*progress)(void *arg, const char *doing, size_t done, size_t total); /* false cancels; NULL: none */
    void *arg;
} qn_probe_options;
QN_API void qn_probe_options_init(qn_probe_options *o);

typedef enum qn_page_form {
    QN_PAGE_HTML,     /* one file with styles and drawings inside, nothing fetched, no script */
    QN_PAGE_MARKDOWN,
    QN_PAGE_TEXT      /* for a terminal; shorter: transcripts are left out */
} qn_page_form;
/* A report that one of the functions here gave (its "kind" says which), as a page to read. *n (may be NULL) excludes the end.
 * Errors: QN_EFORMAT (no JSON), QN_EUNSUPPORTED (a kind without a page), QN_ELIMIT, QN_EINVAL (form). */
QN_API qn_status qn_report_page(const char *report_json, qn_page_form form, char **page, size_t *n, qn_err *err);

typedef struct qn_inspect_options {
    qn_probe_options probe;  /* engine.n_ctx 0: at most 4096; max_seqs is 2 at least */
    int32_t n_prompt;        /* tokens of made-up prompts; 0: 512, or half of the context */
    int32_t n_generate;      /* 0: 128 */
    int32_t runs;            /* warm ones; 0: 3 */
    int32_t n_depths;        /* speeds from an empty to a full context; 0: 5; -1: none */
    bool keep_cached;        /* else the cold run reads the file from the disk again */
} qn_inspect_options;
QN_API void qn_inspect_options_init(qn_inspect_options *o);
/* Where a model's time and memory go: the phases of a cold and of a warm run, every token's time with what made some of them long,
 * memory by what it is, speed over the context, what was achieved of the machine's limits, energy. Of a server, what can be seen from
 * outside; the report says what cannot. Every run lies in the ledger. Errors: QN_ECONTEXT with both numbers, QN_EUNSUPPORTED (an
 * encoder), QN_EINVAL, QN_ECANCELLED, and those of opening a model or of a server. */
QN_API qn_status qn_inspect(const qn_inspect_options *o, char **report_json, qn_err *err);

typedef struct qn_compare_options {
    const char *const *subjects; /* each "embedded", the path of a GGUF, or URL#MODEL for an OpenAI-compatible server; 2 to 16 */
    size_t n_subjects;
    const char *suite;       /* a Markdown file of questions and checks; NULL: none, then `quants` */
    bool quants;             /* the subjects are quantisations of one model, the first is the reference: sizes, speeds, divergence */
    const char *text;        /* for `quants`: a file to read; NULL: a small one of ours */
    int32_t text_tokens;     /* of it; 0: 1024 */
    int32_t runs;            /* of each question; 0: 3. The first is as it is written, the others say the same in other words */
    bool verbatim;           /* all are as it is written */
    int32_t max_tokens;      /* of an answer; 0: what the suite says, else 512 */
    int64_t rescore;         /* judge the answers of the comparison to which this run of the ledger belongs again, with what `suite` (NULL:
                              * the file that it was) checks now, and ask nothing: no subjects; 0: no */
    qn_probe_options probe;  /* of all: engine, key, ledger, seed; model and endpoint are not used */
} qn_compare_options;
QN_API void qn_compare_options_init(qn_compare_options *o);
/* Ask everybody the same, one after another, at temperature 0, and judge the answers: what was right every time, by luck or never,
 * and whether a difference between two is more than chance. Every answer lies in the ledger; the same call takes an ended run up again.
 * Errors: QN_EFORMAT (suite: where names file and line; or an example answer in it that its check misjudges), QN_EUNSUPPORTED (no
 * sandbox), QN_EINVAL (quantisations of different models), QN_EIO, QN_ECANCELLED, and those of the models. */
QN_API qn_status qn_compare(const qn_compare_options *o, char **report_json, qn_err *err);

/* A model as an agent: does it finish tasks that need tools, how surely, and if not, why? */
typedef struct qn_agent_options {
    qn_probe_options probe;
    uint32_t tiers;         /* bits: 1 easy, 2 medium, 4 hard, 8 extreme; 0: all */
    uint32_t paths;         /* bits: 1 native calls of tools, 2 JSON that the prompt asks for; 0: both */
    const char *families;   /* names of kinds of tasks, separated by commas; NULL: all */
    double repeats;         /* times the 5, 8, 16 and 24 instances of each kind that the tiers have; 0: 1 */
    int32_t limit;          /* samples of each tier and path, at most; 0: all */
    bool all_tiers;         /* go on behind a tier that failed */
    bool unconstrained;     /* native calls are not held to their schemas */
    bool constrain_json;    /* JSON calls are held to their form */
    float temperature, top_p; /* 0: greedy (instances differ, so no prompt is asked twice); top_p 0 counts as 1 */
    int32_t max_tokens;     /* of an answer; 0: 1024 */
    double deadline_s;      /* of an answer; 0: 600 */
    int64_t rescore;        /* judge the transcripts of this run of the ledger again and ask nothing; 0: no */
} qn_agent_options;
QN_API void qn_agent_options_init(qn_agent_options *o);
/* Tasks in simulated worlds whose final state is judged, in four tiers, on both paths. Report as JSON: for each path and tier pass@1 and
 * pass^k with 95 % intervals, steps, tokens, and the reasons of failures; a verdict for each profile and what would change it. Every
 * transcript lies in the ledger; the same call takes an ended run up again. Errors: QN_EINVAL, QN_EIO, QN_ECANCELLED, and those of the model. */
QN_API qn_status qn_agent_report(const qn_agent_options *o, char **report_json, qn_err *err);

/* ---- the ledger ------------------------------------------------------------------------------------------------ */

/* What probes kept. path NULL: $XDG_DATA_HOME/quern/ledger.db. Errors of all: QN_EIO, QN_EFORMAT (no ledger), QN_EINVAL (no such
 * run), QN_ENOMEM. */
typedef struct qn_ledger_run {
    int64_t id;
    const char *kind, *model, *started, *finished; /* finished: "" of one that was not; valid during the call */
    uint64_t samples, passed;
} qn_ledger_run;
/* Latest first. */
QN_API qn_status qn_ledger_list(const char *path, void (*see)(void *arg, const qn_ledger_run *r), void *arg, qn_err *err);
/* The report of a run, as its probe gave it. QN_EINVAL also of a run that was not finished. */
QN_API qn_status qn_ledger_report(const char *path, int64_t run, char **report_json, qn_err *err);
/* Its samples, as they lie there: each is told as a JSON object with "item", "seq", "outcome", "passed", "at" and "data". */
QN_API qn_status qn_ledger_samples(const char *path, int64_t run, bool (*see)(void *arg, const char *sample_json), void *arg, qn_err *err);
QN_API qn_status qn_ledger_remove(const char *path, int64_t run, qn_err *err);

/* The context cliff: how long may a text be until a model no longer finds in it what it is asked for? */
typedef struct qn_audit_options {
    qn_probe_options probe;
    int32_t min_length, max_length; /* tokens of a prompt; 0: 256, and what the context holds (of a server: 8192) */
    int32_t depths;      /* places in a text at which what is asked for may stand; 0: 5, at most 9 */
    int32_t samples;     /* texts for each kind at a length before it is decided (four times as many where it is close); 0: 2 */
    const char *kinds;   /* "plain,needle,several,last-write,variable,caller,tool-result,instruction" or some of them; NULL: all */
    const char *fillers; /* "python,c,go,javascript,rust,java,log,prose" or some; NULL: all */
    int32_t max_tokens;  /* of an answer; 0: 128 */
    int64_t rescore;     /* judge the answers of this run of the ledger again and ask nothing; 0: no */
} qn_audit_options;
QN_API void qn_audit_options_init(qn_audit_options *o);
/* Questions whose answer stands in the text, over texts of more and more tokens, then in between; without the text (what guessing gets)
 * and with what is asked for left out (then "not there" is right). Report as JSON: for each kind a cliff with a 95 % interval, or
 * that there is none up to a length, or that the shortest was too much. Samples lie in the ledger; the same call takes an ended run up
 * again. Errors: QN_EINVAL, QN_ECONTEXT, QN_EIO, QN_ECANCELLED, and those of the model. */
QN_API qn_status qn_audit(const qn_audit_options *o, char **report_json, qn_err *err);

/* ---- converting ------------------------------------------------------------------------------------------------ */

typedef enum qn_convert_type {
    QN_CONVERT_AUTO, /* matrices keep the checkpoint's type (FP8 becomes BF16, MXFP4 stays); vectors and routers are F32 */
    QN_CONVERT_F32, QN_CONVERT_F16, QN_CONVERT_BF16, QN_CONVERT_Q8_0
} qn_convert_type;

typedef struct qn_convert_options {
    const char *in;  /* a Hugging Face checkpoint's folder, or one of its .safetensors files (config.json lies beside it) */
    const char *out; /* the GGUF file; appears whole or not at all */
    qn_convert_type type;
    const char *pre; /* tokenizer.ggml.pre, when the tokenizer's pattern is unknown or to be overridden; NULL: found out */
    const char *name; /* general.name; NULL: the folder's */
    /* Called some times a second, with source bytes; false cancels. May be NULL. `tensor` is the one being written. */
    bool (*progress)(void *arg, uint64_t done, uint64_t total, const char *tensor);
    void *arg;
} qn_convert_options;

typedef struct qn_convert_result {
    char architecture[32]; /* general.architecture */
    char pre[32];          /* tokenizer.ggml.pre; "" when none */
    size_t n_tensors;      /* written */
    size_t n_left_out;     /* of the checkpoint and not written: other modalities, further-token heads, activation scales */
    char left_out[96];     /* the first of them, or "" */
    size_t n_tokens_left_out; /* added tokens beyond the rows of the embedding */
    uint64_t bytes;        /* of tensors written */
} qn_convert_result;

QN_API void qn_convert_options_init(qn_convert_options *o);
/* Streams tensor by tensor in bounded memory. Errors: QN_EIO; QN_EFORMAT (a key or tensor is missing, malformed, or
 * contradicts config.json; named); QN_EUNSUPPORTED (architecture, dtype, pre-tokenizer, tensors without a place; named);
 * QN_EINVAL; QN_ECANCELLED; QN_ENOMEM. `result` may be NULL. */
QN_API qn_status qn_convert(const qn_convert_options *o, qn_convert_result *result, qn_err *err);
/* The i-th architecture (as config.json names it) that can be converted; NULL past the end. */
QN_API const char *qn_convert_architecture(size_t i);

#ifdef __cplusplus
}
#endif
#endif
