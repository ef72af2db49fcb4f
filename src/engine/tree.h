/* tree.h - the prefix tree: which page holds which 64 tokens behind which others.
 *
 * A node is a page: the tokens in it, and by its place the tokens before it. What differs has another node, so that whoever
 * walks down with a prompt finds what was ever computed of it, whoever computed it:
 *
 *   root -- [t0..t63] -- [t64..t127] -- [t128..t191]          names: N1 = H(root, t0..t63), N2 = H(N1, t64..t127) ...
 *                     |              `- [t128..t150]          partial: the last page of a sequence that ended
 *                     `- [u64..u127]
 *
 * A node's children are sorted by their tokens: finding the one that has a page's tokens, or most of them, is a binary search,
 * and what is found has been compared token by token. Names are for other tiers (DESIGN.md section 6), which compare tokens,
 * too: no collision of hashes can hand out another's page.
 *
 * A node is pinned while somebody works on what follows from it. Pages are given up leaf by leaf, the one that was unused for
 * longest first; a session (a number that clients may give) has a share of the pages, and within its share gives up pages for
 * others only when nobody else has any. Leaves that nobody pins stand in a list for each session, oldest first.
 *
 * The tree owns nodes, not pages: whoever adds or removes a node sees to those. */
#ifndef QN_ENGINE_TREE_H
#define QN_ENGINE_TREE_H

#include "engine/snapshots.h"
#include "kernels/kernels.h"

/* Of a prefix that ends with a whole page. */
typedef struct qn_name {
    uint64_t lo, hi;
} qn_name;

typedef struct qn_tree_node {
    struct qn_tree_node *parent;
    struct qn_tree_node **kids; /* ascending */
    uint32_t n_kids, cap_kids;
    uint32_t depth;        /* pages from the start of the sequence, with this one; root: 0 */
    uint32_t pins;
    int32_t page;          /* the owner's number for it */
    uint32_t n;            /* tokens: QN_PAGE_TOKENS, or fewer of a partial one, which has no children and no name */
    uint32_t session;      /* place in the tree's table */
    uint64_t used;         /* stamp of the last use: never less than a child's */
    struct qn_tree_node *newer, *older; /* among the evictable leaves of its session */
    bool listed;
    qn_name name;
    qn_snapshot *snap;     /* of a recurrent model: the state after the last token here, or NULL */
    /* of the disk tier (tiers.c) */
    uint8_t disk;
    bool state_there, resumable; /* its state is on disk; a state that is to be kept stands here or further down */
    struct qn_tree_node *due_next, *due_prev;
    double due_since, touched;
    int32_t tokens[];
} qn_tree_node;

typedef struct qn_tree qn_tree;

/* max_pages: what the sessions share. */
qn_status qn__tree_open(qn_name root, size_t max_pages, qn_tree **out, qn_err *err);
/* Frees all nodes; what hangs on them is gone before. */
void qn__tree_close(qn_tree *t);
qn_tree_node *qn__tree_root(qn_tree *t);
/* Nodes but the root. */
size_t qn__tree_count(const qn_tree *t);
/* Test hook: only these bits of names are used, so that they collide. */
void qn__tree_mask_names(qn_tree *t, uint64_t mask);
qn_name qn__tree_name(const qn_tree *t, qn_name parent, const int32_t *tokens);

/* The child with these QN_PAGE_TOKENS tokens, or NULL. */
qn_tree_node *qn__tree_child(const qn_tree_node *at, const int32_t *tokens);
/* The child that begins with most of tokens[0..n): how many in *common, NULL when that is 0. */
qn_tree_node *qn__tree_nearest(const qn_tree_node *at, const int32_t *tokens, size_t n, size_t *common);
/* The longest partial child that is a beginning of tokens[0..n) and has a snapshot, or NULL. */
qn_tree_node *qn__tree_resumable(const qn_tree_node *at, const int32_t *tokens, size_t n);
/* The partial child with exactly these tokens, or NULL. */
qn_tree_node *qn__tree_partial(const qn_tree_node *at, const int32_t *tokens, size_t n);

/* A child of these tokens, which must be new. NULL when memory is short. */
qn_tree_node *qn__tree_add(qn_tree *t, qn_tree_node *at, const int32_t *tokens, size_t n, int32_t page);
/* The child that stands before x, or NULL: where x has a beginning among its like, mostly that. */
qn_tree_node *qn__tree_before(const qn_tree_node *x);
/* Take out a leaf that is not pinned; its snapshot was dropped before. */
void qn__tree_remove(qn_tree *t, qn_tree_node *x);
/* x and all above it were used just now, by that session (0: none). */
void qn__tree_touch(qn_tree *t, qn_tree_node *x, uint64_t session);
void qn__tree_pin(qn_tree *t, qn_tree_node *x);
void qn__tree_unpin(qn_tree *t, qn_tree_node *x);
/* The leaf that should give way to a page of that session; NULL when every leaf is pinned. */
qn_tree_node *qn__tree_victim(const qn_tree *t, uint64_t session);
/* Every node, parents before children, children in order: NULL gives the first, and NULL comes behind the last. */
qn_tree_node *qn__tree_next(const qn_tree *t, const qn_tree_node *x);

#endif
