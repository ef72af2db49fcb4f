/* attention.c - how fast attention is, one thread, beside the fp32 peak of the same thread and level in the same run:
 * one token's heads (decode: GB/s of keys and values) and tiles of several tokens (prefill), per KV type. Best of
 * several. Arguments: a level, a number of queries. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/file.h"
#include "base/mem.h"
#include "kernels/kernels.h"
#include "kernels/peak.h"

enum { HEAD = 128, PAGES = 64, FAR = 4096, RUNS = 30 };

static float q[QN_ATTENTION_MAX_Q][HEAD], o[QN_ATTENTION_MAX_Q][HEAD];

static double peak(qn_cpu level)
{
    double most = 0;
    unsigned char sink[64];
    for (int i = 0; i < RUNS; i++) {
        double t = qn__now();
        uint64_t ops = qn__peak(level)->fp32(200000, sink);
        t = qn__now() - t;
        most = (double)ops / t > most ? (double)ops / t : most;
    }
    return most;
}

/* Bytes a second that are read of n. */
static double reading(qn_cpu level, const unsigned char *p, size_t n)
{
    double most = 0;
    unsigned char sink[64];
    for (int i = 0; i < 5; i++) {
        double t = qn__now();
        qn__peak(level)->read(p, n, sink);
        t = qn__now() - t;
        most = (double)n / t > most ? (double)n / t : most;
    }
    return most;
}

static void one(const qn_kernels *k, int n_q, qn_kv kv, int n_pages, unsigned char *memory, double most)
{
    static const char *const names[] = {"f16", "f32", "q8_0"};
    const float *qp[QN_ATTENTION_MAX_Q];
    float *op[QN_ATTENTION_MAX_Q], v[HEAD];
    int32_t pos[QN_ATTENTION_MAX_Q], lo[QN_ATTENTION_MAX_Q] = {0};
    static const unsigned char *pages[FAR];
    size_t half = qn__kv_bytes(kv, HEAD);
    for (int i = 0; i < HEAD; i++)
        v[i] = (float)(i % 17 - 8) * 0.1f;
    for (int p = 0; p < n_pages; p++) {
        unsigned char *page = memory + (size_t)p * half * 2;
        pages[p] = page;
        for (int s = 0; s < QN_PAGE_TOKENS; s++)
            k->kv_store(kv, v, v, HEAD, HEAD, page, page + half, s);
    }
    for (int j = 0; j < n_q; j++) {
        qp[j] = memcpy(q[j], v, sizeof v);
        op[j] = o[j];
        pos[j] = n_pages * QN_PAGE_TOKENS - 1;
    }
    qn_attention a = {.q = qp,
                      .out = op,
                      .pos = pos,
                      .lo = lo,
                      .n_q = n_q,
                      .pages = pages,
                      .v_off = half,
                      .head_k = HEAD,
                      .head_v = HEAD,
                      .kv = kv,
                      .scale = 0.08f};
    double best = 1e9;
    for (int i = 0; i < (n_pages > PAGES ? 5 : RUNS); i++) {
        double t = qn__now();
        k->attention(&a);
        t = qn__now() - t;
        best = t < best ? t : best;
    }
    double flops = 4.0 * HEAD * n_pages * QN_PAGE_TOKENS * n_q / best;
    printf("%-7s %-4s %3d queries: %8.2f GB/s %8.1f GFLOP/s %5.1f %% of the fp32 peak\n", qn__cpu_name(k->level),
           names[kv], n_q, (double)half * 2 * n_pages / best * 1e-9, flops * 1e-9, 100 * flops / most);
}

int main(int argc, char **argv)
{
    static const int n_q[] = {1, 6, 12, 48, 96};
    size_t bytes = (size_t)FAR * 2 * qn__kv_bytes(QN__KV_F32, HEAD);
    unsigned char *memory = qn__alloc_aligned(bytes);
    if (!memory) {
        fprintf(stderr, "bench: not enough memory\n");
        return 1;
    }
    printf("one thread, heads of %d, %d tokens back; first %d, from memory\n", HEAD, PAGES * QN_PAGE_TOKENS,
           FAR * QN_PAGE_TOKENS);
    for (int l = (int)qn_cpu_levels(NULL, 0) - 1; l > QN_CPU_REF; l--) {
        if (argc > 1 && strcmp(argv[1], qn__cpu_name((qn_cpu)l)) != 0)
            continue;
        double most = peak((qn_cpu)l);
        memset(memory, 1, bytes);
        printf("%-7s fp32 peak %.1f GFLOP/s, memory %.2f GB/s\n", qn__cpu_name((qn_cpu)l), most * 1e-9,
               reading((qn_cpu)l, memory, bytes) * 1e-9);
        for (int kv = 0; kv < QN__KV__COUNT && argc < 3; kv++)
            one(qn__kernels((qn_cpu)l), 6, (qn_kv)kv, FAR, memory, most);
        for (int kv = 0; kv < QN__KV__COUNT; kv++)
            for (size_t i = 0; i < sizeof n_q / sizeof *n_q && n_q[i] <= QN_ATTENTION_MAX_Q; i++)
                if (argc < 3 || atoi(argv[2]) == n_q[i])
                    one(qn__kernels((qn_cpu)l), n_q[i], (qn_kv)kv, PAGES, memory, most);
    }
    qn__free_aligned(memory);
    return 0;
}
