/* snapshots.h - copies of recurrent state, so that a sequence of a recurrent model can be resumed.
 *
 * Pages hold every position; the state of a recurrent layer is that of the last position only and changes with each token.
 * So a prefix can be taken over only at a position at which somebody kept a copy:
 *
 *   sequence   t0 ........ t63 | t64 ....... t127 | t128 ... t150
 *   pages      [    p0       ] [      p1        ] [   p2  ]
 *   snapshots                  ^ 64               ^ 128     ^ 151 (the sequence ended here)
 *
 * A snapshot is shared by all sequences that have its tokens (by reference count). There are at most `max`; the one that was
 * unused for longest gives way: it loses its copy, and its holders find it dead. A copy that cannot be made (memory) is not
 * an error: what would have been resumed is computed again. */
#ifndef QN_ENGINE_SNAPSHOTS_H
#define QN_ENGINE_SNAPSHOTS_H

#include "quern.h"

typedef struct qn_snapshot {
    float *state; /* NULL: it gave way */
    size_t at;    /* tokens before it */
    int32_t refs;
    struct qn_snapshot *newer, *older; /* while it has its state */
} qn_snapshot;

typedef struct qn_snapshots {
    size_t state_bytes; /* 0: not a recurrent model, and everything here does nothing */
    size_t max, n;
    qn_snapshot *newest, *oldest;
} qn_snapshots;

enum { QN_MARKS = 8 };
/* A sequence's snapshots, ascending. */
typedef struct qn_marks {
    qn_snapshot *m[QN_MARKS];
    int n;
} qn_marks;

/* Keep a copy of `state` at `at`. */
void qn__snapshot_copy(qn_snapshots *p, qn_marks *m, size_t at, const float *state);
/* The same, taking `state` (of qn__alloc_aligned) over. */
void qn__snapshot_give(qn_snapshots *p, qn_marks *m, size_t at, float *state);
/* The last living one at or before `limit`, or NULL. */
qn_snapshot *qn__snapshot_find(const qn_marks *m, size_t limit);
/* It was used. */
void qn__snapshot_touch(qn_snapshots *p, qn_snapshot *s);
/* `to` gets references to those of `from` at or before `limit`. */
void qn__marks_share(qn_snapshots *p, qn_marks *to, const qn_marks *from, size_t limit);
/* Give up the one at `at`, if any. */
void qn__marks_drop(qn_snapshots *p, qn_marks *m, size_t at);
/* Give up those after `limit`. */
void qn__marks_cut(qn_snapshots *p, qn_marks *m, size_t limit);
void qn__marks_clear(qn_snapshots *p, qn_marks *m);

#endif
