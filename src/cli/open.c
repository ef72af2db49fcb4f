/* open.c - see open.h. */
#include "cli/open.h"

#include <stdio.h>
#include <string.h>

#include "cli/io.h"
#include "cli/term.h"

int cli_engine_check(const cli_command *c, const cli_engine *o)
{
    if (!o->cpu)
        return CLI_GO;
    enum { MOST = 16 };
    const char *names[MOST];
    const size_t n = qn_cpu_levels(names, MOST);
    char list[160] = "";
    for (size_t i = 0; i < n && i < MOST; i++) {
        if (strcmp(names[i], o->cpu) == 0)
            return CLI_GO;
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names[i]);
    }
    return cli_usage(c, "--cpu: '%s' is no level of this machine; it has %s", o->cpu, list);
}

int cli_model_open(const char *path, qn_open how, qn_model **out)
{
    qn_err err;
    return qn_model_open(path, how, out, &err) == QN_OK ? CLI_OK : cli_fail(&err);
}

int cli_draft_open(cli_engine *o)
{
    return o->draft ? cli_model_open(o->draft, QN_OPEN_FULL, &o->draft_model) : CLI_OK;
}

void cli_draft_close(cli_engine *o)
{
    qn_model_close(o->draft_model);
    o->draft_model = NULL;
}

void cli_engine_fill(const cli_engine *o, qn_engine_options *e)
{
    e->n_ctx = o->ctx;
    e->n_threads = o->threads;
    e->n_chunk = o->chunk;
    e->kv = (qn_kv_type)o->kv;
    e->cpu = o->cpu;
    e->no_repack = o->no_repack;
    e->cpus = o->cpus;
    e->kv_ram = o->kv_ram;
    e->kv_disk = o->kv_disk;
    e->kv_disk_max = o->kv_disk_max;
    e->draft_model = o->draft_model;
}

int cli_engine_open(const qn_model *m, const cli_engine *o, qn_engine **out)
{
    qn_engine_options e;
    qn_engine_options_init(&e);
    cli_engine_fill(o, &e);
    e.max_seqs = 1;
    qn_err err;
    const qn_status s = qn_engine_open(m, &e, out, &err);
    return s == QN_OK ? CLI_OK : cli_fail(&err);
}
