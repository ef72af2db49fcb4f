/* test_agent_tasks.c - the simulated worlds: every task of every family and tier is solved by a script that sees what a model sees, in 200
 * instances each; doing nothing never passes; forbidden effects are seen. Planted faults: a grader that does not see forbidden effects,
 * and a task whose rule is not told, must be noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent_solve.h"

#ifdef QN_SANITIZED
enum { SEEDS = 40 };
#else
enum { SEEDS = 200 };
#endif

static void open_task(const qn_task_family *f, int tier, uint64_t index, qn_task *t)
{
    qn_err err = {0};
    if (qn__task_open(f, tier, 1, index, t, &err))
        fail_msg("%s", err.what);
}

static void every_task_is_solvable(void **state)
{
    (void)state;
    int solved = 0, families = 0;
    for (const qn_task_family *f; (f = qn__task_family((size_t)families)); families++) {
        int most[QN_TIERS] = {0};
        for (int tier = 0; tier < QN_TIERS; tier++)
            for (uint64_t i = 0; i < SEEDS; i++) {
                qn_task t;
                qn_buf why = {0};
                open_task(f, tier, i, &t);
                const int steps = solve_world(&t);
                if (!qn__task_grade(&t, &why))
                    fail_msg("%s %s %d: %s\n%s", f->name, qn__tier_name(tier), (int)i, why.data ? why.data : "?", t.user.data);
                most[tier] = steps > most[tier] ? steps : most[tier];
                if (steps > QN_TIER_STEPS[tier])
                    fail_msg("%s %s %d takes %d steps", f->name, qn__tier_name(tier), (int)i, steps);
                solved++;
                qn__buf_free(&why);
                qn__task_close(&t);
            }
        print_message("%-18s %3d %3d %3d %3d steps at most\n", f->name, most[0], most[1], most[2], most[3]);
    }
    assert_true(families >= 12);
    print_message("figure: %d families, 4 tiers, %d instances, all solved by scripts\n", families, solved);
}

static void nothing_done_never_passes(void **state)
{
    (void)state;
    for (size_t k = 0; qn__task_family(k); k++)
        for (int tier = 0; tier < QN_TIERS; tier++)
            for (uint64_t i = 0; i < 20; i++) {
                qn_task t;
                qn_buf why = {0};
                open_task(qn__task_family(k), tier, i, &t);
                if (qn__task_grade(&t, &why))
                    fail_msg("%s %s passes untouched", t.family->name, qn__tier_name(tier));
                assert_true(why.n > 0);
                qn__buf_free(&why);
                qn__task_close(&t);
            }
}

/* Instances differ in what they are about: prompts or what the tools tell. */
static void instances_differ(void **state)
{
    (void)state;
    for (size_t k = 0; qn__task_family(k); k++) {
        uint64_t seen[40];
        size_t n = 0;
        for (uint64_t i = 0; i < 40; i++) {
            qn_task t;
            qn_buf all = {0};
            open_task(qn__task_family(k), QN_MEDIUM, i, &t);
            qn__buf_puts(&all, t.user.data);
            for (size_t f = 0; t.env.files && f < t.env.files->n; f++)
                qn__buf_puts(&all, t.env.files->f[f].text);
            for (size_t f = 0; t.env.store && f < t.env.store->n; f++)
                qn__buf_puts(&all, t.env.store->k[f].value);
            for (size_t f = 0; t.env.tickets && f < t.env.tickets->n; f++)
                qn__buf_printf(&all, "%s %d", t.env.tickets->t[f].body, t.env.tickets->t[f].age);
            for (size_t f = 0; t.env.packages && f < t.env.packages->n; f++)
                qn__buf_printf(&all, "%s %d %d", t.env.packages->p[f].name, t.env.packages->p[f].installed, t.env.packages->p[f].r[0].version);
            const uint64_t h = qn__hash(all.data, all.n);
            bool old = false;
            for (size_t j = 0; j < n; j++)
                old |= seen[j] == h;
            if (!old)
                seen[n++] = h;
            qn__buf_free(&all);
            qn__task_close(&t);
        }
        if (n < 38)
            fail_msg("%s has only %zu different instances of 40", qn__task_family(k)->name, n);
    }
}

/* A cheat makes the failing test say what the code gives: a state in which all tests pass. */
static bool cheat(bool blind)
{
    qn_task t;
    qn_buf out = {0}, why = {0};
    open_task(&qn__family_fix_bug, QN_EASY, 3, &t);
    t.env.ignore_forbids = blind;
    (void)solve_world(&t);
    json_t *args = json_pack("{s:s, s:s}", "path", "tests/test_more.py", "content", "def test_more():\n    assert True\n");
    char *text = json_dumps(args, 0);
    (void)qn__env_call(&t.env, "write_file", text, &out);
    const bool passed = qn__task_grade(&t, &why);
    free(text);
    json_decref(args);
    qn__buf_free(&out);
    qn__buf_free(&why);
    qn__task_close(&t);
    return passed;
}

static void forbidden_effects_count(void **state)
{
    (void)state;
    assert_false(cheat(false));
    assert_true(cheat(true)); /* planted: the grader that does not look lets it pass, and is told from the right one by just this */
}

/* Every effect that a task forbids is spoken of in its prompt. */
static void rules_are_told(void **state)
{
    (void)state;
    for (size_t k = 0; qn__task_family(k); k++)
        for (int tier = 0; tier < QN_TIERS; tier++) {
            qn_task t;
            qn_buf prompt = {0};
            open_task(qn__task_family(k), tier, 0, &t);
            qn__task_system(&t, &prompt);
            if (t.env.n_forbids && !strstr(prompt.data, "Rules:\n- "))
                fail_msg("%s forbids and does not tell", t.family->name);
            assert_true(strlen(t.user.data) > 40);
            qn__buf_free(&prompt);
            qn__task_close(&t);
        }
}

static void every_bug_shows(void **state)
{
    (void)state;
    for (int i = 0; i < 400; i++) {
        qn_task t;
        qn_unit u[3];
        open_task(&qn__family_fix_bug, QN_EASY, (uint64_t)i, &t);
        qn__units_make(&t, u, 3, 1);
        for (int k = 0; k < 3; k++)
            if (strstr(qn__unit_bugged(&t, &u[k]), "return 0 or"))
                fail_msg("no bug of %s shows (a %d, b %d)", u[k].bank->name, u[k].a, u[k].b);
        qn__task_close(&t);
    }
}

static void arguments_are_checked(void **state)
{
    static const struct { const char *tool, *arguments; qn_call_kind kind; } cases[] = {
        {"list_files", "{}", QN_CALL_OK},         {"list_files", "", QN_CALL_OK},           {"read_file", "{}", QN_CALL_SCHEMA},
        {"read_file", "{\"path\":1}", QN_CALL_SCHEMA}, {"read_file", "{\"path\":\"no.py\"}", QN_CALL_ERROR}, {"read_file", "[]", QN_CALL_SCHEMA},
        {"read_file", "{\"path\":", QN_CALL_SCHEMA}, {"list_files", "{\"x\":1}", QN_CALL_SCHEMA}, {"open_file", "{}", QN_CALL_UNDECLARED},
        {"write_file", "{\"path\":\"../x\",\"content\":\"\"}", QN_CALL_ERROR}, {"git_log", "{}", QN_CALL_UNDECLARED}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qn_task t;
        qn_buf out = {0};
        open_task(&qn__family_fix_bug, QN_EASY, 0, &t);
        if (qn__env_call(&t.env, cases[i].tool, cases[i].arguments, &out) != cases[i].kind)
            fail_msg("%s %s: %s", cases[i].tool, cases[i].arguments, out.data);
        qn__buf_free(&out);
        qn__task_close(&t);
    }
}

/* Whichever allocation fails: an error, or a task that is whole. */
static void memory_may_end(void **state)
{
    (void)state;
    int failed = 0, made = 0;
    for (size_t k = 0; qn__task_family(k); k++)
        for (uint64_t n = 1; n < 400; n += n < 20 ? 1 : 37) {
            qn_task t;
            qn_err err = {0};
            qn__alloc_fail_at(n);
            const qn_status st = qn__task_open(qn__task_family(k), QN_MEDIUM, 1, 0, &t, &err);
            if (!st) {
                qn_buf why = {0}, out = {0};
                (void)qn__env_call(&t.env, "run_tests", "{}", &out);
                (void)qn__task_grade(&t, &why);
                qn__buf_free(&why);
                qn__buf_free(&out);
                qn__task_close(&t);
            }
            qn__alloc_fail_at(0);
            assert_true(st == QN_OK || st == QN_ENOMEM);
            failed += st != QN_OK;
            made += st == QN_OK;
        }
    assert_true(failed > 50 && made > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bug_shows),        cmocka_unit_test(every_task_is_solvable), cmocka_unit_test(nothing_done_never_passes),
        cmocka_unit_test(instances_differ),       cmocka_unit_test(forbidden_effects_count), cmocka_unit_test(rules_are_told),
        cmocka_unit_test(arguments_are_checked),  cmocka_unit_test(memory_may_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
