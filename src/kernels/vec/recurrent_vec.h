/* recurrent_vec.h - one token of the layers that carry a state; the body of every recurrent_LEVEL.c. Channels, or the
 * value dimension, lie across lanes: every element has the operations of ref/recurrent.c in their order, to the bit.
 *
 * WIDE vectors go together, for latency: a sum over the other dimension is one chain of fmas per vector. */
#include "kernels/vec/math_vec.h"

enum { WIDE = 4 };

INLINE vf at(const float *p, int n)
{
    return n == VF_N ? vf_load(p) : vf_load_n(p, n);
}

INLINE void put(float *p, vf v, int n)
{
    if (n == VF_N)
        vf_store(p, v);
    else
        vf_store_n(p, v, n);
}

INLINE int left(int n, int i)
{
    return n - i < VF_N ? n - i : VF_N;
}

/* Tap j of m channels, whose taps lie together. */
INLINE vf taps_of(const float *w, int j, int taps, int m)
{
    float t[VF_N] = {0};
    for (int i = 0; i < m; i++)
        t[i] = w[i * taps + j];
    return vf_load(t);
}

void VF_NAME(conv_step)(const float *w, const float *b, float *state, const float *x, float *y, int n, int taps)
{
    for (int c = 0; c < n; c += VF_N) {
        int m = left(n, c);
        vf sum = b ? at(b + c, m) : vf_zero(), in = at(x + c, m);
        for (int j = 0; j < taps - 1; j++) {
            vf s = at(state + j * n + c, m);
            sum = vf_fma(taps_of(w + c * taps, j, taps, m), s, sum);
            if (j > 0)
                put(state + (j - 1) * n + c, s, m);
        }
        sum = vf_fma(taps_of(w + c * taps, taps - 1, taps, m), in, sum);
        put(state + (taps - 2) * n + c, in, m);
        put(y + c, vf_silu(sum), m);
    }
}

typedef struct delta {
    float *state;
    const float *q, *k, *v;
    float decay, beta, *out;
    int n_k, n_v;
} delta;

/* V vectors of the value dimension from j, the last of m lanes. */
INLINE void delta_strip(const delta *a, int j, int m, const int V)
{
    vf sum[WIDE], d[WIDE], o[WIDE], decay = vf_set1(a->decay);
    UNROLL
    for (int c = 0; c < V; c++)
        sum[c] = o[c] = vf_zero();
    for (int i = 0; i < a->n_k; i++) {
        const float *s = a->state + i * a->n_v + j;
        vf k = vf_set1(a->k[i]);
        UNROLL
        for (int c = 0; c < V; c++)
            sum[c] = vf_fma(vf_mul(at(s + c * VF_N, m), decay), k, sum[c]);
    }
    UNROLL
    for (int c = 0; c < V; c++)
        d[c] = vf_mul(vf_sub(at(a->v + j + c * VF_N, m), sum[c]), vf_set1(a->beta));
    for (int i = 0; i < a->n_k; i++) { /* the state is scaled again rather than stored in between */
        float *p = a->state + i * a->n_v + j;
        vf k = vf_set1(a->k[i]), q = vf_set1(a->q[i]);
        UNROLL
        for (int c = 0; c < V; c++) {
            vf s = vf_fma(k, d[c], vf_mul(at(p + c * VF_N, m), decay));
            put(p + c * VF_N, s, m);
            o[c] = vf_fma(s, q, o[c]);
        }
    }
    UNROLL
    for (int c = 0; c < V; c++)
        put(a->out + j + c * VF_N, o[c], m);
}

void VF_NAME(delta_step)(float *state, const float *q, const float *k, const float *v, float decay, float beta,
                         float *out, int n_k, int n_v)
{
    delta a = {state, q, k, v, decay, beta, out, n_k, n_v};
    int j = 0;
    for (; j + WIDE * VF_N <= n_v; j += WIDE * VF_N)
        delta_strip(&a, j, VF_N, WIDE);
    for (; j < n_v; j += VF_N)
        delta_strip(&a, j, left(n_v, j), 1);
}

typedef struct ssm {
    float *state;
    const float *x, *b, *c;
    float decay, *y;
    int n_state, n;
} ssm;

INLINE void ssm_strip(const ssm *a, int i, int m, const int V)
{
    vf x[WIDE], sum[WIDE], decay = vf_set1(a->decay);
    UNROLL
    for (int c = 0; c < V; c++) {
        x[c] = at(a->x + i + c * VF_N, m);
        sum[c] = vf_zero();
    }
    for (int s = 0; s < a->n_state; s++) {
        float *p = a->state + s * a->n + i;
        vf in = vf_set1(a->b[s]), out = vf_set1(a->c[s]);
        UNROLL
        for (int c = 0; c < V; c++) {
            vf v = vf_fma(at(p + c * VF_N, m), decay, vf_mul(in, x[c]));
            put(p + c * VF_N, v, m);
            sum[c] = vf_fma(v, out, sum[c]);
        }
    }
    UNROLL
    for (int c = 0; c < V; c++)
        put(a->y + i + c * VF_N, sum[c], m);
}

void VF_NAME(ssm_step)(float *state, const float *x, const float *b, const float *c, float decay, float *y, int n_state,
                       int n)
{
    ssm a = {state, x, b, c, decay, y, n_state, n};
    int i = 0;
    for (; i + WIDE * VF_N <= n; i += WIDE * VF_N)
        ssm_strip(&a, i, VF_N, WIDE);
    for (; i < n; i += VF_N)
        ssm_strip(&a, i, left(n, i), 1);
}
