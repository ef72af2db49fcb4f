/* draft.c - what drafting gains on an edit: a file of 400 lines is in the prompt, and is written again with one name changed.
 *
 *   build/bench/draft [MODEL [TOKENS [LINES]]]     MODEL: default the embedded one; TOKENS: how much of the answer (default, or 0: all of it);
 *                                                   LINES of the file (400)
 *
 * Two ways. `replayed`: whatever the model would say, the edit is what it says: the upper bound, of any model, random weights
 * included. `its own`: the model says what it wants (the embedded one does not know how to edit, but repeats itself and others).
 * Every answer is compared with the one without drafting: the same tokens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"
#include "engine/engine.h"

enum { LINES = 400 };
static int lines = LINES;

static void die(const qn_err *err)
{
    fprintf(stderr, "bench/draft: %s: %s\n", err->where, err->what);
    exit(1);
}

/* A file of the kind that is edited: small functions that are much alike. */
static void source(qn_buf *b, const char *name)
{
    static const char *const things[] = {"user", "page", "token", "queue", "cache", "event", "stream", "model"};
    for (int i = 0; i < lines / 10; i++) {
        const char *t = things[i % 8], *u = things[(i * 5 + 3) % 8];
        qn__buf_printf(b, "/* Number %d: the %s that belongs to a %s. */\n", i, t, u);
        qn__buf_printf(b, "static int get_%s_%d(struct %s *%s, int index)\n{\n", t, i, u, u);
        qn__buf_printf(b, "    if (!%s || index < %d)\n        return -1;\n", u, i % 7);
        qn__buf_printf(b, "    int %s = %s->%s[index + %d];\n", i % 4 ? "value" : name, u, t, i % 5);
        qn__buf_printf(b, "    log_%s(\"%s %d\", %s);\n    return %s;\n}\n", u, t, i, i % 4 ? "value" : name, i % 4 ? "value" : name);
    }
}

static int32_t *tokens_of(const qn_model *m, const char *head, const char *name, const char *tail, size_t *n)
{
    qn_err err = {0};
    qn_buf b = {0};
    int32_t *ids;
    qn__buf_puts(&b, head);
    source(&b, name);
    qn__buf_puts(&b, tail);
    if (qn_tokenize(m, b.data, b.n, true, QN_BOS_NO, &ids, n, &err))
        die(&err);
    qn__buf_free(&b);
    return ids;
}

/* tokens[0..*n): what was said; its timings. */
static qn_timings run(qn_engine *e, const int32_t *prompt, size_t n_prompt, const int32_t *answer, size_t most, int32_t draft,
                      int32_t *out, size_t *n)
{
    qn_err err = {0};
    qn_request_options o;
    qn_request *r;
    qn_event ev = {0};
    qn_request_options_init(&o);
    o.tokens = prompt;
    o.n_tokens = n_prompt;
    o.max_tokens = (int32_t)most;
    o.ignore_eos = true;
    o.draft = draft;
    if (qn_request_open(e, &o, &r, &err))
        die(&err);
    r->replay = answer;
    *n = 0;
    while (ev.kind != QN_EVENT_END) {
        if (qn_request_next(r, &ev, &err))
            die(&err);
        if (ev.kind == QN_EVENT_TEXT) {
            memcpy(out + *n, ev.tokens, ev.n_tokens * sizeof *out);
            *n += ev.n_tokens;
        }
    }
    qn_request_close(r);
    return ev.timings;
}

static double speed(const qn_timings *t)
{
    return t->decode_s > 0 ? (t->generated_tokens - 1) / t->decode_s : 0;
}

static void compare(qn_engine *e, const char *what, const int32_t *prompt, size_t n_prompt, const int32_t *answer, size_t most)
{
    int32_t *a = calloc(most, sizeof *a), *b = calloc(most, sizeof *b);
    size_t na, nb;
    qn_timings without = run(e, prompt, n_prompt, answer, most, -1, a, &na);
    (void)run(e, prompt, n_prompt, answer, most < 64 ? most : 64, 0, b, &nb); /* learns what steps cost */
    qn_timings with = run(e, prompt, n_prompt, answer, most, 0, b, &nb);
    bool same = na == nb && memcmp(a, b, na * sizeof *a) == 0;
    printf("%-9s %6d prompt tokens, %5d answered: %7.1f tokens/s without, %7.1f with drafting: %.2f times; %d drafted, %d "
           "accepted; %s\n", what, with.prompt_tokens, with.generated_tokens, speed(&without), speed(&with),
           speed(&with) / speed(&without), with.drafted_tokens, with.accepted_tokens, same ? "the same tokens" : "DIFFERENT TOKENS");
    free(a);
    free(b);
    if (!same)
        exit(1);
}

int main(int argc, char **argv)
{
    qn_err err = {0};
    qn_model *m, *words = NULL;
    qn_engine *e;
    qn_engine_options o;
    size_t n_prompt, n_answer;
    if (argc > 3 && atoi(argv[3]) >= 10)
        lines = atoi(argv[3]);
    if (qn_model_open(argc > 1 ? argv[1] : NULL, QN_OPEN_FULL, &m, &err) || qn_model_open(NULL, QN_OPEN_VOCAB, &words, &err))
        die(&err);
    /* The embedded model's tokens, whatever the model: they are in every larger vocabulary, and a model of random weights has
     * no words. */
    int32_t *prompt = tokens_of(words, "Rename the variable result to outcome.\n", "result", "\nThe new file:\n", &n_prompt);
    int32_t *answer = tokens_of(words, "", "outcome", "", &n_answer);
    size_t most = argc > 2 && atoi(argv[2]) > 0 && (size_t)atoi(argv[2]) < n_answer ? (size_t)atoi(argv[2]) : n_answer;
    qn_engine_options_init(&o);
    o.n_ctx = (int32_t)(n_prompt + n_answer + 64);
    o.max_seqs = 1;
    if (qn_engine_open(m, &o, &e, &err))
        die(&err);
    printf("edit of %d lines, %d threads, %s\n", lines, e->o.n_threads, e->o.cpu);
    compare(e, "replayed", prompt, n_prompt, answer, most);
    compare(e, "its own", prompt, n_prompt, NULL, most);
    double one, more;
    qn__cost_decode(&e->cost, 1, &one, &more);
    printf("a step of 1 row takes %.2f ms, each further row %.2f ms\n", one * 1e3, more * 1e3);
    qn_free(prompt);
    qn_free(answer);
    qn_engine_close(e);
    qn_model_close(words);
    qn_model_close(m);
    return 0;
}
