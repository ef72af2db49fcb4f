/* inspect_meter.c - counters of the system and the engine, read after every token: see inspect.h.
 *
 * One system call per token (faults, switches). What lies in files of /proc and /sys costs more: it is read four times a second, and
 * after a gap that looks long, if that is some time ago; its difference covers at most a quarter of a second. */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "services/probe/inspect.h"
#include "services/probe/stats.h"

static const double SLOW_S = 0.25, AGAIN_S = 0.05, LONG = 1.3;

static void read_slow(qn_meter *m, double now, qn_gap *g)
{
    const int64_t throttled = m->has_heat ? qn__cpu_throttled(m->root) : -1;
    const double stolen = qn__time_stolen(m->root);
    if (m->has_clock)
        m->clock = qn__cpu_clock(m->root);
    g->throttled = throttled > m->throttled && m->throttled >= 0 ? (uint32_t)(throttled - m->throttled) : 0;
    g->stolen_s = stolen > m->stolen ? (float)(stolen - m->stolen) : 0;
    m->throttled = throttled;
    m->stolen = stolen;
    m->slow_read = now;
}

void qn__meter_begin(qn_meter *m, const char *root, uint64_t evicted)
{
    qn_gap g;
    *m = (qn_meter){.root = root, .evicted = evicted, .throttled = -1, .has_clock = true, .has_heat = true};
    read_slow(m, qn__now(), &g);
    m->has_clock = m->clock > 0;
    m->has_heat = m->throttled >= 0;
    qn__usage_get(&m->usage);
}

static uint32_t grown(uint64_t from, uint64_t to)
{
    return to <= from ? 0 : to - from > UINT32_MAX ? UINT32_MAX : (uint32_t)(to - from);
}

void qn__meter_take(qn_meter *m, double now, uint64_t evicted, qn_gap *g)
{
    qn_usage u;
    qn__usage_get(&u);
    g->minor_faults = grown(m->usage.minor_faults, u.minor_faults);
    g->major_faults = grown(m->usage.major_faults, u.major_faults);
    g->taken_away = grown(m->usage.taken_away, u.taken_away);
    g->evicted = grown(m->evicted, evicted);
    m->usage = u;
    m->evicted = evicted;
    const double since = now - m->slow_read;
    g->slow = since > SLOW_S || (since > AGAIN_S && m->n > 4 && g->s > LONG * m->usual);
    if (g->slow)
        read_slow(m, now, g);
    g->clock = (float)m->clock;
    m->usual = m->n++ == 0 ? g->s : g->s < m->usual ? 0.8 * m->usual + 0.2 * g->s : 0.98 * m->usual + 0.02 * g->s;
    g->own_s = (float)(qn__now() - now);
}

/* Of those takes that read the slow counters, or of the others: how many, times the median. */
static double cost_of(const qn_gap *g, size_t n, bool slow, double *v)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (g[i].slow == slow)
            v[m++] = g[i].own_s;
    qn__sort_doubles(v, m);
    return m ? (double)m * qn__quantile(v, m, 0.5) : 0;
}

double qn__meter_cost(const qn_gap *g, size_t n)
{
    double *v = qn__alloc(n * sizeof *v);
    const double s = v ? cost_of(g, n, false, v) + cost_of(g, n, true, v) : 0;
    qn_free(v);
    return s;
}
