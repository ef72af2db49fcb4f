/* test_py.c - the small Python of simulated tests: programs print what Python prints (the expected texts are CPython's), what is not known
 * is refused by name, and every program ends, however hostile. Planted fault: a wrong expectation is noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "services/probe/py.h"

static char *run(const char *program)
{
    static const qn_py_file files[] = {{"lib/tools.py", "LIMIT = 3\n\n\ndef twice(x):\n    return x * 2\n"}, {"top.py", "from lib.tools import twice\n\n\ndef four(x):\n    return twice(twice(x))\n"},
                                       {"bad.py", "def f(:\n"}, {"loop.py", "import loop\nx = 1\n"}};
    qn_buf out = {0};
    bool ok;
    qn_err err = {0};
    if (qn__py_run(files, 4, program, &out, &ok, &err))
        fail_msg("%s", err.what);
    char *text = qn__buf_take(&out, NULL);
    return text ? text : qn__strndup("", 0);
}

static const struct { const char *program, *prints; } cases[] = {
    {"print(1 + 2 * 3, 7 // 2, -7 // 2, -7 % 3, 7 / 2, 2 ** 10, 2 ** -1)", "7 3 -4 2 3.5 1024 0.5\n"},
    {"print(1.0, 0.1 + 0.2, 1e20, 10 / 5, round(2.5), round(3.5), round(2.675, 2))", "1.0 0.30000000000000004 1e+20 2.0 2 4 2.67\n"},
    {"print('a' + \"b\" * 3, 'it\\'s', repr('a\\nb'), 'x' 'y')", "abbb it's 'a\\nb' xy\n"},
    {"print('abc' * 7, 'ab' * 0, 'x' * -1, '' * 5, 'q' * 1)", "abcabcabcabcabcabcabc    q\n"},
    {"print([1, 'a', None, True], (1,), (), {'k': [2]}, set())", "[1, 'a', None, True] (1,) () {'k': [2]} set()\n"},
    {"print(1 < 2 < 3, 1 < 3 < 2, not 1, 1 and 0, 0 or 'x', None is None, 3 in [1, 3], 'a' not in 'xyz')", "True False False 0 x True True True\n"},
    {"x = [1, 2, 3, 4, 5]\nprint(x[1:3], x[:-1], x[::-1], x[-2], 'hello'[1:4], x[::2])", "[2, 3] [1, 2, 3, 4] [5, 4, 3, 2, 1] 4 ell [1, 3, 5]\n"},
    {"def f(a, b=2, c=3):\n    return a * 100 + b * 10 + c\nprint(f(1), f(1, c=5), f(b=7, a=1))", "123 125 173\n"},
    {"def outer(n):\n    def inner(x):\n        return x + n\n    return inner\nprint(outer(3)(4))", "7\n"},
    {"t = 0\nfor i, c in enumerate('abc', 1):\n    if c == 'b':\n        continue\n    t += i\nelse_ = t\nprint(else_)", "4\n"},
    {"i = 0\nwhile True:\n    i += 1\n    if i > 5: break\nprint(i)", "6\n"},
    {"print([x * x for x in range(5) if x % 2], {k: v for k, v in zip('ab', [1, 2])}, sum(x for x in [1, 2]))", "[1, 9] {'a': 1, 'b': 2} 3\n"},
    {"print(sorted([3, 1, 2], reverse=True), sorted(['bb', 'a'], key=len), max([1, 5, 2]), min('x', 'b'), max([], default=0))", "[3, 2, 1] ['a', 'bb'] 5 b 0\n"},
    {"print(sorted([(1, 'b'), (0, 'c')], key=lambda p: p[1]))", "[(1, 'b'), (0, 'c')]\n"},
    {"d = {}\nd['a'] = 1\nd.update({'b': 2})\nprint(d.get('z', 0), list(d.items()), 'a' in d, len(d), d.pop('a'), d)", "0 [('a', 1), ('b', 2)] True 2 1 {'b': 2}\n"},
    {"print('A b C'.lower().split(), '-'.join(['x', 'y']), ' hi '.strip() + '!', 'abc'.upper(), 'a,b,,c'.split(','), 'x'.zfill(3))", "['a', 'b', 'c'] x-y hi! ABC ['a', 'b', '', 'c'] 00x\n"},
    {"name = 'Ada'\nprint(f'{name}: {3.14159:.2f} {7:03d} {name!r} {{}} {1 + 1}')", "Ada: 3.14 007 'Ada' {} 2\n"},
    {"try:\n    int('x')\nexcept ValueError as e:\n    print('no', e)\nfinally:\n    print('end')", "no invalid literal for int() with base 10: 'x'\nend\n"},
    {"try:\n    [][1]\nexcept (KeyError, IndexError):\n    print('index')", "index\n"},
    {"def f(x):\n    if x < 0:\n        raise ValueError('negative')\n    return x\nf(-1)", "ValueError: negative (program, line 3)\n"},
    {"a, b = 1, 2\na, b = b, a\nprint(a, b)\n(c, d), e = (3, 4), 5\nprint(c, d, e)", "2 1\n3 4 5\n"},
    {"from lib.tools import twice, LIMIT\nimport lib.tools as t\nimport top\nprint(twice(LIMIT), t.twice('a'), top.four(1))", "6 aa 4\n"},
    {"import math\nprint(math.floor(-1.5), math.ceil(1.2), math.sqrt(16), math.gcd(12, 18))", "-2 2 4.0 6\n"},
    {"def f(x: int, y: str = 'a') -> str:\n    z: int = x\n    return y * z\nprint(f(2))", "aa\n"},
    {"x = [3, 1]\nx.append(2)\nx.sort()\nx.insert(0, 9)\nx.remove(1)\ndel x[0]\nprint(x, x.index(3), x.count(2))", "[2, 3] 1 1\n"},
    {"s = {1, 2} | {3}\nprint(s - {1}, {1, 2} & {2}, len(s))", "{2, 3} {2} 3\n"},
    {"print(1 if 0 else 2, isinstance(1, int), isinstance('a', (int, str)), divmod(7, 2), abs(-3))", "2 True True (3, 1) 3\n"},
    {"if True:\n    # a comment\n\n    x = (1 +\n         2)\nprint(x)\n# end", "3\n"},
    {"\"\"\"doc\nstring\"\"\"\nprint('''a\nb''')", "a\nb\n"},
    {"print(list(map(lambda x: x + 1, [1, 2])), list(filter(None, [0, 1, '', 'a'])), list(reversed([1, 2])))", "[2, 3] [1, 'a'] [2, 1]\n"},
    /* refused, by name */
    {"class A:\n    pass", "SyntaxError: 'class' is not supported here (line 1) (program, line 1)\n"},
    {"with open('x') as f:\n    pass", "SyntaxError: 'with' is not supported here (line 1) (program, line 1)\n"},
    {"import os", "ModuleNotFoundError: no module named 'os' (program, line 1)\n"},
    {"open('/etc/passwd')", "NameError: name 'open' is not defined (program, line 1)\n"},
    {"x = 1 +", "SyntaxError: invalid syntax (line 1) (program, line 1)\n"},
    {"if 1:\nprint(1)", "SyntaxError: expected an indented block (line 2) (program, line 2)\n"},
    {"print(1 / 0)", "ZeroDivisionError: division by zero (program, line 1)\n"},
    {"'a' + 1", "TypeError: unsupported operand type(s) for +: 'str' and 'int' (program, line 1)\n"},
    {"x = 'abc", "SyntaxError: unterminated string literal (line 1) (program, line 1)\n"},
    {"print(9223372036854775807 + 1)", "OverflowError: integers of more than 64 bits are not supported here (program, line 1)\n"},
    {"import bad", "SyntaxError: expected a name (line 1) (bad.py, line 1)\n"},
    {"import loop\nprint(loop.x)", "1\n"},
};

static void programs_print_what_they_should(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *out = run(cases[i].program);
        if (strcmp(out, cases[i].prints) != 0) {
            print_message("--- %s\nexpected: %sgot:      %s", cases[i].program, cases[i].prints, out);
            wrong++;
        }
        qn_free(out);
    }
    assert_int_equal(wrong, 0);
    char *out = run("print(2)");
    assert_string_not_equal(out, "3\n"); /* planted */
    qn_free(out);
}

/* n times a text between two others. */
static char *many(const char *before, const char *text, int n, const char *after)
{
    qn_buf b = {0};
    qn__buf_puts(&b, before);
    for (int i = 0; i < n; i++)
        qn__buf_puts(&b, text);
    qn__buf_puts(&b, after);
    return qn__buf_take(&b, NULL);
}

static void every_program_ends(void **state)
{
    static const char *const hostile[] = {
        "while True:\n    pass", "def f(x):\n    return f(x)\nf(1)", "f = lambda g: g(g)\nf(f)", "x = [1]\nx.append(x)\nprint(x == x, x)", "x = 'a'\nwhile 1:\n    x += x",
        "x = []\nwhile 1:\n    x.append(x)", "print('a' * 10 ** 12)", "print([0] * 999999)", "print(list(range(10 ** 15)))", "2 ** 10 ** 6", "1 << 100", "print(10 ** 18 * 10)",
        "d = {}\nd[d] = 1", "x = {}\nx['x'] = x\nprint(x)", "def f():\n    try:\n        f()\n    except Exception:\n        f()\nf()", "sorted([1, 'a'])",
        "[x for x in range(500) for y in range(500) for z in range(500)]", "try:\n    while 1:\n        pass\nexcept Exception:\n    print('caught')\nwhile 1:\n    pass",
        "print(-9223372036854775807 - 1)\nprint((-9223372036854775807 - 1) // -1)", "def f(a, a):\n    return a\nf(1, 2)", "x = 1\nx()", "''.join([1])", "'%s' % 1", "f'{1:{2}}'", "f'{'",
        "print(f'{1:.99f}')", "return 1", "break", "raise", "assert False, [1] * 5", "\t\tx = 1\n y = 2", "\\", "x = 08", "1e999", "lambda: (yield)", "a = b = 1", "del x", "*", "@", "0x1F", "\xff\xfe",
        "sorted([3, 2, 1], key=lambda x: sorted([x]))", "max(key=len)", "zip()", "round(1e308)", "int(1e300)", "chr(-1)", "range(1, 2, 0)", "[1, 2][::0]", "'abc'[1:2:10 ** 18]"};
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++)
        qn_free(run(hostile[i]));
    const struct { const char *before, *text, *after; } long_ones[] = {
        {"x = ", "(", ""}, {"x = 1", " + 1", "\nprint(x)"}, {"x = ", "-", "1"}, {"x = ", "not ", "1"}, {"x = ", "[", "]"}, {"print(", "lambda: ", "1)"}, {"x = 1", " if 1 else 1", ""},
        {"", "if 1:\n ", "pass"}, {"x = 2", " ** 2", ""}, {"x = 'a'", " 'b'", "\nprint(len(x))"}, {"x = [1]", "[0]", ""}, {"x = 1", ".a", ""}, {"f()", "()", ""}, {"", "x = 1\n", "print(x)"},
        {"if 0:\n  pass\n", "elif 0:\n  pass\n", ""}, {"x = 1", " < 2", ""}, {"x = 1", " and 1", ""}, {"x = [1 ", "for a in [1] ", "]"}, {"x = f'", "{1}", "'"}, {"x = f'{", "f(", "}'"}, {"", "\n", ""}, {"", " ", ""},
        {"", "try:\n ", ""}, {"def f(", "a,", "): pass"}, {"f(", "1,", ")"}, {"x = {", "1:1,", "}"}, {"#", "#", ""}};
    for (size_t i = 0; i < sizeof long_ones / sizeof *long_ones; i++) {
        char *program = many(long_ones[i].before, long_ones[i].text, 3000, long_ones[i].after);
        qn_free(run(program));
        qn_free(program);
    }
    char *names = many("", "", 0, "");
    qn_free(names);
    qn_buf b = {0};
    for (int i = 0; i < 4000; i++)
        qn__buf_printf(&b, "name%d = %d\n", i, i);
    char *out = run(b.data);
    assert_non_null(strstr(out, "MemoryError"));
    qn_free(out);
    qn__buf_free(&b);
}

static void tests_are_run_one_by_one(void **state)
{
    static const qn_py_file files[] = {
        {"calc.py", "def add(a, b):\n    return a - b\n"},
        {"tests/test_calc.py", "from calc import add\n\n\ndef test_zero():\n    assert add(0, 0) == 0\n\n\ndef test_one():\n    assert add(1, 1) == 2\n"},
        {"tests/test_broken.py", "import nowhere\n\n\ndef test_x():\n    assert True\n"}, {"tests/helper.py", "def test_not_counted():\n    assert False\n"}};
    (void)state;
    qn_py_report r = {0};
    assert_false(qn__py_test(files, 4, NULL, &r, NULL));
    assert_int_equal(r.passed, 1);
    assert_int_equal(r.failed, 2);
    assert_non_null(strstr(r.out.data, "tests/test_calc.py::test_zero PASSED\n"));
    assert_non_null(strstr(r.out.data, "tests/test_calc.py::test_one FAILED\n    AssertionError: left side is 0, right side is 2 (tests/test_calc.py, line 9)\n"));
    assert_non_null(strstr(r.out.data, "tests/test_broken.py::(the file itself) FAILED\n    ModuleNotFoundError: no module named 'nowhere'"));
    qn__buf_free(&r.out);
    r = (qn_py_report){0};
    assert_false(qn__py_test(files, 4, "tests/test_broken.py", &r, NULL));
    assert_int_equal(r.passed + r.failed, 1);
    qn__buf_free(&r.out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(programs_print_what_they_should), cmocka_unit_test(every_program_ends), cmocka_unit_test(tests_are_run_one_by_one)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
