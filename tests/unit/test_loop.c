/* test_loop.c - what is a loop and what is not: calls over a conversation, blocks of text, cycles of tokens. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "engine/unloop.h"
#include "text/loop.h"

/* "Aa Bb": call A with result a, call B with result b; '|' is a user's message; lower-case word alone: text. */
static qn_loop conversation(const char *script)
{
    json_t *m = json_array();
    for (const char *p = script; *p; p++) {
        if (*p == ' ')
            continue;
        if (*p == '|') {
            (void)json_array_append_new(m, json_pack("{s:s,s:s}", "role", "user", "content", "again"));
            continue;
        }
        if (*p == 't') {
            (void)json_array_append_new(m, json_pack("{s:s,s:s}", "role", "assistant", "content",
                                                     p[1] == '1' ? "I will now try to open file 1." : "I will now try something else."));
            p++;
            continue;
        }
        char args[64];
        if (*p == 'N')
            (void)snprintf(args, sizeof args, "{\"n\": %d, \"a\": 1}", (int)(p - script));
        else
            (void)snprintf(args, sizeof args, "{\"name\": \"%c\"}", *p);
        (void)json_array_append_new(m, json_pack("{s:s,s:[{s:{s:s,s:s}}]}", "role", "assistant", "tool_calls", "function", "name", "f",
                                                 "arguments", args));
        char result[2] = {*++p, 0};
        (void)json_array_append_new(m, json_pack("{s:s,s:s}", "role", "tool", "content", result));
    }
    qn_loop l = {0};
    assert_int_equal(qn__loop_conversation(m, &l, NULL), QN_OK);
    json_decref(m);
    return l;
}

static void expect(const char *script, qn_loop_kind kind, unsigned period, unsigned count, bool near)
{
    qn_loop l = conversation(script);
    if (l.kind != kind || l.period != period || l.count != count || l.near != near)
        fail_msg("%s: %s period %u count %u near %d", script, qn__loop_name(l.kind), l.period, l.count, l.near);
}

static void calls(void **state)
{
    (void)state;
    expect("", QN_LOOP_NONE, 0, 0, false);
    expect("Aa Aa", QN_LOOP_NONE, 0, 0, false);
    expect("Aa Aa Aa", QN_LOOP_CALLS, 1, 3, false);
    expect("Ba Aa Aa Aa Aa", QN_LOOP_CALLS, 1, 4, false);
    expect("Aa Bb Aa Bb", QN_LOOP_CALLS, 2, 2, false);
    expect("Aa Bb Cc Aa Bb Cc Aa Bb Cc", QN_LOOP_CALLS, 3, 3, false);
    expect("Aa Bb Aa Bb Cc", QN_LOOP_NONE, 0, 0, false);
    expect("Aa Ab Ac Ad", QN_LOOP_NONE, 0, 0, false); /* a poll: the results differ */
    expect("Aa Aa | Aa", QN_LOOP_NONE, 0, 0, false);  /* asked again */
    expect("Na Na Na", QN_LOOP_CALLS, 1, 3, true);    /* other numbers, the same result */
    expect("Na Nb Nc", QN_LOOP_NONE, 0, 0, false);
    expect("t1 t1 t1", QN_LOOP_TEXT, 1, 3, true);
    expect("t1 t2 t1", QN_LOOP_NONE, 0, 0, false);
}

static qn_loop tokens(const int32_t *cycle, size_t period, size_t n, size_t noise)
{
    qn_loop_watch *w = NULL;
    assert_int_equal(qn__loop_open(NULL, &w, NULL), QN_OK);
    uint32_t x = 1;
    for (size_t i = 0; i < noise; i++) {
        int32_t t = (int32_t)((x = x * 1664525u + 1013904223u) >> 12);
        qn__loop_tokens(w, &t, 1);
    }
    for (size_t i = 0; i < n; i++)
        qn__loop_tokens(w, &cycle[i % period], 1);
    qn_loop l = qn__loop_now(w);
    qn__loop_close(w);
    return l;
}

static void cycles_of_tokens(void **state)
{
    (void)state;
    int32_t cycle[1000];
    for (int i = 0; i < 1000; i++)
        cycle[i] = (i * 7919) % 1009;
    const size_t periods[] = {1, 2, 3, 4, 5, 7, 13, 100, 1000};
    for (size_t k = 0; k < sizeof periods / sizeof *periods; k++) {
        size_t p = periods[k], n = p * 7 > 220 ? p * 7 : 220;
        for (size_t noise = 0; noise < 3000; noise += 997) {
            qn_loop l = tokens(cycle, p, n, noise);
            assert_int_equal(l.kind, QN_LOOP_TOKENS);
            assert_int_equal(l.period, p);
            assert_in_range(l.count, 6, n / p);
        }
    }
    assert_int_equal(tokens(cycle, 1000, 1000, 10).kind, QN_LOOP_NONE);
    assert_int_equal(tokens(cycle, 4, 100, 0).kind, QN_LOOP_NONE); /* a table has repetitions, too */
    assert_int_equal(tokens(cycle, 1, 0, 20000).kind, QN_LOOP_NONE);
    /* What breaks a cycle ends it. */
    int32_t broken[301];
    for (int i = 0; i < 300; i++)
        broken[i] = cycle[i % 3];
    broken[300] = 5000;
    assert_int_equal(tokens(broken, 301, 300, 0).kind, QN_LOOP_TOKENS);
    assert_int_equal(tokens(broken, 301, 301, 0).kind, QN_LOOP_NONE);
}

static qn_loop blocks(const char *text, size_t step)
{
    qn_loop_watch *w = NULL;
    assert_int_equal(qn__loop_open(NULL, &w, NULL), QN_OK);
    for (size_t i = 0, n = strlen(text); i < n; i += step)
        qn__loop_text(w, text + i, n - i < step ? n - i : step);
    qn_loop l = qn__loop_now(w);
    qn__loop_close(w);
    return l;
}

static void blocks_of_text(void **state)
{
    (void)state;
    const char *const a = "Attempt 1: I will run the tests and look.\n\n", *const a2 = "Attempt 2: I will run the  tests and look.\n\n";
    const char *const b = "Then I will change the file in question.\n\n";
    char text[1000];
    (void)snprintf(text, sizeof text, "%s%s%s", a, a2, a);
    for (size_t step = 1; step < 50; step++) {
        qn_loop l = blocks(text, step);
        assert_int_equal(l.kind, QN_LOOP_TEXT);
        assert_int_equal(l.period, 1);
        assert_int_equal(l.count, 3);
        assert_true(l.near);
    }
    (void)snprintf(text, sizeof text, "%s%s%s%s%s%s", a, b, a, b, a, b);
    assert_int_equal(blocks(text, 7).period, 2);
    (void)snprintf(text, sizeof text, "%s%s%s", a, b, a);
    assert_int_equal(blocks(text, 7).kind, QN_LOOP_NONE);
    assert_int_equal(blocks("}\n\n}\n\n}\n\n}\n\n", 1).kind, QN_LOOP_NONE);
}

static void failing_allocations(void **state)
{
    (void)state;
    for (uint64_t k = 1; k < 5; k++) {
        qn_loop_watch *w = NULL;
        qn_err err = {0};
        qn__alloc_fail_at(k);
        qn_status st = qn__loop_open(NULL, &w, &err);
        qn__alloc_fail_at(0);
        if (st == QN_OK) {
            qn__loop_close(w);
            continue;
        }
        assert_int_equal(st, QN_ENOMEM);
        assert_null(w);
    }
}

/* A model that says a b c a b c ... for ever; whatever it is kept from saying, its next best is the following letter. */
static size_t say(qn_unloop *u, int32_t *out, size_t n)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        float logits[8] = {0};
        const int32_t want = (int32_t)(i ? (out[i - 1] + 1) % 3 : 0);
        logits[want] = 3;
        logits[want + 1] = 2;
        if (u)
            found += qn__unloop_apply(u, logits, 8, out, i);
        int32_t best = 0;
        for (int32_t k = 1; k < 8; k++)
            best = logits[k] > logits[best] ? k : best;
        out[i] = best;
    }
    return found;
}

static void out_of_cycles(void **state)
{
    (void)state;
    enum { N = 600 };
    int32_t plain[N], a[N], b[N];
    qn_unloop *u = NULL;
    assert_int_equal(say(NULL, plain, N), 0);
    assert_int_equal(qn__unloop_open(&u, NULL), QN_OK);
    assert_true(say(u, a, N) >= 1);
    qn__unloop_close(u);
    size_t same = 0;
    while (same < N && a[same] == plain[same])
        same++;
    assert_in_range(same, 150, 260); /* nothing is touched before there is a cycle */
    for (size_t i = same; i + 9 < same + 200; i++) /* nor gone back to for a while */
        assert_memory_not_equal(a + i, plain + i % 3, 9 * sizeof *a);
    /* The same again, though shown in pieces: what was chosen elsewhere is caught up with. */
    assert_int_equal(qn__unloop_open(&u, NULL), QN_OK);
    (void)say(u, b, N);
    assert_memory_equal(a, b, sizeof a);
    qn__unloop_close(u);
    /* Where nothing else is left, the cycle goes on. */
    assert_int_equal(qn__unloop_open(&u, NULL), QN_OK);
    for (size_t i = 0; i < 400; i++) {
        float only[2] = {1, -INFINITY};
        (void)qn__unloop_apply(u, only, 2, (int32_t[400]){0}, i);
        assert_true(only[0] > 0);
    }
    qn__unloop_close(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(calls), cmocka_unit_test(cycles_of_tokens), cmocka_unit_test(blocks_of_text),
                                       cmocka_unit_test(out_of_cycles), cmocka_unit_test(failing_allocations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
