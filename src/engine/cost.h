/* cost.h - what a step costs, learned from the steps that were made.
 *
 * Two straight lines, fitted by least squares that forget: the time of a step without prefill over its rows, and the time of a
 * token of prefill over its depth (attention grows with it). Only speed hangs on them: what is computed does not. */
#ifndef QN_ENGINE_COST_H
#define QN_ENGINE_COST_H

#include <stdbool.h>

typedef struct qn_line {
    double w, x, y, xx, xy; /* sums, weighted */
} qn_line;
/* What was known before counts `keep` (0..1) times what it did. */
void qn__line_add(qn_line *l, double x, double y, double weight, double keep);
/* y = a + b * x with a, b >= 0; false when nothing is known yet. */
bool qn__line_fit(const qn_line *l, double *a, double *b);

typedef struct qn_cost {
    qn_line decode;  /* x: rows, y: seconds of the step */
    qn_line prefill; /* x: mean position, y: seconds per token */
    double ratio;    /* of one row more to a step of one, when steps differed last; 0: they never did */
    double over;     /* how far beyond its expected time a step with prefill went lately, as a share of that */
    int last;        /* tokens of prefill in the last step that had any to speak of; 0: none yet */
    bool frozen;     /* learns nothing: for tests */
} qn_cost;

/* A step of so many rows took so long; depth: the mean position of the prefill's rows. */
void qn__cost_learn(qn_cost *c, int prefill, double depth, int decode, double seconds);
/* Seconds of a step of `rows` rows without prefill, and of one row more; a guess of their ratio while nothing is known. */
void qn__cost_decode(const qn_cost *c, int rows, double *seconds, double *more);
/* How many tokens of prefill from position `from` on fit beside `decode` rows into a step of `limit` seconds: at least
 * `least`, at most `most`. */
int qn__cost_prefill(const qn_cost *c, double from, int decode, double limit, int least, int most);

#endif
