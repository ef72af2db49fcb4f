/* suite.c - see suite.h. */
#include "services/eval/suite.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "services/eval/suite_plus.h"

enum { MAX_STOPS = 16 };
static const size_t LIMIT = (size_t)1 << 30;

struct qn_suite {
    qn_suite_kind kind;
    json_t *records;
    char *text;        /* the file, unpacked */
    qn_slice *lines;   /* of JSON lines, each record's own; NULL of an array */
    qn_problem *problems;
    size_t n;
    uint64_t hash;
    double seconds; /* that an answer may run */
    qn_arena arena;
};

static const struct {
    const char *name, *note;
} kinds[] = {
    [QN_SUITE_HUMANEVAL] = {"HumanEval", "public since 2021: models have very likely been trained on it"},
    [QN_SUITE_HUMANEVAL_PLUS] = {"HumanEval+", "HumanEval's problems with more tests; the problems are public since 2021"},
    [QN_SUITE_INFILLING] = {"HumanEval-infilling", "made from HumanEval's solutions, public since 2022"},
    [QN_SUITE_MBPP] = {"MBPP", "public since 2021: models have very likely been trained on it; some tests accept wrong programs"},
    [QN_SUITE_MBPP_PLUS] = {"MBPP+", "some of MBPP's problems, mended, with more tests; the problems are public since 2021"},
    [QN_SUITE_MULTIPL_E] = {"MultiPL-E", "HumanEval translated by program, public since 2022"},
    [QN_SUITE_DS1000] = {"DS-1000", "from public answers of a question site, public since 2022"},
};

/* ---- reading ---- */

static qn_status inflate_all(const char *path, const char *in, size_t n, char **out, size_t *n_out, qn_err *err)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in, .avail_in = (uInt)n};
    qn_buf b = {.limit = LIMIT};
    if (n > UINT32_MAX || inflateInit2(&z, 15 + 16) != Z_OK)
        return qn__fail_mem(err, path);
    int rc = Z_OK;
    while (rc == Z_OK && !b.failed) {
        unsigned char piece[65536];
        z.next_out = piece;
        z.avail_out = sizeof piece;
        rc = inflate(&z, Z_NO_FLUSH);
        qn__buf_put(&b, piece, sizeof piece - z.avail_out);
        if (rc == Z_STREAM_END && z.avail_in > 0) /* files of several members */
            rc = inflateReset(&z);
    }
    (void)inflateEnd(&z);
    if (rc != Z_STREAM_END || b.failed) {
        bool big = b.failed;
        qn__buf_free(&b);
        return big ? qn__fail(err, QN_ELIMIT, path, "is larger than 1 GiB unpacked")
                   : qn__fail(err, QN_EFORMAT, path, "is a damaged gzip file; get it again");
    }
    *out = qn__buf_take(&b, n_out);
    return *out ? QN_OK : qn__fail_mem(err, path);
}

/* An array, or one object a line. Texts may hold NUL (some tests' inputs do); where one does that is used as text, text_of has none.
 * Integers beyond 64 bits, which some tests' inputs have, become reals here: who needs those inputs
 * takes them from the line itself. So do those of MBPP+ that are no JSON at all (Infinity). */
static qn_status parse(qn_suite *s, const char *path, size_t n, qn_err *err)
{
    const char *text = s->text;
    size_t cap = 0;
    json_error_t e;
    size_t first = strspn(text, " \t\r\n"), line = 1;
    if (first < n && text[first] == '[') {
        s->records = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
        return s->records ? QN_OK : qn__fail(err, QN_EFORMAT, path, "line %d: %s; a suite is a file of JSON, as its authors publish it (.jsonl, .json, also .gz)", e.line, e.text);
    }
    json_t *all = s->records = json_array();
    if (!all)
        return qn__fail_mem(err, path);
    for (size_t i = 0; i < n; line++) {
        const char *end = memchr(text + i, '\n', n - i);
        size_t len = end ? (size_t)(end - text) - i : n - i;
        if (strspn(text + i, " \t\r") < len) {
            size_t k = json_array_size(all);
            json_t *r = json_loadb(text + i, len, JSON_ALLOW_NUL, &e);
            if (!r)
                r = json_loadb(text + i, len, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &e);
            if (!r)
                r = qn__plus_record(text + i, len);
            if (!r)
                return qn__fail(err, QN_EFORMAT, path, "line %zu: %s; a suite is a file of JSON, as its authors publish it (.jsonl, .json, also .gz)", line, e.text);
            if (json_array_append_new(all, r) || !qn__grow((void **)&s->lines, &cap, k + 1, sizeof *s->lines))
                return qn__fail_mem(err, path);
            s->lines[k] = (qn_slice){text + i, len};
        }
        i += len + 1;
    }
    return QN_OK;
}

static const char *text_of(const json_t *r, const char *key)
{
    const json_t *v = json_object_get(r, key);
    const char *text = json_string_value(v);
    return text && strlen(text) == json_string_length(v) ? text : NULL;
}

static bool kind_of(const json_t *r, qn_suite_kind *kind)
{
    if (text_of(r, "code_context") && text_of(r, "prompt"))
        return *kind = QN_SUITE_DS1000, true;
    if (text_of(r, "tests") && text_of(r, "language") && text_of(r, "prompt"))
        return *kind = QN_SUITE_MULTIPL_E, true;
    if (text_of(r, "suffix") && text_of(r, "prompt") && text_of(r, "test"))
        return *kind = QN_SUITE_INFILLING, true;
    if (json_is_array(json_object_get(r, "plus_input")) && text_of(r, "test"))
        return *kind = QN_SUITE_HUMANEVAL_PLUS, true;
    if (text_of(r, "prompt") && text_of(r, "test") && text_of(r, "entry_point"))
        return *kind = QN_SUITE_HUMANEVAL, true;
    if (qn__plus_is_mbpp(r) && text_of(r, "prompt") && text_of(r, "entry_point") && text_of(r, "canonical_solution"))
        return *kind = QN_SUITE_MBPP_PLUS, true;
    if (json_is_array(json_object_get(r, "test_list")) && (text_of(r, "text") || text_of(r, "prompt")))
        return *kind = QN_SUITE_MBPP, true;
    return false;
}

/* ---- problems ---- */

static const char *joined(qn_suite *s, const char *fmt, const char *a, const char *b, const char *c)
{
    qn_buf out = {0};
    for (const char *p = fmt; *p; p++) {
        if (*p != '%')
            qn__buf_putc(&out, *p);
        else
            qn__buf_puts(&out, *++p == 'a' ? a : *p == 'b' ? b : c);
    }
    char *text = out.failed ? NULL : qn__arena_strndup(&s->arena, out.data ? out.data : "", out.n);
    qn__buf_free(&out);
    return text;
}

static const char *lines_of(qn_suite *s, const json_t *list)
{
    qn_buf out = {0};
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v) {
        qn__buf_puts(&out, json_is_string(v) ? json_string_value(v) : "");
        qn__buf_putc(&out, '\n');
    }
    char *text = out.failed ? NULL : qn__arena_strndup(&s->arena, out.data ? out.data : "", out.n);
    qn__buf_free(&out);
    return text;
}

/* What follows a function in Python begins one of these at the start of a line. */
static const char *const PYTHON_STOPS[] = {"\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\nassert ", "\n```"};
static const char *const DS_STOPS[] = {"</code>", "# SOLUTION END", "\nEND SOLUTION"};
static const char *const MBPP_STOPS[] = {"\nassert ", "\n\"\"\"", "\nclass ", "\nprint(", "\n```", "\n[DONE]"};
#define STOPS(p, list) ((p)->stops = (list), (p)->n_stops = sizeof(list) / sizeof *(list))

static void stops_of(qn_suite *s, qn_problem *p, const json_t *list)
{
    const char **v = qn__arena_alloc(&s->arena, MAX_STOPS * sizeof *v);
    size_t i;
    json_t *e;
    if (!v)
        return;
    p->stops = v;
    json_array_foreach(list, i, e) {
        if (p->n_stops < MAX_STOPS && json_is_string(e))
            v[p->n_stops++] = json_string_value(e);
    }
}

static const char REQUEST[] = "Complete this %a function. Answer with the whole function in one code block and nothing else.\n\n"
                              "```%a\n%b```\n";

static const char PLUS_REQUEST[] = "Write the Python function that this asks for, under the name that the example calls. Answer with the code in one block "
                                   "and nothing else.\n\n```python\n%a```\n";

static bool make_mbpp(qn_suite *s, qn_problem *p, const json_t *r)
{
    const char *text = text_of(r, "text") ? text_of(r, "text") : text_of(r, "prompt");
    const char *tests = lines_of(s, json_object_get(r, "test_list"));
    if (!tests)
        return false;
    p->prompt = joined(s, "\"\"\"\n%a\n%b\"\"\"\n", text, tests, "");
    p->request = joined(s, "%a\nYour code must pass these tests:\n\n```python\n%b```\n\nAnswer with the code in one block and nothing else.",
                        text, tests, "");
    p->entry = "";
    p->canonical = text_of(r, "code");
    STOPS(p, MBPP_STOPS);
    return true;
}

static bool make_problem(qn_suite *s, qn_problem *p, const json_t *r, size_t i)
{
    char number[32];
    const json_t *id = json_object_get(r, "task_id");
    (void)snprintf(number, sizeof number, "%lld", json_is_integer(id) ? (long long)json_integer_value(id) : (long long)i);
    p->record = r;
    p->language = "python";
    p->entry = text_of(r, "entry_point") ? text_of(r, "entry_point") : "";
    p->prompt = text_of(r, "prompt");
    p->suffix = s->kind == QN_SUITE_INFILLING ? text_of(r, "suffix") : NULL;
    p->canonical = text_of(r, "canonical_solution");
    p->id = json_is_string(id) ? json_string_value(id) : qn__arena_strndup(&s->arena, number, strlen(number));
    STOPS(p, PYTHON_STOPS);
    if (s->kind == QN_SUITE_MBPP)
        return make_mbpp(s, p, r) && p->id && p->prompt && p->request;
    if (s->kind == QN_SUITE_DS1000) {
        p->canonical = text_of(r, "reference_code");
        p->request = p->prompt;
        STOPS(p, DS_STOPS);
        return p->id && p->prompt;
    }
    if (s->kind == QN_SUITE_MBPP_PLUS) {
        p->request = joined(s, PLUS_REQUEST, p->prompt, "", "");
        STOPS(p, MBPP_STOPS);
        return p->id && p->request;
    }
    if (s->kind == QN_SUITE_MULTIPL_E) {
        p->language = text_of(r, "language");
        p->stops = NULL;
        p->n_stops = 0;
        stops_of(s, p, json_object_get(r, "stop_tokens"));
    }
    if (p->suffix)
        p->n_stops = 0; /* the text between two given ends has no other end than the model's */
    p->request = joined(s, REQUEST, strcmp(p->language, "go_test.go") == 0 ? "go" : p->language, p->prompt, "");
    return p->id && p->prompt && p->request;
}

static qn_status make_problems(qn_suite *s, const char *path, qn_err *err)
{
    size_t n = json_array_size(s->records);
    if (!n)
        return qn__fail(err, QN_EFORMAT, path, "holds no problems");
    if (!(s->problems = qn__calloc(n, sizeof *s->problems)))
        return qn__fail_mem(err, path);
    for (size_t i = 0; i < n; i++) {
        const json_t *r = json_array_get(s->records, i);
        qn_suite_kind kind;
        if (!kind_of(r, &kind)) {
            return qn__fail(err, QN_EFORMAT, path, "record %zu fits no format that quern reads (HumanEval, HumanEval+, infilling, MBPP, "
                                                   "MBPP+, MultiPL-E, DS-1000)", i + 1);
        }
        if (i == 0)
            s->kind = kind;
        if (kind != s->kind)
            return qn__fail(err, QN_EFORMAT, path, "record %zu is of another format than the first", i + 1);
        if (!make_problem(s, &s->problems[s->n++], r, i))
            return qn__fail_mem(err, path);
    }
    return QN_OK;
}

qn_status qn__suite_of(const char *path, const char *bytes, size_t n, qn_suite **out, qn_err *err)
{
    qn_status st = QN_OK;
    qn_suite *s = qn__calloc(1, sizeof *s);
    if (!s)
        return qn__fail_mem(err, path);
    qn__arena_init(&s->arena, LIMIT);
    s->seconds = 10;
    s->hash = qn__hash(bytes, n);
    if (n > 2 && (unsigned char)bytes[0] == 0x1f && (unsigned char)bytes[1] == 0x8b)
        st = inflate_all(path, bytes, n, &s->text, &n, err);
    else if (!(s->text = qn__strndup(bytes, n)))
        st = qn__fail_mem(err, path);
    if (!st)
        st = parse(s, path, n, err);
    if (!st)
        st = make_problems(s, path, err);
    if (st)
        qn__suite_close(s);
    else
        *out = s;
    return st;
}

qn_status qn__suite_open(const char *path, qn_suite **out, qn_err *err)
{
    char *bytes = NULL;
    size_t n = 0;
    qn_status st = qn__read_file(path, LIMIT, &bytes, &n, err);
    if (!st)
        st = qn__suite_of(path, bytes, n, out, err);
    qn_free(bytes);
    return st;
}

void qn__suite_close(qn_suite *s)
{
    if (!s)
        return;
    json_decref(s->records);
    qn_free(s->problems);
    qn_free(s->lines);
    qn_free(s->text);
    qn__arena_free(&s->arena);
    qn_free(s);
}

const char *qn__suite_name(const qn_suite *s)
{
    return kinds[s->kind].name;
}

const char *qn__suite_note(const qn_suite *s)
{
    return kinds[s->kind].note;
}

uint64_t qn__suite_hash(const qn_suite *s)
{
    return s->hash;
}

size_t qn__suite_size(const qn_suite *s)
{
    return s->n;
}

const qn_problem *qn__suite_get(const qn_suite *s, size_t i)
{
    return &s->problems[i];
}

/* The slowest published solution of MBPP+ takes half a minute of a quick processor and the largest answer of one 1.1 GiB; such a
 * program runs, and holds, two. */
void qn__suite_time(qn_suite *s, double seconds, double *wall_s, size_t *memory)
{
    const bool twice = s->kind == QN_SUITE_HUMANEVAL_PLUS || s->kind == QN_SUITE_MBPP_PLUS;
    s->seconds = seconds > 0 ? seconds : 10;
    *wall_s = twice ? s->seconds + 170 : s->seconds;
    *memory = twice ? (size_t)4 << 30 : 0;
}

/* ---- programs ---- */

static const qn_language languages[] = {
    {"python", "p.py", "python3 -I p.py && test -e /box/done", "python3", "python3 -c 1"}, /* DONE */
    {"cpp", "p.cpp", "g++ -std=c++17 p.cpp -o p && ./p", "g++", "g++ --version"},
    {"js", "p.js", "node p.js", "node", "node -e 1"},
    {"ts", "p.ts", "tsc --target es2020 --lib es2020,dom --types node p.ts; node p.js", "tsc", "tsc --version"},
    {"go_test.go", "p_test.go", "GOCACHE=/tmp/go GO111MODULE=off go test p_test.go", "go", "go version"}, /* so MultiPL-E calls it */
    {"go", "p_test.go", "GOCACHE=/tmp/go GO111MODULE=off go test p_test.go", "go", "go version"},
    {"rs", "p.rs", "rustc p.rs -o p && ./p", "rustc", "rustc --version"},
    {"pl", "p.pl", "perl p.pl", "perl", "perl -MTest::Deep -e 1"},
    {"sh", "p.sh", "bash p.sh", "bash", "bash -c :"},
    {"java", "Problem.java", "javac Problem.java && java -ea Problem", "javac", "javac -version"},
    {"lua", "p.lua", "lua p.lua", "lua", "lua -e 'require(\"luaunit\")'"},
};

const qn_language *qn__language(const char *name)
{
    for (size_t i = 0; i < sizeof languages / sizeof *languages; i++)
        if (strcmp(languages[i].name, name) == 0)
            return &languages[i];
    return NULL;
}

/* The record as it stands in the file: it holds numbers that the parsed one does not. */
static void put_plus(const qn_suite *s, const qn_problem *p, qn_buf *b)
{
    const size_t i = (size_t)(p - s->problems);
    char *own = s->lines ? NULL : json_dumps(p->record, JSON_COMPACT | JSON_REAL_PRECISION(17));
    b->failed = b->failed || (!s->lines && !own);
    qn__plus_checks(p, s->kind == QN_SUITE_MBPP_PLUS, s->lines ? s->lines[i] : (qn_slice){own ? own : "", own ? strlen(own) : 0},
                    s->seconds, b);
    free(own);
}

/* An answer that ends the program itself would else pass without being checked: that exits with 0, too. */
static const char DONE[] = "\n__import__('builtins').open('/box/done', 'w').close()\n";

static void put_checks(const qn_suite *s, const qn_problem *p, qn_buf *b)
{
    const json_t *r = p->record;
    size_t i;
    json_t *v;
    switch (s->kind) {
    case QN_SUITE_HUMANEVAL:
    case QN_SUITE_INFILLING:
        qn__buf_printf(b, "\n%s\ncheck(%s)\n", text_of(r, "test"), p->entry);
        break;
    case QN_SUITE_HUMANEVAL_PLUS:
    case QN_SUITE_MBPP_PLUS:
        put_plus(s, p, b);
        break;
    case QN_SUITE_MBPP:
        qn__buf_putc(b, '\n');
        if (text_of(r, "test_setup_code"))
            qn__buf_printf(b, "%s\n", text_of(r, "test_setup_code"));
        json_array_foreach(json_object_get(r, "test_list"), i, v) qn__buf_printf(b, "%s\n", json_is_string(v) ? json_string_value(v) : "");
        break;
    case QN_SUITE_MULTIPL_E:
        qn__buf_printf(b, "\n%s\n", text_of(r, "tests"));
        return;
    case QN_SUITE_DS1000:
        break;
    }
    qn__buf_puts(b, DONE);
}

static qn_status done(const qn_buf *b, qn_err *err)
{
    return b->failed ? qn__fail_mem(err, "program") : QN_OK;
}

static void put_imports(const qn_suite *s, const qn_problem *p, qn_buf *b)
{
    size_t i;
    json_t *v;
    if (s->kind == QN_SUITE_MBPP)
        json_array_foreach(json_object_get(p->record, "test_imports"), i, v)
            qn__buf_printf(b, "%s\n", json_is_string(v) ? json_string_value(v) : "");
}

/* DS-1000: its context runs the answer, given as text, itself. */
static void put_ds1000(const qn_problem *p, const char *code, size_t n, qn_buf *b)
{
    qn__buf_printf(b, "%s\ncode = ", text_of(p->record, "code_context"));
    qn__put_literal(b, code, n);
    qn__buf_printf(b, "\ntest_execution(code)\nif 'test_string' in globals():\n    test_string(code)\n%s", DONE);
}

qn_status qn__suite_program(const qn_suite *s, const qn_problem *p, const char *completion, size_t n, qn_buf *out, qn_err *err)
{
    if (s->kind == QN_SUITE_DS1000) {
        put_ds1000(p, completion, n, out);
        return done(out, err);
    }
    put_imports(s, p, out);
    if (s->kind != QN_SUITE_MBPP)
        qn__buf_puts(out, p->prompt);
    qn__buf_put(out, completion, n);
    if (p->suffix)
        qn__buf_puts(out, p->suffix);
    put_checks(s, p, out);
    return done(out, err);
}

/* Does code define the function itself? */
static bool defines(const qn_problem *p, qn_slice code)
{
    size_t n = strlen(p->entry);
    for (size_t i = 0; n && i + n <= code.n; i++)
        if (memcmp(code.p + i, p->entry, n) == 0 && i >= 4 && memcmp(code.p + i - 4, "def ", 4) == 0)
            return true;
    return false;
}

qn_status qn__suite_program_of_block(const qn_suite *s, const qn_problem *p, qn_slice code, qn_buf *out, qn_err *err)
{
    bool python = strcmp(p->language, "python") == 0;
    if (!python || s->kind == QN_SUITE_DS1000 || s->kind == QN_SUITE_MBPP || s->kind == QN_SUITE_MBPP_PLUS || p->suffix || !defines(p, code))
        return qn__suite_program(s, p, code.p, code.n, out, err);
    /* A whole function: the prompt's imports and helpers stand before it, its own stub is defined first and then replaced. */
    qn__buf_printf(out, "%s    pass\n\n", p->prompt);
    qn__buf_put(out, code.p, code.n);
    put_checks(s, p, out);
    return done(out, err);
}

bool qn__suite_extract(const qn_problem *p, const char *answer, size_t n, qn_slice *code)
{
    qn_slice best = {0};
    bool fenced = false, best_defines = false;
    for (size_t i = 0; i + 3 <= n;) {
        if (memcmp(answer + i, "```", 3) != 0 || (i > 0 && answer[i - 1] != '\n')) {
            i++;
            continue;
        }
        const char *line = memchr(answer + i, '\n', n - i);
        if (!line)
            break;
        size_t from = (size_t)(line - answer) + 1, to = from;
        while (to < n && !(to + 3 <= n && memcmp(answer + to, "```", 3) == 0 && (to == 0 || answer[to - 1] == '\n')))
            to++;
        qn_slice block = {answer + from, to - from};
        bool has = defines(p, block);
        fenced = true;
        if ((has && !best_defines) || (has == best_defines && block.n > best.n)) {
            best = block;
            best_defines = has;
        }
        i = to + 3;
    }
    *code = fenced ? best : (qn_slice){answer, n};
    for (size_t i = 0; i < code->n; i++)
        if (!strchr(" \t\r\n", code->p[i]))
            return true;
    return false;
}
