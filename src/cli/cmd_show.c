/* cmd_show.c - what a model file is: the library's report as a table, or as the JSON that it is. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/open.h"

typedef struct show_options {
    bool tensors, json;
} show_options;

/* ---- values ---------------------------------------------------------------------------------------------------- */

/* Everything the file says goes out through cli_put_safe; a failed write is seen by the flush at the end. */
static void put(const char *s)
{
    cli_put_safe(s, strlen(s));
}

static void label(const char *name)
{
    cli_printf("  %-15s ", name);
}

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static const char *string(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static void put_bytes(double n)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;
    while (n >= 1024 && i < 4) {
        n /= 1024;
        i++;
    }
    cli_printf(i ? "%.1f %s" : "%.0f %s", n, units[i]);
}

static void put_count(double n)
{
    if (n >= 1e9)
        cli_printf("%.2f billion", n / 1e9);
    else if (n >= 1e6)
        cli_printf("%.1f million", n / 1e6);
    else
        cli_printf("%.0f", n);
}

/* A number, a text, or for a list its JSON: some files give a value per layer. */
static void put_value(const json_t *v)
{
    if (json_is_string(v)) {
        put(json_string_value(v));
    } else if (json_is_real(v)) {
        cli_printf("%g", json_real_value(v));
    } else {
        char *s = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
        put(s ? s : "?");
        free(s);
    }
}

/* A row whose value is absent or 0 is left out. */
static bool present(const json_t *v)
{
    return v && !json_is_null(v) && !(json_is_number(v) && json_number_value(v) == 0);
}

static void row(const json_t *o, const char *name, const char *key, const char *unit)
{
    const json_t *v = json_object_get(o, key);
    if (!present(v))
        return;
    label(name);
    put_value(v);
    cli_printf("%s\n", unit);
}

/* ---- sections -------------------------------------------------------------------------------------------------- */

static void put_file(const json_t *r)
{
    const char *name = string(r, "name");
    put(*name ? name : string(r, "file"));
    put("\n");
    label("file");
    put(string(r, "file"));
    put(", ");
    put_bytes(number(r, "bytes"));
    if (number(r, "parts") > 1)
        cli_printf(" in %.0f parts", number(r, "parts"));
    cli_printf(", %s version %.0f\n", string(r, "format"), number(r, "version"));
    label("architecture");
    put(string(r, "architecture"));
    put("\n");
    if (!json_is_true(json_object_get(r, "supported"))) {
        label("does not run");
        put(string(r, "unsupported_because"));
        put("\n");
    }
}

static void put_quantisation(const json_t *r)
{
    const json_t *q = json_object_get(r, "quantisation");
    label("parameters");
    put_count(number(r, "parameters"));
    cli_printf("\n");
    label("quantisation");
    const char *name = string(q, "label"), *most = string(q, "mostly");
    put(*name ? name : most);
    if (*name && *most && strcmp(name, most) != 0)
        cli_printf(", mostly %s", most);
    cli_printf(", %.2f bits per weight\n", number(q, "bits_per_weight"));
    const char *class;
    json_t *types;
    json_object_foreach(json_object_get(q, "classes"), class, types)
    {
        const char *type, *between = "";
        json_t *sums;
        cli_printf("    %-13s ", class);
        json_object_foreach(types, type, sums)
        {
            cli_printf("%s%s ", between, type);
            put_bytes(number(sums, "bytes"));
            cli_printf(" (%.0f tensor%s)", number(sums, "tensors"), number(sums, "tensors") == 1 ? "" : "s");
            between = ", ";
        }
        cli_printf("\n");
    }
}

static void put_attention(const json_t *r)
{
    const json_t *heads = json_object_get(r, "heads"), *kv = json_object_get(r, "kv_heads");
    if (present(heads)) {
        label("heads");
        put_value(heads);
        if (present(kv) && !json_equal(kv, heads)) {
            cli_printf(", keys and values ");
            put_value(kv);
        }
        if (present(json_object_get(r, "head_k"))) {
            cli_printf("; width ");
            put_value(json_object_get(r, "head_k"));
            if (!json_equal(json_object_get(r, "head_k"), json_object_get(r, "head_v"))) {
                cli_printf(" and ");
                put_value(json_object_get(r, "head_v"));
            }
        }
        cli_printf("\n");
    }
    const json_t *rope = json_object_get(r, "rope");
    if (present(json_object_get(rope, "base")) || present(json_object_get(rope, "scaling"))) {
        static const char *const keys[] = {"base", "dimensions", "scaling", "factor", "original_context"};
        static const char *const words[] = {"base ", "dimensions ", "scaling ", "factor ", "original context "};
        const char *between = "";
        label("rope");
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            const json_t *v = json_object_get(rope, keys[i]);
            if (!present(v))
                continue;
            cli_printf("%s%s", between, words[i]);
            put_value(v);
            between = ", ";
        }
        cli_printf("\n");
    }
    const double per_token = number(r, "kv_bytes_per_token");
    if (per_token > 0) {
        label("KV cache");
        put_bytes(per_token);
        cli_printf(" a token");
        const json_t *context = json_object_get(r, "context");
        if (json_is_integer(context)) {
            cli_printf(", ");
            put_bytes(per_token * json_number_value(context));
            cli_printf(" for the whole context");
        }
        cli_printf(" (f16)\n");
    }
}

static void put_text(const json_t *r)
{
    const json_t *t = json_object_get(r, "tokenizer"), *special = json_object_get(t, "special");
    const char *model = string(t, "model"), *pre = string(t, "pre");
    label("tokenizer");
    put(*model ? model : "none");
    if (*pre) {
        put(", ");
        put(pre);
    }
    cli_printf("; %.0f tokens\n", number(t, "tokens"));
    const char *name;
    json_t *one;
    bool first = true;
    json_object_foreach((json_t *)(size_t)special, name, one)
    {
        label(first ? "special tokens" : "");
        char *text = json_dumps(json_object_get(one, "text"), JSON_ENCODE_ANY); /* quoted; control characters escaped */
        cli_printf("%-8s %6.0f  ", name, number(one, "id"));
        put(text ? text : "");
        cli_printf("\n");
        free(text);
        first = false;
    }
    const json_t *template = json_object_get(r, "chat_template");
    label("chat template");
    if (json_is_true(json_object_get(template, "present")))
        cli_printf("%.0f bytes (--json shows it)\n", number(template, "length"));
    else
        cli_printf("none: only raw text\n");
}

static void put_tensors(const json_t *r)
{
    size_t i, k;
    json_t *t, *d;
    cli_printf("  tensors\n");
    json_array_foreach(json_object_get(r, "tensors"), i, t)
    {
        char shape[128] = "";
        json_array_foreach(json_object_get(t, "shape"), k, d)
        {
            const size_t used = strlen(shape);
            snprintf(shape + used, sizeof shape - used, "%s%" JSON_INTEGER_FORMAT, k ? " x " : "",
                     json_integer_value(d));
        }
        cli_printf("    %-8s %-24s ", string(t, "type"), shape);
        put(string(t, "name"));
        cli_printf("\n");
    }
}

static int put_table(const char *report, bool tensors)
{
    json_t *r = json_loads(report, 0, NULL);
    if (!r)
        return cli_fail_text("show", "the report is not JSON; this is a fault of quern");
    put_file(r);
    put_quantisation(r);
    row(r, "layers", "layers", "");
    row(r, "embedding", "embedding", "");
    row(r, "feed forward", "feed_forward", "");
    row(r, "experts", "experts", "");
    row(r, "experts used", "experts_used", "");
    row(r, "context", "context", " tokens");
    row(r, "window", "window", " tokens");
    put_attention(r);
    row(r, "vocabulary", "vocabulary", "");
    put_text(r);
    if (tensors)
        put_tensors(r);
    json_decref(r);
    return cli_flush();
}

static int show(const cli_command *c, int argc, char **argv)
{
    show_options o = {0};
    const char *operands[CLI_MAX_OPERANDS];
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc != CLI_GO)
        return rc;
    qn_model *m = NULL;
    char *report = NULL;
    qn_err err;
    rc = cli_model_open(operands[0], QN_OPEN_HEADER, &m);
    if (rc == CLI_OK && qn_model_report(m, o.tensors, &report, &err) != QN_OK)
        rc = cli_fail(&err);
    if (rc == CLI_OK)
        rc = o.json ? cli_printf("%s\n", report) : put_table(report, o.tensors);
    qn_free(report);
    qn_model_close(m);
    return rc;
}

static const cli_option options[] = {
    {"--tensors", NULL, CLI_FLAG, NULL, offsetof(show_options, tensors), 0, 0, "and every tensor: type, shape, name"},
    {"--json", NULL, CLI_FLAG, NULL, offsetof(show_options, json), 0, 0, "the whole report as one JSON object"},
};

const cli_command cli_cmd_show = {
    .name = "show",
    .usage = "[MODEL] [--tensors] [--json]",
    .summary = "Say what a model file is: architecture, sizes, quantisation, context, tokens, template.",
    .details =
        "Reads only the header of the file, however large it is. Without MODEL: the embedded demonstration model.",
    .min_operands = 0,
    .max_operands = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = show,
};
