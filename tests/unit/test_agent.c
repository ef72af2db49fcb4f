/* test_agent.c - an instrument is calibrated before it is read: subjects whose faults are known must be reported as exactly what they are.
 * Planted faults: a subject that writes where it must not would pass if nobody looked; a transcript with a wrong expectation is missed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent_stubs.h"
#include "services/probe/stats.h"

#ifdef QN_SANITIZED
enum { RUNS = 60 };
#else
enum { RUNS = 1000 };
#endif

static size_t count_families(void)
{
    size_t n = 0;
    while (qn__task_family(n))
        n++;
    return n;
}

/* Every kind of failure, on both paths, in every family: the reason that is named is the stub's. */
static void every_failure_is_named(void **state)
{
    (void)state;
    const size_t families = count_families();
    for (int kind = 0; kind < STUBS; kind++) {
        if (kind == STUB_CHANCE || kind == STUB_EASY)
            continue;
        qn_agent_sample v[400];
        size_t n = 0, right = 0;
        for (int path = 0; path < QN_PATHS; path++)
            for (int tier = 0; tier < QN_TIERS; tier++)
                for (size_t f = 0; f < families; f++)
                    for (int k = 0; k < 2; k++) {
                        qn_task t;
                        assert_false(qn__task_open(qn__task_family(f), tier, 0, (uint64_t)k, &t, NULL));
                        const bool fits = (tier < QN_HARD || (f % 4 == 0 && k == 0)) && (kind != STUB_CHEATS || (t.env.files && tier < QN_HARD));
                        qn__task_close(&t);
                        if (fits)
                            v[n++] = (qn_agent_sample){.path = (uint8_t)path, .tier = (uint8_t)tier, .family = (uint16_t)f, .repeat = k};
                    }
        stub s = make_stub((stub_kind)kind);
        qn_agent_options o;
        qn_agent_options_init(&o);
        qn_err err = {0};
        if (qn__agent_run(&o, &s.s, v, n, NULL, NULL, &err))
            fail_msg("%s", err.what);
        for (size_t i = 0; i < n; i++) {
            right += v[i].reason == STUB_REASONS[kind];
            if (v[i].reason != STUB_REASONS[kind])
                print_message("stub %d: %s %s %s: %s\n", kind, qn__agent_path_name(v[i].path), qn__tier_name(v[i].tier), qn__task_family(v[i].family)->name, qn__reason_name(v[i].reason));
        }
        print_message("%-16s %zu of %zu named right\n", qn__reason_name(STUB_REASONS[kind]), right, n);
        assert_true(n >= 50 && right * 100 >= n * 99);
    }
}

static json_t *whole(stub *s, qn_ledger *l, int32_t limit, bool all_tiers, uint32_t paths, const char *families)
{
    qn_agent_options o;
    qn_err err = {0};
    json_t *out = NULL;
    qn_agent_options_init(&o);
    o.limit = limit;
    o.all_tiers = all_tiers;
    o.paths = paths;
    o.families = families;
    if (qn__agent(&o, &s->s, l, &out, &err))
        fail_msg("%s: %s", err.where, err.what);
    return out;
}

static const char *status(const json_t *report, const char *path, int tier)
{
    return json_string_value(json_object_get(json_object_get(json_object_get(json_object_get(report, "paths"), path), qn__tier_name(tier)), "status"));
}

static const char *verdict(const json_t *report, const char *profile)
{
    return json_string_value(json_object_get(json_object_get(json_object_get(report, "profiles"), profile), "verdict"));
}

static void the_table_is_what_the_stub_is(void **state)
{
    static const struct { stub_kind kind; bool all; const char *tiers[QN_TIERS], *verdict; } cases[] = {
        {STUB_PERFECT, false, {"CLEAR", "CLEAR", "CLEAR", "CLEAR"}, "READY"},
        {STUB_EASY, false, {"CLEAR", "FAIL", "NOT TESTED", "NOT TESTED"}, "NOT READY"},
        {STUB_EASY, true, {"CLEAR", "FAIL", "FAIL", "FAIL"}, "NOT READY"},
        {STUB_SILENT, true, {"FAIL", "FAIL", "FAIL", "FAIL"}, "NOT READY"},
        {STUB_CLAIMS, false, {"FAIL", "NOT TESTED", "NOT TESTED", "NOT TESTED"}, "NOT READY"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stub s = make_stub(cases[i].kind);
        json_t *r = whole(&s, NULL, cases[i].kind == STUB_PERFECT ? 48 : 16, cases[i].all, 1, cases[i].kind == STUB_PERFECT ? NULL : NULL);
        for (int tier = 0; tier < QN_TIERS; tier++)
            if (strcmp(status(r, "native", tier), cases[i].tiers[tier]) != 0)
                fail_msg("stub %d, %s: %s", cases[i].kind, qn__tier_name(tier), status(r, "native", tier));
        assert_string_equal(status(r, "json", 0), "NOT TESTED");
        if (cases[i].kind != STUB_PERFECT)
            assert_string_equal(verdict(r, "coding"), cases[i].verdict);
        else
            assert_string_equal(verdict(r, "coding"), cases[i].verdict);
        json_decref(r);
    }
}

/* 1,000 runs of 20 samples by a subject that is right with probability p: how often p lies inside the 95 % interval. */
static void intervals_hold_what_they_promise(void **state)
{
    (void)state;
    const double p = 0.7;
    size_t f = 0;
    int inside = 0;
    while (strcmp(qn__task_family(f)->name, "resolve_conflict") != 0)
        f++;
    for (int run = 0; run < RUNS; run++) {
        qn_agent_sample v[20];
        stub s = make_stub(STUB_CHANCE);
        qn_agent_options o;
        qn_agent_options_init(&o);
        o.probe.seed = (uint64_t)run;
        s.p = p;
        s.salt = (uint64_t)run * 977;
        uint64_t passed = 0;
        for (int k = 0; k < 20; k++)
            v[k] = (qn_agent_sample){.path = QN_PATH_NATIVE, .tier = QN_EASY, .family = (uint16_t)f, .repeat = k};
        assert_false(qn__agent_run(&o, &s.s, v, 20, NULL, NULL, NULL));
        for (int k = 0; k < 20; k++)
            passed += v[k].reason == QN_REASON_PASSED;
        const qn_interval w = qn__wilson(passed, 20, 1.959964);
        inside += w.low <= p && p <= w.high;
    }
    print_message("figure: p = 0.7 lay inside the 95 %% interval in %d of %d simulated runs\n", inside, RUNS);
    assert_true(inside >= RUNS * 92 / 100 && inside <= RUNS * 99 / 100);
}

/* ---- the ledger: an ended run goes on, and is judged again ---- */

static void runs_resume_and_are_judged_again(void **state)
{
    (void)state;
    char path[] = "/tmp/quern-agent-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    (void)unlink(path);
    qn_ledger *l = NULL;
    qn_err err = {0};
    qn_agent_options o;
    json_t *out = NULL;
    assert_false(qn__ledger_open(path, &l, &err));
    qn_agent_options_init(&o);
    o.limit = 16;
    o.paths = 1;
    o.tiers = 1;
    stub s = make_stub(STUB_PERFECT);
    s.cancel_at = 30;
    assert_int_equal(qn__agent(&o, &s.s, l, &out, &err), QN_ECANCELLED);
    const size_t first = s.asked;
    stub again = make_stub(STUB_PERFECT), fresh = make_stub(STUB_PERFECT);
    assert_false(qn__agent(&o, &again.s, l, &out, &err));
    json_t *other = NULL;
    assert_false(qn__agent(&o, &fresh.s, NULL, &other, &err));
    assert_true(again.asked < fresh.asked && first > 0); /* what was there was not asked again */
    assert_true(json_equal(json_object_get(out, "profiles"), json_object_get(other, "profiles")));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(json_object_get(json_object_get(out, "paths"), "native"), "easy"), "samples")), 16);
    o.rescore = json_integer_value(json_object_get(out, "run"));
    json_t *rescored = NULL;
    assert_false(qn__agent(&o, NULL, l, &rescored, &err));
    assert_int_equal(json_integer_value(json_object_get(rescored, "rescored")), 0);
    assert_true(json_equal(json_object_get(out, "paths"), json_object_get(rescored, "paths")));
    o.rescore = 999;
    assert_int_equal(qn__agent(&o, NULL, l, &rescored, &err), QN_EINVAL);
    json_decref(out);
    json_decref(other);
    json_decref(rescored);
    qn__ledger_close(l);
    (void)unlink(path);
}

/* ---- recorded transcripts ---- */

static int check_transcripts(bool planted)
{
    int wrong = 0, n = 0;
    json_error_t e;
    json_t *all = json_load_file("tests/data/transcripts/reasons.json", 0, &e), *t;
    size_t i;
    if (!all)
        fail_msg("tests/data/transcripts/reasons.json: %s, line %d", e.text, e.line);
    json_array_foreach(all, i, t) {
        const char *expect = json_string_value(json_object_get(t, "expect")), *got = qn__reason_name(qn__agent_reason(t));
        if (planted && i == 0)
            expect = "prose?";
        n++;
        if (strcmp(expect, got) != 0) {
            wrong++;
            if (!planted)
                print_message("%s: expected %s, got %s\n", json_string_value(json_object_get(t, "note")), expect, got);
        }
    }
    assert_true(n >= 30);
    json_decref(all);
    return wrong;
}

static void recorded_transcripts_have_their_reasons(void **state)
{
    (void)state;
    assert_int_equal(check_transcripts(false), 0);
    assert_int_equal(check_transcripts(true), 1);
}

/* A report is made into pages. */
static void pages_are_made(void **state)
{
    (void)state;
    stub s = make_stub(STUB_EASY);
    json_t *r = whole(&s, NULL, 8, false, 0, NULL);
    char *text = json_dumps(r, 0), *page = NULL;
    for (int form = QN_PAGE_HTML; form <= QN_PAGE_TEXT; form++) {
        qn_err err = {0};
        if (qn_report_page(text, (qn_page_form)form, &page, NULL, &err))
            fail_msg("%s", err.what);
        assert_non_null(strstr(page, "premature done"));
        assert_non_null(strstr(page, "NOT READY"));
        qn_free(page);
    }
    free(text);
    json_decref(r);
    s = make_stub(STUB_PERFECT);
    qn_agent_options o;
    qn_agent_options_init(&o);
    qn_err err = {0};
    o.families = "fix_bug,nothing";
    assert_int_equal(qn__agent(&o, &s.s, NULL, &r, &err), QN_EINVAL);
    assert_non_null(strstr(err.what, "'nothing' is none of fix_bug"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_transcripts_have_their_reasons), cmocka_unit_test(every_failure_is_named), cmocka_unit_test(the_table_is_what_the_stub_is),
        cmocka_unit_test(intervals_hold_what_they_promise),        cmocka_unit_test(runs_resume_and_are_judged_again), cmocka_unit_test(pages_are_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
