/* cmd_render.c - template + messages -> the prompt's bytes and nothing else. Its form is fixed: other tools check us by
 * it. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/open.h"

typedef struct render_options {
    const char *messages, *tools, *date;
    cli_list vars;
    bool no_generation_prompt;
} render_options;

/* A model by its first bytes, else by its name; everything else is the text of a template. */
static bool is_model(const char *path)
{
    if (strcmp(path, "embedded") == 0)
        return true;
    const size_t n = strlen(path);
    if (n > 5 && strcmp(path + n - 5, ".gguf") == 0)
        return true;
    char magic[4] = {0};
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    const size_t got = fread(magic, 1, 4, f);
    fclose(f);
    return got == 4 && memcmp(magic, "GGUF", 4) == 0;
}

static bool is_json(const char *text)
{
    json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);
    json_decref(j);
    return j != NULL;
}

/* NAME=JSON -> {NAME, JSON}; the names are copied to `p`, which has room for them. */
static int split_vars(const cli_command *c, const cli_list *l, qn_var *vars, char *p)
{
    for (size_t i = 0; i < l->n; i++) {
        const char *eq = strchr(l->v[i], '=');
        if (!eq || eq == l->v[i])
            return cli_usage(c, "--var: '%s' is not NAME=JSON", l->v[i]);
        if (!is_json(eq + 1))
            return cli_usage(c, "--var: %s is not JSON; a text needs its quotes: --var '%.*s=\"...\"'", eq + 1,
                             (int)(eq - l->v[i]), l->v[i]);
        const size_t n = (size_t)(eq - l->v[i]);
        memcpy(p, l->v[i], n);
        p[n] = 0;
        vars[i] = (qn_var){.name = p, .json = eq + 1};
        p += n + 1;
    }
    return CLI_OK;
}

static bool is_date(const char *s)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    long long y, m, d;
    if (strlen(s) != 10 || s[4] != '-' || s[7] != '-' || !cli_number(s, 4, 1, 9999, &y) ||
        !cli_number(s + 5, 2, 1, 12, &m) || !cli_number(s + 8, 2, 1, 31, &d))
        return false;
    const bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return d <= days[m - 1] + (m == 2 && leap);
}

/* A text that the library takes as a terminated string. */
static int read_text(const char *path, char **text)
{
    size_t n;
    const int rc = cli_read(path, text, &n);
    if (rc == CLI_OK && strlen(*text) != n) {
        free(*text);
        *text = NULL;
        return cli_fail_text(path, "holds a NUL byte: it is not text");
    }
    return rc;
}

static int render_all(const char *what, const render_options *o, const qn_var *vars)
{
    qn_model *m = NULL;
    char *template_text = NULL, *messages = NULL, *tools = NULL, *prompt = NULL;
    size_t n = 0;
    int rc = is_model(what) ? cli_model_open(what, QN_OPEN_VOCAB, &m) : read_text(what, &template_text);
    if (rc == CLI_OK)
        rc = read_text(o->messages, &messages);
    if (rc == CLI_OK && o->tools)
        rc = read_text(o->tools, &tools);
    if (rc == CLI_OK) {
        const qn_render_options r = {.model = m,
                                     .template_text = template_text,
                                     .messages_json = messages,
                                     .tools_json = tools,
                                     .vars = vars,
                                     .n_vars = o->vars.n,
                                     .no_generation_prompt = o->no_generation_prompt,
                                     .date = o->date};
        qn_err err;
        rc = qn_render(&r, &prompt, &n, &err) == QN_OK ? cli_put(prompt, n) : cli_fail(&err);
    }
    qn_free(prompt);
    free(tools);
    free(messages);
    free(template_text);
    qn_model_close(m);
    return rc;
}

static int render(const cli_command *c, int argc, char **argv)
{
    render_options o = {0};
    const char *operands[CLI_MAX_OPERANDS];
    qn_var *vars = NULL;
    char *names = NULL;
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc != CLI_GO)
        goto out;
    if (!o.messages) {
        rc = cli_usage(c, "--messages CONV.json is missing");
        goto out;
    }
    if (o.date && !is_date(o.date)) {
        rc = cli_usage(c, "--date: '%s' is not a day as YYYY-MM-DD", o.date);
        goto out;
    }
    size_t room = 1;
    for (size_t i = 0; i < o.vars.n; i++)
        room += strlen(o.vars.v[i]) + 1;
    vars = calloc(o.vars.n + 1, sizeof *vars);
    names = malloc(room);
    if (!vars || !names) {
        rc = cli_fail_text("render", "out of memory");
        goto out;
    }
    rc = split_vars(c, &o.vars, vars, names);
    if (rc == CLI_OK)
        rc = render_all(operands[0], &o, vars);
out:
    free(names);
    free(vars);
    cli_list_free(&o.vars);
    return rc;
}

static const cli_option options[] = {
    {"--messages", NULL, CLI_TEXT, "CONV.json", offsetof(render_options, messages), 0, 0,
     "the conversation: an array of OpenAI-style messages, or an object with \"messages\" (and \"tools\"); - reads "
     "standard input"},
    {"--tools", NULL, CLI_TEXT, "TOOLS.json", offsetof(render_options, tools), 0, 0, "an array of OpenAI-style tools"},
    {"--var", NULL, CLI_LIST, "NAME=JSON", offsetof(render_options, vars), 0, 0,
     "set a variable of the template; may be repeated: --var enable_thinking=false --var bos_token='\"<s>\"'"},
    {"--no-generation-prompt", NULL, CLI_FLAG, NULL, offsetof(render_options, no_generation_prompt), 0, 0,
     "end after the last message instead of opening the assistant's answer"},
    {"--date", NULL, CLI_TEXT, "YYYY-MM-DD", offsetof(render_options, date), 0, 0,
     "the day that the template sees (default: today)"},
};

const cli_command cli_cmd_render = {
    .name = "render",
    .usage = "MODEL|FILE.jinja --messages CONV.json [--tools TOOLS.json] [--var NAME=JSON]... [--no-generation-prompt] "
             "[--date YYYY-MM-DD]",
    .summary = "Turn a conversation into the prompt that a model's chat template makes of it.",
    .details =
        "Writes the prompt's bytes and nothing else. With a model, its template and its tokens are used. Exit code "
        "1 and the reason where the template raises an exception.\n\nExample: echo "
        "'[{\"role\":\"user\",\"content\":\"hi\"}]' | quern render embedded --messages -",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = render,
};
