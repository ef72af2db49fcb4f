/* editor.h - a message typed at the terminal: libedit with a history, over several lines where wanted. */
#ifndef QN_CLI_EDITOR_H
#define QN_CLI_EDITOR_H

#include <stddef.h>

typedef struct cli_editor cli_editor;

typedef enum editor_result {
    EDITOR_TEXT,      /* a message */
    EDITOR_END,       /* Ctrl-D, or the terminal has gone */
    EDITOR_INTERRUPT, /* Ctrl-C with something typed: dropped */
    EDITOR_EMPTY_INTERRUPT
} editor_result;

/* `path` is the file that lines are kept in, or NULL. NULL: no memory or no usable terminal. */
cli_editor *editor_open(const char *path);
void editor_close(cli_editor *e);
/* One message in *text (caller frees) with EDITOR_TEXT. A line that ends in a backslash goes on; a block between lines
 * that begin with """ and end with """ is one message. */
editor_result editor_read(cli_editor *e, char **text, size_t *n);

#endif
