/* progress.c - see progress.h. */
#include "cli/progress.h"

#include <stdio.h>
#include <string.h>

#include "cli/term.h"

void cli_progress_start(cli_progress *p, bool wanted)
{
    memset(p, 0, sizeof *p);
    p->on = wanted && term_is_terminal(TERM_ERR);
    p->start = term_now();
}

void cli_progress_at(cli_progress *p, const char *what, const char *unit, size_t done, size_t total)
{
    if (!p->on || !total)
        return;
    if (!p->seen) {
        p->seen = true;
        p->first = done < total ? done : 0;
    }
    const double now = term_now(), elapsed = now - p->start;
    const double rate = done > p->first && elapsed > 0 ? (double)(done - p->first) / elapsed : 0;
    const double left = rate > 0 ? (double)(total - done) / rate : 0;
    const bool slow = elapsed > 2 || (elapsed > 0.3 && elapsed + left > 2);
    if (!slow || (p->shown && now - p->drawn < 0.1))
        return;
    enum { BAR = 24 };
    char bar[BAR + 1];
    const size_t full = (size_t)((double)BAR * (double)done / (double)total);
    for (size_t i = 0; i < BAR; i++)
        bar[i] = i < full ? '#' : '.';
    bar[BAR] = 0;
    char line[160];
    const int n = snprintf(line, sizeof line, "%s [%s] %3.0f %%  %zu of %zu %s, %.0f s left", what, bar,
                           100.0 * (double)done / (double)total, done, total, unit, left);
    /* A line as wide as the window would wrap and stay. */
    const int room = term_width() - 1;
    fprintf(stderr, "\r%.*s\033[K", n < room ? n : room, line);
    fflush(stderr);
    p->drawn = now;
    p->shown = true;
}

void cli_progress_clear(cli_progress *p)
{
    if (p->shown)
        fprintf(stderr, "\r\033[K");
    p->shown = false;
}
