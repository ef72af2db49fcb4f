/* jinja_stmt.c - statements: tokens to tree; and the two entry points of the interpreter.
 *
 * Refuses what needs other templates (include, import, extends) and what only extensions define. */
#include <string.h>

#include "text/jinja_int.h"

static qn_status parse_body(jparse *p, const char *const *ends, jnode **out);

static qn_status block_end(jparse *p)
{
    if (p->cur.kind != JT_BLOCK_END)
        return qn__j_unexpected(p, "%}");
    return qn__j_advance(p);
}

static qn_status expect_word(jparse *p, const char *word)
{
    if (!qn__j_is_name(p, word))
        return qn__j_unexpected(p, word);
    return qn__j_advance(p);
}

/* The rest of a tag, then statements up to a tag with one of the words in `ends`; stops at that word. */
static qn_status parse_inner(jparse *p, const char *const *ends, jnode **out)
{
    if (qn__j_is_op(p, ":")) /* allowed before %}, as in Python */
        J_TRY(qn__j_advance(p));
    J_TRY(block_end(p));
    return parse_body(p, ends, out);
}

/* The same for one end word, which is passed. */
static qn_status parse_block(jparse *p, const char *end, jnode **out)
{
    const char *const ends[] = {end, NULL};
    J_TRY(parse_inner(p, ends, out));
    return qn__j_advance(p);
}

static qn_status parse_if(jparse *p, jnode *n)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    for (;;) {
        J_TRY(qn__j_parse_tuple(p, false, NULL, &n->a));
        J_TRY(parse_inner(p, ends, &n->b));
        if (qn__j_is_name(p, "elif")) { /* a flat chain: the else part is one more if */
            J_TRY(qn__j_node(p, JN_IF, &n->c));
            n = n->c;
            n->op = 1; /* continues the chain, see exec_if */
            J_TRY(qn__j_advance(p));
            continue;
        }
        if (qn__j_is_name(p, "else")) {
            J_TRY(qn__j_advance(p));
            return parse_block(p, "endif", &n->c);
        }
        return qn__j_advance(p);
    }
}

static qn_status parse_for(jparse *p, jnode *n)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    J_TRY(qn__j_parse_target(p, false, "in", &n->a));
    J_TRY(expect_word(p, "in"));
    J_TRY(qn__j_parse_tuple(p, false, "recursive", &n->b));
    if (qn__j_is_name(p, "if")) {
        J_TRY(qn__j_advance(p));
        J_TRY(qn__j_parse_expr(p, true, &n->c));
    }
    if (qn__j_is_name(p, "recursive")) {
        n->op = 1;
        J_TRY(qn__j_advance(p));
    }
    p->loops++;
    J_TRY(parse_inner(p, ends, &n->d));
    p->loops--;
    if (!qn__j_is_name(p, "else"))
        return qn__j_advance(p);
    J_TRY(qn__j_advance(p));
    return parse_block(p, "endfor", &n->e);
}

static qn_status parse_set(jparse *p, jnode *n)
{
    J_TRY(qn__j_parse_target(p, true, NULL, &n->a));
    if (qn__j_is_op(p, "=")) {
        J_TRY(qn__j_advance(p));
        return qn__j_parse_tuple(p, true, NULL, &n->b);
    }
    n->kind = JN_SETBLOCK;
    if (n->a->kind == JN_TUPLE)
        return qn__j_unexpected(p, "'='");
    J_TRY(qn__j_parse_filters(p, false, &n->b));
    return parse_block(p, "endset", &n->d);
}

static qn_status parse_params(jparse *p, jnode **out)
{
    jnode **tail = out, *param;
    *out = NULL;
    J_TRY(qn__j_expect_op(p, "("));
    while (!qn__j_is_op(p, ")")) {
        if (*out)
            J_TRY(qn__j_expect_op(p, ","));
        J_TRY(qn__j_node(p, JN_PARAM, &param));
        J_TRY(qn__j_expect_name(p, &param->name));
        param->hash = qn__j_hash(param->name);
        if (qn__j_is_op(p, "=")) {
            J_TRY(qn__j_advance(p));
            J_TRY(qn__j_parse_expr(p, true, &param->a));
        } else if (*out && tail != out && ((jnode *)*out)->op) {
            return qn__j_syntax(p->err, param->line, "a parameter without a default follows one with a default");
        }
        if (param->a)
            (*out ? *out : param)->op = 1; /* the first parameter remembers that a default was seen */
        *tail = param;
        tail = &param->next;
    }
    return qn__j_advance(p);
}

/* Parameters and body of a macro or call block; n->a, n->d, n->op. */
static qn_status parse_macro_rest(jparse *p, jnode *n, const char *end)
{
    uint32_t loops = p->loops;
    uint8_t uses = p->macro_uses;
    p->loops = 0;
    p->macro_uses = 0;
    if (qn__j_is_op(p, "("))
        J_TRY(parse_params(p, &n->a));
    /* A call block's expression stands between parameters and body: its caller parses that and sets n->b. */
    if (n->kind == JN_CALLBLOCK) {
        jnode *m = n->b, **last;
        m->a = n->a;
        uint8_t inner = p->macro_uses;
        p->macro_uses = uses;
        p->loops = loops;
        J_TRY(qn__j_parse_expr(p, true, &n->a));
        uses = p->macro_uses;
        for (last = &n->a->b; *last && (*last)->next; last = &(*last)->next)
            ;
        if (n->a->kind != JN_CHAIN || !*last || (*last)->kind != JO_CALL)
            return qn__j_syntax(p->err, n->line, "a call block needs a call: {%% call name(...) %%}");
        n->c = *last; /* the last step is taken with the caller added */
        *last = NULL;
        p->macro_uses = inner;
        p->loops = 0;
        n = m;
    }
    J_TRY(parse_block(p, end, &n->d));
    n->op = p->macro_uses;
    p->macro_uses |= uses;
    p->loops = loops;
    return QN_OK;
}

static qn_status parse_macro(jparse *p, jnode *n)
{
    J_TRY(qn__j_expect_name(p, &n->name));
    n->hash = qn__j_hash(n->name);
    if (!qn__j_is_op(p, "("))
        return qn__j_unexpected(p, "'('");
    return parse_macro_rest(p, n, "endmacro");
}

static qn_status parse_callblock(jparse *p, jnode *n)
{
    J_TRY(qn__j_node(p, JN_MACRO, &n->b));
    n->b->name = (qn_slice){"caller", 6};
    return parse_macro_rest(p, n, "endcall");
}

static qn_status parse_with(jparse *p, jnode *n)
{
    jnode **tail = &n->a, *set;
    while (p->cur.kind != JT_BLOCK_END) {
        if (n->a)
            J_TRY(qn__j_expect_op(p, ","));
        J_TRY(qn__j_node(p, JN_SET, &set));
        J_TRY(qn__j_parse_target(p, false, NULL, &set->a));
        J_TRY(qn__j_expect_op(p, "="));
        J_TRY(qn__j_parse_expr(p, true, &set->b));
        *tail = set;
        tail = &set->next;
    }
    return parse_block(p, "endwith", &n->d);
}

static qn_status parse_print(jparse *p, jnode *n)
{
    J_TRY(qn__j_parse_expr(p, true, &n->a));
    for (; qn__j_is_op(p, ","); n = n->b) { /* {% print a, b %}: one after another */
        J_TRY(qn__j_node(p, JN_PRINT, &n->b));
        J_TRY(qn__j_advance(p));
        J_TRY(qn__j_parse_expr(p, true, &n->b->a));
    }
    return QN_OK;
}

static qn_status parse_filterblock(jparse *p, jnode *n)
{
    J_TRY(qn__j_parse_filters(p, true, &n->b));
    return parse_block(p, "endfilter", &n->d);
}

static qn_status parse_generation(jparse *p, jnode *n)
{
    return parse_block(p, "endgeneration", &n->d);
}

static qn_status parse_named_block(jparse *p, jnode *n)
{
    J_TRY(qn__j_expect_name(p, &n->name));
    while (qn__j_is_name(p, "scoped") || qn__j_is_name(p, "required"))
        J_TRY(qn__j_advance(p));
    J_TRY(parse_block(p, "endblock", &n->d));
    return p->cur.kind == JT_NAME ? qn__j_advance(p) : QN_OK;
}

static qn_status parse_autoescape(jparse *p, jnode *n)
{
    if (!qn__j_is_name(p, "false") && !qn__j_is_name(p, "False"))
        return qn__j_syntax(p->err, p->cur.line, "autoescape can only be false here");
    J_TRY(qn__j_advance(p));
    return parse_block(p, "endautoescape", &n->d);
}

static qn_status parse_jump(jparse *p, jnode *n)
{
    if (!p->loops)
        return qn__j_syntax(p->err, n->line, "%s stands outside of a loop", n->kind == JN_BREAK ? "break" : "continue");
    return QN_OK;
}

static qn_status parse_statement(jparse *p, jnode **out)
{
    static const struct {
        const char *word;
        jnode_kind kind;
        qn_status (*parse)(jparse *p, jnode *n);
    } words[] = {{"if", JN_IF, parse_if},
                 {"set", JN_SET, parse_set},
                 {"for", JN_FOR, parse_for},
                 {"macro", JN_MACRO, parse_macro},
                 {"break", JN_BREAK, parse_jump},
                 {"continue", JN_CONTINUE, parse_jump},
                 {"generation", JN_SCOPE, parse_generation},
                 {"with", JN_WITH, parse_with},
                 {"call", JN_CALLBLOCK, parse_callblock},
                 {"filter", JN_FILTERBLOCK, parse_filterblock},
                 {"print", JN_PRINT, parse_print},
                 {"block", JN_SCOPE, parse_named_block},
                 {"autoescape", JN_SCOPE, parse_autoescape}};
    static const char *const others[] = {"include", "import", "from", "extends"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (qn__j_is_name(p, words[i].word)) {
            J_TRY(qn__j_enter(p));
            J_TRY(qn__j_node(p, words[i].kind, out));
            J_TRY(qn__j_advance(p));
            J_TRY(words[i].parse(p, *out));
            qn__j_leave(p);
            return QN_OK;
        }
    for (size_t i = 0; i < 4; i++)
        if (qn__j_is_name(p, others[i]))
            return qn__j_syntax(p->err, p->cur.line, "'%s' needs other templates, of which there are none", others[i]);
    if (p->cur.kind != JT_NAME)
        return qn__j_unexpected(p, "the name of a tag");
    return qn__j_syntax(p->err, p->cur.line, "unknown tag '%.*s'", (int)(p->cur.text.n > 60 ? 60 : p->cur.text.n),
                        p->cur.text.p);
}

/* Statements up to a block tag that begins with one of `ends` (NULL: up to the end of the template). */
static qn_status parse_body(jparse *p, const char *const *ends, jnode **out)
{
    jnode **tail = out, *n;
    uint32_t line = p->cur.line;
    *out = NULL;
    for (;;) {
        if (p->cur.kind == JT_EOF) {
            if (!ends)
                return QN_OK;
            return qn__j_syntax(p->err, line, "the block that begins here has no end; add {%% %s %%}",
                                ends[1] && ends[2] ? ends[2] : ends[0]);
        }
        if (p->cur.kind == JT_DATA) {
            J_TRY(qn__j_node(p, JN_TEXT, &n));
            n->name = p->cur.text;
            J_TRY(qn__j_advance(p));
        } else if (p->cur.kind == JT_VAR_BEGIN) {
            J_TRY(qn__j_node(p, JN_PRINT, &n));
            J_TRY(qn__j_advance(p));
            J_TRY(qn__j_parse_tuple(p, true, NULL, &n->a));
            if (p->cur.kind != JT_VAR_END)
                return qn__j_unexpected(p, "}}");
            J_TRY(qn__j_advance(p));
        } else if (p->cur.kind == JT_BLOCK_BEGIN) {
            J_TRY(qn__j_advance(p));
            for (const char *const *e = ends; e && *e; e++)
                if (qn__j_is_name(p, *e))
                    return QN_OK;
            J_TRY(parse_statement(p, &n));
            J_TRY(block_end(p));
        } else {
            return qn__j_unexpected(p, "text or a tag");
        }
        *tail = n;
        tail = &n->next;
    }
}

qn_status qn__j_parse_template(jparse *p, jnode **out)
{
    p->lex = (jlex){.t = p->t, .err = p->err, .line = 1};
    p->cur.line = 1;
    J_TRY(qn__j_lex(&p->lex, &p->ahead));
    J_TRY(qn__j_advance(p));
    return parse_body(p, NULL, out);
}

/* ---- entry points --------------------------------------------------------------------------------------------------
 */

/* Copy the text with \r\n and \r made \n; one newline at the very end is dropped, as Jinja does by default. */
static bool copy_source(qn_jinja *t, const char *text, size_t n)
{
    char *s = qn__arena_alloc(&t->arena, n + 1), *w = s;
    if (!s)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\r') {
            *w++ = '\n';
            i += i + 1 < n && text[i + 1] == '\n';
        } else {
            *w++ = text[i];
        }
    }
    if (w > s && w[-1] == '\n')
        w--;
    *w = 0;
    t->src = (qn_slice){s, (size_t)(w - s)};
    return true;
}

qn_status qn__jinja_parse(const char *text, size_t n, const qn_jinja_limits *limits, qn_jinja **out, qn_err *err)
{
    qn_jinja_limits lim = limits ? *limits : (qn_jinja_limits){0};
    lim.steps = lim.steps ? lim.steps : 20000000;
    lim.depth = lim.depth ? lim.depth : 200;
    lim.memory = lim.memory ? lim.memory : (size_t)256 << 20;
    if (lim.memory > UINT32_MAX / 2) /* lengths of values are 32 bits wide */
        lim.memory = UINT32_MAX / 2;
    if (n >= lim.memory / 2)
        return qn__fail(err, QN_ELIMIT, "template", "has %zu bytes; the limit is %zu", n, lim.memory / 2);
    qn_jinja *t = qn__calloc(1, sizeof *t);
    if (!t)
        return qn__fail_mem(err, "template");
    qn__arena_init(&t->arena, lim.memory);
    t->limits = lim;
    qn_status s = QN_OK;
    if (!copy_source(t, text, n)) {
        s = qn__fail_mem(err, "template");
    } else {
        jparse p = {.t = t, .err = err};
        s = qn__j_parse_template(&p, &t->body);
    }
    if (s != QN_OK) {
        qn__jinja_free(t);
        return s;
    }
    *out = t;
    return QN_OK;
}

void qn__jinja_free(qn_jinja *t)
{
    if (!t)
        return;
    qn__arena_free(&t->arena);
    qn_free(t);
}
