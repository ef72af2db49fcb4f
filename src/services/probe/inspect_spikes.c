/* inspect_spikes.c - which tokens took too long, and why: see inspect.h. Pure.
 *
 * A cause is named where its counter is out of the ordinary in that gap: more than in nine of ten gaps that are no spikes. So what
 * happens all the time (a switch of context in every token of a busy machine) explains no spike. */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "services/probe/inspect.h"
#include "services/probe/stats.h"

enum { FEW_FAULTS = 32 }; /* minor faults that no one feels: 128 KiB */
static const double LEAST = 0.1, SLOWER = 0.93, STOLEN_SHARE = 0.2;

const char *qn__cause_name(qn_cause c)
{
    static const char *const names[QN_CAUSES] = {
        [QN_CAUSE_NEIGHBOUR_PREFILL] = "prefill of a neighbour", [QN_CAUSE_EVICTION] = "page eviction",
        [QN_CAUSE_DISK_FAULT] = "page fault (from disk)", [QN_CAUSE_HEAT] = "thermal throttling",
        [QN_CAUSE_STOLEN] = "time given to other machines by the host", [QN_CAUSE_SWITCH] = "context switch",
        [QN_CAUSE_CLOCK] = "frequency drop", [QN_CAUSE_FAULT] = "page fault", [QN_CAUSE_OTHER_REQUEST] = "another request",
        [QN_CAUSE_UNKNOWN] = "not known",
    };
    return c < QN_CAUSES ? names[c] : "";
}

/* What is ordinary: of the gaps that are no spikes, nine of ten have at most this. */
typedef struct ordinary {
    double minor_faults, major_faults, taken_away, evicted, neighbour_prefill, others, throttled, clock;
} ordinary;

typedef double (*counter)(const qn_gap *g);
static double minor_of(const qn_gap *g) { return g->minor_faults; }
static double major_of(const qn_gap *g) { return g->major_faults; }
static double taken_of(const qn_gap *g) { return g->taken_away; }
static double evicted_of(const qn_gap *g) { return g->evicted; }
static double prefill_of(const qn_gap *g) { return g->neighbour_prefill; }
static double others_of(const qn_gap *g) { return g->others; }
static double throttled_of(const qn_gap *g) { return g->throttled; }
static double clock_of(const qn_gap *g) { return g->clock; }

static double usual(const qn_gap *g, size_t n, double threshold, counter of, double q, double *scratch)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (g[i].s <= threshold)
            scratch[m++] = of(&g[i]);
    if (m == 0)
        return 0;
    qn__sort_doubles(scratch, m);
    return qn__quantile(scratch, m, q);
}

static ordinary learn(const qn_gap *g, size_t n, double threshold, double *scratch)
{
    return (ordinary){.minor_faults = usual(g, n, threshold, minor_of, 0.9, scratch),
                      .major_faults = usual(g, n, threshold, major_of, 0.9, scratch),
                      .taken_away = usual(g, n, threshold, taken_of, 0.9, scratch),
                      .evicted = usual(g, n, threshold, evicted_of, 0.9, scratch),
                      .neighbour_prefill = usual(g, n, threshold, prefill_of, 0.9, scratch),
                      .others = usual(g, n, threshold, others_of, 0.9, scratch),
                      .throttled = usual(g, n, threshold, throttled_of, 0.9, scratch),
                      .clock = usual(g, n, threshold, clock_of, 0.5, scratch)};
}

static unsigned causes_of(const qn_gap *g, const ordinary *o, double median)
{
    unsigned c = 0;
    if (g->neighbour_prefill > o->neighbour_prefill)
        c |= 1u << QN_CAUSE_NEIGHBOUR_PREFILL;
    if (g->evicted > o->evicted)
        c |= 1u << QN_CAUSE_EVICTION;
    if (g->major_faults > o->major_faults)
        c |= 1u << QN_CAUSE_DISK_FAULT;
    if (g->throttled > o->throttled)
        c |= 1u << QN_CAUSE_HEAT;
    if (g->stolen_s > STOLEN_SHARE * (g->s - median))
        c |= 1u << QN_CAUSE_STOLEN;
    if (g->taken_away > o->taken_away)
        c |= 1u << QN_CAUSE_SWITCH;
    if (g->clock > 0 && o->clock > 0 && g->clock < SLOWER * o->clock)
        c |= 1u << QN_CAUSE_CLOCK;
    if (g->minor_faults > o->minor_faults + FEW_FAULTS)
        c |= 1u << QN_CAUSE_FAULT;
    if (g->others > o->others)
        c |= 1u << QN_CAUSE_OTHER_REQUEST;
    return c ? c : 1u << QN_CAUSE_UNKNOWN;
}

static qn_status find(const qn_gap *g, size_t n, double *scratch, qn_pace *p, qn_err *err)
{
    size_t cap = 0;
    const ordinary o = learn(g, n, p->threshold, scratch);
    for (size_t i = 0; i < n; i++) {
        if (g[i].s <= p->threshold)
            continue;
        if (!qn__grow((void **)&p->spikes, &cap, p->n_spikes + 1, sizeof *p->spikes))
            return qn__fail_mem(err, "spikes");
        qn_spike *k = &p->spikes[p->n_spikes++];
        *k = (qn_spike){.at = i, .causes = causes_of(&g[i], &o, p->p50)};
        while (!(k->causes & 1u << k->first))
            k->first++;
    }
    return QN_OK;
}

qn_status qn__pace_of(const qn_gap *g, size_t n, double k, qn_pace *out, qn_err *err)
{
    qn_pace p = {0};
    double *v = qn__alloc(n * sizeof *v), *scratch = qn__alloc(n * sizeof *scratch);
    qn_status st = v && scratch ? QN_OK : qn__fail_mem(err, "gaps");
    for (size_t i = 0; i < n && !st; i++) {
        v[i] = g[i].s;
        p.mean += g[i].s / (double)n;
    }
    if (!st) {
        qn__median_mad(v, n, scratch, &p.p50, &p.mad);
        p.p95 = qn__quantile(v, n, 0.95);
        p.p99 = qn__quantile(v, n, 0.99);
        p.most = v[n - 1];
        p.threshold = p.p50 + fmax(k * p.mad, LEAST * p.p50);
        st = find(g, n, scratch, &p, err);
    }
    if (st)
        qn__pace_free(&p);
    else
        *out = p;
    qn_free(v);
    qn_free(scratch);
    return st;
}

void qn__pace_free(qn_pace *p)
{
    qn_free(p->spikes);
    *p = (qn_pace){0};
}

static json_t *spike_json(const qn_spike *k, const qn_gap *g, double median)
{
    json_t *causes = json_array();
    for (int c = 0; c < QN_CAUSES; c++)
        if (k->causes & 1u << c)
            (void)json_array_append_new(causes, json_string(qn__cause_name((qn_cause)c)));
    return json_pack("{s:I, s:I, s:f, s:s, s:o, s:{s:i, s:i, s:i, s:i, s:i, s:i}}", "token", (json_int_t)k->at + 2, "ns",
                     (json_int_t)llround(g->s * 1e9), "times_median", median > 0 ? g->s / median : 0.0, "cause", qn__cause_name(k->first), "causes",
                     causes, "counters", "minor_faults", (int)g->minor_faults, "major_faults", (int)g->major_faults, "context_switches",
                     (int)g->taken_away, "evicted_pages", (int)g->evicted, "neighbour_prompt_tokens", (int)g->neighbour_prefill,
                     "neighbour_tokens", (int)g->others);
}

json_t *qn__pace_json(const qn_pace *p, const qn_gap *g, size_t n)
{
    json_t *gaps = json_array(), *spikes = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(gaps, json_integer((json_int_t)llround(g[i].s * 1e9)));
    for (size_t i = 0; i < p->n_spikes; i++)
        (void)json_array_append_new(spikes, spike_json(&p->spikes[i], &g[p->spikes[i].at], p->p50));
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "p50_ns", (json_int_t)llround(p->p50 * 1e9), "p95_ns",
                     (json_int_t)llround(p->p95 * 1e9), "p99_ns", (json_int_t)llround(p->p99 * 1e9), "max_ns", (json_int_t)llround(p->most * 1e9),
                     "mean_ns", (json_int_t)llround(p->mean * 1e9), "mad_ns", (json_int_t)llround(p->mad * 1e9), "spike_above_ns",
                     (json_int_t)llround(p->threshold * 1e9), "spikes", spikes, "gaps_ns", gaps);
}
