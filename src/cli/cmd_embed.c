/* cmd_embed.c - texts -> vectors: JSON lines as they are computed, or raw float32 at the end. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/open.h"
#include "cli/term.h"

typedef struct embed_options {
    const char *prompt, *file, *out, *query;
    int pooling; /* qn_pooling, in the order of the option's words */
    bool as_is, json;
    cli_engine engine;
} embed_options;

typedef struct embed_job {
    const embed_options *o;
    const qn_model *model;
    qn_engine *engine;
    qn_pooling pooling;
    size_t n_embd, index;
    float *all; /* for -o: every vector so far */
    size_t n, cap;
} embed_job;

static int put_vector(const float *v, size_t n)
{
    int rc = cli_put("[", 1);
    for (size_t i = 0; rc == CLI_OK && i < n; i++)
        rc = isfinite(v[i]) ? cli_printf(i ? ",%.9g" : "%.9g", (double)v[i]) : cli_printf(i ? ",null" : "null");
    return rc == CLI_OK ? cli_put("]", 1) : rc;
}

/* One line: the vector or, without pooling, the array of the tokens' vectors. */
static int put_line(const embed_job *j, const float *v, size_t rows, size_t n_tokens)
{
    int rc = CLI_OK;
    bool many = j->pooling == QN_POOL_NONE;
    if (j->o->json)
        rc = cli_printf("{\"index\":%zu,\"tokens\":%zu,\"embedding\":", j->index, n_tokens);
    if (rc == CLI_OK && many)
        rc = cli_put("[", 1);
    for (size_t i = 0; rc == CLI_OK && i < rows; i++) {
        if (i)
            rc = cli_put(",", 1);
        if (rc == CLI_OK)
            rc = put_vector(v + i * j->n_embd, j->n_embd);
    }
    if (rc == CLI_OK && many)
        rc = cli_put("]", 1);
    if (rc == CLI_OK)
        rc = cli_printf(j->o->json ? "}\n" : "\n");
    return rc == CLI_OK ? cli_flush() : rc;
}

/* Room for n more floats behind the others. */
static float *more(embed_job *j, size_t n)
{
    if (j->cap - j->n < n) {
        const size_t cap = 2 * j->cap + n;
        float *p = cap < SIZE_MAX / sizeof *p ? realloc(j->all, cap * sizeof *p) : NULL;
        if (!p)
            return NULL;
        j->all = p;
        j->cap = cap;
    }
    return j->all + j->n;
}

/* A line with the document's score, or the scores of all labels. */
static int score_text(embed_job *j, const char *where, const char *text, size_t n)
{
    const size_t labels = (size_t)qn_rerank_labels(j->engine);
    float *v = more(j, labels ? labels : 1);
    size_t n_ids = 0;
    qn_err err;
    int rc = CLI_OK;
    if (!v)
        return cli_fail_text(where, "%zu scores do not fit the memory", labels);
    if (qn_rerank(j->engine, j->o->query, strlen(j->o->query), text, n, v, &n_ids, &err) != QN_OK)
        return cli_fail_text(where, "%s", err.what);
    if (j->o->out) {
        j->n += labels;
    } else {
        if (j->o->json)
            rc = cli_printf("{\"index\":%zu,\"tokens\":%zu,\"score\":", j->index, n_ids);
        if (rc == CLI_OK && labels == 1)
            rc = isfinite(v[0]) ? cli_printf("%.9g", (double)v[0]) : cli_printf("null");
        else if (rc == CLI_OK)
            rc = put_vector(v, labels);
        if (rc == CLI_OK)
            rc = cli_printf(j->o->json ? "}\n" : "\n");
        rc = rc == CLI_OK ? cli_flush() : rc;
    }
    j->index++;
    return rc;
}

static int embed_text(embed_job *j, const char *where, const char *text, size_t n)
{
    int32_t *ids = NULL;
    size_t n_ids = 0;
    qn_err err;
    if (j->o->query)
        return score_text(j, where, text, n);
    qn_status s = qn_tokenize(j->model, text, n, false, QN_BOS_AUTO, &ids, &n_ids, &err);
    const size_t rows = j->pooling == QN_POOL_NONE ? n_ids : 1;
    float *v = s == QN_OK ? more(j, rows * j->n_embd) : NULL;
    int rc;
    if (s == QN_OK && !v)
        rc = cli_fail_text(where, "%zu vectors of %zu floats do not fit the memory", rows, j->n_embd);
    else if (s != QN_OK || qn_embed(j->engine, ids, n_ids, j->pooling, !j->o->as_is, v, &err) != QN_OK)
        rc = cli_fail_text(where, "%s", err.what);
    else if (j->o->out)
        rc = CLI_OK, j->n += rows * j->n_embd;
    else
        rc = put_line(j, v, rows, n_ids);
    j->index++;
    qn_free(ids);
    return rc;
}

static int embed_lines(embed_job *j)
{
    char *line = NULL, where[64];
    size_t cap = 0;
    ssize_t got;
    int rc = CLI_OK;
    errno = 0;
    while (rc == CLI_OK && (got = getline(&line, &cap, stdin)) >= 0) {
        size_t n = (size_t)got;
        n -= n && line[n - 1] == '\n';
        snprintf(where, sizeof where, "standard input: line %zu", j->index + 1);
        rc = embed_text(j, where, line, n);
        errno = 0;
    }
    if (rc == CLI_OK && !feof(stdin))
        rc = cli_fail_text("standard input", "cannot read: %s", strerror(errno));
    free(line);
    return rc;
}

static int embed_all(embed_job *j)
{
    char *text = NULL;
    size_t n = 0;
    int rc;
    if (j->o->prompt) {
        rc = embed_text(j, "--prompt", j->o->prompt, strlen(j->o->prompt));
    } else if (j->o->file) {
        rc = cli_read(j->o->file, &text, &n);
        if (rc == CLI_OK)
            rc = embed_text(j, j->o->file, text, n - (n && text[n - 1] == '\n'));
    } else {
        rc = embed_lines(j);
    }
    if (rc == CLI_OK && j->o->out)
        rc = cli_write_floats(j->o->out, j->all, j->n);
    free(text);
    free(j->all);
    return rc;
}

static int embed(const cli_command *c, int argc, char **argv)
{
    embed_options o = {0};
    const char *operands[CLI_MAX_OPERANDS];
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc == CLI_GO)
        rc = cli_engine_check(c, &o.engine);
    if (rc != CLI_GO)
        return rc;
    if (o.prompt && o.file)
        return cli_usage(c, "give --prompt or --file, not both");
    if (o.query && (o.pooling || o.as_is))
        return cli_usage(c, "--query asks for scores; leave out --pooling and --no-normalise");
    if (o.json && o.out)
        return cli_usage(c, "--output writes raw floats; leave out --json");
    qn_model *m = NULL;
    embed_job j = {.o = &o};
    rc = cli_model_open(operands[0], QN_OPEN_FULL, &m);
    if (rc == CLI_OK)
        rc = cli_engine_open(m, &o.engine, &j.engine);
    if (rc == CLI_OK) {
        qn_err err;
        qn_model_info info;
        qn_model_get_info(m, &info);
        j.model = m;
        j.n_embd = (size_t)info.n_embd;
        rc = o.query || qn_embed_pooling(j.engine, (qn_pooling)o.pooling, &j.pooling, &err) == QN_OK ? embed_all(&j) : cli_fail(&err);
    }
    qn_engine_close(j.engine);
    qn_model_close(m);
    return rc;
}

static const cli_option options[] = {
    {"--prompt", "-p", CLI_TEXT, "TEXT", offsetof(embed_options, prompt), 0, 0, "embed this"},
    {"--file", "-f", CLI_TEXT, "FILE", offsetof(embed_options, file), 0, 0,
     "embed the text of a file, as one (- is standard input)"},
    {"--query", NULL, CLI_TEXT, "TEXT", offsetof(embed_options, query), 0, 0,
     "score each text as an answer to this, by a reranker, instead of turning it into a vector"},
    {"--pooling", NULL, CLI_CHOICE, "auto|none|mean|cls|last", offsetof(embed_options, pooling), 0, 0,
     "how the tokens' vectors become one; none: one for each token (default: as the file says)"},
    {"--no-normalise", NULL, CLI_FLAG, NULL, offsetof(embed_options, as_is), 0, 0,
     "leave vectors as they come (otherwise their length is 1)"},
    {"--json", NULL, CLI_FLAG, NULL, offsetof(embed_options, json), 0, 0,
     "each line is an object: index, tokens, embedding"},
    {"--output", "-o", CLI_TEXT, "OUT.f32", offsetof(embed_options, out), 0, 0,
     "write raw float32 instead; the file appears whole or not at all; - is standard output"},
    CLI_ENGINE_OPTIONS(embed_options, engine, "tokens that a text may have (default: what the model states and memory holds)"),
};

const cli_command cli_cmd_embed = {
    .name = "embed",
    .usage = "MODEL [--query TEXT] [-p TEXT | -f FILE] [--pooling auto|none|mean|cls|last] [--json | -o OUT.f32]",
    .summary = "Turn texts into vectors.",
    .details = "Without -p and -f each line of standard input is a text. For each text one line comes out, at once: a JSON array "
               "of numbers. Raw output is little-endian float32, one vector after another. Any model will do; those made for "
               "it say how they are pooled. With --query a reranker's scores come out instead, the greater the better.\n\n"
               "Example: echo 'def f(x):' | quern embed model.gguf",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = embed,
};
