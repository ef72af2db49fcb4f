/* recurrent.c - one token of the layers that carry a state instead of a cache. States lie with the value dimension across
 * lanes, so no horizontal sum exists. */
#include "kernels/math.h"
#include "kernels/ref/ref.h"

void qn__ref_conv_step(const float *w, const float *b, float *state, const float *x, float *y, int n, int taps)
{
    for (int c = 0; c < n; c++) {
        float sum = b ? b[c] : 0.0f, in = x[c];
        for (int j = 0; j < taps - 1; j++)
            sum = fmaf(w[c * taps + j], state[j * n + c], sum);
        sum = fmaf(w[c * taps + taps - 1], in, sum);
        for (int j = 0; j < taps - 2; j++)
            state[j * n + c] = state[(j + 1) * n + c];
        state[(taps - 2) * n + c] = in;
        y[c] = qn__siluf(sum);
    }
}

void qn__ref_delta_step(float *state, const float *q, const float *k, const float *v, float decay, float beta, float *out,
                        int n_k, int n_v)
{
    for (int j = 0; j < n_v; j++) {
        float m = 0.0f, o = 0.0f;
        for (int i = 0; i < n_k; i++) {
            float s = state[i * n_v + j] * decay;
            state[i * n_v + j] = s;
            m = fmaf(s, k[i], m);
        }
        float d = (v[j] - m) * beta;
        for (int i = 0; i < n_k; i++) {
            float s = fmaf(k[i], d, state[i * n_v + j]);
            state[i * n_v + j] = s;
            o = fmaf(s, q[i], o);
        }
        out[j] = o;
    }
}

void qn__ref_ssm_step(float *state, const float *x, const float *b, const float *c, float decay, float *y, int n_state, int n)
{
    for (int i = 0; i < n; i++) {
        float sum = 0.0f;
        for (int s = 0; s < n_state; s++) {
            float v = fmaf(state[s * n + i], decay, b[s] * x[i]);
            state[s * n + i] = v;
            sum = fmaf(v, c[s], sum);
        }
        y[i] = sum;
    }
}
