/* attention_vec.h - attention of some queries over the pages of one KV head; the body of every attention_LEVEL.c. Per
 * query the operations of ref/attention.c, to the bit; queries that see the same positions share the conversion of K
 * and V.
 *
 *   scores   lanes = positions, fma over d ascending      values   lanes = d, fma over positions ascending
 *
 * The accumulators of a tile of Q queries fill the registers: TILE_Q queries x TILE_V vectors, or twice the queries and
 * half the vectors. As many queries as that read a page as it is stored; more of them (prefill) read floats that are made
 * once per page, which a second-level cache holds. */
#include "kernels/attention.h"
#include "kernels/vec/math_vec.h"

enum { PV = QN_PAGE_TOKENS / VF_N };
#if VF_N == 16
enum { TILE_Q = 6, TILE_V = 4 };
#else
enum { TILE_Q = 6, TILE_V = 2 };
#endif
enum { MOST_Q = 2 * TILE_Q };

typedef struct state {
    float q[QN_ATTENTION_MAX_Q][QN_HEAD_MAX]; /* here, so that a tile's rows lie at fixed distances */
    float p[QN_ATTENTION_MAX_Q][QN_PAGE_TOKENS];
    float max[QN_ATTENTION_MAX_Q], top[QN_ATTENTION_MAX_Q], sum[QN_ATTENTION_MAX_Q]; /* greatest score: before, with this page */
    float c[QN_ATTENTION_MAX_Q]; /* what the output so far must still be multiplied by */
    int i0[QN_ATTENTION_MAX_Q], i1[QN_ATTENTION_MAX_Q];
    const unsigned char *soon; /* what is read next, and how many lines of it were not asked for */
    int soon_lines;
    _Alignas(64) float page[QN_HEAD_MAX * QN_PAGE_TOKENS]; /* K, then V, as floats */
    float scales[(QN_HEAD_MAX + QN_KV_GROUP - 1) / QN_KV_GROUP * QN_PAGE_TOKENS];
} state;

/* The compiler must take p as it is: else it keeps a pointer for each row of a tile, more than there are registers. */
#define AS_IS(p) __asm__("" : "+r"(p))

/* Memory is asked for what comes next while there is something to compute: two lines at each step of a loop. */
INLINE void ask(const unsigned char **soon, int *lines)
{
    if (*lines > 0) {
        __builtin_prefetch(*soon);
        __builtin_prefetch(*soon + 64);
        *soon += 128;
        *lines -= 2;
    }
}

INLINE vf load(const unsigned char *p, size_t i, const qn_kv kv)
{
    return kv == QN__KV_F16   ? vf_load_f16(p + i * 2)
           : kv == QN__KV_F32 ? vf_load((const float *)(const void *)(p + i * 4))
                              : vf_load_i8(p + i);
}

INLINE vf load_n(const unsigned char *p, size_t i, int n, const qn_kv kv)
{
    if (n == VF_N)
        return load(p, i, kv);
    return kv == QN__KV_F16   ? vf_load_f16_n(p + i * 2, n)
           : kv == QN__KV_F32 ? vf_load_n((const float *)(const void *)(p + i * 4), n)
                              : vf_load_i8_n(p + i, n);
}

/* Queries j0 .. j0 + Q. */
INLINE void scores(const qn_attention *a, int j0, const unsigned char *k, state *st, const int Q, const qn_kv kv)
{
    const int V = Q > TILE_Q ? TILE_V / 2 : TILE_V;
    const unsigned char *soon = st->soon;
    int lines = st->soon_lines;
    for (int i = 0; i < QN_PAGE_TOKENS; i += V * VF_N) {
        vf s[MOST_Q][TILE_V], scale[TILE_V];
        UNROLL
        for (int j = 0; j < Q; j++) {
            UNROLL
            for (int v = 0; v < V; v++)
                s[j][v] = vf_zero();
        }
        UNROLL
        for (int v = 0; v < V; v++)
            scale[v] = vf_zero();
        const float *qd = st->q[j0];
        for (int d = 0; d < a->head_k; d++, qd++) {
            vf key[TILE_V];
            AS_IS(qd);
            ask(&soon, &lines);
            if (kv == QN__KV_Q8_0 && d % QN_KV_GROUP == 0) {
                size_t at = (size_t)(d / QN_KV_GROUP) * QN_PAGE_TOKENS + (size_t)i;
                UNROLL
                for (int v = 0; v < V; v++)
                    scale[v] = vf_load_f16(k + (size_t)a->head_k * QN_PAGE_TOKENS + (at + (size_t)(v * VF_N)) * 2);
            }
            UNROLL
            for (int v = 0; v < V; v++) {
                key[v] = load(k, (size_t)d * QN_PAGE_TOKENS + (size_t)(i + v * VF_N), kv);
                if (kv == QN__KV_Q8_0)
                    key[v] = vf_mul(key[v], scale[v]);
            }
            UNROLL
            for (int j = 0; j < Q; j++) {
                vf x = vf_set1(qd[j * QN_HEAD_MAX]);
                UNROLL
                for (int v = 0; v < V; v++)
                    s[j][v] = vf_fma(x, key[v], s[j][v]);
            }
        }
        UNROLL
        for (int j = 0; j < Q; j++) {
            UNROLL
            for (int v = 0; v < V; v++)
                vf_store(st->p[j0 + j] + i + v * VF_N, s[j][v]);
        }
    }
    st->soon = soon;
    st->soon_lines = lines;
}

/* Scores of one query in their final form, and their greatest. */
INLINE void finish_scores(const qn_attention *a, int j, state *st, const bool plain)
{
    float *p = st->p[j];
    vf max = vf_set1(st->max[j]);
    UNROLL
    for (int v = 0; v < PV; v++) {
        vf s = vf_mul(vf_load(p + v * VF_N), vf_set1(a->scale));
        if (!plain && a->softcap > 0)
            s = vf_softcap(s, vf_set1(a->softcap));
        if (!plain)
            s = vf_range(s, st->i0[j] - v * VF_N, st->i1[j] - v * VF_N, vf_set1(-INFINITY));
        max = vf_max(s, max);
        vf_store(p + v * VF_N, s);
    }
    st->top[j] = vf_hmax(max);
}

/* Scores to weights of one query; its sum moves on. */
INLINE void weigh(int j, state *st)
{
    float *p = st->p[j];
    vf s[PV], none = vf_set1(-INFINITY), top = vf_set1(st->top[j]);
    UNROLL
    for (int v = 0; v < PV; v++) {
        s[v] = vf_load(p + v * VF_N);
        s[v] = vf_eq_select(s[v], none, vf_zero(), vf_exp(vf_sub(s[v], top)));
        vf_store(p + v * VF_N, s[v]);
    }
    st->sum[j] = fmaf(st->sum[j], st->c[j], vf_sum64(s));
}

/* Queries j0 .. end of a page, step by step: each step's queries do not wait for one another. */
static void weigh_all(const qn_attention *a, int j0, int end, state *st)
{
    for (int j = j0; j < end; j++)
        if (st->i0[j] == 0 && st->i1[j] == QN_PAGE_TOKENS - 1 && !(a->softcap > 0))
            finish_scores(a, j, st, true);
        else
            finish_scores(a, j, st, false);
    for (int j = j0; j < end; j += VF_N) {
        int n = end - j < VF_N ? end - j : VF_N;
        vf max = vf_load_n(st->max + j, n), top = vf_load_n(st->top + j, n);
        vf_store_n(st->c + j, vf_eq_select(max, vf_set1(-INFINITY), vf_zero(), vf_exp(vf_sub(max, top))), n);
        vf_store_n(st->max + j, top, n);
    }
    for (int j = j0; j < end; j++)
        weigh(j, st);
}

/* Where the scale of V's values d.. at position i is in state.scales, which is made once per page. */
INLINE int v_scale(const qn_attention *a, int i, int d)
{
    return i * ((a->head_v + QN_KV_GROUP - 1) / QN_KV_GROUP) + d / QN_KV_GROUP;
}

static void v_scales(const qn_attention *a, const unsigned char *v, state *st)
{
    const unsigned char *scales = v + (size_t)a->head_v * QN_PAGE_TOKENS;
    for (int i = 0; i < v_scale(a, QN_PAGE_TOKENS, 0); i += VF_N)
        vf_store(st->scales + i, vf_load_f16(scales + i * 2));
}

/* Vectors d.. of V (V of them, the last of n lanes) joined to Q outputs over positions from..to. */
INLINE void values_tile(const qn_attention *a, int j0, const unsigned char *v, state *st, int from,
                        int to, int d, int n, const int Q, const int V, const qn_kv kv)
{
    vf o[MOST_Q][TILE_V];
    const float *pi = st->p[j0] + from;
    const unsigned char *soon = st->soon;
    int lines = st->soon_lines;
    UNROLL
    for (int j = 0; j < Q; j++) {
        UNROLL
        for (int c = 0; c < V; c++)
            o[j][c] = vf_mul(vf_load_n(a->out[j0 + j] + d + c * VF_N, V > 1 ? VF_N : n), vf_set1(st->c[j0 + j]));
    }
    for (int i = from; i <= to; i++, pi++) {
        vf vv[TILE_V];
        AS_IS(pi);
        ask(&soon, &lines);
        UNROLL
        for (int c = 0; c < V; c++) {
            vv[c] = load_n(v, (size_t)i * (size_t)a->head_v + (size_t)(d + c * VF_N), V > 1 ? VF_N : n, kv);
            if (kv == QN__KV_Q8_0) /* a vector lies within a group */
                vv[c] = vf_mul(vv[c], vf_set1(st->scales[v_scale(a, i, d + c * VF_N)]));
        }
        UNROLL
        for (int j = 0; j < Q; j++) {
            vf p = vf_set1(pi[j * QN_PAGE_TOKENS]);
            UNROLL
            for (int c = 0; c < V; c++)
                o[j][c] = vf_fma(p, vv[c], o[j][c]);
        }
    }
    UNROLL
    for (int j = 0; j < Q; j++) {
        UNROLL
        for (int c = 0; c < V; c++)
            vf_store_n(a->out[j0 + j] + d + c * VF_N, o[j][c], V > 1 ? VF_N : n);
    }
    st->soon = soon;
    st->soon_lines = lines;
}

/* The first time that a query's output is touched in a page it is scaled; then there is nothing left to scale. */
INLINE void values(const qn_attention *a, int j0, const unsigned char *v, state *st, int from, int to,
                   const int Q, const qn_kv kv)
{
    const int V = Q > TILE_Q ? TILE_V / 2 : TILE_V;
    int d = 0;
    if (from > to)
        return;
    for (; d + V * VF_N <= a->head_v; d += V * VF_N)
        values_tile(a, j0, v, st, from, to, d, VF_N, Q, V, kv);
    for (; d < a->head_v; d += VF_N)
        values_tile(a, j0, v, st, from, to, d, a->head_v - d < VF_N ? a->head_v - d : VF_N, Q, 1, kv);
    for (int j = 0; j < Q; j++)
        st->c[j0 + j] = 1;
}

/* Q queries that see something of this page. Positions that all of them see are done together; before and after, one by
 * one, so that each query's positions ascend. */
INLINE void join(const qn_attention *a, int j0, const unsigned char *v, state *st, const int Q, const qn_kv kv)
{
    int from = 0, to = QN_PAGE_TOKENS - 1;
    for (int j = 0; j < Q; j++) {
        from = st->i0[j0 + j] > from ? st->i0[j0 + j] : from;
        to = st->i1[j0 + j] < to ? st->i1[j0 + j] : to;
    }
    if (Q == 1 || from > to) {
        for (int j = 0; j < Q; j++)
            values(a, j0 + j, v, st, st->i0[j0 + j], st->i1[j0 + j], 1, kv);
        return;
    }
    for (int j = 0; j < Q; j++)
        values(a, j0 + j, v, st, st->i0[j0 + j], from - 1, 1, kv);
    values(a, j0, v, st, from, to, Q, kv);
    for (int j = 0; j < Q; j++)
        values(a, j0 + j, v, st, to + 1, st->i1[j0 + j], 1, kv);
}

/* Queries j0 .. end in tiles of MOST_Q, TILE_Q, 2 and 1. */
INLINE void all_scores(const qn_attention *a, int j0, int end, const unsigned char *k, state *st, const qn_kv kv)
{
    int j = j0;
    for (; j + MOST_Q <= end; j += MOST_Q)
        scores(a, j, k, st, MOST_Q, kv);
    for (; j + TILE_Q <= end; j += TILE_Q)
        scores(a, j, k, st, TILE_Q, kv);
    for (; j + 2 <= end; j += 2)
        scores(a, j, k, st, 2, kv);
    for (; j < end; j++)
        scores(a, j, k, st, 1, kv);
}

INLINE void all_values(const qn_attention *a, int j0, int end, const unsigned char *v, state *st, const qn_kv kv)
{
    int j = j0;
    for (; j + MOST_Q <= end; j += MOST_Q)
        join(a, j, v, st, MOST_Q, kv);
    for (; j + TILE_Q <= end; j += TILE_Q)
        join(a, j, v, st, TILE_Q, kv);
    for (; j + 2 <= end; j += 2)
        join(a, j, v, st, 2, kv);
    for (; j < end; j++)
        join(a, j, v, st, 1, kv);
}

/* What load() and the scales give, of a whole page. */
INLINE void floats_of_k(const qn_attention *a, const unsigned char *k, float *to, const qn_kv kv)
{
    for (int d = 0; d < a->head_k; d++)
        for (int i = 0; i < QN_PAGE_TOKENS; i += VF_N) {
            vf x = load(k, (size_t)d * QN_PAGE_TOKENS + (size_t)i, kv);
            if (kv == QN__KV_Q8_0)
                x = vf_mul(x, vf_load_f16(k + (size_t)a->head_k * QN_PAGE_TOKENS +
                                          ((size_t)(d / QN_KV_GROUP) * QN_PAGE_TOKENS + (size_t)i) * 2));
            vf_store(to + d * QN_PAGE_TOKENS + i, x);
        }
}

INLINE void floats_of_v(const qn_attention *a, const unsigned char *v, const float *scales, int from, int to, float *out,
                        const qn_kv kv)
{
    for (int i = from; i <= to; i++)
        for (int d = 0; d < a->head_v; d += VF_N) {
            int n = a->head_v - d < VF_N ? a->head_v - d : VF_N;
            vf x = load_n(v, (size_t)i * (size_t)a->head_v + (size_t)d, n, kv);
            if (kv == QN__KV_Q8_0)
                x = vf_mul(x, vf_set1(scales[v_scale(a, i, d)]));
            vf_store_n(out + i * a->head_v + d, x, n);
        }
}

static void floats_scores(const qn_attention *a, int j0, int end, state *st)
{
    all_scores(a, j0, end, (const unsigned char *)st->page, st, QN__KV_F32);
}

static void floats_values(const qn_attention *a, int j0, int end, state *st)
{
    all_values(a, j0, end, (const unsigned char *)st->page, st, QN__KV_F32);
}

/* One page and queries j0 .. end, who all see something of it. */
INLINE void page_step(const qn_attention *a, int page, int last, int j0, int end, state *st, const qn_kv kv)
{
    const unsigned char *k = a->pages[page] + a->k_off, *v = a->pages[page] + a->v_off;
    const unsigned char *next = page < last ? a->pages[page + 1] : NULL;
    const bool convert = kv != QN__KV_F32 && end - j0 > MOST_Q;
    int from = QN_PAGE_TOKENS, to = 0;
    st->soon = v;
    st->soon_lines = convert ? 0 : (int)(qn__kv_bytes(kv, a->head_v) / 64);
    if (convert) {
        floats_of_k(a, k, st->page, kv);
        floats_scores(a, j0, end, st);
    } else {
        all_scores(a, j0, end, k, st, kv);
    }
    weigh_all(a, j0, end, st);
    for (int j = j0; j < end; j++) {
        from = st->i0[j] < from ? st->i0[j] : from;
        to = st->i1[j] > to ? st->i1[j] : to;
    }
    st->soon = next ? next + a->k_off : NULL;
    st->soon_lines = next && !convert ? (int)(qn__kv_bytes(kv, a->head_k) / 64) : 0;
    if (kv == QN__KV_Q8_0)
        v_scales(a, v, st);
    if (convert) {
        floats_of_v(a, v, st->scales, from, to, st->page, kv);
        floats_values(a, j0, end, st);
    } else {
        all_values(a, j0, end, v, st, kv);
    }
}

INLINE void pages(const qn_attention *a, state *st, const qn_kv kv)
{
    int p0, p1;
    qn__attention_pages(a, &p0, &p1);
    for (int page = p0; page <= p1; page++)
        for (int j = 0, end; j < a->n_q; j = end + 1) { /* runs of queries that see something of it */
            for (end = j; end < a->n_q && qn__attention_range(a, end, page, &st->i0[end], &st->i1[end]);)
                end++;
            if (end > j)
                page_step(a, page, p1, j, end, st, kv);
        }
}

static void pages_f16(const qn_attention *a, state *st)
{
    pages(a, st, QN__KV_F16);
}

static void pages_f32(const qn_attention *a, state *st)
{
    pages(a, st, QN__KV_F32);
}

static void pages_q8_0(const qn_attention *a, state *st)
{
    pages(a, st, QN__KV_Q8_0);
}

void VF_NAME(attention)(const qn_attention *a)
{
    state st;
    for (int j = 0; j < a->n_q; j++) {
        st.max[j] = -INFINITY;
        st.sum[j] = 0;
        memset(a->out[j], 0, (size_t)a->head_v * sizeof(float));
        memcpy(st.q[j], a->q[j], (size_t)a->head_k * sizeof(float));
    }
    if (a->kv == QN__KV_F16)
        pages_f16(a, &st);
    else if (a->kv == QN__KV_F32)
        pages_f32(a, &st);
    else
        pages_q8_0(a, &st);
    for (int j = 0; j < a->n_q; j++) {
        float f = qn__attention_finish(st.max[j], st.sum[j], a->sink ? &a->sink[j] : NULL);
        VF_NAME(scale)(a->out[j], f, a->out[j], a->head_v);
    }
}

void VF_NAME(kv_store)(qn_kv kv, const float *k, const float *v, int head_k, int head_v, unsigned char *k_page,
                       unsigned char *v_page, int slot)
{
    if (kv != QN__KV_F16) {
        qn__ref_kv_store(kv, k, v, head_k, head_v, k_page, v_page, slot);
        return;
    }
    uint16_t h[QN_HEAD_MAX + VF_N];
    for (int d = 0; d < head_k; d += VF_N)
        vf_store_f16(h + d, vf_load_n(k + d, head_k - d < VF_N ? head_k - d : VF_N));
    for (int d = 0; d < head_k; d++)
        memcpy(k_page + ((size_t)d * QN_PAGE_TOKENS + (size_t)slot) * 2, &h[d], 2);
    for (int d = 0; d < head_v; d += VF_N)
        vf_store_f16(h + d, vf_load_n(v + d, head_v - d < VF_N ? head_v - d : VF_N));
    memcpy(v_page + (size_t)slot * (size_t)head_v * 2, h, (size_t)head_v * 2);
}
