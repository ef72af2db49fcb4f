/* pages_int.h - what pages.c (the pool, sequences) and tiers.c (between memory and disk) share. */
#ifndef QN_ENGINE_PAGES_INT_H
#define QN_ENGINE_PAGES_INT_H

#include "engine/disk.h"
#include "engine/pages.h"

typedef struct qn_slot {
    unsigned char *data;
    int32_t next; /* in the free list; -1: the last */
} qn_slot;

struct qn_pages {
    size_t page_bytes;
    int32_t max_pages, budget, n_pages, n_free, free; /* free: first of the list, -1 when empty */
    qn_slot *slots;
    size_t cap_slots;
    unsigned char **slabs;
    size_t n_slabs, cap_slabs;
    qn_tree *tree;
    qn_snapshots snaps;
    uint64_t evicted, reused; /* pages; tokens that were taken over */
    /* the disk tier; disk NULL: there is none */
    qn_disk *disk;
    qn_tree_node *due_first, *due_last; /* to be written, in the order in which they came */
    size_t n_writing, max_writing; /* pages that the writer has, and may have */
    double token_seconds;          /* of computing one, moving average; 0: not known yet */
    uint64_t restored, lost;       /* pages read back; pages that gave way before they were written */
};

/* A page; -1 when there is none to be had. */
int32_t qn__page_take(qn_pages *p, uint64_t session);
void qn__page_drop(qn_pages *p, int32_t id);

/* x is whole and new, or its path got a state that is worth keeping (x is where that stands). */
void qn__tiers_add(qn_pages *p, qn_tree_node *x);
/* x is about to go. */
void qn__tiers_remove(qn_pages *p, qn_tree_node *x);
/* The sequence that ended at x is over: nothing more is to be waited for. */
void qn__tiers_settle(qn_pages *p, qn_tree_node *x);

/* Before the tree goes. */
void qn__tiers_close(qn_pages *p);

#endif
