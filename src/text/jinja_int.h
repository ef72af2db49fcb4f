/* jinja_int.h - what the files of the interpreter share: values, syntax tree, one rendering's state.
 *
 *   text --lexer--> tokens --parser--> jnode tree        (jinja_lex.c, jinja_parse.c, jinja_stmt.c; arena of the
 * template) tree + variables --exec/eval--> output bytes         (jinja_exec.c, jinja_eval.c, ...; arena of the
 * rendering)
 *
 * Values are immutable (as in the sandbox the templates are written for) except namespace, generator, cycler and
 * joiner. They live in the rendering's arena and are never freed one by one; strings and lists are slices, so that a
 * slice shares its parent's bytes. Everything that does work in proportion to data calls qn__j_step first: that is what
 * bounds a rendering's time. */
#ifndef QN_TEXT_JINJA_INT_H
#define QN_TEXT_JINJA_INT_H

#include "base/err.h"
#include "base/mem.h"
#include "text/jinja.h"

#define J_TRY(e)                                                                                                       \
    do {                                                                                                               \
        qn_status j_try_s = (e);                                                                                       \
        if (j_try_s != QN_OK)                                                                                          \
            return j_try_s;                                                                                            \
    } while (0)

/* ---- values ---------------------------------------------------------------------------------------------------- */

typedef enum jkind {
    J_ABSENT, /* an argument that was not given; never seen by templates */
    J_UNDEF,
    J_NONE,
    J_BOOL,
    J_INT,
    J_FLOAT,
    J_STR,
    J_LIST, /* J_LIST..J_ITEMS share their representation: n values at v */
    J_TUPLE,
    J_KEYS, /* dict.keys(), .values(), .items() */
    J_VALUES,
    J_ITEMS,
    J_DICT,
    J_RANGE,
    J_GEN, /* an iterator: can be walked once */
    J_NS,
    J_MACRO,
    J_METHOD,
    J_FUNC,
    J_LOOP,
    J_JOINER,
    J_CYCLER
} jkind;

typedef struct jval {
    uint8_t kind;
    uint8_t safe; /* J_STR: Markup (what the filters safe and escape make); J_TUPLE: a group, with .grouper and .list */
    uint32_t n;   /* J_STR: bytes; lists: items */
    union {
        bool b;
        int64_t i;
        double f;
        const char *s; /* UTF-8, not terminated */
        const struct jval *v;
        struct jdict *dict; /* J_DICT, J_NS */
        struct jrange *range;
        struct jgen *gen;
        struct jmacro *macro;
        struct jmethod *method;
        const struct jbuiltin *fn;
        struct jloop *loop;
        struct jgen *cycler; /* pos: the next item */
        struct jjoiner *joiner;
        const struct jundef *undef;
    } u;
} jval;

typedef struct jpair {
    jval k, v;
} jpair;

typedef struct jdict {
    jpair *v; /* in order of insertion */
    uint32_t n, cap;
} jdict;

typedef struct jrange {
    int64_t start, stop, step;
    uint32_t n;
} jrange;

typedef struct jgen {
    const jval *v;
    uint32_t n, pos;
} jgen;

typedef struct jjoiner {
    jval sep;
    bool used;
} jjoiner;

typedef enum jundef_why { JU_NAME, JU_ATTR, JU_UNSAFE, JU_PARAM, JU_TEXT } jundef_why;

/* Why something is undefined: the error's words, should it be used. */
typedef struct jundef {
    uint8_t why;
    uint8_t of; /* jkind, JU_ATTR and JU_UNSAFE */
    qn_slice name;
} jundef;

typedef struct jmethod {
    jval self;
    const struct jbuiltin *fn;
} jmethod;

/* ---- syntax tree ----------------------------------------------------------------------------------------------- */

typedef enum jnode_kind {
    /* expressions */
    JN_CONST,
    JN_NAME,
    JN_LIST,  /* a: items */
    JN_TUPLE, /* a: items */
    JN_DICT,  /* a: key, value, key, value, ... */
    JN_CHAIN, /* a: base, b: JO_* applied from left to right */
    JN_NOT,
    JN_NEG,
    JN_POS,
    JN_ARITH,  /* a: operands; op of an operand: the operator before it */
    JN_CMP,    /* likewise, chained comparison */
    JN_AND,    /* a: operands */
    JN_OR,     /* a: operands */
    JN_CONCAT, /* a: operands */
    JN_COND,   /* a if b else c (c may be NULL) */
    /* steps of a chain */
    JO_ATTR,   /* name */
    JO_ITEM,   /* a */
    JO_SLICE,  /* a:b:c, each may be NULL */
    JO_CALL,   /* a: arguments */
    JO_FILTER, /* name, fn, a: arguments */
    JO_TEST,   /* name, fn, a: arguments, op: negated */
    /* an argument: a is the value, op says how it is passed, name of a keyword */
    JN_ARG,
    /* statements */
    JN_TEXT,        /* name: the bytes */
    JN_PRINT,       /* a: expression, b: the next JN_PRINT or NULL */
    JN_IF,          /* a: condition, b: body, c: else part (statements) */
    JN_FOR,         /* a: target, b: iterable, c: condition or NULL, d: body, e: else part, op: recursive */
    JN_SET,         /* a: target, b: value */
    JN_SETBLOCK,    /* a: target, b: filter chain or NULL, d: body */
    JN_MACRO,       /* name, a: parameters (JN_PARAM), d: body, op: JM_* */
    JN_PARAM,       /* name, a: default or NULL */
    JN_CALLBLOCK,   /* a: what is called, c: JO_CALL, b: JN_MACRO of the body */
    JN_FILTERBLOCK, /* b: filter chain, d: body */
    JN_WITH,        /* a: JN_SET list, d: body */
    JN_SCOPE,       /* d: body */
    JN_NSREF,       /* name: namespace, a: JN_NAME of the attribute */
    JN_BREAK,
    JN_CONTINUE
} jnode_kind;

typedef enum jop {
    JP_ADD,
    JP_SUB,
    JP_MUL,
    JP_DIV,
    JP_FLOORDIV,
    JP_MOD,
    JP_POW,
    JP_EQ,
    JP_NE,
    JP_LT,
    JP_LE,
    JP_GT,
    JP_GE,
    JP_IN,
    JP_NOTIN
} jop;

enum { JA_POS, JA_KEY, JA_STAR, JA_STARSTAR };         /* op of JN_ARG */
enum { JM_VARARGS = 1, JM_KWARGS = 2, JM_CALLER = 4 }; /* op of JN_MACRO: names that its body uses */

typedef struct jnode {
    uint8_t kind, op;
    uint32_t line;
    uint32_t hash; /* of name */
    struct jnode *next;
    struct jnode *a, *b, *c, *d, *e;
    qn_slice name;
    const struct jbuiltin *fn; /* JO_FILTER, JO_TEST: NULL when there is none of that name */
    jval val;                  /* JN_CONST */
} jnode;

struct qn_jinja {
    qn_arena arena;
    qn_jinja_limits limits; /* filled in */
    qn_slice src;           /* newlines made \n */
    jnode *body;
};

/* ---- lexer ----------------------------------------------------------------------------------------------------- */

typedef enum jtok_kind {
    JT_EOF,
    JT_DATA,
    JT_BLOCK_BEGIN,
    JT_BLOCK_END,
    JT_VAR_BEGIN,
    JT_VAR_END,
    JT_NAME,
    JT_STR, /* val holds the unescaped text */
    JT_NUM, /* val */
    JT_OP   /* text: one or two characters */
} jtok_kind;

typedef struct jtok {
    jtok_kind kind;
    uint32_t line;
    qn_slice text;
    jval val;
} jtok;

typedef struct jlex {
    qn_jinja *t;
    qn_err *err;
    size_t pos;
    uint32_t line;
    uint32_t brackets; /* open ones: within them }} ends no tag */
    bool opened;       /* a tag's opening was passed and not yet given */
    enum { JLEX_DATA, JLEX_BLOCK, JLEX_VAR } mode;
} jlex;

qn_status qn__j_lex(jlex *l, jtok *out);
qn_status qn__j_syntax(qn_err *err, uint32_t line, const char *fmt, ...) QN_PRINTF(3, 4);

/* ---- parser ---------------------------------------------------------------------------------------------------- */

typedef struct jparse {
    jlex lex;
    qn_jinja *t;
    qn_err *err;
    jtok cur, ahead;
    uint32_t depth;
    uint32_t loops;     /* for loops around this place, within the macro */
    uint8_t macro_uses; /* JM_* seen since the macro began */
} jparse;

qn_status qn__j_advance(jparse *p);
qn_status qn__j_node(jparse *p, jnode_kind kind, jnode **out);
qn_status qn__j_unexpected(jparse *p, const char *wanted);
qn_status qn__j_enter(jparse *p);
static inline void qn__j_leave(jparse *p)
{
    p->depth--;
}
bool qn__j_is_op(const jparse *p, const char *op);
bool qn__j_is_name(const jparse *p, const char *name);
qn_status qn__j_expect_op(jparse *p, const char *op);
qn_status qn__j_expect_name(jparse *p, qn_slice *name);
qn_status qn__j_parse_expr(jparse *p, bool cond, jnode **out);
/* `stop`: a name that ends the tuple, or NULL. */
qn_status qn__j_parse_tuple(jparse *p, bool cond, const char *stop, jnode **out);
qn_status qn__j_parse_target(jparse *p, bool ns, const char *stop, jnode **out);
/* `| name(args) | ...` or, with `inline_start`, the same without the first bar: a list of JO_FILTER. */
qn_status qn__j_parse_filters(jparse *p, bool inline_start, jnode **out);
qn_status qn__j_parse_template(jparse *p, jnode **out);
uint32_t qn__j_hash(qn_slice s);

/* ---- one rendering --------------------------------------------------------------------------------------------- */

typedef struct jvar {
    struct jvar *next;
    qn_slice name;
    uint32_t hash;
    jval v;
} jvar;

typedef struct jenv {
    struct jenv *parent;
    jvar *vars;
    bool kept; /* a macro refers to it: it may outlive its block */
} jenv;

typedef struct jmacro {
    const jnode *node;
    jenv *env;
} jmacro;

typedef struct jloop {
    const jnode *node;
    jenv *env;       /* around the loop */
    const jval *src; /* what is walked */
    uint32_t n_src, at_src;
    jval *kept; /* with a condition: the items that passed so far */
    uint32_t n, index0, depth0;
    jval changed; /* last arguments of changed(); J_ABSENT before */
} jloop;

typedef struct jrun {
    const qn_jinja *t;
    qn_err *err;
    qn_arena arena;
    qn_buf out; /* a stack of captures: see qn__j_mark */
    uint64_t steps;
    uint32_t depth; /* of exec and eval */
    uint32_t calls; /* of macros and recursive loops */
    uint32_t line;
    enum { JF_NONE, JF_BREAK, JF_CONTINUE } flow;
    jenv *root;
    jvar *spare_vars;
    char *tail, *tail_end; /* free bytes behind the newest string: see qn__j_join2 */
    int64_t now;
} jrun;

typedef struct jkw {
    qn_slice name;
    jval v;
} jkw;

enum { J_MAX_PARAMS = 6 };

typedef struct jcall {
    jval self;            /* the filtered or tested value, or the method's object */
    jval a[J_MAX_PARAMS]; /* bound parameters; J_ABSENT where not given */
    const jval *pos;      /* as given */
    uint32_t n_pos, n_kw;
    const jkw *kw;
} jcall;

/* `params` "name,name": bound to a[] by position or name, `min` of them required; NULL: the function looks at pos and
 * kw itself. `mask`: kinds of self that have the method (0: any). */
typedef struct jbuiltin {
    const char *name;
    qn_status (*fn)(jrun *r, const jcall *c, jval *out);
    const char *params;
    uint8_t min;
    uint32_t mask;
} jbuiltin;

#define J_BIT(kind) (1u << (kind))

qn_status qn__j_fail(jrun *r, qn_status code, const char *fmt, ...) QN_PRINTF(3, 4);
#define qn__j_type(r, ...) qn__j_fail(r, QN_EFORMAT, __VA_ARGS__)
/* Count one step and n bytes or elements of work. */
qn_status qn__j_out_of_steps(jrun *r);
static inline qn_status qn__j_step(jrun *r, uint64_t n)
{
    r->steps += 1 + n / 16;
    return r->steps > r->t->limits.steps ? qn__j_out_of_steps(r) : QN_OK;
}
/* What printing or reading a float counts for, in bytes: up to seventeen tries at some hundred nanoseconds each. */
enum { J_COST_FLOAT = 2048 };
qn_status qn__j_alloc(jrun *r, size_t n, void *out); /* *out: a pointer to any type */
qn_status qn__j_array(jrun *r, uint64_t n, jval **out);

/* Output: everything is appended to one buffer; a capture is the part behind a mark, moved into a string. On failure
 * nothing needs to be undone. */
static inline size_t qn__j_mark(const jrun *r)
{
    return r->out.n;
}
qn_status qn__j_emit(jrun *r, const char *p, size_t n);
qn_status qn__j_emits(jrun *r, const char *s);
qn_status qn__j_emit_cp(jrun *r, int32_t cp);
qn_status qn__j_take(jrun *r, size_t mark, jval *out);

/* ---- values: jinja_value.c, jinja_print.c ---------------------------------------------------------------------- */

static inline jval qn__j_none(void)
{
    return (jval){.kind = J_NONE};
}
static inline jval qn__j_bool(bool b)
{
    return (jval){.kind = J_BOOL, .u.b = b};
}
static inline jval qn__j_int(int64_t i)
{
    return (jval){.kind = J_INT, .u.i = i};
}
static inline jval qn__j_float(double f)
{
    return (jval){.kind = J_FLOAT, .u.f = f};
}
static inline jval qn__j_str(const char *s, size_t n)
{
    return (jval){.kind = J_STR, .n = (uint32_t)n, .u.s = s};
}
static inline jval qn__j_list(const jval *v, uint32_t n)
{
    return (jval){.kind = J_LIST, .n = n, .u.v = v};
}
static inline bool qn__j_is_list(jval v)
{
    return v.kind >= J_LIST && v.kind <= J_ITEMS;
}
static inline bool qn__j_is_num(jval v)
{
    return v.kind == J_BOOL || v.kind == J_INT || v.kind == J_FLOAT;
}
static inline int64_t qn__j_as_int(jval v) /* J_BOOL or J_INT */
{
    return v.kind == J_BOOL ? v.u.b : v.u.i;
}
static inline double qn__j_as_float(jval v)
{
    return v.kind == J_FLOAT ? v.u.f : (double)qn__j_as_int(v);
}
static inline bool qn__j_is_int(jval v)
{
    return v.kind == J_BOOL || v.kind == J_INT;
}
bool qn__j_str_is(jval v, const char *s);
qn_status qn__j_gen(jrun *r, const jval *v, uint32_t n, jval *out);
qn_status qn__j_pair(jrun *r, jval a, jval b, jval *out); /* tuple */
qn_status qn__j_undef(jrun *r, jundef_why why, jkind of, qn_slice name, jval *out);
qn_status qn__j_undef_used(jrun *r, jval v); /* the error */
const char *qn__j_type_name(jval v);
bool qn__j_truth(jval v);
qn_status qn__j_equal(jrun *r, jval a, jval b, bool *out);
/* a < b as Python orders; an error when they have no order. `sign`: <0, 0, >0; unordered (NaN): 2. */
qn_status qn__j_compare(jrun *r, jval a, jval b, const char *op, int *sign);
qn_status qn__j_contains(jrun *r, jval item, jval in, bool *out);
qn_status qn__j_len(jrun *r, jval v, uint32_t *n);
/* Everything that iterating gives, as an array; uses up a generator. */
qn_status qn__j_items(jrun *r, jval v, const jval **items, uint32_t *n);
bool qn__j_iterable(jval v);
qn_status qn__j_dict_new(jrun *r, uint32_t cap, jval *out);
qn_status qn__j_dict_put(jrun *r, jdict *d, jval k, jval v);
qn_status qn__j_dict_get(jrun *r, const jdict *d, jval k, const jval **out); /* *out NULL: absent */
const jval *qn__j_dict_find(const jdict *d, qn_slice key);
qn_status qn__j_from_json(jrun *r, const json_t *j, jval *out);
qn_status qn__j_emit_str(jrun *r, jval v);
qn_status qn__j_emit_repr(jrun *r, jval v);
qn_status qn__j_to_str(jrun *r, jval v, jval *out);
void qn__j_float_repr(double f, char out[40]);

typedef struct jjson {
    bool ascii, sort;
    jval indent; /* J_STR or J_ABSENT: no line breaks */
    jval item_sep, key_sep;
} jjson;
/* A copy of v in the order of the keys. */
qn_status qn__j_sort(jrun *r, const jpair *v, uint32_t n, bool reverse, jpair **out);
qn_status qn__j_emit_json(jrun *r, jval v, const jjson *how);

/* ---- operators: jinja_ops.c ------------------------------------------------------------------------------------ */

qn_status qn__j_arith(jrun *r, jop op, jval a, jval b, jval *out);
qn_status qn__j_test_cmp(jrun *r, jop op, jval a, jval b, bool *out);
qn_status qn__j_join2(jrun *r, jval a, jval b, jval *out); /* strings */
qn_status qn__j_getattr(jrun *r, jval v, qn_slice name, jval *out);
qn_status qn__j_getitem(jrun *r, jval v, jval key, jval *out);
qn_status qn__j_slice(jrun *r, jval v, jval from, jval to, jval step, jval *out);

/* ---- evaluation: jinja_eval.c, jinja_exec.c, jinja_call.c ------------------------------------------------------- */

qn_status qn__j_eval(jrun *r, jenv *env, const jnode *n, jval *out);
qn_status qn__j_apply(jrun *r, jenv *env, const jnode *ops, jval base, jval *out); /* the steps of a chain */
qn_status qn__j_exec(jrun *r, jenv *env, const jnode *n);
/* The values of JN_ARG nodes into c. */
qn_status qn__j_args(jrun *r, jenv *env, const jnode *args, jcall *c);
qn_status qn__j_call(jrun *r, jval f, jcall *c, jval *out);
qn_status qn__j_call_builtin(jrun *r, const jbuiltin *f, jcall *c, jval *out);
qn_status qn__j_call_macro(jrun *r, const jmacro *m, const jcall *c, jval *out);
qn_status qn__j_call_loop(jrun *r, jloop *l, jval items, jval *out);
qn_status qn__j_loop_attr(jrun *r, jloop *l, qn_slice name, jval *out, bool *found);
qn_status qn__j_set_var(jrun *r, jenv *env, qn_slice name, uint32_t hash, jval v);
const jval *qn__j_lookup(jrun *r, const jenv *env, qn_slice name, uint32_t hash);
jenv *qn__j_env_new(jrun *r, jenv *parent);
void qn__j_env_done(jrun *r, jenv *env);
static inline qn_status qn__j_deeper(jrun *r)
{
    /* A step of a template's nesting costs a few levels of C; the bound keeps the stack under 2 MiB. */
    if (++r->depth > 6 * r->t->limits.depth)
        return qn__j_fail(r, QN_ELIMIT, "is nested deeper than the limit of %u", (unsigned)r->t->limits.depth);
    return QN_OK;
}

/* ---- built-ins -------------------------------------------------------------------------------------------------- */

const jbuiltin *qn__j_find(const jbuiltin *table, qn_slice name);
const jbuiltin *qn__j_filter(qn_slice name);
const jbuiltin *qn__j_test(qn_slice name);
const jbuiltin *qn__j_global(qn_slice name);
const jbuiltin *qn__j_method(jval self, qn_slice name);
extern const jbuiltin qn__j_str_methods[], qn__j_filters_text[], qn__j_filters_seq[], qn__j_loop_methods[];
qn_status qn__j_printf(jrun *r, jval fmt, jval args, jval *out);      /* fmt % args */
qn_status qn__j_format(jrun *r, jval fmt, const jcall *c, jval *out); /* fmt.format(...) */
qn_status qn__j_strftime(jrun *r, jval fmt, jval *out);
qn_status qn__j_float_of(jrun *r, jval v, bool *ok, double *out);

/* Text: code points of UTF-8; malformed bytes count as one character each. */
size_t qn__j_char(const char *p, size_t n, int32_t *cp);
size_t qn__j_char_back(const char *p, size_t n); /* length of the last character of [p, p+n) */
bool qn__j_is_space(int32_t cp);
uint32_t qn__j_str_len(jval s);
size_t qn__j_offset(jval s, uint32_t index); /* byte offset of character `index` (clamped) */
size_t qn__j_find_bytes(const char *p, size_t n, const char *q, size_t m); /* offset or SIZE_MAX */
jval qn__j_strip(jval s, const jval *chars, bool left, bool right);
qn_status qn__j_case(jrun *r, jval s, int how, jval *out); /* 'u', 'l', 't'itle, 'c'apitalize, 's'wap */
qn_status qn__j_replace(jrun *r, jval s, jval from, jval to, int64_t count, jval *out);
qn_status qn__j_escape(jrun *r, jval s, jval *out);
bool qn__j_printable(int32_t cp);
bool qn__j_is_word(int32_t cp); /* \w of Python's re */

#endif
