/* gguf_get.c - typed reads of metadata. The pairs were checked when the file was opened; what is refused here is a pair
 * that is well-formed but not what the reader of the key needs. */
#include <math.h>

#include "base/err.h"
#include "formats/gguf_impl.h"

const char *qn__gguf_kind_name(qn_gguf_kind k)
{
    static const char *const names[] = {"u8",  "i8",   "u16",    "i16",   "u32", "i32", "f32",
                                        "bool", "string", "array", "u64", "i64", "f64"};
    return (unsigned)k < sizeof names / sizeof *names ? names[k] : "unknown";
}

static float ldf32(const unsigned char *p)
{
    uint32_t u = qn__ld32(p);
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static double ldf64(const unsigned char *p)
{
    uint64_t u = qn__ld64(p);
    double d;
    memcpy(&d, &u, sizeof d);
    return d;
}

/* One element as an integer; u64 beyond int64 wraps. */
static int64_t element_int(qn_gguf_kind kind, const unsigned char *p)
{
    switch (kind) {
    case QN_GGUF_U8: case QN_GGUF_BOOL: return p[0];
    case QN_GGUF_I8: return (int8_t)p[0];
    case QN_GGUF_U16: return qn__ld16(p);
    case QN_GGUF_I16: return (int16_t)qn__ld16(p);
    case QN_GGUF_U32: return qn__ld32(p);
    case QN_GGUF_I32: return (int32_t)qn__ld32(p);
    case QN_GGUF_U64: case QN_GGUF_I64: return (int64_t)qn__ld64(p);
    default: return 0;
    }
}

static double element_float(qn_gguf_kind kind, const unsigned char *p)
{
    switch (kind) {
    case QN_GGUF_F32: return (double)ldf32(p);
    case QN_GGUF_F64: return ldf64(p);
    case QN_GGUF_U64: return (double)qn__ld64(p);
    default: return (double)element_int(kind, p);
    }
}

static bool is_int(qn_gguf_kind k)
{
    return k <= QN_GGUF_I32 || k == QN_GGUF_U64 || k == QN_GGUF_I64;
}

bool qn__gguf_kv_int(const qn_gguf_kv *kv, int64_t *out)
{
    if (!is_int(kv->kind) || (kv->kind == QN_GGUF_U64 && qn__ld64(kv->data) > INT64_MAX))
        return false;
    *out = element_int(kv->kind, kv->data);
    return true;
}

static size_t offset_of(const qn_gguf *g, const qn_gguf_kv *kv)
{
    return (size_t)((const unsigned char *)kv->key.p - g->parts[0].data);
}

static qn_status wrong_kind(const qn_gguf *g, const qn_gguf_kv *kv, const char *wanted, qn_err *err)
{
    if (kv->kind == QN_GGUF_ARR)
        return qn__gguf_fail(g->name, "key", kv->key, offset_of(g, kv), err, QN_EFORMAT, "is an array of %s where %s is needed",
                             qn__gguf_kind_name(kv->elem), wanted);
    return qn__gguf_fail(g->name, "key", kv->key, offset_of(g, kv), err, QN_EFORMAT, "is of kind %s where %s is needed",
                         qn__gguf_kind_name(kv->kind), wanted);
}

static qn_status read_int(const qn_gguf *g, const qn_gguf_kv *kv, int64_t min, int64_t max, int64_t *out, qn_err *err)
{
    int64_t v;
    if (!is_int(kv->kind))
        return wrong_kind(g, kv, "an integer", err);
    if (!qn__gguf_kv_int(kv, &v))
        return qn__gguf_fail(g->name, "key", kv->key, offset_of(g, kv), err, QN_EFORMAT, "is %llu; %lld to %lld is allowed",
                             (unsigned long long)qn__ld64(kv->data), (long long)min, (long long)max);
    if (v < min || v > max)
        return qn__gguf_fail(g->name, "key", kv->key, offset_of(g, kv), err, QN_EFORMAT, "is %lld; %lld to %lld is allowed",
                             (long long)v, (long long)min, (long long)max);
    *out = v;
    return QN_OK;
}

qn_status qn__gguf_int(const qn_gguf *g, const char *key, int64_t min, int64_t max, int64_t fallback, int64_t *out, qn_err *err)
{
    const qn_gguf_kv *kv = qn__gguf_kv(g, key);
    if (kv)
        return read_int(g, kv, min, max, out, err);
    *out = fallback;
    return QN_OK;
}

qn_status qn__gguf_int_req(const qn_gguf *g, const char *key, int64_t min, int64_t max, int64_t *out, qn_err *err)
{
    const qn_gguf_kv *kv = qn__gguf_kv(g, key);
    if (kv)
        return read_int(g, kv, min, max, out, err);
    return qn__gguf_fail(g->name, "key", (qn_slice){key, strlen(key)}, SIZE_MAX, err, QN_EFORMAT,
                         "key %s is missing from the metadata", key);
}

qn_status qn__gguf_float(const qn_gguf *g, const char *key, double fallback, double *out, qn_err *err)
{
    const qn_gguf_kv *kv = qn__gguf_kv(g, key);
    if (!kv) {
        *out = fallback;
        return QN_OK;
    }
    if (kv->kind != QN_GGUF_F32 && kv->kind != QN_GGUF_F64 && !is_int(kv->kind))
        return wrong_kind(g, kv, "a number", err);
    double v = element_float(kv->kind, kv->data);
    if (!isfinite(v))
        return qn__gguf_fail(g->name, "key", kv->key, offset_of(g, kv), err, QN_EFORMAT, "is not a finite number");
    *out = v;
    return QN_OK;
}

qn_status qn__gguf_bool(const qn_gguf *g, const char *key, bool fallback, bool *out, qn_err *err)
{
    const qn_gguf_kv *kv = qn__gguf_kv(g, key);
    if (kv && kv->kind != QN_GGUF_BOOL)
        return wrong_kind(g, kv, "bool", err);
    *out = kv ? kv->data[0] != 0 : fallback;
    return QN_OK;
}

qn_status qn__gguf_str(const qn_gguf *g, const char *key, qn_slice *out, qn_err *err)
{
    const qn_gguf_kv *kv = qn__gguf_kv(g, key);
    if (kv && kv->kind != QN_GGUF_STR)
        return wrong_kind(g, kv, "string", err);
    *out = kv ? (qn_slice){(const char *)kv->data, kv->bytes} : (qn_slice){NULL, 0};
    return QN_OK;
}

int64_t qn__gguf_arr_int(const qn_gguf_kv *kv, uint64_t i)
{
    return element_int(kv->elem, kv->data + i * qn__gguf_kind_size(kv->elem));
}

double qn__gguf_arr_float(const qn_gguf_kv *kv, uint64_t i)
{
    return element_float(kv->elem, kv->data + i * qn__gguf_kind_size(kv->elem));
}

void qn__gguf_arr_strs(const qn_gguf_kv *kv, qn_slice *out)
{
    const unsigned char *p = kv->data;
    for (uint64_t i = 0; i < kv->n; i++) {
        size_t n = (size_t)qn__ld64(p);
        out[i] = (qn_slice){(const char *)p + 8, n};
        p += 8 + n;
    }
}
