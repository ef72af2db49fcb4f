/* test_eval.c - the instrument, calibrated: subjects whose faults are known must be reported as what they are. Perfect, always wrong,
 * silent, endless, right with a chance of 0.6 (its rate must lie in the interval), a server that goes away (no score, and the run is
 * taken up where it was). Reads ../shared/data. */
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
#include "services/eval/eval.h"
#include "services/eval/sandbox.h"

typedef enum manner { PERFECT, WRONG, SILENT, ENDLESS, CHANCE, AWAY } manner;

typedef struct script {
    qn_subject s;
    qn_suite *suite;
    manner how;
    int asked, stay; /* AWAY: answers so many */
} script;

static char ledger[64], suite_path[512];

static const qn_problem *problem(const script *x, const char *id)
{
    for (size_t i = 0; i < qn__suite_size(x->suite); i++)
        if (strcmp(qn__suite_get(x->suite, i)->id, id) == 0)
            return qn__suite_get(x->suite, i);
    return NULL;
}

static bool right(const script *x, const qn_question *q)
{
    uint64_t h = qn__hash(q->id, strlen(q->id)) + q->seed * 0x9e3779b97f4a7c15u;
    h ^= h >> 29;
    h *= 0xbf58476d1ce4e5b9u;
    h ^= h >> 32;
    return x->how == PERFECT || x->how == AWAY || (x->how == CHANCE && (double)(h >> 11) / 9007199254740992.0 < 0.6);
}

static bool ask(qn_subject *s, const qn_question *q, size_t n, qn_answer *a)
{
    script *x = (script *)s;
    for (size_t i = 0; i < n; i++) {
        const qn_problem *p = problem(x, q[i].id);
        assert_non_null(p);
        if (x->how == AWAY && x->asked >= x->stay) {
            (void)qn__fail(&a[i].err, QN_EIO, "server", "is away");
            continue;
        }
        x->asked++;
        const char *text = right(x, &q[i]) ? p->canonical : x->how == SILENT ? "" : x->how == ENDLESS ? "    while True: pass\n" : "    return 'no'\n";
        if (q[i].messages_json && x->how == PERFECT)
            qn__buf_printf(&a[i].text, "Sure:\n```python\n%s%s\n```\n", p->prompt, text);
        else
            qn__buf_puts(&a[i].text, text);
        a[i].reason = QN_END_STOP;
    }
    return true;
}

static void close_it(qn_subject *s)
{
    (void)s;
}

static json_t *report(manner how, int limit, int samples, bool chat, int stay, qn_status want)
{
    script x = {.s = {.ask = ask, .close = close_it, .chats = chat, .at_once = 8, .name = "script"}, .how = how, .stay = stay};
    qn_err err = {0};
    if (qn__suite_open(suite_path, &x.suite, &err))
        fail_msg("%s", err.what);
    (void)snprintf(x.s.fingerprint, sizeof x.s.fingerprint, "%d", how);
    qn_eval_options o;
    qn_eval_options_init(&o);
    o.suite = suite_path;
    o.limit = limit;
    o.samples = samples;
    o.temperature = samples > 1 ? 1 : 0;
    o.ledger = ledger;
    o.time_s = how == ENDLESS ? 0.5 : 10;
    json_t *out = NULL;
    qn_status st = qn__eval(&o, &x.s, &out, &err);
    if (st != want)
        fail_msg("status %d, wanted %d: %s: %s", st, want, err.where, err.what);
    qn__suite_close(x.suite);
    return out;
}

static double pass_at_1(const json_t *r)
{
    return json_number_value(json_object_get(json_object_get(r, "pass@1"), "value"));
}

static int outcome(const json_t *r, const char *name)
{
    return (int)json_integer_value(json_object_get(json_object_get(r, "outcomes"), name));
}

static int prepare(void **state)
{
    (void)state;
    const char *s = getenv("SHARED");
    (void)snprintf(suite_path, sizeof suite_path, "%s/data/humaneval/HumanEval.jsonl.gz", s && *s ? s : "../shared");
    strcpy(ledger, "/tmp/quern-eval-XXXXXX");
    int fd = mkstemp(ledger);
    return fd < 0 || close(fd) || unlink(ledger);
}

static int drop(void **state)
{
    (void)state;
    char command[300];
    (void)snprintf(command, sizeof command, "rm -f '%s' '%s-wal' '%s-shm'", ledger, ledger, ledger);
    return system(command);
}

static void need(void)
{
    qn_sandbox *b = NULL;
    qn_err err = {0};
    FILE *f = fopen(suite_path, "rb");
    if (!f) {
        print_message("skipped: %s is not there\n", suite_path);
        skip();
    }
    (void)fclose(f);
    if (qn__sandbox_open(&b, &err)) {
        print_message("skipped: %s\n", err.what);
        skip();
    }
    qn__sandbox_close(b);
}

static void test_known(void **state)
{
    (void)state;
    need();
    json_t *r = report(PERFECT, 24, 1, false, 0, QN_OK);
    assert_true(pass_at_1(r) == 1);
    assert_int_equal(outcome(r, "passed"), 24);
    json_decref(r);
    r = report(PERFECT, 16, 1, true, 0, QN_OK); /* in a chat: fenced, with the signature */
    assert_int_equal(outcome(r, "passed"), 16);
    json_decref(r);
    r = report(WRONG, 16, 1, false, 0, QN_OK);
    assert_true(pass_at_1(r) == 0);
    assert_true(outcome(r, "wrong") + outcome(r, "error") == 16 && outcome(r, "wrong") >= 12);
    json_decref(r);
    r = report(SILENT, 8, 1, false, 0, QN_OK); /* says nothing: never passes */
    assert_int_equal(outcome(r, "passed"), 0);
    json_decref(r);
    r = report(SILENT, 8, 1, true, 0, QN_OK);
    assert_int_equal(outcome(r, "no code"), 8);
    json_decref(r);
    r = report(ENDLESS, 4, 1, false, 0, QN_OK);
    assert_int_equal(outcome(r, "time"), 4);
    json_decref(r);
}

static void test_chance(void **state)
{
    (void)state;
    need();
    json_t *r = report(CHANCE, 40, 4, false, 0, QN_OK), *w = json_object_get(json_object_get(r, "pass@1"), "interval95");
    double low = json_number_value(json_array_get(w, 0)), high = json_number_value(json_array_get(w, 1));
    print_message("figure: right with a chance of 0.6, 40 problems of 4 answers: pass@1 %.3f, 95 %% %.3f to %.3f\n", pass_at_1(r), low, high);
    assert_true(low < 0.6 && 0.6 < high && high - low < 0.25);
    assert_false(low < 0.95 && 0.95 < high); /* planted: another rate is not in it */
    json_decref(r);
}

static void test_away(void **state)
{
    (void)state;
    need();
    json_t *r = report(AWAY, 20, 1, false, 11, QN_EIO);
    assert_null(r);
    r = report(AWAY, 20, 1, false, 12, QN_OK); /* enough for what is left: the eight of the first batch are kept */
    assert_int_equal(outcome(r, "passed"), 20);
    json_decref(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known), cmocka_unit_test(test_chance), cmocka_unit_test(test_away)};
    return cmocka_run_group_tests(tests, prepare, drop);
}
