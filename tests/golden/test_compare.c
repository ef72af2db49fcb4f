/* test_compare.c - the suites that ship: a contender that gives their good answers and one that gives the bad ones, really judged, in
 * the sandbox where a program runs. Without bubblewrap or a language what needs it is skipped, and said so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "services/eval/compare.h"

static const char *const SUITES[] = {"suites/go-edge-case.md", "suites/bash-pipeline.md", "suites/python-fix.md", "suites/go-race.md"};

typedef struct script {
    qn_subject s;
    const qn_tasks *t;
    bool good;
} script;

static bool ask(qn_subject *s, const qn_question *q, size_t n, qn_answer *a)
{
    script *x = (script *)s;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < x->t->n; k++)
            if (strcmp(x->t->v[k].name, q[i].id) == 0)
                qn__buf_puts(&a[i].text, x->t->v[k].n_good == 0 ? "for people" : x->good ? x->t->v[k].good[0] : x->t->v[k].bad[0]);
    return true;
}

static void close_it(qn_subject *s)
{
    (void)s;
}

static qn_status open_it(const qn_contender *c, const qn_compare_options *o, qn_subject **out, qn_err *err)
{
    (void)o;
    (void)err;
    *out = &((script *)c->arg)->s;
    return QN_OK;
}

static void judged(const char *path, const char *ledger)
{
    qn_tasks t;
    qn_err err = {0};
    json_t *r = NULL;
    if (qn__tasks_read(path, &t, &err))
        fail_msg("%s: %s", err.where, err.what);
    script x[2];
    qn_contender who[2];
    for (int i = 0; i < 2; i++) {
        x[i] = (script){.s = {.ask = ask, .close = close_it, .chats = true, .at_once = 1, .name = "script"}, .t = &t, .good = i == 0};
        who[i] = (qn_contender){.spec = i ? "bad" : "good", .open = open_it, .arg = &x[i]};
    }
    qn_compare_options o;
    qn_compare_options_init(&o);
    o.suite = path;
    o.runs = 1;
    o.probe.ledger = ledger;
    if (qn__compare(&o, who, 2, &r, &err)) {
        if (err.code != QN_EUNSUPPORTED)
            fail_msg("%s: %s", err.where, err.what);
        print_message("skipped: %s: %s\n", path, err.what);
        qn__tasks_free(&t);
        return;
    }
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(r, "items"), i, item) {
        const char *name = json_string_value(json_object_get(item, "name")), *skipped = json_string_value(json_object_get(item, "skipped"));
        if (skipped)
            print_message("skipped: %s, %s: %s\n", path, name, skipped);
        for (size_t k = 0; k < 2 && !skipped; k++) {
            const json_t *c = json_array_get(json_object_get(item, "contenders"), k);
            const char *verdict = json_string_value(json_object_get(c, "verdict"));
            if (strcmp(verdict, "not scored") != 0 && strcmp(verdict, k ? "never" : "solid") != 0)
                fail_msg("%s, %s: the %s answer is called %s", path, name, k ? "bad" : "good", verdict);
        }
    }
    json_decref(r);
    qn__tasks_free(&t);
}

static void test_shipped(void **state)
{
    char ledger[] = "/tmp/quern-suites-XXXXXX", command[300];
    const int fd = mkstemp(ledger);
    (void)state;
    assert_true(fd >= 0 && close(fd) == 0 && unlink(ledger) == 0);
    for (size_t i = 0; i < sizeof SUITES / sizeof *SUITES; i++)
        judged(SUITES[i], ledger);
    (void)snprintf(command, sizeof command, "rm -f '%s' '%s-wal' '%s-shm'", ledger, ledger, ledger);
    assert_int_equal(system(command), 0);
}

/* Every item that is not for people has examples of both kinds. */
static void test_examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof SUITES / sizeof *SUITES; i++) {
        qn_tasks t;
        qn_err err = {0};
        if (qn__tasks_read(SUITES[i], &t, &err))
            fail_msg("%s: %s", err.where, err.what);
        for (size_t k = 0; k < t.n; k++)
            assert_true(t.v[k].check == QN_CHECK_RUBRIC || (t.v[k].n_good > 0 && t.v[k].n_bad > 0));
        qn__tasks_free(&t);
    }
}

/* Planted: an item whose examples are the wrong way round judges nobody. */
static void test_planted(void **state)
{
    static const char text[] = "## a\ncheck: exact\n```prompt\np\n```\n```check\n4\n```\n```good\n5\n```\n";
    (void)state;
    qn_tasks t;
    qn_judge *j = NULL;
    qn_err err = {0};
    assert_int_equal(qn__tasks_parse(text, sizeof text - 1, "s.md", &t, &err), QN_OK);
    assert_int_equal(qn__judge_open(&t, "s.md", &j, &err), QN_OK);
    assert_int_equal(qn__judge_examples(j, 0, &err), QN_EFORMAT);
    assert_string_equal(err.where, "s.md:1");
    qn__judge_close(j);
    qn__tasks_free(&t);
}

/* Programs that try things: they are wrong, and nothing hangs. */
static void test_programs(void **state)
{
    static const char text[] = "## a\ncheck: command\nrun: sh ./b/t.sh\nanswer: b/a.sh\ntime: 2\n```prompt\np\n```\n"
                               "```sh file=b/t.sh\ntest \"$(sh b/a.sh)\" = '$HOME `x` QUERN'\n```\n";
    (void)state;
    qn_tasks t;
    qn_judge *j = NULL;
    qn_err err = {0};
    assert_int_equal(qn__tasks_parse(text, sizeof text - 1, "s.md", &t, &err), QN_OK);
    assert_int_equal(qn__judge_open(&t, "s.md", &j, &err), QN_OK);
    if (qn__judge_skips(j, 0)) {
        print_message("skipped: %s\n", qn__judge_skips(j, 0));
        qn__judge_close(j);
        qn__tasks_free(&t);
        skip();
    }
    static const struct { const char *answer, *outcome; } tries[] = {
        {"```sh\necho '$HOME `x` QUERN'\n```\n", "right"}, /* what shells would change goes through as it is */
        {"echo '$HOME `x` QUERN'", "right"},
        {"exit 0", "wrong"},
        {"sleep 60", "time"},
        {"yes", "limits"},
        {"QUERN_END_0\n'\nEOF\nexit 0", "wrong"},
    };
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        qn_verdict v = {0};
        if (qn__judge(j, 0, tries[i].answer, strlen(tries[i].answer), &v, &err))
            fail_msg("%s: %s", err.where, err.what);
        if (strcmp(v.outcome, tries[i].outcome) != 0 && !(strcmp(tries[i].answer, "yes") == 0 && !v.right))
            fail_msg("%s: %s, wanted %s", tries[i].answer, v.outcome, tries[i].outcome);
        json_decref(v.detail);
    }
    qn__judge_close(j);
    qn__tasks_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_examples), cmocka_unit_test(test_planted), cmocka_unit_test(test_programs),
                                       cmocka_unit_test(test_shipped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
