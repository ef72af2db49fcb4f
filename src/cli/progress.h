/* progress.h - a bar on stderr for what takes longer than about two seconds; nothing when stderr is no terminal. */
#ifndef QN_CLI_PROGRESS_H
#define QN_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct cli_progress {
    double start, drawn; /* seconds */
    size_t first;        /* `done` of the first call: work that cost no time of ours */
    bool on, seen, shown;
} cli_progress;

void cli_progress_start(cli_progress *p, bool wanted);
/* "reading [####....]  50 %  512 of 1024 tokens, 3 s left" */
void cli_progress_at(cli_progress *p, const char *what, const char *unit, size_t done, size_t total);
void cli_progress_clear(cli_progress *p);

#endif
