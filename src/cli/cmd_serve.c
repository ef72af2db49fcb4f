/* cmd_serve.c - serve models over HTTP until stopped. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/open.h"
#include "cli/term.h"

typedef struct serve_options {
    int32_t port;
    const char *host;
    cli_engine engine;
} serve_options;

static void stop(void *server)
{
    qn_server_stop(server);
}

static void log_line(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "%s\n", line);
}

static int serve(const cli_command *c, int argc, char **argv)
{
    serve_options o = {.port = 8080};
    const char *operands[CLI_MAX_OPERANDS];
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc == CLI_GO)
        rc = cli_engine_check(c, &o.engine);
    if (rc != CLI_GO)
        return rc;
    qn_server_options s;
    qn_err err;
    qn_server *running = NULL;
    qn_server_options_init(&s);
    s.models = operands;
    while (s.n_models < CLI_MAX_OPERANDS && operands[s.n_models])
        s.n_models++;
    s.port = o.port;
    s.host = o.host;
    s.engine.n_ctx = o.engine.ctx;
    s.engine.n_threads = o.engine.threads;
    s.engine.n_chunk = o.engine.chunk;
    s.engine.kv = (qn_kv_type)o.engine.kv;
    s.engine.cpu = o.engine.cpu;
    s.engine.cpus = o.engine.cpus;
    s.engine.no_repack = o.engine.no_repack;
    s.log = log_line;
    if (qn_server_open(&s, &running, &err) != QN_OK)
        return cli_fail(&err);
    term_on_stop(stop, running);
    fprintf(stderr, "quern serves on http://%s:%d\n", o.host ? o.host : "127.0.0.1", qn_server_port(running, NULL));
    qn_server_wait(running);
    qn_server_close(running);
    return CLI_OK;
}

static const cli_option options[] = {
    {"--port", NULL, CLI_INT, "N", offsetof(serve_options, port), 0, 65535, "listen there (default 8080; 0: any free one)"},
    {"--host", NULL, CLI_TEXT, "ADDRESS", offsetof(serve_options, host), 0, 0, "listen on this address (default 127.0.0.1)"},
    CLI_ENGINE_OPTIONS(serve_options, engine, "tokens that a conversation may have (default: what the model states, at most 8192)"),
};

const cli_command cli_cmd_serve = {
    .name = "serve",
    .usage = "[MODEL...] [--port N]",
    .summary = "Serve models over HTTP in the protocols that editors and agents speak.",
    .details = "",
    .min_operands = 0,
    .max_operands = CLI_MAX_OPERANDS,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = serve,
};
