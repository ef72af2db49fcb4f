/* cmd_tokenize.c - lines on stdin -> one JSON array of ids per line. Its form is fixed: other tools check us by it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/open.h"

typedef struct tokenize_options {
    bool no_special, hex;
    int add_bos; /* qn_add_bos */
} tokenize_options;

static int digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Hex to bytes, in place; false when a character is no digit or one is left over. */
static bool unhex(char *line, size_t *n)
{
    if (*n % 2)
        return false;
    for (size_t i = 0; i < *n; i += 2) {
        const int high = digit(line[i]), low = digit(line[i + 1]);
        if (high < 0 || low < 0)
            return false;
        line[i / 2] = (char)(high * 16 + low);
    }
    *n /= 2;
    return true;
}

static int put_ids(const int32_t *ids, size_t n)
{
    int rc = cli_put("[", 1);
    for (size_t i = 0; rc == CLI_OK && i < n; i++)
        rc = cli_printf(i ? ",%d" : "%d", (int)ids[i]);
    if (rc == CLI_OK)
        rc = cli_put("]\n", 2);
    return rc == CLI_OK ? cli_flush() : rc;
}

static int lines(const qn_model *m, const tokenize_options *o)
{
    char *line = NULL;
    size_t cap = 0, number = 0;
    ssize_t got;
    int rc = CLI_OK;
    errno = 0;
    while (rc == CLI_OK && (got = getline(&line, &cap, stdin)) >= 0) {
        size_t n = (size_t)got;
        number++;
        n -= n && line[n - 1] == '\n';
        if (o->hex && !unhex(line, &n)) {
            char where[64];
            snprintf(where, sizeof where, "standard input: line %zu", number);
            rc = cli_fail_text(where, "is not pairs of hexadecimal digits");
            break;
        }
        int32_t *ids;
        size_t n_ids;
        qn_err err;
        if (qn_tokenize(m, line, n, !o->no_special, (qn_add_bos)o->add_bos, &ids, &n_ids, &err) != QN_OK) {
            rc = cli_fail(&err);
            break;
        }
        rc = put_ids(ids, n_ids);
        qn_free(ids);
        errno = 0;
    }
    if (rc == CLI_OK && !feof(stdin))
        rc = cli_fail_text("standard input", "cannot read: %s", strerror(errno));
    free(line);
    return rc;
}

static int tokenize(const cli_command *c, int argc, char **argv)
{
    tokenize_options o = {0};
    const char *operands[CLI_MAX_OPERANDS];
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc != CLI_GO)
        return rc;
    qn_model *m = NULL;
    rc = cli_model_open(operands[0], QN_OPEN_VOCAB, &m);
    if (rc == CLI_OK)
        rc = lines(m, &o);
    qn_model_close(m);
    return rc;
}

static const cli_option options[] = {
    {"--no-special", NULL, CLI_FLAG, NULL, offsetof(tokenize_options, no_special), 0, 0,
     "text that looks like a special token is ordinary text (otherwise it becomes that token)"},
    {"--add-bos", NULL, CLI_CHOICE, "auto|yes|no", offsetof(tokenize_options, add_bos), 0, 0,
     "auto: begin and end as the file asks (default); yes: BOS; no: neither"},
    {"--hex", NULL, CLI_FLAG, NULL, offsetof(tokenize_options, hex), 0, 0,
     "each line is the text's bytes in hexadecimal, so that it may hold any byte"},
};

const cli_command cli_cmd_tokenize = {
    .name = "tokenize",
    .usage = "MODEL [--no-special] [--add-bos auto|yes|no] [--hex]",
    .summary = "Turn lines of text into token ids.",
    .details =
        "Reads lines from standard input, without their newline and otherwise as they are, and writes for each one "
        "JSON array of ids on a line of its own, at once.\n\nExample: echo 'def f(x):' | quern tokenize embedded",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = tokenize,
};
