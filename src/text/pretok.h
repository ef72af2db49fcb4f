/* pretok.h - cutting text into the pieces inside which byte-level BPE merges: the rule sets that tokenizer.ggml.pre
 * names.
 *
 * A rule set is one to six stages; a stage is a pattern. Each stage cuts every piece that the one before left: what the
 * pattern matches becomes a piece, what lies between two matches too. Patterns run through PCRE2's JIT, compiled once.
 */
#ifndef QN_TEXT_PRETOK_H
#define QN_TEXT_PRETOK_H

#include "base/str.h"

typedef struct qn_pretok qn_pretok;

typedef struct qn_pretok_info {
    bool whole_words; /* a piece that is in the vocabulary is that token: no merging */
    bool add_bos;     /* what the family does when the file does not say */
    bool add_sep;     /* likewise: a separator at the end */
    bool raw_utf8;    /* the vocabulary is over characters with U+2581 for the space, not over mapped bytes */
} qn_pretok_info;

/* Errors: QN_EUNSUPPORTED naming the rule set when it is unknown; QN_ENOMEM. `name` empty: "default". */
qn_status qn__pretok_open(qn_slice name, qn_pretok **out, qn_err *err);
void qn__pretok_close(qn_pretok *p);
const qn_pretok_info *qn__pretok_info(const qn_pretok *p);

/* One call's match memory; zero-initialise. */
typedef struct qn_pretok_run {
    void *match, *context, *stack;
} qn_pretok_run;
void qn__pretok_run_free(qn_pretok_run *r);

/* Hands the pieces [at, at + n) of text to `piece`, ascending and without a gap; stops when it returns false (then
 * QN_ENOMEM). The text must be valid UTF-8. Errors: QN_ENOMEM; QN_ELIMIT when the pattern machine gives up. */
qn_status qn__pretok_split(const qn_pretok *p, qn_pretok_run *r, const char *text, size_t n,
                           bool (*piece)(void *arg, size_t at, size_t n), void *arg, qn_err *err);

#endif
