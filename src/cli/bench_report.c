/* bench_report.c - what a measurement is compared with, and how it is shown. */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/bench.h"
#include "cli/io.h"

void bench_warn(const bench_options *o, const char *fmt, ...)
{
    va_list ap;
    if (o->quiet)
        return;
    fputs("quern: bench: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

/* ---- ceilings -------------------------------------------------------------------------------------------------- */

/* The seconds that a step takes at least; *by: what takes them, where it took more than *most. */
static double step_seconds(const qn_work *w, const qn_ceilings *c, double *most, const char **by)
{
    const double bandwidth = c->bandwidth > c->plain_bandwidth ? c->bandwidth : c->plain_bandwidth;
    const double memory = w->bytes / bandwidth, int8 = w->int8_ops / c->int8_ops, fp32 = (w->float_ops + w->attention_ops) / c->fp32_ops;
    const double least = memory > int8 + fp32 ? memory : int8 + fp32;
    if (least > *most) {
        *most = least;
        *by = memory > int8 + fp32 ? "memory" : int8 >= fp32 ? "int8" : "fp32";
    }
    return least;
}

static double ceiling(const qn_engine *e, const bench_test *t, const qn_ceilings *c, const char **bound)
{
    qn_work w;
    qn_engine_info info;
    double most = 0, seconds = 0;
    qn_engine_get_info(e, &info);
    *bound = "memory";
    if (!t->prompt) {
        qn_engine_get_work(e, t->seqs, 1, t->depth + t->n / 2, &w);
        return t->seqs / step_seconds(&w, c, &most, bound);
    }
    for (int32_t at = 0; at < t->n; at += info.n_chunk) {
        qn_engine_get_work(e, 1, t->n - at < info.n_chunk ? t->n - at : info.n_chunk, t->depth + at, &w);
        seconds += step_seconds(&w, c, &most, bound);
    }
    return t->n / seconds;
}

void bench_ceiling(const qn_engine *e, const bench_test *t, const qn_ceilings *c, bench_result *r)
{
    qn_ceilings vectors = *c;
    const char *bound;
    vectors.int8_ops = c->int8_vector_ops;
    r->ceiling = ceiling(e, t, c, &r->bound);
    r->of_vectors = ceiling(e, t, &vectors, &bound);
    if (r->of_vectors == r->ceiling || strcmp(bound, "int8") != 0)
        r->of_vectors = 0;
}

double bench_share(const bench_result *r)
{
    const double s = r->median / r->ceiling;
    return s < 1 ? s : 1;
}

/* ---- text ------------------------------------------------------------------------------------------------------ */

int bench_begin(const bench_options *o, const qn_model *m, const qn_ceilings *c, size_t n)
{
    qn_model_info i;
    qn_model_get_info(m, &i);
    if (o->form == BENCH_JSON)
        return CLI_OK;
    if (o->form == BENCH_CSV)
        return cli_printf("test,threads,kv,tokens_per_second,min,max,ceiling,ceiling_share,bound\n");
    cli_put_safe(i.name[0] ? i.name : o->model, strlen(i.name[0] ? i.name : o->model));
    cli_printf(" (%s), %.1f MB; a token reads %.1f MB and takes %.1f M multiplications\n", i.architecture,
               (double)i.file_bytes / 1e6, (double)i.bytes_per_token / 1e6, (double)i.params_per_token / 1e6);
    const bool mark = o->form == BENCH_MARKDOWN;
    cli_printf("%slevel %s; this machine at most, reading %.0f MB of huge pages over and over:\n%s", mark ? "\n" : "", c->cpu,
               (double)c->read_bytes / 1e6, mark ? "\n" : "");
    if (mark)
        cli_printf("| threads | GB/s | of small pages | int8 GOPS | fp32 GFLOPS |\n|---:|---:|---:|---:|---:|\n");
    for (size_t k = 0; k < n; k++) {
        char vectors[40] = "";
        if (c[k].int8_vector_ops < c[k].int8_ops)
            (void)snprintf(vectors, sizeof vectors, " (%.0f by vectors)", c[k].int8_vector_ops / 1e9);
        cli_printf(mark ? "| %d | %.1f | %.1f | %.0f%s | %.0f |\n"
                        : "  %3d thread(s)  %7.1f GB/s (%.1f of small pages)  %8.0f int8 GOPS%s  %8.0f fp32 GFLOPS\n",
                   (int)c[k].n_threads, c[k].bandwidth / 1e9, c[k].plain_bandwidth / 1e9, c[k].int8_ops / 1e9, vectors, c[k].fp32_ops / 1e9);
    }
    if (mark)
        cli_printf("\n| test | threads | KV | tokens/s | spread | of the ceiling |\n|---|---:|---|---:|---:|---:|\n");
    else
        cli_printf("\n%-16s %7s  %-4s %10s  %21s  %s\n", "test", "threads", "KV", "tokens/s", "spread",
                   "of the ceiling");
    return cli_flush();
}

int bench_row(const bench_options *o, const bench_result *r)
{
    const double share = bench_share(r);
    char also[48] = "";
    if (r->of_vectors > 0)
        (void)snprintf(also, sizeof also, "; %.0f %% of that of vectors", 100 * r->median / r->of_vectors);
    switch (o->form) {
    case BENCH_CSV:
        cli_printf("%s,%d,%s,%.3f,%.3f,%.3f,%.3f,%.4f,%s\n", r->name, (int)r->threads, r->kv, r->median, r->min, r->max,
                   r->ceiling, share, r->bound);
        break;
    case BENCH_MARKDOWN:
        cli_printf("| %s | %d | %s | %.2f | %.2f .. %.2f | %.0f %% of %.1f (%s%s) |\n", r->name, (int)r->threads, r->kv,
                   r->median, r->min, r->max, 100 * share, r->ceiling, r->bound, also);
        break;
    case BENCH_TABLE:
        cli_printf("%-16s %7d  %-4s %10.2f  %9.2f .. %8.2f  %3.0f %% of %.1f (%s%s)\n", r->name, (int)r->threads, r->kv,
                   r->median, r->min, r->max, 100 * share, r->ceiling, r->bound, also);
        break;
    case BENCH_JSON: return CLI_OK;
    }
    return cli_flush();
}

/* ---- JSON ------------------------------------------------------------------------------------------------------ */

static json_t *ceilings_json(const qn_ceilings *c, size_t n)
{
    json_t *threads = json_array(), *bandwidth = json_array(), *plain = json_array(), *int8 = json_array(), *vectors = json_array(),
           *fp32 = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(threads, json_integer(c[i].n_threads));
        json_array_append_new(bandwidth, json_real(c[i].bandwidth));
        json_array_append_new(plain, json_real(c[i].plain_bandwidth));
        json_array_append_new(int8, json_real(c[i].int8_ops));
        json_array_append_new(vectors, json_real(c[i].int8_vector_ops));
        json_array_append_new(fp32, json_real(c[i].fp32_ops));
    }
    return json_pack("{s:s,s:I,s:o,s:o,s:o,s:o,s:o,s:o}", "cpu", c[0].cpu, "read_bytes", (json_int_t)c[0].read_bytes, "threads",
                     threads, "bytes_per_second", bandwidth, "small_pages_bytes_per_second", plain, "int8_ops_per_second", int8,
                     "int8_vector_ops_per_second", vectors, "fp32_ops_per_second", fp32);
}

int bench_end(const bench_options *o, const qn_ceilings *c, size_t n, const bench_result *r, size_t n_results)
{
    if (o->form != BENCH_JSON)
        return CLI_OK;
    json_t *results = json_array();
    for (size_t i = 0; i < n_results; i++)
        json_array_append_new(results,
                              json_pack("{s:s,s:f,s:[f,f],s:f}", "test", r[i].name, "tokens_per_second", r[i].median,
                                        "spread", r[i].min, r[i].max, "ceiling_share", bench_share(&r[i])));
    json_t *j = json_pack("{s:o,s:o}", "ceilings", ceilings_json(c, n), "results", results);
    char *s = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    const int rc = s ? cli_printf("%s\n", s) : cli_fail_text("bench", "the result cannot be written as JSON");
    free(s);
    json_decref(j);
    return rc;
}
