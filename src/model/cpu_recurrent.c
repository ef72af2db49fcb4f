/* cpu_recurrent.c - layers that carry a state, on the CPU: a sequence's tokens one after another, sequences and heads
 * in parallel. Nothing is summed across tokens in chunks, so a prompt's cut into steps cannot change a bit.
 *
 *   a layer's state of one sequence:  [taps - 1][channels] of the convolution | [heads][...] of the rule
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/math.h"
#include "model/cpu_device.h"

typedef struct recurrent_job {
    cpu_device *d;
    const qn_recurrent_shape *s;
    const qn_layer *l;
    qn_rows in, alpha, beta, out;
    const qn_run *runs;
    int channels, at; /* of the convolution; where they start in a row of `in` */
} recurrent_job;

static float softplus(float x)
{
    return x > 20 ? x : (float)log1p(exp((double)x));
}

static float *state_of(const recurrent_job *j, const qn_run *r)
{
    return r->state + j->l->state_at;
}

/* Of n floats of the run's state, those that row t advances: from `kept` on a copy. It is made while they are in the core's cache, so
 * that it costs their writing and no more. */
static float *state_for(const qn_run *r, int t, float *state, size_t n)
{
    if (!r->beyond || t != r->first + r->kept)
        return state;
    float *copy = r->beyond + (state - r->state);
    memcpy(copy, state, n * sizeof *copy);
    return copy;
}

/* The convolution of one run, in place: channels are independent, but a run's tokens are not, so a piece is one run. */
static void conv_piece(void *arg, int item, int thread)
{
    const recurrent_job *j = arg;
    const qn_run *r = &j->runs[item];
    float *state = state_of(j, r);
    (void)thread;
    for (int t = r->first; t < r->first + r->n; t++) {
        float *x = qn__row(j->in, t) + j->at;
        state = state_for(r, t, state, (size_t)(j->s->conv - 1) * (size_t)j->channels);
        j->d->k->conv_step(j->l->conv, j->l->conv_bias, state, x, x, j->channels, j->s->conv);
    }
}

static void unit(float *x, int n, float eps)
{
    float sum = 0;
    for (int i = 0; i < n; i++)
        sum = fmaf(x[i], x[i], sum);
    float norm = sqrtf(sum);
    float scale = 1.0f / (norm > eps ? norm : eps);
    for (int i = 0; i < n; i++)
        x[i] *= scale;
}

/* Queries and keys of one run and key head become unit vectors, queries scaled by 1/sqrt(size). */
static void unit_piece(void *arg, int item, int thread)
{
    const recurrent_job *j = arg;
    const qn_recurrent_shape *s = j->s;
    (void)thread;
    float *row = qn__row(j->in, item), scale = 1.0f / sqrtf((float)s->state);
    for (int g = 0; g < s->groups; g++) {
        float *q = row + g * s->state, *k = row + (s->groups + g) * s->state;
        unit(q, s->state, s->eps);
        unit(k, s->state, s->eps);
        j->d->k->scale(q, scale, q, s->state);
    }
}

static void delta_piece(void *arg, int item, int thread)
{
    const recurrent_job *j = arg;
    const qn_recurrent_shape *s = j->s;
    const qn_run *r = &j->runs[item / s->heads];
    int head = item % s->heads, value = s->inner / s->heads;
    int key = s->keys_tiled ? head % s->groups : head / (s->heads / s->groups);
    float *state =
        state_of(j, r) + (size_t)(s->conv - 1) * (size_t)j->channels + (size_t)head * (size_t)s->state * (size_t)value;
    (void)thread;
    for (int t = r->first; t < r->first + r->n; t++) {
        const float *row = qn__row(j->in, t);
        float decay = qn__expf(softplus(qn__row(j->alpha, t)[head] + j->l->dt_bias[head]) * j->l->a[head]);
        float beta = 1.0f / (1.0f + qn__expf(-qn__row(j->beta, t)[head]));
        state = state_for(r, t, state, (size_t)s->state * (size_t)value);
        j->d->k->delta_step(state, row + key * s->state, row + (s->groups + key) * s->state,
                            row + 2 * s->groups * s->state + head * value, decay, beta,
                            qn__row(j->out, t) + head * value, s->state, value);
    }
}

void qn__cpu_delta(qn_device *dev, const qn_recurrent_shape *s, const qn_layer *l, qn_rows qkv, qn_rows alpha,
                   qn_rows beta, qn_rows out, const qn_run *runs, int n_runs)
{
    recurrent_job j = {.d = qn__cpu(dev),
                       .s = s,
                       .l = l,
                       .in = qkv,
                       .alpha = alpha,
                       .beta = beta,
                       .out = out,
                       .runs = runs,
                       .channels = s->inner + 2 * s->groups * s->state};
    qn__pool_run(j.d->pool, n_runs, conv_piece, &j);
    qn__pool_run(j.d->pool, qkv.rows, unit_piece, &j);
    qn__pool_run(j.d->pool, n_runs * s->heads, delta_piece, &j);
}

/* Row: z [inner] | x [inner] | B [groups][state] | C [groups][state] | dt [heads]. A head's values pass through
 * scratch, scaled by its time step. */
static void mamba_piece(void *arg, int item, int thread)
{
    const recurrent_job *j = arg;
    const qn_recurrent_shape *s = j->s;
    const qn_run *r = &j->runs[item / s->heads];
    int head = item % s->heads, n = s->inner / s->heads, group = head / (s->heads / s->groups);
    float *state =
        state_of(j, r) + (size_t)(s->conv - 1) * (size_t)j->channels + (size_t)head * (size_t)s->state * (size_t)n;
    float *scaled = j->d->scratch + (size_t)thread * j->d->scratch_floats;
    assert((size_t)n <= j->d->scratch_floats);
    for (int t = r->first; t < r->first + r->n; t++) {
        const float *row = qn__row(j->in, t), *x = row + s->inner + head * n,
                    *b = row + 2 * s->inner + group * s->state;
        float *y = qn__row(j->out, t) + head * n;
        float dt = softplus(row[s->inner + j->channels + head] + j->l->dt_bias[head]);
        state = state_for(r, t, state, (size_t)s->state * (size_t)n);
        j->d->k->scale(x, dt, scaled, n);
        j->d->k->ssm_step(state, scaled, b, b + s->groups * s->state, qn__expf(dt * j->l->a[head]), y, s->state, n);
        j->d->k->add_scaled(x, j->l->skip[head], y, n);
    }
}

/* y = norm of each group of y * silu(z). */
static void mamba_end_piece(void *arg, int item, int thread)
{
    const recurrent_job *j = arg;
    const qn_recurrent_shape *s = j->s;
    int n = s->inner / s->groups;
    (void)thread;
    for (int g = 0; g < s->groups; g++) {
        float *y = qn__row(j->out, item) + g * n;
        j->d->k->silu_mul(qn__row(j->in, item) + g * n, y, y, n);
        j->d->k->rms_norm(y, j->l->ssm_norm.w + g * n, y, n, s->eps);
    }
}

void qn__cpu_mamba(qn_device *dev, const qn_recurrent_shape *s, const qn_layer *l, qn_rows in, qn_rows out,
                   const qn_run *runs, int n_runs)
{
    recurrent_job j = {.d = qn__cpu(dev),
                       .s = s,
                       .l = l,
                       .in = in,
                       .out = out,
                       .runs = runs,
                       .at = s->inner,
                       .channels = s->inner + 2 * s->groups * s->state};
    qn__pool_run(j.d->pool, n_runs, conv_piece, &j);
    qn__pool_run(j.d->pool, n_runs * s->heads, mamba_piece, &j);
    qn__pool_run(j.d->pool, out.rows, mamba_end_piece, &j);
}
