/* inspect_remote.c - what can be seen of a server from outside: see inspect.h. When pieces of text arrive, and how many tokens it says
 * that they were; nothing of where its time and memory go. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "services/probe/inspect.h"

enum { PROMPT = 512, GENERATE = 128, RUNS = 3 };

static const struct {
    const char *figure, *why;
} HIDDEN[] = {
    {"phases of the start", "a server was started before it was asked"},
    {"time of each token", "a piece of text may hold several tokens, and the network and the server's buffers come between"},
    {"causes of spikes", "faults, switches, evictions and other requests are the server's own"},
    {"memory", "a server does not tell it"},
    {"limits of the machine", "they would be those of this machine, and not of the server's"},
    {"energy", "it would be that of this machine"},
    {"speed over the context", "the server's context is not known; start one with quern inspect on its machine"},
};

/* A prompt of about n tokens: words that no other run has, and a question that wants a long answer. */
static char *prompt_of(uint64_t seed, int32_t n)
{
    static const char *const words[] = {"harbour", "seven", "table", "copper", "window", "garden", "letter", "river", "blue", "engine", "paper", "winter"};
    qn_buf b = {0};
    uint64_t x = seed * 0x9E3779B97F4A7C15u + 1;
    qn__buf_puts(&b, "Here are some words.");
    for (int32_t i = 0; i < n * 3 / 4; i++) {
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u + 1;
        qn__buf_printf(&b, " %s", words[(x >> 33) % (sizeof words / sizeof *words)]);
    }
    qn__buf_puts(&b, " Write a long story in which as many of them as possible occur.");
    json_t *m = b.failed ? NULL : json_pack("[{s:s, s:s}]", "role", "user", "content", b.data);
    char *text = m ? json_dumps(m, JSON_COMPACT) : NULL;
    json_decref(m);
    qn__buf_free(&b);
    return text;
}

static qn_status one(qn_inspection *x, qn_subject *s, const char *messages, const char *item, int seq, json_t **out, qn_err *err)
{
    const qn_inspect_options *o = x->o;
    const qn_question q = {.messages_json = messages, .id = item, .max_tokens = o->n_generate > 0 ? o->n_generate : GENERATE};
    qn_answer a = {0};
    qn_pace p = {0};
    qn_gap *g = NULL;
    const bool on = s->ask(s, &q, 1, &a);
    qn_status st = on ? a.err.code : qn__fail(err, QN_ECANCELLED, "inspect", "cancelled");
    if (on && st && err)
        *err = a.err;
    if (!st && a.n_token_s < 2)
        st = qn__fail(err, QN_EUNSUPPORTED, o->probe.endpoint, "the answer came in one piece: without streaming nothing can be timed");
    if (!st && !(g = qn__calloc(a.n_token_s - 1, sizeof *g)))
        st = qn__fail_mem(err, "gaps");
    for (size_t i = 0; !st && i + 1 < a.n_token_s; i++)
        g[i].s = a.token_s[i + 1] - a.token_s[i];
    if (!st)
        st = qn__pace_of(g, a.n_token_s - 1, QN_INSPECT_K, &p, err);
    json_t *j = st ? NULL : qn__pace_json(&p, g, a.n_token_s - 1);
    if (!st) {
        const double after = a.token_s[a.n_token_s - 1] - a.first_s;
        (void)json_object_update_new(j, json_pack("{s:i, s:i, s:i, s:f, s:f, s:I}", "prompt_tokens", a.prompt_tokens, "cached_tokens", a.cached_tokens,
                                                  "generated_tokens", a.generated_tokens, "first_s", a.first_s, "decode_s", after, "pieces", (json_int_t)a.n_token_s));
        if (a.generated_tokens > 1 && after > 0)
            (void)json_object_set_new(j, "tokens_per_s", json_real((a.generated_tokens - 1) / after));
        *out = json_incref(j);
        st = qn__inspect_put(x, item, seq, j, err);
    }
    qn__pace_free(&p);
    qn__answer_free(&a);
    qn_free(g);
    return st;
}

qn_status qn__inspect_remote(qn_inspection *x, qn_subject *s, qn_err *err)
{
    const qn_inspect_options *o = x->o;
    const int32_t runs = o->runs > 0 ? o->runs : RUNS, n = o->n_prompt > 0 ? o->n_prompt : PROMPT;
    json_t *all = json_array(), *again = NULL;
    qn_status st = qn__inspect_begin(x, s->name, s->fingerprint, err);
    char *messages = NULL;
    for (int32_t i = 0; i < runs && !st; i++) {
        json_t *j = NULL;
        free(messages);
        if (!(messages = prompt_of(o->probe.seed * 1000 + (uint64_t)i + 1, n)))
            st = qn__fail_mem(err, "prompt");
        if (!st && !qn__inspect_at(x, "asking", (size_t)i, (size_t)runs + 1))
            st = qn__fail(err, QN_ECANCELLED, "inspect", "cancelled");
        if (!st && !(st = one(x, s, messages, "new", i, &j, err)))
            (void)json_array_append_new(all, j);
    }
    if (!st) /* the last one once more: what the server keeps of a prompt */
        st = one(x, s, messages, "again", 0, &again, err);
    free(messages);
    if (!st) {
        (void)json_object_set_new(x->report, "remote", json_pack("{s:s, s:O, s:o}", "endpoint", o->probe.endpoint, "runs", all, "again", again));
        for (size_t i = 0; i < sizeof HIDDEN / sizeof *HIDDEN; i++)
            qn__inspect_cannot(x, HIDDEN[i].figure, HIDDEN[i].why);
    }
    json_decref(all);
    return st;
}
