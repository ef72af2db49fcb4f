/* planted.c - a race, on purpose: two threads count without a lock. planted.sh wants it reported; with an argument they take the
 * lock, and nothing may be. */
#include <stdio.h>

#include "base/thread.h"

typedef struct count {
    qn_lock lock;
    bool locked;
    long n;
} count;

static void add(void *arg)
{
    count *c = arg;
    for (int i = 0; i < 1000; i++) {
        if (c->locked)
            qn__lock(&c->lock);
        c->n++;
        if (c->locked)
            qn__unlock(&c->lock);
    }
}

int main(int argc, char **argv)
{
    count c = {.locked = argc > 1};
    qn_thread *one = NULL;
    (void)argv;
    qn__lock_init(&c.lock);
    if (qn__thread_start(add, &c, &one, NULL))
        return 1;
    add(&c);
    qn__thread_join(one);
    qn__lock_destroy(&c.lock);
    printf("%ld\n", c.n);
    return 0;
}
