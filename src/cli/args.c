/* args.c - see args.h. */
#include "cli/args.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cli_usage(const cli_command *c, const char *fmt, ...)
{
    va_list ap;
    fprintf(stderr, "quern: %s%s", c ? c->name : "", c ? ": " : "");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, " (see `quern help%s%s`)\n", c ? " " : "", c ? c->name : "");
    return CLI_USAGE;
}

/* ---- numbers --------------------------------------------------------------------------------------------------- */

bool cli_number(const char *text, size_t n, long long min, long long max, long long *out)
{
    char copy[32];
    if (n == 0 || n >= sizeof copy)
        return false;
    memcpy(copy, text, n);
    copy[n] = 0;
    const char *digits = copy + (copy[0] == '-' || copy[0] == '+');
    if (digits[0] < '0' || digits[0] > '9')
        return false;
    char *end;
    errno = 0;
    const long long v = strtoll(copy, &end, 10);
    if (errno || *end || v < min || v > max)
        return false;
    *out = v;
    return true;
}

bool cli_real(const char *text, double min, double max, double *out)
{
    /* strtod takes blanks, hexadecimal, inf and nan: none of them is meant here. */
    if (!*text || text[strspn(text, "0123456789+-.eE")])
        return false;
    char *end;
    const double v = strtod(text, &end);
    if (end == text || *end || v < min || v > max)
        return false;
    *out = v;
    return true;
}

static bool seed(const char *text, uint64_t *out)
{
    if (!*text || strlen(text) > 20 || text[strspn(text, "0123456789")])
        return false;
    errno = 0;
    const unsigned long long v = strtoull(text, NULL, 10);
    if (errno)
        return false;
    *out = v;
    return true;
}

static bool size(const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    const size_t digits = strspn(text, "0123456789");
    const char *unit = text[digits] ? strchr(units, text[digits]) : NULL;
    if (!digits || digits > 12 || (text[digits] && (!unit || text[digits + 1])))
        return false;
    const unsigned long long v = strtoull(text, NULL, 10);
    const int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    if (v > UINT64_MAX >> shift)
        return false;
    *out = (uint64_t)v << shift;
    return true;
}

bool cli_ids(const char *text, int32_t **ids, size_t *n)
{
    size_t count = 1;
    for (const char *p = text; *p; p++)
        count += *p == ',';
    int32_t *v = malloc(count * sizeof *v);
    if (!v)
        return false;
    const char *p = text;
    for (size_t i = 0; i < count; i++) {
        const size_t len = strcspn(p, ",");
        long long id;
        if (!cli_number(p, len, 0, INT32_MAX, &id)) {
            free(v);
            return false;
        }
        v[i] = (int32_t)id;
        p += len + 1;
    }
    *ids = v;
    *n = count;
    return true;
}

/* ---- nearest names --------------------------------------------------------------------------------------------- */

/* Edits (insert, delete, replace, swap neighbours) between two short words; longer ones count as far apart. */
static size_t edits(const char *a, const char *b)
{
    enum { LIMIT = 40 };
    const size_t n = strlen(a), m = strlen(b);
    if (n >= LIMIT || m >= LIMIT)
        return LIMIT;
    unsigned char d[LIMIT + 1][LIMIT + 1];
    for (size_t i = 0; i <= n; i++) {
        for (size_t j = 0; j <= m; j++) {
            if (!i || !j) {
                d[i][j] = (unsigned char)(i + j);
                continue;
            }
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = (unsigned char)best;
        }
    }
    return d[n][m];
}

const char *cli_nearest(const char *word, const char *const *words, size_t n)
{
    const char *best = NULL;
    size_t least = strlen(word) / 3 + 2; /* one wrong letter in a short word, more in a long one */
    for (size_t i = 0; i < n; i++) {
        const size_t e = edits(word, words[i]);
        if (e < least) {
            least = e;
            best = words[i];
        }
    }
    return best;
}

/* ---- parsing --------------------------------------------------------------------------------------------------- */

static int unknown_option(const cli_command *c, const char *word)
{
    enum { MOST = 64 };
    const char *names[MOST];
    size_t n = 0;
    for (size_t i = 0; i < c->n_options && n < MOST - 1; i++)
        names[n++] = c->options[i].name;
    names[n++] = "--help";
    const char *near = cli_nearest(word, names, n);
    if (near)
        return cli_usage(c, "unknown option %s; did you mean %s?", word, near);
    return cli_usage(c, "unknown option %s", word);
}

static int choose(const cli_command *c, const cli_option *o, const char *value, int *out)
{
    const size_t n = strlen(value);
    int i = 0;
    for (const char *p = o->value; *p; i++) {
        const size_t len = strcspn(p, "|");
        if (len == n && memcmp(p, value, n) == 0) {
            *out = i;
            return CLI_GO;
        }
        p += len + (p[len] == '|');
    }
    return cli_usage(c, "%s: '%s' is none of %s", o->name, value, o->value);
}

static int set_list(const cli_command *c, const cli_option *o, const char *value, cli_list *l)
{
    const char **v = realloc(l->v, (l->n + 1) * sizeof *v);
    if (!v)
        return cli_usage(c, "%s: out of memory", o->name);
    v[l->n++] = value;
    l->v = v;
    return CLI_GO;
}

static int set(const cli_command *c, const cli_option *o, const char *value, char *into)
{
    void *field = into + o->offset;
    long long whole;
    switch (o->kind) {
    case CLI_FLAG: *(bool *)field = true; return CLI_GO;
    case CLI_TEXT: *(const char **)field = value; return CLI_GO;
    case CLI_LIST: return set_list(c, o, value, field);
    case CLI_CHOICE: return choose(c, o, value, field);
    case CLI_INT:
        if (!cli_number(value, strlen(value), (long long)o->min, (long long)o->max, &whole))
            return cli_usage(c, "%s: '%s' is not a whole number from %.0f to %.0f", o->name, value, o->min, o->max);
        *(int32_t *)field = (int32_t)whole;
        return CLI_GO;
    case CLI_REAL:
        if (!cli_real(value, o->min, o->max, field))
            return cli_usage(c, "%s: '%s' is not a number from %g to %g", o->name, value, o->min, o->max);
        return CLI_GO;
    case CLI_SIZE:
        if (!size(value, field))
            return cli_usage(c, "%s: '%s' is not a number of bytes such as 512M or 8G", o->name, value);
        return CLI_GO;
    case CLI_SEED:
        if (!seed(value, field))
            return cli_usage(c, "%s: '%s' is not a whole number from 0 to %" PRIu64, o->name, value, UINT64_MAX);
        return CLI_GO;
    }
    return CLI_GO;
}

/* Find the option of `word`; *value points behind its `=` (or behind a short name: -n5), NULL when the value is the
 * next word. */
static const cli_option *find(const cli_command *c, const char *word, const char **value)
{
    const size_t len = strcspn(word, "=");
    for (size_t i = 0; i < c->n_options; i++) {
        const cli_option *o = &c->options[i];
        *value = NULL;
        if (strlen(o->name) == len && memcmp(o->name, word, len) == 0) {
            if (word[len])
                *value = word + len + 1;
            return o;
        }
        if (o->alias && strncmp(word, o->alias, 2) == 0 && (!word[2] || o->kind != CLI_FLAG)) {
            if (word[2])
                *value = word + 2;
            return o;
        }
    }
    return NULL;
}

/* One option at argv[*i]; moves *i over a value that is a word of its own. */
static int option(const cli_command *c, int argc, char **argv, int *i, void *into)
{
    const char *value;
    const cli_option *row = find(c, argv[*i], &value);
    if (!row)
        return unknown_option(c, argv[*i]);
    cli_option as_written = *row; /* messages name the option as the user did */
    if (argv[*i][1] != '-')
        as_written.name = row->alias;
    const cli_option *o = &as_written;
    if (o->kind == CLI_FLAG) {
        if (value)
            return cli_usage(c, "%s takes no value", o->name);
    } else if (!value) {
        if (*i + 1 >= argc)
            return cli_usage(c, "%s needs a value: %s %s", o->name, o->name, o->value);
        value = argv[++*i];
    }
    return set(c, o, value, into);
}

int cli_parse(const cli_command *c, int argc, char **argv, void *into, const char **operands)
{
    int n = 0;
    bool only_operands = false;
    for (int i = 0; i < CLI_MAX_OPERANDS; i++)
        operands[i] = NULL;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (!only_operands && strcmp(word, "--") == 0) {
            only_operands = true;
        } else if (!only_operands && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
            cli_help(c);
            return CLI_OK;
        } else if (!only_operands && word[0] == '-' && word[1]) {
            const int rc = option(c, argc, argv, &i, into);
            if (rc != CLI_GO)
                return rc;
        } else if (n >= c->max_operands) {
            return cli_usage(c, "'%s' is one argument too many", word);
        } else {
            operands[n++] = word;
        }
    }
    if (n < c->min_operands)
        return cli_usage(c, "what is missing: quern %s %s", c->name, c->usage);
    return CLI_GO;
}

void cli_list_free(cli_list *l)
{
    free(l->v);
    l->v = NULL;
    l->n = 0;
}

/* ---- help ------------------------------------------------------------------------------------------------------ */

/* Print `text` wrapped at `width`, each line after the first indented by `indent`; a newline in it starts a line, and
 * blanks after one stay. */
static void wrap(const char *text, int indent, int width)
{
    int column = indent;
    bool fresh = true; /* nothing but blanks on this line */
    for (; *text; text += *text != 0) {
        const size_t len = strcspn(text, " \n");
        if (!fresh && len && column + 1 + (int)len > width) {
            printf("\n%*s", indent, "");
            column = indent;
            fresh = true;
        } else if (!fresh && len) {
            putchar(' ');
            column++;
        }
        fwrite(text, 1, len, stdout);
        column += (int)len;
        fresh = fresh && !len;
        text += len;
        if (*text == '\n') {
            printf("\n%*s", indent, "");
            column = indent;
            fresh = true;
        } else if (fresh && *text) {
            putchar(' ');
            column++;
        }
    }
    putchar('\n');
}

void cli_help(const cli_command *c)
{
    enum { COLUMN = 28, WIDTH = 100 };
    printf("quern %s %s\n\n", c->name, c->usage);
    wrap(c->summary, 0, WIDTH);
    printf("\nOptions:\n");
    for (size_t i = 0; i < c->n_options; i++) {
        const cli_option *o = &c->options[i];
        const int n = printf("  %s%s%s%s%s", o->alias ? o->alias : "", o->alias ? ", " : "", o->name,
                             o->value ? " " : "", o->value ? o->value : "");
        if (n >= COLUMN)
            printf("\n%*s", COLUMN, "");
        else
            printf("%*s", COLUMN - n, "");
        wrap(o->help, COLUMN, WIDTH);
    }
    printf("  %-*s%s\n", COLUMN - 2, "-h, --help", "this text");
    if (c->details[0]) {
        putchar('\n');
        wrap(c->details, 0, WIDTH);
    }
}
