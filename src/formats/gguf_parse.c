/* gguf_parse.c - one GGUF file's header: bytes -> checked pairs and tensors.
 *
 * Owns the rules of the format: what a count, length, kind, dimension, type and offset may be. Walks the header once from
 * the front and never touches tensor data. Memory follows what was parsed, not what the file claims. Refuses everything
 * that a later reader would have to distrust: duplicate names, overlapping or cut-off tensors, offsets that are not
 * aligned, booleans other than 0 and 1. */
#include "base/err.h"
#include "base/mem.h"
#include "formats/gguf_impl.h"

/* The smallest pair: key length, one letter, kind, one byte. The smallest tensor info: name length, one letter, number of
 * dimensions, one dimension, type, offset. What remains of the file bounds the counts through them. */
enum { MIN_KV = 8 + 1 + 4 + 1, MIN_TENSOR = 8 + 1 + 4 + 8 + 4 + 8 };

typedef struct cursor {
    const qn__gguf_part *p;
    size_t at;       /* <= p->size */
    const char *what; /* "key", "tensor" or NULL: what is being read, for errors */
    qn_slice item;
    qn_err *err;
} cursor;

static const qn_slice nothing = {NULL, 0};

static size_t left(const cursor *c)
{
    return c->p->size - c->at;
}

static const unsigned char *here(const cursor *c)
{
    return c->p->data + c->at;
}

static qn_status cut_off(const cursor *c, const char *in)
{
    return qn__gguf_fail(c->p->name, c->what, c->item, c->at, c->err, QN_EFORMAT,
                         "the file is cut off or damaged: it ends at byte %zu inside %s", c->p->size, in);
}

static qn_status get32(cursor *c, const char *in, uint32_t *v)
{
    if (left(c) < 4)
        return cut_off(c, in);
    *v = qn__ld32(here(c));
    c->at += 4;
    return QN_OK;
}

static qn_status get64(cursor *c, const char *in, uint64_t *v)
{
    if (left(c) < 8)
        return cut_off(c, in);
    *v = qn__ld64(here(c));
    c->at += 8;
    return QN_OK;
}

static qn_status get_str(cursor *c, const char *in, qn_slice *out)
{
    uint64_t n;
    qn_status s = get64(c, in, &n);
    if (s != QN_OK)
        return s;
    if (n > left(c)) {
        c->at -= 8;
        return qn__gguf_fail(c->p->name, c->what, c->item, c->at, c->err, QN_EFORMAT,
                             "the length of %s is %llu bytes, but only %zu are left in the file; it is cut off or damaged", in,
                             (unsigned long long)n, left(c) - 8);
    }
    *out = (qn_slice){(const char *)here(c), (size_t)n};
    c->at += (size_t)n;
    return QN_OK;
}

/* Names are looked up as C strings: 1..max bytes, no NUL. */
static qn_status get_name(cursor *c, const char *in, size_t max, qn_slice *out)
{
    size_t start = c->at;
    qn_status s = get_str(c, in, out);
    if (s != QN_OK)
        return s;
    if (out->n == 0 || out->n > max)
        return qn__gguf_fail(c->p->name, NULL, nothing, start, c->err, QN_EFORMAT, "%s has %zu bytes; 1 to %zu are allowed", in,
                             out->n, max);
    if (memchr(out->p, 0, out->n))
        return qn__gguf_fail(c->p->name, NULL, nothing, start, c->err, QN_EFORMAT, "%s has a zero byte in it", in);
    return QN_OK;
}

size_t qn__gguf_kind_size(uint32_t kind)
{
    switch (kind) {
    case QN_GGUF_U8: case QN_GGUF_I8: case QN_GGUF_BOOL: return 1;
    case QN_GGUF_U16: case QN_GGUF_I16: return 2;
    case QN_GGUF_U32: case QN_GGUF_I32: case QN_GGUF_F32: return 4;
    case QN_GGUF_U64: case QN_GGUF_I64: case QN_GGUF_F64: return 8;
    default: return 0;
    }
}

static qn_status get_kind(cursor *c, uint32_t *kind)
{
    qn_status s = get32(c, "the kind of a value", kind);
    if (s == QN_OK && *kind > QN_GGUF_F64) {
        c->at -= 4;
        s = qn__gguf_fail(c->p->name, c->what, c->item, c->at, c->err, QN_EFORMAT,
                          "the value's kind %u is none that GGUF has (0 to 12); the file is damaged or newer than this reader",
                          *kind);
    }
    return s;
}

static qn_status check_bools(cursor *c, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (here(c)[i] > 1) {
            c->at += i;
            return qn__gguf_fail(c->p->name, c->what, c->item, c->at, c->err, QN_EFORMAT,
                                 "a boolean is %u; only 0 and 1 are allowed", here(c)[0]);
        }
    return QN_OK;
}

/* The elements of an array that is not of arrays: step over n of them. */
static qn_status skip_elements(cursor *c, uint32_t kind, uint64_t n)
{
    size_t size = qn__gguf_kind_size(kind);
    if (n > left(c) / (size ? size : 8))
        return qn__gguf_fail(c->p->name, c->what, c->item, c->at, c->err, QN_EFORMAT,
                             "an array claims %llu elements (%s), more than the %zu bytes left in the file can hold",
                             (unsigned long long)n, qn__gguf_kind_name((qn_gguf_kind)kind), left(c));
    if (kind == QN_GGUF_BOOL) {
        qn_status s = check_bools(c, (size_t)n);
        if (s != QN_OK)
            return s;
    }
    if (size) {
        c->at += size * (size_t)n;
        return QN_OK;
    }
    for (uint64_t i = 0; i < n; i++) {
        qn_slice str;
        qn_status s = get_str(c, "a string of an array", &str);
        if (s != QN_OK)
            return s;
    }
    return QN_OK;
}

/* Elements of an array of arrays, without recursion: pending[d] arrays are still to be read at depth d. Each costs at
 * least the 12 bytes of its own head, so the walk is bounded by the file's size. */
static qn_status skip_nested(cursor *c, uint64_t n)
{
    uint64_t pending[QN_GGUF_MAX_DEPTH];
    size_t d = 0;
    pending[0] = n;
    for (;;) {
        if (pending[d] == 0) {
            if (d == 0)
                return QN_OK;
            d--;
            continue;
        }
        if (pending[d] > left(c) / 12)
            return qn__gguf_fail(c->p->name, c->what, c->item, c->at, c->err, QN_EFORMAT,
                                 "an array claims %llu arrays in it, more than the %zu bytes left in the file can hold",
                                 (unsigned long long)pending[d], left(c));
        pending[d]--;
        uint32_t kind;
        uint64_t m;
        qn_status s = get_kind(c, &kind);
        if (s == QN_OK)
            s = get64(c, "the length of an array", &m);
        if (s != QN_OK)
            return s;
        if (kind != QN_GGUF_ARR) {
            s = skip_elements(c, kind, m);
            if (s != QN_OK)
                return s;
            continue;
        }
        if (++d == QN_GGUF_MAX_DEPTH)
            return qn__gguf_fail(c->p->name, c->what, c->item, c->at, c->err, QN_EFORMAT,
                                 "arrays lie in arrays more than %d deep", QN_GGUF_MAX_DEPTH);
        pending[d] = m;
    }
}

static qn_status get_array(cursor *c, qn_gguf_kv *kv)
{
    uint32_t elem;
    qn_status s = get_kind(c, &elem);
    if (s == QN_OK)
        s = get64(c, "the length of an array", &kv->n);
    if (s != QN_OK)
        return s;
    kv->elem = (qn_gguf_kind)elem;
    size_t start = c->at;
    kv->data = here(c);
    s = elem == QN_GGUF_ARR ? skip_nested(c, kv->n) : skip_elements(c, elem, kv->n);
    kv->bytes = c->at - start;
    return s;
}

static qn_status get_kv(cursor *c, qn_gguf_kv *kv)
{
    uint32_t kind;
    *kv = (qn_gguf_kv){.n = 1};
    c->what = NULL;
    qn_status s = get_name(c, "a key", QN_GGUF_MAX_KEY, &kv->key);
    if (s != QN_OK)
        return s;
    c->what = "key";
    c->item = kv->key;
    s = get_kind(c, &kind);
    if (s != QN_OK)
        return s;
    kv->kind = kv->elem = (qn_gguf_kind)kind;
    if (kind == QN_GGUF_ARR)
        return get_array(c, kv);
    if (kind == QN_GGUF_STR) {
        qn_slice str;
        s = get_str(c, "a string", &str);
        if (s == QN_OK) {
            kv->data = (const unsigned char *)str.p;
            kv->bytes = str.n;
        }
        return s;
    }
    kv->bytes = qn__gguf_kind_size(kind);
    if (left(c) < kv->bytes)
        return cut_off(c, "a value");
    kv->data = here(c);
    if (kind == QN_GGUF_BOOL && (s = check_bools(c, 1)) != QN_OK)
        return s;
    c->at += kv->bytes;
    return QN_OK;
}

static qn_status get_dims(cursor *c, qn_gguf_tensor *t)
{
    size_t start = c->at;
    qn_status s = get32(c, "the number of dimensions", &t->n_dims);
    if (s != QN_OK)
        return s;
    if (t->n_dims < 1 || t->n_dims > QN_MAX_DIMS)
        return qn__gguf_fail(c->p->name, c->what, c->item, start, c->err, QN_EFORMAT, "has %u dimensions; 1 to %d are allowed",
                             t->n_dims, QN_MAX_DIMS);
    for (uint32_t d = 0; d < QN_MAX_DIMS; d++)
        t->dims[d] = 1;
    for (uint32_t d = 0; d < t->n_dims; d++) {
        start = c->at;
        s = get64(c, "a dimension", &t->dims[d]);
        if (s != QN_OK)
            return s;
        if (t->dims[d] == 0 || t->dims[d] > INT64_MAX)
            return qn__gguf_fail(c->p->name, c->what, c->item, start, c->err, QN_EFORMAT,
                                 "dimension %u is %lld; it must be positive", d, (long long)t->dims[d]);
    }
    return QN_OK;
}

static qn_status get_tensor(cursor *c, qn_gguf_tensor *t)
{
    uint32_t type;
    *t = (qn_gguf_tensor){0};
    c->what = NULL;
    qn_status s = get_name(c, "a tensor's name", QN_GGUF_MAX_NAME, &t->name);
    if (s != QN_OK)
        return s;
    c->what = "tensor";
    c->item = t->name;
    s = get_dims(c, t);
    size_t start = c->at;
    if (s == QN_OK)
        s = get32(c, "a tensor's type", &type);
    if (s == QN_OK)
        s = get64(c, "a tensor's offset", &t->offset);
    if (s != QN_OK)
        return s;
    const qn_type_info *info = qn__type_info(type);
    if (!info)
        return qn__gguf_fail(c->p->name, c->what, c->item, start, c->err, QN_EUNSUPPORTED,
                             "is stored as type %u, which this build does not know; use a file quantised differently", type);
    t->type = (qn_type)type;
    if (t->dims[0] % info->block != 0)
        return qn__gguf_fail(c->p->name, c->what, c->item, start, c->err, QN_EFORMAT,
                             "has rows of %llu elements, but %s is stored in blocks of %u", (unsigned long long)t->dims[0],
                             info->name, info->block);
    uint64_t rows = t->dims[1];
    bool fits = qn__type_row_bytes(t->type, t->dims[0], &t->row_bytes) && qn__mul(rows, t->dims[2], &rows) &&
                qn__mul(rows, t->dims[3], &rows) && qn__mul(rows, t->row_bytes, &t->bytes);
    uint64_t elements;
    if (!fits || __builtin_mul_overflow(rows, t->dims[0], &elements) || elements > INT64_MAX)
        return qn__gguf_fail(c->p->name, c->what, c->item, start, c->err, QN_EFORMAT,
                             "its dimensions multiply to more than fits 63 bits");
    return QN_OK;
}

static qn_status get_alignment(qn__gguf_part *p, qn_err *err)
{
    int64_t a;
    const qn_gguf_kv *kv = qn__gguf_part_kv(p, "general.alignment", strlen("general.alignment"));
    p->alignment = QN_GGUF_DEFAULT_ALIGNMENT;
    if (!kv)
        return QN_OK;
    size_t at = (size_t)(kv->data - p->data);
    if (!qn__gguf_kv_int(kv, &a))
        return qn__gguf_fail(p->name, "key", kv->key, at, err, QN_EFORMAT, "must be an integer, not %s",
                             qn__gguf_kind_name(kv->kind));
    if (a < 8 || a > QN_GGUF_MAX_ALIGNMENT || (a & (a - 1)) != 0)
        return qn__gguf_fail(p->name, "key", kv->key, at, err, QN_EFORMAT, "is %lld; it must be a power of two from 8 to %d",
                             (long long)a, QN_GGUF_MAX_ALIGNMENT);
    p->alignment = (uint32_t)a;
    return QN_OK;
}

static bool by_offset(const void *ctx, uint32_t a, uint32_t b)
{
    const qn_gguf_tensor *t = ctx;
    return t[a].offset < t[b].offset;
}

/* No two tensors share a byte. Files list tensors by offset, so sorting is the exception. */
static qn_status check_overlaps(const qn__gguf_part *p, qn_err *err)
{
    const qn_gguf_tensor *t = p->tensors;
    uint32_t *order = NULL;
    qn_status s = QN_OK;
    bool sorted = true;
    for (size_t i = 1; i < p->n_tensors && sorted; i++)
        sorted = t[i - 1].offset <= t[i].offset;
    if (!sorted) {
        order = qn__alloc(p->n_tensors * sizeof *order); /* n_tensors <= QN_GGUF_MAX_COUNT */
        if (!order)
            return qn__fail_mem(err, p->name);
        for (size_t i = 0; i < p->n_tensors; i++)
            order[i] = (uint32_t)i;
        qn__gguf_sort(order, p->n_tensors, by_offset, t);
    }
    for (size_t i = 1; i < p->n_tensors; i++) {
        const qn_gguf_tensor *a = &t[order ? order[i - 1] : i - 1], *b = &t[order ? order[i] : i];
        if (a->offset + a->bytes > b->offset) {
            s = qn__gguf_fail(p->name, "tensor", b->name, (size_t)b->offset, err, QN_EFORMAT,
                              "overlaps tensor %.*s, which ends at byte %llu", (int)a->name.n, a->name.p,
                              (unsigned long long)(a->offset + a->bytes));
            break;
        }
    }
    qn_free(order);
    return s;
}

/* Relative offsets -> checked places in the file. */
static qn_status place_tensors(qn__gguf_part *p, size_t header_end, qn_err *err)
{
    size_t start;
    if (!qn__add(header_end, p->alignment - 1, &start))
        return qn__gguf_fail(p->name, NULL, nothing, header_end, err, QN_EFORMAT, "the header is too large");
    start &= ~((size_t)p->alignment - 1);
    p->data_start = start;
    for (size_t i = 0; i < p->n_tensors; i++) {
        qn_gguf_tensor *t = &p->tensors[i];
        size_t at = (size_t)((const unsigned char *)t->name.p - p->data);
        if (t->offset & (p->alignment - 1))
            return qn__gguf_fail(p->name, "tensor", t->name, at, err, QN_EFORMAT,
                                 "its offset %llu is not a multiple of the file's alignment %u", (unsigned long long)t->offset,
                                 p->alignment);
        uint64_t end;
        if (__builtin_add_overflow(t->offset, start, &t->offset) || __builtin_add_overflow(t->offset, t->bytes, &end))
            return qn__gguf_fail(p->name, "tensor", t->name, at, err, QN_EFORMAT, "its offset is far outside the file");
        if (end > p->size)
            return qn__gguf_fail(p->name, "tensor", t->name, at, err, QN_EFORMAT,
                                 "the file is cut off: the tensor ends at byte %llu but the file has %zu; download it again",
                                 (unsigned long long)end, p->size);
        t->data = p->data + t->offset;
    }
    return check_overlaps(p, err);
}

static qn_slice kv_name(const void *ctx, size_t i)
{
    return ((const qn_gguf_kv *)ctx)[i].key;
}

static qn_status parse_kvs(cursor *c, qn__gguf_part *p, uint64_t n)
{
    qn_status s = QN_OK;
    for (uint64_t i = 0; i < n; i++) {
        qn_gguf_kv kv;
        s = get_kv(c, &kv);
        if (s != QN_OK)
            return s;
        if (!qn__grow((void **)&p->kv, &p->cap_kv, p->n_kv + 1, sizeof kv))
            return qn__fail_mem(c->err, p->name);
        p->kv[p->n_kv++] = kv;
    }
    size_t twice;
    if (!qn__gguf_index_build(&p->kv_index, p->n_kv, kv_name, p->kv, &twice))
        return qn__fail_mem(c->err, p->name);
    if (twice < p->n_kv) {
        qn_slice key = p->kv[twice].key;
        return qn__gguf_fail(p->name, "key", key, (size_t)((const unsigned char *)key.p - p->data), c->err, QN_EFORMAT,
                             "the key stands twice in the file");
    }
    return get_alignment(p, c->err);
}

static qn_status parse_tensors(cursor *c, qn__gguf_part *p, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        qn_gguf_tensor t;
        qn_status s = get_tensor(c, &t);
        if (s != QN_OK)
            return s;
        if (!qn__grow((void **)&p->tensors, &p->cap_tensors, p->n_tensors + 1, sizeof t))
            return qn__fail_mem(c->err, p->name);
        p->tensors[p->n_tensors++] = t;
    }
    return place_tensors(p, c->at, c->err);
}

static qn_status check_count(const cursor *c, const char *of, uint64_t n, size_t at, size_t least)
{
    if (n > left(c) / least)
        return qn__gguf_fail(c->p->name, NULL, nothing, at, c->err, QN_EFORMAT,
                             "claims %llu %s, more than a file of %zu bytes can hold; it is cut off or damaged",
                             (unsigned long long)n, of, c->p->size);
    if (n > QN_GGUF_MAX_COUNT)
        return qn__gguf_fail(c->p->name, NULL, nothing, at, c->err, QN_EFORMAT, "claims %llu %s; at most %d are accepted",
                             (unsigned long long)n, of, QN_GGUF_MAX_COUNT);
    return QN_OK;
}

static qn_status check_version(const qn__gguf_part *p, uint32_t v, qn_err *err)
{
    if (v == 2 || v == 3)
        return QN_OK;
    if (v == 1)
        return qn__gguf_fail(p->name, NULL, nothing, 4, err, QN_EUNSUPPORTED,
                             "is GGUF version 1, which is obsolete; convert it to version 3");
    if (v && (v & 0xFFFF) == 0)
        return qn__gguf_fail(p->name, NULL, nothing, 4, err, QN_EUNSUPPORTED,
                             "is a big-endian GGUF file; use a little-endian one");
    return qn__gguf_fail(p->name, NULL, nothing, 4, err, QN_EUNSUPPORTED, "is GGUF version %u; this build reads 2 and 3", v);
}

qn_status qn__gguf_part_parse(qn__gguf_part *p, qn_err *err)
{
    cursor c = {.p = p, .err = err};
    uint64_t n_tensors, n_kv;
    if (p->size == 0)
        return qn__fail(err, QN_EFORMAT, p->name, "is empty, not a GGUF model");
    if (p->size < 4 || memcmp(p->data, "GGUF", 4) != 0)
        return qn__fail(err, QN_EFORMAT, p->name, "%s, not a GGUF model", qn__gguf_sniff(p->data, p->size));
    c.at = 4;
    qn_status s = get32(&c, "the version", &p->version);
    if (s == QN_OK)
        s = check_version(p, p->version, err);
    if (s == QN_OK)
        s = get64(&c, "the number of tensors", &n_tensors);
    if (s == QN_OK)
        s = get64(&c, "the number of keys", &n_kv);
    if (s == QN_OK)
        s = check_count(&c, "tensors", n_tensors, 8, MIN_TENSOR);
    if (s == QN_OK)
        s = check_count(&c, "keys", n_kv, 16, MIN_KV);
    if (s == QN_OK)
        s = parse_kvs(&c, p, n_kv);
    c.what = NULL;
    if (s == QN_OK)
        s = parse_tensors(&c, p, n_tensors);
    return s;
}

void qn__gguf_part_free(qn__gguf_part *p)
{
    qn_free(p->kv);
    qn_free(p->kv_index);
    qn_free(p->tensors);
    qn_free(p->name);
    qn__map_close(&p->map);
    *p = (qn__gguf_part){0};
}

const qn_gguf_kv *qn__gguf_part_kv(const qn__gguf_part *p, const char *key, size_t n)
{
    size_t i = qn__gguf_index_find(p->kv_index, p->n_kv, kv_name, p->kv, (qn_slice){key, n});
    return i < p->n_kv ? &p->kv[i] : NULL;
}
