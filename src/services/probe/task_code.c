/* task_code.c - programming: a test fails, a function is missing, a failure has its cause somewhere else. See task.h. */
#include <stdio.h>
#include <string.h>

#include "services/probe/py.h"
#include "services/probe/task.h"

/* ---- fix_bug: functions that do not do what they say ---- */

typedef struct project {
    qn_unit u[QN_UNITS];
    int n;
} project;

static void fix_bug(qn_task *t)
{
    static const int bugs[QN_TIERS] = {1, 1, 2, 3}, units[QN_TIERS] = {2, 4, 8, 12}, files[QN_TIERS] = {1, 2, 4, 6};
    project *p = t->state;
    const char *code[QN_UNITS] = {0};
    int order[QN_UNITS];
    p->n = units[t->tier];
    qn__units_make(t, p->u, p->n, files[t->tier]);
    qn__env_shuffle(&t->env, order, p->n);
    for (int i = 0; i < bugs[t->tier]; i++)
        code[order[i]] = qn__unit_bugged(t, &p->u[order[i]]);
    qn__units_write(t, p->u, p->n, code, NULL);
    qn__buf_puts(&t->user, "Tests of this project fail. Repair the functions that are wrong, so that each does what its docstring says.");
}

static bool grade_project(qn_task *t, qn_buf *why)
{
    const project *p = t->state;
    return qn__units_right(t, p->u, p->n, why);
}
const qn_task_family qn__family_fix_bug = {"fix_bug", QN_PROFILE_CODING, sizeof(project), fix_bug, grade_project};

/* ---- write_function: only its name and what it is for are there ---- */

static void write_function(qn_task *t)
{
    static const int missing[QN_TIERS] = {1, 1, 2, 3}, units[QN_TIERS] = {2, 4, 8, 12}, files[QN_TIERS] = {1, 2, 4, 6};
    project *p = t->state;
    const char *code[QN_UNITS] = {0};
    bool tested[QN_UNITS];
    int order[QN_UNITS];
    p->n = units[t->tier];
    qn__units_make(t, p->u, p->n, files[t->tier]);
    if (t->env.failed) /* texts may be empty */
        return;
    qn__env_shuffle(&t->env, order, p->n);
    for (int i = 0; i < p->n; i++)
        tested[i] = true;
    for (int i = 0; i < missing[t->tier]; i++) {
        const qn_unit *u = &p->u[order[i]];
        code[order[i]] = qn__env_printf(&t->env, "def %s(%s):\n    \"\"\"%.*s\"\"\"\n    raise NotImplementedError\n", u->bank->name, u->bank->params,
                                        (int)(strstr(strstr(u->code, "\"\"\"") + 3, "\"\"\"") - strstr(u->code, "\"\"\"") - 3),
                                        strstr(u->code, "\"\"\"") + 3);
        tested[order[i]] = false;
    }
    qn__units_write(t, p->u, p->n, code, tested);
    if (t->tier == QN_EASY)
        qn__buf_printf(&t->user, "In %s a function raises NotImplementedError. Write it, so that it does what its docstring says. There is no "
                                 "test for it yet; it will be tested afterwards.", p->u[order[0]].path);
    else
        qn__buf_puts(&t->user, "Some functions of this project raise NotImplementedError. Write all of them, so that each does what its docstring "
                               "says. There are no tests for them yet; they will be tested afterwards.");
}
const qn_task_family qn__family_write_function = {"write_function", QN_PROFILE_CODING, sizeof(project), write_function, grade_project};

/* ---- trace_failure: the test that fails is far from the cause ---- */

enum { CHAIN = 6 };
typedef struct chain {
    qn_unit bottom;
    int n;                    /* steps above the bottom */
    const char *path[CHAIN], *hidden[CHAIN];
} chain;

/* Step i of the chain calls what is below it and adds, takes away or multiplies. */
static const char *step_code(qn_task *t, const char *from, const char *below, const char *name, int op, int k, int shown)
{
    static const char *const words[] = {"plus", "minus", "times"}, *const signs[] = {"+", "-", "*"};
    return qn__env_printf(&t->env, "from %s import %s\n\n\ndef %s(value):\n    \"\"\"Return %s(value) %s %d.\"\"\"\n    return %s(value) %s %d\n", from, below,
                          name, below, words[op], shown, below, signs[op], k);
}

static void trace_failure(qn_task *t)
{
    static const int steps[QN_TIERS] = {1, 2, 4, 6};
    static const char *const names[] = {"gross", "adjusted", "scaled", "booked", "final_amount", "shown_amount"};
    static const char *const places[] = {"steps/gross", "steps/adjust", "steps/scale", "ledger/book", "ledger/final", "view/amount"};
    chain *c = t->state;
    qn_env *e = &t->env;
    qn_unit all[QN_UNITS];
    c->n = steps[t->tier];
    e->files = qn__env_struct(e, sizeof *e->files);
    if (!e->files)
        return;
    do /* the bottom gives a number */
        qn__units_make(t, all, 1, 1);
    while (!all[0].bank->number && !e->failed);
    c->bottom = all[0];
    const int wrong = (int)qn__env_below(e, (size_t)c->n + 1); /* n: the bottom */
    (void)qn__tree_put(e, e->files, c->bottom.path, wrong == c->n ? qn__unit_bugged(t, &c->bottom) : c->bottom.code);
    const char *module = c->bottom.module, *below = c->bottom.bank->name;
    qn_tree right = *e->files;
    (void)qn__tree_put(e, &right, c->bottom.path, c->bottom.code);
    for (int i = 0; i < c->n; i++) {
        const int op = (int)qn__env_below(e, 3), k = 2 + (int)qn__env_below(e, 40);
        c->path[i] = qn__env_printf(e, "%s.py", places[i]);
        (void)qn__tree_put(e, &right, c->path[i], step_code(t, module, below, names[i], op, k, k));
        (void)qn__tree_put(e, e->files, c->path[i], step_code(t, module, below, names[i], i == wrong ? (op + 1) % 3 : op, k, k));
        if (e->failed)
            return;
        if (i == wrong) { /* the docstring stays right */
            const char *text = qn__tree_get(&right, c->path[i]), *is = strstr(text, "    return");
            const char *other = strstr(qn__tree_get(e->files, c->path[i]), "    return");
            (void)qn__tree_put(e, e->files, c->path[i], qn__env_printf(e, "%.*s%s", (int)(is - text), text, other));
        }
        module = qn__replaced(e, places[i], "/", ".");
        below = names[i];
        const char *tests = qn__env_printf(e, "from %s import %s\n", module, below);
        for (int k2 = 0; k2 < 6; k2++) {
            char a[16], b[16];
            (void)snprintf(a, sizeof a, "%d", c->bottom.a);
            (void)snprintf(b, sizeof b, "%d", c->bottom.b);
            const char *call = qn__replaced(e, qn__replaced(e, c->bottom.bank->calls[k2], "$A", a), "$B", b);
            qn_buf out = {0};
            bool ok = false;
            qn_py_file files[QN_FILES];
            for (size_t f = 0; f < right.n; f++)
                files[f] = (qn_py_file){right.f[f].path, right.f[f].text};
            e->failed |= qn__py_run(files, right.n, qn__env_printf(e, "from %s import %s\nprint(%s(%s))\n", module, below, below, call), &out, &ok, NULL) != QN_OK;
            tests = qn__env_printf(e, "%s\n\ndef test_%s_%d():\n    assert %s(%s) == %.*s\n", tests, below, k2 + 1, below, call, (int)(out.n ? out.n - 1 : 0),
                                   out.data ? out.data : "");
            qn__buf_free(&out);
        }
        c->hidden[i] = tests;
    }
    (void)qn__tree_put(e, e->files, qn__env_printf(e, "tests/test_%s.py", below), c->hidden[c->n - 1]);
    qn__buf_printf(&t->user, "The tests of %s fail. The cause may lie in a function that it calls, directly or not. Find it and repair it there, so "
                             "that every function does what its docstring says.", below);
}

static bool grade_chain(qn_task *t, qn_buf *why)
{
    const chain *c = t->state;
    qn_env *e = &t->env;
    if (!qn__units_right(t, &c->bottom, 1, why))
        return false;
    for (int i = 0; i < c->n; i++) {
        const char *const hidden[1][2] = {{"test_hidden.py", c->hidden[i]}};
        qn_tree copy = *e->files;
        for (size_t k = copy.n; k-- > 0;)
            if (strncmp(copy.f[k].path, "tests/", 6) == 0)
                (void)qn__tree_drop(&copy, copy.f[k].path);
        if (!qn__tree_passes(e, &copy, hidden, 1)) {
            qn__buf_printf(why, "%s is wrong", c->path[i]);
            return false;
        }
    }
    return true;
}
const qn_task_family qn__family_trace_failure = {"trace_failure", QN_PROFILE_CODING, sizeof(chain), trace_failure, grade_chain};
