/* test_audit.c - texts and tasks of the audit: made again from a seed to the byte, exact to the token, no line twice, each answer there
 * once and found by a solver that sees the text alone, and not there when it was left out. How answers are judged; the curve. Planted
 * faults: a digit changed in the text must not be right; an answer of another seed must not be. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/probe/audit.h"
#include "audit_solver.h"

#ifdef QN_SANITIZED
enum { SEEDS = 24 };
#else
enum { SEEDS = 200 };
#endif
enum { DOCUMENT = (1u << QN_AUDIT_KINDS) - 1 - QN_AUDIT_TALK - QN_AUDIT_ALONE };

static int64_t count(void *arg, const char *text, size_t n)
{
    (void)arg;
    return few_rules(text, n);
}
static const qn_counter counter = {count, NULL, 11};

static qn_audit_text *make(uint64_t seed, uint32_t kinds, int filler, int only, int32_t length, bool chat)
{
    const qn_audit_recipe r = {.seed = seed, .length = length, .kinds = kinds, .filler = filler, .depths = 5, .only = only, .chat = chat, .tools = chat};
    qn_audit_text *t = NULL;
    qn_err err = {0};
    if (qn__audit_text_make(&r, &counter, &t, &err))
        fail_msg("%s: %s", err.where, err.what);
    return t;
}

static char *ask(qn_audit_text *t, size_t i, bool alone, int64_t *tokens)
{
    char *asked = NULL;
    qn_err err = {0};
    if (qn__audit_ask(t, &counter, i, alone, &asked, tokens, &err))
        fail_msg("%s: %s", err.where, err.what);
    return asked;
}

static const uint32_t SETS[] = {QN_AUDIT_ALONE, DOCUMENT, QN_AUDIT_TALK};

static void test_same_bytes(void **state)
{
    (void)state;
    for (size_t s = 0; s < 3; s++)
        for (int filler = 0; filler < QN_AUDIT_FILLERS; filler++) {
            int64_t n;
            qn_audit_text *a = make(7, SETS[s], filler, -1, 4096, true), *b = make(7, SETS[s], filler, -1, 4096, true), *c = make(8, SETS[s], filler, -1, 4096, true);
            for (size_t i = 0; i < qn__audit_text_facts(a); i++) {
                char *x = ask(a, i, false, &n), *y = ask(b, i, false, &n), *z = ask(c, i, false, &n);
                assert_string_equal(x, y);
                assert_string_not_equal(x, z);
                qn_free(x);
                qn_free(y);
                qn_free(z);
            }
            assert_true(qn__audit_text_hash(a) == qn__audit_text_hash(b) && qn__audit_text_hash(a) != qn__audit_text_hash(c));
            qn__audit_text_close(a);
            qn__audit_text_close(b);
            qn__audit_text_close(c);
        }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t twice(char *text)
{
    char *lines[20000], *save = NULL;
    size_t n = 0, same = 0;
    for (char *l = strtok_r(text, "\n", &save); l && n < 20000; l = strtok_r(NULL, "\n", &save))
        lines[n++] = l + strspn(l, " \t");
    qsort(lines, n, sizeof *lines, by_text);
    for (size_t i = 1; i < n; i++)
        same += strcmp(lines[i - 1], lines[i]) == 0;
    return same;
}

static void test_no_line_twice(void **state)
{
    (void)state;
    size_t lines = 0;
    for (int filler = 0; filler < QN_AUDIT_FILLERS; filler++)
        for (size_t s = 0; s < 3; s++) {
            int64_t n;
            qn_audit_text *t = make((uint64_t)filler, SETS[s], filler, -1, 32768, true);
            char *asked = ask(t, 0, false, &n), *text = said(asked, true);
            for (const char *p = text; *p; p++)
                lines += *p == '\n';
            char *doubled = calloc(1, strlen(text) + 1000);
            strcpy(doubled, text);
            assert_int_equal(twice(text), 0);
            const char *second = strchr(doubled + 400, '\n') + 1;
            second += strspn(second, "\n");
            size_t k = strcspn(second, "\n") + 1, at = strlen(doubled);
            assert_in_range(k, 2, 199);
            memcpy(doubled + at, second, k); /* planted: one of them again */
            assert_int_equal(twice(doubled), 1);
            free(doubled);
            free(text);
            qn_free(asked);
            qn__audit_text_close(t);
        }
    print_message("figure: audit: %zu lines of filler in 24 texts of 32,768 tokens, none twice\n", lines);
}

static void test_exact_lengths(void **state)
{
    (void)state;
    size_t exact = 0, all = 0;
    for (int32_t length = 600; length < 20000; length += length / 3)
        for (int filler = 0; filler < QN_AUDIT_FILLERS; filler++)
            for (size_t s = 0; s < 3; s++) {
                if (s && length < 2600)
                    continue;
                qn_audit_text *t = make((uint64_t)length, SETS[s], filler, -1, length, true);
                for (size_t i = 0; i < qn__audit_text_facts(t); i++) {
                    int64_t n;
                    char *asked = ask(t, i, false, &n);
                    all++;
                    exact += n == length - counter.overhead;
                    if (s < 2) { /* one message: count it as it is sent */
                        json_t *m = json_loads(asked, 0, NULL);
                        const json_t *c = json_object_get(json_array_get(m, 0), "content");
                        assert_int_equal(few_rules(json_string_value(c), json_string_length(c)), n);
                        json_decref(m);
                    }
                    qn_free(asked);
                }
                qn__audit_text_close(t);
            }
    print_message("figure: audit: %zu of %zu prompts have exactly the tokens that were wanted\n", exact, all);
    assert_int_equal(exact, all);
}

static size_t occurs(const char *text, const char *w)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, w)); p++)
        n++;
    return n;
}

static bool is_right(const qn_fact *f, bool absent, const char *answer)
{
    return qn__audit_judge(f->wanted, f->n_wanted, f->others, f->n_others, absent, answer, strlen(answer), false) == QN_RIGHT;
}

/* Every question of one text; planted facts stand there once and are found; the one left out is not. */
static void check_text(qn_audit_text *t, bool chat, size_t *questions)
{
    for (size_t i = 0; i < qn__audit_text_facts(t); i++) {
        const qn_fact *f = qn__audit_text_fact(t, i);
        bool absent = f->slot == 5;
        int64_t n;
        char *asked = ask(t, i, false, &n), *alone = ask(t, i, true, &n), *text = said(asked, chat), answer[256];
        solve(asked, chat, answer, sizeof answer);
        if (!is_right(f, absent, answer))
            fail_msg("%s, slot %d: the solver says %s, wanted %s:\n%s", qn__audit_kinds[f->kind], f->slot, answer, f->wanted[0], text);
        solve(alone, chat, answer, sizeof answer);
        assert_string_equal(answer, "not there");
        for (int w = 0; w < f->n_wanted && f->kind != QN_AUDIT_CALLER; w++) {
            assert_int_equal(occurs(text, f->wanted[w]), absent ? 0 : 1);
            for (int o = 0; o < f->n_others; o++)
                assert_string_not_equal(f->wanted[w], f->others[o]);
        }
        if (!absent && f->n_others > 0) /* planted: another's answer */
            assert_false(is_right(f, false, f->others[0]));
        ++*questions;
        qn_free(asked);
        qn_free(alone);
        free(text);
    }
}

static void test_solvable(void **state)
{
    (void)state;
    size_t questions = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        bool chat = seed / QN_AUDIT_FILLERS % 2 == 0;
        int filler = (int)(seed % QN_AUDIT_FILLERS);
        for (int only = 0; only <= 5; only++) {
            qn_audit_text *t = make(seed, QN_AUDIT_ALONE, filler, only, 512, chat);
            assert_int_equal(qn__audit_text_facts(t), 1);
            check_text(t, chat, &questions);
            qn__audit_text_close(t);
        }
        for (size_t s = 1; s < 3; s++) {
            qn_audit_text *t = make(seed, SETS[s], filler, -1, 2600, chat);
            check_text(t, chat, &questions);
            qn__audit_text_close(t);
        }
    }
    print_message("figure: audit: a solver that sees the text alone answers %zu of %zu questions, %d seeds, every kind\n", questions, questions, SEEDS);
}

static void test_planted_digit(void **state)
{
    (void)state;
    int64_t n;
    qn_audit_text *t = make(3, QN_AUDIT_ALONE, 2, 1, 512, true);
    char *asked = ask(t, 0, false, &n), answer[256];
    const qn_fact *f = qn__audit_text_fact(t, 0);
    char *at = strstr(asked, f->wanted[0]);
    assert_non_null(at);
    at[4] = at[4] == '1' ? '2' : '1';
    solve(asked, true, answer, sizeof answer);
    assert_false(is_right(f, false, answer));
    qn_free(asked);
    qn__audit_text_close(t);
}

/* What is at depth d stands there; results of tools at least ten turns back. */
static void test_depths(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 16; seed++)
        for (size_t s = 0; s < 2; s++) {
            int64_t n;
            qn_audit_text *t = make(seed, SETS[s], (int)seed % QN_AUDIT_FILLERS, -1, 8192, true);
            for (size_t i = 0; i < qn__audit_text_facts(t); i++) {
                const qn_fact *f = qn__audit_text_fact(t, i);
                char *asked = ask(t, i, false, &n), *text = said(asked, true), *at = f->n_wanted ? last_of(text, f->wanted[f->n_wanted - 1]) ? strstr(text, f->wanted[0]) : NULL : NULL;
                if (f->slot < 5 && f->kind != QN_AUDIT_CALLER && at)
                    assert_true(fabs((double)(at - text) / (double)strlen(text) - f->slot / 4.0) < 0.12);
                qn_free(asked);
                free(text);
            }
            qn__audit_text_close(t);
        }
    int64_t n;
    qn_audit_text *t = make(1, QN_AUDIT_TALK, 7, -1, 4096, true);
    for (size_t i = 0; i < qn__audit_text_facts(t); i++) {
        const qn_fact *f = qn__audit_text_fact(t, i);
        if (f->slot == 5)
            continue;
        char *asked = ask(t, i, false, &n);
        json_t *list = json_loads(asked, 0, NULL);
        size_t users = 0, seen = 0, k;
        const json_t *m;
        json_array_foreach(list, k, m) {
            if (strstr(json_string_value(json_object_get(m, "content")), f->wanted[0]))
                seen = 1;
            else if (seen && strcmp(json_string_value(json_object_get(m, "role")), "user") == 0)
                users++;
        }
        assert_true(seen && users > QN_AUDIT_BACK); /* the last of them asks */
        json_decref(list);
        qn_free(asked);
    }
    qn__audit_text_close(t);
}

static void test_judge(void **state)
{
    (void)state;
    const char *const w[] = {"12345"}, *const three[] = {"12345", "23456", "34567"}, *const o[] = {"54321", "65432"}, *const name[] = {"pull_river"},
                     *const names[] = {"push_river", "pull_rivers"};
    static const struct {
        int wanted; /* 1: one number, 3: three, 0: a name */
        bool absent, cut;
        const char *answer;
        qn_outcome is;
    } t[] = {
        {1, false, false, "12345", QN_RIGHT}, {1, false, false, "The access code for Bo is 12345.", QN_RIGHT}, {1, false, false, "**12345**\n", QN_RIGHT},
        {1, false, false, "123456", QN_WRONG}, {1, false, false, "1234", QN_WRONG}, {1, false, false, "12345 or 54321", QN_DISTRACTOR},
        {1, false, false, "12345 or 99999", QN_WRONG}, {1, false, false, "54321", QN_DISTRACTOR}, {1, false, false, "", QN_SILENT}, {1, false, false, " \n\t", QN_SILENT},
        {1, false, true, "", QN_CUT}, {1, false, false, "Not there.", QN_ABSTAINED}, {1, false, false, "12345 is not there", QN_WRONG}, {1, false, true, "Let me see", QN_CUT},
        {1, false, false, "x12345", QN_WRONG}, {3, false, false, "12345, 34567 and 23456", QN_RIGHT}, {3, false, false, "12345, 23456", QN_WRONG},
        {3, false, false, "12345, 23456, 34567, 54321", QN_DISTRACTOR}, {0, false, false, "`pull_river`", QN_RIGHT}, {0, false, false, "Pull_River", QN_RIGHT},
        {0, false, false, "pull_rivers", QN_DISTRACTOR}, {0, false, false, "pull_river, push_river", QN_DISTRACTOR}, {0, false, false, "pull", QN_WRONG},
        {1, true, false, "not there", QN_RIGHT}, {1, true, false, "Not there: 54321 is another's", QN_DISTRACTOR}, {1, true, false, "", QN_SILENT},
        {1, true, false, "12345", QN_WRONG}, {1, true, false, "not there, 77777", QN_WRONG}, {1, true, false, "I do not know", QN_WRONG},
        {1, true, false, "Answer: not there.", QN_RIGHT}, {1, true, false, "if the text above does not say it, answer: not there.", QN_WRONG}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        qn_outcome is = qn__audit_judge(t[i].wanted == 0 ? name : t[i].wanted == 3 ? three : w, t[i].wanted ? t[i].wanted : 1, t[i].wanted ? o : names, 2, t[i].absent,
                                        t[i].answer, strlen(t[i].answer), t[i].cut);
        if (is != t[i].is)
            fail_msg("%s is %s, not %s", t[i].answer, qn__outcomes[is], qn__outcomes[t[i].is]);
    }
}

/* The true cliff lies in the interval about as often as it says. Planted fault: an interval a tenth as wide must not. */
static void test_fit(void **state)
{
    (void)state;
    int inside = 0, narrow = 0, runs = 60;
    qn_dice d = qn__dice(5, 0, 0, 0, 0);
    for (int run = 0; run < runs; run++) {
        double cliff = 600 + 100 * (run % 40), steep = 2 + run % 7, top = 0.6 + 0.1 * (run % 5);
        qn_audit_point p[12];
        for (int i = 0; i < 12; i++) {
            p[i] = (qn_audit_point){256 * pow(1.4, i), 20, 0};
            for (int k = 0; k < 20; k++)
                p[i].right += (double)qn__roll(&d) / 18446744073709551616.0 < top / (1 + pow(p[i].length / cliff, steep));
        }
        qn_audit_cliff c = qn__audit_fit(p, 12, 0);
        inside += c.low * 0.99 <= cliff && cliff <= c.high * 1.01;
        narrow += fabs(cliff - c.length) < (c.high - c.low) / 20;
        assert_true(c.low <= c.length && c.length <= c.high);
    }
    print_message("figure: audit: the interval holds the true cliff in %d of %d simulated curves\n", inside, runs);
    assert_true(inside >= runs * 88 / 100);
    assert_true(narrow < runs / 2);
}

static void test_refused(void **state)
{
    (void)state;
    qn_audit_text *t = NULL;
    qn_audit_recipe r = {.length = 100, .kinds = DOCUMENT, .depths = 5, .only = -1, .chat = true};
    qn_err err;
    assert_int_equal(qn__audit_text_make(&r, &counter, &t, &err), QN_ELIMIT);
    r.length = 4096;
    r.kinds = 0;
    assert_int_equal(qn__audit_text_make(&r, &counter, &t, &err), QN_EINVAL);
    r.kinds = DOCUMENT | QN_AUDIT_TALK;
    assert_int_equal(qn__audit_text_make(&r, &counter, &t, &err), QN_EINVAL);
    r.kinds = DOCUMENT;
    r.depths = 99;
    assert_int_equal(qn__audit_text_make(&r, &counter, &t, &err), QN_EINVAL);
    assert_null(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bytes), cmocka_unit_test(test_no_line_twice), cmocka_unit_test(test_exact_lengths),
                                       cmocka_unit_test(test_solvable), cmocka_unit_test(test_planted_digit), cmocka_unit_test(test_depths),
                                       cmocka_unit_test(test_judge), cmocka_unit_test(test_fit), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
