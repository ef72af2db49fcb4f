/* grammar_int.h - what the grammar's files share.
 *
 *   sources                     qn_ir                    qn_fa, one per unit               qn_grammar
 *   (schema, GBNF, regex,  ->   expressions and    ->    (rule, body of a counted    ->    states with byte edges, special
 *    calls)                     named rules              repeat, member of an object)      tokens, pushes; read-only
 *
 * An automaton (qn_fa) is deterministic over symbols: bytes, or characters before they are spelled; special tokens; and
 * pushes ("run that unit, then go on here"). So a unit is a finite automaton, and the whole is one with a stack. A frame of
 * the stack says where to go on, and holds what a finite automaton would need many states for:
 *
 *   CALL     go on at `ret`
 *   COUNT    iterations still needed and still allowed (maxLength: 524288 is one frame, not 524288 states)
 *   COLLECT  which members of an unordered collection were seen (an object's keys, in any order) */
#ifndef QN_TEXT_GRAMMAR_INT_H
#define QN_TEXT_GRAMMAR_INT_H

#include <stdatomic.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "text/grammar.h"

/* Bounds on what a stranger's description can cost. */
enum {
    QN_IR_NODES_MAX = 600000,
    QN_IR_DEPTH_MAX = 600,           /* of nested expressions */
    QN_GRAMMAR_STATES_MAX = 400000,  /* of all automata */
    /* Elementary steps of making one automaton deterministic, and of all together x 4. */
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    QN_GRAMMAR_WORK_MAX = 300000,    /* else a fuzzer spends its minute in a few large ones */
#else
    QN_GRAMMAR_WORK_MAX = 12000000,
#endif
    QN_COUNT_UNROLL = 12,            /* repeats of more than this become a counter */
    QN_MEMBERS_MAX = 64,             /* members of a collection that are told apart */
    QN_ITEMS_MAX = 4096,             /* alternatives that a matcher follows at once */
    QN_FRAMES_MAX = 1 << 20
};

/* ---- automata ---- */

#define QN_SYM_PUSH 0x01000000u  /* + index into the compiler's pushes */
#define QN_SYM_TOKEN 0x02000000u /* + token id */
#define QN_CHAR_MAX 0x10FFFFu

typedef struct qn_range { /* a step by any symbol in lo..hi */
    uint32_t lo, hi;
    int32_t to;
} qn_range;

/* Deterministic; edges of a state ascend and do not overlap. State 0 is the start; no states: nothing matches. */
typedef struct qn_fa {
    struct qn_fa_state {
        uint32_t edge, n_edges;
        bool final;
    } * states;
    qn_range *edges;
    size_t n_states, n_edges, cap_states, cap_edges;
} qn_fa;

/* Nondeterministic, while it is built: a node has at most one step and two empty ones. */
typedef struct qn_nfa {
    struct qn_nfa_node {
        uint32_t lo, hi;
        int32_t to;     /* -1: no step */
        int32_t eps[2]; /* -1: none */
    } * nodes;
    size_t n, cap, limit;
    bool failed, too_large;
} qn_nfa;

void qn__fa_free(qn_fa *f);
void qn__nfa_free(qn_nfa *n);
int32_t qn__nfa_node(qn_nfa *n);
void qn__nfa_step(qn_nfa *n, int32_t from, uint32_t lo, uint32_t hi, int32_t to); /* through a fresh node when needed */
void qn__nfa_eps(qn_nfa *n, int32_t from, int32_t to);
/* *work: elementary steps left; QN_ELIMIT when they are used up. */
qn_status qn__nfa_determinise(const qn_nfa *n, int32_t start, int32_t end, size_t *work, const char *where, qn_fa *out,
                              qn_err *err);
typedef enum qn_fa_op { QN_FA_AND, QN_FA_OR, QN_FA_MINUS } qn_fa_op;
/* Over characters; what can match nothing is cut away. */
qn_status qn__fa_product(const qn_fa *a, const qn_fa *b, qn_fa_op op, size_t *work, const char *where, qn_fa *out, qn_err *err);
/* Any characters, from min to max of them (max UINT32_MAX: no bound; both small: each is a state). */
qn_status qn__fa_any(uint32_t min, uint32_t max, qn_fa *out, qn_err *err);
qn_status qn__fa_trim(qn_fa *f, qn_err *err);
static inline bool qn__fa_empty(const qn_fa *f)
{
    return f->n_states == 0;
}
/* Lengths of the shortest and longest match (UINT32_MAX: no bound). The automaton is trimmed and not empty. */
qn_status qn__fa_lengths(const qn_fa *f, uint32_t *min, uint32_t *max, qn_err *err);
bool qn__fa_accepts(const qn_fa *f, const char *utf8, size_t n);
qn_status qn__fa_copy(const qn_fa *f, qn_fa *out, qn_err *err);

/* ---- expressions ---- */

typedef enum qn_ir_kind {
    QN_IR_TEXT,    /* a: offset, b: length in bytes */
    QN_IR_SPECIAL, /* a: token id */
    QN_IR_CLASS,   /* a: first range, b: how many; flag: spelled as in a JSON string */
    QN_IR_SEQ,     /* a: first child, b: how many */
    QN_IR_ALT,
    QN_IR_REPEAT,  /* a: child, b: min, c: max */
    QN_IR_RULE,    /* a: rule */
    QN_IR_FA,      /* a: automaton over characters; flag as for CLASS */
    QN_IR_BYTES,   /* a: automaton over bytes and special tokens */
    QN_IR_COLLECT  /* a: collection */
} qn_ir_kind;

typedef struct qn_ir_node {
    uint8_t kind;
    bool flag;
    uint16_t depth;
    uint32_t a, b, c;
} qn_ir_node;

/* An unordered collection: each member at most once (extra: any number of times), in any order.
 *
 *   first form of one member, then rest forms (they begin with what separates) of others */
typedef struct qn_ir_member {
    qn_node first, rest;
    bool required, extra;
} qn_ir_member;
typedef struct qn_ir_collect {
    uint32_t member, n_members;
    uint32_t min, max; /* members in all; at least 1 */
} qn_ir_collect;

struct qn_ir {
    const qn_tokenizer *t;
    qn_ir_node *nodes;
    qn_node *kids;
    uint32_t (*ranges)[2];
    char *text;
    qn_fa *fas;
    qn_ir_collect *collects;
    qn_ir_member *members;
    struct qn_ir_rule {
        uint32_t name, n_name; /* into text */
        qn_node body;          /* -1: not defined */
        uint32_t next;         /* of the same hash; UINT32_MAX: last */
    } * rules;
    uint32_t *rule_hash; /* [rule_mask + 1], UINT32_MAX: none */
    uint32_t rule_mask;
    size_t n_nodes, n_kids, n_ranges, n_text, n_fas, n_collects, n_members, n_rules;
    size_t cap_nodes, cap_kids, cap_ranges, cap_text, cap_fas, cap_collects, cap_members, cap_rules;
    qn_node root;
    size_t work; /* steps left for automata made while building */
    qn_err err;  /* the first failure */
    void *json;  /* grammar_json.c's shared pieces */
    uint32_t n_schemas;
};

/* Remember a failure; always -1. */
qn_node qn__ir_fail(qn_ir *ir, qn_status code, const char *where, const char *fmt, ...) QN_PRINTF(4, 5);
/* One character, spelled as in a JSON string (raw, or the escape that serialisers write). */
qn_node qn__ir_json_class(qn_ir *ir, const uint32_t (*ranges)[2], size_t n, bool negated);
/* Takes *fa over; characters are spelled plainly or as in a JSON string. */
qn_node qn__ir_fa(qn_ir *ir, qn_fa *fa, bool json);
qn_node qn__ir_bytes_fa(qn_ir *ir, qn_fa *fa);
qn_node qn__ir_collect(qn_ir *ir, const qn_ir_member *members, size_t n, uint32_t min, uint32_t max);
/* Sorts and joins ranges in place; returns how many remain. */
size_t qn__ranges_tidy(uint32_t (*r)[2], size_t n);

/* ---- compiled ---- */

typedef enum qn_frame_kind { QN_FRAME_CALL, QN_FRAME_COUNT, QN_FRAME_COLLECT } qn_frame_kind;

typedef struct qn_push { /* what a frame is an instance of */
    uint8_t kind;
    int32_t start;    /* CALL, COUNT: where the unit begins */
    int32_t ret;      /* where it goes on; -1: the unit it was pushed from ends, too (a CALL so leaves no frame) */
    uint32_t collect; /* COLLECT */
} qn_push;

typedef struct qn_state {
    uint32_t byte, push, token; /* first of each */
    uint32_t n_bytes, n_pushes, n_tokens;
    bool final;
} qn_state;

typedef struct qn_members { /* a collection, compiled */
    uint32_t first, n;      /* into starts: pairs (first form, rest form) */
    uint64_t required;
    uint32_t min, max;
    uint32_t n_named;       /* those are the first; the others are extra */
} qn_members;

typedef struct qn_trie_of qn_token_trie;
typedef struct qn_mask_cache qn_mask_cache;

struct qn_grammar {
    _Atomic(uint32_t) owners;
    const qn_tokenizer *t;
    const qn_token_trie *trie; /* NULL without a tokenizer */
    qn_state *states;
    struct qn_byte_edge {
        uint8_t lo, hi;
        int32_t to;
    } * bytes;
    struct qn_token_edge {
        int32_t token, to;
    } * tokens;
    struct qn_push_edge {
        uint32_t push, min, max; /* min, max: COUNT */
    } * push_of;
    qn_push *pushes;
    qn_members *collects;
    int32_t *starts;
    size_t n_states, n_bytes, n_tokens, n_push_of, n_pushes, n_collects, n_starts;
    int32_t root;
    int32_t *named; /* special tokens that the grammar names, ascending: they match nothing else */
    size_t n_named;
    qn_mask_cache *cache; /* the only part that changes; it has a lock */
};

/* ---- stacks: hash-consed frames ----
 *
 *   0 = the bottom     {parent 0, push 3} = 1     {parent 1, push 7, a} = 2   ...     equal stacks have equal numbers */
typedef struct qn_frame {
    int32_t parent;
    uint32_t push;
    uint64_t a; /* COUNT: needed << 32 | allowed; COLLECT: members seen */
    uint32_t b; /* COLLECT: how many so far */
} qn_frame;

typedef struct qn_frames {
    qn_frame *v;
    int32_t *slots; /* open addressing, -1 free */
    uint32_t mask;
    size_t n, cap;
    uint32_t many; /* counters of this much or more stay as they are (0: exact) */
} qn_frames;

typedef struct qn_item {
    int32_t state, stack;
} qn_item;

/* Where a matcher may be. Sorted by (stack, state). Only states with steps of their own; pushes and pops are done. */
typedef struct qn_items {
    qn_item *v;
    size_t n, cap;
    bool ended; /* the bottom was popped */
} qn_items;

bool qn__frames_init(qn_frames *f, uint32_t many);
void qn__frames_free(qn_frames *f);
void qn__frames_clear(qn_frames *f);
/* The number of that stack; -1 no memory, -2 too many. */
int32_t qn__frames_push(qn_frames *f, qn_frame x);

typedef enum qn_follow { QN_FOLLOW_OK, QN_FOLLOW_MEMORY, QN_FOLLOW_LIMIT } qn_follow;
/* Add (state, stack) and all that it leads to without a byte. `work`: scratch. */
typedef struct qn_closure {
    qn_item *todo, *seen; /* seen: open-addressed set; a slot is in use when its stamp is this epoch's */
    size_t n_todo, cap_todo;
    uint32_t seen_mask, n_seen;
    uint32_t *stamp, epoch;
} qn_closure;
void qn__closure_free(qn_closure *c);
/* A new set begins: nothing has been seen. */
bool qn__closure_begin(qn_closure *c, qn_items *out);
qn_follow qn__items_add(const qn_grammar *g, qn_frames *f, qn_closure *c, int32_t state, int32_t stack, qn_items *out);
/* The frame (push, a, b), whose unit has ended, is taken off; `parent` lies below it. */
qn_follow qn__items_pop(const qn_grammar *g, qn_frames *f, qn_closure *c, uint32_t push, uint64_t a, uint32_t b,
                        int32_t parent, qn_items *out);
void qn__items_sort(qn_items *s);
/* All of in that go on by byte b. out is emptied first. */
qn_follow qn__items_step(const qn_grammar *g, qn_frames *f, qn_closure *c, const qn_items *in, uint8_t b, qn_items *out);
qn_follow qn__items_step_token(const qn_grammar *g, qn_frames *f, qn_closure *c, const qn_items *in, int32_t token, qn_items *out);

/* ---- the vocabulary ---- */

/* Tokens as a tree of bytes, in preorder, so that a walk is a run through arrays:
 *
 *   node i: byte[i], depth[i] (1 = first byte), skip[i] = the node behind its subtree, token[i] (-1: none); tokens of equal
 *   bytes are chained by same[] */
struct qn_trie_of {
    uint8_t *byte;
    uint16_t *depth;
    int32_t *skip, *token;
    int32_t *same; /* [n_vocab] the next token of the same bytes, -1: none */
    uint8_t *plain;  /* no byte below node i is anything but a letter, a digit, a space or one of _.- */
    int32_t *order;  /* tokens in the order of their nodes; node i's subtree has order[from[i]..from[skip[i]]) */
    uint32_t *from;  /* [n + 1] */
    size_t n;
    int32_t n_vocab;
    uint16_t max_depth;
    int32_t *ends; /* tokens that end a turn */
    size_t n_ends;
    uint32_t *at; /* [n_vocab + 1] where a token's bytes begin in text */
    uint8_t *text;
};
bool qn__trie_plain_byte(uint8_t b);
/* Made once per tokenizer and kept with it. */
qn_status qn__token_trie(const qn_tokenizer *t, const qn_token_trie **out, qn_err *err);

/* ---- masks ---- */

qn_status qn__mask_cache_open(qn_grammar *g, qn_err *err);
void qn__mask_cache_close(qn_mask_cache *c);
/* OR what `items` (over frames f) allow into mask[n_words]. Takes the lock. */
qn_status qn__mask_fill(const qn_grammar *g, const qn_frames *f, const qn_items *items, uint32_t *mask, qn_err *err);

#endif
