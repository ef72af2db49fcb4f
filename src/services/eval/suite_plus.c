/* suite_plus.c - see suite_plus.h. */
#include "services/eval/suite_plus.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* ---- what arguments are ----
 *
 *     -  as JSON has it       t  a tuple           l  a list of tuples     u  a tuple; lists in it are tuples
 *     T  tuples, all the way  d  tuples in a dict  s  a list of sets       f  a float     c  a complex number (written as text)
 *
 * The numbers are facts of the published file (EvalPlus, MBPP+ v0.1.0 to v0.2.0). */
static const struct {
    const char *letters;
    short tasks[24]; /* ends with 0 */
} arguments[] = {
    {"t", {2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740, 744, 809}},
    {"l", {63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780}},
    {"l-", {75, 413, 444, 753}},
    {"t-", {250, 307, 405, 446, 617, 720, 763, 808}},
    {"-t", {106, 750}},
    {"u", {259, 278, 401, 445}},
    {"T", {580, 615, 791}},
    {"d-", {722}},
    {"s", {115}},
    {"fc", {124}},
    {"c", {252}},
};

const char *qn__plus_arguments(const char *task_id)
{
    const char *digits = strrchr(task_id, '/');
    const long task = strtol(digits ? digits + 1 : task_id, NULL, 10);
    for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++)
        for (const short *t = arguments[i].tasks; *t; t++)
            if (*t == task)
                return arguments[i].letters;
    return "-";
}

/* ---- reading ---- */

bool qn__plus_is_mbpp(const json_t *record)
{
    const json_t *plus = json_object_get(record, "plus_input");
    return json_is_array(json_object_get(record, "base_input")) && (json_is_array(plus) || (json_is_object(plus) && json_object_size(plus) == 0));
}

/* The bare words outside of strings become null. */
json_t *qn__plus_record(const char *line, size_t n)
{
    static const char *const words[] = {"-Infinity", "Infinity", "NaN"};
    qn_buf b = {0};
    bool inside = false;
    for (size_t i = 0; i < n; i++) {
        size_t len = 0;
        for (size_t w = 0; !inside && !len && w < sizeof words / sizeof *words; w++)
            if (strlen(words[w]) <= n - i && memcmp(line + i, words[w], strlen(words[w])) == 0)
                len = strlen(words[w]);
        if (len) {
            qn__buf_puts(&b, "null");
            i += len - 1;
            continue;
        }
        if (inside && line[i] == '\\' && i + 1 < n)
            qn__buf_putc(&b, line[i++]);
        else if (line[i] == '"')
            inside = !inside;
        qn__buf_putc(&b, line[i]);
    }
    json_t *r = b.failed ? NULL : json_loadb(b.data ? b.data : "", b.n, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
    qn__buf_free(&b);
    if (qn__plus_is_mbpp(r))
        return r;
    json_decref(r);
    return NULL;
}

/* ---- judging ---- */

/* EvalPlus's rules. An answer is right when it equals the reference's. Where it does not, it may be near: within `atol` of the problem,
 * or, once an answer of the reference was a float or a list of floats, within 1e-6, and 1e-7 of the size; of the same type and length.
 * Both lists of inputs are judged so from the start. And some problems have rules of their own:
 *   HumanEval/32   the polynomial is all but zero at the answer
 *   MBPP/164       has no agreed answer: anything is right      MBPP/295   0 is right, too (not even then a divisor)
 *   MBPP/558       numbers may be made of one length first      MBPP/581   the height may be the pyramid's own, not a side's
 *   eight of MBPP  are asked for some elements: as sets         three of MBPP   ask yes or no and answer with a match or None
 * Some inputs keep the reference busy for half a minute, so the candidate has, of all inputs together, its own seconds of processor
 * time and four times what the reference took; then a signal ends it.
 * This runs in a name space of its own: candidates are called sum, set, ... at times. */
static const char CHECKS[] =
    "import json, sys, copy, math, signal, time\n"
    "if hasattr(sys, 'set_int_max_str_digits'): sys.set_int_max_str_digits(0)\n"
    "AS_SETS = 'similar_elements find_char_long common_in_nested_lists extract_singly larg_nnum intersection_array find_dissimilar Diff'.split()\n"
    "YES_OR_NO = 'check_str text_match_three text_starta_endb'.split()\n"
    "def given(letter, v):\n"
    "    if letter == 't': return tuple(v)\n"
    "    if letter == 'l': return [tuple(x) for x in v]\n"
    "    if letter == 'u': return tuple(tuple(x) if isinstance(x, list) else x for x in v)\n"
    "    if letter == 'T': return tuple(given('T', x) for x in v) if isinstance(v, list) else v\n"
    "    if letter == 'd': return {k: tuple(x) for k, x in v.items()}\n"
    "    if letter == 's': return [set(x) if x else {} for x in v]\n"
    "    if letter == 'f': return float(v)\n"
    "    if letter == 'c': return complex(v)\n"
    "    return v\n"
    "def near(a, b, tol):\n"
    "    if isinstance(b, (list, tuple)):\n"
    "        return isinstance(a, (list, tuple)) and len(a) == len(b) and all(near(x, y, tol) for x, y in zip(a, b))\n"
    "    return isinstance(a, (int, float, complex)) and (a == b or abs(a - b) <= tol + 1e-7 * abs(b) or (a != a and b != b))\n"
    "def floats(b):\n"
    "    return isinstance(b, float) or (isinstance(b, (list, tuple)) and len(b) > 0 and all(isinstance(x, float) for x in b))\n"
    "def one_length(m, n):\n"
    "    m, n = str(m), str(n)\n"
    "    k = max(len(m), len(n))\n"
    "    return sum(abs(int(x) - int(y)) for x, y in zip(m.zfill(k), n.zfill(k)))\n"
    "def own_rule(args, got, want, tol):\n"
    "    if name == 'are_equivalent': return True\n"
    "    if name == 'sum_div': return got == want or got == 0\n"
    "    if name == 'digit_distance_nums': return got == want or got == one_length(*args)\n"
    "    if name == 'surface_Area':\n"
    "        return got == want or abs(got - round(args[0] ** 2 + 2 * args[0] * math.hypot(args[0] / 2, args[1]))) <= tol\n"
    "    if name in AS_SETS: return set(got) == set(want)\n"
    "    if name in YES_OR_NO: return got == want if isinstance(got, bool) else want == (got is not None)\n"
    "    return got == want\n"
    "def judge(inputs, tol):\n"
    "    global seconds\n"
    "    for args in inputs:\n"
    "        if mbpp:\n"
    "            args = [given(letters[min(i, len(letters) - 1)], v) for i, v in enumerate(args)]\n"
    "        mine, before = copy.deepcopy(args), time.process_time()\n"
    "        want = reference(*mine)\n"
    "        mine, seconds = copy.deepcopy(args), seconds + 4 * (time.process_time() - before)\n"
    "        if mbpp and name in YES_OR_NO: want = want is not None\n"
    "        before = time.process_time()\n"
    "        signal.setitimer(signal.ITIMER_PROF, max(seconds, 0.1))\n"
    "        got = candidate(*mine)\n"
    "        signal.setitimer(signal.ITIMER_PROF, 0)\n"
    "        seconds -= time.process_time() - before\n"
    "        if not mbpp and name == 'find_zero':\n"
    "            assert abs(sum(c * got ** i for i, c in enumerate(args[0]))) <= max(tol, 1e-4), 'wrong answer'\n"
    "            continue\n"
    "        right = own_rule(args, got, want, tol) if mbpp else got == want\n"
    "        if tol == 0 and floats(want): tol = 1e-6\n"
    "        assert right or (tol and type(got) == type(want) and near(got, want, tol)), 'wrong answer'\n"
    "space = {}\n"
    "exec(compile(reference_code, 'reference', 'exec'), space)\n"
    "reference = space[name]\n"
    "record = json.loads(record)\n"
    "judge(record['base_input'], tol)\n"
    "judge(record['plus_input'], tol)\n";

void qn__put_literal(qn_buf *b, const char *s, size_t n)
{
    qn__buf_putc(b, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\')
            qn__buf_printf(b, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            qn__buf_printf(b, "\\x%02x", c);
        else
            qn__buf_putc(b, (char)c);
    }
    qn__buf_putc(b, '"');
}

void qn__plus_checks(const qn_problem *p, bool mbpp, qn_slice record, double seconds, qn_buf *b)
{
    qn__buf_printf(b, "\nimport builtins as _b\n_b.exec(_b.compile(");
    qn__put_literal(b, CHECKS, sizeof CHECKS - 1);
    qn__buf_printf(b, ", 'checks', 'exec'), {'candidate': %s, 'name': '%s', 'mbpp': %s, 'letters': '%s', 'tol': %.17g, 'seconds': %.17g, 'record': ", p->entry, p->entry,
                   mbpp ? "True" : "False", qn__plus_arguments(p->id), json_number_value(json_object_get(p->record, "atol")), seconds);
    qn__put_literal(b, record.p, record.n);
    qn__buf_puts(b, ", 'reference_code': ");
    qn_buf reference = {0};
    qn__buf_printf(&reference, "%s%s", p->prompt, p->canonical ? p->canonical : "");
    qn__put_literal(b, reference.data ? reference.data : "", reference.n);
    b->failed = b->failed || reference.failed;
    qn__buf_free(&reference);
    qn__buf_puts(b, "})\n");
}
