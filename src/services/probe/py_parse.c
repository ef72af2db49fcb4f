/* py_parse.c - from tokens to a tree. See py_int.h. Refuses, with the line, what the small Python does not know; nesting is bounded. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/probe/py_lex.h"

static py_node *expr(py_lexer *s);
static py_node *block(py_lexer *s);

static bool want(py_lexer *s, const char *text)
{
    char what[60];
    if (py_lex_take(s, text))
        return true;
    (void)snprintf(what, sizeof what, "expected '%s'", text);
    (void)py_lex_wrong(s, what);
    return false;
}

static py_node *node(py_lexer *s, py_kind kind)
{
    py_node *n = py_alloc(s->r, sizeof *n);
    if (!n)
        return NULL;
    *n = (py_node){.kind = (uint8_t)kind, .line = s->line};
    return n;
}

static py_node *pair(py_lexer *s, py_kind kind, py_op op, py_node *a, py_node *b)
{
    py_node *n = node(s, kind);
    if (n) {
        n->op = (uint8_t)op;
        n->a = a;
        n->b = b;
    }
    return n;
}

static bool is_keyword(const py_lexer *s)
{
    static const char *const words[] = {"and", "as", "assert", "break", "class", "continue", "def", "del", "elif", "else", "except", "finally",
                                        "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise",
                                        "return", "try", "while", "with", "yield", "async", "await"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (py_lex_at(s, words[i]))
            return true;
    return false;
}

static const char *name(py_lexer *s)
{
    if (s->t != PY_T_NAME || is_keyword(s)) {
        (void)py_lex_wrong(s, "expected a name");
        return "";
    }
    const char *p = py_intern(s->r, s->text, s->n);
    py_lex_next(s);
    return p;
}

/* ---- expressions ---- */

/* Children up to the closing bracket, the first one already read. */
static void rest(py_lexer *s, py_node *parent, py_node *first, const char *close)
{
    py_node *last = parent->first = first;
    while (!s->r->raised && py_lex_take(s, ",")) {
        if (py_lex_at(s, close))
            break;
        py_node *n = expr(s);
        if (!n)
            return;
        last->next = n;
        last = n;
    }
    (void)want(s, close);
}

/* Targets of a for: a name, or several with commas, maybe in brackets. */
static py_node *targets(py_lexer *s)
{
    const bool brackets = py_lex_take(s, "(");
    py_node *list = node(s, PY_N_TUPLE), *last = NULL;
    do {
        py_node *n;
        if (py_lex_at(s, "("))
            n = targets(s);
        else if ((n = node(s, PY_N_NAME)))
            n->text = name(s);
        if (!n || !list)
            return NULL;
        if (last)
            last->next = n;
        else
            list->first = n;
        last = n;
    } while (py_lex_take(s, ",") && !py_lex_at(s, "in"));
    if (brackets)
        (void)want(s, ")");
    return list->first && !list->first->next && !brackets ? list->first : list;
}

static py_node *or_test(py_lexer *s);

/* `for x in y if z` behind an element: a = element (b = value of a dict), first = clauses. */
static py_node *comprehension(py_lexer *s, py_kind of, py_node *a, py_node *b, const char *close)
{
    py_node *n = pair(s, PY_N_COMP, (py_op)0, a, b), *last = NULL;
    while (n && py_lex_take(s, "for")) {
        py_node *clause = node(s, PY_N_FOR);
        if (!clause)
            return NULL;
        clause->a = targets(s);
        (void)want(s, "in");
        clause->b = or_test(s);
        py_node **condition = &clause->c;
        while (py_lex_take(s, "if")) {
            py_node *test = or_test(s);
            *condition = *condition ? pair(s, PY_N_AND, (py_op)0, *condition, test) : test;
        }
        if (last)
            last->next = clause;
        else
            n->first = clause;
        last = clause;
    }
    if (n)
        n->i = of;
    (void)want(s, close);
    return n;
}

static py_node *brackets(py_lexer *s)
{
    py_node *n;
    if (py_lex_take(s, "(")) {
        if (py_lex_take(s, ")"))
            return node(s, PY_N_TUPLE);
        py_node *first = expr(s);
        if (py_lex_at(s, "for"))
            return comprehension(s, PY_N_LIST, first, NULL, ")");
        if (!py_lex_at(s, ",")) {
            (void)want(s, ")");
            return first;
        }
        if ((n = node(s, PY_N_TUPLE)))
            rest(s, n, first, ")");
        return n;
    }
    if (py_lex_take(s, "[")) {
        if (py_lex_take(s, "]"))
            return node(s, PY_N_LIST);
        py_node *first = expr(s);
        if (py_lex_at(s, "for"))
            return comprehension(s, PY_N_LIST, first, NULL, "]");
        if ((n = node(s, PY_N_LIST)))
            rest(s, n, first, "]");
        return n;
    }
    py_lex_next(s); /* "{" */
    if (py_lex_take(s, "}"))
        return node(s, PY_N_DICT);
    py_node *key = expr(s);
    if (!py_lex_take(s, ":")) {
        if (py_lex_at(s, "for"))
            return comprehension(s, PY_N_SET, key, NULL, "}");
        if ((n = node(s, PY_N_SET)))
            rest(s, n, key, "}");
        return n;
    }
    py_node *value = expr(s);
    if (py_lex_at(s, "for"))
        return comprehension(s, PY_N_DICT, key, value, "}");
    py_node *last = NULL;
    n = node(s, PY_N_DICT);
    while (n && key && value && !s->r->raised) { /* key, value, key, value, ... */
        if (last)
            last->next = key;
        else
            n->first = key;
        key->next = value;
        last = value;
        if (!py_lex_take(s, ",") || py_lex_at(s, "}"))
            break;
        key = expr(s);
        (void)want(s, ":");
        value = expr(s);
    }
    (void)want(s, "}");
    return n;
}

/* A string without its escapes. */
static void unescape(py_lexer *s, qn_buf *out, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        static const char from[] = "ntr0\\'\"", to[] = "\n\t\r\0\\'\"";
        if (p[i] != '\\' || i + 1 == n) {
            qn__buf_putc(out, p[i]);
            continue;
        }
        const char *at_it = p[++i] ? strchr(from, p[i]) : NULL;
        if (at_it)
            qn__buf_putc(out, to[at_it - from]);
        else if (p[i] != '\n')
            qn__buf_putc(out, '\\'), qn__buf_putc(out, p[i]);
    }
    (void)s;
}

static py_node *text_node(py_lexer *s, const char *p, size_t n)
{
    qn_buf b = {0};
    py_node *out = node(s, PY_N_STR);
    unescape(s, &b, p, n);
    char *copy = py_alloc(s->r, b.n + 1);
    if (out && copy) {
        memcpy(copy, b.data ? b.data : "", b.n);
        copy[b.n] = 0;
        out->text = copy;
        out->n = b.n;
    }
    qn__buf_free(&b);
    return out;
}

py_node *py_parse_expr(py *r, const char *text, size_t n, int line)
{
    py_lexer s = {.r = r, .p = text, .end = text + n, .line = line};
    s.depth = 1; /* a line's end means nothing inside braces */
    py_lex_next(&s);
    py_node *e = expr(&s);
    if (e && s.t != PY_T_END && !r->raised)
        return py_lex_wrong(&s, "invalid f-string");
    return e;
}

/* "a{b:.2f}c": children are texts and expressions; those with a format have it in `text`. */
static py_node *fstring(py_lexer *s, const char *p, size_t n)
{
    py_node *f = node(s, PY_N_FSTR), *last = NULL;
    for (size_t i = 0; f && i < n && !s->r->raised;) {
        qn_buf plain = {0};
        while (i < n && !(p[i] == '{' && !(i + 1 < n && p[i + 1] == '{'))) {
            if ((p[i] == '{' || p[i] == '}') && i + 1 < n && p[i + 1] == p[i])
                i++;
            qn__buf_putc(&plain, p[i++]);
        }
        py_node *piece = plain.n ? text_node(s, plain.data, plain.n) : NULL;
        qn__buf_free(&plain);
        if (!piece && i < n) {
            size_t from = ++i, depth = 0, colon = 0;
            for (; i < n && (depth || p[i] != '}'); i++) {
                depth += p[i] == '(' || p[i] == '[' || p[i] == '{';
                depth -= depth && (p[i] == ')' || p[i] == ']' || p[i] == '}');
                if (!depth && !colon && (p[i] == ':' || (p[i] == '!' && i + 1 < n && p[i + 1] == 'r')))
                    colon = i;
            }
            if (i == n)
                return py_lex_wrong(s, "f-string: expecting '}'");
            const size_t end = colon ? colon : i;
            if ((piece = node(s, PY_N_FSTR)) && (piece->a = py_parse_expr(s->r, p + from, end - from, s->line)) && colon) {
                piece->text = py_intern(s->r, p + colon, i - colon);
                piece->n = i - colon;
            }
            i++;
        }
        if (!piece)
            break;
        if (last)
            last->next = piece;
        else
            f->first = piece;
        last = piece;
    }
    return f;
}

static py_node *strings(py_lexer *s)
{
    py_node *all = NULL;
    while (s->t == PY_T_STR || s->t == PY_T_FSTR) {
        py_node *n = s->t == PY_T_STR ? text_node(s, s->text, s->n) : fstring(s, s->text, s->n);
        all = all ? pair(s, PY_N_BINARY, PY_ADD, all, n) : n;
        py_lex_next(s);
    }
    return all;
}

static py_node *lambda(py_lexer *s)
{
    py_node *n = node(s, PY_N_LAMBDA), *last = NULL;
    while (n && !py_lex_at(s, ":") && !s->r->raised) {
        py_node *p = node(s, PY_N_NAME);
        if (!p)
            return NULL;
        p->text = name(s);
        if (py_lex_take(s, "="))
            p->a = expr(s);
        if (last)
            last->next = p;
        else
            n->first = p;
        last = p;
        if (!py_lex_take(s, ","))
            break;
    }
    (void)want(s, ":");
    if (n)
        n->a = expr(s);
    return n;
}

static py_node *atom(py_lexer *s)
{
    py_node *n = NULL;
    if (py_lex_at(s, "(") || py_lex_at(s, "[") || py_lex_at(s, "{"))
        return brackets(s);
    if (s->t == PY_T_STR || s->t == PY_T_FSTR)
        return strings(s);
    if (s->t == PY_T_INT || s->t == PY_T_FLOAT) {
        char digits[40], *to = digits;
        for (size_t i = 0; i < s->n; i++)
            if (s->text[i] != '_')
                *to++ = s->text[i];
        *to = 0;
        if ((n = node(s, s->t == PY_T_INT ? PY_N_INT : PY_N_FLOAT))) {
            errno = 0;
            n->f = strtod(digits, NULL);
            n->i = s->t == PY_T_INT ? strtoll(digits, NULL, 10) : 0;
            if (errno == ERANGE && s->t == PY_T_INT)
                return py_lex_wrong(s, "numbers of more than 64 bits are not supported here");
        }
        py_lex_next(s);
        return n;
    }
    if (s->t != PY_T_NAME || (is_keyword(s) && !py_lex_at(s, "lambda")))
        return py_lex_wrong(s, "invalid syntax");
    if (py_lex_take(s, "lambda"))
        return lambda(s);
    static const char *const constants[] = {"None", "True", "False"};
    for (int i = 0; i < 3; i++)
        if (py_lex_take(s, constants[i]))
            return node(s, (py_kind)(PY_N_NONE + i));
    if ((n = node(s, PY_N_NAME)))
        n->text = name(s);
    return n;
}

static py_node *arguments(py_lexer *s, py_node *f)
{
    py_node *call = node(s, PY_N_CALL), *last = NULL;
    if (!call)
        return NULL;
    call->a = f;
    while (!py_lex_at(s, ")") && !s->r->raised) {
        if (py_lex_at(s, "*") || py_lex_at(s, "**"))
            return py_lex_wrong(s, "* in calls is not supported here");
        py_node *n = expr(s);
        if (n && n->kind == PY_N_NAME && py_lex_at(s, "=")) {
            py_lex_next(s);
            py_node *k = pair(s, PY_N_KEYWORD, (py_op)0, expr(s), NULL);
            if (k)
                k->text = n->text;
            n = k;
        } else if (n && py_lex_at(s, "for")) {
            call->first = comprehension(s, PY_N_LIST, n, NULL, ")");
            return call;
        }
        if (!n)
            return NULL;
        if (last)
            last->next = n;
        else
            call->first = n;
        last = n;
        if (!py_lex_take(s, ","))
            break;
    }
    (void)want(s, ")");
    return call;
}

static py_node *subscript(py_lexer *s, py_node *of)
{
    py_node *from = py_lex_at(s, ":") ? NULL : expr(s);
    if (!py_lex_at(s, ":")) {
        if (py_lex_at(s, ",")) {
            py_node *t = node(s, PY_N_TUPLE);
            if (t)
                rest(s, t, from, "]");
            return pair(s, PY_N_INDEX, (py_op)0, of, t);
        }
        (void)want(s, "]");
        return pair(s, PY_N_INDEX, (py_op)0, of, from);
    }
    py_node *n = pair(s, PY_N_SLICE, (py_op)0, of, from);
    (void)want(s, ":");
    if (n && !py_lex_at(s, "]") && !py_lex_at(s, ":"))
        n->c = expr(s);
    if (n && py_lex_take(s, ":") && !py_lex_at(s, "]"))
        n->d = expr(s);
    (void)want(s, "]");
    return n;
}

static py_node *postfix(py_lexer *s)
{
    py_node *n = atom(s);
    while (n && !s->r->raised) {
        if (py_lex_take(s, "(")) {
            n = arguments(s, n);
        } else if (py_lex_take(s, "[")) {
            n = subscript(s, n);
        } else if (py_lex_take(s, ".")) {
            n = pair(s, PY_N_ATTR, (py_op)0, n, NULL);
            if (n)
                n->text = name(s);
        } else {
            break;
        }
    }
    return n;
}

static py_node *unary(py_lexer *s);

static py_node *power(py_lexer *s)
{
    py_node *a = postfix(s);
    return py_lex_take(s, "**") ? pair(s, PY_N_BINARY, PY_POW, a, unary(s)) : a;
}

static py_node *unary(py_lexer *s)
{
    if (++s->r->nest > PY_NEST) {
        s->r->nest--;
        return py_lex_wrong(s, "too deeply nested");
    }
    py_node *n;
    if (py_lex_take(s, "-"))
        n = pair(s, PY_N_UNARY, PY_NEG, unary(s), NULL);
    else if (py_lex_take(s, "+"))
        n = pair(s, PY_N_UNARY, PY_POS, unary(s), NULL);
    else if (py_lex_take(s, "~"))
        n = pair(s, PY_N_UNARY, PY_INVERT, unary(s), NULL);
    else
        n = power(s);
    s->r->nest--;
    return n;
}

/* Binary operators by how tightly they bind, loosest first. */
typedef struct binary { const char *text; uint8_t op, level; } binary;
static const binary binaries[] = {{"|", PY_BITOR, 0}, {"^", PY_BITXOR, 1}, {"&", PY_BITAND, 2}, {"<<", PY_SHL, 3}, {">>", PY_SHR, 3},
                                  {"+", PY_ADD, 4}, {"-", PY_SUB, 4}, {"*", PY_MUL, 5}, {"/", PY_DIV, 5}, {"//", PY_FLOORDIV, 5}, {"%", PY_MOD, 5}};

static py_node *arith(py_lexer *s, int level)
{
    if (level > 5)
        return unary(s);
    py_node *a = arith(s, level + 1);
    for (bool again = true; a && again && !s->r->raised;) {
        again = false;
        for (size_t i = 0; i < sizeof binaries / sizeof *binaries; i++)
            if (binaries[i].level == level && py_lex_take(s, binaries[i].text)) {
                a = pair(s, PY_N_BINARY, (py_op)binaries[i].op, a, arith(s, level + 1));
                again = true;
                break;
            }
    }
    return a;
}

/* a < b < c: COMPARE with the first operand and a list of (op, operand). */
static py_node *comparison(py_lexer *s)
{
    static const struct { const char *text; uint8_t op; } ops[] = {{"==", PY_EQ}, {"!=", PY_NE}, {"<=", PY_LE}, {">=", PY_GE}, {"<", PY_LT},
                                                                   {">", PY_GT}, {"in", PY_IN}};
    py_node *a = arith(s, 0), *all = NULL, *last = NULL;
    while (a && !s->r->raised) {
        int op = -1;
        for (size_t i = 0; i < sizeof ops / sizeof *ops && op < 0; i++)
            if (py_lex_take(s, ops[i].text))
                op = ops[i].op;
        if (op < 0 && py_lex_take(s, "is"))
            op = py_lex_take(s, "not") ? PY_ISNOT : PY_IS;
        if (op < 0 && py_lex_at(s, "not")) { /* `not` cannot stand here for anything else */
            py_lex_next(s);
            (void)want(s, "in");
            op = PY_NOTIN;
        }
        if (op < 0)
            break;
        py_node *link = pair(s, PY_N_COMPARE, (py_op)op, arith(s, 0), NULL);
        if (!all)
            all = pair(s, PY_N_COMPARE, (py_op)0, a, NULL);
        if (!link || !all)
            return NULL;
        if (last)
            last->next = link;
        else
            all->first = link;
        last = link;
    }
    return all ? all : a;
}

static py_node *not_test(py_lexer *s)
{
    if (++s->r->nest > PY_NEST) {
        s->r->nest--;
        return py_lex_wrong(s, "too deeply nested");
    }
    py_node *n = py_lex_take(s, "not") ? pair(s, PY_N_NOT, (py_op)0, not_test(s), NULL) : comparison(s);
    s->r->nest--;
    return n;
}

static py_node *and_test(py_lexer *s)
{
    py_node *a = not_test(s);
    while (a && py_lex_take(s, "and"))
        a = pair(s, PY_N_AND, (py_op)0, a, not_test(s));
    return a;
}

static py_node *or_test(py_lexer *s)
{
    py_node *a = and_test(s);
    while (a && py_lex_take(s, "or"))
        a = pair(s, PY_N_OR, (py_op)0, a, and_test(s));
    return a;
}

static py_node *expr(py_lexer *s)
{
    if (++s->r->nest > PY_NEST) {
        s->r->nest--;
        return py_lex_wrong(s, "too deeply nested");
    }
    py_node *a = or_test(s);
    if (a && py_lex_at(s, "if")) {
        py_lex_next(s);
        py_node *n = pair(s, PY_N_IFELSE, (py_op)0, a, or_test(s));
        (void)want(s, "else");
        if (n)
            n->c = expr(s);
        a = n;
    }
    s->r->nest--;
    return s->r->raised ? NULL : a;
}

static py_node *exprs(py_lexer *s)
{
    py_node *a = expr(s);
    if (!a || !py_lex_at(s, ","))
        return a;
    py_node *t = node(s, PY_N_TUPLE), *last = a;
    if (t)
        t->first = a;
    while (t && py_lex_take(s, ",") && s->t != PY_T_NEWLINE && s->t != PY_T_END && !py_lex_at(s, "=")) {
        py_node *n = expr(s);
        if (!n)
            return NULL;
        last->next = n;
        last = n;
    }
    return t;
}

/* ---- statements ---- */

static py_node *parameters(py_lexer *s)
{
    py_node *first = NULL, *last = NULL;
    (void)want(s, "(");
    while (!py_lex_at(s, ")") && !s->r->raised) {
        py_node *p = node(s, PY_N_NAME);
        if (py_lex_at(s, "*") || py_lex_at(s, "**"))
            return py_lex_wrong(s, "* in parameters is not supported here");
        if (!p)
            return NULL;
        p->text = name(s);
        if (py_lex_take(s, ":"))
            (void)expr(s); /* what it is annotated with means nothing */
        if (py_lex_take(s, "="))
            p->a = expr(s);
        if (last)
            last->next = p;
        else
            first = p;
        last = p;
        if (!py_lex_take(s, ","))
            break;
    }
    (void)want(s, ")");
    return first;
}

static py_node *if_statement(py_lexer *s)
{
    py_node *n = node(s, PY_N_IF);
    if (!n)
        return NULL;
    n->a = expr(s);
    n->b = block(s);
    if (py_lex_at(s, "elif") && ++s->r->nest <= PY_NEST) {
        py_lex_next(s);
        n->c = if_statement(s);
        s->r->nest--;
    } else if (py_lex_at(s, "elif")) {
        return py_lex_wrong(s, "too many branches");
    } else if (py_lex_take(s, "else")) {
        n->c = block(s);
    }
    return n;
}

static py_node *try_statement(py_lexer *s)
{
    py_node *n = node(s, PY_N_TRY), *last = NULL;
    if (!n)
        return NULL;
    n->a = block(s);
    while (py_lex_take(s, "except")) {
        py_node *e = node(s, PY_N_EXCEPT);
        if (!e)
            return NULL;
        if (!py_lex_at(s, ":"))
            e->a = expr(s);
        if (py_lex_take(s, "as"))
            e->text = name(s);
        e->b = block(s);
        if (last)
            last->next = e;
        else
            n->first = e;
        last = e;
    }
    if (py_lex_take(s, "else"))
        n->b = block(s);
    if (py_lex_take(s, "finally"))
        n->c = block(s);
    return n;
}

static const char *dotted(py_lexer *s)
{
    char path[200];
    size_t n = 0;
    do {
        const char *part = name(s);
        const size_t k = strlen(part);
        if (n + k + 2 > sizeof path) {
            (void)py_lex_wrong(s, "the module's name is too long");
            return "";
        }
        if (n)
            path[n++] = '.';
        memcpy(path + n, part, k);
        n += k;
    } while (py_lex_take(s, "."));
    return py_intern(s->r, path, n);
}

static py_node *import_statement(py_lexer *s, bool from)
{
    py_node *n = node(s, from ? PY_N_FROM : PY_N_IMPORT), *last = NULL;
    if (!n)
        return NULL;
    n->text = dotted(s);
    if (!from) {
        const char *dot = strrchr(n->text, '.');
        if (py_lex_take(s, "as"))
            n->a = node(s, PY_N_NAME), n->a ? (void)(n->a->text = name(s)) : (void)0;
        else if (dot)
            return py_lex_wrong(s, "import a.b needs `as NAME` here");
        return n;
    }
    (void)want(s, "import");
    const bool in = py_lex_take(s, "(");
    do {
        py_node *k = node(s, PY_N_NAME);
        if (!k)
            return NULL;
        k->text = name(s);
        if (py_lex_take(s, "as"))
            k->a = node(s, PY_N_NAME), k->a ? (void)(k->a->text = name(s)) : (void)0;
        if (last)
            last->next = k;
        else
            n->first = k;
        last = k;
    } while (py_lex_take(s, ",") && !py_lex_at(s, ")"));
    if (in)
        (void)want(s, ")");
    return n;
}

static py_node *assignment(py_lexer *s)
{
    static const struct { const char *text; uint8_t op; } ops[] = {{"+=", PY_ADD}, {"-=", PY_SUB}, {"*=", PY_MUL}, {"/=", PY_DIV},
        {"//=", PY_FLOORDIV}, {"%=", PY_MOD}, {"**=", PY_POW}, {"&=", PY_BITAND}, {"|=", PY_BITOR}, {"^=", PY_BITXOR}};
    py_node *a = exprs(s);
    if (!a)
        return NULL;
    if (py_lex_take(s, ":")) { /* an annotation */
        (void)expr(s);
        if (!py_lex_at(s, "="))
            return node(s, PY_N_PASS);
    }
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (py_lex_take(s, ops[i].text))
            return pair(s, PY_N_AUGMENT, (py_op)ops[i].op, a, exprs(s));
    if (!py_lex_at(s, "="))
        return pair(s, PY_N_EXPR, (py_op)0, a, NULL);
    py_lex_next(s);
    py_node *n = pair(s, PY_N_ASSIGN, (py_op)0, a, exprs(s));
    if (py_lex_at(s, "="))
        return py_lex_wrong(s, "a = b = c is not supported here");
    return n;
}

static py_node *simple(py_lexer *s)
{
    py_node *n = NULL;
    if (py_lex_take(s, "return")) {
        n = node(s, PY_N_RETURN);
        if (n && s->t != PY_T_NEWLINE && s->t != PY_T_END && !py_lex_at(s, ";"))
            n->a = exprs(s);
    } else if (py_lex_take(s, "pass")) {
        n = node(s, PY_N_PASS);
    } else if (py_lex_take(s, "break")) {
        n = node(s, PY_N_BREAK);
    } else if (py_lex_take(s, "continue")) {
        n = node(s, PY_N_CONTINUE);
    } else if (py_lex_take(s, "assert")) {
        n = node(s, PY_N_ASSERT);
        if (n)
            n->a = expr(s);
        if (n && py_lex_take(s, ","))
            n->b = expr(s);
    } else if (py_lex_take(s, "raise")) {
        n = node(s, PY_N_RAISE);
        if (n && s->t != PY_T_NEWLINE && s->t != PY_T_END)
            n->a = expr(s);
    } else if (py_lex_take(s, "import")) {
        n = import_statement(s, false);
    } else if (py_lex_take(s, "from")) {
        n = import_statement(s, true);
    } else if (py_lex_take(s, "del")) {
        n = pair(s, PY_N_DEL, (py_op)0, expr(s), NULL);
    } else if (py_lex_at(s, "class") || py_lex_at(s, "with") || py_lex_at(s, "global") || py_lex_at(s, "nonlocal") || py_lex_at(s, "yield") || py_lex_at(s, "async") || py_lex_at(s, "@")) {
        char what[60];
        (void)snprintf(what, sizeof what, "'%.*s' is not supported here", (int)s->n, s->text);
        return py_lex_wrong(s, what);
    } else {
        n = assignment(s);
    }
    return n;
}

static py_node *statement(py_lexer *s)
{
    py_node *n;
    const int line = s->line;
    if (py_lex_take(s, "if")) {
        n = if_statement(s);
    } else if (py_lex_take(s, "while")) {
        n = node(s, PY_N_WHILE);
        if (n)
            n->a = expr(s), n->b = block(s);
    } else if (py_lex_take(s, "for")) {
        n = node(s, PY_N_FOR);
        if (n) {
            n->a = targets(s);
            (void)want(s, "in");
            n->b = exprs(s);
            n->c = block(s);
        }
    } else if (py_lex_take(s, "def")) {
        n = node(s, PY_N_DEF);
        if (n) {
            n->text = name(s);
            n->first = parameters(s);
            if (py_lex_take(s, "->"))
                (void)expr(s);
            n->a = block(s);
        }
    } else if (py_lex_take(s, "try")) {
        n = try_statement(s);
    } else {
        n = simple(s);
        if (n && !py_lex_take(s, ";") && s->t != PY_T_END) {
            if (s->t != PY_T_NEWLINE)
                return py_lex_wrong(s, "invalid syntax");
            py_lex_next(s);
        }
    }
    if (n)
        n->line = line;
    return s->r->raised ? NULL : n;
}

static py_node *statements(py_lexer *s, py_tok end)
{
    py_node *all = node(s, PY_N_PASS), *last = NULL;
    while (all && s->t != end && s->t != PY_T_END) {
        if (s->t == PY_T_NEWLINE) {
            py_lex_next(s);
            continue;
        }
        if (s->t == PY_T_INDENT)
            return py_lex_wrong(s, "unexpected indent");
        py_node *n = statement(s);
        if (!n)
            return NULL;
        if (last)
            last->next = n;
        else
            all->first = n;
        last = n;
    }
    return all;
}

static py_node *block(py_lexer *s)
{
    if (!want(s, ":"))
        return NULL;
    if (++s->r->nest > PY_NEST) {
        s->r->nest--;
        return py_lex_wrong(s, "too deeply nested");
    }
    py_node *n;
    if (s->t != PY_T_NEWLINE) { /* if x: return 1 */
        n = node(s, PY_N_PASS);
        if (n)
            n->first = simple(s);
        if (s->t == PY_T_NEWLINE)
            py_lex_next(s);
    } else {
        py_lex_next(s);
        if (s->t != PY_T_INDENT)
            n = py_lex_wrong(s, "expected an indented block");
        else {
            py_lex_next(s);
            n = statements(s, PY_T_DEDENT);
            if (n && !n->first)
                n = py_lex_wrong(s, "expected an indented block");
            if (s->t == PY_T_DEDENT)
                py_lex_next(s);
        }
    }
    s->r->nest--;
    return n;
}

py_node *py_parse(py *r, const char *text, const char *file)
{
    py_lexer s = {.r = r, .p = text, .end = text + strlen(text), .line = 1, .fresh = true};
    r->file = file;
    r->nest = 0;
    py_lex_next(&s);
    py_node *n = statements(&s, PY_T_END);
    if (n && s.depth > 0 && !r->raised)
        return py_lex_wrong(&s, "a bracket was never closed");
    return r->raised ? NULL : n;
}
