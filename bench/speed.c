/* speed.c - tokens per second of a random-weight model of a real shape, beside the bound that memory sets, measured in the
 * same run. usage: speed [SHAPE [MIXTURE]] (qwen2.5-coder-1.5b Q4_K_M); THREADS in the environment overrides the default.
 *
 * Decoding reads every weight once per token: bound = bandwidth / bytes per token. The bandwidth is the best of several
 * sweeps of all threads over a buffer in huge pages that is larger than the caches. */
#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "quern.h"

enum { RUNS = 5, PROMPT = 512, DECODE = 64, MAX_THREADS = 64 };

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return v[n / 2];
}

typedef uint64_t lanes __attribute__((vector_size(64)));
typedef struct sweep {
    const lanes *p;
    size_t n;
    uint64_t sum;
} sweep;

static void *read_all(void *arg)
{
    sweep *s = arg;
    lanes a = {0}, b = {0}, c = {0}, d = {0};
    for (size_t i = 0; i + 4 <= s->n; i += 4) {
        a += s->p[i];
        b += s->p[i + 1];
        c += s->p[i + 2];
        d += s->p[i + 3];
    }
    a += b + c + d;
    for (int i = 0; i < 8; i++)
        s->sum += a[i];
    return NULL;
}

/* Bytes per second that n threads read. */
static double bandwidth(int n)
{
    const size_t bytes = (size_t)1 << 30;
    unsigned char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return 0;
    (void)madvise(p, bytes, MADV_HUGEPAGE);
    memset(p, 1, bytes);
    double best = 0;
    for (int r = 0; r < RUNS; r++) {
        pthread_t thread[MAX_THREADS];
        sweep s[MAX_THREADS];
        double t = now();
        for (int i = 0; i < n; i++) {
            s[i] = (sweep){.p = (const lanes *)(const void *)(p + bytes / (size_t)n / 4096 * 4096 * (size_t)i), .n = bytes / (size_t)n / 4096 * 4096 / sizeof(lanes)};
            (void)pthread_create(&thread[i], NULL, read_all, &s[i]);
        }
        for (int i = 0; i < n; i++)
            (void)pthread_join(thread[i], NULL);
        double rate = (double)bytes / (now() - t);
        best = rate > best ? rate : best;
    }
    (void)munmap(p, bytes);
    return best;
}

static void die(const qn_err *e)
{
    fprintf(stderr, "speed: %s: %s\n", e->where, e->what);
    exit(1);
}

static void run(qn_engine *e, int salt, int max_tokens, qn_timings *out)
{
    qn_err err;
    int32_t tokens[PROMPT];
    qn_request *r;
    qn_event ev;
    qn_request_options o;
    for (int i = 0; i < PROMPT; i++)
        tokens[i] = 1000 + (i * 7919 + salt * 104729) % 100000; /* another salt, another first token: nothing is cached */
    qn_request_options_init(&o);
    o.tokens = tokens;
    o.n_tokens = max_tokens ? 4 : PROMPT;
    o.max_tokens = max_tokens;
    o.ignore_eos = true;
    if (qn_request_open(e, &o, &r, &err) != QN_OK)
        die(&err);
    do {
        if (qn_request_next(r, &ev, &err) != QN_OK)
            die(&err);
    } while (ev.kind != QN_EVENT_END);
    *out = ev.timings;
    qn_request_close(r);
}

int main(int argc, char **argv)
{
    const char *shape = argc > 1 ? argv[1] : "qwen2.5-coder-1.5b", *mixture = argc > 2 ? argv[2] : "Q4_K_M";
    const char *build = getenv("BUILD"), *threads = getenv("THREADS");
    char path[256];
    qn_err err;
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/bench/%s-%s.gguf", build ? build : "build", shape, mixture);
    if (stat(path, &st) != 0) {
        fprintf(stderr, "writing %s\n", path);
        if (qn_synth(shape, mixture, 0, path, NULL, NULL, &err) != QN_OK)
            die(&err);
        (void)stat(path, &st);
    }
    qn_model *m;
    qn_engine *e;
    qn_engine_options o;
    qn_engine_info info;
    double t = now();
    if (qn_model_open(path, QN_OPEN_FULL, &m, &err) != QN_OK)
        die(&err);
    qn_engine_options_init(&o);
    o.n_ctx = 1024;
    o.max_seqs = 1;
    o.n_threads = threads ? atoi(threads) : 0;
    if (qn_engine_open(m, &o, &e, &err) != QN_OK)
        die(&err);
    qn_engine_get_info(e, &info);
    printf("%s %s, %.2f GB, %s, %d threads, opened in %.0f ms\n", shape, mixture, (double)st.st_size / 1e9, info.cpu, info.n_threads, 1e3 * (now() - t));
    double prefill[RUNS], decode[RUNS];
    qn_timings w;
    run(e, 0, 8, &w); /* the file comes into memory */
    for (int i = 0; i < RUNS; i++) {
        run(e, 2 * i + 1, 0, &w);
        prefill[i] = w.prompt_tokens / w.prefill_s;
        run(e, 2 * i + 2, DECODE, &w);
        decode[i] = (w.generated_tokens - 1) / w.decode_s;
    }
    double bw = bandwidth(info.n_threads), bound = bw / (double)st.st_size;
    double p = median(prefill, RUNS), d = median(decode, RUNS);
    printf("memory bandwidth %.1f GB/s with %d threads: at most %.1f tokens/s for %.2f GB a token\n", bw / 1e9, info.n_threads, bound, (double)st.st_size / 1e9);
    printf("prefill %d: %8.1f tokens/s  (%.1f .. %.1f)\n", PROMPT, p, prefill[0], prefill[RUNS - 1]);
    printf("decode %d:  %8.1f tokens/s  (%.1f .. %.1f), %.0f %% of the bound\n", DECODE, d, decode[0], decode[RUNS - 1], 100 * d / bound);
    qn_engine_close(e);
    qn_model_close(m);
    return 0;
}
