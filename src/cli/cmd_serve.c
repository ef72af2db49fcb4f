/* cmd_serve.c - serve models over HTTP until stopped. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/open.h"
#include "cli/term.h"

typedef struct serve_options {
    int32_t port, ollama_port, parallel, queue, max_gap, idle, body_mib;
    const char *host, *key_file, *cert, *key, *log;
    uint64_t memory, recall_ram;
    cli_list keys, origins, hosts;
    bool ollama, insecure, lazy, log_prompts, quiet;
    int loop; /* qn_loops */
    double temp, top_p, min_p, drain;
    cli_engine engine;
} serve_options;

/* ---- keys ---- */

/* One key a line; empty lines and those that begin with # do not count. They become part of the list; *text keeps them. */
static int read_keys(const char *path, cli_list *keys, char **text)
{
    size_t n;
    int rc = cli_read(path, text, &n);
    if (rc != CLI_OK)
        return rc;
    char *save = NULL;
    const size_t before = keys->n;
    for (char *line = strtok_r(*text, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save)) {
        line += strspn(line, " \t");
        for (size_t k = strlen(line); k && (line[k - 1] == ' ' || line[k - 1] == '\t');)
            line[--k] = 0;
        if (!*line || *line == '#')
            continue;
        const char **more = realloc(keys->v, (keys->n + 1) * sizeof *more);
        if (!more)
            return cli_fail_text(path, "there is no memory for the keys");
        keys->v = more;
        keys->v[keys->n++] = line;
    }
    return keys->n > before ? CLI_OK : cli_fail_text(path, "there is no key in it; write one a line");
}

/* ---- the log ---- */

static void log_line(void *arg, const char *line)
{
    fprintf(arg, "%s\n", line);
    fflush(arg);
}

static void stop(void *server)
{
    qn_server_stop(server);
}

/* ---- running ---- */

static void announce(const serve_options *o, const qn_server *s)
{
    int32_t ollama = 0;
    const char *host = o->host ? o->host : "127.0.0.1", *scheme = o->cert ? "https" : "http";
    const bool six = strchr(host, ':') != NULL;
    const int32_t port = qn_server_port(s, &ollama);
    fprintf(stderr, "quern serves on %s://%s%s%s:%d\n", scheme, six ? "[" : "", host, six ? "]" : "", port);
    if (ollama)
        fprintf(stderr, "and for clients of Ollama on %s://%s%s%s:%d\n", scheme, six ? "[" : "", host, six ? "]" : "", ollama);
}

static int run(serve_options *o, const char **operands)
{
    qn_server_options s;
    qn_server *server = NULL;
    qn_err err;
    FILE *log = stderr;
    qn_server_options_init(&s);
    s.models = operands;
    while (s.n_models < CLI_MAX_OPERANDS && operands[s.n_models])
        s.n_models++;
    cli_engine_fill(&o->engine, &s.engine);
    s.engine.max_seqs = o->parallel;
    s.scheduler.max_queue = o->queue;
    s.scheduler.max_gap_ms = o->max_gap;
    s.preload = !o->lazy;
    s.host = o->host;
    s.port = o->port;
    s.ollama_port = o->ollama ? o->ollama_port : -1;
    s.keys = o->keys.v;
    s.n_keys = o->keys.n;
    s.insecure = o->insecure;
    s.origins = o->origins.v;
    s.n_origins = o->origins.n;
    s.hosts = o->hosts.v;
    s.n_hosts = o->hosts.n;
    s.cert = o->cert;
    s.key = o->key;
    s.temperature = (float)o->temp;
    s.top_p = (float)o->top_p;
    s.min_p = (float)o->min_p;
    s.body_limit = (uint64_t)o->body_mib << 20;
    s.idle_s = o->idle;
    s.drain_s = o->drain;
    s.log_prompts = o->log_prompts;
    s.loop = (qn_loops)o->loop;
    s.memory = o->memory;
    s.recall_ram = o->recall_ram;
    if (o->log && !(log = fopen(o->log, "ae")))
        return cli_fail_text(o->log, "cannot append: %s", strerror(errno));
    s.log = o->quiet ? NULL : log_line;
    s.log_arg = log;
    int rc = CLI_OK;
    if (qn_server_open(&s, &server, &err) != QN_OK) {
        rc = cli_fail(&err);
    } else {
        term_on_stop(stop, server);
        announce(o, server);
        qn_server_wait(server);
        qn_server_close(server);
    }
    if (log != stderr)
        fclose(log);
    return rc;
}

static int serve(const cli_command *c, int argc, char **argv)
{
    serve_options o = {.port = 8080, .ollama_port = 11434, .temp = 0.7, .top_p = 0.95, .drain = 30, .body_mib = 32, .recall_ram = 16 << 20};
    const char *operands[CLI_MAX_OPERANDS + 1] = {0};
    const char *env = getenv("QUERN_API_KEY");
    char *key_text = NULL;
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc == CLI_GO)
        rc = cli_engine_check(c, &o.engine);
    if (rc == CLI_GO && !o.cert != !o.key)
        rc = cli_usage(c, "--tls-cert and --tls-key go together");
    if (rc == CLI_GO && env && *env && !o.keys.n && !o.key_file) {
        o.keys.v = malloc(sizeof *o.keys.v);
        if (o.keys.v)
            o.keys.v[o.keys.n++] = env;
    }
    if (rc == CLI_GO && o.key_file && (rc = read_keys(o.key_file, &o.keys, &key_text)) == CLI_OK)
        rc = CLI_GO;
    if (rc == CLI_GO && (rc = cli_draft_open(&o.engine)) == CLI_OK)
        rc = run(&o, operands);
    cli_draft_close(&o.engine);
    cli_list_free(&o.keys);
    cli_list_free(&o.origins);
    cli_list_free(&o.hosts);
    free(key_text);
    return rc;
}

#define AT(field) offsetof(serve_options, field)
static const cli_option options[] = {
    {"--port", "-p", CLI_INT, "N", AT(port), 0, 65535, "listen there (default 8080; 0: any free one)"},
    {"--host", NULL, CLI_TEXT, "ADDRESS", AT(host), 0, 0, "listen on this address (default 127.0.0.1: this machine only)"},
    {"--ollama", NULL, CLI_FLAG, NULL, AT(ollama), 0, 0, "listen on port 11434, too, where clients of Ollama look"},
    {"--ollama-port", NULL, CLI_INT, "N", AT(ollama_port), 0, 65535, "with --ollama: another port"},
    {"--lazy", NULL, CLI_FLAG, NULL, AT(lazy), 0, 0, "load the first model when it is asked for, not at once"},
    {"--memory", NULL, CLI_SIZE, "SIZE", AT(memory), 0, 0,
     "what loaded models may take, such as 12G; those that rest make room for others (default: no limit)"},
    CLI_CACHE_OPTIONS(serve_options, engine),
    CLI_DRAFT_OPTIONS(serve_options, engine),
    {"--parallel", NULL, CLI_INT, "N", AT(parallel), 1, 1024, "requests computed together (default 8)"},
    {"--queue", NULL, CLI_INT, "N", AT(queue), 1, 65536, "requests that may wait beyond those (default 64)"},
    {"--max-gap", NULL, CLI_INT, "MS", AT(max_gap), 1, 3600000,
     "prompts are read in pieces, so that running answers do not pause for longer (default 250)"},
    {"--api-key", NULL, CLI_LIST, "KEY", AT(keys), 0, 0,
     "clients must show it; may be repeated. Others on this machine see it in the list of processes: rather --api-key-file"},
    {"--api-key-file", NULL, CLI_TEXT, "FILE", AT(key_file), 0, 0, "keys, one a line"},
    {"--insecure", NULL, CLI_FLAG, NULL, AT(insecure), 0, 0, "listen beyond this machine without a key"},
    {"--allow-host", NULL, CLI_LIST, "NAME", AT(hosts), 0, 0,
     "a name in Host beside addresses and localhost; may be repeated"},
    {"--allow-origin", NULL, CLI_LIST, "ORIGIN", AT(origins), 0, 0,
     "web pages that may ask, such as https://example.org; may be repeated"},
    {"--tls-cert", NULL, CLI_TEXT, "FILE", AT(cert), 0, 0, "HTTPS with this certificate (PEM)"},
    {"--tls-key", NULL, CLI_TEXT, "FILE", AT(key), 0, 0, "and this key (PEM)"},
    {"--temp", NULL, CLI_REAL, "X", AT(temp), 0, 100, "temperature where a request names none (default 0.7)"},
    {"--top-p", NULL, CLI_REAL, "X", AT(top_p), 0, 1, "top-p where a request names none (default 0.95)"},
    {"--min-p", NULL, CLI_REAL, "X", AT(min_p), 0, 1, "min-p where a request names none (default 0: off)"},
    {"--body-limit", NULL, CLI_INT, "MIB", AT(body_mib), 1, 4096, "largest body of a request (default 32)"},
    {"--recall-ram", NULL, CLI_SIZE, "SIZE", AT(recall_ram), 0, 0,
     "memory for answers as they were sampled, to be put back into prompts (default 16M; 0: none)"},
    {"--idle", NULL, CLI_INT, "S", AT(idle), 1, 86400, "close connections that rest for so long (default 120)"},
    {"--drain", NULL, CLI_REAL, "S", AT(drain), 0.1, 86400,
     "on SIGTERM or Ctrl-C: how long running answers may go on (default 30); the second time they end at once"},
    {"--log", NULL, CLI_TEXT, "FILE", AT(log), 0, 0, "append the log there (default: standard error)"},
    {"--loop", NULL, CLI_CHOICE, "off|report|stop|perturb", AT(loop), 0, 0,
     "conversations and answers that go in circles: tell of them; end the answer too; or make the model leave the cycle (default off; a request may say x-quern-loop)"},
    {"--log-prompts", NULL, CLI_FLAG, NULL, AT(log_prompts), 0, 0, "the log shows what is asked"},
    {"--quiet", "-q", CLI_FLAG, NULL, AT(quiet), 0, 0, "no log"},
    CLI_ENGINE_OPTIONS(serve_options, engine,
                       "tokens that a conversation may have (default: what the model states, if memory holds it)"),
};

const cli_command cli_cmd_serve = {
    .name = "serve",
    .usage = "[MODEL...] [--port N]",
    .summary = "Serve models over HTTP in the protocols that editors and agents speak.",
    .details = "Without MODEL it is the embedded one. With several, a request names the one it means by the file's name without "
               ".gguf, and a model is loaded when it is first asked for. Ctrl-C or SIGTERM ends the server; answers that are being "
               "written may end. The log is one JSON object a line and never shows what is asked, unless --log-prompts.\n\n"
               "Examples:\n"
               "  quern serve qwen2.5-coder-7b-q4_k_m.gguf --ollama\n"
               "  curl http://127.0.0.1:8080/v1/chat/completions -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'",
    .min_operands = 0,
    .max_operands = CLI_MAX_OPERANDS,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = serve,
};
