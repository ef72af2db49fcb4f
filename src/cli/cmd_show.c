#include "cli/commands.h"
#include "cli/io.h"
#include "cli/open.h"
static int show(const cli_command *c, int argc, char **argv) {(void)c;(void)argc;(void)argv; return 0;}
const cli_command cli_cmd_show = { .name = "show", .usage="", .summary="x", .details="", .run=show};
