/* task_history.c - work with a history: which commit broke it, what was taken away, from a ticket to a commit. See task.h. */
#include <stdio.h>
#include <string.h>

#include "services/probe/task.h"

/* A commit that has nothing to do with the task. */
static void noise(qn_task *t, int k)
{
    static const char *const files[] = {"docs/intro.md", "docs/setup.md", "CHANGES.md", "assets/colors.txt", "docs/faq.md"};
    static const char *const messages[] = {"Improve wording", "Describe the setup", "Note changes", "Adjust colours", "Answer a question"};
    qn_env *e = &t->env;
    const size_t i = qn__env_below(e, 5);
    const char *old = qn__tree_get(e->files, files[i]);
    (void)qn__tree_put(e, e->files, files[i], qn__env_printf(e, "%sLine %d of %u.\n", old ? old : "", k, (unsigned)qn__env_below(e, 100000)));
    (void)qn__commit(e, messages[i]);
}

static bool begin(qn_task *t)
{
    t->env.files = qn__env_struct(&t->env, sizeof *t->env.files);
    t->env.history = qn__env_struct(&t->env, sizeof *t->env.history);
    return t->env.files && t->env.history;
}

/* ---- find_commit: a change that broke a function, with good ones before and after it in the same file ---- */

typedef struct culprit {
    qn_unit u[QN_UNITS];
    int n;
    const char *id, *wrong;
} culprit;

static void find_commit(qn_task *t)
{
    static const int units[QN_TIERS] = {2, 3, 5, 6}, idle[QN_TIERS] = {1, 3, 6, 9};
    static const char *const excuses[] = {"Simplify", "Clean up", "Speed up", "Small refactoring of"};
    culprit *c = t->state;
    qn_env *e = &t->env;
    const char *code[QN_UNITS] = {0};
    bool there[QN_UNITS] = {0};
    if (!begin(t))
        return;
    c->n = units[t->tier];
    qn__units_make(t, c->u, c->n, 1); /* one module, which grows */
    for (int i = 0, left = idle[t->tier]; i < c->n; i++) {
        there[i] = true;
        qn_unit so_far[QN_UNITS];
        const char *texts[QN_UNITS];
        memcpy(so_far, c->u, sizeof so_far);
        memcpy(texts, code, sizeof texts);
        qn__units_write(t, so_far, i + 1, texts, there);
        (void)qn__commit(e, qn__env_printf(e, "Add %s", c->u[i].bank->name));
        if (i == (c->n - 1) / 2) {
            const int broken = (int)qn__env_below(e, (size_t)i + 1);
            c->wrong = c->u[broken].bank->name;
            code[broken] = qn__unit_bugged(t, &c->u[broken]);
            qn__units_write(t, c->u, i + 1, code, there);
            c->id = qn__commit(e, qn__env_printf(e, "%s %s", excuses[qn__env_below(e, 4)], c->u[broken].bank->name));
        }
        for (int k = 0; left > 0 && k < 2; k++, left--)
            noise(t, left);
        if (i > 0 && t->tier >= QN_MEDIUM && !code[i]) { /* looks like the culprit, and harms nobody */
            code[i] = qn__env_printf(e, "%s    # reviewed\n", c->u[i].code);
            qn__units_write(t, c->u, i + 1, code, there);
            (void)qn__commit(e, qn__env_printf(e, "%s %s", excuses[qn__env_below(e, 4)], c->u[i].bank->name));
        }
    }
    e->answers = true;
    if (t->tier == QN_EASY)
        qn__buf_printf(&t->user, "The tests of %s in %s fail. ", c->wrong, c->u[0].path);
    qn__buf_puts(&t->user, "Tests of this project fail, which they did not do some commits ago. Find the commit that broke them. Repair what it broke, "
                           "without losing what was done since then, and hand in the commit's id with submit_answer.");
}

static bool grade_culprit(qn_task *t, qn_buf *why)
{
    const culprit *c = t->state;
    if (!t->env.answer || !strstr(t->env.answer, c->id)) {
        qn__buf_puts(why, t->env.answer ? "it was another commit" : "no answer was handed in");
        return false;
    }
    for (size_t i = 0; i < t->env.history->n; i++) /* all ids together are no answer */
        if (strcmp(t->env.history->c[i].id, c->id) != 0 && strstr(t->env.answer, t->env.history->c[i].id)) {
            qn__buf_puts(why, "the answer names several commits");
            return false;
        }
    return qn__units_right(t, c->u, c->n, why);
}
const qn_task_family qn__family_find_commit = {"find_commit", QN_PROFILE_CODING, sizeof(culprit), find_commit, grade_culprit};

/* ---- restore_code: something was taken away that is still needed, and only the history knows what it said ---- */

typedef struct lost {
    qn_unit kept;
    const char *path, *module, *name, *hidden;
} lost;

static void restore_code(qn_task *t)
{
    static const int before[QN_TIERS] = {1, 2, 4, 6}, after[QN_TIERS] = {1, 2, 5, 8};
    static const char *const names[] = {"zone_fee", "grade_bonus", "box_weight", "seat_price", "tariff"};
    static const char *const keys[] = {"north", "south", "east", "west", "center"};
    lost *l = t->state;
    qn_env *e = &t->env;
    if (!begin(t))
        return;
    qn__units_make(t, &l->kept, 1, 1);
    l->path = l->kept.path;
    l->module = l->kept.module;
    l->name = names[qn__env_below(e, 5)];
    const char *table = "", *tests = "";
    for (int i = 0; i < 5; i++) {
        const int v = 3 + (int)qn__env_below(e, 900);
        table = qn__env_printf(e, "%s%s'%s': %d", table, i ? ", " : "", keys[i], v);
        tests = qn__env_printf(e, "%s\n\ndef test_%s_%s():\n    assert %s('%s') == %d\n", tests, l->name, keys[i], l->name, keys[i], v + 1);
    }
    const char *code = qn__env_printf(e, "def %s(place):\n    \"\"\"Return what the table says for a place, and 1 more.\"\"\"\n    table = {%s}\n    return table[place] + 1\n",
                                      l->name, table);
    l->hidden = qn__env_printf(e, "from %s import %s\n%s", l->module, l->name, tests);
    for (int i = 0; i < before[t->tier]; i++)
        noise(t, i);
    (void)qn__tree_put(e, e->files, l->path, qn__env_printf(e, "%s\n\n%s", code, l->kept.code));
    (void)qn__commit(e, "Add fees");
    noise(t, 90);
    const char *broken = qn__unit_bugged(t, &l->kept);
    (void)qn__tree_put(e, e->files, l->path, broken);
    (void)qn__commit(e, "Remove unused code");
    for (int i = 0; i < after[t->tier]; i++)
        noise(t, 100 + i);
    (void)qn__tree_put(e, e->files, l->path, l->kept.code); /* a later repair, which must stay */
    (void)qn__tree_put(e, e->files, l->kept.test_path, qn__env_printf(e, "from %s import %s\n%s", l->module, l->kept.bank->name, l->kept.visible));
    (void)qn__commit(e, qn__env_printf(e, "Repair %s", l->kept.bank->name));
    (void)qn__tree_put(e, e->files, "app/main.py", qn__env_printf(e, "from %s import %s\n\n\ndef cost(place):\n    return %s(place) * 2\n", l->module, l->name, l->name));
    (void)qn__tree_put(e, e->files, "tests/test_main.py", qn__env_printf(e, "from app.main import cost\n\n\ndef test_cost():\n    assert cost('%s') > 0\n", keys[0]));
    (void)qn__commit(e, "Add costs");
    qn__buf_printf(&t->user, "app/main.py needs the function %s, which was once in %s and was removed as unused. Bring it back there exactly as it was. "
                             "What was changed since then must stay.", l->name, l->path);
}

static bool grade_lost(qn_task *t, qn_buf *why)
{
    const lost *l = t->state;
    const char *const hidden[1][2] = {{"test_hidden.py", l->hidden}};
    if (!qn__units_right(t, &l->kept, 1, why))
        return false;
    if (!qn__tree_passes(&t->env, t->env.files, hidden, 1)) {
        qn__buf_printf(why, "%s is not what it was", l->name);
        return false;
    }
    return true;
}
const qn_task_family qn__family_restore_code = {"restore_code", QN_PROFILE_CODING, sizeof(lost), restore_code, grade_lost};

/* ---- ticket_fix: from a report to a commit and a closed ticket ---- */

typedef struct report {
    qn_unit u[QN_UNITS];
    int n, id;
    size_t commits;
} report;

static void ticket_fix(qn_task *t)
{
    static const int units[QN_TIERS] = {2, 5, 8, 12}, files[QN_TIERS] = {1, 2, 4, 6}, tickets[QN_TIERS] = {2, 4, 8, 12};
    static const char *const others[] = {"Colours of the menu", "Typo on the start page", "Slow on Mondays", "Wish: dark mode", "Printing is cut off"};
    report *r = t->state;
    qn_env *e = &t->env;
    const char *code[QN_UNITS] = {0};
    bool tested[QN_UNITS];
    e->tickets = qn__env_struct(e, sizeof *e->tickets);
    if (!begin(t) || !e->tickets)
        return;
    r->n = units[t->tier];
    qn__units_make(t, r->u, r->n, files[t->tier]);
    const size_t wrong = qn__env_below(e, (size_t)r->n);
    const qn_unit *u = &r->u[wrong];
    for (int i = 0; i < r->n; i++)
        tested[i] = (size_t)i != wrong;
    qn__units_write(t, r->u, r->n, code, tested);
    (void)qn__commit(e, "First version");
    noise(t, 1);
    code[wrong] = qn__unit_bugged(t, u);
    qn__units_write(t, r->u, r->n, code, tested);
    (void)qn__commit(e, "Clean up");
    r->commits = e->history->n;
    const size_t at = qn__env_below(e, (size_t)tickets[t->tier]);
    for (size_t i = 0; i < (size_t)tickets[t->tier]; i++) {
        __typeof__(e->tickets->t[0]) *k = &e->tickets->t[e->tickets->n++];
        k->id = 100 + (int)(7 * i) + (int)qn__env_below(e, 6);
        k->title = i == at ? "Wrong results" : others[qn__env_below(e, 5)];
        k->body = i == at ? qn__env_printf(e, "Results of %s%s%s are wrong since the clean-up. It should do what its docstring says, and does not.", u->bank->name,
                                            t->tier == QN_EASY ? " in " : "", t->tier == QN_EASY ? u->path : "")
                          : "Seen by a customer.";
        k->label = i == at ? "bug" : "wish";
        k->status = "open";
        k->assignee = "";
        if (i == at)
            r->id = k->id;
    }
    qn__task_forbid(t, "revert ", "Do not revert commits: repair the code.");
    for (size_t i = 0; i < e->tickets->n && t->tier < QN_HARD; i++)
        if (e->tickets->t[i].id != r->id)
            qn__task_forbid(t, qn__env_printf(e, "close #%d", e->tickets->t[i].id), i + 1 == e->tickets->n || (i + 2 == e->tickets->n && e->tickets->t[i + 1].id == r->id) ? "Close no other ticket." : NULL);
    qn__buf_printf(&t->user, "Work on ticket #%d: find the cause, repair it, commit, write the id of your commit as a comment under the ticket, and close it.", r->id);
}

static bool grade_report(qn_task *t, qn_buf *why)
{
    const report *r = t->state;
    const qn_env *e = &t->env;
    const qn_history *h = e->history;
    if (!qn__units_right(t, r->u, r->n, why))
        return false;
    const char *problem = NULL;
    if (h->n == r->commits)
        problem = "nothing was committed";
    const qn_tree *last = &h->c[h->n - 1].tree;
    for (size_t i = 0; i < e->files->n && !problem; i++) {
        const char *text = qn__tree_get(last, e->files->f[i].path);
        if (strncmp(e->files->f[i].path, "tests/", 6) != 0 && (!text || strcmp(text, e->files->f[i].text) != 0))
            problem = "not all changes were committed";
    }
    for (size_t i = 0; i < e->tickets->n && !problem; i++) {
        const bool mine = e->tickets->t[i].id == r->id, closed = strcmp(e->tickets->t[i].status, "closed") == 0;
        if (mine != closed)
            problem = mine ? "the ticket is not closed" : "another ticket was closed";
        bool named = !mine;
        for (size_t k = 0; k < e->tickets->t[i].n_comments; k++)
            for (size_t c = r->commits; c < h->n; c++)
                named |= strstr(e->tickets->t[i].comments[k], h->c[c].id) != NULL;
        if (!named && !problem)
            problem = "no comment names the commit";
    }
    qn__buf_puts(why, problem ? problem : "");
    return !problem;
}
const qn_task_family qn__family_ticket_fix = {"ticket_fix", QN_PROFILE_CODING, sizeof(report), ticket_fix, grade_report};
