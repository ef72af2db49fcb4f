/* test_audit_probe.c - the audit is an instrument, so it is calibrated: subjects that are scripts, whose faults are known, and the report
 * must say exactly those. Planted fault: the same script with another fault must not give the same report. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "audit_solver.h"
#include "base/err.h"
#include "services/ledger/ledger.h"
#include "services/probe/audit.h"

enum { OVERHEAD = 9 };

typedef enum what { PERFECT, PAST, AT_DEPTH, SILENT, NOT_THERE, ECHO, CHANCE, EVERYTHING } what;
typedef struct script {
    qn_subject s;
    what what;
    int32_t past;  /* PAST: prompts of more tokens are too much */
    int depth;     /* AT_DEPTH: this slot is not found */
    double p;      /* CHANCE */
    uint64_t seed;
    size_t asked, enough; /* cancels after so many; 0: never */
} script;

static int64_t count(qn_subject *s, const char *text, size_t n)
{
    (void)s;
    return few_rules(text, n);
}

/* Some other five digits of the text. */
static void another(const char *text, const char *right, char *out)
{
    strcpy(out, "99999");
    for (const char *p = text; *p; p++) {
        size_t n = strspn(p, "0123456789");
        if (n == 5 && strncmp(p, right, 5) != 0) {
            memcpy(out, p, 5);
            return;
        }
        p += n ? n - 1 : 0;
    }
}

static void answer(script *s, const qn_question *q, qn_answer *a)
{
    bool chat = q->messages_json != NULL;
    const char *asked = chat ? q->messages_json : q->prompt, *slot = strrchr(q->id, '/');
    char *text = said(asked, chat), out[512];
    int64_t tokens = few_rules(text, strlen(text));
    solve(asked, chat, out, sizeof out);
    if (s->what == SILENT || (s->what == PAST && tokens > s->past))
        out[0] = 0;
    else if (s->what == NOT_THERE || (s->what == AT_DEPTH && slot && atoi(slot + 1) == s->depth))
        strcpy(out, "not there");
    else if (s->what == ECHO) {
        char right[512];
        strcpy(right, out);
        another(text, right, out);
    } else if (s->what == CHANCE) {
        qn_dice d = qn__dice(s->seed, qn__hash(q->id, strlen(q->id)), 0, 0, 0);
        if ((double)qn__roll(&d) / 18446744073709551616.0 >= s->p)
            strcpy(out, "00000");
    }
    if (s->what == EVERYTHING)
        qn__buf_put(&a->text, text, strlen(text));
    else
        qn__buf_put(&a->text, out, strlen(out));
    a->prompt_tokens = (int32_t)tokens + OVERHEAD;
    a->cached_tokens = a->prompt_tokens / 2;
    a->generated_tokens = 5;
    a->reason = QN_END_STOP;
    free(text);
}

static bool ask(qn_subject *subject, const qn_question *q, size_t n, qn_answer *a)
{
    script *s = (script *)subject;
    for (size_t i = 0; i < n; i++) {
        if (s->enough && s->asked++ >= s->enough) {
            (void)qn__fail(&a[i].err, QN_ECANCELLED, "script", "enough");
            return false;
        }
        answer(s, &q[i], &a[i]);
    }
    return true;
}

static script make(what w)
{
    script s = {.s = {.ask = ask, .count = count, .chats = true, .at_once = 4, .name = "script", .fingerprint = "f"}, .what = w};
    return s;
}

static qn_audit_options options(uint64_t seed, int32_t min, int32_t max, const char *kinds)
{
    qn_audit_options o;
    qn_audit_options_init(&o);
    o.probe.seed = seed;
    o.min_length = min;
    o.max_length = max;
    o.kinds = kinds;
    return o;
}

static json_t *run_in(script *s, const qn_audit_options *o, qn_ledger *l)
{
    json_t *r = NULL;
    qn_err err = {0};
    if (qn__audit(o, &s->s, l, &r, &err))
        fail_msg("%s: %s", err.where, err.what);
    return r;
}

static json_t *run(script *s, const qn_audit_options *o)
{
    qn_ledger *l = NULL;
    assert_int_equal(qn__ledger_open(":memory:", &l, NULL), QN_OK);
    json_t *r = run_in(s, o, l);
    qn__ledger_close(l);
    return r;
}

static const json_t *at(const json_t *o, const char *a, const char *b)
{
    return b ? json_object_get(json_object_get(o, a), b) : json_object_get(o, a);
}

static const char *state(const json_t *r)
{
    return json_string_value(at(r, "verdict", "state"));
}

static json_int_t number(const json_t *o, const char *a, const char *b)
{
    return json_integer_value(at(o, a, b));
}

static void test_perfect(void **st)
{
    (void)st;
    for (int chat = 0; chat < 2; chat++) {
        script s = make(PERFECT);
        s.s.chats = chat;
        qn_audit_options o = options(1, 0, 16384, NULL);
        json_t *r = run(&s, &o);
        assert_string_equal(state(r), "none");
        assert_int_equal(number(r, "verdict", "up_to"), 16384);
        assert_int_equal(number(r, "verdict", "able"), QN_AUDIT_KINDS);
        assert_int_equal(number(r, "planted", "right"), number(r, "planted", "n"));
        assert_int_equal(number(r, "absent", "right"), number(r, "absent", "n"));
        assert_int_equal(number(r, "guess", "right"), 0);
        if (chat)
            assert_int_equal(number(r, "cost", "off_by_at_most"), 0);
        json_decref(r);
    }
}

/* For many N and seeds; every kind, and all together. */
static void test_past(void **st)
{
    (void)st;
    static const int32_t past[] = {1100, 1333, 2000, 2500, 3000, 3777, 4800, 6100, 7900, 9999, 12500, 15000};
    double worst = 0;
    int cliffs = 0, inside = 0;
    for (uint64_t i = 0; i < sizeof past / sizeof *past; i++) {
        script s = make(PAST);
        s.past = past[i] - OVERHEAD;
        qn_audit_options o = options(i * 77, 512, 16384, i % 3 ? "plain,needle,variable,caller" : NULL);
        json_t *r = run(&s, &o);
        assert_string_equal(state(r), "cliff");
        size_t k;
        const json_t *kind;
        json_array_foreach(at(r, "kinds", NULL), k, kind) {
            const json_t *c = json_object_get(kind, "cliff");
            if (!c && json_integer_value(json_object_get(kind, "shortest")) > past[i])
                continue; /* it begins beyond: never able, and says so */
            assert_non_null(c);
            double off = fabs((double)number(c, "length", NULL) / past[i] - 1);
            worst = off > worst ? off : worst;
            cliffs++;
            inside += json_integer_value(json_array_get(json_object_get(c, "interval95"), 0)) <= past[i] &&
                      past[i] <= json_integer_value(json_array_get(json_object_get(c, "interval95"), 1));
        }
        assert_true(fabs((double)number(r, "verdict", "length") / past[i] - 1) <= 0.05);
        json_decref(r);
    }
    print_message("figure: audit: cliffs of scripts that fail past N: %d, the worst %.1f %% off, %d with N in the interval\n", cliffs, 100 * worst, inside);
    assert_true(worst <= 0.05);
    assert_true(inside >= cliffs * 95 / 100);
}

static void test_at_depth(void **st)
{
    (void)st;
    for (int d = 0; d < 5; d++) {
        script s = make(AT_DEPTH);
        s.depth = d;
        qn_audit_options o = options((uint64_t)d, 512, 4096, NULL);
        json_t *r = run(&s, &o), *list = json_object_get(r, "depth_scores"), *rows = json_object_get(json_object_get(r, "heat_map"), "right_of");
        for (int i = 0; i < 5; i++) {
            assert_int_equal(json_is_true(json_object_get(json_array_get(list, (size_t)i), "weak")), i == d);
            size_t k;
            const json_t *cell;
            json_array_foreach(json_array_get(rows, (size_t)i), k, cell)
                assert_int_equal(json_integer_value(json_array_get(cell, 0)), i == d ? 0 : json_integer_value(json_array_get(cell, 1)));
        }
        assert_string_equal(state(r), "none"); /* four fifths are above the bar */
        json_decref(r);
    }
}

static void test_never(void **st)
{
    (void)st;
    static const what all[] = {SILENT, NOT_THERE, ECHO, EVERYTHING};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        script s = make(all[i]);
        qn_audit_options o = options(i, 512, 4096, all[i] == ECHO ? "plain,needle,several,last-write,variable,tool-result" : NULL);
        json_t *r = run(&s, &o);
        assert_string_equal(state(r), "never");
        assert_int_equal(number(r, "planted", "right"), 0);
        assert_int_equal(number(r, "absent", "right"), all[i] == NOT_THERE ? number(r, "absent", "n") : 0);
        json_int_t n = number(r, "planted", "n"), named = number(r, "outcomes", all[i] == SILENT ? "silent" : all[i] == NOT_THERE ? "abstained" : "distractor");
        assert_true(all[i] == EVERYTHING || all[i] == ECHO ? named > n / 2 : named == n);
        json_decref(r);
    }
}

/* Right with probability p: over many runs the interval of the score holds p as often as it says, and no cliff is found where there is
 * none. */
static void test_chance(void **st)
{
    (void)st;
#ifdef QN_SANITIZED
    const int runs = 60;
#else
    const int runs = 1000;
#endif
    int inside = 0, wrong = 0;
    for (int i = 0; i < runs; i++) {
        script s = make(CHANCE);
        s.p = 0.5 + 0.1 * (i % 6);
        s.seed = (uint64_t)i;
        qn_audit_options o = options((uint64_t)i, 128, 256, "needle");
        json_t *r = run(&s, &o);
        const json_t *w = at(r, "planted", "interval95");
        inside += json_number_value(json_array_get(w, 0)) <= s.p && s.p <= json_number_value(json_array_get(w, 1));
        wrong += strcmp(state(r), "none") != 0;
        json_decref(r);
    }
    print_message("figure: audit: right with probability p, %d runs: the 95 %% interval holds p in %.1f %%; another verdict than \"no cliff\": %d\n", runs,
                  100.0 * inside / runs, wrong);
    assert_true(inside >= runs * 93 / 100);
    assert_true(wrong <= runs / 50);
}

/* Cut off again and again, it comes to the same. */
static void test_goes_on(void **st)
{
    (void)st;
    script s = make(PAST), whole = make(PAST);
    s.past = whole.past = 1500;
    qn_audit_options o = options(4, 512, 4096, "plain,needle,tool-result");
    json_t *want = run(&whole, &o), *got = NULL;
    qn_ledger *l = NULL;
    int cuts = 0;
    qn_err err;
    assert_int_equal(qn__ledger_open(":memory:", &l, NULL), QN_OK);
    for (s.enough = 37;; s.asked = 0, cuts++) {
        qn_status is = qn__audit(&o, &s.s, l, &got, &err);
        if (!is)
            break;
        assert_int_equal(is, QN_ECANCELLED);
        assert_true(cuts < 100);
    }
    assert_true(cuts > 3);
    static const char *const same[] = {"verdict", "kinds", "heat_map", "depth_scores", "planted", "absent", "guess", "outcomes"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (!json_equal(json_object_get(want, same[i]), json_object_get(got, same[i])))
            fail_msg("%s differs after %d cuts", same[i], cuts);
    script other = make(PAST); /* planted: another fault, another report */
    other.past = 900;
    json_t *differs = run(&other, &o);
    assert_false(json_equal(json_object_get(want, "verdict"), json_object_get(differs, "verdict")));
    json_decref(differs);
    json_decref(want);
    json_decref(got);
    qn__ledger_close(l);
}

/* A server that counts nothing: lengths are estimates from the prompts that it counted, and the report says so. */
static void test_estimates(void **st)
{
    (void)st;
    script s = make(PERFECT);
    s.s.count = NULL;
    qn_audit_options o = options(9, 512, 4096, "plain,needle");
    json_t *r = run(&s, &o);
    assert_true(json_is_false(json_object_get(r, "exact")));
    assert_true(json_number_value(json_object_get(r, "bytes_per_token")) > 1.5);
    assert_true(number(r, "cost", "off_by_at_most") < 4096 / 4);
    assert_string_equal(state(r), "none");
    json_decref(r);
}

/* Any allocation may fail: an error or a report, never a crash; and the next time it works. */
static void test_no_memory(void **st)
{
    (void)st;
    qn_audit_options o = options(2, 128, 256, "plain,needle");
    o.samples = 1;
    o.depths = 2;
    uint64_t before = qn__alloc_count(), runs = 0, failed = 0;
    script s = make(PERFECT);
    json_t *r = run(&s, &o);
    json_decref(r);
    uint64_t all = qn__alloc_count() - before;
    for (uint64_t n = 1; n <= all; n += 1 + n / 12, runs++) {
        qn_ledger *l = NULL;
        qn_err err = {0};
        r = NULL;
        assert_int_equal(qn__ledger_open(":memory:", &l, NULL), QN_OK);
        qn__alloc_fail_at(n);
        qn_status is = qn__audit(&o, &s.s, l, &r, &err);
        qn__alloc_fail_at(0);
        assert_true(is == QN_OK ? r != NULL : r == NULL && err.code == is && *err.what);
        failed += is != QN_OK;
        json_decref(r);
        qn__ledger_close(l);
    }
    assert_true(failed > runs / 4);
}

static void test_refused(void **st)
{
    (void)st;
    script s = make(PERFECT);
    qn_ledger *l = NULL;
    json_t *r = NULL;
    qn_err err;
    assert_int_equal(qn__ledger_open(":memory:", &l, NULL), QN_OK);
    qn_audit_options o = options(1, 512, 4096, "needles");
    assert_int_equal(qn__audit(&o, &s.s, l, &r, &err), QN_EINVAL);
    o = options(1, 512, 256, NULL);
    assert_int_equal(qn__audit(&o, &s.s, l, &r, &err), QN_EINVAL);
    o = options(1, 0, 0, NULL);
    o.depths = 1;
    assert_int_equal(qn__audit(&o, &s.s, l, &r, &err), QN_EINVAL);
    s.s.n_ctx = 2048;
    o = options(1, 0, 4096, NULL);
    assert_int_equal(qn__audit(&o, &s.s, l, &r, &err), QN_ECONTEXT);
    assert_null(r);
    qn__ledger_close(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_perfect), cmocka_unit_test(test_past), cmocka_unit_test(test_at_depth), cmocka_unit_test(test_never),
                                       cmocka_unit_test(test_chance), cmocka_unit_test(test_goes_on), cmocka_unit_test(test_estimates), cmocka_unit_test(test_no_memory), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
