/* cmd_run.c - `quern run`: options, what the prompt is, and the answer to one prompt. The chat is in chat.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/io.h"
#include "cli/run.h"
#include "cli/term.h"

enum { NOT_GIVEN = -2, EMBEDDED_TOKENS = 512 };

/* ---- sampling -------------------------------------------------------------------------------------------------- */

static int read_bias(const cli_command *c, const cli_list *l, qn_logit_bias **out)
{
    qn_logit_bias *b = calloc(l->n + 1, sizeof *b);
    if (!b)
        return cli_fail_text("run", "out of memory");
    for (size_t i = 0; i < l->n; i++) {
        const char *eq = strchr(l->v[i], '=');
        long long id;
        double value;
        if (!eq || !cli_number(l->v[i], (size_t)(eq - l->v[i]), 0, INT32_MAX, &id) ||
            !cli_real(eq + 1, -1e9, 1e9, &value)) {
            free(b);
            return cli_usage(c, "--logit-bias: '%s' is not ID=+X, such as 42=-3.5", l->v[i]);
        }
        b[i] = (qn_logit_bias){.token = (int32_t)id, .bias = (float)value};
    }
    *out = b;
    return CLI_OK;
}

/* A chat with a model of one's own is livelier with some chance in it; everything else is greedy unless asked. */
static void set_sampling(run_session *s, bool chat)
{
    const run_options *o = s->o;
    const bool lively = chat && !s->info.embedded && o->temp < 0;
    qn_sampling *p = &s->sampling;
    s->max_tokens = o->max_tokens != NOT_GIVEN ? o->max_tokens : s->info.embedded ? EMBEDDED_TOKENS : -1;
    qn_sampling_init(p);
    p->temperature = o->temp >= 0 ? (float)o->temp : lively ? 0.7f : 0.0f;
    p->top_p = o->top_p >= 0 ? (float)o->top_p : lively ? 0.95f : 1.0f;
    p->top_k = o->top_k;
    p->min_p = (float)o->min_p;
    p->typical_p = (float)o->typical;
    p->repeat_penalty = (float)o->repeat;
    p->frequency_penalty = (float)o->frequency;
    p->presence_penalty = (float)o->presence;
    p->penalty_last_n = o->penalty_last_n;
    p->dry_multiplier = (float)o->dry_multiplier;
    p->dry_base = (float)o->dry_base;
    p->dry_allowed_length = o->dry_allowed_length;
    p->seed = o->seed;
    p->bias = s->bias;
    p->n_bias = o->bias.n;
}

/* ---- the prompt ------------------------------------------------------------------------------------------------ */

typedef struct text {
    char *p;
    size_t n;
} text;

/* Add a part on a line of its own. A chat message does not end with the newline that a file ends with. */
static int add_part(text *t, const char *p, size_t n, bool raw)
{
    if (!raw)
        n -= n && p[n - 1] == '\n';
    if (!n)
        return CLI_OK;
    char *all = realloc(t->p, t->n + n + 2);
    if (!all)
        return cli_fail_text("run", "out of memory");
    if (t->n && all[t->n - 1] != '\n')
        all[t->n++] = '\n';
    memcpy(all + t->n, p, n);
    t->n += n;
    all[t->n] = 0;
    t->p = all;
    return CLI_OK;
}

static int add_file(text *t, const char *path, bool raw)
{
    char *p;
    size_t n;
    int rc = cli_read(path, &p, &n);
    if (rc == CLI_OK) {
        rc = add_part(t, p, n, raw);
        free(p);
    }
    return rc;
}

/* -p, then the file of -f or, without one, what is piped in. */
static int gather(const run_options *o, bool raw, text *t)
{
    int rc = o->prompt ? add_part(t, o->prompt, strlen(o->prompt), raw) : CLI_OK;
    const char *file = o->file ? o->file : term_is_terminal(TERM_IN) ? NULL : "-";
    if (rc == CLI_OK && file)
        rc = add_file(t, file, raw);
    if (rc == CLI_OK && !t->n)
        rc = cli_fail_text(file && !o->prompt ? (strcmp(file, "-") ? file : "standard input") : "run",
                           "the prompt is empty; give one with -p TEXT, -f FILE or a pipe");
    if (rc == CLI_OK && !raw && cli_utf8_bad(t->p, t->n) < t->n)
        rc = cli_fail_text("the prompt", "is not UTF-8 at byte %zu; a chat message must be (--raw takes any bytes)",
                           cli_utf8_bad(t->p, t->n));
    return rc;
}

/* ---- one prompt ------------------------------------------------------------------------------------------------ */

/* A model may emit bytes that are no text; JSON cannot hold them: U+FFFD stands for each. */
static json_t *json_text(const char *p, size_t n)
{
    char *clean = malloc(n * 3 + 1);
    if (!clean)
        return NULL;
    size_t out = 0;
    for (size_t i = 0; i < n;) {
        const size_t good = cli_utf8_bad(p + i, n - i);
        memcpy(clean + out, p + i, good);
        out += good;
        i += good;
        if (i < n) {
            memcpy(clean + out, "\xEF\xBF\xBD", 3);
            out += 3;
            i++;
        }
    }
    json_t *j = json_stringn(clean, out);
    free(clean);
    return j;
}

static int put_json(const run_session *s, const run_answer *a)
{
    const qn_timings *t = &a->timings;
    qn_engine_info e;
    qn_engine_get_info(s->engine, &e);
    json_t *seed = s->o->seed <= INT64_MAX ? json_integer((json_int_t)s->o->seed)
                                           : json_sprintf("%llu", (unsigned long long)s->o->seed);
    json_t *j =
        json_pack("{s:o,s:s,s:{s:i,s:i,s:i,s:f,s:f},s:f,s:o,s:s,s:i,s:i}", "text", json_text(a->text.p ? a->text.p : "", a->text.n), "reason",
                  run_reason_name(a->reason), "timings", "prompt_tokens", (int)t->prompt_tokens, "cached_tokens",
                  (int)t->cached_tokens, "generated_tokens", (int)t->generated_tokens, "prefill_s", t->prefill_s,
                  "decode_s", t->decode_s, "temperature", (double)s->sampling.temperature, "seed", seed, "cpu", e.cpu,
                  "threads", (int)e.n_threads, "ctx", (int)e.n_ctx);
    char *line = j ? json_dumps(j, JSON_COMPACT) : NULL;
    run_text parts = {0};
    const bool ok = line && (!s->tools || run_put_parts(a, &parts));
    if (ok)
        line[strlen(line) - 1] = 0; /* its last brace stands behind the parts */
    const int rc = ok ? cli_printf("%s%s}\n", line, parts.p ? parts.p : "")
                      : cli_fail_text("run", "the answer cannot be written as JSON");
    free(parts.p);
    free(line);
    json_decref(j);
    return rc;
}

static int one_shot(run_session *s)
{
    text t = {0};
    run_answer a = {0};
    run_prompt prompt = {0};
    int rc = gather(s->o, s->raw, &t);
    if (rc == CLI_OK && !s->raw && !run_add(s, "user", t.p, t.n))
        rc = cli_fail_text("run", "out of memory");
    if (rc == CLI_OK)
        rc = run_prompt_make(s, t.p, t.n, &prompt);
    if (rc == CLI_OK) {
        term_catch();
        rc = run_generate(s, &prompt, !s->o->json, &a);
        term_release();
    }
    if (rc == CLI_OK && s->o->json)
        rc = put_json(s, &a);
    else if (rc == CLI_OK && !s->tools && a.text.n && a.text.p[a.text.n - 1] != '\n' && (!s->raw || term_is_terminal(TERM_OUT)))
        rc = cli_put("\n", 1);
    if (rc == CLI_OK)
        rc = cli_flush();
    if (rc == CLI_OK && !s->o->quiet)
        run_put_timings(&a);
    if (rc == CLI_OK && a.reason == QN_END_CANCELLED)
        rc = CLI_INTERRUPTED;
    run_answer_free(&a);
    run_prompt_free(&prompt);
    free(t.p);
    return rc;
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

/* What the answer must match, if anything. */
static int open_grammar(run_session *s)
{
    const run_options *o = s->o;
    const char *path = o->schema ? o->schema : o->grammar;
    char *source = NULL;
    size_t n = 0;
    qn_err err;
    if (o->schema && !s->raw) /* run_tools_open: the answer may follow reasoning */
        return CLI_OK;
    int rc = path ? cli_read(path, &source, &n) : CLI_OK;
    if (rc != CLI_OK || (!path && !o->regex))
        return rc;
    if (qn_grammar_open(s->model, o->schema ? QN_GRAMMAR_SCHEMA : path ? QN_GRAMMAR_GBNF : QN_GRAMMAR_REGEX,
                        path ? source : o->regex, path ? n : strlen(o->regex), &s->grammar, &err) != QN_OK)
        rc = cli_fail(&err);
    free(source);
    return rc;
}

static int prepare(run_session *s, const char *path, bool chat)
{
    const run_options *o = s->o;
    int rc = cli_model_open(path, QN_OPEN_FULL, &s->model);
    if (rc != CLI_OK)
        return rc;
    qn_model_get_info(s->model, &s->info);
    if (s->info.embedded && !o->quiet)
        fputs("This is the embedded seedling: a 3.7M-parameter demonstration and test model. It knows a few forms of\n"
              "code and talk and nothing about the world. Another model: quern run FILE.gguf\n",
              stderr);
    s->raw = o->raw;
    if (!s->raw && !s->info.has_chat_template) {
        s->raw = true;
        if (!o->quiet)
            fprintf(stderr, "This model has no chat template: the text is completed as it stands (--raw).\n");
    }
    rc = cli_engine_open(s->model, &o->engine, &s->engine);
    if (rc != CLI_OK)
        return rc;
    rc = open_grammar(s);
    if (rc != CLI_OK)
        return rc;
    set_sampling(s, chat);
    s->messages = json_array();
    if (!s->messages)
        return cli_fail_text("run", "out of memory");
    if ((o->tools || (o->schema && !s->raw)) && (rc = run_tools_open(s)) != CLI_OK)
        return rc;
    if (o->system && !run_set_system(s, o->system))
        return cli_fail_text("--system", "the text is not UTF-8");
    return CLI_OK;
}

static int check(const cli_command *c, const run_options *o, bool chat)
{
    if (chat && o->json)
        return cli_usage(c, "--json answers one prompt: give it with -p TEXT, -f FILE or a pipe");
    if (o->raw && o->system)
        return cli_usage(c, "--system needs the chat template that --raw leaves out");
    if (o->raw && o->tools)
        return cli_usage(c, "--tools needs the chat template that --raw leaves out");
    if (o->tools && (o->grammar || o->regex))
        return cli_usage(c, "--tools: not together with --grammar or --regex");
    if (o->tool_choice && !o->tools)
        return cli_usage(c, "--tool-choice needs --tools");
    if (!!o->schema + !!o->grammar + !!o->regex > 1)
        return cli_usage(c, "--schema, --grammar and --regex: one of them at most");
    for (size_t i = 0; i < o->stop.n; i++)
        if (!*o->stop.v[i])
            return cli_usage(c, "--stop: the text is empty");
    return cli_engine_check(c, &o->engine);
}

static int run(const cli_command *c, int argc, char **argv)
{
    qn_sampling defaults;
    qn_sampling_init(&defaults);
    run_options o = {.temp = -1, .top_p = -1, .typical = 1, .repeat = 1, .max_tokens = NOT_GIVEN};
    o.engine.chunk = 256; /* smaller steps than the library's: the progress bar moves while a large model reads */
    o.penalty_last_n = defaults.penalty_last_n;
    o.dry_base = (double)defaults.dry_base;
    o.dry_allowed_length = defaults.dry_allowed_length;
    const char *operands[CLI_MAX_OPERANDS];
    run_session s = {.o = &o};
    int rc = cli_parse(c, argc, argv, &o, operands);
    if (rc != CLI_GO)
        goto out;
    const bool chat = !o.prompt && !o.file && term_is_terminal(TERM_IN);
    rc = check(c, &o, chat);
    if (rc != CLI_GO)
        goto out;
    rc = read_bias(c, &o.bias, &s.bias);
    if (rc == CLI_OK)
        rc = cli_draft_open(&o.engine);
    if (rc == CLI_OK)
        rc = prepare(&s, operands[0], chat);
    if (rc == CLI_OK)
        rc = chat ? run_chat(&s) : one_shot(&s);
out:
    json_decref(s.messages);
    free(s.tools_json);
    free(s.bias);
    if (s.engine && o.engine.kv_disk) {
        qn_cache_stats cache;
        qn_engine_sync(s.engine);
        qn_engine_get_cache(s.engine, &cache);
        if (cache.notice[0] && !o.quiet)
            fprintf(stderr, "quern: the KV cache could not be kept on disk: %s\n", cache.notice);
    }
    qn_engine_close(s.engine);
    qn_tools_close(s.tools);
    cli_draft_close(&o.engine);
    qn_grammar_close(s.grammar);
    qn_model_close(s.model);
    cli_list_free(&o.bias);
    cli_list_free(&o.stop);
    return rc;
}

#define AT(field) offsetof(run_options, field)
static const cli_option options[] = {
    {"--prompt", "-p", CLI_TEXT, "TEXT", AT(prompt), 0, 0, "answer this and leave; what is piped in is put under it"},
    {"--file", "-f", CLI_TEXT, "FILE", AT(file), 0, 0,
     "answer the text of a file (- is standard input); with -p, put under it; a pipe is then not read"},
    {"--raw", NULL, CLI_FLAG, NULL, AT(raw), 0, 0, "no chat template: complete the text"},
    {"--system", NULL, CLI_TEXT, "TEXT", AT(system), 0, 0, "the system message"},
    {"--tools", NULL, CLI_TEXT, "FILE", AT(tools), 0, 0, "tools that the model may call: OpenAI's array (JSON); a call is one line of JSON on standard output, and not run"},
    {"--tool-choice", NULL, CLI_TEXT, "WHICH", AT(tool_choice), 0, 0,
     "auto (default), none, required (a call and no text), or the name of the one to call"},
    {"--schema", NULL, CLI_TEXT, "FILE", AT(schema), 0, 0, "answers are JSON that conforms to this JSON Schema (2020-12)"},
    {"--grammar", NULL, CLI_TEXT, "FILE", AT(grammar), 0, 0, "answers match this grammar (GBNF)"},
    {"--regex", NULL, CLI_TEXT, "RE", AT(regex), 0, 0, "answers match this regular expression, as a whole"},
    {"--max-tokens", "-n", CLI_INT, "N", AT(max_tokens), -1, INT32_MAX,
     "tokens to generate at most; 0: only read the prompt; -1: until the context ends. Default: -1, but 512 with the "
     "embedded model, which does not always know when to stop"},
    {"--stop", NULL, CLI_LIST, "TEXT", AT(stop), 0, 0, "end before this text; may be repeated"},
    {"--temp", NULL, CLI_REAL, "X", AT(temp), 0, 100,
     "temperature; 0 takes the likeliest token. Default: 0, but 0.7 (with --top-p 0.95) in a chat at a terminal "
     "with a model that is not the embedded one"},
    {"--top-k", NULL, CLI_INT, "N", AT(top_k), 0, INT32_MAX, "the N likeliest tokens only (0: off)"},
    {"--top-p", NULL, CLI_REAL, "X", AT(top_p), 0, 1, "the likeliest tokens that make up X (1: off)"},
    {"--min-p", NULL, CLI_REAL, "X", AT(min_p), 0, 1, "tokens at least X times as likely as the likeliest (0: off)"},
    {"--typical", NULL, CLI_REAL, "X", AT(typical), 0, 1, "locally typical tokens that make up X (1: off)"},
    {"--repeat-penalty", NULL, CLI_REAL, "X", AT(repeat), 0.01, 100,
     "make tokens that came already less likely (1: off)"},
    {"--frequency-penalty", NULL, CLI_REAL, "X", AT(frequency), -100, 100,
     "the same, for each time that one came (0: off)"},
    {"--presence-penalty", NULL, CLI_REAL, "X", AT(presence), -100, 100, "the same, once (0: off)"},
    {"--penalty-last-n", NULL, CLI_INT, "N", AT(penalty_last_n), -1, INT32_MAX,
     "tokens that the penalties look back at (-1: all)"},
    {"--dry-multiplier", NULL, CLI_REAL, "X", AT(dry_multiplier), 0, 100, "make long repetitions less likely (0: off)"},
    {"--dry-base", NULL, CLI_REAL, "X", AT(dry_base), 1, 100, "how fast that grows with their length (default 1.75)"},
    {"--dry-allowed-length", NULL, CLI_INT, "N", AT(dry_allowed_length), 0, INT32_MAX,
     "repetitions up to this length are free (default 2)"},
    {"--logit-bias", NULL, CLI_LIST, "ID=+X", AT(bias), 0, 0,
     "add X to a token's logit (-1e9: never that token); may be repeated"},
    {"--seed", NULL, CLI_SEED, "N", AT(seed), 0, 0, "the same seed gives the same text (default 0)"},
    {"--json", NULL, CLI_FLAG, NULL, AT(json), 0, 0,
     "instead of the text as it comes, one JSON object at the end: text, reason, timings; with tools calls, too"},
    {"--quiet", "-q", CLI_FLAG, NULL, AT(quiet), 0, 0, "nothing on stderr but errors"},
    CLI_ENGINE_OPTIONS(
        run_options, engine,
        "tokens that prompt and answer may have together (default: what the model states and memory holds)"),
    CLI_CACHE_OPTIONS(run_options, engine),
    CLI_DRAFT_OPTIONS(run_options, engine),
};

const cli_command cli_cmd_run = {
    .name = "run",
    .usage = "[MODEL] [-p TEXT] [-f FILE] [OPTIONS]",
    .summary = "Chat with a model at the terminal, or answer one prompt.",
    .details =
        "Without MODEL: the embedded demonstration model. Without -p and -f it chats where standard input is a "
        "terminal (/help lists its commands); elsewhere the whole of standard input is one user message. One newline "
        "at the end of a file or pipe is not part of the message; with --raw every byte counts.\n\n"
        "The text goes to standard output as it comes, everything else to standard error; the last line there says "
        "how many tokens were read (and how many of them were cached) and written, how fast, and why it stopped. A "
        "prompt that does not fit the context is refused, never cut. Ctrl-C stops the answer; without a chat the "
        "exit code is then 130.\n\n"
        "Examples:\n  quern run\n  quern run -p 'Write a function that adds two numbers.'\n  git diff | quern run "
        "model.gguf -p 'Explain this change.'",
    .min_operands = 0,
    .max_operands = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
