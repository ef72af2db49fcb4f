/* packing.c - a decoder's matrices laid across the lanes of a level (kernels/pack.h), once, in memory of their own.
 *
 *   file, mapped   [norms][q: row row row ..][k: ..] ...          its pages are given back as they are done with
 *   packed         [q: group group ..][k: group ..] ...           huge pages, as large as what was packed
 *
 * A packed decoder is the decoder itself with other places in its weights; whoever asks for the same form gets the same
 * one. What cannot be packed stays where it is: other types, matrices whose rows are no whole groups, embeddings that are
 * not the output matrix too (a row of them is looked up, nothing more).
 *
 * Refuses nothing: a form that does not fit beside what else is in memory is not made, and the decoder runs as it is. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/thread.h"
#include "kernels/pack.h"
#include "model/context.h"

enum { PIECE_BYTES = 1 << 20, ALIGN = 64 };

typedef struct packed {
    struct packed *next;
    int lanes, users;
    unsigned char *memory;
    size_t bytes;
    qn_layer *layers;
    qn_decoder view;
} packed;

struct qn_packings {
    qn_lock lock;
    packed *first;
};

qn_packings *qn__packings_open(void)
{
    qn_packings *p = qn__calloc(1, sizeof *p);
    if (p)
        qn__lock_init(&p->lock);
    return p;
}

static void drop(packed *p)
{
    if (!p)
        return;
    qn__free_aligned(p->memory);
    qn_free(p->layers);
    qn_free(p);
}

void qn__packings_close(qn_packings *p)
{
    if (!p)
        return;
    while (p->first) {
        packed *next = p->first->next;
        drop(p->first);
        p->first = next;
    }
    qn__lock_destroy(&p->lock);
    qn_free(p);
}

/* ---- what is packed ---- */

typedef struct matrix {
    qn_weight *w;          /* of the packed decoder; still says where it lies in the file */
    unsigned char *to;
    int groups, per_piece; /* of one of its `count` matrices; groups of a piece */
    int pieces, first;     /* of one of them; number of the first piece of all */
} matrix;

typedef struct job {
    const qn_gguf *g;
    const qn_kernels *k;
    int lanes, n, cap, n_pieces;
    matrix *m;
    size_t bytes;
    qn_status status;
} job;

static void consider(job *j, qn_weight *w)
{
    if (w->rows <= 0 || w->rows % j->lanes != 0 || !qn__kernels_pack(j->k, w->type))
        return;
    size_t cap = (size_t)j->cap, group = w->row_bytes * (size_t)j->lanes;
    if (!qn__grow((void **)&j->m, &cap, (size_t)j->n + 1, sizeof *j->m)) {
        j->status = QN_ENOMEM;
        return;
    }
    j->cap = (int)cap;
    matrix *m = &j->m[j->n++];
    *m = (matrix){.w = w, .groups = w->rows / j->lanes, .first = j->n_pieces};
    m->per_piece = PIECE_BYTES / group > 0 ? (int)(PIECE_BYTES / group) : 1;
    m->pieces = (m->groups + m->per_piece - 1) / m->per_piece;
    j->n_pieces += m->pieces * w->count;
    j->bytes += (group * (size_t)m->groups * (size_t)w->count + ALIGN - 1) & ~(size_t)(ALIGN - 1); /* <= the file */
}

static void consider_layer(job *j, qn_layer *l)
{
    qn_weight *every[] = {&l->q,           &l->k,           &l->v,           &l->o,         &l->head_gate,   &l->q_a,
                          &l->kv_a,        &l->k_b,         &l->v_b,         &l->in,        &l->z,           &l->alpha,
                          &l->beta,        &l->ba,          &l->ssm_out,     &l->gate,      &l->up,          &l->down,
                          &l->router,      &l->gate_exps,   &l->up_exps,     &l->down_exps, &l->gate_shared, &l->up_shared,
                          &l->down_shared, &l->shared_gate, &l->latent_down, &l->latent_up,
                          &l->ple_gate,    &l->ple_proj};
    for (size_t i = 0; i < sizeof every / sizeof *every; i++)
        consider(j, every[i]);
}

static void pack_piece(void *arg, int item, int thread)
{
    const job *j = arg;
    (void)thread;
    int lo = 0, hi = j->n - 1; /* the last matrix that begins at or before it */
    while (lo < hi) {
        int mid = (lo + hi + 1) / 2;
        if (j->m[mid].first <= item)
            lo = mid;
        else
            hi = mid - 1;
    }
    const matrix *m = &j->m[lo];
    const qn_weight *w = m->w;
    int which = (item - m->first) / m->pieces, part = (item - m->first) % m->pieces;
    int g0 = part * m->per_piece, n = m->groups - g0 < m->per_piece ? m->groups - g0 : m->per_piece;
    size_t group = w->row_bytes * (size_t)j->lanes;
    const unsigned char *from = w->data + (size_t)which * w->stride + (size_t)g0 * group;
    unsigned char *to = m->to + ((size_t)which * (size_t)m->groups + (size_t)g0) * group;
    for (int i = 0; i < n; i++)
        qn__pack(w->type, j->lanes, from + (size_t)i * group, w->row_bytes, to + (size_t)i * group);
    qn__gguf_done(j->g, from, (size_t)n * group);
}

/* The weights' new places; from here on the file's pages are not needed for them. */
static void take_places(job *j, packed *p, bool tied)
{
    for (int i = 0; i < j->n; i++) {
        qn_weight *w = j->m[i].w;
        qn__gguf_done(j->g, w->data, (size_t)(w->count - 1) * w->stride + (size_t)w->rows * w->row_bytes);
        w->data = j->m[i].to;
        w->stride = (size_t)w->rows * w->row_bytes;
        w->lanes = j->lanes;
    }
    if (tied)
        p->view.w.embed = p->view.w.output;
}

static qn_status fill(job *j, packed *p, int n_threads, qn_err *err)
{
    qn_pool *pool;
    qn_weights *w = &p->view.w;
    bool tied = w->embed.data == w->output.data && w->embed.rows == w->output.rows;
    size_t at = 0;
    p->memory = qn__alloc_aligned(j->bytes);
    if (!p->memory)
        return qn__fail_mem(err, "packed weights");
    for (int i = 0; i < j->n; i++) {
        matrix *m = &j->m[i];
        m->to = p->memory + at;
        at += ((size_t)m->w->rows * m->w->row_bytes * (size_t)m->w->count + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    }
    qn_status s = qn__pool_open(n_threads, &pool, err);
    if (s != QN_OK)
        return s;
    qn__pool_run(pool, j->n_pieces, pack_piece, j);
    qn__pool_close(pool);
    p->bytes = j->bytes;
    take_places(j, p, tied);
    return QN_OK;
}

/* *out stays NULL where there is nothing to pack, or no room. */
static qn_status make(const qn_decoder *d, const qn_kernels *k, int n_threads, packed **out, qn_err *err)
{
    job j = {.g = d->g, .k = k, .lanes = k->lanes};
    size_t n = (size_t)d->h.n_layers;
    packed *p = qn__calloc(1, sizeof *p);
    if (!p || !(p->layers = qn__alloc(n * sizeof *p->layers))) {
        drop(p);
        return qn__fail_mem(err, "packed weights");
    }
    memcpy(p->layers, d->w.layers, n * sizeof *p->layers);
    p->view = *d;
    p->view.packings = NULL;
    p->view.w.layers = p->layers;
    p->lanes = k->lanes;
    for (size_t i = 0; i < n; i++)
        consider_layer(&j, &p->layers[i]);
    consider(&j, &p->view.w.output);
    consider(&j, &p->view.w.ple_model_proj);
    qn_status s = j.status != QN_OK ? qn__fail_mem(err, "packed weights") : QN_OK;
    bool worth = s == QN_OK && j.n > 0 && j.bytes < qn__memory_available() / 8 * 7;
    if (worth)
        s = fill(&j, p, n_threads, err);
    qn_free(j.m);
    if (worth && s == QN_OK)
        *out = p;
    else
        drop(p);
    return s;
}

qn_status qn__decoder_pack(const qn_decoder *d, qn_cpu level, int n_threads, const qn_decoder **out, qn_err *err)
{
    const qn_kernels *k = qn__kernels(level);
    int lanes = k->lanes;
    qn_status s = QN_OK;
    packed *p = NULL;
    if (lanes > 0) {
        qn__lock(&d->packings->lock);
        for (p = d->packings->first; p && p->lanes != lanes;)
            p = p->next;
        if (!p) {
            s = make(d, k, n_threads, &p, err);
            if (p) {
                p->next = d->packings->first;
                d->packings->first = p;
            }
        }
        if (p)
            p->users++;
        qn__unlock(&d->packings->lock);
    }
    if (s == QN_OK)
        *out = p ? &p->view : d;
    return s;
}

void qn__decoder_release(const qn_decoder *d, const qn_decoder *view)
{
    if (!view || view == d)
        return;
    qn__lock(&d->packings->lock);
    for (packed **at = &d->packings->first; *at; at = &(*at)->next) {
        packed *p = *at;
        if (&p->view != view)
            continue;
        if (--p->users == 0) {
            *at = p->next;
            drop(p);
        }
        break;
    }
    qn__unlock(&d->packings->lock);
}

size_t qn__decoder_packed_bytes(const qn_decoder *view)
{
    return view->packings ? 0 : ((const packed *)(const void *)((const char *)view - offsetof(packed, view)))->bytes;
}
