/* task_edit.c - texts of programs: rename a function everywhere, resolve a merge, find who calls what. See task.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/probe/task.h"

enum { USERS = 8 };

/* ---- rename_symbol ---- */

typedef struct rename {
    const char *old, *new, *like;
    int n;
    const char *path[USERS], *module[USERS], *function[USERS];
    int base[USERS];
} rename_state;

static const char *const olds[] = {"total", "load", "check", "price", "rate", "level"};
static const char *const news[] = {"grand_total", "load_record", "is_valid", "net_price", "daily_rate", "fill_level"};
static const char *const likes[] = {"total_net", "load_all", "checksum", "price_list", "rates", "levels"};
static const char *const user_paths[USERS] = {"app/orders", "app/bills", "app/stock", "jobs/nightly", "jobs/weekly", "web/api", "web/admin", "tools/report"};

static void rename_symbol(qn_task *t)
{
    static const int users[QN_TIERS] = {1, 3, 5, 7};
    rename_state *s = t->state;
    qn_env *e = &t->env;
    e->files = qn__env_struct(e, sizeof *e->files);
    if (!e->files)
        return;
    const size_t which = qn__env_below(e, sizeof olds / sizeof *olds);
    const int k = 2 + (int)qn__env_below(e, 50), form = (int)qn__env_below(e, 2);
    int order[USERS];
    *s = (rename_state){.old = olds[which], .new = news[which], .like = likes[which], .n = users[t->tier]};
    qn__env_shuffle(e, order, USERS);
    (void)qn__tree_put(e, e->files, "core/base.py",
                       qn__env_printf(e, "def %s(x):\n    return x * %d + 1\n\n\ndef %s(x):\n    return x - %d\n", s->old, k, s->like, k));
    for (int i = 0; i < s->n; i++) {
        const char *base = strchr(user_paths[order[i]], '/') + 1;
        const int add = 1 + (int)qn__env_below(e, 90);
        s->path[i] = qn__env_printf(e, "%s.py", user_paths[order[i]]);
        s->module[i] = qn__replaced(e, user_paths[order[i]], "/", ".");
        s->function[i] = qn__env_printf(e, "%s_value", base);
        s->base[i] = add;
        const char *text = (i + form) % 2
            ? qn__env_printf(e, "from core.base import %s, %s\n\n\ndef %s(x):\n    label = \"%s\"\n    return [label, %s(x) + %s(%d)]\n", s->old, s->like,
                             s->function[i], s->old, s->old, s->like, add)
            : qn__env_printf(e, "import core.base as base\n\n\ndef %s(x):\n    label = \"%s\"\n    return [label, base.%s(x) + base.%s(%d)]\n",
                             s->function[i], s->old, s->old, s->like, add);
        (void)qn__tree_put(e, e->files, s->path[i], text);
        (void)qn__tree_put(e, e->files, qn__env_printf(e, "tests/test_%s.py", base),
                           qn__env_printf(e, "from %s import %s\n\n\ndef test_%s():\n    assert %s(2) == [\"%s\", %d]\n", s->module[i], s->function[i],
                                          s->function[i], s->function[i], s->old, 2 * k + 1 + add - k));
        s->base[i] = 5 * k + 1 + add - k;
    }
    qn__buf_printf(&t->user, "Rename the function %s of core/base.py to %s in the whole project: its definition, imports and calls. Other names, such "
                             "as %s, and texts in quotation marks stay as they are. The old name must be gone.", s->old, s->new, s->like);
}

static bool grade_rename(qn_task *t, qn_buf *why)
{
    const rename_state *s = t->state;
    qn_env *e = &t->env;
    const char *test = qn__env_printf(e, "import core.base as b\n\n\ndef test_new():\n    assert b.%s(1) > b.%s(1)\n\n\ndef test_old():\n    gone = False\n"
                                         "    try:\n        b.%s(1)\n    except AttributeError:\n        gone = True\n    assert gone\n", s->new, s->like, s->old);
    for (int i = 0; i < s->n; i++)
        test = qn__env_printf(e, "%s\n\ndef test_user_%d():\n    import %s as m\n    assert m.%s(5) == [\"%s\", %d]\n", test, i, s->module[i], s->function[i],
                              s->old, s->base[i]);
    const char *const hidden[1][2] = {{"test_hidden.py", test}};
    if (!qn__tree_passes(e, e->files, hidden, 1)) {
        qn__buf_puts(why, "the project does not work under the new name");
        return false;
    }
    return true;
}
const qn_task_family qn__family_rename_symbol = {"rename_symbol", QN_PROFILE_CODING, sizeof(rename_state), rename_symbol, grade_rename};

/* ---- resolve_conflict ---- */

enum { SETTINGS = 8 };
typedef struct conflict {
    int n;
    const char *name[SETTINGS];
    int value[SETTINGS];
} conflict;

static void resolve_conflict(qn_task *t)
{
    static const int conflicts[QN_TIERS] = {1, 2, 4, 6};
    static const char *const names[] = {"TIMEOUT", "RETRIES", "PAGE_SIZE", "MAX_USERS", "CACHE_HOURS", "PORT", "WORKERS", "LIMIT"};
    static const char *const rules[] = {"%s: take what stands first (ours).", "%s: take what stands second (theirs).", "%s: take the larger of the two.",
                                        "%s: take the smaller of the two.", "%s: take the sum of the two."};
    conflict *c = t->state;
    qn_env *e = &t->env;
    e->files = qn__env_struct(e, sizeof *e->files);
    if (!e->files)
        return;
    int order[SETTINGS];
    const char *text = "", *notes = "How to merge settings.py:\n";
    qn__env_shuffle(e, order, SETTINGS);
    c->n = SETTINGS;
    for (int i = 0; i < SETTINGS; i++) {
        const int ours = 1 + (int)qn__env_below(e, 500), theirs = ours + 1 + (int)qn__env_below(e, 99) - (int)qn__env_below(e, 2) * 101;
        const size_t rule = qn__env_below(e, 5);
        c->name[i] = names[order[i]];
        if (i >= conflicts[t->tier]) {
            c->value[i] = ours;
            text = qn__env_printf(e, "%s%s = %d\n", text, c->name[i], ours);
            continue;
        }
        c->value[i] = rule == 0 ? ours : rule == 1 ? theirs : rule == 2 ? (ours > theirs ? ours : theirs) : rule == 3 ? (ours < theirs ? ours : theirs) : ours + theirs;
        text = qn__env_printf(e, "%s<<<<<<< ours\n%s = %d\n=======\n%s = %d\n>>>>>>> theirs\n", text, c->name[i], ours, c->name[i], theirs);
        notes = qn__env_printf(e, "%s- ", notes);
        notes = qn__replaced(e, qn__env_printf(e, "%s%s\n", notes, rules[rule]), "%s", c->name[i]);
    }
    (void)qn__tree_put(e, e->files, "settings.py", text);
    if (t->tier >= QN_MEDIUM)
        (void)qn__tree_put(e, e->files, "MERGE.md", notes);
    (void)qn__tree_put(e, e->files, "tests/test_settings.py", "import settings\n\n\ndef test_settings():\n    assert settings.TIMEOUT is not None\n");
    if (t->tier == QN_EASY)
        qn__buf_printf(&t->user, "settings.py was left with an unresolved merge. Resolve it. %s", notes);
    else
        qn__buf_puts(&t->user, "settings.py was left with unresolved merges. Resolve them as MERGE.md says.");
}

static bool grade_conflict(qn_task *t, qn_buf *why)
{
    const conflict *c = t->state;
    qn_env *e = &t->env;
    const char *test = "import settings\n\n\ndef test_all():\n";
    for (int i = 0; i < c->n; i++)
        test = qn__env_printf(e, "%s    assert settings.%s == %d\n", test, c->name[i], c->value[i]);
    const char *const hidden[1][2] = {{"test_hidden.py", test}};
    if (!qn__tree_passes(e, e->files, hidden, 1)) {
        qn__buf_puts(why, "settings.py does not hold the values that the merge should give");
        return false;
    }
    return true;
}
const qn_task_family qn__family_resolve_conflict = {"resolve_conflict", QN_PROFILE_CODING, sizeof(conflict), resolve_conflict, grade_conflict};

/* ---- find_callers ---- */

enum { FUNCTIONS = 16 };
typedef struct callers {
    int n;
    const char *name[FUNCTIONS];
    bool calls[FUNCTIONS]; /* belongs to the answer */
} callers;

static const char *const verbs[FUNCTIONS] = {"open_account", "close_account", "send_letter", "print_label", "count_stock", "order_parts", "ship_box",
                                             "refund_order", "merge_users", "archive_logs", "rotate_keys", "plan_route", "weigh_item", "sort_mail",
                                             "audit_books", "renew_pass"};
static const char *const targets[] = {"validate", "normalize", "fetch_rate", "write_log", "lock_row"};

/* Function i calls the target, an earlier function, a name that only looks like the target, or says its name in a string. */
static void find_callers(qn_task *t)
{
    static const int counts[QN_TIERS] = {4, 8, 12, 16}, files[QN_TIERS] = {1, 2, 4, 6};
    callers *c = t->state;
    qn_env *e = &t->env;
    e->files = qn__env_struct(e, sizeof *e->files);
    e->answers = true;
    if (!e->files)
        return;
    const bool indirect = t->tier >= QN_HARD;
    const char *target = targets[qn__env_below(e, sizeof targets / sizeof *targets)], *text[8] = {"", "", "", "", "", "", "", ""};
    int order[FUNCTIONS], place[FUNCTIONS], form[FUNCTIONS];
    c->n = counts[t->tier];
    qn__env_shuffle(e, order, FUNCTIONS);
    for (int i = 0; i < c->n; i++) {
        c->name[i] = verbs[order[i]];
        place[i] = i % files[t->tier];
        form[i] = i == 0 ? 0 : i == 1 ? 3 : (int)qn__env_below(e, indirect ? 5 : 4);
        const int other = i ? (int)qn__env_below(e, (size_t)i) : 0;
        c->calls[i] = form[i] == 0 || form[i] == 1 || (form[i] == 4 && c->calls[other]);
        const char *body = form[i] == 0   ? qn__env_printf(e, "    return %s(x) + %d", target, i)
                           : form[i] == 1 ? qn__env_printf(e, "    if x > %d:\n        return %s(x - 1)\n    return 0", i, target)
                           : form[i] == 2 ? qn__env_printf(e, "    note = \"%s(x) is called elsewhere\"\n    return len(note) + x", target)
                           : form[i] == 3 ? qn__env_printf(e, "    return %s_all(x)", target)
                                          : qn__env_printf(e, "    return %s(x) * 2", c->name[other]);
        const char *import = form[i] <= 1   ? qn__env_printf(e, "    from lib.base import %s\n", target)
                             : form[i] == 3 ? qn__env_printf(e, "    from lib.base import %s_all\n", target)
                             : form[i] == 4 && place[other] != place[i] ? qn__env_printf(e, "    from part%d import %s\n", place[other] + 1, c->name[other]) : "";
        text[place[i]] = qn__env_printf(e, "%s%sdef %s(x):\n%s%s\n", text[place[i]], *text[place[i]] ? "\n\n" : "", c->name[i], import, body);
    }
    for (int i = 0; i < files[t->tier]; i++)
        (void)qn__tree_put(e, e->files, qn__env_printf(e, "part%d.py", i + 1), text[i]);
    (void)qn__tree_put(e, e->files, "lib/base.py", qn__env_printf(e, "def %s(x):\n    return x + 1\n\n\ndef %s_all(x):\n    return x + 2\n", target, target));
    qn__task_forbid(t, "write ", "Change no file.");
    qn__buf_printf(&t->user, "Which functions of this project call %s of lib/base.py%s? Hand in their names with submit_answer, separated by commas, "
                             "and nothing else.", target, indirect ? ", directly or through other functions" : "");
}

/* Names of a list that people write: split at commas, blanks and line ends. */
static bool listed(const char *answer, const char *name, int *n)
{
    bool found = false;
    *n = 0;
    for (const char *p = answer; *p;) {
        const size_t k = strcspn(p, ", \n\t`'\"[]().");
        if (k) {
            (*n)++;
            found |= strlen(name) == k && memcmp(p, name, k) == 0;
        }
        p += k + (p[k] != 0);
    }
    return found;
}

static bool grade_callers(qn_task *t, qn_buf *why)
{
    const callers *c = t->state;
    int given = 0, right = 0;
    for (int i = 0; t->env.answer && i < c->n; i++) {
        const bool in = listed(t->env.answer, c->name[i], &given);
        right += c->calls[i];
        if (in != c->calls[i]) {
            qn__buf_printf(why, "%s is %s", c->name[i], in ? "no caller" : "missing");
            return false;
        }
    }
    if (!t->env.answer || given != right) {
        qn__buf_puts(why, t->env.answer ? "the answer holds more than the names" : "no answer was handed in");
        return false;
    }
    return true;
}
const qn_task_family qn__family_find_callers = {"find_callers", QN_PROFILE_CODING, sizeof(callers), find_callers, grade_callers};
