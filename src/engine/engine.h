/* engine.h - an engine and its requests. Private to the engine floor.
 *
 *   qn_request_open -> QUEUED -> READING (prefill) -> WRITING (decode) -> ENDED
 *                       |  ^        |                   |               ^
 *                       |  +--------+- no pages left ---+               |
 *                       +-----------+--- cancel, error -+---------------+
 *
 * One step (qn__engine_step): every WRITING request gives a row and rows for the tokens that were drafted for it; READING ones
 * share what is left of n_chunk rows, less if a step of so many would keep a stream waiting. What a step brought is left with
 * each request until its owner asks (qn_request_next).
 *
 * Who waits, who runs, who gives way: admit.c. Which rows, and what comes of them: step.c. */
#ifndef QN_ENGINE_ENGINE_H
#define QN_ENGINE_ENGINE_H

#include <stdatomic.h>

#include "engine/constraint.h"
#include "engine/cost.h"
#include "engine/draft.h"
#include "engine/model.h"
#include "engine/pages.h"
#include "engine/sampler.h"
#include "engine/unloop.h"

enum { QN_WANTS = 4 };
typedef enum qn_phase { QN_QUEUED, QN_READING, QN_WRITING, QN_ENDED } qn_phase;

/* A stop string as an automaton (Knuth, Morris, Pratt): `at` bytes of it are matched by the end of the text so far, so each
 * byte of output costs amortised O(1) and `at` is exactly what must be held back. */
typedef struct qn_stop {
    char *text;
    uint32_t *fail; /* fail[i]: longest proper prefix of text that ends text[0..i] */
    size_t n, at;
} qn_stop;

/* Clients get equal shares: whoever has been served least comes first. Shared by the requests of one client. */
typedef struct qn_client {
    uint64_t id;
    int refs, n_running;
    double served; /* rows computed; a client that was away begins where the least served one is */
} qn_client;

struct qn_request {
    qn_engine *e;
    qn_request *next, *prev; /* of e, in order of arrival */
    qn_phase phase;
    _Atomic bool cancelled;
    bool joined;             /* is among e's */
    qn_client *client;       /* until it has joined its own, which is given up for that of others of the same id */
    uint64_t session;
    double deadline;         /* of qn__now(); INFINITY: none */
    size_t n_prompt;
    int32_t max_tokens;
    bool show_special, ignore_eos;
    qn_seq *seq;         /* NULL once ended: then the pool has it */
    qn_sampler *sampler;
    qn_constraint *constraint; /* NULL: any output */
    qn_unloop *unloop;         /* NULL: cycles are let be */
    qn_stop *stops;
    size_t n_stops;
    qn_detok detok;

    /* This step. */
    int row, n_rows, out; /* rows of the step, row of logits of the first that has any, or -1 */
    bool behind;          /* waits for another request that is reading the same prefix */
    bool again;           /* has run before and had to give way: reads its prompt and output anew */
    int32_t draft;        /* as in the options */
    qn_drafter drafter;
    int32_t guess[QN_DRAFT_MOST]; /* what the rows behind the first hold */
    int n_guess;
    qn_seq *small;        /* of the draft model's engine: the same tokens; NULL: none yet */
    float small_right;    /* how often its guess is right */
    bool by_small;        /* it made this step's guess */
    double price;         /* of a row of that guess, in tokens */
    const int32_t *replay; /* [max_tokens]: what is said instead of what the sampler would choose; NULL: nothing. For measuring */

    /* Of a recurrent model: the page borders of the prompt at which a snapshot is to be kept, and where the one stands that
     * moves along with the output. */
    size_t wants[QN_WANTS];
    int n_wants;
    size_t moving;

    /* What its owner has not seen yet. */
    bool news_read;      /* PREFILL, with: */
    size_t n_read;
    qn_buf text;         /* text.data[0..text.n - held) may go out */
    size_t held;
    int32_t *ids;
    size_t n_ids, cap_ids;
    qn_prob *probs;      /* [n_ids][1 + n_top], when they are wanted: then also */
    float *raw;          /* [n_vocab]: a row of logits as the model gave it */
    int n_top;
    size_t cap_probs;
    /* What the last event lent out. */
    qn_buf lent;
    int32_t *lent_ids;
    size_t cap_lent_ids;
    qn_prob *lent_probs;
    size_t cap_lent_probs;

    qn_end_reason reason;
    qn_err failed;       /* code 0: did not */
    qn_timings timings;
};

typedef struct qn_step_stats {
    int prefill, decode, drafted; /* rows; drafted: of those of decode */
    double depth;                 /* mean position of the prefill's rows */
    double seconds;
} qn_step_stats;

/* At most so many rows of drafts in a step: each has its row of logits. */
enum { QN_DRAFT_ROWS = 24 };

struct qn_engine {
    const qn_model *model;
    const qn_decoder *decoder; /* the model's, or its packed form */
    qn_context *context;
    qn_pages *pages;
    qn_engine_options o; /* with every default filled in */
    qn_cpu level;
    qn_kv kv;
    qn_cpus cpus; /* of o.cpus; none: anywhere */
    size_t page_bytes, state_bytes; /* state_bytes: 0 unless the model is recurrent */
    int32_t max_pages;
    int32_t n_vocab;
    qn_request *first, *last;
    int n_running, max_rows; /* max_rows: of a step of the context */
    double max_gap;          /* seconds that a step may take while somebody is WRITING; INFINITY: any */
    qn_cost cost;
    qn_engine *small;        /* of the draft model, or NULL */
    double small_s;          /* seconds for a token that it drafts; 0: not known yet */
    qn_step_stats last_step;
    /* Room for a step. */
    qn_row *rows;                       /* [max_rows] */
    unsigned char *const **tables;      /* [max_seqs] */
    float **states, **beyond;           /* [max_seqs] */
    int *kept;                          /* [max_seqs] */
    float *logits;                      /* [max_seqs + QN_DRAFT_ROWS][n_vocab] */
};

/* ---- who waits, who runs, who gives way (admit.c) ---- */

/* End who was cancelled or is late; let in whom there is room for. */
void qn__engine_admit(qn_engine *e, double now);
/* Pages for the first n positions of r. Younger ones without rows in this step give way, in the end r itself: false when it
 * did, or failed. */
bool qn__engine_reserve(qn_engine *e, qn_request *r, size_t n);
/* The youngest of those that run waits again and keeps what is computed; false when at most `least` run. */
bool qn__engine_yield(qn_engine *e, int least);

/* Keep a snapshot when r's prompt has been read up to the page border at or before n. False when it cannot be remembered. */
bool qn__request_want(qn_request *r, size_t n);

/* QN_EUNSUPPORTED for a model that has no logits. */
qn_status qn__engine_generates(const qn_engine *e, qn_err *err);
/* QN_EINVAL when a token is not in the vocabulary. */
qn_status qn__engine_check_tokens(const qn_engine *e, const int32_t *tokens, size_t n, qn_err *err);
/* Room for n rows in a step, beyond the n_chunk that there is always room for. */
qn_status qn__engine_room(qn_engine *e, size_t n, qn_err *err);
/* Compute the next n positions of s, a sequence of no request, in one step. Of the last n_out of them the logits or the
 * hidden states are written; both may be NULL. */
qn_status qn__engine_advance(qn_engine *e, qn_seq *s, size_t n, size_t n_out, float *logits, float *hidden, qn_err *err);
/* A model whose numbers overflowed or were damaged: said, never sampled from. */
qn_status qn__engine_no_numbers(const char *where, qn_err *err);
/* Advance every open request. */
qn_status qn__engine_step(qn_engine *e, qn_err *err);
/* qn_request_open in two halves: the first touches nothing of the engine that changes, so any thread may run it. */
qn_status qn__request_create(qn_engine *e, const qn_request_options *o, qn_request **out, qn_err *err);
void qn__request_join(qn_request *r);
/* What r has to say; *any false: nothing before another step. */
qn_status qn__request_news(qn_request *r, qn_event *ev, bool *any, qn_err *err);
/* A token was chosen for r: text, stop strings, limits. */
void qn__request_emit(qn_request *r, int32_t token);
/* r is over: its pages go to the pool. */
void qn__request_end(qn_request *r, qn_end_reason reason);
void qn__request_fail(qn_request *r, const qn_err *why);

#endif
