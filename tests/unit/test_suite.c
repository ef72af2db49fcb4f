/* test_suite.c - MBPP+ in a file of our own making: what is read, what arguments become, which answers are right (needs python3 and
 * bubblewrap, else that part is skipped). The published file: tests/golden/test_suites.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "services/eval/sandbox.h"
#include "services/eval/suite_plus.h"

/* Records: a name that has a rule, a task that has tuples, numbers that are not in JSON, an answer of floats, no inputs beyond the first. */
#define RECORD(id, name, code, base, plus) \
    "{\"task_id\":\"Mbpp/" id "\",\"prompt\":\"\\\"\\\"\\\"\\nDo it.\\n\\\"\\\"\\\"\\n\",\"entry_point\":\"" name "\",\"canonical_solution\":\"" code \
    "\",\"base_input\":" base ",\"atol\":0,\"plus_input\":" plus ",\"contract\":\"\",\"assertion\":\"\"}\n"
static const char FILE_TEXT[] =
    RECORD("616", "pairs", "def pairs(a, b):\\n    return tuple(x % y for x, y in zip(a, b))\\n", "[[[10, 4], [3, 3]]]", "[[[7], [2]], [[], []]]")
    RECORD("404", "least", "def least(a, b):\\n    return [a, b]\\n", "[[1, 2]]", "[[Infinity, 3], [-Infinity, \"NaN, Infinity \\\" NaN\"]]")
    RECORD("9001", "third", "def third(x):\\n    return x / 3\\n", "[[3]]", "[[1], [100000000000000000000000000]]")
    RECORD("769", "Diff", "def Diff(a, b):\\n    return list(set(a) ^ set(b))\\n", "[[[1, 2, 3], [3, 4]]]", "{}")
    RECORD("737", "check_str", "import re\\ndef check_str(s):\\n    return re.match('[aeiou]', s)\\n", "[[\"ab\"]]", "[[\"ba\"], [\"\"]]")
    RECORD("115", "sets", "def sets(v):\\n    return all(isinstance(x, (set, dict)) for x in v)\\n", "[[[[1], [2]]]]", "[[[[], [3]]]]")
    RECORD("9002", "sum", "def sum(a):\\n    t = 0\\n    for x in a:\\n        t += x\\n    return t\\n", "[[[1, 2]]]", "[]");

static const struct {
    int problem;
    const char *code;
    int code_of_exit; /* 0: right */
} answers[] = {
    {0, "def pairs(a, b):\n    return tuple(map(lambda x, y: x % y, a, b)) if type(a) is tuple and type(b) is tuple else None\n", 0},
    {0, "def pairs(a, b):\n    return [x % y for x, y in zip(a, b)]\n", 1},
    {1, "def least(a, b):\n    return [a if isinstance(a, (int, float)) else 0, b]\n", 0},
    {1, "def least(a, b):\n    return [a if abs(a) < 1e308 else 0, b]\n", 1},
    {2, "def third(x):\n    return x / 3 + 1e-9\n", 0},
    {2, "def third(x):\n    return x / 3 + 1e-5\n", 1},
    {2, "def third(x):\n    return [x / 3]\n", 1},
    {2, "def third(x):\n    while True:\n        pass\n", QN_PLUS_LATE},
    {2, "def fourth(x):\n    return x / 3\n", 1},
    {3, "def Diff(a, b):\n    return [4, 2, 1, 2]\n", 0},
    {3, "def Diff(a, b):\n    return [4, 2, 1, 3]\n", 1},
    {4, "def check_str(s):\n    return s[:1] in tuple('aeiou')\n", 0},
    {4, "def check_str(s):\n    return 'yes' if s == 'ab' else None\n", 0},
    {4, "def check_str(s):\n    return s\n", 1},
    {5, "def sets(v):\n    return not [x for x in v if type(x) not in (set, dict)]\n", 0},
    {6, "def sum(a):\n    return a[0] + a[1]\ntuple = len = isinstance = exec = compile = None\n", 0},
    {6, "def sum(a):\n    return a[0]\n", 1},
    {6, "def sum(a):\n    return 5\nexit()\n", 1}, /* ends with 0 before anything is checked */
    {6, "import os\ndef sum(a):\n    os._exit(0)\n", 1},
};

static qn_suite *open_text(const char *text)
{
    char path[64];
    qn_suite *s = NULL;
    qn_err err = {0};
    (void)snprintf(path, sizeof path, "/tmp/quern-plus-%p", (void *)path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
    const qn_status st = qn__suite_open(path, &s, &err);
    (void)remove(path);
    if (st)
        fail_msg("%s: %s", err.where, err.what);
    return s;
}

static void test_read(void **state)
{
    (void)state;
    qn_suite *s = open_text(FILE_TEXT);
    assert_string_equal(qn__suite_name(s), "MBPP+");
    assert_int_equal(qn__suite_size(s), 7);
    const qn_problem *p = qn__suite_get(s, 1);
    assert_string_equal(p->id, "Mbpp/404");
    assert_string_equal(p->entry, "least");
    assert_true(json_is_null(json_array_get(json_array_get(json_object_get(p->record, "plus_input"), 0), 0)));
    /* inside of a string it stays */
    assert_string_equal(json_string_value(json_array_get(json_array_get(json_object_get(p->record, "plus_input"), 1), 1)), "NaN, Infinity \" NaN");
    qn__suite_close(s);
    assert_null(qn__plus_record("{\"plus_input\":[NaN]}", 20)); /* of another format */
    assert_null(qn__plus_record("{\"base_input\":[],\"plus_input\":[Infinite]}", 41));
    assert_null(qn__plus_record("\"\\", 2));
    assert_null(qn__plus_record("", 0));
}

static void test_arguments(void **state)
{
    (void)state;
    static const struct {
        const char *id, *letters;
    } t[] = {{"Mbpp/2", "t"}, {"Mbpp/809", "t"}, {"Mbpp/444", "l-"}, {"Mbpp/106", "-t"}, {"Mbpp/124", "fc"}, {"Mbpp/3", "-"}, {"Mbpp/0", "-"}, {"", "-"}, {"x/", "-"}, {"Mbpp/99999999999999999999", "-"}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        assert_string_equal(qn__plus_arguments(t[i].id), t[i].letters);
    assert_non_null(qn__language("go_test.go")); /* so MultiPL-E calls Go */
    assert_null(qn__language("cobol"));
}

static void test_judged(void **state)
{
    (void)state;
    qn_sandbox *box = NULL;
    qn_err err = {0};
    qn_process_result r = {0};
    const qn_language *l = qn__language("python");
    if (qn__sandbox_open(&box, &err) || qn__sandbox_run(box, &(qn_sandbox_limits){0}, "x", "", 0, l->check, &r, &err) || r.end != QN_PROCESS_EXITED || r.code) {
        print_message("skipped: python3 in a sandbox: %s\n", err.what);
        qn__process_result_free(&r);
        qn__sandbox_close(box);
        skip();
    }
    qn__process_result_free(&r);
    qn_suite *s = open_text(FILE_TEXT);
    qn_sandbox_limits limits = {0};
    qn__suite_time(s, 0.3, &limits.wall_s, &limits.memory);
    assert_true(limits.wall_s > 1 && limits.memory > 0);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        qn_buf program = {0};
        const qn_slice code = {answers[i].code, strlen(answers[i].code)};
        assert_int_equal(qn__suite_program_of_block(s, qn__suite_get(s, (size_t)answers[i].problem), code, &program, &err), QN_OK);
        assert_int_equal(qn__sandbox_run(box, &limits, l->file, program.data, program.n, l->command, &r, &err), QN_OK);
        if (r.end != QN_PROCESS_EXITED || r.code != answers[i].code_of_exit)
            fail_msg("answer %zu: end %d, code %d: %.*s", i, (int)r.end, r.code, (int)r.err.n, r.err.data ? r.err.data : "");
        qn__process_result_free(&r);
        qn__buf_free(&program);
    }
    qn__suite_close(s);
    qn__sandbox_close(box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_read), cmocka_unit_test(test_arguments), cmocka_unit_test(test_judged)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
