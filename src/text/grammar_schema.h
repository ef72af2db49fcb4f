/* grammar_schema.h - what the files of the schema compiler share.
 *
 * A place in an instance is described by a conjunction: a list of schemas that must all hold there (a schema, what its $ref
 * and allOf add, one branch of each anyOf). Keywords are combined over the list; nothing is merged into new schemas. */
#ifndef QN_TEXT_GRAMMAR_SCHEMA_H
#define QN_TEXT_GRAMMAR_SCHEMA_H

#include "text/grammar_json.h"
#include "text/grammar_regex.h"

enum {
    QN_CONJ_MAX = 128,      /* schemas that hold at one place */
    QN_SCHEMA_DEPTH = 150,   /* of places written out inside each other; a $ref begins anew */
    QN_SCHEMA_WORK = 60000, /* places in all */
    QN_SCHEMA_LOOKS = 200000, /* comparisons of two schemas in all */
    QN_PATTERNS_MAX = 4,    /* patternProperties that can apply to one object */
    QN_NAMES_MAX = 4000     /* properties of one object */
};

typedef struct qn_schema_part { /* one schema of a conjunction */
    json_t *s;           /* an object; borrowed (the document, or qn_schema.owned) */
    const char *path;    /* its JSON path, for errors */
} qn_schema_part;

typedef struct qn_conj {
    qn_schema_part v[QN_CONJ_MAX];
    size_t n;
    bool never;
} qn_conj;

enum { QN_T_NULL = 1, QN_T_BOOL = 2, QN_T_INT = 4, QN_T_NUM = 8, QN_T_STR = 16, QN_T_ARR = 32, QN_T_OBJ = 64, QN_T_ALL = 127 };

typedef struct qn_schema {
    qn_ir *ir;
    const qn_json_style *style;
    json_t *root;
    json_t *owned;   /* array: schemas made here */
    json_t *made;    /* object: those that are made once and met again, by what they are made of */
    uint32_t looks;  /* comparisons of schemas so far */
    qn_arena paths;
    size_t places;
    int depth, ids;  /* ids: 0 not looked for, 1 none, 2 some schema inside has an $id */
    uint32_t id;     /* of this schema in the IR: part of its rules' names */
    uint32_t n_rules;
} qn_schema;

/* All return -1 on failure, kept in the IR. */
qn_node qn__schema_node(qn_schema *c, const qn_conj *k);
qn_node qn__schema_object(qn_schema *c, const qn_conj *k);
qn_node qn__schema_array(qn_schema *c, const qn_conj *k);
qn_node qn__schema_string(qn_schema *c, const qn_conj *k);
qn_node qn__schema_number(qn_schema *c, const qn_conj *k, unsigned types); /* of QN_T_INT and QN_T_NUM */
/* The string language of k as an automaton; *any: every string. False: failed. */
bool qn__schema_string_fa(qn_schema *c, const qn_conj *k, qn_fa *out, bool *any);

/* schema (bool or object) joins k. */
bool qn__conj_add(qn_schema *c, qn_conj *k, json_t *schema, const char *path);
const char *qn__schema_path(qn_schema *c, const char *path, const char *key);
qn_node qn__schema_fail(qn_schema *c, qn_status code, const char *path, const char *key, const char *what);
/* A value for keyword `key`, when the part has it. */
static inline json_t *qn__part_get(const qn_schema_part *p, const char *key)
{
    return json_object_get(p->s, key);
}
/* Give a node a rule of its own. */
qn_node qn__schema_share(qn_schema *c, qn_node n);
/* Does value match all of k? -1: cannot be decided (kept as a failure). */
int qn__schema_holds(qn_schema *c, const qn_conj *k, json_t *value);
/* Expand references and allOf of k into a flat list; unions stay. */
bool qn__schema_flatten(qn_schema *c, const qn_conj *k, qn_conj *out);
unsigned qn__schema_types(const qn_conj *k);
/* The automata of some names (the texts of a list), and of a pattern that is found anywhere. False: failed. */
bool qn__schema_names_fa(qn_schema *c, json_t *list, qn_fa *out);
bool qn__schema_pattern_fa(qn_schema *c, const char *pattern, const char *path, qn_fa *out);
/* *to becomes what is in it and (minus: not) in other, which is freed. */
bool qn__schema_cross(qn_schema *c, qn_fa *to, qn_fa *other, bool minus, const char *path);
/* This value, as it may be written. */
qn_node qn__schema_literal(qn_schema *c, json_t *v);
/* json_equal, but 1 and 1.0 are one number; is v in the list? Always false, the failure kept. */
bool qn__schema_same(const json_t *a, const json_t *b);
bool qn__schema_among(const json_t *list, const json_t *v);
bool qn__schema_no_memory(qn_schema *c);
/* grammar_union.c: part `at` of k has the union `key`: one alternative per branch that can hold. strip before: what flattening has
 * expanded goes from the parts, lest a branch expands it again. */
bool qn__schema_strip(qn_schema *c, qn_conj *k);
qn_node qn__schema_split(qn_schema *c, const qn_conj *k, size_t at, const char *key);
void qn__schema_drop_expanded(json_t *s);
/* Is it certain that no value of these types matches both? */
bool qn__schema_disjoint(qn_schema *c, json_t *a, json_t *b, unsigned types, const char *path, int depth);
/* A non-negative integer keyword. False: malformed (kept). *have: it is there. */
bool qn__schema_count(qn_schema *c, const qn_schema_part *p, const char *key, bool *have, uint32_t *v);
bool qn__part_ignores(const qn_schema_part *p, const char *key);
/* One bit; the bits that its `type` allows; is that well-formed; what its $ref names (NULL: failed). */
unsigned qn__schema_type_of(const json_t *v);
unsigned qn__schema_part_types(const json_t *s);
bool qn__schema_check_types(qn_schema *c, const qn_schema_part *p);
json_t *qn__schema_resolve(qn_schema *c, const qn_schema_part *p);
/* grammar_logic.c: what p says by negation and conditions joins `out` as unions. qn__schema_flatten does it; the keywords, ending with
 * NULL, then say nothing more. */
bool qn__schema_rewrite(qn_schema *c, const qn_schema_part *p, qn_conj *out);
extern const char *const qn__schema_rewritten[];
/* grammar_cases.c: conditions of k that ask one key for its value join it as one union for each key. Is p's `if` such a condition? Its
 * value (const), or values (enum). */
bool qn__schema_cases(qn_schema *c, qn_conj *k);
bool qn__schema_discriminates(const qn_schema_part *p, const char **key, json_t **values);
/* What does not match s, one level deep; kept by c->made. NULL: failed. */
json_t *qn__schema_complement(qn_schema *c, json_t *s, const char *path);

#endif
