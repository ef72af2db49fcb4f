/* constrained.c - what a grammar costs while a model decodes: the same prompt, with and without a nested schema, turn about.
 *
 *   build/bench/constrained [MODEL [TOKENS [ROUNDS]]]     default: the embedded one, 64 tokens, 5 rounds
 *
 * Without drafts, so that every token is one step in both; a model of random weights will do (`quern synth`). The first round is not
 * counted: it meets places of the schema for the first time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quern.h"

enum { ROUNDS_MAX = 100 };

static const char schema[] =
    "{\"type\":\"array\",\"minItems\":10000,\"items\":{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\",\"pattern\":\"^[a-f0-9]{8}$\"},\"title\":"
    "{\"type\":\"string\",\"minLength\":1,\"maxLength\":40},\"score\":{\"type\":\"number\",\"minimum\":0,\"maximum\":1},\"tags\":{\"type\":\"array\",\"items\":{"
    "\"type\":\"string\"},\"maxItems\":8},\"author\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"links\":{\"type\":\"array\",\"items\":{"
    "\"enum\":[\"home\",\"code\"]}}},\"required\":[\"name\"],\"additionalProperties\":false}},\"required\":[\"id\",\"title\",\"score\",\"author\"],"
    "\"additionalProperties\":false}}";

static void die(const qn_err *err)
{
    fprintf(stderr, "bench/constrained: %s: %s\n", err->where, err->what);
    exit(1);
}

/* Tokens per second; *n: how many there were. */
static double run(qn_engine *e, const int32_t *ids, size_t n_ids, const qn_grammar *g, int32_t tokens, uint64_t seed, int32_t *n)
{
    qn_err err = {0};
    qn_request_options o;
    qn_request *r;
    qn_event ev = {0};
    qn_request_options_init(&o);
    o.tokens = ids;
    o.n_tokens = n_ids;
    o.max_tokens = tokens;
    o.ignore_eos = true;
    o.draft = -1;
    o.grammar = g;
    o.sampling.temperature = 1;
    o.sampling.seed = seed;
    if (qn_request_open(e, &o, &r, &err))
        die(&err);
    while (ev.kind != QN_EVENT_END)
        if (qn_request_next(r, &ev, &err))
            die(&err);
    qn_request_close(r);
    *n = ev.timings.generated_tokens;
    return ev.timings.decode_s > 0 ? (ev.timings.generated_tokens - 1) / ev.timings.decode_s : 0;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    qn_err err = {0};
    qn_model *m;
    qn_engine *e;
    qn_engine_options o;
    qn_engine_info info;
    qn_grammar *g;
    int32_t *ids, n_free, n_held;
    size_t n_ids;
    const int32_t tokens = argc > 2 && atoi(argv[2]) > 1 ? atoi(argv[2]) : 64;
    const int rounds = argc > 3 && atoi(argv[3]) > 0 && atoi(argv[3]) < ROUNDS_MAX ? atoi(argv[3]) : 5;
    double plain[ROUNDS_MAX], held[ROUNDS_MAX], ratio[ROUNDS_MAX], first = 0;
    qn_engine_options_init(&o);
    o.n_ctx = tokens + 64;
    o.max_seqs = 1;
    if (qn_model_open(argc > 1 ? argv[1] : NULL, QN_OPEN_FULL, &m, &err) || qn_engine_open(m, &o, &e, &err) ||
        qn_tokenize(m, "As JSON:", 8, false, QN_BOS_NO, &ids, &n_ids, &err) ||
        qn_grammar_open(m, QN_GRAMMAR_SCHEMA, schema, sizeof schema - 1, &g, &err))
        die(&err);
    for (int i = -1; i < rounds; i++) {
        const uint64_t seed = (uint64_t)(i + 1);
        double a, b;
        if (i & 1) {
            a = run(e, ids, n_ids, NULL, tokens, seed, &n_free);
            b = run(e, ids, n_ids, g, tokens, seed, &n_held);
        } else {
            b = run(e, ids, n_ids, g, tokens, seed, &n_held);
            a = run(e, ids, n_ids, NULL, tokens, seed, &n_free);
        }
        if (i < 0) {
            first = b;
            continue;
        }
        plain[i] = a;
        held[i] = b;
        ratio[i] = b / a;
    }
    qsort(plain, (size_t)rounds, sizeof *plain, by_value);
    qsort(held, (size_t)rounds, sizeof *held, by_value);
    qsort(ratio, (size_t)rounds, sizeof *ratio, by_value);
    qn_engine_get_info(e, &info);
    printf("constrained: %d tokens, %d rounds, %d threads, %s, vocabulary of %d: %.1f tokens/s without a grammar, %.1f with (first time %.1f): "
           "slower by %.1f %% (median of pairs; %.1f ... %.1f; bound: 3)\n", (int)n_held, rounds, (int)info.n_threads, info.cpu, (int)info.n_vocab,
           plain[rounds / 2], held[rounds / 2], first, (1 - ratio[rounds / 2]) * 100, (1 - ratio[rounds - 1]) * 100, (1 - ratio[0]) * 100);
    qn_grammar_close(g);
    qn_free(ids);
    qn_engine_close(e);
    qn_model_close(m);
    return n_held == tokens && n_free == tokens ? 0 : 1;
}
