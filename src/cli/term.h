/* term.h - the only file of the command that talks to the operating system: terminals, signals, the clock, paths of the
 * user's state, and files that appear whole or not at all. */
#ifndef QN_CLI_TERM_H
#define QN_CLI_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { TERM_IN = 0, TERM_OUT = 1, TERM_ERR = 2 };

/* Once, first: a closed pipe is an error of the write and not a signal. */
void term_init(void);

bool term_is_terminal(int which);
int term_width(void);
double term_now(void);
/* Processes that wanted to run in the last minute, on average (0 when the system does not say); processors. */
double term_load(void);
int term_processors(void);

/* Between catch and release, Ctrl-C is counted instead of ending the process; the third in a row that nobody takes ends
 * it all the same. While caught, SIGTERM, SIGHUP, SIGQUIT and Ctrl-Z put the terminal back as term_catch found it
 * before they take effect. */
void term_catch(void);
void term_release(void);
/* While caught, each Ctrl-C also calls f(arg) from the handler, on the main thread (the library's take no signals); NULL ends that. f must be safe
 * there. */
void term_on_interrupt(void (*f)(void *arg), void *arg);
/* From now on Ctrl-C and SIGTERM call f(arg), from the handler, instead of ending the process. f must be safe there. */
void term_on_stop(void (*f)(void *arg), void *arg);
bool term_interrupted(void); /* Ctrl-C was pressed since the last take */
bool term_take_interrupt(void);
/* The process was stopped (Ctrl-Z) and goes on: the line must be drawn again. Takes the news. */
bool term_take_resumed(void);
/* The terminal was resized. Takes the news. */
bool term_take_resized(void);

/* One byte of the keyboard: 1, 0 at its end, -1 when a signal came first (Ctrl-C, resize, resumed) or on an error. */
int term_read_byte(unsigned char *out);

/* $XDG_STATE_HOME/quern/NAME or ~/.local/state/quern/NAME; the folder is made (0700) and the file too (0600). False:
 * there is no such place. */
bool term_state_file(const char *name, char *out, size_t cap);

/* A file that appears at `path` whole or not at all. A device or pipe is written directly. commit and abort close and
 * free it; each returns false with errno set when it failed. */
typedef struct term_file {
    FILE *f;
    char *target; /* where it goes, links followed; NULL when written directly */
    char *temporary;
} term_file;
bool term_file_open(const char *path, term_file *out);
bool term_file_commit(term_file *t);
void term_file_abort(term_file *t);

#endif
