/* main.c - the quern command: find the command, run it, leave with its exit code. The only file that exits. */
#include <locale.h>
#include <langinfo.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/term.h"
#include "quern.h"

static const cli_command *const commands[] = {
    &cli_cmd_run,
    &cli_cmd_show,
    &cli_cmd_tokenize,
    &cli_cmd_render,
    &cli_cmd_logits,
    &cli_cmd_perplexity,
    &cli_cmd_embed,
    &cli_cmd_imatrix,
    &cli_cmd_quantize,
    &cli_cmd_convert,
    &cli_cmd_synth,
    &cli_cmd_bench,
    &cli_cmd_serve,
    &cli_cmd_cache,
    &cli_cmd_eval,
    &cli_cmd_compare,
    &cli_cmd_inspect,
    &cli_cmd_ledger,
    &cli_cmd_audit,
    &cli_cmd_report,
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void overview(void)
{
    printf("quern %s: run open-weight language models on this machine.\n\n"
           "quern COMMAND [ARGUMENTS]\n\nCommands:\n",
           qn_version());
    for (int i = 0; i < N_COMMANDS; i++)
        printf("  %-12s %s\n", commands[i]->name, commands[i]->summary);
    printf("  %-12s %s\n", "help", "Explain a command: quern help COMMAND.");
    printf(
        "\nMODEL is the path of a GGUF file (of a split one, its first part) or `embedded`, the demonstration model\n"
        "inside this program. `quern run` talks to that one.\n\n"
        "Exit codes: 0 done, 1 failed, 2 wrong use, 130 stopped by Ctrl-C.\n");
}

static const cli_command *find(const char *name)
{
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int unknown(const char *name)
{
    const char *names[N_COMMANDS + 1];
    for (int i = 0; i < N_COMMANDS; i++)
        names[i] = commands[i]->name;
    names[N_COMMANDS] = "help";
    const char *near = cli_nearest(name, names, N_COMMANDS + 1);
    const char *kind = name[0] == '-' ? "option" : "command";
    if (near && name[0] != '-')
        return cli_usage(NULL, "unknown command '%s'; did you mean %s?", name, near);
    return cli_usage(NULL, "unknown %s '%s'", kind, name);
}

static int help(int argc, char **argv)
{
    if (argc == 0 || strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "help") == 0) {
        overview();
        return CLI_OK;
    }
    const cli_command *c = find(argv[0]);
    if (!c)
        return unknown(argv[0]);
    if (argc > 1)
        return cli_usage(NULL, "help takes one command");
    cli_help(c);
    return CLI_OK;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2)
        return cli_usage(NULL, "name a command, such as `quern run`");
    const char *first = argv[1];
    if (strcmp(first, "--version") == 0 || strcmp(first, "-V") == 0) {
        printf("quern %s\n", qn_version());
        return CLI_OK;
    }
    if (strcmp(first, "help") == 0 || strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0)
        return help(argc - 2, argv + 2);
    const cli_command *c = find(first);
    return c ? c->run(c, argc - 2, argv + 2) : unknown(first);
}

int main(int argc, char **argv)
{
    /* Only the character type: numbers are written alike everywhere. The editor needs UTF-8. */
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
    term_init();
    const int rc = dispatch(argc, argv);
    return cli_flush() == CLI_OK || rc != CLI_OK ? rc : CLI_FAILED;
}
