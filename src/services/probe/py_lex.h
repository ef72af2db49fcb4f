/* py_lex.h - the small Python's tokens: py_lex.c makes them of a text, py_parse.c reads them. */
#ifndef QN_SERVICES_PROBE_PY_LEX_H
#define QN_SERVICES_PROBE_PY_LEX_H

#include "services/probe/py_int.h"

typedef enum py_tok { PY_T_END, PY_T_NEWLINE, PY_T_INDENT, PY_T_DEDENT, PY_T_NAME, PY_T_INT, PY_T_FLOAT, PY_T_STR, PY_T_FSTR, PY_T_OP } py_tok;

enum { PY_INDENTS = 40 };

typedef struct py_lexer {
    py *r;
    const char *p, *end;
    py_tok t;
    const char *text; /* of the token */
    size_t n;
    int line, depth;  /* open brackets: there a line's end is white space */
    int indents[PY_INDENTS], n_indents, pending; /* dedents still to be told */
    bool fresh;       /* at the beginning of a line */
} py_lexer;

void py_lex_next(py_lexer *s);
bool py_lex_at(const py_lexer *s, const char *text);
/* Goes on if that is the token. */
bool py_lex_take(py_lexer *s, const char *text);
/* Raises SyntaxError with the line; NULL, whatever is asked for. */
void *py_lex_wrong(py_lexer *s, const char *what);

#endif
