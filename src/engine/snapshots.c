/* snapshots.c - see snapshots.h. */
#include "engine/snapshots.h"

#include <string.h>

#include "base/mem.h"

static void unlink_one(qn_snapshots *p, qn_snapshot *s)
{
    *(s->newer ? &s->newer->older : &p->newest) = s->older;
    *(s->older ? &s->older->newer : &p->oldest) = s->newer;
    s->newer = s->older = NULL;
    p->n--;
}

static void link_newest(qn_snapshots *p, qn_snapshot *s)
{
    s->newer = NULL;
    s->older = p->newest;
    *(p->newest ? &p->newest->newer : &p->oldest) = s;
    p->newest = s;
    p->n++;
}

static void destroy(qn_snapshots *p, qn_snapshot *s)
{
    unlink_one(p, s);
    qn__free_aligned(s->state);
    qn_free(s);
}

void qn__snapshot_drop(qn_snapshots *p, qn_snapshot **home)
{
    qn_snapshot *s = *home;
    *home = NULL;
    if (!s)
        return;
    s->home = NULL;
    if (!s->held)
        destroy(p, s);
}

/* The memory of the one that was unused for longest, when there are as many as there may be. */
static float *take_oldest(qn_snapshots *p)
{
    qn_snapshot *s = p->n < p->max ? NULL : p->oldest;
    while (s && s->held)
        s = s->newer;
    if (!s)
        return NULL;
    float *state = s->state;
    s->state = NULL;
    if (s->home)
        *s->home = NULL;
    destroy(p, s);
    return state;
}

void qn__snapshot_give(qn_snapshots *p, qn_snapshot **home, float *state)
{
    qn__snapshot_drop(p, home);
    qn__free_aligned(take_oldest(p));
    qn_snapshot *s = p->n < p->max ? qn__calloc(1, sizeof *s) : NULL;
    if (!s) {
        qn__free_aligned(state);
        return;
    }
    *s = (qn_snapshot){.state = state, .home = home};
    link_newest(p, s);
    *home = s;
}

void qn__snapshot_copy(qn_snapshots *p, qn_snapshot **home, const float *state)
{
    qn__snapshot_drop(p, home);
    float *copy = take_oldest(p);
    if (!copy && p->n < p->max)
        copy = qn__alloc_aligned(p->state_bytes);
    if (!copy)
        return;
    memcpy(copy, state, p->state_bytes);
    qn__snapshot_give(p, home, copy);
}

void qn__snapshot_touch(qn_snapshots *p, qn_snapshot *s)
{
    s->used = true;
    unlink_one(p, s);
    link_newest(p, s);
}

void qn__snapshot_hold(qn_snapshot *s)
{
    s->held++;
}

void qn__snapshot_release(qn_snapshots *p, qn_snapshot *s)
{
    if (--s->held == 0 && !s->home)
        destroy(p, s);
}
