/* test_ops.c - norms, rope and the element-wise operations at every level; exp and tanh against libm in double. */
#include "check.h"

#include "kernels/math.h"

static double ulps(double want, double got)
{
    float f = (float)want;
    double ulp = (double)nextafterf(fabsf(f), INFINITY) - (double)fabsf(f);
    return fabs(got - want) / ulp;
}

static void scalar_math(void **state)
{
    (void)state;
    double worst_exp = 0, worst_tanh = 0, worst_silu = 0, worst_gelu = 0;
    for (int i = 0; i < 400000; i++) {
        float x = (float)(i - 200000) * 0.00045f; /* -90 .. 90 */
        double e = exp((double)x);
        if (e < 3e38 && e > 1e-45)
            worst_exp = fmax(worst_exp, ulps(e, (double)qn__expf(x)));
        x *= 0.1f;
        worst_tanh = fmax(worst_tanh, ulps(tanh((double)x), (double)qn__tanhf(x)));
        worst_silu = fmax(worst_silu, ulps(x / (1 + exp(-(double)x)), (double)qn__siluf(x)));
        double u = 0.79788456080286535588 * (x + 0.044715 * (double)x * x * x), g = x / (1 + exp(-2 * u));
        if (x > -4)
            worst_gelu = fmax(worst_gelu, ulps(g, (double)qn__geluf(x)));
    }
    printf("figure: largest error in ulp: exp %.2f, tanh %.2f, silu %.2f, gelu (x > -4) %.1f\n", worst_exp, worst_tanh,
           worst_silu, worst_gelu);
    assert_true(worst_exp < 1.5 && worst_tanh < 2.5 && worst_silu < 3 && worst_gelu < 30);
    for (int i = 0; i < 100000; i++) { /* near 0 nothing cancels */
        float x = rnd_normal() * 1e-4f;
        assert_true(ulps(tanh((double)x), (double)qn__tanhf(x)) < 1.5);
    }
    assert_true(qn__expf(-INFINITY) == 0 && qn__expf(-200) == 0 && qn__expf(INFINITY) == INFINITY &&
                qn__expf(100) == INFINITY);
    assert_true(isnan(qn__expf(NAN)) && qn__expf(0) == 1 && isnan(qn__tanhf(NAN)) && isnan(qn__siluf(NAN)));
    assert_true(qn__tanhf(INFINITY) == 1 && qn__tanhf(-INFINITY) == -1 && qn__siluf(-200) == 0 &&
                qn__geluf(-1e20f) == 0);
}

enum {
    SILU,
    GELU,
    RELU2,
    SILU_MUL,
    GELU_MUL,
    ADD,
    SCALE,
    SOFTCAP,
    OAI_MUL,
    SILU_MUL_CLAMPED,
    SIGMOID_MUL,
    ADD_SCALED,
    ROPE,
    ROPE_NEOX,
    MAPS
};

static void map(const qn_kernels *k, int op, const float *a, const float *b, float *y, int n)
{
    switch (op) {
    case SILU: k->silu(a, y, n); break;
    case GELU: k->gelu(a, y, n); break;
    case RELU2: k->relu2(a, y, n); break;
    case SILU_MUL: k->silu_mul(a, b, y, n); break;
    case GELU_MUL: k->gelu_mul(a, b, y, n); break;
    case ADD: k->add(a, b, y, n); break;
    case SCALE: k->scale(a, b[0], y, n); break;
    case SOFTCAP: k->softcap(a, 30.0f, y, n); break;
    case OAI_MUL: k->oai_mul(a, b, y, n, 0.7f); break;
    case SILU_MUL_CLAMPED: k->silu_mul_clamped(a, b, y, n, 0.7f); break;
    case SIGMOID_MUL: k->sigmoid_mul(a, b, y, n); break;
    case ADD_SCALED:
        memmove(y, b, (size_t)n * 4);
        k->add_scaled(a, 0.3f, y, n);
        break;
    default:
        memmove(y, a, (size_t)n * 4);
        k->rope(y, b, n / 2 * 2, op == ROPE_NEOX);
        break;
    }
}

static const char *check_map(const qn_kernels *k, int op, int n, float size)
{
    static const float odd[] = {0.0f,  -0.0f,  INFINITY, -INFINITY, 1e-40f,  -1e-40f,
                                3e38f, -3e38f, 88.8f,    -88.8f,    -104.0f, 0.625f};
    float *a = guarded((size_t)n * 4, 4), *b = guarded((size_t)n * 4, 4);
    const char *bad;
    for (int i = 0; i < n; i++) {
        a[i] = rnd() % 16 ? rnd_normal() * size : op < ROPE ? odd[rnd() % 12] : 0.0f;
        b[i] = rnd_normal();
    }
    field want = field_new(1, n, 0), y = field_new(1, n, 0), in = field_new(1, n, 0);
    map(qn__kernels(QN_CPU_REF), op, a, b, want.p, n);
    map(k, op, a, b, y.p, n);
    memcpy(in.p, a, (size_t)n * 4);
    map(k, op, op == ADD_SCALED ? a : in.p, b, in.p, n);
    if ((bad = field_check(&y)) || (bad = field_check(&in)))
        return bad;
    for (int i = 0; i < n; i++) {
        bool same = memcmp(&want.p[i], &y.p[i], 4) == 0 || (isnan(want.p[i]) && isnan(y.p[i]));
        if (!same)
            return FAIL("%s operation %d of %d: element %d of %.9g is %.9g, ref %.9g", qn__cpu_name(k->level), op, n, i,
                        (double)a[i], (double)y.p[i], (double)want.p[i]);
    }
    return memcmp(in.p, y.p, (size_t)n * 4) == 0 ? NULL
                                                 : FAIL("%s operation %d in place differs", qn__cpu_name(k->level), op);
}

static const char *checked_map(const qn_kernels *k, int op, int n, float size)
{
    const char *bad = check_map(k, op, n, size);
    drop_all();
    return bad;
}

static void maps(void **state)
{
    (void)state;
    for (int l = 0; l < levels(); l++)
        for (int op = 0; op < MAPS; op++)
            for (int n = 1; n < 72; n++)
                MUST(checked_map(qn__kernels((qn_cpu)l), op, n == 71 ? 1000 : n, n % 3 ? 2.0f : 40.0f));
}

static void norm(const qn_kernels *k, bool layer, const float *x, const float *w, const float *b, float *y, int n)
{
    if (layer)
        k->layer_norm(x, w, b, y, n, 1e-5f);
    else
        k->rms_norm(x, w, y, n, 1e-6f);
}

static const char *check_norm(const qn_kernels *k, bool layer, int n, bool with_w, bool with_b, float mean, float size)
{
    float *x = guarded((size_t)n * 4, 4), *w = guarded((size_t)n * 4, 4), *b = guarded((size_t)n * 4, 4);
    const char *bad;
    double sum = 0, sq = 0;
    for (int i = 0; i < n; i++) {
        x[i] = rnd_normal() * size + mean;
        w[i] = rnd_normal();
        b[i] = rnd_normal();
        sum += x[i];
    }
    double m = layer ? sum / n : 0;
    for (int i = 0; i < n; i++)
        sq += (x[i] - m) * (x[i] - m);
    double scale = 1 / sqrt(sq / n + (double)(layer ? 1e-5f : 1e-6f));
    field y = field_new(1, n, 0), in = field_new(1, n, 0);
    norm(k, layer, x, with_w ? w : NULL, with_b ? b : NULL, y.p, n);
    memcpy(in.p, x, (size_t)n * 4);
    norm(k, layer, in.p, with_w ? w : NULL, with_b ? b : NULL, in.p, n);
    if ((bad = field_check(&y)) || (bad = field_check(&in)))
        return bad;
    for (int i = 0; i < n; i++) {
        double v = (x[i] - m) * scale * (with_w ? (double)w[i] : 1.0),
               want = v + (layer && with_b ? (double)b[i] : 0.0);
        double budget = 4e-7 * (fabs(want) + fabs(v) + fabs(m) * scale * (with_w ? fabs((double)w[i]) : 1.0)) + 1e-30;
        if (!(fabs(y.p[i] - want) <= budget))
            return FAIL("%s %s norm of %d: element %d is %.9g, in double %.9g", qn__cpu_name(k->level),
                        layer ? "layer" : "rms", n, i, (double)y.p[i], want);
    }
    return memcmp(in.p, y.p, (size_t)n * 4) == 0 ? NULL : FAIL("norm in place differs");
}

static const char *checked_norm(const qn_kernels *k, bool layer, int n, int form, float mean, float size)
{
    const char *bad = check_norm(k, layer, n, form & 1, form & 2, mean, size);
    drop_all();
    return bad;
}

static void norms(void **state)
{
    (void)state;
    for (int l = 0; l < levels(); l++)
        for (int n = 1; n < 90; n++)
            for (int form = 0; form < 8; form++)
                MUST(checked_norm(qn__kernels((qn_cpu)l), form / 4, n == 89 ? 2049 : n, form, n % 3 == 0 ? 5.0f : 0.0f,
                                  n % 5 == 0   ? 1e-6f
                                  : n % 7 == 0 ? 1e15f
                                               : 1.0f));
}

/* ---- layers that carry a state: outputs and states have the bits of ref, token after token ---- */

enum { CONV, DELTA, SSM, STATEFUL, STEPS = 3 };

/* n: channels or values; m: taps, keys or states. */
static const char *check_stateful(const qn_kernels *k, int op, int n, int m, bool bias)
{
    const char *bad = NULL;
    int rows = op == CONV ? m - 1 : m, big = n * m;
    field s[2], y[2];
    float *w = guarded((size_t)big * 4, 4), *b = guarded((size_t)n * 4, 4);
    float *p = guarded((size_t)m * 4, 4), *q = guarded((size_t)m * 4, 4), *x = guarded((size_t)n * 4, 4);
    for (int i = 0; i < big; i++)
        w[i] = rnd_normal();
    for (int i = 0; i < 2; i++)
        s[i] = field_new(rows, n, 0);
    for (int i = 0; i < rows * n; i++)
        s[0].p[i] = s[1].p[i] = rnd_normal();
    for (int t = 0; t < STEPS && !bad; t++) {
        for (int i = 0; i < n; i++) {
            x[i] = rnd_normal();
            b[i] = rnd_normal();
        }
        for (int i = 0; i < m; i++) {
            p[i] = rnd_normal();
            q[i] = rnd_normal();
        }
        for (int i = 0; i < 2; i++) {
            const qn_kernels *l = i ? k : qn__kernels(QN_CPU_REF);
            y[i] = field_new(1, n, 0);
            if (op == CONV)
                l->conv_step(w, bias ? b : NULL, s[i].p, x, y[i].p, n, m);
            else if (op == DELTA)
                l->delta_step(s[i].p, p, q, x, 0.9f, 0.7f, y[i].p, m, n);
            else
                l->ssm_step(s[i].p, x, p, q, 0.9f, y[i].p, m, n);
        }
        if ((bad = field_check(&y[1])) || (bad = field_check(&s[1])))
            break;
        if (!field_equal(&y[0], &y[1]) || !field_equal(&s[0], &s[1]))
            bad = FAIL("%s stateful operation %d of %d x %d, step %d: not the bits of ref", qn__cpu_name(k->level), op,
                       n, m, t);
    }
    return bad;
}

static const char *checked_stateful(const qn_kernels *k, int op, int n, int m, bool bias)
{
    const char *bad = check_stateful(k, op, n, m, bias);
    drop_all();
    return bad;
}

static void stateful(void **state)
{
    (void)state;
    for (int l = 0; l < levels(); l++)
        for (int op = 0; op < STATEFUL; op++)
            for (int n = 1; n < 90; n++)
                MUST(checked_stateful(qn__kernels((qn_cpu)l), op, n == 89 ? 300 : n, 2 + (n * 7 + op) % 9, n % 2));
}

/* ---- planted faults ---- */

static void conv_late(const float *w, const float *b, float *state, const float *x, float *y, int n, int taps)
{
    qn__kernels(QN_CPU_REF)->conv_step(w, b, state, x, y, n, taps);
    state[(taps - 2) * n] = 0;
}

static void add_too_far(const float *a, const float *b, float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = a[i] + b[i];
    y[n] = 0;
}

static void silu_other(const float *x, float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = (float)(x[i] / (1 + exp(-(double)x[i])));
}

static void norm_without_eps(const float *x, const float *w, float *y, int n, float eps)
{
    (void)eps;
    qn__kernels(QN_CPU_REF)->rms_norm(x, w, y, n, 0);
}

static void planted(void **state)
{
    (void)state;
    qn_kernels bad = *qn__kernels((qn_cpu)(levels() - 1));
    bad.add = add_too_far;
    bad.silu = silu_other;
    bad.rms_norm = norm_without_eps;
    bad.conv_step = conv_late;
    assert_non_null(checked_stateful(&bad, CONV, 20, 4, false));
    assert_null(checked_stateful(&bad, DELTA, 20, 4, false));
    assert_non_null(checked_map(&bad, ADD, 100, 1));
    assert_non_null(checked_map(&bad, SILU, 1000, 1));
    assert_non_null(checked_norm(&bad, false, 100, 1, 0, 1e-4f));
    assert_null(checked_map(&bad, GELU, 1000, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(scalar_math), cmocka_unit_test(maps), cmocka_unit_test(norms),
                                       cmocka_unit_test(stateful), cmocka_unit_test(planted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
