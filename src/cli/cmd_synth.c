/* cmd_synth.c - write a random-weight model of a real model's shape. */
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

typedef struct synth_options {
    int32_t layers;
    bool list, json, quiet;
} synth_options;

static bool on_progress(void *arg, uint64_t done, uint64_t total)
{
    cli_progress_at(arg, "writing", "MB", (size_t)(done >> 20), (size_t)(total >> 20));
    return !term_interrupted();
}

/* CLI_GO when `name` is one of those that next(i) gives. */
static int check_name(const cli_command *c, const char *what, const char *name, const char *(*next)(size_t))
{
    const char *names[MOST_NAMES], *s;
    size_t n = 0;
    for (; n < MOST_NAMES && (s = next(n)) != NULL; n++) {
        if (strcasecmp(s, name) == 0)
            return CLI_GO;
        names[n] = s;
    }
    const char *near = cli_nearest(name, names, n);
    if (near)
        return cli_usage(c, "there is no %s '%s'; did you mean %s?", what, name, near);
    return cli_usage(c, "there is no %s '%s'; --list lists them", what, name);
}

static int list(const synth_options *o)
{
    const char *s;
    json_t *shapes = json_array(), *types = json_array();
    for (size_t i = 0; (s = qn_synth_shape(i)) != NULL; i++)
        json_array_append_new(shapes, json_string(s));
    for (size_t i = 0; (s = qn_quantize_type_name(i)) != NULL; i++)
        json_array_append_new(types, json_string(s));
    int rc = CLI_OK;
    if (o->json) {
        json_t *j = json_pack("{s:O,s:O}", "shapes", shapes, "types", types);
        char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
        rc = text ? cli_printf("%s\n", text) : cli_fail_text("synth", "the list cannot be written as JSON");
        free(text);
        json_decref(j);
    } else {
        for (size_t i = 0; rc == CLI_OK && i < json_array_size(shapes); i++)
            rc = cli_printf("%s\n", json_string_value(json_array_get(shapes, i)));
    }
    json_decref(shapes);
    json_decref(types);
    return rc;
}

static int put_result(const synth_options *o, const char *const operands[3], double seconds)
{
    qn_model *m;
    qn_model_info info;
    qn_err err;
    if (o->quiet && !o->json)
        return CLI_OK;
    if (qn_model_open(operands[2], QN_OPEN_HEADER, &m, &err) != QN_OK)
        return cli_fail(&err);
    qn_model_get_info(m, &info);
    qn_model_close(m);
    const double mb = (double)info.file_bytes / 1e6;
    if (!o->json)
        return cli_printf("made %s %s: %llu bytes (%.2f MB), random weights; %.1f s\n", operands[0], operands[1],
                          (unsigned long long)info.file_bytes, mb, seconds);
    json_t *j = json_pack("{s:s,s:s,s:s,s:I,s:f}", "output", operands[2], "shape", operands[0], "type", operands[1],
                          "bytes", (json_int_t)info.file_bytes, "seconds", seconds);
    char *s = j ? json_dumps(j, JSON_COMPACT) : NULL;
    const int rc = s ? cli_printf("%s\n", s) : cli_fail_text("synth", "the result cannot be written as JSON");
    free(s);
    json_decref(j);
    return rc;
}

static int synthesise(const synth_options *o, const char *const operands[3])
{
    qn_err err;
    cli_progress bar;
    cli_progress_start(&bar, !o->quiet);
    const double start = term_now();
    term_catch();
    const qn_status s = qn_synth(operands[0], operands[1], o->layers, operands[2], on_progress, &bar, &err);
    term_release();
    cli_progress_clear(&bar);
    return s == QN_OK ? put_result(o, operands, term_now() - start) : cli_fail(&err);
}

static int synth(const cli_command *c, int argc, char **argv)
{
    synth_options o = {0};
    const char *operands[CLI_MAX_OPERANDS];
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc != CLI_GO)
        return rc;
    if (o.list)
        return operands[0] ? cli_usage(c, "--list takes no operands") : list(&o);
    if (!operands[2])
        return cli_usage(c, "%s is missing: SHAPE TYPE OUT.gguf; --list lists the shapes",
                         !operands[0]   ? "SHAPE"
                         : !operands[1] ? "TYPE"
                                        : "OUT.gguf");
    if ((rc = check_name(c, "shape", operands[0], qn_synth_shape)) == CLI_GO)
        rc = check_name(c, "file type", operands[1], qn_quantize_type_name);
    return rc == CLI_GO ? synthesise(&o, operands) : rc;
}

static const cli_option options[] = {
    {"--layers", "-l", CLI_INT, "N", offsetof(synth_options, layers), 1, 1024,
     "so many layers instead of the model's number"},
    {"--list", NULL, CLI_FLAG, NULL, offsetof(synth_options, list), 0, 0,
     "list the shapes (with --json the types too)"},
    {"--json", NULL, CLI_FLAG, NULL, offsetof(synth_options, json), 0, 0, "the result as one JSON object"},
    {"--quiet", "-q", CLI_FLAG, NULL, offsetof(synth_options, quiet), 0, 0, "no bar and no result, only errors"},
};

const cli_command cli_cmd_synth = {
    .name = "synth",
    .usage = "SHAPE TYPE OUT.gguf [--layers N]",
    .summary = "Write a model with random weights, to measure speed and memory.",
    .details = "SHAPE is a real model's (--list); TYPE is a file type as `quern quantize` has them, e.g. Q4_K_M. "
               "Tensors, their "
               "types and sizes are those of the real file, so speed is too; what it says is noise. The same command "
               "writes the "
               "same bytes. OUT appears whole or not at all; Ctrl-C leaves nothing.",
    .min_operands = 0,
    .max_operands = 3,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = synth,
};
