/* The pages of KV against a model of them: every page of a sequence must hold what its tokens say, whoever computed it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/pages.h"

enum { T = 64, SLOT = 8, BYTES = T * SLOT };

static uint64_t rng;
static uint32_t below(uint32_t n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(rng >> 33) % n;
}

/* What a decoder would write: a function of all tokens up to pos. */
static uint64_t content(const qn_seq *s, size_t pos)
{
    uint64_t h = 99;
    for (size_t i = 0; i <= pos; i++)
        h = (h ^ (uint64_t)s->tokens[i]) * 0x100000001b3u;
    return h;
}
static void compute(qn_pages *p, qn_seq *s, size_t n)
{
    assert_int_equal(qn__seq_reserve(p, s, n, NULL), QN_OK);
    for (size_t i = s->n_done; i < n; i++) {
        uint64_t h = content(s, i);
        memcpy(s->pages[i / T] + i % T * SLOT, &h, SLOT);
    }
    qn__seq_done(p, s, n - s->n_done);
}
static bool holds(const qn_seq *s)
{
    for (size_t i = 0; i < s->n_done; i++) {
        uint64_t h = content(s, i);
        if (memcmp(s->pages[i / T] + i % T * SLOT, &h, SLOT) != 0)
            return false;
    }
    return true;
}
static qn_seq *prompt(size_t n, int32_t change_at)
{
    int32_t *t = malloc((n + 1) * sizeof *t);
    for (size_t i = 0; i < n; i++)
        t[i] = (int32_t)i % 97 + ((int32_t)i == change_at ? 1000 : 0);
    qn_seq *s = NULL;
    assert_int_equal(qn__seq_open(t, n, &s, NULL), QN_OK);
    free(t);
    return s;
}

static size_t found(qn_pages *p, const qn_seq *s, size_t limit)
{
    size_t common, n = qn__pages_find(p, s, limit, &common);
    assert_int_equal(n, common);
    return n;
}
static size_t nodes(const qn_pages *p)
{
    qn_pages_stats st;
    qn__pages_stats(p, &st);
    return st.nodes;
}

static void shares(void **state)
{
    (void)state;
    qn_pages *p = NULL;
    assert_int_equal(qn__pages_open(BYTES, 100, 100, &p, NULL), QN_OK);
    qn_seq *a = prompt(150, -1);
    compute(p, a, 150);
    assert_int_equal(qn__pages_free(p), 97);
    assert_int_equal(nodes(p), 2);

    /* From a running one: two whole pages are the tree's, the third is copied up to where they differ. */
    qn_seq *b = prompt(200, 140);
    assert_int_equal(found(p, b, 199), 128);
    assert_int_equal(qn__seq_common(b, 199, a, a->n_done), 140);
    assert_int_equal(qn__seq_usable(p, b, 199, a), 140);
    assert_int_equal(qn__seq_adopt(p, b, a, 140, NULL), QN_OK);
    assert_int_equal(b->n_done, 140);
    assert_ptr_equal(b->pages[0], a->pages[0]);
    assert_ptr_equal(b->pages[1], a->pages[1]);
    assert_ptr_not_equal(b->pages[2], a->pages[2]);
    compute(p, b, 200);
    assert_true(holds(a) && holds(b));
    assert_int_equal(qn__pages_free(p), 95);
    /* Planted: a page of a taken for b's. */
    unsigned char mine[BYTES];
    memcpy(mine, b->pages[2], BYTES);
    memcpy(b->pages[2], a->pages[2], BYTES);
    assert_false(holds(b));
    memcpy(b->pages[2], mine, BYTES);

    /* Further along than its own start: what it computed itself is the tree's by now. */
    qn_seq *c = prompt(150, -1);
    compute(p, c, 70);
    assert_ptr_equal(c->pages[0], a->pages[0]);
    assert_int_equal(qn__seq_adopt(p, c, a, 149, NULL), QN_OK);
    assert_ptr_equal(c->pages[1], a->pages[1]);
    assert_int_equal(c->n_done, 149);
    qn_seq *d = prompt(150, -1); /* inside the page it has itself */
    compute(p, d, 130);
    assert_int_equal(qn__seq_adopt(p, d, a, 145, NULL), QN_OK);
    assert_true(holds(c) && holds(d) && holds(a));
    qn__seq_close(p, d);

    /* Kept, found again, and one that is all of another is not kept twice. */
    size_t before = nodes(p);
    qn__pages_keep(p, a);
    assert_int_equal(nodes(p), before + 1);
    qn__pages_keep(p, c);
    assert_int_equal(nodes(p), before + 1);
    qn_seq *e = prompt(400, -1);
    assert_int_equal(found(p, e, 399), 150);
    assert_int_equal(qn__pages_adopt(p, e, 150, NULL), QN_OK);
    compute(p, e, 400);
    assert_true(holds(e) && holds(b));
    assert_int_equal(nodes(p), before + 4); /* the partial one has become a part of a whole one */
    qn__pages_keep(p, e);
    assert_int_equal(nodes(p), before + 5);
    qn__seq_close(p, b);
    qn_seq *x = prompt(10, 0);
    assert_int_equal(found(p, x, 9), 0);
    qn__pages_keep(p, x); /* nothing computed: nothing kept */
    assert_int_equal(nodes(p), before + 5);
    assert_int_equal(qn__pages_free(p), 100 - (int)nodes(p));
    qn__pages_close(p);
}

static void gives_way(void **state)
{
    (void)state;
    qn_pages *p = NULL;
    assert_int_equal(qn__pages_open(BYTES, 10, 10, &p, NULL), QN_OK);
    qn_seq *a = prompt(5 * T, 0), *b = prompt(5 * T, 1);
    compute(p, a, 5 * T);
    compute(p, b, 5 * T);
    qn__pages_keep(p, a);
    qn__pages_keep(p, b);
    assert_int_equal(qn__pages_free(p), 0);
    qn_seq *c = prompt(7 * T, 2), *like_a = prompt(5 * T, 0), *like_b = prompt(5 * T, 1);
    compute(p, c, 3 * T); /* the oldest gives up its last pages */
    assert_int_equal(found(p, like_a, 5 * T), 2 * T);
    assert_int_equal(found(p, like_b, 5 * T), 5 * T);
    compute(p, c, 7 * T);
    assert_int_equal(found(p, like_a, 5 * T), 0);
    assert_int_equal(found(p, like_b, 5 * T), 3 * T);
    /* Nobody is left who could give way. */
    qn_seq *d = prompt(4 * T, 3);
    assert_int_equal(qn__seq_reserve(p, d, 4 * T, NULL), QN_ENOMEM);
    assert_int_equal(nodes(p), 7);
    assert_true(holds(c));
    qn__seq_close(p, d);
    qn__seq_close(p, c);
    qn__seq_close(p, like_a);
    qn__seq_close(p, like_b);
    assert_int_equal(qn__pages_free(p), 3);

    /* The page to be copied is itself the only one that could give way: only whole pages are taken. */
    qn_seq *k = prompt(10 * T - 10, 4), *l = prompt(10 * T, 4);
    compute(p, k, 10 * T - 10);
    qn__pages_keep(p, k);
    assert_int_equal(found(p, l, 10 * T - 1), 10 * T - 10);
    assert_int_equal(qn__pages_adopt(p, l, 10 * T - 10, NULL), QN_OK);
    assert_int_equal(l->n_done, 9 * T);
    assert_true(holds(l));
    compute(p, l, 10 * T);
    assert_true(holds(l));
    qn__seq_close(p, l);
    qn__pages_close(p);
}

/* What is kept stays inside the budget; what runs may go beyond it. */
static void budget(void **state)
{
    (void)state;
    qn_pages *p = NULL;
    assert_int_equal(qn__pages_open(BYTES, 20, 4, &p, NULL), QN_OK);
    qn_seq *a = prompt(3 * T, 0), *b = prompt(9 * T, 1);
    compute(p, a, 3 * T);
    qn__pages_keep(p, a);
    compute(p, b, 9 * T);
    assert_true(holds(b));
    assert_int_equal(nodes(p), 9); /* a has given way before the budget was left */
    qn__pages_keep(p, b);
    assert_int_equal(nodes(p), 4);
    qn__pages_close(p);
}

/* Private text: whatever another sequence is given, it is what its own tokens say. Sessions keep their share. */
static void sessions(void **state)
{
    (void)state;
    qn_pages *p = NULL;
    assert_int_equal(qn__pages_open(BYTES, 16, 16, &p, NULL), QN_OK);
    qn_seq *a = prompt(5 * T, 0), *like_a = prompt(5 * T, 0);
    a->session = 77;
    compute(p, a, 5 * T);
    qn__pages_keep(p, a);
    for (int32_t i = 1; i < 40; i++) { /* a crowd of others, of the same client and of none, newer than a's */
        qn_seq *b = prompt(5 * T, i);
        b->session = i % 2 ? 0 : 88;
        compute(p, b, 5 * T);
        assert_true(holds(b));
        qn__pages_keep(p, b);
        assert_int_equal(found(p, like_a, 5 * T), 5 * T);
    }
    for (int32_t i = 1; i < 6; i++) { /* its own later ones take its place */
        qn_seq *b = prompt(5 * T, i + 50);
        b->session = 77;
        compute(p, b, 5 * T);
        qn__pages_keep(p, b);
    }
    assert_true(found(p, like_a, 5 * T) < 5 * T);
    for (int32_t i = 0; i < 200; i++) { /* more sessions than have a share */
        qn_seq *b = prompt(2 * T, i + 100);
        b->session = 1000 + (uint64_t)i;
        compute(p, b, 2 * T);
        qn__pages_keep(p, b);
    }
    assert_int_equal((int)nodes(p) + qn__pages_free(p), 16);
    /* A last resort: nobody has anything but 77, within its share. */
    qn_seq *big = prompt(16 * T, 500);
    big->session = 5;
    compute(p, big, 16 * T);
    assert_true(holds(big));
    qn__seq_close(p, big);
    qn__seq_close(p, like_a);
    qn__pages_close(p);
}

/* Random life; the pool must never lose a page or mix two up. */
static void random_life(void **state)
{
    (void)state;
    enum { LIVE = 6, STEPS = 4000 };
    size_t reused = 0, computed = 0;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        rng = seed;
        qn_pages *p = NULL;
        assert_int_equal(qn__pages_open(BYTES, LIVE * 5, seed == 3 ? 12 : LIVE * 5, &p, NULL), QN_OK);
        qn_seq *live[LIVE] = {0};
        size_t goal[LIVE];
        for (int step = 0; step < STEPS; step++) {
            uint32_t i = below(LIVE);
            if (!live[i]) {
                int32_t t[5 * T];
                size_t n = 1 + below(5 * T - 20);
                for (size_t k = 0; k < n; k++) /* few branches, so that prefixes are shared */
                    t[k] = k % 50 == 7 && below(4) == 0 ? 1 : 0;
                assert_int_equal(qn__seq_open(t, n, &live[i], NULL), QN_OK);
                live[i]->session = below(3);
                goal[i] = n + below(20);
                const qn_seq *best = NULL;
                size_t best_n = found(p, live[i], n - 1);
                for (int k = 0; k < LIVE; k++) {
                    size_t c = live[k] && k != (int)i ? qn__seq_usable(p, live[i], n - 1, live[k]) : 0;
                    if (c > best_n) {
                        best_n = c;
                        best = live[k];
                    }
                }
                if (best)
                    assert_int_equal(qn__seq_adopt(p, live[i], best, best_n, NULL), QN_OK);
                else if (best_n)
                    assert_int_equal(qn__pages_adopt(p, live[i], best_n, NULL), QN_OK);
                reused += live[i]->n_done;
            } else if (live[i]->n_done < live[i]->n_tokens) {
                size_t left = live[i]->n_tokens - live[i]->n_done, n = 1 + below((uint32_t)left);
                compute(p, live[i], live[i]->n_done + n);
                computed += n;
            } else if (live[i]->n_tokens < goal[i] && below(50)) {
                assert_int_equal(qn__seq_push(live[i], (int32_t)below(2), NULL), QN_OK);
            } else {
                assert_true(holds(live[i]));
                if (below(4))
                    qn__pages_keep(p, live[i]);
                else
                    qn__seq_close(p, live[i]);
                live[i] = NULL;
            }
        }
        for (int k = 0; k < LIVE; k++)
            if (live[k]) {
                assert_true(holds(live[k]));
                qn__seq_close(p, live[k]);
            }
        /* When what is kept has given way, every page is free. */
        qn_seq *all = prompt(LIVE * 5 * T, 0);
        assert_int_equal(qn__seq_reserve(p, all, LIVE * 5 * T, NULL), QN_OK);
        assert_int_equal(nodes(p), 0);
        assert_int_equal(qn__pages_free(p), 0);
        qn__seq_close(p, all);
        assert_int_equal(qn__pages_free(p), LIVE * 5);
        qn__pages_close(p);
    }
    printf("figure: pages: random life: %zu positions reused, %zu computed\n", reused, computed);
}

static void out_of_memory(void **state)
{
    (void)state;
    for (uint64_t fail = 1; fail < 40; fail++) {
        qn_pages *p = NULL;
        qn_seq *a = NULL, *b = NULL;
        int32_t t[130] = {0};
        qn__alloc_fail_at(fail);
        if (qn__pages_open(BYTES, 4, 4, &p, NULL) == QN_OK && qn__seq_open(t, 130, &a, NULL) == QN_OK &&
            qn__seq_reserve(p, a, 130, NULL) == QN_OK && qn__seq_open(t, 130, &b, NULL) == QN_OK) {
            qn__seq_done(p, a, 130);
            size_t n = qn__seq_usable(p, b, 129, a), common;
            (void)qn__seq_adopt(p, b, a, n, NULL);
            qn__pages_keep(p, a);
            a = NULL;
            n = qn__pages_find(p, b, 129, &common);
            if (n > b->n_done)
                (void)qn__pages_adopt(p, b, n, NULL);
        }
        qn__alloc_fail_at(0);
        if (p) {
            qn__seq_close(p, a);
            qn__seq_close(p, b);
        }
        qn__pages_close(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares), cmocka_unit_test(gives_way), cmocka_unit_test(random_life),
        cmocka_unit_test(budget), cmocka_unit_test(sessions), cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
