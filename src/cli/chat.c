/* chat.c - `quern run` at a terminal: a message, the answer as it comes, and a few commands that begin with a slash. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/editor.h"
#include "cli/io.h"
#include "cli/run.h"
#include "cli/term.h"

typedef struct chat {
    run_session *s;
    run_answer last; /* how it ended: its text is not kept */
    int turns;
    bool leave;
} chat;

/* ---- commands -------------------------------------------------------------------------------------------------- */

static void do_exit(chat *c, const char *arg)
{
    (void)arg;
    c->leave = true;
}

static void do_reset(chat *c, const char *arg)
{
    (void)arg;
    run_reset(c->s);
    fprintf(stderr, "[the conversation is empty%s]\n", run_get_system(c->s) ? "; the system text stays" : "");
}

static void do_system(chat *c, const char *arg)
{
    const char *now = run_get_system(c->s);
    if (!*arg)
        fprintf(stderr, now ? "[system: %s]\n" : "[no system text%s]\n", now ? now : "; set one: /system TEXT");
    else if (!run_set_system(c->s, strcmp(arg, "off") == 0 ? NULL : arg))
        cli_fail_text("/system", "the text is not UTF-8");
    else
        fprintf(stderr, "[the system text is %s]\n", run_get_system(c->s) ? "set" : "removed");
}

static void do_save(chat *c, const char *arg)
{
    if (!*arg)
        cli_fail_text("/save", "name a file: /save talk.json");
    else if (run_save(c->s, arg) == CLI_OK)
        fprintf(stderr, "[%zu messages saved to %s]\n", json_array_size(c->s->messages), arg);
}

static void do_load(chat *c, const char *arg)
{
    if (!*arg)
        cli_fail_text("/load", "name a file: /load talk.json");
    else if (run_load(c->s, arg) == CLI_OK)
        fprintf(stderr, "[%zu messages from %s]\n", json_array_size(c->s->messages), arg);
}

static void do_stats(chat *c, const char *arg)
{
    (void)arg;
    qn_engine_info e;
    qn_engine_get_info(c->s->engine, &e);
    const qn_timings *t = &c->last.timings;
    fprintf(stderr, "[%s %s; %d threads, %s; context %d of %d tokens; KV cache %.1f MiB, %.1f KiB a token]\n",
            c->s->info.architecture, c->s->info.name, (int)e.n_threads, e.cpu,
            (int)(t->prompt_tokens + t->generated_tokens), (int)e.n_ctx, (double)e.kv_bytes / 1048576,
            (double)e.kv_bytes_per_token / 1024);
    fprintf(stderr, "[%d messages; temperature %g, top-p %g, seed %llu]\n", (int)json_array_size(c->s->messages),
            (double)c->s->sampling.temperature, (double)c->s->sampling.top_p, (unsigned long long)c->s->sampling.seed);
    if (c->turns)
        run_put_timings(&c->last);
}

static void do_help(chat *c, const char *arg);

static const struct command {
    const char *name, *arg, *help;
    void (*f)(chat *c, const char *arg);
} commands[] = {
    {"/help", "", "this list", do_help},
    {"/reset", "", "forget the conversation, keep the system text", do_reset},
    {"/system", " TEXT", "set the system text; `off` removes it, nothing shows it", do_system},
    {"/save", " FILE", "write the conversation as JSON", do_save},
    {"/load", " FILE", "go on with a saved conversation", do_load},
    {"/stats", "", "the model, the context in use, the last timings", do_stats},
    {"/exit", "", "leave (Ctrl-D does too)", do_exit},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void do_help(chat *c, const char *arg)
{
    (void)c;
    (void)arg;
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(stderr, "  %s%-*s  %s\n", commands[i].name, 14 - (int)strlen(commands[i].name), commands[i].arg,
                commands[i].help);
    fprintf(stderr, "  A line that ends in \\ goes on; lines between \"\"\" and \"\"\" are one message.\n"
                    "  Ctrl-C stops an answer; twice at an empty prompt it leaves.\n");
}

/* A first word like /name is a command; a path such as /usr/bin is not. True: it was one, or was meant as one. */
static bool run_command(chat *c, const char *text)
{
    const size_t n = strcspn(text, " \t\n");
    if (text[0] != '/' || n < 2 || strspn(text + 1, "abcdefghijklmnopqrstuvwxyz") != n - 1)
        return false;
    const char *names[N_COMMANDS];
    for (int i = 0; i < N_COMMANDS; i++) {
        names[i] = commands[i].name;
        if (strlen(names[i]) == n && memcmp(names[i], text, n) == 0) {
            commands[i].f(c, text + n + strspn(text + n, " \t"));
            return true;
        }
    }
    char word[40];
    snprintf(word, sizeof word, "%.*s", (int)(n < 30 ? n : 30), text);
    if (strcmp(word, "/quit") == 0) {
        c->leave = true;
        return true;
    }
    const char *near = cli_nearest(word, names, N_COMMANDS);
    fprintf(stderr, "[no command %s%s%s; /help lists them]\n", word, near ? "; did you mean " : "", near ? near : "");
    return true;
}

/* ---- turns ----------------------------------------------------------------------------------------------------- */

/* What was said stays in the conversation, also when Ctrl-C cut it off; a turn that brought nothing leaves no trace. */
static int turn(chat *c, const char *text, size_t n)
{
    run_session *s = c->s;
    run_prompt prompt;
    run_answer a = {0};
    if (!s->raw && !run_add(s, "user", text, n)) {
        cli_fail_text("this message", "is not UTF-8");
        return CLI_OK;
    }
    int rc = run_prompt_make(s, text, n, &prompt);
    if (rc == CLI_OK)
        rc = run_generate(s, &prompt, true, &a);
    run_prompt_free(&prompt);
    term_take_interrupt();
    const bool said = rc == CLI_OK && (a.text.n || a.calls || a.reason != QN_END_CANCELLED);
    if (rc == CLI_OK) {
        if (!s->tools && a.text.n && a.text.p[a.text.n - 1] != '\n')
            cli_put("\n", 1);
        rc = cli_flush();
        c->last.reason = a.reason;
        c->last.timings = a.timings;
        c->turns++;
        if (!s->o->quiet)
            run_put_timings(&a);
    }
    if (rc != CLI_OK && !s->raw)
        fprintf(stderr, "[this message is dropped; the conversation is as it was before (/reset empties it)]\n");
    if (!s->raw && (!said || !run_add_answer(s, &a)))
        run_drop_last(s);
    run_answer_free(&a);
    /* A refused prompt leaves the chat usable; a terminal that takes no output does not. */
    return cli_flush() == CLI_OK ? CLI_OK : rc;
}

int run_chat(run_session *s)
{
    char path[4096];
    chat c = {.s = s};
    cli_editor *e = editor_open(term_state_file("history", path, sizeof path) ? path : NULL);
    if (!e)
        return cli_fail_text("run", "the terminal cannot be edited on; give the prompt with -p TEXT");
    if (!s->o->quiet)
        fprintf(stderr, "%sType a message; /help lists commands, Ctrl-C stops an answer, Ctrl-D leaves.\n",
                s->raw ? "Each message is completed by itself. " : "");
    int rc = CLI_OK;
    bool asked = false;
    term_catch();
    while (rc == CLI_OK && !c.leave) {
        char *text;
        size_t n;
        const editor_result got = editor_read(e, &text, &n);
        if (got == EDITOR_END || (got == EDITOR_EMPTY_INTERRUPT && asked))
            break;
        asked = got == EDITOR_EMPTY_INTERRUPT;
        if (asked)
            fprintf(stderr, "[Ctrl-C again or Ctrl-D leaves]\n");
        if (got != EDITOR_TEXT)
            continue;
        if (text[strspn(text, " \t\n")] && !run_command(&c, text))
            rc = turn(&c, text, n);
        free(text);
    }
    editor_close(e);
    term_release();
    return rc;
}
