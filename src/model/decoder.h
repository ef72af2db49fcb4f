/* decoder.h - a decoder-only model: its numbers and weights (qn_decoder), and what runs it (qn_context).
 *
 * qn_decoder: the recipe of an architecture filled in from a GGUF file, every weight bound by name once and checked against
 * its shape. Read-only, shareable; points into the file's map.
 * qn_context: a device (CPU level and threads) with scratch memory for steps of up to max_rows tokens. One thread at a time.
 *
 * The logits of a token depend on its prefix, the file, the level, the KV type and n_ctx (some rope variants choose their
 * factors by it), and on nothing else: not on the step's other rows, the threads or the chunks (DESIGN.md section 5).
 */
#ifndef QN_MODEL_DECODER_H
#define QN_MODEL_DECODER_H

#include "base/cpu.h"
#include "base/topology.h"
#include "formats/gguf.h"
#include "kernels/kernels.h"

typedef struct qn_decoder qn_decoder;

/* Errors: QN_EUNSUPPORTED (architecture or feature, named), QN_EFORMAT (a missing key; a tensor that is missing or whose
 * shape does not match: name and both shapes), QN_ENOMEM. The GGUF must outlive the decoder. */
qn_status qn__decoder_open(const qn_gguf *g, qn_decoder **out, qn_err *err);
void qn__decoder_close(qn_decoder *d);

typedef struct qn_decoder_info {
    const char *architecture; /* static */
    int n_layers, n_embd, n_heads, n_kv_heads, head_k, head_v, n_ff; /* of layer 0 where they vary */
    int32_t n_vocab, n_ctx_train;
    int32_t window;           /* sliding window of the windowed layers, 0: none */
    uint64_t n_params;
    bool embedding_only;      /* an encoder: hidden states, no logits; a sequence must come in one step */
    int pooling;              /* what the file asks for: 0 none, 1 mean, 2 first token, 3 last, 4 rank; -1: says nothing */
    int n_experts, n_used;    /* 0: dense */
    int n_labels;             /* of a reranker's head, 0: none */
} qn_decoder_info;
const qn_decoder_info *qn__decoder_info(const qn_decoder *d);

/* The same decoder with its matrices packed for a level (kernels/pack.h): the same bits, sooner. They lie in memory of their
 * own, as large as they are in the file, filled by n_threads threads; their part of the file's map leaves memory meanwhile,
 * so that one copy is resident. *out is d itself where the level packs nothing or memory has no room for it. One form of a
 * kind exists at a time and is shared; from any thread. Give it back before d is closed. Errors: QN_ENOMEM, QN_EIO. */
qn_status qn__decoder_pack(const qn_decoder *d, qn_cpu level, int n_threads, const qn_decoder **out, qn_err *err);
void qn__decoder_release(const qn_decoder *d, const qn_decoder *packed);
size_t qn__decoder_packed_bytes(const qn_decoder *packed); /* 0 when nothing is packed */

/* Bytes of one page of KV (all layers, 64 tokens), a multiple of 64. */
size_t qn__decoder_page_bytes(const qn_decoder *d, qn_kv kv);

/* Contexts of different sizes compute the same only when this is the same: which of its rope factors a model uses. */
uint32_t qn__decoder_variant(const qn_decoder *d, int32_t n_ctx);

/* Bytes of a sequence's recurrent state, 0 for models that have none. Unlike pages it changes with every token, so a
 * sequence can be resumed only where a copy of it was kept. */
size_t qn__decoder_state_bytes(const qn_decoder *d);

/* The least that a step must do: see qn_engine_get_work. */
void qn__decoder_work(const qn_decoder *d, qn_kv kv, int n_seqs, int n_tokens, int32_t depth, qn_work *out);

typedef struct qn_context qn_context;
typedef struct qn_context_options {
    qn_cpu level;
    int n_threads;    /* >= 1 */
    const qn_cpus *cpus; /* where they are; NULL: anywhere */
    int max_rows;     /* tokens per step */
    int max_out;      /* rows of logits per step */
    int32_t n_ctx;    /* tokens per sequence */
    qn_kv kv;
} qn_context_options;
/* The decoder must outlive the context. Errors: QN_EINVAL, QN_ENOMEM, QN_EIO (threads). */
qn_status qn__context_open(const qn_decoder *d, const qn_context_options *o, qn_context **out, qn_err *err);
void qn__context_close(qn_context *c);
/* Bytes of scratch memory held. */
size_t qn__context_bytes(const qn_context *c);

/* Somebody (device.h) sees what every matrix is multiplied with, until NULL is given. */
struct qn_observer;
void qn__context_observe(qn_context *c, const struct qn_observer *o);

/* One token of a step. */
typedef struct qn_row {
    int32_t token; /* in [0, n_vocab) */
    int32_t pos;   /* in [0, n_ctx) */
    int32_t seq;   /* index into qn_step.pages */
    int32_t out;   /* row of qn_step.logits, or -1 */
} qn_row;

/* A ragged batch: rows of one sequence lie together, positions ascending by one; all earlier positions of that sequence
 * have been computed into its pages. The step writes K and V of its rows. pages[seq][i] holds positions 64i .. 64i+63. */
typedef struct qn_step {
    const qn_row *rows;
    int n_rows;
    unsigned char *const *const *pages; /* [n_seqs][pages of that sequence] */
    int n_seqs;
    float *const *states; /* [n_seqs], each qn__decoder_state_bytes, updated; a row of position 0 starts it anew */
    /* Rows that may turn out not to be wanted: of sequence i only the first kept[i] rows advance states[i]; beyond[i] becomes what it
     * would be after all of them. NULL, for one or for all: there are none such. */
    float *const *beyond;
    const int *kept;
    float *logits;        /* [rows with out >= 0][n_vocab], or NULL */
    float *hidden;        /* [rows with out >= 0][n_embd]: the normed last hidden state, or NULL */
    float *scores;        /* [rows with out >= 0][n_labels]: what the head makes of it, or NULL */
    int second;           /* of a single sequence in one step: where its second segment begins; 0: it is all the first */
    /* Asked between layers, when not NULL: true abandons the step (QN_ECANCELLED; its rows count as not computed). Called
     * on the caller's thread. */
    bool (*cancelled)(void *arg);
    void *cancel_arg;
} qn_step;

/* Errors: QN_ECANCELLED. Everything else that could be wrong with a step is a programmer's mistake (asserted). */
qn_status qn__context_step(qn_context *c, const qn_step *step, qn_err *err);

#endif
