/* world_packages.c - a registry of packages with releases, what they need, advisories, and what is installed. See world.h. */
#include <stdio.h>
#include <string.h>

#include "services/probe/world.h"

enum { INSTALLED, INFO, INSTALL, REMOVE, CHECK };

static const qn_tool_spec tools[] = {
    [INSTALLED] = {"installed_packages", "Names and versions of what is installed.", {{NULL, 0, NULL}}},
    [INFO] = {"package_info", "Releases of a package, what each needs, and security advisories.", {{"name", 's', "package"}}},
    [INSTALL] = {"install_package", "Install a release, in place of another one if there is one. Does not check whether everything fits together.",
                 {{"name", 's', "package"}, {"version", 's', "like 1.4.2"}}},
    [REMOVE] = {"remove_package", "Remove a package.", {{"name", 's', "package"}}},
    [CHECK] = {"check_packages", "Does everything that is installed fit together?", {{NULL, 0, NULL}}},
};

int qn__package(const qn_packages *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->p[i].name, name) == 0)
            return (int)i;
    return -1;
}

static void version(int v, char out[16])
{
    (void)snprintf(out, 16, "%d.%d.%d", v / 1000000 % 1000, v / 1000 % 1000, v % 1000);
}

static const char *bounds(int from, int below, char out[48])
{
    char a[16], b[16];
    version(from, a);
    version(below, b);
    (void)snprintf(out, 48, below ? ">=%s,<%s" : ">=%s", a, b);
    return out;
}

/* Tells the first thing that does not fit, or nothing. */
static bool fits(const qn_packages *p, char *why, size_t n_why)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->p[i].installed < 0)
            continue;
        const __typeof__(p->p[i].r[0]) *r = &p->p[i].r[p->p[i].installed];
        for (size_t k = 0; k < r->n_needs; k++) {
            const int other = qn__package(p, r->needs[k].name);
            const int has = other >= 0 && p->p[other].installed >= 0 ? p->p[other].r[p->p[other].installed].version : -1;
            if (has < r->needs[k].from || (r->needs[k].below && has >= r->needs[k].below)) {
                char v[16], w[16], b[48];
                version(r->version, v);
                version(has, w);
                (void)snprintf(why, n_why, "%s %s needs %s%s, but %s", p->p[i].name, v, r->needs[k].name,
                               bounds(r->needs[k].from, r->needs[k].below, b), has < 0 ? "it is not installed" : w);
                return false;
            }
        }
    }
    return true;
}

bool qn__packages_fit(const qn_packages *p, const char **why)
{
    char text[160];
    if (why)
        *why = "";
    return fits(p, text, sizeof text);
}

static void info(const qn_packages *p, int at, qn_buf *out)
{
    char v[16], b[48];
    for (size_t i = p->p[at].n; i-- > 0;) {
        version(p->p[at].r[i].version, v);
        qn__buf_printf(out, "%s %s%s\n", p->p[at].name, v, (int)i == p->p[at].installed ? " (installed)" : "");
        for (size_t k = 0; k < p->p[at].r[i].n_needs; k++)
            qn__buf_printf(out, "  needs %s%s\n", p->p[at].r[i].needs[k].name, bounds(p->p[at].r[i].needs[k].from, p->p[at].r[i].needs[k].below, b));
        if (p->p[at].r[i].advisory)
            qn__buf_printf(out, "  advisory: %s\n", p->p[at].r[i].advisory);
    }
}

static bool install(qn_env *e, int at, const char *wanted, qn_buf *out)
{
    char v[16];
    for (size_t i = 0; i < e->packages->p[at].n; i++) {
        version(e->packages->p[at].r[i].version, v);
        if (strcmp(v, wanted) != 0)
            continue;
        e->packages->p[at].installed = (int)i;
        qn__env_effect(e, "install %s %s", e->packages->p[at].name, v);
        qn__buf_printf(out, "installed %s %s", e->packages->p[at].name, v);
        return true;
    }
    qn__buf_printf(out, "error: %s has no release %.20s", e->packages->p[at].name, wanted);
    return false;
}

static bool call(qn_env *e, size_t tool, const json_t *args, qn_buf *out)
{
    qn_packages *p = e->packages;
    const char *name = qn__arg(args, "name");
    char v[16], why[160];
    if (tool == INSTALLED) {
        for (size_t i = 0; i < p->n; i++)
            if (p->p[i].installed >= 0) {
                version(p->p[i].r[p->p[i].installed].version, v);
                qn__buf_printf(out, "%s %s\n", p->p[i].name, v);
            }
        return true;
    }
    if (tool == CHECK) {
        qn__buf_puts(out, fits(p, why, sizeof why) ? "everything fits together" : why);
        return true;
    }
    const int at = qn__package(p, name);
    if (at < 0) {
        qn__buf_printf(out, "error: there is no package %.60s", name);
        return false;
    }
    if (tool == INFO) {
        info(p, at, out);
        return true;
    }
    if (tool == INSTALL)
        return install(e, at, qn__arg(args, "version"), out);
    p->p[at].installed = -1;
    qn__env_effect(e, "remove %s", name);
    qn__buf_printf(out, "removed %s", name);
    return true;
}

const qn_world qn__world_packages = {tools, sizeof tools / sizeof *tools, call};
