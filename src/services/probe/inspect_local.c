/* inspect_local.c - a model in this process, looked into: see inspect.h.
 *
 *   cold     the file is let go of by the system's cache; opened, packed, one run
 *   warm     closed, opened and packed again from memory; runs; one more with another request coming in halfway
 *   depths   tokens per second from an empty to a full context
 *   after    memory by what it is, against what the machine has; what was achieved, against what it can do
 *
 * Prompts are made-up tokens, another text in each run, so that nothing of them is in the KV cache; those of the depths share their
 * beginning, which is read once. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/nvml.h"
#include "services/probe/inspect.h"
#include "services/probe/stats.h"

enum { CTX = 4096, PROMPT = 512, GENERATE = 128, RUNS = 3, DEPTHS = 5, DEPTH_TOKENS = 24, MOST_RUNS = 100, MARGIN = 2 };

/* Seconds and bytes of one opening. */
typedef struct opening {
    double header_s, tokenizer_s, map_s, pack_s;
    uint64_t tokenizer_bytes, model_bytes, engine_bytes;
} opening;

typedef struct looking {
    qn_inspection *x;
    qn_inspect_options o; /* with defaults filled in */
    const char *path;     /* NULL: embedded */
    qn_model *model;
    qn_engine *engine;
    qn_scheduler *scheduler;
    qn_model_info info;
    qn_engine_info ei;
    opening open;
    size_t done, total;
    double *rates, *prefills; /* of warm runs */
    double overhead;
    struct metered { /* energy of all runs, by who counted it */
        double joules, tokens;
        const char *why_not;
    } packages, gpus;
    qn_nvml *nvml; /* NULL: no GPU tells its energy */
} looking;

/* Token i of a text: any id, the same every time. */
static int32_t token(uint64_t text, int32_t i, int32_t n_vocab)
{
    uint64_t x = (text << 32 ^ (uint32_t)i) * 0x9E3779B97F4A7C15u + 1;
    x = (x ^ x >> 31) * 0xBF58476D1CE4E5B9u;
    return (int32_t)((x >> 33) % (uint64_t)n_vocab);
}

static int32_t *text_of(const looking *l, uint64_t text, int32_t n)
{
    int32_t *t = qn__alloc((size_t)(n > 0 ? n : 1) * sizeof *t);
    for (int32_t i = 0; t && i < n; i++)
        t[i] = token(l->o.probe.seed * 1000 + text, i, l->ei.n_vocab);
    return t;
}

static bool tick(void *arg)
{
    const looking *l = arg;
    return qn__inspect_at(l->x, "inspecting", l->done, l->total);
}

/* ---- opening, in steps ---- */

static void close_all(looking *l)
{
    qn_scheduler_close(l->scheduler);
    if (l->engine)
        qn_engine_close(l->engine);
    qn_model_close(l->model);
    l->scheduler = NULL;
    l->engine = NULL;
    l->model = NULL;
}

static qn_status time_open(const char *path, qn_open how, double *s, uint64_t *bytes, qn_err *err)
{
    qn_model *m = NULL;
    const uint64_t heap = qn__heap_bytes();
    const double start = qn__now();
    const qn_status st = qn_model_open(path, how, &m, err);
    *s = qn__now() - start;
    *bytes = qn__heap_bytes() > heap ? qn__heap_bytes() - heap : 0;
    if (!st)
        qn_model_close(m);
    return st;
}

/* The header alone first, as it is the first to touch the file; what the further steps cost is what they take longer than those
 * before, from memory. */
static qn_status open_all(looking *l, qn_err *err)
{
    opening *p = &l->open;
    double header, vocab;
    uint64_t header_bytes, vocab_bytes;
    qn_status st = time_open(l->path, QN_OPEN_HEADER, &p->header_s, &header_bytes, err);
    if (!st)
        st = time_open(l->path, QN_OPEN_HEADER, &header, &header_bytes, err);
    if (!st)
        st = time_open(l->path, QN_OPEN_VOCAB, &vocab, &vocab_bytes, err);
    uint64_t heap = qn__heap_bytes();
    double start = qn__now();
    if (!st)
        st = qn_model_open(l->path, QN_OPEN_FULL, &l->model, err);
    if (st)
        return st;
    p->map_s = fmax(0, qn__now() - start - vocab);
    p->tokenizer_s = fmax(0, vocab - header);
    p->tokenizer_bytes = vocab_bytes > header_bytes ? vocab_bytes - header_bytes : 0;
    p->model_bytes = qn__heap_bytes() > heap + p->tokenizer_bytes ? qn__heap_bytes() - heap - p->tokenizer_bytes : 0;
    heap = qn__heap_bytes();
    start = qn__now();
    st = qn_engine_open(l->model, &l->o.probe.engine, &l->engine, err);
    p->pack_s = qn__now() - start;
    p->engine_bytes = qn__heap_bytes() > heap ? qn__heap_bytes() - heap : 0;
    if (!st)
        st = qn_scheduler_open(l->engine, NULL, &l->scheduler, err);
    if (!st)
        qn_engine_get_info(l->engine, &l->ei);
    return st;
}

/* ---- one run ---- */

static json_t *phases(const looking *l, const qn_pace_run *r)
{
    const opening *p = &l->open;
    const bool packed = l->ei.packed_bytes > 0;
    const struct {
        const char *name, *what;
        double s;
    } all[] = {
        {"open", "header read and checked", p->header_s},
        {"tokenizer", "vocabulary and template", p->tokenizer_s},
        {"map", "tensors bound to the mapped file", p->map_s},
        {packed ? "first touch and repacking" : "engine", packed ? "every weight read and laid out for this processor" : "weights stay in the mapped file and are touched first in the prefill",
         p->pack_s},
        {"prefill", "the prompt read", r->prefill_s},
        {"first token", "from the end of the prefill", r->first_s - r->prefill_s},
        {"decode", "the other tokens", r->decode_s},
    };
    json_t *list = json_array();
    double at = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:f, s:f}", "name", all[i].name, "what", all[i].what, "start_s", at, "s", all[i].s));
        at += all[i].s;
    }
    return list;
}

static json_t *run_json(const qn_pace_run *r, const qn_pace *p)
{
    json_t *j = qn__pace_json(p, r->gaps, r->n_gaps);
    if (j)
        (void)json_object_update_new(j, json_pack("{s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:f}", "prompt_tokens", r->timings.prompt_tokens, "cached_tokens",
                                                  r->timings.cached_tokens, "generated_tokens", r->timings.generated_tokens, "prefill_s", r->prefill_s,
                                                  "first_s", r->first_s, "decode_s", r->decode_s, "tokens_per_s",
                                                  r->decode_s > 0 ? (double)r->n_gaps / r->decode_s : 0.0, "overhead",
                                                  r->decode_s > 0 ? r->overhead_s / r->decode_s : 0.0));
    return j;
}

typedef struct counted {
    bool packages, gpus;
    qn_energy rapl;
    qn_nvml_energy nvml;
} counted;

static counted count_energy(looking *l)
{
    counted c = {0};
    c.packages = qn__energy_read("", &c.rapl, &l->packages.why_not);
    c.gpus = l->nvml && qn__nvml_read(l->nvml, &c.nvml);
    if (l->nvml && !c.gpus)
        l->gpus.why_not = "the GPUs no longer told it";
    return c;
}

static void add_energy(looking *l, const counted *before, double tokens)
{
    const counted after = count_energy(l);
    if (before->packages && after.packages) {
        l->packages.joules += qn__energy_between(&before->rapl, &after.rapl);
        l->packages.tokens += tokens;
    }
    if (before->gpus && after.gpus) {
        l->gpus.joules += qn__nvml_between(l->nvml, &before->nvml, &after.nvml);
        l->gpus.tokens += tokens;
    }
}

/* One run into the ledger, and (unless NULL) its JSON to *out; *r is the caller's. */
static qn_status pace(looking *l, const char *item, int seq, uint64_t text, uint64_t beside, qn_pace_run *r, json_t **out, qn_err *err)
{
    int32_t *mine = text_of(l, text, l->o.n_prompt), *other = beside ? text_of(l, beside, l->o.n_prompt) : NULL;
    qn_pace_options o = {.tokens = mine, .n_tokens = (size_t)l->o.n_prompt, .n_generate = l->o.n_generate, .beside = other,
                         .n_beside = (size_t)l->o.n_prompt, .keep_on = tick, .arg = l};
    qn_pace p = {0};
    const counted before = count_energy(l);
    qn_status st = mine && (other || !beside) ? qn__pace_run(l->scheduler, &o, r, err) : qn__fail_mem(err, "prompt");
    if (!st && r->n_gaps == 0)
        st = qn__fail(err, QN_EINVAL, "inspect", "the model ended its answer at once: give --tokens 2 or more");
    if (!st)
        st = qn__pace_of(r->gaps, r->n_gaps, QN_INSPECT_K, &p, err);
    if (!st)
        add_energy(l, &before, r->timings.generated_tokens);
    json_t *j = st ? NULL : run_json(r, &p);
    if (!st && out)
        *out = json_incref(j);
    if (!st)
        st = qn__inspect_put(l->x, item, seq, j, err);
    l->done++;
    qn__pace_free(&p);
    qn_free(mine);
    qn_free(other);
    return st;
}

/* ---- cold and warm ---- */

/* A fingerprint reads a little of every tensor: before the file is made cold, not between that and the first run. */
static qn_status find_names(const looking *l, qn_model_names *out, qn_err *err)
{
    qn_model *m = NULL;
    qn_status st = qn_model_open(l->path, QN_OPEN_FULL, &m, err);
    if (st)
        return st;
    st = qn__model_names(m, out, err);
    qn_model_close(m);
    return st;
}

static qn_status cold(looking *l, qn_err *err)
{
    qn_pace_run r = {0};
    json_t *j = NULL;
    const uint64_t before = l->path ? qn__file_cached(l->path) : 0;
    qn_model_names names;
    qn_status st = find_names(l, &names, err);
    if (st)
        return st;
    if (l->path && !l->o.keep_cached)
        qn__file_forget(l->path);
    const uint64_t after = l->path ? qn__file_cached(l->path) : 0;
    st = open_all(l, err);
    if (st)
        return st;
    qn_model_get_info(l->model, &l->info);
    st = qn__inspect_begin(l->x, names.name, names.fingerprint, err);
    if (!st)
        st = pace(l, "cold", 0, 1, 0, &r, &j, err);
    if (!st) {
        json_t *c = json_pack("{s:o, s:o}", "phases", phases(l, &r), "run", j);
        if (l->path)
            (void)json_object_set_new(c, "file", json_pack("{s:I, s:I, s:I}", "bytes", (json_int_t)l->info.file_bytes, "cached_before",
                                                           (json_int_t)before, "cached", (json_int_t)after));
        else
            qn__inspect_cannot(l->x, "cold file", "the embedded model lies inside the program, which runs already");
        (void)json_object_set_new(l->x->report, "cold", c);
    }
    qn__pace_run_free(&r);
    close_all(l);
    return st;
}

static qn_status warm(looking *l, qn_err *err)
{
    const size_t n = (size_t)l->o.runs;
    json_t *runs = json_array(), *shown = NULL;
    qn_status st = open_all(l, err);
    l->rates = qn__calloc(n, sizeof *l->rates);
    l->prefills = qn__calloc(n, sizeof *l->prefills);
    if (!st && (!l->rates || !l->prefills || !runs))
        st = qn__fail_mem(err, "runs");
    for (size_t i = 0; i < n && !st; i++) {
        qn_pace_run r = {0};
        json_t *j = NULL;
        st = pace(l, "warm", (int)i, 2 + i, 0, &r, &j, err);
        if (!st) {
            l->rates[i] = (double)r.n_gaps / r.decode_s;
            l->prefills[i] = r.prefill_s;
            l->overhead += r.overhead_s / r.decode_s / (double)n;
            if (i == 0)
                shown = json_pack("{s:o}", "phases", phases(l, &r));
            (void)json_array_append_new(runs, j);
        }
        qn__pace_run_free(&r);
    }
    if (!st) {
        (void)json_object_set(shown, "runs", runs);
        (void)json_object_set_new(l->x->report, "warm", shown);
    } else {
        json_decref(shown);
    }
    json_decref(runs);
    return st;
}

static qn_status beside(looking *l, qn_err *err)
{
    qn_pace_run r = {0};
    json_t *j = NULL;
    qn_status st = pace(l, "beside", 0, 300, 400, &r, &j, err);
    if (!st)
        (void)json_object_set_new(l->x->report, "beside", j);
    qn__pace_run_free(&r);
    return st;
}

/* ---- speed over the context ---- */

static qn_status depth(looking *l, int k, const int32_t *text, json_t *list, qn_err *err)
{
    const int32_t most = l->ei.n_ctx - DEPTH_TOKENS - MARGIN, at = l->o.n_depths > 1 ? (int32_t)((int64_t)most * k / (l->o.n_depths - 1)) : 0;
    qn_pace_options o = {.tokens = text, .n_tokens = (size_t)(at > 0 ? at : 1), .n_generate = DEPTH_TOKENS, .keep_on = tick, .arg = l};
    qn_pace_run r = {0};
    qn_pace p = {0};
    qn_status st = qn__pace_run(l->scheduler, &o, &r, err);
    if (!st && r.n_gaps == 0)
        return QN_OK;
    if (!st)
        st = qn__pace_of(r.gaps, r.n_gaps, QN_INSPECT_K, &p, err);
    if (!st) {
        const double share = l->o.n_depths > 1 ? (double)k / (l->o.n_depths - 1) : 0;
        json_t *d = json_pack("{s:f, s:i, s:f, s:f}", "share", share, "tokens", at, "tokens_per_s", 1 / p.p50, "prefill_s", r.prefill_s);
        (void)json_array_append(list, d);
        st = qn__inspect_put(l->x, "depth", k, d, err);
    }
    l->done++;
    qn__pace_free(&p);
    qn__pace_run_free(&r);
    return st;
}

static qn_status depths(looking *l, qn_err *err)
{
    int32_t *text = text_of(l, 900, l->ei.n_ctx);
    json_t *list = json_array();
    qn_status st = text && list ? QN_OK : qn__fail_mem(err, "depths");
    for (int k = 0; k < l->o.n_depths && !st; k++)
        st = depth(l, k, text, list, err);
    if (!st)
        (void)json_object_set(l->x->report, "depths", list);
    json_decref(list);
    qn_free(text);
    return st;
}

/* ---- memory ---- */

static void memory(looking *l)
{
    uint64_t mapped = 0, in_map = 0, resident = 0, most = 0;
    const opening *p = &l->open;
    const qn_engine_info *e = &l->ei;
    qn_engine_get_info(l->engine, &l->ei);
    if (l->path)
        qn__memory_of_file("", l->path, &mapped, &in_map);
    qn__memory_self("", &resident, &most);
    const uint64_t available = qn__memory_available() == SIZE_MAX ? 0 : (uint64_t)qn__memory_available();
    const uint64_t taken = p->engine_bytes, work = taken > e->packed_bytes ? taken - e->packed_bytes : 0;
    json_t *m = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "weights_mapped", (json_int_t)mapped, "weights_resident",
                          (json_int_t)in_map, "weights_repacked", (json_int_t)e->packed_bytes, "kv", (json_int_t)e->kv_bytes, "activations",
                          (json_int_t)work, "tokenizer", (json_int_t)p->tokenizer_bytes, "process", (json_int_t)resident, "process_most",
                          (json_int_t)most, "machine", (json_int_t)qn__memory_total(), "available", (json_int_t)available);
    if (!l->path)
        qn__inspect_cannot(l->x, "weights mapped", "the embedded model lies inside the program; it counts among the rest of the process");
    if (qn__heap_bytes() == 0)
        qn__inspect_cannot(l->x, "activations and tokenizer", "this build's allocator does not tell what it has handed out");
    json_t *fits = json_pack("{s:I, s:I, s:I, s:i, s:i}", "bytes_per_token", (json_int_t)e->kv_bytes_per_token, "kv_ram", (json_int_t)e->kv_ram, "kv_ram_tokens",
                             (json_int_t)(e->kv_bytes_per_token ? e->kv_ram / e->kv_bytes_per_token : 0), "model", l->info.n_ctx_train, "context", e->n_ctx);
    if (e->kv_bytes_per_token && available) /* computed: what is free, and what KV holds already, over a token's bytes */
        (void)json_object_set_new(fits, "memory_tokens", json_integer((json_int_t)((available + e->kv_bytes) / e->kv_bytes_per_token)));
    (void)json_object_set_new(m, "fits", fits);
    (void)json_object_set_new(l->x->report, "memory", m);
}

/* ---- limits ---- */

/* Of the whole prompt, chunk by chunk, as it is read. */
static qn_work prefill_work(const looking *l)
{
    qn_work sum = {0};
    for (int32_t at = 0; at < l->o.n_prompt; at += l->ei.n_chunk) {
        qn_work w;
        qn_engine_get_work(l->engine, 1, l->o.n_prompt - at < l->ei.n_chunk ? l->o.n_prompt - at : l->ei.n_chunk, at, &w);
        sum.bytes += w.bytes;
        sum.int8_ops += w.int8_ops;
        sum.float_ops += w.float_ops;
        sum.attention_ops += w.attention_ops;
    }
    return sum;
}

static void limits(looking *l)
{
    qn_ceilings c;
    qn_work w;
    qn_err err;
    const size_t n = (size_t)l->o.runs;
    if (qn_measure_ceilings(l->o.probe.engine.cpu, l->o.probe.engine.cpus, l->ei.n_threads, l->info.bytes_per_token, &c, &err)) {
        qn__inspect_cannot(l->x, "limits of the machine", err.what);
        return;
    }
    qn__sort_doubles(l->rates, n);
    qn__sort_doubles(l->prefills, n);
    const double rate = qn__quantile(l->rates, n, 0.5), prefill_s = qn__quantile(l->prefills, n, 0.5);
    qn_engine_get_work(l->engine, 1, 1, l->o.n_prompt + l->o.n_generate / 2, &w);
    const double bandwidth = fmax(c.bandwidth, c.plain_bandwidth), bytes_s = w.bytes * rate;
    const double ops_least = w.int8_ops / c.int8_ops + (w.float_ops + w.attention_ops) / c.fp32_ops;
    json_t *decode = json_pack("{s:f, s:f, s:f, s:f, s:f, s:s}", "tokens_per_s", rate, "bytes_per_token", w.bytes, "bytes_per_s", bytes_s, "bandwidth",
                               bandwidth, "share", rate * fmax(w.bytes / bandwidth, ops_least), "bound",
                               w.bytes / bandwidth >= ops_least ? "memory" : "arithmetic");
    w = prefill_work(l);
    const double ops = w.int8_ops + w.float_ops + w.attention_ops, least = w.int8_ops / c.int8_ops + (w.float_ops + w.attention_ops) / c.fp32_ops;
    json_t *prefill = json_pack("{s:f, s:f, s:f, s:f, s:f, s:s}", "tokens_per_s", l->o.n_prompt / prefill_s, "ops_per_token", ops / l->o.n_prompt, "ops_per_s",
                                ops / prefill_s, "arithmetic", ops / least, "share", fmax(least, w.bytes / bandwidth) / prefill_s, "bound",
                                w.bytes / bandwidth > least ? "memory" : "arithmetic");
    (void)json_object_set_new(l->x->report, "limits", json_pack("{s:o, s:o}", "decode", decode, "prefill", prefill));
}

/* What one counter saw, among the sources or among what cannot be told. Sources are not added up: who counts what differs. */
static void put_source(looking *l, json_t *sources, const char *source, const char *figure, const char *what, const struct metered *m)
{
    if (m->tokens > 0)
        (void)json_array_append_new(sources, json_pack("{s:s, s:s, s:f, s:f}", "source", source, "what", what, "joules", m->joules, "joules_per_token",
                                                       m->joules / m->tokens));
    else
        qn__inspect_cannot(l->x, figure, m->why_not ? m->why_not : "nothing was generated");
}

static void energy(looking *l)
{
    char gpus[96] = "";
    json_t *sources = json_array();
    if (l->nvml)
        (void)snprintf(gpus, sizeof gpus, "%d GPU%s, whoever used them; this program does not", qn__nvml_devices(l->nvml), qn__nvml_devices(l->nvml) == 1 ? "" : "s");
    put_source(l, sources, "RAPL", "energy of the processor (RAPL)", "processor packages", &l->packages);
    put_source(l, sources, "NVML", "energy of GPUs (NVML)", gpus, &l->gpus);
    if (json_array_size(sources) > 0)
        (void)json_object_set_new(l->x->report, "energy", json_pack("{s:O, s:s}", "sources", sources, "over", "all runs with their prefill"));
    json_decref(sources);
    if (qn__cpu_clock("") <= 0)
        qn__inspect_cannot(l->x, "frequency drops", "this machine does not tell its clock (/sys/devices/system/cpu/cpu0/cpufreq)");
    if (qn__cpu_throttled("") < 0)
        qn__inspect_cannot(l->x, "thermal throttling", "this machine does not count it (/sys/devices/system/cpu/cpu0/thermal_throttle)");
    if (isfinite(qn__cpu_heat("")))
        (void)json_object_set_new(l->x->report, "celsius", json_real(qn__cpu_heat("")));
}

/* ---- the whole ---- */

static int32_t given(int32_t v, int32_t other)
{
    return v > 0 ? v : other;
}

static qn_status plan(looking *l, qn_err *err)
{
    qn_inspect_options *o = &l->o;
    qn_model *m = NULL;
    qn_model_info info;
    qn_status st = qn_model_open(l->path, QN_OPEN_HEADER, &m, err);
    if (st)
        return st;
    qn_model_get_info(m, &info);
    const int32_t states = info.n_ctx_train > 0 ? info.n_ctx_train : CTX;
    qn_model_close(m);
    if (o->probe.engine.n_ctx <= 0)
        o->probe.engine.n_ctx = states < CTX ? states : CTX;
    if (o->probe.engine.max_seqs < 2)
        o->probe.engine.max_seqs = 2;
    const int32_t ctx = o->probe.engine.n_ctx;
    o->n_generate = given(o->n_generate, GENERATE < ctx / 4 ? GENERATE : ctx / 4);
    o->n_prompt = given(o->n_prompt, PROMPT < ctx / 2 ? PROMPT : ctx / 2);
    o->runs = given(o->runs, RUNS);
    o->n_depths = o->n_depths < 0 ? 0 : given(o->n_depths, DEPTHS);
    if (o->runs > MOST_RUNS || o->n_depths > MOST_RUNS || o->n_generate < 2)
        return qn__fail(err, QN_EINVAL, "inspect", "at most %d runs and depths, and at least 2 tokens", MOST_RUNS);
    if ((int64_t)o->n_prompt + o->n_generate + MARGIN > ctx || ctx < DEPTH_TOKENS + 8)
        return qn__fail(err, QN_ECONTEXT, "inspect", "a prompt of %d tokens and %d generated ones do not fit a context of %d; give fewer, or --ctx", (int)o->n_prompt,
                        (int)o->n_generate, (int)ctx);
    l->total = 1 + (size_t)o->runs + 1 + (size_t)o->n_depths;
    return QN_OK;
}

qn_status qn__inspect_local(qn_inspection *x, qn_err *err)
{
    looking l = {.x = x, .o = *x->o, .path = x->o->probe.model};
    const double load = qn__cpu_load(); /* before we are one of them */
    l.nvml = qn__nvml_open(&l.gpus.why_not);
    if (l.path && strcmp(l.path, "embedded") == 0)
        l.path = NULL;
    qn_status st = plan(&l, err);
    if (!st)
        st = cold(&l, err);
    if (!st)
        st = warm(&l, err);
    if (!st)
        st = beside(&l, err);
    if (!st && l.o.n_depths > 0)
        st = depths(&l, err);
    if (!st && !tick(&l))
        st = qn__fail(err, QN_ECANCELLED, "inspect", "cancelled");
    if (!st) {
        memory(&l);
        limits(&l);
        energy(&l);
        (void)json_object_set_new(x->report, "overhead", json_real(l.overhead));
        (void)json_object_set_new(x->report, "load_before", json_real(load));
        (void)json_object_set_new(x->report, "engine", json_pack("{s:i, s:i, s:s, s:i, s:b, s:i, s:i}", "context", l.ei.n_ctx, "threads", l.ei.n_threads, "level",
                                                                 l.ei.cpu, "chunk", l.ei.n_chunk, "repacked", l.ei.packed_bytes > 0, "prompt_tokens",
                                                                 l.o.n_prompt, "generated_tokens", l.o.n_generate));
    }
    close_all(&l);
    qn__nvml_close(l.nvml);
    qn_free(l.rates);
    qn_free(l.prefills);
    return st;
}
