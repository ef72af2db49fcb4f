/* inspect.c - quern inspect: the report and the ledger around what inspect_local and inspect_remote see. See inspect.h. */
#include "services/probe/inspect.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "services/probe/machine.h"
#include "services/probe/open.h"

void qn_inspect_options_init(qn_inspect_options *o)
{
    *o = (qn_inspect_options){0};
    qn_probe_options_init(&o->probe);
}

bool qn__inspect_at(const qn_inspection *x, const char *doing, size_t done, size_t total)
{
    const qn_probe_options *p = &x->o->probe;
    return !p->progress || p->progress(p->arg, doing, done, total);
}

void qn__inspect_cannot(qn_inspection *x, const char *figure, const char *why)
{
    json_t *list = json_object_get(x->report, "cannot");
    if (!list) {
        list = json_array();
        (void)json_object_set_new(x->report, "cannot", list);
    }
    (void)json_array_append_new(list, json_pack("{s:s, s:s}", "figure", figure, "why", why));
}

qn_status qn__inspect_begin(qn_inspection *x, const char *model, const char *fingerprint, qn_err *err)
{
    const qn_inspect_options *o = x->o;
    const qn_engine_options *e = o->probe.endpoint ? NULL : &o->probe.engine;
    json_t *k = json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:I, s:i, s:i, s:b}", "model", model, "fingerprint", fingerprint, "prompt", o->n_prompt, "generate",
                          o->n_generate, "runs", o->runs, "depths", o->n_depths, "seed", (json_int_t)o->probe.seed, "context", o->probe.engine.n_ctx,
                          "threads", o->probe.engine.n_threads, "no_repack", (int)o->probe.engine.no_repack);
    char *key = k ? json_dumps(k, JSON_COMPACT | JSON_SORT_KEYS) : NULL, *machine = qn__machine_text(e);
    json_decref(k);
    const qn_run_info info = {.kind = "inspect", .key = key, .model = model, .fingerprint = fingerprint, .machine = machine};
    int64_t before = 0;
    /* Never taken up again: half of a run was another machine, a warmer or a busier one. */
    qn_status st = key && machine ? qn__ledger_begin(x->ledger, &info, false, &x->run, &before, err) : qn__fail_mem(err, "inspect");
    free(key);
    qn_free(machine);
    if (st)
        return st;
    (void)json_object_set_new(x->report, "model", json_string(model));
    (void)json_object_set_new(x->report, "fingerprint", json_string(fingerprint));
    (void)json_object_set_new(x->report, "run", json_integer(x->run));
    (void)json_object_set_new(x->report, "ledger", json_string(qn__ledger_path(x->ledger)));
    return QN_OK;
}

qn_status qn__inspect_put(qn_inspection *x, const char *item, int seq, json_t *data, qn_err *err)
{
    qn_status st = data ? qn__ledger_put(x->ledger, x->run, item, seq, "measured", true, data, err) : qn__fail_mem(err, "inspect");
    json_decref(data);
    return st;
}

qn_status qn_inspect(const qn_inspect_options *o, char **report_json, qn_err *err)
{
    qn_inspection x = {.o = o, .report = json_pack("{s:s}", "kind", "inspect")};
    qn_subject *s = NULL;
    qn_status st = x.report ? qn__ledger_open(o->probe.ledger, &x.ledger, err) : qn__fail_mem(err, "inspect");
    if (!st && o->probe.endpoint)
        st = qn__subject_remote(o->probe.endpoint, o->probe.model ? o->probe.model : "", o->probe.key, &s, err);
    if (!st)
        st = s ? qn__inspect_remote(&x, s, err) : qn__inspect_local(&x, err);
    if (!st) {
        json_t *machine = qn__machine_json(s ? NULL : &o->probe.engine);
        (void)json_object_set_new(x.report, "machine", machine);
        st = machine ? qn__ledger_finish(x.ledger, x.run, x.report, err) : qn__fail_mem(err, "inspect");
    } else if (x.run) {
        qn__ledger_leave(x.ledger, x.run);
    }
    if (!st)
        st = qn__probe_text(x.report, report_json, err);
    qn__probe_close(s, x.ledger);
    json_decref(x.report);
    return st;
}
