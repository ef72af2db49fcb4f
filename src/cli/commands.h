/* commands.h - the commands that main knows. */
#ifndef QN_CLI_COMMANDS_H
#define QN_CLI_COMMANDS_H

#include "cli/args.h"

extern const cli_command cli_cmd_run;
extern const cli_command cli_cmd_show;
extern const cli_command cli_cmd_tokenize;
extern const cli_command cli_cmd_render;
extern const cli_command cli_cmd_logits;
extern const cli_command cli_cmd_perplexity;
extern const cli_command cli_cmd_embed;
extern const cli_command cli_cmd_imatrix;
extern const cli_command cli_cmd_quantize;
extern const cli_command cli_cmd_convert;
extern const cli_command cli_cmd_synth;
extern const cli_command cli_cmd_bench;
extern const cli_command cli_cmd_serve;
extern const cli_command cli_cmd_cache;
extern const cli_command cli_cmd_eval;
extern const cli_command cli_cmd_compare;
extern const cli_command cli_cmd_inspect;
extern const cli_command cli_cmd_ledger;
extern const cli_command cli_cmd_audit;
extern const cli_command cli_cmd_report;

#endif
