/* quantize.c - qn_quantize: a model file to a smaller one, tensor by tensor.
 *
 *   plan (mixture.c) ── sizes, counts ──> dry run ends here
 *     └─ per tensor: same type ──────────────────────────> bytes as they are
 *                    else, in chunks of CHUNK elements: [item 0][item 1]...     one item: ITEM elements, one thread
 *                         block types -> floats -> block types -> chunk's output -> file
 *
 * A tensor is one run of elements here: rows are whole blocks of both types, so every multiple of the longest block is
 * a border of both. Memory: a chunk of output, an item of floats per thread, one tensor's importance; pages of the
 * input that were read are given back. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/pool.h"
#include "formats/imatrix.h"
#include "kernels/dequant.h"
#include "kernels/quant.h"
#include "model/mixture.h"

enum { ITEM = 1 << 15, CHUNK = 1 << 22, COPY = 1 << 22, MOST_THREADS = 1024 };

typedef struct job {
    const qn_quantize_options *o;
    qn_gguf *in;
    qn_imatrix *imatrix;
    qn_planned *plan;
    size_t n;
    qn_pool *pool;
    float *floats;         /* ITEM per thread */
    uint64_t *bad;         /* per thread: the first element that is not finite, or UINT64_MAX */
    unsigned char *output; /* of a chunk */
    qn_gguf_writer *file;
    qn_quantize_progress at;
    qn_quantize_result result;
} job;

/* What the pool's threads share while a chunk is quantised. */
typedef struct chunk {
    job *j;
    const qn_gguf_tensor *t;
    qn_type to;
    const float *importance; /* dims[0] per matrix, or NULL */
    uint64_t from, n;        /* elements of the tensor */
} chunk;

void qn_quantize_options_init(qn_quantize_options *o)
{
    *o = (qn_quantize_options){0};
}

const char *qn_quantize_type_name(size_t k)
{
    return qn__mixture_name(k);
}

/* ---- a chunk ----------------------------------------------------------------------------------------------------- */

static size_t bytes_of(qn_type type, uint64_t elements)
{
    const qn_type_info *info = qn__type_info((uint32_t)type);
    return (size_t)(elements / info->block) * info->bytes;
}

static void note_bad(uint64_t *bad, const float *x, size_t n, uint64_t at)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) {
            *bad = at + i < *bad ? at + i : *bad;
            return;
        }
}

/* One item. Its elements may lie in several rows; the importance begins anew in each. */
static void quantise_item(void *arg, int item, int thread)
{
    const chunk *c = arg;
    float *x = c->j->floats + (size_t)thread * ITEM;
    uint64_t begin = c->from + (uint64_t)item * ITEM, end = c->from + c->n;
    end = end - begin > ITEM ? begin + ITEM : end;
    unsigned char *y = c->j->output + bytes_of(c->to, begin - c->from);
    qn__dequant_row(c->t->type, c->t->data + bytes_of(c->t->type, begin), x, (size_t)(end - begin));
    note_bad(&c->j->bad[thread], x, (size_t)(end - begin), begin);
    if (!c->importance) {
        qn__quant_row(c->to, x, y, (size_t)(end - begin), NULL);
        return;
    }
    const uint64_t row = c->t->dims[0], matrix = row * c->t->dims[1];
    for (uint64_t i = begin; i < end;) {
        uint64_t column = i % row, n = end - i < row - column ? end - i : row - column;
        qn__quant_row(c->to, x + (i - begin), y + bytes_of(c->to, i - begin), (size_t)n,
                      c->importance + i / matrix * row + column);
        i += n;
    }
}

/* ---- a tensor ---------------------------------------------------------------------------------------------------- */

static qn_status fail_at(const job *j, const qn_gguf_tensor *t, qn_status code, qn_err *err, const char *what)
{
    char where[160];
    (void)snprintf(where, sizeof where, "%s: tensor %.*s", qn__gguf_name(j->in), (int)(t->name.n < 80 ? t->name.n : 80),
                   t->name.p);
    return qn__fail(err, code, where, "%s", what);
}

static qn_status advance(job *j, uint64_t bytes, qn_err *err)
{
    j->at.done += bytes;
    if (j->o->progress && !j->o->progress(j->o->arg, &j->at))
        return qn__fail(err, QN_ECANCELLED, qn__gguf_name(j->in), "stopped; nothing was written");
    return QN_OK;
}

static qn_status copy_tensor(job *j, const qn_gguf_tensor *t, qn_err *err)
{
    qn_status s = QN_OK;
    for (size_t at = 0; at < t->bytes && s == QN_OK; at += COPY) {
        size_t n = t->bytes - at < COPY ? t->bytes - at : COPY;
        s = qn__gguf_write(j->file, t->data + at, n, err);
        qn__map_done(t->data + at, n);
        if (s == QN_OK)
            s = advance(j, n, err);
    }
    return s;
}

static qn_status check_finite(const job *j, const qn_gguf_tensor *t, qn_err *err)
{
    uint64_t bad = UINT64_MAX;
    for (int i = 0; i < qn__pool_threads(j->pool); i++)
        bad = j->bad[i] < bad ? j->bad[i] : bad;
    if (bad == UINT64_MAX)
        return QN_OK;
    char what[160];
    (void)snprintf(what, sizeof what,
                   "row %llu, column %llu is not a finite number; the file is damaged or was converted wrongly",
                   (unsigned long long)(bad / t->dims[0]), (unsigned long long)(bad % t->dims[0]));
    return fail_at(j, t, QN_EFORMAT, err, what);
}

static qn_status load_importance(job *j, const qn_gguf_tensor *t, float **out, qn_err *err)
{
    size_t n, matrices = (size_t)(t->dims[2] * t->dims[3]);
    bool found = false;
    if (!j->imatrix)
        return QN_OK;
    float *w = qn__mul((size_t)t->dims[0], matrices, &n) ? qn__calloc(n, sizeof *w) : NULL;
    if (!w)
        return qn__fail_mem(err, qn__gguf_name(j->in));
    qn_status s = qn__imatrix_get(j->imatrix, t->name, t->dims[0], matrices, w, &found, err);
    if (s == QN_OK && found)
        *out = w;
    else
        qn_free(w);
    return s;
}

static qn_status quantise_tensor(job *j, const qn_planned *p, qn_err *err)
{
    const qn_gguf_tensor *t = p->tensor;
    float *importance = NULL;
    uint64_t total = t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
    qn_status s = load_importance(j, t, &importance, err);
    for (uint64_t from = 0; from < total && s == QN_OK; from += CHUNK) {
        chunk c = {j, t, p->type, importance, from, total - from < CHUNK ? total - from : CHUNK};
        memset(j->bad, 0xFF, (size_t)qn__pool_threads(j->pool) * sizeof *j->bad);
        qn__pool_run(j->pool, (int)((c.n + ITEM - 1) / ITEM), quantise_item, &c);
        s = check_finite(j, t, err);
        if (s == QN_OK)
            s = qn__gguf_write(j->file, j->output, bytes_of(p->type, c.n), err);
        qn__map_done(t->data + bytes_of(t->type, from), bytes_of(t->type, c.n));
        if (s == QN_OK)
            s = advance(j, bytes_of(t->type, c.n), err);
    }
    qn_free(importance);
    return s;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static bool key_is(const qn_gguf_kv *kv, const char *key)
{
    return kv->key.n == strlen(key) && memcmp(kv->key.p, key, kv->key.n) == 0;
}

/* Pairs that are not copied: those that we set, and those of a split. */
static bool replaced(const qn_gguf_kv *kv)
{
    static const char *const keys[] = {"general.file_type",
                                       "general.quantization_version",
                                       "split.no",
                                       "split.count",
                                       "split.tensors.count",
                                       "quantize.imatrix.file",
                                       "quantize.imatrix.dataset",
                                       "quantize.imatrix.entries_count",
                                       "quantize.imatrix.chunks_count"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (key_is(kv, keys[i]))
            return true;
    return false;
}

static qn_slice base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    path = slash ? slash + 1 : path;
    return (qn_slice){path, strlen(path)};
}

/* Declare everything in the file that j->file writes. */
static void declare(job *j, const qn_mixture *m)
{
    qn_gguf_writer *w = j->file;
    for (size_t i = 0; i < qn__gguf_n_kv(j->in); i++)
        if (!replaced(qn__gguf_kv_at(j->in, i)))
            qn__gguf_put_kv(w, qn__gguf_kv_at(j->in, i));
    qn__gguf_put_int(w, "general.quantization_version", QN_GGUF_U32, 2);
    qn__gguf_put_int(w, "general.file_type", QN_GGUF_U32, qn__mixture_file_type(m));
    if (j->imatrix) {
        qn_slice file = base_name(qn__imatrix_name(j->imatrix)), dataset = qn__imatrix_dataset(j->imatrix);
        qn__gguf_put_str(w, "quantize.imatrix.file", file.p, file.n);
        if (dataset.p)
            qn__gguf_put_str(w, "quantize.imatrix.dataset", dataset.p, dataset.n);
        qn__gguf_put_int(w, "quantize.imatrix.entries_count", QN_GGUF_U32, (int64_t)qn__imatrix_n(j->imatrix));
        qn__gguf_put_int(w, "quantize.imatrix.chunks_count", QN_GGUF_U32, qn__imatrix_chunk_count(j->imatrix));
    }
    for (size_t i = 0; i < j->n; i++) {
        char name[256];
        const qn_gguf_tensor *t = j->plan[i].tensor;
        (void)snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        qn__gguf_put_tensor(w, name, j->plan[i].type, t->n_dims, t->dims);
    }
}

/* The bytes that declare() and the tensors make: what the writer writes, counted. */
static uint64_t predict(const job *j)
{
    uint64_t head = 24, align = qn__gguf_alignment(j->in), data = 0;
    for (size_t i = 0; i < qn__gguf_n_kv(j->in); i++) {
        const qn_gguf_kv *kv = qn__gguf_kv_at(j->in, i);
        if (!replaced(kv))
            head += 8 + kv->key.n + 4 + kv->bytes + (kv->kind == QN_GGUF_ARR ? 12 : kv->kind == QN_GGUF_STR ? 8 : 0);
    }
    head += (8 + strlen("general.quantization_version") + 8) + (8 + strlen("general.file_type") + 8);
    if (j->imatrix) {
        qn_slice dataset = qn__imatrix_dataset(j->imatrix);
        head += 8 + strlen("quantize.imatrix.file") + 12 + base_name(qn__imatrix_name(j->imatrix)).n;
        head += dataset.p ? 8 + strlen("quantize.imatrix.dataset") + 12 + dataset.n : 0;
        head += (8 + strlen("quantize.imatrix.entries_count") + 8) + (8 + strlen("quantize.imatrix.chunks_count") + 8);
    }
    for (size_t i = 0; i < j->n; i++) {
        const qn_gguf_tensor *t = j->plan[i].tensor;
        head += 8 + t->name.n + 4 + 8 * (uint64_t)t->n_dims + 12;
        uint64_t bytes = bytes_of(j->plan[i].type, t->dims[0]) * (t->dims[1] * t->dims[2] * t->dims[3]);
        data += (bytes + align - 1) / align * align;
    }
    return (head + align - 1) / align * align + data;
}

static int by_bytes(const void *a, const void *b)
{
    const qn_quantize_count *x = a, *y = b;
    return x->bytes != y->bytes ? (x->bytes > y->bytes ? -1 : 1) : strcmp(x->type, y->type);
}

static void count(job *j)
{
    qn_quantize_result *r = &j->result;
    _Static_assert((int)QN_TYPE__COUNT <= (int)QN_QUANTIZE_TYPES, "a place for every type");
    qn_quantize_count all[QN_TYPE__COUNT] = {{0}};
    for (size_t i = 0; i < j->n; i++) {
        const qn_gguf_tensor *t = j->plan[i].tensor;
        qn_quantize_count *c = &all[j->plan[i].type];
        c->type = qn__type_info((uint32_t)j->plan[i].type)->name;
        c->tensors++;
        c->bytes += bytes_of(j->plan[i].type, t->dims[0]) * (t->dims[1] * t->dims[2] * t->dims[3]);
        r->fallbacks += j->plan[i].fallback;
        j->at.total += t->bytes;
    }
    for (size_t i = 0; i < QN_TYPE__COUNT; i++)
        if (all[i].tensors)
            r->types[r->n_types++] = all[i];
    qsort(r->types, r->n_types, sizeof *r->types, by_bytes);
    r->tensors = j->n;
    r->bytes_in = qn__gguf_file_bytes(j->in);
    r->bytes_out = predict(j);
}

/* Refuses what cannot be done well. */
static qn_status check_plan(job *j, qn_err *err)
{
    for (size_t i = 0; i < j->n; i++) {
        const qn_gguf_tensor *t = j->plan[i].tensor;
        if (j->plan[i].type == t->type)
            continue;
        char what[300];
        const char *name = qn__type_info((uint32_t)t->type)->name;
        if (!qn__dequant_has(t->type)) {
            (void)snprintf(what, sizeof what, "type %s cannot be turned into another", name);
            return fail_at(j, t, QN_EUNSUPPORTED, err, what);
        }
        if (qn__type_info((uint32_t)t->type)->block > 1 && !j->o->allow_requantize) {
            (void)snprintf(
                what, sizeof what,
                "is quantised already (%s); a second time adds its error to the first one's: start from the F16, "
                "BF16 or F32 file, or ask for it (--allow-requantize)",
                name);
            return fail_at(j, t, QN_EUNSUPPORTED, err, what);
        }
    }
    return QN_OK;
}

/* Each of the importance matrix's entries that this model has, checked before anything is written. */
static qn_status check_imatrix(job *j, qn_err *err)
{
    qn_status s = QN_OK;
    for (size_t i = 0; j->imatrix && i < j->n && s == QN_OK; i++) {
        float *w = NULL;
        if (j->plan[i].type == j->plan[i].tensor->type)
            continue;
        s = load_importance(j, j->plan[i].tensor, &w, err);
        j->result.weighted += w != NULL;
        qn_free(w);
    }
    if (s == QN_OK && j->imatrix && j->result.weighted == 0)
        s = qn__fail(err, QN_EFORMAT, qn__imatrix_name(j->imatrix),
                     "has none of the matrices that are to be quantised; it was made of another model");
    return s;
}

static qn_status write_all(job *j, const char *out, const qn_mixture *m, qn_err *err)
{
    int threads = j->o->n_threads > 0 ? j->o->n_threads : qn__cpu_count();
    qn_status s = qn__pool_open(threads, &j->pool, err);
    if (s != QN_OK)
        return s;
    j->floats = qn__alloc((size_t)threads * ITEM * sizeof *j->floats);
    j->bad = qn__calloc((size_t)threads, sizeof *j->bad);
    j->output = qn__alloc((size_t)CHUNK * sizeof(float));
    if (!j->floats || !j->bad || !j->output)
        return qn__fail_mem(err, qn__gguf_name(j->in));
    s = qn__gguf_create(out, &j->file, err);
    if (s != QN_OK)
        return s;
    declare(j, m);
    s = qn__gguf_begin_data(j->file, err);
    for (size_t i = 0; i < j->n && s == QN_OK; i++) {
        const qn_planned *p = &j->plan[i];
        char name[256];
        (void)snprintf(name, sizeof name, "%.*s", (int)p->tensor->name.n, p->tensor->name.p);
        j->at.tensor = name;
        j->at.index = i;
        j->at.from = qn__type_info((uint32_t)p->tensor->type)->name;
        j->at.to = qn__type_info((uint32_t)p->type)->name;
        s = p->type == p->tensor->type ? copy_tensor(j, p->tensor, err) : quantise_tensor(j, p, err);
    }
    if (s == QN_OK) {
        s = qn__gguf_commit(j->file, err);
        j->file = NULL;
    }
    return s;
}

static qn_status check_arguments(const qn_quantize_options *o, const char *out, const qn_mixture **m, qn_err *err)
{
    char known[300] = "";
    *m = o->type ? qn__mixture_find(o->type) : NULL;
    if (!*m) {
        for (size_t k = 0, n = 0; qn__mixture_name(k) && n < sizeof known; k++)
            n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", k ? ", " : "", qn__mixture_name(k));
        return qn__fail(err, QN_EINVAL, "", "there is no file type '%s'; there are %s", o->type ? o->type : "", known);
    }
    if (o->n_threads < 0 || o->n_threads > MOST_THREADS)
        return qn__fail(err, QN_EINVAL, "", "%d threads: 0 to %d can be", (int)o->n_threads, MOST_THREADS);
    if (!out && !o->dry_run)
        return qn__fail(err, QN_EINVAL, "", "the output's path is missing");
    return QN_OK;
}

/* The output may be none of the files that are read. */
static qn_status check_output(const job *j, const char *out, qn_err *err)
{
    for (uint32_t i = 0; out && i < qn__gguf_parts(j->in); i++)
        if (qn__same_file(out, qn__gguf_part_name(j->in, i)))
            return qn__fail(err, QN_EINVAL, out, "is the input; name another file for the output");
    if (out && j->imatrix && qn__same_file(out, qn__imatrix_name(j->imatrix)))
        return qn__fail(err, QN_EINVAL, out, "is the importance matrix; name another file for the output");
    return QN_OK;
}

qn_status qn_quantize(const char *in, const char *out, const qn_quantize_options *o, qn_quantize_result *result,
                      qn_err *err)
{
    job j = {.o = o};
    const qn_mixture *m;
    qn_status s = check_arguments(o, out, &m, err);
    if (s != QN_OK)
        return s;
    if ((s = qn__gguf_open(in, &j.in, err)) != QN_OK ||
        (o->imatrix && (s = qn__imatrix_open(o->imatrix, &j.imatrix, err)) != QN_OK) ||
        (s = check_output(&j, out, err)) != QN_OK ||
        (s = qn__mixture_plan(m, j.in, o->imatrix != NULL, &j.plan, err)) != QN_OK)
        goto out;
    j.n = j.at.n_tensors = qn__gguf_n_tensors(j.in);
    count(&j);
    if ((s = check_plan(&j, err)) != QN_OK || (s = check_imatrix(&j, err)) != QN_OK)
        goto out;
    if (!o->dry_run)
        s = write_all(&j, out, m, err);
    if (s == QN_OK && result)
        *result = j.result;
out:
    qn__gguf_abort(j.file);
    if (j.pool)
        qn__pool_close(j.pool);
    qn_free(j.floats);
    qn_free(j.bad);
    qn_free(j.output);
    qn_free(j.plan);
    qn__imatrix_close(j.imatrix);
    qn__gguf_close(j.in);
    return s;
}
