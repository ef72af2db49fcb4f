/* task_bank.c - functions that tasks are about: what they do in words, how, and how they go wrong; and projects made of them. See task.h.
 * What a function should give is computed by running it (py.h), not written down. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/probe/py.h"
#include "services/probe/task.h"

#define LIST_CALLS {"[1, $A, 12, 4, $B, 30]", "[$A, $A, $B]", "[$B, 7, 3, $A]", "[]", "[25, 2, $A, 2, 9]", "[100, $B, $A, 1]"}
const qn_bank qn__bank[] = {
    {"sum_over", "items", "Return the sum of the items that are greater than $A.",
     "    total = 0\n    for x in items:\n        if x > $A:\n            total += x\n    return total\n",
     {{"x > $A", "x >= $A"}, {"total += x", "total += 1"}, {"x > $A", "x < $A"}}, LIST_CALLS, true},
    {"count_between", "items", "Return how many of the items are at least $A and at most $B.",
     "    count = 0\n    for x in items:\n        if $A <= x <= $B:\n            count += 1\n    return count\n",
     {{"$A <= x", "$A < x"}, {"x <= $B", "x < $B"}, {"count = 0", "count = 1"}}, LIST_CALLS, true},
    {"clamp", "x", "Return x, but at least $A and at most $B.",
     "    if x < $A:\n        return $A\n    if x > $B:\n        return $B\n    return x\n",
     {{"return $A", "return 0"}, {"if x > $B:\n        return $B\n", ""}, {"return x", "return x + 1"}},
     {"0", "50", "$A + 1", "-3", "$B", "$A"}, true},
    {"price_with_tax", "cents", "Return cents and $A percent tax on them, the tax rounded down.",
     "    tax = cents * $A // 100\n    return cents + tax\n",
     {{"// 100", "// 10"}, {"cents + tax", "tax"}, {"cents * $A", "cents + $A"}}, {"1000", "999", "250", "0", "12345", "77"}, true},
    {"in_groups", "items", "Return a list of lists with $A of the items each, in their order; the last one may be shorter.",
     "    groups = []\n    for i in range(0, len(items), $A):\n        groups.append(items[i:i + $A])\n    return groups\n",
     {{"i + $A", "i + 1"}, {"range(0, len(items), $A)", "range(1, len(items), $A)"}, {"range(0, len(items), $A)", "range(0, len(items) - $A, $A)"}},
     {"[1, 2, 3, 4, 5, 6, 7]", "list(range(2 * $A))", "list(range(20))", "[]", "[5]", "list(range($A + 1))"}, false},
    {"initials", "name", "Return the first letters of the words of name as capitals, each followed by a full stop.",
     "    out = ''\n    for word in name.split():\n        out += word[0].upper() + '.'\n    return out\n",
     {{"word[0].upper()", "word[0]"}, {" + '.'", ""}, {"word[0]", "word[-1]"}},
     {"'ada lovelace'", "'grace brewster hopper'", "'alan m turing'", "''", "'x'", "'edsger w dijkstra'"}, false},
    {"slug", "title", "Return title in lower case, its words joined by '-'.",
     "    words = title.lower().split()\n    return '-'.join(words)\n",
     {{".lower()", ""}, {"'-'.join", "'_'.join"}, {"join(words)", "join(words[1:])"}},
     {"'Hello World'", "'  A Quiet  Place '", "'One TWO three'", "''", "'Single'", "'a B c D'"}, false},
    {"second_largest", "items", "Return the second largest of the different items, or None when there are fewer than two.",
     "    different = sorted(set(items))\n    if len(different) < 2:\n        return None\n    return different[-2]\n",
     {{"sorted(set(items))", "sorted(items)"}, {"different[-2]", "different[1]"}, {"return None", "return 0"}},
     {"[4, 9, 9, 1]", "[5, 5]", "[1, 2, 3, 4]", "[]", "[8, 3]", "[7, 7, 6, 6, 5]"}, false},
    {"running_totals", "items", "Return the list of the sums of the first 1, 2, 3 and so on items.",
     "    out = []\n    total = 0\n    for x in items:\n        total += x\n        out.append(total)\n    return out\n",
     {{"out.append(total)", "out.append(x)"}, {"total = 0", "total = 1"}, {"total += x", "total = x"}},
     {"[1, 2, 3]", "[10, -4, 5]", "[7]", "[]", "[0, 0, 1]", "[5, 5, 5, 5]"}, false},
    {"is_leap", "year", "Return whether a year is a leap year: divisible by 4, but of full centuries only those divisible by 400.",
     "    if year % 100 == 0:\n        return year % 400 == 0\n    return year % 4 == 0\n",
     {{"year % 400 == 0", "False"}, {"year % 400 == 0", "True"}, {"year % 4 == 0", "year % 2 == 0"}},
     {"2000", "1900", "2022", "2024", "2100", "2023"}, false},
    {"count_vowels", "text", "Return how many letters of text are vowels (a, e, i, o, u), in either case.",
     "    count = 0\n    for c in text.lower():\n        if c in 'aeiou':\n            count += 1\n    return count\n",
     {{"text.lower()", "text"}, {"'aeiou'", "'aeio'"}, {"if c in", "if c not in"}},
     {"'Apple'", "'UNUSUAL idea'", "'rhythm'", "''", "'aeiouAEIOU'", "'queue'"}, true},
    {"most_common", "items", "Return the item that occurs most often; of several such items the smallest.",
     "    best = None\n    for x in sorted(set(items)):\n        if best is None or items.count(x) > items.count(best):\n            best = x\n    return best\n",
     {{"> items.count(best)", ">= items.count(best)"}, {"> items.count(best)", "< items.count(best)"}, {"sorted(set(items))", "items[:1]"}},
     {"[3, 1, 3, 1, 2]", "[5, 6, 6]", "[9, 8]", "[4]", "[2, 2, 1, 1, 1]", "[7, 7, 3, 3]"}, false},
    {"rotated", "items", "Return the items moved $A places to the left; those that fall out come in again at the end.",
     "    if not items:\n        return []\n    n = $A % len(items)\n    return items[n:] + items[:n]\n",
     {{"items[n:] + items[:n]", "items[:n] + items[n:]"}, {"items[n:] + items[:n]", "items[-n:] + items[:-n]"}, {" % len(items)", ""}},
     {"list(range(10))", "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]", "list(range($A - 1))", "[]", "[1, 2]", "list(range(17))"}, false},
    {"shipping", "weight", "Return 0 for a weight under $A, $B for one under twice $A, and 3 times $B for any other.",
     "    if weight < $A:\n        return 0\n    if weight < 2 * $A:\n        return $B\n    return 3 * $B\n",
     {{"weight < $A", "weight <= $A"}, {"2 * $A", "3 * $A"}, {"3 * $B", "2 * $B"}}, {"$A", "2 * $A", "$A - 1", "1", "100", "2 * $A - 1"}, true},
    {"merged", "a, b", "Return a dict with the keys of both dicts; a key that both have gets the sum of its values.",
     "    out = dict(a)\n    for key, value in b.items():\n        out[key] = out.get(key, 0) + value\n    return out\n",
     {{"out.get(key, 0) + value", "value"}, {"dict(a)", "{}"}, {"+ value", "- value"}},
     {"{'x': 1, 'y': 2}, {'y': 3}", "{}, {'z': 4}", "{'a': 5}, {'a': -5}", "{'q': 1}, {}", "{}, {}", "{'m': 2, 'n': 3}, {'n': 3, 'm': 2}"}, false},
    {"without_repeats", "items", "Return the items without repetitions, in the order in which they first occur.",
     "    out = []\n    for x in items:\n        if x not in out:\n            out.append(x)\n    return out\n",
     {{"x not in out", "x in out"}, {"out.append(x)", "out.insert(0, x)"}, {"return out", "return sorted(out)"}},
     {"[3, 1, 3, 2, 1]", "['b', 'a', 'b']", "[2, 1]", "[]", "[9, 9, 9]", "[4, 3, 2, 4]"}, false},
    {"to_minutes", "text", "Return the number of minutes of a duration that is written like '2:05' (hours and minutes).",
     "    hours, minutes = text.split(':')\n    return int(hours) * 60 + int(minutes)\n",
     {{"* 60", "* 100"}, {"int(hours) * 60 + int(minutes)", "int(minutes) * 60 + int(hours)"}, {" + int(minutes)", ""}},
     {"'2:05'", "'0:45'", "'10:30'", "'0:00'", "'1:59'", "'23:07'"}, true},
    {"masked", "text", "Return text with all but its last $A characters replaced by '*'.",
     "    if len(text) <= $A:\n        return text\n    return '*' * (len(text) - $A) + text[-$A:]\n",
     {{"text[-$A:]", "text[:$A]"}, {"'*' * (len(text) - $A)", "'*'"}, {"text[-$A:]", "text[-1:]"}},
     {"'4929123456781234'", "'secret-token'", "'abcdefghijklmnop'", "''", "'xy'", "'0123456789'"}, false},
    {"mean", "items", "Return the mean of the items, or 0 when there are none.",
     "    if not items:\n        return 0\n    return sum(items) / len(items)\n",
     {{"/ len(items)", "// len(items)"}, {"    if not items:\n        return 0\n", ""}, {"/ len(items)", "/ 2"}},
     {"[1, 2, 4, 4]", "[]", "[3, 4]", "[10]", "[1, 1, 2]", "[5, 6, 7, 9]"}, false},
    {"divisible", "n", "Return 'both' if n is divisible by $A and by $B, 'first' if only by $A, 'second' if only by $B, else 'none'.",
     "    if n % $A == 0 and n % $B == 0:\n        return 'both'\n    if n % $A == 0:\n        return 'first'\n    if n % $B == 0:\n        return 'second'\n    return 'none'\n",
     {{" and ", " or "}, {"return 'first'", "return 'second'"}, {"    if n % $B == 0:\n        return 'second'\n", ""}},
     {"$A", "$B", "$A * $B", "1", "$A * 4", "$B * 5"}, false},
    {"discounted", "total", "Return total, less $A percent (rounded down) if it is 1000 or more.",
     "    if total >= 1000:\n        return total - total * $A // 100\n    return total\n",
     {{"total >= 1000", "total > 1000"}, {"total - total", "total + total"}, {"// 100", "// 1000"}}, {"1000", "5000", "999", "0", "1001", "123456"}, true},
    {"longest", "words", "Return the longest of the words; of several such words the first; '' when there are none.",
     "    best = ''\n    for word in words:\n        if len(word) > len(best):\n            best = word\n    return best\n",
     {{"len(word) > len(best)", "len(word) >= len(best)"}, {"len(word) > len(best)", "word > best"}, {"best = ''", "best = words[0][:1] * 3"}},
     {"['zo', 'abcd', 'wxyz']", "['zzz', 'aaaa', 'b']", "['x', 'y']", "[]", "['one', 'three', 'two']", "['ab', 'cd']"}, false},
};
const size_t qn__bank_size = sizeof qn__bank / sizeof *qn__bank;

const char *qn__replaced(qn_env *e, const char *text, const char *from, const char *to)
{
    qn_buf b = {0};
    for (const char *at; (at = strstr(text, from)); text = at + strlen(from)) {
        qn__buf_put(&b, text, (size_t)(at - text));
        qn__buf_puts(&b, to);
    }
    qn__buf_puts(&b, text);
    e->failed |= b.failed;
    const char *out = qn__env_text(e, b.data ? b.data : "", b.n);
    qn__buf_free(&b);
    return out;
}

static const char *filled(qn_env *e, const char *text, int a, int b)
{
    char n[16];
    (void)snprintf(n, sizeof n, "%d", a);
    text = qn__replaced(e, text, "$A", n);
    (void)snprintf(n, sizeof n, "%d", b);
    return qn__replaced(e, text, "$B", n);
}

static void put_filled(qn_buf *out, const char *text, const long n[2])
{
    for (; *text; text++) {
        if (*text == '$' && (text[1] == 'A' || text[1] == 'B'))
            qn__buf_printf(out, "%ld", n[*++text - 'A']);
        else
            qn__buf_putc(out, *text);
    }
}

bool qn__bank_understand(const char *doc, qn_buf *body)
{
    for (size_t i = 0; i < qn__bank_size; i++) {
        long n[2] = {0, 0};
        const char *p = doc, *q = qn__bank[i].doc;
        while (*q && *p) {
            if (*q == '$') {
                char *end;
                const long v = strtol(p, &end, 10);
                if (end == p || (n[q[1] - 'A'] && n[q[1] - 'A'] != v))
                    break;
                n[q[1] - 'A'] = v;
                p = end;
                q += 2;
            } else if (*q++ != *p++) {
                q--;
                break;
            }
        }
        if (!*q && !*p) {
            put_filled(body, qn__bank[i].body, n);
            return true;
        }
    }
    return false;
}

/* ---- projects ---- */

static const char *const modules[] = {"shop/cart", "shop/prices", "text/names", "stock/levels", "util/numbers", "reports/totals", "core/rules",
                                      "data/clean", "web/forms", "jobs/queue", "mail/lists", "bank/fees"};
enum { MODULES = sizeof modules / sizeof *modules };

/* Tests of the function, of the first `visible` calls and of all. What they expect is what the right code gives. */
static void make_tests(qn_task *t, qn_unit *u, int visible)
{
    qn_env *e = &t->env;
    const qn_py_file file = {u->path, u->code};
    const char *program = qn__env_printf(e, "from %s import %s\n", u->module, u->bank->name), *text = "", *all = "\n\ndef test_all():\n", *calls[6];
    qn_buf out = {0};
    bool ok = false;
    for (int i = 0; i < 6; i++) {
        calls[i] = filled(e, u->bank->calls[i], u->a, u->b);
        program = qn__env_printf(e, "%sprint(repr(%s(%s)))\n", program, u->bank->name, calls[i]);
    }
    if (qn__py_run(&file, 1, program, &out, &ok, NULL))
        e->failed = true;
    const char *p = out.data ? out.data : "";
    for (int i = 0; i < 6; i++) {
        const size_t n = strcspn(p, "\n");
        if (i == visible)
            u->visible = text;
        text = qn__env_printf(e, "%s\n\ndef test_%s_%d():\n    assert %s(%s) == %.*s\n", text, u->bank->name, i + 1, u->bank->name, calls[i], (int)n, p);
        all = qn__env_printf(e, "%s    assert %s(%s) == %.*s\n", all, u->bank->name, calls[i], (int)n, p);
        p += n + (p[n] == '\n');
    }
    u->hidden = all;
    qn__buf_free(&out);
}

void qn__units_make(qn_task *t, qn_unit *u, int n, int n_modules)
{
    qn_env *e = &t->env;
    int order[64], places[MODULES];
    qn__env_shuffle(e, order, (int)qn__bank_size);
    qn__env_shuffle(e, places, MODULES);
    for (int i = 0; i < n; i++) {
        const char *m = modules[places[i % n_modules]], *base = strchr(m, '/') + 1;
        const qn_bank *b = &qn__bank[order[i]];
        u[i] = (qn_unit){.bank = b, .a = 2 + (int)qn__env_below(e, 8)};
        u[i].b = u[i].a + 2 + (int)qn__env_below(e, 8);
        u[i].path = qn__env_printf(e, "%s.py", m);
        u[i].module = qn__replaced(e, m, "/", ".");
        u[i].test_path = qn__env_printf(e, "tests/test_%s.py", base);
        u[i].code = filled(e, qn__env_printf(e, "def %s(%s):\n    \"\"\"%s\"\"\"\n%s", b->name, b->params, b->doc, b->body), u[i].a, u[i].b);
        make_tests(t, &u[i], 3);
    }
}

/* The texts of all units of unit i's module, if i is the first of it; else NULL. */
static const char *module_text(qn_task *t, const qn_unit *u, int n, int i, const char *const *code)
{
    const char *text = "";
    for (int k = 0; k < n; k++) {
        if (u[k].path != u[i].path && strcmp(u[k].path, u[i].path) != 0)
            continue;
        if (k < i)
            return NULL;
        text = qn__env_printf(&t->env, "%s%s%s", text, *text ? "\n\n" : "", code && code[k] ? code[k] : u[k].code);
    }
    return text;
}

static const char *tests_text(qn_task *t, const qn_unit *u, int n, int i, const bool *tested, bool hidden)
{
    const char *names = "", *tests = "";
    for (int k = 0; k < n; k++)
        if (strcmp(u[k].path, u[i].path) == 0 && (!tested || tested[k])) {
            names = qn__env_printf(&t->env, "%s%s%s", names, *names ? ", " : "", u[k].bank->name);
            tests = qn__env_printf(&t->env, "%s%s", tests, hidden ? u[k].hidden : u[k].visible);
        }
    return *names ? qn__env_printf(&t->env, "from %s import %s\n%s", u[i].module, names, tests) : NULL;
}

void qn__units_write(qn_task *t, const qn_unit *u, int n, const char *const *code, const bool *tested)
{
    qn_env *e = &t->env;
    if (!e->files)
        e->files = qn__env_struct(e, sizeof *e->files);
    for (int i = 0; i < n && e->files; i++) {
        const char *text = module_text(t, u, n, i, code), *tests = text ? tests_text(t, u, n, i, tested, false) : NULL;
        if (text)
            (void)qn__tree_put(e, e->files, u[i].path, text);
        if (tests)
            (void)qn__tree_put(e, e->files, u[i].test_path, tests);
    }
}

const char *qn__unit_bugged(qn_task *t, const qn_unit *u)
{
    qn_env *e = &t->env;
    const size_t first = qn__env_below(e, 3);
    for (size_t k = 0; k < 3; k++) {
        const char *const *bug = u->bank->bugs[(first + k) % 3];
        const char *body = filled(e, u->bank->body, u->a, u->b), *from = filled(e, bug[0], u->a, u->b), *to = filled(e, bug[1], u->a, u->b);
        const char *at = strstr(body, from);
        if (!at)
            continue;
        const char *wrong = qn__env_printf(e, "%.*s%s%s", (int)(at - body), body, to, at + strlen(from));
        const char *code = qn__replaced(e, u->code, body, wrong);
        qn_py_file files[2] = {{u->path, code}, {u->test_path, qn__env_printf(e, "from %s import %s\n%s", u->module, u->bank->name, u->visible)}};
        qn_py_report r = {0};
        e->failed |= qn__py_test(files, 2, NULL, &r, NULL) != QN_OK;
        const bool shows = r.failed > 0 && r.out.data && !strstr(r.out.data, "(the file itself)");
        qn__buf_free(&r.out);
        if (shows)
            return code;
    }
    return qn__replaced(e, u->code, "    return", "    return 0 or"); /* not met: every bug of the bank shows, which a test sees to */
}

bool qn__units_right(qn_task *t, const qn_unit *u, int n, qn_buf *why)
{
    qn_env *e = &t->env;
    for (int i = 0; i < n; i++) {
        qn_tree copy = *e->files;
        const char *const hidden[1][2] = {{"test_hidden.py", qn__env_printf(e, "from %s import %s\n%s", u[i].module, u[i].bank->name, u[i].hidden)}};
        for (size_t k = copy.n; k-- > 0;) /* only what is hidden counts: the other tests may have been changed */
            if (strncmp(copy.f[k].path, "tests/", 6) == 0 || strstr(copy.f[k].path, "test_"))
                (void)qn__tree_drop(&copy, copy.f[k].path);
        if (!qn__tree_passes(e, &copy, hidden, 1)) {
            qn__buf_printf(why, "%s in %s is wrong", u[i].bank->name, u[i].path);
            return false;
        }
    }
    return true;
}
