/* commands.h - the commands that main knows. */
#ifndef QN_CLI_COMMANDS_H
#define QN_CLI_COMMANDS_H

#include "cli/args.h"

extern const cli_command cli_cmd_run, cli_cmd_show, cli_cmd_tokenize, cli_cmd_render, cli_cmd_logits,
    cli_cmd_perplexity, cli_cmd_embed, cli_cmd_imatrix, cli_cmd_quantize, cli_cmd_convert, cli_cmd_synth, cli_cmd_bench, cli_cmd_serve;

#endif
