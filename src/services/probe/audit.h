/* audit.h - the context cliff: texts whose answers must be found in them, questions, judging, and the curve through what came of it.
 *
 *   recipe (seed, length, batch, kinds, filler)
 *      -> text      facts of some kinds planted at some depths in filler that never repeats: exactly so many tokens with its question
 *           -> question  about one fact; or about one that was left out ("absent"); or without the text ("guess")
 *                -> outcome   by exact rules
 *
 * One text serves all its questions, so a subject that remembers prefixes reads it once. A fact is asked for once in a run. What is
 * made follows from the recipe and the subject's tokenizer alone. */
#ifndef QN_SERVICES_PROBE_AUDIT_H
#define QN_SERVICES_PROBE_AUDIT_H

#include <jansson.h>

#include "base/mem.h"
#include "services/probe/stats.h"
#include "services/probe/subject.h"

typedef enum qn_audit_kind {
    QN_AUDIT_PLAIN,    /* one number, nothing else of its form: a text for each, all beginning with the same filler */
    QN_AUDIT_NEEDLE,   /* one number among others of its form */
    QN_AUDIT_SEVERAL,  /* three numbers, all wanted */
    QN_AUDIT_LAST,     /* set three times: the last counts */
    QN_AUDIT_VARIABLE, /* a value handed on from name to name */
    QN_AUDIT_CALLER,   /* which of these functions calls this one */
    QN_AUDIT_TOOL,     /* what a tool said ten or more turns ago */
    QN_AUDIT_RULE,     /* an instruction given early and still in force */
    QN_AUDIT_KINDS
} qn_audit_kind;
enum {
    QN_AUDIT_FILLERS = 8, QN_AUDIT_DEPTHS = 9, QN_AUDIT_WANTED = 3, QN_AUDIT_BACK = 10, /* turns behind a tool's result */
    QN_AUDIT_TALK = 1u << QN_AUDIT_TOOL | 1u << QN_AUDIT_RULE /* kinds that need a conversation: never in one text with others */,
    QN_AUDIT_ALONE = 1u << QN_AUDIT_PLAIN /* the same, and a text for each slot */
};
extern const char *const qn__audit_kinds[QN_AUDIT_KINDS];
extern const char *const qn__audit_fillers[QN_AUDIT_FILLERS]; /* the first six are languages */

/* ---- dice ---- */

typedef struct qn_dice {
    uint64_t s;
} qn_dice;
qn_dice qn__dice(uint64_t seed, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
uint64_t qn__roll(qn_dice *d);
static inline uint32_t qn__pick(qn_dice *d, uint32_t n) /* 0..n-1 */
{
    return (uint32_t)((qn__roll(d) >> 32) * n >> 32);
}

/* ---- filler: audit_filler.c ---- */

/* Units of one to five lines, no line of which occurs twice; a run of digits in it is shorter than five. */
typedef struct qn_filler {
    int kind;
    qn_dice dice;
    uint64_t *seen; /* open addressing: hashes of lines */
    size_t n_seen, cap_seen;
    qn_buf text;    /* units one after another, each ended by a newline */
    size_t *ends;   /* of units in text */
    size_t n, cap;
    bool failed;
} qn_filler;
void qn__filler_open(qn_filler *f, int kind, qn_dice dice);
void qn__filler_close(qn_filler *f);
/* At least n units are there; false: no memory. */
bool qn__filler_need(qn_filler *f, size_t n);
const char *qn__audit_noun(qn_dice *d);
/* A made-up capitalised name; a made-up lower-case word. */
void qn__audit_name(qn_dice *d, char out[16]);
void qn__audit_word(qn_dice *d, char out[16]);
/* verb_noun or noun_noun; lower-case. */
void qn__audit_ident(qn_dice *d, char out[32]);

/* ---- tasks: audit_tasks.c ---- */

typedef struct qn_fact {
    int kind, slot;         /* slot: which depth; == depths: left out of the text */
    const char *ask;        /* the question's sentence */
    const char *wanted[QN_AUDIT_WANTED];
    int n_wanted;
    const char *const *others; /* values of the same form in the text: of the other facts of the group, and of what was overwritten */
    int n_others;
} qn_fact;

typedef struct qn_piece {
    double at;              /* 0: before all filler, 1: behind it */
    int order, kind, slot;
    const char *text;       /* with its newline */
} qn_piece;

typedef struct qn_group {
    qn_fact facts[QN_AUDIT_DEPTHS + 1];
    qn_piece *pieces;
    int n_pieces, cap;
} qn_group;
/* The facts of one kind: `depths` that are planted and one that is not. Strings lie in the arena. False: no memory. */
bool qn__group_make(qn_group *g, qn_arena *arena, qn_audit_kind kind, int filler, int depths, qn_dice dice);
/* The least chance of being right without knowing anything: where the question offers a choice. */
double qn__audit_chance(qn_audit_kind kind, int depths);

typedef enum qn_outcome { QN_RIGHT, QN_DISTRACTOR, QN_WRONG, QN_ABSTAINED, QN_SILENT, QN_CUT, QN_OUTCOMES } qn_outcome;
extern const char *const qn__outcomes[QN_OUTCOMES];
/* Exact: every wanted value is a word of the answer and no other value of its form is. absent: the answer says "not there" and has no
 * value in it. Nothing but blanks never passes. */
qn_outcome qn__audit_judge(const char *const *wanted, int n_wanted, const char *const *others, int n_others, bool absent, const char *answer,
                           size_t n, bool cut);

/* ---- texts: audit_text.c ---- */

typedef struct qn_audit_recipe {
    uint64_t seed;
    int32_t length, batch; /* tokens of the whole prompt */
    int again;             /* other facts than those of 0, which were too long */
    uint32_t kinds;        /* bits */
    int filler, depths;
    int only;              /* plant this slot alone (depths: none); -1: all */
    bool chat;             /* messages; else text that is to be completed */
    bool tools;            /* results of tools in their own role; else told by the user */
} qn_audit_recipe;

typedef struct qn_counter {
    int64_t (*count)(void *arg, const char *text, size_t n); /* never negative */
    void *arg;
    int32_t overhead;      /* tokens of a prompt that are in no text: of the template around one message, or of a talk */
} qn_counter;

typedef struct qn_audit_text qn_audit_text;
/* Errors: QN_ELIMIT (what is to be planted does not fit the length), QN_ENOMEM. */
qn_status qn__audit_text_make(const qn_audit_recipe *r, const qn_counter *c, qn_audit_text **out, qn_err *err);
void qn__audit_text_close(qn_audit_text *t);
size_t qn__audit_text_facts(const qn_audit_text *t);
const qn_fact *qn__audit_text_fact(const qn_audit_text *t, size_t i);
/* Units of filler and a hash: with the recipe, enough to make it again and to see that it is the same. */
size_t qn__audit_text_units(const qn_audit_text *t);
uint64_t qn__audit_text_hash(const qn_audit_text *t);
/* The question for fact i: a chat's messages as JSON, or a prompt. alone: without the text. counted: tokens of the texts in it. Freed
 * with qn_free. */
qn_status qn__audit_ask(qn_audit_text *t, const qn_counter *c, size_t i, bool alone, char **asked, int64_t *counted, qn_err *err);
/* Everything of the question that lies behind the shared text, for the record. */
const char *qn__audit_tail(const qn_audit_text *t);

/* ---- the curve: audit_fit.c ---- */

typedef struct qn_audit_point {
    double length;
    uint32_t n, right;
} qn_audit_point;
typedef struct qn_audit_cliff {
    double length, low, high, top; /* where the score is half-way between guess and top; profile likelihood's 95 % */
} qn_audit_cliff;
/* right ~ guess + (top - guess) / (1 + (length / cliff)^steepness), by maximum likelihood. Points ascend; n_points > 0. */
qn_audit_cliff qn__audit_fit(const qn_audit_point *p, size_t n_points, double guess);

/* ---- the run: audit.c, audit_report.c ---- */

typedef struct qn_audit_sample {
    int kind, slot, filler;
    char control; /* 0: planted, 'a': absent, 'g': without the text */
    int32_t length, batch;
    qn_outcome outcome;
    int32_t prompt, cached, generated; /* tokens, -1: not known */
    double seconds;
} qn_audit_sample;

typedef struct qn_audit_log {
    qn_audit_sample *v;
    size_t n, cap;
} qn_audit_log;

enum { QN_AUDIT_UNWANTED = 0, QN_AUDIT_TOO_LARGE = -1, QN_AUDIT_NO_TALK = -2 };
typedef struct qn_audit_plan {
    int32_t shortest[QN_AUDIT_KINDS]; /* length at which a kind begins; or why it is not asked: */
    int32_t max_length;
    int depths, samples;
} qn_audit_plan;

typedef enum qn_audit_state { QN_AUDIT_OPEN, QN_AUDIT_NEVER, QN_AUDIT_NONE, QN_AUDIT_CLIFF } qn_audit_state;
/* What to ask of a kind next, from what is known of it: OPEN with *length and *batch (of texts at that length); or the end. */
qn_audit_state qn__audit_next(const qn_audit_plan *p, const qn_audit_log *log, int kind, int32_t *length, int32_t *batch);
/* Points of a kind (planted facts only), ascending in length; returns how many. */
size_t qn__audit_points(const qn_audit_log *log, int kind, qn_audit_point *out, size_t cap);
void qn__audit_count(const qn_audit_log *log, int kind, char control, int32_t length, uint64_t *n, uint64_t *right);
double qn__audit_guess(const qn_audit_plan *p, const qn_audit_log *log, int kind);

/* As qn_audit, of a subject that stays the caller's; *out is its report. */
typedef struct qn_ledger qn_ledger;
qn_status qn__audit(const qn_audit_options *o, qn_subject *subject, qn_ledger *ledger, json_t **out, qn_err *err);
/* The report of a log. */
json_t *qn__audit_report(const qn_audit_plan *p, const qn_audit_log *log);

#endif
