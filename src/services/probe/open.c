/* open.c - see open.h. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "services/probe/open.h"

void qn_probe_options_init(qn_probe_options *o)
{
    *o = (qn_probe_options){0};
    qn_engine_options_init(&o->engine);
}

qn_status qn__probe_open(const qn_probe_options *o, qn_subject **subject, qn_ledger **ledger, qn_err *err)
{
    qn_subject *s = NULL;
    qn_ledger *l = NULL;
    qn_status st = qn__ledger_open(o->ledger, &l, err);
    if (!st)
        st = o->endpoint ? qn__subject_remote(o->endpoint, o->model ? o->model : "", o->key, &s, err)
                         : qn__subject_local(o->model, &o->engine, &s, err);
    if (st) {
        qn__probe_close(s, l);
        return st;
    }
    *subject = s;
    *ledger = l;
    return QN_OK;
}

void qn__probe_close(qn_subject *subject, qn_ledger *ledger)
{
    if (subject)
        qn__subject_close(subject);
    if (ledger)
        qn__ledger_close(ledger);
}

qn_status qn__probe_text(const json_t *report, char **text, qn_err *err)
{
    char *dumped = json_dumps(report, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    char *copy = dumped ? qn__strndup(dumped, strlen(dumped)) : NULL;
    free(dumped);
    if (!copy)
        return qn__fail_mem(err, "report");
    *text = copy;
    return QN_OK;
}

qn_status qn__probe_cancelled(const char *where, qn_err *err)
{
    return qn__fail(err, QN_ECANCELLED, where, "cancelled; the same command goes on where it was");
}

json_t *qn__probe_said(const char *p, size_t n, size_t most)
{
    if (n > most)
        n = most - qn__utf8_incomplete(p, most);
    json_t *v = json_stringn(p ? p : "", n);
    if (v)
        return v;
    qn_buf safe = {0};
    for (size_t i = 0; i < n;) {
        int32_t cp;
        const size_t k = qn__utf8_decode(p + i, n - i, &cp);
        if (cp > 0)
            qn__buf_put(&safe, p + i, k);
        else
            qn__buf_putc(&safe, '?');
        i += k;
    }
    v = safe.failed ? NULL : json_stringn(safe.data ? safe.data : "", safe.n);
    qn__buf_free(&safe);
    return v;
}
