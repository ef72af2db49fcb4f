/* draft.h - guessing what comes next from what was there before: edits mostly copy.
 *
 * The tokens so far are indexed by their runs of 4 and of 2. Where the last few tokens occurred before, what followed them there
 * is the guess; as long as it is right it is followed, wherever the step's own rows end:
 *
 *   ... a b c d e f g ... x a b c | d' ?        run: how many of the last tokens agree (here 3), src: the place of d
 *           src ^ (guess: d e f ...)
 *
 * How often a guess is right depends on its run; that is counted for each class of runs, also for guesses that nobody verified
 * ahead of time, so backing off and coming back cost nothing. Where counting misleads (what was right for long and ends, again and
 * again) an account is kept: what drafted rows cost, in tokens, and what they brought. It may be a little in the red, not more: then
 * nothing is tried for a while, and each time for longer. How many are tried grows with success. */
#ifndef QN_ENGINE_DRAFT_H
#define QN_ENGINE_DRAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QN_DRAFT_MOST = 24, QN_DRAFT_CLASSES = 6 };

typedef struct qn_grams {
    int32_t *head; /* [1 << bits], by hash: the last place behind such a run; -1: none */
    int bits;
} qn_grams;

typedef struct qn_drafter {
    qn_grams grams[2];
    int32_t *prev[2];  /* [cap]: the place before that with the same hash */
    size_t cap, n;     /* tokens indexed */
    size_t src, run;   /* the guess; run 0: none */
    size_t lost;       /* where the last guess went wrong: an edit goes on near it; 0: none */
    float right[QN_DRAFT_CLASSES];
    int seen[QN_DRAFT_CLASSES]; /* how often, at most SLOW */
    double account;    /* tokens gained by drafts less what they cost, since it was opened */
    int most;          /* tokens to try at a time */
    int wait, waits;   /* tokens until anything is tried again; how often it has waited for nothing in between */
    size_t said;       /* tokens since the beginning */
} qn_drafter;

void qn__drafter_init(qn_drafter *d);
void qn__drafter_free(qn_drafter *d);
/* tokens[0..n): what d has seen before, and more. False when memory is lacking: then there are no guesses any more. */
bool qn__drafter_see(qn_drafter *d, const int32_t *tokens, size_t n);
/* How many it is worth to try at once: 0 while it waits. */
int qn__drafter_most(const qn_drafter *d);
/* A step said right + 1 tokens; n were drafted for it, each of which cost as much time as `price` tokens. */
void qn__drafter_tried(qn_drafter *d, int n, int right, double price);
/* The step computed `rows` rows besides, only because something had been drafted before. */
void qn__drafter_paid(qn_drafter *d, int rows, double price);
/* Up to `most` tokens that may come next, and for each the probability that it and all before it do. */
int qn__drafter_guess(const qn_drafter *d, const int32_t *tokens, size_t n, int most, int32_t *out, double *p);

#endif
