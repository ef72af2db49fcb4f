/* test_attention.c - attention and kv_store at every level: against ref to the bit, ref against a softmax in double,
 * one query against a tile of them to the bit. */
#include "check.h"

#include "kernels/f16.h"

typedef struct problem {
    int n_q, head_k, head_v, n_pages;
    qn_kv kv;
    int window;          /* 0: none */
    bool sinks, spread;  /* spread: queries at different positions */
    float softcap, size; /* of q and k */
} problem;

typedef struct material {
    qn_attention a;
    const float *q[QN_ATTENTION_MAX_Q];
    int32_t pos[QN_ATTENTION_MAX_Q], lo[QN_ATTENTION_MAX_Q];
    float sink[QN_ATTENTION_MAX_Q];
    const unsigned char *pages[8];
    float *k, *v; /* the floats that were stored, rounded as the pages hold them: [pos][head] */
} material;

/* x[0..n) as a page holds it. */
static void round_kv(qn_kv kv, float *x, int n)
{
    for (int g = 0; g < n; g += QN_KV_GROUP) {
        int end = n - g < QN_KV_GROUP ? n : g + QN_KV_GROUP;
        float amax = 0;
        for (int i = g; i < end; i++)
            amax = fmaxf(amax, fabsf(x[i]));
        float d = qn__f16_to_f32(qn__f32_to_f16(amax / 127.0f));
        for (int i = g; i < end; i++)
            x[i] = kv == QN__KV_F16   ? qn__f16_to_f32(qn__f32_to_f16(x[i]))
                   : kv == QN__KV_F32 ? x[i]
                   : d > 0            ? d * rintf(x[i] * (1.0f / d))
                                      : 0.0f;
    }
}

static void make(const qn_kernels *kn, const problem *p, material *m)
{
    size_t k_bytes = qn__kv_bytes(p->kv, p->head_k), bytes = k_bytes + qn__kv_bytes(p->kv, p->head_v);
    int last = p->n_pages * QN_PAGE_TOKENS - 1 - rnd_in(0, QN_PAGE_TOKENS - 1), least = last;
    memset(m, 0, sizeof *m);
    for (int j = 0; j < p->n_q; j++) {
        float *q = guarded((size_t)p->head_k * 4, 4);
        for (int d = 0; d < p->head_k; d++)
            q[d] = rnd_normal() * p->size;
        m->q[j] = q;
        m->pos[j] = p->spread ? rnd_in(last > 90 ? last - 90 : 0, last) : last;
        m->lo[j] = p->window && m->pos[j] >= p->window ? m->pos[j] - p->window + 1 : 0;
        least = m->lo[j] < least ? m->lo[j] : least;
        m->sink[j] = rnd_normal() * 3;
    }
    m->k = guarded((size_t)(last + 1) * (size_t)p->head_k * 4, 4);
    m->v = guarded((size_t)(last + 1) * (size_t)p->head_v * 4, 4);
    unsigned char *page = NULL;
    for (int i = 0; i <= last; i++) {
        float *k = m->k + (size_t)i * (size_t)p->head_k, *v = m->v + (size_t)i * (size_t)p->head_v;
        for (int d = 0; d < p->head_k; d++)
            k[d] = rnd_normal() * p->size;
        for (int d = 0; d < p->head_v; d++)
            v[d] = rnd_normal();
        if (p->kv != QN__KV_Q8_0) {
            round_kv(p->kv, k, p->head_k);
            round_kv(p->kv, v, p->head_v);
        }
        if (i % QN_PAGE_TOKENS == 0) {
            page = guarded(bytes, 4);
            memset(page, 0xff, bytes); /* NaN: slots that nobody wrote may hold anything */
            m->pages[i / QN_PAGE_TOKENS] = i + QN_PAGE_TOKENS - 1 < least ? NULL : page;
        }
        kn->kv_store(p->kv, k, v, p->head_k, p->head_v, page, page + k_bytes, i % QN_PAGE_TOKENS);
        if (p->kv == QN__KV_Q8_0) {
            round_kv(p->kv, k, p->head_k);
            round_kv(p->kv, v, p->head_v);
        }
    }
    m->a = (qn_attention){.q = m->q,
                          .pos = m->pos,
                          .lo = m->lo,
                          .sink = p->sinks ? m->sink : NULL,
                          .n_q = p->n_q,
                          .pages = m->pages,
                          .k_off = 0,
                          .v_off = k_bytes,
                          .head_k = p->head_k,
                          .head_v = p->head_v,
                          .kv = p->kv,
                          .scale = 1.0f / sqrtf((float)p->head_k),
                          .softcap = p->softcap};
}

/* Queries from..from+n of m into rows of `out`. */
static void run(const qn_kernels *kn, const material *m, const field *out, int from, int n)
{
    float *o[QN_ATTENTION_MAX_Q];
    qn_attention a = m->a;
    for (int j = 0; j < n; j++)
        o[j] = out->p + (size_t)(from + j) * (size_t)out->stride;
    a.q += from;
    a.pos += from;
    a.lo += from;
    a.sink = a.sink ? a.sink + from : NULL;
    a.n_q = n;
    a.out = o;
    kn->attention(&a);
}

static const char *check_oracle(const problem *p, const material *m, const field *y)
{
    static double s[8 * QN_PAGE_TOKENS];
    for (int j = 0; j < p->n_q; j++) {
        double max = p->sinks ? (double)m->sink[j] : -INFINITY, sum = 0;
        for (int i = m->lo[j]; i <= m->pos[j]; i++) {
            s[i] = 0;
            for (int d = 0; d < p->head_k; d++)
                s[i] += (double)m->q[j][d] * m->k[(size_t)i * (size_t)p->head_k + (size_t)d];
            s[i] *= m->a.scale;
            if (p->softcap > 0)
                s[i] = (double)p->softcap * tanh(s[i] / (double)p->softcap);
            max = s[i] > max ? s[i] : max;
        }
        for (int i = m->lo[j]; i <= m->pos[j]; i++)
            sum += s[i] = exp(s[i] - max);
        if (p->sinks)
            sum += exp((double)m->sink[j] - max);
        for (int d = 0; d < p->head_v; d++) {
            double o = 0, got = y->p[(size_t)j * (size_t)y->stride + (size_t)d];
            for (int i = m->lo[j]; i <= m->pos[j]; i++)
                o += s[i] / sum * m->v[(size_t)i * (size_t)p->head_v + (size_t)d];
            if (!(fabs(got - o) <= 1e-5 * (1 + (double)(p->size * p->size))))
                return FAIL("ref attention query %d of %d, head %d/%d: %.9g, in double %.9g", j, p->n_q, p->head_k,
                            p->head_v, got, o);
        }
    }
    return NULL;
}

static const char *check(const qn_kernels *kn, const problem *p)
{
    const char *bad = NULL;
    material m;
    make(kn, p, &m);
    field want = field_new(p->n_q, p->head_v, 2), whole = field_new(p->n_q, p->head_v, 2),
          one = field_new(p->n_q, p->head_v, 2);
    run(qn__kernels(QN_CPU_REF), &m, &want, 0, p->n_q);
    run(kn, &m, &whole, 0, p->n_q);
    if (!(bad = field_check(&whole)) && kn->level == QN_CPU_REF)
        bad = check_oracle(p, &m, &want);
    if (!bad && !field_equal(&want, &whole))
        bad = FAIL("%s attention of %d queries, heads %d/%d, kv %d, window %d, softcap %g: not the bits of ref",
                   qn__cpu_name(kn->level), p->n_q, p->head_k, p->head_v, p->kv, p->window, (double)p->softcap);
    for (int j = 0; j < p->n_q && !bad; j++)
        run(kn, &m, &one, j, 1);
    if (!bad && !(bad = field_check(&one)) && !field_equal(&whole, &one))
        bad = FAIL("%s attention of %d queries differs from one by one", qn__cpu_name(kn->level), p->n_q);
    drop_all();
    return bad;
}

static void grid(void **state)
{
    (void)state;
    static const int heads[][2] = {{64, 64}, {128, 128}, {16, 16},   {80, 80}, {40, 24},
                                   {17, 33}, {96, 128},  {256, 256}, {8, 7},   {192, 128}};
    static const int n_q[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 29, 47, 95, QN_ATTENTION_MAX_Q};
    for (int l = 0; l < levels(); l++)
        for (int n = 0; n < 80; n++)
            MUST(check(qn__kernels((qn_cpu)l), &(problem){.n_q = n_q[n % 17],
                                                          .head_k = heads[n % 10][0],
                                                          .head_v = heads[n % 10][1],
                                                          .n_pages = 1 + n % 5,
                                                          .kv = (qn_kv)(n / 3 % QN__KV__COUNT),
                                                          .window = n % 4 == 1    ? 20 + n
                                                                    : n % 16 == 3 ? 1
                                                                                  : 0,
                                                          .sinks = n % 3 == 1,
                                                          .spread = n % 2,
                                                          .softcap = n % 5 == 2 ? 30.0f : 0.0f,
                                                          .size = n % 7 == 6 ? 12.0f : 1.0f}));
    for (int l = 0; l < levels(); l++)
        for (int kv = 0; kv < QN__KV__COUNT; kv++)
            MUST(check(
                qn__kernels((qn_cpu)l),
                &(problem){.n_q = 5, .head_k = QN_HEAD_MAX, .head_v = 512, .n_pages = 2, .size = 1, .kv = (qn_kv)kv}));
}

static void store(void **state)
{
    (void)state;
    static const float odd[] = {0.0f,     -0.0f, INFINITY, -INFINITY, NAN,   65504.0f, 65519.0f,
                                65520.0f, 1e-8f, 2.98e-8f, 2.99e-8f,  6e-5f, 6.1e-5f,  -1e10f};
    for (int l = 0; l < levels(); l++)
        for (int n = 0; n < 40; n++) {
            int head_k = rnd_in(1, 140), head_v = rnd_in(1, 140), slot = rnd_in(0, 63);
            qn_kv kv = (qn_kv)(n % QN__KV__COUNT);
            size_t kb = qn__kv_bytes(kv, head_k), vb = qn__kv_bytes(kv, head_v);
            float *k = guarded((size_t)head_k * 4, 4), *v = guarded((size_t)head_v * 4, 4);
            unsigned char *a[2], *b[2];
            for (int i = 0; i < 2; i++) {
                a[i] = guarded(i ? vb : kb, 4);
                b[i] = guarded(i ? vb : kb, 4);
                memset(a[i], 0x5A, i ? vb : kb);
                memset(b[i], 0x5A, i ? vb : kb);
            }
            for (int d = 0; d < head_k; d++)
                k[d] = rnd() % 4 ? rnd_normal() : odd[rnd() % 14];
            for (int d = 0; d < head_v; d++)
                v[d] = rnd() % 4 ? rnd_normal() * 1e-5f : odd[rnd() % 14];
            qn__kernels(QN_CPU_REF)->kv_store(kv, k, v, head_k, head_v, a[0], a[1], slot);
            qn__kernels((qn_cpu)l)->kv_store(kv, k, v, head_k, head_v, b[0], b[1], slot);
            assert_memory_equal(a[0], b[0], kb);
            assert_memory_equal(a[1], b[1], vb);
            drop_all();
        }
}

/* ---- planted faults ---- */

static const qn_kernels *good;

/* Forgets the window when queries come together. */
static void forgetful(const qn_attention *a)
{
    static const int32_t none[QN_ATTENTION_MAX_Q];
    qn_attention b = *a;
    if (a->n_q > 1)
        for (int j = 0; j < a->n_q; j++)
            if (a->lo[j] < QN_PAGE_TOKENS)
                b.lo = none;
    good->attention(&b);
}

static void too_far(const qn_attention *a)
{
    good->attention(a);
    a->out[a->n_q - 1][a->head_v] = 0;
}

static void planted(void **state)
{
    (void)state;
    good = qn__kernels((qn_cpu)(levels() - 1));
    qn_kernels bad = *good;
    problem p = {.n_q = 4, .head_k = 32, .head_v = 32, .n_pages = 1, .window = 1, .size = 1};
    assert_null(check(good, &p));
    bad.attention = forgetful;
    assert_non_null(check(&bad, &p));
    bad.attention = too_far;
    assert_non_null(check(&bad, &p));
    assert_non_null(strstr(why, "outside"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(grid), cmocka_unit_test(store), cmocka_unit_test(planted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
