/* inspect_page.c - the page of an inspection. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "services/probe/page.h"

enum { MOST = 200, MOST_GAPS = 1 << 20 };

static double at_number(const json_t *list, size_t i, const char *key)
{
    return qn__page_num(json_array_get(list, i), key);
}

/* ---- phases ---- */

static double put_spans(const json_t *phases, qn_page_span *s, size_t *n)
{
    double end = 0;
    for (*n = 0; *n < json_array_size(phases) && *n < MOST; (*n)++) {
        const json_t *p = json_array_get(phases, *n);
        s[*n] = (qn_page_span){qn__page_str(p, "name"), qn__page_num(p, "start_s"), qn__page_num(p, "s")};
        end = fmax(end, s[*n].start + s[*n].length);
    }
    return end;
}

static void put_phases(qn_page *p, const json_t *r)
{
    qn_page_span cold[MOST], warm[MOST];
    size_t n_cold, n_warm;
    const json_t *phases = qn__page_at(r, "cold.phases");
    const double a = put_spans(phases, cold, &n_cold), b = put_spans(qn__page_at(r, "warm.phases"), warm, &n_warm), end = fmax(a, b);
    if (n_cold == 0)
        return;
    const double bytes = qn__page_num(r, "cold.file.bytes"), cached = qn__page_num(r, "cold.file.cached");
    qn__page_section(p, "From nothing to the last token");
    qn__page_waterfall(p, isfinite(cached) && cached < 0.1 * bytes ? "Cold: the file lay on the disk" : "First run", end, cold, n_cold);
    qn__page_waterfall(p, "Warm: opened again, the file was in memory", end, warm, n_warm);
    if (isfinite(cached))
        qn__page_note(p, "Before the cold run %s of the file's %s were in the system's cache.", qn__page_bytes(cached).s, qn__page_bytes(bytes).s);
    qn__page_facts(p);
    for (size_t i = 0; i < n_cold; i++)
        qn__page_fact(p, qn__page_str(json_array_get(phases, i), "name"), "%s", qn__page_str(json_array_get(phases, i), "what"));
    qn__page_facts_end(p);
}

/* ---- tokens ---- */

typedef struct gaps {
    double *s, *at; /* seconds; which token */
    size_t n;
    qn_page_mark *marks;
    size_t n_marks;
} gaps;

static bool take_gaps(const json_t *run, gaps *g)
{
    const json_t *list = json_object_get(run, "gaps_ns"), *spikes = json_object_get(run, "spikes");
    *g = (gaps){.n = json_array_size(list), .n_marks = json_array_size(spikes)};
    if (g->n == 0 || g->n > MOST_GAPS)
        return false;
    g->s = qn__alloc(g->n * sizeof *g->s);
    g->at = qn__alloc(g->n * sizeof *g->at);
    g->marks = qn__calloc(g->n_marks + 1, sizeof *g->marks);
    for (size_t i = 0; g->s && g->at && i < g->n; i++) {
        g->s[i] = json_number_value(json_array_get(list, i)) * 1e-9;
        g->at[i] = (double)i + 2;
    }
    for (size_t i = 0; g->marks && i < g->n_marks; i++)
        g->marks[i] = (qn_page_mark){at_number(spikes, i, "token") - 2, qn__page_str(json_array_get(spikes, i), "cause")};
    return g->s && g->at && g->marks;
}

static void drop_gaps(gaps *g)
{
    qn_free(g->s);
    qn_free(g->at);
    qn_free(g->marks);
}

static void put_timeline(qn_page *p, const json_t *run, const gaps *g, const char *title)
{
    bool far = false;
    for (size_t i = 0; i < g->n; i++)
        far = far || g->s[i] > 8e-9 * qn__page_num(run, "p50_ns");
    qn__page_line(p, &(qn_page_line){.title = title, .x_name = "token", .y_unit = QN_UNIT_SECONDS, .log_y = far, .x = g->at, .y = g->s, .n = g->n, .marks = g->marks,
                                     .n_marks = g->n_marks});
}

/* What the causes cost: the time beyond the median. */
static void put_causes(qn_page *p, const json_t *run)
{
    enum { CAUSES = 16 };
    const json_t *spikes = json_object_get(run, "spikes");
    const double median = 1e-9 * qn__page_num(run, "p50_ns"), all = qn__page_num(run, "decode_s");
    qn_page_bar bars[CAUSES];
    qn_buf words[CAUSES] = {{0}};
    size_t n = 0, times[CAUSES] = {0};
    double sum = 0;
    for (size_t i = 0; i < json_array_size(spikes); i++) {
        const json_t *s = json_array_get(spikes, i);
        const double lost = 1e-9 * qn__page_num(s, "ns") - median;
        size_t k = 0;
        while (k < n && strcmp(bars[k].label, qn__page_str(s, "cause")) != 0)
            k++;
        if (k == CAUSES || !isfinite(lost))
            continue;
        if (k == n)
            bars[n++] = (qn_page_bar){.label = qn__page_str(s, "cause")};
        bars[k].v += lost;
        times[k]++;
        sum += lost;
    }
    for (size_t k = 0; k < n; k++) {
        qn__buf_printf(&words[k], "%s in %zu token%s", qn__page_seconds(bars[k].v).s, times[k], times[k] == 1 ? "" : "s");
        bars[k].words = words[k].data ? words[k].data : "";
    }
    qn__page_bars(p, "What spikes cost, by cause", "s", 0, bars, n);
    if (isfinite(all) && all > 0)
        qn__page_text(p, "Spikes cost %s, %s of the time from the first token to the last.", qn__page_seconds(sum).s, qn__page_percent(sum / all).s);
    for (size_t k = 0; k < n; k++)
        qn__buf_free(&words[k]);
}

static void put_spikes(qn_page *p, const json_t *run)
{
    static const qn_page_column columns[] = {{"Token", true}, {"Took", true}, {"x median", true}, {"Cause", false}, {"Also", false}};
    const json_t *spikes = json_object_get(run, "spikes");
    const size_t n = json_array_size(spikes), shown = p->form == QN_PAGE_TEXT ? 12 : MOST;
    if (n == 0) {
        qn__page_text(p, "No token took longer than %s.", qn__page_seconds(1e-9 * qn__page_num(run, "spike_above_ns")).s);
        return;
    }
    put_causes(p, run);
    qn__page_table(p, "Tokens that took too long", columns, 5);
    for (size_t i = 0; i < n && i < shown; i++) {
        const json_t *s = json_array_get(spikes, i), *causes = json_object_get(s, "causes");
        qn_buf also = {0};
        for (size_t k = 0; k < json_array_size(causes); k++) {
            const char *c = json_string_value(json_array_get(causes, k));
            if (c && strcmp(c, qn__page_str(s, "cause")) != 0)
                qn__buf_printf(&also, "%s%s", also.n ? ", " : "", c);
        }
        qn__page_cell(p, "%s", qn__page_count(qn__page_num(s, "token")).s);
        qn__page_cell(p, "%s", qn__page_seconds(1e-9 * qn__page_num(s, "ns")).s);
        qn__page_cell(p, "%.1f", qn__page_num(s, "times_median"));
        qn__page_cell(p, "%s", qn__page_str(s, "cause"));
        qn__page_cell(p, "%s", also.data ? also.data : "");
        qn__buf_free(&also);
    }
    qn__page_table_end(p);
    if (n > shown)
        qn__page_note(p, "And %zu more.", n - shown);
}

static void put_pace(qn_page *p, const json_t *run, const char *line, const char *bars)
{
    gaps g;
    const qn_page_mark marks[] = {{1e-9 * qn__page_num(run, "p50_ns"), "p50"}, {1e-9 * qn__page_num(run, "p95_ns"), "p95"},
                                  {1e-9 * qn__page_num(run, "p99_ns"), "p99"}, {1e-9 * qn__page_num(run, "max_ns"), "max"}};
    if (take_gaps(run, &g)) {
        put_timeline(p, run, &g, line);
        if (bars)
            qn__page_histogram(p, bars, QN_UNIT_SECONDS, g.s, g.n, marks, 4);
        put_spikes(p, run);
    }
    drop_gaps(&g);
}

static void put_runs(qn_page *p, const json_t *r)
{
    static const qn_page_column columns[] = {{"Run", false}, {"Prefill", true}, {"First token", true}, {"Tokens/s", true}, {"p50", true}, {"p95", true},
                                             {"p99", true}, {"max", true}, {"Spikes", true}};
    const json_t *runs = qn__page_at(r, "warm.runs"), *cold = qn__page_at(r, "cold.run"), *beside = json_object_get(r, "beside");
    const size_t n = json_array_size(runs);
    qn__page_table(p, "Every run", columns, 9);
    for (size_t i = 0; i < n + 2 && i < MOST; i++) {
        const json_t *run = i == 0 ? cold : i <= n ? json_array_get(runs, i - 1) : beside;
        if (!run)
            continue;
        if (i == 0 || i > n)
            qn__page_cell(p, "%s", i == 0 ? "cold" : "with another request");
        else
            qn__page_cell(p, "warm %zu", i);
        qn__page_cell(p, "%s", qn__page_seconds(qn__page_num(run, "prefill_s")).s);
        qn__page_cell(p, "%s", qn__page_seconds(qn__page_num(run, "first_s")).s);
        qn__page_cell(p, "%s", qn__page_number(QN_UNIT_PLAIN, qn__page_num(run, "tokens_per_s")).s);
        qn__page_cell(p, "%s", qn__page_seconds(1e-9 * qn__page_num(run, "p50_ns")).s);
        qn__page_cell(p, "%s", qn__page_seconds(1e-9 * qn__page_num(run, "p95_ns")).s);
        qn__page_cell(p, "%s", qn__page_seconds(1e-9 * qn__page_num(run, "p99_ns")).s);
        qn__page_cell(p, "%s", qn__page_seconds(1e-9 * qn__page_num(run, "max_ns")).s);
        qn__page_cell(p, "%zu", json_array_size(json_object_get(run, "spikes")));
    }
    qn__page_table_end(p);
}

/* The warm run that is shown: the one with the median rate. */
static const json_t *middle(const json_t *runs)
{
    const size_t n = json_array_size(runs);
    const json_t *best = NULL;
    for (size_t i = 0; i < n && !best; i++) {
        size_t below = 0;
        for (size_t j = 0; j < n; j++) {
            const double a = at_number(runs, j, "tokens_per_s"), b = at_number(runs, i, "tokens_per_s");
            below += a < b || (a == b && j < i);
        }
        best = below == n / 2 ? json_array_get(runs, i) : NULL;
    }
    return best ? best : json_array_get(runs, 0);
}

static void put_tokens(qn_page *p, const json_t *r)
{
    const json_t *run = middle(qn__page_at(r, "warm.runs")), *beside = json_object_get(r, "beside");
    qn__page_section(p, "Token by token");
    put_runs(p, r);
    put_pace(p, run, "A warm run: time of each token", "How long a token takes");
    qn__page_note(p, "A spike is longer than the median and six median absolute deviations (as standard deviations), and a tenth longer than the "
                     "median at least. Its cause is a counter that was out of the ordinary in that token: more than in nine of ten tokens "
                     "that are no spikes. Drafting is off. Measuring took %s of the time.",
                  qn__page_percent(qn__page_num(r, "overhead")).s);
    if (beside) {
        qn__page_section(p, "While another request comes in");
        put_pace(p, beside, "Halfway another prompt is read, and answered", NULL);
    }
}

/* ---- depth, memory, limits ---- */

static void put_depths(qn_page *p, const json_t *r)
{
    const json_t *d = json_object_get(r, "depths");
    const size_t n = json_array_size(d) < MOST ? json_array_size(d) : MOST;
    qn_page_bar bars[MOST];
    char labels[MOST][96];
    if (n == 0)
        return;
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(labels[i], sizeof labels[i], "%s full: %s tokens", qn__page_percent(at_number(d, i, "share")).s, qn__page_count(at_number(d, i, "tokens")).s);
        bars[i] = (qn_page_bar){.label = labels[i], .v = at_number(d, i, "tokens_per_s")};
    }
    qn__page_section(p, "Speed as the context fills");
    qn__page_bars(p, "Tokens per second", "tok/s", 0, bars, n);
}

static void put_fits(qn_page *p, const json_t *m)
{
    const double per = qn__page_num(m, "fits.bytes_per_token"), by_memory = qn__page_num(m, "fits.memory_tokens"), states = qn__page_num(m, "fits.model");
    qn__page_facts(p);
    qn__page_fact(p, "A token in the KV cache", "%s", qn__page_bytes(per).s);
    if (isfinite(by_memory))
        qn__page_fact(p, "No longer fits beyond", "%s tokens (what is free now, %s, over that)%s", qn__page_count(by_memory).s,
                      qn__page_bytes(qn__page_num(m, "available")).s, states > 0 && by_memory > states ? ", which is more than the model states" : "");
    else if (per == 0)
        qn__page_fact(p, "No longer fits beyond", "its state does not grow with the context");
    qn__page_fact(p, "The cache's budget holds", "%s tokens (%s)", qn__page_count(qn__page_num(m, "fits.kv_ram_tokens")).s,
                  qn__page_bytes(qn__page_num(m, "fits.kv_ram")).s);
    qn__page_fact(p, "The model states", "%s tokens", qn__page_count(states).s);
    qn__page_fact(p, "The process", "%s in memory, at most %s", qn__page_bytes(qn__page_num(m, "process")).s, qn__page_bytes(qn__page_num(m, "process_most")).s);
    qn__page_facts_end(p);
}

static void put_memory(qn_page *p, const json_t *r)
{
    const json_t *m = json_object_get(r, "memory");
    if (!m)
        return;
    const double known = qn__page_num(m, "weights_resident") + qn__page_num(m, "weights_repacked") + qn__page_num(m, "kv") + qn__page_num(m, "activations") +
                         qn__page_num(m, "tokenizer"), process = qn__page_num(m, "process");
    const qn_page_part parts[] = {{"weights, repacked", qn__page_num(m, "weights_repacked")}, {"weights, in the mapped file", qn__page_num(m, "weights_resident")},
                                  {"KV cache", qn__page_num(m, "kv")}, {"activations and the engine, as reserved", qn__page_num(m, "activations")},
                                  {"tokenizer", qn__page_num(m, "tokenizer")}, {"rest of the process", process > known ? process - known : 0}};
    qn__page_section(p, "Memory");
    qn__page_memory(p, "What it is taken by", qn__page_num(m, "machine"), parts, sizeof parts / sizeof *parts);
    qn__page_note(p, "%s of the file are mapped; what of it is in memory can be taken back by the system at any time.", qn__page_bytes(qn__page_num(m, "weights_mapped")).s);
    put_fits(p, m);
}

static void put_limits(qn_page *p, const json_t *r)
{
    const json_t *l = json_object_get(r, "limits");
    if (l) {
        const double read = qn__page_num(l, "decode.bytes_per_s") / 1e9, most = qn__page_num(l, "decode.bandwidth") / 1e9;
        const double ops = qn__page_num(l, "prefill.ops_per_s") / 1e9, peak = qn__page_num(l, "prefill.arithmetic") / 1e9;
        const qn_page_bar bandwidth[] = {{.label = "decode reads", .v = read}, {.label = "this machine reads at most", .v = most, .tone = QN_TONE_SOFT}};
        const qn_page_bar arithmetic[] = {{.label = "prefill computes", .v = ops}, {.label = "this machine computes at most", .v = peak, .tone = QN_TONE_SOFT}};
        qn__page_section(p, "Against the machine's limits");
        qn__page_bars(p, "Memory bandwidth", "GB/s", 0, bandwidth, 2);
        qn__page_bars(p, "Arithmetic", "Gop/s", 0, arithmetic, 2);
        qn__page_text(p, "Decode runs at %s of its limit (%s), prefill at %s (%s).", qn__page_percent(qn__page_num(l, "decode.share")).s, qn__page_str(l, "decode.bound"),
                      qn__page_percent(qn__page_num(l, "prefill.share")).s, qn__page_str(l, "prefill.bound"));
        if (qn__page_num(l, "decode.share") > 1.02 || qn__page_num(l, "prefill.share") > 1.02)
            qn__page_verdict(p, QN_TONE_WARN, "TOO LOW", "More was achieved than was measured as the limit: something else was running meanwhile. Inspect "
                                                         "again when the machine is at rest.");
        qn__page_note(p, "The limits were measured in this run, by loops that do nothing else on the same threads.");
    }
    const json_t *energy = json_object_get(r, "energy"), *sources = json_object_get(energy, "sources"), *s;
    size_t i;
    json_array_foreach(sources, i, s)
        qn__page_text(p, "Energy by %s: %.3g J per token (%s; %s).", qn__page_str(s, "source"), qn__page_num(s, "joules_per_token"), qn__page_str(s, "what"),
                      qn__page_str(energy, "over"));
    if (energy && !sources) /* of reports from before there was more than one source */
        qn__page_text(p, "Energy: %.3g J per token (%s).", qn__page_num(energy, "joules_per_token"), qn__page_str(energy, "what"));
}

/* ---- a server ---- */

static void put_remote(qn_page *p, const json_t *r)
{
    static const qn_page_column columns[] = {{"Run", false}, {"Prompt", true}, {"Cached", true}, {"First token", true}, {"Tokens/s", true}, {"p50", true}, {"p95", true},
                                             {"p99", true}, {"max", true}};
    const json_t *remote = json_object_get(r, "remote"), *runs = json_object_get(remote, "runs");
    const size_t n = json_array_size(runs);
    if (!remote)
        return;
    qn__page_section(p, "Seen from outside");
    qn__page_table(p, "Every run; gaps are between pieces of text", columns, 9);
    for (size_t i = 0; i <= n && i < MOST; i++) {
        const json_t *run = i < n ? json_array_get(runs, i) : json_object_get(remote, "again");
        const double prompt = qn__page_num(run, "prompt_tokens"), cached = qn__page_num(run, "cached_tokens");
        if (i < n)
            qn__page_cell(p, "new prompt %zu", i + 1);
        else
            qn__page_cell(p, "the last one again");
        qn__page_cell(p, "%s", qn__page_count(prompt >= 0 ? prompt : (double)NAN).s);
        qn__page_cell(p, "%s", qn__page_count(cached >= 0 ? cached : (double)NAN).s);
        qn__page_cell(p, "%s", qn__page_seconds(qn__page_num(run, "first_s")).s);
        qn__page_cell(p, "%s", qn__page_number(QN_UNIT_PLAIN, qn__page_num(run, "tokens_per_s")).s);
        qn__page_cell(p, "%s", qn__page_seconds(1e-9 * qn__page_num(run, "p50_ns")).s);
        qn__page_cell(p, "%s", qn__page_seconds(1e-9 * qn__page_num(run, "p95_ns")).s);
        qn__page_cell(p, "%s", qn__page_seconds(1e-9 * qn__page_num(run, "p99_ns")).s);
        qn__page_cell(p, "%s", qn__page_seconds(1e-9 * qn__page_num(run, "max_ns")).s);
    }
    qn__page_table_end(p);
    put_pace(p, middle(runs), "A run: time between pieces", "How long the next piece takes");
}

/* ---- the page ---- */

/* Programs that wanted to run beforehand, over the processors. */
static void put_busy(qn_page *p, const json_t *r)
{
    const double load = qn__page_num(r, "load_before"), cpus = qn__page_num(r, "machine.cpus");
    if (load > 0.5 * cpus)
        qn__page_verdict(p, QN_TONE_WARN, "BUSY", "Other programs were running (load %.1f on %.0f processors): speeds are lower, and tokens less even, than they "
                                                  "could be.", load, cpus);
}

static void put_cannot(qn_page *p, const json_t *r)
{
    const json_t *c = json_object_get(r, "cannot");
    if (json_array_size(c) == 0)
        return;
    qn__page_section(p, "What could not be measured here");
    qn__page_facts(p);
    for (size_t i = 0; i < json_array_size(c) && i < MOST; i++)
        qn__page_fact(p, qn__page_str(json_array_get(c, i), "figure"), "%s", qn__page_str(json_array_get(c, i), "why"));
    qn__page_facts_end(p);
}

qn_status qn__page_of_inspect(qn_page *p, const json_t *r, qn_err *err)
{
    (void)err;
    const json_t *run = middle(qn__page_at(r, json_object_get(r, "remote") ? "remote.runs" : "warm.runs"));
    char title[200];
    (void)snprintf(title, sizeof title, "Inspection of %.160s", qn__page_str(r, "model"));
    qn__page_begin(p, title, "%s tokens per second; the first after %s; half of all tokens took at most %s, 99 of 100 at most %s.",
                   qn__page_number(QN_UNIT_PLAIN, qn__page_num(run, "tokens_per_s")).s, qn__page_seconds(qn__page_num(run, "first_s")).s,
                   qn__page_seconds(1e-9 * qn__page_num(run, "p50_ns")).s, qn__page_seconds(1e-9 * qn__page_num(run, "p99_ns")).s);
    put_busy(p, r);
    put_phases(p, r);
    if (json_object_get(r, "warm"))
        put_tokens(p, r);
    put_remote(p, r);
    put_depths(p, r);
    put_memory(p, r);
    put_limits(p, r);
    put_cannot(p, r);
    qn__page_section(p, "What was measured");
    qn__page_facts(p);
    qn__page_fact(p, "Model", "%s (%s)", qn__page_str(r, "model"), qn__page_str(r, "fingerprint"));
    if (json_object_get(r, "engine"))
        qn__page_fact(p, "Engine", "context %s, level %s, %s threads, prompts of %s tokens and %s generated", qn__page_count(qn__page_num(r, "engine.context")).s,
                      qn__page_str(r, "engine.level"), qn__page_count(qn__page_num(r, "engine.threads")).s, qn__page_count(qn__page_num(r, "engine.prompt_tokens")).s,
                      qn__page_count(qn__page_num(r, "engine.generated_tokens")).s);
    if (json_object_get(r, "remote"))
        qn__page_fact(p, "Endpoint", "%s", qn__page_str(r, "remote.endpoint"));
    qn__page_machine(p, json_object_get(r, "machine"));
    qn__page_fact(p, "Ledger", "run %s in %s", qn__page_count(qn__page_num(r, "run")).s, qn__page_str(r, "ledger"));
    qn__page_facts_end(p);
    return QN_OK;
}
