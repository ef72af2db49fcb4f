/* test_matmul.c - every matmul and every prepared form, at every level, against ref and against double arithmetic. */
#include "check.h"

#include "kernels/act.h"
#include "kernels/dequant.h"
#include "kernels/f16.h"
#include "kernels/pack.h"

typedef enum fill { NORMAL, ZERO, LARGEST, TINY, OUTLIER, HUGE_SCALE, FILL_COUNT } fill;

static size_t form_bytes(qn_act act, int k) /* without the padding */
{
    size_t n = (size_t)k;
    return act == QN_ACT_F32 ? n * 4 : act == QN_ACT_Q8_32 ? n + n / 4 : n + n / 8 + n / 4 + n / 64 + n / 16;
}

static void fill_x(float *x, int k, fill f)
{
    for (int i = 0; i < k; i++) {
        x[i] = rnd_normal();
        if (f == ZERO || (f == OUTLIER && rnd() % 64))
            x[i] = f == ZERO ? 0.0f : x[i] * 1e-3f;
        if (f == LARGEST)
            x[i] = rnd() % 8 ? 3.0f : -3.0f;
        if (f == TINY)
            x[i] *= 1e-41f;
        if (f == HUGE_SCALE)
            x[i] *= 1e30f;
    }
}

static uint16_t half_for(fill f)
{
    return f == TINY ? (uint16_t)(1 + rnd() % 40) : f == HUGE_SCALE ? 0x7bff : qn__f32_to_f16(rnd_normal() * 0.02f);
}

/* A block of random bytes whose floats are of ordinary size, whatever the type's scales look like. */
static void random_block(qn_type type, unsigned char *p)
{
    const qn_type_info *info = qn__type_info(type);
    float v[256];
    for (int try = 0; try < 200; try++) {
        for (uint32_t i = 0; i < info->bytes; i++)
            p[i] = (unsigned char)rnd();
        qn__dequant_row(type, p, v, info->block);
        bool fine = true;
        for (uint32_t i = 0; i < info->block; i++)
            fine = fine && fabsf(v[i]) < 100.0f;
        if (fine)
            return;
    }
    memset(p, 0, info->bytes);
}

static void fill_scalar(qn_type type, unsigned char *w, fill f)
{
    float v = rnd_normal() * (f == HUGE_SCALE ? 1e4f : f == TINY ? 1e-7f : f == ZERO ? 0.0f : 1.0f);
    uint16_t h = type == QN_BF16 ? qn__f32_to_bf16(v) : qn__f32_to_f16(v);
    if (type == QN_F32)
        memcpy(w, &v, 4);
    else
        memcpy(w, &h, 2);
}

/* Where the floats of a block lie: scales that a fill makes large, small or ordinary, but finite. */
static void set_scales(qn_type type, unsigned char *w, fill f, uint16_t h, uint16_t h2)
{
    static const struct {
        qn_type type;
        int d, m; /* offsets of half floats, -1: none */
    } at[] = {{QN_Q8_0, 0, -1},   {QN_Q4_0, 0, -1},  {QN_Q5_0, 0, -1},    {QN_Q4_1, 0, 2},    {QN_Q5_1, 0, 2},
              {QN_IQ4_NL, 0, -1}, {QN_Q1_0, 0, -1},  {QN_Q2_0, 0, -1},    {QN_Q4_K, 0, 2},    {QN_Q5_K, 0, 2},
              {QN_Q6_K, 208, -1}, {QN_Q2_K, 80, 82}, {QN_Q3_K, 108, -1},  {QN_IQ4_XS, 0, -1}, {QN_IQ2_XXS, 0, -1},
              {QN_IQ2_XS, 0, -1}, {QN_IQ2_S, 0, -1}, {QN_IQ3_XXS, 0, -1}, {QN_IQ3_S, 0, -1},  {QN_IQ1_S, 0, -1},
              {QN_TQ1_0, 52, -1}, {QN_TQ2_0, 64, -1}};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        if (at[i].type == type) {
            memcpy(w + at[i].d, &h, 2);
            if (at[i].m >= 0)
                memcpy(w + at[i].m, &h2, 2);
        }
    if (type == QN_IQ1_M)
        for (int k = 0; k < 4; k++)
            w[49 + 2 * k] = (unsigned char)((w[49 + 2 * k] & 15) | (h >> (4 * k) & 15) << 4);
    if (type == QN_MXFP4)
        w[0] = f == TINY ? (unsigned char)(rnd() % 40) : f == HUGE_SCALE ? 200 : (unsigned char)(120 + rnd() % 4);
}

static void fill_w(qn_type type, unsigned char *w, size_t n, fill f)
{
    const qn_type_info *info = qn__type_info(type);
    for (size_t b = 0; b < n; b++, w += info->bytes) {
        uint16_t h = half_for(f), h2 = half_for(f);
        if (info->block == 1) {
            fill_scalar(type, w, f);
            continue;
        }
        if (f == NORMAL || f == OUTLIER)
            random_block(type, w);
        else if (f == TINY || f == HUGE_SCALE)
            for (uint32_t i = 0; i < info->bytes; i++)
                w[i] = (unsigned char)rnd();
        else
            memset(w, f == ZERO ? 0 : rnd() % 2 ? 0xff : 0x80, info->bytes);
        if (f == LARGEST && type == QN_Q6_K && rnd() % 2)
            memset(w, 0, 192); /* q = -32, whatever the scales: the largest magnitude of the type */
        if (f == ZERO)
            continue;
        set_scales(type, w, f, h, h2);
    }
}

typedef struct problem {
    qn_type type;
    int k, rows, tokens;
    fill fw, fx;
    unsigned char *w;
    size_t w_stride;
    float *x;            /* tokens x k */
    unsigned char *form; /* prepared by ref */
    size_t x_stride;
} problem;

/* w_gap: bytes between rows of weights; odd ones make loads unaligned. */
static void make(problem *p, size_t w_gap)
{
    const qn_type_info *info = qn__type_info(p->type);
    const qn_kernels *ref = qn__kernels(QN_CPU_REF);
    qn_act act = ref->act[p->type];
    size_t row, n = (size_t)p->k / info->block;
    assert_true(qn__type_row_bytes(p->type, (uint64_t)p->k, &row));
    p->w_stride = row + w_gap;
    p->w = guarded(p->w_stride * (size_t)(p->rows - 1) + row, 1);
    for (int r = 0; r < p->rows; r++)
        fill_w(p->type, p->w + (size_t)r * p->w_stride, n, p->fw);
    p->x = guarded((size_t)p->tokens * (size_t)p->k * 4, 4);
    p->x_stride = qn__act_bytes(act, p->k) + 64;
    p->form = guarded(p->x_stride * (size_t)(p->tokens - 1) + qn__act_bytes(act, p->k), 64);
    for (int t = 0; t < p->tokens; t++) {
        float *x = p->x + (size_t)t * (size_t)p->k;
        unsigned char *dst = p->form + (size_t)t * p->x_stride;
        fill_x(x, p->k, p->fx);
        ref->prepare[act](x, dst, p->k);
        if (act == QN_ACT_F32) /* a caller may hand in rows as they lie: nothing may depend on what follows them */
            memset(dst + (size_t)p->k * 4, 0xff, qn__act_bytes(act, p->k) - (size_t)p->k * 4);
    }
}

/* Activation i of token t as the form states it. */
static double x_at(const problem *p, qn_act act, int t, int i)
{
    const unsigned char *f = p->form + (size_t)t * p->x_stride;
    if (act == QN_ACT_F32)
        return ((const float *)(const void *)f)[i];
    return (double)(int8_t)f[i] *
           (double)(act == QN_ACT_Q8_32 ? qn__q32_d(f, p->k)[i / 32] : qn__q256_d(f, p->k)[i / 256]);
}

static void run(const qn_kernels *kn, const problem *p, field *y, int r0, int rows, int t0, int tokens, bool packed)
{
    qn_matmul a = {.w = p->w + (size_t)r0 * p->w_stride,
                   .w_stride = p->w_stride,
                   .packed = packed,
                   .x = p->form + (size_t)t0 * p->x_stride,
                   .x_stride = p->x_stride,
                   .y = y->p + (size_t)t0 * (size_t)y->stride + r0,
                   .y_stride = (size_t)y->stride,
                   .k = p->k,
                   .rows = rows,
                   .tokens = tokens};
    kn->matmul[p->type](&a);
}

static float at(const field *f, int t, int r)
{
    return f->p[(size_t)t * (size_t)f->stride + (size_t)r];
}

/* Is a float result within the budget of `want`? What overflows a float on the way is not judged. */
static bool near(double want, double got, double budget, double mass)
{
    return mass > 1e37 || fabs(got - want) <= budget + 1e-36;
}

/* ref itself: dequantised weights times the activations that the form states, in double. The budget is relative to the
 * sum of |w x|; where a block's minimum is subtracted, |w| is the row's largest. */
static const char *check_oracle(const problem *p, const field *y)
{
    qn_act act = qn__kernels(QN_CPU_REF)->act[p->type];
    float *w = guarded((size_t)p->k * 4, 4);
    for (int r = 0; r < p->rows; r++) {
        float largest = 0;
        qn__dequant_row(p->type, p->w + (size_t)r * p->w_stride, w, (size_t)p->k);
        for (int i = 0; i < p->k && act != QN_ACT_F32; i++)
            largest = fabsf(w[i]) > largest ? fabsf(w[i]) : largest;
        for (int t = 0; t < p->tokens; t++) {
            double sum = 0, mass = 0;
            for (int i = 0; i < p->k; i++) {
                double x = x_at(p, act, t, i);
                sum += w[i] * x;
                mass += (act == QN_ACT_F32 ? fabs((double)w[i]) : (double)largest) * fabs(x);
            }
            if (!near(sum, at(y, t, r), mass * (act == QN_ACT_F32 ? 1e-7 : 4e-6), mass * 16))
                return FAIL("ref %s k %d row %d token %d fill %d/%d: %.9g, in double %.9g",
                            qn__type_info(p->type)->name, p->k, r, t, p->fw, p->fx, (double)at(y, t, r), sum);
        }
    }
    return NULL;
}

static const char *check_against(const problem *p, const field *ref, const field *y, const qn_kernels *kn)
{
    const char *name = qn__type_info(p->type)->name, *level = qn__cpu_name(kn->level);
    if (kn->act[p->type] != QN_ACT_F32) {
        if (!field_equal(ref, y))
            return FAIL("%s %s k %d rows %d tokens %d fill %d/%d: not the bits of ref", level, name, p->k, p->rows,
                        p->tokens, p->fw, p->fx);
        return NULL;
    }
    float *w = guarded((size_t)p->k * 4, 4);
    for (int r = 0; r < p->rows; r++) {
        qn__dequant_row(p->type, p->w + (size_t)r * p->w_stride, w, (size_t)p->k);
        for (int t = 0; t < p->tokens; t++) {
            double mass = 0;
            for (int i = 0; i < p->k; i++)
                mass += fabs(w[i] * x_at(p, QN_ACT_F32, t, i));
            if (!near(at(ref, t, r), at(y, t, r), mass * (p->k / 8 + 8) * 0x1p-24, mass))
                return FAIL("%s %s k %d row %d token %d: %.9g, ref %.9g", level, name, p->k, r, t, (double)at(y, t, r),
                            (double)at(ref, t, r));
        }
    }
    return NULL;
}

static const char *check_prepare(const qn_kernels *kn, const problem *p)
{
    qn_act act = kn->act[p->type];
    for (int t = 0; t < p->tokens; t++) {
        unsigned char *f = guarded(qn__act_bytes(act, p->k), 64);
        kn->prepare[act](p->x + (size_t)t * (size_t)p->k, f, p->k);
        if (memcmp(f, p->form + (size_t)t * p->x_stride, form_bytes(act, p->k)) != 0)
            return FAIL("%s: prepared form %d of k %d fill %d differs from ref", qn__cpu_name(kn->level), act, p->k,
                        p->fx);
    }
    return NULL;
}

/* The same bytes whatever the cut: token by token, and in random pieces of rows and tokens. */
static const char *check_cuts(const qn_kernels *kn, const problem *p, const field *whole)
{
    const char *bad, *name = qn__type_info(p->type)->name;
    field parts = field_new(p->tokens, p->rows, 3);
    for (int t = 0; t < p->tokens; t++)
        run(kn, p, &parts, 0, p->rows, t, 1, false);
    if ((bad = field_check(&parts)))
        return bad;
    if (!field_equal(whole, &parts))
        return FAIL("%s %s k %d rows %d: %d tokens at once differ from one by one", qn__cpu_name(kn->level), name, p->k,
                    p->rows, p->tokens);
    parts = field_new(p->tokens, p->rows, 3);
    for (int r = 0, rows; r < p->rows; r += rows) {
        rows = rnd_in(1, p->rows - r);
        for (int t = 0, tokens; t < p->tokens; t += tokens) {
            tokens = rnd_in(1, p->tokens - t);
            run(kn, p, &parts, r, rows, t, tokens, false);
        }
    }
    if ((bad = field_check(&parts)))
        return bad;
    if (!field_equal(whole, &parts))
        return FAIL("%s %s k %d rows %d tokens %d: pieces differ from the whole", qn__cpu_name(kn->level), name, p->k,
                    p->rows, p->tokens);
    return NULL;
}

/* Rows that are whole groups, packed: the same bytes, whole, in pieces of groups, and token by token. And packing loses
 * nothing. */
static const char *check_packed(const qn_kernels *kn, const problem *p, const field *whole)
{
    const char *bad, *name = qn__type_info(p->type)->name;
    size_t row, block = qn__type_info(p->type)->bytes, lanes = (size_t)kn->lanes;
    int rows = lanes ? p->rows / kn->lanes * kn->lanes : 0;
    if (rows == 0 || !qn__kernels_pack(kn, p->type))
        return NULL;
    assert_true(qn__type_row_bytes(p->type, (uint64_t)p->k, &row));
    unsigned char *source = guarded(row * lanes, 1), back[256];
    problem packed = *p;
    packed.w = guarded(row * (size_t)rows, 1);
    packed.w_stride = row;
    packed.rows = rows;
    for (int g = 0; g < rows; g += kn->lanes) {
        unsigned char *to = packed.w + (size_t)g * row;
        for (size_t i = 0; i < lanes; i++)
            memcpy(source + i * row, p->w + ((size_t)g + i) * p->w_stride, row);
        qn__pack(p->type, kn->lanes, source, row, to);
        for (size_t i = 0; i < lanes; i++)
            for (size_t at = 0; at < row; at += block) {
                qn__unpack_block(p->type, kn->lanes, to + at * lanes, (int)i, back);
                if (memcmp(back, source + i * row + at, block) != 0)
                    return FAIL("%s %s: a block of row %zu does not come back", qn__cpu_name(kn->level), name, i);
            }
    }
    for (int part = 0; part < 3; part++) {
        field y = field_new(p->tokens, rows, 3);
        for (int r = 0, n; r < rows; r += n) {
            n = part == 1 ? rnd_in(1, (rows - r) / kn->lanes) * kn->lanes : rows;
            for (int t = 0, tokens; t < p->tokens; t += tokens) {
                tokens = part == 2 ? 1 : part == 1 ? rnd_in(1, p->tokens - t) : p->tokens;
                run(kn, &packed, &y, r, n, t, tokens, true);
            }
        }
        if ((bad = field_check(&y)))
            return bad;
        for (int t = 0; t < p->tokens; t++)
            if (memcmp(y.p + (size_t)t * (size_t)y.stride, whole->p + (size_t)t * (size_t)whole->stride,
                       (size_t)rows * 4) != 0)
                return FAIL("%s %s k %d rows %d tokens %d: packed rows give other bytes", qn__cpu_name(kn->level), name,
                            p->k, rows, p->tokens);
    }
    return NULL;
}

/* The whole check of one problem with one table. */
static const char *check_problem(const qn_kernels *kn, problem *p, size_t w_gap)
{
    const char *bad;
    make(p, w_gap);
    field want = field_new(p->tokens, p->rows, 3), whole = field_new(p->tokens, p->rows, 3);
    run(qn__kernels(QN_CPU_REF), p, &want, 0, p->rows, 0, p->tokens, false);
    run(kn, p, &whole, 0, p->rows, 0, p->tokens, false);
    if ((bad = check_prepare(kn, p)) || (bad = field_check(&whole)) || (bad = check_against(p, &want, &whole, kn)))
        return bad;
    if (kn->level == QN_CPU_REF && (bad = check_oracle(p, &want)))
        return bad;
    if ((bad = check_packed(kn, p, &whole)))
        return bad;
    return check_cuts(kn, p, &whole);
}

static const char *check_shape(const qn_kernels *kn, qn_type type, int k, int rows, int tokens, fill fw, fill fx)
{
    problem p = {.type = type, .k = k, .rows = rows, .tokens = tokens, .fw = fw, .fx = fx};
    const char *bad = check_problem(kn, &p, rnd() % 3 ? 0 : rnd() % 8);
    drop_all();
    return bad;
}

static const qn_type own[] = {QN_F32,     QN_F16,    QN_BF16,  QN_Q8_0,    QN_Q4_0,   QN_Q5_0,  QN_Q4_K,
                              QN_Q5_K,    QN_Q6_K,   QN_Q4_1,  QN_Q5_1,    QN_IQ4_NL, QN_MXFP4, QN_NVFP4,
                              QN_Q1_0,    QN_Q2_0,   QN_Q2_K,  QN_Q3_K,    QN_IQ4_XS, QN_TQ1_0, QN_TQ2_0,
                              QN_IQ2_XXS, QN_IQ2_XS, QN_IQ2_S, QN_IQ3_XXS, QN_IQ3_S,  QN_IQ1_S, QN_IQ1_M};

static int k_for(qn_type type, int pick)
{
    int unit = (int)qn__type_info(type)->block;
    return unit > 1 ? unit * pick : pick * 37 - 36 + rnd_in(0, 40);
}

/* The i-th table of all levels and their forms. */
static const qn_kernels *each(int i)
{
    for (int l = 0; l < levels(); l++)
        for (int form = 0; qn__kernels_form((qn_cpu)l, form); form++)
            if (i-- == 0)
                return qn__kernels_form((qn_cpu)l, form);
    return NULL;
}

static void shapes(void **state)
{
    (void)state;
    static const int rows[] = {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 50},
                     tokens[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 17, 33, 65};
    const qn_kernels *kn;
    for (int l = 0; (kn = each(l)); l++)
        for (size_t i = 0; i < sizeof own / sizeof *own; i++)
            for (int n = 0; n < 26; n++)
                MUST(check_shape(kn, own[i], k_for(own[i], n == 25 ? 25 : 1 + n % 5), rows[n % 13],
                                 n == 23 ? kn->span + 35 : tokens[n * 5 % 13], NORMAL, NORMAL));
}

static void extremes(void **state)
{
    (void)state;
    const qn_kernels *kn;
    for (int l = 0; (kn = each(l)); l++)
        for (size_t i = 0; i < sizeof own / sizeof *own; i++)
            for (int fw = 0; fw < FILL_COUNT; fw++)
                for (int fx = 0; fx < FILL_COUNT; fx++)
                    MUST(check_shape(kn, own[i], k_for(own[i], 3), rnd_in(1, 20), rnd() % 4 ? rnd_in(1, 6) : rnd_in(32, 50),
                                     (fill)fw, (fill)fx)); /* many, too: for tiles */
}

/* Every type that has a meaning has a matmul at every level, and the list above has them all. */
static void every_type(void **state)
{
    (void)state;
    for (int l = 0; l < levels(); l++)
        for (int type = 0; type < QN_TYPE__COUNT; type++) {
            const qn_kernels *kn = qn__kernels((qn_cpu)l);
            bool listed = false;
            for (size_t i = 0; i < sizeof own / sizeof *own; i++)
                listed = listed || (int)own[i] == type;
            assert_int_equal(kn->level, l);
            assert_int_equal(qn__dequant_has((qn_type)type), kn->matmul[type] != NULL);
            assert_int_equal(listed, kn->matmul[type] != NULL);
        }
}

/* An activation that is no number makes its block no number, and is no undefined behaviour. */
static void not_numbers(void **state)
{
    (void)state;
    static const float odd[] = {NAN, INFINITY, -INFINITY, 1e-45f, 3.4e38f, 0x1p-120f, 0x1p-121f};
    for (int l = 0; l < levels(); l++)
        for (int act = 0; act < QN_ACT__COUNT; act++)
            for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
                size_t n = qn__act_bytes((qn_act)act, 512);
                float *x = guarded(512 * 4, 64);
                unsigned char *a = guarded(n, 64), *b = guarded(n, 64);
                for (int j = 0; j < 512; j++)
                    x[j] = odd[i] < 1e-30f ? 0.0f : rnd_normal();
                x[rnd_in(0, 511)] = odd[i];
                qn__kernels(QN_CPU_REF)->prepare[act](x, a, 512);
                qn__kernels((qn_cpu)l)->prepare[act](x, b, 512);
                assert_memory_equal(a, b, form_bytes((qn_act)act, 512));
                int nan = 0;
                for (int j = 0; j < 16; j++)
                    nan += isnan(qn__q32_d(a, 512)[j]) != 0;
                if (act == QN_ACT_Q8_32)
                    assert_int_equal(nan, !isfinite(odd[i]));
                drop_all();
            }
}

/* ---- planted faults: the checks above must find them ---- */

static const qn_kernels *good;

/* Adds another way when there is more than one token. */
static void other_order(const qn_matmul *a)
{
    for (int t = 0; t < a->tokens; t++)
        for (int r = 0; r < a->rows; r++) {
            const char *w = (const char *)a->w + (size_t)r * a->w_stride;
            const float *x = (const float *)(const void *)((const char *)a->x + (size_t)t * a->x_stride);
            float s = 0;
            for (int i = 0; i < a->k; i++) {
                int j = a->tokens > 1 ? a->k - 1 - i : i;
                float v;
                memcpy(&v, w + 4 * j, 4);
                s += v * x[j];
            }
            a->y[(size_t)t * a->y_stride + (size_t)r] = s;
        }
}

static void too_far(const qn_matmul *a)
{
    good->matmul[QN_Q4_K](a);
    a->y[(size_t)(a->tokens - 1) * a->y_stride + (size_t)a->rows] = 0.5f;
}

static void one_ulp(const qn_matmul *a)
{
    good->matmul[QN_Q8_0](a);
    a->y[0] = nextafterf(a->y[0], INFINITY);
}

static void swapped(const qn_matmul *a)
{
    qn_matmul b = *a;
    good->matmul[QN_Q6_K](&b);
    if (a->packed)
        a->y[0] = a->y[1];
}

static void planted(void **state)
{
    (void)state;
    good = qn__kernels((qn_cpu)(levels() - 1));
    qn_kernels bad = *good;
    bad.matmul[QN_F32] = other_order;
    bad.matmul[QN_Q4_K] = too_far;
    bad.matmul[QN_Q8_0] = one_ulp;
    bad.matmul[QN_Q6_K] = swapped;
    const char *s = check_shape(&bad, QN_F32, 300, 5, 3, NORMAL, NORMAL);
    assert_non_null(s);
    assert_non_null(strstr(s, "one by one"));
    s = check_shape(&bad, QN_Q4_K, 512, 5, 3, NORMAL, NORMAL);
    assert_non_null(s);
    assert_non_null(strstr(s, "outside"));
    s = check_shape(&bad, QN_Q8_0, 512, 5, 3, NORMAL, NORMAL);
    assert_non_null(s);
    assert_non_null(strstr(s, "not the bits"));
    if (good->lanes) {
        s = check_shape(&bad, QN_Q6_K, 512, 33, 3, NORMAL, NORMAL);
        assert_non_null(s);
        assert_non_null(strstr(s, "packed rows"));
    }
    assert_null(check_shape(good, QN_F32, 300, 5, 3, NORMAL, NORMAL));
    assert_null(check_shape(good, QN_Q8_0, 512, 5, 3, NORMAL, NORMAL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(extremes),
                                       cmocka_unit_test(every_type), cmocka_unit_test(not_numbers),
                                       cmocka_unit_test(planted)};
    int forms = 0;
    while (each(forms))
        forms++;
    printf("figure: kernel levels checked: %d, in %d forms\n", levels(), forms);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
