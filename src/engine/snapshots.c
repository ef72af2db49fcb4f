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

static void release(qn_snapshots *p, qn_snapshot *s)
{
    if (--s->refs > 0)
        return;
    if (s->state) {
        unlink_one(p, s);
        qn__free_aligned(s->state);
    }
    qn_free(s);
}

static void remove_at(qn_snapshots *p, qn_marks *m, int i)
{
    release(p, m->m[i]);
    m->n--;
    memmove(m->m + i, m->m + i + 1, (size_t)(m->n - i) * sizeof *m->m);
}

/* Put s, which the caller holds a reference to give away, among the marks. */
static void insert(qn_snapshots *p, qn_marks *m, qn_snapshot *s)
{
    qn__marks_drop(p, m, s->at);
    for (int i = m->n - 1; i >= 0; i--)
        if (!m->m[i]->state)
            remove_at(p, m, i);
    if (m->n == QN_MARKS) /* the first is where other conversations begin, the last ones are where this one goes on */
        remove_at(p, m, 1);
    int i = m->n++;
    for (; i > 0 && m->m[i - 1]->at > s->at; i--)
        m->m[i] = m->m[i - 1];
    m->m[i] = s;
}

/* The state's memory of the one that was unused for longest, when there are as many as there may be. */
static float *take_oldest(qn_snapshots *p)
{
    qn_snapshot *s = p->oldest;
    if (!s || p->n < p->max)
        return NULL;
    float *state = s->state;
    unlink_one(p, s);
    s->state = NULL;
    return state;
}

void qn__snapshot_give(qn_snapshots *p, qn_marks *m, size_t at, float *state)
{
    qn_snapshot *s = at > 0 && p->max > 0 ? qn__calloc(1, sizeof *s) : NULL;
    if (!s) {
        qn__free_aligned(state);
        return;
    }
    qn__free_aligned(take_oldest(p));
    *s = (qn_snapshot){.state = state, .at = at, .refs = 1};
    link_newest(p, s);
    insert(p, m, s);
}

void qn__snapshot_copy(qn_snapshots *p, qn_marks *m, size_t at, const float *state)
{
    if (p->max == 0 || at == 0)
        return;
    float *copy = take_oldest(p);
    if (!copy)
        copy = qn__alloc_aligned(p->state_bytes);
    if (!copy)
        return;
    memcpy(copy, state, p->state_bytes);
    qn__snapshot_give(p, m, at, copy);
}

qn_snapshot *qn__snapshot_find(const qn_marks *m, size_t limit)
{
    for (int i = m->n - 1; i >= 0; i--)
        if (m->m[i]->at <= limit && m->m[i]->state)
            return m->m[i];
    return NULL;
}

void qn__snapshot_touch(qn_snapshots *p, qn_snapshot *s)
{
    unlink_one(p, s);
    link_newest(p, s);
}

void qn__marks_share(qn_snapshots *p, qn_marks *to, const qn_marks *from, size_t limit)
{
    for (int i = 0; i < from->n; i++) {
        qn_snapshot *s = from->m[i];
        if (s->at > limit || !s->state)
            continue;
        s->refs++; /* before insert() drops what stands there: it may be the same one */
        insert(p, to, s);
    }
}

void qn__marks_drop(qn_snapshots *p, qn_marks *m, size_t at)
{
    for (int i = m->n - 1; i >= 0; i--)
        if (m->m[i]->at == at)
            remove_at(p, m, i);
}

void qn__marks_cut(qn_snapshots *p, qn_marks *m, size_t limit)
{
    while (m->n > 0 && m->m[m->n - 1]->at > limit)
        remove_at(p, m, m->n - 1);
}

void qn__marks_clear(qn_snapshots *p, qn_marks *m)
{
    while (m->n > 0)
        remove_at(p, m, m->n - 1);
}
