/* machine.h - what a measurement was made on, as rows of the ledger and reports carry it. */
#ifndef QN_SERVICES_PROBE_MACHINE_H
#define QN_SERVICES_PROBE_MACHINE_H

#include <jansson.h>

#include "quern.h"

/* {"processor", "cpus", "memory" (bytes), "level", "threads", "build", "system"}. o: of the engine that is measured, or NULL for what
 * asks a server: then neither level nor threads. NULL without memory. */
json_t *qn__machine_json(const qn_engine_options *o);
/* The same as text, for qn_run_info; freed with qn_free. NULL without memory. */
char *qn__machine_text(const qn_engine_options *o);

#endif
