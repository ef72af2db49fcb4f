/* engine.c - opening an engine: its options, its memory. See engine.h. */
#include "engine/engine.h"

#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/mem.h"
#include "engine/small.h"
#include "engine/threads.h"

enum { CTX_LEAST = 2048, CTX_UNSTATED = 2048, CTX_MAX = 1 << 24, KV_UNKNOWN = 1 << 30 };

void qn_engine_options_init(qn_engine_options *o)
{
    *o = (qn_engine_options){0};
}

static qn_status range(const char *what, int32_t v, int32_t min, int32_t max, qn_err *err)
{
    if (v >= min && v <= max)
        return QN_OK;
    return qn__fail(err, QN_EINVAL, what, "%d is out of range; give %d to %d, or 0 for the default", v, min, max);
}

/* Pages that fit into the memory that the options, or else the machine, leave for them. */
static int64_t pages_in_memory(const qn_engine *e)
{
    uint64_t total = qn__memory_total(), bytes = e->o.kv_ram, file = e->model->info.file_bytes;
    if (bytes == 0) {
        uint64_t left = total > file ? (total - file) / 2 : 0; /* a model that fills the memory leaves less */
        bytes = total == 0 ? KV_UNKNOWN : left < total / 4 ? left : total / 4;
    }
    uint64_t n = e->page_bytes ? bytes / e->page_bytes : INT32_MAX;
    return n > INT32_MAX ? INT32_MAX : (int64_t)n;
}

/* What the model states, if that fits; of a smaller one, whole thousands. */
static int32_t choose_ctx(const qn_engine *e)
{
    int32_t train = e->model->info.n_ctx_train, most = train <= 0 ? CTX_UNSTATED : train < CTX_MAX ? train : CTX_MAX;
    int64_t fits = (pages_in_memory(e) - 1) * QN_PAGE_TOKENS / 1024 * 1024;
    if (fits < CTX_LEAST)
        fits = CTX_LEAST;
    return fits < most ? (int32_t)fits : most;
}

static qn_status fill_options(qn_engine *e, const qn_engine_options *given, qn_err *err)
{
    qn_engine_options *o = &e->o;
    if (given)
        *o = *given;
    switch (o->kv) {
    case QN_KV_F16: e->kv = QN__KV_F16; break;
    case QN_KV_F32: e->kv = QN__KV_F32; break;
    case QN_KV_Q8_0: e->kv = QN__KV_Q8_0; break;
    default: return qn__fail(err, QN_EINVAL, "KV type", "%d is not a KV type; use f16, f32 or q8_0", (int)o->kv);
    }
    e->page_bytes = qn__decoder_page_bytes(e->model->decoder, e->kv);
    e->state_bytes = qn__decoder_state_bytes(e->model->decoder);
    if (o->n_ctx == 0)
        o->n_ctx = choose_ctx(e);
    qn_status st = qn__cpu_choose(o->cpu, &e->level, err);
    if (st || (st = qn__threads_fill(e->level, o->cpus, &o->n_threads, &e->cpus, err)))
        return st;
    o->cpu = qn__cpu_name(e->level);
    o->cpus = NULL; /* the caller's */
    if (o->n_chunk == 0)
        o->n_chunk = 512;
    if (o->max_seqs == 0)
        o->max_seqs = 8;
    if ((st = range("context size", o->n_ctx, 1, CTX_MAX, err)) || (st = range("threads", o->n_threads, 1, 512, err)) ||
        (st = range("prefill chunk", o->n_chunk, 1, 65536, err)) || (st = range("sequences", o->max_seqs, 1, 1024, err)))
        return st;
    if (o->n_chunk > o->n_ctx)
        o->n_chunk = o->n_ctx;
    /* One context and the copy of a partial page always; else what there is memory for, but unasked no more than every
     * running sequence and one of qn_logits could fill: what they leave, the kept ones use. */
    int64_t per_seq = ((int64_t)o->n_ctx + QN_PAGE_TOKENS - 1) / QN_PAGE_TOKENS, pages = pages_in_memory(e);
    if (o->kv_ram == 0 && pages > per_seq * (o->max_seqs + 1))
        pages = per_seq * (o->max_seqs + 1);
    e->max_pages = (int32_t)(pages < per_seq + 1 ? per_seq + 1 : pages);
    o->kv_ram = (uint64_t)e->max_pages * e->page_bytes;
    return QN_OK;
}

static qn_status open_context(const qn_engine *e, int rows, qn_context **out, qn_err *err)
{
    const qn_context_options c = {.level = e->level, .n_threads = e->o.n_threads, .max_rows = rows, .max_out = rows,
                                  .n_ctx = e->o.n_ctx, .kv = e->kv, .cpus = e->cpus.n ? &e->cpus : NULL};
    return qn__context_open(e->decoder, &c, out, err);
}

/* Snapshots may take a quarter of what pages may, but there are always some. */
static size_t most_snapshots(const qn_engine *e, int64_t pages)
{
    enum { LEAST = 4, MOST = 1024 };
    size_t n = (size_t)pages * e->page_bytes / 4 / e->state_bytes;
    return n < LEAST ? LEAST : n > MOST ? MOST : n;
}

static qn_status open_disk(qn_engine *e, qn_err *err)
{
    static const uint64_t usual = (uint64_t)10 << 30;
    qn_root root = {.model = qn__model_fingerprint(e->model), .build = qn__root_build(), .kv = (uint32_t)e->kv,
                    .level = (uint32_t)e->level, .variant = qn__decoder_variant(e->model->decoder, e->o.n_ctx),
                    .page_bytes = e->page_bytes, .state_bytes = e->state_bytes};
    const char *name = e->model->info.name[0] ? e->model->info.name : e->model->info.architecture;
    size_t n = strlen(name);
    if (n >= sizeof root.label)
        n = sizeof root.label - 1 - qn__utf8_incomplete(name, sizeof root.label - 1);
    memcpy(root.label, name, n);
    qn_status st = qn__pages_disk(e->pages, e->o.kv_disk, e->o.kv_disk_max ? e->o.kv_disk_max : usual, &root, err);
    e->o.kv_disk = NULL; /* the caller's text */
    return st;
}

static qn_status open_parts(qn_engine *e, qn_err *err)
{
    const qn_engine_options *o = &e->o;
    size_t seqs = (size_t)o->max_seqs, rows = (size_t)o->n_chunk + seqs, bytes;
    e->n_vocab = e->model->info.n_vocab;
    e->max_gap = INFINITY;
    qn_status st = qn__pages_open(e->page_bytes, e->max_pages, e->max_pages, &e->pages, err);
    if (st)
        return st;
    if (e->state_bytes)
        qn__pages_recurrent(e->pages, e->state_bytes, most_snapshots(e, e->max_pages));
    if (o->kv_disk && (st = open_disk(e, err)))
        return st;
    if (!qn__mul((seqs + QN_DRAFT_ROWS) * sizeof(float), (size_t)e->n_vocab, &bytes) || !(e->logits = qn__alloc_aligned(bytes)) ||
        !(e->rows = qn__calloc(rows, sizeof *e->rows)) ||
        !(e->tables = qn__calloc(seqs, sizeof *e->tables)) || !(e->states = qn__calloc(seqs, sizeof *e->states)) ||
        !(e->beyond = qn__calloc(seqs, sizeof *e->beyond)) || !(e->kept = qn__calloc(seqs, sizeof *e->kept)))
        return qn__fail_mem(err, "engine");
    e->max_rows = (int)rows;
    e->decoder = e->model->decoder;
    if (!o->no_repack)
        st = qn__decoder_pack(e->model->decoder, e->level, o->n_threads, &e->decoder, err);
    return st ? st : open_context(e, (int)rows, &e->context, err);
}

qn_status qn__engine_room(qn_engine *e, size_t n, qn_err *err)
{
    if (n <= (size_t)e->max_rows)
        return QN_OK;
    qn_row *rows = qn__calloc(n, sizeof *rows);
    qn_context *c = NULL;
    qn_status st = rows ? open_context(e, (int)n, &c, err) : qn__fail_mem(err, "engine");
    if (st) {
        qn_free(rows);
        return st;
    }
    qn__context_close(e->context);
    qn_free(e->rows);
    e->context = c;
    e->rows = rows;
    e->max_rows = (int)n;
    return QN_OK;
}

qn_status qn__engine_generates(const qn_engine *e, qn_err *err)
{
    if (!e->model->info.embedding_only)
        return QN_OK;
    return qn__fail(err, QN_EUNSUPPORTED, e->model->file, "architecture %s gives embeddings, not text; use quern embed",
                    e->model->architecture);
}

qn_status qn_engine_open(const qn_model *m, const qn_engine_options *o, qn_engine **out, qn_err *err)
{
    if (!m->decoder)
        return qn__fail(err, QN_EINVAL, m->file, "the model was opened without its weights; open it with QN_OPEN_FULL");
    qn_engine *e = qn__calloc(1, sizeof *e);
    if (!e)
        return qn__fail_mem(err, "engine");
    e->model = m;
    qn_status st = fill_options(e, o, err);
    if (!st)
        st = open_parts(e, err);
    if (!st && e->o.draft_model)
        st = qn__small_open(e, err);
    if (st)
        qn_engine_close(e);
    else
        *out = e;
    return st;
}

void qn_engine_close(qn_engine *e)
{
    if (!e)
        return;
    while (e->first)
        qn_request_close(e->first);
    qn_engine_close(e->small);
    qn__context_close(e->context);
    qn__decoder_release(e->model->decoder, e->decoder);
    qn__pages_close(e->pages);
    qn__free_aligned(e->logits);
    qn_free(e->rows);
    qn_free((void *)e->tables);
    qn_free((void *)e->states);
    qn_free((void *)e->beyond);
    qn_free(e->kept);
    qn_free(e);
}

void qn_engine_get_info(const qn_engine *e, qn_engine_info *out)
{
    *out = (qn_engine_info){.n_ctx = e->o.n_ctx, .n_threads = e->o.n_threads, .n_vocab = e->n_vocab,
                            .n_chunk = e->o.n_chunk, .max_seqs = e->o.max_seqs, .cpu = e->o.cpu,
                            .kv_bytes_per_token = e->page_bytes / QN_PAGE_TOKENS, .kv_bytes = qn__pages_bytes(e->pages),
                            .packed_bytes = qn__decoder_packed_bytes(e->decoder),
                            .kv_ram = e->o.kv_ram};
}

void qn_engine_get_cache(const qn_engine *e, qn_cache_stats *out)
{
    qn_pages_stats p;
    qn__pages_stats(e->pages, &p);
    *out = (qn_cache_stats){.ram_pages = p.nodes, .ram_budget = p.budget, .page_bytes = e->page_bytes, .reused_tokens = p.reused,
                            .restored_pages = p.restored, .evicted_pages = p.evicted, .lost_pages = p.lost,
                            .disk_pages = p.disk.pages, .disk_bytes = p.disk.bytes, .written_files = p.disk.written,
                            .failed_writes = p.disk.failed, .bad_files = p.disk.bad, .restore_rate = p.rate};
    memcpy(out->notice, p.disk.notice, sizeof out->notice);
    memcpy(out->bad_notice, p.disk.bad_notice, sizeof out->bad_notice);
}

void qn_engine_sync(qn_engine *e)
{
    qn__pages_flush(e->pages);
}
