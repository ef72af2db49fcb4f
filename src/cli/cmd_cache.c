/* cmd_cache.c - quern cache: what is kept on disk of prompts that were read; list it, remove it, check it. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/io.h"

typedef struct cache_options {
    const char *dir, *model;
    double older; /* days; negative: not given */
    bool all, remove, json;
} cache_options;

static void put_bytes(uint64_t n)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double x = (double)n;
    int i = 0;
    for (; x >= 1024 && i < 4; i++)
        x /= 1024;
    cli_printf(i ? "%.1f %s" : "%.0f %s", x, units[i]);
}

static void put_age(double s)
{
    if (s < 120)
        cli_printf("%.0f s", s);
    else if (s < 7200)
        cli_printf("%.0f min", s / 60);
    else if (s < 172800)
        cli_printf("%.0f h", s / 3600);
    else
        cli_printf("%.0f days", s / 86400);
}

/* ---- ls -------------------------------------------------------------------------------------------------------- */

typedef struct listing {
    json_t *models; /* NULL: as a table */
    uint64_t n, bytes;
} listing;

static void see(void *arg, const qn_cache_model *m)
{
    listing *l = arg;
    l->n++;
    l->bytes += m->bytes;
    if (l->models) {
        json_array_append_new(l->models,
                              json_pack("{s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:f, s:f}", "id", m->id, "name", m->name, "kv",
                                        m->kv, "usable", m->usable, "files", (json_int_t)m->files, "pages", (json_int_t)m->pages,
                                        "tokens", (json_int_t)m->pages * 64, "bytes", (json_int_t)m->bytes, "newest_s",
                                        m->newest_s, "oldest_s", m->oldest_s));
        return;
    }
    cli_printf("%.8s  ", m->id);
    cli_put_safe(m->name[0] ? m->name : "?", m->name[0] ? strlen(m->name) : 1);
    cli_printf("  %s  %" PRIu64 " tokens in %" PRIu64 " files, ", m->kv, m->pages * 64, m->files);
    put_bytes(m->bytes);
    cli_printf(", used ");
    put_age(m->newest_s);
    cli_printf(" ago%s\n", m->usable || !m->files ? "" : "; of another build");
}

static int ls(const cache_options *o, const char *dir)
{
    qn_err err;
    listing l = {.models = o->json ? json_array() : NULL};
    int rc = qn_cache_list(dir, see, &l, &err) == QN_OK ? CLI_OK : cli_fail(&err);
    if (rc == CLI_OK && o->json) {
        json_t *j = json_pack("{s:s, s:O, s:I}", "dir", dir, "models", l.models, "bytes", (json_int_t)l.bytes);
        char *text = j ? json_dumps(j, 0) : NULL;
        rc = text ? cli_printf("%s\n", text) : cli_fail_text(dir, "cannot be written as JSON");
        free(text);
        json_decref(j);
    } else if (rc == CLI_OK) {
        cli_printf("%s: ", dir);
        put_bytes(l.bytes);
        cli_printf(l.n == 1 ? " of 1 model\n" : " of %" PRIu64 " models\n", l.n);
    }
    json_decref(l.models);
    return rc == CLI_OK ? cli_flush() : rc;
}

/* ---- rm, verify ------------------------------------------------------------------------------------------------ */

static int put_counts(const cache_options *o, const qn_cache_counts *n, const char *what)
{
    if (o->json) {
        cli_printf("{\"models\": %" PRIu64 ", \"files\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"bad\": %" PRIu64 "}\n", n->models,
                   n->files, n->bytes, n->bad);
        return cli_flush();
    }
    cli_printf("%s %" PRIu64 " files, ", what, n->files);
    put_bytes(n->bytes);
    cli_printf("\n");
    return cli_flush();
}

static int rm(const cache_options *o, const char *dir)
{
    qn_err err;
    qn_cache_counts n;
    if (qn_cache_remove(dir, o->model, o->older > 0 ? o->older * 86400 : -1e300, &n, &err) != QN_OK)
        return cli_fail(&err);
    if (o->model && n.models == 0)
        return cli_fail_text(dir, "nothing of '%s' is there; `quern cache ls` lists what is", o->model);
    return put_counts(o, &n, "removed");
}

static void bad(void *arg, const char *file, const char *why)
{
    (void)arg;
    fprintf(stderr, "quern: %s: %s\n", file, why);
}

static int verify(const cache_options *o, const char *dir)
{
    qn_err err;
    qn_cache_counts n;
    if (qn_cache_verify(dir, o->remove, bad, NULL, &n, &err) != QN_OK)
        return cli_fail(&err);
    const int rc = put_counts(o, &n, "checked");
    return rc == CLI_OK && n.bad ? CLI_FAILED : rc;
}

static int cache(const cli_command *c, int argc, char **argv)
{
    cache_options o = {.older = -1};
    const char *operands[CLI_MAX_OPERANDS];
    const int parsed = cli_parse(c, argc, argv, &o, operands);
    if (parsed != CLI_GO)
        return parsed;
    const char *what = operands[0];
    const bool is_rm = strcmp(what, "rm") == 0, is_verify = strcmp(what, "verify") == 0;
    if (!is_rm && !is_verify && strcmp(what, "ls") != 0)
        return cli_usage(c, "'%s' is none of ls, rm, verify", what);
    if (!is_rm && (o.model || o.all || o.older >= 0))
        return cli_usage(c, "--model, --older and --all are for rm");
    if (o.remove && !is_verify)
        return cli_usage(c, "--remove is for verify");
    if (is_rm && !o.model && !o.all && o.older < 0)
        return cli_usage(c, "say what to remove: --model, --older or --all");
    if (o.all && (o.model || o.older >= 0))
        return cli_usage(c, "give --all, or --model and --older, not both");
    char *usual = NULL;
    qn_err err;
    if (!o.dir && qn_cache_default_dir(&usual, &err) != QN_OK)
        return cli_fail(&err);
    const char *dir = o.dir ? o.dir : usual;
    const int rc = is_rm ? rm(&o, dir) : is_verify ? verify(&o, dir) : ls(&o, dir);
    qn_free(usual);
    return rc;
}

static const cli_option options[] = {
    {"--dir", NULL, CLI_TEXT, "DIR", offsetof(cache_options, dir), 0, 0,
     "the directory (default: $XDG_CACHE_HOME/quern/kv, or ~/.cache/quern/kv)"},
    {"--model", NULL, CLI_TEXT, "MODEL", offsetof(cache_options, model), 0, 0,
     "rm: of this model, by the name or the beginning of the id that ls shows"},
    {"--older", NULL, CLI_REAL, "DAYS", offsetof(cache_options, older), 0, 1e6, "rm: what was not used for so long"},
    {"--all", NULL, CLI_FLAG, NULL, offsetof(cache_options, all), 0, 0, "rm: everything"},
    {"--remove", NULL, CLI_FLAG, NULL, offsetof(cache_options, remove), 0, 0, "verify: remove what is damaged"},
    {"--json", NULL, CLI_FLAG, NULL, offsetof(cache_options, json), 0, 0, "one JSON object"},
};

const cli_command cli_cmd_cache = {
    .name = "cache",
    .usage = "ls|rm|verify [--dir DIR] [--json]",
    .summary = "Look after what --kv-disk keeps: list, remove, verify.",
    .details = "Prompts that were read lie there as pages of 64 tokens with the model's keys and values, and the tokens themselves, "
               "readable for you alone. A server or another quern may use the directory meanwhile. verify reads everything and "
               "compares checksums; it fails when something is damaged. (Damage is also found, and removed, when it is met.)\n\n"
               "Examples:\n  quern serve model.gguf --kv-disk ~/.cache/quern/kv\n  quern cache ls\n  quern cache rm --older 30",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = cache,
};
