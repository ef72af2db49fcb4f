/* pages.h - the pages of KV: who holds which 64 tokens of which prefix.
 *
 * A page is a pure function of the tokens from the start of its sequence to its own last one (DESIGN.md sections 1 and 6), so
 * a page that one sequence computed serves every other one with the same tokens.
 *
 *   running A: tokens t0 .. t150    pages [p0][p1][p2 partial]        references: p0 2, p1 2, p2 1, p3 1
 *   kept    B: tokens t0 .. t127 u  pages [p0][p1][p3 partial]
 *
 * Whole pages are shared by reference count and never written again; a partial last page is copied, for its owner goes on
 * writing it. A finished sequence is kept until its pages are needed: the one that was unused for longest gives up its
 * last page first.
 *
 * A recurrent model's sequence has a state besides its pages (snapshots.h). It can be taken over only where there is a
 * snapshot of that, or where a running one stands. */
#ifndef QN_ENGINE_PAGES_H
#define QN_ENGINE_PAGES_H

#include "engine/snapshots.h"

typedef struct qn_pages qn_pages;

typedef struct qn_seq {
    int32_t *tokens;
    size_t n_tokens, cap_tokens;
    size_t n_done;          /* positions whose K and V lie in the pages */
    unsigned char **pages;  /* as qn_step.pages wants them */
    int32_t *ids;           /* the same, as the pool's page numbers */
    size_t n_pages, cap_pages, cap_ids;
    float *state;           /* of a recurrent model, after n_done tokens; NULL while there is none, and of the kept */
    qn_marks marks;         /* where it can be resumed from */
    struct qn_seq *newer, *older; /* among the kept */
    bool kept;
} qn_seq;

/* At most max_pages pages of page_bytes (a multiple of 64); memory is taken as it is needed and given back at close. */
qn_status qn__pages_open(size_t page_bytes, int32_t max_pages, qn_pages **out, qn_err *err);
/* Before the first sequence: the model is recurrent, with states of that size; at most max_snapshots copies are kept. */
void qn__pages_recurrent(qn_pages *p, size_t state_bytes, size_t max_snapshots);
/* Frees the kept sequences too; the others must be closed before. */
void qn__pages_close(qn_pages *p);
/* Bytes of the pages made so far, and of the snapshots. */
uint64_t qn__pages_bytes(const qn_pages *p);
/* Pages that no sequence refers to, those not made yet included. */
int32_t qn__pages_free(const qn_pages *p);
size_t qn__pages_n_kept(const qn_pages *p);

/* A sequence of tokens[0..n), copied; nothing computed. */
qn_status qn__seq_open(const int32_t *tokens, size_t n, qn_seq **out, qn_err *err);
/* Drop its pages' references and free it. NULL is allowed. */
void qn__seq_close(qn_pages *p, qn_seq *s);
qn_status qn__seq_push(qn_seq *s, int32_t token, qn_err *err);
/* Pages for positions [0, n), and a state. Kept sequences give way. Errors: QN_ENOMEM. What was reserved before stays. */
qn_status qn__seq_reserve(qn_pages *p, qn_seq *s, size_t n, qn_err *err);
/* How many first tokens of s[0..limit) are those of `of` [0..of_n). */
size_t qn__seq_common(const qn_seq *s, size_t limit, const qn_seq *of, size_t of_n);
/* How many of them s could take over from `of`. */
size_t qn__seq_usable(const qn_pages *p, const qn_seq *s, size_t limit, const qn_seq *of);
/* Take over the first n computed positions of `from` (n > s->n_done, as qn__seq_usable found). Where memory for the copy of
 * the partial page is lacking, only whole pages are taken, or nothing of a recurrent model. */
qn_status qn__seq_adopt(qn_pages *p, qn_seq *s, qn_seq *from, size_t n, qn_err *err);
/* The kept sequence of which s[0..limit) can take over most, *n tokens; NULL when that is 0. */
qn_seq *qn__pages_find(qn_pages *p, const qn_seq *s, size_t limit, size_t *n);
/* The longest common prefix with a kept sequence, whether or not it can be taken over. */
size_t qn__pages_common(const qn_pages *p, const qn_seq *s, size_t limit);
/* Keep a snapshot of a recurrent model's state here, instead of the one at `instead` (0: of none). */
void qn__seq_mark(qn_pages *p, qn_seq *s, size_t instead);
/* Hand a finished sequence over; it is the pool's from now on (and gone if another kept one has all of it). */
void qn__pages_keep(qn_pages *p, qn_seq *s);

#endif
