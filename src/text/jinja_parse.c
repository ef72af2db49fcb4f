/* jinja_parse.c - expressions: tokens to tree.
 *
 * Precedence, from loose to tight, as Jinja has it: `a if b else c`, or, and, not, comparison, + -, ~, * / // %, **,
 * unary sign, postfix (.x [x] (x)), then filters and tests.
 * Chains of operators of one level, of postfixes and of filters are lists, not deep trees: the tree is only as deep as
 * the text's brackets, which qn__j_enter bounds. */
#include <string.h>

#include "text/jinja_int.h"

uint32_t qn__j_hash(qn_slice s)
{
    return (uint32_t)qn__hash(s.p, s.n);
}

qn_status qn__j_advance(jparse *p)
{
    p->cur = p->ahead;
    return qn__j_lex(&p->lex, &p->ahead);
}

qn_status qn__j_node(jparse *p, jnode_kind kind, jnode **out)
{
    jnode *n = qn__arena_alloc(&p->t->arena, sizeof *n);
    if (!n) {
        if (p->t->arena.total + (1u << 20) > p->t->limits.memory)
            return qn__fail(p->err, QN_ELIMIT, "template", "needs more than the limit of %zu bytes",
                            p->t->limits.memory);
        return qn__fail_mem(p->err, "template");
    }
    memset(n, 0, sizeof *n);
    n->kind = (uint8_t)kind;
    n->line = p->cur.line;
    *out = n;
    return QN_OK;
}

static qn_status name_node(jparse *p, jnode_kind kind, qn_slice name, jnode **out)
{
    J_TRY(qn__j_node(p, kind, out));
    (*out)->name = name;
    (*out)->hash = qn__j_hash(name);
    return QN_OK;
}

qn_status qn__j_unexpected(jparse *p, const char *wanted)
{
    static const char *const what[] = {
        "the end of the template", "text", "{%", "%}", "{{", "}}", "", "a string", "a number"};
    const jtok *t = &p->cur;
    if (t->kind == JT_NAME || t->kind == JT_OP)
        return qn__j_syntax(p->err, t->line, "found '%.*s' where %s should be", (int)(t->text.n > 60 ? 60 : t->text.n),
                            t->text.p, wanted);
    return qn__j_syntax(p->err, t->line, "found %s where %s should be", what[t->kind], wanted);
}

qn_status qn__j_enter(jparse *p)
{
    if (++p->depth <= p->t->limits.depth)
        return QN_OK;
    (void)qn__j_syntax(p->err, p->cur.line, "nested deeper than the limit of %u", (unsigned)p->t->limits.depth);
    if (p->err)
        p->err->code = QN_ELIMIT;
    return QN_ELIMIT;
}

static bool slice_is(qn_slice s, const char *text)
{
    size_t n = strlen(text);
    return s.n == n && memcmp(s.p, text, n) == 0;
}

bool qn__j_is_op(const jparse *p, const char *op)
{
    return p->cur.kind == JT_OP && slice_is(p->cur.text, op);
}

bool qn__j_is_name(const jparse *p, const char *name)
{
    return p->cur.kind == JT_NAME && slice_is(p->cur.text, name);
}

qn_status qn__j_expect_op(jparse *p, const char *op)
{
    if (!qn__j_is_op(p, op)) {
        char wanted[8] = {'\'', op[0], op[1] ? op[1] : '\'', op[1] ? '\'' : 0};
        return qn__j_unexpected(p, wanted);
    }
    return qn__j_advance(p);
}

qn_status qn__j_expect_name(jparse *p, qn_slice *name)
{
    if (p->cur.kind != JT_NAME)
        return qn__j_unexpected(p, "a name");
    *name = p->cur.text;
    return qn__j_advance(p);
}

/* A list under construction: where the next node is linked. */
static void append(jnode ***tail, jnode *n)
{
    **tail = n;
    *tail = &n->next;
}

/* ---- arguments, postfixes, filters, tests ------------------------------------------------------------------------ */

static qn_status parse_args(jparse *p, jnode **out)
{
    jnode **tail = out, *arg;
    int stage = JA_POS; /* arguments come in this order: positional, key=, *, ** */
    *out = NULL;
    J_TRY(qn__j_expect_op(p, "("));
    while (!qn__j_is_op(p, ")")) {
        if (*out) {
            J_TRY(qn__j_expect_op(p, ","));
            if (qn__j_is_op(p, ")"))
                break;
        }
        J_TRY(qn__j_node(p, JN_ARG, &arg));
        bool key = p->cur.kind == JT_NAME && p->ahead.kind == JT_OP && slice_is(p->ahead.text, "=");
        arg->op = (uint8_t)(qn__j_is_op(p, "*") ? JA_STAR : qn__j_is_op(p, "**") ? JA_STARSTAR : key ? JA_KEY : JA_POS);
        if ((arg->op == JA_POS && stage > JA_POS) || (arg->op > JA_KEY && arg->op <= stage) || stage == JA_STARSTAR)
            return qn__j_syntax(p->err, p->cur.line,
                                "arguments of a call must come as: values, name=value, *list, **dict");
        stage = arg->op > stage ? arg->op : stage;
        if (key) {
            arg->name = p->cur.text;
            J_TRY(qn__j_advance(p));
        }
        if (arg->op != JA_POS)
            J_TRY(qn__j_advance(p));
        J_TRY(qn__j_parse_expr(p, true, &arg->a));
        append(&tail, arg);
    }
    return qn__j_advance(p);
}

/* One index or slice within brackets. */
static qn_status parse_index(jparse *p, jnode **out)
{
    jnode *from = NULL, *n;
    if (!qn__j_is_op(p, ":"))
        J_TRY(qn__j_parse_expr(p, true, &from));
    if (!qn__j_is_op(p, ":")) {
        J_TRY(qn__j_node(p, JO_ITEM, &n));
        n->a = from;
        *out = n;
        return QN_OK;
    }
    J_TRY(qn__j_node(p, JO_SLICE, &n));
    n->a = from;
    J_TRY(qn__j_advance(p));
    if (!qn__j_is_op(p, ":") && !qn__j_is_op(p, "]"))
        J_TRY(qn__j_parse_expr(p, true, &n->b));
    if (qn__j_is_op(p, ":")) {
        J_TRY(qn__j_advance(p));
        if (!qn__j_is_op(p, "]"))
            J_TRY(qn__j_parse_expr(p, true, &n->c));
    }
    *out = n;
    return QN_OK;
}

static qn_status parse_subscript(jparse *p, jnode **out)
{
    jnode *n;
    if (qn__j_is_op(p, ".")) {
        J_TRY(qn__j_advance(p));
        if (p->cur.kind == JT_NAME) {
            J_TRY(name_node(p, JO_ATTR, p->cur.text, &n));
        } else if (p->cur.kind == JT_NUM && p->cur.val.kind == J_INT) {
            J_TRY(qn__j_node(p, JO_ITEM, &n));
            J_TRY(qn__j_node(p, JN_CONST, &n->a));
            n->a->val = p->cur.val;
        } else {
            return qn__j_unexpected(p, "a name or number");
        }
        *out = n;
        return qn__j_advance(p);
    }
    J_TRY(qn__j_advance(p));
    if (qn__j_is_op(p, "]")) { /* x[]: the key is an empty tuple */
        J_TRY(qn__j_node(p, JO_ITEM, &n));
        J_TRY(qn__j_node(p, JN_TUPLE, &n->a));
        *out = n;
        return qn__j_advance(p);
    }
    J_TRY(parse_index(p, &n));
    if (qn__j_is_op(p, ",")) { /* x[a, b]: the key is a tuple */
        jnode *tuple;
        J_TRY(qn__j_node(p, JN_TUPLE, &tuple));
        tuple->a = n->a;
        jnode **tail = tuple->a ? &tuple->a->next : &tuple->a;
        while (qn__j_is_op(p, ",")) {
            jnode *item;
            J_TRY(qn__j_advance(p));
            J_TRY(parse_index(p, &item));
            if (item->kind != JO_ITEM || n->kind != JO_ITEM)
                return qn__j_syntax(p->err, item->line, "a slice cannot be part of a tuple");
            append(&tail, item->a);
        }
        n->a = tuple;
    }
    *out = n;
    return qn__j_expect_op(p, "]");
}

static qn_status parse_call(jparse *p, jnode **out)
{
    J_TRY(qn__j_node(p, JO_CALL, out));
    return parse_args(p, &(*out)->a);
}

static qn_status parse_postfix(jparse *p, jnode ***tail)
{
    jnode *n;
    for (;;) {
        if (qn__j_is_op(p, ".") || qn__j_is_op(p, "["))
            J_TRY(parse_subscript(p, &n));
        else if (qn__j_is_op(p, "("))
            J_TRY(parse_call(p, &n));
        else
            return QN_OK;
        append(tail, n);
    }
}

/* A filter's or test's name, which may hold dots. */
static qn_status parse_dotted(jparse *p, qn_slice *name)
{
    qn_slice part = {0};
    J_TRY(qn__j_expect_name(p, name));
    while (qn__j_is_op(p, ".")) {
        J_TRY(qn__j_advance(p));
        J_TRY(qn__j_expect_name(p, &part));
        name->n = (size_t)(part.p + part.n - name->p);
    }
    return QN_OK;
}

static qn_status parse_filter(jparse *p, jnode **out)
{
    qn_slice name;
    J_TRY(qn__j_node(p, JO_FILTER, out));
    J_TRY(parse_dotted(p, &name));
    (*out)->name = name;
    (*out)->fn = qn__j_filter(name);
    return qn__j_is_op(p, "(") ? parse_args(p, &(*out)->a) : QN_OK;
}

qn_status qn__j_parse_filters(jparse *p, bool inline_start, jnode **out)
{
    jnode **tail = out, *n;
    *out = NULL;
    while (inline_start || qn__j_is_op(p, "|")) {
        if (!inline_start)
            J_TRY(qn__j_advance(p));
        inline_start = false;
        J_TRY(parse_filter(p, &n));
        append(&tail, n);
    }
    return QN_OK;
}

static qn_status parse_primary(jparse *p, jnode **out);

static qn_status parse_test(jparse *p, jnode **out)
{
    qn_slice name;
    J_TRY(qn__j_node(p, JO_TEST, out));
    jnode *test = *out;
    J_TRY(qn__j_advance(p));
    if (qn__j_is_name(p, "not")) {
        test->op = 1;
        J_TRY(qn__j_advance(p));
    }
    J_TRY(parse_dotted(p, &name));
    test->name = name;
    test->fn = qn__j_test(name);
    if (qn__j_is_op(p, "("))
        return parse_args(p, &test->a);
    bool stop = qn__j_is_name(p, "else") || qn__j_is_name(p, "or") || qn__j_is_name(p, "and");
    bool begins = p->cur.kind == JT_NAME || p->cur.kind == JT_STR || p->cur.kind == JT_NUM || qn__j_is_op(p, "[") ||
                  qn__j_is_op(p, "{");
    if (stop || !begins)
        return QN_OK;
    if (qn__j_is_name(p, "is"))
        return qn__j_syntax(p->err, p->cur.line, "tests cannot be chained with 'is'");
    jnode *arg, *base, *chain;
    J_TRY(qn__j_node(p, JN_ARG, &arg));
    J_TRY(parse_primary(p, &base));
    J_TRY(qn__j_node(p, JN_CHAIN, &chain));
    chain->a = base;
    jnode **tail = &chain->b;
    J_TRY(parse_postfix(p, &tail));
    arg->a = chain;
    test->a = arg;
    return QN_OK;
}

/* ---- primaries -----------------------------------------------------------------------------------------------------
 */

static qn_status parse_strings(jparse *p, jnode **out)
{
    J_TRY(qn__j_node(p, JN_CONST, out));
    jval v = p->cur.val;
    J_TRY(qn__j_advance(p));
    while (p->cur.kind == JT_STR) { /* 'a' 'b' is 'ab' */
        size_t n = (size_t)v.n + p->cur.val.n;
        char *s = qn__arena_alloc(&p->t->arena, n);
        if (!s)
            return qn__fail(p->err, QN_ELIMIT, "template", "strings written side by side need too much memory");
        if (v.n)
            memcpy(s, v.u.s, v.n);
        if (p->cur.val.n)
            memcpy(s + v.n, p->cur.val.u.s, p->cur.val.n);
        v = qn__j_str(s, n);
        J_TRY(qn__j_advance(p));
    }
    (*out)->val = v;
    return QN_OK;
}

static qn_status parse_list(jparse *p, jnode **out)
{
    J_TRY(qn__j_node(p, JN_LIST, out));
    jnode **tail = &(*out)->a, *item;
    J_TRY(qn__j_advance(p));
    while (!qn__j_is_op(p, "]")) {
        if ((*out)->a) {
            J_TRY(qn__j_expect_op(p, ","));
            if (qn__j_is_op(p, "]"))
                break;
        }
        J_TRY(qn__j_parse_expr(p, true, &item));
        append(&tail, item);
    }
    return qn__j_advance(p);
}

static qn_status parse_dict(jparse *p, jnode **out)
{
    J_TRY(qn__j_node(p, JN_DICT, out));
    jnode **tail = &(*out)->a, *item;
    J_TRY(qn__j_advance(p));
    while (!qn__j_is_op(p, "}")) {
        if ((*out)->a) {
            J_TRY(qn__j_expect_op(p, ","));
            if (qn__j_is_op(p, "}"))
                break;
        }
        J_TRY(qn__j_parse_expr(p, true, &item));
        append(&tail, item);
        J_TRY(qn__j_expect_op(p, ":"));
        J_TRY(qn__j_parse_expr(p, true, &item));
        append(&tail, item);
    }
    return qn__j_advance(p);
}

static qn_status parse_name(jparse *p, jnode **out)
{
    qn_slice name = p->cur.text;
    if (slice_is(name, "caller"))
        p->macro_uses |= JM_CALLER;
    if (slice_is(name, "varargs"))
        p->macro_uses |= JM_VARARGS;
    if (slice_is(name, "kwargs"))
        p->macro_uses |= JM_KWARGS;
    bool yes = slice_is(name, "true") || slice_is(name, "True"),
         no = slice_is(name, "false") || slice_is(name, "False");
    if (yes || no || slice_is(name, "none") || slice_is(name, "None")) {
        J_TRY(qn__j_node(p, JN_CONST, out));
        (*out)->val = yes || no ? qn__j_bool(yes) : qn__j_none();
    } else {
        J_TRY(name_node(p, JN_NAME, name, out));
    }
    return qn__j_advance(p);
}

/* `( ... )`: a tuple or just an expression. */
static qn_status parse_paren(jparse *p, jnode **out)
{
    J_TRY(qn__j_advance(p));
    if (qn__j_is_op(p, ")"))
        J_TRY(qn__j_node(p, JN_TUPLE, out));
    else
        J_TRY(qn__j_parse_tuple(p, true, NULL, out));
    return qn__j_expect_op(p, ")");
}

static qn_status parse_primary(jparse *p, jnode **out)
{
    J_TRY(qn__j_enter(p));
    if (p->cur.kind == JT_NAME) {
        J_TRY(parse_name(p, out));
    } else if (p->cur.kind == JT_STR) {
        J_TRY(parse_strings(p, out));
    } else if (p->cur.kind == JT_NUM) {
        J_TRY(qn__j_node(p, JN_CONST, out));
        (*out)->val = p->cur.val;
        J_TRY(qn__j_advance(p));
    } else if (qn__j_is_op(p, "(")) {
        J_TRY(parse_paren(p, out));
    } else if (qn__j_is_op(p, "[")) {
        J_TRY(parse_list(p, out));
    } else if (qn__j_is_op(p, "{")) {
        J_TRY(parse_dict(p, out));
    } else {
        return qn__j_unexpected(p, "an expression");
    }
    qn__j_leave(p);
    return QN_OK;
}

/* ---- operators -----------------------------------------------------------------------------------------------------
 */

static qn_status parse_unary(jparse *p, bool filters, jnode **out)
{
    jnode *base, *chain, *step;
    if (qn__j_is_op(p, "-") || qn__j_is_op(p, "+")) {
        J_TRY(qn__j_enter(p));
        J_TRY(qn__j_node(p, qn__j_is_op(p, "-") ? JN_NEG : JN_POS, &base));
        J_TRY(qn__j_advance(p));
        J_TRY(parse_unary(p, false, &base->a));
        qn__j_leave(p);
    } else {
        J_TRY(parse_primary(p, &base));
    }
    J_TRY(qn__j_node(p, JN_CHAIN, &chain));
    jnode **tail = &chain->b;
    chain->a = base;
    J_TRY(parse_postfix(p, &tail));
    while (filters) {
        if (qn__j_is_op(p, "|")) {
            J_TRY(qn__j_advance(p));
            J_TRY(parse_filter(p, &step));
        } else if (qn__j_is_name(p, "is")) {
            J_TRY(parse_test(p, &step));
        } else if (qn__j_is_op(p, "(")) {
            J_TRY(parse_call(p, &step));
        } else {
            break;
        }
        append(&tail, step);
    }
    *out = chain->b ? chain : base;
    return QN_OK;
}

/* Binary operators by level: 0 `+ -`, 1 `~`, 2 `* / // %`, 3 `**`, 4: unary. */
static int binary_op(const jparse *p, int level)
{
    static const struct {
        char op[3];
        uint8_t level, code;
    } ops[] = {{"+", 0, JP_ADD}, {"-", 0, JP_SUB},       {"~", 1, 0},      {"*", 2, JP_MUL},
               {"/", 2, JP_DIV}, {"//", 2, JP_FLOORDIV}, {"%", 2, JP_MOD}, {"**", 3, JP_POW}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (ops[i].level == level && qn__j_is_op(p, ops[i].op))
            return ops[i].code;
    return -1;
}

/* Operands are linked through `next`, so one that is shared by two lists would break both: each is made here only.
 * An operand's `op` must be free: a node that uses its own op is wrapped in a chain without steps. */
static qn_status operand(jparse *p, jnode *n, int op, jnode **out)
{
    J_TRY(qn__j_node(p, JN_CHAIN, out));
    (*out)->a = n;
    (*out)->op = (uint8_t)op;
    return QN_OK;
}

static qn_status parse_binary(jparse *p, int level, jnode **out)
{
    jnode *first, *list, *next, *wrapped;
    if (level == 4)
        return parse_unary(p, true, out);
    J_TRY(parse_binary(p, level + 1, &first));
    int op = binary_op(p, level);
    if (op < 0) {
        *out = first;
        return QN_OK;
    }
    J_TRY(qn__j_node(p, level == 1 ? JN_CONCAT : JN_ARITH, &list));
    jnode **tail = &list->a;
    J_TRY(operand(p, first, 0, &wrapped));
    append(&tail, wrapped);
    for (; op >= 0; op = binary_op(p, level)) {
        J_TRY(qn__j_advance(p));
        J_TRY(parse_binary(p, level + 1, &next));
        J_TRY(operand(p, next, op, &wrapped));
        append(&tail, wrapped);
    }
    *out = list;
    return QN_OK;
}

static int compare_op(const jparse *p)
{
    static const char ops[][3] = {"==", "!=", "<", "<=", ">", ">="};
    for (int i = 0; i < 6; i++)
        if (qn__j_is_op(p, ops[i]))
            return JP_EQ + i;
    if (qn__j_is_name(p, "in"))
        return JP_IN;
    bool not_in = qn__j_is_name(p, "not") && p->ahead.kind == JT_NAME && slice_is(p->ahead.text, "in");
    return not_in ? JP_NOTIN : -1;
}

static qn_status parse_compare(jparse *p, jnode **out)
{
    jnode *first, *list, *next, *wrapped;
    J_TRY(parse_binary(p, 0, &first));
    int op = compare_op(p);
    if (op < 0) {
        *out = first;
        return QN_OK;
    }
    J_TRY(qn__j_node(p, JN_CMP, &list));
    jnode **tail = &list->a;
    J_TRY(operand(p, first, 0, &wrapped));
    append(&tail, wrapped);
    for (; op >= 0; op = compare_op(p)) {
        J_TRY(qn__j_advance(p));
        if (op == JP_NOTIN)
            J_TRY(qn__j_advance(p));
        J_TRY(parse_binary(p, 0, &next));
        J_TRY(operand(p, next, op, &wrapped));
        append(&tail, wrapped);
    }
    *out = list;
    return QN_OK;
}

static qn_status parse_not(jparse *p, jnode **out)
{
    if (!qn__j_is_name(p, "not"))
        return parse_compare(p, out);
    J_TRY(qn__j_enter(p));
    J_TRY(qn__j_node(p, JN_NOT, out));
    J_TRY(qn__j_advance(p));
    J_TRY(parse_not(p, &(*out)->a));
    qn__j_leave(p);
    return QN_OK;
}

static qn_status parse_logic(jparse *p, bool is_or, jnode **out)
{
    const char *word = is_or ? "or" : "and";
    jnode *first, *list, *next, *wrapped;
    J_TRY(is_or ? parse_logic(p, false, &first) : parse_not(p, &first));
    if (!qn__j_is_name(p, word)) {
        *out = first;
        return QN_OK;
    }
    J_TRY(qn__j_node(p, is_or ? JN_OR : JN_AND, &list));
    jnode **tail = &list->a;
    J_TRY(operand(p, first, 0, &wrapped));
    append(&tail, wrapped);
    while (qn__j_is_name(p, word)) {
        J_TRY(qn__j_advance(p));
        J_TRY(is_or ? parse_logic(p, false, &next) : parse_not(p, &next));
        J_TRY(operand(p, next, 0, &wrapped));
        append(&tail, wrapped);
    }
    *out = list;
    return QN_OK;
}

qn_status qn__j_parse_expr(jparse *p, bool cond, jnode **out)
{
    uint32_t depth = p->depth;
    jnode *e, *n;
    J_TRY(qn__j_enter(p));
    J_TRY(parse_logic(p, true, &e));
    while (cond && qn__j_is_name(p, "if")) {
        J_TRY(qn__j_enter(p)); /* each adds a level to the tree */
        J_TRY(qn__j_node(p, JN_COND, &n));
        J_TRY(qn__j_advance(p));
        n->a = e;
        J_TRY(parse_logic(p, true, &n->b));
        if (qn__j_is_name(p, "else")) {
            J_TRY(qn__j_advance(p));
            J_TRY(qn__j_parse_expr(p, true, &n->c));
        }
        e = n;
    }
    p->depth = depth;
    *out = e;
    return QN_OK;
}

qn_status qn__j_parse_tuple(jparse *p, bool cond, const char *stop, jnode **out)
{
    jnode *first, *tuple, *item, *wrapped;
    J_TRY(qn__j_parse_expr(p, cond, &first));
    if (!qn__j_is_op(p, ",")) {
        *out = first;
        return QN_OK;
    }
    J_TRY(qn__j_node(p, JN_TUPLE, &tuple));
    jnode **tail = &tuple->a;
    J_TRY(operand(p, first, 0, &wrapped));
    append(&tail, wrapped);
    while (qn__j_is_op(p, ",")) {
        J_TRY(qn__j_advance(p));
        if (p->cur.kind == JT_VAR_END || p->cur.kind == JT_BLOCK_END || qn__j_is_op(p, ")") ||
            (stop && qn__j_is_name(p, stop)))
            break;
        J_TRY(qn__j_parse_expr(p, cond, &item));
        append(&tail, item);
    }
    *out = tuple;
    return QN_OK;
}

/* What can be assigned to: a name, namespace.name, a tuple of such. */
static qn_status target_item(jparse *p, bool ns, jnode **out)
{
    qn_slice name = {0}, attr = {0};
    J_TRY(qn__j_enter(p));
    if (qn__j_is_op(p, "(")) {
        J_TRY(qn__j_advance(p));
        J_TRY(qn__j_parse_target(p, ns, NULL, out));
        J_TRY(qn__j_expect_op(p, ")"));
    } else {
        static const char *const consts[] = {"true", "false", "none", "True", "False", "None"};
        for (size_t i = 0; i < 6; i++)
            if (qn__j_is_name(p, consts[i]))
                return qn__j_unexpected(p, "the name of a variable");
        J_TRY(qn__j_expect_name(p, &name));
        J_TRY(name_node(p, JN_NAME, name, out));
        if (ns && qn__j_is_op(p, ".")) {
            J_TRY(qn__j_advance(p));
            J_TRY(qn__j_expect_name(p, &attr));
            (*out)->kind = JN_NSREF;
            J_TRY(name_node(p, JN_NAME, attr, &(*out)->a));
        }
    }
    qn__j_leave(p);
    return QN_OK;
}

qn_status qn__j_parse_target(jparse *p, bool ns, const char *stop, jnode **out)
{
    jnode *first, *tuple, *item;
    J_TRY(target_item(p, ns, &first));
    if (!qn__j_is_op(p, ",")) {
        *out = first;
        return QN_OK;
    }
    J_TRY(qn__j_node(p, JN_TUPLE, &tuple));
    tuple->a = first;
    jnode **tail = &first->next;
    while (qn__j_is_op(p, ",")) {
        J_TRY(qn__j_advance(p));
        if (qn__j_is_op(p, "=") || qn__j_is_op(p, ")") || p->cur.kind == JT_BLOCK_END ||
            (stop && qn__j_is_name(p, stop)))
            break;
        J_TRY(target_item(p, ns, &item));
        append(&tail, item);
    }
    *out = tuple;
    return QN_OK;
}
