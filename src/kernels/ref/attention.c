/* attention.c - attention of some queries over the pages of one KV head, and storing into a page. See qn_attention. */
#include <math.h>
#include <string.h>

#include "kernels/attention.h"
#include "kernels/f16.h"
#include "kernels/math.h"
#include "kernels/ref/ref.h"

static float kv_at(qn_kv kv, const unsigned char *base, size_t i)
{
    if (kv == QN__KV_F32) {
        float f;
        memcpy(&f, base + i * 4, sizeof f);
        return f;
    }
    uint16_t h;
    memcpy(&h, base + i * 2, sizeof h);
    return qn__f16_to_f32(h);
}

/* 64 -> 16 lanes -> a tree: the order of every level. */
static float sum64(const float *p)
{
    float lane[16];
    for (int i = 0; i < 16; i++)
        lane[i] = (p[i] + p[i + 16]) + (p[i + 32] + p[i + 48]);
    for (int n = 8; n > 0; n /= 2)
        for (int i = 0; i < n; i++)
            lane[i] += lane[i + n];
    return lane[0];
}

typedef struct state {
    float max, sum;
} state;

static void page_step(const qn_attention *a, int j, int page, state *st)
{
    int i0, i1;
    if (!qn__attention_range(a, j, page, &i0, &i1))
        return;
    const unsigned char *kp = a->pages[page] + a->k_off, *vp = a->pages[page] + a->v_off;
    float p[QN_PAGE_TOKENS], max = st->max, *out = a->out[j];
    for (int i = 0; i < QN_PAGE_TOKENS; i++) {
        float s = 0;
        for (int d = 0; d < a->head_k && i >= i0 && i <= i1; d++)
            s = fmaf(a->q[j][d], kv_at(a->kv, kp, (size_t)d * QN_PAGE_TOKENS + (size_t)i), s);
        s = s * a->scale;
        if (a->softcap > 0)
            s = qn__softcapf(s, a->softcap);
        p[i] = i >= i0 && i <= i1 ? s : -INFINITY;
        max = p[i] > max ? p[i] : max;
    }
    for (int i = 0; i < QN_PAGE_TOKENS; i++)
        p[i] = p[i] == -INFINITY ? 0.0f : qn__expf(p[i] - max);
    float c = st->max == -INFINITY ? 0.0f : qn__expf(st->max - max);
    st->sum = fmaf(st->sum, c, sum64(p));
    st->max = max;
    for (int d = 0; d < a->head_v; d++) {
        float o = out[d] * c;
        for (int i = i0; i <= i1; i++)
            o = fmaf(p[i], kv_at(a->kv, vp, (size_t)i * (size_t)a->head_v + (size_t)d), o);
        out[d] = o;
    }
}

void qn__ref_attention(const qn_attention *a)
{
    int p0, p1;
    qn__attention_pages(a, &p0, &p1);
    for (int j = 0; j < a->n_q; j++) {
        state st = {-INFINITY, 0};
        for (int d = 0; d < a->head_v; d++)
            a->out[j][d] = 0;
        for (int page = p0; page <= p1; page++)
            page_step(a, j, page, &st);
        float f = qn__attention_finish(st.max, st.sum, a->sink ? &a->sink[j] : NULL);
        for (int d = 0; d < a->head_v; d++)
            a->out[j][d] *= f;
    }
}

void qn__ref_kv_store(qn_kv kv, const float *k, const float *v, int head_k, int head_v, unsigned char *k_page,
                      unsigned char *v_page, int slot)
{
    for (int d = 0; d < head_k; d++) {
        size_t i = (size_t)d * QN_PAGE_TOKENS + (size_t)slot;
        if (kv == QN__KV_F32) {
            memcpy(k_page + i * 4, &k[d], 4);
        } else {
            uint16_t h = qn__f32_to_f16(k[d]);
            memcpy(k_page + i * 2, &h, 2);
        }
    }
    for (int d = 0; d < head_v; d++) {
        size_t i = (size_t)slot * (size_t)head_v + (size_t)d;
        if (kv == QN__KV_F32) {
            memcpy(v_page + i * 4, &v[d], 4);
        } else {
            uint16_t h = qn__f32_to_f16(v[d]);
            memcpy(v_page + i * 2, &h, 2);
        }
    }
}
