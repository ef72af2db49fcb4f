/* snapshots.h - copies of recurrent state, so that a sequence of a recurrent model can be resumed.
 *
 * Pages hold every position; the state of a recurrent layer is that of the last position only and changes with each token.
 * So a prefix can be taken over only at a position at which somebody kept a copy:
 *
 *   sequence   t0 ........ t63 | t64 ....... t127 | t128 ... t150
 *   pages      [    p0       ] [      p1        ] [   p2  ]
 *   snapshots                  ^ 64               ^ 128     ^ 151 (the sequence ended here)
 *
 * A snapshot hangs on the node of the prefix tree that ends where it stands (`home`), and serves all who come there. There are
 * at most `max`; the one that was unused for longest gives way: its home is emptied. A copy that cannot be made (memory) is
 * not an error: what would have been resumed is computed again. */
#ifndef QN_ENGINE_SNAPSHOTS_H
#define QN_ENGINE_SNAPSHOTS_H

#include "quern.h"

typedef struct qn_snapshot {
    float *state;
    struct qn_snapshot **home; /* where it hangs; NULL: dropped, while somebody holds it */
    int held;                  /* somebody reads the state: it stays as it is */
    bool used;                 /* somebody resumed from it */
    struct qn_snapshot *newer, *older;
} qn_snapshot;

typedef struct qn_snapshots {
    size_t state_bytes; /* 0: not a recurrent model, and everything here does nothing */
    size_t max, n;
    qn_snapshot *newest, *oldest;
} qn_snapshots;

/* Keep a copy of `state` at *home, in place of what is there. */
void qn__snapshot_copy(qn_snapshots *p, qn_snapshot **home, const float *state);
/* The same, taking `state` (of qn__alloc_aligned) over. */
void qn__snapshot_give(qn_snapshots *p, qn_snapshot **home, float *state);
/* It was resumed from. */
void qn__snapshot_touch(qn_snapshots *p, qn_snapshot *s);
/* Empty *home. */
void qn__snapshot_drop(qn_snapshots *p, qn_snapshot **home);
/* Between these two the state stays, wherever its home may be. */
void qn__snapshot_hold(qn_snapshot *s);
void qn__snapshot_release(qn_snapshots *p, qn_snapshot *s);

#endif
