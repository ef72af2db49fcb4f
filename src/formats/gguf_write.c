/* gguf_write.c - writing GGUF v3: declare pairs and tensors, then stream the tensors' bytes.
 *
 *   put_*  -> kv bytes, tensor list     in memory; the first mistake is kept and told by begin_data
 *   begin  -> header to the file        offsets follow from sizes and the alignment
 *   write  -> data, padded per tensor   the current tensor and what it lacks
 *   commit -> the file appears          only when nothing is missing
 *
 * Refuses what the reader would refuse: duplicate names, rows that are not whole blocks, dimensions of zero. */
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "formats/gguf_impl.h"

typedef struct span {
    size_t at, n;
} span;

typedef struct declared {
    span name; /* in names */
    qn_type type;
    uint32_t n_dims;
    uint64_t dims[QN_MAX_DIMS];
    size_t bytes;
} declared;

struct qn_gguf_writer {
    qn_writer *file;
    char *path;
    qn_err bad; /* the first failure of a put; code 0: none */
    qn_buf kv, names;
    span *keys; /* in kv */
    size_t n_keys, cap_keys;
    declared *tensors;
    size_t n_tensors, cap_tensors;
    uint32_t alignment;
    bool began;
    size_t current, missing; /* tensor being written and the bytes it still lacks */
};

static const char zeros[256];

qn_status qn__gguf_create(const char *path, qn_gguf_writer **out, qn_err *err)
{
    qn_gguf_writer *w = qn__calloc(1, sizeof *w);
    if (!w || !(w->path = qn__strndup(path, strlen(path)))) {
        qn_free(w);
        return qn__fail_mem(err, path);
    }
    w->alignment = QN_GGUF_DEFAULT_ALIGNMENT;
    qn_status s = qn__writer_open(path, &w->file, err);
    if (s == QN_OK)
        *out = w;
    else
        qn__gguf_abort(w);
    return s;
}

void qn__gguf_abort(qn_gguf_writer *w)
{
    if (!w)
        return;
    qn__writer_abort(w->file);
    qn__buf_free(&w->kv);
    qn__buf_free(&w->names);
    qn_free(w->keys);
    qn_free(w->tensors);
    qn_free(w->path);
    qn_free(w);
}

/* Keep the first mistake. */
static void mistake(qn_gguf_writer *w, const char *what, qn_slice name, const char *sentence)
{
    if (w->bad.code == QN_OK)
        (void)qn__gguf_fail(w->path, what, name, SIZE_MAX, &w->bad, QN_EINVAL, "%s", sentence);
}

static qn_slice slice(const char *s)
{
    return (qn_slice){s, strlen(s)};
}

static void out_of_memory(qn_gguf_writer *w)
{
    if (w->bad.code == QN_OK)
        (void)qn__fail_mem(&w->bad, w->path);
}

static void put_le(qn_buf *b, uint64_t v, size_t bytes)
{
    unsigned char p[8];
    for (size_t i = 0; i < bytes; i++)
        p[i] = (unsigned char)(v >> (8 * i));
    qn__buf_put(b, p, bytes);
}

static void put_str(qn_buf *b, const char *s, size_t n)
{
    put_le(b, n, 8);
    qn__buf_put(b, s, n);
}

/* Begin a pair; false when it cannot be. */
static bool put_key(qn_gguf_writer *w, qn_slice key, qn_gguf_kind kind)
{
    if (w->bad.code != QN_OK)
        return false;
    if (w->began || key.n == 0 || key.n > QN_GGUF_MAX_KEY || memchr(key.p, 0, key.n)) {
        mistake(w, "key", key, w->began ? "is put after the header was written" : "a key has 1 to 65535 bytes, none zero");
        return false;
    }
    if (!qn__grow((void **)&w->keys, &w->cap_keys, w->n_keys + 1, sizeof *w->keys)) {
        out_of_memory(w);
        return false;
    }
    w->keys[w->n_keys++] = (span){w->kv.n + 8, key.n};
    put_str(&w->kv, key.p, key.n);
    put_le(&w->kv, (uint64_t)kind, 4);
    return true;
}

static void set_alignment(qn_gguf_writer *w, const char *key, int64_t v)
{
    if (strcmp(key, "general.alignment") != 0)
        return;
    if (v < 8 || v > QN_GGUF_MAX_ALIGNMENT || (v & (v - 1)) != 0)
        mistake(w, "key", slice(key), "must be a power of two from 8 to 16777216");
    else
        w->alignment = (uint32_t)v;
}

void qn__gguf_put_int(qn_gguf_writer *w, const char *key, qn_gguf_kind kind, int64_t v)
{
    static const struct { int64_t min, max; } range[QN_GGUF_F64 + 1] = {
        [QN_GGUF_U8] = {0, UINT8_MAX},    [QN_GGUF_I8] = {INT8_MIN, INT8_MAX},    [QN_GGUF_U16] = {0, UINT16_MAX},
        [QN_GGUF_I16] = {INT16_MIN, INT16_MAX}, [QN_GGUF_U32] = {0, UINT32_MAX},  [QN_GGUF_I32] = {INT32_MIN, INT32_MAX},
        [QN_GGUF_U64] = {0, INT64_MAX},   [QN_GGUF_I64] = {INT64_MIN, INT64_MAX},
    };
    if ((unsigned)kind > QN_GGUF_F64 || range[kind].max == 0 || v < range[kind].min || v > range[kind].max) {
        mistake(w, "key", slice(key), "the number does not fit the kind it is to be written as");
        return;
    }
    if (put_key(w, slice(key), kind))
        put_le(&w->kv, (uint64_t)v, qn__gguf_kind_size(kind));
    set_alignment(w, key, v);
}

void qn__gguf_put_float(qn_gguf_writer *w, const char *key, qn_gguf_kind kind, double v)
{
    if (kind != QN_GGUF_F32 && kind != QN_GGUF_F64) {
        mistake(w, "key", slice(key), "a floating-point number is written as f32 or f64");
        return;
    }
    if (!put_key(w, slice(key), kind))
        return;
    if (kind == QN_GGUF_F32) {
        float f = (float)v;
        uint32_t u;
        memcpy(&u, &f, sizeof u);
        put_le(&w->kv, u, 4);
    } else {
        uint64_t u;
        memcpy(&u, &v, sizeof u);
        put_le(&w->kv, u, 8);
    }
}

void qn__gguf_put_bool(qn_gguf_writer *w, const char *key, bool v)
{
    if (put_key(w, slice(key), QN_GGUF_BOOL))
        put_le(&w->kv, v, 1);
}

void qn__gguf_put_str(qn_gguf_writer *w, const char *key, const char *s, size_t n)
{
    if (put_key(w, slice(key), QN_GGUF_STR))
        put_str(&w->kv, s, n);
}

void qn__gguf_put_arr(qn_gguf_writer *w, const char *key, qn_gguf_kind elem, uint64_t n, const void *payload, size_t bytes)
{
    size_t size = qn__gguf_kind_size((uint32_t)elem);
    if (size == 0 || bytes / size != n || bytes % size != 0) {
        mistake(w, "key", slice(key), "the array's bytes are not its number of elements of a fixed size");
        return;
    }
    if (!put_key(w, slice(key), QN_GGUF_ARR))
        return;
    put_le(&w->kv, (uint64_t)elem, 4);
    put_le(&w->kv, n, 8);
    qn__buf_put(&w->kv, payload, bytes);
}

void qn__gguf_put_strs(qn_gguf_writer *w, const char *key, const qn_slice *s, uint64_t n)
{
    if (!put_key(w, slice(key), QN_GGUF_ARR))
        return;
    put_le(&w->kv, QN_GGUF_STR, 4);
    put_le(&w->kv, n, 8);
    for (uint64_t i = 0; i < n; i++)
        put_str(&w->kv, s[i].p, s[i].n);
}

void qn__gguf_put_kv(qn_gguf_writer *w, const qn_gguf_kv *kv)
{
    int64_t v;
    if (!put_key(w, kv->key, kv->kind))
        return;
    if (kv->kind == QN_GGUF_ARR) {
        put_le(&w->kv, (uint64_t)kv->elem, 4);
        put_le(&w->kv, kv->n, 8);
    } else if (kv->kind == QN_GGUF_STR) {
        put_le(&w->kv, kv->bytes, 8);
    }
    qn__buf_put(&w->kv, kv->data, kv->bytes);
    if (qn__slice_eq(kv->key, slice("general.alignment")))
        set_alignment(w, "general.alignment", qn__gguf_kv_int(kv, &v) ? v : 0);
}

void qn__gguf_put_tensor(qn_gguf_writer *w, const char *name, qn_type type, uint32_t n_dims, const uint64_t *dims)
{
    declared t = {.name = {w->names.n, strlen(name)}, .type = type, .n_dims = n_dims, .dims = {1, 1, 1, 1}};
    if (w->bad.code != QN_OK)
        return;
    if (w->began || t.name.n == 0 || t.name.n > QN_GGUF_MAX_NAME || n_dims < 1 || n_dims > QN_MAX_DIMS) {
        mistake(w, "tensor", slice(name), w->began ? "is put after the header was written"
                                            : "a tensor has a name of 1 to 255 bytes and 1 to 4 dimensions");
        return;
    }
    bool ok = true;
    for (uint32_t i = 0; i < n_dims; i++) {
        t.dims[i] = dims[i];
        ok = ok && dims[i] > 0;
    }
    ok = ok && qn__type_row_bytes(type, t.dims[0], &t.bytes) && qn__mul(t.bytes, t.dims[1], &t.bytes) &&
         qn__mul(t.bytes, t.dims[2], &t.bytes) && qn__mul(t.bytes, t.dims[3], &t.bytes) && t.bytes <= INT64_MAX;
    if (!ok) {
        mistake(w, "tensor", slice(name), "its dimensions must be positive and its rows whole blocks of its type");
        return;
    }
    qn__buf_put(&w->names, name, t.name.n);
    if (!qn__grow((void **)&w->tensors, &w->cap_tensors, w->n_tensors + 1, sizeof t)) {
        out_of_memory(w);
        return;
    }
    w->tensors[w->n_tensors++] = t;
}

static qn_slice key_name(const void *ctx, size_t i)
{
    const qn_gguf_writer *w = ctx;
    return (qn_slice){w->kv.data + w->keys[i].at, w->keys[i].n};
}

static qn_slice tensor_name(const void *ctx, size_t i)
{
    const qn_gguf_writer *w = ctx;
    return (qn_slice){w->names.data + w->tensors[i].name.at, w->tensors[i].name.n};
}

static qn_status check_unique(const qn_gguf_writer *w, const char *what, size_t n, qn_slice (*name)(const void *, size_t),
                              qn_err *err)
{
    qn__gguf_index_entry *index;
    size_t twice;
    if (n > QN_GGUF_MAX_COUNT)
        return qn__fail(err, QN_EINVAL, w->path, "a file has at most %d %ss", QN_GGUF_MAX_COUNT, what);
    if (!qn__gguf_index_build(&index, n, name, w, &twice))
        return qn__fail_mem(err, w->path);
    qn_free(index);
    if (twice < n)
        return qn__gguf_fail(w->path, what, name(w, twice), SIZE_MAX, err, QN_EINVAL, "the %s is put twice", what);
    return QN_OK;
}

static size_t padding(const qn_gguf_writer *w, uint64_t at)
{
    return (size_t)(-at & (w->alignment - 1));
}

static qn_status pad(qn_gguf_writer *w, qn_err *err)
{
    qn_status s = QN_OK;
    for (size_t n = padding(w, qn__writer_tell(w->file)); n && s == QN_OK;) {
        size_t piece = n < sizeof zeros ? n : sizeof zeros;
        s = qn__writer_put(w->file, zeros, piece, err);
        n -= piece;
    }
    return s;
}

qn_status qn__gguf_begin_data(qn_gguf_writer *w, qn_err *err)
{
    qn_buf head = {0};
    uint64_t offset = 0;
    qn_status s;
    if (w->kv.failed || w->names.failed)
        out_of_memory(w);
    if (w->bad.code != QN_OK)
        return qn__fail(err, w->bad.code, w->bad.where, "%s", w->bad.what);
    if (w->began)
        return qn__fail(err, QN_EINVAL, w->path, "the header is written already");
    s = check_unique(w, "key", w->n_keys, key_name, err);
    if (s == QN_OK)
        s = check_unique(w, "tensor", w->n_tensors, tensor_name, err);
    if (s != QN_OK)
        return s;
    qn__buf_put(&head, "GGUF", 4);
    put_le(&head, 3, 4);
    put_le(&head, w->n_tensors, 8);
    put_le(&head, w->n_keys, 8);
    qn__buf_put(&head, w->kv.data, w->kv.n);
    for (size_t i = 0; i < w->n_tensors; i++) {
        const declared *t = &w->tensors[i];
        qn_slice name = tensor_name(w, i);
        put_str(&head, name.p, name.n);
        put_le(&head, t->n_dims, 4);
        for (uint32_t d = 0; d < t->n_dims; d++)
            put_le(&head, t->dims[d], 8);
        put_le(&head, (uint64_t)t->type, 4);
        put_le(&head, offset, 8);
        if (__builtin_add_overflow(offset, t->bytes, &offset) || __builtin_add_overflow(offset, padding(w, offset), &offset)) {
            qn__buf_free(&head);
            return qn__fail(err, QN_EINVAL, w->path, "the tensors together are too large for a file");
        }
    }
    s = head.failed ? qn__fail_mem(err, w->path) : qn__writer_put(w->file, head.data, head.n, err);
    qn__buf_free(&head);
    if (s == QN_OK)
        s = pad(w, err);
    if (s == QN_OK) {
        w->began = true;
        w->missing = w->n_tensors ? w->tensors[0].bytes : 0;
    }
    return s;
}

static qn_status write_data(qn_gguf_writer *w, const char *from, size_t n, qn_err *err)
{
    if (!w->began)
        return qn__fail(err, QN_EINVAL, w->path, "the header is not written yet");
    while (n) {
        if (w->current == w->n_tensors)
            return qn__fail(err, QN_EINVAL, w->path, "%zu bytes more than the declared tensors have", n);
        size_t piece = n < w->missing ? n : w->missing;
        qn_status s = qn__writer_put(w->file, from, piece, err);
        from += piece;
        n -= piece;
        w->missing -= piece;
        if (s == QN_OK && w->missing == 0) {
            s = pad(w, err);
            if (++w->current < w->n_tensors)
                w->missing = w->tensors[w->current].bytes;
        }
        if (s != QN_OK)
            return s;
    }
    return QN_OK;
}

/* A failure is kept, so that a caller who overlooks it cannot commit. */
qn_status qn__gguf_write(qn_gguf_writer *w, const void *p, size_t n, qn_err *err)
{
    if (w->bad.code == QN_OK)
        (void)write_data(w, p, n, &w->bad);
    if (w->bad.code != QN_OK)
        return qn__fail(err, w->bad.code, w->bad.where, "%s", w->bad.what);
    return QN_OK;
}

qn_status qn__gguf_commit(qn_gguf_writer *w, qn_err *err)
{
    qn_status s;
    if (w->bad.code != QN_OK) {
        s = qn__fail(err, w->bad.code, w->bad.where, "%s", w->bad.what);
    } else if (!w->began) {
        s = qn__fail(err, QN_EINVAL, w->path, "nothing was written: the header comes first");
    } else if (w->current < w->n_tensors) {
        s = qn__gguf_fail(w->path, "tensor", tensor_name(w, w->current), SIZE_MAX, err, QN_EINVAL,
                          "%zu bytes of it are missing, and %zu tensors behind it", w->missing, w->n_tensors - w->current - 1);
    } else {
        s = qn__writer_commit(w->file, err);
        w->file = NULL;
    }
    qn__gguf_abort(w);
    return s;
}
