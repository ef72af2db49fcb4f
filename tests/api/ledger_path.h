/* ledger_path.h - a ledger of a test's own: a path where nothing is yet, and what the database leaves there. */
#ifndef QN_TESTS_LEDGER_PATH_H
#define QN_TESTS_LEDGER_PATH_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char ledger_path[] = "/tmp/quern-ledger-XXXXXX";

static int make_ledger_path(void **state)
{
    (void)state;
    int fd = mkstemp(ledger_path);
    return fd < 0 ? -1 : close(fd) | unlink(ledger_path);
}

static int drop_ledger(void **state)
{
    (void)state;
    char more[64];
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(more, sizeof more, "%s%s", ledger_path, ends[i]);
        (void)unlink(more);
    }
    return 0;
}

#endif
