/* attention_vec.h - attention of some queries over the pages of one KV head; the body of every attention_LEVEL.c. Per
 * query the operations of ref/attention.c, to the bit; queries that see the same positions share the conversion of K
 * and V.
 *
 *   scores   lanes = positions, fma over d ascending      values   lanes = d, fma over positions ascending */
#include "kernels/attention.h"
#include "kernels/vec/math_vec.h"

enum { PV = QN_PAGE_TOKENS / VF_N };
#if VF_N == 16
enum { TILE_Q = 6, TILE_V = 4 }; /* queries x vectors of accumulators in registers */
#else
enum { TILE_Q = 4, TILE_V = 2 };
#endif

typedef struct state {
    float p[QN_ATTENTION_MAX_Q][QN_PAGE_TOKENS];
    float max[QN_ATTENTION_MAX_Q], sum[QN_ATTENTION_MAX_Q];
    int i0[QN_ATTENTION_MAX_Q], i1[QN_ATTENTION_MAX_Q];
} state;

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

INLINE void scores(const qn_attention *a, const int *who, const unsigned char *k, state *st, const int Q,
                   const qn_kv kv)
{
    const float *q[TILE_Q];
    UNROLL
    for (int j = 0; j < Q; j++)
        q[j] = a->q[who[j]];
    for (int i = 0; i < QN_PAGE_TOKENS; i += TILE_V * VF_N) {
        vf s[TILE_Q][TILE_V], scale[TILE_V];
        UNROLL
        for (int j = 0; j < Q; j++) {
            UNROLL
            for (int v = 0; v < TILE_V; v++)
                s[j][v] = vf_zero();
        }
        UNROLL
        for (int v = 0; v < TILE_V; v++)
            scale[v] = vf_zero();
        for (int d = 0; d < a->head_k; d++) {
            vf key[TILE_V];
            if (kv == QN__KV_Q8_0 && d % QN_KV_GROUP == 0) {
                size_t at = (size_t)(d / QN_KV_GROUP) * QN_PAGE_TOKENS + (size_t)i;
                UNROLL
                for (int v = 0; v < TILE_V; v++)
                    scale[v] = vf_load_f16(k + (size_t)a->head_k * QN_PAGE_TOKENS + (at + (size_t)(v * VF_N)) * 2);
            }
            UNROLL
            for (int v = 0; v < TILE_V; v++) {
                key[v] = load(k, (size_t)d * QN_PAGE_TOKENS + (size_t)(i + v * VF_N), kv);
                if (kv == QN__KV_Q8_0)
                    key[v] = vf_mul(key[v], scale[v]);
            }
            UNROLL
            for (int j = 0; j < Q; j++) {
                vf x = vf_set1(q[j][d]);
                UNROLL
                for (int v = 0; v < TILE_V; v++)
                    s[j][v] = vf_fma(x, key[v], s[j][v]);
            }
        }
        UNROLL
        for (int j = 0; j < Q; j++) {
            UNROLL
            for (int v = 0; v < TILE_V; v++)
                vf_store(st->p[who[j]] + i + v * VF_N, s[j][v]);
        }
    }
}

/* Scores to weights of one query; its maximum and sum move on and what it has so far is scaled. */
static void weigh(const qn_attention *a, int j, state *st)
{
    float *p = st->p[j], *out = a->out[j];
    vf s[PV], max = vf_set1(st->max[j]), none = vf_set1(-INFINITY);
    UNROLL
    for (int v = 0; v < PV; v++) {
        s[v] = vf_mul(vf_load(p + v * VF_N), vf_set1(a->scale));
        if (a->softcap > 0)
            s[v] = vf_softcap(s[v], vf_set1(a->softcap));
        s[v] = vf_range(s[v], st->i0[j] - v * VF_N, st->i1[j] - v * VF_N, none);
        max = vf_max(s[v], max);
    }
    float top = vf_hmax(max);
    UNROLL
    for (int v = 0; v < PV; v++) {
        s[v] = vf_eq_select(s[v], none, vf_zero(), vf_exp(vf_sub(s[v], vf_set1(top))));
        vf_store(p + v * VF_N, s[v]);
    }
    float c = st->max[j] == -INFINITY ? 0.0f : qn__expf(st->max[j] - top);
    st->sum[j] = fmaf(st->sum[j], c, vf_sum64(s));
    st->max[j] = top;
    VF_NAME(scale)(out, c, out, a->head_v);
}

INLINE const unsigned char *v_scale(const qn_attention *a, const unsigned char *v, int i, int d)
{
    int groups = (a->head_v + QN_KV_GROUP - 1) / QN_KV_GROUP;
    return v + (size_t)a->head_v * QN_PAGE_TOKENS + (size_t)(i * groups + d / QN_KV_GROUP) * 2;
}

/* Vectors d.. of V (V of them, the last of n lanes) joined to Q outputs over positions from..to. */
INLINE void values_tile(const qn_attention *a, const int *who, const unsigned char *v, const state *st, int from,
                        int to, int d, int n, const int Q, const int V, const qn_kv kv)
{
    vf o[TILE_Q][TILE_V];
    UNROLL
    for (int j = 0; j < Q; j++) {
        UNROLL
        for (int c = 0; c < V; c++)
            o[j][c] = vf_load_n(a->out[who[j]] + d + c * VF_N, V > 1 ? VF_N : n);
    }
    for (int i = from; i <= to; i++) {
        vf vv[TILE_V];
        UNROLL
        for (int c = 0; c < V; c++) {
            vv[c] = load_n(v, (size_t)i * (size_t)a->head_v + (size_t)(d + c * VF_N), V > 1 ? VF_N : n, kv);
            if (kv == QN__KV_Q8_0) /* a vector lies within a group */
                vv[c] = vf_mul(vv[c], vf_set1_f16(v_scale(a, v, i, d + c * VF_N)));
        }
        UNROLL
        for (int j = 0; j < Q; j++) {
            vf p = vf_set1(st->p[who[j]][i]);
            UNROLL
            for (int c = 0; c < V; c++)
                o[j][c] = vf_fma(p, vv[c], o[j][c]);
        }
    }
    UNROLL
    for (int j = 0; j < Q; j++) {
        UNROLL
        for (int c = 0; c < V; c++)
            vf_store_n(a->out[who[j]] + d + c * VF_N, o[j][c], V > 1 ? VF_N : n);
    }
}

INLINE void values(const qn_attention *a, const int *who, const unsigned char *v, const state *st, int from, int to,
                   const int Q, const qn_kv kv)
{
    int d = 0;
    if (from > to)
        return;
    for (; d + TILE_V * VF_N <= a->head_v; d += TILE_V * VF_N)
        values_tile(a, who, v, st, from, to, d, VF_N, Q, TILE_V, kv);
    for (; d < a->head_v; d += VF_N)
        values_tile(a, who, v, st, from, to, d, a->head_v - d < VF_N ? a->head_v - d : VF_N, Q, 1, kv);
}

/* Q queries that see something of this page. Positions that all of them see are done together; before and after, one by
 * one, so that each query's positions ascend. */
INLINE void page_tile(const qn_attention *a, const int *who, const unsigned char *k, const unsigned char *v, state *st,
                      const int Q, const qn_kv kv)
{
    int from = 0, to = QN_PAGE_TOKENS - 1;
    scores(a, who, k, st, Q, kv);
    for (int j = 0; j < Q; j++) {
        weigh(a, who[j], st);
        from = st->i0[who[j]] > from ? st->i0[who[j]] : from;
        to = st->i1[who[j]] < to ? st->i1[who[j]] : to;
    }
    if (Q == 1 || from > to) {
        for (int j = 0; j < Q; j++)
            values(a, who + j, v, st, st->i0[who[j]], st->i1[who[j]], 1, kv);
        return;
    }
    for (int j = 0; j < Q; j++)
        values(a, who + j, v, st, st->i0[who[j]], from - 1, 1, kv);
    values(a, who, v, st, from, to, Q, kv);
    for (int j = 0; j < Q; j++)
        values(a, who + j, v, st, to + 1, st->i1[who[j]], 1, kv);
}

INLINE void pages(const qn_attention *a, state *st, const qn_kv kv)
{
    int p0, p1;
    qn__attention_pages(a, &p0, &p1);
    for (int page = p0; page <= p1; page++) {
        int who[QN_ATTENTION_MAX_Q], n = 0, j = 0;
        for (int i = 0; i < a->n_q; i++)
            if (qn__attention_range(a, i, page, &st->i0[i], &st->i1[i]))
                who[n++] = i;
        if (!n)
            continue;
        const unsigned char *k = a->pages[page] + a->k_off, *v = a->pages[page] + a->v_off;
        for (; j + TILE_Q <= n; j += TILE_Q)
            page_tile(a, who + j, k, v, st, TILE_Q, kv);
        for (; j + 2 <= n; j += 2)
            page_tile(a, who + j, k, v, st, 2, kv);
        for (; j < n; j++)
            page_tile(a, who + j, k, v, st, 1, kv);
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
