/* judge.c - see judge.h. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "services/eval/judge.h"

#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "services/eval/sandbox.h"
#include "text/grammar.h"
#include "services/probe/open.h"

enum { PATTERN_MAX = 4096, STEPS = 2000000, HEAP_KIB = 16384, TAIL = 2000, PATTERNS = 64 };

typedef struct pattern {
    pcre2_code *code;
    bool absent;
    size_t line;
} pattern;

typedef struct item {
    pattern *patterns;
    size_t n_patterns;
    qn_grammar *schema;
    char skip[200]; /* "": it is judged */
} item;

struct qn_judge {
    const qn_tasks *t;
    const char *suite;
    item *v;
    qn_sandbox *box; /* NULL: no item needs one, or there is none */
    pcre2_general_context *memory;
    pcre2_match_context *match;
    bool (*keep_on)(void *arg);
    void *arg;
};

static void *pcre_take(size_t n, void *arg)
{
    (void)arg;
    return qn__alloc(n);
}

static void pcre_free(void *p, void *arg)
{
    (void)arg;
    qn_free(p);
}

/* ---- preparing ---- */

static void at_line(const qn_judge *j, size_t line, char where[300])
{
    (void)snprintf(where, 300, "%.250s:%zu", j->suite, line);
}

static qn_status one_pattern(const qn_judge *j, item *it, pcre2_compile_context *cc, qn_slice s, size_t line, qn_err *err)
{
    char where[300];
    pattern *p = &it->patterns[it->n_patterns];
    at_line(j, line, where);
    if (it->n_patterns == PATTERNS)
        return qn__fail(err, QN_EFORMAT, where, "more than %d patterns in one check", PATTERNS);
    p->line = line;
    p->absent = s.p[0] == '!';
    s.p += p->absent;
    s.n -= p->absent;
    int code = 0;
    PCRE2_SIZE offset = 0;
    if (s.n == 0 || s.n > PATTERN_MAX)
        return qn__fail(err, QN_EFORMAT, where, "a pattern is empty or longer than %d bytes", PATTERN_MAX);
    p->code = pcre2_compile((PCRE2_SPTR)s.p, s.n, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &offset, cc);
    if (!p->code) {
        char why[160] = "";
        (void)pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        return qn__fail(err, QN_EFORMAT, where, "the pattern is not well-formed at its byte %zu: %s", (size_t)offset, why);
    }
    it->n_patterns++;
    return QN_OK;
}

static qn_status make_patterns(const qn_judge *j, const qn_task *t, item *it, qn_err *err)
{
    pcre2_compile_context *cc = pcre2_compile_context_create(j->memory);
    it->patterns = qn__calloc(PATTERNS, sizeof *it->patterns);
    qn_status st = cc && it->patterns ? QN_OK : qn__fail_mem(err, "patterns");
    size_t line = t->against_line;
    for (const char *p = t->against; !st && *p; line++) {
        size_t n = strcspn(p, "\n");
        const size_t all = n + (p[n] == '\n');
        n -= n > 0 && p[n - 1] == '\r';
        if (n > 0)
            st = one_pattern(j, it, cc, (qn_slice){p, n}, line, err);
        p += all;
    }
    pcre2_compile_context_free(cc);
    if (!st && it->n_patterns == 0) {
        char where[300];
        at_line(j, t->against_line, where);
        st = qn__fail(err, QN_EFORMAT, where, "the check holds no pattern");
    }
    return st;
}

static qn_status make_schema(const qn_judge *j, const qn_task *t, item *it, qn_err *err)
{
    char where[300];
    json_error_t e;
    json_t *s = json_loads(t->against, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    const size_t line = t->against_line + (s || e.line < 1 ? 0 : (size_t)e.line - 1);
    at_line(j, line, where);
    if (!s)
        return qn__fail(err, QN_EFORMAT, where, "the schema is no JSON: %s", e.text);
    qn_ir *ir = NULL;
    qn_status st = qn__ir_open(NULL, &ir, err);
    if (!st) {
        const qn_json_style style = {.compact = true};
        const qn_node root = qn__ir_schema(ir, s, &style, "schema", err);
        qn__ir_root(ir, root);
        if (!(st = qn__ir_check(ir, err)))
            st = qn__grammar_compile(ir, NULL, &it->schema, err);
    }
    if (st && st != QN_ENOMEM && err)
        qn__err_prefix(err, where);
    qn__ir_close(ir);
    json_decref(s);
    return st;
}

static bool runs(const qn_task *t)
{
    return t->check == QN_CHECK_COMMAND || t->check == QN_CHECK_RACE;
}

static const char *needs_of(const qn_task *t, const char *out[2])
{
    out[0] = t->needs ? t->needs : t->check == QN_CHECK_RACE ? "go" : NULL;
    out[1] = t->check == QN_CHECK_RACE ? "gcc" : NULL; /* the detector is linked by it */
    return out[0];
}

static qn_sandbox_limits limits_of(const qn_task *t)
{
    qn_sandbox_limits l = {.wall_s = t->time_s, .memory = (size_t)t->memory_mib << 20};
    if (t->check == QN_CHECK_RACE || (t->needs && strcmp(t->needs, "go") == 0)) {
        /* Compiling the standard library anew, and shadow memory of terabytes of addresses. */
        l.wall_s = t->time_s ? t->time_s : 180;
        l.cpu_s = (int)l.wall_s * 2;
        l.memory = l.memory ? l.memory : (size_t)2 << 30;
        l.disk = (size_t)512 << 20;
        l.processes = 512;
        l.any_space = true;
    }
    return l;
}

/* Is everything there that the item's check needs? Says so in it->skip. */
static qn_status look_for_tools(qn_judge *j, const qn_task *t, item *it, const char *no_box, qn_err *err)
{
    const char *needs[2];
    (void)needs_of(t, needs);
    if (!j->box) {
        (void)snprintf(it->skip, sizeof it->skip, "%.199s", no_box);
        return QN_OK;
    }
    qn_status st = QN_OK;
    for (int i = 0; i < 2 && needs[i] && !st && !*it->skip; i++) {
        char command[200];
        qn_process_result r = {0};
        (void)qn__sandbox_allow(j->box, needs[i]);
        (void)snprintf(command, sizeof command, "command -v %.150s >/dev/null", needs[i]);
        st = qn__sandbox_run(j->box, &(qn_sandbox_limits){0}, "x", "", 0, command, &r, err);
        if (!st && (r.end != QN_PROCESS_EXITED || r.code != 0))
            (void)snprintf(it->skip, sizeof it->skip, "%.120s is not there in the sandbox; install it under /usr", needs[i]);
        qn__process_result_free(&r);
    }
    return st;
}

static qn_status prepare(qn_judge *j, size_t i, const char *no_box, qn_err *err)
{
    const qn_task *t = &j->t->v[i];
    switch (t->check) {
    case QN_CHECK_REGEX: return make_patterns(j, t, &j->v[i], err);
    case QN_CHECK_SCHEMA: return make_schema(j, t, &j->v[i], err);
    case QN_CHECK_COMMAND: case QN_CHECK_RACE: return look_for_tools(j, t, &j->v[i], no_box, err);
    case QN_CHECK_NONE: case QN_CHECK_EXACT: case QN_CHECK_RUBRIC: break;
    }
    return QN_OK;
}

qn_status qn__judge_open(const qn_tasks *t, const char *suite, qn_judge **out, qn_err *err)
{
    bool box = false;
    qn_err no_box = {0};
    qn_judge *j = qn__calloc(1, sizeof *j);
    if (!j)
        return qn__fail_mem(err, suite);
    j->t = t;
    j->suite = suite;
    j->v = qn__calloc(t->n, sizeof *j->v);
    j->memory = pcre2_general_context_create(pcre_take, pcre_free, NULL);
    j->match = j->memory ? pcre2_match_context_create(j->memory) : NULL;
    qn_status st = j->v && j->match ? QN_OK : qn__fail_mem(err, suite);
    if (!st) {
        (void)pcre2_set_match_limit(j->match, STEPS);
        (void)pcre2_set_heap_limit(j->match, HEAP_KIB);
    }
    for (size_t i = 0; i < t->n; i++)
        box = box || runs(&t->v[i]);
    if (!st && box && (st = qn__sandbox_open(&j->box, &no_box)) == QN_EUNSUPPORTED)
        st = QN_OK; /* said for each item */
    else if (st && box && err)
        *err = no_box;
    for (size_t i = 0; !st && i < t->n; i++)
        st = prepare(j, i, no_box.what, err);
    if (st)
        qn__judge_close(j);
    else
        *out = j;
    return st;
}

void qn__judge_close(qn_judge *j)
{
    if (!j)
        return;
    for (size_t i = 0; j->v && i < j->t->n; i++) {
        for (size_t k = 0; k < j->v[i].n_patterns; k++)
            pcre2_code_free(j->v[i].patterns[k].code);
        qn_free(j->v[i].patterns);
        qn__grammar_drop(j->v[i].schema);
    }
    qn_free(j->v);
    qn__sandbox_close(j->box);
    pcre2_match_context_free(j->match);
    pcre2_general_context_free(j->memory);
    qn_free(j);
}

void qn__judge_watch(qn_judge *j, bool (*keep_on)(void *arg), void *arg)
{
    j->keep_on = keep_on;
    j->arg = arg;
}

const char *qn__judge_skips(const qn_judge *j, size_t i)
{
    return *j->v[i].skip ? j->v[i].skip : NULL;
}

/* ---- answers ---- */

static qn_slice trimmed(qn_slice s)
{
    while (s.n > 0 && strchr(" \t\r\n", *s.p) && *s.p)
        s.p++, s.n--;
    while (s.n > 0 && strchr(" \t\r\n", s.p[s.n - 1]) && s.p[s.n - 1])
        s.n--;
    return s;
}

/* The longest fenced block of an answer; without one the answer as it is. */
static qn_slice code_of(qn_slice a)
{
    qn_slice best = a;
    bool any = false;
    for (size_t i = 0; i + 3 <= a.n;) {
        const char *line = memchr(a.p + i, '\n', a.n - i);
        const size_t next = line ? (size_t)(line - a.p) + 1 : a.n;
        if (memcmp(a.p + i, "```", 3) != 0) {
            i = next;
            continue;
        }
        size_t to = next;
        while (to < a.n && !(to + 3 <= a.n && memcmp(a.p + to, "```", 3) == 0)) {
            line = memchr(a.p + to, '\n', a.n - to);
            to = line ? (size_t)(line - a.p) + 1 : a.n;
        }
        if (!any || to - next > best.n)
            best = (qn_slice){a.p + next, to - next};
        any = true;
        line = to < a.n ? memchr(a.p + to, '\n', a.n - to) : NULL;
        i = line ? (size_t)(line - a.p) + 1 : a.n;
    }
    return best;
}

static bool same(qn_slice a, qn_slice b)
{
    return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

static bool is_exact(const qn_task *t, qn_slice answer)
{
    const qn_slice want = trimmed((qn_slice){t->against, strlen(t->against)});
    qn_slice code = trimmed(code_of(answer));
    if (code.n >= 2 && code.p[0] == '`' && code.p[code.n - 1] == '`')
        code = (qn_slice){code.p + 1, code.n - 2};
    return same(trimmed(answer), want) || same(code, want);
}

static qn_status match(const qn_judge *j, const item *it, qn_slice a, bool *right, qn_err *err)
{
    pcre2_match_data *data = pcre2_match_data_create(1, j->memory);
    if (!data)
        return qn__fail_mem(err, "pattern");
    qn_status st = QN_OK;
    *right = true;
    for (size_t i = 0; i < it->n_patterns && !st && *right; i++) {
        /* Answers are UTF-8 but for the tokens that some models end inside a character of. */
        const int rc = qn__utf8_valid(a.p, a.n) ? pcre2_match(it->patterns[i].code, (PCRE2_SPTR)a.p, a.n, 0, PCRE2_NO_UTF_CHECK, data, j->match)
                                                : PCRE2_ERROR_NOMATCH;
        if (rc >= 0 || rc == PCRE2_ERROR_NOMATCH)
            *right = (rc >= 0) != it->patterns[i].absent;
        else {
            char where[300];
            at_line(j, it->patterns[i].line, where);
            st = rc == PCRE2_ERROR_NOMEMORY ? qn__fail_mem(err, where)
                                            : qn__fail(err, QN_ELIMIT, where, "the pattern takes too much work on an answer; write it simpler");
        }
    }
    pcre2_match_data_free(data);
    return st;
}

/* Written anew without white space first: how it was laid out is nobody's business. */
static qn_status conforms(const item *it, qn_slice answer, bool *json, bool *right, qn_err *err)
{
    const int how = JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
    const qn_slice code = code_of(answer);
    json_t *v = json_loadb(answer.p, answer.n, how, NULL);
    if (!v)
        v = json_loadb(code.p, code.n, how, NULL);
    *json = v != NULL;
    *right = false;
    if (!v)
        return QN_OK;
    char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(v);
    qn_matcher *m = NULL;
    qn_status st = text ? qn__matcher_open(it->schema, &m, err) : qn__fail_mem(err, "answer");
    if (!st)
        *right = qn__matcher_accept_bytes(m, text, strlen(text)) && qn__matcher_may_end(m);
    qn__matcher_close(m);
    free(text);
    return st;
}

/* ---- programs ---- */

static void put_file(qn_buf *b, const char *name, qn_slice text)
{
    char end[48];
    unsigned k = 0;
    do /* a last line that the text does not hold */
        (void)snprintf(end, sizeof end, "QUERN_END_%u_%016llx", k++, (unsigned long long)qn__hash(text.p, text.n));
    while (text.n && memmem(text.p, text.n, end, strlen(end)));
    const char *slash = strrchr(name, '/');
    if (slash)
        qn__buf_printf(b, "mkdir -p '%.*s'\n", (int)(slash - name), name);
    qn__buf_printf(b, "cat >'%s' <<'%s'\n", name, end);
    qn__buf_put(b, text.p, text.n);
    qn__buf_printf(b, "%s%s\n", text.n > 0 && text.p[text.n - 1] == '\n' ? "" : "\n", end);
}

static json_t *tail_of(const qn_buf *b)
{
    const size_t from = b->n > TAIL ? b->n - TAIL : 0;
    qn_buf safe = {0};
    for (size_t i = from; i < b->n; i++)
        qn__buf_putc(&safe, (unsigned char)b->data[i] < 0x80 && b->data[i] ? b->data[i] : '?');
    json_t *v = json_stringn(safe.data ? safe.data : "", safe.n);
    qn__buf_free(&safe);
    return v;
}

static void name_outcome(const qn_task *t, const qn_process_result *p, qn_verdict *v)
{
    const bool race = t->check == QN_CHECK_RACE && ((p->out.data && strstr(p->out.data, "DATA RACE")) || (p->err.data && strstr(p->err.data, "DATA RACE")));
    v->right = p->end == QN_PROCESS_EXITED && p->code == 0;
    v->outcome = v->right ? "right" : race ? "race" : p->end == QN_PROCESS_TIME ? "time"
                 : p->end == QN_PROCESS_OUTPUT || p->end == QN_PROCESS_PROCESSES || p->end == QN_PROCESS_MEMORY ? "limits" : "wrong";
}

static qn_status run(const qn_judge *j, const qn_task *t, qn_slice answer, qn_verdict *v, qn_err *err)
{
    qn_buf files = {0}, command = {0};
    const qn_slice code = code_of(answer);
    v->outcome = "wrong";
    if (memchr(code.p, 0, code.n))
        return QN_OK; /* no program text has a NUL */
    for (size_t i = 0; i < t->n_files; i++)
        put_file(&files, t->files[i].name, t->files[i].text);
    put_file(&files, t->answer, code);
    qn__buf_printf(&command, "sh ./quern-files && rm quern-files || exit 125\n%s", t->run);
    qn_sandbox_limits l = limits_of(t);
    l.keep_on = j->keep_on;
    l.arg = j->arg;
    qn_process_result p = {0};
    qn_status st = files.failed || command.failed ? qn__fail_mem(err, "program")
                                                  : qn__sandbox_run(j->box, &l, "quern-files", files.data, files.n, command.data, &p, err);
    if (!st && p.end == QN_PROCESS_CANCELLED) {
        st = qn__probe_cancelled("compare", err);
        qn__process_result_free(&p);
    }
    if (!st) {
        name_outcome(t, &p, v);
        v->detail = json_pack("{s:i, s:f, s:o, s:o}", "exit", p.end == QN_PROCESS_EXITED ? p.code : -1, "seconds", p.seconds, "stdout",
                              tail_of(&p.out), "stderr", tail_of(&p.err));
        qn__process_result_free(&p);
    }
    qn__buf_free(&files);
    qn__buf_free(&command);
    return st;
}

qn_status qn__judge(const qn_judge *j, size_t i, const char *answer, size_t n, qn_verdict *out, qn_err *err)
{
    const qn_task *t = &j->t->v[i];
    const qn_slice a = {answer, n};
    qn_verdict v = {.outcome = "wrong"};
    bool json = true;
    qn_status st = QN_OK;
    if (t->check == QN_CHECK_RUBRIC)
        v.outcome = "shown";
    else if (trimmed(a).n == 0)
        v.outcome = "empty"; /* silence is never right, whatever the check */
    else if (runs(t))
        st = run(j, t, a, &v, err);
    else {
        if (t->check == QN_CHECK_EXACT)
            v.right = is_exact(t, a);
        else
            st = t->check == QN_CHECK_REGEX ? match(j, &j->v[i], a, &v.right, err) : conforms(&j->v[i], a, &json, &v.right, err);
        v.outcome = v.right ? "right" : json ? "wrong" : "no JSON";
    }
    if (st)
        json_decref(v.detail);
    else
        *out = v;
    return st;
}

/* ---- examples ---- */

/* The program is there and cannot do it: said by the tool itself. */
static const char *unable(const qn_verdict *v)
{
    static const char *const says[] = {"-race requires cgo", "-race is only supported", "-race is not supported", "ThreadSanitizer: unsupported",
                                       "ThreadSanitizer failed to allocate", "C compiler", "race_linux"};
    const char *e = json_string_value(json_object_get(v->detail, "stderr")), *o = json_string_value(json_object_get(v->detail, "stdout"));
    for (size_t i = 0; i < sizeof says / sizeof *says; i++)
        if ((e && strstr(e, says[i])) || (o && strstr(o, says[i])))
            return says[i];
    return NULL;
}

static qn_status example(qn_judge *j, size_t i, const char *answer, size_t k, bool want, qn_err *err)
{
    const qn_task *t = &j->t->v[i];
    qn_verdict v;
    qn_status st = qn__judge(j, i, answer, strlen(answer), &v, err);
    if (st)
        return st;
    const char *why = !v.right && want && t->check == QN_CHECK_RACE ? unable(&v) : NULL;
    if (why)
        (void)snprintf(j->v[i].skip, sizeof j->v[i].skip, "the race detector does not work here (it says: %.80s)", why);
    else if (v.right != want) {
        char where[300];
        const char *said = json_string_value(json_object_get(v.detail, "stderr"));
        said = said && *said ? said : json_string_value(json_object_get(v.detail, "stdout"));
        at_line(j, t->line, where);
        st = qn__fail(err, QN_EFORMAT, where, "its check calls the %s example answer %zu \"%s\"; mend the item before it judges anybody%s%.200s",
                      want ? "good" : "bad", k + 1, v.outcome, said && *said ? ": " : "", said ? said : "");
    }
    json_decref(v.detail);
    return st;
}

qn_status qn__judge_examples(qn_judge *j, size_t i, qn_err *err)
{
    const qn_task *t = &j->t->v[i];
    qn_status st = QN_OK;
    for (size_t k = 0; k < t->n_good && !st && !*j->v[i].skip; k++)
        st = example(j, i, t->good[k], k, true, err);
    for (size_t k = 0; k < t->n_bad && !st && !*j->v[i].skip; k++)
        st = example(j, i, t->bad[k], k, false, err);
    return st;
}
