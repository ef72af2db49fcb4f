/* cmd_quantize.c - make a smaller file of a model. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/progress.h"
#include "cli/term.h"

enum { MOST_NAMES = 64 };

typedef struct quantize_options {
    const char *imatrix;
    int32_t threads;
    bool dry_run, again, json, quiet;
} quantize_options;

static bool on_progress(void *arg, const qn_quantize_progress *p)
{
    cli_progress_at(arg, "quantising", "MB", (size_t)(p->done >> 20), (size_t)(p->total >> 20));
    return !term_interrupted();
}

static int put_json(const quantize_options *o, const char *const operands[3], const qn_quantize_result *r,
                    double seconds)
{
    json_t *types = json_object(), *j = NULL;
    for (size_t i = 0; types && i < r->n_types; i++)
        json_object_set_new(
            types, r->types[i].type,
            json_pack("{s:I,s:I}", "tensors", (json_int_t)r->types[i].tensors, "bytes", (json_int_t)r->types[i].bytes));
    if (types)
        j = json_pack("{s:s,s:s?,s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:f,s:o}", "input", operands[0], "output", operands[1],
                      "type", operands[2], "dry_run", o->dry_run, "bytes_in", (json_int_t)r->bytes_in, "bytes_out",
                      (json_int_t)r->bytes_out, "tensors", (json_int_t)r->tensors, "fallbacks",
                      (json_int_t)r->fallbacks, "weighted", (json_int_t)r->weighted, "seconds", seconds, "types",
                      types);
    char *s = j ? json_dumps(j, JSON_COMPACT) : NULL;
    const int rc = s ? cli_printf("%s\n", s) : cli_fail_text("quantize", "the result cannot be written as JSON");
    free(s);
    json_decref(j);
    return rc;
}

static int put_text(const quantize_options *o, const char *const operands[3], const qn_quantize_result *r,
                    double seconds)
{
    const double in = (double)r->bytes_in, out = (double)r->bytes_out;
    cli_printf("%s %s: %llu bytes (%.2f MB), %.1f %% of the input's %.2f MB", o->dry_run ? "would be" : "made",
               operands[2], (unsigned long long)r->bytes_out, out / 1e6, in > 0 ? 100 * out / in : 0, in / 1e6);
    if (o->dry_run)
        cli_printf("\n");
    else
        cli_printf("; %.1f s\n", seconds);
    for (size_t i = 0; i < r->n_types; i++)
        cli_printf("  %-8s %5llu tensors  %10.2f MB\n", r->types[i].type, (unsigned long long)r->types[i].tensors,
                   (double)r->types[i].bytes / 1e6);
    if (o->imatrix)
        cli_printf("  importance found for %llu tensors\n", (unsigned long long)r->weighted);
    if (r->fallbacks)
        cli_printf("  %llu tensors have rows that %s does not divide, and got the next larger type\n",
                   (unsigned long long)r->fallbacks, operands[2]);
    return cli_flush();
}

/* CLI_GO when the type is known. */
static int check_type(const cli_command *c, const char *type)
{
    const char *names[MOST_NAMES], *name;
    size_t n = 0;
    for (; n < MOST_NAMES && (name = qn_quantize_type_name(n)) != NULL; n++) {
        if (strcasecmp(name, type) == 0)
            return CLI_GO;
        names[n] = name;
    }
    const char *near = cli_nearest(type, names, n);
    if (near)
        return cli_usage(c, "there is no file type '%s'; did you mean %s?", type, near);
    return cli_usage(c, "there is no file type '%s'; --help lists them", type);
}

static int quantise(const quantize_options *o, const char *const operands[3])
{
    qn_quantize_options q;
    qn_quantize_result r;
    qn_err err;
    cli_progress bar;
    qn_quantize_options_init(&q);
    q.type = operands[2];
    q.n_threads = o->threads;
    q.imatrix = o->imatrix;
    q.dry_run = o->dry_run;
    q.allow_requantize = o->again;
    q.progress = on_progress;
    q.arg = &bar;
    cli_progress_start(&bar, !o->quiet);
    const double start = term_now();
    term_catch();
    const qn_status s = qn_quantize(operands[0], operands[1], &q, &r, &err);
    term_release();
    cli_progress_clear(&bar);
    if (s != QN_OK)
        return cli_fail(&err);
    if (o->json)
        return put_json(o, operands, &r, term_now() - start);
    return o->quiet ? CLI_OK : put_text(o, operands, &r, term_now() - start);
}

static int quantize(const cli_command *c, int argc, char **argv)
{
    quantize_options o = {0};
    const char *operands[CLI_MAX_OPERANDS];
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc != CLI_GO)
        return rc;
    if (!operands[2] && !o.dry_run)
        return cli_usage(c, "TYPE is missing: IN OUT TYPE; --help lists the types");
    if (!operands[2]) {
        operands[2] = operands[1];
        operands[1] = NULL;
    }
    rc = check_type(c, operands[2]);
    return rc == CLI_GO ? quantise(&o, operands) : rc;
}

static const cli_option options[] = {
    {"--threads", "-t", CLI_INT, "N", offsetof(quantize_options, threads), 1, 512,
     "threads (default: one per processor)"},
    {"--imatrix", NULL, CLI_TEXT, "FILE", offsetof(quantize_options, imatrix), 0, 0,
     "an importance matrix (GGUF): columns that matter more are kept closer"},
    {"--dry-run", NULL, CLI_FLAG, NULL, offsetof(quantize_options, dry_run), 0, 0,
     "write nothing; say how large the file would be, to the byte (OUT may be left out)"},
    {"--allow-requantize", NULL, CLI_FLAG, NULL, offsetof(quantize_options, again), 0, 0,
     "take an input that is quantised already; the errors add up"},
    {"--json", NULL, CLI_FLAG, NULL, offsetof(quantize_options, json), 0, 0, "the result as one JSON object"},
    {"--quiet", "-q", CLI_FLAG, NULL, offsetof(quantize_options, quiet), 0, 0, "no bar and no result, only errors"},
};

const cli_command cli_cmd_quantize = {
    .name = "quantize",
    .usage = "IN.gguf OUT.gguf TYPE [--imatrix FILE] [--threads N] [--dry-run]",
    .summary = "Make a smaller file of a model.",
    .details = "TYPE, large to small: F32, BF16, F16, Q8_0, Q6_K, Q5_K_M, Q5_K_S, Q5_1, Q5_0, Q4_K_M, Q4_K_S, Q4_1, "
               "Q4_0, IQ4_NL, "
               "IQ4_XS, MXFP4 (experts; the rest Q8_0), Q3_K_L, Q3_K_M, Q3_K_S, Q2_K, Q2_K_S, TQ2_0, TQ1_0. Q4_K_M is "
               "a good start. "
               "Which matrix gets which type is what files of that name have elsewhere: embeddings, outputs and values "
               "more bits; "
               "norms, biases and routers as they are. OUT appears whole or not at all; Ctrl-C leaves nothing.",
    .min_operands = 2,
    .max_operands = 3,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = quantize,
};
