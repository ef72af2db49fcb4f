/* cpu_device.c - the operations on the CPU: each is one parallel region over pieces that write disjoint outputs. Pieces are
 * cut over rows, tokens and heads, never over K, so neither the number of threads nor the cut can change a bit. */
#include <assert.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "kernels/dequant.h"
#include "kernels/pack.h"
#include "model/cpu_device.h"

enum {
    SPAN_STEP = 64, SPAN_BYTES = 1400 << 10, /* activation rows of one matmul: 64 x 8960 int8 stay in a 1 MB second-level cache */
    MIN_PIECE_ROWS = 16, MAX_PIECE_ROWS = 128,
    MAX_ROW_PIECE = 8, ROW_WORK = 1 << 13, /* an element-wise piece: at most so many rows, at least so many values */
    MAX_LINEAR = 4
};

/* ---- element-wise and row-wise operations: one piece is some rows ---- */

typedef struct row_job {
    cpu_device *d;
    void (*one)(const struct row_job *j, int row);
    qn_rows x, y, z;
    const qn_weight *w;
    const qn_norm *norm;
    const int32_t *tokens;
    const float *tables, *row_scale;
    float scale, cap, eps;
    int head, at, n_rot, stride, y_head, y_at, kind, piece;
    bool neox;
} row_job;

static void row_piece(void *arg, int item, int thread)
{
    const row_job *j = arg;
    (void)thread;
    int end = (item + 1) * j->piece;
    for (int i = item * j->piece; i < end && i < j->x.rows; i++)
        j->one(j, i);
}

/* The rows of a piece: few rows are shared out, too, if that is worth waking somebody for. */
static int rows_of_piece(const cpu_device *d, int rows, int cols)
{
    int fair = rows / (d->n_threads * 2), least = cols < ROW_WORK ? ROW_WORK / (cols > 0 ? cols : 1) : 1;
    int n = fair > least ? fair : least;
    return n < MAX_ROW_PIECE ? n : MAX_ROW_PIECE;
}

static int pieces_of(int rows, int piece)
{
    return (rows + piece - 1) / piece;
}

static void run_rows(const row_job *given)
{
    row_job j = *given;
    j.piece = rows_of_piece(j.d, j.x.rows, j.x.cols);
    qn__pool_run(j.d->pool, pieces_of(j.x.rows, j.piece), row_piece, &j);
}

/* Row `row` of a packed group as floats. */
static void packed_row(const qn_weight *w, const unsigned char *group, int row, float *y)
{
    enum { MOST = 256 }; /* bytes of a block */
    const qn_type_info *t = qn__type_info(w->type);
    unsigned char block[MOST];
    assert(t->bytes <= MOST);
    for (size_t at = 0; at < w->row_bytes; at += t->bytes, y += t->block) {
        qn__unpack_block(w->type, w->lanes, group + at * (size_t)w->lanes, row, block);
        qn__dequant_row(w->type, block, y, t->block);
    }
}

static void embed_one(const row_job *j, int i)
{
    const qn_weight *w = j->w;
    float *y = qn__row(j->x, i);
    assert(j->tokens[i] >= 0 && j->tokens[i] < w->rows);
    const size_t token = (size_t)j->tokens[i], lanes = (size_t)w->lanes;
    if (w->lanes == 0)
        qn__dequant_row(w->type, w->data + token * w->row_bytes, y, (size_t)w->k);
    else
        packed_row(w, w->data + token / lanes * lanes * w->row_bytes, (int)(token % lanes), y);
    if (j->scale != 1)
        j->d->k->scale(y, j->scale, y, w->k);
}

static void embed(qn_device *d, const qn_weight *w, const int32_t *tokens, float scale, qn_rows y)
{
    run_rows(&(row_job){.d = qn__cpu(d), .one = embed_one, .x = y, .w = w, .tokens = tokens, .scale = scale});
}

static void add_vector_one(const row_job *j, int i)
{
    j->d->k->add(qn__row(j->x, i), j->tables, qn__row(j->x, i), j->x.cols);
}

static void add_vector(qn_device *d, const float *v, qn_rows y)
{
    run_rows(&(row_job){.d = qn__cpu(d), .one = add_vector_one, .x = y, .tables = v});
}

static void norm_one(const row_job *j, int i)
{
    const qn_norm *n = j->norm;
    if (j->kind == QN_NORM_LAYER)
        j->d->k->layer_norm(qn__row(j->x, i), n->w, n->b, qn__row(j->y, i), n->n, j->eps);
    else
        j->d->k->rms_norm(qn__row(j->x, i), n->w, qn__row(j->y, i), n->n, j->eps);
}

static void norm(qn_device *d, qn_norm_kind kind, const qn_norm *n, float eps, qn_rows x, qn_rows y)
{
    run_rows(&(row_job){.d = qn__cpu(d), .one = norm_one, .x = x, .y = y, .norm = n, .eps = eps, .kind = kind});
}

static void head_norm_one(const row_job *j, int i)
{
    for (int c = 0; c < j->x.cols; c += j->norm->n) {
        float *x = qn__row(j->x, i) + c;
        j->d->k->rms_norm(x, j->norm->w, x, j->norm->n, j->eps);
    }
}

static void head_norm(qn_device *d, const qn_norm *n, float eps, qn_rows x)
{
    run_rows(&(row_job){.d = qn__cpu(d), .one = head_norm_one, .x = x, .norm = n, .eps = eps});
}

static void rope_one(const row_job *j, int i)
{
    float *x = qn__row(j->x, i);
    if (j->tables)
        for (int c = j->at; c < j->x.cols; c += j->head)
            j->d->k->rope(x + c, j->tables + (size_t)i * (size_t)j->stride, j->n_rot, j->neox);
    if (j->row_scale)
        j->d->k->scale(x, j->row_scale[i], x, j->x.cols);
}

static void rope(qn_device *d, qn_rows x, int head, int at, int n_rot, bool neox, const float *tables, int table_stride,
                 const float *row_scale)
{
    run_rows(&(row_job){.d = qn__cpu(d), .one = rope_one, .x = x, .head = head, .at = at, .n_rot = n_rot, .neox = neox,
                        .tables = tables, .stride = table_stride, .row_scale = row_scale});
}

static void take_heads_one(const row_job *j, int i)
{
    const float *x = qn__row(j->x, i) + j->at;
    float *y = qn__row(j->y, i) + j->y_at;
    for (int h = 0; h < j->kind; h++)
        memcpy(y + (size_t)h * (size_t)j->y_head, x + (size_t)h * (size_t)j->head, (size_t)j->n_rot * sizeof *y);
}

static void take_heads(qn_device *d, qn_rows x, int x_step, int at, qn_rows y, int y_step, int y_at, int n, int heads)
{
    run_rows(&(row_job){.d = qn__cpu(d), .one = take_heads_one, .x = x, .y = y, .head = x_step, .at = at, .y_head = y_step,
                        .y_at = y_at, .n_rot = n, .kind = heads});
}

static void gate_one(const row_job *j, int i)
{
    enum { PART = 64 };
    float *x = qn__row(j->x, i), wide[PART];
    const float *g = qn__row(j->y, i);
    if (j->head == 1) {
        j->d->k->sigmoid_mul(g, x, x, j->x.cols);
        return;
    }
    for (int c = 0; c < j->x.cols; c += j->head, g++) {
        for (int n = 0; n < PART; n++)
            wide[n] = *g;
        for (int n = 0; n < j->head; n += PART)
            j->d->k->sigmoid_mul(wide, x + c + n, x + c + n, j->head - n < PART ? j->head - n : PART);
    }
}

static void gate(qn_device *d, qn_rows x, qn_rows g, int span)
{
    run_rows(&(row_job){.d = qn__cpu(d), .one = gate_one, .x = x, .y = g, .head = span});
}

static void activate_one(const row_job *j, int i)
{
    const qn_kernels *k = j->d->k;
    const float *g = j->y.p ? qn__row(j->y, i) : NULL, *up = qn__row(j->x, i);
    float *out = qn__row(j->z, i);
    int n = j->x.cols;
    switch ((qn_ffn_kind)j->kind) {
    case QN_FFN_SILU:
        if (j->cap > 0)
            k->silu_mul_clamped(g, up, out, n, j->cap);
        else
            k->silu_mul(g, up, out, n);
        break;
    case QN_FFN_GELU: k->gelu_mul(g, up, out, n); break;
    case QN_FFN_OAI: k->oai_mul(g, up, out, n, 7.0f); break;
    case QN_FFN_PLAIN_GELU: k->gelu(up, out, n); break;
    case QN_FFN_PLAIN_RELU2: k->relu2(up, out, n); break;
    }
}

static void activate(qn_device *d, qn_ffn_kind kind, float clamp, qn_rows g, qn_rows up, qn_rows y)
{
    run_rows(&(row_job){.d = qn__cpu(d), .one = activate_one, .x = up, .y = g, .z = y, .kind = kind, .cap = clamp});
}

static void add_one(const row_job *j, int i)
{
    float *x = qn__row(j->x, i), *y = qn__row(j->y, i);
    if (j->scale != 1)
        j->d->k->scale(y, j->scale, y, j->x.cols);
    j->d->k->add(x, y, x, j->x.cols);
}

static void add(qn_device *d, qn_rows x, qn_rows y, float scale)
{
    run_rows(&(row_job){.d = qn__cpu(d), .one = add_one, .x = x, .y = y, .scale = scale});
}

static void finish_one(const row_job *j, int i)
{
    float *x = qn__row(j->x, i);
    if (j->scale != 1)
        j->d->k->scale(x, j->scale, x, j->x.cols);
    if (j->cap > 0)
        j->d->k->softcap(x, j->cap, x, j->x.cols);
}

static void finish(qn_device *d, qn_rows x, float scale, float cap)
{
    if (scale != 1 || cap > 0)
        run_rows(&(row_job){.d = qn__cpu(d), .one = finish_one, .x = x, .scale = scale, .cap = cap});
}

/* ---- matrix products ---- */

/* pieces: for each output matrix its rows in pieces of piece_rows; each piece goes over all tokens in tiles, so that its
 * weights are read from memory once. */
typedef struct linear_job {
    cpu_device *d;
    qn_rows x;
    const qn_linear *outs;
    int n_outs, piece_rows, first[MAX_LINEAR + 1]; /* first[i]: number of the first piece of outs[i] */
    bool want[QN_ACT__COUNT];
    size_t stride[QN_ACT__COUNT];
    int piece;                 /* rows that are prepared together */
    int heads, x_step, y_step; /* head_linear: matrices of outs[0].w, each with its own part of a row */
} linear_job;

/* Rows of x, or of each head's part of it: heads' rows lie together. */
static void prepare_piece(void *arg, int item, int thread)
{
    const linear_job *j = arg;
    (void)thread;
    int k = j->outs[0].w->k, end = (item + 1) * j->piece < j->x.rows ? (item + 1) * j->piece : j->x.rows;
    for (int a = 0; a < QN_ACT__COUNT; a++)
        for (int h = 0; j->want[a] && h < j->heads; h++)
            for (int i = item * j->piece; i < end; i++)
                j->d->k->prepare[a](qn__row(j->x, i) + (size_t)h * (size_t)j->x_step,
                                    j->d->prepared[a] + ((size_t)h * (size_t)j->x.rows + (size_t)i) * j->stride[a], k);
}

static void prepare(linear_job *j)
{
    j->piece = rows_of_piece(j->d, j->x.rows, j->outs[0].w->k * j->heads);
    qn__pool_run(j->d->pool, pieces_of(j->x.rows, j->piece), prepare_piece, j);
}

/* `rows` rows of a matrix from r0 over all tokens, tile by tile. */
static void multiply(cpu_device *d, const qn_weight *w, const unsigned char *data, int r0, int rows,
                     const unsigned char *x, size_t x_stride, int tokens, qn_rows y)
{
    int fit = (int)((size_t)SPAN_BYTES / x_stride) / SPAN_STEP * SPAN_STEP, span = fit < d->k->least ? d->k->least : fit;
    span = span < d->k->span ? span : d->k->span;
    for (int t = 0; t < tokens; t += span) {
        int n = tokens - t < span ? tokens - t : span;
        d->k->matmul[w->type](&(qn_matmul){.w = data + (size_t)r0 * w->row_bytes, .w_stride = w->row_bytes, .packed = w->lanes > 0,
                                           .x = x + (size_t)t * x_stride, .x_stride = x_stride, .y = qn__row(y, t) + r0,
                                           .y_stride = y.stride, .k = w->k, .rows = rows, .tokens = n});
    }
}

static void linear_piece(void *arg, int item, int thread)
{
    const linear_job *j = arg;
    cpu_device *d = j->d;
    (void)thread;
    int o = 0;
    while (item >= j->first[o + 1])
        o++;
    const qn_weight *w = j->outs[o].w;
    qn_rows y = j->outs[o].y;
    int r0 = (item - j->first[o]) * j->piece_rows, rows = w->rows - r0 < j->piece_rows ? w->rows - r0 : j->piece_rows;
    qn_act act = d->k->act[w->type];
    multiply(d, w, w->data, r0, rows, d->prepared[act], j->stride[act], j->x.rows, y);
    for (int i = 0; w->bias && i < j->x.rows; i++)
        d->k->add(qn__row(y, i) + r0, w->bias + r0, qn__row(y, i) + r0, rows);
}

int qn__cpu_piece_rows(const cpu_device *d, int total)
{
    /* Some pieces per thread, so that a slow core takes fewer; not so small that a piece is all overhead. */
    int piece = total / (d->n_threads * 8) / MIN_PIECE_ROWS * MIN_PIECE_ROWS;
    return piece < MIN_PIECE_ROWS ? MIN_PIECE_ROWS : piece > MAX_PIECE_ROWS ? MAX_PIECE_ROWS : piece;
}

void qn__cpu_strides(const cpu_device *d, const qn_linear *outs, int n_outs, size_t rows, bool *want, size_t *stride)
{
    for (int i = 0; i < n_outs; i++)
        want[d->k->act[outs[i].w->type]] = true;
    for (int a = 0; a < QN_ACT__COUNT; a++) {
        stride[a] = qn__act_bytes((qn_act)a, outs[0].w->k);
        assert(!want[a] || rows * stride[a] <= d->prepared_bytes[a]);
    }
    (void)rows;
}

static void linear(qn_device *dev, qn_rows x, const qn_linear *outs, int n_outs)
{
    cpu_device *d = qn__cpu(dev);
    linear_job j = {.d = d, .x = x, .outs = outs, .n_outs = n_outs, .heads = 1};
    int total = 0;
    assert(n_outs <= MAX_LINEAR);
    qn__observe(dev, outs, n_outs, (qn_seen){.x = x});
    for (int i = 0; i < n_outs; i++)
        total += outs[i].w->rows;
    qn__cpu_strides(d, outs, n_outs, (size_t)x.rows, j.want, j.stride);
    j.piece_rows = qn__cpu_piece_rows(d, total);
    for (int i = 0; i < n_outs; i++)
        j.first[i + 1] = j.first[i] + (outs[i].w->rows + j.piece_rows - 1) / j.piece_rows;
    prepare(&j);
    qn__pool_run(d->pool, j.first[n_outs], linear_piece, &j);
}

/* One piece is one head: its matrix is small, its rows are all tokens. */
static void head_piece(void *arg, int item, int thread)
{
    const linear_job *j = arg;
    const qn_weight *w = j->outs[0].w;
    qn_rows y = j->outs[0].y;
    qn_act act = j->d->k->act[w->type];
    (void)thread;
    y.p += (size_t)item * (size_t)j->y_step;
    multiply(j->d, w, w->data + (size_t)item * w->stride, 0, w->rows,
             j->d->prepared[act] + (size_t)item * (size_t)j->x.rows * j->stride[act], j->stride[act], j->x.rows, y);
}

static void head_linear(qn_device *dev, const qn_weight *w, qn_rows x, int x_step, qn_rows y, int y_step)
{
    cpu_device *d = qn__cpu(dev);
    qn_linear out = {w, y};
    linear_job j = {.d = d, .x = x, .outs = &out, .n_outs = 1, .heads = w->count, .x_step = x_step, .y_step = y_step};
    qn__observe(dev, &out, 1, (qn_seen){.x = x, .x_step = x_step});
    qn__cpu_strides(d, &out, 1, (size_t)x.rows * (size_t)w->count, j.want, j.stride);
    prepare(&j);
    qn__pool_run(d->pool, w->count, head_piece, &j);
}

/* ---- keys, values, attention ---- */

typedef struct attention_job {
    cpu_device *d;
    const qn_kv_place *at;
    qn_rows q, k, v, out;
    const qn_run *runs;
    int n_runs, n_items, tile_tokens, tile_heads, head_tiles; /* a tile: tile_tokens rows x tile_heads of a group's heads */
    int32_t window;
    bool whole;
    float scale, softcap;
    const float *sinks;
} attention_job;

static void store_piece(void *arg, int item, int thread)
{
    const attention_job *j = arg;
    const qn_kv_place *at = j->at;
    (void)thread;
    const qn_run *r = j->runs;
    while (item >= r->first + r->n)
        r++;
    int32_t pos = r->pos + (item - r->first);
    unsigned char *page = r->pages[pos / QN_PAGE_TOKENS];
    size_t kb = qn__kv_bytes(at->kv, at->head_k), vb = qn__kv_bytes(at->kv, at->head_v);
    for (int h = 0; h < at->n_kv_heads; h++)
        j->d->k->kv_store(at->kv, qn__row(j->k, item) + (size_t)h * at->head_k, qn__row(j->v, item) + (size_t)h * at->head_v,
                          at->head_k, at->head_v, page + at->k_off + (size_t)h * kb,
                          page + at->v_off + (size_t)h * vb, pos % QN_PAGE_TOKENS);
}

static void kv_store(qn_device *d, const qn_kv_place *at, qn_rows k, qn_rows v, const qn_run *runs, int n_runs)
{
    attention_job j = {.d = qn__cpu(d), .at = at, .k = k, .v = v, .runs = runs, .n_runs = n_runs};
    qn__pool_run(j.d->pool, k.rows, store_piece, &j);
}

static int run_tiles(const attention_job *j, const qn_run *r)
{
    return (r->n + j->tile_tokens - 1) / j->tile_tokens;
}

static void attention_piece(void *arg, int item, int thread)
{
    const attention_job *j = arg;
    const qn_kv_place *at = j->at;
    (void)thread;
    int group = at->n_heads / at->n_kv_heads, per_tile = at->n_kv_heads * j->head_tiles;
    item = j->n_items - 1 - item; /* later tokens look further back: what takes longest comes first */
    int tile = item / per_tile, rest = item % per_tile, kv_head = rest / j->head_tiles, head_tile = rest % j->head_tiles;
    const qn_run *r = j->runs;
    for (; tile >= run_tiles(j, r); r++)
        tile -= run_tiles(j, r);
    int h0 = head_tile * j->tile_heads, heads = group - h0 < j->tile_heads ? group - h0 : j->tile_heads;
    int t0 = tile * j->tile_tokens, tokens = r->n - t0 < j->tile_tokens ? r->n - t0 : j->tile_tokens;
    const float *q[QN_ATTENTION_MAX_Q];
    float *out[QN_ATTENTION_MAX_Q];
    int32_t pos[QN_ATTENTION_MAX_Q], lo[QN_ATTENTION_MAX_Q];
    float sink[QN_ATTENTION_MAX_Q];
    int n = 0;
    for (int t = t0; t < t0 + tokens; t++)
        for (int h = h0; h < h0 + heads; h++, n++) {
            size_t head = (size_t)(kv_head * group + h);
            q[n] = qn__row(j->q, r->first + t) + head * at->head_k;
            out[n] = qn__row(j->out, r->first + t) + head * at->head_v;
            pos[n] = r->pos + (j->whole ? r->n - 1 : t);
            lo[n] = j->window > 0 && pos[n] >= j->window ? pos[n] - j->window + 1 : 0;
            sink[n] = j->sinks ? j->sinks[head] : 0;
        }
    size_t kb = qn__kv_bytes(at->kv, at->head_k), vb = qn__kv_bytes(at->kv, at->head_v);
    j->d->k->attention(&(qn_attention){
        .q = q, .out = out, .pos = pos, .lo = lo, .sink = j->sinks ? sink : NULL, .n_q = n, .pages = (const unsigned char *const *)r->pages,
        .k_off = at->k_off + (size_t)kv_head * kb,
        .v_off = at->v_off + (size_t)kv_head * vb,
        .head_k = at->head_k, .head_v = at->head_v, .kv = at->kv, .scale = j->scale, .softcap = j->softcap});
}

/* Large tiles convert keys and values once for many queries; small ones keep all threads busy. Where there are fewer KV heads
 * than threads (decoding), a group's heads are shared out, too. */
static void cut_tiles(attention_job *j, int group)
{
    enum { PER_THREAD = 4 };
    int threads = j->d->n_threads, rows = j->q.rows * j->at->n_kv_heads; /* an upper bound: a tile is of one run */
    int share = rows < threads ? (threads + rows - 1) / rows : 1;
    j->tile_heads = (group + share - 1) / share;
    j->tile_heads = j->tile_heads < QN_ATTENTION_MAX_Q ? j->tile_heads : QN_ATTENTION_MAX_Q;
    j->head_tiles = (group + j->tile_heads - 1) / j->tile_heads;
    int most = QN_ATTENTION_MAX_Q / j->tile_heads, fair = rows * j->head_tiles / (threads * PER_THREAD);
    j->tile_tokens = fair < 1 ? 1 : fair < most ? fair : most;
}

static void attention(qn_device *d, const qn_kv_place *at, qn_rows q, qn_rows out, const qn_run *runs, int n_runs,
                      int32_t window, bool whole, float scale, float softcap, const float *sinks)
{
    int group = at->n_heads / at->n_kv_heads;
    attention_job j = {.d = qn__cpu(d), .at = at, .q = q, .out = out, .runs = runs, .n_runs = n_runs, .window = window,
                       .whole = whole, .scale = scale, .softcap = softcap, .sinks = sinks};
    cut_tiles(&j, group);
    for (int i = 0; i < n_runs; i++)
        j.n_items += run_tiles(&j, &runs[i]) * at->n_kv_heads * j.head_tiles;
    qn__pool_run(j.d->pool, j.n_items, attention_piece, &j);
}

/* ---- life ---- */

static void device_close(qn_device *dev)
{
    cpu_device *d = qn__cpu(dev);
    for (int a = 0; a < QN_ACT__COUNT; a++)
        qn__free_aligned(d->prepared[a]);
    qn__free_aligned(d->scratch);
    qn__pool_close(d->pool);
    qn_free(d);
}

static const qn_device_ops cpu_ops = {
    .close = device_close, .embed = embed, .add_vector = add_vector, .norm = norm, .head_norm = head_norm, .linear = linear,
    .head_linear = head_linear, .rope = rope, .take_heads = take_heads, .kv_store = kv_store, .attention = attention,
    .gate = gate, .activate = activate, .add = add, .finish = finish, .route = qn__cpu_route,
    .expert_linear = qn__cpu_expert_linear, .combine = qn__cpu_combine, .delta = qn__cpu_delta, .mamba = qn__cpu_mamba};

/* false when it does not fit in a size_t. */
static bool sizes(const qn_cpu_device_options *o, size_t *prepared, size_t *scratch)
{
    for (int a = 0; a < QN_ACT__COUNT; a++) {
        prepared[a] = 0;
        for (int i = 0; i < 3; i++) { /* integer forms exist for whole blocks only; a shorter row fits all the more */
            size_t n;
            if (!qn__mul(qn__act_bytes((qn_act)a, (o->k[i] + 255) / 256 * 256), (size_t)o->rows[i], &n))
                return false;
            prepared[a] = n > prepared[a] ? n : prepared[a];
        }
    }
    return qn__mul(o->scratch, (size_t)o->n_threads * sizeof(float), scratch);
}

size_t qn__cpu_device_bytes(const qn_cpu_device_options *o)
{
    size_t prepared[QN_ACT__COUNT], n = 0;
    if (sizes(o, prepared, &n))
        for (int a = 0; a < QN_ACT__COUNT; a++)
            n += prepared[a];
    return n;
}

qn_status qn__cpu_device_open(const qn_cpu_device_options *o, qn_device **out, qn_err *err)
{
    size_t scratch;
    cpu_device *d = qn__calloc(1, sizeof *d);
    if (!d)
        return qn__fail_mem(err, "device");
    *d = (cpu_device){.base = {.ops = &cpu_ops}, .k = qn__kernels(o->level), .n_threads = o->n_threads, .scratch_floats = o->scratch};
    bool ok = sizes(o, d->prepared_bytes, &scratch);
    for (int a = 0; a < QN_ACT__COUNT && ok; a++)
        ok = (d->prepared[a] = qn__alloc_aligned(d->prepared_bytes[a])) != NULL;
    ok = ok && (d->scratch = qn__alloc_aligned(scratch)) != NULL;
    qn_status s = ok ? qn__pool_open(o->n_threads, &d->pool, err) : qn__fail_mem(err, "device");
    if (s == QN_OK && o->cpus)
        s = qn__pool_pin(d->pool, o->cpus, err);
    if (s != QN_OK)
        device_close(&d->base);
    else
        *out = &d->base;
    return s;
}
