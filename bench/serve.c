/* serve.c - what an engine does for several at once, through the public API.
 *
 *   build/bench/serve [MODEL [TOKENS [PROMPT]]]    MODEL: default the embedded one; TOKENS of each answer (64); PROMPT: tokens of a
 *                                                  long one (1500)
 *
 * Streams: 1, 4 and 16 answers at a time, nothing drafted: tokens per second of all together. Gap: a long prompt is read while
 * two streams write: the longest time between two tokens. Turns: a conversation of 20 turns over a long beginning: the time
 * to the first token of the last one, beside that of the same prompt read from nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/thread.h"
#include "quern.h"

enum { STREAMS = 16, TURNS = 20, NEW = 40, ANSWER = 8 };

typedef struct stream {
    qn_lock *lock;
    qn_cond *news;
    qn_job *job;
    double begun, first, last, gap; /* when; the longest time between two tokens */
    int32_t tokens, ids[ANSWER];
    bool ended;
    qn_timings timings;
} stream;

typedef struct bench {
    qn_engine *e;
    qn_scheduler *s;
    qn_lock lock;
    qn_cond news;
    int32_t n_vocab;
} bench;

static void die(const qn_err *err)
{
    fprintf(stderr, "bench/serve: %s: %s\n", err->where, err->what);
    exit(1);
}

static void hear(void *arg, const qn_event *ev)
{
    stream *x = arg;
    double now = qn__now();
    qn__lock(x->lock);
    if (ev->kind == QN_EVENT_TEXT && ev->n_tokens) {
        if (x->tokens == 0)
            x->first = now;
        else if (now - x->last > x->gap)
            x->gap = now - x->last;
        for (size_t i = 0; i < ev->n_tokens && x->tokens + (int32_t)i < ANSWER; i++)
            x->ids[x->tokens + (int32_t)i] = ev->tokens[i];
        x->tokens += (int32_t)ev->n_tokens;
        x->last = now;
    } else if (ev->kind == QN_EVENT_END) {
        x->ended = true;
        x->timings = ev->timings;
    }
    qn__cond_broadcast(x->news);
    qn__unlock(x->lock);
}

static void begin(bench *b, stream *x, const int32_t *prompt, size_t n, int32_t tokens)
{
    qn_err err = {0};
    qn_request_options o;
    const qn_sink sink = {hear, x};
    qn_request_options_init(&o);
    o.tokens = prompt;
    o.n_tokens = n;
    o.max_tokens = tokens;
    o.ignore_eos = true;
    o.draft = -1;
    *x = (stream){.lock = &b->lock, .news = &b->news, .begun = qn__now()};
    if (qn_scheduler_submit(b->s, &o, &sink, &x->job, &err))
        die(&err);
}

static void end(bench *b, stream *x)
{
    qn__lock(&b->lock);
    while (!x->ended)
        qn__cond_wait(&b->news, &b->lock);
    qn__unlock(&b->lock);
    qn_job_close(x->job);
}

static void noise(const bench *b, int32_t *tokens, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        tokens[i] = (int32_t)((seed >> 8) % (uint32_t)b->n_vocab);
    }
}

static void streams(bench *b, int32_t tokens)
{
    double one = 0;
    for (int n = 1; n <= STREAMS; n *= 4) {
        stream x[STREAMS];
        int32_t prompt[32];
        for (int i = 0; i < n; i++) {
            noise(b, prompt, 32, (uint32_t)(n * 100 + i));
            begin(b, &x[i], prompt, 32, tokens);
        }
        double from = 0, to = 0, worst = 0;
        int32_t all = 0;
        for (int i = 0; i < n; i++) {
            end(b, &x[i]);
            from = x[i].first > from ? x[i].first : from; /* since all of them write */
        }
        for (int i = 0; i < n; i++) {
            all += x[i].tokens - 1;
            to = x[i].last > to ? x[i].last : to;
            worst = x[i].gap > worst ? x[i].gap : worst;
        }
        double rate = to > from ? all / (to - from) : 0;
        one = n == 1 ? rate : one;
        printf("streams %2d: %8.1f tokens/s together, %.2f times one; worst gap %.0f ms\n", n, rate, rate / one, worst * 1e3);
    }
}

static void gap(bench *b, size_t long_prompt)
{
    stream x[3];
    int32_t prompt[32], *big = calloc(long_prompt, sizeof *big);
    for (int i = 0; i < 2; i++) {
        noise(b, prompt, 32, (uint32_t)i + 7);
        begin(b, &x[i], prompt, 32, 100000);
    }
    qn__lock(&b->lock);
    while (x[0].tokens < 4 || x[1].tokens < 4)
        qn__cond_wait(&b->news, &b->lock);
    x[0].gap = x[1].gap = 0;
    qn__unlock(&b->lock);
    noise(b, big, long_prompt, 99);
    begin(b, &x[2], big, long_prompt, 1);
    end(b, &x[2]);
    qn__lock(&b->lock);
    double worst = x[0].gap > x[1].gap ? x[0].gap : x[1].gap;
    int32_t meanwhile = x[0].tokens + x[1].tokens;
    qn__unlock(&b->lock);
    printf("gap: while %zu tokens were read in %.2f s, two streams wrote %d tokens; worst gap %.0f ms of 250 allowed\n",
           long_prompt, x[2].first - x[2].begun, meanwhile, worst * 1e3);
    for (int i = 0; i < 2; i++)
        qn_job_close(x[i].job);
    free(big);
}

static void turns(bench *b, size_t beginning)
{
    size_t n = beginning, cap = beginning + TURNS * (NEW + ANSWER);
    int32_t *t = calloc(cap, sizeof *t), computed = 0;
    stream x;
    noise(b, t, n, 5);
    for (int i = 0; i < TURNS; i++) {
        noise(b, t + n, NEW, (uint32_t)i + 1000);
        n += NEW;
        begin(b, &x, t, n, ANSWER);
        end(b, &x);
        if (i)
            computed += x.timings.prompt_tokens - x.timings.cached_tokens;
        memcpy(t + n, x.ids, ANSWER * sizeof *t);
        n += ANSWER;
    }
    n -= ANSWER;
    double warm = x.first - x.begun;
    t[0] = (t[0] + 1) % b->n_vocab; /* nothing of it is known */
    begin(b, &x, t, n, 1);
    end(b, &x);
    printf("turns: first token of turn %d (%zu tokens) after %.0f ms, read from nothing after %.0f ms; %.1f tokens of a turn computed, "
           "%d of them new\n", TURNS, n, warm * 1e3, (x.first - x.begun) * 1e3, computed / (TURNS - 1.0), NEW);
    free(t);
}

int main(int argc, char **argv)
{
    qn_err err = {0};
    qn_model *m;
    bench b;
    qn_engine_options o;
    qn_model_info info;
    int32_t tokens = argc > 2 && atoi(argv[2]) > 1 ? atoi(argv[2]) : 64;
    size_t prompt = argc > 3 && atoi(argv[3]) > 1 ? (size_t)atoi(argv[3]) : 1500;
    if (qn_model_open(argc > 1 ? argv[1] : NULL, QN_OPEN_FULL, &m, &err))
        die(&err);
    qn_model_get_info(m, &info);
    b.n_vocab = info.n_vocab;
    qn__lock_init(&b.lock);
    qn__cond_init(&b.news);
    qn_engine_options_init(&o);
    o.n_ctx = (int32_t)prompt + TURNS * (NEW + ANSWER) + 4096;
    o.max_seqs = STREAMS;
    if (qn_engine_open(m, &o, &b.e, &err) || qn_scheduler_open(b.e, NULL, &b.s, &err))
        die(&err);
    streams(&b, tokens);
    gap(&b, prompt);
    turns(&b, prompt);
    qn_scheduler_close(b.s);
    qn_engine_close(b.e);
    qn_model_close(m);
    return 0;
}
