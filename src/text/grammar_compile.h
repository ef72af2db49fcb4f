/* grammar_compile.h - what the two halves of the compiler share (grammar_spell.c, grammar_compile.c). */
#ifndef QN_TEXT_GRAMMAR_COMPILE_H
#define QN_TEXT_GRAMMAR_COMPILE_H

#include "text/grammar_int.h"

/* One automaton of its own: a rule, the body of a counted repeat, a member's form. */
typedef struct qn_unit {
    qn_node body;
    int32_t rule;      /* -1: none */
    qn_fa fa;
    uint8_t *alive;    /* [states] can reach an end */
    uint8_t *empties;  /* [states] can reach an end without a byte */
    bool live, nullable, queued;
    uint32_t *users;   /* units that push this one */
    size_t n_users, cap_users;
    int32_t base;      /* its states' first number in the grammar */
} qn_unit;

typedef struct qn_sym { /* what a push symbol stands for */
    uint8_t kind;      /* qn_frame_kind */
    uint32_t unit;     /* CALL, COUNT */
    uint32_t collect;  /* COLLECT: into qn_ir's; and into `members` */
    uint32_t min, max;
} qn_sym;

typedef struct qn_compiler {
    const qn_ir *ir;
    const qn_tokenizer *t;
    size_t work;
    bool *nullable_node; /* [ir->n_nodes] */
    int32_t *unit_of_node, *call_of_unit, *sym_of_collect;
    int32_t *unit_of_rule;
    qn_unit *units;
    size_t n_units, cap_units, cap_calls;
    qn_sym *syms;
    size_t n_syms, cap_syms;
    bool no_memory;
    qn_grammar *g;
} qn_compiler;

/* The expression from node `from` on; returns the node where it ends. On failure a->failed is set. */
int32_t qn__spell(qn_compiler *c, qn_nfa *a, qn_node n, int32_t from);
void qn__spell_chars(qn_nfa *a, int32_t from, int32_t to, uint32_t lo, uint32_t hi, bool json);
/* Symbols; on failure c->no_memory is set and some symbol is returned. */
uint32_t qn__compile_call(qn_compiler *c, uint32_t rule);
uint32_t qn__compile_count(qn_compiler *c, qn_node body, uint32_t min, uint32_t max);
uint32_t qn__compile_collect(qn_compiler *c, uint32_t collect);

#endif
