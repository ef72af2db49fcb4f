/* task_ops.c - the work of operators, in many small steps: packages with advisories, new packages, keys to move, sums to put right. See
 * task.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/probe/task.h"

static const char *const names[] = {"acorn", "birch", "cedar", "dogwood", "elder", "fir", "ginkgo", "hazel", "ironwood", "juniper", "kapok", "larch", "maple",
                                    "nutmeg", "oak", "pine"};
enum { NAMES = sizeof names / sizeof *names };

static int release(qn_env *e, int p, int version)
{
    const size_t n = e->packages->p[p].n++;
    e->packages->p[p].r[n].version = version;
    return (int)n;
}

static void need(qn_env *e, int p, int r, const char *name, int from, int below)
{
    const size_t n = e->packages->p[p].r[r].n_needs++;
    e->packages->p[p].r[r].needs[n].name = name;
    e->packages->p[p].r[r].needs[n].from = from;
    e->packages->p[p].r[r].needs[n].below = below;
}

/* ---- upgrade_packages ---- */

typedef struct releases {
    int n, wanted[QN_PACKAGES]; /* what should be installed */
} releases;

static void upgrade_packages(qn_task *t)
{
    static const int total[QN_TIERS] = {4, 6, 9, 12}, bad[QN_TIERS] = {1, 1, 2, 3};
    static const char *const faults[] = {"reads beyond its input", "accepts expired keys", "runs out of memory on small inputs", "writes secrets into logs"};
    releases *s = t->state;
    qn_env *e = &t->env;
    int order[NAMES], which[NAMES];
    e->packages = qn__env_struct(e, sizeof *e->packages);
    if (!e->packages)
        return;
    qn__env_shuffle(e, order, NAMES);
    s->n = total[t->tier];
    qn__env_shuffle(e, which, s->n);
    e->packages->n = (size_t)s->n;
    for (int p = 0; p < s->n; p++) {
        const int major = 1 + (int)qn__env_below(e, 3), n = 6 + (int)qn__env_below(e, 3);
        e->packages->p[p].name = names[order[p]];
        for (int i = 0, minor = 0; i < n; i++) {
            (void)release(e, p, (major + (i == n - 1)) * 1000000 + minor * 1000 + (int)qn__env_below(e, 5));
            minor = i == n - 2 ? 0 : minor + 1 + (int)qn__env_below(e, 3);
        }
        s->wanted[p] = e->packages->p[p].installed = (int)qn__env_below(e, 2);
    }
    for (int p = 0; p < s->n; p++) { /* what is installed fits; another major would not */
        const int other = (p + 1) % s->n, has = e->packages->p[other].installed, major = e->packages->p[other].r[has].version / 1000000;
        need(e, p, e->packages->p[p].installed, names[order[other]], e->packages->p[other].r[has].version, (major + 1) * 1000000);
    }
    for (int k = 0; k < bad[t->tier]; k++) {
        const int p = which[k], has = e->packages->p[p].installed, other = (p + 1) % s->n;
        int fixed = has + 1 + (int)qn__env_below(e, 2);
        for (int i = has; i < fixed; i++)
            e->packages->p[p].r[i].advisory = faults[qn__env_below(e, 4)];
        if (t->tier >= QN_MEDIUM) { /* the first without an advisory needs what is not there; the next one does not */
            need(e, p, fixed, names[order[other]], 9000000, 0);
            fixed++;
        }
        need(e, p, fixed, names[order[other]], e->packages->p[other].r[0].version, 0);
        s->wanted[p] = fixed;
    }
    qn__buf_puts(&t->user, "Some of the installed packages have a security advisory for the release that is installed. For each of them, install the lowest "
                           "later release that has no advisory and fits together with everything else as it is installed. Change no other package.");
    qn__task_forbid(t, "remove ", "Remove no package.");
}

static bool grade_releases(qn_task *t, qn_buf *why)
{
    const releases *s = t->state;
    const qn_packages *p = t->env.packages;
    for (int i = 0; i < s->n; i++)
        if (p->p[i].installed != s->wanted[i]) {
            qn__buf_printf(why, "%s is not at the right release", p->p[i].name);
            return false;
        }
    if (!qn__packages_fit(p, NULL)) {
        qn__buf_puts(why, "the packages do not fit together");
        return false;
    }
    return true;
}
const qn_task_family qn__family_upgrade_packages = {"upgrade_packages", QN_PROFILE_BATCH, sizeof(releases), upgrade_packages, grade_releases};

/* ---- add_package: a chain of new ones, above what is pinned ---- */

typedef struct added {
    int pinned, chain, has[QN_PACKAGES], top; /* top: the release of the first of the chain */
} added;

static void add_package(qn_task *t)
{
    static const int pinned[QN_TIERS] = {2, 3, 4, 5}, chain[QN_TIERS] = {1, 2, 3, 4};
    added *s = t->state;
    qn_env *e = &t->env;
    int order[NAMES], best[8];
    e->packages = qn__env_struct(e, sizeof *e->packages);
    if (!e->packages)
        return;
    qn__env_shuffle(e, order, NAMES);
    *s = (added){.pinned = pinned[t->tier], .chain = chain[t->tier]};
    qn_packages *k = e->packages;
    k->n = (size_t)(s->pinned + s->chain);
    for (int p = 0; p < s->pinned + s->chain; p++) {
        const int major = 1 + (int)qn__env_below(e, 4);
        k->p[p].name = names[order[p]];
        for (int i = 0; i < 4; i++)
            (void)release(e, p, (major + (i > 2)) * 1000000 + i * 1000 + (int)qn__env_below(e, 9));
        k->p[p].installed = s->has[p] = p < s->pinned ? 1 + (int)qn__env_below(e, 2) : -1;
    }
    for (int c = s->chain - 1; c >= 0; c--) { /* from the bottom: the lowest release of each is always possible */
        const int p = s->pinned + c, possible = (int)qn__env_below(e, 3), pin = (int)qn__env_below(e, (size_t)s->pinned);
        best[c] = possible;
        for (int i = 0; i < 4; i++) {
            if (i > possible) /* needs a later release of what is pinned */
                need(e, p, i, k->p[pin].name, k->p[pin].r[s->has[pin] + 1].version, 0);
            else
                need(e, p, i, k->p[pin].name, k->p[pin].r[0].version, k->p[pin].r[3].version);
            if (c + 1 < s->chain)
                need(e, p, i, k->p[p + 1].name, k->p[p + 1].r[0].version, k->p[p + 1].r[1 + qn__env_below(e, 3)].version);
        }
    }
    s->top = best[0];
    qn__buf_printf(&t->user, "Install the package %s, in the newest release that can be installed without changing any package that is installed already, together "
                             "with whatever else it needs. Everything must fit together in the end; install nothing that is not needed.", k->p[s->pinned].name);
    for (int p = 0; p < s->pinned; p++)
        qn__task_forbid(t, qn__env_printf(e, "remove %s", k->p[p].name), p ? NULL : "Never remove or change a package that is installed already.");
}

static bool grade_added(qn_task *t, qn_buf *why)
{
    const added *s = t->state;
    const qn_packages *p = t->env.packages;
    for (int i = 0; i < s->pinned; i++)
        if (p->p[i].installed != s->has[i]) {
            qn__buf_printf(why, "%s was changed", p->p[i].name);
            return false;
        }
    if (p->p[s->pinned].installed != s->top) {
        qn__buf_printf(why, p->p[s->pinned].installed < 0 ? "%s is not installed" : "%s is installed in another release", p->p[s->pinned].name);
        return false;
    }
    if (!qn__packages_fit(p, NULL)) {
        qn__buf_puts(why, "the packages do not fit together");
        return false;
    }
    return true;
}
const qn_task_family qn__family_add_package = {"add_package", QN_PROFILE_BATCH, sizeof(added), add_package, grade_added};

/* ---- migrate_keys ---- */

enum { MOVED = 12, KINDS = 5 };
typedef struct moved {
    int n;
    const char *old[MOVED], *new[MOVED], *value[MOVED];
    size_t others;
} moved;

static size_t put_key(qn_env *e, const char *key, const char *value)
{
    __typeof__(e->store->k[0]) *k = &e->store->k[e->store->n];
    k->key = key;
    k->value = value;
    k->version = 1 + (int)qn__env_below(e, 5);
    return e->store->n++;
}

static void migrate_keys(qn_task *t)
{
    static const int counts[QN_TIERS] = {2, 4, 8, 12};
    static const char *const words[] = {"retry", "session", "upload", "index", "mail", "cache", "login", "export", "search", "report", "sync", "print"};
    static const char *const rules[KINDS] = {"The old values are milliseconds, the new ones seconds (1500 becomes 1.5, 2000 becomes 2).",
                                             "The old values are cents, the new ones euros with two digits (1250 becomes 12.50).",
                                             "The old values are yes or no, the new ones true or false.", "The values stay, but in capitals.",
                                             "The old values are percent (without a sign), the new ones what is left to 100 (30 becomes 70)."};
    moved *m = t->state;
    qn_env *e = &t->env;
    int order[MOVED];
    e->store = qn__env_struct(e, sizeof *e->store);
    if (!e->store)
        return;
    const int kind = (int)qn__env_below(e, KINDS), part = 1 + (int)qn__env_below(e, 8);
    m->n = counts[t->tier];
    qn__env_shuffle(e, order, MOVED);
    for (int i = 0; i < m->n; i++) {
        const int v = (int)qn__env_below(e, 90);
        m->old[i] = qn__env_printf(e, "conf/v%d/%s", part, words[order[i]]);
        m->new[i] = qn__env_printf(e, "conf/v%d/%s", part + 1, words[order[i]]);
        const char *old = kind == 0   ? qn__env_printf(e, "%d", 500 * (v + 1))
                          : kind == 1 ? qn__env_printf(e, "%d", 137 * (v + 1))
                          : kind == 2 ? (v % 2 ? "yes" : "no")
                          : kind == 3 ? words[v % 12]
                                      : qn__env_printf(e, "%d", v + 1);
        char capitals[20] = "";
        for (size_t c = 0; kind == 3 && old[c] && c < sizeof capitals - 1; c++)
            capitals[c] = (char)(old[c] - 32), capitals[c + 1] = 0;
        m->value[i] = kind == 0   ? qn__env_printf(e, (v + 1) % 2 ? "%d.5" : "%d", (v + 1) / 2)
                      : kind == 1 ? qn__env_printf(e, "%d.%02d", 137 * (v + 1) / 100, 137 * (v + 1) % 100)
                      : kind == 2 ? (v % 2 ? "true" : "false")
                      : kind == 3 ? qn__env_text(e, capitals, strlen(capitals))
                                  : qn__env_printf(e, "%d", 99 - v);
        const size_t at = put_key(e, m->old[i], old);
        if (e->stale && v % 3 == 0)
            e->store->k[at].before = kind == 2 ? (v % 2 ? "no" : "yes") : kind == 3 ? "older" : qn__env_printf(e, "%d", 500 * (v + 7)), e->store->k[at].version++;
    }
    m->others = e->store->n;
    for (int i = 0; i < 3 + t->tier; i++)
        (void)put_key(e, qn__env_printf(e, i % 2 ? "conf/v%d0/%s" : "app/%d/%s", part, words[order[i % MOVED]]), qn__env_printf(e, "%d", i));
    qn__buf_printf(&t->user, "Move every key that begins with conf/v%d/ to conf/v%d/ (the rest of the name stays) and delete the old keys. %s", part, part + 1, rules[kind]);
    if (t->tier == QN_EASY)
        qn__buf_printf(&t->user, " They are %s and %s.", m->old[0], m->old[1]);
    qn__task_forbid(t, "remove-key app/", "Do not touch other keys.");
    qn__task_forbid(t, "set app/", NULL);
    qn__task_forbid(t, qn__env_printf(e, "remove-key conf/v%d0/", part), NULL);
    qn__task_forbid(t, qn__env_printf(e, "set conf/v%d0/", part), NULL);
}

static const char *value_of(const qn_store *s, const char *key)
{
    for (size_t i = 0; i < s->n; i++)
        if (!s->k[i].gone && strcmp(s->k[i].key, key) == 0)
            return s->k[i].value;
    return NULL;
}

static bool grade_moved(qn_task *t, qn_buf *why)
{
    const moved *m = t->state;
    const qn_store *s = t->env.store;
    size_t there = 0;
    for (int i = 0; i < m->n; i++) {
        const char *v = value_of(s, m->new[i]);
        if (!v || strcmp(v, m->value[i]) != 0) {
            qn__buf_printf(why, v ? "%s has the wrong value" : "%s is missing", m->new[i]);
            return false;
        }
        if (value_of(s, m->old[i])) {
            qn__buf_printf(why, "%s is still there", m->old[i]);
            return false;
        }
    }
    for (size_t i = 0; i < s->n; i++)
        there += !s->k[i].gone;
    if (there != (size_t)m->n + 3 + (size_t)t->tier) {
        qn__buf_puts(why, "other keys came or went");
        return false;
    }
    return true;
}
const qn_task_family qn__family_migrate_keys = {"migrate_keys", QN_PROFILE_BATCH, sizeof(moved), migrate_keys, grade_moved};

/* ---- reconcile: totals that are not the sum of their entries ---- */

enum { ACCOUNTS = 4 };
typedef struct sums {
    int n;
    const char *key[ACCOUNTS];
    int sum[ACCOUNTS];
    bool wrong[ACCOUNTS];
    int version[ACCOUNTS];
    size_t total[ACCOUNTS];
} sums;

static void reconcile(qn_task *t)
{
    static const int accounts[QN_TIERS] = {1, 2, 3, 4}, entries[QN_TIERS] = {3, 3, 4, 4}, wrong[QN_TIERS] = {1, 1, 2, 2};
    static const char *const owners[] = {"kitchen", "garden", "office", "travel", "school", "repairs", "energy", "music"};
    static const char *const kinds[3][2] = {{"the sum of its entries", "sum"}, {"the largest of its entries", "largest"}, {"the number of its entries", "number"}};
    sums *s = t->state;
    qn_env *e = &t->env;
    int order[8], which[ACCOUNTS];
    e->store = qn__env_struct(e, sizeof *e->store);
    if (!e->store)
        return;
    const size_t kind = qn__env_below(e, 3);
    s->n = accounts[t->tier];
    qn__env_shuffle(e, order, 8);
    qn__env_shuffle(e, which, s->n);
    for (int a = 0; a < s->n; a++) {
        int sum = 0, most = 0;
        const int n = entries[t->tier] - (int)qn__env_below(e, 2);
        for (int i = 0; i < n; i++) {
            const int v = 5 + (int)qn__env_below(e, 400);
            const size_t at = put_key(e, qn__env_printf(e, "entry/%s/%d", owners[order[a]], i + 1), qn__env_printf(e, "%d", v));
            if (e->stale && i % 2 == 0)
                e->store->k[at].before = qn__env_printf(e, "%d", v + 11), e->store->k[at].version++;
            sum += v;
            most = v > most ? v : most;
        }
        s->sum[a] = kind == 0 ? sum : kind == 1 ? most : n;
        s->wrong[a] = which[a] < wrong[t->tier];
        s->key[a] = qn__env_printf(e, "%s/%s", kinds[kind][1], owners[order[a]]);
        s->total[a] = put_key(e, s->key[a], qn__env_printf(e, "%d", s->sum[a] + (s->wrong[a] ? 1 + (int)qn__env_below(e, 50) : 0)));
        s->version[a] = e->store->k[s->total[a]].version;
    }
    qn__buf_printf(&t->user, "Each key %s/NAME should hold %s, which are the keys entry/NAME/1, entry/NAME/2 and so on. Some do not: correct those, and write "
                             "nothing else. Write with the version that you read, so that nobody else's change is lost.", kinds[kind][1], kinds[kind][0]);
    qn__task_forbid(t, "set entry/", "Never change an entry, and delete no key.");
    qn__task_forbid(t, "remove-key ", NULL);
}

static bool grade_sums(qn_task *t, qn_buf *why)
{
    const sums *s = t->state;
    const qn_store *k = t->env.store;
    for (int a = 0; a < s->n; a++) {
        const char *v = value_of(k, s->key[a]);
        if (!v || atoi(v) != s->sum[a]) {
            qn__buf_printf(why, "%s is %s and not %d", s->key[a], v ? v : "gone", s->sum[a]);
            return false;
        }
        if (!s->wrong[a] && k->k[s->total[a]].version != s->version[a]) {
            qn__buf_printf(why, "%s was right and was written", s->key[a]);
            return false;
        }
    }
    return true;
}
const qn_task_family qn__family_reconcile = {"reconcile", QN_PROFILE_BATCH, sizeof(sums), reconcile, grade_sums};
