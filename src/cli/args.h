/* args.h - the table that describes a command: it drives parsing, --help and the messages about wrong use.
 *
 * A command is a struct of options filled by offset; a wrong name, number or choice is a usage error that names the
 * option and, where there is one, the nearest right name. Names across the files of this floor begin with cli_: nothing
 * here is part of the library. */
#ifndef QN_CLI_ARGS_H
#define QN_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit codes; CLI_GO is what cli_parse returns when the command is to run. */
enum { CLI_GO = -1, CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_INTERRUPTED = 130 };

typedef enum cli_kind {
    CLI_FLAG,   /* bool, no value */
    CLI_INT,    /* int32_t in [min, max] */
    CLI_REAL,   /* double in [min, max] */
    CLI_SEED,   /* uint64_t */
    CLI_SIZE,   /* uint64_t: bytes, as in 512M or 8G (powers of 1024) */
    CLI_TEXT,   /* const char *, as it stands */
    CLI_LIST,   /* cli_list; the option may be repeated */
    CLI_CHOICE, /* int: which of the words in `value` ("f16|f32") */
} cli_kind;

typedef struct cli_list {
    const char **v; /* pointers into argv; the array is freed by cli_list_free */
    size_t n;
} cli_list;

typedef struct cli_option {
    const char *name;  /* "--temp" */
    const char *alias; /* "-n", or NULL */
    cli_kind kind;
    const char *value; /* what --help calls the value; NULL for a flag */
    size_t offset;     /* into the command's struct */
    double min, max;
    const char *help;
} cli_option;

typedef struct cli_command cli_command;
struct cli_command {
    const char *name;
    const char *usage;   /* operands and the options that must be there: "MODEL --tokens 1,5,9 -o OUT.f32" */
    const char *summary; /* one line for `quern help` */
    const char *details; /* paragraphs under the options, or "" */
    int min_operands, max_operands;
    const cli_option *options;
    size_t n_options;
    int (*run)(const cli_command *c, int argc, char **argv); /* argv[0] is the first word after the command's name */
};

#define CLI_MAX_OPERANDS 32

/* Parse argv into `into` (whose defaults are already there) and operands[CLI_MAX_OPERANDS] (NULL where absent).
 * Returns CLI_GO, CLI_OK (help was asked for and printed) or CLI_USAGE (said why). */
int cli_parse(const cli_command *c, int argc, char **argv, void *into, const char **operands);
void cli_list_free(cli_list *l);

/* Print a command's help to stdout. */
void cli_help(const cli_command *c);

/* `quern: CMD: SENTENCE` on stderr; returns CLI_USAGE. */
int cli_usage(const cli_command *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The word of words[0..n) nearest to `word` in edits, or NULL when none is near. */
const char *cli_nearest(const char *word, const char *const *words, size_t n);

/* Strict numbers: the whole text, in range, no blanks. */
bool cli_number(const char *text, size_t n, long long min, long long max, long long *out);
bool cli_real(const char *text, double min, double max, double *out);

/* Split `a,b,c` into ids (caller frees); false on anything but whole numbers from 0. */
bool cli_ids(const char *text, int32_t **ids, size_t *n);

#endif
