/* tokenizer.h - text <-> token ids, exactly as the model was trained to see them.
 *
 * Kinds (tokenizer.ggml.model): gpt2 (byte-level BPE; pre-tokenizer patterns by tokenizer.ggml.pre), llama (SentencePiece
 * BPE by score, byte fallback), t5 (SentencePiece unigram), bert (WordPiece). Built once from a GGUF's metadata; read-only
 * afterwards: every function may be called from several threads at once.
 *
 * Cost: linear (n log n inside one pre-token) in the input, whatever the input. */
#ifndef QN_TEXT_TOKENIZER_H
#define QN_TEXT_TOKENIZER_H

#include "formats/gguf.h"

typedef struct qn_tokenizer qn_tokenizer;

typedef enum qn_token_attr { /* tokenizer.ggml.token_type */
    QN_TOKEN_NORMAL = 1, QN_TOKEN_UNKNOWN = 2, QN_TOKEN_CONTROL = 3, QN_TOKEN_USER = 4, QN_TOKEN_UNUSED = 5, QN_TOKEN_BYTE = 6
} qn_token_attr;

/* Errors: QN_EFORMAT (missing or inconsistent metadata: ids outside, merges that name unknown tokens...), QN_EUNSUPPORTED
 * (an unknown model or pre-tokenizer, named), QN_ENOMEM. The GGUF must outlive the tokenizer (texts are borrowed). */
qn_status qn__tokenizer_open(const qn_gguf *g, qn_tokenizer **out, qn_err *err);
void qn__tokenizer_close(qn_tokenizer *t);

typedef struct qn_tokenizer_info {
    const char *model; /* "gpt2", "llama", "t5", "bert" */
    const char *pre;   /* "" when none */
    int32_t n_vocab;
    int32_t bos, eos, eot, eom, unk, sep, pad, mask; /* -1 when absent */
    int32_t fim_pre, fim_suf, fim_mid, fim_pad, fim_rep, fim_sep;
    bool add_bos, add_eos, add_space_prefix;
} qn_tokenizer_info;
const qn_tokenizer_info *qn__tokenizer_info(const qn_tokenizer *t);

/* The id's text as stored (byte-level vocabularies: their mapped form). id must be in [0, n_vocab). */
qn_slice qn__token_text(const qn_tokenizer *t, int32_t id);
qn_token_attr qn__token_attr(const qn_tokenizer *t, int32_t id);
/* The id whose stored text is exactly this, -1 when none. */
int32_t qn__token_find(const qn_tokenizer *t, const char *text, size_t n);
/* Does this token end a turn: eos, eot, eom, and the control tokens that families use so (<|im_end|>, <end_of_turn>, ...)? */
bool qn__token_ends(const qn_tokenizer *t, int32_t id);

/* One thing made of the vocabulary and kept with it (the byte tree of grammars): made by the first who asks, freed with the
 * tokenizer. NULL when out of memory. Always the same two functions. */
void *qn__tokenizer_keep(const qn_tokenizer *t, void *(*make)(const qn_tokenizer *t), void (*drop)(void *));

/* Any bytes. bos: see qn_tokenize. *ids from qn__alloc. */
qn_status qn__tokenize(const qn_tokenizer *t, const char *text, size_t n, bool special, qn_add_bos bos, int32_t **ids,
                       size_t *n_ids, qn_err *err);

/* ---- back to text ---- */
/* Streaming detokenizer: never hands out a part of a UTF-8 character; malformed bytes come through as they are once it is
 * certain that they are malformed. Holds at most 3 bytes back. */
typedef struct qn_detok {
    const qn_tokenizer *t;
    bool special;      /* emit control tokens' text */
    bool at_start;     /* SentencePiece: the first piece drops the space that add_space_prefix put there */
    unsigned char held[4];
    uint8_t n_held;
} qn_detok;
void qn__detok_init(qn_detok *d, const qn_tokenizer *t, bool special);
/* Append id's bytes (whole characters) to out. ids outside the vocabulary append nothing. */
void qn__detok_put(qn_detok *d, int32_t id, qn_buf *out);
/* The end: append what is held, as it is. */
void qn__detok_flush(qn_detok *d, qn_buf *out);

#endif
