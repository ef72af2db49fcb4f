/* machine.c - see machine.h. */
#include "services/probe/machine.h"

#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/usage.h"

json_t *qn__machine_json(const qn_engine_options *o)
{
    char processor[96], system[192];
    qn_cpu level;
    qn__cpu_model("", processor, sizeof processor);
    qn__system_name(system, sizeof system);
    json_t *m = json_pack("{s:s, s:i, s:I, s:s, s:s}", "processor", processor, "cpus", qn__cpu_count(), "memory", (json_int_t)qn__memory_total(),
                          "build", QN_VERSION, "system", system);
    if (m && o && !qn__cpu_choose(o->cpu, &level, NULL))
        (void)json_object_set_new(m, "level", json_string(qn__cpu_name(level)));
    if (m && o && o->n_threads > 0)
        (void)json_object_set_new(m, "threads", json_integer(o->n_threads));
    return m;
}

char *qn__machine_text(const qn_engine_options *o)
{
    json_t *m = qn__machine_json(o);
    char *text = m ? json_dumps(m, JSON_COMPACT | JSON_SORT_KEYS) : NULL, *copy = text ? qn__strndup(text, strlen(text)) : NULL;
    free(text);
    json_decref(m);
    return copy;
}
