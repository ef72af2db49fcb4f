/* open.h - the options by which every command opens an engine, and the opening. */
#ifndef QN_CLI_OPEN_H
#define QN_CLI_OPEN_H

#include "cli/args.h"
#include "quern.h"

typedef struct cli_engine {
    int32_t ctx, threads, chunk;
    int kv; /* qn_kv_type */
    const char *cpu, *cpus;
    bool no_repack;
    uint64_t kv_ram, kv_disk_max;
    const char *kv_disk, *draft; /* draft: path of a model */
    qn_model *draft_model;       /* opened by cli_draft_open */
} cli_engine;

/* Rows for a command's table; `m` is the cli_engine inside its struct `type`. */
/* clang-format off */
#define CLI_ENGINE_OPTIONS(type, m, ctx_help) \
    {"--ctx", NULL, CLI_INT, "N", offsetof(type, m.ctx), 1, 16777216, ctx_help}, \
    {"--threads", "-t", CLI_INT, "N", offsetof(type, m.threads), 1, 512, \
     "threads (default: chosen from the machine)"}, \
    {"--cpus", NULL, CLI_TEXT, "LIST", offsetof(type, m.cpus), 0, 0, \
     "keep the threads on these processors, one each, as in 0-3,8 (default: where the system puts them)"}, \
    {"--chunk", NULL, CLI_INT, "N", offsetof(type, m.chunk), 1, 65536, \
     "prompt tokens read in one step; changes the speed and never the result"}, \
    {"--kv", NULL, CLI_CHOICE, "f16|f32|q8_0", offsetof(type, m.kv), 0, 0, "how the KV cache is kept (default f16)"}, \
    {"--cpu", NULL, CLI_TEXT, "LEVEL", offsetof(type, m.cpu), 0, 0, \
     "kernel level: ref, avx2, avx512 or amx, on ARM ref, neon or i8mm (default: $QUERN_CPU, then the best that the machine has)"}, \
    {"--no-repack", NULL, CLI_FLAG, NULL, offsetof(type, m.no_repack), 0, 0, \
     "leave the weights in the mapped file: slower, but shared between processes"}
/* Of commands that answer more than one request. */
#define CLI_CACHE_OPTIONS(type, m) \
    {"--kv-ram", NULL, CLI_SIZE, "SIZE", offsetof(type, m.kv_ram), 0, 0, \
     "memory for the KV cache, of running and of ended requests (default: at most a quarter of the machine's)"}, \
    {"--kv-disk", NULL, CLI_TEXT, "DIR", offsetof(type, m.kv_disk), 0, 0, \
     "keep the KV cache in this directory too, so that a prompt that was read once need not be read again by a later process"}, \
    {"--kv-disk-max", NULL, CLI_SIZE, "SIZE", offsetof(type, m.kv_disk_max), 0, 0, \
     "what that directory may take (default 10G); what was unused for longest goes first"}
/* Of commands that write much. */
#define CLI_DRAFT_OPTIONS(type, m) \
    {"--draft-model", NULL, CLI_TEXT, "FILE", offsetof(type, m.draft), 0, 0, \
     "a smaller model of the same vocabulary, which guesses ahead; changes the speed and never the result"}
/* clang-format on */

/* Check what can be checked before a file is touched. */
int cli_engine_check(const cli_command *c, const cli_engine *o);
/* What the options say; `e` was initialised. */
void cli_engine_fill(const cli_engine *o, qn_engine_options *e);
/* Open an engine for one sequence; `m` was opened QN_OPEN_FULL. CLI_OK or said why. */
int cli_engine_open(const qn_model *m, const cli_engine *o, qn_engine **out);
/* --draft-model, if it was given; before cli_engine_fill. CLI_OK or said why. Close it after the engines. */
int cli_draft_open(cli_engine *o);
void cli_draft_close(cli_engine *o);
int cli_model_open(const char *path, qn_open how, qn_model **out);

#endif
