/* py_int.h - the inside of the small Python: py_lex.c makes tokens of a text, py_parse.c a tree of them, py_run.c walks it,
 * py_value.c knows what values do to each other, py_builtin.c and py_method.c what may be called. Everything lives in one arena that ends with the run. */
#ifndef QN_SERVICES_PROBE_PY_INT_H
#define QN_SERVICES_PROBE_PY_INT_H

#include "base/mem.h"
#include "services/probe/py.h"

#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
enum { PY_STEPS = 10000 }; /* else a fuzzer spends its minute in a few loops */
#else
enum { PY_STEPS = 200000 };
#endif
enum { PY_DEPTH = 48, PY_NEST = 60, PY_EVAL = 1000, PY_MODULES = 64, PY_ARGS = 16 };

/* ---- trees ---- */

typedef enum py_kind {
    /* expressions */
    PY_N_NONE, PY_N_TRUE, PY_N_FALSE, PY_N_INT, PY_N_FLOAT, PY_N_STR, PY_N_FSTR, PY_N_NAME, PY_N_LIST, PY_N_TUPLE, PY_N_DICT, PY_N_SET,
    PY_N_BINARY, PY_N_UNARY, PY_N_COMPARE, PY_N_AND, PY_N_OR, PY_N_NOT, PY_N_IFELSE, PY_N_CALL, PY_N_KEYWORD, PY_N_ATTR, PY_N_INDEX,
    PY_N_SLICE, PY_N_LAMBDA, PY_N_COMP, PY_N_STAR,
    /* statements */
    PY_N_EXPR, PY_N_ASSIGN, PY_N_AUGMENT, PY_N_RETURN, PY_N_IF, PY_N_WHILE, PY_N_FOR, PY_N_DEF, PY_N_PASS, PY_N_BREAK, PY_N_CONTINUE,
    PY_N_ASSERT, PY_N_RAISE, PY_N_IMPORT, PY_N_FROM, PY_N_TRY, PY_N_EXCEPT, PY_N_DEL
} py_kind;

typedef enum py_op {
    PY_ADD, PY_SUB, PY_MUL, PY_DIV, PY_FLOORDIV, PY_MOD, PY_POW, PY_BITAND, PY_BITOR, PY_BITXOR, PY_SHL, PY_SHR, PY_EQ, PY_NE, PY_LT, PY_LE,
    PY_GT, PY_GE, PY_IN, PY_NOTIN, PY_IS, PY_ISNOT, PY_NEG, PY_POS, PY_INVERT
} py_op;

typedef struct py_node py_node;
struct py_node {
    uint8_t kind, op;
    int line;
    const char *text; /* a name (interned: compare pointers), or bytes of a string */
    size_t n;
    int64_t i;
    double f;
    py_node *a, *b, *c, *d; /* operands, in reading order */
    py_node *first, *next;  /* children; the next of its parent's */
};

/* ---- values ---- */

typedef enum py_type {
    PY_NONE, PY_BOOL, PY_INT, PY_FLOAT, PY_STR, PY_LIST, PY_TUPLE, PY_DICT, PY_SET, PY_FUNC, PY_BUILTIN, PY_METHOD, PY_MODULE, PY_ERROR
} py_type;

typedef struct py_val {
    py_type t;
    union {
        int64_t i;
        double f;
        struct py_text *s;
        struct py_seq *q;
        struct py_map *m;
        struct py_func *fn;
        const struct py_callable *b;
        struct py_bound *bound;
        struct py_module *mod;
    };
} py_val;

typedef struct py_text { const char *p; size_t n; } py_text;
typedef struct py_seq { py_val *v; size_t n, cap; } py_seq;
typedef struct py_map { py_val *k, *v; size_t n, cap; } py_map; /* insertion order; looked through from the front: they are small */

typedef struct py_scope py_scope;
struct py_scope {
    const char **names;
    py_val *v;
    size_t n, cap, cap_v;
    py_scope *outer;
};
typedef struct py_func {
    const py_node *def; /* PY_N_DEF or PY_N_LAMBDA */
    py_scope *outer;
    py_val *defaults;
    const char *file;
} py_func;
typedef struct py_module {
    const char *name, *file;
    py_scope scope;
    bool done, math;
} py_module;

typedef struct py_args {
    py_val v[PY_ARGS], kw[PY_ARGS];
    const char *names[PY_ARGS];
    size_t n, n_kw;
} py_args;

typedef struct py py;
typedef struct py_callable {
    const char *name;
    uint8_t of; /* a method of this type; PY_NONE: a function */
    uint8_t least, most;
    py_val (*fn)(py *r, py_val self, py_args *a);
} py_callable;
typedef struct py_bound { const py_callable *b; py_val self; } py_bound;

struct py {
    qn_arena arena;
    const qn_py_file *files;
    size_t n_files;
    const char **interned;
    size_t n_interned, cap_interned;
    py_module *modules[PY_MODULES];
    size_t n_modules;
    uint64_t steps;
    int depth, nest, evals; /* calls; levels of a text or of data; levels of expressions being computed */
    bool no_memory;
    /* what was raised, or (type NULL) nothing */
    const char *raised;
    char message[400];
    const char *where_file;
    int where_line;
    const char *file; /* being run */
    int line;
    qn_buf *out;
};

/* py_lex.c, py_parse.c */
const char *py_intern(py *r, const char *p, size_t n);
py_node *py_parse(py *r, const char *text, const char *file); /* a list of statements under `first`; NULL: raised */
py_node *py_parse_expr(py *r, const char *text, size_t n, int line);

/* py_value.c */
void *py_alloc(py *r, size_t n); /* never NULL while nothing is raised; on failure raises MemoryError and gives NULL */
py_val py_raise(py *r, const char *type, const char *fmt, ...) QN_PRINTF(3, 4);
bool py_step(py *r);
py_val py_str(py *r, const char *p, size_t n);
py_val py_list(py *r, py_type t); /* PY_LIST or PY_TUPLE, empty */
py_val py_map_new(py *r, py_type t);
bool py_append(py *r, py_val list, py_val v);
bool py_map_set(py *r, py_map *m, py_val k, py_val v);
py_val *py_map_get(py *r, const py_map *m, py_val k);
void py_map_drop(py_map *m, size_t i);
bool py_truth(py_val v);
bool py_equal(py *r, py_val a, py_val b);
int py_order(py *r, py_val a, py_val b); /* <0, 0, >0; raises where there is none */
void py_show(py *r, qn_buf *out, py_val v, bool repr);
const char *py_type_name(py_val v);
py_val py_binary(py *r, py_op op, py_val a, py_val b);
bool py_contains(py *r, py_val in, py_val v);
bool py_index_of(py *r, py_val i, size_t n, size_t *out); /* with negative ones; raises IndexError */
py_val py_get_index(py *r, py_val of, py_val i);
py_val py_get_slice(py *r, py_val of, py_val from, py_val to, py_val step);
/* What a for loop goes through, as a list of its own. */
py_val py_items(py *r, py_val of);

/* py_builtin.c */
const py_callable *py_builtin(const char *name, py_type of); /* NULL: there is none */
py_val py_math(py *r, const char *name);
/* What sort() and sorted() do. */
void py_merge(py *r, py_val to, py_val from); /* what dict() takes, into a dict */
void py_sort(py *r, py_seq *q, py_val key, bool down);
py_val py_keyword(const py_args *a, const char *name, py_val otherwise);
bool py_is_int(py *r, py_val v, const char *what);
bool py_is_str(py *r, py_val v, const char *what);
py_val py_taken(py *r, qn_buf *b); /* as a string; b is freed */

/* py_method.c */
const py_callable *py_method(const char *name, py_type of);

/* py_run.c */
py_val py_call(py *r, py_val f, py_args *a);

#endif
