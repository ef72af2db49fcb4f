/* compare.h - the fair comparison: everybody is asked the same.
 *
 *   for each contender, one after another (one model in memory at a time):
 *       for each item: for each run: ask (alone, so that times mean something) -> judge -> ledger
 *   then the report, from the ledger: per item and contender solid (right in every run), luck (in some), never;
 *   per pair a sign test over items, corrected for the number of pairs, and what follows from it.
 *
 * A contender has a run of its own in the ledger; all are finished together, so that an ended comparison goes on where it was. */
#ifndef QN_SERVICES_EVAL_COMPARE_H
#define QN_SERVICES_EVAL_COMPARE_H

#include "services/eval/judge.h"
#include "services/ledger/ledger.h"
#include "services/probe/subject.h"

enum { QN_COMPARE_MOST = 16, QN_COMPARE_RUNS = 3, QN_COMPARE_RUNS_MOST = 100, QN_COMPARE_TOKENS = 512, QN_COMPARE_ANSWER = 4000 };

typedef struct qn_contender {
    const char *spec;  /* as it was named */
    const char *path;  /* of a GGUF; NULL: embedded, or no file */
    bool local;
    qn_status (*open)(const struct qn_contender *c, const qn_compare_options *o, qn_subject **out, qn_err *err);
    void *arg;
} qn_contender;

/* What was asked, of whom; what became of it. Answers: [item][contender][run]. */
typedef struct qn_compared {
    const char *outcome; /* NULL: not asked */
    bool right;
    int32_t prompt_tokens, cached_tokens, generated_tokens; /* -1: not known */
    double first_s, total_s;
    json_t *data;        /* the sample, as the ledger has it; owned */
} qn_compared;

typedef struct qn_comparison {
    const qn_compare_options *o;
    const qn_contender *who;
    size_t n_who;
    int runs;
    const char *suite;      /* its path */
    qn_tasks tasks;         /* empty: there is no suite */
    qn_judge *judge;
    qn_ledger *ledger;
    int64_t id[QN_COMPARE_MOST];
    char name[QN_COMPARE_MOST][128], fingerprint[QN_COMPARE_MOST][64];
    bool chats[QN_COMPARE_MOST];
    const char **left_out;  /* judging again: why an item is none of this comparison; NULL: it is one. NULL: all are */
    size_t done, total;
    char doing[160];
    qn_compared *v;
    json_t *quants;         /* rows, in the order of the contenders; NULL: not asked for */
} qn_comparison;

static inline qn_compared *qn__compared(const qn_comparison *c, size_t item, size_t who, int run)
{
    return &c->v[(item * c->n_who + who) * (size_t)c->runs + (size_t)run];
}

/* As qn_compare, of contenders that the caller made. */
qn_status qn__compare(const qn_compare_options *o, const qn_contender *who, size_t n, json_t **out, qn_err *err);

/* ---- shared by compare*.c ---- */

/* What the suite asks and checks, with its own examples tried. */
qn_status qn__compare_suite(qn_comparison *c, qn_err *err);
/* Fills c->v from the ledger. */
qn_status qn__compare_read(qn_comparison *c, qn_err *err);
/* Of an answer that came: its verdict, in `data`, too. cut: it was ended by its number of tokens. */
qn_status qn__compare_judge(qn_comparison *c, size_t item, const char *answer, size_t n, bool cut, json_t *data, qn_verdict *v, qn_err *err);
void qn__compare_clean(qn_comparison *c, bool finished);
/* As qn_compare with o->rescore. */
qn_status qn__compare_again(const qn_compare_options *o, json_t **out, qn_err *err);
/* Why an item is not judged; NULL: it is. */
static inline const char *qn__compare_skips(const qn_comparison *c, size_t item)
{
    return c->left_out && c->left_out[item] ? c->left_out[item] : qn__judge_skips(c->judge, item);
}
/* The report, of what the ledger holds. */
qn_status qn__compare_report(qn_comparison *c, json_t **out, qn_err *err);
/* Measures contender k against the first as quantisations of one model: *row as it stands in the report's "quants". */
qn_status qn__compare_quant(const qn_comparison *c, size_t k, json_t **row, qn_err *err);
/* The text that is read for it when nobody gives one. */
extern const char qn__compare_text[];
/* Two-sided p over items on which one was right more often; what can be concluded as a sentence. p: corrected for all pairs. */
void qn__compare_conclude(char *out, size_t n, const char *a, const char *b, uint64_t wins_a, uint64_t wins_b, uint64_t ties, double p);
/* Holm's correction: p[n] becomes what may be compared with the level, in place. */
void qn__compare_holm(double *p, size_t n);

#endif
