/* hf_forward.h - what checkpoints in the Hugging Face layout compute, by the formulas of the models' published modelling code,
 * in doubles and a whole prompt at a time: plain loops over the folder's own tensors. Shares nothing with the converter or the
 * decoder. */
#ifndef QN_TESTS_HF_FORWARD_H
#define QN_TESTS_HF_FORWARD_H

#include <math.h>

#include "hf_folder.h"

enum { FW_TOKENS = 64, FW_WIDTH = 1600 };

typedef struct fw_mat { /* all dimensions but the last are rows */
    int rows, cols;
    double *v;
} fw_mat;

typedef double fw_rows[FW_TOKENS][FW_WIDTH];

typedef struct fw {
    const hf_folder *f;
    fw_mat *got; /* everything looked up, to be freed */
    size_t n_got;
    int n;       /* tokens */
    double eps;
    bool plus_one; /* norms store weight - 1 */
} fw;

static inline const hf_tensor *fw_find(const fw *w, const char *name)
{
    for (size_t i = 0; i < w->f->n; i++)
        if (!strcmp(w->f->t[i].name, name))
            return &w->f->t[i];
    return NULL;
}

static inline fw_mat fw_get(fw *w, const char *name)
{
    const hf_tensor *t = fw_find(w, name);
    fw_mat m = {1, 1, NULL};
    if (!t)
        return m;
    for (int i = 0; i < t->n_dims; i++)
        *(i + 1 < t->n_dims ? &m.rows : &m.cols) *= (int)t->dims[i];
    size_t n = (size_t)m.rows * (size_t)m.cols;
    m.v = malloc(n * sizeof *m.v);
    for (size_t i = 0; i < n; i++) {
        float v;
        uint16_t h;
        if (strcmp(t->dtype, "F32") == 0)
            memcpy(&v, t->data + 4 * i, 4);
        else
            memcpy(&h, t->data + 2 * i, 2), v = qn__f16_to_f32(h);
        m.v[i] = (double)v;
    }
    w->got = realloc(w->got, (w->n_got + 1) * sizeof *w->got);
    w->got[w->n_got++] = m;
    return m;
}

/* The tensor PREFIX%d.WHAT of a layer. */
static inline fw_mat fw_layer(fw *w, const char *prefix, int layer, const char *what)
{
    char name[256];
    (void)snprintf(name, sizeof name, "%s%d.%s", prefix, layer, what);
    return fw_get(w, name);
}

static inline void fw_free(fw *w)
{
    for (size_t i = 0; i < w->n_got; i++)
        free(w->got[i].v);
    free(w->got);
    w->got = NULL, w->n_got = 0;
}

static inline double fw_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static inline double fw_silu(double x) { return x * fw_sigmoid(x); }

/* y = rows [first, first + m.rows) x; bias may be empty */
static inline void fw_linear(fw_mat m, fw_mat bias, const double *x, double *y)
{
    for (int r = 0; r < m.rows; r++) {
        y[r] = bias.v ? bias.v[r] : 0;
        for (int i = 0; i < m.cols; i++)
            y[r] += m.v[(size_t)r * (size_t)m.cols + (size_t)i] * x[i];
    }
}

static const fw_mat fw_none = {0, 0, NULL};

static inline void fw_all(const fw *w, fw_mat m, fw_rows x, fw_rows y)
{
    for (int t = 0; t < w->n; t++)
        fw_linear(m, fw_none, x[t], y[t]);
}

/* y = x / rms(x) * w over n values */
static inline void fw_rms(const fw *w, const double *x, const double *weight, bool plus_one, int n, double *y)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i] * x[i];
    double scale = 1 / sqrt(sum / n + w->eps);
    for (int i = 0; i < n; i++)
        y[i] = x[i] * scale * (weight[i] + plus_one);
}

static inline void fw_norm(const fw *w, fw_mat m, fw_rows x, fw_rows y)
{
    for (int t = 0; t < w->n; t++)
        fw_rms(w, x[t], m.v, w->plus_one, m.cols, y[t]);
}

/* Halves of the first n_rot values of each head turn; factors divide the frequencies, or NULL. */
static inline void fw_rope(const fw *w, fw_rows x, int heads, int d, int n_rot, double base, const double *factors)
{
    for (int t = 0; t < w->n; t++)
        for (int h = 0; h < heads; h++)
            for (int i = 0; i < n_rot / 2; i++) {
                double a = t * pow(base, -2.0 * i / n_rot) / (factors ? factors[i] : 1), *p = x[t] + h * d + i;
                double lo = p[0], hi = p[n_rot / 2];
                p[0] = lo * cos(a) - hi * sin(a);
                p[n_rot / 2] = hi * cos(a) + lo * sin(a);
            }
}

/* Softmax attention; window 0: everything before; whole: everything. */
static inline void fw_attend(const fw *w, fw_rows q, fw_rows k, fw_rows v, int heads, int kv, int d, int window, bool whole, fw_rows out)
{
    for (int t = 0; t < w->n; t++)
        for (int h = 0; h < heads; h++) {
            double p[FW_TOKENS], sum = 0, most = -1e300;
            int at = h / (heads / kv) * d, first = window && t - window + 1 > 0 ? t - window + 1 : 0, end = whole ? w->n : t + 1;
            for (int s = first; s < end; s++) {
                p[s] = 0;
                for (int i = 0; i < d; i++)
                    p[s] += q[t][h * d + i] * k[s][at + i];
                p[s] /= sqrt(d);
                most = p[s] > most ? p[s] : most;
            }
            for (int s = first; s < end; s++)
                sum += p[s] = exp(p[s] - most);
            for (int i = 0; i < d; i++) {
                out[t][h * d + i] = 0;
                for (int s = first; s < end; s++)
                    out[t][h * d + i] += p[s] / sum * v[s][at + i];
            }
        }
}

/* The depthwise convolution over time, then SiLU; weight [channels][taps], the last tap is now. */
static inline void fw_conv(const fw *w, fw_mat weight, fw_mat bias, fw_rows x)
{
    int taps = weight.cols;
    for (int c = 0; c < weight.rows; c++)
        for (int t = w->n - 1; t >= 0; t--) {
            double sum = bias.v ? bias.v[c] : 0;
            for (int i = 0; i < taps; i++)
                if (t - taps + 1 + i >= 0)
                    sum += weight.v[c * taps + i] * x[t - taps + 1 + i][c];
            x[t][c] = fw_silu(sum);
        }
}

static inline double fw_softplus(double x) { return x > 30 ? x : log1p(exp(x)); }

/* The gated delta rule of one value head: S = exp(g) S; S += k (beta (v - S^T k))^T; out = S^T q. */
static inline void fw_delta_head(const fw *w, fw_rows q, fw_rows k, fw_rows v, int key, int head, int dk, int dv, const double *g, const double *beta,
                                 fw_rows out)
{
    double *s = calloc((size_t)dk * (size_t)dv, sizeof *s);
    for (int t = 0; t < w->n; t++) {
        double nq = 1e-6, nk = 1e-6;
        for (int i = 0; i < dk; i++)
            nq += q[t][key * dk + i] * q[t][key * dk + i], nk += k[t][key * dk + i] * k[t][key * dk + i];
        for (int j = 0; j < dv; j++) {
            double had = 0, sum = 0;
            for (int i = 0; i < dk; i++)
                had += (s[i * dv + j] *= exp(g[t])) * k[t][key * dk + i] / sqrt(nk);
            for (int i = 0; i < dk; i++) {
                s[i * dv + j] += k[t][key * dk + i] / sqrt(nk) * beta[t] * (v[t][head * dv + j] - had);
                sum += s[i * dv + j] * q[t][key * dk + i] / sqrt(nq) / sqrt(dk);
            }
            out[t][head * dv + j] = sum;
        }
    }
    free(s);
}

/* Mamba-2's scan of one head: S = exp(dt A) S + dt x B^T; y = S C + D x. */
static inline void fw_scan_head(const fw *w, fw_rows x, fw_rows b, fw_rows c, int head, int group, int d, int state, const double *dt, double a, double skip,
                                fw_rows out)
{
    double *s = calloc((size_t)d * (size_t)state, sizeof *s);
    for (int t = 0; t < w->n; t++)
        for (int i = 0; i < d; i++) {
            double sum = skip * x[t][head * d + i];
            for (int j = 0; j < state; j++) {
                s[i * state + j] = s[i * state + j] * exp(dt[t] * a) + dt[t] * x[t][head * d + i] * b[t][group * state + j];
                sum += s[i * state + j] * c[t][group * state + j];
            }
            out[t][head * d + i] = sum;
        }
    free(s);
}

/* The choice of a router: indices and weights of the best `used` by score + bias. */
typedef struct fw_choice {
    int expert[16];
    double weight[16];
} fw_choice;

static inline fw_choice fw_route(const double *score, const double *bias, int n, int used, bool normalise, double scale)
{
    fw_choice c = {0};
    bool taken[64] = {false};
    double sum = 0;
    for (int i = 0; i < used; i++) {
        int best = -1;
        for (int e = 0; e < n; e++)
            if (!taken[e] && (best < 0 || score[e] + (bias ? bias[e] : 0) > score[best] + (bias ? bias[best] : 0)))
                best = e;
        taken[best] = true;
        c.expert[i] = best;
        sum += c.weight[i] = score[best];
    }
    for (int i = 0; i < used; i++)
        c.weight[i] *= scale / (normalise ? sum : 1);
    return c;
}

/* y += weight * down(act): silu(gate) * up, clamped when limit > 0; relu(up)^2 when there is no gate. */
static inline void fw_mlp(fw_mat gate, fw_mat up, fw_mat down, double limit, const double *x, double weight, double *y)
{
    double a[FW_WIDTH], b[FW_WIDTH], out[FW_WIDTH];
    fw_linear(up, fw_none, x, a);
    if (gate.v)
        fw_linear(gate, fw_none, x, b);
    for (int i = 0; i < up.rows; i++) {
        double g = gate.v ? fw_silu(b[i]) : 0, u = a[i];
        if (limit > 0)
            g = fmin(g, limit), u = fmax(-limit, fmin(u, limit));
        a[i] = gate.v ? g * u : u > 0 ? u * u : 0;
    }
    fw_linear(down, fw_none, a, out);
    for (int i = 0; i < down.rows; i++)
        y[i] += weight * out[i];
}

/* One expert of a tensor of all. */
static inline fw_mat fw_slice(fw_mat m, int n, int i)
{
    fw_mat s = {m.rows / n, m.cols, m.v ? m.v + (size_t)i * (size_t)(m.rows / n) * (size_t)m.cols : NULL};
    return s;
}

#endif
