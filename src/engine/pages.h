/* pages.h - the pages of KV and the sequences that are computed into them.
 *
 * A page is a pure function of the tokens from the start of its sequence to its own last one (DESIGN.md sections 1 and 6), so
 * a page that one sequence computed serves every other one with the same tokens. What is whole goes into the prefix tree
 * (tree.h) as soon as it is computed, and whoever has the same tokens uses it; nobody writes it again. Behind that a sequence
 * has pages of its own:
 *
 *   tree        [p0] - [p1] - [p7]       running A: tokens t0 .. t150    pages p0 p1 | p2      2 shared
 *                    `- [p4 partial]     running B: tokens t0 .. t127 u  pages p0 p1 | p3      2 shared
 *
 * A sequence that ends leaves its partial last page to the tree, too; it is copied by whom it serves. What no running sequence
 * stands on is kept until the space is needed: leaf by leaf, the one that was unused for longest first.
 *
 * A recurrent model's sequence has a state besides its pages (snapshots.h). It can be taken over only where there is a
 * snapshot of that, or where a running one stands. */
#ifndef QN_ENGINE_PAGES_H
#define QN_ENGINE_PAGES_H

#include "engine/disk.h"

typedef struct qn_pages qn_pages;

typedef struct qn_seq {
    int32_t *tokens;
    size_t n_tokens, cap_tokens;
    size_t n_done;          /* positions whose K and V lie in the pages: moved by qn__seq_done */
    unsigned char **pages;  /* as qn_step.pages wants them */
    int32_t *ids;           /* the same, as the pool's page numbers */
    size_t n_pages, cap_pages, cap_ids;
    size_t n_shared;        /* of them the tree's: whole ones, from the first */
    qn_tree_node *node;          /* the last of those; NULL: none */
    float *state;           /* of a recurrent model, after n_done tokens; NULL while there is none */
    float *spare;           /* room for another: what it would be after drafted tokens; NULL until somebody drafts */
    uint64_t session;       /* whose pages it makes; 0: nobody's */
    qn_tree_node *held;          /* what was read from disk for it stays until it is taken over; NULL: nothing */
} qn_seq;

/* At most max_pages pages of page_bytes (a multiple of 64). Beyond `budget` of them there are only such as running sequences
 * need: then what is kept gives way before another page is made. Memory is taken as it is needed and given back at close. */
qn_status qn__pages_open(size_t page_bytes, int32_t max_pages, int32_t budget, qn_pages **out, qn_err *err);
/* Before the first sequence: the model is recurrent, with states of that size; at most max_snapshots copies are kept. */
void qn__pages_recurrent(qn_pages *p, size_t state_bytes, size_t max_snapshots);
/* Sequences must be closed or kept before. */
void qn__pages_close(qn_pages *p);
/* Bytes of the pages made so far, and of the snapshots. */
uint64_t qn__pages_bytes(const qn_pages *p);
/* Pages that nobody has, those not made yet included. */
int32_t qn__pages_free(const qn_pages *p);
qn_tree *qn__pages_tree(qn_pages *p);

/* A sequence of tokens[0..n), copied; nothing computed. */
qn_status qn__seq_open(const int32_t *tokens, size_t n, qn_seq **out, qn_err *err);
/* Drop its own pages and free it; what the tree has stays there. NULL is allowed. */
void qn__seq_close(qn_pages *p, qn_seq *s);
qn_status qn__seq_push(qn_seq *s, int32_t token, qn_err *err);
/* Pages for positions [0, n), and a state. What is kept gives way. Errors: QN_ENOMEM. What was reserved before stays. */
qn_status qn__seq_reserve(qn_pages *p, qn_seq *s, size_t n, qn_err *err);
/* Of a recurrent model: room for a state beside its own. False when there is no memory. */
bool qn__seq_spare(const qn_pages *p, qn_seq *s);
/* The next n positions have been computed, for good: what is whole is shared from now on. */
void qn__seq_done(qn_pages *p, qn_seq *s, size_t n);

/* How many first tokens of s[0..limit) can be taken over from the tree; *common: how many there are in it at all, which is
 * more where a recurrent model's state is lacking. Costs a few comparisons per page. */
size_t qn__pages_find(const qn_pages *p, const qn_seq *s, size_t limit, size_t *common);
/* Take over the first n positions from the tree (n > s->n_done, as qn__pages_find found). Where memory for the copy of the
 * partial page is lacking, only whole pages are taken, or nothing of a recurrent model. */
qn_status qn__pages_adopt(qn_pages *p, qn_seq *s, size_t n, qn_err *err);
/* How many first tokens of s[0..limit) are those of `of` [0..of_n). */
size_t qn__seq_common(const qn_seq *s, size_t limit, const qn_seq *of, size_t of_n);
/* How many of them s could take over from `of`, which is running, and the same as above from there. */
size_t qn__seq_usable(const qn_pages *p, const qn_seq *s, size_t limit, const qn_seq *of);
qn_status qn__seq_adopt(qn_pages *p, qn_seq *s, const qn_seq *from, size_t n, qn_err *err);

/* Keep a snapshot of a recurrent model's state here, at a page border, instead of the one at `instead` (0: of none), which
 * stays where somebody has resumed from it. */
void qn__seq_mark(qn_pages *p, qn_seq *s, size_t instead);
/* Hand a finished sequence over; it is gone. */
void qn__pages_keep(qn_pages *p, qn_seq *s);

/* ---- the disk tier (tiers.c) ---- */

/* Before the first sequence. Errors: QN_EIO, QN_ENOMEM. */
qn_status qn__pages_disk(qn_pages *p, const char *dir, uint64_t max_bytes, const qn_root *root, qn_err *err);
/* Between steps: what is due goes to the writer. Does not wait. */
void qn__pages_tick(qn_pages *p);
/* Write what is due and wait for it, ten seconds at most. */
void qn__pages_flush(qn_pages *p);
/* Read pages of s[0..limit) that the tree lacks into it, where that is cheaper than to compute them. True: there is more, and
 * qn__now() is `until`. Then call it again; nothing of it gives way in between. */
bool qn__pages_restore(qn_pages *p, qn_seq *s, size_t limit, double until);
/* What qn__pages_restore read for s may give way again. */
void qn__pages_let_go(qn_pages *p, qn_seq *s);
/* Computing so many tokens took so long. */
void qn__pages_timed(qn_pages *p, size_t tokens, double seconds);

typedef struct qn_pages_stats {
    size_t nodes;                    /* pages in the tree */
    uint64_t evicted, lost;          /* pages that gave way; those of them that were due to be written */
    uint64_t reused, restored;       /* tokens taken over; pages read from disk */
    double token_seconds, rate;      /* of computing; bytes a second of reading; 0: not known */
    size_t budget;
    qn_disk_stats disk;
} qn_pages_stats;
void qn__pages_stats(const qn_pages *p, qn_pages_stats *out);

#endif
