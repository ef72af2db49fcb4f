/* grammar.h - what output must look like: from a description to the set of tokens that may come next.
 *
 *   JSON Schema ─┐
 *   GBNF        ─┤                  compile               matcher (one per sequence)
 *   regex       ─┼──> qn_ir ───────────────> qn_grammar ───> mask: bit per token; accept(token); rewind(n)
 *   tool dialect─┘   (rules over bytes       (byte automaton with a stack, bound to a vocabulary's
 *                     and special tokens)     token trie; read-only, shared)
 *
 * The form in between (qn_ir) is built by calls, so that each source is one file. Text in it is UTF-8 bytes; a special token
 * (control or user-defined) is a terminal of its own and nothing else matches it: a control token's text inside a JSON string
 * is spelled by ordinary tokens or not at all.
 *
 * Refuses (QN_ELIMIT): more nodes, states, depth than a bound: descriptions come from strangers. */
#ifndef QN_TEXT_GRAMMAR_H
#define QN_TEXT_GRAMMAR_H

#include <jansson.h>

#include "text/tokenizer.h"

/* ---- building ---- */

typedef struct qn_ir qn_ir;
typedef int32_t qn_node; /* an expression in an IR; negative: building failed, and everything made of it does, too */

/* t may be NULL: then special tokens are spelled as bytes. */
qn_status qn__ir_open(const qn_tokenizer *t, qn_ir **out, qn_err *err);
void qn__ir_close(qn_ir *ir);
/* The first thing that went wrong while building; QN_OK when nothing did. */
qn_status qn__ir_check(const qn_ir *ir, qn_err *err);

qn_node qn__ir_text(qn_ir *ir, const char *text, size_t n);            /* these bytes */
qn_node qn__ir_special(qn_ir *ir, const char *text);                   /* the special token of that text; without one, its bytes */
qn_node qn__ir_class(qn_ir *ir, const uint32_t (*ranges)[2], size_t n, bool negated); /* one character */
qn_node qn__ir_seq(qn_ir *ir, const qn_node *nodes, size_t n);         /* n 0: nothing */
qn_node qn__ir_alt(qn_ir *ir, const qn_node *nodes, size_t n);
qn_node qn__ir_repeat(qn_ir *ir, qn_node what, uint32_t min, uint32_t max); /* max UINT32_MAX: any number */
/* Any characters among which none of `stops` occurs (bytes, or a special token of that text), up to where one begins: what
 * follows in a sequence decides whether it may begin. */
qn_node qn__ir_until(qn_ir *ir, const char *const *stops, size_t n);
qn_node qn__ir_rule(qn_ir *ir, const char *name);                      /* reference; the name need not be defined yet */
void qn__ir_define(qn_ir *ir, const char *name, qn_node body);
void qn__ir_root(qn_ir *ir, qn_node body);

/* How JSON is written where a choice exists. */
typedef struct qn_json_style {
    bool compact;       /* no space after ':' and ','; else one */
    bool any_space;     /* any (bounded) white space is accepted */
} qn_json_style;
/* The values that `schema` allows. `where` begins the JSON path in errors. Errors (also kept in the IR): QN_EUNSUPPORTED,
 * QN_EFORMAT, QN_ELIMIT. */
qn_node qn__ir_schema(qn_ir *ir, const json_t *schema, const qn_json_style *style, const char *where, qn_err *err);
/* The texts that `schema` allows, as they stand, without quotes and escapes; of them those in which none of `stops` occurs. *any: it allows
 * every text, and nothing was built (0 is returned). Lengths are held to up to 4,000 characters: a greater maximum is none. */
qn_node qn__ir_schema_text(qn_ir *ir, const json_t *schema, const char *const *stops, size_t n, const char *where, bool *any, qn_err *err);
qn_node qn__ir_json(qn_ir *ir, const qn_json_style *style);            /* any value */
qn_node qn__ir_regex(qn_ir *ir, const char *pattern, size_t n, const char *where, qn_err *err);
/* Defines rules and the root from GBNF text. */
qn_status qn__ir_gbnf(qn_ir *ir, const char *text, size_t n, qn_err *err);

/* ---- compiled ---- */

/* Binds to t, which must outlive it (NULL: bytes only, for tests). */
qn_status qn__grammar_compile(const qn_ir *ir, const qn_tokenizer *t, qn_grammar **out, qn_err *err);
qn_grammar *qn__grammar_keep(const qn_grammar *g); /* one more owner; any thread */
void qn__grammar_drop(qn_grammar *g);

/* ---- matching ---- */

typedef struct qn_matcher qn_matcher;
qn_status qn__matcher_open(const qn_grammar *g, qn_matcher **out, qn_err *err);
void qn__matcher_close(qn_matcher *m);
/* Which tokens may come next: bit id%32 of (*mask)[id/32]; borrowed until the next call. Tokens that end a turn are allowed
 * where the output may end. Errors: QN_ENOMEM, QN_ELIMIT. */
qn_status qn__matcher_mask(qn_matcher *m, const uint32_t **mask, qn_err *err);
/* Append a token; false (and nothing changed) when it is not allowed. */
bool qn__matcher_accept(qn_matcher *m, int32_t token);
bool qn__matcher_accept_bytes(qn_matcher *m, const char *bytes, size_t n);
bool qn__matcher_may_end(const qn_matcher *m);
/* Take the last n accepted tokens back (drafts that were not kept); at least 64 can be. */
void qn__matcher_rewind(qn_matcher *m, size_t n);

#endif
