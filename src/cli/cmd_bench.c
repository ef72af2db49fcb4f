/* cmd_bench.c - how fast a model runs here, beside what this machine can do at most. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/io.h"
#include "cli/open.h"
#include "cli/progress.h"
#include "cli/term.h"

enum { EACH = 8, MOST_CEILINGS = 32, MOST_RUNS = 1000, MOST_TESTS = 2 * BENCH_LIST * BENCH_LIST };

static const char *const kv_names[] = {"f16", "f32", "q8_0"};

/* What the command line says, before it is understood. */
typedef struct bench_words {
    const char *prompts, *outputs, *depths, *seqs, *threads, *kvs, *chunks, *cpu, *cpus;
    int32_t runs;
    bool csv, markdown, json, quiet, no_repack;
} bench_words;

/* Everything of one run of the command. */
typedef struct bench {
    const bench_options *o;
    qn_model *m;
    qn_ceilings ceilings[MOST_CEILINGS];
    size_t n_ceilings;
    bench_test tests[MOST_TESTS];
    size_t n_tests;
    bench_result *results;
    size_t n_results;
    cli_progress bar;
    size_t done, total; /* runs */
} bench;

/* ---- what is measured ------------------------------------------------------------------------------------------ */

static void add_test(bench *b, bool prompt, int32_t n, int32_t depth, int32_t seqs)
{
    if (n > 0 && b->n_tests < MOST_TESTS)
        b->tests[b->n_tests++] = (bench_test){.prompt = prompt, .n = n, .depth = depth, .seqs = seqs};
}

static void list_tests(bench *b)
{
    const bench_options *o = b->o;
    for (size_t d = 0; d < o->depths.n; d++) {
        for (size_t i = 0; i < o->prompts.n; i++)
            add_test(b, true, o->prompts.v[i], o->depths.v[d], 1);
        for (size_t i = 0; i < o->outputs.n; i++)
            for (size_t s = 0; s < o->seqs.n; s++)
                add_test(b, false, o->outputs.v[i], o->depths.v[d], o->seqs.v[s]);
    }
}

/* pp512, tg64@8192x8; where threads, KV types or chunks are several, /t2, /f32 and /b256 tell them apart. */
static void name_test(const bench_options *o, const bench_test *t, const qn_engine_info *e, int32_t kv, char *out,
                      size_t cap)
{
    char depth[16] = "", seqs[16] = "", at[16] = "", type[16] = "", chunk[16] = "";
    if (t->depth > 0)
        snprintf(depth, sizeof depth, "@%d", (int)t->depth);
    if (t->seqs > 1)
        snprintf(seqs, sizeof seqs, "x%d", (int)t->seqs);
    if (o->threads.n > 1)
        snprintf(at, sizeof at, "/t%d", (int)e->n_threads);
    if (o->kvs.n > 1)
        snprintf(type, sizeof type, "/%s", kv_names[kv]);
    if (o->chunks.n > 1)
        snprintf(chunk, sizeof chunk, "/b%d", (int)e->n_chunk);
    snprintf(out, cap, "%s%d%s%s%s%s%s", t->prompt ? "pp" : "tg", (int)t->n, depth, seqs, at, type, chunk);
}

/* ---- measuring ------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void tick(void *arg)
{
    bench *b = arg;
    cli_progress_at(&b->bar, "measuring", "runs", ++b->done, b->total);
}

static int open_engine(const bench *b, int32_t threads, int32_t kv, int32_t chunk, qn_engine **out)
{
    qn_engine_options o;
    qn_err err;
    qn_engine_options_init(&o);
    o.n_threads = threads;
    o.n_chunk = chunk;
    o.kv = (qn_kv_type)kv;
    o.cpu = b->o->cpu;
    o.cpus = b->o->cpus;
    o.no_repack = b->o->no_repack;
    o.max_seqs = 1;
    for (size_t i = 0; i < b->n_tests; i++) {
        const int32_t n = b->tests[i].depth + b->tests[i].n + 2;
        o.n_ctx = n > o.n_ctx ? n : o.n_ctx;
        o.max_seqs = b->tests[i].seqs > o.max_seqs ? b->tests[i].seqs : o.max_seqs;
    }
    const qn_status s = qn_engine_open(b->m, &o, out, &err);
    return s == QN_OK ? CLI_OK : cli_fail(&err);
}

static const qn_ceilings *ceiling_of(const bench *b, int32_t threads)
{
    for (size_t i = 0; i < b->n_ceilings; i++)
        if (b->ceilings[i].n_threads == threads)
            return &b->ceilings[i];
    return &b->ceilings[0];
}

static int one_test(bench *b, qn_engine *e, const bench_test *t, int32_t kv)
{
    const bench_options *o = b->o;
    double rates[MOST_RUNS];
    qn_engine_info info;
    bench_result *r = &b->results[b->n_results];
    qn_engine_get_info(e, &info);
    *r = (bench_result){.threads = info.n_threads, .kv = kv_names[kv]};
    name_test(o, t, &info, kv, r->name, sizeof r->name);
    int rc = bench_measure(e, t, o->runs, rates, tick, b);
    cli_progress_clear(&b->bar);
    if (rc == CLI_GO) {
        bench_warn(o, "%s is left out: this model's state after %d tokens cannot be taken up again", r->name,
                   (int)t->depth);
        return CLI_OK;
    }
    if (rc != CLI_OK)
        return rc;
    qsort(rates, (size_t)o->runs, sizeof *rates, by_value);
    const size_t n = (size_t)o->runs;
    r->median = n % 2 ? rates[n / 2] : (rates[n / 2 - 1] + rates[n / 2]) / 2;
    r->min = rates[0];
    r->max = rates[n - 1];
    bench_ceiling(e, t, ceiling_of(b, info.n_threads), r);
    b->n_results++;
    rc = bench_row(o, r);
    if (r->max - r->min > 0.2 * r->median)
        bench_warn(o, "%s: the runs differ by %.0f %%; is something else running?", r->name,
                   100 * (r->max - r->min) / r->median);
    if (r->median > r->ceiling)
        bench_warn(o, "%s is above its ceiling, which was measured too low; is something else running?", r->name);
    return rc;
}

static int one_engine(bench *b, int32_t threads, int32_t kv, int32_t chunk)
{
    qn_engine *e = NULL;
    int rc = open_engine(b, threads, kv, chunk, &e);
    if (rc == CLI_OK)
        rc = bench_warm(e);
    for (size_t i = 0; i < b->n_tests && rc == CLI_OK; i++)
        rc = one_test(b, e, &b->tests[i], kv);
    qn_engine_close(e);
    return rc;
}

/* ---- ceilings -------------------------------------------------------------------------------------------------- */

static bool has_ceiling(const bench *b, int32_t threads)
{
    for (size_t i = 0; i < b->n_ceilings; i++)
        if (b->ceilings[i].n_threads == threads)
            return true;
    return false;
}

static int add_ceiling(bench *b, int32_t threads, uint64_t bytes)
{
    qn_err err;
    if (b->n_ceilings == MOST_CEILINGS || (threads && has_ceiling(b, threads)))
        return CLI_OK;
    const qn_status s = qn_measure_ceilings(b->o->cpu, b->o->cpus, threads, bytes, &b->ceilings[b->n_ceilings], &err);
    if (s != QN_OK)
        return cli_fail(&err);
    b->n_ceilings++;
    return term_interrupted() ? CLI_INTERRUPTED : CLI_OK;
}

static int by_threads(const void *a, const void *b)
{
    return ((const qn_ceilings *)a)->n_threads - ((const qn_ceilings *)b)->n_threads;
}

/* For every number of threads that is tested, and for those below: each, or where they are many 1, 2, 4, ... The memory read is what a token
 * reads: a model that fits the caches is not held to the memory's speed. */
static int measure_ceilings(bench *b)
{
    const bench_options *o = b->o;
    qn_model_info info;
    int32_t most = 0;
    int rc = CLI_OK;
    qn_model_get_info(b->m, &info);
    if (o->threads.n == 0) { /* the default: as the engine chooses it */
        qn_engine *e;
        qn_engine_info ei;
        if ((rc = open_engine(b, 0, o->kvs.v[0], 0, &e)) != CLI_OK)
            return rc;
        qn_engine_get_info(e, &ei);
        qn_engine_close(e);
        most = ei.n_threads;
        rc = add_ceiling(b, most, info.bytes_per_token);
    }
    for (size_t i = 0; i < o->threads.n && rc == CLI_OK; i++) {
        most = o->threads.v[i] > most ? o->threads.v[i] : most;
        rc = add_ceiling(b, o->threads.v[i], info.bytes_per_token);
    }
    for (int32_t n = 1; n < most && rc == CLI_OK; n = most <= EACH ? n + 1 : n * 2)
        rc = add_ceiling(b, n, info.bytes_per_token);
    qsort(b->ceilings, b->n_ceilings, sizeof *b->ceilings, by_threads);
    return rc;
}

/* A machine that grew slower while it was measured: hot, or no longer alone. */
static void check_again(const bench *b)
{
    const qn_ceilings *before = &b->ceilings[b->n_ceilings - 1];
    qn_ceilings after;
    if (qn_measure_ceilings(b->o->cpu, b->o->cpus, before->n_threads, 1, &after, NULL) == QN_OK &&
        after.int8_ops < 0.85 * before->int8_ops)
        bench_warn(b->o, "the processor does %.0f %% less than at the start; is it hot, or something else running?",
                   100 * (1 - after.int8_ops / before->int8_ops));
}

/* ---- the command ----------------------------------------------------------------------------------------------- */

static int measure_all(bench *b)
{
    const bench_options *o = b->o;
    const int32_t chosen = 0;
    const size_t n_threads = o->threads.n ? o->threads.n : 1, n_chunks = o->chunks.n ? o->chunks.n : 1;
    const size_t n = b->n_tests * n_threads * o->kvs.n * n_chunks;
    b->total = n * (size_t)o->runs;
    b->results = calloc(n, sizeof *b->results);
    if (!b->results)
        return cli_fail_text("bench", "out of memory");
    int rc = measure_ceilings(b);
    if (rc == CLI_OK)
        rc = bench_begin(o, b->m, b->ceilings, b->n_ceilings);
    cli_progress_start(&b->bar, !o->quiet);
    for (size_t t = 0; t < n_threads; t++)
        for (size_t k = 0; k < o->kvs.n && rc == CLI_OK; k++)
            for (size_t c = 0; c < n_chunks && rc == CLI_OK; c++)
                rc = one_engine(b, o->threads.n ? o->threads.v[t] : chosen, o->kvs.v[k], o->chunks.n ? o->chunks.v[c] : chosen);
    if (rc == CLI_OK)
        check_again(b);
    return rc == CLI_OK ? bench_end(o, b->ceilings, b->n_ceilings, b->results, b->n_results) : rc;
}

static int bench_model(const bench_options *o)
{
    bench *b = calloc(1, sizeof *b);
    if (!b)
        return cli_fail_text("bench", "out of memory");
    b->o = o;
    list_tests(b);
    const double load = term_load();
    const int cores = term_processors();
    qn_model_info info = {0};
    int rc = cli_model_open(o->model, QN_OPEN_FULL, &b->m);
    if (rc == CLI_OK)
        qn_model_get_info(b->m, &info);
    if (rc == CLI_OK && info.embedding_only)
        rc = cli_fail_text(o->model, "is an encoder: it generates no text that could be timed");
    if (rc == CLI_OK) {
        if (load > 0.5 * cores)
            bench_warn(o, "the machine is busy (load %.1f on %d processors): what follows is lower than it could be",
                       load, cores);
        term_catch();
        rc = measure_all(b);
        term_release();
        cli_progress_clear(&b->bar);
    }
    qn_model_close(b->m);
    free(b->results);
    free(b);
    return rc;
}

static int parse_list(const cli_command *c, const char *name, const char *text, int32_t min, int32_t max,
                      bench_list *out)
{
    int32_t *v = NULL;
    size_t n = 0;
    bool ok = cli_ids(text, &v, &n) && n <= BENCH_LIST;
    for (size_t i = 0; ok && i < n; i++) {
        ok = v[i] >= min && v[i] <= max;
        out->v[i] = v[i];
    }
    free(v);
    out->n = n;
    return ok ? CLI_GO
              : cli_usage(c, "%s: '%s' is not up to %d whole numbers from %d to %d with commas between", name, text,
                          BENCH_LIST, (int)min, (int)max);
}

static int parse_kvs(const cli_command *c, const char *text, bench_list *out)
{
    for (const char *p = text;; p++) {
        const size_t len = strcspn(p, ",");
        size_t k = 0;
        while (k < 3 && !(strlen(kv_names[k]) == len && memcmp(kv_names[k], p, len) == 0))
            k++;
        if (k == 3 || out->n == BENCH_LIST)
            return cli_usage(c, "--kv: '%s' is not a list of f16, f32 and q8_0", text);
        out->v[out->n++] = (int32_t)k;
        p += len;
        if (!*p)
            return CLI_GO;
    }
}

static int understand(const cli_command *c, const bench_words *w, bench_options *o)
{
    enum { TOKENS = 1 << 22 };
    int rc;
    if (w->csv + w->markdown + w->json > 1)
        return cli_usage(c, "only one of --csv, --markdown and --json can be given");
    o->form = w->csv ? BENCH_CSV : w->markdown ? BENCH_MARKDOWN : w->json ? BENCH_JSON : BENCH_TABLE;
    o->runs = w->runs;
    o->cpu = w->cpu;
    o->cpus = w->cpus;
    o->no_repack = w->no_repack;
    o->quiet = w->quiet;
    if ((rc = parse_list(c, "-p", w->prompts, 0, TOKENS, &o->prompts)) != CLI_GO ||
        (rc = parse_list(c, "-n", w->outputs, 0, TOKENS, &o->outputs)) != CLI_GO ||
        (rc = parse_list(c, "-d", w->depths, 0, TOKENS, &o->depths)) != CLI_GO ||
        (rc = parse_list(c, "-s", w->seqs, 1, 1024, &o->seqs)) != CLI_GO ||
        (w->chunks && (rc = parse_list(c, "--chunk", w->chunks, 1, 65536, &o->chunks)) != CLI_GO) ||
        (w->threads && (rc = parse_list(c, "-t", w->threads, 1, 512, &o->threads)) != CLI_GO) ||
        (rc = parse_kvs(c, w->kvs, &o->kvs)) != CLI_GO)
        return rc;
    const cli_engine engine = {.cpu = o->cpu};
    return cli_engine_check(c, &engine);
}

static int bench_command(const cli_command *c, int argc, char **argv)
{
    bench_words w = {.prompts = "512", .outputs = "64", .depths = "0", .seqs = "1", .kvs = "f16", .runs = 5};
    bench_options o = {0};
    const char *operands[CLI_MAX_OPERANDS];
    int rc = cli_parse(c, argc, argv, &w, operands);
    if (rc == CLI_GO)
        rc = understand(c, &w, &o);
    if (rc != CLI_GO)
        return rc;
    o.model = operands[0];
    return bench_model(&o);
}

#define TEXT(name, alias, value, field, help)                                                                          \
    {                                                                                                                  \
        name, alias, CLI_TEXT, value, offsetof(bench_words, field), 0, 0, help                                         \
    }
static const cli_option options[] = {
    TEXT("--prompt", "-p", "512", prompts, "read prompts of so many tokens (0: none)"),
    TEXT("--tokens", "-n", "64", outputs, "generate so many tokens (0: none)"),
    TEXT("--depth", "-d", "0", depths, "with so many tokens before"),
    TEXT("--sequences", "-s", "1", seqs, "generating so many sequences together"),
    TEXT("--threads", "-t", "N", threads, "threads (default: chosen from the machine)"),
    TEXT("--kv", NULL, "f16", kvs, "how the KV cache is kept: f16, f32, q8_0"),
    {"--runs", "-r", CLI_INT, "5", offsetof(bench_words, runs), 1, MOST_RUNS, "runs of each; the median counts"},
    TEXT("--chunk", "-b", "N", chunks, "prompt tokens read in one step"),
    TEXT("--cpus", NULL, "LIST", cpus, "keep the threads on these processors, one each, as in 0-3,8"),
    TEXT("--cpu", NULL, "LEVEL", cpu, "kernel level (default: $QUERN_CPU, then the best that the machine has)"),
    {"--no-repack", NULL, CLI_FLAG, NULL, offsetof(bench_words, no_repack), 0, 0, "leave the weights in the mapped file"},
    {"--csv", NULL, CLI_FLAG, NULL, offsetof(bench_words, csv), 0, 0, "comma-separated values"},
    {"--markdown", NULL, CLI_FLAG, NULL, offsetof(bench_words, markdown), 0, 0, "a table for a page"},
    {"--json", NULL, CLI_FLAG, NULL, offsetof(bench_words, json), 0, 0, "one JSON object"},
    {"--quiet", "-q", CLI_FLAG, NULL, offsetof(bench_words, quiet), 0, 0, "no bar and no warnings"},
};

const cli_command cli_cmd_bench = {
    .name = "bench",
    .usage = "MODEL [-p 512] [-n 64] [-d DEPTH] [-s SEQUENCES] [-t THREADS] [-r RUNS]",
    .summary = "Measure how fast a model runs, beside what the machine can do.",
    .details =
        "-p, -n, -d, -s, -b, -t and --kv take lists with commas; every combination is measured. pp512: reading 512 tokens; "
        "tg64@8192: generating 64 after 8192; tg64x8: eight sequences together, their tokens added up. First the "
        "machine "
        "is measured: how fast its threads read memory, multiply 8-bit integers and floats. The ceiling of a test is "
        "the "
        "time that its weights, keys and values take to be read once, or its multiplications (attention's as floats), whichever is longer; of "
        "a "
        "mixture of experts only those that are used count. Where matrix tiles multiply (level amx), the share of what vectors could do "
        "at most is given, too; it may be over 100 %.",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = bench_command,
};
