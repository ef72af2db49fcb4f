/* The prefix tree against a list of token sequences that is searched from end to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "engine/tree.h"

enum { T = QN_PAGE_TOKENS, MOST = 400, DEEP = 4 };

static uint64_t rng;
static uint32_t below(uint32_t n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(rng >> 33) % n;
}

/* What the tree should hold: all prefixes that end where a node ends. */
typedef struct entry {
    int32_t tokens[DEEP * T];
    size_t n;
    int32_t page;
    uint64_t used;
    int pins;
    qn_tree_node *node;
} entry;

typedef struct model {
    entry *e;
    size_t n;
    uint64_t clock;
} model;

static size_t common(const int32_t *a, size_t na, const int32_t *b, size_t nb)
{
    size_t n = na < nb ? na : nb, i = 0;
    while (i < n && a[i] == b[i])
        i++;
    return i;
}
static entry *get(model *m, const int32_t *t, size_t n)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->e[i].n == n && common(m->e[i].tokens, n, t, n) == n)
            return &m->e[i];
    return NULL;
}
static bool has_kids(const model *m, const entry *x)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->e[i].n > x->n && x->n % T == 0 && common(m->e[i].tokens, m->e[i].n, x->tokens, x->n) == x->n)
            return true;
    return false;
}
static size_t longest(const model *m, const int32_t *t, size_t n)
{
    size_t most = 0;
    for (size_t i = 0; i < m->n; i++) {
        size_t c = common(m->e[i].tokens, m->e[i].n, t, n);
        most = c > most ? c : most;
    }
    return most;
}
static void drop(model *m, entry *x)
{
    *x = m->e[--m->n];
    if (x != &m->e[m->n])
        x->node->page = x->page;
}
/* Nothing of another prefix stands where x stands. */
static bool agrees(const model *m, const entry *x)
{
    const qn_tree_node *at = x->node;
    if (at->page != x->page || at->depth != (x->n + T - 1) / T || (at->n_kids > 0) != has_kids(m, x))
        return false;
    for (size_t end = x->n; end; end -= at->n, at = at->parent)
        if (memcmp(at->tokens, x->tokens + end - at->n, at->n * sizeof(int32_t)) != 0)
            return false;
    return at->depth == 0;
}
static entry *oldest(const model *m)
{
    entry *best = NULL;
    for (size_t i = 0; i < m->n; i++)
        if (!m->e[i].pins && !has_kids(m, &m->e[i]) && (!best || m->e[i].used < best->used))
            best = &m->e[i];
    return best;
}

static size_t random_tokens(int32_t *t)
{
    size_t n = 1 + below(DEEP * T);
    if (below(3) == 0)
        n = (n + T - 1) / T * T;
    for (size_t i = 0; i < n; i++)
        t[i] = i % 40 == 5 ? (int32_t)below(3) - 1 : 7;
    return n;
}
/* All of t, node by node. */
static void insert(qn_tree *tree, model *m, const int32_t *t, size_t n)
{
    qn_tree_node *at = qn__tree_root(tree);
    for (size_t i = 0; i < n; i += T) {
        size_t k = n - i < T ? n - i : T;
        qn_tree_node *x = k == T ? qn__tree_child(at, t + i) : qn__tree_partial(at, t + i, k);
        entry *e = get(m, t, i + k);
        assert_ptr_equal(x, e ? e->node : NULL);
        if (!x) {
            x = qn__tree_add(tree, at, t + i, k, (int32_t)m->n);
            assert_non_null(x);
            m->e[m->n] = (entry){.n = i + k, .page = (int32_t)m->n, .node = x};
            memcpy(m->e[m->n++].tokens, t, (i + k) * sizeof *t);
        }
        at = x;
    }
    qn__tree_touch(tree, at, 0);
    m->clock++;
    for (size_t i = 0; i < n; i += T)
        get(m, t, n - i < T ? n : i + T)->used = m->clock;
}

static void against_a_list(void **state)
{
    (void)state;
    size_t added = 0, evicted = 0;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        qn_tree *tree = NULL;
        model m = {.e = calloc(MOST + DEEP, sizeof *m.e)};
        rng = seed;
        assert_int_equal(qn__tree_open((qn_name){1, 2}, MOST, &tree, NULL), QN_OK);
        if (seed == 2)
            qn__tree_mask_names(tree, 1); /* four names for everything: nothing may notice */
        for (int step = 0; step < 3000; step++) {
            int32_t t[DEEP * T];
            size_t n = random_tokens(t), had = m.n;
            if (m.n < MOST && below(3)) {
                insert(tree, &m, t, n);
                added += m.n - had;
            } else if (m.n && below(3) == 0) {
                entry *x = &m.e[below((uint32_t)m.n)];
                if (x->pins && below(2)) {
                    x->pins--;
                    qn__tree_unpin(tree, x->node);
                } else if (x->pins < 2) {
                    x->pins++;
                    qn__tree_pin(tree, x->node);
                }
            } else {
                entry *x = oldest(&m);
                qn_tree_node *v = qn__tree_victim(tree, 0);
                assert_int_equal(v != NULL, x != NULL);
                if (v) { /* of equal age, either */
                    for (size_t i = 0; i < m.n; i++)
                        if (m.e[i].node == v) {
                            assert_int_equal(m.e[i].used, x->used);
                            assert_false(m.e[i].pins || has_kids(&m, &m.e[i]));
                            x = &m.e[i];
                        }
                    assert_ptr_equal(x->node, v);
                    qn__tree_remove(tree, v);
                    drop(&m, x);
                    evicted++;
                }
            }
            n = random_tokens(t); /* look for something, through the tree and through the list */
            const qn_tree_node *at = qn__tree_root(tree), *kid;
            size_t i = 0, part;
            while (i + T <= n && (kid = qn__tree_child(at, t + i))) {
                at = kid;
                i += T;
            }
            (void)qn__tree_nearest(at, t + i, n - i, &part);
            assert_int_equal(i + part, longest(&m, t, n));
            assert_int_equal(qn__tree_count(tree), m.n);
        }
        for (size_t i = 0; i < m.n; i++)
            assert_true(agrees(&m, &m.e[i]));
        size_t seen = 0;
        for (qn_tree_node *x = NULL; (x = qn__tree_next(tree, x)); seen++)
            assert_true(x->parent->depth + 1 == x->depth);
        assert_int_equal(seen, m.n);
        /* Planted: a token changed behind the tree's back. */
        m.e[m.n / 2].node->tokens[0] ^= 1;
        assert_false(agrees(&m, &m.e[m.n / 2]));
        m.e[m.n / 2].node->tokens[0] ^= 1;
        qn__tree_close(tree);
        free(m.e);
    }
    printf("figure: tree: %zu nodes added, %zu given up, always what a list says\n", added, evicted);
}

static void names(void **state)
{
    (void)state;
    qn_tree *a = NULL, *b = NULL;
    int32_t t[T] = {5}, u[T] = {6};
    assert_int_equal(qn__tree_open((qn_name){1, 2}, 10, &a, NULL), QN_OK);
    assert_int_equal(qn__tree_open((qn_name){1, 3}, 10, &b, NULL), QN_OK);
    qn_tree_node *x = qn__tree_add(a, qn__tree_root(a), t, T, 0), *y = qn__tree_add(a, x, u, T, 1);
    qn_tree_node *z = qn__tree_add(b, qn__tree_root(b), t, T, 0), *w = qn__tree_add(a, qn__tree_root(a), u, T, 2);
    assert_memory_not_equal(&x->name, &z->name, sizeof x->name); /* another root */
    assert_memory_not_equal(&y->name, &w->name, sizeof x->name); /* another place */
    qn_name again = qn__tree_name(a, x->name, u);
    assert_memory_equal(&y->name, &again, sizeof again);
    qn__tree_close(a);
    qn__tree_close(b);
}

static void out_of_memory(void **state)
{
    (void)state;
    for (uint64_t fail = 1; fail < 12; fail++) {
        qn_tree *tree = NULL;
        int32_t t[T] = {0};
        qn__alloc_fail_at(fail);
        if (qn__tree_open((qn_name){1, 2}, 10, &tree, NULL) == QN_OK) {
            qn_tree_node *at = qn__tree_root(tree);
            for (int32_t i = 0; i < 3 && at; i++) {
                t[0] = i;
                at = qn__tree_add(tree, at, t, T, i);
            }
        }
        qn__alloc_fail_at(0);
        qn__tree_close(tree);
    }
}

/* What a look-up costs does not depend on how much is kept. */
static void look_up(void **state)
{
    (void)state;
    enum { PROMPT = 469 }; /* pages: 30,000 tokens */
    int32_t *t = malloc(PROMPT * T * sizeof *t);
    double seconds[2];
    for (int k = 0; k < 2; k++) {
        qn_tree *tree = NULL;
        assert_int_equal(qn__tree_open((qn_name){1, 2}, 100000, &tree, NULL), QN_OK);
        for (int32_t c = 0; c < (k ? 40 : 1); c++) {
            qn_tree_node *at = qn__tree_root(tree);
            for (int32_t i = 0; i < PROMPT * T; i++)
                t[i] = i % 1000 + (i > 60 ? c : 0);
            for (int32_t i = 0; i < PROMPT && at; i++) {
                qn_tree_node *kid = qn__tree_child(at, t + i * T);
                at = kid ? kid : qn__tree_add(tree, at, t + i * T, T, i);
            }
            assert_non_null(at);
        }
        double start = qn__now();
        for (int r = 0; r < 20; r++) {
            qn_tree_node *at = qn__tree_root(tree);
            for (int32_t i = 0; i < PROMPT; i++)
                assert_non_null(at = qn__tree_child(at, t + i * T));
        }
        seconds[k] = (qn__now() - start) / 20;
        qn__tree_close(tree);
    }
    printf("figure: tree: a prompt of 30,000 tokens is found in %.0f us among 1 conversation, %.0f us among 40\n",
           1e6 * seconds[0], 1e6 * seconds[1]);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_a_list), cmocka_unit_test(names), cmocka_unit_test(out_of_memory), cmocka_unit_test(look_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
