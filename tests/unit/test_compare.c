/* test_compare.c - the fair comparison, calibrated: contenders whose behaviour is known must be reported as what they are. Suites
 * (also hostile ones), the ways in which a question is put anew, checks that need no sandbox, significance. */
#include <math.h>
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
#include "services/eval/vary.h"
#include "services/probe/stats.h"
#include "services/probe/open.h"

/* ---- suites ---- */

static const char SMALL[] = "# Small\nsystem: Be brief.\nmax_tokens: 9\n\nProse: nothing.\n\n## one\ncheck: exact\nneeds: nothing here\n"
                            "```prompt\nSay four.\n```\n```check\nfour\n```\n~~~~good\n```\nfour\n```\n~~~~\n```bad\nfive\n```\n"
                            "## two\n\ncheck: command\r\nrun: sh x\nanswer: x/y.sh\n````prompt\nA\n```\nB\n```\n````\n"
                            "```sh file=a.sh shown\necho\n```\n";

static void test_suite(void **state)
{
    (void)state;
    qn_tasks t;
    qn_err err = {0};
    char *text = strdup(SMALL); /* may be freed as soon as it was parsed */
    memcpy(strstr(text, "needs: nothing here"), "nothing: to say    ", 19);
    assert_int_equal(qn__tasks_parse(text, strlen(text), "s.md", &t, &err), QN_OK);
    memset(text, 'x', strlen(text));
    free(text);
    assert_int_equal(t.n, 2);
    assert_string_equal(t.title, "Small");
    assert_string_equal(t.system, "Be brief.");
    assert_int_equal(t.max_tokens, 9);
    assert_string_equal(t.v[0].name, "one");
    assert_string_equal(t.v[0].prompt, "Say four.");
    assert_string_equal(t.v[0].good[0], "```\nfour\n```\n");
    assert_string_equal(t.v[0].bad[0], "five\n");
    assert_int_equal(t.v[1].check, QN_CHECK_COMMAND);
    assert_string_equal(t.v[1].answer, "x/y.sh");
    assert_string_equal(t.v[1].prompt, "A\n```\nB\n```\n\n`a.sh`:\n\n```sh\necho\n```");
    assert_string_equal(t.v[1].files[0].name, "a.sh");
    assert_memory_equal(t.v[1].files[0].text.p, "echo\n", 5);
    qn__tasks_free(&t);
}

static void refused(const char *text, const char *where, const char *what)
{
    qn_tasks t = {.n = 77};
    qn_err err = {0};
    assert_true(qn__tasks_parse(text, strlen(text), "s.md", &t, &err) != QN_OK);
    if (!strstr(err.where, where) || !strstr(err.what, what))
        fail_msg("%s: %s; wanted %s: %s", err.where, err.what, where, what);
    assert_int_equal(t.n, 77);
}

#define ITEM "## a\ncheck: exact\n```prompt\np\n```\n```check\nc\n```\n"

static void test_suite_refuses(void **state)
{
    (void)state;
    refused("", "s.md", "no items");
    refused("# only prose\n", "s.md", "no items");
    refused("## a\n", "s.md:1", "no prompt");
    refused("x\n## a\ncheck: exact\n```prompt\n", "s.md:4", "does not end");
    refused("## a\ncheck: maybe\n", "s.md:2", "no check");
    refused("## a\n```prompt\np\n```\n", "s.md:1", "check:");
    refused("## a\ncheck: exact\n```prompt\np\n```\n", "s.md:1", "no check block");
    refused(ITEM ITEM, "s.md:9", "second item");
    refused("## a\n```prompt\n```\n```prompt\n```\n", "s.md:4", "second prompt");
    refused("```prompt\n```\n", "s.md:1", "before the first item");
    refused("## a\n```file=../../etc/passwd\n```\n", "s.md:2", "file name");
    refused("## a\n```file=/etc/passwd\n```\n", "s.md:2", "file name");
    refused("## a\n```file=-rf\n```\n", "s.md:2", "file name");
    refused("## a\n```file=a'b\n```\n", "s.md:2", "file name");
    refused("## a\n```file=.quern\n```\n", "s.md:2", "file name");
    refused("## a\n```file=a\n```\n```file=a\n```\n", "s.md:4", "second file");
    refused("## a\n```prompt good\n```\n", "s.md:2", "one of");
    refused("## a\nanswer: a b\n", "s.md:2", "file name");
    refused("## a\ntime: 99999\n", "s.md:2", "range");
    refused("## a\ntime: 1s\n", "s.md:2", "range");
    refused("## \n", "s.md:1", "name");
    refused("## a\nrun:\n", "s.md:2", "no value");
    refused("## a\ncheck: command\nrun: x\n```prompt\n```\n", "s.md:1", "answer:");
    refused("\xff\n", "s.md", "UTF-8");
    char *big = malloc((size_t)QN_TASK_BYTES + 2);
    memset(big, '#', (size_t)QN_TASK_BYTES + 1);
    big[QN_TASK_BYTES + 1] = 0;
    refused(big, "s.md", "1 MiB");
    big[0] = 0;
    for (size_t at = 0, i = 0; i < 1001; i++) /* more items than may be */
        at += (size_t)sprintf(big + at, "## %zu\ncheck: rubric\n```prompt\np\n```\n", i);
    refused(big, "s.md:", "too many items");
    strcpy(big, "## a\n");
    for (int i = 0; i < 65; i++)
        strcat(big, "```bad\n```\n");
    refused(big, "s.md:", "too many blocks");
    free(big);
}

/* Every prefix of a suite, and every byte of it changed: a status, never a crash. */
static void test_suite_hostile(void **state)
{
    (void)state;
    qn_tasks t;
    char text[sizeof SMALL];
    for (size_t n = 0; n < sizeof SMALL; n++)
        if (!qn__tasks_parse(SMALL, n, "s", &t, NULL))
            qn__tasks_free(&t);
    for (size_t i = 0; i + 1 < sizeof SMALL; i++)
        for (size_t k = 0; k < 6; k++) {
            memcpy(text, SMALL, sizeof text);
            text[i] = "`\n:# \0"[k];
            if (!qn__tasks_parse(text, sizeof text - 1, "s", &t, NULL))
                qn__tasks_free(&t);
        }
    for (uint64_t at = 1; at < 60; at++) { /* without memory */
        qn__alloc_fail_at(at);
        const qn_status st = qn__tasks_parse(SMALL, sizeof SMALL - 1, "s", &t, NULL);
        qn__alloc_fail_at(0);
        if (!st)
            qn__tasks_free(&t);
    }
}

/* ---- other words ---- */

static const char PROMPT[] = "Implement the function below. Use no packages. Keep the name.\n\n- Return nothing.\n- Answer with code.\n\n"
                             "```c\nint Implement(void);\n\nint Keep;\n```\n\nKeep `Write a` as it is.\n";

static char *varied(const char *prompt, uint64_t seed, int run, unsigned *what)
{
    qn_buf b = {0};
    *what = qn__vary(prompt, seed, run, &b);
    return qn__buf_take(&b, NULL);
}

static int by_byte(const void *a, const void *b)
{
    return *(const char *)a - *(const char *)b;
}

static void test_vary(void **state)
{
    (void)state;
    unsigned what, again, seen = 0;
    char *v = varied(PROMPT, 1, 0, &what);
    assert_string_equal(v, PROMPT);
    assert_int_equal(what, 0);
    qn_free(v);
    for (uint64_t seed = 0; seed < 20; seed++)
        for (int run = 1; run < 8; run++) {
            v = varied(PROMPT, seed, run, &what);
            char *w = varied(PROMPT, seed, run, &again);
            assert_string_equal(v, w); /* the same seed, the same words */
            assert_int_equal(what, again);
            assert_true(what != 0);
            assert_true(strcmp(v, PROMPT) != 0);
            assert_non_null(strstr(v, "```c\nint Implement(void);\n\nint Keep;\n```\n")); /* code stays */
            assert_non_null(strstr(v, "`Write a`"));
            seen |= what;
            qn_free(v);
            qn_free(w);
        }
    assert_int_equal(seen, QN_VARY_SPACE | QN_VARY_SYNONYMS | QN_VARY_ORDER);
    v = varied("The result is 4. Say why.", 3, 1, &what); /* nothing to move */
    assert_int_equal(what & QN_VARY_ORDER, 0);
    qn_free(v);
    v = varied("Write it. It must be short. Use that.", 3, 1, &what); /* sentences that refer to each other stay */
    assert_int_equal(what & QN_VARY_ORDER, 0);
    qn_free(v);
    v = varied("1. Use a.\n2. Use b.\n", 3, 1, &what); /* numbered: an order that is meant */
    assert_int_equal(what & QN_VARY_ORDER, 0);
    qn_free(v);
    /* Changing places loses and adds nothing. */
    static const char three[] = "Read the file. Use no loop. Return the sum. Avoid recursion. Done\n";
    v = varied(three, 5, 1, &what);
    assert_true(what & QN_VARY_ORDER);
    assert_int_equal(strlen(v), strlen(three));
    assert_true(strcmp(v, three) != 0);
    char copy[sizeof three];
    memcpy(copy, three, sizeof copy);
    qsort(copy, sizeof three - 1, 1, by_byte);
    qsort(v, strlen(v), 1, by_byte);
    assert_string_equal(v, copy);
    qn_free(v);
}

/* ---- checks ---- */

static const char CHECKS[] = "# Checks\n## regex\ncheck: regex\n```prompt\np\n```\n```check\n(?i)four\n!five\n```\n"
                             "## exact\ncheck: exact\n```prompt\np\n```\n```check\n4\n```\n"
                             "## schema\ncheck: schema\n```prompt\np\n```\n```check\n{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},"
                             "\"b\":{\"type\":\"string\"}},\"required\":[\"a\"],\"additionalProperties\":false}\n```\n"
                             "## people\ncheck: rubric\n```prompt\np\n```\n"
                             "## hard\ncheck: regex\n```prompt\np\n```\n```check\n^(a+)+$\n```\n";

static const char *said(const qn_judge *j, size_t item, const char *answer)
{
    qn_verdict v = {0};
    qn_err err = {0};
    if (qn__judge(j, item, answer, strlen(answer), &v, &err))
        return "error";
    json_decref(v.detail);
    assert_true(v.right == (strcmp(v.outcome, "right") == 0));
    return v.outcome;
}

static void test_checks(void **state)
{
    (void)state;
    qn_tasks t;
    qn_judge *j = NULL;
    qn_err err = {0};
    assert_int_equal(qn__tasks_parse(CHECKS, sizeof CHECKS - 1, "c.md", &t, &err), QN_OK);
    if (qn__judge_open(&t, "c.md", &j, &err))
        fail_msg("%s: %s", err.where, err.what);
    assert_string_equal(said(j, 0, "It is FOUR."), "right");
    assert_string_equal(said(j, 0, "four, not five"), "wrong");
    assert_string_equal(said(j, 0, ""), "empty");
    assert_string_equal(said(j, 1, " 4\n"), "right");
    assert_string_equal(said(j, 1, "Sure:\n```\n4\n```\n"), "right");
    assert_string_equal(said(j, 1, "`4`"), "right");
    assert_string_equal(said(j, 1, "44"), "wrong");
    assert_string_equal(said(j, 1, " \n\t"), "empty");
    assert_string_equal(said(j, 2, "{\"b\" : \"x\",\n   \"a\" : 3}"), "right");
    assert_string_equal(said(j, 2, "Here:\n```json\n{\"a\": 3}\n```"), "right");
    assert_string_equal(said(j, 2, "{\"a\": \"3\"}"), "wrong");
    assert_string_equal(said(j, 2, "{\"b\": \"x\"}"), "wrong");
    assert_string_equal(said(j, 2, "{\"a\": 3, \"c\": 1}"), "wrong");
    assert_string_equal(said(j, 2, "a is 3"), "no JSON");
    assert_string_equal(said(j, 3, "anything"), "shown");
    char trap[64];
    memset(trap, 'a', 60);
    strcpy(trap + 60, "!");
    assert_string_equal(said(j, 4, trap), "error"); /* work is bounded: a sentence, no hang */
    qn__judge_close(j);
    qn__tasks_free(&t);
}

/* Without memory at any point: a status, nothing lost, nothing left. */
static void test_checks_memory(void **state)
{
    (void)state;
    qn_tasks t;
    qn_err err = {0};
    int failed = 0, opened = 0;
    assert_int_equal(qn__tasks_parse(CHECKS, sizeof CHECKS - 1, "c.md", &t, &err), QN_OK);
    for (uint64_t at = 1; at < 3000 && opened < 2; at += at < 300 ? 1 : 37) {
        qn_judge *j = NULL;
        qn__alloc_fail_at(at);
        const qn_status st = qn__judge_open(&t, "c.md", &j, &err);
        qn__alloc_fail_at(0);
        assert_true((st == QN_OK) == (j != NULL));
        failed += st != QN_OK;
        opened += st == QN_OK;
        qn__judge_close(j);
    }
    assert_true(failed > 20);
    qn__tasks_free(&t);
}

static bool stop_at(void *arg, const char *doing, size_t done, size_t total)
{
    (void)doing;
    assert_true(done <= total);
    return done < *(size_t *)arg;
}

static void unfit(const char *check, const char *block, const char *where)
{
    char text[400];
    qn_tasks t;
    qn_judge *j = NULL;
    qn_err err = {0};
    (void)snprintf(text, sizeof text, "## a\ncheck: %s\n```prompt\np\n```\n```check\n%s\n```\n", check, block);
    assert_int_equal(qn__tasks_parse(text, strlen(text), "c.md", &t, &err), QN_OK);
    assert_true(qn__judge_open(&t, "c.md", &j, &err) != QN_OK);
    assert_null(j);
    if (!strstr(err.where, where))
        fail_msg("%s: %s", err.where, err.what);
    qn__tasks_free(&t);
}

static void test_checks_refuse(void **state)
{
    (void)state;
    unfit("regex", "fine\n(", "c.md:8");
    unfit("regex", "!", "c.md:7");
    unfit("schema", "{\"type\":\n", "c.md:");
    unfit("schema", "{\"type\": \"number\", \"$dynamicRef\": \"#x\"}", "c.md");
}

/* ---- contenders whose manner is known ---- */

typedef enum manner { RIGHT, WRONG, SILENT, AS_WRITTEN, CHANCE, AWAY } manner;

typedef struct script {
    qn_subject s;
    manner how;
    double p;
    int asked, stay; /* AWAY: answers so many */
    uint64_t salt;
} script;

/* 40 items, "item-i"; the right answer is i. */
enum { ITEMS = 40 };
static char suite_path[64], ledger[64];

static bool answers_right(const script *x, const qn_question *q)
{
    uint64_t h = (qn__hash(q->id, strlen(q->id)) ^ (x->salt * 0x9e3779b97f4a7c15u)) + (q->seed + 1) * 0xbf58476d1ce4e5b9u;
    h ^= h >> 29;
    h *= 0x94d049bb133111ebu;
    h ^= h >> 32;
    h *= 0xbf58476d1ce4e5b9u;
    h ^= h >> 29;
    char as_written[80];
    (void)snprintf(as_written, sizeof as_written, "\"Write a number: %s.\"", strchr(q->id, '-') + 1);
    return x->how == RIGHT || x->how == AWAY || (x->how == AS_WRITTEN && strstr(q->messages_json, as_written)) ||
           (x->how == CHANCE && (double)(h >> 11) / 9007199254740992.0 < x->p);
}

static bool ask(qn_subject *s, const qn_question *q, size_t n, qn_answer *a)
{
    script *x = (script *)s;
    for (size_t i = 0; i < n; i++) {
        assert_true(q[i].temperature == 0);
        assert_non_null(strstr(q[i].messages_json, "Be brief."));
        if (x->how == AWAY && x->asked >= x->stay) {
            (void)qn__fail(&a[i].err, QN_EIO, "server", "is away");
            continue;
        }
        x->asked++;
        if (x->how != SILENT)
            qn__buf_puts(&a[i].text, answers_right(x, &q[i]) ? strchr(q[i].id, '-') + 1 : "no");
        a[i].reason = QN_END_STOP;
        a[i].prompt_tokens = 10;
        a[i].generated_tokens = 5;
        a[i].first_s = 0.5;
        a[i].total_s = 1.5;
    }
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

static size_t patience = SIZE_MAX; /* questions after which the user ends it */

static json_t *compared(script *x, size_t n, int runs, uint64_t seed, qn_status want)
{
    qn_contender who[4];
    static const char *const names[] = {"first", "second", "third", "fourth"};
    for (size_t i = 0; i < n; i++) {
        x[i].s = (qn_subject){.ask = ask, .close = close_it, .chats = true, .at_once = 1, .name = "script"};
        (void)snprintf(x[i].s.fingerprint, sizeof x[i].s.fingerprint, "%d", x[i].how == AWAY ? RIGHT : (int)x[i].how);
        who[i] = (qn_contender){.spec = names[i], .open = open_it, .arg = &x[i]};
    }
    qn_compare_options o;
    qn_compare_options_init(&o);
    o.suite = suite_path;
    o.runs = runs;
    o.probe.ledger = ledger;
    o.probe.seed = seed;
    o.probe.progress = stop_at;
    o.probe.arg = &patience;
    json_t *out = NULL;
    qn_err err = {0};
    const qn_status st = qn__compare(&o, who, n, &out, &err);
    if (st != want)
        fail_msg("status %d, wanted %d: %s: %s", st, want, err.where, err.what);
    return out;
}

static long of(const json_t *r, const char *list, size_t i, const char *key)
{
    return (long)json_integer_value(json_object_get(json_array_get(json_object_get(r, list), i), key));
}

static double p_of(const json_t *r, size_t pair, const char *key)
{
    return json_number_value(json_object_get(json_array_get(json_object_get(r, "pairs"), pair), key));
}

/* ITEMS questions; of `odd` the answer that counts as right is "no", and `other` asks for something else. -1: none. */
static int write_suite(const char *path, int odd, int other)
{
    FILE *f = fopen(path, "w");
    if (!f)
        return -1;
    fputs("# Numbers\nsystem: Be brief.\n", f);
    for (int i = 0; i < ITEMS; i++) {
        char right[16];
        (void)snprintf(right, sizeof right, i == odd ? "no" : "%d", i);
        fprintf(f, "## item-%d\ncheck: exact\n```prompt\nWrite a number: %d.%s\n```\n```check\n%s\n```\n```good\n%s\n```\n```bad\nnone\n```\n", i, i, i == other ? " Now!" : "",
                right, right);
    }
    fputs("## people-x\ncheck: rubric\n```prompt\nExplain yourself.\n```\n```check\nIs it kind?\n```\n", f);
    return fclose(f);
}

static int prepare(void **state)
{
    (void)state;
    strcpy(suite_path, "/tmp/quern-compare-XXXXXX");
    strcpy(ledger, "/tmp/quern-compare-XXXXXX");
    int fd = mkstemp(ledger);
    if (fd < 0 || close(fd) || unlink(ledger))
        return -1;
    fd = mkstemp(suite_path);
    return fd < 0 || close(fd) ? -1 : write_suite(suite_path, -1, -1);
}

static int drop(void **state)
{
    (void)state;
    char command[300];
    (void)snprintf(command, sizeof command, "rm -f '%s' '%s' '%s-wal' '%s-shm'", suite_path, ledger, ledger, ledger);
    return system(command);
}

static void test_known(void **state)
{
    (void)state;
    script x[4] = {{.how = RIGHT}, {.how = WRONG}, {.how = AS_WRITTEN}, {.how = SILENT}};
    json_t *r = compared(x, 4, 3, 1, QN_OK);
    static const long want[4][3] = {{ITEMS, 0, 0}, {0, 0, ITEMS}, {0, ITEMS, 0}, {0, 0, ITEMS}};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(of(r, "contenders", i, "items"), ITEMS); /* the rubric is not scored */
        assert_int_equal(of(r, "contenders", i, "solid"), want[i][0]);
        assert_int_equal(of(r, "contenders", i, "luck"), want[i][1]);
        assert_int_equal(of(r, "contenders", i, "never"), want[i][2]);
    }
    assert_int_equal(of(r, "contenders", 2, "first"), ITEMS); /* as written it is always right: a single run would have hidden it */
    assert_int_equal(of(r, "contenders", 2, "right"), ITEMS);
    /* Pairs: 0-1, 0-2, 0-3, 1-2, 1-3, 2-3. Right against wrong: 40 to 0, p = 2 / 2^40; corrected: the smallest times six, and no less. */
    assert_int_equal(of(r, "pairs", 0, "wins_a"), ITEMS);
    assert_true(fabs(p_of(r, 0, "p") / ldexp(2, -40) - 1) < 1e-9);
    assert_true(fabs(p_of(r, 0, "p_corrected") / (6 * ldexp(2, -40)) - 1) < 1e-9);
    assert_int_equal(of(r, "pairs", 4, "ties"), ITEMS); /* wrong and silent */
    assert_true(p_of(r, 4, "p") == 1);
    assert_true(json_is_false(json_object_get(json_array_get(json_object_get(r, "pairs"), 4), "different")));
    assert_non_null(strstr(json_string_value(json_object_get(json_array_get(json_object_get(r, "pairs"), 4), "conclusion")), "No difference can be told"));
    assert_non_null(strstr(json_string_value(json_object_get(json_array_get(json_object_get(r, "pairs"), 0), "conclusion")), "A is better"));
    /* What was applied is said; the rubric's answers are there. */
    const json_t *item = json_array_get(json_object_get(r, "items"), 0), *applied = json_object_get(item, "applied");
    assert_string_equal(json_string_value(json_array_get(applied, 0)), "as written");
    assert_string_equal(json_string_value(json_array_get(applied, 2)), "white space");
    const json_t *people = json_array_get(json_object_get(r, "items"), ITEMS);
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(people, "contenders"), 0), "verdict")), "not scored");
    assert_string_equal(json_string_value(json_array_get(json_object_get(json_array_get(json_object_get(people, "contenders"), 0), "answers"), 0)), "x");
    /* Planted: a luck that is called solid must be noticed. */
    assert_false(of(r, "contenders", 2, "solid") == ITEMS);
    char *text = json_dumps(r, 0), *page = NULL;
    for (int form = QN_PAGE_HTML; form <= QN_PAGE_TEXT; form++) {
        qn_err err = {0};
        size_t n = 0;
        if (qn_report_page(text, (qn_page_form)form, &page, &n, &err))
            fail_msg("%s", err.what);
        assert_non_null(strstr(page, "luck (1/3)"));
        assert_non_null(strstr(page, "No difference can be told"));
        assert_non_null(strstr(page, "Is it kind?"));
        qn_free(page);
    }
    free(text);
    json_decref(r);
}

static uint64_t draw(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Two that are right with the same chance: a difference is claimed in at most 5 of 100; and one that is much better is found. */
static void test_chance(void **state)
{
    (void)state;
    int claimed = 0, luck = 0;
    uint64_t seed = 1;
    for (int k = 0; k < 1000; k++) { /* as pairs are counted: 40 items, three runs each */
        uint64_t wins[2] = {0, 0};
        for (int i = 0; i < ITEMS; i++) {
            int right[2] = {0, 0};
            for (int run = 0; run < 6; run++)
                right[run & 1] += draw(&seed) % 10 < 6;
            wins[0] += right[0] > right[1];
            wins[1] += right[1] > right[0];
        }
        claimed += qn__sign_test(wins[0], wins[1]) < 0.05;
    }
    for (uint64_t k = 0; k < 4; k++) {
        script x[2] = {{.how = CHANCE, .p = 0.6, .salt = 2 * k + 1}, {.how = CHANCE, .p = 0.6, .salt = 2 * k + 2}};
        json_t *r = compared(x, 2, 2, 1000 * k, QN_OK);
        luck += (int)of(r, "contenders", 0, "luck") + (int)of(r, "contenders", 1, "luck");
        json_decref(r);
    }
    printf("figure: compare: a difference between equals was claimed in %.1f %% of 1,000; lucky items with p 0.6 and two runs: %.2f (expected 0.48)\n", claimed / 10.0,
           luck / (8.0 * ITEMS));
    assert_true(claimed <= 50);
    assert_true(fabs(luck / (8.0 * ITEMS) - 0.48) < 0.1);
    script x[2] = {{.how = CHANCE, .p = 0.95, .salt = 7}, {.how = CHANCE, .p = 0.4, .salt = 8}};
    json_t *r = compared(x, 2, 3, 5, QN_OK);
    assert_true(p_of(r, 0, "p_corrected") < 0.001);
    assert_true(of(r, "pairs", 0, "wins_a") > of(r, "pairs", 0, "wins_b"));
    json_decref(r);
}

/* A server goes away: no score; the same comparison goes on where it was, and asks nothing twice. */
static void test_resumed(void **state)
{
    (void)state;
    script x[2] = {{.how = RIGHT}, {.how = AWAY, .stay = 50}};
    (void)compared(x, 2, 3, 77, QN_EIO);
    assert_int_equal(x[0].asked, 3 * (ITEMS + 1));
    x[0].asked = 0;
    x[1].how = AWAY;
    x[1].stay = 1000;
    json_t *r = compared(x, 2, 3, 77, QN_OK);
    assert_int_equal(x[0].asked, 0);
    assert_int_equal(x[1].asked, 3 * (ITEMS + 1));
    assert_int_equal(of(r, "contenders", 1, "solid"), ITEMS);
    json_decref(r);
    r = compared(x, 2, 3, 77, QN_OK); /* finished ones are not taken up */
    assert_int_equal(x[0].asked, 3 * (ITEMS + 1));
    json_decref(r);
}

static json_t *again(int64_t run, const char *suite, qn_status want)
{
    qn_compare_options o;
    char *text = NULL;
    qn_err err = {0};
    qn_compare_options_init(&o);
    o.rescore = run;
    o.suite = suite;
    o.probe.ledger = ledger;
    const qn_status st = qn_compare(&o, &text, &err);
    if (st != want)
        fail_msg("status %d, wanted %d: %s: %s", st, want, err.where, err.what);
    json_t *r = text ? json_loads(text, 0, NULL) : NULL;
    qn_free(text);
    return r;
}

/* What the ledger holds of a run, as text. */
static bool put_sample(void *arg, const char *sample)
{
    qn__buf_puts(arg, sample);
    return true;
}

/* Judged again: nobody is asked, the ledger stays as it is, and just what a check says otherwise now is another verdict. */
static void test_again(void **state)
{
    (void)state;
    enum { ODD = 3, OTHER = 5 };
    char changed[sizeof suite_path + 8];
    (void)snprintf(changed, sizeof changed, "%s.again", suite_path);
    script x[2] = {{.how = RIGHT}, {.how = WRONG}};
    json_t *r = compared(x, 2, 3, 99, QN_OK);
    const size_t asked = x[0].asked + x[1].asked;
    const long run = of(r, "contenders", 1, "run");
    char *text = NULL;
    assert_int_equal(qn_ledger_report(ledger, run, &text, NULL), QN_OK);
    json_t *kept = json_loads(text, 0, NULL);
    qn_free(text);
    qn_buf before = {0}, after = {0};
    assert_int_equal(qn_ledger_samples(ledger, run, put_sample, &before, NULL), QN_OK);
    json_t *same = again(run, NULL, QN_OK);
    assert_int_equal(json_integer_value(json_object_get(same, "rescored")), 0);
    assert_int_equal(json_integer_value(json_object_get(same, "judged")), 2 * 3 * (ITEMS + 1));
    static const char *const parts[] = {"contenders", "items", "runs", "verbatim", "seed", "suite", "suite_hash", "machine"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!json_equal(json_object_get(kept, parts[i]), json_object_get(same, parts[i])))
            fail_msg("another %s", parts[i]);
    assert_int_equal(write_suite(changed, ODD, -1), 0);
    json_t *odd = again(run, changed, QN_OK), *v;
    size_t i;
    assert_int_equal(json_integer_value(json_object_get(odd, "rescored")), 6); /* two contenders, three runs */
    json_array_foreach(json_object_get(odd, "changed"), i, v) {
        const bool first = strcmp(json_string_value(json_object_get(v, "contender")), "A") == 0;
        assert_string_equal(json_string_value(json_object_get(v, "item")), "item-3");
        assert_string_equal(json_string_value(json_object_get(v, "before")), first ? "right" : "wrong");
        assert_string_equal(json_string_value(json_object_get(v, "after")), first ? "wrong" : "right");
    }
    for (size_t who = 0; who < 2; who++) { /* and the item's cells say so */
        const json_t *cell = json_array_get(json_object_get(json_array_get(json_object_get(odd, "items"), ODD), "contenders"), who);
        assert_string_equal(json_string_value(json_array_get(json_object_get(cell, "outcomes"), 2)), who == 0 ? "wrong" : "right");
    }
    assert_int_equal(of(odd, "contenders", 0, "solid"), ITEMS - 1);
    assert_int_equal(of(odd, "contenders", 1, "solid"), 1);
    assert_int_equal(of(same, "contenders", 1, "solid"), 0); /* planted: the change is seen */
    assert_int_equal(write_suite(changed, -1, OTHER), 0); /* an answer to another question is no answer to this one */
    json_t *other = again(of(r, "contenders", 0, "run"), changed, QN_OK);
    assert_int_equal(json_integer_value(json_object_get(other, "rescored")), 0);
    assert_int_equal(of(other, "contenders", 0, "items"), ITEMS - 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(other, "items"), OTHER), "skipped")), "it asks something else now");
    assert_int_equal(qn_ledger_samples(ledger, run, put_sample, &after, NULL), QN_OK);
    assert_string_equal(before.data, after.data);
    assert_int_equal(x[0].asked + x[1].asked, asked);
    assert_null(again(999, NULL, QN_EINVAL));
    json_decref(r);
    json_decref(kept);
    json_decref(same);
    json_decref(odd);
    json_decref(other);
    qn__buf_free(&before);
    qn__buf_free(&after);
    (void)unlink(changed);
}

/* Ended by the user: likewise. */
static void test_cancelled(void **state)
{
    (void)state;
    script x[2] = {{.how = RIGHT}, {.how = WRONG}};
    patience = 100;
    (void)compared(x, 2, 2, 99, QN_ECANCELLED);
    assert_int_equal(x[0].asked + x[1].asked, 100);
    patience = SIZE_MAX;
    json_t *r = compared(x, 2, 2, 99, QN_OK);
    assert_int_equal(x[0].asked + x[1].asked, 2 * 2 * (ITEMS + 1));
    json_decref(r);
}

static void test_options(void **state)
{
    (void)state;
    script x[1] = {{.how = RIGHT}};
    (void)compared(x, 1, 3, 1, QN_EINVAL);
    script y[2] = {{.how = RIGHT}, {.how = WRONG}};
    (void)compared(y, 2, 101, 1, QN_EINVAL);
}

/* ---- figures ---- */

static void test_figures(void **state)
{
    (void)state;
    char text[500];
    /* Exact values: 9 to 1 is 22/1024, 6 to 0 is 2/64, 5 to 0 is 2/32. */
    assert_true(fabs(qn__sign_test(9, 1) - 22.0 / 1024) < 1e-12);
    qn__compare_conclude(text, sizeof text, "A", "B", 9, 1, 3, qn__sign_test(9, 1));
    assert_non_null(strstr(text, "A is better"));
    qn__compare_conclude(text, sizeof text, "A", "B", 0, 6, 0, qn__sign_test(0, 6));
    assert_non_null(strstr(text, "B is better"));
    qn__compare_conclude(text, sizeof text, "A", "B", 5, 0, 0, qn__sign_test(5, 0));
    assert_non_null(strstr(text, "No difference can be told"));
    assert_non_null(strstr(text, "With 5 questions no outcome could show one"));
    qn__compare_conclude(text, sizeof text, "A", "B", 5, 1, 30, qn__sign_test(5, 1));
    assert_null(strstr(text, "no outcome"));
    /* Holm's own way: sorted, times 4, 3, 2, 1, never falling. */
    double p[4] = {0.04, 0.01, 0.02, 0.9};
    qn__compare_holm(p, 4);
    static const double want[4] = {0.08, 0.04, 0.06, 0.9};
    for (int i = 0; i < 4; i++)
        assert_true(fabs(p[i] - want[i]) < 1e-12);
    double high[2] = {0.7, 0.8};
    qn__compare_holm(high, 2);
    assert_true(high[0] == 1 && high[1] == 1);
}

/* ---- infilling, of a model in this process ---- */

/* The same tokens by hand. */
static void by_hand(const qn_question *q, qn_buf *out)
{
    qn_model *m = NULL;
    qn_engine *e = NULL;
    qn_request *r = NULL;
    int32_t *ids = NULL;
    size_t n = 0, k = 0;
    qn_err err;
    qn_event ev = {0};
    qn_engine_options eo;
    qn_request_options o;
    qn_engine_options_init(&eo);
    eo.n_ctx = 256;
    char *text = NULL;
    assert_int_equal(qn_model_open(NULL, QN_OPEN_FULL, &m, &err), QN_OK);
    assert_int_equal(qn_engine_open(m, &eo, &e, &err), QN_OK);
    qn_buf b = {0};
    qn__buf_printf(&b, "<|fim_prefix|>%s<|fim_suffix|>%s<|fim_middle|>", q->prompt, q->suffix);
    text = qn__buf_take(&b, &k);
    assert_int_equal(qn_tokenize(m, text, k, true, QN_BOS_NO, &ids, &n, &err), QN_OK);
    qn_request_options_init(&o);
    o.tokens = ids;
    o.n_tokens = n;
    o.max_tokens = q->max_tokens;
    assert_int_equal(qn_request_open(e, &o, &r, &err), QN_OK);
    do {
        assert_int_equal(qn_request_next(r, &ev, &err), QN_OK);
        if (ev.kind == QN_EVENT_TEXT)
            qn__buf_put(out, ev.text, ev.n_text);
    } while (ev.kind != QN_EVENT_END);
    qn__buf_printf(out, "|%d", (int)ev.timings.prompt_tokens);
    qn_request_close(r);
    qn_engine_close(e);
    qn_model_close(m);
    qn_free(text);
    qn_free(ids);
}

static void test_gap(void **state)
{
    (void)state;
    qn_subject *s = NULL;
    qn_err err = {0};
    qn_engine_options o;
    qn_engine_options_init(&o);
    o.n_ctx = 256;
    const qn_question q = {.prompt = "def add(a, b):\n    return ", .suffix = "\n\nprint(add(1, 2))\n", .max_tokens = 8};
    qn_answer a = {0};
    qn_buf want = {0};
    assert_int_equal(qn__subject_local(NULL, &o, &s, &err), QN_OK);
    assert_true(s->ask(s, &q, 1, &a));
    assert_int_equal(a.err.code, QN_OK);
    qn__buf_printf(&a.text, "|%d", (int)a.prompt_tokens);
    by_hand(&q, &want);
    assert_string_equal(a.text.data, want.data);
    qn__answer_free(&a);
    qn__buf_free(&want);
    qn__subject_close(s);
    assert_int_equal(qn__subject_local("tests/data/models/llama-256-q4_k_m.gguf", &o, &s, &err), QN_OK);
    assert_true(s->ask(s, &q, 1, &a)); /* one without such tokens says so */
    assert_int_equal(a.err.code, QN_EUNSUPPORTED);
    qn__answer_free(&a);
    qn__subject_close(s);
}

/* Transcripts hold any bytes: a cut never falls into a character, and one bad byte does not cost the rest its accents. */
static void kept_text(void **state)
{
    static const struct {
        const char *in;
        size_t n, most;
        const char *out;
    } rows[] = {{"gr\xc3\xbc\xc3\x9f", 6, 100, "gr\xc3\xbc\xc3\x9f"}, {"gr\xc3\xbc\xc3\x9f", 6, 5, "gr\xc3\xbc"}, {"\xc3\xbc\xff\0x", 5, 100, "\xc3\xbc??x"},
                {"", 0, 10, ""}, {"\xf0\x9f", 2, 10, "??"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *v = qn__probe_said(rows[i].in, rows[i].n, rows[i].most);
        assert_non_null(v);
        assert_string_equal(json_string_value(v), rows[i].out);
        json_decref(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_text), cmocka_unit_test(test_suite),   cmocka_unit_test(test_suite_refuses), cmocka_unit_test(test_suite_hostile), cmocka_unit_test(test_vary),
        cmocka_unit_test(test_checks),  cmocka_unit_test(test_checks_refuse), cmocka_unit_test(test_known),         cmocka_unit_test(test_chance),
        cmocka_unit_test(test_resumed), cmocka_unit_test(test_again), cmocka_unit_test(test_options),       cmocka_unit_test(test_figures),
        cmocka_unit_test(test_gap),    cmocka_unit_test(test_checks_memory), cmocka_unit_test(test_cancelled),
    };
    return cmocka_run_group_tests(tests, prepare, drop);
}
