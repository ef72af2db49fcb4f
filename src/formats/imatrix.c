/* imatrix.c - importance matrices in GGUF files; see imatrix.h. A pair of tensors is checked when it is asked for: its
 * shapes when the file is opened would say nothing about the model. */
#include "formats/imatrix.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

static const char sums_suffix[] = ".in_sum2", counts_suffix[] = ".counts";

struct qn_imatrix {
    qn_gguf *g;
    uint32_t *sums; /* the tensors whose name ends in .in_sum2 */
    size_t n;
    uint32_t chunk_count, chunk_size;
    qn_slice dataset;
};

static bool ends(qn_slice s, const char *suffix)
{
    size_t n = strlen(suffix);
    return s.n > n && memcmp(s.p + s.n - n, suffix, n) == 0;
}

static qn_status read_head(qn_imatrix *m, qn_err *err)
{
    int64_t chunks, size;
    qn_slice type;
    qn_status s = qn__gguf_str(m->g, "general.type", &type, err);
    if (s != QN_OK)
        return s;
    if (!type.p || type.n != 7 || memcmp(type.p, "imatrix", 7) != 0)
        return qn__fail(err, QN_EFORMAT, qn__gguf_name(m->g),
                        "is not an importance matrix: general.type must say imatrix");
    if ((s = qn__gguf_int(m->g, "imatrix.chunk_count", 0, UINT32_MAX, 0, &chunks, err)) != QN_OK ||
        (s = qn__gguf_int(m->g, "imatrix.chunk_size", 0, UINT32_MAX, 0, &size, err)) != QN_OK)
        return s;
    m->chunk_count = (uint32_t)chunks;
    m->chunk_size = (uint32_t)size;
    const qn_gguf_kv *kv = qn__gguf_kv(m->g, "imatrix.datasets");
    if (kv && kv->kind == QN_GGUF_ARR && kv->elem == QN_GGUF_STR && kv->n > 0) {
        qn_slice *all = kv->n <= kv->bytes / 8 ? qn__calloc((size_t)kv->n, sizeof *all) : NULL;
        if (!all)
            return qn__fail_mem(err, qn__gguf_name(m->g));
        qn__gguf_arr_strs(kv, all);
        m->dataset = all[0];
        qn_free(all);
    }
    return QN_OK;
}

qn_status qn__imatrix_open(const char *path, qn_imatrix **out, qn_err *err)
{
    qn_imatrix *m = qn__calloc(1, sizeof *m);
    if (!m)
        return qn__fail_mem(err, path);
    qn_status s = qn__gguf_open(path, &m->g, err);
    if (s == QN_OK)
        s = read_head(m, err);
    if (s == QN_OK && !(m->sums = qn__calloc(qn__gguf_n_tensors(m->g) + 1, sizeof *m->sums)))
        s = qn__fail_mem(err, path);
    if (s == QN_OK) {
        for (size_t i = 0; i < qn__gguf_n_tensors(m->g); i++)
            if (ends(qn__gguf_tensor(m->g, i)->name, sums_suffix))
                m->sums[m->n++] = (uint32_t)i;
        if (m->n == 0)
            s = qn__fail(err, QN_EFORMAT, path, "is an importance matrix of nothing: no tensor's name ends in %s",
                         sums_suffix);
    }
    if (s == QN_OK)
        *out = m;
    else
        qn__imatrix_close(m);
    return s;
}

void qn__imatrix_close(qn_imatrix *m)
{
    if (!m)
        return;
    qn__gguf_close(m->g);
    qn_free(m->sums);
    qn_free(m);
}

const char *qn__imatrix_name(const qn_imatrix *m)
{
    return qn__gguf_name(m->g);
}

size_t qn__imatrix_n(const qn_imatrix *m)
{
    return m->n;
}

qn_slice qn__imatrix_tensor(const qn_imatrix *m, size_t k)
{
    qn_slice s = qn__gguf_tensor(m->g, m->sums[k])->name;
    return (qn_slice){s.p, s.n - (sizeof sums_suffix - 1)};
}

uint32_t qn__imatrix_chunk_count(const qn_imatrix *m)
{
    return m->chunk_count;
}

uint32_t qn__imatrix_chunk_size(const qn_imatrix *m)
{
    return m->chunk_size;
}

qn_slice qn__imatrix_dataset(const qn_imatrix *m)
{
    return m->dataset;
}

static const qn_gguf_tensor *find(const qn_imatrix *m, qn_slice tensor, const char *suffix)
{
    char name[512];
    if (tensor.n + strlen(suffix) >= sizeof name)
        return NULL;
    memcpy(name, tensor.p, tensor.n);
    (void)snprintf(name + tensor.n, sizeof name - tensor.n, "%s", suffix);
    return qn__gguf_find(m->g, name);
}

static qn_status refuse(const qn_imatrix *m, qn_slice tensor, const char *what, qn_err *err)
{
    char where[160];
    (void)snprintf(where, sizeof where, "%s: tensor %.*s", qn__gguf_name(m->g), (int)(tensor.n < 80 ? tensor.n : 80),
                   tensor.p);
    return qn__fail(err, QN_EFORMAT, where, "%s", what);
}

qn_status qn__imatrix_get(const qn_imatrix *m, qn_slice tensor, uint64_t n, uint64_t experts, float *out, bool *found,
                          qn_err *err)
{
    const qn_gguf_tensor *sums = find(m, tensor, sums_suffix), *counts = find(m, tensor, counts_suffix);
    if (!sums) {
        *found = false;
        return QN_OK;
    }
    if (!counts)
        return refuse(m, tensor, "the importance matrix has its sums but not its counts", err);
    uint64_t have = sums->dims[1] * sums->dims[2] * sums->dims[3];
    if (sums->type != QN_F32 || counts->type != QN_F32 || counts->bytes != have * sizeof(float))
        return refuse(m, tensor, "sums and counts of the importance matrix must be F32, a count for each row of sums",
                      err);
    if (sums->dims[0] != n || (have != experts && have != 1))
        return refuse(m, tensor, "the importance matrix has another shape here; it was made of another model", err);
    for (uint64_t e = 0; e < experts; e++) {
        uint64_t from = have == 1 ? 0 : e;
        float count;
        memcpy(&count, counts->data + from * sizeof count, sizeof count);
        for (uint64_t i = 0; i < n; i++) {
            float v;
            memcpy(&v, sums->data + (from * n + i) * sizeof v, sizeof v);
            if (!(v >= 0) || !isfinite(v) || !(count >= 0) || !isfinite(count))
                return refuse(m, tensor, "the importance matrix holds a number that is negative or not finite", err);
            out[e * n + i] = count > 0 ? v / count : 1;
        }
    }
    *found = true;
    return QN_OK;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void declare(qn_gguf_writer *w, const qn_imatrix_entry *e)
{
    char name[512];
    (void)snprintf(name, sizeof name, "%s%s", e->tensor, sums_suffix);
    qn__gguf_put_tensor(w, name, QN_F32, 2, (uint64_t[]){e->n, e->experts});
    (void)snprintf(name, sizeof name, "%s%s", e->tensor, counts_suffix);
    qn__gguf_put_tensor(w, name, QN_F32, 2, (uint64_t[]){1, e->experts});
}

static qn_status put_floats(qn_gguf_writer *w, const float *f, uint64_t n, qn_err *err)
{
    qn_status s = QN_OK;
    unsigned char piece[4096];
    for (uint64_t i = 0; i < n && s == QN_OK;) {
        size_t k = 0;
        for (; k < sizeof piece / 4 && i < n; k++, i++) {
            uint32_t u;
            memcpy(&u, &f[i], sizeof u);
            for (int b = 0; b < 4; b++)
                piece[4 * k + b] = (unsigned char)(u >> (8 * b));
        }
        s = qn__gguf_write(w, piece, 4 * k, err);
    }
    return s;
}

qn_status qn__imatrix_write(const char *path, const qn_slice *datasets, size_t n_datasets, uint32_t chunk_count,
                            uint32_t chunk_size, const qn_imatrix_entry *entries, size_t n, qn_err *err)
{
    qn_gguf_writer *w = NULL;
    qn_status s = qn__gguf_create(path, &w, err);
    if (s != QN_OK)
        return s;
    qn__gguf_put_str(w, "general.type", "imatrix", 7);
    qn__gguf_put_strs(w, "imatrix.datasets", datasets, n_datasets);
    qn__gguf_put_int(w, "imatrix.chunk_count", QN_GGUF_U32, chunk_count);
    qn__gguf_put_int(w, "imatrix.chunk_size", QN_GGUF_U32, chunk_size);
    for (size_t i = 0; i < n; i++)
        declare(w, &entries[i]);
    s = qn__gguf_begin_data(w, err);
    for (size_t i = 0; i < n && s == QN_OK; i++) {
        s = put_floats(w, entries[i].sums, entries[i].n * entries[i].experts, err);
        if (s == QN_OK)
            s = put_floats(w, entries[i].counts, entries[i].experts, err);
    }
    if (s == QN_OK)
        return qn__gguf_commit(w, err);
    qn__gguf_abort(w);
    return s;
}
