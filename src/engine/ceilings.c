/* ceilings.c - what this machine can do at most, and the least that a model's step needs of it. */
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/pool.h"
#include "engine/engine.h"
#include "engine/threads.h"
#include "kernels/peak.h"

enum {
    SWEEPS = 3,
    PIECES = 8
}; /* at least; pieces per thread, so that one that is held up does not hold up the rest */
static const size_t LEAST = (size_t)4 << 20, MOST = (size_t)1 << 30, PAGE = 4096;
static const double SECONDS = 0.15; /* per measurement, at least */

typedef struct sweep {
    const qn_peak *peak;
    unsigned char *p; /* [n_items][size] */
    size_t size;
    uint64_t rounds;
    uint64_t (*compute)(uint64_t rounds, void *sink); /* NULL: read */
    struct {
        _Alignas(64) unsigned char sink[64];
        uint64_t ops;
    } * of; /* [threads] */
} sweep;

static void touch(void *arg, int item, int thread)
{
    sweep *s = arg;
    (void)thread;
    memset(s->p + (size_t)item * s->size, 1, s->size);
}

static void piece(void *arg, int item, int thread)
{
    sweep *s = arg;
    if (s->compute)
        s->of[thread].ops += s->compute(s->rounds, s->of[thread].sink);
    else
        s->peak->read(s->p + (size_t)item * s->size, s->size, s->of[thread].sink);
}

/* The best rate of several sweeps: what disturbs them only makes them slower. `work`: of a sweep; 0: what it says. */
static double best(qn_pool *pool, sweep *s, int n_items, double work)
{
    double most = 0, start = qn__now();
    for (int i = 0; i < SWEEPS || qn__now() - start < SECONDS; i++) {
        double ops = work;
        for (int t = 0; t < qn__pool_threads(pool); t++)
            s->of[t].ops = 0;
        double from = qn__now();
        qn__pool_run(pool, n_items, piece, s);
        double seconds = qn__now() - from;
        for (int t = 0; t < qn__pool_threads(pool); t++)
            ops += (double)s->of[t].ops;
        if (seconds > 0 && ops / seconds > most)
            most = ops / seconds;
    }
    return most;
}

/* So many rounds that a piece takes about a millisecond. */
static double computes(qn_pool *pool, sweep *s, int n_items, uint64_t (*compute)(uint64_t, void *))
{
    s->compute = compute;
    s->rounds = 1000;
    for (double t = 0; t < 1e-3 && s->rounds < (uint64_t)1 << 40; s->rounds *= 2) {
        double from = qn__now();
        (void)compute(s->rounds, s->of[0].sink);
        t = qn__now() - from;
    }
    return best(pool, s, n_items, 0);
}

qn_status qn_measure_ceilings(const char *cpu, const char *cpus, int32_t n_threads, uint64_t read_bytes, qn_ceilings *out,
                              qn_err *err)
{
    qn_cpu level;
    qn_cpus on;
    qn_pool *pool = NULL;
    sweep s = {0};
    qn_status st = qn__cpu_choose(cpu, &level, err);
    if (st)
        return st;
    if ((st = qn__threads_fill(level, cpus, &n_threads, &on, err)))
        return st;
    if (read_bytes == 0)
        read_bytes = qn__cpu_cache() * 2 > 256u << 20 ? qn__cpu_cache() * 2 : 256u << 20;
    size_t bytes = read_bytes < LEAST ? LEAST : read_bytes > MOST ? MOST : (size_t)read_bytes;
    st = qn__pool_open(n_threads, &pool, err);
    if (st)
        return st;
    if (on.n && (st = qn__pool_pin(pool, &on, err)))
        goto out;
    int n_items = n_threads * PIECES;
    s.peak = qn__peak(level);
    s.size = bytes / (size_t)n_items / PAGE * PAGE;
    bytes = s.size * (size_t)n_items;
    s.p = qn__alloc_aligned(bytes);
    s.of = qn__alloc_aligned((size_t)n_threads * sizeof *s.of);
    if (!s.p || !s.of) {
        st = qn__fail_mem(err, "ceilings");
        goto out;
    }
    qn__small_pages(s.p, bytes);
    qn__pool_run(pool, n_items, touch, &s);
    double plain = best(pool, &s, n_items, (double)bytes);
    qn__free_aligned(s.p);
    if (!(s.p = qn__alloc_aligned(bytes))) {
        st = qn__fail_mem(err, "ceilings");
        goto out;
    }
    qn__pool_run(pool, n_items, touch, &s);
    *out = (qn_ceilings){.n_threads = n_threads, .cpu = qn__cpu_name(level), .read_bytes = bytes, .plain_bandwidth = plain};
    out->bandwidth = best(pool, &s, n_items, (double)bytes);
    out->int8_ops = computes(pool, &s, n_items, s.peak->int8);
    out->int8_vector_ops = s.peak->int8_vector ? computes(pool, &s, n_items, s.peak->int8_vector) : out->int8_ops;
    out->fp32_ops = computes(pool, &s, n_items, s.peak->fp32);
out:
    qn__free_aligned(s.p);
    qn__free_aligned(s.of);
    qn__pool_close(pool);
    return st;
}

void qn_engine_get_work(const qn_engine *e, int32_t n_seqs, int32_t n_tokens, int32_t depth, qn_work *out)
{
    qn__decoder_work(e->model->decoder, e->kv, n_seqs, n_tokens, depth, out);
}
