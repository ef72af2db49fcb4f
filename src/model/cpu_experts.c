/* cpu_experts.c - mixtures of experts on the CPU: rows are sorted by expert, so that each expert's weights are read
 * once for all of its rows; a row's sum runs in the order of its router's choice, so it does not depend on the other
 * rows. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/math.h"
#include "model/cpu_device.h"

/* ---- choosing ---- */

/* The n best of p[0..count): NaN loses, the lower index wins a tie. */
static void best(const float *p, int count, int n, int32_t *out)
{
    for (int i = 0; i < n; i++) {
        int at = -1;
        for (int e = 0; e < count; e++) {
            bool taken = false;
            for (int j = 0; j < i && !taken; j++)
                taken = out[j] == e;
            if (!taken && (at < 0 || p[e] > p[at] || (p[at] != p[at] && p[e] == p[e])))
                at = e;
        }
        out[i] = at;
    }
}

/* Only the groups with the best sums of their two best experts take part; the others' scores become -infinity. */
static void keep_groups(const qn_route_rule *r, float *score)
{
    int size = r->n_experts / r->n_groups;
    float sum[QN_MAX_GROUPS];
    int32_t kept[QN_MAX_GROUPS];
    for (int g = 0; g < r->n_groups; g++) {
        int32_t two[2];
        best(score + g * size, size, size < 2 ? 1 : 2, two);
        sum[g] = score[g * size + two[0]] + (size < 2 ? 0 : score[g * size + two[1]]);
    }
    best(sum, r->n_groups, r->n_groups_used, kept);
    for (int g = 0; g < r->n_groups; g++) {
        bool keep = false;
        for (int i = 0; i < r->n_groups_used; i++)
            keep = keep || kept[i] == g;
        for (int e = g * size; !keep && e < (g + 1) * size; e++)
            score[e] = -INFINITY;
    }
}

static void softmax(float *x, int n)
{
    float max = x[0], sum = 0;
    for (int i = 1; i < n; i++)
        max = x[i] > max ? x[i] : max;
    for (int i = 0; i < n; i++)
        sum += x[i] = qn__expf(x[i] - max);
    for (int i = 0; i < n; i++)
        x[i] /= sum;
}

/* logits -> the chosen experts and their weights; logits and score (n_experts each) are used up. */
static void choose(const qn_route_rule *r, float *logits, float *score, int32_t *chosen, float *weight)
{
    if (r->kind == QN_ROUTER_SOFTMAX)
        softmax(logits, r->n_experts);
    else if (r->kind == QN_ROUTER_SIGMOID)
        for (int e = 0; e < r->n_experts; e++)
            logits[e] = 1.0f / (1.0f + qn__expf(-logits[e]));
    for (int e = 0; e < r->n_experts; e++)
        score[e] = r->bias ? logits[e] + r->bias[e] : logits[e];
    if (r->n_groups > 1 && r->n_groups_used < r->n_groups)
        keep_groups(r, score);
    best(score, r->n_experts, r->n_used, chosen);
    for (int i = 0; i < r->n_used; i++)
        weight[i] = logits[chosen[i]];
    if (r->kind == QN_ROUTER_SELECTED)
        softmax(weight, r->n_used);
    float sum = 0;
    for (int i = 0; i < r->n_used; i++)
        sum += weight[i];
    sum = sum > 0x1p-14f ? sum : 0x1p-14f; /* routers that reject everything must not divide by zero */
    for (int i = 0; i < r->n_used; i++)
        weight[i] = (r->normalise ? weight[i] / sum : weight[i]) * r->scale;
    for (int i = 0; r->gain && i < r->n_used; i++)
        weight[i] *= r->gain[chosen[i]];
}

typedef struct route_job {
    cpu_device *d;
    const qn_route_rule *rule;
    qn_rows logits;
    qn_routing *r;
} route_job;

static void route_piece(void *arg, int item, int thread)
{
    const route_job *j = arg;
    float score[QN_MAX_EXPERTS];
    (void)thread;
    size_t at = (size_t)item * (size_t)j->r->n_used;
    choose(j->rule, qn__row(j->logits, item), score, j->r->chosen + at, j->r->weight + at);
}

/* Counting sort of the slots by expert; within an expert rows ascend. */
static void sort_slots(const qn_route_rule *rule, qn_routing *r)
{
    int32_t count[QN_MAX_EXPERTS + 1] = {0};
    int n = r->n_rows * r->n_used;
    for (int i = 0; i < n; i++)
        count[r->chosen[i] + 1]++;
    r->n_slots = n;
    r->n_segments = 0;
    for (int e = 0; e < rule->n_experts; e++) {
        if (count[e + 1] > 0) {
            r->experts[r->n_segments] = e;
            r->start[r->n_segments++] = count[e];
        }
        count[e + 1] += count[e];
    }
    r->start[r->n_segments] = n;
    for (int i = 0; i < n; i++) {
        int32_t slot = count[r->chosen[i]]++;
        r->source[slot] = i / r->n_used;
        r->place[i] = slot;
    }
}

void qn__cpu_route(qn_device *dev, const qn_route_rule *rule, qn_rows logits, qn_routing *out)
{
    route_job j = {qn__cpu(dev), rule, logits, out};
    out->n_rows = logits.rows;
    out->n_used = rule->n_used;
    qn__pool_run(j.d->pool, logits.rows, route_piece, &j);
    sort_slots(rule, out);
}

/* ---- multiplying ---- */

enum { MAX_OUTS = 2 };

typedef struct expert_job {
    cpu_device *d;
    const qn_routing *r;
    bool gather;
    qn_rows x;
    const qn_linear *outs;
    int n_outs, piece_rows, pieces[MAX_OUTS]; /* pieces of one expert's matrix */
    bool want[QN_ACT__COUNT];
    size_t stride[QN_ACT__COUNT];
} expert_job;

static void prepare_piece(void *arg, int item, int thread)
{
    const expert_job *j = arg;
    (void)thread;
    const float *x = qn__row(j->x, j->gather ? j->r->source[item] : item);
    for (int a = 0; a < QN_ACT__COUNT; a++)
        if (j->want[a])
            j->d->k->prepare[a](x, j->d->prepared[a] + (size_t)item * j->stride[a], j->outs[0].w->k);
}

static void expert_piece(void *arg, int item, int thread)
{
    const expert_job *j = arg;
    const qn_kernels *k = j->d->k;
    (void)thread;
    int per_segment = 0, o = 0;
    for (int i = 0; i < j->n_outs; i++)
        per_segment += j->pieces[i];
    int segment = item / per_segment, piece = item % per_segment;
    for (; piece >= j->pieces[o]; o++)
        piece -= j->pieces[o];
    const qn_weight *w = j->outs[o].w;
    qn_rows y = j->outs[o].y;
    qn_act act = k->act[w->type];
    int expert = j->r->experts[segment], first = j->r->start[segment], n = j->r->start[segment + 1] - first;
    int r0 = piece * j->piece_rows, rows = w->rows - r0 < j->piece_rows ? w->rows - r0 : j->piece_rows;
    k->matmul[w->type](&(qn_matmul){.w = w->data + (size_t)expert * w->stride + (size_t)r0 * w->row_bytes, .packed = w->lanes > 0,
                                    .w_stride = w->row_bytes,
                                    .x = j->d->prepared[act] + (size_t)first * j->stride[act],
                                    .x_stride = j->stride[act],
                                    .y = qn__row(y, first) + r0,
                                    .y_stride = y.stride,
                                    .k = w->k,
                                    .rows = rows,
                                    .tokens = n});
    const float *bias = w->bias ? w->bias + (size_t)expert * (size_t)w->rows + r0 : NULL;
    for (int i = 0; bias && i < n; i++)
        k->add(qn__row(y, first + i) + r0, bias, qn__row(y, first + i) + r0, rows);
}

void qn__cpu_expert_linear(qn_device *dev, const qn_routing *r, bool gather, qn_rows x, const qn_linear *outs,
                           int n_outs)
{
    cpu_device *d = qn__cpu(dev);
    expert_job j = {.d = d, .r = r, .gather = gather, .x = x, .outs = outs, .n_outs = n_outs};
    int total = 0, per_segment = 0;
    assert(n_outs <= MAX_OUTS);
    qn__observe(dev, outs, n_outs, (qn_seen){.x = x, .routing = r, .gather = gather});
    for (int i = 0; i < n_outs; i++)
        total += outs[i].w->rows * r->n_segments;
    qn__cpu_strides(d, outs, n_outs, (size_t)r->n_slots, j.want, j.stride);
    j.piece_rows = qn__cpu_piece_rows(d, total);
    for (int i = 0; i < n_outs; i++)
        per_segment += j.pieces[i] = (outs[i].w->rows + j.piece_rows - 1) / j.piece_rows;
    qn__pool_run(d->pool, r->n_slots, prepare_piece, &j);
    qn__pool_run(d->pool, per_segment * r->n_segments, expert_piece, &j);
}

/* ---- adding up ---- */

typedef struct combine_job {
    cpu_device *d;
    const qn_routing *r;
    qn_rows x, y;
} combine_job;

static void combine_piece(void *arg, int item, int thread)
{
    const combine_job *j = arg;
    float *y = qn__row(j->y, item);
    (void)thread;
    memset(y, 0, (size_t)j->y.cols * sizeof *y);
    for (int c = item * j->r->n_used; c < (item + 1) * j->r->n_used; c++)
        j->d->k->add_scaled(qn__row(j->x, j->r->place[c]), j->r->weight[c], y, j->y.cols);
}

void qn__cpu_combine(qn_device *dev, const qn_routing *r, qn_rows x, qn_rows y)
{
    combine_job j = {qn__cpu(dev), r, x, y};
    qn__pool_run(j.d->pool, r->n_rows, combine_piece, &j);
}
