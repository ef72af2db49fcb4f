/* py_lex.c - from a text to tokens: lines and their indents, names, numbers, strings. See py_lex.h. */
#include <stdio.h>
#include <string.h>

#include "services/probe/py_lex.h"

enum { NAMES = 2000 };

void *py_lex_wrong(py_lexer *s, const char *what)
{
    if (!s->r->raised) {
        s->r->line = s->line;
        (void)py_raise(s->r, "SyntaxError", "%s (line %d)", what, s->line);
    }
    s->t = PY_T_END;
    s->p = s->end;
    return NULL;
}

const char *py_intern(py *r, const char *p, size_t n)
{
    for (size_t i = 0; i < r->n_interned; i++)
        if (strlen(r->interned[i]) == n && memcmp(r->interned[i], p, n) == 0)
            return r->interned[i];
    if (r->n_interned >= NAMES) { /* they are looked through from the front */
        (void)py_raise(r, "MemoryError", "more than %d names", NAMES);
        return "";
    }
    if (r->n_interned == r->cap_interned) {
        const size_t cap = r->cap_interned ? 2 * r->cap_interned : 64;
        const char **more = py_alloc(r, cap * sizeof *more);
        if (!more)
            return "";
        if (r->n_interned)
            memcpy(more, r->interned, r->n_interned * sizeof *more);
        r->interned = more;
        r->cap_interned = cap;
    }
    char *copy = py_alloc(r, n + 1);
    if (!copy)
        return "";
    memcpy(copy, p, n);
    copy[n] = 0;
    return r->interned[r->n_interned++] = copy;
}

/* ---- tokens ---- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* White space at a line's beginning; lines with nothing on them do not count. */
static bool indentation(py_lexer *s)
{
    for (;;) {
        int column = 0;
        const char *p = s->p;
        for (; p < s->end && (*p == ' ' || *p == '\t'); p++)
            column += *p == '\t' ? 8 - column % 8 : 1;
        if (p < s->end && *p == '#')
            while (p < s->end && *p != '\n')
                p++;
        if (p < s->end && *p == '\r')
            p++;
        if (p < s->end && *p == '\n') {
            s->p = p + 1;
            s->line++;
            continue;
        }
        s->p = p;
        s->fresh = false;
        if (p == s->end)
            column = 0;
        const int now = s->n_indents ? s->indents[s->n_indents - 1] : 0;
        if (column > now) {
            if (s->n_indents == PY_INDENTS)
                return py_lex_wrong(s, "too many levels of indentation") != NULL;
            s->indents[s->n_indents++] = column;
            s->t = PY_T_INDENT;
            return true;
        }
        while (s->n_indents && s->indents[s->n_indents - 1] > column) {
            s->n_indents--;
            s->pending++;
        }
        if ((s->n_indents ? s->indents[s->n_indents - 1] : 0) != column)
            return py_lex_wrong(s, "unindent does not match any outer indentation level") != NULL;
        return false;
    }
}

static void string_token(py_lexer *s, bool f)
{
    const char q = *s->p;
    const bool triple = s->end - s->p >= 3 && s->p[1] == q && s->p[2] == q;
    const char *p = s->p + (triple ? 3 : 1);
    s->text = p;
    for (; p < s->end; p++) {
        if (*p == '\\' && p + 1 < s->end) {
            if (*++p == '\n')
                s->line++;
        } else if (*p == '\n' && !triple) {
            break;
        } else if (*p == '\n') {
            s->line++;
        } else if (*p == q && (!triple || (s->end - p >= 3 && p[1] == q && p[2] == q))) {
            s->n = (size_t)(p - s->text);
            s->p = p + (triple ? 3 : 1);
            s->t = f ? PY_T_FSTR : PY_T_STR;
            return;
        }
    }
    (void)py_lex_wrong(s, "unterminated string literal");
}

static void op_token(py_lexer *s)
{
    static const char *const ops[] = {"**=", "//=", ">>=", "<<=", "...", "**", "//", ">>", "<<", "<=", ">=", "==", "!=", "->", "+=", "-=", "*=",
                                      "/=", "%=", "&=", "|=", "^=", ":="};
    s->t = PY_T_OP;
    s->text = s->p;
    s->n = 1;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        const size_t n = strlen(ops[i]);
        if ((size_t)(s->end - s->p) >= n && memcmp(s->p, ops[i], n) == 0) {
            s->n = n;
            break;
        }
    }
    if (strchr("([{", *s->p))
        s->depth++;
    else if (strchr(")]}", *s->p))
        s->depth -= s->depth > 0;
    else if (!strchr("+-*/%<>=!.,:&|^~@;", *s->p))
        (void)py_lex_wrong(s, "invalid character");
    if (s->t == PY_T_OP)
        s->p += s->n;
}

static void number_token(py_lexer *s)
{
    s->text = s->p;
    s->t = PY_T_INT;
    while (s->p < s->end && (is_digit(*s->p) || *s->p == '_'))
        s->p++;
    if (s->p < s->end && *s->p == '.') {
        s->t = PY_T_FLOAT;
        for (s->p++; s->p < s->end && is_digit(*s->p); s->p++) {
        }
    }
    if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
        s->t = PY_T_FLOAT;
        s->p++;
        if (s->p < s->end && (*s->p == '-' || *s->p == '+'))
            s->p++;
        while (s->p < s->end && is_digit(*s->p))
            s->p++;
    }
    s->n = (size_t)(s->p - s->text);
    if ((s->p < s->end && is_letter(*s->p)) || s->n > 30)
        (void)py_lex_wrong(s, "invalid number");
}

void py_lex_next(py_lexer *s)
{
    if (s->r->raised || s->r->no_memory) {
        s->t = PY_T_END;
        return;
    }
    if (s->pending) {
        s->pending--;
        s->t = PY_T_DEDENT;
        return;
    }
    if (s->fresh && s->depth == 0) {
        if (indentation(s))
            return;
        if (s->pending) {
            s->pending--;
            s->t = PY_T_DEDENT;
            return;
        }
    }
    for (;; s->p++) {
        if (s->p >= s->end) {
            s->t = PY_T_END;
            return;
        }
        if (*s->p == '#')
            while (s->p + 1 < s->end && s->p[1] != '\n')
                s->p++;
        else if (*s->p == '\\' && s->p + 1 < s->end && s->p[1] == '\n')
            s->line++, s->p++;
        else if (*s->p == '\n' && s->depth > 0)
            s->line++;
        else if (*s->p == '\n') {
            s->p++;
            s->line++;
            s->fresh = true;
            s->t = PY_T_NEWLINE;
            return;
        } else if (*s->p != ' ' && *s->p != '\t' && *s->p != '\r')
            break;
    }
    const char c = *s->p;
    if (c == '"' || c == '\'') {
        string_token(s, false);
    } else if ((c == 'f' || c == 'F' || c == 'r' || c == 'R' || c == 'b') && s->p + 1 < s->end && (s->p[1] == '"' || s->p[1] == '\'')) {
        if (c != 'f' && c != 'F') {
            (void)py_lex_wrong(s, "strings with the prefix r or b are not supported here");
            return;
        }
        s->p++;
        string_token(s, true);
    } else if (is_letter(c)) {
        s->t = PY_T_NAME;
        s->text = s->p;
        while (s->p < s->end && (is_letter(*s->p) || is_digit(*s->p)))
            s->p++;
        s->n = (size_t)(s->p - s->text);
    } else if (is_digit(c) || (c == '.' && s->p + 1 < s->end && is_digit(s->p[1]))) {
        number_token(s);
    } else {
        op_token(s);
    }
}

bool py_lex_at(const py_lexer *s, const char *text)
{
    return (s->t == PY_T_OP || s->t == PY_T_NAME) && strlen(text) == s->n && memcmp(s->text, text, s->n) == 0;
}

bool py_lex_take(py_lexer *s, const char *text)
{
    if (!py_lex_at(s, text))
        return false;
    py_lex_next(s);
    return true;
}

