/* attention.c - attention of some queries over the pages of one KV head, and storing into a page. See qn_attention. */
#include <math.h>
#include <string.h>

#include "kernels/attention.h"
#include "kernels/f16.h"
#include "kernels/math.h"
#include "kernels/ref/ref.h"

static float half_at(const unsigned char *p, size_t i)
{
    uint16_t h;
    memcpy(&h, p + i * 2, sizeof h);
    return qn__f16_to_f32(h);
}

/* Element i of a head's keys or values, of which there are n; its scale is number `scale`. */
static float kv_at(qn_kv kv, const unsigned char *base, size_t i, size_t n, size_t scale)
{
    float f;
    if (kv == QN__KV_F16)
        return half_at(base, i);
    if (kv == QN__KV_Q8_0)
        return (float)(int8_t)base[i] * half_at(base + n, scale);
    memcpy(&f, base + i * 4, sizeof f);
    return f;
}

static float k_at(const qn_attention *a, const unsigned char *k, int d, int i)
{
    return kv_at(a->kv, k, (size_t)d * QN_PAGE_TOKENS + (size_t)i, (size_t)a->head_k * QN_PAGE_TOKENS,
                 (size_t)(d / QN_KV_GROUP) * QN_PAGE_TOKENS + (size_t)i);
}

static float v_at(const qn_attention *a, const unsigned char *v, int i, int d)
{
    size_t groups = (size_t)((a->head_v + QN_KV_GROUP - 1) / QN_KV_GROUP);
    return kv_at(a->kv, v, (size_t)i * (size_t)a->head_v + (size_t)d, (size_t)a->head_v * QN_PAGE_TOKENS,
                 (size_t)i * groups + (size_t)(d / QN_KV_GROUP));
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
            s = fmaf(a->q[j][d], k_at(a, kp, d, i), s);
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
            o = fmaf(p[i], v_at(a, vp, i, d), o);
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

/* Values step apart; their scales scale_step apart, from `scales`. Scales are half floats of amax/127; what is infinite
 * or no number makes its group no number, as honestly as can be; too small for a half float is zero. */
static void store_q8_0(const float *x, int n, unsigned char *q, size_t step, unsigned char *scales, size_t scale_step)
{
    for (int g = 0; g < n; g += QN_KV_GROUP, scales += scale_step * 2) {
        int end = n - g < QN_KV_GROUP ? n : g + QN_KV_GROUP;
        float amax = 0;
        for (int i = g; i < end; i++)
            amax = fabsf(x[i]) <= amax ? amax : isnan(x[i]) ? INFINITY : fabsf(x[i]);
        uint16_t h = amax < INFINITY ? qn__f32_to_f16(amax / 127.0f) : 0x7E00;
        float d = qn__f16_to_f32(h), id = d > 0 && d < INFINITY ? 1.0f / d : 0.0f;
        for (int i = g; i < end; i++) {
            float v = id > 0 ? x[i] * id : 0.0f;
            q[(size_t)i * step] = (unsigned char)(int8_t)rintf(v > 127.0f ? 127.0f : v < -127.0f ? -127.0f : v);
        }
        memcpy(scales, &h, 2);
    }
}

void qn__ref_kv_store(qn_kv kv, const float *k, const float *v, int head_k, int head_v, unsigned char *k_page,
                      unsigned char *v_page, int slot)
{
    if (kv == QN__KV_Q8_0) {
        size_t at = (size_t)slot, nv = (size_t)head_v, groups = (nv + QN_KV_GROUP - 1) / QN_KV_GROUP;
        store_q8_0(k, head_k, k_page + at, QN_PAGE_TOKENS, k_page + ((size_t)head_k * QN_PAGE_TOKENS + at * 2),
                   QN_PAGE_TOKENS);
        store_q8_0(v, head_v, v_page + at * nv, 1, v_page + (nv * QN_PAGE_TOKENS + at * groups * 2), 1);
        return;
    }
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
