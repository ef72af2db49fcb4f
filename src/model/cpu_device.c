/* cpu_device.c - the operations on the CPU: each is one parallel region over pieces that write disjoint outputs. Pieces are
 * cut over rows, tokens and heads, never over K, so neither the number of threads nor the cut can change a bit. */
#include <assert.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/pool.h"
#include "kernels/dequant.h"
#include "model/device.h"

enum {
    TOKEN_TILE = 64,    /* activation rows of one matmul piece: 64 x 8960 int8 stay in a 1 MB second-level cache */
    MIN_PIECE_ROWS = 16,
    ROWS_PER_PIECE = 8, /* activation rows of one element-wise piece */
    MAX_LINEAR = 4
};

typedef struct cpu_device {
    qn_device base;
    const qn_kernels *k;
    qn_pool *pool;
    int n_threads, max_rows;
    unsigned char *prepared[QN_ACT__COUNT]; /* NULL for F32: used as it lies when aligned, else copied */
    size_t prepared_stride[QN_ACT__COUNT];
} cpu_device;

static cpu_device *self(qn_device *d)
{
    return (cpu_device *)d;
}

/* ---- element-wise and row-wise operations: one piece is ROWS_PER_PIECE rows ---- */

typedef struct row_job {
    cpu_device *d;
    void (*one)(const struct row_job *j, int row);
    qn_rows x, y, z;
    const qn_weight *w;
    const qn_norm *norm;
    const int32_t *tokens;
    const float *tables, *row_scale;
    float scale, cap, eps;
    int head, n_rot, kind;
    bool neox;
} row_job;

static float *row(qn_rows m, int i)
{
    return m.p + (size_t)i * m.stride;
}

static void row_piece(void *arg, int item, int thread)
{
    const row_job *j = arg;
    (void)thread;
    int end = (item + 1) * ROWS_PER_PIECE;
    for (int i = item * ROWS_PER_PIECE; i < end && i < j->x.rows; i++)
        j->one(j, i);
}

static void run_rows(const row_job *j)
{
    qn__pool_run(j->d->pool, (j->x.rows + ROWS_PER_PIECE - 1) / ROWS_PER_PIECE, row_piece, (void *)(uintptr_t)j);
}

static void embed_one(const row_job *j, int i)
{
    const qn_weight *w = j->w;
    float *y = row(j->x, i);
    assert(j->tokens[i] >= 0 && j->tokens[i] < w->rows);
    qn__dequant_row(w->type, w->data + (size_t)j->tokens[i] * w->row_bytes, y, (size_t)w->k);
    if (j->scale != 1)
        j->d->k->scale(y, j->scale, y, w->k);
}

static void embed(qn_device *d, const qn_weight *w, const int32_t *tokens, float scale, qn_rows y)
{
    run_rows(&(row_job){.d = self(d), .one = embed_one, .x = y, .w = w, .tokens = tokens, .scale = scale});
}

static void norm_one(const row_job *j, int i)
{
    const qn_norm *n = j->norm;
    if (j->kind == QN_NORM_LAYER)
        j->d->k->layer_norm(row(j->x, i), n->w, n->b, row(j->y, i), n->n, j->eps);
    else
        j->d->k->rms_norm(row(j->x, i), n->w, row(j->y, i), n->n, j->eps);
}

static void norm(qn_device *d, qn_norm_kind kind, const qn_norm *n, float eps, qn_rows x, qn_rows y)
{
    run_rows(&(row_job){.d = self(d), .one = norm_one, .x = x, .y = y, .norm = n, .eps = eps, .kind = kind});
}

static void head_norm_one(const row_job *j, int i)
{
    for (int c = 0; c < j->x.cols; c += j->norm->n) {
        float *x = row(j->x, i) + c;
        j->d->k->rms_norm(x, j->norm->w, x, j->norm->n, j->eps);
    }
}

static void head_norm(qn_device *d, const qn_norm *n, float eps, qn_rows x)
{
    run_rows(&(row_job){.d = self(d), .one = head_norm_one, .x = x, .norm = n, .eps = eps});
}

static void rope_one(const row_job *j, int i)
{
    float *x = row(j->x, i);
    if (j->tables)
        for (int c = 0; c < j->x.cols; c += j->head)
            j->d->k->rope(x + c, j->tables + (size_t)i * j->n_rot, j->n_rot, j->neox);
    if (j->row_scale)
        j->d->k->scale(x, j->row_scale[i], x, j->x.cols);
}

static void rope(qn_device *d, qn_rows x, int head, int n_rot, bool neox, const float *tables, const float *row_scale)
{
    run_rows(&(row_job){.d = self(d), .one = rope_one, .x = x, .head = head, .n_rot = n_rot, .neox = neox,
                        .tables = tables, .row_scale = row_scale});
}

static void activate_one(const row_job *j, int i)
{
    const qn_kernels *k = j->d->k;
    const float *gate = j->y.p ? row(j->y, i) : NULL, *up = row(j->x, i);
    float *out = row(j->z, i);
    switch ((qn_ffn_kind)j->kind) {
    case QN_FFN_SILU: k->silu_mul(gate, up, out, j->x.cols); break;
    case QN_FFN_GELU: k->gelu_mul(gate, up, out, j->x.cols); break;
    case QN_FFN_PLAIN_GELU: k->gelu(up, out, j->x.cols); break;
    }
}

static void activate(qn_device *d, qn_ffn_kind kind, qn_rows gate, qn_rows up, qn_rows y)
{
    run_rows(&(row_job){.d = self(d), .one = activate_one, .x = up, .y = gate, .z = y, .kind = kind});
}

static void add_one(const row_job *j, int i)
{
    float *x = row(j->x, i), *y = row(j->y, i);
    if (j->scale != 1)
        j->d->k->scale(y, j->scale, y, j->x.cols);
    j->d->k->add(x, y, x, j->x.cols);
}

static void add(qn_device *d, qn_rows x, qn_rows y, float scale)
{
    run_rows(&(row_job){.d = self(d), .one = add_one, .x = x, .y = y, .scale = scale});
}

static void finish_one(const row_job *j, int i)
{
    float *x = row(j->x, i);
    if (j->scale != 1)
        j->d->k->scale(x, j->scale, x, j->x.cols);
    if (j->cap > 0)
        j->d->k->softcap(x, j->cap, x, j->x.cols);
}

static void finish(qn_device *d, qn_rows x, float scale, float cap)
{
    if (scale != 1 || cap > 0)
        run_rows(&(row_job){.d = self(d), .one = finish_one, .x = x, .scale = scale, .cap = cap});
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
} linear_job;

static void prepare_piece(void *arg, int item, int thread)
{
    const linear_job *j = arg;
    (void)thread;
    for (int a = 0; a < QN_ACT__COUNT; a++)
        if (j->want[a])
            j->d->k->prepare[a](row(j->x, item), j->d->prepared[a] + (size_t)item * j->d->prepared_stride[a], j->x.cols);
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
    for (int t = 0; t < j->x.rows; t += TOKEN_TILE) {
        int tokens = j->x.rows - t < TOKEN_TILE ? j->x.rows - t : TOKEN_TILE;
        d->k->matmul[w->type](&(qn_matmul){
            .w = w->data + (size_t)r0 * w->row_bytes, .w_stride = w->row_bytes,
            .x = d->prepared[act] + (size_t)t * d->prepared_stride[act], .x_stride = d->prepared_stride[act],
            .y = row(y, t) + r0, .y_stride = y.stride, .k = w->k, .rows = rows, .tokens = tokens});
        for (int i = 0; w->bias && i < tokens; i++)
            d->k->add(row(y, t + i) + r0, w->bias + r0, row(y, t + i) + r0, rows);
    }
}

static void linear(qn_device *dev, qn_rows x, const qn_linear *outs, int n_outs)
{
    cpu_device *d = self(dev);
    linear_job j = {.d = d, .x = x, .outs = outs, .n_outs = n_outs};
    assert(n_outs <= MAX_LINEAR && x.rows <= d->max_rows);
    int total = 0;
    for (int i = 0; i < n_outs; i++) {
        total += outs[i].w->rows;
        j.want[d->k->act[outs[i].w->type]] = true;
    }
    /* Some pieces per thread, so that a slow core takes fewer; not so small that a piece is all overhead. */
    int piece = total / (d->n_threads * 8);
    piece = piece / MIN_PIECE_ROWS * MIN_PIECE_ROWS;
    j.piece_rows = piece < MIN_PIECE_ROWS ? MIN_PIECE_ROWS : piece > 128 ? 128 : piece;
    for (int i = 0; i < n_outs; i++)
        j.first[i + 1] = j.first[i] + (outs[i].w->rows + j.piece_rows - 1) / j.piece_rows;
    qn__pool_run(d->pool, x.rows, prepare_piece, &j);
    qn__pool_run(d->pool, j.first[n_outs], linear_piece, &j);
}

/* ---- keys, values, attention ---- */

typedef struct attention_job {
    cpu_device *d;
    const qn_kv_place *at;
    qn_rows q, k, v, out;
    const qn_run *runs;
    int n_runs, tile_tokens, tile_heads, head_tiles; /* a tile: tile_tokens rows x tile_heads of a group's heads */
    int32_t window;
    float scale, softcap;
} attention_job;

static size_t kv_size(qn_kv kv)
{
    return kv == QN__KV_F32 ? 4 : 2;
}

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
    size_t es = kv_size(at->kv);
    for (int h = 0; h < at->n_kv_heads; h++)
        j->d->k->kv_store(at->kv, row(j->k, item) + (size_t)h * at->head_k, row(j->v, item) + (size_t)h * at->head_v,
                          at->head_k, at->head_v, page + at->k_off + (size_t)h * at->head_k * QN_PAGE_TOKENS * es,
                          page + at->v_off + (size_t)h * at->head_v * QN_PAGE_TOKENS * es, pos % QN_PAGE_TOKENS);
}

static void kv_store(qn_device *d, const qn_kv_place *at, qn_rows k, qn_rows v, const qn_run *runs, int n_runs)
{
    attention_job j = {.d = self(d), .at = at, .k = k, .v = v, .runs = runs, .n_runs = n_runs};
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
    int tile = item / per_tile, rest = item % per_tile, kv_head = rest / j->head_tiles, head_tile = rest % j->head_tiles;
    const qn_run *r = j->runs;
    for (; tile >= run_tiles(j, r); r++)
        tile -= run_tiles(j, r);
    int h0 = head_tile * j->tile_heads, heads = group - h0 < j->tile_heads ? group - h0 : j->tile_heads;
    int t0 = tile * j->tile_tokens, tokens = r->n - t0 < j->tile_tokens ? r->n - t0 : j->tile_tokens;
    const float *q[QN_ATTENTION_MAX_Q];
    float *out[QN_ATTENTION_MAX_Q];
    int32_t pos[QN_ATTENTION_MAX_Q], lo[QN_ATTENTION_MAX_Q];
    int n = 0;
    for (int t = t0; t < t0 + tokens; t++)
        for (int h = h0; h < h0 + heads; h++, n++) {
            size_t head = (size_t)(kv_head * group + h);
            q[n] = row(j->q, r->first + t) + head * at->head_k;
            out[n] = row(j->out, r->first + t) + head * at->head_v;
            pos[n] = r->pos + t;
            lo[n] = j->window > 0 && pos[n] >= j->window ? pos[n] - j->window + 1 : 0;
        }
    size_t es = kv_size(at->kv);
    j->d->k->attention(&(qn_attention){
        .q = q, .out = out, .pos = pos, .lo = lo, .n_q = n, .pages = (const unsigned char *const *)r->pages,
        .k_off = at->k_off + (size_t)kv_head * at->head_k * QN_PAGE_TOKENS * es,
        .v_off = at->v_off + (size_t)kv_head * at->head_v * QN_PAGE_TOKENS * es,
        .head_k = at->head_k, .head_v = at->head_v, .kv = at->kv, .scale = j->scale, .softcap = j->softcap});
}

static void attention(qn_device *d, const qn_kv_place *at, qn_rows q, qn_rows out, const qn_run *runs, int n_runs,
                      int32_t window, float scale, float softcap)
{
    int group = at->n_heads / at->n_kv_heads;
    attention_job j = {.d = self(d), .at = at, .q = q, .out = out, .runs = runs, .n_runs = n_runs, .window = window,
                       .scale = scale, .softcap = softcap};
    j.tile_heads = group < QN_ATTENTION_MAX_Q ? group : QN_ATTENTION_MAX_Q;
    j.tile_tokens = QN_ATTENTION_MAX_Q / j.tile_heads;
    j.head_tiles = (group + j.tile_heads - 1) / j.tile_heads;
    int tiles = 0;
    for (int i = 0; i < n_runs; i++)
        tiles += run_tiles(&j, &runs[i]);
    qn__pool_run(j.d->pool, tiles * at->n_kv_heads * j.head_tiles, attention_piece, &j);
}

/* ---- life ---- */

static void device_close(qn_device *dev)
{
    cpu_device *d = self(dev);
    for (int a = 0; a < QN_ACT__COUNT; a++)
        qn__free_aligned(d->prepared[a]);
    qn__pool_close(d->pool);
    qn_free(d);
}

static const qn_device_ops cpu_ops = {
    .close = device_close, .embed = embed, .norm = norm, .head_norm = head_norm, .linear = linear, .rope = rope,
    .kv_store = kv_store, .attention = attention, .activate = activate, .add = add, .finish = finish};

/* Integer forms exist for whole blocks only; a row that is shorter than max_k fits all the more. */
static size_t prepared_bytes(int act, int max_k)
{
    return qn__act_bytes((qn_act)act, (max_k + 255) / 256 * 256);
}

size_t qn__cpu_device_bytes(const qn_cpu_device_options *o)
{
    size_t n = 0;
    for (int a = 0; a < QN_ACT__COUNT; a++)
        n += prepared_bytes(a, o->max_k) * (size_t)o->max_rows;
    return n;
}

qn_status qn__cpu_device_open(const qn_cpu_device_options *o, qn_device **out, qn_err *err)
{
    cpu_device *d = qn__calloc(1, sizeof *d);
    if (!d)
        return qn__fail_mem(err, "device");
    *d = (cpu_device){.base = {&cpu_ops}, .k = qn__kernels(o->level), .n_threads = o->n_threads, .max_rows = o->max_rows};
    qn_status s = QN_OK;
    for (int a = 0; a < QN_ACT__COUNT && s == QN_OK; a++) {
        size_t bytes;
        d->prepared_stride[a] = prepared_bytes(a, o->max_k);
        if (!qn__mul(d->prepared_stride[a], (size_t)o->max_rows, &bytes) || !(d->prepared[a] = qn__alloc_aligned(bytes)))
            s = qn__fail_mem(err, "device");
    }
    if (s == QN_OK)
        s = qn__pool_open(o->n_threads, &d->pool, err);
    if (s != QN_OK)
        device_close(&d->base);
    else
        *out = &d->base;
    return s;
}
