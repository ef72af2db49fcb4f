/* editor.c - see editor.h. */
#include "cli/editor.h"

#include <errno.h>
#include <histedit.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "cli/term.h"

struct cli_editor {
    EditLine *line;
    History *history;
    char *path;         /* the history's file, or NULL */
    const char *prompt; /* of the line being read */
    editor_result why;  /* set when reading a character ended the line */
    char *text;         /* the message so far */
    size_t n, cap;
};

static char *prompt(EditLine *line)
{
    cli_editor *e = NULL;
    el_get(line, EL_CLIENTDATA, &e);
    return (char *)(size_t)(e ? e->prompt : "");
}

/* A key pressed: decodes UTF-8 itself, since libedit's own reader swallows signals. */
static int key(EditLine *line, wchar_t *out)
{
    cli_editor *e = NULL;
    el_get(line, EL_CLIENTDATA, &e);
    mbstate_t state;
    memset(&state, 0, sizeof state);
    for (;;) {
        unsigned char byte;
        const int got = term_read_byte(&byte);
        if (got == 1) {
            const size_t n = mbrtowc(out, (const char *)&byte, 1, &state);
            if (n <= 1)
                return 1;
            if (n == (size_t)-1) { /* not UTF-8: shown as what it is not */
                *out = L'?';
                return 1;
            }
        } else if (got < 0 && term_take_interrupt()) {
            const LineInfo *now = el_line(line);
            e->why = now->lastchar > now->buffer ? EDITOR_INTERRUPT : EDITOR_EMPTY_INTERRUPT;
            errno = EINTR;
            return -1;
        } else if (got < 0 && term_take_resized()) {
            el_resize(line);
        } else if (got < 0 && term_take_resumed()) {
            el_set(line, EL_REFRESH);
        } else {
            e->why = EDITOR_END;
            return got;
        }
    }
}

cli_editor *editor_open(const char *path)
{
    cli_editor *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->prompt = "> ";
    /* The prompt goes to the terminal even where the answers go to a file. */
    e->line = el_init("quern", stdin, term_is_terminal(TERM_OUT) ? stdout : stderr, stderr);
    e->history = history_init();
    if (!e->line || !e->history) {
        editor_close(e);
        return NULL;
    }
    HistEvent ev;
    history(e->history, &ev, H_SETSIZE, 1000);
    history(e->history, &ev, H_SETUNIQUE, 1);
    if (path) {
        e->path = strdup(path);
        history(e->history, &ev, H_LOAD, path); /* an empty or damaged file leaves the history empty */
    }
    el_set(e->line, EL_CLIENTDATA, e);
    el_set(e->line, EL_EDITOR, "emacs");
    el_set(e->line, EL_SIGNAL, 0);
    el_set(e->line, EL_PROMPT, prompt);
    el_set(e->line, EL_HIST, history, e->history);
    el_set(e->line, EL_GETCFN, key);
    el_set(e->line, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(e->line, NULL);
    return e;
}

void editor_close(cli_editor *e)
{
    if (!e)
        return;
    if (e->line)
        el_end(e->line);
    if (e->history)
        history_end(e->history);
    free(e->path);
    free(e->text);
    free(e);
}

static bool append(cli_editor *e, const char *p, size_t n)
{
    if (e->cap - e->n <= n) {
        const size_t cap = (e->n + n + 1) * 2;
        char *text = realloc(e->text, cap);
        if (!text)
            return false;
        e->text = text;
        e->cap = cap;
    }
    memcpy(e->text + e->n, p, n);
    e->n += n;
    e->text[e->n] = 0;
    return true;
}

/* One line without its newline, borrowed until the next; NULL: e->why says how it ended. */
static const char *read_line(cli_editor *e, const char *with, size_t *n)
{
    int count = 0;
    e->prompt = with;
    e->why = EDITOR_END;
    el_set(e->line, EL_PREP_TERM, 1); /* before the prompt: a key pressed at the sight of it is ours already */
    const char *line = el_gets(e->line, &count);
    if (!line || count <= 0) {
        fputc('\n', term_is_terminal(TERM_OUT) ? stdout : stderr);
        return NULL;
    }
    *n = (size_t)count;
    if (strspn(line, " \t\n") < *n) {
        HistEvent ev;
        history(e->history, &ev, H_ENTER, line);
        if (e->path)
            history(e->history, &ev, H_SAVE, e->path);
    }
    *n -= line[*n - 1] == '\n';
    return line;
}

static const char fence[] = "\"\"\"";
enum { FENCE = 3 };

/* The rest of a block whose first line began with """: until a line ends with """. */
static bool block(cli_editor *e, const char *line, size_t n)
{
    line += FENCE;
    n -= FENCE;
    while (line) {
        const bool last = n >= FENCE && memcmp(line + n - FENCE, fence, FENCE) == 0;
        if (!append(e, line, n - (last ? FENCE : 0)))
            return false;
        if (last)
            break;
        /* A fence alone on its line opens the block without an empty first line. */
        if (e->n && !append(e, "\n", 1))
            return false;
        line = read_line(e, "\"\"\" ", &n);
    }
    if (e->n && e->text[e->n - 1] == '\n') /* and likewise closes it */
        e->text[--e->n] = 0;
    return line != NULL;
}

editor_result editor_read(cli_editor *e, char **text, size_t *n)
{
    size_t len;
    e->n = 0;
    const char *line = read_line(e, "> ", &len);
    if (!line)
        return e->why;
    bool ok = append(e, "", 0);
    if (len >= FENCE && memcmp(line, fence, FENCE) == 0) {
        ok = block(e, line, len);
    } else {
        while (ok && line && len && line[len - 1] == '\\') {
            ok = append(e, line, len - 1) && append(e, "\n", 1);
            line = read_line(e, "... ", &len);
        }
        ok = ok && line && append(e, line, len);
    }
    if (!ok) /* given up in the middle: nothing of it is sent */
        return e->why == EDITOR_EMPTY_INTERRUPT ? EDITOR_INTERRUPT : e->why;
    *text = e->text;
    *n = e->n;
    e->text = NULL;
    e->n = e->cap = 0;
    return EDITOR_TEXT;
}
